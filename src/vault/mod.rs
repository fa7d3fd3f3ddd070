//! Sealed personal data: what the trail commits to and the database holds, and only a key can read.
//!
//! Three layers of keys:
//!
//! ```text
//! epoch key  (a file, 0600)          wraps every data key of its time           epoch
//! data key   (a row of the keyring)  one per case or instruction and class      keyring, data_key
//! value      (a column elsewhere)    bound to its table, row, column and class  seal
//! ```
//!
//! What it promises:
//!
//! - A sealed value opens only at the place it was sealed for, under its own key, in its own class.
//! - A data key is on the disk before anyone gets to use it, so a committed row never lacks its key.
//! - When [`Keyring::shred`] returns, the key can no longer be had from the keyring, and in one that is a file
//!   its bytes are gone from the file (what a server keeps: decision 0012). Other processes that had it in
//!   memory drop it at once, or within seconds if they cannot be told. What was sealed under it, wherever
//!   copies lie, is noise from then on; signatures, digests and proofs still verify.
//! - No key, salt or plaintext shows in `Debug`, `Display`, an error or a log.
//!
//! The keyring is a file, or a PostgreSQL database that several processes share ([`KeyringPlace`]); either
//! way a database of its own, with a mark of how far the trail had come ([`Mark`]), and never restored from the main database's backups
//! (otherwise a restore would bring shredded keys back).

mod aead;
mod commitment;
mod data_key;
mod epoch;
mod error;
mod key_cache;
mod keyring;
mod keyring_mark;
mod keyring_peek;
mod keyring_place;
mod keyring_presence;
mod keyring_rows;
mod keyring_rows_postgres;
mod keyring_table;
mod seal;

pub use commitment::{Commitment, CommitmentError, Salt, commit, keyed_digest, verify_commitment};
pub use data_key::{DataKey, KeyId, RetentionClass};
pub use epoch::EpochKeys;
pub use error::VaultError;
pub use keyring::{EndedEpochs, Keyring, ShredRecord, ShredState};
pub use keyring_mark::Mark;
pub use keyring_peek::KeyringPeek;
pub use keyring_place::KeyringPlace;
pub use seal::{Place, Vault};
