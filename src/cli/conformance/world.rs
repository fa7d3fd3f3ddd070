//! What the published vectors are judged by: an hour, an agreement, key sets, a certificate.
//!
//! It calls the very code that gateway and agent call. Every key in it stands in an RFC.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::sequence::{Sequence, Step};
use crate::authority::precedent::check_key_use;
use crate::authority::{AgreementTerms, Sinks};
use crate::cli::CliError;
use crate::domain::clock::FixedClock;
use crate::domain::{
    AppId, Category, ControllerId, Reason, Refusal, Region, Right, StoreId, SubProcessorId, Timestamp,
};
use crate::grpc::access::{Access as CallAccess, rule_for};
use crate::identity::{AccessKey, AccessKeys, AccessTokens, Peer, bearer};
use crate::token::{Digest, Expected, Instruction, KeyId, KeySet, PublicJwk, SignedKeySet};

/// `world.json` beside the vectors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    now: i64,
    origin: String,
    controller: String,
    app: String,
    agreements: BTreeMap<String, Agreement>,
    requests: BTreeMap<String, Request>,
    keys: BTreeMap<String, Published>,
    key_sets: BTreeMap<String, String>,
    pin: Digest,
    access: Access,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Agreement {
    apps: BTreeSet<String>,
    categories: BTreeSet<Category>,
    stores: BTreeSet<StoreId>,
    regions: BTreeSet<Region>,
    #[serde(default)]
    sub_processors: BTreeSet<SubProcessorId>,
    /// Whose a store is, where it is not PPIO's own.
    #[serde(default)]
    operated_by: BTreeMap<StoreId, SubProcessorId>,
    valid_from: i64,
    valid_until: Option<i64>,
}

/// A case that was brought to the controller.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    app: String,
    pub rights: Vec<Right>,
    /// It was made by or for a minor.
    pub minor: bool,
}

impl Request {
    pub fn app(&self) -> Result<AppId, Refusal> {
        AppId::from_resource_name(&self.app).map_err(|_| Reason::FieldInvalid.into())
    }
}

/// A key that stands in an RFC, private part and all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    #[serde(rename = "source")]
    _source: String,
    kid: String,
    jwk: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Access {
    key: String,
    audience: String,
    certificate: Certificate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    spiffe: String,
    #[serde(rename = "x5t#S256")]
    x5t: Digest,
}

/// Under which of the world's names a vector is judged; see `tests/vectors/README.md`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Circumstances {
    pub key_set: Option<String>,
    pub agreement: Option<String>,
    /// What the gateway has seen, in this order.
    pub before: Vec<Step>,
    /// What comes between its admission and its first lease, at which it is judged again.
    pub then: Option<Vec<Step>>,
    pub after: Option<String>,
    pub pin: Option<Digest>,
    /// The instruction that an approval adds to, or a withdrawal takes from.
    pub of: Option<String>,
    /// What an access token is sent with: `<service>/<method>`.
    pub call: Option<String>,
}

/// An instruction that is refused for nothing.
pub struct Taken {
    pub instruction: Instruction,
    /// Too few have signed: it waits for approvals until its end.
    pub waits: bool,
}

pub struct World {
    file: File,
    controller: ControllerId,
    key_sets: BTreeMap<String, KeySet>,
}

/// The world is a file of ours: whoever edited it hears where it no longer fits.
fn broken(what: &str) -> CliError {
    CliError::Plain(format!("world.json: {what}"))
}

impl World {
    pub fn read(json: &[u8]) -> Result<Self, CliError> {
        let file: File = serde_json::from_slice(json).map_err(|error| broken(&error.to_string()))?;
        let controller = ControllerId::from_resource_name(&file.controller).map_err(CliError::plain)?;
        let mut key_sets = BTreeMap::new();
        // Every set of version 1 is pinned by itself; those of version 2 follow the current one.
        let signed = |text: &String| SignedKeySet::read(text.as_bytes());
        let current = file.key_sets.get("current").ok_or_else(|| broken("no current key set"))?;
        let current = signed(current)?.genesis(&controller, &file.origin, &file.pin)?;
        for (name, text) in &file.key_sets {
            let set = signed(text)?;
            let pin = set.digest();
            let set = match set.version() {
                1 => set.genesis(&controller, &file.origin, &pin)?,
                _ => set.succeed(&current)?,
            };
            key_sets.insert(name.clone(), set);
        }
        Ok(Self { file, controller, key_sets })
    }

    /// The names of the keys, by thumbprint.
    pub fn key_name(&self, kid: &str) -> Option<&str> {
        self.file.keys.iter().find(|(_, key)| key.kid == kid).map(|(name, _)| name.as_str())
    }

    pub(super) fn key_set(&self, name: &str) -> Result<&KeySet, Refusal> {
        self.key_sets
            .get(name)
            .ok_or_else(|| Refusal::new(Reason::NotFound).note("the world has no such key set"))
    }

    pub(super) fn now(&self) -> i64 {
        self.file.now
    }

    /// Whose instructions for which trail are judged here.
    pub(super) fn expected(&self) -> Expected<'_> {
        Expected { iss: &self.controller, aud: &self.file.origin }
    }

    /// The world has one app, and it is the controller's.
    pub(super) fn owner_of(&self, app: &AppId) -> Option<&ControllerId> {
        (app.resource_name() == self.file.app).then_some(&self.controller)
    }

    pub(super) fn request(&self, name: &str) -> Option<&Request> {
        self.file.requests.get(name)
    }

    pub(super) fn terms(&self, name: &str) -> Result<AgreementTerms, Refusal> {
        let unknown = || Refusal::new(Reason::NotFound).note("the world has no such agreement");
        let agreement = self.file.agreements.get(name).ok_or_else(unknown)?;
        let apps = agreement.apps.iter().map(|app| AppId::from_resource_name(app));
        Ok(AgreementTerms {
            controller: self.controller.clone(),
            apps: apps.collect::<Result<_, _>>().map_err(|_| unknown())?,
            categories: agreement.categories.clone(),
            stores: agreement.stores.clone(),
            regions: agreement.regions.clone(),
            sub_processors: agreement.sub_processors.clone(),
            sinks: Sinks { stores: agreement.operated_by.clone(), exports: None },
            valid_from: agreement.valid_from,
            valid_until: agreement.valid_until,
        })
    }

    /// As the gateway judges it when it arrives, after what came before; and, where the circumstances say what came
    /// then, as the agent does at the first lease.
    pub fn instruction(&self, input: &str, under: &Circumstances) -> Result<Taken, Refusal> {
        let mut sequence = Sequence::begin(self, under)?;
        let taken = sequence.submit(input)?;
        if let Some(then) = &under.then {
            let admitted_at = sequence.now();
            sequence.take(then)?;
            sequence.at_first_lease(&taken.instruction, admitted_at)?;
        }
        Ok(taken)
    }

    /// A signature that was given later, `<protected>..<signature>`, with the instruction it completes.
    pub fn approval(&self, input: &str, under: &Circumstances) -> Result<Taken, Refusal> {
        Sequence::begin(self, under)?.approve(input, under.of.as_deref().unwrap_or_default())
    }

    /// A signature that is taken back, `<protected>..<signature>`, and the instruction that it stood on.
    pub fn withdrawal(&self, input: &str, under: &Circumstances) -> Result<(), Refusal> {
        Sequence::begin(self, under)?.withdraw(input, under.of.as_deref().unwrap_or_default())
    }

    /// A first key set under its pin, or the successor of the one named.
    pub fn key_set_of(&self, input: &str, under: &Circumstances) -> Result<(), Refusal> {
        let signed = SignedKeySet::read(input.as_bytes())?;
        let set = match &under.after {
            Some(previous) => signed.succeed(self.key_set(previous)?)?,
            None => {
                let pin = under.pin.unwrap_or_else(|| signed.digest());
                signed.genesis(&self.controller, &self.file.origin, &pin)?
            }
        };
        if set.is_expired(self.file.now) {
            return Err(Reason::KeySetExpired.into());
        }
        // Registered before it: the key that opens the gateway.
        let access = self.file.keys.get(&self.file.access.key).map(|key| key.kid.as_str());
        for (kid, key) in set.keys() {
            let known =
                (access == Some(kid.to_string().as_str())).then_some(("access", &*self.file.controller));
            check_key_use(known, key.usage.as_str(), &self.file.controller)?;
        }
        Ok(())
    }

    /// The value of the `authorization` metadata; empty: there is none. `call`: what it is sent with.
    pub async fn access_token(&self, input: &str, call: Option<&str>) -> Result<(), Refusal> {
        let token = bearer((!input.is_empty()).then_some(input.as_bytes()).into_iter())?;
        let access = &self.file.access;
        let key = self.file.keys.get(&access.key).ok_or(Reason::TokenKeyUnknown)?;
        let public = serde_json::to_vec(&public_part(&key.jwk)).map_err(|_| Reason::Internal)?;
        let jwk = PublicJwk::from_json(&public)?.canonical();
        let registered = Registered(AccessKey::from_jwk(&self.file.controller, &jwk)?);
        let peer = Peer {
            spiffe: access.certificate.spiffe.parse().map_err(|_| Reason::SpiffeIdMalformed)?,
            certificate_sha256: *access.certificate.x5t.as_bytes(),
            // Nothing here asks what the key is used for elsewhere.
            key: KeyId::from_bytes(*access.certificate.x5t.as_bytes()),
            not_after: Timestamp::from_second(self.file.now + 86_400).map_err(|_| Reason::Internal)?,
            serial: "01".to_owned(),
        };
        let clock = Arc::new(FixedClock::at(self.file.now));
        let tokens = AccessTokens::new(access.audience.clone(), Arc::new(registered), clock);
        let caller = tokens.verify(token, &peer).await?;
        let Some(call) = call else { return Ok(()) };
        match rule_for(&format!("/mandate.v1.{call}")) {
            Some(CallAccess::Guarded(rule)) => {
                caller.require_kind(rule.kinds)?;
                caller.require_scope(rule.scope)
            }
            Some(CallAccess::CertificateOnly) => Ok(()),
            None => Err(Refusal::new(Reason::NotFound).note("there is no such call")),
        }
    }
}

fn public_part(
    jwk: &serde_json::Map<String, serde_json::Value>,
) -> serde_json::Map<String, serde_json::Value> {
    let public = ["kty", "crv", "x", "y", "n", "e"];
    jwk.iter()
        .filter(|(name, _)| public.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

/// One registered access key.
struct Registered(AccessKey);

#[async_trait::async_trait]
impl AccessKeys for Registered {
    async fn access_key(&self, kid: &str) -> Result<Option<AccessKey>, Refusal> {
        Ok((self.0.kid() == kid).then(|| self.0.clone()))
    }

    fn generation(&self) -> u64 {
        0
    }
}
