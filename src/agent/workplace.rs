//! All that an act needs beside its task.

use super::connectors::Connector;
use super::data_map::DataMap;
use super::faults::Faults;
use super::ledger::Ledger;
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
}
