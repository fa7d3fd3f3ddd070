//! What the ledger says of an order before it is taken up: whether work has begun.

use sqlx::Row;

use super::ledger::{Ledger, damaged, failed};
use crate::domain::{ExecutionId, Refusal, StoreId};

impl Ledger {
    /// Whether rows may have been touched for this instruction on this store, or the act has ended.
    /// A plan that was never recorded is no beginning.
    pub async fn has_begun(&self, instruction_digest: &[u8; 32], store: &StoreId) -> Result<bool, Refusal> {
        let known: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM executions WHERE instruction_digest = ? AND store = ? \
             AND (state = 'ended' OR outline IS NOT NULL)",
        )
        .bind(instruction_digest.as_slice())
        .bind(store.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        Ok(known.is_some())
    }

    /// Frees the subject of an order that is refused: its execution, if one is open without anything
    /// recorded, is forgotten.
    pub async fn abandon(&self, instruction_digest: &[u8; 32], store: &StoreId) -> Result<(), Refusal> {
        let open = sqlx::query(
            "SELECT execution FROM executions WHERE instruction_digest = ? AND store = ? \
             AND state = 'open' AND outline IS NULL",
        )
        .bind(instruction_digest.as_slice())
        .bind(store.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        let Some(row) = open else { return Ok(()) };
        let execution: ExecutionId =
            row.try_get::<String, _>(0).map_err(damaged)?.parse().map_err(damaged)?;
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
        let begun = || shop.ledger.has_begun(task.instruction_digest(), task.store());
        assert!(!begun().await.unwrap());
        let Begun::Open(run) = shop.ledger.begin(&task, NOW).await.unwrap() else { panic!("it is new") };
        drop(run);
        assert!(!begun().await.unwrap());
        shop.ledger.abandon(task.instruction_digest(), task.store()).await.unwrap();
        let other = Order::new(Act::Erase, 2).task();
        erase(&shop.work(), &other).await.unwrap();
        assert!(shop.ledger.has_begun(other.instruction_digest(), other.store()).await.unwrap());
        shop.ledger.abandon(other.instruction_digest(), other.store()).await.unwrap();
        assert!(shop.ledger.has_begun(other.instruction_digest(), other.store()).await.unwrap());
    }
}
