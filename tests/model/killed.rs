//! The same where the gateways are processes that get `kill -9` while they answer: on a file, and two of them on one
//! PostgreSQL, of which either may be asked. What was not answered is asked again with the same bytes, and the answer
//! is the one that the rules gave once. Time is real here: nothing is held and nothing ends within a history, which is
//! for the other property.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rstest::rstest;

use super::agent::Agent;
use super::history::{History, Tally};
use super::office::Office;
use super::ops::{Sent, a_sent};
use super::outside::{Kills, LEASE, Outside};
use super::{add, cases, print, runtime};
use crate::load::{self, CLOSING, On, TimeBox};

/// Calls in a history.
const CALLS: std::ops::Range<usize> = 30..45;

/// What histories came to.
#[derive(Default)]
struct Came {
    histories: usize,
    kills: Kills,
    tally: Tally,
}

impl Came {
    fn add(&mut self, kills: Kills, tally: Tally) {
        self.histories += 1;
        self.kills += kills;
        add(&mut self.tally, tally);
    }
}

impl std::ops::AddAssign for Kills {
    fn add_assign(&mut self, other: Self) {
        let Self { all, unanswered, elsewhere } = other;
        self.all += all;
        self.unanswered += unanswered;
        self.elsewhere += elsewhere;
    }
}

async fn run(on: On, calls: &[Sent]) -> (Kills, Tally) {
    let door = Outside::open(on).await;
    let (office, agent) = (Office::open(door.world.path()), Agent::open(door.world.path()));
    let mut history = History::new(office, agent, door, LEASE).await;
    for sent in calls {
        (history.door.to, history.door.cut) = (sent.to, sent.cut);
        let kills = history.door.kills.all;
        history.call(&sent.call).await;
        // Of an order that there is not yet nothing was asked.
        history.door.cut = None;
        if history.door.kills.all > kills {
            history.check(sent).await;
        }
    }
    history.check(&"all").await;
    history.door.world.export_and_verify().await;
    (history.door.kills, history.tally)
}

/// So many histories more.
fn histories(on: On, cases: u32, came: &mut Came) {
    // The same calls meet another moment when they are repeated: a history that fails is printed as it was.
    let config = Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let came = RefCell::new(came);
    let result = TestRunner::new(config).run(&prop::collection::vec(a_sent(), CALLS), |calls| {
        let (kills, tally) = runtime().block_on(run(on, &calls));
        came.borrow_mut().add(kills, tally);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
fn a_gateway_that_dies_while_it_answers_changes_nothing_of_what_is_good(#[case] on: On) {
    let mut came = Came::default();
    histories(on, cases(2), &mut came);
    while came.kills.unanswered == 0 && came.histories < 8 {
        histories(on, 1, &mut came);
    }
    println!("{:?}", came.kills);
    print(&came.tally);
    assert!(came.kills.unanswered > 0, "no call was cut off: {:?}", came.kills);
}

/// For `make faults`.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[ignore = "takes as long as FAULT_SECONDS says: make faults"]
fn for_make_faults_random_histories(#[case] on: On) {
    let (mut time, mut came) = (TimeBox::of(1), Came::default());
    while time.has_time(CLOSING) {
        histories(on, 1, &mut came);
    }
    let Came { histories, kills, tally } = came;
    load::report(
        &format!("random histories on {on:?}, each call answered as the plain rules say"),
        &[
            ("histories", histories),
            ("calls that who may do what decides", tally.values().sum()),
            ("gateways killed while they answered", kills.all),
            ("  before the answer was there: asked again", kills.unanswered),
            ("  of these at the other gateway", kills.elsewhere),
        ],
    );
}
