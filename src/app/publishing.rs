//! The two logs as files: what C2SP `tlog-tiles` names, made from the database when asked for.

use crate::store::{Log, StoreError, logs};
use crate::trail::{CHECKPOINT_PATH, Resource, TileId, VKEY_PATH, encode_bundle, encode_tile};

use super::{App, AppResult};

/// How long a reader may keep what it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// The newest head: a moment.
    Head,
    /// A partial tile or bundle: its bytes never change, but a wider one takes its place.
    Partial,
    /// A full tile or bundle: for ever.
    Full,
    /// The log's key, beside the C2SP files, for people who compare it.
    Key,
}

/// One file of a published log.
#[derive(Debug, PartialEq, Eq)]
pub struct Published {
    pub bytes: Vec<u8>,
    pub lasting: Lasting,
}

impl App {
    /// The file at a path below the log's root; `None` where the log has none at its present size.
    ///
    /// A partial tile or bundle is there at every width that the log has reached, not only at the
    /// newest: whoever reads at an earlier head finds its files while the log grows.
    pub async fn published(&self, log: Log, path: &str) -> AppResult<Option<Published>> {
        let text = |text: String, lasting| Some(Published { bytes: text.into_bytes(), lasting });
        match path {
            CHECKPOINT_PATH => return Ok(text(self.checkpoint(log).await?, Lasting::Head)),
            VKEY_PATH => return Ok(text(self.log_keys(log), Lasting::Key)),
            _ => {}
        }
        let Ok(resource) = Resource::parse(path) else { return Ok(None) };
        let size = self.newest_size(log).await?;
        let (level, index) = match resource {
            Resource::Tile(tile) => (tile.level, tile.index),
            Resource::Entries { index, .. } => (0, index),
        };
        if TileId::in_tree(level, index, size).is_none_or(|there| resource.width() > there.width) {
            return Ok(None);
        }
        let bytes = match resource {
            Resource::Tile(tile) => {
                let hashes = logs::tile_of(self.store.log_reader(), log, tile).await?;
                encode_tile(&hashes.ok_or(StoreError::Corrupt("tiles"))?)
            }
            Resource::Entries { index, width } => {
                let leaves =
                    logs::leaves(self.store.log_reader(), log, index * 256, u32::from(width)).await?;
                if leaves.len() != usize::from(width) {
                    return Err(StoreError::Corrupt("leaves"));
                }
                encode_bundle(&leaves).map_err(|_| StoreError::Corrupt("leaves"))?
            }
        };
        let lasting = if resource.width() == 256 { Lasting::Full } else { Lasting::Partial };
        Ok(Some(Published { bytes, lasting }))
    }

    /// A line for each key that signs the log.
    fn log_keys(&self, log: Log) -> String {
        self.store.keys.of(log).verifier_keys().iter().map(|key| format!("{key}\n")).collect()
    }
}
