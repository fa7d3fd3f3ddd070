//! An older database in the place of the newer one: its keyring knows, so no gateway starts on it, and with the
//! newer one back nothing is lost.

use std::path::{Path, PathBuf};

use rstest::rstest;
use sqlx::Connection as _;

use crate::backup::{Kept, database, lose_database, mandate, submit_mail};
use crate::cluster::{self, Cluster};
use crate::harness::{Process, World};
use crate::load::On;

const MAIL: &[u8] = include_bytes!("../examples/mail/02-vague-english.eml");
const REFUSED: &str = "it is an older database";

/// A keyring that nobody ever told of the trail.
pub async fn forget_marks(world: &World) {
    let url = format!("sqlite://{}", world.path().join("data/keyring.sqlite").display());
    let mut keyring = sqlx::sqlite::SqliteConnection::connect(&url).await.expect("it opens");
    sqlx::raw_sql("DELETE FROM marks").execute(&mut keyring).await.expect("forgotten");
    keyring.close().await.expect("closed");
}

/// The gateway does not start; what it says.
pub fn refused(world: &World) -> String {
    match Process::try_with("serve", world.path(), "gateway", Vec::new()) {
        Ok(_) => panic!("a gateway started on an older database"),
        Err(log) => log.lines().last().unwrap_or_default().to_owned(),
    }
}

/// The newer database, set aside, with the older one in its place.
enum Newer {
    File(PathBuf),
    /// Its name on the server.
    Database(String),
}

impl Newer {
    /// The gateway has stopped: a file is whole without the files beside it.
    fn aside(world: &World, kept: &Kept) -> Self {
        match kept {
            Kept::Folder(backup) => {
                let newer = world.path().join("newer.sqlite");
                std::fs::rename(file(world), &newer).expect("set aside");
                lose_database(world);
                std::fs::copy(backup.join("database.sqlite"), file(world)).expect("copied back by hand");
                Self::File(newer)
            }
            Kept::Database(older) => {
                let (name, newer) = (database(world), format!("{older}_newer"));
                let server = cluster::shared();
                server.sql("postgres", &format!("ALTER DATABASE {name} RENAME TO {newer}"));
                server.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {older}"));
                // The runs before are long over, as they would be: their keys may be swept.
                let url = std::fs::read_to_string(world.path().join("keyring.url")).expect("the URL");
                let age = "UPDATE runs SET seen_at = now() - interval '2 hours'";
                server.sql(Cluster::name(&url), age);
                Self::Database(newer)
            }
        }
    }

    fn back(self, world: &World) {
        match self {
            Self::File(newer) => {
                lose_database(world);
                std::fs::rename(newer, file(world)).expect("moved back");
            }
            Self::Database(newer) => {
                let (name, server) = (database(world), cluster::shared());
                server.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
                server.sql("postgres", &format!("ALTER DATABASE {newer} RENAME TO {name}"));
            }
        }
    }
}

fn file(world: &World) -> PathBuf {
    world.path().join("data/gateway.sqlite")
}

/// How many orphan keys each start destroyed so far.
fn swept(world: &World) -> Vec<u64> {
    let log = std::fs::read_to_string(world.path().join("gateway.log")).expect("the log");
    let told = log.lines().filter(|line| line.contains("orphan keys destroyed"));
    let count = |line: &str| {
        let digits = line.split_once("\"swept\":").expect("a count").1;
        digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("a number")
    };
    told.map(count).collect()
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn no_gateway_starts_on_an_older_database_and_with_the_newer_one_back_nothing_is_lost(#[case] on: On) {
    let mut world = match on {
        On::Sqlite => World::without_agent(|_| {}).await,
        On::Postgres => World::on_postgres(1).await,
    };
    let config = world.path().join("gateway.toml");
    submit_mail(&world, MAIL, 1).await;
    let kept = Kept::of(&mut world, on);
    // Under keys that the run before this database was copied had made, and under some of its own.
    submit_mail(&world, MAIL, 2).await;
    submit_mail(&world, MAIL, 3).await;
    world.gateway.take().expect("it runs").stop();
    let newer = Newer::aside(&world, &kept);
    let before = matches!(on, On::Sqlite).then(|| std::fs::read(file(&world)).expect("read"));

    assert!(refused(&world).contains(REFUSED), "{}", refused(&world));
    let (done, text) = mandate(&["key", "rotate", "epoch", "--step", "begin", "--config"], &[&config]);
    assert!(!done && text.contains(REFUSED), "{text}");
    let (done, text) = mandate(&["doctor", "--config"], &[&config]);
    assert!(!done && text.contains("HEAD_BEHIND"), "{text}");
    if let Some(before) = before {
        assert!(std::fs::read(file(&world)).expect("read") == before, "something was written");
        // Nor on none at all, and none is made.
        lose_database(&world);
        assert!(refused(&world).contains(REFUSED));
        assert!(!file(&world).exists());
    }

    newer.back(&world);
    world.gateway = Some(Process::serve(world.path()));
    submit_mail(&world, MAIL, 4).await;
    world.gateway.take().expect("it runs").stop();
    let examined = world.examine();
    assert!(examined.contains("rows with data keys"), "{examined}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_keyring_knows_of_no_trail_nothing_is_swept_until_a_later_start() {
    let mut world = World::without_agent(|_| {}).await;
    let kept = Kept::of(&mut world, On::Sqlite);
    submit_mail(&world, MAIL, 1).await;
    world.gateway.take().expect("it runs").stop();
    let newer = Newer::aside(&world, &kept);

    // As a keyring of the release before: it cannot tell.
    forget_marks(&world).await;
    Process::serve(world.path()).stop();
    newer.back(&world);
    world.examine();
    Process::serve(world.path()).stop();
    let examined = world.examine();
    assert!(examined.contains("0 findings"), "{examined}");
    let swept = swept(&world);
    assert!(swept[..2] == [0, 0] && swept[2] > 0, "{swept:?}");
}

/// For whoever needs the older one to run: the keyring is made to forget.
pub async fn serve_older(world: &World) -> Process {
    assert!(refused(world).contains(REFUSED), "{}", refused(world));
    forget_marks(world).await;
    Process::serve(world.path())
}

/// The backup's own head, in a file.
pub fn own_head(world: &World, backup: &Path) -> PathBuf {
    let manifest = std::fs::read(backup.join("manifest.json")).expect("read");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let own = world.path().join("own-head");
    std::fs::write(&own, manifest["trail"].as_str().expect("a note")).expect("written");
    own
}
