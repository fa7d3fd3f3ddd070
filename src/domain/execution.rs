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
    /// An agent has said of it that it began: rows may have been touched.
    pub begun: bool,
    /// The instruction's end came before it was begun.
    pub expired: bool,
}

impl Stand {
    /// From what is kept of an execution: the reason code it has, and whether a signed report gave it.
    pub fn of(state: ExecutionState, begun: bool, reason: Option<&str>, reported: bool) -> Self {
        let by_its_end = match state {
            // Nobody began it in time.
            ExecutionState::Failed => !reported,
            // Or its agent says so, which `refused` says by itself: nothing was touched.
            ExecutionState::Refused => reported,
            _ => false,
        };
        let expired = by_its_end && reason == Some(super::Reason::InstructionExpired.code());
        Self { state, begun, expired }
    }

    /// No agent holds it, and none has begun: it was never leased, or put off untouched.
    pub fn is_unbegun(self) -> bool {
        self.state == ExecutionState::Pending && !self.begun
    }

    /// Once the instruction's end has come: what is unbegun will not be begun.
    fn after_the_end(self) -> Self {
        if self.is_unbegun() { Self { state: ExecutionState::Failed, expired: true, ..self } } else { self }
    }
}

/// The instruction's state once its executions stand as given; `before` is kept where it was stopped.
pub fn settled(before: InstructionState, executions: &[Stand]) -> InstructionState {
    if before.is_stopped() || before == InstructionState::Expired {
        return before;
    }
    if !executions.is_empty() && executions.iter().all(|e| e.expired) {
        return InstructionState::Expired;
    }
    match state_of(executions) {
        InstructionState::Admitted if before == InstructionState::Held => before,
        state => state,
    }
}

/// The instruction's state at this second, where `before` is the one last written down. Its end, `exp`, comes by
/// itself: whether the gateway has found the time to write that down makes no difference to anybody.
pub fn state_at(before: InstructionState, executions: &[Stand], exp: i64, now: i64) -> InstructionState {
    if now < exp || before.is_over() || before.is_stopped() {
        return before;
    }
    if before == InstructionState::Waiting {
        return InstructionState::Expired;
    }
    let executions: Vec<Stand> = executions.iter().map(|e| e.after_the_end()).collect();
    settled(before, &executions)
}

/// The state of an instruction that nobody stopped.
fn state_of(executions: &[Stand]) -> InstructionState {
    if executions.iter().any(|e| !e.state.has_ended()) {
        if executions.iter().all(|e| e.is_unbegun()) {
            InstructionState::Admitted
        } else {
            InstructionState::Executing
        }
    } else if executions.iter().all(|e| e.state == ExecutionState::Completed) {
        InstructionState::Done
    } else {
        InstructionState::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExecutionState::*;
    use InstructionState as I;

    fn stand(state: ExecutionState) -> Stand {
        Stand { state, begun: false, expired: false }
    }

    fn expired(state: ExecutionState) -> Stand {
        Stand { expired: true, ..stand(state) }
    }

    #[test]
    fn an_instruction_is_done_only_when_every_store_is() {
        let state = |states: [ExecutionState; 2]| settled(I::Admitted, &states.map(stand));
        assert_eq!(state([Completed, Completed]), I::Done);
        assert_eq!(state([Completed, Partial]), I::Failed);
        assert_eq!(state([Completed, Leased]), I::Executing);
        assert_eq!(state([Pending, Pending]), I::Admitted);
    }

    #[test]
    fn what_was_stopped_or_never_begun_is_not_called_failed() {
        let settle = |before, stands: &[Stand]| settled(before, stands);
        assert_eq!(settle(I::Contested, &[stand(Completed), stand(Failed)]), I::Contested);
        assert_eq!(settle(I::Revoked, &[]), I::Revoked);
        assert_eq!(settle(I::Admitted, &[]), I::Done, "a revocation orders nothing and is done");
        assert_eq!(settle(I::Held, &[expired(Failed), expired(Failed)]), I::Expired);
        assert_eq!(settle(I::Executing, &[expired(Failed), expired(Refused)]), I::Expired);
        assert_eq!(settle(I::Admitted, &[expired(Failed), stand(Completed)]), I::Failed);
        assert_eq!(settle(I::Held, &[stand(Pending)]), I::Held);
        assert_eq!(settle(I::Held, &[stand(Failed), stand(Pending)]), I::Executing);
    }

    #[test]
    fn what_an_agent_put_off_untouched_is_admitted_as_before_and_what_it_began_goes_on() {
        assert_eq!(settled(I::Executing, &[stand(Pending)]), I::Admitted);
        assert_eq!(settled(I::Executing, &[Stand { begun: true, ..stand(Pending) }]), I::Executing);
    }

    #[test]
    fn an_end_comes_to_the_second_and_by_itself() {
        let at = |before, stands: &[Stand], now| state_at(before, stands, 100, now);
        let begun = Stand { begun: true, ..stand(Pending) };
        for (before, stands, after) in [
            (I::Waiting, vec![], I::Expired),
            (I::Admitted, vec![stand(Pending)], I::Expired),
            (I::Held, vec![stand(Pending), stand(Pending)], I::Expired),
            (I::Executing, vec![stand(Pending), stand(Completed)], I::Failed),
            (I::Executing, vec![stand(Pending), stand(Leased)], I::Executing),
            (I::Executing, vec![begun], I::Executing),
            (I::Revoked, vec![stand(Leased)], I::Revoked),
            (I::Done, vec![], I::Done),
        ] {
            assert_eq!(at(before, &stands, 99), before);
            assert_eq!(at(before, &stands, 100), after, "{before} {stands:?}");
        }
    }

    #[test]
    fn what_the_end_came_before_says_the_gateway_or_the_agent_that_refused() {
        let expired =
            |state, reported| Stand::of(state, false, Some("INSTRUCTION_EXPIRED"), reported).expired;
        assert!(expired(Failed, false) && expired(Refused, true));
        assert!(!expired(Failed, true), "an agent that had begun says failed");
        assert!(!Stand::of(Refused, false, Some("SIGNER_REVOKED"), true).expired);
        assert!(!Stand::of(Failed, false, None, false).expired);
    }
}
