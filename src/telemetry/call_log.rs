//! The log of each call, a line a step: at `info` where somebody tries the server out, else at `debug`.

use std::fmt;
use std::sync::OnceLock;

use super::Who;
use crate::call::{Call, CallId, Milestone, Role, UserId, What};

static ALOUD: OnceLock<bool> = OnceLock::new();

/// Decides whether the log of calls is written at `info`; the first call of a process wins.
pub(super) fn start(aloud: bool) {
    let _ = ALOUD.set(aloud);
}

fn tell(call: Option<&CallId>, line: fmt::Arguments<'_>) {
    match (ALOUD.get(), call) {
        (Some(true), Some(call)) => tracing::info!(call = %call, "{line}"),
        (Some(true), None) => tracing::info!("{line}"),
        (Some(false) | None, Some(call)) => tracing::debug!(call = %call, "{line}"),
        (Some(false) | None, None) => tracing::debug!("{line}"),
    }
}

/// What a change added to a call's history.
pub fn happened(call: &Call, added: &[Milestone]) {
    for milestone in added {
        tell(Some(&call.id), format_args!("{}", Step { call, milestone }));
    }
}

/// What envelopes and phones did for a call whose record is not at hand.
pub fn noted(id: &CallId, milestone: &Milestone) {
    let what = match milestone.what {
        What::Delivered => "call:incoming was handed to a session of the callee",
        What::NoSession => "the callee has no session to ring: it rings when he connects",
        What::Deaf => "a session of the callee no longer reads",
        What::Undelivered => "another node did not hear of the call",
        What::AcceptRefused => "an accept came too late",
        other => other.name(),
    };
    tell(Some(id), format_args!("{what}"));
}

/// A session began or ended.
pub fn came_or_went(user: &UserId, came: bool) {
    let what = if came { "connected" } else { "left" };
    tell(None, format_args!("{} {what}", Who(user)));
}

/// What a phone asked for in vain.
pub fn refused(user: &UserId, code: &str) {
    tell(None, format_args!("{} asked for something and was answered {code}", Who(user)));
}

struct Step<'a> {
    call: &'a Call,
    milestone: &'a Milestone,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, milestone } = *self;
        let (caller, callee) = (Who(&call.caller.user), Who(&call.callee.user));
        let party = match milestone.party {
            Some(Role::Caller) => &caller,
            Some(Role::Callee) | None => &callee,
        };
        let kind = call.call_type.as_deref().unwrap_or("call");
        match milestone.what {
            What::Created => write!(f, "{caller} calls {callee} ({kind})"),
            What::PushRequired => write!(f, "the backend is asked to wake {callee} by push"),
            What::Ringing => write!(f, "a phone of {callee} rings"),
            What::Accepted => write!(f, "{callee} accepted: {caller} and {callee} are in the call"),
            What::Ended => {
                write!(
                    f,
                    "the call of {caller} and {callee} ended: {}",
                    milestone.reason.as_deref().unwrap_or("unknown")
                )?;
                milestone.party.map_or(Ok(()), |_| write!(f, ", by {party}"))
            }
            What::Absent => write!(f, "{party} has no session left"),
            What::Returned => write!(f, "{party} is back"),
            What::AcceptRefused => write!(f, "an accept of {callee} came too late"),
            other => write!(f, "{} ({caller} and {callee})", other.name()),
        }
    }
}
