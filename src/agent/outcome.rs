//! What an act came to, collection by collection. No personal data: names of
//! the map, counts, grounds. It is what the signed report says.

use serde::{Deserialize, Serialize};

use super::ledger_chain::Anchor;
use crate::domain::{Act, Category, ExecutionId, Ground, Reason, StoreId};

/// Why a collection was not, or not wholly, acted on, without a lawful ground.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exclusion {
    /// The store has it, the data map does not.
    Unmapped,
    /// The map leads from none of the given identifiers to it.
    Unreachable,
    /// The instruction has a window and the collection no time.
    NoTime,
    /// The instruction has a window and some rows have no readable time.
    Undated,
    /// Rows are there that came in, or changed, after all was returned, or that rows without a ground lean on.
    StillThere,
}

/// Rows that stay: lawfully, where their end can be [shown](Kept::is_shown).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Absent where the identifiers lead to none of the collection's rows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    pub ground: Ground,
    /// Until when, in seconds since the epoch; absent where no date ends it, or none can be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<i64>,
    /// The collection whose kept rows could not be found again, or would lose their tenant, without these.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub needed_by: Option<String>,
}

impl Kept {
    /// Whether ground and end can be shown. A stay that cannot is not lawful on its word.
    pub fn is_shown(&self) -> bool {
        self.ground.holds(self.until)
    }
}

/// One more row that stays on this ground. Rows whose end is not known are counted apart.
pub(super) fn keep(kept: &mut Vec<Kept>, ground: Ground, until: Option<i64>) {
    let same = |kept: &&mut Kept| {
        kept.ground == ground && kept.until.is_some() == until.is_some() && kept.needed_by.is_none()
    };
    match kept.iter_mut().find(same) {
        Some(kept) => {
            kept.rows = kept.rows.map(|rows| rows + 1);
            kept.until = kept.until.max(until);
        }
        None => kept.push(Kept { rows: Some(1), ground, until, needed_by: None }),
    }
}

/// The stay that lasts longest: one whose end is not known, before one that has none, before the latest date.
pub(super) fn longest(kept: impl IntoIterator<Item = Kept>) -> Option<Kept> {
    kept.into_iter().max_by_key(|kept| (!kept.is_shown(), kept.until.is_none(), kept.until))
}

/// One collection's part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CollectionOutcome {
    pub collection: String,
    pub categories: Vec<Category>,
    /// Rows erased, exported or, in a preview, counted.
    pub rows: u64,
    #[serde(default)]
    pub kept: Vec<Kept>,
    /// Rows of the subject outside the instruction's window: not touched, as instructed.
    #[serde(default)]
    pub outside_window: u64,
    /// Rows that stay though nothing says they may; why, says `excluded`.
    #[serde(default)]
    pub unfounded: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excluded: Option<Exclusion>,
}

impl CollectionOutcome {
    /// All rows that were found, those that stay, too.
    pub fn found(&self) -> u64 {
        let kept: u64 = self.kept.iter().filter_map(|kept| kept.rows).sum();
        self.rows + kept + self.unfounded
    }
}

/// An encrypted export package, as it lies at the agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Package {
    /// File name inside the agent's export folder.
    pub file: String,
    /// Hex SHA-256 of the ciphertext.
    pub sha256: String,
    /// Bytes of the ciphertext.
    pub size: u64,
}

/// What a preview adds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreviewSeal {
    /// Hex of 32 random bytes, to be sealed for the controller.
    pub salt: String,
    /// Hex SHA-256, to be signed (see [`preview`](super::preview)).
    pub digest: String,
    /// Cut-off: the counts are upper bounds for rows before it. Seconds since the epoch.
    pub as_of: i64,
}

/// The whole outcome of one act on one store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The execution that did it: on a repeat, the first one.
    pub execution: ExecutionId,
    pub store: StoreId,
    pub act: Act,
    /// Hex.
    pub map_version: String,
    pub collections: Vec<CollectionOutcome>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<Package>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub preview: Option<PreviewSeal>,
    /// Why it ended before anything was touched: then `collections` are those of which more was found than was seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped: Option<Reason>,
    /// Where the agent's ledger stood when the act had ended.
    pub ledger: Anchor,
}

impl Outcome {
    /// Whether nothing is left open: all is done, or stays on a ground, until a date where the ground has an end.
    /// An excluded collection leaves it open.
    pub fn is_complete(&self) -> bool {
        let done = |of: &CollectionOutcome| of.excluded.is_none() && of.kept.iter().all(Kept::is_shown);
        self.stopped.is_none() && self.collections.iter().all(done)
    }

    pub fn rows(&self) -> u64 {
        self.collections.iter().map(|collection| collection.rows).sum()
    }

    pub fn collection(&self, name: &str) -> Option<&CollectionOutcome> {
        self.collections.iter().find(|collection| collection.collection == name)
    }
}
