//! What changes from one key set to another, a line each, for whoever is asked to sign it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::file::{KeySetFile, Listed};
use super::show::{aloud, day, signers};
use crate::cli::CliError;
use crate::token::keyset::KeyUse;

pub fn diff(from: &KeySetFile, to: &KeySetFile) -> Result<String, CliError> {
    let mut out = String::new();
    let (old, new) = (from.version()?, to.version()?);
    let follows = if to.word("prev") == from.digest().to_string() && new == old + 1 {
        "follows it"
    } else {
        "DOES NOT FOLLOW IT"
    };
    // Writing into a String cannot fail.
    let _ = writeln!(out, "version {old} → {new}, which {follows}");
    let changes = changes(from, to)?;
    out.push_str(if changes.is_empty() { "nothing else changes\n" } else { &changes });
    Ok(out)
}

/// The same without the first line; empty where nothing changes.
pub fn changes(from: &KeySetFile, to: &KeySetFile) -> Result<String, CliError> {
    let mut out = String::new();
    for name in ["iss", "aud"] {
        if from.word(name) != to.word(name) {
            let _ = writeln!(out, "~ {name}  {} → {}", from.word(name), to.word(name));
        }
    }
    if from.seconds("exp") != to.seconds("exp") {
        let _ = writeln!(out, "~ ends  {} → {}", day(from.seconds("exp")), day(to.seconds("exp")));
    }
    let (before, after) = (from.keys()?, to.keys()?);
    keys(&mut out, &before, &after);
    roles(&mut out, (from, &before), (to, &after));
    if from.payload.get("policy") != to.payload.get("policy") {
        let text =
            |set: &KeySetFile| set.payload.get("policy").map_or("none".to_owned(), ToString::to_string);
        let _ = writeln!(out, "~ policy  {} → {}", text(from), text(to));
    }
    out.push_str(&idle(to)?);
    Ok(out)
}

/// Keys that are listed and may sign nothing.
pub fn idle(set: &KeySetFile) -> Result<String, CliError> {
    let mut out = String::new();
    for key in set.keys()?.iter().filter(|key| !set.has_role(&key.kid)) {
        let Listed { kid, signer, usage, .. } = key;
        let role = if *usage == KeyUse::Root.as_str() { "root" } else { "ACT" };
        let _ = writeln!(
            out,
            "! {usage} key of {signer}  {kid}  has no role and signs nothing: --role {role}=N:…"
        );
    }
    Ok(out)
}

fn keys(out: &mut String, before: &[Listed<'_>], after: &[Listed<'_>]) {
    let by_kid = |keys: &[Listed<'_>], kid: &str| keys.iter().position(|key| key.kid == kid);
    for (mark, these, others) in [("-", before, after), ("+", after, before)] {
        for key in these.iter().filter(|key| by_kid(others, &key.kid).is_none()) {
            let Listed { kid, signer, usage, jwk } = key;
            let _ = writeln!(out, "{mark} {usage} key of {signer}  {}  {kid}", jwk.algorithm().header_name());
            let _ = writeln!(out, "    {}", aloud(jwk.thumbprint().as_bytes()));
        }
    }
    for key in after {
        if let Some(at) = by_kid(before, &key.kid)
            && (before[at].signer != key.signer || before[at].usage != key.usage)
        {
            let was = &before[at];
            let _ = writeln!(
                out,
                "! key {}  {} of {} → {} of {}: REFUSED, a key keeps both for ever",
                key.kid, was.usage, was.signer, key.usage, key.signer
            );
        }
    }
}

/// Threshold and signers of each role.
fn told<'a>(set: &'a KeySetFile, keys: &[Listed<'a>]) -> BTreeMap<&'a str, (u64, BTreeSet<&'a str>)> {
    set.roles().into_iter().map(|(role, kids, threshold)| (role, (threshold, signers(keys, &kids)))).collect()
}

fn roles(
    out: &mut String,
    (from, before): (&KeySetFile, &[Listed<'_>]),
    (to, after): (&KeySetFile, &[Listed<'_>]),
) {
    let (old, new) = (told(from, before), told(to, after));
    for (role, (threshold, signers)) in &old {
        match new.get(role) {
            None => {
                let names: Vec<&str> = signers.iter().copied().collect();
                let _ = writeln!(
                    out,
                    "- role {role}  {threshold} of {}: {}; NOBODY MAY SIGN IT ANY MORE",
                    names.len(),
                    names.join(", ")
                );
            }
            Some((now, these)) if now != threshold || these != signers => {
                let _ =
                    write!(out, "~ role {role}  {threshold} of {} → {now} of {}", signers.len(), these.len());
                let lost = signers.difference(these).map(|signer| format!("; - {signer}"));
                let won = these.difference(signers).map(|signer| format!("; + {signer}"));
                let _ = writeln!(out, "{}", lost.chain(won).collect::<String>());
            }
            Some(_) => {}
        }
    }
    for (role, (threshold, signers)) in new.iter().filter(|(role, _)| !old.contains_key(*role)) {
        let names: Vec<&str> = signers.iter().copied().collect();
        let _ = writeln!(out, "+ role {role}  {threshold} of {}: {}", names.len(), names.join(", "));
    }
}
