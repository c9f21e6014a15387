//! How many calls the slot of calls carries, by a driver without phones: the four writes of a call, as nodes send them.
//!
//! `SLOT_CEILING=1 cargo test --release --lib slot_ceiling -- --nocapture` measures it, for docs/scale.md. Else a few calls
//! are played, and nothing is printed that says anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::task::TaskTracker;

use super::{RedisCalls, RedisSessions, connect};
use crate::call::{Audience, Call, Command, NodeId, Timestamp, What};
use crate::clock::Clock;
use crate::store::contract::test_server::Redis;
use crate::store::contract::{UNLIMITED, apply, by, call, milestone, session};
use crate::store::{Created, SessionStore, Swap, Telling, Tells};

const DRIVERS: usize = 64;

fn telling(caller: bool, own: &str, now: Timestamp) -> Telling {
    let head = format!("{{\"sent_at\":{0},\"expires_at\":{0},\"nonce\":{1}", now.as_millis(), rand::random::<u32>());
    Telling { audience: Audience { caller, callee: true }, own: NodeId::parse(own).unwrap(), head }
}

async fn change(calls: &RedisCalls, before: Call, command: Command, own: &str, now: Timestamp) -> Call {
    let next = apply(&before, command, now);
    let notes = [milestone(What::Delivered, now.as_millis()), milestone(What::Delivered, now.as_millis())];
    match calls.swap_telling(&next, &before, &[], &notes, &telling(true, own, now)).await.unwrap() {
        (Swap::Done { over }, Some(_)) => Call { over, ..next },
        other => panic!("{other:?}"),
    }
}

async fn play(calls: &RedisCalls, driver: usize, number: usize, now: Timestamp) {
    let [ana, bo] = ["ana", "bo"].map(|name| format!("{name}{driver}"));
    let dialled = call(&format!("{driver:04}{number:08}"), &ana, &bo, now);
    let created = calls
        .create_telling(
            &dialled,
            &[],
            &[],
            &[milestone(What::Delivered, now.as_millis())],
            (now, &telling(true, "n1", now)),
        )
        .await;
    let Ok((Created::Created(dialled), Some(_))) = created else { panic!("{created:?}") };
    let ringing = change(calls, *dialled, Command::Alert { by: by(&bo) }, "n2", now).await;
    let active = change(calls, ringing, Command::Accept { by: by(&bo) }, "n2", now).await;
    change(calls, active, Command::End { by: by(&ana), reason: None }, "n1", now).await;
}

/// CPU time that the server used so far.
fn cpu(server: &Redis) -> Duration {
    let info = server.command(&["INFO", "cpu"]);
    let read = |name: &str| -> f64 {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("0").trim().parse().unwrap()
    };
    Duration::from_secs_f64(read("used_cpu_user") + read("used_cpu_sys"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_ceiling() {
    #[expect(clippy::disallowed_methods, reason = "an option of this test")]
    let measured = std::env::var("SLOT_CEILING").is_ok();
    let lasts = if measured { Duration::from_secs(10) } else { Duration::ZERO };
    let server = Redis::start();
    let client = connect(&server.url(), &TaskTracker::new()).await.unwrap();
    let sessions = RedisSessions::new(client.clone(), client.clone(), "p");
    for driver in 0..DRIVERS {
        for (side, name, node) in [(0, "ana", "n1"), (1, "bo", "n2")] {
            let id = (2 * driver + side + 1) as u128;
            sessions.register(&session(id, &format!("{name}{driver}"), node, 1)).await.unwrap();
        }
    }
    let calls = Arc::new(RedisCalls::new(client, "p", UNLIMITED));
    play(&calls, 0, 0, Clock::system().now()).await; // scripts are loaded by now
    let (began, before) = (Instant::now(), cpu(&server));
    let played = join_all((0..DRIVERS).map(|driver| {
        let calls = Arc::clone(&calls);
        async move {
            let clock = Clock::system();
            let mut played = 1;
            play(&calls, driver, played, clock.now()).await;
            while began.elapsed() < lasts {
                played += 1;
                play(&calls, driver, played, clock.now()).await;
            }
            played
        }
    }))
    .await;
    let (took, used) = (began.elapsed(), cpu(&server) - before);
    let calls: usize = played.into_iter().sum();
    assert!(calls >= DRIVERS);
    let per_call = used.as_secs_f64() * 1e6 / calls as f64;
    println!(
        "{calls} calls in {took:.1?}: {:.0} a second, {per_call:.0} µs of the server's CPU each, so {:.0} calls a second \
         fill its core",
        calls as f64 / took.as_secs_f64(),
        1e6 / per_call
    );
}
