//! Every metric of a node, in one table: its help text is what `/metrics` and docs/metrics.md say.

mod calls;
mod labelled;
mod route;

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

pub use calls::{call_ended, type_changed};
pub use labelled::*;
pub use route::*;

static EXPORTER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Seconds. From a tenth of a millisecond, where a local event lies, to a ring's length.
const BUCKETS: [f64; 17] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A metric as the documents list it.
pub struct Metric {
    pub name: &'static str,
    pub kind: &'static str,
    /// Label and its values; both come from closed sets.
    pub labels: &'static str,
    pub help: &'static str,
}

macro_rules! metrics_table {
    (
        counters { $($(#[doc = $chelp:literal])+ $cfunction:ident => $cname:literal;)* }
        gauges { $($(#[doc = $ghelp:literal])+ $gfunction:ident => $gname:literal;)* }
        histograms { $($(#[doc = $hhelp:literal])+ $hfunction:ident => $hname:literal;)* }
        labelled { $($(#[doc = $lhelp:literal])+ $lname:literal, $lkind:literal, $llabels:literal;)* }
    ) => {
        $($(#[doc = $chelp])+ pub fn $cfunction() {
            static HANDLE: LazyLock<Counter> = LazyLock::new(|| counter!($cname));
            HANDLE.increment(1);
        })*
        $($(#[doc = $ghelp])+ pub fn $gfunction(value: usize) {
            static HANDLE: LazyLock<Gauge> = LazyLock::new(|| gauge!($gname));
            HANDLE.set(value as f64);
        })*
        $($(#[doc = $hhelp])+ pub fn $hfunction(duration: Duration) {
            static HANDLE: LazyLock<Histogram> = LazyLock::new(|| histogram!($hname));
            HANDLE.record(duration.as_secs_f64());
        })*

        /// All metrics, in the order of the documents.
        pub const METRICS: &[Metric] = &[
            $(Metric { name: $cname, kind: "counter", labels: "", help: concat!($($chelp),+) },)*
            $(Metric { name: $gname, kind: "gauge", labels: "", help: concat!($($ghelp),+) },)*
            $(Metric { name: $hname, kind: "histogram", labels: "", help: concat!($($hhelp),+) },)*
            $(Metric { name: $lname, kind: $lkind, labels: $llabels, help: concat!($($lhelp),+) },)*
        ];

        fn describe() {
            for metric in METRICS {
                match metric.kind {
                    "counter" => describe_counter!(metric.name, metric.help.trim()),
                    "gauge" => describe_gauge!(metric.name, metric.help.trim()),
                    _ => describe_histogram!(metric.name, metric.help.trim()),
                }
            }
            $(gauge!($gname).set(0.0);)*
        }
    };
}

metrics_table! {
    counters {
        /// Calls that were created.
        call_initiated => "signaling_calls_initiated_total";
        /// Of these, calls that were accepted.
        call_accepted => "signaling_calls_accepted_total";
        /// Store commands that failed or timed out.
        store_failed => "signaling_store_failures_total";
        /// Connections to Redis that were made again.
        redis_reconnected => "signaling_redis_reconnects_total";
        /// Times that the store was found to be another than before or to have lost writes.
        store_lost => "signaling_store_losses_total";
        /// Times that the store's clock made a step and store time was kept from it.
        clock_stepped => "signaling_clock_steps_total";
        /// Phones that were told to ring after the call had ended: must stay 0.
        ghost_ring => "signaling_ghost_rings_total";
        /// Rings whose phone promised to acknowledge them and did not within 5 s.
        ring_unconfirmed => "signaling_incoming_unconfirmed_total";
        /// Connections that could not be accepted because descriptors or memory ran out.
        accept_failed => "signaling_accepts_failed_total";
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
        /// News of a call that a session was not told because it had turned to a newer one.
        older_call_dropped => "signaling_older_calls_dropped_total";
        /// Accepted calls of a store that came back older which no node knew: asked about, and they yield to new calls.
        call_doubted => "signaling_calls_doubted_total";
        /// Decisions that had grown too old to be spoken.
        late_decision => "signaling_late_decisions_total";
        /// Calls that were ended while they rang: an accept never reached this cluster.
        accept_missed => "signaling_accepts_missed_total";
        /// Commands given up while the store failed.
        command_dropped => "signaling_verdicts_dropped_total";
        /// Sessions whose transport was closed because their queue was full: the phone no longer reads.
        deaf_session => "signaling_sessions_deaf_total";
        /// Presence and application events that were dropped because too many waited for a phone to read.
        news_dropped => "signaling_news_dropped_total";
        /// Sessions ended because their device or their user had too many.
        session_evicted => "signaling_sessions_evicted_total";
        /// Sessions whose transport was closed because the node drains.
        session_drained => "signaling_sessions_drained_total";
        /// Sessions ended because their token was revoked.
        session_revoked => "signaling_sessions_revoked_total";
        /// Sessions ended because Laravel sent their user away.
        session_sent_away => "signaling_sessions_sent_away_total";
        /// Times that a large part of the cluster's sessions vanished at once.
        mass_disconnect => "signaling_storms_total";
        /// Pushes that were asked for because no device of the callee confirmed the ring.
        push_required => "signaling_pushes_required_total";
        /// Users' tokens that Laravel refused when it was called back with them.
        token_dropped => "signaling_tokens_dropped_total";
        /// Calls that are over and whose row in Laravel was given up: it may be open, the log names each.
        open_row => "signaling_open_rows_total";
        /// Requests to `/api/` without the right secret.
        secret_refused => "signaling_secrets_refused_total";
        /// Requests of clients whose trusted proxy named them in a form that is not understood: limits per address do not hold for them.
        client_unnamed => "signaling_clients_unnamed_total";
        /// Requests with `X-Forwarded-For` or `Forwarded` from peers that `TRUSTED_PROXIES` does not name: whom these name is not believed.
        forwarder_unlisted => "signaling_forwarders_unlisted_total";
    }
    gauges {
        /// Sessions on this node.
        sessions => "signaling_sessions";
        /// `MAX_SESSIONS`: beyond it handshakes are refused. A relay counts twice. 0: no limit.
        sessions_limit => "signaling_sessions_limit";
        /// Transports of the engine on this node, whether they are sessions yet or not: what `MAX_SESSIONS` counts.
        transports => "signaling_transports";
        /// Of these, those that are no sessions yet: beyond 10,000, or a quarter of `MAX_SESSIONS`, handshakes wait.
        transports_unused => "signaling_transports_unused";
        /// Connections to the public port that are open.
        connections => "signaling_connections";
        /// Beyond so many they are closed at once: `MAX_CONNECTIONS`, or what descriptors allow.
        connections_limit => "signaling_connections_limit";
        /// Handshakes that wait until the node keeps up.
        handshakes_waiting => "signaling_handshakes_waiting";
        /// 1 while the node lets its sessions go, else 0.
        draining => "signaling_draining";
        /// 1 while this node hears its own channel, else 0.
        bus_healthy => "signaling_bus_healthy";
        /// 1 while the store renews this node's lease, else 0.
        store_healthy => "signaling_store_healthy";
        /// Nodes that are alive as far as this node knows, itself included.
        cluster_nodes => "signaling_cluster_nodes";
        /// Users with a session on this node.
        users => "signaling_users";
        /// Users whose presence this node subscribed to.
        subscribed_users => "signaling_presence_watched_users";
        /// Tokens that wait for their check in the background.
        waiting_checks => "signaling_token_checks_waiting";
        /// 1 while Laravel fails for who is known and is only probed, else 0.
        laravel_breaker_open => "signaling_laravel_breaker_open";
        /// 1 while questions to Laravel for tokens that were never seen fail and are slowed, else 0.
        new_tokens_slowed => "signaling_new_tokens_slowed";
        /// 1 where Laravel's `users/me` was found or no Laravel is asked, else 0.
        laravel_route_found => "signaling_laravel_route_found";
        /// Websockets of other nodes' sessions that run through this node.
        relays => "signaling_relays";
        /// 1 while webhooks are switched off because their receiver answered 410.
        webhooks_off => "signaling_webhooks_off";
        /// Commands that wait for the store.
        waiting_commands => "signaling_verdicts_waiting";
    }
    histograms {
        /// How long after its deadline a call was judged.
        timer_fired => "signaling_timer_lateness_seconds";
        /// From publishing an envelope to opening it on another node.
        bus_lag => "signaling_bus_lag_seconds";
        /// How long the receiver of webhooks took.
        webhook_answered => "signaling_webhook_seconds";
        /// How long Laravel took to answer a token check.
        token_asked => "signaling_token_check_seconds";
        /// How long handshakes waited that were not let in or refused at once.
        handshake_waited => "signaling_handshake_wait_seconds";
    }
    labelled {
        /// Sockets that wanted to be sessions, by outcome: let in, beyond a limit, refused for what they brought, or `repeated`: another CONNECT on a transport that had its one.
        "signaling_handshakes_total", "counter", "outcome: accepted, limited, no_credentials, malformed, invalid_token, unavailable, repeated";
        /// Sessions that left this node: the phone said so or closed its transport, it broke, went silent or spoke nonsense, or this side ended it.
        "signaling_disconnects_total", "counter", "cause: left, closed, lost, silent, protocol, evicted, revoked, sent_away, drained, stopped, panicked, deaf";
        /// Events that were refused, by the code of the acknowledgement.
        "signaling_event_errors_total", "counter", "code: invalid_payload, rate_limited, not_a_participant, call_not_found, invalid_state, unavailable";
        /// From an event's arrival to the moment all it caused was sent on.
        "signaling_event_seconds", "histogram", "event: initiate, ringing, accept, reject, cancel, end";
        /// From the moment a call was created to a phone that is told to ring, on the caller's node or another.
        "signaling_ring_delivery_seconds", "histogram", "path: local, remote";
        /// From the moment a call changed to the phone of the other side.
        "signaling_outcome_delivery_seconds", "histogram", "event: accepted, rejected, cancelled, ended";
        /// Phones that were told to ring, by whether they promised to acknowledge it.
        "signaling_incoming_total", "counter", "acks: promised, none";
        /// Lines that a new call took from an old one: its call was gone (must stay near 0), or nobody knew whether it went on.
        "signaling_lines_freed_total", "counter", "cause: gone, doubtful, squatted";
        /// How long Redis took to answer, by script or command.
        "signaling_store_seconds", "histogram", "command: as the scripts in src/store/redis/lua, load, sessions";
        /// Live calls this node has to do with, by state.
        "signaling_calls", "gauge", "state: trying, ringing, active";
        /// Calls that ended, by reason.
        "signaling_calls_ended_total", "counter", "reason: cancelled, superseded, caller_gone, rejected, no_answer, busy, hung_up, lost, max_duration, other";
        /// How long calls rang, from the first word of a call to its answer, or to its end without one.
        "signaling_call_ring_seconds", "histogram", "type: audio, video, unknown";
        /// How long calls were talked, by what was sent.
        "signaling_call_talk_seconds", "histogram", "type: audio, video, unknown";
        /// Requests for video, by what came of them, and ways back to audio.
        "signaling_video_switches_total", "counter", "outcome: accepted, declined, no_answer, unreachable, call_ended, other, downgraded";
        /// Stored items that this version can't read and passes over: of another version, or damaged.
        "signaling_unreadable_total", "counter", "what: call, session, outcome, milestone, verdict, version, line, deadline, lease, letter, token, node";
        /// Calls that this node put back after the store had lost them.
        "signaling_calls_restored_total", "counter", "";
        /// Sessions of dead nodes that this node removed.
        "signaling_sessions_swept_total", "counter", "";
        /// Token checks by outcome; `refused_again`: not asked because Laravel refused the token a moment ago, `bounded`: not asked because too many new tokens came, from there or in all, `throttled`: not asked because Laravel told the user to wait.
        "signaling_token_checks_total", "counter", "outcome: valid, cached, stale, invalid, unavailable, refused_by_breaker, refused_again, bounded, throttled";
        /// Initiates that Laravel was asked about, by outcome.
        "signaling_initiate_checks_total", "counter", "outcome: confirmed, contradicted, unavailable";
        /// Requests for sessions of other nodes, by what became of them.
        "signaling_relayed_total", "counter", "outcome: forwarded, unknown, unreachable, refused";
        /// Websockets to which sessions on polling wanted to move, by outcome; a session whose probe failed or timed out stays on polling.
        "signaling_upgrades_total", "counter", "outcome: completed, failed, timed_out, refused";
        /// What was refused by a limit.
        "signaling_limited_total", "counter", "limit: events, hang_ups, rings, handshakes, address, sessions, api, subscriptions, draining, connections, connections_of_address, session_requests, presence_ids, messages, ring_time, caller_ring_time, waiting_words";
        /// Connections that this side ended because of what they did not say: the rest of a request in time, fast enough, or a next one; or did not take; `displaced`: by a newcomer to a full port.
        "signaling_connections_cut_total", "counter", "cause: head, body, slow_body, idle, memory, unread, displaced";
        /// Milestones of calls that were not written to their timelines.
        "signaling_milestones_dropped_total", "counter", "";
        /// Attempts to deliver a webhook, and messages given up, by outcome.
        "signaling_webhooks_total", "counter", "type: record, push; outcome: delivered, failed, expired, dead";
        /// Attempts to deliver a webhook that failed, by cause.
        "signaling_webhook_failures_total", "counter", "cause: refused, failed, too_many, redirected, timed_out, unreachable";
        /// Requests that tell a Laravel without webhooks what happened, by outcome.
        "signaling_callbacks_total", "counter", "request: reject, cancel, end, unreadable; outcome: done, needless, refused, failed, expired, unauthorized, dead, of_others, over";
        /// How long Laravel took to answer such a request, or failed to.
        "signaling_callback_seconds", "histogram", "request: reject, cancel, end, notify_cancelled";
        /// Questions to Laravel's table of calls before a ring is given up or somebody is told busy, or of a call whose phones are both away, by outcome.
        "signaling_inquiries_total", "counter", "outcome: accepted, over, stands, unavailable";
        /// Messages that wait in the outbox, of the whole cluster; like all of the outbox's gauges the same on every node.
        "signaling_outbox_records", "gauge", "";
        /// Age of the oldest message that waits, in seconds.
        "signaling_outbox_oldest_seconds", "gauge", "";
        /// Messages that were given up and can be replayed.
        "signaling_outbox_dead", "gauge", "";
        /// What the outbox takes, in bytes.
        "signaling_outbox_bytes", "gauge", "";
        /// Messages dropped because the outbox was full.
        "signaling_outbox_dropped_total", "counter", "";
        /// HTTP requests on the public port, and on that of `/api/`, beside Socket.IO, by class of status; `gone`: who asked did not wait for the answer.
        "signaling_http_requests_total", "counter", "route: as in the API's description, unknown; status: 2xx, 3xx, 4xx, 5xx, gone";
        /// How long they took.
        "signaling_http_request_seconds", "histogram", "route: as above";
        /// The version of this node.
        "signaling_build_info", "gauge", "version";
        /// When the process started, in seconds since 1970.
        "process_start_time_seconds", "gauge", "";
        /// CPU time that the process used, in whole seconds.
        "process_cpu_seconds_total", "counter", "";
        /// Memory of the process that is resident.
        "process_resident_memory_bytes", "gauge", "";
        /// Address space of the process.
        "process_virtual_memory_bytes", "gauge", "";
        /// The limit of that; 0: none.
        "process_virtual_memory_max_bytes", "gauge", "";
        /// Files and sockets that the process has open.
        "process_open_fds", "gauge", "";
        /// The limit of that.
        "process_max_fds", "gauge", "";
        /// Threads of the process.
        "process_threads", "gauge", "";
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let lived = Matcher::Prefix("signaling_call_".into());
    PrometheusBuilder::new().set_buckets(&BUCKETS)?.set_buckets_for_metric(lived, &calls::BUCKETS)
}

/// Starts collecting; the first call of a process wins.
pub fn start() -> Result<(), BuildError> {
    if EXPORTER.get().is_some() {
        return Ok(());
    }
    if let Ok(exporter) = builder()?.install_recorder() {
        describe();
        count_from_zero();
        gauge!("signaling_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let _ = EXPORTER.set(exporter);
    }
    Ok(())
}

/// A rate needs a first value: counters and histograms are there from the start, for each value of their labels.
fn count_from_zero() {
    for metric in METRICS {
        for labels in label_sets(metric.labels) {
            match metric.kind {
                "counter" => counter!(metric.name, labels).increment(0),
                "histogram" => drop(histogram!(metric.name, labels)),
                _ => {}
            }
        }
    }
}

/// Every combination of the values of a metric's labels; none where they are listed elsewhere.
fn label_sets(labels: &'static str) -> Vec<Vec<Label>> {
    let mut sets = vec![Vec::new()];
    for (label, values) in labels.split("; ").filter_map(|label| label.split_once(": ")) {
        if values.starts_with("as ") {
            return Vec::new();
        }
        let with = |set: &Vec<Label>, value| [set.as_slice(), &[Label::from_static_parts(label, value)]].concat();
        sets = values.split(", ").flat_map(|value| sets.iter().map(move |set| with(set, value))).collect();
    }
    sets
}

/// The Prometheus text of all metrics, those of the process as they are now. Takes milliseconds where many files are
/// open.
pub fn render() -> String {
    let Some(exporter) = EXPORTER.get() else { return String::new() };
    Collector::default().collect();
    exporter.run_upkeep();
    exporter.render()
}

/// Drains histograms; to be called every few seconds.
pub fn upkeep() {
    if let Some(exporter) = EXPORTER.get() {
        exporter.run_upkeep();
    }
}

/// The metrics as a Markdown table, for docs/metrics.md.
pub fn metrics_table() -> String {
    let mut table = String::from("| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n");
    for metric in METRICS {
        let labels = if metric.labels.is_empty() { "–" } else { metric.labels };
        table.push_str(&format!("| `{}` | {} | {labels} | {} |\n", metric.name, metric.kind, metric.help.trim()));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{EndReason, Foreign, Role};

    #[test]
    fn series_are_all_combinations_of_label_values() {
        let sets = |labels: &'static str| -> Vec<String> {
            let text =
                |set: Vec<Label>| set.iter().map(|label| format!("{}={} ", label.key(), label.value())).collect();
            label_sets(labels).into_iter().map(text).collect()
        };
        assert_eq!(sets(""), [""]);
        assert_eq!(sets("a: x, y"), ["a=x ", "a=y "]);
        assert_eq!(sets("a: x, y; b: p, q; c: z").len(), 4);
        assert_eq!(sets("a: x, y; b: p, q; c: z")[3], "a=y b=q c=z ");
        assert!(sets("a: x; b: as elsewhere").is_empty());
    }

    #[test]
    fn every_reason_is_counted_from_the_start() {
        let ended = METRICS.iter().find(|metric| metric.name == "signaling_calls_ended_total").unwrap();
        let listed: Vec<String> = label_sets(ended.labels).iter().map(|labels| labels[0].value().to_owned()).collect();
        let reasons = [
            EndReason::Cancelled,
            EndReason::Superseded,
            EndReason::CallerGone,
            EndReason::Rejected,
            EndReason::NoAnswer,
            EndReason::Busy,
            EndReason::HungUp { by: None, accept_missed: false },
            EndReason::Lost { party: Role::Caller },
            EndReason::MaxDuration,
            EndReason::Other(Foreign),
        ];
        assert_eq!(listed, reasons.map(|reason| reason.name()));
    }
}
