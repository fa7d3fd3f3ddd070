//! Our trees and proofs held against an implementation not ours (the crate `tlog_tiles`, a port of
//! Go's `sumdb/tlog`), in both directions.

use tlog_tiles::{
    Hash as TheirHash, HashReader, Tile as TheirTile, check_record, check_tree, prove_record, prove_tree,
    stored_hash_index, stored_hashes, tree_hash,
};

use super::appender::Appender;
use super::hash::{Hash, leaf_hash};
use super::layout::tiles_for;
use super::merkle::{consistency_proof, inclusion_proof, root};
use super::proof::{verify_consistency, verify_inclusion};
use super::tile::TileSource;

/// Their storage: every node's hash, in their order.
struct Stored(Vec<TheirHash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TheirHash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn both(size: u64) -> (Appender, Stored) {
    let (mut ours, mut theirs) = (Appender::new(), Stored(Vec::new()));
    for index in 0..size {
        ours.append(leaf_hash(&entry(index)));
        let new = stored_hashes(index, &entry(index), &theirs).unwrap();
        theirs.0.extend(new);
    }
    (ours, theirs)
}

fn to_ours(proof: &[TheirHash]) -> Vec<Hash> {
    proof.iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

fn to_theirs(hash: &Hash) -> TheirHash {
    TheirHash(*hash.as_bytes())
}

const SIZES: [u64; 9] = [1, 2, 3, 255, 256, 257, 511, 513, 600];

#[test]
fn roots_and_proofs_are_the_same_and_each_side_takes_the_others() {
    let (tree, stored) = both(600);
    for size in SIZES {
        let ours = root(size, &tree).unwrap();
        assert_eq!(to_theirs(&ours), tree_hash(size, &stored).unwrap(), "root of {size}");
        for index in [0, size / 2, size - 1] {
            let proof = inclusion_proof(index, size, &tree).unwrap();
            let their_proof = prove_record(size, index, &stored).unwrap();
            assert_eq!(proof, to_ours(&their_proof), "leaf {index} of {size}");
            verify_inclusion(&leaf_hash(&entry(index)), index, size, &to_ours(&their_proof), &ours).unwrap();
            let leaf = to_theirs(&leaf_hash(&entry(index)));
            check_record(&proof.iter().map(to_theirs).collect(), size, to_theirs(&ours), index, leaf)
                .unwrap();
        }
        for old in SIZES.into_iter().filter(|old| *old <= size) {
            let proof = consistency_proof(old, size, &tree).unwrap();
            let their_proof = prove_tree(size, old, &stored).unwrap();
            assert_eq!(proof, to_ours(&their_proof), "{old} to {size}");
            let old_root = root(old, &tree).unwrap();
            verify_consistency(old, &old_root, size, &ours, &to_ours(&their_proof)).unwrap();
            let theirs = proof.iter().map(to_theirs).collect();
            check_tree(&theirs, size, to_theirs(&ours), old, to_theirs(&old_root)).unwrap();
        }
    }
}

#[test]
fn the_tiles_of_a_log_are_the_same() {
    let (tree, stored) = both(600);
    let theirs: Vec<(u8, u64, u32)> = TheirTile::new_tiles(8, 0, 600)
        .iter()
        .map(|tile| (tile.level(), tile.level_index(), tile.width()))
        .collect();
    let ours: Vec<_> = tiles_for(600).collect();
    assert_eq!(
        ours.iter().map(|tile| (tile.level, tile.index, u32::from(tile.width))).collect::<Vec<_>>(),
        theirs
    );
    for tile in ours {
        let hashes = tree.tile(tile).unwrap();
        for (i, hash) in hashes.iter().enumerate() {
            let index = stored_hash_index(8 * tile.level, tile.index * 256 + i as u64);
            assert_eq!(stored.0[usize::try_from(index).unwrap()], to_theirs(hash), "{tile:?} at {i}");
        }
    }
}
