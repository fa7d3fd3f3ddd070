//! The fuzz targets over changed real samples: bounded, seeded, in every test run. `make fuzz` lets
//! libFuzzer loose on the same functions.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Real messages of every kind that is parsed.
static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut samples: Vec<Vec<u8>> = ["tile/0/x001/x234/067.p/12", "tile/entries/x001/067", "tile/7/000"]
        .map(|path| path.as_bytes().to_vec())
        .into();
    for folder in ["examples/mail", "tests/vectors", "tests/vectors/instruction", "tests/vectors/key-set"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("samples") {
            let path = entry.expect("an entry").path();
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a sample");
            // What a vector has as its input is a sample of its own.
            if let Ok(vector) = serde_json::from_slice::<serde_json::Value>(&bytes) {
                samples.extend(vector["input"].as_str().map(|input| input.as_bytes().to_vec()));
            }
            samples.push(bytes);
        }
    }
    samples.extend(made());
    samples.retain(|sample| sample.len() <= 64 * 1024);
    samples
});

/// What a log asks of a witness, a leaf, a checkpoint, a receipt, keys, a bundle and the claims of a report, as this crate writes them.
fn made() -> Vec<Vec<u8>> {
    use mandate::domain::clock::SystemEntropy;
    use mandate::domain::{Timestamp, event};
    use mandate::trail::*;

    let key = SigningKey::from_seed("gateway.example/trail", &[1; 32]).expect("a key");
    let opened: event::Event = event::LogOpened { origin: "gateway.example/trail".into() }.into();
    let draft = LeafDraft::new(opened.type_name(), "gateway.example/trail", opened.to_data());
    let time = Timestamp::from_second(1_795_420_800).expect("a time");
    let leaf = draft.seal("gateway.example", time, &SystemEntropy).expect("a leaf");
    let mut tree = Appender::new();
    for _ in 0..5 {
        tree.append(leaf.hash());
    }
    let note = Checkpoint::new("gateway.example/trail", 5, tree.root()).expect("a head").sign(&key);
    let receipt = Receipt::new(2, inclusion_proof(2, 5, &tree).expect("a proof"), note.clone());
    let bundle = encode_bundle(&[leaf.bytes(), b"", b"x"]).expect("a bundle");
    let uuid = "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88";
    let digest = mandate::token::Digest::of("x").to_string();
    let report = serde_json::json!({
        "iss": "agents/beside-sdk", "aud": "gateway.example/trail", "jti": uuid, "iat": 1_795_420_800,
        "execution": format!("executions/{uuid}"), "instruction": format!("instructions/{uuid}"),
        "instruction_digest": digest, "sub_digests": [digest], "act": "erase", "store": "sdk",
        "attempt": 1, "outcome": "completed", "map_version": "map-1",
        "authority": {"size": 2, "root": digest},
        "collections": [{"collection": "users", "outcome": "erased", "rows": 3}],
        "ledger": {"sequence": 1, "head": digest},
    });
    let proof = consistency_proof(3, 5, &tree).expect("a proof");
    let request = AddCheckpoint { old: 3, proof, checkpoint: note.to_string() };
    vec![
        request.to_string().into_bytes(),
        leaf.bytes().to_vec(),
        note.to_string().into_bytes(),
        note.text().as_bytes().to_vec(),
        receipt.encode().into_bytes(),
        key.verifier_key().to_string().into_bytes(),
        [&[2], bundle.as_slice()].concat(),
        report.to_string().into_bytes(),
    ]
}

/// One change: a byte overwritten, put in or taken out, a piece doubled, a piece of another sample put in.
type Change = (u8, Index, Index, u8);

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\n \"0xAtp./=+{}[]:,\\u~".to_vec())];
    (0u8..5, any::<Index>(), any::<Index>(), byte)
}

fn changed(sample: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for (kind, at, other, byte) in changes {
        let at = at.index(bytes.len() + 1);
        match kind {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, *byte),
            3 => {
                let end = (at + usize::from(*byte)).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
            _ => {
                let other: &Vec<u8> = other.get(&SAMPLES);
                let piece = &other[..other.len().min(usize::from(*byte))];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn every_sample_is_answered_by_every_target() {
    assert!(SAMPLES.len() > 90, "samples are missing: {}", SAMPLES.len());
    for sample in SAMPLES.iter() {
        targets::TARGETS.iter().for_each(|(_, target)| target(sample));
    }
}

#[test]
fn every_target_has_its_file_for_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("the manifest");
    for (name, _) in targets::TARGETS {
        let text = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect("a target");
        assert!(text.contains(&format!("mandate_fuzz::{name}(data)")), "{name} runs another target");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_samples_are_answered(at in any::<Index>(), changes in prop::collection::vec(change(), 1..6)) {
        let sample: &Vec<u8> = at.get(&SAMPLES);
        let bytes = changed(sample, &changes);
        targets::TARGETS.iter().for_each(|(_, target)| target(&bytes));
    }

    #[test]
    fn random_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        targets::TARGETS.iter().for_each(|(_, target)| target(&bytes));
    }
}
