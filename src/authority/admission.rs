//! When is an instruction good? (the rule that a gateway applies once)
//!
//! In this order, the first failure is the answer:
//!
//! 1. size, shape, headers ([`crate::token::Envelope::read`])
//! 2. every signature ([`crate::token::Envelope::verify`])
//! 3. issuer, audience, members, disclosures ([`crate::token::Verified::parse`])
//! 4. time
//! 5. the named key set is the newest and unexpired; every signer has the act's role
//! 6. the app is the issuer's; a foreign app and an unknown one are one answer
//! 7. an agreement is in force and covers categories, stores and destination (a `revoke` needs none: what was
//!    ordered under an agreement can be taken back after its end; a `return_and_erase`, which ends it, needs one
//!    that was registered)
//! 8. the act is one this release carries out, and the key set's policy is met
//! 9. the threshold, in distinct signers
//!
//! [`judge`] does 4 to 9. It reads and changes nothing, so it can be asked again
//! under the lock of the log's head, with whatever is then newest. What fails at 9 alone waits for approvals.

use std::collections::BTreeSet;

use super::agreement::{AgreementTerms, Scope};
use super::signers::{self, Count, Stakes};
use crate::domain::{Act, ControllerId, Reason, Refusal};
use crate::token::{Instruction, KeySet, KeySetRef, SignedStatement, Signer};

/// How far a signer's clock may run ahead of ours: `iat` only. Seconds.
pub const LEEWAY: i64 = 30;

/// What the gateway knows when it judges.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionContext<'a> {
    /// The issuer's newest key set.
    pub newest: &'a KeySet,
    /// Whose the named app is; none when no such app is registered.
    pub app_owner: Option<&'a ControllerId>,
    /// The agreement registered for the app.
    pub agreement: Option<&'a AgreementTerms>,
    /// Leaf time, seconds: max(previous leaf, clock).
    pub now: i64,
    /// The case it answers was made by or for a minor.
    pub minor: bool,
    /// Signers who took their signatures on it back.
    pub without: &'a BTreeSet<&'a str>,
    /// Witnesses whose cosignatures the log's heads get.
    pub witnesses: usize,
}

/// Where nobody withdrew.
pub const NOBODY: &BTreeSet<&str> = &BTreeSet::new();

/// The instruction is good, and why. Made by [`admit`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    counted: Vec<Signer>,
    key_set: KeySetRef,
    scope: Scope,
}

impl Admission {
    /// The signatures that count, one for each key.
    pub fn counted(&self) -> &[Signer] {
        &self.counted
    }
    pub fn key_set(&self) -> KeySetRef {
        self.key_set
    }
    /// Categories and stores, written out within the agreement.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// What an instruction comes to that nothing speaks against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Good(Admission),
    Waits(Waiting),
}

/// It would be admitted if more had signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Distinct signers of the act's role that are missing.
    pub missing: u32,
    count: Count,
}

/// Steps 4 to 9, for whoever does not wait: too few signers are a refusal.
pub fn admit(instruction: &Instruction, context: &AdmissionContext<'_>) -> Result<Admission, Refusal> {
    match judge(instruction, context)? {
        Judged::Good(admission) => Ok(admission),
        Judged::Waits(waiting) => {
            waiting.count.met()?;
            Err(Reason::ThresholdNotMet.into())
        }
    }
}

/// Steps 4 to 9.
pub fn judge(instruction: &Instruction, context: &AdmissionContext<'_>) -> Result<Judged, Refusal> {
    let AdmissionContext { newest, app_owner, agreement, now, minor, without, witnesses } = *context;
    let statement = instruction.statement();
    if *newest.iss() != statement.iss {
        return Err(Refusal::at(Reason::IssuerMismatch, "payload.iss"));
    }
    check_started(statement, now)?;
    check_not_expired(statement, now)?;

    let current = KeySetRef { version: newest.version(), digest: newest.digest() };
    if statement.key_set != current || instruction.verified_under() != current {
        return Err(Refusal::at(Reason::KeySetNotCurrent, "payload.key_set")
            .note(format!("the newest is version {}", newest.version())));
    }
    if newest.is_expired(now) {
        return Err(Reason::KeySetExpired.into());
    }
    // Who has no role is refused before anything is said about apps and agreements.
    let nothing = BTreeSet::new();
    let minor = signers::may_be_a_minors(statement, minor);
    let stakes = Stakes { act: statement.act, categories: &nothing, minor };
    signers::count(stakes, instruction.signers(), without, newest)?;

    if app_owner != Some(&statement.iss) {
        return Err(Refusal::at(Reason::AppUnknown, "payload.app"));
    }
    let scope = match statement.act {
        Act::Revoke => Scope::default(),
        _ => agreement.ok_or(Reason::AgreementMissing)?.cover(statement, now)?,
    };
    if !statement.act.is_supported() {
        return Err(Refusal::at(Reason::ActNotSupported, "payload.act"));
    }
    if statement.act != Act::Revoke {
        check_policy(statement, newest)?;
        if held_until(statement, now, newest) >= statement.exp {
            return Err(Refusal::at(Reason::InstructionLifetime, "payload.exp")
                .note("it would end while the key set's policy still holds it back"));
        }
        if newest.policy().witnesses as usize > witnesses {
            return Err(Refusal::at(Reason::WitnessesMissing, "policy.witnesses"));
        }
    }
    let stakes = Stakes { categories: &scope.categories, ..stakes };
    let count = signers::count(stakes, instruction.signers(), without, newest)?;
    if count.missing() > 0 {
        return Ok(Judged::Waits(Waiting { missing: count.missing(), count }));
    }
    Ok(Judged::Good(Admission { counted: count.counted, key_set: current, scope }))
}

/// `iat` may lie ahead by the leeway, `nbf` not at all. A `return_and_erase` is
/// taken in before its `nbf`, and waits.
pub(super) fn check_started(statement: &SignedStatement, now: i64) -> Result<(), Refusal> {
    if statement.iat > now.saturating_add(LEEWAY) {
        return Err(Refusal::at(Reason::InstructionNotYetValid, "payload.iat"));
    }
    if statement.act != Act::ReturnAndErase && statement.nbf.is_some_and(|nbf| nbf > now) {
        return Err(Refusal::at(Reason::InstructionNotYetValid, "payload.nbf"));
    }
    Ok(())
}

pub(super) fn check_not_expired(statement: &SignedStatement, now: i64) -> Result<(), Refusal> {
    if now >= statement.exp {
        return Err(Refusal::at(Reason::InstructionExpired, "payload.exp"));
    }
    Ok(())
}

/// What the key set's policy asks of an order, apart from the number of its signers.
pub(super) fn check_policy(statement: &SignedStatement, set: &KeySet) -> Result<(), Refusal> {
    if set.policy().preview.contains(&statement.act) && statement.preview.is_none() {
        return Err(Refusal::at(Reason::PreviewRequired, "payload.preview"));
    }
    Ok(())
}

/// When the first lease of an order may come that was admitted at `admitted_at`: after the policy's hold. A leaf
/// dated back gains nothing, for the hold counts from the signing at the earliest. Seconds.
pub fn held_until(statement: &SignedStatement, admitted_at: i64, set: &KeySet) -> i64 {
    admitted_at.max(statement.begins()).saturating_add(set.policy().hold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::fixtures::agreement;
    use crate::domain::{Category, Region, StoreId};
    use crate::token::fixtures::{
        CountedEntropy, NOW, draft, ending, export_order, genesis, key, key_set, read, set_draft,
    };
    use crate::token::{Categories, Digest, InstructionDraft, KeySetDraft, Private, PrivateKey};

    fn signed(draft: &InstructionDraft, signers: &[&str]) -> Instruction {
        let keys: Vec<PrivateKey> = signers.iter().map(|name| key(name)).collect();
        let keys: Vec<&PrivateKey> = keys.iter().collect();
        read(&draft.sign(&keys, &CountedEntropy::new()).unwrap().to_wire()).unwrap()
    }

    /// No app, no agreement.
    fn nothing(newest: &KeySet) -> AdmissionContext<'_> {
        AdmissionContext {
            newest,
            app_owner: None,
            agreement: None,
            now: NOW,
            minor: false,
            without: NOBODY,
            witnesses: 0,
        }
    }

    fn judge(
        instruction: &Instruction,
        change: impl FnOnce(&mut AdmissionContext<'_>),
    ) -> Result<Admission, Reason> {
        let (newest, agreement, owner) = (key_set(), agreement(), "xingyu".parse().unwrap());
        let mut context = AdmissionContext {
            newest: &newest,
            app_owner: Some(&owner),
            agreement: Some(&agreement),
            now: NOW,
            ..nothing(&newest)
        };
        change(&mut context);
        admit(instruction, &context).map_err(|refusal| refusal.reason)
    }

    fn erase() -> Instruction {
        signed(&draft(Act::Erase), &["ann", "bob"])
    }

    #[test]
    fn a_good_instruction_is_admitted_with_its_scope_written_out() {
        let all = InstructionDraft { categories: Categories::All, ..draft(Act::Erase) };
        let admission = judge(&signed(&all, &["ann", "bob"]), |_| {}).unwrap();
        assert_eq!(admission.counted().len(), 2);
        assert_eq!(admission.key_set().version, 1);
        assert_eq!(
            *admission.scope(),
            Scope { categories: agreement().categories, stores: agreement().stores, ..Scope::default() }
        );
        let named = judge(&erase(), |_| {}).unwrap();
        assert_eq!(named.scope().categories, [Category::Device, Category::Network].into());
    }

    #[test]
    fn the_threshold_counts_distinct_signers_of_the_role() {
        let reason = |act, signers: &[&str]| judge(&signed(&draft(act), signers), |_| {}).err();
        assert_eq!(reason(Act::Erase, &["ann", "bob"]), None);
        assert_eq!(reason(Act::Erase, &["ann"]), Some(Reason::ThresholdNotMet));
        assert_eq!(reason(Act::Erase, &["ann", "ann"]), Some(Reason::ThresholdNotMet));
        assert_eq!(reason(Act::Erase, &["ann", "ann-2"]), Some(Reason::ThresholdNotMet));
        assert_eq!(reason(Act::Erase, &["ann", "ann-2", "bob"]), None);
        assert_eq!(reason(Act::Erase, &["ann", "bob", "reader"]), Some(Reason::SignerRole));
        assert_eq!(reason(Act::Preview, &["reader"]), None);
        assert_eq!(reason(Act::Preview, &["bob"]), Some(Reason::SignerRole));
        assert_eq!(reason(Act::Restrict, &["ann"]), Some(Reason::SignerRole));
    }

    #[test]
    fn time_is_checked_to_the_second() {
        let at = |instruction: &Instruction, now| judge(instruction, |context| context.now = now).err();
        let erase = erase();
        assert_eq!(at(&erase, NOW - LEEWAY), None);
        assert_eq!(at(&erase, NOW - LEEWAY - 1), Some(Reason::InstructionNotYetValid));
        assert_eq!(at(&erase, erase.statement().exp - 1), None);
        assert_eq!(at(&erase, erase.statement().exp), Some(Reason::InstructionExpired));
        let later = signed(&InstructionDraft { nbf: Some(NOW + 5), ..draft(Act::Erase) }, &["ann", "bob"]);
        assert_eq!(at(&later, NOW + 4), Some(Reason::InstructionNotYetValid));
        assert_eq!(at(&later, NOW + 5), None);
    }

    #[test]
    fn the_named_key_set_must_be_the_newest_and_unexpired() {
        let named = |version, digest| {
            let mut draft = draft(Act::Erase);
            draft.key_set = KeySetRef { version, digest };
            judge(&signed(&draft, &["ann", "bob"]), |_| {}).err()
        };
        assert_eq!(named(2, key_set().digest()), Some(Reason::KeySetNotCurrent));
        assert_eq!(named(1, Digest::of("x")), Some(Reason::KeySetNotCurrent));
        // A rotation between signing and the head's lock.
        let rotated = genesis(&KeySetDraft { exp: NOW + 9, ..set_draft() });
        let context = nothing(&rotated);
        assert_eq!(admit(&erase(), &context).unwrap_err().reason, Reason::KeySetNotCurrent);
        // Expired.
        let old = KeySetDraft { exp: NOW + 100, ..set_draft() };
        let old = genesis(&old);
        let mut late = draft(Act::Erase);
        late.key_set = KeySetRef { version: 1, digest: old.digest() };
        let [ann, bob] = ["ann", "bob"].map(key);
        let wire = late.sign(&[&ann, &bob], &CountedEntropy::new()).unwrap();
        let expected = crate::token::Expected { iss: &late.iss, aud: &late.aud };
        let instruction = wire.envelope().clone().verify(&old).unwrap().parse(&expected).unwrap();
        let (terms, owner) = (agreement(), late.iss.clone());
        let at = |now| {
            let (app_owner, agreement) = (Some(&owner), Some(&terms));
            let context = AdmissionContext { app_owner, agreement, now, ..nothing(&old) };
            admit(&instruction, &context).err().map(|refusal| refusal.reason)
        };
        assert_eq!(at(NOW + 99), None);
        assert_eq!(at(NOW + 100), Some(Reason::KeySetExpired));
    }

    #[test]
    fn a_foreign_app_and_an_unknown_app_are_one_answer() {
        let other = "other".parse().unwrap();
        let refusals = [None, Some(&other)].map(|owner| {
            let (newest, terms) = (key_set(), agreement());
            let context = AdmissionContext { app_owner: owner, agreement: Some(&terms), ..nothing(&newest) };
            admit(&erase(), &context).unwrap_err()
        });
        assert_eq!(refusals[0].reason, Reason::AppUnknown);
        assert_eq!(refusals[0], refusals[1]);
    }

    #[test]
    fn the_agreement_bounds_every_instruction() {
        let under = |draft: &InstructionDraft, change: fn(&mut AgreementTerms)| {
            let mut terms = agreement();
            change(&mut terms);
            let signers: &[&str] = if draft.act == Act::Erase { &["ann", "bob"] } else { &["ann"] };
            let (newest, owner) = (key_set(), draft.iss.clone());
            let context =
                AdmissionContext { app_owner: Some(&owner), agreement: Some(&terms), ..nothing(&newest) };
            admit(&signed(draft, signers), &context).err().map(|refusal| refusal.reason)
        };
        let erase = draft(Act::Erase);
        assert_eq!(under(&erase, |_| {}), None);
        assert_eq!(
            judge(&self::erase(), |context| context.agreement = None).err(),
            Some(Reason::AgreementMissing)
        );
        assert_eq!(under(&erase, |t| t.valid_until = Some(NOW)), Some(Reason::AgreementMissing));
        assert_eq!(under(&erase, |t| t.valid_from = NOW + 1), Some(Reason::AgreementMissing));
        assert_eq!(under(&erase, |t| t.apps.clear()), Some(Reason::AgreementMissing));
        assert_eq!(
            under(&erase, |t| t.controller = "other".parse().unwrap()),
            Some(Reason::AgreementMissing)
        );
        let outside = Some(Reason::OutsideAgreement);
        assert_eq!(under(&erase, |t| t.categories.retain(|c| *c != Category::Network)), outside);
        let elsewhere = InstructionDraft { stores: Some(vec!["hr".parse().unwrap()]), ..draft(Act::Erase) };
        assert_eq!(under(&elsewhere, |_| {}), outside);
        let mut export = InstructionDraft { export: Some(export_order()), ..draft(Act::Export) };
        assert_eq!(under(&export, |_| {}), None);
        if let Some(order) = &mut export.export {
            order.region = Region::Us;
        }
        assert_eq!(under(&export, |_| {}), Some(Reason::RegionNotAllowed));
    }

    #[test]
    fn what_ends_the_contract_is_taken_in_before_within_and_after_its_period() {
        let (newest, draft) = (key_set(), ending(Some(NOW + 900 * 86_400)));
        let instruction = signed(&draft, &["ann"]);
        let owner = draft.iss.clone();
        let under = |terms: Option<AgreementTerms>, now| {
            let (app_owner, agreement) = (Some(&owner), terms.as_ref());
            admit(&instruction, &AdmissionContext { app_owner, agreement, now, ..nothing(&newest) })
                .map_err(|refusal| refusal.reason)
        };
        let ended = AgreementTerms { valid_until: Some(NOW - 1), ..agreement() };
        for terms in [agreement(), ended.clone(), AgreementTerms { valid_from: NOW + 9, ..agreement() }] {
            let scope = under(Some(terms.clone()), NOW).unwrap().scope().clone();
            assert_eq!(
                scope,
                Scope { categories: terms.categories, stores: terms.stores, sub_processors: BTreeSet::new() }
            );
        }
        assert_eq!(under(Some(ended.clone()), draft.exp), Err(Reason::InstructionExpired));
        assert_eq!(under(None, NOW), Err(Reason::AgreementMissing));
        assert_eq!(held_until(instruction.statement(), NOW, &newest), NOW + 900 * 86_400);
        // What was entrusted under an agreement that ended is still held; where it may go, the last one says.
        let logs: BTreeSet<StoreId> = ["logs".parse().unwrap()].into();
        let before = AgreementTerms { stores: logs.clone(), regions: [Region::Us].into(), ..ended };
        let after = AgreementTerms { stores: ["sdk".parse().unwrap()].into(), ..agreement() };
        let joined = AgreementTerms::joined([before, after]).unwrap();
        assert_eq!(joined.regions, [Region::Cn].into());
        assert_eq!(under(Some(joined), NOW).unwrap().scope().stores, agreement().stores);
    }

    #[test]
    fn an_act_of_a_later_release_is_refused_after_all_else_is_good() {
        let rectify = InstructionDraft {
            private: Private::Rectify { set: [("city".to_owned(), "x".into())].into() },
            ..draft(Act::Rectify)
        };
        let rectify = signed(&rectify, &["ann"]);
        assert_eq!(judge(&rectify, |_| {}).err(), Some(Reason::ActNotSupported));
        assert_eq!(judge(&rectify, |context| context.app_owner = None).err(), Some(Reason::AppUnknown));
    }
}
