//! `mandate witness init`: everything one witness needs, in one folder.
//!
//! Its certificate comes from an authority of its own, made here and not kept: the gateway is told
//! that authority's certificate. A witness in earnest may bring its own (`certs/README.md`).

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::CliError;
use super::dev_ca::{self, Validity};
use super::files::{self, write_public, write_secret};
use crate::authority::Pins;
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::domain::{Clock, Entropy, Kind, Timestamp};
use crate::identity::AnchorConfig;
use crate::say;
use crate::token::base64url;
use crate::trail::CosigningKey;
use crate::witness::{LogEntry, Memory, WitnessConfig, WitnessTls};

/// Days that its certificate lasts.
const DAYS: i64 = 365;

#[derive(Debug, Args)]
pub struct Init {
    /// Folder to make; must be absent or empty
    pub dir: PathBuf,
    /// The witness's id, as the gateway names it (`w1`)
    #[arg(long)]
    pub id: String,
    /// Name of the cosigning key; `witness.<trust domain>/<id>` where absent
    #[arg(long)]
    pub key_name: Option<String>,
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:7551")]
    pub listen: String,
    /// Host name or address that the gateway dials, as it stands in the certificate
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// SPIFFE trust domain of the gateway
    #[arg(long)]
    pub trust_domain: String,
    /// The auditor's pins: which two logs, and their keys
    #[arg(long)]
    pub pins: PathBuf,
    /// PEM: the authority of the certificate with which the gateway calls its witnesses
    #[arg(long)]
    pub gateway_ca: PathBuf,
    /// PEM: that authority's revocation list
    #[arg(long)]
    pub gateway_crl: PathBuf,
}

/// What the gateway's operator and every pin file are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    pub name: String,
    pub url: String,
    pub vkey: String,
    pub ca: PathBuf,
}

impl Init {
    pub fn run(self) -> Result<(), CliError> {
        let made = make(&self, SystemClock.now(), &SystemEntropy)?;
        let dir = self.dir.display();
        say!("Made {dir}: its key is not encrypted; its memory must never be replaced by an older one.");
        say!("For the gateway's configuration, with {dir}/ca.pem copied there:");
        say!("{}", snippet(&made)?);
        say!("For [witnesses] in every pins.toml, over a second channel:");
        say!("  {}", made.vkey);
        say!("Next:");
        say!("  mandate witness --config {dir}/witness.toml");
        Ok(())
    }
}

fn snippet(made: &Made) -> Result<String, CliError> {
    Ok(format!("[[witness]]\n{}", toml::to_string(made).map_err(CliError::plain)?))
}

/// Makes everything; refuses a folder that has something in it.
pub fn make(init: &Init, now: Timestamp, entropy: &dyn Entropy) -> Result<Made, CliError> {
    let dir = &init.dir;
    if files::is_used(dir)? {
        return Err(CliError::Plain(format!("{} is not empty; nothing was changed", dir.display())));
    }
    let pins = Pins::parse(&files::read_text(&init.pins)?).map_err(CliError::plain)?;
    let (ca, crl) = (files::read(&init.gateway_ca)?, files::read(&init.gateway_crl)?);
    let id: crate::domain::WitnessId = init.id.parse().map_err(CliError::plain)?;
    let name =
        init.key_name.clone().unwrap_or_else(|| format!("witness.{}/{}", init.trust_domain, id.as_str()));
    let seed = entropy.array::<32>();
    let key = CosigningKey::from_seed(&name, &seed).map_err(CliError::plain)?;
    certificate(init, now, entropy)?;
    write_secret(&dir.join("witness.key"), format!("{}\n", base64url::encode(seed)))?;
    write_public(&dir.join("gateway-ca.pem"), ca)?;
    write_public(&dir.join("gateway-ca.crl"), crl)?;
    Memory::create(&dir.join("memory.json")).map_err(CliError::plain)?;
    let config = toml::to_string(&config(init, &pins, name)).map_err(CliError::plain)?;
    write_public(&dir.join("witness.toml"), config)?;
    let port = init.listen.rsplit_once(':').map_or("443", |(_, port)| port);
    let made = Made {
        name: init.id.clone(),
        url: format!("https://{}:{port}", init.host),
        vkey: key.verifier_key().to_string(),
        ca: Path::new("witnesses").join(format!("{}.pem", init.id)),
    };
    write_public(&dir.join("for-the-gateway.toml"), snippet(&made)?)?;
    Ok(made)
}

fn certificate(init: &Init, now: Timestamp, entropy: &dyn Entropy) -> Result<(), CliError> {
    let validity = Validity::days(now, DAYS);
    let ca = dev_ca::issue_ca(&format!("{} ca", init.id), validity, entropy).map_err(CliError::plain)?;
    let uri = format!("spiffe://{}/{}/{}/witness", init.trust_domain, Kind::Witness, init.id);
    let issued =
        dev_ca::issue_workload(&ca, &uri, &[&init.host], validity, entropy).map_err(CliError::plain)?;
    write_public(&init.dir.join("ca.pem"), &ca.certificate_pem)?;
    write_public(&init.dir.join("tls.pem"), issued.certificate_pem)?;
    write_secret(&init.dir.join("tls.key"), issued.key_pem)
}

fn config(init: &Init, pins: &Pins, name: String) -> WitnessConfig {
    let log = |pin: &crate::authority::pins::LogPin| LogEntry {
        origin: pin.origin.clone(),
        vkey: pin.vkey.clone(),
    };
    WitnessConfig {
        name,
        listen: init.listen.clone(),
        key: "witness.key".into(),
        memory: "memory.json".into(),
        trust_domain: init.trust_domain.clone(),
        reload_seconds: 10,
        tls: WitnessTls { certificate: "tls.pem".into(), key: "tls.key".into() },
        anchors: vec![AnchorConfig {
            certificate: "gateway-ca.pem".into(),
            crl: "gateway-ca.crl".into(),
            kinds: vec![Kind::Gateway],
            ids: Vec::new(),
        }],
        logs: vec![log(&pins.trail), log(&pins.authority)],
    }
}
