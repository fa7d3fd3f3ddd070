//! A tree that grows a whole level-0 tile at a time: the hashing inside the tiles may have been done
//! anywhere, in parallel; what is left over them is one two-hundred-and-fifty-sixth of the work.

use super::appender::{Appender, NotHeld, right_edge_tiles};
use super::hash::Hash;
use super::merkle::root;
use super::tile::{FULL_WIDTH, TileId, TileSource, complete_root};

/// The leaf hashes under one level-0 tile and, if it is full, their root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedTile {
    hashes: Vec<Hash>,
    root: Option<Hash>,
}

impl HashedTile {
    /// Of 1 to 256 leaf hashes.
    pub fn new(hashes: Vec<Hash>) -> Self {
        let full = hashes.len() == usize::from(FULL_WIDTH);
        Self { root: full.then(|| complete_root(&hashes)), hashes }
    }

    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }
}

/// The right edge of the tree. O(log n) memory.
#[derive(Debug, Default)]
pub struct TiledTree {
    size: u64,
    /// The last, partial tile of level 0.
    edge: Vec<Hash>,
    /// The levels above: its leaves are the roots of full level-0 tiles.
    upper: Appender,
}

impl TiledTree {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next tile; only the last may be partial. Answers the tiles above that became full.
    pub fn push(&mut self, tile: &HashedTile) -> Vec<(TileId, Vec<Hash>)> {
        debug_assert!(self.edge.is_empty(), "a tile after a partial one");
        // At most 256.
        self.size += tile.hashes.len() as u64;
        let Some(root) = tile.root else {
            self.edge = tile.hashes.clone();
            return Vec::new();
        };
        self.upper.append(root);
        let mut full = self.upper.take_dirty_tiles();
        self.upper.settle();
        full.retain(|(tile, _)| tile.is_full());
        full.iter_mut().for_each(|(tile, _)| tile.level += 1);
        full
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> Hash {
        // `push` leaves each partial tile at exactly the width that the size says.
        root(self.size, self).expect("the right edge is held whole")
    }

    /// The root of the first `size` leaves, for a size that ends inside `next`, the tile after these.
    pub fn root_within(&self, next: &HashedTile, size: u64) -> Option<Hash> {
        let more = usize::try_from(size.checked_sub(self.size)?).ok()?;
        let edge = next.hashes.get(..more).filter(|edge| edge.len() < usize::from(FULL_WIDTH))?.to_vec();
        let older = Self { size, edge, upper: self.upper.clone() };
        Some(older.root())
    }

    /// The partial tiles above level 0.
    pub fn edge_tiles(&self) -> Vec<(TileId, Vec<Hash>)> {
        right_edge_tiles(self.upper.size())
            .into_iter()
            .filter_map(|tile| {
                let hashes = self.upper.tile(tile).ok()?;
                Some((TileId { level: tile.level + 1, ..tile }, hashes))
            })
            .collect()
    }
}

impl TileSource for TiledTree {
    type Error = NotHeld;

    fn tile(&self, tile: TileId) -> Result<Vec<Hash>, NotHeld> {
        match tile.level.checked_sub(1) {
            Some(level) => self.upper.tile(TileId { level, ..tile }),
            None => self.edge.get(..usize::from(tile.width)).map(<[Hash]>::to_vec).ok_or(NotHeld(tile)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::*;

    #[test]
    fn tile_by_tile_gives_the_roots_of_every_size() {
        let leaves = naive::leaves(1100);
        for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 700, 1024, 1100] {
            let mut tree = TiledTree::new();
            for chunk in leaves[..size].chunks(256) {
                let tile = HashedTile::new(chunk.to_vec());
                let start = tree.size();
                for more in 0..chunk.len().min(255) as u64 {
                    let expected = naive::root(&leaves[..(start + more) as usize]);
                    assert_eq!(tree.root_within(&tile, start + more), Some(expected), "{start} + {more}");
                }
                assert_eq!(tree.root_within(&tile, start + 300), None);
                tree.push(&tile);
            }
            assert_eq!((tree.size(), tree.root()), (size as u64, naive::root(&leaves[..size])));
        }
    }

    #[test]
    fn the_tiles_above_are_those_of_an_appender() {
        let leaves = naive::leaves(66_000);
        let (mut tree, mut other) = (TiledTree::new(), Appender::new());
        let mut full = Vec::new();
        for chunk in leaves.chunks(256) {
            full.extend(tree.push(&HashedTile::new(chunk.to_vec())));
            for leaf in chunk {
                other.append(*leaf);
            }
        }
        assert_eq!(full.len(), 1);
        let all = full.into_iter().chain(tree.edge_tiles()).collect::<Vec<_>>();
        assert_eq!(all.len(), 3);
        for (tile, hashes) in all {
            assert_eq!(other.tile(tile).unwrap(), hashes, "{tile:?}");
        }
        assert_eq!(tree.root(), other.root());
    }
}
