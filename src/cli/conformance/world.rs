//! What the published vectors are judged by: an hour, an agreement, key sets, a certificate.
//!
//! It calls the very code that gateway and agent call. Every key in it stands in an RFC.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::authority::admission::{Judged, NOBODY, judge};
use crate::authority::warrant::{AdmissionFacts, Lease, Order, Standing, check_order};
use crate::authority::{AdmissionContext, AgreementTerms, KeySetChain, TakenBack};
use crate::cli::CliError;
use crate::domain::clock::FixedClock;
use crate::domain::{
    AppId, Category, ControllerId, Purpose, Reason, Refusal, Region, Stop, StoreId, Timestamp,
};
use crate::identity::{AccessKey, AccessKeys, AccessTokens, Peer, bearer};
use crate::token::{
    Detached, Digest, Envelope, Expected, Instruction, KeySet, PublicJwk, Says, SignedKeySet,
};

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
    valid_from: i64,
    valid_until: Option<i64>,
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
    pub until: Option<Until>,
    pub at_lease_under: Option<String>,
    pub after: Option<String>,
    pub pin: Option<Digest>,
    /// The instruction that an approval adds to.
    pub of: Option<String>,
    /// The case that is answered was made by or for a minor.
    pub minor: bool,
    /// What the authority log says of it before its first lease.
    pub stopped: Option<Stop>,
}

/// An instruction that is refused for nothing.
pub struct Taken {
    pub instruction: Instruction,
    /// Too few have signed: it waits for approvals until its end.
    pub waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Form, signatures, members and disclosures; not time, roles, app and agreement.
    Form,
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

    fn key_set(&self, name: &str) -> Result<&KeySet, Refusal> {
        self.key_sets
            .get(name)
            .ok_or_else(|| Refusal::new(Reason::NotFound).note("the world has no such key set"))
    }

    fn terms(&self, name: &str) -> Result<AgreementTerms, Refusal> {
        let unknown = || Refusal::new(Reason::NotFound).note("the world has no such agreement");
        let agreement = self.file.agreements.get(name).ok_or_else(unknown)?;
        let apps = agreement.apps.iter().map(|app| AppId::from_resource_name(app));
        Ok(AgreementTerms {
            controller: self.controller.clone(),
            apps: apps.collect::<Result<_, _>>().map_err(|_| unknown())?,
            categories: agreement.categories.clone(),
            purposes: [Purpose::ServiceDelivery].into(),
            stores: agreement.stores.clone(),
            regions: agreement.regions.clone(),
            valid_from: agreement.valid_from,
            valid_until: agreement.valid_until,
        })
    }

    /// As the gateway judges it when it arrives; and, where the circumstances say so, as the agent does later.
    pub fn instruction(&self, input: &str, under: &Circumstances) -> Result<Taken, Refusal> {
        let newest = self.key_set(under.key_set.as_deref().unwrap_or("current"))?;
        self.judge(Envelope::read(input.as_bytes())?, newest, under)
    }

    /// A signature that was given later, `<protected>..<signature>`, with the instruction it completes.
    pub fn approval(&self, input: &str, under: &Circumstances) -> Result<Taken, Refusal> {
        let newest = self.key_set(under.key_set.as_deref().unwrap_or("current"))?;
        let envelope = Envelope::read(under.of.as_deref().unwrap_or_default().as_bytes())?;
        let approval = Detached::parse(Says::Approved, input)?;
        approval.verify(&envelope, newest)?;
        self.judge(envelope.approved(&approval), newest, under)
    }

    fn judge(&self, envelope: Envelope, newest: &KeySet, under: &Circumstances) -> Result<Taken, Refusal> {
        let expected = Expected { iss: &self.controller, aud: &self.file.origin };
        let text = envelope.to_wire();
        let instruction = envelope.verify(newest)?.parse(&expected)?;
        if under.until == Some(Until::Form) {
            return Ok(Taken { instruction, waits: false });
        }
        let terms = self.terms(under.agreement.as_deref().unwrap_or("current"))?;
        let owned = instruction.statement().app.resource_name() == self.file.app;
        let context = AdmissionContext {
            newest,
            app_owner: owned.then_some(&self.controller),
            agreement: Some(&terms),
            now: self.file.now,
            minor: under.minor,
            without: NOBODY,
            witnesses: 0,
        };
        let waits = matches!(judge(&instruction, &context)?, Judged::Waits(_));
        if let Some(later) = &under.at_lease_under {
            self.at_first_lease(&text, newest, self.key_set(later)?, (&terms, under.stopped))?;
        }
        Ok(Taken { instruction, waits })
    }

    /// Admitted under the first set, leased after the second came into force.
    fn at_first_lease(
        &self,
        input: &str,
        first: &KeySet,
        later: &KeySet,
        (terms, stopped): (&AgreementTerms, Option<Stop>),
    ) -> Result<(), Refusal> {
        let mut log = vec![(0, first.bytes())];
        if later.version() > first.version() {
            log.push((1, later.bytes()));
        }
        let chain = KeySetChain::from_log(&self.controller, &self.file.origin, &first.digest(), log)?;
        let mut taken_back = TakenBack::default();
        if let Some(stop) = stopped {
            let jti = Envelope::read(input.as_bytes())?.verify(first)?;
            let expected = Expected { iss: &self.controller, aud: &self.file.origin };
            taken_back.stop(jti.parse_public(&expected)?.jti, stop, None);
        }
        let store = terms.stores.first().ok_or(Reason::StoreUnknown)?;
        let admission =
            AdmissionFacts { key_set_version: first.version(), authority_size: 1, at: self.file.now };
        let order = Order { instruction: input.as_bytes(), store, admission, lease: Lease::First };
        let standing = Standing {
            chain: &chain,
            origin: &self.file.origin,
            authority_size: 2,
            agreement: terms,
            stores: &terms.stores,
            taken_back: &taken_back,
            witnesses: 0,
            now: self.file.now,
        };
        check_order(&order, &standing).map(drop)
    }

    /// A first key set under its pin, or the successor of the one named.
    pub fn key_set_of(&self, input: &str, under: &Circumstances) -> Result<(), Refusal> {
        let signed = SignedKeySet::read(input.as_bytes())?;
        match &under.after {
            Some(previous) => signed.succeed(self.key_set(previous)?).map(drop),
            None => {
                let pin = under.pin.unwrap_or_else(|| signed.digest());
                signed.genesis(&self.controller, &self.file.origin, &pin).map(drop)
            }
        }
    }

    /// The value of the `authorization` metadata; empty: there is none.
    pub async fn access_token(&self, input: &str) -> Result<(), Refusal> {
        let token = bearer((!input.is_empty()).then_some(input.as_bytes()).into_iter())?;
        let access = &self.file.access;
        let key = self.file.keys.get(&access.key).ok_or(Reason::TokenKeyUnknown)?;
        let public = serde_json::to_vec(&public_part(&key.jwk)).map_err(|_| Reason::Internal)?;
        let jwk = PublicJwk::from_json(&public)?.canonical();
        let registered = Registered(AccessKey::from_jwk(&self.file.controller, &jwk)?);
        let peer = Peer {
            spiffe: access.certificate.spiffe.parse().map_err(|_| Reason::SpiffeIdMalformed)?,
            certificate_sha256: *access.certificate.x5t.as_bytes(),
            not_after: Timestamp::from_second(self.file.now + 86_400).map_err(|_| Reason::Internal)?,
            serial: "01".to_owned(),
        };
        let clock = Arc::new(FixedClock::at(self.file.now));
        let tokens = AccessTokens::new(access.audience.clone(), Arc::new(registered), clock);
        tokens.verify(token, &peer).await.map(drop)
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
