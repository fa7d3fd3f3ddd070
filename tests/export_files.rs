//! The gateway keeps its export folder: what a row names stays, what no row names goes once it is old.

use std::path::Path;
use std::time::Duration;

use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use sqlx::Connection;

use crate::harness::{Process, World, configure, within};

const USER: &str = "u_8839201";

/// A file last written so many seconds ago; the name is a package's unless said otherwise.
fn written(folder: &Path, name: &str, seconds_ago: u64) -> std::path::PathBuf {
    let path = folder.join(name);
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("opened");
    let at = std::fs::metadata(&path).expect("there").modified().expect("a time");
    file.set_modified(at - Duration::from_secs(seconds_ago)).expect("dated");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_no_row_names_is_removed_and_no_other_file() {
    let mut world = World::without_agent(|dir| {
        configure(dir, |gateway| drop(gateway.insert("housekeeping_seconds".into(), 1.into())));
    })
    .await;
    world.agent = Some(Process::agent(world.path()));
    let xingyu = world.enterprise("xingyu").await;
    let subject = vec![Identifier::user(&xingyu.app, USER)];
    let order = xingyu.order(Act::Export, subject, None).expect("an order");
    let (_, done, _) = xingyu.carry_out(&order).await.expect("followed");
    assert_eq!(done[0].state(), v1::ExecutionState::Completed, "{}", done[0].reason);

    // Twice a lease of 60 s is how long an upload may be on its way.
    let folder = world.path().join("data/exports");
    let package = done[0].export.trim_start_matches("exports/").to_owned() + ".age";
    let kept = written(&folder, &package, 86_400);
    let on_its_way = written(&folder, "01938a5e-0000-7000-8000-000000000002.age", 60);
    let foreign = written(&folder, "notes.txt", 86_400);
    let orphan = written(&folder, "01938a5e-0000-7000-8000-000000000001.age", 121);
    within(20, "removing the orphan", async {
        while orphan.exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // A whole further round has passed once another orphan is gone, too.
    let second = written(&folder, "01938a5e-0000-7000-8000-000000000003.age", 121);
    within(20, "removing the second", async {
        while second.exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(kept.exists() && on_its_way.exists() && foreign.exists(), "housekeeping took too much");
    let out = world.path().join("package.tar");
    mandate::cli::export::fetch(&xingyu.client, &done[0].export, &out).await.expect("it is still fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_was_never_given_out_goes_with_its_time_and_the_trail_verifies() {
    let mut world = World::without_agent(|dir| {
        configure(dir, |gateway| {
            gateway.insert("housekeeping_seconds".into(), 1.into());
            let limits = gateway["limits"].as_table_mut().expect("a table");
            limits.insert("lease_seconds".into(), 8.into());
            limits.insert("export_seconds".into(), 1.into());
        });
    })
    .await;
    let xingyu = world.enterprise("xingyu").await;
    let subject = vec![Identifier::user(&xingyu.app, USER)];
    let order = xingyu.order(Act::Export, subject, None).expect("an order");
    let wire = xingyu.sign(&order).expect("signs").to_wire();
    world.gateway.take().expect("it runs").stop();
    // The gateway ends with the package in its folder and no report of it.
    let fault = vec![("MANDATE_FAULT", "upload.named".to_owned())];
    let mut dying = Process::with("serve", world.path(), "gateway", fault);
    let execution = xingyu.submit(&wire).await.expect("admitted").instruction.expect("shown").executions;
    let agent = Process::agent(world.path());
    dying.ended(60, "the gateway's death").await;
    agent.kill();
    let folder = world.path().join("data/exports");
    let packages = || std::fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(packages(), 1);
    // And what was ordered cannot be told any more: the order ends.
    let database = format!("sqlite://{}", world.path().join("data/gateway.sqlite").display());
    let mut connection = sqlx::SqliteConnection::connect(&database).await.expect("it opens");
    let edit = "UPDATE instructions SET digest = 'x'";
    sqlx::query(edit).execute(&mut connection).await.expect("edited by hand");
    connection.close().await.expect("it closes");
    world.gateway = Some(Process::serve(world.path()));
    // Its time is up long since, and while the order goes on it stays.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(packages(), 1, "a package went whose execution goes on");
    world.agent = Some(Process::agent(world.path()));
    let ended = within(60, "the end", xingyu.follow(&execution[0])).await.expect("followed");
    assert_eq!(ended.reason, "ORDER_ALTERED");
    within(20, "removing the package", async {
        while packages() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    world.export_and_verify_logs().await;
}
