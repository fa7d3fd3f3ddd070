//! Further signatures over an instruction that waits (DESIGN §6): approvals, and withdrawals of what was signed.
//!
//! Whoever approves shows the disclosures: nobody approves what he cannot see. With the signature that completes
//! the threshold the instruction is judged as if it had come whole at that leaf, and admitted there. A signer who
//! withdrew does not count for this instruction again: otherwise his old signature could be brought back.

use std::sync::Arc;

use crate::authority::precedent::Signed;
use crate::domain::event::{ApprovalGiven, ApprovalWithdrawn, InstructionEnded, SignatureWithdrawn};
use crate::domain::{ControllerId, InstructionId, InstructionState, Reason, Refusal, SubProcessorId};
use crate::store::instructions::{self, InstructionRow};
use crate::store::{Command, StoreError, Tx, executions, key_sets};
use crate::token::{Detached, Envelope, Expected, Instruction, KeySet, Says, Signer};
use crate::vault::{DataKey, KeyId, RetentionClass, Vault};

use super::admit::{finish_revocation, view};
use super::candidate::{Candidate, Decision, Facts};
use super::standing::{self, find_at};
use super::submit_instruction::{envelope_place, envelope_row, write_refusal};
use super::{App, AppResult, Submitted};

/// A signature over the payload of an instruction that waits.
pub struct Countersignature {
    pub controller: ControllerId,
    pub id: InstructionId,
    /// Both parts as in JWS General JSON.
    pub protected: String,
    pub signature: String,
}

/// What the writer decided.
enum Decided {
    Done(Box<InstructionRow>),
    Refused(Refusal),
    KeySetMoved,
}

impl App {
    /// One more signer orders what waits. The same again changes nothing.
    pub async fn approve_instruction(
        &self,
        given: Countersignature,
        disclosures: Vec<String>,
    ) -> AppResult<Submitted> {
        let Countersignature { controller, id, .. } = &given;
        for last_try in [false, true] {
            let row = self.own_row(controller, id).await?;
            let read = Detached::read(Says::Approved, &given.protected, &given.signature);
            let key_set = self.newest_key_set(controller).await?.ok_or(Reason::NotFound)?;
            let origin = self.store.origins.trail();
            let whole = read.and_then(|approval| {
                approved(&row, &approval, disclosures.clone(), &key_set, &origin).map(|_| approval)
            });
            let approval = match whole {
                Ok(approval) => approval,
                Err(_) if !last_try && self.key_set_moved(controller).await? => continue,
                Err(_) if self.counted_before(&row, &given, &disclosures).await? => {
                    return self.submitted(row).await;
                }
                Err(refusal) => return Err(self.refuse_signature(&given, refusal).await?.into()),
            };
            if signed(&row).counts(&approval.kid(), &key_set, stored(&row)?.kids()) {
                return self.submitted(row).await;
            }
            let key_id: KeyId = match &row.key_id {
                Some(key_id) => key_id.parse().map_err(|_| StoreError::Corrupt("instructions.key_id"))?,
                None => return Err(Reason::StageConflict.into()),
            };
            let command = Approve {
                controller: controller.clone(),
                id: *id,
                approval,
                disclosures: disclosures.clone(),
                key_set,
                origin,
                key: self.vault.keyring().key(key_id, RetentionClass::Instruction).await?,
                vault: self.vault.clone(),
                witnesses: self.settings.witnessing.required,
                exports_by: self.settings.exports_operated_by.clone(),
                last_try,
            };
            match self.store.transact(command).await?.value {
                Decided::Done(row) => return self.submitted(*row).await,
                Decided::Refused(refusal) => return Err(refusal.into()),
                Decided::KeySetMoved => self.forget_key_set(controller),
            }
        }
        Err(Reason::KeySetNotCurrent.into())
    }

    /// A signer takes back what he signed, before enough had signed. The same again changes nothing.
    pub async fn withdraw_approval(&self, given: Countersignature) -> AppResult<Submitted> {
        let Countersignature { controller, id, .. } = &given;
        for last_try in [false, true] {
            let row = self.own_row(controller, id).await?;
            let key_set = self.newest_key_set(controller).await?.ok_or(Reason::NotFound)?;
            let verified =
                Detached::read(Says::Withdrawn, &given.protected, &given.signature).and_then(|read| {
                    signed(&row).check_set(&key_set)?;
                    read.verify(&stored(&row)?, &key_set).map(|signer| (read, signer))
                });
            let (withdrawal, signer) = match verified {
                Ok(verified) => verified,
                Err(_) if !last_try && self.key_set_moved(controller).await? => continue,
                Err(_) if self.taken_back_before(&row, &given).await? => return self.submitted(row).await,
                Err(refusal) => return Err(self.refuse_signature(&given, refusal).await?.into()),
            };
            let command = Withdraw { controller: controller.clone(), id: *id, withdrawal, signer, key_set };
            match self.store.transact(command).await?.value {
                Decided::Done(row) => return self.submitted(*row).await,
                Decided::Refused(refusal) => return Err(refusal.into()),
                Decided::KeySetMoved => self.forget_key_set(controller),
            }
        }
        Err(Reason::KeySetNotCurrent.into())
    }

    async fn own_row(&self, controller: &ControllerId, id: &InstructionId) -> AppResult<InstructionRow> {
        let row = instructions::find(&mut self.store.reader().await?, controller, id).await?;
        Ok(row.ok_or(Reason::NotFound)?)
    }

    pub(super) async fn submitted(&self, row: InstructionRow) -> AppResult<Submitted> {
        let mut conn = self.store.reader().await?;
        let executions = executions::of_instruction(&mut conn, &row.controller, &row.id).await?;
        let receipt = self.store.receipt(row.leaf).await?;
        let row = standing::at(row, &executions, self.clock.now_seconds());
        Ok(Submitted { executions: executions.into_iter().map(|e| e.id).collect(), receipt, row })
    }

    async fn refuse_signature(&self, given: &Countersignature, refusal: Refusal) -> AppResult<Refusal> {
        let received = format!("{}..{}", given.protected, given.signature);
        self.refuse_within_quota(&given.controller, received.as_bytes(), refusal).await
    }
}

/// What is kept of the instruction, without its disclosures.
pub(super) fn stored(row: &InstructionRow) -> Result<Envelope, Refusal> {
    Envelope::read_signed_part(&row.signed_part).map_err(|_| Reason::Internal.into())
}

/// Whether the set that the signature was held against is the newest: another gateway may have taken in the next.
async fn is_newest(tx: &mut Tx<'_>, controller: &ControllerId, set: &KeySet) -> Result<bool, StoreError> {
    let heads = key_sets::key_set_heads(tx.conn(), &[controller].into()).await?;
    Ok(heads.get(controller).is_some_and(|(_, digest)| *digest == set.digest().to_string()))
}

pub(super) fn signed(row: &InstructionRow) -> Signed<'_> {
    Signed { state: row.state, key_set_version: row.key_set_version, withdrawn: &row.withdrawn }
}

/// The instruction with the approval, every signature and disclosure checked.
pub(super) fn approved(
    row: &InstructionRow,
    approval: &Detached,
    disclosures: Vec<String>,
    set: &KeySet,
    origin: &str,
) -> Result<(Instruction, Signer), Refusal> {
    signed(row).check_set(set)?;
    let envelope = stored(row)?;
    let signer = approval.verify(&envelope, set)?;
    let expected = Expected { iss: &row.controller, aud: origin };
    let whole = envelope.approved(approval).disclosing(disclosures).verify(set)?.parse(&expected)?;
    Ok((whole, signer))
}

struct Approve {
    controller: ControllerId,
    id: InstructionId,
    approval: Detached,
    /// Personal data.
    disclosures: Vec<String>,
    key_set: Arc<KeySet>,
    origin: String,
    /// The instruction's own.
    key: DataKey,
    vault: Vault,
    witnesses: usize,
    exports_by: Option<SubProcessorId>,
    last_try: bool,
}

impl Approve {
    async fn refuse(&self, tx: &mut Tx<'_>, refusal: Refusal) -> Result<Decided, StoreError> {
        let received = self.approval.to_text();
        write_refusal(tx, &self.vault, &self.controller, received.as_bytes(), &refusal, None).await?;
        Ok(Decided::Refused(refusal))
    }
}

#[async_trait::async_trait]
impl Command for Approve {
    const NAME: &'static str = "approve_instruction";
    type Output = Decided;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Decided, StoreError> {
        let now = tx.now_seconds();
        let row = find_at(tx.conn(), &self.controller, &self.id, now).await?.ok_or(Reason::NotFound)?;
        if signed(&row).counts(&self.approval.kid(), &self.key_set, stored(&row)?.kids()) {
            // Counted before, also where it was written down in other bytes.
            return Ok(Decided::Done(row.into()));
        }
        if !is_newest(tx, &self.controller, &self.key_set).await? {
            if !self.last_try {
                return Ok(Decided::KeySetMoved);
            }
            return self.refuse(tx, Refusal::at(Reason::KeySetNotCurrent, "name")).await;
        }
        if let Err(refusal) = signed(&row).check_waits() {
            return self.refuse(tx, refusal).await;
        }
        let (whole, signer) =
            match approved(&row, &self.approval, self.disclosures.clone(), &self.key_set, &self.origin) {
                Ok(whole) => whole,
                Err(refusal) => return self.refuse(tx, refusal).await,
            };
        if let Err(refusal) = signed(&row).check_approver(&signer, &self.key_set) {
            return self.refuse(tx, refusal).await;
        }
        let candidate = Candidate {
            controller: &self.controller,
            instruction: &whole,
            key_set: &self.key_set,
            withdrawn: &row.withdrawn,
            witnesses: self.witnesses,
            exports_by: self.exports_by.as_ref(),
        };
        let facts = Facts::load(tx.conn(), std::slice::from_ref(&candidate)).await?;
        let decision = match candidate.decide(tx, &facts).await? {
            Ok(decision) => decision,
            Err(refusal) => return self.refuse(tx, refusal).await,
        };
        let missing = if let Decision::Wait(missing) = &decision { *missing } else { 0 };
        let given = ApprovalGiven {
            controller: self.controller.clone(),
            digest: row.digest.clone(),
            approval: self.approval.to_text(),
            missing,
        };
        tx.append(&self.id.resource_name(), given)?;
        let Decision::Admit(orders) = decision else {
            let signed_part = whole.signed_part().into_bytes();
            let row = InstructionRow { signed_part, missing, ..row };
            instructions::update_waiting(tx, &row).await?;
            return Ok(Decided::Done(row.into()));
        };
        let place_row = envelope_row(&self.controller, &self.id);
        let wire = zeroize::Zeroizing::new(whole.envelope().to_wire());
        let sealed = self.vault.seal(&self.key, envelope_place(&place_row), wire.as_bytes());
        let entered = candidate.enter(tx, &orders, self.key.id().to_string(), sealed).await?;
        instructions::update_waiting(tx, &entered.row).await?;
        executions::insert(tx, &entered.executions).await?;
        finish_revocation(tx, &entered.row, orders.target).await?;
        Ok(Decided::Done(view(tx, entered.row).await?.into()))
    }
}

struct Withdraw {
    controller: ControllerId,
    id: InstructionId,
    withdrawal: Detached,
    signer: Signer,
    key_set: Arc<KeySet>,
}

#[async_trait::async_trait]
impl Command for Withdraw {
    const NAME: &'static str = "withdraw_approval";
    type Output = Decided;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Decided, StoreError> {
        let now = tx.now_seconds();
        let row = find_at(tx.conn(), &self.controller, &self.id, now).await?.ok_or(Reason::NotFound)?;
        if !is_newest(tx, &self.controller, &self.key_set).await? {
            return Ok(Decided::KeySetMoved);
        }
        let envelope = stored(&row)?;
        let own = signed(&row).taken_back_by(&self.signer, &self.key_set, envelope.kids())?;
        if own.is_empty() {
            return Ok(Decided::Done(row.into()));
        }
        let rest = envelope.without(&own);
        let missing = match &rest {
            Some(rest) => self.missing(&row, rest)?,
            None => row.missing,
        };
        let text = self.withdrawal.to_text();
        let authority_index = tx.append_authority(
            &self.id.resource_name(),
            SignatureWithdrawn {
                controller: self.controller.clone(),
                digest: row.digest.clone(),
                withdrawal: text.clone(),
            },
        )?;
        tx.append(
            &self.id.resource_name(),
            ApprovalWithdrawn {
                controller: self.controller.clone(),
                digest: row.digest.clone(),
                withdrawal: text,
                missing,
                is_last: rest.is_none(),
                authority_index,
            },
        )?;
        let mut row = InstructionRow { missing, ..row };
        row.withdrawn.insert(self.withdrawal.kid());
        match rest {
            Some(rest) => row.signed_part = rest.signed_part().into_bytes(),
            // Nobody orders it any more.
            None => row.state = InstructionState::Revoked,
        }
        instructions::update_waiting(tx, &row).await?;
        if row.state == InstructionState::Revoked {
            instructions::set_state(tx, &self.controller, &self.id, row.state, true).await?;
            let state = row.state.to_string();
            let ended = InstructionEnded { controller: self.controller.clone(), state };
            tx.append(&self.id.resource_name(), ended)?;
        }
        Ok(Decided::Done(row.into()))
    }
}

impl Withdraw {
    /// So many more than were missing before, as distinct signers left.
    fn missing(&self, row: &InstructionRow, rest: &Envelope) -> Result<u32, StoreError> {
        let distinct = |envelope: &Envelope| {
            let signers: std::collections::BTreeSet<&str> = envelope
                .kids()
                .filter_map(|kid| self.key_set.key(&kid))
                .map(|key| key.signer.as_str())
                .collect();
            signers.len()
        };
        let left = distinct(&stored(row)?) - distinct(rest);
        Ok(row.missing + u32::try_from(left).unwrap_or(0))
    }
}
