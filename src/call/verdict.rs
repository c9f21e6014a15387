use serde::{Deserialize, Serialize};

use super::{Actor, Call, Command, Device, Foreign, Role, SealedToken, Timestamp, UserId, step};

/// A verdict that came before its call: kept for some minutes, obeyed when the call is initiated after all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who sent it. For a cancel that Laravel reported it is the receiver, the only party Laravel named.
    pub user: UserId,
    #[serde(default)]
    pub device: Device,
    pub kind: VerdictKind,
    /// Laravel's word, so the sender needs no check.
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
pub enum VerdictKind {
    Accept,
    Reject,
    Cancel,
    /// Waits beside the others and is not obeyed here.
    #[serde(untagged)]
    Other(Foreign),
}

impl Verdict {
    /// In the place of one that this version can't read: nobody's, and not obeyed.
    pub fn unreadable(user: &UserId, at: Timestamp) -> Self {
        let (user, kind) = (user.clone(), VerdictKind::Other(Foreign));
        Self { user, device: Device::Unknown, kind, trusted: false, reason: None, at, token: None }
    }
}

/// Applies kept verdicts to a call that is only now initiated, oldest first. Only the receiver's accept or reject and
/// the caller's cancel are obeyed.
pub fn resolve(call: &Call, verdicts: &[Verdict]) -> Call {
    let mut verdicts: Vec<&Verdict> = verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| verdict.at);
    let mut resolved = call.clone();
    for verdict in verdicts {
        let user = match (verdict.kind, verdict.trusted) {
            (VerdictKind::Cancel, true) => call.caller.user.clone(),
            (VerdictKind::Cancel, false) if call.role_of(&verdict.user) != Some(Role::Caller) => continue,
            (VerdictKind::Other(_), _) => continue,
            (VerdictKind::Accept | VerdictKind::Reject | VerdictKind::Cancel, _) => verdict.user.clone(),
        };
        let by =
            Actor { user, device: verdict.device.clone(), acks: false, session: None, token: verdict.token.clone() };
        let command = match verdict.kind {
            VerdictKind::Accept => Command::Accept { by },
            VerdictKind::Reject => Command::Reject { by, reason: verdict.reason.clone() },
            VerdictKind::Cancel => Command::Cancel { by, reason: verdict.reason.clone() },
            VerdictKind::Other(_) => continue,
        };
        // Stamped with the time of the initiate: an accept must not be older than its call.
        let decided = step(&resolved, &command, call.created_at);
        match decided {
            Ok(decision) => resolved = decision.next.unwrap_or(resolved),
            Err(refused) => resolved = refused.record.map_or(resolved, |record| *record),
        }
        resolved.named |= verdict.trusted;
    }
    resolved
}
