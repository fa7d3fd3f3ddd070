//! What is ordered, as flags or as a JSON file with the same members, and the draft that comes of it.

use std::str::FromStr;

use clap::Args;
use serde::Deserialize;

use super::CliError;
use crate::domain::clock::uuid_v7;
use crate::domain::{
    Act, AppId, Basis, Category, Clock, Entropy, Identifier, InstructionId, Region, RequestId, StoreId,
    Timestamp,
};
use crate::token::{
    Categories, Digest, ExportFormat, ExportOrder, InstructionDraft, KeySetRef, PreviewRef, Private,
    SignedKeySet, Window, base64url,
};

/// What is ordered.
#[derive(Debug, Default, Clone, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// preview, erase, export, …
    #[arg(long)]
    pub act: Option<String>,
    /// apps/<id>
    #[arg(long)]
    app: Option<String>,
    /// User id inside the app
    #[arg(long)]
    user: Vec<String>,
    #[arg(long)]
    email: Vec<String>,
    #[arg(long)]
    phone: Vec<String>,
    /// Device id
    #[arg(long)]
    device: Vec<String>,
    /// Which categories; all of the agreement if absent
    #[arg(long)]
    category: Vec<String>,
    /// Which stores; all of the agreement if absent
    #[arg(long)]
    store: Vec<String>,
    /// On what ground, as pipl-47
    #[arg(long)]
    basis: Option<String>,
    /// requests/<id>, which it answers
    #[arg(long)]
    req: Option<String>,
    /// instructions/<id>, which a revoke takes back
    #[arg(long)]
    target: Option<String>,
    /// Only what was stored from FROM on and before UNTIL: 2026-01-01T00:00:00Z/2026-04-01T00:00:00Z
    #[arg(long, value_name = "FROM/UNTIL")]
    window: Option<Period>,
    /// age recipient of an export, or of what a return_and_erase returns
    #[arg(long)]
    pub recipient: Option<String>,
    /// A return_and_erase that returns nothing: all is erased
    #[arg(long, conflicts_with = "recipient")]
    pub erase_only: bool,
    /// Where the export goes
    #[arg(long)]
    region: Option<String>,
    /// An export to a third party: the person's account there
    #[arg(long)]
    account: Option<String>,
    /// Digest of the recorded basis for an export to a third party or abroad
    #[arg(long, allow_hyphen_values = true)]
    evidence: Option<String>,
    /// Digest of the preview that was seen
    #[arg(long, requires = "preview_as_of", allow_hyphen_values = true)]
    preview_digest: Option<String>,
    /// The instant of that preview, seconds
    #[arg(long, requires = "preview_digest")]
    preview_as_of: Option<i64>,
    /// The trail's origin; that of the profile's pins, or else of the key set
    #[arg(long)]
    pub aud: Option<String>,
    /// When it begins, as 2027-06-30T16:00:00Z: of a return_and_erase, the contract's end
    #[arg(long)]
    not_before: Option<Timestamp>,
    /// How long it may be carried out, of a return_and_erase from its beginning
    #[arg(long)]
    exp_hours: Option<u32>,
    /// The instruction's id (UUIDv7); made if absent
    #[arg(long)]
    jti: Option<String>,
}

/// Two instants with a slash between them, the second left out (ISO 8601).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Period(Window);

impl FromStr for Period {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str =
            "FROM/UNTIL is expected, as 2026-01-01T00:00:00Z/2026-04-01T00:00:00Z, to the second";
        // Part of a second would be lost without a word.
        let seconds = |text: &str| {
            let at: Timestamp = text.parse().map_err(|_| RULE)?;
            if at.subsec_nanosecond() == 0 { Ok(at.as_second()) } else { Err(RULE) }
        };
        let (from, until) = text.split_once('/').ok_or(RULE)?;
        let (from, until) = (seconds(from)?, seconds(until)?);
        if from < until { Ok(Self(Window { from, until })) } else { Err("UNTIL comes after FROM") }
    }
}

impl TryFrom<String> for Period {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Hours an instruction is valid unless said otherwise.
const EXP_HOURS: u32 = 24;
/// The same of what ends a contract: as long as it may be. Nobody may be there to sign another.
const RETURN_HOURS: u32 = 30 * 24;

/// Parses a flag, naming it where it is wrong; its value stays out of the message.
fn parse<T: std::str::FromStr>(text: &str, flag: &str) -> Result<T, CliError> {
    text.parse().map_err(|_| CliError::Plain(format!("{flag}: not a known or well-formed value")))
}

fn required<'a>(text: &'a Option<String>, flag: &str) -> Result<&'a str, CliError> {
    text.as_deref().ok_or_else(|| CliError::Plain(format!("{flag} is needed")))
}

/// The `aud` of a key set: which trail it is published in, and so where its instructions go.
fn audience(key_set: &[u8]) -> Result<String, CliError> {
    let wrong = || CliError::plain("the key set names no audience");
    let outer: serde_json::Value = serde_json::from_slice(key_set).map_err(|_| wrong())?;
    let payload = outer["payload"].as_str().ok_or_else(wrong)?;
    let payload = base64url::decode(payload.as_bytes()).map_err(|_| wrong())?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).map_err(|_| wrong())?;
    claims["aud"].as_str().map(str::to_owned).ok_or_else(wrong)
}

impl Order {
    /// The order under the key set, before anybody has signed. Whether its members fit its act shows where it is
    /// sealed.
    pub fn draft(
        &self,
        key_set: &[u8],
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<InstructionDraft, CliError> {
        let set = SignedKeySet::read(key_set)?;
        let app = AppId::from_resource_name(required(&self.app, "--app")?).map_err(CliError::plain)?;
        let act: Act = parse(required(&self.act, "--act")?, "--act")?;
        let now = clock.now_seconds();
        let jti = match &self.jti {
            Some(jti) => parse(jti, "--jti")?,
            None => InstructionId::from_uuid(uuid_v7(clock, entropy)),
        };
        let categories = if self.category.is_empty() {
            Categories::All
        } else {
            let parsed = self.category.iter().map(|word| parse::<Category>(word, "--category"));
            Categories::Some(parsed.collect::<Result<_, _>>()?)
        };
        let stores = if self.store.is_empty() {
            None
        } else {
            let parsed = self.store.iter().map(|id| parse::<StoreId>(id, "--store"));
            Some(parsed.collect::<Result<Vec<_>, _>>()?)
        };
        let preview = match (&self.preview_digest, self.preview_as_of) {
            (Some(digest), Some(as_of)) => {
                Some(PreviewRef { digest: parse::<Digest>(digest, "--preview-digest")?, as_of })
            }
            (None, None) => None,
            _ => return Err(CliError::plain("--preview-digest and --preview-as-of go together")),
        };
        let nbf = self.not_before.map(Timestamp::as_second);
        Ok(InstructionDraft {
            iss: set.iss().clone(),
            aud: self.aud.clone().map_or_else(|| audience(key_set), Ok)?,
            jti,
            iat: now,
            nbf,
            exp: self.end(act, now, nbf),
            act,
            req: self
                .req
                .as_deref()
                .map(RequestId::from_resource_name)
                .transpose()
                .map_err(CliError::plain)?,
            target: self
                .target
                .as_deref()
                .map(InstructionId::from_resource_name)
                .transpose()
                .map_err(|error| CliError::Plain(format!("--target: {error}")))?,
            subject: self.subject(&app),
            app,
            private: match &self.account {
                Some(account) if act == Act::Export => Private::Export { account: account.clone() },
                Some(_) => return Err(CliError::plain("--account belongs to an export")),
                None => Private::None,
            },
            categories,
            stores,
            window: self.window.map(|Period(window)| window),
            basis: parse::<Basis>(required(&self.basis, "--basis")?, "--basis")?,
            key_set: KeySetRef { version: set.version(), digest: set.digest() },
            preview,
            export: self.export(act)?,
            refuse: None,
            authorize_reply: None,
        })
    }

    /// What ends a contract lives from its beginning on, any other order from now on.
    fn end(&self, act: Act, now: i64, nbf: Option<i64>) -> i64 {
        let (from, hours) = match act {
            Act::ReturnAndErase => (nbf.unwrap_or(now).max(now), RETURN_HOURS),
            _ => (now, EXP_HOURS),
        };
        from + i64::from(self.exp_hours.unwrap_or(hours)) * 3600
    }

    fn subject(&self, app: &AppId) -> Vec<Identifier> {
        let users = self.user.iter().map(|sub| Identifier::user(app, sub));
        let emails = self.email.iter().map(|email| Identifier::Email { email: email.clone() });
        let phones = self.phone.iter().map(|n| Identifier::PhoneNumber { phone_number: n.clone() });
        let devices = self.device.iter().map(|id| Identifier::Opaque { id: id.clone() });
        users.chain(emails).chain(phones).chain(devices).collect()
    }

    fn export(&self, act: Act) -> Result<Option<ExportOrder>, CliError> {
        if self.erase_only && act != Act::ReturnAndErase {
            return Err(CliError::plain("--erase-only goes with a return_and_erase"));
        }
        // To return nothing is said, never left out: what is erased unreturned is lost.
        if !matches!(act, Act::Export | Act::ReturnAndErase) || self.erase_only {
            return Ok(None);
        }
        Ok(Some(ExportOrder {
            recipient: parse(required(&self.recipient, "--recipient")?, "--recipient")?,
            format: ExportFormat::JsonlCsv,
            region: parse::<Region>(self.region.as_deref().unwrap_or("cn"), "--region")?,
            evidence: self.evidence.as_deref().map(|digest| parse(digest, "--evidence")).transpose()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::files;
    use crate::cli::signing::load_key;
    use crate::domain::clock::{FixedClock, SystemEntropy};
    use crate::token::{Envelope, Expected, OpenInstruction, PrivateKey};
    use serde_json::json;

    /// A controller's folder as `init` makes it.
    fn xingyu() -> (tempfile::TempDir, Vec<u8>, PrivateKey) {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        crate::cli::init_keys::make(dir.path(), now, &SystemEntropy).unwrap();
        let keys = dir.path().join("keys/xingyu");
        let set = files::read(&keys.join("keyset.json")).unwrap();
        let key = load_key(&keys.join("instruction-2.jwk")).unwrap();
        (dir, set, key)
    }

    const NOW: i64 = 1_795_000_000;

    fn order() -> Order {
        serde_json::from_value(json!({
            "act": "erase", "app": "apps/xingyu-live", "user": ["u_8839201"], "basis": "pipl-47",
            "category": ["network", "device"], "store": ["rtc"], "exp_hours": 2,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_signed_is_admissible_under_the_key_set_and_hides_the_subject() {
        let (_dir, set, key) = xingyu();
        let draft = order().draft(&set, &FixedClock::at(NOW), &SystemEntropy).unwrap();
        let signed = draft.sign(&[&key], &SystemEntropy).unwrap();
        let iss = "xingyu".parse().unwrap();
        let expected = Expected { iss: &iss, aud: "mandate.ppio.example/trail" };
        let pin = SignedKeySet::read(&set).unwrap().digest();
        let set = SignedKeySet::read(&set).unwrap().genesis(&iss, expected.aud, &pin).unwrap();
        let envelope = Envelope::read(signed.to_wire().as_bytes()).unwrap();
        let statement = envelope.verify(&set).unwrap().parse_public(&expected).unwrap();
        assert_eq!((statement.act, statement.exp), (Act::Erase, NOW + 7200));
        assert_eq!(statement.sub_digests.len(), 1);
        let payload = signed.to_wire();
        assert!(!payload.split('~').next().unwrap().contains("u_8839201"));
    }

    #[test]
    fn an_export_needs_a_recipient_and_a_wrong_word_is_named_by_its_flag() {
        let (_dir, set, _) = xingyu();
        let draft = |order: Order| order.draft(&set, &FixedClock::at(NOW), &SystemEntropy);
        let said = |order: Order| draft(order).err().unwrap().to_string();
        let export = Order { act: Some("export".into()), ..order() };
        assert!(said(export).contains("--recipient"));
        let ending = Order {
            act: Some("return_and_erase".into()),
            user: Vec::new(),
            exp_hours: None,
            basis: Some("contract-end".into()),
            not_before: Some(Timestamp::from_second(NOW + 900 * 86_400).unwrap()),
            ..order()
        };
        assert!(said(ending.clone()).contains("--recipient"));
        let ending = draft(Order { erase_only: true, ..ending }).unwrap();
        assert_eq!((ending.nbf, ending.exp), (Some(NOW + 900 * 86_400), NOW + 930 * 86_400));
        assert!(ending.export.is_none());
        let wrong = said(Order { basis: Some("because-secret".into()), ..order() });
        assert!(wrong.contains("--basis") && !wrong.contains("because-secret"), "{wrong}");
    }

    /// The order of these members, sealed: its payload, or what it is refused with.
    fn sealed(members: serde_json::Value) -> Result<serde_json::Value, String> {
        let (_dir, set, _) = xingyu();
        let order: Order = serde_json::from_value(members).map_err(|error| error.to_string())?;
        let draft = order.draft(&set, &FixedClock::at(NOW), &SystemEntropy);
        let open = OpenInstruction::of_draft(&draft.map_err(|error| error.to_string())?, &SystemEntropy);
        let open = open.map_err(|refusal| format!("{} {:?}", refusal.reason.code(), refusal.field))?;
        let payload = base64url::decode(open.payload_segment()).unwrap();
        Ok(serde_json::from_slice(&payload).unwrap())
    }

    #[test]
    fn a_revoke_names_what_it_takes_back_and_nobody() {
        let target = "instructions/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88";
        let revoke = |more: serde_json::Value| {
            let mut members = json!({"act": "revoke", "app": "apps/xingyu-live", "basis": "pipl-15"});
            members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            sealed(members)
        };
        let payload = revoke(json!({"target": target})).unwrap();
        assert_eq!((&payload["act"], &payload["target"]), (&json!("revoke"), &json!(target)));
        assert!(payload.get("sub_id").is_none(), "{payload}");
        for (more, said) in [
            (json!({}), "MEMBER_MISSING Some(\"payload.target\")"),
            (json!({"target": target, "user": ["u_8839201"]}), "MEMBER_INVALID Some(\"payload.sub_id\")"),
            (json!({"target": "requests/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88"}), "--target"),
            (json!({"target": target, "act": "erase", "user": ["u_8839201"]}), "MEMBER_INVALID"),
            (json!({"target": target, "act": "erase"}), "MEMBER_MISSING Some(\"payload.sub_id\")"),
        ] {
            let error = revoke(more.clone()).unwrap_err();
            assert!(error.contains(said), "{more}: {error}");
        }
    }

    #[test]
    fn a_window_is_two_instants_with_a_slash() {
        let window = |text: &str| {
            sealed(
                json!({"act": "preview", "app": "apps/xingyu-live", "user": ["u_8839201"], "basis": "pipl-45",
                          "window": text}),
            )
        };
        let payload = window("2026-01-01T00:00:00Z/2026-04-01T00:00:00+08:00").unwrap();
        assert_eq!(payload["window"], json!({"from": 1_767_225_600, "until": 1_774_972_800}));
        for wrong in [
            "2026-01-01T00:00:00Z",
            "2026-01-01/2026-04-01",
            "2026-04-01T00:00:00Z/2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.5Z/2026-04-01T00:00:00Z",
            "1767225600/1774972800",
        ] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }
}
