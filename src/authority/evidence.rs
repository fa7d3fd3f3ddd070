//! The evidence bundle: all that is needed to judge one instruction, in one JSON text.
//!
//! ```json
//! { "version": 1,
//!   "instruction":   {"index": 9, "leaf": "<base64>"},
//!   "registrations": [{"index": 1, "leaf": "…"}, …],
//!   "reports":       [{"index": 11, "leaf": "…"}, …],
//!   "trail":         {"checkpoint": "<signed note>", "proofs": {"9": ["<base64>", …], …}},
//!   "authority":     [{"index": 0, "leaf": "…"}, …],
//!   "authority_log": {"checkpoint": "<signed note>"},
//!   "disclosures":   ["…"] }
//! ```
//!
//! Every trail leaf is proven to **one** trail checkpoint. The authority log is given
//! whole, since an inclusion proof cannot show that nothing newer exists; its root is
//! recomputed and compared with **one** checkpoint. In a controller's own bundle the
//! leaves of other controllers stand as hashes under `withheld`: the root is still
//! recomputed, but that none of them is a newer key set only an auditor's bundle shows,
//! and the verdict says so. `registrations` are the leaves that
//! registered the instruction's controller, its agreements, its app and the agents, with the report keys
//! that followed on theirs;
//! `reports` what became of its executions: leases, reports, ends, exports.
//! `disclosures` hold personal data and stand there only when the instruction's own
//! controller asked for them.
//!
//! [`super::verdict::verify`] judges a bundle.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::event::Event;
use crate::trail::{Hash, Leaf};

/// The one version there is.
pub const VERSION: u32 = 1;
/// Largest bundle that is read, in bytes.
pub const MAX_BUNDLE: usize = 64 * 1024 * 1024;

/// A leaf with its place. As text the bytes are base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedLeaf {
    pub index: u64,
    pub leaf: LeafBytes,
}

/// The exact bytes that were hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct LeafBytes(pub Vec<u8>);

impl std::fmt::Debug for LeafBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeafBytes({} bytes)", self.0.len())
    }
}

impl Serialize for LeafBytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for LeafBytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        STANDARD.decode(text).map(Self).map_err(|_| serde::de::Error::custom("a leaf is no canonical base64"))
    }
}

/// The trail's head and an inclusion proof for each of the bundle's trail leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailProofs {
    /// Signed note.
    pub checkpoint: String,
    /// By leaf index: the audit path, from the leaf's sibling upwards.
    pub proofs: BTreeMap<u64, Vec<Hash>>,
}

/// The authority log's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityProof {
    /// Signed note.
    pub checkpoint: String,
}

/// The bundle, as it stands in the file. That one exists proves nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub version: u32,
    pub instruction: PlacedLeaf,
    pub registrations: Vec<PlacedLeaf>,
    pub reports: Vec<PlacedLeaf>,
    pub trail: TrailProofs,
    pub authority: Vec<PlacedLeaf>,
    pub authority_log: AuthorityProof,
    /// Leaf hashes of the authority log that stand for leaves of other controllers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withheld: BTreeMap<u64, Hash>,
    /// As received, in their order. Personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disclosures: Option<Vec<String>>,
}

/// Shows the instruction's index alone.
impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bundle(trail leaf {})", self.instruction.index)
    }
}

/// Why bytes are no bundle, or leaves make none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("the bundle is larger than {MAX_BUNDLE} bytes")]
    TooLarge,
    #[error("the bundle is not of the form: line {line}, column {column}")]
    Form { line: usize, column: usize },
    #[error("trail leaf {0} is no leaf of a known type")]
    Leaf(u64),
    #[error("trail leaf {0} is of a type that has no place in a bundle")]
    Type(u64),
    #[error("a bundle is about exactly one admitted instruction")]
    Instruction,
}

impl Bundle {
    /// Reads the JSON. Proves nothing yet.
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE {
            return Err(BundleError::TooLarge);
        }
        // serde_json's own message may quote the input.
        serde_json::from_slice(bytes)
            .map_err(|error| BundleError::Form { line: error.line(), column: error.column() })
    }

    /// The JSON, indented for people.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists; map keys are numbers, which serde_json writes as strings.
        serde_json::to_string_pretty(self).expect("a bundle is plain JSON")
    }
}

/// Where a leaf stands in a bundle.
pub(super) enum Part {
    Instruction,
    Registration,
    Report,
}

pub(super) fn part_of(event: &Event) -> Option<Part> {
    match event {
        Event::InstructionAdmitted(_) => Some(Part::Instruction),
        Event::ControllerRegistered(_)
        | Event::AgreementRegistered(_)
        | Event::AppRegistered(_)
        | Event::SubProcessorRegistered(_)
        | Event::AgentRegistered(_)
        | Event::ReportKeyVouched(_) => Some(Part::Registration),
        Event::ExecutionLeased(_)
        | Event::ExecutionDeferred(_)
        | Event::ExecutionFailed(_)
        | Event::ExecutionReported(_)
        | Event::InstructionContested(_)
        | Event::InstructionEnded(_)
        | Event::ExportReleased(_)
        | Event::ExportDownloaded(_)
        | Event::ExportRemoved(_) => Some(Part::Report),
        _ => None,
    }
}

/// Puts a bundle together from plain leaves and proofs; each leaf finds its place by its type.
///
/// Give it: the instruction's admission; the leaves that registered its controller, that
/// controller's agreements, its app, and every agent that leased one of its orders, with its report keys; every
/// leaf about its executions and exports; and the authority log from leaf 0 to its head.
#[derive(Debug)]
pub struct BundleBuilder {
    instruction: Option<PlacedLeaf>,
    registrations: Vec<PlacedLeaf>,
    reports: Vec<PlacedLeaf>,
    trail: TrailProofs,
    authority: Vec<PlacedLeaf>,
    authority_log: AuthorityProof,
    withheld: BTreeMap<u64, Hash>,
    disclosures: Option<Vec<String>>,
}

impl BundleBuilder {
    /// From the signed checkpoints of both logs.
    pub fn new(trail_checkpoint: impl Into<String>, authority_checkpoint: impl Into<String>) -> Self {
        Self {
            instruction: None,
            registrations: Vec::new(),
            reports: Vec::new(),
            trail: TrailProofs { checkpoint: trail_checkpoint.into(), proofs: BTreeMap::new() },
            authority: Vec::new(),
            authority_log: AuthorityProof { checkpoint: authority_checkpoint.into() },
            withheld: BTreeMap::new(),
            disclosures: None,
        }
    }

    /// A trail leaf with its inclusion proof to the trail's checkpoint. A leaf given twice counts once.
    pub fn trail_leaf(
        &mut self,
        index: u64,
        leaf: &[u8],
        proof: Vec<Hash>,
    ) -> Result<&mut Self, BundleError> {
        if self.trail.proofs.contains_key(&index) {
            return Ok(self);
        }
        let event = Leaf::parse(leaf).ok().and_then(|leaf| super::leaf_form::event_of(&leaf).ok());
        let event = event.ok_or(BundleError::Leaf(index))?;
        let placed = PlacedLeaf { index, leaf: LeafBytes(leaf.to_vec()) };
        match part_of(&event).ok_or(BundleError::Type(index))? {
            Part::Instruction if self.instruction.is_some() => return Err(BundleError::Instruction),
            Part::Instruction => self.instruction = Some(placed),
            Part::Registration => self.registrations.push(placed),
            Part::Report => self.reports.push(placed),
        }
        self.trail.proofs.insert(index, proof);
        Ok(self)
    }

    /// A leaf of the authority log; all of them, from 0.
    pub fn authority_leaf(&mut self, index: u64, leaf: &[u8]) -> &mut Self {
        self.authority.push(PlacedLeaf { index, leaf: LeafBytes(leaf.to_vec()) });
        self
    }

    /// The hash of another controller's leaf of the authority log, in its place. Leaves are salted, so
    /// the hash says nothing of it.
    pub fn authority_hash(&mut self, index: u64, hash: Hash) -> &mut Self {
        self.withheld.insert(index, hash);
        self
    }

    /// The instruction's disclosures as received: only for its own controller. Personal data.
    pub fn disclosures(&mut self, disclosures: Vec<String>) -> &mut Self {
        self.disclosures = Some(disclosures);
        self
    }

    /// The bundle, leaves in order of index.
    pub fn build(mut self) -> Result<Bundle, BundleError> {
        for leaves in [&mut self.registrations, &mut self.reports, &mut self.authority] {
            leaves.sort_by_key(|leaf| leaf.index);
        }
        Ok(Bundle {
            version: VERSION,
            instruction: self.instruction.ok_or(BundleError::Instruction)?,
            registrations: self.registrations,
            reports: self.reports,
            trail: self.trail,
            authority: self.authority,
            authority_log: self.authority_log,
            withheld: self.withheld,
            disclosures: self.disclosures,
        })
    }
}
