//! Which rows name which data keys.

use super::shown;
use crate::sql::{Conn, query};
use crate::store::StoreError;

const PAGE: u32 = 500;

/// A row that names a data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    pub table: &'static str,
    /// As the row has it; may be no key id at all.
    pub key_id: String,
    pub resource: String,
}

const PLACES: [(&str, &str); 4] = [
    ("messages", "'messages/' || id"),
    ("requests", "'requests/' || id"),
    ("instructions", "'controllers/' || controller_id || '/instructions/' || id"),
    ("refusals", "'leaves/' || CAST(leaf AS TEXT)"),
];

/// A page of the rows that name data keys, after the place and the key given. `None` at the end.
pub async fn sealed_rows(
    conn: &mut Conn,
    after: Option<&SealedRow>,
) -> Result<Option<Vec<SealedRow>>, StoreError> {
    let first = after.and_then(|row| PLACES.iter().position(|(table, _)| *table == row.table)).unwrap_or(0);
    for (n, (table, name)) in PLACES.iter().enumerate().skip(first) {
        // A key id and a resource are the place in the walk: two rows may name one key.
        let (key, resource) = match after.filter(|_| n == first) {
            Some(row) => (row.key_id.as_str(), row.resource.as_str()),
            None => ("", ""),
        };
        let rows = query(format!(
            "SELECT key_id, name FROM (SELECT key_id, {name} AS name FROM {table} WHERE key_id IS NOT NULL) t \
             WHERE (key_id, name) > (?, ?) ORDER BY key_id, name LIMIT ?"
        ))
        .bind(key)
        .bind(resource)
        .bind(PAGE)
        .fetch_all(conn)
        .await?;
        if !rows.is_empty() {
            let row = |row: &crate::sql::Row| {
                Ok(SealedRow { table, key_id: row.try_get("key_id")?, resource: row.try_get("name")? })
            };
            return rows.iter().map(row).collect::<Result<_, StoreError>>().map(Some);
        }
    }
    Ok(None)
}

/// Whether a row still names the key.
pub async fn names_key(conn: &mut Conn, row: &SealedRow) -> Result<bool, StoreError> {
    let found = query(format!("SELECT 1 FROM {} WHERE key_id = ?", row.table)).bind(&row.key_id);
    Ok(found.fetch_optional(conn).await?.is_some())
}

impl SealedRow {
    /// The resource name, fit to be shown.
    pub fn name(&self) -> &str {
        shown(&self.resource)
    }
}
