//! One leaf and its receipt, held against the pins.

use serde::Serialize;

use super::head;
use super::leaf_form;
use super::pins::Pins;
use super::rules::LogName;
use crate::domain::Timestamp;
use crate::trail::{Receipt, leaf_hash, verify_inclusion};

/// What a good receipt proves: this event was logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proven {
    pub log: LogName,
    pub index: u64,
    /// Size of the log at the receipt's checkpoint.
    pub size: u64,
    #[serde(rename = "type")]
    pub type_: String,
    pub subject: String,
    pub time: Timestamp,
    /// Pinned witnesses that cosigned the checkpoint.
    pub witnesses: usize,
}

/// Checks a receipt (C2SP `tlog-proof`) for the exact bytes of a leaf. The error is one sentence.
pub fn verify(receipt: &str, leaf: &[u8], pins: &Pins) -> Result<Proven, String> {
    let receipt = Receipt::parse(receipt).map_err(|error| format!("the receipt: {error}"))?;
    if receipt.extra.is_some() {
        return Err("the receipt: it carries extra data, which nothing signs".to_owned());
    }
    let note = receipt.checkpoint.to_string();
    let (log, head) = match head::open(&note, &pins.trail, pins) {
        Ok(head) => (LogName::Trail, head),
        Err(what) => match head::open(&note, &pins.authority, pins) {
            Ok(head) => (LogName::Authority, head),
            Err(_) => return Err(format!("the receipt's checkpoint: {what}")),
        },
    };
    let checkpoint = &head.checkpoint;
    verify_inclusion(&leaf_hash(leaf), receipt.index, checkpoint.size(), &receipt.proof, checkpoint.root())
        .map_err(|error| format!("leaf {} or its proof: {error}", receipt.index))?;
    let (read, _) = leaf_form::read(log, pins.source(), None, leaf)
        .map_err(|broken| format!("{log} leaf {} breaks {broken}", receipt.index))?;
    leaf_form::seen_by(head.witnessed_at, read.time())
        .map_err(|broken| format!("{log} leaf {} breaks {broken}", receipt.index))?;
    Ok(Proven {
        log,
        index: receipt.index,
        size: checkpoint.size(),
        type_: read.type_().to_owned(),
        subject: read.subject().to_owned(),
        time: read.time(),
        witnesses: head.witnesses,
    })
}
