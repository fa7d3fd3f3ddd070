//! Two small logs with real keys, for the tests of this module: the story of one request,
//! from registration to the download of its export.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::authority_log::AuthorityLog;
use super::evidence::{Bundle, BundleBuilder};
use super::pins::{LogPin, Pins, WitnessPins};
use super::published::{self, Fault, LogFiles, Options, Since, TemporaryFile};
use crate::domain::event::*;
use crate::domain::{Act, Category, Purpose, Reason, Region, RequestId, Right, Timestamp};
use crate::token::report::{AuthorityHead, ExportReport, LedgerHead};
use crate::token::{
    CollectionOutcome, CollectionReport, Digest, InstructionDraft, Report, ReportOutcome, SignedInstruction,
    fixtures as token,
};
use crate::trail::layout::{CHECKPOINT_PATH, VKEY_PATH, entries_for};
use crate::trail::{
    Appender, Checkpoint, CosigningKey, Hash, LeafDraft, Receipt, Resource, SigningKey, encode_bundle,
    inclusion_proof, leaf_hash,
};

pub const GATEWAY: &str = "mandate.ppio.example";
pub const TRAIL: &str = token::ORIGIN;
pub const AUTHORITY: &str = "mandate.ppio.example/authority";
pub const REQUEST: &str = "requests/01938a5e-0000-7b2e-9f7a-000000000001";
pub const EXECUTION: &str = "executions/01938a5e-0000-7b2e-9f7a-000000000002";
pub const EXPORT: &str = "exports/01938a5e-0000-7b2e-9f7a-000000000003";
pub const INSTRUCTION: &str = "instructions/01938a5e-7c1d-7b2e-9f7a-3d2c1b0a9e88";
/// Where the story's leaves stand in the trail.
pub mod at {
    pub const AGREEMENT: usize = 2;
    pub const APP: usize = 3;
    pub const AGENT: usize = 4;
    pub const KEY_SET: usize = 5;
    pub const RECEIVED: usize = 7;
    pub const FORWARDED: usize = 8;
    pub const ANSWERED: usize = 10;
    pub const ADMITTED: usize = 11;
    pub const LEASED: usize = 12;
    pub const REPORTED: usize = 13;
    pub const RELEASED: usize = 14;
    pub const ENDED: usize = 15;
    pub const DOWNLOADED: usize = 16;
}

pub fn trail_key() -> SigningKey {
    SigningKey::from_seed(TRAIL, &[1; 32]).unwrap()
}

pub fn authority_key() -> SigningKey {
    SigningKey::from_seed(AUTHORITY, &[2; 32]).unwrap()
}

pub fn freshness_key() -> CosigningKey {
    CosigningKey::from_seed("mandate.ppio.example/freshness", &[3; 32]).unwrap()
}

/// Both logs, the freshness cosigner, `controllers/xingyu` and `agents/rtc-agent`.
pub fn pins() -> Pins {
    Pins {
        trail: LogPin::new(TRAIL, trail_key().verifier_key().clone()),
        authority: LogPin::new(AUTHORITY, authority_key().verifier_key().clone()),
        freshness: Some(freshness_key().verifier_key().clone()),
        witnesses: WitnessPins::default(),
        controllers: [("xingyu".parse().unwrap(), token::key_set().digest())].into(),
        agents: [("rtc-agent".parse().unwrap(), token::key("report").public().clone())].into(),
        recovered: Default::default(),
        reopened: Vec::new(),
    }
}

/// What happens, in order: a subject and an event. The leaf's time is `NOW` plus ten seconds each.
pub type Story = Vec<(String, Event)>;

fn leaf(story: &mut Story, subject: &str, event: impl Into<Event>) {
    story.push((subject.to_owned(), event.into()));
}

pub fn authority_story() -> Story {
    let set = token::key_set();
    let mut story = Story::new();
    leaf(&mut story, AUTHORITY, LogOpened { origin: AUTHORITY.into() });
    leaf(
        &mut story,
        "controllers/xingyu",
        KeySetPublished {
            version: 1,
            digest: set.digest().to_string(),
            key_set: String::from_utf8(set.bytes().to_vec()).unwrap(),
        },
    );
    story
}

/// The instruction the story is about: an export on `stores/rtc`, signed by `ann`.
pub fn instruction() -> InstructionDraft {
    InstructionDraft {
        stores: Some(vec!["rtc".parse().unwrap()]),
        export: Some(token::export_order()),
        req: Some(RequestId::from_resource_name(REQUEST).unwrap()),
        ..token::draft(Act::Export)
    }
}

pub fn sign(draft: &InstructionDraft, signers: &[&str]) -> SignedInstruction {
    let keys: Vec<_> = signers.iter().map(|name| token::key(name)).collect();
    draft.sign(&keys.iter().collect::<Vec<_>>(), &token::CountedEntropy::new()).unwrap()
}

pub fn admission(draft: &InstructionDraft, signed: &SignedInstruction) -> InstructionAdmitted {
    InstructionAdmitted {
        controller: draft.iss.clone(),
        app: draft.app.clone(),
        act: draft.act,
        digest: signed.digest().to_string(),
        signed_part: signed.envelope().signed_part(),
        key_set_version: draft.key_set.version,
        key_set_digest: draft.key_set.digest.to_string(),
        authority_size: 2,
        request: draft.req,
        target: None,
        executions: vec![Order {
            execution: EXECUTION.trim_start_matches("executions/").parse().unwrap(),
            store: "rtc".parse().unwrap(),
        }],
        sub_processors: Vec::new(),
    }
}

/// The agent's report of the order, completed. The authority root is that of [`authority_story`].
pub fn report(draft: &InstructionDraft, signed: &SignedInstruction) -> Report {
    let mut log = AuthorityLog::new(&pins());
    for bytes in sealed(&authority_story(), AUTHORITY_START) {
        log.feed(&bytes).unwrap();
    }
    let keys = token::CountedEntropy::new();
    let payload: serde_json::Value = serde_json::from_slice(&draft.seal(&keys).unwrap().0).unwrap();
    let sub_digests = payload["sub_id"]["identifiers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|placeholder| placeholder["..."].as_str().unwrap().parse().unwrap())
        .collect();
    let exports = draft.act == Act::Export;
    let returns = draft.export.is_some();
    Report {
        agent: "rtc-agent".parse().unwrap(),
        aud: TRAIL.into(),
        jti: "01938a5e-0000-7b2e-9f7a-000000000004".parse().unwrap(),
        iat: token::NOW,
        execution: EXECUTION.trim_start_matches("executions/").parse().unwrap(),
        instruction: draft.jti,
        instruction_digest: signed.digest(),
        sub_digests,
        act: draft.act,
        store: "rtc".parse().unwrap(),
        attempt: 1,
        outcome: ReportOutcome::Completed,
        reason: None,
        map_version: "map-1".into(),
        authority: AuthorityHead { size: 2, root: Digest::from_bytes(*log.root_at(2).unwrap().as_bytes()) },
        collections: vec![CollectionReport {
            collection: "devices".into(),
            outcome: if exports { CollectionOutcome::Exported } else { CollectionOutcome::Erased },
            rows: Some(3),
            ground: None,
            until: None,
            kept: Vec::new(),
        }],
        preview: None,
        export: returns.then(|| ExportReport {
            digest: Digest::of("package"),
            size: 7,
            recipient_digest: Digest::of(token::export_order().recipient.as_str()),
        }),
        ledger: LedgerHead { sequence: 1, head: Digest::of("ledger") },
    }
}

pub fn reported(report: &Report) -> ExecutionReported {
    ExecutionReported {
        agent: report.agent.clone(),
        attempt: report.attempt,
        outcome: report.outcome.to_string(),
        report: report.sign(&token::key("report")).unwrap(),
    }
}

pub fn lease(attempt: u32) -> ExecutionLeased {
    ExecutionLeased { agent: "rtc-agent".parse().unwrap(), attempt }
}

/// The good story.
pub fn trail_story() -> Story {
    let draft = instruction();
    let signed = sign(&draft, &["ann"]);
    let controller = || draft.iss.clone();
    let by = || "operators/o-1".to_owned();
    let mut story = Story::new();
    leaf(&mut story, TRAIL, LogOpened { origin: TRAIL.into() });
    leaf(&mut story, "controllers/xingyu", ControllerRegistered { by: by(), house: false });
    leaf(
        &mut story,
        "agreements/xingyu-2026",
        AgreementRegistered {
            by: by(),
            controller: controller(),
            categories: vec![Category::Device, Category::Network],
            purposes: vec![Purpose::ServiceDelivery],
            stores: vec!["rtc".parse().unwrap(), "logs".parse().unwrap()],
            regions: vec![Region::Cn],
            sub_processors: Vec::new(),
            start: token::NOW - 1000,
            end: token::NOW + 1_000_000,
        },
    );
    leaf(
        &mut story,
        "apps/xingyu-live",
        AppRegistered {
            by: by(),
            controller: controller(),
            facts: 3,
            facts_digest: Digest::of("facts").to_string(),
        },
    );
    leaf(
        &mut story,
        "agents/rtc-agent",
        AgentRegistered {
            by: by(),
            stores: vec!["rtc".parse().unwrap()],
            region: Region::Cn,
            report_key: serde_json::from_str(&token::key("report").public().canonical()).unwrap(),
            operated_by: Default::default(),
        },
    );
    leaf(
        &mut story,
        "controllers/xingyu",
        KeySetRegistered {
            by: by(),
            version: 1,
            digest: token::key_set().digest().to_string(),
            authority_index: 1,
            recovers: None,
        },
    );
    leaf(
        &mut story,
        "controllers/xingyu",
        AccessKeyRegistered { by: by(), thumbprint: token::key("access").id().to_string() },
    );
    leaf(
        &mut story,
        REQUEST,
        RequestReceived {
            controller: controller(),
            app: draft.app.clone(),
            origin: "mail".into(),
            rights: vec![Right::Copy, Right::ExplainUseAndSharing],
            guardian: false,
            received: token::NOW,
        },
    );
    leaf(&mut story, REQUEST, RequestForwarded { controller: controller(), sequence: 1 });
    leaf(&mut story, REQUEST, RequestAcknowledged { controller: controller() });
    leaf(
        &mut story,
        REQUEST,
        RequestAnswered {
            controller: controller(),
            outcomes: vec![RightAnswered {
                right: Right::ExplainUseAndSharing,
                refused: false,
                ground: None,
            }],
        },
    );
    leaf(&mut story, INSTRUCTION, admission(&draft, &signed));
    leaf(&mut story, EXECUTION, lease(1));
    leaf(&mut story, EXECUTION, reported(&report(&draft, &signed)));
    leaf(
        &mut story,
        EXPORT,
        ExportReleased {
            execution: EXECUTION.trim_start_matches("executions/").parse().unwrap(),
            digest: Digest::of("package").to_string(),
            size: 7,
            expires: token::NOW + 86_400,
        },
    );
    leaf(&mut story, INSTRUCTION, InstructionEnded { controller: controller(), state: "done".into() });
    leaf(&mut story, EXPORT, ExportDownloaded { by: "controllers/xingyu".into(), offset: 0 });
    leaf(
        &mut story,
        "controllers/xingyu",
        InstructionRefused {
            reason: Reason::JtiReused,
            digest: Digest::of("input").to_string(),
            jti: Some(draft.jti),
        },
    );
    story
}

/// The authority log's leaves are of the time just before the trail's.
pub const AUTHORITY_START: i64 = token::NOW - 20;

/// The leaves' bytes, ten seconds apart.
pub fn sealed(story: &Story, start: i64) -> Vec<Vec<u8>> {
    let entropy = token::CountedEntropy::new();
    (start..)
        .step_by(10)
        .zip(story)
        .map(|(second, (subject, event))| seal_at(subject, event, second, &entropy))
        .collect()
}

pub fn seal_at(subject: &str, event: &Event, second: i64, entropy: &token::CountedEntropy) -> Vec<u8> {
    let draft = LeafDraft::new(event.type_name(), subject, event.to_data());
    draft.seal(GATEWAY, Timestamp::from_second(second).unwrap(), entropy).unwrap().bytes().to_vec()
}

/// One log: its leaves and the tree over them.
pub struct Log {
    pub leaves: Vec<Vec<u8>>,
    pub tree: Appender,
    pub checkpoint: String,
    /// Without the last newline.
    pub vkey: String,
}

impl Log {
    pub fn of(origin: &str, leaves: Vec<Vec<u8>>, key: &SigningKey) -> Self {
        let mut tree = Appender::new();
        for leaf in &leaves {
            tree.append(leaf_hash(leaf));
        }
        let note = Checkpoint::new(origin, tree.size(), tree.root()).unwrap().sign(key);
        Self { leaves, tree, checkpoint: note.to_string(), vkey: key.verifier_key().to_string() }
    }

    pub fn trail(story: &Story) -> Self {
        Self::of(TRAIL, sealed(story, token::NOW), &trail_key())
    }

    /// With the freshness cosignature on its checkpoint.
    pub fn authority(story: &Story) -> Self {
        let mut log = Self::of(AUTHORITY, sealed(story, AUTHORITY_START), &authority_key());
        let mut note = crate::trail::Note::parse(&log.checkpoint).unwrap();
        let seen = Timestamp::from_second(token::NOW + 500).unwrap();
        note.add(freshness_key().cosign(note.text(), seen).unwrap()).unwrap();
        log.checkpoint = note.to_string();
        log
    }

    pub fn proof(&self, index: usize) -> Vec<Hash> {
        inclusion_proof(index as u64, self.tree.size(), &self.tree).unwrap()
    }

    pub fn receipt(&self, index: usize) -> String {
        let note = crate::trail::Note::parse(&self.checkpoint).unwrap();
        Receipt::new(index as u64, self.proof(index), note).encode()
    }

    /// The C2SP layout.
    pub fn files(&self) -> Files {
        let mut files = BTreeMap::new();
        files.insert(CHECKPOINT_PATH.to_owned(), self.checkpoint.clone().into_bytes());
        files.insert(VKEY_PATH.to_owned(), format!("{}\n", self.vkey).into_bytes());
        for (bundle, entries) in entries_for(self.tree.size()).zip(self.leaves.chunks(256)) {
            files.insert(bundle.path(), encode_bundle(entries).unwrap());
        }
        for (tile, hashes) in self.tree.clone().take_dirty_tiles() {
            let bytes = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            files.insert(Resource::Tile(tile).path(), bytes);
        }
        Files(files)
    }
}

/// A published log in memory.
#[derive(Clone)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl LogFiles for Files {
    type Error = Infallible;
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.get(path).cloned())
    }
    fn list(&self, show: &mut dyn FnMut(&str)) -> Result<(), Infallible> {
        self.0.keys().for_each(|path| show(path));
        Ok(())
    }
}

/// Verifies on this many threads, with so many bytes to remember facts in.
pub fn verify_on(
    threads: usize,
    memory: usize,
    trail: &Files,
    authority: &Files,
    pins: &Pins,
    since: &Since,
) -> Result<published::Report, Fault> {
    let options = Options {
        threads: std::num::NonZeroUsize::new(threads).unwrap(),
        memory,
        scratch: &|| Ok(Box::new(std::io::Cursor::new(Vec::new())) as Box<dyn TemporaryFile>),
        progress: &|_, _, _| (),
    };
    super::published::verify(trail, authority, pins, since, &options)
}

/// The verdict, which is the same on 1, 2 and 5 threads, in memory and spilling.
pub fn verify(trail: &Files, authority: &Files, pins: &Pins) -> Result<published::Report, Fault> {
    let verdict = verify_on(1, usize::MAX, trail, authority, pins, &Since::default());
    for (threads, memory) in [(2, usize::MAX), (5, 100)] {
        let mut other = verify_on(threads, memory, trail, authority, pins, &Since::default());
        if let Ok(report) = &mut other {
            let enough = report.summary.requests > 0;
            assert!(memory == usize::MAX || !enough || report.spilled > 0, "nothing was spilled");
            report.spilled = 0;
        }
        assert_eq!(other, verdict, "another verdict on {threads} threads");
    }
    verdict
}

/// The bundle about the story's instruction.
pub fn bundle(trail: &Log, authority: &Log, disclosures: Option<Vec<String>>) -> Bundle {
    let mut builder = BundleBuilder::new(&trail.checkpoint, &authority.checkpoint);
    for (index, leaf) in authority.leaves.iter().enumerate() {
        builder.authority_leaf(index as u64, leaf);
    }
    for index in [
        1,
        at::AGREEMENT,
        at::APP,
        at::AGENT,
        at::ADMITTED,
        at::LEASED,
        at::REPORTED,
        at::RELEASED,
        at::ENDED,
    ] {
        if let Some(leaf) = trail.leaves.get(index) {
            builder.trail_leaf(index as u64, leaf, trail.proof(index)).unwrap();
        }
    }
    if let Some(disclosures) = disclosures {
        builder.disclosures(disclosures);
    }
    builder.build().unwrap()
}
