//! `witness.toml`. Unknown members are refused; relative paths are of the file's own folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::WitnessError;
use crate::identity::{AnchorConfig, Configured, MaterialFiles};
use crate::token::base64url;
use crate::trail::{KeyKind, VerifierKey};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Name of the cosigning key, as it stands in cosignatures and in its vkey.
    pub name: String,
    /// Address and port to listen on.
    pub listen: String,
    /// File with the 32-byte Ed25519 seed, base64url.
    pub key: PathBuf,
    /// What was cosigned last. `mandate witness init` makes it; a witness that lost it must not start anew.
    pub memory: PathBuf,
    /// SPIFFE trust domain of those who may ask.
    pub trust_domain: String,
    /// Seconds between two looks at whether certificates, lists or this file have changed.
    #[serde(default = "default_reload")]
    pub reload_seconds: u64,
    pub tls: WitnessTls,
    /// Who may vouch for the gateways that may ask.
    #[serde(rename = "anchor")]
    pub anchors: Vec<AnchorConfig>,
    /// The logs it watches.
    #[serde(rename = "log")]
    pub logs: Vec<LogEntry>,
}

fn default_reload() -> u64 {
    10
}

/// PEM files of the witness's own certificate: its DNS name, and its SPIFFE id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A log: its origin, and the key that signs its checkpoints. While that is being replaced the log stands
/// there twice, once with each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    pub origin: String,
    pub vkey: VerifierKey,
}

/// The keys of the watched logs, by origin: more than one while a log's key is being replaced.
pub type Logs = BTreeMap<String, Vec<VerifierKey>>;

impl WitnessConfig {
    /// Makes the paths relative to `folder`.
    pub fn rooted(mut self, folder: &Path) -> Self {
        let own = [&mut self.key, &mut self.memory, &mut self.tls.certificate, &mut self.tls.key].into_iter();
        let of_anchors =
            self.anchors.iter_mut().flat_map(|anchor| [&mut anchor.certificate, &mut anchor.crl]);
        for path in own.chain(of_anchors) {
            *path = folder.join(&*path);
        }
        self
    }

    /// The watched logs, each key once.
    pub fn logs(&self) -> Result<Logs, WitnessError> {
        let mut logs = Logs::new();
        for LogEntry { origin, vkey } in &self.logs {
            if vkey.kind() != KeyKind::Log {
                return Err(WitnessError::Rule("a [[log]]'s vkey is no log's key (type 0x01)"));
            }
            let keys = logs.entry(origin.clone()).or_default();
            if keys.contains(vkey) {
                return Err(WitnessError::Rule("a [[log]] stands twice"));
            }
            keys.push(vkey.clone());
        }
        match logs.is_empty() {
            true => Err(WitnessError::Rule("there is no [[log]]")),
            false => Ok(logs),
        }
    }

    pub(super) fn seed(&self) -> Result<Zeroizing<[u8; 32]>, WitnessError> {
        let bad = || WitnessError::Seed(self.key.clone());
        let text = Zeroizing::new(std::fs::read_to_string(&self.key).map_err(|_| bad())?);
        let bytes = base64url::decode(text.trim_end().as_bytes()).map(Zeroizing::new).map_err(|_| bad())?;
        bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| bad())
    }
}

/// What is read again while the witness runs: never its key or its memory.
impl Configured for WitnessConfig {
    type Error = WitnessError;

    fn read(path: &Path) -> Result<Self, WitnessError> {
        let unread = |_| WitnessError::Rule("the file cannot be read");
        let text = std::fs::read_to_string(path).map_err(unread)?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| WitnessError::Form(path.to_owned(), error.message().to_owned()))?;
        Ok(config.rooted(&path.parent().map(Path::to_owned).unwrap_or_default()))
    }

    fn check(&self) -> Result<(), String> {
        self.logs().map(drop).map_err(|error| error.to_string())
    }

    fn material(&self) -> MaterialFiles {
        MaterialFiles {
            certificate: self.tls.certificate.clone(),
            key: self.tls.key.clone(),
            trust_domain: self.trust_domain.clone(),
            anchors: self.anchors.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::log_fixtures::{freshness_key, trail_key};

    #[test]
    fn a_log_stands_once_and_has_a_logs_key() {
        let log = |origin: &str, vkey: &VerifierKey| LogEntry { origin: origin.into(), vkey: vkey.clone() };
        let (good, cosigner) = (trail_key(), freshness_key());
        let good = log("a.example/trail", good.verifier_key());
        let config = |logs: Vec<LogEntry>| WitnessConfig {
            name: "w".into(),
            listen: "127.0.0.1:0".into(),
            key: "key".into(),
            memory: "memory".into(),
            trust_domain: "ppio.example".into(),
            reload_seconds: 10,
            tls: WitnessTls { certificate: "c".into(), key: "k".into() },
            anchors: Vec::new(),
            logs,
        };
        assert_eq!(config(vec![good.clone()]).logs().unwrap().len(), 1);
        assert!(config(vec![good.clone(), good.clone()]).logs().is_err());
        let next = crate::trail::SigningKey::from_seed("a.example/trail", &[9; 32]).unwrap();
        let next = log("a.example/trail", next.verifier_key());
        assert_eq!(config(vec![good, next]).logs().unwrap()["a.example/trail"].len(), 2);
        assert!(config(vec![log("b.example/trail", cosigner.verifier_key())]).logs().is_err());
        assert!(config(Vec::new()).logs().is_err());
        let rooted = config(Vec::new()).rooted(Path::new("/etc/w"));
        assert_eq!(rooted.memory, Path::new("/etc/w/memory"));
    }
}
