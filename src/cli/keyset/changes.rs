//! What is to be in a set: keys by who holds them, roles by who has them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use super::file::KeySetFile;
use crate::cli::{CliError, files, public_key};
use crate::token::SetRole;
use crate::token::keyset::KeyUse;

/// Days that a set lasts unless said otherwise.
const DAYS: u32 = 365;

#[derive(Debug, Args)]
pub struct Changes {
    /// A root key: SIGNER=FILE, the file a public JWK or PEM. Where there is no root role, each gets it, one of them being
    /// enough; where there is one, it stays as it is until --role root=… names who has it
    #[arg(long = "root", value_name = "SIGNER=FILE")]
    roots: Vec<Holder>,
    /// A key that signs instructions, with the roles that --role gives it: SIGNER=FILE, the file a public JWK or PEM
    #[arg(long = "key", value_name = "SIGNER=FILE")]
    keys: Vec<Holder>,
    /// Take out a key by its thumbprint, or all keys of a signer; a role that is left without keys goes with them
    #[arg(long, value_name = "KID|SIGNER")]
    remove: Vec<String>,
    /// Who may, and how many it takes: ROLE=N:SIGNER,SIGNER (root, preview, erase, export, …); N = 0 takes the role out
    #[arg(long = "role", value_name = "ROLE=N:SIGNER,…")]
    roles: Vec<RoleOrder>,
    /// What orders must meet beyond thresholds: the member `policy` in a JSON file; `{}` asks for nothing
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Days that the set lasts from its iat on (365)
    #[arg(long)]
    days: Option<u32>,
}

#[derive(Debug, Clone)]
struct Holder {
    signer: String,
    file: String,
}

impl FromStr for Holder {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (signer, file) = text.split_once('=').ok_or("SIGNER=FILE is expected")?;
        Ok(Self { signer: signer.to_owned(), file: file.to_owned() })
    }
}

#[derive(Debug, Clone)]
struct RoleOrder {
    role: SetRole,
    threshold: u32,
    signers: Vec<String>,
}

impl FromStr for RoleOrder {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (role, rest) = text.split_once('=').ok_or("ROLE=N:SIGNER,SIGNER is expected")?;
        let role = role.parse().map_err(|()| "the role is root or an act")?;
        let (threshold, signers) = rest.split_once(':').unwrap_or((rest, ""));
        let threshold = threshold.parse().map_err(|_| "N is how many distinct signers it takes")?;
        let signers = signers.split(',').filter(|signer| !signer.is_empty()).map(str::to_owned).collect();
        Ok(Self { role, threshold, signers })
    }
}

impl Changes {
    pub fn apply(&self, set: &mut KeySetFile, now: i64) -> Result<(), CliError> {
        for word in &self.remove {
            remove(set, word)?;
        }
        let roots = self.roots.iter().map(|holder| (holder, KeyUse::Root));
        let keys = self.keys.iter().map(|holder| (holder, KeyUse::Instruction));
        for (Holder { signer, file }, usage) in roots.chain(keys) {
            add(set, signer, Path::new(file), usage)?;
        }
        for order in &self.roles {
            give(set, order)?;
        }
        if set.payload.get("roles").is_some_and(|roles| roles.get("root").is_none()) && !self.roots.is_empty()
        {
            let signers = self.roots.iter().map(|holder| holder.signer.clone()).collect();
            give(set, &RoleOrder { role: SetRole::Root, threshold: 1, signers })?;
        }
        if let Some(path) = &self.policy {
            let policy: Value = serde_json::from_slice(&files::read(path)?).map_err(|error| {
                CliError::Plain(format!("{}: no JSON, see line {}", path.display(), error.line()))
            })?;
            set.payload.insert("policy".into(), policy);
        }
        // A version that was just begun has no end yet; one that lay in its file keeps its own unless told.
        let begins = set.seconds("iat").unwrap_or(now);
        if self.days.is_some() || set.seconds("exp").is_none_or(|exp| exp <= begins) {
            let days = i64::from(self.days.unwrap_or(DAYS));
            set.payload.insert("exp".into(), json!(begins + days * 86_400));
        }
        Ok(())
    }
}

fn list<'a>(set: &'a mut KeySetFile, name: &str) -> Result<&'a mut Vec<Value>, CliError> {
    let list = set.payload.get_mut(name).and_then(Value::as_array_mut);
    list.ok_or_else(|| CliError::plain("the key set has no list of keys"))
}

fn add(set: &mut KeySetFile, signer: &str, file: &Path, usage: KeyUse) -> Result<(), CliError> {
    let jwk = public_key::read(file)?;
    let mut entry: Value = serde_json::from_str(&jwk.canonical()).map_err(CliError::plain)?;
    entry["kid"] = json!(jwk.thumbprint());
    entry["alg"] = json!(jwk.algorithm().header_name());
    entry["signer"] = json!(signer);
    entry["use"] = json!(usage.as_str());
    list(set, "keys")?.push(entry);
    Ok(())
}

/// Takes keys out, and out of every role. A role that is left without keys is for the caller to settle.
fn remove(set: &mut KeySetFile, word: &str) -> Result<(), CliError> {
    let listed = set.keys()?;
    let gone: Vec<String> = listed
        .iter()
        .filter(|key| key.kid == word || key.signer == word)
        .map(|key| key.kid.clone())
        .collect();
    if gone.is_empty() {
        return Err(CliError::plain("--remove: the set has no such key or signer"));
    }
    let keep: Vec<bool> = listed.iter().map(|key| !gone.contains(&key.kid)).collect();
    let mut keep = keep.into_iter();
    list(set, "keys")?.retain(|_| keep.next().unwrap_or(true));
    if let Some(roles) = set.payload.get_mut("roles").and_then(Value::as_object_mut) {
        for role in roles.values_mut() {
            if let Some(kids) = role["kids"].as_array_mut() {
                kids.retain(|kid| !kid.as_str().is_some_and(|kid| gone.iter().any(|one| one == kid)));
            }
        }
        // Nobody may do it any more; an empty role is not of the form.
        roles.retain(|_, role| role["kids"].as_array().is_none_or(|kids| !kids.is_empty()));
    }
    Ok(())
}

/// The role goes to every fitting key of the signers.
fn give(set: &mut KeySetFile, order: &RoleOrder) -> Result<(), CliError> {
    let RoleOrder { role, threshold, signers } = order;
    let mut kids = Vec::new();
    for signer in signers {
        let keys = set.keys()?;
        let fitting = keys.iter().filter(|key| key.signer == signer && key.usage == role.key_use().as_str());
        let of_signer: Vec<String> = fitting.map(|key| key.kid.clone()).collect();
        if of_signer.is_empty() {
            return Err(CliError::Plain(format!(
                "--role {role}: signer {signer} has no {} key",
                role.key_use().as_str()
            )));
        }
        kids.extend(of_signer);
    }
    let roles = set.payload.get_mut("roles").and_then(Value::as_object_mut);
    let roles = roles.ok_or_else(|| CliError::plain("the key set has no roles"))?;
    if *threshold == 0 {
        roles.remove(&role.to_string());
    } else {
        roles.insert(role.to_string(), json!({"kids": kids, "threshold": threshold}));
    }
    Ok(())
}
