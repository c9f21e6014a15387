use super::{Call, Device, RingDetails, Role, SealedToken, SessionId, Timestamp, UserId};

/// Who sent a command. Taken from the socket or from Laravel's request, never from a phone's payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    pub user: UserId,
    pub device: Device,
    /// The device promised acknowledgements.
    pub acks: bool,
    /// Absent over HTTP.
    pub session: Option<SessionId>,
    /// What it came with; kept with the call where the backend is called back.
    pub token: Option<SealedToken>,
}

impl Actor {
    /// Laravel speaks for the user.
    pub fn over_http(user: &UserId, device: Option<Device>) -> Self {
        Self { user: user.clone(), device: device.unwrap_or_default(), acks: false, session: None, token: None }
    }
}

/// What may be done to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// An initiate of a call that exists: the same once more, or another one under its id.
    Initiate {
        by: Actor,
        receiver: UserId,
        call_type: Option<String>,
        ring_details: Option<RingDetails>,
        /// By which it is withdrawn if its caller is told that it could not be made.
        nonce: u64,
    },
    /// A device confirmed that it rings.
    Alert {
        by: Actor,
    },
    Accept {
        by: Actor,
    },
    Reject {
        by: Actor,
        reason: Option<String>,
    },
    Cancel {
        by: Actor,
        reason: Option<String>,
    },
    /// `reason` is Laravel's; phones give none.
    End {
        by: Actor,
        reason: Option<String>,
    },
    /// The other side is asked for video.
    RequestVideo {
        by: Actor,
    },
    /// The answer to the other side's request; `reason` is that of a no.
    AnswerVideo {
        by: Actor,
        accepted: bool,
        reason: Option<String>,
    },
    /// Back to audio, which needs no answer.
    Downgrade {
        by: Actor,
    },
    /// Laravel ended it in nobody's name.
    Dismiss {
        reason: Option<String>,
    },
    /// Its id is another's, who takes it: the call of this rank ends under it.
    Evict {
        rank: u64,
    },
    /// Its caller was told that it could not be made, and it was all the same: by the dial with this nonce. Others may have
    /// dialled it too.
    Withdraw {
        nonce: u64,
    },
    /// A newer call takes a line of this one, as far as the line yields to it when that is written: whoever decided may
    /// have seen a doubt that is gone since, or a ring that was answered.
    Yield {
        dialer: Actor,
        receiver: UserId,
    },
    /// A newer call of this party takes its line.
    Displace {
        by: Role,
    },
    /// Laravel reports an accepted call of this party that we never saw.
    Preempt {
        by: Role,
    },
    /// After a loss of the store another call has the line of this party; refused if it was accepted since that was
    /// found, or had been and is not.
    GiveWay {
        by: Role,
        accepted: bool,
    },
    /// The party's device has no session left since `at`; whether the last one promised `acks`, and when that was found.
    Leave {
        role: Role,
        at: Timestamp,
        acks: bool,
        found: Timestamp,
    },
    Return {
        role: Role,
    },
    /// No device of the callee can confirm the ring: a push is asked for at once.
    Push,
    /// An initiate was refused because of this call: the backend is to say whether it still is one.
    Verify,
    /// The store came back older, and no node knows this accepted call.
    Doubt,
    /// The backend knows no better than the ring deadline.
    KeepDeadline,
    /// The backend reports an end that happened here.
    Report,
    /// A deadline may be due.
    Expire(PartyPresence),
}

impl Command {
    pub fn name(&self) -> &'static str {
        match self {
            Command::Initiate { .. } => "initiate",
            Command::Alert { .. } => "alert",
            Command::Accept { .. } => "accept",
            Command::Reject { .. } => "reject",
            Command::Cancel { .. } => "cancel",
            Command::End { .. } => "end",
            Command::RequestVideo { .. } => "upgrade",
            Command::AnswerVideo { .. } => "upgrade_response",
            Command::Downgrade { .. } => "downgrade",
            Command::Dismiss { .. } => "dismiss",
            Command::Evict { .. } => "evict",
            Command::Withdraw { .. } => "withdraw",
            Command::Yield { .. } | Command::Displace { .. } => "displace",
            Command::Preempt { .. } => "preempt",
            Command::GiveWay { .. } => "give_way",
            Command::Leave { .. } => "leave",
            Command::Return { .. } => "return",
            Command::Push => "push",
            Command::Verify => "verify",
            Command::Doubt => "doubt",
            Command::KeepDeadline => "stand",
            Command::Report => "report",
            Command::Expire(_) => "expire",
        }
    }

    /// Whether it is the backend's word of this call and its parties.
    pub fn is_of_backend(&self) -> bool {
        self.by().is_some_and(|by| by.session.is_none()) || matches!(self, Command::Dismiss { .. })
    }

    /// Whether somebody's word ends an accepted call by it.
    pub fn hangs_up(&self) -> bool {
        matches!(self, Command::Reject { .. } | Command::Cancel { .. } | Command::End { .. } | Command::Dismiss { .. })
    }

    /// Who sent it; absent for what nodes say among themselves.
    pub fn by(&self) -> Option<&Actor> {
        match self {
            Command::Initiate { by, .. }
            | Command::Alert { by }
            | Command::Accept { by }
            | Command::Reject { by, .. }
            | Command::Cancel { by, .. }
            | Command::End { by, .. }
            | Command::RequestVideo { by }
            | Command::AnswerVideo { by, .. }
            | Command::Downgrade { by } => Some(by),
            Command::Dismiss { .. }
            | Command::Evict { .. }
            | Command::Withdraw { .. }
            | Command::Yield { .. }
            | Command::Displace { .. }
            | Command::Preempt { .. }
            | Command::GiveWay { .. }
            | Command::Leave { .. }
            | Command::Return { .. }
            | Command::Push
            | Command::Verify
            | Command::Doubt
            | Command::KeepDeadline
            | Command::Report
            | Command::Expire(_) => None,
        }
    }
}

/// What the store says of the parties at the time a deadline is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartyPresence {
    pub caller_present: bool,
    pub callee_present: bool,
    /// Much of the cluster vanished within seconds: nobody is called lost for a while.
    pub mass_disconnect: bool,
    /// The store refused or failed writes a moment ago: who came back may not be registered yet. No absence is judged.
    pub unsure: bool,
}

/// The outcome of a command that was obeyed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The changed call, its version still to be raised; absent for a repeat, which changes nothing.
    pub next: Option<Call>,
    pub tell_caller: bool,
    pub tell_callee: bool,
}

impl PartyPresence {
    pub(super) fn has(&self, role: Role) -> bool {
        match role {
            Role::Caller => self.caller_present,
            Role::Callee => self.callee_present,
        }
    }
}

impl Decision {
    pub(super) fn unchanged() -> Self {
        Self { next: None, tell_caller: false, tell_callee: false }
    }

    pub(super) fn tell_both(next: Call) -> Self {
        Self { next: Some(next), tell_caller: true, tell_callee: true }
    }

    pub(super) fn tell(next: Call, role: Role) -> Self {
        Self { next: Some(next), tell_caller: role == Role::Caller, tell_callee: role == Role::Callee }
    }

    pub(super) fn quiet(next: Call) -> Self {
        Self { next: Some(next), tell_caller: false, tell_callee: false }
    }
}

/// Why a command was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotAParticipant,
    InvalidState,
    /// Another device of the user has the call: the sender hears `Answered elsewhere`.
    AnsweredElsewhere,
    /// The call is over: the sender's session hears `call:ended`.
    Over,
    /// No deadline is due, or nothing is left to do.
    NotDue,
}

/// A rule said no. `record` is a change to keep all the same: an accept that lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub refusal: Refusal,
    pub record: Option<Box<Call>>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, record: None }
    }
}
