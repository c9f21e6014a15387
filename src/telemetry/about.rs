//! What work is about.

use std::fmt;

use super::who::Who;
use crate::call::{CallId, SessionId, UserId};

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
