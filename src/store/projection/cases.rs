//! Rows of mail and of the cases it became.

use super::{At, NAME, ProjectError, Projected, id_in, one};
use crate::domain::event::{
    MessageAssigned, MessageReceived, RequestAcknowledged, RequestAnswered, RequestForwarded,
    RequestMisrouted, RequestReceived,
};
use crate::domain::request::stage_of;
use crate::domain::routing::TriageReason;
use crate::domain::{ControllerId, RequestStage, RightStage};
use crate::sql::{Conn, query};
use crate::store::logs::to_i64;

const NOT_THERE: &str = "the case was not received before";

pub(super) async fn message(conn: &mut Conn, at: At<'_>, event: &MessageReceived) -> Projected {
    let state = if event.route == "triage" { "triage" } else { "routed" };
    let reason = event.reason.clone().map(|word| serde_json::from_value::<TriageReason>(word.into()));
    let words = match reason {
        None => "",
        Some(Ok(reason)) => reason.words(),
        Some(Err(_)) => return Err(ProjectError::Contradiction("its triage reason is not known")),
    };
    query(
        "INSERT INTO messages (id, state, triage_reason, request_id, received_at, flags, written_by) VALUES (?, ?, ?, ?, ?, '[]', ?)",
    )
    .bind(id_in(at, "messages")?)
    .bind(state)
    .bind(words)
    .bind(event.request.map(|r| r.to_string()))
    .bind(event.received)
    .bind(NAME)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn assigned(conn: &mut Conn, at: At<'_>, event: &MessageAssigned) -> Projected {
    let assign = query(
        "UPDATE messages SET state = 'routed', triage_reason = '', request_id = ? WHERE id = ? AND state = 'triage'",
    )
    .bind(event.request.to_string())
    .bind(id_in(at, "messages")?);
    one(conn, assign, "the message was not in triage").await
}

pub(super) async fn dismissed(conn: &mut Conn, at: At<'_>) -> Projected {
    let dismiss =
        query("UPDATE messages SET state = 'dismissed', ended_at = ? WHERE id = ? AND state = 'triage'")
            .bind(at.seconds)
            .bind(id_in(at, "messages")?);
    one(conn, dismiss, "the message was not in triage").await
}

/// A case: of the message whose leaf names it, or of the controller itself.
pub(super) async fn request(conn: &mut Conn, at: At<'_>, event: &RequestReceived) -> Projected {
    let id = id_in(at, "requests")?;
    let by_mail = event.origin == "mail";
    let message = query(
        "UPDATE messages SET controller_id = ?, app_id = ? WHERE request_id = ? AND state = 'routed' RETURNING id",
    )
    .bind(event.controller.as_str())
    .bind(event.app.as_str())
    .bind(id)
    .fetch_optional(conn)
    .await?;
    if by_mail != message.is_some() {
        return Err(ProjectError::Contradiction("its origin and the messages do not fit together"));
    }
    let stage = if by_mail { RequestStage::Routed } else { RequestStage::Acknowledged };
    query(
        "INSERT INTO requests (id, controller_id, app_id, origin, stage, guardian, language, flags, categories, matched_by, \
         message_id, received_at, acknowledged_at, updated_at, version, written_by) \
         VALUES (?, ?, ?, ?, ?, ?, '', '[]', '[]', '[]', ?, ?, ?, ?, 1, ?)",
    )
    .bind(id)
    .bind(event.controller.as_str())
    .bind(event.app.as_str())
    .bind(&event.origin)
    .bind(stage.as_str())
    .bind(event.guardian)
    .bind(message.map(|row| row.get::<String>("id")))
    .bind(event.received)
    .bind((!by_mail).then_some(at.seconds))
    .bind(at.seconds)
    .bind(NAME)
    .execute(conn)
    .await?;
    for right in &event.rights {
        query("INSERT INTO request_rights (request_id, right_word, stage) VALUES (?, ?, ?)")
            .bind(id)
            .bind(right.as_str())
            .bind(RightStage::Open.as_str())
            .execute(conn)
            .await?;
    }
    if by_mail {
        query(
            "INSERT INTO deliveries (controller_id, sequence, request_id) \
             SELECT ?, COALESCE(MAX(sequence), 0) + 1, ? FROM deliveries WHERE controller_id = ?",
        )
        .bind(event.controller.as_str())
        .bind(id)
        .bind(event.controller.as_str())
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// A case as far as its stages go.
pub(super) struct Case<'a> {
    id: &'a str,
    controller: &'a ControllerId,
    pub stage: RequestStage,
    message: Option<String>,
    /// Right and stage.
    pub rights: Vec<(String, RightStage)>,
}

impl<'a> Case<'a> {
    /// The controller's own case.
    pub async fn load(
        conn: &mut Conn,
        id: &'a str,
        controller: &'a ControllerId,
    ) -> Result<Self, ProjectError> {
        let row = query("SELECT stage, message_id FROM requests WHERE id = ? AND controller_id = ?")
            .bind(id)
            .bind(controller.as_str())
            .fetch_optional(conn)
            .await?
            .ok_or(ProjectError::Contradiction(NOT_THERE))?;
        let rights = query("SELECT right_word, stage FROM request_rights WHERE request_id = ?")
            .bind(id)
            .fetch_all(conn)
            .await?;
        let unknown = |_| ProjectError::Contradiction("a stage that is not known");
        let mut case = Case {
            id,
            controller,
            stage: row.get::<String>("stage").parse().map_err(unknown)?,
            message: row.get("message_id"),
            rights: Vec::new(),
        };
        for row in &rights {
            case.rights.push((row.get("right_word"), row.get::<String>("stage").parse().map_err(unknown)?));
        }
        Ok(case)
    }

    pub fn stages(&self) -> Vec<RightStage> {
        self.rights.iter().map(|(_, stage)| *stage).collect()
    }

    /// Writes the case's stage.
    pub async fn keep(&self, conn: &mut Conn, at: At<'_>) -> Projected {
        let keep = query("UPDATE requests SET stage = ?, updated_at = ?, version = version + 1 WHERE id = ?")
            .bind(self.stage.as_str())
            .bind(at.seconds)
            .bind(self.id);
        one(conn, keep, NOT_THERE).await
    }

    /// The controller has it, for the first time or again.
    pub async fn is_acknowledged(&self, conn: &mut Conn, at: At<'_>) -> Projected {
        query("UPDATE requests SET acknowledged_at = COALESCE(acknowledged_at, ?) WHERE id = ?")
            .bind(at.seconds)
            .bind(self.id)
            .execute(conn)
            .await?;
        self.is_delivered(conn, at).await
    }

    /// It is not brought again.
    async fn is_delivered(&self, conn: &mut Conn, at: At<'_>) -> Projected {
        query(
            "UPDATE deliveries SET acknowledged_at = ? WHERE controller_id = ? AND request_id = ? AND acknowledged_at IS NULL",
        )
        .bind(at.seconds)
        .bind(self.controller.as_str())
        .bind(self.id)
        .execute(conn)
        .await?;
        Ok(())
    }

    /// Nothing more is owed: its retention runs, and its mail's.
    pub async fn is_closed(&self, conn: &mut Conn, at: At<'_>) -> Projected {
        query("UPDATE requests SET closed_at = COALESCE(closed_at, ?) WHERE id = ?")
            .bind(at.seconds)
            .bind(self.id)
            .execute(conn)
            .await?;
        query("UPDATE messages SET ended_at = ? WHERE id = ?")
            .bind(at.seconds)
            .bind(&self.message)
            .execute(conn)
            .await?;
        Ok(())
    }
}

pub(super) async fn forwarded(conn: &mut Conn, at: At<'_>, event: &RequestForwarded) -> Projected {
    let forward = query(
        "UPDATE requests SET stage = ?, forwarded_at = ?, version = version + 1 WHERE id = ? AND controller_id = ? AND stage = ?",
    )
    .bind(RequestStage::Forwarded.as_str())
    .bind(at.seconds)
    .bind(id_in(at, "requests")?)
    .bind(event.controller.as_str())
    .bind(RequestStage::Routed.as_str());
    one(conn, forward, "the case did not wait to be forwarded").await?;
    let line = query("SELECT 1 FROM deliveries WHERE controller_id = ? AND sequence = ? AND request_id = ?")
        .bind(event.controller.as_str())
        .bind(to_i64(event.sequence))
        .bind(id_in(at, "requests")?);
    match line.fetch_optional(conn).await? {
        Some(_) => Ok(()),
        None => Err(ProjectError::Contradiction("the case has another number in its controller's line")),
    }
}

pub(super) async fn acknowledged(conn: &mut Conn, at: At<'_>, event: &RequestAcknowledged) -> Projected {
    let mut case = Case::load(conn, id_in(at, "requests")?, &event.controller).await?;
    case.stage =
        case.stage.acknowledge().map_err(|_| ProjectError::Contradiction("the case was rejected before"))?;
    case.keep(conn, at).await?;
    case.is_acknowledged(conn, at).await
}

pub(super) async fn misrouted(conn: &mut Conn, at: At<'_>, event: &RequestMisrouted) -> Projected {
    let mut case = Case::load(conn, id_in(at, "requests")?, &event.controller).await?;
    case.stage =
        case.stage.reject().map_err(|_| ProjectError::Contradiction("the case was acted on before"))?;
    case.keep(conn, at).await?;
    case.is_delivered(conn, at).await?;
    let back = query(
        "UPDATE messages SET state = 'triage', triage_reason = 'misrouted', request_id = NULL, controller_id = NULL, app_id = NULL WHERE id = ?",
    )
    .bind(&case.message);
    one(conn, back, "the case is of no message").await
}

pub(super) async fn answered(conn: &mut Conn, at: At<'_>, event: &RequestAnswered) -> Projected {
    let id = id_in(at, "requests")?;
    let mut case = Case::load(conn, id, &event.controller).await?;
    for outcome in &event.outcomes {
        let stage = if outcome.refused { RightStage::Refused } else { RightStage::Answered };
        let set = query(
            "UPDATE request_rights SET stage = ?, ground = ? WHERE request_id = ? AND right_word = ? AND stage <> ?",
        )
        .bind(stage.as_str())
        .bind(outcome.ground.map(|g| g.to_string()))
        .bind(id)
        .bind(outcome.right.as_str())
        .bind(RightStage::Instructed.as_str());
        one(conn, set, "the case has no such right that may be answered").await?;
        for (right, now) in &mut case.rights {
            if right == outcome.right.as_str() {
                *now = stage;
            }
        }
    }
    let stages = case.stages();
    case.stage = stage_of(case.stage, &stages);
    let is_over = stages.iter().all(|s| matches!(s, RightStage::Answered | RightStage::Refused));
    if is_over && case.stage != RequestStage::Refused {
        case.stage = RequestStage::Closed;
    }
    case.keep(conn, at).await?;
    case.is_acknowledged(conn, at).await?;
    if is_over { case.is_closed(conn, at).await } else { Ok(()) }
}
