//! The ledger's seals and marks, made by the vault: one data key for each
//! execution, so that all that was made for it can be destroyed at once.
//!
//! Sealed form: the key's id (16 bytes), then the vault's own form. After a
//! restart an execution goes on under the same key; the notebook names it, and
//! the keyring is told how far the notebook has come before the key seals.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::ledger_chain::Anchor;
use super::marks::{of_ledger, of_notebook};
use super::notebook::Notebook;
use super::sealer::{Place, Sealer};
use crate::domain::{ExecutionId, Reason, Refusal};
use crate::vault::{DataKey, KeyId, RetentionClass, Vault, VaultError, keyed_digest};

const CLASS: RetentionClass = RetentionClass::Ledger;

pub struct VaultSealer {
    vault: Vault,
    notebook: Notebook,
    /// Keys of executions under way. Held while one is made, so that there is one for each.
    keys: Mutex<HashMap<ExecutionId, DataKey>>,
    /// Changes of the notebook that the keyring was told of in this run.
    told: AtomicU64,
}

fn refuse(error: VaultError) -> Refusal {
    tracing::error!(%error, "the agent's vault did not serve");
    Refusal::at(Reason::from(&error), "vault")
}

/// The row within its execution: `<execution>/<row>`.
fn row_of(place: Place<'_>) -> String {
    format!("{}/{}", place.execution, place.row)
}

impl VaultSealer {
    pub fn new(vault: Vault, notebook: Notebook) -> Arc<Self> {
        Arc::new(Self { vault, notebook, keys: Mutex::default(), told: AtomicU64::new(0) })
    }

    /// Destroys keys of earlier runs that no execution names. The caller holds the notebook against the
    /// keyring's mark first: what an older one names is not all that is needed.
    pub async fn sweep(&self) -> Result<(), Refusal> {
        let named = self.notebook.all_keys().await?.into_iter().collect();
        let swept = self.vault.keyring().sweep(&named).await.map_err(refuse)?;
        tracing::info!(swept, "orphan keys destroyed");
        Ok(())
    }

    /// Tells the keyring how far the notebook has come, where it is not known yet.
    pub async fn note_notebook(&self) -> Result<(), Refusal> {
        let growth = self.notebook.growth().await?;
        if self.told.load(Ordering::Relaxed) < growth.changes {
            self.vault.keyring().raise_mark(&of_notebook(&growth)).await.map_err(refuse)?;
            self.told.fetch_max(growth.changes, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn key(&self, execution: ExecutionId) -> Result<DataKey, Refusal> {
        let mut keys = self.keys.lock().await;
        if let Some(key) = keys.get(&execution) {
            return Ok(key.clone());
        }
        let key = match self.living_key(execution).await? {
            Some(key) => key,
            None => {
                let key = self.vault.keyring().take(CLASS).await.map_err(refuse)?;
                // Named before it is used, so that whatever it seals can be destroyed.
                self.notebook.note_key(execution, key.id()).await?;
                // An older notebook, which does not name it, must not have it swept.
                self.note_notebook().await?;
                key
            }
        };
        keys.insert(execution, key.clone());
        Ok(key)
    }

    /// The key of an earlier run. A name may outlive its key where a shredding was cut off.
    async fn living_key(&self, execution: ExecutionId) -> Result<Option<DataKey>, Refusal> {
        for id in self.notebook.keys_of(execution).await? {
            match self.vault.keyring().key(id, CLASS).await {
                Ok(key) => return Ok(Some(key)),
                Err(VaultError::Shredded) => {}
                Err(error) => return Err(refuse(error)),
            }
        }
        Ok(None)
    }

    /// Gives keyring and notebook up.
    pub async fn close(&self) {
        if let Err(refusal) = self.note_notebook().await {
            tracing::warn!(%refusal, "the keyring was not told how far the notebook has come");
        }
        if let Err(error) = self.vault.keyring().close().await {
            tracing::warn!(%error, "the agent's keyring did not close");
        }
        self.notebook.close().await;
    }
}

#[async_trait]
impl Sealer for VaultSealer {
    async fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        let key = self.key(place.execution).await?;
        let row = row_of(place);
        let at = crate::vault::Place { table: place.table, row: &row, column: place.column };
        let mut sealed = key.id().as_bytes().to_vec();
        sealed.extend_from_slice(&self.vault.seal(&key, at, plain));
        Ok(sealed)
    }

    async fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (id, sealed) = sealed.split_first_chunk::<16>().ok_or(Reason::Internal)?;
        let id = KeyId::from_uuid(uuid::Uuid::from_bytes(*id));
        let row = row_of(place);
        let at = crate::vault::Place { table: place.table, row: &row, column: place.column };
        Ok(self.vault.open(id, CLASS, at, sealed).await.map_err(refuse)?.to_vec())
    }

    async fn mark(&self, execution: ExecutionId, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(mark(&self.key(execution).await?, message))
    }

    async fn mark_like(&self, like: &[u8], message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let id = like.first_chunk::<16>().ok_or(Reason::Internal)?;
        let id = KeyId::from_uuid(uuid::Uuid::from_bytes(*id));
        Ok(mark(&self.vault.keyring().key(id, CLASS).await.map_err(refuse)?, message))
    }

    async fn shred(&self, execution: ExecutionId) -> Result<(), Refusal> {
        self.keys.lock().await.remove(&execution);
        let keys = self.notebook.keys_of(execution).await?;
        if keys.is_empty() {
            return Ok(());
        }
        // Cut off in between, the name is left and brings us here again.
        self.vault.keyring().shred(&keys).await.map_err(refuse)?;
        self.notebook.forget_keys_of(execution).await
    }

    async fn note_ledger(&self, at: Anchor) -> Result<(), Refusal> {
        if at == Anchor::GENESIS {
            return Ok(());
        }
        self.vault.keyring().raise_mark(&of_ledger(at)).await.map_err(refuse)
    }
}

fn mark(key: &DataKey, message: &[u8]) -> Vec<u8> {
    let mut mark = key.id().as_bytes().to_vec();
    mark.extend_from_slice(&keyed_digest(key, "mandate agent look-up", message));
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Entropy;
    use crate::domain::clock::{FixedClock, SystemEntropy};
    use crate::vault::{EpochKeys, Keyring, KeyringPlace};
    use std::path::Path;

    async fn sealer(folder: &Path) -> Arc<VaultSealer> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let epochs = folder.join("epochs");
        if !epochs.exists() {
            EpochKeys::create(&epochs, 1, &*entropy).unwrap();
        }
        let keys = EpochKeys::load(&epochs).unwrap();
        let clock = Arc::new(FixedClock::at(1_800_000_000));
        let keyring =
            Keyring::open(&KeyringPlace::File(folder.join("keyring.sqlite")), keys, clock, entropy.clone())
                .await
                .unwrap();
        let notebook = Notebook::open(&folder.join("notebook.sqlite"), &*entropy).await.unwrap();
        let sealer = VaultSealer::new(Vault::new(keyring, entropy), notebook);
        sealer.sweep().await.unwrap();
        sealer
    }

    fn place(number: u8, row: &str) -> Place<'_> {
        let execution = format!("01938a5e-0000-7000-8000-0000000000{number:02x}").parse().unwrap();
        Place { execution, table: "batches", row, column: "sealed" }
    }

    #[tokio::test]
    async fn what_was_sealed_opens_after_a_restart_and_never_after_a_shredding() {
        let folder = tempfile::tempdir().unwrap();
        let first = sealer(folder.path()).await;
        let sealed = first.seal(place(1, "1"), b"keys").await.unwrap();
        let others = first.seal(place(2, "1"), b"others").await.unwrap();
        let mark = first.mark(place(1, "").execution, b"u_1").await.unwrap();
        assert!(first.open(place(1, "2"), &sealed).await.is_err(), "a seal opens at its own place only");
        first.close().await;

        let second = sealer(folder.path()).await;
        assert_eq!(second.mark(place(1, "").execution, b"u_1").await.unwrap(), mark);
        assert_eq!(second.mark_like(&mark, b"u_1").await.unwrap(), mark);
        assert_ne!(second.mark(place(2, "").execution, b"u_1").await.unwrap()[16..], mark[16..]);
        let later = second.seal(place(1, "2"), b"more keys").await.unwrap();
        assert_eq!(second.open(place(1, "1"), &sealed).await.unwrap(), b"keys");
        second.shred(place(1, "").execution).await.unwrap();
        assert!(second.open(place(1, "1"), &sealed).await.is_err());
        assert!(second.open(place(1, "2"), &later).await.is_err());
        assert_eq!(second.mark_like(&mark, b"u_1").await.unwrap_err().reason, Reason::NotFound);
        assert_eq!(second.open(place(2, "1"), &others).await.unwrap(), b"others");
    }

    #[tokio::test]
    async fn a_shredding_cut_off_before_its_name_was_forgotten_is_finished_and_the_execution_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = sealer(folder.path()).await;
        let execution = place(1, "").execution;
        let sealed = first.seal(place(1, "1"), b"keys").await.unwrap();
        let keys = first.notebook.keys_of(execution).await.unwrap();
        first.vault.keyring().shred(&keys).await.unwrap();
        first.close().await;

        let second = sealer(folder.path()).await;
        let anew = second.seal(place(1, "1"), b"others").await.unwrap();
        assert_ne!(anew[..16], sealed[..16], "a destroyed key sealed again");
        second.shred(execution).await.unwrap();
        assert!(second.notebook.keys_of(execution).await.unwrap().is_empty());
        assert!(second.open(place(1, "1"), &anew).await.is_err());
    }
}
