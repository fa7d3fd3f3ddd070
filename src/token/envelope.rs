//! An instruction as it arrives, and its signatures.
//!
//! Verify first, parse after: [`Envelope::read`] looks at sizes, encoding and the
//! protected headers; [`Envelope::verify`] checks every signature; only then does
//! anything read the payload. The bytes are kept as received.

use std::fmt;

use serde_json::Value;

use super::detached::Detached;
use super::digest::{Digest, KeyId};
use super::jws::{Jws, JwsError, Profile};
use super::keyset::{KeySet, KeyUse};
use super::statement::KeySetRef;
use crate::domain::{InstructionId, Reason, Refusal};

/// The whole message, disclosures included.
pub const MAX_INSTRUCTION_BYTES: usize = 64 * 1024;
/// The decoded payload.
pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024;

/// In the header of a signature that was added to an instruction later.
pub const APPROVAL_TYP: &str = "instruction-approval+jwt";

pub(super) const PROFILE: Profile =
    Profile { typ: "instruction+sd-jwt", max_payload: MAX_PAYLOAD_BYTES, max_signatures: 16 };
const APPROVAL: Profile = Profile { typ: APPROVAL_TYP, ..PROFILE };

/// An instruction whose signatures were not checked yet.
#[derive(Clone)]
pub struct Envelope {
    jws: Jws,
    disclosures: Vec<String>,
    compact: bool,
}

/// A key that signed, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    pub kid: KeyId,
    /// The opaque id of the person or machine: thresholds count these.
    pub signer: String,
}

pub(super) fn refuse(error: JwsError) -> Refusal {
    match error {
        JwsError::TooLarge(part) => Refusal::at(Reason::InstructionTooLarge, part),
        JwsError::Malformed(rule) => Refusal::new(Reason::InstructionMalformed).note(rule),
        JwsError::Encoding(part) => Refusal::at(Reason::EncodingNotCanonical, part),
        JwsError::Header(rule) => Refusal::at(Reason::HeaderInvalid, "protected").note(rule),
        JwsError::Algorithm => Refusal::at(Reason::AlgorithmNotAllowed, "protected.alg"),
        JwsError::Signature => Refusal::at(Reason::SignatureInvalid, "signature"),
    }
}

impl Envelope {
    /// Reads `<jwt>~<disclosure>~…~` (RFC 9901 §4) or General JSON with the
    /// disclosures in the first signature's unprotected header (§8).
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_INSTRUCTION_BYTES {
            return Err(Refusal::new(Reason::InstructionTooLarge));
        }
        if bytes.first() == Some(&b'{') {
            return Self::read_general(bytes);
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Refusal::new(Reason::InstructionMalformed).note("not ASCII"))?;
        let mut parts = text.split('~');
        let jwt = parts.next().unwrap_or_default();
        let mut disclosures: Vec<String> = parts.map(str::to_owned).collect();
        // After the last '~' a key binding would stand; the profile has none.
        match disclosures.pop() {
            Some(last) if last.is_empty() => {}
            _ => {
                return Err(Refusal::new(Reason::InstructionMalformed)
                    .note("the compact form ends with '~' and has no key binding"));
            }
        }
        let jws = Jws::read_compact(jwt, &PROFILE).map_err(refuse)?;
        Ok(Self { jws, disclosures, compact: true })
    }

    fn read_general(bytes: &[u8]) -> Result<Self, Refusal> {
        let (jws, unprotected) = Jws::read_general_beside(bytes, &PROFILE, &APPROVAL).map_err(refuse)?;
        if !jws.signatures().iter().any(|signature| signature.typ == PROFILE.typ) {
            return Err(Refusal::at(Reason::HeaderInvalid, "protected").note("approvals alone order nothing"));
        }
        let disclosures = match unprotected {
            None => Vec::new(),
            Some(mut header) => {
                let malformed = || {
                    Refusal::new(Reason::InstructionMalformed)
                        .note("the unprotected header is exactly disclosures, an array of strings")
                };
                let (Some(Value::Array(items)), true) = (header.remove("disclosures"), header.is_empty())
                else {
                    return Err(malformed());
                };
                items
                    .into_iter()
                    .map(|item| match item {
                        Value::String(text) => Ok(text),
                        _ => Err(malformed()),
                    })
                    .collect::<Result<_, _>>()?
            }
        };
        Ok(Self { jws, disclosures, compact: false })
    }

    /// Reads what [`Self::signed_part`] wrote: the form that stands in the trail.
    pub fn read_signed_part(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_INSTRUCTION_BYTES {
            return Err(Refusal::new(Reason::InstructionTooLarge));
        }
        if bytes.first() == Some(&b'{') {
            let envelope = Self::read_general(bytes)?;
            if envelope.disclosures.is_empty() {
                return Ok(envelope);
            }
            return Err(Refusal::new(Reason::InstructionMalformed).note("a signed part has no disclosures"));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Refusal::new(Reason::InstructionMalformed).note("not ASCII"))?;
        let jws = Jws::read_compact(text, &PROFILE).map_err(refuse)?;
        Ok(Self { jws, disclosures: Vec::new(), compact: true })
    }

    pub(super) fn into_parts(self) -> (Jws, Vec<String>) {
        (self.jws, self.disclosures)
    }

    pub(super) fn signed(jws: Jws, disclosures: Vec<String>) -> Self {
        Self { compact: jws.signatures().len() == 1, jws, disclosures }
    }

    /// The same instruction with an approval more.
    pub fn approved(&self, approval: &Detached) -> Self {
        let mut signatures = self.jws.signatures().to_vec();
        signatures.push(approval.signature.clone());
        Self {
            jws: self.jws.with_signatures(signatures),
            disclosures: self.disclosures.clone(),
            compact: false,
        }
    }

    /// The same without the signatures of these keys; none where nothing is left of what was submitted.
    pub fn without(&self, kids: &[KeyId]) -> Option<Self> {
        let rest: Vec<_> = self
            .jws
            .signatures()
            .iter()
            .filter(|signature| !kids.contains(&signature.kid))
            .cloned()
            .collect();
        let submitted = rest.iter().any(|signature| signature.typ == PROFILE.typ);
        submitted.then(|| Self {
            compact: rest.len() == 1,
            jws: self.jws.with_signatures(rest),
            disclosures: self.disclosures.clone(),
        })
    }

    /// The same with these disclosures.
    pub fn disclosing(self, disclosures: Vec<String>) -> Self {
        Self { disclosures, ..self }
    }

    pub(super) fn jws(&self) -> &Jws {
        &self.jws
    }

    /// SHA-256 over the ASCII payload segment.
    pub fn instruction_digest(&self) -> Digest {
        self.jws.digest()
    }
    pub fn payload_segment(&self) -> &str {
        self.jws.payload_segment()
    }
    pub(super) fn payload(&self) -> &[u8] {
        self.jws.payload()
    }
    /// The keys the headers name, in order; one may stand twice.
    pub fn kids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.jws.signatures().iter().map(|signature| signature.kid)
    }
    /// Whether the payload, verified or not, has private members.
    pub fn has_private(&self) -> bool {
        super::json::read_object(self.payload()).is_ok_and(|payload| payload.contains_key("private"))
    }
    /// The id that the payload, verified or not, gives itself: to look for what was taken under it. Nothing is
    /// believed for it.
    pub fn claimed_jti(&self) -> Option<InstructionId> {
        let payload = super::json::read_object(self.payload()).ok()?;
        payload.get("jti")?.as_str()?.parse().ok()
    }
    /// As received. Personal data.
    pub fn disclosures(&self) -> &[String] {
        &self.disclosures
    }

    /// Headers, payload and signatures without disclosures: no personal data;
    /// this goes into the trail for good and still verifies there.
    pub fn signed_part(&self) -> String {
        match self.jws.to_compact() {
            Some(compact) if self.compact => compact,
            _ => self.jws.to_general(&[]),
        }
    }

    /// The whole message, disclosures included. Personal data.
    pub fn to_wire(&self) -> String {
        match self.jws.to_compact() {
            Some(mut compact) if self.compact => {
                compact.push('~');
                for disclosure in &self.disclosures {
                    compact.push_str(disclosure);
                    compact.push('~');
                }
                compact
            }
            _ => self.jws.to_general(&self.disclosures),
        }
    }

    /// Every signature present must verify under an instruction key of the set.
    pub fn verify(self, set: &KeySet) -> Result<Verified, Refusal> {
        let mut signers: Vec<Signer> = Vec::with_capacity(self.jws.signatures().len());
        for signature in self.jws.signatures() {
            let Some(key) = set.key(&signature.kid) else {
                return Err(Refusal::at(Reason::KeyUnknown, "protected.kid"));
            };
            if key.usage != KeyUse::Instruction {
                return Err(
                    Refusal::at(Reason::KeyUnknown, "protected.kid").note("a root key signs key sets only")
                );
            }
            self.jws.verify(signature, &key.verifying).map_err(refuse)?;
            if !signers.iter().any(|signer| signer.kid == signature.kid) {
                signers.push(Signer { kid: signature.kid, signer: key.signer.clone() });
            }
        }
        let key_set = KeySetRef { version: set.version(), digest: set.digest() };
        Ok(Verified { envelope: self, signers, key_set })
    }
}

/// Shows the instruction's digest alone.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({})", self.instruction_digest())
    }
}

/// An instruction all of whose signatures verified; its payload was not read yet.
#[derive(Debug, Clone)]
pub struct Verified {
    pub(super) envelope: Envelope,
    pub(super) signers: Vec<Signer>,
    pub(super) key_set: KeySetRef,
}

impl Verified {
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    /// Each key that signed, once. Two keys may be one signer's.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }
    /// The key set the signatures were checked against.
    pub fn verified_under(&self) -> KeySetRef {
        self.key_set
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::Act;
    use crate::token::base64url;
    use crate::token::fixtures::{
        CountedEntropy, ORIGIN, draft, genesis, key, key_set, read, sealed, set_draft, wire,
    };
    use crate::token::{Expected, KeyEntryDraft, PublicJwk, SetRole};

    const SAMPLE: &str = include_str!("../../tests/vectors/sample-instruction-erase.json");

    fn compact() -> String {
        let (payload, disclosures) = sealed(&draft(Act::Erase));
        wire(&payload.to_string(), &disclosures, &["ann"])
    }

    fn reason(wire: &str) -> Reason {
        read(wire).expect_err("was taken").reason
    }

    #[test]
    fn an_ordinary_librarys_sd_jwt_is_taken() {
        let sample: Value = serde_json::from_str(SAMPLE).unwrap();
        let jwk = PublicJwk::from_json(sample["jwk"].to_string().as_bytes()).unwrap();
        let kid = jwk.thumbprint();
        assert_eq!(sample["header"]["kid"], kid.to_string());
        let mut set = set_draft();
        set.keys.push(KeyEntryDraft { jwk, signer: "hsm".into(), usage: KeyUse::Instruction });
        set.roles.push((SetRole::Act(Act::Restrict), vec![kid], 1));
        let set = genesis(&set);
        let envelope = Envelope::read(sample["compact"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(sample["instruction_digest"], envelope.instruction_digest().to_string());
        let iss = "xingyu".parse().unwrap();
        let verified = envelope.verify(&set).unwrap();
        let instruction = verified.parse(&Expected { iss: &iss, aud: ORIGIN }).unwrap();
        assert_eq!(instruction.statement().act, Act::Erase);
        assert_eq!(instruction.subject()[0].value(), "u_8839201");
        assert_eq!(instruction.subject()[1].value(), "device-7f31c2");
        assert_eq!(instruction.envelope().to_wire(), sample["compact"].as_str().unwrap());
    }

    #[test]
    fn the_signed_part_verifies_without_disclosures_and_holds_no_identifier() {
        let [ann, bob] = ["ann", "bob"].map(key);
        for keys in [&[&ann][..], &[&ann, &bob][..]] {
            let signed = draft(Act::Erase).sign(keys, &CountedEntropy::new()).unwrap();
            let part = signed.envelope().signed_part();
            let envelope = Envelope::read_signed_part(part.as_bytes()).unwrap();
            assert_eq!(envelope.signed_part(), part);
            let iss = "xingyu".parse().unwrap();
            let expected = Expected { iss: &iss, aud: ORIGIN };
            let verified = envelope.verify(&key_set()).unwrap();
            assert_eq!(verified.signers().len(), keys.len());
            assert_eq!(verified.parse_public(&expected).unwrap().sub_digests.len(), 2);
            // Without its disclosures it is no instruction to carry out.
            assert_eq!(verified.parse(&expected).unwrap_err().reason, Reason::DisclosureMissing);
            let whole = signed.to_wire();
            assert!(Envelope::read_signed_part(whole.as_bytes()).is_err(), "disclosures were taken");
        }
    }

    #[test]
    fn several_signers_stand_in_one_general_json_message() {
        let (payload, disclosures) = sealed(&draft(Act::Erase));
        let general = wire(&payload.to_string(), &disclosures, &["ann", "bob"]);
        assert!(general.starts_with('{'));
        let instruction = read(&general).unwrap();
        assert_eq!(instruction.signers().len(), 2);
        assert_eq!(instruction.envelope().to_wire(), general);
        // The same key twice is one signature.
        let twice = wire(&payload.to_string(), &disclosures, &["ann", "ann"]);
        assert_eq!(read(&twice).unwrap().signers().len(), 1);
        // One bad signature among good ones is not overlooked.
        let [_, bob] =
            Envelope::read(general.as_bytes()).unwrap().jws.signatures().to_vec().try_into().unwrap();
        let spoilt = general.replace(&base64url::encode(bob_signature(&bob)), &base64url::encode([7; 64]));
        assert_ne!(spoilt, general);
        assert_eq!(reason(&spoilt), Reason::SignatureInvalid);
    }

    fn bob_signature(signature: &crate::token::jws::JwsSignature) -> Vec<u8> {
        let (payload, _) = sealed(&draft(Act::Erase));
        let input = format!(
            "{}.{}",
            base64url::encode(format!(
                r#"{{"typ":"instruction+sd-jwt","alg":"EdDSA","kid":"{}"}}"#,
                signature.kid
            )),
            base64url::encode(payload.to_string())
        );
        key("bob").sign(input.as_bytes()).unwrap()
    }

    #[test]
    fn tampering_a_wrong_key_and_a_root_key_are_refused() {
        let (payload, disclosures) = sealed(&draft(Act::Erase));
        let good = payload.to_string();
        let text = wire(&good, &disclosures, &["ann"]);
        let altered = base64url::encode(good.replace("\"erase\"", "\"export\""));
        assert_eq!(reason(&text.replace(&base64url::encode(&good), &altered)), Reason::SignatureInvalid);
        assert_eq!(reason(&wire(&good, &disclosures, &["stranger"])), Reason::KeyUnknown);
        assert_eq!(reason(&wire(&good, &disclosures, &["root"])), Reason::KeyUnknown);
    }

    #[test]
    fn none_and_a_public_key_as_secret_are_refused() {
        let text = compact();
        let (_, rest) = text.split_once('.').unwrap();
        for alg in ["none", "HS256"] {
            let header =
                format!(r#"{{"typ":"instruction+sd-jwt","alg":"{alg}","kid":"{}"}}"#, key("ann").id());
            assert_eq!(reason(&format!("{}.{rest}", base64url::encode(header))), Reason::AlgorithmNotAllowed);
        }
        // A known algorithm that is not the key's.
        let header = format!(r#"{{"typ":"instruction+sd-jwt","alg":"ES256","kid":"{}"}}"#, key("ann").id());
        assert_eq!(reason(&format!("{}.{rest}", base64url::encode(header))), Reason::AlgorithmNotAllowed);
        let header = format!(r#"{{"typ":"keyset+jwt","alg":"EdDSA","kid":"{}"}}"#, key("ann").id());
        assert_eq!(reason(&format!("{}.{rest}", base64url::encode(header))), Reason::HeaderInvalid);
    }

    #[test]
    fn every_other_shape_is_refused() {
        let text = compact();
        assert!(read(&text).is_ok());
        let without_tilde = text.trim_end_matches('~');
        assert_eq!(reason(without_tilde), Reason::InstructionMalformed);
        assert_eq!(reason(&format!("{text}e30.e30.AA")), Reason::InstructionMalformed);
        assert_eq!(reason(&text.replacen('.', "..", 1)), Reason::InstructionMalformed);
        assert_eq!(reason(&text.replacen('~', "=~", 1)), Reason::EncodingNotCanonical);
        assert_eq!(reason(&text.replacen('~', "~~", 1)), Reason::DisclosureMalformed);
        assert_eq!(reason(&format!(" {text}")), Reason::EncodingNotCanonical);
        assert_eq!(reason(""), Reason::InstructionMalformed);
        assert_eq!(reason("{}"), Reason::InstructionMalformed);
        assert_eq!(
            reason(&format!("{text}{}", "A".repeat(MAX_INSTRUCTION_BYTES))),
            Reason::InstructionTooLarge
        );
        let (payload, disclosures) = sealed(&draft(Act::Erase));
        let padded = format!("{payload}{}", " ".repeat(MAX_PAYLOAD_BYTES));
        assert_eq!(reason(&wire(&padded, &disclosures, &["ann"])), Reason::InstructionTooLarge);
        let many = wire(&payload.to_string(), &disclosures, &["ann"; 17]);
        assert_eq!(reason(&many), Reason::InstructionMalformed);
    }

    #[test]
    fn general_json_takes_nothing_but_disclosures_in_its_unprotected_header() {
        let (payload, disclosures) = sealed(&draft(Act::Erase));
        let general = wire(&payload.to_string(), &disclosures, &["ann", "bob"]);
        assert!(read(&general).is_ok());
        let more = general.replace(r#"{"disclosures""#, r#"{"kb_jwt":"x","disclosures""#);
        assert_eq!(reason(&more), Reason::InstructionMalformed);
        let number = general.replace(r#""disclosures":[""#, r#""disclosures":[7,""#);
        assert_eq!(reason(&number), Reason::InstructionMalformed);
        let twice = general.replacen('{', r#"{"payload":"e30","#, 1);
        assert_eq!(reason(&twice), Reason::InstructionMalformed);
    }

    proptest::proptest! {
        #[test]
        fn no_flipped_byte_is_ever_taken(at in 0usize..100_000, mask in 1u8..=255, several in proptest::bool::ANY) {
            let (payload, disclosures) = sealed(&draft(Act::Erase));
            let signers: &[&str] = if several { &["ann", "bob"] } else { &["ann"] };
            let mut bytes = wire(&payload.to_string(), &disclosures, signers).into_bytes();
            let good = bytes.clone();
            let at = at % bytes.len();
            bytes[at] ^= mask;
            let iss = "xingyu".parse().unwrap();
            let read = Envelope::read(&bytes)
                .and_then(|envelope| envelope.verify(&key_set()))
                .and_then(|verified| verified.parse(&Expected { iss: &iss, aud: ORIGIN }));
            proptest::prop_assert!(bytes != good);
            proptest::prop_assert!(read.is_err(), "byte {} xor {} was taken", at, mask);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = Envelope::read(&bytes);
            let mut json = br#"{"payload":"e30","signatures":[{"protected":"#.to_vec();
            json.extend_from_slice(&bytes);
            proptest::prop_assert!(Envelope::read(&json).is_err());
        }
    }
}
