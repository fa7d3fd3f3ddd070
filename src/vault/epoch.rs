//! Epoch keys: the key-encryption keys, one file each, apart from every database.
//!
//! `<dir>/epoch-<n>.key` holds 32 random bytes in base64url without padding and a newline, mode 0600.
//! The highest `n` wraps; the older ones still unwrap. Destroying an epoch makes every copy of what was
//! wrapped under it worthless, also copies in backups of the keyring.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::LessSafeKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::aead;
use super::data_key::KeyId;
use super::error::VaultError;
use crate::domain::Entropy;

/// `nonce(12) ‖ ciphertext(32) ‖ tag(16)`.
pub(super) const WRAPPED_LEN: usize = 32 + aead::OVERHEAD;

/// No proper key file is longer; nothing beyond is read.
const FILE_LIMIT: u64 = 128;

/// The epoch keys that exist. At least one, so that there is always a current one.
pub struct EpochKeys {
    dir: PathBuf,
    keys: BTreeMap<u32, LessSafeKey>,
    current: u32,
}

impl fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKeys").field("epochs", &self.keys.keys()).finish_non_exhaustive()
    }
}

impl EpochKeys {
    /// Reads every `epoch-<n>.key` of `dir`. One that others may read, or that is no key, is refused,
    /// and with it the whole directory: starting without an epoch would look like data loss.
    pub fn load(dir: &Path) -> Result<Self, VaultError> {
        let mut keys = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(VaultError::EpochFile)? {
            let name = entry.map_err(VaultError::EpochFile)?.file_name();
            if let Some(n) = name.to_str().and_then(epoch_of) {
                keys.insert(n, read_key(dir, n)?);
            }
        }
        let current = *keys.last_key_value().ok_or(VaultError::EpochNone)?.0;
        Ok(Self { dir: dir.to_owned(), keys, current })
    }

    /// Makes the key of epoch `n` and writes it durably. An existing one is never overwritten.
    pub fn create(dir: &Path, n: u32, entropy: &dyn Entropy) -> Result<(), VaultError> {
        let bytes = Zeroizing::new(entropy.array::<32>());
        let mut text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        text.push('\n');
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(VaultError::EpochFile)?;
        write_key(dir, n, text.as_bytes()).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => VaultError::EpochExists(n),
            _ => VaultError::EpochFile(error),
        })
    }

    pub fn current(&self) -> u32 {
        self.current
    }

    pub fn oldest(&self) -> u32 {
        // Never empty: `load` demands one key and `destroy` refuses the current one.
        self.keys.keys().next().copied().unwrap_or(self.current)
    }

    /// Every epoch at hand, oldest first.
    pub fn numbers(&self) -> Vec<u32> {
        self.keys.keys().copied().collect()
    }

    pub fn contains(&self, n: u32) -> bool {
        self.keys.contains_key(&n)
    }

    /// Makes epoch `n`, which is after the current one; it is the current one from now on.
    pub(super) fn begin(&mut self, n: u32, entropy: &dyn Entropy) -> Result<(), VaultError> {
        if n <= self.current {
            return Err(VaultError::EpochExists(n));
        }
        Self::create(&self.dir, n, entropy)?;
        self.keys.insert(n, read_key(&self.dir, n)?);
        self.current = n;
        Ok(())
    }

    /// Reads the directory again: another process may have begun an epoch, or destroyed one. If it
    /// cannot be read, what was read before stays.
    pub(super) fn reload(&mut self) -> Result<(), VaultError> {
        *self = Self::load(&self.dir)?;
        Ok(())
    }

    /// Overwrites and removes the key file, durably. The caller has made sure nothing needs it.
    pub(super) fn destroy(&mut self, n: u32) -> Result<(), VaultError> {
        if n == self.current {
            return Err(VaultError::EpochInUse(n));
        }
        if !self.keys.contains_key(&n) {
            return Err(VaultError::EpochMissing(n));
        }
        erase_key(&self.dir, n).map_err(VaultError::EpochFile)?;
        self.keys.remove(&n);
        Ok(())
    }

    pub(super) fn wrap(&self, entropy: &dyn Entropy, id: KeyId, bytes: &[u8; 32]) -> (u32, Vec<u8>) {
        // `current` always names a loaded key: `load`, `begin` and `destroy` keep it so.
        let key = self.keys.get(&self.current).expect("the current epoch is loaded");
        let mut wrapped = Vec::with_capacity(WRAPPED_LEN);
        aead::seal_onto(&mut wrapped, key, entropy, &associated(id, self.current), bytes);
        (self.current, wrapped)
    }

    pub(super) fn unwrap(
        &self,
        epoch: u32,
        id: KeyId,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let key = self.keys.get(&epoch).ok_or(VaultError::EpochMissing(epoch))?;
        let opened = aead::open(key, &associated(id, epoch), wrapped).ok_or(VaultError::KeyringDamaged)?;
        let mut bytes = Zeroizing::new([0u8; 32]);
        if opened.len() != bytes.len() {
            return Err(VaultError::KeyringDamaged);
        }
        bytes.copy_from_slice(&opened);
        Ok(bytes)
    }
}

/// What a wrapped key is bound to. The class is not among it: keys are wrapped in advance, before
/// anyone knows what for. The values sealed under the key bind the class (`seal`).
fn associated(id: KeyId, epoch: u32) -> Vec<u8> {
    aead::framed(&[b"mandate/wrap/v1", id.as_bytes(), &epoch.to_be_bytes()])
}

/// One number has one file name: no signs, no leading zeros.
fn epoch_of(file_name: &str) -> Option<u32> {
    let number = file_name.strip_prefix("epoch-")?.strip_suffix(".key")?;
    number.parse::<u32>().ok().filter(|n| n.to_string() == number)
}

fn key_path(dir: &Path, n: u32) -> PathBuf {
    dir.join(format!("epoch-{n}.key"))
}

fn read_key(dir: &Path, n: u32) -> Result<LessSafeKey, VaultError> {
    let file = File::open(key_path(dir, n)).map_err(VaultError::EpochFile)?;
    // Asked of the open file, so that it is the file that is read.
    let mode = file.metadata().map_err(VaultError::EpochFile)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(VaultError::EpochMode(n));
    }
    // Roomy enough never to grow, which would leave a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * FILE_LIMIT as usize));
    file.take(FILE_LIMIT).read_to_end(&mut text).map_err(VaultError::EpochFile)?;
    let mut bytes = Zeroizing::new([0u8; 33]);
    // One byte of room too many: 32 must come out, not the first 32 of more.
    match URL_SAFE_NO_PAD.decode_slice(text.trim_ascii_end(), bytes.as_mut_slice()) {
        Ok(32) => {}
        _ => return Err(VaultError::EpochMalformed(n)),
    }
    let (bytes, _) = bytes.split_first_chunk::<32>().ok_or(VaultError::EpochMalformed(n))?;
    Ok(aead::key(bytes))
}

/// A crash at any line leaves no file of the proper name, or the whole one.
fn write_key(dir: &Path, n: u32, text: &[u8]) -> std::io::Result<()> {
    let draft = dir.join(format!(".epoch-{n}.key.draft"));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    // A link, not a rename: it fails if the name is taken.
    let linked = fs::hard_link(&draft, key_path(dir, n));
    fs::remove_file(&draft)?;
    linked?;
    File::open(dir)?.sync_all()
}

/// Overwriting is best effort below a journaling or copying file system; the removal is what counts.
fn erase_key(dir: &Path, n: u32) -> std::io::Result<()> {
    let path = key_path(dir, n);
    let mut file = OpenOptions::new().write(true).open(&path)?;
    let length = file.metadata()?.len().min(FILE_LIMIT);
    file.write_all(&vec![0u8; length as usize])?;
    file.sync_all()?;
    fs::remove_file(&path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{FixedClock, SystemEntropy};

    fn some_id() -> KeyId {
        KeyId::new(&FixedClock::at(1_800_000_000), &SystemEntropy, Some(1))
    }

    #[test]
    fn the_highest_epoch_wraps_and_the_older_ones_still_unwrap() {
        let dir = tempfile::tempdir().unwrap();
        EpochKeys::create(dir.path(), 9, &SystemEntropy).unwrap();
        let id = some_id();
        let (epoch, wrapped) = EpochKeys::load(dir.path()).unwrap().wrap(&SystemEntropy, id, &[5; 32]);
        assert_eq!((epoch, wrapped.len()), (9, WRAPPED_LEN));

        // 10 sorts after 9, although its name does not.
        EpochKeys::create(dir.path(), 10, &SystemEntropy).unwrap();
        let keys = EpochKeys::load(dir.path()).unwrap();
        assert_eq!((keys.current(), keys.oldest()), (10, 9));
        assert_eq!(*keys.unwrap(9, id, &wrapped).unwrap(), [5; 32]);
        assert!(matches!(keys.unwrap(10, id, &wrapped), Err(VaultError::KeyringDamaged)));
        assert!(matches!(keys.unwrap(9, some_id(), &wrapped), Err(VaultError::KeyringDamaged)));
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o644, 0o610] {
            let dir = tempfile::tempdir().unwrap();
            EpochKeys::create(dir.path(), 1, &SystemEntropy).unwrap();
            fs::set_permissions(key_path(dir.path(), 1), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(EpochKeys::load(dir.path()), Err(VaultError::EpochMode(1))), "mode {mode:o}");
        }
    }

    #[test]
    fn a_made_key_file_has_mode_0600_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        EpochKeys::create(dir.path(), 1, &SystemEntropy).unwrap();
        let before = fs::read(key_path(dir.path(), 1)).unwrap();
        let mode = fs::metadata(key_path(dir.path(), 1)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(EpochKeys::create(dir.path(), 1, &SystemEntropy), Err(VaultError::EpochExists(1))));
        assert_eq!(fs::read(key_path(dir.path(), 1)).unwrap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a draft was left behind");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let short = URL_SAFE_NO_PAD.encode([1; 31]);
        let long = URL_SAFE_NO_PAD.encode([1; 33]);
        for content in ["", "x", &short, &long, &"A".repeat(500)] {
            let dir = tempfile::tempdir().unwrap();
            EpochKeys::create(dir.path(), 1, &SystemEntropy).unwrap();
            fs::write(key_path(dir.path(), 1), content).unwrap();
            assert!(
                matches!(EpochKeys::load(dir.path()), Err(VaultError::EpochMalformed(1))),
                "{} characters were taken for a key",
                content.len()
            );
        }
    }

    #[test]
    fn an_empty_directory_has_no_epoch() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("epoch-01.key"), "x").unwrap();
        assert!(matches!(EpochKeys::load(dir.path()), Err(VaultError::EpochNone)));
    }

    #[test]
    fn no_key_shows_in_debug() {
        let dir = tempfile::tempdir().unwrap();
        EpochKeys::create(dir.path(), 3, &SystemEntropy).unwrap();
        let shown = format!("{:?}", EpochKeys::load(dir.path()).unwrap());
        assert_eq!(shown, "EpochKeys { epochs: [3], .. }");
    }
}
