//! `mandate registry`: what the operator registers, from a file, and what there is.
//!
//! Applying the same file again changes nothing: each call's request id follows from its content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{Client, request_id};
use super::print::{print, timestamp};
use super::{As, CliError, files, processing_record};
use crate::config::{folder_of, read_toml};
use crate::domain::{Category, Purpose, Region, Timestamp};
use crate::grpc::v1;
use crate::token::{PublicJwk, SignedKeySet};

#[derive(Debug, Args)]
pub struct Registry {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register what a file names; again is harmless
    Apply {
        #[command(flatten)]
        who: As,
        /// registry.toml
        file: PathBuf,
    },
    /// Register a new first key set of a controller that lost its root. Agents obey it once their own operators
    /// have pinned it
    Recover {
        #[command(flatten)]
        who: As,
        /// The new set, version 1, signed by its own root
        file: PathBuf,
        /// Its digest, as read aloud over a second channel
        #[arg(long, allow_hyphen_values = true)]
        confirmed_digest: String,
        /// The digest of the newest set, whose root is lost
        #[arg(long, allow_hyphen_values = true)]
        lost: String,
    },
    /// Print what is done with a controller's data and with whose help (GDPR 30(2))
    Record {
        #[command(flatten)]
        who: As,
        /// Its id
        #[arg(long)]
        controller: String,
    },
    /// Show controllers, apps and agreements
    List {
        #[command(flatten)]
        who: As,
    },
}

/// `registry.toml`. Paths are of the file's folder.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryFile {
    #[serde(rename = "controller")]
    pub controllers: Vec<ControllerEntry>,
    #[serde(rename = "sub_processor", skip_serializing_if = "Vec::is_empty")]
    pub sub_processors: Vec<SubProcessorEntry>,
    #[serde(rename = "agreement")]
    pub agreements: Vec<AgreementEntry>,
    #[serde(rename = "app")]
    pub apps: Vec<AppEntry>,
    #[serde(rename = "agent")]
    pub agents: Vec<AgentEntry>,
    #[serde(rename = "access_key")]
    pub access_keys: Vec<AccessKeyEntry>,
    #[serde(rename = "key_set")]
    pub key_sets: Vec<KeySetEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerEntry {
    pub id: String,
    pub display_name: String,
    #[serde(default)]
    pub house: bool,
    /// Thumbprints of the keys of its certificates, as `mandate certificate thumbprint` prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls_keys: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubProcessorEntry {
    pub id: String,
    pub display_name: String,
    pub region: Region,
    pub purposes: Vec<Purpose>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementEntry {
    pub id: String,
    /// Bare id.
    pub controller: String,
    pub categories: Vec<Category>,
    #[serde(default)]
    pub purposes: Vec<Purpose>,
    pub stores: Vec<String>,
    #[serde(default)]
    pub regions: Vec<Region>,
    /// Bare ids: who may touch its data in PPIO's stead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub_processors: Vec<String>,
    /// RFC 3339.
    pub start: String,
    pub end: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppEntry {
    pub id: String,
    pub controller: String,
    pub display_name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub bundle_ids: Vec<String>,
    #[serde(default)]
    pub domains: Vec<String>,
    #[serde(default)]
    pub sdk_app_ids: Vec<String>,
    /// The name is a common word: it alone routes nothing.
    #[serde(default)]
    pub common_name: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentEntry {
    pub id: String,
    pub region: Region,
    pub stores: Vec<String>,
    /// A public JWK.
    pub report_key: String,
    /// Whose a store is, where it is not PPIO's own: bare ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operated_by: BTreeMap<String, String>,
    /// Thumbprints of the keys of its certificates, as `mandate certificate thumbprint` prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls_keys: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKeyEntry {
    /// Resource name.
    pub principal: String,
    pub jwk_file: PathBuf,
    /// Thumbprints of the keys of its certificates, as `mandate certificate thumbprint` prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls_keys: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySetEntry {
    pub file: PathBuf,
    /// As read aloud over a second channel.
    pub confirmed_digest: String,
}

impl Registry {
    pub async fn run(self) -> Result<(), CliError> {
        match self.command {
            Command::Apply { who, file } => {
                let client = Client::connect(&who).await?;
                let applied = apply(&client, &file).await?;
                print(who.json, &json!({"applied": applied}));
            }
            Command::Recover { who, file, confirmed_digest, lost } => {
                let client = Client::connect(&who).await?;
                let call = v1::CreateKeySetRequest {
                    key_set: files::read(&file)?.into(),
                    confirmed_digest,
                    recovers_digest: lost,
                };
                let answer = client.registry().create_key_set(call).await?.into_inner();
                print(who.json, &json!({"version": answer.version, "digest": answer.digest}));
            }
            Command::Record { who, controller } => processing_record::show(&who, &controller).await?,
            Command::List { who } => list(&who).await?,
        }
        Ok(())
    }
}

fn moment(text: &str) -> Result<prost_types::Timestamp, CliError> {
    let at: Timestamp =
        text.parse().map_err(|_| CliError::Plain(format!("{text}: not an instant (RFC 3339)")))?;
    Ok(prost_types::Timestamp { seconds: at.as_second(), nanos: 0 })
}

fn words<T: ToString>(words: &[T]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The request with the id that its content gives.
fn identified<M: Message>(method: &str, mut message: M, set: fn(&mut M, String)) -> M {
    let id = request_id(method, &message.encode_to_vec());
    set(&mut message, id);
    message
}

/// Registers everything in the file, in the order that references need; answers how many entries.
pub async fn apply(client: &Client, path: &Path) -> Result<usize, CliError> {
    let file: RegistryFile = read_toml(path)?;
    let folder = folder_of(path);
    let mut registry = client.registry();
    let mut applied = 0;
    for entry in file.controllers {
        let ControllerEntry { id: controller_id, display_name, house, tls_keys } = entry;
        let request_id = String::new();
        let call = v1::CreateControllerRequest { controller_id, display_name, house, request_id, tls_keys };
        let call = identified("CreateController", call, |c, id| c.request_id = id);
        registry.create_controller(call).await?;
        applied += 1;
    }
    for SubProcessorEntry { id, display_name, region, purposes } in file.sub_processors {
        let company = v1::SubProcessor {
            name: String::new(),
            display_name,
            region: region.to_string(),
            purposes: words(&purposes),
        };
        let call = v1::CreateSubProcessorRequest {
            sub_processor_id: id,
            sub_processor: Some(company),
            request_id: String::new(),
        };
        let call = identified("CreateSubProcessor", call, |c, id| c.request_id = id);
        registry.create_sub_processor(call).await?;
        applied += 1;
    }
    for entry in file.agreements {
        let agreement = v1::Agreement {
            name: String::new(),
            controller: format!("controllers/{}", entry.controller),
            categories: words(&entry.categories),
            purposes: words(&entry.purposes),
            stores: entry.stores.iter().map(|store| format!("stores/{store}")).collect(),
            regions: words(&entry.regions),
            start_time: Some(moment(&entry.start)?),
            end_time: Some(moment(&entry.end)?),
            sub_processors: entry.sub_processors.iter().map(|id| format!("subProcessors/{id}")).collect(),
        };
        let call = v1::CreateAgreementRequest {
            agreement_id: entry.id,
            agreement: Some(agreement),
            request_id: String::new(),
        };
        let call = identified("CreateAgreement", call, |c, id| c.request_id = id);
        registry.create_agreement(call).await?;
        applied += 1;
    }
    for entry in file.apps {
        let app = v1::App {
            name: String::new(),
            controller: format!("controllers/{}", entry.controller),
            display_name: entry.display_name,
            aliases: entry.aliases,
            bundle_ids: entry.bundle_ids,
            domains: entry.domains,
            sdk_app_ids: entry.sdk_app_ids,
            common_name: entry.common_name,
        };
        let call = v1::CreateAppRequest { app_id: entry.id, app: Some(app), request_id: String::new() };
        let call = identified("CreateApp", call, |c, id| c.request_id = id);
        registry.create_app(call).await?;
        applied += 1;
    }
    for entry in file.agents {
        let agent = v1::Agent {
            name: String::new(),
            stores: entry.stores.iter().map(|store| format!("stores/{store}")).collect(),
            region: entry.region.to_string(),
            report_key: entry.report_key,
            operators: entry
                .operated_by
                .iter()
                .map(|(store, id)| v1::StoreOperator {
                    store: format!("stores/{store}"),
                    sub_processor: format!("subProcessors/{id}"),
                })
                .collect(),
        };
        let call = v1::CreateAgentRequest {
            agent_id: entry.id,
            agent: Some(agent),
            request_id: String::new(),
            tls_keys: entry.tls_keys,
        };
        let call = identified("CreateAgent", call, |c, id| c.request_id = id);
        registry.create_agent(call).await?;
        applied += 1;
    }
    for entry in file.access_keys {
        // Read as a public key, so that a private one never leaves this machine.
        let key = PublicJwk::from_json(&files::read(&folder.join(&entry.jwk_file))?)?.canonical();
        let AccessKeyEntry { principal, tls_keys, .. } = entry;
        let call = v1::CreateAccessKeyRequest { principal, key, request_id: String::new(), tls_keys };
        let call = identified("CreateAccessKey", call, |c, id| c.request_id = id);
        registry.create_access_key(call).await?;
        applied += 1;
    }
    for entry in file.key_sets {
        let key_set = files::read(&folder.join(&entry.file))?;
        applied += usize::from(
            publish(&mut registry, key_set, entry.confirmed_digest, &client_sets(client).await?).await?,
        );
    }
    Ok(applied)
}

/// Controllers' resource names with the digest of the key set in force.
async fn client_sets(client: &Client) -> Result<Vec<(String, String)>, CliError> {
    Ok(controllers(client).await?.into_iter().map(|c| (c.name, c.key_set_digest)).collect())
}

/// Registers a first key set, unless the very same is in force. Whether it did.
async fn publish(
    registry: &mut v1::registry_service_client::RegistryServiceClient<super::client::Line>,
    key_set: Vec<u8>,
    confirmed_digest: String,
    in_force: &[(String, String)],
) -> Result<bool, CliError> {
    let signed = SignedKeySet::read(&key_set)?;
    let here = (signed.iss().resource_name(), signed.digest().to_string());
    if in_force.contains(&here) {
        return Ok(false);
    }
    registry
        .create_key_set(v1::CreateKeySetRequest {
            key_set: key_set.into(),
            confirmed_digest,
            recovers_digest: String::new(),
        })
        .await?;
    Ok(true)
}

async fn controllers(client: &Client) -> Result<Vec<v1::Controller>, CliError> {
    let mut registry = client.registry();
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let call = v1::ListControllersRequest { page_size: 100, page_token };
        let page = registry.list_controllers(call).await?.into_inner();
        all.extend(page.controllers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// What was agreed, for people and programs.
pub(super) fn agreement(a: v1::Agreement) -> serde_json::Value {
    json!({"name": a.name, "controller": a.controller, "categories": a.categories,
        "purposes": a.purposes, "stores": a.stores, "regions": a.regions, "sub_processors": a.sub_processors,
        "start_time": timestamp(a.start_time), "end_time": timestamp(a.end_time)})
}

async fn list(who: &As) -> Result<(), CliError> {
    let client = Client::connect(who).await?;
    let mut registry = client.registry();
    let (mut apps, mut agreements) = (Vec::new(), Vec::new());
    let mut page_token = String::new();
    loop {
        let page = registry.list_apps(v1::ListAppsRequest { page_size: 100, page_token }).await?.into_inner();
        apps.extend(page.apps);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    loop {
        let call = v1::ListAgreementsRequest { page_size: 100, page_token };
        let page = registry.list_agreements(call).await?.into_inner();
        agreements.extend(page.agreements);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let controllers: Vec<_> = controllers(&client)
        .await?
        .into_iter()
        .map(|c| {
            json!({"name": c.name, "display_name": c.display_name, "house": c.house,
                "key_set_version": c.key_set_version, "key_set_digest": c.key_set_digest})
        })
        .collect();
    let apps: Vec<_> = apps
        .into_iter()
        .map(|a| {
            json!({"name": a.name, "controller": a.controller, "display_name": a.display_name,
                "aliases": a.aliases, "bundle_ids": a.bundle_ids, "domains": a.domains,
                "sdk_app_ids": a.sdk_app_ids, "common_name": a.common_name})
        })
        .collect();
    let agreements: Vec<_> = agreements.into_iter().map(agreement).collect();
    print(who.json, &json!({"controllers": controllers, "apps": apps, "agreements": agreements}));
    Ok(())
}
