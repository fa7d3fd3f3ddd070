//! The states of an instruction and of its executions, store by store.

use super::vocabulary::vocabulary;

vocabulary! {
    /// How far an instruction has come.
    InstructionState, "instruction state" {
        Admitted = "admitted",
        Executing = "executing",
        /// Every store is done or lawfully retained (I9).
        Done = "done",
        Failed = "failed",
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

/// The instruction's state once its executions stand as given.
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
}
