//! The reference: when an order is good, what each call is answered, and when an agent gets a warrant. Plain rules over
//! sets of keys and seconds, of which the first that fails is the answer; nothing of `mandate::authority` is used here.

use std::collections::BTreeSet;

use mandate::domain::InstructionState as State;
use mandate::domain::Reason;

/// Keys that may sign, and whose they are: the first person has two.
pub const PEOPLE: [&str; 5] = ["ann", "ann", "bob", "cai", "dee"];

/// A set of keys, one bit each.
pub type Keys = u8;
pub const ALL: Keys = 31;

pub fn has(keys: Keys, key: usize) -> bool {
    keys & (1 << key) != 0
}

pub fn each(keys: Keys) -> impl Iterator<Item = usize> {
    (0..PEOPLE.len()).filter(move |key| has(keys, *key))
}

pub fn people(keys: Keys) -> usize {
    each(keys).map(|key| PEOPLE[key]).collect::<BTreeSet<_>>().len()
}

/// Who may do one act, and how many people it takes. No keys: nobody may.
#[derive(Debug, Clone, Copy, Default)]
pub struct Role {
    pub keys: Keys,
    pub threshold: usize,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Set {
    /// Those that it lists, with a role or without one.
    pub keys: Keys,
    pub erase: Role,
    pub end: Role,
    pub revoke: Role,
    /// People that an erasure takes where it is about recordings, or answers for a minor, or names no case; 0: no more than any.
    pub media: usize,
    pub minor: usize,
    pub hold: i64,
    pub exp: i64,
}

/// What an erasure answers.
#[derive(Debug, Clone, Copy)]
pub enum Case {
    None,
    Named { minor: bool },
}

#[derive(Debug, Clone, Copy)]
pub enum Act {
    Erase {
        media: bool,
        case: Case,
    },
    /// The end of a contract: it is about no person.
    End,
    /// Of the order in this slot.
    Revoke(usize),
}

impl Set {
    pub fn role(&self, act: Act) -> Role {
        match act {
            Act::Erase { .. } => self.erase,
            Act::End => self.end,
            Act::Revoke(_) => self.revoke,
        }
    }

    fn needed(&self, act: Act) -> usize {
        match act {
            Act::Erase { media, case } => {
                let minor = !matches!(case, Case::Named { minor: false });
                let tier = |applies, people| if applies { people } else { 0 };
                self.erase.threshold.max(tier(media, self.media)).max(tier(minor, self.minor))
            }
            _ => self.role(act).threshold,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Order {
    pub act: Act,
    /// The version of the set that it names.
    pub version: usize,
    /// Who signed what was submitted.
    pub sent: Keys,
    /// Whose signatures it has by now.
    pub signed: Keys,
    withdrawn: BTreeSet<&'static str>,
    /// Its `iat`, or the contract's end.
    begins: i64,
    pub exp: i64,
    /// None: it is not there.
    pub state: Option<State>,
    /// Its id is used up, with this answer.
    refused: Option<Reason>,
    admitted: Option<i64>,
    /// The gateway handed it out.
    leased: bool,
    pub leased_until: i64,
    /// The agent got a warrant.
    pub begun: bool,
    pub ended: bool,
}

impl Order {
    pub fn new(act: Act, version: usize, sent: Keys, begins: i64, exp: i64) -> Self {
        Self {
            act,
            version,
            sent,
            signed: sent,
            withdrawn: BTreeSet::new(),
            begins,
            exp,
            state: None,
            refused: None,
            admitted: None,
            leased: false,
            leased_until: 0,
            begun: false,
            ended: false,
        }
    }

    /// Its end comes by itself, where the gateway has handed nothing of it out: whether that was written down or not.
    pub fn state_at(&self, now: i64) -> Option<State> {
        let is_over = now >= self.exp && self.is_open() && !self.leased;
        if is_over { Some(State::Expired) } else { self.state }
    }

    /// There is something for an agent to do.
    pub fn has_executions(&self) -> bool {
        self.admitted.is_some() && !matches!(self.act, Act::Revoke(_))
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, Some(State::Waiting | State::Admitted | State::Held | State::Executing))
    }

    fn end(&mut self, state: State) {
        (self.state, self.ended) = (Some(state), true);
    }

    fn stop(&mut self, state: State) {
        (self.state, self.ended) = (Some(state), !self.leased);
    }
}

/// Its state, and how many people are missing while it waits.
pub type Answer = Result<(State, usize), Reason>;

fn refused(applies: bool, reason: Reason) -> Result<(), Reason> {
    if applies { Err(reason) } else { Ok(()) }
}

/// More signatures may come to it, or be taken back.
fn waits(order: &Order, now: i64) -> Result<(), Reason> {
    refused(order.state_at(now) == Some(State::Expired), Reason::InstructionExpired)?;
    refused(order.state != Some(State::Waiting), Reason::StageConflict)
}

/// There is something left of it to stop.
fn stoppable(order: &Order, now: i64) -> Result<(), Reason> {
    refused(order.state_at(now) == Some(State::Expired), Reason::InstructionExpired)?;
    refused(!order.is_open(), Reason::StageConflict)
}

#[derive(Debug)]
pub struct Rules {
    /// By version, from 1.
    pub sets: Vec<Set>,
    pub orders: Vec<Order>,
    /// How long a lease lasts, seconds.
    pub lease: i64,
}

impl Rules {
    pub fn newest(&self) -> (usize, Set) {
        (self.sets.len(), self.sets[self.sets.len() - 1])
    }

    /// How many people are missing by now, or what speaks against it whoever else may sign.
    fn missing(&self, order: &Order, now: i64) -> Result<usize, Reason> {
        let (version, set) = self.newest();
        let role = set.role(order.act);
        refused(now >= order.exp, Reason::InstructionExpired)?;
        refused(order.version != version, Reason::KeySetNotCurrent)?;
        refused(now >= set.exp, Reason::KeySetExpired)?;
        refused(role.keys == 0 || order.signed & !role.keys != 0, Reason::SignerRole)?;
        match order.act {
            Act::Revoke(target) => {
                let target = &self.orders[target];
                refused(target.state.is_none(), Reason::TargetUnknown)?;
                stoppable(target, now)?;
            }
            _ => refused(now.max(order.begins) + set.hold >= order.exp, Reason::InstructionLifetime)?,
        }
        Ok(set.needed(order.act).saturating_sub(people(order.signed)))
    }

    pub fn shown(&self, slot: usize, now: i64) -> Answer {
        let order = &self.orders[slot];
        let state = order.state_at(now).ok_or(Reason::NotFound)?;
        let needed = self.sets[order.version - 1].needed(order.act);
        let waits = state == State::Waiting;
        Ok((state, if waits { needed - people(order.signed) } else { 0 }))
    }

    /// What its bytes get once more; none before they came.
    pub fn first_answer(&self, slot: usize, now: i64) -> Option<Answer> {
        let order = &self.orders[slot];
        order.refused.map(Err).or_else(|| order.state.map(|_| self.shown(slot, now)))
    }

    /// With these missing it is admitted or waits.
    fn settle(&mut self, slot: usize, missing: usize, now: i64) -> Answer {
        let hold = self.newest().1.hold;
        let order = &mut self.orders[slot];
        if missing > 0 {
            order.state = Some(State::Waiting);
            return self.shown(slot, now);
        }
        order.admitted = Some(now);
        if let Act::Revoke(target) = order.act {
            order.end(State::Done);
            self.orders[target].stop(State::Revoked);
        } else {
            let held = order.begins.max(now) + hold > now;
            order.state = Some(if held { State::Held } else { State::Admitted });
        }
        self.shown(slot, now)
    }

    /// Its bytes come, for the first time or again.
    pub fn submitted(&mut self, slot: usize, now: i64) -> Answer {
        // For ever, whatever became of those who signed it.
        if let Some(answer) = self.first_answer(slot, now) {
            return answer;
        }
        let order = &self.orders[slot];
        // Before anything in it is read, its signatures are held against the newest set.
        refused(order.sent & !self.newest().1.keys != 0, Reason::KeyUnknown)?;
        match self.missing(order, now) {
            Ok(missing) => self.settle(slot, missing, now),
            Err(reason) => {
                self.orders[slot].refused = Some(reason);
                Err(reason)
            }
        }
    }

    /// What whoever signs one more time must pass first. A key beyond the last is a stranger's.
    fn countersigned(&self, slot: usize, key: usize) -> Result<(), Reason> {
        let (version, set) = self.newest();
        refused(self.orders[slot].state.is_none(), Reason::NotFound)?;
        refused(self.orders[slot].version != version, Reason::KeySetNotCurrent)?;
        refused(!has(set.keys & ALL, key), Reason::KeyUnknown)
    }

    /// `hides`: without showing whom it is about.
    pub fn approved(&mut self, slot: usize, key: usize, hides: bool, now: i64) -> Answer {
        let order = &self.orders[slot];
        let hides = hides && matches!(order.act, Act::Erase { .. });
        // What counts once counts for ever.
        if order.state.is_some() && has(order.signed, key) && !hides {
            return self.shown(slot, now);
        }
        self.countersigned(slot, key)?;
        let order = &self.orders[slot];
        refused(hides, Reason::DisclosureMissing)?;
        waits(order, now)?;
        refused(order.withdrawn.contains(PEOPLE[key]), Reason::SignatureWithdrawn)?;
        let mut after = order.clone();
        after.signed |= 1 << key;
        let missing = self.missing(&after, now)?;
        self.orders[slot] = after;
        self.settle(slot, missing, now)
    }

    /// By any key of his that the set lists, all that he signed is taken back.
    pub fn withdrawn(&mut self, slot: usize, key: usize, now: i64) -> Answer {
        let order = &self.orders[slot];
        let listed = |version: usize| key < PEOPLE.len() && has(self.sets[version - 1].keys, key);
        // The same signer again, by a key that he had when it was taken.
        if order.state.is_some() && listed(order.version) && order.withdrawn.contains(PEOPLE[key]) {
            return self.shown(slot, now);
        }
        self.countersigned(slot, key)?;
        let order = &mut self.orders[slot];
        let own: Vec<usize> = each(order.signed).filter(|other| PEOPLE[*other] == PEOPLE[key]).collect();
        waits(order, now)?;
        refused(own.is_empty(), Reason::StageConflict)?;
        order.withdrawn.insert(PEOPLE[key]);
        own.iter().for_each(|key| order.signed &= !(1 << key));
        if order.signed & order.sent == 0 {
            // Approvals alone order nothing.
            order.end(State::Revoked);
        }
        self.shown(slot, now)
    }

    pub fn contested(&mut self, slot: usize, now: i64) -> Result<(), Reason> {
        let order = &mut self.orders[slot];
        refused(order.state.is_none(), Reason::NotFound)?;
        if order.state != Some(State::Contested) {
            stoppable(order, now)?;
            order.stop(State::Contested);
        }
        Ok(())
    }

    /// The gateway's housekeeping.
    pub fn swept(&mut self, now: i64) {
        for order in self.orders.iter_mut().filter(|order| now >= order.exp && !order.leased) {
            if order.is_open() {
                order.end(State::Expired);
            }
        }
    }

    /// When its first lease may come.
    fn opens(&self, order: &Order) -> Option<i64> {
        let hold = self.sets[order.version - 1].hold;
        order.admitted.map(|at| at.max(order.begins) + hold)
    }

    /// Who signed it may still do so.
    fn stands(&self, order: &Order) -> bool {
        order.signed & !self.newest().1.role(order.act).keys == 0
    }

    /// What the gateway looks at when an agent asks for orders.
    pub fn due(&self, now: i64) -> BTreeSet<usize> {
        let due = |order: &Order| match order.leased {
            true => now >= order.leased_until,
            false => self.opens(order).is_some_and(|opens| now >= opens),
        };
        let open = |slot: &usize| !self.orders[*slot].ended && due(&self.orders[*slot]);
        (0..self.orders.len()).filter(open).collect()
    }

    /// Of those it hands out what an agent might carry out or has begun, and ends the others. Whether it did.
    pub fn leased(&mut self, slot: usize, now: i64) -> bool {
        let expired = now >= self.orders[slot].exp;
        let stands = self.stands(&self.orders[slot]);
        let until = now + self.lease;
        let order = &mut self.orders[slot];
        if !order.leased && (expired || !stands) {
            order.end(if expired { State::Expired } else { State::Failed });
            return false;
        }
        (order.leased, order.leased_until) = (true, until);
        if order.is_open() {
            order.state = Some(State::Executing);
        }
        true
    }

    /// An agent gets a warrant.
    pub fn warrant(&self, slot: usize, now: i64) -> bool {
        let order = &self.orders[slot];
        let stopped = matches!(order.state, Some(State::Revoked | State::Contested));
        let opens = self.opens(order).is_some_and(|opens| now >= opens);
        !stopped && opens && (order.begun || now < order.exp && self.stands(order))
    }

    /// The agent's word, under its lease.
    pub fn reported(&mut self, slot: usize, state: State) {
        let order = &mut self.orders[slot];
        order.end(if order.is_open() { state } else { order.state.expect("it was handed out") });
    }
}
