//! JWS (RFC 7515): compact and General JSON, with exact headers.
//!
//! A protected header is exactly `{typ, alg, kid}`: no `crit`, `jwk`, `jku`,
//! `x5c`, `b64`, `zip` can change what is checked or with which key. Segments
//! are kept as the ASCII text received, since that is what was signed.

use serde_json::{Map, Value};

use super::base64url;
use super::digest::{Digest, KeyId};
use super::json;
use super::jwk::{Algorithm, SignatureError, VerifyingKey};
use super::private_key::PrivateKey;
use crate::domain::Refusal;

/// What one signed form allows.
#[derive(Debug)]
pub struct Profile {
    /// The header's `typ`, exactly.
    pub typ: &'static str,
    /// Decoded payload, bytes.
    pub max_payload: usize,
    pub max_signatures: usize,
}

/// A header is three short members.
const MAX_HEADER: usize = 512;
/// RSA-4096, decoded.
const MAX_SIGNATURE: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    #[error("too large: {0}")]
    TooLarge(&'static str),
    #[error("{0}")]
    Malformed(&'static str),
    #[error("not canonical base64url: {0}")]
    Encoding(&'static str),
    #[error("{0}")]
    Header(&'static str),
    #[error("the algorithm is not allowed or not the key's")]
    Algorithm,
    #[error("the signature does not verify")]
    Signature,
}

/// One signature with the header it protects.
#[derive(Debug, Clone)]
pub struct JwsSignature {
    pub alg: Algorithm,
    pub kid: KeyId,
    /// The header's `typ`: that of the form, or one that may stand beside it.
    pub typ: &'static str,
    protected_segment: String,
    signature_segment: String,
    signature: Vec<u8>,
}

impl JwsSignature {
    /// A signature of the form that was made and checked elsewhere in this module's siblings.
    pub(super) fn new(
        typ: &'static str,
        alg: Algorithm,
        kid: KeyId,
        protected_segment: String,
        signature: Vec<u8>,
    ) -> Self {
        let signature_segment = base64url::encode(&signature);
        Self { alg, kid, typ, protected_segment, signature_segment, signature }
    }

    /// The protected header as it was signed, base64url.
    pub fn protected_segment(&self) -> &str {
        &self.protected_segment
    }
    /// base64url; empty where nobody has signed yet.
    pub fn signature_segment(&self) -> &str {
        &self.signature_segment
    }
}

/// A JWS whose shape was checked and whose signatures were **not**.
#[derive(Debug, Clone)]
pub struct Jws {
    payload_segment: String,
    payload: Vec<u8>,
    signatures: Vec<JwsSignature>,
}

impl Jws {
    /// `<protected>.<payload>.<signature>`.
    pub fn read_compact(text: &str, profile: &Profile) -> Result<Self, JwsError> {
        let mut segments = text.split('.');
        let (Some(protected), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(JwsError::Malformed("a compact JWS has three segments"));
        };
        let payload_bytes = read_payload(payload, profile)?;
        Ok(Self {
            signatures: vec![read_signature(protected, signature, profile)?],
            payload_segment: payload.to_owned(),
            payload: payload_bytes,
        })
    }

    /// General JSON `{payload, signatures: [{protected, signature}]}`. The flattened
    /// form is refused. The second value is the first signature's unprotected
    /// header, for the form that allows one; any other is refused.
    pub fn read_general(
        bytes: &[u8],
        profile: &Profile,
    ) -> Result<(Self, Option<Map<String, Value>>), JwsError> {
        Self::read_general_beside(bytes, profile, profile)
    }

    /// The same, where each signature is of the one form or of the other.
    pub(super) fn read_general_beside(
        bytes: &[u8],
        profile: &Profile,
        beside: &Profile,
    ) -> Result<(Self, Option<Map<String, Value>>), JwsError> {
        let mut map = json::read_object(bytes)
            .map_err(|_| JwsError::Malformed("neither a compact JWS nor one strict JSON object"))?;
        let (Some(Value::String(payload_segment)), Some(Value::Array(entries)), true) =
            (map.remove("payload"), map.remove("signatures"), map.is_empty())
        else {
            return Err(JwsError::Malformed("a General JSON JWS is exactly payload and signatures"));
        };
        if entries.is_empty() || entries.len() > profile.max_signatures {
            return Err(JwsError::Malformed("no signature, or more than the form allows"));
        }
        let payload = read_payload(&payload_segment, profile)?;
        let mut unprotected = None;
        let mut signatures = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let Value::Object(mut entry) = entry else {
                return Err(JwsError::Malformed("a signature is an object"));
            };
            if index == 0 {
                unprotected = match entry.remove("header") {
                    None => None,
                    Some(Value::Object(header)) => Some(header),
                    Some(_) => return Err(JwsError::Malformed("an unprotected header is an object")),
                };
            }
            let (Some(Value::String(protected)), Some(Value::String(signature)), true) =
                (entry.remove("protected"), entry.remove("signature"), entry.is_empty())
            else {
                return Err(JwsError::Malformed("a signature is exactly protected and signature"));
            };
            let read = match read_signature(&protected, &signature, profile) {
                Err(JwsError::Header(_)) => read_signature(&protected, &signature, beside),
                read => read,
            };
            signatures.push(read?);
        }
        Ok((Self { payload_segment, payload, signatures }, unprotected))
    }

    /// One signature that stands apart from its payload.
    pub(super) fn read_signature(
        protected: &str,
        signature: &str,
        profile: &Profile,
    ) -> Result<JwsSignature, JwsError> {
        read_signature(protected, signature, profile)
    }

    /// The same with these signatures.
    pub(super) fn with_signatures(&self, signatures: Vec<JwsSignature>) -> Self {
        Self { payload_segment: self.payload_segment.clone(), payload: self.payload.clone(), signatures }
    }

    /// Signs with each key in turn.
    pub fn sign(payload: Vec<u8>, profile: &Profile, keys: &[&PrivateKey]) -> Result<Self, Refusal> {
        let payload_segment = base64url::encode(&payload);
        let mut signatures = Vec::with_capacity(keys.len());
        for key in keys {
            signatures.push(Self::sign_segment(&payload_segment, profile, key)?);
        }
        Ok(Self { payload_segment, payload, signatures })
    }

    /// One signature over a payload segment.
    pub(super) fn sign_segment(
        payload_segment: &str,
        profile: &Profile,
        key: &PrivateKey,
    ) -> Result<JwsSignature, Refusal> {
        let protected_segment = protected(profile.typ, key.algorithm(), key.id());
        let signature = key.sign(format!("{protected_segment}.{payload_segment}").as_bytes())?;
        Ok(JwsSignature::new(profile.typ, key.algorithm(), key.id(), protected_segment, signature))
    }

    pub fn payload_segment(&self) -> &str {
        &self.payload_segment
    }
    /// The payload's bytes as signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
    pub fn signatures(&self) -> &[JwsSignature] {
        &self.signatures
    }

    /// SHA-256 over the ASCII payload segment.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.payload_segment)
    }

    /// Checks one signature of this JWS over RFC 7515 §5.2's signing input.
    pub fn verify(&self, signature: &JwsSignature, key: &VerifyingKey) -> Result<(), JwsError> {
        let mut input =
            Vec::with_capacity(signature.protected_segment.len() + 1 + self.payload_segment.len());
        input.extend_from_slice(signature.protected_segment.as_bytes());
        input.push(b'.');
        input.extend_from_slice(self.payload_segment.as_bytes());
        key.verify(signature.alg, &input, &signature.signature).map_err(|error| match error {
            SignatureError::Algorithm => JwsError::Algorithm,
            SignatureError::Signature => JwsError::Signature,
        })
    }

    /// The compact form; only a JWS of one signature has one.
    pub fn to_compact(&self) -> Option<String> {
        match self.signatures.as_slice() {
            [only] => Some(format!(
                "{}.{}.{}",
                only.protected_segment, self.payload_segment, only.signature_segment
            )),
            _ => None,
        }
    }

    /// The General JSON form; `disclosures` go into the first signature's unprotected
    /// header (RFC 9901 §8). Everything in it is base64url, so nothing needs escaping.
    pub fn to_general(&self, disclosures: &[String]) -> String {
        let mut out = String::with_capacity(self.payload_segment.len() + 512);
        out.push_str(r#"{"payload":""#);
        out.push_str(&self.payload_segment);
        out.push_str(r#"","signatures":["#);
        for (index, signature) in self.signatures.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(r#"{"protected":""#);
            out.push_str(&signature.protected_segment);
            if index == 0 && !disclosures.is_empty() {
                out.push_str(r#"","header":{"disclosures":[""#);
                out.push_str(&disclosures.join(r#"",""#));
                out.push_str(r#""]},"signature":""#);
            } else {
                out.push_str(r#"","signature":""#);
            }
            out.push_str(&signature.signature_segment);
            out.push_str(r#""}"#);
        }
        out.push_str("]}");
        out
    }
}

/// The protected header that we write, base64url: always the same text for one key.
pub(super) fn protected(typ: &str, alg: Algorithm, kid: KeyId) -> String {
    base64url::encode(format!(r#"{{"typ":"{typ}","alg":"{}","kid":"{kid}"}}"#, alg.header_name()))
}

fn read_payload(segment: &str, profile: &Profile) -> Result<Vec<u8>, JwsError> {
    // Four characters carry three bytes: refuse before decoding what cannot fit.
    if segment.len() > profile.max_payload.div_ceil(3) * 4 {
        return Err(JwsError::TooLarge("payload"));
    }
    let payload = base64url::decode(segment).map_err(|_| JwsError::Encoding("payload"))?;
    if payload.len() > profile.max_payload {
        return Err(JwsError::TooLarge("payload"));
    }
    Ok(payload)
}

fn read_signature(protected: &str, signature: &str, profile: &Profile) -> Result<JwsSignature, JwsError> {
    if protected.len() > MAX_HEADER {
        return Err(JwsError::Header("the protected header is too long"));
    }
    let header = base64url::decode(protected).map_err(|_| JwsError::Encoding("protected"))?;
    let mut header = json::read_object(&header)
        .map_err(|_| JwsError::Header("the protected header is no strict object"))?;
    let (typ, alg, kid) = (header.remove("typ"), header.remove("alg"), header.remove("kid"));
    let (Some(Value::String(typ)), Some(Value::String(alg)), Some(Value::String(kid)), true) =
        (typ, alg, kid, header.is_empty())
    else {
        return Err(JwsError::Header("the protected header is exactly typ, alg and kid"));
    };
    if typ != profile.typ {
        return Err(JwsError::Header("typ is that of another form"));
    }
    let alg = Algorithm::from_header(&alg).ok_or(JwsError::Algorithm)?;
    let kid = kid.parse().map_err(|_| JwsError::Header("kid is no RFC 7638 thumbprint"))?;
    if signature.len() > MAX_SIGNATURE.div_ceil(3) * 4 {
        return Err(JwsError::TooLarge("signature"));
    }
    let bytes = base64url::decode(signature).map_err(|_| JwsError::Encoding("signature"))?;
    Ok(JwsSignature {
        alg,
        kid,
        typ: profile.typ,
        protected_segment: protected.to_owned(),
        signature_segment: signature.to_owned(),
        signature: bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::fixtures::key;

    const PROFILE: Profile = Profile { typ: "test+jwt", max_payload: 100, max_signatures: 2 };

    fn with_header(header: &str) -> Result<Jws, JwsError> {
        Jws::read_compact(&format!("{}.e30.AA", base64url::encode(header)), &PROFILE)
    }

    #[test]
    fn both_serializations_carry_the_same_signature() {
        let key = key("a");
        let jws = Jws::sign(b"{}".to_vec(), &PROFILE, &[&key]).unwrap();
        let verifying = VerifyingKey::new(key.public().clone()).unwrap();
        let compact = Jws::read_compact(&jws.to_compact().unwrap(), &PROFILE).unwrap();
        let (general, header) = Jws::read_general(jws.to_general(&[]).as_bytes(), &PROFILE).unwrap();
        assert_eq!(header, None);
        for read in [compact, general] {
            assert_eq!(read.verify(&read.signatures()[0], &verifying), Ok(()));
            assert_eq!(read.digest(), jws.digest());
        }
    }

    #[test]
    fn a_header_is_exactly_three_members() {
        let kid = key("a").id();
        let good = format!(r#"{{"typ":"test+jwt","alg":"ES256","kid":"{kid}"}}"#);
        assert!(with_header(&good).is_ok());
        let extra = good.replace('}', r#","crit":[]}"#);
        let twice = good.replace('}', r#","alg":"ES256"}"#);
        for bad in [
            extra.as_str(),
            twice.as_str(),
            r#"{"typ":"test+jwt","alg":"ES256"}"#,
            r#"{"typ":"test+jwt","alg":"ES256","kid":"k1"}"#,
            &good.replace("test+jwt", "JWT"),
            "no json",
        ] {
            assert!(matches!(with_header(bad), Err(JwsError::Header(_))), "{bad}");
        }
        for alg in ["none", "HS256", "RS256", "ES512", "eddsa"] {
            assert_eq!(with_header(&good.replace("ES256", alg)).unwrap_err(), JwsError::Algorithm);
        }
    }

    #[test]
    fn the_flattened_form_and_stray_members_are_malformed() {
        let jws = Jws::sign(b"{}".to_vec(), &PROFILE, &[&key("a")]).unwrap();
        let general = jws.to_general(&[]);
        let flattened = general.replace(r#""signatures":[{"#, "").replace("}]}", "}");
        let stray = general.replace(r#"{"payload""#, r#"{"x":1,"payload""#);
        let header_later = Jws::sign(b"{}".to_vec(), &PROFILE, &[&key("a"), &key("b")])
            .unwrap()
            .to_general(&[])
            .replace(r#"},{"protected""#, r#"},{"header":{},"protected""#);
        for bad in [
            flattened.as_str(),
            stray.as_str(),
            header_later.as_str(),
            r#"{"payload":"e30","signatures":[]}"#,
        ] {
            let read = Jws::read_general(bad.as_bytes(), &PROFILE);
            assert!(matches!(read, Err(JwsError::Malformed(_))), "{bad}");
        }
    }
}
