//! The agent's own memory: what it was about to do, and what came of it.
//!
//! A SQLite file of its own (WAL, `synchronous=FULL`, `secure_delete`), held
//! under an exclusive lock, so that no second agent works from it. What is
//! written is durable when a method returns. The keys of the rows to be
//! touched stand in it sealed, before the first is touched, and are overwritten
//! when the act has ended.
//!
//! After a crash: an execution that is still open is taken up again from its
//! batches, whose rows now absent were deleted by us; one that has ended
//! answers with its first outcome for ever. The keyring is told of each entry
//! after its commit, so an older copy of the file is known for one.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use super::ledger_batches::{NewBatch, forget_batches, insert_batches};
use super::ledger_chain::Anchor;
use super::ledger_returns::forget_return;
use super::ledger_subjects::free_subjects;
use super::name::Name;
use super::outcome::{CollectionOutcome, Outcome};
use super::sealer::{Place, Sealer};
use super::task::Task;
use super::value::Value;
use super::walk::Traces;
use crate::domain::{ExecutionId, Reason, Refusal};

const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &[&str] = &[
    "CREATE TABLE executions (
        execution TEXT PRIMARY KEY,
        instruction_digest BLOB NOT NULL,
        store TEXT NOT NULL,
        act TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('open', 'ended')),
        begun_at INTEGER NOT NULL,
        ended_at INTEGER,
        outline TEXT,
        traces BLOB,
        outcome BLOB,
        report TEXT,
        UNIQUE (instruction_digest, store)
    ) STRICT",
    "CREATE TABLE open_subjects (
        subject BLOB NOT NULL,
        execution TEXT NOT NULL,
        PRIMARY KEY (subject)
    ) STRICT, WITHOUT ROWID",
    "CREATE INDEX open_subjects_by_execution ON open_subjects (execution)",
    "CREATE TABLE batches (
        execution TEXT NOT NULL,
        number INTEGER NOT NULL,
        round INTEGER NOT NULL,
        collection TEXT NOT NULL,
        via TEXT NOT NULL,
        rows INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('recorded', 'intended', 'done')),
        sealed BLOB,
        deleted INTEGER,
        PRIMARY KEY (execution, number)
    ) STRICT, WITHOUT ROWID",
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, entry BLOB NOT NULL, head BLOB NOT NULL) STRICT",
    RETURNS,
];

/// Added in version 2.
const RETURNS: &str = "CREATE TABLE returns (
        execution TEXT PRIMARY KEY,
        as_of INTEGER NOT NULL,
        export TEXT,
        handed_over INTEGER NOT NULL CHECK (handed_over IN (0, 1))
    ) STRICT";

/// What the ledger says to an order.
pub enum Begun {
    /// It is to be carried out, or gone on with, under this run.
    Open(Run),
    /// The same instruction has ended on this store: its first outcome.
    Ended(Box<Outcome>),
}

/// The right to work on one open execution. While it lives, no other task of
/// this process gets one for the same execution.
pub struct Run {
    pub(super) execution: ExecutionId,
    running: Arc<Mutex<HashSet<ExecutionId>>>,
}

impl Run {
    /// The execution that began it: on a repeated order, the first one.
    pub fn execution(&self) -> ExecutionId {
        self.execution
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.execution);
    }
}

pub struct Ledger {
    pub(super) pool: SqlitePool,
    pub(super) sealer: Arc<dyn Sealer>,
    running: Arc<Mutex<HashSet<ExecutionId>>>,
}

/// The ledger's own failures end the act: without it nothing may be done.
pub(super) fn failed(_: sqlx::Error) -> Refusal {
    Refusal::at(Reason::StoreFailed, "ledger").note("the agent's ledger did not answer")
}

pub(super) fn damaged(_: impl std::error::Error) -> Refusal {
    Refusal::at(Reason::LedgerBehind, "ledger").note("the agent's ledger is damaged")
}

pub(super) fn to_number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn to_count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Ledger {
    /// Opens or creates the file and verifies its chain to the end.
    pub async fn open(path: &Path, sealer: Arc<dyn Sealer>) -> Result<Self, Refusal> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(2))
            .pragma("secure_delete", "ON");
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(failed)?;
        let ledger = Self { pool, sealer, running: Arc::default() };
        ledger.prepare().await?;
        ledger.verify().await?;
        Ok(ledger)
    }

    /// Gives the file up; another agent may open it then.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn prepare(&self) -> Result<(), Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let version: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(failed)?;
        match version {
            0 => {
                for statement in SCHEMA {
                    sqlx::query(*statement).execute(&mut *transaction).await.map_err(failed)?;
                }
            }
            1 => {
                sqlx::query(RETURNS).execute(&mut *transaction).await.map_err(failed)?;
            }
            SCHEMA_VERSION => {}
            _ => {
                return Err(Refusal::at(Reason::LedgerBehind, "ledger")
                    .note("the ledger was written by another release"));
            }
        }
        // `SCHEMA_VERSION`; a PRAGMA takes no bound value.
        sqlx::query("PRAGMA user_version = 2").execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn verify(&self) -> Result<(), Refusal> {
        let mut at = Anchor::GENESIS;
        loop {
            let page = sqlx::query(
                "SELECT sequence, entry, head FROM entries WHERE sequence > ? ORDER BY sequence LIMIT 1000",
            )
            .bind(to_number(at.sequence as usize))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
            if page.is_empty() {
                return Ok(());
            }
            for row in &page {
                let entry: Vec<u8> = row.try_get(1).map_err(damaged)?;
                at = at.next(&entry);
                if to_count(row.try_get(0).map_err(damaged)?) != at.sequence
                    || row.try_get::<Vec<u8>, _>(2).map_err(damaged)? != at.head
                {
                    return Err(Refusal::at(Reason::LedgerBehind, "ledger").note("the chain is broken"));
                }
            }
        }
    }

    /// Where the ledger stands now.
    pub async fn anchor(&self) -> Result<Anchor, Refusal> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        anchor(&mut connection).await
    }

    /// Whether the ledger went through this point. `false`: it is behind the trail, and the agent
    /// must refuse to run (`LEDGER_BEHIND`).
    pub async fn contains(&self, at: Anchor) -> Result<bool, Refusal> {
        if at.sequence == 0 {
            return Ok(at == Anchor::GENESIS);
        }
        let Ok(sequence) = i64::try_from(at.sequence) else { return Ok(false) };
        let head: Option<Vec<u8>> = sqlx::query_scalar("SELECT head FROM entries WHERE sequence = ?")
            .bind(sequence)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        Ok(head.is_some_and(|head| head == at.head))
    }

    /// Opens an execution, or finds the open or ended one of the same instruction on the same store.
    /// `SUBJECT_BUSY` while another act on any of the identifiers is open.
    pub async fn begin(&self, task: &Task, now: i64) -> Result<Begun, Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let known = sqlx::query(
            "SELECT execution, state, outcome FROM executions WHERE instruction_digest = ? AND store = ?",
        )
        .bind(task.instruction_digest().as_slice())
        .bind(task.store().as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        if let Some(row) = known {
            let execution: ExecutionId =
                row.try_get::<String, _>(0).map_err(damaged)?.parse().map_err(damaged)?;
            if row.try_get::<String, _>(1).map_err(damaged)? == "ended" {
                let sealed: Option<Vec<u8>> = row.try_get(2).map_err(damaged)?;
                transaction.rollback().await.map_err(failed)?;
                let Some(sealed) = sealed else {
                    return Err(Refusal::new(Reason::StageConflict).note("the execution was given up"));
                };
                let outcome = self.sealer.open(outcome_place(execution), &sealed).await?;
                return Ok(Begun::Ended(Box::new(serde_json::from_slice(&outcome).map_err(damaged)?)));
            }
            return self.run(execution).map(Begun::Open);
        }
        self.occupy(&mut transaction, task).await?;
        sqlx::query(
            "INSERT INTO executions (execution, instruction_digest, store, act, state, begun_at) \
             VALUES (?, ?, ?, ?, 'open', ?)",
        )
        .bind(task.execution().to_string())
        .bind(task.instruction_digest().as_slice())
        .bind(task.store().as_str())
        .bind(task.act().as_str())
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        let at = append(
            &mut transaction,
            json!({
                "entry": "begun", "execution": task.execution(), "store": task.store(), "act": task.act(),
                "instruction": hex::encode(task.instruction_digest()), "at": now,
            }),
        )
        .await?;
        let run = self.run(task.execution())?;
        self.commit(transaction, at).await?;
        Ok(Begun::Open(run))
    }

    pub(super) fn run(&self, execution: ExecutionId) -> Result<Run, Refusal> {
        if !self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(execution) {
            return Err(Refusal::new(Reason::SubjectBusy).note("this very execution is under way"));
        }
        Ok(Run { execution, running: self.running.clone() })
    }

    /// Forgets an execution of which nothing was recorded: it failed before any row could be touched.
    /// Its keys go with it.
    pub async fn withdraw(&self, run: &Run) -> Result<(), Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let done =
            sqlx::query("DELETE FROM executions WHERE execution = ? AND state = 'open' AND outline IS NULL")
                .bind(run.execution.to_string())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        if done.rows_affected() != 1 {
            return transaction.rollback().await.map_err(failed);
        }
        forget_batches(&mut transaction, run.execution).await?;
        free_subjects(&mut transaction, run.execution).await?;
        let at = append(&mut transaction, json!({"entry": "withdrawn", "execution": run.execution})).await?;
        self.commit(transaction, at).await?;
        // Cut off here, keys are left that no execution has: the next round finds them.
        self.sealer.shred(run.execution).await
    }

    /// What was recorded first: the report without the rows erased, and the traces of the walk.
    pub async fn outline(&self, run: &Run) -> Result<Option<(Vec<CollectionOutcome>, Traces)>, Refusal> {
        let row = sqlx::query("SELECT outline, traces FROM executions WHERE execution = ?")
            .bind(run.execution.to_string())
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        let Some(outline) = row.try_get::<Option<String>, _>(0).map_err(damaged)? else { return Ok(None) };
        let sealed: Vec<u8> = row.try_get(1).map_err(damaged)?;
        let traces = self.sealer.open(traces_place(run.execution), &sealed).await?;
        let traces: Vec<(String, String, Vec<Value>)> = serde_json::from_slice(&traces).map_err(damaged)?;
        let traces = traces
            .into_iter()
            .map(|(collection, column, values)| {
                Ok(((Name::new(&collection)?, Name::new(&column)?), values.into_iter().collect()))
            })
            .collect::<Result<_, Refusal>>()?;
        Ok(Some((serde_json::from_str(&outline).map_err(damaged)?, traces)))
    }

    /// Seals and stores the first plan: durable, on return, before any row is touched.
    pub async fn record_first(
        &self,
        run: &Run,
        outline: &[CollectionOutcome],
        traces: &Traces,
        batches: &[NewBatch],
    ) -> Result<(), Refusal> {
        let flat: Vec<_> = traces
            .iter()
            .map(|((collection, column), values)| (collection.as_str(), column.as_str(), values))
            .collect();
        let plain = serde_json::to_vec(&flat).map_err(damaged)?;
        let traces = self.sealer.seal(traces_place(run.execution), &plain).await?;
        let sealed = self.seal_batches(run, 0, batches).await?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let done = sqlx::query(
            "UPDATE executions SET outline = ?, traces = ? \
             WHERE execution = ? AND state = 'open' AND outline IS NULL",
        )
        .bind(serde_json::to_string(outline).map_err(damaged)?)
        .bind(traces)
        .bind(run.execution.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        one(done.rows_affected())?;
        let at = insert_batches(&mut transaction, run, 0, 0, batches, sealed).await?;
        self.commit(transaction, at).await
    }

    /// Ends an execution: stores its outcome, overwrites the sealed keys, frees the subject. `outcome`
    /// is given the anchor the ledger has after it.
    pub async fn end(
        &self,
        run: &Run,
        now: i64,
        outcome: impl FnOnce(Anchor) -> Outcome,
    ) -> Result<Outcome, Refusal> {
        // The outcome carries the anchor, so the entry cannot carry the outcome's digest. It
        // carries the digest of all batches instead; the signed report binds outcome and anchor.
        let batches = self.batches(run).await?;
        let mut summary = Vec::new();
        for batch in &batches {
            summary.extend_from_slice(&batch.number.to_be_bytes());
            summary.extend_from_slice(&batch.deleted.to_be_bytes());
        }
        let entry = json!({
            "entry": "ended", "execution": run.execution, "at": now,
            "batches": hex::encode(digest(&SHA256, &summary)),
        });
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let at = append(&mut transaction, entry).await?;
        let outcome = outcome(at);
        let plain = serde_json::to_vec(&outcome).map_err(damaged)?;
        let sealed = self.sealer.seal(outcome_place(run.execution), &plain).await?;
        let done = sqlx::query(
            "UPDATE executions SET state = 'ended', ended_at = ?, outcome = ?, outline = NULL, traces = NULL \
             WHERE execution = ? AND state = 'open'",
        )
        .bind(now)
        .bind(sealed)
        .bind(run.execution.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        one(done.rows_affected())?;
        sqlx::query("UPDATE batches SET sealed = NULL WHERE execution = ?")
            .bind(run.execution.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        forget_return(&mut transaction, run.execution).await?;
        free_subjects(&mut transaction, run.execution).await?;
        self.commit(transaction, at).await?;
        self.cut_log().await?;
        Ok(outcome)
    }

    /// Commits what ends with the entry at `at`, and has it noted. An error after the commit is as a crash there.
    pub(super) async fn commit(
        &self,
        transaction: Transaction<'_, Sqlite>,
        at: Anchor,
    ) -> Result<(), Refusal> {
        transaction.commit().await.map_err(failed)?;
        self.sealer.note_ledger(at).await
    }

    /// Moves the log into the file and cuts it: what was overwritten stands in neither.
    pub(super) async fn cut_log(&self) -> Result<(), Refusal> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.pool).await.map(drop).map_err(failed)
    }

    /// Keeps the signed report of an ended execution, so that a repeat sends the same bytes. The
    /// first one stays.
    pub async fn keep_report(&self, execution: ExecutionId, report: &str) -> Result<(), Refusal> {
        let done = sqlx::query(
            "UPDATE executions SET report = coalesce(report, ?) WHERE execution = ? AND state = 'ended'",
        )
        .bind(report)
        .bind(execution.to_string())
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        one(done.rows_affected())
    }

    /// The signed report of an execution, if it was kept.
    pub async fn report(&self, execution: ExecutionId) -> Result<Option<String>, Refusal> {
        sqlx::query_scalar("SELECT report FROM executions WHERE execution = ?")
            .bind(execution.to_string())
            .fetch_optional(&self.pool)
            .await
            .map(Option::flatten)
            .map_err(failed)
    }
}

/// A write that met another state than it expected is a lost race.
pub(super) fn one(affected: u64) -> Result<(), Refusal> {
    if affected == 1 { Ok(()) } else { Err(Reason::StageConflict.into()) }
}

pub(super) fn outcome_place(execution: ExecutionId) -> Place<'static> {
    Place { execution, table: "executions", row: "", column: "outcome" }
}

fn traces_place(execution: ExecutionId) -> Place<'static> {
    Place { execution, table: "executions", row: "", column: "traces" }
}

async fn anchor(connection: &mut SqliteConnection) -> Result<Anchor, Refusal> {
    let last = sqlx::query("SELECT sequence, head FROM entries ORDER BY sequence DESC LIMIT 1")
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    let Some(row) = last else { return Ok(Anchor::GENESIS) };
    let head: Vec<u8> = row.try_get(1).map_err(damaged)?;
    Ok(Anchor {
        sequence: to_count(row.try_get(0).map_err(damaged)?),
        head: head.try_into().map_err(|_| Refusal::at(Reason::LedgerBehind, "ledger"))?,
    })
}

pub(super) async fn append(
    connection: &mut SqliteConnection,
    entry: serde_json::Value,
) -> Result<Anchor, Refusal> {
    let entry = entry.to_string().into_bytes();
    let next = anchor(connection).await?.next(&entry);
    sqlx::query("INSERT INTO entries (sequence, entry, head) VALUES (?, ?, ?)")
        .bind(i64::try_from(next.sequence).unwrap_or(i64::MAX))
        .bind(entry)
        .bind(next.head.as_slice())
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::erase::erase;
    use crate::agent::test_store::{NOW, Order, TestSealer, TestStore, user};
    use crate::domain::Act;

    #[tokio::test]
    async fn one_execution_is_worked_on_by_one_task_and_goes_on_after_a_crash() {
        let mut shop = TestStore::new().await;
        let task = Order::new(Act::Erase, 1).task();
        let run = shop.ledger.begin(&task, NOW).await.unwrap();
        assert_eq!(shop.ledger.begin(&task, NOW).await.err().unwrap().reason, Reason::SubjectBusy);
        drop(run);
        shop.restart().await;
        let outcome = erase(&shop.work(), &task).await.unwrap();
        assert!(outcome.rows() > 0);
    }

    #[tokio::test]
    async fn a_ledger_set_back_to_a_copy_does_not_contain_what_was_reported() {
        let mut shop = TestStore::new().await;
        let ledger = shop.folder.path().join("ledger.sqlite");
        let first = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap().ledger;
        shop.restart().await;
        shop.ledger.close().await;
        let copy = std::fs::read(&ledger).unwrap();
        shop.restart().await;
        let second = erase(&shop.work(), &Order::new(Act::Erase, 2).subject(vec![user("u_2")]).task()).await;
        let second = second.unwrap().ledger;
        assert_eq!(shop.ledger.anchor().await.unwrap(), second);
        assert!(shop.ledger.contains(first).await.unwrap() && shop.ledger.contains(second).await.unwrap());
        shop.ledger.close().await;
        std::fs::write(&ledger, copy).unwrap();
        shop.restart().await;
        assert!(shop.ledger.contains(first).await.unwrap());
        assert!(!shop.ledger.contains(second).await.unwrap());
        assert!(!shop.ledger.contains(Anchor { sequence: first.sequence, head: [1; 32] }).await.unwrap());
    }

    #[tokio::test]
    async fn an_entry_edited_by_hand_keeps_the_ledger_shut() {
        let shop = TestStore::new().await;
        erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        sqlx::query(
            "UPDATE entries SET entry = CAST(replace(entry, 'begun', 'begum') AS BLOB) WHERE sequence = 1",
        )
        .execute(&shop.ledger.pool)
        .await
        .unwrap();
        shop.ledger.close().await;
        let path = shop.folder.path().join("ledger.sqlite");
        let refusal = Ledger::open(&path, Arc::new(TestSealer::new())).await.err().unwrap();
        assert_eq!(refusal.reason, Reason::LedgerBehind);
    }

    #[tokio::test]
    async fn a_ledger_of_the_version_before_is_taken_up_with_what_it_holds() {
        let shop = TestStore::new().await;
        let outcome = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        for before in ["DROP TABLE returns", "PRAGMA user_version = 1"] {
            sqlx::query(before).execute(&shop.ledger.pool).await.unwrap();
        }
        let mut shop = shop;
        shop.restart().await;
        assert_eq!(shop.ledger.outcome(outcome.execution).await.unwrap(), Some(outcome.clone()));
        assert_eq!(shop.ledger.returned(outcome.execution).await.unwrap(), None);
        sqlx::query("PRAGMA user_version = 3").execute(&shop.ledger.pool).await.unwrap();
        shop.ledger.close().await;
        let path = shop.folder.path().join("ledger.sqlite");
        let later = Ledger::open(&path, Arc::new(TestSealer::new())).await.err().unwrap();
        assert_eq!(later.reason, Reason::LedgerBehind);
    }

    #[tokio::test]
    async fn a_second_agent_cannot_open_the_ledger() {
        let shop = TestStore::new().await;
        let path = shop.folder.path().join("ledger.sqlite");
        assert!(Ledger::open(&path, Arc::new(TestSealer::new())).await.is_err());
    }

    #[tokio::test]
    async fn the_first_signed_report_is_the_one_that_is_kept() {
        let shop = TestStore::new().await;
        let outcome = erase(&shop.work(), &Order::new(Act::Erase, 1).task()).await.unwrap();
        shop.ledger.keep_report(outcome.execution, "first").await.unwrap();
        shop.ledger.keep_report(outcome.execution, "second").await.unwrap();
        assert_eq!(shop.ledger.report(outcome.execution).await.unwrap().as_deref(), Some("first"));
    }
}
