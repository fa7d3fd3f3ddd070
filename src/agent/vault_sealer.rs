//! The ledger's seals and marks, made by the vault: one data key for each
//! execution, so that all that was made for it can be destroyed at once.
//!
//! Sealed form: the key's id (16 bytes), then the vault's own form. After a
//! restart an execution goes on under the same key; the notebook names it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

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
    /// Destroys keys that no execution names.
    pub async fn open(vault: Vault, notebook: Notebook) -> Result<Arc<Self>, Refusal> {
        let named = notebook.all_keys().await?.into_iter().collect();
        vault.keyring().sweep(&named).await.map_err(refuse)?;
        Ok(Arc::new(Self { vault, notebook, keys: Mutex::default() }))
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
        let notebook = Notebook::open(&folder.join("notebook.sqlite")).await.unwrap();
        VaultSealer::open(Vault::new(keyring, entropy), notebook).await.unwrap()
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
