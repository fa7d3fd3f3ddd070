//! The end of a contract: all that the store holds of one tenant is returned,
//! then erased (PIPL 21, GDPR 28(3)(g)).
//!
//! There is no person here and no walk: which rows are the tenant's, the tenant
//! predicate alone says. The dangerous lines, and what survives a crash there:
//!
//! 1. Every row is written into the package, and its key noted, sealed, a page
//!    at a time ([`returning`](super::returning)). Nothing was touched; a repeat begins anew.
//! 2. The return is recorded. From here on the same package and the same rows
//!    count, however often the agent dies.
//! 3. The gateway says that it has the whole package, durably. Before that no
//!    row goes. Cut off here, it is handed over again.
//! 4. The ledger notes that, and only then are rows deleted, dependents first,
//!    in batches as an erasure's ([`clearing`](super::clearing)): what was intended and is absent counts as
//!    deleted by us.
//! 5. What is left of the tenant is looked through ([`leftover`](super::leftover)). Where nothing was to be
//!    returned, rows that came in meanwhile go in further rounds. Where something was, they lie in no package
//!    and stay: the act ends partial, never complete.
//! 6. The outcome is stored and the sealed keys are overwritten.

use std::path::Path;

use async_trait::async_trait;

use super::clearing::clear;
use super::faults::Point;
use super::ledger::{Begun, Run};
use super::ledger_returns::Returned;
use super::leftover::{look_through, note_late};
use super::outcome::{CollectionOutcome, Exclusion, Outcome, Package};
use super::returning::put_together;
use super::schema::Fit;
use super::shredding::package_name;
use super::task::Task;
use super::workplace::Workplace;
use crate::domain::{Act, ExecutionId, Reason, Refusal};
use crate::token::report::ExportReport;

/// Rounds in one attempt: rows may come in while others are deleted.
const ROUNDS: usize = 5;

/// Takes a package to whom it is for.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Returns once the gateway has the whole of it, durably. The same package again changes nothing.
    async fn hand_over(&self, package: &Package) -> Result<(), Refusal>;
}

/// The package that an execution left in the agent's folder.
pub(super) fn package_of(execution: ExecutionId, export: &ExportReport) -> Package {
    Package {
        file: package_name(execution),
        sha256: hex::encode(export.digest.as_bytes()),
        size: export.size,
    }
}

/// Returns and erases, or goes on with it, or answers with what the first attempt came to.
pub async fn return_and_erase(
    work: &Workplace<'_>,
    task: &Task,
    folder: &Path,
    courier: &dyn Courier,
) -> Result<Outcome, Refusal> {
    work.check(task)?;
    if task.act() != Act::ReturnAndErase || !task.subject().is_empty() {
        return Err(Reason::ActNotSupported.into());
    }
    let run = match work.ledger.begin(task, work.clock.now_seconds()).await? {
        Begun::Ended(outcome) => return Ok(*outcome),
        Begun::Open(run) => run,
    };
    let fit = match work.connector.schema().await.and_then(|schema| schema.fit(work.map)) {
        Ok(fit) => fit,
        Err(refusal) => {
            // Forgets it where nothing was recorded, and only there.
            work.ledger.withdraw(&run).await?;
            return Err(refusal);
        }
    };
    let returned = match recorded(work, &run, folder).await? {
        Some(returned) => returned,
        None => match put_together(work, task, &run, &fit, folder).await {
            Ok(returned) => returned,
            Err(refusal) => {
                work.ledger.withdraw(&run).await?;
                return Err(refusal);
            }
        },
    };
    work.faults.at(Point::Returned)?;
    if let Some(export) = returned.export.as_ref().filter(|_| !returned.handed_over) {
        courier.hand_over(&package_of(run.execution(), export)).await?;
        work.faults.at(Point::HandedOver)?;
        work.ledger.handed_over(&run).await?;
    }
    let collections = erase_all(work, task, &run, &fit, &returned).await?;
    let package = returned.export.as_ref().map(|export| package_of(run.execution(), export));
    let outcome = work
        .ledger
        .end(&run, work.clock.now_seconds(), |ledger| Outcome {
            execution: run.execution(),
            store: task.store().clone(),
            act: task.act(),
            map_version: hex::encode(work.map.version()),
            collections,
            package,
            preview: None,
            stopped: None,
            ledger,
        })
        .await?;
    work.faults.at(Point::Ended)?;
    Ok(outcome)
}

/// What an earlier attempt recorded. A package that was lost before it was handed over is made anew: nothing has
/// gone yet.
async fn recorded(work: &Workplace<'_>, run: &Run, folder: &Path) -> Result<Option<Returned>, Refusal> {
    let Some(returned) = work.ledger.returned(run.execution()).await? else { return Ok(None) };
    let lost = returned.export.is_some()
        && !returned.handed_over
        && !folder.join(package_name(run.execution())).exists();
    Ok((!lost).then_some(returned))
}

/// Deletes what was noted, until nothing more goes; what is left of each collection.
async fn erase_all(
    work: &Workplace<'_>,
    task: &Task,
    run: &Run,
    fit: &Fit,
    returned: &Returned,
) -> Result<Vec<CollectionOutcome>, Refusal> {
    let mut round = 0;
    let mut left = loop {
        clear(work, task, run, fit).await?;
        work.connector.settle().await?;
        work.faults.at(Point::Settled)?;
        let left = look_through(work, task, fit, returned.as_of).await?;
        let late = left.iter().any(|of| of.excluded == Some(Exclusion::StillThere));
        if !late || returned.export.is_some() {
            break left;
        }
        round += 1;
        if round == ROUNDS {
            return Err(Reason::ReadBackFailed.into());
        }
        note_late(work, task, run, fit, returned.as_of).await?;
    };
    work.faults.at(Point::ReadBack)?;
    for batch in work.ledger.batches(run).await? {
        if let Some(of) = left.iter_mut().find(|of| of.collection == batch.collection.as_str()) {
            of.rows += batch.deleted;
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests;
