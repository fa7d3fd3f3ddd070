//! The agreement under which PPIO processes for a controller (PIPL 21): the
//! outer bound of every instruction.
//!
//! Its purposes are not among the terms here: they bound what PPIO does of its own accord with what was entrusted, and no
//! instruction has one (decision 0029).

use std::collections::BTreeSet;

use super::destination;
use super::sub_processors::{self, Sinks};
use crate::domain::{Act, AppId, Category, ControllerId, Reason, Refusal, Region, StoreId, SubProcessorId};
use crate::token::{Categories, SignedStatement};

/// The terms that software can check. Times are seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreementTerms {
    pub controller: ControllerId,
    pub apps: BTreeSet<AppId>,
    pub categories: BTreeSet<Category>,
    pub stores: BTreeSet<StoreId>,
    /// Where data may go.
    pub regions: BTreeSet<Region>,
    /// Who may touch the data in PPIO's stead.
    pub sub_processors: BTreeSet<SubProcessorId>,
    /// Who operates what, as the judge knows it.
    pub sinks: Sinks,
    pub valid_from: i64,
    /// At this second it is over; none = until ended.
    pub valid_until: Option<i64>,
}

/// What an instruction reaches within the agreement: `["*"]` and "all stores" written out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    pub categories: BTreeSet<Category>,
    pub stores: BTreeSet<StoreId>,
    /// Whom that reaches.
    pub sub_processors: BTreeSet<SubProcessorId>,
}

impl AgreementTerms {
    /// Whether the data may lie there: in the mainland, or where the agreement lets it go (R22).
    pub fn may_lie_in(&self, region: Region) -> bool {
        region.is_open_to(&self.regions)
    }

    pub fn in_force(&self, now: i64) -> bool {
        self.valid_from <= now && self.valid_until.is_none_or(|until| now < until)
    }

    /// All of them as one: what was entrusted under any. Data may go where the one that ends last lets it go.
    /// They are of one controller and of the same apps. None of none.
    pub fn joined(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|mut joined, terms| {
            let ends = |until: Option<i64>| until.unwrap_or(i64::MAX);
            if ends(terms.valid_until) > ends(joined.valid_until) {
                joined.valid_until = terms.valid_until;
                joined.regions = terms.regions;
            }
            joined.valid_from = joined.valid_from.min(terms.valid_from);
            joined.categories.extend(terms.categories);
            joined.stores.extend(terms.stores);
            joined.sub_processors.extend(terms.sub_processors);
            joined
        })
    }

    /// The agreement is in force and covers what the instruction names. What returns and erases all that was
    /// entrusted is the end of the agreement, and is asked for no period: it may come before the agreement's end,
    /// after it, or where it never came into effect (PIPL 21).
    pub fn cover(&self, statement: &SignedStatement, now: i64) -> Result<Scope, Refusal> {
        if statement.act != Act::ReturnAndErase && !self.in_force(now) {
            return Err(Reason::AgreementMissing.into());
        }
        self.cover_begun(statement)
    }

    /// The same for work that began while the agreement was in force.
    pub fn cover_begun(&self, statement: &SignedStatement) -> Result<Scope, Refusal> {
        if self.controller != statement.iss || !self.apps.contains(&statement.app) {
            return Err(Reason::AgreementMissing.into());
        }
        let categories = match &statement.categories {
            Categories::All => self.categories.clone(),
            Categories::Some(named) => {
                if !named.iter().all(|category| self.categories.contains(category)) {
                    return Err(Refusal::at(Reason::OutsideAgreement, "payload.categories"));
                }
                named.iter().copied().collect()
            }
        };
        let stores = match &statement.stores {
            None => self.stores.clone(),
            Some(named) => {
                if !named.iter().all(|store| self.stores.contains(store)) {
                    return Err(Refusal::at(Reason::OutsideAgreement, "payload.stores"));
                }
                named.iter().cloned().collect()
            }
        };
        if let Some(export) = &statement.export
            && !self.regions.contains(&export.region)
        {
            return Err(Refusal::at(Reason::RegionNotAllowed, "payload.export.region"));
        }
        destination::check(statement)?;
        let sub_processors = self.sinks.reached(statement, &stores);
        sub_processors::check(&sub_processors, &self.sub_processors)?;
        Ok(Scope { categories, stores, sub_processors })
    }
}
