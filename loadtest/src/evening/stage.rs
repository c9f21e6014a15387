//! Lets the evening happen: phones come, lose their connections and leave, a node and Redis are lost.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::arithmetic::so_far;
use super::slice::Slice;
use crate::avalanche::{Return, come_back};
use crate::calls::{Awaited, Board, PATIENCE};
use crate::cluster::{Cluster, Usage};
use crate::crowd::Crowd;
use crate::dial::{Failure, Line};
use crate::figures::Latency;
use crate::options::Evening;
use crate::packet::Who;
use crate::phone::{Listener, Phone};
use crate::schedule::Poisson;

const SLICES: u32 = 12;
const TICK: Duration = Duration::from_millis(50);
/// Shares of the evening: all phones have come; they begin to leave.
const ALL_CAME: f64 = 1.0 / 3.0;
const LEAVE_FROM: f64 = 5.0 / 6.0;
/// The peak is the middle third; when a third of it is over.
const NODE_DIES: f64 = 4.0 / 9.0;
const REDIS_DIES: f64 = 5.0 / 8.0;
const REDIS_AWAY: Duration = Duration::from_secs(2);
/// A fault is under way for so long after its cause is gone: a lease of a node, and what a call waits for an event.
const RECOVERY: Duration = Duration::from_secs(15);

enum Step {
    NodeDies,
    RedisDies,
    RedisIsBack,
}

pub struct Stage<'a> {
    options: &'a Evening,
    crowd: &'a Crowd,
    cluster: &'a mut Cluster,
    board: Arc<Board>,
    ears: Arc<dyn Listener>,
    comings: Comings,
    tally: Tally,
}

/// Phones on their way.
struct Comings {
    /// That a load balancer offers.
    nodes: Arc<Vec<SocketAddr>>,
    /// Phone, whether it has been there before, what became of it.
    dials: JoinSet<(usize, bool, (Return, Option<Line>))>,
    /// They hang up what they came back to, and are called only when that is over.
    resting: VecDeque<(Instant, usize)>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
pub struct Tally {
    pub came: usize,
    pub left: usize,
    /// Connects that succeeded.
    pub connects: u64,
    /// Phones that came back, from the loss on.
    pub back: Latency,
    pub failures: BTreeMap<Failure, u64>,
    /// Begin and end of each fault.
    pub faults: Vec<[Instant; 2]>,
    /// When phones lost their connection that nobody had cut.
    pub lost: Vec<Instant>,
    pub stranded: usize,
}

impl Tally {
    /// Whether a fault was under way at any moment between.
    pub fn excuses(&self, from: Instant, to: Instant) -> bool {
        self.faults.iter().any(|[begin, end]| from <= *end && *begin <= to)
    }
}

impl<'a> Stage<'a> {
    pub fn new(
        options: &'a Evening,
        crowd: &'a Crowd,
        cluster: &'a mut Cluster,
        board: Arc<Board>,
        ears: Arc<dyn Listener>,
    ) -> Self {
        let nodes = Arc::new(cluster.addresses.clone());
        let comings = Comings { nodes, dials: JoinSet::new(), resting: VecDeque::new(), tasks: JoinSet::new() };
        Self { options, crowd, cluster, board, ears, comings, tally: Tally::default() }
    }

    /// Until the evening, all its calls and all comings are over.
    pub async fn play(
        &mut self,
        start: Instant,
        mut lost: mpsc::Receiver<(usize, Instant)>,
    ) -> anyhow::Result<Vec<Slice>> {
        let duration = self.options.duration;
        let cuts = Poisson::new(self.options.reconnects / 60.0, duration, u64::from(rand::random::<u32>()));
        let mut cuts = cuts.peekable();
        let redis_dies = duration.mul_f64(REDIS_DIES);
        let steps = [
            (duration.mul_f64(NODE_DIES), Step::NodeDies),
            (redis_dies, Step::RedisDies),
            (redis_dies + REDIS_AWAY, Step::RedisIsBack),
        ];
        let mut steps = steps.into_iter().peekable();
        let (mut slices, mut tick) = (Vec::new(), tokio::time::interval(TICK));
        let empty = self.cluster.usage().await?;
        let mut slice = Running::begin(empty.clone(), Duration::ZERO, self);
        loop {
            tokio::select! {
                Some((phone, at)) = lost.recv() => {
                    self.tally.lost.push(at);
                    self.come(phone, true);
                }
                Some(dialed) = self.comings.dials.join_next() => {
                    let (phone, again, back) = dialed?;
                    self.came(phone, again, back);
                }
                _ = tick.tick() => {
                    let elapsed = start.elapsed();
                    self.turn_over(elapsed.div_duration_f64(duration));
                    while cuts.next_if(|at| *at <= elapsed).is_some() {
                        let phone = rand::rng().random_range(0..self.options.users);
                        if self.board.cut(phone) {
                            self.come(phone, true);
                        }
                    }
                    while let Some((_, step)) = steps.next_if(|(at, _)| *at <= elapsed) {
                        slice.faults.push(self.take(step).await?);
                    }
                    slice.looks.push(self.board.sessions());
                    let end = duration * (slices.len() as u32 + 1) / SLICES;
                    if slices.len() < SLICES as usize && elapsed >= end {
                        let usage = self.cluster.usage().await?;
                        let next = Running::begin(usage.clone(), end, self);
                        let slice = std::mem::replace(&mut slice, next);
                        slices.push(slice.end(usage, &empty, end, self));
                    }
                    let is_over = slices.len() == SLICES as usize && steps.peek().is_none() && lost.is_empty();
                    if is_over && self.comings.dials.is_empty() && self.board.state().judge.open() == 0 {
                        return Ok(slices);
                    }
                }
            }
        }
    }

    /// All phones that are left leave.
    pub fn leave(mut self) -> Tally {
        self.tally.stranded = self.options.users - self.tally.left - self.board.sessions();
        self.tally
    }

    /// Lets phones come, take part in calls and leave whose time it is.
    fn turn_over(&mut self, share: f64) {
        let users = self.options.users as f64;
        let come = ((share / ALL_CAME).min(1.0) * users) as usize;
        while self.tally.came < come {
            self.come(self.tally.came, false);
            self.tally.came += 1;
        }
        while self.comings.resting.front().is_some_and(|(until, _)| *until <= Instant::now()) {
            self.comings.resting.pop_front().into_iter().for_each(|(_, phone)| self.board.joins(phone));
        }
        let leave = ((share - LEAVE_FROM) / (1.0 - LEAVE_FROM)).clamp(0.0, 1.0) * users;
        while self.tally.left < leave as usize && self.board.dismiss() {
            self.tally.left += 1;
        }
        while self.comings.tasks.try_join_next().is_some() {}
    }

    fn come(&mut self, phone: usize, again: bool) {
        let (who, since) = (Who::phone_of(&self.crowd.user(phone)), Instant::now());
        let (nodes, transport) = (Arc::clone(&self.comings.nodes), self.options.transport);
        self.comings.dials.spawn(async move { (phone, again, come_back(phone, &who, transport, &nodes, since).await) });
    }

    fn came(&mut self, phone: usize, again: bool, (back, line): (Return, Option<Line>)) {
        back.failures.into_iter().for_each(|failure| *self.tally.failures.entry(failure).or_default() += 1);
        let Some(line) = line else { return };
        self.tally.connects += 1;
        if again {
            self.tally.back.add(back.took);
        }
        let call = line.ready["call"]["callId"].as_str().map(str::to_owned);
        let connected = Phone::start(phone, line, Arc::clone(&self.ears), &mut self.comings.tasks);
        self.board.comes(phone, connected, call.as_deref());
        self.comings.resting.push_back((Instant::now() + PATIENCE, phone));
    }

    /// Breaks something or mends it, and says what.
    async fn take(&mut self, step: Step) -> anyhow::Result<&'static str> {
        let now = Instant::now();
        let said = match step {
            Step::NodeDies => {
                self.cluster.kill_first();
                self.comings.nodes = Arc::new(self.crowd.nodes.clone());
                self.tally.faults.push([now, now + RECOVERY]);
                "a node is killed"
            }
            Step::RedisDies => {
                self.cluster.kill_redis();
                self.tally.faults.push([now, now + REDIS_AWAY + RECOVERY]);
                "Redis is killed"
            }
            Step::RedisIsBack => {
                self.cluster.redis_again().await?;
                self.tally.faults.push([now, Instant::now() + RECOVERY]);
                "Redis is back, empty"
            }
        };
        eprintln!("{said}");
        Ok(said)
    }
}

/// The slice under way.
struct Running {
    from: Duration,
    begin: Usage,
    /// Sessions at each look.
    looks: Vec<usize>,
    /// So many there had been when it began.
    calls: u64,
    connects: u64,
    faults: Vec<&'static str>,
}

impl Running {
    fn begin(usage: Usage, from: Duration, stage: &Stage<'_>) -> Self {
        let (calls, connects) = (stage.board.state().judge.started, stage.tally.connects);
        Self { from, begin: usage, looks: Vec::new(), calls, connects, faults: Vec::new() }
    }

    fn end(self, usage: Usage, empty: &Usage, until: Duration, stage: &Stage<'_>) -> Slice {
        let Evening { duration, peak, nodes, transport, .. } = *stage.options;
        let mut state = stage.board.state();
        let share = |at: Duration| so_far(at.div_duration_f64(duration));
        let empty = empty.nodes.map_or(0.0, |usage| usage.memory as f64 / 1_048_576.0);
        Slice {
            from: self.from,
            begin: self.begin,
            end: usage,
            sessions: self.looks.iter().sum::<usize>() as f64 / self.looks.len().max(1) as f64,
            sessions_at_end: self.looks.last().copied().unwrap_or_default(),
            transport,
            curve: peak * duration.as_secs_f64() * (share(until) - share(self.from)),
            calls: state.judge.started - self.calls,
            connects: stage.tally.connects - self.connects,
            incoming: std::mem::take(&mut state.judge.latencies[Awaited::Incoming as usize]),
            empty_mib: empty * stage.cluster.pids().len() as f64 / f64::from(nodes),
            faults: self.faults.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_meets_a_fault_is_excused() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let tally = Tally { faults: vec![[at(100), at(115)], [at(200), at(217)]], ..Tally::default() };
        assert!(tally.excuses(at(90), at(101)) && tally.excuses(at(114), at(130)) && tally.excuses(at(205), at(205)));
        assert!(tally.excuses(at(90), at(130)), "it lasted over the fault");
        assert!(!tally.excuses(at(90), at(99)) && !tally.excuses(at(116), at(199)) && !tally.excuses(at(218), at(300)));
    }
}
