//! Roots and proofs of a tree of any size, made from its tiles alone.
//!
//! A proof reads O(log n) tiles. Definitions: RFC 9162 §2.1.1 (root), §2.1.3.1 (inclusion), §2.1.4.1
//! (consistency). Checking proofs is [`super::proof`]'s part.

use std::collections::HashMap;

use super::hash::{Hash, empty_root, node_hash};
use super::tile::{FULL_WIDTH, TILE_HEIGHT, TileId, TileSource};

/// Why a proof or a root could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    /// The source failed to give a tile.
    #[error("the tile source failed")]
    Source(#[source] E),
    /// The source gave a tile of another width than was asked for.
    #[error("the source gave {got} hashes for tile {tile:?}")]
    WrongWidth { tile: TileId, got: usize },
    /// There is no such leaf or no such older size in the tree.
    #[error("the index or size lies outside the tree")]
    OutOfRange,
}

/// The root of the tree's first `size` leaves.
pub fn root<S: TileSource>(size: u64, source: &S) -> Result<Hash, ProofError<S::Error>> {
    Prover::new(size, source).root()
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling upwards.
pub fn inclusion_proof<S: TileSource>(
    index: u64,
    size: u64,
    source: &S,
) -> Result<Vec<Hash>, ProofError<S::Error>> {
    Prover::new(size, source).inclusion(index)
}

/// That the tree of `new` leaves continues the one of `old` leaves.
///
/// Empty where there is nothing to prove: `old` is 0 or equals `new`.
pub fn consistency_proof<S: TileSource>(
    old: u64,
    new: u64,
    source: &S,
) -> Result<Vec<Hash>, ProofError<S::Error>> {
    Prover::new(new, source).consistency(old)
}

/// Makes many proofs to one tree: each tile is fetched and hashed once for all of them.
///
/// It keeps every tile it read, so it is for one batch or one page of proofs, not for good.
pub struct Prover<'a, S: TileSource> {
    size: u64,
    source: &'a S,
    /// Per tile the hashes of its levels in the binary tree: row 0 are the tile's own.
    tiles: HashMap<(u8, u64), Vec<Vec<Hash>>>,
}

impl<'a, S: TileSource> Prover<'a, S> {
    /// Proofs to the tree of `size` leaves.
    pub fn new(size: u64, source: &'a S) -> Self {
        Self { size, source, tiles: HashMap::new() }
    }

    /// See [`root`].
    pub fn root(&mut self) -> Result<Hash, ProofError<S::Error>> {
        self.range(0, self.size)
    }

    /// See [`inclusion_proof`].
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, ProofError<S::Error>> {
        if index >= self.size {
            return Err(ProofError::OutOfRange);
        }
        let (mut low, mut high) = (0, self.size);
        let mut from_root = Vec::new();
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                from_root.push(self.range(middle, high)?);
                high = middle;
            } else {
                from_root.push(self.range(low, middle)?);
                low = middle;
            }
        }
        from_root.reverse();
        Ok(from_root)
    }

    /// See [`consistency_proof`].
    pub fn consistency(&mut self, old: u64) -> Result<Vec<Hash>, ProofError<S::Error>> {
        if old > self.size {
            return Err(ProofError::OutOfRange);
        }
        if old == 0 || old == self.size {
            return Ok(Vec::new());
        }
        let (mut low, mut high) = (0, self.size);
        let mut from_root = Vec::new();
        while high != old {
            let middle = low + split(high - low);
            if old <= middle {
                from_root.push(self.range(middle, high)?);
                high = middle;
            } else {
                from_root.push(self.range(low, middle)?);
                low = middle;
            }
        }
        // A subtree that begins at leaf 0 is the whole old tree, whose root the verifier has.
        if low != 0 {
            from_root.push(self.range(low, high)?);
        }
        from_root.reverse();
        Ok(from_root)
    }

    /// The hash over leaves `low..high`, a range that RFC 9162's recursion reaches: `low` is a
    /// multiple of the largest power of two not above `high - low`.
    fn range(&mut self, low: u64, high: u64) -> Result<Hash, ProofError<S::Error>> {
        // The complete subtrees of the range, largest first, are the bits of its length.
        let mut parts = Vec::new();
        let mut at = low;
        while at < high {
            let height = u64::BITS - 1 - (high - at).leading_zeros();
            parts.push(self.node(height, at >> height)?);
            at += 1 << height;
        }
        let mut parts = parts.into_iter().rev();
        let Some(mut hash) = parts.next() else { return Ok(empty_root()) };
        for left in parts {
            hash = node_hash(&left, &hash);
        }
        Ok(hash)
    }

    /// The root of the complete subtree over leaves `index << height .. (index + 1) << height`.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, ProofError<S::Error>> {
        // At most 63 / 8 = 7: fits u8.
        let level = (height / TILE_HEIGHT) as u8;
        let inner = height % TILE_HEIGHT;
        let tile = index >> (TILE_HEIGHT - inner);
        // At most 255: fits usize.
        let at = (index % (u64::from(FULL_WIDTH) >> inner)) as usize;
        let rows = self.rows(level, tile)?;
        let hash = rows.get(inner as usize).and_then(|row| row.get(at));
        hash.copied().ok_or(ProofError::OutOfRange)
    }

    fn rows(&mut self, level: u8, index: u64) -> Result<&[Vec<Hash>], ProofError<S::Error>> {
        use std::collections::hash_map::Entry;
        match self.tiles.entry((level, index)) {
            Entry::Occupied(rows) => Ok(rows.into_mut()),
            Entry::Vacant(vacant) => {
                let tile = TileId::in_tree(level, index, self.size).ok_or(ProofError::OutOfRange)?;
                let hashes = self.source.tile(tile).map_err(ProofError::Source)?;
                if hashes.len() != usize::from(tile.width) {
                    return Err(ProofError::WrongWidth { tile, got: hashes.len() });
                }
                let mut rows = vec![hashes];
                while let Some(above) = rows.last().map(|row| pairs(row)).filter(|above| !above.is_empty()) {
                    rows.push(above);
                }
                Ok(vacant.insert(rows))
            }
        }
    }
}

/// The parents of a row's complete pairs.
fn pairs(row: &[Hash]) -> Vec<Hash> {
    row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect()
}

/// The largest power of two smaller than `n`; `n` is at least 2.
fn split(n: u64) -> u64 {
    debug_assert!(n >= 2);
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::super::naive;
    use super::super::proof::{verify_consistency, verify_inclusion};
    use super::super::tile::complete_root;
    use super::*;

    /// A tree in which every leaf has the same hash: any size is cheap.
    struct Uniform {
        levels: Vec<Hash>,
        reads: Cell<usize>,
    }

    impl Uniform {
        fn new() -> Self {
            let mut levels = vec![super::super::hash::leaf_hash(b"same")];
            for level in 1..=7 {
                let below = levels[level - 1];
                levels.push(complete_root(&[below; 256]));
            }
            Self { levels, reads: Cell::new(0) }
        }
    }

    impl TileSource for Uniform {
        type Error = Infallible;
        fn tile(&self, tile: TileId) -> Result<Vec<Hash>, Infallible> {
            self.reads.set(self.reads.get() + 1);
            Ok(vec![self.levels[usize::from(tile.level)]; usize::from(tile.width)])
        }
    }

    #[test]
    fn trees_of_every_size_give_proofs_from_few_tiles() {
        let source = Uniform::new();
        for size in [1, 255, 256, 257, 65_539, 1 << 40, (1 << 40) + 77, u64::MAX - 1, u64::MAX] {
            let head = root(size, &source).unwrap();
            for index in [0, size / 3, size / 2, size - 1] {
                source.reads.set(0);
                let path = inclusion_proof(index, size, &source).unwrap();
                assert!(source.reads.get() <= 16, "{} tiles for leaf {index} of {size}", source.reads.get());
                verify_inclusion(&source.levels[0], index, size, &path, &head).unwrap();
            }
            for old in [1, size / 3 + 1, size / 2 + 1, size] {
                if old > size {
                    continue;
                }
                source.reads.set(0);
                let path = consistency_proof(old, size, &source).unwrap();
                assert!(source.reads.get() <= 16, "{} tiles from {old} to {size}", source.reads.get());
                let old_head = root(old, &source).unwrap();
                verify_consistency(old, &old_head, size, &head, &path).unwrap();
            }
        }
    }

    #[test]
    fn a_batch_of_proofs_fetches_each_tile_once() {
        let source = Uniform::new();
        let size = (1 << 20) + 300;
        let head = root(size, &source).unwrap();
        source.reads.set(0);
        let mut prover = Prover::new(size, &source);
        for index in size - 256..size {
            let path = prover.inclusion(index).unwrap();
            verify_inclusion(&source.levels[0], index, size, &path, &head).unwrap();
        }
        assert_eq!(prover.root().unwrap(), head);
        assert!(source.reads.get() <= 6, "{} tiles for one batch", source.reads.get());
    }

    #[test]
    fn what_the_tree_does_not_have_is_out_of_range() {
        let source = Uniform::new();
        for (index, size) in [(0, 0), (5, 5), (u64::MAX, 5), (u64::MAX, u64::MAX)] {
            assert_eq!(inclusion_proof(index, size, &source), Err(ProofError::OutOfRange));
        }
        assert_eq!(consistency_proof(6, 5, &source), Err(ProofError::OutOfRange));
        assert_eq!(source.reads.get(), 0);
    }

    #[test]
    fn a_source_that_fails_or_gives_too_little_is_told_apart_from_a_bad_index() {
        struct Failing;
        impl TileSource for Failing {
            type Error = &'static str;
            fn tile(&self, _: TileId) -> Result<Vec<Hash>, &'static str> {
                Err("the disk is gone")
            }
        }
        struct Short;
        impl TileSource for Short {
            type Error = Infallible;
            fn tile(&self, tile: TileId) -> Result<Vec<Hash>, Infallible> {
                Ok(vec![empty_root(); usize::from(tile.width) - 1])
            }
        }
        assert_eq!(inclusion_proof(3, 9, &Failing), Err(ProofError::Source("the disk is gone")));
        assert_eq!(root(9, &Failing), Err(ProofError::Source("the disk is gone")));
        assert!(matches!(consistency_proof(3, 9, &Short), Err(ProofError::WrongWidth { got: 8, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn proofs_are_those_of_the_recursive_definition(size in 1u64..600, a in any::<u64>(), b in any::<u64>()) {
            let leaves = naive::leaves(size);
            let tree = naive::Tiles::of(&leaves);
            prop_assert_eq!(root(size, &tree).unwrap(), naive::root(&leaves));
            let index = a % size;
            prop_assert_eq!(inclusion_proof(index, size, &tree).unwrap(), naive::path(index as usize, &leaves));
            let old = b % size + 1;
            prop_assert_eq!(consistency_proof(old, size, &tree).unwrap(), naive::consistency(old as usize, &leaves));
        }
    }
}
