//! What docs/scale.md says that an evening takes, and when an evening's calls come.

use std::f64::consts::PI;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::dial::Transport;
use crate::schedule::Poisson;

// The figures of docs/scale.md, as its table has them.
const NODE_MS_PER_CALL: f64 = 1.1;
const REDIS_MS_PER_CALL: f64 = 0.5;
const NODE_MS_PER_CONNECT: f64 = 0.49;
const NODE_MS_PER_POLLING_CONNECT: f64 = 0.84;
/// Of a session that has heard some packets.
const NODE_KIB_PER_SESSION: f64 = 23.0;
/// Milliseconds a second for 1,000 sessions.
const NODE_MS_IDLE: f64 = 8.0;

/// What goes on: sessions, calls and connects a second.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub sessions: f64,
    pub calls: f64,
    pub connects: f64,
    pub transport: Transport,
}

impl Load {
    /// CPU of all nodes, in per cent of a core.
    pub fn nodes_percent(self) -> f64 {
        let connect = match self.transport {
            Transport::Websocket => NODE_MS_PER_CONNECT,
            Transport::Polling => NODE_MS_PER_POLLING_CONNECT,
        };
        let idle = self.sessions / 1000.0 * NODE_MS_IDLE;
        (idle + self.calls * NODE_MS_PER_CALL + self.connects * connect) / 10.0
    }

    pub fn redis_percent(self) -> f64 {
        self.calls * REDIS_MS_PER_CALL / 10.0
    }
}

/// MiB that so many sessions add to the nodes.
pub fn memory_mib(sessions: usize) -> f64 {
    sessions as f64 * NODE_KIB_PER_SESSION / 1024.0
}

/// Calls a second at a share of the evening, by those of its peak.
fn curve(share: f64) -> f64 {
    (PI * share).sin().powi(2)
}

/// The integral of the curve from the beginning: calls so far, by those of an evening at its peak all along.
pub fn so_far(share: f64) -> f64 {
    share / 2.0 - (2.0 * PI * share).sin() / (4.0 * PI)
}

/// Arrivals of calls along the curve, `peak` a second in the middle.
pub fn arrivals(peak: f64, duration: Duration, seed: u64) -> impl Iterator<Item = Duration> + Send + 'static {
    let mut random = StdRng::seed_from_u64(!seed);
    Poisson::new(peak, duration, seed)
        .filter(move |at| random.random::<f64>() < curve(at.as_secs_f64() / duration.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of the row whose name begins so.
    fn row(name: &str) -> Vec<f64> {
        let table = include_str!("../../../docs/scale.md").lines();
        let rows: Vec<&str> = table.filter(|line| line.starts_with(&format!("| {name}"))).collect();
        let [row] = rows[..] else { panic!("{name}: {rows:?}") };
        let figures = row.split('|').nth(2).expect("a figure").split(';');
        figures.map(|figure| figure.split_whitespace().next().and_then(|n| n.parse().ok()).expect(row)).collect()
    }

    #[test]
    fn the_figures_are_those_of_the_document() {
        assert_eq!(row("node CPU per call across two nodes"), [NODE_MS_PER_CALL]);
        assert_eq!(row("Redis CPU per call at 200 calls/s")[0], REDIS_MS_PER_CALL);
        assert_eq!(row("node CPU per connect"), [NODE_MS_PER_CONNECT, NODE_MS_PER_POLLING_CONNECT]);
        assert_eq!(row("node memory per session")[1], NODE_KIB_PER_SESSION);
        assert_eq!(row("idle node CPU per 1,000 sessions"), [NODE_MS_IDLE]);
    }

    #[test]
    fn sessions_calls_and_connects_add_up() {
        let load = Load { sessions: 10_000.0, calls: 100.0, connects: 50.0, transport: Transport::Polling };
        // 80 ms for pings, 110 ms for calls, 42 ms for connects, each second.
        assert!((load.nodes_percent() - 23.2).abs() < 1e-9, "{}", load.nodes_percent());
        let sockets = Load { transport: Transport::Websocket, ..load };
        assert!((sockets.nodes_percent() - 21.45).abs() < 1e-9, "{}", sockets.nodes_percent());
        assert!((load.redis_percent() - 5.0).abs() < 1e-9);
        assert!((memory_mib(1024) - 23.0).abs() < 1e-9);
    }

    #[test]
    fn as_many_calls_are_offered_as_the_curve_holds() {
        assert!(curve(0.0) < 1e-9 && curve(1.0) < 1e-9 && (curve(0.5) - 1.0).abs() < 1e-9);
        let steps = 10_000;
        let summed = |until: f64| {
            (0..steps).map(|step| curve((f64::from(step) + 0.5) / f64::from(steps) * until)).sum::<f64>()
                / f64::from(steps)
                * until
        };
        for share in [0.1, 1.0 / 3.0, 0.5, 1.0] {
            assert!((summed(share) - so_far(share)).abs() < 1e-6, "until {share}");
        }
        let duration = Duration::from_secs(2000);
        let offered: Vec<Duration> = arrivals(100.0, duration, 7).collect();
        for share in [1.0 / 3.0, 0.5, 1.0] {
            let count = offered.iter().filter(|at| **at <= duration.mul_f64(share)).count() as f64;
            let expected = 100.0 * 2000.0 * so_far(share);
            // Four standard deviations of a count, which are its root each.
            assert!((count - expected).abs() < 4.0 * expected.sqrt(), "{count} of {expected} until {share}");
        }
    }
}
