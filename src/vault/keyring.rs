//! The keyring: every wrapped data key, in a SQLite file of its own.
//!
//! *Durable before use.* Keys are made and committed in batches ahead of need (*spares*) and handed out
//! from memory, so a request waits for no disk. What a crash leaves is keys that nothing refers to:
//! handed out but never used, or still spare. They belong to an earlier run of the process, and
//! [`Keyring::sweep`] destroys those that the main database does not name. A spare is never handed out
//! by a later run.
//!
//! *Shred.* The row is overwritten in place, the commit is synced, the WAL is moved into the file and
//! cut, then the call returns. A crash in between leaves the key destroyed for readers or not at all;
//! the caller, which did not see the call return, shreds again, and so does the next start for the WAL.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use zeroize::Zeroizing;

use super::data_key::{DataKey, KeyId, KeyMaterial, RetentionClass};
use super::epoch::EpochKeys;
use super::error::VaultError;
use super::key_cache::KeyCache;
use super::keyring_rows::{self as rows, NewRow};
use crate::domain::{Clock, Entropy, Timestamp};

/// Spares made in one commit.
const BATCH: u32 = 256;
/// With fewer spares than this, the next batch is made in the background.
const LOW: usize = 128;

/// First made, first handed out.
type Spares = VecDeque<(KeyId, Arc<KeyMaterial>)>;

/// A handle on the open keyring; clones share it.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// The one connection. Whoever holds it decides which keys exist: the cache takes in what was read
    /// from the file only under this lock, so nothing destroyed gets back into it.
    connection: tokio::sync::Mutex<Option<SqliteConnection>>,
    run: u64,
    epochs: RwLock<EpochKeys>,
    spares: Mutex<Spares>,
    refilling: AtomicBool,
    cache: KeyCache,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What to record about a shredding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShredRecord {
    pub at: Timestamp,
    /// How many of the keys were still there.
    pub destroyed: u64,
    /// The newest epoch that any copy of the keys can be wrapped under.
    pub through_epoch: u32,
}

/// How far a shredding reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShredState {
    /// Gone from the live keyring. A stolen or backed-up copy of it may still be unwrapped.
    ShreddedLive,
    /// Every epoch that a copy could be wrapped under is destroyed too. The instant to record as
    /// `shredded_everywhere_by` is what [`Keyring::destroy_epoch`] returned for the last of them.
    ShreddedEverywhere,
}

impl ShredState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ShreddedLive => "shredded_live",
            Self::ShreddedEverywhere => "shredded_everywhere",
        }
    }
}

impl Keyring {
    /// Opens or makes the file at `path`, for this process alone ([`VaultError::KeyringInUse`]).
    ///
    /// [`VaultError::EpochMissing`] if a key is wrapped under an epoch that `epochs` lacks.
    pub async fn open(
        path: &Path,
        epochs: EpochKeys,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, VaultError> {
        let (mut connection, run) = rows::open(path).await?;
        for epoch in rows::epochs(&mut connection).await? {
            if !epochs.contains(epoch) {
                return Err(VaultError::EpochMissing(epoch));
            }
        }
        let keyring = Self(Arc::new(Inner {
            path: path.to_owned(),
            connection: tokio::sync::Mutex::new(Some(connection)),
            run,
            epochs: RwLock::new(epochs),
            spares: Mutex::new(Spares::new()),
            refilling: AtomicBool::new(false),
            cache: KeyCache::default(),
            clock,
            entropy,
        }));
        keyring.refill(LOW).await?;
        Ok(keyring)
    }

    /// Closes the file and forgets every key. Without it the lock falls when the process ends.
    pub async fn close(&self) -> Result<(), VaultError> {
        let connection = self.0.connection.lock().await.take();
        self.spares().clear();
        self.0.cache.clear();
        match connection {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }

    /// A new data key, already durable. Waits for the disk only if requests outrun the refill.
    pub async fn take(&self, class: RetentionClass) -> Result<DataKey, VaultError> {
        loop {
            let (spare, left) = {
                let mut spares = self.spares();
                (spares.pop_front(), spares.len())
            };
            if left < LOW {
                self.refill_in_background();
            }
            if let Some((id, material)) = spare {
                // What was just sealed is mostly opened soon. No one else knows this id yet, so no
                // shredding of it can be under way.
                self.0.cache.insert(id, Arc::clone(&material));
                return Ok(DataKey::new(id, class, material));
            }
            self.refill(0).await?;
        }
    }

    /// An existing data key, to seal more under it. The class is the caller's word: values sealed in
    /// another class will not open with it.
    pub async fn key(&self, id: KeyId, class: RetentionClass) -> Result<DataKey, VaultError> {
        Ok(DataKey::new(id, class, self.material(id).await?))
    }

    /// Destroys the keys and returns when their bytes are gone from the keyring's files. Keys that are
    /// gone already are no error. One call costs one commit and one checkpoint, however many keys.
    pub async fn shred(&self, ids: &[KeyId]) -> Result<ShredRecord, VaultError> {
        let mut guard = self.0.connection.lock().await;
        let connection = guard.as_mut().ok_or(VaultError::KeyringClosed)?;
        let destroyed = self.blank(connection, ids).await?;
        // Also if nothing was destroyed: an earlier call may have failed after its commit.
        rows::flush(connection, &self.0.path).await?;
        Ok(ShredRecord {
            at: self.0.clock.now(),
            destroyed,
            through_epoch: self.with_epochs(EpochKeys::current),
        })
    }

    /// Whether the key is gone from the live keyring. A key that never was is gone too.
    pub async fn is_shredded(&self, id: KeyId) -> Result<bool, VaultError> {
        let mut guard = self.0.connection.lock().await;
        let connection = guard.as_mut().ok_or(VaultError::KeyringClosed)?;
        Ok(rows::read(connection, id).await?.is_none())
    }

    /// How far a recorded shredding reaches by now.
    pub fn shred_state(&self, record: &ShredRecord) -> ShredState {
        if self.with_epochs(EpochKeys::oldest) > record.through_epoch {
            ShredState::ShreddedEverywhere
        } else {
            ShredState::ShreddedLive
        }
    }

    /// Destroys every key of earlier runs that is not in `referenced`: all key ids which committed rows
    /// of the main database name. Keys of this run are left alone, so it may be called at any time;
    /// once after each start is enough. Returns how many went.
    pub async fn sweep(&self, referenced: &HashSet<KeyId>) -> Result<u64, VaultError> {
        let mut swept = 0;
        let mut after = 0;
        loop {
            // The lock is released after each page, so that others get their turn.
            let mut guard = self.0.connection.lock().await;
            let connection = guard.as_mut().ok_or(VaultError::KeyringClosed)?;
            let page = rows::of_earlier_runs(connection, self.0.run, after).await?;
            let Some(last) = page.last() else {
                rows::flush(connection, &self.0.path).await?;
                return Ok(swept);
            };
            after = last.slot();
            let orphans: Vec<KeyId> = page.into_iter().filter(|id| !referenced.contains(id)).collect();
            swept += self.blank(connection, &orphans).await?;
        }
    }

    /// The epoch that new keys are wrapped under.
    pub fn current_epoch(&self) -> u32 {
        self.with_epochs(EpochKeys::current)
    }

    /// Makes the next epoch's key file; keys made from now on are wrapped under it.
    pub async fn begin_epoch(&self) -> Result<u32, VaultError> {
        // No key is being made while the epoch changes.
        let _connection = self.0.connection.lock().await;
        let mut epochs = self.0.epochs.write().unwrap_or_else(PoisonError::into_inner);
        epochs.begin_next(&*self.0.entropy)
    }

    /// Wraps every key of epoch `from` under the current one. Returns how many. A crash leaves some keys
    /// here and some there; call it again.
    pub async fn rewrap(&self, from: u32) -> Result<u64, VaultError> {
        if from == self.current_epoch() {
            return Err(VaultError::EpochInUse(from));
        }
        let mut moved = 0;
        let mut after = 0;
        loop {
            let mut guard = self.0.connection.lock().await;
            let connection = guard.as_mut().ok_or(VaultError::KeyringClosed)?;
            let page = rows::of_epoch(connection, from, after).await?;
            let Some((last, _)) = page.last() else {
                rows::flush(connection, &self.0.path).await?;
                return Ok(moved);
            };
            after = last.slot();
            let mut tx = connection.begin().await?;
            for (id, wrapped) in page {
                let row = self.with_epochs(|epochs| {
                    let bytes = epochs.unwrap(from, id, &wrapped)?;
                    let (epoch, wrapped) = epochs.wrap(&*self.0.entropy, id, &bytes);
                    Ok::<_, VaultError>(NewRow { id, epoch, wrapped })
                })?;
                rows::rewrap(&mut tx, &row).await?;
                moved += 1;
            }
            tx.commit().await?;
        }
    }

    /// Destroys the key file of an epoch that no key needs any more ([`VaultError::EpochInUse`] if one
    /// does): copies of the keyring from that time are worthless from now on. Returns when.
    pub async fn destroy_epoch(&self, n: u32) -> Result<Timestamp, VaultError> {
        let mut guard = self.0.connection.lock().await;
        let connection = guard.as_mut().ok_or(VaultError::KeyringClosed)?;
        if rows::epochs(connection).await?.contains(&n) {
            return Err(VaultError::EpochInUse(n));
        }
        let mut epochs = self.0.epochs.write().unwrap_or_else(PoisonError::into_inner);
        epochs.destroy(n)?;
        Ok(self.0.clock.now())
    }

    pub(super) async fn material(&self, id: KeyId) -> Result<Arc<KeyMaterial>, VaultError> {
        if let Some(material) = self.0.cache.get(id) {
            return Ok(material);
        }
        let mut guard = self.0.connection.lock().await;
        let connection = guard.as_mut().ok_or(VaultError::KeyringClosed)?;
        let (epoch, wrapped) = rows::read(connection, id).await?.ok_or(VaultError::Shredded)?;
        let bytes = self.with_epochs(|epochs| epochs.unwrap(epoch, id, &wrapped))?;
        let material = Arc::new(KeyMaterial::derive(&bytes));
        // Still under the connection's lock: no shredding of it can have come in between.
        self.0.cache.insert(id, Arc::clone(&material));
        Ok(material)
    }

    /// Overwrites the rows in one transaction. The caller holds the connection's lock.
    async fn blank(&self, connection: &mut SqliteConnection, ids: &[KeyId]) -> Result<u64, VaultError> {
        // Before the commit, so that a call given up half-way leaves no destroyed key in memory. Until
        // the lock is released nothing can come back.
        for id in ids {
            self.0.cache.evict(*id);
        }
        let unwanted: HashSet<&KeyId> = ids.iter().collect();
        self.spares().retain(|(id, _)| !unwanted.contains(id));

        let mut destroyed = 0;
        let mut tx = connection.begin().await?;
        for id in ids {
            destroyed += u64::from(rows::blank(&mut tx, *id).await?);
        }
        tx.commit().await?;
        Ok(destroyed)
    }

    /// Makes a batch of spares if there are no more than `mark`. They are handed out only after their
    /// commit; if this is given up in between, they are orphans for the next run's sweep.
    async fn refill(&self, mark: usize) -> Result<(), VaultError> {
        let mut guard = self.0.connection.lock().await;
        let connection = guard.as_mut().ok_or(VaultError::KeyringClosed)?;
        // Another caller may have refilled while this one waited for the lock.
        if self.spares().len() > mark {
            return Ok(());
        }
        let mut tx = connection.begin().await?;
        let slots = rows::free_slots(&mut tx, BATCH).await?;
        let (new, mut spares): (Vec<NewRow>, Spares) =
            self.with_epochs(|epochs| slots.into_iter().map(|slot| self.new_key(epochs, slot)).unzip());
        rows::fill(&mut tx, self.0.run, &new).await?;
        tx.commit().await?;
        self.spares().append(&mut spares);
        Ok(())
    }

    fn new_key(&self, epochs: &EpochKeys, slot: u32) -> (NewRow, (KeyId, Arc<KeyMaterial>)) {
        let bytes = Zeroizing::new(self.0.entropy.array::<32>());
        let id = KeyId::new(&*self.0.clock, &*self.0.entropy, slot);
        let (epoch, wrapped) = epochs.wrap(&*self.0.entropy, id, &bytes);
        (NewRow { id, epoch, wrapped }, (id, Arc::new(KeyMaterial::derive(&bytes))))
    }

    fn refill_in_background(&self) {
        if self.0.refilling.swap(true, Ordering::AcqRel) {
            return;
        }
        let keyring = self.clone();
        tokio::spawn(async move {
            let outcome = keyring.refill(LOW).await;
            keyring.0.refilling.store(false, Ordering::Release);
            // The next `take` that finds no spare reports it to a caller.
            if let Err(error) = outcome {
                tracing::warn!(%error, "no spare data keys could be made");
            }
        });
    }

    fn spares(&self) -> MutexGuard<'_, Spares> {
        // No code under the lock can leave the list half changed.
        self.0.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_epochs<T>(&self, read: impl FnOnce(&EpochKeys) -> T) -> T {
        read(&self.0.epochs.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
