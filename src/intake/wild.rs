//! Mails as they are in the wild, made here; each file of tests tells of one kind.

mod extracts;
mod forms;
mod forwards;
mod labelled;
mod letters;
mod limits;
mod traps;
mod words;

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::*;
use crate::domain::routing::{Fact, FactKind, House, Registered, Route};

fn app(app: &str, controller: &str, names: &[&str]) -> Registered {
    let facts = names.iter().map(|n| Fact::new(FactKind::Name, *n)).collect();
    Registered { app: app.parse().unwrap(), controller: controller.parse().unwrap(), facts }
}

fn facts() -> Facts {
    let mut apps = vec![
        app("xingyu-live", "xinghe", &["星语直播"]),
        app("xiaolu-class", "xiaolu", &["小鹿课堂"]),
        app("leting-fm", "leting", &["乐听FM"]),
        app("yunting-class", "yunting", &["云听课堂"]),
        app("startalk", "star", &["StarTalk"]),
        app("weike", "weike", &["微课"]),
    ];
    apps[0].facts.push(Fact::new(FactKind::Company, "星河互动科技有限公司"));
    apps[4].facts.push(Fact::new(FactKind::Domain, "startalk.example"));
    Facts {
        house: House {
            app: "ppio".parse().unwrap(),
            controller: "ppio".parse().unwrap(),
            brands: vec!["PPIO".into()],
            domains: vec!["ppio.example".into()],
        },
        apps,
    }
}

fn config() -> IntakeConfig {
    IntakeConfig {
        authserv_id: "mx.ppio.example".into(),
        mail_hosts: vec!["mx.ppio.example".into()],
        house_domains: vec!["ppio.example".into()],
    }
}

fn read_ok(bytes: &[u8]) -> Candidate {
    read(bytes, &facts(), &config()).unwrap()
}

/// A mail from a person, as our server would hand it on.
struct Letter {
    from: String,
    subject: String,
    extra: String,
    content: Vec<u8>,
}

impl Letter {
    fn plain(subject: &str, body: &str) -> Letter {
        let head = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        Letter::raw(subject, [head.as_bytes(), BASE64_STANDARD.encode(body).as_bytes()].concat())
    }

    fn html(subject: &str, body: &str) -> Letter {
        let head = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        Letter::raw(subject, [head.as_bytes(), BASE64_STANDARD.encode(body).as_bytes()].concat())
    }

    fn both(subject: &str, plain: &str, html: &str) -> Letter {
        let text = format!(
            "Content-Type: multipart/alternative; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{plain}\r\n--b1\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n--b1--\r\n"
        );
        Letter::raw(subject, text.into_bytes())
    }

    fn with_attachment(subject: &str, plain: &str, kind: &str, attached: &str) -> Letter {
        let text = format!(
            "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{plain}\r\n--b1\r\nContent-Type: {kind}\r\nContent-Disposition: attachment; filename=x\r\n\r\n{attached}\r\n--b1--\r\n"
        );
        Letter::raw(subject, text.into_bytes())
    }

    /// `content` begins with the fields of the body.
    fn raw(subject: &str, content: Vec<u8>) -> Letter {
        Letter {
            from: "Jo Doe <jo@post.example>".to_owned(),
            subject: subject.to_owned(),
            extra: String::new(),
            content,
        }
    }

    fn from(mut self, from: &str) -> Letter {
        self.from = from.to_owned();
        self
    }

    fn header(mut self, line: &str) -> Letter {
        write!(self.extra, "{line}\r\n").unwrap();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let head = format!(
            "Received: from x.example by mx.ppio.example with ESMTPS id 1; Mon, 16 Nov 2026 09:12:44 +0800\r\nAuthentication-Results: mx.ppio.example; spf=pass; dkim=pass; dmarc=pass\r\nFrom: {}\r\nTo: feedback@ppio.example\r\nSubject: =?utf-8?B?{}?=\r\nDate: Mon, 16 Nov 2026 09:12:31 +0800\r\nMessage-ID: <1@post.example>\r\nMIME-Version: 1.0\r\n{}",
            self.from,
            BASE64_STANDARD.encode(&self.subject),
            self.extra
        );
        [head.as_bytes(), &self.content].concat()
    }

    fn read(&self) -> Candidate {
        read_ok(&self.bytes())
    }
}

/// `app-id`, `house`, or the reason for triage.
fn goes(candidate: &Candidate) -> String {
    match &candidate.route {
        Route::App { app, .. } => app.to_string(),
        Route::House { .. } => "house".to_owned(),
        Route::Triage { reason, .. } => format!("{reason:?}"),
    }
}

fn rights(candidate: &Candidate) -> Vec<&'static str> {
    candidate.rights.iter().map(|r| r.what.as_str()).collect()
}

fn ids(candidate: &Candidate) -> Vec<String> {
    candidate.identifiers.iter().map(|g| format!("{}={}", g.kind.as_str(), g.value)).collect()
}

fn flags(candidate: &Candidate) -> Vec<String> {
    candidate.flags.iter().map(Flag::word).collect()
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}
