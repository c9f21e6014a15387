pub mod cluster;
pub mod collector;
pub mod laravel;
pub mod phone;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod wanderer;

pub use cluster::{Backend, Cluster};
pub use phone::{Phone, Profile};

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
