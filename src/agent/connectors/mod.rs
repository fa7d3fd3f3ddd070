//! What the agent asks of a store, whatever kind it is.

pub mod sqlite;

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::name::Name;
use super::schema::{Leaning, Schema};
use super::statement::{Held, Match};
use super::tenanted::Tenanted;
use super::value::{Key, Row, Value};
use crate::domain::Refusal;

/// The most rows one statement names. A longer list is the caller's fault, and cut there.
pub const BATCH: usize = 500;

/// One row that was found.
pub struct Found {
    pub key: Key,
    /// The value of the column it was matched by.
    pub via: Value,
    /// The values of the columns asked for besides.
    pub carried: Vec<Value>,
}

/// One row of a tenant that is there.
pub struct Rest {
    pub key: Key,
    /// Its own time, in seconds since the epoch, where the map names a column and it can be read.
    pub at: Option<i64>,
    /// Rows that are there lean on it.
    pub leaned_on: bool,
}

/// A store. Every method is bounded in rows and in time, and answers
/// `STORE_FAILED` when the store does not answer or refuses; nothing of the
/// store's own message is passed on.
#[async_trait]
pub trait Connector: Send + Sync {
    async fn schema(&self) -> Result<Schema, Refusal>;

    /// Up to `limit` matching rows of the tenant after `after`, in key order.
    async fn find(
        &self,
        from: &Tenanted<'_>,
        matching: Match<'_>,
        carry: &[&Name],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Found>, Refusal>;

    /// Which of the rows are there.
    async fn present(&self, from: &Tenanted<'_>, held: Held<'_>) -> Result<Vec<Key>, Refusal>;

    /// Deletes the rows in one transaction, which is durable on return. The number of rows deleted.
    async fn delete(&self, from: &Tenanted<'_>, held: Held<'_>) -> Result<u64, Refusal>;

    /// Up to `limit` rows of the tenant after `after`, whosever they are, in key order.
    async fn all(
        &self,
        from: &Tenanted<'_>,
        carry: &[&Name],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Vec<Value>)>, Refusal>;

    /// Those of the rows that are there.
    async fn again(
        &self,
        from: &Tenanted<'_>,
        carry: &[&Name],
        held: Held<'_>,
    ) -> Result<Vec<(Key, Vec<Value>)>, Refusal>;

    /// What is there of the tenant, a page at a time as with [`Connector::all`].
    async fn rest(
        &self,
        from: &Tenanted<'_>,
        leaning: &BTreeSet<Leaning>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Rest>, Refusal>;

    /// As [`Connector::delete`], but leaves the rows that others lean on.
    async fn delete_free(
        &self,
        from: &Tenanted<'_>,
        held: Held<'_>,
        leaning: &BTreeSet<Leaning>,
    ) -> Result<u64, Refusal>;

    /// The rows' mapped columns, in the map's order.
    async fn read(&self, from: &Tenanted<'_>, held: Held<'_>) -> Result<Vec<Row>, Refusal>;

    /// Makes what was deleted leave the store's files, as far as the store can.
    async fn settle(&self) -> Result<(), Refusal>;
}
