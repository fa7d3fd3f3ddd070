//! The gateway's configuration file.
//!
//! TOML; unknown members are refused. Relative paths are of the file's own folder.
//! A value read here is not yet checked against the files it names: opening them does that.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::{Region, SubProcessorId};
use crate::identity::{AnchorConfig, Configured, MaterialFiles};
use crate::token::PublicJwk;
use crate::trail::VerifierKey;

/// Why a configuration cannot be used. For the operator; may name files, never their content.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {message}", path.display())]
    Form { path: PathBuf, message: String },
}

/// `gateway.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The gateway's name: `source` of each leaf, `aud` of access tokens, stem of the logs' origins.
    pub gateway: String,
    /// SPIFFE trust domain of all callers.
    pub trust_domain: String,
    /// The last part of the trail's origin, where `mandate restore` gave it a new one; else `trail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail_name: Option<String>,
    /// Address and port to listen on.
    pub listen: String,
    /// A SQLite file, or `{ postgres_url_file = "…" }`: then several gateways may share it.
    pub database: Place,
    /// As `database`, but another one: it is never restored from the other's backups.
    pub keyring: Place,
    /// Folder of `epoch-<n>.key`.
    pub epochs: PathBuf,
    /// Folder of encrypted export packages.
    pub exports: PathBuf,
    /// Where these lie (R22).
    pub residency: Residency,
    /// Seconds between two rounds of shredding and removing.
    #[serde(default = "default_housekeeping")]
    pub housekeeping_seconds: u64,
    /// Seconds between two looks at whether certificates, lists or this file have changed.
    #[serde(default = "default_reload")]
    pub reload_seconds: u64,
    pub tls: TlsFiles,
    pub log_keys: LogKeyFiles,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub retention: RetentionSeconds,
    /// How mail is read.
    pub intake: IntakeSection,
    /// Both logs as files over HTTPS; not served where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<PublishSection>,
    /// How the witnesses are asked; with `[[witness]]` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<WitnessesSection>,
    #[serde(default, rename = "witness", skip_serializing_if = "Vec::is_empty")]
    pub witness: Vec<WitnessEntry>,
    /// The certificate authorities that may vouch for callers.
    #[serde(rename = "anchor")]
    pub anchors: Vec<AnchorConfig>,
    /// Access keys registered at start where they are not yet: the first operator's way in.
    #[serde(default, rename = "bootstrap_access_key")]
    pub bootstrap: Vec<BootstrapKey>,
}

/// In which region the gateway's data lies. It stays in the mainland, or the gateway does not start (R22).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residency {
    pub database: Region,
    pub keyring: Region,
    pub exports: Region,
    /// Who keeps the export packages, where it is not PPIO itself: the id of a registered sub-processor (R25).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exports_operated_by: Option<SubProcessorId>,
}

impl Residency {
    /// The first of them that lies elsewhere.
    fn abroad(&self) -> Option<(&'static str, Region)> {
        [("database", self.database), ("keyring", self.keyring), ("exports", self.exports)]
            .into_iter()
            .find(|(_, region)| !region.is_mainland())
    }
}

/// Where rows lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    Server(Server),
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// A file with the connection URL, one line: it may hold a password.
    pub postgres_url_file: PathBuf,
}

impl Place {
    /// The file that the configuration names.
    fn path(&mut self) -> &mut PathBuf {
        match self {
            Place::File(path) => path,
            Place::Server(server) => &mut server.postgres_url_file,
        }
    }
}

/// PEM files of the server's own certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Where the logs are published. TLS is the gateway's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishSection {
    /// Address and port to listen on.
    pub listen: String,
}

/// How many witnesses must cosign, and as whom they are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessesSection {
    /// *k*: distinct witnesses whose cosignatures a head needs before agents are given orders under it.
    pub required: usize,
    /// An idle log is cosigned again after so many seconds. Far below the agents' *t*.
    #[serde(default = "default_refresh")]
    pub refresh_seconds: u64,
    /// PEM: the certificate with which the gateway calls (kind `gateway`), and its key.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessEntry {
    /// Its id: its certificate must name `witness/<name>`.
    pub name: String,
    /// `https://host:port[/path]`; `/add-checkpoint` is added.
    pub url: String,
    /// The key it cosigns with (C2SP vkey of type 0x04).
    pub vkey: VerifierKey,
    /// PEM: the authority of its certificate.
    pub ca: PathBuf,
}

fn default_refresh() -> u64 {
    60
}

/// Files with one 32-byte Ed25519 seed each, base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKeyFiles {
    pub trail: PathBuf,
    pub authority: PathBuf,
    pub freshness: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest export package, bytes.
    pub export_bytes: u64,
    /// How long a package may be fetched, seconds.
    pub export_seconds: i64,
    pub lease_seconds: i64,
    /// Attempts before an execution is given up that has touched nothing. What has begun is seen through.
    pub attempts: u32,
    /// Certificates with a new key that a principal may come with in an hour: each such key is a leaf.
    pub tls_keys_per_hour: NonZeroU32,
    /// Connections of one principal at once, where gRPC is served.
    pub connections: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            export_bytes: 1 << 30,
            export_seconds: 7 * DAY,
            lease_seconds: 60,
            attempts: 8,
            tls_keys_per_hour: TLS_KEYS,
            connections: CONNECTIONS,
        }
    }
}

/// Enough for a hundred workloads whose keys are new every twenty minutes.
const TLS_KEYS: NonZeroU32 = NonZeroU32::new(300).expect("not zero");

/// One for each of many workloads; four principals that take all of theirs are under what a process may open.
const CONNECTIONS: NonZeroU32 = NonZeroU32::new(256).expect("not zero");

const DAY: i64 = 86_400;
/// Agents stop five seconds before a lease ends: one that is shorter leaves no time to work.
const SHORTEST_LEASE: i64 = 8;

/// Seconds that personal data stays after its work is done (R21).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSeconds {
    pub request: i64,
    pub message: i64,
    pub instruction: i64,
    pub refusal: i64,
}

impl Default for RetentionSeconds {
    fn default() -> Self {
        Self { request: 30 * DAY, message: 30 * DAY, instruction: 30 * DAY, refusal: 30 * DAY }
    }
}

/// Whose mail servers, domains and names are PPIO's own (R26).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeSection {
    /// The id our server writes into `Authentication-Results` (RFC 8601 §2.5).
    pub authserv_id: String,
    /// Names of our servers in `Received: … by`.
    pub mail_hosts: Vec<String>,
    /// Mail and web domains of PPIO's own.
    pub house_domains: Vec<String>,
    /// How people address PPIO: being addressed is no evidence.
    pub house_brands: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapKey {
    /// Resource name, as `operators/o-1`.
    pub principal: String,
    /// A public JWK.
    pub jwk_file: PathBuf,
}

fn default_housekeeping() -> u64 {
    60
}

/// Seconds; of every process that reads its material again.
pub fn default_reload() -> u64 {
    10
}

impl GatewayConfig {
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config: GatewayConfig = read_toml(path)?;
        if config.limits.lease_seconds < SHORTEST_LEASE {
            let message = format!("limits.lease_seconds must be at least {SHORTEST_LEASE}");
            return Err(ConfigError::Form { path: path.to_owned(), message });
        }
        if let Some(name) = &config.trail_name
            && !is_log_name(name)
        {
            let message = "trail_name is 1 to 32 of a-z, 0-9 and -, and not authority".to_owned();
            return Err(ConfigError::Form { path: path.to_owned(), message });
        }
        if let Some((place, region)) = config.residency.abroad() {
            let message = format!("residency.{place} is {region}: what the gateway keeps stays in cn");
            return Err(ConfigError::Form { path: path.to_owned(), message });
        }
        let folder = folder_of(path);
        for file in config.paths() {
            *file = folder.join(&*file);
        }
        Ok(config)
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = vec![
            self.database.path(),
            self.keyring.path(),
            &mut self.epochs,
            &mut self.exports,
            &mut self.tls.certificate,
            &mut self.tls.key,
            &mut self.log_keys.trail,
            &mut self.log_keys.authority,
            &mut self.log_keys.freshness,
        ];
        for anchor in &mut self.anchors {
            paths.extend([&mut anchor.certificate, &mut anchor.crl]);
        }
        if let Some(witnesses) = &mut self.witnesses {
            paths.extend([&mut witnesses.certificate, &mut witnesses.key]);
        }
        paths.extend(self.witness.iter_mut().map(|witness| &mut witness.ca));
        paths.extend(self.bootstrap.iter_mut().map(|key| &mut key.jwk_file));
        paths
    }
}

impl GatewayConfig {
    /// Whether they differ in something that is read at the start only.
    pub fn needs_restart(&self, next: &Self) -> bool {
        let mut like = self.clone();
        like.trust_domain.clone_from(&next.trust_domain);
        like.tls.clone_from(&next.tls);
        like.anchors.clone_from(&next.anchors);
        like.bootstrap.clone_from(&next.bootstrap);
        like != *next
    }
}

/// What is read again while the gateway runs.
impl Configured for GatewayConfig {
    type Error = ConfigError;

    fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::load(path)
    }

    fn material(&self) -> MaterialFiles {
        MaterialFiles {
            certificate: self.tls.certificate.clone(),
            key: self.tls.key.clone(),
            trust_domain: self.trust_domain.clone(),
            anchors: self.anchors.clone(),
        }
    }

    fn others(&self) -> Vec<PathBuf> {
        self.bootstrap.iter().map(|key| key.jwk_file.clone()).collect()
    }

    fn check(&self) -> Result<(), String> {
        for BootstrapKey { jwk_file, .. } in &self.bootstrap {
            let bad = |what: &dyn std::fmt::Display| format!("{}: {what}", jwk_file.display());
            let jwk = std::fs::read(jwk_file).map_err(|error| bad(&error))?;
            PublicJwk::from_json(&jwk).map_err(|refusal| bad(&refusal))?;
        }
        Ok(())
    }
}

/// The folder that the paths in `file` are relative to.
pub fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Whether it may be the last part of the trail's origin.
pub fn is_log_name(name: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=32).contains(&name.len()) && name != "authority" && name.bytes().all(known)
}

/// Reads a TOML file. The message of a fault names line and member; such files hold no personal data.
pub fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|error| ConfigError::Form { path: path.to_owned(), message: error.message().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
gateway = "mandate.ppio.example"
trust_domain = "ppio.example"
listen = "127.0.0.1:7443"
database = "data/gateway.sqlite"
keyring = "/elsewhere/keyring.sqlite"
epochs = "keys/gateway/epoch"
exports = "data/exports"
[residency]
database = "cn"
keyring = "cn"
exports = "cn"
[tls]
certificate = "keys/gateway/tls.pem"
key = "keys/gateway/tls.key"
[log_keys]
trail = "t"
authority = "a"
freshness = "f"
[intake]
authserv_id = "mx.ppio.example"
mail_hosts = ["mx.ppio.example"]
house_domains = ["ppio.example"]
house_brands = ["PPIO"]
[retention]
message = 5
[[anchor]]
certificate = "ca/ppio.pem"
crl = "ca/ppio.crl"
kinds = ["operator"]
"#;

    fn load(text: &str) -> Result<GatewayConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, text).unwrap();
        let mut config = GatewayConfig::load(&file)?;
        for path in config.paths() {
            if let Ok(rest) = path.strip_prefix(folder.path()) {
                *path = Path::new("DIR").join(rest);
            }
        }
        Ok(config)
    }

    #[test]
    fn relative_paths_are_of_the_files_folder_and_absolute_ones_stay() {
        let config = load(TEXT).unwrap();
        assert_eq!(config.database, Place::File("DIR/data/gateway.sqlite".into()));
        assert_eq!(config.keyring, Place::File("/elsewhere/keyring.sqlite".into()));
        assert_eq!(config.anchors[0].crl, Path::new("DIR/ca/ppio.crl"));
        assert_eq!(config.retention.message, 5);
        assert_eq!(config.retention.request, RetentionSeconds::default().request);
    }

    #[test]
    fn a_lease_that_leaves_no_time_to_work_is_refused() {
        let error =
            load(&TEXT.replace("[retention]", "[limits]\nlease_seconds = 3\n[retention]")).unwrap_err();
        assert!(error.to_string().contains("lease_seconds"), "{error}");
    }

    #[test]
    fn data_that_would_lie_abroad_or_nobody_knows_where_is_refused() {
        for place in ["database", "keyring", "exports"] {
            let error = load(&TEXT.replace(&format!("{place} = \"cn\""), &format!("{place} = \"us\"")));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&format!("residency.{place} is us")), "{error}");
        }
        let error = load(&TEXT.replace("keyring = \"cn\"\n", "")).unwrap_err();
        assert!(error.to_string().contains("keyring"), "{error}");
    }

    #[test]
    fn a_database_may_be_a_servers() {
        let text = TEXT.replace(
            "database = \"data/gateway.sqlite\"",
            "database = { postgres_url_file = \"secrets/database.url\" }",
        );
        let server = Server { postgres_url_file: "DIR/secrets/database.url".into() };
        assert_eq!(load(&text).unwrap().database, Place::Server(server));
    }

    #[test]
    fn an_unknown_member_is_refused_by_name() {
        let error = load(&format!("colour = \"red\"\n{TEXT}")).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
    }

    #[test]
    fn what_is_read_again_needs_no_restart_and_the_rest_does() {
        let config = load(TEXT).unwrap();
        for (from, to, needs) in [
            ("ca/ppio.crl", "ca/other.crl", false),
            ("tls.pem", "next.pem", false),
            ("127.0.0.1:7443", "127.0.0.1:7444", true),
            ("message = 5", "message = 6", true),
        ] {
            assert_eq!(config.needs_restart(&load(&TEXT.replace(from, to)).unwrap()), needs, "{from}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let config = load(TEXT).unwrap();
        assert_eq!(toml::from_str::<GatewayConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    }
}
