//! What every store promises, run once on memory and once on Redis.

#[path = "../../tests/it/harness/redis.rs"]
pub mod test_server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::memory::MemoryStore;
use super::redis::{RedisCalls, RedisSessions, RedisTokens, connect};
use super::*;
use crate::call::{
    Actor, CallTimeouts, Command, EarlyCommandKind, EndReason, MILESTONES, Party, Push, Role, State, TokenHash, What,
    step,
};
use crate::clock::Clock;

/// For tests that are not about limits.
pub const UNLIMITED: Retention = Retention {
    live: Duration::from_secs(18_000),
    ended: Duration::from_secs(600),
    early_command: Duration::from_secs(300),
    rings_per_minute: 0,
    messages_per_minute: 0,
    ring_budget: RingBudget::OFF,
};
const RETENTION: Retention = Retention {
    rings_per_minute: 20,
    messages_per_minute: 300,
    ring_budget: RingBudget { full_ring: Duration::from_secs(30), per_callee: 3, per_caller: 5 },
    ..UNLIMITED
};

struct Stores {
    calls: Arc<dyn CallStore>,
    sessions: Arc<dyn SessionStore>,
    tokens: Arc<dyn TokenStore>,
    now: Timestamp,
}

fn memory() -> Stores {
    let clock = Clock::system();
    let store = Arc::new(MemoryStore::new(clock.clone(), RETENTION));
    Stores { calls: store.clone(), sessions: store.clone(), tokens: store, now: clock.now() }
}

async fn redis() -> Stores {
    let client = connect(&test_server::shared().url(), &TaskTracker::new()).await.expect("redis answers");
    let prefix = format!("c{:016x}", rand::random::<u64>());
    Stores {
        calls: Arc::new(RedisCalls::new(client.clone(), &prefix, RETENTION)),
        sessions: Arc::new(RedisSessions::new(client.clone(), client.clone(), &prefix)),
        tokens: Arc::new(RedisTokens::new(client, &prefix)),
        now: Clock::system().now(),
    }
}

macro_rules! contract {
    ($($(#[doc = $doc:literal])* async fn $name:ident($stores:ident: Stores) $body:block)*) => {
        $(mod $name {
            use super::*;

            async fn promise($stores: Stores) $body

            #[tokio::test]
            async fn memory() {
                promise(super::memory()).await;
            }

            #[tokio::test]
            async fn redis() {
                promise(super::redis().await).await;
            }
        })*
    };
}
pub(super) use contract;

pub fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub fn known() -> Restored {
    Restored { written: false, without_line: false }
}

pub fn restored() -> Restored {
    Restored { written: true, without_line: false }
}

pub fn call(id: &str, caller: &str, callee: &str, now: Timestamp) -> Call {
    Call {
        order: 0,
        over: 0,
        id: CallId::parse(id).unwrap(),
        wire_id: id.into(),
        version: Version { counter: 1, nonce: rand::random() },
        born: 0,
        redialled: Vec::new(),
        outbox_seed: 0,
        created_at: now,
        ring_until: now + Duration::from_secs(30),
        caller: Party::new(user(caller)),
        callee: Party::new(user(callee)),
        call_type: Some("AUDIO".into()),
        ring_details: None,
        timeouts: CallTimeouts { caller_grace: 1, call_grace: 1, max: 1, accept_hold: 1, lost: 1, asked: 1 },
        rang_at: None,
        push: Push::Unwanted,
        unvouched: false,
        named: false,
        switching: None,
        verified: None,
        inquiry: None,
        lost_at: None,
        state: State::Trying,
    }
}

pub fn apply(call: &Call, command: Command, now: Timestamp) -> Call {
    let mut next = step(call, &command, now).unwrap().next.unwrap();
    next.version = call.version.next(rand::random());
    next
}

/// The call when its caller cancels it.
fn given_up(call: &Call, now: Timestamp) -> Call {
    apply(call, Command::Cancel { by: by(call.caller.user.as_str()), reason: None }, now)
}

pub fn by(name: &str) -> Actor {
    Actor { user: user(name), device: Device::Unnamed, acks: false, session: None, token: None }
}

/// Creates a call that nothing is in the way of; as it was written.
async fn create(calls: &Arc<dyn CallStore>, call: &Call, now: Timestamp) -> Call {
    match calls.create(call, &[], &[], &[], now).await.unwrap() {
        Created::Created(call) => *call,
        other => panic!("not created: {other:?}"),
    }
}

/// Swaps in a change that meets no other; as it was written.
async fn swap(calls: &Arc<dyn CallStore>, next: &Call, seen: Version) -> Call {
    match calls.swap(next, seen, &[], &[]).await.unwrap() {
        Swap::Done { over } => Call { over, ..next.clone() },
        other => panic!("not swapped: {other:?}"),
    }
}

pub fn early_command(name: &str, kind: EarlyCommandKind, at: Timestamp) -> EarlyCommand {
    EarlyCommand { user: user(name), device: Device::Unnamed, kind, trusted: false, reason: None, at, token: None }
}

pub fn session(id: u128, name: &str, node: &str, epoch: u64) -> SessionRecord {
    SessionRecord {
        id: SessionId::from_random(id),
        user: user(name),
        node: NodeId::parse(node).unwrap(),
        epoch,
        device: Device::Named("d".into()),
        acks: true,
        connected_at: Timestamp::from_millis(5),
    }
}

pub fn lease(node: &str, epoch: u64) -> Lease {
    Lease {
        node: NodeId::parse(node).unwrap(),
        epoch,
        address: "http://10.0.0.1:1".into(),
        probe: "http://10.0.0.1:2/ready".into(),
        expires_at: Timestamp::from_millis(0),
        sessions: 3,
    }
}

contract! {
    /// A new call claims both lines and can be read back as it was written.
    async fn create_claims_both_lines(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let first = create(&calls, &first, now).await;
        assert_eq!(calls.load(&first.id).await.unwrap().as_ref(), Some(&first));
        for name in ["ana", "bo"] {
            assert_eq!(calls.line(&user(name)).await.unwrap().as_ref(), Some(&first));
        }
        assert_eq!(calls.live_calls().await.unwrap(), 1);
        let third = call("CALL_3", "cleo", "bo", now);
        let busy = Created::Busy { caller: None, callee: Some(Box::new(first.clone())), limited: None };
        assert_eq!(calls.create(&third, &[], &[], &[], now).await.unwrap(), busy);
        assert_eq!(calls.load(&third.id).await.unwrap(), None, "a busy call writes nothing");
        assert_eq!(calls.line(&user("cleo")).await.unwrap(), None);
        let both = call("CALL_4", "bo", "ana", now);
        let busy =
            Created::Busy { caller: Some(Box::new(first.clone())), callee: Some(Box::new(first)), limited: None };
        assert_eq!(calls.create(&both, &[], &[], &[], now).await.unwrap(), busy);
    }

    /// The same id is never written twice; a writer whose reply was lost recognises its nonce.
    async fn create_is_recognised_by_its_nonce(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let first = create(&calls, &first, now).await;
        let again = Created::Exists(Box::new(first.clone()));
        assert_eq!(calls.create(&first, &[], &[], &[], now).await.unwrap(), again);
        let other = call("1", "ana", "bo", now);
        assert_eq!(calls.create(&other, &[], &[], &[], now).await.unwrap(), again, "CALL_1 and 1 are one call");
    }

    /// One of two concurrent swaps wins; the loser gets what was written.
    async fn swap_is_decided_by_the_version(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let first = create(&calls, &first, now).await;
        let accepted = apply(&first, Command::Accept { by: by("bo") }, now);
        let cancelled = apply(&first, Command::Cancel { by: by("ana"), reason: None }, now);
        let (one, two) = tokio::join!(calls.swap(&accepted, first.version, &[], &[]), calls.swap(&cancelled, first.version, &[], &[]));
        let (one, two) = (one.unwrap(), two.unwrap());
        match (&one, &two) {
            (Swap::Done { .. }, Swap::Stale(stored)) => assert_eq!(**stored, accepted),
            (Swap::Stale(stored), Swap::Done { over }) => assert_eq!(**stored, Call { over: *over, ..cancelled }),
            _ => panic!("not exactly one won: {one:?} {two:?}"),
        }
        assert_eq!(calls.swap(&call("CALL_9", "x", "y", now), first.version, &[], &[]).await.unwrap(), Swap::Gone);
    }

    /// The end releases both lines, drops the deadline and lists the outcome for both, newest first.
    async fn end_releases_everything(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        for round in 0..7u64 {
            let id = format!("CALL_{round}");
            let first = call(&id, "ana", "bo", now);
            let first = create(&calls, &first, now).await;
            let ended = apply(&first, Command::Reject { by: by("bo"), reason: None }, now);
            let ended = swap(&calls, &ended, first.version).await;
            assert_eq!(calls.line(&user("ana")).await.unwrap(), None);
            assert_eq!(calls.live_calls().await.unwrap(), 0);
            let far = now + Duration::from_secs(3600);
            assert!(calls.claim_due(far, far, Duration::from_secs(1), 10).await.unwrap().is_empty());
            for name in ["ana", "bo"] {
                let snapshot = calls.reconnect_snapshot(&user(name)).await.unwrap();
                assert_eq!(snapshot.line, None);
                assert_eq!(snapshot.last.as_ref(), Some(&ended));
                assert_eq!(snapshot.outcomes[0].wire_id, id);
                assert_eq!(snapshot.outcomes[0].reason, "rejected");
                assert!(snapshot.outcomes.len() <= OUTCOMES_PER_USER);
            }
        }
    }

    /// One caller rings one callee so often a minute and not more; others are not concerned.
    async fn rings_are_bounded(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        for round in 0..=RETENTION.rings_per_minute {
            let first = call(&format!("CALL_{round}"), "ana", "bo", now);
            let created = calls.create(&first, &[], &[], &[], now).await.unwrap();
            if round == RETENTION.rings_per_minute {
                let Created::TooManyRings { limit: RingLimit::PerMinute, wait } = created else { panic!("{created:?}") };
                assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60), "{wait:?}");
                assert_eq!(calls.load(&first.id).await.unwrap(), None);
                break;
            }
            assert!(matches!(created, Created::Created(_)), "round {round}: {created:?}");
            let ended = apply(&first, Command::Cancel { by: by("ana"), reason: None }, now);
            swap(&calls, &ended, first.version).await;
        }
        create(&calls, &call("CALL_x", "ana", "cleo", now), now).await;
    }

    /// Ring time that a callee does not answer has a budget: three full rings, then one in ten minutes. A ring costs what
    /// it rang, once, however often its end is written; an accept and a call back forgive it.
    async fn unanswered_ring_time_is_bounded(stores: Stores) {
        let (calls, mut now) = (stores.calls, stores.now);
        let ring = Duration::from_secs(30);
        let mut round = 0;
        let mut dial = |caller: &str, callee: &str, now| {
            round += 1;
            call(&format!("CALL_{round}"), caller, callee, now)
        };
        let mut rung = 0;
        let begun = now;
        // Without a pause, for an hour; the limit of a minute is another's.
        while now.since(begun) < Duration::from_secs(3600) {
            let first = dial("ana", "bo", now);
            match calls.create(&first, &[], &[], &[], now).await.unwrap() {
                Created::Created(first) => {
                    rung += 1;
                    // Noticed late: the ring costs no more than it was to last.
                    now = now + ring;
                    let late = now + Duration::from_millis(400);
                    let ended = given_up(&first, late);
                    swap(&calls, &ended, first.version).await;
                    assert!(matches!(calls.swap(&ended, first.version, &[], &[]).await.unwrap(), Swap::Stale(_)));
                }
                Created::TooManyRings { limit: RingLimit::PerCallee, wait } => {
                    assert_eq!(calls.load(&first.id).await.unwrap(), None);
                    assert!(wait <= Duration::from_secs(600), "{wait:?}");
                    let early = now + wait.saturating_sub(Duration::from_millis(2));
                    let early = calls.create(&dial("ana", "bo", early), &[], &[], &[], early).await.unwrap();
                    assert!(matches!(early, Created::TooManyRings { .. }), "{early:?}");
                    now = now + wait;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(rung, 3 + 5, "in an hour");
        let first = create(&calls, &dial("ana", "bo", now), now).await;
        now = now + ring;
        swap(&calls, &given_up(&first, now), first.version).await;

        // Others ring him, and he others; he calls back, and is rung again.
        let refused = calls.create(&dial("ana", "bo", now), &[], &[], &[], now).await.unwrap();
        assert!(matches!(refused, Created::TooManyRings { .. }), "{refused:?}");
        for (caller, callee) in [("cleo", "bo"), ("ana", "cleo"), ("bo", "ana"), ("ana", "bo")] {
            let first = create(&calls, &dial(caller, callee, now), now).await;
            let ended = apply(&first, Command::Cancel { by: by(caller), reason: None }, now);
            swap(&calls, &ended, first.version).await;
        }

        // An accept forgives all, and so does a call back.
        for accepted in [false, true, false] {
            for _ in 0..3 {
                let first = create(&calls, &dial("dan", "eve", now), now).await;
                let ended = if accepted {
                    let active = apply(&first, Command::Accept { by: by("eve") }, now);
                    let active = swap(&calls, &active, first.version).await;
                    let ended = apply(&active, Command::End { by: by("dan"), reason: None }, now);
                    swap(&calls, &ended, active.version).await
                } else {
                    now = now + ring;
                    swap(&calls, &given_up(&first, now), first.version).await
                };
                assert!(!ended.is_live());
            }
            now = now + Duration::from_secs(61); // another minute of rings
            if !accepted {
                let refused = calls.create(&dial("dan", "eve", now), &[], &[], &[], now).await.unwrap();
                assert!(matches!(refused, Created::TooManyRings { limit: RingLimit::PerCallee, .. }), "{refused:?}");
                let back = create(&calls, &dial("eve", "dan", now), now).await;
                swap(&calls, &apply(&back, Command::Cancel { by: by("eve"), reason: None }, now), back.version).await;
            }
        }
    }

    /// With a line that is taken also what would refuse the call then is said, so that no line is freed for it. It counts as
    /// no ring.
    async fn a_call_with_a_taken_line_is_limited_too(stores: Stores) {
        let (calls, mut now) = (stores.calls, stores.now);
        for round in 0..RETENTION.rings_per_minute {
            let first = create(&calls, &call(&format!("{round}"), "ana", "bo", now), now).await;
            swap(&calls, &given_up(&first, now), first.version).await;
        }
        let own = create(&calls, &call("own", "ana", "cleo", now), now).await;
        let asked = async |callee: &str, now: Timestamp| {
            match calls.create(&call("next", "ana", callee, now), &[], &[], &[], now).await.unwrap() {
                Created::Busy { caller, limited, .. } if caller.as_deref() == Some(&own) => limited,
                other => panic!("{other:?}"),
            }
        };
        for _ in 0..=RETENTION.rings_per_minute {
            let Some((RingLimit::PerMinute, wait)) = asked("bo", now).await else { panic!("not limited") };
            assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60), "{wait:?}");
            assert_eq!(asked("dan", now).await, None);
        }
        assert_eq!(calls.load(&CallId::parse("next").unwrap()).await.unwrap(), None);
        swap(&calls, &given_up(&own, now), own.version).await;
        create(&calls, &call("dan", "ana", "dan", now), now).await;

        for round in 0..3 {
            let first = create(&calls, &call(&format!("eve{round}"), "eve", "fay", now), now).await;
            now = now + Duration::from_secs(30);
            swap(&calls, &given_up(&first, now), first.version).await;
        }
        create(&calls, &call("gus", "gus", "fay", now), now).await;
        let busy = calls.create(&call("next", "eve", "fay", now), &[], &[], &[], now).await.unwrap();
        assert!(matches!(busy, Created::Busy { limited: Some((RingLimit::PerCallee, _)), .. }), "{busy:?}");
    }

    /// A caller whom nobody answers is bounded over all callees.
    async fn unanswered_ring_time_of_a_caller_is_bounded(stores: Stores) {
        let (calls, mut now) = (stores.calls, stores.now);
        let mut rung = 0;
        let wait = loop {
            let first = call(&format!("{rung}"), "ana", &format!("bo{rung}"), now);
            match calls.create(&first, &[], &[], &[], now).await.unwrap() {
                Created::Created(first) => {
                    now = now + Duration::from_secs(30);
                    swap(&calls, &given_up(&first, now), first.version).await;
                    rung += 1;
                }
                Created::TooManyRings { limit: RingLimit::PerCaller, wait } => break wait,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(rung, 8, "five at once, and one more for each minute that they rang");
        assert!(wait <= Duration::from_secs(90), "{wait:?}");
        create(&calls, &call("y", "dan", "cleo", now), now).await;
        let later = now + wait;
        create(&calls, &call("z", "ana", "eve", later), later).await;
    }

    /// A record may change after its end without claiming or releasing anything.
    async fn a_change_after_the_end_touches_no_line(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let first = create(&calls, &first, now).await;
        let ended = apply(&first, Command::Cancel { by: by("ana"), reason: None }, now);
        let ended = swap(&calls, &ended, first.version).await;
        let second = call("CALL_2", "ana", "bo", now);
        let second = create(&calls, &second, now).await;
        let mut late = *step(&ended, &Command::Accept { by: by("bo") }, now).unwrap_err().record.unwrap();
        late.version = ended.version.next(1);
        swap(&calls, &late, ended.version).await;
        assert_eq!(calls.line(&user("bo")).await.unwrap(), Some(second));
        assert_eq!(calls.reconnect_snapshot(&user("bo")).await.unwrap().outcomes.len(), 1, "listed once");
    }

    /// A call that is over when it is written holds no line and is its caller's outcome only.
    async fn a_busy_call_is_recorded_as_ended(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let ended = apply(&call("CALL_1", "ana", "bo", now), Command::Displace { by: Role::Callee }, now);
        let ended = create(&calls, &ended, now).await;
        assert_eq!(calls.line(&user("ana")).await.unwrap(), None);
        assert_eq!(calls.live_calls().await.unwrap(), 0);
        assert_eq!(calls.load(&ended.id).await.unwrap(), Some(ended));
        assert_eq!(calls.reconnect_snapshot(&user("ana")).await.unwrap().outcomes.len(), 1);
        assert_eq!(calls.reconnect_snapshot(&user("bo")).await.unwrap().outcomes.len(), 0);
    }

    /// Each call is newer than every one before it, whatever the clock of the node that dials says, also one that was put
    /// back or that somebody only heard of; its end is newer than what was read before.
    async fn calls_are_ordered_by_the_store(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let fast = now + Duration::from_secs(3600);
        let first = create(&calls, &call("1", "ana", "bo", fast), now).await;
        let second = create(&calls, &call("2", "cleo", "dan", now), now).await;
        assert!(first.order > 0 && second.order > first.order, "{} {}", first.order, second.order);
        assert_eq!(calls.load(&second.id).await.unwrap(), Some(second.clone()), "it is part of the record");
        let snapshot = calls.reconnect_snapshot(&user("ana")).await.unwrap();
        assert!(snapshot.order >= second.order);
        let ended = apply(&first, Command::Cancel { by: by("ana"), reason: None }, now);
        let ended = swap(&calls, &ended, first.version).await;
        assert!(ended.over > snapshot.order, "it ended after that read");
        assert_eq!((ended.order, calls.load(&first.id).await.unwrap()), (first.order, Some(ended.clone())));
        assert!(calls.reconnect_snapshot(&user("ana")).await.unwrap().order >= ended.over);
        let mut late = *step(&ended, &Command::Accept { by: by("bo") }, now).unwrap_err().record.unwrap();
        late.version = ended.version.next(1);
        assert_eq!(swap(&calls, &late, ended.version).await.over, ended.over, "it ended once");

        let far = ended.over + 1_000_000_000_000;
        let restored = Call { order: far, ..call("3", "eve", "fay", now) };
        calls.restore(&restored, &[]).await.unwrap();
        assert_eq!(calls.load(&restored.id).await.unwrap(), Some(restored), "it keeps its order");
        let third = create(&calls, &call("4", "joe", "hal", now), now).await;
        assert!(third.order > far);
        assert_eq!(calls.raise_order(third.order + 5).await.unwrap(), third.order + 5);
        assert_eq!(calls.raise_order(1).await.unwrap(), third.order + 5);
        let busy = apply(&call("5", "gil", "ian", now), Command::Displace { by: Role::Callee }, now);
        let busy = create(&calls, &busy, now).await;
        assert!(busy.order > third.order + 5);
        assert_eq!((busy.over, calls.load(&busy.id).await.unwrap()), (busy.order, Some(busy.clone())));
    }

    /// Deadlines are offered once per lease, to one claimer, and follow the record.
    async fn deadlines_are_claimed_once_per_lease(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let first = create(&calls, &first, now).await;
        let lease = Duration::from_secs(2);
        let due = first.ring_until;
        let early = Timestamp::from_millis(due.as_millis() - 1);
        assert!(calls.claim_due(early, early, lease, 10).await.unwrap().is_empty());
        let claims = tokio::join!(calls.claim_due(due, due, lease, 10), calls.claim_due(due, due, lease, 10));
        assert_eq!(claims.0.unwrap().len() + claims.1.unwrap().len(), 1, "one claimer");
        let later = due + lease;
        assert_eq!(calls.claim_due(later, later, lease, 10).await.unwrap(), vec![first.id.clone()], "offered again");
        let accepted = apply(&first, Command::Accept { by: by("bo") }, now);
        let accepted = swap(&calls, &accepted, first.version).await;
        let moved = calls.claim_due(due, due, lease, 10).await.unwrap();
        assert_eq!(moved.len(), usize::from(accepted.deadline().unwrap() <= due), "the index follows the record");
    }

    /// What the store lost is put back, with lines, deadline and outcome; what it knows better stays.
    async fn restore_puts_back_what_is_absent_or_older(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("lost", "ana", "bo", now);
        let accept = Command::Accept { by: by("bo") };
        let active = apply(&first, accept.clone(), now);
        assert_eq!(calls.restore(&active, &[]).await.unwrap(), restored(), "absent");
        assert_eq!(calls.line(&user("ana")).await.unwrap(), Some(active.clone()));
        assert_eq!(calls.line(&user("bo")).await.unwrap(), Some(active.clone()));
        assert_eq!(calls.live_calls().await.unwrap(), 1);
        assert_eq!(calls.restore(&first, &[]).await.unwrap(), known(), "the store knows better");
        assert_eq!(calls.load(&first.id).await.unwrap(), Some(active.clone()));

        let ended = apply(&active, Command::End { by: by("ana"), reason: None }, now);
        assert_eq!(calls.restore(&ended, &[]).await.unwrap(), restored(), "older");
        for name in ["ana", "bo"] {
            assert_eq!(calls.line(&user(name)).await.unwrap(), None);
            let snapshot = calls.reconnect_snapshot(&user(name)).await.unwrap();
            assert_eq!(snapshot.outcomes.len(), 1);
            assert_eq!(snapshot.last, Some(ended.clone()));
        }
        assert_eq!(calls.live_calls().await.unwrap(), 0);
        assert_eq!(calls.restore(&ended, &[]).await.unwrap(), known());
        assert_eq!(calls.reconnect_snapshot(&user("bo")).await.unwrap().outcomes.len(), 1, "listed once");
        let late = Call { version: Version { counter: 99, nonce: 9 }, ..active };
        assert_eq!(calls.restore(&late, &[]).await.unwrap(), known(), "what is over stays so");
        // Time ends one that nobody knows: whoever was in it was told how it ended.
        let unknown = Call { unvouched: true, ..apply(&call("unknown", "ana", "bo", now), accept, now) };
        let lost = unknown.ended(EndReason::Lost { party: Role::Caller }, None, None, now);
        assert_eq!(calls.restore(&lost, &[]).await.unwrap(), restored());
        assert_eq!(calls.reconnect_snapshot(&user("bo")).await.unwrap().outcomes.len(), 1, "not listed");

        // One that ended before is put back behind it.
        let before = apply(&call("before", "ana", "bo", now), Command::Cancel { by: by("ana"), reason: None }, now);
        let before = Call { version: Version { counter: 9, nonce: 9 }, ..before };
        let mut earlier = before.clone();
        if let State::Ended(end) = &mut earlier.state {
            end.at = Timestamp::from_millis(now.as_millis() - 5000);
        }
        assert_eq!(calls.restore(&earlier, &[]).await.unwrap(), restored());
        let snapshot = calls.reconnect_snapshot(&user("bo")).await.unwrap();
        assert_eq!(snapshot.last, Some(ended), "the newest is the newest");
        assert_eq!(snapshot.outcomes.len(), 2);
    }

    /// A line that another live call has taken meanwhile is left to it, and taken when that is over.
    async fn restore_takes_no_line_of_a_live_call(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let other = call("other", "bo", "cleo", now);
        let other = create(&calls, &other, now).await;
        let lost = call("lost", "ana", "bo", now);
        for written in [true, false] {
            let restored = calls.restore(&lost, &[]).await.unwrap();
            assert_eq!(restored, Restored { written, without_line: true });
            assert_eq!(calls.line(&user("bo")).await.unwrap(), Some(other.clone()));
            assert_eq!(calls.line(&user("ana")).await.unwrap(), Some(lost.clone()));
            let claimed = calls.claim_due(now, now, Duration::from_secs(1), 10).await.unwrap();
            assert_eq!(claimed, std::slice::from_ref(&lost.id), "somebody sees to it, whoever dies");
        }
        let over = apply(&other, Command::Preempt { by: Role::Caller }, now);
        swap(&calls, &over, other.version).await;
        assert_eq!(calls.restore(&lost, &[]).await.unwrap(), known());
        assert_eq!(calls.line(&user("bo")).await.unwrap(), Some(lost.clone()));
        let soon = now + Duration::from_secs(10);
        assert_eq!(calls.claim_due(soon, soon, Duration::from_secs(1), 10).await.unwrap(), [], "its own deadline again");
        let ended = apply(&lost, Command::Cancel { by: by("ana"), reason: None }, now);
        swap(&calls, &ended, lost.version).await;
        assert_eq!(calls.restore(&lost, &[]).await.unwrap(), known());
        assert_eq!(calls.line(&user("bo")).await.unwrap(), None, "what is over takes no line");
    }

    /// Whose line is taken, by what, in the order of the question.
    async fn lines_in_order(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let (first, second) = (call("1", "ana", "bo", now), call("2", "cleo", "dan", now));
        let first = create(&calls, &first, now).await;
        let second = create(&calls, &second, now).await;
        let (one, two) = (Some(first.id), Some(second.id));
        let users = ["dan", "nobody", "ana", "bo"].map(user);
        assert_eq!(calls.lines(&users).await.unwrap(), [two, None, one.clone(), one]);
        assert_eq!(calls.lines(&[]).await.unwrap(), []);
    }

    /// What each node has put back after a loss is known to all, for that loss only.
    async fn nodes_report_what_they_have_restored(stores: Stores) {
        let calls = stores.calls;
        let (first, second) = (Generation::new("first"), Generation::new("second"));
        let (one, two) = (NodeId::parse("n1").unwrap(), NodeId::parse("n2").unwrap());
        let none = calls.report_restored(&first, &one, RestoreStage::Nothing).await.unwrap();
        if none.nodes.is_empty() {
            return; // In memory it lasts as long as its nodes.
        }
        assert_eq!(none, RestoreReports { nodes: vec![(one.clone(), RestoreStage::Nothing)], decided_since: None, denied_since: None });
        calls.report_restored(&first, &one, RestoreStage::All).await.unwrap();
        let mut said = calls.report_restored(&first, &two, RestoreStage::Told).await.unwrap();
        said.nodes.sort_by_key(|(node, _)| node.clone());
        assert_eq!(said.nodes, [(one.clone(), RestoreStage::All), (two.clone(), RestoreStage::Told)]);
        let said = calls.report_restored(&first, &one, RestoreStage::Told).await.unwrap();
        assert!(said.nodes.contains(&(one.clone(), RestoreStage::All)), "nothing is taken back");
        assert_eq!(said.decided_since, None);
        calls.report_restored(&first, &one, RestoreStage::Decides).await.unwrap();
        let said = calls.report_restored(&first, &two, RestoreStage::Told).await.unwrap();
        assert!(said.nodes.contains(&(one.clone(), RestoreStage::Decides)) && said.decided_since.is_some(), "{said:?}");
        assert_eq!(said.denied_since, None, "it still waits for some");
        calls.report_restored(&first, &one, RestoreStage::Denies).await.unwrap();
        let seen = calls.restore_reports(&first).await.unwrap();
        assert!(seen.denied_since.is_some() && seen.denied_since <= seen.decided_since, "{seen:?}");
        assert_eq!(seen.nodes.len(), 2, "who looks says nothing");
        assert_eq!(calls.restore_reports(&second).await.unwrap(), RestoreReports::default());
        let another = calls.report_restored(&second, &two, RestoreStage::Told).await.unwrap();
        assert_eq!(another, RestoreReports { nodes: vec![(two, RestoreStage::Told)], decided_since: None, denied_since: None });
    }

    /// Only what is over gives up its id, and only as it was seen.
    async fn an_id_is_vacated(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let begun = call("1", "eve", "bo", now);
        calls.create(&begun, &[], &[], &[], now).await.unwrap();
        assert!(!calls.vacate(&begun).await.unwrap(), "it is live");
        let over = apply(&begun, Command::Cancel { by: by("eve"), reason: None }, now);
        assert!(matches!(calls.swap(&over, begun.version, &[], &[]).await.unwrap(), Swap::Done { .. }));
        assert!(!calls.vacate(&begun).await.unwrap(), "it has changed");
        assert!(calls.vacate(&over).await.unwrap());
        assert!(!calls.vacate(&over).await.unwrap(), "it is gone");
        assert_eq!(calls.load(&over.id).await.unwrap(), None);
        let own = call("1", "ana", "bo", now);
        assert!(matches!(calls.create(&own, &[], &[], &[], now).await.unwrap(), Created::Created(_)));
        assert!(!calls.vacate(&over).await.unwrap(), "another's");
        let stored = calls.load(&own.id).await.unwrap().unwrap();
        assert!(over.is_before(&stored) && !stored.is_before(&over));
    }

    /// A store that comes back older is sorted out by those who saw it.
    async fn who_saw_the_loss_vouches_for_calls(stores: Stores) {
        let (calls, now, of) = (stores.calls, stores.now, Generation::new("now|run"));
        let third = call("3", "eve", "fay", now);
        for call in [&call("1", "ana", "bo", now), &call("2", "cleo", "dan", now), &third] {
            calls.create(call, &[], &[], &[], now).await.unwrap();
        }
        let over = apply(&third, Command::Cancel { by: by("eve"), reason: None }, now);
        assert!(matches!(calls.swap(&over, third.version, &[], &[]).await.unwrap(), Swap::Done { .. }));
        let nobody = calls.unvouched(&of, 0, 100).await.unwrap();
        assert_eq!((nobody.calls.len(), nobody.lost_at, nobody.next), (2, None, None), "live ones, and no date");
        calls.vouch(&of, &[CallId::parse("1").unwrap()], now).await.unwrap();
        let first = calls.unvouched(&of, 0, 100).await.unwrap();
        assert_eq!(first.calls, [CallId::parse("2").unwrap()]);
        assert_eq!(first.lost_at, Some(now), "in the time that calls are stored with");
        calls.vouch(&of, &[], now + Duration::from_secs(1)).await.unwrap();
        assert_eq!(calls.unvouched(&of, 0, 100).await.unwrap(), first, "the first dates it");
        let another = calls.unvouched(&Generation::new("now|other"), 0, 100).await.unwrap();
        assert_eq!((another.calls.len(), another.lost_at), (2, None), "of each generation anew");
    }

    /// A node that comes again under its name, or finds its store older, learns what it left there.
    async fn earlier_epochs_are_known_until_swept(stores: Stores) {
        let (sessions, node) = (stores.sessions, NodeId::parse("n1").unwrap());
        assert_eq!(sessions.begin(&node, 1).await.unwrap(), [0; 0]);
        assert_eq!(sessions.begin(&node, 1).await.unwrap(), [0; 0]);
        assert_eq!(sessions.begin(&node, 2).await.unwrap(), [1]);
        let mut earlier = sessions.begin(&node, 3).await.unwrap();
        earlier.sort_unstable();
        assert_eq!(earlier, [1, 2]);
        assert!(sessions.sweep(&lease("n1", 1), stores.now, Duration::from_secs(1), 10).await.unwrap().sessions.is_empty());
        assert_eq!(sessions.begin(&node, 3).await.unwrap(), [2]);
        assert_eq!(sessions.begin(&NodeId::parse("n2").unwrap(), 9).await.unwrap(), [0; 0], "each its own");
    }

    /// A store that goes on is the one it was.
    async fn a_generation_lasts(stores: Stores) {
        let first = stores.calls.generation().await.unwrap();
        assert_eq!(stores.calls.generation().await.unwrap(), first);
        assert_ne!(first, Generation::unknown());
        assert_eq!(stores.calls.connection(), 0);
    }

    /// An id comes back as it was stored, also one that a phone may not send (any more): else its deadline is never
    /// found, and its parties stay busy.
    async fn a_stored_id_stays_as_it_is(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        for (round, spelled) in ["CALL_CALL_1", "CALL_2", "3", "CALL_", "CALL_CALL_"].into_iter().enumerate() {
            let (caller, callee) = (format!("ana{round}"), format!("bo{round}"));
            let stored = CallId::stored(spelled).unwrap();
            let read = CallId::parse(spelled).ok().filter(|read| *read != stored);
            for id in [stored].into_iter().chain(read) {
                let first = Call { id: id.clone(), ..call("x", &caller, &callee, now) };
                calls.create(&first, &[], &[], &[], now).await.unwrap();
                let lines = calls.lines(&[user(&caller), user(&callee)]).await.unwrap();
                assert_eq!(lines, vec![Some(id.clone()), Some(id.clone())]);
                let (due, lease) = (first.ring_until, Duration::from_secs(5));
                assert_eq!(calls.claim_due(due, now, lease, 10).await.unwrap(), vec![id.clone()]);
                calls.leave_notice(&user(&caller), &id, lease).await.unwrap();
                assert_eq!(calls.claim_notice(&user(&caller), 1, lease).await.unwrap(), Some(id.clone()));
                let ended = apply(&first, Command::Cancel { by: by(&caller), reason: None }, now);
                assert!(matches!(calls.swap(&ended, first.version, &[], &[]).await.unwrap(), Swap::Done { .. }));
                let stored = calls.load(&id).await.unwrap();
                assert!(stored.is_some_and(|call| call.id == id && !call.is_live()), "{id}");
                calls.drop_notice(&user(&caller)).await.unwrap();
            }
        }
    }

    /// Versions of many calls in one read.
    async fn versions_in_order(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let (first, second) = (call("CALL_1", "ana", "bo", now), call("CALL_2", "cleo", "dan", now));
        let first = create(&calls, &first, now).await;
        let second = create(&calls, &second, now).await;
        let ids = [second.id.clone(), CallId::parse("none").unwrap(), first.id.clone()];
        let versions = calls.versions(&ids).await.unwrap();
        let none = LastKept::default();
        assert_eq!(versions, vec![Some((second.version, none)), None, Some((first.version, none))]);
        assert!(calls.versions(&[]).await.unwrap().is_empty());
    }

    /// An early command is handed to the create of that call, and to no other.
    async fn early_commands_wait_for_their_call(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let rejected = early_command("bo", EarlyCommandKind::Reject, now);
        assert_eq!(calls.keep_early(&first.id, &rejected, now).await.unwrap(), None);
        let cancelled = early_command("ana", EarlyCommandKind::Cancel, now + Duration::from_millis(1));
        assert_eq!(calls.keep_early(&first.id, &cancelled, now).await.unwrap(), None);
        let Created::EarlyCommands(mut kept) = calls.create(&first, &[], &[], &[], now).await.unwrap() else { panic!("none kept") };
        let seen = kept.clone();
        kept.sort_by_key(|early| early.at);
        assert_eq!(kept, vec![rejected, cancelled]);
        assert_eq!(calls.load(&first.id).await.unwrap(), None);
        let Created::Created(first) = calls.create(&first, &seen, &[], &[], now).await.unwrap() else { panic!("not created") };
        let other = call("CALL_2", "cleo", "dan", now);
        create(&calls, &other, now).await;
        assert_eq!(calls.keep_early(&first.id, &seen[0], now).await.unwrap(), Some(*first), "it exists after all");
    }

    /// Early commands are bounded per user, the oldest goes first, and grow old.
    async fn early_commands_are_bounded(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        for round in 0..=EARLY_COMMANDS_PER_USER as u64 {
            let id = CallId::parse(&format!("CALL_{round}")).unwrap();
            let kept = early_command("bo", EarlyCommandKind::Reject, now + Duration::from_millis(round));
            calls.keep_early(&id, &kept, now).await.unwrap();
        }
        let oldest = call("CALL_0", "a0", "bo", now);
        create(&calls, &oldest, now).await;
        let newest = call(&format!("CALL_{EARLY_COMMANDS_PER_USER}"), "a1", "bo", now);
        assert!(matches!(calls.create(&newest, &[], &[], &[], now).await.unwrap(), Created::EarlyCommands(_)));
        let later = now + RETENTION.early_command + Duration::from_secs(1);
        let old = call("CALL_5", "a2", "b2", later);
        create(&calls, &old, later).await;
    }

    /// A notice has one claimant, who gets it again after a lost reply; after his time it is anybody's, until it is told.
    async fn a_notice_is_claimed_until_it_is_told(stores: Stores) {
        let calls = stores.calls;
        let (id, ana, claim) = (CallId::parse("CALL_1").unwrap(), user("ana"), Duration::from_millis(300));
        assert_eq!(calls.claim_notice(&ana, 1, claim).await.unwrap(), None);
        calls.leave_notice(&ana, &id, Duration::from_secs(10)).await.unwrap();
        let (one, two) = tokio::join!(calls.claim_notice(&ana, 1, claim), calls.claim_notice(&ana, 2, claim));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one.is_some() != two.is_some(), "one claimant: {one:?} {two:?}");
        let (winner, loser) = if one.is_some() { (1, 2) } else { (2, 1) };
        assert_eq!(calls.claim_notice(&ana, winner, claim).await.unwrap(), Some(id.clone()), "its reply was lost");
        let mut again = None;
        while again.is_none() {
            again = calls.claim_notice(&ana, loser, claim).await.unwrap();
        }
        assert_eq!(again, Some(id), "the first claimant died");
        calls.drop_notice(&ana).await.unwrap();
        assert_eq!(calls.claim_notice(&ana, loser, claim).await.unwrap(), None);
    }

    /// Removal is by session, never by user.
    async fn an_old_session_does_not_take_the_new_one_along(stores: Stores) {
        let sessions = stores.sessions;
        let (old, new) = (session(1, "ana", "n1", 1), session(2, "ana", "n2", 1));
        assert_eq!(sessions.register(&old).await.unwrap().sessions.len(), 1);
        assert_eq!(sessions.register(&new).await.unwrap().sessions.len(), 2);
        sessions.unregister(&old).await.unwrap();
        assert_eq!(sessions.sessions(&user("ana")).await.unwrap(), vec![new.clone()]);
        assert_eq!(sessions.online_count().await.unwrap(), 1);
        sessions.unregister(&old).await.unwrap();
        assert_eq!(sessions.online_users().await.unwrap(), vec![user("ana")]);
        sessions.unregister(&new).await.unwrap();
        assert_eq!(sessions.online_count().await.unwrap(), 0);
    }

    /// However many sockets an account opens, no more of it is kept, and no answer about it is longer.
    async fn sessions_of_a_user_are_bounded(stores: Stores) {
        let sessions = stores.sessions;
        let of = |id: usize| session(id as u128, "ana", if id.is_multiple_of(2) { "n1" } else { "n2" }, 1);
        let mut written = 0;
        for id in 0..SESSIONS_PER_USER + 50 {
            let registered = sessions.register(&of(id)).await.unwrap();
            assert!(registered.sessions.len() <= SESSIONS_PER_USER);
            assert_eq!(registered.written, registered.sessions.contains(&of(id)));
            written += usize::from(registered.written);
        }
        assert_eq!(written, SESSIONS_PER_USER);
        assert!(sessions.register(&of(7)).await.unwrap().written, "one that is there is registered again");
        assert_eq!(sessions.sessions(&user("ana")).await.unwrap().len(), SESSIONS_PER_USER);
        let many = vec![user("ana"); 500];
        let held: usize = sessions.sessions_of(&many).await.unwrap().iter().map(Vec::len).sum();
        assert_eq!(held, 2 * SESSIONS_PER_HOLDER * 500, "some for each node");
        sessions.unregister(&of(7)).await.unwrap();
        assert!(sessions.register(&of(SESSIONS_PER_USER + 60)).await.unwrap().written, "there is room again");
        sessions.register(&session(1000, "bo", "n1", 1)).await.unwrap();
        let mut swept = 0;
        loop {
            let some = sessions.sweep(&lease("n1", 1), stores.now, Duration::from_secs(5), 640).await.unwrap().sessions;
            if some.is_empty() { break }
            swept += some.len();
        }
        let all = sessions.sessions(&user("ana")).await.unwrap();
        let on_n1 = all.iter().filter(|session| session.node.as_str() == "n1").count();
        assert_eq!(swept, on_n1 + 1);
    }

    /// Who registers learns which nodes subscribed to its user.
    async fn subscribers_are_told_to_who_registers(stores: Stores) {
        let sessions = stores.sessions;
        let (one, two) = (NodeId::parse("n1").unwrap(), NodeId::parse("n2").unwrap());
        let users = [user("ana"), user("bo")];
        sessions.subscribe(&users, &one).await.unwrap();
        sessions.subscribe(&users[..1], &two).await.unwrap();
        let mut subscribers = sessions.register(&session(1, "ana", "n3", 1)).await.unwrap().subscribers;
        subscribers.sort();
        assert_eq!(subscribers, vec![one.clone(), two.clone()]);
        sessions.unsubscribe(&users, &one).await.unwrap();
        assert_eq!(sessions.subscribers(&users[0]).await.unwrap(), vec![two]);
        assert_eq!(sessions.subscribers(&users[1]).await.unwrap(), vec![]);
        sessions.register(&session(2, "ana", "n3", 1)).await.unwrap();
        assert!(!sessions.unregister(&session(1, "ana", "n3", 1)).await.unwrap(), "another session is left");
        assert!(sessions.unregister(&session(2, "ana", "n3", 1)).await.unwrap(), "the last one, and somebody subscribed");
        sessions.register(&session(3, "bo", "n3", 1)).await.unwrap();
        assert!(!sessions.unregister(&session(3, "bo", "n3", 1)).await.unwrap(), "nobody subscribed");
    }

    /// Users count once, however many sessions they have.
    async fn users_are_counted_once(stores: Stores) {
        let sessions = stores.sessions;
        for id in 0..50u128 {
            sessions.register(&session(id, &format!("u{}", id % 20), "n1", 1)).await.unwrap();
        }
        assert_eq!(sessions.online_count().await.unwrap(), 20);
        let users: BTreeMap<String, ()> =
            sessions.online_users().await.unwrap().iter().map(|user| (user.to_string(), ())).collect();
        assert_eq!(users.len(), 20);
    }

    /// A lease continues while it is renewed in time and under its epoch.
    async fn leases_are_renewed(stores: Stores) {
        let (sessions, now) = (stores.sessions, stores.now);
        let ttl = Duration::from_secs(10);
        assert!(!sessions.renew(&lease("n1", 1), ttl, Some(now)).await.unwrap().continued, "the first is no continuation");
        let renewal = sessions.renew(&lease("n1", 1), ttl, Some(now)).await.unwrap();
        assert!(renewal.continued);
        assert!(!sessions.renew(&lease("n1", 2), ttl, Some(now)).await.unwrap().continued, "another epoch");
        let renewal = sessions.renew(&lease("n2", 1), ttl, Some(now)).await.unwrap();
        let mut nodes: Vec<_> = renewal.leases.iter().map(|lease| (lease.node.to_string(), lease.epoch)).collect();
        nodes.sort();
        assert_eq!(nodes, vec![("n1".to_owned(), 2), ("n2".to_owned(), 1)]);
        assert!(renewal.leases.iter().all(|lease| lease.expires_at > now && lease.sessions == 3));
        sessions.retire(&NodeId::parse("n1").unwrap()).await.unwrap();
        let renewal = sessions.renew(&lease("n2", 1), ttl, Some(now)).await.unwrap();
        assert_eq!(renewal.leases.len(), 1);
    }

    /// A lease that ran out does not continue.
    async fn a_lease_that_ran_out_is_lost(stores: Stores) {
        let (sessions, now) = (stores.sessions, stores.now);
        sessions.renew(&lease("n1", 1), Duration::from_millis(1), Some(now)).await.unwrap();
        let later = now + Duration::from_millis(50);
        tokio::time::sleep(Duration::from_millis(50)).await; // the store's own time has to pass
        assert!(!sessions.renew(&lease("n1", 1), Duration::from_secs(10), Some(later)).await.unwrap().continued);
    }

    /// A sweep takes the dead node's sessions of that epoch and no others, each to one sweeper.
    async fn a_sweep_takes_one_nodes_epoch(stores: Stores) {
        let (sessions, now) = (stores.sessions, stores.now);
        let ttl = Duration::from_secs(10);
        sessions.renew(&lease("dead", 1), ttl, Some(now)).await.unwrap();
        for id in 0..100u128 {
            sessions.register(&session(id, &format!("u{id}"), "dead", 1)).await.unwrap();
        }
        sessions.register(&session(200, "u1", "well", 1)).await.unwrap();
        sessions.register(&session(201, "u2", "dead", 2)).await.unwrap();
        let (dead, claim) = (lease("dead", 1), Duration::from_secs(5));
        let mut swept = Vec::new();
        loop {
            let sweep = || sessions.sweep(&dead, now, claim, 64);
            let (one, two) = tokio::join!(sweep(), sweep());
            let (one, two) = (one.unwrap(), two.unwrap());
            if one.sessions.is_empty() && two.sessions.is_empty() {
                assert_eq!((one.claimed, two.claimed), (100, 100), "what is claimed is not done");
                break;
            }
            swept.extend(one.sessions.into_iter().chain(two.sessions));
        }
        assert_eq!(swept.len(), 100, "each to one sweeper");
        assert_eq!(sessions.online_users().await.unwrap().len(), 100, "nothing is removed before it is dealt with");
        let users: Vec<UserId> = swept.iter().map(|session| session.user.clone()).collect();
        sessions.swept(&dead, &users[..60]).await.unwrap();
        let early = sessions.sweep(&dead, now, claim, 640).await.unwrap();
        assert_eq!((early.sessions.len(), early.claimed), (0, 40));
        let mut again = Vec::new();
        for _ in 0..10 {
            again.extend(sessions.sweep(&dead, now + claim, claim, 64).await.unwrap().sessions);
        }
        assert_eq!(again.len(), 40, "what its sweeper did not report is handed out again, once");
        let renewal = sessions.renew(&lease("well", 1), ttl, Some(now)).await.unwrap();
        assert!(renewal.leases.iter().any(|lease| lease.node.as_str() == "dead"), "its lease stays until all is done");
        sessions.swept(&dead, &users).await.unwrap();
        let rest = sessions.sweep(&dead, now + claim, claim, 64).await.unwrap();
        assert_eq!((rest.sessions.len(), rest.claimed), (0, 0));
        let mut online: Vec<_> = sessions.online_users().await.unwrap().iter().map(ToString::to_string).collect();
        online.sort();
        assert_eq!(online, vec!["u1", "u2"]);
        assert_eq!(sessions.sessions(&user("u2")).await.unwrap()[0].epoch, 2);
        let renewal = sessions.renew(&lease("well", 1), ttl, Some(now)).await.unwrap();
        assert!(renewal.leases.iter().all(|lease| lease.node.as_str() != "dead"), "its lease is forgotten");
    }
}

pub fn milestone(what: What, at: u64) -> Milestone {
    Milestone::new(what, Timestamp::from_millis(at), &NodeId::parse("n1").unwrap())
}

contract! {
    /// Those of each side have an order and are recognised when they come again; some are kept, within bounds, until the
    /// call is over.
    async fn messages_lie_beside_a_live_call(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let say = async |by, id: Option<&str>, keep: Option<&str>| {
            match calls.place(&first.id, NewMessage { by, id, keep }, now).await.unwrap() {
                Placed::At { order, kept_before, again } => (order, kept_before, again),
                placed => panic!("{placed:?}"),
            }
        };
        let plain = NewMessage { by: Role::Caller, id: None, keep: None };
        assert_eq!(calls.place(&first.id, plain, now).await.unwrap(), Placed::Over, "no call");
        calls.create(&first, &[], &[], &[], now).await.unwrap();
        let least = now.as_millis() * 1000;
        assert_eq!(say(Role::Caller, None, None).await, (least, 0, false));
        assert_eq!(say(Role::Caller, Some("a.%d+"), Some("a b")).await, (least + 1, 0, false));
        assert_eq!(say(Role::Caller, None, Some("d")).await, (least + 2, least + 1, false));
        assert_eq!(say(Role::Caller, Some("a.%d+"), Some("a b")).await, (least + 1, 0, true), "a repeat");
        assert_eq!(say(Role::Callee, Some("a.%d+"), Some("c")).await, (least, 0, false), "the other's are his own");
        let kept = async |by| calls.kept(&first.id, by).await.unwrap();
        let message = |order, id: Option<&str>, text: &str| KeptMessage { order, id: id.map(str::to_owned), text: text.into() };
        let expected = vec![message(least + 1, Some("a.%d+"), "a b"), message(least + 2, None, "d")];
        assert_eq!(kept(Role::Caller).await, (least + 2, expected));
        assert_eq!(kept(Role::Callee).await, (least, vec![message(least, Some("a.%d+"), "c")]));
        let snapshot = calls.reconnect_snapshot(&user("bo")).await.unwrap();
        let last = LastKept { caller: least + 2, callee: least };
        assert_eq!((snapshot.kept, snapshot.order > 0), (last, true));
        assert_eq!(calls.versions(std::slice::from_ref(&first.id)).await.unwrap(), [Some((first.version, last))]);
        for said in 0..100 {
            say(Role::Caller, Some(&format!("m{said}")), Some("x")).await;
        }
        assert_eq!(kept(Role::Caller).await.1.len(), MESSAGES_KEPT);
        assert!(!say(Role::Caller, Some("m0"), None).await.2, "known no longer");
        assert!(say(Role::Caller, Some("m99"), None).await.2);
        let large = "y".repeat(4000);
        for _ in 0..40 {
            say(Role::Callee, None, Some(&large)).await;
        }
        let bytes: usize = kept(Role::Callee).await.1.iter().map(|kept| kept.text.len()).sum();
        assert!(bytes <= MESSAGE_BYTES_KEPT && bytes > MESSAGE_BYTES_KEPT - 5000, "{bytes}");
        assert_eq!(kept(Role::Caller).await.1, [], "the oldest went first");
        let ended = apply(&first, Command::Cancel { by: by("ana"), reason: None }, now);
        calls.swap(&ended, first.version, &[], &[]).await.unwrap();
        assert_eq!(kept(Role::Callee).await, (0, vec![]), "gone with the call");
        assert_eq!(calls.place(&first.id, plain, now).await.unwrap(), Placed::Over);
        assert_eq!(calls.reconnect_snapshot(&user("bo")).await.unwrap().kept, LastKept::default());
    }

    /// One side of a call says so much a minute, to whatever nodes; what is refused costs nothing.
    async fn what_a_side_says_is_bounded(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        calls.create(&first, &[], &[], &[], now).await.unwrap();
        let say = async |by, at: Timestamp| calls.place(&first.id, NewMessage { by, id: None, keep: Some("1") }, at).await.unwrap();
        let is_placed = |placed: &Placed| matches!(placed, Placed::At { .. });
        let limit = RETENTION.messages_per_minute;
        for said in 0..limit {
            let placed = say(Role::Caller, now).await;
            assert!(is_placed(&placed), "{said}: {placed:?}");
        }
        let each = Duration::from_secs(60) / limit;
        assert_eq!(say(Role::Caller, now).await, Placed::TooMany { wait: each });
        assert_eq!(say(Role::Caller, now).await, Placed::TooMany { wait: each });
        assert!(is_placed(&say(Role::Callee, now).await));
        assert!(is_placed(&say(Role::Caller, now + each).await));
        assert_eq!(say(Role::Caller, now + each).await, Placed::TooMany { wait: each });
    }

    /// Each call that ends counts once, in the step that ends it; a lost swap counts nothing.
    async fn calls_that_end_are_counted_by_minute(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        calls.create(&first, &[], &[], &[], now).await.unwrap();
        let active = apply(&first, Command::Accept { by: by("bo") }, now);
        calls.swap(&active, first.version, &[], &[]).await.unwrap();
        let end = now + Duration::from_secs(100);
        let ended = apply(&active, Command::End { by: by("ana"), reason: None }, end);
        calls.swap(&ended, first.version, &[], &[]).await.unwrap();
        calls.swap(&ended, active.version, &[], &[]).await.unwrap();
        calls.swap(&ended, active.version, &[], &[]).await.unwrap();
        let mut busy = call("CALL_2", "cleo", "dan", now).ended(EndReason::Busy, None, None, end);
        busy.version = busy.version.next(1);
        busy.version.counter = 1;
        calls.create(&busy, &[], &[], &[], now).await.unwrap();
        let minute = crate::call::minute(end);
        let expected = ["o:a:busy:n", "o:a:hung_up:y", "r:a:0", "t:a:38"].map(|counter| (counter.to_owned(), 1));
        assert_eq!(calls.counts(minute..=minute).await.unwrap(), expected.into());
        assert_eq!(calls.counts(minute - 70..=minute + 70).await.unwrap().values().sum::<u64>(), 4, "of many minutes");
        assert!(calls.counts(minute + 1..=minute + 70).await.unwrap().is_empty());
        // A late accept changes the record and ends nothing.
        let late = Call { version: ended.version.next(9), ..ended.clone() };
        calls.swap(&late, ended.version, &[], &[]).await.unwrap();
        assert_eq!(calls.counts(minute..=minute).await.unwrap().values().sum::<u64>(), 4);
    }

    /// A timeline grows with the changes of its call and with notes, in order, and never beyond its cap.
    async fn a_timeline_lies_beside_its_call(stores: Stores) {
        let (calls, now) = (stores.calls, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let created = milestone(What::Created, 1).of(Role::Caller, Device::Named("pixel".into()));
        calls.create(&first, &[], &[], std::slice::from_ref(&created), now).await.unwrap();
        calls.create(&first, &[], &[], &[milestone(What::Doubtful, 2)], now).await.unwrap();
        let delivered = milestone(What::Delivered, 3);
        let stranger = CallId::parse("CALL_9").unwrap();
        let notes = [(stranger.clone(), delivered.clone()), (first.id.clone(), delivered.clone())];
        calls.note(&notes).await.unwrap();
        calls.note(&[]).await.unwrap();
        let next = Call { version: first.version.next(7), ..first.clone() };
        let ended = milestone(What::Ended, 4).because("cancelled");
        calls.swap(&next, Version::default(), &[], &[milestone(What::Doubtful, 5)]).await.unwrap();
        calls.swap(&next, first.version, &[], &[milestone(What::Ringing, 4), ended.clone()]).await.unwrap();
        let timeline = calls.timeline(&first.id).await.unwrap();
        assert_eq!(timeline, vec![created, delivered, milestone(What::Ringing, 4), ended.clone()]);
        assert_eq!(calls.load(&first.id).await.unwrap().unwrap().version, next.version, "a note is no change");
        assert_eq!(calls.timeline(&stranger).await.unwrap(), vec![]);

        let many: Vec<_> = (0..100).map(|at| (first.id.clone(), milestone(What::Delivered, at))).collect();
        calls.note(&many).await.unwrap();
        let timeline = calls.timeline(&first.id).await.unwrap();
        assert_eq!((timeline.len(), timeline.last()), (MILESTONES, Some(&milestone(What::Delivered, 99))));
    }

    /// Sessions of many users come in the order of the question.
    async fn sessions_of_many_are_read_at_once(stores: Stores) {
        let sessions = stores.sessions;
        for id in 0..50u128 {
            sessions.register(&session(id, &format!("u{id}"), "n1", 1)).await.unwrap();
        }
        sessions.register(&session(100, "u7", "n2", 1)).await.unwrap();
        let users: Vec<UserId> = (0..60).rev().map(|id| user(&format!("u{id}"))).chain([user("u7")]).collect();
        let found = sessions.sessions_of(&users).await.unwrap();
        assert_eq!(found.len(), users.len());
        for (user, found) in users.iter().zip(&found) {
            let expected = match user.as_str() { "u7" => 2, name => usize::from(name[1..].parse::<u32>().unwrap() < 50) };
            assert_eq!(found.len(), expected, "{user}");
            assert!(found.iter().all(|session| session.user == *user));
        }
        assert!(sessions.sessions_of(&[]).await.unwrap().is_empty());
    }

    /// Pages hold every user once, whatever their size.
    async fn pages_hold_every_user_once(stores: Stores) {
        let sessions = stores.sessions;
        assert_eq!(sessions.online_page(None, 10).await.unwrap(), (vec![], None));
        for id in 0..200u128 {
            sessions.register(&session(id, &format!("u{id}"), "n1", 1)).await.unwrap();
        }
        for limit in [1, 7, 199, 200, 1000] {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = sessions.online_page(after.as_ref(), limit).await.unwrap();
                assert!(page.len() <= limit);
                listed.extend(page);
                after = next;
                if after.is_none() { break }
            }
            listed.sort();
            listed.dedup();
            assert_eq!(listed.len(), 200, "in pages of {limit}");
        }
    }

    /// All tokens of a user are forgotten, nobody else's.
    async fn all_tokens_of_a_user_are_forgotten(stores: Stores) {
        let (tokens, ttl) = (stores.tokens, Duration::from_secs(60));
        let hash = |byte: u8| TokenHash::from_digest([byte; 32]);
        let known = |name: &str| KnownToken { user: user(name), name: None, verified_at: stores.now };
        for (byte, name) in [(1, "ana"), (2, "ana"), (3, "bo")] {
            tokens.put(&hash(byte), &known(name), ttl).await.unwrap();
        }
        tokens.forget_user(&user("ana")).await.unwrap();
        tokens.forget_user(&user("nobody")).await.unwrap();
        let left = [tokens.get(&hash(1)).await.unwrap(), tokens.get(&hash(2)).await.unwrap()];
        assert_eq!(left, [None, None]);
        assert_eq!(tokens.get(&hash(3)).await.unwrap(), Some(known("bo")));
    }
}

/// Records are the contract between versions: this is how they were first stored.
#[test]
fn the_stored_call_is_what_it_was() {
    let golden = include_str!("golden/call.json");
    let stored: Vec<Call> = serde_json::from_str(golden).expect("an old record is still read");
    let mut written = serde_json::to_value(&stored).unwrap();
    // Of a record that knows no order.
    for record in written.as_array_mut().unwrap().iter_mut().map(|record| record.as_object_mut().unwrap()) {
        assert_eq!((record.shift_remove("order"), record.shift_remove("over")), (Some(0.into()), Some(0.into())));
    }
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(written, golden);
}
