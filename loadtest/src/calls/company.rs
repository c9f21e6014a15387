//! Phones that call each other while something else happens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use super::board::{Board, Manner};
use super::faults::Kind;
use super::play;
use super::words::Awaited;
use crate::crowd::Crowd;
use crate::dial::Transport;
use crate::phone::Listener;
use crate::pool::Pool;
use crate::schedule::{Lasts, Poisson};

const CONNECT_RATE: f64 = 50.0;
/// Most are accepted: unanswered rings are counted against callers.
const MANNER: Manner = Manner {
    mix: [80, 10, 10],
    ring: Lasts::Always(Duration::from_millis(100)),
    talk: Lasts::Always(Duration::from_millis(500)),
    closed: false,
};

/// Connected phones without a call.
pub struct Company {
    board: Arc<Board>,
    _phones: JoinSet<()>,
}

impl Company {
    pub async fn meet(nodes: &[SocketAddr], count: usize) -> anyhow::Result<Self> {
        let run = rand::random_range(0..100_000_000);
        let crowd = Crowd { nodes: nodes.to_vec(), transport: Transport::Websocket, rate: CONNECT_RATE, run };
        let users = (0..count).map(|phone| crowd.user(phone)).collect();
        let pool = Pool::new(count, nodes.len());
        let board = Arc::new(Board::new(MANNER, run, users, pool, StdRng::from_os_rng()));
        let listener: Arc<dyn Listener> = board.clone();
        let mut phones = JoinSet::new();
        let came = crowd.come(0, count, &listener, &mut phones).await?;
        if let Some((failure, count)) = came.failures.first_key_value() {
            bail!("{count} phones that are to call each other did not connect: {failure}");
        }
        board.seat(came.phones.into_iter().collect::<Option<Vec<_>>>().context("a phone is missing")?);
        Ok(Self { board, _phones: phones })
    }

    /// Calls arrive for so long; returns when the last is over.
    pub async fn call(&self, rate: f64, duration: Duration) -> anyhow::Result<()> {
        play(&self.board, Instant::now(), Poisson::new(rate, duration, u64::from(rand::random::<u32>()))).await
    }

    /// How calls went: per cent that went as planned, phones lost, latency of `call:incoming` in milliseconds.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let state = self.board.state();
        let (judge, incoming) = (&state.judge, &state.judge.latencies[Awaited::Incoming as usize]);
        let faultless = judge.settled as f64 / judge.started.max(1) as f64 * 100.0;
        BTreeMap::from([
            ("calls".to_owned(), judge.started as f64),
            ("calls_ok_percent".to_owned(), faultless),
            ("call_faults".to_owned(), judge.faults.total() as f64),
            ("phones_lost".to_owned(), judge.faults.count(Kind::Disconnected) as f64),
            ("call_p50_ms".to_owned(), incoming.at(0.50)),
            ("call_p99_ms".to_owned(), incoming.at(0.99)),
        ])
    }

    /// Calls that did not go as planned.
    pub fn lost(&self) -> u64 {
        let state = self.board.state();
        state.judge.started - state.judge.settled
    }

    /// What went wrong, with examples.
    pub fn faults(&self) -> Vec<String> {
        self.board.state().judge.faults.examples.clone()
    }
}
