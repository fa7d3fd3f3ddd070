//! A gateway that lies about the authority log with the log's own keys: rolls it back, forks it, shows an
//! old head. The genuine orders it then hands out move no row, and the agent's word reaches the trail.
//!
//! The gateway here runs in the test: its real database, keyring, keys and use cases behind an agents'
//! service that says what it is told to say. The agent is the real process and cannot tell.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mandate::app::{App, LeasedOrder, ReportIn};
use mandate::cli::demo::Enterprise;
use mandate::config::GatewayConfig;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::event::{Event, KeySetPublished};
use mandate::domain::{Act, AgentId, Clock, ExecutionId, ExecutionState, Identifier, Reason, Timestamp};
use mandate::grpc::v1;
use mandate::grpc::v1::agent_service_server::{AgentService, AgentServiceServer};
use mandate::grpc::v1::audit_service_server::{AuditService, AuditServiceServer};
use mandate::identity::{Acceptor, Configured, LogRefusals, Materials};
use mandate::store::{Issued, Log};
use mandate::trail::{Appender, Checkpoint, LeafDraft, leaf_hash};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::forger::Forger;
use crate::harness::{Process, World, within};
use crate::taken_over_gateway::{refused, stores};

const USER: &str = "u_8839201";

/// The authority log as it is told to the agent: leaves, and the signed and dated head.
type Told = (Vec<Vec<u8>>, String);

#[derive(Clone)]
struct Liar {
    app: Arc<App>,
    agent: AgentId,
    /// The truth where none.
    lie: Arc<Mutex<Option<Told>>>,
    /// Whether it has no proof that the trail continues, and makes one up.
    unproven: Arc<AtomicBool>,
}

fn failed(error: mandate::app::AppError) -> Status {
    Status::failed_precondition(error.to_string())
}

fn receipt(issued: &Issued) -> v1::Receipt {
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

#[tonic::async_trait]
impl AgentService for Liar {
    async fn lease_orders(
        &self,
        _: Request<v1::LeaseOrdersRequest>,
    ) -> Result<Response<v1::LeaseOrdersResponse>, Status> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let leased = self.app.lease_orders(&self.agent, 1).await.map_err(failed)?;
        Ok(Response::new(v1::LeaseOrdersResponse { orders: leased.iter().map(order).collect() }))
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        let asked = request.into_inner();
        let of = execution(&asked.execution);
        let renewed = self.app.renew_lease(&self.agent, of, &asked.lease_token).await.map_err(failed)?;
        Ok(Response::new(v1::RenewLeaseResponse { lease_expire_time: seconds(renewed.lease_expires_at) }))
    }

    async fn submit_report(
        &self,
        request: Request<v1::SubmitReportRequest>,
    ) -> Result<Response<v1::SubmitReportResponse>, Status> {
        let sent = request.into_inner();
        let input = ReportIn {
            execution: execution(&sent.execution),
            lease_token: sent.lease_token,
            report: sent.report,
            preview_details: sent.preview_details.to_vec(),
        };
        let issued = self.app.submit_report(&self.agent, input).await.map_err(failed)?;
        Ok(Response::new(v1::SubmitReportResponse { receipt: Some(receipt(&issued)) }))
    }

    async fn get_report_receipt(
        &self,
        request: Request<v1::GetReportReceiptRequest>,
    ) -> Result<Response<v1::GetReportReceiptResponse>, Status> {
        let of = execution(&request.into_inner().execution);
        let issued = self.app.report_receipt(&self.agent, of).await.map_err(failed)?;
        Ok(Response::new(v1::GetReportReceiptResponse { receipt: Some(receipt(&issued)) }))
    }

    async fn defer_order(
        &self,
        request: Request<v1::DeferOrderRequest>,
    ) -> Result<Response<v1::DeferOrderResponse>, Status> {
        let sent = request.into_inner();
        let reason = Reason::from_code(&sent.reason).expect("a reason");
        let of = execution(&sent.execution);
        let next = self.app.defer_order(&self.agent, of, &sent.lease_token, reason, sent.begun).await;
        let next_attempt_time = next.map_err(failed)?.and_then(seconds);
        Ok(Response::new(v1::DeferOrderResponse { next_attempt_time }))
    }

    async fn upload_export(
        &self,
        _: Request<Streaming<v1::UploadExportRequest>>,
    ) -> Result<Response<v1::UploadExportResponse>, Status> {
        Err(Status::unimplemented("no export is ordered here"))
    }

    async fn read_authority(
        &self,
        request: Request<v1::ReadAuthorityRequest>,
    ) -> Result<Response<v1::ReadAuthorityResponse>, Status> {
        let start = request.into_inner().start;
        let lie = self.lie.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (leaves, checkpoint) = match lie {
            Some((all, checkpoint)) => {
                let from = usize::try_from(start).unwrap_or(usize::MAX).min(all.len());
                (all[from..].to_vec(), checkpoint)
            }
            None => {
                let (leaves, checkpoint, _) = self.app.read_authority(start, 10_000).await.map_err(failed)?;
                (leaves, checkpoint)
            }
        };
        let leaves = leaves.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ReadAuthorityResponse { leaves, checkpoint, more: false }))
    }

    async fn get_anchor(
        &self,
        _: Request<v1::GetAnchorRequest>,
    ) -> Result<Response<v1::GetAnchorResponse>, Status> {
        let (sequence, head) = self.app.agent_anchor(&self.agent).await.map_err(failed)?;
        Ok(Response::new(v1::GetAnchorResponse { sequence, head }))
    }
}

#[tonic::async_trait]
impl AuditService for Liar {
    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        let asked = request.into_inner();
        assert_eq!(asked.log(), v1::Log::Trail);
        let proof = self.app.consistency(Log::Trail, asked.old_size, asked.new_size).await.map_err(failed)?;
        let mut hashes: Vec<_> = proof.hashes.iter().map(|hash| hash.as_bytes().to_vec().into()).collect();
        if self.unproven.load(Ordering::SeqCst) {
            hashes.fill(vec![7; 32].into());
        }
        Ok(Response::new(v1::GetConsistencyProofResponse { hashes, new_size: proof.size }))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        Err(Status::unimplemented("no agent asks for it"))
    }

    async fn list_leaves(
        &self,
        _: Request<v1::ListLeavesRequest>,
    ) -> Result<Response<v1::ListLeavesResponse>, Status> {
        Err(Status::unimplemented("no agent asks for it"))
    }

    async fn get_inclusion_proof(
        &self,
        _: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        Err(Status::unimplemented("no agent asks for it"))
    }

    async fn export_evidence(
        &self,
        _: Request<v1::ExportEvidenceRequest>,
    ) -> Result<Response<v1::ExportEvidenceResponse>, Status> {
        Err(Status::unimplemented("no agent asks for it"))
    }
}

impl Liar {
    /// Takes the stopped gateway's place: its address, its certificate, its database.
    async fn open(world: &World) -> (Self, CancellationToken) {
        let app = Forger::open(world.path()).await.app;
        let config = GatewayConfig::load(&world.path().join("gateway.toml")).expect("the configuration");
        let materials = Materials::load(&config.material()).expect("its material loads");
        let acceptor =
            Acceptor::new(materials, Arc::new(SystemClock), Arc::new(LogRefusals)).expect("a door");
        let listener = tokio::net::TcpListener::bind(&config.listen).await.expect("its address is free");
        let agent = "rtc-agent".parse().expect("a slug");
        let liar = Self { app, agent, lie: Arc::default(), unproven: Arc::default() };
        let closing = CancellationToken::new();
        let served = tonic::transport::Server::builder()
            .add_service(AgentServiceServer::new(liar.clone()))
            .add_service(AuditServiceServer::new(liar.clone()))
            .serve_with_incoming_shutdown(
                mandate::identity::serve(listener, acceptor),
                closing.clone().cancelled_owned(),
            );
        tokio::spawn(served);
        (liar, closing)
    }

    fn tell(&self, told: Option<Told>) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    /// The true leaves.
    async fn truth(&self) -> Vec<Vec<u8>> {
        self.app.leaves(Log::Authority, 0, 10_000).await.expect("the log")
    }

    /// Signs a head over these leaves with the log's own key, dated by the freshness key.
    fn sealed(&self, leaves: Vec<Vec<u8>>, seconds_from_now: i64) -> Option<Told> {
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
    async fn admit(&self, of: &Enterprise) -> String {
        let subject = vec![Identifier::user(&of.app, USER)];
        let draft = of.order(Act::Erase, subject, None).expect("an order");
        let wire = of.sign(&draft).expect("signs").to_wire();
        let admitted = self.app.submit_instruction(&of.id, wire.as_bytes()).await.expect("admitted");
        admitted.executions[0].resource_name()
    }

    /// Waits until the execution stands as asked.
    async fn until(
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

    async fn end(&self, of: &Enterprise, name: &str) -> v1::Execution {
        let open = [v1::ExecutionState::Pending, v1::ExecutionState::Leased];
        self.until(of, name, |seen| !open.contains(&seen.state())).await
    }
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

/// A leaf with a key set in it, as the gateway would have written it.
fn leaf_of(world: &World, of: &Enterprise) -> Vec<u8> {
    let key_set = std::fs::read(world.path().join(format!("keys/{}/keyset.json", of.id))).expect("a key set");
    let event = Event::from(KeySetPublished {
        version: of.key_set.version,
        digest: of.key_set.digest.to_string(),
        key_set: String::from_utf8(key_set).expect("JSON"),
    });
    let draft = LeafDraft::new(event.type_name(), of.id.resource_name(), event.to_data());
    let source = &of.client.profile.audience;
    draft.seal(source, SystemClock.now(), &SystemEntropy).expect("a leaf").bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_authority_log_stops_genuine_orders_and_an_old_head_delays_them() {
    let mut world = World::new().await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    // The agent has replicated the whole log once.
    let subject = vec![Identifier::user(&xingyu.app, USER)];
    let preview = xingyu.order(Act::Preview, subject, None).expect("an order");
    let (_, seen, _) = xingyu.carry_out(&preview).await.expect("followed");
    assert_eq!(seen[0].state(), v1::ExecutionState::Completed, "{}", seen[0].reason);
    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").stop();
    let before = stores(world.path()).await;

    let (liar, closing) = Liar::open(&world).await;
    let truth = liar.truth().await;
    assert!(truth.len() > 2, "every controller's key set is in the log");
    let shorter = truth[..truth.len() - 1].to_vec();
    let mut other = shorter.clone();
    other.push(leaf_of(&world, &xingyu));
    let longer = [other.clone(), vec![truth[truth.len() - 1].clone()]].concat();
    let lies = [
        ("rolled back", liar.sealed(shorter, 0)),
        ("another last leaf", liar.sealed(other, 0)),
        ("another past under a new end", liar.sealed(longer, 0)),
    ];
    world.agent = Some(Process::agent(world.path()));
    for (who, lie) in lies {
        liar.tell(lie);
        let order = liar.admit(&xingyu).await;
        refused(&world, who, &liar.end(&xingyu, &order).await, "AUTHORITY_FORKED");
        assert!(before == stores(world.path()).await, "{who}: a store was touched");
    }

    // The trail's heads are signed with its key, and nothing proves that they are one history.
    liar.tell(None);
    liar.unproven.store(true, Ordering::SeqCst);
    let order = liar.admit(&xingyu).await;
    refused(&world, "unproven", &liar.end(&xingyu, &order).await, "TRAIL_FORKED");
    assert!(before == stores(world.path()).await, "a store was touched");
    liar.unproven.store(false, Ordering::SeqCst);

    // An old head may pass by itself: the order waits, and nothing is touched while it does.
    let mut waiting = Vec::new();
    for (of, seconds_from_now) in [(&xingyu, -301), (&leting, 3600)] {
        liar.tell(liar.sealed(truth.clone(), seconds_from_now));
        let order = liar.admit(of).await;
        let stale = |seen: &v1::Execution| {
            seen.state() == v1::ExecutionState::Pending && seen.reason == "AUTHORITY_STALE"
        };
        liar.until(of, &order, stale).await;
        assert!(before == stores(world.path()).await, "a store was touched under a stale head");
        waiting.push((of, order));
    }
    liar.tell(None);
    for (of, order) in waiting {
        let done = liar.end(of, &order).await;
        assert_eq!(done.state(), v1::ExecutionState::Completed, "{}", done.reason);
    }
    assert!(before != stores(world.path()).await, "the genuine orders did nothing in the end");

    world.agent.take().expect("it runs").stop();
    closing.cancel();
    Forger { app: liar.app }.close().await;
    world.gateway = Some(Process::serve(world.path()));
    // The lies were told to the agent alone: the trail, with the refusals and deferrals, is whole.
    world.export_and_verify().await;
}
