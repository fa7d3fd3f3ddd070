//! Letters of every kind the address gets, written without a look at the reader's word lists, with what is right for each.
//!
//! One text file a kind, under `letters/`; a block is one letter:
//!
//! ```text
//! ## its_name
//! subject: …
//! from: …                 (else Jo Doe)
//! as: html                (else plain text)
//! body:                   (or `eml: file` in place of subject and body)
//! …
//! goes: <app> | house | triage | none
//! rights: a, b
//! ids: type=value[@minor|@guardian]; …    the sender's address is understood; `none`: not even that
//! language: zh | en | other
//! guardian: yes | no
//! subject_is: | contains: | inner_subject_is: | inner_contains:
//! ```
//!
//! `triage` is a request that a person routes, whatever the reason; `none` is no request at all.
//! User ids, channels, addresses and PPIO accounts must be exactly those; of the other types
//! the listed must be there.

use std::collections::BTreeMap;

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/intake/wild/letters/");
const FIELDS: &[&str] = &["goes", "rights", "ids", "language", "guardian", "text"];

struct Block {
    name: String,
    said: BTreeMap<String, String>,
    body: String,
}

impl Block {
    fn get(&self, key: &str) -> Option<&str> {
        self.said.get(key).map(String::as_str)
    }

    fn list(&self, key: &str, mark: char) -> Vec<String> {
        let all = self.get(key).unwrap_or_default();
        sorted(all.split(mark).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect())
    }

    fn candidate(&self) -> Candidate {
        let bytes = match self.get("eml") {
            Some(file) => std::fs::read(format!("{FOLDER}{file}")).unwrap(),
            None => {
                let subject = self.get("subject").unwrap();
                let mut letter = match self.get("as") {
                    Some("html") => Letter::html(subject, &self.body),
                    _ => Letter::plain(subject, &self.body),
                };
                if let Some(from) = self.get("from") {
                    letter.from = from.to_owned();
                }
                letter.bytes()
            }
        };
        read(&bytes, &known(), &config()).unwrap()
    }
}

fn blocks(text: &str) -> Vec<Block> {
    const KEYS: &[&str] = &[
        "subject",
        "from",
        "as",
        "eml",
        "goes",
        "rights",
        "ids",
        "language",
        "guardian",
        "subject_is",
        "contains",
        "inner_subject_is",
        "inner_contains",
    ];
    let mut out = Vec::new();
    for text in text.split("## ").skip(1) {
        let (name, rest) = text.split_once('\n').unwrap();
        let mut block = Block { name: name.to_owned(), said: BTreeMap::new(), body: String::new() };
        let mut in_body = false;
        for line in rest.lines() {
            let key = line.split_once(':').filter(|(k, _)| KEYS.contains(k));
            match key {
                _ if line == "body:" => in_body = true,
                Some((key, value)) if !in_body || key == "goes" => {
                    in_body = false;
                    block.said.insert(key.to_owned(), value.trim().to_owned());
                }
                _ if in_body => block.body += &format!("{line}\r\n"),
                _ => assert!(line.is_empty(), "{name}: {line}"),
            }
        }
        out.push(block);
    }
    out
}

/// The apps of the other tests, with what else is registered of an app.
fn known() -> Facts {
    let mut facts = facts();
    facts.apps.pop();
    for (at, kind, text) in [
        (0, FactKind::BundleId, "com.xinghe.xingyu"),
        (1, FactKind::Alias, "鹿课"),
        (1, FactKind::Company, "小鹿教育科技（北京）有限公司"),
        (4, FactKind::Company, "Star Forge Pte. Ltd."),
        (4, FactKind::BundleId, "com.star.talk"),
    ] {
        facts.apps[at].facts.push(Fact::new(kind, text));
    }
    facts
}

fn whom(given: &Given) -> &'static str {
    match given.of {
        Of::Requester => "",
        Of::Minor => "@minor",
        Of::Guardian => "@guardian",
    }
}

fn ids_of(got: &Candidate, strict: bool) -> Vec<String> {
    use IdentifierKind::{AppUserId, ChannelId, Email, PpioAccount};
    let all = got.identifiers.iter();
    let strictly = |g: &&Given| matches!(g.kind, AppUserId | ChannelId | Email | PpioAccount) == strict;
    sorted(all.filter(strictly).map(|g| format!("{}={}{}", g.kind.as_str(), g.value, whom(g))).collect())
}

/// What is wrong, by field.
fn wrong(block: &Block) -> Vec<(&'static str, String)> {
    let got = block.candidate();
    let mut out = Vec::new();
    let mut held = |field: &'static str, is: String, should: String| {
        if is != should {
            out.push((field, format!("{is} and not {should}")));
        }
    };
    let went = match goes(&got).as_str() {
        _ if !got.is_request => "none".to_owned(),
        "house" => "house".to_owned(),
        _ if got.route.app().is_none() => "triage".to_owned(),
        app => app.to_owned(),
    };
    held("goes", went, block.get("goes").unwrap().to_owned());
    let asked = sorted(rights(&got).iter().map(|r| (*r).to_owned()).collect());
    held("rights", asked.join(" "), block.list("rights", ',').join(" "));
    let strict = |id: &String| {
        ["app_user_id=", "channel_id=", "email=", "ppio_account="].iter().any(|k| id.starts_with(k))
    };
    let mut expected = block.list("ids", ';');
    let no_ids = expected == ["none"];
    if no_ids {
        expected.clear();
    } else if !expected.iter().any(|id| id.starts_with("email=")) {
        let of = if block.get("guardian") == Some("yes") { "@guardian" } else { "" };
        expected.push(format!("email={}{of}", got.from.address));
    }
    let (exact, others): (Vec<_>, Vec<_>) = expected.into_iter().partition(strict);
    held("ids", ids_of(&got, true).join(" "), sorted(exact).join(" "));
    let there = ids_of(&got, false);
    for other in others {
        held(
            "ids",
            there.contains(&other).to_string(),
            format!("true: {other}").replace(&format!(": {other}"), ""),
        );
    }
    held("language", got.language.as_str().to_owned(), block.get("language").unwrap().to_owned());
    let guardian = if got.guardian { "yes" } else { "no" };
    held("guardian", guardian.to_owned(), block.get("guardian").unwrap().to_owned());
    let inner = got.inner.as_ref();
    for (key, text) in [("subject_is", Some(&got.subject)), ("inner_subject_is", inner.map(|i| &i.subject))] {
        if let Some(expected) = block.get(key) {
            held("text", text.cloned().unwrap_or_default(), expected.to_owned());
        }
    }
    for (key, text) in [("contains", Some(&got.body)), ("inner_contains", inner.map(|i| &i.body))] {
        if let Some(part) = block.get(key) {
            held("text", text.is_some_and(|t| t.contains(part)).to_string(), "true".to_owned());
        }
    }
    out
}

/// Reads a file of letters and says how many fields of how many are right.
fn all_right(file: &str) {
    let text = std::fs::read_to_string(format!("{FOLDER}{file}")).unwrap();
    let blocks = blocks(&text);
    let mut report = String::new();
    let mut right: BTreeMap<&str, usize> = FIELDS.iter().map(|f| (*f, blocks.len())).collect();
    let mut whole = blocks.len();
    for block in &blocks {
        let mut seen = Vec::new();
        for (field, what) in wrong(block) {
            writeln!(report, "{}: {field}: {what}", block.name).unwrap();
            if !seen.contains(&field) {
                *right.get_mut(field).unwrap() -= 1;
                seen.push(field);
            }
        }
        whole -= usize::from(!seen.is_empty());
    }
    println!("{file}: {whole}/{} whole; {right:?}", blocks.len());
    assert!(report.is_empty(), "{file}: {whole}/{} {right:?}\n{report}", blocks.len());
}

#[test]
fn letters_in_chinese() {
    all_right("chinese.txt");
}

#[test]
fn letters_in_english() {
    all_right("english.txt");
}

#[test]
fn letters_in_html() {
    all_right("html.txt");
}

#[test]
fn letters_in_every_wrapping() {
    all_right("mime.txt");
}

#[test]
fn more_letters_of_all_kinds() {
    all_right("kinds.txt");
}

#[test]
fn letters_with_traps() {
    all_right("traps.txt");
}

#[test]
fn letters_that_must_not_go_astray() {
    all_right("routes.txt");
}

#[test]
fn long_letters() {
    all_right("long.txt");
}

#[test]
fn plain_letters() {
    all_right("plain.txt");
}

/// The apps with the aliases and identifiers that the lines below use.
fn named() -> Facts {
    use FactKind::{Alias, BundleId, Domain};
    let mut facts = known();
    for (at, kind, text) in [
        (0, Alias, "Xingyu Live"),
        (0, BundleId, "com.xingyu.live"),
        (0, Domain, "xingyu.example"),
        (1, Alias, "Xiaolu Class"),
        (1, BundleId, "com.xiaolu.cls"),
        (1, FactKind::Company, "小鹿教育科技有限公司"),
        (2, Alias, "LetingFM"),
        (2, BundleId, "com.leting.fm"),
        (2, Domain, "leting.example"),
        (3, Alias, "Yunting Class"),
        (3, BundleId, "com.yunting.cls"),
    ] {
        facts.apps[at].facts.push(Fact::new(kind, text));
    }
    facts
}

fn lines(file: &str) -> String {
    std::fs::read_to_string(format!("{FOLDER}{file}")).unwrap()
}

fn line_read(subject: &str, body: &str, facts: &Facts) -> Candidate {
    let letter = Letter::plain(subject, &body.replace(" / ", "\r\n"));
    read(&letter.bytes(), facts, &config()).unwrap()
}

/// One letter a line, subject and body: each names a registered app that its writer does not mean, or none.
#[test]
fn no_letter_reaches_another_enterprise() {
    let (facts, text) = (named(), lines("astray.txt"));
    assert!(text.lines().count() >= 280);
    for line in text.lines() {
        let (subject, body) = line.split_once(" | ").unwrap();
        let got = line_read(subject, body, &facts);
        assert!(!matches!(got.route, Route::App { .. }), "{line}");
    }
}

/// One letter a line, app, subject and body: none goes elsewhere, and six in seven or more find home by themselves.
#[test]
fn letters_find_home() {
    let (facts, text) = (named(), lines("home.txt"));
    let (mut home, mut all) = (0, 0);
    for line in text.lines() {
        let mut parts = line.splitn(3, " | ");
        let (app, subject, body) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let got = line_read(subject, body, &facts);
        all += 1;
        if let Some(went) = got.route.app() {
            assert_eq!(went.as_str(), app, "{line}");
            home += 1;
        }
    }
    assert!(home * 7 >= all * 6, "{home} of {all}");
}
