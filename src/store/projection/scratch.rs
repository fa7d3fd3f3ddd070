//! A database of the gateway's schema to rebuild rows in, gone when it is dropped.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::domain::Entropy;
use crate::sql::{Conn, query};
use crate::store::{Database, OpenError};

/// A file in the folder for temporary files. It holds what the trail holds: nothing personal.
pub struct Scratch {
    pub conn: Conn,
    _folder: Folder,
}

/// Removed with everything in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over is the operating system's to clear away; it is nothing personal.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Scratch {
    pub async fn make(entropy: &dyn Entropy) -> Result<Scratch, OpenError> {
        let name = format!("mandate-scratch-{}", hex::encode(entropy.array::<8>()));
        let folder = Folder(std::env::temp_dir().join(name));
        let failed = |error| OpenError::Database(sqlx::Error::Io(error));
        std::fs::create_dir(&folder.0).map_err(failed)?;
        let file = folder.0.join("rows.sqlite");
        Database::Sqlite(file.clone()).migrate().await?;
        let connection = SqliteConnectOptions::new()
            .filename(&file)
            .journal_mode(SqliteJournalMode::Memory)
            // A crash makes it worthless anyway.
            .synchronous(SqliteSynchronous::Off)
            // Key sets come before the controllers they are of: their log is read first.
            .foreign_keys(false)
            .busy_timeout(Duration::from_secs(1))
            .disable_statement_logging()
            .connect()
            .await
            .map_err(OpenError::Database)?;
        let mut scratch = Scratch { conn: connection.into(), _folder: folder };
        for index in
            ["messages_by_request ON messages (request_id)", "instructions_by_id ON instructions (id)"]
        {
            let made = query(format!("CREATE INDEX {index}")).execute(&mut scratch.conn).await;
            made.map_err(OpenError::Database)?;
        }
        query("BEGIN").execute(&mut scratch.conn).await.map_err(OpenError::Database)?;
        Ok(scratch)
    }

    /// Ends the one transaction that all rows are written in.
    pub async fn keep(&mut self) -> Result<(), OpenError> {
        query("COMMIT").execute(&mut self.conn).await.map_err(OpenError::Database)?;
        Ok(())
    }
}
