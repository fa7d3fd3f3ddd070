//! The keys and certificates that `mandate init` makes, each in its file.

use std::collections::BTreeMap;
use std::path::Path;

use age::secrecy::ExposeSecret;

use super::CliError;
use super::dev_ca::{self, Ca, Validity};
use super::files::{write_public, write_secret};
use super::sample_registry::{AGENT, GATEWAY, PRINCIPALS, gateway_spiffe_id};
use super::serve::freshness_name;
use crate::domain::{Act, ControllerId, Entropy, Kind, Timestamp};
use crate::token::{Digest, KeyEntryDraft, KeyKind, KeySetDraft, KeyUse, PrivateKey, SetRole, base64url};
use crate::trail::{CosigningKey, SigningKey};
use crate::vault::EpochKeys;

/// Days that certificates, revocation lists and key sets last.
pub const DAYS: i64 = 365;

/// What others need to know of what was made.
pub struct MadeKeys {
    /// C2SP vkeys.
    pub trail: String,
    pub authority: String,
    pub freshness: String,
    /// The agent's public JWK.
    pub report_key: String,
    /// Controller and digest of its key set version 1.
    pub key_sets: Vec<(&'static str, String)>,
}

/// Makes everything below `keys/` and `ca/`.
pub fn make(dir: &Path, now: Timestamp, entropy: &dyn Entropy) -> Result<MadeKeys, CliError> {
    certificates(dir, now, entropy)?;
    let keys = dir.join("keys");
    for principal in PRINCIPALS {
        let key = PrivateKey::generate(KeyKind::Ed25519, entropy)?;
        let folder = keys.join(principal.name);
        write_secret(&folder.join("access.jwk"), key.to_jwk())?;
        write_public(&folder.join("access.pub.jwk"), key.public().canonical())?;
    }
    let mut key_sets = Vec::new();
    for principal in PRINCIPALS.iter().filter(|p| p.kind == Kind::Controller) {
        let id = principal.id.parse().map_err(CliError::plain)?;
        let digest = controller(&keys.join(principal.name), id, now.as_second(), entropy)?;
        key_sets.push((principal.id, digest.to_string()));
    }
    let report = PrivateKey::generate(KeyKind::Ed25519, entropy)?;
    write_secret(&keys.join(AGENT).join("report.jwk"), report.to_jwk())?;
    for owner in [AGENT, "gateway"] {
        EpochKeys::create(&keys.join(owner).join("epoch"), 1, entropy).map_err(CliError::plain)?;
    }
    let seed = |name: &str| -> Result<[u8; 32], CliError> {
        let seed = entropy.array::<32>();
        write_secret(&keys.join("gateway").join(name), format!("{}\n", base64url::encode(seed)))?;
        Ok(seed)
    };
    let (trail, authority, freshness) = (seed("trail.key")?, seed("authority.key")?, seed("freshness.key")?);
    let log = |name: &str, seed: &[u8; 32]| {
        let key = SigningKey::from_seed(&format!("{GATEWAY}/{name}"), seed).map_err(CliError::plain)?;
        Ok::<_, CliError>(key.verifier_key().to_string())
    };
    let cosigner = CosigningKey::from_seed(&freshness_name(GATEWAY), &freshness).map_err(CliError::plain)?;
    Ok(MadeKeys {
        trail: log("trail", &trail)?,
        authority: log("authority", &authority)?,
        freshness: cosigner.verifier_key().to_string(),
        report_key: report.public().canonical(),
        key_sets,
    })
}

/// One authority for PPIO, one for each enterprise, one for the server. Their keys lie beside them, for
/// `mandate certificate`: in earnest no authority's key lies on the gateway's machine.
fn certificates(dir: &Path, now: Timestamp, entropy: &dyn Entropy) -> Result<(), CliError> {
    let validity = Validity::days(now, DAYS);
    let (keys, ca) = (dir.join("keys"), dir.join("ca"));
    let server_ca = dev_ca::issue_ca("mandate server ca", validity, entropy).map_err(CliError::plain)?;
    write_public(&ca.join("server.pem"), &server_ca.certificate_pem)?;
    write_secret(&ca.join("server.key"), &server_ca.key_pem)?;
    let server = dev_ca::issue_server(&server_ca, &[GATEWAY, "localhost", "127.0.0.1"], validity, entropy)
        .map_err(CliError::plain)?;
    write_public(&keys.join("gateway/tls.pem"), server.certificate_pem)?;
    write_secret(&keys.join("gateway/tls.key"), server.key_pem)?;

    let mut anchors: BTreeMap<&str, Ca> = BTreeMap::new();
    for principal in PRINCIPALS {
        let name = principal.anchor();
        if !anchors.contains_key(name) {
            let anchor =
                dev_ca::issue_ca(&format!("{name} ca"), validity, entropy).map_err(CliError::plain)?;
            let list = dev_ca::issue_crl(&anchor, &[], 1, validity.not_before, validity.not_after)
                .map_err(CliError::plain)?;
            write_public(&ca.join(format!("{name}.pem")), &anchor.certificate_pem)?;
            write_secret(&ca.join(format!("{name}.key")), &anchor.key_pem)?;
            write_public(&ca.join(format!("{name}.crl")), list)?;
            anchors.insert(name, anchor);
        }
        let issued = dev_ca::issue_client(&anchors[name], &[&principal.spiffe_id()], validity, entropy)
            .map_err(CliError::plain)?;
        let folder = keys.join(principal.name);
        write_public(&folder.join("tls.pem"), issued.certificate_pem)?;
        write_secret(&folder.join("tls.key"), issued.key_pem)?;
    }
    // With it the gateway calls its witnesses.
    let calling = dev_ca::issue_client(&anchors["ppio"], &[&gateway_spiffe_id()], validity, entropy)
        .map_err(CliError::plain)?;
    write_public(&keys.join("gateway/calling.pem"), calling.certificate_pem)?;
    write_secret(&keys.join("gateway/calling.key"), calling.key_pem)
}

/// Root key, instruction key, signed key set version 1 and export identity. Xingyu has two
/// signers, either of whom suffices.
fn controller(folder: &Path, iss: ControllerId, now: i64, entropy: &dyn Entropy) -> Result<Digest, CliError> {
    let root = PrivateKey::generate(KeyKind::Ed25519, entropy)?;
    write_secret(&folder.join("root.jwk"), root.to_jwk())?;
    let entry = |key: &PrivateKey, signer: &str, usage| KeyEntryDraft {
        jwk: key.public().clone(),
        signer: signer.to_owned(),
        usage,
    };
    let mut keys = vec![entry(&root, "board", KeyUse::Root)];
    let mut signers = vec![("instruction.jwk", "privacy-office-1")];
    if iss.as_str() == "xingyu" {
        signers.push(("instruction-2.jwk", "privacy-office-2"));
    }
    let mut kids = Vec::new();
    for (file, signer) in signers {
        let key = PrivateKey::generate(KeyKind::Ed25519, entropy)?;
        write_secret(&folder.join(file), key.to_jwk())?;
        kids.push(key.id());
        keys.push(entry(&key, signer, KeyUse::Instruction));
    }
    let acts = [Act::Preview, Act::Erase, Act::Export, Act::ReturnAndErase, Act::Revoke];
    let mut roles = vec![(SetRole::Root, vec![root.id()], 1)];
    roles.extend(acts.map(|act| (SetRole::Act(act), kids.clone(), 1)));
    let aud = format!("{GATEWAY}/trail");
    let draft =
        KeySetDraft { iss, aud, version: 1, prev: None, iat: now, exp: now + DAYS * 86_400, keys, roles };
    let bytes = draft.sign(&[&root])?;
    write_public(&folder.join("keyset.json"), &bytes)?;

    let identity = age::x25519::Identity::generate();
    let text = format!("# public key: {}\n{}\n", identity.to_public(), identity.to_string().expose_secret());
    write_secret(&folder.join("export.age"), text)?;
    Ok(crate::token::SignedKeySet::read(&bytes)?.digest())
}
