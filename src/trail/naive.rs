//! RFC 9162's recursive definitions, word for word and O(n): what the tests hold the real code against.

use super::hash::{Hash, empty_root, leaf_hash, node_hash};
use super::tile::{TileId, TileSource};

pub fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

pub fn root(d: &[Hash]) -> Hash {
    match d {
        [] => empty_root(),
        [only] => *only,
        _ => {
            let k = split(d.len());
            node_hash(&root(&d[..k]), &root(&d[k..]))
        }
    }
}

pub fn path(m: usize, d: &[Hash]) -> Vec<Hash> {
    if d.len() == 1 {
        return Vec::new();
    }
    let k = split(d.len());
    let (mut inner, other) =
        if m < k { (path(m, &d[..k]), root(&d[k..])) } else { (path(m - k, &d[k..]), root(&d[..k])) };
    inner.push(other);
    inner
}

pub fn consistency(m: usize, d: &[Hash]) -> Vec<Hash> {
    subproof(m, d, true)
}

fn subproof(m: usize, d: &[Hash], whole: bool) -> Vec<Hash> {
    if m == d.len() {
        return if whole { Vec::new() } else { vec![root(d)] };
    }
    let k = split(d.len());
    if m <= k {
        let mut inner = subproof(m, &d[..k], whole);
        inner.push(root(&d[k..]));
        inner
    } else {
        let mut inner = subproof(m - k, &d[k..], false);
        inner.push(root(&d[..k]));
        inner
    }
}

/// Tiles computed anew for every call, from the leaves, by `tlog-tiles`' formula.
pub struct Tiles<'a>(&'a [Hash]);

impl<'a> Tiles<'a> {
    pub fn of(leaves: &'a [Hash]) -> Self {
        Self(leaves)
    }
}

impl TileSource for Tiles<'_> {
    type Error = String;

    fn tile(&self, tile: TileId) -> Result<Vec<Hash>, String> {
        let span = 256usize.pow(u32::from(tile.level));
        (0..usize::from(tile.width))
            .map(|i| {
                let at = (tile.index as usize * 256 + i) * span;
                self.0.get(at..at + span).map(root).ok_or_else(|| format!("no {tile:?}"))
            })
            .collect()
    }
}
