//! Gateways that are processes of their own, reached over the wire, and killed while they answer.
//!
//! What was not answered is asked again, the very same bytes under the same request id: of the gateway that was killed
//! and started again, or of the other one on the same database while the first is still down.

use std::pin::pin;
use std::time::Duration;

use mandate::agent::gateway::{Gateway, LeaseHold};
use mandate::cli::client::{Client, Profile};
use mandate::cli::demo::{Enterprise, reason_of};
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Clock, InstructionId, InstructionState, Reason, Refusal, RequestId};
use mandate::grpc::v1;
use mandate::token::Detached;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::agent::Hold;
use super::door::{Door, HandedOut, Shown, an_order};
use super::office::Signed;
use super::ops::Cut;
use crate::agent_calls::line_to;
use crate::harness::{Process, World, configure, replica_name};
use crate::load::On;

/// Longer than a history.
pub const LEASE: i64 = 3_600;
/// How long one call may take before it counts as not answered.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(25);

/// The ways to one gateway.
struct Side {
    enterprise: Enterprise,
    operator: Client,
    agent: Gateway,
}

/// What became of a call that did not succeed.
enum Failed {
    Refused(Reason),
    /// It may have had its effect, or not.
    NotAnswered(String),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
                Failed::NotAnswered(format!("{:?} {}", status.code(), status.message()))
            }
            _ => Failed::Refused(reason(&status)),
        }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        match refusal.reason {
            Reason::Unavailable | Reason::Internal => Failed::NotAnswered(format!("{:?}", refusal.reason)),
            reason => Failed::Refused(reason),
        }
    }
}

fn reason(status: &Status) -> Reason {
    let code = reason_of(status).unwrap_or_else(|error| panic!("{error}: {}", status.message()));
    Reason::from_code(&code).expect("a registered reason")
}

/// What was done to the gateways.
#[derive(Debug, Default, Clone, Copy)]
pub struct Kills {
    pub all: usize,
    /// Before the answer to a call was there.
    pub unanswered: usize,
    /// Of these, while the other gateway was asked again.
    pub elsewhere: usize,
}

pub struct Outside {
    pub world: World,
    gateways: Vec<Option<Process>>,
    sides: Vec<Side>,
    /// Which gateway the next call goes to.
    pub to: usize,
    /// The next call is cut off.
    pub cut: Option<Cut>,
    pub kills: Kills,
    /// What a call takes, about.
    usual: Duration,
}

impl Outside {
    pub async fn open(on: On) -> Self {
        let adjust = |dir: &std::path::Path| {
            configure(dir, |gateway| {
                let limits = gateway["limits"].as_table_mut().expect("a table");
                limits.insert("lease_seconds".into(), LEASE.into());
            });
        };
        let (mut world, count) = match on {
            On::Sqlite => (World::without_agent(adjust).await, 1),
            On::Postgres => (World::on_postgres_with(2, adjust).await, 2),
        };
        let mut gateways = vec![world.gateway.take()];
        let others = (1..count).map(|n| Some(Process::replica(world.path(), &replica_name(n))));
        gateways.extend(others);
        let mut sides = Vec::new();
        for n in 0..count {
            let operator = Profile::load(&world.profile_at("operator", n)).expect("the profile loads");
            sides.push(Side {
                enterprise: Enterprise::open(&world.profile_at("xingyu", n)).await.expect("it connects"),
                operator: Client::open(operator).await.expect("it connects"),
                agent: line_to(&world, n),
            });
        }
        let usual = Duration::from_millis(20);
        Self { world, gateways, sides, to: 0, cut: None, kills: Kills::default(), usual }
    }

    /// Asks until there is an answer; and whether an answer may have been lost before it.
    async fn ask_for<T>(
        &mut self,
        call: impl AsyncFn(&Side) -> Result<T, Failed>,
    ) -> (Result<T, Reason>, bool) {
        let mut at = self.to % self.sides.len();
        let began = Instant::now();
        let mut done = match self.cut.take() {
            Some(cut) => {
                let (done, next) = self.cut_off(at, cut, &call).await;
                at = next;
                done
            }
            None => {
                let done = once(&self.sides[at], &call).await;
                self.usual = (self.usual * 3 + began.elapsed()) / 4;
                done
            }
        };
        let mut lost = false;
        let answer = loop {
            let why = match done {
                Ok(answer) => break Ok(answer),
                Err(Failed::Refused(reason)) => break Err(reason),
                Err(Failed::NotAnswered(why)) => why,
            };
            assert!(began.elapsed() < Duration::from_secs(120), "nobody answers: {why}");
            lost = true;
            tokio::time::sleep(PAUSE).await;
            done = once(&self.sides[at], &call).await;
        };
        self.start();
        (answer, lost)
    }

    async fn ask<T>(&mut self, call: impl AsyncFn(&Side) -> Result<T, Failed>) -> Result<T, Reason> {
        self.ask_for(call).await.0
    }

    /// Kills the gateway while it answers. What came of the call, and whom to ask next.
    async fn cut_off<T>(
        &mut self,
        at: usize,
        cut: Cut,
        call: &impl AsyncFn(&Side) -> Result<T, Failed>,
    ) -> (Result<T, Failed>, usize) {
        let done = {
            let mut asked = pin!(once(&self.sides[at], call));
            let early = tokio::time::timeout(self.usual * cut.after / 100, &mut asked).await;
            self.gateways[at].take().expect("it runs").kill();
            match early {
                Ok(done) => done,
                Err(_) => asked.await,
            }
        };
        self.kills.all += 1;
        let unanswered = matches!(done, Err(Failed::NotAnswered(_)));
        self.kills.unanswered += usize::from(unanswered);
        if cut.elsewhere && self.sides.len() > 1 {
            self.kills.elsewhere += usize::from(unanswered);
            return (done, (at + 1) % self.sides.len());
        }
        self.start();
        (done, at)
    }

    /// Whichever gateway is down.
    fn start(&mut self) {
        for (n, gateway) in self.gateways.iter_mut().enumerate() {
            gateway.get_or_insert_with(|| Process::replica(self.world.path(), &replica_name(n)));
        }
    }
}

async fn once<T>(side: &Side, call: &impl AsyncFn(&Side) -> Result<T, Failed>) -> Result<T, Failed> {
    let answer = tokio::time::timeout(PATIENCE, call(side)).await;
    answer.unwrap_or_else(|_| Err(Failed::NotAnswered("it took too long".into())))
}

fn shown(instruction: Option<v1::Instruction>) -> Shown {
    let instruction = instruction.expect("shown");
    let state = match instruction.state() {
        v1::InstructionState::Unspecified => panic!("it has no state"),
        v1::InstructionState::Admitted => InstructionState::Admitted,
        v1::InstructionState::Executing => InstructionState::Executing,
        v1::InstructionState::Done => InstructionState::Done,
        v1::InstructionState::Failed => InstructionState::Failed,
        v1::InstructionState::Waiting => InstructionState::Waiting,
        v1::InstructionState::Held => InstructionState::Held,
        v1::InstructionState::Revoked => InstructionState::Revoked,
        v1::InstructionState::Contested => InstructionState::Contested,
        v1::InstructionState::Expired => InstructionState::Expired,
    };
    let missing = instruction.missing.iter().map(|role| (role.role.clone(), role.signers as usize));
    Shown { state, missing: missing.collect(), has_orders: !instruction.executions.is_empty() }
}

impl Door for Outside {
    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    async fn submit(&mut self, wire: &str) -> Result<Shown, Reason> {
        let call = v1::SubmitInstructionRequest { instruction: wire.as_bytes().to_vec().into() };
        self.ask(async |side| {
            let mut client = side.enterprise.client.instructions();
            Ok(shown(client.submit_instruction(call.clone()).await?.into_inner().instruction))
        })
        .await
    }

    async fn approve(
        &mut self,
        id: InstructionId,
        by: &Detached,
        disclosures: &[String],
    ) -> Result<Shown, Reason> {
        let call = v1::ApproveInstructionRequest {
            name: id.resource_name(),
            protected: by.protected().to_owned(),
            signature: by.signature().to_owned(),
            disclosures: disclosures.to_vec(),
        };
        self.ask(async |side| {
            let mut client = side.enterprise.client.instructions();
            Ok(shown(client.approve_instruction(call.clone()).await?.into_inner().instruction))
        })
        .await
    }

    async fn withdraw(&mut self, id: InstructionId, by: &Detached) -> Result<Shown, Reason> {
        let call = v1::WithdrawApprovalRequest {
            name: id.resource_name(),
            protected: by.protected().to_owned(),
            signature: by.signature().to_owned(),
        };
        self.ask(async |side| {
            let mut client = side.enterprise.client.instructions();
            Ok(shown(client.withdraw_approval(call.clone()).await?.into_inner().instruction))
        })
        .await
    }

    async fn contest(&mut self, id: InstructionId) -> Result<(), Reason> {
        let (name, ground) = (id.resource_name(), "unlawful".to_owned());
        self.ask(async |side| {
            let controller = side.enterprise.id.resource_name();
            let call =
                v1::ContestInstructionRequest { controller, name: name.clone(), ground: ground.clone() };
            side.operator.instructions().contest_instruction(call).await?;
            Ok(())
        })
        .await
    }

    async fn rotate(&mut self, set: &[u8]) -> Result<(), Reason> {
        let call = v1::RotateKeySetRequest { key_set: set.to_vec().into() };
        self.ask(async |side| {
            side.enterprise.client.instructions().rotate_key_set(call.clone()).await?;
            Ok(())
        })
        .await
    }

    async fn case(&mut self, minor: bool) -> RequestId {
        let request_id = uuid_v7(&SystemClock, &SystemEntropy).to_string();
        let opened = self.ask(async |side| {
            let call = v1::CreateRequestRequest {
                app: side.enterprise.app.resource_name(),
                rights: vec!["delete".into()],
                guardian: minor,
                request_id: request_id.clone(),
                ..Default::default()
            };
            Ok(side.enterprise.client.requests().create_request(call).await?.into_inner())
        });
        let case = opened.await.expect("it is opened").request.expect("shown");
        RequestId::from_resource_name(&case.name).expect("a case's name")
    }

    async fn show(&mut self, id: InstructionId) -> Result<Shown, Reason> {
        let call = v1::GetInstructionRequest { name: id.resource_name() };
        self.ask(async |side| {
            let mut client = side.enterprise.client.instructions();
            Ok(shown(client.get_instruction(call.clone()).await?.into_inner().instruction))
        })
        .await
    }

    async fn order(&mut self, of: &Signed) -> Option<v1::Order> {
        let name = of.id.resource_name();
        let wire = of.envelope.to_wire();
        let order = self.ask(async |side| {
            let client = &side.enterprise.client;
            let call = v1::GetInstructionRequest { name: name.clone() };
            let found = client.instructions().get_instruction(call).await?.into_inner().instruction;
            let Some(execution) = found.expect("shown").executions.first().cloned() else { return Ok(None) };
            let call = v1::GetExecutionRequest { name: execution.clone() };
            let found = client.executions().get_execution(call).await?.into_inner().execution;
            let call = v1::GetReceiptRequest { name: name.clone() };
            let receipt = client.instructions().get_receipt(call).await?.into_inner().receipt;
            let store = found.expect("shown").store;
            Ok(Some(an_order(execution, store, wire.clone().into_bytes(), receipt.expect("a receipt"))))
        });
        order.await.ok().flatten()
    }

    async fn lease(&mut self) -> HandedOut {
        let (order, lost) = self.ask_for(async |side| Ok(side.agent.lease(0).await?)).await;
        (order.expect("it answers").into_iter().collect(), lost)
    }

    async fn report(&mut self, hold: &Hold, report: String) -> Result<(), Reason> {
        let hold = LeaseHold { execution: hold.execution, token: hold.token.clone() };
        self.ask(async |side| {
            side.agent.report(&hold, report.clone(), Vec::new()).await?;
            Ok(())
        })
        .await
    }

    async fn authority(&mut self, start: u64) -> (Vec<Vec<u8>>, String, bool) {
        self.ask(async |side| Ok(side.agent.authority(start).await?)).await.expect("the log")
    }
}
