//! A keyring to try things on, in either place.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::domain::clock::{FixedClock, SystemEntropy};
use crate::sql::PostgresUrl;
use crate::sql::cluster::{self, Cluster};
use crate::vault::{Place, Vault};

pub(super) const HERE: Place<'_> = Place { table: "requests", row: "7", column: "extract" };
pub(super) const CLASS: RetentionClass = RetentionClass::Request;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Postgres,
}

/// A folder with epoch keys, and where the keyring lies.
pub(super) struct House {
    pub(super) dir: tempfile::TempDir,
    url: Option<String>,
}

impl House {
    pub(super) async fn new(kind: Kind) -> Self {
        let url = (kind == Kind::Postgres).then(|| cluster::shared().database());
        let house = Self::at(url);
        house.place().migrate().await.unwrap();
        house
    }

    /// Epoch keys of its own. With a URL, the keyring there.
    pub(super) fn at(url: Option<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        EpochKeys::create(&dir.path().join("epochs"), 1, &SystemEntropy).unwrap();
        Self { dir, url }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn epoch_file(&self, n: u32) -> std::path::PathBuf {
        self.path().join(format!("epochs/epoch-{n}.key"))
    }

    pub(super) fn place(&self) -> KeyringPlace {
        match &self.url {
            None => KeyringPlace::File(self.path().join("keyring.sqlite")),
            Some(url) => KeyringPlace::Postgres(PostgresUrl::new(url)),
        }
    }

    pub(super) async fn try_open(&self) -> Result<Keyring, VaultError> {
        Keyring::open(
            &self.place(),
            EpochKeys::load(&self.path().join("epochs"))?,
            Arc::new(FixedClock::at(1_800_000_000)),
            Arc::new(SystemEntropy),
        )
        .await
    }

    pub(super) async fn open(&self) -> Keyring {
        self.try_open().await.unwrap()
    }

    /// Another machine's: the same epoch keys, copied. A file is copied as a kill or a thief leaves it,
    /// without a clean close; a server is the same one.
    pub(super) fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("epochs")).unwrap();
        for sub in ["", "epochs"] {
            for entry in fs::read_dir(self.path().join(sub)).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() {
                    fs::copy(entry.path(), dir.path().join(sub).join(entry.file_name())).unwrap();
                }
            }
        }
        Self { dir, url: self.url.clone() }
    }

    /// What is left when the process dies, long ago.
    pub(super) async fn killed(&self, keyring: Keyring) -> Self {
        let left = self.copy();
        if left.url.is_some() {
            drop(keyring);
            left.wait_for(
                "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE locktype = 'advisory' AND datname = current_database()",
                "0",
            )
            .await;
            left.age_runs();
        }
        left
    }

    pub(super) fn age_runs(&self) {
        self.sql("UPDATE runs SET seen_at = now() - interval '2 hours'");
    }

    /// On a server's shared cluster only.
    pub(super) fn sql(&self, statement: &str) -> String {
        cluster::shared().sql(Cluster::name(self.url.as_ref().unwrap()), statement)
    }

    pub(super) async fn wait_for(&self, statement: &str, wanted: &str) {
        eventually(async || self.sql(statement) == wanted).await;
    }

    /// Ends every session but the one that does it.
    pub(super) fn cut(&self) {
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
}

/// Looks again and again, for some seconds.
pub(super) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.expect("it never came to hold");
}

pub(super) fn vault(keyring: &Keyring) -> Vault {
    Vault::new(keyring.clone(), Arc::new(SystemEntropy))
}

pub(super) async fn wrapped_bytes(keyring: &Keyring, id: KeyId) -> Vec<u8> {
    keyring.0.table.read(id).await.unwrap().unwrap().1
}
