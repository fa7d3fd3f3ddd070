//! How far the trail had come when the keyring last heard of it: a database that is behind that is an older
//! one, and which data keys it names says nothing about which are still needed (decision 0024).
//!
//! A mark only grows, one for each origin. It is told after the commit it speaks of, so a crash in between
//! leaves it lower than the trail, never higher.

use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{PgConnection, Row as _};

use super::error::VaultError;

/// The longest trail of an origin that was told to the keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// The signed note over them (C2SP tlog-checkpoint).
    pub checkpoint: String,
}

const READ: &str = "SELECT size, checkpoint FROM marks WHERE origin = $1";
const RAISE: &str = "INSERT INTO marks (origin, size, checkpoint) VALUES ($1, $2, $3)
    ON CONFLICT (origin) DO UPDATE SET size = excluded.size, checkpoint = excluded.checkpoint
    WHERE marks.size < excluded.size";

impl Mark {
    pub(super) async fn in_file(
        connection: &mut SqliteConnection,
        origin: &str,
    ) -> Result<Option<Mark>, VaultError> {
        let row = sqlx::query(READ).bind(origin).fetch_optional(connection).await?;
        row.map(|row: SqliteRow| of(origin, row.try_get("size")?, row.try_get("checkpoint")?)).transpose()
    }

    pub(super) async fn on_server(
        connection: &mut PgConnection,
        origin: &str,
    ) -> Result<Option<Mark>, VaultError> {
        let row = sqlx::query(READ).bind(origin).fetch_optional(connection).await?;
        row.map(|row: PgRow| of(origin, row.try_get("size")?, row.try_get("checkpoint")?)).transpose()
    }

    /// Durable when it returns. A lower mark than the one there changes nothing.
    pub(super) async fn raise_in_file(&self, connection: &mut SqliteConnection) -> Result<(), VaultError> {
        let raise = sqlx::query(RAISE).bind(&self.origin).bind(self.size.cast_signed());
        raise.bind(&self.checkpoint).execute(connection).await?;
        Ok(())
    }

    pub(super) async fn raise_on_server(&self, connection: &mut PgConnection) -> Result<(), VaultError> {
        let raise = sqlx::query(RAISE).bind(&self.origin).bind(self.size.cast_signed());
        raise.bind(&self.checkpoint).execute(connection).await?;
        Ok(())
    }
}

fn of(origin: &str, size: i64, checkpoint: String) -> Result<Mark, VaultError> {
    let size = u64::try_from(size).map_err(|_| VaultError::KeyringDamaged)?;
    Ok(Mark { origin: origin.to_owned(), size, checkpoint })
}
