//! Who and what the trail registers: controllers, apps, agreements, agents, keys.
//!
//! Everything is registered once. An app that is registered again would move to another
//! controller; a key that comes again would have a second use.
//!
//! Each registration keeps the index of its leaf, so that all of them can be read first and any leaf
//! be judged by those before it ([`Registered::before`]). Memory grows with what is registered.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::agreement::AgreementTerms;
use super::authority_log::{AuthorityLog, refusal_text};
use super::pins::Pins;
use super::rules::{Broken, Rule};
use super::sub_processors::{Sinks, shares};
use crate::domain::event::{AgentRegistered, AgreementRegistered, Event, KeySetRegistered};
use crate::domain::{AgentId, AgreementId, AppId, ControllerId, Purpose, StoreId, SubProcessorId};
use crate::token::{Digest, KeyId, PublicJwk, ReportKeySuccession, VerifyingKey};

/// An agent as registered.
#[derive(Debug, Clone)]
pub struct RegisteredAgent {
    pub stores: BTreeSet<StoreId>,
    /// Its report keys, each with the leaf from which on it is one; the first is that of the registration.
    keys: Vec<(VerifyingKey, u64)>,
    index: u64,
}

#[derive(Debug, Default)]
pub struct Registered {
    controllers: BTreeMap<ControllerId, u64>,
    apps: BTreeMap<AppId, (ControllerId, u64)>,
    agreements: BTreeSet<AgreementId>,
    /// Their terms, without the app.
    terms: BTreeMap<ControllerId, Vec<(u64, AgreementTerms)>>,
    /// PPIO itself, as a controller.
    has_house: bool,
    agents: BTreeMap<AgentId, RegisteredAgent>,
    /// Which agent stands beside a store, for ever.
    stores: BTreeMap<StoreId, AgentId>,
    /// With what each does.
    sub_processors: BTreeMap<SubProcessorId, (u64, Vec<Purpose>)>,
    /// Whose a store is, where it is not PPIO's own.
    operated_by: BTreeMap<StoreId, (SubProcessorId, u64)>,
    /// Thumbprint to use and owner.
    keys: BTreeMap<KeyId, (&'static str, String)>,
    revoked: BTreeSet<KeyId>,
    /// Key sets that the trail named: controller and digest.
    key_sets: BTreeMap<(ControllerId, String), u64>,
    pinned_agents: BTreeMap<AgentId, PublicJwk>,
}

impl Registered {
    pub fn new(pins: &Pins) -> Self {
        let logs = [&pins.trail, &pins.authority];
        let logs = logs.into_iter().flat_map(|log| [&log.vkey].into_iter().chain(&log.vouched));
        let cosign = pins.freshness.iter().chain(&pins.witnesses.vkeys);
        // Nobody registers one of these.
        let keys = logs
            .chain(cosign)
            .map(|key| (KeyId::of_ed25519(key.public_key()), ("log", key.name().to_owned())));
        let keys = keys.collect();
        Self { pinned_agents: pins.agents.clone(), keys, ..Self::default() }
    }

    /// Takes a registration, the leaf of this index; other events change nothing.
    pub(super) fn take(&mut self, index: u64, subject: &str, event: &Event) -> Result<(), Broken> {
        match event {
            Event::ControllerRegistered(controller) => {
                let id = id(ControllerId::from_resource_name(subject))?;
                Rule::Registered
                    .holds(once(&mut self.controllers, id, index), "the controller is registered again")?;
                let second = controller.house && std::mem::replace(&mut self.has_house, true);
                Rule::Registered.holds(!second, "a second controller is the house")
            }
            Event::AppRegistered(app) => {
                self.before(index).needs_controller(&app.controller)?;
                let id = id(AppId::from_resource_name(subject))?;
                let new = once(&mut self.apps, id, (app.controller.clone(), index));
                Rule::Registered.holds(new, "the app is registered again")
            }
            Event::AgreementRegistered(agreement) => self.take_agreement(index, subject, agreement),
            Event::AgentRegistered(agent) => self.take_agent(index, subject, agent),
            Event::SubProcessorRegistered(company) => {
                let id = id(SubProcessorId::from_resource_name(subject))?;
                let new = once(&mut self.sub_processors, id, (index, company.purposes.clone()));
                Rule::Registered.holds(new, "the sub-processor is registered again")
            }
            Event::AccessKeyRegistered(key) => {
                // Its principal may be one that no leaf registers, such as the first operator.
                let kid = thumbprint(&key.thumbprint)?;
                self.claim_key(kid, "access", subject)
            }
            // As of an access key: not every principal that calls is registered by a leaf.
            Event::TlsKeyRegistered(key) => {
                let named = key.by.starts_with("operators/");
                Rule::Registered.holds(
                    named || key.by == subject,
                    "the TLS key is neither of who called with it nor named by an operator",
                )?;
                self.claim_key(thumbprint(&key.thumbprint)?, "tls", subject)
            }
            Event::AccessKeyRevoked(key) => {
                let kid = thumbprint(&key.thumbprint)?;
                let known = self.keys.get(&kid).is_some_and(|known| *known == ("access", subject.to_owned()));
                Rule::Registered.holds(known, "the revoked key was never this principal's")?;
                Rule::Registered.holds(self.revoked.insert(kid), "the key is revoked again")
            }
            _ => Ok(()),
        }
    }

    fn take_agreement(
        &mut self,
        index: u64,
        subject: &str,
        agreement: &AgreementRegistered,
    ) -> Result<(), Broken> {
        self.before(index).needs_controller(&agreement.controller)?;
        self.before(index).needs_sub_processors(&agreement.sub_processors)?;
        let serves =
            |one| self.sub_processors.get(one).is_some_and(|(_, does)| shares(does, &agreement.purposes));
        Rule::Registered.holds(
            agreement.sub_processors.iter().all(serves),
            "the agreement names a sub-processor that does nothing it is about",
        )?;
        Rule::Registered.holds(agreement.start < agreement.end, "the agreement ends before it begins")?;
        let new = self.agreements.insert(id(AgreementId::from_resource_name(subject))?);
        Rule::Registered.holds(new, "the agreement is registered again")?;
        let terms = AgreementTerms {
            controller: agreement.controller.clone(),
            apps: BTreeSet::new(),
            categories: agreement.categories.iter().copied().collect(),
            stores: agreement.stores.iter().cloned().collect(),
            regions: agreement.regions.iter().copied().collect(),
            sub_processors: agreement.sub_processors.iter().cloned().collect(),
            sinks: Sinks::default(),
            valid_from: agreement.start,
            valid_until: Some(agreement.end),
        };
        self.terms.entry(agreement.controller.clone()).or_default().push((index, terms));
        Ok(())
    }

    fn take_agent(&mut self, index: u64, subject: &str, agent: &AgentRegistered) -> Result<(), Broken> {
        let id = id(AgentId::from_resource_name(subject))?;
        let key = serde_json::to_vec(&agent.report_key)
            .ok()
            .and_then(|json| PublicJwk::from_json(&json).ok())
            .and_then(|jwk| VerifyingKey::new(jwk).ok())
            .ok_or_else(|| Rule::Registered.broken("the agent's report key is no acceptable public key"))?;
        self.claim_key(key.id(), "report", subject)?;
        self.before(index).needs_sub_processors(agent.operated_by.values())?;
        for (store, operator) in &agent.operated_by {
            Rule::Registered
                .holds(agent.stores.contains(store), "a store that is not its own is operated")?;
            once(&mut self.operated_by, store.clone(), (operator.clone(), index));
        }
        for store in &agent.stores {
            let own = once(&mut self.stores, store.clone(), id.clone());
            Rule::Registered.holds(own, "an agent stands beside the store already")?;
        }
        let stores = agent.stores.iter().cloned().collect();
        let entry = RegisteredAgent { stores, keys: vec![(key, index)], index };
        Rule::Registered.holds(once(&mut self.agents, id, entry), "the agent is registered again")
    }

    /// A report key of an agent named the next one, or none but one of them counts from here on.
    pub(super) fn take_report_key(
        &mut self,
        index: u64,
        subject: &str,
        event: &Event,
        authority: &AuthorityLog,
    ) -> Result<(), Broken> {
        let agent = id(AgentId::from_resource_name(subject))?;
        let before = self.before(index);
        before.agent(&agent)?;
        let counting = before.report_keys(&agent, authority);
        match event {
            Event::ReportKeyVouched(vouched) => {
                let origins = authority.trail_origins();
                let read = ReportKeySuccession::verify(&vouched.succession, &counting, &agent, origins);
                let next = read.map_err(|refusal| Rule::ReportSigned.broken(refusal_text(&refusal)))?.next;
                let same = next.id().to_string() == vouched.report_key;
                Rule::ReportSigned.holds(same, "the leaf names another key than was vouched for")?;
                self.claim_key(next.id(), "report", subject)?;
                if let Some(agent) = self.agents.get_mut(&agent) {
                    agent.keys.push((next, index));
                }
                Ok(())
            }
            Event::ReportKeyRetired(retired) => {
                let told = retired.from == index && authority.report_keys().tell(&agent, retired);
                Rule::ReportSigned.holds(told, "the authority log does not say so of the report keys")?;
                let own = counting.iter().any(|key| key.id().to_string() == retired.in_force);
                Rule::ReportSigned.holds(own, "the key in force is none of the agent's")
            }
            _ => Ok(()),
        }
    }

    /// That each pinned report key is one of its agent's: the registered one, or one of those that followed. To be
    /// asked when all registrations were taken.
    pub(super) fn holds_pins(&self) -> Result<(), (u64, Broken)> {
        for (agent, pin) in &self.pinned_agents {
            let Some(agent) = self.agents.get(agent) else { continue };
            if !agent.keys.iter().any(|(key, _)| key.jwk() == pin) {
                let what = "the agent's report key is not the pinned one, nor did either follow on the other";
                return Err((agent.index, Rule::ReportSigned.broken(what)));
            }
        }
        Ok(())
    }

    /// The trail names a key set of the authority log, each once and in order.
    pub(super) fn take_key_set(
        &mut self,
        index: u64,
        subject: &str,
        event: &KeySetRegistered,
        authority: &AuthorityLog,
    ) -> Result<(), Broken> {
        let controller = id(ControllerId::from_resource_name(subject))?;
        self.before(index).needs_controller(&controller)?;
        let published = authority.published_at(event.authority_index);
        let same = published.is_some_and(|(owner, version, digest)| {
            *owner == controller && *version == event.version && digest.to_string() == event.digest
        });
        Rule::KeySetChain.holds(same, "the authority log has another leaf at the place it names")?;
        let before =
            authority.newest_at(&controller, event.authority_index).map(|set| set.digest().to_string());
        let named = |digest: &String| self.key_sets.contains_key(&(controller.clone(), digest.clone()));
        Rule::KeySetChain
            .holds(before.as_ref().is_none_or(named), "the trail did not name the version before it")?;
        // A version 1 after others begins anew, and the trail says after what.
        let recovers = before.filter(|_| event.version == 1);
        Rule::KeySetChain
            .holds(recovers == event.recovers, "the trail says otherwise what it begins anew after")?;
        let new = once(&mut self.key_sets, (controller.clone(), event.digest.clone()), index);
        Rule::KeySetChain.holds(new, "the trail names the key set again")?;
        if let Some(set) = authority.newest_at(&controller, event.authority_index.saturating_add(1)) {
            for (kid, _) in set.keys() {
                self.claim_key(*kid, "key_set", subject)?;
            }
        }
        Ok(())
    }

    /// Records a key's only use and owner. A key set's keys come again with each version.
    fn claim_key(&mut self, kid: KeyId, usage: &'static str, owner: &str) -> Result<(), Broken> {
        let claim = (usage, owner.to_owned());
        let again = usage == "key_set";
        match self.keys.get(&kid) {
            None => {
                self.keys.insert(kid, claim);
                Ok(())
            }
            Some(known) if again && *known == claim => Ok(()),
            Some(_) => Err(Rule::Registered.broken("the key was registered before, for this or another use")),
        }
    }

    /// As the trail stood before the leaf of this index.
    pub(super) fn before(&self, index: u64) -> RegisteredBefore<'_> {
        RegisteredBefore { all: self, index }
    }

    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.controllers.len() as u64, self.apps.len() as u64, self.agents.len() as u64)
    }
}

/// What a leaf may refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct RegisteredBefore<'a> {
    all: &'a Registered,
    index: u64,
}

impl<'a> RegisteredBefore<'a> {
    pub(super) fn needs_controller(&self, controller: &ControllerId) -> Result<(), Broken> {
        let known = self.all.controllers.get(controller).is_some_and(|index| *index < self.index);
        Rule::Registered.holds(known, "the controller was not registered before")
    }

    pub(super) fn needs_sub_processors<'b>(
        &self,
        ids: impl IntoIterator<Item = &'b SubProcessorId>,
    ) -> Result<(), Broken> {
        let known = |id| self.all.sub_processors.get(id).is_some_and(|(index, _)| *index < self.index);
        Rule::Registered.holds(ids.into_iter().all(known), "the sub-processor was not registered before")
    }

    /// Whose the stores are, as far as the agents beside them were registered.
    fn sinks(&self) -> Sinks {
        let known = self.all.operated_by.iter().filter(|(_, (_, index))| *index < self.index);
        let stores = known.map(|(store, (operator, _))| (store.clone(), operator.clone())).collect();
        Sinks { stores, exports: None }
    }

    /// The app exists and is this controller's.
    pub(super) fn needs_app(&self, app: &AppId, controller: &ControllerId) -> Result<(), Broken> {
        let own = self.all.apps.get(app).is_some_and(|(owner, at)| owner == controller && *at < self.index);
        Rule::Registered.holds(own, "the app was not registered to this controller")
    }

    /// The app exists.
    pub(super) fn needs_any_app(&self, app: &AppId) -> Result<(), Broken> {
        let known = self.all.apps.get(app).is_some_and(|(_, at)| *at < self.index);
        Rule::Registered.holds(known, "the app was not registered before")
    }

    /// The trail named this one of the controller's key sets.
    pub(super) fn needs_key_set(&self, controller: &ControllerId, digest: &Digest) -> Result<(), Broken> {
        let named = (controller.clone(), digest.to_string());
        let named = self.all.key_sets.get(&named).is_some_and(|at| *at < self.index);
        Rule::Registered.holds(named, "the trail did not name the key set before")
    }

    pub(super) fn agent(&self, agent: &AgentId) -> Result<&'a RegisteredAgent, Broken> {
        let agent = self.all.agents.get(agent).filter(|agent| agent.index < self.index);
        agent.ok_or_else(|| Rule::Registered.broken("the agent was not registered before"))
    }

    /// The pins name the agent, if they name any: a report of one that nobody pinned proves what the gateway
    /// likes.
    pub(super) fn needs_pinned(&self, agent: &AgentId) -> Result<(), Broken> {
        let pinned = &self.all.pinned_agents;
        let known = pinned.is_empty() || pinned.contains_key(agent);
        Rule::ReportSigned
            .holds(known, "the pins name agents, and not the one that reports: ask it for its report key")
    }

    /// The agent's report keys that count in this leaf.
    pub(super) fn report_keys(&self, agent: &AgentId, authority: &AuthorityLog) -> Vec<&'a VerifyingKey> {
        let keys = self.all.agents.get(agent).map(|agent| agent.keys.as_slice()).unwrap_or_default();
        let ends = authority.report_keys();
        keys.iter()
            .filter(|(key, since)| *since < self.index && ends.counts(agent, &key.id(), *since, self.index))
            .map(|(key, _)| key)
            .collect()
    }

    /// What may be ordered for an app of the controller, by each of its agreements.
    pub(super) fn terms(
        self,
        controller: &ControllerId,
        app: &AppId,
    ) -> impl Iterator<Item = AgreementTerms> + use<'a> {
        let (app, sinks) = (app.clone(), self.sinks());
        let all = self.all.terms.get(controller).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(move |(index, _)| *index < self.index).map(move |(_, terms)| AgreementTerms {
            apps: [app.clone()].into(),
            sinks: sinks.clone(),
            ..terms.clone()
        })
    }
}

/// Puts it in where nothing is yet: what was registered first stays, also for the leaves in between.
fn once<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    match map.entry(key) {
        Entry::Vacant(vacant) => {
            vacant.insert(value);
            true
        }
        Entry::Occupied(_) => false,
    }
}

fn id<T>(parsed: Result<T, crate::domain::ids::IdError>) -> Result<T, Broken> {
    parsed.map_err(|error| Rule::LeafForm.broken(error.to_string()))
}

fn thumbprint(text: &str) -> Result<KeyId, Broken> {
    text.parse().map_err(|_| Rule::LeafForm.broken("a thumbprint is no RFC 7638 thumbprint"))
}
