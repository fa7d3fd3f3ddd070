//! `mandate export`: lists export packages, fetches one, checks it, and opens it if asked.

use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::client::Client;
use super::print::{given, print, timestamp};
use super::{As, CliError, files};
use crate::grpc::v1;
use crate::token::Digest;

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    who: As,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List packages that can be fetched
    List,
    /// Fetch a package
    Download {
        name: String,
        #[arg(long)]
        out: PathBuf,
        /// age identity file: write the opened tar instead of the encrypted package
        #[arg(long)]
        identity: Option<PathBuf>,
    },
}

impl Export {
    pub async fn run(self) -> Result<(), CliError> {
        let client = Client::connect(&self.who).await?;
        match self.command {
            Command::List => {
                let mut page_token = String::new();
                loop {
                    let call = v1::ListExportsRequest { page_size: 100, page_token };
                    let page = client.exports().list_exports(call).await?.into_inner();
                    for each in &page.exports {
                        print(self.who.json, &shown(each));
                    }
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        return Ok(());
                    }
                }
            }
            Command::Download { name, out, identity: opened_by } => {
                let key = opened_by.as_deref().map(identity).transpose()?;
                let package = download(&client, &name).await?;
                match key {
                    None => files::write_secret(&out, &package)?,
                    Some(key) => files::write_secret(&out, open(&package, &key)?)?,
                }
                print(self.who.json, &json!({"export": name, "file": out.display().to_string()}));
            }
        }
        Ok(())
    }
}

fn shown(export: &v1::Export) -> Value {
    json!({"name": export.name, "execution": export.execution, "size": export.size, "digest": export.digest,
        "expire_time": timestamp(export.expire_time)})
}

/// The whole package; its digest is the one the gateway names, or it is not kept.
async fn download(client: &Client, name: &str) -> Result<Vec<u8>, CliError> {
    let call = v1::GetExportRequest { name: name.to_owned() };
    let export = given(client.exports().get_export(call).await?.into_inner().export, "export")?;
    let call = v1::DownloadExportRequest { name: name.to_owned(), offset: 0 };
    let mut parts = client.exports().download_export(call).await?.into_inner();
    let mut package = Vec::new();
    let mut hash = Context::new(&SHA256);
    while let Some(part) = parts.next().await {
        let part = part?;
        if part.offset != package.len() as u64 {
            return Err(CliError::plain("a part of the package is missing"));
        }
        hash.update(&part.data);
        package.extend_from_slice(&part.data);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    if package.len() as u64 != export.size || Digest::from_bytes(digest).to_string() != export.digest {
        return Err(CliError::plain("the package is not the one that was announced; nothing was written"));
    }
    Ok(package)
}

/// Fetches a package and opens it with the controller's own identity; answers the package's size in bytes.
pub async fn fetch(client: &Client, name: &str, out: &Path) -> Result<u64, CliError> {
    let controller = client.profile.controller.as_ref();
    let files_of = controller.ok_or_else(|| CliError::plain("the profile is no controller's"))?;
    let key = identity(&files_of.export_identity)?;
    let package = download(client, name).await?;
    files::write_secret(out, open(&package, &key)?)?;
    Ok(package.len() as u64)
}

/// Reads an age identity file: `#` lines are comments.
pub fn identity(path: &Path) -> Result<age::x25519::Identity, CliError> {
    let text = zeroize::Zeroizing::new(files::read_text(path)?);
    text.lines()
        .map(str::trim)
        .find(|line| line.starts_with("AGE-SECRET-KEY-"))
        .and_then(|line| line.parse().ok())
        .ok_or_else(|| CliError::Plain(format!("{}: holds no age identity", path.display())))
}

fn open(package: &[u8], identity: &age::x25519::Identity) -> Result<Vec<u8>, CliError> {
    let closed = |_| CliError::plain("the package does not open with this identity");
    let decryptor = age::Decryptor::new(package).map_err(closed)?;
    let mut reader = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).map_err(closed)?;
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain).map_err(|_| CliError::plain("the package is damaged"))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_package_opens_with_its_identity_alone() {
        let (ours, theirs) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let to = ours.to_public();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&to as _)).unwrap();
        let mut package = Vec::new();
        let mut writer = encryptor.wrap_output(&mut package).unwrap();
        writer.write_all(b"rows").unwrap();
        writer.finish().unwrap();
        assert_eq!(open(&package, &ours).unwrap(), b"rows");
        assert!(open(&package, &theirs).is_err());
        let last = package.len() - 1;
        package[last] ^= 1;
        assert!(open(&package, &ours).is_err());
    }
}
