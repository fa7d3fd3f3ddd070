//! The operator registers controllers, agreements, apps and agents. Every
//! change is a leaf (R4). The operator sees no personal data here, for there is none.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::event::{
    AccessKeyRegistered, AccessKeyRevoked, AgentRegistered, AgreementRegistered, AppRegistered,
    ControllerRegistered,
};
use crate::domain::{
    AgentId, AgreementId, AppId, Category, ControllerId, Kind, Purpose, Reason, Refusal, Region, Role,
    StoreId, SubProcessorId,
};
use crate::store::calls::{self, CallId, CallRow};
use crate::store::registry::{self as rows, Agent, Agreement, Controller, Fact, FactKind, Terms};
use crate::store::{Command, Issued, StoreError, Topic, Tx, key_sets};
use crate::token::{KeyId, PublicJwk};

use super::idempotency::{Once, once, plain_payload};
use super::sub_processors::{sub_processors_exist, sub_processors_serve};
use super::tls_keys::NamedTlsKeys;
use super::{App, AppResult, RequestUuid};

const MAX_TEXT: usize = 128;
const MAX_FACTS: usize = 64;

pub struct NewController {
    pub id: ControllerId,
    pub display_name: String,
    pub house: bool,
    /// Of its certificates, as far as they are named.
    pub tls_keys: Vec<KeyId>,
}

pub struct NewAgreement {
    pub id: AgreementId,
    pub controller: ControllerId,
    pub categories: Vec<Category>,
    pub purposes: Vec<Purpose>,
    pub stores: Vec<StoreId>,
    pub regions: Vec<Region>,
    pub sub_processors: Vec<SubProcessorId>,
    pub start: i64,
    pub end: i64,
}

pub struct NewApp {
    pub id: AppId,
    pub controller: ControllerId,
    pub display_name: String,
    pub aliases: Vec<String>,
    pub bundle_ids: Vec<String>,
    pub domains: Vec<String>,
    pub sdk_app_ids: Vec<String>,
    pub common_name: bool,
}

pub struct NewAgent {
    pub id: AgentId,
    pub region: Region,
    pub stores: Vec<StoreId>,
    /// Whose a store is, where it is not PPIO's own.
    pub operated_by: BTreeMap<StoreId, SubProcessorId>,
    /// A public JWK.
    pub report_key: String,
    /// Of its certificates, as far as they are named.
    pub tls_keys: Vec<KeyId>,
}

/// Who registers, and under which request id.
pub struct Registering {
    /// The operator's resource name.
    pub by: String,
    pub request_id: Option<RequestUuid>,
}

pub(super) fn text(value: &str, field: &'static str) -> Result<(), Refusal> {
    if value.trim().is_empty() {
        return Err(Refusal::at(Reason::FieldRequired, field));
    }
    if value.len() > MAX_TEXT || value.chars().any(char::is_control) {
        return Err(Refusal::at(Reason::FieldInvalid, field).note("at most 128 bytes, no control characters"));
    }
    Ok(())
}

/// Sorted and without repeats, so that one set of facts has one digest.
fn facts_of(app: &NewApp) -> Result<Vec<Fact>, Refusal> {
    let mut facts = Vec::new();
    let mut add = |kind: FactKind, shown: &str, alias: bool, field: &'static str| -> Result<(), Refusal> {
        text(shown, field)?;
        let folded = crate::domain::phrase::fold(shown);
        facts.push(Fact { kind, shown: shown.to_owned(), folded, alias });
        Ok(())
    };
    add(FactKind::Name, &app.display_name, false, "app.display_name")?;
    for alias in &app.aliases {
        add(FactKind::Name, alias, true, "app.aliases")?;
    }
    for id in &app.bundle_ids {
        add(FactKind::BundleId, id, false, "app.bundle_ids")?;
    }
    for domain in &app.domains {
        add(FactKind::Domain, domain, false, "app.domains")?;
    }
    for id in &app.sdk_app_ids {
        add(FactKind::SdkAppId, id, false, "app.sdk_app_ids")?;
    }
    facts.sort_by(|a, b| (a.kind, &a.folded).cmp(&(b.kind, &b.folded)));
    facts.dedup_by(|a, b| a.kind == b.kind && a.folded == b.folded);
    if facts.len() > MAX_FACTS {
        return Err(Refusal::at(Reason::FieldInvalid, "app").note("at most 64 facts"));
    }
    Ok(facts)
}

/// What the leaf says of an app's facts, which are sorted by kind and folded text.
pub fn facts_digest(facts: &[Fact]) -> String {
    let parts: Vec<&str> = facts.iter().flat_map(|f| [f.kind.as_str(), f.shown.as_str()]).collect();
    plain_payload(&parts)
}

impl App {
    pub async fn register_controller(&self, who: Registering, new: NewController) -> AppResult<Issued> {
        text(&new.display_name, "display_name")?;
        let tls_keys = self.named_tls_keys(&new.tls_keys)?;
        let house = if new.house { "house" } else { "" };
        let payload = payload_naming(&[new.id.as_str(), &new.display_name, house], &tls_keys);
        let call = who.request_id.map(|r| r.call(&who.by, "CreateController"));
        let row =
            Controller { id: new.id, display_name: new.display_name, house: new.house, key_set_version: 0 };
        self.register(RegisterController { by: who.by, call, payload, row, tls_keys }).await
    }

    pub async fn register_agreement(&self, who: Registering, new: NewAgreement) -> AppResult<Issued> {
        let bad =
            |field: &'static str, note: &'static str| Refusal::at(Reason::AgreementInvalid, field).note(note);
        if new.start >= new.end {
            return Err(bad("agreement.end_time", "ends before it starts").into());
        }
        if new.categories.is_empty() {
            return Err(bad("agreement.categories", "names none").into());
        }
        if new.stores.is_empty() {
            return Err(bad("agreement.stores", "names none").into());
        }
        if new.purposes.is_empty() {
            return Err(bad("agreement.purposes", "names none").into());
        }
        let terms = Terms {
            categories: new.categories,
            purposes: new.purposes,
            stores: new.stores,
            regions: new.regions,
            sub_processors: new.sub_processors,
        };
        let row = Agreement { id: new.id, controller: new.controller, terms, start: new.start, end: new.end };
        let payload = plain_payload(&[
            row.id.as_str(),
            row.controller.as_str(),
            &format!("{:?}", row.terms),
            &row.start.to_string(),
            &row.end.to_string(),
        ]);
        let call = who.request_id.map(|r| r.call(&who.by, "CreateAgreement"));
        self.register(RegisterAgreement { by: who.by, call, payload, row }).await
    }

    pub async fn register_app(&self, who: Registering, new: NewApp) -> AppResult<Issued> {
        let facts = facts_of(&new)?;
        let row = rows::App {
            id: new.id,
            controller: new.controller,
            display_name: new.display_name,
            common_name: new.common_name,
            facts,
        };
        let common = if row.common_name { "common" } else { "" };
        let payload =
            plain_payload(&[row.id.as_str(), row.controller.as_str(), common, &facts_digest(&row.facts)]);
        let call = who.request_id.map(|r| r.call(&who.by, "CreateApp"));
        self.register(RegisterApp { by: who.by, call, payload, row }).await
    }

    pub async fn register_agent(&self, who: Registering, new: NewAgent) -> AppResult<Issued> {
        if new.stores.is_empty() {
            return Err(Refusal::at(Reason::FieldRequired, "agent.stores").into());
        }
        if new.operated_by.keys().any(|store| !new.stores.contains(store)) {
            return Err(Refusal::at(Reason::FieldInvalid, "agent.operators")
                .note("a store that the agent does not stand beside")
                .into());
        }
        let key = public_key(&new.report_key, "agent.report_key")?;
        let row = Agent {
            id: new.id,
            region: new.region,
            stores: new.stores,
            operated_by: new.operated_by,
            report_key: key.canonical(),
            next_report_key: String::new(),
            anchor_sequence: 0,
            anchor_head: String::new(),
        };
        self.check_not_own(&key.thumbprint())?;
        let stores = format!("{:?}{:?}", row.stores, row.operated_by);
        let tls_keys = self.named_tls_keys(&new.tls_keys)?;
        let payload = payload_naming(&[row.id.as_str(), &row.report_key, &stores], &tls_keys);
        let call = who.request_id.map(|r| r.call(&who.by, "CreateAgent"));
        self.register(RegisterAgent {
            by: who.by,
            call,
            payload,
            row,
            thumbprint: key.thumbprint().to_string(),
            tls_keys,
        })
        .await
    }

    /// Nobody registers a key of the gateway's own.
    pub(super) fn check_not_own(&self, key: &KeyId) -> Result<(), Refusal> {
        self.settings.own_keys.check_not_among(key)
    }

    /// Registers an access key of a principal, and keys of its certificates where any are named; returns the access
    /// key's thumbprint.
    pub async fn register_access_key(
        &self,
        who: Registering,
        principal: &str,
        jwk: &str,
        tls_keys: &[KeyId],
    ) -> AppResult<(String, Issued)> {
        let key = public_key(jwk, "key")?;
        let known = Kind::ALL.iter().any(|kind| {
            principal
                .strip_prefix(kind.collection())
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|id| id.parse::<ControllerId>().is_ok())
        });
        if !known {
            return Err(Refusal::at(Reason::FieldInvalid, "principal")
                .note("<collection>/<id> of a principal")
                .into());
        }
        self.check_not_own(&key.thumbprint())?;
        let thumbprint = key.thumbprint().to_string();
        let tls_keys = self.named_tls_keys(tls_keys)?;
        let payload = payload_naming(&[principal, &thumbprint], &tls_keys);
        let call = who.request_id.map(|r| r.call(&who.by, "CreateAccessKey"));
        let command = RegisterAccessKey {
            by: who.by,
            call,
            payload,
            principal: principal.to_owned(),
            jwk: key.canonical(),
            thumbprint: thumbprint.clone(),
            tls_keys,
        };
        Ok((thumbprint, self.register(command).await?))
    }

    pub async fn revoke_access_key(&self, who: Registering, thumbprint: &str) -> AppResult<Issued> {
        let payload = plain_payload(&[thumbprint]);
        let call = who.request_id.map(|r| r.call(&who.by, "RevokeAccessKey"));
        self.register(RevokeAccessKey { by: who.by, call, payload, thumbprint: thumbprint.to_owned() }).await
    }

    pub(super) async fn register<C: Command<Output = Option<u64>>>(&self, command: C) -> AppResult<Issued> {
        let committed = self.store.transact(command).await?;
        match (committed.receipt, committed.value) {
            (Some(issued), _) => Ok(issued),
            (None, Some(leaf)) => self.store.receipt(leaf).await,
            (None, None) => Err(StoreError::Corrupt("receipt")),
        }
    }

    pub async fn list_controllers(&self, after: &str, limit: u32) -> AppResult<Vec<(Controller, String)>> {
        let mut conn = self.store.reader().await?;
        let controllers = rows::controllers(&mut conn, after, limit).await?;
        let ids = controllers.iter().map(|controller| &controller.id).collect();
        let mut heads = key_sets::key_set_heads(&mut conn, &ids).await?;
        Ok(controllers
            .into_iter()
            .map(|controller| {
                let digest = heads.remove(&controller.id).map(|(_, digest)| digest);
                (controller, digest.unwrap_or_default())
            })
            .collect())
    }

    pub async fn list_apps(&self, after: &str, limit: u32) -> AppResult<Vec<rows::App>> {
        rows::apps(&mut self.store.reader().await?, after, limit).await
    }

    pub async fn list_agreements(&self, after: &str, limit: u32) -> AppResult<Vec<Agreement>> {
        rows::agreements(&mut self.store.reader().await?, after, limit).await
    }
}

/// Where no TLS key is named, the digest that the call had before any could be.
fn payload_naming(parts: &[&str], tls_keys: &NamedTlsKeys) -> String {
    plain_payload(&parts.iter().copied().chain(tls_keys.words()).collect::<Vec<_>>())
}

fn public_key(jwk: &str, field: &'static str) -> Result<PublicJwk, Refusal> {
    PublicJwk::from_json(jwk.as_bytes()).map_err(|refusal| Refusal::at(refusal.reason, field))
}

/// The leaf of an earlier same call.
pub(super) async fn again(
    tx: &mut Tx<'_>,
    call: Option<&CallId>,
    payload: &str,
) -> Result<Option<u64>, StoreError> {
    Ok(match once(tx.conn(), call, payload).await? {
        Once::Again(row) => Some(row.leaf),
        Once::First => None,
    })
}

pub(super) async fn remember(
    tx: &mut Tx<'_>,
    call: Option<&CallId>,
    payload: &str,
    resource: String,
    leaf: u64,
) -> Result<Option<u64>, StoreError> {
    if let Some(call) = call {
        let row = CallRow { key_id: None, payload: payload.to_owned(), resource, leaf };
        calls::insert(tx, call, &row).await?;
    }
    Ok(Some(leaf))
}

pub(super) async fn controller_exists(tx: &mut Tx<'_>, id: &ControllerId) -> Result<Controller, StoreError> {
    Ok(rows::controller(tx.conn(), id).await?.ok_or_else(|| Refusal::at(Reason::NotFound, "controller"))?)
}

struct RegisterController {
    by: String,
    call: Option<CallId>,
    payload: String,
    row: Controller,
    tls_keys: NamedTlsKeys,
}

#[async_trait::async_trait]
impl Command for RegisterController {
    const NAME: &'static str = "register_controller";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        if let Some(leaf) = again(tx, self.call.as_ref(), &self.payload).await? {
            return Ok(Some(leaf));
        }
        rows::insert_controller(tx, &self.row).await?;
        let name = self.row.id.resource_name();
        let leaf = tx.append(&name, ControllerRegistered { by: self.by.clone(), house: self.row.house })?;
        self.tls_keys.claim(tx, &self.by, &name).await?;
        remember(tx, self.call.as_ref(), &self.payload, name, leaf).await
    }
}

struct RegisterAgreement {
    by: String,
    call: Option<CallId>,
    payload: String,
    row: Agreement,
}

#[async_trait::async_trait]
impl Command for RegisterAgreement {
    const NAME: &'static str = "register_agreement";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        if let Some(leaf) = again(tx, self.call.as_ref(), &self.payload).await? {
            return Ok(Some(leaf));
        }
        let controller = controller_exists(tx, &self.row.controller).await?;
        // The data's role selects who decides (R24): an enterprise does not decide over PPIO's own data, nor PPIO over theirs.
        let role = if controller.house { Role::Controller } else { Role::EntrustedProcessor };
        if self.row.terms.categories.iter().any(|c| c.role() != role) {
            return Err(Refusal::at(Reason::AgreementInvalid, "agreement.categories")
                .note("a category that PPIO holds in another role")
                .into());
        }
        for (store, region) in rows::store_regions(tx.conn(), &self.row.terms.stores).await? {
            may_lie_in(&self.row.terms, region)
                .map_err(|refusal| refusal.note(format!("{store} lies in {region}")))?;
        }
        sub_processors_exist(tx, &self.row.terms.sub_processors).await?;
        sub_processors_serve(tx, &self.row.terms).await?;
        rows::insert_agreement(tx, &self.row).await?;
        let terms = &self.row.terms;
        let name = self.row.id.resource_name();
        let leaf = tx.append(
            &name,
            AgreementRegistered {
                by: self.by.clone(),
                controller: self.row.controller.clone(),
                categories: terms.categories.clone(),
                purposes: terms.purposes.clone(),
                stores: terms.stores.clone(),
                regions: terms.regions.clone(),
                sub_processors: terms.sub_processors.clone(),
                start: self.row.start,
                end: self.row.end,
            },
        )?;
        remember(tx, self.call.as_ref(), &self.payload, name, leaf).await
    }
}

/// A store lies in the mainland, or where the agreement lets data go (R22).
fn may_lie_in(terms: &Terms, region: Region) -> Result<(), Refusal> {
    match region.is_open_to(&terms.regions) {
        true => Ok(()),
        false => Err(Refusal::at(Reason::RegionNotAllowed, "region")),
    }
}

struct RegisterApp {
    by: String,
    call: Option<CallId>,
    payload: String,
    row: rows::App,
}

#[async_trait::async_trait]
impl Command for RegisterApp {
    const NAME: &'static str = "register_app";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        if let Some(leaf) = again(tx, self.call.as_ref(), &self.payload).await? {
            return Ok(Some(leaf));
        }
        controller_exists(tx, &self.row.controller).await?;
        rows::insert_app(tx, &self.row).await?;
        let name = self.row.id.resource_name();
        let leaf = tx.append(
            &name,
            AppRegistered {
                by: self.by.clone(),
                controller: self.row.controller.clone(),
                facts: u32::try_from(self.row.facts.len()).unwrap_or(u32::MAX),
                facts_digest: facts_digest(&self.row.facts),
            },
        )?;
        remember(tx, self.call.as_ref(), &self.payload, name, leaf).await
    }
}

struct RegisterAgent {
    by: String,
    call: Option<CallId>,
    payload: String,
    row: Agent,
    thumbprint: String,
    tls_keys: NamedTlsKeys,
}

#[async_trait::async_trait]
impl Command for RegisterAgent {
    const NAME: &'static str = "register_agent";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        if let Some(leaf) = again(tx, self.call.as_ref(), &self.payload).await? {
            return Ok(Some(leaf));
        }
        let name = self.row.id.resource_name();
        rows::claim_thumbprint(tx, &self.thumbprint, "report", &name).await?;
        for agreement in rows::agreements_over(tx.conn(), &self.row.stores).await? {
            may_lie_in(&agreement.terms, self.row.region)
                .map_err(|refusal| refusal.note(format!("{} lets no data go there", agreement.id)))?;
        }
        sub_processors_exist(tx, self.row.operated_by.values()).await?;
        rows::insert_agent(tx, &self.row).await?;
        let report_key: Value = serde_json::from_str(&self.row.report_key)
            .map_err(|_| Refusal::at(Reason::KeyUnsuitable, "agent.report_key"))?;
        let leaf = tx.append(
            &name,
            AgentRegistered {
                by: self.by.clone(),
                stores: self.row.stores.clone(),
                region: self.row.region,
                report_key,
                operated_by: self.row.operated_by.clone(),
            },
        )?;
        self.tls_keys.claim(tx, &self.by, &name).await?;
        remember(tx, self.call.as_ref(), &self.payload, name, leaf).await
    }
}

struct RegisterAccessKey {
    by: String,
    call: Option<CallId>,
    payload: String,
    principal: String,
    jwk: String,
    thumbprint: String,
    tls_keys: NamedTlsKeys,
}

#[async_trait::async_trait]
impl Command for RegisterAccessKey {
    const NAME: &'static str = "register_access_key";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        if let Some(leaf) = again(tx, self.call.as_ref(), &self.payload).await? {
            return Ok(Some(leaf));
        }
        rows::claim_thumbprint(tx, &self.thumbprint, "access", &self.principal).await?;
        rows::insert_access_key(tx, &self.thumbprint, &self.principal, &self.jwk).await?;
        tx.wake(Topic::AccessKeys);
        let event = AccessKeyRegistered { by: self.by.clone(), thumbprint: self.thumbprint.clone() };
        let leaf = tx.append(&self.principal, event)?;
        self.tls_keys.claim(tx, &self.by, &self.principal).await?;
        remember(tx, self.call.as_ref(), &self.payload, self.principal.clone(), leaf).await
    }
}

struct RevokeAccessKey {
    by: String,
    call: Option<CallId>,
    payload: String,
    thumbprint: String,
}

#[async_trait::async_trait]
impl Command for RevokeAccessKey {
    const NAME: &'static str = "revoke_access_key";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        if let Some(leaf) = again(tx, self.call.as_ref(), &self.payload).await? {
            return Ok(Some(leaf));
        }
        let principal = rows::revoke_access_key(tx, &self.thumbprint).await?;
        tx.wake(Topic::AccessKeys);
        let event = AccessKeyRevoked { by: self.by.clone(), thumbprint: self.thumbprint.clone() };
        let leaf = tx.append(&principal, event)?;
        remember(tx, self.call.as_ref(), &self.payload, principal, leaf).await
    }
}
