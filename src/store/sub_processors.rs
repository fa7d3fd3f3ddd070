//! Who processes in PPIO's stead, and what they operate (R25).

use std::collections::BTreeMap;

use crate::domain::{Purpose, Reason, Region, StoreId, SubProcessorId};

use super::registry::{id, json, operated, taken, to_json};
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, Row, query};

/// A company that processes in PPIO's stead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubProcessor {
    pub id: SubProcessorId,
    pub display_name: String,
    pub region: Region,
    /// What it does for PPIO.
    pub purposes: Vec<Purpose>,
}

/// Whose each store is that is not PPIO's own.
pub async fn operators(conn: &mut Conn) -> Result<BTreeMap<StoreId, SubProcessorId>, StoreError> {
    let rows = query("SELECT store_id, operated_by FROM agent_stores WHERE operated_by IS NOT NULL")
        .fetch_all(conn)
        .await?;
    let all = rows.iter().map(operated).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter_map(|(store, by)| Some((store, by?))).collect())
}

pub async fn insert_sub_processor(tx: &mut Tx<'_>, row: &SubProcessor) -> Result<(), StoreError> {
    let name = tx.name();
    query(
        "INSERT INTO sub_processors (id, display_name, region, purposes, written_by) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(row.id.as_str())
    .bind(&row.display_name)
    .bind(row.region.as_str())
    .bind(to_json(&row.purposes))
    .bind(name)
    .execute(tx.conn())
    .await
    .map_err(|e| taken(e, Reason::NameTaken, "sub_processor_id"))?;
    Ok(())
}

/// All of them, by id: they are few.
pub async fn sub_processors(conn: &mut Conn) -> Result<Vec<SubProcessor>, StoreError> {
    let rows = query("SELECT id, display_name, region, purposes FROM sub_processors ORDER BY id")
        .fetch_all(conn)
        .await?;
    let read = |row: &Row| {
        Ok(SubProcessor {
            id: id(row, "id")?,
            display_name: row.get("display_name"),
            region: id(row, "region")?,
            purposes: json(&row.get::<String>("purposes"), "sub_processors.purposes")?,
        })
    };
    rows.iter().map(read).collect()
}
