use std::sync::Arc;

use async_trait::async_trait;

use super::AppError;
use crate::call::{Asked, CallId, SealedToken};
use crate::clock::Clock;
use crate::config::{Auth, Config};
use crate::laravel::{Callbacks, Client, Sealer};
use crate::signaling::BackendCallTable;
use crate::store::CallStore;

/// The way to Laravel, where there is one.
#[derive(Clone)]
pub(super) struct Laravel {
    pub client: Arc<Client>,
    /// With legacy callbacks.
    pub sealer: Option<Arc<Sealer>>,
    pub callbacks: Option<Arc<Callbacks>>,
}

#[async_trait]
impl BackendCallTable for Callbacks {
    async fn row(&self, id: &CallId, tokens: &[SealedToken]) -> Asked {
        Callbacks::row(self, id, tokens).await
    }
}

impl Laravel {
    pub fn open(config: &Config, clock: &Clock, calls: &Arc<dyn CallStore>) -> Result<Option<Self>, AppError> {
        let Auth::Laravel { url } = &config.auth else { return Ok(None) };
        let timeout = config.auth_times.timeout;
        let client = Arc::new(Client::new(url, timeout, clock.clone())?);
        if !config.policy.callbacks {
            return Ok(Some(Self { client, sealer: None, callbacks: None }));
        }
        // Without any secret the store is this process's memory, and so may the key be.
        let own: [u8; 32] = rand::random();
        let mut secrets = config.sealing_secrets();
        if secrets.is_empty() {
            secrets.push(&own);
        }
        let sealer = Arc::new(Sealer::new(secrets.into_iter()));
        let secret = config.api_secrets.first().map(|secret| secret.expose().to_owned());
        let callbacks =
            Callbacks::new(Arc::clone(&client), Arc::clone(&sealer), Arc::clone(calls), secret, timeout, clock.clone());
        Ok(Some(Self { client, sealer: Some(sealer), callbacks: Some(Arc::new(callbacks)) }))
    }

    pub fn call_table(&self) -> Option<Arc<dyn BackendCallTable>> {
        self.callbacks.clone().map(|callbacks| callbacks as Arc<dyn BackendCallTable>)
    }
}
