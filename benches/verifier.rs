//! The verifier on made-up trails: leaves a second of structure beside a plain SHA-256 pass over the same
//! bytes, of the full audit beside the bare verification of the signatures in it, and peak memory, in one
//! run on one machine. Only the ratios mean something elsewhere.
//!
//! `cargo bench --no-default-features --features testing --bench verifier [-- LEAVES…]`
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mandate::authority::Pins;
use mandate::authority::published::{self, LogFiles, Options, Since, TemporaryFile};
use mandate::authority::rules::LogName;
use mandate::testing::{Parties, write};
use mandate::trail::{decode_bundle, entries_for, in_order};
use serde_json::Value;

const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
const CONTROLLERS: usize = 8;
const SEED: u64 = 2026;
/// Signatures whose bare verification is timed.
const SIGNATURES: usize = 20_000;

/// A log in a folder, read as `mandate-verify` reads it.
struct Folder<'a>(&'a Path);

impl LogFiles for Folder<'_> {
    type Error = io::Error;

    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, show: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.0.join(&folder))? {
                let entry = entry?;
                let path = format!("{folder}{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_dir() { folders.push(path + "/") } else { show(&path) }
            }
        }
        Ok(())
    }
}

fn threads(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("at least one")
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = work();
    (result, begun.elapsed())
}

/// Processor time of this process so far, in ticks: it hardly depends on who else is on the machine.
fn ticks() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the command's name, which stands in parentheses, user and system time are the 12th and 13th.
    let after = text.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum()
}

/// The result, the time, and the ticks of processor time.
fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration, f64) {
    let before = ticks();
    let (result, time) = timed(work);
    (result, time, ticks() - before)
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Shows every entry of the trail to `each`, on so many threads.
fn entries(folder: &Path, size: u64, on: usize, each: impl Fn(&[u8]) + Sync) {
    let bundles: Vec<_> = entries_for(size).collect();
    let work = |index: u64| {
        let bundle = &bundles[index as usize];
        let bytes = fs::read(folder.join("trail").join(bundle.path())).expect("a bundle");
        decode_bundle(&bytes, bundle.width()).expect("entries").into_iter().for_each(&each);
    };
    let _ = in_order(threads(on), bundles.len() as u64, work, |_, ()| Ok::<(), ()>(()));
}

/// One signature of the trail.
struct Signature {
    key: Vec<u8>,
    message: String,
    signature: Vec<u8>,
}

fn decoded(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().expect("base64url")).expect("base64url")
}

/// The public keys by their thumbprints.
fn keys(parties: &Parties) -> Vec<(String, Vec<u8>)> {
    let signers = parties.controllers.iter().flat_map(|controller| &controller.signers);
    let keys = signers.chain(parties.agents.iter().map(|agent| &agent.key));
    keys.map(|key| {
        let jwk: Value = serde_json::from_str(&key.public().canonical()).expect("a JWK");
        (key.id().to_string(), decoded(&jwk["x"]))
    })
    .collect()
}

/// The signatures in a leaf: of an admission or a report.
fn signatures(leaf: &[u8], keys: &[(String, Vec<u8>)]) -> Vec<Signature> {
    let leaf: Value = serde_json::from_slice(leaf).expect("a leaf is JSON");
    let Some(jws) = ["signed_part", "report"].iter().find_map(|name| leaf["data"][name].as_str()) else {
        return Vec::new();
    };
    let parts: Vec<(Value, Value, Value)> = match serde_json::from_str::<Value>(jws) {
        Ok(general) => {
            let each = general["signatures"].as_array().expect("signatures").iter();
            each.map(|s| (s["protected"].clone(), general["payload"].clone(), s["signature"].clone()))
                .collect()
        }
        Err(_) => {
            let compact: Vec<Value> = jws.split('.').map(Value::from).collect();
            vec![(compact[0].clone(), compact[1].clone(), compact[2].clone())]
        }
    };
    let one = |(protected, payload, signature): (Value, Value, Value)| {
        let header: Value = serde_json::from_slice(&decoded(&protected)).expect("a header");
        let kid = header["kid"].as_str().expect("a key id");
        Signature {
            key: keys.iter().find(|(id, _)| id == kid).expect("a known key").1.clone(),
            message: format!("{}.{}", protected.as_str().unwrap_or(""), payload.as_str().unwrap_or("")),
            signature: decoded(&signature),
        }
    };
    parts.into_iter().map(one).collect()
}

/// A temporary file without a name, as the command makes it.
fn scratch() -> io::Result<Box<dyn TemporaryFile>> {
    Ok(Box::new(tempfile::tempfile()?))
}

fn options(on: usize) -> Options<'static> {
    Options { threads: threads(on), memory: 64 << 20, scratch: &scratch, progress: &|_, _, _| () }
}

fn structure(folder: &Path, pins: &Pins, size: u64) {
    let mut plain = [0.0; 2];
    for on in [1, 2] {
        let hash = |entry: &[u8]| {
            std::hint::black_box(digest::digest(&digest::SHA256, entry));
        };
        let ((), time, used) = measured(|| entries(folder, size, on, hash));
        plain[on - 1] = used;
        let rate = per_second(size, time);
        println!("  plain SHA-256, {on} thread(s)        {rate:>10.0} leaves/s");
    }
    for on in [1, 2] {
        let trail = folder.join("trail");
        let (found, time, used) =
            measured(|| published::verify_structure(LogName::Trail, &Folder(&trail), pins, &options(on)));
        assert_eq!(found, Ok(size), "the made-up trail is not good");
        let rate = per_second(size, time);
        let ratio = used / plain[on - 1].max(1.0);
        println!(
            "  structure, {on} thread(s)            {rate:>10.0} leaves/s   {ratio:.2} x the processor time of the plain pass"
        );
    }
}

fn audit(folder: &Path, pins: &Pins, parties: &Parties, size: u64) {
    let keys = keys(parties);
    let found = std::sync::Mutex::new((Vec::new(), 0_u64));
    entries(folder, size, 1, |leaf| {
        let mut found = found.lock().expect("one thread");
        let more = signatures(leaf, &keys);
        found.1 += more.len() as u64;
        if found.0.len() < SIGNATURES {
            found.0.extend(more);
        }
    });
    let (sample, all) = found.into_inner().expect("one thread");
    let mut bare = [0.0; 2];
    for on in [1, 2] {
        let verify = |index: u64| {
            let Signature { key, message, signature } = &sample[index as usize];
            let key = UnparsedPublicKey::new(&ED25519, key);
            assert!(key.verify(message.as_bytes(), signature).is_ok(), "a signature does not verify");
        };
        let count = sample.len() as u64;
        let (_, time, used) = measured(|| in_order(threads(on), count, verify, |_, ()| Ok::<(), ()>(())));
        bare[on - 1] = used * all as f64 / count as f64;
        let rate = per_second(count, time);
        println!("  bare signatures, {on} thread(s)      {rate:>10.0} sig./s     {all} are in the trail");
    }
    let (trail, authority) = (folder.join("trail"), folder.join("authority"));
    let mut single = 0.0;
    for on in [1, 2] {
        let none = Since::default();
        let (report, time, used) =
            measured(|| published::verify(&Folder(&trail), &Folder(&authority), pins, &none, &options(on)));
        let report = report.expect("the made-up trail is good");
        let (rate, share) = (per_second(size, time), bare[on - 1] / used);
        if on == 1 {
            single = rate;
        }
        println!(
            "  full audit, {on} thread(s)           {rate:>10.0} leaves/s   {share:.2} of its processor time bare signatures, {:.2} x one thread, {} runs spilled",
            rate / single,
            report.spilled
        );
    }
}

/// Peak resident memory of the command, in MiB, as the system counts it.
fn peak(folder: &Path, memory: &str) -> f64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mandate-verify"))
        .args(["trail", "--threads", "2", "--memory", memory, "--pin"])
        .args([folder.join("pins.toml").as_path(), folder])
        .stdout(Stdio::null())
        .spawn()
        .expect("the verifier runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    loop {
        // The high-water mark only grows: the last one seen is the peak, but for the last milliseconds.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|mark| mark.trim().trim_end_matches(" kB").parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
        if let Some(ended) = child.try_wait().expect("the verifier can be waited for") {
            assert!(ended.success(), "the made-up trail is not good");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn main() {
    let mut sizes: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let parties = Parties::new(SEED, CONTROLLERS);
    let pins = parties.pins();
    for size in sizes {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (made, time) = timed(|| write(folder.path(), &parties, SEED, size));
        made.expect("a trail is written");
        println!("{size} leaves, made in {:.1} s", time.as_secs_f64());
        structure(folder.path(), &pins, size);
        audit(folder.path(), &pins, &parties, size);
        for memory in ["1", "64"] {
            println!(
                "  peak memory, --memory {memory:>2}          {:>10.1} MiB",
                peak(folder.path(), memory)
            );
        }
    }
}
