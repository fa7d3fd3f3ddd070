//! A mail becomes a candidate request (DESIGN §9).
//!
//! Synchronous and without a database: bytes, the registered facts and a
//! configuration go in, one value comes out. What it finds are suggestions with
//! the words they came from; support may correct each. Only the route may act by
//! itself, and only on one exact registered fact in the requester's own words.
//!
//! A mail that orders something is no instruction, whoever sent it: it is read
//! as an ordinary request and flagged.

mod addresses;
mod candidate;
mod categories;
mod charset;
mod colour;
mod css;
mod extract;
mod flag;
mod guardian;
mod identifiers;
mod kind;
mod labels;
mod language;
mod letter;
mod mime;
mod negation;
mod rights;
mod rules;
mod scan;
mod seen;
mod trace;
mod whose;

#[cfg(test)]
mod wild;

use serde::{Deserialize, Serialize};

use crate::domain::Refusal;
use crate::domain::routing::Facts;

pub use candidate::{Candidate, InnerMail};
pub use extract::{Forward, ForwardedFields, Withheld, forwardable};
pub use flag::Flag;
pub use identifiers::{Given, IdentifierKind, Of};
pub use kind::MailKind;
pub use language::Language;
pub use mime::{Attachment, MAX_BYTES, MAX_DEPTH, MAX_PARTS, Mail, Mailbox};
pub use rights::Found;
pub use trace::AuthSummary;

/// Whose mail servers and domains are PPIO's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeConfig {
    /// The id our server writes into `Authentication-Results` (RFC 8601 §2.5).
    pub authserv_id: String,
    /// Names of our servers in `Received: … by`.
    pub mail_hosts: Vec<String>,
    /// Mail domains of PPIO's own people and addresses.
    pub house_domains: Vec<String>,
}

/// Reads a mail.
///
/// # Errors
/// `MAIL_TOO_LARGE` over a limit (10 MiB, 200 parts, depth 8), `MAIL_MALFORMED` when the bytes hold no header of a mail.
pub fn read(bytes: &[u8], facts: &Facts, config: &IntakeConfig) -> Result<Candidate, Refusal> {
    let mail = mime::read(bytes)?;
    Ok(candidate::of(&mail, facts, config))
}
