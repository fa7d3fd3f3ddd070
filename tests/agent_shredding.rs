//! However an execution ends, the agent's keys of it end, too: also where the agent never heard that its
//! report was taken, and where an act half done is refused at last.

use mandate::cli::demo::Enterprise;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::agent_files::{Loot, copy_agent, count, left, loot, spooled};
use crate::harness::{Process, World, within};

const USER: &str = "u_8839201";
const TENANT: &str = "sdk-1001-xingyu";

/// Changes the agent's configuration.
fn adjust(world: &World, change: impl FnOnce(&mut toml::Table)) {
    let path = world.path().join("agent.toml");
    let mut document: toml::Table =
        std::fs::read_to_string(&path).expect("the configuration").parse().expect("TOML");
    change(&mut document);
    std::fs::write(&path, toml::to_string(&document).expect("TOML")).expect("written");
}

fn set_address(world: &World, address: &str) -> String {
    let mut old = String::new();
    adjust(world, |document| {
        let gateway = document["gateway"].as_table_mut().expect("a table");
        old = gateway["address"].as_str().expect("text").to_owned();
        gateway.insert("address".into(), address.into());
    });
    old
}

async fn any_report_taken(world: &std::path::Path) -> bool {
    let reported = "SELECT count(*) FROM executions WHERE report_leaf IS NOT NULL";
    count(&world.join("data/gateway.sqlite"), reported).await > 0
}

/// A line to the gateway on which no answer comes through any more once a report was committed there.
async fn deaf_line(world: &World, gateway: String) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let path = world.path().to_owned();
    tokio::spawn(async move {
        while let Ok((agent, _)) = listener.accept().await {
            let (path, gateway) = (path.clone(), gateway.clone());
            tokio::spawn(async move {
                let Ok(line) = TcpStream::connect(&gateway).await else { return };
                let (mut from_agent, mut to_agent) = agent.into_split();
                let (mut from_gateway, mut to_gateway) = line.into_split();
                let orders = tokio::io::copy(&mut from_agent, &mut to_gateway);
                let answers = async {
                    let mut bytes = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = from_gateway.read(&mut bytes).await {
                        // The gateway answers after its commit: the answer to the report is never let by.
                        if any_report_taken(&path).await {
                            std::future::pending::<()>().await;
                        }
                        if to_agent.write_all(&bytes[..read]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! { _ = orders => {}, () = answers => {} }
            });
        }
    });
    address
}

/// Sends an order; the name of its one execution.
async fn ordered(xingyu: &Enterprise, act: Act) -> String {
    let order = xingyu.order(act, vec![Identifier::user(&xingyu.app, USER)], None).expect("an order");
    let wire = xingyu.sign(&order).expect("signs").to_wire();
    let answer = xingyu.submit(&wire).await.expect("admitted");
    answer.instruction.expect("shown").executions.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_before_it_heard_that_its_report_was_taken_shreds_at_its_next_start() {
    let mut world = World::without_agent(|_| {}).await;
    let direct = set_address(&world, "127.0.0.1:1");
    let deaf = deaf_line(&world, direct.clone()).await;
    set_address(&world, &deaf);
    world.agent = Some(Process::agent(world.path()));
    let xingyu = world.enterprise("xingyu").await;
    let execution = ordered(&xingyu, Act::Export).await;
    let ended = within(60, "the report", xingyu.follow(&execution)).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Completed, "{}", ended.reason);
    world.agent.take().expect("it runs").kill();

    // The gateway has the report, the agent does not know: all is still there.
    let stolen = copy_agent(world.path(), "stolen");
    let who = Identifier::user(&xingyu.app, USER);
    let got = loot(world.path(), &stolen, &stolen, "rtc", TENANT, &who).await;
    assert_eq!(got, Loot { opened: 1, matched: 0 }, "the outcome, sealed");
    assert_eq!(spooled(world.path()), 1, "the package");
    // What a writer that was cut off leaves, and what is nobody's.
    let spool = world.path().join("agent/spool");
    std::fs::write(spool.join("01938a5e-0000-7000-8000-000000000001-0.jsonl"), "part").expect("written");
    std::fs::write(spool.join("01938a5e-0000-7000-8000-000000000001.age"), "whole").expect("written");
    std::fs::write(spool.join("notes.txt"), "an operator's").expect("written");

    set_address(&world, &direct);
    world.agent = Some(Process::agent(world.path()));
    within(60, "shredding", async {
        while spooled(world.path()) > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    world.agent.take().expect("it runs").stop();
    assert_eq!(left(world.path()).await, (0, 0, 1));
    assert!(spool.join("notes.txt").exists());
    let live = world.path().join("agent");
    for ledger in [&stolen, &live] {
        let got = loot(world.path(), ledger, &live, "rtc", TENANT, &who).await;
        assert_eq!(got, Loot::default(), "with the keys that are left");
    }
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_half_done_and_refused_at_last_keeps_no_keys() {
    let mut world = World::new().await;
    let xingyu = world.enterprise("xingyu").await;
    let store = BusyStore::hold(&world).await;
    let execution = ordered(&xingyu, Act::Erase).await;
    await_deferral(&xingyu, &execution).await;
    world.agent.take().expect("it runs").stop();
    let (keys, held, _) = left(world.path()).await;
    assert!(keys == 1 && held > 1, "nothing was begun");

    // Meanwhile the agent was told that the app is not served any more.
    adjust(&world, |document| {
        let apps = document["app"].as_array_mut().expect("a list");
        apps.retain(|app| app["id"].as_str() != Some(xingyu.app.as_str()));
    });
    store.release().await;
    world.agent = Some(Process::agent(world.path()));
    let ended = within(60, "the end", xingyu.follow(&execution)).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Failed, "{}", ended.reason);
    // It finishes what it is at before it stops.
    world.agent.take().expect("it runs").stop();
    assert_eq!(left(world.path()).await, (0, 0, 0));
    // And the ledger is whole: the agent starts from it.
    Process::agent(world.path()).stop();
    world.export_and_verify().await;
}

/// The data store while another holds its write lock: acts begin, and cannot go on.
pub struct BusyStore(sqlx::SqliteConnection);

impl BusyStore {
    pub async fn hold(world: &World) -> Self {
        let path = world.path().join("store/rtc.sqlite");
        let mut connection =
            sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("opens");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("locked");
        Self(connection)
    }

    pub async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.expect("released");
        self.0.close().await.expect("closes");
    }
}

/// Waits until an execution was put off because its store did not serve.
pub async fn await_deferral(xingyu: &Enterprise, execution: &str) {
    within(60, "a deferral", async {
        loop {
            let ask = v1::GetExecutionRequest { name: execution.to_owned() };
            let shown = xingyu.client.executions().get_execution(ask).await.expect("shown").into_inner();
            if shown.execution.expect("shown").reason == "STORE_FAILED" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}
