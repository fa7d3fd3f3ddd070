//! The gateway in the test's own process: its use cases over its database, at a time of the test's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mandate::app::{
    App, AppError, Countersignature, LeasedOrder, NewRequest, ReportIn, RequestUuid, Submitted,
};
use mandate::config::GatewayConfig;
use mandate::domain::clock::{FixedClock, SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{
    AgentId, AppId, Clock, ContestGround, ControllerId, ExecutionId, InstructionId, InstructionState, Reason,
    RequestId, Right,
};
use mandate::grpc::v1;
use mandate::store::Issued;
use mandate::store::instructions::InstructionRow;
use mandate::token::Detached;

use super::agent::{Agent, Hold};
use super::door::{Door, HandedOut, Shown, an_order};
use super::office::{Office, Signed};

fn receipt(issued: &Issued) -> v1::Receipt {
    let (leaf, proof) = (issued.leaf.clone().into(), issued.receipt.encode());
    v1::Receipt { leaf, index: issued.index, proof, grade: v1::ReceiptGrade::Signed.into() }
}

pub struct Inside {
    pub dir: PathBuf,
    app: Option<Arc<App>>,
    pub time: FixedClock,
    controller: ControllerId,
    of_app: AppId,
    agent: AgentId,
}

async fn open(dir: &Path, clock: &FixedClock) -> Arc<App> {
    let config = GatewayConfig::load(&dir.join("gateway.toml")).expect("the configuration");
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    mandate::cli::serve::open(&config, clock, Arc::new(SystemEntropy)).await.expect("it opens")
}

fn refusal(error: &AppError) -> Reason {
    match error {
        AppError::Refused(refusal) => refusal.reason,
        other => panic!("the gateway failed: {other:?}"),
    }
}

fn shown(row: &InstructionRow, executions: &[ExecutionId]) -> Shown {
    let waits = row.state == InstructionState::Waiting;
    let missing = (row.act.to_string(), row.missing as usize);
    let missing = if waits { vec![missing] } else { Vec::new() };
    Shown { state: row.state, missing, has_orders: !executions.is_empty() }
}

fn answer(done: Result<Submitted, AppError>) -> Result<Shown, Reason> {
    done.map(|done| shown(&done.row, &done.executions)).map_err(|error| refusal(&error))
}

fn handed(leased: &LeasedOrder) -> v1::Order {
    let (execution, store) = (leased.execution.resource_name(), leased.store.resource_name());
    let order = an_order(execution, store, leased.instruction.to_vec(), receipt(&leased.admission));
    v1::Order { attempt: leased.attempt.cast_signed(), lease_token: leased.lease_token.clone(), ..order }
}

impl Inside {
    pub async fn open(dir: &Path, office: &Office, agent: &Agent) -> Self {
        let time = FixedClock::at(SystemClock.now_seconds() + 5);
        let app = Some(open(dir, &time).await);
        let (controller, of_app) = (office.controller.clone(), office.app.clone());
        Self { dir: dir.to_owned(), app, time, controller, of_app, agent: agent.id.clone() }
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("it is open")
    }

    pub async fn crash(&mut self) {
        drop(self.app.take());
        self.app = Some(open(&self.dir, &self.time).await);
    }

    pub async fn close(mut self) {
        let app = self.app.take().expect("it is open");
        app.store.close().await;
        app.vault.keyring().close().await.expect("the keyring closes");
    }

    fn countersignature(&self, id: InstructionId, by: &Detached) -> Countersignature {
        let (protected, signature) = (by.protected().to_owned(), by.signature().to_owned());
        Countersignature { controller: self.controller.clone(), id, protected, signature }
    }
}

impl Door for Inside {
    fn clock(&self) -> &dyn Clock {
        &self.time
    }

    async fn submit(&mut self, wire: &str) -> Result<Shown, Reason> {
        answer(self.app().submit_instruction(&self.controller, wire.as_bytes()).await)
    }

    async fn approve(
        &mut self,
        id: InstructionId,
        by: &Detached,
        disclosures: &[String],
    ) -> Result<Shown, Reason> {
        let given = self.countersignature(id, by);
        answer(self.app().approve_instruction(given, disclosures.to_vec()).await)
    }

    async fn withdraw(&mut self, id: InstructionId, by: &Detached) -> Result<Shown, Reason> {
        answer(self.app().withdraw_approval(self.countersignature(id, by)).await)
    }

    async fn contest(&mut self, id: InstructionId) -> Result<(), Reason> {
        let by = "operators/o-1".to_owned();
        let done = self.app().contest_instruction(by, &self.controller, id, ContestGround::Unlawful).await;
        done.map(drop).map_err(|error| refusal(&error))
    }

    async fn rotate(&mut self, set: &[u8]) -> Result<(), Reason> {
        let done = self.app().rotate_key_set(&self.controller, set).await;
        done.map(drop).map_err(|error| refusal(&error))
    }

    async fn case(&mut self, minor: bool) -> RequestId {
        let new = NewRequest {
            app: self.of_app.clone(),
            rights: vec![Right::Delete],
            subjects: Vec::new(),
            received_at: None,
            guardian: minor,
            language: String::new(),
        };
        let id = RequestUuid::required(&uuid_v7(&self.time, &SystemEntropy).to_string()).expect("an id");
        let (view, _) = self.app().create_request(&self.controller, id, new).await.expect("a case");
        view.row.id
    }

    async fn show(&mut self, id: InstructionId) -> Result<Shown, Reason> {
        let view = self.app().get_instruction(&self.controller, id).await;
        view.map(|view| shown(&view.row, &view.executions)).map_err(|error| refusal(&error))
    }

    async fn order(&mut self, of: &Signed) -> Option<v1::Order> {
        let view = self.app().get_instruction(&self.controller, of.id).await.ok()?;
        let execution = *view.executions.first()?;
        let found = self.app().get_execution(&self.controller, execution).await.expect("it is there");
        let issued = self.app().receipt(view.row.leaf).await.expect("a receipt");
        let (execution, store) = (execution.resource_name(), found.row.store.resource_name());
        Some(an_order(execution, store, of.envelope.to_wire().into_bytes(), receipt(&issued)))
    }

    async fn lease(&mut self) -> HandedOut {
        let given = self.app().lease_orders(&self.agent, 16).await.expect("it answers");
        (given.iter().map(handed).collect(), false)
    }

    async fn report(&mut self, hold: &Hold, report: String) -> Result<(), Reason> {
        let (execution, lease_token) = (hold.execution, hold.token.clone());
        let input = ReportIn { execution, lease_token, report, preview_details: Vec::new() };
        let done = self.app().submit_report(&self.agent, input).await;
        done.map(drop).map_err(|error| refusal(&error))
    }

    async fn authority(&mut self, start: u64) -> (Vec<Vec<u8>>, String, bool) {
        self.app().read_authority(start, 10_000).await.expect("the log")
    }
}
