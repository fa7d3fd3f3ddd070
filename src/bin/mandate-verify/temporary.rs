//! Temporary files without a name: made, opened and removed from their folder at once, so that nothing
//! stays behind however the program ends.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use mandate::authority::published::TemporaryFile;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Names tried before giving up: others may have left files of a process with our number.
const TRIES: usize = 1000;

/// A new file in the folder.
pub fn file(folder: &Path) -> io::Result<Box<dyn TemporaryFile>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    for _ in 0..TRIES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("mandate-verify-{}-{number}", std::process::id()));
        match options.open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(Box::new(file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::io::SeekFrom;

    use super::*;

    #[test]
    fn a_file_is_used_and_its_folder_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (file(folder.path()).unwrap(), file(folder.path()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        one.write_all(b"one").unwrap();
        other.write_all(b"other").unwrap();
        let mut text = String::new();
        one.seek(SeekFrom::Start(0)).unwrap();
        one.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one");
        assert!(file(&folder.path().join("missing")).is_err());
    }
}
