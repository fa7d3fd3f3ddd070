//! The two logs, for those who check them.

use crate::domain::{Reason, Refusal};
use crate::store::{Log, StoreError, logs};
use crate::trail::{Hash, Note, NoteError};

use super::{App, AppResult};

/// A proof, and the tree size it goes to.
pub struct Proof {
    pub hashes: Vec<Hash>,
    pub size: u64,
}

impl App {
    /// The checkpoint to show: the newest that enough witnesses cosigned; where none are required or
    /// none has so many, the newest signed one. With the cosignatures it has.
    pub async fn checkpoint(&self, log: Log) -> AppResult<String> {
        Ok(self.shown(log).await?.note().to_string())
    }

    /// Leaves of the log as last committed.
    pub(super) async fn newest_size(&self, log: Log) -> AppResult<u64> {
        Ok(self.store.heads().await?.of(log).size)
    }

    /// Leaves as hashed, from `start`, at most `count`.
    pub async fn leaves(&self, log: Log, start: u64, count: u32) -> AppResult<Vec<Vec<u8>>> {
        Ok(logs::leaves(self.store.log_reader(), log, start, count).await?)
    }

    /// Proof that a leaf is in the tree of `size`; that of the checkpoint shown where 0.
    pub async fn inclusion(&self, log: Log, index: u64, size: u64) -> AppResult<Proof> {
        let size = self.size_or_newest(log, size, "size").await?;
        if index >= size {
            return Err(Refusal::at(Reason::FieldInvalid, "index").note("lies outside the log").into());
        }
        let hashes = logs::prove_inclusion(self.store.log_reader(), log, index, size).await?;
        Ok(Proof { hashes, size })
    }

    /// Proof that the tree of `new` (that of the checkpoint shown where 0) continues the tree of `old`.
    pub async fn consistency(&self, log: Log, old: u64, new: u64) -> AppResult<Proof> {
        let size = self.size_or_newest(log, new, "new_size").await?;
        if old > size {
            return Err(Refusal::at(Reason::FieldInvalid, "old_size")
                .note("larger than the new size")
                .into());
        }
        let hashes = logs::prove_consistency(self.store.log_reader(), log, old, size).await?;
        Ok(Proof { hashes, size })
    }

    async fn size_or_newest(&self, log: Log, size: u64, field: &'static str) -> Result<u64, StoreError> {
        let newest = self.newest_size(log).await?;
        match size {
            0 => Ok(self.shown(log).await?.size),
            size if size <= newest => Ok(size),
            _ => Err(Refusal::at(Reason::FieldInvalid, field).note("larger than the log").into()),
        }
    }

    /// The authority log from `start` on, up to the head that is shown, which says how fresh it is:
    /// by its witnesses, and if it is the newest by the gateway's own freshness key (C2SP
    /// tlog-cosignature). An older head the gateway never dates.
    pub async fn read_authority(&self, start: u64, count: u32) -> AppResult<(Vec<Vec<u8>>, String, bool)> {
        let head = self.shown(Log::Authority).await?;
        let rest = head.size.saturating_sub(start);
        let wanted = u32::try_from(rest).unwrap_or(u32::MAX).min(count);
        let leaves = logs::leaves(self.store.log_reader(), Log::Authority, start, wanted).await?;
        let more = leaves.len() as u64 != rest;
        let mut note = head.note();
        if head.size == self.newest_size(Log::Authority).await? {
            self.date(&mut note).map_err(|_| StoreError::Corrupt("log_heads.checkpoint"))?;
        }
        Ok((leaves, note.to_string(), more))
    }

    fn date(&self, note: &mut Note) -> Result<(), NoteError> {
        note.add(self.freshness.cosign(note.text(), self.clock.now())?)
    }
}
