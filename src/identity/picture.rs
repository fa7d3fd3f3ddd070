//! Whether files changed: one digest over their content.
//!
//! The content and not its dates: two writes within a tick of the file system's clock, or a copy
//! that keeps the old date, would go unseen.

use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256 over names, lengths and contents, in order. A file that cannot be read counts as one
/// that holds its error's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picture([u8; 32]);

pub(super) fn picture<'a>(files: impl IntoIterator<Item = &'a Path>) -> Picture {
    let mut context = Context::new(&SHA256);
    let mut frame = |tag: u8, bytes: &[u8]| {
        context.update(&[tag]);
        context.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(bytes);
    };
    for file in files {
        frame(0, file.as_os_str().as_encoded_bytes());
        match std::fs::read(file).map(zeroize::Zeroizing::new) {
            Ok(content) => frame(1, &content),
            Err(error) => frame(2, format!("{:?}", error.kind()).as_bytes()),
        }
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Picture(out)
}
