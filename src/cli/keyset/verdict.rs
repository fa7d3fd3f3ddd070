//! What a gateway would say of a key set, as far as files show it. Where they do not, that is said: who signs must not
//! take silence for a judgement.

use super::file::{KeySetFile, Listed};
use super::show::signers;
use crate::authority::KeySetChain;
use crate::cli::CliError;
use crate::domain::{Reason, Refusal};
use crate::token::SignedKeySet;

/// The versions before, the last of them last.
pub fn in_order(mut before: Vec<KeySetFile>) -> Vec<KeySetFile> {
    // None is read without a version.
    before.sort_by_key(|set| set.version().ok());
    before
}

/// Refused where no signature could help: nobody need be asked to sign it.
pub fn before_signing(set: &KeySetFile, before: &[KeySetFile], now: i64) -> Result<(), CliError> {
    if let Some(previous) = before.last() {
        set.check_follows(previous)?;
    }
    check_kept(set, before)?;
    if set.seconds("exp").is_some_and(|exp| exp <= now) {
        return Err(CliError::Refusal(Reason::KeySetExpired.into()));
    }
    Ok(())
}

/// A key keeps its use and its signer for ever, also over versions in which it was not listed. (The chain says so, too,
/// but only of a set that all have signed.)
fn check_kept(set: &KeySetFile, before: &[KeySetFile]) -> Result<(), CliError> {
    let listed = set.keys()?;
    for earlier in before {
        for was in earlier.keys()? {
            let moved = |is: &Listed<'_>| is.signer != was.signer || is.usage != was.usage;
            if listed.iter().any(|is| is.kid == was.kid && moved(is)) {
                let refusal = Refusal::at(Reason::KeySetMalformed, "key_set.keys");
                return Err(refusal
                    .note("a key changed its use or its signer; make a new key instead")
                    .into());
            }
        }
    }
    Ok(())
}

/// A line for each threshold that is not met, for what is good, and for what was not judged. Refused as a gateway would
/// refuse it, whatever signatures are still to come.
pub fn verdict(set: &KeySetFile, before: &[KeySetFile], now: i64) -> Result<Vec<String>, CliError> {
    before_signing(set, before, now)?;
    let (version, previous) = (set.version()?, before.last());
    let mut lines = missing(set, previous)?;
    if version > 1 && previous.is_none() {
        if lines.is_empty() {
            lines.push("its own root threshold is met".to_owned());
        }
        lines.push(format!(
            "NOT JUDGED: whether it follows version {}, and whether that version's root has signed; give it with --previous",
            version - 1
        ));
        return Ok(lines);
    }
    // A signature that does not verify, or by a key of neither set, spoils all the others.
    let all_proven = set.proven_signers(previous)?.len() == set.signers()?.len();
    if lines.is_empty() || !all_proven {
        judge(set, before)?;
        lines.push(good(before)?);
    }
    lines.extend(unjudged(before)?);
    Ok(lines)
}

/// Whose signatures are still missing.
fn missing(set: &KeySetFile, previous: Option<&KeySetFile>) -> Result<Vec<String>, CliError> {
    let signed = set.proven_signers(previous)?;
    let mut lines = Vec::new();
    for (which, of) in [("its own", Some(set)), ("the previous version's", previous)] {
        let Some(of) = of else { continue };
        let keys = of.keys()?;
        for (role, kids, threshold) in of.roles().into_iter().filter(|(role, ..)| *role == "root") {
            let have: Vec<&str> =
                kids.iter().copied().filter(|kid| signed.iter().any(|one| one == kid)).collect();
            let count = signers(&keys, &have).len() as u64;
            if count < threshold {
                let rest = &signers(&keys, &kids) - &signers(&keys, &have);
                let names: Vec<&str> = rest.into_iter().collect();
                lines.push(format!(
                    "{which} {role} threshold: {count} of {threshold}; may sign: {}",
                    names.join(", ")
                ));
            }
        }
    }
    Ok(lines)
}

/// By the rule that gateway, agent and verifier apply.
fn judge(set: &KeySetFile, before: &[KeySetFile]) -> Result<(), CliError> {
    let signed = set.signed()?;
    let Some(previous) = before.last() else {
        let (iss, aud, pin) = (signed.iss().clone(), signed.aud().to_owned(), signed.digest());
        signed.genesis(&iss, &aud, &pin)?;
        return Ok(());
    };
    match chain(before)? {
        Some(chain) => chain.successor(signed).map(drop)?,
        None => signed.would_succeed(&previous.signed()?)?,
    }
    Ok(())
}

/// From version 1 on, where all of it is given. Its thumbprint is taken as it is: who knows the pin compares.
fn chain(before: &[KeySetFile]) -> Result<Option<KeySetChain>, CliError> {
    let mut sets = before.iter().map(KeySetFile::signed);
    let Some(first) = sets.next().filter(|_| is_chain(before)).transpose()? else {
        return Ok(None);
    };
    let (iss, aud, pin) = (first.iss().clone(), first.aud().to_owned(), first.digest());
    let mut chain = KeySetChain::begin(&iss, [aud.as_str()], &pin, 0, first)?;
    for (index, set) in (1..).zip(sets) {
        chain.append(index, set?)?;
    }
    Ok(Some(chain))
}

/// Whether all from version 1 on are given, each once.
fn is_chain(before: &[KeySetFile]) -> bool {
    (1..).zip(before).all(|(version, set)| set.version().is_ok_and(|is| is == version))
}

fn good(before: &[KeySetFile]) -> Result<String, CliError> {
    let Some(previous) = before.last() else {
        return Ok("good as a first version, under its thumbprint".to_owned());
    };
    if is_chain(before) {
        return Ok("good: both root thresholds are met, and it follows the previous version".to_owned());
    }
    let version = previous.version()?;
    Ok(format!("both root thresholds are met, and it would follow version {version}, if that is in force"))
}

/// What these files cannot show.
fn unjudged(before: &[KeySetFile]) -> Result<Vec<String>, CliError> {
    const ELSEWHERE: &str = "whether a key has another use at the gateway (KEY_ALREADY_USED)";
    let (Some(first), Some(previous)) = (before.first(), before.last()) else {
        return Ok(vec![format!("not judged: {ELSEWHERE}")]);
    };
    let version = previous.version()?;
    let chain = if is_chain(before) {
        format!("judged from version 1 on, whose thumbprint is {}: compare it with your pin", first.digest())
    } else {
        format!(
            "NOT JUDGED: whether version {version} itself is good, and whether a key had another signer or use before it; give \
             each from version 1 on with --previous"
        )
    };
    Ok(vec![chain, format!("not judged: whether version {version} is still the newest, and {ELSEWHERE}")])
}

impl KeySetFile {
    fn signed(&self) -> Result<SignedKeySet, CliError> {
        Ok(SignedKeySet::read(self.text().as_bytes())?)
    }
}
