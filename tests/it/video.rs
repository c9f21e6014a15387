//! An accepted call changes between audio and video: asked, answered, timed out, over two nodes and over a reconnect.

use std::time::Duration;

use futures_util::future::join_all;
use onlycare_signaling::call::{Call, CallId, EndReason, Media, Role};
use serde_json::{Value, json};

use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::receiver::Receiver;
use crate::harness::{Backend, Cluster, Phone, Profile, until};
use crate::on_each_backend;

const SOON: Duration = Duration::from_secs(15);

/// An accepted audio call over two nodes.
async fn talking(ana: &Phone, bo: &Phone) -> String {
    let id = unique_call();
    let mut dial = initiate(&id, &bo.user);
    dial["callType"] = "AUDIO".into();
    let dialled = ana.ask("call:initiate", dial).await;
    assert_eq!(dialled["success"], true, "{dialled}");
    bo.expect("call:incoming").await;
    ana.expect("call:ringing").await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    id
}

fn request(id: &str, by: &Phone, of: &Phone) -> Value {
    json!({"callId": id, "receiverId": of.user, "senderId": by.user, "timestamp": 1_795_368_390_715_u64})
}

async fn answers(phone: &Phone, id: &str, accepted: bool) -> Value {
    phone.ask("call:upgrade:response", json!({"callId": id, "accepted": accepted, "timestamp": 1})).await
}

async fn load(cluster: &Cluster, id: &str) -> Call {
    cluster.shared.calls.load(&CallId::parse(id).unwrap()).await.unwrap().unwrap()
}

async fn type_of(cluster: &Cluster, id: &str) -> String {
    load(cluster, id).await.call_type.unwrap_or_default()
}

on_each_backend! {
    /// Under each of its names; the app's payload as it is; the record's type, and the way back.
    async fn a_call_becomes_a_video_call_and_an_audio_call_again(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        for event in ["call:upgrade", "call:switchToVideo", "call:switch_to_video"] {
            let id = talking(&ana, &bo).await;
            let ack = ana.ask(event, request(&id, &ana, &bo)).await;
            assert_eq!((&ack["success"], &ack["callId"]), (&json!(true), &json!(id)), "{ack}");
            let asked = bo.expect("call:upgrade:request").await;
            assert_eq!((&asked["callId"], &asked["senderId"]), (&json!(id), &json!(ana.user)));
            assert!(asked["timestamp"].is_u64() && asked["expiresInMs"].as_u64().is_some_and(|left| left <= 30_000), "{asked}");
            assert_eq!(ana.ask(event, request(&id, &ana, &bo)).await["success"], true, "asked once more");
            assert_eq!(answers(&bo, &id, true).await["success"], true);
            let answer = ana.expect("call:upgrade:response").await;
            assert_eq!((&answer["accepted"], &answer["callId"]), (&json!(true), &json!(id)));
            assert!(answer.get("reason").is_none(), "{answer}");
            assert_eq!(type_of(&cluster, &id).await, "VIDEO");
            let again = ana.ask(event, request(&id, &ana, &bo)).await;
            assert_eq!(again["success"], true, "the repeat of what was granted: {again}");
            let refused = bo.ask(event, request(&id, &bo, &ana)).await;
            assert_eq!((&refused["success"], &refused["code"]), (&json!(false), &json!("invalid_state")));
            assert_eq!(bo.ask("call:downgrade", json!({"callId": id})).await["success"], true);
            assert_eq!(ana.expect("call:downgraded").await["senderId"], bo.user);
            assert_eq!(type_of(&cluster, &id).await, "AUDIO");
            ana.end(&id).await;
            bo.expect("call:ended").await;
        }
        ana.assert_nothing_more().await;
        bo.assert_nothing_more().await;
        cluster.close().await;
    }

    /// A no with and without words; both at once; whoever takes no part, and what the payload claims.
    async fn who_takes_part_is_in_the_record(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let eve = cluster.phone(1, &unique("eve")).await;
        let id = talking(&ana, &bo).await;
        let claimed = json!({"callId": id, "receiverId": bo.user, "senderId": ana.user});
        for event in ["call:upgrade", "call:downgrade", "call:upgrade:response"] {
            let mut claimed = claimed.clone();
            claimed["accepted"] = true.into();
            assert_eq!(eve.ask(event, claimed).await["code"], "not_a_participant", "{event}");
        }
        assert_eq!(answers(&bo, &id, true).await["code"], "invalid_state", "nobody asked");
        ana.ask("call:upgrade", json!({"callId": id, "receiverId": eve.user, "senderId": "USR_9"})).await;
        assert_eq!(bo.expect("call:upgrade:request").await["senderId"], ana.user);
        assert_eq!(bo.ask("call:upgrade:response", json!({"callId": id})).await["code"], "invalid_payload");
        let no = json!({"callId": id, "accepted": "false", "reason": "Not now"});
        assert_eq!(bo.ask("call:upgrade:response", no).await["success"], true);
        assert_eq!(ana.expect("call:upgrade:response").await["reason"], "Not now");
        bo.ask("call:upgrade", json!({"callId": id})).await;
        ana.expect("call:upgrade:request").await;
        answers(&ana, &id, false).await;
        let declined = bo.expect("call:upgrade:response").await;
        assert_eq!((&declined["accepted"], &declined["reason"]), (&json!(false), &json!("User declined")));
        ana.ask("call:upgrade", json!({"callId": id})).await;
        bo.ask("call:upgrade", json!({"callId": id})).await;
        for phone in [&ana, &bo] {
            assert_eq!(phone.expect("call:upgrade:response").await["accepted"], true, "both want it");
        }
        bo.expect("call:upgrade:request").await;
        assert_eq!(type_of(&cluster, &id).await, "VIDEO");
        ana.end(&id).await;
        bo.expect("call:ended").await;
        ana.assert_nothing_more().await;
        eve.assert_nothing_more().await;
        cluster.close().await;
    }

    /// Nobody answers; the call ends; who asked hears why, once.
    async fn a_request_that_nobody_answers_is_answered_all_the_same(backend: Backend) {
        let cluster = Cluster::tuned(backend, 2, |config| config.policy.video_answer = Duration::from_millis(300)).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let id = talking(&ana, &bo).await;
        ana.ask("call:upgrade", json!({"callId": id})).await;
        let answer = ana.expect("call:upgrade:response").await;
        assert_eq!((&answer["accepted"], &answer["reason"]), (&json!(false), &json!("No answer")));
        assert_eq!(answers(&bo, &id, true).await["code"], "invalid_state", "too late");
        assert_eq!(type_of(&cluster, &id).await, "AUDIO");
        ana.end(&id).await;
        bo.expect("call:ended").await;
        bo.expect("call:upgrade:request").await;
        ana.assert_nothing_more().await;
        bo.assert_nothing_more().await;
        cluster.close().await;
    }

    async fn the_end_of_the_call_answers_the_request(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let id = talking(&ana, &bo).await;
        ana.ask("call:upgrade", json!({"callId": id})).await;
        bo.expect("call:upgrade:request").await;
        bo.end(&id).await;
        let answer = ana.expect("call:upgrade:response").await;
        assert_eq!((&answer["accepted"], &answer["reason"]), (&json!(false), &json!("Call ended")));
        ana.expect("call:ended").await;
        cluster.close().await;
    }

    /// Whoever was away is told what is open and what was answered; the snapshot has the type of now.
    async fn a_phone_that_comes_back_is_told_again(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, unique("bo"));
        let phone = cluster.phone_with(1, Profile::of(&bo).device("pixel")).await;
        let id = talking(&ana, &phone).await;
        ana.ask("call:upgrade", json!({"callId": id})).await;
        phone.expect("call:upgrade:request").await;
        phone.vanish();
        let phone = cluster.phone_with(0, Profile::of(&bo).device("pixel")).await;
        let told = phone.expect("call:upgrade:request").await;
        assert!(told["expiresInMs"].as_u64().is_some_and(|left| left > 0 && left <= 30_000), "{told}");
        // Another device of his is in no call, and is not asked.
        let other = cluster.phone_with(1, Profile::of(&bo).device("tablet")).await;
        other.expect("call:cancelled").await;
        assert_eq!(answers(&other, &id, true).await["code"], "invalid_state");
        other.assert_nothing_more().await;
        answers(&phone, &id, true).await;
        ana.expect("call:upgrade:response").await;
        let user = ana.user.clone();
        ana.vanish();
        let ana = Phone::open(cluster.address(1), Profile::of(&user)).await;
        assert_eq!(ana.expect("session:ready").await["call"]["callType"], "VIDEO");
        assert_eq!(ana.expect("call:upgrade:response").await["accepted"], true);
        ana.expect("call:accepted").await;
        ana.end(&id).await;
        phone.expect("call:ended").await;
        phone.assert_nothing_more().await;
        cluster.close().await;
    }

    /// The switch that an operator has: as before it.
    async fn where_it_is_switched_off_nothing_is_supported(backend: Backend) {
        let cluster = Cluster::tuned(backend, 1, |config| config.video_switch = false).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
        let id = talking(&ana, &bo).await;
        for event in ["call:upgrade", "call:switchToVideo", "call:switch_to_video", "call:upgrade:response"] {
            let ack = ana.ask(event, json!({"callId": id, "accepted": true})).await;
            assert_eq!(ack, json!({"success": false, "error": "Not supported"}), "{event}");
        }
        assert_eq!(ana.ask("call:downgrade", json!({"callId": id})).await["error"], "unknown event");
        ana.end(&id).await;
        bo.expect("call:ended").await;
        bo.assert_nothing_more().await;
        cluster.close().await;
    }

    /// When a rate changes is told with the moment, and by whom.
    async fn the_backend_is_told_of_each_change(backend: Backend) {
        let receiver = Receiver::start().await;
        let cluster = Cluster::tuned(backend, 2, |config| receiver.hears_of(config)).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let id = talking(&ana, &bo).await;
        ana.ask("call:upgrade", json!({"callId": id})).await;
        bo.expect("call:upgrade:request").await;
        answers(&bo, &id, true).await;
        ana.ask("call:downgrade", json!({"callId": id})).await;
        ana.end(&id).await;
        receiver.expect(&id, "call.ended").await;
        let hooks = receiver.taken(&id);
        let told: Vec<(u64, &str)> = hooks.iter().map(|hook| (hook.seq(), hook.kind.as_str())).collect();
        let expected = [
            (1, "call.initiated"),
            (3, "call.ringing"),
            (4, "call.accepted"),
            (5, "call.upgraded"),
            (6, "call.downgraded"),
            (7, "call.ended"),
        ];
        assert_eq!(told, expected);
        let fields = |place: usize| ["from", "to", "by"].map(|name| hooks[place].data[name].as_str().unwrap_or_default());
        assert_eq!(fields(3), ["AUDIO", "VIDEO", ana.user.as_str()]);
        assert_eq!(fields(4), ["VIDEO", "AUDIO", ana.user.as_str()]);
        assert!(hooks[3].data["at"].as_u64() <= hooks[4].data["at"].as_u64() && hooks[3].data["at"].is_u64());
        assert!(hooks[2].data.get("from").is_none() && hooks[5].data.get("from").is_none());
        cluster.close().await;
    }
}

const PAIRS: usize = 20;
const ROUNDS: usize = 50;
const PATIENCE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Move {
    Ask,
    Yes,
    No,
    End,
    Wait,
}

async fn play(phone: &Phone, id: &str, which: Move, instant: Duration) -> Value {
    // The race is over the store; a few milliseconds either way decide who comes first.
    tokio::time::sleep(instant + Duration::from_micros(rand::random_range(0..6000))).await;
    match which {
        Move::Ask => phone.ask("call:upgrade", json!({"callId": id})).await,
        Move::Yes => answers(phone, id, true).await,
        Move::No => answers(phone, id, false).await,
        Move::End => phone.end(id).await,
        Move::Wait => Value::Null,
    }
}

/// Ana asks; at about the same moment Bo answers, asks too or ends, and the time runs out. What both heard is what the
/// record says.
async fn round(cluster: &Cluster, ana: &Phone, bo: &Phone) -> &'static str {
    let id = talking(ana, bo).await;
    let first = ana.ask("call:upgrade", json!({"callId": id})).await;
    assert_eq!(first["success"], true, "{first}");
    let mine = [Move::Wait, Move::Wait, Move::End][rand::random_range(0..3)];
    let his = [Move::Ask, Move::Yes, Move::Yes, Move::No, Move::End][rand::random_range(0..5)];
    // At once, or when the time is just over.
    let instant = if rand::random() { Duration::ZERO } else { PATIENCE - Duration::from_millis(3) };
    let (_, his_ack) = tokio::join!(play(ana, &id, mine, instant), play(bo, &id, his, instant));
    until("nobody is asked", SOON, async || load(cluster, &id).await.request().is_none()).await;
    // An own request that came after the answer to the first is open again for a while.
    let settled = load(cluster, &id).await;
    let is_video = settled.media() == Some(Media::Video);
    ana.end(&id).await;
    bo.end(&id).await;
    let answer = ana.expect("call:upgrade:response").await;
    assert_eq!(answer["callId"], id.as_str());
    assert_eq!(answer["accepted"], is_video, "{settled:?}");
    if his == Move::Yes {
        assert_eq!(his_ack["success"], is_video, "{his_ack}, {settled:?}");
    }
    if his == Move::Ask && his_ack["success"] == true {
        assert_eq!(bo.expect("call:upgrade:response").await["accepted"], is_video, "{settled:?}");
    }
    // Who did not end it hears so, from the other node; nothing older of the call comes after that.
    let ended = load(cluster, &id).await.end().expect("it is over").reason;
    let EndReason::HungUp { by: Some(by), .. } = ended else { panic!("ended as {ended:?}") };
    let other = if by == Role::Caller { bo } else { ana };
    assert_eq!(other.expect("call:ended").await["callId"], id.as_str());
    for phone in [ana, bo] {
        phone.hears_all_said().await;
        while phone.heard().iter().any(|heard| heard.event == "call:upgrade:request") {
            assert_eq!(phone.expect("call:upgrade:request").await["callId"], id.as_str());
        }
        phone.assert_nothing_more().await;
    }
    match answer["reason"].as_str() {
        None => "accepted",
        Some("User declined") => "declined",
        Some("No answer") => "no_answer",
        Some("Call ended") => "ended",
        Some(reason) => panic!("{reason}"),
    }
}

/// Request, answer, timeout and end on two nodes: one truth for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_have_one_answer_each() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| config.policy.video_answer = PATIENCE).await;
    let cluster = &cluster;
    let pairs = (0..PAIRS).map(|pair| async move {
        let ana = cluster.phone(pair % 2, &unique("ana")).await;
        let bo = cluster.phone(1 - pair % 2, &unique("bo")).await;
        let mut came = Vec::new();
        for _ in 0..ROUNDS {
            came.push(round(cluster, &ana, &bo).await);
        }
        cluster.assert_free(&[&ana.user, &bo.user]).await;
        came
    });
    let came: Vec<&str> = join_all(pairs).await.into_iter().flatten().collect();
    let count = |outcome| came.iter().filter(|came| **came == outcome).count();
    let tally = ["accepted", "declined", "no_answer", "ended"].map(|outcome| (outcome, count(outcome)));
    println!("requests by outcome: {tally:?}");
    assert!(tally.iter().all(|(_, count)| *count >= 5), "some outcome hardly happened: {tally:?}");
}
