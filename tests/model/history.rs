//! Step by step: what is asked of the gateway is asked of the rules, and both answer the same.

use std::collections::{BTreeMap, BTreeSet};

use mandate::agent::orders::Leased;
use mandate::domain::{InstructionState, Reason};
use mandate::token::{ReportOutcome, Says};

use super::agent::{Agent, Hold};
use super::door::{Door, Shown};
use super::office::{Office, Wording};
use super::ops::{About, Call, Instruct, LONG, first};
use super::rules::{self, Act, Case, Keys, Order, Role, Rules, Set, each};

/// How often each was answered what.
pub type Tally = BTreeMap<(&'static str, String), usize>;

pub struct History<D> {
    pub rules: Rules,
    pub office: Office,
    pub agent: Agent,
    pub door: D,
    pub tally: Tally,
}

/// In a [`Tally`]: the very bytes of what was answered before, when a key that signed them has left.
pub const AGAIN: &str = "submit again after a rotation";

/// How long a revocation may wait, seconds.
const REVOCATION: i64 = 400;

impl<D: Door> History<D> {
    /// `lease`: how long one lasts, seconds.
    pub async fn new(office: Office, agent: Agent, door: D, lease: i64) -> Self {
        let now = door.clock().now_seconds();
        // The set of the sample, whose signers nobody here has.
        let sample = Set { exp: now + LONG, ..Set::default() };
        let rules = Rules { sets: vec![sample], orders: Vec::new(), lease };
        let mut history = Self { rules, office, agent, door, tally: Tally::new() };
        history.rotate(first(now)).await;
        history
    }

    pub fn now(&self) -> i64 {
        self.door.clock().now_seconds()
    }

    pub fn slot(&self, slot: usize) -> Option<usize> {
        (!self.rules.orders.is_empty()).then(|| slot % self.rules.orders.len())
    }

    /// The n-th of those that fit, counted round; of all where none does, or none is wanted.
    fn slot_where(&self, n: usize, wanted: bool, fits: impl Fn(&Order) -> bool) -> Option<usize> {
        let orders = self.rules.orders.iter().enumerate();
        let fitting: Vec<usize> = orders.filter(|(_, order)| fits(order)).map(|(slot, _)| slot).collect();
        if wanted && !fitting.is_empty() { Some(fitting[n % fitting.len()]) } else { self.slot(n) }
    }

    /// One that more signatures may come to.
    fn waiting(&self, n: usize, wanted: bool) -> Option<usize> {
        let version = self.rules.newest().0;
        self.slot_where(n, wanted, |order| {
            order.state == Some(InstructionState::Waiting) && order.version == version
        })
    }

    /// What the gateway should say of a slot by what the rules answer.
    fn expected(&self, slot: usize, answer: rules::Answer) -> Result<Shown, Reason> {
        let order = &self.rules.orders[slot];
        let role = match order.act {
            Act::Erase { .. } => "erase",
            Act::End => "return_and_erase",
            Act::Revoke(_) => "revoke",
        };
        let (state, missing) = answer?;
        let missing = if missing > 0 { vec![(role.to_owned(), missing)] } else { Vec::new() };
        Ok(Shown { state, missing, has_orders: order.has_executions() })
    }

    fn told(&mut self, asked: &'static str, answer: &rules::Answer) {
        let word = match answer {
            Ok((state, _)) => state.to_string(),
            Err(reason) => reason.code().to_owned(),
        };
        *self.tally.entry((asked, word)).or_default() += 1;
    }

    pub async fn call(&mut self, call: &Call) {
        match *call {
            Call::Instruct(ref instruct) => self.instruct(instruct).await,
            Call::Rotate(ref next) => self.rotate(next.set(self.now())).await,
            Call::Lease => self.lease().await,
            Call::Report => self.report().await,
            Call::Again { slot, left } => {
                let keys = self.rules.newest().1.keys;
                let fits = |order: &Order| order.sent & !keys != 0;
                let Some(slot) = self.slot_where(slot, left, fits) else { return };
                let wire = self.office.orders[slot].wire.clone();
                self.submit(slot, &wire).await;
            }
            Call::Approve { slot, key, entitled, hides } => {
                let Some(slot) = self.waiting(slot, entitled) else { return };
                self.approve(slot, key, entitled, hides).await;
            }
            Call::Withdraw { slot, key, own } => {
                let Some(slot) = self.waiting(slot, own) else { return };
                self.withdraw(slot, key, own).await;
            }
            Call::Contest { slot } => {
                let Some(slot) = self.slot(slot) else { return };
                self.contest(slot).await;
            }
        }
    }

    async fn rotate(&mut self, set: Set) {
        let bytes = self.office.next_set(&set, self.now());
        assert_eq!(self.door.rotate(&bytes).await, Ok(()));
        self.rules.sets.push(set);
    }

    async fn instruct(&mut self, instruct: &Instruct) {
        let Instruct { about, keys, entitled, twice, behind, life } = instruct;
        let (act, begins, life) = match *about {
            About::One { media, case } => (Act::Erase { media, case }, None, *life),
            About::End(ahead) => (Act::End, Some(ahead), life + ahead),
            About::Order { slot } => match self.slot_where(slot, *entitled, Order::is_open) {
                Some(slot) => (Act::Revoke(slot), None, REVOCATION),
                None => return,
            },
        };
        let request = match act {
            Act::Erase { case: Case::Named { minor }, .. } => Some(self.door.case(minor).await),
            _ => None,
        };
        let (version, newest) = self.rules.newest();
        let version = if *behind && version > 2 { version - 1 } else { version };
        let may = newest.role(act).keys;
        let keys = match keys & may {
            _ if !entitled || may == 0 => *keys,
            0 => 1 << nth(may, usize::from(*keys)).expect("somebody may"),
            among => among,
        };
        let now = self.now();
        let begins = begins.map(|ahead| now + ahead);
        let says = Wording { act, version, request, begins, exp: now + life };
        let wire = self.office.sign(says, keys, *twice, self.door.clock());
        let order = Order::new(act, version, keys, begins.unwrap_or(now), now + life);
        self.rules.orders.push(order);
        self.submit(self.rules.orders.len() - 1, &wire).await;
    }

    async fn submit(&mut self, slot: usize, wire: &str) {
        let again = self.rules.first_answer(slot, self.now()).is_some();
        let left = self.rules.orders[slot].sent & !self.rules.newest().1.keys != 0;
        let answer = self.rules.submitted(slot, self.now());
        self.told(if again && left { AGAIN } else { "submit" }, &answer);
        let done = self.door.submit(wire).await;
        assert_eq!(done, self.expected(slot, answer), "submitted: {:?}", self.rules.orders[slot]);
    }

    async fn approve(&mut self, slot: usize, key: usize, entitled: bool, hides: bool) {
        let order = &self.rules.orders[slot];
        let Role { keys, .. } = self.rules.newest().1.role(order.act);
        let key = if entitled { nth(keys & !order.signed, key).unwrap_or(key) } else { key };
        let signed = order.signed;
        let id = self.office.orders[slot].id;
        let approval = self.office.countersign(Says::Approved, slot, key);
        let disclosures = match hides {
            true => Vec::new(),
            false => self.office.orders[slot].envelope.disclosures().to_vec(),
        };
        let answer = self.rules.approved(slot, key, hides, self.now());
        self.told("approve", &answer);
        let done = self.door.approve(id, &approval, &disclosures).await;
        let order = &self.rules.orders[slot];
        assert_eq!(done, self.expected(slot, answer), "approved by {key} ({hides}): {order:?}");
        if order.signed != signed {
            self.office.approved(slot, &approval);
        }
    }

    async fn withdraw(&mut self, slot: usize, key: usize, own: bool) {
        let signed = self.rules.orders[slot].signed;
        let key = if own { nth(signed, key).unwrap_or(key) } else { key };
        let withdrawal = self.office.countersign(Says::Withdrawn, slot, key);
        let answer = self.rules.withdrawn(slot, key, self.now());
        self.told("withdraw", &answer);
        let done = self.door.withdraw(self.office.orders[slot].id, &withdrawal).await;
        let order = &self.rules.orders[slot];
        assert_eq!(done, self.expected(slot, answer), "withdrawn by {key}: {order:?}");
        if order.signed != signed {
            self.office.left_with(slot, order.signed);
        }
    }

    async fn contest(&mut self, slot: usize) {
        let answer = self.rules.contested(slot, self.now());
        let done = self.door.contest(self.office.orders[slot].id).await;
        assert_eq!(done, answer, "contested: {:?}", self.rules.orders[slot]);
    }

    async fn lease(&mut self) {
        let now = self.now();
        let mut due = self.rules.due(now);
        // Each call hands out one of those that are due, or ends one, at the least.
        let (mut given, mut lost) = (Vec::new(), 0);
        for _ in 0..=due.len() {
            let (orders, cut) = self.door.lease().await;
            given.extend(orders);
            lost += usize::from(cut);
        }
        self.agent.refresh(&mut self.door).await;
        for order in given {
            let leased = Leased::read(order.clone()).expect("an order");
            let id = leased.claimed_instruction().expect("its leaf names one");
            let slot = self.office.orders.iter().position(|order| order.id == id).expect("one of ours");
            assert!(due.remove(&slot), "handed out twice or too early: {:?}", self.rules.orders[slot]);
            assert!(self.rules.leased(slot, now), "handed out: {:?}", self.rules.orders[slot]);
            self.agent.held.insert(slot, Hold::of(&leased));
            let begun = self.rules.orders[slot].begun;
            let good = self.agent.would_carry_out(order, begun, now);
            let rule = self.rules.warrant(slot, now);
            assert_eq!(good, rule, "handed out at {now}: {:?}", self.rules.orders[slot]);
            if good {
                *self.tally.entry(("agent", "warrant".into())).or_default() += 1;
                self.rules.orders[slot].begun = true;
            } else {
                // It says so, and the order is over.
                let outcome = if begun { ReportOutcome::Failed } else { ReportOutcome::Refused };
                self.tell(slot, outcome, InstructionState::Failed).await;
            }
        }
        self.not_handed_out(&due, lost, now).await;
    }

    /// What was due and did not come has ended, or went out with an answer that was cut off.
    async fn not_handed_out(&mut self, due: &BTreeSet<usize>, mut lost: usize, now: i64) {
        for slot in due {
            if self.rules.leased(*slot, now) {
                assert!(lost > 0, "a good order was not handed out: {:?}", self.rules.orders[*slot]);
                lost -= 1;
            }
        }
    }

    async fn report(&mut self) {
        let held: Vec<usize> = self.agent.held.keys().copied().collect();
        for slot in held {
            let order = &self.rules.orders[slot];
            if self.now() < order.leased_until && !order.ended && order.begun {
                self.tell(slot, ReportOutcome::Completed, InstructionState::Done).await;
            }
        }
    }

    async fn tell(&mut self, slot: usize, outcome: ReportOutcome, state: InstructionState) {
        let hold = self.agent.held.remove(&slot).expect("the agent holds it");
        let report = self.agent.report(&hold, &self.office.orders[slot], outcome, self.door.clock());
        self.rules.reported(slot, state);
        assert_eq!(self.door.report(&hold, report).await, Ok(()), "{:?}", self.rules.orders[slot]);
    }

    /// Of every order: what the gateway shows, and whether the agent gets a warrant.
    pub async fn check(&mut self, after: &impl std::fmt::Debug) {
        self.agent.refresh(&mut self.door).await;
        let now = self.now();
        for slot in 0..self.rules.orders.len() {
            let shown = self.door.show(self.office.orders[slot].id).await;
            let rule = self.expected(slot, self.rules.shown(slot, now));
            assert_eq!(shown, rule, "after {after:?}: slot {slot}, {:?}", self.rules.orders[slot]);
            let order = &self.rules.orders[slot];
            if matches!(order.state, Some(InstructionState::Done | InstructionState::Failed)) {
                // Done once; that it is done only once is the agent's ledger's to know. What failed at the gateway
                // alone, a taken-over one may hand out.
                continue;
            }
            if let Some(state) = order.state_at(now).filter(|_| order.has_executions()) {
                *self.tally.entry(("asked about", state.to_string())).or_default() += 1;
            }
            let begun = order.begun;
            let good = match self.door.order(&self.office.orders[slot]).await {
                Some(handed) => self.agent.would_carry_out(handed, begun, now),
                None => false,
            };
            let rule = self.rules.warrant(slot, now);
            assert_eq!(good, rule, "after {after:?} at {now}: slot {slot}, {:?}", self.rules.orders[slot]);
        }
    }
}

/// The n-th of these keys, counted round.
fn nth(keys: Keys, n: usize) -> Option<usize> {
    let keys: Vec<usize> = each(keys).collect();
    (!keys.is_empty()).then(|| keys[n % keys.len()])
}
