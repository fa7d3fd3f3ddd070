//! Which of an agent's report keys count, leaf by leaf.
//!
//! ```text
//! trail      registered: K1   vouched: K1 → K2   retired, in force: K2
//! counts     K1               K1, K2             K2
//! ```
//!
//! That a key follows on another stands in the trail alone, where it can be proven. That one counts no more also
//! stands in the authority log, which is read whole: a retirement that was left out would not be missed.

use std::collections::BTreeMap;

use super::rules::{Broken, Rule};
use crate::domain::AgentId;
use crate::domain::event::ReportKeyRetired;
use crate::token::KeyId;

/// The retirements, as the authority log tells them, in order.
#[derive(Debug, Default)]
pub(super) struct ReportKeyEnds {
    of: BTreeMap<AgentId, Vec<End>>,
}

#[derive(Debug)]
struct End {
    /// Index of the trail's leaf from which on it holds.
    from: u64,
    in_force: KeyId,
    event: ReportKeyRetired,
}

impl ReportKeyEnds {
    pub(super) fn take(&mut self, subject: &str, event: &ReportKeyRetired) -> Result<(), Broken> {
        let agent =
            AgentId::from_resource_name(subject).map_err(|error| Rule::LeafForm.broken(error.to_string()))?;
        let in_force = event.in_force.parse();
        let in_force = in_force.map_err(|_| Rule::LeafForm.broken("it names no thumbprint"))?;
        let end = End { from: event.from, in_force, event: event.clone() };
        self.of.entry(agent).or_default().push(end);
        Ok(())
    }

    /// Whether leaf `at` of the trail may bear a signature of that key, which is the agent's since leaf `since`.
    pub(super) fn counts(&self, agent: &AgentId, key: &KeyId, since: u64, at: u64) -> bool {
        // Where the trail lost leaves and went on, a later one may name a lower index: the last word holds.
        let ends = self.of.get(agent).map(Vec::as_slice).unwrap_or_default();
        let last = ends.iter().rev().find(|end| end.from <= at);
        last.is_none_or(|end| end.in_force == *key || since > end.from)
    }

    /// Whether the log has this very event about the agent.
    pub(super) fn tell(&self, agent: &AgentId, event: &ReportKeyRetired) -> bool {
        self.of.get(agent).is_some_and(|ends| ends.iter().any(|end| end.event == *event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::fixtures::key;

    #[test]
    fn a_key_counts_until_it_is_retired_and_what_follows_counts_on() {
        let (first, second, third) = (key("report").id(), key("agent").id(), key("ann").id());
        let retired =
            |key: KeyId, from| ReportKeyRetired { by: "agents/a".into(), in_force: key.to_string(), from };
        let agent: AgentId = "a".parse().unwrap();
        let mut ends = ReportKeyEnds::default();
        assert!(ends.counts(&agent, &first, 5, 1000), "nothing is retired");
        ends.take("agents/a", &retired(second, 20)).unwrap();
        assert!(ends.counts(&agent, &first, 5, 19));
        assert!(!ends.counts(&agent, &first, 5, 20) && !ends.counts(&agent, &first, 5, 21));
        assert!(ends.counts(&agent, &second, 10, 21));
        // One that was vouched for and lost goes with it; one vouched for later does not.
        assert!(!ends.counts(&agent, &third, 9, 21));
        assert!(ends.counts(&agent, &third, 30, 31) && ends.counts(&agent, &second, 10, 31));
        ends.take("agents/a", &retired(third, 40)).unwrap();
        assert!(!ends.counts(&agent, &second, 10, 41) && ends.counts(&agent, &third, 30, 41));
        assert!(ends.counts(&"b".parse().unwrap(), &second, 10, 41), "it is another agent's");

        assert!(ends.tell(&agent, &retired(second, 20)) && !ends.tell(&agent, &retired(second, 21)));
        assert!(ends.take("controllers/a", &retired(second, 50)).is_err());
        assert!(
            ends.take("agents/a", &ReportKeyRetired { in_force: "x".into(), ..retired(second, 50) }).is_err()
        );
    }
}
