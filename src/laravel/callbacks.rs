//! An unmodified backend is told over its own REST API, in the name and with the token of the party that acted
//! (docs/semantics.md 8, docs/webhooks.md).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::client::{Client, Posted};
use super::lanes::{CALLBACKS_AT_ONCE, Lane};
use super::seal::Sealer;
use crate::call::{Ask, Asked, Call, CallId, Callback, Left, SealedToken, Timestamp, left_to_say};
use crate::clock::Clock;
use crate::dispatcher::Destination;
use crate::store::{CallStore, Claim, Queue, Settled, StoreError};
use crate::telemetry::metrics::{self, CallbackOutcome};

const MARGIN: Duration = Duration::from_secs(10);
/// While another call rings the callee, or Laravel is not to be asked; the least after a 429.
const WAIT: Duration = Duration::from_secs(1);
/// Pauses between attempts.
const AGAIN: [u64; 5] = [2, 5, 10, 20, 30];
/// Where a 429 names no time.
const THROTTLED: Duration = Duration::from_secs(5);

/// Requests to an unmodified backend: callbacks out of the outbox, and questions for rows of its table.
pub struct Callbacks {
    client: Arc<Client>,
    sealer: Arc<Sealer>,
    calls: Arc<dyn CallStore>,
    /// What Laravel knows us by.
    secret: Option<String>,
    /// Longer than a request takes.
    timeout: Duration,
    clock: Clock,
}

impl Callbacks {
    pub fn new(
        client: Arc<Client>,
        sealer: Arc<Sealer>,
        calls: Arc<dyn CallStore>,
        secret: Option<String>,
        timeout: Duration,
        clock: Clock,
    ) -> Self {
        Self { client, sealer, calls, secret, timeout, clock }
    }

    /// What Laravel's table says of a call; the first token that it accepts decides.
    pub async fn row(&self, id: &CallId, tokens: &[SealedToken]) -> Asked {
        let tokens: Vec<&SealedToken> = tokens.iter().collect();
        self.look(id, &tokens, Lane::Questions).await.unwrap_or(Asked::Unknown)
    }

    /// Absent where Laravel accepts none of the tokens. Who may not ask now keeps no other from it.
    async fn look(&self, id: &CallId, tokens: &[&SealedToken], lane: Lane) -> Option<Asked> {
        let mut throttled = None;
        for token in tokens {
            let Some(token) = self.open(token) else { continue };
            match self.client.row(&token, id, lane).await {
                Some(Asked::Unavailable) if self.client.is_throttled(&token) => throttled = Some(Asked::Unavailable),
                Some(asked) => return Some(asked),
                None => metrics::token_dropped(),
            }
        }
        throttled
    }

    fn open(&self, token: &SealedToken) -> Option<String> {
        let opened = self.sealer.open(token);
        if opened.is_none() {
            tracing::warn!("a sealed token can't be opened, does every node have the same LARAVEL_API_SECRET?");
        }
        opened
    }

    /// Makes the request with the newest token that Laravel accepts; none left: absent.
    async fn post(
        &self,
        name: &'static str,
        tokens: &[&SealedToken],
        path: &str,
        body: &Value,
    ) -> Option<(Posted, String)> {
        for token in tokens {
            let Some(token) = self.open(token) else { continue };
            match self.client.post(name, &token, path, body, None).await {
                Posted::Unauthenticated => metrics::token_dropped(),
                posted => return Some((posted, token)),
            }
        }
        None
    }

    async fn carry_out(&self, claim: &Claim, callback: &Callback, call: &Call) -> Result<Settled, StoreError> {
        let errand = Errand { claim, callback, call, begun: self.clock.now() };
        if errand.is_needless() {
            return Ok(self.done(callback, CallbackOutcome::Needless));
        }
        if callback.until <= self.clock.now() {
            return Ok(self.last_look(&errand).await);
        }
        if let Ask::Cancel { .. } = callback.ask {
            // The app silences any ring on a cancel push, whichever call it is for.
            let line = self.calls.line(&call.callee.user).await?;
            if line.is_some_and(|line| line.is_ringing() && line.id != call.id && line.callee.user == call.callee.user)
            {
                return Ok(errand.later(WAIT, claim.attempts));
            }
        }
        // Who is to be told within seconds is tried all the same.
        if self.client.is_refusing() && callback.ask != Ask::End {
            return Ok(errand.later(WAIT, claim.attempts));
        }
        let mut say = &callback.ask;
        if !call.named && !self.is_looked_at_first(&errand) {
            match self.whose(&errand).await {
                Whose::Ours => {}
                Whose::Others => return Ok(self.keep_out(&errand, CallbackOutcome::OfOthers)),
                Whose::Over => return Ok(self.keep_out(&errand, CallbackOutcome::Over)),
                // With his own token he can do no more than by himself, and the push that ends the ring must go out.
                Whose::Unclear if matches!(say, Ask::Cancel { .. }) => {}
                Whose::Unclear => return Ok(self.again(&errand)),
            }
            if callback.until <= self.clock.now() {
                return Ok(self.give_up(&call.id, say, CallbackOutcome::Expired));
            }
        }
        if self.is_looked_at_first(&errand) {
            match self.left(&errand).await {
                Looked::OfOthers => return Ok(self.keep_out(&errand, CallbackOutcome::OfOthers)),
                Looked::Row(Left::Same) => {}
                Looked::Row(Left::End) => say = &Ask::End,
                Looked::Row(Left::Nothing) => return Ok(self.done(callback, CallbackOutcome::Done)),
                Looked::Row(Left::Unclear) => return Ok(self.give_up(&call.id, say, CallbackOutcome::Failed)),
                Looked::Unknown => match say {
                    // Its answer to the request itself is the last word.
                    Ask::Reject { .. } | Ask::Cancel { .. } => {}
                    Ask::EndOngoing { .. } if claim.attempts == 0 => {
                        return Ok(self.done(callback, CallbackOutcome::Refused));
                    }
                    Ask::End | Ask::EndOngoing { .. } => {
                        return Ok(self.give_up(&call.id, say, CallbackOutcome::Failed));
                    }
                },
                Looked::Unavailable => return Ok(self.again(&errand)),
                Looked::Unauthorized => return Ok(self.give_up(&call.id, say, CallbackOutcome::Unauthorized)),
            }
            // An end that comes too late costs money.
            if callback.until <= self.clock.now() {
                return Ok(self.give_up(&call.id, say, CallbackOutcome::Expired));
            }
        }
        Ok(self.say(&errand, say).await)
    }

    /// Makes the request.
    async fn say(&self, errand: &Errand<'_>, say: &Ask) -> Settled {
        let Errand { claim, callback, call, .. } = errand;
        let action = name_of(say);
        let body = match say {
            Ask::Reject { reason } | Ask::Cancel { reason, .. } => json!({"reason": reason}),
            Ask::End => json!({"duration": 0}),
            Ask::EndOngoing { seconds } => json!({"duration": seconds}),
        };
        let tokens = errand.tokens(is_end(say));
        let Some(segment) = call.known_id().segment() else { return self.done(callback, CallbackOutcome::Refused) };
        let path = format!("calls/{segment}/{action}");
        let Some((posted, token)) = self.post(action, &tokens, &path, &body).await else {
            return self.give_up(&call.id, say, CallbackOutcome::Unauthorized);
        };
        match posted {
            Posted::Status { status: 200..=299, .. } => self.done(callback, CallbackOutcome::Done),
            // Says nothing of the request: the first that fails is still the first.
            Posted::Status { status: 429, wait } => errand.later(wait.unwrap_or(THROTTLED).max(WAIT), claim.attempts),
            Posted::Status { status: 400..=499, .. } if is_end(say) => {
                self.give_up(&call.id, say, CallbackOutcome::Refused)
            }
            Posted::Status { status: 400..=499, .. } => self.done(callback, CallbackOutcome::Refused),
            Posted::Status { .. } | Posted::NoAnswer => {
                if let (Ask::Cancel { reason, .. }, 0) = (say, claim.attempts) {
                    self.notify_cancelled(&token, call, reason).await;
                }
                self.again(errand)
            }
            // Perhaps it waits in Laravel's queue: nothing is added to it, not even the push, before a look.
            Posted::Nothing | Posted::Unauthenticated => self.again(errand),
        }
    }

    /// Whether an earlier attempt may have been obeyed, or others may have closed the row.
    fn is_looked_at_first(&self, errand: &Errand<'_>) -> bool {
        let Errand { claim, callback, .. } = errand;
        // A lease ago: whoever had it may have died behind the request.
        let is_old = claim.message.due + self.lease() <= self.clock.now();
        // Written when it was due already: put back after a loss, with which it may be forgotten that it was said.
        let is_put_back = matches!(callback.ask, Ask::End) && claim.message.at >= claim.message.due;
        claim.attempts > 0 || is_old || is_put_back || matches!(callback.ask, Ask::EndOngoing { .. })
    }

    /// Whose the row is of a call that only a phone named. The id of an old one, paid for by others, must not have them
    /// end it once more by their own tokens.
    async fn whose(&self, errand: &Errand<'_>) -> Whose {
        match self.look(&errand.call.known_id(), &errand.tokens(true), Lane::Callbacks).await {
            Some(Asked::Row(row)) if !row.is_of(errand.call) => Whose::Others,
            Some(Asked::Row(row)) if row.status.is_final() => Whose::Over,
            Some(Asked::Forbidden) => Whose::Others,
            Some(Asked::Unavailable) => Whose::Unclear,
            // Without a row, or a token that may see it, its answer to the request itself is the last word.
            Some(Asked::Row(_) | Asked::Unknown) | None => Whose::Ours,
        }
    }

    async fn left(&self, errand: &Errand<'_>) -> Looked {
        let Errand { callback, call, .. } = errand;
        match self.look(&call.known_id(), &errand.tokens(true), Lane::Callbacks).await {
            Some(Asked::Row(row)) if !call.named && !row.is_of(call) => Looked::OfOthers,
            Some(Asked::Forbidden) if !call.named => Looked::OfOthers,
            Some(Asked::Row(row)) => Looked::Row(left_to_say(&callback.ask, call, row.status, self.clock.now())),
            Some(Asked::Unknown | Asked::Forbidden) => Looked::Unknown,
            Some(Asked::Unavailable) => Looked::Unavailable,
            None => Looked::Unauthorized,
        }
    }

    /// Its time is over: what the row says then decides whether somebody has to hear of it.
    async fn last_look(&self, errand: &Errand<'_>) -> Settled {
        let Errand { callback, call, .. } = errand;
        match self.left(errand).await {
            Looked::Row(Left::Nothing) => self.done(callback, CallbackOutcome::Done),
            Looked::OfOthers => self.keep_out(errand, CallbackOutcome::OfOthers),
            Looked::Row(Left::Same | Left::End | Left::Unclear)
            | Looked::Unknown
            | Looked::Unavailable
            | Looked::Unauthorized => self.give_up(&call.id, &callback.ask, CallbackOutcome::Expired),
        }
    }

    fn again(&self, errand: &Errand<'_>) -> Settled {
        let pause = AGAIN.get(errand.claim.attempts as usize).unwrap_or(&AGAIN[AGAIN.len() - 1]);
        errand.later(Duration::from_secs(*pause), errand.claim.attempts + 1)
    }

    fn done(&self, callback: &Callback, outcome: CallbackOutcome) -> Settled {
        metrics::called_back(name_of(&callback.ask), outcome);
        Settled::Done { lease: self.lease() }
    }

    /// A row that is not this call's is nobody's business here.
    fn keep_out(&self, errand: &Errand<'_>, outcome: CallbackOutcome) -> Settled {
        let request = name_of(&errand.callback.ask);
        tracing::warn!(call = %errand.call.id, request, "laravel has another call, or one that is over, under an id that only a phone named: it is not told of this one");
        self.done(errand.callback, outcome)
    }

    /// The one place where a row is left as it is, though it may be open.
    fn give_up(&self, call: &CallId, ask: &Ask, outcome: CallbackOutcome) -> Settled {
        let request = name_of(ask);
        metrics::called_back(request, outcome);
        open_row(call, request);
        Settled::Done { lease: self.lease() }
    }

    /// Has at least the push sent that ends the ring, when Laravel failed to close the row. Never after a refusal.
    async fn notify_cancelled(&self, token: &str, call: &Call, reason: &str) {
        let body = json!({
            "receiverId": call.callee.user,
            "callerId": call.caller.user,
            "callId": call.wire_id,
            "reason": reason,
        });
        let (path, secret) = ("calls/notify-cancelled", self.secret.as_deref());
        let posted = self.client.post("notify_cancelled", token, path, &body, secret).await;
        tracing::info!(call = %call.id, ?posted, "asked laravel for the push of a cancel that it could not take");
    }
}

/// A callback that is to be carried out.
struct Errand<'a> {
    claim: &'a Claim,
    callback: &'a Callback,
    call: &'a Call,
    begun: Timestamp,
}

/// Whose row there is under a call's id.
enum Whose {
    Ours,
    Others,
    /// It was over before.
    Over,
    Unclear,
}

/// What a look at the row came to.
enum Looked {
    Row(Left),
    /// It is another call's.
    OfOthers,
    Unknown,
    Unavailable,
    /// Laravel accepts no token.
    Unauthorized,
}

impl Errand<'_> {
    fn is_needless(&self) -> bool {
        matches!(self.callback.ask, Ask::Cancel { unless_reported: true, .. })
            && self.call.end().is_some_and(|end| end.reported)
    }

    /// Any party may look and end; only the one that acted may reject or cancel.
    fn tokens(&self, of_both: bool) -> Vec<&SealedToken> {
        let others = if of_both { &self.call.party(self.callback.by.other()).tokens[..] } else { &[] };
        self.call.party(self.callback.by).tokens.iter().chain(others).collect()
    }

    /// Not later than its time is over, when it is looked at for the last time.
    fn later(&self, pause: Duration, attempts: u32) -> Settled {
        Settled::Later { at: (self.begun + pause).min(self.callback.until), attempts }
    }
}

fn is_end(ask: &Ask) -> bool {
    match ask {
        Ask::End | Ask::EndOngoing { .. } => true,
        Ask::Reject { .. } | Ask::Cancel { .. } => false,
    }
}

/// The last part of the path, and the request's name in metrics.
fn name_of(ask: &Ask) -> &'static str {
    match ask {
        Ask::Reject { .. } => "reject",
        Ask::Cancel { .. } => "cancel",
        Ask::End | Ask::EndOngoing { .. } => "end",
    }
}

/// Laravel may have a call open in which nobody is, and nothing more is done about it.
fn open_row(call: &CallId, request: &'static str) {
    metrics::open_row();
    tracing::error!(%call, request, "laravel may have this call open though it is over: look, and end it there");
}

#[async_trait]
impl Destination for Callbacks {
    fn queue(&self) -> Queue {
        Queue::Callbacks
    }

    fn room(&self) -> usize {
        CALLBACKS_AT_ONCE
    }

    fn lease(&self) -> Duration {
        // A look, a cancel and its notice, one of them with a second token.
        self.timeout * 4 + MARGIN
    }

    async fn send(&self, claim: &Claim) -> Settled {
        let dead = |error: String| Settled::Dead { error, attempts: claim.attempts };
        let callback: Callback = match serde_json::from_str(&claim.message.body) {
            Ok(callback) => callback,
            // Of another version, perhaps: left to a node that knows it for as long as it may be made.
            Err(_) if claim.message.until.is_some_and(|until| until > self.clock.now()) => {
                return Settled::Later { at: self.clock.now() + WAIT, attempts: claim.attempts };
            }
            Err(error) => return dead(error.to_string()),
        };
        let Some(id) = &claim.message.call else { return dead("names no call".into()) };
        let attempted = match self.calls.load(id).await {
            Ok(Some(call)) if callback.is_of(&call) => self.carry_out(claim, &callback, &call).await,
            // With the call its tokens are gone. Under an id that its owner took back there is his call now.
            Ok(Some(_)) => return self.done(&callback, CallbackOutcome::OfOthers),
            Ok(None) => return self.give_up(id, &callback.ask, CallbackOutcome::Expired),
            Err(error) => Err(error),
        };
        attempted.unwrap_or_else(|_| Settled::Later { at: self.clock.now() + WAIT, attempts: claim.attempts })
    }

    fn is_repeatable(&self, claim: &Claim) -> bool {
        serde_json::from_str::<Callback>(&claim.message.body).is_ok()
    }

    /// It may have been obeyed: the next attempt looks first.
    fn attempts_after_break(&self, claim: &Claim) -> u32 {
        claim.attempts + 1
    }

    fn given_up(&self, claim: &Claim) {
        metrics::called_back("unreadable", CallbackOutcome::Dead);
        if let Some(call) = &claim.message.call {
            open_row(call, "unreadable");
        }
    }
}
