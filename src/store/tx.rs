//! The only way to write: a named command, run inside the sequencer's transaction.
//!
//! A command reads, decides and writes while it holds the writer, so nothing it
//! read can change before it commits. Its state, its leaves and its jobs become
//! durable together or not at all (I2).

use async_trait::async_trait;

use crate::domain::event::Event;
use crate::domain::{Entropy, Reason, Refusal, Timestamp};
use crate::trail::leaf::LeafDraft;

use super::wakes::Topic;
use crate::sql::{Conn, passes};

/// Why a command did not go through.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The rules say no. Nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed. Its text may name values, so it stays out of `Display`.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// A row does not hold what this code wrote: edited by hand, or of another version.
    #[error("a row does not fit its column: {0}")]
    Corrupt(&'static str),
    /// A file of the export folder could not be read or written.
    #[error("a file failed")]
    File(#[source] std::io::Error),
    /// A vault key or sealed value could not be used.
    #[error("the vault failed")]
    Vault(#[source] crate::vault::VaultError),
}

impl StoreError {
    /// Whether the database or the keyring cannot be reached just now, or ended this transaction for another's
    /// sake: nothing is wrong with what was asked, and the same call may go through soon.
    pub fn passes(&self) -> bool {
        match self {
            StoreError::Database(error) => passes(error),
            StoreError::Vault(error) => error.passes(),
            StoreError::Refused(_) | StoreError::Corrupt(_) | StoreError::File(_) => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::Database(error)
    }
}

impl From<Reason> for StoreError {
    fn from(reason: Reason) -> Self {
        StoreError::Refused(reason.into())
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        StoreError::File(error)
    }
}

impl From<crate::vault::VaultError> for StoreError {
    fn from(error: crate::vault::VaultError) -> Self {
        StoreError::Vault(error)
    }
}

/// A use case's write: loads, decides, writes.
#[async_trait]
pub trait Command: Send + Sync + 'static {
    /// Stands in every row it writes.
    const NAME: &'static str;
    type Output: Send + 'static;

    /// May run more than once where a database asks for a retry: no effects outside `tx`.
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, StoreError>;

    /// Whether many of this kind may run at once, through [`Command::run_together`].
    const TOGETHER: bool = false;

    /// Runs many that wait at the same time: one load, a decision each, one write. `None` stands
    /// for one that must run by itself, and of which nothing was written. An error undoes all of
    /// them; then each runs by itself.
    async fn run_together(
        commands: &[&Self],
        _tx: &mut Tx<'_>,
    ) -> Result<Vec<Option<RanTogether<Self::Output>>>, StoreError> {
        Ok(commands.iter().map(|_| None).collect())
    }
}

/// What one of many commands brought about.
pub struct RanTogether<T> {
    pub output: T,
    /// The leaf its receipt is for.
    pub leaf: Option<u64>,
}

/// Which log a leaf goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Log {
    Trail,
    Authority,
}

impl Log {
    pub fn name(self) -> &'static str {
        match self {
            Log::Trail => "trail",
            Log::Authority => "authority",
        }
    }

    /// The table of its leaves.
    pub fn leaf_table(self) -> &'static str {
        match self {
            Log::Trail => "trail_leaves",
            Log::Authority => "authority_leaves",
        }
    }
}

/// A leaf that waits for the batch to commit.
pub(super) struct PendingLeaf {
    pub bytes: Vec<u8>,
    pub subject: String,
    pub type_name: &'static str,
    pub written_by: &'static str,
}

/// The end of a log while a batch is being made.
pub(super) struct LogEnd {
    pub source: String,
    /// Size before the batch.
    pub size: u64,
    pub pending: Vec<PendingLeaf>,
}

/// The writer, for the length of one command.
pub struct Tx<'a> {
    pub(super) conn: &'a mut Conn,
    pub(super) name: &'static str,
    pub(super) now: Timestamp,
    pub(super) trail: &'a mut LogEnd,
    pub(super) authority: &'a mut LogEnd,
    pub(super) entropy: &'a dyn Entropy,
    pub(super) clock: &'a dyn crate::domain::Clock,
    pub(super) wakes: Vec<Topic>,
    pub(super) receipt_for: Option<u64>,
}

impl Tx<'_> {
    /// For the read and write functions of `store`'s aggregates; no other module writes SQL.
    pub fn conn(&mut self) -> &mut Conn {
        self.conn
    }

    /// The name that goes into `written_by`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Leaf time: never before the previous leaf.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Leaf time in whole seconds.
    pub fn now_seconds(&self) -> i64 {
        self.now.as_second()
    }

    /// Appends an event to the trail and returns its index. The first one of a
    /// command is the one its receipt is for.
    pub fn append(&mut self, subject: &str, event: impl Into<Event>) -> Result<u64, StoreError> {
        let index = self.append_to(Log::Trail, subject, event.into())?;
        self.receipt_for.get_or_insert(index);
        Ok(index)
    }

    /// Appends an event to the authority log and returns its index.
    pub fn append_authority(&mut self, subject: &str, event: impl Into<Event>) -> Result<u64, StoreError> {
        self.append_to(Log::Authority, subject, event.into())
    }

    /// A new UUIDv7.
    pub fn new_uuid(&self) -> uuid::Uuid {
        crate::domain::clock::uuid_v7(self.clock, self.entropy)
    }

    /// The random source.
    pub fn entropy(&self) -> &dyn Entropy {
        self.entropy
    }

    /// Size of the authority log as this command sees it.
    pub fn authority_size(&self) -> u64 {
        self.authority.size + self.authority.pending.len() as u64
    }

    /// Size of the trail as this command sees it.
    pub fn trail_size(&self) -> u64 {
        self.trail.size + self.trail.pending.len() as u64
    }

    /// Wakes whoever waits for this, once the batch has committed.
    pub fn wake(&mut self, topic: Topic) {
        self.wakes.push(topic);
    }

    fn append_to(&mut self, log: Log, subject: &str, event: Event) -> Result<u64, StoreError> {
        let end = match log {
            Log::Trail => &mut *self.trail,
            Log::Authority => &mut *self.authority,
        };
        let leaf = LeafDraft::new(event.type_name(), subject, event.to_data())
            .seal(&end.source, self.now, self.entropy)
            .map_err(|_| StoreError::Corrupt("a leaf over its limit"))?;
        let index = end.size + end.pending.len() as u64;
        end.pending.push(PendingLeaf {
            bytes: leaf.bytes().to_vec(),
            subject: subject.to_owned(),
            type_name: event.type_name(),
            written_by: self.name,
        });
        Ok(index)
    }
}
