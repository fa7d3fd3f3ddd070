//! A gateway whose line to PostgreSQL falls silent: nothing passes any more, and nobody is told. Its callers, its
//! supervisor and the other gateways must not wait for ever. Limits are far beyond what it keeps to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mandate::cli::client::{Client, Profile};
use mandate::grpc::v1;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use crate::cluster::{self, Cluster};
use crate::harness::{Process, World, replica_name, within};
use crate::load;
use crate::witness;

const SOCKET: &str = ".s.PGSQL.5432";
const MAIL: &[u8] = include_bytes!("../examples/mail/01-delete-enterprise-app.eml");

/// Relays connections to the server until it is told to fall silent.
struct Line {
    folder: tempfile::TempDir,
    silence: Arc<Notify>,
    dark: Arc<AtomicBool>,
}

impl Line {
    fn to(server: PathBuf) -> Line {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let line = Line { folder, silence: Arc::default(), dark: Arc::default() };
        let (silence, dark) = (Arc::clone(&line.silence), Arc::clone(&line.dark));
        tokio::spawn(async move {
            let mut unheard = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                if dark.load(Ordering::SeqCst) {
                    unheard.push(client);
                } else {
                    tokio::spawn(relay(client, server.join(SOCKET), Arc::clone(&silence)));
                }
            }
        });
        line
    }

    /// Nothing passes over the connections that there are; `dark`: nor over new ones.
    fn fall_silent(&self, dark: bool) {
        self.dark.store(dark, Ordering::SeqCst);
        self.silence.notify_waiters();
    }

    /// The n-th gateway reaches both databases over this line from its next start on.
    fn lead(&self, world: &World, n: usize) {
        let file = world.path().join(replica_name(n)).with_extension("toml");
        let mut config = std::fs::read_to_string(&file).expect("the configuration");
        for name in ["database", "keyring"] {
            let url = std::fs::read_to_string(world.path().join(format!("{name}.url"))).expect("the URL");
            let (rest, _) = url.rsplit_once("host=").expect("a host");
            let url = format!("{rest}host={}", self.folder.path().display());
            std::fs::write(world.path().join(format!("{name}-over-line.url")), url).expect("written");
            config = config.replace(&format!("\"{name}.url\""), &format!("\"{name}-over-line.url\""));
        }
        std::fs::write(file, config).expect("written");
    }
}

/// Keeps both sides open when it falls silent.
async fn relay(mut client: UnixStream, server: PathBuf, silence: Arc<Notify>) {
    let Ok(mut server) = UnixStream::connect(server).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = silence.notified() => std::future::pending().await,
    }
}

/// A world whose first gateway reaches the shared server over a line.
async fn world_over_line(count: usize, adjust: impl FnOnce(&Path)) -> (World, Line) {
    let mut world = World::on_postgres_with(count, adjust).await;
    world.gateway.take().expect("it runs").stop();
    let url = std::fs::read_to_string(world.path().join("database.url")).expect("the URL");
    let (_, host) = url.rsplit_once("host=").expect("a host");
    let line = Line::to(host.into());
    line.lead(&world, 0);
    world.gateway = Some(tokio::task::block_in_place(|| Process::serve(world.path())));
    (world, line)
}

async fn client_at(world: &World, name: &str, n: usize) -> Client {
    let profile = Profile::load(&world.profile_at(name, n)).expect("the profile loads");
    Client::open(profile).await.expect("it connects")
}

/// A mail is taken in: the same call again where nobody could say.
async fn taken_in(support: &Client, n: u8) -> v1::Message {
    within(180, "a mail to be taken in", async {
        loop {
            let submit = v1::SubmitMailRequest {
                mail: MAIL.into(),
                received_time: None,
                request_id: format!("0b2f7a58-3a3c-4a86-9c5c-2f1f5a0e9d{n:02}"),
            };
            match support.intake().submit_mail(submit).await {
                Ok(taken) => break taken.into_inner().message.expect("shown"),
                Err(status) => load::may_be_repeated(&status),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
}

fn leaves(world: &World) -> u64 {
    let url = std::fs::read_to_string(world.path().join("database.url")).expect("the URL");
    let size = "SELECT size FROM log_heads WHERE log = 'trail'";
    tokio::task::block_in_place(|| cluster::shared().sql(Cluster::name(&url), size)).parse().expect("a size")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_goes_on_over_new_connections_and_ends_when_it_is_told_to() {
    let (mut world, line) = world_over_line(1, |_| {}).await;
    let support = client_at(&world, "support", 0).await;
    taken_in(&support, 1).await;
    for n in 2..4 {
        let before = leaves(&world);
        line.fall_silent(false);
        let message = taken_in(&support, n).await;
        // Once, however often it was asked for.
        assert_eq!(leaves(&world), before + 2, "a message and its case");
        let read = v1::GetMessageRequest { name: message.name };
        let read = within(120, "a read", support.intake().get_message(read)).await;
        read.expect("it is there");
    }
    line.fall_silent(true);
    let unheard = tokio::spawn(async move { taken_in(&support, 9).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gateway = world.gateway.take().expect("it runs");
    // Within a minute, or it panics.
    let status = tokio::task::block_in_place(|| gateway.terminate());
    assert!(status.code().is_some(), "it had to be killed: {status}");
    unheard.abort();
    let before = leaves(&world);
    line.fall_silent(false);
    world.gateway = Some(tokio::task::block_in_place(|| Process::serve(world.path())));
    taken_in(&client_at(&world, "support", 0).await, 4).await;
    assert_eq!(leaves(&world), before + 2);
    world.export_and_verify().await;
}

fn turns(world: &World, statement: &str) -> String {
    let url = std::fs::read_to_string(world.path().join("database.url")).expect("the URL");
    tokio::task::block_in_place(|| cluster::shared().sql(Cluster::name(&url), statement))
}

/// Until the gateway shows all that there is under a cosigned head.
async fn all_cosigned(auditor: &Client, size: u64) {
    within(120, "the witnesses to be asked", async {
        loop {
            let call = v1::GetCheckpointRequest { log: v1::Log::Trail.into() };
            let note = auditor.audit().get_checkpoint(call).await.expect("a head").into_inner().checkpoint;
            let shown = note.lines().nth(1).and_then(|line| line.parse::<u64>().ok()).expect("a size");
            if shown >= size {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_gateway_that_vanishes_another_takes_the_witnesses_turn_and_any_says_if_nobody_asks() {
    const HOLDER: &str = "SELECT holder FROM turns";
    let mut witnesses = Vec::new();
    let (world, line) = world_over_line(2, |dir| witnesses = witness::set_up(dir, 1, 1)).await;
    within(60, "the first gateway to have the turn", async {
        while !turns(&world, "SELECT count(*) FROM turns WHERE ends_at > 0").contains('1') {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let first = turns(&world, HOLDER);
    let second = tokio::task::block_in_place(|| Process::replica(world.path(), &replica_name(1)));
    let (support, auditor) = (client_at(&world, "support", 1).await, client_at(&world, "auditor", 1).await);
    taken_in(&support, 1).await;
    all_cosigned(&auditor, leaves(&world)).await;
    assert_eq!(turns(&world, HOLDER), first, "the turn changed hands for nothing");

    line.fall_silent(true);
    taken_in(&support, 2).await;
    all_cosigned(&auditor, leaves(&world)).await;
    assert_ne!(turns(&world, HOLDER), first);

    // Somebody has the turn and asks nobody.
    turns(&world, "UPDATE turns SET holder = 'somebody', ends_at = 9000000000000");
    within(120, "the alarm", async {
        // What comes in before the gateway has noticed is still cosigned.
        for mail in 3.. {
            taken_in(&support, mail).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            if second.logged().contains("WITNESSES_MISSING") {
                break;
            }
        }
    })
    .await;
    assert!(second.logged().contains("not this gateway's turn"), "{}", second.logged());
    turns(&world, "UPDATE turns SET ends_at = 0");
    all_cosigned(&auditor, leaves(&world)).await;
}
