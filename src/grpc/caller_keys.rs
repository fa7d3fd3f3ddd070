//! The keys of callers, as the registry has them: those that sign access tokens, and those of certificates.

use std::sync::Arc;

use async_trait::async_trait;

use crate::app::{App, AppResult};
use crate::domain::{Reason, Refusal};
use crate::identity::{AccessKey, AccessKeys, Peer};
use crate::store::{Store, StoreError, registry};

/// The registered access keys, read from the store.
pub struct RegistryKeys {
    store: Arc<Store>,
}

impl RegistryKeys {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    async fn find(&self, kid: &str) -> Result<Option<AccessKey>, StoreError> {
        let row = registry::access_key(&mut self.store.reader().await?, kid).await?;
        match row {
            // The leaf names the thumbprint: a key that does not have it is not the one that was registered.
            Some(row) if !row.revoked => AccessKey::from_jwk(row.principal, &row.jwk)
                .ok()
                .filter(|key| key.kid() == kid)
                .map(Some)
                .ok_or(StoreError::Corrupt("access_keys.jwk")),
            _ => Ok(None),
        }
    }
}

#[async_trait]
impl AccessKeys for RegistryKeys {
    async fn access_key(&self, kid: &str) -> Result<Option<AccessKey>, Refusal> {
        answered(self.find(kid).await)
    }

    fn generation(&self) -> u64 {
        self.store.wakes().access_keys_generation()
    }
}

/// Where the keys of callers' certificates are on record.
#[async_trait]
pub trait TlsKeys: Send + Sync {
    /// Whether it is on record as the peer's own. `TLS_KEY_USED_ELSEWHERE` where it is anything else's.
    async fn is_known(&self, peer: &Peer) -> Result<bool, Refusal>;

    /// Puts it on record as the peer's own.
    async fn claim(&self, peer: &Peer) -> Result<(), Refusal>;
}

/// Those of the registry.
pub struct RegistryTlsKeys(pub Arc<App>);

#[async_trait]
impl TlsKeys for RegistryTlsKeys {
    async fn is_known(&self, peer: &Peer) -> Result<bool, Refusal> {
        answered(self.0.knows_tls_key(&peer.key, &peer.spiffe.principal().resource_name()).await)
    }

    async fn claim(&self, peer: &Peer) -> Result<(), Refusal> {
        answered(self.0.claim_tls_key(&peer.key, &peer.spiffe.principal().resource_name()).await)
    }
}

/// The registry's own trouble is `UNAVAILABLE`.
fn answered<T>(done: AppResult<T>) -> Result<T, Refusal> {
    done.map_err(|error| match error {
        StoreError::Refused(refusal) => refusal,
        error => {
            // Its Display names no values.
            tracing::error!(%error, "a caller's key could not be looked up");
            Reason::Unavailable.into()
        }
    })
}
