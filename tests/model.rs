//! When is an order good? Random histories (rotate, instruct, approve, withdraw, revoke, contest, expire, crash), of
//! erasures, of their revocations and of contracts' ends that were signed ahead, run against the product on one side and
//! against plain rules (`rules`) on the other. Each call is answered as the rules answer it: admitted, waiting and who is
//! missing, or refused and why. After it an agent gets a warrant if and only if the rules say so.
//!
//! Twice: here the gateway's use cases run over its database at a time of the test's own, so that orders are held and
//! end, and leases run out. In `killed` the gateways are processes, reached over the wire, and die while they answer.
//!
//! `MANDATE_MODEL_CASES` says how many histories. A failing one is printed, here the smallest that still fails.

use std::cell::RefCell;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::agent_files::copy;
use crate::harness::{Process, World};

mod agent;
mod door;
mod history;
mod inside;
mod killed;
mod office;
mod ops;
mod outside;
mod rules;

use agent::Agent;
use history::{AGAIN, History, Tally};
use inside::Inside;
use office::Office;
use ops::{Op, an_op};

/// Histories in `make test`.
const CASES: u32 = 8;
/// A lease of the sample's, seconds.
const LEASE: i64 = 60;

impl History<Inside> {
    async fn step(&mut self, op: &Op) {
        match op {
            Op::Call(call) => self.call(call).await,
            Op::Wait(seconds) => self.door.time.advance(*seconds),
            Op::Expire { slot } => {
                if let Some(slot) = self.slot(*slot) {
                    let left = self.rules.orders[slot].exp - self.now();
                    self.door.time.advance(left.max(0));
                }
            }
            Op::Sweep => {
                self.door.app().end_unleased_orders().await.expect("it sweeps");
                self.rules.swept(self.now());
            }
            Op::Crash => self.door.crash().await,
        }
    }
}

async fn run(sample: &Path, ops: &[Op]) -> Tally {
    let dir = tempfile::tempdir().expect("a folder");
    copy(sample, dir.path());
    let (office, agent) = (Office::open(dir.path()), Agent::open(dir.path()));
    let door = Inside::open(dir.path(), &office, &agent).await;
    let mut history = History::new(office, agent, door, LEASE).await;
    for op in ops {
        history.step(op).await;
        history.check(op).await;
    }
    history.door.close().await;
    // What it left behind is a good trail, and the tables are what its leaves say.
    let gateway = Process::serve(dir.path());
    World { dir, gateway: Some(gateway), agent: None }.export_and_verify().await;
    history.tally
}

/// How often each was answered what, for who wants to see it.
fn print(tally: &Tally) {
    for ((asked, answer), count) in tally {
        println!("{count:>6}  {asked}: {answer}");
    }
}

fn add(to: &mut Tally, more: Tally) {
    for (answered, count) in more {
        *to.entry(answered).or_default() += count;
    }
}

/// How many histories: so many, or as `MANDATE_MODEL_CASES` says.
fn cases(usually: u32) -> u32 {
    std::env::var("MANDATE_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usually)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[test]
fn an_agent_gets_a_warrant_if_and_only_if_the_plain_rules_say_so() {
    let sample = runtime().block_on(async {
        let mut world = World::without_agent(|_| {}).await;
        world.gateway.take().expect("it runs").stop();
        world
    });
    let cases = cases(CASES);
    let config = Config {
        cases,
        max_shrink_iters: 200,
        max_shrink_time: 120_000,
        failure_persistence: None,
        ..Config::default()
    };
    let tally = RefCell::new(Tally::new());
    let result = TestRunner::new(config).run(&prop::collection::vec(an_op(), 40..70), |ops| {
        add(&mut tally.borrow_mut(), runtime().block_on(run(sample.path(), &ops)));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let tally = tally.into_inner();
    print(&tally);
    assert!(tally.keys().any(|(asked, _)| *asked == AGAIN) || cases < CASES, "nobody asked again");
    let must =
        [("submit", "admitted"), ("submit", "waiting"), ("submit", "SIGNER_ROLE"), ("agent", "warrant")];
    for (asked, answer) in must {
        let seen = tally.contains_key(&(asked, answer.to_owned()));
        assert!(seen || cases < CASES, "no {asked} came to {answer}");
    }
}
