//! That an agent's report key names the one that comes after it.
//!
//! JWS General JSON of exactly two signatures, `typ: report-key+jwt`: first the key that vouches, then the
//! one it vouches for, so that nobody is vouched for who does not know of it. Payload, exactly:
//!
//! ```json
//! {"iss": "agents/<id>", "aud": "<the trail's origin>", "iat": <seconds>, "former": "<kid>", "next": <public JWK>}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::KeyId;
use super::json;
use super::jwk::{PublicJwk, VerifyingKey};
use super::jws::{Jws, Profile};
use super::private_key::PrivateKey;
use crate::domain::{AgentId, Reason, Refusal};

/// Two RSA-4096 signatures and a key of that size.
pub const MAX_BYTES: usize = 8 * 1024;

const PROFILE: Profile = Profile { typ: "report-key+jwt", max_payload: 2048, max_signatures: 2 };

/// One report key that followed on another. That it exists says that both signed it.
#[derive(Debug, Clone)]
pub struct ReportKeySuccession {
    pub agent: AgentId,
    pub former: KeyId,
    pub next: VerifyingKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    iss: String,
    aud: String,
    iat: i64,
    former: String,
    next: Value,
}

fn invalid(rule: &'static str) -> Refusal {
    Refusal::at(Reason::KeyUnsuitable, "succession").note(rule)
}

impl ReportKeySuccession {
    /// Signs it with both keys. `aud` is the trail's origin, `iat` in seconds.
    pub fn sign(
        agent: &AgentId,
        aud: &str,
        iat: i64,
        former: &PrivateKey,
        next: &PrivateKey,
    ) -> Result<String, Refusal> {
        if former.id() == next.id() {
            return Err(invalid("a key does not follow on itself"));
        }
        let wire = Wire {
            iss: agent.resource_name(),
            aud: aud.to_owned(),
            iat,
            former: former.id().to_string(),
            next: serde_json::from_str(&next.public().canonical())
                .map_err(|_| invalid("the key cannot be written as JSON"))?,
        };
        let payload = serde_json::to_vec(&wire).map_err(|_| invalid("it cannot be written as JSON"))?;
        Ok(Jws::sign(payload, &PROFILE, &[former, next])?.to_general(&[]))
    }

    /// Verifies both signatures, the first under one of the `formers`. It must be this agent's, and for one of
    /// these origins of the trail.
    pub fn verify<'a>(
        text: &str,
        formers: &[&VerifyingKey],
        agent: &AgentId,
        auds: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Refusal> {
        if text.len() > MAX_BYTES {
            return Err(invalid("over 8 KiB"));
        }
        let read = Jws::read_general(text.as_bytes(), &PROFILE);
        let (jws, header) = read.map_err(|_| invalid("no JWS General JSON of this form"))?;
        let ([first, second], None) = (jws.signatures(), header) else {
            return Err(invalid("exactly two signatures and no unprotected header"));
        };
        let former = formers.iter().find(|key| key.id() == first.kid);
        let former = former.ok_or_else(|| invalid("the key that vouches is no report key of the agent"))?;
        let bad = |_| invalid("a signature does not verify");
        jws.verify(first, former).map_err(bad)?;
        let wire: Wire = json::read_object(jws.payload())
            .ok()
            .and_then(|map| serde_json::from_value(Value::Object(map)).ok())
            .ok_or_else(|| invalid("a member is missing, unknown or has a value it cannot have"))?;
        let next = serde_json::to_vec(&wire.next).map_err(|_| invalid("next is no public key"))?;
        let next = PublicJwk::from_json(&next).and_then(VerifyingKey::new);
        let next = next.map_err(|_| invalid("next is no public key"))?;
        if next.id() != second.kid || next.id() == former.id() || wire.former != former.id().to_string() {
            return Err(invalid("it names other keys than those that signed"));
        }
        jws.verify(second, &next).map_err(bad)?;
        let addressed = auds.into_iter().any(|aud| aud == wire.aud);
        if wire.iss != agent.resource_name() || !addressed || wire.iat < 0 {
            return Err(invalid("iss or aud is another's"));
        }
        Ok(Self { agent: agent.clone(), former: former.id(), next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::fixtures::{NOW, ORIGIN, key};

    fn agent() -> AgentId {
        "beside-sdk".parse().unwrap()
    }

    fn public(name: &str) -> VerifyingKey {
        VerifyingKey::new(key(name).public().clone()).unwrap()
    }

    fn signed() -> String {
        ReportKeySuccession::sign(&agent(), ORIGIN, NOW, &key("report"), &key("agent")).unwrap()
    }

    fn verify(text: &str) -> Result<ReportKeySuccession, Refusal> {
        ReportKeySuccession::verify(text, &[&public("report")], &agent(), [ORIGIN])
    }

    /// The payload changed, and signed again by these.
    fn changed(signers: &[&str], change: impl FnOnce(&mut Value)) -> Result<ReportKeySuccession, Refusal> {
        let (jws, _) = Jws::read_general(signed().as_bytes(), &PROFILE).unwrap();
        let mut payload: Value = serde_json::from_slice(jws.payload()).unwrap();
        change(&mut payload);
        let keys: Vec<PrivateKey> = signers.iter().map(|name| key(name)).collect();
        let keys: Vec<&PrivateKey> = keys.iter().collect();
        let jws = Jws::sign(serde_json::to_vec(&payload).unwrap(), &PROFILE, &keys).unwrap();
        verify(&jws.to_general(&[]))
    }

    #[test]
    fn what_two_keys_signed_reads_back() {
        let read = verify(&signed()).unwrap();
        assert_eq!((read.former, read.next.id()), (key("report").id(), key("agent").id()));
        assert!(changed(&["report", "agent"], |_| ()).is_ok());
    }

    #[test]
    fn a_key_is_vouched_for_by_the_agents_key_and_its_own_alone() {
        assert!(changed(&["report"], |_| ()).is_err(), "the next one does not know of it");
        assert!(changed(&["agent", "report"], |_| ()).is_err());
        assert!(changed(&["ann", "agent"], |_| ()).is_err(), "another's key vouches");
        assert!(changed(&["report", "ann"], |_| ()).is_err());
        assert!(changed(&["report", "agent"], |p| p["former"] = "x".into()).is_err());
        let itself = ReportKeySuccession::sign(&agent(), ORIGIN, NOW, &key("report"), &key("report"));
        assert!(itself.is_err());
    }

    #[test]
    fn it_is_one_agents_and_for_one_trail() {
        assert!(changed(&["report", "agent"], |p| p["iss"] = "agents/beside-rooms".into()).is_err());
        assert!(changed(&["report", "agent"], |p| p["aud"] = "other.example/trail".into()).is_err());
        assert!(changed(&["report", "agent"], |p| p["more"] = 1.into()).is_err());
        let former = ["old.example/trail", ORIGIN];
        assert!(ReportKeySuccession::verify(&signed(), &[&public("report")], &agent(), former).is_ok());
    }

    #[test]
    fn a_report_is_no_succession_and_a_signature_that_was_touched_none() {
        let text = signed();
        let at = text.rfind(r#""signature":""#).unwrap() + 20;
        let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        let touched = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        assert!(verify(&touched).is_err());
        let (jws, _) = Jws::read_general(text.as_bytes(), &PROFILE).unwrap();
        let report = Profile { typ: "report+jwt", ..PROFILE };
        let keys = [&key("report"), &key("agent")];
        let as_report = Jws::sign(jws.payload().to_vec(), &report, &keys).unwrap();
        assert!(verify(&as_report.to_general(&[])).is_err());
        assert!(verify("").is_err() && verify("{}").is_err() && verify(&"x".repeat(MAX_BYTES + 1)).is_err());
    }
}
