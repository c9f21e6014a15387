//! No reply of an outbox script is the only copy of something: each is lost once, and every message arrives.

#[path = "../../../tests/it/harness/proxy.rs"]
#[expect(clippy::disallowed_methods, reason = "a test's own tasks")]
#[allow(dead_code, reason = "other tests need more of it")]
mod proxy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::script::{self, Script};
use super::{RedisOutbox, connect};
use crate::call::CallId;
use crate::clock::Clock;
use crate::dispatcher::{self, Destination};
use crate::store::contract::test_server::Redis;
use crate::store::{Claim, Outbox, OutboxBounds, OutboxMessage, Queue, Settled, StoreError, WakeUp, Which};
use crate::telemetry::trace::Traces;
use proxy::Proxy;

const LEASE: Duration = Duration::from_millis(1500);
/// A lease, the connection made again, and some time for a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// A receiver that takes each message by its number: the first at once, the second later, the third later and apart,
/// and the fourth not before it is mended.
#[derive(Default)]
struct Receiver {
    is_mended: AtomicBool,
    attempts: Mutex<BTreeMap<String, u32>>,
    taken: Mutex<BTreeMap<String, u32>>,
}

#[async_trait]
impl Destination for Receiver {
    fn queue(&self) -> Queue {
        Queue::Events
    }

    fn room(&self) -> usize {
        8
    }

    fn lease(&self) -> Duration {
        LEASE
    }

    async fn send(&self, claim: &Claim) -> Settled {
        let (id, attempts) = (&claim.message.id, claim.attempts + 1);
        let first = {
            let mut tried = self.attempts.lock();
            let times = tried.entry(id.clone()).or_default();
            *times += 1;
            *times == 1
        };
        let at = Clock::system().now();
        match id.rsplit('.').next() {
            Some("2") if first => Settled::Later { at, attempts },
            Some("3") if first => Settled::Apart { at, attempts },
            Some("4") if !self.is_mended.load(Ordering::Relaxed) => {
                Settled::Dead { error: "HTTP 422".into(), attempts }
            }
            _ => {
                *self.taken.lock().entry(id.clone()).or_default() += 1;
                Settled::Done { lease: LEASE }
            }
        }
    }

    fn is_repeatable(&self, _: &Claim) -> bool {
        true
    }

    fn given_up(&self, _: &Claim) {}
}

/// Asks until the store answers.
async fn answered<T>(ask: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(started.elapsed() < PATIENCE, "the store does not come back: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // asked, not waited for
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await; // asked, not waited for
    }
}

/// Two calls of four messages are told to the end, while the reply of whatever carries `marker` gets lost.
async fn story(outbox: &RedisOutbox, proxy: &Proxy, receiver: &Receiver, name: &str, marker: Option<&str>) {
    let clock = Clock::system();
    let calls = [format!("{name}-a"), format!("{name}-b")];
    if let Some(marker) = marker {
        proxy.lose_reply_of(marker);
    }
    receiver.is_mended.store(false, Ordering::Relaxed);
    let began = clock.now();
    for call in &calls {
        for number in 1..=4 {
            let message = OutboxMessage {
                id: format!("{call}.{number}"),
                queue: Queue::Events,
                call: CallId::parse(call).ok(),
                at: began,
                due: began,
                until: None,
                body: "{}".into(),
            };
            answered(async || outbox.append(std::slice::from_ref(&message)).await).await;
        }
    }
    let quiet = async || answered(async || outbox.backlog().await).await.waiting == 0;
    until(&format!("{name}: something waits for ever"), quiet).await;
    let dead = answered(async || outbox.dead_letters(10).await).await;
    assert_eq!(dead.len(), 2, "{name}: the fourth of each, {dead:?}");
    receiver.is_mended.store(true, Ordering::Relaxed);
    answered(async || outbox.hurry(Queue::Events, clock.now()).await).await;
    let first = Which::Call(CallId::parse(&calls[0]).unwrap());
    answered(async || outbox.replay(&first, clock.now()).await).await;
    answered(async || outbox.replay(&Which::Since(began), clock.now()).await).await;
    answered(async || outbox.bury(began, clock.now()).await).await;
    until(&format!("{name}: something waits for ever"), quiet).await;
    let taken = receiver.taken.lock().clone();
    for call in &calls {
        for number in 1..=4 {
            let times = taken.get(&format!("{call}.{number}")).copied().unwrap_or(0);
            assert!((1..=2).contains(&times), "{name}: {call}.{number} arrived {times} times");
        }
    }
    assert_eq!(answered(async || outbox.backlog().await).await.dead, 0, "{name}");
    assert!(proxy.has_struck(), "{name}: no reply was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_reply_gets_lost_every_message_arrives() {
    let server = Redis::start();
    let proxy = Proxy::before(server.port).await;
    let tasks = TaskTracker::new();
    let client = connect(&format!("redis://{}", proxy.address), &tasks).await.expect("redis answers");
    let outbox = Arc::new(RedisOutbox::new(client, "l", OutboxBounds::default()));
    let (receiver, stop) = (Arc::new(Receiver::default()), CancellationToken::new());
    let wake_up = WakeUp::default();
    let (shared, destination) = (Arc::clone(&outbox), Arc::clone(&receiver));
    let running = dispatcher::run(
        shared,
        destination,
        Clock::system(),
        wake_up.listen(Queue::Events),
        Traces::default(),
        stop.clone(),
    );
    let dispatcher = tasks.spawn(running);
    // A script that the server does not know yet has not run when its reply gets lost.
    story(&outbox, &proxy, &receiver, "well", None).await;
    let scripts: [(&str, &Script); 8] = [
        ("append", &script::OUTBOX_APPEND),
        ("claim", &script::OUTBOX_CLAIM),
        ("hurry", &script::OUTBOX_HURRY),
        ("replay", &script::OUTBOX_REPLAY),
        ("index", &script::OUTBOX_INDEX),
        ("bury", &script::OUTBOX_BURY),
        ("dead-letters", &script::OUTBOX_DEAD),
        ("backlog", &script::OUTBOX_BACKLOG),
    ];
    for (name, script) in scripts {
        story(&outbox, &proxy, &receiver, name, Some(script.sha())).await;
    }
    // Whatever became of an attempt.
    for word in ["done", "later", "apart", "dead"] {
        story(&outbox, &proxy, &receiver, word, Some(&format!("${}\r\n{word}\r\n", word.len()))).await;
    }
    stop.cancel();
    dispatcher.await.unwrap();
}
