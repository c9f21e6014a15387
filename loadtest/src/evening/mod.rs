//! `loadtest evening`: a busy evening in minutes. Phones come, call each other, lose their connections and leave; a node and
//! Redis are lost meanwhile.

mod arithmetic;
mod outcome;
mod slice;
mod stage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use crate::calls::{Board, Manner, play};
use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::options::{Evening, Target};
use crate::packet::Packet;
use crate::phone::Listener;
use crate::pool::Pool;
use crate::report::Report;
use crate::schedule::Lasts;
use stage::Stage;

/// Per cent of calls accepted, rejected, cancelled.
const MIX: [u32; 3] = [70, 20, 10];
const RING: Lasts = Lasts::Between(Duration::from_secs(2), Duration::from_secs(20));
const TALK: Duration = Duration::from_secs(180);
const LONGEST_TALK: Duration = Duration::from_secs(900);

pub async fn run(options: &Evening) -> anyhow::Result<Report> {
    let target = Target::started_here(usize::from(options.nodes), options.binary.clone(), options.node_env.clone());
    let mut cluster = Cluster::open(&target).await?;
    let run = rand::random_range(0..100_000_000);
    // The other nodes have room for all, also where those of the lost one come within a second.
    let (nodes, rate) = (cluster.addresses[1..].to_vec(), options.users as f64 / f64::from(options.nodes));
    let crowd = Crowd { nodes, transport: options.transport, rate, run };
    crowd.make_room(options.users, true)?;

    let [mean, most] = [TALK, LONGEST_TALK].map(|time| time.div_f64(options.compress));
    let manner = Manner { mix: MIX, ring: RING, talk: Lasts::About { mean, most }, closed: false };
    let users = (0..options.users).map(|phone| crowd.user(phone)).collect();
    // All in one: people call whom they want, on whatever node he is.
    let pool = Pool::empty(options.users, 1);
    let board = Arc::new(Board::new(manner, run, users, pool, StdRng::from_os_rng()));
    let (sender, lost) = mpsc::channel(options.users);
    let ears: Arc<dyn Listener> = Arc::new(Ears { board: board.clone(), lost: sender });

    let (before, start) = (cluster.usage().await?, Instant::now());
    let mut stage = Stage::new(options, &crowd, &mut cluster, board.clone(), ears);
    let arrivals = arithmetic::arrivals(options.peak, options.duration, u64::from(rand::random::<u32>()));
    let (slices, ()) = tokio::try_join!(stage.play(start, lost), play(&board, start, arrivals))?;
    let tally = stage.leave();
    let after = cluster.usage().await?;
    Ok(outcome::report(options, &cluster, &board, &slices, &tally, [&before, &after]))
}

/// Hears for all phones: the board hears of calls, the stage who lost its connection, and when.
struct Ears {
    board: Arc<Board>,
    /// Has a place for each phone.
    lost: mpsc::Sender<(usize, Instant)>,
}

impl Listener for Ears {
    fn hears(&self, phone: usize, packet: Packet, at: Instant) {
        self.board.hears(phone, packet, at);
    }

    fn disconnected(&self, phone: usize, why: &str) {
        // Else it was cut or dismissed in the same moment.
        if self.board.is_connected(phone) {
            self.board.disconnected(phone, why);
            let _ = self.lost.try_send((phone, Instant::now()));
        }
    }
}
