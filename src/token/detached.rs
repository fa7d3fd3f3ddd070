//! One more signature over an instruction's payload segment: an approval, or a withdrawal of what was signed.
//!
//! `{protected, signature}` as in JWS General JSON, or `<protected>..<signature>` (RFC 7515 appendix F), where it
//! stands alone. Each has its own `typ`: an approval cannot be shown as a withdrawal, nor either as an instruction.

use super::envelope::{Envelope, Signer, refuse};
use super::jws::{Jws, JwsSignature, Profile};
use super::keyset::{KeySet, KeyUse};
use super::private_key::PrivateKey;
use super::{KeyId, envelope};
use crate::domain::{Reason, Refusal};

/// What the signature says about the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// "I order this, too."
    Approved,
    /// "I ordered this and take it back." Only before enough had signed.
    Withdrawn,
}

const APPROVAL: Profile = Profile { typ: envelope::APPROVAL_TYP, ..envelope::PROFILE };
const WITHDRAWAL: Profile = Profile { typ: "instruction-withdrawal+jwt", ..envelope::PROFILE };

impl Says {
    /// `typ` of the protected header.
    pub fn typ(self) -> &'static str {
        self.profile().typ
    }

    fn profile(self) -> &'static Profile {
        match self {
            Says::Approved => &APPROVAL,
            Says::Withdrawn => &WITHDRAWAL,
        }
    }
}

/// Read, not yet verified.
#[derive(Debug, Clone)]
pub struct Detached {
    says: Says,
    pub(super) signature: JwsSignature,
}

impl Detached {
    /// Both parts as they stand in General JSON.
    pub fn read(says: Says, protected: &str, signature: &str) -> Result<Self, Refusal> {
        let signature = Jws::read_signature(protected, signature, says.profile()).map_err(refuse)?;
        Ok(Self { says, signature })
    }

    /// What [`Detached::to_text`] wrote.
    pub fn parse(says: Says, text: &str) -> Result<Self, Refusal> {
        let mut parts = text.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(protected), Some(""), Some(signature), None) => Self::read(says, protected, signature),
            _ => Err(Refusal::new(Reason::InstructionMalformed).note("not <protected>..<signature>")),
        }
    }

    /// Signs the payload of an instruction once more.
    pub fn sign(says: Says, instruction: &Envelope, key: &PrivateKey) -> Result<Self, Refusal> {
        let signature = Jws::sign_segment(instruction.payload_segment(), says.profile(), key)?;
        Ok(Self { says, signature })
    }

    pub fn protected(&self) -> &str {
        self.signature.protected_segment()
    }
    pub fn signature(&self) -> &str {
        self.signature.signature_segment()
    }
    pub fn to_text(&self) -> String {
        format!("{}..{}", self.protected(), self.signature())
    }
    pub fn kid(&self) -> KeyId {
        self.signature.kid
    }

    /// It verifies over the instruction's payload, under an instruction key of the set.
    pub fn verify(&self, instruction: &Envelope, set: &KeySet) -> Result<Signer, Refusal> {
        let unknown = || Refusal::at(Reason::KeyUnknown, "protected.kid");
        let key = set.key(&self.signature.kid).ok_or_else(unknown)?;
        if key.usage != KeyUse::Instruction {
            return Err(unknown().note("a root key signs key sets only"));
        }
        instruction.jws().verify(&self.signature, &key.verifying).map_err(refuse)?;
        Ok(Signer { kid: self.signature.kid, signer: key.signer.clone() })
    }

    pub fn says(&self) -> Says {
        self.says
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Act;
    use crate::token::fixtures::{CountedEntropy, draft, key, key_set};
    use crate::token::{Expected, fixtures};

    fn by(name: &str) -> Envelope {
        draft(Act::Erase).sign(&[&key(name)], &CountedEntropy::new()).unwrap().envelope().clone()
    }

    #[test]
    fn an_approval_completes_the_instruction_and_still_verifies_as_one_message() {
        let first = by("ann");
        let approval = Detached::sign(Says::Approved, &first, &key("bob")).unwrap();
        let read = Detached::parse(Says::Approved, &approval.to_text()).unwrap();
        assert_eq!(read.verify(&first, &key_set()).unwrap().signer, "bob");
        let both = first.approved(&read);
        let again = Envelope::read(both.to_wire().as_bytes()).unwrap();
        let iss = "xingyu".parse().unwrap();
        let expected = Expected { iss: &iss, aud: fixtures::ORIGIN };
        let whole = again.verify(&key_set()).unwrap().parse(&expected).unwrap();
        let signers: Vec<&str> = whole.signers().iter().map(|signer| signer.signer.as_str()).collect();
        assert_eq!(signers, ["ann", "bob"]);
        assert_eq!(whole.digest(), first.instruction_digest());
        // Without who submitted it nothing that was submitted is left.
        assert!(both.without(&[key("ann").id()]).is_none());
        assert_eq!(both.without(&[key("bob").id()]).unwrap().signed_part(), {
            // One signature, in the form it came in.
            first.signed_part()
        });
    }

    #[test]
    fn one_form_is_never_taken_for_another() {
        let first = by("ann");
        let approval = Detached::sign(Says::Approved, &first, &key("bob")).unwrap().to_text();
        let withdrawal = Detached::sign(Says::Withdrawn, &first, &key("bob")).unwrap().to_text();
        let reason = |says, text: &str| Detached::parse(says, text).unwrap_err().reason;
        assert_eq!(reason(Says::Withdrawn, &approval), Reason::HeaderInvalid);
        assert_eq!(reason(Says::Approved, &withdrawal), Reason::HeaderInvalid);
        let compact = first.signed_part();
        let parts: Vec<&str> = compact.split('.').collect();
        let instruction = format!("{}..{}", parts[0], parts[2]);
        assert_eq!(reason(Says::Approved, &instruction), Reason::HeaderInvalid);
        assert_eq!(reason(Says::Withdrawn, &instruction), Reason::HeaderInvalid);
        // An approval alone is no instruction.
        let (protected, signature) = approval.split_once("..").unwrap();
        let alone = format!("{protected}.{}.{signature}~", first.payload_segment());
        assert_eq!(Envelope::read(alone.as_bytes()).unwrap_err().reason, Reason::HeaderInvalid);
        // Nor is it over another payload.
        let other = draft(Act::Preview).sign(&[&key("ann")], &CountedEntropy::new()).unwrap();
        let approval = Detached::parse(Says::Approved, &approval).unwrap();
        let refused = approval.verify(other.envelope(), &key_set()).unwrap_err();
        assert_eq!(refused.reason, Reason::SignatureInvalid);
        assert_eq!(
            Detached::sign(Says::Approved, &first, &key("root"))
                .unwrap()
                .verify(&first, &key_set())
                .unwrap_err()
                .reason,
            Reason::KeyUnknown
        );
    }
}
