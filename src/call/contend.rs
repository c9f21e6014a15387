use std::time::Duration;

use super::State::{Active, Ended, Ringing, Trying};
use super::{Actor, Call, Role, UserId};

/// So much later than another a word was said for certain: more than the clocks of two nodes differ by.
pub const SAID_LATER: Duration = Duration::from_millis(250);

/// What a line that is taken means for a new call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contention {
    /// The call on the line is over: the line is free.
    Free,
    /// The new call goes on after `Displace` by this role.
    Displace(Role),
    /// The new call is refused.
    Busy,
    /// The receiver already rings the dialer: busy, and the dialer is told which call rings him.
    Glare,
}

/// Whether a live call gives way to another on the line of `user`, where a loss of the store let both be there or `other`
/// was the last on it. Who began a call or accepted one has ended each earlier one of his; a call that only rings proves
/// nothing of whom it rings.
pub fn gives_way(call: &Call, other: &Call, user: &UserId) -> bool {
    let is_earlier = (call.rank(), &call.id) < (other.rank(), &other.id);
    let later = if is_earlier { other } else { call };
    let proves = later.caller.user == *user || later.accepted_at().is_some();
    match other.end() {
        // Refused at once, it never had the line.
        Some(_) => is_earlier && proves && !other.version.is_first(),
        None => is_earlier == proves,
    }
}

/// Decides whether the call on a line gives way to a new call from `dialer` to `receiver`.
pub fn contend(line: &Call, dialer: &Actor, receiver: &UserId) -> Contention {
    match (&line.state, line.role_of(&dialer.user)) {
        (Ended(_), _) => Contention::Free,
        (Trying | Ringing, Some(Role::Caller)) => Contention::Displace(Role::Caller),
        (Trying | Ringing, Some(Role::Callee)) if line.caller.user == *receiver => Contention::Glare,
        (Trying | Ringing, Some(Role::Callee)) => Contention::Displace(Role::Callee),
        (Trying | Ringing, None) => Contention::Busy,
        // Nobody is in it as far as any node knows: its line is for whoever calls or is called.
        (Active { .. }, Some(role)) if line.unvouched => Contention::Displace(role),
        (Active { .. }, None) if line.unvouched => {
            line.role_of(receiver).map_or(Contention::Busy, Contention::Displace)
        }
        (Active { doubtful: true, .. }, Some(role)) => Contention::Displace(role),
        // One lost socket is not a dead phone: who calls a party must not cut what may be a paid call.
        (Active { doubtful: true, .. }, None) if line.are_both_away() => {
            line.role_of(receiver).map_or(Contention::Busy, Contention::Displace)
        }
        (Active { doubtful: true, .. }, None) => Contention::Busy,
        (Active { doubtful: false, .. }, Some(role)) if line.party(role).device.matches(&dialer.device) => {
            Contention::Displace(role)
        }
        (Active { doubtful: false, .. }, Some(_) | None) => Contention::Busy,
    }
}

impl Call {
    /// Whether who dialled has taken up this live call, as its caller or by accepting, after he said that.
    pub fn overtakes(&self, dialled: &Call) -> bool {
        let taken_up_at = match self.role_of(&dialled.caller.user).filter(|_| self.is_live()) {
            Some(Role::Caller) => Some(self.created_at),
            Some(Role::Callee) => self.accepted_at(),
            None => None,
        };
        taken_up_at.is_some_and(|at| at.since(dialled.created_at) > SAID_LATER)
    }

    /// Whether an initiate of this call's id asks for what this call is. A call that an accept over HTTP created has no
    /// type yet; the app spells types in either case.
    pub fn is_dialled_as(&self, receiver: &UserId, call_type: Option<&str>) -> bool {
        let types = self.dialled_type().zip(call_type);
        self.callee.user == *receiver && types.is_none_or(|(own, dialled)| own.eq_ignore_ascii_case(dialled))
    }
}
