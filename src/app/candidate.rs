//! An instruction before the writer: what it comes to, and what is written where it is good.
//!
//! The same for one that arrives whole and for one that an approval completes: nothing that was decided
//! before counts, everything is judged at the leaf.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::authority::admission::{AdmissionContext, Judged, held_until, judge};
use crate::authority::precedent::{Case, check_case, check_target};
use crate::authority::{AgreementTerms, Scope, Sinks};
use crate::domain::event::{InstructionAdmitted, Order};
use crate::domain::{
    Act, AppId, ControllerId, ExecutionId, InstructionId, InstructionState, Reason, Refusal, RequestId,
    RequestStage, Right, RightStage, StoreId, SubProcessorId,
};
use crate::store::executions::NewExecution;
use crate::store::instructions::InstructionRow;
use crate::store::{Conn, StoreError, Topic, Tx, key_sets, registry, requests, sub_processors};
use crate::token::{Instruction, KeyId, KeySet};

use super::standing::find_at;

/// An instruction with all the signatures it has so far.
pub(super) struct Candidate<'a> {
    pub controller: &'a ControllerId,
    pub instruction: &'a Instruction,
    /// The set it was verified under.
    pub key_set: &'a KeySet,
    /// Keys whose signers took their signatures back.
    pub withdrawn: &'a BTreeSet<KeyId>,
    /// How many witnesses this gateway's heads get.
    pub witnesses: usize,
    /// Who keeps this gateway's export packages, where it is not PPIO itself.
    pub exports_by: Option<&'a SubProcessorId>,
}

/// What it comes to.
pub(super) enum Decision {
    Admit(Orders),
    /// It is good, and so many distinct signers are missing.
    Wait(u32),
}

/// What an instruction that may be admitted will bring about.
pub(super) struct Orders {
    stores: BTreeSet<StoreId>,
    /// Whom that reaches in PPIO's stead.
    sub_processors: BTreeSet<SubProcessorId>,
    served: Vec<Right>,
    /// What a `revoke` takes back.
    pub target: Option<InstructionId>,
}

/// What instructions are judged by, read under the writer.
pub(super) struct Facts {
    owners: HashMap<AppId, ControllerId>,
    agreements: Vec<registry::Agreement>,
    /// Version and digest of each controller's newest key set.
    key_sets: HashMap<ControllerId, (u64, String)>,
    sinks: Sinks,
}

impl Facts {
    pub(super) async fn load(conn: &mut Conn, candidates: &[Candidate<'_>]) -> Result<Facts, StoreError> {
        let apps: HashSet<&AppId> = candidates.iter().map(|c| &c.instruction.statement().app).collect();
        let controllers: HashSet<&ControllerId> = candidates.iter().map(|c| c.controller).collect();
        Ok(Facts {
            owners: registry::app_owners(conn, &apps).await?,
            agreements: registry::agreements_of(conn, &controllers).await?,
            key_sets: key_sets::key_set_heads(conn, &controllers).await?,
            sinks: Sinks {
                stores: sub_processors::operators(conn).await?,
                exports: candidates.first().and_then(|one| one.exports_by.cloned()),
            },
        })
    }

    /// Whether the set that the instruction was verified under is still the newest.
    pub(super) fn is_newest(&self, candidate: &Candidate<'_>) -> bool {
        let under = candidate.instruction.verified_under();
        self.key_sets
            .get(candidate.controller)
            .is_some_and(|(version, digest)| *version == under.version && *digest == under.digest.to_string())
    }
}

/// An agreement covers every app of its controller.
fn terms_of(agreement: &registry::Agreement, app: &AppId, sinks: &Sinks) -> AgreementTerms {
    let registry::Agreement { id: _, controller, terms, start, end } = agreement;
    AgreementTerms {
        controller: controller.clone(),
        apps: [app.clone()].into(),
        categories: terms.categories.iter().copied().collect(),
        stores: terms.stores.iter().cloned().collect(),
        regions: terms.regions.iter().cloned().collect(),
        sub_processors: terms.sub_processors.iter().cloned().collect(),
        sinks: sinks.clone(),
        valid_from: *start,
        valid_until: Some(*end),
    }
}

/// An admission with its leaf in place, its rows still to be written.
pub(super) struct Entered {
    pub row: InstructionRow,
    pub executions: Vec<NewExecution>,
}

impl Candidate<'_> {
    pub(super) fn jti(&self) -> InstructionId {
        self.instruction.statement().jti
    }

    /// The rules that need state. Nothing is written here.
    pub(super) async fn decide(
        &self,
        tx: &mut Tx<'_>,
        facts: &Facts,
    ) -> Result<Result<Decision, Refusal>, StoreError> {
        let statement = self.instruction.statement();
        let case = match &statement.req {
            Some(request) => requests::find(tx.conn(), self.controller, request).await?,
            None => None,
        };
        let minor = case.as_ref().is_some_and(|case| case.guardian);
        let judged = match self.judge(facts, minor, tx.now_seconds()) {
            Ok(judged) => judged,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let rights: Vec<_> = case.iter().flat_map(|case| &case.rights).map(|r| (r.right, r.stage)).collect();
        let case = case.as_ref().map(|case| Case { app: &case.app, stage: case.stage, rights: &rights });
        let served = match check_case(statement, case) {
            Ok(served) => served,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = self.check_target(tx).await? {
            return Ok(Err(refusal));
        }
        Ok(Ok(match judged {
            Judged::Waits(waiting) => Decision::Wait(waiting.missing),
            Judged::Good(admission) => {
                let Scope { stores, sub_processors, categories: _ } = admission.scope().clone();
                Decision::Admit(Orders { stores, sub_processors, served, target: statement.target })
            }
        }))
    }

    /// What a `revoke` names is the controller's own, and there is something left to take back.
    async fn check_target(&self, tx: &mut Tx<'_>) -> Result<Result<(), Refusal>, StoreError> {
        let statement = self.instruction.statement();
        let Some(target) = &statement.target else { return Ok(Ok(())) };
        let now = tx.now_seconds();
        let found = find_at(tx.conn(), self.controller, target, now).await?;
        Ok(check_target(statement, found.as_ref().map(|row| (&row.app, row.state))))
    }

    /// The agreements it may be judged under. What returns all that was entrusted, under whichever agreement, is
    /// judged under all of them as one.
    fn covering(&self, facts: &Facts) -> Vec<AgreementTerms> {
        let statement = self.instruction.statement();
        let own = facts.agreements.iter().filter(|a| a.controller == *self.controller);
        let own = own.map(|agreement| terms_of(agreement, &statement.app, &facts.sinks));
        match statement.act {
            Act::ReturnAndErase => AgreementTerms::joined(own).into_iter().collect(),
            _ => own.collect(),
        }
    }

    /// The pure rule, under each agreement in turn: the first that covers it is enough.
    fn judge(&self, facts: &Facts, minor: bool, now: i64) -> Result<Judged, Refusal> {
        let without = self.withdrawn.iter().filter_map(|kid| self.key_set.key(kid));
        let without: BTreeSet<&str> = without.map(|key| key.signer.as_str()).collect();
        let app = &self.instruction.statement().app;
        let context = AdmissionContext {
            newest: self.key_set,
            app_owner: facts.owners.get(app),
            agreement: None,
            now,
            minor,
            without: &without,
            witnesses: self.witnesses,
        };
        let mut answer = None;
        for terms in self.covering(facts) {
            match judge(self.instruction, &AdmissionContext { agreement: Some(&terms), ..context }) {
                Ok(judged) => return Ok(judged),
                // "Outside" says more than "none in force".
                Err(refusal) if refusal.reason == Reason::AgreementMissing && answer.is_some() => {}
                Err(refusal) => answer = Some(refusal),
            }
        }
        match answer {
            Some(refusal) => Err(refusal),
            None => judge(self.instruction, &context),
        }
    }

    /// The row of one that waits, its leaf in place.
    pub(super) fn waiting_row(
        &self,
        leaf: u64,
        missing: u32,
        authority_size: u64,
        key_id: String,
        sealed: Vec<u8>,
    ) -> InstructionRow {
        let statement = self.instruction.statement();
        InstructionRow {
            controller: self.controller.clone(),
            id: statement.jti,
            app: statement.app.clone(),
            act: statement.act,
            request: statement.req,
            digest: self.instruction.digest().to_string(),
            signed_part: self.instruction.signed_part().into_bytes(),
            key_set_version: statement.key_set.version,
            authority_size,
            state: InstructionState::Waiting,
            admitted_at: 0,
            expires_at: statement.exp,
            leaf,
            missing,
            withdrawn: BTreeSet::new(),
            held_until: None,
            ground: None,
            key_id: Some(key_id),
            sealed_envelope: Some(sealed),
        }
    }

    /// Appends the leaf, marks the case, and says what rows are to be written.
    pub(super) async fn enter(
        &self,
        tx: &mut Tx<'_>,
        orders: &Orders,
        key_id: String,
        sealed: Vec<u8>,
    ) -> Result<Entered, StoreError> {
        let statement = self.instruction.statement();
        let id = statement.jti;
        let executions: Vec<Order> = orders
            .stores
            .iter()
            .map(|store| Order { execution: ExecutionId::from_uuid(tx.new_uuid()), store: store.clone() })
            .collect();
        let signed_part = self.instruction.signed_part();
        let authority_size = tx.authority_size();
        let now = tx.now_seconds();
        let leaf = tx.append(
            &id.resource_name(),
            InstructionAdmitted {
                controller: self.controller.clone(),
                app: statement.app.clone(),
                act: statement.act,
                digest: self.instruction.digest().to_string(),
                signed_part: signed_part.clone(),
                key_set_version: statement.key_set.version,
                key_set_digest: statement.key_set.digest.to_string(),
                authority_size,
                request: statement.req,
                target: orders.target,
                executions: executions.clone(),
                sub_processors: orders.sub_processors.iter().cloned().collect(),
            },
        )?;
        let from = held_until(statement, now, self.key_set);
        let held = from > now && !executions.is_empty();
        let row = InstructionRow {
            state: if held { InstructionState::Held } else { InstructionState::Admitted },
            admitted_at: now,
            held_until: held.then_some(from),
            withdrawn: self.withdrawn.clone(),
            ..self.waiting_row(leaf, 0, authority_size, key_id, sealed)
        };
        for order in &executions {
            tx.wake(Topic::Orders(order.store.clone()));
        }
        if let Some(request) = statement.req {
            self.mark_request(tx, &request, &orders.served).await?;
        }
        let executions = executions
            .into_iter()
            .map(|Order { execution, store }| NewExecution {
                id: execution,
                controller: self.controller.clone(),
                instruction: id,
                store,
                not_before: from.max(now),
            })
            .collect();
        Ok(Entered { row, executions })
    }

    async fn mark_request(
        &self,
        tx: &mut Tx<'_>,
        request: &RequestId,
        served: &[Right],
    ) -> Result<(), StoreError> {
        let Some(mut case) = requests::find(tx.conn(), self.controller, request).await? else {
            return Err(StoreError::Corrupt("requests"));
        };
        for right in case.rights.iter_mut().filter(|r| served.contains(&r.right)) {
            right.stage = RightStage::Instructed;
            right.instruction = Some(self.jti().to_string());
            requests::set_right(tx, request, &right.clone()).await?;
        }
        if !served.is_empty() {
            case.stage = RequestStage::Instructed;
        }
        case.acknowledged_at.get_or_insert(tx.now_seconds());
        requests::update(tx, &case).await?;
        requests::acknowledge_delivery(tx, self.controller, request).await
    }
}
