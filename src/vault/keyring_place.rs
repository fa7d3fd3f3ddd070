//! Where the keyring lies, and whether the schema found there is ours.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::migrate::{Migrate as _, Migrator};
use tokio::time::timeout;

use super::error::VaultError;
use super::key_cache::KeyCache;
use super::keyring_mark::Mark;
use super::keyring_peek::KeyringPeek;
use super::keyring_rows::FileTable;
use super::keyring_rows_postgres::PostgresTable;
use super::keyring_table::Table;
use crate::sql::{PostgresUrl, silence};

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres-keyring");

/// Where the keyring lies. Never the database whose rows it opens.
#[derive(Debug, Clone)]
pub enum KeyringPlace {
    /// A SQLite file, for one process: the embedded default.
    File(PathBuf),
    /// A PostgreSQL database of its own, which several processes share.
    Postgres(PostgresUrl),
}

impl KeyringPlace {
    /// Brings a server's schema up to date. A file makes its own when it is opened.
    pub async fn migrate(&self) -> Result<(), VaultError> {
        let Self::Postgres(url) = self else { return Ok(()) };
        let mut connection = silence::connect(&url.options()?).await?;
        POSTGRES.run(&mut connection).await.map_err(VaultError::KeyringMigrate)?;
        Ok(connection.close().await?)
    }

    /// The mark of that origin, seen from outside; `None` also where there is no keyring yet.
    pub async fn mark(&self, origin: &str) -> Result<Option<Mark>, VaultError> {
        if let Self::File(path) = self
            && !path.exists()
        {
            return Ok(None);
        }
        let mut peek = KeyringPeek::open(self).await?;
        let mark = timeout(silence::ANSWER, peek.mark(origin)).await.map_err(|_| silence::no_answer())?;
        peek.close().await?;
        mark
    }

    pub(super) async fn open(&self, cache: Arc<KeyCache>) -> Result<Box<dyn Table>, VaultError> {
        Ok(match self {
            Self::File(path) => Box::new(FileTable::open(path).await?),
            Self::Postgres(url) => {
                demand_schema(url).await?;
                Box::new(PostgresTable::open(url, cache).await?)
            }
        })
    }
}

pub(super) async fn demand_schema(url: &PostgresUrl) -> Result<(), VaultError> {
    let mut connection = silence::connect(&url.options()?).await?;
    let applied = timeout(silence::ANSWER, connection.list_applied_migrations("_sqlx_migrations"))
        .await
        .map_err(|_| silence::no_answer())?
        .map_err(|_| VaultError::KeyringVersion)?;
    let wanted: Vec<_> = POSTGRES.iter().filter(|m| !m.migration_type.is_down_migration()).collect();
    let same = applied.len() == wanted.len()
        && applied.iter().zip(&wanted).all(|(a, w)| a.version == w.version && a.checksum == w.checksum);
    connection.close().await?;
    if same { Ok(()) } else { Err(VaultError::KeyringVersion) }
}
