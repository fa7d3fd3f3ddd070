//! What the disclosures of one instruction say: the subject and the act's private values.
//!
//! Every digest has exactly one disclosure and every disclosure exactly one
//! digest, at a place of its own kind. Withholding one would change the order,
//! so it is refused here, at admission and again beside the data.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde_json::{Map, Value};

use super::digest::Digest;
use super::sd;
use super::statement::SignedStatement;
use crate::domain::{Act, Identifier, Reason, Refusal};

/// A user id, an address or a device id is short.
const MAX_VALUE_BYTES: usize = 512;
const MAX_REPLY_BYTES: usize = 16 * 1024;
const MAX_CORRECTIONS: usize = 32;

/// The personal values of the act. `Debug` shows which, not what.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Private {
    #[default]
    None,
    Reply {
        text: String,
        to: String,
    },
    /// Field name to new value (string, integer, boolean or null).
    Rectify {
        set: BTreeMap<String, Value>,
    },
    /// The account of the third party that a transfer goes to.
    Export {
        account: String,
    },
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Private::None => "None",
            Private::Reply { .. } => "Reply",
            Private::Rectify { .. } => "Rectify",
            Private::Export { .. } => "Export",
        })
    }
}

/// Opens the disclosures and puts each in its place. The identifiers come in the payload's order.
pub(super) fn open(
    statement: &SignedStatement,
    disclosures: &[String],
) -> Result<(Vec<Identifier>, Private), Refusal> {
    let opened = sd::open_all(disclosures)?;

    let mut places: HashMap<Digest, usize> = HashMap::new();
    let subjects = statement.sub_digests.len();
    for (place, digest) in statement.sub_digests.iter().chain(&statement.private_digests).enumerate() {
        places.insert(*digest, place);
    }
    let mut elements: Vec<Option<Value>> = vec![None; subjects];
    let mut private = Map::new();
    let mut open_private = statement.private_digests.len();
    for (index, disclosure) in opened.into_iter().enumerate() {
        let at = |reason| Refusal::at(reason, format!("disclosures[{index}]"));
        let place = places.remove(&disclosure.digest).ok_or_else(|| at(Reason::DisclosureAlien))?;
        match (disclosure.name, elements.get_mut(place)) {
            (None, Some(slot)) => *slot = Some(disclosure.value),
            (Some(name), None) => {
                open_private -= 1;
                if private.insert(name, disclosure.value).is_some() {
                    return Err(at(Reason::MemberDuplicate));
                }
            }
            _ => return Err(at(Reason::DisclosureAlien).note("of the other kind than its place")),
        }
    }

    let elements: Vec<Value> = elements
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| Refusal::at(Reason::DisclosureMissing, "payload.sub_id"))?;
    if open_private > 0 {
        return Err(Refusal::at(Reason::DisclosureMissing, "payload.private"));
    }
    let mut subject: Vec<Identifier> = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let identifier = read_identifier(element, index, statement)?;
        if subject.contains(&identifier) {
            return Err(Refusal::at(Reason::MemberInvalid, format!("payload.sub_id.identifiers[{index}]"))
                .note("stands twice"));
        }
        let is_user = |one: &Identifier| matches!(one, Identifier::IssSub { .. });
        if is_user(&identifier) && subject.iter().any(is_user) {
            // Whether two user ids are one person, nobody here can know.
            return Err(Refusal::at(Reason::SubjectMismatch, format!("payload.sub_id.identifiers[{index}]"))
                .note("one user id per instruction"));
        }
        subject.push(identifier);
    }
    Ok((subject, read_private(private, statement.act)?))
}

fn read_identifier(value: Value, index: usize, statement: &SignedStatement) -> Result<Identifier, Refusal> {
    let at = |reason| Refusal::at(reason, format!("payload.sub_id.identifiers[{index}]"));
    // serde's own message would quote the value.
    let identifier: Identifier = serde_json::from_value(value).map_err(|_| {
        at(Reason::MemberInvalid).note("must be iss_sub, email, phone_number or opaque (RFC 9493), exactly")
    })?;
    let text = identifier.value();
    if text.is_empty() || text.len() > MAX_VALUE_BYTES || text.chars().any(char::is_control) {
        return Err(at(Reason::MemberInvalid).note("is empty, over 512 bytes, or has control characters"));
    }
    match &identifier {
        Identifier::IssSub { iss, .. } => {
            if *iss != statement.app.resource_name() {
                return Err(at(Reason::SubjectMismatch));
            }
        }
        Identifier::Email { email } => {
            let two_parts = email.rsplit_once('@').is_some_and(|(local, domain)| {
                !local.is_empty() && !domain.is_empty() && !email.contains(char::is_whitespace)
            });
            if !two_parts {
                return Err(at(Reason::MemberInvalid).note("an address has a local part and a domain"));
            }
        }
        Identifier::PhoneNumber { phone_number } => {
            let digits = phone_number.strip_prefix('+').unwrap_or_default();
            if !(2..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(at(Reason::MemberInvalid).note("a phone number is E.164: + and 2 to 15 digits"));
            }
        }
        Identifier::Opaque { .. } => {}
    }
    Ok(identifier)
}

fn read_private(mut members: Map<String, Value>, act: Act) -> Result<Private, Refusal> {
    let private = match act {
        Act::Reply => Private::Reply {
            text: take_text(&mut members, "text", MAX_REPLY_BYTES)?,
            to: take_text(&mut members, "to", MAX_VALUE_BYTES)?,
        },
        Act::Export if !members.is_empty() => {
            Private::Export { account: take_text(&mut members, "account", MAX_VALUE_BYTES)? }
        }
        Act::Rectify => Private::Rectify { set: take_corrections(&mut members)? },
        _ => Private::None,
    };
    if members.is_empty() {
        Ok(private)
    } else {
        Err(Refusal::at(Reason::MemberUnknown, "private").note("a name the act does not have"))
    }
}

fn take_text(members: &mut Map<String, Value>, name: &'static str, limit: usize) -> Result<String, Refusal> {
    match members.remove(name) {
        None => Err(Refusal::at(Reason::MemberMissing, format!("private.{name}"))),
        Some(Value::String(text)) if !text.is_empty() && text.len() <= limit => Ok(text),
        Some(_) => Err(Refusal::at(Reason::MemberInvalid, format!("private.{name}"))
            .note("must be a string, not empty, within its limit")),
    }
}

fn take_corrections(members: &mut Map<String, Value>) -> Result<BTreeMap<String, Value>, Refusal> {
    let set = match members.remove("set") {
        None => return Err(Refusal::at(Reason::MemberMissing, "private.set")),
        Some(Value::Object(set)) => set,
        Some(_) => {
            return Err(Refusal::at(Reason::MemberInvalid, "private.set").note("must be an object"));
        }
    };
    let flat = set.values().all(|value| !value.is_object() && !value.is_array());
    if !flat || !(1..=MAX_CORRECTIONS).contains(&set.len()) {
        return Err(Refusal::at(Reason::MemberInvalid, "private.set")
            .note("1 to 32 fields, each with a string, integer, boolean or null"));
    }
    Ok(set.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::InstructionDraft;
    use crate::token::fixtures::{disclosure, draft, reason_when};

    const SALT: &str = "AAECAwQFBgcICQoLDA0ODw";

    /// The first identifier replaced by this disclosure text.
    fn first(text: &str) -> Reason {
        reason_when(&draft(Act::Erase), |payload, disclosures| {
            let (disclosure, placeholder) = disclosure(text);
            disclosures[0] = disclosure;
            payload["sub_id"]["identifiers"][0] = placeholder;
        })
    }

    #[test]
    fn a_withheld_disclosure_is_refused() {
        let reason = reason_when(&draft(Act::Erase), |_, disclosures| drop(disclosures.pop()));
        assert_eq!(reason, Reason::DisclosureMissing);
        let reply = InstructionDraft {
            private: Private::Reply { text: "t".into(), to: "a@b.example".into() },
            ..draft(Act::Reply)
        };
        let reason = reason_when(&reply, |_, disclosures| drop(disclosures.pop()));
        assert_eq!(reason, Reason::DisclosureMissing);
    }

    #[test]
    fn a_repeated_disclosure_or_digest_is_refused() {
        let reason =
            reason_when(&draft(Act::Erase), |_, disclosures| disclosures.push(disclosures[0].clone()));
        assert_eq!(reason, Reason::DisclosureRepeated);
        let reason = reason_when(&draft(Act::Erase), |payload, _| {
            payload["sub_id"]["identifiers"][1] = payload["sub_id"]["identifiers"][0].clone();
        });
        assert_eq!(reason, Reason::DisclosureRepeated);
    }

    #[test]
    fn an_alien_disclosure_is_refused() {
        let (alien, _) = disclosure(&format!(r#"["{SALT}",{{"format":"opaque","id":"x"}}]"#));
        let reason = reason_when(&draft(Act::Erase), |_, disclosures| disclosures.push(alien));
        assert_eq!(reason, Reason::DisclosureAlien);
        // A member's disclosure in an element's place, and the reverse.
        assert_eq!(
            first(&format!(r#"["{SALT}","id",{{"format":"opaque","id":"x"}}]"#)),
            Reason::DisclosureAlien
        );
        let rectify = InstructionDraft {
            private: Private::Rectify { set: [("city".to_owned(), json!("x"))].into() },
            ..draft(Act::Rectify)
        };
        let reason = reason_when(&rectify, |payload, disclosures| {
            let (element, placeholder) = disclosure(&format!(r#"["{SALT}",{{"city":"x"}}]"#));
            disclosures[2] = element;
            payload["private"]["_sd"][0] = placeholder["..."].clone();
        });
        assert_eq!(reason, Reason::DisclosureAlien);
        // Digests where the profile takes none.
        let top = reason_when(&draft(Act::Erase), |payload, _| payload["_sd"] = json!([Digest::of("x")]));
        assert_eq!(top, Reason::DisclosureAlien);
        let sub = reason_when(&draft(Act::Erase), |payload, _| payload["sub_id"]["_sd"] = json!([]));
        assert_eq!(sub, Reason::DisclosureAlien);
    }

    #[test]
    fn a_nested_disclosure_is_refused() {
        let digest = Digest::of("x");
        assert_eq!(
            first(&format!(r#"["{SALT}",{{"format":"opaque","_sd":["{digest}"]}}]"#)),
            Reason::DisclosureNested
        );
        assert_eq!(first(&format!(r#"["{SALT}",{{"...":"{digest}"}}]"#)), Reason::DisclosureNested);
    }

    #[test]
    fn weak_and_equal_salts_are_refused() {
        assert_eq!(first(r#"["c2FsdA",{"format":"opaque","id":"x"}]"#), Reason::SaltWeak);
        let reason = reason_when(&draft(Act::Erase), |payload, disclosures| {
            for at in 0..2 {
                let (text, placeholder) =
                    disclosure(&format!(r#"["{SALT}",{{"format":"opaque","id":"x{at}"}}]"#));
                disclosures[at] = text;
                payload["sub_id"]["identifiers"][at] = placeholder;
            }
        });
        assert_eq!(reason, Reason::SaltWeak);
    }

    #[test]
    fn an_identifier_is_one_of_rfc_9493_exactly() {
        for value in [
            r#""u_1""#,
            r#"{"format":"iss_sub","iss":"apps/xingyu-live"}"#,
            r#"{"format":"opaque","id":"x","note":"y"}"#,
            r#"{"format":"opaque","id":""}"#,
            r#"{"format":"opaque","id":"a\u0000b"}"#,
            r#"{"format":"email","email":"nobody"}"#,
            r#"{"format":"phone_number","phone_number":"13800000000"}"#,
            r#"{"format":"account","uri":"acct:x@y.example"}"#,
            r#"{"format":"aliases","identifiers":[]}"#,
            r#"{"format":"opaque","id":"device-7f31c2"}"#, // stands at the second place already
        ] {
            assert_eq!(first(&format!(r#"["{SALT}",{value}]"#)), Reason::MemberInvalid, "{value}");
        }
        let foreign = r#"{"format":"iss_sub","iss":"apps/other","sub":"u_1"}"#;
        assert_eq!(first(&format!(r#"["{SALT}",{foreign}]"#)), Reason::SubjectMismatch);
    }

    #[test]
    fn private_names_are_those_of_the_act() {
        let reply = InstructionDraft {
            private: Private::Reply { text: "t".into(), to: "a@b.example".into() },
            ..draft(Act::Reply)
        };
        let renamed = |name: &str, value: Value| {
            reason_when(&reply, |payload, disclosures| {
                let (text, placeholder) = disclosure(&json!([SALT, name, value]).to_string());
                let old = Digest::of(&disclosures[3]).to_string();
                disclosures[3] = text;
                for digest in payload["private"]["_sd"].as_array_mut().unwrap() {
                    if *digest == old {
                        *digest = placeholder["..."].clone();
                    }
                }
            })
        };
        assert_eq!(renamed("account", json!("x")), Reason::MemberMissing);
        assert_eq!(renamed("to", json!(7)), Reason::MemberInvalid);
        assert_eq!(renamed("text", json!("again")), Reason::MemberDuplicate);
        let more = reason_when(&reply, |payload, disclosures| {
            let (text, placeholder) = disclosure(&json!([SALT, "set", {"a": 1}]).to_string());
            disclosures.push(text);
            payload["private"]["_sd"].as_array_mut().unwrap().push(placeholder["..."].clone());
        });
        assert_eq!(more, Reason::MemberUnknown);
    }

    #[test]
    fn debug_shows_no_personal_value() {
        let private = Private::Reply { text: "geheim".into(), to: "a@b.example".into() };
        assert_eq!(format!("{private:?}"), "Reply");
    }
}
