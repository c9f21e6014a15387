//! Who may connect, and what he is told: backend trouble is never the client's fault.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use onlycare_signaling::app::App;
use serde_json::json;

use crate::harness::cluster::config;
use crate::harness::laravel::{Laravel, Mood};
use crate::harness::phone::{unique, unique_call};
use crate::harness::{Phone, Profile};

async fn node(laravel: &Laravel, suffix: &str) -> App {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{}{suffix}", laravel.address);
    let mut config = config(&[
        ("AUTH", "laravel"),
        ("LARAVEL_API_URL", &url),
        ("AUTH_HOLD_SECS", "3"),
        ("LARAVEL_TIMEOUT_MS", "500"),
    ]);
    config.auth_times.hold = Duration::from_secs(2);
    App::start(config).await.expect("a node")
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
    let laravel = Laravel::start().await;
    let node = node(&laravel, "").await;
    let moods = [Mood::TooManyRequests, Mood::Html, Mood::Slow, Mood::Unrelated401, Mood::Broken, Mood::Redirect];
    for mood in moods {
        laravel.mood(mood);
        let phone = Phone::open(node.public, Profile::of(&unique("ana"))).await;
        assert_eq!(phone.expect_fate().await, "closed", "{mood:?}");
    }
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

/// Beyond the bound the oldest session of the same device ends, with a disconnect packet; other devices stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_device_are_bounded() {
    let cluster = crate::harness::Cluster::tuned(crate::harness::Backend::Redis, 2, |config| {
        config.policy.max_sessions_per_user = 3
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
