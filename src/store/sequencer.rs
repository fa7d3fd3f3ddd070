//! The sequencer: many commands, one transaction, one signed checkpoint.
//!
//! While a batch commits, the next one gathers in the queue. Commands of one kind that many send at
//! once run together (`batch.rs`); each other one that has neighbours runs under a savepoint of its own: a
//! refused one leaves them alone. Indexes come from the head that the batch holds locked (`writer.rs`); replies go
//! out after the commit (I3).
//!
//! What survives a crash: before `COMMIT` returns, nothing of the batch; after it, all of it.
//!
//! What is fatal and what is not:
//! - A statement that fails ends the batch: nothing of it is written, its callers get `UNAVAILABLE`. On
//!   PostgreSQL, where the fault may pass (a lost connection, a serialization failure), the same batch
//!   runs again first; its commands have no effects outside the transaction.
//! - A `COMMIT` on SQLite whose result is not known (a failed fsync) is fatal: the writer stops, every
//!   caller gets `UNAVAILABLE`, the process ends and starts again from what is on disk. A full disk is not:
//!   nothing was committed, and reads go on until there is space again: the writer looks (`standing.rs`).
//! - A `COMMIT` on PostgreSQL that the server answers with a rollback (a serialization failure, a deadlock) is
//!   such a fault that may pass. One whose connection dropped is looked into under the head lock; only where
//!   even that fails do the callers get `UNAVAILABLE`, never OK.
//! - A file that lets no transaction begin for half a minute is fatal (`patience.rs`): SQLite does not get over
//!   a lock that it could not give back, and a new process does. While the disk is full, transactions begin.
//! - A log that became shorter, or does not fit its signed head, is fatal.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::domain::{Clock, Entropy, Reason, Refusal};
use crate::fault;
use crate::trail::{Appender, Checkpoint, Note, Prover, Receipt, leaf_hash};

use super::batch::{Batch, Done, Ends, Run};
use super::logs;
use super::pass::Pass;
use super::patience::Patience;
use super::standing::{Doubt, Serves};
use super::tx::{Command, Log, LogEnd, StoreError, Tx};
use super::wakes::{self, Topic, Wakes};
use super::writer::{Fault, Writer};
use super::{Heads, LogKey, LogKeys};

/// Commands that may wait; one more is refused as `OVERLOADED`.
pub const QUEUE: usize = 4096;
/// Commands in one transaction.
pub const BATCH: usize = 256;
/// How long a batch waits for more, at most.
const GATHER: Duration = Duration::from_millis(3);
/// And how long nobody may come before it goes.
const LULL: Duration = Duration::from_millis(1);
/// Attempts to commit a batch on a database whose faults may pass: about ten seconds in all, or as long as a few
/// attempts take where each of them waits.
const ATTEMPTS: u32 = 9;
const FEW: u32 = 4;
const LONG: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);

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
    /// Whether enough witnesses cosigned the receipt's checkpoint. Never in a reply: they come later.
    pub witnessed: bool,
}

/// A command in the queue, its type forgotten.
#[async_trait]
pub(super) trait Queued: Send {
    fn name(&self) -> &'static str;
    /// What its caller was let in by; `None` for the gateway's own.
    fn pass(&self) -> Option<&Pass>;
    /// It is not run: this is the answer.
    fn refuse(&mut self, refusal: Refusal);
    /// How to run it with others of its kind, where it may.
    fn together(&self) -> Option<(TypeId, RunTogether)>;
    /// The command itself, for [`Queued::together`].
    fn command(&self) -> &(dyn Any + Send + Sync);
    /// Takes what running together brought about.
    fn accept(&mut self, output: Box<dyn Any + Send>);
    /// Runs it; the result is kept inside. `Err` only where the whole batch must end.
    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Ran, sqlx::Error>;
    fn reply(self: Box<Self>, outcome: Result<Option<Issued>, Refusal>);
}

/// Runs commands of one type; each outcome with the leaf its receipt is for.
pub(super) type RunTogether = for<'a> fn(
    &'a [&'a (dyn Any + Send + Sync)],
    &'a mut Tx<'_>,
) -> BoxFuture<'a, Result<Outcomes, StoreError>>;

/// A command's output, its type forgotten.
pub(super) type Outcome = Box<dyn Any + Send>;

/// What each of many brought about, and the leaf its receipt is for; `None` must run by itself.
pub(super) type Outcomes = Vec<Option<(Outcome, Option<u64>)>>;

#[derive(PartialEq, Eq)]
pub(super) enum Ran {
    Keep,
    Undo,
}

pub(super) struct Waiting<C: Command> {
    pub command: C,
    pub pass: Option<Pass>,
    pub result: Option<Result<C::Output, StoreError>>,
    pub reply: oneshot::Sender<Result<Committed<C::Output>, StoreError>>,
}

fn run_together<'a, C: Command>(
    commands: &'a [&'a (dyn Any + Send + Sync)],
    tx: &'a mut Tx<'_>,
) -> BoxFuture<'a, Result<Outcomes, StoreError>> {
    Box::pin(async move {
        let commands: Vec<&C> = commands.iter().filter_map(|c| c.downcast_ref()).collect();
        let ran = C::run_together(&commands, tx).await?;
        Ok(ran.into_iter().map(|ran| ran.map(|ran| (Box::new(ran.output) as Outcome, ran.leaf))).collect())
    })
}

#[async_trait]
impl<C: Command> Queued for Waiting<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn pass(&self) -> Option<&Pass> {
        self.pass.as_ref()
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.result = Some(Err(refusal.into()));
    }

    fn together(&self) -> Option<(TypeId, RunTogether)> {
        C::TOGETHER.then(|| (TypeId::of::<C>(), run_together::<C> as RunTogether))
    }

    fn command(&self) -> &(dyn Any + Send + Sync) {
        &self.command
    }

    fn accept(&mut self, output: Outcome) {
        self.result = output.downcast().ok().map(|output| Ok(*output));
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

pub(super) fn is_constraint(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.is_unique_violation() || e.is_foreign_key_violation() || e.is_check_violation())
}

/// Both logs as they stand in memory: the right edge of each tree.
pub(super) struct Logs {
    pub trail: LogState,
    pub authority: LogState,
}

#[derive(Clone)]
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
    pub writer: Writer,
    pub queue: mpsc::Receiver<Box<dyn Queued>>,
    pub logs: Logs,
    pub keys: Arc<LogKeys>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub heads: watch::Sender<Heads>,
    pub wakes: Arc<Wakes>,
    pub patience: Patience,
    pub doubt: Doubt,
    pub fatal: watch::Sender<bool>,
}

impl Sequencer {
    pub async fn run(mut self) {
        while let Some(next) = self.next().await {
            let done = match next {
                Next::Command(first) => {
                    let batch = self.gather(first).await;
                    self.settle(batch).await
                }
                Next::Look => self.look().await,
            };
            if let Err(Fatal) = done {
                tracing::error!(reason = "writer_stopped", "the writer stops; the line before says why");
                self.fatal.send_replace(true);
                return;
            }
        }
        self.writer.close().await;
    }

    /// The next command; a look where one is due. `None` once the store is closed.
    async fn next(&mut self) -> Option<Next> {
        let Some(look) = self.doubt.look() else { return self.queue.recv().await.map(Next::Command) };
        if look <= Instant::now() {
            return Some(Next::Look);
        }
        match tokio::time::timeout_at(look, self.queue.recv()).await {
            Ok(first) => first.map(Next::Command),
            Err(_) => Some(Next::Look),
        }
    }

    /// Whether a transaction that writes goes through (again).
    async fn look(&mut self) -> Result<(), Fatal> {
        match self.write_nothing().await {
            Ok(()) => self.doubt.wrote(),
            Err(Fault::Fatal) => return Err(Fatal),
            Err(_) => tracing::debug!("the store is not well yet"),
        }
        Ok(())
    }

    async fn write_nothing(&mut self) -> Result<(), Fault> {
        self.begin().await?;
        let done = match self.writer.write_nothing().await {
            Ok(()) => self.writer.commit(&self.logs.trail.end(), &self.logs.authority.end()).await,
            Err(error) => {
                self.writer.rollback().await;
                Err(self.writer.fault_of(error))
            }
        };
        if done.is_err() {
            self.doubt.looked_in_vain(Instant::now());
        }
        done
    }

    /// Begins a transaction. Fatal where a file has let none begin for too long: what holds it is most likely
    /// this process, and ends with it.
    async fn begin(&mut self) -> Result<(), Fault> {
        let begun = self.writer.begin(&mut self.logs, &self.keys, &*self.clock).await;
        if let Err(fault) = &begun {
            // A server that answers still reads. A file that lets nothing begin may or may not.
            let answers = self.writer.is_shared() && matches!(fault, Fault::Batch);
            self.doubt.did_not_begin(if answers { Serves::Reads } else { Serves::Nothing }, Instant::now());
        }
        if begun.is_ok() || self.writer.is_shared() {
            self.patience.restore();
        } else if self.patience.is_over(Instant::now()) {
            tracing::error!(reason = "database_stuck", "the database let no transaction begin for too long");
            return Err(Fault::Fatal);
        }
        begun
    }

    /// The next batch. One command alone goes at once; where others wait too, more are on their way,
    /// and the commit's cost is shared by all who come in time.
    async fn gather(&mut self, first: Box<dyn Queued>) -> Vec<Box<dyn Queued>> {
        let mut batch = vec![first];
        self.take_waiting(&mut batch);
        if batch.len() == 1 {
            return batch;
        }
        let end = Instant::now() + GATHER;
        while batch.len() < BATCH {
            match tokio::time::timeout_at(end.min(Instant::now() + LULL), self.queue.recv()).await {
                Ok(Some(next)) => {
                    batch.push(next);
                    self.take_waiting(&mut batch);
                }
                Ok(None) | Err(_) => break,
            }
        }
        batch
    }

    fn take_waiting(&mut self, batch: &mut Vec<Box<dyn Queued>>) {
        while batch.len() < BATCH
            && let Ok(next) = self.queue.try_recv()
        {
            batch.push(next);
        }
    }

    /// Commits a batch, again where the database asks for it, and answers every command.
    async fn settle(&mut self, batch: Vec<Box<dyn Queued>>) -> Result<(), Fatal> {
        let mut batch = Batch::new(batch);
        let begun = Instant::now();
        for attempt in (0..ATTEMPTS).take_while(|n| *n < FEW || begun.elapsed() < LONG) {
            let done = self.commit(&mut batch).await;
            if done.is_err() {
                self.doubt.did_not_write(Instant::now());
            }
            match done {
                Ok(Grown { trail, authority, trail_end }) => {
                    self.publish(batch, trail, authority, &trail_end);
                    return Ok(());
                }
                Err(Fault::Again(error)) => {
                    tracing::warn!(error = error_class(&error), attempt, "a batch is tried again");
                    tokio::time::sleep(FIRST_PAUSE * 2u32.pow(attempt)).await;
                }
                Err(Fault::Batch | Fault::Unknown) => {
                    tracing::error!("a batch was given up");
                    batch.refuse(Reason::Unavailable);
                    return Ok(());
                }
                Err(Fault::Fatal) => {
                    batch.refuse(Reason::Unavailable);
                    return Err(Fatal);
                }
            }
        }
        tracing::error!("a batch was given up after its last attempt");
        batch.refuse(Reason::Unavailable);
        Ok(())
    }

    async fn commit(&mut self, batch: &mut Batch) -> Result<Grown, Fault> {
        self.begin().await?;
        let mut ends = Ends::of(&self.logs);
        let ran = self.run_all(batch, &mut ends).await;
        if let Err(error) = ran {
            self.writer.rollback().await;
            return Err(self.writer.fault_of(error));
        }
        // Trees change only here, on copies: what is in memory never runs ahead of the disk.
        let grown = (self.logs.trail.grown(&ends.trail, &self.keys.trail, ends.time))
            .zip(self.logs.authority.grown(&ends.authority, &self.keys.authority, ends.time));
        let Some((mut trail, mut authority)) = grown else {
            tracing::error!("a checkpoint could not be signed");
            self.writer.rollback().await;
            return Err(Fault::Batch);
        };
        if let Err(error) = self.write(&mut trail, &mut authority, &ends, batch.wakes()).await {
            tracing::error!(error = error_class(&error), "the leaves of a batch were not written");
            self.writer.rollback().await;
            return Err(self.writer.fault_of(error));
        }
        fault::point("commit.before");
        self.writer.commit(&ends.trail, &ends.authority).await?;
        fault::point("commit.after");
        // A commit without leaves may have written nothing: it proves nothing.
        if !ends.trail.pending.is_empty() || !ends.authority.pending.is_empty() {
            self.doubt.wrote();
        }
        Ok(Grown { trail, authority, trail_end: ends.trail })
    }

    async fn write(
        &mut self,
        trail: &mut LogState,
        authority: &mut LogState,
        ends: &Ends,
        wakes: &[Topic],
    ) -> Result<(), sqlx::Error> {
        let conn = self.writer.conn()?;
        logs::write(conn, trail, &ends.trail).await?;
        logs::write(conn, authority, &ends.authority).await?;
        if conn.is_postgres() {
            wakes::notify(conn, wakes).await?;
        }
        Ok(())
    }

    /// After the commit: memory, receipts, answers, wakes.
    fn publish(&mut self, batch: Batch, mut trail: LogState, mut authority: LogState, end: &LogEnd) {
        // One prover for the batch: it hashes each tile once.
        let mut prover = Prover::new(trail.tree.size(), &trail.tree);
        let wakes = batch.wakes().to_vec();
        let answers: Vec<_> = batch
            .into_done()
            .map(|Done { command, receipt_for, .. }| {
                let issued = receipt_for.and_then(|index| issue(&mut prover, &trail, end, index));
                (command, issued)
            })
            .collect();
        drop(prover);
        trail.tree.settle();
        authority.tree.settle();
        self.logs = Logs { trail, authority };
        self.heads
            .send_replace(Heads { trail: self.logs.trail.head(), authority: self.logs.authority.head() });
        // First, so that nobody who was answered finds what is remembered of before.
        self.wakes.ring(&wakes);
        fault::point("commit.published");
        for (command, issued) in answers {
            command.reply(Ok(issued));
        }
    }

    async fn run_all(&mut self, batch: &mut Batch, ends: &mut Ends) -> Result<(), sqlx::Error> {
        let mut run = Run { conn: self.writer.conn()?, ends, clock: &*self.clock, entropy: &*self.entropy };
        run.all(batch).await
    }
}

/// The writer cannot go on.
struct Fatal;

/// What the writer does next.
enum Next {
    Command(Box<dyn Queued>),
    Look,
}

/// Both logs with a committed batch in them.
struct Grown {
    trail: LogState,
    authority: LogState,
    trail_end: LogEnd,
}

impl LogState {
    pub(super) fn end(&self) -> LogEnd {
        LogEnd { source: self.source.clone(), size: self.tree.size(), pending: Vec::new() }
    }

    pub(super) fn head(&self) -> super::Head {
        super::Head {
            size: self.tree.size(),
            checkpoint: self.checkpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// The log with the batch's leaves appended and its checkpoint signed. `None` where signing failed.
    fn grown(&self, end: &LogEnd, key: &LogKey, time: i64) -> Option<LogState> {
        let mut tree = self.tree.clone();
        for leaf in &end.pending {
            tree.append(leaf_hash(&leaf.bytes));
        }
        let checkpoint = if end.pending.is_empty() {
            self.checkpoint.clone()
        } else {
            Some(key.sign(&Checkpoint::new(&self.origin, tree.size(), tree.root()).ok()?))
        };
        Some(LogState {
            log: self.log,
            origin: self.origin.clone(),
            source: self.source.clone(),
            tree,
            last_time: time,
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
        witnessed: false,
    })
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
