//! An unmodified backend is told over its own REST API, in the name and with the token of the party that acted
//! (semantics.md, "With deployed apps and an unmodified backend").

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::client::{Client, Posted};
use super::seal::Sealer;
use crate::call::{Ask, Asked, Call, CallId, Callback, SealedToken};
use crate::clock::Clock;
use crate::courier::Carrier;
use crate::store::{CallStore, Claim, Queue, Settled, StoreError};
use crate::telemetry::metrics::{self, CallbackOutcome};

const AT_ONCE: usize = 16;
const MARGIN: Duration = Duration::from_secs(10);
/// While another call rings the callee, or Laravel is not to be asked; the least after a 429.
const WAIT: Duration = Duration::from_secs(1);
/// Pauses between attempts to cancel.
const CANCEL_AGAIN: [u64; 5] = [2, 5, 10, 20, 30];
const REJECT_AGAIN: Duration = Duration::from_millis(1500);
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
        for token in tokens {
            let Some(token) = self.open(token) else { continue };
            match self.client.row(&token, id).await {
                Some(asked) => return asked,
                None => metrics::token_dropped(),
            }
        }
        Asked::Unknown
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
                Posted::Status { status: 401, .. } => metrics::token_dropped(),
                posted => return Some((posted, token)),
            }
        }
        None
    }

    async fn carry_out(&self, claim: &Claim, callback: &Callback, call: &Call) -> Result<Settled, StoreError> {
        let now = self.clock.now();
        let done = |outcome| {
            metrics::called_back(name_of(&callback.ask), outcome);
            Ok(Settled::Done { lease: self.lease() })
        };
        let wait = |pause: Duration, attempts| Ok(Settled::Later { at: now + pause, attempts });
        if let Ask::Cancel { unless_reported: true, .. } = callback.ask
            && call.end().is_some_and(|end| end.reported)
        {
            return done(CallbackOutcome::Needless);
        }
        if let Ask::Cancel { .. } = callback.ask {
            // The app silences any ring on a cancel push, whichever call it is for.
            let line = self.calls.line(&call.callee.user).await?;
            if line.is_some_and(|line| line.is_ringing() && line.id != call.id && line.callee.user == call.callee.user)
            {
                return wait(WAIT, claim.attempts);
            }
        }
        let once = callback.ask == Ask::End;
        if self.client.is_refusing() && !once {
            return wait(WAIT, claim.attempts);
        }
        let action = name_of(&callback.ask);
        let body = match &callback.ask {
            Ask::Reject { reason } | Ask::Cancel { reason, .. } => json!({"reason": reason}),
            Ask::End => json!({"duration": 0}),
        };
        let tokens = call.party(callback.by).tokens.iter();
        // Any party may end; only the one that acted may reject or cancel.
        let others = if once { &call.party(callback.by.other()).tokens[..] } else { &[] };
        let tokens: Vec<&SealedToken> = tokens.chain(others).collect();
        let path = format!("calls/{}/{action}", call.id);
        let Some((posted, token)) = self.post(action, &tokens, &path, &body).await else {
            if once {
                open_row(call);
            }
            return done(CallbackOutcome::Unauthorized);
        };
        let attempts = claim.attempts + 1;
        match (posted, &callback.ask) {
            (Posted::Status { status: 200..=299, .. }, _) => done(CallbackOutcome::Done),
            (_, Ask::End) => {
                open_row(call);
                done(CallbackOutcome::Failed)
            }
            // Says nothing of the request: the first that fails is still the first.
            (Posted::Status { status: 429, wait: asked }, _) => {
                wait(asked.unwrap_or(THROTTLED).max(WAIT), claim.attempts)
            }
            (Posted::Status { status: 300..=499, .. }, _) => done(CallbackOutcome::Refused),
            (Posted::Status { .. } | Posted::Nothing, Ask::Reject { .. }) => {
                if claim.attempts == 0 {
                    return wait(REJECT_AGAIN, attempts);
                }
                done(CallbackOutcome::Failed)
            }
            (Posted::Status { .. } | Posted::Nothing, Ask::Cancel { reason, .. }) => {
                if claim.attempts == 0 {
                    self.notify_cancelled(&token, call, reason).await;
                }
                let pause = CANCEL_AGAIN.get(claim.attempts as usize).unwrap_or(&CANCEL_AGAIN[CANCEL_AGAIN.len() - 1]);
                wait(Duration::from_secs(*pause), attempts)
            }
        }
    }

    /// Has at least the push sent that ends the ring, when the row could not be closed. Never after a refusal.
    async fn notify_cancelled(&self, token: &str, call: &Call, reason: &str) {
        let body = json!({
            "receiverId": call.callee.user,
            "callerId": call.caller.user,
            "callId": call.spelled,
            "reason": reason,
        });
        let (path, secret) = ("calls/notify-cancelled", self.secret.as_deref());
        let posted = self.client.post("notify_cancelled", token, path, &body, secret).await;
        tracing::info!(call = %call.id, ?posted, "asked laravel for the push of a cancel that it could not take");
    }
}

/// The last part of the path, and the request's name in metrics.
fn name_of(ask: &Ask) -> &'static str {
    match ask {
        Ask::Reject { .. } => "reject",
        Ask::Cancel { .. } => "cancel",
        Ask::End => "end",
    }
}

/// Laravel has a call as ongoing in which nobody is, and the time in which that costs nothing is over.
fn open_row(call: &Call) {
    metrics::open_row();
    tracing::error!(call = %call.id, "laravel has this call open though nobody is in it: end it there");
}

#[async_trait]
impl Carrier for Callbacks {
    fn queue(&self) -> Queue {
        Queue::Callbacks
    }

    fn room(&self) -> usize {
        AT_ONCE
    }

    fn lease(&self) -> Duration {
        // A cancel may be followed by a notice, and each by a second token.
        self.timeout * 4 + MARGIN
    }

    async fn carry(&self, claim: &Claim) -> Settled {
        let dropped = Settled::Done { lease: self.lease() };
        let callback: Callback = match serde_json::from_str(&claim.letter.body) {
            Ok(callback) => callback,
            // Of another version, perhaps: left to a node that knows it for as long as it may be made.
            Err(_) if claim.letter.until.is_some_and(|until| until > self.clock.now()) => {
                return Settled::Later { at: self.clock.now() + WAIT, attempts: claim.attempts };
            }
            Err(error) => return Settled::Dead { error: error.to_string(), attempts: claim.attempts },
        };
        let Some(id) = &claim.letter.call else { return dropped };
        let call = match self.calls.load(id).await {
            Ok(Some(call)) => call,
            Ok(None) => return dropped,
            Err(_) => return Settled::Later { at: self.clock.now() + WAIT, attempts: claim.attempts },
        };
        if callback.until <= self.clock.now() {
            metrics::called_back(name_of(&callback.ask), CallbackOutcome::Expired);
            if callback.ask == Ask::End {
                open_row(&call);
            }
            return dropped;
        }
        match self.carry_out(claim, &callback, &call).await {
            Ok(settled) => settled,
            Err(_) => Settled::Later { at: self.clock.now() + WAIT, attempts: claim.attempts },
        }
    }

    fn is_repeatable(&self, claim: &Claim) -> bool {
        serde_json::from_str::<Callback>(&claim.letter.body).is_ok_and(|callback| callback.ask != Ask::End)
    }

    fn given_up(&self, _: &Claim) {
        metrics::called_back("unreadable", CallbackOutcome::Dead);
    }
}
