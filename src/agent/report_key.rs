//! The agent's report key is replaced by one that it vouches for (`mandate key rotate report`).
//!
//! | file | is |
//! |---|---|
//! | `<report_key>` | the key that signs |
//! | `<report_key>.next` | made, and not yet the key that signs |
//! | `<report_key>.former` | signs no more; what it signed may still be on its way |
//!
//! The agent is stopped meanwhile. That a key is taken is believed when the trail proves it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::AgentConfig;
use super::ledger_ends::Standing;
use super::orders::prove;
use super::service::{self, AgentError, close};
use super::worker::Worker;
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::domain::event::Event;
use crate::domain::{ExecutionId, Reason, Refusal};
use crate::grpc::v1;
use crate::token::{KeyId, PrivateKey, Report, ReportKeySuccession, VerifyingKey};

/// Executions looked at in one go.
const PAGE: u32 = 256;

/// `<report_key>.next`, `<report_key>.former`.
pub fn beside(report_key: &Path, rest: &str) -> PathBuf {
    let mut name = report_key.as_os_str().to_owned();
    name.push(rest);
    name.into()
}

/// The agent's things in one hand, while no agent works with them.
pub struct Desk(Worker);

impl Desk {
    /// Refuses (`in use`) while the agent runs.
    pub async fn open(config: &AgentConfig) -> Result<Self, AgentError> {
        let mut worker = service::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
        if let Err(refusal) = worker.refresh().await {
            close(worker, Ok(())).await?;
            return Err(refusal.into());
        }
        Ok(Self(worker))
    }

    pub async fn close(self) -> Result<(), AgentError> {
        close(self.0, Ok(())).await
    }

    /// Of the key that signs now.
    pub fn key(&self) -> KeyId {
        self.0.report_key.id()
    }

    /// The key that signs now vouches for `next`, and the trail says so.
    pub async fn vouch(&self, next: &PrivateKey) -> Result<(), Refusal> {
        let worker = &self.0;
        let (origin, now) = (&worker.replica.pins().trail.origin, worker.clock.now_seconds());
        let succession = ReportKeySuccession::sign(&worker.agent, origin, now, &worker.report_key, next)?;
        let receipt = worker.gateway.vouch_report_key(succession).await?;
        match self.proven(&receipt)? {
            Event::ReportKeyVouched(told) if told.report_key == next.id().to_string() => Ok(()),
            _ => Err(other_leaf()),
        }
    }

    /// Only the key that signs now is in force from here on, and the trail says so.
    pub async fn retire_former(&self) -> Result<(), Refusal> {
        let in_force = self.key().to_string();
        let receipt = self.0.gateway.retire_report_key(in_force.clone()).await?;
        match self.proven(&receipt)? {
            Event::ReportKeyRetired(told) if told.in_force == in_force => Ok(()),
            _ => Err(other_leaf()),
        }
    }

    fn proven(&self, receipt: &v1::Receipt) -> Result<Event, Refusal> {
        let (leaf, event, _) = prove(&receipt.leaf, &receipt.proof, &self.0.replica)?;
        if leaf.subject() == self.0.agent.resource_name() { Ok(event) } else { Err(other_leaf()) }
    }

    /// Executions whose report by another key than the present one is not known to be taken in. What the gateway
    /// has taken is settled first.
    pub async fn reports_under_way(&mut self) -> Result<Vec<ExecutionId>, Refusal> {
        self.0.settle_all().await?;
        let mut waiting = Vec::new();
        let mut after = None;
        loop {
            let page = self.0.notebook.sealed_executions(after, PAGE).await?;
            for execution in &page {
                if self.is_by_former(*execution).await? {
                    waiting.push(*execution);
                }
            }
            match page.last() {
                Some(last) => after = Some(*last),
                None => return Ok(waiting),
            }
        }
    }

    async fn is_by_former(&self, execution: ExecutionId) -> Result<bool, Refusal> {
        let Some(Standing::Ended(Some(report))) = self.0.ledger.standing(execution).await? else {
            return Ok(false);
        };
        let key = VerifyingKey::new(self.0.report_key.public().clone()).map_err(|_| Reason::Internal)?;
        let origins = self.0.replica.pins().trail_origins();
        Ok(Report::verify_by(&report, &[&key], &self.0.agent, origins).is_err())
    }
}

fn other_leaf() -> Refusal {
    Refusal::at(Reason::TrailForked, "receipt").note("it proves another leaf")
}
