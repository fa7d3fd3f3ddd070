//! The disk fails: each file-system call of a commit, of a checkpoint at the stop and of a start, once,
//! with EIO and ENOSPC; and a disk that stays full. An answer is an error or the gateway stops; what was
//! answered OK is never lost, and the trail always verifies.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mandate::cli::client::Client;
use mandate::grpc::v1;
use tokio::task::block_in_place;
use tonic_health::pb::health_check_response::ServingStatus::{NotServing, Serving};

use crate::harness::{Process, World, within};
use crate::health::{READS, Watched};
use crate::io_shim::{Call, KINDS, Mode, OPEN, SYNC, Shim, UNLOCK, WRITE};
use crate::load::{self, Submission, Told, Ways};
use crate::tls_keys::{TlsKey, calls, shown};

pub const ERRORS: [(&str, i32); 2] = [("EIO", libc::EIO), ("ENOSPC", libc::ENOSPC)];

/// What the disk fails under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// One instruction.
    Commit,
    /// SIGTERM: the write-ahead log is moved into the file and cut.
    Checkpoint,
    Start,
}

/// The n-th such call in this phase fails.
#[derive(Clone, Debug)]
pub struct Fault {
    pub phase: Phase,
    pub call: Call,
    pub nth: u64,
    pub error: i32,
}

impl Fault {
    /// Those that no run of `make faults` may leave out: what is written by a commit or a checkpoint.
    pub fn must_be_made(&self) -> bool {
        self.phase != Phase::Start && [WRITE, SYNC].contains(&self.call.kind)
    }
}

pub struct Scene {
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
    pub async fn new() -> Self {
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
    pub async fn calls(&mut self, phase: Phase) -> BTreeMap<Call, u64> {
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
    pub async fn fail(&mut self, fault: &Fault) -> bool {
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
    pub async fn check(&mut self) {
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

    pub fn sum(&self) -> Sum {
        Sum { faults: self.faults, errors: self.errors, stops: self.stops, answers: self.told.len() as u64 }
    }
}

/// What the failures brought about.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    faults: u64,
    errors: u64,
    stops: u64,
    answers: u64,
}

impl Sum {
    pub fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.errors += other.errors;
        self.stops += other.stops;
        self.answers += other.answers;
    }

    pub fn report(&self, what: &str) {
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

pub const PHASES: [Phase; 3] = [Phase::Commit, Phase::Checkpoint, Phase::Start];

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

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_for_longer_than_a_lock_may_hang_ends_no_gateway() {
    // `store::patience` ends a gateway after half a minute without a transaction.
    const FULL: Duration = Duration::from_secs(40);
    let mut scene = Scene::new().await;
    scene.commit().await;
    let profile = scene.world.profile("auditor");
    let (mut whole, mut reads) = (Watched::new(&profile, "").await, Watched::new(&profile, READS).await);
    assert_eq!((whole.next().await, reads.next().await), (Serving, Serving));

    scene.shim.set(Mode::Always, WRITE, "", 0, libc::ENOSPC);
    let (name, xingyu) = (scene.told[0].name.clone(), &scene.ways[0]);
    let over = AtomicBool::new(false);
    let trying = async {
        // To the end of a call: one that is let go while the disk gets well might be done unseen.
        while !over.load(Ordering::Relaxed) {
            let wire = String::from_utf8(load::erasure(xingyu)).expect("UTF-8");
            let refused = xingyu.refused(&wire).await;
            assert_eq!(refused.expect("a reason"), "UNAVAILABLE");
            let call = v1::GetInstructionRequest { name: name.clone() };
            let read = xingyu.client.instructions().get_instruction(call).await;
            read.expect("reads go on while the disk is full");
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    };
    let told = async {
        assert_eq!(whole.next().await, NotServing);
        tokio::time::sleep(FULL).await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(trying, told);
    assert!(scene.shim.failed() > 0);
    scene.shim.off();
    assert_eq!(whole.next().await, Serving);
    let told = Submission::new(&scene.ways, 1).once(&scene.ways[0]).await.expect("taken at the first try");
    scene.told.extend(told);
    assert!(whole.is_silent().await, "it said that before");
    assert!(reads.is_silent().await, "what only reads went on all the time");
    load::check(&scene.world, &scene.told).await;
    assert!(scene.world.gateway.as_mut().expect("it runs").exit_status().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_not_given_back_ends_the_gateway_and_the_next_one_goes_on() {
    let mut scene = Scene::new().await;
    scene.commit().await;
    scene.shim.set(Mode::Always, UNLOCK, "", 0, libc::EIO);
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
