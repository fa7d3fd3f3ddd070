//! A controller's key sets, made anew in a test from the keys that `mandate init` wrote.

use std::path::Path;

use mandate::cli::CliError;
use mandate::cli::demo::{Enterprise, reason_of};
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::{Act, Clock};
use mandate::grpc::v1;
use mandate::token::{
    KeyEntryDraft, KeyKind, KeySetDraft, KeySetRef, KeyUse, PrivateKey, SetRole, SignedKeySet,
};

/// The acts that the sample key sets give to their signers, but for `revoke`: who needs it says so.
const ACTS: [Act; 4] = [Act::Preview, Act::Erase, Act::Export, Act::ReturnAndErase];

pub fn new_key() -> PrivateKey {
    PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy).expect("a key")
}

/// A key of the controller's below `keys/`.
pub fn key_of(dir: &Path, controller: &str, name: &str) -> PrivateKey {
    let file = dir.join(format!("keys/{controller}/{name}.jwk"));
    PrivateKey::from_jwk(&std::fs::read(file).expect("the key is there")).expect("a private key")
}

/// The next version after the enterprise's, in which these signers may order everything the sample allows.
pub fn next(of: &Enterprise, root: &PrivateKey, signers: &[(&PrivateKey, &str)]) -> KeySetDraft {
    let entry = |key: &PrivateKey, signer: &str, usage| KeyEntryDraft {
        jwk: key.public().clone(),
        signer: signer.to_owned(),
        usage,
    };
    let now = SystemClock.now_seconds();
    let kids: Vec<_> = signers.iter().map(|(key, _)| key.id()).collect();
    let mut keys = vec![entry(root, "board", KeyUse::Root)];
    keys.extend(signers.iter().map(|(key, signer)| entry(key, signer, KeyUse::Instruction)));
    let mut roles = vec![(SetRole::Root, vec![root.id()], 1)];
    roles.extend(ACTS.map(|act| (SetRole::Act(act), kids.clone(), 1)));
    KeySetDraft {
        iss: of.id.clone(),
        aud: format!("{}/trail", of.client.profile.audience),
        version: of.key_set.version + 1,
        prev: Some(of.key_set.digest),
        iat: now,
        exp: now + 86_400,
        keys,
        roles,
    }
}

/// What an instruction under the set names.
pub fn named(set: &[u8]) -> KeySetRef {
    let signed = SignedKeySet::read(set).expect("a key set");
    KeySetRef { version: signed.version(), digest: signed.digest() }
}

/// Puts the set in force: its leaf in the trail, or the reason why not.
pub async fn rotate(by: &Enterprise, set: &[u8]) -> Result<u64, String> {
    let call = v1::RotateKeySetRequest { key_set: set.to_vec().into() };
    match by.client.instructions().rotate_key_set(call).await {
        Ok(answer) => Ok(answer.into_inner().receipt.expect("a receipt").index),
        Err(status) => Err(reason_of(&status).expect("a reason")),
    }
}

/// What a submission is refused with; `None` where it is taken.
pub async fn refusal(by: &Enterprise, wire: &str) -> Option<String> {
    match by.submit(wire).await {
        Ok(_) => None,
        Err(CliError::Status(status)) => Some(reason_of(&status).expect("a reason")),
        Err(error) => panic!("no answer: {error}"),
    }
}
