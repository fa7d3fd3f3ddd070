//! A controller's signed instruction comes in (DESIGN §6, I1).
//!
//! Signatures and form are checked before the writer is asked: they need no state but the
//! key set, and that is compared again under the writer. What needs state (jti, key set,
//! app, agreement, request) is decided there, at leaf time, and admission, orders and leaf
//! commit together. A refusal is a leaf too, with code, principal and a salted digest.

use std::sync::Arc;

use crate::authority::{AdmissionContext, AgreementTerms, admit};
use crate::domain::event::{InstructionAdmitted, InstructionRefused, Order};
use crate::domain::request::served_by;
use crate::domain::{
    AppId, ControllerId, ExecutionId, InstructionId, InstructionState, Reason, Refusal, RequestStage,
    RightStage, StoreId,
};
use crate::store::instructions::{self, InstructionRow, JtiRow};
use crate::store::refusals::{self, RefusalRow};
use crate::store::{Command, Issued, StoreError, Topic, Tx, executions, registry, requests};
use crate::token::{Digest, Envelope, Expected, Instruction, KeySet, SignedKeySet};
use crate::vault::{DataKey, Place, RetentionClass, Vault, commit};

use super::{App, AppResult};

/// An admitted instruction, now or at its first submission.
pub struct Submitted {
    pub row: InstructionRow,
    pub executions: Vec<ExecutionId>,
    pub receipt: Issued,
}

/// What the writer decided.
enum Decided {
    Admitted(InstructionRow, Vec<ExecutionId>),
    /// The same instruction was admitted before.
    Again(InstructionRow, Vec<ExecutionId>),
    Refused(Refusal),
    /// The key set it was verified under is no longer the newest: verify again.
    KeySetMoved,
}

impl App {
    pub async fn submit_instruction(&self, controller: &ControllerId, bytes: &[u8]) -> AppResult<Submitted> {
        // Twice at most: a key set that moves again in between is answered by its refusal.
        for last_try in [false, true] {
            let (instruction, key_set) = match self.verify(controller, bytes).await? {
                Ok(verified) => verified,
                Err(refusal) => {
                    // Within a quota: whoever sends rubbish must not fill the trail that all share.
                    if self.refusals.check_key(controller).is_err() {
                        return Err(Reason::RateLimited.into());
                    }
                    return Err(self.refuse(controller, bytes, refusal, None).await?.into());
                }
            };
            let key = self.vault.keyring().take(RetentionClass::Instruction).await?;
            let row = envelope_row(controller, &instruction.statement().jti);
            let sealed = self.vault.seal(&key, envelope_place(&row), bytes);
            let committed = self
                .store
                .transact(Admit {
                    controller: controller.clone(),
                    instruction,
                    key_set,
                    sealed,
                    key,
                    vault: self.vault.clone(),
                    received: bytes.to_vec(),
                    last_try,
                })
                .await?;
            match committed.value {
                Decided::Admitted(row, executions) => {
                    let receipt = committed.receipt.ok_or(StoreError::Corrupt("receipt"))?;
                    return Ok(Submitted { row, executions, receipt });
                }
                Decided::Again(row, executions) => {
                    let receipt = self.store.receipt(row.leaf).await?;
                    return Ok(Submitted { row, executions, receipt });
                }
                Decided::Refused(refusal) => return Err(refusal.into()),
                Decided::KeySetMoved => self.key_sets.invalidate(controller),
            }
        }
        Err(Reason::KeySetNotCurrent.into())
    }

    /// Form and signatures. The outer error is ours, the inner one the caller's.
    async fn verify(
        &self,
        controller: &ControllerId,
        bytes: &[u8],
    ) -> AppResult<Result<(Instruction, Arc<KeySet>), Refusal>> {
        let envelope = match Envelope::read(bytes) {
            Ok(envelope) => envelope,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(key_set) = self.newest_key_set(controller).await? else {
            return Ok(Err(Refusal::new(Reason::KeyUnknown).note("no key set is registered")));
        };
        let expected_aud = self.store.origins.trail();
        Ok(envelope
            .verify(&key_set)
            .and_then(|verified| verified.parse(&Expected { iss: controller, aud: &expected_aud }))
            .map(|instruction| (instruction, key_set)))
    }

    /// The controller's newest key set, parsed. May be a moment old: the writer compares.
    pub(super) async fn newest_key_set(&self, controller: &ControllerId) -> AppResult<Option<Arc<KeySet>>> {
        if let Some(cached) = self.key_sets.get(controller) {
            return Ok(Some(cached));
        }
        let rows = registry::key_sets(&mut *self.store.reader().await?, controller).await?;
        let origin = self.store.origins.trail();
        let Some(set) = chain(controller, &origin, &rows).map_err(|_| StoreError::Corrupt("key_sets"))?
        else {
            return Ok(None);
        };
        let set = Arc::new(set);
        self.key_sets.insert(controller.clone(), Arc::clone(&set));
        Ok(Some(set))
    }

    pub(super) fn forget_key_set(&self, controller: &ControllerId) {
        self.key_sets.invalidate(controller);
    }

    /// Records a refusal that used no `jti` up; gives it back to be answered.
    async fn refuse(
        &self,
        controller: &ControllerId,
        bytes: &[u8],
        refusal: Refusal,
        jti: Option<InstructionId>,
    ) -> AppResult<Refusal> {
        let command = Refuse {
            controller: controller.clone(),
            received: bytes.to_vec(),
            refusal: refusal.clone(),
            jti,
            vault: self.vault.clone(),
        };
        self.store.transact(command).await?;
        Ok(refusal)
    }
}

/// The row under which an instruction's values are sealed: its primary key.
pub(super) fn envelope_row(controller: &ControllerId, id: &InstructionId) -> String {
    format!("{controller}/{id}")
}

pub(super) fn envelope_place(row: &str) -> Place<'_> {
    Place { table: "instructions", row, column: "sealed_envelope" }
}

/// The newest set of a controller's chain, every link checked again.
fn chain(
    controller: &ControllerId,
    origin: &str,
    rows: &[registry::KeySetRow],
) -> Result<Option<KeySet>, Refusal> {
    let mut newest: Option<KeySet> = None;
    for row in rows {
        let signed = SignedKeySet::read(row.jws.as_bytes())?;
        newest = Some(match &newest {
            None => {
                let pin: Digest = row.digest.parse().map_err(|_| Refusal::new(Reason::KeySetThumbprint))?;
                signed.genesis(controller, origin, &pin)?
            }
            Some(previous) => signed.succeed(previous)?,
        });
    }
    Ok(newest)
}

struct Admit {
    controller: ControllerId,
    instruction: Instruction,
    /// The set it was verified under.
    key_set: Arc<KeySet>,
    received: Vec<u8>,
    sealed: Vec<u8>,
    key: DataKey,
    vault: Vault,
    last_try: bool,
}

/// An agreement covers every app of its controller.
fn terms_of(agreement: registry::Agreement, app: &AppId) -> AgreementTerms {
    let registry::Agreement { id: _, controller, terms, start, end } = agreement;
    AgreementTerms {
        controller,
        apps: [app.clone()].into(),
        categories: terms.categories.into_iter().collect(),
        purposes: terms.purposes.into_iter().collect(),
        stores: terms.stores.into_iter().collect(),
        regions: terms.regions.into_iter().collect(),
        valid_from: start,
        valid_until: Some(end),
    }
}

/// What an instruction that may be admitted will bring about.
struct Orders {
    stores: Vec<StoreId>,
    served: Vec<crate::domain::Right>,
}

impl Admit {
    fn jti(&self) -> InstructionId {
        self.instruction.statement().jti
    }

    /// The rules that need state. Nothing is written here.
    async fn decide(&self, tx: &mut Tx<'_>) -> Result<Result<Orders, Refusal>, StoreError> {
        let statement = self.instruction.statement();
        let owner = registry::app_owner(tx.conn(), &statement.app).await?;
        let agreements = registry::agreements_of(tx.conn(), &self.controller).await?;
        let stores = match self.judge(owner.as_ref(), agreements, tx.now_seconds()) {
            Ok(stores) => stores,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(request) = statement.req else { return Ok(Ok(Orders { stores, served: Vec::new() })) };
        let Some(case) = requests::find(tx.conn(), &self.controller, &request).await? else {
            return Ok(Err(Refusal::at(Reason::RequestUnknown, "payload.req")));
        };
        if case.app != statement.app || !case.stage.may_be_instructed() {
            return Ok(Err(
                Refusal::at(Reason::RequestUnknown, "payload.req").note("the case is of another app or over")
            ));
        }
        let rights: Vec<_> = case.rights.iter().map(|r| (r.right, r.stage)).collect();
        Ok(served_by(statement.act, &rights).map(|served| Orders { stores, served }))
    }

    /// The pure rule, under each agreement in turn: the first that covers it is enough. The stores ordered.
    fn judge(
        &self,
        owner: Option<&ControllerId>,
        agreements: Vec<registry::Agreement>,
        now: i64,
    ) -> Result<Vec<StoreId>, Refusal> {
        let newest = &*self.key_set;
        let mut answer = None;
        for agreement in agreements {
            let terms = terms_of(agreement, &self.instruction.statement().app);
            let context = AdmissionContext { newest, app_owner: owner, agreement: Some(&terms), now };
            match admit(&self.instruction, &context) {
                Ok(admission) => return Ok(admission.scope().stores.iter().cloned().collect()),
                // "Outside" says more than "none in force".
                Err(refusal) if refusal.reason == Reason::AgreementMissing && answer.is_some() => {}
                Err(refusal) => answer = Some(refusal),
            }
        }
        match answer {
            Some(refusal) => Err(refusal),
            None => {
                let context = AdmissionContext { newest, app_owner: owner, agreement: None, now };
                admit(&self.instruction, &context).and(Err(Reason::AgreementMissing.into()))
            }
        }
    }

    async fn admit(&self, tx: &mut Tx<'_>, orders: Orders) -> Result<Decided, StoreError> {
        let statement = self.instruction.statement();
        let id = statement.jti;
        let executions: Vec<Order> = orders
            .stores
            .iter()
            .map(|store| Order { execution: ExecutionId::from_uuid(tx.new_uuid()), store: store.clone() })
            .collect();
        let signed_part = self.instruction.signed_part();
        let authority_size = tx.authority_size();
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
                executions: executions.clone(),
            },
        )?;
        let row = InstructionRow {
            controller: self.controller.clone(),
            id,
            app: statement.app.clone(),
            act: statement.act,
            request: statement.req,
            digest: self.instruction.digest().to_string(),
            signed_part: signed_part.into_bytes(),
            key_set_version: statement.key_set.version,
            authority_size,
            state: InstructionState::Admitted,
            admitted_at: tx.now_seconds(),
            expires_at: statement.exp,
            leaf,
            key_id: Some(self.key.id().to_string()),
            sealed_envelope: Some(self.sealed.clone()),
        };
        instructions::insert(tx, &row).await?;
        let used = JtiRow { digest: row.digest.clone(), outcome: "admitted".into(), leaf };
        instructions::use_jti(tx, &self.controller, &id, &used).await?;
        for order in &executions {
            executions::insert(tx, &order.execution, &self.controller, &id, &order.store).await?;
            tx.wake(Topic::Orders(order.store.clone()));
        }
        if let Some(request) = statement.req {
            self.mark_request(tx, &request, &orders.served).await?;
        }
        Ok(Decided::Admitted(row, executions.into_iter().map(|o| o.execution).collect()))
    }

    async fn mark_request(
        &self,
        tx: &mut Tx<'_>,
        request: &crate::domain::RequestId,
        served: &[crate::domain::Right],
    ) -> Result<(), StoreError> {
        let Some(mut case) = requests::find(tx.conn(), &self.controller, request).await? else {
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
        requests::acknowledge_delivery(tx, &self.controller, request).await
    }

    /// The answer a used-up `jti` gets.
    async fn answer_again(&self, tx: &mut Tx<'_>, used: JtiRow) -> Result<Decided, StoreError> {
        if used.digest != self.instruction.digest().to_string() {
            let refusal = Refusal::at(Reason::JtiReused, "payload.jti");
            write_refusal(tx, &self.vault, &self.controller, &self.received, &refusal, Some(self.jti()))
                .await?;
            return Ok(Decided::Refused(refusal));
        }
        if let Some(reason) = Reason::from_code(&used.outcome) {
            return Ok(Decided::Refused(reason.into()));
        }
        let row = instructions::find(tx.conn(), &self.controller, &self.jti())
            .await?
            .ok_or(StoreError::Corrupt("jtis.outcome"))?;
        let executions = executions::of_instruction(tx.conn(), &self.controller, &self.jti()).await?;
        Ok(Decided::Again(row, executions.into_iter().map(|e| e.id).collect()))
    }
}

#[async_trait::async_trait]
impl Command for Admit {
    const NAME: &'static str = "admit_instruction";
    type Output = Decided;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Decided, StoreError> {
        if let Some(used) = instructions::jti(tx.conn(), &self.controller, &self.jti()).await? {
            return self.answer_again(tx, used).await;
        }
        let verified_under = self.instruction.verified_under();
        let head = registry::key_set_head(tx.conn(), &self.controller).await?;
        let is_newest = head.is_some_and(|(version, digest)| {
            version == verified_under.version && digest == verified_under.digest.to_string()
        });
        if !is_newest && !self.last_try {
            return Ok(Decided::KeySetMoved);
        }
        let decision =
            if is_newest { self.decide(tx).await? } else { Err(Refusal::new(Reason::KeySetNotCurrent)) };
        match decision {
            Ok(orders) => self.admit(tx, orders).await,
            Err(refusal) => {
                let leaf = write_refusal(
                    tx,
                    &self.vault,
                    &self.controller,
                    &self.received,
                    &refusal,
                    Some(self.jti()),
                )
                .await?;
                // A refused instruction stays refused: it cannot be kept to be tried again when the state suits it.
                let used = JtiRow {
                    digest: self.instruction.digest().to_string(),
                    outcome: refusal.reason.code().into(),
                    leaf,
                };
                instructions::use_jti(tx, &self.controller, &self.jti(), &used).await?;
                Ok(Decided::Refused(refusal))
            }
        }
    }
}

struct Refuse {
    controller: ControllerId,
    received: Vec<u8>,
    refusal: Refusal,
    jti: Option<InstructionId>,
    vault: Vault,
}

#[async_trait::async_trait]
impl Command for Refuse {
    const NAME: &'static str = "refuse_instruction";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        write_refusal(tx, &self.vault, &self.controller, &self.received, &self.refusal, self.jti).await?;
        Ok(())
    }
}

/// The leaf of a refusal: code, principal, and a digest that only the sealed salt can match.
async fn write_refusal(
    tx: &mut Tx<'_>,
    vault: &Vault,
    controller: &ControllerId,
    received: &[u8],
    refusal: &Refusal,
    jti: Option<InstructionId>,
) -> Result<u64, StoreError> {
    let (digest, salt) = commit(tx.entropy(), "mandate/refused-instruction/v1", received);
    let leaf = tx.append(
        &controller.resource_name(),
        InstructionRefused { reason: refusal.reason, digest: digest.to_string(), jti },
    )?;
    let key = vault.keyring().take(RetentionClass::Refusal).await?;
    let place_row = leaf.to_string();
    let place = Place { table: "refusals", row: &place_row, column: "sealed_salt" };
    let row = RefusalRow {
        leaf,
        principal: controller.resource_name(),
        reason: refusal.reason,
        key_id: Some(key.id().to_string()),
        sealed_salt: Some(vault.seal(&key, place, salt.as_bytes())),
    };
    refusals::insert(tx, &row).await?;
    Ok(leaf)
}
