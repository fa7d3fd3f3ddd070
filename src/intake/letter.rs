//! A mail as people read it: own words, words of earlier mail, and the mail forwarded in it.
//!
//! Earlier mail stands behind `>` marks, behind "On … wrote:" and "在…写道：", or
//! behind a block of header lines ("发件人：… 收件人：…"). It adds no right. Where the
//! mail is a forward, the block names the one who asks.

use super::mime::{Mail, Mailbox, tidy_address, timestamp};
use crate::domain::Timestamp;
use crate::domain::phrase::{fold, fold_width};

/// One mail's words. Personal data.
#[derive(Clone, Default)]
pub struct Letter {
    pub subject: String,
    pub from: Mailbox,
    pub to: Vec<Mailbox>,
    pub date: Option<Timestamp>,
    /// What the sender wrote here.
    pub own: String,
    /// Earlier mail that is quoted, the other alternative, further mails attached.
    pub context: Vec<String>,
    /// The other alternative.
    pub other: String,
    pub inner: Option<Box<Letter>>,
    /// The whole text as it is seen.
    pub body: String,
}

const MAX_INLINE: usize = 8;

impl Letter {
    pub fn of(mail: &Mail) -> Letter {
        let mut letter = Letter::from_text(&mail.body_seen, MAX_INLINE);
        letter.subject = mail.subject.clone();
        letter.from = mail.from.clone();
        letter.to = mail.to.clone();
        letter.date = mail.date;
        letter.other = mail.other_seen.clone();
        if let Some(inner) = &mail.inner {
            // An attached mail is the forward; a block in the text is then only earlier mail.
            if let Some(block) = letter.inner.replace(Box::new(Letter::of(inner))) {
                letter.context.push(block.body);
            }
        }
        letter
    }

    fn from_text(text: &str, depth: usize) -> Letter {
        let lines: Vec<&str> = text.lines().collect();
        let mut own = Vec::new();
        let mut quoted = Vec::new();
        let mut inner = None;
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            if line.trim_start().starts_with(['>', '＞']) {
                quoted.push(line.trim_start().trim_start_matches(['>', '＞', ' ']));
                at += 1;
            } else if let Some((block, next)) = header_block(&lines, at) {
                let rest = lines[next..].join("\n");
                if depth > 0 && !block.from.address.is_empty() {
                    let mut letter = Letter::from_text(&rest, depth - 1);
                    letter.from = block.from;
                    letter.to = block.to;
                    letter.subject = block.subject;
                    letter.date = block.date;
                    inner = Some(Box::new(letter));
                }
                quoted.extend(&lines[at..]);
                break;
            } else if let Some(next) = attribution(&lines, at) {
                let marked = lines[next..].iter().any(|l| l.trim_start().starts_with('>'));
                if marked {
                    // What is marked is quoted; an answer may stand below it.
                    at = next;
                } else {
                    quoted.extend(&lines[next..]);
                    break;
                }
            } else {
                own.push(line);
                at += 1;
            }
        }
        let mut context = Vec::new();
        if !quoted.is_empty() {
            context.push(unwrap(&quoted));
        }
        Letter { own: unwrap(&own), context, inner, body: text.to_owned(), ..Letter::default() }
    }
}

/// The line "On …, … wrote:" (one line or two): the index after it.
fn attribution(lines: &[&str], at: usize) -> Option<usize> {
    for take in 1..=3 {
        let joined = lines.get(at..at + take)?.join(" ");
        let text = fold(joined.trim());
        let opens = ["on ", "在", "于", "at ", "le ", "am "].iter().any(|w| text.starts_with(w))
            || text.chars().next().is_some_and(|c| c.is_ascii_digit())
            || text.contains('@');
        let closes = text.ends_with("wrote:")
            || text.ends_with("写道:")
            || text.ends_with("写道")
            || text.ends_with("写到:");
        if opens && closes && text.chars().count() < 200 && text.chars().any(|c| c.is_ascii_digit()) {
            return Some(at + take);
        }
        if take == 1 && !(text.starts_with("on ") || text.starts_with('在') || text.starts_with('于')) {
            return None;
        }
    }
    None
}

#[derive(Default)]
struct Block {
    from: Mailbox,
    to: Vec<Mailbox>,
    subject: String,
    date: Option<Timestamp>,
}

fn is_separator(line: &str) -> bool {
    let text = fold(line.trim());
    let inner = text.trim_matches(['-', '_', '=', '*', ' ']);
    let ruled =
        text.starts_with("--") || text.starts_with("__") || text.starts_with("==") || text.starts_with("**");
    let begins = ["begin forwarded message:", "forwarded message"].contains(&inner);
    let named = [
        "original message",
        "original mail",
        "forwarded message",
        "原始邮件",
        "原邮件",
        "转发邮件",
        "转发的邮件",
        "转发邮件信息",
        "邮件原文",
        "forwarded by",
    ]
    .iter()
    .any(|w| inner.starts_with(w));
    begins || ruled && named
}

/// A separator line, a block of header lines, or both: the block and the index after it.
fn header_block(lines: &[&str], at: usize) -> Option<(Block, usize)> {
    let separated = is_separator(lines[at]);
    let mut i = if separated { at + 1 } else { at };
    if separated || lines[at].trim_start().starts_with("____") {
        while lines.get(i).is_some_and(|l| l.trim().is_empty() || l.trim().chars().all(|c| "_-=".contains(c)))
        {
            i += 1;
        }
    }
    let mut block = Block::default();
    let mut fields = 0;
    let mut saw_from = false;
    while let Some(line) = lines.get(i) {
        let plain = line.trim().trim_start_matches(['*', '>', ' ']);
        let Some((field, value)) = header_line(plain) else {
            // A long list of recipients goes on in the next line.
            let goes_on =
                fields > 0 && plain.contains('@') && !plain.contains(['。', '，']) && plain.len() < 400;
            if goes_on {
                i += 1;
                continue;
            }
            break;
        };
        match field {
            Field::From => {
                saw_from = true;
                block.from = mailbox(&value);
            }
            Field::To => {
                block.to.extend(value.split([';', ',']).map(mailbox).filter(|m| !m.address.is_empty()))
            }
            Field::Subject => block.subject = value,
            Field::Date => block.date = any_date(&value),
            Field::Cc => {}
        }
        fields += 1;
        i += 1;
    }
    (saw_from && (fields >= 3 || fields >= 2 && separated) || separated && fields == 0).then_some((block, i))
}

enum Field {
    From,
    To,
    Cc,
    Subject,
    Date,
}

fn header_line(line: &str) -> Option<(Field, String)> {
    let line = fold_width(line);
    let (name, value) = line.split_once(':')?;
    let name = name.trim_matches(['*', ' ', '\t']).to_lowercase().replace([' ', '\u{3000}'], "");
    let field = match name.as_str() {
        "from" | "发件人" | "寄件人" | "寄件者" | "发信人" | "来自" => Field::From,
        "to" | "收件人" | "收件者" | "收信人" => Field::To,
        "cc" | "bcc" | "抄送" | "抄送人" | "密送" | "reply-to" | "回复" => Field::Cc,
        "subject" | "主题" | "主旨" | "标题" => Field::Subject,
        "date" | "sent" | "发送时间" | "发送日期" | "日期" | "时间" | "sentat" | "发件时间" => {
            Field::Date
        }
        _ => return None,
    };
    Some((field, value.trim_start_matches('*').trim().to_owned()))
}

/// `Name <a@b>`, `Name [mailto:a@b]`, `"Name" (a@b)`, or the address alone.
fn mailbox(value: &str) -> Mailbox {
    let stop = |c: char| c.is_whitespace() || "<>[]()\"'；;,，（）《》".contains(c);
    let address = value.split(stop).map(|w| w.trim_start_matches("mailto:")).find(|w| is_address(w));
    let Some(address) = address else { return Mailbox::default() };
    let name = value.split(['<', '[', '(']).next().unwrap_or("").trim().trim_matches(['"', '\'']).trim();
    let name = (!name.is_empty() && !name.contains('@')).then(|| name.to_owned());
    Mailbox { name, address: tidy_address(address) }
}

/// Whether the text is one ordinary mail address.
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_ok = !local.is_empty()
        && local.len() <= 64
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&b));
    let domain_ok = domain.contains('.')
        && domain.len() <= 253
        && domain
            .split('.')
            .all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    local_ok && domain_ok
}

/// The dates that mail programs write into a forward. Without an offset: Beijing time, where the readers are.
fn any_date(text: &str) -> Option<Timestamp> {
    if let Some(at) = timestamp(text) {
        return Some(at);
    }
    let folded = fold(text);
    let month_name = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
        .iter()
        .position(|m| crate::domain::phrase::says(&folded, &format!("{m}*")));
    let numbers: Vec<i16> = folded
        .split(|c: char| !c.is_ascii_digit())
        .filter(|n| !n.is_empty() && n.len() <= 4)
        .filter_map(|n| n.parse().ok())
        .collect();
    let year_at = numbers.iter().position(|n| (2000..2100).contains(n))?;
    let year = numbers[year_at];
    let (month, day, clock) = match month_name {
        Some(month) => {
            let rest = numbers.get(year_at + 1..).unwrap_or_default();
            (
                i8::try_from(month + 1).ok()?,
                *numbers[..year_at].iter().rfind(|n| (1..=31).contains(*n))?,
                rest,
            )
        }
        None => {
            let rest = numbers.get(year_at + 3..).unwrap_or_default();
            (i8::try_from(*numbers.get(year_at + 1)?).ok()?, *numbers.get(year_at + 2)?, rest)
        }
    };
    let afternoon =
        folded.contains("下午") || folded.contains("晚上") || crate::domain::phrase::says(&folded, "pm");
    let hour = clock.first().copied().unwrap_or(0);
    let hour = if afternoon && hour < 12 { hour + 12 } else { hour };
    let minute = clock.get(1).copied().unwrap_or(0);
    let local = jiff::civil::DateTime::new(
        year,
        month,
        i8::try_from(day).ok()?,
        i8::try_from(hour).ok()?,
        i8::try_from(minute).ok()?,
        0,
        0,
    )
    .ok()?;
    jiff::tz::Offset::constant(8).to_timestamp(local).ok()
}

/// Lines that a mail program broke become sentences again; paragraphs stay.
fn unwrap(lines: &[&str]) -> String {
    let mut out = String::new();
    // Columns of the line before, as its mail program counted them.
    let mut width = 0;
    for line in lines {
        let line = line.trim_end();
        let first = line.trim_start().chars().next();
        let last = out.chars().next_back();
        let goes_on = width >= 50
            && match (last, first) {
                (Some(l), Some(f)) => {
                    (l.is_ascii_alphanumeric() || l == ',') && (f.is_ascii_lowercase() || f.is_ascii_digit())
                        || crate::domain::phrase::is_han(l) && crate::domain::phrase::is_han(f) && width >= 64
                }
                _ => false,
            };
        width = line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>();
        if goes_on {
            if last.is_some_and(|c| c.is_ascii()) {
                out.push(' ');
            }
            out.push_str(line.trim_start());
        } else {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(line);
        }
    }
    out.trim().to_owned()
}

/// The subject without its prefixes, and whether they say forward or reply.
pub fn bare_subject(subject: &str) -> (String, bool, bool) {
    let (mut forward, mut reply) = (false, false);
    let mut rest = subject.trim();
    loop {
        let folded = fold(rest);
        let prefix = ["fwd:", "fw:", "转发:", "转寄:", "wg:", "re:", "回复:", "答复:", "回覆:", "aw:"]
            .iter()
            .find(|p| folded.starts_with(*p));
        let Some(prefix) = prefix else { break };
        if ["fwd:", "fw:", "转发:", "转寄:", "wg:"].contains(prefix) {
            forward = true;
        } else {
            reply = true;
        }
        let skip = rest.char_indices().nth(prefix.chars().count()).map_or(rest.len(), |(at, _)| at);
        rest = rest[skip..].trim_start();
    }
    (rest.to_owned(), forward, reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(text: &str) -> Letter {
        Letter::from_text(text, MAX_INLINE)
    }

    #[test]
    fn marked_lines_are_earlier_mail() {
        let got = letter("my words\n> old words\n>> older\nmore of mine");
        assert_eq!(got.own, "my words\nmore of mine");
        assert_eq!(got.context, vec!["old words\nolder".to_owned()]);
    }

    #[test]
    fn what_stands_below_wrote_is_earlier_mail() {
        for head in [
            "On Mon, Nov 16, 2026 at 9:12 AM Jude <j@post.example> wrote:",
            "On Mon, Nov 16, 2026 at 9:12 AM Jude\n<j@post.example> wrote:",
            "在 2026-11-16 09:12:44，王小雨 写道：",
            "PPIO <a@ppio.example> 于2026年11月16日周一 09:12写道：",
        ] {
            let got = letter(&format!("mine\n\n{head}\n\nold words"));
            assert_eq!(got.own, "mine", "{head}");
            assert_eq!(got.context.len(), 1, "{head}");
        }
    }

    #[test]
    fn a_forward_in_the_text_names_its_sender() {
        let got = letter(
            "请处理。\n\n-----原始邮件-----\n发件人：周明 <z@old.example>\n发送时间：2026年11月12日 18:20\n收件人：sales@ppio.example\n主题：删除\n\n请删除我的信息",
        );
        assert_eq!(got.own, "请处理。");
        let inner = got.inner.unwrap();
        assert_eq!(inner.from.address, "z@old.example");
        assert_eq!(inner.from.name.as_deref(), Some("周明"));
        assert_eq!(inner.subject, "删除");
        assert_eq!(inner.own, "请删除我的信息");
        assert_eq!(inner.date.unwrap().to_string(), "2026-11-12T10:20:00Z");
    }

    #[test]
    fn outlook_and_apple_forwards_are_known() {
        for text in [
            "FYI\n\nFrom: Jude [mailto:j@post.example]\nSent: Thursday, November 12, 2026 6:20 PM\nTo: sales@ppio.example\nSubject: data\n\nplease delete",
            "FYI\n\nBegin forwarded message:\n\nFrom: Jude <j@post.example>\nSubject: data\nDate: November 12, 2026 at 6:20 PM\nTo: sales@ppio.example\n\nplease delete",
            "FYI\n---------- Forwarded message ---------\nFrom: Jude <j@post.example>\nDate: Thu, Nov 12, 2026 at 6:20 PM\nSubject: data\nTo: <sales@ppio.example>\n\nplease delete",
        ] {
            let inner = letter(text).inner.expect(text);
            assert_eq!(inner.from.address, "j@post.example");
            assert_eq!(inner.own, "please delete");
            assert_eq!(inner.date.unwrap().to_string(), "2026-11-12T10:20:00Z", "{text}");
        }
    }

    #[test]
    fn a_letter_that_uses_labels_is_no_forward() {
        let got = letter("主题：删除\n我的用户ID：u_1\n日期：今天");
        assert!(got.inner.is_none());
        assert!(got.context.is_empty());
    }

    #[test]
    fn broken_lines_are_whole_again() {
        let text =
            "I want you to delete everything that your company ever collected\nabout me, all of it.\nThanks";
        assert_eq!(letter(text).own.lines().count(), 2);
    }

    #[test]
    fn prefixes_of_the_subject_are_told_apart() {
        assert_eq!(bare_subject("Fwd: 转发：x"), ("x".into(), true, false));
        assert_eq!(bare_subject("回复：Re: x"), ("x".into(), false, true));
        assert_eq!(bare_subject("fwdx"), ("fwdx".into(), false, false));
    }
}
