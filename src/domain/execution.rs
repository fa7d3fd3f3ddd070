//! The states of an instruction and of its executions, store by store.

use super::vocabulary::vocabulary;

vocabulary! {
    /// How far an instruction has come.
    InstructionState, "instruction state" {
        /// Fewer have signed than its act takes: it waits for approvals until its end.
        Waiting = "waiting",
        Admitted = "admitted",
        /// Admitted, and held back by the key set's policy so that it can still be revoked.
        Held = "held",
        Executing = "executing",
        /// Every store is done or lawfully retained (I9).
        Done = "done",
        Failed = "failed",
        /// Its controller took it back.
        Revoked = "revoked",
        /// The processor believes it unlawful.
        Contested = "contested",
        /// Its end came before enough had signed, or before any store was begun.
        Expired = "expired",
    }
}

vocabulary! {
    /// Why an instruction goes no further.
    Stop, "stop" {
        Revoked = "revoked",
        Contested = "contested",
    }
}

vocabulary! {
    /// Why the processor contests an instruction: words, never the facts of a case.
    ContestGround, "ground of a contest" {
        /// It infringes the law (GDPR 28(3); PIPL 21).
        Unlawful = "unlawful",
        /// It goes beyond what the agreement is about.
        BeyondAgreement = "beyond_agreement",
        /// A signing key seems to be in other hands.
        KeyCompromised = "key_compromised",
        /// An authority forbade it.
        OfficialOrder = "official_order",
    }
}

impl InstructionState {
    /// Nothing more happens to it.
    pub fn is_over(self) -> bool {
        matches!(self, InstructionState::Done | InstructionState::Failed | InstructionState::Expired)
    }

    /// Nothing of it is begun any more; what an agent had begun may still be reported.
    pub fn is_stopped(self) -> bool {
        matches!(self, InstructionState::Revoked | InstructionState::Contested)
    }
}

vocabulary! {
    /// How far one store has come.
    ExecutionState, "execution state" {
        Pending = "pending",
        Leased = "leased",
        Completed = "completed",
        Partial = "partial",
        Failed = "failed",
        Refused = "refused",
    }
}

impl ExecutionState {
    pub fn has_ended(self) -> bool {
        !matches!(self, ExecutionState::Pending | ExecutionState::Leased)
    }
}

/// How one execution stands for its instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    pub state: ExecutionState,
    /// The instruction's end came before it was begun.
    pub expired: bool,
}

/// Whether it was given up because the instruction's end came before it was begun.
pub fn is_expired(state: ExecutionState, reason: Option<&str>) -> bool {
    state == ExecutionState::Failed && reason == Some(super::Reason::InstructionExpired.code())
}

/// The instruction's state once its executions stand as given; `before` is kept where it was stopped.
pub fn settled(before: InstructionState, executions: &[Stand]) -> InstructionState {
    if before.is_stopped() || before == InstructionState::Expired {
        return before;
    }
    if !executions.is_empty() && executions.iter().all(|e| e.expired) {
        return InstructionState::Expired;
    }
    let states: Vec<ExecutionState> = executions.iter().map(|e| e.state).collect();
    match state_of(&states) {
        InstructionState::Admitted if before == InstructionState::Held => before,
        state => state,
    }
}

/// The state of an instruction that nobody stopped.
pub fn state_of(executions: &[ExecutionState]) -> InstructionState {
    if executions.iter().any(|e| !e.has_ended()) {
        if executions.iter().all(|e| *e == ExecutionState::Pending) {
            InstructionState::Admitted
        } else {
            InstructionState::Executing
        }
    } else if executions.iter().all(|e| *e == ExecutionState::Completed) {
        InstructionState::Done
    } else {
        InstructionState::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_done_only_when_every_store_is() {
        use ExecutionState::*;
        assert_eq!(state_of(&[Completed, Completed]), InstructionState::Done);
        assert_eq!(state_of(&[Completed, Partial]), InstructionState::Failed);
        assert_eq!(state_of(&[Completed, Leased]), InstructionState::Executing);
        assert_eq!(state_of(&[Pending, Pending]), InstructionState::Admitted);
    }

    #[test]
    fn what_was_stopped_or_never_begun_is_not_called_failed() {
        use ExecutionState::*;
        let stand = |state, expired| Stand { state, expired };
        let settle = |before, stands: &[Stand]| settled(before, stands);
        use InstructionState as I;
        assert_eq!(settle(I::Contested, &[stand(Completed, false), stand(Failed, false)]), I::Contested);
        assert_eq!(settle(I::Revoked, &[]), I::Revoked);
        assert_eq!(settle(I::Admitted, &[]), I::Done, "a revocation orders nothing and is done");
        assert_eq!(settle(I::Held, &[stand(Failed, true), stand(Failed, true)]), I::Expired);
        assert_eq!(settle(I::Admitted, &[stand(Failed, true), stand(Completed, false)]), I::Failed);
        assert_eq!(settle(I::Held, &[stand(Pending, false)]), I::Held);
        assert_eq!(settle(I::Held, &[stand(Failed, false), stand(Pending, false)]), I::Executing);
    }
}
