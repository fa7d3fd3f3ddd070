//! What the audit asks of messages and cases: `REQUEST_STAGES`.

use std::collections::BTreeSet;

use super::audit_facts::{CaseFact, MessageFact};
use super::rules::{Broken, Rule};
use crate::domain::event::RequestAnswered;
use crate::domain::{AppId, ControllerId, Right};

fn stages(holds: bool, what: &'static str) -> Result<(), Broken> {
    Rule::RequestStages.holds(holds, what)
}

/// One message so far.
#[derive(Debug, Default)]
pub(super) struct Message {
    received: bool,
    dismissed: bool,
}

impl Message {
    pub(super) fn take(&mut self, fact: MessageFact) -> Result<(), Broken> {
        match fact {
            MessageFact::Received => {
                stages(!std::mem::replace(&mut self.received, true), "the message is received again")
            }
            MessageFact::Read => self.was_received(),
            MessageFact::Assigned => {
                self.was_received()?;
                stages(!self.dismissed, "the message had been dismissed")
            }
            MessageFact::Dismissed => {
                self.was_received()?;
                stages(!std::mem::replace(&mut self.dismissed, true), "the message is dismissed again")
            }
            MessageFact::Shredded => Rule::Shredded
                .holds(self.received, "the message whose data is destroyed was not received before"),
        }
    }
}

impl Message {
    fn was_received(&self) -> Result<(), Broken> {
        stages(self.received, "the message was not received before")
    }
}

/// One case so far: none before it is received.
#[derive(Debug, Default)]
pub(super) struct Case(Option<Received>);

#[derive(Debug)]
struct Received {
    controller: ControllerId,
    app: AppId,
    rights: BTreeSet<Right>,
    guardian: bool,
    /// It left for its controller.
    forwarded: bool,
    acknowledged: bool,
    misrouted: bool,
}

impl Case {
    pub(super) fn take(&mut self, fact: CaseFact) -> Result<(), Broken> {
        match fact {
            CaseFact::Received(received) => {
                // A case that was misrouted may be brought to the right controller under its old name.
                let open = self.0.as_ref().is_some_and(|case| !case.misrouted);
                stages(!open, "the case is received again")?;
                self.0 = Some(Received {
                    controller: received.controller,
                    app: received.app,
                    rights: received.rights.into_iter().collect(),
                    guardian: received.guardian,
                    forwarded: false,
                    acknowledged: false,
                    misrouted: false,
                });
                Ok(())
            }
            CaseFact::Forwarded(controller) => {
                let case = self.own(&controller)?;
                stages(!case.acknowledged, "the case had been acknowledged")?;
                stages(!std::mem::replace(&mut case.forwarded, true), "the case is forwarded again")
            }
            // Again, if the controller likes: that changes nothing.
            CaseFact::Acknowledged(controller) => {
                self.own(&controller)?.acknowledged = true;
                Ok(())
            }
            CaseFact::Shredded => Rule::Shredded
                .holds(self.0.is_some(), "the case whose data is destroyed was not received before"),
            CaseFact::Misrouted(controller) => {
                self.own(&controller)?.misrouted = true;
                Ok(())
            }
            CaseFact::Answered(answered) => {
                let case = self.own(&answered.controller)?;
                check_answer(case, &answered)
            }
            // A controller looks at its own cases only.
            CaseFact::Read(reader) => stages(
                self.0.as_ref().is_some_and(|case| case.controller == reader),
                "the case read is not the reader's",
            ),
            CaseFact::Instructed { controller, app, enough_for_minor } => {
                let case = self.0.as_ref().filter(|case| case.controller == controller && case.app == app);
                let case = case.ok_or_else(|| {
                    Rule::RequestStages
                        .broken("the instruction answers a case its controller does not have for this app")
                })?;
                stages(!case.misrouted, "the case was rejected as misrouted")?;
                Rule::AdmittedSigned.holds(
                    enough_for_minor || !case.guardian,
                    "the key set asks for more signers where the case is a minor's",
                )
            }
        }
    }

    /// The case, which must have been received and be this controller's.
    fn own(&mut self, controller: &ControllerId) -> Result<&mut Received, Broken> {
        let case = self.0.as_mut();
        let case = case.ok_or_else(|| Rule::RequestStages.broken("the case was not received before"))?;
        stages(*controller == case.controller, "the case is another controller's")?;
        stages(!case.misrouted, "the case was rejected as misrouted")?;
        Ok(case)
    }

    pub(super) fn count(&self) -> u64 {
        u64::from(self.0.is_some())
    }
}

fn check_answer(case: &Received, answered: &RequestAnswered) -> Result<(), Broken> {
    let asked = answered.outcomes.iter().all(|outcome| case.rights.contains(&outcome.right));
    stages(asked, "a right is answered that the case does not ask for")?;
    let reasoned = answered.outcomes.iter().all(|outcome| outcome.refused == outcome.ground.is_some());
    stages(reasoned, "a right is refused without a ground, or granted with one")
}
