use std::sync::Arc;

use axum::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;

use super::super::standing::Readiness;
use crate::signaling::Signaling;

/// What the inspector's handlers share.
pub(super) struct Inspector {
    pub signaling: Arc<Signaling>,
    pub readiness: Readiness,
    /// For questions to other nodes.
    pub client: Client<HttpConnector, Body>,
}
