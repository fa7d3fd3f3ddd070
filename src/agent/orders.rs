//! An order as leased, checked from its bytes until it is a warrant or refused.
//!
//! Nothing the gateway says beside the proof is believed: version and size of
//! the log at admission come from the admission leaf, which the pinned trail key
//! proves; the scope and the tenant come from the agent's own configuration.

use std::collections::{BTreeMap, BTreeSet};

use super::authority::Replica;
use super::preview::Seen;
use crate::authority::head::{self, HeadFault};
use crate::authority::{
    AdmissionFacts, AgreementTerms, Lease, Order, Pins, Standing, TenantBinding, Warrant,
};
use crate::domain::event::{Event, InstructionAdmitted, Order as Ordered};
use crate::domain::{Act, AppId, ExecutionId, InstructionId, Reason, Refusal, StoreId};
use crate::grpc::v1;
use crate::token::{Digest, Envelope, base64url};
use crate::trail::{Checkpoint, Leaf, Receipt};

/// What the agent knows by its own configuration.
pub struct Own {
    pub stores: BTreeSet<StoreId>,
    pub agreements: Vec<AgreementTerms>,
    pub bindings: BTreeMap<AppId, TenantBinding>,
}

impl Own {
    /// The agreements any of which may cover the order, as the gateway judges: what returns and erases all that was
    /// entrusted is judged under all of them as one.
    fn covering(&self, facts: &InstructionAdmitted) -> Vec<AgreementTerms> {
        let of_app =
            |terms: &&AgreementTerms| terms.controller == facts.controller && terms.apps.contains(&facts.app);
        let own = self.agreements.iter().filter(of_app).cloned();
        match facts.act {
            Act::ReturnAndErase => AgreementTerms::joined(own).into_iter().collect(),
            _ => own.collect(),
        }
    }
}

/// A leased order, its names read. Nothing in it is proven.
pub struct Leased {
    pub execution: ExecutionId,
    pub store: StoreId,
    /// Personal data.
    pub instruction: Vec<u8>,
    /// SHA-256 over the payload segment of what came.
    pub digest: Digest,
    pub attempt: u32,
    pub lease_token: String,
    /// Seconds.
    pub lease_end: i64,
    /// What the gateway kept of the preview that the instruction names. Not proven.
    pub preview: Option<Seen>,
    leaf: Vec<u8>,
    proof: String,
}

/// The admission, as the trail proves it.
#[derive(Debug)]
pub struct Admitted {
    pub instruction: InstructionId,
    pub facts: InstructionAdmitted,
    /// Time of its leaf, seconds.
    pub at: i64,
    /// The head that proves it.
    pub head: Checkpoint,
}

fn forked(note: &'static str) -> Refusal {
    Refusal::at(Reason::TrailForked, "admission").note(note)
}

/// A leaf that the trail proves, and the head that proves it.
pub fn prove(leaf: &[u8], proof: &str, replica: &Replica) -> Result<(Leaf, Event, Checkpoint), Refusal> {
    let trail = &replica.pins().trail;
    let head = Receipt::parse(proof)
        .and_then(|receipt| receipt.verify_by(leaf, &trail.origin, trail.keys()))
        .map_err(|_| forked("no key that is pinned, or vouched for by one that is, proves the leaf"))?;
    let leaf = Leaf::parse(leaf).map_err(|_| forked("the leaf is not of the form"))?;
    if leaf.source() != replica.pins().source() {
        return Err(forked("the leaf is another gateway's"));
    }
    let event = event_of(&leaf)?;
    Ok((leaf, event, head))
}

/// That the pinned witnesses cosigned the head of a proof, as many as the pins ask for.
fn witnessed(proof: &str, pins: &Pins) -> Result<(), Refusal> {
    if pins.witnesses.required == 0 {
        return Ok(());
    }
    let receipt = Receipt::parse(proof).map_err(|_| forked("the proof is not of the form"))?;
    match head::open(&receipt.checkpoint.to_string(), &pins.trail, pins) {
        Ok(_) => Ok(()),
        Err(HeadFault::Witnesses { .. }) => Err(Refusal::at(Reason::WitnessesMissing, "admission")),
        Err(HeadFault::NotGood(_)) => Err(forked("its head is not signed as the pins ask")),
    }
}

fn event_of(leaf: &Leaf) -> Result<Event, Refusal> {
    let mut data = leaf.data().clone();
    data.remove("salt");
    Event::parse(leaf.type_(), data).map_err(|_| forked("the leaf cannot be read"))
}

impl Leased {
    /// Reads the message's names.
    pub fn read(message: v1::Order) -> Result<Self, Refusal> {
        let bad = |field: &'static str| Refusal::at(Reason::FieldInvalid, field);
        let admission = message.admission.ok_or_else(|| bad("order.admission"))?;
        Ok(Self {
            execution: ExecutionId::from_resource_name(&message.execution)
                .map_err(|_| bad("order.execution"))?,
            store: StoreId::from_resource_name(&message.store).map_err(|_| bad("order.store"))?,
            digest: Envelope::read(&message.instruction)?.instruction_digest(),
            instruction: message.instruction.into(),
            attempt: u32::try_from(message.attempt).map_err(|_| bad("order.attempt"))?,
            lease_token: message.lease_token,
            lease_end: message.lease_expire_time.map_or(0, |end| end.seconds),
            preview: message.preview.as_ref().and_then(Seen::read),
            leaf: admission.leaf.into(),
            proof: admission.proof,
        })
    }

    /// The instruction that the leaf, proven or not, says it admits: whom a refusal is about.
    pub fn claimed_instruction(&self) -> Option<InstructionId> {
        let leaf = Leaf::parse(&self.leaf).ok()?;
        InstructionId::from_resource_name(leaf.subject()).ok()
    }

    /// The act that the leaf, proven or not, says was ordered.
    pub fn claimed_act(&self) -> Option<Act> {
        match event_of(&Leaf::parse(&self.leaf).ok()?).ok()? {
            Event::InstructionAdmitted(facts) => Some(facts.act),
            _ => None,
        }
    }

    /// The subject's digests that the payload, proven or not, names. No personal data.
    pub fn claimed_subject(&self) -> Vec<Digest> {
        let read = || -> Option<Vec<Digest>> {
            let envelope = Envelope::read(&self.instruction).ok()?;
            let payload = base64url::decode(envelope.payload_segment()).ok()?;
            let payload: serde_json::Value = serde_json::from_slice(&payload).ok()?;
            let identifiers = payload.pointer("/sub_id/identifiers")?.as_array()?;
            identifiers.iter().map(|item| item.get("...")?.as_str()?.parse().ok()).collect()
        };
        read().unwrap_or_default()
    }

    /// That the trail holds the admission of these very bytes, with this very order; and where the pins
    /// ask for witnesses, that enough of them have seen it.
    pub fn admission(&self, replica: &Replica) -> Result<Admitted, Refusal> {
        let (leaf, event, head) = prove(&self.leaf, &self.proof, replica)?;
        witnessed(&self.proof, replica.pins())?;
        let Event::InstructionAdmitted(facts) = event else {
            return Err(forked("the leaf admits no instruction"));
        };
        let instruction = InstructionId::from_resource_name(leaf.subject())
            .map_err(|_| forked("the leaf names no instruction"))?;
        if facts.digest != self.digest.to_string() {
            return Err(forked("another instruction was admitted"));
        }
        if !facts.executions.contains(&Ordered { execution: self.execution, store: self.store.clone() }) {
            return Err(forked("the admission holds no such order"));
        }
        Ok(Admitted { instruction, facts, at: leaf.time().as_second(), head })
    }

    /// The permit, from the bytes and from what the agent knows by itself. `begun`: when work began, by the agent's
    /// own ledger, seconds.
    pub fn warrant(
        &self,
        admitted: &Admitted,
        replica: &Replica,
        own: &Own,
        begun: Option<i64>,
        now: i64,
    ) -> Result<Warrant, Refusal> {
        // What has begun goes on under an agreement of that time, whatever another reaches.
        let (then, others): (Vec<_>, Vec<_>) =
            own.covering(&admitted.facts).into_iter().partition(|terms| terms.in_force(begun.unwrap_or(now)));
        let mut answer = Refusal::new(Reason::AgreementMissing);
        for agreements in [then, others] {
            let mut widest: Option<Warrant> = None;
            for agreement in agreements {
                match self.warrant_under(&agreement, admitted, replica, own, begun, now) {
                    // Only of `["*"]` may one reach further than another.
                    Ok(warrant) => match &widest {
                        Some(known) if known.categories().len() >= warrant.categories().len() => {}
                        _ => widest = Some(warrant),
                    },
                    // "Outside" says more than "none in force".
                    Err(refusal) if refusal.reason == Reason::AgreementMissing => {}
                    Err(refusal) => answer = refusal,
                }
            }
            if let Some(warrant) = widest {
                return Ok(warrant);
            }
        }
        Err(answer)
    }

    fn warrant_under(
        &self,
        agreement: &AgreementTerms,
        admitted: &Admitted,
        replica: &Replica,
        own: &Own,
        begun: Option<i64>,
        now: i64,
    ) -> Result<Warrant, Refusal> {
        let facts = &admitted.facts;
        let chain = replica.chain(&facts.controller, now)?;
        let lease = if begun.is_some() { Lease::Resumed } else { Lease::First };
        let order = Order {
            instruction: &self.instruction,
            store: &self.store,
            admission: AdmissionFacts {
                key_set_version: facts.key_set_version,
                authority_size: facts.authority_size,
                at: admitted.at,
            },
            lease,
        };
        let standing = Standing {
            chain,
            origin: &replica.pins().trail.origin,
            authority_size: replica.size(),
            agreement,
            stores: &own.stores,
            taken_back: &replica.taken_back(&facts.controller),
            witnesses: replica.pins().witnesses.required,
            now,
        };
        let warrant = Warrant::build(&order, &standing, &own.bindings)?;
        let statement = warrant.instruction().statement();
        let same = statement.jti == admitted.instruction
            && statement.act == facts.act
            && statement.app == facts.app
            && statement.key_set.digest.to_string() == facts.key_set_digest;
        if !same {
            return Err(forked("the admission says another thing than the instruction"));
        }
        Ok(warrant)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::agent::authority::tests::{leaf, replica};
    use crate::authority::fixtures::agreement;
    use crate::authority::log_fixtures;
    use crate::authority::log_fixtures::{TRAIL, trail_key};
    use crate::authority::pins::WitnessPins;
    use crate::token::fixtures::{CountedEntropy, NOW, draft, key, key_set};
    use crate::trail::{CosigningKey, Hash, SigningKey, leaf_hash};

    const EXECUTION: &str = "01938a5e-0000-7000-8000-000000000001";

    fn own() -> Own {
        let binding = TenantBinding { controller: "xingyu".parse().unwrap(), tenant: "app-a".into() };
        Own {
            stores: ["sdk".parse().unwrap()].into(),
            agreements: vec![agreement()],
            bindings: [("xingyu-live".parse().unwrap(), binding)].into(),
        }
    }

    fn signed() -> String {
        let (ann, bob) = (key("ann"), key("bob"));
        draft(Act::Erase).sign(&[&ann, &bob], &CountedEntropy::new()).unwrap().to_wire()
    }

    fn facts() -> InstructionAdmitted {
        let envelope = Envelope::read(signed().as_bytes()).unwrap();
        InstructionAdmitted {
            controller: "xingyu".parse().unwrap(),
            app: "xingyu-live".parse().unwrap(),
            act: Act::Erase,
            digest: envelope.instruction_digest().to_string(),
            signed_part: envelope.signed_part(),
            key_set_version: 1,
            key_set_digest: key_set().digest().to_string(),
            authority_size: 2,
            request: None,
            target: None,
            executions: vec![Ordered {
                execution: EXECUTION.parse().unwrap(),
                store: "sdk".parse().unwrap(),
            }],
            sub_processors: Vec::new(),
        }
    }

    /// An order whose admission is leaf 0 of a trail of one.
    fn order(facts: InstructionAdmitted, signer: &SigningKey) -> v1::Order {
        let leaf = leaf(&draft(Act::Erase).jti.resource_name(), facts, &CountedEntropy::new());
        let root: Hash = leaf_hash(&leaf);
        let note = Checkpoint::new(TRAIL, 1, root).unwrap().sign(signer);
        let proof = Receipt::new(0, Vec::new(), note).encode();
        v1::Order {
            execution: format!("executions/{EXECUTION}"),
            store: "stores/sdk".into(),
            instruction: signed().into_bytes().into(),
            admission: Some(v1::Receipt { leaf: leaf.into(), index: 0, proof, grade: 1 }),
            attempt: 1,
            lease_token: "t".into(),
            lease_expire_time: None,
            preview: None,
        }
    }

    fn judge(order: v1::Order, own: &Own, begun: Option<i64>, now: i64) -> Result<Warrant, Refusal> {
        let order = Leased::read(order)?;
        let admitted = order.admission(&replica())?;
        order.warrant(&admitted, &replica(), own, begun, now)
    }

    fn reason(order: v1::Order, own: &Own, now: i64) -> Option<Reason> {
        judge(order, own, None, now).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_proven_order_becomes_a_warrant_for_the_agents_own_tenant() {
        let warrant = judge(order(facts(), &trail_key()), &own(), None, NOW).unwrap();
        assert_eq!((warrant.tenant(), warrant.act()), ("app-a", Act::Erase));
        let leased = Leased::read(order(facts(), &trail_key())).unwrap();
        assert_eq!(leased.claimed_subject(), warrant.sub_digests());
        assert_eq!(leased.claimed_act(), Some(Act::Erase));
        assert_eq!(leased.claimed_instruction(), Some(draft(Act::Erase).jti));
        let task = crate::agent::Task::from_warrant(&warrant, EXECUTION.parse().unwrap());
        assert_eq!(task.tenant(), "app-a");
        assert_eq!(task.subject(), draft(Act::Erase).subject);
        assert_eq!(*task.instruction_digest(), *warrant.instruction_digest().as_bytes());
    }

    #[test]
    fn an_admission_that_is_not_proven_or_is_anothers_is_refused() {
        let stranger = SigningKey::from_seed(TRAIL, &[9; 32]).unwrap();
        let forked = Some(Reason::TrailForked);
        assert_eq!(reason(order(facts(), &stranger), &own(), NOW), forked);
        let other = InstructionAdmitted { digest: Digest::of("other").to_string(), ..facts() };
        assert_eq!(reason(order(other, &trail_key()), &own(), NOW), forked);
        let none = InstructionAdmitted { executions: Vec::new(), ..facts() };
        assert_eq!(reason(order(none, &trail_key()), &own(), NOW), forked);
        let mut elsewhere = order(facts(), &trail_key());
        elsewhere.store = "stores/logs".into();
        assert_eq!(reason(elsewhere, &own(), NOW), forked);
        let mut altered = order(facts(), &trail_key());
        let receipt = altered.admission.as_mut().unwrap();
        receipt.leaf = [&receipt.leaf[..], b" "].concat().into();
        assert_eq!(reason(altered, &own(), NOW), forked);
    }

    #[test]
    fn an_admission_that_too_few_witnesses_saw_is_put_off_and_a_forged_one_is_not() {
        let witness = CosigningKey::from_seed("w.example", &[61; 32]).unwrap();
        let mut pins = log_fixtures::pins();
        pins.witnesses = WitnessPins { required: 1, vkeys: vec![witness.verifier_key().clone()] };
        let receipt = order(facts(), &trail_key()).admission.unwrap().proof.to_string();
        let unseen = witnessed(&receipt, &pins).unwrap_err();
        assert_eq!(unseen.reason, Reason::WitnessesMissing);
        assert!(crate::agent::worker::passes(unseen.reason));
        let mut seen = Receipt::parse(&receipt).unwrap();
        let at = crate::domain::Timestamp::from_second(NOW).unwrap();
        let line = witness.cosign(seen.checkpoint.text(), at).unwrap();
        seen.checkpoint.add(line).unwrap();
        assert_eq!(witnessed(&seen.encode(), &pins), Ok(()));
        let other = witness.cosign("mandate.ppio.example/trail\n9\nx\n", at).unwrap();
        let mut forged = Receipt::parse(&receipt).unwrap();
        forged.checkpoint.add(other).unwrap();
        assert_eq!(witnessed(&forged.encode(), &pins).unwrap_err().reason, Reason::TrailForked);
    }

    #[test]
    fn what_the_leaf_says_of_the_log_is_held_against_the_replica() {
        let ahead = InstructionAdmitted { authority_size: 3, ..facts() };
        assert_eq!(reason(order(ahead, &trail_key()), &own(), NOW), Some(Reason::AuthorityStale));
        let version = InstructionAdmitted { key_set_version: 2, ..facts() };
        assert_eq!(reason(order(version, &trail_key()), &own(), NOW), Some(Reason::KeySetNotCurrent));
        let digest = InstructionAdmitted { key_set_digest: Digest::of("x").to_string(), ..facts() };
        assert_eq!(reason(order(digest, &trail_key()), &own(), NOW), Some(Reason::TrailForked));
        assert_eq!(reason(order(facts(), &trail_key()), &own(), NOW + 301), Some(Reason::AuthorityStale));
    }

    #[test]
    fn an_order_that_the_authority_log_stops_gets_no_warrant_whoever_hands_it_out() {
        let stopped = crate::agent::authority::tests::contested();
        let order = Leased::read(order(facts(), &trail_key())).unwrap();
        let admitted = order.admission(&stopped).unwrap();
        for begun in [None, Some(NOW)] {
            let refusal = order.warrant(&admitted, &stopped, &own(), begun, NOW).err().unwrap();
            assert_eq!(refusal.reason, Reason::InstructionContested);
            assert!(!crate::agent::worker::passes(refusal.reason), "it is told, not tried again");
        }
    }

    #[test]
    fn the_agents_own_scope_and_tenants_decide() {
        let mut unbound = own();
        unbound.bindings.clear();
        assert_eq!(reason(order(facts(), &trail_key()), &unbound, NOW), Some(Reason::TenantUnbound));
        let mut without = own();
        without.agreements.clear();
        assert_eq!(reason(order(facts(), &trail_key()), &without, NOW), Some(Reason::AgreementMissing));
        // Any one agreement is enough; the error of one that is in force says more than that another is not.
        let mut several = own();
        let ended = AgreementTerms { valid_until: Some(NOW - 1), ..agreement() };
        several.agreements = vec![ended.clone(), AgreementTerms { categories: [].into(), ..agreement() }];
        assert_eq!(reason(order(facts(), &trail_key()), &several, NOW), Some(Reason::OutsideAgreement));
        several.agreements.push(agreement());
        assert_eq!(reason(order(facts(), &trail_key()), &several, NOW), None);
        several.agreements = vec![ended];
        assert_eq!(reason(order(facts(), &trail_key()), &several, NOW), Some(Reason::AgreementMissing));
        let begun = judge(order(facts(), &trail_key()), &several, Some(NOW - 9), NOW);
        assert!(begun.is_ok(), "what began while it was in force is seen through");
        let mut away = own();
        away.stores = ["logs".parse().unwrap()].into();
        assert_eq!(reason(order(facts(), &trail_key()), &away, NOW), Some(Reason::StoreUnknown));
    }
}
