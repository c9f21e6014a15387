//! Delivers messages from the outbox: claims what is due, a bounded number at a time, and
//! settles what became of it.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::call::Timestamp;
use crate::clock::Clock;
use crate::store::{Claim, Outbox, Queue, Settled, StoreError};
use crate::telemetry::trace::{self, Kind, Traces};
use crate::telemetry::{About, metrics};

/// How often the queue is looked at for messages of other nodes and for retries.
const POLL: Duration = Duration::from_millis(250);
/// After a claim that the store failed.
const AGAIN: Duration = Duration::from_secs(1);
/// What is on its way when the node stops has this long to be answered; the rest is handed back.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long a receiver asks to be left alone, from its `Retry-After`: seconds or a date.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_millis(now.as_millis())))
}

/// An error with its causes.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// One kind of delivery.
#[async_trait]
pub trait Destination: Send + Sync {
    fn queue(&self) -> Queue;

    /// How many letters may be on their way at this time; 0 while the receiver is to be left alone.
    fn room(&self) -> usize;

    /// Longer than an attempt takes: a node that died is succeeded after it.
    fn lease(&self) -> Duration;

    /// Makes one attempt.
    async fn send(&self, claim: &Claim) -> Settled;

    /// Whether an attempt that was broken off may be made again, though it may have arrived.
    fn is_repeatable(&self, claim: &Claim) -> bool;

    /// The attempts that are noted of a message whose attempt was broken off.
    fn attempts_after_break(&self, claim: &Claim) -> u32 {
        claim.attempts
    }

    /// Counts a message that was given up.
    fn given_up(&self, claim: &Claim);
}

/// Runs until the stop, then hands back what it holds: no message waits for its lease because a node was stopped in an
/// orderly way. What a node that died had on its way is handed out again when its lease is over.
pub async fn run(
    outbox: Arc<dyn Outbox>,
    destination: Arc<dyn Destination>,
    clock: Clock,
    mut wake_up: watch::Receiver<u64>,
    traces: Traces,
    stop: CancellationToken,
) {
    let dispatcher = Dispatcher {
        outbox: &*outbox,
        destination: &*destination,
        clock: &clock,
        traces: &traces,
        stop,
        too_late: CancellationToken::new(),
    };
    let mut flying = FuturesUnordered::new();
    while !dispatcher.stop.is_cancelled() {
        let room = destination.room();
        let free = room.saturating_sub(flying.len());
        // Few large claims rather than many small ones.
        if free * 4 >= room && free > 0 {
            match outbox.claim(destination.queue(), clock.now(), destination.lease(), free).await {
                Ok(claims) => flying.extend(claims.into_iter().map(|claim| dispatcher.deliver(claim))),
                Err(error) => {
                    failed(&error);
                    let _ = tokio::time::timeout(AGAIN, dispatcher.stop.cancelled()).await;
                }
            }
        }
        tokio::select! {
            Some(()) = flying.next() => {}
            woken = wake_up.changed() => if woken.is_err() {
                return; // the node is gone
            },
            () = tokio::time::sleep(POLL) => {}
            () = dispatcher.stop.cancelled() => {}
        }
    }
    let all_answered = async { while flying.next().await.is_some() {} };
    if tokio::time::timeout(LAST_ANSWERS, all_answered).await.is_err() {
        dispatcher.too_late.cancel();
        while flying.next().await.is_some() {}
    }
}

struct Dispatcher<'a> {
    outbox: &'a dyn Outbox,
    destination: &'a dyn Destination,
    clock: &'a Clock,
    traces: &'a Traces,
    stop: CancellationToken,
    /// The node waits for no further answer.
    too_late: CancellationToken,
}

impl Dispatcher<'_> {
    /// Delivers a message, and those of the same call behind it.
    async fn deliver(&self, claim: Claim) {
        let mut next = Some(claim);
        while let Some(claim) = next {
            if self.stop.is_cancelled() {
                return self.hand_back(&claim, claim.attempts).await;
            }
            let about = About { call: claim.message.call.clone(), ..About::default() };
            let attempted =
                self.traces.run(name_of(self.destination.queue()), Kind::Client, about, self.attempt(&claim));
            let Some(settled) = attempted.await else {
                if self.destination.is_repeatable(&claim) {
                    self.hand_back(&claim, self.destination.attempts_after_break(&claim)).await;
                }
                return;
            };
            // A settlement that is lost: the lease runs out and the message is sent once more, under its id.
            next = match self.outbox.settle(&claim, &settled, self.clock.now()).await {
                Ok(next) => next,
                Err(error) => return failed(&error),
            };
            // The receiver is to be left alone: what is behind goes back.
            if let Some(waiting) = next.take_if(|_| self.destination.room() == 0) {
                self.hand_back(&waiting, waiting.attempts).await;
            }
        }
    }

    /// Absent where the node stopped meanwhile.
    async fn attempt(&self, claim: &Claim) -> Option<Settled> {
        trace::note("attempt", || i64::from(claim.attempts) + 1);
        let settled = self.too_late.run_until_cancelled(self.destination.send(claim)).await;
        trace::note("outcome", || match &settled {
            Some(Settled::Done { .. }) => "done",
            Some(Settled::Later { .. } | Settled::Apart { .. }) => "later",
            Some(Settled::Dead { .. }) => "dead",
            None => "stopped",
        });
        if let Some(Settled::Dead { error, attempts }) = &settled {
            // Others are named by their user.
            let message = claim.message.call.as_ref().map(|_| claim.message.id.as_str());
            tracing::error!(letter = message, %error, attempts, "an outbox message was given up, see /outbox/dead");
            self.destination.given_up(claim);
        }
        settled
    }

    async fn hand_back(&self, claim: &Claim, attempts: u32) {
        let now = self.clock.now();
        let due = Settled::Later { at: now, attempts };
        if let Err(error) = self.outbox.settle(claim, &due, now).await {
            failed(&error);
        }
    }
}

fn name_of(queue: Queue) -> &'static str {
    match queue {
        Queue::Events => "webhook",
        Queue::Pushes => "push",
        Queue::Callbacks => "callback",
    }
}

fn failed(error: &StoreError) {
    metrics::store_failed();
    tracing::debug!(%error, "the store failed the outbox");
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::call::CallId;
    use crate::store::contract::UNLIMITED;
    use crate::store::memory::MemoryStore;
    use crate::store::{OutboxMessage, WakeUp};

    /// Answers messages whose id ends in "well", leaves the others unanswered, repeats none that ends in "once", and
    /// notes the attempt of one that ends in "noted".
    #[derive(Default)]
    struct Silent {
        sent: Notify,
    }

    #[async_trait]
    impl Destination for Silent {
        fn queue(&self) -> Queue {
            Queue::Events
        }

        fn room(&self) -> usize {
            8
        }

        fn lease(&self) -> Duration {
            Duration::from_secs(20)
        }

        async fn send(&self, claim: &Claim) -> Settled {
            self.sent.notify_one();
            // In the time that is left when the node stops.
            tokio::time::sleep(LAST_ANSWERS / 2).await;
            if !claim.message.id.ends_with("well") {
                std::future::pending::<()>().await;
            }
            Settled::Done { lease: self.lease() }
        }

        fn is_repeatable(&self, claim: &Claim) -> bool {
            !claim.message.id.ends_with("once")
        }

        fn attempts_after_break(&self, claim: &Claim) -> u32 {
            claim.attempts + u32::from(claim.message.id.ends_with("noted"))
        }

        fn given_up(&self, _: &Claim) {}
    }

    #[tokio::test]
    async fn what_a_stopped_dispatcher_holds_is_handed_back() {
        let second = Duration::from_secs(1);
        let clock = Clock::system();
        let outbox: Arc<dyn Outbox> = Arc::new(MemoryStore::new(clock.clone(), UNLIMITED));
        let message = |call: &str, id: &str| OutboxMessage {
            id: id.into(),
            queue: Queue::Events,
            call: CallId::parse(call).ok(),
            at: clock.now(),
            due: clock.now(),
            until: None,
            body: String::new(),
        };
        let messages = [
            message("a", "a.1.well"),
            message("a", "a.2.well"),
            message("b", "b.1"),
            message("c", "c.1.once"),
            message("d", "d.1.noted"),
        ];
        outbox.append(&messages).await.unwrap();
        let (destination, stop, wake_up) = (Arc::new(Silent::default()), CancellationToken::new(), WakeUp::default());
        let listening = wake_up.listen(Queue::Events);
        let running =
            run(Arc::clone(&outbox), destination.clone(), clock.clone(), listening, Traces::default(), stop.clone());
        let stopping = async {
            destination.sent.notified().await;
            stop.cancel();
        };
        tokio::join!(running, stopping);
        let claims = outbox.claim(Queue::Events, clock.now(), second, 8).await.unwrap();
        let mut left: Vec<_> = claims.iter().map(|claim| (claim.message.id.as_str(), claim.attempts)).collect();
        left.sort_unstable();
        assert_eq!(left, [("a.2.well", 0), ("b.1", 0), ("d.1.noted", 1)], "the first was answered, and who knows of c");
        assert_eq!(outbox.backlog().await.unwrap().waiting, 4);
    }

    #[test]
    fn patience_is_asked_for_in_seconds_or_with_a_date() {
        let now = Timestamp::from_millis(784_111_767_250); // ten seconds before the date below
        let wait = |value| retry_after(value, now);
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_millis(9_750)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO), "over");
        assert_eq!((wait("soon"), wait("-1")), (None, None));
    }
}
