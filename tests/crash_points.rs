//! A process ends at each point of `mandate::fault`, under load; then it is started again, and nothing
//! that was answered is missing, nothing happened twice, and the trail verifies.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;

use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::fault::POINTS;
use mandate::grpc::v1;
use rstest::rstest;

use crate::harness::{Process, World, configure};
use crate::load::{self, CLOSING, Load, On, TimeBox, Told, Ways};
use crate::report_keys;
use crate::witness;

/// Points that the gateway and its witness pass; the agent passes the others, and those of its keyring.
const OF_GATEWAY: [&str; 11] = [
    "commit.before",
    "commit.after",
    "commit.published",
    "cosignature.before",
    "cosignature.after",
    "upload.synced",
    "upload.named",
    "keyring.made",
    "keyring.durable",
    "keyring.overwritten",
    "shred.destroyed",
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Gateway,
    Agent,
    Witness,
}

struct Scene {
    world: World,
    witness: Option<Process>,
    ways: Ways,
    told: Vec<Told>,
    /// Executions that must come to their end.
    ordered: Vec<String>,
    /// Those of them that erase somebody who was there.
    erased: Vec<String>,
}

impl Scene {
    /// One gateway, one witness that must cosign, no agent yet.
    async fn new(on: On) -> Self {
        let mut witness = None;
        let adjust = |dir: &std::path::Path| {
            configure(dir, |gateway| {
                let limits = gateway["limits"].as_table_mut().expect("a table");
                // What a dead agent held is free again soon.
                limits.insert("lease_seconds".into(), 8.into());
                // What a cut upload left goes soon, and so does what is sealed of a refusal.
                gateway.insert("housekeeping_seconds".into(), 1.into());
                gateway.insert(
                    "retention".into(),
                    toml::Table::from_iter([("refusal".into(), 0.into())]).into(),
                );
            });
            witness = witness::set_up(dir, 1, 1).pop().flatten();
        };
        let world = on.world(adjust).await;
        let ways = load::ways(&[world.profile_at("xingyu", 0)]).await;
        Self { world, witness, ways, told: Vec::new(), ordered: Vec::new(), erased: Vec::new() }
    }

    fn xingyu(&self) -> &Enterprise {
        &self.ways[0]
    }

    fn armed(&self, subcommand: &str, name: &str, point: &str, times: u64) -> Process {
        let dir = match subcommand {
            "witness" => self.witness_folder(),
            _ => self.world.path().to_owned(),
        };
        Process::with(subcommand, &dir, name, vec![("MANDATE_FAULT", format!("{point}:{times}"))])
    }

    fn witness_folder(&self) -> PathBuf {
        witness::folder(self.world.path(), 1)
    }

    /// An order about the n-th of xingyu's sample users.
    async fn order(&mut self, act: Act, n: usize) {
        let xingyu = self.xingyu();
        let subject = vec![Identifier::user(&xingyu.app, format!("u_{}", 8_840_002 + 2 * n))];
        let order = xingyu.order(act, subject, None).expect("an order");
        let wire = xingyu.sign(&order).expect("signs").to_wire();
        let told = load::told(xingyu.submit(&wire).await.expect("admitted"));
        self.ordered.extend(told.executions.clone());
        self.told.push(told);
    }

    /// An instruction that is refused, with a leaf and a sealed salt whose time is up at once.
    async fn be_refused(&self) {
        let xingyu = self.xingyu();
        let order = xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, "nobody")], None);
        let wire = xingyu.sign(&order.expect("an order")).expect("signs").to_wire();
        let cut = &wire[..wire.len() - 8];
        assert!(xingyu.submit(cut).await.is_err(), "its signature was cut");
    }

    /// Under load; `n` says which user an export is about, where the point needs one.
    async fn gateway_ends_at(&mut self, point: &'static str, n: usize) {
        let times = match point.split_once('.') {
            Some(("upload" | "shred", _) | (_, "overwritten")) => 1,
            // Keys are made once at the start, too.
            Some(("keyring", _)) => 2,
            _ => 2 + load::below(8),
        };
        self.world.gateway.take().expect("it runs").stop();
        let gateway = self.armed("serve", "gateway", point, times);
        if point.starts_with("upload.") {
            self.order(Act::Export, n).await;
        }
        if ["keyring.overwritten", "shred.destroyed"].contains(&point) {
            self.be_refused().await;
        }
        let load = Load::start(&self.ways);
        aborted(gateway, point).await;
        // As the death left it: with no gateway at the keyring, that each row has its data key, too.
        assert!(self.world.examine().contains("rows with data keys"));
        self.world.gateway = Some(Process::serve(self.world.path()));
        self.told.extend(load.stop().await);
        self.check().await;
        self.check_witness().await;
    }

    async fn witness_ends_at(&mut self, point: &'static str) {
        self.witness.take().expect("it runs").kill();
        let witness = self.armed("witness", "witness", point, 1 + load::below(6));
        let load = Load::start(&self.ways);
        aborted(witness, point).await;
        self.check_witness().await;
        self.witness = Some(Process::witness(&self.witness_folder()));
        self.told.extend(load.stop().await);
        self.check().await;
    }

    /// Under load; the order about the n-th user takes the agent past the points that rows alone lead to.
    async fn agent_ends_at(&mut self, point: &'static str, n: usize) {
        if let Some(running) = self.world.agent.take() {
            running.stop();
        }
        let agent = self.armed("agent", "agent", point, 1);
        self.order(Act::Erase, n).await;
        self.erased.extend(self.ordered.last().cloned());
        let load = Load::start(&self.ways);
        aborted(agent, point).await;
        self.told.extend(load.stop().await);
        self.check().await;
    }

    /// What was deleted before a death counts as deleted by us, once.
    async fn erased_by_us(&self) {
        for name in &self.erased {
            let call = v1::GetExecutionRequest { name: name.clone() };
            let found = self.xingyu().client.executions().get_execution(call).await.expect("it is there");
            let found = found.into_inner().execution.expect("shown");
            let rows: u64 = found.collections.iter().map(|c| c.rows).sum();
            assert!(rows > 0, "an erasure that was cut off says that nothing was there");
        }
    }

    /// What was ordered is carried out after all.
    async fn end(&self) {
        let log = std::fs::read_to_string(self.witness_folder().join("witness.log")).expect("its log");
        assert!(!log.contains("NOT COSIGNED"), "{log}");
        load::completed(self.xingyu(), &self.ordered).await;
        self.check().await;
    }

    async fn check(&self) {
        load::check(&self.world, &self.told).await;
    }

    async fn check_witness(&self) {
        witness::check_memory(&self.world, 1).await;
    }
}

fn of_witness() -> impl Iterator<Item = &'static str> {
    POINTS.iter().map(|(point, _)| *point).filter(|point| point.starts_with("witness."))
}

/// Without those of an act that returns all there is, which has its own test.
fn of_agent() -> impl Iterator<Item = &'static str> {
    let points = POINTS.iter().map(|(point, _)| *point).filter(|point| point.starts_with("agent."));
    points.filter(|point| !crate::return_and_erase::POINTS.contains(point)).chain(["keyring.overwritten"])
}

async fn aborted(mut process: Process, point: &str) {
    let status = process.ended(240, point).await;
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{point}: {status}: {}", process.logged());
    assert!(process.logged().contains(&format!("ends at {point}")));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_and_the_witness_may_end_at_each_point(#[case] on: On) {
    let mut scene = Scene::new(on).await;
    scene.world.agent = Some(Process::agent(scene.world.path()));
    for (n, point) in OF_GATEWAY.into_iter().enumerate() {
        scene.gateway_ends_at(point, n).await;
    }
    for point in of_witness() {
        scene.witness_ends_at(point).await;
    }
    scene.end().await;
}

/// For `make faults`.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as FAULT_SECONDS says: make faults"]
async fn for_make_faults_named_points(#[case] on: On) {
    // A world of its own now and then: what is verified after each death grows.
    const DEATHS_IN_A_WORLD: usize = 20;
    /// Users whose data are exported; others are erased.
    const EXPORTED: usize = 8;
    let mut time = TimeBox::of(1);
    let gateways = OF_GATEWAY.map(|point| (Who::Gateway, point));
    let witnesses = of_witness().map(|point| (Who::Witness, point));
    let agents = of_agent().map(|point| (Who::Agent, point));
    let points: Vec<_> = gateways.into_iter().chain(witnesses).chain(agents).collect();
    let (mut deaths, mut answers, mut of) = (0, 0, BTreeMap::new());
    while time.has_time(CLOSING) {
        let mut scene = Scene::new(on).await;
        scene.world.agent = Some(Process::agent(scene.world.path()));
        for n in 0..DEATHS_IN_A_WORLD {
            if n > 0 && !time.has_time(CLOSING) {
                break;
            }
            let (who, point) = points[load::below(points.len() as u64) as usize];
            match who {
                Who::Gateway => scene.gateway_ends_at(point, n % EXPORTED).await,
                Who::Witness => scene.witness_ends_at(point).await,
                Who::Agent => {
                    scene.agent_ends_at(point, EXPORTED + n).await;
                    scene.world.agent = Some(Process::agent(scene.world.path()));
                }
            }
            *of.entry(who).or_insert(0) += 1;
            deaths += 1;
        }
        scene.end().await;
        scene.erased_by_us().await;
        answers += scene.told.len();
    }
    load::report(
        &format!("deaths at named points on {on:?}"),
        &[
            ("processes that ended at a point of src/fault.rs, and were started again", deaths),
            ("  of them gateways", of.get(&Who::Gateway).copied().unwrap_or(0)),
            ("  of them agents", of.get(&Who::Agent).copied().unwrap_or(0)),
            ("  of them witnesses", of.get(&Who::Witness).copied().unwrap_or(0)),
            ("answers, each in the trail once and proven", answers),
        ],
    );
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_may_end_at_each_point(#[case] on: On) {
    let mut scene = Scene::new(on).await;
    for (n, point) in of_agent().enumerate() {
        scene.agent_ends_at(point, n).await;
    }
    scene.world.agent = Some(Process::agent(scene.world.path()));
    scene.end().await;
    scene.erased_by_us().await;
}

#[test]
fn each_point_is_somebodys() {
    for (point, _) in POINTS {
        // Those of agents and witnesses are all taken, by name.
        let known = OF_GATEWAY.contains(point)
            || report_keys::POINTS.contains(point)
            || ["witness.", "agent."].iter().any(|kind| point.starts_with(kind));
        assert!(known, "no test ends a process at {point}");
    }
}
