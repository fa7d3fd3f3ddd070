//! What the agent must not forget beside its ledger: the authority log's
//! leaves, how far it has seen the trail, and which keys seal which execution.
//!
//! A SQLite file of its own (WAL, `synchronous=FULL`) under an exclusive lock.
//! What it says of the logs is proven again against the gateway's next signed
//! head. An older copy of it would not notice that a log shrank, and have keys
//! destroyed that it does not name: the keyring knows it for one ([`super::marks`]).

use std::path::Path;
use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use super::ledger::{damaged, to_count};
use super::notebook_growth::{self, count};
use crate::domain::{Entropy, ExecutionId, Reason, Refusal};
use crate::token::Digest;
use crate::trail::{Checkpoint, Hash};
use crate::vault::KeyId;

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS authority_leaves (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS trail_seen (
        one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS trail_witnessed (
        one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS trail_origin (one INTEGER PRIMARY KEY CHECK (one = 1), origin TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS sealing_keys (
        execution TEXT NOT NULL, key_id TEXT NOT NULL, PRIMARY KEY (execution, key_id)) STRICT, WITHOUT ROWID",
    notebook_growth::SCHEMA,
];

pub(super) fn failed(_: sqlx::Error) -> Refusal {
    Refusal::at(Reason::StoreFailed, "notebook").note("the agent's notebook did not answer")
}

/// Two sequences of heads of the trail, each of which only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Signed, as replies bear them.
    Signed,
    /// Cosigned by witnesses, as orders bear them where witnesses are required.
    Witnessed,
}

/// A head of the trail that was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub size: u64,
    pub root: Hash,
}

impl Mark {
    const ALL: [Mark; 2] = [Mark::Signed, Mark::Witnessed];

    fn look(self) -> &'static str {
        match self {
            Mark::Signed => "SELECT size, root FROM trail_seen",
            Mark::Witnessed => "SELECT size, root FROM trail_witnessed",
        }
    }

    fn set(self) -> &'static str {
        match self {
            Mark::Signed => {
                "INSERT INTO trail_seen (one, size, root) VALUES (1, ?, ?) \
                 ON CONFLICT DO UPDATE SET size = excluded.size, root = excluded.root"
            }
            Mark::Witnessed => {
                "INSERT INTO trail_witnessed (one, size, root) VALUES (1, ?, ?) \
                 ON CONFLICT DO UPDATE SET size = excluded.size, root = excluded.root"
            }
        }
    }
}

/// The open file.
#[derive(Clone)]
pub struct Notebook {
    pub(super) pool: SqlitePool,
}

impl Notebook {
    /// Opens or creates the file; a new one is named.
    pub async fn open(path: &Path, entropy: &dyn Entropy) -> Result<Self, Refusal> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(2));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(failed)?;
        for statement in SCHEMA {
            sqlx::query(*statement).execute(&pool).await.map_err(failed)?;
        }
        notebook_growth::name(&pool, entropy).await?;
        Ok(Self { pool })
    }

    /// Says which trail is pinned. Of another than before nothing was seen yet: somebody pinned it by hand.
    /// A notebook that names none is of `first`, the only one that there was then.
    pub async fn watch_trail(&self, origin: &str, first: &str) -> Result<(), Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let before: Option<String> = sqlx::query_scalar("SELECT origin FROM trail_origin")
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        if before.as_deref().unwrap_or(first) != origin {
            for forget in ["DELETE FROM trail_seen", "DELETE FROM trail_witnessed"] {
                sqlx::query(forget).execute(&mut *transaction).await.map_err(failed)?;
            }
            count(&mut transaction).await?;
        }
        sqlx::query(
            "INSERT INTO trail_origin (one, origin) VALUES (1, ?) \
             ON CONFLICT DO UPDATE SET origin = excluded.origin",
        )
        .bind(origin)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Every leaf of the authority log, from 0.
    pub async fn authority_leaves(&self) -> Result<Vec<Vec<u8>>, Refusal> {
        let rows = sqlx::query("SELECT idx, leaf FROM authority_leaves ORDER BY idx")
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let mut leaves = Vec::with_capacity(rows.len());
        for (expected, row) in (0_u64..).zip(&rows) {
            if to_count(row.try_get(0).map_err(damaged)?) != expected {
                return Err(Refusal::at(Reason::AuthorityForked, "notebook").note("a leaf is missing"));
            }
            leaves.push(row.try_get(1).map_err(damaged)?);
        }
        Ok(leaves)
    }

    /// Adds leaves after the first `from`.
    pub async fn add_authority_leaves(&self, from: u64, leaves: &[Vec<u8>]) -> Result<(), Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        for (index, leaf) in (from..).zip(leaves) {
            sqlx::query("INSERT INTO authority_leaves (idx, leaf) VALUES (?, ?)")
                .bind(i64::try_from(index).unwrap_or(i64::MAX))
                .bind(leaf.as_slice())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        if !leaves.is_empty() {
            count(&mut transaction).await?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// The largest head that was believed of each kind.
    pub async fn trail_seen(&self) -> Result<Vec<(Mark, Seen)>, Refusal> {
        let mut seen = Vec::new();
        for mark in Mark::ALL {
            let row = sqlx::query(mark.look()).fetch_optional(&self.pool).await.map_err(failed)?;
            let Some(row) = row else { continue };
            let size = to_count(row.try_get(0).map_err(damaged)?);
            let root: Vec<u8> = row.try_get(1).map_err(damaged)?;
            let root = Hash::from_slice(&root)
                .ok_or_else(|| Refusal::at(Reason::TrailForked, "notebook").note("a head has no root"))?;
            seen.push((mark, Seen { size, root }));
        }
        Ok(seen)
    }

    /// Keeps a head that is proven to be of one history with those seen ([`super::continuity`]). One that
    /// is smaller than the largest of its kind, or has another root at its size, is `TRAIL_FORKED` still.
    pub async fn keep_trail(&self, mark: Mark, head: &Checkpoint) -> Result<(), Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let seen = sqlx::query(mark.look()).fetch_optional(&mut *transaction).await.map_err(failed)?;
        if let Some(row) = seen {
            let size = to_count(row.try_get(0).map_err(damaged)?);
            let root: Vec<u8> = row.try_get(1).map_err(damaged)?;
            let same = Hash::from_slice(&root).is_some_and(|root| root == *head.root());
            if head.size() < size || (head.size() == size && !same) {
                return Err(Refusal::new(Reason::TrailForked).note("its head is behind one seen before"));
            }
            if head.size() == size {
                return Ok(());
            }
        }
        sqlx::query(mark.set())
            .bind(i64::try_from(head.size()).unwrap_or(i64::MAX))
            .bind(head.root().as_bytes().as_slice())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        count(&mut transaction).await?;
        transaction.commit().await.map_err(failed)
    }

    /// Notes, durably, that a key seals values of the execution.
    pub(super) async fn note_key(&self, execution: ExecutionId, key: KeyId) -> Result<(), Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::query("INSERT INTO sealing_keys (execution, key_id) VALUES (?, ?)")
            .bind(execution.to_string())
            .bind(key.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        count(&mut transaction).await?;
        transaction.commit().await.map_err(failed)
    }

    /// The keys that seal values of the execution.
    pub(super) async fn keys_of(&self, execution: ExecutionId) -> Result<Vec<KeyId>, Refusal> {
        let names: Vec<String> =
            sqlx::query_scalar("SELECT key_id FROM sealing_keys WHERE execution = ? ORDER BY key_id")
                .bind(execution.to_string())
                .fetch_all(&self.pool)
                .await
                .map_err(failed)?;
        names.iter().map(|name| name.parse().map_err(damaged)).collect()
    }

    /// Executions whose keys are not known to be destroyed: a page in the order of their ids, after the
    /// last of the page before.
    pub(super) async fn sealed_executions(
        &self,
        after: Option<ExecutionId>,
        limit: u32,
    ) -> Result<Vec<ExecutionId>, Refusal> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT execution FROM sealing_keys WHERE execution > ? ORDER BY execution LIMIT ?",
        )
        .bind(after.map_or_else(String::new, |after| after.to_string()))
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        names.iter().map(|name| name.parse().map_err(damaged)).collect()
    }

    /// All keys that any row names.
    pub(super) async fn all_keys(&self) -> Result<Vec<KeyId>, Refusal> {
        let names: Vec<String> = sqlx::query_scalar("SELECT key_id FROM sealing_keys")
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        names.iter().map(|name| name.parse().map_err(damaged)).collect()
    }

    /// Forgets the names of keys that are destroyed.
    pub(super) async fn forget_keys_of(&self, execution: ExecutionId) -> Result<(), Refusal> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::query("DELETE FROM sealing_keys WHERE execution = ?")
            .bind(execution.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        count(&mut transaction).await?;
        transaction.commit().await.map_err(failed)
    }
}

/// A Merkle hash in the form that reports use.
pub(super) fn to_digest(hash: &Hash) -> Digest {
    Digest::from_bytes(*hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemEntropy;

    fn head(size: u64, root: &[u8]) -> Checkpoint {
        Checkpoint::new("mandate.ppio.example/trail", size, Hash::sha256(root)).unwrap()
    }

    #[tokio::test]
    async fn a_trail_that_shrinks_or_changes_is_forked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notebook.sqlite");
        let notebook = Notebook::open(&path, &SystemEntropy).await.unwrap();
        for good in [head(5, b"5"), head(5, b"5"), head(7, b"7")] {
            notebook.keep_trail(Mark::Signed, &good).await.unwrap();
        }
        notebook.close().await;
        let notebook = Notebook::open(&path, &SystemEntropy).await.unwrap();
        for bad in [head(6, b"6"), head(7, b"other")] {
            assert_eq!(
                notebook.keep_trail(Mark::Signed, &bad).await.unwrap_err().reason,
                Reason::TrailForked
            );
        }
        notebook.keep_trail(Mark::Signed, &head(8, b"8")).await.unwrap();
        // Witnesses see a head a moment later: their mark is another.
        notebook.keep_trail(Mark::Witnessed, &head(6, b"6")).await.unwrap();
        let shrunk = notebook.keep_trail(Mark::Witnessed, &head(5, b"5")).await.unwrap_err();
        assert_eq!(shrunk.reason, Reason::TrailForked);
    }

    #[tokio::test]
    async fn leaves_come_back_in_order_and_are_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let notebook = Notebook::open(&folder.path().join("notebook.sqlite"), &SystemEntropy).await.unwrap();
        notebook.add_authority_leaves(0, &[b"a".to_vec(), b"b".to_vec()]).await.unwrap();
        notebook.add_authority_leaves(2, &[b"c".to_vec()]).await.unwrap();
        assert!(notebook.add_authority_leaves(1, &[b"x".to_vec()]).await.is_err());
        assert_eq!(notebook.authority_leaves().await.unwrap(), [b"a", b"b", b"c"]);
    }
}
