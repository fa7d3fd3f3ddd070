//! The sections of an instruction that belong to single acts, as typed values,
//! and which act must, may or must not have which.

use std::str::FromStr;

use super::digest::Digest;
use super::members::Members;
use super::recipient::AgeRecipient;
use crate::domain::{Act, Ground, Reason, Refusal, Region};

/// What the signers saw before they signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviewRef {
    pub digest: Digest,
    pub as_of: i64,
}

/// Rows from `from` on and before `until`, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: i64,
    pub until: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// JSON lines, CSV and an HTML index.
    JsonlCsv,
}

impl ExportFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            ExportFormat::JsonlCsv => "jsonl+csv",
        }
    }
}

impl FromStr for ExportFormat {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "jsonl+csv" { Ok(ExportFormat::JsonlCsv) } else { Err(()) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOrder {
    pub recipient: AgeRecipient,
    pub format: ExportFormat,
    pub region: Region,
    /// Digest of the recorded consent or other basis for going there (PIPL 23, 38).
    pub evidence: Option<Digest>,
}

/// Whose ground a refusal stands on (policy §4, grounds 1 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Ours,
    Controllers,
}

impl Whose {
    pub fn as_str(self) -> &'static str {
        match self {
            Whose::Ours => "ours",
            Whose::Controllers => "controllers",
        }
    }
}

impl FromStr for Whose {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "ours" => Ok(Whose::Ours),
            "controllers" => Ok(Whose::Controllers),
            _ => Err(()),
        }
    }
}

/// A registered code or template: lower-case words with hyphens, at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slug(String);

impl Slug {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let ok = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefuseOrder {
    pub ground: Ground,
    pub whose: Whose,
    pub reason_code: Slug,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyAuthorisation {
    pub templates: Vec<Slug>,
    pub until: i64,
}

/// Whether a member must, may or must not stand beside an act.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Allowed,
    Forbidden,
}

impl Presence {
    pub(super) fn required(here: bool) -> Self {
        if here { Presence::Required } else { Presence::Forbidden }
    }
    pub(super) fn allowed(here: bool) -> Self {
        if here { Presence::Allowed } else { Presence::Forbidden }
    }
}

/// Whether the member is to be read.
pub(super) fn only_for(
    payload: &Members,
    name: &'static str,
    act: Act,
    presence: Presence,
) -> Result<bool, Refusal> {
    match (presence, payload.has(name)) {
        (Presence::Required, false) => Err(payload.missing(name)),
        (Presence::Forbidden, true) => Err(payload.invalid(name, format!("does not belong to {act}"))),
        (_, present) => Ok(present),
    }
}

pub(super) fn read_window(payload: &mut Members, act: Act) -> Result<Option<Window>, Refusal> {
    // Nothing may be kept when a contract ends (PIPL 21): no time is left out.
    if !only_for(payload, "window", act, Presence::allowed(act != Act::ReturnAndErase))? {
        return Ok(None);
    }
    let mut window = payload.object("window")?;
    let (from, until) = (window.seconds("from")?, window.seconds("until")?);
    if from >= until {
        return Err(window.invalid("until", "must be after from"));
    }
    window.finish()?;
    Ok(Some(Window { from, until }))
}

pub(super) fn read_preview(payload: &mut Members, act: Act) -> Result<Option<PreviewRef>, Refusal> {
    if !only_for(payload, "preview", act, Presence::allowed(act.may_follow_a_preview()))? {
        return Ok(None);
    }
    let mut preview = payload.object("preview")?;
    let read = PreviewRef { digest: preview.digest("digest")?, as_of: preview.seconds("as_of")? };
    preview.finish()?;
    Ok(Some(read))
}

pub(super) fn read_export(payload: &mut Members, act: Act) -> Result<Option<ExportOrder>, Refusal> {
    let presence = match act {
        Act::Export => Presence::Required,
        // PIPL 21 lets the parties choose: return what is held, or erase it only.
        Act::ReturnAndErase => Presence::Allowed,
        _ => Presence::Forbidden,
    };
    if !only_for(payload, "export", act, presence)? {
        return Ok(None);
    }
    let mut export = payload.object("export")?;
    let recipient = export
        .string("recipient")?
        .parse()
        .map_err(|_| Refusal::at(Reason::RecipientInvalid, "payload.export.recipient"))?;
    let read = ExportOrder {
        recipient,
        format: export.parsed("format", "must be jsonl+csv")?,
        region: export.parsed("region", "must be a registered region")?,
        evidence: export.opt_parsed("evidence", "must be a digest in canonical base64url")?,
    };
    export.finish()?;
    Ok(Some(read))
}

pub(super) fn read_refuse(payload: &mut Members, act: Act) -> Result<Option<RefuseOrder>, Refusal> {
    if !only_for(payload, "refuse", act, Presence::required(act == Act::Refuse))? {
        return Ok(None);
    }
    let mut refuse = payload.object("refuse")?;
    let read = RefuseOrder {
        ground: refuse.parsed("ground", "must be a registered ground")?,
        whose: refuse.parsed("whose", "must be ours or controllers")?,
        reason_code: refuse.parsed("reason_code", "must be a registered code")?,
    };
    refuse.finish()?;
    Ok(Some(read))
}

pub(super) fn read_authorisation(
    payload: &mut Members,
    act: Act,
) -> Result<Option<ReplyAuthorisation>, Refusal> {
    if !only_for(payload, "authorize_reply", act, Presence::required(act == Act::AuthorizeReply))? {
        return Ok(None);
    }
    let mut reply = payload.object("authorize_reply")?;
    let read = ReplyAuthorisation {
        templates: reply.set("templates", "must be registered templates")?,
        until: reply.seconds("until")?,
    };
    reply.finish()?;
    Ok(Some(read))
}
