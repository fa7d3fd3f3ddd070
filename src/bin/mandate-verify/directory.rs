//! A published log in a directory: the only place where the verifier reads logs from disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mandate::authority::published::LogFiles;
use mandate::trail::bundle::MAX_ENTRY;
use mandate::trail::tile::FULL_WIDTH;

/// Larger than any file of a log can be: a full bundle of the longest entries.
const MAX_FILE: u64 = FULL_WIDTH as u64 * (MAX_ENTRY as u64 + 2);

/// The directory of one log, C2SP layout.
pub struct Directory(PathBuf);

impl Directory {
    /// The directory must be there.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        if fs::metadata(&path)?.is_dir() {
            Ok(Self(path))
        } else {
            Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"))
        }
    }
}

/// A file's bytes, up to a limit that is an error to pass.
pub fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than it can be"));
    }
    Ok(bytes)
}

impl LogFiles for Directory {
    type Error = io::Error;

    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.0.join(path);
        match fs::metadata(&path) {
            // A directory or device in a file's place is no file of a log.
            Ok(metadata) if !metadata.is_file() => Ok(None),
            // Over the limit: nothing of a log; what is read is not what it should be, and is named.
            Ok(_) => {
                let mut bytes = Vec::new();
                File::open(&path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self, show: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.0.join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                // A link is listed as a file, and so found to be none of the log's.
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else {
                    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
                    show(&parts.join("/"));
                }
            }
        }
        Ok(())
    }
}
