//! The agent's judgement: its real code, on its own copy of the authority log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mandate::agent::AgentConfig;
use mandate::agent::authority::Replica;
use mandate::agent::orders::{Leased, Own};
use mandate::authority::Pins;
use mandate::domain::clock::{SystemEntropy, uuid_v7};
use mandate::domain::{AgentId, Clock, ExecutionId, Reason};
use mandate::grpc::v1;
use mandate::token::report::{AuthorityHead, LedgerHead};
use mandate::token::{Digest, PrivateKey, Report, ReportOutcome};

use super::door::Door;
use super::office::Signed;
use crate::key_sets::key_of;

/// What proves a lease.
#[derive(Clone)]
pub struct Hold {
    pub execution: ExecutionId,
    attempt: u32,
    pub token: String,
}

impl Hold {
    pub fn of(leased: &Leased) -> Self {
        let (execution, attempt) = (leased.execution, leased.attempt);
        Self { execution, attempt, token: leased.lease_token.clone() }
    }
}

pub struct Agent {
    pub id: AgentId,
    own: Own,
    replica: Replica,
    report_key: PrivateKey,
    /// By slot.
    pub held: BTreeMap<usize, Hold>,
    reports: u64,
}

impl Agent {
    pub fn open(dir: &Path) -> Self {
        let config = AgentConfig::load(&dir.join("agent.toml")).expect("the agent's configuration");
        let pins = std::fs::read_to_string(dir.join("pins.toml")).expect("the pins");
        let pins = Arc::new(Pins::parse(&pins).expect("pins"));
        Self {
            id: config.agent.clone(),
            own: Own {
                stores: config.stores.iter().map(|store| store.id.clone()).collect(),
                agreements: config.terms(),
                bindings: config.bindings(),
            },
            replica: Replica::load(pins, 300, &[]).expect("an empty replica"),
            report_key: key_of(dir, "rtc-agent", "report"),
            held: BTreeMap::new(),
            reports: 0,
        }
    }

    /// It reads the rest of the authority log.
    pub async fn refresh(&mut self, door: &mut impl Door) {
        loop {
            let (leaves, checkpoint, more) = door.authority(self.replica.size()).await;
            let now = door.clock().now_seconds();
            self.replica = self.replica.extend(&leaves, &checkpoint, now).expect("it continues");
            if !more {
                return;
            }
        }
    }

    /// Whether it would carry this order out, given it by whomever.
    pub fn would_carry_out(&self, order: v1::Order, begun: bool, now: i64) -> bool {
        let Ok(leased) = Leased::read(order) else { return false };
        let Ok(admitted) = leased.admission(&self.replica) else { return false };
        leased.warrant(&admitted, &self.replica, &self.own, begun.then_some(now), now).is_ok()
    }

    /// Its signed word about what it holds.
    pub fn report(
        &mut self,
        hold: &Hold,
        order: &Signed,
        outcome: ReportOutcome,
        clock: &dyn Clock,
    ) -> String {
        let payload = mandate::token::base64url::decode(order.envelope.payload_segment()).expect("a payload");
        let payload: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
        let digest =
            |item: &serde_json::Value| item["..."].as_str().expect("a digest").parse().expect("a digest");
        let identifiers = payload["sub_id"]["identifiers"].as_array().cloned().unwrap_or_default();
        let refused = outcome == ReportOutcome::Refused;
        let completed = outcome == ReportOutcome::Completed;
        self.reports += 1;
        let report = Report {
            agent: self.id.clone(),
            aud: self.replica.pins().trail.origin.clone(),
            jti: uuid_v7(clock, &SystemEntropy),
            iat: clock.now_seconds(),
            execution: hold.execution,
            instruction: order.id,
            instruction_digest: order.envelope.instruction_digest(),
            sub_digests: if refused { Vec::new() } else { identifiers.iter().map(digest).collect() },
            act: payload["act"].as_str().expect("text").parse().expect("an act"),
            store: "rtc".parse().expect("a store"),
            attempt: hold.attempt,
            outcome,
            reason: if completed { None } else { Some(Reason::InstructionRevoked) },
            map_version: "model".into(),
            authority: AuthorityHead {
                size: self.replica.size(),
                root: Digest::from_bytes(*self.replica.root().as_bytes()),
            },
            collections: Vec::new(),
            preview: None,
            export: None,
            ledger: LedgerHead { sequence: self.reports, head: Digest::of("ledger") },
        };
        report.sign(&self.report_key).expect("signs")
    }
}
