//! Reading and writing the command's files. What holds a key is for its owner alone.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::CliError;

pub fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(CliError::file(path))
}

pub fn read_text(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(CliError::file(path))
}

/// A new file, mode 0644 less the umask. An existing one is not overwritten.
pub fn write_public(path: &Path, content: impl AsRef<[u8]>) -> Result<(), CliError> {
    create(path, content.as_ref(), 0o644)
}

/// A new file that only its owner reads: mode 0600. An existing one is not overwritten.
pub fn write_secret(path: &Path, content: impl AsRef<[u8]>) -> Result<(), CliError> {
    create(path, content.as_ref(), 0o600)
}

/// Puts a file, mode 0644 less the umask, in the place of the one that is there: a reader, or a power
/// cut, finds the old one whole or the new one whole.
pub fn replace_public(path: &Path, content: impl AsRef<[u8]>) -> Result<(), CliError> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = Path::new(&next);
    // Left by a run that was cut off.
    match std::fs::remove_file(next) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(CliError::file(next)(error));
        }
        _ => create(next, content.as_ref(), 0o644)?,
    }
    std::fs::File::open(next).and_then(|file| file.sync_all()).map_err(CliError::file(next))?;
    std::fs::rename(next, path).map_err(CliError::file(path))
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), CliError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(CliError::file(path))?;
    file.write_all(content).map_err(CliError::file(path))
}

/// Whether there is something in the folder. One that is not there is unused.
pub fn is_used(path: &Path) -> Result<bool, CliError> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CliError::File { path: path.to_owned(), source }),
    }
}

/// With its parents, each for its owner alone where it is new.
pub fn make_folder(path: &Path) -> Result<(), CliError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(CliError::file(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/key");
        write_secret(&path, "one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_secret(&path, "two").is_err());
        assert_eq!(read_text(&path).unwrap(), "one");
    }

    #[test]
    fn a_file_is_replaced_even_after_a_run_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        write_public(&folder.path().join("list.next"), "half").unwrap();
        for content in ["one", "two"] {
            replace_public(&path, content).unwrap();
            assert_eq!(read_text(&path).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
