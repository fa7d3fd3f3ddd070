//! Rows of what was registered.

use super::{At, NAME, ProjectError, Projected, id_in, one};
use crate::domain::event::{
    AccessKeyRegistered, AccessKeyRevoked, AgentRegistered, AgreementRegistered, AppRegistered,
    ControllerRegistered, KeySetPublished, KeySetRegistered, ReportKeyRetired, ReportKeyVouched,
    SubProcessorRegistered, TlsKeyRegistered,
};
use crate::domain::{ControllerId, SubProcessorId};
use crate::sql::{Conn, query};
use crate::store::Log;
use crate::store::logs::to_i64;
use crate::store::registry::{Terms, to_json};
use crate::store::report_keys::ReportKeys;
use crate::token::{KeySet, PublicJwk, ReportKeySuccession, SignedKeySet};

/// In `key_sets.leaf` of a set that only the authority log knows of so far.
pub(in crate::store) const NO_LEAF: i64 = -1;

pub(super) async fn controller(conn: &mut Conn, at: At<'_>, event: &ControllerRegistered) -> Projected {
    query("INSERT INTO controllers (id, display_name, house, key_set_version, created_at, written_by) VALUES (?, '', ?, 0, ?, ?)")
        .bind(id_in(at, "controllers")?)
        .bind(event.house)
        .bind(at.seconds)
        .bind(NAME)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn agreement(conn: &mut Conn, at: At<'_>, event: &AgreementRegistered) -> Projected {
    let terms = Terms {
        categories: event.categories.clone(),
        purposes: event.purposes.clone(),
        stores: event.stores.clone(),
        regions: event.regions.clone(),
        sub_processors: event.sub_processors.clone(),
    };
    query("INSERT INTO agreements (id, controller_id, terms, start_at, end_at, written_by) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(id_in(at, "agreements")?)
        .bind(event.controller.as_str())
        .bind(to_json(&terms))
        .bind(event.start)
        .bind(event.end)
        .bind(NAME)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn app(conn: &mut Conn, at: At<'_>, event: &AppRegistered) -> Projected {
    query(
        "INSERT INTO apps (id, controller_id, display_name, common_name, written_by) VALUES (?, ?, '', 0, ?)",
    )
    .bind(id_in(at, "apps")?)
    .bind(event.controller.as_str())
    .bind(NAME)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn agent(conn: &mut Conn, at: At<'_>, event: &AgentRegistered) -> Projected {
    let id = id_in(at, "agents")?;
    let key = PublicJwk::from_json(event.report_key.to_string().as_bytes())
        .map_err(|_| ProjectError::Contradiction("its report key is no public key"))?;
    claim(conn, &key.thumbprint().to_string(), "report", at.subject).await?;
    query("INSERT INTO agents (id, region, report_key, written_by) VALUES (?, ?, ?, ?)")
        .bind(id)
        .bind(event.region.as_str())
        .bind(key.canonical())
        .bind(NAME)
        .execute(conn)
        .await?;
    for store in &event.stores {
        query("INSERT INTO agent_stores (store_id, agent_id, operated_by) VALUES (?, ?, ?)")
            .bind(store.as_str())
            .bind(id)
            .bind(event.operated_by.get(store).map(SubProcessorId::as_str))
            .execute(conn)
            .await?;
    }
    Ok(())
}

pub(super) async fn sub_processor(conn: &mut Conn, at: At<'_>, event: &SubProcessorRegistered) -> Projected {
    query(
        "INSERT INTO sub_processors (id, display_name, region, purposes, written_by) VALUES (?, '', ?, ?, ?)",
    )
    .bind(id_in(at, "subProcessors")?)
    .bind(event.region.as_str())
    .bind(to_json(&event.purposes))
    .bind(NAME)
    .execute(conn)
    .await?;
    Ok(())
}

/// An agent's report keys, as the leaves before this one have them.
pub(super) async fn report_keys(conn: &mut Conn, agent: &str) -> Result<ReportKeys, ProjectError> {
    let row = query("SELECT report_key, next_report_key FROM agents WHERE id = ?")
        .bind(agent)
        .fetch_optional(conn)
        .await?
        .ok_or(ProjectError::Contradiction("the agent was not registered before"))?;
    Ok(ReportKeys::read(&row)?)
}

pub(super) async fn report_key_vouched(conn: &mut Conn, at: At<'_>, event: &ReportKeyVouched) -> Projected {
    let bad = ProjectError::Contradiction("its report key vouches for no such key");
    let id = id_in(at, "agents")?;
    let keys = report_keys(conn, id).await?;
    let Ok(agent) = id.parse() else { return Err(bad) };
    let origins = at.origins.iter().map(String::as_str);
    let read = ReportKeySuccession::verify(&event.succession, &[&keys.in_force], &agent, origins);
    let Ok(next) = read.map(|read| read.next) else { return Err(bad) };
    if next.id().to_string() != event.report_key {
        return Err(bad);
    }
    claim(conn, &event.report_key, "report", at.subject).await?;
    let set =
        query("UPDATE agents SET next_report_key = ? WHERE id = ?").bind(next.jwk().canonical()).bind(id);
    one(conn, set, "the agent was not registered before").await
}

/// Stands in the authority log, too, where it says nothing of any row.
pub(super) async fn report_key_retired(conn: &mut Conn, at: At<'_>, event: &ReportKeyRetired) -> Projected {
    if at.log == Log::Authority {
        return Ok(());
    }
    let bad = ProjectError::Contradiction("no report key of the agent vouched for the one that is in force");
    let id = id_in(at, "agents")?;
    let next = report_keys(conn, id).await?.next.filter(|next| next.id().to_string() == event.in_force);
    if next.is_none() {
        return Err(bad);
    }
    let set =
        query("UPDATE agents SET report_key = next_report_key, next_report_key = '' WHERE id = ?").bind(id);
    one(conn, set, "the agent was not registered before").await
}

pub(super) async fn access_key(conn: &mut Conn, at: At<'_>, event: &AccessKeyRegistered) -> Projected {
    claim(conn, &event.thumbprint, "access", at.subject).await?;
    query("INSERT INTO access_keys (thumbprint, principal, jwk, written_by) VALUES (?, ?, '', ?)")
        .bind(&event.thumbprint)
        .bind(at.subject)
        .bind(NAME)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn access_key_revoked(conn: &mut Conn, at: At<'_>, event: &AccessKeyRevoked) -> Projected {
    let revoke = query(
        "UPDATE access_keys SET revoked_at = ? WHERE thumbprint = ? AND principal = ? AND revoked_at IS NULL",
    )
    .bind(at.seconds)
    .bind(&event.thumbprint)
    .bind(at.subject);
    one(conn, revoke, "the access key was not in force").await
}

pub(super) async fn tls_key(conn: &mut Conn, at: At<'_>, event: &TlsKeyRegistered) -> Projected {
    claim(conn, &event.thumbprint, "tls", at.subject).await?;
    query("INSERT INTO tls_keys (thumbprint, principal, claimed_at, written_by) VALUES (?, ?, ?, ?)")
        .bind(&event.thumbprint)
        .bind(at.subject)
        .bind(at.seconds)
        .bind(NAME)
        .execute(conn)
        .await?;
    Ok(())
}

/// A leaf of the authority log; read before the trail.
pub(super) async fn key_set_published(conn: &mut Conn, at: At<'_>, event: &KeySetPublished) -> Projected {
    query(
        "INSERT INTO key_sets (controller_id, version, digest, jws, authority_index, leaf, written_by) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id_in(at, "controllers")?)
    .bind(to_i64(event.version))
    .bind(&event.digest)
    .bind(&event.key_set)
    .bind(to_i64(at.index))
    .bind(NO_LEAF)
    .bind(NAME)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn key_set(conn: &mut Conn, at: At<'_>, event: &KeySetRegistered) -> Projected {
    let id = id_in(at, "controllers")?;
    let found = query(
        "UPDATE key_sets SET leaf = ? WHERE controller_id = ? AND version = ? AND digest = ? AND authority_index = ? AND leaf = ? RETURNING jws",
    )
    .bind(to_i64(at.index))
    .bind(id)
    .bind(to_i64(event.version))
    .bind(&event.digest)
    .bind(to_i64(event.authority_index))
    .bind(NO_LEAF)
    .fetch_optional(conn)
    .await?
    .ok_or(ProjectError::Contradiction("the authority log has no such key set at that index"))?;
    let moved =
        query("UPDATE controllers SET key_set_version = ? WHERE id = ?").bind(to_i64(event.version)).bind(id);
    one(conn, moved, "the controller is not registered").await?;
    let signed = follows(conn, id, event, &found.get::<String>("jws"), at.origins).await?;
    for (kid, usage) in signed.key_uses() {
        let (thumbprint, key_use) = (kid.to_string(), usage.as_str());
        let own = query("SELECT 1 FROM thumbprints WHERE thumbprint = ? AND use = ? AND principal = ?")
            .bind(&thumbprint)
            .bind(key_use)
            .bind(at.subject);
        // A next set lists keys of the one before it again.
        if (event.version == 1 && event.recovers.is_none()) || own.fetch_optional(conn).await?.is_none() {
            claim(conn, &thumbprint, key_use, at.subject).await?;
        }
    }
    Ok(())
}

/// The set, whose signatures are checked: its own root's, and that of the set before it, unless that was lost.
async fn follows(
    conn: &mut Conn,
    id: &str,
    event: &KeySetRegistered,
    jws: &str,
    origins: &[String],
) -> Result<SignedKeySet, ProjectError> {
    let bad = || ProjectError::Contradiction("the key set in the authority log is not good");
    let controller: ControllerId = id.parse().map_err(|_| bad())?;
    let rows = query(
        "SELECT jws FROM key_sets WHERE controller_id = ? AND authority_index < ? ORDER BY authority_index",
    )
    .bind(id)
    .bind(to_i64(event.authority_index))
    .fetch_all(conn)
    .await?;
    let signed = SignedKeySet::read(jws.as_bytes()).map_err(|_| bad())?;
    let mut newest: Option<KeySet> = None;
    let before: Vec<String> = rows.iter().map(|row| row.get("jws")).collect();
    for text in before.iter().map(String::as_str).chain([jws]) {
        let set = SignedKeySet::read(text.as_bytes()).map_err(|_| bad())?;
        let begins = set.version() == 1;
        if begins && text == jws && newest.as_ref().map(|set| set.digest().to_string()) != event.recovers {
            return Err(bad());
        }
        newest = Some(match &newest {
            Some(previous) if !begins => set.succeed(previous).map_err(|_| bad())?,
            _ => {
                let digest = set.digest();
                let origin = origins.iter().find(|origin| *origin == set.aud()).ok_or_else(bad)?;
                set.genesis(&controller, origin, &digest).map_err(|_| bad())?
            }
        });
    }
    Ok(signed)
}

async fn claim(conn: &mut Conn, thumbprint: &str, key_use: &str, principal: &str) -> Projected {
    query("INSERT INTO thumbprints (thumbprint, use, principal) VALUES (?, ?, ?)")
        .bind(thumbprint)
        .bind(key_use)
        .bind(principal)
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves an agent's anchor forward, as its report says.
pub(super) async fn anchor(conn: &mut Conn, agent: &str, sequence: u64, head: &str) -> Projected {
    query("UPDATE agents SET anchor_sequence = ?, anchor_head = ? WHERE id = ? AND anchor_sequence < ?")
        .bind(to_i64(sequence))
        .bind(head)
        .bind(agent)
        .bind(to_i64(sequence))
        .execute(conn)
        .await?;
    Ok(())
}
