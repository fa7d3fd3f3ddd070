//! The keys of callers' certificates are keys, too: one use and one principal, for ever (decision 0021).
//!
//! The first call over a certificate whose key was never seen claims it for its principal. From then on it is
//! refused wherever else a key is registered, and a key that has another use or principal lets no call in. The
//! handshake has proven that the caller holds the key, so that nobody claims what is another's.
//!
//! The operator may name keys beside a registration: they are the principal's before anybody calls with them, so that
//! nobody who has seen one first puts it into a key set of his own (decision 0026).

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use crate::domain::event::TlsKeyRegistered;
use crate::domain::{Reason, Refusal};
use crate::store::{Command, Conn, StoreError, Tx, registry, tls_keys};
use crate::token::KeyId;

use super::{App, AppResult};

/// The use of a key, as the registry has it.
const USE: &str = "tls";
const HOUR: i64 = 3600;
/// Keys named with one registration.
const NAMED: usize = 16;

/// What the operator names with a registration. None or a few.
pub(super) struct NamedTlsKeys(BTreeSet<String>);

impl NamedTlsKeys {
    /// Their part of the call's payload: nothing where none is named.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Claims them for the principal, each with its leaf. One that is its TLS key already stays so; any that has another
    /// use or principal is `KEY_ALREADY_USED`.
    pub(super) async fn claim(&self, tx: &mut Tx<'_>, by: &str, principal: &str) -> Result<(), StoreError> {
        for thumbprint in &self.0 {
            match tls_keys::claim_of(tx.conn(), thumbprint).await? {
                None => claim(tx, thumbprint, by, principal).await?,
                Some((usage, owner)) if usage == USE && owner == principal => {}
                Some(_) => return Err(Refusal::at(Reason::KeyAlreadyUsed, "tls_keys").into()),
            }
        }
        Ok(())
    }
}

impl App {
    /// None of them the gateway's own, and not too many.
    pub(super) fn named_tls_keys(&self, keys: &[KeyId]) -> Result<NamedTlsKeys, Refusal> {
        if keys.len() > NAMED {
            return Err(Refusal::at(Reason::FieldInvalid, "tls_keys").note("at most 16"));
        }
        if keys.iter().any(|key| self.settings.own_keys.contains(key)) {
            return Err(Refusal::at(Reason::KeyAlreadyUsed, "tls_keys"));
        }
        Ok(NamedTlsKeys(keys.iter().map(ToString::to_string).collect()))
    }

    /// Whether the key is on record as a TLS key of this principal, a resource name. `TLS_KEY_USED_ELSEWHERE` where it
    /// is another's or has another use. Both are so for ever; that it is on record nowhere holds for a moment.
    pub async fn knows_tls_key(&self, key: &KeyId, principal: &str) -> AppResult<bool> {
        if self.settings.own_keys.contains(key) {
            return Err(Reason::TlsKeyUsedElsewhere.into());
        }
        is_known(&mut self.store.reader().await?, &key.to_string(), principal).await
    }

    /// Puts the key on record as this principal's, if it is not yet. `RATE_LIMITED` where the principal had as many
    /// new ones in this hour as it may: certificates cost their issuer nothing, and each is a leaf of all.
    pub async fn claim_tls_key(&self, key: &KeyId, principal: &str) -> AppResult<()> {
        let limit = self.settings.tls_keys_per_hour;
        let thumbprint = key.to_string();
        // Asked before, so that whoever is over it does not bother the writer, either.
        let now = self.clock.now_seconds();
        let mut reader = self.store.reader().await?;
        if let Err(refused) = check_room(&mut reader, principal, limit, now).await {
            // A call that came at the same time may have claimed this very key, and so taken the last room.
            return if is_known(&mut reader, &thumbprint, principal).await? { Ok(()) } else { Err(refused) };
        }
        drop(reader);
        let command = ClaimTlsKey { thumbprint, principal: principal.to_owned(), limit };
        self.store.transact(command).await?;
        Ok(())
    }
}

async fn is_known(conn: &mut Conn, thumbprint: &str, principal: &str) -> Result<bool, StoreError> {
    match tls_keys::claim_of(conn, thumbprint).await? {
        None => Ok(false),
        Some((usage, owner)) if usage == USE && owner == principal => Ok(true),
        // Whose, and for what, is nobody else's to know.
        Some(_) => Err(Reason::TlsKeyUsedElsewhere.into()),
    }
}

async fn check_room(conn: &mut Conn, principal: &str, limit: NonZeroU32, now: i64) -> Result<(), StoreError> {
    let lately = tls_keys::claimed_after(conn, principal, now.saturating_sub(HOUR)).await?;
    if lately < u64::from(limit.get()) {
        return Ok(());
    }
    let note = format!("new TLS keys: at most {limit} of one principal in an hour");
    Err(Refusal::new(Reason::RateLimited).note(note).into())
}

struct ClaimTlsKey {
    thumbprint: String,
    principal: String,
    limit: NonZeroU32,
}

#[async_trait::async_trait]
impl Command for ClaimTlsKey {
    const NAME: &'static str = "claim_tls_key";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        // Calls that came at once, here or at another gateway: one of them claims it.
        if is_known(tx.conn(), &self.thumbprint, &self.principal).await? {
            return Ok(());
        }
        let now = tx.now_seconds();
        check_room(tx.conn(), &self.principal, self.limit, now).await?;
        claim(tx, &self.thumbprint, &self.principal, &self.principal).await
    }
}

/// Of a key that has no use yet. `by`: who called with it, or the operator who named it.
async fn claim(tx: &mut Tx<'_>, thumbprint: &str, by: &str, principal: &str) -> Result<(), StoreError> {
    registry::claim_thumbprint(tx, thumbprint, USE, principal).await?;
    tls_keys::insert(tx, thumbprint, principal).await?;
    let event = TlsKeyRegistered { by: by.to_owned(), thumbprint: thumbprint.to_owned() };
    tx.append(principal, event)?;
    Ok(())
}
