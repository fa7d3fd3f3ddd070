//! When is an instruction good? (the rule that a gateway applies once)
//!
//! In this order, the first failure is the answer:
//!
//! 1. size, shape, headers ([`crate::token::Envelope::read`])
//! 2. every signature ([`crate::token::Envelope::verify`])
//! 3. issuer, audience, members, disclosures ([`crate::token::Verified::parse`])
//! 4. time
//! 5. the named key set is the newest and unexpired
//! 6. roles and threshold, in distinct signers
//! 7. the app is the issuer's; a foreign app and an unknown one are one answer
//! 8. an agreement is in force and covers categories, stores and destination
//! 9. the act is one this release carries out
//!
//! [`admit`] does 4 to 9. It reads and changes nothing, so it can be asked again
//! under the lock of the log's head, with whatever is then newest.

use std::collections::BTreeSet;

use super::agreement::{AgreementTerms, Scope};
use crate::domain::{Act, ControllerId, Reason, Refusal};
use crate::token::{Instruction, KeyId, KeySet, KeySetRef, SetRole, SignedStatement, Signer};

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
}

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

/// Steps 4 to 9.
pub fn admit(instruction: &Instruction, context: &AdmissionContext<'_>) -> Result<Admission, Refusal> {
    let AdmissionContext { newest, app_owner, agreement, now } = *context;
    let statement = instruction.statement();
    if *newest.iss() != statement.iss {
        return Err(Refusal::at(Reason::IssuerMismatch, "payload.iss"));
    }
    if newest.aud() != statement.aud {
        return Err(Refusal::at(Reason::AudienceMismatch, "payload.aud"));
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
    let counted = count_signers(statement.act, instruction.signers(), newest)?;

    if app_owner != Some(&statement.iss) {
        return Err(Refusal::at(Reason::AppUnknown, "payload.app"));
    }
    let scope = agreement.ok_or(Reason::AgreementMissing)?.cover(statement, now)?;
    if !statement.act.is_supported() {
        return Err(Refusal::at(Reason::ActNotSupported, "payload.act"));
    }
    Ok(Admission { counted, key_set: current, scope })
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

/// Every signer must have the act's role, and enough *distinct* ones must have signed.
pub(super) fn count_signers(act: Act, signers: &[Signer], set: &KeySet) -> Result<Vec<Signer>, Refusal> {
    let role = set.role(SetRole::Act(act)).ok_or_else(|| {
        Refusal::at(Reason::SignerRole, "payload.act").note("the key set gives this act to nobody")
    })?;
    if !signers.iter().all(|signer| role.kids.contains(&signer.kid)) {
        return Err(Refusal::at(Reason::SignerRole, "protected.kid"));
    }
    let distinct: BTreeSet<&str> = signers.iter().map(|signer| signer.signer.as_str()).collect();
    if distinct.len() < role.threshold as usize {
        return Err(Refusal::at(Reason::ThresholdNotMet, "signatures").note(format!(
            "{} of {} distinct signers",
            distinct.len(),
            role.threshold
        )));
    }
    Ok(signers.to_vec())
}

/// At the first lease: every counted key is still in the newest set with the act's role.
pub fn check_still_signed(
    act: Act,
    counted: impl IntoIterator<Item = KeyId>,
    newest: &KeySet,
) -> Result<(), Refusal> {
    let role = newest.role(SetRole::Act(act));
    let stands = |kid: KeyId| role.is_some_and(|role| role.kids.contains(&kid));
    if counted.into_iter().all(stands) { Ok(()) } else { Err(Reason::SignerRevoked.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::fixtures::agreement;
    use crate::domain::{Category, Region};
    use crate::token::fixtures::{
        CountedEntropy, NOW, draft, export_order, genesis, key, key_set, read, set_draft,
    };
    use crate::token::{Categories, Digest, InstructionDraft, KeySetDraft, Private, PrivateKey};

    fn signed(draft: &InstructionDraft, signers: &[&str]) -> Instruction {
        let keys: Vec<PrivateKey> = signers.iter().map(|name| key(name)).collect();
        let keys: Vec<&PrivateKey> = keys.iter().collect();
        read(&draft.sign(&keys, &CountedEntropy::new()).unwrap().to_wire()).unwrap()
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
            Scope { categories: agreement().categories, stores: agreement().stores }
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
        let context = AdmissionContext { newest: &rotated, app_owner: None, agreement: None, now: NOW };
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
            let context =
                AdmissionContext { newest: &old, app_owner: Some(&owner), agreement: Some(&terms), now };
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
            let context =
                AdmissionContext { newest: &newest, app_owner: owner, agreement: Some(&terms), now: NOW };
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
            let context = AdmissionContext {
                newest: &newest,
                app_owner: Some(&owner),
                agreement: Some(&terms),
                now: NOW,
            };
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
