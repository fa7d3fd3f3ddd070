//! The whole tree again, from the entries: every tile is recomputed and compared with the
//! published one. Streaming, in O(log n) memory.

use std::fmt;

use super::appender::{Appender, right_edge_tiles};
use super::hash::{Hash, leaf_hash};
use super::layout::Resource;
use super::tile::{FULL_WIDTH, TileId, TileSource};

/// The first thing in which a published log disagrees with itself.
#[derive(Debug, PartialEq, Eq)]
pub enum TreeFault<E, S> {
    /// The entries could not be read on.
    EntrySource { index: u64, error: E },
    /// A tile could not be read.
    TileSource { tile: TileId, error: S },
    /// There are fewer entries than the checkpoint says.
    EntriesMissing { from: u64 },
    /// There are more entries than the checkpoint says.
    EntriesExtra { from: u64 },
    /// This entry is not the one that was hashed into the log: neither its tile nor the root fits it.
    Entry { index: u64 },
    /// The tile is not that of the entries, at this hash. The entries are those of the checkpoint,
    /// unless a lower tile was damaged together with them.
    Tile { tile: TileId, at: u16 },
    /// The tile has another number of hashes than its path says.
    TileWidth { tile: TileId, got: usize },
    /// Entries and tiles agree, and the checkpoint's root is another.
    Root { computed: Hash },
}

impl<E: fmt::Display, S: fmt::Display> fmt::Display for TreeFault<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |tile: &TileId| Resource::Tile(*tile).path();
        match self {
            TreeFault::EntrySource { index, error } => write!(f, "entry {index} cannot be read: {error}"),
            TreeFault::TileSource { tile, error } => write!(f, "{} cannot be read: {error}", path(tile)),
            TreeFault::EntriesMissing { from } => write!(f, "the entries from {from} on are missing"),
            TreeFault::EntriesExtra { from } => {
                write!(f, "there are entries beyond the checkpoint, from {from} on")
            }
            TreeFault::Entry { index } => write!(f, "entry {index} is not the one that was logged"),
            TreeFault::Tile { tile, at } => write!(f, "{} differs from the entries at hash {at}", path(tile)),
            TreeFault::TileWidth { tile, got } => write!(f, "{} holds {got} hashes", path(tile)),
            TreeFault::Root { computed } => {
                write!(f, "the checkpoint's root is not that of the entries, which is {computed}")
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display, S: fmt::Debug + fmt::Display> std::error::Error for TreeFault<E, S> {}

/// Recomputes the tree of the first `size` entries and compares tiles and root.
///
/// `entries` must end after `size` items. A difference in a tile is only judged at the end, when the
/// root tells whether the entry or the tile was changed; what cannot be read ends the check at once.
pub fn verify_tree<I, E, S>(
    size: u64,
    root: &Hash,
    entries: I,
    tiles: &S,
) -> Result<(), TreeFault<E, S::Error>>
where
    I: IntoIterator<Item = Result<Vec<u8>, E>>,
    S: TileSource,
{
    let mut entries = entries.into_iter();
    let mut appender = Appender::new();
    let mut first_difference = None;
    for index in 0..size {
        let entry = match entries.next() {
            None => return Err(TreeFault::EntriesMissing { from: index }),
            Some(Err(error)) => return Err(TreeFault::EntrySource { index, error }),
            Some(Ok(entry)) => entry,
        };
        appender.append(leaf_hash(&entry));
        if (index + 1) % u64::from(FULL_WIDTH) == 0 {
            for (tile, computed) in appender.take_dirty_tiles() {
                // A tile that still grows is compared when it is full, or below when the log ends.
                if tile.is_full() {
                    let found = compare(tile, &computed, tiles)?;
                    first_difference = first_difference.or(found);
                }
            }
            appender.settle();
        }
    }
    if entries.next().is_some() {
        return Err(TreeFault::EntriesExtra { from: size });
    }
    for tile in right_edge_tiles(size) {
        // An appender holds the right edge of its own size whole, whatever was settled.
        let computed = appender.tile(tile).expect("the right edge is held whole");
        let found = compare(tile, &computed, tiles)?;
        first_difference = first_difference.or(found);
    }
    let computed = appender.root();
    match (first_difference, computed == *root) {
        (None, true) => Ok(()),
        (None, false) => Err(TreeFault::Root { computed }),
        (Some((tile, at)), false) if tile.level == 0 => {
            Err(TreeFault::Entry { index: tile.index * u64::from(FULL_WIDTH) + u64::from(at) })
        }
        (Some((tile, at)), _) => Err(TreeFault::Tile { tile, at }),
    }
}

/// A hash of a published tile that is not the computed one.
type Difference = (TileId, u16);

/// Where the published tile first differs from the computed one.
fn compare<E, S: TileSource>(
    tile: TileId,
    computed: &[Hash],
    tiles: &S,
) -> Result<Option<Difference>, TreeFault<E, S::Error>> {
    let published = tiles.tile(tile).map_err(|error| TreeFault::TileSource { tile, error })?;
    if published.len() != computed.len() {
        return Err(TreeFault::TileWidth { tile, got: published.len() });
    }
    let at = published.iter().zip(computed).position(|(published, computed)| published != computed);
    // At most 255: fits u16.
    Ok(at.map(|at| (tile, at as u16)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Published {
        entries: Vec<Vec<u8>>,
        tiles: BTreeMap<TileId, Vec<Hash>>,
        root: Hash,
    }

    impl TileSource for Published {
        type Error = &'static str;
        fn tile(&self, tile: TileId) -> Result<Vec<Hash>, &'static str> {
            self.tiles.get(&tile).cloned().ok_or("no such file")
        }
    }

    impl Published {
        fn of(size: u64) -> Self {
            let entries: Vec<Vec<u8>> = (0..size).map(|i| format!("entry {i}").into_bytes()).collect();
            let mut appender = Appender::new();
            let mut tiles = BTreeMap::new();
            for entry in &entries {
                appender.append(leaf_hash(entry));
            }
            tiles.extend(appender.take_dirty_tiles());
            Self { entries, tiles, root: appender.root() }
        }

        fn verdict(&self, size: u64) -> Result<(), TreeFault<String, &'static str>> {
            verify_tree(size, &self.root, self.entries.iter().cloned().map(Ok), self)
        }
    }

    #[test]
    fn untouched_logs_of_awkward_sizes_are_good() {
        for size in [0, 1, 255, 256, 257, 511, 512, 600, 1024] {
            assert_eq!(Published::of(size).verdict(size), Ok(()), "size {size}");
        }
    }

    #[test]
    fn a_changed_entry_is_named() {
        for index in [0, 255, 256, 599] {
            let mut log = Published::of(600);
            log.entries[index][0] ^= 1;
            assert_eq!(log.verdict(600), Err(TreeFault::Entry { index: index as u64 }));
        }
    }

    #[test]
    fn a_changed_tile_is_named_at_every_level() {
        let clean = Published::of(600);
        for tile in clean.tiles.keys() {
            let mut log = Published::of(600);
            let hashes = log.tiles.get_mut(tile).unwrap();
            let at = hashes.len() - 1;
            hashes[at] = leaf_hash(b"another");
            assert_eq!(log.verdict(600), Err(TreeFault::Tile { tile: *tile, at: at as u16 }));
        }
    }

    #[test]
    fn entry_and_tile_changed_together_still_miss_the_root() {
        let mut log = Published::of(600);
        log.entries[599] = b"forged".to_vec();
        log.tiles.get_mut(&TileId::new(0, 2, 88).unwrap()).unwrap()[87] = leaf_hash(b"forged");
        assert!(matches!(log.verdict(600), Err(TreeFault::Root { .. })));
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let mut log = Published::of(300);
        let full = TileId::new(0, 0, 256).unwrap();
        assert_eq!(log.verdict(299), Err(TreeFault::EntriesExtra { from: 299 }));
        log.entries.push(b"one more".to_vec());
        assert_eq!(log.verdict(300), Err(TreeFault::EntriesExtra { from: 300 }));
        log.entries.truncate(300);
        let partial = TileId::new(0, 1, 44).unwrap();
        let kept = log.tiles.remove(&partial).unwrap();
        assert_eq!(log.verdict(300), Err(TreeFault::TileSource { tile: partial, error: "no such file" }));
        log.tiles.insert(partial, kept);
        assert_eq!(log.verdict(300), Ok(()));
        log.entries.truncate(280);
        assert_eq!(log.verdict(300), Err(TreeFault::EntriesMissing { from: 280 }));
        log.tiles.get_mut(&full).unwrap().pop();
        assert_eq!(log.verdict(300), Err(TreeFault::TileWidth { tile: full, got: 255 }));
        log.tiles.remove(&full);
        assert_eq!(log.verdict(300), Err(TreeFault::TileSource { tile: full, error: "no such file" }));
        let broken = (0..3).map(|i| if i < 2 { Ok(vec![i]) } else { Err("unreadable") });
        assert_eq!(
            verify_tree(3, &log.root, broken, &log),
            Err(TreeFault::EntrySource { index: 2, error: "unreadable" })
        );
    }
}
