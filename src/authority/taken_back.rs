//! What the authority log takes back: instructions that were revoked or are contested, and signatures that
//! their signers withdrew before enough had signed.
//!
//! It only ever stops: nothing here can make an order good. So whoever replicates the log honours such a leaf
//! without asking who signed it; the gateway asks before it writes one, and the audit after.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{ControllerId, InstructionId, Reason, Stop, Timestamp};
use crate::token::{Digest, KeyId, KeySet};

/// One controller's.
#[derive(Debug, Clone, Default)]
pub struct TakenBack {
    stopped: BTreeMap<InstructionId, (Stop, Option<Timestamp>)>,
    /// By instruction digest: the keys that took a signature back, with the index of the leaf.
    withdrawn: BTreeMap<Digest, BTreeMap<KeyId, u64>>,
}

/// Of every controller.
pub type TakenBackBy = BTreeMap<ControllerId, TakenBack>;

impl TakenBack {
    /// The first word stays.
    pub fn stop(&mut self, instruction: InstructionId, why: Stop, at: Option<Timestamp>) {
        self.stopped.entry(instruction).or_insert((why, at));
    }

    /// The leaf of this index withdraws what the key signed.
    pub fn withdraw(&mut self, instruction: Digest, kid: KeyId, index: u64) {
        self.withdrawn.entry(instruction).or_default().entry(kid).or_insert(index);
    }

    pub fn why(&self, instruction: &InstructionId) -> Option<Stop> {
        self.stopped.get(instruction).map(|(why, _)| *why)
    }

    /// When it was stopped.
    pub fn stopped_at(&self, instruction: &InstructionId) -> Option<Timestamp> {
        self.stopped.get(instruction).and_then(|(_, at)| *at)
    }

    /// Who no longer counts for the instruction, by the first `size` leaves of the log: all keys of a signer are one.
    pub fn signers<'a>(&self, instruction: &Digest, set: &'a KeySet, size: u64) -> BTreeSet<&'a str> {
        let kids = self.withdrawn.get(instruction);
        kids.into_iter()
            .flatten()
            .filter(|(_, index)| **index < size)
            .filter_map(|(kid, _)| set.key(kid))
            .map(|key| key.signer.as_str())
            .collect()
    }
}

/// Why an order that was stopped is not carried out.
pub fn refusal_of(stop: Stop) -> Reason {
    match stop {
        Stop::Revoked => Reason::InstructionRevoked,
        Stop::Contested => Reason::InstructionContested,
    }
}
