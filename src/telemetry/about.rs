//! What the work at hand is about: every log line within it says so, however deep it is written.

use std::fmt;
use std::sync::Arc;

use tokio::task_local;

use super::trace::{Ending, Open};
use super::who::Who;
use crate::call::{CallId, SessionId, UserId};

task_local! {
    static HERE: Slot;
}

/// The ids that log lines and spans carry.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub call: Option<CallId>,
    pub user: Option<UserId>,
    pub session: Option<SessionId>,
}

impl About {
    pub fn call(id: &CallId) -> Self {
        Self { call: Some(id.clone()), ..Self::default() }
    }

    pub fn user(user: &UserId) -> Self {
        Self { user: Some(user.clone()), ..Self::default() }
    }

    pub fn session(user: &UserId, session: &SessionId) -> Self {
        Self { user: Some(user.clone()), session: Some(session.clone()), call: None }
    }

    /// What it does not say itself is said by the work around it.
    pub(super) fn or(self, outer: &About) -> Self {
        Self {
            call: self.call.or_else(|| outer.call.clone()),
            user: self.user.or_else(|| outer.user.clone()),
            session: self.session.or_else(|| outer.session.clone()),
        }
    }

    /// Each id with the name it has in every log line and span.
    pub(super) fn each(&self, mut take: impl FnMut(&'static str, &dyn fmt::Display)) {
        if let Some(call) = &self.call {
            take("call", call);
        }
        if let Some(user) = &self.user {
            take("user", &Who(user));
        }
        if let Some(session) = &self.session {
            take("session", session);
        }
    }
}

/// Where a task is.
#[derive(Clone, Default)]
pub(super) struct Here {
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
