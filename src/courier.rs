//! Carries letters from the outbox to whoever they are for: claims what is due, a bounded number at a time, and
//! settles what became of it.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::sync::watch;

use crate::call::Timestamp;
use crate::clock::Clock;
use crate::store::{Claim, Outbox, Queue, Settled, StoreError};
use crate::telemetry::metrics;

/// How often the queue is looked at for letters of other nodes and for retries.
const POLL: Duration = Duration::from_millis(250);
/// After a claim that the store failed.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a receiver asks to be left alone: it says so in seconds or with a date.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_millis(now.as_millis())))
}

/// One kind of delivery.
#[async_trait]
pub trait Carrier: Send + Sync {
    fn queue(&self) -> Queue;

    /// How many letters may be on their way at this time; 0 while the receiver is to be left alone.
    fn room(&self) -> usize;

    /// Longer than an attempt takes: a node that died is succeeded after it.
    fn lease(&self) -> Duration;

    /// Makes one attempt.
    async fn carry(&self, claim: &Claim) -> Settled;

    /// Counts a letter that was given up.
    fn given_up(&self, claim: &Claim);
}

/// Runs for as long as the node lives. What is on its way when it ends is handed out again when its lease is over.
pub async fn run(outbox: Arc<dyn Outbox>, carrier: Arc<dyn Carrier>, clock: Clock, mut bell: watch::Receiver<u64>) {
    let mut flying = FuturesUnordered::new();
    loop {
        let room = carrier.room();
        let free = room.saturating_sub(flying.len());
        // Few large claims rather than many small ones.
        if free * 4 >= room && free > 0 {
            match outbox.claim(carrier.queue(), clock.now(), carrier.lease(), free).await {
                Ok(claims) => {
                    flying.extend(claims.into_iter().map(|claim| deliver(&*outbox, &*carrier, &clock, claim)))
                }
                Err(error) => {
                    failed(&error);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        tokio::select! {
            Some(()) = flying.next() => {}
            rung = bell.changed() => if rung.is_err() {
                return; // the node is gone
            },
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Delivers a letter, and those of the same call behind it.
async fn deliver(outbox: &dyn Outbox, carrier: &dyn Carrier, clock: &Clock, claim: Claim) {
    let mut next = Some(claim);
    while let Some(claim) = next {
        let settled = carrier.carry(&claim).await;
        if let Settled::Dead { error, attempts } = &settled {
            tracing::error!(letter = %claim.letter.id, %error, attempts, "a letter was given up, see /outbox/dead");
            carrier.given_up(&claim);
        }
        // A settlement that is lost: the lease runs out and the letter is sent once more, under its id.
        next = match outbox.settle(&claim, &settled, clock.now()).await {
            Ok(next) => next,
            Err(error) => return failed(&error),
        };
        // The receiver is to be left alone: what is behind goes back.
        if let Some(waiting) = next.take_if(|_| carrier.room() == 0) {
            let later = Settled::Later { at: clock.now(), attempts: waiting.attempts };
            if let Err(error) = outbox.settle(&waiting, &later, clock.now()).await {
                failed(&error);
            }
        }
    }
}

fn failed(error: &StoreError) {
    metrics::store_failed();
    tracing::warn!(%error, "the store failed the outbox");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_asked_for_in_seconds_or_with_a_date() {
        let now = Timestamp::from_millis(784_111_767_250); // ten seconds before the date below
        let wait =
            |value: &'static str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]), now);
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_millis(9_750)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO), "over");
        assert_eq!((wait("soon"), wait("-1")), (None, None));
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
