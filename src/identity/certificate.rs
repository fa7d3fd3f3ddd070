//! Client certificates: the check inside the handshake, and the names in a leaf.
//!
//! The handshake refuses a bad *chain* with the fitting TLS alert; the exact
//! reason goes to a [`RefusalSink`], because a TLS 1.3 client only learns "no".
//! A bad *name* finishes the handshake and is answered in gRPC (see [`PeerIdentity`]).

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::material::Materials;
use super::spiffe::SpiffeId;
use super::tls_key;
use crate::domain::{Clock, Reason, Refusal, Timestamp};
use crate::token::KeyId;

/// A peer whose certificate chains, is not revoked, and names one entitled principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub spiffe: SpiffeId,
    /// SHA-256 of the DER certificate: `x5t#S256` of RFC 8705 §3.1, before base64url.
    pub certificate_sha256: [u8; 32],
    /// Of the certificate's key, which the handshake has proven to be the peer's.
    pub key: KeyId,
    pub not_after: Timestamp,
    /// The serial number in lower-case hex, to find the certificate at its issuer.
    pub serial: String,
}

/// What a finished handshake knows of its peer. The refusal answers every call
/// on the connection.
pub type PeerIdentity = Result<Peer, Refusal>;

/// Who hears of handshakes that were refused. The refusal holds no personal data.
pub trait RefusalSink: Send + Sync {
    fn refused(&self, refusal: &Refusal);

    /// An open connection was closed: its certificate is no longer good.
    fn closed(&self, refusal: &Refusal);
}

/// Writes a warning for the operator.
pub struct LogRefusals;

impl RefusalSink for LogRefusals {
    fn refused(&self, refusal: &Refusal) {
        tracing::warn!(reason = refusal.reason.code(), "handshake refused: {}", refusal.reason.what());
    }

    fn closed(&self, refusal: &Refusal) {
        tracing::warn!(reason = refusal.reason.code(), "connection closed: {}", refusal.reason.what());
    }
}

/// Parses a leaf strictly and holds it against the client profile: no bytes
/// after it; extended key usage is there and has clientAuth (the general rule
/// would take its absence for "any"); key usage, if present, has
/// digitalSignature (RFC 8446 §4.4.2.2).
pub(super) fn parse_leaf<'a>(leaf: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refusal> {
    let unusable = |note| Refusal::new(Reason::CertificateUnusable).note(note);
    let (rest, parsed) =
        X509Certificate::from_der(leaf).map_err(|_| unusable("the certificate does not parse"))?;
    if !rest.is_empty() {
        return Err(unusable("bytes follow the certificate"));
    }
    let usage = parsed.key_usage().map_err(|_| unusable("the key usage does not parse"))?;
    if usage.is_some_and(|usage| !usage.value.digital_signature()) {
        return Err(unusable("key usage lacks digitalSignature"));
    }
    let purposes = parsed
        .extended_key_usage()
        .map_err(|_| unusable("the extended key usage does not parse"))?
        .ok_or_else(|| unusable("no extended key usage"))?;
    if !purposes.value.client_auth {
        return Err(unusable("extended key usage lacks clientAuth"));
    }
    Ok(parsed)
}

/// Reads the names of a leaf: exactly one URI, and that a SPIFFE id.
///
/// Other kinds of names (DNS) may stand beside it and mean nothing.
pub fn read_names(leaf: &CertificateDer<'_>) -> PeerIdentity {
    let parsed = parse_leaf(leaf)?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| Refusal::new(Reason::CertificateUnusable).note("the alternative names do not parse"))?
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    // A URI that is no text still counts as one: it must not hide behind a good one.
    let uris: Vec<Option<&str>> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(Some(*uri)),
            GeneralName::Invalid(tag, _) if tag.0 == 6 => Some(None),
            _ => None,
        })
        .collect();
    let uri = match uris.as_slice() {
        [] => return Err(Reason::SpiffeIdMissing.into()),
        [uri] => uri.ok_or(Reason::SpiffeIdMalformed)?,
        _ => return Err(Reason::SpiffeIdAmbiguous.into()),
    };
    let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp())
        .map_err(|_| Refusal::new(Reason::CertificateUnusable).note("the end lies beyond the calendar"))?;
    Ok(Peer {
        spiffe: uri.parse()?,
        certificate_sha256: sha256(leaf),
        key: tls_key::thumbprint(&parsed)?,
        not_after,
        serial: hex::encode(parsed.raw_serial()),
    })
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// The verifier inside the handshake: a certificate is mandatory, its chain must be good.
pub(super) struct ClientVerifier {
    materials: Materials,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn RefusalSink>,
    provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    pub(super) fn new(
        materials: Materials,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn RefusalSink>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self { materials, clock, sink, provider }
    }
}

impl std::fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientVerifier({:?})", self.materials)
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// None: a hint lists every enterprise's CA to whoever knocks, and
    /// enterprises do not learn of each other.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// The time is the gateway's own clock, the same that judges tokens.
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.materials.current().anchors.check_chain(leaf, others, self.clock.now()) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => {
                self.sink.refused(&refusal);
                Err(alert_for(refusal.reason).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// rustls turns these into the alerts of RFC 8446 §6.2: `certificate_expired`,
/// `certificate_revoked`, `unsupported_certificate`, else `unknown_ca`.
fn alert_for(reason: Reason) -> CertificateError {
    match reason {
        Reason::CertificateExpired => CertificateError::Expired,
        Reason::CertificateNotYetValid => CertificateError::NotValidYet,
        Reason::CertificateRevoked => CertificateError::Revoked,
        Reason::CertificateUnusable => CertificateError::InvalidPurpose,
        Reason::RevocationListStale => CertificateError::UnknownRevocationStatus,
        _ => CertificateError::UnknownIssuer,
    }
}
