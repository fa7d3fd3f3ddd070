//! One SQL text, two databases.
//!
//! Statements are written once, with `?` for parameters, in the SQL that SQLite and PostgreSQL share.
//! Columns are text, 64-bit integers (also for booleans: 0 or 1) or bytes, so a parameter is one of
//! three types and a row reads the same from both.

use std::borrow::Cow;
use std::fmt::Write as _;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, PgPool, Postgres, Row as _, Sqlite, SqlitePool};

/// Rows in one `INSERT` or list are a power of two, so that few statement texts are ever prepared.
const ROWS_PER_INSERT: usize = 256;

/// A connection to either database.
pub struct Conn(Held);

enum Held {
    Sqlite(SqliteConnection),
    SqliteOfPool(PoolConnection<Sqlite>),
    Postgres(PgConnection),
    PostgresOfPool(PoolConnection<Postgres>),
}

enum Db<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl From<SqliteConnection> for Conn {
    fn from(conn: SqliteConnection) -> Self {
        Conn(Held::Sqlite(conn))
    }
}

impl From<PgConnection> for Conn {
    fn from(conn: PgConnection) -> Self {
        Conn(Held::Postgres(conn))
    }
}

impl Conn {
    fn db(&mut self) -> Db<'_> {
        match &mut self.0 {
            Held::Sqlite(conn) => Db::Sqlite(conn),
            Held::SqliteOfPool(conn) => Db::Sqlite(conn),
            Held::Postgres(conn) => Db::Postgres(conn),
            Held::PostgresOfPool(conn) => Db::Postgres(conn),
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.0, Held::Postgres(_) | Held::PostgresOfPool(_))
    }

    /// Ends the connection in good order.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self.0 {
            Held::Sqlite(conn) => conn.close().await,
            Held::Postgres(conn) => conn.close().await,
            Held::SqliteOfPool(conn) => conn.close().await,
            Held::PostgresOfPool(conn) => conn.close().await,
        }
    }
}

/// Connections that read.
#[derive(Clone)]
pub enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    pub(super) async fn acquire(&self) -> Result<Conn, sqlx::Error> {
        Ok(Conn(match self {
            Pool::Sqlite(pool) => Held::SqliteOfPool(pool.acquire().await?),
            Pool::Postgres(pool) => Held::PostgresOfPool(pool.acquire().await?),
        }))
    }

    pub(super) async fn close(&self) {
        match self {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

/// A parameter. `None` is NULL, of that type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! values {
    ($($from:ty => $variant:ident($value:ident => $into:expr)),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                Value::$variant(Some($into))
            }
        }

        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Value::$variant(value.map(|$value| $into))
            }
        }
    )*};
}

values! {
    String => Text(text => text),
    &String => Text(text => text.clone()),
    &str => Text(text => text.to_owned()),
    i64 => Int(n => n),
    u32 => Int(n => i64::from(n)),
    bool => Int(b => i64::from(b)),
    Vec<u8> => Bytes(bytes => bytes),
    &Vec<u8> => Bytes(bytes => bytes.clone()),
    &[u8] => Bytes(bytes => bytes.to_vec()),
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        Value::Text(text.clone())
    }
}

impl From<&Option<Vec<u8>>> for Value {
    fn from(bytes: &Option<Vec<u8>>) -> Self {
        Value::Bytes(bytes.clone())
    }
}

/// A row of either database.
pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a column reads as.
pub trait Column: Sized {
    fn read(row: &Row, name: &str) -> Result<Self, sqlx::Error>;
}

macro_rules! columns {
    ($($type:ty),*) => {$(
        impl Column for $type {
            fn read(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
                match row {
                    Row::Sqlite(row) => row.try_get(name),
                    Row::Postgres(row) => row.try_get(name),
                }
            }
        }
    )*};
}

columns!(i64, Option<i64>, String, Option<String>, Vec<u8>, Option<Vec<u8>>);

impl Column for bool {
    fn read(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        Ok(i64::read(row, name)? != 0)
    }
}

impl Column for u32 {
    fn read(row: &Row, name: &str) -> Result<Self, sqlx::Error> {
        u32::try_from(i64::read(row, name)?).map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

impl Row {
    pub fn try_get<T: Column>(&self, name: &str) -> Result<T, sqlx::Error> {
        T::read(self, name)
    }

    /// For columns whose type the schema guarantees.
    ///
    /// # Panics
    /// Where the column is not there or of another type: the statement or the schema is wrong.
    pub fn get<T: Column>(&self, name: &str) -> T {
        T::read(self, name).expect("the column is there, of the schema's type")
    }
}

/// A statement with its parameters.
pub struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// `?` stands for the next parameter. No literal in a statement holds a question mark.
pub fn query(sql: impl Into<Cow<'static, str>>) -> Query {
    Query { sql: sql.into(), values: Vec::new() }
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

    /// Returns the number of rows affected.
    pub async fn execute(self, conn: &mut Conn) -> Result<u64, sqlx::Error> {
        match conn.db() {
            Db::Sqlite(conn) => {
                let done = sqlx::query_with(AssertSqlSafe(self.sql.into_owned()), sqlite(self.values)?);
                Ok(done.execute(conn).await?.rows_affected())
            }
            Db::Postgres(conn) => {
                let done = sqlx::query_with(AssertSqlSafe(numbered(&self.sql)), postgres(self.values)?);
                Ok(done.execute(conn).await?.rows_affected())
            }
        }
    }

    pub async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<Row>, sqlx::Error> {
        match conn.db() {
            Db::Sqlite(conn) => {
                let rows = sqlx::query_with(AssertSqlSafe(self.sql.into_owned()), sqlite(self.values)?);
                Ok(rows.fetch_all(conn).await?.into_iter().map(Row::Sqlite).collect())
            }
            Db::Postgres(conn) => {
                let rows = sqlx::query_with(AssertSqlSafe(numbered(&self.sql)), postgres(self.values)?);
                Ok(rows.fetch_all(conn).await?.into_iter().map(Row::Postgres).collect())
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
        match conn.db() {
            Db::Sqlite(conn) => self.execute_sqlite(conn).await,
            Db::Postgres(conn) => self.execute_postgres(conn).await,
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

fn sqlite(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(n) => arguments.add(n),
            Value::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn postgres(values: Vec<Value>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(n) => arguments.add(n),
            Value::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Adds a column as one array; returns the name of its element type.
fn add_array(arguments: &mut PgArguments, column: Vec<Value>) -> Result<&'static str, sqlx::Error> {
    let mixed = || sqlx::Error::Encode("a column of more than one type".into());
    let added = match &column[0] {
        Value::Text(_) => {
            let all: Option<Vec<_>> = column.into_iter().map(|v| as_text(v)).collect();
            arguments.add(all.ok_or_else(mixed)?).map(|()| "text")
        }
        Value::Int(_) => {
            let all: Option<Vec<_>> = column.into_iter().map(|v| as_int(v)).collect();
            arguments.add(all.ok_or_else(mixed)?).map(|()| "bigint")
        }
        Value::Bytes(_) => {
            let all: Option<Vec<_>> = column.into_iter().map(|v| as_bytes(v)).collect();
            arguments.add(all.ok_or_else(mixed)?).map(|()| "bytea")
        }
    };
    added.map_err(sqlx::Error::Encode)
}

#[allow(clippy::option_option, reason = "outer: of that type; inner: NULL")]
fn as_text(value: Value) -> Option<Option<String>> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

#[allow(clippy::option_option, reason = "outer: of that type; inner: NULL")]
fn as_int(value: Value) -> Option<Option<i64>> {
    if let Value::Int(n) = value { Some(n) } else { None }
}

#[allow(clippy::option_option, reason = "outer: of that type; inner: NULL")]
fn as_bytes(value: Value) -> Option<Option<Vec<u8>>> {
    if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
}
