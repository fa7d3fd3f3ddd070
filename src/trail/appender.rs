//! The growing end of a tree: takes leaf hashes, gives roots, the tiles that changed, and proofs
//! for what was just appended.
//!
//! It holds the partial tile of each level (the *right edge*) and the tiles touched since the last
//! [`Appender::settle`]: O(log n) memory between batches. A batch that must not happen is undone by
//! keeping a clone from before it.

use std::collections::{BTreeMap, BTreeSet};

use super::hash::Hash;
use super::merkle::{ProofError, root};
use super::tile::{FULL_WIDTH, MAX_LEVEL, TileId, TileSource, complete_root, hashes_in_level};

/// The largest size an appender starts from. Far above any real log, so that counting on cannot overflow.
pub const MAX_START: u64 = 1 << 62;

/// The in-memory right edge of a tree.
#[derive(Debug, Clone, Default)]
pub struct Appender {
    size: u64,
    /// The partial tile of each level, 0 to 255 hashes.
    edge: Vec<Vec<Hash>>,
    /// Tiles that became full since the last settle, by level and index.
    filled: BTreeMap<(u8, u64), Vec<Hash>>,
    /// Tiles that changed since they were last taken.
    dirty: BTreeSet<(u8, u64)>,
}

/// The appender does not hold this tile; it is older than the last settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the appender does not hold this tile")]
pub struct NotHeld(pub TileId);

/// The partial tiles of a tree of `size` leaves: what must be loaded to append to it.
pub fn right_edge_tiles(size: u64) -> Vec<TileId> {
    (0..=MAX_LEVEL)
        .filter_map(|level| {
            let hashes = hashes_in_level(level, size);
            // At most 255: fits u16.
            let width = (hashes % u64::from(FULL_WIDTH)) as u16;
            TileId::new(level, hashes / u64::from(FULL_WIDTH), width)
        })
        .collect()
}

impl Appender {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The right edge of a tree of `size` leaves, read from its tiles (see [`right_edge_tiles`]).
    ///
    /// The caller compares [`Appender::root`] with what it signed before: this only loads.
    pub fn load<S: TileSource>(size: u64, source: &S) -> Result<Self, ProofError<S::Error>> {
        if size > MAX_START {
            return Err(ProofError::OutOfRange);
        }
        let mut appender = Self { size, ..Self::default() };
        for tile in right_edge_tiles(size) {
            let hashes = source.tile(tile).map_err(ProofError::Source)?;
            if hashes.len() != usize::from(tile.width) {
                return Err(ProofError::WrongWidth { tile, got: hashes.len() });
            }
            *appender.edge_of(usize::from(tile.level)) = hashes;
        }
        Ok(appender)
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; answers its index.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size;
        self.size += 1;
        let mut carried = leaf;
        for level in 0..=MAX_LEVEL {
            let tile = index >> (8 * (u32::from(level) + 1));
            let edge = self.edge_of(usize::from(level));
            edge.push(carried);
            let full = edge.len() == usize::from(FULL_WIDTH);
            let filled = if full { std::mem::take(edge) } else { Vec::new() };
            self.dirty.insert((level, tile));
            if !full {
                break;
            }
            carried = complete_root(&filled);
            self.filled.insert((level, tile), filled);
        }
        index
    }

    /// The root over all leaves. Who needs proofs as well takes both from one [`super::Prover`].
    pub fn root(&self) -> Hash {
        // `append` and `load` leave each partial tile at exactly the width that the size says, and
        // `root` reads nothing else.
        root(self.size, self).expect("the right edge is held whole")
    }

    /// The tiles that changed since the last take, each at its present width, by level and index.
    pub fn take_dirty_tiles(&mut self) -> Vec<(TileId, Vec<Hash>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty
            .into_iter()
            .filter_map(|(level, index)| {
                let hashes = self.held(level, index)?;
                // At most 256: fits u16.
                let tile = TileId::new(level, index, hashes.len() as u16)?;
                Some((tile, hashes.to_vec()))
            })
            .collect()
    }

    /// Forgets the full tiles: the store has them now. Call after the batch is durable and its
    /// proofs are made.
    pub fn settle(&mut self) {
        self.filled.clear();
    }

    fn edge_of(&mut self, level: usize) -> &mut Vec<Hash> {
        if self.edge.len() <= level {
            self.edge.resize_with(level + 1, Vec::new);
        }
        &mut self.edge[level]
    }

    fn held(&self, level: u8, index: u64) -> Option<&[Hash]> {
        if let Some(hashes) = self.filled.get(&(level, index)) {
            return Some(hashes);
        }
        let at_edge = hashes_in_level(level, self.size) / u64::from(FULL_WIDTH);
        if index != at_edge {
            return None;
        }
        self.edge.get(usize::from(level)).map(Vec::as_slice)
    }
}

impl TileSource for Appender {
    type Error = NotHeld;

    fn tile(&self, tile: TileId) -> Result<Vec<Hash>, NotHeld> {
        let held = self.held(tile.level, tile.index).and_then(|hashes| hashes.get(..usize::from(tile.width)));
        held.map(<[Hash]>::to_vec).ok_or(NotHeld(tile))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::layout::tiles_for;
    use super::super::merkle::inclusion_proof;
    use super::super::naive;
    use super::super::proof::verify_inclusion;
    use super::*;

    /// What a store would hold: every tile ever taken.
    #[derive(Default)]
    struct Store(BTreeMap<TileId, Vec<Hash>>);

    impl Store {
        fn save(&mut self, appender: &mut Appender) {
            self.0.extend(appender.take_dirty_tiles());
        }
    }

    impl TileSource for Store {
        type Error = NotHeld;
        fn tile(&self, tile: TileId) -> Result<Vec<Hash>, NotHeld> {
            self.0.get(&tile).cloned().ok_or(NotHeld(tile))
        }
    }

    #[test]
    fn the_right_edge_of_awkward_sizes() {
        let edge = |size| -> Vec<(u8, u64, u16)> {
            right_edge_tiles(size).into_iter().map(|t| (t.level, t.index, t.width)).collect()
        };
        assert_eq!(edge(0), []);
        assert_eq!(edge(1), [(0, 0, 1)]);
        assert_eq!(edge(255), [(0, 0, 255)]);
        assert_eq!(edge(256), [(1, 0, 1)]);
        assert_eq!(edge(257), [(0, 1, 1), (1, 0, 1)]);
        assert_eq!(edge(65_539), [(0, 256, 3), (2, 0, 1)]);
        assert_eq!(edge(u64::MAX).len(), 8);
    }

    #[test]
    fn growing_past_a_level_one_tile_keeps_root_tiles_and_proofs_right() {
        let leaves = naive::leaves(65_539);
        let mut appender = Appender::new();
        let mut store = Store::default();
        for (index, leaf) in leaves.iter().enumerate() {
            assert_eq!(appender.append(*leaf), index as u64);
            let size = index + 1;
            if size % 4096 == 0 || size > 65_530 {
                store.save(&mut appender);
                appender.settle();
            }
        }
        assert_eq!(appender.root(), naive::root(&leaves));
        let expected: Vec<TileId> = tiles_for(65_539).collect();
        for tile in &expected {
            assert!(store.0.contains_key(tile), "{tile:?} was never given out");
        }
        for index in [0, 255, 256, 65_535, 65_536, 65_538] {
            let proof = inclusion_proof(index, 65_539, &store).unwrap();
            verify_inclusion(&leaves[index as usize], index, 65_539, &proof, &appender.root()).unwrap();
        }
        let held: usize = appender.edge.iter().map(Vec::len).sum();
        assert_eq!(held, 3 + 1, "more is kept than the right edge");
        assert!(appender.filled.is_empty() && appender.dirty.is_empty());
    }

    #[test]
    fn an_older_tile_is_not_held() {
        let mut appender = Appender::new();
        for leaf in naive::leaves(300) {
            appender.append(leaf);
        }
        let first = TileId::new(0, 0, 256).unwrap();
        assert_eq!(appender.tile(first).unwrap().len(), 256);
        appender.settle();
        assert_eq!(appender.tile(first), Err(NotHeld(first)));
        assert_eq!(appender.tile(TileId::new(0, 1, 44).unwrap()).unwrap().len(), 44);
        assert!(appender.tile(TileId::new(0, 1, 45).unwrap()).is_err());
    }

    #[test]
    fn a_size_no_log_reaches_is_not_loaded() {
        let nothing = Store::default();
        assert!(matches!(Appender::load(u64::MAX, &nothing), Err(ProofError::OutOfRange)));
        assert!(matches!(Appender::load(5, &nothing), Err(ProofError::Source(NotHeld(_)))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn batches_restarts_and_undone_batches_end_in_the_same_tree(
            batches in proptest::collection::vec((0usize..120, any::<bool>(), any::<bool>()), 1..9),
        ) {
            let total: usize = batches.iter().map(|(count, ..)| count).sum();
            let leaves = naive::leaves(total as u64);
            let mut appender = Appender::new();
            let mut store = Store::default();
            for (count, restart, undo_first) in batches {
                let start = appender.size();
                if undo_first {
                    let before = appender.clone();
                    for i in 0..300u64 {
                        appender.append(super::super::hash::leaf_hash(&[i as u8, 9]));
                    }
                    appender = before;
                }
                for leaf in &leaves[start as usize..start as usize + count] {
                    appender.append(*leaf);
                }
                let size = appender.size();
                let so_far = &leaves[..size as usize];
                prop_assert_eq!(appender.root(), naive::root(so_far));
                // Proofs of what was just appended need no store.
                for index in [start, start + (count as u64) / 2, size.saturating_sub(1)] {
                    if index >= start && index < size {
                        let proof = inclusion_proof(index, size, &appender).unwrap();
                        prop_assert_eq!(proof, naive::path(index as usize, so_far));
                    }
                }
                store.save(&mut appender);
                appender.settle();
                let naive_tiles = naive::Tiles::of(so_far);
                for tile in tiles_for(size) {
                    prop_assert_eq!(store.tile(tile).unwrap(), naive_tiles.tile(tile).unwrap());
                }
                if restart {
                    appender = Appender::load(size, &store).unwrap();
                    prop_assert_eq!(appender.root(), naive::root(so_far));
                }
            }
        }
    }
}
