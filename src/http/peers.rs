use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const PATIENCE: Duration = Duration::from_secs(1);

/// Makes requests of other nodes.
pub(super) fn client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(PATIENCE));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Whether any of these probes (addresses of `/ready`) says that its node is ready.
pub async fn any_ready(probes: Vec<String>) -> bool {
    let client = client();
    let mut answers: FuturesUnordered<_> = probes
        .into_iter()
        .map(|probe| {
            let client = client.clone();
            async move {
                let request = Request::get(probe).body(Body::empty()).ok()?;
                let answer = tokio::time::timeout(PATIENCE, client.request(request)).await.ok()?.ok()?;
                (answer.status() == StatusCode::OK).then_some(())
            }
        })
        .collect();
    while let Some(answer) = answers.next().await {
        if answer.is_some() {
            return true;
        }
    }
    false
}
