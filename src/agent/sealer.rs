//! What the ledger asks of the vault.

use async_trait::async_trait;

use super::ledger_chain::Anchor;
use crate::domain::{ExecutionId, Refusal};

/// Where a sealed value lies. The seal is bound to it: at any other place it does not open.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub execution: ExecutionId,
    pub table: &'static str,
    pub row: &'a str,
    pub column: &'static str,
}

/// Seals what the ledger keeps of the store's keys, and marks identifiers. All that is made for an
/// execution is made under keys of its own, which [`Sealer::shred`] destroys.
#[async_trait]
pub trait Sealer: Send + Sync {
    /// AEAD under a key that is durable before this returns.
    async fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Refusal>;

    async fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Refusal>;

    /// The execution's mark of a message: the id of its key (16 bytes), then HMAC-SHA256 under that key.
    async fn mark(&self, execution: ExecutionId, message: &[u8]) -> Result<Vec<u8>, Refusal>;

    /// The mark that the message has under the key of another mark. Makes no key: `NOT_FOUND` where that
    /// one was destroyed.
    async fn mark_like(&self, mark: &[u8], message: &[u8]) -> Result<Vec<u8>, Refusal>;

    /// Destroys every key of the execution: what was sealed opens no more, what was marked matches nothing.
    async fn shred(&self, execution: ExecutionId) -> Result<(), Refusal>;

    /// Notes, durably, that the ledger has come this far: an older copy of it is known for one from then on.
    async fn note_ledger(&self, at: Anchor) -> Result<(), Refusal>;
}
