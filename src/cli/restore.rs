//! `mandate restore`: puts a backup in the place of a database that is gone, and brings it on to the
//! longest history that was published. On a server the backup is put in place with the server's own tools
//! before, and brought on there.
//!
//! A gateway on an older database would sign a second history. So this refuses unless the operator shows
//! what is known of the newest head, and every known leaf could be brought back. Where leaves are lost for
//! good, the trail goes on under a new origin (`--new-origin`), whose first leaf says what is missing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::backup::{DATABASE, Manifest, check, sync};
use super::key::BY;
use super::serve::{self, log_keys};
use super::{CliError, doctor, files};
use crate::config::{GatewayConfig, Place, folder_of, is_log_name};
use crate::doctor::Patient;
use crate::domain::clock::{SystemClock, SystemEntropy};
use crate::say;
use crate::store::restore::{Lack, Opening, PublishedLog, RollForward, Sizes};
use crate::store::{Database, Log, LogVerifiers, Origins};
use crate::trail::{CHECKPOINT_PATH, Checkpoint, Note, Resource, VerifierKey, decode_bundle};

#[derive(Debug, Args)]
pub struct Restore {
    /// gateway.toml; its database must not be there. One on a server must be the older copy, and no gateway run
    #[arg(long)]
    config: PathBuf,
    /// A folder that `mandate backup` wrote; none for a database on a server
    backup: Option<PathBuf>,
    /// A folder that `mandate trail export` wrote; the longest is taken
    #[arg(long, value_name = "DIR")]
    published: Vec<PathBuf>,
    /// The newest checkpoint of the trail that anybody has: witnesses, agents, auditors, controllers. With
    /// --new-origin also one of the authority log
    #[arg(long, value_name = "FILE", required = true)]
    newest: Vec<PathBuf>,
    /// Leaves are lost for good: the trail goes on under this name, the last part of its origin
    #[arg(long, value_name = "NAME")]
    new_origin: Option<String>,
}

impl Restore {
    pub async fn run(self) -> Result<(), CliError> {
        let config = GatewayConfig::load(&self.config)?;
        match (&config.database, &self.backup) {
            (Place::File(target), Some(backup)) => self.file(&config, target, backup).await,
            (Place::File(_), None) => {
                Err(CliError::plain("which backup? A folder that `mandate backup` wrote"))
            }
            (Place::Server(_), None) => self.on_server(&config).await,
            (Place::Server(_), Some(_)) => Err(CliError::plain(
                "the database is on a PostgreSQL server: bring the copy back there with its own tools, and run \
                 this without a backup",
            )),
        }
    }

    async fn file(&self, config: &GatewayConfig, target: &Path, backup: &Path) -> Result<(), CliError> {
        for file in [target.to_owned(), beside(target, "-wal")] {
            if file.exists() {
                return Err(CliError::Plain(format!("{}: it is there; move it away first", file.display())));
            }
        }
        Manifest::load(backup, &config.gateway)?;
        files::make_folder(&folder_of(target))?;
        // Under another name until it is what it shall be: nobody starts on half of it.
        let draft = beside(target, ".restoring");
        for rest in ["", "-wal", "-shm"] {
            remove(&beside(&draft, rest))?;
        }
        std::fs::copy(backup.join(DATABASE), &draft).map_err(CliError::file(&draft))?;
        let done = self.bring_on(&Database::Sqlite(draft.clone()), config).await;
        if done.is_err() {
            for rest in ["", "-wal", "-shm"] {
                remove(&beside(&draft, rest))?;
            }
            return done;
        }
        sync(&draft)?;
        std::fs::rename(&draft, target).map_err(CliError::file(target))?;
        sync(&folder_of(target))?;
        say!("restored: {}", target.display());
        Ok(())
    }

    /// What the server's tools brought back is held against what is known before anything of it is changed.
    async fn on_server(&self, config: &GatewayConfig) -> Result<(), CliError> {
        let database = doctor::patient(config)?.database;
        self.bring_on(&database, config).await?;
        say!("restored: the database on the server; start the gateways");
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

    async fn bring_on(&self, copy: &Database, config: &GatewayConfig) -> Result<(), CliError> {
        let origins = &serve::origins(config);
        let keys = &self.known_keys(log_keys(config, origins)?.verifiers())?;
        let mut known = self.known_heads(origins, keys)?;
        known.trail.extend(seen_by_keyring(config, origins).await?);
        let known = known;
        if let Database::Postgres(_) = copy {
            // Nobody can take back what is written there.
            let sizes = sizes_of(copy, origins, keys).await?;
            demand_this_history(copy, origins, &known, sizes, config).await?;
        }
        let mut roll = RollForward::open(copy, origins, keys).await.map_err(CliError::plain)?;
        let before = roll.sizes();
        let lacks = self.roll_forward(&mut roll, origins, keys, before).await?;
        let rolled = roll.sizes();
        let (opened, missing) = match &self.new_origin {
            None => (origins.clone(), demand_all(&known, rolled)?),
            Some(name) => {
                let opened = reopen(&mut roll, config, origins, &known, name).await?;
                (opened, known.trail_size().saturating_sub(rolled.trail))
            }
        };
        roll.finish().await.map_err(CliError::plain)?;
        demand_this_history(copy, &opened, &known, rolled, config).await?;
        say!(
            "{} leaves of the trail from the backup, {} more from what was published",
            before.trail,
            rolled.trail - before.trail
        );
        for (name, what) in &lacks {
            say!("not in any leaf, so not restored: {name}: {what}");
        }
        if let Some(name) = &self.new_origin {
            say!("lost for good: {missing} leaves of {}", origins.trail());
            say!("the trail goes on as {}: write trail_name = \"{name}\" into gateway.toml", opened.trail());
            let key = serve::signing_key(&opened.trail(), &config.log_keys.trail)?;
            say!("pin it by hand at every agent, verifier and witness: {}", key.verifier_key());
        }
        Ok(())
    }

    /// Takes the copy on to the longest logs that were published.
    async fn roll_forward(
        &self,
        roll: &mut RollForward,
        origins: &Origins,
        keys: &LogVerifiers,
        before: Sizes,
    ) -> Result<Vec<Lack>, CliError> {
        let trail = self.longest("trail", &origins.trail(), &keys.trail, before.trail)?;
        let authority = self.longest("authority", &origins.authority(), &keys.authority, before.authority)?;
        let mut lacks = Vec::new();
        if let Some(mut authority) = authority {
            lacks.extend(roll.take(Log::Authority, keys, &mut authority).await.map_err(CliError::plain)?);
        }
        if let Some(mut trail) = trail {
            lacks.extend(roll.take(Log::Trail, keys, &mut trail).await.map_err(CliError::plain)?);
        }
        Ok(lacks)
    }

    /// The longest published log of that name, if it is longer than `size`.
    fn longest(
        &self,
        log: &str,
        origin: &str,
        keys: &[VerifierKey],
        size: u64,
    ) -> Result<Option<Folder>, CliError> {
        let mut longest: Option<Folder> = None;
        for dir in &self.published {
            let folder = Folder::open(&dir.join(log), origin, keys)?;
            if folder.size > longest.as_ref().map_or(size, |longest| longest.size) {
                longest = Some(folder);
            }
        }
        Ok(longest)
    }

    /// The checkpoints that the operator shows, of either log.
    fn known_heads(&self, origins: &Origins, keys: &LogVerifiers) -> Result<Known, CliError> {
        let mut known = Known::default();
        for file in &self.newest {
            let note = files::read_text(file)?;
            match Checkpoint::open_by(&note, &origins.trail(), &keys.trail) {
                Ok(head) => known.trail.push(head),
                Err(error) => match Checkpoint::open_by(&note, &origins.authority(), &keys.authority) {
                    Ok(head) => known.authority.push(head),
                    Err(_) => return Err(CliError::Plain(format!("{}: {error}", file.display()))),
                },
            }
        }
        if known.trail.is_empty() {
            return Err(CliError::plain("--newest: none of them is of the trail"));
        }
        Ok(known)
    }
}

/// The head that the keyring was told last. It is as good as one that a witness kept: it was never set back
/// together with the database.
async fn seen_by_keyring(config: &GatewayConfig, origins: &Origins) -> Result<Option<Checkpoint>, CliError> {
    let place = serve::keyring(&config.keyring)?;
    let failed =
        |error| CliError::Plain(format!("the keyring, which must be in place for a restore: {error}"));
    let Some(mark) = place.mark(&origins.trail()).await.map_err(failed)? else { return Ok(None) };
    let note = Note::parse(&mark.checkpoint).map_err(CliError::plain)?;
    let head = Checkpoint::parse_body(note.text()).map_err(CliError::plain)?;
    say!("the keyring saw {} leaves of {}", head.size(), head.origin());
    Ok(Some(head))
}

/// What is known to have been signed.
#[derive(Default)]
struct Known {
    trail: Vec<Checkpoint>,
    authority: Vec<Checkpoint>,
}

impl Known {
    fn trail_size(&self) -> u64 {
        self.trail.iter().map(Checkpoint::size).max().unwrap_or_default()
    }

    fn authority_size(&self) -> u64 {
        self.authority.iter().map(Checkpoint::size).max().unwrap_or_default()
    }
}

/// Every leaf that is known to have been signed is there; none are missing.
fn demand_all(known: &Known, rolled: Sizes) -> Result<u64, CliError> {
    demand_authority(known, rolled)?;
    let (signed, size) = (known.trail_size(), rolled.trail);
    if signed <= size {
        return Ok(0);
    }
    Err(CliError::Plain(format!(
        "{signed} leaves were signed and only {size} could be brought back: {} are missing. Give a folder that \
         holds them with --published. Without them the gateway would sign a second history; where they are lost \
         for good, see --new-origin",
        signed - size
    )))
}

/// The authority log is never without a leaf: a key set that was taken back would be good again. It is small,
/// and every agent holds all of it.
fn demand_authority(known: &Known, rolled: Sizes) -> Result<(), CliError> {
    if known.authority_size() <= rolled.authority {
        return Ok(());
    }
    Err(CliError::plain(
        "leaves of the authority log are missing: give a folder that holds them with --published",
    ))
}

/// Opens the trail under its new name, where that is the only way left.
async fn reopen(
    roll: &mut RollForward,
    config: &GatewayConfig,
    origins: &Origins,
    known: &Known,
    name: &str,
) -> Result<Origins, CliError> {
    let rolled = roll.sizes();
    if !is_log_name(name) || name == origins.trail_name {
        return Err(CliError::plain(
            "--new-origin: 1 to 32 of a-z, 0-9 and -, and no name that the trail had",
        ));
    }
    if known.authority.is_empty() {
        return Err(CliError::plain(
            "--new-origin needs a --newest of the authority log, too: agents hold it",
        ));
    }
    demand_authority(known, rolled)?;
    let newest = known.trail.iter().max_by_key(|head| head.size());
    let Some(newest) = newest.filter(|head| head.size() > rolled.trail) else {
        return Err(CliError::plain("no leaf is missing: restore without --new-origin"));
    };
    let opened = Origins { trail_name: name.to_owned(), ..origins.clone() };
    let keys = log_keys(config, &opened)?;
    let opening = Opening {
        by: BY,
        origins: &opened,
        keys: &keys,
        known: newest,
        clock: &SystemClock,
        entropy: &SystemEntropy,
    };
    roll.reopen(&opening).await.map_err(CliError::plain)?;
    Ok(opened)
}

/// What is known and was not lost is of this history, and rows and leaves fit together.
async fn demand_this_history(
    copy: &Database,
    opened: &Origins,
    known: &Known,
    rolled: Sizes,
    config: &GatewayConfig,
) -> Result<(), CliError> {
    let patient = Patient {
        database: copy.clone(),
        outside: None,
        keys: log_keys(config, opened)?.verifiers(),
        origins: opened.clone(),
        ..doctor::patient(config)?
    };
    let trail = known.trail.iter().filter(|head| head.size() <= rolled.trail);
    let authority = known.authority.iter().filter(|head| head.size() <= rolled.authority);
    let heads = trail.map(|head| (Log::Trail, head));
    for (log, head) in heads.chain(authority.map(|head| (Log::Authority, head))) {
        if !crate::doctor::contains(&patient, log, head).await.map_err(CliError::plain)? {
            return Err(CliError::plain("the newest checkpoint is of another history than the backup"));
        }
    }
    let wrong: Vec<_> = check(&patient).await?.into_iter().filter(|f| f.is_of_history()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.iter().for_each(|finding| doctor::show(finding, false));
    Err(CliError::plain("what is there does not fit together: no gateway may start on it"))
}

/// How much of both logs the copy holds.
async fn sizes_of(copy: &Database, origins: &Origins, keys: &LogVerifiers) -> Result<Sizes, CliError> {
    let roll = RollForward::open(copy, origins, keys).await.map_err(CliError::plain)?;
    let sizes = roll.sizes();
    roll.abandon().await.map_err(CliError::plain)?;
    Ok(sizes)
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
