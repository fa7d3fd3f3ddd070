//! How many signers an order takes, and who of those that signed counts.

use std::collections::BTreeSet;

use crate::domain::{Act, Category, Reason, Refusal};
use crate::token::keyset::RoleKeys;
use crate::token::{KeyId, KeySet, SetRole, SignedStatement, Signer, Tier};

/// What an order is about, as far as it raises the threshold.
#[derive(Debug, Clone, Copy)]
pub struct Stakes<'a> {
    pub act: Act,
    /// Written out within the agreement.
    pub categories: &'a BTreeSet<Category>,
    /// It is counted as a minor's: see [`may_be_a_minors`].
    pub minor: bool,
}

/// Whether the data may be a minor's. The case that is answered says it; where the order names none, nobody says that
/// it is not (decision 0030). So leaving `req` out saves no signer, and agents, who see no case, hold to it as well.
pub fn may_be_a_minors(statement: &SignedStatement, case_is_a_minors: bool) -> bool {
    case_is_a_minors || statement.req.is_none()
}

/// Who counts, and how many are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The signatures that count, one for each key.
    pub counted: Vec<Signer>,
    /// Distinct signers that count.
    pub distinct: u32,
    /// Distinct signers that the order takes.
    pub needed: u32,
}

impl Count {
    pub fn missing(&self) -> u32 {
        self.needed.saturating_sub(self.distinct)
    }

    /// `THRESHOLD_NOT_MET` while some are missing.
    pub fn met(self) -> Result<Vec<Signer>, Refusal> {
        if self.missing() == 0 {
            return Ok(self.counted);
        }
        let note = format!("{} of {} distinct signers", self.distinct, self.needed);
        Err(Refusal::at(Reason::ThresholdNotMet, "signatures").note(note))
    }
}

fn role_of(act: Act, set: &KeySet) -> Result<&RoleKeys, Refusal> {
    set.role(SetRole::Act(act)).ok_or_else(|| {
        Refusal::at(Reason::SignerRole, "payload.act").note("the key set gives this act to nobody")
    })
}

/// The distinct signers that the act takes, or more where the data is of a tier.
pub fn needed(stakes: Stakes<'_>, set: &KeySet) -> Result<u32, Refusal> {
    let role = role_of(stakes.act, set)?;
    let mut needed = role.threshold;
    let media = stakes.categories.contains(&Category::Media);
    for (applies, tier) in [(stakes.minor, Tier::Minor), (media, Tier::Media)] {
        if applies {
            needed = needed.max(set.policy().signers(tier, stakes.act).unwrap_or(0));
        }
    }
    Ok(needed)
}

/// Every signer must have the act's role. Those in `without` took their signatures back.
pub fn count(
    stakes: Stakes<'_>,
    signers: &[Signer],
    without: &BTreeSet<&str>,
    set: &KeySet,
) -> Result<Count, Refusal> {
    let role = role_of(stakes.act, set)?;
    if !signers.iter().all(|signer| role.kids.contains(&signer.kid)) {
        return Err(Refusal::at(Reason::SignerRole, "protected.kid"));
    }
    let counted: Vec<Signer> =
        signers.iter().filter(|signer| !without.contains(signer.signer.as_str())).cloned().collect();
    let distinct: BTreeSet<&str> = counted.iter().map(|signer| signer.signer.as_str()).collect();
    // At most 16 signatures.
    let distinct = u32::try_from(distinct.len()).unwrap_or(u32::MAX);
    Ok(Count { counted, distinct, needed: needed(stakes, set)? })
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
