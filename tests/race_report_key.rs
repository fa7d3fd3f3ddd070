//! An agent's report key is retired while reports by it come in: none is taken after the leaf that retires it, or the
//! trail would not verify.

use std::time::Duration;

use mandate::agent::gateway::{Gateway, LeaseHold};
use mandate::agent::orders::Leased;
use mandate::agent::private_key;
use mandate::authority::Pins;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Act, AgentId, Clock, Reason};
use mandate::token::report::{AuthorityHead, LedgerHead};
use mandate::token::{Digest, KeyKind, PrivateKey, Report, ReportKeySuccession, ReportOutcome};
use rstest::rstest;
use tokio::task::JoinSet;

use crate::agent_calls::{lease, line_to};
use crate::agent_files::config;
use crate::race::{Arena, On, is};
use crate::witness::preview;

/// So many at least, and on until reports came in on either side of a retirement.
const ROTATIONS: usize = 5;
const MOST: usize = 30;
const EACH: usize = 8;

/// That the agent refused the order.
fn refused(agent: &AgentId, origin: &str, leased: &Leased, key: &PrivateKey) -> String {
    let report = Report {
        agent: agent.clone(),
        aud: origin.to_owned(),
        jti: uuid_v7(&SystemClock, &SystemEntropy),
        iat: SystemClock.now_seconds(),
        execution: leased.execution,
        instruction: leased.claimed_instruction().expect("named"),
        instruction_digest: leased.digest,
        sub_digests: Vec::new(),
        act: Act::Preview,
        store: leased.store.clone(),
        attempt: leased.attempt,
        outcome: ReportOutcome::Refused,
        reason: Some(Reason::StoreUnknown),
        map_version: "1".into(),
        authority: AuthorityHead { size: 1, root: Digest::of("root") },
        collections: Vec::new(),
        preview: None,
        export: None,
        ledger: LedgerHead { sequence: 1, head: Digest::of("ledger") },
    };
    report.sign(key).expect("signs")
}

/// Orders that were leased, each with the line that hands in its report.
async fn leased(arena: &Arena, lines: &[Gateway; 2], round: usize) -> Vec<(Gateway, LeaseHold, Leased)> {
    let mut orders = Vec::new();
    for n in 0..EACH {
        preview(&arena.side(n), &format!("u-{round}-{n}")).await;
        let line = &lines[n % 2];
        let (hold, leased) = lease(line).await;
        orders.push((line.clone(), hold, leased));
    }
    orders
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn of_a_retirement_and_reports_at_once_none_by_the_retired_key_comes_after(#[case] on: On) {
    let arena = Arena::new(on).await;
    let config = config(arena.world.path());
    let pins = std::fs::read_to_string(&config.pins).expect("the pins");
    let origin = Pins::parse(&pins).expect("pins").trail.origin;
    let lines = [line_to(&arena.world, 0), line_to(&arena.world, arena.other())];
    let mut key = private_key(&config.report_key).expect("a key");
    let (mut before, mut behind) = (0, 0);
    let mut rounds = 0;
    while rounds < ROTATIONS || rounds < MOST && (before == 0 || behind == 0) {
        let round = rounds;
        rounds += 1;
        let orders = leased(&arena, &lines, round).await;
        let next = PrivateKey::generate(KeyKind::Ed25519, &SystemEntropy).expect("a key");
        let word = ReportKeySuccession::sign(&config.agent, &origin, 0, &key, &next).expect("signs");
        lines[round % 2].vouch_report_key(word).await.expect("the key in force vouches");
        let mut calls = JoinSet::new();
        for (n, (line, hold, leased)) in orders.into_iter().enumerate() {
            let (agent, origin) = (config.agent.clone(), origin.clone());
            let by_old = refused(&agent, &origin, &leased, &key);
            // Now closer together and now further apart: the retirement falls among them.
            let after = Duration::from_millis((round % 8 * 4 * n) as u64);
            calls.spawn(async move {
                tokio::time::sleep(after).await;
                let taken = line.report(&hold, by_old, Vec::new()).await;
                (line, hold, leased, taken.map(drop))
            });
        }
        let retired = lines[(round + 1) % 2].retire_report_key(next.id().to_string()).await;
        retired.expect("it is the only one from here on");
        while let Some(ended) = calls.join_next().await {
            let (line, hold, leased, taken) = ended.expect("the call did not panic");
            match taken {
                Ok(()) => before += 1,
                Err(refusal) => {
                    assert_eq!(refusal.reason, Reason::ReportInvalid);
                    let by_new = refused(&config.agent, &origin, &leased, &next);
                    line.report(&hold, by_new, Vec::new()).await.expect("the key in force signed it");
                    behind += 1;
                }
            }
        }
        key = next;
    }
    assert_eq!(before + behind, rounds * EACH);
    assert!(before > 0 && behind > 0, "there was no race: {before} before, {behind} behind");
    let trail = arena.verified_trail().await;
    let count = |kind: &str| trail.iter().filter(|leaf| is(leaf, kind)).count();
    assert_eq!(count("mandate.execution.reported"), rounds * EACH);
    assert_eq!(count("mandate.report_key.retired"), rounds);
}
