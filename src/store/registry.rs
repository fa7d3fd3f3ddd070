//! Controllers, agreements, apps, agents and keys, as registered.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::authority::precedent::check_key_use;
use crate::domain::{
    AgentId, AgreementId, AppId, Category, ControllerId, Purpose, Reason, Refusal, Region, StoreId,
    SubProcessorId,
};

use super::logs::{to_i64, to_u64};
use super::tx::{StoreError, Tx};
use crate::sql::{Conn, Row, query};

/// A controller, as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    pub id: ControllerId,
    pub display_name: String,
    pub house: bool,
    /// 0 before the first key set.
    pub key_set_version: u64,
}

/// What was agreed with a controller (PIPL 21, R4). Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    pub id: AgreementId,
    pub controller: ControllerId,
    pub terms: Terms,
    pub start: i64,
    pub end: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub categories: Vec<Category>,
    pub purposes: Vec<Purpose>,
    pub stores: Vec<StoreId>,
    pub regions: Vec<Region>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub_processors: Vec<SubProcessorId>,
}

/// The kind of a registered fact. Names and aliases share one space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKind {
    Name,
    BundleId,
    Domain,
    SdkAppId,
}

impl FactKind {
    pub fn as_str(self) -> &'static str {
        match self {
            FactKind::Name => "name",
            FactKind::BundleId => "bundle_id",
            FactKind::Domain => "domain",
            FactKind::SdkAppId => "sdk_app_id",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "name" => FactKind::Name,
            "bundle_id" => FactKind::BundleId,
            "domain" => FactKind::Domain,
            "sdk_app_id" => FactKind::SdkAppId,
            _ => return None,
        })
    }
}

/// An exact fact that routes to one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub kind: FactKind,
    /// As registered.
    pub shown: String,
    /// Folded (width, case), unique across all controllers.
    pub folded: String,
    pub alias: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub id: AppId,
    pub controller: ControllerId,
    pub display_name: String,
    /// The name is a common word: it only suggests.
    pub common_name: bool,
    pub facts: Vec<Fact>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub id: AgentId,
    pub region: Region,
    pub stores: Vec<StoreId>,
    /// Whose a store is, where it is not PPIO's own.
    pub operated_by: BTreeMap<StoreId, SubProcessorId>,
    /// Public JWK, as JSON text.
    pub report_key: String,
    /// One that it vouched for, or empty.
    pub next_report_key: String,
    /// The ledger head it last reported (DESIGN §10).
    pub anchor_sequence: u64,
    pub anchor_head: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeyRow {
    pub principal: String,
    pub jwk: String,
    pub revoked: bool,
}

pub(super) fn id<T: std::str::FromStr>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    row.get::<String>(column).parse().map_err(|_| StoreError::Corrupt(column))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(
    text: &str,
    column: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt(column))
}

pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    // Our own plain structs and lists of words: serialising them cannot fail.
    serde_json::to_string(value).expect("plain data serialises")
}

/// A unique constraint that did not hold becomes `reason`.
pub(super) fn taken(error: sqlx::Error, reason: Reason, field: &'static str) -> StoreError {
    match error.as_database_error() {
        Some(e) if e.is_unique_violation() => Refusal::at(reason, field).into(),
        _ => error.into(),
    }
}

pub async fn insert_controller(tx: &mut Tx<'_>, controller: &Controller) -> Result<(), StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    query(
        "INSERT INTO controllers (id, display_name, house, key_set_version, created_at, written_by) VALUES (?, ?, ?, 0, ?, ?)",
    )
    .bind(controller.id.as_str())
    .bind(&controller.display_name)
    .bind(controller.house)
    .bind(now)
    .bind(name)
    .execute(tx.conn())
    .await
    .map_err(|e| taken(e, Reason::NameTaken, "controller_id"))?;
    Ok(())
}

fn controller_row(row: &Row) -> Result<Controller, StoreError> {
    Ok(Controller {
        id: id(row, "id")?,
        display_name: row.get("display_name"),
        house: row.get("house"),
        key_set_version: to_u64(row.get("key_set_version")),
    })
}

pub async fn controller(conn: &mut Conn, id: &ControllerId) -> Result<Option<Controller>, StoreError> {
    let row = query("SELECT id, display_name, house, key_set_version FROM controllers WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(controller_row).transpose()
}

/// The house controller: PPIO's own privacy officer.
pub async fn house(conn: &mut Conn) -> Result<Option<Controller>, StoreError> {
    let row = query("SELECT id, display_name, house, key_set_version FROM controllers WHERE house = 1")
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(controller_row).transpose()
}

pub async fn controllers(conn: &mut Conn, after: &str, limit: u32) -> Result<Vec<Controller>, StoreError> {
    let rows = query(
        "SELECT id, display_name, house, key_set_version FROM controllers WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(controller_row).collect()
}

pub async fn insert_agreement(tx: &mut Tx<'_>, agreement: &Agreement) -> Result<(), StoreError> {
    let name = tx.name();
    query(
        "INSERT INTO agreements (id, controller_id, terms, start_at, end_at, written_by) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(agreement.id.as_str())
    .bind(agreement.controller.as_str())
    .bind(to_json(&agreement.terms))
    .bind(agreement.start)
    .bind(agreement.end)
    .bind(name)
    .execute(tx.conn())
    .await
    .map_err(|e| taken(e, Reason::NameTaken, "agreement_id"))?;
    Ok(())
}

fn agreement_row(row: &Row) -> Result<Agreement, StoreError> {
    Ok(Agreement {
        id: id(row, "id")?,
        controller: id(row, "controller_id")?,
        terms: json(&row.get::<String>("terms"), "agreements.terms")?,
        start: row.get("start_at"),
        end: row.get("end_at"),
    })
}

/// The agreements of these controllers, by id.
pub async fn agreements_of(
    conn: &mut Conn,
    controllers: &HashSet<&ControllerId>,
) -> Result<Vec<Agreement>, StoreError> {
    let rows =
        query("SELECT id, controller_id, terms, start_at, end_at FROM agreements WHERE controller_id IN ")
            .bind_list(controllers.iter().map(|c| c.as_str()))
            .push(" ORDER BY id")
            .fetch_all(conn)
            .await?;
    rows.iter().map(agreement_row).collect()
}

/// The agreements that let any of these stores be touched.
pub async fn agreements_over(conn: &mut Conn, stores: &[StoreId]) -> Result<Vec<Agreement>, StoreError> {
    let rows = query("SELECT id, controller_id, terms, start_at, end_at FROM agreements ORDER BY id")
        .fetch_all(conn)
        .await?;
    let all: Vec<Agreement> = rows.iter().map(agreement_row).collect::<Result<_, _>>()?;
    Ok(all.into_iter().filter(|one| one.terms.stores.iter().any(|store| stores.contains(store))).collect())
}

/// In which region each of these stores lies; one that no agent stands beside yet is not among them.
pub async fn store_regions(
    conn: &mut Conn,
    stores: &[StoreId],
) -> Result<Vec<(StoreId, Region)>, StoreError> {
    let rows = query("SELECT s.store_id, a.region FROM agent_stores s JOIN agents a ON a.id = s.agent_id WHERE s.store_id IN ")
        .bind_list(stores.iter().map(|store| store.as_str()))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((id(row, "store_id")?, id(row, "region")?))).collect()
}

pub async fn agreements(conn: &mut Conn, after: &str, limit: u32) -> Result<Vec<Agreement>, StoreError> {
    let rows = query(
        "SELECT id, controller_id, terms, start_at, end_at FROM agreements WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(agreement_row).collect()
}

/// An app with its facts; a fact that another app has is `NAME_TAKEN`.
pub async fn insert_app(tx: &mut Tx<'_>, app: &App) -> Result<(), StoreError> {
    let name = tx.name();
    query(
        "INSERT INTO apps (id, controller_id, display_name, common_name, written_by) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(app.id.as_str())
    .bind(app.controller.as_str())
    .bind(&app.display_name)
    .bind(app.common_name)
    .bind(name)
    .execute(tx.conn())
    .await
    .map_err(|e| taken(e, Reason::NameTaken, "app_id"))?;
    for fact in &app.facts {
        query("INSERT INTO app_facts (kind, value, shown, app_id, alias) VALUES (?, ?, ?, ?, ?)")
            .bind(fact.kind.as_str())
            .bind(&fact.folded)
            .bind(&fact.shown)
            .bind(app.id.as_str())
            .bind(fact.alias)
            .execute(tx.conn())
            .await
            .map_err(|e| taken(e, Reason::NameTaken, fact.kind.as_str()))?;
    }
    Ok(())
}

/// Whose app it is. Nobody but the sequencer's commands and the router may ask without a controller.
pub async fn app_owner(conn: &mut Conn, app: &AppId) -> Result<Option<ControllerId>, StoreError> {
    let row =
        query("SELECT controller_id FROM apps WHERE id = ?").bind(app.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(|row| id(row, "controller_id")).transpose()
}

/// Whose these apps are; an unknown one is not among them.
pub async fn app_owners(
    conn: &mut Conn,
    apps: &HashSet<&AppId>,
) -> Result<HashMap<AppId, ControllerId>, StoreError> {
    let rows = query("SELECT id, controller_id FROM apps WHERE id IN ")
        .bind_list(apps.iter().map(|a| a.as_str()))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((id(row, "id")?, id(row, "controller_id")?))).collect()
}

/// All apps with their facts, for the router and the registry's list.
pub async fn apps(conn: &mut Conn, after: &str, limit: u32) -> Result<Vec<App>, StoreError> {
    let rows = query(
        "SELECT id, controller_id, display_name, common_name FROM apps WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let mut apps: BTreeMap<String, App> = BTreeMap::new();
    for row in &rows {
        let app = App {
            id: id(row, "id")?,
            controller: id(row, "controller_id")?,
            display_name: row.get("display_name"),
            common_name: row.get("common_name"),
            facts: Vec::new(),
        };
        apps.insert(app.id.to_string(), app);
    }
    let (Some(first), Some(last)) = (apps.keys().next().cloned(), apps.keys().next_back().cloned()) else {
        return Ok(Vec::new());
    };
    let facts = query(
        "SELECT kind, value, shown, app_id, alias FROM app_facts WHERE app_id BETWEEN ? AND ? ORDER BY kind, value",
    )
    .bind(first)
    .bind(last)
    .fetch_all(conn)
    .await?;
    for row in &facts {
        if let Some(app) = apps.get_mut(row.get::<String>("app_id").as_str()) {
            app.facts.push(Fact {
                kind: FactKind::parse(&row.get::<String>("kind"))
                    .ok_or(StoreError::Corrupt("app_facts.kind"))?,
                shown: row.get("shown"),
                folded: row.get("value"),
                alias: row.get("alias"),
            });
        }
    }
    Ok(apps.into_values().collect())
}

pub async fn insert_agent(tx: &mut Tx<'_>, agent: &Agent) -> Result<(), StoreError> {
    let name = tx.name();
    query("INSERT INTO agents (id, region, report_key, written_by) VALUES (?, ?, ?, ?)")
        .bind(agent.id.as_str())
        .bind(agent.region.as_str())
        .bind(&agent.report_key)
        .bind(name)
        .execute(tx.conn())
        .await
        .map_err(|e| taken(e, Reason::NameTaken, "agent_id"))?;
    for store in &agent.stores {
        query("INSERT INTO agent_stores (store_id, agent_id, operated_by) VALUES (?, ?, ?)")
            .bind(store.as_str())
            .bind(agent.id.as_str())
            .bind(agent.operated_by.get(store).map(SubProcessorId::as_str))
            .execute(tx.conn())
            .await
            .map_err(|e| taken(e, Reason::NameTaken, "agent.stores"))?;
    }
    Ok(())
}

/// A store and whose it is.
pub(super) fn operated(row: &Row) -> Result<(StoreId, Option<SubProcessorId>), StoreError> {
    let by: Option<String> = row.get("operated_by");
    let by = by.map(|by| by.parse().map_err(|_| StoreError::Corrupt("agent_stores.operated_by")));
    Ok((id(row, "store_id")?, by.transpose()?))
}

/// Which agent stands beside a store.
pub async fn agent_of(conn: &mut Conn, store: &StoreId) -> Result<Option<AgentId>, StoreError> {
    let row = query("SELECT agent_id FROM agent_stores WHERE store_id = ?")
        .bind(store.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(|row| id(row, "agent_id")).transpose()
}

/// The apps of one controller, without the facts that route to them.
pub async fn app_names(conn: &mut Conn, of: &ControllerId) -> Result<Vec<(AppId, String)>, StoreError> {
    let rows = query("SELECT id, display_name FROM apps WHERE controller_id = ? ORDER BY id")
        .bind(of.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((id(row, "id")?, row.get("display_name")))).collect()
}

pub async fn agent(conn: &mut Conn, agent: &AgentId) -> Result<Option<Agent>, StoreError> {
    let Some(row) =
        query("SELECT id, region, report_key, next_report_key, anchor_sequence, anchor_head FROM agents WHERE id = ?")
            .bind(agent.as_str())
            .fetch_optional(conn)
            .await?
    else {
        return Ok(None);
    };
    let rows = query("SELECT store_id, operated_by FROM agent_stores WHERE agent_id = ? ORDER BY store_id")
        .bind(agent.as_str())
        .fetch_all(conn)
        .await?;
    let stores: Vec<_> = rows.iter().map(operated).collect::<Result<_, _>>()?;
    Ok(Some(Agent {
        id: id(&row, "id")?,
        region: id(&row, "region")?,
        operated_by: stores.iter().filter_map(|(store, by)| Some((store.clone(), by.clone()?))).collect(),
        stores: stores.into_iter().map(|(store, _)| store).collect(),
        report_key: row.get("report_key"),
        next_report_key: row.get("next_report_key"),
        anchor_sequence: to_u64(row.get("anchor_sequence")),
        anchor_head: row.get("anchor_head"),
    }))
}

/// Moves an agent's anchor forward; an older one is left alone.
pub async fn set_anchor(
    tx: &mut Tx<'_>,
    agent: &AgentId,
    sequence: u64,
    head: &str,
) -> Result<(), StoreError> {
    let name = tx.name();
    query("UPDATE agents SET anchor_sequence = ?, anchor_head = ?, written_by = ? WHERE id = ? AND anchor_sequence < ?")
        .bind(to_i64(sequence))
        .bind(head)
        .bind(name)
        .bind(agent.as_str())
        .bind(to_i64(sequence))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Claims a key for one use and one principal, for ever. `key_use`: `access`, `instruction`, `root`, `report`, `tls`.
pub async fn claim_thumbprint(
    tx: &mut Tx<'_>,
    thumbprint: &str,
    key_use: &str,
    principal: &str,
) -> Result<(), StoreError> {
    query("INSERT INTO thumbprints (thumbprint, use, principal) VALUES (?, ?, ?)")
        .bind(thumbprint)
        .bind(key_use)
        .bind(principal)
        .execute(tx.conn())
        .await
        .map_err(|e| taken(e, Reason::KeyAlreadyUsed, "key"))?;
    Ok(())
}

/// Claims the keys of a next key set: one that the principal has for this very use already stays its own.
pub async fn claim_or_keep_thumbprint(
    tx: &mut Tx<'_>,
    thumbprint: &str,
    key_use: &str,
    principal: &str,
) -> Result<(), StoreError> {
    let known = query("SELECT use, principal FROM thumbprints WHERE thumbprint = ?")
        .bind(thumbprint)
        .fetch_optional(tx.conn())
        .await?;
    let known = known.map(|row| (row.get::<String>("use"), row.get::<String>("principal")));
    let has = known.as_ref().map(|(key_use, principal)| (key_use.as_str(), principal.as_str()));
    if check_key_use(has, key_use, principal)? {
        claim_thumbprint(tx, thumbprint, key_use, principal).await?;
    }
    Ok(())
}

pub async fn insert_access_key(
    tx: &mut Tx<'_>,
    thumbprint: &str,
    principal: &str,
    jwk: &str,
) -> Result<(), StoreError> {
    let name = tx.name();
    query("INSERT INTO access_keys (thumbprint, principal, jwk, written_by) VALUES (?, ?, ?, ?)")
        .bind(thumbprint)
        .bind(principal)
        .bind(jwk)
        .bind(name)
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub async fn access_key(conn: &mut Conn, thumbprint: &str) -> Result<Option<AccessKeyRow>, StoreError> {
    let row = query("SELECT principal, jwk, revoked_at FROM access_keys WHERE thumbprint = ?")
        .bind(thumbprint)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| AccessKeyRow {
        principal: row.get("principal"),
        jwk: row.get("jwk"),
        revoked: row.get::<Option<i64>>("revoked_at").is_some(),
    }))
}

/// Ends an access key; returns its principal. `NOT_FOUND` where there is none in force.
pub async fn revoke_access_key(tx: &mut Tx<'_>, thumbprint: &str) -> Result<String, StoreError> {
    let (now, name) = (tx.now_seconds(), tx.name());
    let row = query(
        "UPDATE access_keys SET revoked_at = ?, written_by = ? WHERE thumbprint = ? AND revoked_at IS NULL RETURNING principal",
    )
    .bind(now)
    .bind(name)
    .bind(thumbprint)
    .fetch_optional(tx.conn())
    .await?;
    row.map(|row| row.get("principal")).ok_or(Reason::NotFound.into())
}
