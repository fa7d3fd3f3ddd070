//! The permit without which nothing of an end user is touched (invariant I1).
//!
//! A [`Warrant`] has private fields and one constructor, which starts from the
//! order's bytes and trusts nothing the gateway concluded: signatures, members
//! and disclosures are checked again against the key sets that the agent
//! replicated itself from the pin it was given by hand, and the app is bound to
//! a tenant by the agent's own configuration.
//!
//! It cannot be made any other way:
//!
//! ```compile_fail,E0451
//! use mandate::authority::{CheckedOrder, Warrant};
//! fn forge(order: CheckedOrder) -> Warrant {
//!     Warrant { order, tenant: String::from("another tenant") }
//! }
//! ```
//!
//! The gateway asks the same of an order before its first lease, with
//! [`super::signers::check_still_signed`]: what no agent would carry out is not handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::admission::{check_not_expired, check_policy, check_started, held_until};
use super::agreement::AgreementTerms;
use super::chain::KeySetChain;
use super::signers::{self, Stakes, check_still_signed};
use super::taken_back::{TakenBack, refusal_of};
use crate::domain::{Act, AppId, Category, ControllerId, Identifier, Reason, Refusal, StoreId};
use crate::token::{Categories, Digest, Envelope, Expected, Instruction, KeySetRef};

/// What the admission leaf says about the moment of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionFacts {
    pub key_set_version: u64,
    /// Size of the authority log under which it was judged.
    pub authority_size: u64,
    /// Time of the leaf, seconds.
    pub at: i64,
}

/// `exp` bounds the first lease; work that has begun finishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    First,
    /// By the agent's own ledger, work has begun.
    Resumed,
}

/// An order as leased. Nothing in it is believed.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The signed instruction with all its disclosures, as received.
    pub instruction: &'a [u8],
    pub store: &'a StoreId,
    pub admission: AdmissionFacts,
    pub lease: Lease,
}

/// What the checker knows by itself.
#[derive(Clone, Copy)]
pub struct Standing<'a> {
    /// The key sets of the controller in whose name the order is said to be.
    pub chain: &'a KeySetChain,
    /// The trail's origin.
    pub origin: &'a str,
    /// How much of the authority log was replicated and verified.
    pub authority_size: u64,
    /// The agreement's scope, from the checker's own configuration.
    pub agreement: &'a AgreementTerms,
    /// The stores it stands beside.
    pub stores: &'a BTreeSet<StoreId>,
    /// What the authority log takes back of this controller's.
    pub taken_back: &'a TakenBack,
    /// How many witnesses its own pins ask for.
    pub witnesses: usize,
    /// Seconds.
    pub now: i64,
}

/// Which tenant of a store an app is, by the agent's own configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantBinding {
    pub controller: ControllerId,
    /// The value of the tenant column or prefix.
    pub tenant: String,
}

/// An order that is still good. Not yet a permit: it names no tenant.
pub struct CheckedOrder {
    instruction: Instruction,
    store: StoreId,
    categories: BTreeSet<Category>,
    admitted_under: KeySetRef,
}

impl CheckedOrder {
    pub fn instruction(&self) -> &Instruction {
        &self.instruction
    }
}

/// Everything but the tenant, from the bytes.
pub fn check_order(order: &Order<'_>, standing: &Standing<'_>) -> Result<CheckedOrder, Refusal> {
    let Order { instruction, store, admission, lease } = *order;
    let Standing { chain, origin, authority_size, agreement, stores, taken_back, witnesses, now } = *standing;

    // Until the checker has seen the log that the admission was judged under, it cannot judge it.
    if authority_size < admission.authority_size {
        return Err(Reason::AuthorityStale.into());
    }
    let admitted_under = chain
        .newest_at(admission.authority_size)
        .filter(|set| set.version() == admission.key_set_version)
        .ok_or_else(|| Refusal::new(Reason::KeySetNotCurrent).note("it was not the newest at admission"))?;
    let expected = Expected { iss: chain.controller(), aud: origin };
    let instruction = Envelope::read(instruction)?.verify(admitted_under)?.parse(&expected)?;
    let statement = instruction.statement();
    let key_set = KeySetRef { version: admitted_under.version(), digest: admitted_under.digest() };
    if statement.key_set != key_set {
        return Err(Refusal::at(Reason::KeySetNotCurrent, "payload.key_set"));
    }

    if admitted_under.is_expired(statement.iat) {
        return Err(
            Refusal::new(Reason::KeySetExpired).note("it had ended before the instruction was signed")
        );
    }
    if let Some(why) = taken_back.why(&statement.jti) {
        return Err(refusal_of(why).into());
    }
    check_started(statement, now)?;
    if statement.nbf.is_some_and(|nbf| nbf > now) {
        return Err(Refusal::at(Reason::InstructionNotYetValid, "payload.nbf"));
    }
    let scope = match lease {
        Lease::First => {
            check_not_expired(statement, now)?;
            if now < held_until(statement, admission.at, admitted_under) {
                return Err(Reason::InstructionHeld.into());
            }
            agreement.cover(statement, now)?
        }
        Lease::Resumed => agreement.cover_begun(statement)?,
    };
    // Whether a case is a minor's stands in the trail, not in the order: there the gateway and auditors count.
    let minor = signers::may_be_a_minors(statement, false);
    let stakes = Stakes { act: statement.act, categories: &scope.categories, minor };
    let without = taken_back.signers(&instruction.digest(), admitted_under, authority_size);
    let counted = signers::count(stakes, instruction.signers(), &without, admitted_under)?.met()?;
    // Work that has begun is seen through: who signed may have left since.
    if lease == Lease::First {
        if chain.restarted_since(admission.authority_size) {
            return Err(Reason::KeySetRecovered.into());
        }
        check_still_signed(statement.act, counted.iter().map(|signer| signer.kid), chain.newest())?;
    }
    check_policy(statement, admitted_under)?;
    if admitted_under.policy().witnesses as usize > witnesses {
        return Err(Refusal::at(Reason::WitnessesMissing, "policy.witnesses")
            .note("the agent's pins ask for fewer than the key set's policy"));
    }
    if !scope.stores.contains(store) {
        return Err(Refusal::at(Reason::OutsideAgreement, "order.store"));
    }
    if !stores.contains(store) {
        return Err(Refusal::at(Reason::StoreUnknown, "order.store"));
    }
    if !statement.act.is_for_agents() {
        return Err(Refusal::at(Reason::ActNotSupported, "payload.act"));
    }
    Ok(CheckedOrder {
        store: store.clone(),
        categories: scope.categories,
        admitted_under: key_set,
        instruction,
    })
}

/// The permit to carry out one instruction on one store for one tenant.
pub struct Warrant {
    order: CheckedOrder,
    tenant: String,
}

impl Warrant {
    /// The only way to a warrant: the order's bytes, checked against what the agent knows by itself.
    pub fn build(
        order: &Order<'_>,
        standing: &Standing<'_>,
        bindings: &BTreeMap<AppId, TenantBinding>,
    ) -> Result<Self, Refusal> {
        let order = check_order(order, standing)?;
        let statement = order.instruction.statement();
        match bindings.get(&statement.app) {
            Some(TenantBinding { controller, tenant })
                if *controller == statement.iss && !tenant.is_empty() =>
            {
                Ok(Self { tenant: tenant.clone(), order })
            }
            _ => Err(Reason::TenantUnbound.into()),
        }
    }

    pub fn instruction(&self) -> &Instruction {
        &self.order.instruction
    }
    pub fn act(&self) -> Act {
        self.instruction().statement().act
    }
    pub fn app(&self) -> &AppId {
        &self.instruction().statement().app
    }
    pub fn controller(&self) -> &ControllerId {
        &self.instruction().statement().iss
    }
    /// Who it is about. Personal data.
    pub fn subject(&self) -> &[Identifier] {
        self.instruction().subject()
    }
    /// For the report: the digests acted on.
    pub fn sub_digests(&self) -> &[Digest] {
        &self.instruction().statement().sub_digests
    }
    pub fn instruction_digest(&self) -> Digest {
        self.instruction().digest()
    }
    /// The value of the tenant predicate; never empty.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }
    pub fn store(&self) -> &StoreId {
        &self.order.store
    }
    /// Written out within the agent's own scope.
    pub fn categories(&self) -> &BTreeSet<Category> {
        &self.order.categories
    }
    /// Whether `["*"]` was signed: then what the agreement does not have was asked for, too.
    pub fn instructs_everything(&self) -> bool {
        self.instruction().statement().categories == Categories::All
    }
    pub fn admitted_under(&self) -> KeySetRef {
        self.order.admitted_under
    }
}

impl fmt::Debug for Warrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Warrant({:?} on {:?})", self.instruction(), self.order.store)
    }
}

impl fmt::Debug for CheckedOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedOrder({:?} on {:?})", self.instruction, self.store)
    }
}

#[cfg(test)]
#[path = "warrant_tests.rs"]
mod tests;
