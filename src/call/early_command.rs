use serde::{Deserialize, Serialize};

use super::{Actor, Call, Command, Device, Foreign, Role, SealedToken, Timestamp, UserId, step};

/// A command that came before its call: kept for some minutes, obeyed when the call is initiated after all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyCommand {
    /// Who sent it. For a cancel that Laravel reported it is the receiver, the only party Laravel named.
    pub user: UserId,
    #[serde(default)]
    pub device: Device,
    pub kind: EarlyCommandKind,
    /// Laravel's command, so the sender needs no check.
    #[serde(default)]
    pub trusted: bool,
    #[serde(default)]
    pub reason: Option<String>,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SealedToken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarlyCommandKind {
    Accept,
    Reject,
    Cancel,
    /// Waits beside the others and is not obeyed here.
    #[serde(untagged)]
    Other(Foreign),
}

impl EarlyCommand {
    /// In the place of one that this version can't read: nobody's, and not obeyed.
    pub fn unreadable(user: &UserId, at: Timestamp) -> Self {
        let (user, kind) = (user.clone(), EarlyCommandKind::Other(Foreign));
        Self { user, device: Device::Unknown, kind, trusted: false, reason: None, at, token: None }
    }
}

/// Applies early commands to a call that is only now initiated, oldest first. Only the receiver's accept or reject and
/// the caller's cancel are obeyed.
pub fn resolve(call: &Call, early_commands: &[EarlyCommand]) -> Call {
    let mut early_commands: Vec<&EarlyCommand> = early_commands.iter().collect();
    early_commands.sort_by_key(|early| early.at);
    let mut resolved = call.clone();
    for early in early_commands {
        let user = match (early.kind, early.trusted) {
            (EarlyCommandKind::Cancel, true) => call.caller.user.clone(),
            (EarlyCommandKind::Cancel, false) if call.role_of(&early.user) != Some(Role::Caller) => continue,
            (EarlyCommandKind::Other(_), _) => continue,
            (EarlyCommandKind::Accept | EarlyCommandKind::Reject | EarlyCommandKind::Cancel, _) => early.user.clone(),
        };
        let by = Actor { user, device: early.device.clone(), acks: false, session: None, token: early.token.clone() };
        let command = match early.kind {
            EarlyCommandKind::Accept => Command::Accept { by },
            EarlyCommandKind::Reject => Command::Reject { by, reason: early.reason.clone() },
            EarlyCommandKind::Cancel => Command::Cancel { by, reason: early.reason.clone() },
            EarlyCommandKind::Other(_) => continue,
        };
        // Stamped with the time of the initiate: an accept must not be older than its call.
        let decided = step(&resolved, &command, call.created_at);
        match decided {
            Ok(decision) => resolved = decision.next.unwrap_or(resolved),
            Err(refused) => resolved = refused.record.map_or(resolved, |record| *record),
        }
        resolved.named |= early.trusted;
    }
    resolved
}
