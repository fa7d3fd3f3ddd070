//! What the ledger says of an order before it is taken up: whether it was given before, and whether work has begun.

use super::ledger::{Ledger, damaged, failed};
use crate::domain::{ExecutionId, Refusal, StoreId};

impl Ledger {
    /// The execution that this instruction was taken up as on this store, if it was.
    pub async fn taken_up_as(
        &self,
        instruction_digest: &[u8; 32],
        store: &StoreId,
    ) -> Result<Option<ExecutionId>, Refusal> {
        let known: Option<String> =
            sqlx::query_scalar("SELECT execution FROM executions WHERE instruction_digest = ? AND store = ?")
                .bind(instruction_digest.as_slice())
                .bind(store.as_str())
                .fetch_optional(&self.pool)
                .await
                .map_err(failed)?;
        known.map(|text| text.parse().map_err(damaged)).transpose()
    }

    /// Whether this very execution may have touched rows, or has ended.
    /// A plan that was never recorded is no beginning.
    pub async fn has_begun(&self, execution: ExecutionId) -> Result<bool, Refusal> {
        Ok(self.begun_at(execution).await?.is_some())
    }

    /// When that began, seconds.
    pub async fn begun_at(&self, execution: ExecutionId) -> Result<Option<i64>, Refusal> {
        sqlx::query_scalar(
            "SELECT begun_at FROM executions WHERE execution = ? AND (state = 'ended' OR outline IS NOT NULL)",
        )
        .bind(execution.to_string())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)
    }

    /// Frees the subject of an order that is refused: its execution, if it is open without anything
    /// recorded, is forgotten.
    pub async fn abandon(&self, execution: ExecutionId) -> Result<(), Refusal> {
        let open: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM executions WHERE execution = ? AND state = 'open' AND outline IS NULL",
        )
        .bind(execution.to_string())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        if open.is_none() {
            return Ok(());
        }
        let run = self.run(execution)?;
        self.withdraw(&run).await
    }
}

#[cfg(test)]
mod tests {
    use crate::agent::erase::erase;
    use crate::agent::ledger::Begun;
    use crate::agent::test_store::{NOW, Order, TestStore};
    use crate::domain::Act;

    #[tokio::test]
    async fn work_has_begun_once_a_plan_is_recorded_and_not_before() {
        let shop = TestStore::new().await;
        let task = Order::new(Act::Erase, 1).task();
        let begun = || shop.ledger.has_begun(task.execution());
        assert!(!begun().await.unwrap());
        let Begun::Open(run) = shop.ledger.begin(&task, NOW).await.unwrap() else { panic!("it is new") };
        drop(run);
        assert!(!begun().await.unwrap());
        let taken_up = || shop.ledger.taken_up_as(task.instruction_digest(), task.store());
        assert_eq!(taken_up().await.unwrap(), Some(task.execution()));
        shop.ledger.abandon(task.execution()).await.unwrap();
        assert_eq!(taken_up().await.unwrap(), None, "one that was withdrawn may be ordered again");
        let other = Order::new(Act::Erase, 2).task();
        erase(&shop.work(), &other).await.unwrap();
        assert!(shop.ledger.has_begun(other.execution()).await.unwrap());
        shop.ledger.abandon(other.execution()).await.unwrap();
        assert!(shop.ledger.has_begun(other.execution()).await.unwrap());
    }
}
