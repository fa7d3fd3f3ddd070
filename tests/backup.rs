//! A gateway's database is lost: its backup and what was published bring back every leaf that was signed.
//! What cannot come back whole does not come back at all.

use std::path::{Path, PathBuf};
use std::process::Command;

use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;

use crate::cluster::{self, Cluster};
use crate::harness::{Process, World};
use crate::load::On;
use crate::older_database::{forget_marks, own_head};

/// Whether it went through, and what it printed.
pub fn mandate(arguments: &[&str], paths: &[&Path]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mandate"));
    command.args(arguments).args(paths);
    let output = command.output().expect("mandate runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

pub async fn submit_mail(world: &World, mail: &[u8], n: u8) -> v1::Message {
    let support = world.client("support").await;
    let request_id = format!("0b2f7a58-3a3c-4a86-9c5c-2f1f5a0e9d{n:02}");
    let submit = v1::SubmitMailRequest { mail: mail.to_vec().into(), received_time: None, request_id };
    support.intake().submit_mail(submit).await.expect("taken in").into_inner().message.expect("shown")
}

pub async fn carry_out(world: &World, act: Act, user: &str) {
    let xingyu = world.enterprise("xingyu").await;
    let order = xingyu.order(act, vec![Identifier::user(&xingyu.app, user)], None).expect("an order");
    let (_, ended, _) = xingyu.carry_out(&order).await.expect("carried out");
    assert!(ended.iter().all(|e| e.state() == v1::ExecutionState::Completed), "{ended:?}");
}

/// Both logs as an auditor keeps them, verified.
pub async fn export(world: &World, name: &str) -> PathBuf {
    let out = world.path().join(name);
    std::fs::create_dir_all(&out).expect("a folder");
    let auditor = world.client("auditor").await;
    mandate::cli::trail::export_to(&auditor, &out).await.expect("the logs are exported");
    let (code, text) = world.verify(&["trail", out.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "the trail does not verify: {text}");
    out
}

/// A copy of the database as it stands now, with the tools of where it lies; the gateway is started again.
pub enum Kept {
    Folder(PathBuf),
    /// On the server.
    Database(String),
}

impl Kept {
    pub fn of(world: &mut World, on: On) -> Self {
        match on {
            On::Sqlite => {
                let backup = world.path().join("backup");
                let (made, text) =
                    mandate(&["backup", "--config"], &[&world.path().join("gateway.toml"), &backup]);
                assert!(made, "{text}");
                Self::Folder(backup)
            }
            On::Postgres => {
                world.gateway.take().expect("it runs").stop();
                let name = database(world);
                let kept = format!("{name}_kept");
                cluster::shared().sql("postgres", &format!("CREATE DATABASE {kept} TEMPLATE {name}"));
                world.gateway = Some(Process::serve(world.path()));
                Self::Database(kept)
            }
        }
    }

    /// The database is gone; on a server its own tools bring the copy back.
    pub fn lose(&self, world: &World) {
        match self {
            Self::Folder(_) => lose_database(world),
            Self::Database(kept) => {
                let name = database(world);
                cluster::shared().sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
                cluster::shared().sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {kept}"));
            }
        }
    }

    /// `mandate restore`: whether it went through, and what it printed.
    pub fn restore(&self, world: &World, more: &[&Path]) -> (bool, String) {
        let config = world.path().join("gateway.toml");
        let mut paths = vec![config.as_path()];
        if let Self::Folder(backup) = self {
            paths.push(backup);
        }
        paths.extend(more);
        mandate(&["restore", "--config"], &paths)
    }
}

/// Its name on the server.
pub fn database(world: &World) -> String {
    let url = std::fs::read_to_string(world.path().join("database.url")).expect("the URL");
    Cluster::name(&url).to_owned()
}

pub fn lose_database(world: &World) {
    for rest in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(world.path().join(format!("data/gateway.sqlite{rest}")));
    }
}

/// Gateway and agent start on what was brought back. It is the same history, byte for byte, and it goes on; rows and
/// leaves fit together; what was sealed after the backup is gone, and the doctor says so.
async fn goes_on(world: &mut World, signed: &[String], newest: &Path) {
    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));
    let restored = world.trail_leaves().await;
    assert_eq!(restored[..signed.len()], signed[..], "a leaf is another");
    carry_out(world, Act::Preview, "u_8839201").await;
    let after = export(world, "published-after").await;
    let (code, text) =
        world.verify(&["trail", after.to_str().expect("UTF-8"), "--since", newest.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "it does not continue what was published: {text}");

    let (done, text) = mandate(&["doctor", "--config"], &[&world.path().join("gateway.toml")]);
    let codes: std::collections::BTreeSet<&str> = text
        .lines()
        .filter(|line| line.contains('_') && line.starts_with(char::is_uppercase))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(!done && codes == ["SHREDDED_HALF"].into(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_comes_back_with_every_leaf_that_was_signed_or_not_at_all() {
    let mut world = World::new().await;
    let config = world.path().join("gateway.toml");
    let database = world.path().join("data/gateway.sqlite");
    submit_mail(&world, include_bytes!("../examples/mail/01-delete-enterprise-app.eml"), 1).await;
    carry_out(&world, Act::Erase, "u_8839201").await;

    // While it runs; never over something that is there; and a server's is not ours to copy.
    let backup = world.path().join("backup");
    let (done, text) = mandate(&["backup", "--config"], &[&config, &backup]);
    assert!(done, "{text}");
    assert!(!mandate(&["backup", "--config"], &[&config, &backup]).0);
    let mut names: Vec<_> =
        std::fs::read_dir(&backup).expect("there").map(|e| e.expect("one").file_name()).collect();
    names.sort();
    assert_eq!(names, ["database.sqlite", "manifest.json"], "nothing else, least of all keys");
    let on_server = world.path().join("server.toml");
    let server = std::fs::read_to_string(&config)
        .expect("read")
        .replace("database = \"data/gateway.sqlite\"", "database = { postgres_url_file = \"x\" }");
    std::fs::write(&on_server, server).expect("written");
    let (done, text) = mandate(&["backup", "--config"], &[&on_server, &world.path().join("other")]);
    assert!(!done && text.contains("pg_basebackup"), "{text}");

    // Goes on: cases, an erasure, an export, a refusal; then all of it is published, and the disk dies.
    let old = export(&world, "published-old").await;
    submit_mail(&world, include_bytes!("../examples/mail/03-guardian-minor.eml"), 2).await;
    submit_mail(&world, include_bytes!("../examples/mail/02-vague-english.eml"), 3).await;
    carry_out(&world, Act::Export, "u_8839201").await;
    let xingyu = world.enterprise("xingyu").await;
    assert!(xingyu.refused("nothing").await.is_ok());
    let signed = world.trail_leaves().await;
    let published = export(&world, "published").await;
    let newest = published.join("trail/checkpoint");
    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").kill();

    // Not over a database that is there, not without the leaves that are known, not with others.
    let restore = |published: &[&Path], newest: &Path| {
        let mut arguments = vec![config.as_path(), backup.as_path(), Path::new("--newest"), newest];
        for dir in published {
            arguments.extend([Path::new("--published"), dir]);
        }
        mandate(&["restore", "--config"], &arguments)
    };
    let (done, text) = restore(&[&published], &newest);
    assert!(!done && text.contains("it is there"), "{text}");
    lose_database(&world);
    let (done, text) = restore(&[&old], &newest);
    assert!(!done && text.contains("are missing") && !database.exists(), "{text}");
    let damaged = world.path().join("damaged");
    let copied = Command::new("cp").arg("-r").arg(&published).arg(&damaged).status().expect("cp runs");
    assert!(copied.success());
    let width = signed.len() % 256;
    assert!(signed.len() < 256, "the last bundle is the first");
    let bundle = damaged.join(format!("trail/tile/entries/000.p/{width}"));
    let mut bytes = std::fs::read(&bundle).expect("the bundle");
    let place = bytes.len() - 10;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    std::fs::write(&bundle, bytes).expect("written");
    let (done, text) = restore(&[&damaged], &newest);
    assert!(!done && !database.exists(), "{text}");
    assert!(!database.with_extension("sqlite.restoring").exists(), "half of it was left");

    let (done, text) = restore(&[&old, &published], &newest);
    assert!(done, "{text}");
    assert!(text.contains("its disclosures") && text.contains("take it in again"), "{text}");
    assert!(!text.contains("u_8839201"), "it shows a person's id");

    goes_on(&mut world, &signed, &newest).await;
    let next = world.path().join("backup-after");
    let (done, text) = mandate(&["backup", "--config"], &[&config, &next]);
    assert!(done && text.contains("SHREDDED_HALF") && next.join("manifest.json").exists(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_another_history_is_not_put_in_place() {
    let mut world = World::without_agent(|_| {}).await;
    let config = world.path().join("gateway.toml");
    let backup = world.path().join("backup");
    assert!(mandate(&["backup", "--config"], &[&config, &backup]).0);
    submit_mail(&world, include_bytes!("../examples/mail/02-vague-english.eml"), 1).await;
    let one = export(&world, "one").await;
    world.gateway.take().expect("it runs").stop();
    lose_database(&world);

    // Somebody shows no more than the backup's own head. The keyring saw more, as long as it is there.
    let own = own_head(&world, &backup);
    let arguments = [config.as_path(), &backup, Path::new("--newest"), &own];
    let (done, text) = mandate(&["restore", "--config"], &arguments);
    assert!(!done && text.contains("the keyring saw") && text.contains("are missing"), "{text}");
    assert!(!world.path().join("data/gateway.sqlite").exists());
    // Where it is made to forget, the gateway signs a second history.
    forget_marks(&world).await;
    let (done, text) = mandate(&["restore", "--config"], &arguments);
    assert!(done, "{text}");
    world.gateway = Some(Process::serve(world.path()));
    for n in 2..5 {
        submit_mail(&world, include_bytes!("../examples/mail/02-vague-english.eml"), n).await;
    }
    let two = export(&world, "two").await;
    world.gateway.take().expect("it runs").stop();
    lose_database(&world);

    // Whoever kept the first one's head is not fooled.
    let first = one.join("trail/checkpoint");
    let (done, text) = mandate(
        &["restore", "--config"],
        &[&config, &backup, Path::new("--published"), &two, Path::new("--newest"), &first],
    );
    assert!(!done && text.contains("another history"), "{text}");
    assert!(!world.path().join("data/gateway.sqlite").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_on_a_server_that_was_set_back_is_brought_on_to_what_was_published_or_not_touched() {
    let mut world = World::on_postgres(1).await;
    world.agent = Some(Process::agent(world.path()));
    let config = world.path().join("gateway.toml");
    submit_mail(&world, include_bytes!("../examples/mail/01-delete-enterprise-app.eml"), 1).await;
    carry_out(&world, Act::Erase, "u_8839201").await;
    let kept = Kept::of(&mut world, On::Postgres);

    submit_mail(&world, include_bytes!("../examples/mail/03-guardian-minor.eml"), 2).await;
    submit_mail(&world, include_bytes!("../examples/mail/02-vague-english.eml"), 3).await;
    carry_out(&world, Act::Export, "u_8839201").await;
    let xingyu = world.enterprise("xingyu").await;
    assert!(xingyu.refused("nothing").await.is_ok());
    let signed = world.trail_leaves().await;
    let published = export(&world, "published").await;
    let newest = published.join("trail/checkpoint");
    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").kill();
    kept.lose(&world);

    // Its copy is the server's affair; and nothing is changed without every leaf that is known.
    let (done, text) =
        mandate(&["restore", "--config"], &[&config, &published, Path::new("--newest"), &newest]);
    assert!(!done && text.contains("PostgreSQL"), "{text}");
    let with = [Path::new("--published"), &published, Path::new("--newest"), &newest];
    for _ in 0..2 {
        let (done, text) = kept.restore(&world, &with[2..]);
        assert!(!done && text.contains("are missing"), "{text}");
    }
    let (done, text) = kept.restore(&world, &with);
    assert!(done && text.contains("its disclosures") && text.contains("take it in again"), "{text}");
    assert!(!text.contains("u_8839201"), "it shows a person's id");

    goes_on(&mut world, &signed, &newest).await;
}
