//! The Mandate overlay (`*.mandate.toml`) on a Fides dataset: what a dataset
//! cannot say. The connection, the region, how fideslang's categories map to
//! ours, and for **every** collection the tenant predicate.
//!
//! Every member is known or the file is refused: a misspelt `tenant` must not
//! pass for an absent one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::domain::{Category, Ground, Reason, Refusal, Region, StoreId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    pub store: StoreId,
    /// The `fides_key` of the dataset this is an overlay on.
    pub dataset: String,
    pub region: Region,
    pub connection: Connection,
    /// fideslang category, or a prefix of one, → ours. The longest prefix wins.
    pub categories: BTreeMap<String, Category>,
    /// Fides identity key → the RFC 9493 format that fills it.
    pub identities: BTreeMap<String, IdentityFormat>,
    #[serde(default)]
    pub collections: BTreeMap<String, CollectionOverlay>,
    /// Tables that hold nothing of a person, each with a sentence that says why.
    #[serde(default)]
    pub ignored: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Path of the SQLite file, relative to the overlay.
    pub sqlite: PathBuf,
    /// A statement that runs longer is interrupted.
    #[serde(default = "thirty_seconds")]
    pub statement_timeout_seconds: u64,
}

fn thirty_seconds() -> u64 {
    30
}

/// The format of a subject identifier (RFC 9493 §3.2).
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum IdentityFormat {
    IssSub,
    Email,
    PhoneNumber,
    Opaque,
}

impl IdentityFormat {
    /// The `format` member of the identifiers that fill it.
    pub fn as_str(self) -> &'static str {
        match self {
            IdentityFormat::IssSub => "iss_sub",
            IdentityFormat::Email => "email",
            IdentityFormat::PhoneNumber => "phone_number",
            IdentityFormat::Opaque => "opaque",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionOverlay {
    /// The column that holds the tenant value. Exactly one of `tenant` and `join`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The way to a collection that has one.
    #[serde(default)]
    pub join: Option<Join>,
    /// The column that dates a row: seconds or milliseconds since the epoch, or RFC 3339 text.
    #[serde(default)]
    pub time: Option<String>,
    /// Overrules the file's `categories` in this collection.
    #[serde(default)]
    pub categories: BTreeMap<String, Category>,
    /// Rows several people share (a channel): never deleted for one of them, and never walked through.
    #[serde(default)]
    pub shared: bool,
    #[serde(default)]
    pub retain: Option<Retain>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    pub collection: String,
    /// Pairs of `[local column, remote column]`.
    pub on: Vec<[String; 2]>,
}

/// Rows that must lawfully stay, on what ground and how long. Exactly one of `until` and `for_days`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retain {
    pub ground: Ground,
    /// RFC 3339 instant.
    #[serde(default)]
    pub until: Option<jiff::Timestamp>,
    /// Days from the row's own time; needs `time`.
    #[serde(default)]
    pub for_days: Option<u32>,
}

/// Reads an overlay. The parser's own message may quote the file; only the place is passed on.
pub fn parse(toml_text: &str) -> Result<Overlay, Refusal> {
    toml::from_str(toml_text).map_err(|error| {
        let line =
            error.span().map(|span| 1 + toml_text.bytes().take(span.start).filter(|b| *b == b'\n').count());
        let note = match line {
            Some(line) => format!("the overlay has an unknown, missing or malformed member; see line {line}"),
            None => "the overlay has an unknown, missing or malformed member".to_owned(),
        };
        Refusal::at(Reason::MapInvalid, "overlay").note(note)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_member_is_refused_with_its_line() {
        let text = "\
store = 'rtc'
dataset = 'rtc'
region = 'cn'
connection = { sqlite = 'x' }
categories = {}
identities = {}
[collections.users]
tenent = 'app'
";
        let refusal = parse(text).err().unwrap();
        assert_eq!(refusal.reason, Reason::MapInvalid);
        assert!(refusal.to_string().contains("line 8"), "{refusal}");
    }
}
