//! SHA-256 digests and key thumbprints, each with one spelling: base64url, 43 characters.

use std::fmt;
use std::str::FromStr;

use super::base64url::{self, NotCanonical};

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotCanonical;
            fn from_str(text: &str) -> Result<Self, NotCanonical> {
                base64url::decode_array(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base64url::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

bytes32!(
    /// A SHA-256 digest: of a payload segment, of a disclosure, of a package.
    Digest
);
bytes32!(
    /// The RFC 7638 thumbprint of a public key; what `kid` holds.
    KeyId
);

impl Digest {
    /// SHA-256 of the bytes as they are.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes.as_ref());
        let mut out = [0u8; 32];
        out.copy_from_slice(hash.as_ref());
        Self(out)
    }
}

impl KeyId {
    /// SHA-256 of the key's canonical JSON (RFC 7638 §3).
    pub fn of_canonical_jwk(canonical: &str) -> Self {
        Self(*Digest::of(canonical).as_bytes())
    }

    /// That of an Ed25519 public key (RFC 8037 §2).
    pub fn of_ed25519(public: &[u8; 32]) -> Self {
        let x = base64url::encode(public);
        Self::of_canonical_jwk(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
    }
}
