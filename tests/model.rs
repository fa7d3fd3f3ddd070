//! When is an order good? Random histories (rotate, instruct, approve, withdraw, revoke, contest, expire, crash), of
//! erasures and of contracts' ends that were signed ahead, run against the gateway's use cases, its database and the
//! agent's own judgement on one side, and against forty lines of plain rules on the other: after every step an agent
//! gets a warrant if and only if the rules say so.
//!
//! `MANDATE_MODEL_CASES` says how many histories; a failing one is made smaller and printed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use mandate::agent::AgentConfig;
use mandate::agent::authority::Replica;
use mandate::agent::orders::{Leased, Own};
use mandate::app::{App, AppError, Countersignature, LeasedOrder, ReportIn, Submitted};
use mandate::authority::{Lease, Pins};
use mandate::config::GatewayConfig;
use mandate::domain::clock::{FixedClock, SystemEntropy, uuid_v7};
use mandate::domain::{
    Act, AgentId, AppId, Basis, Category, Clock, ContestGround, ControllerId, ExecutionId, Identifier,
    InstructionId, InstructionState, Reason,
};
use mandate::grpc::v1;
use mandate::store::Issued;
use mandate::token::report::{AuthorityHead, LedgerHead};
use mandate::token::{
    Categories, Detached, Digest, Envelope, InstructionDraft, KeyEntryDraft, KeySetDraft, KeySetRef, KeyUse,
    Policy, Private, PrivateKey, Report, ReportOutcome, Says, SetRole, SignedKeySet,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::agent_files::copy;
use crate::harness::{Process, World};
use crate::key_sets::{key_of, new_key};

/// Keys that may sign, and whose they are: the first person has two.
const PEOPLE: [&str; 5] = ["ann", "ann", "bob", "cai", "dee"];
const HOLD: i64 = 40;
const LEASE: i64 = 60;
/// How long a key set is in force.
const BRIEF: i64 = 60;
const LONG: i64 = 86_400;

/// A set of keys, one bit each.
type Keys = u8;

#[derive(Debug, Clone)]
enum Op {
    /// Signed by these at once; `behind`: naming the version before the newest. `ends`: it ends a contract, so many
    /// seconds ahead.
    Instruct {
        keys: Keys,
        behind: bool,
        life: i64,
        ends: Option<i64>,
    },
    Approve {
        slot: usize,
        key: usize,
        hides: bool,
    },
    Withdraw {
        slot: usize,
        key: usize,
    },
    Revoke {
        slot: usize,
        keys: Keys,
    },
    Contest {
        slot: usize,
    },
    /// `brief`: the set ends soon.
    Rotate {
        keys: Keys,
        threshold: u32,
        hold: bool,
        brief: bool,
    },
    Wait(i64),
    /// Time passes until the order's end, to the second.
    Expire {
        slot: usize,
    },
    /// The gateway's housekeeping.
    Sweep,
    /// The agent takes what it is given, begins what it has a warrant for and refuses the rest.
    Lease,
    /// It reports what it began and still holds.
    Report,
    Crash,
}

fn an_op() -> impl Strategy<Value = Op> {
    let keys = 1u8..32;
    prop_oneof![
        5 => (keys.clone(), prop::bool::weighted(0.1), prop_oneof![Just(50i64), Just(400)],
              prop::option::weighted(0.3, prop_oneof![Just(0i64), Just(60)]))
            .prop_map(|(keys, behind, life, ends)| Op::Instruct { keys, behind, life, ends }),
        6 => (0usize..8, 0usize..6, prop::bool::weighted(0.1))
            .prop_map(|(slot, key, hides)| Op::Approve { slot, key, hides }),
        3 => (0usize..8, 0usize..5).prop_map(|(slot, key)| Op::Withdraw { slot, key }),
        2 => (0usize..8, keys.clone()).prop_map(|(slot, keys)| Op::Revoke { slot, keys }),
        1 => (0usize..8).prop_map(|slot| Op::Contest { slot }),
        2 => (keys, 1u32..4, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(keys, threshold, hold, brief)| Op::Rotate { keys, threshold, hold, brief }),
        3 => (1i64..50).prop_map(Op::Wait),
        1 => (0usize..8).prop_map(|slot| Op::Expire { slot }),
        1 => Just(Op::Sweep),
        3 => Just(Op::Lease),
        2 => Just(Op::Report),
        2 => Just(Op::Crash),
    ]
}

fn has(keys: Keys, key: usize) -> bool {
    keys & (1 << key) != 0
}

fn people(keys: Keys) -> BTreeSet<&'static str> {
    (0..PEOPLE.len()).filter(|key| has(keys, *key)).map(|key| PEOPLE[key]).collect()
}

// ---------------------------------------------------------------- the reference

#[derive(Debug, Clone, Copy)]
struct Set {
    keys: Keys,
    threshold: usize,
    hold: i64,
    exp: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Admitted {
        at: i64,
    },
    /// Its id is used up, or it never was one.
    Refused,
    Revoked,
    Contested,
    Expired,
    Failed,
    Done,
}

#[derive(Debug, Clone)]
struct Order {
    version: usize,
    signed: Keys,
    /// Of these, those that came with it.
    submitted: Keys,
    withdrawn: BTreeSet<&'static str>,
    /// It ends a contract: it is about no person.
    ends: bool,
    /// Its `iat`, or the contract's end.
    begins: i64,
    exp: i64,
    state: State,
    /// When it was admitted, whatever became of it since.
    admitted: Option<i64>,
    begun: bool,
    ended: bool,
    leased_until: i64,
}

#[derive(Default)]
struct Rules {
    /// By version, from 1.
    sets: Vec<Set>,
    orders: Vec<Order>,
}

impl Rules {
    fn newest(&self) -> (usize, Set) {
        (self.sets.len(), self.sets[self.sets.len() - 1])
    }

    /// Whether it would be admitted now, or wait, or neither.
    fn judge(&self, order: &Order, now: i64) -> Option<bool> {
        let (version, set) = self.newest();
        let good = order.signed & !set.keys == 0
            && order.version == version
            && now < set.exp
            && now < order.exp
            && now.max(order.begins) + set.hold < order.exp;
        let counted = people(order.signed).difference(&order.withdrawn).count();
        good.then_some(counted >= set.threshold)
    }

    fn warrant(&self, order: &Order, now: i64) -> bool {
        let Some(at) = order.admitted else { return false };
        if matches!(order.state, State::Revoked | State::Contested) {
            return false;
        }
        if order.begun {
            return true;
        }
        let (named, newest) = (self.sets[order.version - 1], self.newest().1);
        let counted = (0..PEOPLE.len())
            .filter(|key| has(order.signed, *key) && !order.withdrawn.contains(PEOPLE[*key]));
        now < order.exp
            && now >= at.max(order.begins) + named.hold
            && counted.into_iter().all(|key| has(newest.keys, key))
    }
}

// ---------------------------------------------------------------- the system

struct System {
    dir: tempfile::TempDir,
    app: Option<Arc<App>>,
    clock: FixedClock,
    controller: ControllerId,
    of_app: AppId,
    root: PrivateKey,
    keys: Vec<PrivateKey>,
    stranger: PrivateKey,
    report_key: PrivateKey,
    agent: AgentId,
    own: Own,
    replica: Replica,
    /// By version, from 1.
    sets: Vec<KeySetRef>,
    /// What was signed so far, its names, and its execution.
    orders: Vec<(Envelope, InstructionId)>,
    /// Attempt and token of what the agent holds.
    held: BTreeMap<usize, (ExecutionId, u32, String)>,
    reports: u64,
}

fn reason(error: &AppError) -> Reason {
    match error {
        AppError::Refused(refusal) => refusal.reason,
        other => panic!("the gateway failed: {other:?}"),
    }
}

async fn open(dir: &Path, clock: &FixedClock) -> Arc<App> {
    let config = GatewayConfig::load(&dir.join("gateway.toml")).expect("the configuration");
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    mandate::cli::serve::open(&config, clock, Arc::new(SystemEntropy)).await.expect("it opens")
}

impl System {
    async fn new(sample: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        copy(sample, dir.path());
        let config = AgentConfig::load(&dir.path().join("agent.toml")).expect("the agent's configuration");
        let pins = std::fs::read_to_string(dir.path().join("pins.toml")).expect("the pins");
        let pins = Pins::parse(&pins).expect("pins");
        let now = mandate::domain::clock::SystemClock.now_seconds();
        let clock = FixedClock::at(now + 5);
        let first = std::fs::read(dir.path().join("keys/xingyu/keyset.json")).expect("the first set");
        Self {
            app: Some(open(dir.path(), &clock).await),
            clock,
            controller: "xingyu".parse().expect("an id"),
            of_app: config
                .apps
                .iter()
                .find(|app| app.controller.as_str() == "xingyu")
                .expect("one")
                .id
                .clone(),
            root: key_of(dir.path(), "xingyu", "root"),
            keys: PEOPLE.iter().map(|_| new_key()).collect(),
            stranger: new_key(),
            report_key: key_of(dir.path(), "rtc-agent", "report"),
            agent: config.agent.clone(),
            own: Own {
                stores: config.stores.iter().map(|store| store.id.clone()).collect(),
                agreements: config.terms(),
                bindings: config.bindings(),
            },
            replica: Replica::load(Arc::new(pins), 300, &[]).expect("an empty replica"),
            sets: vec![crate::key_sets::named(&first)],
            orders: Vec::new(),
            held: BTreeMap::new(),
            reports: 0,
            dir,
        }
    }

    fn app(&self) -> &App {
        self.app.as_ref().expect("it is open")
    }

    fn now(&self) -> i64 {
        self.clock.now_seconds()
    }

    fn keys_of(&self, keys: Keys) -> Vec<&PrivateKey> {
        (0..PEOPLE.len()).filter(|key| has(keys, *key)).map(|key| &self.keys[key]).collect()
    }

    async fn rotate(&mut self, set: Set) {
        let listed: Vec<usize> = (0..PEOPLE.len()).filter(|key| has(set.keys, *key)).collect();
        let entry = |key: &PrivateKey, signer: &str, usage| KeyEntryDraft {
            jwk: key.public().clone(),
            signer: signer.to_owned(),
            usage,
        };
        let mut keys = vec![entry(&self.root, "board", KeyUse::Root)];
        keys.extend(listed.iter().map(|key| entry(&self.keys[*key], PEOPLE[*key], KeyUse::Instruction)));
        let kids: Vec<_> = listed.iter().map(|key| self.keys[*key].id()).collect();
        let threshold = u32::try_from(set.threshold).expect("a small number");
        let last = self.sets[self.sets.len() - 1];
        let draft = KeySetDraft {
            iss: self.controller.clone(),
            aud: self.replica.pins().trail.origin.clone(),
            version: last.version + 1,
            prev: Some(last.digest),
            iat: self.now(),
            exp: set.exp,
            keys,
            roles: vec![
                (SetRole::Root, vec![self.root.id()], 1),
                (SetRole::Act(Act::Erase), kids.clone(), threshold),
                (SetRole::Act(Act::ReturnAndErase), kids.clone(), threshold),
                (SetRole::Act(Act::Revoke), kids, 1),
            ],
        };
        let policy = Policy { hold: set.hold, ..Policy::default() };
        let bytes = draft.sign_with(&policy, &[&self.root]).expect("signs");
        self.app().rotate_key_set(&self.controller, &bytes).await.expect("it follows");
        let signed = SignedKeySet::read(&bytes).expect("a key set");
        self.sets.push(KeySetRef { version: signed.version(), digest: signed.digest() });
    }

    fn draft(&self, act: Act, version: usize, life: i64, target: Option<InstructionId>) -> InstructionDraft {
        let user = format!("u-{}", self.orders.len());
        InstructionDraft {
            iss: self.controller.clone(),
            aud: self.replica.pins().trail.origin.clone(),
            jti: InstructionId::from_uuid(uuid_v7(&self.clock, &SystemEntropy)),
            iat: self.now(),
            nbf: None,
            exp: self.now() + life,
            act,
            app: self.of_app.clone(),
            req: None,
            target,
            subject: match act.has_subject() {
                false => Vec::new(),
                true => vec![Identifier::user(&self.of_app, user)],
            },
            private: Private::None,
            categories: Categories::Some(vec![Category::Device]),
            stores: None,
            window: None,
            basis: if act == Act::ReturnAndErase { Basis::ContractEnd } else { Basis::Pipl47 },
            key_set: self.sets[version - 1],
            preview: None,
            export: None,
            refuse: None,
            authorize_reply: None,
        }
    }

    async fn submit(&self, wire: &str) -> Result<Submitted, Reason> {
        let done = self.app().submit_instruction(&self.controller, wire.as_bytes()).await;
        done.map_err(|error| reason(&error))
    }

    async fn state(&self, slot: usize) -> Option<(InstructionState, u64)> {
        let (_, id) = &self.orders[slot];
        let view = self.app().get_instruction(&self.controller, *id).await.ok()?;
        Some((view.row.state, view.row.leaf))
    }

    fn countersigned(&self, slot: usize, signature: &Detached) -> Countersignature {
        Countersignature {
            controller: self.controller.clone(),
            id: self.orders[slot].1,
            protected: signature.protected().to_owned(),
            signature: signature.signature().to_owned(),
        }
    }

    /// The agent reads the rest of the authority log.
    async fn refresh(&mut self) {
        let (leaves, checkpoint, more) =
            self.app().read_authority(self.replica.size(), 10_000).await.expect("the log");
        assert!(!more);
        self.replica = self.replica.extend(&leaves, &checkpoint, self.now()).expect("it continues");
    }

    /// Whether the agent, given this order by whomever, would carry it out.
    fn would_carry_out(&self, order: v1::Order, begun: bool) -> bool {
        let Ok(leased) = Leased::read(order) else { return false };
        let Ok(admitted) = leased.admission(&self.replica) else { return false };
        let lease = if begun { Lease::Resumed } else { Lease::First };
        leased.warrant(&admitted, &self.replica, &self.own, lease, self.now()).is_ok()
    }

    /// An order for the instruction as it is signed so far, with the newest leaf the gateway has of it.
    async fn handed_out(&self, slot: usize) -> Option<v1::Order> {
        let (envelope, id) = &self.orders[slot];
        let view = self.app().get_instruction(&self.controller, *id).await.ok()?;
        let execution = view.executions.first().copied()?;
        let shown = self.app().get_execution(&self.controller, execution).await.expect("it is there");
        let issued = self.app().receipt(view.row.leaf).await.expect("a receipt");
        Some(order(execution, shown.row.store.resource_name(), envelope.to_wire().into_bytes(), &issued))
    }

    async fn report(&mut self, slot: usize, outcome: ReportOutcome, why: Option<Reason>) {
        let (execution, attempt, token) = self.held.remove(&slot).expect("the agent holds it");
        let (envelope, id) = &self.orders[slot];
        let payload = mandate::token::base64url::decode(envelope.payload_segment()).expect("a payload");
        let payload: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
        let digest =
            |item: &serde_json::Value| item["..."].as_str().expect("a digest").parse().expect("a digest");
        let identifiers = payload["sub_id"]["identifiers"].as_array().cloned().unwrap_or_default();
        let refused = outcome == ReportOutcome::Refused;
        self.reports += 1;
        let report = Report {
            agent: self.agent.clone(),
            aud: self.replica.pins().trail.origin.clone(),
            jti: uuid_v7(&self.clock, &SystemEntropy),
            iat: self.now(),
            execution,
            instruction: *id,
            instruction_digest: envelope.instruction_digest(),
            sub_digests: if refused { Vec::new() } else { identifiers.iter().map(digest).collect() },
            act: payload["act"].as_str().expect("text").parse().expect("an act"),
            store: "rtc".parse().expect("a store"),
            attempt,
            outcome,
            reason: why,
            map_version: "model".into(),
            authority: AuthorityHead {
                size: self.replica.size(),
                root: Digest::from_bytes(*self.replica.root().as_bytes()),
            },
            collections: Vec::new(),
            preview: None,
            export: None,
            ledger: LedgerHead { sequence: self.reports, head: Digest::of("ledger") },
        };
        let report = report.sign(&self.report_key).expect("signs");
        let input = ReportIn { execution, lease_token: token, report, preview_details: Vec::new() };
        self.app().submit_report(&self.agent, input).await.expect("the report is taken");
    }
}

fn order(execution: ExecutionId, store: String, instruction: Vec<u8>, issued: &Issued) -> v1::Order {
    v1::Order {
        execution: execution.resource_name(),
        store,
        instruction: instruction.into(),
        admission: Some(v1::Receipt {
            leaf: issued.leaf.clone().into(),
            index: issued.index,
            proof: issued.receipt.encode(),
            grade: v1::ReceiptGrade::Signed.into(),
        }),
        attempt: 1,
        lease_token: "t".into(),
        lease_expire_time: None,
        preview: None,
    }
}

fn handed(leased: &LeasedOrder) -> v1::Order {
    order(leased.execution, leased.store.resource_name(), leased.instruction.to_vec(), &leased.admission)
}

// ---------------------------------------------------------------- step by step

struct History {
    rules: Rules,
    system: System,
}

impl History {
    fn slot(&self, slot: usize) -> Option<usize> {
        (!self.rules.orders.is_empty()).then(|| slot % self.rules.orders.len())
    }

    async fn rotate(&mut self, set: Set) {
        self.system.rotate(set).await;
        self.rules.sets.push(set);
    }

    async fn step(&mut self, op: &Op) {
        let now = self.system.now();
        match *op {
            Op::Wait(seconds) => self.system.clock.advance(seconds),
            Op::Expire { slot } => {
                if let Some(slot) = self.slot(slot) {
                    self.system.clock.advance((self.rules.orders[slot].exp - now).max(0));
                }
            }
            Op::Rotate { keys, threshold, hold, brief } => {
                let threshold = (threshold as usize).min(people(keys).len());
                let (hold, exp) = (if hold { HOLD } else { 0 }, now + if brief { BRIEF } else { LONG });
                self.rotate(Set { keys, threshold, hold, exp }).await;
            }
            Op::Instruct { keys, behind, life, ends } => self.instruct(keys, behind, life, ends).await,
            Op::Approve { slot, key, hides } => {
                if let Some(slot) = self.slot(slot) {
                    self.approve(slot, key, hides).await;
                }
            }
            Op::Withdraw { slot, key } => {
                if let Some(slot) = self.slot(slot) {
                    self.withdraw(slot, key).await;
                }
            }
            Op::Revoke { slot, keys } => {
                if let Some(slot) = self.slot(slot) {
                    self.revoke(slot, keys).await;
                }
            }
            Op::Contest { slot } => {
                if let Some(slot) = self.slot(slot) {
                    self.contest(slot).await;
                }
            }
            Op::Sweep => {
                self.system.app().end_unleased_orders().await.expect("it sweeps");
                for order in &mut self.rules.orders {
                    let idle = matches!(order.state, State::Waiting)
                        || (matches!(order.state, State::Admitted { .. }) && !order.begun);
                    if idle && now >= order.exp {
                        (order.state, order.ended) = (State::Expired, true);
                    }
                }
            }
            Op::Lease => self.lease().await,
            Op::Report => {
                for slot in 0..self.rules.orders.len() {
                    let order = &mut self.rules.orders[slot];
                    if self.system.held.contains_key(&slot) && now < order.leased_until && !order.ended {
                        order.ended = true;
                        if matches!(order.state, State::Admitted { .. }) {
                            order.state = State::Done;
                        }
                        self.system.report(slot, ReportOutcome::Completed, None).await;
                    }
                }
            }
            Op::Crash => {
                // Nothing is closed: what is not on the disk is gone.
                drop(self.system.app.take());
                self.system.app = Some(open(self.system.dir.path(), &self.system.clock).await);
            }
        }
    }

    async fn instruct(&mut self, keys: Keys, behind: bool, life: i64, ends: Option<i64>) {
        let (newest, now) = (self.rules.newest().0, self.system.now());
        let version = if behind && newest > 2 { newest - 1 } else { newest };
        let act = if ends.is_some() { Act::ReturnAndErase } else { Act::Erase };
        let mut draft = self.system.draft(act, version, life, None);
        if let Some(ahead) = ends {
            (draft.nbf, draft.exp) = (Some(now + ahead), now + ahead + life);
        }
        let signed = draft.sign(&self.system.keys_of(keys), &SystemEntropy).expect("signs");
        let mut order = Order {
            version,
            signed: keys,
            submitted: keys,
            withdrawn: BTreeSet::new(),
            ends: ends.is_some(),
            begins: draft.nbf.unwrap_or(now),
            exp: draft.exp,
            state: State::Refused,
            admitted: None,
            begun: false,
            ended: false,
            leased_until: 0,
        };
        match self.rules.judge(&order, now) {
            Some(true) => (order.state, order.admitted) = (State::Admitted { at: now }, Some(now)),
            Some(false) => order.state = State::Waiting,
            None => {}
        }
        let done = self.system.submit(&signed.to_wire()).await;
        assert_eq!(done.is_ok(), order.state != State::Refused, "{done:?}", done = done.err());
        self.rules.orders.push(order);
        self.system.orders.push((signed.envelope().clone(), draft.jti));
    }

    async fn approve(&mut self, slot: usize, key: usize, hides: bool) {
        let now = self.system.now();
        let (envelope, _) = self.system.orders[slot].clone();
        let signer = self.system.keys.get(key).unwrap_or(&self.system.stranger);
        let approval = Detached::sign(Says::Approved, &envelope, signer).expect("signs");
        let disclosures = if hides { Vec::new() } else { envelope.disclosures().to_vec() };
        let given = self.system.countersigned(slot, &approval);
        let done = self.system.app().approve_instruction(given, disclosures).await;

        let mut after = self.rules.orders[slot].clone();
        let known = key < PEOPLE.len();
        let counts = known
            // Nothing personal stands in the end of a contract: there is nothing to show.
            && (!hides || after.ends)
            && after.state == State::Waiting
            && !has(after.signed, key)
            && !after.withdrawn.contains(PEOPLE[key]);
        if !counts {
            // Again, or refused: nothing changes.
            return;
        }
        after.signed |= 1 << key;
        match self.rules.judge(&after, now) {
            Some(true) => (after.state, after.admitted) = (State::Admitted { at: now }, Some(now)),
            Some(false) => {}
            None => {
                assert!(done.is_err(), "an approval that cannot count was taken");
                return;
            }
        }
        assert!(done.is_ok(), "a good approval was refused: {:?}", done.err());
        self.system.orders[slot].0 = envelope.approved(&approval);
        self.rules.orders[slot] = after;
    }

    async fn withdraw(&mut self, slot: usize, key: usize) {
        let (envelope, _) = self.system.orders[slot].clone();
        let withdrawal = Detached::sign(Says::Withdrawn, &envelope, &self.system.keys[key]).expect("signs");
        let given = self.system.countersigned(slot, &withdrawal);
        let done = self.system.app().withdraw_approval(given).await;

        let (version, newest) = self.rules.newest();
        let order = &mut self.rules.orders[slot];
        let person = PEOPLE[key];
        let own: Vec<usize> =
            (0..PEOPLE.len()).filter(|k| PEOPLE[*k] == person && has(order.signed, *k)).collect();
        let counts = order.state == State::Waiting
            && order.version == version
            && has(newest.keys, key)
            && !order.withdrawn.contains(person)
            && !own.is_empty();
        if !counts {
            return;
        }
        assert!(done.is_ok(), "a good withdrawal was refused: {:?}", done.err());
        order.withdrawn.insert(person);
        let kids: Vec<_> = own.iter().map(|key| self.system.keys[*key].id()).collect();
        for key in own {
            order.signed &= !(1 << key);
            order.submitted &= !(1 << key);
        }
        match envelope.without(&kids) {
            Some(rest) => self.system.orders[slot].0 = rest,
            None => assert_eq!(order.submitted, 0),
        }
        if order.submitted == 0 {
            (order.state, order.ended) = (State::Revoked, true);
        }
    }

    async fn revoke(&mut self, slot: usize, keys: Keys) {
        let ((version, set), now) = (self.rules.newest(), self.system.now());
        let target = self.system.orders[slot].1;
        let draft = self.system.draft(Act::Revoke, version, 400, Some(target));
        let signed = draft.sign(&self.system.keys_of(keys), &SystemEntropy).expect("signs");
        let done = self.system.submit(&signed.to_wire()).await;
        let order = &mut self.rules.orders[slot];
        let open = matches!(order.state, State::Waiting | State::Admitted { .. });
        let counts = keys & !set.keys == 0 && now < set.exp && open;
        assert_eq!(done.is_ok(), counts, "{done:?}", done = done.err());
        if counts {
            order.state = State::Revoked;
            order.ended = !order.begun;
        }
    }

    async fn contest(&mut self, slot: usize) {
        let id = self.system.orders[slot].1;
        let by = "operators/o-1".to_owned();
        let controller = self.system.controller.clone();
        let done = self.system.app().contest_instruction(by, &controller, id, ContestGround::Unlawful).await;
        let order = &mut self.rules.orders[slot];
        let open = matches!(order.state, State::Waiting | State::Admitted { .. });
        assert_eq!(done.is_ok(), open || order.state == State::Contested, "{done:?}", done = done.err());
        if open {
            order.state = State::Contested;
            order.ended = !order.begun;
        }
    }

    async fn lease(&mut self) {
        self.system.refresh().await;
        let now = self.system.now();
        let given = self.system.app().lease_orders(&self.system.agent, 16).await.expect("it answers");
        let mut handed_out = BTreeSet::new();
        for leased in &given {
            let shown = self.system.app().get_execution(&self.system.controller, leased.execution).await;
            let id = shown.expect("it is there").row.instruction;
            let slot = self.system.orders.iter().position(|(_, jti)| *jti == id).expect("one of ours");
            handed_out.insert(slot);
            let token = (leased.execution, leased.attempt, leased.lease_token.clone());
            self.system.held.insert(slot, token);
            self.rules.orders[slot].leased_until = now + LEASE;
            let begun = self.rules.orders[slot].begun;
            let good = self.system.would_carry_out(handed(leased), begun);
            assert_eq!(good, self.rules.warrant(&self.rules.orders[slot], now), "slot {slot} as leased");
            if good {
                self.rules.orders[slot].begun = true;
                continue;
            }
            // It says so, and the order is over.
            let outcome = if begun { ReportOutcome::Failed } else { ReportOutcome::Refused };
            self.system.report(slot, outcome, Some(Reason::InstructionRevoked)).await;
            let order = &mut self.rules.orders[slot];
            order.ended = true;
            if matches!(order.state, State::Admitted { .. }) {
                order.state = State::Failed;
            }
        }
        for slot in 0..self.rules.orders.len() {
            let order = &self.rules.orders[slot];
            if handed_out.contains(&slot) || order.ended {
                continue;
            }
            if order.begun {
                assert!(now < order.leased_until, "what was begun was not handed out again: slot {slot}");
                continue;
            }
            let State::Admitted { at } = order.state else { continue };
            let set = self.rules.sets[order.version - 1];
            assert!(!self.rules.warrant(order, now), "a good order was not handed out: slot {slot}");
            // The gateway ends what no agent would carry out, once its time has come.
            if now >= at.max(order.begins) + set.hold {
                let expired = now >= order.exp;
                let order = &mut self.rules.orders[slot];
                order.ended = true;
                order.state = if expired { State::Expired } else { State::Failed };
            }
        }
    }

    /// After every step: what the gateway shows, and what an agent would do with each order.
    async fn check(&mut self, after: &Op) {
        self.system.refresh().await;
        let now = self.system.now();
        for (slot, order) in self.rules.orders.iter().enumerate() {
            let shown = self.system.state(slot).await.map(|(state, _)| state);
            let fits = match (order.state, shown) {
                (State::Refused, None) => true,
                (State::Waiting, Some(state)) => state == InstructionState::Waiting,
                (State::Admitted { .. }, Some(state)) => match order.begun {
                    true => state == InstructionState::Executing,
                    false => matches!(state, InstructionState::Admitted | InstructionState::Held),
                },
                (State::Revoked, Some(state)) => state == InstructionState::Revoked,
                (State::Contested, Some(state)) => state == InstructionState::Contested,
                (State::Expired, Some(state)) => state == InstructionState::Expired,
                (State::Failed, Some(state)) => state == InstructionState::Failed,
                (State::Done, Some(state)) => state == InstructionState::Done,
                _ => false,
            };
            assert!(fits, "after {after:?}: slot {slot} is {order:?}, shown as {shown:?}");
            if order.ended {
                // Done once; that it is done only once is the agent's ledger's to know.
                continue;
            }
            let good = match self.system.handed_out(slot).await {
                Some(handed) => self.system.would_carry_out(handed, order.begun),
                None => false,
            };
            assert_eq!(
                good,
                self.rules.warrant(order, now),
                "after {after:?}: slot {slot} is {order:?} at {now}"
            );
        }
    }
}

async fn run(sample: &Path, ops: &[Op]) {
    let mut history = History { rules: Rules::default(), system: System::new(sample).await };
    // The first set is that of the sample, whose signers nobody here has.
    let exp = history.system.now() + LONG;
    history.rules.sets.push(Set { keys: 0, threshold: 1, hold: 0, exp });
    history.rotate(Set { keys: 31, threshold: 2, hold: 0, exp }).await;
    for op in ops {
        history.step(op).await;
        history.check(op).await;
    }
    let System { app, dir, .. } = history.system;
    let app = app.expect("it is open");
    app.store.close().await;
    app.vault.keyring().close().await.expect("the keyring closes");
    drop(app);
    // What it left behind is a good trail, and the tables are what its leaves say.
    let gateway = Process::serve(dir.path());
    World { dir, gateway: Some(gateway), agent: None }.export_and_verify().await;
}

#[test]
fn an_agent_gets_a_warrant_if_and_only_if_the_plain_rules_say_so() {
    let cases = std::env::var("MANDATE_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    };
    let sample = runtime().block_on(async {
        let mut world = World::without_agent(|_| {}).await;
        world.gateway.take().expect("it runs").stop();
        world
    });
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&prop::collection::vec(an_op(), 30..60), |ops| {
        runtime().block_on(run(sample.path(), &ops));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
