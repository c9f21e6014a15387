//! The attacks, and what each may cost.

use std::time::Duration;

/// What a figure may be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(&'static str, f64),
    AtLeast(&'static str, f64),
}

use Bound::{AtLeast, AtMost};

impl Bound {
    /// What honest phones may notice where others use the machine, too: what starves is the machine's fault up to here.
    pub fn on_a_busy_machine(self) -> Self {
        match self {
            AtLeast(name, least) => AtLeast(name, least * 0.8),
            AtMost("admin_failed", _) => AtMost("admin_failed", 2.0),
            bound @ AtMost(..) => bound,
        }
    }
}

/// An attack of one process, and its bounds besides those of all ([`EVERY`]).
pub struct Row {
    pub name: &'static str,
    pub does: &'static str,
    /// Long enough to see the bound.
    pub lasts: Duration,
    /// Variables of the nodes, other than delivered.
    pub nodes: &'static [(&'static str, &'static str)],
    pub bounds: &'static [Bound],
    /// Laravel's firewall answers for tokens that are nobody's.
    pub waf: bool,
    /// Files that a node may have open.
    pub files: Option<u64>,
}

/// What honest phones may notice of any attack.
pub const EVERY: &[Bound] = &[
    AtLeast("calls_ok_percent", 100.0),
    AtMost("phones_lost", 0.0),
    AtLeast("fresh_ok_percent", 95.0),
    AtMost("admin_failed", 0.0),
    AtMost("nodes_died", 0.0),
];

const fn row(name: &'static str, does: &'static str, seconds: u64, bounds: &'static [Bound]) -> Row {
    Row { name, does, lasts: Duration::from_secs(seconds), nodes: &[], bounds, waf: false, files: None }
}

impl Row {
    /// Whether it wants nodes that are unlike others, or is judged by what they hold and ask in all.
    pub fn is_alone(&self) -> bool {
        let of_all = ["kib_", "grown_", "bytes_", "laravel_"];
        let is_of_all = |bound: &Bound| {
            let (AtMost(name, _) | AtLeast(name, _)) = bound;
            of_all.iter().any(|beginning| name.starts_with(beginning))
        };
        !self.nodes.is_empty() || self.waf || self.files.is_some() || self.bounds.iter().any(is_of_all)
    }

    const fn with(mut self, nodes: &'static [(&'static str, &'static str)]) -> Self {
        self.nodes = nodes;
        self
    }

    const fn behind_a_waf(mut self) -> Self {
        self.waf = true;
        self
    }

    const fn with_files(mut self, files: u64) -> Self {
        self.files = Some(files);
        self
    }
}

/// Bodies take twenty seconds at most, sessions and idle connections a minute; a margin for busy machines.
const HEAD: f64 = 15.0;
const BODY: f64 = 28.0;
const IDLE: f64 = 70.0;

pub const ROWS: &[Row] = &[
    row("silent", "100 connections that say nothing", 18, &[AtMost("alive", 0.0), AtMost("cut_max_s", HEAD)]),
    row("half-head", "100 heads that end in the middle", 18, &[AtMost("alive", 0.0), AtMost("cut_max_s", HEAD)]),
    row(
        "drip-head",
        "100 heads, a header of two letters each second",
        18,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", HEAD)],
    ),
    row(
        "large-head",
        "50 heads of 390 KB without an end",
        18,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", HEAD), AtMost("kib_per_connection", 64.0)],
    ),
    row("idle", "100 connections that asked once", 75, &[AtMost("alive", 0.0), AtMost("cut_max_s", IDLE)]),
    row("half-closed", "100 connections closed on one side", 18, &[AtMost("alive", 0.0), AtMost("cut_max_s", HEAD)]),
    row(
        "half-poll",
        "40 posts to transports, 0.9 of 1 MB sent",
        32,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", BODY)],
    ),
    row(
        "drip-poll",
        "40 posts to transports, a byte each second",
        32,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", BODY)],
    ),
    row(
        "half-api",
        "100 bodies to /api/ with the secret, half sent",
        32,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", BODY)],
    ),
    row(
        "unread",
        "20 connections that ask and never read",
        75,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", IDLE), AtMost("kib_per_connection", 512.0)],
    ),
    row("descriptors", "1,000 silent connections to a node with 400 files", 30, &[AtMost("cut_max_s", HEAD)])
        .with_files(400),
    row("long-ids", "session ids of 20 KB, one connection, 30 MB", 20, &[AtMost("grown_per_sent_percent", 10.0)]),
    row("made-up-ids", "session ids that nobody was given, 40,000", 25, &[AtMost("bytes_per_request", 100.0)]),
    row(
        "refused-connect",
        "10 transports that CONNECT with made-up tokens again and again",
        12,
        &[AtMost("laravel_per_socket", 1.1), AtMost("laravel_per_second", 60.0)],
    ),
    row(
        "unknown-tokens",
        "made-up tokens from 10 addresses, each on a transport of its own",
        20,
        &[AtMost("laravel_per_second", 250.0)],
    ),
    row("waf", "made-up tokens that Laravel's firewall answers with 429", 20, &[]).behind_a_waf(),
    row(
        "silent-transports",
        "200 transports that never CONNECT and answer pings",
        40,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", 32.0)],
    ),
    row(
        "disconnected",
        "200 transports that CONNECT, then 41, and answer pings",
        45,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", 28.0)],
    ),
    row(
        "other-users",
        "10 transports that CONNECT and 41 as one user after another",
        12,
        &[AtMost("connects_per_socket", 1.1)],
    ),
    row(
        "half-frames",
        "50 websockets of users, a frame that does not end",
        40,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", 35.0)],
    ),
    row(
        "half-messages",
        "60 websockets of users at one address, 1 of 1.1 MB of a message sent",
        40,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", 35.0), AtMost("kib_per_connection", 450.0)],
    ),
    row(
        "pings",
        "4 websockets that ping as fast as they can and read nothing",
        12,
        &[AtMost("alive", 0.0), AtMost("cut_max_s", 5.0), AtLeast("cut", 4.0)],
    ),
    row("handshakes", "a flood of handshakes from 10 addresses", 15, &[]),
    row("many-devices", "800 sockets of one user, each a device, four reconnecting", 25, &[AtMost("alive", 40.0)]),
    row("subscriptions", "500 presence ids again and again", 15, &[AtMost("ids_per_minute", 20_000.0)]),
    row("events", "10 users who send events as fast as they can", 12, &[]),
    row(
        "events-polling",
        "10 users who post events by polling as fast as they can, four bodies of 250 each at a time",
        12,
        &[AtMost("events_per_second", 10_000.0), AtLeast("events_per_second", 100.0)],
    ),
    row("api-flood", "questions to /health and /api/ as fast as 10 connections carry", 12, &[]),
    row(
        "ring-again",
        "rings one victim again and again, who lets it ring",
        45,
        &[AtMost("friends_refused_late_percent", 10.0), AtLeast("friends_late", 10.0)],
    )
    .with(&[("RING_TIMEOUT_SECS", "5")]),
    row(
        "dial-a-party",
        "dials a party of a call whose peer is away beyond its grace",
        16,
        &[AtMost("ended_by_a_stranger", 0.0), AtLeast("stranger_dials", 3.0)],
    )
    .with(&[("CALL_GRACE_SECS", "2")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_every_attack_has_its_attacker() {
        for (place, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..place].iter().all(|other| other.name != row.name), "{}", row.name);
            assert!(crate::attack::attacker::knows(row.name), "{}", row.name);
        }
    }
}
