//! The sequencer: many commands, one transaction, one signed checkpoint.
//!
//! While a batch commits, the next one gathers in the queue. Within a batch each
//! command runs under a savepoint of its own: a refused one leaves its neighbours
//! alone. Indexes come from the head that the batch holds; replies go out after the
//! commit (I3).
//!
//! What survives a crash: before `COMMIT` returns, nothing of the batch; after it,
//! all of it. A `COMMIT` whose result is not known is fatal: the sequencer stops, every
//! caller gets `UNAVAILABLE`, and the process must start again from what is on disk.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use crate::domain::{Clock, Entropy, Reason, Refusal, Timestamp};
use crate::trail::{Appender, Checkpoint, Note, Prover, Receipt, SigningKey, leaf_hash};

use super::logs;
use super::tx::{Command, Log, LogEnd, StoreError, Tx};
use super::wakes::{Topic, Wakes};
use super::{Heads, LogKeys};

/// Commands that may wait; one more is refused as `OVERLOADED`.
pub const QUEUE: usize = 4096;
/// Commands in one transaction.
pub const BATCH: usize = 256;

/// What a command returned, durable, with the receipt of its first leaf.
#[derive(Debug)]
pub struct Committed<T> {
    pub value: T,
    pub receipt: Option<Issued>,
}

/// A receipt with what it proves.
#[derive(Debug, Clone)]
pub struct Issued {
    pub index: u64,
    pub leaf: Vec<u8>,
    pub receipt: Receipt,
}

/// A command in the queue, its type forgotten.
#[async_trait]
pub(super) trait Queued: Send {
    fn name(&self) -> &'static str;
    /// Runs it; the result is kept inside. `Err` only where the whole batch must end.
    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Ran, sqlx::Error>;
    fn reply(self: Box<Self>, outcome: Result<Option<Issued>, Refusal>);
}

#[derive(PartialEq, Eq)]
pub(super) enum Ran {
    Keep,
    Undo,
}

pub(super) struct Waiting<C: Command> {
    pub command: C,
    pub result: Option<Result<C::Output, StoreError>>,
    pub reply: oneshot::Sender<Result<Committed<C::Output>, StoreError>>,
}

#[async_trait]
impl<C: Command> Queued for Waiting<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Ran, sqlx::Error> {
        match self.command.run(tx).await {
            Ok(value) => {
                self.result = Some(Ok(value));
                Ok(Ran::Keep)
            }
            // A constraint that did not hold is this command's own fault; anything
            // else may have ended the transaction under all of them.
            Err(StoreError::Database(error)) if !is_constraint(&error) => Err(error),
            Err(error) => {
                self.result = Some(Err(error));
                Ok(Ran::Undo)
            }
        }
    }

    fn reply(self: Box<Self>, outcome: Result<Option<Issued>, Refusal>) {
        let Waiting { result, reply, .. } = *self;
        let answer = match (outcome, result) {
            (Err(refusal), _) => Err(StoreError::Refused(refusal)),
            (Ok(_), None) => Err(StoreError::Refused(Reason::Unavailable.into())),
            (Ok(_), Some(Err(error))) => Err(error),
            (Ok(receipt), Some(Ok(value))) => Ok(Committed { value, receipt }),
        };
        // The caller may have gone; what it asked for is done all the same.
        let _ = reply.send(answer);
    }
}

fn is_constraint(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.is_unique_violation() || e.is_foreign_key_violation() || e.is_check_violation())
}

/// Both logs as they stand in memory: the right edge of each tree.
pub(super) struct Logs {
    pub trail: LogState,
    pub authority: LogState,
}

pub(super) struct LogState {
    pub log: Log,
    pub origin: String,
    pub source: String,
    pub tree: Appender,
    /// Milliseconds since the epoch of the last leaf.
    pub last_time: i64,
    /// The newest signed checkpoint; `None` before leaf 0.
    pub checkpoint: Option<Note>,
}

/// The task that owns the writer.
pub(super) struct Sequencer {
    pub conn: SqliteConnection,
    pub queue: mpsc::Receiver<Box<dyn Queued>>,
    pub logs: Logs,
    pub keys: Arc<LogKeys>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub heads: watch::Sender<Heads>,
    pub wakes: Arc<Wakes>,
    pub fatal: watch::Sender<bool>,
}

/// What one command left in the batch.
struct Done {
    command: Box<dyn Queued>,
    receipt_for: Option<u64>,
}

/// How a batch ended.
enum Fault {
    /// Nothing was committed; the next batch may go through.
    Batch,
    /// Whether it was committed is not known.
    Fatal,
}

impl Sequencer {
    pub async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            if let Err(Fault::Fatal) = self.commit(batch).await {
                tracing::error!(
                    reason = "commit_unknown",
                    "the writer stops: a commit's result is not known"
                );
                self.fatal.send_replace(true);
                return;
            }
        }
        // The store was closed: leave the file whole, without a log to replay.
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.conn).await {
            tracing::warn!(error = error_class(&error), "the write-ahead log was not truncated");
        }
        let _ = self.conn.close().await;
    }

    async fn commit(&mut self, batch: Vec<Box<dyn Queued>>) -> Result<(), Fault> {
        let mut trail_end = self.logs.trail.end();
        let mut authority_end = self.logs.authority.end();
        let mut wakes = Vec::new();
        let (done, ran) = self.run_all(batch, &mut trail_end, &mut authority_end, &mut wakes).await;
        if let Err(error) = ran {
            tracing::error!(error = error_class(&error), "a batch was given up");
            let undone = sqlx::query("ROLLBACK").execute(&mut self.conn).await;
            refuse_all(done, Reason::Unavailable);
            // SQLite rolls back by itself on I/O errors; then there is nothing left to roll back.
            return match undone {
                Ok(_) => Err(Fault::Batch),
                Err(error) if error.as_database_error().is_some() => Err(Fault::Batch),
                Err(_) => Err(Fault::Fatal),
            };
        }

        // Trees change only here, on copies: what is in memory never runs ahead of the disk.
        let mut trail = self.logs.trail.grown(&trail_end, &self.keys.trail);
        let mut authority = self.logs.authority.grown(&authority_end, &self.keys.authority);
        let written = async {
            let (trail, authority) = (trail.as_mut()?, authority.as_mut()?);
            logs::write(&mut self.conn, trail, &trail_end).await.ok()?;
            logs::write(&mut self.conn, authority, &authority_end).await.ok()
        }
        .await;
        let (Some(()), Some(mut trail), Some(mut authority)) = (written, trail, authority) else {
            tracing::error!("the leaves of a batch were not written");
            let _ = sqlx::query("ROLLBACK").execute(&mut self.conn).await;
            refuse_all(done, Reason::Unavailable);
            return Err(Fault::Batch);
        };
        if let Err(error) = sqlx::query("COMMIT").execute(&mut self.conn).await {
            tracing::error!(error = error_class(&error), "commit failed");
            refuse_all(done, Reason::Unavailable);
            return Err(Fault::Fatal);
        }

        // One prover for the batch: it hashes each tile once.
        let mut prover = Prover::new(trail.tree.size(), &trail.tree);
        let answers: Vec<_> = done
            .into_iter()
            .map(|Done { command, receipt_for }| {
                let issued = receipt_for.and_then(|index| issue(&mut prover, &trail, &trail_end, index));
                (command, issued)
            })
            .collect();
        drop(prover);
        trail.tree.settle();
        authority.tree.settle();
        self.logs = Logs { trail, authority };
        self.heads
            .send_replace(Heads { trail: self.logs.trail.head(), authority: self.logs.authority.head() });
        for (command, issued) in answers {
            command.reply(Ok(issued));
        }
        self.wakes.ring(&wakes);
        Ok(())
    }

    async fn run_all(
        &mut self,
        batch: Vec<Box<dyn Queued>>,
        trail: &mut LogEnd,
        authority: &mut LogEnd,
        wakes: &mut Vec<Topic>,
    ) -> (Vec<Done>, Result<(), sqlx::Error>) {
        let mut done: Vec<Done> =
            batch.into_iter().map(|command| Done { command, receipt_for: None }).collect();
        if let Err(error) = sqlx::query("BEGIN IMMEDIATE").execute(&mut self.conn).await {
            return (done, Err(error));
        }
        let mut last_time = self.logs.trail.last_time.max(self.logs.authority.last_time);
        for entry in &mut done {
            last_time = last_time.max(self.clock.now().as_millisecond());
            let ran = self.run_one(entry, last_time, trail, authority, wakes).await;
            if let Err(error) = ran {
                return (done, Err(error));
            }
        }
        self.logs.trail.last_time = last_time;
        self.logs.authority.last_time = last_time;
        (done, Ok(()))
    }

    async fn run_one(
        &mut self,
        entry: &mut Done,
        time: i64,
        trail: &mut LogEnd,
        authority: &mut LogEnd,
        wakes: &mut Vec<Topic>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("SAVEPOINT command").execute(&mut self.conn).await?;
        let marks = (trail.pending.len(), authority.pending.len());
        let mut tx = Tx {
            conn: &mut self.conn,
            name: entry.command.name(),
            now: Timestamp::from_millisecond(time).unwrap_or(Timestamp::MAX),
            trail,
            authority,
            entropy: &*self.entropy,
            clock: &*self.clock,
            wakes: Vec::new(),
            receipt_for: None,
        };
        let ran = entry.command.run(&mut tx).await?;
        let (receipt_for, mut woken) = (tx.receipt_for, std::mem::take(&mut tx.wakes));
        if ran == Ran::Undo {
            sqlx::query("ROLLBACK TO command").execute(&mut self.conn).await?;
            trail.pending.truncate(marks.0);
            authority.pending.truncate(marks.1);
        } else {
            entry.receipt_for = receipt_for;
            wakes.append(&mut woken);
        }
        sqlx::query("RELEASE command").execute(&mut self.conn).await?;
        Ok(())
    }
}

impl LogState {
    fn end(&self) -> LogEnd {
        LogEnd { source: self.source.clone(), size: self.tree.size(), pending: Vec::new() }
    }

    pub(super) fn head(&self) -> super::Head {
        super::Head {
            size: self.tree.size(),
            checkpoint: self.checkpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// The log with the batch's leaves appended and its checkpoint signed. `None` where signing failed.
    fn grown(&self, end: &LogEnd, key: &SigningKey) -> Option<LogState> {
        let mut tree = self.tree.clone();
        for leaf in &end.pending {
            tree.append(leaf_hash(&leaf.bytes));
        }
        let checkpoint = if end.pending.is_empty() {
            self.checkpoint.clone()
        } else {
            Some(Checkpoint::new(&self.origin, tree.size(), tree.root()).ok()?.sign(key))
        };
        Some(LogState {
            log: self.log,
            origin: self.origin.clone(),
            source: self.source.clone(),
            tree,
            last_time: self.last_time,
            checkpoint,
        })
    }
}

fn issue(prover: &mut Prover<'_, Appender>, trail: &LogState, end: &LogEnd, index: u64) -> Option<Issued> {
    let leaf = end.pending.get(usize::try_from(index.checked_sub(end.size)?).ok()?)?;
    let proof = prover.inclusion(index).ok()?;
    Some(Issued {
        index,
        leaf: leaf.bytes.clone(),
        receipt: Receipt::new(index, proof, trail.checkpoint.clone()?),
    })
}

fn refuse_all(done: Vec<Done>, reason: Reason) {
    for entry in done {
        entry.command.reply(Err(reason.into()));
    }
}

/// What kind of error, without its text: texts may name values.
pub(super) fn error_class(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(e) => format!("database {}", e.code().unwrap_or_default()),
        sqlx::Error::Io(e) => format!("io {:?}", e.kind()),
        sqlx::Error::PoolTimedOut => "pool timed out".into(),
        sqlx::Error::RowNotFound => "row not found".into(),
        _ => "other".into(),
    }
}
