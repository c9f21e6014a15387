//! `/api/stats`: what calls were like.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::Problem;
use super::{Api, error, unavailable};
use crate::call::{Picture, Timestamp, minute};

const WITHOUT_A_WORD: Duration = Duration::from_secs(3600);
/// All that is kept.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Deserialize)]
pub(super) struct Span {
    from: Option<u64>,
    to: Option<u64>,
}

/// Of calls that ended in this time. Times that were measured are right to a tenth.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsAnswer {
    /// The beginning of the first minute.
    from: u64,
    /// The end of the last minute.
    to: u64,
    #[serde(flatten)]
    all: CallStatistics,
    /// By `AUDIO`, `VIDEO`, and `UNKNOWN` where nobody said: as it was dialled; talk as it was at the time.
    types: BTreeMap<&'static str, CallStatistics>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallStatistics {
    calls: u64,
    /// Of these, those that were accepted.
    answered: u64,
    /// Accepted of all, 0 to 1; left out where there was no call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    success_ratio: Option<f64>,
    /// Calls by how they ended.
    outcomes: BTreeMap<String, u64>,
    /// From the first word of a call to its answer, or to its end without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ring_ms: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    talk_ms: Option<Percentiles>,
}

#[derive(Serialize, ToSchema)]
pub struct Percentiles {
    median: u64,
    p95: u64,
}

/// What calls were like
///
/// Of the whole cluster, from counters that are kept for 30 days, minute by minute; the last hour without `from` and `to`.
#[utoipa::path(get, path = "/api/stats", operation_id = "getStatistics", tag = "calls",
    params(
        ("from" = Option<u64>, Query, description = "Milliseconds since the epoch"),
        ("to" = Option<u64>, Query, description = "Milliseconds since the epoch"),
    ),
    responses(
        (status = 200, description = "Calls that ended in this time", body = StatisticsAnswer),
        (status = 400, description = "No times, or none of 30 days at most", body = Problem),
        (status = 401, description = "No secret, or a wrong one", body = Problem),
        (status = 429, description = "Too many requests, or somebody else is asking", body = Problem),
        (status = 503, description = "The store does not answer", body = Problem),
    ))]
pub(super) async fn show(State(api): State<Arc<Api>>, span: Result<Query<Span>, QueryRejection>) -> Response {
    let now = api.signaling.clock().now();
    let Some((from, to)) = span.ok().and_then(|Query(span)| bounds(&span, now)) else {
        let text = "from and to must be milliseconds since the epoch, 30 days apart at most";
        return error(StatusCode::BAD_REQUEST, text, "invalid_payload");
    };
    // A month is some hundred scripts: one at a time.
    let Ok(_turn) = api.statistics.try_acquire() else {
        return error(StatusCode::TOO_MANY_REQUESTS, "Too many requests", "rate_limited");
    };
    match api.signaling.operators.statistics(from..=to).await {
        Ok(statistics) => Json(StatisticsAnswer {
            from: from * 60_000,
            to: (to + 1) * 60_000,
            all: shown(&statistics.all),
            types: statistics.by_type.iter().map(|(media, picture)| (*media, shown(picture))).collect(),
        })
        .into_response(),
        Err(_) => unavailable(),
    }
}

/// The first and the last minute that is asked for, none of them before or after what there can be.
fn bounds(span: &Span, now: Timestamp) -> Option<(u64, u64)> {
    let to = span.to.map_or(now, Timestamp::from_millis).min(now);
    let from = span.from.map_or(to - WITHOUT_A_WORD, Timestamp::from_millis);
    if from > to || to.since(from) > LONGEST {
        return None;
    }
    let kept_from = now - LONGEST;
    Some((minute(from.max(kept_from)), minute(to.max(kept_from))))
}

fn shown(picture: &Picture) -> CallStatistics {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let percentiles = |median: Option<Duration>, p95: Option<Duration>| {
        median.zip(p95).map(|(median, p95)| Percentiles { median: millis(median), p95: millis(p95) })
    };
    CallStatistics {
        calls: picture.calls,
        answered: picture.answered,
        success_ratio: picture.success(),
        outcomes: picture.by_reason.clone(),
        ring_ms: percentiles(picture.ring_time(0.5), picture.ring_time(0.95)),
        talk_ms: percentiles(picture.talk_time(0.5), picture.talk_time(0.95)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_minutes_of_the_last_month() {
        let now = Timestamp::from_millis(1_800_000_030_000);
        let asked = |from, to| bounds(&Span { from, to }, now);
        let this = minute(now);
        assert_eq!(asked(None, None), Some((this - 60, this)));
        assert_eq!(asked(Some(0), None), None, "more than a month");
        assert_eq!(asked(Some(now.as_millis() + 1), None), None, "backwards");
        let month_ago = now - LONGEST;
        assert_eq!(asked(Some(month_ago.as_millis()), None), Some((minute(month_ago), this)));
        assert_eq!(asked(None, Some(u64::MAX)), Some((this - 60, this)), "up to now");
        assert_eq!(asked(Some(0), Some(60_000)), Some((minute(month_ago), minute(month_ago))), "long ago");
    }
}
