//! Running the commands of one batch inside its transaction.

use std::any::TypeId;
use std::collections::BTreeMap;

use crate::domain::{Clock, Entropy, Reason, Timestamp};

use super::pass::{GoodKeys, Pass};
use super::sequencer::{Logs, Outcomes, Queued, Ran, RunTogether, is_constraint};
use super::tx::{LogEnd, StoreError, Tx};
use super::wakes::Topic;
use crate::sql::{Conn, query};

/// The commands of a batch and what each left behind in the last attempt.
pub(super) struct Batch {
    done: Vec<Done>,
    wakes: Vec<Topic>,
}

pub(super) struct Done {
    pub command: Box<dyn Queued>,
    /// What its caller was let in by; `None` for the gateway's own.
    pass: Option<Pass>,
    /// The leaf its receipt is for.
    pub receipt_for: Option<u64>,
    ran: bool,
}

impl Batch {
    pub(super) fn new(commands: Vec<Box<dyn Queued>>) -> Batch {
        let done = commands.into_iter().map(|command| {
            let pass = command.pass().cloned();
            Done { command, pass, receipt_for: None, ran: false }
        });
        Batch { done: done.collect(), wakes: Vec::new() }
    }

    pub(super) fn wakes(&self) -> &[Topic] {
        &self.wakes
    }

    pub(super) fn into_done(self) -> impl Iterator<Item = Done> {
        self.done.into_iter()
    }

    pub(super) fn refuse(self, reason: Reason) {
        for entry in self.done {
            entry.command.reply(Err(reason.into()));
        }
    }

    /// Forgets an earlier attempt.
    fn restart(&mut self) {
        self.wakes.clear();
        for entry in &mut self.done {
            (entry.receipt_for, entry.ran) = (None, false);
        }
    }

    /// The places of commands that may run together, by type.
    fn groups(&self) -> BTreeMap<TypeId, (RunTogether, Vec<usize>)> {
        let mut groups: BTreeMap<TypeId, (RunTogether, Vec<usize>)> = BTreeMap::new();
        for (place, entry) in self.done.iter().enumerate() {
            if let Some((kind, run)) = entry.command.together() {
                groups.entry(kind).or_insert_with(|| (run, Vec::new())).1.push(place);
            }
        }
        groups.retain(|_, (_, places)| places.len() > 1);
        groups
    }
}

/// Where both logs end while the batch is being made.
pub(super) struct Ends {
    pub trail: LogEnd,
    pub authority: LogEnd,
    /// Milliseconds since the epoch of the last leaf.
    pub time: i64,
}

impl Ends {
    pub(super) fn of(logs: &Logs) -> Ends {
        let time = logs.trail.last_time.max(logs.authority.last_time);
        Ends { trail: logs.trail.end(), authority: logs.authority.end(), time }
    }
}

/// The open transaction.
pub(super) struct Run<'a> {
    pub conn: &'a mut Conn,
    pub ends: &'a mut Ends,
    pub clock: &'a dyn Clock,
    pub entropy: &'a dyn Entropy,
}

impl Run<'_> {
    /// Runs every command. `Err` where the whole batch must end.
    pub(super) async fn all(&mut self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        batch.restart();
        let mut keys = GoodKeys::of(batch.done.iter().filter_map(|entry| entry.pass.as_ref()));
        for (run, places) in batch.groups().into_values() {
            let mut heard = Vec::with_capacity(places.len());
            for place in places {
                if self.is_heard(batch, place, &mut keys).await? {
                    heard.push(place);
                }
            }
            if !heard.is_empty() {
                self.together(batch, run, &heard).await?;
            }
        }
        for place in 0..batch.done.len() {
            if !batch.done[place].ran && self.is_heard(batch, place, &mut keys).await? {
                let woken = batch.wakes.len();
                self.alone(batch, place).await?;
                if batch.wakes[woken..].contains(&Topic::AccessKeys) {
                    keys.forget();
                }
            }
        }
        Ok(())
    }

    /// Whether what the command's caller was let in by still holds. If not, that is its answer.
    async fn is_heard(
        &mut self,
        batch: &mut Batch,
        place: usize,
        keys: &mut GoodKeys,
    ) -> Result<bool, sqlx::Error> {
        let Some(pass) = batch.done[place].pass.clone() else { return Ok(true) };
        let Err(refusal) = keys.check(self.conn, &pass).await? else { return Ok(true) };
        let entry = &mut batch.done[place];
        entry.command.refuse(refusal);
        entry.ran = true;
        Ok(false)
    }

    /// One savepoint for all of them; whatever goes wrong, each still runs by itself afterwards.
    async fn together(
        &mut self,
        batch: &mut Batch,
        run: RunTogether,
        places: &[usize],
    ) -> Result<(), sqlx::Error> {
        query("SAVEPOINT command").execute(self.conn).await?;
        let marks = self.marks();
        let name = batch.done[places[0]].command.name();
        let commands: Vec<_> = places.iter().map(|place| batch.done[*place].command.command()).collect();
        let mut tx = self.tx(name);
        let ran = run(&commands, &mut tx).await;
        let wakes = std::mem::take(&mut tx.wakes);
        match ran {
            Ok(outcomes) => {
                self.keep(batch, places, outcomes);
                batch.wakes.extend(wakes);
                query("RELEASE SAVEPOINT command").execute(self.conn).await?;
                Ok(())
            }
            Err(StoreError::Database(error)) if !is_constraint(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%error, name, "commands could not run together; each runs alone");
                self.undo(marks).await
            }
        }
    }

    fn keep(&self, batch: &mut Batch, places: &[usize], outcomes: Outcomes) {
        for (place, outcome) in places.iter().zip(outcomes) {
            if let Some((output, leaf)) = outcome {
                let entry = &mut batch.done[*place];
                entry.command.accept(output);
                (entry.receipt_for, entry.ran) = (leaf, true);
            }
        }
    }

    async fn alone(&mut self, batch: &mut Batch, place: usize) -> Result<(), sqlx::Error> {
        // Without neighbours there is nothing to save it from but the transaction itself.
        let only = batch.done.len() == 1;
        if !only {
            query("SAVEPOINT command").execute(self.conn).await?;
        }
        let marks = self.marks();
        let entry = &mut batch.done[place];
        let mut tx = self.tx(entry.command.name());
        let ran = entry.command.run(&mut tx).await?;
        let (wakes, receipt_for) = (std::mem::take(&mut tx.wakes), tx.receipt_for);
        entry.ran = true;
        if ran == Ran::Undo {
            return if only { self.undo_all(marks).await } else { self.undo(marks).await };
        }
        entry.receipt_for = receipt_for;
        batch.wakes.extend(wakes);
        if !only {
            query("RELEASE SAVEPOINT command").execute(self.conn).await?;
        }
        Ok(())
    }

    fn tx(&mut self, name: &'static str) -> Tx<'_> {
        // Leaf time: never before the previous leaf.
        self.ends.time = self.ends.time.max(self.clock.now().as_millisecond());
        Tx {
            conn: self.conn,
            name,
            now: Timestamp::from_millisecond(self.ends.time).unwrap_or(Timestamp::MAX),
            trail: &mut self.ends.trail,
            authority: &mut self.ends.authority,
            entropy: self.entropy,
            clock: self.clock,
            wakes: Vec::new(),
            receipt_for: None,
        }
    }

    fn marks(&self) -> (usize, usize) {
        (self.ends.trail.pending.len(), self.ends.authority.pending.len())
    }

    /// Back to the savepoint, leaves and all.
    async fn undo(&mut self, marks: (usize, usize)) -> Result<(), sqlx::Error> {
        query("ROLLBACK TO SAVEPOINT command").execute(self.conn).await?;
        query("RELEASE SAVEPOINT command").execute(self.conn).await?;
        self.drop_leaves(marks);
        Ok(())
    }

    /// Back to where the transaction began. What is then committed is an empty one, which needs no lock.
    async fn undo_all(&mut self, marks: (usize, usize)) -> Result<(), sqlx::Error> {
        query("ROLLBACK").execute(self.conn).await?;
        query("BEGIN").execute(self.conn).await?;
        self.drop_leaves(marks);
        Ok(())
    }

    fn drop_leaves(&mut self, (trail, authority): (usize, usize)) {
        self.ends.trail.pending.truncate(trail);
        self.ends.authority.pending.truncate(authority);
    }
}
