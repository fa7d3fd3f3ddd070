//! The signed forms on the wire: instruction, key set, report, access token.
//!
//! Pure: bytes in, typed values out. A value of [`KeySet`], [`Verified`],
//! [`Instruction`] or [`Report`] exists only when the signatures it stands on
//! were checked; there is no other way to make one.
//!
//! ```text
//! bytes ─► Envelope ─(KeySet)─► Verified ─(Expected)─► Instruction
//!                                        └───────────► SignedStatement   (from the trail, without disclosures)
//! bytes ─► SignedKeySet ─(pin)──► KeySet 1 ─► … ─(TUF's rule)─► KeySet N
//! ```
//!
//! Every form has its own `typ`, so that a signature over one can never be
//! shown as a signature over another (RFC 8725 §3.11).

pub mod access;
pub mod base64url;
pub mod detached;
pub mod digest;
pub mod disclosed;
pub mod draft;
pub mod elsewhere;
pub mod envelope;
pub mod instruction;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod keyset;
pub mod keyset_draft;
pub mod keyset_policy;
pub mod members;
pub mod open;
pub mod orders;
pub mod private_key;
pub mod recipient;
pub mod report;
pub mod report_key;
pub mod sd;
pub mod statement;

pub use access::AccessClaims;
pub use detached::{Detached, Says};
pub use digest::{Digest, KeyId};
pub use disclosed::Private;
pub use draft::{InstructionDraft, SignedInstruction};
pub use elsewhere::ToSign;
pub use envelope::{Envelope, Signer, Verified};
pub use instruction::Instruction;
pub use jwk::{Algorithm, PublicJwk, VerifyingKey};
pub use keyset::{KeySet, KeyUse, SetRole, SignedKeySet};
pub use keyset_draft::{KeyEntryDraft, KeySetDraft};
pub use keyset_policy::{Policy, Tier};
pub use open::OpenInstruction;
pub use orders::{
    ExportFormat, ExportOrder, PreviewRef, RefuseOrder, ReplyAuthorisation, Slug, Whose, Window,
};
pub use private_key::{KeyKind, PrivateKey};
pub use recipient::AgeRecipient;
pub use report::{CollectionOutcome, CollectionReport, KeptReport, Report, ReportOutcome};
pub use report_key::ReportKeySuccession;
pub use statement::{Categories, Expected, KeySetRef, SignedStatement};

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod wycheproof_tests;
