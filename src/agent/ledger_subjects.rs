//! Whose acts are open: on one person, one act at a time.
//!
//! An open execution holds a mark for each identifier, made under the
//! execution's own key: the key that is destroyed when it has ended. So an old
//! copy of the ledger can be matched with nobody's identifier afterwards,
//! whatever other acts are open by then. A key for all marks could not promise
//! that: it would have to live while any act is open, and on a busy agent one
//! always is. The price is one HMAC for each identifier and open execution at
//! each beginning; open are the act under way and those that wait to go on.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use super::ledger::{Ledger, failed, one};
use super::task::Task;
use crate::domain::{ExecutionId, Reason, Refusal};

/// What an act is about, as messages to be marked.
struct Messages {
    /// It marks these as busy.
    own: BTreeSet<Vec<u8>>,
    /// It waits while any of these is.
    others: BTreeSet<Vec<u8>>,
}

/// No identifier's format.
const TENANT: &str = "tenant";

/// One message for each identifier: acts that share only one of them exclude each other, too. An act on all of a
/// tenant's rows excludes every other of the tenant.
fn messages(task: &Task) -> Messages {
    let message = |format: &str, value: &str| {
        let mut message = b"mandate ledger open subject v1".to_vec();
        for part in [task.store().as_str(), task.tenant(), format, value] {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part.as_bytes());
        }
        message
    };
    let (one, all) = (message(TENANT, "one person"), message(TENANT, "everybody"));
    if !task.act().has_subject() {
        return Messages { own: [all.clone()].into(), others: [one, all].into() };
    }
    let subject: BTreeSet<_> =
        task.subject().iter().map(|identifier| message(identifier.format(), identifier.value())).collect();
    let with = |more| subject.iter().cloned().chain([more]).collect();
    Messages { own: with(one), others: with(all) }
}

impl Ledger {
    /// Marks the task's identifiers as busy; `SUBJECT_BUSY` where an open execution has marked one.
    pub(super) async fn occupy(&self, connection: &mut SqliteConnection, task: &Task) -> Result<(), Refusal> {
        let messages = messages(task);
        // All marks of one execution are under one key.
        let open: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT min(subject) FROM open_subjects GROUP BY execution")
                .fetch_all(&mut *connection)
                .await
                .map_err(failed)?;
        for other in &open {
            for message in &messages.others {
                // A key that is not there must not pass for a subject that is free.
                let mark = self.sealer.mark_like(other, message).await.map_err(|_| {
                    Refusal::at(Reason::StoreFailed, "ledger").note("an open execution's key did not serve")
                })?;
                if is_marked(connection, &mark).await? {
                    return Err(Reason::SubjectBusy.into());
                }
            }
        }
        for message in &messages.own {
            let mark = self.sealer.mark(task.execution(), message).await?;
            let done = sqlx::query("INSERT INTO open_subjects (subject, execution) VALUES (?, ?)")
                .bind(mark)
                .bind(task.execution().to_string())
                .execute(&mut *connection)
                .await
                .map_err(failed)?;
            one(done.rows_affected())?;
        }
        Ok(())
    }
}

async fn is_marked(connection: &mut SqliteConnection, mark: &[u8]) -> Result<bool, Refusal> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM open_subjects WHERE subject = ?")
        .bind(mark)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    Ok(found.is_some())
}

pub(super) async fn free_subjects(
    connection: &mut SqliteConnection,
    execution: ExecutionId,
) -> Result<(), Refusal> {
    sqlx::query("DELETE FROM open_subjects WHERE execution = ?")
        .bind(execution.to_string())
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::ledger::Begun;
    use crate::agent::sealer::Sealer;
    use crate::agent::test_store::{NOW, Order, TestSealer, TestStore, user};
    use crate::domain::{Act, Identifier};

    #[tokio::test]
    async fn one_act_at_a_time_on_a_subject_whatever_identifiers_name_it() {
        let shop = TestStore::new().await;
        let email = Identifier::Email { email: "one@mail.example".into() };
        let both = Order::new(Act::Erase, 1).subject(vec![user("u_1"), email.clone()]).task();
        let Begun::Open(run) = shop.ledger.begin(&both, NOW).await.unwrap() else { panic!("it is new") };
        for subject in [vec![user("u_1")], vec![email]] {
            let other = Order::new(Act::Export, 2).subject(subject).task();
            let refusal = shop.ledger.begin(&other, NOW).await.err().unwrap();
            assert_eq!(refusal.reason, Reason::SubjectBusy);
        }
        // The same id in another tenant is another person.
        let stranger = Order::new(Act::Erase, 3).tenant("app-b").task();
        assert!(shop.ledger.begin(&stranger, NOW).await.is_ok());
        shop.ledger.withdraw(&run).await.unwrap();
        assert!(shop.ledger.begin(&Order::new(Act::Export, 2).task(), NOW).await.is_ok());
    }

    #[tokio::test]
    async fn two_open_acts_on_one_person_of_two_tenants_share_no_mark() {
        let shop = TestStore::new().await;
        let (here, there) =
            (Order::new(Act::Erase, 1).task(), Order::new(Act::Erase, 2).tenant("app-b").task());
        let _runs =
            [shop.ledger.begin(&here, NOW).await.unwrap(), shop.ledger.begin(&there, NOW).await.unwrap()];
        let marks: Vec<Vec<u8>> = sqlx::query_scalar("SELECT subject FROM open_subjects")
            .fetch_all(&shop.ledger.pool)
            .await
            .unwrap();
        // One of the identifier and one of the tenant, each.
        let distinct: BTreeSet<&[u8]> = marks.iter().map(|mark| &mark[16..]).collect();
        assert_eq!((marks.len(), distinct.len()), (4, 4));
        // With the key, and only with it, a mark can be matched.
        let message = messages(&here).own.pop_first().unwrap();
        let own = TestSealer::new().mark(here.execution(), &message).await.unwrap();
        assert!(marks.contains(&own));
    }

    #[tokio::test]
    async fn an_act_on_everybody_waits_for_those_on_one_person_and_they_for_it() {
        let shop = TestStore::new().await;
        let everybody = |number| Order::new(Act::ReturnAndErase, number).subject(Vec::new());
        let Begun::Open(one) = shop.ledger.begin(&Order::new(Act::Erase, 1).task(), NOW).await.unwrap()
        else {
            panic!("it is new")
        };
        let busy = |begun: Result<Begun, Refusal>| begun.err().map(|refusal| refusal.reason);
        let all = everybody(2).task();
        assert_eq!(busy(shop.ledger.begin(&all, NOW).await), Some(Reason::SubjectBusy));
        shop.ledger.withdraw(&one).await.unwrap();
        let _run = shop.ledger.begin(&all, NOW).await.unwrap();
        let person = Order::new(Act::Export, 3).subject(vec![user("u_2")]).task();
        assert_eq!(busy(shop.ledger.begin(&person, NOW).await), Some(Reason::SubjectBusy));
        assert_eq!(busy(shop.ledger.begin(&everybody(4).task(), NOW).await), Some(Reason::SubjectBusy));
        let elsewhere = everybody(5).tenant("app-b").task();
        assert_eq!(busy(shop.ledger.begin(&elsewhere, NOW).await), None);
    }

    #[tokio::test]
    async fn where_an_open_acts_key_is_lost_nobody_passes_for_free() {
        let shop = TestStore::new().await;
        let task = Order::new(Act::Erase, 1).task();
        let _run = shop.ledger.begin(&task, NOW).await.unwrap();
        shop.ledger.sealer.shred(task.execution()).await.unwrap();
        let other = Order::new(Act::Erase, 2).task();
        assert_eq!(shop.ledger.begin(&other, NOW).await.err().unwrap().reason, Reason::StoreFailed);
    }
}
