//! The agent's signed report: what it did for one order on one store.
//!
//! Compact JWS, `typ: report+jwt`. It repeats the instruction's digest and the
//! subject digests it acted on, so that an auditor can hold deed against order
//! without the gateway's word. It holds codes, counts and digests, no personal data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, KeyId};
use super::json;
use super::jwk::VerifyingKey;
use super::jws::{Jws, JwsError, Profile};
use super::private_key::PrivateKey;
use crate::domain::ids::IdError;
use crate::domain::{Act, AgentId, ExecutionId, Ground, InstructionId, Reason, Refusal, StoreId};

pub const MAX_REPORT_BYTES: usize = 64 * 1024;
const MAX_COLLECTIONS: usize = 256;
const MAX_GROUNDS: usize = 16;

const PROFILE: Profile = Profile { typ: "report+jwt", max_payload: 32 * 1024, max_signatures: 1 };

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportOutcome {
    /// Every collection is done or lawfully retained.
    Completed,
    /// The agent's own warrant was refused, or more was found than was seen; nothing was touched.
    Refused,
    /// Given up.
    Failed,
    /// Some of it is done; the rest is tried again or needs a person.
    Partial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CollectionOutcome {
    Erased,
    Exported,
    /// A preview looked, or an order was refused because there is more than a preview showed.
    Counted,
    /// Lawfully stays: `ground` says why and `until` how long. What is shared with others or was not
    /// instructed stays without a date.
    Retained,
    /// Left out without a lawful ground: not mapped, not reached, or nothing shows that its rows may stay. A
    /// report with one is not completed.
    Excluded,
}

/// Rows that stay in a collection, on one ground or on none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptReport {
    /// Left out where the identifiers lead to none of its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Left out where nothing says that they may stay: then the report is not completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<Ground>,
    /// Seconds; the latest of theirs. Left out where the ground has no end, and where none can be shown: then the
    /// report is not completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// One table, bucket or list of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionReport {
    /// Its name in the data map: letters, digits and `_ . : / -`, at most 128.
    pub collection: String,
    pub outcome: CollectionOutcome,
    /// Left out of a preview, whose counts are sealed for the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<Ground>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Every stay, where `rows`, `ground` and `until` do not say it all: beside rows that went, on several
    /// grounds, or without an end to show. Left out where they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptReport>,
}

impl CollectionReport {
    /// Rows that were found: those that went, or were counted, and those that stay.
    pub fn found(&self) -> u64 {
        let kept: u64 = self.kept.iter().filter_map(|kept| kept.rows).sum();
        let says_it_all = self.outcome == CollectionOutcome::Retained && self.kept.is_empty();
        let acted = !matches!(self.outcome, CollectionOutcome::Retained | CollectionOutcome::Excluded);
        let rows = self.rows.filter(|_| acted || says_it_all).unwrap_or_default();
        kept.saturating_add(rows)
    }

    /// Done, or lawfully retained, until a date where the ground has an end: what a completed report is made of.
    fn is_done(&self) -> bool {
        self.outcome != CollectionOutcome::Excluded
            && self.ground.is_none_or(|ground| ground.holds(self.until))
            && self.kept.iter().all(|kept| kept.ground.is_some_and(|ground| ground.holds(kept.until)))
    }
}

/// A log's size and root, as the agent had replicated it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityHead {
    pub size: u64,
    pub root: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewReport {
    pub digest: Digest,
    pub as_of: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportReport {
    /// SHA-256 of the encrypted package.
    pub digest: Digest,
    /// Bytes of the encrypted package.
    pub size: u64,
    /// SHA-256 of the recipient's text in the instruction.
    pub recipient_digest: Digest,
}

/// Where the agent's ledger stood when it reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerHead {
    pub sequence: u64,
    pub head: Digest,
}

/// The claims of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub agent: AgentId,
    /// The trail's origin.
    pub aud: String,
    /// UUIDv7.
    pub jti: uuid::Uuid,
    pub iat: i64,
    pub execution: ExecutionId,
    pub instruction: InstructionId,
    pub instruction_digest: Digest,
    /// The `sub_id` digests acted on.
    pub sub_digests: Vec<Digest>,
    pub act: Act,
    pub store: StoreId,
    /// From 1.
    pub attempt: u32,
    pub outcome: ReportOutcome,
    /// Why it was refused, failed or is partial.
    pub reason: Option<Reason>,
    /// Version of the data map; shape as a collection's name, at most 64.
    pub map_version: String,
    pub authority: AuthorityHead,
    pub collections: Vec<CollectionReport>,
    pub preview: Option<PreviewReport>,
    pub export: Option<ExportReport>,
    pub ledger: LedgerHead,
}

/// The claims as they stand on the wire.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    iss: String,
    aud: String,
    jti: String,
    iat: i64,
    execution: String,
    instruction: String,
    instruction_digest: Digest,
    sub_digests: Vec<Digest>,
    act: Act,
    store: StoreId,
    attempt: u32,
    outcome: ReportOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    map_version: String,
    authority: AuthorityHead,
    collections: Vec<CollectionReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preview: Option<PreviewReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    export: Option<ExportReport>,
    ledger: LedgerHead,
}

fn invalid(rule: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::at(Reason::ReportInvalid, "report").note(rule)
}

fn refuse(error: JwsError) -> Refusal {
    match error {
        JwsError::TooLarge(_) => invalid("too large"),
        JwsError::Malformed(rule) | JwsError::Header(rule) => invalid(rule),
        JwsError::Encoding(_) => invalid("not canonical base64url"),
        JwsError::Algorithm => invalid("the algorithm is not the key's"),
        JwsError::Signature => invalid("the signature does not verify"),
    }
}

impl Report {
    /// Checks the claims' own rules and signs them with the agent's report key.
    pub fn sign(&self, key: &PrivateKey) -> Result<String, Refusal> {
        self.check()?;
        let wire = Wire {
            iss: self.agent.resource_name(),
            aud: self.aud.clone(),
            jti: self.jti.hyphenated().to_string(),
            iat: self.iat,
            execution: self.execution.resource_name(),
            instruction: self.instruction.resource_name(),
            instruction_digest: self.instruction_digest,
            sub_digests: self.sub_digests.clone(),
            act: self.act,
            store: self.store.clone(),
            attempt: self.attempt,
            outcome: self.outcome,
            reason: self.reason,
            map_version: self.map_version.clone(),
            authority: self.authority,
            collections: self.collections.clone(),
            preview: self.preview,
            export: self.export,
            ledger: self.ledger,
        };
        let payload = serde_json::to_vec(&wire).map_err(|_| invalid("cannot be written as JSON"))?;
        let jws = Jws::sign(payload, &PROFILE, &[key])?;
        jws.to_compact().ok_or_else(|| invalid("has not exactly one signature"))
    }

    /// Verifies with the agent's report key, then reads strictly. `agent` and `aud` are what the reader
    /// expects to find.
    pub fn verify(token: &str, key: &VerifyingKey, agent: &AgentId, aud: &str) -> Result<Self, Refusal> {
        Self::verify_by(token, &[key], agent, [aud]).map(|(report, _)| report)
    }

    /// The same where any of these keys may have signed, and the report may be addressed to any of these
    /// origins: a trail that had another one when it was signed. Answers which key it was, too.
    pub fn verify_by<'a>(
        token: &str,
        keys: &[&VerifyingKey],
        agent: &AgentId,
        auds: impl IntoIterator<Item = &'a str>,
    ) -> Result<(Self, KeyId), Refusal> {
        if token.len() > MAX_REPORT_BYTES {
            return Err(invalid("over 64 KiB"));
        }
        let jws = Jws::read_compact(token, &PROFILE).map_err(refuse)?;
        let [signature] = jws.signatures() else { return Err(invalid("has not exactly one signature")) };
        let key = keys.iter().find(|key| key.id() == signature.kid);
        let key = key.ok_or_else(|| invalid("kid is no report key of the agent's that counts"))?;
        jws.verify(signature, key).map_err(refuse)?;
        let map = json::read_object(jws.payload()).map_err(|error| invalid(error.to_string()))?;
        let wire: Wire = serde_json::from_value(serde_json::Value::Object(map))
            .map_err(|_| invalid("a member is missing, unknown or has a value it cannot have"))?;
        let report = Self::from_wire(wire)?;
        if report.agent != *agent || !auds.into_iter().any(|aud| aud == report.aud) {
            return Err(invalid("iss or aud is another's"));
        }
        report.check()?;
        Ok((report, key.id()))
    }

    fn from_wire(wire: Wire) -> Result<Self, Refusal> {
        let id = |error: IdError| invalid(error.rule);
        // Reads as a UUIDv7 in its one spelling.
        let jti: InstructionId = wire.jti.parse().map_err(id)?;
        Ok(Self {
            agent: AgentId::from_resource_name(&wire.iss).map_err(id)?,
            aud: wire.aud,
            jti: *jti.as_uuid(),
            iat: wire.iat,
            execution: ExecutionId::from_resource_name(&wire.execution).map_err(id)?,
            instruction: InstructionId::from_resource_name(&wire.instruction).map_err(id)?,
            instruction_digest: wire.instruction_digest,
            sub_digests: wire.sub_digests,
            act: wire.act,
            store: wire.store,
            attempt: wire.attempt,
            outcome: wire.outcome,
            reason: wire.reason,
            map_version: wire.map_version,
            authority: wire.authority,
            collections: wire.collections,
            preview: wire.preview,
            export: wire.export,
            ledger: wire.ledger,
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.iat < 0 || self.attempt == 0 {
            return Err(invalid("attempts count from 1, seconds from 0"));
        }
        let complete = self.outcome == ReportOutcome::Completed;
        if complete == self.reason.is_some() {
            return Err(invalid("a report has a reason exactly when it is not completed"));
        }
        let refused = self.outcome == ReportOutcome::Refused;
        let counted = |of: &CollectionReport| of.outcome == CollectionOutcome::Counted;
        if refused && !self.collections.iter().all(counted) {
            return Err(invalid("a refused order touched no collection"));
        }
        if refused && !self.collections.is_empty() && self.reason != Some(Reason::PreviewCountMoved) {
            return Err(invalid("a refused order tells of what was counted where that is why"));
        }
        if !is_name(&self.map_version, 64) || self.collections.len() > MAX_COLLECTIONS {
            return Err(invalid("map_version or the number of collections is out of bounds"));
        }
        for (index, collection) in self.collections.iter().enumerate() {
            if !is_name(&collection.collection, 128) {
                return Err(invalid("a collection's name is letters, digits and _ . : / -"));
            }
            if self.collections[..index].iter().any(|before| before.collection == collection.collection) {
                return Err(invalid("a collection stands twice"));
            }
            let retained = collection.outcome == CollectionOutcome::Retained;
            if retained && (collection.ground.is_none() || !collection.is_done()) {
                return Err(invalid("what is retained names its ground and until when"));
            }
            if complete && !collection.is_done() {
                return Err(invalid(
                    "a completed report leaves nothing out, and shows until when what stays may",
                ));
            }
            if collection.kept.len() > MAX_GROUNDS {
                return Err(invalid("the number of grounds is out of bounds"));
            }
            let fits = match collection.outcome {
                CollectionOutcome::Erased => matches!(self.act, Act::Erase | Act::ReturnAndErase),
                CollectionOutcome::Exported => matches!(self.act, Act::Export | Act::ReturnAndErase),
                CollectionOutcome::Counted => self.act == Act::Preview || refused,
                CollectionOutcome::Retained | CollectionOutcome::Excluded => true,
            };
            if !fits {
                return Err(invalid("a collection's outcome is not one of the act"));
            }
        }
        if (self.preview.is_some() && self.act != Act::Preview)
            || (self.export.is_some() && !matches!(self.act, Act::Export | Act::ReturnAndErase))
            || (complete && self.act == Act::Preview && self.preview.is_none())
            || (complete && self.act == Act::Export && self.export.is_none())
        {
            return Err(invalid(
                "preview and export stand with their own act, and a completed one has its own",
            ));
        }
        Ok(())
    }
}

fn is_name(text: &str, limit: usize) -> bool {
    (1..=limit).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'/' | b'-'))
}

impl fmt::Display for ReportOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReportOutcome::Completed => "completed",
            ReportOutcome::Refused => "refused",
            ReportOutcome::Failed => "failed",
            ReportOutcome::Partial => "partial",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::token::base64url;
    use crate::token::fixtures::{NOW, ORIGIN, key};

    fn report() -> Report {
        let row = |collection: &str, outcome, rows| CollectionReport {
            collection: collection.into(),
            outcome,
            rows,
            ground: None,
            until: None,
            kept: Vec::new(),
        };
        Report {
            agent: "beside-sdk".parse().unwrap(),
            aud: ORIGIN.into(),
            jti: "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88".parse().unwrap(),
            iat: NOW,
            execution: "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e81".parse().unwrap(),
            instruction: "01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e82".parse().unwrap(),
            instruction_digest: Digest::of("i"),
            sub_digests: vec![Digest::of("s")],
            act: Act::Erase,
            store: "sdk".parse().unwrap(),
            attempt: 1,
            outcome: ReportOutcome::Completed,
            reason: None,
            map_version: "2026-11-01".into(),
            authority: AuthorityHead { size: 3, root: Digest::of("r") },
            collections: vec![
                row("public.users", CollectionOutcome::Erased, Some(4)),
                CollectionReport {
                    ground: Some(Ground::LegalObligation),
                    until: Some(NOW + 9),
                    ..row("invoices", CollectionOutcome::Retained, Some(1))
                },
            ],
            preview: None,
            export: None,
            ledger: LedgerHead { sequence: 7, head: Digest::of("l") },
        }
    }

    fn verify(token: &str, name: &str) -> Result<Report, Refusal> {
        let key = VerifyingKey::new(key(name).public().clone()).unwrap();
        Report::verify(token, &key, &"beside-sdk".parse().unwrap(), ORIGIN)
    }

    /// Signed as the agent would, with this change to the JSON.
    fn changed(change: impl FnOnce(&mut Value)) -> Result<Report, Refusal> {
        let token = report().sign(&key("agent")).unwrap();
        let payload = base64url::decode(token.split('.').nth(1).unwrap()).unwrap();
        let mut payload: Value = serde_json::from_slice(&payload).unwrap();
        change(&mut payload);
        let jws = Jws::sign(payload.to_string().into_bytes(), &PROFILE, &[&key("agent")]).unwrap();
        verify(&jws.to_compact().unwrap(), "agent")
    }

    #[test]
    fn what_the_agent_signs_is_read_back() {
        let token = report().sign(&key("agent")).unwrap();
        assert_eq!(verify(&token, "agent").unwrap(), report());
        assert_eq!(changed(|_| {}).unwrap(), report());
    }

    #[test]
    fn another_key_agent_audience_or_form_is_refused() {
        let token = report().sign(&key("agent")).unwrap();
        let key_of_agent = VerifyingKey::new(key("agent").public().clone()).unwrap();
        assert!(verify(&token, "stranger").is_err());
        assert!(Report::verify(&token, &key_of_agent, &"other".parse().unwrap(), ORIGIN).is_err());
        assert!(Report::verify(&token, &key_of_agent, &"beside-sdk".parse().unwrap(), "else").is_err());
        let other_form = Profile { typ: "instruction+sd-jwt", ..PROFILE };
        let payload = base64url::decode(token.split('.').nth(1).unwrap()).unwrap();
        let jws = Jws::sign(payload, &other_form, &[&key("agent")]).unwrap();
        assert!(verify(&jws.to_compact().unwrap(), "agent").is_err());
        let (head, tail) = token.split_at(token.len() - 10);
        let spoilt = format!("{head}{}", if tail.starts_with('A') { "B" } else { "A" }) + &tail[1..];
        assert_eq!(verify(&spoilt, "agent").unwrap_err().reason, Reason::ReportInvalid);
    }

    #[test]
    fn a_report_that_contradicts_itself_is_refused() {
        let bad: [fn(&mut Value); 18] = [
            |p| p["note"] = json!("x"),
            |p| drop(p.as_object_mut().unwrap().remove("ledger")),
            |p| p["attempt"] = json!(0),
            |p| p["outcome"] = json!("failed"),
            |p| p["reason"] = json!("STORE_FAILED"),
            |p| p["reason"] = json!("BECAUSE"),
            |p| p["collections"][0]["collection"] = json!("u_8839201 wrote"),
            |p| p["collections"][0]["outcome"] = json!("counted"),
            |p| drop(p["collections"][1].as_object_mut().unwrap().remove("until")),
            |p| p["collections"][0]["ground"] = json!("legal-obligation"),
            |p| p["collections"][0]["kept"] = json!([{"rows": 4, "ground": "legal-obligation"}]),
            |p| p["collections"][0] = json!({"collection": "unmapped", "outcome": "excluded"}),
            |p| p["collections"][1]["collection"] = p["collections"][0]["collection"].clone(),
            |p| p["collections"][0]["value"] = json!("x"),
            |p| p["preview"] = json!({"digest": Digest::of("x"), "as_of": 1}),
            |p| p["act"] = json!("preview"),
            |p| p["jti"] = json!("x"),
            |p| p["execution"] = json!("instructions/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e81"),
        ];
        for (index, change) in bad.iter().enumerate() {
            let refusal = changed(change).expect_err(&format!("case {index} was taken"));
            assert_eq!(refusal.reason, Reason::ReportInvalid, "case {index}");
        }
        // What cannot be shown is told, and never as completed.
        let partly = changed(|p| {
            p["outcome"] = json!("partial");
            p["reason"] = json!("ROWS_UNDATED");
            p["collections"][0]["kept"] = json!([{"rows": 4, "ground": "legal-obligation"}]);
        });
        assert_eq!(partly.unwrap().collections[0].kept[0].rows, Some(4));
        let refused = Report {
            outcome: ReportOutcome::Refused,
            reason: Some(Reason::SignatureInvalid),
            collections: Vec::new(),
            ..report()
        };
        assert!(refused.sign(&key("agent")).is_ok());
        let touched = Report { collections: report().collections, ..refused.clone() };
        assert!(touched.sign(&key("agent")).is_err(), "a refused order touched rows");
        let counted = |reason| {
            let of =
                CollectionReport { outcome: CollectionOutcome::Counted, ..report().collections[0].clone() };
            Report { reason: Some(reason), collections: vec![of], ..refused.clone() }.sign(&key("agent"))
        };
        assert!(counted(Reason::PreviewCountMoved).is_ok());
        assert!(counted(Reason::SignatureInvalid).is_err(), "what was counted was no reason");
    }
}
