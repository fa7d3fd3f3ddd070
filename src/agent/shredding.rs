//! What the agent destroys, and when.
//!
//! An execution's keys and its package in the spool live until the trail proves
//! that its report was taken in. Mostly the answer to the report proves it.
//! Where the answer was lost, or the agent died before the shredding, nobody
//! will lease the order again; so in rounds, at the start and now and then,
//! the agent goes through all keys that are left and asks for the receipt.
//!
//! | the execution | its keys |
//! |---|---|
//! | ended, and the trail has the very report the ledger kept | go |
//! | begun, and the trail has our own report that it was refused or failed | go, and the ledger gives it up |
//! | the gateway shows no report | stay: the order is leased again |
//! | unknown to the ledger: withdrawn | go |
//!
//! A crash between any two lines leaves keys named in the notebook, and the
//! next round finishes. A key is gone before its name is, and before the package.

use std::path::Path;

use super::ledger_ends::Standing;
use super::notebook::Mark;
use super::orders::prove;
use super::sealer::Sealer;
use super::worker::Worker;
use crate::domain::event::{Event, ExecutionReported};
use crate::domain::{ExecutionId, Reason, Refusal};
use crate::grpc::v1;
use crate::token::{Report, ReportOutcome, VerifyingKey};

/// Executions in one go: between two goes an order gets its turn.
const AT_ONCE: u32 = 64;
/// Seconds from the end of one round to the next.
const PAUSE: i64 = 60;

/// How far the agent's rounds have come.
#[derive(Default)]
pub struct Rounds {
    after: Option<ExecutionId>,
    /// Not before this second.
    next: i64,
}

impl Worker {
    /// Goes on with the round, where one is due. What fails is tried again in the next.
    pub async fn make_round(&mut self) {
        if self.clock.now_seconds() < self.rounds.next {
            return;
        }
        if self.rounds.after.is_none()
            && let Err(refusal) = self.refresh().await
        {
            // Idle, it would not hear of a log's next key, which receipts may be signed with.
            tracing::debug!(%refusal, "the authority log was not read on");
        }
        match self.visit(self.rounds.after).await {
            Ok(Some(last)) => self.rounds.after = Some(last),
            done => {
                if let Err(refusal) = done {
                    tracing::warn!(%refusal, "what is to be destroyed could not all be looked through");
                }
                self.rounds = Rounds { after: None, next: self.clock.now_seconds() + PAUSE };
            }
        }
    }

    /// A whole round at once, now.
    pub(super) async fn settle_all(&mut self) -> Result<(), Refusal> {
        let mut after = None;
        loop {
            after = self.visit(after).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Visits some executions; the last of them, where more may follow.
    async fn visit(&self, after: Option<ExecutionId>) -> Result<Option<ExecutionId>, Refusal> {
        if after.is_none() {
            self.ledger.withdraw_unrecorded().await?;
            self.clear_spool().await?;
        }
        let page = self.notebook.sealed_executions(after, AT_ONCE).await?;
        for execution in &page {
            match self.end_keys(*execution).await {
                Err(refusal) if refusal.reason == Reason::Unavailable => return Err(refusal),
                // What is wrong with one does not hold up the others.
                Err(refusal) => tracing::warn!(%execution, %refusal, "its keys could not be destroyed"),
                Ok(()) => {}
            }
        }
        Ok(page.last().copied().filter(|_| page.len() == AT_ONCE as usize))
    }

    /// Destroys the execution's keys, if it is proven to be over.
    async fn end_keys(&self, execution: ExecutionId) -> Result<(), Refusal> {
        let kept = match self.ledger.standing(execution).await? {
            None => return self.settle(execution).await,
            Some(Standing::Unrecorded) => return Ok(()),
            Some(Standing::Open) => None,
            Some(Standing::Ended(kept)) => kept,
        };
        let Some(receipt) = self.gateway.report_receipt(execution).await? else { return Ok(()) };
        let reported = self.proven(execution, &receipt).await?;
        if kept.as_deref() != Some(reported.report.as_str()) {
            self.check_not_done(execution, &reported.report)?;
        }
        if kept.is_none() {
            self.ledger.give_up(execution, self.clock.now_seconds(), &reported.report).await?;
        }
        self.settle(execution).await?;
        tracing::info!(%execution, "its report had been taken in; its keys are destroyed");
        Ok(())
    }

    /// Destroys what the execution's report no longer needs.
    pub(super) async fn settle(&self, execution: ExecutionId) -> Result<(), Refusal> {
        self.sealer.shred(execution).await?;
        remove(&self.spool.join(package_name(execution))).await;
        Ok(())
    }

    /// What the trail says was reported of the execution.
    pub(super) async fn proven(
        &self,
        execution: ExecutionId,
        receipt: &v1::Receipt,
    ) -> Result<ExecutionReported, Refusal> {
        let (leaf, event, head) = prove(&receipt.leaf, &receipt.proof, &self.replica)?;
        self.see_trail(Mark::Signed, &head).await?;
        match event {
            Event::ExecutionReported(reported) if leaf.subject() == execution.resource_name() => Ok(reported),
            _ => Err(Refusal::at(Reason::TrailForked, "receipt").note("it proves another leaf")),
        }
    }

    /// Our own word that the execution was not carried out. Of one that was, the ledger has the report.
    fn check_not_done(&self, execution: ExecutionId, report: &str) -> Result<(), Refusal> {
        let own = std::iter::once(self.report_key.public()).chain(&self.former_report_key);
        let keys: Result<Vec<_>, _> = own.map(|jwk| VerifyingKey::new(jwk.clone())).collect();
        let keys = keys.map_err(|_| Reason::Internal)?;
        let keys: Vec<&VerifyingKey> = keys.iter().collect();
        let origins = self.replica.pins().trail_origins();
        let (report, _) = Report::verify_by(report, &keys, &self.agent, origins)?;
        let not_done = matches!(report.outcome, ReportOutcome::Failed | ReportOutcome::Refused);
        if report.execution == execution && not_done {
            return Ok(());
        }
        Err(Refusal::new(Reason::LedgerBehind).note("the trail has a report that the ledger has not"))
    }

    /// Removes packages, and parts of packages, that no execution waits to hand in. Between two orders
    /// none is being written.
    async fn clear_spool(&self) -> Result<(), Refusal> {
        let failed = |_| Refusal::at(Reason::StoreFailed, "spool").note("it could not be read");
        let mut folder = tokio::fs::read_dir(&self.spool).await.map_err(failed)?;
        while let Some(entry) = folder.next_entry().await.map_err(failed)? {
            let name = entry.file_name();
            let Some((name, execution)) = name.to_str().and_then(|name| Some((name, execution_of(name)?)))
            else {
                continue;
            };
            if name != package_name(execution) || !self.is_waiting(execution).await? {
                remove(&entry.path()).await;
            }
        }
        Ok(())
    }

    async fn is_waiting(&self, execution: ExecutionId) -> Result<bool, Refusal> {
        // What a contract's end returned waits while its rows go.
        let kept =
            matches!(self.ledger.standing(execution).await?, Some(Standing::Ended(_) | Standing::Open));
        Ok(kept && !self.notebook.keys_of(execution).await?.is_empty())
    }
}

/// The package's file in the spool.
pub(super) fn package_name(execution: ExecutionId) -> String {
    format!("{execution}.age")
}

/// Whose package, or part of one, a file is: `<execution>.age`, `<execution>-<number>…`.
fn execution_of(name: &str) -> Option<ExecutionId> {
    const ID: usize = 36;
    let (id, rest) = name.split_at_checked(ID)?;
    if rest.starts_with(['.', '-']) { id.parse().ok() } else { None }
}

async fn remove(path: &Path) {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(kind = ?error.kind(), "a package could not be removed from the spool");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_spool_names_its_execution_and_any_other_file_none() {
        let id = "01938a5e-0000-7000-8000-000000000001";
        let execution: ExecutionId = id.parse().unwrap();
        assert_eq!(execution_of(&package_name(execution)), Some(execution));
        assert_eq!(execution_of(&format!("{id}-0.jsonl")), Some(execution));
        for other in [
            "",
            "notes.txt",
            id,
            &format!("{id}x.age"),
            &format!("x{id}.age"),
            "数据数据数据数据数据数据.age",
        ] {
            assert_eq!(execution_of(other), None, "{other}");
        }
    }
}
