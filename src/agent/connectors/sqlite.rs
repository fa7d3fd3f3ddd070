//! A SQLite store, through a pool of its own.
//!
//! Deleted content is overwritten (`secure_delete`) and leaves the write-ahead
//! log when the store settles. Foreign keys are respected. A statement that
//! runs too long is interrupted inside SQLite, so no work goes on behind a
//! caller that has given up.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection, Row as _, Sqlite, TypeInfo, ValueRef};

use super::{Connector, Found, Rest};
use crate::agent::name::Name;
use crate::agent::schema::{ForeignKey, Leaning, OnDelete, Schema};
use crate::agent::statement::{Held, Match, Statement};
use crate::agent::tenanted::Tenanted;
use crate::agent::value::{Key, Row, Value};
use crate::domain::{Reason, Refusal};

/// Virtual-machine steps between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

pub struct SqliteStore {
    pool: SqlitePool,
    statement_timeout: Duration,
}

impl SqliteStore {
    /// Opens an existing file; a store that is not there is an error, not an empty store.
    pub async fn open(path: &Path, statement_timeout: Duration) -> Result<Self, Refusal> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .pragma("secure_delete", "ON");
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .map_err(failed)?;
        Ok(Self { pool, statement_timeout })
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn rows(&self, statement: Statement) -> Result<Vec<SqliteRow>, Refusal> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        limit_time(&mut connection, self.statement_timeout).await?;
        let (sql, binds) = statement.into_parts();
        bind(sql, binds).fetch_all(&mut *connection).await.map_err(failed)
    }

    async fn delete_by(
        &self,
        from: &Tenanted<'_>,
        held: Held<'_>,
        statement: Statement,
    ) -> Result<u64, Refusal> {
        if held.rows.is_empty() {
            return Ok(0);
        }
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        limit_time(&mut connection, self.statement_timeout).await?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        let (sql, binds) = statement.into_parts();
        let done = bind(sql, binds).execute(&mut *transaction).await.map_err(failed)?;
        if done.rows_affected() > held.rows.len() as u64 {
            // A key that is not unique would make the report wrong: nothing is deleted then.
            transaction.rollback().await.map_err(failed)?;
            return Err(Refusal::at(Reason::MapInvalid, from.collection().name.as_str().to_owned())
                .note("the mapped key is not unique"));
        }
        transaction.commit().await.map_err(failed)?;
        Ok(done.rows_affected())
    }
}

/// From here on the connection's statements end `timeout` from now.
#[expect(clippy::disallowed_methods, reason = "a time-out of the machine's, not an instant of the domain's")]
async fn limit_time(connection: &mut SqliteConnection, timeout: Duration) -> Result<(), Refusal> {
    let deadline = Instant::now() + timeout;
    let mut handle = connection.lock_handle().await.map_err(failed)?;
    handle.set_progress_handler(STEPS_BETWEEN_LOOKS, move || Instant::now() < deadline);
    Ok(())
}

fn bind(sql: String, binds: Vec<Value>) -> Query<'static, Sqlite, SqliteArguments> {
    // Rendered by `Statement` alone: names quoted, values bound.
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for value in binds {
        query = match value {
            Value::Null => query.bind(None::<i64>),
            Value::Integer(n) => query.bind(n),
            Value::Real(x) => query.bind(x),
            Value::Text(text) => query.bind(text),
            Value::Blob { base64 } => query.bind(base64.0),
        };
    }
    query
}

/// What kind of failure it was, in our own words: the driver's text may quote rows.
fn failed(error: sqlx::Error) -> Refusal {
    let note = match &error {
        sqlx::Error::Database(database) => match database.code().as_deref() {
            // https://www.sqlite.org/rescode.html
            Some("5" | "6" | "261" | "517") => "the store is busy",
            Some("9") => "a statement ran longer than its time limit",
            Some("787" | "1811") => "a foreign key of the store forbids it",
            Some("11" | "26") => "the store's file is damaged",
            _ => "the store refused a statement",
        },
        sqlx::Error::PoolTimedOut => "the store is busy",
        _ => "the store did not answer",
    };
    Refusal::new(Reason::StoreFailed).note(note)
}

/// The value with its own storage class, whatever the column was declared as. Text that is no
/// UTF-8 is taken as bytes.
fn value(row: &SqliteRow, index: usize) -> Result<Value, Refusal> {
    let raw = row.try_get_raw(index).map_err(failed)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    match raw.type_info().name() {
        "INTEGER" => row.try_get(index).map(Value::Integer).map_err(failed),
        "REAL" => row.try_get(index).map(Value::Real).map_err(failed),
        "TEXT" => match row.try_get::<String, _>(index) {
            Ok(text) => Ok(Value::Text(text)),
            Err(_) => row.try_get(index).map(Value::blob).map_err(failed),
        },
        _ => row.try_get(index).map(Value::blob).map_err(failed),
    }
}

fn values(row: &SqliteRow, range: std::ops::Range<usize>) -> Result<Vec<Value>, Refusal> {
    range.map(|index| value(row, index)).collect()
}

/// A row's key, and what was asked for besides.
fn keyed(row: &SqliteRow, width: usize, carried: usize) -> Result<(Key, Vec<Value>), Refusal> {
    Ok((Key(values(row, 0..width)?), values(row, width..width + carried)?))
}

#[async_trait]
impl Connector for SqliteStore {
    async fn schema(&self) -> Result<Schema, Refusal> {
        let mut schema = Schema::default();
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        limit_time(&mut connection, self.statement_timeout).await?;
        let columns = sqlx::query(
            "SELECT t.name, c.name, c.pk FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        for row in &columns {
            let text = |index: usize| row.try_get::<String, _>(index).map_err(failed);
            let table = schema.tables.entry(Name::new(&text(0)?)?).or_default();
            let column = Name::new(&text(1)?)?;
            if row.try_get::<i64, _>(2).map_err(failed)? > 0 {
                table.primary_key.insert(column.clone());
            }
            table.columns.insert(column);
        }
        // A key that names no column of the other table means its primary key.
        let keys = sqlx::query(
            "SELECT t.name, f.\"table\", f.on_delete, f.seq, f.\"from\", coalesce(f.\"to\", \
             (SELECT p.name FROM pragma_table_xinfo(f.\"table\") AS p WHERE p.pk = f.seq + 1)) \
             FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table' \
             ORDER BY t.name, f.id, f.seq",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        for row in &keys {
            let text = |index: usize| row.try_get::<String, _>(index).map_err(failed);
            let on_delete = match text(2)?.as_str() {
                "NO ACTION" | "RESTRICT" => OnDelete::Refuses,
                _ => OnDelete::Acts,
            };
            let Some(table) = schema.tables.get_mut(&Name::new(&text(0)?)?) else { continue };
            // One without a column to point to holds nothing: its table is not there.
            let Some(to) = row.try_get::<Option<String>, _>(5).map_err(failed)? else { continue };
            let pair = (Name::new(&text(4)?)?, Name::new(&to)?);
            let goes_on = row.try_get::<i64, _>(3).map_err(failed)? > 0;
            match table.foreign_keys.last_mut().filter(|_| goes_on) {
                Some(key) => key.on.push(pair),
                None => {
                    let parent = Name::new(&text(1)?)?;
                    table.foreign_keys.push(ForeignKey { parent, on_delete, on: vec![pair] });
                }
            }
        }
        Ok(schema)
    }

    async fn find(
        &self,
        from: &Tenanted<'_>,
        matching: Match<'_>,
        carry: &[&Name],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Found>, Refusal> {
        if matching.values.is_empty() {
            return Ok(Vec::new());
        }
        let width = from.collection().key.len();
        self.rows(Statement::find(from, matching, carry, after, limit))
            .await?
            .iter()
            .map(|row| {
                Ok(Found {
                    key: Key(values(row, 0..width)?),
                    via: value(row, width)?,
                    carried: values(row, width + 1..width + 1 + carry.len())?,
                })
            })
            .collect()
    }

    async fn present(&self, from: &Tenanted<'_>, held: Held<'_>) -> Result<Vec<Key>, Refusal> {
        if held.rows.is_empty() {
            return Ok(Vec::new());
        }
        let width = from.collection().key.len();
        let rows = self.rows(Statement::present(from, held)).await?;
        rows.iter().map(|row| Ok(Key(values(row, 0..width)?))).collect()
    }

    async fn delete(&self, from: &Tenanted<'_>, held: Held<'_>) -> Result<u64, Refusal> {
        self.delete_by(from, held, Statement::delete(from, held)).await
    }

    async fn read(&self, from: &Tenanted<'_>, held: Held<'_>) -> Result<Vec<Row>, Refusal> {
        if held.rows.is_empty() {
            return Ok(Vec::new());
        }
        let width = from.collection().columns.len();
        let rows = self.rows(Statement::read(from, held)).await?;
        rows.iter().map(|row| Ok(Row(values(row, 0..width)?))).collect()
    }

    async fn all(
        &self,
        from: &Tenanted<'_>,
        carry: &[&Name],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Vec<Value>)>, Refusal> {
        let width = from.collection().key.len();
        let rows = self.rows(Statement::all(from, carry, after, limit)).await?;
        rows.iter().map(|row| keyed(row, width, carry.len())).collect()
    }

    async fn again(
        &self,
        from: &Tenanted<'_>,
        carry: &[&Name],
        held: Held<'_>,
    ) -> Result<Vec<(Key, Vec<Value>)>, Refusal> {
        if held.rows.is_empty() {
            return Ok(Vec::new());
        }
        let width = from.collection().key.len();
        let rows = self.rows(Statement::again(from, carry, held)).await?;
        rows.iter().map(|row| keyed(row, width, carry.len())).collect()
    }

    async fn rest(
        &self,
        from: &Tenanted<'_>,
        leaning: &BTreeSet<Leaning>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Rest>, Refusal> {
        let width = from.collection().key.len();
        let dated = usize::from(from.collection().time.is_some());
        let rows = self.rows(Statement::rest(from, leaning, after, limit)).await?;
        rows.iter()
            .map(|row| {
                let (key, carried) = keyed(row, width, dated + 1)?;
                let at = carried[..dated].first().and_then(Value::epoch_seconds);
                Ok(Rest { key, at, leaned_on: carried[dated] != Value::Integer(0) })
            })
            .collect()
    }

    async fn delete_free(
        &self,
        from: &Tenanted<'_>,
        held: Held<'_>,
        leaning: &BTreeSet<Leaning>,
    ) -> Result<u64, Refusal> {
        self.delete_by(from, held, Statement::delete_free(from, held, leaning)).await
    }

    async fn settle(&self) -> Result<(), Refusal> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        limit_time(&mut connection, self.statement_timeout).await?;
        // A reader elsewhere can hold the log back; the store's own next checkpoint then takes it.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *connection).await.map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::test_store::TestStore;

    #[tokio::test]
    async fn a_statement_over_its_time_is_interrupted_and_the_connection_goes_on() {
        let shop = TestStore::new().await;
        let mut connection = shop.store.pool.acquire().await.unwrap();
        limit_time(&mut connection, Duration::from_millis(50)).await.unwrap();
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let error = sqlx::query(endless).fetch_one(&mut *connection).await.err().unwrap();
        assert_eq!(failed(error).note.as_deref(), Some("a statement ran longer than its time limit"));
        limit_time(&mut connection, Duration::from_secs(30)).await.unwrap();
        sqlx::query("SELECT count(*) FROM pings").fetch_one(&mut *connection).await.unwrap();
    }

    #[tokio::test]
    async fn a_store_that_is_not_there_is_not_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.sqlite");
        assert!(SqliteStore::open(&path, Duration::from_secs(1)).await.is_err());
        assert!(!path.exists());
    }
}
