//! What a leaf means for the history of one thing: a message, a case, an execution, an instruction, an
//! export.
//!
//! Leaves are judged on all cores and in any order. What their rules say about *before* and *after* is
//! left to a second step: each leaf gives facts, facts are sorted by thing and index of leaf, and each
//! thing's history is replayed alone. So no more than one thing's state is ever held.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::external_sort::put;
use super::judged::{Asked, Told};
use crate::domain::event::{RequestAnswered, RequestReceived};
use crate::domain::{
    AgentId, AppId, ControllerId, ExecutionId, ExecutionState, ExportId, InstructionId, Stop, StoreId,
};
use crate::trail::Hash;

/// Of a message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum MessageFact {
    Received,
    Read,
    Assigned,
    Dismissed,
    Shredded,
}

/// Of a case.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum CaseFact {
    Received(RequestReceived),
    Forwarded(ControllerId),
    Acknowledged(ControllerId),
    Shredded,
    Misrouted(ControllerId),
    Answered(RequestAnswered),
    Read(ControllerId),
    /// An instruction answers it.
    Instructed {
        controller: ControllerId,
        app: AppId,
        /// So many signed as a minor's case takes.
        enough_for_minor: bool,
    },
}

/// Of an execution.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ExecutionFact {
    Ordered {
        controller: ControllerId,
        instruction: InstructionId,
        store: StoreId,
        asked: Kept<Asked>,
    },
    Leased {
        agent: AgentId,
        attempt: u32,
        /// Seconds.
        at: i64,
    },
    Deferred {
        agent: AgentId,
        attempt: u32,
        /// The agent does not say that nothing was touched.
        begun: bool,
        /// Seconds.
        at: i64,
    },
    Failed {
        attempt: u32,
        /// The instruction's end came before it was begun.
        expired: bool,
        /// Seconds.
        at: i64,
    },
    Reported {
        agent: AgentId,
        attempt: u32,
        outcome: String,
        /// The agent refused it because the instruction's end came before it was begun.
        expired: bool,
        told: Kept<Told>,
    },
    Released {
        export: ExportId,
        digest: String,
        size: u64,
        expires: i64,
    },
}

/// What a signature covers: read when the leaf was judged, or left in a leaf that an earlier audit judged
/// and that is read again only if something newer refers to it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Kept<T> {
    Read(T),
    In { index: u64, leaf: Hash },
}

/// Of an instruction id. Two controllers may have chosen one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum InstructionFact {
    /// It waits for approvals until `exp`, seconds.
    Received {
        controller: ControllerId,
        digest: String,
        exp: i64,
    },
    Approved {
        controller: ControllerId,
        /// Seconds.
        at: i64,
    },
    Withdrawn {
        controller: ControllerId,
        /// Nothing is left of what was submitted.
        is_last: bool,
        /// Seconds.
        at: i64,
    },
    Admitted {
        controller: ControllerId,
        digest: String,
        orders: u32,
    },
    Stopped {
        controller: ControllerId,
        why: Stop,
        /// Seconds.
        at: i64,
    },
    /// Used up by a refusal.
    Refused(ControllerId),
    ExecutionEnded {
        controller: ControllerId,
        state: ExecutionState,
        expired: bool,
        /// It was over when the instruction was stopped.
        over_before: bool,
    },
    Ended {
        controller: ControllerId,
        state: String,
        /// Seconds.
        at: i64,
    },
    Evidence {
        /// The controller that fetched it; none: somebody else.
        by: Option<ControllerId>,
        disclosures: bool,
    },
    Shredded,
}

/// Of an instruction that was refused, by the leaf that says so.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum RefusalFact {
    Refused,
    Shredded,
}

/// Of the keyring, the only one: it is of this epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EpochFact(pub u32);

/// Of an export.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ExportFact {
    Released {
        controller: ControllerId,
        execution: ExecutionId,
        expires: i64,
    },
    Downloaded {
        by: String,
        /// Seconds.
        at: i64,
    },
    /// As the export of this execution.
    Removed(ExecutionId),
}

/// A kind of thing. The order is that of the replay: executions tell their instructions and exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Message = 1,
    Case = 2,
    Execution = 3,
    Instruction = 4,
    Export = 5,
    Refusal = 6,
    Epoch = 7,
}

impl Kind {
    /// Of a fact's first byte.
    pub(super) fn of(byte: u8) -> Option<Self> {
        [
            Kind::Message,
            Kind::Case,
            Kind::Execution,
            Kind::Instruction,
            Kind::Export,
            Kind::Refusal,
            Kind::Epoch,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Kind and id: whose history a fact belongs to.
pub(super) type Thing = [u8; 17];
const KEY: usize = 17 + 8;

/// Facts, one behind the other, as the sorter takes them. `first` are replayed before `then`.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub first: Vec<u8>,
    pub then: Vec<u8>,
}

impl Facts {
    pub(super) fn message(&mut self, id: &Uuid, index: u64, fact: &MessageFact) {
        write(&mut self.first, Kind::Message, id, index, fact);
    }
    pub(super) fn case(&mut self, id: &Uuid, index: u64, fact: &CaseFact) {
        write(&mut self.first, Kind::Case, id, index, fact);
    }
    pub(super) fn execution(&mut self, id: &Uuid, index: u64, fact: &ExecutionFact) {
        write(&mut self.first, Kind::Execution, id, index, fact);
    }
    pub(super) fn instruction(&mut self, id: &Uuid, index: u64, fact: &InstructionFact) {
        write(&mut self.then, Kind::Instruction, id, index, fact);
    }
    /// `leaf` is the index of the refusal's leaf.
    pub(super) fn refusal(&mut self, leaf: u64, index: u64, fact: &RefusalFact) {
        write(&mut self.first, Kind::Refusal, &Uuid::from_u128(leaf.into()), index, fact);
    }
    pub(super) fn epoch(&mut self, index: u64, fact: &EpochFact) {
        write(&mut self.first, Kind::Epoch, &Uuid::nil(), index, fact);
    }
    pub(super) fn export(&mut self, id: &Uuid, index: u64, fact: &ExportFact) {
        write(&mut self.then, Kind::Export, id, index, fact);
    }
}

/// Sorts as: thing, then index of leaf.
fn write(out: &mut Vec<u8>, kind: Kind, id: &Uuid, index: u64, fact: &impl Serialize) {
    put(out, |out| {
        out.push(kind as u8);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&index.to_be_bytes());
        // A fact is made of strings, numbers and lists, and a vector takes all bytes.
        serde_json::to_writer(out, fact).expect("a fact can be written");
    });
}

/// A record taken apart: thing, index of leaf, the fact's bytes.
pub(super) fn parts(record: &[u8]) -> Option<(Thing, u64, &[u8])> {
    let (key, fact) = record.split_first_chunk::<KEY>()?;
    let (thing, index) = key.split_first_chunk::<17>()?;
    Some((*thing, u64::from_be_bytes(index.try_into().ok()?), fact))
}

pub(super) fn read<F: DeserializeOwned>(fact: &[u8]) -> Option<F> {
    serde_json::from_slice(fact).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_reads_back_and_sorts_by_thing_and_leaf() {
        let mut facts = Facts::default();
        let (low, high) = (Uuid::from_u128(1), Uuid::from_u128(2));
        facts.case(&high, 1, &CaseFact::Forwarded("a".parse().unwrap()));
        facts.case(&low, 256, &CaseFact::Forwarded("b".parse().unwrap()));
        facts.case(&low, 255, &CaseFact::Forwarded("c".parse().unwrap()));
        facts.message(&high, 9, &MessageFact::Received);
        let mut records = Vec::new();
        let mut rest = facts.first.as_slice();
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let (record, more) = more.split_at(u32::from_be_bytes(*length) as usize);
            records.push(record);
            rest = more;
        }
        records.sort();
        let order: Vec<_> = records.iter().map(|record| parts(record).unwrap()).collect();
        assert_eq!(order.iter().map(|(_, index, _)| *index).collect::<Vec<_>>(), [9, 255, 256, 1]);
        assert_eq!(Kind::of(order[0].0[0]), Some(Kind::Message));
        assert!(matches!(read(order[1].2), Some(CaseFact::Forwarded(c)) if c.as_str() == "c"));
        assert!(read::<MessageFact>(order[1].2).is_none());
    }
}
