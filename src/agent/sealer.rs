//! What the ledger asks of the vault.

use async_trait::async_trait;

use crate::domain::{ExecutionId, Refusal};

/// Where a sealed value lies. The seal is bound to it: at any other place it does not open.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub execution: ExecutionId,
    pub table: &'static str,
    pub row: &'a str,
    pub column: &'static str,
}

/// Seals what the ledger keeps of the store's keys, and makes look-up keys of identifiers.
#[async_trait]
pub trait Sealer: Send + Sync {
    /// AEAD under a key that is durable before this returns.
    async fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Refusal>;

    async fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Refusal>;

    /// HMAC-SHA256 under a key that stays the same for the life of the ledger.
    async fn look_up_key(&self, message: &[u8]) -> Result<[u8; 32], Refusal>;
}
