//! An older notebook or ledger of the agent's in the place of the newer one: its keyring knows, so no agent starts on
//! it, and with the newer one back what was begun goes on from where it was.

use std::path::{Path, PathBuf};

use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use crate::agent_files::{config, copy_agent, count, left};
use crate::agent_shredding::{BusyStore, await_deferral};
use crate::harness::{Process, World, within};

const USER: &str = "u_8839201";
const ENDINGS: [&str; 2] = ["", "-wal"];

fn with(file: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", file.display()))
}

fn take_away(file: &Path) {
    for ending in ENDINGS {
        let _ = std::fs::remove_file(with(file, ending));
    }
}

/// Puts a file of the same name from another folder in its place.
fn put(file: &Path, from: &Path) {
    take_away(file);
    let source = from.join(file.file_name().expect("a name"));
    for ending in ENDINGS {
        if with(&source, ending).exists() {
            std::fs::copy(with(&source, ending), with(file, ending)).expect("copied");
        }
    }
}

async fn change(file: &Path, sql: &str) {
    let url = format!("sqlite://{}", file.display());
    let mut connection = SqliteConnection::connect(&url).await.expect("it opens");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("changed");
    connection.close().await.expect("closes");
}

/// The agent ends by itself, and says why.
async fn refused(world: &World, code: &str) {
    let mut agent = Process::agent(world.path());
    let ended = agent.ended(30, "the refusal").await;
    assert!(!ended.success());
    let log = agent.logged();
    let told = log.lines().last().unwrap_or_default();
    assert!(told.contains(code), "{told}");
}

/// Keys that the keyring holds. It is nobody's meanwhile.
async fn keys(world: &World) -> i64 {
    count(&config(world.path()).keyring, "SELECT count(*) FROM data_keys WHERE state = 'held'").await
}

/// An erasure that has begun and is held up by its store, with the agent stopped; and its files from before.
async fn begun(world: &mut World) -> (BusyStore, Enterprise, String, PathBuf) {
    let xingyu = world.enterprise("xingyu").await;
    // Something is in every file before.
    let preview =
        xingyu.order(Act::Preview, vec![Identifier::user(&xingyu.app, USER)], None).expect("an order");
    xingyu.carry_out(&preview).await.expect("carried out");
    world.agent.take().expect("it runs").stop();
    let older = copy_agent(world.path(), "agent-before");
    world.agent = Some(Process::agent(world.path()));
    let store = BusyStore::hold(world).await;
    let order = xingyu.order(Act::Erase, vec![Identifier::user(&xingyu.app, USER)], None).expect("an order");
    let wire = xingyu.sign(&order).expect("signs").to_wire();
    let execution =
        xingyu.submit(&wire).await.expect("admitted").instruction.expect("shown").executions.remove(0);
    await_deferral(&xingyu, &execution).await;
    (store, xingyu, execution, older)
}

async fn goes_on(world: &mut World, store: BusyStore, xingyu: &Enterprise, execution: &str) {
    store.release().await;
    world.agent = Some(Process::agent(world.path()));
    let ended = within(60, "the end", xingyu.follow(execution)).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    world.agent.take().expect("it runs").stop();
    assert_eq!(left(world.path()).await, (0, 0, 0));
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_agent_starts_on_an_older_notebook_or_ledger_and_with_the_newer_ones_back_nothing_is_lost() {
    let mut world = World::new().await;
    let (store, xingyu, execution, older) = begun(&mut world).await;
    // Nothing was told in order: it died.
    world.agent.take().expect("it runs").kill();
    let newer = copy_agent(world.path(), "agent-newest");
    let (notebook, ledger) = (config(world.path()).notebook(), config(world.path()).ledger);
    let held = keys(&world).await;

    put(&notebook, &older);
    refused(&world, "NOTEBOOK_BEHIND").await;
    // Nor is one made anew, nor another one taken, however much that has seen.
    take_away(&notebook);
    refused(&world, "NOTEBOOK_BEHIND").await;
    assert!(!notebook.exists(), "it was made anew");
    put(&notebook, &newer);
    change(&notebook, "UPDATE growth SET notebook = 'another', changes = changes + 1000").await;
    refused(&world, "NOTEBOOK_BEHIND").await;
    put(&notebook, &newer);

    put(&ledger, &older);
    refused(&world, "LEDGER_BEHIND").await;
    take_away(&ledger);
    refused(&world, "LEDGER_BEHIND").await;
    assert!(!ledger.exists(), "it was made anew");
    put(&ledger, &newer);
    assert!(keys(&world).await >= held, "keys were destroyed");

    goes_on(&mut world, store, &xingyu, &execution).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_keyring_knows_of_no_notebook_nothing_is_swept_until_a_later_start() {
    let mut world = World::new().await;
    let (store, xingyu, execution, older) = begun(&mut world).await;
    world.agent.take().expect("it runs").stop();
    let newer = copy_agent(world.path(), "agent-newest");
    let (notebook, keyring) = (config(world.path()).notebook(), config(world.path()).keyring);

    // As a keyring of the release before: it cannot tell. The gateway is away, so the older one does no more than start.
    world.gateway.take().expect("it runs").stop();
    change(&keyring, "DELETE FROM marks").await;
    put(&notebook, &older);
    Process::agent(world.path()).stop();
    put(&notebook, &newer);
    let before = keys(&world).await;
    world.gateway = Some(Process::serve(world.path()));

    goes_on(&mut world, store, &xingyu, &execution).await;
    assert!(keys(&world).await < before, "orphans of the runs before were not swept");
}
