//! PostgreSQL fails under whole gateways and their load: it is restarted, its connections are cut, it ends
//! transactions for the sake of others, and the gateways on it die. Nothing answered OK is missing, nothing
//! happened twice, nobody saw a second history, the trail verifies and the doctor finds nothing after each.

use std::time::Duration;

use tokio::time::sleep;

use crate::cluster::{self, Cluster};
use crate::gateways::Gateways;
use crate::harness::within;
use crate::load::{self, CLOSING, TimeBox};

/// Raises what a server under contention raises, inside the gateways' own transactions: 40001 and 40P01 at
/// some of the statements that write, and at some of the commits (a deferred trigger), while it is `ON`.
const INJECT: &str = include_str!("faults/contention.sql");
const ON: &str = "INSERT INTO contention VALUES (true)";
const OFF: &str = "DELETE FROM contention";
/// How many statements and commits were ended so far.
const INJECTED: &str = "SELECT (SELECT last_value / 127 + last_value / 211 FROM statements), \
                               (SELECT last_value / 7 + last_value / 11 FROM commits)";
/// Holds the leaves' table for a while and then wants the heads, which a gateway holds that wants the leaves:
/// whoever waited first finds the deadlock, and that is a gateway.
const DEADLOCK: &str = "SET deadlock_timeout = '20s'; BEGIN; LOCK TABLE trail_leaves IN EXCLUSIVE MODE; \
                        SELECT pg_sleep(0.5); SELECT FROM log_heads FOR UPDATE; ROLLBACK";

fn own_cluster() -> Cluster {
    tokio::task::block_in_place(|| {
        let cluster = Cluster::create();
        cluster.start();
        cluster
    })
}

async fn a_while() {
    sleep(Duration::from_millis(200 + load::below(400))).await;
}

/// Stops the server, and starts it again after a while.
async fn restart(cluster: &Cluster, mode: &str, away: Duration) {
    tokio::task::block_in_place(|| cluster.stop(mode));
    sleep(away).await;
    tokio::task::block_in_place(|| cluster.start());
}

/// Cuts everybody's connections, again and again.
async fn cut(cluster: &Cluster, scene: &Gateways, times: usize) {
    let databases = scene.databases().map(|name| format!("'{name}'")).join(", ");
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN ({databases})"
    );
    for _ in 0..times {
        let ended = tokio::task::block_in_place(|| cluster.sql("postgres", &cut));
        assert_ne!(ended, "0", "there was nothing to cut");
        sleep(Duration::from_millis(100 + load::below(200))).await;
    }
}

/// Kills a gateway, has the doctor look at what it left behind, and starts it again.
async fn kill(scene: &mut Gateways, victim: usize) {
    tokio::task::block_in_place(|| {
        scene.kill(victim);
        scene.world.examine();
    });
    a_while().await;
    tokio::task::block_in_place(|| scene.start(victim));
}

fn inject(cluster: &Cluster, scene: &Gateways, statements: &str) {
    tokio::task::block_in_place(|| {
        for database in scene.databases() {
            cluster.sql(&database, statements);
        }
    });
}

/// Statements and commits that were ended in the state's database.
fn injected(cluster: &Cluster, scene: &Gateways) -> [usize; 2] {
    let counts = tokio::task::block_in_place(|| cluster.sql(&scene.databases()[0], INJECTED));
    let mut counts = counts.split('|').map(|count| count.parse().expect("a number"));
    [(); 2].map(|()| counts.next().expect("two numbers"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restarted_under_load_loses_nothing_and_does_nothing_twice() {
    // The other tests' server must not fall.
    let cluster = own_cluster();
    let mut scene = Gateways::new(&cluster, 2).await;
    for (mode, away) in [("fast", 0), ("immediate", 0), ("immediate", 4), ("fast", 2)] {
        scene
            .round(async |_| {
                a_while().await;
                restart(&cluster, mode, Duration::from_secs(away)).await;
                a_while().await;
            })
            .await;
        scene.wakes_pass().await;
    }
    scene.end().await;
    assert!(scene.heads > 20, "too few heads were seen to say anything: {}", scene.heads);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_under_load_lose_nothing_and_do_nothing_twice() {
    let mut scene = Gateways::new(cluster::shared(), 2).await;
    for _ in 0..3 {
        scene
            .round(async |scene| {
                a_while().await;
                cut(cluster::shared(), scene, 5).await;
            })
            .await;
        scene.wakes_pass().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_the_server_ends_are_made_again_and_once() {
    let mut scene = Gateways::new(cluster::shared(), 2).await;
    let [state, _] = scene.databases();
    // First a deadlock that the server itself finds.
    scene
        .round(async |scene| {
            // A machine that is busy may let a gateway come too late for it.
            for _ in 0..5 {
                a_while().await;
                tokio::task::block_in_place(|| cluster::shared().sql(&state, DEADLOCK));
                if scene.logs().contains("database 40P01") {
                    break;
                }
            }
            assert!(scene.logs().contains("database 40P01"), "no gateway was in the deadlock");
            assert!(!scene.logs().contains("database 40001"));
        })
        .await;
    // Then whatever it may say, at any statement and at any commit.
    inject(cluster::shared(), &scene, INJECT);
    inject(cluster::shared(), &scene, ON);
    for round in 1..=3 {
        let all_ended = async |scene: &mut Gateways| {
            while injected(cluster::shared(), scene).into_iter().any(|ended| ended < 4 * round) {
                sleep(Duration::from_millis(200)).await;
            }
        };
        scene.round(async |scene| within(60, "ending transactions", all_ended(scene)).await).await;
    }
    scene.end().await;
    let logs = scene.logs();
    for code in ["40001", "40P01"] {
        for what in ["a batch failed", "commit failed"] {
            let line = format!("\"message\":\"{what}\",\"error\":\"database {code}\"");
            assert!(logs.contains(&line), "no {what} with {code}");
        }
    }
    // The server never was away: nobody had to ask twice.
    assert!(!logs.contains("given up"), "a batch was given up: {logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_one_killed_again_and_again_lose_nothing_and_do_nothing_twice() {
    const GATEWAYS: usize = 3;
    let mut scene = Gateways::new(cluster::shared(), GATEWAYS).await;
    for n in 0..2 * GATEWAYS {
        scene
            .round(async |scene| {
                sleep(Duration::from_millis(500)).await;
                // Everybody's connections now and then, and then one process.
                if n % 2 == 1 {
                    cut(cluster::shared(), scene, 1).await;
                }
                kill(scene, n % GATEWAYS).await;
                a_while().await;
            })
            .await;
    }
    scene.wakes_pass().await;
    scene.end().await;
    assert!(scene.told.len() >= 60, "too few were answered to say anything: {}", scene.told.len());
}

/// For `make faults`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as FAULT_SECONDS says: make faults"]
async fn for_make_faults_postgresql() {
    const GATEWAYS: usize = 3;
    const KINDS: [&str; 6] = [
        "servers shut down and started again",
        "servers crashed and started again",
        "rounds of cutting every connection",
        "gateways killed and started again",
        "deadlocks with a session of somebody else's",
        "rounds of 40001 and 40P01 at statements and commits",
    ];
    // A world of its own now and then: what is verified after each round grows.
    const ROUNDS_IN_A_WORLD: usize = 30;
    let mut time = TimeBox::of(1);
    let mut counts = [0; KINDS.len()];
    let (mut answers, mut heads) = (0, 0);
    while time.has_time(CLOSING) {
        let cluster = own_cluster();
        let mut scene = Gateways::new(&cluster, GATEWAYS).await;
        inject(&cluster, &scene, INJECT);
        for n in 0..ROUNDS_IN_A_WORLD {
            if n > 0 && !time.has_time(CLOSING) {
                break;
            }
            let kind = load::below(KINDS.len() as u64) as usize;
            let away = Duration::from_millis(load::below(3_000));
            scene
                .round(async |scene| {
                    a_while().await;
                    match kind {
                        0 => restart(&cluster, "fast", away).await,
                        1 => restart(&cluster, "immediate", away).await,
                        2 => cut(&cluster, scene, 5).await,
                        3 => kill(scene, load::below(GATEWAYS as u64) as usize).await,
                        4 => {
                            let [state, _] = scene.databases();
                            tokio::task::block_in_place(|| cluster.sql(&state, DEADLOCK));
                        }
                        _ => {
                            inject(&cluster, scene, ON);
                            sleep(Duration::from_secs(3)).await;
                            inject(&cluster, scene, OFF);
                        }
                    }
                    a_while().await;
                })
                .await;
            counts[kind] += 1;
        }
        scene.end().await;
        answers += scene.told.len();
        heads += scene.heads;
    }
    let mut lines: Vec<_> = KINDS.into_iter().zip(counts).collect();
    lines.push(("answers, each in the trail once and proven", answers));
    lines.push(("heads that were shown, each a beginning of the last", heads));
    load::report("three gateways on a PostgreSQL that fails", &lines);
}
