//! What a caller was let in by, looked at again where it counts.
//!
//! A call is let in, and then its command waits for the writer. Meanwhile the caller's access key may be
//! revoked or its certificate withdrawn. So whatever a call hands to the writer bears its pass, and the
//! writer looks at that in the transaction, right before the command runs: behind the leaf of a revocation
//! nothing stands that the revoked key let in. A command without a pass is the gateway's own.
//!
//! The pass travels with the task and not through every use case's arguments, so that none can forget it.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use futures::future::Either;

use crate::domain::{Reason, Refusal};
use crate::sql::{Conn, query};

/// Whether the caller's connection is still good.
type Connection = dyn Fn() -> Result<(), Refusal> + Send + Sync;

/// What a caller was let in by.
#[derive(Clone)]
pub struct Pass(Arc<Held>);

struct Held {
    /// RFC 7638 thumbprint.
    access_key: String,
    connection: Box<Connection>,
}

tokio::task_local! {
    static PASS: Pass;
}

impl Pass {
    /// `connection` says why the caller's certificate would not be let in any more.
    pub fn new(
        access_key: impl Into<String>,
        connection: impl Fn() -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Pass {
        Pass(Arc::new(Held { access_key: access_key.into(), connection: Box::new(connection) }))
    }

    /// Does the work under this pass.
    pub fn during<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        PASS.scope(self, work)
    }

    /// Takes the pass of now, if there is one, into work that another task will do.
    pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
        match Pass::of_now() {
            Some(pass) => Either::Left(pass.during(work)),
            None => Either::Right(work),
        }
    }

    pub(super) fn of_now() -> Option<Pass> {
        PASS.try_with(Pass::clone).ok()
    }
}

/// Which access keys, of those that the passes of a batch name, are good as the transaction sees it.
pub(super) struct GoodKeys {
    named: HashSet<String>,
    /// Read once, and again where a command of the batch changed access keys.
    good: Option<HashSet<String>>,
}

impl GoodKeys {
    pub(super) fn of<'a>(passes: impl Iterator<Item = &'a Pass>) -> GoodKeys {
        GoodKeys { named: passes.map(|pass| pass.0.access_key.clone()).collect(), good: None }
    }

    /// What was read no longer holds.
    pub(super) fn forget(&mut self) {
        self.good = None;
    }

    /// Why this pass of the batch lets nobody in any more, if so.
    pub(super) async fn check(
        &mut self,
        conn: &mut Conn,
        pass: &Pass,
    ) -> Result<Result<(), Refusal>, sqlx::Error> {
        let good = match &mut self.good {
            Some(good) => good,
            none => none.insert(unrevoked(conn, &self.named).await?),
        };
        if !good.contains(&pass.0.access_key) {
            return Ok(Err(Reason::TokenKeyUnknown.into()));
        }
        Ok((pass.0.connection)())
    }
}

async fn unrevoked(conn: &mut Conn, named: &HashSet<String>) -> Result<HashSet<String>, sqlx::Error> {
    let rows = query("SELECT thumbprint FROM access_keys WHERE revoked_at IS NULL AND thumbprint IN ")
        .bind_list(named.iter().cloned())
        .fetch_all(conn)
        .await?;
    Ok(rows.iter().map(|row| row.get("thumbprint")).collect())
}
