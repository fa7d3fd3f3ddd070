//! Sealing single values: `version(1) ‖ nonce(12) ‖ ciphertext ‖ tag(16)`.
//!
//! The associated data binds version, key id, retention class, table, row and column. Moved to another
//! place, filed under another class or given another key's id, a value does not open.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::aead;
use super::data_key::{DataKey, KeyId, KeyMaterial, RetentionClass};
use super::error::VaultError;
use super::keyring::Keyring;
use crate::domain::Entropy;

const VERSION: u8 = 1;

/// Where a sealed value stands. `row` is the row's primary key in its one text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub table: &'a str,
    pub row: &'a str,
    pub column: &'a str,
}

/// Seals and opens personal data.
#[derive(Clone)]
pub struct Vault {
    keyring: Keyring,
    entropy: Arc<dyn Entropy>,
}

impl Vault {
    pub fn new(keyring: Keyring, entropy: Arc<dyn Entropy>) -> Self {
        Self { keyring, entropy }
    }

    /// For taking, shredding and sweeping keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Seals `plaintext` for this place, in the key's class. 29 bytes longer than the plaintext.
    pub fn seal(&self, key: &DataKey, place: Place<'_>, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(1 + aead::OVERHEAD + plaintext.len());
        sealed.push(VERSION);
        let aad = associated(key.id(), key.class(), place);
        aead::seal_onto(&mut sealed, &key.material.sealing, &*self.entropy, &aad, plaintext);
        sealed
    }

    /// Opens what `seal` made, at the same place and in the same class.
    ///
    /// [`VaultError::Shredded`] if the key is gone, [`VaultError::Tampered`] if anything differs.
    pub async fn open(
        &self,
        key: KeyId,
        class: RetentionClass,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let material = self.keyring.material(key).await?;
        open_with(&material, key, class, place, sealed)
    }
}

fn open_with(
    material: &KeyMaterial,
    key: KeyId,
    class: RetentionClass,
    place: Place<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let message = match sealed.split_first() {
        Some((&VERSION, message)) => message,
        _ => return Err(VaultError::Tampered),
    };
    aead::open(&material.sealing, &associated(key, class, place), message).ok_or(VaultError::Tampered)
}

fn associated(key: KeyId, class: RetentionClass, place: Place<'_>) -> Vec<u8> {
    let Place { table, row, column } = place;
    aead::framed(&[
        b"mandate/seal/v1",
        key.as_bytes(),
        class.as_str().as_bytes(),
        table.as_bytes(),
        row.as_bytes(),
        column.as_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{FixedClock, SystemEntropy};
    use crate::vault::{EpochKeys, KeyringPlace, keyed_digest};

    const HERE: Place<'_> = Place { table: "requests", row: "7", column: "extract" };

    async fn vault(dir: &std::path::Path) -> Vault {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        EpochKeys::create(&dir.join("epochs"), 1, &*entropy).unwrap();
        let keyring = Keyring::open(
            &KeyringPlace::File(dir.join("keyring.sqlite")),
            EpochKeys::load(&dir.join("epochs")).unwrap(),
            Arc::new(FixedClock::at(1_800_000_000)),
            Arc::clone(&entropy),
        )
        .await
        .unwrap();
        Vault::new(keyring, entropy)
    }

    #[tokio::test]
    async fn a_value_opens_only_at_its_own_place_in_its_own_class_under_its_own_key() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let key = vault.keyring().take(RetentionClass::Request).await.unwrap();
        let other = vault.keyring().take(RetentionClass::Request).await.unwrap();
        let sealed = vault.seal(&key, HERE, "用户 7".as_bytes());

        let open = async |id, class, place| vault.open(id, class, place, &sealed).await;
        let opened = open(key.id(), RetentionClass::Request, HERE).await.unwrap();
        assert_eq!(opened.as_slice(), "用户 7".as_bytes());

        for elsewhere in [
            Place { table: "messages", ..HERE },
            Place { row: "8", ..HERE },
            Place { column: "subject", ..HERE },
            // The same letters, cut differently.
            Place { table: "requests7", row: "", ..HERE },
        ] {
            let got = open(key.id(), RetentionClass::Request, elsewhere).await;
            assert!(matches!(got, Err(VaultError::Tampered)), "it opened at {elsewhere:?}");
        }
        for class in RetentionClass::ALL.into_iter().filter(|c| *c != RetentionClass::Request) {
            let got = open(key.id(), class, HERE).await;
            assert!(matches!(got, Err(VaultError::Tampered)), "it opened in class {class}");
        }
        let got = open(other.id(), RetentionClass::Request, HERE).await;
        assert!(matches!(got, Err(VaultError::Tampered)), "it opened under another key");
    }

    #[tokio::test]
    async fn one_flipped_bit_anywhere_or_a_missing_byte_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let key = vault.keyring().take(RetentionClass::Intake).await.unwrap();
        let sealed = vault.seal(&key, HERE, b"text");
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let got = vault.open(key.id(), key.class(), HERE, &bad).await;
            assert!(matches!(got, Err(VaultError::Tampered)), "bit {bit} may be flipped");
        }
        for length in 0..sealed.len() {
            let got = vault.open(key.id(), key.class(), HERE, &sealed[..length]).await;
            assert!(matches!(got, Err(VaultError::Tampered)), "{length} bytes are taken for a value");
        }
    }

    #[tokio::test]
    async fn equal_values_are_sealed_to_unequal_bytes_and_an_empty_one_opens() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let key = vault.keyring().take(RetentionClass::Intake).await.unwrap();
        assert_ne!(vault.seal(&key, HERE, b"text"), vault.seal(&key, HERE, b"text"));
        let empty = vault.seal(&key, HERE, b"");
        assert_eq!(empty.len(), 29);
        assert!(vault.open(key.id(), key.class(), HERE, &empty).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_keyed_digest_is_stable_under_its_key_and_differs_under_any_other() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let key = vault.keyring().take(RetentionClass::Instruction).await.unwrap();
        let other = vault.keyring().take(RetentionClass::Instruction).await.unwrap();
        let again = vault.keyring().key(key.id(), RetentionClass::Instruction).await.unwrap();
        let digest = keyed_digest(&key, "idempotency", b"payload");
        assert_eq!(digest, keyed_digest(&again, "idempotency", b"payload"));
        assert_ne!(digest, keyed_digest(&other, "idempotency", b"payload"));
        assert_ne!(digest, keyed_digest(&key, "lookup", b"payload"));
        assert_ne!(digest, keyed_digest(&key, "idempotency", b"payloads"));
    }

    #[tokio::test]
    async fn neither_a_key_nor_an_error_shows_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let key = vault.keyring().take(RetentionClass::Intake).await.unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("DataKey {{ id: KeyId({}), class: Intake, .. }}", key.id()));
        let error = vault.open(key.id(), key.class(), HERE, b"\x01secret words").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
