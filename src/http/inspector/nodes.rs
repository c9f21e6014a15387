//! How the nodes stand: what each says of itself, beside the lease that this one read last.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::Request;
use futures_util::future::join_all;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde::{Deserialize, Serialize};

use super::shared::Inspector;
use crate::signaling::NodeView;

const PATIENCE: Duration = Duration::from_secs(1);
/// Of a node's answer about itself.
const MOST_BYTES: usize = 16 * 1024;
/// Nodes that are asked; of others the lease is shown.
const ASKED: usize = 64;

/// What a node says of itself. Read from others, so every field may be absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Standing {
    /// ready, stopping, or cut_off: another node can use the store and this one can't
    state: String,
    version: String,
    sessions: u64,
    /// How long ago the store renewed its lease.
    store_ms: u64,
    /// How long ago it heard its own channel.
    bus_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    node: String,
    address: String,
    /// This one was asked.
    is_self: bool,
    /// Its lease has not run out.
    lives: bool,
    /// By its lease.
    sessions: u64,
    renewed_ms: u64,
    /// Absent where it does not say: it can't be reached, or its `INSPECTOR` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    says: Option<Standing>,
}

#[derive(Serialize)]
pub(super) struct Nodes {
    nodes: Vec<Shown>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn standing(inspector: &Inspector) -> Standing {
    let (signaling, readiness) = (&inspector.signaling, &inspector.readiness);
    let state = match (readiness.is_serving(), readiness.is_cut_off()) {
        (false, _) => "stopping",
        (true, true) => "cut_off",
        (true, false) => "ready",
    };
    Standing {
        state: state.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        sessions: signaling.operators.local_sessions() as u64,
        store_ms: millis(signaling.cluster.without_store_for()),
        bus_ms: millis(signaling.cluster.deaf_for()),
    }
}

pub(super) async fn own(State(inspector): State<Arc<Inspector>>) -> Json<Standing> {
    Json(standing(&inspector))
}

/// Every node, asked at once.
pub(super) async fn all(State(inspector): State<Arc<Inspector>>) -> Json<Nodes> {
    let views = inspector.signaling.inspection.nodes();
    let says = views.iter().enumerate().map(async |(place, view)| match view {
        NodeView { is_self: true, .. } => Some(standing(&inspector)),
        NodeView { lives: true, .. } if place < ASKED => ask(&inspector.client, &view.probe).await,
        NodeView { .. } => None,
    });
    let says = join_all(says).await;
    let shown = |(view, says): (NodeView, Option<Standing>)| Shown {
        node: view.node.to_string(),
        address: view.address,
        is_self: view.is_self,
        lives: view.lives,
        sessions: view.sessions,
        renewed_ms: millis(view.renewed_ago),
        says,
    };
    Json(Nodes { nodes: views.into_iter().zip(says).map(shown).collect() })
}

async fn ask(client: &Client<HttpConnector, Body>, probe: &str) -> Option<Standing> {
    let base = probe.strip_suffix("/ready")?;
    let request = Request::get(format!("{base}/inspector/node")).body(Body::empty()).ok()?;
    let answer = async {
        let response = client.request(request).await.ok()?;
        let body = to_bytes(Body::new(response.into_body()), MOST_BYTES).await.ok()?;
        serde_json::from_slice::<Standing>(&body).ok().filter(|standing| !standing.state.is_empty())
    };
    tokio::time::timeout(PATIENCE, answer).await.ok()?
}
