//! A controller's key sets: the newest, and the next (DESIGN §6).
//!
//! What is remembered of a set may be a moment old: the writer compares it with the newest row before it
//! counts. The next set brings its own authority: whoever sends it, the root thresholds of both sets sign it.

use std::sync::Arc;

use crate::authority::KeySetChain;
use crate::authority::signers::check_still_signed;
use crate::domain::event::{KeySetPublished, KeySetRegistered};
use crate::domain::{ControllerId, Reason, Refusal};
use crate::store::instructions::InstructionRow;
use crate::store::key_sets::{self as rows, KeySetRow};
use crate::store::registry;
use crate::store::{Command, Conn, Issued, StoreError, Tx};
use crate::token::{Digest, Envelope, KeySet, SignedKeySet};

use super::{App, AppResult};

impl App {
    /// The controller's newest key set, parsed. May be a moment old: the writer compares.
    pub(super) async fn newest_key_set(&self, controller: &ControllerId) -> AppResult<Option<Arc<KeySet>>> {
        if let Some(cached) = self.key_sets.get(controller) {
            return Ok(Some(cached));
        }
        let Some(chain) = load(&mut self.store.reader().await?, controller).await? else {
            return Ok(None);
        };
        let set = Arc::new(chain.newest().clone());
        self.key_sets.insert(controller.clone(), Arc::clone(&set));
        Ok(Some(set))
    }

    /// Whether what is remembered of the controller's key set is behind; then it is forgotten.
    pub(super) async fn key_set_moved(&self, controller: &ControllerId) -> AppResult<bool> {
        let Some(known) = self.key_sets.get(controller) else { return Ok(false) };
        let heads = rows::key_set_heads(&mut self.store.reader().await?, &[controller].into()).await?;
        let moved = heads.get(controller).is_none_or(|(_, digest)| *digest != known.digest().to_string());
        if moved {
            self.forget_key_set(controller);
        }
        Ok(moved)
    }

    pub(super) fn forget_key_set(&self, controller: &ControllerId) {
        self.key_sets.invalidate(controller);
    }

    /// Puts the next version in force. Version, digest and the receipt of its leaf in the trail.
    pub async fn rotate_key_set(
        &self,
        controller: &ControllerId,
        bytes: &[u8],
    ) -> AppResult<(u64, String, Issued)> {
        let signed = SignedKeySet::read(bytes)?;
        if signed.iss() != controller {
            return Err(Refusal::at(Reason::KeySetIssuer, "key_set.iss").into());
        }
        signed.key_uses().try_for_each(|(key, _)| self.check_not_own(&key))?;
        let new = NewKeySet::of(&signed, bytes)?;
        let (version, digest) = (new.version, new.digest.clone());
        let mut conn = self.store.reader().await?;
        if let Some(leaf) = new.again(&mut conn).await? {
            return Ok((version, digest, self.store.receipt(leaf).await?));
        }
        let chain = load(&mut conn, controller).await?.ok_or_else(|| {
            Refusal::at(Reason::KeySetVersion, "key_set.version").note("the operator registers version 1")
        })?;
        drop(conn);
        let set = chain.successor(signed)?;
        // The set before may have expired (its root may still sign the next); this one may not have.
        if set.is_expired(self.clock.now_seconds()) {
            return Err(Reason::KeySetExpired.into());
        }
        let after = Some(chain.newest().digest().to_string());
        let committed = self.store.transact(Rotate { set: new, after, exp: set.exp() }).await?;
        self.forget_key_set(controller);
        let issued = match committed.receipt {
            Some(issued) => issued,
            None => self.store.receipt(committed.value).await?,
        };
        Ok((version, digest, issued))
    }
}

/// The controller's chain from its first set, every link checked again; none where it has no set.
pub(super) async fn load(
    conn: &mut Conn,
    controller: &ControllerId,
) -> Result<Option<KeySetChain>, StoreError> {
    let rows = rows::key_sets(conn, controller).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let corrupt = || StoreError::Corrupt("key_sets");
    let pin: Digest = first.digest.parse().map_err(|_| corrupt())?;
    // The operator has confirmed each of them over a second channel.
    let anew = rows[1..].iter().filter(|row| row.version == 1).map(|row| row.digest.parse());
    let anew: Vec<Digest> = anew.collect::<Result<_, _>>().map_err(|_| corrupt())?;
    let entries = rows.iter().map(|row| (row.authority_index, row.jws.as_bytes()));
    // It was registered for the trail, under an origin that this one has or had.
    let origin = SignedKeySet::read(first.jws.as_bytes()).map_err(|_| corrupt())?.aud().to_owned();
    KeySetChain::from_log(controller, &origin, &pin, &anew, entries).map(Some).map_err(|_| corrupt())
}

/// The controller's set that was the newest when this leaf of the trail was written: what the leaf tells of was judged
/// under it.
pub(super) async fn in_force_at(
    conn: &mut Conn,
    controller: &ControllerId,
    leaf: u64,
) -> Result<KeySet, StoreError> {
    let corrupt = || StoreError::Corrupt("key_sets");
    let index = rows::key_set_index_at(conn, controller, leaf).await?.ok_or_else(corrupt)?;
    let chain = load(conn, controller).await?.ok_or_else(corrupt)?;
    chain.newest_at(index + 1).cloned().ok_or_else(corrupt)
}

/// Before the first lease: every key that signed still has the act's role in the newest set.
pub(super) async fn check_signers_stand(
    conn: &mut Conn,
    instruction: &InstructionRow,
) -> Result<Result<(), Refusal>, StoreError> {
    let controller = &instruction.controller;
    let newest = rows::key_set_index(conn, controller).await?;
    if newest.is_none_or(|index| index < instruction.authority_size) {
        return Ok(Ok(()));
    }
    let chain = load(conn, controller).await?.ok_or(StoreError::Corrupt("key_sets"))?;
    if chain.restarted_since(instruction.authority_size) {
        return Ok(Err(Reason::KeySetRecovered.into()));
    }
    // A row that was edited is found when its order is opened.
    let Ok(envelope) = Envelope::read_signed_part(&instruction.signed_part) else { return Ok(Ok(())) };
    Ok(check_still_signed(instruction.act, envelope.kids(), chain.newest()))
}

/// A key set as it is published. Whoever publishes it has checked its signatures.
pub(super) struct NewKeySet {
    pub controller: ControllerId,
    pub version: u64,
    pub digest: String,
    pub jws: String,
    /// Thumbprint and use of each key.
    pub keys: Vec<(String, &'static str)>,
}

impl NewKeySet {
    /// `bytes` are those that were read.
    pub(super) fn of(signed: &SignedKeySet, bytes: &[u8]) -> Result<Self, Refusal> {
        Ok(Self {
            controller: signed.iss().clone(),
            version: signed.version(),
            digest: signed.digest().to_string(),
            jws: String::from_utf8(bytes.to_vec())
                .map_err(|_| Refusal::at(Reason::KeySetMalformed, "key_set"))?,
            keys: signed.key_uses().map(|(kid, usage)| (kid.to_string(), usage.as_str())).collect(),
        })
    }

    /// The leaf of the very same set, where it came before.
    pub(super) async fn again(&self, conn: &mut Conn) -> Result<Option<u64>, StoreError> {
        let rows = rows::key_sets(conn, &self.controller).await?;
        if rows.iter().any(|row| row.version == self.version && row.digest == self.digest) {
            return Ok(Some(rows::key_set_leaf(conn, &self.controller, &self.digest).await?));
        }
        Ok(None)
    }

    /// Writes it into both logs and its row, refused where another came in between; its leaf of the trail. Its keys
    /// were claimed. `after` is the digest of the set it follows, `recovers` that of one whose root was lost.
    pub(super) async fn publish(
        &self,
        tx: &mut Tx<'_>,
        by: &str,
        after: Option<&str>,
        recovers: Option<String>,
    ) -> Result<u64, StoreError> {
        let name = self.controller.resource_name();
        let (version, digest) = (self.version, self.digest.clone());
        let published = KeySetPublished { version, digest: digest.clone(), key_set: self.jws.clone() };
        let authority_index = tx.append_authority(&name, published)?;
        let by = by.to_owned();
        let registered = KeySetRegistered { by, version, digest: digest.clone(), authority_index, recovers };
        let leaf = tx.append(&name, registered)?;
        let (controller, jws) = (self.controller.clone(), self.jws.clone());
        let row = KeySetRow { controller, version, digest, jws, authority_index };
        rows::insert_key_set(tx, &row, after, leaf).await?;
        Ok(leaf)
    }
}

struct Rotate {
    set: NewKeySet,
    /// Digest of the set it was checked against.
    after: Option<String>,
    exp: i64,
}

#[async_trait::async_trait]
impl Command for Rotate {
    const NAME: &'static str = "rotate_key_set";
    /// The leaf of the trail that names it.
    type Output = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        if let Some(leaf) = self.set.again(tx.conn()).await? {
            return Ok(leaf);
        }
        if tx.now_seconds() >= self.exp {
            return Err(Reason::KeySetExpired.into());
        }
        let name = self.set.controller.resource_name();
        for (thumbprint, key_use) in &self.set.keys {
            registry::claim_or_keep_thumbprint(tx, thumbprint, key_use, &name).await?;
        }
        self.set.publish(tx, &name, self.after.as_deref(), None).await
    }
}
