//! An upgrade that fails costs nothing (docs/adr/0014): polling delivers during and after it, and another may follow.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::phone::{unique, unique_call};
use crate::harness::poller::{Poller, Websocket};
use crate::harness::{Backend, Cluster, Phone, until};

/// How long a probe may take here.
const PATIENCE: Duration = Duration::from_secs(4);

/// Two nodes: phones poll at the first, websockets come by either.
async fn cluster() -> Cluster {
    Cluster::tuned(Backend::Memory, 2, |config| config.ping_timeout = PATIENCE).await
}

/// A call of two phones in which one tells the other numbers.
struct Talk {
    ana: Phone,
    bo: Poller,
    id: String,
    told: u64,
}

impl Talk {
    async fn on(cluster: &Cluster) -> Self {
        let (ana, bo, id) = (cluster.phone(1, &unique("ana")).await, unique("bo"), unique_call());
        let poller = Poller::open(cluster.address(0), &bo).await;
        assert_eq!(ana.call(&id, &bo).await["success"], true);
        poller.expect("call:incoming").await;
        assert!(poller.ask("call:accept", json!({"callId": id})).await.contains("true"));
        ana.expect("call:accepted").await;
        Self { ana, bo: poller, id, told: 0 }
    }

    fn tell(&mut self) -> String {
        self.told += 1;
        let mark = format!("number-{}-", self.told);
        self.ana.emit("call:message", json!({"callId": self.id, "data": mark}));
        mark
    }

    /// An event and an acknowledgement come over polling.
    async fn goes_on(&mut self, when: &str) {
        let mark = self.tell();
        self.bo.expect(&mark).await;
        let ack = self.bo.ask("call:message", json!({"callId": self.id, "data": when})).await;
        assert!(ack.contains("\"success\":true"), "{when}: {ack}");
        assert_eq!(self.ana.expect("call:message").await["data"], when);
    }
}

/// What a network may do to a websocket after its 101.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    ResetAtOnce,
    HalfClosed,
    SilentAtOnce,
    /// A heartbeat where a probe was said: what a middlebox that strips text makes of it.
    Garbled,
    NoFrames,
    /// As a phone whose own patience ended.
    ClosesInstead,
    ResetAfterTheProbe,
    /// The client never hears `3probe`.
    SilentAfterTheProbe,
    /// Half a frame, and then nothing.
    HalfOfFive,
}

const TROUBLES: [Trouble; 9] = [
    Trouble::ResetAtOnce,
    Trouble::HalfClosed,
    Trouble::SilentAtOnce,
    Trouble::Garbled,
    Trouble::NoFrames,
    Trouble::ClosesInstead,
    Trouble::ResetAfterTheProbe,
    Trouble::SilentAfterTheProbe,
    Trouble::HalfOfFive,
];

impl Trouble {
    async fn strikes(self, mut websocket: Websocket) -> Option<Websocket> {
        if matches!(self, Self::ResetAfterTheProbe | Self::SilentAfterTheProbe | Self::HalfOfFive) {
            websocket.say("2probe").await;
            assert_eq!(websocket.hear().await.as_deref(), Some("3probe"));
        }
        match self {
            Self::ResetAtOnce | Self::ResetAfterTheProbe => {
                socket2::SockRef::from(&websocket.stream).set_linger(Some(Duration::ZERO)).unwrap();
                return None;
            }
            Self::HalfClosed => websocket.stream.shutdown().await.unwrap(),
            Self::SilentAtOnce | Self::SilentAfterTheProbe => {}
            Self::Garbled => websocket.say("2").await,
            Self::NoFrames => websocket.stream.write_all(b"<html>blocked</html>").await.unwrap(),
            Self::ClosesInstead => websocket.stream.write_all(b"\x88\x80\0\0\0\0").await.unwrap(),
            Self::HalfOfFive => websocket.stream.write_all(b"\x81\x81\0").await.unwrap(),
        }
        Some(websocket)
    }
}

async fn survives(trouble: Trouble, relayed: bool) {
    let cluster = cluster().await;
    let mut talk = Talk::on(&cluster).await;
    let by: SocketAddr = cluster.address(usize::from(relayed));
    let websocket = talk.bo.websocket(by).await;
    let started = Instant::now();
    let struck = trouble.strikes(websocket).await;
    talk.goes_on("during").await;
    if let Some(mut websocket) = struck {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(3 * PATIENCE, websocket.stream.read_to_end(&mut rest));
        let _ = ended.await.expect("the websocket ends");
        assert!(rest.is_empty(), "{trouble:?}: nothing is said to it: {rest:?}");
    }
    let silent = matches!(trouble, Trouble::SilentAtOnce | Trouble::SilentAfterTheProbe | Trouble::HalfOfFive);
    assert!(!silent || started.elapsed() > PATIENCE / 2, "{trouble:?}: a slow client has its time");
    talk.goes_on("afterwards").await;
    let mut websocket = until_upgraded(&mut talk.bo, by).await;
    let mark = talk.tell();
    websocket.expect(&mark).await;
    let hang_up = json!(["call:end", {"callId": talk.id}]);
    websocket.say(&format!("427{hang_up}")).await;
    assert!(websocket.expect("437[").await.contains("true"));
    talk.ana.expect("call:ended").await;
    assert!(!talk.bo.heard().iter().any(|packet| packet.contains("number-")), "told once: {:?}", talk.bo.heard());
}

/// The node may not have noticed yet that the last attempt is over.
async fn until_upgraded(phone: &mut Poller, by: SocketAddr) -> Websocket {
    let mut opened = None;
    until("a proper upgrade", 3 * PATIENCE, async || {
        opened = Websocket::open(by, &phone.sid).await.ok();
        opened.is_some()
    })
    .await;
    let mut websocket = opened.expect("it was opened");
    websocket.say("2probe").await;
    assert_eq!(websocket.hear().await.as_deref(), Some("3probe"));
    phone.pause().await;
    websocket.say("5").await;
    websocket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_upgrade_costs_nothing() {
    futures_util::future::join_all(TROUBLES.map(|trouble| Box::pin(survives(trouble, false)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_upgrade_through_another_node_costs_nothing() {
    futures_util::future::join_all(TROUBLES.map(|trouble| Box::pin(survives(trouble, true)))).await;
}

/// Nothing that was told is lost or told twice while websockets come and fail in every phase.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_during_many_failed_upgrades_comes_once_and_in_order() {
    let cluster = cluster().await;
    let mut talk = Talk::on(&cluster).await;
    for round in 0..40 {
        let by = cluster.address(round % 2);
        talk.tell();
        let mut websocket = None;
        until("the next upgrade", 3 * PATIENCE, async || {
            websocket = Websocket::open(by, &talk.bo.sid).await.ok();
            websocket.is_some()
        })
        .await;
        talk.tell();
        Trouble::ResetAfterTheProbe.strikes(websocket.expect("it was opened")).await;
        talk.tell();
    }
    let last = talk.tell();
    talk.bo.expect(&last).await;
    let told: Vec<u64> = talk.bo.heard().iter().filter_map(|packet| packet.split('-').nth(1)?.parse().ok()).collect();
    assert_eq!(told, (1..talk.told).collect::<Vec<_>>());
    let mut websocket = until_upgraded(&mut talk.bo, cluster.address(0)).await;
    let mark = talk.tell();
    websocket.expect(&mark).await;
}

/// What waits for a client that is about to move comes by the websocket, also what its `5` brought along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_during_the_move_comes_by_the_websocket() {
    let cluster = cluster().await;
    for relayed in [0, 1] {
        let mut talk = Talk::on(&cluster).await;
        let mut websocket = talk.bo.websocket(cluster.address(relayed)).await;
        websocket.say("2probe").await;
        assert_eq!(websocket.hear().await.as_deref(), Some("3probe"));
        talk.bo.pause().await;
        let marks: Vec<String> = (0..5).map(|_| talk.tell()).collect();
        // In one piece: `5` and a packet right behind it.
        let said = format!("429{}", json!(["call:message", {"callId": talk.id, "data": 2}]));
        let mut both = vec![0x81, 0x81, 0, 0, 0, 0, b'5', 0x81, 0x80 | said.len() as u8, 0, 0, 0, 0];
        both.extend(said.bytes());
        assert_eq!(talk.ana.ask("call:message", json!({"callId": talk.id, "data": 1})).await["success"], true);
        websocket.stream.write_all(&both).await.unwrap();
        // The answer may overtake what is still on its way from the other node.
        let mut missing: Vec<&str> = marks.iter().map(String::as_str).chain(["439["]).collect();
        while !missing.is_empty() {
            let heard = websocket.hear().await.unwrap_or_else(|| panic!("ended before {missing:?}"));
            missing.retain(|text| !heard.contains(text));
        }
    }
}

/// The one that came first goes on, whoever else tries; nobody loses a session by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_upgrade_is_refused_and_ends_nothing() {
    let cluster = cluster().await;
    for relayed in [0, 1] {
        let by = cluster.address(relayed);
        let mut talk = Talk::on(&cluster).await;
        let mut first = talk.bo.websocket(by).await;
        assert_eq!(Websocket::open(by, &talk.bo.sid).await.err(), Some(400));
        first.say("2probe").await;
        assert_eq!(first.hear().await.as_deref(), Some("3probe"));
        assert_eq!(Websocket::open(by, &talk.bo.sid).await.err(), Some(400));
        talk.goes_on("meanwhile").await;
        talk.bo.pause().await;
        first.say("5").await;
        let mark = talk.tell();
        first.expect(&mark).await;
        assert_eq!(Websocket::open(by, &talk.bo.sid).await.err(), Some(400), "it has one");
        let mark = talk.tell();
        first.expect(&mark).await;
    }
}

/// A client that does not know that it could move polls on; it is not made to poll without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_whose_answer_is_lost_makes_no_storm_of_polls() {
    let cluster = cluster().await;
    let mut talk = Talk::on(&cluster).await;
    let mut websocket = talk.bo.websocket(cluster.address(0)).await;
    websocket.say("2probe").await;
    assert_eq!(websocket.hear().await.as_deref(), Some("3probe"));
    let (before, started) = (talk.bo.polls(), Instant::now());
    assert_eq!(websocket.hear().await, None);
    let (polls, tenths) = (talk.bo.polls() - before, started.elapsed().as_millis() as usize / 100);
    assert!((1..=tenths + 2).contains(&polls), "{polls} polls in {tenths} tenths of a second");
    talk.goes_on("afterwards").await;
}

/// Strangers who name sessions that are not there get no websocket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_for_no_session_is_refused() {
    let cluster = cluster().await;
    let phone = Poller::open(cluster.address(0), &unique("bo")).await;
    let (id, tag) = phone.sid.split_once('.').unwrap();
    for sid in [format!("AAAAAAAAAAAAAAAA.{tag}"), "AAAAAAAAAAAAAAAA".into(), format!("{id}x.{tag}"), "x".repeat(9000)]
    {
        assert_eq!(Websocket::open(cluster.address(0), &sid).await.err(), Some(400), "{sid}");
    }
    assert!(Websocket::open(cluster.address(0), &phone.sid).await.is_ok());
}
