use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::handler::{FromMessageParts, MessageHandler};
use socketioxide::socket::{DisconnectReason, Socket};
use socketioxide_core::Value as RawValue;

use super::emitter::{PhoneSender, send_outcome};
use super::event_queue::{EventQueue, Incoming, Places};
use super::news::News;
use super::wire::Wire;
use super::{Caller, InitiateCheck, SocketServer, messages, video};
use crate::call::{Actor, Call, CallId, SessionId};
use crate::signaling::{Failure, Initiate, Initiated, MAX_SUBSCRIPTIONS, NewSession, Session, SubscribeError};
use crate::telemetry::metrics::{self, Departure, Handshake, Limit, Timed};
use crate::telemetry::trace::{self, Kind};
use crate::telemetry::{About, Who, carry};
use crate::wire::acks::{self, RefusedAck};
use crate::wire::{CONTAINERS, FieldError, Fields, drop_claims, read_command, read_initiate, read_json, read_users};

/// The events that are never refused for one's own live call.
const HANG_UPS: [&str; 4] = ["call:accept", "call:reject", "call:cancel", "call:end"];
/// The events that are about a call.
const EVENTS: [&str; 7] =
    ["call:initiate", "call:ringing", "call:accept", "call:reject", "call:cancel", "call:end", messages::EVENT];
/// How long an enforced check may hold an initiate up.
const ENFORCE_PATIENCE: Duration = Duration::from_secs(1);
const WHEN_QUEUE_IS_FULL: Duration = Duration::from_secs(1);

/// Takes every event of a socket, in the order in which they arrived.
pub(super) struct Inlet(Arc<SocketServer>);

impl Inlet {
    pub fn new(server: Arc<SocketServer>) -> Self {
        Self(server)
    }
}

impl MessageHandler<LocalAdapter, Inlet> for Inlet {
    fn call(&self, socket: Arc<Socket<LocalAdapter>>, mut message: RawValue, ack_id: Option<i64>) {
        let Some(queue) = socket.extensions.get::<Arc<EventQueue>>() else { return };
        let ack = ack_id.and_then(|_| AckSender::from_message_parts(&socket, &mut message, &ack_id).ok());
        let RawValue::Str(text, _) = &message else {
            return turn_away(ack, &acks::invalid_text("payload must be JSON"));
        };
        let name = text.trim_start().trim_start_matches('[').trim_start().trim_start_matches('"');
        let hangs_up = HANG_UPS.iter().any(|event| name.starts_with(event));
        let places = Places::of(hangs_up, name.starts_with(messages::EVENT));
        let Some(text) = places.kept(text) else {
            return turn_away(ack, &acks::invalid_text("payload is larger than 16 KiB"));
        };
        let incoming = Incoming { text, ack, arrived: self.0.signaling.clock().elapsed(), places };
        match queue.push(incoming) {
            Ok(Some(session)) => drain(&self.0, queue, session),
            Ok(None) => {}
            Err(refused) => {
                metrics::limited(Limit::Events);
                turn_away(refused.ack, &acks::rate_limited(WHEN_QUEUE_IS_FULL));
            }
        }
    }
}

/// An authenticated socket becomes a session.
pub(super) async fn connected(server: &Arc<SocketServer>, socket: SocketRef) {
    let Some(queue) = socket.extensions.get::<Arc<EventQueue>>() else { return };
    let caller = queue.caller.clone();
    let id = SessionId::from_random(rand::random());
    let news = Arc::new(News::new(socket.clone()));
    server.wires.feed(&socket.id.to_string(), socket.req_parts().extensions.get::<Wire>(), &news);
    let sender = PhoneSender {
        socket,
        confirms_as: caller.acks.then(|| Actor {
            user: caller.user.clone(),
            device: caller.device.clone(),
            acks: true,
            session: Some(id.clone()),
            token: caller.sealed.clone(),
        }),
        signaling: Arc::downgrade(&server.signaling),
        tasks: server.tasks.clone(),
        wires: Arc::clone(&server.wires),
        news,
    };
    let new_session = NewSession {
        id,
        user: caller.user,
        device: caller.device,
        acks: caller.acks,
        token: caller.token,
        sealed: caller.sealed,
        connected_at: server.signaling.clock().now(),
    };
    let session = Arc::new(Session::new(new_session, Box::new(sender)));
    metrics::handshake(Handshake::Accepted);
    let about = About::session(&session.user, &session.id);
    let connecting =
        server.signaling.traces().run("connect", Kind::Internal, about, server.signaling.phones.connect(&session));
    let began = server.signaling.clock().elapsed();
    survived(&session, connecting).await;
    server.wires.transports().served(server.signaling.clock().elapsed().saturating_sub(began));
    let (waiting, gone) = queue.open(&session);
    if waiting {
        drain(server, queue, Arc::clone(&session));
    }
    // It left while it was registered.
    let Some(cause) = gone else { return };
    leave(server, &session, cause).await;
}

pub(super) async fn disconnected(server: &Arc<SocketServer>, socket: &SocketRef, reason: DisconnectReason) {
    let Some(queue) = socket.extensions.get::<Arc<EventQueue>>() else { return };
    if reason == DisconnectReason::ClientNSDisconnect {
        super::auth::close(server, socket);
    }
    let cause = cause_of(reason);
    if let Some(session) = queue.close(cause) {
        leave(server, &session, cause).await;
    }
}

fn cause_of(reason: DisconnectReason) -> Departure {
    match reason {
        DisconnectReason::ClientNSDisconnect => Departure::Left,
        DisconnectReason::TransportClose => Departure::Closed,
        DisconnectReason::TransportError => Departure::Lost,
        DisconnectReason::HeartbeatTimeout => Departure::Silent,
        DisconnectReason::MultipleHttpPollingError | DisconnectReason::PacketParsingError => Departure::Protocol,
        // By this side; the session knows better why.
        DisconnectReason::ServerNSDisconnect | DisconnectReason::ClosingServer => Departure::Stopped,
    }
}

async fn leave(server: &Arc<SocketServer>, session: &Arc<Session>, cause: Departure) {
    let (signaling, about) = (&server.signaling, About::session(&session.user, &session.id));
    signaling.traces().run("disconnect", Kind::Internal, about, signaling.phones.disconnect(session, cause)).await;
}

/// Takes the event from the user's allowance. A hang-up of his own live call has an allowance of its own.
async fn allowed(
    server: &Arc<SocketServer>,
    session: &Arc<Session>,
    event: &str,
    payload: Option<&Value>,
) -> Result<(), Duration> {
    if event == messages::EVENT {
        return server.limits.message(&session.user).inspect_err(|_| metrics::limited(Limit::Messages));
    }
    let Err(wait) = server.limits.event(&session.user) else { return Ok(()) };
    if !HANG_UPS.contains(&event) {
        metrics::limited(Limit::Events);
        return Err(wait);
    }
    if let Err(wait) = server.limits.hang_up(&session.user) {
        metrics::limited(Limit::HangUps);
        return Err(wait);
    }
    let id = payload.and_then(|payload| payload["callId"].as_str()).and_then(|id| CallId::parse(id).ok());
    let own = match id {
        Some(id) => server.signaling.phones.is_own_live_call(&session.user, &id).await,
        None => false,
    };
    if own { Ok(()) } else { Err(wait).inspect_err(|_| metrics::limited(Limit::Events)) }
}

/// Handles the events of a line one after the other until none waits.
fn drain(server: &Arc<SocketServer>, queue: Arc<EventQueue>, session: Arc<Session>) {
    let server = Arc::clone(server);
    server.tasks.clone().spawn(async move {
        let mut next = queue.pop();
        while let Some(incoming) = next {
            survived(&session, handle(&server, &session, &queue.caller, incoming)).await;
            next = queue.pop();
            if next.is_some() {
                // Who has many waiting keeps nobody else waiting.
                tokio::task::yield_now().await;
            }
        }
    });
}

/// Does something for a session. Where that panics, its transport is closed: the phone comes back and is told how things
/// stand.
async fn survived(session: &Session, work: impl Future<Output = ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        tracing::error!(session = %session.id, "what was done for a phone panicked, closing its transport");
        session.sender().release(Departure::Panicked);
    }
}

async fn handle(server: &Arc<SocketServer>, session: &Arc<Session>, caller: &Caller, incoming: Incoming) {
    let Incoming { text, ack, arrived, .. } = incoming;
    let Some(parts) = read_json::<Vec<Value>>(text.as_bytes(), CONTAINERS) else {
        return refuse(session, ack, acks::invalid_text("payload can't be read"));
    };
    let mut parts = parts.into_iter();
    let event = parts.next();
    let event = event.as_ref().and_then(Value::as_str).unwrap_or_default();
    let payload = parts.next();
    // What is traced comes from a closed set.
    let name = EVENTS.into_iter().chain(video::EVENTS).find(|known| *known == event);
    let id = payload.as_ref().filter(|_| name.is_some()).and_then(|payload| payload["callId"].as_str());
    let about = About { call: id.and_then(|id| CallId::parse(id).ok()), ..About::session(&session.user, &session.id) };
    let work = dispatch(server, session, caller, event, payload, ack, arrived);
    server.signaling.traces().run(name.unwrap_or("event"), Kind::Server, about, work).await;
}

async fn dispatch(
    server: &Arc<SocketServer>,
    session: &Arc<Session>,
    caller: &Caller,
    event: &str,
    payload: Option<Value>,
    ack: Option<AckSender>,
    arrived: Duration,
) {
    if let Err(wait) = allowed(server, session, event, payload.as_ref()).await {
        return refuse(session, ack, acks::rate_limited(wait));
    }
    match event {
        "call:initiate" => initiate(server, session, caller, payload, ack, arrived).await,
        "call:ringing" | "call:accept" | "call:reject" | "call:cancel" | "call:end" => {
            server.signaling.obeying(arrived, command(server, session, event, payload, ack, arrived)).await;
        }
        "call:message" => messages::relay(server, session, payload, ack).await,
        "call:upgrade" | "call:switchToVideo" | "call:switch_to_video" | "call:upgrade:response" | "call:downgrade" => {
            video::switch(server, session, event, payload, ack).await;
        }
        "presence:subscribe" | "presence:unsubscribe" => presence(server, session, event, payload, ack).await,
        _ => {
            refuse(session, ack, acks::invalid_text("unknown event"));
        }
    }
}

async fn initiate(
    server: &Arc<SocketServer>,
    session: &Arc<Session>,
    caller: &Caller,
    payload: Option<Value>,
    ack: Option<AckSender>,
    arrived: Duration,
) {
    let mut request = match Fields::new(payload).and_then(|fields| read_initiate(fields, &session.user, &caller.name)) {
        Ok(request) => request,
        Err(error) => {
            return refuse(session, ack, acks::invalid(&error));
        }
    };
    let (id, wire_id) = (request.id.clone(), request.wire_id.clone());
    match known(server, caller, &request).await {
        Some(false) => return refuse(session, ack, acks::contradicted()),
        Some(true) => {
            request.named = true;
            drop_claims(&mut request.ring_details);
        }
        None => {}
    }
    match server.signaling.phones.initiate(&session.actor(), request).await {
        Ok(answered) => {
            metrics::event_done(Timed::Initiate, server.signaling.clock().elapsed().saturating_sub(arrived));
            let overtaken = !session.acks && session.was_told_accepted(&id);
            answer(session, ack, &acks::initiated(&wire_id, &answered));
            if let Initiated::Busy { .. } = answered {
                session.notify_busy(&id, &wire_id);
            }
            server.signaling.phones.after_initiate(session, &id, &answered, overtaken).await;
        }
        Err(failure) => refuse(session, ack, acks::failed(&failure)),
    }
}

/// Compares an initiate with the backend, as far as it is configured; absent where the initiate does not wait for it, or
/// it can't tell in time.
async fn known(server: &Arc<SocketServer>, caller: &Caller, request: &Initiate) -> Option<bool> {
    let bearer = caller.bearer.clone()?;
    let (asking, user) = (Arc::clone(server), caller.user.clone());
    let (id, receiver) = (request.id.clone(), request.receiver.clone());
    let asked = async move {
        let known = asking.authenticate.knows_call(&bearer, &id, &user, &receiver).await;
        metrics::initiate_checked(match known {
            Some(true) => "confirmed",
            Some(false) => "contradicted",
            None => "unavailable",
        });
        if known == Some(false) {
            tracing::warn!(call = %id, user = %Who(&user), "laravel does not know an initiated call");
        }
        known
    };
    match server.initiate_check {
        InitiateCheck::Off => None,
        InitiateCheck::Observe => {
            server.tasks.spawn(carry(asked));
            None
        }
        InitiateCheck::Enforce => tokio::time::timeout(ENFORCE_PATIENCE, asked).await.ok().flatten(),
    }
}

async fn command(
    server: &Arc<SocketServer>,
    session: &Arc<Session>,
    event: &str,
    payload: Option<Value>,
    ack: Option<AckSender>,
    arrived: Duration,
) {
    let (id, wire_id, reason) = match Fields::new(payload).and_then(|fields| read_command(&fields)) {
        Ok(read) => read,
        Err(error) => {
            return refuse(session, ack, acks::invalid(&error));
        }
    };
    let (signaling, by) = (&server.signaling, session.actor());
    let (timed, judged): (Timed, Result<Call, Failure>) = match event {
        "call:ringing" => (Timed::Ringing, signaling.phones.alert(by, &id).await),
        "call:accept" => (Timed::Accept, signaling.phones.accept(by, &id).await),
        "call:reject" => (Timed::Reject, signaling.phones.reject(by, &id, reason.clone()).await),
        "call:cancel" => (Timed::Cancel, signaling.phones.cancel(by, &id, reason.clone()).await),
        _ => (Timed::End, signaling.phones.end(by, &id).await),
    };
    if judged.is_ok() {
        metrics::event_done(timed, signaling.clock().elapsed().saturating_sub(arrived));
    }
    match &judged {
        Ok(call) => answer(session, ack, &acks::done(&wire_id, call)),
        Err(failure) => refuse(session, ack, acks::failed(failure)),
    }
    match judged {
        Ok(_) if event == "call:reject" => {
            session.sender().reject_confirmed(&wire_id);
        }
        Err(Failure::Refused { refusal, call }) => signaling.phones.answer_refused(session, refusal, &call),
        Err(Failure::NotFound) if event == "call:reject" => {
            signaling.phones.reject_unknown(session, &id, &wire_id, reason)
        }
        Ok(_) | Err(Failure::NotFound | Failure::Unavailable | Failure::RateLimited { .. }) => {}
    }
}

async fn presence(
    server: &Arc<SocketServer>,
    session: &Arc<Session>,
    event: &str,
    payload: Option<Value>,
    ack: Option<AckSender>,
) {
    let users = match Fields::new(payload).and_then(|fields| read_users(&fields)) {
        Ok(users) => users,
        Err(error) => {
            return refuse(session, ack, acks::invalid(&error));
        }
    };
    if let Err(wait) = server.limits.presence_ids(&session.user, users.len()) {
        metrics::limited(Limit::PresenceIds);
        return refuse(session, ack, acks::rate_limited(wait));
    }
    let answered = match event {
        "presence:subscribe" => server.signaling.phones.subscribe(session, &users).await,
        _ => server.signaling.phones.unsubscribe(session, &users).await,
    };
    match answered {
        Ok(users) => answer(session, ack, &acks::presence(&users)),
        Err(SubscribeError::TooMany) => {
            refuse(session, ack, acks::invalid(&FieldError::TooMany("userIds", MAX_SUBSCRIPTIONS)));
        }
        Err(SubscribeError::Unavailable) => refuse(session, ack, acks::failed(&Failure::Unavailable)),
    }
}

/// Counted whether it is heard or not: the deployed app asks for hardly any acknowledgement.
pub(super) fn refuse(session: &Session, ack: Option<AckSender>, refused: RefusedAck) {
    refused.noted(&session.user);
    answer(session, ack, &refused.body);
}

pub(super) fn answer(session: &Session, ack: Option<AckSender>, body: &Value) {
    trace::note("outcome", || acks::outcome(body));
    if let Some(ack) = ack {
        session.sender().judge(send_outcome(&ack.send(body)));
    }
}

/// Refuses what came faster than it can be looked at. A phone that does not read these answers either floods, and loses
/// them.
fn turn_away(ack: Option<AckSender>, refused: &RefusedAck) {
    metrics::event_refused(refused.code);
    if let Some(ack) = ack {
        let _ = ack.send(&refused.body);
    }
}
