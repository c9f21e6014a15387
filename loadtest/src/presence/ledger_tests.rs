use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::ledger::{Change, Ledger, watched_by};
use crate::dial::Failure;

const MS: Duration = Duration::from_millis(1);

/// One user who is watched by two.
fn one(there: usize) -> (Ledger, Instant, StdRng) {
    (Ledger::new(1, there, 2, 1), Instant::now(), StdRng::seed_from_u64(1))
}

fn faults(ledger: &Ledger) -> Vec<(&str, u64)> {
    ledger.tally.faults.iter().map(|(what, count)| (what.as_str(), *count)).collect()
}

#[test]
fn all_users_have_as_many_watchers() {
    let mut watchers = [0; 10];
    (0..20).flat_map(|watcher| watched_by(watcher, 3, 10)).for_each(|user| watchers[user] += 1);
    assert_eq!(watchers, [6; 10]);
}

#[test]
fn a_user_rests_until_all_have_heard_and_the_connect_is_done() {
    let (mut ledger, now, mut random) = one(0);
    assert_eq!(ledger.take(now, now, &mut random), Some((0, Change::Came)));
    ledger.hears(0, 0, Change::Came, now + MS);
    ledger.hears(1, 0, Change::Came, now + 2 * MS);
    assert_eq!(ledger.take(now, now, &mut random), None, "it has no connection yet that could be ended");
    ledger.ready(0, now + 3 * MS);
    assert_eq!(ledger.take(now, now, &mut random), Some((0, Change::Went)));
    assert_eq!((ledger.tally.online.count(), ledger.tally.nobody_at_rest, ledger.open()), (2, 1, 1));
    assert_eq!(faults(&ledger), []);
}

#[test]
fn who_does_not_hear_in_time_has_missed_it() {
    let (mut ledger, now, mut random) = one(1);
    ledger.take(now, now, &mut random);
    ledger.hears(0, 0, Change::Went, now + 3001 * MS);
    ledger.sweep(now + 7999 * MS);
    assert_eq!(faults(&ledger), []);
    ledger.sweep(now + 8000 * MS);
    assert_eq!((faults(&ledger), ledger.open()), (vec![("missed: user:offline", 1)], 0));
    ledger.hears(1, 0, Change::Went, now + 8001 * MS);
    assert_eq!(ledger.tally.faults["late or doubled: user:offline"], 1);
}

#[test]
fn what_is_not_so_is_out_of_turn() {
    let (mut ledger, now, mut random) = one(1);
    ledger.hears(0, 0, Change::Went, now);
    ledger.hears(0, 0, Change::Came, now);
    ledger.take(now, now, &mut random);
    ledger.hears(0, 0, Change::Came, now);
    let expected =
        [("late or doubled: user:online", 1), ("out of turn: user:offline", 1), ("out of turn: user:online", 1)];
    assert_eq!(faults(&ledger), expected);
}

#[test]
fn nobody_waits_for_who_is_lost() {
    let (mut ledger, now, mut random) = one(0);
    ledger.take(now, now, &mut random);
    ledger.ready(0, now);
    ledger.hears(0, 0, Change::Came, now);
    ledger.watcher_lost(1, "close frame");
    assert_eq!(ledger.open(), 0, "the other watcher has heard");
    ledger.user_lost(0, "close frame");
    ledger.hears(0, 0, Change::Went, now);
    assert_eq!(ledger.take(now, now, &mut random), None);
    assert_eq!(faults(&ledger), [("lost: close frame", 1), ("watcher lost: close frame", 1)]);
}

#[test]
fn nothing_is_owed_for_who_is_refused() {
    let (mut ledger, now, mut random) = one(0);
    ledger.take(now, now, &mut random);
    ledger.refused(0, &Failure("HTTP 503".into()));
    ledger.sweep(now + Duration::from_secs(60));
    assert_eq!((faults(&ledger), ledger.open()), (vec![("refused: HTTP 503", 1)], 0));
}
