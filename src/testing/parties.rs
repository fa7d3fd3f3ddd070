//! Who there is in a made-up trail: controllers with apps and key sets, agents with stores, the logs' keys.

use super::seeded::Seeded;
use crate::authority::pins::{LogPin, Pins, WitnessPins};
use crate::domain::event::*;
use crate::domain::{
    Act, AgentId, AppId, Category, ControllerId, Entropy, Purpose, Region, StoreId, SubProcessorId,
};
use crate::token::{
    Digest, KeyEntryDraft, KeyKind, KeySetDraft, KeyUse, PrivateKey, ReportKeySuccession, SetRole,
    SignedKeySet,
};
use crate::trail::{CosigningKey, SigningKey};

pub const GATEWAY: &str = "gateway.example";
/// Seconds of the trail's first leaf. The authority log is older.
pub const START: i64 = 1_795_420_800;
const YEAR: i64 = 365 * 86_400;
/// Seconds at which the witness sees the heads.
pub const SEEN: i64 = START + YEAR;

/// An enterprise: its app, who signs for it, and its key sets, the second of which stands from the middle
/// of the trail.
pub struct Controller {
    pub id: ControllerId,
    pub app: AppId,
    root: PrivateKey,
    pub signers: [PrivateKey; 2],
    pub sets: Vec<KeySetPublished>,
}

/// An agent and the one store it stands beside.
pub struct Agent {
    pub id: AgentId,
    pub store: StoreId,
    /// Whose the store is, where it is not the processor's own.
    pub operated_by: Option<SubProcessorId>,
    pub key: PrivateKey,
    /// The one it was registered with, retired before the first order.
    pub former: Option<PrivateKey>,
}

/// Everybody, by the seed.
pub struct Parties {
    pub controllers: Vec<Controller>,
    pub agents: Vec<Agent>,
    pub trail_key: SigningKey,
    pub authority_key: SigningKey,
    /// Cosigns both heads, long after the last leaf: [`SEEN`].
    pub witness: CosigningKey,
}

fn key(seeded: &Seeded) -> PrivateKey {
    PrivateKey::generate(KeyKind::Ed25519, seeded).expect("any seed makes an Ed25519 key")
}

fn name<T: std::str::FromStr>(text: String) -> T {
    text.parse().ok().expect("a made-up name keeps the rules for names")
}

/// The company that keeps the logs.
fn cloud() -> SubProcessorId {
    name("cloud".to_owned())
}

/// `<gateway>/<log>`.
pub fn origin(log: &str) -> String {
    format!("{GATEWAY}/{log}")
}

impl Controller {
    fn new(number: usize, seeded: &Seeded) -> Self {
        let mut controller = Self {
            id: name(format!("enterprise-{number}")),
            app: name(format!("app-{number}")),
            root: key(seeded),
            signers: [key(seeded), key(seeded)],
            sets: Vec::new(),
        };
        let first = controller.set(1, None);
        controller.sets.push(first);
        // One of them rotates.
        if number == 0 {
            let prev = controller.digest(1);
            let second = controller.set(2, Some(prev));
            controller.sets.push(second);
        }
        controller
    }

    fn set(&self, version: u64, prev: Option<Digest>) -> KeySetPublished {
        let entry = |key: &PrivateKey, signer: &str, usage| KeyEntryDraft {
            jwk: key.public().clone(),
            signer: signer.to_owned(),
            usage,
        };
        let [ann, bob] = &self.signers;
        let both = vec![ann.id(), bob.id()];
        let draft = KeySetDraft {
            iss: self.id.clone(),
            aud: origin("trail"),
            version,
            prev,
            iat: START - 1000,
            exp: START + YEAR,
            keys: vec![
                entry(&self.root, "root-1", KeyUse::Root),
                entry(ann, "ann", KeyUse::Instruction),
                entry(bob, "bob", KeyUse::Instruction),
            ],
            roles: vec![
                (SetRole::Root, vec![self.root.id()], 1),
                (SetRole::Act(Act::Preview), both.clone(), 1),
                (SetRole::Act(Act::Export), both.clone(), 1),
                (SetRole::Act(Act::Erase), both, 2),
            ],
        };
        let signed = draft.sign(&[&self.root]).expect("the draft is signed by its root");
        let digest = SignedKeySet::read(&signed).expect("what was signed reads back").digest().to_string();
        let key_set = String::from_utf8(signed).expect("JSON is UTF-8");
        KeySetPublished { version, digest, key_set }
    }

    /// Of a version's key set.
    pub fn digest(&self, version: u64) -> Digest {
        let set = self.sets.iter().find(|set| set.version == version).expect("the version was made");
        set.digest.parse().expect("a digest reads back")
    }

    pub fn resource_name(&self) -> String {
        self.id.resource_name()
    }

    /// Thumbprint of the key of its certificate, which nobody here connects with.
    pub fn tls_key(&self) -> String {
        Digest::of(format!("{} tls", self.id)).to_string()
    }
}

impl Parties {
    /// So many controllers, at least one, and three agents.
    pub fn new(seed: u64, controllers: usize) -> Self {
        let seeded = Seeded::new(seed);
        let log_key = |log: &str| {
            let entropy: &dyn Entropy = &seeded;
            SigningKey::from_seed(&origin(log), &entropy.array()).expect("any seed makes an Ed25519 key")
        };
        Self {
            controllers: (0..controllers.max(1)).map(|number| Controller::new(number, &seeded)).collect(),
            agents: ["sdk", "logs", "rooms"]
                .map(|store| Agent {
                    id: name(format!("beside-{store}")),
                    store: name(store.to_owned()),
                    operated_by: (store == "logs").then(cloud),
                    key: key(&seeded),
                    former: (store == "rooms").then(|| key(&seeded)),
                })
                .into(),
            trail_key: log_key("trail"),
            authority_key: log_key("authority"),
            witness: CosigningKey::from_seed("witness.example", &<dyn Entropy>::array(&seeded))
                .expect("any seed makes an Ed25519 key"),
        }
    }

    /// What an auditor holds.
    pub fn pins(&self) -> Pins {
        let pin = |log: &str, key: &SigningKey| LogPin::new(origin(log), key.verifier_key().clone());
        Pins {
            trail: pin("trail", &self.trail_key),
            authority: pin("authority", &self.authority_key),
            freshness: None,
            witnesses: WitnessPins { required: 1, vkeys: vec![self.witness.verifier_key().clone()] },
            controllers: self.controllers.iter().map(|c| (c.id.clone(), c.digest(1))).collect(),
            agents: self.agents.iter().map(|a| (a.id.clone(), a.key.public().clone())).collect(),
            recovered: Default::default(),
            reopened: Vec::new(),
        }
    }

    /// The registrations with which the trail begins, in order.
    pub fn registrations(&self) -> Vec<(String, Event)> {
        let by = || "operators/o-1".to_owned();
        let mut out: Vec<(String, Event)> =
            vec![(origin("trail"), LogOpened { origin: origin("trail") }.into())];
        let company =
            SubProcessorRegistered { by: by(), region: Region::Cn, purposes: vec![Purpose::ServiceDelivery] };
        out.push((cloud().resource_name(), company.into()));
        for (number, controller) in self.controllers.iter().enumerate() {
            let subject = controller.resource_name();
            out.push((subject.clone(), ControllerRegistered { by: by(), house: false }.into()));
            let agreement = AgreementRegistered {
                by: by(),
                controller: controller.id.clone(),
                categories: vec![Category::Device, Category::Network],
                purposes: vec![Purpose::ServiceDelivery],
                stores: self.agents.iter().map(|agent| agent.store.clone()).collect(),
                regions: vec![Region::Cn],
                sub_processors: vec![cloud()],
                start: START - 1000,
                end: START + YEAR,
            };
            out.push((format!("agreements/agreement-{number}"), agreement.into()));
            let app = AppRegistered {
                by: by(),
                controller: controller.id.clone(),
                facts: 3,
                facts_digest: Digest::of(subject.as_bytes()).to_string(),
            };
            out.push((controller.app.resource_name(), app.into()));
            out.push((subject, self.named(number, 0)));
        }
        for agent in &self.agents {
            let first = agent.former.as_ref().unwrap_or(&agent.key);
            let report_key = serde_json::from_str(&first.public().canonical()).expect("a JWK is JSON");
            let stores = vec![agent.store.clone()];
            let event = AgentRegistered {
                by: by(),
                stores,
                region: Region::Cn,
                report_key,
                operated_by: agent.operated_by.iter().map(|by| (agent.store.clone(), by.clone())).collect(),
            };
            let name = agent.id.resource_name();
            out.push((name.clone(), event.into()));
            if let Some(former) = &agent.former {
                let by = || name.clone();
                let succession =
                    ReportKeySuccession::sign(&agent.id, &origin("trail"), START, former, &agent.key)
                        .expect("two keys sign");
                let report_key = agent.key.id().to_string();
                out.push((name.clone(), ReportKeyVouched { by: by(), report_key, succession }.into()));
                let (in_force, from) = (agent.key.id().to_string(), out.len() as u64);
                out.push((name.clone(), ReportKeyRetired { by: by(), in_force, from }.into()));
            }
        }
        for (n, controller) in self.controllers.iter().enumerate() {
            let (name, thumbprint) = (controller.resource_name(), controller.tls_key());
            // By its first call, or named by the operator.
            let by = if n % 2 == 0 { name.clone() } else { "operators/o-1".to_owned() };
            out.push((name, TlsKeyRegistered { by, thumbprint }.into()));
        }
        out
    }

    /// The registrations that stand in the authority log, too.
    pub fn retirements(&self) -> Vec<(String, Event)> {
        let retires = |event: &Event| matches!(event, Event::ReportKeyRetired(_));
        self.registrations().into_iter().filter(|(_, event)| retires(event)).collect()
    }

    /// Leaves of the authority log before the second set of the first controller: it is opened, then come the
    /// first sets, then the retirements.
    pub fn early_authority_leaves(&self) -> usize {
        1 + self.controllers.len() + self.retirements().len()
    }

    /// The trail's leaf that names a key set of the authority log.
    pub fn named(&self, controller: usize, set: usize) -> Event {
        let KeySetPublished { version, digest, .. } = &self.controllers[controller].sets[set];
        let authority_index = if set == 0 { 1 + controller } else { self.early_authority_leaves() } as u64;
        let (version, digest) = (*version, digest.clone());
        KeySetRegistered { by: "operators/o-1".to_owned(), version, digest, authority_index, recovers: None }
            .into()
    }
}
