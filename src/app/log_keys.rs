//! A log's key is replaced (DESIGN §7). While both sign, the old one vouches for the new one in the
//! authority log, which agents and verifiers replicate; then the old one is retired there. The trail tells
//! the same. So whoever pinned either of them follows, and nobody has to be asked.

use crate::authority::successions;
use crate::domain::event::{Event, LogKeyRetired, LogKeyVouched};
use crate::domain::{Reason, Refusal};
use crate::store::{Command, Log, StoreError, Tx, logs};
use crate::trail::{Succession, VerifierKey};

use super::{App, AppResult};

const VOUCHED: &str = "mandate.log_key.vouched";
const RETIRED: &str = "mandate.log_key.retired";

fn refused(note: &'static str) -> Refusal {
    Refusal::at(Reason::KeyUnsuitable, "log_keys").note(note)
}

impl App {
    fn origin_of(&self, log: Log) -> String {
        match log {
            Log::Trail => self.store.origins.trail(),
            Log::Authority => self.store.origins.authority(),
        }
    }

    /// The log's key in force vouches for the next one beside it. Answers whether that is new.
    pub async fn vouch_log_key(&self, by: &str, log: Log) -> AppResult<bool> {
        let keys = self.store.keys.of(log);
        let next = keys.next.as_ref().ok_or_else(|| refused("there is no next key"))?;
        let succession = Succession::sign(&keys.now, next)
            .map_err(|_| refused("the next key is no other key of this log"))?
            .to_string();
        let next = next.verifier_key().clone();
        let command = Vouch { by: by.to_owned(), origin: self.origin_of(log), next, succession };
        Ok(self.store.transact(command).await?.value)
    }

    /// The key that the one in force followed on signs no more. Answers its public half.
    pub async fn retire_log_key(&self, by: &str, log: Log) -> AppResult<VerifierKey> {
        let next = self.store.keys.of(log).verifier_key().clone();
        let command = Retire { by: by.to_owned(), origin: self.origin_of(log), next };
        Ok(self.store.transact(command).await?.value)
    }
}

/// In both logs: agents replicate the one, and nothing happens that the other does not tell (I2).
fn append(tx: &mut Tx<'_>, origin: &str, event: impl Into<Event>) -> Result<(), StoreError> {
    let event = event.into();
    tx.append_authority(origin, event.clone())?;
    tx.append(origin, event)?;
    Ok(())
}

async fn known(tx: &mut Tx<'_>) -> Result<Vec<Succession>, StoreError> {
    let leaves = logs::leaves_of_type(tx.conn(), Log::Authority, VOUCHED).await?;
    Ok(successions(leaves.iter().map(Vec::as_slice)))
}

struct Vouch {
    by: String,
    origin: String,
    next: VerifierKey,
    succession: String,
}

#[async_trait::async_trait]
impl Command for Vouch {
    const NAME: &'static str = "vouch_log_key";
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        if known(tx).await?.iter().any(|one| one.next == self.next) {
            return Ok(false);
        }
        append(tx, &self.origin, LogKeyVouched { by: self.by.clone(), succession: self.succession.clone() })?;
        Ok(true)
    }
}

struct Retire {
    by: String,
    origin: String,
    next: VerifierKey,
}

#[async_trait::async_trait]
impl Command for Retire {
    const NAME: &'static str = "retire_log_key";
    type Output = VerifierKey;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<VerifierKey, StoreError> {
        let followed = known(tx).await?.into_iter().find(|one| one.next == self.next);
        let former = followed.ok_or_else(|| refused("no key vouched for this one yet"))?.former;
        let vkey = former.to_string();
        let retired = logs::leaves_of_type(tx.conn(), Log::Authority, RETIRED).await?;
        // As after a crash before the key's file was moved: said once.
        let said = retired.iter().any(|leaf| {
            crate::trail::Leaf::parse(leaf)
                .is_ok_and(|leaf| leaf.data().get("vkey").and_then(|said| said.as_str()) == Some(&vkey))
        });
        if !said {
            append(tx, &self.origin, LogKeyRetired { by: self.by.clone(), vkey })?;
        }
        Ok(former)
    }
}
