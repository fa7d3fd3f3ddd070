//! What a gateway has seen before a vector arrives, and what it makes of it: steps, one after the other.
//!
//! The state is a few maps; every judgement is made by the very rules that gateway and agent ask
//! ([`crate::authority::precedent`], [`crate::authority::admission`], [`crate::authority::warrant`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::world::{Circumstances, Taken, World};
use crate::authority::admission::{Judged, held_until, judge};
use crate::authority::precedent::{
    Case, Precedent, Signed, check_case, check_stoppable, check_target, precedent,
};
use crate::authority::warrant::{AdmissionFacts, Lease, Order, Standing, check_order};
use crate::authority::{AdmissionContext, KeySetChain, TakenBack};
use crate::domain::execution::{Stand, state_at};
use crate::domain::{
    ExecutionState, InstructionId, InstructionState, Reason, Refusal, RequestStage, RightStage, Stop,
};
use crate::token::{Detached, Digest, Envelope, Instruction, KeyId, KeySet, Says, SignedStatement};

/// One thing that comes before, and the answer it gets: `OK` where none is named.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    #[serde(flatten)]
    does: Does,
    answer: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Does {
    /// As sent. It may take another back.
    Instruction(String),
    Approval(OfAnother),
    Withdrawal(OfAnother),
    /// The processor contests the instruction of this name.
    Contest(String),
    /// This key set of the world's comes into force.
    KeySet(String),
    /// So many seconds pass.
    Wait(i64),
}

/// `<protected>..<signature>`, and the instruction it is about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfAnother {
    input: String,
    of: String,
}

/// An instruction that was taken.
struct Kept {
    envelope: Envelope,
    statement: SignedStatement,
    state: InstructionState,
    withdrawn: BTreeSet<KeyId>,
}

impl Kept {
    /// No agent begins anything here.
    fn state_at(&self, now: i64) -> InstructionState {
        let unbegun = Stand::of(ExecutionState::Pending, false, None, false);
        state_at(self.state, &[unbegun], self.statement.exp, now)
    }

    fn signed(&self, now: i64) -> Signed<'_> {
        let key_set_version = self.statement.key_set.version;
        Signed { state: self.state_at(now), key_set_version, withdrawn: &self.withdrawn }
    }
}

/// What used an id up.
struct Used {
    digest: String,
    outcome: String,
    /// The set in force then.
    key_set: String,
}

/// A gateway's memory, as far as vectors need it.
pub struct Sequence<'a> {
    world: &'a World,
    under: &'a Circumstances,
    now: i64,
    /// The sets that came into force, by their names.
    key_sets: Vec<String>,
    used: BTreeMap<InstructionId, Used>,
    kept: BTreeMap<InstructionId, Kept>,
}

/// A step that goes another way than the file says is the file's fault.
fn astray(step: &str, answer: &str) -> Refusal {
    Refusal::new(Reason::Internal).note(format!("a step before it ({step}) was answered {answer}"))
}

impl<'a> Sequence<'a> {
    /// After the steps that come before.
    pub fn begin(world: &'a World, under: &'a Circumstances) -> Result<Self, Refusal> {
        let first = under.key_set.as_deref().unwrap_or("current").to_owned();
        let (used, kept) = (BTreeMap::new(), BTreeMap::new());
        let mut begun = Self { world, under, now: world.now(), key_sets: vec![first], used, kept };
        begun.take(&under.before)?;
        Ok(begun)
    }

    pub fn now(&self) -> i64 {
        self.now
    }

    pub fn take(&mut self, steps: &[Step]) -> Result<(), Refusal> {
        for Step { does, answer } in steps {
            let waits = |taken: Taken| if taken.waits { "WAITS" } else { "OK" };
            let (what, got) = match does {
                Does::Instruction(input) => ("instruction", self.submit(input).map(waits)),
                Does::Approval(given) => ("approval", self.approve(&given.input, &given.of).map(waits)),
                Does::Withdrawal(given) => {
                    ("withdrawal", self.withdraw(&given.input, &given.of).map(|()| "OK"))
                }
                Does::Contest(name) => ("contest", self.contest(name).map(|()| "OK")),
                Does::KeySet(name) => {
                    self.world.key_set(name)?;
                    self.key_sets.push(name.clone());
                    ("key set", Ok("OK"))
                }
                Does::Wait(seconds) => {
                    self.now += seconds;
                    ("wait", Ok("OK"))
                }
            };
            let got = got.unwrap_or_else(|refusal| refusal.reason.code());
            if got != answer.as_deref().unwrap_or("OK") {
                return Err(astray(what, got));
            }
        }
        Ok(())
    }

    fn newest(&self) -> Result<&'a KeySet, Refusal> {
        self.world.key_set(&self.key_sets[self.key_sets.len() - 1])
    }

    /// Whatever the gateway could take in: admitted, waiting, or as it was answered before.
    pub fn submit(&mut self, input: &str) -> Result<Taken, Refusal> {
        let newest = self.newest()?;
        let envelope = Envelope::read(input.as_bytes())?;
        let today = envelope.clone().verify(newest).and_then(|one| one.parse(&self.world.expected()));
        let instruction = match today {
            Ok(instruction) => instruction,
            Err(refusal) => return self.first_answer(envelope).unwrap_or(Err(refusal)),
        };
        let id = instruction.statement().jti;
        if let Some(used) = self.used.get(&id) {
            return self.answer_again(instruction, used);
        }
        let decided = self.decide(&instruction, newest, &BTreeSet::new());
        let outcome = decided.as_ref().map_or_else(|refusal| refusal.reason.code(), |state| state.as_str());
        let (digest, outcome) = (instruction.digest().to_string(), outcome.to_owned());
        let key_set = self.key_sets[self.key_sets.len() - 1].clone();
        self.used.insert(id, Used { digest, outcome, key_set });
        let state = decided?;
        self.keep(&instruction, state);
        Ok(self.answer(instruction))
    }

    fn answer_again(&self, instruction: Instruction, used: &Used) -> Result<Taken, Refusal> {
        match precedent(&instruction.digest(), &used.digest, &used.outcome) {
            Precedent::Taken => Ok(self.answer(instruction)),
            Precedent::Refused(reason) => Err(reason.into()),
            Precedent::Reused => Err(Refusal::at(Reason::JtiReused, "payload.jti")),
        }
    }

    /// Of what the newest set refuses: the very same payload again, as the set of its first time has it.
    fn first_answer(&self, envelope: Envelope) -> Option<Result<Taken, Refusal>> {
        let used = self.used.get(&envelope.claimed_jti()?)?;
        if envelope.instruction_digest().to_string() != used.digest {
            return None;
        }
        let set = self.world.key_set(&used.key_set).ok()?;
        let instruction = envelope.verify(set).ok()?.parse(&self.world.expected()).ok()?;
        Some(self.answer_again(instruction, used))
    }

    fn answer(&self, instruction: Instruction) -> Taken {
        let state = self.kept.get(&instruction.statement().jti).map(|kept| kept.state_at(self.now));
        Taken { waits: state == Some(InstructionState::Waiting), instruction }
    }

    fn keep(&mut self, instruction: &Instruction, state: InstructionState) {
        let statement = instruction.statement();
        if let Some(target) = statement.target.filter(|_| state != InstructionState::Waiting)
            && let Some(kept) = self.kept.get_mut(&target)
        {
            kept.state = InstructionState::Revoked;
        }
        let kept = self.kept.remove(&statement.jti);
        let withdrawn = kept.map(|kept| kept.withdrawn).unwrap_or_default();
        let envelope = instruction.envelope().clone();
        let kept = Kept { envelope, statement: statement.clone(), state, withdrawn };
        self.kept.insert(kept.statement.jti, kept);
    }

    /// In the order of the gateway's own decision: the instruction, the case it answers, what it takes back.
    fn decide(
        &self,
        instruction: &Instruction,
        newest: &KeySet,
        without: &BTreeSet<&str>,
    ) -> Result<InstructionState, Refusal> {
        let statement = instruction.statement();
        let terms = self.world.terms(self.under.agreement.as_deref().unwrap_or("current"))?;
        let case = statement.req.as_ref().and_then(|req| self.world.request(&req.resource_name()));
        let context = AdmissionContext {
            newest,
            app_owner: self.world.owner_of(&statement.app),
            agreement: Some(&terms),
            now: self.now,
            minor: case.is_some_and(|case| case.minor),
            without,
            witnesses: 0,
        };
        let judged = judge(instruction, &context)?;
        let rights: Vec<_> =
            case.iter().flat_map(|case| &case.rights).map(|right| (*right, RightStage::Open)).collect();
        let app = case.map(|case| case.app()).transpose()?;
        let stage = RequestStage::Acknowledged;
        check_case(statement, app.as_ref().map(|app| Case { app, stage, rights: &rights }))?;
        let target = statement.target.as_ref().and_then(|target| self.kept.get(target));
        check_target(statement, target.map(|kept| (&kept.statement.app, kept.state_at(self.now))))?;
        Ok(match judged {
            Judged::Waits(_) => InstructionState::Waiting,
            Judged::Good(_) if statement.target.is_some() => InstructionState::Done,
            Judged::Good(_) if held_until(statement, self.now, newest) > self.now => InstructionState::Held,
            Judged::Good(_) => InstructionState::Admitted,
        })
    }

    /// The instruction of that text; one that no step brought waits, whatever it is.
    fn meant(&mut self, of: &str) -> Result<InstructionId, Refusal> {
        let envelope = Envelope::read(of.as_bytes())?;
        if let Some(id) = envelope.claimed_jti().filter(|id| self.kept.contains_key(id)) {
            return Ok(id);
        }
        let statement = envelope.clone().verify(self.newest()?)?.parse_public(&self.world.expected())?;
        let (id, state) = (statement.jti, InstructionState::Waiting);
        self.kept.insert(id, Kept { envelope, statement, state, withdrawn: BTreeSet::new() });
        Ok(id)
    }

    /// The set it was taken under; the newest where that is another one's.
    fn set_of(&self, kept: &Kept) -> Result<&'a KeySet, Refusal> {
        let sets = self.key_sets.iter().rev().filter_map(|name| self.world.key_set(name).ok());
        let own = sets.into_iter().find(|set| set.digest() == kept.statement.key_set.digest);
        own.map_or_else(|| self.newest(), Ok)
    }

    /// With the disclosures of `of`: what the approver saw and sends.
    pub fn approve(&mut self, input: &str, of: &str) -> Result<Taken, Refusal> {
        let (newest, now) = (self.newest()?, self.now);
        let approval = Detached::parse(Says::Approved, input)?;
        let expected = self.world.expected();
        let seen = Envelope::read(of.as_bytes())?.disclosures().to_vec();
        let id = self.meant(of)?;
        let kept = &self.kept[&id];
        let signed = |set: &KeySet| {
            let signer = approval.verify(&kept.envelope, set)?;
            let with = kept.envelope.approved(&approval).disclosing(seen.clone());
            with.verify(set)?.parse(&expected).map(|whole| (whole, signer))
        };
        // What counts is answered as the first time, whatever became of its key.
        let own = self.set_of(kept)?;
        if kept.signed(now).counts(&approval.kid(), own, kept.envelope.kids())
            && let Ok((whole, _)) = signed(own)
        {
            return Ok(self.answer(whole));
        }
        kept.signed(now).check_set(newest)?;
        let (whole, signer) = signed(newest)?;
        kept.signed(now).check_waits()?;
        kept.signed(now).check_approver(&signer, newest)?;
        let back: BTreeSet<&str> =
            kept.withdrawn.iter().filter_map(|kid| newest.key(kid)).map(|key| key.signer.as_str()).collect();
        let state = self.decide(&whole, newest, &back)?;
        self.keep(&whole, state);
        Ok(self.answer(whole))
    }

    pub fn withdraw(&mut self, input: &str, of: &str) -> Result<(), Refusal> {
        let (newest, now) = (self.newest()?, self.now);
        let withdrawal = Detached::parse(Says::Withdrawn, input)?;
        let id = self.meant(of)?;
        let kept = &self.kept[&id];
        let own = |set: &KeySet| {
            let signer = withdrawal.verify(&kept.envelope, set)?;
            kept.signed(now).taken_back_by(&signer, set, kept.envelope.kids())
        };
        if own(self.set_of(kept)?).is_ok_and(|own| own.is_empty()) {
            return Ok(());
        }
        kept.signed(now).check_set(newest)?;
        let own = own(newest)?;
        let rest = kept.envelope.without(&own);
        if let Some(kept) = self.kept.get_mut(&id).filter(|_| !own.is_empty()) {
            kept.withdrawn.insert(withdrawal.kid());
            match rest {
                Some(rest) => kept.envelope = rest,
                // Nobody orders it any more.
                None => kept.state = InstructionState::Revoked,
            }
        }
        Ok(())
    }

    fn contest(&mut self, name: &str) -> Result<(), Refusal> {
        let id = InstructionId::from_resource_name(name).map_err(|_| Reason::NotFound)?;
        let now = self.now;
        let kept = self.kept.get_mut(&id).ok_or(Reason::NotFound)?;
        check_stoppable(kept.state_at(now), "name")?;
        kept.state = InstructionState::Contested;
        Ok(())
    }

    /// What the authority log takes back by now.
    fn taken_back(&self) -> TakenBack {
        let mut back = TakenBack::default();
        for (id, kept) in &self.kept {
            match kept.state {
                InstructionState::Revoked => back.stop(*id, Stop::Revoked, None),
                InstructionState::Contested => back.stop(*id, Stop::Contested, None),
                _ => {}
            }
            let digest: Digest = kept.envelope.instruction_digest();
            kept.withdrawn.iter().for_each(|kid| back.withdraw(digest, *kid, 0));
        }
        back
    }

    /// As an agent judges it that replicated the log until now.
    pub fn at_first_lease(&self, instruction: &Instruction, admitted_at: i64) -> Result<(), Refusal> {
        let sets: Vec<&KeySet> =
            self.key_sets.iter().map(|name| self.world.key_set(name)).collect::<Result<_, _>>()?;
        let expected = self.world.expected();
        let log = (0..).zip(&sets).map(|(index, set)| (index, set.bytes()));
        // A version 1 after others began anew, by a pin of its own.
        let anew: Vec<Digest> =
            sets[1..].iter().filter(|set| set.version() == 1).map(|set| set.digest()).collect();
        let chain = KeySetChain::from_log(expected.iss, expected.aud, &sets[0].digest(), &anew, log)?;
        let terms = self.world.terms(self.under.agreement.as_deref().unwrap_or("current"))?;
        let store = terms.stores.first().ok_or(Reason::StoreUnknown)?;
        let version = instruction.verified_under().version;
        let admission = AdmissionFacts { key_set_version: version, authority_size: 1, at: admitted_at };
        let text = instruction.envelope().to_wire();
        let order = Order { instruction: text.as_bytes(), store, admission, lease: Lease::First };
        let standing = Standing {
            chain: &chain,
            origin: expected.aud,
            authority_size: sets.len() as u64,
            agreement: &terms,
            stores: &terms.stores,
            taken_back: &self.taken_back(),
            witnesses: 0,
            now: self.now,
        };
        check_order(&order, &standing).map(drop)
    }
}
