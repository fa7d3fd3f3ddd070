//! Executions at their end: how one stands, what it came to, and giving one up.

use serde_json::json;
use sqlx::Row;

use super::ledger::{Ledger, append, damaged, failed, one, outcome_place};
use super::ledger_returns::forget_return;
use super::ledger_subjects::free_subjects;
use super::outcome::Outcome;
use crate::domain::{ExecutionId, Reason, Refusal};

/// How an execution stands in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing is recorded, so nothing was touched.
    Unrecorded,
    /// It goes on from its batches.
    Open,
    /// With the signed report, once one was kept.
    Ended(Option<String>),
}

impl Ledger {
    /// `None`: the ledger knows no such execution.
    pub async fn standing(&self, execution: ExecutionId) -> Result<Option<Standing>, Refusal> {
        let found =
            sqlx::query("SELECT state, outline IS NOT NULL, report FROM executions WHERE execution = ?")
                .bind(execution.to_string())
                .fetch_optional(&self.pool)
                .await
                .map_err(failed)?;
        let Some(row) = found else { return Ok(None) };
        if row.try_get::<String, _>(0).map_err(damaged)? == "ended" {
            return Ok(Some(Standing::Ended(row.try_get(2).map_err(damaged)?)));
        }
        let recorded: bool = row.try_get(1).map_err(damaged)?;
        Ok(Some(if recorded { Standing::Open } else { Standing::Unrecorded }))
    }

    /// What an ended execution came to; `None` where it was given up, or opens no more.
    pub async fn outcome(&self, execution: ExecutionId) -> Result<Option<Outcome>, Refusal> {
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT outcome FROM executions WHERE execution = ? AND state = 'ended'")
                .bind(execution.to_string())
                .fetch_optional(&self.pool)
                .await
                .map(Option::flatten)
                .map_err(failed)?;
        let Some(sealed) = sealed else { return Ok(None) };
        match self.sealer.open(outcome_place(execution), &sealed).await {
            Ok(plain) => serde_json::from_slice(&plain).map(Some).map_err(damaged),
            Err(refusal) if refusal.reason == Reason::NotFound => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Ends an execution without an outcome, because the report that it was not carried out is in the
    /// trail: nobody will lease it again. Its seals are overwritten, its subject is free.
    pub async fn give_up(&self, execution: ExecutionId, now: i64, report: &str) -> Result<(), Refusal> {
        let _run = self.run(execution)?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let done = sqlx::query(
            "UPDATE executions SET state = 'ended', ended_at = coalesce(ended_at, ?), report = ?, \
             outline = NULL, traces = NULL, outcome = NULL WHERE execution = ? AND report IS NULL",
        )
        .bind(now)
        .bind(report)
        .bind(execution.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        one(done.rows_affected())?;
        sqlx::query("UPDATE batches SET sealed = NULL WHERE execution = ?")
            .bind(execution.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        forget_return(&mut transaction, execution).await?;
        free_subjects(&mut transaction, execution).await?;
        let entry = json!({"entry": "given_up", "execution": execution, "at": now});
        let at = append(&mut transaction, entry).await?;
        self.commit(transaction, at).await?;
        self.cut_log().await
    }

    /// Forgets every execution of which nothing is recorded and on which nobody works: a crash, or a
    /// lost lease, left it. Its order, if it comes again, begins anew.
    pub async fn withdraw_unrecorded(&self) -> Result<(), Refusal> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT execution FROM executions WHERE state = 'open' AND outline IS NULL LIMIT 1000",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        for name in names {
            match self.run(name.parse().map_err(damaged)?) {
                Ok(run) => self.withdraw(&run).await?,
                Err(refusal) if refusal.reason == Reason::SubjectBusy => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::erase::erase;
    use crate::agent::faults::{Faults, Point};
    use crate::agent::ledger::Begun;
    use crate::agent::test_store::{NOW, Order, TestStore};
    use crate::domain::Act;

    /// The store gives up at a point, as where it is not reachable.
    struct StopAt(Point);

    impl Faults for StopAt {
        fn at(&self, point: Point) -> Result<(), Refusal> {
            if point == self.0 { Err(Reason::StoreFailed.into()) } else { Ok(()) }
        }
    }

    async fn seals_left(shop: &TestStore) -> i64 {
        sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM batches WHERE sealed IS NOT NULL) \
             + (SELECT count(*) FROM executions WHERE traces IS NOT NULL OR outcome IS NOT NULL) \
             + (SELECT count(*) FROM open_subjects)",
        )
        .fetch_one(&shop.ledger.pool)
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn an_act_half_done_and_given_up_keeps_no_seal_and_frees_its_subject() {
        let mut shop = TestStore::new().await;
        let task = Order::new(Act::Erase, 1).task();
        assert!(erase(&shop.work_with(&StopAt(Point::Deleted)), &task).await.is_err());
        assert_eq!(shop.ledger.standing(task.execution()).await.unwrap(), Some(Standing::Open));
        let busy = Order::new(Act::Erase, 2).task();
        assert_eq!(shop.ledger.begin(&busy, NOW).await.err().unwrap().reason, Reason::SubjectBusy);
        assert!(seals_left(&shop).await > 0);

        shop.ledger.give_up(task.execution(), NOW, "report").await.unwrap();
        assert_eq!(seals_left(&shop).await, 0);
        let ended = Some(Standing::Ended(Some("report".into())));
        assert_eq!(shop.ledger.standing(task.execution()).await.unwrap(), ended);
        assert_eq!(shop.ledger.outcome(task.execution()).await.unwrap(), None);
        assert!(shop.ledger.give_up(task.execution(), NOW, "another").await.is_err());
        // It is never carried out again, and the person is free; the chain holds.
        assert_eq!(shop.ledger.begin(&task, NOW).await.err().unwrap().reason, Reason::StageConflict);
        shop.restart().await;
        erase(&shop.work(), &busy).await.unwrap();
    }

    #[tokio::test]
    async fn an_ended_act_whose_report_was_kept_is_not_given_up() {
        let shop = TestStore::new().await;
        let task = Order::new(Act::Erase, 1).task();
        let outcome = erase(&shop.work(), &task).await.unwrap();
        shop.ledger.keep_report(task.execution(), "report").await.unwrap();
        assert!(shop.ledger.give_up(task.execution(), NOW, "another").await.is_err());
        assert_eq!(shop.ledger.outcome(task.execution()).await.unwrap(), Some(outcome));
        shop.ledger.sealer.shred(task.execution()).await.unwrap();
        assert_eq!(shop.ledger.outcome(task.execution()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_a_crash_left_unrecorded_is_withdrawn_and_what_is_under_way_is_not() {
        let mut shop = TestStore::new().await;
        let task = Order::new(Act::Erase, 1).task();
        let Begun::Open(run) = shop.ledger.begin(&task, NOW).await.unwrap() else { panic!("it is new") };
        shop.ledger.withdraw_unrecorded().await.unwrap();
        assert_eq!(shop.ledger.standing(task.execution()).await.unwrap(), Some(Standing::Unrecorded));
        drop(run);
        shop.restart().await;
        shop.ledger.withdraw_unrecorded().await.unwrap();
        assert_eq!(shop.ledger.standing(task.execution()).await.unwrap(), None);
        assert_eq!(seals_left(&shop).await, 0);
        // Its keys went, too.
        assert!(shop.ledger.sealer.mark_like(task.execution().as_uuid().as_bytes(), b"").await.is_err());

        let recorded = Order::new(Act::Erase, 2).task();
        assert!(erase(&shop.work_with(&StopAt(Point::Intended)), &recorded).await.is_err());
        shop.ledger.withdraw_unrecorded().await.unwrap();
        assert_eq!(shop.ledger.standing(recorded.execution()).await.unwrap(), Some(Standing::Open));
    }
}
