//! What the audit asks of destroyed data that belongs to no case, message or instruction: `SHREDDED`.

use super::audit_facts::{CaseFact, EpochFact, Facts, InstructionFact, MessageFact, RefusalFact};
use super::rules::{Broken, Rule};
use crate::domain::event::DataShredded;
use crate::domain::{InstructionId, MessageId, RequestId};

/// The fact of a leaf that says what was destroyed: what it was of must be there in the history.
pub(super) fn shredded(
    index: u64,
    subject: &str,
    event: &DataShredded,
    facts: &mut Facts,
) -> Result<(), Broken> {
    let other = || Rule::Shredded.broken("data of this class is of another kind of thing");
    match event.class.as_str() {
        "request" => {
            let id = RequestId::from_resource_name(subject).map_err(|_| other())?;
            facts.case(id.as_uuid(), index, &CaseFact::Shredded);
        }
        "intake" => {
            let id = MessageId::from_resource_name(subject).map_err(|_| other())?;
            facts.message(id.as_uuid(), index, &MessageFact::Shredded);
        }
        "instruction" => {
            let id = InstructionId::from_resource_name(subject).map_err(|_| other())?;
            facts.instruction(id.as_uuid(), index, &InstructionFact::Shredded);
        }
        "refusal" => {
            let leaf = number(subject, "leaves/").ok_or_else(other)?;
            facts.refusal(leaf, index, &RefusalFact::Shredded);
        }
        _ => return Err(Rule::Shredded.broken("no data of this class is kept")),
    }
    Ok(())
}

/// The fact of a leaf that says that the keyring is of an epoch.
pub(super) fn rotated(index: u64, subject: &str, facts: &mut Facts) -> Result<(), Broken> {
    let epoch = number(subject, "epochs/").and_then(|epoch| u32::try_from(epoch).ok());
    let epoch = epoch.ok_or_else(|| Rule::Shredded.broken("it names no epoch"))?;
    facts.epoch(index, &EpochFact(epoch));
    Ok(())
}

/// The number behind the prefix, in its one spelling.
fn number(subject: &str, prefix: &str) -> Option<u64> {
    let text = subject.strip_prefix(prefix)?;
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// The refusal at one leaf, so far.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    refused: bool,
}

impl Refusal {
    pub(super) fn take(&mut self, fact: RefusalFact) -> Result<(), Broken> {
        match fact {
            RefusalFact::Refused => {
                self.refused = true;
                Ok(())
            }
            RefusalFact::Shredded => {
                Rule::Shredded.holds(self.refused, "no leaf before it is the refusal whose data is destroyed")
            }
        }
    }
}

/// The keyring's epoch, so far.
#[derive(Debug, Default)]
pub(super) struct Epoch(u32);

impl Epoch {
    /// The same again is a step that was run again.
    pub(super) fn take(&mut self, EpochFact(epoch): EpochFact) -> Result<(), Broken> {
        Rule::Shredded.holds(epoch >= self.0, "the keyring goes back to a former epoch")?;
        self.0 = epoch;
        Ok(())
    }
}
