//! `mandate certificate`: the authorities that `mandate init` made issue, and take back.
//!
//! For development only: their keys lie unencrypted beside the gateway's own. In earnest each
//! party runs its own authority, as `certs/README.md` says. A running gateway reads certificates and
//! lists again within seconds of a change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::dev_ca::{self, Ca, Revoked, Validity};
use super::init_keys::DAYS;
use super::{CliError, files, own_keys};
use crate::config::GatewayConfig;
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::domain::{Clock, Entropy, Timestamp};
use crate::identity::{AnchorConfig, SpiffeId};
use crate::say;
use crate::token::KeyId;

#[derive(Debug, Args)]
pub struct Certificate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Issue a client certificate and its key
    Issue {
        /// Folder that `mandate init` made
        #[arg(long)]
        dir: PathBuf,
        /// spiffe://<trust-domain>/<kind>/<id>/<workload>
        spiffe_id: SpiffeId,
        /// Folder that tls.pem and tls.key go to
        #[arg(long)]
        out: PathBuf,
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=3650))]
        days: i64,
    },
    /// Print the thumbprint of a certificate's key, as a registration names it
    Thumbprint {
        /// PEM files
        #[arg(required = true)]
        certificates: Vec<PathBuf>,
    },
    /// Take certificates back: their authority's next revocation list names them
    Revoke {
        /// Folder that `mandate init` made
        #[arg(long)]
        dir: PathBuf,
        /// PEM files
        #[arg(required = true)]
        certificates: Vec<PathBuf>,
        /// Days until the list's next update
        #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(i64).range(1..=3650))]
        days: i64,
    },
    /// Issue each authority's next revocation list, with all it took back before
    RenewLists {
        /// Folder that `mandate init` made
        #[arg(long)]
        dir: PathBuf,
        /// Days until the lists' next update
        #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(i64).range(1..=3650))]
        days: i64,
    },
}

impl Certificate {
    pub fn run(self) -> Result<(), CliError> {
        let now = SystemClock.now();
        match self.command {
            Command::Issue { dir, spiffe_id, out, days } => {
                let written = issue(&dir, &spiffe_id, &out, Validity::days(now, days), &SystemEntropy)?;
                say!("{}\n{}", written.0.display(), written.1.display());
                return Ok(());
            }
            Command::Thumbprint { certificates } => {
                for file in &certificates {
                    say!("{}  {}", thumbprint(file)?, file.display());
                }
                return Ok(());
            }
            Command::Revoke { dir, certificates, days } => {
                for (list, revoked) in revoke(&dir, &certificates, now, days)? {
                    say!("{}  {revoked} taken back", list.display());
                }
            }
            Command::RenewLists { dir, days } => {
                for authority in Authority::all(&dir)? {
                    let revoked = authority.next_list(&[], now, days)?;
                    say!("{}  {revoked} taken back", authority.list.display());
                }
            }
        }
        say!("A running gateway takes the lists up by itself, or at once: kill -HUP.");
        Ok(())
    }
}

/// Of the key of a PEM file's first certificate, which is the one that is shown.
pub(super) fn thumbprint(file: &Path) -> Result<KeyId, CliError> {
    let keys = own_keys::in_certificates(file)?;
    let first = keys.first().copied();
    first.ok_or_else(|| CliError::Plain(format!("{}: no certificate with a key of ours", file.display())))
}

/// Issues a certificate by the authority that `gateway.toml` registers for the name. Answers the two files.
pub fn issue(
    dir: &Path,
    name: &SpiffeId,
    out: &Path,
    validity: Validity,
    entropy: &dyn Entropy,
) -> Result<(PathBuf, PathBuf), CliError> {
    let config = GatewayConfig::load(&dir.join("gateway.toml"))?;
    if name.trust_domain() != config.trust_domain {
        return Err(CliError::Plain(format!("the gateway's trust domain is {}", config.trust_domain)));
    }
    let entitled = |anchor: &&AnchorConfig| {
        let any = anchor.ids.is_empty() || anchor.ids == ["*"];
        anchor.kinds.contains(&name.kind()) && (any || anchor.ids.iter().any(|id| id == name.id()))
    };
    let anchor = config.anchors.iter().find(entitled).ok_or_else(|| {
        CliError::plain("no authority in gateway.toml may vouch for this name; add an [[anchor]] first")
    })?;
    let issued = dev_ca::issue_client(&Authority::of(anchor)?.ca, &[&name.to_string()], validity, entropy)
        .map_err(CliError::plain)?;
    let (certificate, key) = (out.join("tls.pem"), out.join("tls.key"));
    // The key first: a certificate without one would be of no use, and neither is ever overwritten.
    files::write_secret(&key, issued.key_pem)?;
    files::write_public(&certificate, issued.certificate_pem)?;
    Ok((certificate, key))
}

/// Takes certificates back. Answers each list that was issued anew, with how many it names.
///
/// All are found before the first list changes; a certificate that is on the list already stays as it is.
pub fn revoke(
    dir: &Path,
    certificates: &[PathBuf],
    now: Timestamp,
    days: i64,
) -> Result<Vec<(PathBuf, usize)>, CliError> {
    let authorities = Authority::all(dir)?;
    let mut serials: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    for path in certificates {
        let bad = |what: &str| CliError::Plain(format!("{}: {what}", path.display()));
        let der = CertificateDer::from_pem_slice(&files::read(path)?).map_err(|_| bad("not a PEM file"))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| bad("no X.509 certificate"))?;
        let began = u64::try_from(parsed.validity().not_before.timestamp()).unwrap_or(0);
        let issuer = authorities
            .iter()
            .position(|authority| authority.issued(&der, began))
            .ok_or_else(|| bad("none of the authorities whose keys lie here issued it"))?;
        serials.entry(issuer).or_default().push(parsed.raw_serial().to_vec());
    }
    serials
        .into_iter()
        .map(|(at, serials)| {
            let authority = &authorities[at];
            Ok((authority.list.clone(), authority.next_list(&serials, now, days)?))
        })
        .collect()
}

/// Beside its certificate. Not there for an authority that `init` did not make.
fn key_of(anchor: &AnchorConfig) -> PathBuf {
    anchor.certificate.with_extension("key")
}

/// One authority of the set-up, with its key.
struct Authority {
    ca: Ca,
    key: PathBuf,
    list: PathBuf,
}

impl Authority {
    /// Every registered one whose key lies here.
    fn all(dir: &Path) -> Result<Vec<Self>, CliError> {
        let config = GatewayConfig::load(&dir.join("gateway.toml"))?;
        let ours = config.anchors.iter().filter(|anchor| key_of(anchor).exists());
        ours.map(Self::of).collect()
    }

    fn of(anchor: &AnchorConfig) -> Result<Self, CliError> {
        let key = key_of(anchor);
        let pem = zeroize::Zeroizing::new(files::read_text(&key)?);
        let ca = dev_ca::load_ca(&files::read_text(&anchor.certificate)?, &pem).map_err(CliError::plain)?;
        Ok(Self { ca, key, list: anchor.crl.clone() })
    }

    /// Whether its key signed the certificate, judged as of the certificate's own beginning.
    fn issued(&self, certificate: &CertificateDer<'_>, began: u64) -> bool {
        let Ok(own) = CertificateDer::from_pem_slice(self.ca.certificate_pem.as_bytes()) else {
            return false;
        };
        let (Ok(anchor), Ok(leaf)) =
            (webpki::anchor_from_trusted_cert(&own), webpki::EndEntityCert::try_from(certificate))
        else {
            return false;
        };
        let then = UnixTime::since_unix_epoch(std::time::Duration::from_secs(began));
        let (algorithms, usage) = (webpki::ALL_VERIFICATION_ALGS, webpki::KeyUsage::client_auth());
        leaf.verify_for_usage(algorithms, &[anchor], &[], then, usage, None, None).is_ok()
    }

    /// Issues the next list: what the last one named, and these serial numbers. Answers how many it names.
    fn next_list(&self, serials: &[Vec<u8>], now: Timestamp, days: i64) -> Result<usize, CliError> {
        // Of two at once the second waits: it must go on from the first one's list.
        let lock = std::fs::File::open(&self.key).map_err(CliError::file(&self.key))?;
        lock.lock().map_err(CliError::file(&self.key))?;
        let bad = || CliError::Plain(format!("{}: no revocation list", self.list.display()));
        let der =
            CertificateRevocationListDer::from_pem_slice(&files::read(&self.list)?).map_err(|_| bad())?;
        let (_, last) = CertificateRevocationList::from_der(&der).map_err(|_| bad())?;
        let number = last.crl_number().and_then(|number| u64::try_from(number).ok()).ok_or_else(bad)?;
        let mut revoked = Vec::new();
        for entry in last.iter_revoked_certificates() {
            let at = Timestamp::from_second(entry.revocation_date.timestamp()).map_err(|_| bad())?;
            revoked.push(Revoked { serial: entry.raw_serial().to_vec(), at });
        }
        for serial in serials {
            if !revoked.iter().any(|known| known.serial == *serial) {
                revoked.push(Revoked { serial: serial.clone(), at: now });
            }
        }
        let validity = Validity::days(now, days);
        let next = dev_ca::issue_crl(&self.ca, &revoked, number + 1, validity.not_before, validity.not_after)
            .map_err(CliError::plain)?;
        files::replace_public(&self.list, next)?;
        Ok(revoked.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{init_config, init_keys};

    const NOW: i64 = 1_795_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn made() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let keys = init_keys::make(dir.path(), at(NOW), &SystemEntropy).unwrap();
        init_config::write(dir.path(), 7443, None, at(NOW), &keys).unwrap();
        dir
    }

    /// Number of the list, when each serial number on it was taken back, and its next update.
    fn listed(dir: &Path, name: &str) -> (u64, Vec<i64>, i64) {
        let pem = files::read(&dir.join(format!("ca/{name}.crl"))).unwrap();
        let der = CertificateRevocationListDer::from_pem_slice(&pem).unwrap();
        let (_, list) = CertificateRevocationList::from_der(&der).unwrap();
        (
            u64::try_from(list.crl_number().unwrap()).unwrap(),
            list.iter_revoked_certificates().map(|entry| entry.revocation_date.timestamp()).collect(),
            list.next_update().unwrap().timestamp(),
        )
    }

    #[test]
    fn the_authorities_keys_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = made();
        let authorities = Authority::all(dir.path()).unwrap();
        assert_eq!(authorities.len(), 5);
        let keys = authorities.into_iter().map(|authority| authority.key);
        for key in keys.chain([dir.path().join("ca/server.key")]) {
            assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn each_list_goes_on_from_the_last() {
        let dir = made();
        let dir = dir.path();
        let of = |name: &str| dir.join(format!("keys/{name}/tls.pem"));
        let day = 86_400;
        let done = revoke(dir, &[of("xingyu"), of("auditor")], at(NOW + 5), 30).unwrap();
        assert_eq!(done.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(listed(dir, "xingyu"), (2, vec![NOW + 5], NOW + 5 + 30 * day));
        assert_eq!(listed(dir, "leting").0, 1, "an authority that took nothing back keeps its list");
        revoke(dir, &[of("xingyu"), of("support")], at(NOW + 9), 60).unwrap();
        assert_eq!(listed(dir, "xingyu"), (3, vec![NOW + 5], NOW + 9 + 60 * day));
        assert_eq!(listed(dir, "ppio").1, [NOW + 5, NOW + 9]);
    }

    #[test]
    fn a_stranger_among_them_changes_no_list() {
        let (dir, other) = (made(), made());
        let own = dir.path().join("keys/xingyu/tls.pem");
        let strange = other.path().join("keys/xingyu/tls.pem");
        assert!(revoke(dir.path(), &[own, strange], at(NOW), 30).is_err());
        assert_eq!(listed(dir.path(), "xingyu").0, 1);
    }

    #[test]
    fn a_name_is_issued_by_the_authority_that_may_vouch_for_it_or_not_at_all() {
        let dir = made();
        let out = dir.path().join("new");
        let name = |text: &str| text.parse::<SpiffeId>().unwrap();
        let issue =
            |text: &str| issue(dir.path(), &name(text), &out, Validity::days(at(NOW), 30), &SystemEntropy);
        for stranger in
            ["spiffe://ppio.example/controller/nobody/x", "spiffe://other.example/controller/xingyu/x"]
        {
            assert!(issue(stranger).is_err(), "{stranger}");
        }
        let (certificate, _) = issue("spiffe://ppio.example/controller/xingyu/second").unwrap();
        let authorities = Authority::all(dir.path()).unwrap();
        let der = CertificateDer::from_pem_slice(&files::read(&certificate).unwrap()).unwrap();
        let issuers: Vec<_> = authorities
            .iter()
            .filter(|authority| authority.issued(&der, u64::try_from(NOW).unwrap()))
            .map(|authority| authority.list.file_stem().unwrap().to_owned())
            .collect();
        assert_eq!(issuers, ["xingyu"]);
        let again = issue("spiffe://ppio.example/controller/xingyu/third");
        assert!(again.is_err(), "a key was overwritten");
    }
}
