//! Bytes to a [`Mail`]: headers decoded, parts walked, what a person sees apart from what is hidden.
//!
//! The walk over the parts is our own because its limits must be: every level
//! and every part is counted before it is opened, also inside a part that is
//! itself encoded. Header fields and encodings are mail-parser's.

use std::fmt;

use mail_parser::{DateTime, HeaderName, MessageParser};

use super::{charset, seen};
use crate::domain::{Reason, Refusal, Timestamp};

/// The largest mail that is read.
pub const MAX_BYTES: usize = 10 * 1024 * 1024;
/// How deep parts and forwarded mails may nest.
pub const MAX_DEPTH: usize = 8;
/// How many parts a mail may have, all levels together.
pub const MAX_PARTS: usize = 200;
const MAX_HEADER_BYTES: usize = 256 * 1024;

/// A name and an address. Personal data; `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mailbox {
    pub name: Option<String>,
    /// Lower case in its domain; empty if the mail has none.
    pub address: String,
}

impl Mailbox {
    pub fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox(..)")
    }
}

/// A part that is not the letter itself: what it is, never what is in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attachment {
    /// Media type, lower case, without parameters.
    pub content_type: String,
    /// Bytes after decoding.
    pub size: u64,
}

/// Headers that only machines send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineSign {
    /// Sent to many: `List-*`, `Precedence: bulk`.
    Bulk,
    /// Sent by itself in answer: `Auto-Submitted`, vacation notices (RFC 3834).
    AutoReply,
    /// A report that a mail was not delivered (RFC 3464).
    Bounce,
}

/// A mail as it was read. Personal data; `Debug` shows none.
#[derive(Clone, Default)]
pub struct Mail {
    pub subject: String,
    pub from: Mailbox,
    pub reply_to: Vec<Mailbox>,
    pub to: Vec<Mailbox>,
    pub date: Option<Timestamp>,
    pub message_id: Option<String>,
    /// `Received` and `Authentication-Results` fields, unfolded, in their order: newest first.
    pub trace: Vec<(TraceField, String)>,
    pub machine_signs: Vec<MachineSign>,
    /// What a person sees.
    pub body_seen: String,
    /// What the other alternative shows, where the mail has two.
    pub other_seen: String,
    /// What is in the mail and not seen: text styled away.
    pub hidden: String,
    /// What only programs read: titles, comments.
    pub machine: String,
    pub attachments: Vec<Attachment>,
    /// The first forwarded mail.
    pub inner: Option<Box<Mail>>,
    /// Subject, sender or body hold a four-byte character of GB18030.
    pub gb18030_four_byte: bool,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("body_bytes", &self.body_seen.len())
            .field("attachments", &self.attachments.len())
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceField {
    Received,
    AuthenticationResults,
}

/// Reads a mail.
///
/// # Errors
/// `MAIL_TOO_LARGE` over a limit, `MAIL_MALFORMED` when the bytes hold no header of a mail.
pub fn read(bytes: &[u8]) -> Result<Mail, Refusal> {
    if bytes.len() > MAX_BYTES {
        return Err(Refusal::at(Reason::MailTooLarge, "mail").note("more than 10 MiB"));
    }
    let mut walk = Walk { parts: 0 };
    walk.mail(trim_start(bytes), 0)
}

/// A byte order mark, blank lines and an mbox line may stand before the header.
fn trim_start(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    if bytes.starts_with(b"From ") || bytes.starts_with(b">From ") {
        bytes = bytes.iter().position(|b| *b == b'\n').map_or(&b""[..], |at| &bytes[at + 1..]);
    }
    bytes
}

struct Walk {
    parts: usize,
}

/// The fields of one part that decide how it is read.
struct PartHead {
    content_type: String,
    charset: Option<String>,
    boundary: Option<String>,
    flowed: bool,
    del_sp: bool,
    attachment: bool,
    encoding: String,
}

#[derive(Default)]
struct Piece {
    shown: String,
    other: String,
    is_html: bool,
}

impl Walk {
    fn count(&mut self, depth: usize) -> Result<(), Refusal> {
        self.parts += 1;
        if depth > MAX_DEPTH {
            return Err(Refusal::at(Reason::MailTooLarge, "mail.parts").note("nested deeper than 8"));
        }
        if self.parts > MAX_PARTS {
            return Err(Refusal::at(Reason::MailTooLarge, "mail.parts").note("more than 200 parts"));
        }
        Ok(())
    }

    fn mail(&mut self, bytes: &[u8], depth: usize) -> Result<Mail, Refusal> {
        self.count(depth)?;
        let (head, body) = split_head(bytes);
        let mut mail = envelope(head)?;
        let piece = self.part(&mut mail, &part_head(head), body, depth)?;
        mail.body_seen = piece.shown.trim().to_owned();
        mail.other_seen = piece.other.trim().to_owned();
        Ok(mail)
    }

    fn part(
        &mut self,
        mail: &mut Mail,
        head: &PartHead,
        body: &[u8],
        depth: usize,
    ) -> Result<Piece, Refusal> {
        let kind = head.content_type.as_str();
        if let (true, Some(boundary)) = (kind.starts_with("multipart/"), head.boundary.as_deref()) {
            if kind == "multipart/report" && !mail.machine_signs.contains(&MachineSign::Bounce) {
                mail.machine_signs.push(MachineSign::Bounce);
            }
            return self.multipart(mail, kind, boundary, body, depth);
        }
        let bytes = charset::transfer(&head.encoding, body);
        if matches!(kind, "message/rfc822" | "message/global") {
            match self.mail(trim_start(&bytes), depth + 1) {
                Ok(inner) if mail.inner.is_none() => mail.inner = Some(Box::new(inner)),
                Err(refusal) if refusal.reason == Reason::MailTooLarge => return Err(refusal),
                _ => mail.attachments.push(attachment(kind, &bytes)),
            }
            return Ok(Piece::default());
        }
        let text = kind.starts_with("text/") || kind.starts_with("multipart/");
        if head.attachment || !text || kind == "text/calendar" {
            mail.attachments.push(attachment(kind, &bytes));
            return Ok(Piece::default());
        }
        if head.charset.as_deref().is_some_and(charset::is_gb18030) {
            mail.gb18030_four_byte |= charset::has_four_byte(&bytes);
        }
        let decoded = normal(&charset::decode(&bytes, head.charset.as_deref()));
        if kind == "text/html" {
            let page = seen::read(&decoded)?;
            join(&mut mail.hidden, &page.hidden);
            join(&mut mail.machine, &page.machine);
            return Ok(Piece { shown: normal(&page.shown), other: String::new(), is_html: true });
        }
        let shown = if head.flowed { unflow(&decoded, head.del_sp) } else { decoded };
        Ok(Piece { shown, ..Piece::default() })
    }

    fn multipart(
        &mut self,
        mail: &mut Mail,
        kind: &str,
        boundary: &str,
        body: &[u8],
        depth: usize,
    ) -> Result<Piece, Refusal> {
        let mut pieces = Vec::new();
        for part in split_parts(body, boundary.as_bytes()) {
            self.count(depth + 1)?;
            let (head, body) = split_head(part);
            let mut head = part_head(head);
            if kind == "multipart/digest" && head.content_type.is_empty() {
                head.content_type = "message/rfc822".to_owned();
            }
            pieces.push(self.part(mail, &head, body, depth + 1)?);
        }
        Ok(if kind == "multipart/alternative" { choose(pieces) } else { concat(pieces) })
    }
}

/// Of alternatives the plain text is read, if it says anything; the other is kept beside it.
fn choose(pieces: Vec<Piece>) -> Piece {
    let length = |p: &Piece| p.shown.chars().filter(|c| !c.is_whitespace()).count();
    let html = pieces.iter().filter(|p| p.is_html).map(length).max().unwrap_or(0);
    let plain = pieces.iter().position(|p| {
        // "Your program cannot show this" is no text of the person's.
        !p.is_html && length(p) > 0 && !(length(p) * 4 < html && is_excuse(&p.shown))
    });
    let html_at = pieces.iter().position(|p| p.is_html && length(p) > 0);
    let chosen = plain.or(html_at).or_else(|| pieces.iter().position(|p| length(p) > 0));
    let mut out = Piece::default();
    for (at, piece) in pieces.into_iter().enumerate() {
        join(&mut out.other, &piece.other);
        if Some(at) == chosen {
            out.is_html = piece.is_html;
            out.shown = piece.shown;
        } else {
            join(&mut out.other, &piece.shown);
        }
    }
    out
}

fn is_excuse(text: &str) -> bool {
    let text = text.to_lowercase();
    ["html", "网页版", "浏览器", "browser", "不支持", "does not support"].iter().any(|w| text.contains(w))
}

fn concat(pieces: Vec<Piece>) -> Piece {
    let mut out =
        Piece { is_html: pieces.iter().all(|p| p.is_html || p.shown.is_empty()), ..Piece::default() };
    out.is_html &= pieces.iter().any(|p| p.is_html);
    for piece in pieces {
        join(&mut out.shown, &piece.shown);
        join(&mut out.other, &piece.other);
    }
    out
}

fn join(to: &mut String, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    if !to.is_empty() {
        to.push_str("\n\n");
    }
    to.push_str(text.trim_end());
}

fn attachment(kind: &str, bytes: &[u8]) -> Attachment {
    let known = kind.len() <= 100 && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.+-_".contains(&b));
    let content_type = if known && !kind.is_empty() { kind } else { "application/octet-stream" };
    Attachment { content_type: content_type.to_owned(), size: bytes.len() as u64 }
}

/// Line ends become `\n`; characters that show nothing are dropped (a name must not be cut by them).
fn normal(text: &str) -> String {
    let unseen = |c: char| {
        matches!(c as u32, 0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180E
            | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x2064 | 0x2066..=0x206F | 0x3164 | 0xFE00..=0xFE0F
            | 0xFEFF | 0xFFA0 | 0xE0000..=0xE0FFF)
            || (c.is_control() && !matches!(c, '\n' | '\t'))
    };
    text.replace("\r\n", "\n").replace('\r', "\n").chars().filter(|c| !unseen(*c)).collect()
}

/// format=flowed (RFC 3676 §4): a line that ends in a space goes on; stuffed spaces go away.
fn unflow(text: &str, del_sp: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let quoted = line.starts_with('>');
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.ends_with(' ') && line != "-- " && !quoted {
            out.push_str(if del_sp { &line[..line.len() - 1] } else { line });
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(end) = bytes[at..].iter().position(|b| *b == b'\n').map(|p| at + p) {
        if bytes[at..end].iter().all(|b| *b == b'\r') {
            return (&bytes[..at], &bytes[end + 1..]);
        }
        at = end + 1;
    }
    (bytes, b"")
}

/// The parts between the boundary's lines. A missing last line ends at the end.
fn split_parts<'b>(body: &'b [u8], boundary: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (None, 0);
    while at <= body.len() {
        let end = body[at..].iter().position(|b| *b == b'\n').map_or(body.len(), |p| at + p);
        let line = body[at..end].trim_ascii_end();
        let tail = line.strip_prefix(b"--").and_then(|l| l.strip_prefix(boundary));
        if let Some(tail) = tail.filter(|t| t.is_empty() || *t == b"--") {
            if let Some(start) = start {
                parts.push(&body[start..at]);
            }
            start = tail.is_empty().then_some((end + 1).min(body.len()));
        }
        // One more than the limit is enough to refuse.
        if parts.len() > MAX_PARTS {
            return parts;
        }
        at = end + 1;
    }
    if let Some(start) = start {
        parts.push(&body[start.min(body.len())..]);
    }
    parts
}

fn header_only(head: &[u8]) -> Vec<u8> {
    let mut bytes = head[..head.len().min(MAX_HEADER_BYTES)].to_vec();
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes
}

fn part_head(head: &[u8]) -> PartHead {
    let bytes = header_only(head);
    let parsed = MessageParser::default().parse_headers(&bytes);
    let header = |name: HeaderName<'static>| parsed.as_ref().and_then(|m| m.header(name));
    let kind = header(HeaderName::ContentType).and_then(|v| v.as_content_type());
    let attribute = |name: &str| kind.and_then(|k| k.attribute(name)).map(str::to_owned);
    let content_type = match kind {
        Some(k) => format!("{}/{}", k.ctype(), k.subtype().unwrap_or("plain")).to_ascii_lowercase(),
        None => String::new(),
    };
    let disposition = header(HeaderName::ContentDisposition).and_then(|v| v.as_content_type());
    let named = disposition.is_some_and(|d| d.has_attribute("filename"))
        || kind.is_some_and(|k| k.has_attribute("name"));
    let content_type = if content_type.is_empty() { "text/plain".to_owned() } else { content_type };
    PartHead {
        attachment: disposition.is_some_and(|d| d.is_attachment())
            || named && content_type != "message/rfc822",
        charset: attribute("charset"),
        boundary: attribute("boundary"),
        flowed: attribute("format").is_some_and(|f| f.eq_ignore_ascii_case("flowed")),
        del_sp: attribute("delsp").is_some_and(|f| f.eq_ignore_ascii_case("yes")),
        encoding: header(HeaderName::ContentTransferEncoding)
            .and_then(|v| v.as_text())
            .unwrap_or("")
            .to_owned(),
        content_type,
    }
}

fn envelope(head: &[u8]) -> Result<Mail, Refusal> {
    let bytes = header_only(head);
    let malformed = || Refusal::at(Reason::MailMalformed, "mail.header");
    let parsed = MessageParser::default().parse_headers(&bytes).ok_or_else(malformed)?;
    let mut mail = Mail::default();
    let mut known = 0;
    for header in parsed.headers() {
        let raw = bytes.get(header.offset_start() as usize..header.offset_end() as usize).unwrap_or_default();
        let (text, four_byte) = charset::header_text(raw);
        let first = |current: &Mailbox| current.address.is_empty() && current.name.is_none();
        match &header.name {
            HeaderName::Subject if mail.subject.is_empty() => {
                mail.subject = normal(&text);
                mail.gb18030_four_byte |= four_byte;
            }
            HeaderName::From if first(&mail.from) => {
                mail.from =
                    mailboxes(header.value().as_address(), &text).into_iter().next().unwrap_or_default();
                mail.gb18030_four_byte |= four_byte;
            }
            HeaderName::ReplyTo => mail.reply_to.extend(mailboxes(header.value().as_address(), &text)),
            HeaderName::To | HeaderName::Cc => mail.to.extend(mailboxes(header.value().as_address(), &text)),
            HeaderName::Date => mail.date = mail.date.or_else(|| timestamp(&text)),
            HeaderName::MessageId => mail.message_id = Some(text.trim_matches(['<', '>']).to_owned()),
            HeaderName::Received => mail.trace.push((TraceField::Received, text)),
            HeaderName::AuthenticationResults => mail.trace.push((TraceField::AuthenticationResults, text)),
            name => {
                let Some(sign) = machine_sign(name.as_str(), &text) else { continue };
                mail.machine_signs.push(sign);
            }
        }
        known += 1;
    }
    if known == 0 {
        return Err(malformed());
    }
    Ok(mail)
}

fn machine_sign(name: &str, text: &str) -> Option<MachineSign> {
    let text = text.to_ascii_lowercase();
    match name.to_ascii_lowercase().as_str() {
        "precedence" if matches!(text.as_str(), "bulk" | "list" | "junk") => Some(MachineSign::Bulk),
        "precedence" if text == "auto_reply" => Some(MachineSign::AutoReply),
        "list-unsubscribe"
        | "list-id"
        | "list-post"
        | "list-unsubscribe-post"
        | "x-campaign"
        | "x-campaign-id"
        | "x-mailgun-tag"
        | "feedback-id" => Some(MachineSign::Bulk),
        "auto-submitted" if text.starts_with("auto-replied") => Some(MachineSign::AutoReply),
        "auto-submitted" if !text.starts_with("no") => Some(MachineSign::Bulk),
        "x-autoreply" | "x-autorespond" | "x-auto-reply" => Some(MachineSign::AutoReply),
        "return-path" if text.trim() == "<>" => Some(MachineSign::AutoReply),
        "x-failed-recipients" => Some(MachineSign::Bounce),
        _ => None,
    }
}

/// The addresses are mail-parser's; the names are decoded again, with the characters whole.
fn mailboxes(value: Option<&mail_parser::Address<'_>>, text: &str) -> Vec<Mailbox> {
    let Some(value) = value else { return Vec::new() };
    let list: Vec<_> = value.iter().collect();
    let alone = list.len() == 1;
    list.iter()
        .filter_map(|addr| {
            let address = tidy_address(addr.address()?);
            let shown = text.rsplit_once('<').map(|(name, _)| name.trim().trim_matches('"').trim());
            let name = match shown {
                Some(name) if alone => Some(name.replace("\\\"", "\"")),
                _ => addr.name().map(str::to_owned),
            };
            Some(Mailbox { name: name.map(|n| normal(&n)).filter(|n| !n.is_empty()), address })
        })
        .collect()
}

/// The domain in lower case; the local part as written (RFC 5321 §2.4).
pub fn tidy_address(address: &str) -> String {
    let address = address.trim().trim_matches(['<', '>']);
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => address.to_owned(),
    }
}

/// A date of RFC 5322 §3.3.
pub fn timestamp(text: &str) -> Option<Timestamp> {
    let date = DateTime::parse_rfc822(text.trim())?;
    if !date.is_valid() || date.year < 1990 {
        return None;
    }
    Timestamp::from_second(date.to_timestamp()).ok()
}
