//! One admission and one report, judged from their leaves alone.
//!
//! The auditor of a whole trail and the reader of one evidence bundle call the same two
//! functions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::admission::{check_not_expired, check_policy, check_started, held_until};
use super::agreement::{AgreementTerms, Scope};
use super::authority_log::{AuthorityLog, refusal_text};
use super::registered::RegisteredBefore;
use super::rules::{Broken, Rule};
use super::signers::{self, Count, Stakes};
use crate::domain::event::{
    ExecutionReported, InstructionAdmitted, InstructionReceived, InstructionSaid, Order,
};
use crate::domain::{
    Act, AppId, Category, ControllerId, ExecutionId, InstructionId, Refusal, RequestId, StoreId,
    SubProcessorId, Timestamp,
};
use crate::token::report::{AuthorityHead, ExportReport};
use crate::token::{
    Categories, CollectionOutcome, Digest, Envelope, Expected, KeyId, KeySet, KeySetRef, Report,
    ReportOutcome, SignedStatement, Verified,
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
    /// The first lease may come from here on. Seconds.
    pub not_before: i64,
    pub key_set: KeySetRef,
    /// The keys that count.
    pub kids: Vec<KeyId>,
    /// Opaque ids of the distinct signers.
    pub signers: Vec<String>,
    /// So many signed that it may answer a minor's case, too.
    pub enough_for_minor: bool,
    pub authority_size: u64,
    pub request: Option<RequestId>,
    pub orders: Vec<Order>,
    /// Whom it reaches in PPIO's stead.
    pub sub_processors: Vec<SubProcessorId>,
}

/// A leaf that holds an instruction, where it stands, and what it is held against.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub subject: &'a str,
    pub time: Timestamp,
    pub registered: RegisteredBefore<'a>,
    pub authority: &'a AuthorityLog,
    pub trail_origin: &'a str,
}

/// What a leaf holds, and the set it was signed under.
struct Held<'a> {
    id: InstructionId,
    verified: Verified,
    statement: SignedStatement,
    set: &'a KeySet,
}

fn signed(holds: bool, what: &'static str) -> Result<(), Broken> {
    Rule::AdmittedSigned.holds(holds, what)
}

fn refused(refusal: Refusal) -> Broken {
    Rule::AdmittedSigned.broken(refusal_text(&refusal))
}

/// Reads the instruction of a leaf: its signatures verify under the set of that moment, and it says what the leaf says.
fn held<'a>(said: &InstructionSaid<'_>, place: Place<'a>) -> Result<Held<'a>, Broken> {
    let Place { subject, time, registered, authority, trail_origin } = place;
    let id = InstructionId::from_resource_name(subject)
        .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
    registered.needs_controller(said.controller)?;
    registered.needs_app(said.app, said.controller)?;

    signed(
        authority.had_size_at(said.authority_size, time),
        "the authority log had another size at that time",
    )?;
    let set = authority
        .newest_at(said.controller, said.authority_size)
        .ok_or_else(|| Rule::AdmittedSigned.broken("the controller had no key set then"))?;
    let current = KeySetRef { version: set.version(), digest: set.digest() };
    signed(
        said.key_set_version == current.version && said.key_set_digest == current.digest.to_string(),
        "the leaf names another key set than the newest of that moment",
    )?;

    let verified = Envelope::read_signed_part(said.signed_part.as_bytes())
        .and_then(|envelope| envelope.verify(set))
        .map_err(refused)?;
    let statement =
        verified.parse_public(&Expected { iss: said.controller, aud: trail_origin }).map_err(refused)?;
    let digest = verified.envelope().instruction_digest();
    signed(digest.to_string() == said.digest, "the leaf's digest is not that of the signed part")?;
    signed(
        verified.envelope().signed_part() == said.signed_part,
        "the signed part is spelt in another way than it is written",
    )?;
    signed(
        statement.key_set == current,
        "the instruction names another key set than the newest of that moment",
    )?;
    signed(
        statement.jti == id
            && statement.app == *said.app
            && statement.act == said.act
            && statement.req == said.request,
        "the leaf says something else than the signed part",
    )?;
    let now = time.as_second();
    signed(!set.is_expired(now), "the key set had expired")?;
    check_started(&statement, now).and_then(|()| check_not_expired(&statement, now)).map_err(refused)?;
    if statement.act != Act::Revoke {
        check_policy(&statement, set).map_err(refused)?;
    }
    Ok(Held { id, verified, statement, set })
}

impl Held<'_> {
    /// Who counts, if the case it answers is a minor's or not. Where it answers none it is counted as a minor's.
    fn count(
        &self,
        categories: &BTreeSet<Category>,
        minor: bool,
        place: Place<'_>,
        size: u64,
    ) -> Result<Count, Broken> {
        let back = place.authority.taken_back(&self.statement.iss);
        let without = back.signers(&self.verified.envelope().instruction_digest(), self.set, size);
        let minor = signers::may_be_a_minors(&self.statement, minor);
        let stakes = Stakes { act: self.statement.act, categories, minor };
        signers::count(stakes, self.verified.signers(), &without, self.set).map_err(refused)
    }
}

/// Judges the admission leaf.
pub(super) fn admission(event: &InstructionAdmitted, place: Place<'_>) -> Result<Admitted, Broken> {
    let held = held(&event.said(), place)?;
    let (statement, now) = (&held.statement, place.time.as_second());
    signed(statement.target == event.target, "the leaf names another target than the signed part")?;
    let scope = match statement.act {
        // It takes back and orders nothing: no agreement is asked.
        Act::Revoke => {
            Rule::InAgreement.holds(event.executions.is_empty(), "a revocation orders something")?;
            Scope::default()
        }
        _ => check_orders(statement, event, place.registered, now)?,
    };
    let size = event.authority_size;
    let counted = held.count(&scope.categories, false, place, size)?.met().map_err(refused)?;
    let enough_for_minor = held.count(&scope.categories, true, place, size)?.missing() == 0;
    let signers: BTreeSet<String> = counted.iter().map(|signer| signer.signer.clone()).collect();
    Ok(Admitted {
        controller: event.controller.clone(),
        id: held.id,
        app: event.app.clone(),
        act: event.act,
        categories: statement.categories.clone(),
        digest: held.verified.envelope().instruction_digest(),
        sub_digests: statement.sub_digests.clone(),
        recipient: statement.export.as_ref().map(|export| Digest::of(export.recipient.as_str())),
        exp: statement.exp,
        not_before: held_until(statement, now, held.set),
        key_set: statement.key_set,
        kids: counted.iter().map(|signer| signer.kid).collect(),
        signers: signers.into_iter().collect(),
        enough_for_minor,
        authority_size: event.authority_size,
        request: event.request,
        orders: event.executions.clone(),
        sub_processors: event.sub_processors.clone(),
    })
}

/// Judges the leaf that lets an instruction wait for approvals: all but the number of its signers is good. Its end.
pub(super) fn waiting(event: &InstructionReceived, place: Place<'_>) -> Result<i64, Broken> {
    let held = held(&event.said(), place)?;
    let (statement, now) = (&held.statement, place.time.as_second());
    let mut missing = BTreeSet::new();
    let mut take = |scope: &Scope| -> Result<(), Broken> {
        for minor in [false, true] {
            missing.insert(held.count(&scope.categories, minor, place, event.authority_size)?.missing());
        }
        Ok(())
    };
    if statement.act == Act::Revoke {
        take(&Scope::default())?;
    } else {
        for terms in covering(statement, place.registered) {
            if let Ok(scope) = terms.cover(statement, now) {
                take(&scope)?;
            }
        }
    }
    signed(
        event.missing > 0 && missing.contains(&event.missing),
        "another number of signers was missing, or no agreement covers it",
    )?;
    Ok(statement.exp)
}

/// The agreements any of which may cover the instruction. What returns all that was entrusted is held against
/// all of them as one, whether they still run or not.
fn covering(statement: &SignedStatement, registered: RegisteredBefore<'_>) -> Vec<AgreementTerms> {
    let all = registered.terms(&statement.iss, &statement.app);
    match statement.act {
        Act::ReturnAndErase => AgreementTerms::joined(all).into_iter().collect(),
        _ => all.collect(),
    }
}

/// One agreement covers the instruction and all whom it reaches, and there is one order for each of its stores.
fn check_orders(
    statement: &SignedStatement,
    event: &InstructionAdmitted,
    registered: RegisteredBefore<'_>,
    now: i64,
) -> Result<Scope, Broken> {
    let orders = &event.executions;
    let named: BTreeSet<SubProcessorId> = event.sub_processors.iter().cloned().collect();
    let stores: BTreeSet<StoreId> = orders.iter().map(|order| order.store.clone()).collect();
    Rule::InAgreement.holds(stores.len() == orders.len(), "a store is ordered twice")?;
    let mut refusal = None;
    for terms in covering(statement, registered) {
        match terms.cover(statement, now) {
            Ok(scope)
                if scope.stores == stores
                    && scope.sub_processors.is_subset(&named)
                    && named.is_subset(&terms.sub_processors) =>
            {
                return Ok(scope);
            }
            Ok(scope) if scope.stores == stores => {
                refusal = Some("the leaf does not name the sub-processors that it reaches, or one that the agreement does not".to_owned());
            }
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
    pub act: Act,
    /// Over all subject digests.
    subjects: Digest,
    recipient: Option<Digest>,
    /// Seconds.
    pub exp: i64,
    /// Seconds.
    pub not_before: i64,
    /// The keys that count.
    pub kids: Vec<KeyId>,
    pub authority_size: u64,
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
            not_before: self.not_before,
            kids: self.kids.clone(),
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
    /// Rows went, or nothing was left to go.
    erased: bool,
    authority: AuthorityHead,
}

fn over(digests: &[Digest]) -> Digest {
    Digest::of(digests.iter().flat_map(|digest| *digest.as_bytes()).collect::<Vec<u8>>())
}

/// The agent's signature over its report, under a report key of its own that counts in this leaf.
pub(super) fn signed_report(
    event: &ExecutionReported,
    registered: RegisteredBefore<'_>,
    authority: &AuthorityLog,
) -> Result<Report, Broken> {
    registered.agent(&event.agent)?;
    registered.needs_pinned(&event.agent)?;
    let keys = registered.report_keys(&event.agent, authority);
    // What was carried out before the trail had its new origin may be reported after.
    Report::verify_by(&event.report, &keys, &event.agent, authority.trail_origins())
        .map(|(report, _)| report)
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
        erased: report.outcome == ReportOutcome::Completed
            || report
                .collections
                .iter()
                .any(|of| of.outcome == CollectionOutcome::Erased && of.rows.is_none_or(|rows| rows > 0)),
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
    let to_return = asked.act == Act::ReturnAndErase && asked.recipient.is_some();
    scope(
        !(to_return && told.erased && told.export.is_none()),
        "what was to be returned was erased and not returned",
    )?;
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
) -> Result<Report, Broken> {
    let agent = registered.agent(&event.agent)?;
    Rule::Ordered.holds(agent.stores.contains(store), "the agent is not registered for the order's store")?;
    let report = signed_report(event, registered, authority)?;
    fits(&told(event, &report), execution, store, &admitted.asked(), authority)?;
    Ok(report)
}
