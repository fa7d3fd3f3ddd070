//! Rows of instructions that wait for approvals.

use std::collections::BTreeSet;

use super::orders::{Stands, insert};
use super::{At, ProjectError, Projected, id_in, one};
use crate::domain::event::{ApprovalGiven, ApprovalWithdrawn, InstructionReceived};
use crate::domain::{ControllerId, InstructionState};
use crate::sql::{Conn, query};
use crate::store::instructions::kids;
use crate::token::{Detached, Envelope, KeyId, Says, SignedKeySet};

const NOT_WAITING: &str = "no such instruction waits for a signature";

pub(super) async fn received(conn: &mut Conn, at: At<'_>, event: &InstructionReceived) -> Projected {
    let stands = Stands {
        state: InstructionState::Waiting,
        admitted_at: 0,
        missing: event.missing,
        held_until: None,
        outcome: "waiting",
    };
    insert(conn, at, event.said(), stands).await
}

/// One that waits, as far as it is signed.
struct Waiting {
    envelope: Envelope,
    withdrawn: BTreeSet<KeyId>,
    key_set_version: i64,
}

async fn load(conn: &mut Conn, controller: &ControllerId, id: &str) -> Result<Waiting, ProjectError> {
    let bad = || ProjectError::Contradiction(NOT_WAITING);
    let row = query(
        "SELECT signed_part, withdrawn, key_set_version FROM instructions WHERE controller_id = ? AND id = ? AND state = ?",
    )
    .bind(controller.as_str())
    .bind(id)
    .bind(InstructionState::Waiting.as_str())
    .fetch_optional(conn)
    .await?
    .ok_or_else(bad)?;
    Ok(Waiting {
        envelope: Envelope::read_signed_part(&row.get::<Vec<u8>>("signed_part")).map_err(|_| bad())?,
        withdrawn: serde_json::from_str(&row.get::<String>("withdrawn")).map_err(|_| bad())?,
        key_set_version: row.get("key_set_version"),
    })
}

pub(super) async fn approved(conn: &mut Conn, at: At<'_>, event: &ApprovalGiven) -> Projected {
    let id = id_in(at, "instructions")?;
    let approval = Detached::parse(Says::Approved, &event.approval)
        .map_err(|_| ProjectError::Contradiction("it is no approval"))?;
    let waiting = load(conn, &event.controller, id).await?;
    let set =
        query("UPDATE instructions SET signed_part = ?, missing = ? WHERE controller_id = ? AND id = ?")
            .bind(waiting.envelope.approved(&approval).signed_part().as_bytes())
            .bind(event.missing)
            .bind(event.controller.as_str())
            .bind(id);
    one(conn, set, NOT_WAITING).await
}

pub(super) async fn withdrawn(conn: &mut Conn, at: At<'_>, event: &ApprovalWithdrawn) -> Projected {
    let id = id_in(at, "instructions")?;
    let bad = || ProjectError::Contradiction("it withdraws no signature");
    let withdrawal = Detached::parse(Says::Withdrawn, &event.withdrawal).map_err(|_| bad())?;
    let Waiting { envelope, mut withdrawn, key_set_version } = load(conn, &event.controller, id).await?;
    let set = query("SELECT jws FROM key_sets WHERE controller_id = ? AND version = ?")
        .bind(event.controller.as_str())
        .bind(key_set_version)
        .fetch_optional(conn)
        .await?
        .ok_or_else(bad)?;
    let set = SignedKeySet::read(set.get::<String>("jws").as_bytes()).map_err(|_| bad())?;
    let signer = set.signer_of(&withdrawal.kid()).ok_or_else(bad)?;
    let own: Vec<KeyId> = envelope.kids().filter(|kid| set.signer_of(kid) == Some(signer)).collect();
    withdrawn.insert(withdrawal.kid());
    // With the last one it is over, and keeps what it had.
    let rest = envelope.without(&own);
    if rest.is_none() != event.is_last {
        return Err(bad());
    }
    let state = if event.is_last { InstructionState::Revoked } else { InstructionState::Waiting };
    let set = query(
        "UPDATE instructions SET signed_part = ?, missing = ?, withdrawn = ?, state = ? WHERE controller_id = ? AND id = ?",
    )
    .bind(rest.unwrap_or(envelope).signed_part().as_bytes())
    .bind(event.missing)
    .bind(kids(&withdrawn))
    .bind(state.as_str())
    .bind(event.controller.as_str())
    .bind(id);
    one(conn, set, NOT_WAITING).await
}
