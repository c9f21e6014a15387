//! A phone chooses its call's id, and may choose that of another call, or what is none.

use std::time::{Duration, Instant};

use onlycare_signaling::config::Auth;
use serde_json::{Value, json};

use crate::harness::laravel::{Laravel, Mood};
use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::{Backend, Cluster, Phone, Profile};
use crate::on_each_backend;

/// They lead somewhere else in the backend's paths, however they are spelled.
const NO_IDS: [&str; 14] = [
    ".",
    "..",
    "CALL_.",
    "CALL_..",
    "CALL_CALL_..",
    "cancel",
    "CALL_reject",
    "accept",
    "End",
    "initiate",
    "INCOMING",
    "notify-cancelled",
    "CALL_Notify-Cancelled",
    "history",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leads_elsewhere_in_a_path_is_no_id() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    for id in NO_IDS {
        for event in ["initiate", "ringing", "accept", "reject", "cancel", "end", "message"] {
            let mut payload = initiate(id, &bo.user);
            payload["data"] = json!({});
            let ack = ana.ask(&format!("call:{event}"), payload).await;
            assert_eq!(
                (&ack["success"], &ack["code"]),
                (&json!(false), &json!("invalid_payload")),
                "{event} {id}: {ack}"
            );
        }
        let body = || {
            let mut body = initiate(id, &bo.user);
            body["callerId"] = json!(ana.user);
            body
        };
        let emits = ["accepted", "cancelled", "rejected", "ended"].map(|word| format!("/api/emit/call-{word}"));
        for path in emits.iter().map(String::as_str).chain(["/api/calls"]) {
            let (status, answer) = cluster.post(0, path, body()).await;
            assert_eq!((status, &answer["code"]), (400, &json!("invalid_payload")), "{path} {id}: {answer}");
        }
    }
    bo.assert_nothing_more().await;
    // What only looks alike is an id as any other.
    for id in ["...", "..1", "cancel1", "a:b"] {
        ana.rings(id, &bo).await;
        ana.cancel(id).await;
        bo.expect("call:cancelled").await;
    }
    drop((ana, bo));
    cluster.close().await;
}

async fn with_laravel(backend: Backend, tune: impl Fn(&mut onlycare_signaling::config::Config)) -> (Cluster, Laravel) {
    let laravel = Laravel::start().await;
    let cluster = Cluster::tuned(backend, 2, |config| {
        config.auth = Auth::Laravel { url: format!("http://{}", laravel.address) };
        config.policy.callbacks = true;
        config.auth_times.timeout = Duration::from_secs(1);
        tune(config);
    })
    .await;
    (cluster, laravel)
}

async fn outbox_is_empty(cluster: &Cluster) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while cluster.shared.outbox.backlog().await.unwrap().waiting > 0 {
        assert!(Instant::now() < deadline, "outbox messages are left");
        tokio::time::sleep(Duration::from_millis(20)).await; // the node carries them by itself
    }
}

async fn rejected(eve: &Phone, bo: &Phone, id: &str) {
    eve.rings(id, bo).await;
    assert_eq!(bo.reject(id).await["success"], true);
    eve.expect("call:rejected").await;
}

on_each_backend! {
    /// An old id is dialled once more, and its victim declines: Laravel is not asked to change the old row by his token.
    async fn the_row_of_another_call_is_left_alone(backend: Backend) {
        let (cluster, laravel) = with_laravel(backend, |_| {}).await;
        let eve = cluster.phone_with(0, Profile::deployed(&unique("eve"))).await;
        let bo = cluster.phone_with(1, Profile::deployed(&unique("bo"))).await;
        let row = |status: &str, caller: &str, receiver: &str| {
            json!({"status": status, "caller_id": caller, "receiver_id": receiver})
        };
        let rows = [
            row("ENDED", &eve.user, &bo.user),
            row("ENDED", "USR_9", &bo.user),
            row("ONGOING", "USR_9", &bo.user),
            row("CONNECTING", "USR_9", &bo.user),
            row("CONNECTING", &bo.user, &eve.user),
            row("CONNECTING", &eve.user, "USR_9"),
            json!("FORBIDDEN"),
        ];
        let mut dialled = Vec::new();
        for old in &rows {
            let [declined, cancelled, late] = [unique_call(), unique_call(), unique_call()];
            for id in [&declined, &cancelled, &late] {
                laravel.row(id, old.clone());
            }
            rejected(&eve, &bo, &declined).await;
            for id in [&cancelled, &late] {
                eve.rings(id, &bo).await;
                eve.cancel(id).await;
                bo.expect("call:cancelled").await;
            }
            bo.accept(&late).await;
            dialled.extend([declined, cancelled, late].map(|id| (old, id)));
        }
        outbox_is_empty(&cluster).await;
        for (old, id) in &dialled {
            assert!(laravel.actions(id).is_empty(), "{old}: {:?}", laravel.posts(id));
            assert!(!laravel.askers(id).is_empty(), "{old}: it was looked at");
        }
        drop((eve, bo));
        cluster.close().await;
    }

    /// Its own row is told as ever: one look goes ahead where only a phone named the call, none where Laravel did.
    async fn its_own_row_is_told(backend: Backend) {
        let (cluster, laravel) = with_laravel(backend, |_| {}).await;
        let ana = cluster.phone_with(0, Profile::deployed(&unique("ana"))).await;
        let bo = cluster.phone_with(1, Profile::deployed(&unique("bo"))).await;
        let own = json!({"status": "CONNECTING", "caller_id": ana.user, "receiver_id": bo.user});
        let (dialled, named, spelled) = (unique_call(), unique_call(), format!("a:{}", unique_call()));
        for id in [&dialled, &named, &spelled] {
            laravel.row(id, own.clone());
        }
        rejected(&ana, &bo, &dialled).await;
        rejected(&ana, &bo, &spelled).await;
        let mut body = initiate(&named, &bo.user);
        body["callerId"] = json!(ana.user);
        cluster.post(0, "/api/calls", body).await;
        rejected(&ana, &bo, &named).await;
        for (id, looks) in [(&dialled, 1), (&spelled, 1), (&named, 0)] {
            let post = laravel.expect_post(id, "reject").await;
            assert_eq!(post.token, format!("token-of-{}", bo.user));
            assert_eq!(laravel.askers(id).len(), looks, "{id}");
        }
        drop((ana, bo));
        cluster.close().await;
    }
}

/// The further fields of a ring, without those of every ring.
fn further(incoming: &Value) -> Value {
    const OWN: [&str; 8] =
        ["callId", "callerId", "callerName", "callType", "channelName", "agoraToken", "timestamp", "expiresInMs"];
    let mut fields = incoming.as_object().expect("an object").clone();
    fields.retain(|name, _| !OWN.contains(&name.as_str()));
    fields.into()
}

/// An initiate that claims what only Laravel knows.
fn claims(id: &str, callee: &str) -> Value {
    let mut payload = initiate(id, callee);
    for name in ["CallerName", "caller_name", "Agora-App-Id", "AGORAAPPID", "balance_time", "BalanceTime", "CALLER ID"]
    {
        payload[name] = json!("claimed");
    }
    payload["theme"] = json!("dark");
    payload
}

/// Laravel has confirmed the call: its ring shows nothing that only Laravel can know and the phone made up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_ring_shows_no_claims_of_a_phone() {
    for (check, expected) in [("enforce", json!({"theme": "dark"})), ("off", Value::Null)] {
        let check = crate::harness::cluster::config(&[("INITIATE_CHECK", check)]).initiate_check;
        let (cluster, laravel) = with_laravel(Backend::Memory, |config| config.initiate_check = check).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let id = unique_call();
        laravel.row(&id, json!({"status": "CONNECTING", "caller_id": ana.user, "receiver_id": bo.user}));
        assert_eq!(ana.ask("call:initiate", claims(&id, &bo.user)).await["success"], true);
        let incoming = bo.expect("call:incoming").await;
        assert_eq!(incoming["callerName"], format!("Name of {}", ana.user));
        if expected.is_null() {
            assert_eq!((&incoming["agoraAppId"], &incoming["CallerName"]), (&json!("app"), &json!("claimed")));
        } else {
            assert_eq!(further(&incoming), expected);
        }
        bo.reject(&id).await;
        drop((ana, bo));
        cluster.close().await;
    }
}

on_each_backend! {
    /// Laravel rings for a call and the caller's phone dials it too, in either order: Laravel's fields are shown.
    async fn laravels_fields_win_over_a_phones(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let bo = unique("bo");
        for phone_first in [true, false] {
            let id = unique_call();
            let mut body = initiate(&id, &bo);
            (body["callerId"], body["callerName"]) = (json!(ana.user), json!("Ana"));
            (body["agoraAppId"], body["balanceTime"]) = (json!("of-laravel"), json!("3:00"));
            for phone in [phone_first, !phone_first] {
                if phone {
                    let ack = ana.ask("call:initiate", claims(&id, &bo)).await;
                    assert_eq!(ack["useFcmFallback"], true, "{ack}");
                } else {
                    let answer = cluster.post(1, "/api/calls", body.clone()).await.1;
                    assert_eq!(answer["useFcmFallback"], true, "{answer}");
                }
            }
            let phone = cluster.phone(1, &bo).await;
            let incoming = phone.expect("call:incoming").await;
            assert_eq!(incoming["callerName"], "Ana");
            let expected = json!({"agoraAppId": "of-laravel", "balanceTime": "3:00"});
            assert_eq!(further(&incoming), expected, "the phone first: {phone_first}");
            ana.cancel(&id).await;
            phone.expect("call:cancelled").await;
            drop(phone);
            cluster.has_left(&bo).await;
        }
        drop(ana);
        cluster.close().await;
    }

    /// A device that was away when another of its user answered hears so when it is back, not when the call ends.
    async fn a_device_that_was_away_hears_who_answered(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let user = unique("bo");
        let profile = |device: &str| Profile { device: Some(device.into()), ..Profile::of(&user) };
        let (here, away) = (cluster.phone_with(1, profile("b1")).await, cluster.phone_with(0, profile("b2")).await);
        let id = unique_call();
        ana.rings(&id, &here).await;
        away.expect("call:incoming").await;
        away.vanish();
        assert_eq!(here.accept(&id).await["success"], true);
        ana.expect("call:accepted").await;
        for node in [0, 1] {
            let back = cluster.phone_with(node, profile("b2")).await;
            let told = back.expect("call:cancelled").await;
            assert_eq!((&told["callId"], &told["reason"]), (&json!(id), &json!("Answered elsewhere")));
            back.assert_nothing_more().await;
        }
        let again = cluster.phone_with(0, profile("b1")).await;
        again.assert_nothing_more().await;
        here.assert_nothing_more().await;
        ana.end(&id).await;
        assert_eq!(again.expect("call:ended").await["callId"], id);
        drop((ana, here, again));
        cluster.close().await;
    }
}

/// Long after the answer no ring screen is left to be taken down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_answer_is_not_told_again() {
    let cluster = Cluster::manual(2).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let user = unique("bo");
    let profile = |device: &str| Profile { device: Some(device.into()), ..Profile::of(&user) };
    let here = cluster.phone_with(1, profile("b1")).await;
    let id = unique_call();
    ana.rings(&id, &here).await;
    here.accept(&id).await;
    cluster.advance(61);
    let back = cluster.phone_with(0, profile("b2")).await;
    back.assert_nothing_more().await;
    ana.end(&id).await;
    drop((ana, here, back));
    cluster.close().await;
}

/// One rings another, then a third a fourth under the same id, twice.
async fn both_ring(eve: &Phone, cleo: &Phone, ana: &Phone, bo: &Phone) -> String {
    let id = unique_call();
    assert_eq!(eve.rings(&id, cleo).await["callerId"], eve.user);
    let heard = ana.rings(&id, bo).await;
    assert_eq!((&heard["callerId"], &heard["callId"]), (&json!(ana.user), &json!(id)));
    assert_eq!(ana.call(&id, &bo.user).await["success"], true, "the first answer again");
    assert_eq!(bo.cancel(&id).await["code"], "not_a_participant", "a callee that has not accepted");
    assert_eq!(cleo.cancel(&id).await["code"], "not_a_participant");
    id
}

async fn cancelled(eve: &Phone, cleo: &Phone, id: &str) {
    assert_eq!(eve.cancel(id).await["success"], true);
    assert_eq!(cleo.expect("call:cancelled").await["callId"], id);
}

on_each_backend! {
    /// Somebody dials the id of another's call first. Laravel says whose it is; its owner is not kept from his call, and
    /// nothing that is still to be said of the other's is said of his.
    async fn an_id_is_its_owners(backend: Backend) {
        let (cluster, laravel) = with_laravel(backend, |_| {}).await;
        let ana = cluster.phone_with(0, Profile::deployed(&unique("ana"))).await;
        let eve = cluster.phone_with(1, Profile::deployed(&unique("eve"))).await;
        let bo = cluster.phone_with(1, Profile::deployed(&unique("bo"))).await;
        let cleo = cluster.phone_with(0, Profile::deployed(&unique("cleo"))).await;
        for (squatted, is_over, by_laravel) in
            [(&bo, false, false), (&cleo, false, false), (&bo, true, false), (&cleo, false, true)]
        {
            let id = unique_call();
            laravel.row(&id, json!({"status": "CONNECTING", "caller_id": ana.user, "receiver_id": bo.user}));
            assert_eq!(eve.rings(&id, squatted).await["callerId"], eve.user);
            if is_over {
                eve.cancel(&id).await;
                squatted.expect("call:cancelled").await;
            }
            if by_laravel {
                let mut body = initiate(&id, &bo.user);
                body["callerId"] = json!(ana.user);
                assert_eq!(cluster.post(1, "/api/calls", body).await.1["success"], true);
            }
            assert_eq!(ana.call(&id, &bo.user).await["success"], true);
            if !is_over {
                assert_eq!(squatted.expect("call:cancelled").await["callId"], id);
            }
            assert_eq!(bo.expect("call:incoming").await["callerId"], ana.user);
            outbox_is_empty(&cluster).await;
            assert!(laravel.posts(&id).is_empty(), "{:?}", laravel.posts(&id));
            assert_eq!(eve.call(&id, &bo.user).await["code"], "not_a_participant", "it is named now");
            assert_eq!(eve.cancel(&id).await["code"], "not_a_participant");
            assert_eq!(bo.accept(&id).await["success"], true);
            ana.expect("call:accepted").await;
            ana.end(&id).await;
            assert_eq!(bo.expect("call:ended").await["callId"], id);
            let asked = laravel.askers(&id);
            assert!(asked.iter().all(|token| *token == format!("token-of-{}", ana.user)) || is_over, "{asked:?}");
        }
        drop((ana, eve, bo, cleo));
        cluster.close().await;
    }

    /// Whoever is not its owner by Laravel's word hears so as ever, soon, and may not ask as often as he likes.
    async fn an_id_is_not_anybody_elses(backend: Backend) {
        let (cluster, laravel) = with_laravel(backend, |_| {}).await;
        let ana = cluster.phone_with(0, Profile::deployed(&unique("ana"))).await;
        let eve = cluster.phone_with(1, Profile::deployed(&unique("eve"))).await;
        let bo = cluster.phone_with(1, Profile::deployed(&unique("bo"))).await;
        let id = unique_call();
        ana.rings(&id, &bo).await;
        let row = |status: &str, caller: &str, receiver: &str| {
            json!({"status": status, "caller_id": caller, "receiver_id": receiver})
        };
        let rows = [
            json!(null),
            json!("FORBIDDEN"),
            row("CONNECTING", &ana.user, &bo.user),
            row("ENDED", &eve.user, &bo.user),
            row("CONNECTING", &eve.user, "USR_9"),
            json!({"status": "CONNECTING"}),
        ];
        for row in rows.iter().chain(&rows) {
            laravel.row(&id, row.clone());
            assert_eq!(eve.call(&id, &bo.user).await["code"], "not_a_participant", "{row}");
        }
        assert_eq!(laravel.askers(&id).len(), 6, "six questions a minute and user");
        assert_eq!(bo.accept(&id).await["success"], true);
        ana.expect("call:accepted").await;
        ana.end(&id).await;
        bo.expect("call:ended").await;
        drop((ana, eve, bo));
        cluster.close().await;
    }

    /// Two dial the same id, and nobody can say whose it is: it is each one's own, whoever came first, and whatever is said
    /// of it is said of one's own call.
    async fn an_id_that_two_dial_is_each_ones_own(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let (eve, cleo) = (cluster.phone(1, &unique("eve")).await, cluster.phone(0, &unique("cleo")).await);
        let said = |id: &str| json!({"callId": id, "callerId": ana.user, "receiverId": bo.user});
        let word = async |word: &str, body: Value| {
            let (_, answer) = cluster.post(1, &format!("/api/emit/call-{word}"), body).await;
            assert_eq!((&answer["success"], &answer["emitted"]), (&json!(true), &json!(true)), "{word}: {answer}");
        };
        // Accepted, spoken in, and ended by the callee; the first comer's goes on.
        let id = both_ring(&eve, &cleo, &ana, &bo).await;
        assert_eq!(cleo.accept(&id).await["success"], true);
        assert_eq!(eve.expect("call:accepted").await["callId"], id);
        assert_eq!(bo.accept(&id).await["success"], true);
        assert_eq!(ana.expect("call:accepted").await["callId"], id);
        assert_eq!(ana.ask("call:message", json!({"callId": id, "data": "ana"})).await["success"], true);
        assert_eq!(bo.expect("call:message").await["data"], "ana");
        bo.end(&id).await;
        assert_eq!(ana.expect("call:ended").await["callId"], id);
        assert_eq!(eve.ask("call:message", json!({"callId": id, "data": "eve"})).await["success"], true);
        assert_eq!(cleo.expect("call:message").await["data"], "eve");
        eve.end(&id).await;
        cleo.expect("call:ended").await;
        // By Laravel's word.
        let id = both_ring(&eve, &cleo, &ana, &bo).await;
        word("accepted", said(&id)).await;
        assert_eq!(ana.expect("call:accepted").await["callId"], id);
        word("ended", json!({"callId": id, "endedBy": ana.user})).await;
        bo.expect("call:ended").await;
        cancelled(&eve, &cleo, &id).await;
        let id = both_ring(&eve, &cleo, &ana, &bo).await;
        word("cancelled", json!({"callId": id, "receiverId": bo.user})).await;
        bo.expect("call:cancelled").await;
        cancelled(&eve, &cleo, &id).await;
        let id = both_ring(&eve, &cleo, &ana, &bo).await;
        word("rejected", said(&id)).await;
        ana.expect("call:rejected").await;
        cancelled(&eve, &cleo, &id).await;
        drop((ana, bo, eve, cleo));
        cluster.close().await;
    }

    /// The same while Laravel says nothing. It is told of the call by the id that it knows.
    async fn an_id_is_each_ones_own_while_laravel_is_away(backend: Backend) {
        let (cluster, laravel) = with_laravel(backend, |_| {}).await;
        let deployed = async |node, name| cluster.phone_with(node, Profile::deployed(&unique(name))).await;
        let (ana, bo) = (deployed(0, "ana").await, deployed(1, "bo").await);
        let (eve, cleo) = (deployed(1, "eve").await, deployed(0, "cleo").await);
        laravel.mood(Mood::Broken);
        let id = both_ring(&eve, &cleo, &ana, &bo).await;
        laravel.mood(Mood::Well);
        assert_eq!(bo.reject(&id).await["success"], true);
        ana.expect("call:rejected").await;
        assert_eq!(laravel.expect_post(&id, "reject").await.token, format!("token-of-{}", bo.user));
        cancelled(&eve, &cleo, &id).await;
        outbox_is_empty(&cluster).await;
        drop((ana, bo, eve, cleo));
        cluster.close().await;
    }

    /// The owner's phone has no socket, his call goes on over REST: Laravel's word of it meets another's call.
    async fn laravels_word_of_a_call_is_of_its_parties(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let (eve, bo) = (cluster.phone(1, &unique("eve")).await, cluster.phone(1, &unique("bo")).await);
        for word in ["accepted", "rejected"] {
            let id = unique_call();
            eve.rings(&id, &bo).await;
            let body = json!({"callId": id, "callerId": ana.user, "receiverId": bo.user});
            let (_, answer) = cluster.post(0, &format!("/api/emit/call-{word}"), body).await;
            assert_eq!((&answer["success"], &answer["emitted"]), (&json!(true), &json!(true)), "{answer}");
            assert_eq!(bo.expect("call:cancelled").await["callId"], id);
            assert_eq!(ana.expect(&format!("call:{word}")).await["callId"], id);
            assert_eq!(eve.end(&id).await["code"], "not_a_participant");
            ana.end(&id).await;
        }
        drop((ana, eve, bo));
        cluster.close().await;
    }
}
