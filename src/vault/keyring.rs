//! The keyring: every wrapped data key, in a database of its own.
//!
//! *Durable before use.* Keys are made and committed in batches ahead of need (*spares*) and handed out
//! from memory, so a request waits for no disk. What a crash leaves is keys that nothing refers to:
//! handed out but never used, or still spare. They belong to a *run* of a process that is over, and
//! [`Keyring::sweep`] destroys those that the main database does not name. A spare is never handed out
//! by another run.
//!
//! *Shred.* The row is destroyed and the commit synced; in a file it is overwritten in place, the WAL is
//! moved into the file and cut; then the call returns. A crash in between leaves the key destroyed for
//! readers or not at all; the caller, which did not see the call return, shreds again, and so does the
//! next start for the WAL.
//!
//! *Several processes* may share a keyring on a server ([`KeyringPlace::Postgres`]): see
//! `keyring_presence` for how they know of each other.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::data_key::{DataKey, KeyId, KeyMaterial, RetentionClass};
use super::epoch::EpochKeys;
use super::error::VaultError;
use super::key_cache::KeyCache;
use super::keyring_mark::Mark;
use super::keyring_place::KeyringPlace;
use super::keyring_table::{Bounds, NewKey, NewRow, Removed, Room, Spare, Table};
use crate::domain::{Clock, Entropy, Timestamp};
use crate::fault;
use crate::sql::silence;

/// Spares made in one commit.
const BATCH: u32 = 256;
/// With fewer spares than this, the next batch is made in the background.
const LOW: usize = 128;

/// First made, first handed out. All of one run: those of a run that is over may be swept by others.
#[derive(Default)]
struct Spares {
    run: i64,
    keys: VecDeque<Spare>,
}

impl Spares {
    fn of(&mut self, run: i64) -> &mut VecDeque<Spare> {
        if self.run != run {
            self.keys.clear();
            self.run = run;
        }
        &mut self.keys
    }
}

/// A handle on the open keyring; clones share it.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    table: Box<dyn Table>,
    epochs: RwLock<EpochKeys>,
    spares: Mutex<Spares>,
    /// Held by the one call that makes spares.
    refill: tokio::sync::Mutex<()>,
    refilling: AtomicBool,
    /// Takes in a key that was read only if none was destroyed since the reading began.
    cache: Arc<KeyCache>,
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

/// What [`Keyring::end_former_epochs`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedEpochs {
    /// The epoch that every key is wrapped under now.
    pub current: u32,
    pub rewrapped: u64,
    /// The epochs whose key files were destroyed.
    pub destroyed: Vec<u32>,
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
    /// Opens the keyring. A file is made if it is not there, and is for this process alone
    /// ([`VaultError::KeyringInUse`]); a server's schema must be there ([`VaultError::KeyringVersion`]).
    ///
    /// [`VaultError::EpochMissing`] if a key is wrapped under an epoch that `epochs` lacks,
    /// [`VaultError::EpochOther`] if it was wrapped under another folder's key of that number.
    pub async fn open(
        place: &KeyringPlace,
        epochs: EpochKeys,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, VaultError> {
        let cache = Arc::<KeyCache>::default();
        let table = place.open(Arc::clone(&cache)).await?;
        for epoch in table.epochs().await? {
            if !epochs.contains(epoch) {
                return Err(VaultError::EpochMissing(epoch));
            }
            let sample = table.sample(epoch).await?;
            // Several, since one alone may be a damaged row, which stops nobody from starting.
            if sample.len() > 1
                && sample.iter().all(|(id, wrapped)| epochs.unwrap(epoch, *id, wrapped).is_err())
            {
                return Err(VaultError::EpochOther(epoch));
            }
        }
        let keyring = Self(Arc::new(Inner {
            table,
            epochs: RwLock::new(epochs),
            spares: Mutex::default(),
            refill: tokio::sync::Mutex::default(),
            refilling: AtomicBool::new(false),
            cache,
            clock,
            entropy,
        }));
        keyring.refill(LOW).await?;
        Ok(keyring)
    }

    /// Closes the keyring and forgets every key. Without it, locks fall when the process ends.
    pub async fn close(&self) -> Result<(), VaultError> {
        let closed = self.0.table.close().await;
        // What a refill under way still adds goes too, unless it hangs.
        let _none = timeout(silence::AT_ONCE, self.0.refill.lock()).await;
        self.spares().keys.clear();
        self.0.cache.clear();
        closed
    }

    /// Tells whether the server that it lies on is there; `None` where it lies in a file.
    pub fn reached(&self) -> Option<watch::Receiver<bool>> {
        self.0.table.reached()
    }

    /// A new data key, already durable. Waits for the disk only if requests outrun the refill.
    pub async fn take(&self, class: RetentionClass) -> Result<DataKey, VaultError> {
        loop {
            let run = self.0.table.run().await?;
            let (spare, left) = {
                let mut spares = self.spares();
                let keys = spares.of(run);
                (keys.pop_front(), keys.len())
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

    /// Destroys the keys, durably, and returns when they cannot be had any more; in a file their bytes are
    /// gone then. Keys that are gone already are no error. One call costs one commit, however many keys.
    pub async fn shred(&self, ids: &[KeyId]) -> Result<ShredRecord, VaultError> {
        let removed = self.remove(ids).await?;
        fault::point("keyring.overwritten");
        // Also if nothing was destroyed: an earlier call may have failed after its commit.
        self.0.table.settle().await?;
        Ok(ShredRecord {
            at: self.0.clock.now(),
            destroyed: removed.count,
            through_epoch: self.current_epoch().max(removed.bounds.newest),
        })
    }

    /// Whether the key is gone from the live keyring. A key that never was is gone too.
    pub async fn is_shredded(&self, id: KeyId) -> Result<bool, VaultError> {
        Ok(self.0.table.read(id).await?.is_none())
    }

    /// How far a recorded shredding reaches by now.
    pub fn shred_state(&self, record: &ShredRecord) -> ShredState {
        if self.with_epochs(EpochKeys::oldest) > record.through_epoch {
            ShredState::ShreddedEverywhere
        } else {
            ShredState::ShreddedLive
        }
    }

    /// Destroys every key of runs that are over that is not in `referenced`: all key ids which committed
    /// rows of the main database name. Keys of runs that go on are left alone, so it may be called at any
    /// time. Returns how many went. The caller holds that database against the [`Mark`] first: what an older
    /// one names is not all that is needed.
    ///
    /// In a file, all earlier runs are over. On a server, a run is over when its process is gone and was
    /// not seen for an hour: `referenced` must be younger than that.
    pub async fn sweep(&self, referenced: &HashSet<KeyId>) -> Result<u64, VaultError> {
        let over = self.0.table.over_runs().await?;
        let mut swept = 0;
        let mut after = None;
        loop {
            let page = self.0.table.of_over_runs(&over, after).await?;
            let Some(last) = page.last() else {
                self.0.table.settle().await?;
                return Ok(swept);
            };
            after = Some(*last);
            let orphans: Vec<KeyId> = page.into_iter().filter(|id| !referenced.contains(id)).collect();
            swept += self.remove(&orphans).await?.count;
        }
    }

    /// How far the trail of that origin had come when the keyring last heard of it.
    pub async fn mark(&self, origin: &str) -> Result<Option<Mark>, VaultError> {
        self.0.table.mark(origin).await
    }

    /// Notes how far it has come: what has committed, and no more. Durable when it returns; a lower mark than
    /// the one there changes nothing.
    pub async fn raise_mark(&self, mark: &Mark) -> Result<(), VaultError> {
        self.0.table.raise_mark(mark).await
    }

    /// The epoch that new keys are wrapped under.
    pub fn current_epoch(&self) -> u32 {
        self.with_epochs(EpochKeys::current)
    }

    /// Makes the next epoch's key file; keys made from now on are wrapped under it. Other processes on
    /// this keyring need the file too: they go on under their own newest until they have it, but cannot
    /// open what is wrapped under this one.
    pub async fn begin_epoch(&self) -> Result<u32, VaultError> {
        // The number first: two processes must never make two keys of one number.
        let n = self.0.table.claim_epoch(self.current_epoch()).await?;
        let mut epochs = self.0.epochs.write().unwrap_or_else(PoisonError::into_inner);
        epochs.begin(n, &*self.0.entropy)?;
        Ok(n)
    }

    /// Wraps every key of epoch `from` under the current one. Returns how many. A crash leaves some keys
    /// here and some there; call it again.
    pub async fn rewrap(&self, from: u32) -> Result<u64, VaultError> {
        self.demand_former(from)?;
        let wrap = |bounds: Bounds, id: KeyId, wrapped: &[u8]| {
            self.know_epochs(bounds)?;
            if from >= self.current_epoch() {
                return Err(VaultError::EpochInUse(from));
            }
            let bytes = self.unwrap(from, id, wrapped)?;
            let (epoch, wrapped) = self.with_epochs(|epochs| epochs.wrap(&*self.0.entropy, id, &bytes));
            Ok(NewRow { id, epoch, wrapped })
        };
        let mut moved = 0;
        let mut after = None;
        while let Some(page) = self.0.table.rewrap(from, after, &wrap).await? {
            moved += page.count;
            after = Some(page.last);
        }
        self.0.table.settle().await?;
        Ok(moved)
    }

    /// Destroys the key file of an epoch that no key needs any more ([`VaultError::EpochInUse`] if one
    /// does): copies of the keyring from that time are worthless from now on, as far as this folder had
    /// the only copy of the file. Other processes on this keyring destroy theirs. Returns when.
    pub async fn destroy_epoch(&self, n: u32) -> Result<Timestamp, VaultError> {
        self.demand_former(n)?;
        if !self.with_epochs(|epochs| epochs.contains(n)) {
            return Err(VaultError::EpochMissing(n));
        }
        let destroy = || self.0.epochs.write().unwrap_or_else(PoisonError::into_inner).destroy(n);
        self.0.table.retire_epoch(n, &destroy).await?;
        Ok(self.0.clock.now())
    }

    /// Ends every epoch before the current one: wraps its keys anew, then destroys its key file. A crash
    /// leaves an epoch whole or gone; call it again.
    pub async fn end_former_epochs(&self) -> Result<EndedEpochs, VaultError> {
        self.reload_epochs()?;
        let current = self.current_epoch();
        let mut ended = EndedEpochs { current, rewrapped: 0, destroyed: Vec::new() };
        for former in self.with_epochs(EpochKeys::numbers).into_iter().filter(|n| *n < current) {
            ended.rewrapped += self.rewrap(former).await?;
            self.destroy_epoch(former).await?;
            ended.destroyed.push(former);
        }
        Ok(ended)
    }

    pub(super) async fn material(&self, id: KeyId) -> Result<Arc<KeyMaterial>, VaultError> {
        if self.0.table.hears()
            && let Some(material) = self.0.cache.get(id)
        {
            return Ok(material);
        }
        let evictions = self.0.cache.evictions();
        let (epoch, wrapped) = self.0.table.read(id).await?.ok_or(VaultError::Shredded)?;
        let bytes = self.unwrap(epoch, id, &wrapped)?;
        let material = Arc::new(KeyMaterial::derive(&bytes));
        self.0.cache.insert_since(evictions, id, Arc::clone(&material));
        Ok(material)
    }

    async fn remove(&self, ids: &[KeyId]) -> Result<Removed, VaultError> {
        // Before the commit, so that a call given up half-way leaves no destroyed key in memory; and after
        // it, so that nothing read before it stays.
        self.forget(ids);
        let removed = self.0.table.remove(ids).await;
        self.0.cache.evict(ids);
        removed
    }

    fn forget(&self, ids: &[KeyId]) {
        self.0.cache.evict(ids);
        let unwanted: HashSet<&KeyId> = ids.iter().collect();
        self.spares().keys.retain(|(id, _)| !unwanted.contains(id));
    }

    /// Makes a batch of spares if there are no more than `mark`. They are handed out only after their
    /// commit; if this is given up in between, they are orphans for a sweep after this run.
    async fn refill(&self, mark: usize) -> Result<(), VaultError> {
        let _alone = self.0.refill.lock().await;
        let run = self.0.table.run().await?;
        // Another caller may have refilled while this one waited for the lock.
        if self.spares().of(run).len() > mark {
            return Ok(());
        }
        let added = self.0.table.add(BATCH, &|room| self.new_keys(room)).await?;
        fault::point("keyring.durable");
        self.spares().of(added.run).extend(added.keys);
        Ok(())
    }

    fn new_keys(&self, room: &Room) -> Result<Vec<NewKey>, VaultError> {
        self.know_epochs(room.bounds)?;
        let keys =
            self.with_epochs(|epochs| room.slots.iter().map(|slot| self.new_key(epochs, *slot)).collect());
        fault::point("keyring.made");
        Ok(keys)
    }

    fn new_key(&self, epochs: &EpochKeys, slot: Option<u32>) -> NewKey {
        let bytes = Zeroizing::new(self.0.entropy.array::<32>());
        let id = KeyId::new(&*self.0.clock, &*self.0.entropy, slot);
        let (epoch, wrapped) = epochs.wrap(&*self.0.entropy, id, &bytes);
        NewKey { row: NewRow { id, epoch, wrapped }, material: Arc::new(KeyMaterial::derive(&bytes)) }
    }

    /// Before wrapping: another process may have begun an epoch, whose file may be here by now, and may
    /// have retired the one that is newest here.
    fn know_epochs(&self, bounds: Bounds) -> Result<(), VaultError> {
        if bounds.newest > self.current_epoch() {
            self.reload_epochs()?;
        }
        if self.current_epoch() < bounds.oldest {
            return Err(VaultError::EpochMissing(bounds.oldest));
        }
        Ok(())
    }

    /// Refuses the current epoch, once the folder was looked at for a newer one.
    fn demand_former(&self, n: u32) -> Result<(), VaultError> {
        if n >= self.current_epoch() {
            self.reload_epochs()?;
        }
        if n == self.current_epoch() { Err(VaultError::EpochInUse(n)) } else { Ok(()) }
    }

    /// An epoch that is not known may have been begun by another process: the folder is read again, once.
    fn unwrap(&self, epoch: u32, id: KeyId, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let unwrap = |epochs: &EpochKeys| epochs.unwrap(epoch, id, wrapped);
        match self.with_epochs(unwrap) {
            Err(VaultError::EpochMissing(_)) => {
                self.reload_epochs()?;
                self.with_epochs(unwrap)
            }
            outcome => outcome,
        }
    }

    fn reload_epochs(&self) -> Result<(), VaultError> {
        self.0.epochs.write().unwrap_or_else(PoisonError::into_inner).reload()
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
#[path = "keyring_file_tests.rs"]
mod file_tests;
#[cfg(test)]
#[path = "keyring_fixtures.rs"]
mod fixtures;
#[cfg(test)]
#[path = "keyring_postgres_tests.rs"]
mod postgres_tests;
#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
