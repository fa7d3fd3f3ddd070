//! Time and randomness, passed in.
//!
//! Nothing below `main` reads the machine's clock or its random source by
//! itself (`clippy.toml` bans the globals), so a test can stand at any instant
//! and a replay gives the same bytes.

use std::sync::Arc;

pub use jiff::Timestamp;

/// Where the present instant comes from.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;

    /// Whole seconds since the epoch: the form of JWT's `iat` and `exp` (RFC 7519 §2).
    fn now_seconds(&self) -> i64 {
        self.now().as_second()
    }
}

/// Where unpredictable bytes come from. Must be a CSPRNG outside tests.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// `N` random bytes, for callers that hold the trait object.
    pub fn array<const N: usize>(&self) -> [u8; N] {
        let mut out = [0u8; N];
        self.fill(&mut out);
        out
    }
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The operating system's random source, through AWS-LC.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the random source")]
    fn fill(&self, bytes: &mut [u8]) {
        // aws-lc-rs documents that it aborts rather than fail for lack of entropy.
        aws_lc_rs::rand::fill(bytes).expect("AWS-LC's random source does not fail");
    }
}

/// A UUIDv7 (RFC 9562 §5.7) from the given clock and source.
pub fn uuid_v7(clock: &dyn Clock, entropy: &dyn Entropy) -> uuid::Uuid {
    let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &entropy.array::<10>()).into_uuid()
}

/// A clock that stands where a test puts it.
#[derive(Clone)]
pub struct FixedClock(Arc<std::sync::atomic::AtomicI64>);

impl FixedClock {
    pub fn at(seconds: i64) -> Self {
        Self(Arc::new(std::sync::atomic::AtomicI64::new(seconds)))
    }

    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, std::sync::atomic::Ordering::SeqCst);
    }

    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        let seconds = self.0.load(std::sync::atomic::Ordering::SeqCst);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
