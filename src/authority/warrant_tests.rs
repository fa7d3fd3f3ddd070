//! Tests of `warrant`.

use super::*;
use crate::authority::fixtures::agreement;
use crate::domain::Stop;
use crate::token::fixtures::{
    CountedEntropy, NOW, ORIGIN, draft, ending, entry, key, key_set, sealed, set_draft, wire,
};
use crate::token::{InstructionDraft, KeySetDraft, KeyUse, Policy, SignedKeySet, Tier};

/// An agent beside the store `sdk`, and one order to it.
struct Beside {
    chain: KeySetChain,
    authority_size: u64,
    agreement: AgreementTerms,
    stores: BTreeSet<StoreId>,
    taken_back: TakenBack,
    witnesses: usize,
    bindings: BTreeMap<AppId, TenantBinding>,
    now: i64,
    instruction: Vec<u8>,
    store: StoreId,
    admission: AdmissionFacts,
    lease: Lease,
}

fn signed(draft: &InstructionDraft) -> Vec<u8> {
    let [ann, bob] = ["ann", "bob"].map(key);
    draft.sign(&[&ann, &bob], &CountedEntropy::new()).unwrap().to_wire().into_bytes()
}

fn begun() -> KeySetChain {
    let pin = key_set().digest();
    let set = SignedKeySet::read(key_set().bytes()).unwrap();
    KeySetChain::begin(&"xingyu".parse().unwrap(), [ORIGIN], &pin, 2, set).unwrap()
}

fn beside() -> Beside {
    let binding = TenantBinding { controller: "xingyu".parse().unwrap(), tenant: "t-17".into() };
    Beside {
        chain: begun(),
        authority_size: 5,
        agreement: agreement(),
        stores: ["sdk".parse().unwrap()].into(),
        taken_back: TakenBack::default(),
        witnesses: 0,
        bindings: [("xingyu-live".parse().unwrap(), binding)].into(),
        now: NOW + 60,
        instruction: signed(&draft(Act::Erase)),
        store: "sdk".parse().unwrap(),
        admission: AdmissionFacts { key_set_version: 1, authority_size: 5, at: NOW },
        lease: Lease::First,
    }
}

impl Beside {
    fn build(&self) -> Result<Warrant, Refusal> {
        let order = Order {
            instruction: &self.instruction,
            store: &self.store,
            admission: self.admission,
            lease: self.lease,
        };
        let standing = Standing {
            chain: &self.chain,
            origin: ORIGIN,
            authority_size: self.authority_size,
            agreement: &self.agreement,
            stores: &self.stores,
            taken_back: &self.taken_back,
            witnesses: self.witnesses,
            now: self.now,
        };
        Warrant::build(&order, &standing, &self.bindings)
    }
}

fn reason(change: impl FnOnce(&mut Beside)) -> Option<Reason> {
    let mut beside = beside();
    change(&mut beside);
    beside.build().err().map(|refusal| refusal.reason)
}

/// Version 2, at index 7 of the authority log, changed like this.
fn rotate(beside: &mut Beside, change: impl FnOnce(&mut KeySetDraft)) {
    let mut next = KeySetDraft { version: 2, prev: Some(key_set().digest()), ..set_draft() };
    change(&mut next);
    let set = SignedKeySet::read(&next.sign(&[&key("root")]).unwrap()).unwrap();
    beside.chain.append(7, set).unwrap();
    beside.authority_size = 8;
}

#[test]
fn a_warrant_says_whom_where_and_what() {
    let warrant = beside().build().unwrap();
    assert_eq!(warrant.tenant(), "t-17");
    assert_eq!(warrant.act(), Act::Erase);
    assert_eq!(warrant.app().as_str(), "xingyu-live");
    assert_eq!(warrant.store().as_str(), "sdk");
    assert_eq!(warrant.subject().len(), warrant.sub_digests().len());
    assert_eq!(warrant.categories(), &[Category::Device, Category::Network].into());
    assert!(!format!("{warrant:?}").contains("u_8839201"));
}

#[test]
fn a_contracts_end_is_about_nobody_waits_for_its_day_and_needs_no_agreement_in_force() {
    let wire = |nbf| {
        let wire = ending(nbf).sign(&[&key("ann")], &CountedEntropy::new()).unwrap();
        wire.to_wire().into_bytes()
    };
    let day = NOW + 900 * 86_400;
    let at = |now, change: fn(&mut Beside)| {
        let mut beside = Beside { instruction: wire(Some(day)), now, ..beside() };
        change(&mut beside);
        beside.build().map_err(|refusal| refusal.reason)
    };
    assert_eq!(at(day - 1, |_| {}).err(), Some(Reason::InstructionNotYetValid));
    let over = |b: &mut Beside| b.agreement.valid_until = Some(NOW);
    let warrant = at(day, over).unwrap();
    assert_eq!((warrant.tenant(), warrant.act()), ("t-17", Act::ReturnAndErase));
    assert!(warrant.subject().is_empty() && warrant.sub_digests().is_empty());
    assert_eq!(*warrant.categories(), agreement().categories);
    assert_eq!(at(day, |b| b.bindings.clear()).err(), Some(Reason::TenantUnbound));
    let stop = |b: &mut Beside| b.taken_back.stop(ending(None).jti, Stop::Revoked, None);
    assert_eq!(at(day, stop).err(), Some(Reason::InstructionRevoked));
    // A routine rotation in the years between kills nothing; that its signer left does.
    assert!(at(day, |b| rotate(b, |_| {})).is_ok());
    let left = |b: &mut Beside| {
        rotate(b, |next| {
            let role = crate::token::SetRole::Act(Act::ReturnAndErase);
            next.roles.retain(|(of, ..)| *of != role);
            next.roles.push((role, vec![key("bob").id()], 1));
        });
    };
    assert_eq!(at(day, left).err(), Some(Reason::SignerRevoked));
}

#[test]
fn an_order_changed_by_the_gateway_gets_no_warrant() {
    let (payload, disclosures) = sealed(&draft(Act::Erase));
    let text = payload.to_string();
    let withheld = wire(&text, &disclosures[..1], &["ann", "bob"]);
    assert_eq!(reason(|b| b.instruction = withheld.into()), Some(Reason::DisclosureMissing));
    let one = wire(&text, &disclosures, &["ann"]);
    assert_eq!(reason(|b| b.instruction = one.into()), Some(Reason::ThresholdNotMet));
    let strangers = wire(&text, &disclosures, &["gateway", "bob"]);
    assert_eq!(reason(|b| b.instruction = strangers.into()), Some(Reason::KeyUnknown));
    let altered = crate::token::base64url::encode(text.replace("pipl-47", "gdpr-17"));
    let original = crate::token::base64url::encode(&text);
    let good = wire(&text, &disclosures, &["ann", "bob"]);
    let forged = good.replace(&original, &altered);
    assert_ne!(forged, good);
    assert_eq!(reason(|b| b.instruction = forged.into()), Some(Reason::SignatureInvalid));
}

#[test]
fn the_tenant_comes_from_the_agents_own_configuration_alone() {
    assert_eq!(reason(|b| b.bindings.clear()), Some(Reason::TenantUnbound));
    let moved = |b: &mut Beside| {
        b.bindings.values_mut().for_each(|binding| binding.controller = "other".parse().unwrap());
    };
    assert_eq!(reason(moved), Some(Reason::TenantUnbound));
    let empty = |b: &mut Beside| b.bindings.values_mut().for_each(|binding| binding.tenant.clear());
    assert_eq!(reason(empty), Some(Reason::TenantUnbound));
}

#[test]
fn a_store_out_of_scope_or_elsewhere_is_refused() {
    assert_eq!(reason(|b| b.store = "hr".parse().unwrap()), Some(Reason::OutsideAgreement));
    assert_eq!(reason(|b| b.store = "logs".parse().unwrap()), Some(Reason::StoreUnknown));
    let narrow = InstructionDraft { stores: Some(vec!["logs".parse().unwrap()]), ..draft(Act::Erase) };
    assert_eq!(reason(|b| b.instruction = signed(&narrow)), Some(Reason::OutsideAgreement));
}

#[test]
fn a_counted_key_that_left_its_role_stops_the_order_and_a_routine_rotation_does_not() {
    assert_eq!(reason(|b| rotate(b, |_| {})), None);
    let bob_out = |next: &mut KeySetDraft| {
        next.roles[5].1.retain(|kid| *kid != key("bob").id());
        next.roles[5].2 = 1;
    };
    assert_eq!(reason(|b| rotate(b, bob_out)), Some(Reason::SignerRevoked));
    let nobody = |next: &mut KeySetDraft| drop(next.roles.remove(5));
    assert_eq!(reason(|b| rotate(b, nobody)), Some(Reason::SignerRevoked));
    // What has begun is seen through.
    let begun = |b: &mut Beside| {
        rotate(b, bob_out);
        b.lease = Lease::Resumed;
    };
    assert_eq!(reason(begun), None);
}

#[test]
fn what_was_admitted_before_a_root_was_lost_is_not_begun_after() {
    let anew = |b: &mut Beside| {
        let mut draft = set_draft();
        draft.keys[0] = entry("root-2", "root-2", KeyUse::Root);
        draft.roles[0].1 = vec![key("root-2").id()];
        let set = SignedKeySet::read(&draft.sign(&[&key("root-2")]).unwrap()).unwrap();
        let pin = set.digest();
        // Both signers stand in the new set, too.
        b.chain.follow(7, set, &[pin]).unwrap();
        b.authority_size = 8;
    };
    assert_eq!(reason(anew), Some(Reason::KeySetRecovered));
    let begun = |b: &mut Beside| {
        anew(b);
        b.lease = Lease::Resumed;
    };
    assert_eq!(reason(begun), None);
}

#[test]
fn admission_under_a_set_that_was_not_the_newest_is_refused() {
    // The gateway claims admission after the rotation, under the set before it.
    let stale = |b: &mut Beside| {
        rotate(b, |_| {});
        b.admission.authority_size = 8;
    };
    assert_eq!(reason(stale), Some(Reason::KeySetNotCurrent));
    assert_eq!(reason(|b| b.admission.key_set_version = 2), Some(Reason::KeySetNotCurrent));
    assert_eq!(reason(|b| b.admission.authority_size = 2), Some(Reason::KeySetNotCurrent));
    assert_eq!(reason(|b| b.authority_size = 4), Some(Reason::AuthorityStale));
}

#[test]
fn an_expired_or_withdrawn_order_is_not_begun() {
    let exp = draft(Act::Erase).exp;
    assert_eq!(reason(|b| b.now = exp), Some(Reason::InstructionExpired));
    let resumed = |b: &mut Beside| {
        b.now = exp + 1000;
        b.lease = Lease::Resumed;
        b.agreement.valid_until = Some(exp);
    };
    assert_eq!(reason(resumed), None);
    let revoked = |b: &mut Beside| {
        resumed(b);
        b.taken_back.stop(draft(Act::Erase).jti, Stop::Revoked, None);
    };
    assert_eq!(reason(revoked), Some(Reason::InstructionRevoked));
    let contested = |b: &mut Beside| {
        resumed(b);
        b.taken_back.stop(draft(Act::Erase).jti, Stop::Contested, None);
    };
    assert_eq!(reason(contested), Some(Reason::InstructionContested));
    assert_eq!(reason(|b| b.now = NOW - 31), Some(Reason::InstructionNotYetValid));
}

#[test]
fn who_withdrew_does_not_count_and_nor_do_his_other_keys() {
    let digest = Envelope::read(&beside().instruction).unwrap().instruction_digest();
    let back = |name: &'static str, index: u64| {
        move |b: &mut Beside| b.taken_back.withdraw(digest, key(name).id(), index)
    };
    assert_eq!(reason(back("bob", 4)), Some(Reason::ThresholdNotMet));
    // Ann signed with one key and took it back with the other.
    assert_eq!(reason(back("ann-2", 4)), Some(Reason::ThresholdNotMet));
    assert_eq!(reason(back("reader", 4)), None);
}

/// Version 1 with a policy, and an order under it.
fn under(policy: &Policy, change: impl FnOnce(&mut Beside)) -> Option<Reason> {
    let bytes = set_draft().sign_with(policy, &[&key("root")]).unwrap();
    let set = SignedKeySet::read(&bytes).unwrap();
    let digest = set.digest();
    let mut draft = draft(Act::Erase);
    draft.key_set = KeySetRef { version: 1, digest };
    draft.categories = crate::token::Categories::All;
    let mut b = beside();
    b.chain = KeySetChain::begin(&"xingyu".parse().unwrap(), [ORIGIN], &digest, 2, set).unwrap();
    b.instruction = signed(&draft);
    change(&mut b);
    b.build().err().map(|refusal| refusal.reason)
}

#[test]
fn the_policy_of_the_set_it_was_admitted_under_holds_beside_the_data_too() {
    let hold = Policy { hold: 600, ..Policy::default() };
    assert_eq!(under(&hold, |b| b.now = NOW + 599), Some(Reason::InstructionHeld));
    assert_eq!(under(&hold, |b| b.now = NOW + 600), None);
    // A leaf that the gateway dated back gains nothing: it was not signed before.
    let dated_back = |b: &mut Beside| (b.admission.at, b.now) = (NOW - 9000, NOW + 599);
    assert_eq!(under(&hold, dated_back), Some(Reason::InstructionHeld));
    let begun = |b: &mut Beside| (b.lease, b.now) = (Lease::Resumed, NOW + 1);
    assert_eq!(under(&hold, begun), None);

    let preview = Policy { preview: [Act::Erase].into(), ..Policy::default() };
    assert_eq!(under(&preview, |_| {}), Some(Reason::PreviewRequired));
    let witnesses = Policy { witnesses: 2, ..Policy::default() };
    assert_eq!(under(&witnesses, |b| b.witnesses = 1), Some(Reason::WitnessesMissing));
    assert_eq!(under(&witnesses, |b| b.witnesses = 2), None);
}

#[test]
fn recordings_may_take_more_signers() {
    let mut set = set_draft();
    set.roles[5].2 = 1;
    let policy = Policy { tiers: [(Tier::Media, [(Act::Erase, 2)].into())].into(), ..Policy::default() };
    let bytes = set.sign_with(&policy, &[&key("root")]).unwrap();
    let set = SignedKeySet::read(&bytes).unwrap();
    let digest = set.digest();
    let mut b = beside();
    b.chain = KeySetChain::begin(&"xingyu".parse().unwrap(), [ORIGIN], &digest, 2, set).unwrap();
    let mut order = draft(Act::Erase);
    order.key_set = KeySetRef { version: 1, digest };
    order.categories = crate::token::Categories::All;
    let by_ann = order.sign(&[&key("ann")], &CountedEntropy::new()).unwrap().to_wire();
    b.instruction = by_ann.into_bytes();
    let judge = |b: &Beside| b.build().err().map(|refusal| refusal.reason);
    assert_eq!(judge(&b), None, "without recordings one is enough");
    b.agreement.categories.insert(Category::Media);
    assert_eq!(judge(&b), Some(Reason::ThresholdNotMet));
    b.instruction = signed(&order);
    assert_eq!(judge(&b), None);
}

#[test]
fn an_order_that_names_no_case_takes_as_many_signers_as_a_minors() {
    let mut set = set_draft();
    set.roles[5].2 = 1;
    let policy = Policy { tiers: [(Tier::Minor, [(Act::Erase, 2)].into())].into(), ..Policy::default() };
    let bytes = set.sign_with(&policy, &[&key("root")]).unwrap();
    let set = SignedKeySet::read(&bytes).unwrap();
    let digest = set.digest();
    let mut b = beside();
    b.chain = KeySetChain::begin(&"xingyu".parse().unwrap(), [ORIGIN], &digest, 2, set).unwrap();
    let case = "requests/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e77";
    let mut answers = draft(Act::Erase);
    answers.key_set = KeySetRef { version: 1, digest };
    answers.req = Some(crate::domain::RequestId::from_resource_name(case).unwrap());
    let mut none = answers.clone();
    none.req = None;
    let mut judge = |order: &InstructionDraft, signers: &[&str]| {
        let keys: Vec<_> = signers.iter().map(|name| key(name)).collect();
        let keys: Vec<_> = keys.iter().collect();
        b.instruction = order.sign(&keys, &CountedEntropy::new()).unwrap().to_wire().into_bytes();
        b.build().err().map(|refusal| refusal.reason)
    };
    assert_eq!(judge(&none, &["ann"]), Some(Reason::ThresholdNotMet));
    assert_eq!(judge(&none, &["ann", "bob"]), None);
    // Whose the case is that it names, the trail says: there the gateway and the audit count.
    assert_eq!(judge(&answers, &["ann"]), None);
}
