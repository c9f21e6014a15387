use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, mpsc};

use super::checks::Checks;
use super::client::{Client, Confirmation, Identity, Trust, Whose};
use super::lanes::Lane;
use super::seal::Sealer;
use super::strangers::Strangers;
use super::token::hash_of;
use crate::call::{CallId, SealedToken, Timestamp, TokenHash, UserId};
use crate::clock::Clock;
use crate::store::{KnownToken, TokenStore};
use crate::telemetry::{Who, metrics};

/// Tokens remembered by this node; beyond it those that are no longer fresh go, then all.
const REMEMBERED: usize = 200_000;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Revoked tokens that wait to be acted on.
const REVOKED_LIMIT: usize = 1024;

/// What the client of a handshake may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    Valid(Identity),
    /// Laravel said so in so many words: `Invalid token`.
    Invalid,
    /// Backend trouble, never the client's fault: its transport is closed and it comes back.
    Unavailable,
}

/// Times and rates of token verification.
#[derive(Clone, Copy, Debug)]
pub struct VerifierSettings {
    /// A verified token is not asked for again for this long.
    pub fresh: Duration,
    /// After that, and as long as its last session is not longer gone than this, it is accepted at once and checked
    /// in the background.
    pub stale: Duration,
    /// How long a handshake waits for Laravel.
    pub hold: Duration,
    /// Background checks a second.
    pub checks_per_second: u32,
    /// Requests a second for tokens that were never seen.
    pub new_tokens_per_second: u32,
}

/// A token that Laravel no longer accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub user: UserId,
    pub token: TokenHash,
}

/// Verifies tokens: by this node's memory, by the memory all nodes share, by Laravel, in this order.
pub struct LaravelVerifier {
    client: Arc<Client>,
    /// Where Laravel is called back with the tokens.
    sealer: Option<Arc<Sealer>>,
    tokens: Arc<dyn TokenStore>,
    clock: Clock,
    settings: VerifierSettings,
    known: Mutex<HashMap<TokenHash, KnownToken>>,
    asking: Mutex<HashMap<TokenHash, Arc<OnceCell<Whose>>>>,
    checks: Checks,
    strangers: Strangers,
    revoked: mpsc::Sender<Revoked>,
}

impl LaravelVerifier {
    /// Revoked tokens come out of the receiver.
    pub fn new(
        client: Arc<Client>,
        sealer: Option<Arc<Sealer>>,
        settings: VerifierSettings,
        tokens: Arc<dyn TokenStore>,
        clock: Clock,
    ) -> (Self, mpsc::Receiver<Revoked>) {
        let (revoked, receiver) = mpsc::channel(REVOKED_LIMIT);
        let verifier = Self {
            client,
            sealer,
            tokens,
            strangers: Strangers::new(settings.new_tokens_per_second, clock.clone()),
            clock,
            settings,
            known: Mutex::default(),
            asking: Mutex::default(),
            checks: Checks::default(),
            revoked,
        };
        (verifier, receiver)
    }

    /// Asks both possible addresses and keeps the one that answers as Laravel does.
    pub async fn find_route(&self) -> bool {
        self.client.find_route().await
    }

    /// Verifies that `token` belongs to `user`, for a client at an address; backend trouble is held and retried up to the
    /// hold time.
    pub async fn verify(&self, token: &str, user: &UserId, from: IpAddr) -> Verified {
        let hash = hash_of(token);
        let started = self.clock.elapsed();
        let hold = self.settings.hold.mul_f64(rand::random_range(0.8..1.0));
        let mut held = None;
        loop {
            let answer = match self.remembered(&hash).await {
                Some(known) => {
                    self.strangers.met(from);
                    if self.is_fresh(&known) {
                        metrics::token_checked("cached");
                    } else {
                        metrics::token_checked("stale");
                        self.checks.add(hash, token);
                    }
                    Whose::Valid(Identity { user: known.user, name: known.name })
                }
                None if self.strangers.was_refused(&hash) => {
                    metrics::token_checked("refused_again");
                    return Verified::Invalid;
                }
                None => {
                    // The wait for a place is part of the hold.
                    self.ask_of(token, hash, user, from, held.is_some(), started + hold).await
                }
            };
            match answer {
                Whose::Valid(identity) if identity.user == *user => return Verified::Valid(identity),
                Whose::Valid(_) | Whose::Invalid => {
                    metrics::token_checked("invalid");
                    return Verified::Invalid;
                }
                Whose::Unavailable | Whose::Unasked => {
                    if answer == Whose::Unavailable {
                        metrics::token_checked("unavailable");
                    }
                    if held.is_none() {
                        held = self.strangers.hold(from);
                    }
                    if held.is_none() || self.clock.elapsed().saturating_sub(started) + RETRY_PAUSE >= hold {
                        return Verified::Unavailable;
                    }
                    tokio::time::sleep(RETRY_PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
                }
            }
        }
    }

    /// What is kept with a call of a token, where Laravel is called back.
    pub fn seal(&self, token: &str) -> Option<SealedToken> {
        self.sealer.as_ref()?.seal(token)
    }

    /// Whether Laravel knows a call that is being initiated.
    pub async fn confirm(&self, token: &str, id: &CallId, caller: &UserId, receiver: &UserId) -> Confirmation {
        self.client.confirm(token, id, caller, receiver).await
    }

    /// Keeps the tokens of live sessions acceptable for another stale time.
    pub async fn keep_alive(&self, tokens: &[TokenHash]) {
        if let Err(error) = self.tokens.touch(tokens, self.settings.stale).await {
            tracing::debug!(%error, "keeping the tokens of live sessions failed");
        }
    }

    /// Checks stale tokens at a fixed rate for as long as the node lives, none while Laravel fails.
    pub async fn check_in_background(&self) {
        let pause = Duration::from_secs(1) / self.settings.checks_per_second.max(1);
        loop {
            tokio::time::sleep(pause).await;
            metrics::waiting_checks(self.checks.len());
            if self.checks.len() == 0 || self.client.is_refusing() {
                continue;
            }
            let Some((hash, token)) = self.checks.take() else { continue };
            let until = self.clock.elapsed() + self.settings.hold;
            match self.ask_once(&token, hash, Lane::Checks, Trust::Known, until).await {
                Whose::Valid(_) => {}
                Whose::Invalid => {
                    if !self.revoke(hash).await {
                        self.checks.add(hash, &token);
                    }
                }
                Whose::Unavailable | Whose::Unasked => self.checks.add(hash, &token),
            }
        }
    }

    /// Ends what came with a token that is no longer accepted; false where that is to be tried again. Whose it was is read
    /// before it is forgotten: a reply that is lost must not be the only one to say so.
    async fn revoke(&self, token: TokenHash) -> bool {
        let own = self.known.lock().get(&token).cloned();
        let known = match own {
            Some(known) => Some(known),
            None => match self.tokens.get(&token).await {
                Ok(known) => known,
                Err(_) => return false,
            },
        };
        if let Some(known) = known
            && self.revoked.try_send(Revoked { user: known.user, token }).is_err()
        {
            return false;
        }
        self.known.lock().remove(&token);
        self.tokens.forget(&token).await.is_ok()
    }

    /// Drops what this node remembers of a user's tokens.
    pub fn forget_here(&self, user: &UserId) {
        self.known.lock().retain(|_, known| known.user != *user);
        self.strangers.forget(user);
    }

    /// Forgets addresses and refusals that are long past.
    pub fn clean(&self) {
        self.strangers.clean();
    }

    /// Drops what all nodes share of a user's tokens, and what this one remembers; false where the former failed.
    pub async fn forget_user(&self, user: &UserId) -> bool {
        let shared = self.tokens.forget_user(user).await;
        // After the shared ones: else one of them could be remembered again.
        self.forget_here(user);
        if let Err(error) = &shared {
            tracing::debug!(user = %Who(user), %error, "forgetting the tokens of a user failed");
        }
        shared.is_ok()
    }

    /// What is known of a token: fresh by this node's memory, else by the shared one.
    async fn remembered(&self, hash: &TokenHash) -> Option<KnownToken> {
        let own = self.known.lock().get(hash).cloned();
        if let Some(known) = own.as_ref().filter(|known| self.is_fresh(known)) {
            return Some(known.clone());
        }
        match self.tokens.get(hash).await {
            Ok(Some(shared)) => {
                self.remember(*hash, shared.clone());
                Some(shared)
            }
            Ok(None) => None,
            // Without the store this node's own memory has to do.
            Err(_) => own.filter(|known| self.age(known) < self.settings.stale),
        }
    }

    fn is_fresh(&self, known: &KnownToken) -> bool {
        self.age(known) < self.settings.fresh
    }

    fn age(&self, known: &KnownToken) -> Duration {
        self.clock.now().since(known.verified_at)
    }

    /// Asks for a token that is not remembered. One that was good once is asked for before those that never were; what a
    /// firewall answers to those holds nobody else.
    async fn ask_of(
        &self,
        token: &str,
        hash: TokenHash,
        user: &UserId,
        from: IpAddr,
        again: bool,
        until: Duration,
    ) -> Whose {
        if self.known.lock().contains_key(&hash) {
            let answer = self.ask_once(token, hash, Lane::Handshakes, Trust::Known, until).await;
            if answer == Whose::Invalid {
                self.known.lock().remove(&hash);
                self.strangers.refuse(hash, user);
            }
            return answer;
        }
        // Whoever brings the same token waits for the answer to the first.
        if self.asking.lock().contains_key(&hash) {
            return self.ask_once(token, hash, Lane::Strangers, Trust::Stranger, until).await;
        }
        let Some(leave) = self.strangers.leave(from, again) else {
            metrics::token_checked("bounded");
            return Whose::Unasked;
        };
        let lane = if leave.is_good { Lane::Handshakes } else { Lane::Strangers };
        let answer = self.ask_once(token, hash, lane, Trust::Stranger, until).await;
        self.strangers.learn(from, hash, user, &answer);
        answer
    }

    /// One request per token at a time, which gets its place before `until` or none; whoever else asks meanwhile gets its
    /// answer.
    async fn ask_once(&self, token: &str, hash: TokenHash, lane: Lane, trust: Trust, until: Duration) -> Whose {
        let cell = Arc::clone(self.asking.lock().entry(hash).or_default());
        let answer = cell
            .get_or_init(|| async {
                // Whoever asks may have waited for another who left.
                let patience = until.saturating_sub(self.clock.elapsed());
                let answer = self.client.whose(token, lane, trust, patience).await;
                if let Whose::Valid(identity) = &answer {
                    metrics::token_checked("valid");
                    self.learn(hash, identity, self.clock.now()).await;
                }
                answer
            })
            .await
            .clone();
        let mut asking = self.asking.lock();
        if asking.get(&hash).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
            asking.remove(&hash);
        }
        answer
    }

    async fn learn(&self, hash: TokenHash, identity: &Identity, now: Timestamp) {
        let known = KnownToken { user: identity.user.clone(), name: identity.name.clone(), verified_at: now };
        self.remember(hash, known.clone());
        // Once more where the first attempt failed: what is not shared is asked of Laravel again by other nodes.
        let first = self.tokens.put(&hash, &known, self.settings.stale).await;
        if first.is_err()
            && let Err(error) = self.tokens.put(&hash, &known, self.settings.stale).await
        {
            tracing::debug!(%error, "sharing a verified token failed");
        }
    }

    fn remember(&self, hash: TokenHash, token: KnownToken) {
        self.client.knows(hash, &token.user);
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, known| self.is_fresh(known));
            if known.len() >= REMEMBERED {
                known.clear();
            }
        }
        known.insert(hash, token);
    }
}
