//! Parameters and columns: text, 64-bit integers, bytes.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Row as _};

/// A parameter. `None` is NULL, of that type. Ordered as both databases order a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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

pub(super) fn sqlite(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
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

pub(super) fn postgres(values: Vec<Value>) -> Result<PgArguments, sqlx::Error> {
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
pub(super) fn add_array(
    arguments: &mut PgArguments,
    column: Vec<Value>,
) -> Result<&'static str, sqlx::Error> {
    let mixed = || sqlx::Error::Encode("a column of more than one type".into());
    let added = match &column[0] {
        Value::Text(_) => {
            let all: Option<Vec<_>> = column.into_iter().map(as_text).collect();
            arguments.add(all.ok_or_else(mixed)?).map(|()| "text")
        }
        Value::Int(_) => {
            let all: Option<Vec<_>> = column.into_iter().map(as_int).collect();
            arguments.add(all.ok_or_else(mixed)?).map(|()| "bigint")
        }
        Value::Bytes(_) => {
            let all: Option<Vec<_>> = column.into_iter().map(as_bytes).collect();
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
