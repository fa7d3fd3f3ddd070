//! What `mandate doctor` reads: the tables beside the rows that the leaves imply, and what no row may be.
//!
//! Everything here reads pages of bounded size, in the order of a key, from connections that see one
//! state of the database ([`Database::snapshot`](super::Database::snapshot)).

mod compare;
mod oddities;
mod sealed;
mod tables;
mod walk;

pub use compare::{Comparison, Difference, What};
pub use oddities::{Oddity, oddities};
pub use sealed::{SealedRow, names_key, sealed_rows};
pub use tables::{TABLES, Table};
pub use walk::{
    KeptCosignature, KeptHead, KeptLeaf, access_keys, cosignatures, cosigned, export_files, facts_of, head,
    leaves_after, stray_leaves, tile_count,
};

/// A name from a row, fit to be shown: one that a hand wrote there may be anything.
pub fn shown(text: &str) -> &str {
    let is_name = |text: &str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b'.'))
    };
    if is_name(text) { text } else { "(no id)" }
}
