//! Trust anchors, and for whom each may vouch.
//!
//! An enterprise runs its own certificate authority. It may name its own
//! workloads and nobody else: a chain that is perfectly valid but names a kind
//! or id its anchor was not registered for is `ANCHOR_NOT_ENTITLED`. So every
//! anchor is tried alone, never as one pool.

use std::path::PathBuf;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::{Deserialize, Serialize};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{PeerIdentity, parse_leaf, read_names};
use super::principal::PrincipalId;
use super::revocation::RevocationLists;
use super::setup::{SetupError, read};
use super::spiffe::is_trust_domain;
use super::tls_key;
use crate::domain::{Kind, Reason, Refusal, Timestamp};
use crate::token::KeyId;

/// The most certificates a client may send beside its own.
const MAX_INTERMEDIATES: usize = 4;

/// One registered anchor, as it stands in the gateway's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorConfig {
    /// PEM file with exactly one CA certificate.
    pub certificate: PathBuf,
    /// PEM file with the anchor's revocation list, and those of its intermediates.
    pub crl: PathBuf,
    /// The kinds of principal it may vouch for; at least one.
    pub kinds: Vec<Kind>,
    /// The bare ids it may vouch for. Empty or `["*"]`: every id of these kinds,
    /// which is refused where `controller` is among them.
    #[serde(default)]
    pub ids: Vec<String>,
}

struct Anchor {
    root: TrustAnchor<'static>,
    /// Of its key, where it has one.
    thumbprint: Option<KeyId>,
    lists: RevocationLists,
    not_before: i64,
    not_after: i64,
    /// How many intermediates may stand below it, if it says so.
    reach: Option<u32>,
    kinds: Vec<Kind>,
    /// Empty means every id.
    ids: Vec<String>,
}

impl Anchor {
    fn load(config: &AnchorConfig) -> Result<Self, SetupError> {
        let bad = |rule| SetupError::file(&config.certificate, rule);
        let pem = read(&config.certificate)?;
        let certificates = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| bad("not a PEM file"))?;
        let [certificate] = certificates.as_slice() else {
            return Err(bad("an anchor is exactly one certificate"));
        };
        let root = webpki::anchor_from_trusted_cert(certificate)
            .map_err(|_| bad("no certificate that can be an anchor"))?
            .to_owned();
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| bad("no X.509 certificate (RFC 5280)"))?;
        let basic = parsed
            .basic_constraints()
            .ok()
            .flatten()
            .filter(|basic| basic.value.ca)
            .ok_or_else(|| bad("not a CA certificate (basicConstraints CA:TRUE)"))?;
        check_entitlement(config)?;
        Ok(Self {
            root,
            thumbprint: tls_key::thumbprint(&parsed).ok(),
            lists: RevocationLists::load(&config.crl)?,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            reach: basic.value.path_len_constraint,
            kinds: config.kinds.clone(),
            ids: config.ids.iter().filter(|id| *id != "*").cloned().collect(),
        })
    }

    fn may_vouch_for(&self, id: &PrincipalId) -> bool {
        self.kinds.contains(&id.kind()) && (self.ids.is_empty() || self.ids.iter().any(|i| i == id.as_str()))
    }

    /// Whether the chain leads to this anchor and is good now, revocation included.
    fn check(
        &self,
        leaf: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Reason> {
        let intermediates = self
            .lists
            .with_options(|revocation| {
                leaf.verify_for_usage(
                    webpki::ALL_VERIFICATION_ALGS,
                    std::slice::from_ref(&self.root),
                    others,
                    now,
                    KeyUsage::client_auth(),
                    Some(revocation),
                    None,
                )
                .map(|path| path.intermediate_certificates().count())
            })
            .map_err(reason_of)?;
        // webpki takes an anchor as a bare key; its certificate has an end and a reach.
        if self.reach.is_some_and(|reach| u32::try_from(intermediates).unwrap_or(u32::MAX) > reach) {
            return Err(Reason::CertificateUnusable);
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match now {
            now if now < self.not_before => Err(Reason::CertificateNotYetValid),
            now if now > self.not_after => Err(Reason::CertificateExpired),
            _ => Ok(()),
        }
    }
}

/// A controller's anchor names its controllers one by one: a wildcard would let
/// one enterprise speak as another.
fn check_entitlement(config: &AnchorConfig) -> Result<(), SetupError> {
    let bad = |field, rule| Err(SetupError::Field { field, rule });
    if config.kinds.is_empty() {
        return bad("anchors.kinds", "an anchor vouches for at least one kind");
    }
    let wildcard = config.ids.is_empty() || config.ids == ["*"];
    if wildcard && config.kinds.contains(&Kind::Controller) {
        return bad("anchors.ids", "an anchor of controllers lists their ids one by one");
    }
    let named = config.kinds.iter().flat_map(|kind| config.ids.iter().map(move |id| (*kind, id)));
    if !wildcard && named.into_iter().any(|(kind, id)| PrincipalId::new(kind, id).is_err()) {
        return bad("anchors.ids", "each is the bare id of a principal, or the list is [\"*\"] alone");
    }
    Ok(())
}

/// All registered anchors of one trust domain.
pub struct Anchors {
    trust_domain: String,
    anchors: Vec<Anchor>,
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Anchors({} of {})", self.anchors.len(), self.trust_domain)
    }
}

impl Anchors {
    /// Reads every file the configuration names. One CA may stand in two entries;
    /// what it may vouch for then adds up.
    pub fn load(trust_domain: &str, configs: &[AnchorConfig]) -> Result<Self, SetupError> {
        if !is_trust_domain(trust_domain) {
            return Err(SetupError::Field {
                field: "trust_domain",
                rule: "1 to 255 of a-z, 0-9, '.', '-' and '_'",
            });
        }
        if configs.is_empty() {
            return Err(SetupError::Field { field: "anchors", rule: "at least one anchor is needed" });
        }
        let anchors = configs.iter().map(Anchor::load).collect::<Result<_, _>>()?;
        Ok(Self { trust_domain: trust_domain.to_owned(), anchors })
    }

    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Thumbprints of the anchors' own keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = KeyId> {
        self.anchors.iter().filter_map(|anchor| anchor.thumbprint)
    }

    /// Whether the chain is good at all. What is wrong with the names in the
    /// leaf is not asked here: see [`Anchors::identify`].
    pub fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.vouching(leaf, others, now).map(|_| ())
    }

    /// Who the peer is: the chain, the one SPIFFE URI, and an anchor of this
    /// chain that may vouch for it.
    pub fn identify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> PeerIdentity {
        self.judge(leaf, others, now).0
    }

    /// The same, and the second at which time alone may change the verdict. None: never, or the
    /// chain is bad already.
    pub(super) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> (PeerIdentity, Option<i64>) {
        match self.vouching(leaf, others, now) {
            Err(refusal) => (Err(refusal), None),
            Ok(vouching) => {
                let until = next_end(leaf, others, &vouching, now.as_second());
                (self.name(leaf, &vouching), until)
            }
        }
    }

    /// Reads the name in the leaf of a good chain.
    fn name(&self, leaf: &CertificateDer<'_>, vouching: &[&Anchor]) -> PeerIdentity {
        let peer = read_names(leaf)?;
        if peer.spiffe.trust_domain() != self.trust_domain {
            return Err(Refusal::new(Reason::SpiffeIdMalformed).note("the trust domain is another"));
        }
        if !vouching.iter().any(|anchor| anchor.may_vouch_for(peer.spiffe.principal().id())) {
            return Err(Reason::AnchorNotEntitled.into());
        }
        Ok(peer)
    }

    /// The anchors the chain leads to, at least one; or the most telling reason.
    fn vouching(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Vec<&Anchor>, Refusal> {
        if others.len() > MAX_INTERMEDIATES {
            return Err(Refusal::new(Reason::CertificateUnusable).note("more than 4 intermediates"));
        }
        parse_leaf(leaf)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| Reason::CertificateUnusable)?;
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let mut vouching = Vec::new();
        let mut worst = Reason::CertificateUntrusted;
        for anchor in &self.anchors {
            match anchor.check(&leaf, others, now) {
                Ok(()) => vouching.push(anchor),
                Err(reason) if weight(reason) > weight(worst) => worst = reason,
                Err(_) => {}
            }
        }
        // A certificate that one anchor has taken back is dead, whoever else leads to it.
        if vouching.is_empty() || worst == Reason::CertificateRevoked {
            return Err(worst.into());
        }
        Ok(vouching)
    }
}

/// The first second after `now` at which something the chain rests on ends: a certificate is good
/// up to its last second (RFC 5280 §4.1.2.5), a list up to the one before its next update.
fn next_end(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    vouching: &[&Anchor],
    now: i64,
) -> Option<i64> {
    let shown = std::iter::once(leaf).chain(others).filter_map(|certificate| {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(parsed.validity().not_after.timestamp().saturating_add(1))
    });
    let anchors = vouching.iter().flat_map(|anchor| {
        anchor.lists.next_updates().chain(std::iter::once(anchor.not_after.saturating_add(1)))
    });
    shown.chain(anchors).filter(|end| *end > now).min()
}

/// Which reason tells the operator most, when each anchor gives its own.
fn weight(reason: Reason) -> u8 {
    match reason {
        Reason::CertificateRevoked => 5,
        Reason::RevocationListStale => 4,
        Reason::CertificateExpired | Reason::CertificateNotYetValid => 3,
        Reason::CertificateUnusable => 2,
        _ => 1,
    }
}

fn reason_of(error: webpki::Error) -> Reason {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => Reason::CertificateUntrusted,
        E::CertExpired { .. } => Reason::CertificateExpired,
        E::CertNotValidYet { .. } => Reason::CertificateNotYetValid,
        E::CertRevoked => Reason::CertificateRevoked,
        E::CrlExpired { .. }
        | E::UnknownRevocationStatus
        | E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => Reason::RevocationListStale,
        // Everything else is a property of the certificate: its uses, its depth, its encoding.
        _ => Reason::CertificateUnusable,
    }
}
