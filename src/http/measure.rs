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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware;
    use axum::routing::get;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn who_does_not_wait_is_counted_too() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let templates = ["/calls/{id}".to_owned()].into_iter();
        let routes = metrics::with_local_recorder(&recorder, || Routes::new(templates, Clock::system()));
        let router: Router = Router::new()
            .route("/calls/{id}", get(std::future::pending::<()>))
            .layer(middleware::from_fn_with_state(Arc::new(routes), measure));
        let request = Request::get("/calls/CALL_1").body(Body::empty()).unwrap();
        let asked = tokio::time::timeout(Duration::from_millis(10), router.oneshot(request)).await;
        assert!(asked.is_err());
        let text = recorder.handle().render();
        let gone = r#"signaling_http_requests_total{route="/calls/{id}",status="gone"} 1"#;
        assert!(text.contains(gone) && !text.contains("CALL_1"), "{text}");
    }
}
