use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::RETRY_AFTER;
use reqwest::{StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::blame::Blame;
use super::network::{PublicOnly, is_public};
use super::pace::Pace;
use super::schedule::{push_failed, record_failed};
use super::signature::{SigningSecret, signatures};
use crate::clock::Clock;
use crate::dispatcher::{Destination, causes, retry_after};
use crate::store::{Claim, Outbox, Queue, Settled};
use crate::telemetry::metrics;

/// Requests at the same time from one node.
const RECORDS_AT_ONCE: usize = 32;
const PUSHES_AT_ONCE: usize = 16;
const RECORD_TIMEOUT: Duration = Duration::from_secs(15);
const PUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// What a lease is longer than an attempt.
const MARGIN: Duration = Duration::from_secs(5);
/// A message that met a receiver which wants nothing more.
const UNTIL_SWITCHED_ON: Duration = Duration::from_secs(60);

/// Where webhooks go.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    pub url: String,
    /// The first two sign; never empty.
    pub secrets: Vec<SigningSecret>,
    /// Loopback and private addresses too, and without TLS.
    pub allow_private: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("WEBHOOK_URL can't be read")]
    Url,
    #[error("WEBHOOK_URL must begin with https://, http:// needs WEBHOOK_ALLOW_PRIVATE=true")]
    Scheme,
    #[error("WEBHOOK_URL names a private address, which needs WEBHOOK_ALLOW_PRIVATE=true")]
    Private,
    #[error("building the HTTP client failed")]
    Client(#[from] reqwest::Error),
}

/// The receiver of webhooks: how it is reached, and how it is doing.
pub struct Endpoint {
    http: reqwest::Client,
    url: Url,
    /// Names the receiver without telling its address.
    name: String,
    secrets: Vec<SigningSecret>,
    pace: Pace,
    outbox: Arc<dyn Outbox>,
    clock: Clock,
    /// What waits for a later attempt is to be made due.
    is_back: Notify,
    /// It refused the signature, and has taken nothing since.
    is_refused: AtomicBool,
}

/// What an attempt came to.
enum Attempt {
    Delivered,
    Failed { error: String, wait: Option<Duration>, blame: Blame },
    Gone,
}

impl EndpointSettings {
    /// Whether such an address may be sent to at all.
    pub fn check(&self) -> Result<Url, EndpointError> {
        let url = Url::parse(&self.url).map_err(|_| EndpointError::Url)?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private => {}
            _ => return Err(EndpointError::Scheme),
        }
        let host = url.host_str().ok_or(EndpointError::Url)?;
        // A name is checked when it is resolved.
        let literal = host.trim_matches(['[', ']']).parse();
        if !self.allow_private && literal.is_ok_and(|address| !is_public(address)) {
            return Err(EndpointError::Private);
        }
        Ok(url)
    }
}

impl Endpoint {
    #[expect(clippy::disallowed_methods, reason = "the one home of webhook clients")]
    pub fn new(settings: EndpointSettings, outbox: Arc<dyn Outbox>, clock: Clock) -> Result<Self, EndpointError> {
        let url = settings.check()?;
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve the name instead.
            .no_proxy()
            .pool_max_idle_per_host(RECORDS_AT_ONCE)
            .user_agent(concat!("onlycare-signaling/", env!("CARGO_PKG_VERSION")));
        if !settings.allow_private {
            http = http.dns_resolver(Arc::new(PublicOnly));
        }
        let name = Sha256::digest(url.as_str().as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            http: http.build()?,
            url,
            name,
            secrets: settings.secrets.into_iter().take(2).collect(),
            pace: Pace::new(RECORDS_AT_ONCE),
            outbox,
            clock,
            is_back: Notify::new(),
            is_refused: AtomicBool::new(false),
        })
    }

    /// Takes over what all nodes know: which receiver wants nothing more.
    pub(super) async fn adopt(&self, switched_off: Option<&str>) {
        let off = switched_off == Some(&self.name);
        let was_off = self.pace.is_off();
        self.pace.switch(off);
        metrics::webhooks_off(usize::from(off));
        if was_off && !off {
            tracing::info!("webhooks are switched on again");
            self.is_back.notify_one();
        }
    }

    /// Waits for `pause`, or until the receiver is back: then what waits for a later attempt goes at once. Where the store
    /// fails that is owed until it has succeeded: own times are up to a day away.
    pub(super) async fn hurry_within(&self, pause: Duration) {
        if tokio::time::timeout(pause, self.is_back.notified()).await.is_err() {
            return;
        }
        for queue in [Queue::Events, Queue::Pushes] {
            if let Err(error) = self.outbox.hurry(queue, self.clock.now()).await {
                tracing::debug!(%error, "making webhooks due that wait failed, to be repeated");
                self.is_back.notify_one();
                return tokio::time::sleep(pause).await;
            }
        }
    }

    async fn attempt(&self, claim: &Claim, timeout: Duration) -> Attempt {
        let message = &claim.message;
        let seconds = self.clock.now().as_millis() / 1000;
        let started = self.clock.elapsed();
        let sent = self
            .http
            .post(self.url.clone())
            .timeout(timeout)
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signatures(&self.secrets, &message.id, seconds, &message.body))
            .body(message.body.clone())
            .send()
            .await;
        metrics::webhook_answered(self.clock.elapsed().saturating_sub(started));
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                metrics::webhook_failed(if error.is_timeout() { "timed_out" } else { "unreachable" });
                return Attempt::Failed { error: causes(&error.without_url()), wait: None, blame: Blame::Receiver };
            }
        };
        let status = response.status();
        if status.is_success() {
            self.is_refused.store(false, Ordering::Relaxed);
            return Attempt::Delivered;
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && !self.is_refused.swap(true, Ordering::Relaxed)
        {
            tracing::error!(
                status = status.as_u16(),
                "the receiver refuses webhooks: does it have this node's WEBHOOK_SECRET?"
            );
        }
        metrics::webhook_failed(match status {
            StatusCode::TOO_MANY_REQUESTS => "too_many",
            _ if status.is_redirection() => "redirected",
            _ if status.is_server_error() => "failed",
            _ => "refused",
        });
        if status == StatusCode::GONE {
            return Attempt::Gone;
        }
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = asked.and_then(|value| retry_after(value, self.clock.now()));
        if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
            self.pace.too_much(wait, self.clock.elapsed());
        }
        Attempt::Failed { error: format!("HTTP {}", status.as_u16()), wait, blame: Blame::of(status) }
    }

    /// Makes an attempt; `after` says when a message that failed is sent again.
    async fn send(
        &self,
        claim: &Claim,
        timeout: Duration,
        after: impl FnOnce(&str, Option<Duration>) -> Settled,
    ) -> Settled {
        // While the receiver fails altogether, that says nothing of this message.
        let probe = self.pace.is_open();
        let attempt = self.attempt(claim, timeout).await;
        let kind = if claim.message.queue == Queue::Pushes { "push" } else { "record" };
        metrics::webhook(kind, if matches!(attempt, Attempt::Delivered) { "delivered" } else { "failed" });
        match attempt {
            Attempt::Delivered => {
                if self.pace.succeeded() {
                    tracing::info!("the receiver of webhooks is back");
                    // Not here: a million messages take longer than the lease over this one.
                    self.is_back.notify_one();
                }
                Settled::Done { lease: timeout + MARGIN }
            }
            Attempt::Gone => {
                tracing::error!("the receiver of webhooks answers 410, they are switched off; POST /outbox/on");
                self.pace.switch(true);
                if let Err(error) = self.outbox.switch_off(Some(&self.name)).await {
                    tracing::warn!(%error, "other nodes could not be told that webhooks are switched off");
                }
                Settled::Later { at: self.clock.now() + UNTIL_SWITCHED_ON, attempts: claim.attempts }
            }
            Attempt::Failed { error, wait, blame } => {
                let Some(culprit) = blame.culprit(&claim.message) else { return after(&error, wait) };
                let rest = self.pace.failed(&culprit, probe, self.clock.elapsed());
                if probe {
                    return Settled::Later { at: self.clock.now() + rest, attempts: claim.attempts };
                }
                if self.pace.is_open() {
                    tracing::warn!(%error, "the receiver of webhooks fails, it is only probed");
                }
                after(&error, wait)
            }
        }
    }
}

/// Carries the milestones of calls.
pub struct Events(pub Arc<Endpoint>);

#[async_trait]
impl Destination for Events {
    fn queue(&self) -> Queue {
        Queue::Events
    }

    fn room(&self) -> usize {
        self.0.pace.room(self.0.clock.elapsed())
    }

    fn lease(&self) -> Duration {
        RECORD_TIMEOUT + MARGIN
    }

    async fn send(&self, claim: &Claim) -> Settled {
        if claim.message.until.is_some_and(|until| until <= self.0.clock.now()) {
            return Settled::Done { lease: self.lease() };
        }
        let failed = |error: &str, wait| record_failed(claim, error, wait, rand::random(), self.0.clock.now());
        self.0.send(claim, RECORD_TIMEOUT, failed).await
    }

    fn is_repeatable(&self, _: &Claim) -> bool {
        true
    }

    fn given_up(&self, _: &Claim) {
        metrics::webhook("record", "dead");
    }
}

/// Carries what wakes phones.
pub struct Pushes(pub Arc<Endpoint>);

#[async_trait]
impl Destination for Pushes {
    fn queue(&self) -> Queue {
        Queue::Pushes
    }

    fn room(&self) -> usize {
        self.0.pace.room(self.0.clock.elapsed()).min(PUSHES_AT_ONCE)
    }

    fn lease(&self) -> Duration {
        PUSH_TIMEOUT + MARGIN
    }

    async fn send(&self, claim: &Claim) -> Settled {
        if claim.message.until.is_some_and(|until| until <= self.0.clock.now()) {
            metrics::webhook("push", "expired");
            return Settled::Done { lease: self.lease() };
        }
        let failed = |_: &str, wait| push_failed(claim, wait, rand::random(), self.0.clock.now());
        self.0.send(claim, PUSH_TIMEOUT, failed).await
    }

    fn is_repeatable(&self, _: &Claim) -> bool {
        true
    }

    fn given_up(&self, _: &Claim) {
        metrics::webhook("push", "dead");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::UNLIMITED;
    use crate::store::memory::MemoryStore;
    use crate::webhook::schedule::tests::claim;

    /// A name is judged by what it resolves to, at each connection.
    #[tokio::test]
    async fn a_name_of_the_own_network_is_refused() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let second = Duration::from_secs(1);
        let clock = Clock::system();
        let outbox = Arc::new(MemoryStore::new(clock.clone(), UNLIMITED));
        let secrets = vec![SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
        let settings = EndpointSettings { url: "https://localhost:1/hook".into(), secrets, allow_private: false };
        let endpoint = Endpoint::new(settings, outbox, clock).unwrap();
        let Attempt::Failed { error, .. } = endpoint.attempt(&claim(0), second).await else { panic!("delivered") };
        assert!(error.contains("localhost resolves to private addresses only"), "{error}");
    }
}
