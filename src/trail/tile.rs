//! Tiles: the pieces in which a tree is stored and published (C2SP `tlog-tiles`).
//!
//! A tile is up to 256 consecutive hashes of one level. Level 0 holds leaf
//! hashes; a hash of level *l* is the root of one full tile of level *l − 1*,
//! so it stands for 256^l leaves. Sizes are 64 bits, therefore levels 0 to 7.

use super::hash::{Hash, node_hash};

/// Hashes in a full tile, and entries in a full bundle.
pub const FULL_WIDTH: u16 = 256;
/// The height of a tile in levels of the binary tree.
pub const TILE_HEIGHT: u32 = 8;
/// The highest tile level a 64-bit size can reach.
pub const MAX_LEVEL: u8 = 7;

/// Which tile, at which width. Widths 1 to 255 are *partial* tiles: what the tree's right edge
/// looked like at some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 for leaf hashes, at most [`MAX_LEVEL`].
    pub level: u8,
    /// Position within the level.
    pub index: u64,
    /// 1 to 256 hashes.
    pub width: u16,
}

impl TileId {
    /// `None` where no 64-bit tree has such a tile.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        if level > MAX_LEVEL || !(1..=FULL_WIDTH).contains(&width) {
            return None;
        }
        let end = u128::from(index) * u128::from(FULL_WIDTH) + u128::from(width);
        let leaves = end << (TILE_HEIGHT * u32::from(level));
        (leaves <= u128::from(u64::MAX)).then_some(Self { level, index, width })
    }

    /// The tile at `index` of `level` as wide as a tree of `size` makes it; `None` where it has none.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let before = index.checked_mul(u64::from(FULL_WIDTH))?;
        let here = hashes_in_level(level, size).checked_sub(before)?.min(u64::from(FULL_WIDTH));
        // At most 256, so the conversion holds.
        (here > 0).then_some(Self { level, index, width: here as u16 })
    }

    pub fn is_full(&self) -> bool {
        self.width == FULL_WIDTH
    }
}

/// How many hashes a level of the tiled tree has: `⌊size / 256^level⌋`.
pub fn hashes_in_level(level: u8, size: u64) -> u64 {
    size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0)
}

/// The root of a complete subtree whose leaves are `hashes`: 1, 2, 4 … 256 of them.
pub(super) fn complete_root(hashes: &[Hash]) -> Hash {
    debug_assert!(hashes.len().is_power_of_two());
    let mut row = hashes.to_vec();
    let mut width = row.len();
    while width > 1 {
        width /= 2;
        for at in 0..width {
            row[at] = node_hash(&row[2 * at], &row[2 * at + 1]);
        }
    }
    row[0]
}

/// A tile's bytes as they are stored and published: its hashes one after the other.
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.as_bytes()).copied().collect()
}

/// The bytes are not those of exactly the hashes that the tile's width says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tile has not 32 bytes for each hash of its width")]
pub struct TileLengthError;

/// Reads a tile's bytes, which must be exactly `width` hashes.
pub fn decode_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileLengthError> {
    if bytes.len() != usize::from(width) * Hash::LEN {
        return Err(TileLengthError);
    }
    bytes.chunks_exact(Hash::LEN).map(|chunk| Hash::from_slice(chunk).ok_or(TileLengthError)).collect()
}

/// Where tiles come from: a database, a directory, a server, memory.
///
/// The hashes are checked by whoever uses them only in so far as a root is compared: a source is
/// not trusted, and a lying one gives proofs that do not verify.
pub trait TileSource {
    type Error;

    /// The hashes of the tile, exactly `tile.width` of them. A source that holds the tile at a
    /// greater width gives the prefix.
    fn tile(&self, tile: TileId) -> Result<Vec<Hash>, Self::Error>;
}

impl<S: TileSource + ?Sized> TileSource for &S {
    type Error = S::Error;

    fn tile(&self, tile: TileId) -> Result<Vec<Hash>, Self::Error> {
        (**self).tile(tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seventy_thousand_leaves_have_the_tiles_of_the_specification() {
        let size = 70_000;
        assert_eq!(TileId::in_tree(0, 272, size), TileId::new(0, 272, 256));
        assert_eq!(TileId::in_tree(0, 273, size), TileId::new(0, 273, 112));
        assert_eq!(TileId::in_tree(0, 274, size), None);
        assert_eq!(TileId::in_tree(1, 1, size), TileId::new(1, 1, 17));
        assert_eq!(TileId::in_tree(2, 0, size), TileId::new(2, 0, 1));
        assert_eq!(TileId::in_tree(3, 0, size), None);
        assert_eq!(TileId::in_tree(200, 0, size), None);
    }

    #[test]
    fn a_tile_beyond_every_tree_does_not_exist() {
        assert!(TileId::new(0, 0, 0).is_none());
        assert!(TileId::new(0, 0, 257).is_none());
        assert!(TileId::new(8, 0, 1).is_none());
        assert!(TileId::new(7, 0, 255).is_some());
        assert!(TileId::new(7, 0, 256).is_none());
        assert!(TileId::new(0, u64::MAX, 1).is_none());
        assert!(TileId::in_tree(0, u64::MAX, u64::MAX).is_none());
        assert!(TileId::in_tree(0, (1 << 56) - 1, u64::MAX).is_some_and(|tile| tile.width == 255));
    }
}
