//! What a controller does with its cases besides instructing: acknowledge, reject as
//! misrouted, record that it answered the person itself.

use crate::domain::event::{RequestAcknowledged, RequestAnswered, RequestMisrouted, RightAnswered};
use crate::domain::request::stage_of;
use crate::domain::{
    ControllerId, Reason, Refusal, RefusalGround, RequestId, RequestStage, Right, RightStage,
};
use crate::store::calls::{self, CallId, CallRow};
use crate::store::requests::{self, RequestRow};
use crate::store::{Command, Issued, StoreError, Tx, messages};

use super::idempotency::{Once, once, plain_payload};
use super::{App, AppResult, RequestUuid, RequestView};

/// How the controller answered one right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeGiven {
    pub right: Right,
    pub refused: bool,
    pub ground: Option<RefusalGround>,
    /// The answer to `explain_use_and_sharing` named the recipients (R7).
    pub recipients_named: bool,
}

/// What a command on a case answers: the case, and the leaf of an earlier same call.
struct Answer {
    row: RequestRow,
    again: Option<u64>,
}

impl App {
    /// Takes a case in: ends its redelivery.
    pub async fn acknowledge_request(
        &self,
        controller: &ControllerId,
        id: RequestId,
        request_id: Option<RequestUuid>,
    ) -> AppResult<(RequestView, Issued)> {
        let call = request_id.map(|r| r.call(&controller.resource_name(), "AcknowledgeRequest"));
        self.answer(Acknowledge { controller: controller.clone(), id, call }).await
    }

    /// Sends a case that is not the controller's back to PPIO's triage.
    pub async fn reject_request(
        &self,
        controller: &ControllerId,
        id: RequestId,
        request_id: Option<RequestUuid>,
    ) -> AppResult<(RequestView, Issued)> {
        let call = request_id.map(|r| r.call(&controller.resource_name(), "RejectRequest"));
        self.answer(Reject { controller: controller.clone(), id, call }).await
    }

    /// Records that the controller answered the person itself, right by right.
    pub async fn record_outcome(
        &self,
        controller: &ControllerId,
        id: RequestId,
        outcomes: Vec<OutcomeGiven>,
        request_id: Option<RequestUuid>,
    ) -> AppResult<(RequestView, Issued)> {
        if outcomes.is_empty() {
            return Err(Refusal::at(Reason::FieldRequired, "outcomes").into());
        }
        let call = request_id.map(|r| r.call(&controller.resource_name(), "RecordOutcome"));
        self.answer(RecordOutcome { controller: controller.clone(), id, outcomes, call }).await
    }

    async fn answer<C: Command<Output = Answer>>(&self, command: C) -> AppResult<(RequestView, Issued)> {
        let committed = self.store.transact(command).await?;
        let issued = match (committed.receipt, committed.value.again) {
            (Some(issued), _) => issued,
            (None, Some(leaf)) => self.store.receipt(leaf).await?,
            (None, None) => return Err(StoreError::Corrupt("receipt")),
        };
        let row = committed.value.row;
        if committed.value.again.is_some() {
            // The repeat shows the content again: a look like any other.
            let controller = row.controller.clone();
            self.record_read(row.id.resource_name(), &controller, 1).await?;
        }
        Ok((self.open_request(row).await?, issued))
    }
}

async fn own(tx: &mut Tx<'_>, controller: &ControllerId, id: &RequestId) -> Result<RequestRow, StoreError> {
    Ok(requests::find(tx.conn(), controller, id).await?.ok_or(Reason::NotFound)?)
}

async fn remember(
    tx: &mut Tx<'_>,
    call: Option<&CallId>,
    payload: String,
    id: &RequestId,
    leaf: u64,
) -> Result<(), StoreError> {
    let Some(call) = call else { return Ok(()) };
    calls::insert(tx, call, &CallRow { key_id: None, payload, resource: id.resource_name(), leaf }).await
}

struct Acknowledge {
    controller: ControllerId,
    id: RequestId,
    call: Option<CallId>,
}

#[async_trait::async_trait]
impl Command for Acknowledge {
    const NAME: &'static str = "acknowledge_request";
    type Output = Answer;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Answer, StoreError> {
        let payload = plain_payload(&[&self.id.to_string()]);
        if let Once::Again(row) = once(tx.conn(), self.call.as_ref(), &payload).await? {
            return Ok(Answer { row: own(tx, &self.controller, &self.id).await?, again: Some(row.leaf) });
        }
        let mut row = own(tx, &self.controller, &self.id).await?;
        row.stage = row.stage.acknowledge()?;
        row.acknowledged_at.get_or_insert(tx.now_seconds());
        requests::update(tx, &row).await?;
        requests::acknowledge_delivery(tx, &self.controller, &self.id).await?;
        let event = RequestAcknowledged { controller: self.controller.clone() };
        let leaf = tx.append(&self.id.resource_name(), event)?;
        remember(tx, self.call.as_ref(), payload, &self.id, leaf).await?;
        Ok(Answer { row, again: None })
    }
}

struct Reject {
    controller: ControllerId,
    id: RequestId,
    call: Option<CallId>,
}

#[async_trait::async_trait]
impl Command for Reject {
    const NAME: &'static str = "reject_request";
    type Output = Answer;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Answer, StoreError> {
        let payload = plain_payload(&[&self.id.to_string()]);
        if let Once::Again(row) = once(tx.conn(), self.call.as_ref(), &payload).await? {
            return Ok(Answer { row: own(tx, &self.controller, &self.id).await?, again: Some(row.leaf) });
        }
        let mut row = own(tx, &self.controller, &self.id).await?;
        let Some(message) = row.message else {
            return Err(Refusal::new(Reason::StageConflict)
                .note("a case the controller opened itself")
                .into());
        };
        row.stage = row.stage.reject()?;
        requests::update(tx, &row).await?;
        requests::acknowledge_delivery(tx, &self.controller, &self.id).await?;
        messages::back_to_triage(tx, &message).await?;
        let event = RequestMisrouted { controller: self.controller.clone() };
        let leaf = tx.append(&self.id.resource_name(), event)?;
        remember(tx, self.call.as_ref(), payload, &self.id, leaf).await?;
        Ok(Answer { row, again: None })
    }
}

struct RecordOutcome {
    controller: ControllerId,
    id: RequestId,
    outcomes: Vec<OutcomeGiven>,
    call: Option<CallId>,
}

impl RecordOutcome {
    fn payload(&self) -> String {
        let mut parts = vec![self.id.to_string()];
        for outcome in &self.outcomes {
            parts.push(format!(
                "{} {} {} {}",
                outcome.right,
                outcome.refused,
                outcome.ground.map_or("", RefusalGround::as_str),
                outcome.recipients_named
            ));
        }
        plain_payload(&parts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What the policy asks of an answer before it counts (R7, R16).
    fn check(outcome: &OutcomeGiven) -> Result<(), Refusal> {
        match (outcome.refused, outcome.ground) {
            (true, None) => Err(Refusal::at(Reason::FieldRequired, "outcomes.ground")
                .note("a refusal names its ground (PIPL 50)")),
            (false, Some(_)) => Err(Refusal::at(Reason::FieldInvalid, "outcomes.ground")),
            _ if outcome.right == Right::ExplainUseAndSharing
                && !outcome.refused
                && !outcome.recipients_named =>
            {
                Err(Refusal::at(Reason::RightUnanswered, "outcomes.recipients_named")
                    .note("the answer must name the recipients"))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl Command for RecordOutcome {
    const NAME: &'static str = "record_outcome";
    type Output = Answer;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Answer, StoreError> {
        let payload = self.payload();
        if let Once::Again(row) = once(tx.conn(), self.call.as_ref(), &payload).await? {
            return Ok(Answer { row: own(tx, &self.controller, &self.id).await?, again: Some(row.leaf) });
        }
        let mut row = own(tx, &self.controller, &self.id).await?;
        let mut named: Vec<Right> = self.outcomes.iter().map(|outcome| outcome.right).collect();
        named.sort_unstable();
        named.dedup();
        if named.len() != self.outcomes.len() {
            return Err(Refusal::at(Reason::RightUnanswered, "outcomes.right")
                .note("a right stands twice")
                .into());
        }
        if !row.stage.may_be_instructed() {
            return Err(Reason::StageConflict.into());
        }
        let mut events = Vec::with_capacity(self.outcomes.len());
        for outcome in &self.outcomes {
            Self::check(outcome)?;
            let right = row
                .rights
                .iter_mut()
                .find(|r| r.right == outcome.right)
                .ok_or_else(|| Refusal::at(Reason::RightUnanswered, "outcomes.right"))?;
            if right.stage == RightStage::Instructed {
                return Err(Refusal::new(Reason::StageConflict)
                    .note("its instruction is still being carried out")
                    .into());
            }
            right.stage = if outcome.refused { RightStage::Refused } else { RightStage::Answered };
            right.ground = outcome.ground.map(|g| g.to_string());
            requests::set_right(tx, &self.id, &right.clone()).await?;
            events.push(RightAnswered {
                right: outcome.right,
                refused: outcome.refused,
                ground: outcome.ground,
            });
        }
        let stages: Vec<RightStage> = row.rights.iter().map(|r| r.stage).collect();
        row.stage = stage_of(row.stage, &stages);
        if stages.iter().all(|s| matches!(s, RightStage::Answered | RightStage::Refused)) {
            row.stage =
                if row.stage == RequestStage::Refused { RequestStage::Refused } else { RequestStage::Closed };
            row.closed_at = Some(tx.now_seconds());
            if let Some(message) = row.message {
                messages::end(tx, &message).await?;
            }
        }
        row.acknowledged_at.get_or_insert(tx.now_seconds());
        requests::update(tx, &row).await?;
        requests::acknowledge_delivery(tx, &self.controller, &self.id).await?;
        let event = RequestAnswered { controller: self.controller.clone(), outcomes: events };
        let leaf = tx.append(&self.id.resource_name(), event)?;
        remember(tx, self.call.as_ref(), payload, &self.id, leaf).await?;
        Ok(Answer { row, again: None })
    }
}
