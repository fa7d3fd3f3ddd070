//! Agents lease orders (DESIGN §10, I6). The schedule and the leases are rows; a lease that
//! ran out is leased again, and what a first attempt did is found in the agent's own ledger.

use crate::domain::event::{ExecutionDeferred, ExecutionFailed, ExecutionLeased};
use crate::domain::{AgentId, ExecutionId, ExecutionState, InstructionState, Reason, Refusal, StoreId};
use crate::execution::schedule::next_delay;
use crate::store::executions::{self, ExecutionRow};
use crate::store::instructions::InstructionRow;
use crate::store::{Command, Issued, StoreError, Topic, Tx, instructions, registry};
use crate::token::{Digest, Envelope, base64url};
use crate::vault::{KeyId, RetentionClass, VaultError};

use super::key_sets::check_signers_stand;
use super::previews::{self, PreviewSeen};
use super::reports::settle_instruction;
use super::standing::{over_unbegun, stand};
use super::submit_instruction::{envelope_place, envelope_row};
use super::{App, AppResult};

/// One order, with the instruction opened for the agent.
pub struct LeasedOrder {
    pub execution: ExecutionId,
    pub store: StoreId,
    /// As received, disclosures and all. Personal data.
    pub instruction: zeroize::Zeroizing<Vec<u8>>,
    pub admission: Issued,
    pub attempt: u32,
    pub lease_token: String,
    pub lease_expires_at: i64,
    /// Of the preview that the instruction names.
    pub preview: Option<PreviewSeen>,
}

/// A lease that goes on.
pub struct Renewed {
    pub lease_expires_at: i64,
}

struct Leased {
    row: ExecutionRow,
    leaf: u64,
    key_id: String,
    sealed: Vec<u8>,
    /// What the opened instruction must be.
    digest: String,
    signed_part: Vec<u8>,
    token: String,
}

impl App {
    /// The agent's stores, as registered: what it may lease for.
    pub async fn agent_stores(&self, agent: &AgentId) -> AppResult<Vec<StoreId>> {
        let found = registry::agent(&mut self.store.reader().await?, agent).await?;
        Ok(found.ok_or_else(|| Refusal::at(Reason::NotFound, "agent"))?.stores)
    }

    /// Leases at most `max` orders that are due. Never waits.
    pub async fn lease_orders(&self, agent: &AgentId, max: u32) -> AppResult<Vec<LeasedOrder>> {
        let stores = self.agent_stores(agent).await?;
        // A look without the writer first: an idle agent costs a read.
        // What too few witnesses have seen, no agent would carry out: it waits without costing an attempt.
        let (now, covered) = (self.clock.now_seconds(), self.covered().await?);
        if executions::due(&mut self.store.reader().await?, &stores, now, covered, 1).await?.is_empty() {
            return Ok(Vec::new());
        }
        let leased = self
            .store
            .transact(Lease { agent: agent.clone(), stores, max, covered, lease: self.settings.lease })
            .await?
            .value;
        let mut orders = Vec::with_capacity(leased.len());
        for entry in leased {
            let execution = entry.row.id;
            let held = EndAltered { agent: agent.clone(), execution, token: token_digest(&entry.token) };
            match self.open_order(entry).await {
                Ok(order) => orders.push(order),
                Err(error) if is_altered(&error) => {
                    tracing::error!(%execution, %error, reason = "ORDER_ALTERED", "an order's row was edited");
                    self.store.transact(held).await?;
                }
                // The lease runs out and it is tried again: the keyring may be away.
                Err(error) => tracing::error!(%execution, %error, "an order could not be opened"),
            }
        }
        Ok(orders)
    }

    async fn open_order(&self, leased: Leased) -> AppResult<LeasedOrder> {
        let key: KeyId = leased.key_id.parse().map_err(|_| StoreError::Corrupt("instructions.key_id"))?;
        let row = envelope_row(&leased.row.controller, &leased.row.instruction);
        let instruction =
            self.vault.open(key, RetentionClass::Instruction, envelope_place(&row), &leased.sealed).await?;
        let envelope = Envelope::read(&instruction).map_err(|_| StoreError::Corrupt("sealed_envelope"))?;
        if Digest::of(envelope.payload_segment()).to_string() != leased.digest {
            return Err(StoreError::Corrupt("instructions.digest"));
        }
        if envelope.signed_part().as_bytes() != leased.signed_part {
            return Err(StoreError::Corrupt("instructions.signed_part"));
        }
        let preview = match previews::named(&envelope) {
            Some(digest) => self.preview_of(&leased.row.controller, &leased.row.store, &digest).await?,
            None => None,
        };
        Ok(LeasedOrder {
            preview,
            execution: leased.row.id,
            store: leased.row.store,
            instruction,
            admission: self.receipt(leased.leaf).await?,
            attempt: leased.row.attempt,
            lease_token: leased.token,
            lease_expires_at: leased.row.lease_expires_at.unwrap_or_default(),
        })
    }

    /// Prolongs a lease that has not run out.
    pub async fn renew_lease(
        &self,
        agent: &AgentId,
        execution: ExecutionId,
        token: &str,
    ) -> AppResult<Renewed> {
        let command =
            Renew { agent: agent.clone(), execution, token: token_digest(token), lease: self.settings.lease };
        Ok(self.store.transact(command).await?.value)
    }

    /// An attempt failed and may be tried again: when, or never.
    pub async fn defer_order(
        &self,
        agent: &AgentId,
        execution: ExecutionId,
        token: &str,
        reason: Reason,
        begun: bool,
    ) -> AppResult<Option<i64>> {
        let jitter = u64::from_be_bytes(self.entropy.array());
        let command = Defer {
            agent: agent.clone(),
            execution,
            token: token_digest(token),
            reason,
            begun,
            attempts: self.settings.attempts,
            jitter,
        };
        Ok(self.store.transact(command).await?.value)
    }

    /// The last ledger head the agent reported.
    pub async fn agent_anchor(&self, agent: &AgentId) -> AppResult<(u64, String)> {
        let found = registry::agent(&mut self.store.reader().await?, agent).await?;
        let found = found.ok_or_else(|| Refusal::at(Reason::NotFound, "agent"))?;
        Ok((found.anchor_sequence, found.anchor_head))
    }
}

/// Whether the row itself is at fault, so that no later attempt would fare better.
fn is_altered(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt(_) | StoreError::Vault(VaultError::Tampered | VaultError::Shredded))
}

/// What is stored of a lease token.
pub(super) fn token_digest(token: &str) -> String {
    Digest::of(token).to_string()
}

/// The execution, if the caller holds its lease.
pub(super) async fn held(
    tx: &mut Tx<'_>,
    agent: &AgentId,
    execution: &ExecutionId,
    token: &str,
) -> Result<ExecutionRow, StoreError> {
    let row = executions::find(tx.conn(), execution).await?.ok_or(Reason::NotFound)?;
    let is_held = row.state == ExecutionState::Leased
        && row.agent.as_ref() == Some(agent)
        && row.lease_token.as_deref() == Some(token)
        && row.lease_expires_at.is_some_and(|end| end > tx.now_seconds());
    if is_held { Ok(row) } else { Err(Reason::LeaseLost.into()) }
}

struct Lease {
    agent: AgentId,
    stores: Vec<StoreId>,
    max: u32,
    covered: Option<u64>,
    lease: i64,
}

impl Lease {
    /// Why the order may not be begun any more. What has begun, or may have, is seen through.
    async fn ended(
        &self,
        tx: &mut Tx<'_>,
        row: &ExecutionRow,
        instruction: &InstructionRow,
    ) -> Result<Option<Reason>, StoreError> {
        if !stand(row).is_unbegun() {
            return Ok(None);
        }
        if let Some(reason) = over_unbegun(instruction, tx.now_seconds()) {
            return Ok(Some(reason));
        }
        let stands = check_signers_stand(tx.conn(), instruction).await?;
        Ok(stands.err().map(|refusal| refusal.reason))
    }
}

#[async_trait::async_trait]
impl Command for Lease {
    const NAME: &'static str = "lease_orders";
    type Output = Vec<Leased>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Leased>, StoreError> {
        let now = tx.now_seconds();
        let due = executions::due(tx.conn(), &self.stores, now, self.covered, self.max).await?;
        let mut leased = Vec::with_capacity(due.len());
        for mut row in due {
            let instruction = instructions::find(tx.conn(), &row.controller, &row.instruction)
                .await?
                .ok_or(StoreError::Corrupt("executions.instruction_id"))?;
            if let Some(reason) = self.ended(tx, &row, &instruction).await? {
                give_up(tx, row, reason).await?;
                continue;
            }
            let (Some(key_id), Some(sealed)) = (instruction.key_id, instruction.sealed_envelope) else {
                give_up(tx, row, Reason::DisclosureMissing).await?;
                continue;
            };
            let token = base64url::encode(tx.entropy().array::<32>());
            row.state = ExecutionState::Leased;
            row.attempt += 1;
            row.agent = Some(self.agent.clone());
            row.lease_token = Some(token_digest(&token));
            row.lease_expires_at = Some(now + self.lease);
            executions::update(tx, &row).await?;
            tx.append(
                &row.id.resource_name(),
                ExecutionLeased { agent: self.agent.clone(), attempt: row.attempt },
            )?;
            if matches!(instruction.state, InstructionState::Admitted | InstructionState::Held) {
                instructions::set_state(
                    tx,
                    &row.controller,
                    &row.instruction,
                    InstructionState::Executing,
                    false,
                )
                .await?;
            }
            tx.wake(Topic::Execution(row.id));
            leased.push(Leased {
                leaf: instruction.leaf,
                key_id,
                sealed,
                digest: instruction.digest,
                signed_part: instruction.signed_part,
                token,
                row,
            });
        }
        Ok(leased)
    }
}

/// An order whose row was edited: it ends, and the trail says so. Also where work has begun, for nobody
/// can be told any more what was ordered.
struct EndAltered {
    agent: AgentId,
    execution: ExecutionId,
    token: String,
}

#[async_trait::async_trait]
impl Command for EndAltered {
    const NAME: &'static str = "end_altered_order";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let row = held(tx, &self.agent, &self.execution, &self.token).await?;
        give_up(tx, row, Reason::OrderAltered).await
    }
}

/// Orders that nobody had begun when their instruction ended (there is no agent, it is away, or it put them off
/// untouched), and instructions that waited for approvals until then.
pub(super) struct EndUnleased;

#[async_trait::async_trait]
impl Command for EndUnleased {
    const NAME: &'static str = "end_unleased_orders";
    type Output = usize;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<usize, StoreError> {
        let now = tx.now_seconds();
        let ended = executions::never_begun(tx.conn(), now, 200).await?;
        let count = ended.len();
        for row in ended {
            give_up(tx, row, Reason::InstructionExpired).await?;
        }
        let waited = instructions::waited_out(tx.conn(), now, 200).await?;
        for row in &waited {
            instructions::set_state(tx, &row.controller, &row.id, InstructionState::Expired, false).await?;
            settle_instruction(tx, &row.controller, &row.id).await?;
        }
        Ok(count + waited.len())
    }
}

/// No attempt is left, or none may be made.
pub(super) async fn give_up(
    tx: &mut Tx<'_>,
    mut row: ExecutionRow,
    reason: Reason,
) -> Result<(), StoreError> {
    row.state = ExecutionState::Failed;
    row.reason = Some(reason.code().into());
    row.lease_token = None;
    row.lease_expires_at = None;
    executions::update(tx, &row).await?;
    tx.append(&row.id.resource_name(), ExecutionFailed { attempt: row.attempt, reason })?;
    tx.wake(Topic::Execution(row.id));
    settle_instruction(tx, &row.controller, &row.instruction).await
}

struct Renew {
    agent: AgentId,
    execution: ExecutionId,
    token: String,
    lease: i64,
}

#[async_trait::async_trait]
impl Command for Renew {
    const NAME: &'static str = "renew_lease";
    type Output = Renewed;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Renewed, StoreError> {
        let mut row = held(tx, &self.agent, &self.execution, &self.token).await?;
        let instruction = instructions::find(tx.conn(), &row.controller, &row.instruction).await?;
        if instruction.is_some_and(|instruction| instruction.state.is_stopped()) {
            // The agent stops before its lease ends; what it did until then it tells at its next attempt.
            return Err(Reason::LeaseLost.into());
        }
        let lease_expires_at = tx.now_seconds() + self.lease;
        row.lease_expires_at = Some(lease_expires_at);
        executions::update(tx, &row).await?;
        Ok(Renewed { lease_expires_at })
    }
}

struct Defer {
    agent: AgentId,
    execution: ExecutionId,
    token: String,
    reason: Reason,
    /// Work has begun: what was touched is seen through, however long it takes.
    begun: bool,
    /// How often what was not may be tried.
    attempts: u32,
    jitter: u64,
}

#[async_trait::async_trait]
impl Command for Defer {
    const NAME: &'static str = "defer_order";
    type Output = Option<i64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<i64>, StoreError> {
        let mut row = held(tx, &self.agent, &self.execution, &self.token).await?;
        row.begun |= self.begun;
        let over = if row.begun { None } else { self.over(tx, &row).await? };
        if !row.begun && over.is_none() && row.attempt >= self.attempts {
            give_up(tx, row, self.reason).await?;
            return Ok(None);
        }
        let next = tx.now_seconds() + next_delay(row.attempt, self.jitter).as_secs().cast_signed();
        let attempt = row.attempt;
        row.state = ExecutionState::Pending;
        row.reason = Some(self.reason.code().into());
        row.next_attempt_at = next;
        row.lease_token = None;
        row.lease_expires_at = None;
        executions::update(tx, &row).await?;
        tx.append(
            &row.id.resource_name(),
            ExecutionDeferred {
                agent: self.agent.clone(),
                attempt,
                reason: self.reason,
                next,
                begun: self.begun,
            },
        )?;
        if let Some(reason) = over {
            let row = executions::find(tx.conn(), &row.id).await?.ok_or(StoreError::Corrupt("executions"))?;
            give_up(tx, row, reason).await?;
            return Ok(None);
        }
        tx.wake(Topic::Execution(row.id));
        settle_instruction(tx, &row.controller, &row.instruction).await?;
        Ok(Some(next))
    }
}

impl Defer {
    /// Why there will be no other attempt at what is untouched, if there will be none.
    async fn over(&self, tx: &mut Tx<'_>, row: &ExecutionRow) -> Result<Option<Reason>, StoreError> {
        let instruction = instructions::find(tx.conn(), &row.controller, &row.instruction)
            .await?
            .ok_or(StoreError::Corrupt("executions.instruction_id"))?;
        Ok(over_unbegun(&instruction, tx.now_seconds()))
    }
}
