//! What of a mail may go to one controller (DESIGN §9).
//!
//! The fields, and the sentences that concern its app. A sentence that names
//! another app is left out, and so is what follows it in its paragraph until
//! the app itself is named again. The original goes only if nothing in it is
//! another's: no other app named anywhere, seen or unseen, and no attachment.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use super::identifiers::{Given, IdentifierKind};
use super::language::Language;
use super::mime::Mailbox;
use super::rights::Found;
use crate::domain::phrase::sentences;
use crate::domain::routing::{Facts, Place, Route, Voice, sightings};
use crate::domain::{AppId, Category, Right};

/// Why the original stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// It goes to no one yet.
    NotRouted,
    /// It names another app, seen or unseen.
    NamesAnotherApp,
    /// It has attachments that nobody read.
    HasAttachments,
    /// It is longer than what was read.
    TooLong,
}

/// The case's fields as far as they concern the app.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedFields {
    pub requester: Mailbox,
    pub rights: Vec<Found<Right>>,
    pub identifiers: Vec<Given>,
    pub categories: Vec<Found<Category>>,
    pub language: Language,
    pub guardian: bool,
    pub minor_age: Option<u8>,
}

/// What may go to the controller. Personal data; `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub fields: ForwardedFields,
    /// The text that concerns the app.
    pub extract: String,
    /// How many sentences were left out.
    pub sentences_left_out: u32,
    /// Whether the requester's original may go without a release by support.
    /// Of a forwarded mail the original is the inner one.
    pub original_releasable: bool,
    pub withheld: Vec<Withheld>,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("original_releasable", &self.original_releasable)
            .field("withheld", &self.withheld)
            .finish_non_exhaustive()
    }
}

/// What of the candidate goes to the route's controller. Also for a route that support chose.
pub fn forwardable(candidate: &Candidate, route: &Route, facts: &Facts) -> Forward {
    let mut withheld = Vec::new();
    let (extract, left_out) = match route.app() {
        Some(app) => extract(candidate, app, facts),
        None => (String::new(), 0),
    };
    match route.app() {
        None => withheld.push(Withheld::NotRouted),
        Some(app) => {
            let texts = candidate.passages.iter().map(|p| p.text.as_str()).chain([candidate.unseen.as_str()]);
            if texts.into_iter().any(|text| names_other(text, app, facts)) {
                withheld.push(Withheld::NamesAnotherApp);
            }
        }
    }
    if !candidate.attachments.is_empty() {
        withheld.push(Withheld::HasAttachments);
    }
    if candidate.flags.contains(&super::Flag::TextTruncated) {
        withheld.push(Withheld::TooLong);
    }
    let routed = route.app().is_some();
    let fields = fields(candidate, &extract, routed);
    Forward {
        fields,
        extract,
        sentences_left_out: left_out,
        original_releasable: withheld.is_empty(),
        withheld,
    }
}

/// A field goes along if the words it came from do.
fn fields(candidate: &Candidate, extract: &str, routed: bool) -> ForwardedFields {
    let kept = |words: &str| routed && (words.is_empty() || extract.contains(words));
    let in_extract = |value: &str| routed && folded_contains(extract, value);
    let identifiers = candidate.identifiers.iter().filter(|g| {
        let own_address = g.kind == IdentifierKind::Email && g.words.is_empty();
        routed && own_address || in_extract(&g.value)
    });
    ForwardedFields {
        requester: if routed { candidate.requester.clone() } else { Mailbox::default() },
        // What is asked for counts for every app the mail is about.
        rights: if routed {
            candidate.rights.iter().map(|r| without_words(r, kept(&r.words))).collect()
        } else {
            Vec::new()
        },
        identifiers: identifiers
            .map(|g| Given {
                words: if kept(&g.words) { g.words.clone() } else { String::new() },
                ..g.clone()
            })
            .collect(),
        categories: candidate.categories.iter().filter(|c| kept(&c.words)).cloned().collect(),
        language: candidate.language,
        guardian: candidate.guardian,
        minor_age: candidate.minor_age,
    }
}

fn without_words(right: &Found<Right>, keep: bool) -> Found<Right> {
    Found { what: right.what, words: if keep { right.words.clone() } else { String::new() } }
}

fn folded_contains(text: &str, value: &str) -> bool {
    crate::domain::phrase::fold_width(text).contains(value)
}

fn names_other(text: &str, app: &AppId, facts: &Facts) -> bool {
    sightings(text, facts).iter().any(|s| facts.apps[s.app].app != *app)
}

fn names_own(text: &str, app: &AppId, facts: &Facts) -> bool {
    sightings(text, facts).iter().any(|s| facts.apps[s.app].app == *app)
}

fn extract(candidate: &Candidate, app: &AppId, facts: &Facts) -> (String, u32) {
    let mut out = String::new();
    let mut left_out = 0;
    for passage in candidate.passages.iter().filter(|p| p.voice == Voice::Own) {
        let mut foreign = false;
        for sentence in sentences(&passage.text) {
            if names_other(sentence, app, facts) {
                foreign = true;
            } else if names_own(sentence, app, facts) {
                foreign = false;
            }
            if foreign {
                left_out += 1;
            } else {
                out.push_str(sentence);
            }
            // A blank line begins another matter.
            if after(&passage.text, sentence).starts_with('\n') {
                foreign = false;
                if !out.ends_with("\n\n") && !out.is_empty() {
                    out.push('\n');
                }
            }
        }
        if passage.place == Place::Subject && !out.is_empty() {
            out.push('\n');
        }
    }
    (out.trim().to_owned(), left_out)
}

/// What stands behind a piece of a text.
fn after<'t>(text: &'t str, piece: &'t str) -> &'t str {
    let end = (piece.as_ptr() as usize).saturating_sub(text.as_ptr() as usize) + piece.len();
    text.get(end..).unwrap_or("")
}
