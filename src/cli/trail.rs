//! `mandate trail`: the logs, checked against the pins before a byte of them is kept.
//!
//! `export` fetches every leaf, builds the trees itself, and writes them in the C2SP
//! tlog-tiles layout only if the roots are the ones that the pinned keys signed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::print::{given, print, receipt};
use super::{As, CliError, files};
use crate::config::read_toml;
use crate::domain::{Reason, Refusal};
use crate::grpc::v1;
use crate::trail::{
    Appender, CHECKPOINT_PATH, Checkpoint, Hash, Receipt, Resource, VKEY_PATH, VerifierKey, encode_bundle,
    encode_tile, entries_for, leaf_hash, verify_consistency,
};

/// Leaves asked for at once.
const PAGE: u32 = 256;

#[derive(Debug, Args)]
pub struct Trail {
    #[command(flatten)]
    who: As,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch both logs whole, verify them, and write them (auditor)
    Export { dir: PathBuf },
    /// Show the newest checkpoint, verified
    Checkpoint {
        #[arg(long, value_enum, default_value = "trail")]
        log: Which,
        /// An older checkpoint; the newest must be proven to continue it
        #[arg(long, value_name = "FILE")]
        continues: Option<PathBuf>,
    },
    /// Fetch the admission receipt of one's own instruction, verified
    Receipt {
        /// instructions/<id>
        name: String,
        /// Where the .tlog-proof goes; the leaf goes beside it as .leaf
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Trail,
    Authority,
}

impl Which {
    fn log(self) -> v1::Log {
        match self {
            Which::Trail => v1::Log::Trail,
            Which::Authority => v1::Log::Authority,
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Which::Trail => "trail",
            Which::Authority => "authority",
        }
    }
}

/// Of `pins.toml`, the two logs.
#[derive(Deserialize)]
struct LogPins {
    trail: LogPin,
    authority: LogPin,
}

#[derive(Deserialize)]
struct LogPin {
    origin: String,
    vkey: String,
}

impl LogPin {
    fn key(&self) -> Result<VerifierKey, CliError> {
        VerifierKey::parse(&self.vkey).map_err(CliError::plain)
    }

    /// The head in a signed note, if the pinned key signed it.
    fn open(&self, note: &str) -> Result<Checkpoint, CliError> {
        Checkpoint::open(note, &self.origin, &self.key()?).map_err(CliError::plain)
    }
}

impl LogPins {
    fn of(&self, which: Which) -> &LogPin {
        match which {
            Which::Trail => &self.trail,
            Which::Authority => &self.authority,
        }
    }
}

impl Trail {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        let pins: LogPins = read_toml(&client.profile.pins)?;
        let as_json = self.who.json;
        match self.command {
            Command::Export { dir } => {
                for (origin, leaves) in export_to(&client, &dir).await? {
                    print(as_json, &json!({"log": origin, "leaves": leaves, "verified": true}));
                }
            }
            Command::Checkpoint { log, continues } => {
                let note = checkpoint(&client, log).await?;
                let head = pins.of(log).open(&note)?;
                if let Some(older) = continues {
                    let older = pins.of(log).open(&files::read_text(&older)?)?;
                    prove_continues(&client, log, &older, &head).await?;
                }
                if as_json {
                    let root = head.root().to_base64();
                    let shown =
                        json!({"origin": head.origin(), "size": head.size(), "root": root, "note": note});
                    print(true, &shown);
                } else {
                    print!("{note}");
                }
            }
            Command::Receipt { name, out } => {
                let call = v1::GetReceiptRequest { name };
                let got =
                    given(client.instructions().get_receipt(call).await?.into_inner().receipt, "receipt")?;
                let pin = pins.of(Which::Trail);
                let proof = Receipt::parse(&got.proof).map_err(CliError::plain)?;
                proof.verify(&got.leaf, &pin.origin, &pin.key()?).map_err(CliError::plain)?;
                files::write_public(&out, &got.proof)?;
                files::write_public(&out.with_extension("leaf"), &got.leaf)?;
                let mut shown = receipt(Some(&got));
                shown["verified"] = json!(true);
                print(as_json, &shown);
            }
        }
        Ok(())
    }
}

/// Writes both logs below the folder; answers each one's origin and size.
pub async fn export_to(client: &Client, dir: &Path) -> Result<Vec<(String, u64)>, CliError> {
    let pins: LogPins = read_toml(&client.profile.pins)?;
    let mut written = Vec::new();
    for which in [Which::Trail, Which::Authority] {
        let pin = pins.of(which);
        let (note, head, leaves) = fetch(client, which, pin).await?;
        write(&dir.join(which.folder()), pin, &note, &head, &leaves)?;
        written.push((pin.origin.clone(), head.size()));
    }
    Ok(written)
}

async fn checkpoint(client: &Client, which: Which) -> Result<String, CliError> {
    let call = v1::GetCheckpointRequest { log: which.log().into() };
    Ok(client.audit().get_checkpoint(call).await?.into_inner().checkpoint)
}

/// That the newer head continues the older: the gateway must prove it, and a log that is shorter than
/// it was is never believed.
async fn prove_continues(
    client: &Client,
    which: Which,
    older: &Checkpoint,
    newer: &Checkpoint,
) -> Result<(), CliError> {
    let forked = |note: &'static str| Refusal::at(Reason::TrailForked, "checkpoint").note(note);
    if newer.size() < older.size() {
        return Err(forked("the log is shorter than the older checkpoint says").into());
    }
    let call = v1::GetConsistencyProofRequest {
        log: which.log().into(),
        old_size: older.size(),
        new_size: newer.size(),
    };
    let answer = client.audit().get_consistency_proof(call).await?.into_inner();
    let hashes: Option<Vec<Hash>> = answer.hashes.iter().map(|hash| Hash::from_slice(hash)).collect();
    let hashes = hashes.ok_or_else(|| forked("the proof holds something that is no hash"))?;
    verify_consistency(older.size(), older.root(), newer.size(), newer.root(), &hashes)
        .map_err(|_| forked("the log does not continue the older checkpoint").into())
}

/// A signed head and exactly its leaves.
async fn fetch(
    client: &Client,
    which: Which,
    pin: &LogPin,
) -> Result<(String, Checkpoint, Vec<Vec<u8>>), CliError> {
    let note = checkpoint(client, which).await?;
    let head = pin.open(&note)?;
    let mut leaves: Vec<Vec<u8>> = Vec::new();
    while (leaves.len() as u64) < head.size() {
        let start = leaves.len() as u64;
        let count = u32::try_from(head.size() - start).unwrap_or(PAGE).min(PAGE);
        let call = v1::ListLeavesRequest { log: which.log().into(), start, count };
        let page = client.audit().list_leaves(call).await?.into_inner();
        if page.leaves.is_empty() || page.leaves.len() > count as usize {
            return Err(CliError::plain("the gateway withholds leaves of the head it signed"));
        }
        leaves.extend(page.leaves.iter().map(|leaf| leaf.to_vec()));
    }
    Ok((note, head, leaves))
}

/// Writes a log whose leaves make the signed root; one that does not is not written.
fn write(
    dir: &Path,
    pin: &LogPin,
    note: &str,
    head: &Checkpoint,
    leaves: &[Vec<u8>],
) -> Result<(), CliError> {
    let mut tree = Appender::new();
    for leaf in leaves {
        tree.append(leaf_hash(leaf));
    }
    if tree.size() != head.size() || tree.root() != *head.root() {
        return Err(CliError::Plain(format!("{}: the leaves do not make the signed root", pin.origin)));
    }
    for resource in entries_for(head.size()) {
        if let Resource::Entries { index, width } = &resource {
            let start = usize::try_from(index * 256).map_err(CliError::plain)?;
            let end = start + usize::from(*width);
            let entries = leaves.get(start..end).ok_or_else(|| CliError::plain("a leaf is missing"))?;
            files::write_public(
                &dir.join(resource.path()),
                encode_bundle(entries).map_err(CliError::plain)?,
            )?;
        }
    }
    for (tile, hashes) in tree.take_dirty_tiles() {
        files::write_public(&dir.join(Resource::Tile(tile).path()), encode_tile(&hashes))?;
    }
    files::write_public(&dir.join(VKEY_PATH), format!("{}\n", pin.vkey))?;
    // Last: a folder with a checkpoint is whole.
    files::write_public(&dir.join(CHECKPOINT_PATH), note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::{SigningKey, paths_for};

    const ORIGIN: &str = "mandate.ppio.example/trail";

    fn log(size: u64) -> (LogPin, String, Checkpoint, Vec<Vec<u8>>) {
        let key = SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap();
        let leaves: Vec<Vec<u8>> = (0..size).map(|n| format!("leaf {n}").into_bytes()).collect();
        let mut tree = Appender::new();
        for leaf in &leaves {
            tree.append(leaf_hash(leaf));
        }
        let head = Checkpoint::new(ORIGIN, size, tree.root()).unwrap();
        let pin = LogPin { origin: ORIGIN.into(), vkey: key.verifier_key().to_string() };
        (pin, head.sign(&key).to_string(), head, leaves)
    }

    #[test]
    fn a_log_is_written_file_for_file_as_the_layout_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let (pin, note, head, leaves) = log(600);
        write(dir.path(), &pin, &note, &head, &leaves).unwrap();
        for resource in paths_for(600) {
            assert!(dir.path().join(resource.path()).is_file(), "{}", resource.path());
        }
        let kept = std::fs::read_to_string(dir.path().join(CHECKPOINT_PATH)).unwrap();
        assert_eq!(pin.open(&kept).unwrap().size(), 600);
    }

    #[test]
    fn a_log_with_one_leaf_changed_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (pin, note, head, mut leaves) = log(300);
        leaves[7] = b"leaf seven".to_vec();
        assert!(write(dir.path(), &pin, &note, &head, &leaves).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
