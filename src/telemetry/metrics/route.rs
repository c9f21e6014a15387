//! Requests by route. Routes are known where they are put together, which is where their metrics are made.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

/// What a request came to.
#[derive(Clone, Copy, Debug)]
pub enum Answered {
    Well,
    Redirected,
    /// Its sender's fault.
    Refused,
    /// Our fault.
    Failed,
    /// Its sender did not wait.
    Gone,
}

impl Answered {
    pub fn with(status: u16) -> Self {
        match status {
            ..300 => Self::Well,
            300..400 => Self::Redirected,
            400..500 => Self::Refused,
            500.. => Self::Failed,
        }
    }
}

/// The metrics of one route.
pub struct RouteMetrics {
    requests: [Counter; 5],
    seconds: Histogram,
}

impl RouteMetrics {
    /// `route` is a template, never the path of a request.
    pub fn of(route: &str) -> Self {
        Self {
            requests: ["2xx", "3xx", "4xx", "5xx", "gone"].map(|status| {
                let requests =
                    counter!("signaling_http_requests_total", "route" => route.to_owned(), "status" => status);
                requests.increment(0);
                requests
            }),
            seconds: histogram!("signaling_http_request_seconds", "route" => route.to_owned()),
        }
    }

    pub fn answered(&self, how: Answered, after: Duration) {
        self.requests[how as usize].increment(1);
        self.seconds.record(after.as_secs_f64());
    }
}
