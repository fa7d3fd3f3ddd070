//! Writing an instruction, for the controller's side: `mandate sign`, examples, tests.

use serde_json::{Map, Value, json};

use super::digest::Digest;
use super::disclosed::Private;
use super::envelope::{Envelope, PROFILE};
use super::jws::Jws;
use super::orders::{ExportOrder, PreviewRef, RefuseOrder, ReplyAuthorisation, Slug, Window};
use super::private_key::PrivateKey;
use super::sd;
use super::statement::{Categories, KeySetRef, SignedStatement};
use crate::domain::{
    Act, AppId, Basis, ControllerId, Entropy, Identifier, InstructionId, Reason, Refusal, RequestId, StoreId,
};

/// The draft cannot be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DraftError(pub &'static str);

impl From<DraftError> for Refusal {
    fn from(error: DraftError) -> Self {
        Refusal::new(Reason::FieldInvalid).note(error.0)
    }
}

/// An instruction before it is signed. Holds personal data.
#[derive(Clone)]
pub struct InstructionDraft {
    pub iss: ControllerId,
    /// The trail's origin.
    pub aud: String,
    pub jti: InstructionId,
    pub iat: i64,
    pub nbf: Option<i64>,
    pub exp: i64,
    pub act: Act,
    pub app: AppId,
    pub req: Option<RequestId>,
    pub target: Option<InstructionId>,
    /// Empty for `revoke` and `return_and_erase`.
    pub subject: Vec<Identifier>,
    pub private: Private,
    pub categories: Categories,
    pub stores: Option<Vec<StoreId>>,
    pub window: Option<Window>,
    pub basis: Basis,
    pub key_set: KeySetRef,
    pub preview: Option<PreviewRef>,
    pub export: Option<ExportOrder>,
    pub refuse: Option<RefuseOrder>,
    pub authorize_reply: Option<ReplyAuthorisation>,
}

/// A signed instruction, ready to send.
#[derive(Debug, Clone)]
pub struct SignedInstruction {
    pub(super) envelope: Envelope,
}

impl SignedInstruction {
    /// SHA-256 over the ASCII payload segment.
    pub fn digest(&self) -> Digest {
        self.envelope.instruction_digest()
    }
    /// Compact for one signer, General JSON for several. Personal data.
    pub fn to_wire(&self) -> String {
        self.envelope.to_wire()
    }
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

impl InstructionDraft {
    /// What a payload and its disclosures say, for who is asked to sign them.
    pub(super) fn of(statement: SignedStatement, subject: Vec<Identifier>, private: Private) -> Self {
        Self {
            iss: statement.iss,
            aud: statement.aud,
            jti: statement.jti,
            iat: statement.iat,
            nbf: statement.nbf,
            exp: statement.exp,
            act: statement.act,
            app: statement.app,
            req: statement.req,
            target: statement.target,
            subject,
            private,
            categories: statement.categories,
            stores: statement.stores,
            window: statement.window,
            basis: statement.basis,
            key_set: statement.key_set,
            preview: statement.preview,
            export: statement.export,
            refuse: statement.refuse,
            authorize_reply: statement.authorize_reply,
        }
    }

    /// Salts every personal value and signs the digests with each key.
    pub fn sign(&self, keys: &[&PrivateKey], entropy: &dyn Entropy) -> Result<SignedInstruction, Refusal> {
        if keys.is_empty() {
            return Err(DraftError("an instruction needs a signing key").into());
        }
        let (payload, disclosures) = self.seal(entropy)?;
        let jws = Jws::sign(payload, &PROFILE, keys)?;
        Ok(SignedInstruction { envelope: Envelope::signed(jws, disclosures) })
    }

    /// The payload's bytes and the disclosures, for a signer elsewhere (HSM, KMS).
    pub fn seal(&self, entropy: &dyn Entropy) -> Result<(Vec<u8>, Vec<String>), DraftError> {
        let mut disclosures = Vec::new();
        let mut payload = Map::new();
        let mut put = |name: &str, value: Value| payload.insert(name.to_owned(), value);
        put("iss", self.iss.resource_name().into());
        put("aud", self.aud.clone().into());
        put("jti", self.jti.to_string().into());
        put("iat", self.iat.into());
        self.nbf.map(|nbf| put("nbf", nbf.into()));
        put("exp", self.exp.into());
        put("act", self.act.as_str().into());
        put("app", self.app.resource_name().into());
        self.req.map(|req| put("req", req.resource_name().into()));
        self.target.map(|target| put("target", target.resource_name().into()));
        if !self.subject.is_empty() {
            let mut placeholders = Vec::with_capacity(self.subject.len());
            for identifier in &self.subject {
                let value = serde_json::to_value(identifier)
                    .map_err(|_| DraftError("an identifier cannot be written as JSON"))?;
                let disclosure = sd::seal(None, &value, entropy)?;
                placeholders.push(json!({"...": Digest::of(&disclosure)}));
                disclosures.push(disclosure);
            }
            put("sub_id", json!({"format": "aliases", "identifiers": placeholders}));
        }
        let mut private = Vec::new();
        for (name, value) in private_members(&self.private) {
            let disclosure = sd::seal(Some(name), &value, entropy)?;
            private.push(Digest::of(&disclosure));
            disclosures.push(disclosure);
        }
        if !private.is_empty() {
            // Sorted, so that the order of the names shows nothing (RFC 9901 §4.2.4.1).
            private.sort();
            put("private", json!({"_sd": private}));
        }
        let categories = match &self.categories {
            Categories::All => json!(["*"]),
            Categories::Some(list) => json!(list),
        };
        put("categories", categories);
        self.stores.as_ref().map(|stores| put("stores", json!(stores)));
        self.window.map(|window| put("window", json!({"from": window.from, "until": window.until})));
        put("basis", self.basis.as_str().into());
        put("key_set", json!({"version": self.key_set.version, "digest": self.key_set.digest}));
        self.preview.map(|seen| put("preview", json!({"digest": seen.digest, "as_of": seen.as_of})));
        self.export.as_ref().map(|export| put("export", export_member(export)));
        self.refuse.as_ref().map(|refuse| {
            let RefuseOrder { ground, whose, reason_code } = refuse;
            let value =
                json!({"ground": ground, "whose": whose.as_str(), "reason_code": reason_code.as_str()});
            put("refuse", value)
        });
        self.authorize_reply.as_ref().map(|reply| {
            let templates: Vec<&str> = reply.templates.iter().map(Slug::as_str).collect();
            put("authorize_reply", json!({"templates": templates, "until": reply.until}))
        });
        put("_sd_alg", "sha-256".into());
        Ok((Value::Object(payload).to_string().into_bytes(), disclosures))
    }
}

fn export_member(export: &ExportOrder) -> Value {
    let mut member = json!({
        "recipient": export.recipient.as_str(),
        "format": export.format.as_str(),
        "region": export.region,
    });
    if let Some(evidence) = &export.evidence {
        member["evidence"] = json!(evidence);
    }
    member
}

fn private_members(private: &Private) -> Vec<(&'static str, Value)> {
    match private {
        Private::None => Vec::new(),
        Private::Reply { text, to } => vec![("text", json!(text)), ("to", json!(to))],
        Private::Rectify { set } => vec![("set", json!(set))],
        Private::Export { account } => vec![("account", json!(account))],
    }
}
