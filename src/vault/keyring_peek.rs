//! A look at a keyring from outside: which keys are there. Makes no run, no key and no change.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::data_key::KeyId;
use super::error::VaultError;
use super::keyring_mark::Mark;
use super::keyring_place::{KeyringPlace, demand_schema};
use crate::sql::silence;

/// An open look.
pub enum KeyringPeek {
    File(SqliteConnection),
    Postgres(PgConnection),
}

impl KeyringPeek {
    /// [`VaultError::KeyringInUse`] where it is a file that a process has open: such a file is for that
    /// process alone.
    pub async fn open(place: &KeyringPlace) -> Result<Self, VaultError> {
        match place {
            KeyringPlace::File(path) => Ok(Self::File(open(path).await?)),
            KeyringPlace::Postgres(url) => {
                demand_schema(url).await?;
                let options = url.options()?.options([("default_transaction_read_only", "on")]);
                Ok(Self::Postgres(silence::connect(&options).await?))
            }
        }
    }

    /// Whether the key is there.
    pub async fn holds(&mut self, id: KeyId) -> Result<bool, VaultError> {
        let found: Option<i64> = match self {
            Self::File(connection) => {
                sqlx::query_scalar("SELECT 1 FROM data_keys WHERE slot = ? AND id = ? AND state = 'held'")
                    .bind(id.slot())
                    .bind(id.as_bytes().as_slice())
                    .fetch_optional(connection)
                    .await?
            }
            Self::Postgres(connection) => {
                sqlx::query_scalar("SELECT CAST(1 AS bigint) FROM data_keys WHERE id = $1")
                    .bind(id.as_bytes().as_slice())
                    .fetch_optional(connection)
                    .await?
            }
        };
        Ok(found.is_some())
    }

    /// How far the trail of that origin had come. A file of the release before marks has none.
    pub async fn mark(&mut self, origin: &str) -> Result<Option<Mark>, VaultError> {
        match self {
            Self::File(connection) => {
                let version: i64 =
                    sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
                if version < 2 { Ok(None) } else { Mark::in_file(connection, origin).await }
            }
            Self::Postgres(connection) => Mark::on_server(connection, origin).await,
        }
    }

    /// Every epoch that some key is wrapped under.
    pub async fn epochs(&mut self) -> Result<Vec<u32>, VaultError> {
        match self {
            Self::File(connection) => {
                let rows: Vec<Vec<u8>> =
                    sqlx::query_scalar("SELECT DISTINCT epoch FROM data_keys WHERE state = 'held'")
                        .fetch_all(connection)
                        .await?;
                let number = |bytes: Vec<u8>| bytes.as_slice().try_into().map(u32::from_be_bytes);
                rows.into_iter().map(|row| number(row).map_err(|_| VaultError::KeyringDamaged)).collect()
            }
            Self::Postgres(connection) => {
                let rows: Vec<i64> =
                    sqlx::query_scalar("SELECT DISTINCT epoch FROM data_keys").fetch_all(connection).await?;
                let number = |n| u32::try_from(n).map_err(|_| VaultError::KeyringDamaged);
                rows.into_iter().map(number).collect()
            }
        }
    }

    pub async fn close(self) -> Result<(), VaultError> {
        match self {
            Self::File(connection) => Ok(connection.close().await?),
            Self::Postgres(connection) => Ok(connection.close().await?),
        }
    }
}

async fn open(path: &Path) -> Result<SqliteConnection, VaultError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_millis(500))
        .disable_statement_logging()
        .connect()
        .await?;
    // The first read is what meets the other process's lock. A start that was cut off may have left no table.
    let _: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master").fetch_one(&mut connection).await?;
    Ok(connection)
}
