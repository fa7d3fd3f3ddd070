//! `RegistryService`: controllers, agreements, apps, agents and keys. Every change is a leaf.

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};

use super::surface::Surface;
use super::v1::registry_service_server::RegistryService;
use super::{decode, encode, v1};
use crate::app::{AppResult, NewAgent, NewAgreement, NewApp, NewController, Registering, RequestUuid};
use crate::domain::{AgentId, AgreementId, AppId, ControllerId, StoreId, SubProcessorId};
use crate::store::registry::Controller;
use crate::store::sub_processors::SubProcessor;

pub struct Registry(pub Surface);

fn who(by: String, request_id: &str) -> AppResult<Registering> {
    Ok(Registering { by, request_id: RequestUuid::parse(request_id)? })
}

/// The key of the last item before the page, or the empty text, which sorts before all.
fn after<T: std::str::FromStr + ToString>(token: &str) -> AppResult<String> {
    Ok(decode::page_token::<T>(token)?.map(|id| id.to_string()).unwrap_or_default())
}

#[tonic::async_trait]
impl RegistryService for Registry {
    async fn create_controller(
        &self,
        request: Request<v1::CreateControllerRequest>,
    ) -> Result<Response<v1::CreateControllerResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::CreateControllerRequest { controller_id, display_name, house, request_id, tls_keys } =
            request.into_inner();
        self.0
            .reply(async {
                let id: ControllerId = decode::word(&controller_id, "controller_id")?;
                let tls_keys = decode::words(&tls_keys, "tls_keys")?;
                let new =
                    NewController { id: id.clone(), display_name: display_name.clone(), house, tls_keys };
                let issued = self.0.app.register_controller(who(by, &request_id)?, new).await?;
                let row = Controller { id, display_name, house, key_set_version: 0 };
                Ok(v1::CreateControllerResponse {
                    controller: Some(encode::controller(row, String::new())),
                    receipt: Some(encode::receipt(&issued)),
                })
            })
            .await
    }

    async fn create_agreement(
        &self,
        request: Request<v1::CreateAgreementRequest>,
    ) -> Result<Response<v1::CreateAgreementResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::CreateAgreementRequest { agreement_id, agreement, request_id } = request.into_inner();
        self.0
            .reply(async {
                let id: AgreementId = decode::word(&agreement_id, "agreement_id")?;
                let mut shown = decode::present(agreement, "agreement")?;
                decode::same_name(&shown.name, &id.resource_name(), "agreement.name")?;
                shown.name = id.resource_name();
                let v1::Agreement {
                    name: _,
                    controller,
                    categories,
                    purposes,
                    stores,
                    regions,
                    start_time,
                    end_time,
                    sub_processors,
                } = shown.clone();
                let new = NewAgreement {
                    id,
                    controller: decode::name(
                        &controller,
                        "agreement.controller",
                        ControllerId::from_resource_name,
                    )?,
                    categories: decode::words(&categories, "agreement.categories")?,
                    purposes: decode::words(&purposes, "agreement.purposes")?,
                    stores: decode::names(&stores, "agreement.stores", StoreId::from_resource_name)?,
                    regions: decode::words(&regions, "agreement.regions")?,
                    sub_processors: decode::names(
                        &sub_processors,
                        "agreement.sub_processors",
                        SubProcessorId::from_resource_name,
                    )?,
                    start: decode::present(
                        decode::seconds(start_time, "agreement.start_time")?,
                        "agreement.start_time",
                    )?,
                    end: decode::present(
                        decode::seconds(end_time, "agreement.end_time")?,
                        "agreement.end_time",
                    )?,
                };
                let issued = self.0.app.register_agreement(who(by, &request_id)?, new).await?;
                Ok(v1::CreateAgreementResponse {
                    agreement: Some(shown),
                    receipt: Some(encode::receipt(&issued)),
                })
            })
            .await
    }

    async fn create_app(
        &self,
        request: Request<v1::CreateAppRequest>,
    ) -> Result<Response<v1::CreateAppResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::CreateAppRequest { app_id, app, request_id } = request.into_inner();
        self.0
            .reply(async {
                let id: AppId = decode::word(&app_id, "app_id")?;
                let mut shown = decode::present(app, "app")?;
                decode::same_name(&shown.name, &id.resource_name(), "app.name")?;
                shown.name = id.resource_name();
                let v1::App {
                    name: _,
                    controller,
                    display_name,
                    aliases,
                    bundle_ids,
                    domains,
                    sdk_app_ids,
                    common_name,
                } = shown.clone();
                let new = NewApp {
                    id,
                    controller: decode::name(
                        &controller,
                        "app.controller",
                        ControllerId::from_resource_name,
                    )?,
                    display_name,
                    aliases,
                    bundle_ids,
                    domains,
                    sdk_app_ids,
                    common_name,
                };
                let issued = self.0.app.register_app(who(by, &request_id)?, new).await?;
                Ok(v1::CreateAppResponse { app: Some(shown), receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn create_agent(
        &self,
        request: Request<v1::CreateAgentRequest>,
    ) -> Result<Response<v1::CreateAgentResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::CreateAgentRequest { agent_id, agent, request_id, tls_keys } = request.into_inner();
        self.0
            .reply(async {
                let id: AgentId = decode::word(&agent_id, "agent_id")?;
                let mut shown = decode::present(agent, "agent")?;
                decode::same_name(&shown.name, &id.resource_name(), "agent.name")?;
                shown.name = id.resource_name();
                let v1::Agent { name: _, stores, region, report_key, operators } = shown.clone();
                let mut operated_by = BTreeMap::new();
                for v1::StoreOperator { store, sub_processor } in operators {
                    operated_by.insert(
                        decode::name(&store, "agent.operators.store", StoreId::from_resource_name)?,
                        decode::name(
                            &sub_processor,
                            "agent.operators.sub_processor",
                            SubProcessorId::from_resource_name,
                        )?,
                    );
                }
                let new = NewAgent {
                    operated_by,
                    id,
                    region: decode::word(&region, "agent.region")?,
                    stores: decode::names(&stores, "agent.stores", StoreId::from_resource_name)?,
                    report_key: decode::filled(report_key, "agent.report_key")?,
                    tls_keys: decode::words(&tls_keys, "tls_keys")?,
                };
                let issued = self.0.app.register_agent(who(by, &request_id)?, new).await?;
                Ok(v1::CreateAgentResponse { agent: Some(shown), receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn create_sub_processor(
        &self,
        request: Request<v1::CreateSubProcessorRequest>,
    ) -> Result<Response<v1::CreateSubProcessorResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::CreateSubProcessorRequest { sub_processor_id, sub_processor, request_id } =
            request.into_inner();
        self.0
            .reply(async {
                let id: SubProcessorId = decode::word(&sub_processor_id, "sub_processor_id")?;
                let mut shown = decode::present(sub_processor, "sub_processor")?;
                decode::same_name(&shown.name, &id.resource_name(), "sub_processor.name")?;
                shown.name = id.resource_name();
                let v1::SubProcessor { name: _, display_name, region, purposes } = shown.clone();
                let new = SubProcessor {
                    id,
                    display_name,
                    region: decode::word(&region, "sub_processor.region")?,
                    purposes: decode::words(&purposes, "sub_processor.purposes")?,
                };
                let issued = self.0.app.register_sub_processor(who(by, &request_id)?, new).await?;
                Ok(v1::CreateSubProcessorResponse {
                    sub_processor: Some(shown),
                    receipt: Some(encode::receipt(&issued)),
                })
            })
            .await
    }

    async fn get_processing_record(
        &self,
        request: Request<v1::GetProcessingRecordRequest>,
    ) -> Result<Response<v1::GetProcessingRecordResponse>, Status> {
        let v1::GetProcessingRecordRequest { controller } = request.into_inner();
        self.0
            .reply(async {
                let id = decode::name(&controller, "controller", ControllerId::from_resource_name)?;
                let record = self.0.app.processing_record(&id).await?;
                Ok(v1::GetProcessingRecordResponse { record: Some(encode::processing_record(record)) })
            })
            .await
    }

    async fn create_access_key(
        &self,
        request: Request<v1::CreateAccessKeyRequest>,
    ) -> Result<Response<v1::CreateAccessKeyResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::CreateAccessKeyRequest { principal, key, request_id, tls_keys } = request.into_inner();
        self.0
            .reply(async {
                let principal = decode::filled(principal, "principal")?;
                let key = decode::filled(key, "key")?;
                let who = who(by, &request_id)?;
                let named = decode::words(&tls_keys, "tls_keys")?;
                let (thumbprint, issued) =
                    self.0.app.register_access_key(who, &principal, &key, &named).await?;
                Ok(v1::CreateAccessKeyResponse { thumbprint, receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn revoke_access_key(
        &self,
        request: Request<v1::RevokeAccessKeyRequest>,
    ) -> Result<Response<v1::RevokeAccessKeyResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::RevokeAccessKeyRequest { thumbprint, request_id } = request.into_inner();
        self.0
            .reply(async {
                let thumbprint = decode::filled(thumbprint, "thumbprint")?;
                let who = who(by, &request_id)?;
                let issued = self.0.app.revoke_access_key(who, &thumbprint).await?;
                Ok(v1::RevokeAccessKeyResponse { receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn create_key_set(
        &self,
        request: Request<v1::CreateKeySetRequest>,
    ) -> Result<Response<v1::CreateKeySetResponse>, Status> {
        let by = self.0.by(&request)?;
        let v1::CreateKeySetRequest { key_set, confirmed_digest, recovers_digest } = request.into_inner();
        self.0
            .reply(async {
                let confirmed = decode::filled(confirmed_digest, "confirmed_digest")?;
                let recovers = (!recovers_digest.is_empty()).then_some(recovers_digest);
                let (version, digest, issued) =
                    self.0.app.register_key_set(by, &key_set, &confirmed, recovers).await?;
                Ok(v1::CreateKeySetResponse { version, digest, receipt: Some(encode::receipt(&issued)) })
            })
            .await
    }

    async fn list_controllers(
        &self,
        request: Request<v1::ListControllersRequest>,
    ) -> Result<Response<v1::ListControllersResponse>, Status> {
        let v1::ListControllersRequest { page_size, page_token } = request.into_inner();
        self.0
            .reply(async {
                let limit = decode::page_size(page_size)?;
                let after = after::<ControllerId>(&page_token)?;
                let rows = self.0.app.list_controllers(&after, limit).await?;
                let next_page_token = encode::next_page(&rows, limit, |(row, _)| row.id.clone());
                let controllers =
                    rows.into_iter().map(|(row, digest)| encode::controller(row, digest)).collect();
                Ok(v1::ListControllersResponse { controllers, next_page_token })
            })
            .await
    }

    async fn list_apps(
        &self,
        request: Request<v1::ListAppsRequest>,
    ) -> Result<Response<v1::ListAppsResponse>, Status> {
        let v1::ListAppsRequest { page_size, page_token } = request.into_inner();
        self.0
            .reply(async {
                let limit = decode::page_size(page_size)?;
                let after = after::<AppId>(&page_token)?;
                let rows = self.0.app.list_apps(&after, limit).await?;
                let next_page_token = encode::next_page(&rows, limit, |row| row.id.clone());
                let apps = rows.into_iter().map(encode::app).collect();
                Ok(v1::ListAppsResponse { apps, next_page_token })
            })
            .await
    }

    async fn list_agreements(
        &self,
        request: Request<v1::ListAgreementsRequest>,
    ) -> Result<Response<v1::ListAgreementsResponse>, Status> {
        let v1::ListAgreementsRequest { page_size, page_token } = request.into_inner();
        self.0
            .reply(async {
                let limit = decode::page_size(page_size)?;
                let after = after::<AgreementId>(&page_token)?;
                let rows = self.0.app.list_agreements(&after, limit).await?;
                Ok(v1::ListAgreementsResponse {
                    next_page_token: encode::next_page(&rows, limit, |row| row.id.clone()),
                    agreements: rows.iter().map(encode::agreement).collect(),
                })
            })
            .await
    }
}
