//! Tests of `keyset`.

use serde_json::json;

use super::*;
use crate::token::base64url;
use crate::token::fixtures::{ORIGIN, entry, genesis, key, key_set, set_draft};
use crate::token::{KeySetDraft, PrivateKey};

fn xingyu() -> ControllerId {
    "xingyu".parse().unwrap()
}

fn sign(draft: &KeySetDraft, signers: &[&str]) -> SignedKeySet {
    let keys: Vec<PrivateKey> = signers.iter().map(|name| key(name)).collect();
    let keys: Vec<&PrivateKey> = keys.iter().collect();
    SignedKeySet::read(&draft.sign(&keys).unwrap()).unwrap()
}

/// Version 2, in which `root-b` takes over from `root`.
fn second() -> KeySetDraft {
    let mut next = set_draft();
    next.version = 2;
    next.prev = Some(key_set().digest());
    next.keys[0] = entry("root-b", "root-1", KeyUse::Root);
    next.roles[0].1 = vec![key("root-b").id()];
    next
}

fn succeed(next: &KeySetDraft, signers: &[&str]) -> Result<KeySet, Reason> {
    sign(next, signers).succeed(&key_set()).map_err(|refusal| refusal.reason)
}

#[test]
fn the_first_set_needs_its_own_root_and_its_pin() {
    let signed = sign(&set_draft(), &["root"]);
    let pin = signed.digest();
    let set = signed.clone().genesis(&xingyu(), ORIGIN, &pin).unwrap();
    assert_eq!((set.version(), set.digest(), set.prev()), (1, pin, None));
    let reason = |signed: SignedKeySet, iss: &str, aud: &str, pin: &Digest| {
        signed.genesis(&iss.parse().unwrap(), aud, pin).unwrap_err().reason
    };
    assert_eq!(reason(signed.clone(), "xingyu", ORIGIN, &Digest::of("x")), Reason::KeySetThumbprint);
    assert_eq!(reason(signed.clone(), "other", ORIGIN, &pin), Reason::KeySetIssuer);
    assert_eq!(reason(signed, "xingyu", "else/trail", &pin), Reason::KeySetIssuer);
    for signers in [&["ann"][..], &["stranger"], &["root", "ann"]] {
        let signed = sign(&set_draft(), signers);
        assert_eq!(reason(signed, "xingyu", ORIGIN, &pin), Reason::KeySetSignature, "{signers:?}");
    }
}

#[test]
fn the_root_threshold_counts_signers_not_keys_or_signatures() {
    let mut draft = set_draft();
    draft.keys.push(entry("root-1b", "root-1", KeyUse::Root));
    draft.keys.push(entry("root-2", "root-2", KeyUse::Root));
    draft.roles[0].1 = ["root", "root-1b", "root-2"].map(|name| key(name).id()).to_vec();
    draft.roles[0].2 = 2;
    let taken = |signers: &[&str]| {
        let signed = sign(&draft, signers);
        let pin = signed.digest();
        signed.genesis(&xingyu(), ORIGIN, &pin).map_err(|refusal| refusal.reason).map(drop)
    };
    assert_eq!(taken(&["root", "root-2"]), Ok(()));
    assert_eq!(taken(&["root", "root-1b"]), Err(Reason::KeySetSignature));
    assert_eq!(taken(&["root", "root"]), Err(Reason::KeySetSignature));
}

#[test]
fn the_next_set_needs_both_roots_and_exactly_the_next_version() {
    assert_eq!(succeed(&second(), &["root", "root-b"]).unwrap().version(), 2);
    assert_eq!(succeed(&second(), &["root"]).unwrap_err(), Reason::KeySetSignature);
    assert_eq!(succeed(&second(), &["root-b"]).unwrap_err(), Reason::KeySetSignature);
    let third = KeySetDraft { version: 3, ..second() };
    assert_eq!(succeed(&third, &["root", "root-b"]).unwrap_err(), Reason::KeySetVersion);
    let fork = KeySetDraft { prev: Some(Digest::of("x")), ..second() };
    assert_eq!(succeed(&fork, &["root", "root-b"]).unwrap_err(), Reason::KeySetVersion);
    assert_eq!(succeed(&set_draft(), &["root"]).unwrap_err(), Reason::KeySetVersion);
    let foreign = KeySetDraft { iss: "other".parse().unwrap(), ..second() };
    assert_eq!(succeed(&foreign, &["root", "root-b"]).unwrap_err(), Reason::KeySetIssuer);
}

#[test]
fn a_key_keeps_its_use_and_its_signer() {
    let mut next = second();
    next.keys[3] = entry("bob", "carl", KeyUse::Instruction);
    assert_eq!(succeed(&next, &["root", "root-b"]).unwrap_err(), Reason::KeySetMalformed);
    let mut next = second();
    next.keys[4] = entry("reader", "reader", KeyUse::Root);
    next.roles[1].1.pop();
    assert_eq!(succeed(&next, &["root", "root-b"]).unwrap_err(), Reason::KeySetMalformed);
}

#[test]
fn a_changed_byte_is_noticed() {
    let draft = set_draft();
    let text = String::from_utf8(draft.sign(&[&key("root")]).unwrap()).unwrap();
    let payload = genesis(&draft).bytes().to_vec();
    assert_eq!(payload, text.as_bytes());
    let jws: Value = serde_json::from_str(&text).unwrap();
    let inner = base64url::decode(jws["payload"].as_str().unwrap()).unwrap();
    let changed = String::from_utf8(inner).unwrap().replace("\"threshold\":2", "\"threshold\":1");
    let forged = text.replace(jws["payload"].as_str().unwrap(), &base64url::encode(changed));
    assert_ne!(forged, text);
    let signed = SignedKeySet::read(forged.as_bytes()).unwrap();
    let pin = signed.digest();
    let refusal = signed.genesis(&xingyu(), ORIGIN, &pin).unwrap_err();
    assert_eq!(refusal.reason, Reason::KeySetSignature);
}

#[test]
fn every_other_member_or_value_is_refused() {
    let read = |change: &dyn Fn(&mut Value)| {
        let text = set_draft().sign(&[&key("root")]).unwrap();
        let jws: Value = serde_json::from_slice(&text).unwrap();
        let inner = base64url::decode(jws["payload"].as_str().unwrap()).unwrap();
        let mut payload: Value = serde_json::from_slice(&inner).unwrap();
        change(&mut payload);
        let jws = Jws::sign(payload.to_string().into_bytes(), &PROFILE, &[&key("root")]).unwrap();
        SignedKeySet::read(jws.to_general(&[]).as_bytes()).map_err(|refusal| refusal.reason).map(drop)
    };
    assert_eq!(read(&|_| {}), Ok(()));
    assert_eq!(read(&|p| p["policy"] = json!({})), Ok(()));
    let bad: [&dyn Fn(&mut Value); 16] = [
        &|p| p["policy"] = json!({"quorum": 5}),
        &|p| p["note"] = json!("x"),
        &|p| p["version"] = json!(0),
        &|p| p["version"] = json!(2),
        &|p| p["prev"] = json!(Digest::of("x")),
        &|p| p["exp"] = json!(1),
        &|p| p["keys"] = json!([]),
        &|p| p["keys"][1] = p["keys"][0].clone(),
        &|p| p["keys"][1]["use"] = json!("sig"),
        &|p| p["keys"][1]["signer"] = json!("ann@xingyu.example"),
        &|p| p["keys"][1]["name"] = json!("x"),
        &|p| drop(p["roles"].as_object_mut().unwrap().remove("root")),
        &|p| p["roles"]["delete"] = p["roles"]["erase"].clone(),
        &|p| p["roles"]["erase"]["threshold"] = json!(3), // three keys, two signers
        &|p| p["roles"]["erase"]["threshold"] = json!(0),
        &|p| p["roles"]["erase"]["kids"] = p["roles"]["root"]["kids"].clone(),
    ];
    for (index, change) in bad.iter().enumerate() {
        assert_eq!(read(change), Err(Reason::KeySetMalformed), "case {index}");
    }
    let private = |p: &mut Value| p["keys"][1]["d"] = json!("AAAA");
    assert_eq!(read(&private), Err(Reason::KeySetMalformed));
    let weak = |p: &mut Value| p["keys"][1]["x"] = json!(base64url::encode([0; 32]));
    assert_eq!(read(&weak), Err(Reason::KeyUnsuitable));
}
