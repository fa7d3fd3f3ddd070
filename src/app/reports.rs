//! An agent's signed report comes in, and the instruction and its case move on.

use crate::domain::event::{ExecutionReported, ExportReleased, InstructionEnded};
use crate::domain::execution::{Stand, settled};
use crate::domain::request::{right_after, stage_of};
use crate::domain::{
    Act, AgentId, ControllerId, ExecutionId, ExecutionState, InstructionId, InstructionState, Reason,
    Refusal, RightStage,
};
use crate::store::executions::{self, ExecutionRow};
use crate::store::instructions::InstructionRow;
use crate::store::{
    Command, Issued, StoreError, Topic, Tx, exports, instructions, messages, registry, report_keys, requests,
};
use crate::token::{Envelope, KeyId as Thumbprint, Report, ReportOutcome};
use crate::vault::{KeyId, Place, RetentionClass};

use super::orders::token_digest;
use super::previews;
use super::read_instructions::PreviewDetails;
use super::standing::stand;
use super::{App, AppResult};

/// Most bytes of a preview's details.
const MAX_DETAILS: usize = 256 * 1024;
/// Most collections in them, as in a report.
const MAX_COLLECTIONS: usize = 256;

/// A report as it arrived.
pub struct ReportIn {
    pub execution: ExecutionId,
    pub lease_token: String,
    /// Compact JWS, typ `report+jwt`.
    pub report: String,
    /// A preview's counts and salt, JSON. Sealed for the controller.
    pub preview_details: Vec<u8>,
}

pub(super) fn details_place(row: &str) -> Place<'_> {
    Place { table: "executions", row, column: "sealed_details" }
}

impl App {
    /// Takes a report in. The same report again gets the first answer.
    pub async fn submit_report(&self, agent: &AgentId, input: ReportIn) -> AppResult<Issued> {
        if input.preview_details.len() > MAX_DETAILS {
            return Err(Refusal::at(Reason::FieldInvalid, "preview_details").note("over 256 KiB").into());
        }
        let mut conn = self.store.reader().await?;
        let (report, signed_by) = self.read_report(&mut conn, agent, &input.report).await?;
        if report.execution != input.execution {
            return Err(Refusal::at(Reason::ReportInvalid, "report.execution").into());
        }
        check_details(&report, &input.preview_details)?;
        let sealed_details = self.seal_details(&mut conn, &report, &input.preview_details).await?;
        drop(conn);
        let committed = self
            .store
            .transact(TakeReport {
                agent: agent.clone(),
                token: token_digest(&input.lease_token),
                text: input.report,
                report,
                signed_by,
                sealed_details,
                export_life: self.settings.export_life,
            })
            .await?;
        match (committed.receipt, committed.value) {
            (Some(issued), _) => Ok(issued),
            (None, Some(leaf)) => self.store.receipt(leaf).await,
            (None, None) => Err(StoreError::Corrupt("receipt")),
        }
    }

    /// The receipt of the report that was taken in of an execution, for the agent that handed it in.
    /// Another's execution, one without a report and none at all are one answer: `NOT_FOUND`.
    pub async fn report_receipt(&self, agent: &AgentId, execution: ExecutionId) -> AppResult<Issued> {
        let stores = self.agent_stores(agent).await?;
        let found = executions::find(&mut self.store.reader().await?, &execution).await?;
        let own = found.filter(|row| row.agent.as_ref() == Some(agent) && stores.contains(&row.store));
        let leaf = own.and_then(|row| row.report_leaf).ok_or(Reason::NotFound)?;
        self.store.receipt(leaf.cast_unsigned()).await
    }

    /// Verifies a report with the agent's report keys; with it comes which of them it was.
    pub(super) async fn read_report(
        &self,
        conn: &mut crate::store::Conn,
        agent: &AgentId,
        text: &str,
    ) -> AppResult<(Report, Thumbprint)> {
        let keys = report_keys::of(conn, agent).await?.ok_or(Reason::NotFound)?;
        let origins = self.store.trail_origins();
        Ok(Report::verify_by(text, &keys.all(), agent, origins.iter().map(String::as_str))?)
    }

    /// Seals a preview's details under the instruction's own data key, so that they die with it.
    async fn seal_details(
        &self,
        conn: &mut crate::store::Conn,
        report: &Report,
        details: &[u8],
    ) -> AppResult<Option<Vec<u8>>> {
        if details.is_empty() {
            return Ok(None);
        }
        let row = executions::find(conn, &report.execution).await?.ok_or(Reason::NotFound)?;
        let found = instructions::find(conn, &row.controller, &row.instruction).await?;
        let key_id = found.and_then(|i| i.key_id).ok_or(Reason::NotFound)?;
        let key_id: KeyId = key_id.parse().map_err(|_| StoreError::Corrupt("instructions.key_id"))?;
        let key = self.vault.keyring().key(key_id, RetentionClass::Instruction).await?;
        Ok(Some(self.vault.seal(&key, details_place(&report.execution.to_string()), details)))
    }
}

/// Details are a preview's, and can be read: what cannot now could not when the controller asks.
fn check_details(report: &Report, details: &[u8]) -> Result<(), Refusal> {
    let bad = |note: &'static str| Refusal::at(Reason::ReportInvalid, "preview_details").note(note);
    if details.is_empty() {
        return Ok(());
    }
    if report.act != Act::Preview {
        return Err(bad("belong to a preview alone"));
    }
    let details: PreviewDetails =
        serde_json::from_slice(details).map_err(|_| bad("not a JSON object of `salt` and `counts`"))?;
    let salt = details.salt.as_bytes();
    if salt.len() != 64 || !salt.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(bad("`salt` is not 32 bytes in lower-case hex"));
    }
    if details.counts.len() > MAX_COLLECTIONS {
        return Err(bad("over 256 collections"));
    }
    Ok(())
}

struct TakeReport {
    agent: AgentId,
    token: String,
    text: String,
    report: Report,
    signed_by: Thumbprint,
    sealed_details: Option<Vec<u8>>,
    /// Seconds that a package may be fetched from its release on.
    export_life: i64,
}

#[async_trait::async_trait]
impl Command for TakeReport {
    const NAME: &'static str = "take_report";
    /// The leaf of the same report, where it came before.
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        let row = executions::find(tx.conn(), &self.report.execution).await?.ok_or(Reason::NotFound)?;
        if row.report.as_deref() == Some(self.text.as_str()) {
            return Ok(Some(row.report_leaf.unwrap_or_default().cast_unsigned()));
        }
        let mut row = super::orders::held(tx, &self.agent, &self.report.execution, &self.token).await?;
        self.check(tx, &row).await?;
        self.check_key(tx).await?;
        let state = match self.report.outcome {
            ReportOutcome::Completed => ExecutionState::Completed,
            ReportOutcome::Partial => ExecutionState::Partial,
            ReportOutcome::Failed => ExecutionState::Failed,
            ReportOutcome::Refused => ExecutionState::Refused,
        };
        let leaf = tx.append(
            &row.id.resource_name(),
            ExecutionReported {
                agent: self.agent.clone(),
                attempt: self.report.attempt,
                outcome: state.to_string(),
                report: self.text.clone(),
            },
        )?;
        row.state = state;
        row.reason = self.report.reason.map(|r| r.code().to_owned());
        row.report = Some(self.text.clone());
        row.report_leaf = Some(leaf.cast_signed());
        row.sealed_details.clone_from(&self.sealed_details);
        row.lease_token = None;
        row.lease_expires_at = None;
        executions::update(tx, &row).await?;
        if self.releases(state) {
            self.release_export(tx, &row).await?;
        }
        let ledger = self.report.ledger;
        registry::set_anchor(tx, &self.agent, ledger.sequence, &ledger.head.to_string()).await?;
        tx.wake(Topic::Execution(row.id));
        settle_instruction(tx, &row.controller, &row.instruction).await?;
        Ok(None)
    }
}

impl TakeReport {
    /// The report fits the order it claims to answer.
    async fn check(&self, tx: &mut Tx<'_>, row: &ExecutionRow) -> Result<(), StoreError> {
        let bad = |field: &'static str| Refusal::at(Reason::ReportInvalid, field);
        let report = &self.report;
        let instruction = instructions::find(tx.conn(), &row.controller, &row.instruction)
            .await?
            .ok_or(StoreError::Corrupt("executions.instruction_id"))?;
        if report.instruction != row.instruction {
            return Err(bad("report.instruction").into());
        }
        // An agent that refuses an altered order reports the digest of what it was given.
        if report.outcome != ReportOutcome::Refused
            && report.instruction_digest.to_string() != instruction.digest
        {
            return Err(bad("report.instruction_digest").into());
        }
        if report.store != row.store {
            return Err(bad("report.store").into());
        }
        if report.outcome != ReportOutcome::Refused && report.act != instruction.act {
            return Err(bad("report.act").into());
        }
        if report.attempt == 0 || report.attempt > row.attempt {
            return Err(bad("report.attempt").into());
        }
        let done = matches!(report.outcome, ReportOutcome::Completed | ReportOutcome::Partial);
        if done && report.act == Act::ReturnAndErase && report.export.is_none() && returns(&instruction)? {
            return Err(bad("report.export").into());
        }
        Ok(())
    }

    /// The key may have been retired since the report was read.
    async fn check_key(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let keys = report_keys::of(tx.conn(), &self.agent).await?.ok_or(Reason::NotFound)?;
        match keys.all().iter().any(|key| key.id() == self.signed_by) {
            true => Ok(()),
            false => Err(Refusal::at(Reason::ReportInvalid, "report").note("its key is retired").into()),
        }
    }

    /// Of an export the whole alone is given out. What returns and erases may have erased before it failed:
    /// whatever was returned is given out.
    fn releases(&self, state: ExecutionState) -> bool {
        match self.report.act {
            Act::Export => state == ExecutionState::Completed,
            Act::ReturnAndErase => self.report.export.is_some(),
            _ => false,
        }
    }

    async fn release_export(&self, tx: &mut Tx<'_>, row: &ExecutionRow) -> Result<(), StoreError> {
        let missing =
            || Refusal::at(Reason::ReportInvalid, "report.export").note("names no uploaded package");
        let reported = self.report.export.as_ref().ok_or_else(missing)?;
        let export = exports::of_execution(tx.conn(), &row.id).await?.ok_or_else(missing)?;
        if export.digest != reported.digest.to_string() || export.size != reported.size {
            return Err(Refusal::at(Reason::DigestMismatch, "report.export.digest").into());
        }
        // Its time runs from here: what returns all of an app's data may have been erasing for days since the upload.
        let expires = tx.now_seconds() + self.export_life;
        exports::release(tx, &export.id, expires).await?;
        tx.append(
            &export.id.resource_name(),
            ExportReleased { execution: row.id, digest: export.digest.clone(), size: export.size, expires },
        )?;
        Ok(())
    }
}

/// Whether it orders that something be handed out.
fn returns(instruction: &InstructionRow) -> Result<bool, StoreError> {
    let corrupt = || StoreError::Corrupt("instructions.signed_part");
    let envelope = Envelope::read_signed_part(&instruction.signed_part).map_err(|_| corrupt())?;
    Ok(previews::payload(&envelope).ok_or_else(corrupt)?.get("export").is_some())
}

/// Moves the instruction, and the rights it serves, to where its executions now stand.
pub(super) async fn settle_instruction(
    tx: &mut Tx<'_>,
    controller: &ControllerId,
    id: &InstructionId,
) -> Result<(), StoreError> {
    let Some(instruction) = instructions::find(tx.conn(), controller, id).await? else {
        return Err(StoreError::Corrupt("instructions"));
    };
    let stands: Vec<Stand> =
        executions::of_instruction(tx.conn(), controller, id).await?.iter().map(stand).collect();
    let state = settled(instruction.state, &stands);
    let ended = stands.iter().all(|stand| stand.state.has_ended());
    instructions::set_state(tx, controller, id, state, ended).await?;
    if !ended {
        return Ok(());
    }
    tx.append(
        &id.resource_name(),
        InstructionEnded { controller: controller.clone(), state: state.to_string() },
    )?;
    let Some(request) = instruction.request else { return Ok(()) };
    let Some(mut case) = requests::find(tx.conn(), controller, &request).await? else { return Ok(()) };
    let jti = id.to_string();
    for right in case.rights.iter_mut().filter(|r| r.instruction.as_deref() == Some(jti.as_str())) {
        if right.stage == RightStage::Instructed {
            right.stage = right_after(state == InstructionState::Done);
            requests::set_right(tx, &request, &right.clone()).await?;
        }
    }
    let stages: Vec<RightStage> = case.rights.iter().map(|r| r.stage).collect();
    case.stage = stage_of(case.stage, &stages);
    if stages.iter().all(|stage| stage.is_settled()) {
        // Nothing more is owed: from here its retention runs, whether or not the controller says more.
        case.closed_at.get_or_insert(tx.now_seconds());
        if let Some(message) = case.message {
            messages::end(tx, &message).await?;
        }
    }
    requests::update(tx, &case).await
}
