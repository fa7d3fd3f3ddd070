//! The agent's keyring is told how far notebook and ledger have come, so that an older copy of either is known
//! for one (decisions 0024, 0027).
//!
//! A start on an older notebook would destroy data keys: those that only the newer one names look like orphans
//! to it. One on an older ledger would do again what only the newer one knows to be begun.
//!
//! A mark is told after the commit it speaks of, so a crash in between leaves it lower than the file, never
//! higher. The notebook's is durable before a new key seals anything, the ledger's before a row is touched.

use std::path::Path;

use super::ledger::Ledger;
use super::ledger_chain::Anchor;
use super::notebook_growth::Growth;
use crate::domain::{Reason, Refusal};
use crate::vault::{KeyringPlace, Mark, VaultError};

const NOTEBOOK: &str = "agent/notebook";
const LEDGER: &str = "agent/ledger";

/// What the keyring was told last, as it stands before anything of the agent's is opened.
pub(super) struct Told {
    notebook: Option<Mark>,
    ledger: Option<Mark>,
}

/// The notebook's mark: how many changes it has seen, and which notebook it is.
pub(super) fn of_notebook(growth: &Growth) -> Mark {
    Mark { origin: NOTEBOOK.into(), size: growth.changes, checkpoint: growth.notebook.clone() }
}

/// The ledger's mark: the anchor of its chain.
pub(super) fn of_ledger(at: Anchor) -> Mark {
    Mark { origin: LEDGER.into(), size: at.sequence, checkpoint: hex::encode(at.head) }
}

fn other_notebook() -> Refusal {
    Refusal::at(Reason::NotebookBehind, "notebook").note("it is another agent's, or was made anew")
}

impl Told {
    pub(super) async fn read(keyring: &KeyringPlace) -> Result<Self, VaultError> {
        Ok(Self { notebook: keyring.mark(NOTEBOOK).await?, ledger: keyring.mark(LEDGER).await? })
    }

    /// Neither file is made anew in the place of one that was told of.
    pub(super) fn demand_files(&self, notebook: &Path, ledger: &Path) -> Result<(), Refusal> {
        if self.notebook.is_some() && !notebook.exists() {
            return Err(Refusal::at(Reason::NotebookBehind, "notebook").note("it is not there"));
        }
        if self.ledger.is_some() && !ledger.exists() {
            return Err(Refusal::at(Reason::LedgerBehind, "ledger").note("it is not there"));
        }
        Ok(())
    }

    /// `NOTEBOOK_BEHIND` where it is another one, or has seen fewer changes.
    pub(super) fn demand_notebook(&self, found: &Growth) -> Result<(), Refusal> {
        let Some(mark) = &self.notebook else { return Ok(()) };
        if mark.checkpoint != found.notebook {
            return Err(other_notebook());
        }
        if found.changes < mark.size {
            let note =
                format!("it has seen {} changes, and its keyring was told of {}", found.changes, mark.size);
            return Err(Refusal::at(Reason::NotebookBehind, "notebook").note(note));
        }
        Ok(())
    }

    /// `LEDGER_BEHIND` where it never went through the anchor that was told.
    pub(super) async fn demand_ledger(&self, ledger: &Ledger) -> Result<(), Refusal> {
        let Some(mark) = &self.ledger else { return Ok(()) };
        let mut head = [0; 32];
        hex::decode_to_slice(&mark.checkpoint, &mut head)
            .map_err(|_| Refusal::at(Reason::from(&VaultError::KeyringDamaged), "vault"))?;
        if ledger.contains(Anchor { sequence: mark.size, head }).await? {
            return Ok(());
        }
        let note = format!("it does not hold entry {} of which its keyring was told", mark.size);
        Err(Refusal::at(Reason::LedgerBehind, "ledger").note(note))
    }

    /// Whether a key that the notebook does not name may be destroyed: without a mark there is nothing to tell
    /// an older notebook by.
    pub(super) fn may_sweep(&self) -> bool {
        self.notebook.is_some()
    }
}
