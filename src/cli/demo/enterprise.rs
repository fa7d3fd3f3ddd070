//! An enterprise's side: it watches its requests, signs, submits, and follows.

use std::path::Path;
use std::time::Duration;

use super::super::client::{Client, Profile};
use super::super::{CliError, files};
use crate::authority::Pins;
use crate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use crate::domain::{
    Act, AppId, Basis, Category, Clock, ControllerId, Identifier, InstructionId, Region, RequestId,
};
use crate::grpc::v1;
use crate::token::{
    Categories, InstructionDraft, KeySetRef, Private, PrivateKey, SignedInstruction, SignedKeySet,
};

const PATIENCE: Duration = Duration::from_secs(60);
const LIFE: i64 = 7 * 86_400;

pub struct Enterprise {
    pub id: ControllerId,
    pub app: AppId,
    pub client: Client,
    pub key: PrivateKey,
    pub key_set: KeySetRef,
    /// `age1…`, of its own export identity.
    pub recipient: String,
    origin: String,
}

impl Enterprise {
    pub async fn open(profile: &Path) -> Result<Self, CliError> {
        Self::with_profile(Profile::load(profile)?).await
    }

    pub async fn with_profile(profile: Profile) -> Result<Self, CliError> {
        let own = profile.controller.clone().ok_or_else(|| CliError::plain("not a controller's profile"))?;
        let named = |error| CliError::plain(error);
        let id = ControllerId::from_resource_name(&profile.principal).map_err(named)?;
        let app = own.apps.first().ok_or_else(|| CliError::plain("the profile names no app"))?;
        let app = AppId::from_resource_name(app).map_err(named)?;
        let key = PrivateKey::from_jwk(&zeroize::Zeroizing::new(files::read(&own.instruction_key)?))?;
        let set = SignedKeySet::read(&files::read(&own.key_set)?)?;
        let identity: age::x25519::Identity = files::read_text(&own.export_identity)?
            .lines()
            .find(|line| line.starts_with("AGE-SECRET-KEY-"))
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| CliError::plain("the export identity is no age key"))?;
        let pins = Pins::parse(&files::read_text(&profile.pins)?).map_err(CliError::plain)?;
        let origin = pins.trail.origin;
        Ok(Self {
            id,
            app,
            key,
            key_set: KeySetRef { version: set.version(), digest: set.digest() },
            recipient: identity.to_public().to_string(),
            origin,
            client: Client::open(profile).await?,
        })
    }

    /// An order about one user of this enterprise's app.
    pub fn order(
        &self,
        act: Act,
        subject: Vec<Identifier>,
        req: Option<RequestId>,
    ) -> Result<InstructionDraft, CliError> {
        let now = SystemClock.now_seconds();
        let export = match act {
            Act::Export | Act::ReturnAndErase => Some(crate::token::orders::ExportOrder {
                recipient: self.recipient.parse().map_err(CliError::plain)?,
                format: crate::token::orders::ExportFormat::JsonlCsv,
                region: Region::Cn,
                evidence: None,
            }),
            _ => None,
        };
        Ok(InstructionDraft {
            iss: self.id.clone(),
            aud: self.origin.clone(),
            jti: InstructionId::from_uuid(uuid_v7(&SystemClock, &SystemEntropy)),
            iat: now,
            nbf: None,
            exp: now + LIFE,
            act,
            app: self.app.clone(),
            req,
            target: None,
            subject,
            private: Private::None,
            categories: Categories::Some(vec![
                Category::Device,
                Category::Network,
                Category::SdkInteraction,
                Category::Media,
            ]),
            stores: None,
            window: None,
            basis: match act {
                Act::Export => Basis::Pipl45,
                Act::ReturnAndErase => Basis::ContractEnd,
                _ => Basis::Pipl47,
            },
            key_set: self.key_set,
            preview: None,
            export,
            refuse: None,
            authorize_reply: None,
        })
    }

    pub fn sign(&self, draft: &InstructionDraft) -> Result<SignedInstruction, CliError> {
        Ok(draft.sign(&[&self.key], &SystemEntropy)?)
    }

    pub async fn submit(&self, wire: &str) -> Result<v1::SubmitInstructionResponse, CliError> {
        let request = v1::SubmitInstructionRequest { instruction: wire.as_bytes().to_vec().into() };
        Ok(self.client.instructions().submit_instruction(request).await?.into_inner())
    }

    /// The reason code a submission is refused with; an accepted one is an error.
    pub async fn refused(&self, wire: &str) -> Result<String, CliError> {
        match self.submit(wire).await {
            Ok(_) => Err(CliError::plain("it was accepted")),
            Err(CliError::Status(status)) => reason_of(&status),
            Err(error) => Err(error),
        }
    }

    /// Follows one execution to its end.
    pub async fn follow(&self, name: &str) -> Result<v1::Execution, CliError> {
        let watching = async {
            let request = v1::WatchExecutionRequest { name: name.to_owned() };
            let mut stream = self.client.executions().watch_execution(request).await?.into_inner();
            let mut last = None;
            while let Some(update) = stream.message().await? {
                last = update.execution;
            }
            last.ok_or_else(|| CliError::plain("the execution was not shown"))
        };
        tokio::time::timeout(PATIENCE, watching)
            .await
            .map_err(|_| CliError::plain("the execution did not end within a minute"))?
    }

    /// Submits and follows every execution to its end.
    pub async fn carry_out(
        &self,
        draft: &InstructionDraft,
    ) -> Result<(v1::SubmitInstructionResponse, Vec<v1::Execution>, String), CliError> {
        let wire = self.sign(draft)?.to_wire();
        let answer = self.submit(&wire).await?;
        let names = answer.instruction.as_ref().map(|i| i.executions.clone()).unwrap_or_default();
        let mut executions = Vec::with_capacity(names.len());
        for name in names {
            executions.push(self.follow(&name).await?);
        }
        Ok((answer, executions, wire))
    }

    /// The requests that wait for this enterprise now, each acknowledged.
    pub async fn take_requests(&self) -> Result<Vec<v1::Request>, CliError> {
        let mut stream =
            self.client.requests().watch_requests(v1::WatchRequestsRequest::default()).await?.into_inner();
        let mut taken = Vec::new();
        while let Ok(next) = tokio::time::timeout(Duration::from_secs(2), stream.message()).await {
            let Some(request) = next?.and_then(|response| response.request) else { break };
            let acknowledge =
                v1::AcknowledgeRequestRequest { name: request.name.clone(), request_id: String::new() };
            self.client.requests().acknowledge_request(acknowledge).await?;
            taken.push(request);
        }
        Ok(taken)
    }
}

/// The stable reason out of a status's details.
pub fn reason_of(status: &tonic::Status) -> Result<String, CliError> {
    use tonic_types::StatusExt;
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .ok_or_else(|| CliError::Plain(format!("refused without a reason: {:?}", status.code())))
}
