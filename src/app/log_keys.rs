//! A log's key is replaced (DESIGN §7). While both sign, the old one vouches for the new one in the
//! authority log, which agents and verifiers replicate; then the old one is retired there. The trail tells
//! the same. So whoever pinned either of them follows, and nobody has to be asked.

use crate::authority::{log_event, successions};
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

    /// The key in force alone signs from here on: neither the one it followed on, nor one that was vouched for
    /// beside it and lost before it was used. Answers the public halves that are retired now.
    pub async fn retire_log_keys(&self, by: &str, log: Log) -> AppResult<Vec<VerifierKey>> {
        let in_force = self.store.keys.of(log).verifier_key().clone();
        let command = Retire { by: by.to_owned(), origin: self.origin_of(log), in_force };
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

async fn retired(tx: &mut Tx<'_>) -> Result<Vec<VerifierKey>, StoreError> {
    let leaves = logs::leaves_of_type(tx.conn(), Log::Authority, RETIRED).await?;
    let key = |leaf: &Vec<u8>| match log_event(leaf) {
        Some(Event::LogKeyRetired(retired)) => VerifierKey::parse(&retired.vkey).ok(),
        _ => None,
    };
    Ok(leaves.iter().filter_map(key).collect())
}

/// Which keys of the log the one in force leaves behind: all but itself and those it vouched for, one through
/// the other. `known` are the log's successions, in order.
fn left_behind(known: &[Succession], in_force: &VerifierKey) -> Vec<VerifierKey> {
    let mut after = vec![in_force];
    for one in known {
        if after.contains(&&one.former) {
            after.push(&one.next);
        }
    }
    let mut behind: Vec<VerifierKey> = Vec::new();
    for key in known.iter().flat_map(|one| [&one.former, &one.next]) {
        if !after.contains(&key) && !behind.contains(key) {
            behind.push(key.clone());
        }
    }
    behind
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
        if retired(tx).await?.contains(&self.next) {
            return Err(refused("the next key is one that signs no more: remove its file").into());
        }
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
    in_force: VerifierKey,
}

#[async_trait::async_trait]
impl Command for Retire {
    const NAME: &'static str = "retire_log_keys";
    type Output = Vec<VerifierKey>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<VerifierKey>, StoreError> {
        let mut known = known(tx).await?;
        known.retain(|one| one.origin == self.origin);
        if !known.iter().any(|one| one.next == self.in_force) {
            return Err(refused("no key vouched for this one yet").into());
        }
        let said = retired(tx).await?;
        if said.contains(&self.in_force) {
            return Err(refused("this key is one that signs no more").into());
        }
        // None is left where this was cut off before the key's file was moved: each is said once.
        let mut behind = left_behind(&known, &self.in_force);
        behind.retain(|key| !said.contains(key));
        for key in &behind {
            append(tx, &self.origin, LogKeyRetired { by: self.by.clone(), vkey: key.to_string() })?;
        }
        Ok(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::SigningKey;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("gateway.example/trail", &[seed; 32]).unwrap()
    }

    fn behind(known: &[(u8, u8)], in_force: u8) -> Vec<VerifierKey> {
        let one = |(former, next): &(u8, u8)| {
            Succession::read(&Succession::sign(&key(*former), &key(*next)).unwrap().to_string()).unwrap()
        };
        let known: Vec<Succession> = known.iter().map(one).collect();
        left_behind(&known, key(in_force).verifier_key())
    }

    #[test]
    fn every_key_is_left_behind_but_the_one_in_force_and_its_own_next() {
        for (known, in_force, expected) in [
            (&[(1, 2)][..], 2, &[1][..]),
            // 2 was lost before it was used.
            (&[(1, 2), (1, 3)], 3, &[1, 2]),
            (&[(1, 2), (2, 3)], 3, &[1, 2]),
            // Another gateway has begun with the next one: it is not this command's.
            (&[(1, 2), (2, 3), (3, 4)], 2, &[1]),
            (&[(1, 2), (1, 3), (3, 4)], 3, &[1, 2]),
        ] {
            let expected: Vec<_> = expected.iter().map(|n| key(*n).verifier_key().clone()).collect();
            assert_eq!(behind(known, in_force), expected, "{known:?}, in force {in_force}");
        }
    }
}
