//! An instruction that is still open for signatures: sealed, and signed by nobody or by some.
//!
//! Its payload never changes any more; each signer signs the same segment. Between two signers it lies in a
//! file in the form in which it would be sent; signed by nobody, that is the compact form with an empty signature.

use super::draft::{InstructionDraft, SignedInstruction};
use super::elsewhere::ToSign;
use super::envelope::{Envelope, PROFILE};
use super::jwk::PublicJwk;
use super::jws::{Jws, JwsSignature};
use crate::domain::{Entropy, Reason, Refusal};

/// Holds personal data: no `Debug`.
#[derive(Clone)]
pub struct OpenInstruction {
    jws: Jws,
    disclosures: Vec<String>,
    signatures: Vec<JwsSignature>,
}

impl OpenInstruction {
    /// Salts and seals a draft; nobody has signed.
    pub fn of_draft(draft: &InstructionDraft, entropy: &dyn Entropy) -> Result<Self, Refusal> {
        let (payload, disclosures) = draft.seal(entropy)?;
        Ok(Self { jws: Jws::sign(payload, &PROFILE, &[])?, disclosures, signatures: Vec::new() })
    }

    /// Reads what was written before. The signatures in it are kept as they are; the gateway verifies them.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let (jws, disclosures) = Envelope::read(bytes)?.into_parts();
        // An empty signature only holds the place of the one that is to come.
        let signatures =
            jws.signatures().iter().filter(|one| !one.signature_segment().is_empty()).cloned().collect();
        Ok(Self { jws, disclosures, signatures })
    }

    /// The bytes that this key is to sign.
    pub fn to_sign(&self, key: PublicJwk) -> Result<ToSign, Refusal> {
        ToSign::new(PROFILE.typ, self.jws.payload_segment(), key)
    }

    /// Adds a signature over this payload. A key signs once.
    pub fn add(&mut self, signature: JwsSignature) -> Result<(), Refusal> {
        if self.signatures.iter().any(|one| one.kid == signature.kid) {
            return Err(Refusal::at(Reason::FieldInvalid, "key").note("this key has signed already"));
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The compact form with an empty signature, to be signed elsewhere. Personal data.
    pub fn unsigned_text(&self, to_sign: &ToSign) -> String {
        let mut text = format!("{}.{}.~", to_sign.protected_segment(), self.jws.payload_segment());
        for disclosure in &self.disclosures {
            text.push_str(disclosure);
            text.push('~');
        }
        text
    }

    /// Ready to send, or for the next signer.
    pub fn finish(self) -> Result<SignedInstruction, Refusal> {
        if self.signatures.is_empty() {
            return Err(Refusal::at(Reason::SignatureInvalid, "signature").note("nobody has signed"));
        }
        let jws = self.jws.with_signatures(self.signatures);
        Ok(SignedInstruction { envelope: Envelope::signed(jws, self.disclosures) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Act;
    use crate::token::fixtures::{CountedEntropy, draft, key, read};

    fn sign(open: &mut OpenInstruction, name: &str) {
        let key = key(name);
        let to_sign = open.to_sign(key.public().clone()).unwrap();
        let signature = key.sign(to_sign.bytes()).unwrap();
        open.add(to_sign.signed(&signature).unwrap()).unwrap();
    }

    #[test]
    fn each_signer_adds_to_the_same_payload() {
        let mut open = OpenInstruction::of_draft(&draft(Act::Erase), &CountedEntropy::new()).unwrap();
        sign(&mut open, "ann");
        let alone = open.finish().unwrap().to_wire();
        assert_eq!(read(&alone).unwrap().signers().len(), 1);
        let mut open = OpenInstruction::read(alone.as_bytes()).unwrap();
        sign(&mut open, "bob");
        let both = open.finish().unwrap().to_wire();
        let instruction = read(&both).unwrap();
        assert_eq!((instruction.signers().len(), instruction.subject().len()), (2, 2));
    }

    #[test]
    fn unsigned_it_waits_in_a_file_and_keeps_its_salts() {
        let open = OpenInstruction::of_draft(&draft(Act::Erase), &CountedEntropy::new()).unwrap();
        let to_sign = open.to_sign(key("ann").public().clone()).unwrap();
        let text = open.unsigned_text(&to_sign);
        assert!(open.finish().is_err(), "nobody has signed");
        let mut again = OpenInstruction::read(text.as_bytes()).unwrap();
        assert_eq!(again.to_sign(key("ann").public().clone()).unwrap().bytes(), to_sign.bytes());
        sign(&mut again, "ann");
        assert_eq!(read(&again.finish().unwrap().to_wire()).unwrap().subject()[0].value(), "u_8839201");
    }

    #[test]
    fn a_key_signs_once() {
        let mut open = OpenInstruction::of_draft(&draft(Act::Preview), &CountedEntropy::new()).unwrap();
        sign(&mut open, "ann");
        let key = key("ann");
        let to_sign = open.to_sign(key.public().clone()).unwrap();
        let signature = key.sign(to_sign.bytes()).unwrap();
        assert!(open.add(to_sign.signed(&signature).unwrap()).is_err());
    }
}
