use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A TCP proxy before Redis that cuts a connection after a request that carries a marker went through: the request
/// runs, its reply is lost.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    marker: Arc<Mutex<Option<Marker>>>,
    is_cut: Arc<watch::Sender<bool>>,
    /// Added to each reply.
    delay: Arc<Mutex<Duration>>,
    target: Arc<Mutex<u16>>,
    held: Arc<Mutex<Option<Held>>>,
}

/// What a request contains whose reply is lost, and whether the proxy is cut by it.
type Marker = (Vec<u8>, bool);

/// What a request contains that reaches the server so late.
type Held = (Vec<u8>, Duration);

impl Proxy {
    pub async fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let proxy = Self {
            address,
            marker: Arc::default(),
            is_cut: Arc::new(watch::Sender::new(false)),
            delay: Arc::default(),
            held: Arc::default(),
            target: Arc::new(Mutex::new(target)),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = accepting.clone();
                let target = *proxy.target.lock();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                        proxy.relay(client, server, target).await;
                    }
                });
            }
        });
        proxy
    }

    /// Loses the reply of the next request that contains `marker`.
    pub fn lose_reply_of(&self, marker: &str) {
        *self.marker.lock() = Some((marker.as_bytes().to_vec(), false));
    }

    /// The same, and nothing goes through from then on.
    pub fn cut_at_reply_of(&self, marker: &str) {
        *self.marker.lock() = Some((marker.as_bytes().to_vec(), true));
    }

    /// Whether the marked request has come.
    pub fn has_struck(&self) -> bool {
        self.marker.lock().is_none()
    }

    /// Breaks every connection and lets no new one through.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Replies come so late.
    pub fn delay(&self, delay: Duration) {
        *self.delay.lock() = delay;
    }

    /// The next request that contains `marker` reaches the server so late, and what comes after it.
    pub fn hold_request_of(&self, marker: &str, time: Duration) {
        *self.held.lock() = Some((marker.as_bytes().to_vec(), time));
    }

    /// Whether that request has come.
    pub fn has_held(&self) -> bool {
        self.held.lock().is_none()
    }

    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }

    /// Breaks every connection; new ones go to another server.
    pub fn lead_to(&self, target: u16) {
        *self.target.lock() = target;
        self.is_cut.send_replace(false);
    }

    /// Passes a connection on until either side or the proxy ends it.
    async fn relay(&self, client: TcpStream, server: TcpStream, target: u16) {
        let mut cut = self.is_cut.subscribe();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let mut request = vec![0; 64 * 1024];
        let mut reply = vec![0; 64 * 1024];
        let (late, mut replies) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        let deliver = async move {
            while let Some((at, bytes)) = replies.recv().await {
                tokio::time::sleep_until(at).await; // the trouble itself
                if to_client.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        tokio::pin!(deliver);
        loop {
            tokio::select! {
                biased; // What comes after the cut does not go through.
                () = async { drop(cut.wait_for(|cut| *cut || *self.target.lock() != target).await) } => return,
                () = &mut deliver => return,
                read = from_client.read(&mut request) => {
                    let Some(read) = read.ok().filter(|read| *read > 0) else { return };
                    let marked = self.strikes(&request[..read]);
                    let held = self.held.lock().take_if(|(marker, _)| contains(&request[..read], marker));
                    if let Some((_, time)) = held {
                        tokio::time::sleep(time).await; // the trouble itself
                    }
                    if to_server.write_all(&request[..read]).await.is_err() {
                        return;
                    }
                    if let Some((_, cuts)) = marked {
                        // Its reply is read, so that it has run, and goes nowhere.
                        let _ = from_server.read(&mut reply).await;
                        if cuts {
                            self.cut();
                        }
                        return;
                    }
                }
                read = from_server.read(&mut reply) => {
                    let Some(read) = read.ok().filter(|read| *read > 0) else { return };
                    let _ = late.send((Instant::now() + *self.delay.lock(), reply[..read].to_vec()));
                }
            }
        }
    }

    fn strikes(&self, bytes: &[u8]) -> Option<Marker> {
        self.marker.lock().take_if(|(marker, _)| contains(bytes, marker))
    }
}

fn contains(bytes: &[u8], marker: &[u8]) -> bool {
    bytes.windows(marker.len()).any(|window| window == marker)
}
