//! `mandate trail`: the logs, checked against the pins before a byte of them is kept.
//!
//! `export` fetches every leaf, builds the trees itself, and writes them in the C2SP
//! tlog-tiles layout only if the roots are the ones that the pinned keys signed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::client::Client;
use super::print::{given, print, receipt};
use super::{As, CliError, files};
use crate::authority::Pins;
use crate::authority::pins::LogPin;
use crate::domain::{Reason, Refusal};
use crate::grpc::v1;
use crate::say;
use crate::trail::{
    Appender, CHECKPOINT_PATH, Checkpoint, Hash, Note, Receipt, Resource, VKEY_PATH, encode_bundle,
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

/// The pin of that log.
fn pin_of(pins: &Pins, which: Which) -> &LogPin {
    match which {
        Which::Trail => &pins.trail,
        Which::Authority => &pins.authority,
    }
}

/// The head in a signed note, if a believed key signed it.
fn open(pin: &LogPin, note: &str) -> Result<Checkpoint, CliError> {
    Checkpoint::open_by(note, &pin.origin, pin.keys()).map_err(CliError::plain)
}

impl Trail {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        let pins = pins(&client)?;
        let as_json = self.who.json;
        match self.command {
            Command::Export { dir } => {
                for (origin, leaves) in export_to(&client, &dir).await? {
                    print(as_json, &json!({"log": origin, "leaves": leaves, "verified": true}));
                }
            }
            Command::Checkpoint { log, continues } => {
                let note = checkpoint(&client, log).await?;
                let followed = followed_if_needed(&client, &pins, log, &note).await?;
                let head = open(pin_of(&followed, log), &note)?;
                if let Some(older) = continues {
                    // One that was kept is of the key that was pinned, or of one that followed.
                    let text = files::read_text(&older)?;
                    let older =
                        open(pin_of(&pins, log), &text).or_else(|_| open(pin_of(&followed, log), &text))?;
                    prove_continues(&client, log, &older, &head).await?;
                }
                if as_json {
                    let root = head.root().to_base64();
                    let shown =
                        json!({"origin": head.origin(), "size": head.size(), "root": root, "note": note});
                    print(true, &shown);
                } else {
                    say::out(format_args!("{note}"));
                }
            }
            Command::Receipt { name, out } => {
                let call = v1::GetReceiptRequest { name };
                let got =
                    given(client.instructions().get_receipt(call).await?.into_inner().receipt, "receipt")?;
                let proof = Receipt::parse(&got.proof).map_err(CliError::plain)?;
                proof.verify_by(&got.leaf, &pins.trail.origin, pins.trail.keys()).map_err(CliError::plain)?;
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
    // In this order: a trail refers to leaves of an authority log that is no older.
    let trail = fetch(client, Which::Trail).await?;
    let authority = fetch(client, Which::Authority).await?;
    let pins = pins(client)?.followed(authority.leaves.iter().map(Vec::as_slice));
    let mut written = Vec::new();
    for (which, Fetched { note, leaves }) in [(Which::Trail, trail), (Which::Authority, authority)] {
        let pin = pin_of(&pins, which);
        let head = open(pin, &note)?;
        write(&dir.join(which.folder()), pin, &note, &head, &leaves)?;
        written.push((pin.origin.clone(), head.size()));
    }
    Ok(written)
}

fn pins(client: &Client) -> Result<Pins, CliError> {
    let file = &client.profile.pins;
    Pins::parse(&files::read_text(file)?)
        .map_err(|error| CliError::Plain(format!("{}: {error}", file.display())))
}

/// The pins, moved on by the authority log where they do not open the head as they are.
async fn followed_if_needed(client: &Client, pins: &Pins, log: Which, note: &str) -> Result<Pins, CliError> {
    if open(pin_of(pins, log), note).is_ok() {
        return Ok(pins.clone());
    }
    let authority = fetch(client, Which::Authority).await?;
    Ok(pins.followed(authority.leaves.iter().map(Vec::as_slice)))
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

/// A head and as many leaves as it claims. Nothing of it is proven yet.
struct Fetched {
    note: String,
    leaves: Vec<Vec<u8>>,
}

async fn fetch(client: &Client, which: Which) -> Result<Fetched, CliError> {
    let note = checkpoint(client, which).await?;
    let claimed = Note::parse(&note).map_err(CliError::plain)?;
    let size = Checkpoint::parse_body(claimed.text()).map_err(CliError::plain)?.size();
    let mut leaves: Vec<Vec<u8>> = Vec::new();
    while (leaves.len() as u64) < size {
        let start = leaves.len() as u64;
        let count = u32::try_from(size - start).unwrap_or(PAGE).min(PAGE);
        let call = v1::ListLeavesRequest { log: which.log().into(), start, count };
        let page = client.audit().list_leaves(call).await?.into_inner();
        if page.leaves.is_empty() || page.leaves.len() > count as usize {
            return Err(CliError::plain("the gateway withholds leaves of the head it signed"));
        }
        leaves.extend(page.leaves.iter().map(|leaf| leaf.to_vec()));
    }
    Ok(Fetched { note, leaves })
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
    let keys: String = pin.keys().map(|key| format!("{key}\n")).collect();
    files::write_public(&dir.join(VKEY_PATH), keys)?;
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
        let pin = LogPin::new(ORIGIN, key.verifier_key().clone());
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
        assert_eq!(open(&pin, &kept).unwrap().size(), 600);
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
