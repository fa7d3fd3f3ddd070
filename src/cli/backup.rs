//! `mandate backup`: a copy of the database as it stands at one moment, checked, with a manifest. The
//! gateway may run. Never the keyring: restored, it would bring shredded keys back.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{CliError, doctor, files};
use crate::config::{GatewayConfig, Place};
use crate::doctor::{Finding, Patient, examine};
use crate::say;
use crate::store::{Database, Log, restore, survey};
use crate::trail::Hash;

/// Name of the copy in the backup's folder.
pub const DATABASE: &str = "database.sqlite";
pub const MANIFEST: &str = "manifest.json";
const FORMAT: &str = "mandate-backup/1";

#[derive(Debug, Args)]
pub struct Backup {
    /// gateway.toml
    #[arg(long)]
    config: PathBuf,
    /// Where it goes: a folder that is not there yet, or empty
    dir: PathBuf,
}

/// What a backup is of. Written last: a folder with a manifest is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    pub gateway: String,
    /// SHA-256 of the copy, base64.
    pub database_sha256: String,
    /// Both heads as they were signed.
    pub trail: String,
    pub authority: String,
}

impl Manifest {
    /// The manifest of a backup of this gateway whose copy is still what it was.
    pub fn load(dir: &Path, gateway: &str) -> Result<Manifest, CliError> {
        let bad = |what: &str| CliError::Plain(format!("{}: {what}", dir.display()));
        let manifest: Manifest = serde_json::from_slice(&files::read(&dir.join(MANIFEST))?)
            .map_err(|_| bad("the manifest is not of the form this program knows"))?;
        if manifest.format != FORMAT {
            return Err(bad("the manifest is of another format"));
        }
        if manifest.gateway != gateway {
            return Err(bad("the backup is of another gateway"));
        }
        if digest(&dir.join(DATABASE))? != manifest.database_sha256 {
            return Err(bad("the copy is not the one that the manifest was made for"));
        }
        Ok(manifest)
    }
}

impl Backup {
    pub async fn run(self) -> Result<(), CliError> {
        let config = GatewayConfig::load(&self.config)?;
        let Place::File(database) = &config.database else {
            return Err(CliError::plain(
                "the database is on a PostgreSQL server: back it up there (pg_basebackup with the write-ahead \
                 log archived, or pg_dump --serializable-deferrable), and never together with the keyring's",
            ));
        };
        if files::is_used(&self.dir)? {
            return Err(CliError::Plain(format!("{}: there is something in it", self.dir.display())));
        }
        files::make_folder(&self.dir)?;
        let copy = self.dir.join(DATABASE);
        restore::copy(database, &copy).await.map_err(CliError::plain)?;
        let patient =
            Patient { database: Database::Sqlite(copy.clone()), outside: None, ..doctor::patient(&config)? };
        let findings = check(&patient).await?;
        findings.iter().for_each(|finding| doctor::show(finding, false));
        // What a restore could not bring back (no leaf holds it) is no reason to have no backup from then on.
        if findings.iter().any(Finding::is_of_history) {
            return Err(CliError::plain(
                "the copy is not sound, nor is the database: see `mandate doctor`. No manifest was written",
            ));
        }
        sync(&copy)?;
        let [trail, authority] = heads(&patient).await?;
        let gateway = config.gateway.clone();
        let database_sha256 = digest(&copy)?;
        let manifest = Manifest { format: FORMAT.into(), gateway, database_sha256, trail, authority };
        // Plain text members: serialising them cannot fail.
        let text = serde_json::to_vec_pretty(&manifest).expect("plain data serialises");
        files::write_public(&self.dir.join(MANIFEST), text)?;
        sync(&self.dir.join(MANIFEST))?;
        sync(&self.dir)?;
        if !findings.is_empty() {
            say!("{} findings: what is missing there is missing in the copy, too", findings.len());
        }
        say!("the copy fits its trail:\n{}", manifest.trail);
        Ok(())
    }
}

/// What the doctor finds in a copy.
pub async fn check(patient: &Patient) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    let mut sink = |finding: Finding| findings.push(finding);
    examine(patient, &mut sink).await.map_err(CliError::plain)?;
    Ok(findings)
}

async fn heads(patient: &Patient) -> Result<[String; 2], CliError> {
    let mut conn = patient.database.snapshot().await.map_err(CliError::plain)?;
    let mut heads = [String::new(), String::new()];
    for (log, note) in [Log::Trail, Log::Authority].into_iter().zip(&mut heads) {
        let head = survey::head(&mut conn, log).await.map_err(CliError::plain)?;
        *note = head.ok_or_else(|| CliError::plain("the copy has no head"))?.checkpoint;
    }
    Ok(heads)
}

fn digest(file: &Path) -> Result<String, CliError> {
    use std::io::Read as _;
    let mut open = std::fs::File::open(file).map_err(CliError::file(file))?;
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match open.read(&mut buffer).map_err(CliError::file(file))? {
            0 => break,
            n => context.update(&buffer[..n]),
        }
    }
    let digest = context.finish();
    let hash = Hash::from_slice(digest.as_ref()).ok_or_else(|| CliError::plain("SHA-256 has 32 bytes"))?;
    Ok(hash.to_base64())
}

/// Makes a file, or the names in a folder, durable.
pub fn sync(path: &Path) -> Result<(), CliError> {
    std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(CliError::file(path))
}
