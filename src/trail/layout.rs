//! Which files a published log of a given size consists of: what an exporter writes and a
//! verifier reads.

use super::tile::{FULL_WIDTH, MAX_LEVEL, TileId};

pub use super::path::{CHECKPOINT_PATH, PathError, Resource, VKEY_PATH};

/// Every tile and every bundle of a log of `size` entries: the bundles first, then the tiles level
/// by level, each in order of index. Only the last of each may be partial.
///
/// Lazy: takes no memory for the size. The checkpoint stands beside them at [`CHECKPOINT_PATH`].
pub fn paths_for(size: u64) -> impl Iterator<Item = Resource> {
    entries_for(size).chain(tiles_for(size).map(Resource::Tile))
}

/// The entry bundles of a log of `size` entries, in order.
pub fn entries_for(size: u64) -> impl Iterator<Item = Resource> {
    tiles_of_level(0, size).map(|tile| Resource::Entries { index: tile.index, width: tile.width })
}

/// The tiles of a log of `size` entries, level by level.
pub fn tiles_for(size: u64) -> impl Iterator<Item = TileId> {
    (0..=MAX_LEVEL).flat_map(move |level| tiles_of_level(level, size))
}

fn tiles_of_level(level: u8, size: u64) -> impl Iterator<Item = TileId> {
    let tiles = super::tile::hashes_in_level(level, size).div_ceil(u64::from(FULL_WIDTH));
    (0..tiles).filter_map(move |index| TileId::in_tree(level, index, size))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::appender::Appender;
    use super::super::bundle::{decode_bundle, encode_bundle};
    use super::super::check::{EntrySource, TreeCheck, verify_tree};
    use super::super::hash::{Hash, leaf_hash};
    use super::super::tile::{TileSource, decode_tile, encode_tile};
    use super::*;

    fn paths(size: u64) -> Vec<String> {
        paths_for(size).map(|resource| resource.path()).collect()
    }

    #[test]
    fn small_logs_have_the_files_one_would_write_by_hand() {
        assert_eq!(paths(0), Vec::<String>::new());
        assert_eq!(paths(1), ["tile/entries/000.p/1", "tile/0/000.p/1"]);
        assert_eq!(paths(255), ["tile/entries/000.p/255", "tile/0/000.p/255"]);
        assert_eq!(paths(256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(
            paths(257),
            ["tile/entries/000", "tile/entries/001.p/1", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]
        );
    }

    #[test]
    fn a_log_that_just_outgrew_a_level_one_tile_has_every_file_once() {
        let all = paths(65_539);
        assert_eq!(all.len(), 257 + 257 + 1 + 1);
        assert_eq!(&all[255..258], ["tile/entries/255", "tile/entries/256.p/3", "tile/0/000"]);
        assert_eq!(&all[513..], ["tile/0/256.p/3", "tile/1/000", "tile/2/000.p/1"]);
    }

    #[test]
    fn the_largest_size_is_listed_lazily() {
        assert_eq!(paths_for(u64::MAX).take(3).count(), 3);
        assert_eq!(paths_for(u64::MAX).next().map(|r| r.path()), Some("tile/entries/000".to_owned()));
    }

    /// A log as files, in memory.
    fn published(size: u64) -> (BTreeMap<String, Vec<u8>>, Hash) {
        let entries: Vec<Vec<u8>> = (0..size).map(|i| format!("entry {i}").into_bytes()).collect();
        let mut tree = Appender::new();
        for entry in &entries {
            tree.append(leaf_hash(entry));
        }
        let files = paths_for(size).map(|resource| {
            let bytes = match resource {
                Resource::Tile(tile) => encode_tile(&tree.tile(tile).unwrap()),
                Resource::Entries { index, width } => {
                    let start = index as usize * 256;
                    encode_bundle(&entries[start..start + usize::from(width)]).unwrap()
                }
            };
            (resource.path(), bytes)
        });
        (files.collect(), tree.root())
    }

    struct Files(BTreeMap<String, Vec<u8>>);

    impl TileSource for Files {
        type Error = String;
        fn tile(&self, tile: TileId) -> Result<Vec<Hash>, String> {
            let path = Resource::Tile(tile).path();
            let bytes = self.0.get(&path).ok_or(path)?;
            decode_tile(bytes, tile.width).map_err(|error| error.to_string())
        }
    }

    impl EntrySource for Files {
        fn entries<R>(&self, tile: TileId, show: impl FnOnce(&[&[u8]]) -> R) -> Result<R, String> {
            let path = Resource::Entries { index: tile.index, width: tile.width }.path();
            let bytes = self.0.get(&path).ok_or(path)?;
            decode_bundle(bytes, tile.width).map(|entries| show(&entries)).map_err(|error| error.to_string())
        }
    }

    fn verdict(size: u64, files: &Files, root: &Hash) -> Result<(), String> {
        let threads = std::num::NonZeroUsize::MIN;
        let check = TreeCheck { size, root, older: None, threads };
        verify_tree(&check, files, |_| false, |_, _| ()).map(drop).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_log_written_as_files_verifies_from_its_files() {
        let (files, root) = published(600);
        assert_eq!(verdict(600, &Files(files.clone()), &root), Ok(()));
        for (path, bytes) in &files {
            let mut damaged = files.clone();
            damaged.get_mut(path).unwrap()[bytes.len() - 1] ^= 1;
            let verdict = verdict(600, &Files(damaged), &root);
            let expected = match Resource::parse(path).unwrap() {
                Resource::Tile(tile) => format!("{path} differs from the entries at hash {}", tile.width - 1),
                Resource::Entries { index, width } => {
                    format!("entry {} is not the one that was logged", index * 256 + u64::from(width) - 1)
                }
            };
            assert_eq!(verdict, Err(expected));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_bundle_is_noticed() {
        let (files, root) = published(3);
        let path = "tile/entries/000.p/3";
        for bit in 0..files[path].len() * 8 {
            let mut damaged = files.clone();
            damaged.get_mut(path).unwrap()[bit / 8] ^= 1 << (bit % 8);
            assert!(verdict(3, &Files(damaged), &root).is_err(), "bit {bit}");
        }
    }
}
