//! A hostile gateway in the test's own process: the real database, keyring, keys and use cases of a gateway that was
//! stopped, behind an agents' service that says what it is told to say. The agent is the real process and cannot tell.
//!
//! It lies about the authority log, and it hands out orders of the test's own making, in which case the agent's answer
//! stays here: the real database never hears of it.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mandate::app::{App, LeasedOrder};
use mandate::authority::Pins;
use mandate::cli::demo::Enterprise;
use mandate::config::GatewayConfig;
use mandate::domain::clock::SystemClock;
use mandate::domain::{Act, AgentId, Clock, ExecutionId, ExecutionState, Identifier, Timestamp};
use mandate::grpc::v1;
use mandate::grpc::v1::agent_service_server::AgentServiceServer;
use mandate::grpc::v1::audit_service_server::AuditServiceServer;
use mandate::identity::{Acceptor, Configured, LogRefusals, Materials};
use mandate::store::{Issued, Log};
use mandate::token::{Report, VerifyingKey};
use mandate::trail::{Appender, Checkpoint, NoteSignature, leaf_hash};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::forger::Forger;
use crate::harness::{World, within};

mod service;

const USER: &str = "u_8839201";

/// The authority log as it is told to the agent: leaves, and the signed and dated head.
pub type Told = (Vec<Vec<u8>>, String);

/// Orders of the test's own making, and what the agent said of each.
#[derive(Default)]
struct MadeUp {
    count: usize,
    waiting: VecDeque<v1::Order>,
    /// By lease token. Its first word counts: what it adds when nobody takes its report says the same again.
    said: BTreeMap<String, String>,
    /// By lease token, signed.
    reports: BTreeMap<String, String>,
}

#[derive(Clone)]
pub struct Liar {
    pub app: Arc<App>,
    agent: AgentId,
    pins: Arc<Pins>,
    /// The truth where none.
    lie: Arc<Mutex<Option<Told>>>,
    /// Whether it has no proof that the trail continues, and makes one up.
    pub unproven: Arc<AtomicBool>,
    /// Whether it keeps the orders that the database holds to itself.
    pub silent: Arc<AtomicBool>,
    made_up: Arc<Mutex<MadeUp>>,
    closing: CancellationToken,
}

const MADE_UP: &str = "made-up-";

/// An order as a gateway would hand it out.
pub fn made_up(execution: &str, store: &str, wire: &str, admission: v1::Receipt) -> v1::Order {
    v1::Order {
        execution: execution.to_owned(),
        store: store.to_owned(),
        instruction: wire.as_bytes().to_vec().into(),
        admission: Some(admission),
        attempt: 1,
        lease_token: String::new(),
        lease_expire_time: seconds(SystemClock.now_seconds() + 120),
        preview: None,
    }
}

fn failed(error: mandate::app::AppError) -> Status {
    Status::failed_precondition(error.to_string())
}

pub fn receipt(issued: &Issued) -> v1::Receipt {
    let grade = v1::ReceiptGrade::Signed.into();
    v1::Receipt {
        leaf: issued.leaf.clone().into(),
        index: issued.index,
        proof: issued.receipt.encode(),
        grade,
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn execution(name: &str) -> ExecutionId {
    ExecutionId::from_resource_name(name).expect("the agent names executions")
}

fn order(leased: &LeasedOrder) -> v1::Order {
    v1::Order {
        execution: leased.execution.resource_name(),
        store: leased.store.resource_name(),
        instruction: leased.instruction.to_vec().into(),
        admission: Some(receipt(&leased.admission)),
        attempt: leased.attempt.cast_signed(),
        lease_token: leased.lease_token.clone(),
        lease_expire_time: seconds(leased.lease_expires_at),
        preview: None,
    }
}

impl Liar {
    /// Takes the stopped gateway's place: its address, its certificate, its database.
    pub async fn open(world: &World) -> Self {
        let app = Forger::open(world.path()).await.app;
        let config = GatewayConfig::load(&world.path().join("gateway.toml")).expect("the configuration");
        let materials = Materials::load(&config.material()).expect("its material loads");
        let acceptor =
            Acceptor::new(materials, Arc::new(SystemClock), Arc::new(LogRefusals)).expect("a door");
        let listener = tokio::net::TcpListener::bind(&config.listen).await.expect("its address is free");
        let liar = Self {
            app,
            agent: "rtc-agent".parse().expect("a slug"),
            pins: Arc::new(pins(world.path())),
            lie: Arc::default(),
            unproven: Arc::default(),
            silent: Arc::default(),
            made_up: Arc::default(),
            closing: CancellationToken::new(),
        };
        let served = tonic::transport::Server::builder()
            .add_service(AgentServiceServer::new(liar.clone()))
            .add_service(AuditServiceServer::new(liar.clone()))
            .serve_with_incoming_shutdown(
                mandate::identity::serve(listener, acceptor),
                liar.closing.clone().cancelled_owned(),
            );
        tokio::spawn(served);
        liar
    }

    /// Leaves its place to the real gateway again. The agent must have stopped.
    pub async fn close(self) {
        self.closing.cancel();
        Forger { app: self.app }.close().await;
    }

    fn orders(&self) -> MutexGuard<'_, MadeUp> {
        self.made_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_report(&self, sent: v1::SubmitReportRequest) {
        let key = VerifyingKey::new(self.pins.agents[&self.agent].clone()).expect("a key");
        let report = Report::verify(&sent.report, &key, &self.agent, &self.pins.trail.origin);
        let report = report.expect("the agent signed it");
        assert_eq!(report.execution.resource_name(), sent.execution);
        let said = match report.reason {
            Some(reason) => format!("{} {reason}", report.outcome),
            None => report.outcome.to_string(),
        };
        let mut orders = self.orders();
        orders.reports.entry(sent.lease_token.clone()).or_insert(sent.report);
        orders.said.entry(sent.lease_token).or_insert(said);
    }

    /// Lays an order out for the agent to fetch; its token.
    pub fn lay_out(&self, order: v1::Order) -> String {
        let mut orders = self.orders();
        orders.count += 1;
        let token = format!("{MADE_UP}{}", orders.count);
        orders.waiting.push_back(v1::Order { lease_token: token.clone(), ..order });
        token
    }

    /// Whether an order that was laid out was not fetched.
    pub fn lies_there(&self, token: &str) -> bool {
        self.orders().waiting.iter().any(|order| order.lease_token == token)
    }

    /// Takes back what was laid out.
    pub fn take_away(&self) {
        self.orders().waiting.clear();
    }

    /// What the agent says of it: `deferred CODE`, `refused CODE`, `completed`, … and the report, if it signed one.
    pub async fn answer(&self, token: &str) -> (String, Option<String>) {
        within(60, "the agent's answer", async {
            loop {
                let said = self.orders().said.get(token).cloned();
                if let Some(said) = said {
                    return (said, self.orders().reports.get(token).cloned());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// Hands an order out, whatever the database says of it, and tells what the agent says.
    pub async fn hand_out(&self, order: v1::Order) -> String {
        let token = self.lay_out(order);
        self.answer(&token).await.0
    }

    pub fn tell(&self, told: Option<Told>) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    /// The gateway's own word that the head is the newest one now.
    pub fn date(&self, head: &str) -> NoteSignature {
        self.app.freshness.cosign(head, SystemClock.now()).expect("cosigned")
    }

    /// The true leaves.
    pub async fn truth(&self) -> Vec<Vec<u8>> {
        self.app.leaves(Log::Authority, 0, 10_000).await.expect("the log")
    }

    /// Signs a head over these leaves with the log's own key, dated by the freshness key.
    pub fn sealed(&self, leaves: Vec<Vec<u8>>, seconds_from_now: i64) -> Option<Told> {
        let mut tree = Appender::new();
        for leaf in &leaves {
            tree.append(leaf_hash(leaf));
        }
        let origin = self.app.store.origins.authority();
        let head = Checkpoint::new(&origin, tree.size(), tree.root()).expect("a head");
        let mut note = head.sign(&self.app.store.keys.authority.now);
        let at = Timestamp::from_second(SystemClock.now_seconds() + seconds_from_now).expect("an instant");
        note.add(self.app.freshness.cosign(note.text(), at).expect("cosigned")).expect("added");
        Some((leaves, note.to_string()))
    }

    /// Admits a genuine order as the gateway would; its execution.
    pub async fn admit(&self, of: &Enterprise) -> String {
        let subject = vec![Identifier::user(&of.app, USER)];
        let draft = of.order(Act::Erase, subject, None).expect("an order");
        let wire = of.sign(&draft).expect("signs").to_wire();
        let admitted = self.app.submit_instruction(&of.id, wire.as_bytes()).await.expect("admitted");
        admitted.executions[0].resource_name()
    }

    /// Waits until the execution stands as asked.
    pub async fn until(
        &self,
        of: &Enterprise,
        name: &str,
        done: impl Fn(&v1::Execution) -> bool,
    ) -> v1::Execution {
        let look = async {
            loop {
                let found = self.app.get_execution(&of.id, execution(name)).await.expect("it is there").row;
                let seen = v1::Execution {
                    name: name.to_owned(),
                    state: state(found.state).into(),
                    reason: found.reason.unwrap_or_default(),
                    report: found.report.unwrap_or_default(),
                    ..v1::Execution::default()
                };
                if done(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within(60, "an execution", look).await
    }

    pub async fn end(&self, of: &Enterprise, name: &str) -> v1::Execution {
        let open = [v1::ExecutionState::Pending, v1::ExecutionState::Leased];
        self.until(of, name, |seen| !open.contains(&seen.state())).await
    }
}

pub fn pins(dir: &Path) -> Pins {
    Pins::parse(&std::fs::read_to_string(dir.join("pins.toml")).expect("the pins")).expect("pins")
}

fn state(state: ExecutionState) -> v1::ExecutionState {
    match state {
        ExecutionState::Pending => v1::ExecutionState::Pending,
        ExecutionState::Leased => v1::ExecutionState::Leased,
        ExecutionState::Completed => v1::ExecutionState::Completed,
        ExecutionState::Partial => v1::ExecutionState::Partial,
        ExecutionState::Failed => v1::ExecutionState::Failed,
        ExecutionState::Refused => v1::ExecutionState::Refused,
    }
}
