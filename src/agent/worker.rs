//! One order, from the lease to the accepted report.
//!
//! ```text
//! lease ─► refresh the authority log ─► prove the admission ─► warrant ─► act ─► upload ─► report ─► shred
//!                                   └─► refused: a signed report says why
//! ```
//!
//! While it works the lease is renewed; where that fails, work stops before the
//! lease ends, and a later attempt goes on from the ledger. What can pass by
//! itself is deferred. What has begun is never given up here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::authority::Replica;
use super::connectors::sqlite::SqliteStore;
use super::data_map::DataMap;
use super::erase::erase;
use super::export::export;
use super::faults::NoFaults;
use super::gateway::{Gateway, LeaseHold};
use super::ledger::Ledger;
use super::notebook::{Mark, Notebook};
use super::orders::{Leased, Own};
use super::outcome::{Outcome, Package};
use super::preview::{check_seen, preview};
use super::return_and_erase::{Courier, return_and_erase};
use super::shredding::Rounds;
use super::signed_report::{self, Frame};
use super::task::Task;
use super::vault_sealer::VaultSealer;
use super::workplace::Workplace;
use crate::authority::Warrant;
use crate::domain::clock::uuid_v7;
use crate::domain::{Act, AgentId, Clock, Entropy, ExecutionId, Reason, Refusal, StoreId};
use crate::fault;
use crate::grpc::v1;
use crate::token::{Digest, PrivateKey, PublicJwk, ReportOutcome};

/// Work stops so many seconds before the lease ends.
const MARGIN: i64 = 5;
/// Pages of the authority log in one refresh.
const MAX_PAGES: usize = 10_000;

/// A store that the agent stands beside.
pub struct Site {
    pub map: DataMap,
    pub connector: SqliteStore,
}

/// All that working on orders takes.
pub struct Worker {
    pub agent: AgentId,
    pub gateway: Gateway,
    pub replica: Replica,
    pub notebook: Notebook,
    pub ledger: Ledger,
    pub sealer: Arc<VaultSealer>,
    pub own: Own,
    pub sites: BTreeMap<StoreId, Site>,
    pub spool: PathBuf,
    pub report_key: PrivateKey,
    /// The one before, while its reports may still be on their way.
    pub former_report_key: Option<PublicJwk>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub rounds: Rounds,
}

/// Takes a package to the gateway under a lease.
struct Handing<'a> {
    worker: &'a Worker,
    hold: &'a LeaseHold,
}

#[async_trait::async_trait]
impl Courier for Handing<'_> {
    async fn hand_over(&self, package: &Package) -> Result<(), Refusal> {
        self.worker.upload(self.hold, package).await
    }
}

/// Whether it may pass by itself, so that another attempt is worth making.
pub fn passes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::AuthorityStale
            | Reason::WitnessesMissing
            | Reason::InstructionNotYetValid
            | Reason::InstructionHeld
            | Reason::SubjectBusy
            | Reason::StoreFailed
            | Reason::ReadBackFailed
            | Reason::StageConflict
            | Reason::ExportGone
            | Reason::DigestMismatch
            | Reason::Unavailable
            | Reason::Overloaded
            | Reason::RateLimited
            | Reason::ReportInvalid
            | Reason::LedgerBehind
            | Reason::Internal
    )
}

impl Worker {
    /// Carries one order out, or says why not. Nothing that goes wrong here ends the agent.
    pub async fn handle(&mut self, message: v1::Order) {
        let hold = match ExecutionId::from_resource_name(&message.execution) {
            Ok(execution) => LeaseHold { execution, token: message.lease_token.clone() },
            Err(_) => {
                tracing::error!("an order names no execution");
                return;
            }
        };
        let leased = match Leased::read(message) {
            Ok(leased) => leased,
            // Without a payload there is nothing a report could name.
            Err(refusal) => return self.defer(&hold, &refusal, false).await,
        };
        match self.judge(&leased).await {
            Ok((warrant, task)) => self.work(&hold, &leased, &warrant, &task).await,
            Err(refusal) => self.refuse(&hold, &leased, &refusal).await,
        }
    }

    /// Brings the replica up to the gateway's newest head.
    pub async fn refresh(&mut self) -> Result<(), Refusal> {
        let mut leaves = Vec::new();
        for _ in 0..MAX_PAGES {
            let start = self.replica.size() + leaves.len() as u64;
            let (page, checkpoint, more) = self.gateway.authority(start).await?;
            let stuck = more && page.is_empty();
            leaves.extend(page);
            if stuck {
                break;
            }
            if !more {
                let next = self.replica.extend(&leaves, &checkpoint, self.clock.now_seconds())?;
                self.notebook.add_authority_leaves(self.replica.size(), &leaves).await?;
                self.replica = next;
                return Ok(());
            }
        }
        Err(Refusal::new(Reason::AuthorityStale).note("the log does not come to an end"))
    }

    /// The permit, and what it lets the data side do.
    async fn judge(&mut self, leased: &Leased) -> Result<(Warrant, Task), Refusal> {
        self.refresh().await?;
        let admitted = leased.admission(&self.replica)?;
        // A head that witnesses had to see first is older than those of replies: it has a mark of its own.
        let mark = match self.replica.pins().witnesses.required {
            0 => Mark::Signed,
            _ => Mark::Witnessed,
        };
        self.see_trail(mark, &admitted.head).await?;
        // An admission is proven as often as whoever holds the log's keys likes; the act is done once.
        let taken_up = self.ledger.taken_up_as(leased.digest.as_bytes(), &leased.store).await?;
        if taken_up.is_some_and(|execution| execution != leased.execution) {
            return Err(Refusal::at(Reason::OrderRepeated, "order.execution"));
        }
        let begun = self.ledger.begun_at(leased.execution).await?;
        let warrant = leased.warrant(&admitted, &self.replica, &self.own, begun, self.clock.now_seconds())?;
        let mut task = Task::from_warrant(&warrant, leased.execution);
        if let (None, Some(signed)) = (begun, &warrant.instruction().statement().preview) {
            let site = self.sites.get(warrant.store()).ok_or(Reason::StoreUnknown)?;
            let bound = check_seen(&site.map, &task, signed, leased.preview.as_ref())?;
            task = task.within(bound);
        }
        Ok((warrant, task))
    }

    /// Works while the lease holds.
    async fn work(&self, hold: &LeaseHold, leased: &Leased, warrant: &Warrant, task: &Task) {
        let done = tokio::select! {
            done = self.carry_out(hold, leased, warrant, task) => done,
            () = self.keep(hold, leased.lease_end) => Err(Reason::LeaseLost.into()),
        };
        let Err(refusal) = done else { return };
        let begun = self.begun(leased).await;
        if refusal.reason == Reason::LeaseLost {
            tracing::warn!(execution = %leased.execution, "the lease was lost; it goes on from the ledger");
        } else if begun || passes(refusal.reason) {
            self.defer(hold, &refusal, begun).await;
        } else {
            self.tell(hold, leased, warrant.act(), ReportOutcome::Failed, &refusal).await;
        }
    }

    async fn carry_out(
        &self,
        hold: &LeaseHold,
        leased: &Leased,
        warrant: &Warrant,
        task: &Task,
    ) -> Result<(), Refusal> {
        let outcome = match self.act(task, hold).await {
            Ok(outcome) => outcome,
            // It has ended, and since then its store, its map or its keys have gone: what was signed stands.
            Err(refusal) => match self.ledger.report(leased.execution).await? {
                Some(report) => {
                    let outcome = self.ledger.outcome(leased.execution).await?;
                    return self.hand_in(hold, report, outcome.as_ref()).await;
                }
                None => return Err(refusal),
            },
        };
        let report = self.report_of(leased, warrant, &outcome).await?;
        self.hand_in(hold, report, Some(&outcome)).await
    }

    /// Hands in package, report and details. Once the trail proves that they were taken, the keys and the
    /// package go: those of this very execution. What a repeat found belongs to the first.
    async fn hand_in(
        &self,
        hold: &LeaseHold,
        report: String,
        outcome: Option<&Outcome>,
    ) -> Result<(), Refusal> {
        let details = outcome.map(signed_report::preview_details).transpose()?.unwrap_or_default();
        let package = outcome.and_then(|outcome| outcome.package.as_ref());
        // What a contract's end returns was handed over before the first row went.
        let is_there = outcome.is_some_and(|outcome| outcome.act == Act::ReturnAndErase);
        if let Some(package) = package.filter(|_| !is_there) {
            self.upload(hold, package).await?;
        }
        match self.submit(hold, report.clone(), details).await {
            // The gateway has lost it: we have not.
            Err(refusal)
                if is_there && matches!(refusal.reason, Reason::ReportInvalid | Reason::DigestMismatch) =>
            {
                let Some(package) = package else { return Err(refusal) };
                self.upload(hold, package).await?;
                self.submit(hold, report, Vec::new()).await?;
            }
            done => done?,
        }
        self.destroy(hold.execution).await;
        Ok(())
    }

    async fn upload(&self, hold: &LeaseHold, package: &Package) -> Result<(), Refusal> {
        let mut digest = [0; 32];
        hex::decode_to_slice(&package.sha256, &mut digest).map_err(|_| Reason::Internal)?;
        let path = self.spool.join(&package.file);
        self.gateway.upload(hold, &path, &Digest::from_bytes(digest), package.size).await
    }

    /// What was taken in is not deferred because destroying failed: the next round does it.
    async fn destroy(&self, execution: ExecutionId) {
        if let Err(refusal) = self.settle(execution).await {
            tracing::warn!(%execution, %refusal, "its keys could not be destroyed yet");
        }
    }

    async fn act(&self, task: &Task, hold: &LeaseHold) -> Result<Outcome, Refusal> {
        let site = self.sites.get(task.store()).ok_or(Reason::StoreUnknown)?;
        let work = Workplace {
            map: &site.map,
            connector: &site.connector,
            ledger: &self.ledger,
            clock: &*self.clock,
            entropy: &*self.entropy,
            faults: &NoFaults,
        };
        match task.act() {
            Act::Erase => erase(&work, task).await,
            Act::Preview => preview(&work, task).await,
            Act::Export => export(&work, task, &self.spool).await,
            Act::ReturnAndErase => {
                return_and_erase(&work, task, &self.spool, &Handing { worker: self, hold }).await
            }
            _ => Err(Reason::ActNotSupported.into()),
        }
    }

    /// The signed report of an outcome; for a repeat the very bytes of the first.
    async fn report_of(
        &self,
        leased: &Leased,
        warrant: &Warrant,
        outcome: &Outcome,
    ) -> Result<String, Refusal> {
        if let Some(kept) = self.ledger.report(outcome.execution).await? {
            return Ok(kept);
        }
        let root = self.replica.root();
        let report = signed_report::ended(&self.frame(&root), leased, warrant, outcome)?;
        let report = report.sign(&self.report_key)?;
        self.ledger.keep_report(outcome.execution, &report).await?;
        fault::point("agent.signed");
        Ok(report)
    }

    fn frame<'a>(&'a self, root: &'a crate::trail::Hash) -> Frame<'a> {
        Frame {
            agent: &self.agent,
            origin: &self.replica.pins().trail.origin,
            id: uuid_v7(&*self.clock, &*self.entropy),
            now: self.clock.now_seconds(),
            authority_size: self.replica.size(),
            authority_root: root,
        }
    }

    /// Hands a report in, and believes it taken only when the trail proves it.
    async fn submit(&self, hold: &LeaseHold, report: String, details: Vec<u8>) -> Result<(), Refusal> {
        let receipt = self.gateway.report(hold, report.clone(), details).await?;
        fault::point("agent.reported");
        let reported = self.proven(hold.execution, &receipt).await?;
        if reported.report != report {
            return Err(Refusal::at(Reason::TrailForked, "receipt").note("it proves another report"));
        }
        tracing::info!(execution = %hold.execution, outcome = %reported.outcome, "reported");
        Ok(())
    }

    /// No warrant: the signed report says why, unless it may pass.
    async fn refuse(&self, hold: &LeaseHold, leased: &Leased, refusal: &Refusal) {
        if passes(refusal.reason) {
            let begun = self.begun(leased).await;
            return self.defer(hold, refusal, begun).await;
        }
        match self.ledger.report(leased.execution).await {
            // Work that has ended was lawful when it was done: its own report is the answer. Without a
            // warrant nothing but the report goes out.
            Ok(Some(report)) => {
                if let Err(refusal) = self.hand_in(hold, report, None).await {
                    self.defer(hold, &refusal, true).await;
                }
                return;
            }
            Ok(None) => {}
            Err(failure) => return self.defer(hold, &failure, true).await,
        }
        let outcome = match self.ledger.has_begun(leased.execution).await {
            // `refused` says that nothing was touched.
            Ok(false) => ReportOutcome::Refused,
            Ok(true) => ReportOutcome::Failed,
            Err(failure) => return self.defer(hold, &failure, true).await,
        };
        if let Err(error) = self.ledger.abandon(leased.execution).await {
            tracing::warn!(execution = %leased.execution, %error, "the subject could not be freed");
        }
        let act = leased.claimed_act().unwrap_or(Act::Erase);
        self.tell(hold, leased, act, outcome, refusal).await;
    }

    /// Signs and hands in that an order was not carried out.
    async fn tell(
        &self,
        hold: &LeaseHold,
        leased: &Leased,
        act: Act,
        outcome: ReportOutcome,
        refusal: &Refusal,
    ) {
        tracing::warn!(execution = %leased.execution, %refusal, %outcome, "an order was not carried out");
        if let Err(failure) = self.try_tell(hold, leased, act, outcome, refusal.reason).await {
            tracing::warn!(execution = %leased.execution, %failure, "the report of it was not taken");
            let begun = self.begun(leased).await;
            self.defer(hold, refusal, begun).await;
        }
    }

    /// Whether rows may have been touched; a ledger that does not answer leaves it open.
    async fn begun(&self, leased: &Leased) -> bool {
        self.ledger.has_begun(leased.execution).await.unwrap_or(true)
    }

    async fn try_tell(
        &self,
        hold: &LeaseHold,
        leased: &Leased,
        act: Act,
        outcome: ReportOutcome,
        reason: Reason,
    ) -> Result<(), Refusal> {
        let instruction = leased.claimed_instruction().ok_or_else(|| {
            Refusal::at(Reason::TrailForked, "admission").note("the leaf names no instruction")
        })?;
        let anchor = self.ledger.anchor().await?;
        let map = self
            .sites
            .get(&leased.store)
            .map_or_else(|| "none".to_owned(), |site| hex::encode(site.map.version()));
        let root = self.replica.root();
        let frame = self.frame(&root);
        let returned = self.ledger.returned(leased.execution).await?;
        let export = returned.filter(|returned| returned.handed_over).and_then(|returned| returned.export);
        let report =
            signed_report::not_done(&frame, leased, instruction, act, outcome, reason, map, anchor, export);
        let report = report.sign(&self.report_key)?;
        self.submit(hold, report.clone(), Vec::new()).await?;
        if let Err(refusal) = self.end_not_done(hold.execution, &report).await {
            // The report is in the trail; the next round ends the execution by it.
            tracing::warn!(execution = %hold.execution, %refusal, "it could not be given up yet");
        }
        Ok(())
    }

    /// An execution reported as not carried out is over: whatever the ledger has of it goes.
    async fn end_not_done(&self, execution: ExecutionId, report: &str) -> Result<(), Refusal> {
        if self.ledger.standing(execution).await?.is_some() {
            self.ledger.give_up(execution, self.clock.now_seconds(), report).await?;
        }
        self.settle(execution).await
    }

    async fn defer(&self, hold: &LeaseHold, refusal: &Refusal, begun: bool) {
        tracing::warn!(execution = %hold.execution, %refusal, "an order is deferred");
        if let Err(error) = self.gateway.defer(hold, refusal.reason, begun).await {
            // The lease runs out by itself.
            tracing::warn!(execution = %hold.execution, %error, "the gateway did not take the deferral");
        }
    }

    /// Renews the lease for as long as it can; returns shortly before it ends.
    async fn keep(&self, hold: &LeaseHold, mut end: i64) {
        loop {
            let left = end - MARGIN - self.clock.now_seconds();
            let Ok(left @ 1..) = u64::try_from(left) else { return };
            tokio::time::sleep(Duration::from_secs((left / 2).max(1))).await;
            let limit = Duration::from_secs(left.div_ceil(2));
            match tokio::time::timeout(limit, self.gateway.renew(hold)).await {
                Ok(Ok(renewed)) => end = renewed,
                Ok(Err(refusal)) if refusal.reason == Reason::LeaseLost => return,
                // It did not answer: asked again while there is time.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}
