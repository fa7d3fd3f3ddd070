//! Instructions judged a second on one core, beside the bare verification of the signatures in them, in one run:
//! for each algorithm, one signer of one, and two signers of three. Only the ratios mean something elsewhere.
//!
//! Judged: read, every signature, members, disclosures, time, key set, roles, threshold, agreement. The bare
//! figure is `VerifyingKey::verify` over the same bytes with keys that are ready.
//!
//! `cargo bench --no-default-features --bench instructions`
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use mandate::authority::{AdmissionContext, AgreementTerms, admit};
use mandate::domain::clock::SystemEntropy;
use mandate::domain::{Act, AppId, Basis, Category, ControllerId, Identifier, Region};
use mandate::token::{
    Categories, Envelope, Expected, InstructionDraft, KeyEntryDraft, KeyKind, KeySet, KeySetDraft, KeySetRef,
    KeyUse, Private, PrivateKey, SetRole, SignedKeySet, ToSign, VerifyingKey,
};

const ORIGIN: &str = "mandate.example/trail";
const NOW: i64 = 1_795_420_800;
/// Distinct instructions, taken in turn: no branch predictor knows them all.
const INSTRUCTIONS: usize = 64;
/// One slice of either kind; they alternate, so that a change of the clock's pace hits both.
const SLICE: Duration = Duration::from_millis(100);
const SLICES: usize = 15;
/// The key of RFC 7515, Appendix A.2.1: RSA keys are not made here.
const RSA: &[u8] = include_bytes!("../tests/vectors/rfc7515-a2-rsa.jwk.json");

/// What one algorithm and threshold are measured on.
struct Scene {
    set: KeySet,
    agreement: AgreementTerms,
    /// As they arrive.
    texts: Vec<String>,
    /// The signatures in each of them.
    bare: Vec<Vec<Bare>>,
}

/// What verifying one signature takes.
struct Bare {
    key: VerifyingKey,
    bytes: Vec<u8>,
    signature: Vec<u8>,
}

fn key(alg: &str, entropy: &SystemEntropy) -> PrivateKey {
    let kind = match alg {
        "EdDSA" => KeyKind::Ed25519,
        "ES256" => KeyKind::P256,
        "ES384" => KeyKind::P384,
        _ => return PrivateKey::from_jwk(RSA).expect("the RFC's key"),
    };
    PrivateKey::generate(kind, entropy).expect("a key")
}

impl Scene {
    /// `signers` of `holders` sign. There is one RSA key only: with two signers the other one has an Ed25519 key.
    fn new(alg: &str, signers: usize, holders: usize) -> Self {
        let entropy = SystemEntropy;
        let keys: Vec<PrivateKey> = (0..holders)
            .map(|n| key(if alg == "PS256" && n > 0 { "EdDSA" } else { alg }, &entropy))
            .collect();
        let set = key_set(&keys, signers);
        let signing: Vec<&PrivateKey> = keys.iter().take(signers).collect();
        let (mut texts, mut bare) = (Vec::new(), Vec::new());
        for n in 0..INSTRUCTIONS {
            let signed = draft(n, &set).sign(&signing, &entropy).expect("signed");
            let envelope = signed.envelope();
            let parts = signing.iter().map(|key| {
                let public = key.public().clone();
                let to_sign = ToSign::new("instruction+sd-jwt", envelope.payload_segment(), public.clone());
                let bytes = to_sign.expect("a good key").bytes().to_vec();
                let signature = key.sign(&bytes).expect("signed");
                Bare { key: VerifyingKey::new(public).expect("a good key"), bytes, signature }
            });
            bare.push(parts.collect());
            texts.push(signed.to_wire());
        }
        Self { set, agreement: agreement(), texts, bare }
    }

    fn judge(&self, n: usize) {
        let iss = self.set.iss();
        let expected = Expected { iss, aud: ORIGIN };
        let envelope = Envelope::read(self.texts[n % INSTRUCTIONS].as_bytes()).expect("well-formed");
        let instruction =
            envelope.verify(&self.set).expect("signed").parse(&expected).expect("of the profile");
        let context = AdmissionContext {
            newest: &self.set,
            app_owner: Some(iss),
            agreement: Some(&self.agreement),
            now: NOW,
            minor: false,
            without: mandate::authority::admission::NOBODY,
            witnesses: 0,
        };
        black_box(admit(&instruction, &context).expect("good"));
    }

    fn verify_bare(&self, n: usize) {
        for Bare { key, bytes, signature } in &self.bare[n % INSTRUCTIONS] {
            black_box(key.verify(key.algorithm(), bytes, signature)).expect("it verifies");
        }
    }
}

fn key_set(keys: &[PrivateKey], threshold: usize) -> KeySet {
    let root = key("EdDSA", &SystemEntropy);
    let entry =
        |key: &PrivateKey, signer: String, usage| KeyEntryDraft { jwk: key.public().clone(), signer, usage };
    let mut entries = vec![entry(&root, "board".to_owned(), KeyUse::Root)];
    entries.extend(
        keys.iter().enumerate().map(|(n, key)| entry(key, format!("signer-{n}"), KeyUse::Instruction)),
    );
    let kids = keys.iter().map(PrivateKey::id).collect();
    let iss: ControllerId = "xingyu".parse().expect("an id");
    let draft = KeySetDraft {
        iss: iss.clone(),
        aud: ORIGIN.to_owned(),
        version: 1,
        prev: None,
        iat: NOW - 1000,
        exp: NOW + 86_400,
        keys: entries,
        roles: vec![
            (SetRole::Root, vec![root.id()], 1),
            (SetRole::Act(Act::Erase), kids, u32::try_from(threshold).expect("few")),
        ],
    };
    let signed = SignedKeySet::read(&draft.sign(&[&root]).expect("signed")).expect("well-formed");
    let pin = signed.digest();
    signed.genesis(&iss, ORIGIN, &pin).expect("a first set")
}

fn draft(n: usize, set: &KeySet) -> InstructionDraft {
    let app: AppId = "xingyu-live".parse().expect("an id");
    InstructionDraft {
        iss: set.iss().clone(),
        aud: ORIGIN.to_owned(),
        jti: format!("01938a5e-7c1d-7b2e-9f7a-{n:012}").parse().expect("a UUIDv7"),
        iat: NOW,
        nbf: None,
        exp: NOW + 3600,
        act: Act::Erase,
        req: None,
        target: None,
        subject: vec![
            Identifier::user(&app, format!("u_{n}")),
            Identifier::Opaque { id: format!("device-{n}") },
        ],
        app,
        private: Private::None,
        categories: Categories::Some(vec![Category::Device, Category::Network]),
        stores: None,
        window: None,
        basis: Basis::Pipl47,
        key_set: KeySetRef { version: set.version(), digest: set.digest() },
        preview: None,
        export: None,
        refuse: None,
        authorize_reply: None,
    }
}

fn agreement() -> AgreementTerms {
    AgreementTerms {
        controller: "xingyu".parse().expect("an id"),
        apps: ["xingyu-live".parse().expect("an id")].into(),
        categories: [Category::Device, Category::Network].into(),
        stores: ["sdk".parse().expect("an id")].into(),
        regions: [Region::Cn].into(),
        sub_processors: Default::default(),
        sinks: Default::default(),
        valid_from: NOW - 1000,
        valid_until: None,
    }
}

/// How many a second, for one slice.
fn rate(mut work: impl FnMut(usize)) -> f64 {
    let begun = Instant::now();
    let mut done = 0;
    while begun.elapsed() < SLICE {
        // The clock is read once in sixteen.
        for _ in 0..16 {
            work(done);
            done += 1;
        }
    }
    done as f64 / begun.elapsed().as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    println!("alg    signers   judged/s   bare verification/s   ratio (aim 0.7)");
    for alg in ["EdDSA", "ES256", "ES384", "PS256"] {
        for (signers, holders) in [(1, 1), (2, 3)] {
            let scene = Scene::new(alg, signers, holders);
            let (mut judged, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..SLICES {
                let (ours, theirs) = (rate(|n| scene.judge(n)), rate(|n| scene.verify_bare(n)));
                judged.push(ours);
                bare.push(theirs);
                ratios.push(ours / theirs);
            }
            let (judged, bare, ratio) = (median(judged), median(bare), median(ratios));
            println!("{alg:<7}{signers} of {holders}  {judged:>10.0}  {bare:>20.0}   {ratio:.2}");
        }
    }
}
