//! What the work at hand is about: every log line within it says so, however deep it is written.

use std::sync::Arc;

use tokio::task_local;

use super::span::{Ending, Open};
use crate::telemetry::about::About;

task_local! {
    static HERE: Slot;
}

/// Where a task is.
#[derive(Clone, Default)]
pub(in crate::telemetry) struct Here {
    pub about: Arc<About>,
    /// The innermost span, where the call is traced.
    pub span: Option<Arc<Open>>,
}

/// What a future is run in. Tasks that it starts take `here` along, not the end of the span.
struct Slot {
    here: Here,
    _ending: Option<Ending>,
}

impl Here {
    /// The ids of trace and span, for log lines.
    pub fn traced(&self) -> Option<(String, String)> {
        let place = self.span.as_ref()?.place;
        Some((place.trace.to_string(), place.span.to_string()))
    }

    /// Of the task that asks.
    pub fn get() -> Self {
        HERE.try_with(|slot| slot.here.clone()).unwrap_or_default()
    }

    /// Runs work here; the span ends when the future is done or dropped.
    pub fn run<F: Future>(self, ending: Option<Ending>, work: F) -> impl Future<Output = F::Output> {
        HERE.scope(Slot { here: self, _ending: ending }, work)
    }

    pub fn run_now<T>(self, ending: Option<Ending>, work: impl FnOnce() -> T) -> T {
        HERE.sync_scope(Slot { here: self, _ending: ending }, work)
    }
}

/// Takes what the work at hand is about along into a task of its own.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    Here::get().run(None, work)
}
