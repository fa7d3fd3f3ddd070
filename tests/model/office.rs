//! The controller's side: its keys, what it signs with them, and what it has signed so far.

use std::path::Path;

use mandate::agent::AgentConfig;
use mandate::authority::Pins;
use mandate::domain::clock::{SystemEntropy, uuid_v7};
use mandate::domain::{
    self, AppId, Basis, Category, Clock, ControllerId, Identifier, InstructionId, RequestId,
};
use mandate::token::{
    Categories, Detached, Envelope, InstructionDraft, KeyEntryDraft, KeySetDraft, KeySetRef, KeyUse, Policy,
    Private, PrivateKey, Says, SetRole, SignedKeySet, Tier,
};

use super::rules::{Act, Case, Keys, PEOPLE, Role, Set, each};
use crate::key_sets::{key_of, named, new_key};

/// An order as it was sent, and with the signatures that it has by now.
pub struct Signed {
    pub id: InstructionId,
    pub wire: String,
    pub envelope: Envelope,
}

pub struct Office {
    pub controller: ControllerId,
    pub app: AppId,
    origin: String,
    root: PrivateKey,
    keys: Vec<PrivateKey>,
    stranger: PrivateKey,
    /// By version, from 1.
    sets: Vec<KeySetRef>,
    pub orders: Vec<Signed>,
}

/// What an order says, beside who signs it.
pub struct Wording {
    pub act: Act,
    /// Of the key set that it names.
    pub version: usize,
    pub request: Option<RequestId>,
    /// The contract's end.
    pub begins: Option<i64>,
    pub exp: i64,
}

fn act_of(act: Act) -> domain::Act {
    match act {
        Act::Erase { .. } => domain::Act::Erase,
        Act::End => domain::Act::ReturnAndErase,
        Act::Revoke(_) => domain::Act::Revoke,
    }
}

impl Office {
    pub fn open(dir: &Path) -> Self {
        let config = AgentConfig::load(&dir.join("agent.toml")).expect("the agent's configuration");
        let pins = std::fs::read_to_string(dir.join("pins.toml")).expect("the pins");
        let pins = Pins::parse(&pins).expect("pins");
        let app = config.apps.iter().find(|app| app.controller.as_str() == "xingyu").expect("one");
        let first = std::fs::read(dir.join("keys/xingyu/keyset.json")).expect("the first set");
        Self {
            controller: app.controller.clone(),
            app: app.id.clone(),
            origin: pins.trail.origin,
            root: key_of(dir, "xingyu", "root"),
            keys: PEOPLE.iter().map(|_| new_key()).collect(),
            stranger: new_key(),
            sets: vec![named(&first)],
            orders: Vec::new(),
        }
    }

    /// The next version, as it is sent.
    pub fn next_set(&mut self, set: &Set, now: i64) -> Vec<u8> {
        let entry = |key: &PrivateKey, signer: &str, usage| KeyEntryDraft {
            jwk: key.public().clone(),
            signer: signer.to_owned(),
            usage,
        };
        let mut keys = vec![entry(&self.root, "board", KeyUse::Root)];
        keys.extend(each(set.keys).map(|key| entry(&self.keys[key], PEOPLE[key], KeyUse::Instruction)));
        let kids = |keys: Keys| each(keys).map(|key| self.keys[key].id()).collect::<Vec<_>>();
        let mut roles = vec![(SetRole::Root, vec![self.root.id()], 1)];
        let acts = [Act::Erase { media: false, case: Case::None }, Act::End, Act::Revoke(0)];
        for act in acts {
            let Role { keys, threshold } = set.role(act);
            if keys != 0 {
                roles.push((SetRole::Act(act_of(act)), kids(keys), number(threshold)));
            }
        }
        let tiers = [(Tier::Media, set.media), (Tier::Minor, set.minor)];
        let tiers = tiers.into_iter().filter(|(_, people)| *people > 0);
        let tiers = tiers.map(|(tier, people)| (tier, [(domain::Act::Erase, number(people))].into()));
        let policy = Policy { hold: set.hold, tiers: tiers.collect(), ..Policy::default() };
        let last = self.sets[self.sets.len() - 1];
        let draft = KeySetDraft {
            iss: self.controller.clone(),
            aud: self.origin.clone(),
            version: last.version + 1,
            prev: Some(last.digest),
            iat: now,
            exp: set.exp,
            keys,
            roles,
        };
        let bytes = draft.sign_with(&policy, &[&self.root]).expect("signs");
        let signed = SignedKeySet::read(&bytes).expect("a key set");
        self.sets.push(KeySetRef { version: signed.version(), digest: signed.digest() });
        bytes
    }

    /// Signs an order by all of these; `twice`: by the first of them once more. What is to be sent.
    pub fn sign(&mut self, says: Wording, keys: Keys, twice: bool, clock: &dyn Clock) -> String {
        let act = act_of(says.act);
        let user = format!("u-{}", self.orders.len());
        let target = if let Act::Revoke(slot) = says.act { Some(self.orders[slot].id) } else { None };
        let mut categories = vec![Category::Device];
        if matches!(says.act, Act::Erase { media: true, .. }) {
            categories.push(Category::Media);
        }
        let draft = InstructionDraft {
            iss: self.controller.clone(),
            aud: self.origin.clone(),
            jti: InstructionId::from_uuid(uuid_v7(clock, &SystemEntropy)),
            iat: clock.now_seconds(),
            nbf: says.begins,
            exp: says.exp,
            act,
            app: self.app.clone(),
            req: says.request,
            target,
            subject: if act.has_subject() { vec![Identifier::user(&self.app, user)] } else { Vec::new() },
            private: Private::None,
            categories: Categories::Some(categories),
            stores: None,
            window: None,
            basis: if act == domain::Act::ReturnAndErase { Basis::ContractEnd } else { Basis::Pipl47 },
            key_set: self.sets[says.version - 1],
            preview: None,
            export: None,
            refuse: None,
            authorize_reply: None,
        };
        let mut signers: Vec<&PrivateKey> = each(keys).map(|key| &self.keys[key]).collect();
        if twice {
            signers.push(signers[0]);
        }
        let signed = draft.sign(&signers, &SystemEntropy).expect("signs");
        let (id, wire, envelope) = (draft.jti, signed.to_wire(), signed.envelope().clone());
        self.orders.push(Signed { id, wire: wire.clone(), envelope });
        wire
    }

    /// One more signature over an order. A key beyond the last is a stranger's.
    pub fn countersign(&self, says: Says, slot: usize, key: usize) -> Detached {
        let key = self.keys.get(key).unwrap_or(&self.stranger);
        Detached::sign(says, &self.orders[slot].envelope, key).expect("signs")
    }

    /// The order is kept as the gateway has it by now.
    pub fn approved(&mut self, slot: usize, approval: &Detached) {
        let order = &mut self.orders[slot];
        order.envelope = order.envelope.approved(approval);
    }

    /// Without the signatures that are no longer among these.
    pub fn left_with(&mut self, slot: usize, signed: Keys) {
        let gone = (0..PEOPLE.len()).filter(|key| signed & (1 << key) == 0);
        let gone: Vec<_> = gone.map(|key| self.keys[key].id()).collect();
        let order = &mut self.orders[slot];
        if let Some(rest) = order.envelope.without(&gone) {
            order.envelope = rest;
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a small number")
}
