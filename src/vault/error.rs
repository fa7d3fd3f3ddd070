//! What can go wrong in the vault.
//!
//! `Display` names the kind of failure and nothing of the data; the source is there for the operator.

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use crate::domain::Reason;

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key was destroyed, or never existed: the two cannot be told apart any more.
    #[error("the data key is destroyed")]
    Shredded,
    /// The bytes were altered, or are not at the place, in the class or under the key they were sealed for.
    #[error("a sealed value does not open at this place")]
    Tampered,
    /// A row of the keyring does not unwrap under the epoch key it names.
    #[error("the keyring is damaged")]
    KeyringDamaged,
    /// Another process, or another `Keyring` of this one, has the file.
    #[error("the keyring is in use by another process")]
    KeyringInUse,
    /// `close` was called before.
    #[error("the keyring is closed")]
    KeyringClosed,
    /// The keyring's server does not answer, or was not heard of for so long that this process may count as gone.
    #[error("the keyring's server cannot be reached")]
    KeyringAway,
    /// Written by another release, or, on a server, not prepared by this one.
    #[error("the keyring's schema version is not known")]
    KeyringVersion,
    /// 2³² keys are alive at once.
    #[error("the keyring is full")]
    KeyringFull,
    /// The keys are destroyed for readers, but their bytes may still be in the files. Shred again.
    #[error("destroyed keys are not yet gone from the keyring's files")]
    NotGone,
    #[error("the keyring did not answer")]
    Keyring(#[source] sqlx::Error),
    #[error("the keyring's schema cannot be made")]
    KeyringMigrate(#[source] sqlx::migrate::MigrateError),
    #[error("the keyring's file cannot be prepared or flushed")]
    KeyringFile(#[source] std::io::Error),
    #[error("there is no epoch key")]
    EpochNone,
    #[error("epoch {0} is not there, but keys are wrapped under it")]
    EpochMissing(u32),
    /// The folder is not the one that the other processes on this keyring have.
    #[error("the key of epoch {0} is not the one that keys are wrapped under")]
    EpochOther(u32),
    #[error("the key file of epoch {0} may be read by others; it must have mode 0600")]
    EpochMode(u32),
    #[error("the key file of epoch {0} does not hold 32 bytes in base64url")]
    EpochMalformed(u32),
    #[error("epoch {0} exists already")]
    EpochExists(u32),
    /// It is the current one, or keys are still wrapped under it.
    #[error("epoch {0} is still in use")]
    EpochInUse(u32),
    #[error("the epoch keys cannot be read or written")]
    EpochFile(#[source] std::io::Error),
}

impl VaultError {
    /// Whether the keyring's server cannot be reached just now: the same call may go through soon.
    pub fn passes(&self) -> bool {
        match self {
            Self::KeyringAway => true,
            Self::Keyring(error) => crate::sql::passes(error),
            _ => false,
        }
    }
}

impl From<sqlx::Error> for VaultError {
    fn from(error: sqlx::Error) -> Self {
        const SQLITE_BUSY: u32 = 5;
        if matches!(error, sqlx::Error::PoolClosed) {
            return Self::KeyringClosed;
        }
        let sqlite = error.as_database_error().and_then(|e| e.try_downcast_ref::<SqliteError>());
        let code = sqlite.and_then(DatabaseError::code).and_then(|c| c.parse::<u32>().ok());
        // The primary result code is the low byte of the extended one.
        match code {
            Some(code) if code & 0xff == SQLITE_BUSY => Self::KeyringInUse,
            _ => Self::Keyring(error),
        }
    }
}

/// What a caller from outside may learn of it.
impl From<&VaultError> for Reason {
    fn from(error: &VaultError) -> Self {
        match error {
            VaultError::Shredded => Reason::NotFound,
            VaultError::KeyringInUse
            | VaultError::KeyringClosed
            | VaultError::KeyringAway
            | VaultError::NotGone
            | VaultError::Keyring(_)
            | VaultError::KeyringFile(_) => Reason::Unavailable,
            VaultError::Tampered
            | VaultError::KeyringDamaged
            | VaultError::KeyringVersion
            | VaultError::KeyringMigrate(_)
            | VaultError::KeyringFull
            | VaultError::EpochNone
            | VaultError::EpochMissing(_)
            | VaultError::EpochOther(_)
            | VaultError::EpochMode(_)
            | VaultError::EpochMalformed(_)
            | VaultError::EpochExists(_)
            | VaultError::EpochInUse(_)
            | VaultError::EpochFile(_) => Reason::Internal,
        }
    }
}
