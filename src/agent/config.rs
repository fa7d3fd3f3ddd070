//! What the agent's operator wrote by hand: `agent.toml`.
//!
//! All that decides *whose* data may be touched stands here and not at the
//! gateway: the tenant of each app, the agreements' scope, the pins. From the
//! gateway come orders only. Paths are relative to the file's own folder; a
//! member that is not known is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::authority::{AgreementTerms, Sinks, TenantBinding};
use crate::domain::{
    AgentId, AppId, Category, ControllerId, Purpose, Reason, Refusal, Region, StoreId, SubProcessorId,
};

/// Why a text is no configuration. Names the place, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the agent's configuration cannot be read")]
    Read,
    #[error("the agent's configuration is not of the form: line {0}: {1}")]
    Form(usize, String),
    #[error("the agent's configuration: {0}")]
    Rule(&'static str),
}

/// How to reach the gateway, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayAccess {
    /// `host:port`.
    pub address: String,
    /// The name its certificate must bear.
    pub server_name: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// `sub` of access tokens; the name in the certificate.
    pub spiffe_id: String,
    /// PEM: the CA of the gateway's certificate.
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// A private JWK.
    pub access_key: PathBuf,
}

/// One store that the agent stands beside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    pub id: StoreId,
    /// The Fides dataset.
    pub map: PathBuf,
    /// The Mandate overlay.
    pub overlay: PathBuf,
    /// Whose it is, where it is not PPIO's own.
    pub operated_by: Option<SubProcessorId>,
}

/// Which tenant of the stores an app is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    pub id: AppId,
    pub controller: ControllerId,
    pub tenant: String,
}

/// The scope of an agreement, as the agent was told it. Times are seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementConfig {
    pub controller: ControllerId,
    pub apps: BTreeSet<AppId>,
    pub categories: BTreeSet<Category>,
    pub purposes: BTreeSet<Purpose>,
    pub stores: BTreeSet<StoreId>,
    pub regions: BTreeSet<Region>,
    /// Who may touch the data in PPIO's stead.
    #[serde(default)]
    pub sub_processors: BTreeSet<SubProcessorId>,
    pub valid_from: i64,
    pub valid_until: Option<i64>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    pub agent: AgentId,
    pub gateway: GatewayAccess,
    /// See [`Pins`](crate::authority::Pins).
    pub pins: PathBuf,
    /// *t*: how old the authority log's head may be.
    #[serde(default = "default_freshness")]
    pub freshness_seconds: i64,
    /// A private JWK; its public half is registered at the gateway.
    pub report_key: PathBuf,
    pub ledger: PathBuf,
    pub keyring: PathBuf,
    /// Folder of the epoch keys.
    pub epochs: PathBuf,
    /// Folder where export packages grow.
    pub spool: PathBuf,
    /// Who keeps the packages at the gateway, where it is not PPIO itself.
    pub exports_operated_by: Option<SubProcessorId>,
    /// How long one question for orders may wait at the gateway, 1 to 30.
    #[serde(default = "default_poll")]
    pub poll_seconds: u32,
    #[serde(rename = "store")]
    pub stores: Vec<StoreConfig>,
    #[serde(rename = "app", default)]
    pub apps: Vec<AppConfig>,
    #[serde(rename = "agreement", default)]
    pub agreements: Vec<AgreementConfig>,
}

fn default_freshness() -> i64 {
    300
}

fn default_poll() -> u32 {
    20
}

impl AgentConfig {
    /// Reads `agent.toml`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|_| ConfigError::Read)?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads the text; paths become relative to `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let line = text.as_bytes().iter().take(before).filter(|byte| **byte == b'\n').count() + 1;
            ConfigError::Form(line, error.message().to_owned())
        })?;
        config.check()?;
        let gateway = &mut config.gateway;
        let paths = [
            &mut gateway.ca,
            &mut gateway.certificate,
            &mut gateway.key,
            &mut gateway.access_key,
            &mut config.pins,
            &mut config.report_key,
            &mut config.ledger,
            &mut config.keyring,
            &mut config.epochs,
            &mut config.spool,
        ];
        let of_stores = config.stores.iter_mut().flat_map(|store| [&mut store.map, &mut store.overlay]);
        for path in paths.into_iter().chain(of_stores) {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let rule = |holds: bool, what| if holds { Ok(()) } else { Err(ConfigError::Rule(what)) };
        rule((1..=3600).contains(&self.freshness_seconds), "freshness_seconds is 1 to 3600")?;
        rule((1..=30).contains(&self.poll_seconds), "poll_seconds is 1 to 30")?;
        rule(!self.stores.is_empty(), "there is no [[store]]")?;
        let stores: BTreeSet<_> = self.stores.iter().map(|store| &store.id).collect();
        rule(stores.len() == self.stores.len(), "a [[store]] stands twice")?;
        let apps: BTreeSet<_> = self.apps.iter().map(|app| &app.id).collect();
        rule(apps.len() == self.apps.len(), "an [[app]] stands twice")?;
        let tenants: BTreeSet<_> = self.apps.iter().map(|app| &app.tenant).collect();
        rule(tenants.len() == self.apps.len(), "two [[app]] have the same tenant")?;
        rule(self.apps.iter().all(|app| !app.tenant.is_empty()), "an [[app]] has an empty tenant")?;
        let mut theirs = BTreeMap::new();
        let of_one = self.agreements.iter().all(|agreement| {
            let apps = &mut agreement.apps.iter();
            apps.all(|app| *theirs.entry(app).or_insert(&agreement.controller) == &agreement.controller)
        });
        rule(of_one, "two [[agreement]] of different controllers cover the same app")
    }

    /// Where the agent keeps what it remembers beside its ledger.
    pub fn notebook(&self) -> PathBuf {
        self.ledger.with_extension("notebook.sqlite")
    }

    pub fn bindings(&self) -> BTreeMap<AppId, TenantBinding> {
        self.apps
            .iter()
            .map(|app| {
                let binding =
                    TenantBinding { controller: app.controller.clone(), tenant: app.tenant.clone() };
                (app.id.clone(), binding)
            })
            .collect()
    }

    /// That a store may lie where its overlay says: in the mainland, or where every agreement over it lets data
    /// go (R22). Of an app's agreements those count that are not over; where all are, the one that ended last.
    pub fn check_region(&self, store: &StoreId, region: Region, now: i64) -> Result<(), Refusal> {
        let mut over = self.terms();
        over.retain(|terms| terms.stores.contains(store));
        let apps: BTreeSet<&AppId> = over.iter().flat_map(|terms| &terms.apps).collect();
        let mut lawful = apps.into_iter().map(|app| {
            let of_app = over.iter().filter(|terms| terms.apps.contains(app)).cloned();
            let (ended, counts): (Vec<AgreementTerms>, Vec<AgreementTerms>) =
                of_app.partition(|terms| terms.valid_until.is_some_and(|until| until <= now));
            match counts.is_empty() {
                true => AgreementTerms::joined(ended).is_none_or(|terms| terms.may_lie_in(region)),
                false => counts.iter().all(|terms| terms.may_lie_in(region)),
            }
        });
        match lawful.all(|lawful| lawful) {
            true => Ok(()),
            false => Err(Refusal::at(Reason::RegionNotAllowed, "overlay.region")
                .note("the store lies where an agreement lets no data go")),
        }
    }

    fn sinks(&self) -> Sinks {
        let operated = |store: &StoreConfig| Some((store.id.clone(), store.operated_by.clone()?));
        Sinks {
            stores: self.stores.iter().filter_map(operated).collect(),
            exports: self.exports_operated_by.clone(),
        }
    }

    pub fn terms(&self) -> Vec<AgreementTerms> {
        self.agreements
            .iter()
            .cloned()
            .map(|agreement| AgreementTerms {
                controller: agreement.controller,
                apps: agreement.apps,
                categories: agreement.categories,
                purposes: agreement.purposes,
                stores: agreement.stores,
                regions: agreement.regions,
                sub_processors: agreement.sub_processors,
                sinks: self.sinks(),
                valid_from: agreement.valid_from,
                valid_until: agreement.valid_until,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
agent = "rtc-agent"
pins = "pins.toml"
freshness_seconds = 300
report_key = "keys/rtc-agent/report.jwk"
ledger = "agent/ledger.sqlite"
keyring = "agent/keyring.sqlite"
epochs = "keys/rtc-agent/epoch"
spool = "agent/spool"
poll_seconds = 5

[gateway]
address = "127.0.0.1:7443"
server_name = "mandate.ppio.example"
audience = "mandate.ppio.example"
spiffe_id = "spiffe://ppio.example/agent/rtc-agent/agent"
ca = "ca/server.pem"
certificate = "keys/rtc-agent/tls.pem"
key = "keys/rtc-agent/tls.key"
access_key = "keys/rtc-agent/access.jwk"

[[store]]
id = "rtc"
map = "store/rtc.yml"
overlay = "store/rtc.mandate.toml"

[[app]]
id = "xingyu-live"
controller = "xingyu"
tenant = "xingyu-live"

[[agreement]]
controller = "xingyu"
apps = ["xingyu-live"]
categories = ["device", "network"]
purposes = ["service-delivery"]
stores = ["rtc"]
regions = ["cn"]
valid_from = 1700000000
"#;

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = AgentConfig::parse(GOOD, Path::new("/etc/mandate")).unwrap();
        assert_eq!(config.stores[0].map, Path::new("/etc/mandate/store/rtc.yml"));
        assert_eq!(config.gateway.ca, Path::new("/etc/mandate/ca/server.pem"));
        assert_eq!(config.notebook(), Path::new("/etc/mandate/agent/ledger.notebook.sqlite"));
        assert_eq!(config.terms()[0].valid_until, None);
        assert_eq!(config.bindings().len(), 1);
    }

    #[test]
    fn a_store_abroad_is_served_only_where_every_agreement_over_it_allows_that() {
        let config = AgentConfig::parse(GOOD, Path::new("")).unwrap();
        let [rtc, other] = ["rtc", "other"].map(|id| id.parse().unwrap());
        let check =
            |config: &AgentConfig, store, region| config.check_region(store, region, 0).map_err(|r| r.reason);
        assert_eq!(check(&config, &rtc, Region::Cn), Ok(()));
        assert_eq!(check(&config, &rtc, Region::Sg), Err(Reason::RegionNotAllowed));
        assert_eq!(check(&config, &other, Region::Sg), Ok(()));
        let text = GOOD.replace(r#"regions = ["cn"]"#, r#"regions = ["cn", "sg"]"#);
        let wider = AgentConfig::parse(&text, Path::new("")).unwrap();
        assert_eq!(check(&wider, &rtc, Region::Sg), Ok(()));
    }

    #[test]
    fn an_app_may_have_several_agreements_of_its_controller_and_none_of_another() {
        let second = GOOD.split_once("[[agreement]]").unwrap().1;
        let until = format!("{GOOD}valid_until = 1700000001\n[[agreement]]{second}");
        assert_eq!(AgentConfig::parse(&until, Path::new("")).unwrap().terms().len(), 2);
        let another = format!("{GOOD}[[agreement]]{}", second.replace("\"xingyu\"", "\"xiaolu\""));
        assert!(matches!(AgentConfig::parse(&another, Path::new("")), Err(ConfigError::Rule(_))));
        // Where data lies, the agreement says that is not over.
        let abroad = format!(
            "{GOOD}valid_until = 1700000001\n[[agreement]]{}",
            second.replace("[\"cn\"]", "[\"cn\", \"sg\"]")
        );
        let config = AgentConfig::parse(&abroad, Path::new("")).unwrap();
        let at = |now| config.check_region(&"rtc".parse().unwrap(), Region::Sg, now).is_ok();
        assert_eq!([1_700_000_000, 1_700_000_001].map(at), [false, true]);
    }

    #[test]
    fn a_configuration_that_says_more_or_something_unsafe_is_refused() {
        let app = "\n[[app]]\nid = \"other\"\ncontroller = \"other\"\ntenant = \"xingyu-live\"\n";
        for bad in [
            GOOD.replace("poll_seconds = 5", "poll_seconds = 5\nurl = \"x\""),
            GOOD.replace("poll_seconds = 5", "poll_seconds = 0"),
            GOOD.replace("freshness_seconds = 300", "freshness_seconds = 0"),
            GOOD.replace("tenant = \"xingyu-live\"", "tenant = \"\""),
            format!("{GOOD}{app}"),
        ] {
            assert!(AgentConfig::parse(&bad, Path::new("")).is_err(), "a bad configuration was taken");
        }
    }
}
