//! Every metric of a node, in one table: its help text is what `/metrics` says.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::call::Call;

static EXPORTER: OnceLock<PrometheusHandle> = OnceLock::new();

const LATENESS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Starts collecting; the first call of a process wins.
pub fn start() -> Result<(), BuildError> {
    if EXPORTER.get().is_some() {
        return Ok(());
    }
    let builder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &LATENESS_BUCKETS)?;
    if let Ok(exporter) = builder.install_recorder() {
        describe();
        let _ = EXPORTER.set(exporter);
    }
    Ok(())
}

/// The Prometheus text of all metrics.
pub fn render() -> String {
    EXPORTER.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Drains histograms; to be called every few seconds.
pub fn upkeep() {
    if let Some(exporter) = EXPORTER.get() {
        exporter.run_upkeep();
    }
}

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $function:ident => $name:literal;)*) => {
        $($(#[doc = $help])+ pub fn $function() {
            static HANDLE: LazyLock<Counter> = LazyLock::new(|| counter!($name));
            HANDLE.increment(1);
        })*

        fn describe_counters() {
            $(describe_counter!($name, concat!($($help),+).trim()); counter!($name).absolute(0);)*
        }
    };
}

counters! {
    /// Calls that were created.
    call_initiated => "signaling_calls_initiated_total";
    /// Store commands that failed or timed out.
    store_failed => "signaling_store_failures_total";
    /// Publishes that failed.
    bus_failed => "signaling_bus_failures_total";
    /// Losses of bus messages that were noticed.
    bus_gap => "signaling_bus_gaps_total";
    /// Envelopes that no node heard after all retries.
    undelivered_envelope => "signaling_bus_undelivered_total";
    /// Envelopes that arrived after their expiry.
    expired_envelope => "signaling_bus_expired_total";
    /// Messages on the node's channel that could not be read.
    unreadable_envelope => "signaling_bus_unreadable_total";
    /// Changes of calls that were found by comparison with the store, not by an envelope.
    healed => "signaling_healed_total";
    /// Decisions that had grown too old to be spoken.
    late_decision => "signaling_late_decisions_total";
    /// Verdicts given up while the store failed.
    verdict_dropped => "signaling_verdicts_dropped_total";
    /// Sessions whose queue was full because the phone no longer reads.
    deaf_session => "signaling_sessions_deaf_total";
    /// Sessions ended because their device had too many.
    session_evicted => "signaling_sessions_evicted_total";
    /// Times that a large part of the cluster's sessions vanished at once.
    storm => "signaling_storms_total";
    /// Requests to `/api/` without the right secret.
    secret_refused => "signaling_secrets_refused_total";
    /// Events refused because their payload was no good.
    invalid_payload => "signaling_invalid_payloads_total";
}

static SESSIONS: LazyLock<Gauge> = LazyLock::new(|| gauge!("signaling_sessions"));
static SWEPT: LazyLock<Counter> = LazyLock::new(|| counter!("signaling_sessions_swept_total"));
static LATENESS: LazyLock<Histogram> = LazyLock::new(|| histogram!("signaling_timer_lateness_seconds"));

/// Sessions on this node.
pub fn sessions(count: usize) {
    SESSIONS.set(count as f64);
}

/// Sessions of dead nodes that this node removed.
pub fn sessions_swept(count: usize) {
    SWEPT.increment(count as u64);
}

/// How long after its deadline a call was judged.
pub fn timer_fired(lateness: Duration) {
    LATENESS.record(lateness.as_secs_f64());
}

/// A call ended, by reason.
pub fn call_ended(call: &Call) {
    if let Some(end) = call.end() {
        counter!("signaling_calls_ended_total", "reason" => end.reason.name()).increment(1);
    }
}

/// Token checks by outcome: `valid`, `cached`, `invalid`, `unavailable`.
pub fn token_checked(outcome: &'static str) {
    counter!("signaling_token_checks_total", "outcome" => outcome).increment(1);
}

fn describe() {
    describe_counters();
    describe_gauge!("signaling_sessions", "Sessions on this node.");
    describe_counter!("signaling_sessions_swept_total", "Sessions of dead nodes that this node removed.");
    describe_histogram!("signaling_timer_lateness_seconds", "How long after its deadline a call was judged.");
    describe_counter!("signaling_calls_ended_total", "Calls that ended, by reason.");
    describe_counter!("signaling_token_checks_total", "Token checks by outcome.");
    gauge!("signaling_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_gauge!("signaling_build_info", "The version of this node.");
}
