//! What happens in a made-up trail: registrations, then cases side by side, in a mix as a gateway's day
//! has it. Leaves are a tenth of a second apart.

use std::collections::VecDeque;

use super::instructions::{Authority, Ordered, PACKAGE, Wish, admit, package, report, wait};
use super::parties::{GATEWAY, Parties, START, origin};
use super::seeded::Seeded;
use crate::domain::event::*;
use crate::domain::execution::{InstructionState, Stand, settled};
use crate::domain::{
    Act, ExecutionState, ExportId, MessageId, Reason, RefusalGround, RequestId, Right, Timestamp,
};
use crate::token::Digest;
use crate::trail::{Appender, LeafDraft, leaf_hash};

/// Cases that are worked on at the same time.
const OPEN: usize = 24;

/// One leaf to be: what happens, to what, when.
#[derive(Debug, Clone)]
pub struct Told {
    pub subject: String,
    pub event: Event,
    pub time: Timestamp,
}

impl Told {
    /// The leaf's bytes.
    pub fn seal(&self, seeded: &Seeded) -> Vec<u8> {
        let draft = LeafDraft::new(self.event.type_name(), self.subject.as_str(), self.event.to_data());
        let leaf = draft.seal(GATEWAY, self.time, seeded).expect("a made-up event fits in a leaf");
        leaf.bytes().to_vec()
    }
}

enum Step {
    MessageReceived,
    MessageAssigned,
    MessageDismissed,
    Received,
    Forwarded,
    Read,
    Acknowledged,
    Misrouted,
    Answered {
        refused: bool,
    },
    Admitted(Act, Vec<usize>),
    /// An erasure that waits for its second signer, his approval, and its admission.
    Waits(Vec<usize>),
    Approved,
    Completed,
    Refused,
    Leased {
        place: usize,
        attempt: u32,
    },
    Deferred {
        place: usize,
        attempt: u32,
    },
    Failed {
        place: usize,
        attempt: u32,
    },
    Reported {
        place: usize,
        attempt: u32,
        failed: bool,
    },
    Released {
        place: usize,
    },
    Ended,
    Downloaded,
    Evidence,
    Shredded,
}

struct Case {
    controller: usize,
    request: RequestId,
    message: MessageId,
    steps: VecDeque<Step>,
    ordered: Option<Ordered>,
    waits: Option<(ApprovalGiven, InstructionAdmitted)>,
    states: Vec<ExecutionState>,
    exports: Vec<ExportId>,
}

/// Tells `size` leaves of the trail, and the authority log to them.
pub struct Story<'a> {
    parties: &'a Parties,
    seeded: Seeded,
    size: u64,
    told: u64,
    begins: VecDeque<(String, Event)>,
    cases: Vec<Case>,
    /// Before and after the rotation in the middle.
    authority: [Authority; 2],
    authority_leaves: Vec<Vec<u8>>,
}

impl<'a> Story<'a> {
    pub fn new(parties: &'a Parties, seed: u64, size: u64) -> Self {
        let seeded = Seeded::new(seed);
        let mut story = Self {
            parties,
            seeded,
            size,
            told: 0,
            begins: parties.registrations().into(),
            cases: Vec::new(),
            authority: [Authority { size: 0, root: Digest::from_bytes([0; 32]) }; 2],
            authority_leaves: Vec::new(),
        };
        story.tell_authority();
        story
    }

    /// The authority log's leaves.
    pub fn authority_leaves(&self) -> &[Vec<u8>] {
        &self.authority_leaves
    }

    fn time(&self, index: u64) -> Timestamp {
        // Sizes are far below those at which the milliseconds of a day in the year 9999 end.
        let millis = i64::try_from(index).unwrap_or(0) * 100;
        Timestamp::from_millisecond(START * 1000 + millis).expect("a time in range")
    }

    fn middle(&self) -> u64 {
        (self.size / 2).max(self.parties.registrations().len() as u64)
    }

    fn tell_authority(&mut self) {
        let early = Timestamp::from_second(START - 100).expect("a time in range");
        let opened = LogOpened { origin: origin("authority") };
        let mut leaves = vec![Told { subject: origin("authority"), event: opened.into(), time: early }];
        for controller in &self.parties.controllers {
            let event = controller.sets[0].clone().into();
            leaves.push(Told { subject: controller.resource_name(), event, time: early });
        }
        let retired = self.parties.retirements().into_iter();
        leaves.extend(retired.map(|(subject, event)| Told { subject, event, time: early }));
        let mut tree = Appender::new();
        for told in &leaves {
            let leaf = told.seal(&self.seeded);
            tree.append(leaf_hash(&leaf));
            self.authority_leaves.push(leaf);
        }
        let head = |tree: &Appender| Authority {
            size: tree.size(),
            root: Digest::from_bytes(*tree.root().as_bytes()),
        };
        let before = head(&tree);
        let first = &self.parties.controllers[0];
        let time = self.time(self.middle());
        let rotated = Told { subject: first.resource_name(), event: first.sets[1].clone().into(), time };
        let leaf = rotated.seal(&self.seeded);
        tree.append(leaf_hash(&leaf));
        self.authority_leaves.push(leaf);
        self.authority = [before, head(&tree)];
    }

    /// The head that everybody has at this leaf.
    fn authority_at(&self, index: u64) -> Authority {
        self.authority[usize::from(index > self.middle())]
    }

    fn new_case(&self, now: Timestamp) -> Case {
        let seeded = &self.seeded;
        let controller = seeded.below(self.parties.controllers.len() as u64) as usize;
        Case {
            controller,
            request: RequestId::from_uuid(seeded.uuid(now)),
            message: MessageId::from_uuid(seeded.uuid(now)),
            steps: self.script(controller).into(),
            ordered: None,
            waits: None,
            states: Vec::new(),
            exports: Vec::new(),
        }
    }

    fn script(&self, controller: usize) -> Vec<Step> {
        use Step::*;
        let seeded = &self.seeded;
        if seeded.percent(5) {
            return vec![MessageReceived, MessageDismissed];
        }
        let mut steps = vec![MessageReceived, MessageAssigned, Received, Forwarded];
        match seeded.below(100) {
            0..5 => {
                steps.push(Misrouted);
                return steps;
            }
            5..15 => {
                steps.extend([Read, Acknowledged, Answered { refused: seeded.percent(50) }]);
                return steps;
            }
            15..20 => steps.push(Refused),
            _ => {}
        }
        steps.push(Acknowledged);
        let act = [Act::Erase, Act::Erase, Act::Export, Act::Preview][seeded.below(4) as usize];
        let count = 1 + seeded.below(2) as usize;
        let first = seeded.below(self.parties.agents.len() as u64) as usize;
        let agents: Vec<usize> = (0..count).map(|more| (first + more) % self.parties.agents.len()).collect();
        // The first controller rotates its keys in the middle: what waits then is never completed.
        if act == Act::Erase && controller > 0 && seeded.percent(30) {
            steps.extend([Waits(agents), Approved, Completed]);
        } else {
            steps.push(Admitted(act, agents));
        }
        for place in 0..count {
            steps.push(Leased { place, attempt: 1 });
            let mut attempt = 1;
            if seeded.percent(10) {
                attempt = 2;
                steps.extend([Deferred { place, attempt: 1 }, Leased { place, attempt }]);
            }
            match seeded.below(100) {
                0..3 => steps.push(Failed { place, attempt }),
                3..6 => steps.push(Reported { place, attempt, failed: true }),
                _ => {
                    steps.push(Reported { place, attempt, failed: false });
                    if act == Act::Export {
                        steps.extend([Released { place }, Downloaded]);
                    }
                }
            }
        }
        steps.push(Ended);
        if seeded.percent(10) {
            steps.push(Evidence);
        }
        steps.push(Shredded);
        steps
    }

    fn take_step(&self, case: &mut Case, index: u64) -> Option<(String, Event)> {
        let (now, seeded) = (self.time(index), &self.seeded);
        let controller = &self.parties.controllers[case.controller];
        let (id, name) = (|| controller.id.clone(), controller.resource_name());
        let (request, message) = (case.request.resource_name(), case.message.resource_name());
        let by = || "support/s-1".to_owned();
        let execution = |case: &Case, place: usize| {
            let (execution, agent) = case.ordered.as_ref()?.orders.get(place).copied()?;
            Some((execution, &self.parties.agents[agent]))
        };
        let told = match case.steps.pop_front()? {
            Step::MessageReceived => {
                let commitment = Digest::of(case.message.as_uuid().as_bytes()).to_string();
                let received = now.as_second();
                let route = "triage".to_owned();
                let event =
                    MessageReceived { by: by(), commitment, route, reason: None, request: None, received };
                (message, event.into())
            }
            Step::MessageAssigned => {
                let (app, request) = (controller.app.clone(), case.request);
                (
                    message,
                    MessageAssigned { by: by(), app, request, corrected: false, redacted: false }.into(),
                )
            }
            Step::MessageDismissed => (message, MessageDismissed { by: by() }.into()),
            Step::Received => {
                let received = RequestReceived {
                    controller: id(),
                    app: controller.app.clone(),
                    origin: "mail".to_owned(),
                    rights: vec![Right::Delete, Right::Copy, Right::ExplainUseAndSharing],
                    guardian: false,
                    received: now.as_second(),
                };
                (request, received.into())
            }
            Step::Forwarded => (request, RequestForwarded { controller: id(), sequence: index }.into()),
            Step::Read => (request, RequestRead { by: name, count: 1 }.into()),
            Step::Acknowledged => (request, RequestAcknowledged { controller: id() }.into()),
            Step::Misrouted => (request, RequestMisrouted { controller: id() }.into()),
            Step::Answered { refused } => {
                let ground = refused.then_some(RefusalGround::LegalDuty);
                let outcomes = vec![RightAnswered { right: Right::ExplainUseAndSharing, refused, ground }];
                (request, RequestAnswered { controller: id(), outcomes }.into())
            }
            Step::Admitted(act, agents) => {
                let wish = Wish { act, agents, request: Some(case.request) };
                let authority = self.authority_at(index);
                let (ordered, event) = admit(self.parties, controller, wish, now, authority, seeded);
                let subject = ordered.id.resource_name();
                case.ordered = Some(ordered);
                (subject, event.into())
            }
            Step::Waits(agents) => {
                let wish = Wish { act: Act::Erase, agents, request: Some(case.request) };
                let authority = self.authority_at(index);
                let (waits, ordered, admitted) = wait(self.parties, controller, wish, now, authority, seeded);
                let subject = ordered.id.resource_name();
                case.ordered = Some(ordered);
                case.waits = Some((waits.given, admitted));
                (subject, waits.received.into())
            }
            Step::Approved => {
                let subject = case.ordered.as_ref()?.id.resource_name();
                (subject, case.waits.as_ref()?.0.clone().into())
            }
            Step::Completed => {
                let subject = case.ordered.as_ref()?.id.resource_name();
                let (_, mut admitted) = case.waits.take()?;
                admitted.authority_size = self.authority_at(index).size;
                (subject, admitted.into())
            }
            Step::Refused => {
                let digest = Digest::of(index.to_be_bytes()).to_string();
                let jti = Some(crate::domain::InstructionId::from_uuid(seeded.uuid(now)));
                (name, InstructionRefused { reason: Reason::SignatureInvalid, digest, jti }.into())
            }
            Step::Leased { place, attempt } => {
                let (execution, agent) = execution(case, place)?;
                (execution.resource_name(), ExecutionLeased { agent: agent.id.clone(), attempt }.into())
            }
            Step::Deferred { place, attempt } => {
                let (execution, agent) = execution(case, place)?;
                let (agent, reason, next) = (agent.id.clone(), Reason::Unavailable, now.as_second() + 60);
                (
                    execution.resource_name(),
                    ExecutionDeferred { agent, attempt, reason, next, begun: true }.into(),
                )
            }
            Step::Failed { place, attempt } => {
                let (execution, _) = execution(case, place)?;
                case.states.push(ExecutionState::Failed);
                (execution.resource_name(), ExecutionFailed { attempt, reason: Reason::LeaseLost }.into())
            }
            Step::Reported { place, attempt, failed } => {
                let (execution, agent) = execution(case, place)?;
                let ordered = case.ordered.as_ref()?;
                let authority = self.authority_at(index);
                let event = report(ordered, place, agent, attempt, failed, now, authority, seeded);
                let state = if failed { ExecutionState::Failed } else { ExecutionState::Completed };
                case.states.push(state);
                (execution.resource_name(), event.into())
            }
            Step::Released { place } => {
                let (execution, _) = execution(case, place)?;
                let export = ExportId::from_uuid(seeded.uuid(now));
                case.exports.push(export);
                let (digest, expires) = (package(execution).to_string(), now.as_second() + 7 * 86_400);
                let event = ExportReleased { execution, digest, size: PACKAGE, expires };
                (export.resource_name(), event.into())
            }
            Step::Downloaded => {
                let export = *case.exports.last()?;
                (export.resource_name(), ExportDownloaded { by: name, offset: 0 }.into())
            }
            Step::Ended => {
                let stands: Vec<Stand> =
                    case.states.iter().map(|state| Stand::of(*state, true, None, true)).collect();
                let state = settled(InstructionState::Admitted, &stands).as_str().to_owned();
                let subject = case.ordered.as_ref()?.id.resource_name();
                (subject, InstructionEnded { controller: id(), state }.into())
            }
            Step::Evidence => {
                let subject = case.ordered.as_ref()?.id.resource_name();
                (subject, EvidenceExported { by: name, disclosures: true }.into())
            }
            Step::Shredded => (request, DataShredded { class: "request".to_owned(), keys: 1 }.into()),
        };
        Some(told)
    }
}

impl Iterator for Story<'_> {
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        let index = self.told;
        if index == self.size {
            return None;
        }
        self.told += 1;
        let time = self.time(index);
        if let Some((subject, event)) = self.begins.pop_front() {
            return Some(Told { subject, event, time });
        }
        if index == self.middle() {
            let subject = self.parties.controllers[0].resource_name();
            return Some(Told { subject, event: self.parties.named(0, 1), time });
        }
        loop {
            while self.cases.len() < OPEN {
                let case = self.new_case(time);
                self.cases.push(case);
            }
            let at = self.seeded.below(OPEN as u64) as usize;
            let mut case = self.cases.swap_remove(at);
            if let Some((subject, event)) = self.take_step(&mut case, index) {
                self.cases.push(case);
                return Some(Told { subject, event, time });
            }
        }
    }
}
