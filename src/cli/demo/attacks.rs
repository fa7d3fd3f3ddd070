//! Seven things that somebody could try, each tried for real and refused.

use tonic::Request;

use super::super::client::Profile;
use super::super::{CliError, files};
use super::enterprise::{Enterprise, reason_of};
use crate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use crate::domain::{Act, Basis, Clock, Identifier, InstructionId};
use crate::grpc::v1;
use crate::identity::{ClientTls, ClientTlsConfig};
use crate::token::access::{Confirmation, MAX_TOKEN_LIFETIME};
use crate::token::{AccessClaims, Digest, KeyKind, PrivateKey};

/// What was tried, and the reason it was refused with.
pub struct Refused {
    pub tried: &'static str,
    pub reason: String,
}

fn refused(tried: &'static str, reason: String) -> Refused {
    Refused { tried, reason }
}

/// `victim`'s instruction `done` was carried out before; `attacker` is another enterprise.
pub async fn on_instructions(
    attacker: &Enterprise,
    victim: &Enterprise,
    user: &str,
    done: &str,
) -> Result<Vec<Refused>, CliError> {
    let mut results = Vec::new();
    let own = |enterprise: &Enterprise| vec![Identifier::user(&enterprise.app, user)];

    let mut foreign = attacker.order(Act::Erase, own(victim), None)?;
    foreign.app = victim.app.clone();
    let reason = attacker.refused(&attacker.sign(&foreign)?.to_wire()).await?;
    results.push(refused("another enterprise's user is ordered erased", reason));

    let fresh = victim.sign(&victim.order(Act::Erase, own(victim), None)?)?.to_wire();
    let reason = victim.refused(&tampered(&fresh)?).await?;
    results.push(refused("a word of a signed instruction is changed", reason));

    let two = vec![Identifier::user(&victim.app, user), Identifier::Opaque { id: "device-7f31c2".into() }];
    let whole = victim.sign(&victim.order(Act::Erase, two, None)?)?.to_wire();
    let reason = victim.refused(&without_last_disclosure(&whole)?).await?;
    results.push(refused("a disclosure is withheld", reason));

    // The very same bytes again get the first answer and have no effect; their id on other words is refused.
    let jti = jti_of(victim, done)?;
    let mut replayed = victim.order(Act::Erase, own(victim), None)?;
    replayed.jti = jti;
    replayed.basis = Basis::ControllerDecision;
    let reason = victim.refused(&victim.sign(&replayed)?.to_wire()).await?;
    results.push(refused("a used-up instruction id is played again", reason));

    let reason = stolen_token(attacker, victim).await?;
    results.push(refused("a stolen access token is used from another machine", reason));

    let stranger = PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy)?;
    let order = victim.order(Act::Erase, own(victim), None)?;
    let reason = victim.refused(&order.sign(&[&stranger], &SystemEntropy)?.to_wire()).await?;
    results.push(refused("a key that is not in the key set signs", reason));
    Ok(results)
}

/// Changes one letter inside the payload.
fn tampered(wire: &str) -> Result<String, CliError> {
    let dot = wire.find('.').ok_or_else(|| CliError::plain("not compact"))?;
    let at = dot + 20;
    let mut bytes = wire.as_bytes().to_vec();
    let letter = bytes.get_mut(at).ok_or_else(|| CliError::plain("not compact"))?;
    *letter = if *letter == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).map_err(CliError::plain)
}

fn without_last_disclosure(wire: &str) -> Result<String, CliError> {
    let cut = wire.trim_end_matches('~').rfind('~').ok_or_else(|| CliError::plain("no disclosure"))?;
    Ok(wire[..=cut].to_owned())
}

fn jti_of(enterprise: &Enterprise, wire: &str) -> Result<InstructionId, CliError> {
    let payload = wire.split('.').nth(1).ok_or_else(|| CliError::plain("not compact"))?;
    let bytes = crate::token::base64url::decode(payload).map_err(CliError::plain)?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(CliError::plain)?;
    let jti = value["jti"].as_str().ok_or_else(|| CliError::plain("no jti"))?;
    jti.parse().map_err(|_| CliError::Plain(format!("no instruction id of {}", enterprise.id)))
}

/// The victim's token, bound to the victim's certificate, over the attacker's connection.
async fn stolen_token(attacker: &Enterprise, victim: &Enterprise) -> Result<String, CliError> {
    let theirs = &victim.client.profile;
    let certificate = tls(theirs)?;
    let key = PrivateKey::from_jwk(&zeroize::Zeroizing::new(files::read(&theirs.access_key)?))?;
    let now = SystemClock.now_seconds();
    let token = AccessClaims {
        iss: theirs.principal.clone(),
        sub: theirs.spiffe_id.clone(),
        aud: theirs.audience.clone(),
        iat: now,
        exp: now + MAX_TOKEN_LIFETIME,
        jti: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
        scope: theirs.scopes.join(" "),
        cnf: Confirmation { certificate: Digest::from_bytes(*certificate.certificate_sha256()) },
    }
    .mint(&key)?;
    let mine = &attacker.client.profile;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{}", mine.gateway))
        .map_err(CliError::plain)?;
    let channel = tls(mine)?.connect(&endpoint).await.map_err(CliError::Connect)?;
    let mut client = v1::request_service_client::RequestServiceClient::new(channel);
    let mut request = Request::new(v1::ListRequestsRequest::default());
    let header = format!("Bearer {token}").parse().map_err(|_| CliError::plain("no header value"))?;
    request.metadata_mut().insert("authorization", header);
    match client.list_requests(request).await {
        Ok(_) => Err(CliError::plain("the stolen token was accepted")),
        Err(status) => reason_of(&status),
    }
}

fn tls(profile: &Profile) -> Result<ClientTls, CliError> {
    let files = ClientTlsConfig {
        ca: profile.ca.clone(),
        certificate: profile.certificate.clone(),
        key: profile.key.clone(),
        server_name: Some(profile.server_name.clone()),
    };
    Ok(ClientTls::load(&files, std::sync::Arc::new(SystemClock))?)
}

/// A mail in the name of an enterprise that orders an erasure and carries a token: RFC 5322 bytes.
pub fn instructing_mail(wire: &str) -> Vec<u8> {
    format!(
        "From: legal@xinghe.example\r\nTo: feedback@ppio.example\r\nSubject: Instruction\r\n\
         Date: Mon, 23 Nov 2026 12:00:00 +0800\r\nMessage-ID: <order@xinghe.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         We are the controller of 星语直播. Delete all data of user u_8839201 at once.\r\n\
         Our signed instruction:\r\n\r\n{wire}\r\n"
    )
    .into_bytes()
}
