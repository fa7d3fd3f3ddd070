//! The disk fails: each file-system call of a commit, of a checkpoint at the stop and of a start, once,
//! with EIO and ENOSPC; and a disk that stays full. An answer is an error or the gateway stops; what was
//! answered OK is never lost, and the trail always verifies.

use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use mandate::cli::client::Client;
use mandate::grpc::v1;

use crate::harness::{Environment, Process, World, within};
use crate::load::{self, Submission, TimeBox, Told, Ways};
use crate::tls_keys::{TlsKey, calls, shown};

/// What a fault does; the numbers are those of `tests/faults/io.c`.
#[derive(Clone, Copy)]
enum Mode {
    Off = 0,
    Once = 1,
    Always = 2,
}

const KINDS: [(&str, u64); 5] = [("write", WRITE), ("sync", 2), ("truncate", 4), ("open", 8), ("read", 16)];
const WRITE: u64 = 1;
const UNLOCK: u64 = 32;
const ERRORS: [(&str, i32); 2] = [("EIO", libc::EIO), ("ENOSPC", libc::ENOSPC)];

/// The shim between a gateway and its data folder.
struct Shim {
    folder: PathBuf,
    path: PathBuf,
    control: std::fs::File,
}

/// The shim's library, made once.
fn library() -> &'static Path {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("io.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/io.c");
        let made = std::process::Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&path)
            .arg(source)
            .arg("-ldl")
            .output()
            .expect("a C compiler is installed: apt-get install gcc");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (folder, path)
    });
    path
}

impl Shim {
    fn new(dir: &Path) -> Self {
        let path = dir.join("io-control");
        std::fs::write(&path, [0; 48]).expect("written");
        let control = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opened");
        Self { folder: dir.join("data"), path, control }
    }

    fn environment(&self) -> Environment {
        vec![
            ("LD_PRELOAD", library().display().to_string()),
            ("MANDATE_IO_FOLDER", self.folder.display().to_string()),
            ("MANDATE_IO_CONTROL", self.path.display().to_string()),
        ]
    }

    fn put(&self, place: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), 8 * place).expect("written");
    }

    fn get(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 8 * place).expect("read");
        u64::from_ne_bytes(bytes)
    }

    /// From now on calls of these kinds count, and fail as `mode` says.
    fn set(&self, mode: Mode, kinds: u64, nth: u64, error: i32) {
        self.put(0, Mode::Off as u64);
        let error = u64::try_from(error).expect("an errno");
        for (place, value) in [kinds, nth, error, 0, 0].into_iter().enumerate() {
            self.put(1 + place as u64, value);
        }
        self.put(0, mode as u64);
    }

    fn off(&self) {
        self.set(Mode::Off, 0, 0, 0);
    }

    fn seen(&self) -> u64 {
        self.get(4)
    }

    fn failed(&self) -> u64 {
        self.get(5)
    }
}

/// What the disk fails under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// One instruction, and a batch of them.
    Commit,
    /// SIGTERM: the write-ahead log is moved into the file and cut.
    Checkpoint,
    Start,
}

struct Scene {
    world: World,
    shim: Shim,
    ways: Ways,
    told: Vec<Told>,
    /// What the disk's failures brought about.
    faults: u64,
    errors: u64,
    stops: u64,
    /// The fault of now, for whoever reads why a test failed.
    at: String,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the disk failed: {}", self.at);
        }
    }
}

impl Scene {
    async fn new() -> Self {
        let mut world = World::without_agent(|_| {}).await;
        let shim = Shim::new(world.path());
        world.gateway.take().expect("it runs").stop();
        world.gateway = Some(Process::with("serve", world.path(), "gateway", shim.environment()));
        let ways = load::ways(&[world.profile_at("xingyu", 0)]).await;
        Self { world, shim, ways, told: Vec::new(), faults: 0, errors: 0, stops: 0, at: String::new() }
    }

    fn start(&mut self) {
        let started = Process::with("serve", self.world.path(), "gateway", self.shim.environment());
        self.world.gateway = Some(started);
    }

    fn stop(&mut self) {
        let status = self.world.gateway.take().expect("it runs").terminate();
        assert_eq!(status.signal(), None, "it did not stop by itself");
    }

    /// Calls of this kind in this phase, when nothing fails.
    async fn count(&mut self, phase: Phase, kind: u64) -> u64 {
        match phase {
            Phase::Commit => {
                self.shim.set(Mode::Off, kind, 0, 0);
                self.commit().await;
                self.shim.seen()
            }
            Phase::Checkpoint => {
                self.commit().await;
                self.shim.set(Mode::Off, kind, 0, 0);
                self.stop();
                let seen = self.shim.seen();
                self.start();
                seen
            }
            Phase::Start => {
                self.stop();
                self.shim.set(Mode::Off, kind, 0, 0);
                self.start();
                self.shim.seen()
            }
        }
    }

    async fn commit(&mut self) {
        let pending = [Submission::new(&self.ways, 1), Submission::new(&self.ways, 8)];
        for submission in pending {
            self.told.extend(submission.until_answered(&self.ways).await);
        }
    }

    /// The n-th call fails once; then the disk is well again.
    async fn fail(&mut self, phase: Phase, kind: u64, nth: u64, error: i32) {
        self.at = format!("{phase:?}, kind {kind}, call {nth}, errno {error}");
        match phase {
            Phase::Commit => {
                self.shim.set(Mode::Once, kind, nth, error);
                self.submit_and_repeat().await;
            }
            Phase::Checkpoint => {
                self.commit().await;
                self.shim.set(Mode::Once, kind, nth, error);
                self.stop();
                self.note();
                self.start();
            }
            Phase::Start => {
                self.stop();
                self.shim.set(Mode::Once, kind, nth, error);
                let environment = self.shim.environment();
                let started = Process::try_with("serve", self.world.path(), "gateway", environment);
                self.note();
                self.stops += u64::from(started.is_err());
                match started {
                    Ok(gateway) => self.world.gateway = Some(gateway),
                    Err(_) => self.start(),
                }
            }
        }
        within(90, "a commit after it", self.commit()).await;
        load::check(&self.world, &self.told).await;
    }

    fn note(&mut self) {
        self.faults += self.shim.failed();
        self.shim.off();
    }

    /// Submits while the disk fails; then the same again, until all of it is answered.
    async fn submit_and_repeat(&mut self) {
        let mut left = Vec::new();
        for submission in [Submission::new(&self.ways, 1), Submission::new(&self.ways, 8)] {
            match submission.once(&self.ways[0]).await {
                Some(told) => self.told.extend(told),
                None => left.push(submission),
            }
        }
        self.note();
        self.errors += left.len() as u64;
        within(60, "the gateway to go on or to stop", async {
            for submission in &left {
                loop {
                    self.start_if_it_stopped();
                    if let Some(told) = submission.once(&self.ways[0]).await {
                        self.told.extend(told);
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
        .await;
        self.start_if_it_stopped();
    }

    fn start_if_it_stopped(&mut self) {
        let gateway = self.world.gateway.as_mut().expect("it was started");
        if let Some(status) = gateway.exit_status() {
            assert_eq!(status.code(), Some(1), "{status}: {}", gateway.logged());
            self.stops += 1;
            self.start();
        }
    }

    fn report(&self, what: &str) {
        let Self { faults, errors, stops, told, .. } = self;
        load::report(
            what,
            &[
                ("calls to the disk that failed", *faults as usize),
                ("calls of clients that were answered with an error, and repeated", *errors as usize),
                ("times that the gateway stopped, and was started again", *stops as usize),
                ("answers, each in the trail once and proven", told.len()),
            ],
        );
    }
}

const PHASES: [Phase; 3] = [Phase::Commit, Phase::Checkpoint, Phase::Start];

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_the_disk_that_fails_loses_nothing_that_was_answered() {
    let mut scene = Scene::new().await;
    for phase in PHASES {
        for (name, kind) in KINDS {
            let count = scene.count(phase, kind).await;
            assert!(
                count > 0 || !["write", "sync"].contains(&name) || phase == Phase::Start,
                "{phase:?} makes no {name} call: the shim is not in the way"
            );
            // Each open of a start: SQLite then opens to read alone. Of others the last call (of syncs the
            // one that the answer waits for), and any other.
            let calls: Vec<u64> = match (phase, name) {
                (Phase::Start, "open") => (1..=count).collect(),
                _ => [count, 1 + load::below(count.max(1))].into_iter().take(count.min(2) as usize).collect(),
            };
            for nth in calls {
                let (_, error) = ERRORS[load::below(2) as usize];
                scene.fail(phase, kind, nth, error).await;
            }
        }
    }
    scene.report("a sample");
    assert!(scene.faults > 0 && scene.errors + scene.stops > 0, "nothing that failed was felt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_writes_and_not_reads_until_there_is_space() {
    let mut scene = Scene::new().await;
    scene.commit().await;
    for _ in 0..3 {
        // One whose certificate has a key that must be written down first.
        let newcomer = shown(&scene.world, scene.world.profile("xingyu"), &TlsKey::new());
        let newcomer = Client::open(newcomer).await.expect("it connects");
        scene.shim.set(Mode::Always, WRITE, 0, libc::ENOSPC);
        let submissions = [Submission::new(&scene.ways, 1), Submission::new(&scene.ways, 8)];
        for submission in &submissions {
            assert!(submission.once(&scene.ways[0]).await.is_none(), "an answer without a byte on the disk");
        }
        assert!(scene.shim.failed() > 0);
        let name = scene.told[0].name.clone();
        let call = v1::GetInstructionRequest { name };
        let read = scene.ways[0].client.instructions().get_instruction(call).await;
        read.expect("reads go on while the disk is full");
        assert_ne!(calls(&newcomer).await, "taken", "a key that stands nowhere lets nobody in");
        scene.shim.off();
        for submission in submissions {
            scene.told.extend(submission.until_answered(&scene.ways).await);
        }
        assert_eq!(calls(&newcomer).await, "taken");
        load::check(&scene.world, &scene.told).await;
    }
    assert!(scene.world.gateway.as_mut().expect("it runs").exit_status().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_not_given_back_ends_the_gateway_and_the_next_one_goes_on() {
    let mut scene = Scene::new().await;
    scene.commit().await;
    scene.shim.set(Mode::Always, UNLOCK, 0, libc::EIO);
    let mut left = Vec::new();
    for submission in [Submission::new(&scene.ways, 1), Submission::new(&scene.ways, 1)] {
        match submission.once(&scene.ways[0]).await {
            Some(told) => scene.told.extend(told),
            None => left.push(submission),
        }
    }
    assert!(scene.shim.failed() > 0, "nothing was unlocked: the shim is not in the way");
    scene.shim.off();
    assert!(!left.is_empty(), "the lock was not missed");

    // The disk is well again; what is stuck is this process.
    let status = scene.world.gateway.as_mut().expect("it was started").ended(90, "its end").await;
    let logged = scene.world.gateway.as_ref().expect("it was started").logged();
    assert!(status.code() == Some(1) && logged.contains("database_stuck"), "{status}: {logged}");
    scene.start();
    for submission in left {
        scene.told.extend(submission.until_answered(&scene.ways).await);
    }
    load::check(&scene.world, &scene.told).await;
}

/// For `make faults`: as many as there is time for, the rarer calls first.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as FAULT_SECONDS says: make faults"]
async fn for_make_faults_each_call_to_the_disk_fails_once() {
    let mut time = TimeBox::of(2);
    let mut scene = Scene::new().await;
    let (mut plan, mut seen) = (Vec::new(), String::new());
    for phase in PHASES {
        for (name, kind) in KINDS {
            let count = scene.count(phase, kind).await;
            seen.push_str(&format!("{count:>8}  calls of {name} in a {phase:?}\n"));
            plan.extend(
                (1..=count).flat_map(|nth| ERRORS.map(|(_, error)| (count, phase, kind, nth, error))),
            );
        }
    }
    // Where the time does not suffice for all of many calls, a random part of them is made.
    plan.sort_by_cached_key(|(count, ..)| (*count > 64, load::below(1 << 32)));
    let all = plan.len();
    let mut tried = 0;
    time.begin();
    for (_, phase, kind, nth, error) in plan {
        if !time.has_time(0) {
            break;
        }
        scene.fail(phase, kind, nth, error).await;
        tried += 1;
    }
    scene.report(&format!("a disk that fails: {tried} of {all} faults"));
    print!("{seen}");
}
