//! Access tokens: RFC 9068 in shape, RFC 8725 in practice, RFC 8705 in binding.
//!
//! The order of the checks is fixed, because a caller gets the first reason:
//! form, `typ`, `alg`, key, signature, `iss`, `sub`, the principal, `aud`, the
//! times, the binding. Nothing of the claims is read before the signature holds.
//! `alg` only ever has to agree with the registered key; it selects nothing.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moka::sync::Cache;
use serde::Deserialize;

use super::access_key::{AccessKey, AccessKeys, is_accepted};
use super::certificate::{Peer, sha256};
use super::material::Materials;
use super::mint::is_scope;
use super::principal::Caller;
use super::spiffe::SpiffeId;
use crate::domain::{Clock, Reason, Refusal, Timestamp};
use crate::token::access::MAX_TOKEN_LIFETIME;

/// RFC 9068 §2.1.
pub const TOKEN_TYPE: &str = "at+jwt";
/// `exp - iat`, seconds.
pub const LIFETIME: RangeInclusive<i64> = 1..=MAX_TOKEN_LIFETIME;
/// How far two clocks may be apart, seconds.
pub const LEEWAY: i64 = 30;
/// The longest token, bytes.
pub const MAX_TOKEN: usize = 8 * 1024;
/// How many verified tokens are remembered.
const CACHED: u64 = 10_000;
/// Of a `jti`, bytes.
const MAX_JTI: usize = 128;
/// Of an RFC 7638 thumbprint with SHA-256, in base64url.
const KID_LENGTH: usize = 43;

/// Takes the token from the values of all `authorization` headers of a call
/// (RFC 6750 §2.1). Exactly one header may be there.
pub fn bearer<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<&'a str, Refusal> {
    let value = values.next().ok_or(Reason::TokenMissing)?;
    if values.next().is_some() {
        return Err(malformed("more than one authorization header"));
    }
    let value = std::str::from_utf8(value).map_err(|_| malformed("not ASCII"))?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start_matches(' ')),
        _ => Err(Reason::TokenMissing.into()),
    }
}

/// Exactly these members. `alg` and `typ` are optional here so that their
/// absence gets the same reason as a wrong value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
}

/// Other claims are allowed and mean nothing (RFC 7519 §4).
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
    jti: String,
    scope: String,
    client_id: Option<String>,
    cnf: Option<Confirmation>,
}

/// RFC 8705 §3.1.
#[derive(Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

/// Token and certificate: a remembered token counts on its own connection only.
type CacheKey = ([u8; 32], [u8; 32]);

struct Verified {
    caller: Arc<Caller>,
    expires: i64,
    generation: Generation,
}

/// Of the registered keys, and of the certificates and lists in force.
type Generation = (u64, u64);

/// Verifies access tokens for one audience, and remembers the good ones.
pub struct AccessTokens {
    audience: String,
    keys: Arc<dyn AccessKeys>,
    clock: Arc<dyn Clock>,
    materials: Option<Materials>,
    cache: Cache<CacheKey, Arc<Verified>>,
}

impl AccessTokens {
    pub fn new(audience: impl Into<String>, keys: Arc<dyn AccessKeys>, clock: Arc<dyn Clock>) -> Self {
        // Bounded in number; the time only frees memory early, every hit is checked by the clock.
        let longest = Duration::from_secs(LIFETIME.end().unsigned_abs() + 2 * LEEWAY.unsigned_abs());
        let cache = Cache::builder().max_capacity(CACHED).time_to_live(longest).build();
        Self { audience: audience.into(), keys, clock, materials: None, cache }
    }

    /// Forgets what was verified whenever other certificates and lists are put in force.
    pub fn under(mut self, materials: Materials) -> Self {
        self.materials = Some(materials);
        self
    }

    /// Who calls, proven twice: by the certificate of the connection and by the token.
    pub async fn verify(&self, token: &str, peer: &Peer) -> Result<Arc<Caller>, Refusal> {
        let now = self.clock.now_seconds();
        // A connection may outlive its certificate; a call on it does not.
        if now > peer.not_after.as_second() {
            return Err(Reason::CertificateExpired.into());
        }
        if token.len() > MAX_TOKEN {
            return Err(malformed("longer than 8192 bytes"));
        }
        // Read before the key is looked up: a key withdrawn in between makes the entry stale.
        let generation = (self.keys.generation(), self.materials.as_ref().map_or(0, Materials::generation));
        let cache_key = (sha256(token.as_bytes()), peer.certificate_sha256);
        if let Some(hit) = self.cache.get(&cache_key) {
            if hit.generation == generation && hit.caller.principal == *peer.spiffe.principal() {
                return if now > hit.expires + LEEWAY {
                    self.cache.invalidate(&cache_key);
                    Err(Reason::TokenExpired.into())
                } else {
                    Ok(hit.caller.clone())
                };
            }
            self.cache.invalidate(&cache_key);
        }
        let (caller, expires) = self.verify_afresh(token, peer, now).await?;
        let caller = Arc::new(caller);
        self.cache.insert(cache_key, Arc::new(Verified { caller: caller.clone(), expires, generation }));
        Ok(caller)
    }

    async fn verify_afresh(&self, token: &str, peer: &Peer, now: i64) -> Result<(Caller, i64), Refusal> {
        let mut dots = token.match_indices('.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(malformed("not three parts"));
        };
        let (header, payload) = (&token[..first], &token[first + 1..second]);
        let (signing_input, signature) = (&token[..second], &token[second + 1..]);
        let key = self.key_of(&decode(header, "header")?).await?;
        // The alphabet and the one spelling of the signature; an empty one fails below.
        URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| malformed("the signature is not canonical base64url"))?;
        if !key.verifies(signing_input, signature) {
            return Err(Reason::TokenSignature.into());
        }
        let claims: Claims = decode(payload, "claims")?;
        self.check_principal(&claims, &key, peer)?;
        if claims.aud != self.audience {
            return Err(Reason::TokenAudience.into());
        }
        check_times(&claims, now)?;
        check_binding(&claims, peer)?;
        if claims.jti.is_empty() || claims.jti.len() > MAX_JTI {
            return Err(malformed("jti is 1 to 128 bytes"));
        }
        let caller = Caller {
            principal: peer.spiffe.principal().clone(),
            scopes: scopes(&claims.scope)?,
            token_expires_at: Timestamp::from_second(claims.exp).map_err(|_| Reason::TokenLifetime)?,
            access_key: key.kid().to_owned(),
            certificate_sha256: peer.certificate_sha256,
        };
        Ok((caller, claims.exp))
    }

    async fn key_of(&self, header: &Header) -> Result<AccessKey, Refusal> {
        if header.typ.as_deref() != Some(TOKEN_TYPE) {
            return Err(Reason::TokenType.into());
        }
        let alg = header.alg.as_deref().unwrap_or_default();
        // `none`, HS256 and whatever else is refused before any key is looked at.
        if !is_accepted(alg) {
            return Err(Reason::TokenAlgorithm.into());
        }
        let kid = header.kid.as_deref().ok_or_else(|| malformed("the header has no kid"))?;
        if kid.len() != KID_LENGTH {
            return Err(Reason::TokenKeyUnknown.into());
        }
        let key = self.keys.access_key(kid).await?.ok_or(Reason::TokenKeyUnknown)?;
        if !key.goes_by(alg) {
            return Err(Reason::TokenAlgorithm.into());
        }
        Ok(key)
    }

    /// Key, `iss`, `sub` and certificate: all four name the same principal.
    fn check_principal(&self, claims: &Claims, key: &AccessKey, peer: &Peer) -> Result<(), Refusal> {
        if claims.iss != key.owner() || claims.client_id.as_ref().is_some_and(|id| *id != claims.iss) {
            return Err(Reason::TokenIssuer.into());
        }
        let sub: SpiffeId = claims.sub.parse().map_err(|_| Reason::TokenSubject)?;
        if sub != peer.spiffe || key.owner() != sub.principal().resource_name() {
            return Err(Reason::PrincipalMismatch.into());
        }
        Ok(())
    }
}

fn malformed(note: &'static str) -> Refusal {
    Refusal::new(Reason::TokenMalformed).note(note)
}

/// Canonical base64url of one JSON object, members once each.
fn decode<T: serde::de::DeserializeOwned>(part: &str, what: &'static str) -> Result<T, Refusal> {
    let bad = || Refusal::at(Reason::TokenMalformed, what);
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| bad())?;
    serde_json::from_slice(&bytes).map_err(|_| bad())
}

fn check_times(claims: &Claims, now: i64) -> Result<(), Refusal> {
    let lifetime = claims.exp.checked_sub(claims.iat).ok_or(Reason::TokenLifetime)?;
    if !LIFETIME.contains(&lifetime) {
        return Err(Reason::TokenLifetime.into());
    }
    if now > claims.exp.saturating_add(LEEWAY) {
        return Err(Reason::TokenExpired.into());
    }
    let begins = claims.nbf.map_or(claims.iat, |nbf| nbf.max(claims.iat));
    if begins > now.saturating_add(LEEWAY) {
        return Err(Reason::TokenNotYetValid.into());
    }
    Ok(())
}

/// A thumbprint is no secret, so an ordinary comparison will do.
fn check_binding(claims: &Claims, peer: &Peer) -> Result<(), Refusal> {
    let stated = claims.cnf.as_ref().and_then(|cnf| cnf.x5t_s256.as_deref());
    if stated != Some(URL_SAFE_NO_PAD.encode(peer.certificate_sha256).as_str()) {
        return Err(Reason::TokenBinding.into());
    }
    Ok(())
}

/// RFC 6749 §3.3: one space between; an empty text is no scope at all.
fn scopes(text: &str) -> Result<BTreeSet<String>, Refusal> {
    if text.is_empty() {
        return Ok(BTreeSet::new());
    }
    text.split(' ')
        .map(|scope| {
            if is_scope(scope) { Ok(scope.to_owned()) } else { Err(malformed("scope is no list of scopes")) }
        })
        .collect()
}
