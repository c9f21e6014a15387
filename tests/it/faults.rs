//! Replies that are lost, envelopes that are lost or overtake each other, a store that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use onlycare_signaling::app::{App, Shared};
use onlycare_signaling::bus::memory::MemoryBus;
use onlycare_signaling::bus::{Body, Bus, BusError, Envelope, Inbound};
use onlycare_signaling::call::{Device, NodeId, SessionId, Timestamp, UserId};
use onlycare_signaling::clock::Clock;
use onlycare_signaling::config::{Auth, Config};
use onlycare_signaling::store::memory::MemoryStore;
use onlycare_signaling::store::{Lease, SessionRecord, SessionStore};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::harness::cluster::{SECRET, config, get, get_with, post};
use crate::harness::counting::CountingSessions;
use crate::harness::laravel::Laravel;
use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::proxy::Proxy;
use crate::harness::redis::{Redis, shared};
use crate::harness::{Phone, Profile, until};
use crate::losses::once_in_three;

/// Two nodes on one Redis, the first behind a fault proxy.
async fn proxied() -> (Vec<App>, Proxy) {
    let proxy = Proxy::before(shared().port).await;
    let prefix = format!("t{:016x}", rand::random::<u64>());
    let mut nodes = Vec::new();
    for url in [format!("redis://{}", proxy.address), shared().url()] {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = config(&[("REDIS_URL", &url), ("REDIS_PREFIX", &prefix)]);
        nodes.push(App::start(config).await.expect("a node"));
    }
    (nodes, proxy)
}

/// The write ran, its reply was lost: the writer finds out by its nonce and owes the effects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_of_swap_is_read_back() {
    let (nodes, proxy) = proxied().await;
    let ana = Phone::connect(nodes[1].public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(nodes[0].public, Profile::of(&unique("bo"))).await;
    for command in ["call:accept", "call:reject"] {
        let id = unique_call();
        ana.rings(&id, &bo).await;
        proxy.lose_reply_of("\"active\":{\"accepted_at\"");
        if command == "call:reject" {
            proxy.lose_reply_of("\"rejected\"");
        }
        let ack = bo.ask(command, serde_json::json!({"callId": id})).await;
        assert!(proxy.has_struck(), "the reply was not lost");
        assert_eq!(ack["success"], true, "{ack}");
        if command == "call:accept" {
            ana.expect("call:accepted").await;
            ana.end(&id).await;
            bo.expect("call:ended").await;
        } else {
            ana.expect("call:rejected").await;
            bo.expect("call:reject:confirmed").await;
        }
    }
    ana.assert_nothing_more().await;
    bo.assert_nothing_more().await;
}

/// A request whose reply was lost, and that was answered before that was found out, is not made once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_a_lost_reply_is_asked_once() {
    let (nodes, proxy) = proxied().await;
    let ana = Phone::connect(nodes[1].public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(nodes[0].public, Profile::of(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    proxy.lose_reply_of("\"asked_in\"");
    let answers = async {
        ana.expect("call:upgrade:request").await;
        ana.ask("call:upgrade:response", serde_json::json!({"callId": id, "accepted": false})).await
    };
    let (asked, answered) = tokio::join!(bo.ask("call:upgrade", serde_json::json!({"callId": id})), answers);
    assert!(proxy.has_struck(), "the reply was not lost");
    assert_eq!((&asked["success"], &answered["success"]), (&true.into(), &true.into()), "{asked} {answered}");
    assert_eq!(bo.expect("call:upgrade:response").await["reason"], "User declined");
    ana.end(&id).await;
    bo.expect("call:ended").await;
    ana.assert_nothing_more().await;
    bo.assert_nothing_more().await;
}

/// The same for the create: the callee is rung, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_of_create_is_read_back() {
    let (nodes, proxy) = proxied().await;
    let (ana, bo) = apart(&nodes).await;
    let id = unique_call();
    proxy.lose_reply_of("\"trying\"");
    let ack = ana.call(&id, &bo.user).await;
    assert!(proxy.has_struck(), "the reply was not lost");
    assert_eq!(ack["success"], true, "{ack}");
    bo.expect("call:incoming").await;
    bo.assert_nothing_more().await;
    ana.cancel(&id).await;
    bo.expect("call:cancelled").await;
}

/// Fails before (the caller is told nothing): what the backend says of a call that was never initiated here makes one of which
/// no node has heard, so that none compares it with the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_about_an_unknown_call_whose_reply_was_lost_is_told() {
    let (nodes, proxy) = proxied().await;
    let (ana, receiver) = (Phone::connect(nodes[1].public, Profile::of(&unique("ana"))).await, unique("bo"));
    for (word, stored, event) in [
        ("call-rejected", "\"rejected\"", "call:rejected"),
        ("call-accepted", "\"active\":{\"accepted_at\"", "call:accepted"),
    ] {
        let id = unique_call();
        proxy.lose_reply_of(stored);
        let said = json!({"callId": id, "callerId": ana.user, "receiverId": receiver});
        let (status, answer) = post(nodes[0].public, &format!("/api/emit/{word}"), Some(SECRET), said).await;
        assert!(proxy.has_struck(), "the reply was not lost");
        assert_eq!(status, 503, "{answer}");
        assert_eq!(ana.expect(event).await["callId"], *id);
        ana.assert_nothing_more().await;
    }
}

/// Fails before (the caller is told nothing until he comes back): the node that makes an accepted call for the backend is gone
/// behind the write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accept_is_told_though_the_node_that_wrote_it_is_gone() {
    let (nodes, proxy) = proxied().await;
    let ana = Phone::connect(nodes[1].public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(nodes[1].public, Profile::of(&unique("bo"))).await;
    ana.completes_call(&bo).await; // the script is known to the store by now
    let id = unique_call();
    proxy.cut_at_reply_of("\"active\":{\"accepted_at\"");
    let said = json!({"callId": id, "callerId": ana.user, "receiverId": bo.user});
    let (status, answer) = post(nodes[0].public, "/api/emit/call-accepted", Some(SECRET), said).await;
    assert!(proxy.has_struck(), "nothing was written");
    assert_eq!(status, 503, "{answer}");
    assert_eq!(ana.expect("call:accepted").await["callId"], *id);
    proxy.mend();
    assert_eq!(ana.end(&id).await["success"], true);
    bo.expect("call:ended").await;
    ana.assert_nothing_more().await;
    bo.assert_nothing_more().await;
}

/// A dial that waited for the store would end the ring that its user has dialled since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_waited_gives_way_to_a_later_one() {
    once_in_three(async || the_later_dial_goes_on().await, "no dial was kept waiting").await;
}

/// False where the machine stood still, and the earlier dial came through before the later one was said.
async fn the_later_dial_goes_on() -> bool {
    let (nodes, proxy) = proxied().await;
    let (ana, bo) = apart(&nodes).await;
    let tablet = Phone::connect(nodes[1].public, Profile::of(&ana.user)).await;
    let (earlier, later) = (unique_call(), unique_call());
    proxy.hold_request_of(&earlier, Duration::from_millis(1200));
    let dialled_anew = async {
        tokio::time::sleep(Duration::from_millis(700)).await; // the time between the two words
        tablet.call(&later, &bo.user).await
    };
    let (waited, _) = tokio::join!(ana.call(&earlier, &bo.user), dialled_anew);
    if waited["success"] == true {
        return false;
    }
    assert_eq!(waited["code"], "unavailable", "{waited}");
    assert_eq!(bo.expect("call:incoming").await["callId"], *later);
    bo.assert_nothing_more().await;
    assert_eq!(bo.accept(&later).await["success"], true);
    tablet.expect("call:accepted").await;
    true
}

/// Hang-ups are never refused: what a phone says while the store is away is applied when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_waits_for_the_store() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("redis://{}", proxy.address);
    let node = App::start(config(&[("REDIS_URL", &url)])).await.expect("a node");
    let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(node.public, Profile::of(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    proxy.cut();
    let said_at = SystemTime::now();
    let ack = ana.end(&id).await;
    assert_eq!(ack["code"], "unavailable", "{ack}");
    tokio::time::sleep(Duration::from_secs(3)).await; // the trouble itself
    proxy.mend();
    bo.expect("call:ended").await;
    assert!(ana.keep_connected() && bo.keep_connected(), "sockets stay");
    // What follows is paid for by nobody.
    let call = get_with(node.public, &format!("/api/calls/{id}"), ("x-internal-secret", SECRET)).await.1;
    let ended_at = UNIX_EPOCH + Duration::from_millis(call["endedAt"].as_u64().expect("an end"));
    assert!(ended_at < said_at + Duration::from_secs(2), "{ended_at:?}, said at {said_at:?}: {call}");
}

/// Two phones, each on a node of its own.
async fn apart(nodes: &[App]) -> (Phone, Phone) {
    let ana = Phone::connect(nodes[0].public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(nodes[1].public, Profile::of(&unique("bo"))).await;
    (ana, bo)
}

type Picks = fn(&Body) -> bool;

/// A bus that can lose envelopes or deliver them in the wrong order.
#[derive(Default)]
struct UnrulyBus {
    inboxes: Mutex<std::collections::HashMap<NodeId, mpsc::Sender<Inbound>>>,
    lose: AtomicBool,
    /// Nobody is reached.
    reach_nobody: AtomicBool,
    /// Whoever publishes the next such envelope panics.
    panic_at: Mutex<Option<Picks>>,
    /// While set, envelopes wait; they are delivered in reverse when it is taken away.
    stash: Mutex<Option<Vec<(NodeId, Envelope)>>>,
}

impl UnrulyBus {
    /// Tells every node that it may have missed something.
    async fn had_a_gap(&self) {
        let inboxes: Vec<_> = self.inboxes.lock().values().cloned().collect();
        for inbox in inboxes {
            inbox.send(Inbound::Gap).await.expect("the node reads");
        }
    }

    fn deliver(&self, node: &NodeId, envelope: &Envelope) -> usize {
        let inbox = self.inboxes.lock().get(node).cloned();
        inbox.map_or(0, |inbox| usize::from(inbox.try_send(Inbound::Envelope(envelope.clone())).is_ok()))
    }

    fn hold(&self) {
        *self.stash.lock() = Some(Vec::new());
    }

    fn release_reversed(&self) -> usize {
        let stash = self.stash.lock().take().unwrap_or_default();
        for (node, envelope) in stash.iter().rev() {
            self.deliver(node, envelope);
        }
        stash.len()
    }
}

#[async_trait]
impl Bus for UnrulyBus {
    async fn publish(&self, node: &NodeId, envelope: &Envelope) -> Result<usize, BusError> {
        let panics = self.panic_at.lock().take_if(|at| at(&envelope.body)).is_some();
        assert!(!panics, "on purpose");
        if self.lose.load(Ordering::SeqCst) {
            return Ok(1); // one receiver is not delivery
        }
        let is_held = !matches!(envelope.body, Body::SelfTest { .. });
        if self.reach_nobody.load(Ordering::SeqCst) && is_held {
            return Ok(0);
        }
        if let Some(stash) = self.stash.lock().as_mut().filter(|_| is_held) {
            stash.push((node.clone(), envelope.clone()));
            return Ok(1);
        }
        Ok(self.deliver(node, envelope))
    }

    async fn reconnect(&self) {}

    async fn listen(&self, node: &NodeId) -> Result<mpsc::Receiver<Inbound>, BusError> {
        let (sender, receiver) = mpsc::channel(1024);
        self.inboxes.lock().insert(node.clone(), sender);
        Ok(receiver)
    }
}

async fn unruly() -> (Vec<App>, Arc<UnrulyBus>) {
    unruly_with(|_| {}).await
}

async fn unruly_with(tune: impl Fn(&mut Config)) -> (Vec<App>, Arc<UnrulyBus>) {
    let (nodes, bus, _) = counted_with(tune).await;
    (nodes, bus)
}

/// With the store of their sessions.
async fn counted_with(tune: impl Fn(&mut Config)) -> (Vec<App>, Arc<UnrulyBus>, Arc<CountingSessions>) {
    let bus = Arc::new(UnrulyBus::default());
    let clock = Clock::system();
    let store = Arc::new(MemoryStore::new(clock.clone(), config(&[]).retention));
    let sessions = Arc::new(CountingSessions::new(store.clone()));
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let shared = Shared {
            calls: store.clone(),
            sessions: sessions.clone(),
            tokens: store.clone(),
            outbox: store.clone(),
            bus: bus.clone(),
        };
        let mut config = config(&[]);
        tune(&mut config);
        nodes.push(App::start_with(config, clock.clone(), shared, TaskTracker::new()).await.expect("a node"));
    }
    (nodes, bus, sessions)
}

/// A node that begins has left nothing anywhere: it swept its first epoch, 64 commands with each renewal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_begins_sweeps_nothing() {
    let (nodes, _, sessions) = counted_with(|_| {}).await;
    let (ana, bo) = apart(&nodes).await;
    let enough = sessions.renewals.load(Ordering::SeqCst) + 4;
    until("both nodes renew their leases", Duration::from_secs(20), async || {
        sessions.renewals.load(Ordering::SeqCst) >= enough
    })
    .await;
    ana.completes_call(&bo).await;
    assert_eq!(sessions.sweeps.load(Ordering::SeqCst), 0);
}

/// Two nodes, a call that was accepted across them, and whether its caller counts as absent.
async fn talking_apart() -> (Vec<App>, Arc<CountingSessions>, (Phone, Phone), impl AsyncFn() -> bool) {
    let (nodes, _, sessions) = counted_with(|_| {}).await;
    let (ana, bo) = apart(&nodes).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    let (asked, path) = (nodes[1].public, format!("/api/calls/{id}"));
    let is_absent = async move || {
        let (_, call) = get_with(asked, &path, ("x-internal-secret", SECRET)).await;
        call["timeline"].as_array().is_some_and(|all| all.iter().any(|milestone| milestone["what"] == "absent"))
    };
    (nodes, sessions, (ana, bo), is_absent)
}

/// A session was removed first: the node that died before it had stored the absence left nobody who knew of it, and the other
/// side talked to nobody for hours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_is_stored_before_its_session_is_removed() {
    let (_nodes, sessions, (ana, bo), is_absent) = talking_apart().await;
    sessions.hangs.store(true, Ordering::SeqCst);
    ana.vanish();
    until("ana counts as away", Duration::from_secs(20), is_absent).await;
    sessions.hangs.store(false, Ordering::SeqCst);
    drop(bo);
}

/// A look for other devices that failed was taken for one that found some, and nobody looked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_outlives_a_store_that_fails_the_look_for_others() {
    let (_nodes, sessions, (ana, bo), is_absent) = talking_apart().await;
    sessions.fails.store(true, Ordering::SeqCst);
    let before = sessions.of_one.load(Ordering::SeqCst);
    ana.vanish();
    until("it was looked for others", Duration::from_secs(20), async || {
        sessions.of_one.load(Ordering::SeqCst) > before
    })
    .await;
    sessions.fails.store(false, Ordering::SeqCst);
    until("ana counts as away", Duration::from_secs(20), is_absent).await;
    drop(bo);
}

/// Who subscribed to him is told of a user whose registration was written though its reply was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coming_outlives_the_lost_reply_of_its_registration() {
    let (nodes, _, sessions) = counted_with(|_| {}).await;
    let (ana, user) = (Phone::connect(nodes[0].public, Profile::of(&unique("ana"))).await, unique("bo"));
    assert_eq!(ana.ask("presence:subscribe", json!({"userIds": [user]})).await["success"], true);
    sessions.to_lose.store(1, Ordering::SeqCst);
    let bo = Phone::connect(nodes[1].public, Profile::of(&user)).await;
    assert_eq!(ana.expect_within("user:online", Duration::from_secs(20)).await["userId"], *user);
    ana.assert_nothing_more().await;
    drop(bo);
}

/// Who subscribed to him is told that a user of a dead node is gone, though the reply to the removal of his session was
/// lost: nothing in the store says that he was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_going_outlives_the_lost_reply_of_its_sweep() {
    let (nodes, _, sessions) = counted_with(|config| {
        config.policy.lease = Duration::from_secs(2);
        config.policy.lease_renewal = Duration::from_millis(500);
    })
    .await;
    let (ana, user) = (Phone::connect(nodes[0].public, Profile::of(&unique("ana"))).await, unique("bo"));
    let (node, epoch) = (NodeId::parse("dead").unwrap(), 1);
    let left = SessionRecord {
        id: SessionId::from_random(7),
        user: UserId::parse(&user).unwrap(),
        node: node.clone(),
        epoch,
        device: Device::Unknown,
        acks: true,
        connected_at: Clock::system().now(),
    };
    sessions.begin(&node, epoch).await.unwrap();
    sessions.register(&left).await.unwrap();
    let subscribed = ana.ask("presence:subscribe", json!({"userIds": [user]})).await;
    assert_eq!(subscribed["users"][&user], true, "{subscribed}");
    sessions.swept_to_lose.store(1, Ordering::SeqCst);
    let (address, probe) = ("http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1/ready".to_owned());
    let lease = Lease { node, epoch, address, probe, expires_at: left.connected_at, sessions: 1 };
    sessions.renew(&lease, Duration::from_millis(1), None).await.unwrap();
    let is_swept = async || sessions.sessions(&left.user).await.unwrap().is_empty();
    until("his session is swept", Duration::from_secs(20), is_swept).await;
    assert_eq!(ana.expect_within("user:offline", Duration::from_secs(20)).await["userId"], *user);
    assert_eq!(sessions.swept_to_lose.load(Ordering::SeqCst), 0, "the reply was not lost");
    ana.assert_nothing_more().await;
}

/// Two nodes that ask a Laravel, whose background checks come at once, and a phone of one user at each.
async fn of_one_user(laravel: &Laravel) -> (Vec<App>, Arc<CountingSessions>, [Phone; 2]) {
    let url = format!("http://{}", laravel.address);
    let (nodes, _, sessions) = counted_with(|config| {
        config.auth = Auth::Laravel { url: url.clone() };
        config.auth_times.cache = Duration::ZERO;
    })
    .await;
    let user = unique("ana");
    let there = Phone::connect(nodes[0].public, Profile::of(&user)).await;
    let here = Phone::connect(nodes[1].public, Profile::of(&user)).await;
    (nodes, sessions, [here, there])
}

/// The node that learns of it can't say where the user's sessions are, and Laravel says it to no other: the session at the
/// other node went on with a token that is nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_told_to_all_nodes_where_the_look_for_its_sessions_fails() {
    let laravel = Laravel::start().await;
    let (nodes, sessions, [here, there]) = of_one_user(&laravel).await;
    sessions.fails.store(true, Ordering::SeqCst);
    let before = sessions.of_one.load(Ordering::SeqCst);
    laravel.revoke(&here.user);
    // Its token is no longer fresh, and this node has it checked.
    let again = Phone::open(nodes[1].public, Profile::of(&here.user)).await;
    assert_eq!(here.expect_fate().await, "disconnect");
    assert_eq!(there.expect_fate().await, "disconnect", "at the other node too");
    assert!(sessions.of_one.load(Ordering::SeqCst) > before, "nobody looked for them");
    drop(again);
}

/// The same where the backend sends him away: it is told to ask again, and he is gone already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_sent_away_goes_at_all_nodes_where_the_look_for_his_sessions_fails() {
    let laravel = Laravel::start().await;
    let (nodes, sessions, [here, there]) = of_one_user(&laravel).await;
    sessions.fails.store(true, Ordering::SeqCst);
    laravel.revoke(&here.user);
    let path = format!("/api/users/{}/disconnect", here.user);
    let (status, answer) = post(nodes[1].public, &path, Some(SECRET), json!({"reason": "Banned"})).await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(here.expect_fate().await, "disconnect");
    assert_eq!(there.expect_fate().await, "disconnect", "at the other node too");
    for node in &nodes {
        let refused = Phone::open(node.public, Profile::of(&here.user)).await;
        assert_eq!(refused.expect_fate().await, "connect_error: Invalid token");
    }
}

/// `call:incoming` and `call:cancelled` in the wrong order: no ghost ring.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_in_the_wrong_order_ring_no_ghost() {
    let (nodes, bus) = unruly().await;
    let (ana, bo) = apart(&nodes).await;
    for _ in 0..20 {
        let id = unique_call();
        bus.hold();
        ana.call(&id, &bo.user).await;
        ana.cancel(&id).await;
        assert_eq!(bus.release_reversed(), 2);
        assert_eq!(bo.expect("call:cancelled").await["callId"], id.as_str());
        bo.assert_nothing_more().await;
    }
    // The events of an older call don't reach a session that knows a newer one.
    let (older, newer) = (unique_call(), unique_call());
    bus.hold();
    ana.call(&older, &bo.user).await;
    ana.call(&newer, &bo.user).await;
    bus.release_reversed();
    assert_eq!(bo.expect("call:incoming").await["callId"], newer.as_str());
    bo.assert_nothing_more().await;
    assert_eq!(bo.accept(&newer).await["success"], true);
}

/// A node with only another device of who hung up learns of it too: it would put the call back into an emptied store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_of_both_learns_the_end() {
    let (nodes, bus) = unruly().await;
    let ana = Phone::connect(nodes[0].public, Profile::of(&unique("ana"))).await;
    let tablet = Phone::connect(nodes[1].public, Profile::of(&ana.user)).await;
    let bo = Phone::connect(nodes[0].public, Profile::of(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    tablet.expect("call:ringing").await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    tablet.expect("call:accepted").await;
    bus.hold();
    assert_eq!(ana.end(&id).await["success"], true);
    bo.expect("call:ended").await;
    assert_eq!(bus.release_reversed(), 1);
    tablet.assert_nothing_more().await;
}

/// A lost envelope heals by state: the phone is told within seconds, by nobody's envelope.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_envelope_heals() {
    let (nodes, bus) = unruly().await;
    let (ana, bo) = apart(&nodes).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bus.lose.store(true, Ordering::SeqCst);
    ana.cancel(&id).await;
    bo.expect_within("call:cancelled", Duration::from_secs(4)).await;
    bus.lose.store(false, Ordering::SeqCst);
    bo.assert_nothing_more().await;
}

/// The envelope that tells of a deadline is lost: the phone stops ringing all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_timeout_heals() {
    let (nodes, bus) = unruly_with(|config| config.policy.ring_timeout = Duration::from_millis(800)).await;
    for _ in 0..5 {
        let (ana, bo) = apart(&nodes).await;
        ana.rings(&unique_call(), &bo).await;
        bus.lose.store(true, Ordering::SeqCst);
        ana.expect("call:timeout").await;
        assert_eq!(bo.expect_within("call:cancelled", Duration::from_secs(4)).await["reason"], "Timeout");
        bus.lose.store(false, Ordering::SeqCst);
    }
}

/// Who connects reads a call of which its node has heard nothing: so the others there are told of it too, since comparing
/// finds nothing new any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_for_one_phone_is_told_to_the_others() {
    let (nodes, bus) = unruly_with(|config| config.policy.heal_active = Duration::from_secs(60)).await;
    let (ana, bo) = apart(&nodes).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    bus.lose.store(true, Ordering::SeqCst);
    assert_eq!(bo.end(&id).await["success"], true);
    ana.assert_nothing_more().await;
    let tablet = Phone::connect(nodes[0].public, Profile::of(&ana.user)).await;
    for phone in [&ana, &tablet] {
        assert_eq!(phone.expect("call:ended").await["callId"], id.as_str());
    }
    // And of a call that it did not know of at all.
    let next = unique_call();
    bo.call(&next, &ana.user).await;
    let another = Phone::connect(nodes[0].public, Profile::of(&ana.user)).await;
    for phone in [&ana, &tablet, &another] {
        assert_eq!(phone.expect("call:incoming").await["callId"], next.as_str());
    }
    bus.lose.store(false, Ordering::SeqCst);
}

/// Fails before (the caller is told nothing): an accepted call that its node could not tell is told when it can, as a ring is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accept_that_reached_no_node_is_told_again() {
    let (nodes, bus) = unruly_with(|config| config.policy.heal_active = Duration::from_millis(500)).await;
    let (ana, id) = (Phone::connect(nodes[1].public, Profile::of(&unique("ana"))).await, unique_call());
    bus.reach_nobody.store(true, Ordering::SeqCst);
    let accepted = json!({"callId": id, "callerId": ana.user, "receiverId": unique("bo")});
    assert_eq!(post(nodes[0].public, "/api/emit/call-accepted", Some(SECRET), accepted).await.0, 200);
    tokio::time::sleep(Duration::from_millis(1500)).await; // the tries of one envelope are over
    ana.assert_nothing_more().await;
    bus.reach_nobody.store(false, Ordering::SeqCst);
    assert_eq!(ana.expect("call:accepted").await["callId"], *id);
    assert_eq!(ana.end(&id).await["success"], true);
}

/// A lost ring heals too: until a device confirms, the caller's node tells it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_ring_is_told_again() {
    let (nodes, bus) = unruly().await;
    let (ana, bo) = apart(&nodes).await;
    bus.lose.store(true, Ordering::SeqCst);
    let id = unique_call();
    ana.call(&id, &bo.user).await;
    bus.lose.store(false, Ordering::SeqCst);
    assert_eq!(bo.expect_within("call:incoming", Duration::from_secs(4)).await["callId"], id.as_str());
    ana.expect("call:ringing").await;
    bo.assert_nothing_more().await;
}

/// A call that came and went while its node heard nothing does not keep the end of the one before from a phone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_hears_the_end_of_its_call_after_a_newer_one() {
    let (nodes, bus) = unruly_with(|config| config.policy.heal_active = Duration::from_secs(1)).await;
    let ana = Phone::connect(nodes[0].public, Profile::of(&unique("ana"))).await;
    let cleo = Phone::connect(nodes[0].public, Profile::of(&unique("cleo"))).await;
    let bo = Phone::connect(nodes[1].public, Profile::of(&unique("bo"))).await;
    let (id, newer) = (unique_call(), unique_call());
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    bus.lose.store(true, Ordering::SeqCst);
    ana.end(&id).await;
    cleo.call(&newer, &bo.user).await;
    bus.lose.store(false, Ordering::SeqCst);
    cleo.cancel(&newer).await;
    assert_eq!(bo.expect("call:cancelled").await["callId"], newer.as_str());
    assert_eq!(bo.expect("call:ended").await["callId"], id.as_str());
    bo.assert_nothing_more().await;
}

/// What began while a node heard nothing is found when it hears again, with no word from the caller's node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_began_in_a_gap_of_the_bus_is_found() {
    let (nodes, bus) = unruly().await;
    let (ana, bo) = apart(&nodes).await;
    bus.lose.store(true, Ordering::SeqCst);
    let id = unique_call();
    ana.call(&id, &bo.user).await;
    bus.had_a_gap().await;
    assert_eq!(bo.expect("call:incoming").await["callId"], id.as_str());
    ana.cancel(&id).await;
}

/// So is what was kept in a call that began meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_kept_in_a_gap_of_the_bus_is_found() {
    let (nodes, bus) = unruly_with(|config| config.policy.heal_active = Duration::from_secs(3600)).await;
    let (ana, bo) = apart(&nodes).await;
    bus.lose.store(true, Ordering::SeqCst);
    let id = unique_call();
    let ring = json!({
        "callId": id, "callerId": ana.user, "callerName": "Ana", "receiverId": bo.user, "callType": "AUDIO",
        "channelName": "call_1", "agoraToken": "agora",
    });
    let rung = post(nodes[1].public, "/api/calls", Some(SECRET), ring).await;
    assert_eq!(rung.0, 200, "{rung:?}");
    bo.expect("call:incoming").await;
    assert_eq!(bo.accept(&id).await["success"], true);
    let said = bo.ask("call:message", json!({"callId": id, "data": 1, "keep": true})).await;
    assert_eq!(said["kept"], true, "{said}");
    bus.had_a_gap().await;
    assert_eq!(ana.expect("call:accepted").await["callId"], id.as_str());
    assert_eq!(ana.expect("call:message").await["data"], 1);
    bo.end(&id).await;
}

/// Fails before (a question for each of them on the calls' connection, all in the same moment; one that failed was not asked
/// again): after a gap the subscribed users are asked for together, twice those who seem to have left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_subscriptions_cost_few_questions_after_a_gap() {
    const SUBSCRIBERS: usize = 8;
    const SUBSCRIBED: usize = 500;
    let (nodes, bus, sessions) = counted_with(|_| {}).await;
    let (ana, bo) = apart(&nodes).await;
    let mut fans = Vec::new();
    for fan in 0..SUBSCRIBERS {
        let phone = Phone::connect(nodes[0].public, Profile::of(&unique("fan"))).await;
        let made_up: Vec<_> = (0..SUBSCRIBED).map(|n| format!("USR_{fan}_{n}")).collect();
        assert_eq!(phone.ask("presence:subscribe", json!({"userIds": made_up})).await["success"], true);
        fans.push(phone);
    }
    let watched = json!({"userIds": [bo.user, fans[0].user]});
    assert_eq!(ana.ask("presence:subscribe", watched).await["success"], true);
    bus.lose.store(true, Ordering::SeqCst);
    let left = bo.user.clone();
    bo.vanish();
    let is_gone =
        async || sessions.online_users().await.is_ok_and(|users| users.iter().all(|user| user.as_str() != left));
    until("bo is gone", Duration::from_secs(20), is_gone).await;
    bus.lose.store(false, Ordering::SeqCst);
    let (of_one, of_many) = (sessions.of_one.load(Ordering::SeqCst), sessions.of_many.load(Ordering::SeqCst));
    sessions.to_fail.store(1, Ordering::SeqCst);
    for _ in 0..20 {
        bus.had_a_gap().await;
    }
    assert_eq!(ana.expect_within("user:offline", Duration::from_secs(30)).await["userId"], *left);
    let of_one = sessions.of_one.load(Ordering::SeqCst) - of_one;
    let of_many = sessions.of_many.load(Ordering::SeqCst) - of_many;
    println!("{of_one} questions about one user, {of_many} about many");
    assert!(of_one <= 10, "{of_one} questions about one user");
    // Of a thousand users each, after the gaps and perhaps once more, and one of those who left.
    assert!(of_many <= 20, "{of_many} questions about many");
    for phone in fans.iter().chain([&ana]) {
        phone.assert_nothing_more().await;
    }
}

/// The ring was lost with what told it; the caller's return brings it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_while_it_may_not_ring_rings_again() {
    let (nodes, bus) = unruly_with(|config| config.policy.heal_ringing = Duration::from_secs(3600)).await;
    let (ana, bo) = apart(&nodes).await;
    bus.lose.store(true, Ordering::SeqCst);
    let (id, profile) = (unique_call(), Profile::of(&ana.user));
    ana.call(&id, &bo.user).await;
    ana.vanish();
    bo.assert_nothing_more().await;
    bus.lose.store(false, Ordering::SeqCst);
    let ana = Phone::connect(nodes[0].public, profile).await;
    assert_eq!(bo.expect("call:incoming").await["callId"], id.as_str());
    ana.expect("call:ringing").await;
    bo.assert_nothing_more().await;
}

/// The end of an older call does not abort the newer one's screen, however late it is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_rejection_spares_the_next_call() {
    let (nodes, bus) = unruly().await;
    let (ana, bo) = apart(&nodes).await;
    let cleo = Phone::connect(nodes[0].public, Profile::of(&unique("cleo"))).await;
    let (older, newer) = (unique_call(), unique_call());
    ana.rings(&older, &bo).await;
    bus.lose.store(true, Ordering::SeqCst);
    bo.reject(&older).await;
    bus.lose.store(false, Ordering::SeqCst);
    ana.rings(&newer, &cleo).await;
    tokio::time::sleep(Duration::from_secs(3)).await; // the comparison finds the older call's end in this time
    ana.assert_nothing_more().await;
    assert_eq!(cleo.accept(&newer).await["success"], true);
}

/// A panic costs the phone whose event or connection met it a reconnect, and no later event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_closes_the_transport_of_its_phone() {
    let (nodes, bus) = unruly().await;
    let (ana, bo) = apart(&nodes).await;
    bo.ask("presence:subscribe", json!({"userIds": [ana.user]})).await;
    let bo_is_left = async || {
        let deadline = Instant::now() + Duration::from_secs(5);
        while get(nodes[1].public, "/health").await.1["connectedUsers"] != 1 {
            assert!(Instant::now() < deadline, "a session of ana is left");
            tokio::time::sleep(Duration::from_millis(10)).await; // no event tells
        }
    };
    let id = unique_call();
    *bus.panic_at.lock() = Some(|body| matches!(body, Body::Call { .. }));
    ana.emit("call:initiate", initiate(&id, &bo.user));
    assert_eq!(ana.expect_fate().await, "closed");
    bo_is_left().await;
    *bus.panic_at.lock() = Some(|body| matches!(body, Body::Presence { online: true, .. }));
    let again = Phone::open(nodes[0].public, Profile::of(&ana.user)).await;
    assert_eq!(again.expect_fate().await, "closed");
    bo_is_left().await;
    let again = Phone::connect(nodes[0].public, Profile::of(&ana.user)).await;
    bo.expect_within("call:incoming", Duration::from_secs(4)).await;
    assert_eq!(again.cancel(&id).await["success"], true);
    bo.expect("call:cancelled").await;
}

/// An envelope whose time is over is not told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_envelope_is_not_told() {
    let (nodes, bus) = unruly().await;
    let (ana, bo) = apart(&nodes).await;
    let id = unique_call();
    bus.hold();
    ana.call(&id, &bo.user).await;
    let stash = bus.stash.lock().take().unwrap_or_default();
    for (node, mut envelope) in stash {
        assert!(matches!(envelope.body, Body::Call { .. }));
        envelope.expires_at = onlycare_signaling::call::Timestamp::from_millis(1);
        bus.deliver(&node, &envelope);
    }
    bo.assert_nothing_more().await;
}

/// The clocks of two nodes are never quite the same: what one calls later than its end is told all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ahead_hides_no_rejection() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let start = |ahead: u64| Clock::manual(Timestamp::from_millis(1_800_000_000_000 + ahead));
    let store = Arc::new(MemoryStore::new(start(0), config(&[]).retention));
    let bus = Arc::new(MemoryBus::default());
    let mut nodes = Vec::new();
    for ahead in [300, 0] {
        let shared = Shared {
            calls: store.clone(),
            sessions: store.clone(),
            tokens: store.clone(),
            outbox: store.clone(),
            bus: bus.clone(),
        };
        nodes.push(App::start_with(config(&[]), start(ahead), shared, TaskTracker::new()).await.expect("a node"));
    }
    let (ana, bo) = apart(&nodes).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    assert_eq!(bo.reject(&id).await["success"], true);
    ana.expect("call:rejected").await;
}
