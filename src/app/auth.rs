use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::laravel::Laravel;
use crate::call::{CallId, UserId};
use crate::clock::Clock;
use crate::config::Config;
use crate::laravel::{Confirmation, LaravelVerifier, Revoked, Verified, VerifierSettings, hash_of};
use crate::signaling::Signaling;
use crate::socket::{Authenticate, Authenticated};
use crate::store::TokenStore;
use crate::telemetry::metrics;

/// How often the tokens of live sessions are kept acceptable.
const KEEP_TOKENS: Duration = Duration::from_secs(60);
const ROUTE_PAUSE: Duration = Duration::from_secs(5);

/// Nobody is asked: development.
struct AnyToken;

#[async_trait]
impl Authenticate for AnyToken {
    async fn authenticate(&self, _token: &str, user: &UserId, _from: IpAddr) -> Authenticated {
        Authenticated::Yes { name: Some(user.to_string()), token: None, sealed: None }
    }

    async fn knows_call(&self, _: &str, _: &CallId, _: &UserId, _: &UserId) -> Option<bool> {
        None
    }

    async fn forget(&self, _: &UserId) -> bool {
        true
    }
}

#[async_trait]
impl Authenticate for LaravelVerifier {
    async fn authenticate(&self, token: &str, user: &UserId, from: IpAddr) -> Authenticated {
        match self.verify(token, user, from).await {
            Verified::Valid(identity) => {
                Authenticated::Yes { name: identity.name, token: Some(hash_of(token)), sealed: self.seal(token) }
            }
            Verified::Invalid => Authenticated::No,
            Verified::Unavailable => Authenticated::Unavailable,
        }
    }

    async fn knows_call(&self, token: &str, id: &CallId, caller: &UserId, receiver: &UserId) -> Option<bool> {
        match self.confirm(token, id, caller, receiver).await {
            Confirmation::Confirmed => Some(true),
            Confirmation::Contradicted => Some(false),
            Confirmation::Unavailable => None,
        }
    }

    async fn forget(&self, user: &UserId) -> bool {
        self.forget_user(user).await
    }
}

/// Who verifies tokens, with its loops started.
pub(super) fn authenticator(
    config: &Config,
    clock: &Clock,
    laravel: Option<Laravel>,
    signaling: &Arc<Signaling>,
    tokens: Arc<dyn TokenStore>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Arc<dyn Authenticate> {
    let Some(laravel) = laravel else {
        metrics::laravel_route_found(1);
        return Arc::new(AnyToken);
    };
    let times = config.auth_times;
    let settings = VerifierSettings {
        fresh: times.cache,
        stale: times.stale,
        hold: times.hold,
        checks_per_second: times.checks_per_second,
        new_tokens_per_second: times.new_tokens_per_second,
    };
    let (verifier, mut revoked) = LaravelVerifier::new(laravel.client, laravel.sealer, settings, tokens, clock.clone());
    let verifier = Arc::new(verifier);
    let run = |work: Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.spawn(stop.clone().run_until_cancelled_owned(work));
    };
    let finding = Arc::clone(&verifier);
    run(Box::pin(async move {
        while !finding.find_route().await {
            tracing::error!("no address of laravel answers users/me with its 401, handshakes are held");
            tokio::time::sleep(ROUTE_PAUSE).await;
        }
    }));
    let checking = Arc::clone(&verifier);
    run(Box::pin(async move { checking.check_in_background().await }));
    let (keeping, sessions) = (Arc::clone(&verifier), Arc::clone(signaling));
    run(Box::pin(async move {
        loop {
            tokio::time::sleep(KEEP_TOKENS).await;
            keeping.keep_alive(&sessions.backend.live_tokens()).await;
            keeping.clean();
        }
    }));
    if let Some(mut sent_away) = signaling.backend.users_sent_away() {
        let forgetting = Arc::clone(&verifier);
        run(Box::pin(async move {
            while let Some(user) = sent_away.recv().await {
                forgetting.forget_here(&user);
            }
        }));
    }
    let sessions = Arc::clone(signaling);
    run(Box::pin(async move {
        while let Some(Revoked { user, token }) = revoked.recv().await {
            sessions.backend.revoke(&user, token).await;
        }
    }));
    verifier
}
