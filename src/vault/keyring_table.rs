//! What the keyring asks of the place where its rows lie: a file of one process, or a server of several.
//!
//! The logic stands in `keyring`; here is only what differs. Each call is one transaction, and durable
//! when it returns.

use std::sync::Arc;

use tokio::sync::watch;

use super::data_key::{KeyId, KeyMaterial};
use super::error::VaultError;
use super::keyring_mark::Mark;

/// Keys read or changed in one transaction of a long walk.
pub(super) const PAGE: u32 = 512;

/// A key about to be written, or its new wrapping.
#[derive(Clone)]
pub(super) struct NewRow {
    pub(super) id: KeyId,
    pub(super) epoch: u32,
    pub(super) wrapped: Vec<u8>,
}

/// A new key: its row, and what it is in memory.
pub(super) struct NewKey {
    pub(super) row: NewRow,
    pub(super) material: Arc<KeyMaterial>,
}

/// A key that is on the disk and that nobody uses yet.
pub(super) type Spare = (KeyId, Arc<KeyMaterial>);

/// What all processes on one keyring agreed about epochs. A file, with its one process, says nothing: zeros.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    /// No key is wrapped under an epoch before this one any more.
    pub(super) oldest: u32,
    /// The last one that any process began.
    pub(super) newest: u32,
}

/// Where new keys go.
pub(super) struct Room {
    pub(super) bounds: Bounds,
    /// One for each key; a place that finds keys by their whole id names no slot.
    pub(super) slots: Vec<Option<u32>>,
}

/// Makes the keys for that room. Asked again after a lost connection: then it makes others.
pub(super) type Make<'a> = &'a (dyn Fn(&Room) -> Result<Vec<NewKey>, VaultError> + Send + Sync);

/// Another wrapping of the same key.
pub(super) type Wrap<'a> = &'a (dyn Fn(Bounds, KeyId, &[u8]) -> Result<NewRow, VaultError> + Send + Sync);

/// Keys made by one call, and the run they belong to.
pub(super) struct Added {
    pub(super) run: i64,
    pub(super) keys: Vec<Spare>,
}

pub(super) struct Removed {
    /// How many of the keys were still there.
    pub(super) count: u64,
    pub(super) bounds: Bounds,
}

/// A page of a long walk.
pub(super) struct Moved {
    pub(super) last: KeyId,
    pub(super) count: u64,
}

/// Runs that are over for good. In a file all earlier ones are, so it lists none.
pub(super) type OverRuns = Vec<i32>;

#[async_trait::async_trait]
pub(super) trait Table: Send + Sync {
    /// The run whose spares may be handed out now. Waits a little while that is not known.
    async fn run(&self) -> Result<i64, VaultError>;

    /// Whether word of what others destroy reaches this process, so that its cache may be trusted.
    fn hears(&self) -> bool;

    /// Tells whether the server is there; `None` for a place that needs none.
    fn reached(&self) -> Option<watch::Receiver<bool>> {
        None
    }

    /// How many sessions with the database were made so far.
    #[cfg(test)]
    fn sessions(&self) -> u32 {
        1
    }

    /// Writes `count` new keys of this run.
    async fn add(&self, count: u32, make: Make<'_>) -> Result<Added, VaultError>;

    /// The epoch and the wrapped bytes of a key, if it is there.
    async fn read(&self, id: KeyId) -> Result<Option<(u32, Vec<u8>)>, VaultError>;

    /// Destroys keys. Every process drops them from its cache.
    async fn remove(&self, ids: &[KeyId]) -> Result<Removed, VaultError>;

    /// Sees to it that what was removed leaves the files, as far as this place can.
    async fn settle(&self) -> Result<(), VaultError>;

    /// The runs whose unreferenced keys may be destroyed.
    async fn over_runs(&self) -> Result<OverRuns, VaultError>;

    /// The next page of keys of those runs, in the order of a walk.
    async fn of_over_runs(&self, over: &OverRuns, after: Option<KeyId>) -> Result<Vec<KeyId>, VaultError>;

    /// Every epoch that some key is wrapped under.
    async fn epochs(&self) -> Result<Vec<u32>, VaultError>;

    /// A few keys wrapped under that epoch.
    async fn sample(&self, epoch: u32) -> Result<Vec<(KeyId, Vec<u8>)>, VaultError>;

    /// Puts another wrapping in place for the next page of keys of that epoch. `None` when the walk is over.
    async fn rewrap(
        &self,
        from: u32,
        after: Option<KeyId>,
        wrap: Wrap<'_>,
    ) -> Result<Option<Moved>, VaultError>;

    /// A number for the next epoch that no process ever used; greater than `current`.
    async fn claim_epoch(&self, current: u32) -> Result<u32, VaultError>;

    /// Calls `destroy` if no key is wrapped under epoch `n` and none can be from now on
    /// ([`VaultError::EpochInUse`] otherwise).
    async fn retire_epoch(
        &self,
        n: u32,
        destroy: &(dyn Fn() -> Result<(), VaultError> + Send + Sync),
    ) -> Result<(), VaultError>;

    /// How far the trail of that origin had come, by what any process told last.
    async fn mark(&self, origin: &str) -> Result<Option<Mark>, VaultError>;

    /// Notes how far it has come. A lower mark than the one there changes nothing.
    async fn raise_mark(&self, mark: &Mark) -> Result<(), VaultError>;

    async fn close(&self) -> Result<(), VaultError>;
}
