//! What must be on record before data goes to somebody else, or abroad (R11, R22).
//!
//! Another controller takes the person's separate consent (PIPL 23), leaving the mainland a recorded basis
//! (PIPL 38, 39), a third party of the person's choice data that was given by consent or under a contract (条例 25).
//! The record stays with the controller; its digest is signed and stays in the trail.

use crate::domain::{Reason, Refusal};
use crate::token::SignedStatement;

/// Whether basis and evidence let the export go where it goes.
pub(super) fn check(statement: &SignedStatement) -> Result<(), Refusal> {
    let Some(export) = &statement.export else { return Ok(()) };
    let third_party = statement.goes_to_third_party();
    if third_party && !statement.basis.is_consent_or_contract() {
        return Err(Refusal::at(Reason::BasisNotFitting, "payload.basis"));
    }
    if (third_party || !export.region.is_mainland()) && export.evidence.is_none() {
        return Err(Refusal::at(Reason::EvidenceMissing, "payload.export.evidence"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::fixtures::agreement;
    use crate::domain::{Act, Basis, Region};
    use crate::token::fixtures::{draft, export_order, read, sealed, wire};
    use crate::token::{Digest, InstructionDraft, Private};

    fn judge(region: Region, account: bool, basis: Basis, evidence: bool) -> Option<Reason> {
        let mut order = export_order();
        order.region = region;
        order.evidence = evidence.then(|| Digest::of("the record"));
        let private = if account { Private::Export { account: "acc-1".into() } } else { Private::None };
        let draft = InstructionDraft { export: Some(order), private, basis, ..draft(Act::Export) };
        let (payload, disclosures) = sealed(&draft);
        let instruction = read(&wire(&payload.to_string(), &disclosures, &["ann"])).unwrap();
        let mut terms = agreement();
        terms.regions.insert(Region::Sg);
        // Also for work that has begun: nothing more goes out.
        terms.cover_begun(instruction.statement()).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn to_the_controller_in_the_mainland_nothing_is_asked() {
        assert_eq!(judge(Region::Cn, false, Basis::Pipl45, false), None);
    }

    #[test]
    fn a_third_party_takes_consent_or_a_contract_and_a_record_of_it() {
        for basis in Basis::ALL {
            let fits = basis.is_consent_or_contract();
            assert_eq!(judge(Region::Cn, true, *basis, true), (!fits).then_some(Reason::BasisNotFitting));
        }
        assert_eq!(judge(Region::Cn, true, Basis::Gdpr20, false), Some(Reason::EvidenceMissing));
    }

    #[test]
    fn abroad_takes_the_agreements_leave_and_a_record() {
        assert_eq!(judge(Region::Sg, false, Basis::Pipl45, true), None);
        assert_eq!(judge(Region::Sg, false, Basis::Pipl45, false), Some(Reason::EvidenceMissing));
        assert_eq!(judge(Region::Us, false, Basis::Pipl45, true), Some(Reason::RegionNotAllowed));
    }
}
