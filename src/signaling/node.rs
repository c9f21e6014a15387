//! Who this node is and what all rooms need of it: time, the policy, tasks.

use std::pin::Pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Policy;
use crate::call::{Milestone, NodeId, Timestamp, What};
use crate::clock::Clock;
use crate::telemetry::carry;
use crate::telemetry::trace::Traces;

tokio::task_local! {
    /// When the word was said that is obeyed in this task, as [`Clock::elapsed`] had it.
    static SAID: Duration;
}

/// In a box, since whatever takes a future takes a copy of all of it, and a task takes three.
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One node. Holds no truth and calls no room.
pub struct NodeContext {
    pub id: NodeId,
    pub clock: Clock,
    pub policy: Policy,
    pub traces: Traces,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

impl NodeContext {
    /// Store time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long ago a moment of [`Clock::elapsed`] was.
    pub fn since(&self, moment: Duration) -> Duration {
        self.clock.elapsed().saturating_sub(moment)
    }

    /// When the word was said that is obeyed here, as [`Clock::elapsed`] had it.
    pub fn said(&self) -> Duration {
        SAID.try_with(|said| *said).unwrap_or_else(|_| self.clock.elapsed())
    }

    /// The same in store time.
    pub fn said_at(&self) -> Timestamp {
        self.now() - self.since(self.said())
    }

    /// Obeys a word that was said at this moment of [`Clock::elapsed`].
    pub async fn obeying<T>(&self, said: Duration, work: impl Future<Output = T>) -> T {
        SAID.scope(said, work).await
    }

    /// Something of a call's history that happened on this node, now.
    pub fn milestone(&self, what: What) -> Milestone {
        Milestone::new(what, self.clock.now(), &self.id)
    }

    /// Runs a loop of the node until the stop; if it ends before, by a panic too, the whole node stops.
    pub fn run(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.run_out(name, |stop| async move {
            let _ = stop.run_until_cancelled_owned(work).await;
        });
    }

    /// Runs a loop that ends by itself soon after the stop.
    pub fn run_out<F>(&self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        let worker = self.tasks.spawn(work(stop.clone()));
        self.tasks.spawn(async move {
            let ended = worker.await;
            if !stop.is_cancelled() {
                tracing::error!(worker = name, panicked = ended.is_err(), "a loop of the node died, stopping the node");
                stop.cancel();
            }
        });
    }

    /// Runs a short task to its end or to the stop; it is about what started it.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work: Work<()> = Box::pin(work);
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(carry(work)));
    }

    /// Runs work to its end in a task of the node, whatever becomes of whoever waits for it here. A word that is obeyed here
    /// is obeyed there.
    pub fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> {
        self.boxed_to_its_end(Box::pin(work))
    }

    async fn boxed_to_its_end<T: Send + 'static>(&self, work: Work<T>) -> T {
        let said = SAID.try_with(|said| *said).ok();
        let work = async move {
            match said {
                Some(said) => SAID.scope(said, work).await,
                None => work.await,
            }
        };
        match self.tasks.spawn(carry(work)).await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends, and whoever waits here with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::mem::size_of_val;

    use super::*;

    /// A command to Redis is a future of 7 KB. As long as work was handed on by value, its task and each layer on the way
    /// copied it: half of all instructions of a connect.
    #[tokio::test]
    async fn work_is_handed_on_in_a_box() {
        let (traces, tasks, stop) = Default::default();
        let clock = Clock::manual(Timestamp::from_millis(1));
        let id = NodeId::parse("n1").unwrap();
        let node = NodeContext { id, clock, policy: Policy::for_tests(), traces, tasks, stop };
        let work = async {
            let bytes = [1_u8; 100_000];
            tokio::task::yield_now().await;
            black_box(&bytes).len()
        };
        assert!(size_of_val(&work) >= 100_000);
        let waiting = node.to_its_end(work);
        assert!(size_of_val(&waiting) < 512, "{}", size_of_val(&waiting));
        assert_eq!(waiting.await, 100_000);
    }
}
