//! All that an act needs beside its task.

use super::connectors::Connector;
use super::data_map::DataMap;
use super::faults::Faults;
use super::ledger::{Ledger, Run};
use super::outcome::{CollectionOutcome, Outcome};
use super::task::Task;
use crate::domain::{Clock, Entropy, Reason, Refusal};

/// One store as the agent has it before it.
#[derive(Clone, Copy)]
pub struct Workplace<'a> {
    pub map: &'a DataMap,
    pub connector: &'a dyn Connector,
    pub ledger: &'a Ledger,
    pub clock: &'a dyn Clock,
    pub entropy: &'a dyn Entropy,
    pub faults: &'a dyn Faults,
}

impl Workplace<'_> {
    /// A task for another store is not carried out here.
    pub(super) fn check(&self, task: &Task) -> Result<(), Refusal> {
        if task.store() != self.map.store() {
            return Err(Reason::StoreUnknown.into());
        }
        Ok(())
    }

    /// Ends an act before anything was touched: there is more than its signers saw. A repeat gets this answer.
    pub(super) async fn stop(
        &self,
        task: &Task,
        run: &Run,
        moved: Vec<CollectionOutcome>,
    ) -> Result<Outcome, Refusal> {
        let end = |ledger| Outcome {
            execution: run.execution(),
            store: task.store().clone(),
            act: task.act(),
            map_version: hex::encode(self.map.version()),
            collections: moved,
            package: None,
            preview: None,
            stopped: Some(Reason::PreviewCountMoved),
            ledger,
        };
        self.ledger.end(run, self.clock.now_seconds(), end).await
    }
}
