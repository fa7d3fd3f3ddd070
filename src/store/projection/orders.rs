//! Rows of instructions, their executions and exports, and of what was shredded.

use std::collections::BTreeSet;

use super::cases::Case;
use super::{At, NAME, ProjectError, Projected, id_in, one, registered};
use crate::authority::taken_back::refusal_of;
use crate::domain::event::{
    DataShredded, ExecutionDeferred, ExecutionFailed, ExecutionLeased, ExecutionReported, ExportReleased,
    InstructionAdmitted, InstructionContested, InstructionEnded, InstructionRefused, InstructionSaid,
};
use crate::domain::execution::{Stand, settled};
use crate::domain::request::{right_after, served_by, stage_of};
use crate::domain::{
    Act, ControllerId, ExecutionState, InstructionState, RequestStage, Right, RightStage, Stop,
};
use crate::sql::{Conn, query};
use crate::store::instructions::kids;
use crate::store::logs::to_i64;
use crate::token::{Envelope, Report, SignedKeySet, base64url};
use crate::vault::RetentionClass;

/// In `written_by` of an instruction whose id another controller uses too: a leaf that names the id
/// alone does not say which of them it means.
pub(in crate::store) const SHARED: &str = "shared";

pub(super) async fn admitted(conn: &mut Conn, at: At<'_>, event: &InstructionAdmitted) -> Projected {
    let id = id_in(at, "instructions")?;
    let from = not_before(conn, at, event).await?;
    let is_held = from > at.seconds && !event.executions.is_empty();
    let state = if is_held { InstructionState::Held } else { InstructionState::Admitted };
    let held_until = is_held.then_some(from);
    let completed = query(
        "UPDATE instructions SET signed_part = ?, authority_size = ?, state = ?, admitted_at = ?, leaf = ?, missing = 0, held_until = ? \
         WHERE controller_id = ? AND id = ? AND digest = ? AND state = ?",
    )
    .bind(event.signed_part.as_bytes())
    .bind(to_i64(event.authority_size))
    .bind(state.as_str())
    .bind(at.seconds)
    .bind(to_i64(at.index))
    .bind(held_until)
    .bind(event.controller.as_str())
    .bind(id)
    .bind(&event.digest)
    .bind(InstructionState::Waiting.as_str())
    .execute(conn)
    .await?;
    if completed == 0 {
        let stands = Stands { state, admitted_at: at.seconds, missing: 0, held_until, outcome: "admitted" };
        insert(conn, at, event.said(), stands).await?;
    }
    for order in &event.executions {
        query(
            "INSERT INTO executions (id, controller_id, instruction_id, store_id, state, attempt, next_attempt_at, updated_at, version, written_by) \
             VALUES (?, ?, ?, ?, ?, 0, ?, ?, 1, ?)",
        )
        .bind(order.execution.to_string())
        .bind(event.controller.as_str())
        .bind(id)
        .bind(order.store.as_str())
        .bind(ExecutionState::Pending.as_str())
        .bind(from.max(at.seconds))
        .bind(at.seconds)
        .bind(NAME)
        .execute(conn)
        .await?;
    }
    if let Some(target) = event.target {
        stop(conn, &event.controller, &target.to_string(), Stop::Revoked).await?;
        // It takes back and orders nothing: it is done with its leaf.
        let done = query("UPDATE instructions SET state = ? WHERE controller_id = ? AND id = ?")
            .bind(InstructionState::Done.as_str())
            .bind(event.controller.as_str())
            .bind(id);
        one(conn, done, "it was not admitted").await?;
    }
    match event.request {
        Some(request) => instructed(conn, at, event, id, &request.to_string()).await,
        None => Ok(()),
    }
}

/// How a new row of an instruction stands.
pub(super) struct Stands {
    pub state: InstructionState,
    /// Seconds; 0 while it waits.
    pub admitted_at: i64,
    /// Signers that it waits for.
    pub missing: u32,
    pub held_until: Option<i64>,
    /// How its id was used up.
    pub outcome: &'static str,
}

/// One that came whole, or begins to wait.
pub(super) async fn insert(
    conn: &mut Conn,
    at: At<'_>,
    said: InstructionSaid<'_>,
    stands: Stands,
) -> Projected {
    let id = id_in(at, "instructions")?;
    let sharing = query("UPDATE instructions SET written_by = ? WHERE id = ?");
    let is_shared = sharing.bind(SHARED).bind(id).execute(conn).await? > 0;
    query(
        "INSERT INTO instructions (controller_id, id, app_id, act, request_id, digest, signed_part, key_set_version, \
         authority_size, state, admitted_at, expires_at, leaf, missing, withdrawn, held_until, written_by) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(said.controller.as_str())
    .bind(id)
    .bind(said.app.as_str())
    .bind(said.act.as_str())
    .bind(said.request.map(|r| r.to_string()))
    .bind(said.digest)
    .bind(said.signed_part.as_bytes())
    .bind(to_i64(said.key_set_version))
    .bind(to_i64(said.authority_size))
    .bind(stands.state.as_str())
    .bind(stands.admitted_at)
    .bind(expiry(said.signed_part)?)
    .bind(to_i64(at.index))
    .bind(stands.missing)
    .bind(kids(&BTreeSet::new()))
    .bind(stands.held_until)
    .bind(if is_shared { SHARED } else { NAME })
    .execute(conn)
    .await?;
    if use_jti(conn, said.controller, id, (said.digest, stands.outcome), at).await? {
        Ok(())
    } else {
        Err(ProjectError::Contradiction("its id was used up before"))
    }
}

/// When its orders may first be leased: after the hold of the key set's policy.
async fn not_before(conn: &mut Conn, at: At<'_>, event: &InstructionAdmitted) -> Result<i64, ProjectError> {
    let bad = || ProjectError::Contradiction("its key set is not known");
    let set = query("SELECT jws FROM key_sets WHERE controller_id = ? AND version = ?")
        .bind(event.controller.as_str())
        .bind(to_i64(event.key_set_version))
        .fetch_optional(conn)
        .await?
        .ok_or_else(bad)?;
    let set = SignedKeySet::read(set.get::<String>("jws").as_bytes()).map_err(|_| bad())?;
    let begins = match member(&event.signed_part, "nbf")? {
        Some(nbf) => Some(nbf),
        None => member(&event.signed_part, "iat")?,
    };
    let begins = begins.ok_or(ProjectError::Contradiction("its signed part is no instruction"))?;
    Ok(at.seconds.max(begins).saturating_add(set.policy().hold))
}

/// The instruction goes no further; what was begun may still be reported.
async fn stop(conn: &mut Conn, controller: &ControllerId, id: &str, why: Stop) -> Projected {
    let state = match why {
        Stop::Revoked => InstructionState::Revoked,
        Stop::Contested => InstructionState::Contested,
    };
    let set = query(
        "UPDATE instructions SET state = ? WHERE controller_id = ? AND id = ? AND ended_at IS NULL \
         AND state IN ('waiting', 'admitted', 'held', 'executing')",
    )
    .bind(state.as_str())
    .bind(controller.as_str())
    .bind(id);
    one(conn, set, "there was nothing left to stop").await?;
    query(
        "UPDATE executions SET reason = ?, version = version + 1 WHERE controller_id = ? AND instruction_id = ? \
         AND (state = 'leased' OR state = 'pending' AND begun = 1)",
    )
    .bind(refusal_of(why).code())
    .bind(controller.as_str())
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn contested(conn: &mut Conn, at: At<'_>, event: &InstructionContested) -> Projected {
    let id = id_in(at, "instructions")?;
    stop(conn, &event.controller, id, Stop::Contested).await?;
    let set = query("UPDATE instructions SET ground = ? WHERE controller_id = ? AND id = ?")
        .bind(event.ground.as_str())
        .bind(event.controller.as_str())
        .bind(id);
    one(conn, set, "there was nothing left to stop").await
}

/// `exp` of the signed payload.
pub(super) fn expiry(signed_part: &str) -> Result<i64, ProjectError> {
    member(signed_part, "exp")?.ok_or(ProjectError::Contradiction("its signed part is no instruction"))
}

/// A number of the signed payload.
fn member(signed_part: &str, name: &str) -> Result<Option<i64>, ProjectError> {
    let bad = || ProjectError::Contradiction("its signed part is no instruction");
    let envelope = Envelope::read_signed_part(signed_part.as_bytes()).map_err(|_| bad())?;
    let payload = base64url::decode(envelope.payload_segment().as_bytes()).map_err(|_| bad())?;
    let payload: serde_json::Value = serde_json::from_slice(&payload).map_err(|_| bad())?;
    Ok(payload.get(name).and_then(serde_json::Value::as_i64))
}

/// One that was used up before stays as it was; whether it was is for the caller to judge.
pub(super) async fn use_jti(
    conn: &mut Conn,
    controller: &ControllerId,
    jti: &str,
    (digest, outcome): (&str, &str),
    at: At<'_>,
) -> Result<bool, ProjectError> {
    let insert = "INSERT INTO jtis (controller_id, jti, digest, outcome, leaf) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let used = query(insert)
        .bind(controller.as_str())
        .bind(jti)
        .bind(digest)
        .bind(outcome)
        .bind(to_i64(at.index))
        .execute(conn)
        .await?;
    Ok(used == 1)
}

/// Marks the case that an instruction answers.
async fn instructed(
    conn: &mut Conn,
    at: At<'_>,
    event: &InstructionAdmitted,
    id: &str,
    request: &str,
) -> Projected {
    let mut case = Case::load(conn, request, &event.controller).await?;
    let mut rights: Vec<(Right, RightStage)> = Vec::new();
    for (right, stage) in &case.rights {
        let right = right.parse().map_err(|_| ProjectError::Contradiction("a right that is not known"))?;
        rights.push((right, *stage));
    }
    let third_party = event.act == Act::Export
        && Envelope::read_signed_part(event.signed_part.as_bytes()).is_ok_and(|one| one.has_private());
    let served = served_by(event.act, third_party, &rights)
        .map_err(|_| ProjectError::Contradiction("its act serves no open right of the case"))?;
    for right in &served {
        let set = query(
            "UPDATE request_rights SET stage = ?, instruction_id = ? WHERE request_id = ? AND right_word = ?",
        )
        .bind(RightStage::Instructed.as_str())
        .bind(id)
        .bind(request)
        .bind(right.as_str());
        one(conn, set, "the case has no such right").await?;
    }
    if !served.is_empty() {
        case.stage = RequestStage::Instructed;
    }
    case.keep(conn, at).await?;
    case.is_acknowledged(conn, at).await
}

pub(super) async fn refused(conn: &mut Conn, at: At<'_>, event: &InstructionRefused) -> Projected {
    query("INSERT INTO refusals (leaf, principal, reason, refused_at, written_by) VALUES (?, ?, ?, ?, ?)")
        .bind(to_i64(at.index))
        .bind(at.subject)
        .bind(event.reason.code())
        .bind(at.seconds)
        .bind(NAME)
        .execute(conn)
        .await?;
    let (Some(jti), Ok(controller)) = (event.jti, ControllerId::from_resource_name(at.subject)) else {
        return Ok(());
    };
    // The leaf has a salted digest: which instruction it was, the row alone knows.
    use_jti(conn, &controller, &jti.to_string(), ("", event.reason.code()), at).await?;
    Ok(())
}

const NOT_OPEN: &str = "the execution was not open";

pub(super) async fn leased(conn: &mut Conn, at: At<'_>, event: &ExecutionLeased) -> Projected {
    let id = id_in(at, "executions")?;
    let lease = query(
        "UPDATE executions SET state = ?, attempt = ?, agent_id = ?, lease_token = '', lease_expires_at = ?, \
         updated_at = ?, version = version + 1 WHERE id = ? AND state IN ('pending', 'leased') AND attempt = ?",
    )
    .bind(ExecutionState::Leased.as_str())
    .bind(event.attempt)
    .bind(event.agent.as_str())
    // No leaf holds the token: nobody has this lease, and it is over.
    .bind(at.seconds)
    .bind(at.seconds)
    .bind(id)
    .bind(i64::from(event.attempt) - 1);
    one(conn, lease, NOT_OPEN).await?;
    query(
        "UPDATE instructions SET state = ? WHERE state IN ('admitted', 'held') AND (controller_id, id) IN \
         (SELECT controller_id, instruction_id FROM executions WHERE id = ?)",
    )
    .bind(InstructionState::Executing.as_str())
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn deferred(conn: &mut Conn, at: At<'_>, event: &ExecutionDeferred) -> Projected {
    let id = id_in(at, "executions")?;
    let defer = query(
        "UPDATE executions SET state = ?, lease_token = NULL, lease_expires_at = NULL, reason = ?, begun = CASE WHEN ? = 1 THEN 1 ELSE begun END, \
         next_attempt_at = ?, updated_at = ?, version = version + 1 \
         WHERE id = ? AND state = ? AND agent_id = ? AND attempt = ?",
    )
    .bind(ExecutionState::Pending.as_str())
    .bind(event.reason.code())
    .bind(event.begun)
    .bind(event.next)
    .bind(at.seconds)
    .bind(id)
    .bind(ExecutionState::Leased.as_str())
    .bind(event.agent.as_str())
    .bind(event.attempt);
    one(conn, defer, "the execution was not that agent's").await?;
    settle(conn, id).await
}

pub(super) async fn failed(conn: &mut Conn, at: At<'_>, event: &ExecutionFailed) -> Projected {
    let id = id_in(at, "executions")?;
    let fail = query(
        "UPDATE executions SET state = ?, lease_token = NULL, lease_expires_at = NULL, reason = ?, updated_at = ?, version = version + 1 \
         WHERE id = ? AND state IN ('pending', 'leased') AND attempt = ?",
    )
    .bind(ExecutionState::Failed.as_str())
    .bind(event.reason.code())
    .bind(at.seconds)
    .bind(id)
    .bind(event.attempt);
    one(conn, fail, NOT_OPEN).await?;
    settle(conn, id).await
}

pub(super) async fn reported(conn: &mut Conn, at: At<'_>, event: &ExecutionReported) -> Projected {
    let id = id_in(at, "executions")?;
    let bad = ProjectError::Contradiction("its report is not signed by that agent's key");
    let keys = registered::report_keys(conn, event.agent.as_str()).await?;
    let origins = at.origins.iter().map(String::as_str);
    let report = Report::verify_by(&event.report, &keys.all(), &event.agent, origins);
    let Ok((report, _)) = report else { return Err(bad) };
    let report_row = query(
        "UPDATE executions SET state = ?, lease_token = NULL, lease_expires_at = NULL, reason = ?, report = ?, report_leaf = ?, updated_at = ?, version = version + 1 \
         WHERE id = ? AND state = ? AND agent_id = ?",
    )
    .bind(&event.outcome)
    .bind(report.reason.map(|r| r.code()))
    .bind(&event.report)
    .bind(to_i64(at.index))
    .bind(at.seconds)
    .bind(id)
    .bind(ExecutionState::Leased.as_str())
    .bind(event.agent.as_str());
    one(conn, report_row, "the execution was not that agent's").await?;
    let ledger = report.ledger;
    registered::anchor(conn, event.agent.as_str(), ledger.sequence, &ledger.head.to_string()).await?;
    settle(conn, id).await
}

/// Moves the instruction to where its executions stand.
async fn settle(conn: &mut Conn, execution: &str) -> Projected {
    let rows = query(
        "SELECT o.controller_id, o.instruction_id, o.state, o.begun, o.reason, o.report, i.state AS so_far FROM executions e JOIN executions o \
         ON o.controller_id = e.controller_id AND o.instruction_id = e.instruction_id JOIN instructions i \
         ON i.controller_id = e.controller_id AND i.id = e.instruction_id WHERE e.id = ?",
    )
    .bind(execution)
    .fetch_all(conn)
    .await?;
    let unknown = |_| ProjectError::Contradiction("a state that is not known");
    let stands: Vec<Stand> = rows
        .iter()
        .map(|row| {
            let state = row.get::<String>("state").parse().map_err(unknown)?;
            let (reason, report) = (row.get::<Option<String>>("reason"), row.get::<Option<String>>("report"));
            Ok(Stand::of(state, row.get("begun"), reason.as_deref(), report.is_some()))
        })
        .collect::<Result<_, ProjectError>>()?;
    let Some(first) = rows.first() else { return Err(ProjectError::Contradiction(NOT_OPEN)) };
    let so_far = first.get::<String>("so_far").parse().map_err(unknown)?;
    let set = query("UPDATE instructions SET state = ? WHERE controller_id = ? AND id = ?")
        .bind(settled(so_far, &stands).as_str())
        .bind(first.get::<String>("controller_id"))
        .bind(first.get::<String>("instruction_id"));
    one(conn, set, "its instruction was not admitted before").await
}

pub(super) async fn ended(conn: &mut Conn, at: At<'_>, event: &InstructionEnded) -> Projected {
    let id = id_in(at, "instructions")?;
    let row = query(
        "UPDATE instructions SET ended_at = ?, state = ? WHERE controller_id = ? AND id = ? AND ended_at IS NULL \
         AND (state = ? OR (state = 'waiting' AND ? = 'expired')) RETURNING request_id",
    )
    .bind(at.seconds)
    .bind(&event.state)
    .bind(event.controller.as_str())
    .bind(id)
    .bind(&event.state)
    .bind(&event.state)
    .fetch_optional(conn)
    .await?
    .ok_or(ProjectError::Contradiction("the instruction does not stand so by its executions"))?;
    let Some(request) = row.get::<Option<String>>("request_id") else { return Ok(()) };
    let stage = right_after(event.state == InstructionState::Done.as_str());
    query("UPDATE request_rights SET stage = ? WHERE request_id = ? AND instruction_id = ? AND stage = ?")
        .bind(stage.as_str())
        .bind(&request)
        .bind(id)
        .bind(RightStage::Instructed.as_str())
        .execute(conn)
        .await?;
    let mut case = Case::load(conn, &request, &event.controller).await?;
    let stages = case.stages();
    case.stage = stage_of(case.stage, &stages);
    case.keep(conn, at).await?;
    if stages.iter().all(|stage| stage.is_settled()) { case.is_closed(conn, at).await } else { Ok(()) }
}

pub(super) async fn released(conn: &mut Conn, at: At<'_>, event: &ExportReleased) -> Projected {
    let release = query(
        "INSERT INTO exports (id, execution_id, controller_id, size, digest, uploaded_at, expires_at, released, written_by) \
         SELECT ?, id, controller_id, ?, ?, ?, ?, 1, ? FROM executions WHERE id = ?",
    )
    .bind(id_in(at, "exports")?)
    .bind(to_i64(event.size))
    .bind(&event.digest)
    .bind(at.seconds)
    .bind(event.expires)
    .bind(NAME)
    .bind(event.execution.to_string());
    one(conn, release, "the execution was not ordered before").await
}

/// One that was never released leaves no other trace.
pub(super) async fn removed(conn: &mut Conn, at: At<'_>) -> Projected {
    query("UPDATE exports SET removed_at = ? WHERE id = ?")
        .bind(at.seconds)
        .bind(id_in(at, "exports")?)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn shredded(conn: &mut Conn, at: At<'_>, event: &DataShredded) -> Projected {
    let (table, column, collection) = match RetentionClass::from_word(&event.class) {
        Some(RetentionClass::Request) => ("requests", "id", "requests"),
        Some(RetentionClass::Intake) => ("messages", "id", "messages"),
        Some(RetentionClass::Instruction) => ("instructions", "id", "instructions"),
        Some(RetentionClass::Refusal) => ("refusals", "leaf", "leaves"),
        _ => return Err(ProjectError::Contradiction("its class is none that the gateway shreds")),
    };
    let id = id_in(at, collection)?;
    let sealed = match table {
        "requests" => "sealed_content = NULL",
        "messages" => "sealed_mail = NULL, sealed_candidate = NULL, sealed_salt = NULL",
        "instructions" => "sealed_envelope = NULL",
        _ => "sealed_salt = NULL",
    };
    let shred =
        query(format!("UPDATE {table} SET shredded_at = ?, key_id = NULL, {sealed} WHERE {column} = ?"))
            .bind(at.seconds);
    let shred = match (table, id.parse::<i64>()) {
        ("refusals", Ok(leaf)) => shred.bind(leaf),
        _ => shred.bind(id),
    };
    // Two controllers may use one instruction id; which was meant, the comparison leaves open.
    if shred.execute(conn).await? == 0 {
        return Err(ProjectError::Contradiction("there was nothing of that name to shred"));
    }
    if table == "instructions" {
        query("UPDATE executions SET sealed_details = NULL WHERE instruction_id = ?")
            .bind(id)
            .execute(conn)
            .await?;
    }
    Ok(())
}
