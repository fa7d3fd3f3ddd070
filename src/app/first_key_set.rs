//! The operator registers a controller's first key set; and, after it lost its root, the one it begins anew with.

use crate::domain::{Reason, Refusal};
use crate::store::registry::{claim_or_keep_thumbprint, claim_thumbprint};
use crate::store::{Command, Issued, StoreError, Tx};
use crate::token::{Digest, SignedKeySet};

use super::key_sets::{self, NewKeySet};
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
        let set = signed.clone().genesis(&controller, &self.store.origins.trail(), &pin)?;
        if set.is_expired(self.clock.now_seconds()) {
            return Err(Reason::KeySetExpired.into());
        }
        signed.key_uses().try_for_each(|(key, _)| self.check_not_own(&key))?;
        let new = NewKeySet::of(&signed, bytes)?;
        let (version, digest) = (new.version, new.digest.clone());
        let command = RegisterKeySet { by, set: new, recovers };
        let issued = self.register(command).await?;
        self.forget_key_set(&controller);
        Ok((version, digest, issued))
    }
}

struct RegisterKeySet {
    by: String,
    set: NewKeySet,
    /// Digest of the newest set before, whose root was lost.
    recovers: Option<String>,
}

#[async_trait::async_trait]
impl Command for RegisterKeySet {
    const NAME: &'static str = "register_key_set";
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, StoreError> {
        // The same set again gets the first answer.
        if let Some(leaf) = self.set.again(tx.conn()).await? {
            return Ok(Some(leaf));
        }
        controller_exists(tx, &self.set.controller).await?;
        let name = self.set.controller.resource_name();
        for (thumbprint, key_use) in &self.set.keys {
            match self.recovers {
                // What was not lost may go on.
                Some(_) => claim_or_keep_thumbprint(tx, thumbprint, key_use, &name).await?,
                None => claim_thumbprint(tx, thumbprint, key_use, &name).await?,
            }
        }
        let after = self.recovers.as_deref();
        Ok(Some(self.set.publish(tx, &self.by, after, self.recovers.clone()).await?))
    }
}
