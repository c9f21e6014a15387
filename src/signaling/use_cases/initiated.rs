//! How an initiate is answered.

use std::time::Duration;

use crate::call::Call;
use crate::signaling::calls::Failure;
use crate::store::RingLimit;
use crate::telemetry::metrics::{self, Limit};

/// How an initiate was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Initiated {
    /// `call:incoming` went out, or the call exists already.
    Ringing,
    /// The callee has no session; the call is tracked and rings him when he connects.
    Offline,
    /// An early command was waiting, or an accept came first: the outcome follows the answer.
    Settled(Box<Call>),
    Busy {
        /// The wire id of the call in which the receiver rings the dialer.
        ringing: Option<String>,
    },
}

pub(super) fn too_many_rings(limit: RingLimit, wait: Duration) -> Failure {
    metrics::limited(match limit {
        RingLimit::PerMinute => Limit::Rings,
        RingLimit::PerCallee => Limit::RingTime,
        RingLimit::PerCaller => Limit::CallerRingTime,
    });
    Failure::RateLimited { wait }
}
