//! The disk fails: each file-system call of a commit, of a checkpoint at the stop and of a start, once,
//! with EIO and ENOSPC; and a disk that stays full. An answer is an error or the gateway stops; what was
//! answered OK is never lost, and the trail always verifies.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mandate::cli::client::Client;
use mandate::grpc::v1;
use tokio::task::{JoinSet, block_in_place};

use crate::harness::{Environment, Process, World, within};
use crate::load::{self, Submission, TimeBox, Told, Ways};
use crate::tls_keys::{TlsKey, calls, shown};

/// What a fault does; the numbers are those of `tests/faults/io.c`.
#[derive(Clone, Copy)]
enum Mode {
    Off = 0,
    Once = 1,
    Always = 2,
    Trace = 3,
}

const KINDS: [(&str, u64); 9] = [
    ("write", WRITE),
    ("sync", SYNC),
    ("truncate", 4),
    ("open", OPEN),
    ("read", 16),
    ("close", 32),
    ("unlink", 64),
    ("stat", 128),
    ("fcntl", 256),
];
const WRITE: u64 = 1;
const SYNC: u64 = 2;
const OPEN: u64 = 8;
/// Bytes of a file's name, the zero at its end included, and where the first stands.
const NAME: usize = 56;
const HEAD: usize = 48;
/// The calls that a trace holds.
const TRACED: usize = 16_384;
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
        std::fs::write(&path, vec![0; HEAD + NAME + TRACED * (8 + NAME)]).expect("written");
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

    /// From now on calls of these kinds on this file (empty: on any) count, and fail as `mode` says.
    fn set(&self, mode: Mode, kinds: u64, file: &str, nth: u64, error: i32) {
        self.put(0, Mode::Off as u64);
        let mut name = [0; NAME];
        name[..file.len()].copy_from_slice(file.as_bytes());
        self.control.write_all_at(&name, HEAD as u64).expect("written");
        let error = u64::try_from(error).expect("an errno");
        for (place, value) in [kinds, nth, error, 0, 0].into_iter().enumerate() {
            self.put(1 + place as u64, value);
        }
        self.put(0, mode as u64);
    }

    fn off(&self) {
        self.set(Mode::Off, 0, "", 0, 0);
    }

    fn trace(&self) {
        self.set(Mode::Trace, KINDS.iter().map(|(_, kind)| kind).sum(), "", 0, 0);
    }

    /// How often which call was made on which file since the trace began.
    fn traced(&self) -> BTreeMap<Call, u64> {
        let seen = usize::try_from(self.seen()).expect("a count");
        assert!(seen <= TRACED, "more calls than a trace holds: {seen}");
        let mut calls = BTreeMap::new();
        for n in 0..seen {
            let mut entry = [0; 8 + NAME];
            let at = HEAD + NAME + n * entry.len();
            self.control.read_exact_at(&mut entry, at as u64).expect("read");
            let (kind, name) = entry.split_first_chunk().expect("long enough");
            let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
            let call =
                Call { kind: u64::from_ne_bytes(*kind), file: String::from_utf8(name).expect("UTF-8") };
            *calls.entry(call).or_insert(0) += 1;
        }
        calls
    }

    fn seen(&self) -> u64 {
        self.get(4)
    }

    fn failed(&self) -> u64 {
        self.get(5)
    }
}

/// A kind of call on one file of the data folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    kind: u64,
    file: String,
}

impl Call {
    fn kind_name(&self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self.kind).expect("a kind").0
    }
}

/// What the disk fails under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// One instruction.
    Commit,
    /// SIGTERM: the write-ahead log is moved into the file and cut.
    Checkpoint,
    Start,
}

/// The n-th such call in this phase fails.
#[derive(Clone, Debug)]
struct Fault {
    phase: Phase,
    call: Call,
    nth: u64,
    error: i32,
}

impl Fault {
    /// Those that no run of `make faults` may leave out: what is written by a commit or a checkpoint.
    fn must_be_made(&self) -> bool {
        self.phase != Phase::Start && [WRITE, SYNC].contains(&self.call.kind)
    }
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
            eprintln!("the disk failed, since all was well last:{}", self.at);
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
        let (dir, environment) = (self.world.path(), self.shim.environment());
        self.world.gateway = Some(block_in_place(|| Process::with("serve", dir, "gateway", environment)));
    }

    fn stop(&mut self) {
        let gateway = self.world.gateway.take().expect("it runs");
        let status = block_in_place(|| gateway.terminate());
        assert_eq!(status.signal(), None, "it did not stop by itself");
    }

    /// The calls in this phase, when nothing fails.
    async fn calls(&mut self, phase: Phase) -> BTreeMap<Call, u64> {
        self.commit().await;
        if phase == Phase::Start {
            self.stop();
        }
        self.shim.trace();
        match phase {
            Phase::Commit => self.commit().await,
            Phase::Checkpoint => self.stop(),
            Phase::Start => self.start(),
        }
        let calls = self.shim.traced();
        self.shim.off();
        if phase == Phase::Checkpoint {
            self.start();
        }
        let written = |kind| calls.keys().any(|call| call.kind == kind);
        let in_the_way = phase == Phase::Start || written(WRITE) && written(SYNC);
        assert!(in_the_way, "{phase:?} writes nothing: the shim is not in the way");
        calls
    }

    async fn commit(&mut self) {
        let submission = Submission::new(&self.ways, 1);
        self.told.extend(submission.until_answered(&self.ways).await);
    }

    fn arm(&self, fault: &Fault) {
        self.shim.set(Mode::Once, fault.call.kind, &fault.call.file, fault.nth, fault.error);
    }

    /// The call fails once; then the disk is well again, and instructions are taken. Whether there was one.
    async fn fail(&mut self, fault: &Fault) -> bool {
        self.at.push_str(&format!("\n  {fault:?}"));
        let before = self.faults;
        match fault.phase {
            Phase::Commit => {
                self.arm(fault);
                self.submit_and_repeat(&[1]).await;
            }
            Phase::Checkpoint => {
                self.arm(fault);
                self.stop();
                self.note();
                self.start();
            }
            Phase::Start => {
                self.stop();
                self.arm(fault);
                let (dir, environment) = (self.world.path(), self.shim.environment());
                let started = block_in_place(|| Process::try_with("serve", dir, "gateway", environment));
                self.note();
                self.stops += u64::from(started.is_err());
                match started {
                    Ok(gateway) => self.world.gateway = Some(gateway),
                    Err(_) => self.start(),
                }
            }
        }
        within(90, "a commit after it", self.commit()).await;
        self.faults > before
    }

    /// All that was answered is there, once and proven.
    async fn check(&mut self) {
        load::check(&self.world, &self.told).await;
        self.at.clear();
    }

    fn note(&mut self) {
        self.faults += self.shim.failed();
        self.shim.off();
    }

    /// Submits while the disk fails; then the same again, until all of it is answered.
    async fn submit_and_repeat(&mut self, counts: &[usize]) {
        let mut left = Vec::new();
        for count in counts {
            let submission = Submission::new(&self.ways, *count);
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

    fn sum(&self) -> Sum {
        Sum { faults: self.faults, errors: self.errors, stops: self.stops, answers: self.told.len() as u64 }
    }
}

/// What the failures brought about.
#[derive(Clone, Copy, Default)]
struct Sum {
    faults: u64,
    errors: u64,
    stops: u64,
    answers: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.errors += other.errors;
        self.stops += other.stops;
        self.answers += other.answers;
    }

    fn report(&self, what: &str) {
        load::report(
            what,
            &[
                ("calls to the disk that failed", self.faults as usize),
                ("calls of clients that were answered with an error, and repeated", self.errors as usize),
                ("times that the gateway stopped, and was started again", self.stops as usize),
                ("answers, each in the trail once and proven", self.answers as usize),
            ],
        );
    }
}

const PHASES: [Phase; 3] = [Phase::Commit, Phase::Checkpoint, Phase::Start];

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_the_disk_that_fails_loses_nothing_that_was_answered() {
    let mut scene = Scene::new().await;
    let mut made = 0;
    for phase in PHASES {
        let calls = scene.calls(phase).await;
        for (_, kind) in KINDS {
            let of_kind: Vec<_> = calls.iter().filter(|(call, _)| call.kind == kind).collect();
            // Each open of a start: SQLite then opens to read alone. Of others the last call (of syncs the
            // one that the answer waits for), and any other, each of any file.
            let mut chosen = Vec::new();
            if (phase, kind) == (Phase::Start, OPEN) {
                chosen.extend(of_kind.iter().flat_map(|(call, count)| (1..=**count).map(|nth| (*call, nth))));
            } else if !of_kind.is_empty() {
                let any = || of_kind[load::below(of_kind.len() as u64) as usize];
                let ((last, count), (other, among)) = (any(), any());
                chosen.extend([(last, *count), (other, 1 + load::below(*among))]);
            }
            for (call, nth) in chosen {
                let (_, error) = ERRORS[load::below(2) as usize];
                let fault = Fault { phase, call: call.clone(), nth, error };
                scene.fail(&fault).await;
                made += 1;
                if made % 4 == 0 {
                    scene.check().await;
                }
            }
        }
        // Many of one call, under the same faults.
        scene.shim.set(Mode::Once, WRITE, "", 1 + load::below(20), libc::EIO);
        scene.submit_and_repeat(&[1, 8]).await;
        scene.check().await;
    }
    let sum = scene.sum();
    sum.report("a sample");
    assert!(sum.faults > 0 && sum.errors + sum.stops > 0, "nothing that failed was felt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_writes_and_not_reads_until_there_is_space() {
    let mut scene = Scene::new().await;
    scene.commit().await;
    for _ in 0..3 {
        // One whose certificate has a key that must be written down first.
        let newcomer = shown(&scene.world, scene.world.profile("xingyu"), &TlsKey::new());
        let newcomer = Client::open(newcomer).await.expect("it connects");
        scene.shim.set(Mode::Always, WRITE, "", 0, libc::ENOSPC);
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

/// What is still to be made, and what came of it.
struct Plan {
    left: std::vec::IntoIter<Fault>,
    time: TimeBox,
    /// By what failed: whether there was such a call.
    tried: Vec<(Fault, bool)>,
    sum: Sum,
}

/// First one of each call on each file in each phase, and all that is written; then the others, each call in
/// turn.
fn plan(calls: &[(Phase, BTreeMap<Call, u64>)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (phase, calls) in calls {
        for (call, count) in calls {
            for nth in 1..=*count {
                faults.extend(ERRORS.map(|(_, error)| Fault {
                    phase: *phase,
                    call: call.clone(),
                    nth,
                    error,
                }));
            }
        }
    }
    faults.sort_by_key(|fault| {
        let first = fault.nth == 1 && (fault.error == libc::EIO) == (fault.call.kind != WRITE);
        (!first, !fault.must_be_made(), fault.nth)
    });
    faults
}

/// Makes faults of the plan, in worlds of its own, until none is left or the time is over.
async fn make_faults(plan: Arc<Mutex<Plan>>) {
    // What is verified at each check and at each start grows.
    const IN_A_WORLD: usize = 80;
    const CHECKED_AFTER: usize = 8;
    let next = || {
        let mut plan = plan.lock().expect("no worker panicked");
        if plan.time.has_time(CHECKED_AFTER as u32 / 2) { plan.left.next() } else { None }
    };
    let mut fault = next();
    while fault.is_some() {
        let mut scene = Scene::new().await;
        for n in 1..=IN_A_WORLD {
            let Some(now) = fault else { break };
            let there_was = scene.fail(&now).await;
            plan.lock().expect("no worker panicked").tried.push((now, there_was));
            if n % CHECKED_AFTER == 0 {
                scene.check().await;
            }
            fault = next();
        }
        scene.check().await;
        plan.lock().expect("no worker panicked").sum.add(scene.sum());
    }
}

/// For `make faults`: every call, as far as there is time; every write and every sync in any case.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as FAULT_SECONDS says: make faults"]
async fn for_make_faults_each_call_to_the_disk_fails_once() {
    // A gateway that stops or starts leaves a processor idle.
    const WORKERS: usize = 3;
    let mut time = TimeBox::of(5);
    let mut scene = Scene::new().await;
    let mut calls = Vec::new();
    for phase in PHASES {
        calls.push((phase, scene.calls(phase).await));
    }
    drop(scene);
    let faults = plan(&calls);
    let all = faults.len();
    time.begin();
    let plan = Plan { left: faults.into_iter(), time, tried: Vec::new(), sum: Sum::default() };
    let plan = Arc::new(Mutex::new(plan));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(make_faults(Arc::clone(&plan)));
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("a disk that failed lost nothing");
    }
    let plan = plan.lock().expect("no worker panicked");
    let made = plan.tried.iter().filter(|(_, there_was)| *there_was).count();
    plan.sum.report(&format!("a disk that fails: {made} of {all} faults"));
    println!("{:>8}  were asked for, but this time there were fewer such calls", plan.tried.len() - made);
    print_kinds(&calls, &plan.tried);
    let left_out = plan.left.as_slice().iter().filter(|fault| fault.must_be_made()).count();
    assert_eq!(left_out, 0, "writes and syncs that never failed: give it more FAULT_SECONDS");
    for (phase, calls) in calls.iter().filter(|(phase, _)| *phase != Phase::Start) {
        for call in calls.keys().filter(|call| [WRITE, SYNC].contains(&call.kind)) {
            let made = |tried: &(Fault, bool)| tried.1 && tried.0.phase == *phase && tried.0.call == *call;
            assert!(plan.tried.iter().any(made), "{call:?} never failed in a {phase:?}");
        }
    }
}

/// One line for each call on each file in each phase: how many faults of how many.
fn print_kinds(calls: &[(Phase, BTreeMap<Call, u64>)], tried: &[(Fault, bool)]) {
    for (phase, calls) in calls {
        for (call, count) in calls {
            let is = |fault: &Fault| fault.phase == *phase && fault.call == *call;
            let made = tried.iter().filter(|(fault, there_was)| *there_was && is(fault)).count();
            let all = count * ERRORS.len() as u64;
            println!("{made:>8}  of {all} faults of {} on {} in a {phase:?}", call.kind_name(), call.file);
        }
    }
}
