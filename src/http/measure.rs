//! Counts and times requests by the template of their route.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::clock::Clock;
use crate::telemetry::metrics::{Answered, RouteMetrics};

/// The routes of a router.
pub(super) struct Routes {
    known: HashMap<String, RouteMetrics>,
    /// Requests that meet no route.
    unknown: RouteMetrics,
    clock: Clock,
}

impl Routes {
    pub fn new(templates: impl Iterator<Item = String>, clock: Clock) -> Self {
        let known = templates.map(|template| (RouteMetrics::of(&template), template));
        Self {
            known: known.map(|(metrics, template)| (template, metrics)).collect(),
            unknown: RouteMetrics::of("unknown"),
            clock,
        }
    }

    fn metrics_of(&self, request: &Request) -> &RouteMetrics {
        let template = request.extensions().get::<MatchedPath>();
        template.and_then(|template| self.known.get(template.as_str())).unwrap_or(&self.unknown)
    }
}

/// A request that is being answered; dropped before that where its connection ends.
struct Asked<'r> {
    metrics: &'r RouteMetrics,
    clock: &'r Clock,
    at: Duration,
    answered: Answered,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.metrics.answered(self.answered, self.clock.elapsed().saturating_sub(self.at));
    }
}

pub(super) async fn measure(State(routes): State<Arc<Routes>>, request: Request, next: Next) -> Response {
    let clock = &routes.clock;
    let mut asked =
        Asked { metrics: routes.metrics_of(&request), clock, at: clock.elapsed(), answered: Answered::Gone };
    let response = next.run(request).await;
    asked.answered = Answered::with(response.status().as_u16());
    response
}
