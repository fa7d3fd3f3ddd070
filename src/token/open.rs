//! An instruction that is still open for signatures: sealed, and signed by nobody or by some.
//!
//! Its payload never changes any more; each signer signs the same segment. Between two signers it lies in a
//! file in the form in which it would be sent; signed by nobody, that is the compact form with an empty signature.
//!
//! Who signs must see what: the payload holds digests of the persons, and the disclosures beside it may have been
//! swapped. So none is open here but what is whole by the gateway's own rules, and [`OpenInstruction::order`] says
//! what those bytes order.

use super::digest::{Digest, KeyId};
use super::disclosed;
use super::draft::{InstructionDraft, SignedInstruction};
use super::elsewhere::ToSign;
use super::envelope::{Envelope, PROFILE};
use super::jwk::PublicJwk;
use super::jws::{Jws, JwsSignature};
use super::statement::SignedStatement;
use crate::domain::{Entropy, Reason, Refusal};

/// Holds personal data: no `Debug`.
#[derive(Clone)]
pub struct OpenInstruction {
    jws: Jws,
    disclosures: Vec<String>,
    signatures: Vec<JwsSignature>,
    order: InstructionDraft,
}

impl OpenInstruction {
    /// Salts and seals a draft; nobody has signed. Refused where no gateway would take it, whoever signs.
    pub fn of_draft(draft: &InstructionDraft, entropy: &dyn Entropy) -> Result<Self, Refusal> {
        let (payload, disclosures) = draft.seal(entropy)?;
        Self::whole(Jws::sign(payload, &PROFILE, &[])?, disclosures, Vec::new())
    }

    /// Reads what was written before: payload and disclosures by every rule of the profile that needs no state. The
    /// signatures in it are kept as they are; the gateway verifies them.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let (jws, disclosures) = Envelope::read(bytes)?.into_parts();
        // An empty signature only holds the place of the one that is to come.
        let signatures =
            jws.signatures().iter().filter(|one| !one.signature_segment().is_empty()).cloned().collect();
        Self::whole(jws, disclosures, signatures)
    }

    fn whole(jws: Jws, disclosures: Vec<String>, signatures: Vec<JwsSignature>) -> Result<Self, Refusal> {
        let statement = SignedStatement::read(jws.payload(), None)?;
        let (subject, private) = disclosed::open(&statement, &disclosures)?;
        Ok(Self { jws, disclosures, signatures, order: InstructionDraft::of(statement, subject, private) })
    }

    /// What it orders, read back out of the bytes that are signed and the disclosures that they name. Personal data.
    pub fn order(&self) -> &InstructionDraft {
        &self.order
    }
    /// SHA-256 over the ASCII payload segment.
    pub fn digest(&self) -> Digest {
        self.jws.digest()
    }
    pub fn payload_segment(&self) -> &str {
        self.jws.payload_segment()
    }
    /// As they came. Personal data.
    pub fn disclosures(&self) -> &[String] {
        &self.disclosures
    }
    /// The keys that are said to have signed. Nothing here has verified it.
    pub fn kids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.signatures.iter().map(|signature| signature.kid)
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
    use crate::token::fixtures::{CountedEntropy, draft, ending, export_order, key, read};
    use crate::token::{Private, base64url};

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

    /// The reason why it may not be signed, after this was done to its disclosures.
    fn refused(change: impl FnOnce(&mut Vec<String>)) -> Reason {
        let mut open = OpenInstruction::of_draft(&draft(Act::Erase), &CountedEntropy::new()).unwrap();
        change(&mut open.disclosures);
        let unsigned = open.unsigned_text(&open.to_sign(key("ann").public().clone()).unwrap());
        sign(&mut open, "ann");
        let signed = open.finish().unwrap().to_wire();
        let [unsigned, signed] = [unsigned, signed].map(|text| OpenInstruction::read(text.as_bytes()).err());
        assert_eq!(unsigned, signed);
        unsigned.expect("it was opened").reason
    }

    #[test]
    fn what_the_signer_would_be_shown_is_what_the_payload_names() {
        let other = |text: &str| {
            let json = base64url::decode(text).unwrap();
            base64url::encode(String::from_utf8(json).unwrap().replace("u_8839201", "u_harmless"))
        };
        assert_eq!(refused(|list| list[0] = other(&list[0])), Reason::DisclosureAlien);
        assert_eq!(refused(|list| drop(list.pop())), Reason::DisclosureMissing);
        assert_eq!(refused(Vec::clear), Reason::DisclosureMissing);
        assert_eq!(refused(|list| list.push(list[0].clone())), Reason::DisclosureRepeated);
        assert_eq!(refused(|list| list.push(other(&list[0]))), Reason::SaltWeak);
    }

    #[test]
    fn the_order_is_read_back_as_it_was_drafted() {
        for act in [Act::Erase, Act::Preview, Act::Export, Act::Reply, Act::Rectify, Act::ReturnAndErase] {
            let drafted = drafted(act);
            let open = OpenInstruction::of_draft(&drafted, &CountedEntropy::new()).unwrap();
            let order = open.order();
            assert_eq!(order.subject, drafted.subject, "{act}");
            assert_eq!(order.private, drafted.private, "{act}");
            // The same members, written down again with the same salts, are the same bytes.
            assert_eq!(order.seal(&CountedEntropy::new()), drafted.seal(&CountedEntropy::new()), "{act}");
        }
    }

    fn drafted(act: Act) -> InstructionDraft {
        let private = match act {
            Act::Reply => Private::Reply { text: "done".into(), to: "a@b.example".into() },
            Act::Rectify => Private::Rectify { set: [("city".to_owned(), "x".into())].into() },
            _ => Private::None,
        };
        match act {
            Act::ReturnAndErase => ending(None),
            Act::Export => InstructionDraft { export: Some(export_order()), ..draft(act) },
            _ => InstructionDraft { private, ..draft(act) },
        }
    }

    #[test]
    fn nonsense_is_not_even_opened() {
        let reason = |draft: InstructionDraft| {
            OpenInstruction::of_draft(&draft, &CountedEntropy::new()).err().map(|refusal| refusal.reason)
        };
        let revoke = InstructionDraft { subject: Vec::new(), ..draft(Act::Revoke) };
        let target = Some(draft(Act::Erase).jti);
        assert_eq!(reason(revoke.clone()), Some(Reason::MemberMissing));
        assert_eq!(reason(InstructionDraft { target, ..draft(Act::Revoke) }), Some(Reason::MemberInvalid));
        assert_eq!(reason(InstructionDraft { target, ..draft(Act::Erase) }), Some(Reason::MemberInvalid));
        assert_eq!(reason(InstructionDraft { target, ..revoke }), None);
        assert_eq!(
            reason(InstructionDraft { subject: Vec::new(), ..draft(Act::Erase) }),
            Some(Reason::MemberMissing)
        );
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
