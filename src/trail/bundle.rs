//! Entry bundles (C2SP `tlog-tiles`): the entries under one level-0 tile, each with its length as
//! a big-endian `uint16` before it.

use super::tile::FULL_WIDTH;

/// Longest entry a bundle can hold, in bytes.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// Why bytes are no bundle, or entries do not fit in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The bytes end inside an entry or its length.
    #[error("the bundle ends inside entry {at}")]
    Truncated { at: u16 },
    /// Another number of entries than the path says, or more than 256, or none.
    #[error("the bundle does not hold the number of entries it should")]
    WrongWidth,
    /// An entry longer than 65,535 bytes.
    #[error("an entry is longer than a bundle can hold")]
    EntryTooLong,
}

/// Writes 1 to 256 entries as a bundle.
pub fn encode_bundle<B: AsRef<[u8]>>(entries: &[B]) -> Result<Vec<u8>, BundleError> {
    if entries.is_empty() || entries.len() > usize::from(FULL_WIDTH) {
        return Err(BundleError::WrongWidth);
    }
    let bytes: usize = entries.iter().map(|entry| 2 + entry.as_ref().len()).sum();
    let mut out = Vec::with_capacity(bytes);
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Ok(out)
}

/// The entries of a bundle that must hold exactly `width` of them. They point into `bytes`.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    if !(1..=FULL_WIDTH).contains(&width) {
        return Err(BundleError::WrongWidth);
    }
    let mut entries = Vec::with_capacity(usize::from(width));
    let mut rest = bytes;
    for at in 0..width {
        if rest.is_empty() {
            return Err(BundleError::WrongWidth);
        }
        let (length, after) = rest.split_first_chunk::<2>().ok_or(BundleError::Truncated { at })?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(BundleError::Truncated { at })?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(BundleError::WrongWidth) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_went_in() {
        let entries: Vec<Vec<u8>> = (0..256usize).map(|i| vec![i as u8; i]).collect();
        let bytes = encode_bundle(&entries).unwrap();
        assert_eq!(&bytes[..6], &[0, 0, 0, 1, 1, 0]);
        assert_eq!(decode_bundle(&bytes, 256).unwrap(), entries);
    }

    #[test]
    fn a_bundle_of_another_width_or_with_a_broken_end_is_refused() {
        let bytes = encode_bundle(&[b"ab".as_slice(), b"c"]).unwrap();
        assert_eq!(bytes, [0, 2, b'a', b'b', 0, 1, b'c']);
        assert_eq!(decode_bundle(&bytes, 1), Err(BundleError::WrongWidth));
        assert_eq!(decode_bundle(&bytes, 3), Err(BundleError::WrongWidth));
        assert_eq!(decode_bundle(&bytes, 0), Err(BundleError::WrongWidth));
        assert_eq!(decode_bundle(&bytes, 257), Err(BundleError::WrongWidth));
        for cut in 0..bytes.len() {
            assert!(decode_bundle(&bytes[..cut], 2).is_err(), "{cut} bytes were taken");
        }
        assert_eq!(decode_bundle(&[0], 1), Err(BundleError::Truncated { at: 0 }));
        assert_eq!(decode_bundle(&[0, 5, 1], 1), Err(BundleError::Truncated { at: 0 }));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        assert_eq!(encode_bundle::<&[u8]>(&[]), Err(BundleError::WrongWidth));
        assert_eq!(encode_bundle(&vec![b"x"; 257]), Err(BundleError::WrongWidth));
        assert!(encode_bundle(&[vec![0; MAX_ENTRY]]).is_ok());
        assert_eq!(encode_bundle(&[vec![0; MAX_ENTRY + 1]]), Err(BundleError::EntryTooLong));
    }
}
