//! `kill -9` of gateways, agent and witnesses at random moments, under load: nothing answered OK is missing,
//! nothing ran twice, the trail verifies and the doctor finds nothing after each.

use std::collections::BTreeMap;
use std::time::Duration;

use rstest::rstest;

use crate::harness::{Process, World, replica_name, within};
use crate::load::{self, CLOSING, Load, On, TimeBox, Told, Ways};
use crate::witness;

/// Kills in `make test`; `make faults` goes on for as long as it is given.
const KILLS: usize = 10;
/// All of them must cosign what is carried out.
const WITNESSES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Gateway,
    /// The second gateway, where there is one; else the first.
    Second,
    Agent,
    Witness(usize),
}

/// Each once; the gateways mostly.
const VICTIMS: [Victim; KILLS / 2] =
    [Victim::Gateway, Victim::Second, Victim::Agent, Victim::Witness(1), Victim::Witness(2)];

struct Scene {
    world: World,
    second: Option<Process>,
    /// By number, from 1.
    witnesses: BTreeMap<usize, Process>,
    ways: Ways,
    told: Vec<Told>,
}

impl Scene {
    async fn new(on: On) -> Self {
        let mut witnesses = BTreeMap::new();
        let adjust = |dir: &std::path::Path| {
            let started = witness::set_up(dir, WITNESSES, WITNESSES as i64);
            witnesses = (1..).zip(started.into_iter().flatten()).collect();
        };
        let (mut world, gateways) = match on {
            On::Sqlite => (World::without_agent(adjust).await, 1),
            // Two gateways on one database.
            On::Postgres => (World::on_postgres_with(2, adjust).await, 2),
        };
        let second = (gateways == 2).then(|| Process::replica(world.path(), &replica_name(1)));
        world.agent = Some(Process::agent(world.path()));
        let profiles: Vec<_> = (0..gateways).map(|n| world.profile_at("xingyu", n)).collect();
        let ways = load::ways(&profiles).await;
        Self { world, second, witnesses, ways, told: Vec::new() }
    }

    /// Kills one process, has the doctor look at what it left behind, and starts it again.
    fn kill(&mut self, victim: Victim) {
        let dir = self.world.path().to_owned();
        match victim {
            Victim::Agent => {
                self.world.agent.take().expect("it runs").kill();
                self.world.agent = Some(Process::agent(&dir));
            }
            Victim::Second if self.second.is_some() => {
                self.second.take().expect("it runs").kill();
                self.world.examine();
                self.second = Some(Process::replica(&dir, &replica_name(1)));
            }
            Victim::Gateway | Victim::Second => {
                self.world.gateway.take().expect("it runs").kill();
                // With no gateway at the keyring, that each row has its data key.
                assert!(self.world.examine().contains("rows with data keys"));
                self.world.gateway = Some(Process::serve(&dir));
            }
            Victim::Witness(n) => {
                self.witnesses.remove(&n).expect("it runs").kill();
                self.witnesses.insert(n, Process::witness(&witness::folder(&dir, n)));
            }
        }
    }

    /// Load, a kill in the middle of it, and a look at everything that was told so far.
    async fn round(&mut self, victim: Victim) {
        let load = Load::start(&self.ways);
        tokio::time::sleep(Duration::from_millis(50 + load::below(500))).await;
        tokio::task::block_in_place(|| self.kill(victim));
        self.told.extend(load.stop().await);
        self.cosigned().await;
        load::check(&self.world, &self.told).await;
    }

    /// The witnesses cosign on: all that was answered stands under a head that enough of them signed, and
    /// none of them forgot.
    async fn cosigned(&self) {
        let last = self.told.iter().map(|told| told.receipt.index).max().unwrap_or(0);
        within(60, "the witnesses to cosign what was answered", async {
            while witness::shown(&self.world).await.size() <= last {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        for n in 1..=WITNESSES {
            witness::check_memory(&self.world, n).await;
        }
    }

    /// What was admitted is carried out after all.
    async fn end(&self) {
        let newest = self.told.iter().rev().flat_map(|told| told.executions.clone());
        let executions: Vec<_> = newest.take(12).collect();
        load::completed(&self.ways[0], &executions).await;
        // The audit rule RAN_ONCE is among what is verified.
        load::check(&self.world, &self.told).await;
        for n in 1..=WITNESSES {
            let log = std::fs::read_to_string(witness::folder(self.world.path(), n).join("witness.log"));
            let log = log.expect("its log");
            assert!(!log.contains("CHECKPOINT_FORKED"), "{log}");
        }
    }
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_and_nothing_runs_twice(#[case] on: On) {
    let mut scene = Scene::new(on).await;
    // Each process at least twice, in any order.
    let mut victims = VICTIMS.repeat(2);
    assert_eq!(victims.len(), KILLS);
    victims.sort_by_cached_key(|_| load::below(1 << 32));
    for victim in victims {
        scene.round(victim).await;
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
    let mut time = TimeBox::of(1);
    let (mut kills, mut answers) = (BTreeMap::<Victim, usize>::new(), 0);
    while time.has_time(CLOSING) {
        let mut scene = Scene::new(on).await;
        for n in 0..KILLS_IN_A_WORLD {
            if n > 0 && !time.has_time(CLOSING) {
                break;
            }
            let victim = VICTIMS[load::below(VICTIMS.len() as u64) as usize];
            scene.round(victim).await;
            *kills.entry(victim).or_default() += 1;
        }
        scene.end().await;
        answers += scene.told.len();
    }
    let of = |which: &dyn Fn(&Victim) -> bool| kills.iter().filter(|(v, _)| which(v)).map(|(_, n)| n).sum();
    load::report(
        &format!("random kills on {on:?}"),
        &[
            ("processes killed and started again", kills.values().sum()),
            ("  of them gateways", of(&|victim| matches!(victim, Victim::Gateway | Victim::Second))),
            ("  of them agents", of(&|victim| *victim == Victim::Agent)),
            ("  of them witnesses", of(&|victim| matches!(victim, Victim::Witness(_)))),
            ("answers, each in the trail once and proven", answers),
        ],
    );
}
