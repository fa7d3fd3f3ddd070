//! An agent's report key was replaced: which reports are good, with which pin, in trail and bundle.

use super::log_fixtures::*;
use super::published::Fault;
use super::{BundleBuilder, Pins, Rule, verdict};
use crate::domain::AgentId;
use crate::domain::event::*;
use crate::token::{PrivateKey, ReportKeySuccession, fixtures as token};

const AGENT: &str = "agents/rtc-agent";
const LATER: i64 = token::NOW + 100_000;

fn agent() -> AgentId {
    AgentId::from_resource_name(AGENT).unwrap()
}

/// `report` is the registered key; this one follows.
fn next() -> PrivateKey {
    token::key("agent")
}

fn vouched_by(former: &PrivateKey) -> Event {
    let succession = ReportKeySuccession::sign(&agent(), TRAIL, token::NOW, former, &next()).unwrap();
    ReportKeyVouched { by: AGENT.into(), report_key: next().id().to_string(), succession }.into()
}

fn vouched() -> Event {
    vouched_by(&token::key("report"))
}

fn retired(in_force: &PrivateKey, from: usize) -> Event {
    ReportKeyRetired { by: AGENT.into(), in_force: in_force.id().to_string(), from: from as u64 }.into()
}

/// The story with these leaves about the agent from that place on, and the report by that key.
fn story(at: usize, events: &[Event], signer: &PrivateKey) -> Story {
    let mut story = trail_story();
    let Event::ExecutionReported(reported) = &mut story[at::REPORTED].1 else { panic!("no report") };
    let draft = instruction();
    let report = report(&draft, &sign(&draft, &["ann"]));
    reported.report = report.sign(signer).unwrap();
    story.splice(at..at, events.iter().map(|event| (AGENT.to_owned(), event.clone())));
    story
}

struct Logs {
    trail: Log,
    authority: Log,
}

impl Logs {
    fn new(story: &Story, in_authority: &[Event]) -> Self {
        let entropy = token::CountedEntropy::new();
        let mut leaves = sealed(&authority_story(), AUTHORITY_START);
        leaves.extend(in_authority.iter().map(|event| seal_at(AGENT, event, LATER, &entropy)));
        Self { trail: Log::trail(story), authority: Log::of(AUTHORITY, leaves, &authority_key()) }
    }

    /// As a gateway writes them: retirements stand in both.
    fn of(story: &Story) -> Self {
        let both = |event: &&Event| matches!(event, Event::ReportKeyRetired(_));
        let in_authority: Vec<Event> = story.iter().map(|(_, event)| event).filter(both).cloned().collect();
        Self::new(story, &in_authority)
    }

    /// The leaf that is bad and the rule it breaks.
    fn fault(&self, pins: &Pins) -> Option<(String, Rule)> {
        match verify(&self.trail.files(), &self.authority.files(), pins) {
            Ok(_) => None,
            Err(Fault::NotGood { which, rule: Some(rule), .. }) => Some((which, rule)),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// A bundle of all that has a place in one, but for leaves of that type.
    fn evidence(&self, pins: &Pins, without: &str) -> Result<verdict::Verdict, verdict::Fault> {
        let mut builder = BundleBuilder::new(&self.trail.checkpoint, &self.authority.checkpoint);
        for (index, leaf) in self.authority.leaves.iter().enumerate() {
            builder.authority_leaf(index as u64, leaf);
        }
        for (index, leaf) in self.trail.leaves.iter().enumerate() {
            let type_ = crate::trail::Leaf::parse(leaf).unwrap().type_().to_owned();
            if type_ != without {
                // What has no place in a bundle is refused.
                let _ = builder.trail_leaf(index as u64, leaf, self.trail.proof(index));
            }
        }
        verdict::verify(&builder.build().unwrap(), pins)
    }
}

fn new_pins() -> Pins {
    let mut pins = pins();
    pins.agents.insert(agent(), next().public().clone());
    pins
}

fn unpinned() -> Pins {
    Pins { agents: Default::default(), ..pins() }
}

fn report_leaf(more: usize) -> Option<(String, Rule)> {
    Some((format!("trail leaf {}", at::REPORTED + more), Rule::ReportSigned))
}

#[test]
fn reports_before_in_and_after_the_overlap_are_good_with_either_pin() {
    let (old, at, end) = (token::key("report"), at::REPORTED, trail_story().len());
    let after = [vouched(), retired(&next(), at + 1)];
    for (which, story) in [
        ("before, for ever", story(end, &[vouched(), retired(&next(), end + 1)], &old)),
        ("in the overlap, the old key", story(at, &[vouched()], &old)),
        ("in the overlap, the new key", story(at, &[vouched()], &next())),
        ("after it", story(at, &after, &next())),
    ] {
        let logs = Logs::of(&story);
        for (whose, pins) in [("old", pins()), ("new", new_pins()), ("no", unpinned())] {
            assert_eq!(logs.fault(&pins), None, "{which}, {whose} pin");
            let evidence = logs.evidence(&pins, "");
            assert!(evidence.is_ok(), "{which}, {whose} pin: {:?}", evidence.err());
        }
    }
}

#[test]
fn a_report_by_a_retired_key_is_not_good_even_if_the_bundle_leaves_the_retirement_out() {
    let at = at::REPORTED;
    let logs = Logs::of(&story(at, &[vouched(), retired(&next(), at + 1)], &token::key("report")));
    for pins in [pins(), new_pins(), unpinned()] {
        assert_eq!(logs.fault(&pins), report_leaf(2));
        for without in ["", "mandate.report_key.retired"] {
            let fault = logs.evidence(&pins, without).unwrap_err();
            assert_eq!(fault.which, verdict::Which::TrailLeaf(at as u64 + 2), "{fault}");
        }
    }
}

#[test]
fn a_key_that_nobody_vouched_for_signs_nothing() {
    let swapped = Logs::of(&story(at::REPORTED, &[], &next()));
    assert_eq!(swapped.fault(&unpinned()), report_leaf(0));
    assert!(swapped.evidence(&unpinned(), "").is_err());
    // A gateway that was taken over has keys of its own, and none of the agent's.
    let taken_over = Logs::of(&story(at::REPORTED, &[vouched_by(&token::key("ann"))], &next()));
    assert_eq!(taken_over.fault(&unpinned()), report_leaf(0));
    assert!(taken_over.evidence(&unpinned(), "").is_err());
    // Nor can it register one of its own for an agent of which any key is pinned.
    let mut pins = pins();
    pins.agents.insert(agent(), token::key("bob").public().clone());
    let logs = Logs::of(&story(at::REPORTED, &[vouched()], &next()));
    assert_eq!(logs.fault(&pins), Some((format!("trail leaf {}", at::AGENT), Rule::ReportSigned)));
    assert!(logs.evidence(&pins, "").is_err());
}

#[test]
fn a_retired_key_vouches_for_nobody() {
    let end = trail_story().len();
    let third = token::key("bob");
    let succession =
        ReportKeySuccession::sign(&agent(), TRAIL, token::NOW, &token::key("report"), &third).unwrap();
    let late = ReportKeyVouched { by: AGENT.into(), report_key: third.id().to_string(), succession }.into();
    let events = [vouched(), retired(&next(), end + 1), late];
    let logs = Logs::of(&story(end, &events, &token::key("report")));
    assert_eq!(logs.fault(&pins()), Some((format!("trail leaf {}", end + 2), Rule::ReportSigned)));
}

#[test]
fn a_retirement_stands_in_both_logs_at_its_place_and_keeps_a_key_of_the_agents() {
    let (old, end) = (token::key("report"), trail_story().len());
    let at = |index: usize| Some((format!("trail leaf {index}"), Rule::ReportSigned));
    let both = story(end, &[vouched(), retired(&next(), end + 1)], &old);
    assert_eq!(Logs::new(&both, &[]).fault(&pins()), at(end + 1), "the trail alone says so");
    let elsewhere = story(end, &[vouched(), retired(&next(), end + 5)], &old);
    assert_eq!(Logs::of(&elsewhere).fault(&pins()), at(end + 1), "it names another place");
    let strange = story(end, &[vouched(), retired(&token::key("bob"), end + 1)], &old);
    assert_eq!(Logs::of(&strange).fault(&pins()), at(end + 1), "no key would be left");
    // The authority log alone is enough: the trail may have lost the leaf.
    let lost = story(at::REPORTED, &[vouched()], &old);
    let logs = Logs::new(&lost, &[retired(&next(), at::REPORTED + 1)]);
    assert_eq!(logs.fault(&pins()), report_leaf(1));
}
