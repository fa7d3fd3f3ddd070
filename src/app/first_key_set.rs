//! The operator registers a controller's first key set; and, after it lost its root, the one it begins anew with.

use crate::domain::event::{KeySetPublished, KeySetRegistered};
use crate::domain::{ControllerId, Reason, Refusal};
use crate::store::key_sets::{self as rows, KeySetRow};
use crate::store::registry::{claim_or_keep_thumbprint, claim_thumbprint};
use crate::store::{Command, Issued, StoreError, Tx};
use crate::token::{Digest, SignedKeySet};

use super::key_sets;
use super::registry::controller_exists;
use super::{App, AppResult};

impl App {
    /// Registers version 1 of a key set. `confirmed` is the digest read aloud over a second channel. `recovers` is that
    /// of the newest set of a chain whose root was lost: nothing admitted under it is begun any more, and agents
    /// obey the new one when their own operators have pinned it.
    pub async fn register_key_set(
        &self,
        by: String,
        bytes: &[u8],
        confirmed: &str,
        recovers: Option<String>,
    ) -> AppResult<(u64, String, Issued)> {
        let signed = SignedKeySet::read(bytes)?;
        let pin: Digest = confirmed
            .parse()
            .map_err(|_| Refusal::at(Reason::FieldInvalid, "confirmed_digest").note("base64url, 32 bytes"))?;
        let controller = signed.iss().clone();
        if recovers.is_some()
            && let Some(mut chain) = key_sets::load(&mut self.store.reader().await?, &controller).await?
            && chain.newest().digest() != signed.digest()
        {
            // Its keys keep the uses and signers that they had.
            chain.restart(u64::MAX, &pin, signed.clone())?;
        }
        let set = signed.genesis(&controller, &self.store.origins.trail(), &pin)?;
        if set.is_expired(self.clock.now_seconds()) {
            return Err(Reason::KeySetExpired.into());
        }
        let keys = set.keys().map(|(kid, key)| (kid.to_string(), key.usage.as_str())).collect();
        let (version, digest) = (set.version(), set.digest().to_string());
        let jws = String::from_utf8(set.bytes().to_vec())
            .map_err(|_| Refusal::at(Reason::KeySetMalformed, "key_set"))?;
        let command = RegisterKeySet {
            by,
            controller: controller.clone(),
            version,
            digest: digest.clone(),
            jws,
            keys,
            recovers,
        };
        let issued = self.register(command).await?;
        self.forget_key_set(&controller);
        Ok((version, digest, issued))
    }
}

struct RegisterKeySet {
    by: String,
    controller: ControllerId,
    version: u64,
    digest: String,
    jws: String,
    /// Thumbprint and use of each key.
    keys: Vec<(String, &'static str)>,
    /// Digest of the newest set before, whose root was lost.
    recovers: Option<String>,
}

#[async_trait::async_trait]
impl Command for RegisterKeySet {
    const NAME: &'static str = "register_key_set";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        let name = self.controller.resource_name();
        // The same set again gets the first answer.
        if rows::key_sets(tx.conn(), &self.controller).await?.iter().any(|row| row.digest == self.digest) {
            return Ok(Some(rows::key_set_leaf(tx.conn(), &self.controller, &self.digest).await?));
        }
        controller_exists(tx, &self.controller).await?;
        for (thumbprint, key_use) in &self.keys {
            match self.recovers {
                // What was not lost may go on.
                Some(_) => claim_or_keep_thumbprint(tx, thumbprint, key_use, &name).await?,
                None => claim_thumbprint(tx, thumbprint, key_use, &name).await?,
            }
        }
        let authority_index = tx.append_authority(
            &name,
            KeySetPublished { version: self.version, digest: self.digest.clone(), key_set: self.jws.clone() },
        )?;
        let leaf = tx.append(
            &name,
            KeySetRegistered {
                by: self.by.clone(),
                version: self.version,
                digest: self.digest.clone(),
                authority_index,
                recovers: self.recovers.clone(),
            },
        )?;
        let row = KeySetRow {
            controller: self.controller.clone(),
            version: self.version,
            digest: self.digest.clone(),
            jws: self.jws.clone(),
            authority_index,
        };
        rows::insert_key_set(tx, &row, self.recovers.as_deref(), leaf).await?;
        Ok(Some(leaf))
    }
}
