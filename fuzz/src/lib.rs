//! The parsers of hostile bytes, one function for each: whatever the bytes are, there is an answer and no
//! panic, and what is taken is written again as it was read.
//!
//! `make fuzz` runs them under libFuzzer; `tests/fuzz.rs` runs the same functions over changed real
//! samples in every `make test`.

use std::sync::LazyLock;

use mandate::authority::pins::{LogPin, WitnessPins};
use mandate::authority::{Bundle, Pins, verdict};
use mandate::domain::Entropy;
use mandate::domain::routing::{Fact, FactKind, Facts, House, Registered};
use mandate::intake::{self, IntakeConfig};
use mandate::token::jws::{Jws, Profile};
use mandate::token::report::MAX_REPORT_BYTES;
use mandate::token::{
    Envelope, KeyKind, PrivateKey, Report, ReportKeySuccession, SignedKeySet, VerifyingKey,
};
use mandate::trail::{
    AddCheckpoint, Checkpoint, Hash, Leaf, Note, NoteSignature, Receipt, Resource, SigningKey, VerifierKey,
    decode_bundle, decode_tile, encode_bundle, encode_tile, leaf_hash, verify_consistency, verify_inclusion,
    witnessing,
};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; each has a file in `fuzz_targets/`.
pub const TARGETS: [Target; 10] = [
    ("note", note),
    ("add_checkpoint", add_checkpoint),
    ("tile", tile),
    ("leaf", leaf),
    ("receipt", receipt),
    ("instruction", instruction),
    ("key_set", key_set),
    ("report", report),
    ("evidence", evidence),
    ("mail", mail),
];

const TRAIL: &str = "gateway.example/trail";

/// Bytes for a key that signs nothing real.
struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn made() -> PrivateKey {
    PrivateKey::generate(KeyKind::Ed25519, &Sevens).expect("any seed makes an Ed25519 key")
}

static KEY: LazyLock<PrivateKey> = LazyLock::new(made);

/// Notes, checkpoints, signature lines and verifier keys.
pub fn note(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(note) = Note::parse(text) {
        assert_eq!(note.to_string(), text);
        let _ = Checkpoint::parse_body(note.text());
    }
    if let Ok(head) = Checkpoint::parse_body(text) {
        assert_eq!(head.body(), text);
    }
    if let Ok(line) = NoteSignature::parse(text) {
        assert_eq!(line.to_string(), text);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
}

/// What a log asks of a witness, and whether it may sign: nothing that a fuzzer makes continues a log.
pub fn add_checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(request) = AddCheckpoint::parse(text) else { return };
    assert_eq!(request.to_string(), text);
    assert!(request.proof.len() <= witnessing::MAX_CONSISTENCY);
    let Ok(note) = Note::parse(&request.checkpoint) else { return };
    let Ok(next) = Checkpoint::parse_body(note.text()) else { return };
    let size = next.size().saturating_sub(1).max(1);
    if let Ok(last) = Checkpoint::new(next.origin(), size, leaf_hash(b"last")) {
        assert!(witnessing::judge(&request, &next, Some(&last)).is_err(), "another history was taken");
    }
}

/// Paths of tiles, tiles and bundles: the first byte is the width, less one.
pub fn tile(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(resource) = Resource::parse(text)
    {
        assert_eq!(resource.path(), text);
    }
    let Some((width, bytes)) = data.split_first() else { return };
    let width = u16::from(*width) + 1;
    if let Ok(hashes) = decode_tile(bytes, width) {
        assert_eq!(encode_tile(&hashes), bytes);
    }
    if let Ok(entries) = decode_bundle(bytes, width) {
        assert_eq!(encode_bundle(&entries).as_deref(), Ok(bytes));
    }
}

pub fn leaf(data: &[u8]) {
    if let Ok(leaf) = Leaf::parse(data) {
        assert_eq!(leaf.bytes(), data);
        assert_eq!(leaf.hash(), leaf_hash(data));
    }
}

/// Receipts, and proofs of any length for any index and size.
pub fn receipt(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(receipt) = Receipt::parse(text)
    {
        assert_eq!(receipt.encode(), text);
    }
    let Some((numbers, rest)) = data.split_first_chunk::<16>() else { return };
    let (index, size) = numbers.split_at(8);
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    let proof: Vec<Hash> = rest.chunks_exact(Hash::LEN).filter_map(Hash::from_slice).collect();
    let root = leaf_hash(b"root");
    assert!(verify_inclusion(&leaf_hash(data), number(index), number(size), &proof, &root).is_err());
    let _ = verify_consistency(number(index), &root, number(size), &leaf_hash(b"newer"), &proof);
}

/// The data as an instruction, and as the payload of one whose signature verifies.
pub fn instruction(data: &[u8]) {
    if let Ok(envelope) = Envelope::read(data) {
        let again = Envelope::read(envelope.to_wire().as_bytes()).expect("what was read is written readably");
        assert_eq!(again.instruction_digest(), envelope.instruction_digest());
        assert_eq!(again.disclosures(), envelope.disclosures());
    }
    if let Ok(envelope) = Envelope::read_signed_part(data) {
        let part = envelope.signed_part();
        let again = Envelope::read_signed_part(part.as_bytes()).expect("what was read is written readably");
        assert_eq!(again.signed_part(), part);
    }
    let profile = Profile { typ: "instruction+sd-jwt", max_payload: 8 * 1024, max_signatures: 16 };
    if let Ok(jws) = Jws::sign(data.to_vec(), &profile, &[&KEY])
        && let Some(compact) = jws.to_compact()
        && let Ok(envelope) = Envelope::read_signed_part(compact.as_bytes())
    {
        assert_eq!(envelope.signed_part(), compact);
    }
}

/// The data as a key set, and as the payload of one that its own key signed.
pub fn key_set(data: &[u8]) {
    let first = |signed: SignedKeySet| {
        let (iss, digest) = (signed.iss().clone(), signed.digest());
        if let Ok(set) = signed.genesis(&iss, TRAIL, &digest) {
            assert_eq!(set.digest(), digest);
            assert_eq!(set.version(), 1);
        }
    };
    if let Ok(signed) = SignedKeySet::read(data) {
        first(signed);
    }
    let profile = Profile { typ: "keyset+jwt", max_payload: 32 * 1024, max_signatures: 32 };
    if let Ok(jws) = Jws::sign(data.to_vec(), &profile, &[&KEY])
        && let Ok(signed) = SignedKeySet::read(jws.to_general(&[]).as_bytes())
    {
        first(signed);
    }
}

static NEXT: LazyLock<PrivateKey> = LazyLock::new(|| {
    struct Eights;
    impl Entropy for Eights {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(8);
        }
    }
    PrivateKey::generate(KeyKind::Ed25519, &Eights).expect("any seed makes an Ed25519 key")
});

/// The data as a report, and as the claims of one whose signature verifies; the same as a succession of its keys.
pub fn report(data: &[u8]) {
    let agent = "beside-sdk".parse().expect("an agent's id");
    let key = VerifyingKey::new(KEY.public().clone()).expect("a key");
    if let Ok(text) = std::str::from_utf8(data)
        && text.len() <= MAX_REPORT_BYTES
    {
        let _ = Report::verify(text, &key, &agent, TRAIL);
    }
    let profile = Profile { typ: "report+jwt", max_payload: 32 * 1024, max_signatures: 1 };
    if let Ok(jws) = Jws::sign(data.to_vec(), &profile, &[&KEY])
        && let Some(compact) = jws.to_compact()
        && let Ok(report) = Report::verify(&compact, &key, &agent, TRAIL)
    {
        let again = report.sign(&KEY).expect("what was read can be signed");
        assert_eq!(Report::verify(&again, &key, &agent, TRAIL), Ok(report));
    }
    let succession = |text: &str| ReportKeySuccession::verify(text, &[&key], &agent, [TRAIL]);
    let _ = std::str::from_utf8(data).map(succession);
    let profile = Profile { typ: "report-key+jwt", max_payload: 2048, max_signatures: 2 };
    if let Ok(jws) = Jws::sign(data.to_vec(), &profile, &[&KEY, &NEXT])
        && let Ok(read) = succession(&jws.to_general(&[]))
    {
        assert_eq!((read.former, read.next.id()), (KEY.id(), NEXT.id()));
    }
}

static PINS: LazyLock<Pins> = LazyLock::new(|| {
    let pin = |origin: &str, seed| {
        let key = SigningKey::from_seed(origin, &[seed; 32]).expect("any seed makes an Ed25519 key");
        LogPin::new(origin.to_owned(), key.verifier_key().clone())
    };
    Pins {
        trail: pin(TRAIL, 1),
        authority: pin("gateway.example/authority", 2),
        freshness: None,
        witnesses: WitnessPins::default(),
        controllers: Default::default(),
        agents: Default::default(),
        recovered: Default::default(),
        reopened: Vec::new(),
    }
});

/// The data as an evidence bundle; nothing that a fuzzer makes is signed by the pinned keys.
pub fn evidence(data: &[u8]) {
    if let Ok(bundle) = Bundle::read(data) {
        let json = bundle.to_json();
        let again = Bundle::read(json.as_bytes()).expect("what was read is written readably");
        assert_eq!(again.to_json(), json);
        assert!(verdict::verify(&bundle, &PINS).is_err());
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(pins) = Pins::parse(text)
    {
        assert_eq!(Pins::parse(&pins.to_toml()), Ok(pins));
    }
}

static FACTS: LazyLock<Facts> = LazyLock::new(|| Facts {
    house: House {
        app: "house-app".parse().expect("an app's id"),
        controller: "house".parse().expect("a controller's id"),
        brands: vec!["PPIO".to_owned()],
        domains: vec!["house.example".to_owned()],
    },
    apps: vec![Registered {
        app: "xingyu-live".parse().expect("an app's id"),
        controller: "xingyu".parse().expect("a controller's id"),
        facts: vec![
            Fact::new(FactKind::Name, "星语直播"),
            Fact::new(FactKind::BundleId, "com.example.xingyu"),
            Fact::common(FactKind::Alias, "live"),
        ],
    }],
});

/// Mail: what is read of it keeps its meaning in the form in which it is sealed.
pub fn mail(data: &[u8]) {
    let config = IntakeConfig {
        authserv_id: "mx.house.example".to_owned(),
        mail_hosts: vec!["mx.house.example".to_owned()],
        house_domains: vec!["house.example".to_owned()],
    };
    if let Ok(candidate) = intake::read(data, &FACTS, &config) {
        let sealed = serde_json::to_vec(&candidate).expect("a candidate is plain JSON");
        let again: intake::Candidate = serde_json::from_slice(&sealed).expect("what was sealed reads back");
        assert!(again == candidate, "a candidate changes on its way through the seal");
    }
}
