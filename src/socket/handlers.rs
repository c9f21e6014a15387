use std::sync::Arc;

use serde_json::Value;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::handler::{FromMessageParts, MessageHandler};
use socketioxide::socket::Socket;
use socketioxide_core::Value as RawValue;

use super::emitter::PhoneVoice;
use super::line::{Incoming, Line};
use super::{Edge, Fields, acks, read_initiate};
use crate::call::{Call, SessionId};
use crate::signaling::{Failure, Session};
use crate::telemetry::metrics;

/// No event of the contract comes near this; what is larger is not even parsed.
const EVENT_LIMIT: usize = 16 * 1024;

/// Takes every event of a socket, in the order in which they arrived.
pub(super) struct Inlet(Arc<Edge>);

impl Inlet {
    pub fn new(edge: Arc<Edge>) -> Self {
        Self(edge)
    }
}

impl MessageHandler<LocalAdapter, Inlet> for Inlet {
    fn call(&self, socket: Arc<Socket<LocalAdapter>>, mut message: RawValue, ack_id: Option<i64>) {
        let Some(line) = socket.extensions.get::<Arc<Line>>() else { return };
        let ack = ack_id.and_then(|_| AckSender::from_message_parts(&socket, &mut message, &ack_id).ok());
        let text = match &message {
            RawValue::Str(text, _) if text.len() <= EVENT_LIMIT => text.as_str().to_owned(),
            RawValue::Str(..) | RawValue::Bytes(_) => {
                metrics::invalid_payload();
                return answer(ack, &acks::invalid_text("payload is larger than 16 KiB"));
            }
        };
        match line.push(Incoming { text, ack }) {
            Ok(Some(session)) => drain(&self.0, line, session),
            Ok(None) => {}
            Err(refused) => answer(refused.ack, &acks::overloaded()),
        }
    }
}

/// An authenticated socket becomes a session.
pub(super) async fn connected(edge: &Arc<Edge>, socket: SocketRef) {
    let Some(line) = socket.extensions.get::<Arc<Line>>() else { return };
    let caller = line.caller.clone();
    let id = SessionId::from_random(rand::random());
    let voice = PhoneVoice {
        socket,
        confirms_as: caller.acks.then(|| crate::call::Actor {
            user: caller.user.clone(),
            device: caller.device.clone(),
            acks: true,
            session: Some(id.clone()),
        }),
        signaling: Arc::downgrade(&edge.signaling),
        tasks: edge.tasks.clone(),
    };
    let now = edge.signaling.clock().now();
    let session = Arc::new(Session::new(id, caller.user, caller.device, caller.acks, now, Box::new(voice)));
    edge.signaling.connect(&session).await;
    match line.open(session) {
        Ok(Some(session)) => drain(edge, line, session),
        Ok(None) => {}
        // It left while it was registered.
        Err(session) => edge.signaling.disconnect(&session).await,
    }
}

pub(super) async fn disconnected(edge: &Arc<Edge>, socket: &SocketRef) {
    let Some(line) = socket.extensions.get::<Arc<Line>>() else { return };
    if let Some(session) = line.close() {
        edge.signaling.disconnect(&session).await;
    }
}

/// Handles the events of a line one after the other until none waits.
fn drain(edge: &Arc<Edge>, line: Arc<Line>, session: Arc<Session>) {
    let edge = Arc::clone(edge);
    edge.tasks.clone().spawn(async move {
        while let Some(incoming) = line.pop() {
            handle(&edge, &session, &line.caller.name, incoming).await;
        }
    });
}

async fn handle(edge: &Arc<Edge>, session: &Arc<Session>, name: &str, incoming: Incoming) {
    let Incoming { text, ack } = incoming;
    let Ok(parts) = serde_json::from_str::<Vec<Value>>(&text) else {
        metrics::invalid_payload();
        return answer(ack, &acks::invalid_text("payload can't be read"));
    };
    let mut parts = parts.into_iter();
    let event = parts.next();
    let event = event.as_ref().and_then(Value::as_str).unwrap_or_default();
    let payload = parts.next();
    match event {
        "call:initiate" => initiate(edge, session, name, payload, ack).await,
        "call:ringing" | "call:accept" | "call:reject" | "call:cancel" | "call:end" => {
            verdict(edge, session, event, payload, ack).await;
        }
        "call:message" => message(edge, session, payload, ack).await,
        "call:upgrade"
        | "call:switchToVideo"
        | "call:switch_to_video"
        | "call:upgrade:response"
        | "presence:subscribe"
        | "presence:unsubscribe" => answer(ack, &acks::not_supported()),
        _ => {
            metrics::invalid_payload();
            answer(ack, &acks::invalid_text("unknown event"));
        }
    }
}

async fn initiate(
    edge: &Arc<Edge>,
    session: &Arc<Session>,
    name: &str,
    payload: Option<Value>,
    ack: Option<AckSender>,
) {
    let request = match Fields::new(payload).and_then(|fields| read_initiate(fields, &session.user, name)) {
        Ok(request) => request,
        Err(error) => {
            metrics::invalid_payload();
            return answer(ack, &acks::invalid(&error));
        }
    };
    let (id, spelled) = (request.id.clone(), request.spelled.clone());
    match edge.signaling.initiate(&session.actor(), request).await {
        Ok(answered) => {
            answer(ack, &acks::initiated(&spelled, &answered));
            if let crate::signaling::Initiated::Busy { .. } = answered {
                session.voice().busy(&spelled);
            }
            edge.signaling.after_initiate(session, &id, &answered).await;
        }
        Err(failure) => answer(ack, &acks::failed(&failure)),
    }
}

async fn verdict(
    edge: &Arc<Edge>,
    session: &Arc<Session>,
    event: &str,
    payload: Option<Value>,
    ack: Option<AckSender>,
) {
    let read = Fields::new(payload).and_then(|fields| Ok((fields.call_id()?, fields.reason())));
    let ((id, spelled), reason) = match read {
        Ok(read) => read,
        Err(error) => {
            metrics::invalid_payload();
            return answer(ack, &acks::invalid(&error));
        }
    };
    let (signaling, by) = (&edge.signaling, session.actor());
    let judged: Result<Call, Failure> = match event {
        "call:ringing" => signaling.alert(by, &id).await,
        "call:accept" => signaling.accept(by, &id).await,
        "call:reject" => signaling.reject(by, &id, reason).await,
        "call:cancel" => signaling.cancel(by, &id, reason).await,
        _ => signaling.end(by, &id).await,
    };
    match &judged {
        Ok(call) => answer(ack, &acks::done(&spelled, call)),
        Err(failure) => answer(ack, &acks::failed(failure)),
    }
    match judged {
        Ok(_) if event == "call:reject" => {
            session.voice().reject_confirmed(&spelled);
        }
        Err(Failure::Refused { refusal, call }) => signaling.answer_refused(session, refusal, &call),
        Ok(_) | Err(Failure::NotFound | Failure::Unavailable) => {}
    }
}

async fn message(edge: &Arc<Edge>, session: &Arc<Session>, payload: Option<Value>, ack: Option<AckSender>) {
    let read = Fields::new(payload).and_then(|fields| Ok((fields.call_id()?, fields.data()?)));
    let body = match read {
        Ok(((id, spelled), data)) => match edge.signaling.message(&session.actor(), &id, data).await {
            Ok(call) => acks::done(&spelled, &call),
            Err(failure) => acks::failed(&failure),
        },
        Err(error) => {
            metrics::invalid_payload();
            acks::invalid(&error)
        }
    };
    answer(ack, &body);
}

fn answer(ack: Option<AckSender>, body: &Value) {
    if let Some(ack) = ack {
        // A full queue or a closed socket: nobody is left to hear it.
        let _ = ack.send(body);
    }
}
