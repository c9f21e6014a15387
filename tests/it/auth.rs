//! Who may connect, and what he is told: backend trouble is never the client's fault.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use onlycare_signaling::app::App;
use onlycare_signaling::call::{CallId, UserId};
use onlycare_signaling::clock::Clock;
use onlycare_signaling::laravel::{Client, Confirmation, LaravelVerifier, Verified, VerifierSettings};
use onlycare_signaling::store::memory::MemoryStore;
use serde_json::json;

use crate::harness::cluster::config;
use crate::harness::laravel::{Laravel, Mood, Wrapping};
use crate::harness::phone::{unique, unique_call};
use crate::harness::redis::shared;
use crate::harness::{Phone, Profile};
use crate::processes::{Node, prefix};

async fn node(laravel: &Laravel, suffix: &str) -> App {
    node_with(laravel, suffix, &[]).await
}

async fn node_with(laravel: &Laravel, suffix: &str, more: &[(&str, &str)]) -> App {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{}{suffix}", laravel.address);
    let mut pairs = vec![("AUTH", "laravel"), ("LARAVEL_API_URL", &*url), ("LARAVEL_TIMEOUT_MS", "500")];
    pairs.extend(more);
    let mut config = config(&pairs);
    config.auth_times.hold = Duration::from_secs(2);
    App::start(config).await.expect("a node")
}

/// What verifies tokens at a Laravel and waits for its answer for `hold`; what it says of revoked ones goes to the other half.
fn verifier(laravel: &Laravel, hold: Duration) -> (LaravelVerifier, impl Sized + use<>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (clock, minute) = (Clock::system(), Duration::from_secs(60));
    let settings =
        VerifierSettings { fresh: minute, stale: minute, hold, checks_per_second: 1, new_tokens_per_second: 100 };
    let client = Client::new(&format!("http://{}", laravel.address), Duration::from_secs(5), clock.clone()).unwrap();
    let tokens = Arc::new(MemoryStore::new(clock.clone(), config(&[]).retention));
    LaravelVerifier::new(Arc::new(client), None, settings, tokens, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn laravel_says_who_a_phone_is() {
    let laravel = Laravel::start().await;
    for suffix in ["", "/", "/api/v1", "/api/v1/"] {
        let node = node(&laravel, suffix).await;
        let (ana, bo) = (unique("ana"), unique("bo"));
        let doubled = Profile { user: format!("USR_{ana}"), ..Profile::of(&ana) };
        let ana = Phone::connect(node.public, doubled).await;
        let bo = Phone::connect(node.public, Profile::of(&bo)).await;
        let id = unique_call();
        assert_eq!(ana.call(&id, &bo.user).await["success"], true);
        let incoming = bo.expect("call:incoming").await;
        assert!(incoming["callerName"].as_str().unwrap().starts_with("Name of USR_ana"), "{incoming}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fixed_texts_of_a_refusal() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, "").await;
    let refused = async |auth| Phone::open_with(node.public, "USR_x", auth, false).await.expect_fate().await;
    for missing in [
        json!({}),
        json!({"token": "t"}),
        json!({"userId": "USR_1"}),
        json!({"token": "", "userId": "USR_1"}),
        json!({"token": 5, "userId": "USR_1"}),
        json!({"token": null, "userId": null}),
        json!([]),
        json!("token"),
    ] {
        assert_eq!(refused(missing.clone()).await, "connect_error: Authentication required", "{missing}");
    }
    for wrong in [json!({"token": "forged", "userId": "USR_1"}), json!({"token": "token-of-USR_2", "userId": "USR_1"})]
    {
        assert_eq!(refused(wrong.clone()).await, "connect_error: Invalid token", "{wrong}");
    }
    assert_eq!(laravel.asked(), 2);
}

/// Laravel throttled, and its clients were told "Invalid token" and gone for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backend_trouble_closes_the_transport_and_burns_nobody() {
    let moods = [Mood::TooManyRequests, Mood::Html, Mood::Slow, Mood::Unrelated401, Mood::Broken, Mood::Redirect];
    join_all(moods.map(|mood| async move {
        let laravel = Laravel::start().await;
        let node = node(&laravel, "").await;
        laravel.mood(mood);
        let phone = Phone::open(node.public, Profile::of(&unique("ana"))).await;
        assert_eq!(phone.expect_fate().await, "closed", "{mood:?}");
    }))
    .await;
}

/// Whatever stands in for Laravel's answer, with whatever status, is one failure; after five it is left in peace. What
/// comes of tokens that were never seen does not count: after three their address waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_failures_of_any_kind_open_the_breaker() {
    let (ana, bo) = (UserId::parse("USR_ana").unwrap(), UserId::parse("USR_bo").unwrap());
    let (call, from) = (CallId::parse("1").unwrap(), IpAddr::from([198, 51, 100, 1]));
    for mood in [Mood::TooManyRequests, Mood::Html, Mood::Unrelated401, Mood::Broken, Mood::Redirect] {
        let laravel = Laravel::start().await;
        let (verifier, _revoked) = verifier(&laravel, Duration::ZERO);
        laravel.mood(mood);
        for attempt in 0..10 {
            assert_eq!(verifier.verify(&format!("token-{attempt}"), &ana, from).await, Verified::Unavailable);
            assert_eq!(verifier.confirm("token-of-USR_ana", &call, &ana, &bo).await, Confirmation::Unavailable);
        }
        let asked = (laravel.asked(), laravel.rows_asked());
        assert_eq!(asked, (3, 5), "{mood:?}");
    }
}

/// A user who asks again and again what Laravel fails at, say about ids that he made up, waits for himself: it is not left in
/// peace by everybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_what_laravel_fails_at_closes_it_to_nobody_else() {
    let laravel = Laravel::start().await;
    let (verifier, _revoked) = verifier(&laravel, Duration::ZERO);
    let [ana, bo, cleo] = ["USR_ana", "USR_bo", "USR_cleo"].map(|user| UserId::parse(user).unwrap());
    let call = CallId::parse("1").unwrap();
    laravel.mood(Mood::Broken);
    for _ in 0..20 {
        assert_eq!(verifier.confirm("token-of-USR_ana", &call, &ana, &bo).await, Confirmation::Unavailable);
    }
    assert_eq!(laravel.rows_asked(), 5, "then she waits");
    laravel.mood(Mood::Well);
    laravel.row_of_all(json!({"status": "CONNECTING", "caller_id": "USR_cleo", "receiver_id": "USR_bo"}));
    let confirmed = verifier.confirm("token-of-USR_cleo", &call, &cleo, &bo).await;
    assert_ne!(confirmed, Confirmation::Unavailable, "nobody else waits");
    // Where it fails several, it is Laravel.
    laravel.mood(Mood::Broken);
    let asked = laravel.rows_asked();
    for number in 0..10 {
        let token = format!("token-of-USR_{number}");
        assert_eq!(verifier.confirm(&token, &call, &cleo, &bo).await, Confirmation::Unavailable);
    }
    assert_eq!(laravel.rows_asked() - asked, 5, "then it is left in peace");
}

/// A user whose limit at Laravel is used up is left alone, with all his tokens, for as long as it says; nobody else is.
/// Many such users are Laravel's own trouble.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_user_slows_nobody_else_down() {
    let laravel = Laravel::start().await;
    let (verifier, _revoked) = verifier(&laravel, Duration::ZERO);
    laravel.row_of_all(json!({"status": "CONNECTING"}));
    let users: Vec<UserId> = (0..8).map(|place| UserId::parse(&format!("USR_{place}")).unwrap()).collect();
    let token = |user: &UserId, which: usize| format!("token-of-{user}#{which}");
    for (place, user) in users.iter().enumerate() {
        for which in 0..8 {
            let from = IpAddr::from([198, 51, 100, 8 * u8::try_from(place).unwrap() + which]);
            let verified = verifier.verify(&token(user, which.into()), user, from).await;
            assert!(matches!(verified, Verified::Valid(_)), "{user} {which}: {verified:?}");
        }
    }
    let (mallory, others) = users.split_first().unwrap();
    let (call, callee) = (CallId::parse("1").unwrap(), UserId::parse("USR_bo").unwrap());
    let confirm = async |user: &UserId, which| verifier.confirm(&token(user, which), &call, user, &callee).await;
    laravel.throttle(mallory.as_str(), 60);
    for which in (0..8).cycle().take(24) {
        assert_eq!(confirm(mallory, which).await, Confirmation::Unavailable);
    }
    assert_eq!(laravel.rows_asked(), 1, "he was told to wait, and which token he takes is no matter");
    for user in others {
        assert_eq!(confirm(user, 0).await, Confirmation::Confirmed);
    }
    for user in others {
        laravel.throttle(user.as_str(), 60);
        assert_eq!(confirm(user, 1).await, Confirmation::Unavailable);
    }
    assert_eq!(laravel.rows_asked(), 1 + others.len() + 5, "five in a row are enough");
    assert_eq!(confirm(&UserId::parse("USR_zoe").unwrap(), 0).await, Confirmation::Unavailable, "all wait");
}

/// Fails before (an answer that is wrapped up): a byte order mark, or compression that nobody asked for, held all phones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_read_however_it_is_wrapped() {
    for wrapping in [Wrapping::ByteOrderMark, Wrapping::Gzip, Wrapping::Deflate] {
        let laravel = Laravel::start().await;
        laravel.wrap(wrapping);
        let node = node_with(&laravel, "", &[("INITIATE_CHECK", "enforce")]).await;
        let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
        let bo = Phone::connect(node.public, Profile::of(&unique("bo"))).await;
        let forged = json!({"token": "forged", "userId": "USR_1"});
        let refused = Phone::open_with(node.public, "USR_x", forged, false).await;
        assert_eq!(refused.expect_fate().await, "connect_error: Invalid token", "{wrapping:?}");
        let (known, other) = (unique_call(), unique_call());
        for (id, receiver) in [(&known, bo.user.as_str()), (&other, "USR_cleo")] {
            laravel.row(id, json!({"caller_id": ana.user, "receiver_id": receiver, "status": "CONNECTING"}));
        }
        ana.rings(&known, &bo).await;
        ana.cancel(&known).await;
        bo.expect("call:cancelled").await;
        assert_eq!(ana.call(&other, &bo.user).await["success"], false, "{wrapping:?}: rows are read too");
    }
}

/// What unpacks to more than any answer is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_bounded_after_it_is_unpacked() {
    let laravel = Laravel::start().await;
    let node = node_with(&laravel, "", &[("LARAVEL_TIMEOUT_MS", "5000")]).await;
    laravel.wrap(Wrapping::Bomb);
    let phone = Phone::open(node.public, Profile::of(&unique("ana"))).await;
    assert_eq!(phone.expect_fate().await, "closed");
}

/// Fails before: a backend that kept the framework's own words for a 401 was taken for one in trouble.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_frameworks_own_refusal_is_one() {
    let laravel = Laravel::start().await;
    laravel.mood(Mood::FrameworkWords);
    // Its address is found by these words, too.
    let node = node(&laravel, "/api/v1").await;
    let forged = json!({"token": "forged", "userId": "USR_1"});
    let refused = Phone::open_with(node.public, "USR_x", forged, false).await;
    assert_eq!(refused.expect_fate().await, "connect_error: Invalid token");
    Phone::open(node.public, Profile::of(&unique("ana"))).await.expect("session:ready").await;
}

/// Fails before: where no Laravel was found the log did not say what was there, nor why a request failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_what_answered_in_laravels_place() {
    let laravel = Laravel::start().await;
    let says = async |url: &str, what: &[&str]| {
        let variables = [("AUTH", "laravel"), ("LARAVEL_API_URL", url), ("LARAVEL_API_SECRET", "s3cret")];
        let node = Node::start(&prefix(), &variables);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what.iter().all(|what| node.log().contains(what)) {
            assert!(Instant::now() < deadline, "{what:?}: {}", node.log());
            tokio::time::sleep(Duration::from_millis(20)).await; // the log is read by a thread
        }
        assert!(!node.log().contains("hunter2"), "{}", node.log());
    };
    let url = format!("http://user:hunter2@{}", laravel.address);
    let seen = format!("http://{}/api/v1/users/me", laravel.address);
    laravel.mood(Mood::Html);
    says(&url, &[&seen, "status 200", "text/html", "24 bytes", "<html>maintenance</html>"]).await;
    laravel.mood(Mood::Redirect);
    says(&url, &[&seen, "status 302", "location https://elsewhere.test/"]).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    says(&format!("http://{closed}"), &["laravel can't be reached", "Connection refused"]).await;
}

/// Fails before (one queue for everything): the wait for a place had no end, whatever the hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_a_place_is_part_of_the_hold() {
    let laravel = Laravel::start().await;
    laravel.pause_tokens(Duration::from_secs(3));
    let (verifier, _revoked) = verifier(&laravel, Duration::from_secs(1));
    let started = Instant::now();
    let verified = join_all((0..64).map(|place| {
        let verifier = &verifier;
        async move {
            let user = UserId::parse(&format!("USR_{place}")).unwrap();
            let from = IpAddr::from([198, 51, 100, place]);
            let verified = verifier.verify(&format!("token-of-{user}"), &user, from).await;
            (matches!(verified, Verified::Valid(_)), started.elapsed())
        }
    }))
    .await;
    let (answered, held): (Vec<_>, Vec<_>) = verified.into_iter().partition(|(valid, _)| *valid);
    assert_eq!((answered.len(), held.len()), (24, 40));
    assert!(held.iter().all(|(_, after)| *after < Duration::from_secs(2)), "{held:?}");
}

/// A handshake is held while Laravel recovers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_waits_for_laravel() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, "").await;
    laravel.mood(Mood::Broken);
    let phone = Phone::open(node.public, Profile::of(&unique("ana"))).await;
    while laravel.asked() == 0 {
        tokio::task::yield_now().await;
    }
    laravel.mood(Mood::Well);
    phone.expect("session:ready").await;
}

/// Many sockets with one token cost Laravel one request; a verified token costs none for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_is_asked_for_once() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, "").await;
    laravel.pause(Duration::from_millis(200));
    let ana = unique("ana");
    let phones = join_all((0..5).map(|_| Phone::connect(node.public, Profile::of(&ana)))).await;
    assert_eq!(laravel.asked(), 1, "coalesced");
    laravel.mood(Mood::Broken);
    let again = Phone::connect(node.public, Profile::of(&ana)).await;
    assert_eq!(laravel.asked(), 1, "cached");
    drop((phones, again));
}

/// Laravel is never in the way of an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_without_laravel() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, "").await;
    let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(node.public, Profile::of(&unique("bo"))).await;
    laravel.mood(Mood::Slow);
    let asked = laravel.asked();
    let started = Instant::now();
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    ana.end(&id).await;
    bo.expect("call:ended").await;
    assert!(started.elapsed() < Duration::from_millis(500), "took {:?}, a timeout of laravel", started.elapsed());
    assert_eq!(laravel.asked(), asked);
}

/// What one node verified the others need not ask for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verified_token_is_shared_between_nodes() {
    let laravel = Laravel::start().await;
    let (url, prefix) = (shared().url(), unique("prefix"));
    let redis = [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", prefix.as_str())];
    let (one, two) = (node_with(&laravel, "", &redis).await, node_with(&laravel, "", &redis).await);
    let ana = unique("ana");
    let first = Phone::connect(one.public, Profile::of(&ana)).await;
    laravel.mood(Mood::Broken);
    let second = Phone::connect(two.public, Profile::of(&ana)).await;
    assert_eq!(laravel.asked(), 1);
    let stolen = Profile { user: unique("eve"), ..Profile::of(&ana) };
    assert_eq!(Phone::open(two.public, stolen).await.expect_fate().await, "connect_error: Invalid token");
    drop((first, second));
}

/// A token that is no longer fresh is accepted at once and checked in the background, at a fixed rate; one that was
/// revoked ends its sessions, on every node, with a disconnect packet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_tokens_are_checked_in_the_background() {
    const RATE: f64 = 20.0;
    let laravel = Laravel::start().await;
    let (url, prefix) = (shared().url(), unique("prefix"));
    let redis = [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", prefix.as_str()), ("AUTH_CACHE_SECS", "0")];
    let (one, two) = (node_with(&laravel, "", &redis).await, node_with(&laravel, "", &redis).await);
    let users: Vec<String> = (0..30).map(|_| unique("ana")).collect();
    let first = join_all(users.iter().map(|user| Phone::connect(one.public, Profile::of(user)))).await;
    assert_eq!(laravel.asked(), 30);
    // Laravel is away: everybody gets in all the same, and it is left in peace.
    laravel.mood(Mood::Broken);
    let second = join_all(users.iter().map(|user| Phone::connect(two.public, Profile::of(user)))).await;
    tokio::time::sleep(Duration::from_secs(2)).await; // checks would be made in this time
    let asked = laravel.asked() - 30;
    assert!(asked <= 12, "the breaker let {asked} checks through in 2 s");
    // It is back: the checks run, and not all at once.
    laravel.revoke(&users[7]);
    laravel.mood(Mood::Well);
    let (started, before) = (Instant::now(), laravel.asked());
    assert_eq!(second[7].expect_fate().await, "disconnect");
    assert_eq!(first[7].expect_fate().await, "disconnect", "on the other node too");
    while laravel.asked() - before < 25 {
        tokio::time::sleep(Duration::from_millis(10)).await; // the checks run by themselves
    }
    let rate = (laravel.asked() - before) as f64 / started.elapsed().as_secs_f64();
    assert!(rate <= RATE * 1.3, "{rate} checks a second");
    assert_eq!(first.iter().chain(&second).filter(|phone| !phone.keep_connected()).count(), 2);
    let again = Phone::open(one.public, Profile::of(&users[7])).await;
    assert_eq!(again.expect_fate().await, "connect_error: Invalid token", "and it stays out");
}

/// `INITIATE_CHECK`: a forged call does not ring where that is enforced, and is only noted where it is observed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_initiate_can_be_compared_with_laravel() {
    let laravel = Laravel::start().await;
    for (check, forged_rings) in [("off", true), ("observe", true), ("enforce", false)] {
        let node = node_with(&laravel, "", &[("INITIATE_CHECK", check)]).await;
        let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
        let bo = Phone::connect(node.public, Profile::of(&unique("bo"))).await;
        let forged = unique_call();
        assert_eq!(ana.call(&forged, &bo.user).await["success"], forged_rings, "{check}");
        if forged_rings {
            bo.expect("call:incoming").await;
            ana.cancel(&forged).await;
            bo.expect("call:cancelled").await;
        }
        for (receiver, status, rings) in
            [(&bo.user, "CONNECTING", true), (&ana.user, "CONNECTING", forged_rings), (&bo.user, "ENDED", forged_rings)]
        {
            let id = unique_call();
            laravel.row(&id, json!({"caller_id": ana.user, "receiver_id": receiver, "status": status}));
            assert_eq!(ana.call(&id, &bo.user).await["success"], rings, "{check} {status}");
            if rings {
                bo.expect("call:incoming").await;
                ana.cancel(&id).await;
                bo.expect("call:cancelled").await;
            }
        }
        laravel.mood(Mood::Broken);
        assert_eq!(
            ana.call(&unique_call(), &bo.user).await["success"],
            true,
            "{check}: laravel's trouble stops no call"
        );
        laravel.mood(Mood::Well);
    }
}

/// Beyond the bound the oldest session of the same device ends, with a disconnect packet; other devices stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_device_are_bounded() {
    let cluster = crate::harness::Cluster::tuned(crate::harness::Backend::Redis, 2, |config| {
        config.policy.max_sessions_per_device = 3
    })
    .await;
    let user = unique("ana");
    let tablet = cluster.phone_with(0, Profile::of(&user).device("tablet")).await;
    let mut phones = Vec::new();
    for place in 0..5 {
        phones.push(cluster.phone(place % 2, &user).await);
    }
    for oldest in &phones[..2] {
        assert_eq!(oldest.expect_fate().await, "disconnect");
    }
    assert!(phones[2..].iter().all(Phone::keep_connected) && tablet.keep_connected());
}
