//! Store time over steps of stores, jumps of nodes, newcomers and lost shifts.

use proptest::prelude::*;

use super::*;

/// A store whose own clock runs with the monotonic one, `ahead` of it, and the shift it keeps.
#[derive(Clone, Copy, Debug)]
struct Store {
    ahead: i64,
    shift: i64,
    shifts: u64,
}

impl Store {
    fn new() -> Self {
        Self { ahead: START, shift: 0, shifts: 0 }
    }

    /// As the script does.
    fn shift(&mut self, shift: Shift) {
        assert_eq!(shift.from, self.shift);
        (self.shift, self.shifts) = (shift.to, self.shifts.max(shift.shifts) + 1);
    }
}

struct Node {
    estimates: Estimates,
    /// By how much its monotonic clock jumped.
    jumped: i64,
    offset: i64,
}

impl Node {
    fn new() -> Self {
        Self { estimates: Estimates::default(), jumped: 0, offset: 0 }
    }

    /// Renews at this second, with an answer that takes `took` milliseconds, and shifts where that is asked for.
    fn renews(&mut self, store: &mut Store, second: i64, took: i64) {
        self.renews_and(store, second, took, true);
    }

    /// The same where the answer to the shift may be lost.
    fn renews_and(&mut self, store: &mut Store, second: i64, took: i64, is_answered: bool) {
        let own = Duration::from_millis(u64::try_from(second * 1000 + self.jumped).unwrap());
        let raw = u64::try_from(second * 1000 + store.ahead + took / 2).unwrap();
        let answered = own + Duration::from_millis(u64::try_from(took).unwrap());
        let said = StoreTime { raw: Timestamp::from_millis(raw), shift: store.shift, shifts: store.shifts };
        let reading = Reading { said, asked: own, answered };
        match self.estimates.judge(reading) {
            Judged::Kept => {}
            Judged::Follow(offset) | Judged::Anew(offset) => self.offset = offset,
            Judged::Stepped(shift) => {
                store.shift(shift);
                if is_answered {
                    self.estimates.shifted(shift, answered);
                }
            }
        }
    }

    /// Its store time less the true monotonic clock.
    fn time(&self) -> i64 {
        self.offset + self.jumped
    }
}

const START: i64 = 1_000_000;

fn near(time: i64, expected: i64) {
    assert!((time - expected).abs() <= 20, "{time} is not {expected}");
}

#[test]
fn a_slow_answer_does_not_set_the_clock() {
    let (mut node, mut store) = (Node::new(), Store::new());
    node.renews(&mut store, 1, 2);
    near(node.time(), START);
    // All of it after the store looked at its clock.
    store.ahead -= 350;
    node.renews(&mut store, 2, 800);
    near(node.time(), START);
}

#[test]
fn a_step_of_the_stores_clock_is_a_step_for_nobody() {
    for step in [-20_000, -9_000, 9_000, 20_000, 3_600_000, -900_000] {
        let mut store = Store::new();
        let mut nodes = [Node::new(), Node::new(), Node::new()];
        for second in (0..60).step_by(3) {
            nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
        }
        store.ahead += step;
        for second in (60..200).step_by(3) {
            // Who joins now knows no other time, and believes the others.
            if second == 63 {
                nodes[2] = Node::new();
            }
            for node in &mut nodes {
                node.renews(&mut store, second, 4);
                near(node.time(), START);
            }
            near(store.shift, -step);
        }
    }
}

/// The first to see a step may know it badly; who knows it better sets that right.
#[test]
fn a_step_that_was_taken_back_badly_is_set_right() {
    let mut store = Store::new();
    let mut nodes = [Node::new(), Node::new()];
    for second in (0..60).step_by(3) {
        nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
    }
    store.ahead += 20_000;
    // Its store looked at the clock just before it answered.
    store.ahead += 380;
    nodes[0].renews(&mut store, 60, 800);
    store.ahead -= 380;
    for second in (63..90).step_by(3) {
        nodes.iter_mut().rev().for_each(|node| node.renews(&mut store, second, 2));
    }
    near(store.shift, -20_000);
    near(nodes[0].time(), START);
    near(nodes[1].time(), START);
}

#[test]
fn steps_follow_each_other() {
    let mut store = Store::new();
    let mut nodes = [Node::new(), Node::new()];
    let mut second = 0;
    for step in [0, 9_000, -20_000, 9_000, 20_000, -9_000] {
        store.ahead += step;
        for _ in 0..3 {
            second += 3;
            for node in &mut nodes {
                node.renews(&mut store, second, 2);
                near(node.time(), START);
            }
        }
    }
}

/// A virtual machine that was moved to another host may jump: only it is set right again.
#[test]
fn a_step_of_a_nodes_own_clock_is_its_own() {
    let mut store = Store::new();
    let mut nodes = [Node::new(), Node::new(), Node::new()];
    for second in (0..60).step_by(3) {
        nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
    }
    nodes[0].jumped = 20_000;
    for second in (60..120).step_by(3) {
        nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
    }
    for node in &nodes {
        near(node.time(), START);
    }
    near(store.shift, 0);
}

#[test]
fn a_store_that_lost_its_shift_gets_it_back() {
    let mut store = Store { shift: -5000, shifts: 1, ..Store::new() };
    let mut nodes = [Node::new(), Node::new()];
    for second in (0..60).step_by(3) {
        nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
    }
    (store.shift, store.shifts) = (0, 0);
    for second in (60..90).step_by(3) {
        nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
    }
    near(store.shift, -5000);
    near(nodes[1].time(), START - 5000);
}

/// Whoever shifted the store's time a moment ago knows best what a store has lost since.
#[test]
fn a_store_that_loses_its_shift_again_gets_it_back_again() {
    let mut store = Store::new();
    let mut nodes = [Node::new(), Node::new()];
    for second in (0..60).step_by(3) {
        nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
    }
    store.ahead += 20_000;
    for second in (60..90).step_by(3) {
        nodes.rotate_left(1);
        (store.shift, store.shifts) = (0, 0);
        for node in &mut nodes {
            node.renews(&mut store, second, 2);
            near(node.time(), START);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    Step(i64),
    Wipe,
    OldSnapshot,
    Failover(i64),
    /// Nobody reads for so many rounds.
    Away(u8),
    /// Another node takes the place of this one.
    Restart(usize),
    LostAnswer(usize),
    Slow(usize, i64),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let step = prop_oneof![Just(9_000), Just(-9_000), Just(20_000), Just(-20_000), Just(3_600_000)];
    prop_oneof![
        2 => Just(Trouble::None),
        2 => step.clone().prop_map(Trouble::Step),
        2 => Just(Trouble::Wipe),
        2 => Just(Trouble::OldSnapshot),
        1 => step.prop_map(Trouble::Failover),
        1 => (1_u8..8).prop_map(Trouble::Away),
        1 => (0_usize..3).prop_map(Trouble::Restart),
        1 => (0_usize..3).prop_map(Trouble::LostAnswer),
        1 => (0_usize..3, 2_i64..400).prop_map(|(node, took)| Trouble::Slow(node, took)),
    ]
}

proptest! {
    /// As long as a node that knows the time reads the store between two troubles, store time goes on for everybody
    /// who does, whatever the store loses and in whatever order the nodes come.
    #[test]
    fn store_time_goes_on(troubles in prop::collection::vec((trouble(), 0_usize..3, 1_i64..12), 1..30)) {
        let (mut store, mut snapshot) = (Store::new(), Store::new());
        let mut nodes = [Node::new(), Node::new(), Node::new()];
        nodes.iter_mut().for_each(|node| node.renews(&mut store, 0, 2));
        let mut second = 0;
        for (trouble, first, rounds) in troubles {
            let (mut lost, mut slow, mut since) = (None, None, None);
            match trouble {
                Trouble::None => snapshot = store,
                Trouble::Step(step) => store.ahead += step,
                Trouble::Wipe => (store.shift, store.shifts) = (0, 0),
                Trouble::OldSnapshot => (store.shift, store.shifts) = (snapshot.shift, snapshot.shifts),
                Trouble::Failover(step) => store = Store { ahead: store.ahead + step, ..snapshot },
                Trouble::Away(rounds) => second += 3 * i64::from(rounds),
                Trouble::Restart(node) => {
                    nodes[node] = Node::new();
                    since = Some(node);
                }
                Trouble::LostAnswer(node) => lost = Some(node),
                Trouble::Slow(node, took) => slow = Some((node, took)),
            }
            for round in 0..rounds {
                second += 3;
                for place in 0..3 {
                    let node = (first + place) % 3;
                    let took = slow.filter(|(slow, _)| *slow == node).map_or(2, |(_, took)| took);
                    nodes[node].renews_and(&mut store, second, took, lost != Some(node) || round > 0);
                    // Who has just begun may have asked before anybody who knows better.
                    if since != Some(node) || round > 0 {
                        let off = nodes[node].time() - START;
                        prop_assert!(off.abs() <= 20 + second, "node {} is {} ms off after {:?}", node, off, trouble);
                    }
                }
            }
        }
    }
}

/// A node that began just after a step which nobody had taken back yet stood still for as long as the step was.
#[test]
fn a_node_that_believed_a_step_does_not_wait_for_it() {
    let clock = crate::clock::Clock::system();
    let read = |raw: u64, shift, shifts| {
        let said = StoreTime { raw: Timestamp::from_millis(raw), shift, shifts };
        let now = clock.elapsed();
        assert_eq!(clock.follow(Reading { said, asked: now, answered: now }), None, "it believes others");
        clock.now().as_millis()
    };
    assert!(read(1_020_000, 0, 0) >= 1_020_000);
    let taken_back = read(1_020_000, -20_000, 1);
    assert!((1_000_000..1_005_000).contains(&taken_back), "{taken_back}");
}
