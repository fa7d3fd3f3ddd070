//! Who touches the data in PPIO's stead (R25; PIPL 21, GDPR 28(2)): only whom the agreement names.
//!
//! A store, and the place where export packages wait, is a *sink*. Each says who operates it; what says nothing is
//! operated by PPIO itself. An instruction goes nowhere if one sink that it reaches is operated by somebody the
//! controller never agreed to.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Purpose, Reason, Refusal, StoreId, SubProcessorId};
use crate::token::SignedStatement;

/// Who operates what, where it is not PPIO itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sinks {
    pub stores: BTreeMap<StoreId, SubProcessorId>,
    /// Where packages wait for their controller.
    pub exports: Option<SubProcessorId>,
}

impl Sinks {
    /// Whom an instruction on these stores reaches.
    pub fn reached(
        &self,
        statement: &SignedStatement,
        stores: &BTreeSet<StoreId>,
    ) -> BTreeSet<SubProcessorId> {
        let of_stores = stores.iter().filter_map(|store| self.stores.get(store));
        let of_package = self.exports.iter().filter(|_| statement.export.is_some());
        of_stores.chain(of_package).cloned().collect()
    }
}

/// Whether somebody who does this has any business with what an agreement is about (PIPL 21, 59; decision 0029).
pub fn shares(does: &[Purpose], agreed: &[Purpose]) -> bool {
    does.iter().any(|purpose| agreed.contains(purpose))
}

/// `SUB_PROCESSOR_UNDECLARED` unless the agreement names everybody who is reached.
pub(super) fn check(
    reached: &BTreeSet<SubProcessorId>,
    agreed: &BTreeSet<SubProcessorId>,
) -> Result<(), Refusal> {
    match reached.iter().find(|one| !agreed.contains(*one)) {
        None => Ok(()),
        Some(one) => Err(Refusal::at(Reason::SubProcessorUndeclared, "payload.stores")
            .note(format!("{} is not in the agreement", one.resource_name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_nothing_that_was_agreed_has_no_business_with_the_data() {
        use Purpose::{Recording, ServiceDelivery, Troubleshooting};
        assert!(shares(&[Recording, Troubleshooting], &[ServiceDelivery, Recording]));
        assert!(!shares(&[Troubleshooting], &[ServiceDelivery, Recording]));
        assert!(!shares(&[Recording], &[]));
    }

    use crate::authority::fixtures::agreement;
    use crate::domain::Act;
    use crate::token::fixtures::{draft, export_order, read, sealed, wire};
    use crate::token::{InstructionDraft, SignedStatement};

    fn statement(draft: &InstructionDraft) -> SignedStatement {
        let (payload, disclosures) = sealed(draft);
        read(&wire(&payload.to_string(), &disclosures, &["ann"])).unwrap().statement().clone()
    }

    #[test]
    fn one_undeclared_sink_denies_the_whole_order() {
        let [cloud, disk] = ["cloud", "disk"].map(|id| id.parse::<SubProcessorId>().unwrap());
        let [sdk, logs] = ["sdk", "logs"].map(|id| id.parse::<StoreId>().unwrap());
        let erase = draft(Act::Erase);
        let only_sdk = InstructionDraft { stores: Some(vec![sdk]), ..draft(Act::Erase) };
        let export = InstructionDraft { export: Some(export_order()), ..draft(Act::Export) };
        let mut terms = agreement();
        terms.sinks.stores.insert(logs, cloud.clone());
        terms.sinks.exports = Some(disk.clone());
        let judge = |terms: &super::super::AgreementTerms, draft: &InstructionDraft| {
            terms.cover_begun(&statement(draft)).map(|scope| scope.sub_processors).map_err(|r| r.reason)
        };
        let undeclared = Err(Reason::SubProcessorUndeclared);
        assert_eq!(judge(&terms, &erase), undeclared);
        assert_eq!(judge(&terms, &only_sdk), Ok(BTreeSet::new()));
        terms.sub_processors.insert(cloud.clone());
        assert_eq!(judge(&terms, &erase), Ok([cloud.clone()].into()));
        assert_eq!(judge(&terms, &export), undeclared);
        terms.sub_processors.insert(disk.clone());
        assert_eq!(judge(&terms, &export), Ok([cloud, disk].into()));
    }
}
