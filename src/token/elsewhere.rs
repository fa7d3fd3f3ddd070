//! A signature that is made elsewhere: in an HSM, a KMS, a card, by OpenSSL on a machine without a network.
//!
//! What is signed are the ASCII bytes `<protected>.<payload>` (RFC 7515 §5.1). Nothing that comes back is
//! believed: it must verify under the public key before it is taken.

use super::jwk::{Algorithm, PublicJwk, VerifyingKey};
use super::jws::{self, JwsSignature};
use crate::domain::{Reason, Refusal};

/// Bytes that wait for the signature of one key.
#[derive(Debug, Clone)]
pub struct ToSign {
    typ: &'static str,
    key: VerifyingKey,
    protected: String,
    input: String,
}

impl ToSign {
    /// `typ` of the signed form, the payload segment as it stands, and the key that is to sign it.
    pub fn new(typ: &'static str, payload_segment: &str, key: PublicJwk) -> Result<Self, Refusal> {
        let key = VerifyingKey::new(key)?;
        let protected = jws::protected(typ, key.algorithm(), key.id());
        let input = format!("{protected}.{payload_segment}");
        Ok(Self { typ, key, protected, input })
    }

    /// The very bytes to sign; hashing is part of the algorithm.
    pub fn bytes(&self) -> &[u8] {
        self.input.as_bytes()
    }
    pub fn protected_segment(&self) -> &str {
        &self.protected
    }
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Takes the signature back: for ECDSA raw `r ‖ s`, as PKCS#11 gives it, or ASN.1 DER, as OpenSSL and
    /// KMS give it. `SIGNATURE_INVALID` where it does not verify over [`Self::bytes`].
    pub fn signed(self, signature: &[u8]) -> Result<JwsSignature, Refusal> {
        let alg = self.key.algorithm();
        let verifies = |signature: &[u8]| self.key.verify(alg, self.bytes(), signature).is_ok();
        let signature = if verifies(signature) {
            signature.to_vec()
        } else {
            coordinate_length(alg)
                .and_then(|length| raw_of_der(signature, length))
                .filter(|raw| verifies(raw))
                .ok_or_else(|| does_not_verify(alg))?
        };
        Ok(JwsSignature::new(self.typ, alg, self.key.id(), self.protected, signature))
    }
}

fn does_not_verify(alg: Algorithm) -> Refusal {
    let form = match alg {
        Algorithm::EdDsa => "64 bytes of pure Ed25519 (RFC 8032), not over a hash",
        Algorithm::Es256 => "ECDSA over SHA-256, raw r || s of 64 bytes or DER",
        Algorithm::Es384 => "ECDSA over SHA-384, raw r || s of 96 bytes or DER",
        Algorithm::Ps256 => "RSASSA-PSS with SHA-256, MGF1 with SHA-256, a salt of 32 bytes",
    };
    Refusal::at(Reason::SignatureInvalid, "signature")
        .note(format!("expected {form}, by the public key given"))
}

fn coordinate_length(alg: Algorithm) -> Option<usize> {
    match alg {
        Algorithm::Es256 => Some(32),
        Algorithm::Es384 => Some(48),
        Algorithm::EdDsa | Algorithm::Ps256 => None,
    }
}

/// `SEQUENCE { r INTEGER, s INTEGER }` (RFC 3279 §2.2.3) to `r ‖ s`, each of the length.
fn raw_of_der(der: &[u8], length: usize) -> Option<Vec<u8>> {
    let (content, rest) = element(0x30, der)?;
    let (r, after) = element(0x02, content)?;
    let (s, end) = element(0x02, after)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let mut raw = vec![0; 2 * length];
    for (integer, place) in [r, s].into_iter().zip(raw.chunks_mut(length)) {
        // A leading zero only says that the number is positive.
        let digits = &integer[usize::from(integer.first() == Some(&0))..];
        let from = length.checked_sub(digits.len())?;
        place[from..].copy_from_slice(digits);
    }
    Some(raw)
}

/// One DER element of the tag: its content, and what follows. Lengths up to 255 are enough for 2 × 48 bytes.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, content) = match der {
        [first, 0x81, length, content @ ..] if *first == tag && *length >= 0x80 => (*length, content),
        [first, length, content @ ..] if *first == tag && *length < 0x80 => (*length, content),
        _ => return None,
    };
    content.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        KeyPair,
    };

    use super::*;
    use crate::token::fixtures::key;

    fn pair(alg: &'static EcdsaSigningAlgorithm) -> (EcdsaKeyPair, PublicJwk) {
        let pair = EcdsaKeyPair::generate(alg).unwrap();
        let public = PublicJwk::ec_point(pair.public_key().as_ref()).unwrap();
        (pair, public)
    }

    #[test]
    fn der_and_raw_signatures_become_one_form() {
        for alg in [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING] {
            let (pair, public) = pair(alg);
            // Often enough that r and s come short and with a leading zero.
            for turn in 0..64 {
                let to_sign = ToSign::new("test+jwt", &format!("payload{turn}"), public.clone()).unwrap();
                let der = pair.sign(&SystemRandom::new(), to_sign.bytes()).unwrap();
                let taken = to_sign.clone().signed(der.as_ref()).unwrap();
                let raw = super::super::base64url::decode(taken.signature_segment()).unwrap();
                assert_eq!(raw.len(), if public.algorithm() == Algorithm::Es256 { 64 } else { 96 });
                let again = to_sign.signed(&raw).unwrap();
                assert_eq!(again.signature_segment(), taken.signature_segment());
            }
        }
    }

    #[test]
    fn what_does_not_verify_is_not_taken() {
        let (pair, public) = pair(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let to_sign = ToSign::new("test+jwt", "payload", public).unwrap();
        let other = pair.sign(&SystemRandom::new(), b"other bytes").unwrap();
        let good = pair.sign(&SystemRandom::new(), to_sign.bytes()).unwrap();
        let longer = [good.as_ref(), &[0]].concat();
        for bad in [
            other.as_ref(),
            &longer,
            &good.as_ref()[1..],
            b"",
            &[0x30; 64],
            &[0x30, 0x06, 0x02, 0x7f, 0, 2, 1, 0],
        ] {
            let refusal = to_sign.clone().signed(bad).unwrap_err();
            assert_eq!(refusal.reason, Reason::SignatureInvalid);
        }
    }

    #[test]
    fn an_integer_that_is_too_long_is_no_signature() {
        let long = [vec![0x30, 37, 2, 33], vec![1; 33], vec![2, 0]].concat();
        assert_eq!(raw_of_der(&long, 32), None);
    }

    #[test]
    fn ed25519_is_taken_as_it_is() {
        let key = key("a");
        let to_sign = ToSign::new("test+jwt", "payload", key.public().clone()).unwrap();
        let signature = key.sign(to_sign.bytes()).unwrap();
        assert_eq!(to_sign.clone().signed(&signature).unwrap().kid, key.id());
        assert!(to_sign.signed(&signature[..63]).is_err());
    }
}
