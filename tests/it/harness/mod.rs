pub mod cluster;
pub mod collector;
pub mod counting;
pub mod laravel;
pub mod phone;
pub mod poller;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod wanderer;

use std::time::{Duration, Instant};

pub use cluster::{Backend, Cluster};
pub use phone::{Phone, Profile};

/// Asks again and again; not a time that is waited for.
pub async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(50)).await; // asked, not waited for
    }
}

/// Runs a story once on memory and once on Redis.
#[macro_export]
macro_rules! on_each_backend {
    ($($(#[$meta:meta])* async fn $name:ident($backend:ident: Backend) $body:block)*) => {
        $(mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn story($backend: Backend) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_memory() {
                story(Backend::Memory).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_redis() {
                story(Backend::Redis).await;
            }
        })*
    };
}
