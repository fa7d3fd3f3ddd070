//! Who and what the trail has registered so far: controllers, apps, agreements, agents, keys.
//!
//! Everything is registered once. An app that is registered again would move to another
//! controller; a key that comes again would have a second use.

use std::collections::{BTreeMap, BTreeSet};

use super::agreement::AgreementTerms;
use super::pins::Pins;
use super::rules::{Broken, Rule};
use crate::domain::event::{AgentRegistered, AgreementRegistered, Event};
use crate::domain::{AgentId, AgreementId, AppId, ControllerId, StoreId};
use crate::token::{KeyId, PublicJwk, VerifyingKey};

/// An agent as registered.
#[derive(Debug, Clone)]
pub struct RegisteredAgent {
    pub stores: BTreeSet<StoreId>,
    pub key: VerifyingKey,
}

#[derive(Debug, Default)]
pub struct Registered {
    controllers: BTreeSet<ControllerId>,
    apps: BTreeMap<AppId, ControllerId>,
    agreements: BTreeMap<AgreementId, AgreementRegistered>,
    agents: BTreeMap<AgentId, RegisteredAgent>,
    /// Thumbprint to use and owner.
    keys: BTreeMap<KeyId, (&'static str, String)>,
    revoked: BTreeSet<KeyId>,
    pinned_agents: BTreeMap<AgentId, PublicJwk>,
}

impl Registered {
    pub fn new(pins: &Pins) -> Self {
        Self { pinned_agents: pins.agents.clone(), ..Self::default() }
    }

    /// Takes a registration; other events change nothing.
    pub(super) fn take(&mut self, subject: &str, event: &Event) -> Result<(), Broken> {
        match event {
            Event::ControllerRegistered(_) => {
                let id = id(ControllerId::from_resource_name(subject))?;
                Rule::Registered.holds(self.controllers.insert(id), "the controller is registered again")
            }
            Event::AppRegistered(app) => {
                self.needs_controller(&app.controller)?;
                let id = id(AppId::from_resource_name(subject))?;
                let before = self.apps.insert(id, app.controller.clone());
                Rule::Registered.holds(before.is_none(), "the app is registered again")
            }
            Event::AgreementRegistered(agreement) => {
                self.needs_controller(&agreement.controller)?;
                Rule::Registered
                    .holds(agreement.start < agreement.end, "the agreement ends before it begins")?;
                let id = id(AgreementId::from_resource_name(subject))?;
                let before = self.agreements.insert(id, agreement.clone());
                Rule::Registered.holds(before.is_none(), "the agreement is registered again")
            }
            Event::AgentRegistered(agent) => self.take_agent(subject, agent),
            Event::AccessKeyRegistered(key) => {
                // Its principal may be one that no leaf registers, such as the first operator.
                let kid = thumbprint(&key.thumbprint)?;
                self.claim_key(kid, "access", subject)
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

    fn take_agent(&mut self, subject: &str, agent: &AgentRegistered) -> Result<(), Broken> {
        let id = id(AgentId::from_resource_name(subject))?;
        let key = serde_json::to_vec(&agent.report_key)
            .ok()
            .and_then(|json| PublicJwk::from_json(&json).ok())
            .and_then(|jwk| VerifyingKey::new(jwk).ok())
            .ok_or_else(|| Rule::Registered.broken("the agent's report key is no acceptable public key"))?;
        if self.pinned_agents.get(&id).is_some_and(|pin| pin != key.jwk()) {
            return Err(Rule::ReportSigned.broken("the agent's report key is not the pinned one"));
        }
        self.claim_key(key.id(), "report", subject)?;
        let entry = RegisteredAgent { stores: agent.stores.iter().cloned().collect(), key };
        Rule::Registered.holds(self.agents.insert(id, entry).is_none(), "the agent is registered again")
    }

    /// Records a key's only use and owner. A key set's keys come again with each version.
    pub(super) fn claim_key(&mut self, kid: KeyId, usage: &'static str, owner: &str) -> Result<(), Broken> {
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

    pub(super) fn needs_controller(&self, controller: &ControllerId) -> Result<(), Broken> {
        Rule::Registered
            .holds(self.controllers.contains(controller), "the controller was not registered before")
    }

    /// The app exists and is this controller's.
    pub(super) fn needs_app(&self, app: &AppId, controller: &ControllerId) -> Result<(), Broken> {
        Rule::Registered
            .holds(self.apps.get(app) == Some(controller), "the app was not registered to this controller")
    }

    pub(super) fn has_app(&self, app: &AppId) -> bool {
        self.apps.contains_key(app)
    }

    pub(super) fn agent(&self, agent: &AgentId) -> Result<&RegisteredAgent, Broken> {
        self.agents.get(agent).ok_or_else(|| Rule::Registered.broken("the agent was not registered before"))
    }

    /// What may be ordered for an app of the controller, by each of its agreements.
    pub(super) fn terms<'a>(
        &'a self,
        controller: &'a ControllerId,
        app: &'a AppId,
    ) -> impl Iterator<Item = AgreementTerms> + 'a {
        self.agreements.values().filter(move |agreement| agreement.controller == *controller).map(
            move |agreement| AgreementTerms {
                controller: controller.clone(),
                apps: [app.clone()].into(),
                categories: agreement.categories.iter().copied().collect(),
                purposes: agreement.purposes.iter().copied().collect(),
                stores: agreement.stores.iter().cloned().collect(),
                regions: agreement.regions.iter().copied().collect(),
                valid_from: agreement.start,
                valid_until: Some(agreement.end),
            },
        )
    }

    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.controllers.len() as u64, self.apps.len() as u64, self.agents.len() as u64)
    }
}

fn id<T>(parsed: Result<T, crate::domain::ids::IdError>) -> Result<T, Broken> {
    parsed.map_err(|error| Rule::LeafForm.broken(error.to_string()))
}

fn thumbprint(text: &str) -> Result<KeyId, Broken> {
    text.parse().map_err(|_| Rule::LeafForm.broken("a thumbprint is no RFC 7638 thumbprint"))
}
