//! The times and bounds that decide what happens when; all from the configuration.

use std::time::Duration;

use crate::call::CallTimeouts;

#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub ring_timeout: Duration,
    pub caller_grace: Duration,
    pub caller_grace_without_acks: Duration,
    pub call_grace: Duration,
    pub call_max: Duration,
    /// Both parties away for so long, neither with `acks`: the call is called lost.
    pub lost_call: Duration,
    /// How long a request for video waits for its answer.
    pub video_answer: Duration,
    pub max_sessions_per_device: usize,
    /// Over all his devices and all nodes.
    pub max_sessions_per_user: usize,
    /// How long after an accept the deployed app can't hear `call:ended`.
    pub accept_hold: Duration,
    /// When an accept is told once more to a session without `acks`.
    pub accept_repeat: Duration,
    pub lease: Duration,
    pub lease_renewal: Duration,
    /// A decision older than this is not spoken: the call is read again.
    pub late_decision: Duration,
    pub heal_ringing: Duration,
    pub heal_active: Duration,
    /// Milestones of calls are told to the backend by webhook.
    pub webhooks: bool,
    /// So is who comes and goes, as far as it can be.
    pub presence_webhooks: bool,
    /// An unmodified backend is told over its own REST API.
    pub callbacks: bool,
}

impl Policy {
    pub(super) fn timeouts(&self, caller_acks: bool) -> CallTimeouts {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let caller_grace = if caller_acks { self.caller_grace } else { self.caller_grace_without_acks };
        CallTimeouts {
            caller_grace: millis(caller_grace),
            call_grace: millis(self.call_grace),
            max: millis(self.call_max),
            accept_hold: millis(self.accept_hold),
            lost: millis(self.lost_call),
            asked: millis(self.video_answer),
        }
    }
}

#[cfg(test)]
impl Policy {
    /// Times as a node without a configuration has them.
    pub fn for_tests() -> Self {
        let seconds = Duration::from_secs;
        Self {
            ring_timeout: seconds(30),
            caller_grace: seconds(10),
            caller_grace_without_acks: seconds(25),
            call_grace: seconds(60),
            call_max: seconds(4 * 3600),
            lost_call: seconds(600),
            video_answer: seconds(30),
            max_sessions_per_device: 3,
            max_sessions_per_user: 32,
            accept_hold: seconds(2),
            accept_repeat: seconds(2),
            lease: seconds(10),
            lease_renewal: seconds(3),
            late_decision: seconds(2),
            heal_ringing: seconds(2),
            heal_active: seconds(10),
            webhooks: false,
            presence_webhooks: false,
            callbacks: false,
        }
    }
}
