//! What the verifier says: for a person, or as one JSON object.

use std::process::ExitCode;

use mandate::authority::proven::Proven;
use mandate::authority::published::{Fault, Report, SinceReport};
use mandate::authority::{Verdict, pins::Pins};
use mandate::domain::Timestamp;
use mandate::say;
use serde_json::{Value, json};

/// Exit 2: the question could not be answered.
pub struct Unanswered(pub String);

/// How it ended.
pub enum Outcome {
    Good { text: String, json: Value },
    NotGood { text: String, json: Value },
}

impl Outcome {
    fn good(kind: &str, text: String, found: impl serde::Serialize) -> Result<Self, Unanswered> {
        let mut json = serde_json::to_value(found)
            .map_err(|_| Unanswered("the result cannot be written as JSON".to_owned()))?;
        json["good"] = true.into();
        json["verified"] = kind.into();
        Ok(Outcome::Good { text, json })
    }

    pub fn not_good(kind: &str, which: Option<&str>, rule: Option<&str>, what: &str) -> Self {
        let text = match (which, rule) {
            (Some(which), Some(rule)) => format!("{which} breaks {rule}: {what}"),
            (Some(which), None) => format!("{which}: {what}"),
            _ => what.to_owned(),
        };
        let mut json = json!({"good": false, "verified": kind, "what": what});
        if let Some(which) = which {
            json["which"] = which.into();
        }
        if let Some(rule) = rule {
            json["rule"] = rule.into();
        }
        Outcome::NotGood { text, json }
    }

    /// `now` is this machine's clock, which proves nothing: what is later gets a note, and changes no verdict.
    pub fn logs(verdict: Result<Report, Fault>, pins: &Pins, now: Timestamp) -> Result<Self, Unanswered> {
        match verdict {
            Ok(report) => {
                let mut good = Self::good("trail", logs_text(&report, pins), &report)?;
                if let Outcome::Good { text, json } = &mut good
                    && report.summary.until.as_second() > now.as_second() + CLOCKS_APART
                {
                    text.push_str("\n  note          the last leaf is later than the clock of this machine");
                    json["later_than_now"] = true.into();
                }
                Ok(good)
            }
            Err(Fault::NotGood { which, rule, what }) => {
                Ok(Self::not_good("trail", Some(&which), rule.map(|rule| rule.code()), &what))
            }
            Err(fault @ Fault::Unreadable { .. }) => Err(Unanswered(fault.to_string())),
        }
    }

    pub fn evidence(verdict: &Verdict) -> Result<Self, Unanswered> {
        Self::good("evidence", format!("GOOD: {verdict}"), verdict)
    }

    pub fn receipt(verdict: Result<Proven, String>) -> Result<Self, Unanswered> {
        match verdict {
            Ok(proven) => {
                let text = format!(
                    "GOOD: {} leaf {} of {}, {} of {}, was logged at {}",
                    proven.log, proven.index, proven.size, proven.type_, proven.subject, proven.time
                );
                Self::good("receipt", text, &proven)
            }
            Err(what) => Ok(Self::not_good("receipt", None, None, &what)),
        }
    }

    /// Prints it; answers the exit code. A reader that is gone does not change the verdict; one that did not get
    /// all of it has no answer.
    pub fn show(&self, as_json: bool) -> Result<ExitCode, Unanswered> {
        let (text, json, code) = match self {
            Outcome::Good { text, json } => (text.clone(), json, ExitCode::SUCCESS),
            Outcome::NotGood { text, json } => (format!("NOT GOOD: {text}"), json, ExitCode::from(1)),
        };
        let line = if as_json { json.to_string() } else { text };
        say!("{line}");
        match say::lost() {
            None => Ok(code),
            Some(error) => Err(Unanswered(format!("what was printed is not whole: {error}"))),
        }
    }
}

/// Seconds by which a leaf may be later than this machine's clock without a note.
const CLOCKS_APART: i64 = 300;

fn logs_text(report: &Report, pins: &Pins) -> String {
    let summary = &report.summary;
    let mut lines = vec![
        format!("GOOD: {}, {} leaves until {}", pins.trail.origin, summary.trail_size, summary.until),
        format!("  root          {}", report.trail_root),
        match &report.authority_fresh_at {
            Some(fresh) => {
                format!("  authority     {} leaves, the newest at {fresh}", summary.authority_size)
            }
            None => format!("  authority     {} leaves", summary.authority_size),
        },
        format!("  witnesses     {} cosigned, {} are asked for", report.witnesses, pins.witnesses.required),
        format!(
            "  registered    {} controllers, {} apps, {} agents",
            summary.controllers, summary.apps, summary.agents
        ),
        format!("  cases         {}", summary.requests),
        format!("  instructions  {}", summary.instructions),
        format!("  executions    {}, of which {} have ended", summary.executions, summary.ended),
    ];
    lines.extend(
        report
            .other_keys
            .iter()
            .map(|name| format!("  note          {name} signed with a key that is not pinned: not counted")),
    );
    lines.extend(report.breaks.iter().map(|one| format!("  BREAK         {one}")));
    lines.extend(report.restarts.iter().map(|one| format!("  BREAK         {one}")));
    if let Some(since) = &report.since {
        lines.extend(since_lines(since, summary.trail_size));
    }
    lines.push("  leaves by type".to_owned());
    lines.extend(summary.leaves.iter().map(|(name, count)| format!("    {count:>8}  {name}")));
    lines.join("\n")
}

/// What was checked again and what an earlier audit is believed for.
fn since_lines(since: &SinceReport, size: u64) -> Vec<String> {
    let SinceReport { trail, authority, reread } = since;
    let mut lines = Vec::new();
    if *trail > 0 {
        lines.push(format!("  since         the trail continues its first {trail} leaves, unchanged"));
        lines.push(format!(
            "    checked     all of it: hashes, form, order and histories of all {size} leaves"
        ));
        lines.push(format!(
            "    checked     signatures and agreements of the {} newer leaves, and of {reread} older ones they rest on",
            size - trail
        ));
        lines.push(format!(
            "    NOT checked signatures and agreements of the other leaves before {trail}: the audit of that checkpoint is believed"
        ));
    }
    if let Some(size) = authority {
        lines.push(format!(
            "  since         the authority log continues its first {size} leaves; checked whole"
        ));
    }
    lines
}
