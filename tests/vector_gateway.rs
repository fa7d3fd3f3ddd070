//! A gateway in the hour of the published vectors, with what `tests/vectors/world.json` says is there, and its answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mandate::app::{
    App, AppError, Countersignature, NewAgent, NewAgreement, NewApp, NewController, NewRequest, Registering,
    RequestUuid, Submitted,
};
use mandate::config::GatewayConfig;
use mandate::domain::clock::{FixedClock, SystemClock, SystemEntropy};
use mandate::domain::{
    Clock, ContestGround, ControllerId, Entropy, InstructionId, InstructionState, Purpose, Region, RequestId,
    StoreId, SubProcessorId,
};
use mandate::store::sub_processors::SubProcessor;
use mandate::token::{Envelope, SignedKeySet, base64url};
use serde_json::Value;

use crate::agent_files::copy;
use crate::harness::free_port;

/// Seconds before the world's hour at which its cases were opened: their ids say so.
const OPENED: i64 = 600;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON")
}

pub fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Every vector of these forms.
pub fn vectors(forms: &[&str]) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for form in forms {
        for entry in std::fs::read_dir(folder().join(form)).expect("a folder") {
            let path = entry.expect("an entry").path();
            all.push((path.display().to_string(), read(&path)));
        }
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

fn jti_of(wire: &str) -> InstructionId {
    let envelope = Envelope::read(wire.as_bytes()).expect("an instruction");
    let payload = base64url::decode(envelope.payload_segment()).expect("base64url");
    let payload: Value = serde_json::from_slice(&payload).expect("JSON");
    text(&payload["jti"]).parse().expect("an id")
}

/// The machine's random source, but for the ten random bytes of an id (RFC 9562 §5.7), which may be dealt: the world's
/// cases have ids that are published. What else draws an id while one is dealt (a leaf, a data key) gets the same bytes, in
/// a table of its own.
#[derive(Default)]
struct Dealt(Mutex<Option<[u8; 10]>>);

impl Dealt {
    fn deal(&self, bytes: Option<[u8; 10]>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }
}

impl Entropy for Dealt {
    fn fill(&self, bytes: &mut [u8]) {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(dealt) if bytes.len() == dealt.len() => bytes.copy_from_slice(&dealt),
            _ => SystemEntropy.fill(bytes),
        }
    }
}

/// No key set is in force.
pub const NONE: &str = "none";

pub struct Gateway {
    _dir: tempfile::TempDir,
    pub app: Arc<App>,
    pub clock: FixedClock,
    pub world: Value,
    pub controller: ControllerId,
}

impl Gateway {
    /// In the world's hour, with its controller and cases, this key set in force and this agreement.
    pub async fn open(empty: &Path, key_set: &str, agreement: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for folder in ["keys", "ca"] {
            copy(&empty.join(folder), &dir.path().join(folder));
        }
        std::fs::copy(empty.join("gateway.toml"), dir.path().join("gateway.toml")).expect("copied");
        let world = read(&folder().join("world.json"));
        let now = world["now"].as_i64().expect("seconds");
        // Before the first of its key sets ends.
        let clock = FixedClock::at(now - OPENED);
        let config = GatewayConfig::load(&dir.path().join("gateway.toml")).expect("the configuration");
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let dealt = Arc::new(Dealt::default());
        let app = mandate::cli::serve::open(&config, shared, dealt.clone()).await.expect("it opens");
        let gateway = Self { _dir: dir, app, clock, world, controller: "xingyu".parse().expect("a slug") };
        gateway.register(agreement).await;
        gateway.open_cases(&dealt).await;
        gateway.put_in_force(key_set).await;
        gateway.clock.advance(OPENED);
        assert_eq!(gateway.clock.now_seconds(), now);
        gateway
    }

    async fn register(&self, agreement: &str) {
        let who = || Registering { by: "operators/o-1".into(), request_id: None };
        let new = NewController {
            id: self.controller.clone(),
            display_name: "Xingyu".into(),
            house: false,
            tls_keys: Vec::new(),
        };
        self.app.register_controller(who(), new).await.expect("registered");
        let new = NewApp {
            id: "xingyu-live".parse().expect("a slug"),
            controller: self.controller.clone(),
            display_name: "Xingyu Live".into(),
            aliases: Vec::new(),
            bundle_ids: Vec::new(),
            domains: Vec::new(),
            sdk_app_ids: Vec::new(),
            common_name: false,
        };
        self.app.register_app(who(), new).await.expect("registered");
        let terms = &self.world["agreements"][agreement];
        let start = terms["valid_from"].as_i64().expect("seconds");
        let operated: BTreeMap<StoreId, SubProcessorId> =
            serde_json::from_value(terms.get("operated_by").cloned().unwrap_or(serde_json::json!({})))
                .expect("stores");
        for id in operated.values() {
            let new = SubProcessor {
                id: id.clone(),
                display_name: "Cloud".into(),
                region: Region::Cn,
                purposes: vec![Purpose::ServiceDelivery],
            };
            self.app.register_sub_processor(who(), new).await.expect("registered");
        }
        if !operated.is_empty() {
            let new = NewAgent {
                id: "beside".parse().expect("a slug"),
                region: Region::Cn,
                stores: operated.keys().cloned().collect(),
                operated_by: operated,
                report_key: crate::key_sets::new_key().public().canonical(),
                tls_keys: Vec::new(),
            };
            self.app.register_agent(who(), new).await.expect("registered");
        }
        let new = NewAgreement {
            id: "agreement".parse().expect("a slug"),
            controller: self.controller.clone(),
            categories: serde_json::from_value(terms["categories"].clone()).expect("categories"),
            purposes: vec![Purpose::ServiceDelivery],
            stores: serde_json::from_value(terms["stores"].clone()).expect("stores"),
            regions: serde_json::from_value(terms["regions"].clone()).expect("regions"),
            sub_processors: serde_json::from_value(
                terms.get("sub_processors").cloned().unwrap_or(serde_json::json!([])),
            )
            .expect("ids"),
            start,
            end: terms["valid_until"].as_i64().unwrap_or(start + 10 * 365 * 86_400),
        };
        self.app.register_agreement(who(), new).await.expect("registered");
        // The key that opens the gateway.
        let key = &self.world["keys"][text(&self.world["access"]["key"])]["jwk"];
        let public = serde_json::json!({"kty": key["kty"], "crv": key["crv"], "x": key["x"]}).to_string();
        let controller = self.controller.resource_name();
        self.app.register_access_key(who(), &controller, &public, &[]).await.expect("registered");
    }

    /// Those of the world, under the ids that it gives them.
    async fn open_cases(&self, dealt: &Dealt) {
        for (name, case) in self.world["requests"].as_object().expect("cases") {
            let id = RequestId::from_resource_name(name).expect("a name");
            let dealt_bytes = id.as_uuid().as_bytes()[6..].try_into().expect("ten bytes");
            let new = NewRequest {
                app: "xingyu-live".parse().expect("a slug"),
                rights: serde_json::from_value(case["rights"].clone()).expect("rights"),
                subjects: Vec::new(),
                received_at: None,
                guardian: case["minor"].as_bool().expect("whether a minor's"),
                language: "zh".into(),
            };
            let call = RequestUuid::required(&id.to_string()).expect("a UUID");
            dealt.deal(Some(dealt_bytes));
            let opened = self.app.create_request(&self.controller, call, new).await;
            dealt.deal(None);
            assert_eq!(opened.expect("opened").0.row.id, id);
        }
    }

    /// None where it is named so.
    async fn put_in_force(&self, key_set: &str) {
        if key_set == NONE {
            return;
        }
        let set = self.key_set(key_set);
        match SignedKeySet::read(set).expect("a key set").version() {
            1 => self.first(set).await,
            _ => {
                self.first(self.key_set("current")).await;
                self.rotate(key_set).await;
            }
        }
    }

    fn key_set(&self, name: &str) -> &[u8] {
        text(&self.world["key_sets"][name]).as_bytes()
    }

    async fn first(&self, set: &[u8]) {
        let digest = SignedKeySet::read(set).expect("a key set").digest().to_string();
        self.app.register_key_set("operators/o-1".into(), set, &digest, None).await.expect("registered");
    }

    async fn rotate(&self, name: &str) {
        self.app.rotate_key_set(&self.controller, self.key_set(name)).await.expect("in force");
    }

    fn answer(done: Result<Submitted, AppError>) -> String {
        match done {
            Ok(taken) if taken.row.state == InstructionState::Waiting => "WAITS".into(),
            Ok(_) => "OK".into(),
            Err(AppError::Refused(refusal)) => refusal.reason.code().into(),
            Err(error) => panic!("the gateway failed: {error:?}"),
        }
    }

    async fn submit(&self, wire: &str) -> String {
        Self::answer(self.app.submit_instruction(&self.controller, wire.as_bytes()).await)
    }

    fn countersigned(&self, input: &str, of: &str) -> Countersignature {
        let (protected, signature) = input.split_once("..").unwrap_or((input, ""));
        let (protected, signature) = (protected.to_owned(), signature.to_owned());
        Countersignature { controller: self.controller.clone(), id: jti_of(of), protected, signature }
    }

    async fn approve(&self, input: &str, of: &str) -> String {
        let disclosures = Envelope::read(of.as_bytes()).expect("an instruction").disclosures().to_vec();
        Self::answer(self.app.approve_instruction(self.countersigned(input, of), disclosures).await)
    }

    async fn withdraw(&self, input: &str, of: &str) -> String {
        let done = self.app.withdraw_approval(self.countersigned(input, of)).await;
        // Whatever is left waits or is over: the withdrawal was taken.
        done.map_or_else(|error| Self::answer(Err(error)), |_| "OK".into())
    }

    async fn step(&self, step: &Value) {
        let (what, given) =
            step.as_object().expect("a step").iter().find(|(name, _)| *name != "answer").expect("one");
        let answer = match what.as_str() {
            "instruction" => self.submit(text(given)).await,
            "approval" => self.approve(text(&given["input"]), text(&given["of"])).await,
            "withdrawal" => self.withdraw(text(&given["input"]), text(&given["of"])).await,
            "contest" => {
                let id = InstructionId::from_resource_name(text(given)).expect("a name");
                let by = "operators/o-1".to_owned();
                let done = self.app.contest_instruction(by, &self.controller, id, ContestGround::Unlawful);
                done.await.expect("contested");
                "OK".into()
            }
            "key_set" => {
                self.rotate(text(given)).await;
                "OK".into()
            }
            "wait" => {
                self.clock.advance(given.as_i64().expect("seconds"));
                "OK".into()
            }
            other => panic!("an unknown step: {other}"),
        };
        assert_eq!(answer, step["answer"].as_str().unwrap_or("OK"), "a step before: {what}");
    }

    pub async fn judge(&self, vector: &Value) -> String {
        let steps = vector["before"].as_array().map(Vec::as_slice).unwrap_or_default();
        for step in steps {
            self.step(step).await;
        }
        let input = text(&vector["input"]);
        if vector["form"] == "instruction" {
            return self.submit(input).await;
        }
        let of = text(&vector["of"]);
        let is_meant =
            |step: &Value| step["instruction"].as_str().is_some_and(|one| jti_of(one) == jti_of(of));
        if !steps.iter().any(is_meant) {
            assert_eq!(self.submit(of).await, "WAITS");
        }
        match text(&vector["form"]) {
            "approval" => self.approve(input, of).await,
            _ => self.withdraw(input, of).await,
        }
    }

    pub async fn close(self) {
        self.app.store.close().await;
        self.app.vault.keyring().close().await.expect("the keyring closes");
    }
}

/// A set-up in which nothing is registered.
pub async fn set_up() -> tempfile::TempDir {
    let empty = tempfile::tempdir().expect("a folder");
    let done = mandate::cli::init::set_up(empty.path(), free_port(), 1, &SystemClock, &SystemEntropy).await;
    done.expect("a set-up");
    empty
}
