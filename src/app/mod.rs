//! The use cases: one file each. A use case loads, asks the pure domain to decide, and
//! writes state, leaf and jobs in one transaction.
//!
//! Surfaces (gRPC, CLI, later the console) call these with domain types and a proven
//! caller; nothing here knows of protobuf or HTTP.

mod admit;
mod answer_requests;
mod approvals;
mod candidate;
mod downloads;
mod epochs;
mod evidence;
mod first_key_set;
mod idempotency;
mod intake;
mod key_sets;
mod log_keys;
mod marks;
mod orders;
mod own_keys;
mod previews;
mod processing_record;
mod proofs;
mod publishing;
mod read_instructions;
mod registry;
mod repeats;
mod report_keys;
mod reports;
mod requests;
mod shredding;
mod standing;
mod stopping;
mod sub_processors;
mod submit_instruction;
mod tls_keys;
mod uploads;
mod witnessing;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::domain::{Clock, ControllerId, Entropy, SubProcessorId};
use crate::store::{Store, StoreError};
use crate::token::KeySet;
use crate::trail::CosigningKey;
use crate::vault::Vault;

pub use answer_requests::OutcomeGiven;
pub use approvals::Countersignature;
pub use downloads::{ExportView, Package};
pub use idempotency::RequestUuid;
pub use intake::{Assignment, MessageView, TakenIn};
pub use orders::{LeasedOrder, Renewed};
pub use own_keys::OwnKeys;
pub use previews::PreviewSeen;
pub use processing_record::{ProcessingRecord, RecordedStore};
pub use proofs::Proof;
pub use publishing::{Lasting, Published};
pub use read_instructions::{ExecutionView, InstructionView, KeySetView, PreviewDetails, Wanted};
pub use registry::{NewAgent, NewAgreement, NewApp, NewController, Registering, facts_digest};
pub use reports::ReportIn;
pub use requests::{NewRequest, RequestContent, RequestView, Subject};
pub use shredding::keys_due;
pub use submit_instruction::Submitted;
pub use uploads::{Upload, Uploaded};
pub use witnessing::{Vouched, Witnessing};

/// What a use case answers where it does not go through.
pub type AppError = StoreError;
pub type AppResult<T> = Result<T, AppError>;

/// What an operator may set. Times in seconds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the encrypted export packages.
    pub exports: PathBuf,
    /// Who keeps them, where it is not PPIO itself.
    pub exports_operated_by: Option<SubProcessorId>,
    /// Largest export package, bytes.
    pub export_limit: u64,
    /// How long a package may be fetched.
    pub export_life: i64,
    /// How long a lease lasts. The agent's own deadline is shorter.
    pub lease: i64,
    /// Attempts before an execution is given up that has touched nothing. What has begun is seen through.
    pub attempts: u32,
    pub retention: Retention,
    pub intake: crate::intake::IntakeConfig,
    /// How people address PPIO: being addressed is no evidence.
    pub house_brands: Vec<String>,
    pub witnessing: Witnessing,
    /// New keys of its certificates that a principal may show in an hour.
    pub tls_keys_per_hour: NonZeroU32,
    /// Those of its logs, its witnesses, its certificates and the authorities of everybody's.
    pub own_keys: OwnKeys,
}

/// How long personal data stays after its work is done (R21), by retention class. Seconds.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub request: i64,
    pub message: i64,
    pub instruction: i64,
    pub refusal: i64,
}

/// The gateway's use cases over its store and vault.
pub struct App {
    pub store: Arc<Store>,
    pub vault: Vault,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub settings: Settings,
    /// Signs how fresh the authority head is (C2SP tlog-cosignature).
    pub freshness: CosigningKey,
    /// Verified key sets, by controller: checked again under the writer before they count.
    key_sets: moka::sync::Cache<ControllerId, Arc<KeySet>>,
    /// What witnesses have cosigned, as kept in the store.
    cosigned: witnessing::Cosigned,
    /// Whether an earlier run told the keyring how far the trail had come. Unset until it was looked at.
    marked_before: OnceLock<bool>,
    /// How many refusals of each controller become leaves.
    refusals: governor::DefaultKeyedRateLimiter<ControllerId>,
}

/// Refused instructions that become leaves: this many at once, and as many again each minute.
const REFUSALS: NonZeroU32 = NonZeroU32::new(300).expect("not zero");

impl App {
    pub fn new(
        store: Arc<Store>,
        vault: Vault,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
        freshness: CosigningKey,
    ) -> App {
        App {
            store,
            vault,
            clock,
            entropy,
            settings,
            freshness,
            key_sets: moka::sync::Cache::new(10_000),
            cosigned: witnessing::Cosigned::default(),
            marked_before: OnceLock::new(),
            refusals: governor::RateLimiter::keyed(governor::Quota::per_minute(REFUSALS)),
        }
    }
}
