//! The transparency log: leaves, the Merkle tree over them, signed
//! checkpoints, and receipts. Pure: no I/O, no clock, no async, no SQL.
//!
//! The gateway appends with this code and an auditor verifies with this code.
//! Formats are public ones, so that programs not ours can read a log:
//!
//! | what | form |
//! |---|---|
//! | hashing and proofs | RFC 6962 §2.1, RFC 9162 §2.1 |
//! | tiles, entry bundles, their paths | C2SP `tlog-tiles` |
//! | signatures and keys | C2SP `signed-note`, `tlog-cosignature` (Ed25519) |
//! | tree heads | C2SP `tlog-checkpoint` |
//! | what a witness is asked | C2SP `tlog-witness` |
//! | a key that follows on another | a `signed-note` of both ([`succession`]) |
//! | receipts | C2SP `tlog-proof` |
//! | leaves | CloudEvents 1.0 JSON |
//!
//! Every parser here takes hostile bytes: it answers with an error, never with
//! a panic, and accepts exactly one spelling of each value.

pub mod appender;
pub mod bundle;
pub mod canonical_json;
pub mod check;
pub mod checkpoint;
pub mod hash;
pub mod in_order;
pub mod layout;
pub mod leaf;
pub mod merkle;
pub mod note;
pub mod notekey;
pub mod path;
pub mod proof;
pub mod receipt;
pub mod succession;
pub mod tile;
pub mod tiled;
pub mod witnessing;

pub use appender::{Appender, NotHeld, right_edge_tiles};
pub use bundle::{BundleError, decode_bundle, encode_bundle};
pub use check::{EntrySource, TreeCheck, TreeFault, verify_tree};
pub use checkpoint::{Checkpoint, CheckpointError, cosigned_at};
pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use in_order::in_order;
pub use layout::{CHECKPOINT_PATH, PathError, Resource, VKEY_PATH, entries_for, paths_for, tiles_for};
pub use leaf::{Leaf, LeafDraft, LeafError, MAX_LEAF, leaf_time};
pub use merkle::{ProofError, Prover, consistency_proof, inclusion_proof, root};
pub use note::{Note, NoteError, NoteSignature, Signed};
pub use notekey::{CosigningKey, KeyKind, SigningKey, VerifierKey};
pub use proof::{ProofFault, verify_consistency, verify_inclusion};
pub use receipt::{Receipt, ReceiptError};
pub use succession::Succession;
pub use tile::{TileId, TileLengthError, TileSource, decode_tile, encode_tile};
pub use tiled::{HashedTile, TiledTree};
pub use witnessing::{AddCheckpoint, RequestError, Unwitnessed};

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod oracle;
