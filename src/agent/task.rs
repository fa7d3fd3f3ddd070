//! What a warrant lets the agent do, in the terms of the data side.

use std::collections::BTreeSet;

use super::preview::Bound;
use crate::authority::Warrant;
use crate::domain::{Act, Category, ExecutionId, Identifier, Region, StoreId};

/// Where an export goes, as the controller signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct ExportTo {
    /// An age X25519 public key (`age1…`).
    pub recipient: String,
    pub region: Region,
}

/// Whether an order reaches what a collection holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// All of its categories.
    Within,
    /// They were not all asked for.
    NotInstructed,
    /// They were asked for, and the agent's own agreement does not have them all.
    OutsideAgreement,
}

/// One order, already proven. Made only from a [`Warrant`], and every field is read-only.
///
/// `Debug` shows no identifier.
#[derive(Clone)]
pub struct Task {
    execution: ExecutionId,
    instruction_digest: [u8; 32],
    act: Act,
    subject: Vec<Identifier>,
    tenant: String,
    store: StoreId,
    categories: Vec<Category>,
    everything: bool,
    window: Option<(i64, i64)>,
    export: Option<ExportTo>,
    bound: Option<Bound>,
}

/// The fields of a [`Task`], named, so that no two of a kind can be swapped.
#[cfg(test)]
pub(crate) struct TaskParts {
    pub execution: ExecutionId,
    /// SHA-256 over the ASCII payload segment (DESIGN §6).
    pub instruction_digest: [u8; 32],
    pub act: Act,
    pub subject: Vec<Identifier>,
    /// The tenant value of the agent's *own* configuration for the instruction's app.
    pub tenant: String,
    pub store: StoreId,
    /// `["*"]` is spelled out by the caller.
    pub categories: Vec<Category>,
    /// `["*"]` was signed.
    pub everything: bool,
    /// `[from, until)` in seconds since the epoch.
    pub window: Option<(i64, i64)>,
    pub export: Option<ExportTo>,
}

impl Task {
    /// What the warrant allows, for this execution. The tenant is of the agent's *own* configuration;
    /// `["*"]` is spelled out.
    pub fn from_warrant(warrant: &Warrant, execution: ExecutionId) -> Self {
        let statement = warrant.instruction().statement();
        Self {
            execution,
            instruction_digest: *warrant.instruction_digest().as_bytes(),
            act: warrant.act(),
            subject: warrant.subject().to_vec(),
            tenant: warrant.tenant().to_owned(),
            store: warrant.store().clone(),
            categories: warrant.categories().iter().copied().collect(),
            everything: warrant.instructs_everything(),
            window: statement.window.map(|window| (window.from, window.until)),
            export: statement.export.as_ref().map(|export| ExportTo {
                recipient: export.recipient.as_str().to_owned(),
                region: export.region,
            }),
            bound: None,
        }
    }

    /// No more than its signers saw in a preview.
    pub fn within(self, bound: Bound) -> Self {
        Self { bound: Some(bound), ..self }
    }

    /// A task without a warrant, for the data side's own tests.
    #[cfg(test)]
    pub(crate) fn from_parts(parts: TaskParts) -> Self {
        let TaskParts {
            execution,
            instruction_digest,
            act,
            subject,
            tenant,
            store,
            categories,
            everything,
            window,
            export,
        } = parts;
        Self {
            execution,
            instruction_digest,
            act,
            subject,
            tenant,
            store,
            categories,
            everything,
            window,
            export,
            bound: None,
        }
    }

    pub fn execution(&self) -> ExecutionId {
        self.execution
    }
    pub fn instruction_digest(&self) -> &[u8; 32] {
        &self.instruction_digest
    }
    pub fn act(&self) -> Act {
        self.act
    }
    pub fn subject(&self) -> &[Identifier] {
        &self.subject
    }
    pub fn tenant(&self) -> &str {
        &self.tenant
    }
    pub fn store(&self) -> &StoreId {
        &self.store
    }
    /// Written out within the agent's own agreement.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }
    /// What is asked for, and may be done, of a collection that holds these.
    pub fn reach(&self, holds: &BTreeSet<Category>) -> Reach {
        match holds.iter().all(|category| self.categories.contains(category)) {
            true => Reach::Within,
            false if self.everything => Reach::OutsideAgreement,
            false => Reach::NotInstructed,
        }
    }
    /// Whether `["*"]` was signed.
    pub fn instructs_everything(&self) -> bool {
        self.everything
    }
    /// What its signers saw, where they named a preview.
    pub fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }
    pub fn window(&self) -> Option<(i64, i64)> {
        self.window
    }
    pub fn export(&self) -> Option<&ExportTo> {
        self.export.as_ref()
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("execution", &self.execution)
            .field("act", &self.act)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
