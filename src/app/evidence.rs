//! Everything that proves one instruction and what came of it, in one file for offline
//! verification. Each export is a leaf.

use crate::authority::evidence::{Bundle, BundleBuilder};
use crate::domain::event::EvidenceExported;
use crate::domain::{ControllerId, InstructionId, Reason, Refusal};
use crate::store::instructions::{self, InstructionRow};
use crate::store::{Command, Conn, Log, StoreError, Tx, executions, exports, logs, registry};
use crate::token::Envelope;
use crate::trail::leaf_hash;
use crate::vault::{KeyId, RetentionClass, VaultError};

use super::submit_instruction::{envelope_place, envelope_row};
use super::{App, AppResult, Vouched};

/// Leaves about one subject that a bundle takes. Leases and reports of one order stay far below.
const MOST: u32 = 1_000;
/// Leaves of the authority log read at once.
const PAGE: u32 = 1_024;

const REGISTRATIONS: [&str; 6] = [
    "mandate.controller.registered",
    "mandate.agreement.registered",
    "mandate.app.registered",
    "mandate.agent.registered",
    "mandate.sub_processor.registered",
    "mandate.report_key.vouched",
];
const EXECUTION: [&str; 4] = [
    "mandate.execution.leased",
    "mandate.execution.deferred",
    "mandate.execution.failed",
    "mandate.execution.reported",
];
const EXPORT: [&str; 3] = ["mandate.export.released", "mandate.export.downloaded", "mandate.export.removed"];

impl App {
    /// The controller's own evidence, with its disclosures where asked for. Of the authority log it
    /// holds the controller's own leaves; the others stand as hashes, for they are not its business (I5).
    pub async fn evidence(
        &self,
        controller: &ControllerId,
        id: InstructionId,
        include_disclosures: bool,
    ) -> AppResult<Vec<u8>> {
        let row = instructions::find(&mut self.store.reader().await?, controller, &id)
            .await?
            .ok_or(Reason::NotFound)?;
        let disclosures = match include_disclosures {
            true => Some(self.open_disclosures(&row).await?),
            false => None,
        };
        if row.admitted_at == 0 {
            return Err(Refusal::at(Reason::StageConflict, "name").note("it was not admitted").into());
        }
        self.record_evidence(controller.resource_name(), id, include_disclosures).await?;
        Ok(self.bundle(&row, disclosures, Some(controller)).await?.to_json().into_bytes())
    }

    /// An auditor's evidence: no personal data, the whole authority log.
    pub async fn audit_evidence(&self, by: &str, id: InstructionId) -> AppResult<Vec<u8>> {
        let mut rows = instructions::find_any(&mut self.store.reader().await?, &id).await?;
        let row = match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => row,
            (None, _) => return Err(Reason::NotFound.into()),
            (Some(_), false) => {
                return Err(Refusal::at(Reason::FieldInvalid, "name")
                    .note("two controllers chose this id: ask for it through its controller")
                    .into());
            }
        };
        if row.admitted_at == 0 {
            return Err(Refusal::at(Reason::StageConflict, "name").note("it was not admitted").into());
        }
        self.record_evidence(by.to_owned(), id, false).await?;
        Ok(self.bundle(&row, None, None).await?.to_json().into_bytes())
    }

    async fn record_evidence(&self, by: String, id: InstructionId, disclosures: bool) -> AppResult<()> {
        self.store.transact(RecordEvidence { by, id, disclosures }).await?;
        Ok(())
    }

    async fn open_disclosures(&self, row: &InstructionRow) -> AppResult<Vec<String>> {
        let gone =
            || Refusal::at(Reason::NotFound, "include_disclosures").note("the disclosures were shredded");
        let (Some(key), Some(sealed)) = (&row.key_id, &row.sealed_envelope) else {
            return Err(gone().into());
        };
        let key: KeyId = key.parse().map_err(|_| StoreError::Corrupt("instructions.key_id"))?;
        let place_row = envelope_row(&row.controller, &row.id);
        let opened =
            self.vault.open(key, RetentionClass::Instruction, envelope_place(&place_row), sealed).await;
        match opened {
            Ok(bytes) => Ok(Envelope::read(&bytes)?.disclosures().to_vec()),
            Err(VaultError::Shredded) => Err(gone().into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The heads that the evidence leads to: vouched for, if those cover the admission.
    async fn heads_over(&self, row: &InstructionRow) -> AppResult<(Vouched, Vouched)> {
        Ok(match (self.vouched(Log::Trail).await?, self.vouched(Log::Authority).await?) {
            (Some(trail), Some(authority))
                if row.leaf < trail.size && row.authority_size <= authority.size =>
            {
                (trail, authority)
            }
            _ => (self.newest(Log::Trail).await?, self.newest(Log::Authority).await?),
        })
    }

    async fn bundle(
        &self,
        row: &InstructionRow,
        disclosures: Option<Vec<String>>,
        only: Option<&ControllerId>,
    ) -> AppResult<Bundle> {
        let (trail, authority) = self.heads_over(row).await?;
        let mut conn = self.store.reader().await?;
        let mut leaves = self.leaves_of(&mut conn, row).await?;
        drop(conn);
        leaves.retain(|(index, _)| *index < trail.size);
        let mut builder = BundleBuilder::new(trail.note().to_string(), authority.note().to_string());
        let broken = |_| StoreError::Corrupt("trail_leaves");
        for (index, leaf) in &leaves {
            let proof =
                logs::prove_inclusion(self.store.log_reader(), Log::Trail, *index, trail.size).await?;
            builder.trail_leaf(*index, leaf, proof).map_err(broken)?;
        }
        let mut index = 0;
        while index < authority.size {
            let page = logs::leaves(self.store.log_reader(), Log::Authority, index, PAGE).await?;
            if page.is_empty() {
                return Err(StoreError::Corrupt("authority_leaves"));
            }
            for leaf in &page {
                if index >= authority.size {
                    break;
                }
                match only {
                    Some(controller) if !is_about(leaf, controller, index) => {
                        builder.authority_hash(index, leaf_hash(leaf));
                    }
                    _ => {
                        builder.authority_leaf(index, leaf);
                    }
                }
                index += 1;
            }
        }
        if let Some(disclosures) = disclosures {
            builder.disclosures(disclosures);
        }
        builder.build().map_err(broken)
    }

    /// The trail's leaves that bear on an instruction, with their indexes.
    async fn leaves_of(&self, conn: &mut Conn, row: &InstructionRow) -> AppResult<Vec<(u64, Vec<u8>)>> {
        let mut leaves = logs::leaves_about(
            conn,
            &row.id.resource_name(),
            &["mandate.instruction.admitted", "mandate.instruction.contested", "mandate.instruction.ended"],
            MOST,
        )
        .await?;
        // Another controller may have used the same id: its leaves are not ours to show.
        leaves.retain(|(_, leaf)| names_controller(leaf, &row.controller));
        let mut subjects = vec![row.controller.resource_name(), row.app.resource_name()];
        for agreement in registry::agreements_of(conn, &[&row.controller].into()).await? {
            subjects.push(agreement.id.resource_name());
            subjects.extend(agreement.terms.sub_processors.iter().map(|one| one.resource_name()));
        }
        for execution in executions::of_instruction(conn, &row.controller, &row.id).await? {
            leaves.extend(logs::leaves_about(conn, &execution.id.resource_name(), &EXECUTION, MOST).await?);
            if let Some(agent) = execution.agent {
                subjects.push(agent.resource_name());
                let agent = registry::agent(conn, &agent).await?;
                let operators = agent.iter().flat_map(|agent| agent.operated_by.values());
                subjects.extend(operators.map(|one| one.resource_name()));
            }
            if let Some(export) = exports::of_execution(conn, &execution.id).await? {
                leaves.extend(logs::leaves_about(conn, &export.id.resource_name(), &EXPORT, MOST).await?);
            }
        }
        subjects.sort_unstable();
        subjects.dedup();
        for subject in subjects {
            leaves.extend(logs::leaves_about(conn, &subject, &REGISTRATIONS, MOST).await?);
        }
        leaves.sort_unstable_by_key(|(index, _)| *index);
        Ok(leaves)
    }
}

/// Leaf 0, and what is said of the logs' keys and origins and of agents' keys, names no controller; any other leaf
/// is its subject's.
fn is_about(leaf: &[u8], controller: &ControllerId, index: u64) -> bool {
    index == 0
        || names_controller(leaf, controller)
        || crate::trail::Leaf::parse(leaf).is_ok_and(|leaf| {
            let of_all =
                ["mandate.log", "mandate.report_key."].iter().any(|kind| leaf.type_().starts_with(kind));
            leaf.subject() == controller.resource_name() || of_all
        })
}

pub(super) fn names_controller(leaf: &[u8], controller: &ControllerId) -> bool {
    crate::trail::Leaf::parse(leaf)
        .is_ok_and(|leaf| leaf.data().get("controller").and_then(|c| c.as_str()) == Some(controller.as_str()))
}

struct RecordEvidence {
    by: String,
    id: InstructionId,
    disclosures: bool,
}

#[async_trait::async_trait]
impl Command for RecordEvidence {
    const NAME: &'static str = "record_evidence";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let event = EvidenceExported { by: self.by.clone(), disclosures: self.disclosures };
        tx.append(&self.id.resource_name(), event)?;
        Ok(())
    }
}
