//! A caller's side of the connection: profile, access token, channel.
//!
//! An access token lives 300 seconds and is made anew a minute before it ends, so a
//! command may run for as long as it likes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{As, CliError, files};
use crate::config::{folder_of, read_toml};
use crate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use crate::domain::{Clock, Entropy};
use crate::grpc::v1;
use crate::identity::{ClientTls, ClientTlsConfig};
use crate::token::access::{Confirmation, MAX_TOKEN_LIFETIME};
use crate::token::{AccessClaims, Digest, PrivateKey};

/// A token is renewed this long before its end, seconds.
const RENEW_BEFORE: i64 = 60;
/// The largest answer a command takes: evidence and pages of leaves are large.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// `profiles/<name>.toml`: one principal's way in. Paths are of the profile's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Address to dial, `host:port`.
    pub gateway: String,
    /// The name that the server's certificate must bear.
    pub server_name: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Resource name; `iss` of access tokens.
    pub principal: String,
    /// `sub` of access tokens.
    pub spiffe_id: String,
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// A private JWK.
    pub access_key: PathBuf,
    pub scopes: Vec<String>,
    pub pins: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerFiles>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerFiles {
    /// Resource names.
    pub apps: Vec<String>,
    pub instruction_key: PathBuf,
    pub key_set: PathBuf,
    pub export_identity: PathBuf,
}

impl Profile {
    pub fn load(path: &Path) -> Result<Self, CliError> {
        let mut profile: Profile = read_toml(path)?;
        let folder = folder_of(path);
        let own = [
            &mut profile.ca,
            &mut profile.certificate,
            &mut profile.key,
            &mut profile.access_key,
            &mut profile.pins,
        ];
        for file in own {
            *file = folder.join(&*file);
        }
        if let Some(controller) = &mut profile.controller {
            let own =
                [&mut controller.instruction_key, &mut controller.key_set, &mut controller.export_identity];
            for file in own {
                *file = folder.join(&*file);
            }
        }
        Ok(profile)
    }
}

/// Makes the access token of each call.
#[derive(Clone)]
pub struct Bearer(Arc<Minting>);

struct Minting {
    key: Arc<PrivateKey>,
    /// Everything but times and `jti`.
    claims: AccessClaims,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The header value in use and when it ends.
    current: Mutex<Option<(tonic::metadata::AsciiMetadataValue, i64)>>,
}

impl Bearer {
    pub fn new(
        profile: &Profile,
        key: PrivateKey,
        certificate_sha256: &[u8; 32],
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Bearer {
        let claims = AccessClaims {
            iss: profile.principal.clone(),
            sub: profile.spiffe_id.clone(),
            aud: profile.audience.clone(),
            iat: 0,
            exp: 0,
            jti: String::new(),
            scope: profile.scopes.join(" "),
            cnf: Confirmation { certificate: Digest::from_bytes(*certificate_sha256) },
        };
        Bearer(Arc::new(Minting { key: Arc::new(key), claims, clock, entropy, current: Mutex::new(None) }))
    }

    /// The same for another certificate.
    fn bound_to(&self, certificate_sha256: &[u8; 32]) -> Bearer {
        let Minting { key, claims, clock, entropy, .. } = &*self.0;
        let cnf = Confirmation { certificate: Digest::from_bytes(*certificate_sha256) };
        let claims = AccessClaims { cnf, ..claims.clone() };
        let (key, clock, entropy) = (key.clone(), clock.clone(), entropy.clone());
        Bearer(Arc::new(Minting { key, claims, clock, entropy, current: Mutex::new(None) }))
    }

    fn header(&self) -> Result<tonic::metadata::AsciiMetadataValue, Status> {
        let now = self.0.clock.now_seconds();
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((header, end)) = &*current
            && now < end - RENEW_BEFORE
        {
            return Ok(header.clone());
        }
        let end = now + MAX_TOKEN_LIFETIME;
        let jti = uuid_v7(&*self.0.clock, &*self.0.entropy).to_string();
        let claims = AccessClaims { iat: now, exp: end, jti, ..self.0.claims.clone() };
        let failed = |_| Status::unauthenticated("the access key could not sign");
        let token = claims.mint(&self.0.key).map_err(failed)?;
        let header: tonic::metadata::AsciiMetadataValue = format!("Bearer {token}")
            .parse()
            .map_err(|_| Status::unauthenticated("the access token is no header value"))?;
        *current = Some((header.clone(), end));
        Ok(header)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.header()?);
        Ok(request)
    }
}

/// A channel on which each call is authenticated.
pub type Line = InterceptedService<Channel, Bearer>;

/// A connection to the gateway as one principal.
pub struct Client {
    pub profile: Profile,
    endpoint: Endpoint,
    dialled: Mutex<Dialled>,
}

/// A connection, and the tokens that are bound to its certificate: they are renewed together.
struct Dialled {
    tls: ClientTls,
    bearer: Bearer,
    line: Line,
}

impl Dialled {
    fn new(tls: ClientTls, bearer: Bearer, channel: Channel) -> Self {
        let line = InterceptedService::new(channel, bearer.clone());
        Self { tls, bearer, line }
    }
}

impl Client {
    pub async fn connect(who: &As) -> Result<Self, CliError> {
        let missing = || CliError::plain("--profile is needed: profiles/<name>.toml of the caller");
        Self::open(Profile::load(who.profile.as_ref().ok_or_else(missing)?)?).await
    }

    pub async fn open(profile: Profile) -> Result<Self, CliError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tls_files = ClientTlsConfig {
            ca: profile.ca.clone(),
            certificate: profile.certificate.clone(),
            key: profile.key.clone(),
            server_name: Some(profile.server_name.clone()),
        };
        let tls = ClientTls::load(&tls_files, clock.clone())?;
        let key = PrivateKey::from_jwk(&zeroize::Zeroizing::new(files::read(&profile.access_key)?))?;
        let bearer = Bearer::new(&profile, key, tls.certificate_sha256(), clock, Arc::new(SystemEntropy));
        let endpoint = Endpoint::from_shared(format!("https://{}", profile.gateway))
            .map_err(|_| CliError::plain("the profile's gateway is no host:port"))?;
        let channel = tls.connect(&endpoint).await.map_err(CliError::Connect)?;
        Ok(Self { profile, endpoint, dialled: Mutex::new(Dialled::new(tls, bearer, channel)) })
    }

    /// The connection of now. A command may run for long, and its certificate be renewed meanwhile.
    fn line(&self) -> Line {
        let mut dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        if dialled.tls.renew() {
            let tls = dialled.tls.clone();
            let bearer = dialled.bearer.bound_to(tls.certificate_sha256());
            let channel = tls.connect_lazy(&self.endpoint);
            *dialled = Dialled::new(tls, bearer, channel);
        }
        dialled.line.clone()
    }

    /// The access token that its calls bear now.
    pub fn token(&self) -> Result<String, CliError> {
        let dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        let header = dialled.bearer.header()?;
        let text = header.to_str().map_err(CliError::plain)?;
        Ok(text.trim_start_matches("Bearer ").to_owned())
    }

    pub fn registry(&self) -> v1::registry_service_client::RegistryServiceClient<Line> {
        v1::registry_service_client::RegistryServiceClient::new(self.line())
    }

    pub fn intake(&self) -> v1::intake_service_client::IntakeServiceClient<Line> {
        v1::intake_service_client::IntakeServiceClient::new(self.line())
    }

    pub fn requests(&self) -> v1::request_service_client::RequestServiceClient<Line> {
        v1::request_service_client::RequestServiceClient::new(self.line())
    }

    pub fn instructions(&self) -> v1::instruction_service_client::InstructionServiceClient<Line> {
        v1::instruction_service_client::InstructionServiceClient::new(self.line())
            .max_decoding_message_size(MAX_ANSWER)
    }

    pub fn executions(&self) -> v1::execution_service_client::ExecutionServiceClient<Line> {
        v1::execution_service_client::ExecutionServiceClient::new(self.line())
    }

    pub fn exports(&self) -> v1::export_service_client::ExportServiceClient<Line> {
        v1::export_service_client::ExportServiceClient::new(self.line())
    }

    pub fn audit(&self) -> v1::audit_service_client::AuditServiceClient<Line> {
        v1::audit_service_client::AuditServiceClient::new(self.line()).max_decoding_message_size(MAX_ANSWER)
    }
}

/// A UUID that a content always gets, so that giving it twice is one call (RFC 9562 §5.8).
pub fn request_id(method: &str, content: &[u8]) -> String {
    let framed = [method.as_bytes(), b"\0", content].concat();
    let digest = Digest::of(framed);
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::FixedClock;
    use crate::token::KeyKind;

    fn bearer(clock: &FixedClock) -> Bearer {
        let profile = Profile {
            gateway: "127.0.0.1:1".into(),
            server_name: "mandate.ppio.example".into(),
            audience: "mandate.ppio.example".into(),
            principal: "controllers/xingyu".into(),
            spiffe_id: "spiffe://ppio.example/controller/xingyu/backend".into(),
            ca: "ca".into(),
            certificate: "certificate".into(),
            key: "key".into(),
            access_key: "access".into(),
            scopes: vec!["requests.read".into(), "exports.read".into()],
            pins: "pins".into(),
            controller: None,
        };
        let key = PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy).unwrap();
        Bearer::new(&profile, key, &[7; 32], Arc::new(clock.clone()), Arc::new(SystemEntropy))
    }

    #[test]
    fn a_token_is_kept_and_renewed_before_it_ends() {
        let clock = FixedClock::at(1_795_000_000);
        let bearer = bearer(&clock);
        let first = bearer.header().unwrap();
        clock.advance(MAX_TOKEN_LIFETIME - RENEW_BEFORE - 1);
        assert_eq!(bearer.header().unwrap(), first);
        clock.advance(1);
        assert_ne!(bearer.header().unwrap(), first);
    }

    #[test]
    fn one_content_has_one_request_id() {
        let id = request_id("CreateApp", b"content");
        assert_eq!(id, request_id("CreateApp", b"content"));
        assert_ne!(id, request_id("CreateAgent", b"content"));
        assert!(crate::app::RequestUuid::required(&id).is_ok());
    }
}
