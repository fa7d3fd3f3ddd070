//! The rules that look at what came before (DESIGN §6): an id that was used up, an instruction to take back, a case to
//! answer, a signature on what waits, a key that has a use.
//!
//! Pure: the gateway brings what its rows say, under the writer; `mandate conformance` what the steps before a vector
//! left. Whoever judges, these are the rules.

use std::collections::BTreeSet;

use crate::domain::request::served_by;
use crate::domain::{AppId, InstructionState, Reason, Refusal, RequestStage, Right, RightStage};
use crate::token::{Digest, KeyId, KeySet, SignedStatement, Signer};

/// What a `jti` says that was seen before. It is used up once per issuer, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedent {
    /// The same payload, taken then: it gets the first answer and has no effect.
    Taken,
    /// The same payload, refused then: it stays refused, and cannot be kept for a better day.
    Refused(Reason),
    /// Another payload: `JTI_REUSED`.
    Reused,
}

/// `outcome`: the reason code with which the first was refused, or what it came to.
pub fn precedent(digest: &Digest, used_digest: &str, outcome: &str) -> Precedent {
    if used_digest != digest.to_string() {
        return Precedent::Reused;
    }
    match Reason::from_code(outcome) {
        Some(reason) => Precedent::Refused(reason),
        None => Precedent::Taken,
    }
}

/// What a `revoke` names is the controller's own and of the same app, and there is something left to take back.
/// `found`: app of the controller's instruction of that name, and its state by leaf time.
pub fn check_target(
    statement: &SignedStatement,
    found: Option<(&AppId, InstructionState)>,
) -> Result<(), Refusal> {
    if statement.target.is_none() {
        return Ok(());
    }
    let Some((_, state)) = found.filter(|(app, _)| **app == statement.app) else {
        return Err(Refusal::at(Reason::TargetUnknown, "payload.target"));
    };
    check_stoppable(state, "payload.target")
}

/// There is something left of an instruction to stop: its state at this second, by leaf time
/// ([`crate::domain::execution::state_at`]). `field`: what named it.
pub fn check_stoppable(state: InstructionState, field: &'static str) -> Result<(), Refusal> {
    let conflict = |note| Err(Refusal::at(Reason::StageConflict, field).note(note));
    match state {
        InstructionState::Expired => Err(expired(field)),
        state if state.is_over() => conflict("the instruction has ended"),
        state if state.is_stopped() => conflict("the instruction was stopped before"),
        _ => Ok(()),
    }
}

fn expired(field: &'static str) -> Refusal {
    Refusal::at(Reason::InstructionExpired, field)
        .note("nothing of it was begun before its end, and nothing will be")
}

/// A case, as far as an instruction may answer it.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub app: &'a AppId,
    pub stage: RequestStage,
    pub rights: &'a [(Right, RightStage)],
}

/// The rights of the named case that the instruction serves; none where it names none. `found`: the controller's
/// case of that name.
pub fn check_case(statement: &SignedStatement, found: Option<Case<'_>>) -> Result<Vec<Right>, Refusal> {
    if statement.req.is_none() {
        return Ok(Vec::new());
    }
    let unknown = || Refusal::at(Reason::RequestUnknown, "payload.req");
    let case = found.ok_or_else(unknown)?;
    if *case.app != statement.app || !case.stage.may_be_instructed() {
        return Err(unknown().note("the case is of another app or over"));
    }
    served_by(statement.act, statement.goes_to_third_party(), case.rights)
}

/// An instruction that an approval or a withdrawal is about.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// By leaf time.
    pub state: InstructionState,
    /// The version of the set that it was verified under.
    pub key_set_version: u64,
    /// Keys whose signers took their signatures back.
    pub withdrawn: &'a BTreeSet<KeyId>,
}

impl Signed<'_> {
    fn took_back(&self, signer: &str, set: &KeySet) -> bool {
        self.withdrawn.iter().filter_map(|kid| set.key(kid)).any(|key| key.signer == signer)
    }

    /// Under any other set than the newest it can never be completed.
    pub fn check_set(&self, newest: &KeySet) -> Result<(), Refusal> {
        if self.key_set_version == newest.version() {
            return Ok(());
        }
        Err(Refusal::at(Reason::KeySetNotCurrent, "name")
            .note("it waits under a key set that is no longer the newest; sign a new one"))
    }

    pub fn check_waits(&self) -> Result<(), Refusal> {
        match self.state {
            InstructionState::Waiting => Ok(()),
            InstructionState::Expired => Err(expired("name")),
            _ => Err(Refusal::at(Reason::StageConflict, "name").note("it waits for no signature")),
        }
    }

    /// Whether the key's signature is one of those that count; not where its signer took it back.
    pub fn counts(&self, kid: &KeyId, set: &KeySet, mut signed: impl Iterator<Item = KeyId>) -> bool {
        let back = set.key(kid).is_some_and(|key| self.took_back(&key.signer, set));
        !back && signed.any(|known| known == *kid)
    }

    /// Who withdrew does not count again: his old signature could be brought back.
    pub fn check_approver(&self, signer: &Signer, set: &KeySet) -> Result<(), Refusal> {
        if self.took_back(&signer.signer, set) { Err(Reason::SignatureWithdrawn.into()) } else { Ok(()) }
    }

    /// The keys whose signatures a withdrawal takes back, all of the signer's; none where he withdrew before.
    pub fn taken_back_by(
        &self,
        signer: &Signer,
        set: &KeySet,
        signed: impl Iterator<Item = KeyId>,
    ) -> Result<Vec<KeyId>, Refusal> {
        if self.took_back(&signer.signer, set) {
            return Ok(Vec::new());
        }
        let conflict = |note| Err(Refusal::at(Reason::StageConflict, "name").note(note));
        if self.state == InstructionState::Expired {
            return Err(expired("name"));
        }
        if self.state != InstructionState::Waiting {
            return conflict("only what still waits can be withdrawn from; revoke it instead");
        }
        let is_own = |kid: &KeyId| set.key(kid).is_some_and(|key| key.signer == signer.signer);
        let own: Vec<KeyId> = signed.filter(is_own).collect();
        if own.is_empty() {
            return conflict("the signer has signed nothing here");
        }
        Ok(own)
    }
}

/// One key has one use and one principal, for ever: whether it is new. `known`: the use and principal it has.
pub fn check_key_use(known: Option<(&str, &str)>, key_use: &str, principal: &str) -> Result<bool, Refusal> {
    match known {
        None => Ok(true),
        Some(has) if has == (key_use, principal) => Ok(false),
        Some(_) => Err(Refusal::at(Reason::KeyAlreadyUsed, "key_set.keys")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_used_up_is_answered_as_the_first_time_or_not_at_all() {
        let (first, other) = (Digest::of("first"), Digest::of("other"));
        assert_eq!(precedent(&first, &first.to_string(), "admitted"), Precedent::Taken);
        assert_eq!(precedent(&first, &first.to_string(), "waiting"), Precedent::Taken);
        assert_eq!(
            precedent(&first, &first.to_string(), "SIGNER_ROLE"),
            Precedent::Refused(Reason::SignerRole)
        );
        for outcome in ["admitted", "SIGNER_ROLE"] {
            assert_eq!(precedent(&other, &first.to_string(), outcome), Precedent::Reused);
        }
    }

    #[test]
    fn what_has_ended_by_itself_is_neither_stopped_nor_signed() {
        let stopped = |state| check_stoppable(state, "name").err().map(|refusal| refusal.reason);
        use InstructionState as I;
        for open in [I::Waiting, I::Admitted, I::Held, I::Executing] {
            assert_eq!(stopped(open), None);
        }
        assert_eq!(stopped(I::Expired), Some(Reason::InstructionExpired));
        for over in [I::Done, I::Failed, I::Revoked, I::Contested] {
            assert_eq!(stopped(over), Some(Reason::StageConflict));
        }
        let waits = |state| {
            let signed = Signed { state, key_set_version: 1, withdrawn: &BTreeSet::new() };
            signed.check_waits().err().map(|refusal| refusal.reason)
        };
        assert_eq!(waits(I::Waiting), None);
        assert_eq!(waits(I::Expired), Some(Reason::InstructionExpired));
        assert_eq!(waits(I::Revoked), Some(Reason::StageConflict));
    }

    #[test]
    fn a_key_keeps_its_use_and_its_principal() {
        let has = Some(("access", "controllers/xingyu"));
        assert_eq!(check_key_use(None, "access", "controllers/xingyu"), Ok(true));
        assert_eq!(check_key_use(has, "access", "controllers/xingyu"), Ok(false));
        for (key_use, principal) in [("instruction", "controllers/xingyu"), ("access", "controllers/leting")]
        {
            let refused = check_key_use(has, key_use, principal).unwrap_err();
            assert_eq!(refused.reason, Reason::KeyAlreadyUsed);
        }
    }
}
