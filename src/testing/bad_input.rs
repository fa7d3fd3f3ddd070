//! Published logs with bad files: each is answered with the file or leaf at fault, never with a panic.

use super::parties::origin;
use super::publish::seen;
use super::tests::{Made, files, made, sealed};
use crate::authority::log_fixtures::{Files, verify};
use crate::authority::published::Fault;
use crate::authority::{Rule, proven};
use crate::domain::Timestamp;
use crate::trail::{
    Appender, Checkpoint, CosigningKey, Note, Receipt, decode_bundle, empty_root, encode_bundle,
    inclusion_proof, leaf_hash,
};

const FIRST: &str = "tile/entries/000";
const LAST: &str = "tile/entries/002.p/88";

fn small() -> Made {
    made(21, 600)
}

/// What is at fault in the trail, after this change of its files.
fn fault(made: &Made, change: impl FnOnce(&mut Files)) -> (String, Option<Rule>) {
    let mut trail = made.trail();
    change(&mut trail);
    verdict(made, &trail)
}

fn verdict(made: &Made, trail: &Files) -> (String, Option<Rule>) {
    match verify(trail, &made.authority, &made.parties.pins()) {
        Err(Fault::NotGood { which, rule, what }) => {
            assert!(!what.is_empty());
            (which, rule)
        }
        verdict => panic!("it is not called not good: {verdict:?}"),
    }
}

fn file<'a>(files: &'a mut Files, path: &str) -> &'a mut Vec<u8> {
    files.0.get_mut(path).expect("the file is there")
}

/// The first bundle with other entries.
fn first_bundle(files: &mut Files, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let bytes = file(files, FIRST);
    let mut entries: Vec<Vec<u8>> =
        decode_bundle(bytes, 256).unwrap().into_iter().map(<[u8]>::to_vec).collect();
    change(&mut entries);
    *bytes = encode_bundle(&entries).unwrap();
}

#[test]
fn truncated_and_oversized_files_are_named() {
    let made = small();
    for path in [FIRST, LAST, "tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"] {
        let named = (format!("trail/{path}"), None);
        assert_eq!(fault(&made, |files| file(files, path).truncate(63)), named);
        assert_eq!(fault(&made, |files| file(files, path).clear()), named);
        assert_eq!(fault(&made, |files| file(files, path).truncate(32)), named);
        assert_eq!(fault(&made, |files| file(files, path).extend([0; 32])), named);
        assert_eq!(fault(&made, |files| file(files, path).extend_from_within(..)), named);
        assert_eq!(fault(&made, |files| *file(files, path) = vec![0xff; 17 << 20]), named);
    }
    let changes: [fn(&mut Vec<u8>); 3] =
        [Vec::clear, |note| note.truncate(40), |note| *note = vec![b'x'; 2 << 20]];
    for change in changes {
        let named = ("trail/checkpoint".to_owned(), None);
        assert_eq!(fault(&made, |files| change(file(files, "checkpoint"))), named);
    }
}

#[test]
fn reordered_and_duplicated_entries_are_named_by_the_first_leaf_that_is_another() {
    let made = small();
    let leaf = |index: u64, path: &str| (format!("trail leaf {index}, in trail/{path}"), None);
    assert_eq!(fault(&made, |files| first_bundle(files, |entries| entries.swap(17, 99))), leaf(17, FIRST));
    let twice = |entries: &mut Vec<Vec<u8>>| entries[31] = entries[30].clone();
    assert_eq!(fault(&made, |files| first_bundle(files, twice)), leaf(31, FIRST));
    let more = |entries: &mut Vec<Vec<u8>>| drop(entries.pop());
    assert_eq!(fault(&made, |files| first_bundle(files, more)), (format!("trail/{FIRST}"), None));
    let swapped = |files: &mut Files, one: &str, other: &str| {
        let (a, b) = (file(files, one).clone(), file(files, other).clone());
        *file(files, one) = b;
        *file(files, other) = a;
    };
    assert_eq!(fault(&made, |files| swapped(files, FIRST, "tile/entries/001")), leaf(0, FIRST));
    // Tiles changed places, and the entries are those of the root.
    let tiles = fault(&made, |files| swapped(files, "tile/0/000", "tile/0/001"));
    assert_eq!(tiles, ("trail/tile/0/000".to_owned(), None));
    let copied = fault(&made, |files| {
        let bytes = file(files, "tile/0/001").clone();
        files.0.insert("tile/0/003".to_owned(), bytes);
    });
    assert_eq!(copied, ("trail/tile/0/003".to_owned(), None));
}

#[test]
fn entries_that_are_no_leaves_break_the_form_though_they_were_logged() {
    let made = small();
    let bad: [Vec<u8>; 8] = [
        Vec::new(),
        b"hello".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        vec![0xff; 40],
        vec![b'{'; 16 * 1024],
        vec![b' '; 16 * 1024 + 1],
        vec![b'['; usize::from(u16::MAX)],
    ];
    for entry in bad {
        for index in [300, 599] {
            let mut leaves = sealed(&made.story);
            leaves[index] = entry.clone();
            let trail = files(&made.parties, "trail", leaves);
            assert_eq!(verdict(&made, &trail), (format!("trail leaf {index}"), Some(Rule::LeafForm)));
        }
    }
    // As the very first leaf, before anything is registered.
    let trail = files(&made.parties, "trail", vec![b"{}".to_vec()]);
    assert_eq!(verdict(&made, &trail), ("trail leaf 0".to_owned(), Some(Rule::LeafForm)));
}

#[test]
fn a_checkpoint_of_another_origin_or_key_is_refused_and_strangers_lines_are_ignored() {
    let made = small();
    let named = ("trail/checkpoint".to_owned(), None);
    let theirs = made.authority.0["checkpoint"].clone();
    assert_eq!(fault(&made, |files| *file(files, "checkpoint") = theirs), named);
    let key = &made.parties.trail_key;
    let head = |origin: &str, size, root| {
        seen(&Checkpoint::new(origin, size, root).unwrap(), key, &made.parties.witness).to_string()
    };
    let foreign = head("other.example/trail", 600, leaf_hash(b"x")).into_bytes();
    assert_eq!(fault(&made, |files| *file(files, "checkpoint") = foreign), named);
    let other_root = head(&origin("trail"), 600, leaf_hash(b"x")).into_bytes();
    assert_eq!(fault(&made, |files| *file(files, "checkpoint") = other_root), named);

    let mut trail = made.trail();
    let mut note = Note::parse(std::str::from_utf8(&trail.0["checkpoint"]).unwrap()).unwrap();
    let stranger = CosigningKey::from_seed("stranger.example", &[5; 32]).unwrap();
    let line = stranger.cosign("another text\n", Timestamp::from_second(7).unwrap()).unwrap();
    note.add(line).unwrap();
    *file(&mut trail, "checkpoint") = note.to_string().into_bytes();
    assert!(verify(&trail, &made.authority, &made.parties.pins()).is_ok());
}

#[test]
fn trees_of_no_leaf_one_leaf_and_of_more_leaves_than_there_can_be() {
    let made = small();
    let key = &made.parties.trail_key;
    let none = files(&made.parties, "trail", Vec::new());
    assert_eq!(none.0.len(), 2, "an empty log has a checkpoint and a key");
    assert_eq!(verdict(&made, &none), ("trail leaf 0".to_owned(), Some(Rule::OpenedFirst)));
    let one = files(&made.parties, "trail", sealed(&made.story[..1]));
    let report = verify(&one, &made.authority, &made.parties.pins()).unwrap();
    assert_eq!((report.summary.trail_size, report.summary.controllers), (1, 0));
    let second = files(&made.parties, "trail", sealed(&made.story[1..2]));
    assert_eq!(verdict(&made, &second), ("trail leaf 0".to_owned(), Some(Rule::OpenedFirst)));
    for size in [601, 1 << 40, u64::MAX] {
        let (which, _) = fault(&made, |files| {
            let head = Checkpoint::new(&origin("trail"), size, leaf_hash(b"x")).unwrap();
            *file(files, "checkpoint") = seen(&head, key, &made.parties.witness).to_string().into_bytes();
        });
        assert!(which.starts_with("trail/tile/"), "{size} leaves: {which}");
    }
    let (which, _) = fault(&made, |files| {
        let head = Checkpoint::new(&origin("trail"), 0, empty_root()).unwrap();
        *file(files, "checkpoint") = seen(&head, key, &made.parties.witness).to_string().into_bytes();
    });
    assert_eq!(which, "trail/tile/0/000", "files beyond the size are foreign");
}

#[test]
fn proofs_of_the_wrong_length_prove_nothing() {
    let made = small();
    let leaves = sealed(&made.story);
    let mut tree = Appender::new();
    for leaf in &leaves {
        tree.append(leaf_hash(leaf));
    }
    let head = Checkpoint::new(&origin("trail"), 600, tree.root()).unwrap();
    let note = seen(&head, &made.parties.trail_key, &made.parties.witness);
    let pins = made.parties.pins();
    for index in [0, 299, 599] {
        let proof = inclusion_proof(index, 600, &tree).unwrap();
        let verify = |proof: Vec<_>| {
            let receipt = Receipt::new(index, proof, note.clone()).encode();
            proven::verify(&receipt, &leaves[index as usize], &pins)
        };
        assert_eq!(verify(proof.clone()).unwrap().index, index);
        for length in (0..proof.len()).chain([proof.len() + 1, 63]) {
            let mut wrong = proof.clone();
            wrong.resize(length, leaf_hash(b"x"));
            assert!(verify(wrong).is_err(), "{length} hashes for leaf {index} were taken");
        }
    }
}
