//! Rows of what was registered.

use super::{At, NAME, ProjectError, Projected, id_in, one};
use crate::domain::ControllerId;
use crate::domain::event::{
    AccessKeyRegistered, AccessKeyRevoked, AgentRegistered, AgreementRegistered, AppRegistered,
    ControllerRegistered, KeySetPublished, KeySetRegistered,
};
use crate::sql::{Conn, query};
use crate::store::logs::to_i64;
use crate::store::registry::{Terms, to_json};
use crate::token::{Digest, KeyUse, PublicJwk, SignedKeySet};

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
        query("INSERT INTO agent_stores (store_id, agent_id) VALUES (?, ?)")
            .bind(store.as_str())
            .bind(id)
            .execute(conn)
            .await?;
    }
    Ok(())
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
    let moved = query("UPDATE controllers SET key_set_version = ? WHERE id = ? AND key_set_version = ?")
        .bind(to_i64(event.version))
        .bind(id)
        .bind(to_i64(event.version.saturating_sub(1)));
    one(conn, moved, "it is not the next version of that controller's key set").await?;
    if event.version > 1 {
        return Ok(());
    }
    for (thumbprint, key_use) in keys_of(id, &found.get::<String>("jws"), at.origin)? {
        claim(conn, &thumbprint, key_use, at.subject).await?;
    }
    Ok(())
}

/// Thumbprint and use of each key of a first set, whose signatures are checked.
fn keys_of(id: &str, jws: &str, origin: &str) -> Result<Vec<(String, &'static str)>, ProjectError> {
    let bad = ProjectError::Contradiction("the key set in the authority log is not good");
    let (Ok(controller), Ok(signed)) = (id.parse::<ControllerId>(), SignedKeySet::read(jws.as_bytes()))
    else {
        return Err(bad);
    };
    let digest: Digest = signed.digest();
    let Ok(set) = signed.genesis(&controller, origin, &digest) else { return Err(bad) };
    let word = |usage| match usage {
        KeyUse::Root => "root",
        KeyUse::Instruction => "instruction",
    };
    Ok(set.keys().map(|(kid, key)| (kid.to_string(), word(key.usage))).collect())
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
