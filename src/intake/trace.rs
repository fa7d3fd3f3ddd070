//! What PPIO's own mail servers wrote on the envelope: when it came, and how the sender was checked.
//!
//! Anybody can write such fields. Only those count that our own server put on
//! top: the first `Received` if it is `by` one of ours, and the first
//! `Authentication-Results` with our id that stands above any older hop (RFC 8601 §5).

use serde::{Deserialize, Serialize};

use super::IntakeConfig;
use super::mime::{Mail, TraceField, timestamp};
use crate::domain::Timestamp;

/// How the sender's domain was checked by our server. Says nothing about who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthSummary {
    /// DMARC passed.
    #[serde(rename = "pass")]
    Pass,
    /// DMARC passed for who forwarded; the mail inside was checked by nobody.
    #[serde(rename = "pass(outer only)")]
    PassOuterOnly,
    #[serde(rename = "spf_only")]
    SpfOnly,
    #[serde(rename = "dkim_only")]
    DkimOnly,
    /// DMARC failed, or SPF or DKIM failed and nothing passed.
    #[serde(rename = "fail")]
    Fail,
    /// Our server says nothing.
    #[serde(rename = "none")]
    None,
}

impl AuthSummary {
    pub fn as_str(self) -> &'static str {
        match self {
            AuthSummary::Pass => "pass",
            AuthSummary::PassOuterOnly => "pass(outer only)",
            AuthSummary::SpfOnly => "spf_only",
            AuthSummary::DkimOnly => "dkim_only",
            AuthSummary::Fail => "fail",
            AuthSummary::None => "none",
        }
    }
}

/// When our server took the mail in, by its own clock.
pub fn received_at(mail: &Mail, config: &IntakeConfig) -> Option<Timestamp> {
    let (_, top) = mail.trace.iter().find(|(field, _)| *field == TraceField::Received)?;
    is_ours(top, config).then(|| timestamp(top.rsplit_once(';')?.1))?
}

fn is_ours(received: &str, config: &IntakeConfig) -> bool {
    let mut words = without_comments(received);
    words.make_ascii_lowercase();
    let mut words = words.split_whitespace();
    words
        .by_ref()
        .find(|w| *w == "by")
        .and_then(|_| words.next())
        .is_some_and(|by| config.mail_hosts.iter().any(|h| h.eq_ignore_ascii_case(by.trim_end_matches(';'))))
}

/// What our server says about the sender's domain.
pub fn authentication(mail: &Mail, config: &IntakeConfig) -> AuthSummary {
    let mut hops = 0;
    for (field, text) in &mail.trace {
        match field {
            TraceField::Received => hops += 1,
            TraceField::AuthenticationResults if hops <= 1 => {
                if let Some(results) = ours(text, config) {
                    return summary(&results);
                }
            }
            TraceField::AuthenticationResults => {}
        }
    }
    AuthSummary::None
}

fn ours(text: &str, config: &IntakeConfig) -> Option<String> {
    let text = without_comments(text);
    let (id, results) = text.split_once(';')?;
    let id = id.split_whitespace().next()?;
    id.eq_ignore_ascii_case(&config.authserv_id).then(|| results.to_ascii_lowercase())
}

fn summary(results: &str) -> AuthSummary {
    let verdict = |method: &str| -> Vec<&str> {
        results
            .split(';')
            .filter_map(|r| r.split_whitespace().next()?.split_once('='))
            .filter(|(m, _)| *m == method)
            .map(|(_, v)| v)
            .collect()
    };
    let (spf, dkim, dmarc) = (verdict("spf"), verdict("dkim"), verdict("dmarc"));
    let bad = |v: &[&str]| v.iter().any(|v| matches!(*v, "fail" | "permerror" | "policy" | "softfail"));
    match (dmarc.as_slice(), spf.contains(&"pass"), dkim.contains(&"pass")) {
        (["pass"], _, _) => AuthSummary::Pass,
        (d, _, _) if bad(d) => AuthSummary::Fail,
        (_, _, true) => AuthSummary::DkimOnly,
        (_, true, false) => AuthSummary::SpfOnly,
        _ if bad(&spf) || bad(&dkim) => AuthSummary::Fail,
        _ => AuthSummary::None,
    }
}

/// Comments in parentheses are free text that anybody chose.
fn without_comments(text: &str) -> String {
    let (mut out, mut depth) = (String::with_capacity(text.len()), 0usize);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(if c.is_whitespace() { ' ' } else { c }),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> IntakeConfig {
        IntakeConfig {
            authserv_id: "mx.ppio.example".into(),
            mail_hosts: vec!["mx.ppio.example".into()],
            house_domains: vec!["ppio.example".into()],
        }
    }

    fn mail(trace: &[(TraceField, &str)]) -> Mail {
        Mail { trace: trace.iter().map(|(f, t)| (*f, (*t).to_owned())).collect(), ..Mail::default() }
    }

    const RECEIVED: (TraceField, &str) = (
        TraceField::Received,
        "from a (by evil.example [1.2.3.4]) by mx.ppio.example with ESMTPS id 1; Mon, 16 Nov 2026 09:12:44 +0800",
    );

    #[test]
    fn only_our_own_hop_dates_the_mail() {
        let at = received_at(&mail(&[RECEIVED]), &config()).unwrap();
        assert_eq!(at.to_string(), "2026-11-16T01:12:44Z");
        let foreign = (TraceField::Received, "from x by mx.evil.example; Mon, 16 Nov 2026 09:12:44 +0800");
        assert!(received_at(&mail(&[foreign, RECEIVED]), &config()).is_none());
        assert!(received_at(&mail(&[]), &config()).is_none());
    }

    #[test]
    fn a_result_that_somebody_else_wrote_counts_for_nothing() {
        use TraceField::AuthenticationResults as Ar;
        let ours = (Ar, "mx.ppio.example; spf=fail smtp.mailfrom=a; dkim=none; dmarc=fail (p=none)");
        let forged = (Ar, "mx.ppio.example; dmarc=pass header.from=a");
        let foreign = (Ar, "mx.evil.example; dmarc=pass");
        let older = (TraceField::Received, "from y by z.example; Mon, 16 Nov 2026 09:00:00 +0800");
        assert_eq!(authentication(&mail(&[RECEIVED, ours, forged]), &config()), AuthSummary::Fail);
        assert_eq!(authentication(&mail(&[RECEIVED, foreign]), &config()), AuthSummary::None);
        assert_eq!(authentication(&mail(&[RECEIVED, older, forged]), &config()), AuthSummary::None);
    }

    #[test]
    fn a_comment_cannot_pass() {
        use TraceField::AuthenticationResults as Ar;
        let sly = (Ar, "mx.ppio.example; spf=pass (x; dmarc=pass) smtp.mailfrom=a; dkim=none; dmarc=none");
        assert_eq!(authentication(&mail(&[RECEIVED, sly]), &config()), AuthSummary::SpfOnly);
    }
}
