//! What people do over HTTP: the REST twins of calls, accepts, rejections, cancels and ends, as a backend passes them on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::fleet::Fleet;
use super::handset::Saying;
use super::history::{History, What};
use super::world::World;
use crate::cluster::SECRET;
use crate::http::Connection;

/// A word on its way to the backend and from there to a node.
pub struct Request {
    /// The phone in whose hands it was said.
    pub phone: usize,
    pub name: String,
    pub saying: Saying,
    pub path: &'static str,
    pub body: Value,
    /// The client goes away if it has no answer by then.
    pub patience: Duration,
}

pub struct Backend {
    pub fleet: Arc<Fleet>,
    pub world: Arc<World>,
    pub history: Arc<History>,
    pub requests: UnboundedReceiver<Request>,
}

impl Backend {
    pub async fn serve(mut self) {
        let mut under_way = JoinSet::new();
        while let Some(request) = self.requests.recv().await {
            while under_way.try_join_next().is_some() {}
            let Some((node, address)) = self.fleet.pick() else {
                self.world.answered(request.phone, &request.saying, None);
                continue;
            };
            under_way.spawn(send(Arc::clone(&self.world), Arc::clone(&self.history), request, node, address));
        }
    }
}

async fn send(world: Arc<World>, history: Arc<History>, request: Request, node: String, address: SocketAddr) {
    let Request { phone, name, saying, path, body, patience } = request;
    let (event, call) = (saying.event.to_owned(), saying.call.clone());
    let Ok(stream) = TcpStream::connect(address).await else {
        // Not sent: whoever said it knows, and gives up.
        world.answered(phone, &saying, None);
        return;
    };
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let is_initiate = saying.event == "call:initiate";
    if is_initiate {
        let to = saying.payload["receiverId"].as_str().map(str::to_owned);
        history.add(What::Sent {
            phone: name.clone(),
            session: 0,
            event: event.clone(),
            call: call.clone(),
            to,
            accepted: None,
        });
    } else {
        let (phone, event, call) = (name.clone(), event.clone(), call.clone());
        history.add(What::Said { phone, node, event, call, patience_ms });
    }
    let mut connection = Connection::new(stream, address.to_string());
    let headers = format!("X-Internal-Secret: {SECRET}\r\nContent-Type: application/json\r\n");
    let text = body.to_string();
    let asked = tokio::time::timeout(patience, connection.post(path, &headers, &text)).await;
    // A client that gave up has closed the connection before it says so.
    drop(connection);
    let answer = asked.ok().and_then(Result::ok);
    let told = answer.map(|answer| (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null)));
    let (status, body) = (told.as_ref().map(|(status, _)| *status), told.as_ref().map(|(_, body)| body.clone()));
    let body = body.unwrap_or(Value::Null);
    match status {
        Some(200) if is_initiate => {
            let answer = body;
            history.add(What::Acked { phone: name, session: 0, event, call, answer });
        }
        _ => history.add(What::Answered { phone: name, event, call, status, answer: body }),
    }
    world.answered(phone, &saying, told.as_ref());
}
