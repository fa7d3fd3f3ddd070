//! Checking proofs: RFC 9162 §2.1.3.2 (inclusion) and §2.1.4.2 (consistency).
//!
//! Works on bare hashes, needs no tree, and never panics whatever the sizes.

use super::hash::{Hash, empty_root, node_hash};

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// The leaf is not below the size, or the old size is above the new one.
    #[error("the index or size lies outside the tree")]
    OutOfRange,
    /// Too few or too many hashes for the index and sizes.
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    /// The hashes lead to another root: of the tree, or of the older tree.
    #[error("the proof leads to another root")]
    OtherRoot,
}

/// That `leaf` is the leaf `index` of the tree of `size` leaves with this root.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofFault> {
    if root_of_inclusion(leaf, index, size, proof)? == *root { Ok(()) } else { Err(ProofFault::OtherRoot) }
}

/// The root to which the audit path leads.
pub fn root_of_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Hash, ProofFault> {
    if index >= size {
        return Err(ProofFault::OutOfRange);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofFault::WrongLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // Levels at which the node has no right sibling add nothing to the path.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(hash) } else { Err(ProofFault::WrongLength) }
}

/// That the tree of `new_size` leaves with `new_root` begins with the tree of `old_size` leaves
/// with `old_root`.
///
/// The empty tree begins every tree; RFC 9162 leaves that case open. Its proof is empty.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofFault> {
    if old_size > new_size {
        return Err(ProofFault::OutOfRange);
    }
    for (size, root) in [(old_size, old_root), (new_size, new_root)] {
        if size == 0 && *root != empty_root() {
            return Err(ProofFault::OtherRoot);
        }
    }
    if old_size == 0 || old_size == new_size {
        if !proof.is_empty() {
            return Err(ProofFault::WrongLength);
        }
        let same = old_size == 0 || old_root == new_root;
        return if same { Ok(()) } else { Err(ProofFault::OtherRoot) };
    }

    // A complete old tree is itself the first node of the path.
    let mut path = proof.iter();
    let first =
        if old_size.is_power_of_two() { old_root } else { path.next().ok_or(ProofFault::WrongLength)? };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return Err(ProofFault::WrongLength);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofFault::WrongLength);
    }
    if old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(ProofFault::OtherRoot) }
}

#[cfg(test)]
mod tests {
    use super::super::hash::leaf_hash;
    use super::super::naive;
    use super::*;

    fn hash(hexadecimal: &str) -> Hash {
        Hash::from_slice(&hex::decode(hexadecimal).unwrap()).unwrap()
    }

    /// The eight leaves of the Certificate Transparency test vectors.
    fn vector_leaves() -> Vec<Hash> {
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
            .iter()
            .map(|entry| leaf_hash(&hex::decode(entry).unwrap()))
            .collect()
    }

    const VECTOR_ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn the_certificate_transparency_roots_and_audit_paths_verify() {
        let leaves = vector_leaves();
        for (i, expected) in VECTOR_ROOTS.iter().enumerate() {
            assert_eq!(naive::root(&leaves[..=i]), hash(expected), "root of {} leaves", i + 1);
        }
        let path = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
        .map(hash);
        verify_inclusion(&leaves[0], 0, 8, &path, &hash(VECTOR_ROOTS[7])).unwrap();
        let path = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
        .map(hash);
        verify_inclusion(&leaves[5], 5, 8, &path, &hash(VECTOR_ROOTS[7])).unwrap();
    }

    #[test]
    fn the_certificate_transparency_consistency_proofs_verify() {
        let six_to_eight = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
        .map(hash);
        verify_consistency(6, &hash(VECTOR_ROOTS[5]), 8, &hash(VECTOR_ROOTS[7]), &six_to_eight).unwrap();
        let one_to_eight = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
        .map(hash);
        verify_consistency(1, &hash(VECTOR_ROOTS[0]), 8, &hash(VECTOR_ROOTS[7]), &one_to_eight).unwrap();
    }

    #[test]
    fn small_trees_prove_each_leaf_at_its_own_place_only() {
        for size in 1..=20u64 {
            let leaves = naive::leaves(size);
            let root = naive::root(&leaves);
            for index in 0..size {
                let path = naive::path(index as usize, &leaves);
                for claimed in 0..size + 2 {
                    let verdict = verify_inclusion(&leaves[index as usize], claimed, size, &path, &root);
                    assert_eq!(verdict.is_ok(), claimed == index, "leaf {index} of {size} as {claimed}");
                }
                let mut longer = path.clone();
                longer.push(root);
                assert!(verify_inclusion(&leaves[index as usize], index, size, &longer, &root).is_err());
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(
                        verify_inclusion(&leaves[index as usize], index, size, shorter, &root),
                        Err(ProofFault::WrongLength)
                    );
                }
            }
        }
    }

    #[test]
    fn small_trees_are_consistent_with_their_own_past_only() {
        let leaves = naive::leaves(20);
        for new in 1..=20usize {
            let new_root = naive::root(&leaves[..new]);
            for old in 1..=new {
                let proof = naive::consistency(old, &leaves[..new]);
                for claimed in 1..=new {
                    let claimed_root = naive::root(&leaves[..claimed]);
                    let verdict =
                        verify_consistency(claimed as u64, &claimed_root, new as u64, &new_root, &proof);
                    assert_eq!(verdict.is_ok(), claimed == old, "{old} to {new}, claimed {claimed}");
                }
                let other = leaf_hash(b"other");
                assert!(verify_consistency(old as u64, &other, new as u64, &new_root, &proof).is_err());
                assert!(
                    verify_consistency(old as u64, &naive::root(&leaves[..old]), new as u64, &other, &proof)
                        .is_err()
                );
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_proof_is_noticed() {
        let leaves = naive::leaves(13);
        let (root, old_root) = (naive::root(&leaves), naive::root(&leaves[..6]));
        let path = naive::path(4, &leaves);
        let consistency = naive::consistency(6, &leaves);
        let flipped = |proof: &[Hash], at: usize, bit: usize| {
            let mut proof = proof.to_vec();
            let mut bytes = *proof[at].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            proof[at] = Hash::from_bytes(bytes);
            proof
        };
        for bit in 0..256 {
            for at in 0..path.len() {
                let bad = flipped(&path, at, bit);
                assert!(verify_inclusion(&leaves[4], 4, 13, &bad, &root).is_err());
            }
            for at in 0..consistency.len() {
                let bad = flipped(&consistency, at, bit);
                assert!(verify_consistency(6, &old_root, 13, &root, &bad).is_err());
            }
            let bad_leaf = flipped(&leaves, 4, bit)[4];
            assert!(verify_inclusion(&bad_leaf, 4, 13, &path, &root).is_err());
        }
    }

    #[test]
    fn the_empty_tree_begins_every_tree_and_nothing_else_does_so_for_free() {
        let leaves = naive::leaves(3);
        let root = naive::root(&leaves);
        verify_consistency(0, &empty_root(), 3, &root, &[]).unwrap();
        verify_consistency(0, &empty_root(), 0, &empty_root(), &[]).unwrap();
        verify_consistency(3, &root, 3, &root, &[]).unwrap();
        assert_eq!(verify_consistency(0, &root, 3, &root, &[]), Err(ProofFault::OtherRoot));
        assert_eq!(verify_consistency(0, &root, 0, &root, &[]), Err(ProofFault::OtherRoot));
        assert_eq!(verify_consistency(0, &empty_root(), 3, &root, &[root]), Err(ProofFault::WrongLength));
        assert_eq!(verify_consistency(3, &root, 3, &leaves[0], &[]), Err(ProofFault::OtherRoot));
        assert_eq!(verify_consistency(4, &root, 3, &root, &[]), Err(ProofFault::OutOfRange));
    }

    #[test]
    fn hostile_sizes_and_lengths_end_in_an_error() {
        let hash = leaf_hash(b"x");
        for length in [0, 1, 2, 63, 64, 65, 200] {
            let proof = vec![hash; length];
            for size in [0, 1, 2, 3, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX] {
                for other in [0, 1, 2, 3, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX] {
                    if !(other == 0 && size == 1 && length == 0) {
                        assert!(verify_inclusion(&hash, other, size, &proof, &hash).is_err());
                    }
                    if !(other == size && size != 0 && length == 0) {
                        assert!(verify_consistency(other, &hash, size, &hash, &proof).is_err());
                    }
                }
            }
        }
    }
}
