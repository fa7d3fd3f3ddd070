//! `kill -9` of gateways and agent at random moments, under load: nothing answered OK is missing,
//! nothing ran twice, and the trail verifies after each.

use std::time::Duration;

use rstest::rstest;

use crate::harness::{Process, World, replica_name};
use crate::load::{self, Load, Told, Ways};

/// Kills in `make test`; `make faults` goes on for as long as it is given.
const KILLS: usize = 10;

#[derive(Clone, Copy, Debug)]
enum On {
    Sqlite,
    /// Two gateways on one database.
    Postgres,
}

struct Scene {
    world: World,
    second: Option<Process>,
    ways: Ways,
    told: Vec<Told>,
}

impl Scene {
    async fn new(on: On) -> Self {
        let (mut world, gateways) = match on {
            On::Sqlite => (World::without_agent(|_| {}).await, 1),
            On::Postgres => (World::on_postgres(2).await, 2),
        };
        let second = (gateways == 2).then(|| Process::replica(world.path(), &replica_name(1)));
        world.agent = Some(Process::agent(world.path()));
        let profiles: Vec<_> = (0..gateways).map(|n| world.profile_at("xingyu", n)).collect();
        let ways = load::ways(&profiles).await;
        Self { world, second, ways, told: Vec::new() }
    }

    /// Kills one process and starts it again.
    fn kill(&mut self, victim: u64) {
        let dir = self.world.path().to_owned();
        match victim {
            0 => {
                self.world.agent.take().expect("it runs").kill();
                self.world.agent = Some(Process::agent(&dir));
            }
            1 if self.second.is_some() => {
                self.second.take().expect("it runs").kill();
                self.second = Some(Process::replica(&dir, &replica_name(1)));
            }
            _ => {
                self.world.gateway.take().expect("it runs").kill();
                self.world.gateway = Some(Process::serve(&dir));
            }
        }
    }

    /// Load, a kill in the middle of it, and a look at everything that was told so far.
    async fn round(&mut self, victim: u64) {
        let load = Load::start(&self.ways);
        tokio::time::sleep(Duration::from_millis(50 + load::below(500))).await;
        tokio::task::block_in_place(|| self.kill(victim));
        self.told.extend(load.stop().await);
        load::check(&self.world, &self.told).await;
    }

    /// What was admitted is carried out after all.
    async fn end(&self) {
        let newest = self.told.iter().rev().flat_map(|told| told.executions.clone());
        let executions: Vec<_> = newest.take(12).collect();
        load::completed(&self.ways[0], &executions).await;
        // The audit rule RAN_ONCE is among what is verified.
        load::check(&self.world, &self.told).await;
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_and_nothing_runs_twice(#[case] on: On) {
    let mut scene = Scene::new(on).await;
    for kill in 0..KILLS as u64 {
        // Each process at least twice, the gateways mostly.
        scene.round(if kill % 5 == 0 { 0 } else { kill }).await;
    }
    assert!(scene.told.len() >= KILLS, "too few were answered to say anything: {}", scene.told.len());
    scene.end().await;
}

/// For `make faults`.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as FAULT_SECONDS says: make faults"]
async fn for_make_faults_random_kills(#[case] on: On) {
    // A world of its own now and then: what is verified after each kill grows.
    const KILLS_IN_A_WORLD: usize = 40;
    let end = tokio::time::Instant::now() + load::time_to_spend();
    let (mut kills, mut answers) = (0, 0);
    while tokio::time::Instant::now() < end {
        let mut scene = Scene::new(on).await;
        for _ in 0..KILLS_IN_A_WORLD {
            if tokio::time::Instant::now() >= end {
                break;
            }
            scene.round(load::below(4)).await;
            kills += 1;
        }
        scene.end().await;
        answers += scene.told.len();
    }
    println!("{on:?}: {kills} random kills; {answers} answers, all in the trail, all proven");
}
