//! Reading and writing the command's files. What holds a key is for its owner alone.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::CliError;
use crate::fault;

pub fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(CliError::file(path))
}

pub fn read_text(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(CliError::file(path))
}

/// A new file, mode 0644 less the umask. An existing one is not overwritten.
pub fn write_public(path: &Path, content: impl AsRef<[u8]>) -> Result<(), CliError> {
    create(path, content.as_ref(), 0o644)
}

/// A new file that only its owner reads: mode 0600. An existing one is not overwritten. Once this has
/// returned, it survives a power cut; one before it leaves no file of that name, or the whole one.
pub fn write_secret(path: &Path, content: impl AsRef<[u8]>) -> Result<(), CliError> {
    let folder = folder(path);
    make_folder(&folder)?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(path.file_name().unwrap_or_default());
    draft.push(".draft");
    let draft = folder.join(draft);
    // Left by a run that was cut off.
    remove(&draft)?;
    create(&draft, content.as_ref(), 0o600)?;
    sync(&draft)?;
    fault::point("secret.drafted");
    let named = name(&draft, path);
    remove(&draft)?;
    named.map_err(CliError::file(path))?;
    sync(&folder)
}

/// A link, not a rename: it fails if the name is taken. Where a file system knows no links, one look before.
fn name(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            match path.try_exists()? {
                true => Err(ErrorKind::AlreadyExists.into()),
                false => fs::rename(draft, path),
            }
        }
        linked => linked,
    }
}

/// Removes the file, if it is there.
pub fn remove(path: &Path) -> Result<(), CliError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(CliError::file(path)(error)),
        _ => Ok(()),
    }
}

/// The file's content, or the names in the folder, survive a power cut from here on.
pub fn sync(path: &Path) -> Result<(), CliError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(CliError::file(path))
}

/// The folder that the file lies in.
pub fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => ".".into(),
    }
}

/// Puts a file, mode 0644 less the umask, in the place of the one that is there: a reader, or a power
/// cut, finds the old one whole or the new one whole.
pub fn replace_public(path: &Path, content: impl AsRef<[u8]>) -> Result<(), CliError> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = Path::new(&next);
    // Left by a run that was cut off.
    remove(next)?;
    create(next, content.as_ref(), 0o644)?;
    sync(next)?;
    fs::rename(next, path).map_err(CliError::file(path))?;
    sync(&folder(path))
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), CliError> {
    make_folder(&folder(path))?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(CliError::file(path))?;
    file.write_all(content).map_err(CliError::file(path))
}

/// Whether there is something in the folder. One that is not there is unused.
pub fn is_used(path: &Path) -> Result<bool, CliError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CliError::File { path: path.to_owned(), source }),
    }
}

/// With its parents, each for its owner alone where it is new.
pub fn make_folder(path: &Path) -> Result<(), CliError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(CliError::file(path))
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
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a draft was left behind");
    }

    #[test]
    fn a_secret_is_written_after_a_run_that_was_cut_off_while_it_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for half in ["", "hal"] {
            std::fs::write(folder.path().join(".key.draft"), half).unwrap();
            write_secret(&path, "whole").unwrap();
            assert_eq!(read_text(&path).unwrap(), "whole");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::remove_file(&path).unwrap();
        }
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
