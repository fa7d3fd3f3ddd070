//! The verifier over real directories: a small export, every byte of it changed, and what it answers with.

use std::path::Path;

use mandate::authority::pins::{LogPin, WitnessPins};
use mandate::domain::Timestamp;
use mandate::domain::clock::SystemEntropy;
use mandate::domain::event::{ControllerRegistered, Event, LogOpened, MessageDismissed, MessageReceived};
use mandate::trail::layout::{CHECKPOINT_PATH, VKEY_PATH, entries_for};
use mandate::trail::{
    Appender, Checkpoint, LeafDraft, Receipt, Resource, SigningKey, encode_bundle, inclusion_proof, leaf_hash,
};
use tempfile::TempDir;

use super::*;

const GATEWAY: &str = "gateway.example";

fn key(log: &str) -> SigningKey {
    SigningKey::from_seed(&format!("{GATEWAY}/{log}"), &[log.len() as u8; 32]).unwrap()
}

fn pins() -> Pins {
    let pin = |log: &str| LogPin::new(format!("{GATEWAY}/{log}"), key(log).verifier_key().clone());
    Pins {
        trail: pin("trail"),
        authority: pin("authority"),
        freshness: None,
        witnesses: WitnessPins::default(),
        controllers: Default::default(),
        agents: Default::default(),
        recovered: Default::default(),
        reopened: Vec::new(),
    }
}

fn now() -> Timestamp {
    Timestamp::MAX
}

fn how() -> How {
    let threads = NonZeroUsize::new(2);
    How { since: Vec::new(), threads, memory: 1, temporary: None, progress: false }
}

/// Writes the log as it is exported; answers a receipt for its last leaf, and that leaf.
fn export(folder: &Path, log: &str, events: &[(&str, Event)]) -> (String, Vec<u8>) {
    let origin = format!("{GATEWAY}/{log}");
    let opened: Event = LogOpened { origin: origin.clone() }.into();
    let events = [(origin.as_str(), opened)].into_iter().chain(events.iter().cloned());
    let leaves: Vec<Vec<u8>> = events
        .zip(1_795_420_800..)
        .map(|((subject, event), second)| {
            let draft = LeafDraft::new(event.type_name(), subject, event.to_data());
            let time = Timestamp::from_second(second).unwrap();
            draft.seal(GATEWAY, time, &SystemEntropy).unwrap().bytes().to_vec()
        })
        .collect();
    let mut tree = Appender::new();
    for leaf in &leaves {
        tree.append(leaf_hash(leaf));
    }
    let note = Checkpoint::new(&origin, tree.size(), tree.root()).unwrap().sign(&key(log));
    let put = |path: &str, bytes: &[u8]| {
        let path = folder.join(log).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put(CHECKPOINT_PATH, note.to_string().as_bytes());
    put(VKEY_PATH, format!("{}\n", key(log).verifier_key()).as_bytes());
    for (bundle, entries) in entries_for(tree.size()).zip(leaves.chunks(256)) {
        put(&bundle.path(), &encode_bundle(entries).unwrap());
    }
    let last = tree.size() - 1;
    let proof = inclusion_proof(last, tree.size(), &tree).unwrap();
    for (tile, hashes) in tree.clone().take_dirty_tiles() {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        put(&Resource::Tile(tile).path(), &bytes);
    }
    (Receipt::new(last, proof, note).encode(), leaves[last as usize].clone())
}

/// An exported folder with its pins, a receipt and its leaf.
fn exported() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let message = "messages/01938a5e-0000-7b2e-9f7a-000000000001";
    let by = || "operators/o-1".to_owned();
    let (receipt, leaf) = export(
        folder.path(),
        "trail",
        &[
            ("controllers/xingyu", ControllerRegistered { by: by(), house: false }.into()),
            (
                message,
                MessageReceived {
                    by: "support/s-1".to_owned(),
                    commitment: "c".into(),
                    route: "triage".into(),
                    reason: None,
                    request: None,
                    received: 1_795_420_800,
                }
                .into(),
            ),
            (message, MessageDismissed { by: "support/s-1".to_owned() }.into()),
        ],
    );
    export(folder.path(), "authority", &[]);
    fs::write(folder.path().join("pins.toml"), pins().to_toml()).unwrap();
    fs::write(folder.path().join("receipt"), receipt).unwrap();
    fs::write(folder.path().join("leaf"), leaf).unwrap();
    folder
}

fn ask(folder: &Path, words: &[&str]) -> Result<Outcome, Unanswered> {
    let words = words.iter().map(|word| match word.strip_prefix('@') {
        Some(file) => folder.join(file).display().to_string(),
        None => (*word).to_owned(),
    });
    let arguments = Arguments::try_parse_from(std::iter::once("mandate-verify".to_owned()).chain(words));
    run(&arguments.map_err(|error| Unanswered(error.to_string()))?)
}

fn text(outcome: Result<Outcome, Unanswered>) -> (u8, String) {
    match outcome {
        Ok(Outcome::Good { text, .. }) => (0, text),
        Ok(Outcome::NotGood { text, .. }) => (1, text),
        Err(Unanswered(why)) => (2, why),
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn an_exported_folder_is_good() {
    let folder = exported();
    let (code, text) = text(ask(folder.path(), &["trail", "@", "--pin", "@pins.toml"]));
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("GOOD: gateway.example/trail, 4 leaves until"));
    assert!(text.contains("1  mandate.message.dismissed"));
}

#[test]
fn any_flipped_byte_of_any_file_is_not_good_and_named_by_its_path() {
    let folder = exported();
    let pins = pins();
    let logs: Vec<PathBuf> =
        ["trail", "authority"].iter().flat_map(|log| files_below(&folder.path().join(log))).collect();
    assert!(logs.len() >= 8);
    for path in logs {
        let good = fs::read(&path).unwrap();
        let name = path.strip_prefix(folder.path()).unwrap().display().to_string();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            let (code, text) = text(verify_logs(folder.path(), &pins, &how(), now()));
            assert_eq!(code, 1, "byte {at} of {name}: {text}");
            assert!(text.contains(&name), "byte {at} of {name} was called {text}");
        }
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(text(verify_logs(folder.path(), &pins, &how(), now())).0, 0);
}

#[test]
fn a_leaf_later_than_this_machines_clock_gets_a_note_and_no_other_verdict() {
    let folder = exported();
    let asked = |now| text(verify_logs(folder.path(), &pins(), &how(), now));
    let (code, said) = asked(Timestamp::UNIX_EPOCH);
    assert!(code == 0 && said.contains("note          the last leaf is later"), "{said}");
    let (code, said) = asked(Timestamp::MAX);
    assert!(code == 0 && !said.contains("note"), "{said}");
}

#[test]
fn a_receipt_is_good_for_its_own_leaf_alone() {
    let folder = exported();
    let words = ["receipt", "@receipt", "--leaf", "@leaf", "--pin", "@pins.toml"];
    let (code, said) = text(ask(folder.path(), &words));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("trail leaf 3 of 4, mandate.message.dismissed of messages/"));
    let mut leaf = fs::read(folder.path().join("leaf")).unwrap();
    leaf.push(b'\n');
    fs::write(folder.path().join("leaf"), leaf).unwrap();
    assert_eq!(text(ask(folder.path(), &words)).0, 1);
}

#[test]
fn what_cannot_be_answered_is_neither_good_nor_not_good() {
    let folder = exported();
    fs::write(folder.path().join("broken.toml"), "[trail]\n").unwrap();
    for words in [
        &["trail", "@"][..],
        &["trail", "@", "--pin", "@no-such-file"],
        &["trail", "@", "--pin", "@broken.toml"],
        &["trail", "@trail", "--pin", "@pins.toml"],
        &["evidence", "@no-such-file", "--pin", "@pins.toml"],
        &["evidence", "@trail", "--pin", "@pins.toml"],
        &["receipt", "@receipt", "--pin", "@pins.toml"],
        &["audit", "@"],
        &[],
    ] {
        assert_eq!(text(ask(folder.path(), words)).0, 2, "{words:?}");
    }
}

#[test]
fn a_file_that_is_no_bundle_is_not_good() {
    let folder = exported();
    let (code, said) = text(ask(folder.path(), &["evidence", "@leaf", "--pin", "@pins.toml"]));
    assert_eq!((code, said.starts_with("the bundle: ")), (1, true));
}

#[test]
fn json_says_the_same() {
    let folder = exported();
    let Ok(Outcome::Good { json, .. }) = ask(folder.path(), &["--json", "trail", "@", "--pin", "@pins.toml"])
    else {
        panic!("the good folder was not good");
    };
    assert_eq!((json["good"].as_bool(), json["trail_size"].as_u64()), (Some(true), Some(4)));
    fs::remove_file(folder.path().join("trail/tile/0/000.p/4")).unwrap();
    let Ok(Outcome::NotGood { json, .. }) = ask(folder.path(), &["trail", "@", "--pin", "@pins.toml"]) else {
        panic!("a folder without a tile was good");
    };
    assert_eq!(json["which"], "trail/tile/0/000.p/4");
    assert_eq!(json["good"], false);
}

#[test]
fn since_a_checkpoint_it_says_what_was_not_checked_again_and_names_rollback_and_fork() {
    let folder = exported();
    fs::copy(folder.path().join("trail/checkpoint"), folder.path().join("earlier")).unwrap();
    fs::copy(folder.path().join("authority/checkpoint"), folder.path().join("authority-earlier")).unwrap();
    let words = ["trail", "@", "--pin", "@pins.toml", "--since", "@earlier"];
    let (code, said) = text(ask(folder.path(), &words));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("NOT checked signatures and agreements of the other leaves before 4"), "{said}");
    let both = [&words[..], &["--since", "@authority-earlier", "--threads", "3", "--memory", "1"]].concat();
    let Ok(Outcome::Good { json, .. }) = ask(folder.path(), &both) else { panic!("it was not good") };
    assert_eq!(json["since"], serde_json::json!({"trail": 4, "authority": 1, "reread": 0}));

    // Salts are drawn anew: another export is another history of the same size.
    let other = exported();
    fs::copy(other.path().join("trail/checkpoint"), folder.path().join("earlier")).unwrap();
    let (code, said) = text(ask(folder.path(), &words));
    assert_eq!((code, said.contains("trail/checkpoint: fork: its first 4 leaves")), (1, true), "{said}");
    let dismissed: Event = MessageDismissed { by: "support/s-1".to_owned() }.into();
    let longer = vec![("messages/01938a5e-0000-7b2e-9f7a-000000000001", dismissed); 9];
    export(other.path(), "trail", &longer);
    fs::copy(other.path().join("trail/checkpoint"), folder.path().join("earlier")).unwrap();
    let (code, said) = text(ask(folder.path(), &words));
    assert_eq!((code, said.contains("rollback: it has 4 leaves")), (1, true), "{said}");

    fs::write(folder.path().join("earlier"), "no note").unwrap();
    assert_eq!(text(ask(folder.path(), &words)).0, 1);
    // One of the authority log is told of as that log's.
    let head = fs::read_to_string(folder.path().join("authority-earlier")).unwrap();
    let text_of_it = head.split_inclusive("\n\n").next().unwrap().trim_end_matches('\n');
    let stranger = SigningKey::from_seed(&format!("{GATEWAY}/authority"), &[99; 32]).unwrap();
    let forged = Checkpoint::parse_body(&format!("{text_of_it}\n")).unwrap().sign(&stranger);
    fs::write(folder.path().join("earlier"), forged.to_string()).unwrap();
    let (code, said) = text(ask(folder.path(), &words));
    assert_eq!((code, said.contains("earlier: ") && said.contains("sign")), (1, true), "{said}");
    // Nobody waits at a pipe.
    fs::remove_file(folder.path().join("earlier")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("earlier")).status().unwrap();
    assert!(made.success());
    let (code, said) = text(ask(folder.path(), &words));
    assert_eq!((code, said.contains("no regular file")), (2, true), "{said}");
    fs::remove_file(folder.path().join("earlier")).unwrap();
    assert_eq!(text(ask(folder.path(), &words)).0, 2);
}

#[test]
fn impossible_bounds_are_wrong_usage_and_temporary_files_are_made_only_if_needed() {
    let folder = exported();
    let words = ["trail", "@", "--pin", "@pins.toml"];
    for more in [["--threads", "0"], ["--memory", "0"], ["--memory", "-1"], ["--threads", "x"]] {
        assert_eq!(text(ask(folder.path(), &[&words[..], &more].concat())).0, 2, "{more:?}");
    }
    // Too little is remembered here to need a temporary file: the folder is not even looked at.
    let more = ["--temporary", "@no-such-folder"];
    assert_eq!(text(ask(folder.path(), &[&words[..], &more].concat())).0, 0);
}
