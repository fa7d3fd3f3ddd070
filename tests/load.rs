//! Clients that go on while the processes die under them, and what each of them was told.
//!
//! A call that is not answered is repeated, the very same, until it is: at whichever gateway.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use mandate::authority::Pins;
use mandate::cli::demo::Enterprise;
use mandate::domain::clock::{SystemClock, SystemEntropy, uuid_v7};
use mandate::domain::{Act, Entropy, Identifier};
use mandate::grpc::v1;
use mandate::trail::Receipt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use crate::harness::{World, within};

/// Which database a test is about.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Sqlite,
    Postgres,
}

impl On {
    /// One gateway, no agent; `adjust` may change the set-up's files before the start.
    pub async fn world(self, adjust: impl FnOnce(&Path)) -> World {
        match self {
            Self::Sqlite => World::without_agent(adjust).await,
            Self::Postgres => World::on_postgres_with(1, adjust).await,
        }
    }
}

/// How long one call may take before it counts as not answered.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(25);
/// Instructions in a batch.
const BATCH: usize = 4;

/// An answer: what it says was done, with the receipt.
pub struct Told {
    pub name: String,
    pub receipt: v1::Receipt,
    pub executions: Vec<String>,
}

/// The calls under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Told>>,
}

/// The ways in, opened while all gateways run.
pub type Ways = Arc<[Enterprise]>;

pub async fn ways(profiles: &[PathBuf]) -> Ways {
    let mut ways = Vec::new();
    for profile in profiles {
        ways.push(Enterprise::open(profile).await.expect("it connects"));
    }
    ways.into()
}

impl Load {
    /// Instructions one by one and in batches, and cases by the controller's own hand.
    pub fn start(ways: &Ways) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for n in 0..4 {
            clients.spawn(client(Arc::clone(ways), n, Arc::clone(&stop)));
        }
        Self { stop, clients }
    }

    /// What all were told. Waits for the answers that are still due.
    pub async fn stop(mut self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        within(60, "the last answers", async {
            let mut told = Vec::new();
            while let Some(client) = self.clients.join_next().await {
                told.extend(client.expect("the client did not panic"));
            }
            told
        })
        .await
    }
}

async fn client(ways: Ways, n: usize, stop: Arc<AtomicBool>) -> Vec<Told> {
    let mut told = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // Fewer instructions than cases: an agent has to carry them out.
        let pause = match n {
            0 => {
                told.extend(Submission::new(&ways, 1).until_answered(&ways).await);
                4 * PAUSE
            }
            1 => {
                told.extend(Submission::new(&ways, BATCH).until_answered(&ways).await);
                16 * PAUSE
            }
            _ => {
                told.push(open_case(&ways).await);
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
    told
}

/// That an answer which is not OK leaves it open what was done: the very same call again will tell.
pub fn may_be_repeated(status: &tonic::Status) {
    assert!(
        matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal),
        "refused: {:?} {}",
        status.code(),
        status.message()
    );
}

/// An erasure of somebody who is not there.
pub fn erasure(of: &Enterprise) -> Vec<u8> {
    let user = uuid_v7(&SystemClock, &SystemEntropy).to_string();
    let order = of.order(Act::Erase, vec![Identifier::user(&of.app, user)], None).expect("an order");
    of.sign(&order).expect("signs").to_wire().into_bytes()
}

/// One instruction, or many in one call, which may be sent again and again.
pub struct Submission(Vec<v1::SubmitInstructionRequest>);

impl Submission {
    pub fn new(ways: &Ways, count: usize) -> Self {
        let one = || v1::SubmitInstructionRequest { instruction: erasure(&ways[0]).into() };
        Self(std::iter::repeat_with(one).take(count).collect())
    }

    async fn send(&self, way: &Enterprise) -> Result<Vec<v1::InstructionOutcome>, tonic::Status> {
        use v1::instruction_outcome::Outcome;
        let mut client = way.client.instructions();
        if let [one] = &*self.0 {
            let done = client.submit_instruction(one.clone()).await?.into_inner();
            return Ok(vec![v1::InstructionOutcome { outcome: Some(Outcome::Admitted(done)) }]);
        }
        let call = v1::BatchSubmitInstructionsRequest { requests: self.0.clone() };
        Ok(client.batch_submit_instructions(call).await?.into_inner().outcomes)
    }

    /// `None` where not every one was answered OK: then it may be sent again.
    pub async fn once(&self, way: &Enterprise) -> Option<Vec<Told>> {
        use v1::instruction_outcome::Outcome;
        let outcomes = match tokio::time::timeout(PATIENCE, self.send(way)).await {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(status)) => {
                may_be_repeated(&status);
                return None;
            }
            Err(_) => return None,
        };
        let outcome = |outcome: v1::InstructionOutcome| match outcome.outcome.expect("an outcome") {
            Outcome::Admitted(done) => Some(told(done)),
            Outcome::Refused(refused) => {
                assert!(["UNAVAILABLE", "INTERNAL"].contains(&&*refused.reason), "{}", refused.reason);
                None
            }
        };
        outcomes.into_iter().map(outcome).collect()
    }

    /// Sends it, here or there, until every one is answered OK. Sending it again has no second effect.
    pub async fn until_answered(&self, ways: &Ways) -> Vec<Told> {
        for attempt in 0.. {
            if let Some(told) = self.once(&ways[attempt % ways.len()]).await {
                return told;
            }
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("it goes on until one answers")
    }
}

pub fn told(answer: v1::SubmitInstructionResponse) -> Told {
    let instruction = answer.instruction.expect("shown");
    let receipt = answer.receipt.expect("a receipt");
    assert_eq!(receipt.index, instruction.trail_index);
    Told { name: instruction.name, receipt, executions: instruction.executions }
}

async fn open_case(ways: &Ways) -> Told {
    let call = v1::CreateRequestRequest {
        app: ways[0].app.resource_name(),
        rights: vec!["delete".into()],
        request_id: uuid_v7(&SystemClock, &SystemEntropy).to_string(),
        ..Default::default()
    };
    let mut attempt = 0;
    let answer = loop {
        let mut client = ways[attempt % ways.len()].client.requests();
        match tokio::time::timeout(PATIENCE, client.create_request(call.clone())).await {
            Ok(Ok(answer)) => break answer.into_inner(),
            Ok(Err(status)) => may_be_repeated(&status),
            Err(_) => {}
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    };
    let name = answer.request.expect("shown").name;
    Told { name, receipt: answer.receipt.expect("a receipt"), executions: Vec::new() }
}

/// What a call of the clients leaves in the trail, once.
const DONE: [&str; 2] = ["mandate.instruction.admitted", "mandate.request.received"];

/// Every answer is in the trail, at the place and under the proof that its receipt names, and it is all that
/// was done: a call that was sent again and again was done once. The whole trail verifies.
pub async fn check(world: &World, told: &[Told]) {
    check_beside(world, told, 0).await;
}

/// The same where so many cases came in by mail, too.
pub async fn check_beside(world: &World, told: &[Told], mails: usize) {
    let pins = std::fs::read_to_string(world.path().join("pins.toml")).expect("the pins");
    let pins = Pins::parse(&pins).expect("the pins");
    let last = told.iter().map(|told| told.receipt.index).max().unwrap_or(0);
    // Where witnesses are asked, the auditor sees what they have cosigned.
    let leaves = within(60, "the trail's last leaf", async {
        loop {
            let leaves = world.trail_leaves().await;
            if leaves.len() as u64 > last {
                return leaves;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let mut indexes = BTreeSet::new();
    for Told { name, receipt, .. } in told {
        assert!(indexes.insert(receipt.index), "two answers share leaf {}", receipt.index);
        let leaf = &leaves[usize::try_from(receipt.index).expect("an index")];
        assert_eq!(leaf.as_bytes(), &receipt.leaf[..], "another leaf stands where the receipt says");
        let proof = Receipt::parse(&receipt.proof).expect("a receipt");
        assert_eq!(proof.index, receipt.index);
        proof.verify(&receipt.leaf, &pins.trail.origin, &pins.trail.vkey).expect("it proves the leaf");
        let json: serde_json::Value = serde_json::from_str(leaf).expect("JSON");
        assert_eq!(json["subject"], **name);
    }
    let mut once = BTreeSet::new();
    let leaves: Vec<serde_json::Value> =
        leaves.iter().map(|leaf| serde_json::from_str(leaf).expect("JSON")).collect();
    for leaf in &leaves {
        let kind = leaf["type"].as_str().expect("a type");
        if DONE.contains(&kind) {
            assert!(once.insert((kind.to_owned(), leaf["subject"].to_string())), "it happened twice: {kind}");
        }
    }
    // A second case or instruction has a name of its own: only their number tells.
    assert_eq!(once.len(), told.len() + mails, "a call that was sent again was done again");
    world.export_and_verify().await;
}

/// Waits for executions, which may stand behind many others, to be completed.
pub async fn completed(by: &Enterprise, executions: &[String]) {
    within(180, "carrying out what was ordered", async {
        for name in executions {
            loop {
                let call = v1::GetExecutionRequest { name: name.clone() };
                let found = by.client.executions().get_execution(call).await.expect("it is there");
                let found = found.into_inner().execution.expect("shown");
                match found.state() {
                    v1::ExecutionState::Completed => break,
                    v1::ExecutionState::Failed => panic!("it failed: {}", found.reason),
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
    })
    .await;
}

/// What a person reads at the end of `make faults`: one line for each of what was done, with its number.
pub fn report(what: &str, counts: &[(&str, usize)]) {
    println!("\n== {what}");
    for (what, count) in counts {
        println!("{count:>8}  {what}");
    }
}

/// A random number below `n`.
pub fn below(n: u64) -> u64 {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes);
    u64::from_be_bytes(bytes) % n
}

/// What is left of `FAULT_SECONDS` (600), which all tests of `make faults` share, one after the other. It
/// begins with the first of them; one that took too long leaves less to the others.
static LEFT: LazyLock<Mutex<(Instant, u32)>> = LazyLock::new(|| {
    const SHARES: u32 = 12;
    let all = std::env::var("FAULT_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    Mutex::new((Instant::now() + Duration::from_secs(all), SHARES))
});

/// Carrying out what is left and looking at all of it takes as long as so many rounds.
pub const CLOSING: u32 = 2;

/// The time one test has for its rounds, and for what must come after the last.
pub struct TimeBox {
    end: Instant,
    asked: Instant,
    longest: Duration,
}

impl TimeBox {
    /// So many of the shares.
    pub fn of(shares: u32) -> Self {
        let mut left = LEFT.lock().expect("no test ended while it took its share");
        let now = Instant::now();
        let own = left.0.saturating_duration_since(now) * shares / left.1.max(shares);
        left.1 = left.1.saturating_sub(shares);
        Self { end: now + own, asked: now, longest: Duration::ZERO }
    }

    /// From here on rounds are counted: what was made before them took its own time.
    pub fn begin(&mut self) {
        self.asked = Instant::now();
    }

    /// Whether there is time for one more round as long as the longest so far, and for a closing that takes as
    /// long as `closing` of them.
    pub fn has_time(&mut self, closing: u32) -> bool {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.asked);
        self.asked = now;
        now + self.longest * (1 + closing) < self.end
    }
}
