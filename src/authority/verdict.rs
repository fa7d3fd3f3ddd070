//! Judging an evidence bundle against pins: a verdict a person can read, or the fault and where it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::authority_log::{AuthorityLog, refusal_text};
use super::chain::Restart;
use super::evidence::{Bundle, Part, PlacedLeaf, VERSION, part_of};
use super::head::{self, Head};
use super::judged::{self, Admitted};
use super::leaf_form;
use super::pins::Pins;
use super::published::Break;
use super::registered::{Registered, RegisteredBefore};
use super::rules::{Broken, LogName};
use crate::domain::event::{Event, InstructionAdmitted, InstructionContested, InstructionEnded};
use crate::domain::{ControllerId, ExecutionId, ExportId, Ground, StoreId, SubProcessorId, Timestamp};
use crate::token::{CollectionReport, Envelope, Expected, KeySet, Report};
use crate::trail::{Leaf, leaf_hash, verify_inclusion};

/// The part of a bundle that is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The bundle's own form.
    Bundle,
    TrailCheckpoint,
    AuthorityCheckpoint,
    /// The leaf, or its proof: the two do not lead to the trail's checkpoint together.
    TrailProof(u64),
    TrailLeaf(u64),
    AuthorityLeaf(u64),
    /// All leaves together do not give the checkpoint's root.
    AuthorityLog,
    Disclosures,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Bundle => f.write_str("the bundle"),
            Which::TrailCheckpoint => f.write_str("the trail's checkpoint"),
            Which::AuthorityCheckpoint => f.write_str("the authority log's checkpoint"),
            Which::TrailProof(index) => write!(f, "trail leaf {index} or its proof"),
            Which::TrailLeaf(index) => write!(f, "trail leaf {index}"),
            Which::AuthorityLeaf(index) => write!(f, "authority leaf {index}"),
            Which::AuthorityLog => f.write_str("the authority log"),
            Which::Disclosures => f.write_str("the disclosures"),
        }
    }
}

/// Why a bundle proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{which}: {what}")]
pub struct Fault {
    pub which: Which,
    /// One sentence without personal data.
    pub what: String,
}

impl Which {
    fn fault(self, what: impl Into<String>) -> Fault {
        Fault { which: self, what: what.into() }
    }

    fn broken(self) -> impl Fn(Broken) -> Fault {
        move |broken| self.fault(broken.to_string())
    }
}

/// What became of one order.
#[derive(Debug, Clone, Serialize)]
pub struct ExecutionVerdict {
    pub execution: ExecutionId,
    pub store: StoreId,
    /// `completed`, `partial`, `failed` or `refused`; none while the bundle holds no end of it.
    pub outcome: Option<String>,
    /// When that was logged.
    pub at: Option<Timestamp>,
    /// Who signed the report.
    pub agent: Option<String>,
    /// Why it is not completed: a reason code.
    pub reason: Option<String>,
    pub collections: Vec<CollectionReport>,
}

/// What a good bundle proves. `Display` says it in words.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    pub instruction: String,
    pub controller: String,
    pub app: String,
    pub act: String,
    pub request: Option<String>,
    /// SHA-256 over the payload segment, base64url.
    pub digest: String,
    /// Leaf time.
    pub admitted_at: Timestamp,
    pub admitted_index: u64,
    pub key_set_version: u64,
    pub key_set_digest: String,
    /// Opaque ids.
    pub signers: Vec<String>,
    pub executions: Vec<ExecutionVerdict>,
    /// Whom it reached in PPIO's stead, all of them named in the agreement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sub_processors: Vec<SubProcessorId>,
    pub trail_size: u64,
    /// Everything here is as of this head of the authority log.
    pub authority_size: u64,
    /// When this was the newest head, as the required witnesses or the freshness cosigner said.
    pub authority_fresh_at: Option<Timestamp>,
    /// Leaves of other controllers that stand as hashes in the bundle.
    pub authority_withheld: usize,
    /// The controller's newest key set at that head.
    pub newest_key_set_version: u64,
    /// `revoked` or `contested`, where the authority log stops it at that head.
    pub stopped: Option<String>,
    /// Whether the disclosures were given, and are those that were signed.
    pub disclosures_match: bool,
    /// Where the trail broke off and went on under another origin, the last first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<Break>,
    /// Where the controller's key sets broke off, its root lost, and began anew by pin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<Restart>,
}

/// Judges a bundle. Reads nothing but its arguments.
pub fn verify(bundle: &Bundle, pins: &Pins) -> Result<Verdict, Fault> {
    if bundle.version != VERSION {
        return Err(Which::Bundle.fault(format!("it is of version {}, known is {VERSION}", bundle.version)));
    }
    let pins = &pins.followed(bundle.authority.iter().map(|placed| placed.leaf.0.as_slice()));
    let trail = head::open(&bundle.trail.checkpoint, &pins.trail, pins)
        .map_err(|what| Which::TrailCheckpoint.fault(what))?;
    let authority_head = head::open(&bundle.authority_log.checkpoint, &pins.authority, pins)
        .map_err(|what| Which::AuthorityCheckpoint.fault(what))?;
    let leaves = proven_leaves(bundle, &trail)?;
    let authority = replay_authority(bundle, pins, &authority_head)?;

    let mut read = Vec::new();
    let mut previous = None;
    for (index, bytes) in leaves {
        let broken = Which::TrailLeaf(index).broken();
        let (leaf, event) =
            leaf_form::read(LogName::Trail, pins.source(), previous, bytes).map_err(&broken)?;
        leaf_form::seen_by(trail.witnessed_at, leaf.time()).map_err(&broken)?;
        previous = Some(leaf.time());
        read.push((index, leaf, event));
    }
    let registered = registrations(pins, &authority, &read)?;
    let mut reader = Reader { pins, authority: &authority, registered, admitted: None };
    for (index, leaf, event) in &read {
        reader.take(*index, leaf, event)?;
    }
    let Some(found) = reader.admitted else {
        return Err(Which::TrailLeaf(bundle.instruction.index).fault("it admits no instruction"));
    };
    let set = authority.newest_at(&found.admitted.controller, found.admitted.authority_size);
    let newest = authority.newest(&found.admitted.controller);
    // The admission was judged under the first of them.
    let (Some(set), Some(newest)) = (set, newest) else {
        return Err(Which::AuthorityLog.fault("it holds no key set of the controller"));
    };
    if let Some(disclosures) = &bundle.disclosures {
        let origin = pins.trail_origin_at(bundle.instruction.index);
        check_disclosures(&found.event, disclosures, set, origin)?;
    }
    let admitted = found.admitted;
    let restarts = authority.restarts(&admitted.controller);
    let stopped = authority.taken_back(&admitted.controller).why(&admitted.id);
    Ok(Verdict {
        instruction: admitted.id.resource_name(),
        controller: admitted.controller.resource_name(),
        app: admitted.app.resource_name(),
        act: admitted.act.to_string(),
        request: admitted.request.map(|request| request.resource_name()),
        digest: admitted.digest.to_string(),
        admitted_at: found.time,
        admitted_index: bundle.instruction.index,
        key_set_version: admitted.key_set.version,
        key_set_digest: admitted.key_set.digest.to_string(),
        signers: admitted.signers,
        executions: found.executions,
        sub_processors: admitted.sub_processors,
        trail_size: trail.checkpoint.size(),
        authority_size: authority.size(),
        authority_fresh_at: authority_head.dated(),
        authority_withheld: bundle.withheld.len(),
        newest_key_set_version: newest.version(),
        stopped: stopped.map(|why| why.to_string()),
        disclosures_match: bundle.disclosures.is_some(),
        breaks: pins.openings().map(Break::of).collect(),
        restarts,
    })
}

/// What the leaves register: all of it first, since a pinned report key may be one that followed later.
fn registrations(
    pins: &Pins,
    authority: &AuthorityLog,
    leaves: &[(u64, Leaf, Event)],
) -> Result<Registered, Fault> {
    let mut registered = Registered::new(pins);
    for (index, leaf, event) in leaves {
        let taken = match event {
            Event::ReportKeyVouched(_) => {
                registered.take_report_key(*index, leaf.subject(), event, authority)
            }
            _ => registered.take(*index, leaf.subject(), event),
        };
        taken.map_err(Which::TrailLeaf(*index).broken())?;
    }
    match registered.holds_pins() {
        Ok(()) => Ok(registered),
        Err((index, broken)) => Err(Which::TrailLeaf(index).broken()(broken)),
    }
}

/// The whole authority log up to its checkpoint.
fn replay_authority(bundle: &Bundle, pins: &Pins, head: &Head) -> Result<AuthorityLog, Fault> {
    let mut log = match instructing(bundle) {
        Some(controller) => AuthorityLog::about(pins, controller),
        None => AuthorityLog::new(pins),
    };
    let mut withheld = bundle.withheld.clone();
    for PlacedLeaf { index, leaf } in &bundle.authority {
        while let Some(hash) = withheld.remove(&log.size()) {
            log.withhold(hash);
        }
        if *index != log.size() {
            return Err(Which::AuthorityLog.fault(format!("leaf {} is missing or out of order", log.size())));
        }
        log.feed(&leaf.0).map_err(Which::AuthorityLeaf(*index).broken())?;
    }
    while let Some(hash) = withheld.remove(&log.size()) {
        log.withhold(hash);
    }
    if !withheld.is_empty() {
        return Err(Which::AuthorityLog.fault("a withheld leaf has no place in it"));
    }
    let size = head.checkpoint.size();
    if log.size() != size {
        return Err(Which::AuthorityLog
            .fault(format!("the bundle holds {} of its leaves, its checkpoint says {size}", log.size())));
    }
    if log.root_at(size) != Some(head.checkpoint.root()) {
        return Err(Which::AuthorityLog.fault("its leaves do not give its checkpoint's root"));
    }
    Ok(log)
}

/// The controller that the instruction's leaf names.
fn instructing(bundle: &Bundle) -> Option<ControllerId> {
    let leaf = Leaf::parse(&bundle.instruction.leaf.0).ok()?;
    match leaf_form::event_of(&leaf) {
        Ok(Event::InstructionAdmitted(admission)) => Some(admission.controller),
        _ => None,
    }
}

/// Each trail leaf in order of index, every one proven to the one checkpoint and in its own part of the bundle.
fn proven_leaves<'a>(bundle: &'a Bundle, head: &Head) -> Result<BTreeMap<u64, &'a [u8]>, Fault> {
    let mut leaves = BTreeMap::new();
    let parts = bundle.registrations.iter().chain(&bundle.reports).chain([&bundle.instruction]);
    for PlacedLeaf { index, leaf } in parts {
        let which = Which::TrailProof(*index);
        let proof = bundle.trail.proofs.get(index).ok_or_else(|| which.fault("there is no proof of it"))?;
        let checkpoint = &head.checkpoint;
        verify_inclusion(&leaf_hash(&leaf.0), *index, checkpoint.size(), proof, checkpoint.root())
            .map_err(|error| which.fault(error.to_string()))?;
        if leaves.insert(*index, leaf.0.as_slice()).is_some() {
            return Err(Which::Bundle.fault(format!("trail leaf {index} stands in it twice")));
        }
    }
    if let Some(index) = bundle.trail.proofs.keys().find(|index| !leaves.contains_key(index)) {
        return Err(Which::TrailProof(*index).fault("there is a proof of it and no leaf"));
    }
    for (placed, wanted) in bundle
        .registrations
        .iter()
        .map(|leaf| (leaf, "registrations"))
        .chain(bundle.reports.iter().map(|leaf| (leaf, "reports")))
        .chain([(&bundle.instruction, "instruction")])
    {
        let event = Leaf::parse(&placed.leaf.0).ok().and_then(|leaf| leaf_form::event_of(&leaf).ok());
        let part = match event.as_ref().and_then(part_of) {
            Some(Part::Registration) => "registrations",
            Some(Part::Report) => "reports",
            Some(Part::Instruction) => "instruction",
            None => "no part",
        };
        if part != wanted {
            return Err(
                Which::TrailLeaf(placed.index).fault(format!("it stands in {wanted} and belongs in {part}"))
            );
        }
    }
    Ok(leaves)
}

struct Found {
    admitted: Admitted,
    event: InstructionAdmitted,
    time: Timestamp,
    executions: Vec<ExecutionVerdict>,
    exports: BTreeMap<ExportId, ExecutionId>,
    reports: BTreeMap<ExecutionId, Report>,
}

struct Reader<'a> {
    pins: &'a Pins,
    authority: &'a AuthorityLog,
    registered: Registered,
    admitted: Option<Found>,
}

impl Reader<'_> {
    fn take(&mut self, index: u64, leaf: &Leaf, event: &Event) -> Result<(), Fault> {
        let which = Which::TrailLeaf(index);
        match event {
            Event::InstructionAdmitted(event) => {
                let place = judged::Place {
                    subject: leaf.subject(),
                    time: leaf.time(),
                    registered: self.registered.before(index),
                    authority: self.authority,
                    trail_origin: self.pins.trail_origin_at(index),
                };
                let admitted = judged::admission(event, place).map_err(which.broken())?;
                let executions = admitted.orders.iter().map(ExecutionVerdict::open).collect();
                self.admitted = Some(Found {
                    admitted,
                    event: event.clone(),
                    time: leaf.time(),
                    executions,
                    exports: BTreeMap::new(),
                    reports: BTreeMap::new(),
                });
                Ok(())
            }
            // They were taken before.
            _ if matches!(part_of(event), Some(Part::Registration)) => Ok(()),
            _ => {
                let found = self
                    .admitted
                    .as_mut()
                    .ok_or_else(|| which.fault("it tells of a deed before the instruction was admitted"))?;
                let registered = self.registered.before(index);
                found.take(which, leaf, event, registered, self.authority)
            }
        }
    }
}

impl Found {
    fn take(
        &mut self,
        which: Which,
        leaf: &Leaf,
        event: &Event,
        registered: RegisteredBefore<'_>,
        authority: &AuthorityLog,
    ) -> Result<(), Fault> {
        let foreign = || which.fault("it is about another instruction");
        match event {
            Event::InstructionEnded(InstructionEnded { controller, .. })
            | Event::InstructionContested(InstructionContested { controller, .. }) => {
                let ours = leaf.subject() == self.admitted.id.resource_name()
                    && *controller == self.admitted.controller;
                return if ours { Ok(()) } else { Err(foreign()) };
            }
            Event::ExportReleased(released) => {
                let report = self.reports.get(&released.execution).ok_or_else(foreign)?;
                let named = report.export.is_some_and(|export| {
                    export.digest.to_string() == released.digest && export.size == released.size
                });
                let id = ExportId::from_resource_name(leaf.subject()).map_err(|_| foreign())?;
                self.exports.insert(id, released.execution);
                return if named {
                    Ok(())
                } else {
                    Err(which.fault("it releases another package than was reported"))
                };
            }
            Event::ExportDownloaded(_) | Event::ExportRemoved(_) => {
                let id = ExportId::from_resource_name(leaf.subject()).map_err(|_| foreign())?;
                return if self.exports.contains_key(&id) { Ok(()) } else { Err(foreign()) };
            }
            _ => {}
        }
        let execution = ExecutionId::from_resource_name(leaf.subject()).map_err(|_| foreign())?;
        let row = self.executions.iter_mut().find(|row| row.execution == execution).ok_or_else(foreign)?;
        if row.outcome.is_some() {
            return Err(which.fault("it tells of an execution that had ended"));
        }
        match event {
            Event::ExecutionReported(event) => {
                let report =
                    judged::report(event, execution, &row.store, &self.admitted, registered, authority)
                        .map_err(which.broken())?;
                row.outcome = Some(report.outcome.to_string());
                row.at = Some(leaf.time());
                row.agent = Some(event.agent.resource_name());
                row.reason = report.reason.map(|reason| reason.code().to_owned());
                row.collections.clone_from(&report.collections);
                self.reports.insert(execution, report);
            }
            Event::ExecutionFailed(failed) => {
                row.outcome = Some("failed".to_owned());
                row.at = Some(leaf.time());
                row.reason = Some(failed.reason.code().to_owned());
            }
            // Leases and deferrals say when it was tried; they end nothing.
            _ => {}
        }
        Ok(())
    }
}

impl ExecutionVerdict {
    fn open(order: &crate::domain::event::Order) -> Self {
        Self {
            execution: order.execution,
            store: order.store.clone(),
            outcome: None,
            at: None,
            agent: None,
            reason: None,
            collections: Vec::new(),
        }
    }
}

/// The disclosures are exactly those whose digests were signed: read as the gateway and the agent read them.
fn check_disclosures(
    event: &InstructionAdmitted,
    disclosures: &[String],
    set: &KeySet,
    origin: &str,
) -> Result<(), Fault> {
    let wrong = |what: String| Which::Disclosures.fault(what);
    let wire = match serde_json::from_str::<Value>(&event.signed_part) {
        Ok(mut general) => {
            if let Some(first) = general.pointer_mut("/signatures/0").and_then(Value::as_object_mut) {
                first.insert("header".to_owned(), json!({ "disclosures": disclosures }));
            }
            general.to_string()
        }
        Err(_) => {
            let mut wire = format!("{}~", event.signed_part);
            for disclosure in disclosures {
                wire.push_str(disclosure);
                wire.push('~');
            }
            wire
        }
    };
    let read = Envelope::read(wire.as_bytes())
        .and_then(|envelope| envelope.verify(set))
        .and_then(|verified| verified.parse(&Expected { iss: &event.controller, aud: origin }));
    match read {
        Ok(instruction) if instruction.disclosures() == disclosures => Ok(()),
        Ok(_) => Err(wrong("they are not one disclosure each".to_owned())),
        Err(refusal) => Err(wrong(refusal_text(&refusal))),
    }
}

/// Why something stays and until when, to the end of the line.
fn write_ground(f: &mut fmt::Formatter<'_>, ground: Option<Ground>, until: Option<i64>) -> fmt::Result {
    match (ground, until.and_then(|until| Timestamp::from_second(until).ok())) {
        (Some(ground), Some(until)) => writeln!(f, " ({ground}, until {until})"),
        (Some(ground), None) => writeln!(f, " ({ground})"),
        _ => writeln!(f),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {}", self.instruction, self.controller)?;
        writeln!(f, "  orders       {} in {}", self.act, self.app)?;
        if let Some(request) = &self.request {
            writeln!(f, "  answers      {request}")?;
        }
        writeln!(f, "  admitted     {} (trail leaf {})", self.admitted_at, self.admitted_index)?;
        writeln!(
            f,
            "  signed by    {} under key set version {}, then the newest",
            self.signers.join(", "),
            self.key_set_version
        )?;
        for row in &self.executions {
            write!(f, "  on {:10}", row.store.as_str())?;
            match (&row.outcome, &row.at, &row.agent) {
                (Some(outcome), Some(at), Some(agent)) => write!(f, "{outcome} at {at}, signed by {agent}")?,
                (Some(outcome), Some(at), None) => write!(f, "{outcome} at {at}, given up by the gateway")?,
                _ => write!(f, "no end of it in this bundle")?,
            }
            match &row.reason {
                Some(reason) => writeln!(f, " ({reason})")?,
                None => writeln!(f)?,
            }
            for collection in &row.collections {
                write!(f, "     {} {}", collection.collection, json_word(&collection.outcome))?;
                if let Some(rows) = collection.rows {
                    write!(f, " {rows}")?;
                }
                if !collection.kept.is_empty() {
                    writeln!(f)?;
                    for kept in &collection.kept {
                        write!(f, "       stay")?;
                        if let Some(rows) = kept.rows {
                            write!(f, " {rows}")?;
                        }
                        write_ground(f, kept.ground, kept.until)?;
                    }
                    continue;
                }
                write_ground(f, collection.ground, collection.until)?;
            }
        }
        if !self.sub_processors.is_empty() {
            let names: Vec<&str> = self.sub_processors.iter().map(SubProcessorId::as_str).collect();
            writeln!(f, "  operated by  {}, as agreed (sub-processors)", names.join(", "))?;
        }
        if self.disclosures_match {
            writeln!(f, "  disclosures  are those that were signed")?;
        }
        for one in &self.breaks {
            writeln!(f, "  BREAK        {one}")?;
        }
        for one in &self.restarts {
            writeln!(f, "  BREAK        {one}")?;
        }
        match &self.stopped {
            Some(why) => write!(f, "  {why}, as of authority head {}", self.authority_size)?,
            None => write!(f, "  not superseded, as of authority head {}", self.authority_size)?,
        }
        if let Some(fresh) = &self.authority_fresh_at {
            write!(f, " of {fresh}")?;
        }
        if self.newest_key_set_version > self.key_set_version {
            write!(f, "; the key set itself was followed by version {}", self.newest_key_set_version)?;
        }
        if self.authority_withheld > 0 {
            write!(
                f,
                "; {} of its leaves stand as hashes: only an auditor's bundle shows that none of them supersedes it",
                self.authority_withheld
            )?;
        }
        Ok(())
    }
}

/// The word under which a vocabulary value is written.
fn json_word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
