//! Damaged and random input for every parser: an answer, never a panic, and whatever is taken has
//! exactly the spelling that would be written.

use proptest::prelude::*;
use proptest::sample::Index;

use super::appender::Appender;
use super::bundle::{decode_bundle, encode_bundle};
use super::checkpoint::Checkpoint;
use super::hash::leaf_hash;
use super::leaf::{Leaf, LeafDraft};
use super::merkle::inclusion_proof;
use super::note::Note;
use super::notekey::{SigningKey, VerifierKey};
use super::path::Resource;
use super::receipt::Receipt;
use crate::domain::{Entropy, Timestamp};

const ORIGIN: &str = "gateway.example/trail";

struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn leaf() -> Leaf {
    let data = serde_json::json!({"count": 3, "codes": ["a", "b"], "nested": {"x": null}});
    LeafDraft::new("mandate.test.made", "requests/1", data.as_object().unwrap().clone())
        .seal("gateway.example", Timestamp::from_second(1_790_000_000).unwrap(), &Zeros)
        .unwrap()
}

fn receipt() -> Receipt {
    let mut tree = Appender::new();
    for i in 0..5u8 {
        tree.append(leaf_hash(&[i]));
    }
    let head = Checkpoint::new(ORIGIN, 5, tree.root()).unwrap().sign(&key());
    Receipt::new(2, inclusion_proof(2, 5, &tree).unwrap(), head)
}

/// One change: a byte overwritten, put in or taken out, or a piece doubled.
fn change() -> impl Strategy<Value = (u8, Index, u8)> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\n \"0xAtp./=+{}[]:,\\u".to_vec())];
    (0u8..4, any::<Index>(), byte)
}

fn damaged(good: &[u8], changes: &[(u8, Index, u8)]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for (kind, at, byte) in changes {
        let at = at.index(bytes.len().max(1));
        match kind {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at.min(bytes.len()), *byte),
            _ => bytes.extend_from_within(at.min(bytes.len())..),
        }
    }
    bytes
}

/// Puts the bytes through every parser.
fn parse_all(bytes: &[u8], width: u16) -> Result<(), TestCaseError> {
    if let Ok(leaf) = Leaf::parse(bytes) {
        prop_assert_eq!(leaf.bytes(), bytes);
    }
    if let Ok(entries) = decode_bundle(bytes, width) {
        prop_assert_eq!(encode_bundle(&entries).unwrap(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    if let Ok(receipt) = Receipt::parse(text) {
        prop_assert_eq!(receipt.encode(), text);
    }
    if let Ok(note) = Note::parse(text) {
        prop_assert_eq!(note.to_string(), text);
    }
    if let Ok(head) = Checkpoint::parse_body(text) {
        prop_assert_eq!(head.body(), text);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        prop_assert_eq!(key.to_string(), text);
    }
    if let Ok(resource) = Resource::parse(text) {
        prop_assert_eq!(resource.path(), text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn damaged_input_is_answered_in_one_spelling(changes in prop::collection::vec(change(), 1..4)) {
        let receipt = receipt();
        let bundle = encode_bundle(&[b"a".as_slice(), b"bc", b""]).unwrap();
        let body = Checkpoint::parse_body(receipt.checkpoint.text()).unwrap().body();
        for good in [
            leaf().bytes(),
            receipt.encode().as_bytes(),
            receipt.checkpoint.to_string().as_bytes(),
            body.as_bytes(),
            key().verifier_key().to_string().as_bytes(),
            b"tile/0/x001/x234/067.p/12",
            b"tile/entries/x001/067",
            &bundle,
        ] {
            parse_all(&damaged(good, &changes), 3)?;
        }
        let changed = damaged(receipt.encode().as_bytes(), &changes);
        if changed != receipt.encode().as_bytes()
            && let Ok(text) = std::str::from_utf8(&changed)
            && let Ok(read) = Receipt::parse(text)
            && read.verify(&[2], ORIGIN, key().verifier_key()).is_ok()
        {
            // Nobody vouches for extra data and for lines of unknown keys: the rest must be the same.
            prop_assert_eq!((read.index, read.proof), (receipt.index, receipt.proof));
            prop_assert_eq!(read.checkpoint.text(), receipt.checkpoint.text());
        }
    }

    #[test]
    fn random_input_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), width in any::<u16>()) {
        parse_all(&bytes, width)?;
    }

    #[test]
    fn random_text_is_answered(text in "[\\n A-Za-z0-9+/=\u{2014}.@{}\"]{0,200}", width in any::<u16>()) {
        parse_all(text.as_bytes(), width)?;
    }
}
