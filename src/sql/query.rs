//! Statements, written once for both databases.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::sqlite::SqliteConnection;

use super::silence::AT_ONCE;
use super::value::{Row, Value, add_array, postgres, sqlite};
use super::{Conn, Db};

/// Rows in one `INSERT` are a power of two, so that few statement texts are ever prepared.
const ROWS_PER_INSERT: usize = 256;

/// A statement with its parameters.
pub struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
    /// How long a server may take; `None` where the connection says.
    limit: Option<Duration>,
}

/// `?` stands for the next parameter. No literal in a statement holds a question mark.
pub fn query(sql: impl Into<Cow<'static, str>>) -> Query {
    Query { sql: sql.into(), values: Vec::new(), limit: None }
}

impl Query {
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Appends `(?, ?, …)`, one for each value. An empty list holds NULL: nothing is in it.
    #[must_use]
    pub fn bind_list<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        let mut sql = self.sql.into_owned();
        let before = self.values.len();
        self.values.extend(values.into_iter().map(Into::into));
        match self.values.len() - before {
            0 => sql.push_str("(NULL)"),
            n => {
                // Padded, so that few texts are prepared.
                let padded = n.next_power_of_two();
                let last = self.values[self.values.len() - 1].clone();
                self.values.extend(std::iter::repeat_n(last, padded - n));
                push_tuple(&mut sql, padded);
            }
        }
        self.sql = sql.into();
        self
    }

    /// Appends `VALUES (?, ?), …`, one row for each pair. There must be one at least.
    #[must_use]
    pub fn bind_pairs<A: Into<Value>, B: Into<Value>>(
        mut self,
        pairs: impl IntoIterator<Item = (A, B)>,
    ) -> Self {
        let mut pairs: Vec<[Value; 2]> = pairs.into_iter().map(|(a, b)| [a.into(), b.into()]).collect();
        let padded = pairs.len().next_power_of_two();
        if let Some(last) = pairs.last().cloned() {
            pairs.resize(padded, last);
        }
        let sql = self.sql.to_mut();
        sql.push_str("VALUES ");
        for n in 0..pairs.len() {
            sql.push_str(if n > 0 { ", (?, ?)" } else { "(?, ?)" });
        }
        self.values.extend(pairs.into_iter().flatten());
        self
    }

    #[must_use]
    pub fn push(mut self, sql: &str) -> Self {
        self.sql.to_mut().push_str(sql);
        self
    }

    /// Where a server has nothing to wait for.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.limit = Some(AT_ONCE);
        self
    }

    /// Returns the number of rows affected.
    pub async fn execute(self, conn: &mut Conn) -> Result<u64, sqlx::Error> {
        match conn.db(self.limit)? {
            Db::Sqlite(conn) => {
                let done = sqlx::query_with(AssertSqlSafe(self.sql.into_owned()), sqlite(self.values)?);
                Ok(done.execute(conn).await?.rows_affected())
            }
            Db::Postgres(conn, wait) => {
                let done = sqlx::query_with(AssertSqlSafe(numbered(&self.sql)), postgres(self.values)?);
                Ok(wait.on(done.execute(conn)).await?.rows_affected())
            }
        }
    }

    pub async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<Row>, sqlx::Error> {
        match conn.db(self.limit)? {
            Db::Sqlite(conn) => {
                let rows = sqlx::query_with(AssertSqlSafe(self.sql.into_owned()), sqlite(self.values)?);
                Ok(rows.fetch_all(conn).await?.into_iter().map(Row::Sqlite).collect())
            }
            Db::Postgres(conn, wait) => {
                let rows = sqlx::query_with(AssertSqlSafe(numbered(&self.sql)), postgres(self.values)?);
                Ok(wait.on(rows.fetch_all(conn)).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    pub async fn fetch_optional(self, conn: &mut Conn) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.fetch_all(conn).await?.into_iter().next())
    }

    pub async fn fetch_one(self, conn: &mut Conn) -> Result<Row, sqlx::Error> {
        self.fetch_optional(conn).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// Inserts rows of one table in few statements.
pub struct Insert {
    table: &'static str,
    columns: &'static [&'static str],
    values: Vec<Value>,
    on_conflict: &'static str,
}

impl Insert {
    pub fn into(table: &'static str, columns: &'static [&'static str]) -> Insert {
        Insert { table, columns, values: Vec::new(), on_conflict: "" }
    }

    /// What to do with a row that is there, as SQL. No row may come twice in one insert.
    #[must_use]
    pub fn on_conflict(self, clause: &'static str) -> Insert {
        Insert { on_conflict: clause, ..self }
    }

    /// The values of one row, in the order of the columns.
    pub fn row<const N: usize>(&mut self, values: [Value; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.values.extend(values);
    }

    pub async fn execute(self, conn: &mut Conn) -> Result<(), sqlx::Error> {
        match conn.db(None)? {
            Db::Sqlite(conn) => self.execute_sqlite(conn).await,
            Db::Postgres(conn, wait) => wait.on(self.execute_postgres(conn)).await,
        }
    }

    async fn execute_sqlite(mut self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let width = self.columns.len();
        while !self.values.is_empty() {
            let left = (self.values.len() / width).min(ROWS_PER_INSERT);
            let rows = 1 << left.ilog2();
            let rest = self.values.split_off(rows * width);
            let chunk = std::mem::replace(&mut self.values, rest);
            let mut sql = format!("INSERT INTO {} ({}) VALUES ", self.table, self.columns.join(", "));
            for row in 0..rows {
                if row > 0 {
                    sql.push_str(", ");
                }
                push_tuple(&mut sql, width);
            }
            sql.push_str(self.on_conflict);
            sqlx::query_with(AssertSqlSafe(sql), sqlite(chunk)?).execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// One array for each column: one statement, however many rows.
    async fn execute_postgres(self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let width = self.columns.len();
        if self.values.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<Vec<Value>> = vec![Vec::new(); width];
        for (n, value) in self.values.into_iter().enumerate() {
            columns[n % width].push(value);
        }
        let mut arguments = PgArguments::default();
        let mut sql =
            format!("INSERT INTO {} ({}) SELECT * FROM UNNEST(", self.table, self.columns.join(", "));
        for (n, column) in columns.into_iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            let kind = add_array(&mut arguments, column)?;
            let _ = write!(sql, "{comma}${}::{kind}[]", n + 1);
        }
        sql.push(')');
        sql.push_str(self.on_conflict);
        sqlx::query_with(AssertSqlSafe(sql), arguments).execute(conn).await?;
        Ok(())
    }
}

fn push_tuple(sql: &mut String, width: usize) {
    sql.push('(');
    for n in 0..width {
        sql.push_str(if n > 0 { ", ?" } else { "?" });
    }
    sql.push(')');
}

/// `?` becomes `$1`, `$2`, …
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 32);
    for (n, part) in sql.split('?').enumerate() {
        if n > 0 {
            let _ = write!(out, "${n}");
        }
        out.push_str(part);
    }
    out
}
