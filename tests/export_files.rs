//! The gateway keeps its export folder: what a row names stays, what no row names goes once it is old.

use std::path::Path;
use std::time::Duration;

use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;

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
