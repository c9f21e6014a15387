//! From spans to the collector: a bounded queue, a thread of its own, nobody waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::runtime::Handle;

use crate::call::NodeId;

/// Spans that wait; what is more is dropped and counted.
const QUEUE: usize = 8192;
const BATCH: usize = 512;
/// How long a span waits for others to go with.
const PAUSE: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// What waits when the node stops is sent within this.
const FAREWELL: Duration = Duration::from_secs(2);
/// More than any answer.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Where traces go.
#[derive(Clone, PartialEq)]
pub struct ExporterSettings {
    /// Without `/v1/traces`.
    pub endpoint: String,
    /// They may hold secrets.
    pub headers: Vec<(String, String)>,
    pub service: String,
    /// The share of calls that is traced, from 0 to 1.
    pub ratio: f64,
}

impl fmt::Debug for ExporterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExporterSettings({}, {} headers, {})", self.endpoint, self.headers.len(), self.ratio)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT must be an http:// or https:// address")]
    Endpoint,
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT must not hold a password, OTEL_EXPORTER_OTLP_HEADERS may")]
    Password,
    #[error("OTEL_EXPORTER_OTLP_HEADERS: item {0} is no name=value")]
    Header(usize),
    #[error("building the HTTP client for traces failed")]
    Client(#[from] reqwest::Error),
    #[error("building the exporter of traces failed")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl ExporterSettings {
    /// Whether traces can be sent so.
    pub fn check(&self) -> Result<(), TraceError> {
        let url = Url::parse(&self.endpoint).map_err(|_| TraceError::Endpoint)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TraceError::Endpoint);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TraceError::Password);
        }
        for (index, (name, value)) in self.headers.iter().enumerate() {
            if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
                return Err(TraceError::Header(index + 1));
            }
        }
        Ok(())
    }
}

/// Takes spans from wherever they end.
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    state: Arc<State>,
}

/// How sending goes.
#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    failing: AtomicBool,
}

impl Exporter {
    pub fn start(settings: &ExporterSettings, node: &NodeId) -> Result<Self, TraceError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", settings.endpoint.trim_end_matches('/')))
            .with_headers(settings.headers.iter().cloned().collect())
            .with_timeout(TIMEOUT)
            .with_http_client(Collector::new()?)
            .build()?;
        let state = Arc::new(State::default());
        let mut delivery = Delivery { exporter, state: Arc::clone(&state) };
        delivery.set_resource(
            &Resource::builder_empty()
                .with_service_name(settings.service.clone())
                .with_attributes([
                    KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                    KeyValue::new("service.instance.id", node.to_string()),
                    KeyValue::new("node", node.to_string()),
                ])
                .build(),
        );
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(PAUSE);
        Ok(Self { processor: BatchSpanProcessor::new(delivery, batches.build()), state })
    }

    /// Queues a span, or drops it where too many wait.
    pub fn take(&self, span: SpanData) {
        if self.state.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE {
            return self.processor.on_end(span);
        }
        self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.state.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(queue = QUEUE, "too many spans wait for the collector, further ones are dropped");
        }
    }

    /// Sends what waits; blocks for a moment at most.
    pub fn stop(&self) {
        if self.processor.shutdown_with_timeout(FAREWELL).is_err() {
            let waiting = self.state.waiting.load(Ordering::Relaxed);
            tracing::warn!(spans = waiting, "the collector did not take the last spans in time");
        }
    }
}

/// Says once that sending fails, and once that it works again.
#[derive(Debug)]
struct Delivery {
    exporter: opentelemetry_otlp::SpanExporter,
    state: Arc<State>,
}

impl SpanExporter for Delivery {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        self.state.waiting.fetch_sub(spans, Ordering::Relaxed);
        let failed_before = self.state.failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) => {
                self.state.dropped.fetch_add(spans as u64, Ordering::Relaxed);
                if !failed_before {
                    tracing::warn!(%error, "the collector takes no spans, they are dropped");
                }
            }
            Ok(()) => {
                let dropped = self.state.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    tracing::info!(dropped, "the collector takes spans again");
                }
            }
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Requests to the collector, made on the node's runtime by the exporter's thread.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    runtime: Handle,
}

impl Collector {
    #[expect(clippy::disallowed_methods, reason = "the one home of clients to the collector")]
    fn new() -> Result<Self, TraceError> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .build()?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request: reqwest::Request = request.try_into()?;
        let http = self.http.clone();
        // Not detached: waited for on the next line, by a thread that has no runtime.
        let answered = self.runtime.spawn(async move { send(&http, request).await });
        Ok(answered.await??)
    }
}

async fn send(http: &reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, HttpError> {
    let mut answer = http.execute(request).await.map_err(reqwest::Error::without_url)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LIMIT {
            return Err("the collector's answer is too large".into());
        }
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};

    use super::*;

    fn span() -> SpanData {
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "span".into(),
            start_time: UNIX_EPOCH,
            end_time: UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    /// As many wait as may, the others are counted; nobody waited for the collector, which has not even accepted.
    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_dropped_and_counted() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", deaf.local_addr().unwrap());
        let settings = ExporterSettings { endpoint, headers: Vec::new(), service: "s".into(), ratio: 1.0 };
        let exporter = Exporter::start(&settings, &NodeId::parse("n").unwrap()).unwrap();
        for _ in 0..QUEUE + 100 {
            exporter.take(span());
        }
        assert_eq!(exporter.state.waiting.load(Ordering::Relaxed), QUEUE);
        assert_eq!(exporter.state.dropped.load(Ordering::Relaxed), 100);
        // Within its bound, though a request still hangs.
        exporter.stop();
    }
}
