use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::socket::DisconnectReason;

use super::SocketServer;
use super::event_queue::EventQueue;
use super::handlers::{Inlet, disconnected};
use super::transports::Transport;
use super::wire::Wire;
use crate::call::{CallId, Device, SealedToken, TokenHash, UNNAMED, UserId};
use crate::telemetry::About;
use crate::telemetry::metrics::{self, Handshake};
use crate::telemetry::trace::Kind;

/// The engine finds the end of the transport meanwhile, and says nothing more over it.
const UNTIL_THE_TRANSPORT_CLOSES: Duration = Duration::from_secs(10);
const TOKEN_LIMIT: usize = 8192;

/// Whether a token belongs to a user.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// `from`: the address of the client.
    async fn authenticate(&self, token: &str, user: &UserId, from: IpAddr) -> Authenticated;

    /// Whether the backend knows the call that is being initiated; absent where it can't tell.
    async fn knows_call(&self, token: &str, id: &CallId, caller: &UserId, receiver: &UserId) -> Option<bool>;

    /// Drops what is remembered of a user's tokens, here and where all nodes share it: the next is verified anew.
    /// False where the shared memory could not be reached.
    async fn forget(&self, user: &UserId) -> bool;
}

/// Whether an initiate is compared with the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitiateCheck {
    Off,
    /// Asked and counted, in nobody's way.
    Observe,
    /// A call that the backend contradicts does not ring: the one exception to "phones first".
    Enforce,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authenticated {
    /// With the user's name, if the backend has one, and what is kept of the token.
    Yes {
        name: Option<String>,
        token: Option<TokenHash>,
        /// The token itself, sealed, where the backend is called back with it.
        sealed: Option<SealedToken>,
    },
    No,
    /// Not the client's fault: its transport is closed, it comes back by itself.
    Unavailable,
}

/// Who holds a socket.
#[derive(Clone, Debug)]
pub struct Caller {
    pub user: UserId,
    pub name: String,
    pub device: Device,
    pub acks: bool,
    pub token: Option<TokenHash>,
    pub sealed: Option<SealedToken>,
    /// The token itself, where initiates are checked with it.
    pub bearer: Option<Arc<str>>,
}

/// The text of a CONNECT_ERROR, fixed by the contract. The client does not come back after one.
#[derive(Debug)]
pub(super) struct Denied(&'static str);

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Runs before the CONNECT packet is answered. A transport has one: a refusal ends it as soon as it was heard, and what
/// else is sent on it reaches nobody. The client takes a refusal for final and leaves by itself; for one that stays the
/// stream ends without a Close frame, whose answer only a friend would give.
pub(super) async fn admit(server: &Arc<SocketServer>, socket: SocketRef, auth: TryData<Value>) -> Result<(), Denied> {
    let transport = socket.req_parts().extensions.get::<Transport>().cloned().unwrap_or_else(Transport::unknown);
    if !transport.is_first_connect() {
        let denied = deny(Handshake::Repeated, "Authentication failed");
        if !server.wires.was_refused(&socket.id.to_string()) {
            // It had a session, and its phone opens another transport for the next.
            close(server, &socket);
        }
        tokio::time::sleep(UNTIL_THE_TRANSPORT_CLOSES).await;
        return Err(denied);
    }
    let admitted = judge(server, &socket, &transport, auth).await;
    match &admitted {
        Ok(()) => transport.accepted(),
        Err(_) => server.wires.refuse(&socket.id.to_string(), socket.req_parts().extensions.get::<Wire>()),
    }
    admitted
}

/// Handlers are set here: an event may follow the answer at once.
async fn judge(
    server: &Arc<SocketServer>,
    socket: &SocketRef,
    transport: &Transport,
    TryData(auth): TryData<Value>,
) -> Result<(), Denied> {
    let auth = auth.unwrap_or(Value::Null);
    let text = |name: &str| auth[name].as_str().filter(|text| !text.is_empty());
    let (Some(token), Some(user)) = (text("token"), text("userId")) else {
        return Err(deny(Handshake::NoCredentials, "Authentication required"));
    };
    let Some(user) = UserId::parse(user).ok().filter(|_| token.len() <= TOKEN_LIMIT) else {
        return Err(deny(Handshake::Malformed, "Authentication failed"));
    };
    let device = text("deviceId").and_then(Device::named).unwrap_or(Device::Unnamed);
    let acks = auth["acks"] == true || auth["acks"] == "true";
    let authenticate = server.authenticate.authenticate(token, &user, transport.address());
    match server.signaling.traces().run("authenticate", Kind::Internal, About::user(&user), authenticate).await {
        Authenticated::Yes { name, token: hash, sealed } => {
            let name = name.unwrap_or_else(|| UNNAMED.into());
            let bearer = (server.initiate_check != InitiateCheck::Off).then(|| token.into());
            let caller = Caller { user, name, device, acks, token: hash, sealed, bearer };
            socket.extensions.insert(Arc::new(EventQueue::new(caller)));
            socket.on_fallback(Inlet::new(Arc::clone(server)));
            let gone = Arc::clone(server);
            socket.on_disconnect(async move |socket: SocketRef, reason: DisconnectReason| {
                disconnected(&gone, &socket, reason).await;
            });
            Ok(())
        }
        Authenticated::No => Err(deny(Handshake::InvalidToken, "Invalid token")),
        Authenticated::Unavailable => {
            let denied = deny(Handshake::Unavailable, "Authentication failed");
            close(server, socket);
            tokio::time::sleep(UNTIL_THE_TRANSPORT_CLOSES).await;
            Err(denied)
        }
    }
}

/// Closes the transport of a socket: its phone opens another where it comes back.
pub(super) fn close(server: &SocketServer, socket: &SocketRef) {
    server.wires.close(&socket.id.to_string(), socket.req_parts().extensions.get::<Wire>());
}

fn deny(outcome: Handshake, text: &'static str) -> Denied {
    metrics::handshake(outcome);
    Denied(text)
}
