//! `mandate restore`: puts a backup in the place of a database that is gone, and brings it on to the
//! longest history that was published.
//!
//! A gateway on an older database would sign a second history. So this refuses unless the operator shows
//! what is known of the newest head, and every known leaf could be brought back. Where leaves are lost for
//! good, a new origin would be needed: this release has none, and says so.

use std::path::{Path, PathBuf};

use clap::Args;

use super::backup::{DATABASE, Manifest, check, sync};
use super::{CliError, doctor, files};
use crate::cli::serve::log_keys;
use crate::config::{GatewayConfig, Place, folder_of};
use crate::doctor::Patient;
use crate::store::restore::{PublishedLog, RollForward};
use crate::store::{Database, LogVerifiers, Origins};
use crate::trail::{CHECKPOINT_PATH, Checkpoint, Note, Resource, VerifierKey, decode_bundle};

#[derive(Debug, Args)]
pub struct Restore {
    /// gateway.toml; its database must not be there
    #[arg(long)]
    config: PathBuf,
    /// A folder that `mandate backup` wrote
    backup: PathBuf,
    /// A folder that `mandate trail export` wrote; the longest is taken
    #[arg(long, value_name = "DIR")]
    published: Vec<PathBuf>,
    /// The newest checkpoint of the trail that anybody has: witnesses, agents, auditors, controllers
    #[arg(long, value_name = "FILE", required = true)]
    newest: Vec<PathBuf>,
}

impl Restore {
    pub async fn run(self) -> Result<(), CliError> {
        let config = GatewayConfig::load(&self.config)?;
        let Place::File(target) = &config.database else {
            return Err(CliError::plain("the database is on a PostgreSQL server: restore it there"));
        };
        for file in [target.clone(), beside(target, "-wal")] {
            if file.exists() {
                return Err(CliError::Plain(format!("{}: it is there; move it away first", file.display())));
            }
        }
        Manifest::load(&self.backup, &config.gateway)?;
        let origins = Origins { gateway: config.gateway.clone() };
        let keys = self.known_keys(log_keys(&config, &origins)?.verifiers())?;
        files::make_folder(&folder_of(target))?;
        // Under another name until it is what it shall be: nobody starts on half of it.
        let draft = beside(target, ".restoring");
        for rest in ["", "-wal", "-shm"] {
            remove(&beside(&draft, rest))?;
        }
        std::fs::copy(self.backup.join(DATABASE), &draft).map_err(CliError::file(&draft))?;
        let done = self.bring_on(&draft, &origins, &keys, &config).await;
        if done.is_err() {
            for rest in ["", "-wal", "-shm"] {
                remove(&beside(&draft, rest))?;
            }
            return done;
        }
        sync(&draft)?;
        std::fs::rename(&draft, target).map_err(CliError::file(target))?;
        sync(&folder_of(target))?;
        println!("restored: {}", target.display());
        Ok(())
    }

    /// Our keys and those they followed on, as the published authority logs tell: a backup may be older than
    /// a key. A succession bears our own key's signature, so the folder need not be checked for it.
    fn known_keys(&self, own: LogVerifiers) -> Result<LogVerifiers, CliError> {
        let mut known = own;
        for dir in &self.published {
            let leaves = Folder::leaves_of(&dir.join("authority"))?;
            known = known.with_former(leaves.iter().map(Vec::as_slice));
        }
        Ok(known)
    }

    async fn bring_on(
        &self,
        draft: &Path,
        origins: &Origins,
        keys: &LogVerifiers,
        config: &GatewayConfig,
    ) -> Result<(), CliError> {
        let mut roll = RollForward::open(draft, origins, keys).await.map_err(CliError::plain)?;
        let before = roll.sizes();
        let trail_key = keys.trail.as_slice();
        let mut longest: Option<(u64, &PathBuf)> = None;
        for dir in &self.published {
            let size = Folder::open(&dir.join("trail"), &origins.trail(), trail_key)?.size;
            if size > before.trail && longest.is_none_or(|(most, _)| size > most) {
                longest = Some((size, dir));
            }
        }
        let mut lacks = Vec::new();
        if let Some((_, dir)) = longest {
            let mut trail = Folder::open(&dir.join("trail"), &origins.trail(), trail_key)?;
            let mut authority = Folder::open(&dir.join("authority"), &origins.authority(), &keys.authority)?;
            lacks = roll.run(keys, &mut trail, &mut authority).await.map_err(CliError::plain)?;
        }
        let after = roll.sizes();
        roll.close().await.map_err(CliError::plain)?;
        self.demand_newest(draft, origins, trail_key, after.trail, config).await?;
        println!(
            "{} leaves of the trail from the backup, {} more from what was published",
            before.trail,
            after.trail - before.trail
        );
        for (name, what) in &lacks {
            println!("not in any leaf, so not restored: {name}: {what}");
        }
        Ok(())
    }

    /// Everything that is known to have been signed is there, and it is this history.
    async fn demand_newest(
        &self,
        draft: &Path,
        origins: &Origins,
        keys: &[VerifierKey],
        size: u64,
        config: &GatewayConfig,
    ) -> Result<(), CliError> {
        let mut known = Vec::new();
        for file in &self.newest {
            let newest = Checkpoint::open_by(&files::read_text(file)?, &origins.trail(), keys)
                .map_err(|error| CliError::Plain(format!("{}: {error}", file.display())))?;
            if newest.size() > size {
                return Err(CliError::Plain(format!(
                    "{} leaves were signed and only {size} could be brought back: {} are missing. Give a folder \
                     that holds them with --published. Without them the gateway would sign a second history; a \
                     new origin for that case is not in this release",
                    newest.size(),
                    newest.size() - size
                )));
            }
            known.push(newest);
        }
        let patient = Patient {
            database: Database::Sqlite(draft.to_owned()),
            outside: None,
            ..doctor::patient(config)?
        };
        for newest in known {
            if !crate::doctor::contains(&patient, &newest).await.map_err(CliError::plain)? {
                return Err(CliError::plain("the newest checkpoint is of another history than the backup"));
            }
        }
        let wrong: Vec<_> = check(&patient).await?.into_iter().filter(|f| f.is_of_history()).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        wrong.iter().for_each(|finding| doctor::show(finding, false));
        Err(CliError::plain("what came out does not fit together; nothing was restored"))
    }
}

fn beside(path: &Path, rest: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(rest);
    name.into()
}

fn remove(path: &Path) -> Result<(), CliError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CliError::file(path)(error)),
        _ => Ok(()),
    }
}

/// One published log, in the layout of C2SP `tlog-tiles`.
struct Folder {
    dir: PathBuf,
    note: String,
    size: u64,
}

impl Folder {
    fn open(dir: &Path, origin: &str, keys: &[VerifierKey]) -> Result<Folder, CliError> {
        let note = files::read_text(&dir.join(CHECKPOINT_PATH))?;
        let head = Checkpoint::open_by(&note, origin, keys)
            .map_err(|error| CliError::Plain(format!("{}: {error}", dir.display())))?;
        Ok(Folder { dir: dir.to_owned(), note, size: head.size() })
    }

    /// Every leaf, as far as the checkpoint claims; nothing is proven.
    fn leaves_of(dir: &Path) -> Result<Vec<Vec<u8>>, CliError> {
        let note = files::read_text(&dir.join(CHECKPOINT_PATH))?;
        let claimed = Note::parse(&note).ok().and_then(|note| Checkpoint::parse_body(note.text()).ok());
        let size = claimed.map_or(0, |head| head.size());
        let mut folder = Folder { dir: dir.to_owned(), note, size };
        let mut leaves: Vec<Vec<u8>> = Vec::new();
        while (leaves.len() as u64) < size {
            leaves.extend(folder.leaves(leaves.len() as u64).map_err(CliError::file(dir))?);
        }
        Ok(leaves)
    }
}

impl PublishedLog for Folder {
    fn checkpoint(&self) -> &str {
        &self.note
    }

    fn leaves(&mut self, start: u64) -> std::io::Result<Vec<Vec<u8>>> {
        let index = start / 256;
        // 256 at most: fits u16.
        let width = (self.size - index * 256).min(256) as u16;
        let bytes = std::fs::read(self.dir.join(Resource::Entries { index, width }.path()))?;
        let entries = decode_bundle(&bytes, width).map_err(std::io::Error::other)?;
        // Below 256: fits.
        let skip = (start - index * 256) as usize;
        Ok(entries.into_iter().skip(skip).map(<[u8]>::to_vec).collect())
    }
}
