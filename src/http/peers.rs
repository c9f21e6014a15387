use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::admin::LONGEST;
use super::descriptors::{CountingConnector, Descriptors};

const PATIENCE: Duration = Duration::from_secs(1);
/// Shorter than a node keeps an idle connection: none ends under a request.
const IDLE: Duration = Duration::from_secs(30);
/// Connections to one node that wait for a request; further ones end with theirs.
const IDLE_AT_MOST: usize = 64;

/// Makes requests of other nodes.
pub(super) fn client() -> Client<HttpConnector, Body> {
    builder(IDLE_AT_MOST).build(connector())
}

/// The same for what is passed on, with a descriptor for each connection, also while it is idle: fewer are where there are few.
pub(super) fn counting_client(descriptors: Arc<Descriptors>) -> Client<CountingConnector, Body> {
    let idle = (descriptors.at_most() / 256).clamp(1, IDLE_AT_MOST);
    builder(idle).build(CountingConnector { connector: connector(), descriptors })
}

fn builder(idle_of_a_node: usize) -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    // Without a timer an idle connection is noticed when the next request is made.
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(idle_of_a_node);
    builder
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(PATIENCE));
    connector.set_nodelay(true);
    connector
}

/// Whether any of these nodes (addresses of `/ready`) says that the store took a write of it within this time. They are
/// asked for the fact: whether they are ready depends on what they hear of others.
pub(super) async fn any_wrote(client: &Client<HttpConnector, Body>, probes: Vec<String>, within: Duration) -> bool {
    let mut answers: FuturesUnordered<_> = probes.iter().map(|probe| wrote(client, probe, within)).collect();
    while let Some(wrote) = answers.next().await {
        if wrote {
            return true;
        }
    }
    false
}

async fn wrote(client: &Client<HttpConnector, Body>, probe: &str, within: Duration) -> bool {
    let base = probe.strip_suffix("/ready").unwrap_or(probe);
    match ask(client, format!("{base}/lease?within={}", within.as_millis().min(LONGEST.into()))).await {
        // An older node, which is ready while it can read.
        Some(StatusCode::NOT_FOUND) => ask(client, probe.to_owned()).await == Some(StatusCode::OK),
        status => status == Some(StatusCode::OK),
    }
}

async fn ask(client: &Client<HttpConnector, Body>, url: String) -> Option<StatusCode> {
    let request = Request::get(url).body(Body::empty()).ok()?;
    Some(tokio::time::timeout(PATIENCE, client.request(request)).await.ok()?.ok()?.status())
}
