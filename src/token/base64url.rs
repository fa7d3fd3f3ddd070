//! base64url as JOSE uses it (RFC 7515 §2): no padding, and one spelling only.
//!
//! A decoder that forgives stray bits gives two texts for one value; then two
//! payload segments would carry one payload with two digests.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is no canonical base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical base64url without padding")]
pub struct NotCanonical;

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes; padding, white space, other alphabets and stray trailing bits are refused.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, NotCanonical> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotCanonical)
}

/// Decodes exactly `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], NotCanonical> {
    decode(text)?.try_into().map_err(|_| NotCanonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_spelling() {
        assert_eq!(decode("AA").unwrap(), [0]);
        for bad in ["AB", "AA==", "A", "A A", "+/+/", "AA\n", "AAB"] {
            assert_eq!(decode(bad), Err(NotCanonical), "{bad:?} was taken");
        }
    }
}
