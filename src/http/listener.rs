//! Accepts connections and serves HTTP/1 on them. What strangers hold by saying nothing has a bound and an end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::connections::{Connections, NoPlace, Place};
use super::reading::{Answer, Reading, Watched};
use crate::config::ReadingTimes;
use crate::socket::{Wire, WiredStream};
use crate::telemetry::metrics::{self, Cut, Limit};

/// A larger head is answered with 431; the largest that phones send, with a long token, has some 2 KiB.
const HEAD_LIMIT: usize = 32 * 1024;
/// Where no further descriptor is to be had, trying again at once would only burn time.
const PAUSE: Duration = Duration::from_millis(100);
/// The kernel keeps so much for a client that does not read; left to itself, megabytes.
const SEND_BUFFER: usize = 128 * 1024;
const KEEPALIVE: Duration = Duration::from_secs(60);
/// To whom there is no place for. It is written before anything was read, and whoever does not take it loses it.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Who sent a request, and over which connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub wire: Wire,
    pub place: Arc<Place>,
}

/// What a port is served with.
#[derive(Clone)]
pub struct ListenerSettings {
    pub connections: Arc<Connections>,
    pub reading: ReadingTimes,
    /// Websockets are read no faster than phones speak.
    pub paced: bool,
    /// A peer that stopped reading for so long is cut off.
    pub stuck_after: Duration,
    pub tasks: TaskTracker,
    /// No connection is accepted any more, and each ends when its request is answered.
    pub stop: CancellationToken,
}

/// Serves `router` to whoever connects, until it is stopped.
pub async fn serve(listener: TcpListener, router: Router, settings: ListenerSettings) {
    // Layers are put around the fallback now, once, and not for each request: the engine is one of them.
    let router: Router = router.with_state(());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = settings.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, address)) => match settings.connections.admit(address.ip()) {
                Ok(place) => {
                    tune(&stream, settings.stuck_after);
                    settings.tasks.spawn(hold(stream, address, Arc::new(place), router.clone(), settings.clone()));
                }
                Err(full) => turn_away(&stream, full),
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                metrics::accept_failed();
                tracing::error!(error = %error, "accepting a connection failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The connection failed before it was accepted; the next may not.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn turn_away(stream: &TcpStream, full: NoPlace) {
    metrics::limited(match full {
        NoPlace::Full => Limit::Connections,
        NoPlace::AddressFull => Limit::ConnectionsOfAddress,
    });
    let _ = stream.try_write(NO_PLACE);
}

/// Serves one connection until it ends, is over its time, or has become a websocket.
async fn hold(stream: TcpStream, address: SocketAddr, place: Arc<Place>, router: Router, settings: ListenerSettings) {
    let stream = WiredStream::new(stream, settings.paced);
    let peer = Peer { address, wire: stream.wire().clone(), place: Arc::clone(&place) };
    let reading = Reading::new(settings.reading, settings.connections);
    place.is_read(&reading, &peer.wire);
    let stream = TokioIo::new(Watched::new(stream, Arc::clone(&reading), place));
    let service = Requests { router, peer, reading: Arc::clone(&reading) };
    let serving = http1::Builder::new().max_buf_size(HEAD_LIMIT).serve_connection(stream, service).with_upgrades();
    let mut serving = pin!(serving);
    let mut stopped = pin!(settings.stop.cancelled());
    let mut is_stopping = false;
    let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
    let cut: Option<Cut> = std::future::poll_fn(|context| {
        if !is_stopping && stopped.as_mut().poll(context).is_ready() {
            is_stopping = true;
            serving.as_mut().graceful_shutdown();
        }
        // It ends with an error where the peer breaks it off or speaks nonsense.
        if serving.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            // Only what was just polled brings the end nearer.
            let Some((due, cause)) = reading.due() else { return Poll::Pending };
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if reading.due().is_some_and(|(still_due, _)| still_due <= due) {
                return Poll::Ready(Some(cause));
            }
        }
    })
    .await;
    if let Some(cause) = cut {
        metrics::connection_cut(cause);
    }
}

/// Answers the requests of one connection.
struct Requests {
    router: Router,
    peer: Peer,
    reading: Arc<Reading>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let reading = Arc::clone(&self.reading);
        let (head, body) = request.into_parts();
        let client = || self.peer.place.client_of(self.peer.address.ip(), &head.headers);
        let body = reading.began(client, body);
        let mut request = Request::from_parts(head, body);
        request.extensions_mut().insert(ConnectInfo(self.peer.clone()));
        let answering = self.router.clone().oneshot(request);
        Box::pin(async move {
            let Ok(response) = answering.await;
            let upgraded = response.status() == axum::http::StatusCode::SWITCHING_PROTOCOLS;
            Ok(response.map(|body| reading.answered(body, upgraded)))
        })
    }
}

fn tune(stream: &TcpStream, stuck_after: Duration) {
    let socket = SockRef::from(stream);
    // Best effort: without them a connection is slower or lives longer, no more.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_tcp_user_timeout(Some(stuck_after));
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4));
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::body::Bytes;
    use axum::extract::State;
    use axum::routing::post;
    use tokio::sync::mpsc;

    use super::*;
    use crate::http::{ClientAddress, Descriptors};

    /// As to a node that stood still: the request is there, and its client no longer, before anybody reads.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_is_seen_though_its_client_has_gone() {
        const REQUESTS: usize = 100;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        for number in 0..REQUESTS {
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let body = if number % 2 == 0 { "" } else { "said" };
            write!(client, "POST / HTTP/1.1\r\nhost: n\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
        let (sender, mut seen) = mpsc::unbounded_channel();
        let see = async |State(sender): State<mpsc::UnboundedSender<Bytes>>, body: Bytes| sender.send(body).unwrap();
        let router = Router::new().route("/", post(see)).with_state(sender);
        let settings = ListenerSettings {
            connections: Arc::new(Connections::new(0, 0, Descriptors::new(1024), ClientAddress::new(Vec::new()))),
            reading: ReadingTimes::default(),
            paced: true,
            stuck_after: Duration::from_secs(20),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let _serving = settings.tasks.spawn(serve(TcpListener::from_std(listener).unwrap(), router, settings.clone()));
        for number in 0..REQUESTS {
            let next = tokio::time::timeout(Duration::from_secs(10), seen.recv()).await;
            next.unwrap_or_else(|_| panic!("{number} of {REQUESTS} requests were seen"));
        }
    }
}
