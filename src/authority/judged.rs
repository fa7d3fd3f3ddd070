//! One admission and one report, judged from their leaves alone.
//!
//! The auditor of a whole trail and the reader of one evidence bundle call the same two
//! functions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::admission::{check_not_expired, check_started, count_signers};
use super::authority_log::{AuthorityLog, refusal_text};
use super::registered::RegisteredBefore;
use super::rules::{Broken, Rule};
use crate::domain::event::{ExecutionReported, InstructionAdmitted, Order};
use crate::domain::{
    Act, AppId, ControllerId, ExecutionId, InstructionId, Refusal, RequestId, StoreId, Timestamp,
};
use crate::token::report::{AuthorityHead, ExportReport};
use crate::token::{
    Categories, Digest, Envelope, Expected, KeySetRef, Report, ReportOutcome, SignedStatement,
};

/// An admitted instruction whose leaf was judged good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    pub controller: ControllerId,
    pub id: InstructionId,
    pub app: AppId,
    pub act: Act,
    pub categories: Categories,
    pub digest: Digest,
    pub sub_digests: Vec<Digest>,
    /// SHA-256 of the export's recipient as written in the instruction.
    pub recipient: Option<Digest>,
    /// Seconds.
    pub exp: i64,
    pub key_set: KeySetRef,
    /// Opaque ids of the distinct signers.
    pub signers: Vec<String>,
    pub authority_size: u64,
    pub request: Option<RequestId>,
    pub orders: Vec<Order>,
}

/// Judges the admission leaf of `subject`, written at `time`.
pub(super) fn admission(
    event: &InstructionAdmitted,
    subject: &str,
    time: Timestamp,
    registered: RegisteredBefore<'_>,
    authority: &AuthorityLog,
    trail_origin: &str,
) -> Result<Admitted, Broken> {
    let signed = |holds, what| Rule::AdmittedSigned.holds(holds, what);
    let refused = |refusal: Refusal| Rule::AdmittedSigned.broken(refusal_text(&refusal));
    let id = InstructionId::from_resource_name(subject)
        .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
    registered.needs_controller(&event.controller)?;
    registered.needs_app(&event.app, &event.controller)?;

    signed(
        authority.had_size_at(event.authority_size, time),
        "the authority log had another size at that time",
    )?;
    let set = authority
        .newest_at(&event.controller, event.authority_size)
        .ok_or_else(|| Rule::AdmittedSigned.broken("the controller had no key set then"))?;
    let current = KeySetRef { version: set.version(), digest: set.digest() };
    signed(
        event.key_set_version == current.version && event.key_set_digest == current.digest.to_string(),
        "the leaf names another key set than the newest of that moment",
    )?;

    let verified = Envelope::read_signed_part(event.signed_part.as_bytes())
        .and_then(|envelope| envelope.verify(set))
        .map_err(refused)?;
    let statement =
        verified.parse_public(&Expected { iss: &event.controller, aud: trail_origin }).map_err(refused)?;
    let digest = verified.envelope().instruction_digest();
    signed(digest.to_string() == event.digest, "the leaf's digest is not that of the signed part")?;
    signed(
        verified.envelope().signed_part() == event.signed_part,
        "the signed part is spelt in another way than it is written",
    )?;
    signed(
        statement.key_set == current,
        "the instruction names another key set than the newest of that moment",
    )?;
    signed(
        statement.jti == id
            && statement.app == event.app
            && statement.act == event.act
            && statement.req == event.request,
        "the leaf says something else than the signed part",
    )?;
    let now = time.as_second();
    signed(!set.is_expired(now), "the key set had expired")?;
    check_started(&statement, now).and_then(|()| check_not_expired(&statement, now)).map_err(refused)?;
    let counted = count_signers(statement.act, verified.signers(), set).map_err(refused)?;
    let signers: BTreeSet<String> = counted.into_iter().map(|signer| signer.signer).collect();

    check_orders(&statement, &event.executions, registered, now)?;
    Ok(Admitted {
        controller: event.controller.clone(),
        id,
        app: event.app.clone(),
        act: event.act,
        categories: statement.categories.clone(),
        digest,
        sub_digests: statement.sub_digests.clone(),
        recipient: statement.export.as_ref().map(|export| Digest::of(export.recipient.as_str())),
        exp: statement.exp,
        key_set: current,
        signers: signers.into_iter().collect(),
        authority_size: event.authority_size,
        request: event.request,
        orders: event.executions.clone(),
    })
}

/// One agreement covers the instruction, and there is one order for each of its stores.
fn check_orders(
    statement: &SignedStatement,
    orders: &[Order],
    registered: RegisteredBefore<'_>,
    now: i64,
) -> Result<(), Broken> {
    let stores: BTreeSet<StoreId> = orders.iter().map(|order| order.store.clone()).collect();
    Rule::InAgreement.holds(stores.len() == orders.len(), "a store is ordered twice")?;
    let mut refusal = None;
    for terms in registered.terms(&statement.iss, &statement.app) {
        match terms.cover(statement, now) {
            Ok(scope) if scope.stores == stores => return Ok(()),
            Ok(_) => {
                refusal = Some("the orders are not exactly those of the instruction's stores".to_owned())
            }
            Err(error) => refusal = refusal.or_else(|| Some(refusal_text(&error))),
        }
    }
    Err(Rule::InAgreement.broken(refusal.unwrap_or_else(|| "the controller had no agreement".to_owned())))
}

/// What an order asks of the report about it. Small: an audit keeps one for each open order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub instruction: InstructionId,
    digest: Digest,
    act: Act,
    /// Over all subject digests.
    subjects: Digest,
    recipient: Option<Digest>,
    /// Seconds.
    pub exp: i64,
    authority_size: u64,
}

impl Admitted {
    pub(super) fn asked(&self) -> Asked {
        Asked {
            instruction: self.id,
            digest: self.digest,
            act: self.act,
            subjects: over(&self.sub_digests),
            recipient: self.recipient,
            exp: self.exp,
            authority_size: self.authority_size,
        }
    }
}

/// What an agent signed and the gateway wrote beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    execution: ExecutionId,
    instruction: InstructionId,
    store: StoreId,
    refused: bool,
    /// The leaf has the report's outcome and attempt.
    leaf_agrees: bool,
    digest: Digest,
    act: Act,
    subjects: Digest,
    pub export: Option<ExportReport>,
    authority: AuthorityHead,
}

fn over(digests: &[Digest]) -> Digest {
    Digest::of(digests.iter().flat_map(|digest| *digest.as_bytes()).collect::<Vec<u8>>())
}

/// The agent's signature over its report, under the key that was registered for it.
pub(super) fn signed_report(
    event: &ExecutionReported,
    registered: RegisteredBefore<'_>,
    trail_origin: &str,
) -> Result<Report, Broken> {
    let agent = registered.agent(&event.agent)?;
    Report::verify(&event.report, &agent.key, &event.agent, trail_origin)
        .map_err(|refusal| Rule::ReportSigned.broken(refusal_text(&refusal)))
}

/// What of a signed report is held against its order.
pub(super) fn told(event: &ExecutionReported, report: &Report) -> Told {
    Told {
        execution: report.execution,
        instruction: report.instruction,
        store: report.store.clone(),
        refused: report.outcome == ReportOutcome::Refused,
        leaf_agrees: report.outcome.to_string() == event.outcome && report.attempt == event.attempt,
        digest: report.instruction_digest,
        act: report.act,
        subjects: over(&report.sub_digests),
        export: report.export,
        authority: report.authority,
    }
}

/// Holds what was told against what was asked.
///
/// An agent that refuses an order tells of what it was given, which a gateway may have
/// altered: then digests, act and authority head are what it saw, and bind nobody.
pub(super) fn fits(
    told: &Told,
    execution: ExecutionId,
    store: &StoreId,
    asked: &Asked,
    authority: &AuthorityLog,
) -> Result<(), Broken> {
    let scope = |holds, what| Rule::ReportScope.holds(holds, what);
    scope(told.execution == execution, "the report is of another execution")?;
    scope(told.instruction == asked.instruction, "the report is of another instruction")?;
    scope(told.store == *store, "the report is of another store")?;
    scope(told.leaf_agrees, "the leaf says something else than the report")?;
    if told.refused {
        return Ok(());
    }
    scope(told.digest == asked.digest, "the report repeats another instruction digest")?;
    scope(told.act == asked.act, "the report is of another act")?;
    scope(told.subjects == asked.subjects, "the report is of another subject")?;
    if let Some(export) = &told.export {
        scope(Some(export.recipient_digest) == asked.recipient, "the export went to another recipient")?;
    }
    scope(
        told.authority.size >= asked.authority_size,
        "the agent acted on an authority log older than the admission",
    )?;
    let root = authority.root_at(told.authority.size);
    scope(
        root.is_some_and(|root| root.as_bytes() == told.authority.root.as_bytes()),
        "the agent acted on another authority log",
    )
}

/// Judges the report of `execution`, which is an order of `admitted`, on `store`.
pub(super) fn report(
    event: &ExecutionReported,
    execution: ExecutionId,
    store: &StoreId,
    admitted: &Admitted,
    registered: RegisteredBefore<'_>,
    authority: &AuthorityLog,
    trail_origin: &str,
) -> Result<Report, Broken> {
    let agent = registered.agent(&event.agent)?;
    Rule::Ordered.holds(agent.stores.contains(store), "the agent is not registered for the order's store")?;
    let report = signed_report(event, registered, trail_origin)?;
    fits(&told(event, &report), execution, store, &admitted.asked(), authority)?;
    Ok(report)
}
