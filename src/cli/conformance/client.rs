//! An enterprise's client, held against published inputs: what it signed, and what is wrong with it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::brought::Brought;
use super::sequence::Step;
use super::world::{Circumstances, Taken, World};
use crate::cli::print::print;
use crate::cli::{CliError, files};
use crate::domain::{Reason, Refusal};
use crate::say;
use crate::token::{Instruction, Private, base64url};

/// `client.json` beside the vectors: what a client is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    instructions: Vec<Order>,
    access_tokens: Vec<Token>,
    /// What others signed, good and bad.
    pub(super) brought: Vec<Brought>,
}

/// Names of the world's keys sign, in any order. `members` is the payload but for `sub_id` and `private`,
/// whose values are to be disclosed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: String,
    what: String,
    file: String,
    keys: Vec<String>,
    members: Map<String, Value>,
    subject: Vec<Value>,
    private: Map<String, Value>,
    /// What the gateway has seen when it arrives.
    #[serde(default)]
    before: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    name: String,
    what: String,
    file: String,
    #[serde(rename = "key")]
    _key: String,
    claims: Map<String, Value>,
}

/// What is wrong with what a client signed: a reason code or `DIFFERENT`, what exactly, what to change.
pub(super) struct Fault {
    pub code: &'static str,
    pub what: String,
    pub change: String,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, field, note } = refusal;
        let place = field.map(|field| format!(" [{field}]")).unwrap_or_default();
        let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
        let what = format!("{}{place}{note}", reason.what());
        Fault { code: reason.code(), what, change: reason.remedy().to_owned() }
    }
}

pub(super) fn different(what: impl Into<String>, change: &str) -> Fault {
    Fault { code: "DIFFERENT", what: what.into(), change: change.to_owned() }
}

/// How many cases were right, and how many wrong or missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub right: usize,
    pub wrong: usize,
}

impl Count {
    fn tell(&mut self, as_json: bool, name: &str, what: &str, verdict: Result<(), Fault>) {
        match &verdict {
            Ok(()) => self.right += 1,
            Err(_) => self.wrong += 1,
        }
        if as_json {
            let (code, detail, change) = match verdict {
                Ok(()) => ("OK", None, None),
                Err(fault) => (fault.code, Some(fault.what), Some(fault.change)),
            };
            print(
                true,
                &json!({"case": name, "what": what, "answer": code, "detail": detail, "change": change}),
            );
            return;
        }
        match verdict {
            Ok(()) => say!("ok     {name}: {what}"),
            Err(fault) => {
                say!("WRONG  {name}: {what}\n       {}: {}\n       {}", fault.code, fault.what, fault.change)
            }
        }
    }
}

/// Judges the folder of what a client signed: one file for each case.
pub async fn run(world: &World, cases: &Cases, folder: &Path, as_json: bool) -> Result<Count, CliError> {
    let mut count = Count::default();
    for order in &cases.instructions {
        let verdict = given(folder, &order.file).and_then(|text| order.judge(&text, world));
        count.tell(as_json, &order.name, &order.what, verdict);
    }
    for token in &cases.access_tokens {
        let verdict = match given(folder, &token.file) {
            Err(fault) => Err(fault),
            Ok(text) => match world.access_token(&format!("Bearer {text}"), None).await {
                Err(refusal) => Err(refusal.into()),
                Ok(()) => same_members(&token.claims, &members_of(&text)),
            },
        };
        count.tell(as_json, &token.name, &token.what, verdict);
    }
    for case in &cases.brought {
        let verdict = given(folder, &case.file).and_then(|text| case.judge(&text, world));
        count.tell(as_json, &case.name, &case.what, verdict);
    }
    Ok(count)
}

/// The file without the line's end that an editor or `echo` leaves.
fn given(folder: &Path, file: &str) -> Result<String, Fault> {
    let missing = |_| Fault {
        code: "MISSING",
        what: format!("there is no readable file {file}"),
        change: "sign the input and write what you would send".to_owned(),
    };
    let bytes = files::read(&folder.join(file)).map_err(missing)?;
    let text = String::from_utf8(bytes).map_err(|_| different("the file is no text", "write ASCII text"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The members of a signed text that verified: of the compact form's second segment or General JSON's payload.
fn members_of(text: &str) -> Map<String, Value> {
    let general: Option<Value> = text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten();
    let segment = match &general {
        Some(general) => general["payload"].as_str(),
        None => text.split('.').nth(1),
    };
    let bytes = segment.and_then(|segment| base64url::decode(segment).ok());
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn same_members(expected: &Map<String, Value>, members: &Map<String, Value>) -> Result<(), Fault> {
    for (name, value) in expected {
        match members.get(name) {
            Some(given) if given == value => {}
            Some(_) => {
                return Err(different(
                    format!("{name} has another value than the input gives"),
                    "sign the value given",
                ));
            }
            None => return Err(different(format!("{name} is missing"), "sign every member given")),
        }
    }
    match members.keys().find(|name| !expected.contains_key(*name)) {
        Some(_) => Err(different(
            "a member stands there that the input does not give",
            "sign the members given alone",
        )),
        None => Ok(()),
    }
}

impl Order {
    fn judge(&self, text: &str, world: &World) -> Result<(), Fault> {
        let under = Circumstances { before: self.before.clone(), ..Circumstances::default() };
        let Taken { instruction, waits } = world.instruction(text, &under)?;
        if waits {
            return Err(Refusal::new(Reason::ThresholdNotMet).into());
        }
        self.held_against(text, &instruction, world)
    }

    fn held_against(&self, text: &str, instruction: &Instruction, world: &World) -> Result<(), Fault> {
        let mut members = members_of(text);
        members.remove("sub_id");
        members.remove("private");
        same_members(&self.members, &members)?;
        if serde_json::to_value(instruction.subject()).ok() != Some(json!(self.subject)) {
            return Err(different(
                "the disclosures name another subject",
                "disclose the identifiers given, in their order",
            ));
        }
        if private_of(instruction.private()) != self.private {
            return Err(different(
                "other private members are disclosed",
                "disclose the private members given",
            ));
        }
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for kid in instruction.envelope().kids() {
            *counted.entry(world.key_name(&kid.to_string()).unwrap_or("?").to_owned()).or_default() += 1;
        }
        let expected: BTreeMap<String, usize> = self.keys.iter().map(|key| (key.clone(), 1)).collect();
        if counted != expected {
            return Err(different("other keys have signed, or one twice", "sign once with each key given"));
        }
        Ok(())
    }
}

fn private_of(private: &Private) -> Map<String, Value> {
    let value = match private {
        Private::None => json!({}),
        Private::Reply { text, to } => json!({"text": text, "to": to}),
        Private::Rectify { set } => json!({"set": set}),
        Private::Export { account } => json!({"account": account}),
    };
    value.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{CLIENT, WORLD};
    use super::*;
    use crate::token::{Digest, PrivateKey, ToSign};

    pub fn private_key(name: &str) -> PrivateKey {
        let world: Value = serde_json::from_str(WORLD).unwrap();
        PrivateKey::from_jwk(world["keys"][name]["jwk"].to_string().as_bytes()).unwrap()
    }

    /// A small client: one signer, salts that are not random.
    fn sign(members: &Map<String, Value>, subject: &[Value], key: &PrivateKey) -> String {
        let disclosures: Vec<String> = subject
            .iter()
            .enumerate()
            .map(|(at, value)| {
                base64url::encode(json!([base64url::encode([at as u8; 16]), value]).to_string())
            })
            .collect();
        let digests: Vec<Value> = disclosures.iter().map(|text| json!({"...": Digest::of(text)})).collect();
        let mut payload = members.clone();
        if !digests.is_empty() {
            payload.insert("sub_id".into(), json!({"format": "aliases", "identifiers": digests}));
        }
        let payload = base64url::encode(Value::Object(payload).to_string());
        let to_sign = ToSign::new("instruction+sd-jwt", &payload, key.public().clone()).unwrap();
        let signature = key.sign(to_sign.bytes()).unwrap();
        let signature = to_sign.signed(&signature).unwrap();
        let jws = format!("{}.{payload}.{}", signature.protected_segment(), signature.signature_segment());
        [jws].into_iter().chain(disclosures).map(|part| part + "~").collect()
    }

    async fn judge(
        order: &str,
        change: impl FnOnce(&mut Map<String, Value>, &mut Vec<Value>),
        key: &str,
    ) -> &'static str {
        let world = World::read(WORLD.as_bytes()).unwrap();
        let cases: Cases = serde_json::from_str(CLIENT).unwrap();
        let case = cases.instructions.into_iter().find(|case| case.name == order).unwrap();
        let (mut members, mut subject) = (case.members.clone(), case.subject.clone());
        change(&mut members, &mut subject);
        let text = sign(&members, &subject, &private_key(key));
        case.judge(&text, &world).err().map_or("OK", |fault| fault.code)
    }

    #[tokio::test]
    async fn what_was_asked_for_is_right_and_anything_else_is_named() {
        assert_eq!(judge("preview-eddsa", |_, _| {}, "ed").await, "OK");
        assert_eq!(judge("preview-unicode", |_, _| {}, "ed").await, "OK");
        assert_eq!(judge("preview-eddsa", |_, _| {}, "p256").await, "DIFFERENT");
        assert_eq!(judge("preview-eddsa", |_, _| {}, "stranger").await, "KEY_UNKNOWN");
        assert_eq!(judge("preview-eddsa", |m, _| m["basis"] = json!("gdpr-17"), "ed").await, "DIFFERENT");
        assert_eq!(
            judge("preview-eddsa", |m, _| m["iat"] = json!("1795420800"), "ed").await,
            "MEMBER_INVALID"
        );
        assert_eq!(judge("preview-everything", |m, _| drop(m.remove("req")), "ed").await, "DIFFERENT");
        assert_eq!(
            judge("preview-eddsa", |m, _| drop(m.insert("stores".into(), json!(["sdk"]))), "ed").await,
            "DIFFERENT"
        );
        assert_eq!(judge("preview-everything", |_, s| s.reverse(), "ed").await, "DIFFERENT");
        assert_eq!(judge("erase-two-signers", |_, _| {}, "ed").await, "THRESHOLD_NOT_MET");
        assert_eq!(judge("return-and-erase", |_, _| {}, "ed").await, "OK");
        assert_eq!(judge("revoke", |_, _| {}, "ed").await, "OK");
        assert_eq!(judge("revoke", |m, _| drop(m.remove("target")), "ed").await, "MEMBER_MISSING");
        let user = json!({"format": "iss_sub", "iss": "apps/xingyu-live", "sub": "u_8839201"});
        assert_eq!(judge("revoke", |_, s| s.push(user), "ed").await, "MEMBER_INVALID");
        let other = json!("instructions/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88");
        assert_eq!(judge("revoke", |m, _| m["target"] = other, "ed").await, "TARGET_UNKNOWN");
    }

    #[tokio::test]
    async fn a_file_that_is_missing_is_not_right() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::read(WORLD.as_bytes()).unwrap();
        let cases: Cases = serde_json::from_str(CLIENT).unwrap();
        let all = cases.instructions.len() + cases.access_tokens.len() + cases.brought.len();
        let count = run(&world, &cases, folder.path(), false).await.unwrap();
        assert_eq!(count, Count { right: 0, wrong: all });
    }
}
