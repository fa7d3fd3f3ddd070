//! Writing a log in C2SP layout, streaming, as `mandate trail export` does.

use std::io;
use std::path::Path;

use super::parties::{Parties, SEEN, origin};
use super::seeded::Seeded;
use super::story::Story;
use crate::domain::Timestamp;
use crate::trail::layout::{CHECKPOINT_PATH, VKEY_PATH};
use crate::trail::tile::FULL_WIDTH;
use crate::trail::{
    Appender, Checkpoint, CosigningKey, Note, Resource, SigningKey, encode_bundle, encode_tile, leaf_hash,
};

/// Gives every file of the log to `put`, with its path; answers the checkpoint. The witness has seen it.
pub fn publish(
    key: &SigningKey,
    witness: &CosigningKey,
    origin: &str,
    leaves: impl IntoIterator<Item = Vec<u8>>,
    mut put: impl FnMut(&str, &[u8]) -> io::Result<()>,
) -> io::Result<Checkpoint> {
    let mut tree = Appender::new();
    let mut bundle = Vec::with_capacity(usize::from(FULL_WIDTH));
    for leaf in leaves {
        tree.append(leaf_hash(&leaf));
        bundle.push(leaf);
        if bundle.len() == usize::from(FULL_WIDTH) {
            put_bundle(&bundle, tree.size(), &mut put)?;
            bundle.clear();
            for (tile, hashes) in tree.take_dirty_tiles() {
                if tile.is_full() {
                    put(&Resource::Tile(tile).path(), &encode_tile(&hashes))?;
                }
            }
            tree.settle();
        }
    }
    if !bundle.is_empty() {
        put_bundle(&bundle, tree.size(), &mut put)?;
    }
    for tile in crate::trail::right_edge_tiles(tree.size()) {
        let hashes = crate::trail::TileSource::tile(&tree, tile).expect("the right edge is held whole");
        put(&Resource::Tile(tile).path(), &encode_tile(&hashes))?;
    }
    let head = Checkpoint::new(origin, tree.size(), tree.root()).expect("a made-up origin is a name");
    put(CHECKPOINT_PATH, seen(&head, key, witness).to_string().as_bytes())?;
    put(VKEY_PATH, format!("{}\n", key.verifier_key()).as_bytes())?;
    Ok(head)
}

/// The head, signed and cosigned.
pub(super) fn seen(head: &Checkpoint, key: &SigningKey, witness: &CosigningKey) -> Note {
    let mut note = head.sign(key);
    let at = Timestamp::from_second(SEEN).expect("a time in range");
    let line = witness.cosign(note.text(), at).expect("a time after the epoch");
    note.add(line).expect("a second signature");
    note
}

fn put_bundle(
    bundle: &[Vec<u8>],
    size: u64,
    put: &mut impl FnMut(&str, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    // At most 256.
    let width = bundle.len() as u16;
    let index = (size - u64::from(width)) / u64::from(FULL_WIDTH);
    let bytes = encode_bundle(bundle).expect("1 to 256 leaves, none of them long");
    put(&Resource::Entries { index, width }.path(), &bytes)
}

/// Writes both logs of `size` trail leaves and `pins.toml` into a folder, as an export has them.
pub fn write(folder: &Path, parties: &Parties, seed: u64, size: u64) -> io::Result<()> {
    let into = |log: &str| {
        let root = folder.join(log);
        move |path: &str, bytes: &[u8]| {
            let path = root.join(path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, bytes)
        }
    };
    let story = Story::new(parties, seed, size);
    let authority = story.authority_leaves().to_vec();
    publish(&parties.authority_key, &parties.witness, &origin("authority"), authority, into("authority"))?;
    let salts = Seeded::new(!seed);
    let leaves = story.map(|told| told.seal(&salts));
    publish(&parties.trail_key, &parties.witness, &origin("trail"), leaves, into("trail"))?;
    std::fs::write(folder.join("pins.toml"), parties.pins().to_toml())
}
