//! Keys, key sets and instructions for the tests of this module and of `authority`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::domain::{Act, Basis, Category, Entropy, Identifier, Reason, Refusal};

pub const ORIGIN: &str = "mandate.ppio.example/trail";
pub const NOW: i64 = 1_795_420_800;

/// Bytes that differ from call to call and repeat from run to run.
pub struct CountedEntropy(AtomicU64);

impl CountedEntropy {
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Entropy for CountedEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let turn = self.0.fetch_add(1, Ordering::SeqCst);
        for (at, chunk) in bytes.chunks_mut(32).enumerate() {
            let block = Digest::of(format!("{turn}/{at}"));
            chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
        }
    }
}

struct Named(Digest);

impl Entropy for Named {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0.as_bytes()[..bytes.len()]);
    }
}

/// The Ed25519 key of that name, always the same.
pub fn key(name: &str) -> PrivateKey {
    PrivateKey::generate(KeyKind::Ed25519, &Named(Digest::of(name))).unwrap()
}

pub fn entry(name: &str, signer: &str, usage: KeyUse) -> KeyEntryDraft {
    KeyEntryDraft { jwk: key(name).public().clone(), signer: signer.into(), usage }
}

/// Version 1 of `controllers/xingyu`: one root, `ann` and `bob` order (ann has two keys), erasure takes two.
pub fn set_draft() -> KeySetDraft {
    let id = |name: &str| key(name).id();
    KeySetDraft {
        iss: "xingyu".parse().unwrap(),
        aud: ORIGIN.into(),
        version: 1,
        prev: None,
        iat: NOW - 1000,
        exp: NOW + 365 * 86_400,
        keys: vec![
            entry("root", "root-1", KeyUse::Root),
            entry("ann", "ann", KeyUse::Instruction),
            entry("ann-2", "ann", KeyUse::Instruction),
            entry("bob", "bob", KeyUse::Instruction),
            entry("reader", "reader", KeyUse::Instruction),
        ],
        roles: vec![
            (SetRole::Root, vec![id("root")], 1),
            (SetRole::Act(Act::Preview), vec![id("ann"), id("reader")], 1),
            (SetRole::Act(Act::Export), vec![id("ann"), id("bob")], 1),
            (SetRole::Act(Act::Rectify), vec![id("ann")], 1),
            (SetRole::Act(Act::Reply), vec![id("ann")], 1),
            (SetRole::Act(Act::Erase), vec![id("ann"), id("ann-2"), id("bob")], 2),
            (SetRole::Act(Act::ReturnAndErase), vec![id("ann")], 1),
        ],
    }
}

pub fn genesis(draft: &KeySetDraft) -> KeySet {
    let signed = SignedKeySet::read(&draft.sign(&[&key("root")]).unwrap()).unwrap();
    let pin = signed.digest();
    signed.genesis(&draft.iss, &draft.aud, &pin).unwrap()
}

pub fn key_set() -> KeySet {
    genesis(&set_draft())
}

/// The end of a contract: all of the app is returned and erased from `nbf` on.
pub fn ending(nbf: Option<i64>) -> InstructionDraft {
    InstructionDraft {
        subject: Vec::new(),
        basis: Basis::ContractEnd,
        categories: Categories::All,
        nbf,
        exp: nbf.unwrap_or(NOW) + 30 * 86_400,
        export: Some(export_order()),
        ..draft(Act::ReturnAndErase)
    }
}

/// A good draft of the act, by `controllers/xingyu` for `apps/xingyu-live`, with two identifiers.
pub fn draft(act: Act) -> InstructionDraft {
    let set = key_set();
    let app: crate::domain::AppId = "xingyu-live".parse().unwrap();
    InstructionDraft {
        iss: "xingyu".parse().unwrap(),
        aud: ORIGIN.into(),
        jti: "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88".parse().unwrap(),
        iat: NOW,
        nbf: None,
        exp: NOW + 7 * 86_400,
        act,
        req: None,
        target: None,
        subject: vec![Identifier::user(&app, "u_8839201"), Identifier::Opaque { id: "device-7f31c2".into() }],
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

/// The draft's payload and disclosures, before signing.
pub fn sealed(draft: &InstructionDraft) -> (Value, Vec<String>) {
    let (payload, disclosures) = draft.seal(&CountedEntropy::new()).unwrap();
    (serde_json::from_slice(&payload).unwrap(), disclosures)
}

/// Signs any payload text whatever: what a careless or hostile signer might send.
pub fn wire(payload: &str, disclosures: &[String], signers: &[&str]) -> String {
    let keys: Vec<PrivateKey> = signers.iter().map(|name| key(name)).collect();
    let keys: Vec<&PrivateKey> = keys.iter().collect();
    let jws = jws::Jws::sign(payload.as_bytes().to_vec(), &envelope::PROFILE, &keys).unwrap();
    Envelope::signed(jws, disclosures.to_vec()).to_wire()
}

/// Reads, verifies and parses as `controllers/xingyu`.
pub fn read(wire: &str) -> Result<Instruction, Refusal> {
    let iss = "xingyu".parse().unwrap();
    let expected = Expected { iss: &iss, aud: ORIGIN };
    Envelope::read(wire.as_bytes())?.verify(&key_set())?.parse(&expected)
}

/// The good payload of the act, changed, signed by ann and read: the reason it is refused for.
pub fn reason_when(draft: &InstructionDraft, change: impl FnOnce(&mut Value, &mut Vec<String>)) -> Reason {
    let (mut payload, mut disclosures) = sealed(draft);
    change(&mut payload, &mut disclosures);
    match read(&wire(&payload.to_string(), &disclosures, &["ann"])) {
        Err(refusal) => refusal.reason,
        Ok(_) => panic!("the changed instruction was taken"),
    }
}

/// A disclosure of this JSON text, with its placeholder.
pub fn disclosure(text: &str) -> (String, Value) {
    let disclosure = base64url::encode(text);
    let placeholder = json!({"...": Digest::of(&disclosure)});
    (disclosure, placeholder)
}

pub fn export_order() -> ExportOrder {
    ExportOrder {
        recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".parse().unwrap(),
        format: ExportFormat::JsonlCsv,
        region: crate::domain::Region::Cn,
        evidence: None,
    }
}
