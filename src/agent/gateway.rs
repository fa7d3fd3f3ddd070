//! The agent's line to the gateway: it dials out, proves itself, and asks.
//!
//! Every call bears a fresh access token bound to the connection's certificate.
//! A call that fails answers with the gateway's reason where it names one.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream;
use tokio::io::AsyncReadExt;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use super::config::GatewayAccess;
use super::ledger_chain::Anchor;
use crate::domain::clock::uuid_v7;
use crate::domain::{AgentId, Clock, Entropy, ExecutionId, Reason, Refusal};
use crate::grpc::v1;
use crate::grpc::v1::agent_service_client::AgentServiceClient;
use crate::grpc::v1::audit_service_client::AuditServiceClient;
use crate::identity::{ClientTls, ClientTlsConfig, SetupError};
use crate::token::access::{Confirmation, MAX_TOKEN_LIFETIME};
use crate::token::{AccessClaims, Digest, PrivateKey};
use crate::trail::Hash;

/// Seconds that a token lives.
const TOKEN_LIFE: i64 = 120;
/// The same of an upload's, which the gateway ends with its token: the longest it admits.
const UPLOAD_TOKEN_LIFE: i64 = MAX_TOKEN_LIFETIME;
/// How long a call may take beyond the waiting it asks for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a package in one message.
const CHUNK: usize = 64 * 1024;
/// A page of the authority log.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// Puts the access token on each call.
#[derive(Clone)]
struct Bearer {
    key: Arc<PrivateKey>,
    claims: AccessClaims,
    life: i64,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        self.claims.iat = self.clock.now_seconds();
        self.claims.exp = self.claims.iat + self.life;
        self.claims.jti = uuid_v7(&*self.clock, &*self.entropy).to_string();
        let failed = || Status::unauthenticated("the agent's access key could not sign");
        let token = self.claims.mint(&self.key).map_err(|_| failed())?;
        let value = format!("Bearer {token}").parse().map_err(|_| failed())?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

type Line = AgentServiceClient<InterceptedService<Channel, Bearer>>;
type AuditLine = AuditServiceClient<InterceptedService<Channel, Bearer>>;

/// The client's calls, with plain types. Clones share the line.
#[derive(Clone)]
pub struct Gateway(Arc<Mutex<Lines>>);

/// A connection, and the tokens that are bound to its certificate: they are renewed together.
struct Lines {
    tls: ClientTls,
    endpoint: Endpoint,
    bearer: Bearer,
    client: Line,
    /// The same line, with tokens for uploads.
    uploads: Line,
    /// And to the service that proves what the logs are.
    audit: AuditLine,
}

impl Lines {
    /// Connects at the first call and again whenever the line is lost.
    fn new(tls: ClientTls, endpoint: Endpoint, mut bearer: Bearer) -> Self {
        bearer.claims.cnf = Confirmation { certificate: Digest::from_bytes(*tls.certificate_sha256()) };
        let channel = tls.connect_lazy(&endpoint);
        let long = Bearer { life: UPLOAD_TOKEN_LIFE, ..bearer.clone() };
        let uploads = AgentServiceClient::with_interceptor(channel.clone(), long);
        let audit = AuditServiceClient::with_interceptor(channel.clone(), bearer.clone());
        let client = AgentServiceClient::with_interceptor(channel, bearer.clone())
            .max_decoding_message_size(MAX_MESSAGE);
        Self { tls, endpoint, bearer, client, uploads, audit }
    }
}

/// The gateway's own reason, or that it did not answer.
fn refuse(status: &Status) -> Refusal {
    let named = status.get_details_error_info().and_then(|info| Reason::from_code(&info.reason));
    Refusal::at(named.unwrap_or(Reason::Unavailable), "gateway")
}

fn bounded<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

/// The bearer of a lease.
#[derive(Clone)]
pub struct LeaseHold {
    pub execution: ExecutionId,
    pub token: String,
}

impl Gateway {
    /// Loads keys and certificates. A certificate that is renewed later is taken up by itself.
    pub fn load(
        access: &GatewayAccess,
        agent: &AgentId,
        access_key: PrivateKey,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SetupError> {
        let files = ClientTlsConfig {
            ca: access.ca.clone(),
            certificate: access.certificate.clone(),
            key: access.key.clone(),
            server_name: Some(access.server_name.clone()),
        };
        let tls = ClientTls::load(&files, clock.clone())?;
        if tls.spiffe().to_string() != access.spiffe_id {
            return Err(SetupError::Field {
                field: "gateway.spiffe_id",
                rule: "the SPIFFE id of the agent's certificate",
            });
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", access.address))
            .map_err(|_| SetupError::Field { field: "gateway.address", rule: "host:port" })?
            .connect_timeout(Duration::from_secs(10))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        let claims = AccessClaims {
            iss: agent.resource_name(),
            sub: access.spiffe_id.clone(),
            aud: access.audience.clone(),
            iat: 0,
            exp: 0,
            jti: String::new(),
            scope: "orders.lease orders.report authority.read trail.prove report_keys.rotate".to_owned(),
            cnf: Confirmation { certificate: Digest::from_bytes(*tls.certificate_sha256()) },
        };
        let bearer = Bearer { key: Arc::new(access_key), claims, life: TOKEN_LIFE, clock, entropy };
        Ok(Self(Arc::new(Mutex::new(Lines::new(tls, endpoint, bearer)))))
    }

    /// The line of now, with a certificate that was renewed since.
    fn lines(&self) -> (Line, Line, AuditLine) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.tls.renew() {
            *lines = Lines::new(lines.tls.clone(), lines.endpoint.clone(), lines.bearer.clone());
        }
        (lines.client.clone(), lines.uploads.clone(), lines.audit.clone())
    }

    fn client(&self) -> Line {
        self.lines().0
    }

    /// Where the gateway says the agent's ledger stood at its last report.
    pub async fn anchor(&self) -> Result<Anchor, Refusal> {
        let mut client = self.client();
        let answer = client.get_anchor(bounded(v1::GetAnchorRequest {}, PATIENCE)).await;
        let answer = answer.map_err(|status| refuse(&status))?.into_inner();
        if answer.sequence == 0 {
            return Ok(Anchor::GENESIS);
        }
        let head: Digest =
            answer.head.parse().map_err(|_| Refusal::at(Reason::LedgerBehind, "anchor.head"))?;
        Ok(Anchor { sequence: answer.sequence, head: *head.as_bytes() })
    }

    /// One page of the authority log: leaves, checkpoint, whether more follow.
    pub async fn authority(&self, start: u64) -> Result<(Vec<Vec<u8>>, String, bool), Refusal> {
        let mut client = self.client();
        let answer = client.read_authority(bounded(v1::ReadAuthorityRequest { start }, PATIENCE)).await;
        let answer = answer.map_err(|status| refuse(&status))?.into_inner();
        let leaves = answer.leaves.into_iter().map(Into::into).collect();
        Ok((leaves, answer.checkpoint, answer.more))
    }

    /// Proof that the trail of `new` leaves continues that of `old` (RFC 9162 §2.1.4).
    pub async fn trail_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Refusal> {
        let mut audit = self.lines().2;
        let message =
            v1::GetConsistencyProofRequest { log: v1::Log::Trail.into(), old_size: old, new_size: new };
        let answer = audit.get_consistency_proof(bounded(message, PATIENCE)).await;
        let hashes = answer.map_err(|status| refuse(&status))?.into_inner().hashes;
        let hash = |bytes: &prost::bytes::Bytes| Hash::from_slice(bytes);
        hashes.iter().map(hash).collect::<Option<_>>().ok_or_else(|| {
            Refusal::at(Reason::TrailForked, "consistency").note("the proof holds something that is no hash")
        })
    }

    /// At most one order; waits for it up to so many seconds.
    pub async fn lease(&self, wait_seconds: u32) -> Result<Option<v1::Order>, Refusal> {
        let mut client = self.client();
        let wait = i32::try_from(wait_seconds).unwrap_or(i32::MAX);
        let message = v1::LeaseOrdersRequest { max_orders: 1, wait_seconds: wait };
        let limit = PATIENCE + Duration::from_secs(u64::from(wait_seconds));
        let answer = client.lease_orders(bounded(message, limit)).await.map_err(|status| refuse(&status))?;
        Ok(answer.into_inner().orders.into_iter().next())
    }

    /// Prolongs a lease: its new end, in seconds.
    pub async fn renew(&self, hold: &LeaseHold) -> Result<i64, Refusal> {
        let mut client = self.client();
        let message = v1::RenewLeaseRequest {
            execution: hold.execution.resource_name(),
            lease_token: hold.token.clone(),
        };
        let answer =
            client.renew_lease(bounded(message, PATIENCE)).await.map_err(|status| refuse(&status))?;
        let end = answer.into_inner().lease_expire_time.ok_or(Reason::LeaseLost)?;
        Ok(end.seconds)
    }

    /// Hands a report in: the receipt of its leaf.
    pub async fn report(
        &self,
        hold: &LeaseHold,
        report: String,
        preview_details: Vec<u8>,
    ) -> Result<v1::Receipt, Refusal> {
        let mut client = self.client();
        let message = v1::SubmitReportRequest {
            execution: hold.execution.resource_name(),
            lease_token: hold.token.clone(),
            report,
            preview_details: preview_details.into(),
        };
        let answer =
            client.submit_report(bounded(message, PATIENCE)).await.map_err(|status| refuse(&status))?;
        answer.into_inner().receipt.ok_or_else(|| Refusal::at(Reason::TrailForked, "receipt"))
    }

    /// The receipt of the report that the gateway took in of an execution; `None` where it has none.
    pub async fn report_receipt(&self, execution: ExecutionId) -> Result<Option<v1::Receipt>, Refusal> {
        let mut client = self.client();
        let message = v1::GetReportReceiptRequest { execution: execution.resource_name() };
        match client.get_report_receipt(bounded(message, PATIENCE)).await {
            Ok(answer) => Ok(answer.into_inner().receipt),
            Err(status) => match refuse(&status) {
                none if none.reason == Reason::NotFound => Ok(None),
                refusal => Err(refusal),
            },
        }
    }

    /// Hands in that the report key vouches for the next one: the receipt of its leaf.
    pub async fn vouch_report_key(&self, succession: String) -> Result<v1::Receipt, Refusal> {
        let mut client = self.client();
        let message = v1::VouchReportKeyRequest { succession };
        let answer = client.vouch_report_key(bounded(message, PATIENCE)).await;
        let answer = answer.map_err(|status| refuse(&status))?;
        answer.into_inner().receipt.ok_or_else(|| Refusal::at(Reason::TrailForked, "receipt"))
    }

    /// Says that only the report key of this thumbprint is in force from here on: the receipt of its leaf.
    pub async fn retire_report_key(&self, in_force: String) -> Result<v1::Receipt, Refusal> {
        let mut client = self.client();
        let message = v1::RetireReportKeyRequest { in_force };
        let answer = client.retire_report_key(bounded(message, PATIENCE)).await;
        let answer = answer.map_err(|status| refuse(&status))?;
        answer.into_inner().receipt.ok_or_else(|| Refusal::at(Reason::TrailForked, "receipt"))
    }

    /// Says that an attempt failed and may be tried again.
    pub async fn defer(&self, hold: &LeaseHold, reason: Reason, begun: bool) -> Result<(), Refusal> {
        let mut client = self.client();
        let message = v1::DeferOrderRequest {
            execution: hold.execution.resource_name(),
            lease_token: hold.token.clone(),
            reason: reason.code().to_owned(),
            begun,
        };
        client.defer_order(bounded(message, PATIENCE)).await.map(drop).map_err(|status| refuse(&status))
    }

    /// Uploads a package, a piece at a time.
    pub async fn upload(
        &self,
        hold: &LeaseHold,
        file: &Path,
        digest: &Digest,
        size: u64,
    ) -> Result<(), Refusal> {
        let gone = || Refusal::new(Reason::ExportGone).note("the package does not lie in the spool");
        let file = tokio::fs::File::open(file).await.map_err(|_| gone())?;
        let first = v1::UploadExportRequest {
            execution: hold.execution.resource_name(),
            lease_token: hold.token.clone(),
            digest: digest.to_string(),
            size,
            data: Default::default(),
        };
        // A file that cannot be read ends the stream early; the gateway then finds another digest.
        let messages = stream::unfold((Some(first), file), |(first, mut file)| async move {
            if let Some(first) = first {
                return Some((first, (None, file)));
            }
            let mut data = vec![0; CHUNK];
            let read = file.read(&mut data).await.ok()?;
            if read == 0 {
                return None;
            }
            data.truncate(read);
            Some((v1::UploadExportRequest { data: data.into(), ..Default::default() }, (None, file)))
        });
        let mut client = self.lines().1;
        client.upload_export(Request::new(messages)).await.map(drop).map_err(|status| refuse(&status))
    }
}
