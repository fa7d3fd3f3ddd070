//! Replaying each thing's history from its facts: the second step of the audit.

use std::io;

use super::audit_cases::{Case, Message};
use super::audit_deeds::Execution;
use super::audit_facts::{Facts, Kept, Kind, Thing, parts, read};
use super::audit_orders::{Export, Instruction};
use super::audit_shredded::{Epoch, Refusal};
use super::authority_log::AuthorityLog;
use super::external_sort::Sorter;
use super::judged::{Asked, Told};
use super::registered::Registered;
use super::rules::Broken;
use crate::domain::ExecutionId;
use crate::trail::Hash;

/// Why a history cannot be told to its end.
#[derive(Debug)]
pub(super) enum Wrong {
    /// This leaf, or the older one of the index, breaks a rule.
    Broken(Option<u64>, Broken),
    /// A file could not be read.
    Unread(Unread),
}

/// What could not be read, and why.
#[derive(Debug)]
pub(super) struct Unread {
    pub which: String,
    pub what: String,
}

impl From<Broken> for Wrong {
    fn from(broken: Broken) -> Self {
        Wrong::Broken(None, broken)
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self { which: "a temporary file".to_owned(), what: error.to_string() }
    }
}

/// Reads older leaves once more and judges them, signatures and all.
pub(super) trait Reread {
    fn admission(&self, index: u64, leaf: &Hash) -> Result<Vec<(ExecutionId, Asked)>, Wrong>;
    fn report(&self, index: u64, leaf: &Hash) -> Result<Told, Wrong>;
}

/// What histories are held against, and the way back to older leaves.
pub(super) struct Again<'a> {
    pub registered: &'a Registered,
    pub authority: &'a AuthorityLog,
    /// Leaves before this one were judged by an earlier audit.
    pub since: u64,
    pub reread: &'a dyn Reread,
    /// Older leaves that were read again.
    pub count: u64,
}

impl Again<'_> {
    pub(super) fn is_new(&self, index: u64) -> bool {
        index >= self.since
    }

    /// What the order asks, from its admission.
    pub(super) fn asked<'k>(
        &mut self,
        execution: ExecutionId,
        kept: &'k mut Kept<Asked>,
    ) -> Result<&'k Asked, Wrong> {
        if let Kept::In { index, leaf } = kept {
            self.count += 1;
            let orders = self.reread.admission(*index, leaf)?;
            let found = orders.into_iter().find(|(id, _)| *id == execution);
            // The fact was made of this very leaf.
            *kept = Kept::Read(found.expect("the admission orders the execution").1);
        }
        match kept {
            Kept::Read(asked) => Ok(asked),
            Kept::In { .. } => unreachable!("it was read a line above"),
        }
    }

    /// What the report tells.
    pub(super) fn told<'k>(&mut self, kept: &'k mut Kept<Told>) -> Result<&'k Told, Wrong> {
        if let Kept::In { index, leaf } = kept {
            self.count += 1;
            *kept = Kept::Read(self.reread.report(*index, leaf)?);
        }
        match kept {
            Kept::Read(told) => Ok(told),
            Kept::In { .. } => unreachable!("it was read a line above"),
        }
    }
}

/// What the histories hold, counted.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub requests: u64,
    pub instructions: u64,
    pub executions: u64,
    /// Executions that ended.
    pub ended: u64,
}

/// One thing at a time.
pub(super) struct Replay<'a> {
    again: Again<'a>,
    thing: Option<Thing>,
    /// The thing's history broke a rule: what follows of it says nothing more.
    stopped: bool,
    message: Message,
    case: Case,
    execution: Execution,
    instruction: Instruction,
    export: Export,
    refusal: Refusal,
    epoch: Epoch,
    totals: Totals,
    worst: Option<Fault>,
}

/// A leaf that breaks a rule. Of several at one leaf the first in the order of the rules' questions counts.
#[derive(Debug)]
pub(super) struct Fault {
    pub index: u64,
    rank: u8,
    pub broken: Broken,
}

impl<'a> Replay<'a> {
    pub(super) fn new(again: Again<'a>) -> Self {
        Self {
            again,
            thing: None,
            stopped: false,
            message: Message::default(),
            case: Case::default(),
            execution: Execution::default(),
            instruction: Instruction::default(),
            export: Export::default(),
            refusal: Refusal::default(),
            epoch: Epoch::default(),
            totals: Totals::default(),
            worst: None,
        }
    }

    /// Replays all facts: `first` tells what it finds to `then`.
    pub(super) fn run(mut self, first: Sorter<'_>, mut then: Sorter<'_>) -> Result<Replayed, Unread> {
        let mut told = Facts::default();
        let mut spilled = first.spilled();
        first.finish(|record| {
            self.take(record, &mut told)?;
            then.extend(&told.then)?;
            told.then.clear();
            Ok::<(), Unread>(())
        })?;
        spilled += then.spilled();
        then.finish(|record| self.take(record, &mut told))?;
        self.close();
        Ok(Replayed { totals: self.totals, worst: self.worst, reread: self.again.count, spilled })
    }

    fn take(&mut self, record: &[u8], told: &mut Facts) -> Result<(), Unread> {
        let Some((thing, index, fact)) = parts(record) else { return Err(damaged()) };
        if self.thing != Some(thing) {
            self.close();
            self.thing = Some(thing);
        }
        if self.stopped {
            return Ok(());
        }
        let kind = Kind::of(thing[0]).ok_or_else(damaged)?;
        let taken = match kind {
            Kind::Message => self.message.take(read(fact).ok_or_else(damaged)?).map_err(Wrong::from),
            Kind::Case => self.case.take(read(fact).ok_or_else(damaged)?).map_err(Wrong::from),
            Kind::Execution => {
                let mut id = [0; 16];
                id.copy_from_slice(&thing[1..]);
                let id = ExecutionId::from_uuid(uuid::Uuid::from_bytes(id));
                let fact = read(fact).ok_or_else(damaged)?;
                self.execution.take(id, index, fact, &mut self.again, told)
            }
            Kind::Instruction => self.instruction.take(read(fact).ok_or_else(damaged)?).map_err(Wrong::from),
            Kind::Export => self.export.take(read(fact).ok_or_else(damaged)?).map_err(Wrong::from),
            Kind::Refusal => self.refusal.take(read(fact).ok_or_else(damaged)?).map_err(Wrong::from),
            Kind::Epoch => self.epoch.take(read(fact).ok_or_else(damaged)?).map_err(Wrong::from),
        };
        match taken {
            Ok(()) => Ok(()),
            Err(Wrong::Unread(unread)) => Err(unread),
            Err(Wrong::Broken(older, broken)) => {
                self.stopped = true;
                self.note(older.unwrap_or(index), kind, broken);
                Ok(())
            }
        }
    }

    fn note(&mut self, index: u64, kind: Kind, broken: Broken) {
        // The jti is asked about before the case, the case before the executions.
        let rank = match kind {
            Kind::Instruction => 1,
            Kind::Case | Kind::Message => 2,
            Kind::Execution => 3,
            Kind::Export => 4,
            Kind::Refusal | Kind::Epoch => 5,
        };
        if self.worst.as_ref().is_none_or(|worst| (index, rank) < (worst.index, worst.rank)) {
            self.worst = Some(Fault { index, rank, broken });
        }
    }

    /// The thing's history is over: it is counted and forgotten.
    fn close(&mut self) {
        self.stopped = false;
        self.message = Message::default();
        self.totals.requests += std::mem::take(&mut self.case).count();
        let (executions, ended) = std::mem::take(&mut self.execution).count();
        self.totals.executions += executions;
        self.totals.ended += ended;
        self.totals.instructions += std::mem::take(&mut self.instruction).count();
        self.export = Export::default();
        self.refusal = Refusal::default();
        self.epoch = Epoch::default();
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Replayed {
    pub totals: Totals,
    /// The first leaf by index that breaks a rule.
    pub worst: Option<Fault>,
    pub reread: u64,
    pub spilled: u64,
}

fn damaged() -> Unread {
    Unread { which: "a temporary file".to_owned(), what: "it changed while it was used".to_owned() }
}
