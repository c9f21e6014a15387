//! A collector of traces that remembers what came, and may say nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;

/// A span that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub node: String,
    pub attributes: BTreeMap<String, String>,
    pub events: Vec<String>,
    pub links: Vec<String>,
    pub time: (u64, u64),
}

impl Seen {
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Inner {
    bodies: Mutex<Vec<Bytes>>,
    authorization: Mutex<Option<String>>,
    silent: AtomicBool,
    asked: AtomicUsize,
    news: Notify,
}

#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    inner: Arc<Inner>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let inner = Arc::new(Inner::default());
        let take = axum::routing::post(take);
        let router = axum::Router::new().route("/v1/traces", take).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, inner }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on takes requests and never answers them.
    pub fn fall_silent(&self) {
        self.inner.silent.store(true, Ordering::SeqCst);
    }

    pub fn authorization(&self) -> Option<String> {
        self.inner.authorization.lock().clone()
    }

    /// Everything it took, as far as it is text.
    pub fn text(&self) -> String {
        self.inner.bodies.lock().iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect()
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.inner.bodies.lock().iter().flat_map(|body| read(body)).collect()
    }

    pub fn spans_of(&self, call: &str) -> Vec<Seen> {
        let call = call.trim_start_matches("CALL_");
        self.spans().into_iter().filter(|span| span.attribute("call") == call).collect()
    }

    /// Waits until it has been asked so often.
    pub async fn asked(&self, times: usize) {
        self.until("a request", |_| self.inner.asked.load(Ordering::SeqCst) >= times).await;
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&[Seen]) -> bool) {
        let waited = async {
            loop {
                let news = self.inner.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if condition(&self.spans()) {
                    return;
                }
                news.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), waited).await.is_err() {
            panic!("waited for {what}; came: {:#?}", self.spans());
        }
    }
}

async fn take(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> &'static str {
    let silent = inner.silent.load(Ordering::SeqCst);
    if !silent {
        inner.bodies.lock().push(body);
    }
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    *inner.authorization.lock() = authorization.map(str::to_owned);
    inner.asked.fetch_add(1, Ordering::SeqCst);
    inner.news.notify_waiters();
    if silent {
        std::future::pending::<()>().await;
    }
    ""
}

fn read(body: &[u8]) -> Vec<Seen> {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let mut seen = Vec::new();
    for resource in request.resource_spans {
        let node = resource.resource.map(|resource| named(&resource.attributes)).unwrap_or_default();
        let node = node.get("node").cloned().unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.push(Seen {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                node: node.clone(),
                attributes: named(&span.attributes).into_iter().collect(),
                events: span.events.into_iter().map(|event| event.name).collect(),
                links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
                time: (span.start_time_unix_nano, span.end_time_unix_nano),
            });
        }
    }
    seen
}

fn named(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute).unwrap_or_default())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
