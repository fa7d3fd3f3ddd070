//! A certificate authority for development, demo and tests.
//!
//! It follows the profiles of `certs/README.md`, so that what runs with its
//! certificates runs with those of a real authority. Keys lie unencrypted:
//! never use it where data of real people is.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    RevokedCertParams, SanType, SerialNumber,
};
use time::OffsetDateTime;

use crate::domain::{Entropy, Timestamp};

#[derive(Debug, thiserror::Error)]
pub enum DevCaError {
    #[error("cannot make the certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot make the key")]
    Key,
    #[error("the instant lies beyond the calendar of X.509")]
    Instant,
}

/// From when to when, both in seconds' precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    /// From an hour before `now`, against clocks that go slow, for `days` days.
    pub fn days(now: Timestamp, days: i64) -> Self {
        let shifted = |seconds: i64| {
            Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
        };
        Self { not_before: shifted(-3600), not_after: shifted(days.saturating_mul(86_400)) }
    }
}

/// A certificate and its PKCS#8 private key, both PEM.
pub struct Issued {
    pub certificate_pem: String,
    pub key_pem: String,
    /// The serial number's bytes, for [`issue_crl`].
    pub serial: Vec<u8>,
}

/// A certificate authority that can issue.
pub struct Ca {
    pub certificate_pem: String,
    pub key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A self-signed P-256 authority with room for no further authority below it.
pub fn issue_ca(name: &str, validity: Validity, entropy: &dyn Entropy) -> Result<Ca, DevCaError> {
    let mut params = params(name, validity, entropy)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate_pem = params.self_signed(&key)?.pem();
    let key_pem = key.serialize_pem();
    Ok(Ca { certificate_pem, key_pem, issuer: Issuer::new(params, key) })
}

/// Takes an authority up again from its files.
pub fn load_ca(certificate_pem: &str, key_pem: &str) -> Result<Ca, DevCaError> {
    let issuer = Issuer::from_ca_cert_pem(certificate_pem, KeyPair::from_pem(key_pem)?)?;
    Ok(Ca { certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned(), issuer })
}

/// A server certificate for DNS names and IP addresses.
pub fn issue_server(
    ca: &Ca,
    names: &[&str],
    validity: Validity,
    entropy: &dyn Entropy,
) -> Result<Issued, DevCaError> {
    let mut params = params(names.first().copied().unwrap_or("gateway"), validity, entropy)?;
    params.subject_alt_names = alternative_names(names)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue(ca, params)
}

/// A certificate of a workload that serves and calls: DNS names or addresses, and its one URI.
pub fn issue_workload(
    ca: &Ca,
    uri: &str,
    names: &[&str],
    validity: Validity,
    entropy: &dyn Entropy,
) -> Result<Issued, DevCaError> {
    let mut params = params("workload", validity, entropy)?;
    params.subject_alt_names = alternative_names(names)?;
    params.subject_alt_names.push(SanType::URI(uri.try_into()?));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    issue(ca, params)
}

fn alternative_names(names: &[&str]) -> Result<Vec<SanType>, DevCaError> {
    let name = |name: &&str| {
        Ok(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into()?),
        })
    };
    names.iter().map(name).collect()
}

/// A client certificate with exactly the URIs given: one, unless it is meant to be refused.
pub fn issue_client(
    ca: &Ca,
    uris: &[&str],
    validity: Validity,
    entropy: &dyn Entropy,
) -> Result<Issued, DevCaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    issue_client_for(ca, &key.serialize_pem(), uris, validity, entropy)
}

/// The same for a key that is there already, PKCS#8 in PEM.
pub fn issue_client_for(
    ca: &Ca,
    key_pem: &str,
    uris: &[&str],
    validity: Validity,
    entropy: &dyn Entropy,
) -> Result<Issued, DevCaError> {
    let mut params = params("client", validity, entropy)?;
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue_for(ca, params, &KeyPair::from_pem(key_pem)?)
}

/// A certificate that its authority took back, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    pub serial: Vec<u8>,
    pub at: Timestamp,
}

/// A full revocation list (RFC 5280 §5), PEM. `number` grows with every list.
pub fn issue_crl(
    ca: &Ca,
    revoked: &[Revoked],
    number: u64,
    this_update: Timestamp,
    next_update: Timestamp,
) -> Result<String, DevCaError> {
    let revoked_certs = revoked
        .iter()
        .map(|revoked| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&revoked.serial),
                revocation_time: instant(revoked.at)?,
                reason_code: None,
                invalidity_date: None,
            })
        })
        .collect::<Result<_, DevCaError>>()?;
    let list = CertificateRevocationListParams {
        this_update: instant(this_update)?,
        next_update: instant(next_update)?,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(&ca.issuer)?.pem()?)
}

/// An Ed25519 access key: PKCS#8 version 1 in PEM, the form that every tool reads.
pub fn issue_access_key() -> Result<String, DevCaError> {
    let key = Ed25519KeyPair::generate().map_err(|_| DevCaError::Key)?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(|_| DevCaError::Key)?;
    let text = zeroize::Zeroizing::new(STANDARD.encode(der.as_ref()));
    // 48 bytes of DER make exactly one line of 64 characters (RFC 7468 §2).
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", text.as_str()))
}

fn issue(ca: &Ca, params: CertificateParams) -> Result<Issued, DevCaError> {
    issue_for(ca, params, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn issue_for(ca: &Ca, mut params: CertificateParams, key: &KeyPair) -> Result<Issued, DevCaError> {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let serial = params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default();
    let certificate_pem = params.signed_by(key, &ca.issuer)?.pem();
    Ok(Issued { certificate_pem, key_pem: key.serialize_pem(), serial })
}

/// What all profiles share: a plain name, the validity, a random serial number.
fn params(name: &str, validity: Validity, entropy: &dyn Entropy) -> Result<CertificateParams, DevCaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = instant(validity.not_before)?;
    params.not_after = instant(validity.not_after)?;
    // RFC 5280 §4.1.2.2: positive, at most 20 bytes. The first byte stays within 1..=127.
    let mut serial = entropy.array::<16>();
    serial[0] = (serial[0] & 0x7f) | 1;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn instant(at: Timestamp) -> Result<OffsetDateTime, DevCaError> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| DevCaError::Instant)
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate, parse_x509_pem};

    use super::*;
    use crate::domain::clock::SystemEntropy;

    const NOW: i64 = 1_795_000_000;

    fn validity() -> Validity {
        Validity::days(Timestamp::from_second(NOW).unwrap(), 30)
    }

    fn der(pem: &str) -> Vec<u8> {
        parse_x509_pem(pem.as_bytes()).unwrap().1.contents
    }

    #[test]
    fn an_authority_taken_up_again_issues_what_the_first_would_have() {
        let first = issue_ca("xingyu ca", validity(), &SystemEntropy).unwrap();
        let again = load_ca(&first.certificate_pem, &first.key_pem).unwrap();
        let uri = "spiffe://ppio.example/controller/xingyu/backend";
        let issued = issue_client(&again, &[uri], validity(), &SystemEntropy).unwrap();
        let (ca, leaf) = (der(&first.certificate_pem), der(&issued.certificate_pem));
        let (_, ca) = X509Certificate::from_der(&ca).unwrap();
        let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
        assert_eq!(leaf.issuer(), ca.subject());
        assert_eq!(leaf.raw_serial(), issued.serial);
        assert_eq!(leaf.validity().not_before.timestamp(), NOW - 3600);
        assert_eq!(leaf.validity().not_after.timestamp(), NOW + 30 * 86_400);
        assert!(!leaf.is_ca() && ca.is_ca());
    }

    #[test]
    fn no_two_certificates_share_a_serial_number() {
        let ca = issue_ca("ca", validity(), &SystemEntropy).unwrap();
        let serial = || issue_client(&ca, &[], validity(), &SystemEntropy).unwrap().serial;
        let (one, two) = (serial(), serial());
        assert_ne!(one, two);
        assert!((1..=127).contains(&one[0]) && one.len() == 16, "a serial number is positive and short");
    }

    #[test]
    fn an_access_key_is_one_that_a_client_can_mint_with() {
        let pem = issue_access_key().unwrap();
        assert!(pem.lines().all(|line| line.len() <= 64));
        assert!(crate::identity::TokenSigner::from_pkcs8_pem(pem.as_bytes()).is_ok());
        assert_ne!(pem, issue_access_key().unwrap());
    }
}
