//! Where a tile or a bundle of entries stands in a published log (C2SP `tlog-tiles`):
//! `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`, `<N>` in groups of three digits such as
//! `x001/x234/067`.

use std::fmt;
use std::str::FromStr;

use super::tile::{FULL_WIDTH, MAX_LEVEL, TileId};

/// The path of the signed checkpoint.
pub const CHECKPOINT_PATH: &str = "checkpoint";
/// The path of the log's verifier key, beside the C2SP resources, for people who check by hand.
pub const VKEY_PATH: &str = "vkey";

/// Longest path there is: `tile/entries/` and seven groups (2^56 bundles have 17 digits), with `.p/255`.
const MAX_PATH: usize = 48;

/// One immutable file of a published log. `Display` and [`Resource::path`] give its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Concatenated hashes, 32 bytes each.
    Tile(TileId),
    /// The entries under the level-0 tile of the same index and width (see [`super::bundle`]).
    Entries { index: u64, width: u16 },
}

/// The text is no path of a tile or bundle that a 64-bit log can have, in its one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tile path of C2SP tlog-tiles")]
pub struct PathError;

impl Resource {
    /// The path below the log's root, without a leading slash.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Number of hashes or entries in it, 1 to 256.
    pub fn width(&self) -> u16 {
        match self {
            Resource::Tile(tile) => tile.width,
            Resource::Entries { width, .. } => *width,
        }
    }

    /// Reads exactly what [`Resource::path`] writes; everything else is refused.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if path.len() > MAX_PATH {
            return Err(PathError);
        }
        let rest = path.strip_prefix("tile/").ok_or(PathError)?;
        let (kind, rest) = rest.split_once('/').ok_or(PathError)?;
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, FULL_WIDTH),
            Some((number, width)) => {
                let width = decimal(width).ok_or(PathError)?;
                // 256 wide is not partial and is spelt without a width.
                let width = u16::try_from(width).ok().filter(|w| *w < FULL_WIDTH).ok_or(PathError)?;
                (number, width)
            }
        };
        let index = index_from_groups(number).ok_or(PathError)?;
        let level = if kind == "entries" {
            0
        } else {
            let level = decimal(kind).ok_or(PathError)?;
            u8::try_from(level).ok().filter(|l| *l <= MAX_LEVEL).ok_or(PathError)?
        };
        let tile = TileId::new(level, index, width).ok_or(PathError)?;
        Ok(if kind == "entries" { Resource::Entries { index, width } } else { Resource::Tile(tile) })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = match self {
            Resource::Tile(tile) => {
                write!(f, "tile/{}/", tile.level)?;
                tile.index
            }
            Resource::Entries { index, .. } => {
                f.write_str("tile/entries/")?;
                *index
            }
        };
        // A u64 has at most 20 digits: seven groups.
        let mut groups = [0u64; 7];
        let mut count = 0;
        let mut rest = index;
        loop {
            groups[count] = rest % 1000;
            count += 1;
            rest /= 1000;
            if rest == 0 {
                break;
            }
        }
        for group in groups[1..count].iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        match self.width() {
            FULL_WIDTH => Ok(()),
            partial => write!(f, ".p/{partial}"),
        }
    }
}

impl FromStr for Resource {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::parse(path)
    }
}

/// ASCII decimal without leading zeros. Shared by all C2SP text forms.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

fn index_from_groups(text: &str) -> Option<u64> {
    let mut index = 0u64;
    let mut groups = text.split('/').peekable();
    let mut first = true;
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let value: u64 = digits.parse().ok()?;
        // A leading group of zeros would be a second spelling of the same index.
        if first && value == 0 && groups.peek().is_some() {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(value)?;
        first = false;
    }
    Some(index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, index, width| Resource::Tile(TileId::new(level, index, width).unwrap());
        for (resource, path) in [
            (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(0, 273, 112), "tile/0/273.p/112"),
            (tile(2, 0, 1), "tile/2/000.p/1"),
            (tile(1, 1000, 256), "tile/1/x001/000"),
            (tile(0, (1 << 56) - 1, 255), "tile/0/x072/x057/x594/x037/x927/935.p/255"),
            (Resource::Entries { index: 5, width: 256 }, "tile/entries/005"),
            (Resource::Entries { index: 70_000, width: 9 }, "tile/entries/x070/000.p/9"),
        ] {
            assert_eq!(resource.path(), path);
            assert_eq!(Resource::parse(path), Ok(resource));
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        for bad in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile//000",
            "/tile/0/000",
            "tile/0/000/",
            "tile/00/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/8/000",
            "tile/64/000",
            "tile/99999999999999999999/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/x000/x000/001",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/x001/x002",
            "tile/0/X001/002",
            "tile/0/../../etc/passwd",
            "tile/0/..",
            "tile/0/000.p",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/65537",
            "tile/0/000.p/1/",
            "tile/0/000.p/1.p/1",
            "tile/0/x099/x999/x999/x999/x999/999",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/7/000",
            "tile/7/001.p/1",
            "tile/entries",
            "tile/entries/000.p/256",
            "tile/Entries/000",
            "tile/data/000",
            "tile/0/\u{ff10}\u{ff10}\u{ff10}",
            "checkpoint",
            "tile/0/000\0",
            "tile/0/000 ",
        ] {
            assert_eq!(Resource::parse(bad), Err(PathError), "{bad:?} was taken");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_path_reads_back(level in 0u8..=7, index in any::<u64>(), width in 1u16..=256) {
            let index = index.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
            if let Some(tile) = TileId::new(level, index, width) {
                let resource = Resource::Tile(tile);
                prop_assert_eq!(Resource::parse(&resource.path()), Ok(resource));
            }
        }

        #[test]
        fn what_is_read_is_what_would_be_written(text in "tile/[0-9a-z]{1,7}/[x0-9/.p]{1,20}") {
            if let Ok(resource) = Resource::parse(&text) {
                prop_assert_eq!(resource.path(), text);
            }
        }
    }
}
