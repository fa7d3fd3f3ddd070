//! The keys that may sign an agent's reports: columns of `agents`.

use super::tx::{StoreError, Tx};
use crate::domain::AgentId;
use crate::sql::{Conn, Row, query};
use crate::token::{PublicJwk, VerifyingKey};

/// The keys that may sign an agent's reports.
#[derive(Debug, Clone)]
pub struct ReportKeys {
    pub in_force: VerifyingKey,
    /// One that it vouched for.
    pub next: Option<VerifyingKey>,
}

impl ReportKeys {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let key = |column: &'static str| match row.get::<String>(column).as_str() {
            "" => Ok(None),
            jwk => PublicJwk::from_json(jwk.as_bytes())
                .and_then(VerifyingKey::new)
                .map(Some)
                .map_err(|_| StoreError::Corrupt(column)),
        };
        let in_force = key("report_key")?.ok_or(StoreError::Corrupt("report_key"))?;
        Ok(Self { in_force, next: key("next_report_key")? })
    }

    pub fn all(&self) -> Vec<&VerifyingKey> {
        std::iter::once(&self.in_force).chain(&self.next).collect()
    }
}

/// Its report keys; `None`: there is no such agent.
pub async fn of(conn: &mut Conn, agent: &AgentId) -> Result<Option<ReportKeys>, StoreError> {
    let row = query("SELECT report_key, next_report_key FROM agents WHERE id = ?")
        .bind(agent.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(ReportKeys::read).transpose()
}

pub async fn set_next(tx: &mut Tx<'_>, agent: &AgentId, jwk: &str) -> Result<(), StoreError> {
    let name = tx.name();
    let set = query("UPDATE agents SET next_report_key = ?, written_by = ? WHERE id = ?")
        .bind(jwk)
        .bind(name)
        .bind(agent.as_str());
    changed(set.execute(tx.conn()).await?, "agents.next_report_key")
}

/// The next report key, and no other any more.
pub async fn put_in_force(tx: &mut Tx<'_>, agent: &AgentId, jwk: &str) -> Result<(), StoreError> {
    let name = tx.name();
    let set = query(
        "UPDATE agents SET report_key = next_report_key, next_report_key = '', written_by = ? WHERE id = ? AND next_report_key = ?",
    )
    .bind(name)
    .bind(agent.as_str())
    .bind(jwk);
    changed(set.execute(tx.conn()).await?, "agents.report_key")
}

/// One row was to change.
fn changed(rows: u64, column: &'static str) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Corrupt(column)) }
}
