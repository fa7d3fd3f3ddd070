//! A key set for people: who may do what, whose signature is missing, and thumbprints to read aloud.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::file::{KeySetFile, Listed};
use crate::cli::CliError;
use crate::domain::{Reason, Refusal, Timestamp};
use crate::token::SignedKeySet;

/// Hex in groups of four: no capitals to tell apart, no hyphens to say.
pub fn aloud(bytes: &[u8; 32]) -> String {
    let groups: Vec<String> = bytes.chunks(2).map(hex::encode).collect();
    groups.join(" ")
}

pub fn day(seconds: Option<i64>) -> String {
    let at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "–".to_owned(), |at| at.to_string())
}

/// The signers behind thumbprints, each once.
pub fn signers<'a>(keys: &[Listed<'a>], kids: &[&str]) -> BTreeSet<&'a str> {
    keys.iter().filter(|key| kids.contains(&key.kid.as_str())).map(|key| key.signer).collect()
}

pub fn show(set: &KeySetFile, previous: Option<&KeySetFile>, now: i64) -> Result<String, CliError> {
    let mut out = String::new();
    let keys = set.keys()?;
    let digest = set.digest();
    // Writing into a String cannot fail.
    let _ = writeln!(out, "key set     {}, version {}", set.word("iss"), set.version()?);
    let _ = writeln!(out, "for         {}", set.word("aud"));
    let _ = writeln!(out, "made        {}", day(set.seconds("iat")));
    let over = if set.seconds("exp").is_some_and(|exp| exp <= now) { "  IT IS OVER" } else { "" };
    let _ = writeln!(out, "ends        {}{over}", day(set.seconds("exp")));
    let follows = if set.word("prev").is_empty() { "nothing: it is the first" } else { set.word("prev") };
    let _ = writeln!(out, "follows     {follows}");
    let _ = writeln!(out, "thumbprint  {digest}\n            {}", aloud(digest.as_bytes()));
    let _ = writeln!(out, "keys");
    for key in &keys {
        let alg = key.jwk.algorithm().header_name();
        let _ = writeln!(out, "  {:<12}{:<24}{alg:<7}{}", key.usage, key.signer, key.kid);
        let _ = writeln!(out, "  {:<12}{}", "", aloud(key.jwk.thumbprint().as_bytes()));
    }
    let _ = writeln!(out, "roles");
    for (role, kids, threshold) in set.roles() {
        let signers = signers(&keys, &kids);
        let names: Vec<&str> = signers.iter().copied().collect();
        let _ = writeln!(out, "  {role:<18}{threshold} of {}: {}", signers.len(), names.join(", "));
    }
    if let Some(policy) = set.payload.get("policy") {
        let _ = writeln!(out, "policy      {policy}");
    }
    let _ = writeln!(out, "signatures");
    let known: Vec<Listed<'_>> =
        keys.into_iter().chain(previous.map(KeySetFile::keys).transpose()?.unwrap_or_default()).collect();
    let proven = set.proven_signers(previous)?;
    for kid in set.signers()? {
        let signer = known.iter().find(|key| key.kid == kid).map_or("a key of neither set", |key| key.signer);
        let mark = if proven.contains(&kid) { "" } else { "  NOT PROVEN" };
        let _ = writeln!(out, "  {signer:<24}{kid}{mark}");
    }
    for line in missing(set, previous)? {
        let _ = writeln!(out, "  {line}");
    }
    Ok(out)
}

/// Whose signatures are still missing; the last line says whether the set is good.
pub fn missing(set: &KeySetFile, previous: Option<&KeySetFile>) -> Result<Vec<String>, CliError> {
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
    if lines.is_empty() {
        lines.push(verdict(set, previous)?);
    }
    Ok(lines)
}

/// By the rule that gateway, agent and verifier apply, as far as these files show it.
fn verdict(set: &KeySetFile, previous: Option<&KeySetFile>) -> Result<String, CliError> {
    let signed = SignedKeySet::read(set.text().as_bytes())?;
    let (iss, aud) = (signed.iss().clone(), set.word("aud").to_owned());
    let Some(previous) = previous else {
        if signed.version() > 1 {
            return Ok("its own root threshold is met; give --previous to judge the rest".to_owned());
        }
        let pin = signed.digest();
        signed.genesis(&iss, &aud, &pin)?;
        return Ok("good as a first version, under its thumbprint".to_owned());
    };
    let before = SignedKeySet::read(previous.text().as_bytes())?;
    if before.version() == 1 {
        let pin = before.digest();
        signed.succeed(&before.genesis(&iss, &aud, &pin)?)?;
    } else if set.word("prev") != previous.digest().to_string() || set.version()? != previous.version()? + 1 {
        return Err(Refusal::at(Reason::KeySetVersion, "key_set.prev").into());
    }
    Ok("good: both root thresholds are met, and it follows the previous version".to_owned())
}
