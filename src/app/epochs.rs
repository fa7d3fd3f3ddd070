//! An epoch of the keyring ends: every data key goes over to the next one, and its key file is destroyed
//! (DESIGN §8). What was shredded before can then not be had from any copy of the keyring either.

use crate::domain::event::EpochRotated;
use crate::store::{Command, StoreError, Tx};
use crate::vault::EndedEpochs;

use super::{App, AppResult};

impl App {
    /// Ends all epochs before the current one. The leaf comes after the deed and says how it stands, so
    /// after a crash in between the same call says it then.
    pub async fn end_former_epochs(&self, by: &str) -> AppResult<EndedEpochs> {
        let ended = self.vault.keyring().end_former_epochs().await?;
        let command = RecordRotated { by: by.to_owned(), epoch: ended.current, rewrapped: ended.rewrapped };
        self.store.transact(command).await?;
        Ok(ended)
    }
}

struct RecordRotated {
    by: String,
    epoch: u32,
    rewrapped: u64,
}

#[async_trait::async_trait]
impl Command for RecordRotated {
    const NAME: &'static str = "record_epoch_rotated";
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let event = EpochRotated { by: self.by.clone(), rewrapped: self.rewrapped };
        tx.append(&format!("epochs/{}", self.epoch), event)?;
        Ok(())
    }
}
