//! Metrics with labels. Values come from closed sets, never from ids.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};

use crate::call::ErrorCode;

/// What became of a socket that wanted to be a session.
#[derive(Clone, Copy, Debug)]
pub enum Handshake {
    Accepted,
    Limited,
    NoCredentials,
    Malformed,
    InvalidToken,
    /// Nobody could tell whether its token is valid.
    Unavailable,
    /// Another CONNECT on a transport that had its one.
    Repeated,
}

/// Why a session left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The phone said that it leaves.
    Left,
    /// The phone closed its transport.
    Closed,
    /// The connection broke.
    Lost,
    /// No answer to a ping.
    Silent,
    /// The phone sent what is no packet, or polled twice at a time.
    Protocol,
    Evicted,
    Revoked,
    SentAway,
    Drained,
    /// The node stopped.
    Stopped,
    /// A bug: what was done for it panicked.
    Panicked,
    /// The phone no longer read what was for it.
    Deaf,
}

/// A limit that refused something.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    Events,
    HangUps,
    Rings,
    Handshakes,
    Address,
    Sessions,
    Api,
    Subscriptions,
    Draining,
    Connections,
    ConnectionsOfAddress,
    SessionRequests,
    PresenceIds,
    Messages,
    /// Ring time that one callee did not answer.
    RingTime,
    /// Ring time of one caller that nobody answered.
    CallerRingTime,
    /// Words of one user that wait for the store.
    WaitingWords,
}

/// Why this side ended a connection that asked for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its request's head took too long.
    Head,
    /// Its request's body took too long.
    Body,
    /// Its request's body came too slowly.
    SlowBody,
    /// No further request came.
    Idle,
    /// Incomplete requests held too much together.
    Memory,
    /// Its client took nothing of an answer.
    Unread,
    /// The port was full, and it only waited for its client.
    Displaced,
}

/// What became of a request for another node's session.
#[derive(Clone, Copy, Debug)]
pub enum Relayed {
    Forwarded,
    /// Its node is not known.
    Unknown,
    Unreachable,
    Refused,
}

/// What became of a websocket to which a session on polling wanted to move.
#[derive(Clone, Copy, Debug)]
pub enum Upgraded {
    Completed,
    Failed,
    TimedOut,
    /// There is no such session, or it moves already.
    Refused,
}

/// What a callback to Laravel came to.
#[derive(Clone, Copy, Debug)]
pub enum CallbackOutcome {
    Done,
    /// Laravel had said it itself.
    Needless,
    Refused,
    Failed,
    Expired,
    /// Laravel accepts no token that was kept of the party.
    Unauthorized,
    /// Kept as a dead letter.
    Dead,
    /// Of a call that only a phone named: Laravel has another under its id.
    OfOthers,
    /// The same, and its row was final before anything was said.
    Over,
}

/// What Laravel's table said of a call.
#[derive(Clone, Copy, Debug)]
pub enum Inquired {
    Accepted,
    Over,
    Stands,
    Unavailable,
}

/// An event of a phone whose duration is measured.
#[derive(Clone, Copy, Debug)]
pub enum Timed {
    Initiate,
    Ringing,
    Accept,
    Reject,
    Cancel,
    End,
}

/// What a phone learns of the other side.
#[derive(Clone, Copy, Debug)]
pub enum ToldOutcome {
    Accepted,
    Rejected,
    Cancelled,
    Ended,
}

/// Why a line gave way.
#[derive(Clone, Copy, Debug)]
pub enum Freed {
    /// Its call was over or gone: it should have been free.
    Gone,
    Doubtful,
    /// Its id was that of another's call, who took it back.
    Squatted,
}

pub fn handshake(outcome: Handshake) {
    static HANDLES: LazyLock<[Counter; 7]> = LazyLock::new(|| {
        ["accepted", "limited", "no_credentials", "malformed", "invalid_token", "unavailable", "repeated"]
            .map(|outcome| counter!("signaling_handshakes_total", "outcome" => outcome))
    });
    HANDLES[outcome as usize].increment(1);
}

pub fn departed(cause: Departure) {
    static HANDLES: LazyLock<[Counter; 12]> = LazyLock::new(|| {
        [
            "left",
            "closed",
            "lost",
            "silent",
            "protocol",
            "evicted",
            "revoked",
            "sent_away",
            "drained",
            "stopped",
            "panicked",
            "deaf",
        ]
        .map(|cause| counter!("signaling_disconnects_total", "cause" => cause))
    });
    HANDLES[cause as usize].increment(1);
}

pub fn event_refused(code: ErrorCode) {
    static HANDLES: LazyLock<[Counter; 6]> =
        LazyLock::new(|| ErrorCode::NAMES.map(|code| counter!("signaling_event_errors_total", "code" => code)));
    HANDLES[code as usize].increment(1);
}

pub fn event_done(event: Timed, duration: Duration) {
    static HANDLES: LazyLock<[Histogram; 6]> = LazyLock::new(|| {
        ["initiate", "ringing", "accept", "reject", "cancel", "end"]
            .map(|event| histogram!("signaling_event_seconds", "event" => event))
    });
    HANDLES[event as usize].record(duration.as_secs_f64());
}

pub fn limited(limit: Limit) {
    static HANDLES: LazyLock<[Counter; 17]> = LazyLock::new(|| {
        [
            "events",
            "hang_ups",
            "rings",
            "handshakes",
            "address",
            "sessions",
            "api",
            "subscriptions",
            "draining",
            "connections",
            "connections_of_address",
            "session_requests",
            "presence_ids",
            "messages",
            "ring_time",
            "caller_ring_time",
            "waiting_words",
        ]
        .map(|limit| counter!("signaling_limited_total", "limit" => limit))
    });
    HANDLES[limit as usize].increment(1);
}

pub fn connection_cut(cause: Cut) {
    static HANDLES: LazyLock<[Counter; 7]> = LazyLock::new(|| {
        ["head", "body", "slow_body", "idle", "memory", "unread", "displaced"]
            .map(|cause| counter!("signaling_connections_cut_total", "cause" => cause))
    });
    HANDLES[cause as usize].increment(1);
}

pub fn relayed(outcome: Relayed) {
    static HANDLES: LazyLock<[Counter; 4]> = LazyLock::new(|| {
        ["forwarded", "unknown", "unreachable", "refused"]
            .map(|outcome| counter!("signaling_relayed_total", "outcome" => outcome))
    });
    HANDLES[outcome as usize].increment(1);
}

pub fn upgraded(outcome: Upgraded) {
    static HANDLES: LazyLock<[Counter; 4]> = LazyLock::new(|| {
        ["completed", "failed", "timed_out", "refused"]
            .map(|outcome| counter!("signaling_upgrades_total", "outcome" => outcome))
    });
    HANDLES[outcome as usize].increment(1);
}

/// `kind` is `record` or `push`, `outcome` one of the documented values.
pub fn webhook(kind: &'static str, outcome: &'static str) {
    counter!("signaling_webhooks_total", "type" => kind, "outcome" => outcome).increment(1);
}

/// `cause` is one of the documented values.
pub fn webhook_failed(cause: &'static str) {
    counter!("signaling_webhook_failures_total", "cause" => cause).increment(1);
}

/// `request` is one of the documented values.
pub fn called_back(request: &'static str, outcome: CallbackOutcome) {
    let outcome = match outcome {
        CallbackOutcome::Done => "done",
        CallbackOutcome::Needless => "needless",
        CallbackOutcome::Refused => "refused",
        CallbackOutcome::Failed => "failed",
        CallbackOutcome::Expired => "expired",
        CallbackOutcome::Unauthorized => "unauthorized",
        CallbackOutcome::Dead => "dead",
        CallbackOutcome::OfOthers => "of_others",
        CallbackOutcome::Over => "over",
    };
    counter!("signaling_callbacks_total", "request" => request, "outcome" => outcome).increment(1);
}

/// `request` is one of the documented values.
pub fn callback_answered(request: &'static str, after: Duration) {
    histogram!("signaling_callback_seconds", "request" => request).record(after.as_secs_f64());
}

pub fn inquired(outcome: Inquired) {
    static HANDLES: LazyLock<[Counter; 4]> = LazyLock::new(|| {
        ["accepted", "over", "stands", "unavailable"]
            .map(|outcome| counter!("signaling_inquiries_total", "outcome" => outcome))
    });
    HANDLES[outcome as usize].increment(1);
}

pub fn outbox(waiting: u64, oldest: Duration, dead: u64, bytes: u64, dropped: u64) {
    gauge!("signaling_outbox_records").set(waiting as f64);
    gauge!("signaling_outbox_oldest_seconds").set(oldest.as_secs_f64());
    gauge!("signaling_outbox_dead").set(dead as f64);
    gauge!("signaling_outbox_bytes").set(bytes as f64);
    counter!("signaling_outbox_dropped_total").absolute(dropped);
}

pub fn calls(trying: usize, ringing: usize, active: usize) {
    for (state, count) in [("trying", trying), ("ringing", ringing), ("active", active)] {
        gauge!("signaling_calls", "state" => state).set(count as f64);
    }
}

pub fn milestones_dropped(count: usize) {
    counter!("signaling_milestones_dropped_total").increment(count as u64);
}

pub fn sessions_swept(count: usize) {
    counter!("signaling_sessions_swept_total").increment(count as u64);
}

/// A phone was told to ring: how long after the call's creation, whether on the caller's node, whether it promised to
/// acknowledge.
pub fn rung(after: Duration, local: bool, acks: bool) {
    static PATHS: LazyLock<[Histogram; 2]> =
        LazyLock::new(|| ["remote", "local"].map(|path| histogram!("signaling_ring_delivery_seconds", "path" => path)));
    static RUNG: LazyLock<[Counter; 2]> =
        LazyLock::new(|| ["none", "promised"].map(|acks| counter!("signaling_incoming_total", "acks" => acks)));
    PATHS[usize::from(local)].record(after.as_secs_f64());
    RUNG[usize::from(acks)].increment(1);
}

pub fn outcome_told(outcome: ToldOutcome, after: Duration) {
    static HANDLES: LazyLock<[Histogram; 4]> = LazyLock::new(|| {
        ["accepted", "rejected", "cancelled", "ended"]
            .map(|event| histogram!("signaling_outcome_delivery_seconds", "event" => event))
    });
    HANDLES[outcome as usize].record(after.as_secs_f64());
}

pub fn line_freed(cause: Freed) {
    static HANDLES: LazyLock<[Counter; 3]> = LazyLock::new(|| {
        ["gone", "doubtful", "squatted"].map(|cause| counter!("signaling_lines_freed_total", "cause" => cause))
    });
    HANDLES[cause as usize].increment(1);
}

/// `command` is one of the documented values.
pub fn store_answered(command: &'static str, after: Duration) {
    histogram!("signaling_store_seconds", "command" => command).record(after.as_secs_f64());
}

pub fn calls_restored(count: u64) {
    counter!("signaling_calls_restored_total").increment(count);
}

/// `what` is one of the documented values.
pub fn unreadable(what: &'static str) {
    counter!("signaling_unreadable_total", "what" => what).increment(1);
}

/// `outcome` is one of the documented values.
pub fn token_checked(outcome: &'static str) {
    counter!("signaling_token_checks_total", "outcome" => outcome).increment(1);
}

/// `outcome` is one of the documented values.
pub fn initiate_checked(outcome: &'static str) {
    counter!("signaling_initiate_checks_total", "outcome" => outcome).increment(1);
}
