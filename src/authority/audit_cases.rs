//! What the audit asks of messages and cases: `REQUEST_STAGES`.

use std::collections::{BTreeMap, BTreeSet};

use super::registered::Registered;
use super::rules::{Broken, Rule};
use crate::domain::event::Event;
use crate::domain::{AppId, ControllerId, RequestId, Right};

#[derive(Debug)]
struct Case {
    controller: ControllerId,
    app: AppId,
    rights: BTreeSet<Right>,
    misrouted: bool,
}

/// The cases seen so far.
#[derive(Debug, Default)]
pub(super) struct Cases {
    cases: BTreeMap<RequestId, Case>,
    /// By resource name.
    messages: BTreeSet<String>,
}

fn stages(holds: bool, what: &'static str) -> Result<(), Broken> {
    Rule::RequestStages.holds(holds, what)
}

impl Cases {
    pub(super) fn message(&mut self, subject: &str, event: &Event) -> Result<(), Broken> {
        match event {
            Event::MessageReceived(_) => {
                stages(self.messages.insert(subject.to_owned()), "the message is received again")
            }
            _ => stages(self.messages.contains(subject), "the message was not received before"),
        }
    }

    pub(super) fn take(
        &mut self,
        subject: &str,
        event: &Event,
        registered: &Registered,
    ) -> Result<(), Broken> {
        if let Event::RequestRead(read) = event {
            return self.read(subject, &read.by);
        }
        let id = RequestId::from_resource_name(subject)
            .map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
        if let Event::RequestReceived(received) = event {
            registered.needs_app(&received.app, &received.controller)?;
            // A case that was misrouted may be brought to the right controller under its old name.
            stages(self.cases.get(&id).is_none_or(|case| case.misrouted), "the case is received again")?;
            self.cases.insert(
                id,
                Case {
                    controller: received.controller.clone(),
                    app: received.app.clone(),
                    rights: received.rights.iter().copied().collect(),
                    misrouted: false,
                },
            );
            return Ok(());
        }
        let case = self.cases.get_mut(&id);
        let case = case.ok_or_else(|| Rule::RequestStages.broken("the case was not received before"))?;
        let controller = match event {
            Event::RequestForwarded(e) => &e.controller,
            Event::RequestAcknowledged(e) => &e.controller,
            Event::RequestMisrouted(e) => &e.controller,
            Event::RequestAnswered(e) => &e.controller,
            _ => return Ok(()),
        };
        stages(*controller == case.controller, "the case is another controller's")?;
        stages(!case.misrouted, "the case was rejected as misrouted")?;
        match event {
            Event::RequestMisrouted(_) => case.misrouted = true,
            Event::RequestAnswered(answered) => {
                let asked = answered.outcomes.iter().all(|outcome| case.rights.contains(&outcome.right));
                stages(asked, "a right is answered that the case does not ask for")?;
                let reasoned = answered.outcomes.iter().all(|o| o.refused == o.ground.is_some());
                stages(reasoned, "a right is refused without a ground, or granted with one")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A controller looks at its own cases only: at one, or at a page of them.
    fn read(&self, subject: &str, by: &str) -> Result<(), Broken> {
        let Ok(reader) = ControllerId::from_resource_name(by) else { return Ok(()) };
        match RequestId::from_resource_name(subject) {
            Ok(id) => {
                let case = self.cases.get(&id);
                stages(
                    case.is_some_and(|case| case.controller == reader),
                    "the case read is not the reader's",
                )
            }
            Err(_) => stages(subject == by, "the cases read are not the reader's"),
        }
    }

    /// An instruction names a case: of its own controller and app.
    pub(super) fn instructed(
        &self,
        request: &RequestId,
        controller: &ControllerId,
        app: &AppId,
    ) -> Result<(), Broken> {
        let case = self.cases.get(request).filter(|case| case.controller == *controller && case.app == *app);
        let case = case.ok_or_else(|| {
            Rule::RequestStages
                .broken("the instruction answers a case its controller does not have for this app")
        })?;
        stages(!case.misrouted, "the case was rejected as misrouted")
    }

    pub(super) fn count(&self) -> u64 {
        self.cases.len() as u64
    }
}
