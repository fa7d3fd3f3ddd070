//! The command that takes a signed instruction in: what needs state is decided here, at leaf time.
//!
//! Many come at once, so they run together: one load of what they all are judged by, a decision each,
//! one write. An instruction that is refused, repeated, waits for approvals, revokes another or is submitted
//! twice in one batch runs by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::authority::precedent::{Precedent, precedent};
use crate::domain::event::InstructionReceived;
use crate::domain::{ControllerId, ExecutionId, InstructionId, Reason, Refusal, Stop, SubProcessorId};
use crate::store::instructions::{self, InstructionRow, JtiRow};
use crate::store::{Command, RanTogether, StoreError, Tx, executions};
use crate::token::{Instruction, KeySet};
use crate::vault::{DataKey, Vault};

use super::candidate::{Candidate, Decision, Entered, Facts, Orders};
use super::reports::settle_instruction;
use super::standing::find_at;
use super::stopping::{end_unbegun, stop};
use super::submit_instruction::write_refusal;

/// What the writer decided.
pub(super) enum Decided {
    /// It was admitted, or waits for approvals.
    Taken(InstructionRow, Vec<ExecutionId>),
    /// The same instruction was taken before.
    Again(InstructionRow, Vec<ExecutionId>),
    Refused(Refusal),
    /// The key set it was verified under is no longer the newest: verify again.
    KeySetMoved,
}

pub(super) struct Admit {
    pub controller: ControllerId,
    pub instruction: Instruction,
    /// The set it was verified under.
    pub key_set: Arc<KeySet>,
    pub received: Vec<u8>,
    pub sealed: Vec<u8>,
    pub key: DataKey,
    pub vault: Vault,
    /// How many witnesses the heads get.
    pub witnesses: usize,
    /// Who keeps the export packages.
    pub exports_by: Option<SubProcessorId>,
    pub last_try: bool,
}

/// Nobody withdraws from what comes for the first time.
static NOBODY: BTreeSet<crate::token::KeyId> = BTreeSet::new();

impl Entered {
    fn decided(self) -> Decided {
        Decided::Taken(self.row, self.executions.into_iter().map(|e| e.id).collect())
    }
}

/// Writes the rows of admissions whose leaves are in place.
async fn write(tx: &mut Tx<'_>, entered: &[Entered]) -> Result<(), StoreError> {
    instructions::insert(tx, entered.iter().map(|e| &e.row)).await?;
    instructions::use_jtis(tx, entered.iter().map(|Entered { row, .. }| used(row, "admitted"))).await?;
    executions::insert(tx, entered.iter().flat_map(|e| &e.executions)).await
}

fn used<'a>(row: &'a InstructionRow, outcome: &str) -> (&'a ControllerId, InstructionId, JtiRow) {
    let used = JtiRow { digest: row.digest.clone(), outcome: outcome.into(), leaf: row.leaf };
    (&row.controller, row.id, used)
}

/// A revocation takes back what it names, and is done with that. Nothing for any other act.
pub(super) async fn finish_revocation(
    tx: &mut Tx<'_>,
    row: &InstructionRow,
    target: Option<InstructionId>,
) -> Result<(), StoreError> {
    let Some(target) = target else { return Ok(()) };
    let target = instructions::find(tx.conn(), &row.controller, &target)
        .await?
        .ok_or(StoreError::Corrupt("instructions.target"))?;
    stop(tx, &target, Stop::Revoked).await?;
    end_unbegun(tx, &target, Stop::Revoked).await?;
    settle_instruction(tx, &row.controller, &row.id).await
}

/// The row as it stands by now.
pub(super) async fn view(tx: &mut Tx<'_>, row: InstructionRow) -> Result<InstructionRow, StoreError> {
    instructions::find(tx.conn(), &row.controller, &row.id).await?.ok_or(StoreError::Corrupt("instructions"))
}

impl Admit {
    fn jti(&self) -> InstructionId {
        self.instruction.statement().jti
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            controller: &self.controller,
            instruction: &self.instruction,
            key_set: &self.key_set,
            withdrawn: &NOBODY,
            witnesses: self.witnesses,
            exports_by: self.exports_by.as_ref(),
        }
    }

    async fn enter(&self, tx: &mut Tx<'_>, orders: &Orders) -> Result<Entered, StoreError> {
        self.candidate().enter(tx, orders, self.key.id().to_string(), self.sealed.clone()).await
    }

    /// It is good, and too few have signed.
    async fn wait(&self, tx: &mut Tx<'_>, missing: u32) -> Result<Decided, StoreError> {
        let statement = self.instruction.statement();
        let authority_size = tx.authority_size();
        let leaf = tx.append(
            &statement.jti.resource_name(),
            InstructionReceived {
                controller: self.controller.clone(),
                app: statement.app.clone(),
                act: statement.act,
                digest: self.instruction.digest().to_string(),
                signed_part: self.instruction.signed_part(),
                key_set_version: statement.key_set.version,
                key_set_digest: statement.key_set.digest.to_string(),
                authority_size,
                request: statement.req,
                missing,
            },
        )?;
        let key_id = self.key.id().to_string();
        let row = self.candidate().waiting_row(leaf, missing, authority_size, key_id, self.sealed.clone());
        instructions::insert(tx, [&row]).await?;
        instructions::use_jtis(tx, [used(&row, "waiting")]).await?;
        Ok(Decided::Taken(row, Vec::new()))
    }

    /// A refused instruction stays refused: it cannot be kept to be tried again when the state suits it.
    async fn refuse(&self, tx: &mut Tx<'_>, refusal: Refusal) -> Result<Decided, StoreError> {
        let leaf =
            write_refusal(tx, &self.vault, &self.controller, &self.received, &refusal, Some(self.jti()))
                .await?;
        let used = JtiRow {
            digest: self.instruction.digest().to_string(),
            outcome: refusal.reason.code().into(),
            leaf,
        };
        instructions::use_jtis(tx, [(&self.controller, self.jti(), used)]).await?;
        Ok(Decided::Refused(refusal))
    }

    /// The key set moved each time that it was verified. Nobody has held it against the newest: no id is used up.
    async fn give_up(&self, tx: &mut Tx<'_>) -> Result<Decided, StoreError> {
        let refusal = Refusal::new(Reason::KeySetNotCurrent);
        write_refusal(tx, &self.vault, &self.controller, &self.received, &refusal, None).await?;
        Ok(Decided::Refused(refusal))
    }

    /// The answer a used-up `jti` gets.
    async fn answer_again(&self, tx: &mut Tx<'_>, used: JtiRow) -> Result<Decided, StoreError> {
        match precedent(&self.instruction.digest(), &used.digest, &used.outcome) {
            Precedent::Taken => {}
            Precedent::Refused(reason) => return Ok(Decided::Refused(reason.into())),
            Precedent::Reused => {
                let refusal = Refusal::at(Reason::JtiReused, "payload.jti");
                write_refusal(tx, &self.vault, &self.controller, &self.received, &refusal, Some(self.jti()))
                    .await?;
                return Ok(Decided::Refused(refusal));
            }
        }
        let now = tx.now_seconds();
        let row = find_at(tx.conn(), &self.controller, &self.jti(), now)
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

    const TOGETHER: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Decided, StoreError> {
        if let Some(used) = instructions::jti(tx.conn(), &self.controller, &self.jti()).await? {
            return self.answer_again(tx, used).await;
        }
        let candidate = self.candidate();
        let facts = Facts::load(tx.conn(), std::slice::from_ref(&candidate)).await?;
        if !facts.is_newest(&candidate) {
            return if self.last_try { self.give_up(tx).await } else { Ok(Decided::KeySetMoved) };
        }
        match candidate.decide(tx, &facts).await? {
            Ok(Decision::Admit(orders)) => {
                let entered = [self.enter(tx, &orders).await?];
                write(tx, &entered).await?;
                let [mut entered] = entered;
                if orders.target.is_some() {
                    finish_revocation(tx, &entered.row, orders.target).await?;
                    entered.row = view(tx, entered.row).await?;
                }
                Ok(entered.decided())
            }
            Ok(Decision::Wait(missing)) => self.wait(tx, missing).await,
            Err(refusal) => self.refuse(tx, refusal).await,
        }
    }

    async fn run_together(
        commands: &[&Self],
        tx: &mut Tx<'_>,
    ) -> Result<Vec<Option<RanTogether<Decided>>>, StoreError> {
        let ids: Vec<_> = commands.iter().map(|c| (&c.controller, c.jti())).collect();
        // A jti that was used up, or comes twice in this batch, is answered by itself.
        let mut taken = instructions::used(tx.conn(), &ids).await?;
        let candidates: Vec<Candidate<'_>> = commands.iter().map(|c| c.candidate()).collect();
        let facts = Facts::load(tx.conn(), &candidates).await?;
        let mut entered = Vec::new();
        let mut is_in = Vec::with_capacity(commands.len());
        for (command, candidate) in commands.iter().zip(&candidates) {
            let fresh = taken.insert((command.controller.clone(), command.jti()));
            let admissible = fresh && facts.is_newest(candidate);
            let decision = if admissible { candidate.decide(tx, &facts).await?.ok() } else { None };
            let orders = match decision {
                Some(Decision::Admit(orders)) if orders.target.is_none() => Some(orders),
                _ => None,
            };
            is_in.push(orders.is_some());
            if let Some(orders) = orders {
                entered.push(command.enter(tx, &orders).await?);
            }
        }
        write(tx, &entered).await?;
        let mut entered = entered.into_iter();
        let next = |is_in: bool| if is_in { entered.next() } else { None };
        let ran = is_in.into_iter().map(next).map(|entered| {
            entered.map(|entered| RanTogether { leaf: Some(entered.row.leaf), output: entered.decided() })
        });
        Ok(ran.collect())
    }
}
