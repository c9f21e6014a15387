//! Words that may not be lost: whoever says them vanishes, the store is away or not put back, the node stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use onlycare_signaling::app::{App, Shared};
use onlycare_signaling::call::{CallId, TokenHash, UserId};
use onlycare_signaling::clock::Clock;
use onlycare_signaling::config::Auth;
use onlycare_signaling::store::{KnownToken, StoreError, TokenStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::harness::cluster::{SECRET, config};
use crate::harness::laravel::Laravel;
use crate::harness::phone::{unique, unique_call};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::{Backend, Cluster, Phone, Profile, until};

/// A retry, and some time for a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// Posts as Laravel does, that waits `patience` and closes the connection; the status, if there was one.
async fn post_impatiently(cluster: &Cluster, node: usize, path: &str, body: Value, patience: Duration) -> Option<u16> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("http://{}{path}", cluster.address(node)));
    let request = request.header("x-internal-secret", SECRET).body(body.to_string()).timeout(patience);
    request.send().await.ok().map(|response| response.status().as_u16())
}

/// Waits until a call is as expected.
async fn becomes(cluster: &Cluster, call: &str, state: &str, reason: Option<&str>) {
    let started = Instant::now();
    loop {
        let now = cluster.state(call).await;
        if now == (state, reason) {
            return;
        }
        assert!(started.elapsed() < SOON, "{call} is {now:?}, not {state} {reason:?}");
        tokio::time::sleep(Duration::from_millis(50)).await; // asked, not waited for
    }
}

struct Pair {
    caller: Phone,
    callee: Phone,
    call: String,
}

impl Pair {
    /// Rings over two nodes.
    async fn ringing(cluster: &Cluster) -> Self {
        let caller = cluster.phone(0, &unique("ana")).await;
        let (callee, call) = (cluster.phone(1, &unique("bo")).await, unique_call());
        caller.rings(&call, &callee).await;
        Self { caller, callee, call }
    }

    async fn active(cluster: &Cluster) -> Self {
        let pair = Self::ringing(cluster).await;
        pair.callee.accept(&pair.call).await;
        pair.caller.expect("call:accepted").await;
        pair
    }

    fn body(&self) -> Value {
        json!({"callId": self.call, "callerId": self.caller.user, "receiverId": self.callee.user})
    }
}

/// Each word of Laravel about a call of its own, said at `node` with so much patience while the store stands still.
async fn words_said_to_a_silent_store(node: usize, patience: Duration, answered: &[Option<u16>]) {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let [accepted, cancelled, rejected] =
        [Pair::ringing(&cluster).await, Pair::ringing(&cluster).await, Pair::ringing(&cluster).await];
    let ended = Pair::active(&cluster).await;
    redis.signal("STOP");
    let said = [
        ("call-accepted", accepted.body()),
        ("call-cancelled", cancelled.body()),
        ("call-rejected", rejected.body()),
        ("call-ended", json!({"callId": ended.call, "endedBy": ended.caller.user})),
    ];
    let answers = join_all(said.into_iter().map(|(word, body)| {
        let cluster = &cluster;
        async move { post_impatiently(cluster, node, &format!("/api/emit/{word}"), body, patience).await }
    }));
    let answers = answers.await;
    assert!(answers.iter().all(|answer| answered.contains(answer)), "{answers:?}");
    redis.signal("CONT");
    becomes(&cluster, &accepted.call, "active", None).await;
    accepted.caller.expect("call:accepted").await;
    becomes(&cluster, &cancelled.call, "ended", Some("cancelled")).await;
    cancelled.callee.expect("call:cancelled").await;
    becomes(&cluster, &rejected.call, "ended", Some("rejected")).await;
    rejected.caller.expect("call:rejected").await;
    becomes(&cluster, &ended.call, "ended", Some("hung_up")).await;
    ended.callee.expect("call:ended").await;
    // A node that has just had a store that was silent may say once more that it is.
    until("it is over", SOON, async || {
        let answer = accepted.caller.end(&accepted.call).await;
        assert!(answer["success"] == true || answer["code"] == "unavailable", "{answer}");
        answer["success"] == true
    })
    .await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_outlives_an_impatient_client() {
    // A store that is known to fail is not waited for.
    words_said_to_a_silent_store(0, Duration::from_millis(1500), &[None, Some(503)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_was_answered_503_is_obeyed_later() {
    words_said_to_a_silent_store(0, Duration::from_secs(20), &[Some(503)]).await;
}

/// A store that forgets no user before it may.
struct HeldTokens {
    store: Arc<dyn TokenStore>,
    is_asked: watch::Sender<bool>,
    may: watch::Sender<bool>,
}

#[async_trait]
impl TokenStore for HeldTokens {
    async fn get(&self, token: &TokenHash) -> Result<Option<KnownToken>, StoreError> {
        self.store.get(token).await
    }

    async fn put(&self, token: &TokenHash, known: &KnownToken, ttl: Duration) -> Result<(), StoreError> {
        self.store.put(token, known, ttl).await
    }

    async fn touch(&self, tokens: &[TokenHash], ttl: Duration) -> Result<(), StoreError> {
        self.store.touch(tokens, ttl).await
    }

    async fn forget(&self, token: &TokenHash) -> Result<(), StoreError> {
        self.store.forget(token).await
    }

    async fn forget_user(&self, user: &UserId) -> Result<(), StoreError> {
        self.is_asked.send_replace(true);
        let _ = self.may.subscribe().wait_for(|may| *may).await;
        self.store.forget_user(user).await
    }
}

/// Laravel has a user sent away and breaks the connection off before it is answered, in the middle of that: his tokens are
/// forgotten, and he goes from every node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_sent_away_though_an_impatient_client_asked_for_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let laravel = Laravel::start().await;
    let clock = Clock::system();
    let memory = Shared::memory(&config(&[]), &clock);
    let (is_asked, may) = (watch::Sender::new(false), watch::Sender::new(false));
    let tokens = Arc::new(HeldTokens { store: Arc::clone(&memory.tokens), is_asked, may });
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let shared = Shared { tokens: tokens.clone(), ..memory.clone() };
        let mut config = config(&[]);
        config.auth = Auth::Laravel { url: format!("http://{}", laravel.address) };
        nodes.push(App::start_with(config, clock.clone(), shared, TaskTracker::new()).await.expect("a node"));
    }
    let user = unique("ana");
    let here = Phone::connect(nodes[0].public, Profile::of(&user)).await;
    let there = Phone::connect(nodes[1].public, Profile::of(&user)).await;
    laravel.revoke(&user);
    let mut client = TcpStream::connect(nodes[0].public).await.expect("a connection");
    let head = format!("POST /api/users/{user}/disconnect HTTP/1.1\r\nhost: n\r\nx-internal-secret: {SECRET}");
    client.write_all(format!("{head}\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes()).await.expect("it is sent");
    let asked = async { drop(tokens.is_asked.subscribe().wait_for(|is_asked| *is_asked).await) };
    tokio::time::timeout(SOON, asked).await.expect("the node begins to forget him");
    client.shutdown().await.expect("it is broken off");
    let mut answer = Vec::new();
    // The node ends its side when it has seen that.
    let ended = tokio::time::timeout(SOON, client.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    tokens.may.send_replace(true);
    for phone in [&here, &there] {
        assert_eq!(phone.expect_fate().await, "disconnect");
    }
    for node in &nodes {
        let refused = Phone::open(node.public, Profile::of(&user)).await;
        assert_eq!(refused.expect_fate().await, "connect_error: Invalid token", "his token is remembered");
    }
}

/// Fails before (the other side is told nothing): who comes back, hangs up and closes the app has left before its node has
/// registered it, and what it said waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_outlives_a_socket_that_was_not_registered_yet() {
    let redis = Redis::start();
    let slow = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[format!("redis://{}", slow.address), redis.url()]).await;
    let pair = Pair::active(&cluster).await;
    slow.delay(Duration::from_millis(700));
    let again = Phone::open(cluster.address(0), Profile::of(&pair.caller.user)).await;
    again.is_let_in().await;
    again.emit("call:end", json!({"callId": pair.call}));
    again.all_said_arrives().await;
    again.vanish();
    pair.callee.expect_within("call:ended", SOON).await;
    slow.delay(Duration::ZERO);
    cluster.close().await;
}

/// A hang-up is dated by when it was said: whoever waits for the store before it costs nobody minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_dated_by_when_it_was_said() {
    let redis = Redis::start();
    let slow = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[format!("redis://{}", slow.address), redis.url()]).await;
    let over_a_socket = Pair::active(&cluster).await;
    let over_http = Pair::active(&cluster).await;
    let ended = async |pair: &Pair| {
        let call = cluster.shared.calls.load(&CallId::parse(&pair.call).unwrap()).await.unwrap().unwrap();
        call.end().expect("it is over").at
    };
    slow.delay(Duration::from_millis(300));
    for _ in 0..4 {
        over_a_socket.caller.emit("call:message", json!({"callId": over_a_socket.call, "data": {"a": 1}}));
    }
    over_a_socket.caller.emit("call:end", json!({"callId": over_a_socket.call}));
    let body = json!({"callId": over_http.call, "endedBy": over_http.callee.user});
    let (said, patience) = (cluster.clock.now(), Duration::from_secs(30));
    post_impatiently(&cluster, 0, "/api/emit/call-ended", body, patience).await;
    over_a_socket.callee.expect_within("call:ended", 2 * SOON).await;
    slow.delay(Duration::ZERO);
    becomes(&cluster, &over_http.call, "ended", Some("hung_up")).await;
    for pair in [&over_a_socket, &over_http] {
        let late = ended(pair).await.since(said);
        assert!(late < Duration::from_secs(1), "dated {late:?} late");
    }
    cluster.close().await;
}

/// A store that answers slower than Laravel waits is not waited for either: the words were answered before they were
/// obeyed, and come in their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_is_answered_while_the_store_is_still_waited_for() {
    let redis = Redis::start();
    let slow = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[format!("redis://{}", slow.address), redis.url()]).await;
    let pair = Pair::ringing(&cluster).await;
    // A reply takes longer than Laravel waits, and not as long as the store is given.
    slow.delay(Duration::from_millis(700));
    let patience = Duration::from_secs(30);
    let accepted = post_impatiently(&cluster, 0, "/api/emit/call-accepted", pair.body(), patience).await;
    let ended = json!({"callId": pair.call, "endedBy": pair.callee.user});
    let ended = post_impatiently(&cluster, 0, "/api/emit/call-ended", ended, patience).await;
    assert_eq!((accepted, ended), (Some(503), Some(503)));
    pair.caller.expect_within("call:accepted", 2 * SOON).await;
    slow.delay(Duration::ZERO);
    pair.caller.expect_within("call:ended", 2 * SOON).await;
    becomes(&cluster, &pair.call, "ended", Some("hung_up")).await;
    cluster.close().await;
}

/// The same at a node that does not hold the calls: nothing it remembers helps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_at_a_node_that_does_not_hold_the_call_waits_as_well() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url(), redis.url()]).await;
    let (cancelled, ended) = (Pair::ringing(&cluster).await, Pair::active(&cluster).await);
    redis.signal("STOP");
    let (one, two) = tokio::join!(
        cluster.post(2, "/api/emit/call-cancelled", cancelled.body()),
        cluster.post(2, "/api/emit/call-ended", json!({"callId": ended.call})),
    );
    assert_eq!((one.0, two.0), (503, 503), "{one:?} {two:?}");
    redis.signal("CONT");
    cancelled.callee.expect_within("call:cancelled", SOON).await;
    ended.callee.expect_within("call:ended", SOON).await;
    ended.caller.expect_within("call:ended", SOON).await;
    becomes(&cluster, &ended.call, "ended", Some("hung_up")).await;
    cluster.close().await;
}

/// Fails before (rings end as unanswered): what was said before a ring's time was over counts, though the store was away from all
/// nodes until after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accept_said_in_time_comes_before_the_deadline() {
    let redis = Redis::start();
    let (near, far) = (Proxy::before(redis.port).await, Proxy::before(redis.port).await);
    let urls = [&near, &far].map(|proxy| format!("redis://{}", proxy.address));
    let ring = Duration::from_secs(6);
    let cluster = Cluster::on_tuned(&urls, |config| config.policy.ring_timeout = ring).await;
    let pairs = join_all((0..12).map(|_| Pair::ringing(&cluster))).await;
    let rung = Instant::now();
    near.cut();
    far.cut();
    for answer in join_all(pairs.iter().map(|pair| pair.callee.accept(&pair.call))).await {
        assert_eq!(answer["code"], "unavailable", "{answer}");
    }
    while rung.elapsed() < ring {
        tokio::time::sleep(Duration::from_millis(50)).await; // the deadlines pass
    }
    near.mend();
    far.mend();
    for Pair { caller, callee, call } in &pairs {
        caller.expect_within("call:accepted", SOON).await;
        assert_eq!(cluster.state(call).await, ("active", None));
        assert_eq!(caller.end(call).await["success"], true);
        callee.expect("call:ended").await;
    }
    // A ring that nobody accepts ends as ever.
    let Pair { caller, callee, .. } = Pair::ringing(&cluster).await;
    caller.expect_within("call:timeout", SOON).await;
    callee.expect("call:cancelled").await;
    for Pair { caller, callee, .. } in &pairs {
        caller.assert_nothing_more().await;
        callee.assert_nothing_more().await;
    }
    cluster.close().await;
}

/// A store that came back empty knows no call until the nodes have put theirs back: a word said meanwhile waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_is_not_judged_on_a_store_that_is_not_put_back() {
    let mut redis = Redis::start();
    let (near, far) = (Proxy::before(redis.port).await, Proxy::before(redis.port).await);
    let url = |proxy: &Proxy| format!("redis://{}", proxy.address);
    // The third holds no call.
    let cluster = Cluster::on(&[url(&near), url(&near), url(&far)]).await;
    let (accepted, ended) = (Pair::ringing(&cluster).await, Pair::active(&cluster).await);
    near.cut();
    redis.restart();
    let (one, two) = tokio::join!(
        cluster.post(2, "/api/emit/call-accepted", accepted.body()),
        cluster.post(2, "/api/emit/call-ended", json!({"callId": ended.call, "endedBy": ended.callee.user})),
    );
    assert_eq!((one.0, two.0), (503, 503), "{one:?} {two:?}");
    near.mend();
    accepted.caller.expect_within("call:accepted", 2 * SOON).await;
    ended.caller.expect_within("call:ended", 2 * SOON).await;
    accepted.caller.end(&accepted.call).await;
    accepted.callee.expect("call:ended").await;
    cluster.close().await;
}

/// A hang-up waits for the store in a node that is told to stop: it is done before the node leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_finishes_what_was_said_to_it() {
    let redis = Redis::start();
    let mut cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let Pair { caller, callee, call } = Pair::ringing(&cluster).await;
    redis.signal("STOP");
    let refused = caller.cancel(&call).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    let node = cluster.nodes.remove(0);
    drop(caller);
    let back = async {
        tokio::time::sleep(Duration::from_millis(500)).await; // the trouble itself
        redis.signal("CONT");
    };
    tokio::join!(node.stop(), back);
    assert_eq!(callee.expect_within("call:cancelled", SOON).await["reason"], "Caller ended call");
    cluster.close().await;
}

/// Who was refused has no call: one that was written all the same, unknown to its writer, is withdrawn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_initiate_that_was_refused_leaves_no_call() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let cleo = cluster.phone(1, &unique("cleo")).await;
    redis.signal("STOP");
    let refused = ana.call(&unique_call(), &bo.user).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    redis.signal("CONT");
    let started = Instant::now();
    loop {
        let call = unique_call();
        let answer = cleo.call(&call, &bo.user).await;
        if answer["success"] == true {
            cleo.cancel(&call).await;
            break;
        }
        assert!(started.elapsed() < SOON, "bo is still busy: {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await; // asked, not waited for
    }
    cluster.assert_free(&[&ana.user, &bo.user]).await;
    cluster.close().await;
}

/// The same where he asks again with the same id, as he is told to, and is refused once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_initiate_that_was_refused_twice_leaves_no_call() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[redis.url(), format!("redis://{}", proxy.address)]).await;
    let (ana, bo) = (cluster.phone(1, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    // The script is known to the store from then on.
    let first = unique_call();
    ana.rings(&first, &bo).await;
    ana.cancel(&first).await;
    bo.expect("call:cancelled").await;
    let id = unique_call();
    proxy.cut_at_reply_of("\"trying\"");
    for attempt in ["first", "second"] {
        let refused = ana.call(&id, &bo.user).await;
        assert_eq!(refused["code"], "unavailable", "the {attempt}: {refused}");
    }
    assert!(proxy.has_struck(), "nothing was written");
    becomes(&cluster, &id, "ringing", None).await;
    proxy.mend();
    let cancelled = bo.expect_within("call:cancelled", SOON).await;
    assert_eq!(cancelled["callId"], *id);
    becomes(&cluster, &id, "ended", Some("cancelled")).await;
    cluster.assert_free(&[&ana.user, &bo.user]).await;
    cluster.close().await;
}

/// A store that stood still carries out what lay before it: not a dial that nobody waits for any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_was_given_up_begins_no_call() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let (cleo, first) = (cluster.phone(0, &unique("cleo")).await, unique_call());
    // The node knows the store's time from the answer.
    cleo.rings(&first, &bo).await;
    cleo.cancel(&first).await;
    bo.expect("call:cancelled").await;
    redis.signal("STOP");
    let call = unique_call();
    let refused = ana.call(&call, &bo.user).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    tokio::time::sleep(Duration::from_secs(1)).await; // the trouble itself
    redis.signal("CONT");
    let second = unique_call();
    cleo.rings(&second, &bo).await;
    cleo.cancel(&second).await;
    bo.expect("call:cancelled").await;
    assert!(!redis.command(&["KEYS", "*"]).contains(&format!("call:{}", call.trim_start_matches("CALL_"))));
    for phone in [&ana, &bo, &cleo] {
        phone.assert_nothing_more().await;
    }
    cluster.close().await;
}

/// What can't be decided yet keeps only the words of its own call waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_about_one_call_waits_for_no_other() {
    let mut redis = Redis::durable();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let pair = Pair::ringing(&cluster).await;
    redis.restart();
    // Nobody knows this one; for a lease that may be because it is not put back.
    let unknown = json!({"callId": unique_call(), "endedBy": pair.caller.user});
    let (status, _) = cluster.post(0, "/api/emit/call-ended", unknown).await;
    assert_eq!(status, 503);
    redis.signal("STOP");
    let body = json!({"callId": pair.call, "endedBy": pair.caller.user});
    let (status, _) = cluster.post(0, "/api/emit/call-ended", body).await;
    assert_eq!(status, 503);
    redis.signal("CONT");
    // From now on: how long the store took to say nothing is not what is asked here.
    let back = Instant::now();
    becomes(&cluster, &pair.call, "ended", Some("hung_up")).await;
    assert!(back.elapsed() < Duration::from_secs(8), "behind a word that waits for a lease: {:?}", back.elapsed());
    cluster.close().await;
}

/// Only a dial that rings ends the dialer's own call.
#[tokio::test]
async fn dialling_somebody_busy_costs_no_call() {
    let cluster = Cluster::start(Backend::Memory, 2).await;
    let (own, others) = (Pair::active(&cluster).await, Pair::active(&cluster).await);
    let busy = own.caller.call(&unique_call(), &others.callee.user).await;
    assert_eq!(busy["busy"], true, "{busy}");
    own.caller.expect("call:busy").await;
    assert_eq!(cluster.state(&own.call).await.0, "active");
    own.callee.assert_nothing_more().await;
    own.caller.end(&own.call).await;
    others.caller.end(&others.call).await;
    cluster.close().await;
}

/// What a renewal of the lease took upon it does not end with a request that was given up: after a loss every phone is
/// registered again, though strangers ask for sessions of nodes that nobody knows, and hang up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_hang_up_keep_no_phone_from_being_registered() {
    let mut redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let phones = join_all((0..200).map(|place| {
        let cluster = &cluster;
        async move { cluster.phone(place % 2, &unique("idle")).await }
    }))
    .await;
    redis.restart();
    let strangers = async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        for tag in 0..150 {
            let sid = format!("AAAAAAAAAAAAAAAA.{tag:010x}");
            let url = format!("http://{}/socket.io/?EIO=4&transport=polling&sid={sid}", cluster.address(tag % 2));
            // They hang up while the node looks for that other node.
            let _ = client.get(url).timeout(Duration::from_millis(40 + (tag as u64 * 7) % 60)).send().await;
        }
    };
    strangers.await;
    let started = Instant::now();
    loop {
        let known = cluster.shared.sessions.online_count().await;
        if known.as_ref().is_ok_and(|known| *known == 200) {
            break;
        }
        assert!(started.elapsed() < SOON, "{known:?} of 200 phones are registered");
        tokio::time::sleep(Duration::from_millis(100)).await; // asked, not waited for
    }
    assert!(phones.iter().all(Phone::keep_connected), "a phone was disconnected");
    cluster.close().await;
}
