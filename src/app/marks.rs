//! The keyring is told how far the trail has come, so that an older database is known for one (decision 0024).
//!
//! A start on an older database would sign a second history. And it would destroy data keys: those that only
//! the newer one names look like orphans to it.

use std::time::Duration;

use tokio::time::timeout;

use super::{App, AppResult};
use crate::store::{Conn, Head, StoreError, logs};
use crate::vault::Mark;

/// Between two marks, where the trail grows without a pause. One costs a sync of the keyring.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the last one may take. The next start makes up for it.
const LAST_MARK: Duration = Duration::from_secs(5);

impl App {
    /// Tells the keyring how far the trail has come. What earlier runs told is looked at first, once.
    pub async fn mark_trail(&self) -> AppResult<()> {
        let origin = self.store.origins.trail();
        if self.marked_before.get().is_none() {
            let before = self.vault.keyring().mark(&origin).await?;
            self.marked_before.get_or_init(|| before.is_some());
        }
        let Head { size, checkpoint } = self.store.head_changes().borrow().trail.clone();
        if size > 0 {
            self.vault.keyring().raise_mark(&Mark { origin, size, checkpoint }).await?;
        }
        Ok(())
    }

    /// Tells it after each commit, at most once a second, until it is aborted. A failure is logged, and the next
    /// commit's mark makes up for it.
    pub async fn keep_marking(&self) {
        let mut heads = self.store.head_changes();
        while heads.changed().await.is_ok() {
            if let Err(error) = self.mark_trail().await {
                tracing::warn!(%error, "the keyring was not told how far the trail has come");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Commits what waits, tells the keyring the last of it, and closes both.
    pub async fn close(&self) -> AppResult<()> {
        self.store.close().await;
        match timeout(LAST_MARK, self.mark_trail()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the keyring was not told how far the trail has come"),
            Err(_) => {
                tracing::warn!("the keyring did not answer when it was told how far the trail has come")
            }
        }
        Ok(self.vault.keyring().close().await?)
    }

    /// Whether what this database does not name may be destroyed: an earlier run marked the trail, and the
    /// database reaches the mark. Without one there is nothing to tell an older database by.
    pub(super) async fn may_sweep(&self, conn: &mut Conn) -> AppResult<bool> {
        if !self.marked_before.get().is_some_and(|before| *before) {
            return Ok(false);
        }
        // First the mark: others go on meanwhile.
        let mark = self.vault.keyring().mark(&self.store.origins.trail()).await?;
        let size = logs::heads(conn).await?.trail.size;
        match mark {
            Some(mark) if size < mark.size => {
                tracing::error!(reason = "database_older", size, marked = mark.size, "no key is destroyed");
                Err(StoreError::Corrupt("log_heads.size"))
            }
            mark => Ok(mark.is_some()),
        }
    }
}
