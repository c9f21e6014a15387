//! Calls as they begin.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{
    Actor, Call, CallId, EndReason, Inquiry, Party, Push, RingDetails, Role, State, Timestamp, UserId, Version,
};
use crate::signaling::node::NodeContext;

/// How long a device has to confirm the ring before a push is asked for.
const PUSH_PATIENCE: Duration = Duration::from_secs(2);

/// An unmodified backend is asked this long before a ring is given up.
const ASKED_AHEAD: Duration = Duration::from_secs(2);

/// A checked `call:initiate`.
#[derive(Clone, Debug)]
pub struct Initiate {
    pub id: CallId,
    /// The id as it was sent.
    pub wire_id: String,
    pub receiver: UserId,
    pub call_type: Option<String>,
    pub ring_details: RingDetails,
    /// Instead of the configured ring timeout.
    pub ring_timeout: Option<Duration>,
    /// The backend said that it knows the call.
    pub named: bool,
}

/// Makes calls that were not there.
pub struct NewCalls {
    pub node: Arc<NodeContext>,
}

impl NewCalls {
    /// A call that is dialled now.
    pub fn dialled(&self, by: &Actor, request: Initiate) -> Call {
        let now = self.node.now();
        let born = rand::random();
        let ring_until = now + request.ring_timeout.unwrap_or(self.node.policy.ring_timeout);
        Call {
            order: 0,
            over: 0,
            id: request.id,
            wire_id: request.wire_id,
            version: Version::default().next(born),
            born,
            redialled: Vec::new(),
            outbox_seed: rand::random(),
            created_at: now,
            ring_until,
            caller: Party {
                device: by.device.clone(),
                acks: by.acks,
                attended: by.session.is_some(),
                session: by.session.clone(),
                tokens: by.token.iter().cloned().collect(),
                ..Party::new(by.user.clone())
            },
            callee: Party::new(request.receiver),
            call_type: request.call_type,
            ring_details: Some(request.ring_details),
            timeouts: self.node.policy.timeouts(by.acks),
            rang_at: None,
            push: if self.node.policy.webhooks { Push::Due(now + PUSH_PATIENCE) } else { Push::Unwanted },
            unvouched: false,
            named: request.named || by.session.is_none(),
            verified: None,
            inquiry: self.node.policy.callbacks.then(|| Inquiry { at: ring_until - ASKED_AHEAD, asked: 0 }),
            lost_at: None,
            switching: None,
            state: State::Trying,
        }
    }

    /// The call as if no early command had been seen yet.
    pub fn trying(call: &Call) -> Call {
        Call { callee: Party::new(call.callee.user.clone()), state: State::Trying, ..call.clone() }
    }

    /// A call that only Laravel knows of, before its outcome.
    pub fn by_backend(&self, id: &CallId, wire_id: &str, caller: &UserId, receiver: &UserId) -> Call {
        let request = Initiate {
            id: id.clone(),
            wire_id: wire_id.to_owned(),
            receiver: receiver.clone(),
            call_type: None,
            ring_details: RingDetails::default(),
            ring_timeout: None,
            named: true,
        };
        self.dialled(&Actor::over_http(caller, None), request)
    }
}

/// The end of a ring that lost its line with the store to another call.
pub fn ended_busy(call: &Call, now: Timestamp) -> Call {
    let ended = call.ended(EndReason::Busy, None, None, now);
    Call { version: call.version.next(0), ..ended }
}

/// The end of a call of which nobody knows how it ended.
pub fn ended_unheard(call: &Call, now: Timestamp) -> Call {
    let (reason, at) = if call.is_ringing() {
        (EndReason::NoAnswer, call.ring_until.min(now))
    } else {
        (EndReason::Lost { party: Role::Caller }, now)
    };
    let ended = call.ended(reason, None, None, at);
    Call { version: call.version.next(0), ..ended }
}
