//! The whole tree again, from the entries: every tile is recomputed and compared with the
//! published one. On all cores, in bounded memory, with the same answer on any number of them.

use std::fmt;
use std::num::NonZeroUsize;

use super::hash::{Hash, empty_root, leaf_hash};
use super::in_order::in_order;
use super::layout::Resource;
use super::tile::{FULL_WIDTH, TileId, TileSource};
use super::tiled::{HashedTile, TiledTree};

/// Where entries come from: a published log.
pub trait EntrySource: TileSource {
    /// Shows the entries under a level-0 tile, exactly `tile.width` of them.
    fn entries<R>(&self, tile: TileId, show: impl FnOnce(&[&[u8]]) -> R) -> Result<R, Self::Error>;
}

/// The first thing in which a published log disagrees with itself.
#[derive(Debug, PartialEq, Eq)]
pub enum TreeFault<E> {
    /// A tile or its entries could not be read.
    Source { tile: TileId, error: E },
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

impl<E: fmt::Display> fmt::Display for TreeFault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |tile: &TileId| Resource::Tile(*tile).path();
        match self {
            TreeFault::Source { tile, error } => {
                write!(f, "{} or its entries cannot be read: {error}", path(tile))
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

impl<E: fmt::Debug + fmt::Display> std::error::Error for TreeFault<E> {}

/// What to hold a log against.
#[derive(Debug, Clone, Copy)]
pub struct TreeCheck<'a> {
    pub size: u64,
    pub root: &'a Hash,
    /// A size whose root is wanted too: of an older checkpoint. At most `size`.
    pub older: Option<u64>,
    pub threads: NonZeroUsize,
}

/// One level-0 tile with its entries, worked through by a worker.
struct Worked {
    tile: TileId,
    hashed: HashedTile,
    differs: Option<u16>,
    kept: Vec<(u64, Vec<u8>)>,
}

/// Recomputes the tree of the first `size` entries and compares tiles and root. Answers the root at
/// the older size, where one is asked for.
///
/// A difference in a tile is only judged at the end, when the root tells whether the entry or the
/// tile was changed; what cannot be read ends the check at once.
///
/// `wants` chooses entries on any thread, so that they need not be read again. `passed` gets them in
/// order, tile by tile, with the number of entries checked so far.
pub fn verify_tree<S>(
    check: &TreeCheck<'_>,
    source: &S,
    wants: impl Fn(&[u8]) -> bool + Sync,
    mut passed: impl FnMut(u64, Vec<(u64, Vec<u8>)>),
) -> Result<Option<Hash>, TreeFault<S::Error>>
where
    S: EntrySource + Sync,
    S::Error: Send,
{
    let TreeCheck { size, root, older, threads } = *check;
    let mut tree = TiledTree::new();
    let mut older_root = (older == Some(0)).then(empty_root);
    let mut first_difference = None;
    let count = size.div_ceil(u64::from(FULL_WIDTH));
    in_order(
        threads,
        count,
        |index| work(index, size, source, &wants),
        |_, worked| {
            let Worked { tile, hashed, differs, kept } = worked?;
            older_root = older_root.or_else(|| tree.root_within(&hashed, older?));
            let full = tree.push(&hashed);
            older_root = older_root.or_else(|| (older == Some(tree.size())).then(|| tree.root()));
            first_difference = first_difference.or(differs.map(|at| (tile, at)));
            for (tile, computed) in full {
                let found = compare(tile, &computed, source)?;
                first_difference = first_difference.or(found);
            }
            passed(tree.size(), kept);
            Ok(())
        },
    )?;
    for (tile, computed) in tree.edge_tiles() {
        let found = compare(tile, &computed, source)?;
        first_difference = first_difference.or(found);
    }
    let computed = tree.root();
    match (first_difference, computed == *root) {
        (None, true) => Ok(older_root),
        (None, false) => Err(TreeFault::Root { computed }),
        (Some((tile, at)), false) if tile.level == 0 => {
            Err(TreeFault::Entry { index: tile.index * u64::from(FULL_WIDTH) + u64::from(at) })
        }
        (Some((tile, at)), _) => Err(TreeFault::Tile { tile, at }),
    }
}

fn work<S: EntrySource>(
    index: u64,
    size: u64,
    source: &S,
    wants: &impl Fn(&[u8]) -> bool,
) -> Result<Worked, TreeFault<S::Error>> {
    // `index` counts the tiles that a tree of this size has; a size of 2^64 − 1 has no more.
    let tile = TileId::in_tree(0, index, size).expect("the tile lies in the tree");
    let first = index * u64::from(FULL_WIDTH);
    let read = source.entries(tile, |entries| {
        let hashed = HashedTile::new(entries.iter().map(|entry| leaf_hash(entry)).collect());
        let kept = (first..).zip(entries).filter(|(_, entry)| wants(entry));
        (hashed, kept.map(|(index, entry)| (index, entry.to_vec())).collect())
    });
    let (hashed, kept) = read.map_err(|error| TreeFault::Source { tile, error })?;
    let differs = compare(tile, hashed.hashes(), source)?.map(|(_, at)| at);
    Ok(Worked { tile, hashed, differs, kept })
}

/// A hash of a published tile that is not the computed one.
type Difference = (TileId, u16);

/// Where the published tile first differs from the computed one.
fn compare<S: TileSource>(
    tile: TileId,
    computed: &[Hash],
    tiles: &S,
) -> Result<Option<Difference>, TreeFault<S::Error>> {
    let published = tiles.tile(tile).map_err(|error| TreeFault::Source { tile, error })?;
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

    use super::super::appender::Appender;
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

    impl EntrySource for Published {
        fn entries<R>(&self, tile: TileId, show: impl FnOnce(&[&[u8]]) -> R) -> Result<R, &'static str> {
            let first = tile.index as usize * 256;
            let entries =
                self.entries.get(first..first + usize::from(tile.width)).ok_or("no such entries")?;
            Ok(show(&entries.iter().map(Vec::as_slice).collect::<Vec<_>>()))
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

        /// The same on one thread and on several.
        fn verdict(&self, size: u64) -> Result<(), TreeFault<&'static str>> {
            let on = |threads| {
                let threads = NonZeroUsize::new(threads).unwrap();
                let check = TreeCheck { size, root: &self.root, older: None, threads };
                verify_tree(&check, self, |_| false, |_, _| ())
            };
            let verdict = on(1);
            assert_eq!(on(2), verdict);
            assert_eq!(on(5), verdict);
            verdict.map(drop)
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
    fn what_is_missing_or_too_narrow_is_named() {
        let mut log = Published::of(300);
        let (full, partial) = (TileId::new(0, 0, 256).unwrap(), TileId::new(0, 1, 44).unwrap());
        let kept = log.tiles.remove(&partial).unwrap();
        assert_eq!(log.verdict(300), Err(TreeFault::Source { tile: partial, error: "no such file" }));
        log.tiles.insert(partial, kept);
        assert_eq!(log.verdict(300), Ok(()));
        log.entries.truncate(280);
        assert_eq!(log.verdict(300), Err(TreeFault::Source { tile: partial, error: "no such entries" }));
        log.tiles.get_mut(&full).unwrap().pop();
        assert_eq!(log.verdict(300), Err(TreeFault::TileWidth { tile: full, got: 255 }));
        log.tiles.remove(&full);
        assert_eq!(log.verdict(300), Err(TreeFault::Source { tile: full, error: "no such file" }));
    }

    #[test]
    fn an_older_root_and_chosen_entries_come_along() {
        let log = Published::of(1000);
        for threads in [1, 3].map(|n| NonZeroUsize::new(n).unwrap()) {
            for older in [0, 1, 255, 256, 257, 512, 999, 1000] {
                let (mut kept, mut done) = (Vec::new(), 0);
                let check = TreeCheck { size: 1000, root: &log.root, older: Some(older), threads };
                let root = verify_tree(
                    &check,
                    &log,
                    |entry| entry.ends_with(b"7"),
                    |so_far, more| {
                        done = so_far;
                        kept.extend(more);
                    },
                );
                assert_eq!(root, Ok(Some(Published::of(older).root)), "at {older}");
                assert_eq!((kept.len(), done), (100, 1000));
                assert!((0..).step_by(10).zip(&kept).all(|(ten, (index, _))| *index == ten + 7));
            }
        }
    }
}
