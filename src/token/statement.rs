//! The signed part of an instruction: what every reader, for ever, can see.
//!
//! It holds vocabulary words, ids, numbers and digests, and is refused when it
//! holds anything that looks like a person. The same reader serves the gateway,
//! the agent and an auditor who has nothing but the trail.

use std::collections::HashSet;

use serde_json::Value;

use super::digest::Digest;
use super::envelope::Verified;
use super::json::{self, JsonError};
use super::members::{Codes, Members};
use super::orders::{
    self, ExportOrder, Presence, PreviewRef, RefuseOrder, ReplyAuthorisation, Window, only_for,
};
use crate::domain::{
    Act, AppId, Basis, Category, ControllerId, InstructionId, Reason, Refusal, RequestId, StoreId,
};

/// `exp - iat`; for `return_and_erase` with `nbf`, `exp - nbf`. Seconds.
pub const MAX_LIFETIME: i64 = 30 * 24 * 3600;
/// How far after `iat` the `nbf` of a `return_and_erase` may lie: contracts end, and that is when it begins.
pub const MAX_FORERUN: i64 = 20 * 366 * 24 * 3600;
pub const MAX_IDENTIFIERS: usize = 16;

/// What the reader expects to find, known before the payload is opened.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The caller, or the controller in whose name the order is said to be.
    pub iss: &'a ControllerId,
    /// The trail's origin.
    pub aud: &'a str,
}

/// Which version of the key set, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeySetRef {
    pub version: u64,
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Categories {
    /// `["*"]`: all of the agreement.
    All,
    Some(Vec<Category>),
}

/// The members of a payload that were read strictly, after the signatures verified.
#[derive(Debug, Clone)]
#[expect(clippy::manual_non_exhaustive, reason = "no other module of this crate may make one either")]
pub struct SignedStatement {
    pub iss: ControllerId,
    pub aud: String,
    pub jti: InstructionId,
    pub iat: i64,
    pub nbf: Option<i64>,
    pub exp: i64,
    pub act: Act,
    pub app: AppId,
    pub req: Option<RequestId>,
    /// The instruction that a `revoke` takes back.
    pub target: Option<InstructionId>,
    /// Digests of the identifiers' disclosures, in order. Empty when the act has no subject.
    pub sub_digests: Vec<Digest>,
    pub private_digests: Vec<Digest>,
    pub categories: Categories,
    pub stores: Option<Vec<StoreId>>,
    pub window: Option<Window>,
    pub basis: Basis,
    pub key_set: KeySetRef,
    pub preview: Option<PreviewRef>,
    pub export: Option<ExportOrder>,
    pub refuse: Option<RefuseOrder>,
    pub authorize_reply: Option<ReplyAuthorisation>,
    _read: (),
}

const CODES: Codes =
    Codes { missing: Reason::MemberMissing, invalid: Reason::MemberInvalid, unknown: Reason::MemberUnknown };

/// Names under which personal values are known; at the top level they can only be in the clear.
const PERSONAL_NAMES: [&str; 8] = ["text", "to", "set", "account", "email", "phone_number", "sub", "name"];

impl Verified {
    /// Reads the signed part alone: for auditors, from the trail, without disclosures.
    pub fn parse_public(&self, expected: &Expected<'_>) -> Result<SignedStatement, Refusal> {
        SignedStatement::read(self.envelope.payload(), Some(expected))
    }
}

impl SignedStatement {
    /// `expected` is left out by who is asked to sign: he knows neither beforehand, and is shown both.
    pub(super) fn read(payload: &[u8], expected: Option<&Expected<'_>>) -> Result<Self, Refusal> {
        let map = json::read_object(payload).map_err(|error| match error {
            JsonError::Duplicate => Refusal::at(Reason::MemberDuplicate, "payload"),
            JsonError::NotInteger => {
                Refusal::at(Reason::MemberInvalid, "payload").note("numbers are integers")
            }
            JsonError::TooDeep => Refusal::at(Reason::MemberInvalid, "payload").note("nested too deep"),
            JsonError::Malformed | JsonError::WrongType => {
                Refusal::at(Reason::InstructionMalformed, "payload").note("the payload is no JSON object")
            }
        })?;
        let mut payload = Members::new(map, "payload", &CODES);
        let iss = payload.resource("iss", ControllerId::from_resource_name)?;
        if expected.is_some_and(|expected| iss != *expected.iss) {
            return Err(Refusal::at(Reason::IssuerMismatch, "payload.iss"));
        }
        let aud = payload.string("aud")?;
        if expected.is_some_and(|expected| aud != expected.aud) {
            return Err(Refusal::at(Reason::AudienceMismatch, "payload.aud"));
        }
        refuse_personal_names(&payload)?;

        let act: Act = payload.parsed("act", "must be a registered act")?;
        let sub_digests = read_subject(&mut payload, act)?;
        let private_digests = read_private(&mut payload, act)?;
        refuse_equal(sub_digests.iter().chain(&private_digests))?;

        let (iat, nbf, exp) = read_times(&mut payload, act)?;
        let statement = Self {
            iss,
            aud,
            jti: payload.parsed("jti", "must be a lower-case hyphenated UUIDv7")?,
            iat,
            nbf,
            exp,
            act,
            app: payload.resource("app", AppId::from_resource_name)?,
            req: payload.opt_resource("req", RequestId::from_resource_name)?,
            target: only_for(&payload, "target", act, Presence::required(act == Act::Revoke))?
                .then(|| payload.resource("target", InstructionId::from_resource_name))
                .transpose()?,
            sub_digests,
            private_digests,
            categories: read_categories(&mut payload)?,
            stores: payload.opt_set("stores", "must be registered store ids")?,
            window: orders::read_window(&mut payload, act)?,
            basis: read_basis(&mut payload, act)?,
            key_set: read_key_set(&mut payload)?,
            preview: orders::read_preview(&mut payload, act)?,
            export: orders::read_export(&mut payload, act)?,
            refuse: orders::read_refuse(&mut payload, act)?,
            authorize_reply: orders::read_authorisation(&mut payload, act)?,
            _read: (),
        };
        if payload.string("_sd_alg")? != "sha-256" {
            return Err(payload.invalid("_sd_alg", "must be sha-256"));
        }
        payload.finish()?;
        Ok(statement)
    }

    /// Whether it sends data to a third party of the person's choice. Everybody sees that, nobody to whom.
    pub fn goes_to_third_party(&self) -> bool {
        self.act == Act::Export && !self.private_digests.is_empty()
    }

    /// From when it may be carried out, seconds.
    pub fn begins(&self) -> i64 {
        self.nbf.unwrap_or(self.iat)
    }
}

fn refuse_personal_names(payload: &Members) -> Result<(), Refusal> {
    if PERSONAL_NAMES.iter().any(|name| payload.has(name)) {
        return Err(Refusal::at(Reason::PersonalDataInClear, "payload"));
    }
    // Digests where the profile takes none would hide members from who reads the trail.
    if payload.has("_sd") || payload.has("...") {
        return Err(Refusal::at(Reason::DisclosureAlien, "payload"));
    }
    Ok(())
}

fn read_subject(payload: &mut Members, act: Act) -> Result<Vec<Digest>, Refusal> {
    if !only_for(payload, "sub_id", act, Presence::required(act.has_subject()))? {
        return Ok(Vec::new());
    }
    let in_clear = || Refusal::at(Reason::PersonalDataInClear, "payload.sub_id");
    let Value::Object(mut sub_id) = payload.need("sub_id")? else { return Err(in_clear()) };
    if sub_id.remove("format") != Some(Value::from("aliases")) {
        return Err(in_clear());
    }
    let identifiers = sub_id.remove("identifiers");
    if sub_id.contains_key("_sd") || sub_id.contains_key("...") {
        return Err(Refusal::at(Reason::DisclosureAlien, "payload.sub_id"));
    }
    if !sub_id.is_empty() {
        return Err(in_clear());
    }
    let Some(Value::Array(items)) = identifiers else {
        return Err(payload.invalid("sub_id", "identifiers must be an array"));
    };
    if !(1..=MAX_IDENTIFIERS).contains(&items.len()) {
        return Err(payload.invalid("sub_id", "must have 1 to 16 identifiers"));
    }
    let mut digests = Vec::with_capacity(items.len());
    for item in items {
        let Value::Object(mut placeholder) = item else { return Err(in_clear()) };
        let (Some(digest), true) = (placeholder.remove("..."), placeholder.is_empty()) else {
            return Err(in_clear());
        };
        digests.push(read_digest(&digest).ok_or_else(|| payload.invalid("sub_id", "holds no digest"))?);
    }
    Ok(digests)
}

fn read_private(payload: &mut Members, act: Act) -> Result<Vec<Digest>, Refusal> {
    let presence = match act {
        Act::Reply | Act::Rectify => Presence::Required,
        Act::Export => Presence::Allowed,
        _ => Presence::Forbidden,
    };
    let in_clear = || Refusal::at(Reason::PersonalDataInClear, "payload.private");
    if presence == Presence::Forbidden
        && let Some(Value::Object(map)) = payload.peek("private")
        && map.keys().any(|name| name != "_sd")
    {
        return Err(in_clear());
    }
    if !only_for(payload, "private", act, presence)? {
        return Ok(Vec::new());
    }
    let Value::Object(mut private) = payload.need("private")? else { return Err(in_clear()) };
    let (Some(list), true) = (private.remove("_sd"), private.is_empty()) else { return Err(in_clear()) };
    let digests: Option<Vec<Digest>> =
        list.as_array().and_then(|items| items.iter().map(read_digest).collect::<Option<Vec<_>>>());
    match digests {
        Some(digests) if !digests.is_empty() => Ok(digests),
        _ => Err(payload.invalid("private", "_sd must be a non-empty array of digests")),
    }
}

fn read_digest(value: &Value) -> Option<Digest> {
    value.as_str().and_then(|text| text.parse().ok())
}

/// RFC 9901 §7.1: no digest may stand twice.
fn refuse_equal<'a>(digests: impl Iterator<Item = &'a Digest>) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for digest in digests {
        if !seen.insert(digest) {
            return Err(Refusal::at(Reason::DisclosureRepeated, "payload"));
        }
    }
    Ok(())
}

fn read_times(payload: &mut Members, act: Act) -> Result<(i64, Option<i64>, i64), Refusal> {
    let iat = payload.seconds("iat")?;
    let nbf = payload.opt_seconds("nbf")?;
    let exp = payload.seconds("exp")?;
    let lifetime = |rule| Refusal::at(Reason::InstructionLifetime, "payload.exp").note(rule);
    if exp <= iat {
        return Err(lifetime("exp must be after iat"));
    }
    if let Some(nbf) = nbf
        && exp <= nbf
    {
        return Err(lifetime("exp must be after nbf"));
    }
    // Signed at onboarding, it begins when the contract ends: its life counts from there.
    let starts = match (act, nbf) {
        (Act::ReturnAndErase, Some(nbf)) => {
            if nbf - iat > MAX_FORERUN {
                return Err(
                    Refusal::at(Reason::InstructionLifetime, "payload.nbf").note("over 20 years ahead")
                );
            }
            nbf.max(iat)
        }
        _ => iat,
    };
    if exp - starts > MAX_LIFETIME {
        return Err(lifetime("over 30 days"));
    }
    Ok((iat, nbf, exp))
}

fn read_categories(payload: &mut Members) -> Result<Categories, Refusal> {
    if payload.peek("categories").and_then(Value::as_array).is_some_and(|items| items.as_slice() == ["*"]) {
        payload.take("categories");
        return Ok(Categories::All);
    }
    payload.set("categories", "must be registered categories, or [\"*\"] alone").map(Categories::Some)
}

/// What returns and erases all that is held says that the contract is over: nothing else orders so much.
fn read_basis(payload: &mut Members, act: Act) -> Result<Basis, Refusal> {
    let basis: Basis = payload.parsed("basis", "must be a registered basis")?;
    if act == Act::ReturnAndErase && !basis.ends_the_contract() {
        return Err(payload.invalid("basis", "return_and_erase takes contract-end, pipl-21 or gdpr-28"));
    }
    Ok(basis)
}

fn read_key_set(payload: &mut Members) -> Result<KeySetRef, Refusal> {
    let mut key_set = payload.object("key_set")?;
    let (version, digest) = (key_set.count("version")?, key_set.digest("digest")?);
    if version == 0 {
        return Err(key_set.invalid("version", "begins at 1"));
    }
    key_set.finish()?;
    Ok(KeySetRef { version, digest })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Identifier;
    use crate::token::fixtures::{NOW, draft, ending, export_order, read, reason_when, sealed, wire};
    use crate::token::{InstructionDraft, Private, Slug, Whose};

    fn member(name: &str, value: Value) -> Reason {
        reason_when(&draft(Act::Erase), |payload, _| payload[name] = value)
    }

    fn without(draft: &InstructionDraft, name: &str) -> Reason {
        reason_when(draft, |payload, _| {
            payload.as_object_mut().unwrap().remove(name).unwrap();
        })
    }

    #[test]
    fn what_ends_a_contract_says_so_and_leaves_nothing_out() {
        let with = |name: &str, value: Value| reason_when(&ending(None), |payload, _| payload[name] = value);
        assert_eq!(with("basis", json!("pipl-47")), Reason::MemberInvalid);
        assert_eq!(with("window", json!({"from": 1, "until": 2})), Reason::MemberInvalid);
        let seen = json!({"digest": Digest::of("p"), "as_of": NOW - 5});
        assert_eq!(with("preview", seen), Reason::MemberInvalid);
        let sub_id = sealed(&draft(Act::Erase)).0["sub_id"].clone();
        assert_eq!(with("sub_id", sub_id), Reason::MemberInvalid);
        for basis in [Basis::ContractEnd, Basis::Pipl21, Basis::Gdpr28] {
            let draft = InstructionDraft { basis, ..ending(None) };
            let (payload, disclosures) = sealed(&draft);
            let read = read(&wire(&payload.to_string(), &disclosures, &["ann"])).unwrap();
            assert_eq!((read.statement().basis, read.subject().len()), (basis, 0));
        }
    }

    #[test]
    fn what_is_drafted_is_read_back() {
        let mut full = draft(Act::Export);
        full.req = Some("01938a5e-0000-7000-8000-000000000001".parse().unwrap());
        full.nbf = Some(NOW + 10);
        full.stores = Some(vec!["sdk".parse().unwrap()]);
        full.window = Some(Window { from: 1, until: 2 });
        full.preview = Some(PreviewRef { digest: Digest::of("p"), as_of: NOW - 5 });
        full.export = Some(export_order());
        full.categories = Categories::All;
        full.private = Private::Export { account: "acc-1".into() };
        let (payload, disclosures) = sealed(&full);
        let instruction = read(&wire(&payload.to_string(), &disclosures, &["ann"])).unwrap();
        let statement = instruction.statement();
        assert_eq!(statement.req, full.req);
        assert_eq!(statement.nbf, full.nbf);
        assert_eq!(statement.stores, full.stores);
        assert_eq!(statement.window, full.window);
        assert_eq!(statement.preview, full.preview);
        assert_eq!(statement.export, full.export);
        assert_eq!(statement.categories, Categories::All);
        assert_eq!(statement.key_set, full.key_set);
        assert_eq!(instruction.subject(), full.subject);
        assert_eq!(*instruction.private(), full.private);
    }

    #[test]
    fn every_act_has_its_own_members_and_no_others() {
        let bare = |act| InstructionDraft { subject: Vec::new(), ..draft(act) };
        let target: Option<InstructionId> = Some("01938a5e-7c1d-7b2e-9f7a-000000000000".parse().unwrap());
        let refuse = RefuseOrder {
            ground: crate::domain::Ground::LegalClaim,
            whose: Whose::Controllers,
            reason_code: "in-court".parse::<Slug>().unwrap(),
        };
        let reply = ReplyAuthorisation { templates: vec!["erased".parse().unwrap()], until: NOW + 1 };
        let said = Private::Reply { text: "done".into(), to: "a@b.example".into() };
        let fixed = Private::Rectify { set: [("city".to_owned(), json!("x"))].into() };
        let good = [
            draft(Act::Preview),
            draft(Act::Restrict),
            draft(Act::Release),
            InstructionDraft { export: Some(export_order()), ..draft(Act::Export) },
            InstructionDraft { private: fixed, ..draft(Act::Rectify) },
            InstructionDraft { private: said, ..draft(Act::Reply) },
            InstructionDraft { refuse: Some(refuse), ..draft(Act::Refuse) },
            InstructionDraft { authorize_reply: Some(reply), ..draft(Act::AuthorizeReply) },
            InstructionDraft { target, ..bare(Act::Revoke) },
            ending(None),
            InstructionDraft { export: None, ..ending(None) },
        ];
        for draft in &good {
            let (payload, disclosures) = sealed(draft);
            let read = read(&wire(&payload.to_string(), &disclosures, &["ann"]));
            assert!(read.is_ok(), "{}: {}", draft.act, read.unwrap_err());
        }
        let [_, _, _, export, rectify, reply, refuse, authorize, revoke, ..] = &good;
        for (draft, own) in [
            (export, "export"),
            (rectify, "private"),
            (reply, "private"),
            (refuse, "refuse"),
            (authorize, "authorize_reply"),
            (revoke, "target"),
            (&good[0], "sub_id"),
        ] {
            assert_eq!(without(draft, own), Reason::MemberMissing, "{} without {own}", draft.act);
            let value = sealed(draft).0[own].clone();
            let host = if own == "sub_id" { revoke } else { &good[0] };
            let reason = reason_when(host, |payload, _| payload[own] = value);
            assert_eq!(reason, Reason::MemberInvalid, "{} with {own}", host.act);
        }
        let preview = json!({"digest": Digest::of("p"), "as_of": NOW});
        assert_eq!(reason_when(&good[0], |p, _| p["preview"] = preview), Reason::MemberInvalid);
    }

    #[test]
    fn every_required_member_is_missed() {
        for name in
            ["iss", "aud", "jti", "iat", "exp", "act", "app", "categories", "basis", "key_set", "_sd_alg"]
        {
            assert_eq!(without(&draft(Act::Erase), name), Reason::MemberMissing, "{name}");
        }
    }

    #[test]
    fn a_value_it_cannot_have_is_refused() {
        let digest = Digest::of("x").to_string();
        for (name, value) in [
            ("jti", json!("01938A5E-7c1d-7b2e-9f7a-3d2c1b0a9e88")),
            ("jti", json!("01938a5e-7c1d-4b2e-9f7a-3d2c1b0a9e88")),
            ("iat", json!("1795420800")),
            ("iat", json!(-1)),
            ("iat", json!(1.5)),
            ("act", json!("delete")),
            ("app", json!("xingyu-live")),
            ("req", json!("apps/x")),
            ("categories", json!([])),
            ("categories", json!(["device", "device"])),
            ("categories", json!(["device", "*"])),
            ("categories", json!(["love-letters"])),
            ("stores", json!([])),
            ("stores", json!(["A"])),
            ("window", json!({"from": 5, "until": 5})),
            ("window", json!({"from": 5})),
            ("basis", json!("because")),
            ("key_set", json!({"version": 0, "digest": digest})),
            ("key_set", json!({"version": 1, "digest": format!("{digest}=")})),
            ("_sd_alg", json!("sha-512")),
            ("sub_id", json!({"format": "aliases", "identifiers": []})),
            ("sub_id", json!({"format": "aliases", "identifiers": [{"...": "short"}]})),
        ] {
            let reason = member(name, value.clone());
            let expected =
                if value == json!({"from": 5}) { Reason::MemberMissing } else { Reason::MemberInvalid };
            assert_eq!(reason, expected, "{name} = {value}");
        }
        assert_eq!(member("iss", json!("controllers/other")), Reason::IssuerMismatch);
        assert_eq!(member("aud", json!("other.example/trail")), Reason::AudienceMismatch);
    }

    #[test]
    fn an_unknown_or_a_second_member_is_refused_everywhere() {
        assert_eq!(member("note", json!("x")), Reason::MemberUnknown);
        let key_set = |p: &mut Value, _: &mut Vec<String>| p["key_set"]["url"] = json!("x");
        assert_eq!(reason_when(&draft(Act::Erase), key_set), Reason::MemberUnknown);
        let (payload, disclosures) = sealed(&draft(Act::Erase));
        for (once, twice) in [
            (r#""act":"erase""#, r#""act":"erase","act":"erase""#),
            (r#""version":1"#, r#""version":1,"version":1"#),
        ] {
            let text = payload.to_string().replace(once, twice);
            assert_ne!(text, payload.to_string());
            let refusal = read(&wire(&text, &disclosures, &["ann"])).unwrap_err();
            assert_eq!(refusal.reason, Reason::MemberDuplicate);
        }
        for text in ["[]", "7", "{", "", "{\"a\":1}{"] {
            let refusal = read(&wire(text, &[], &["ann"])).unwrap_err();
            assert_eq!(refusal.reason, Reason::InstructionMalformed, "{text}");
        }
    }

    #[test]
    fn a_person_in_the_clear_is_refused() {
        for name in PERSONAL_NAMES {
            assert_eq!(member(name, json!("x")), Reason::PersonalDataInClear, "{name}");
        }
        for sub_id in [
            json!("u_8839201"),
            json!({"format": "email", "email": "a@b.example"}),
            json!({"format": "aliases", "identifiers": ["u_8839201"]}),
            json!({"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}]}),
            json!({"format": "aliases", "identifiers": [{"...": Digest::of("x"), "id": "x"}]}),
            json!({"format": "aliases", "identifiers": [], "email": "a@b.example"}),
        ] {
            assert_eq!(member("sub_id", sub_id.clone()), Reason::PersonalDataInClear, "{sub_id}");
        }
        let reply = InstructionDraft {
            private: Private::Reply { text: "t".into(), to: "a@b.example".into() },
            ..draft(Act::Reply)
        };
        let clear = |p: &mut Value, _: &mut Vec<String>| p["private"]["to"] = json!("a@b.example");
        assert_eq!(reason_when(&reply, clear), Reason::PersonalDataInClear);
        assert_eq!(member("private", json!({"text": "x"})), Reason::PersonalDataInClear);
        // A user id of another app is caught where it is opened.
        let mut foreign = draft(Act::Erase);
        foreign.subject[0] = Identifier::user(&"other-app".parse().unwrap(), "u_1");
        assert_eq!(reason_when(&foreign, |_, _| {}), Reason::SubjectMismatch);
    }

    #[test]
    fn life_is_bounded() {
        let life = |nbf: Option<i64>, exp: i64, act: Act| {
            let draft =
                InstructionDraft { nbf, exp, ..if act == Act::Erase { draft(act) } else { ending(None) } };
            let (payload, disclosures) = sealed(&draft);
            read(&wire(&payload.to_string(), &disclosures, &["ann"])).err().map(|refusal| refusal.reason)
        };
        let bad = Some(Reason::InstructionLifetime);
        assert_eq!(life(None, NOW + MAX_LIFETIME, Act::Erase), None);
        assert_eq!(life(None, NOW + MAX_LIFETIME + 1, Act::Erase), bad);
        assert_eq!(life(None, NOW, Act::Erase), bad);
        assert_eq!(life(Some(NOW + 9), NOW + 9, Act::Erase), bad);
        let end = NOW + 3 * 366 * 86_400;
        assert_eq!(life(Some(end), end + 86_400, Act::Erase), bad);
        assert_eq!(life(Some(end), end + MAX_LIFETIME, Act::ReturnAndErase), None);
        assert_eq!(life(Some(end), end + MAX_LIFETIME + 1, Act::ReturnAndErase), bad);
        let far = NOW + MAX_FORERUN + 1;
        assert_eq!(life(Some(far), far + 1, Act::ReturnAndErase), bad);
        // An nbf in the past does not stretch the life.
        assert_eq!(life(Some(NOW - 9), NOW + MAX_LIFETIME + 1, Act::ReturnAndErase), bad);
    }

    #[test]
    fn an_export_needs_a_real_recipient_and_a_known_region() {
        let export = InstructionDraft { export: Some(export_order()), ..draft(Act::Export) };
        let with = |name: &'static str, value: &'static str| {
            reason_when(&export, |payload, _| payload["export"][name] = json!(value))
        };
        assert_eq!(with("recipient", "age1abc"), Reason::RecipientInvalid);
        assert_eq!(with("format", "pdf"), Reason::MemberInvalid);
        assert_eq!(with("region", "moon"), Reason::MemberInvalid);
        assert_eq!(with("evidence", "told so"), Reason::MemberInvalid);
    }
}
