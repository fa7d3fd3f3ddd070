//! A whole instruction: signatures verified, members read, every disclosure opened.
//!
//! Nobody can hold an [`Instruction`] whose signatures were not checked or from
//! which a disclosure was withheld.

use std::fmt;

use super::digest::Digest;
use super::disclosed::{self, Private};
use super::envelope::{Envelope, Signer, Verified};
use super::statement::{Expected, KeySetRef, SignedStatement};
use crate::domain::{Identifier, Refusal};

/// Holds personal data. `Debug` shows the signed part's id and act alone.
#[derive(Clone)]
pub struct Instruction {
    statement: SignedStatement,
    subject: Vec<Identifier>,
    private: Private,
    verified: Verified,
    digest: Digest,
}

impl Verified {
    /// Reads payload and disclosures: every rule of the profile that needs no state.
    pub fn parse(self, expected: &Expected<'_>) -> Result<Instruction, Refusal> {
        let statement = self.parse_public(expected)?;
        let (subject, private) = disclosed::open(&statement, self.envelope.disclosures())?;
        let digest = self.envelope.instruction_digest();
        Ok(Instruction { statement, subject, private, verified: self, digest })
    }
}

impl Instruction {
    /// The public members.
    pub fn statement(&self) -> &SignedStatement {
        &self.statement
    }
    /// Who it is about, in the order of [`SignedStatement::sub_digests`].
    pub fn subject(&self) -> &[Identifier] {
        &self.subject
    }
    pub fn private(&self) -> &Private {
        &self.private
    }
    /// SHA-256 over the ASCII payload segment.
    pub fn digest(&self) -> Digest {
        self.digest
    }
    /// Each key that signed, once.
    pub fn signers(&self) -> &[Signer] {
        self.verified.signers()
    }
    /// The key set the signatures were checked against.
    pub fn verified_under(&self) -> KeySetRef {
        self.verified.verified_under()
    }
    /// The bytes as received.
    pub fn envelope(&self) -> &Envelope {
        self.verified.envelope()
    }
    /// The ASCII payload segment as received.
    pub fn payload_segment(&self) -> &str {
        self.envelope().payload_segment()
    }
    /// The disclosures as received. Personal data.
    pub fn disclosures(&self) -> &[String] {
        self.envelope().disclosures()
    }
    /// What goes into the trail for good; see [`Envelope::signed_part`].
    pub fn signed_part(&self) -> String {
        self.envelope().signed_part()
    }
}

impl fmt::Debug for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instruction({:?}, {})", self.statement.jti, self.statement.act)
    }
}
