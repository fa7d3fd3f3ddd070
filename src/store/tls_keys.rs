//! Keys of callers' certificates: each claimed for its principal when it first called, for ever (decision 0021).

use super::tx::{StoreError, Tx};
use crate::sql::{Conn, query};

/// The use and the principal that any key is registered for, if it is.
pub async fn claim_of(conn: &mut Conn, thumbprint: &str) -> Result<Option<(String, String)>, StoreError> {
    let row = query("SELECT use, principal FROM thumbprints WHERE thumbprint = ?")
        .bind(thumbprint)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| (row.get("use"), row.get("principal"))))
}

/// How many TLS keys of the principal were claimed after that second.
pub async fn claimed_after(conn: &mut Conn, principal: &str, seconds: i64) -> Result<u64, StoreError> {
    let row = query("SELECT COUNT(*) AS n FROM tls_keys WHERE principal = ? AND claimed_at > ?")
        .bind(principal)
        .bind(seconds)
        .fetch_one(conn)
        .await?;
    Ok(super::logs::to_u64(row.get("n")))
}

/// The row of a key whose thumbprint was claimed just now.
pub async fn insert(tx: &mut Tx<'_>, thumbprint: &str, principal: &str) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query("INSERT INTO tls_keys (thumbprint, principal, claimed_at, written_by) VALUES (?, ?, ?, ?)")
        .bind(thumbprint)
        .bind(principal)
        .bind(now)
        .bind(name)
        .execute(tx.conn())
        .await?;
    Ok(())
}
