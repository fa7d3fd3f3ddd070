//! A gateway and an agent of their own for a test, made by `mandate init`.
//!
//! The processes are started by a thread that lives as long as the test binary and die with
//! it (`PR_SET_PDEATHSIG`), so that a test that panics leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use mandate::cli::client::{Client, Profile};
use mandate::cli::demo::Enterprise;
use mandate::grpc::v1;
use tempfile::TempDir;

use crate::cluster::Cluster;

/// Variables that a process gets beside the test's own.
pub type Environment = Vec<(&'static str, String)>;

type Start = (Vec<String>, Environment, PathBuf, Sender<std::io::Result<Child>>);

/// Starts a process from the thread that never ends.
fn start(arguments: Vec<String>, environment: Environment, log: &Path) -> Child {
    static STARTER: OnceLock<Sender<Start>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, incoming) = channel::<Start>();
        std::thread::spawn(move || {
            for (arguments, environment, log, reply) in incoming {
                let _ = reply.send(spawn(&arguments, environment, &log));
            }
        });
        orders
    });
    let (reply, answer) = channel();
    starter.send((arguments, environment, log.to_owned(), reply)).expect("the starter lives");
    answer.recv().expect("the starter answers").expect("the program starts")
}

fn spawn(arguments: &[String], environment: Environment, log: &Path) -> std::io::Result<Child> {
    let stderr = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_mandate"));
    command.args(arguments).envs(environment).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    // SAFETY: prctl and setrlimit are async-signal-safe and touch nothing of ours.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // A process that ends at a point of `mandate::fault` leaves no core.
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            Ok(())
        });
    }
    command.spawn()
}

/// A running `mandate serve` or `mandate agent`.
pub struct Process {
    child: Child,
    /// Where it publishes the logs, if it does.
    pub publishes: Option<String>,
    log: PathBuf,
}

impl Process {
    pub fn serve(dir: &Path) -> Self {
        Self::ready("serve", dir, "gateway")
    }

    /// The gateway whose configuration is `<name>.toml`.
    pub fn replica(dir: &Path, name: &str) -> Self {
        Self::ready("serve", dir, name)
    }

    pub fn agent(dir: &Path) -> Self {
        Self::ready("agent", dir, "agent")
    }

    /// `mandate witness`, in a folder of its own.
    pub fn witness(dir: &Path) -> Self {
        Self::ready("witness", dir, "witness")
    }

    /// What it logged so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Any of the above with variables of its own.
    pub fn with(subcommand: &str, dir: &Path, name: &str, environment: Environment) -> Self {
        Self::try_with(subcommand, dir, name, environment)
            .unwrap_or_else(|log| panic!("{name} did not start: {log}"))
    }

    fn ready(subcommand: &str, dir: &Path, name: &str) -> Self {
        Self::with(subcommand, dir, name, Vec::new())
    }

    /// `Err` with its log where it ended before it was ready.
    pub fn try_with(
        subcommand: &str,
        dir: &Path,
        name: &str,
        environment: Environment,
    ) -> Result<Self, String> {
        let config = dir.join(format!("{name}.toml"));
        let log = dir.join(format!("{name}.log"));
        let arguments = vec![subcommand.into(), "--config".into(), config.display().to_string()];
        let mut child = start(arguments, environment, &log);
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut publishes = None;
        loop {
            line.clear();
            let read = stdout.read_line(&mut line).unwrap_or(0);
            if read == 0 {
                let _ = child.kill();
                let _ = child.wait();
                return Err(std::fs::read_to_string(&log).unwrap_or_default());
            }
            match line.trim_end().strip_prefix("publishing on ") {
                Some(address) => publishes = Some(address.to_owned()),
                None => break,
            }
        }
        std::thread::spawn(move || {
            let mut rest = String::new();
            while stdout.read_line(&mut rest).is_ok_and(|n| n > 0) {
                rest.clear();
            }
        });
        Ok(Self { child, publishes, log })
    }

    /// How it ended, once it has by itself.
    pub async fn ended(&mut self, seconds: u64, why: &str) -> std::process::ExitStatus {
        within(seconds, why, async {
            loop {
                if let Some(status) = self.exit_status() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("its state is known")
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    /// SIGHUP: it reads its certificates and lists again.
    pub fn hang_up(&self) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill(2) on our own child, not yet waited for.
        unsafe { libc::kill(pid, libc::SIGHUP) };
    }

    /// SIGTERM, and a clean exit.
    pub fn stop(self) {
        let status = self.terminate();
        assert!(status.success(), "it ended with {status}");
    }

    /// SIGTERM, and whatever exit it comes to.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill(2) on our own child, not yet waited for.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        for _ in 0..6_000 {
            if let Some(status) = self.exit_status() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not stop within a minute: {}", self.logged());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration's name of the n-th gateway on one database.
pub fn replica_name(n: usize) -> String {
    if n == 0 { "gateway".to_owned() } else { format!("gateway-{n}") }
}

pub struct World {
    pub dir: TempDir,
    pub gateway: Option<Process>,
    pub agent: Option<Process>,
}

impl World {
    /// Gateway, registry and agent, ready.
    pub async fn new() -> Self {
        let mut world = Self::without_agent(|_| {}).await;
        world.agent = Some(Process::agent(world.path()));
        world
    }

    /// Gateway and registry; `adjust` may change the set-up's files before the start.
    pub async fn without_agent(adjust: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        mandate::cli::init::set_up(
            dir.path(),
            free_port(),
            1,
            &mandate::domain::clock::SystemClock,
            &mandate::domain::clock::SystemEntropy,
        )
        .await
        .expect("the set-up is made");
        adjust(dir.path());
        let gateway = Process::serve(dir.path());
        let world = Self { dir, gateway: Some(gateway), agent: None };
        let operator = world.client("operator").await;
        mandate::cli::registry::apply(&operator, &world.path().join("registry.toml"))
            .await
            .expect("the sample registry is registered");
        world
    }

    /// The databases on PostgreSQL, and the configurations of `count` gateways that share them. The
    /// first is `self.gateway`; the others are started by the test.
    pub async fn on_postgres(count: usize) -> Self {
        Self::on_postgres_with(count, |_| {}).await
    }

    /// The same; `adjust` may change the first gateway's files, which the others' are made from.
    pub async fn on_postgres_with(count: usize, adjust: impl FnOnce(&Path)) -> Self {
        Self::on_cluster(crate::cluster::shared(), count, adjust).await
    }

    /// The same on another cluster than the one that all tests share.
    pub async fn on_cluster(cluster: &Cluster, count: usize, adjust: impl FnOnce(&Path)) -> Self {
        Self::without_agent(|dir| {
            adjust(dir);
            let mut text = std::fs::read_to_string(dir.join("gateway.toml")).expect("the configuration");
            for (name, file) in [("database", "data/gateway.sqlite"), ("keyring", "data/keyring.sqlite")] {
                let url = cluster.database();
                std::fs::write(dir.join(format!("{name}.url")), url).expect("the URL is written");
                let line = format!("{name} = {{ postgres_url_file = \"{name}.url\" }}");
                text = text.replace(&format!("{name} = \"{file}\""), &line);
            }
            assert!(text.contains("database.url") && text.contains("keyring.url"));
            for n in 0..count {
                let mut own = text.clone();
                if n > 0 {
                    let listen = text.lines().find(|line| line.starts_with("listen")).expect("an address");
                    own = text.replace(listen, &format!("listen = \"127.0.0.1:{}\"", free_port()));
                }
                std::fs::write(dir.join(replica_name(n)).with_extension("toml"), own).expect("written");
            }
            let migrated = Command::new(env!("CARGO_BIN_EXE_mandate"))
                .arg("migrate")
                .arg("--config")
                .arg(dir.join("gateway.toml"))
                .output()
                .expect("mandate runs");
            assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        })
        .await
    }

    /// The address of the n-th gateway.
    pub fn address_of(&self, n: usize) -> String {
        let file = self.path().join(replica_name(n)).with_extension("toml");
        let text = std::fs::read_to_string(file).expect("the configuration");
        let line = text.lines().find(|line| line.starts_with("listen")).expect("an address");
        line.split('"').nth(1).expect("quoted").to_owned()
    }

    /// A profile file that dials the n-th gateway.
    pub fn profile_at(&self, name: &str, n: usize) -> PathBuf {
        let text = std::fs::read_to_string(self.path().join(format!("profiles/{name}.toml"))).expect("there");
        let file = self.path().join(format!("profiles/{name}-{n}.toml"));
        let text = text.replace(&self.address_of(0), &self.address_of(n));
        std::fs::write(&file, text).expect("the profile is written");
        file
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn profile(&self, name: &str) -> Profile {
        Profile::load(&self.path().join(format!("profiles/{name}.toml"))).expect("the profile loads")
    }

    pub async fn client(&self, name: &str) -> Client {
        Client::open(self.profile(name)).await.expect("the client connects")
    }

    pub async fn enterprise(&self, name: &str) -> Enterprise {
        Enterprise::open(&self.path().join(format!("profiles/{name}.toml")))
            .await
            .expect("the enterprise connects")
    }

    /// The trail's leaves so far, as they were hashed.
    pub async fn trail_leaves(&self) -> Vec<String> {
        let auditor = self.client("auditor").await;
        let mut leaves = Vec::new();
        loop {
            let start = leaves.len() as u64;
            let call = v1::ListLeavesRequest { log: v1::Log::Trail.into(), start, count: 256 };
            let page = auditor.audit().list_leaves(call).await.expect("the trail is read").into_inner();
            if page.leaves.is_empty() {
                return leaves;
            }
            leaves.extend(page.leaves.iter().map(|leaf| String::from_utf8_lossy(leaf).into_owned()));
        }
    }

    /// Runs `mandate-verify`; its exit code and everything it printed.
    pub fn verify(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_mandate-verify"))
            .args(arguments)
            .arg("--pin")
            .arg(self.path().join("pins.toml"))
            .output()
            .expect("mandate-verify runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    /// Exports both logs and asserts that they verify.
    pub async fn export_and_verify_logs(&self) -> PathBuf {
        let out = self.path().join(format!("exported-{}", rand_suffix()));
        std::fs::create_dir_all(&out).expect("a folder");
        let auditor = self.client("auditor").await;
        mandate::cli::trail::export_to(&auditor, &out).await.expect("the logs are exported");
        let (code, text) = self.verify(&["trail", out.to_str().expect("UTF-8")]);
        assert_eq!(code, 0, "the trail does not verify: {text}");
        out
    }

    /// And asserts that the tables are what the leaves say.
    pub async fn export_and_verify(&self) -> PathBuf {
        let out = self.export_and_verify_logs().await;
        self.examine();
        out
    }

    /// Asserts that the doctor finds nothing, whether a gateway runs or not; what it says of what it looked at.
    pub fn examine(&self) -> String {
        let doctor = Command::new(env!("CARGO_BIN_EXE_mandate"))
            .args(["doctor", "--config"])
            .arg(self.path().join("gateway.toml"))
            .output()
            .expect("mandate runs");
        let found = [doctor.stdout, doctor.stderr].concat();
        let found = String::from_utf8_lossy(&found).into_owned();
        assert!(doctor.status.success(), "the doctor: {found}");
        found
    }
}

/// Changes the gateway's configuration before its start.
pub fn configure(dir: &Path, change: impl FnOnce(&mut toml::Table)) {
    let path = dir.join("gateway.toml");
    let mut table: toml::Table =
        std::fs::read_to_string(&path).expect("the configuration").parse().expect("TOML");
    change(&mut table);
    std::fs::write(&path, toml::to_string(&table).expect("TOML")).expect("written");
}

fn rand_suffix() -> String {
    use mandate::domain::Entropy;
    let mut bytes = [0u8; 6];
    mandate::domain::clock::SystemEntropy.fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

/// The stable reason a call was refused with.
pub fn reason(status: &tonic::Status) -> String {
    mandate::cli::demo::reason_of(status)
        .unwrap_or_else(|_| format!("no reason: {:?} {}", status.code(), status.message()))
}

/// Waits for something with a bound.
pub async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future)
        .await
        .unwrap_or_else(|_| panic!("{what} took over {seconds} s"))
}
