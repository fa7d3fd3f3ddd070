//! Several gateways on one PostgreSQL and their witnesses: one gateway asks at a time; when it dies another
//! goes on, and what was shown to anyone is one history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mandate::authority::{Pins, head};
use mandate::cli::client::{Client, Profile};
use mandate::grpc::v1;
use mandate::trail::{Checkpoint, Hash, Receipt, verify_consistency};
use rstest::rstest;

use crate::harness::{Process, World, replica_name, within};
use crate::load::{self, Load, Told};
use crate::witness;

const WITNESSES: usize = 2;

struct Scene {
    world: World,
    pins: Pins,
    gateways: BTreeMap<usize, Process>,
    _witnesses: Vec<Option<Process>>,
    /// Every head that an auditor was shown at either gateway.
    heads: Vec<Checkpoint>,
}

impl Scene {
    async fn new(required: i64) -> Self {
        let mut witnesses = Vec::new();
        let adjust = |dir: &std::path::Path| witnesses = witness::set_up(dir, WITNESSES, required);
        let mut world = World::on_postgres_with(2, adjust).await;
        let second = Process::replica(world.path(), &replica_name(1));
        let gateways = BTreeMap::from([(0, world.gateway.take().expect("it runs")), (1, second)]);
        world.agent = Some(Process::agent(world.path()));
        let pins = std::fs::read_to_string(world.path().join("pins.toml")).expect("the pins");
        let pins = Pins::parse(&pins).expect("the pins");
        Self { world, pins, gateways, _witnesses: witnesses, heads: Vec::new() }
    }

    async fn auditor(&self, n: usize) -> Client {
        let profile = Profile::load(&self.world.profile_at("auditor", n)).expect("the profile loads");
        Client::open(profile).await.expect("it connects")
    }

    /// What the gateways that run show now.
    async fn look(&mut self) {
        for n in self.gateways.keys() {
            let call = v1::GetCheckpointRequest { log: v1::Log::Trail.into() };
            let note =
                self.auditor(*n).await.audit().get_checkpoint(call).await.expect("a head").into_inner();
            let head = head::open(&note.checkpoint, &self.pins.trail, &self.pins);
            self.heads.push(head.expect("enough witnesses cosigned it").checkpoint);
        }
    }

    /// Until each running gateway shows what was answered under a cosigned head.
    async fn cosigned(&mut self, told: &[Told]) {
        let last = told.iter().map(|told| told.receipt.index).max().expect("something was answered");
        within(60, "the witnesses to cosign what was answered", async {
            loop {
                self.look().await;
                let running = self.gateways.len();
                if self.heads.iter().rev().take(running).all(|head| head.size() > last) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }

    /// Every head that was shown is a prefix of the largest.
    async fn one_history(&mut self) {
        self.heads.sort_by_key(Checkpoint::size);
        let auditor = self.auditor(0).await;
        let newest = self.heads.last().expect("some").clone();
        for old in &self.heads {
            let call = v1::GetConsistencyProofRequest {
                log: v1::Log::Trail.into(),
                old_size: old.size(),
                new_size: newest.size(),
            };
            let proof = auditor.audit().get_consistency_proof(call).await.expect("a proof").into_inner();
            let hashes: Option<Vec<Hash>> = proof.hashes.iter().map(|hash| Hash::from_slice(hash)).collect();
            let hashes = hashes.expect("hashes");
            verify_consistency(old.size(), old.root(), newest.size(), newest.root(), &hashes)
                .expect("one history");
        }
    }
}

#[rstest]
#[case::one_of_two_witnesses(1)]
#[case::both_witnesses(2)]
#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_share_witnesses_take_turns_and_show_one_history(#[case] required: i64) {
    let mut scene = Scene::new(required).await;
    let profiles: Vec<_> = (0..2).map(|n| scene.world.profile_at("xingyu", n)).collect();
    let ways = load::ways(&profiles).await;
    let mut told = Vec::new();
    // Each dies once: whichever has the turn to ask, it dies with it.
    for victim in [0, 1] {
        let load = Load::start(&ways);
        tokio::time::sleep(Duration::from_millis(400)).await;
        tokio::task::block_in_place(|| scene.gateways.remove(&victim).expect("it runs").kill());
        tokio::time::sleep(Duration::from_millis(400)).await;
        told.extend(load.stop().await);
        // With one gateway left the witnesses are asked on.
        scene.cosigned(&told).await;
        let again =
            tokio::task::block_in_place(|| Process::replica(scene.world.path(), &replica_name(victim)));
        scene.gateways.insert(victim, again);
        scene.cosigned(&told).await;
    }
    // Heads at both while both write.
    let load = Load::start(&ways);
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.store(true, Ordering::Relaxed);
    });
    while !done.load(Ordering::Relaxed) {
        scene.look().await;
    }
    told.extend(load.stop().await);
    scene.cosigned(&told).await;
    scene.one_history().await;

    // Whoever is asked proves to the witnesses' heads what either was told.
    let instructions: Vec<_> = told.iter().filter(|told| !told.executions.is_empty()).collect();
    assert!(instructions.len() >= 4, "too few were answered to say anything: {}", instructions.len());
    for (n, told) in instructions.iter().rev().take(6).enumerate() {
        let call = v1::GetReceiptRequest { name: told.name.clone() };
        let answer = ways[n % 2].client.instructions().get_receipt(call).await.expect("a receipt");
        let receipt = answer.into_inner().receipt.expect("a receipt");
        assert_eq!((receipt.grade(), receipt.index), (v1::ReceiptGrade::Witnessed, told.receipt.index));
        let proof = Receipt::parse(&receipt.proof).expect("a receipt");
        proof.verify(&receipt.leaf, &scene.pins.trail.origin, &scene.pins.trail.vkey).expect("it proves it");
        head::open(&proof.checkpoint.to_string(), &scene.pins.trail, &scene.pins).expect("witnessed");
    }
    let newest: Vec<_> = instructions.iter().rev().take(4).flat_map(|told| told.executions.clone()).collect();
    load::completed(&ways[1], &newest).await;
    load::check(&scene.world, &told).await;
    for n in 1..=WITNESSES {
        let log = std::fs::read_to_string(witness::folder(scene.world.path(), n).join("witness.log"));
        let log = log.expect("its log");
        assert!(!log.contains("CHECKPOINT_FORKED"), "{log}");
    }
}
