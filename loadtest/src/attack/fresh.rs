//! Users who come for the first time while a node is attacked: each from an address of its own, one try each.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::dial::{self, Transport};
use crate::figures::Latency;
use crate::packet::Who;

const PAUSE: Duration = Duration::from_millis(250);

/// Comes four times a second, by websocket and by polling in turn.
pub async fn come(node: SocketAddr, lasts: Duration) -> (BTreeMap<String, f64>, Vec<String>) {
    let (run, until) = (rand::random::<u32>(), Instant::now() + lasts);
    let mut dials = JoinSet::new();
    let mut pause = interval(PAUSE);
    for number in 0u32.. {
        pause.tick().await;
        if Instant::now() >= until {
            break;
        }
        dials.spawn(async move {
            let [.., host] = (1 + number % 250).to_be_bytes();
            let source = Ipv4Addr::new(127, 0, 1, host);
            let transport = if number.is_multiple_of(2) { Transport::Websocket } else { Transport::Polling };
            let who = Who::phone_of(&format!("USR_fresh_{run}_{number}"));
            let start = Instant::now();
            dial::dial(node, Some(source), transport, &who).await.map(|_| start.elapsed())
        });
    }
    let (mut latency, mut failures, mut all) = (Latency::default(), Vec::new(), 0u32);
    while let Some(dialed) = dials.join_next().await {
        all += 1;
        match dialed {
            Ok(Ok(took)) => latency.add(took),
            Ok(Err(failure)) => failures.push(failure.0),
            Err(_) => {}
        }
    }
    let ok = 100.0 * latency.count() as f64 / f64::from(all.max(1));
    failures.sort();
    failures.dedup();
    let figures = BTreeMap::from([
        ("fresh".into(), f64::from(all)),
        ("fresh_ok_percent".into(), ok),
        ("fresh_p50_ms".into(), latency.at(0.50)),
        ("fresh_p99_ms".into(), latency.at(0.99)),
    ]);
    (figures, failures)
}
