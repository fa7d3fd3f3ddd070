//! Signed instructions and reports of a made-up trail.

use super::parties::{Agent, Controller, Parties, origin};
use super::seeded::Seeded;
use crate::domain::event::{
    ApprovalGiven, ExecutionReported, InstructionAdmitted, InstructionReceived, Order,
};
use crate::domain::{
    Act, Basis, Category, ExecutionId, Identifier, InstructionId, Reason, RequestId, Timestamp,
};
use crate::token::report::{AuthorityHead, ExportReport, LedgerHead};
use crate::token::{
    Categories, CollectionOutcome, CollectionReport, Detached, Digest, Envelope, ExportFormat, ExportOrder,
    InstructionDraft, KeySetRef, Private, Report, ReportOutcome, Says, base64url,
};

/// The recipient of every export.
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
/// Bytes of every package.
pub const PACKAGE: u64 = 4096;

/// An admitted instruction, as its agents are given it.
#[derive(Clone)]
pub struct Ordered {
    pub id: InstructionId,
    pub act: Act,
    digest: Digest,
    sub_digests: Vec<Digest>,
    /// Execution and number of the agent.
    pub orders: Vec<(ExecutionId, usize)>,
}

/// Which act, on which agents' stores, for which case.
pub struct Wish {
    pub act: Act,
    pub agents: Vec<usize>,
    pub request: Option<RequestId>,
}

/// The state of the authority log under which something happens.
#[derive(Clone, Copy)]
pub struct Authority {
    pub size: u64,
    pub root: Digest,
}

/// The leaves of an instruction that waits for its second signer, before that of its admission.
pub struct Waits {
    pub received: InstructionReceived,
    pub given: ApprovalGiven,
}

/// An erasure that one person submits and another approves, and the leaf of its admission.
pub fn wait(
    parties: &Parties,
    controller: &Controller,
    wish: Wish,
    now: Timestamp,
    authority: Authority,
    seeded: &Seeded,
) -> (Waits, Ordered, InstructionAdmitted) {
    let (ordered, mut admitted) = admit(parties, controller, wish, now, authority, seeded);
    let whole =
        Envelope::read_signed_part(admitted.signed_part.as_bytes()).expect("what was signed reads back");
    let [ann, bob] = &controller.signers;
    let first = whole.without(&[bob.id()]).expect("ann signed it");
    let approval = Detached::sign(Says::Approved, &first, bob).expect("bob signs it, too");
    admitted.signed_part = first.approved(&approval).signed_part();
    let received = InstructionReceived {
        controller: admitted.controller.clone(),
        app: admitted.app.clone(),
        act: admitted.act,
        digest: admitted.digest.clone(),
        signed_part: first.signed_part(),
        key_set_version: admitted.key_set_version,
        key_set_digest: admitted.key_set_digest.clone(),
        authority_size: admitted.authority_size,
        request: admitted.request,
        missing: 1,
    };
    debug_assert!(first.kids().all(|kid| kid == ann.id()));
    let given = ApprovalGiven {
        controller: admitted.controller.clone(),
        digest: admitted.digest.clone(),
        approval: approval.to_text(),
        missing: 0,
    };
    (Waits { received, given }, ordered, admitted)
}

/// Signs an instruction and writes the leaf of its admission.
pub fn admit(
    parties: &Parties,
    controller: &Controller,
    wish: Wish,
    now: Timestamp,
    authority: Authority,
    seeded: &Seeded,
) -> (Ordered, InstructionAdmitted) {
    // The second set of the first controller is the last leaf of the authority log.
    let rotated = authority.size > parties.early_authority_leaves() as u64;
    let version = if rotated { controller.sets.len() as u64 } else { 1 };
    let key_set = KeySetRef { version, digest: controller.digest(version) };
    let seconds = now.as_second();
    let draft = InstructionDraft {
        iss: controller.id.clone(),
        aud: origin("trail"),
        jti: InstructionId::from_uuid(seeded.uuid(now)),
        iat: seconds,
        nbf: None,
        exp: seconds + 7 * 86_400,
        act: wish.act,
        app: controller.app.clone(),
        req: wish.request,
        target: None,
        subject: vec![Identifier::user(&controller.app, format!("u_{:016x}", seeded.next()))],
        private: Private::None,
        categories: Categories::Some(vec![Category::Device, Category::Network]),
        stores: Some(wish.agents.iter().map(|agent| parties.agents[*agent].store.clone()).collect()),
        window: None,
        basis: Basis::Pipl47,
        key_set,
        preview: None,
        export: (wish.act == Act::Export).then(|| ExportOrder {
            recipient: RECIPIENT.parse().expect("an age recipient"),
            format: ExportFormat::JsonlCsv,
            region: crate::domain::Region::Cn,
            evidence: None,
        }),
        refuse: None,
        authorize_reply: None,
    };
    let [ann, bob] = &controller.signers;
    let signers: &[_] = if wish.act == Act::Erase { &[ann, bob] } else { &[ann] };
    let signed = draft.sign(signers, seeded).expect("the draft is good");
    let orders: Vec<(ExecutionId, usize)> =
        wish.agents.iter().map(|agent| (ExecutionId::from_uuid(seeded.uuid(now)), *agent)).collect();
    let admitted = InstructionAdmitted {
        controller: controller.id.clone(),
        app: controller.app.clone(),
        act: wish.act,
        digest: signed.digest().to_string(),
        signed_part: signed.envelope().signed_part(),
        key_set_version: version,
        key_set_digest: key_set.digest.to_string(),
        authority_size: authority.size,
        request: wish.request,
        target: None,
        executions: orders
            .iter()
            .map(|(execution, agent)| Order {
                execution: *execution,
                store: parties.agents[*agent].store.clone(),
            })
            .collect(),
        sub_processors: orders
            .iter()
            .filter_map(|(_, agent)| parties.agents[*agent].operated_by.clone())
            .collect(),
    };
    let ordered = Ordered {
        id: draft.jti,
        act: wish.act,
        digest: signed.digest(),
        sub_digests: sub_digests(signed.envelope().payload_segment()),
        orders,
    };
    (ordered, admitted)
}

fn sub_digests(payload: &str) -> Vec<Digest> {
    let payload = base64url::decode(payload).expect("what was signed decodes");
    let payload: serde_json::Value = serde_json::from_slice(&payload).expect("what was signed is JSON");
    let placeholders = payload["sub_id"]["identifiers"].as_array().expect("there is a subject");
    let digest = |value: &serde_json::Value| value["..."].as_str().and_then(|text| text.parse().ok());
    placeholders.iter().map(|placeholder| digest(placeholder).expect("a digest")).collect()
}

/// The digest of an execution's package.
pub fn package(execution: ExecutionId) -> Digest {
    Digest::of(execution.as_uuid().as_bytes())
}

/// Signs the agent's report of one order and writes its leaf.
pub fn report(
    ordered: &Ordered,
    place: usize,
    agent: &Agent,
    attempt: u32,
    failed: bool,
    now: Timestamp,
    authority: Authority,
    seeded: &Seeded,
) -> ExecutionReported {
    let (execution, _) = ordered.orders[place];
    let outcome = match ordered.act {
        Act::Export => CollectionOutcome::Exported,
        Act::Preview => CollectionOutcome::Counted,
        _ => CollectionOutcome::Erased,
    };
    let report = Report {
        agent: agent.id.clone(),
        aud: origin("trail"),
        jti: seeded.uuid(now),
        iat: now.as_second(),
        execution,
        instruction: ordered.id,
        instruction_digest: ordered.digest,
        sub_digests: ordered.sub_digests.clone(),
        act: ordered.act,
        store: agent.store.clone(),
        attempt,
        outcome: if failed { ReportOutcome::Failed } else { ReportOutcome::Completed },
        reason: failed.then_some(Reason::StoreFailed),
        map_version: "map-1".to_owned(),
        authority: AuthorityHead { size: authority.size, root: authority.root },
        collections: ["devices", "networks"]
            .map(|collection| CollectionReport {
                collection: collection.to_owned(),
                outcome,
                rows: (ordered.act != Act::Preview).then(|| seeded.below(1000)),
                ground: None,
                until: None,
                kept: Vec::new(),
            })
            .into(),
        preview: (ordered.act == Act::Preview && !failed).then(|| crate::token::report::PreviewReport {
            digest: Digest::of(execution.as_uuid().as_bytes()),
            as_of: now.as_second(),
        }),
        export: (ordered.act == Act::Export && !failed).then(|| ExportReport {
            digest: package(execution),
            size: PACKAGE,
            recipient_digest: Digest::of(RECIPIENT),
        }),
        ledger: LedgerHead {
            sequence: seeded.below(1 << 40),
            head: Digest::of(execution.as_uuid().as_bytes()),
        },
    };
    ExecutionReported {
        agent: agent.id.clone(),
        attempt,
        outcome: report.outcome.to_string(),
        report: report.sign(&agent.key).expect("the report is good"),
    }
}
