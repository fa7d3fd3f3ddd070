//! A key set for people: who may do what, who has signed, and thumbprints to read aloud.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::file::{KeySetFile, Listed};
use crate::cli::CliError;
use crate::domain::Timestamp;

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
        let idle = if set.has_role(&key.kid) { "" } else { "  NO ROLE" };
        let _ = writeln!(out, "  {:<12}{:<24}{alg:<7}{}{idle}", key.usage, key.signer, key.kid);
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
    Ok(out)
}
