//! Several gateways on one PostgreSQL, an agent, and clients that go on whatever happens to them: after each
//! thing that happened, a look at everything that anyone was told so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mandate::authority::{Pins, head};
use mandate::cli::client::{Client, Profile};
use mandate::grpc::v1;
use mandate::trail::{Checkpoint, Hash, Receipt, verify_consistency};

use crate::cluster::Cluster;
use crate::harness::{Process, World, configure, replica_name};
use crate::load::{self, DONE, Load, Told, Ways};
use crate::replicas::{take_in, wakes_at_once};

/// Instructions of each round that every gateway is asked about.
const ASKED: usize = 12;

pub struct Gateways {
    pub world: World,
    /// Those that run, by number.
    pub running: BTreeMap<usize, Process>,
    pub ways: Ways,
    pub told: Vec<Told>,
    count: usize,
    /// One at each gateway.
    auditors: Arc<[Client]>,
    support: Client,
    /// Mails taken in beside the load.
    mails: usize,
    pins: Pins,
    /// The newest head that anyone saw: all others were found to be beginnings of it.
    newest: Option<Checkpoint>,
    /// How many heads were held against it.
    pub heads: usize,
}

impl Gateways {
    pub async fn new(cluster: &Cluster, count: usize) -> Self {
        // What a gateway that died had leased, or could not say that it had, is free again soon.
        let adjust = |dir: &std::path::Path| {
            configure(dir, |gateway| {
                let limits = gateway["limits"].as_table_mut().expect("a table");
                limits.insert("lease_seconds".into(), 8.into());
            });
        };
        let mut world = World::on_cluster(cluster, count, adjust).await;
        let mut running = BTreeMap::from([(0, world.gateway.take().expect("it runs"))]);
        for n in 1..count {
            running.insert(n, Process::replica(world.path(), &replica_name(n)));
        }
        world.agent = Some(Process::agent(world.path()));
        let profiles: Vec<_> = (0..count).map(|n| world.profile_at("xingyu", n)).collect();
        let ways = load::ways(&profiles).await;
        let mut auditors = Vec::new();
        for n in 0..count {
            let profile = Profile::load(&world.profile_at("auditor", n)).expect("the profile loads");
            auditors.push(Client::open(profile).await.expect("it connects"));
        }
        let support = world.client("support").await;
        let pins = std::fs::read_to_string(world.path().join("pins.toml")).expect("the pins");
        Self {
            pins: Pins::parse(&pins).expect("the pins"),
            auditors: auditors.into(),
            told: Vec::new(),
            mails: 0,
            heads: 0,
            newest: None,
            world,
            running,
            ways,
            count,
            support,
        }
    }

    /// The databases of the state and of the keyring, by name.
    pub fn databases(&self) -> [String; 2] {
        ["database", "keyring"].map(|name| {
            let url = std::fs::read_to_string(self.world.path().join(format!("{name}.url")));
            Cluster::name(&url.expect("the URL")).to_owned()
        })
    }

    pub fn kill(&mut self, n: usize) {
        self.running.remove(&n).expect("it runs").kill();
    }

    pub fn start(&mut self, n: usize) {
        self.running.insert(n, Process::replica(self.world.path(), &replica_name(n)));
    }

    /// Something happens under load; then a look at everything that was told so far.
    pub async fn round(&mut self, happens: impl AsyncFnOnce(&mut Self)) {
        let load = Load::start(&self.ways);
        let seen = Arc::new(AtomicBool::new(false));
        let looking = tokio::spawn(look(Arc::clone(&self.auditors), Arc::clone(&seen)));
        happens(self).await;
        let told = load.stop().await;
        seen.store(true, Ordering::Relaxed);
        let notes = looking.await.expect("the auditors did not panic");
        assert!(!told.is_empty(), "nobody was answered");
        let mut heads: Vec<_> = told.iter().map(head_of_receipt).collect();
        heads.extend(notes.iter().map(|note| {
            head::open(note, &self.pins.trail, &self.pins).expect("a head as the pins ask").checkpoint
        }));
        self.everyone_knows(&told).await;
        self.told.extend(told);
        self.one_history(heads).await;
        self.check().await;
    }

    /// Receipts, trail, tables; and that a call which was sent again and again was done once.
    async fn check(&self) {
        let leaves = load::check(&self.world, &self.told).await;
        let done =
            leaves.iter().filter(|leaf| DONE.contains(&leaf["type"].as_str().expect("a type"))).count();
        assert_eq!(done, self.told.len() + self.mails, "a call that was sent again was done again");
        for n in 0..self.count {
            // A database that is away is no fault of the gateway's: its callers may ask again.
            assert!(!self.log(n).contains("a call failed"), "gateway {n} answered INTERNAL: {}", self.log(n));
        }
    }

    /// What the n-th gateway logged since it was first started.
    pub fn log(&self, n: usize) -> String {
        let file = self.world.path().join(replica_name(n)).with_extension("log");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// What all of them logged.
    pub fn logs(&self) -> String {
        (0..self.count).map(|n| self.log(n)).collect()
    }

    /// Whichever gateway is asked, it says of an instruction what the one said that admitted it.
    async fn everyone_knows(&self, told: &[Told]) {
        for told in told.iter().filter(|told| !told.executions.is_empty()).take(ASKED) {
            for way in self.ways.iter() {
                let request = v1::GetInstructionRequest { name: told.name.clone() };
                let found = way.client.instructions().get_instruction(request).await.expect("it is there");
                let found = found.into_inner().instruction.expect("shown");
                assert_eq!(found.trail_index, told.receipt.index);
            }
        }
    }

    /// Every head that anyone was shown, by any gateway, in an answer or on request, is a beginning of the
    /// newest: proven by the gateways in turn.
    async fn one_history(&mut self, mut heads: Vec<Checkpoint>) {
        heads.extend(self.newest.take());
        heads.sort_by_key(Checkpoint::size);
        heads.dedup_by(|a, b| a.size() == b.size() && a.root() == b.root());
        let newest = heads.pop().expect("some");
        for (n, old) in heads.iter().enumerate() {
            let call = v1::GetConsistencyProofRequest {
                log: v1::Log::Trail.into(),
                old_size: old.size(),
                new_size: newest.size(),
            };
            let auditor = &self.auditors[n % self.auditors.len()];
            let proof = auditor.audit().get_consistency_proof(call).await.expect("a proof").into_inner();
            let hashes: Option<Vec<Hash>> = proof.hashes.iter().map(|hash| Hash::from_slice(hash)).collect();
            let hashes = hashes.expect("hashes");
            verify_consistency(old.size(), old.root(), newest.size(), newest.root(), &hashes)
                .expect("one history");
        }
        self.heads += heads.len();
        self.newest = Some(newest);
    }

    /// What comes in at the first gateway wakes who waits at the last, at once.
    pub async fn wakes_pass(&mut self) {
        let last = &self.ways[self.count - 1].client;
        let call = v1::WatchRequestsRequest::default();
        let mut stream = last.requests().watch_requests(call).await.expect("a stream").into_inner();
        let (mails, support) = (&mut self.mails, &self.support);
        let come_in = async || {
            *mails += 1;
            take_in(support, *mails).await
        };
        let acknowledge = async |name| {
            let call = v1::AcknowledgeRequestRequest { name, request_id: String::new() };
            last.requests().acknowledge_request(call).await.expect("acknowledged");
        };
        wakes_at_once(&mut stream, come_in, acknowledge).await;
    }

    /// What was ordered is carried out, once.
    pub async fn end(&self) {
        let newest = self.told.iter().rev().flat_map(|told| told.executions.clone());
        let executions: Vec<_> = newest.take(12).collect();
        load::completed(&self.ways[self.count - 1], &executions).await;
        // The audit rule RAN_ONCE is among what is verified.
        self.check().await;
    }
}

/// Asks each gateway for its head again and again; what they showed.
async fn look(auditors: Arc<[Client]>, enough: Arc<AtomicBool>) -> Vec<String> {
    let mut notes = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        for auditor in auditors.iter() {
            let call = v1::GetCheckpointRequest { log: v1::Log::Trail.into() };
            match tokio::time::timeout(Duration::from_secs(2), auditor.audit().get_checkpoint(call)).await {
                Ok(Ok(answer)) => notes.push(answer.into_inner().checkpoint),
                Ok(Err(status)) => load::may_be_repeated(&status),
                Err(_) => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    notes
}

fn head_of_receipt(told: &Told) -> Checkpoint {
    let note = Receipt::parse(&told.receipt.proof).expect("a receipt").checkpoint;
    Checkpoint::parse_body(note.text()).expect("a head")
}
