//! A part of an export while it grows.
//!
//! A tar entry states its size before its bytes, and a part's size is known
//! only when its last row is written. So parts grow in files of their own,
//! encrypted with `age` to a key that exists in this process's memory alone: the
//! plain bytes never touch the disk, memory stays bounded, and after a crash
//! what lies there opens for nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use age::stream::StreamWriter;
use age::x25519::Identity;
use aws_lc_rs::digest::{Context, SHA256};

/// Creates (or empties) a file that only this user can read.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The file goes when its owner does.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        // It is unreadable anyway; what cannot be removed now is overwritten by the next attempt.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A part that still grows.
pub struct Spool {
    file: Remove,
    key: Identity,
    writer: StreamWriter<BufWriter<File>>,
    bytes: u64,
    hash: Context,
}

impl Spool {
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = Remove(path.to_owned());
        let key = Identity::generate();
        let recipient = key.to_public();
        let writer = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .map_err(io::Error::other)?
            .wrap_output(BufWriter::new(private_file(path)?))?;
        Ok(Self { file, key, writer, bytes: 0, hash: Context::new(&SHA256) })
    }

    pub fn write(&mut self, plain: &[u8]) -> io::Result<()> {
        self.writer.write_all(plain)?;
        self.hash.update(plain);
        self.bytes += plain.len() as u64;
        Ok(())
    }

    pub fn finish(self) -> io::Result<Spooled> {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.finish().as_ref());
        self.writer.finish()?.flush()?;
        Ok(Spooled { file: self.file, key: self.key, bytes: self.bytes, sha256: hash })
    }
}

/// A part that is complete.
pub struct Spooled {
    file: Remove,
    key: Identity,
    /// Of the plain text.
    pub bytes: u64,
    /// Of the plain text.
    pub sha256: [u8; 32],
}

impl Spooled {
    /// The plain text, as a stream.
    pub fn open(&self) -> io::Result<impl Read + use<>> {
        let file = BufReader::new(File::open(&self.file.0)?);
        age::Decryptor::new_buffered(file)
            .map_err(io::Error::other)?
            .decrypt(std::iter::once(&self.key as &dyn age::Identity))
            .map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_comes_back_and_its_plain_text_never_lay_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let mut spool = Spool::create(&path).unwrap();
        for _ in 0..10_000 {
            spool.write(b"u_8839201 was here\n").unwrap();
        }
        let spooled = spool.finish().unwrap();
        let raw = std::fs::read(&path).unwrap();
        assert!(!raw.windows(9).any(|window| window == b"u_8839201"));
        let mut plain = Vec::new();
        spooled.open().unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(plain.len() as u64, spooled.bytes);
        assert_eq!(plain, b"u_8839201 was here\n".repeat(10_000));
        drop(spooled);
        assert!(!path.exists());
    }
}
