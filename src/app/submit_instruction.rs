//! A controller's signed instruction comes in (DESIGN §6, I1).
//!
//! Signatures and form are checked before the writer is asked: they need no state but the
//! key set, and that is compared again under the writer. What needs state (jti, key set,
//! app, agreement, request) is decided there, at leaf time, and admission, orders and leaf
//! commit together. A refusal is a leaf too, with code, principal and a salted digest.

use std::sync::Arc;

use crate::domain::event::InstructionRefused;
use crate::domain::{ControllerId, ExecutionId, InstructionId, Reason, Refusal};
use crate::store::instructions::InstructionRow;
use crate::store::refusals::{self, RefusalRow};
use crate::store::{Command, Issued, StoreError, Tx};
use crate::token::{Envelope, Expected, Instruction, KeySet};
use crate::vault::{Place, RetentionClass, Vault, commit};

use super::admit::{Admit, Decided};
use super::{App, AppResult};

/// An instruction that was taken, now or at its first submission: admitted, or waiting for approvals.
pub struct Submitted {
    pub row: InstructionRow,
    pub executions: Vec<ExecutionId>,
    pub receipt: Issued,
}

impl App {
    pub async fn submit_instruction(&self, controller: &ControllerId, bytes: &[u8]) -> AppResult<Submitted> {
        // Twice at most: a key set that moves again in between is answered by its refusal.
        for last_try in [false, true] {
            let (instruction, key_set) = match self.verify(controller, bytes).await? {
                Ok(verified) => verified,
                // It may have been signed under a set that another gateway took in since.
                Err(_) if !last_try && self.key_set_moved(controller).await? => continue,
                Err(refusal) => {
                    if let Some(first) = self.first_answer(controller, bytes).await? {
                        return first;
                    }
                    return Err(self.refuse_within_quota(controller, bytes, refusal).await?.into());
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
                    witnesses: self.settings.witnessing.required,
                    exports_by: self.settings.exports_operated_by.clone(),
                    last_try,
                })
                .await?;
            match committed.value {
                Decided::Taken(row, executions) => {
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
            .map_err(|refusal| match refusal.reason {
                // Also of those that were signed for an origin that the trail had before.
                Reason::AudienceMismatch => refusal.note(format!("the trail's origin is {expected_aud}")),
                _ => refusal,
            })
            .map(|instruction| (instruction, key_set)))
    }

    /// Records a refusal that used no `jti` up; gives it back to be answered. Within a quota: whoever sends
    /// rubbish must not fill the trail that all share.
    pub(super) async fn refuse_within_quota(
        &self,
        controller: &ControllerId,
        bytes: &[u8],
        refusal: Refusal,
    ) -> AppResult<Refusal> {
        if self.refusals.check_key(controller).is_err() {
            return Err(Reason::RateLimited.into());
        }
        let command = Refuse {
            controller: controller.clone(),
            received: bytes.to_vec(),
            refusal: refusal.clone(),
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

struct Refuse {
    controller: ControllerId,
    received: Vec<u8>,
    refusal: Refusal,
    vault: Vault,
}

#[async_trait::async_trait]
impl Command for Refuse {
    const NAME: &'static str = "refuse_instruction";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        write_refusal(tx, &self.vault, &self.controller, &self.received, &self.refusal, None).await?;
        Ok(())
    }
}

/// The leaf of a refusal: code, principal, and a digest that only the sealed salt can match.
pub(super) async fn write_refusal(
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
