//! Calls with a request id: a repeat gets the first answer and no second effect.

use crate::domain::{Reason, Refusal};
use crate::store::calls::{self, CallId, CallRow};
use crate::store::{Conn, StoreError};
use crate::token::Digest;
use crate::vault::{DataKey, KeyId, RetentionClass, Vault, VaultError, keyed_digest};

/// A request id: a UUID of any version, in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUuid(String);

impl RequestUuid {
    /// `None` for the empty text: the caller did not ask for idempotency.
    pub fn parse(text: &str) -> Result<Option<Self>, Refusal> {
        if text.is_empty() {
            return Ok(None);
        }
        match uuid::Uuid::try_parse(text) {
            Ok(id) if id.hyphenated().to_string() == text => Ok(Some(Self(text.to_owned()))),
            _ => Err(Refusal::at(Reason::FieldInvalid, "request_id").note("a lower-case hyphenated UUID")),
        }
    }

    pub fn required(text: &str) -> Result<Self, Refusal> {
        Self::parse(text)?.ok_or_else(|| Refusal::at(Reason::FieldRequired, "request_id"))
    }

    pub fn call(&self, principal: &str, method: &'static str) -> CallId {
        CallId { principal: principal.to_owned(), method, request_id: self.0.clone() }
    }
}

/// Digest of a payload without personal data.
pub fn plain_payload(parts: &[&str]) -> String {
    let mut framed = Vec::new();
    for part in parts {
        framed.extend_from_slice(&(part.len() as u64).to_be_bytes());
        framed.extend_from_slice(part.as_bytes());
    }
    Digest::of(framed).to_string()
}

/// Digest of a payload with personal data: dies with the data key.
pub fn personal_payload(key: &DataKey, payload: &[u8]) -> String {
    Digest::from_bytes(keyed_digest(key, "mandate/call/v1", payload)).to_string()
}

/// Whether the first call had the same payload. Once its data key is destroyed nobody can
/// tell, and the repeat gets the first answer.
pub async fn same_personal_payload(
    vault: &Vault,
    class: RetentionClass,
    row: &CallRow,
    payload: &[u8],
) -> Result<bool, StoreError> {
    let Some(id) = row.key_id.as_deref() else { return Ok(false) };
    let id: KeyId = id.parse().map_err(|_| StoreError::Corrupt("calls.key_id"))?;
    match vault.keyring().key(id, class).await {
        Ok(key) => Ok(personal_payload(&key, payload) == row.payload),
        Err(VaultError::Shredded) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// What to do with a call that carries a request id and no personal data.
pub enum Once {
    /// Not made before.
    First,
    /// Made before with the same payload: what it left.
    Again(CallRow),
}

/// Looks a call up; the same id with another payload is `REQUEST_ID_REUSED`.
pub async fn once(conn: &mut Conn, call: Option<&CallId>, payload: &str) -> Result<Once, StoreError> {
    let Some(call) = call else { return Ok(Once::First) };
    match calls::find(conn, call).await? {
        None => Ok(Once::First),
        Some(row) if row.payload == payload => Ok(Once::Again(row)),
        Some(_) => Err(Reason::RequestIdReused.into()),
    }
}
