//! A PostgreSQL cluster of this test process's own: made from the installed binaries, run as a user
//! that is not root, on a Unix socket, gone when the process ends. Most tests share one; a test that lets
//! the server fall has one of its own, gone when it is dropped.
//!
//! Included by the library's tests and by the integration tests.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    owner: Option<(u32, u32)>,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

/// The cluster that the tests of this process share.
pub fn shared() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::create();
        cluster.start();
        // SAFETY: registers a function of ours that takes nothing.
        unsafe { libc::atexit(at_exit) };
        cluster
    })
}

extern "C" fn at_exit() {
    shared().remove();
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Cluster {
    /// Makes a cluster; nothing runs yet.
    pub fn create() -> Cluster {
        let bin = binaries();
        let owner = owner();
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mandate-pg-{}-{number}", std::process::id()));
        // What an earlier process of that number may have left.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).expect("a folder for the cluster");
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("the folder's owner is set");
        }
        let cluster = Cluster { folder, bin, owner, server: Mutex::new(None), databases: AtomicU32::new(0) };
        let made = cluster
            .command("initdb")
            .args(["--auth=trust", "--username=mandate", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .arg("--pgdata")
            .arg(cluster.data())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        cluster
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command.current_dir(&self.folder).env_remove("PGDATA").env_remove("PGHOST").stdin(Stdio::null());
        command
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) {
        let (reply, started) = std::sync::mpsc::channel();
        let log = std::fs::File::create(self.folder.join("log")).expect("a log file");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.folder);
        // Nothing here outlives the machine, so nothing waits for the disk.
        for setting in ["listen_addresses=", "fsync=off", "max_connections=200", "shared_buffers=64MB"] {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::null()).stderr(log);
        // SAFETY: prctl is async-signal-safe and touches nothing of ours.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGQUIT);
                Ok(())
            });
        }
        // The signal comes when the starting *thread* ends, so this one never does.
        std::thread::spawn(move || {
            let _ = reply.send(command.spawn());
            loop {
                std::thread::park();
            }
        });
        *self.server() = Some(started.recv().expect("the starter answers").expect("postgres starts"));
        for _ in 0..600 {
            let ready = self.command("pg_isready").arg("-q").arg("-h").arg(&self.folder).status();
            if ready.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        panic!("postgres does not take connections: {log}");
    }

    /// Stops the server: `fast` ends every session, `immediate` is a crash.
    pub fn stop(&self, mode: &str) {
        let Some(mut child) = self.server().take() else { return };
        let stopped = self.command("pg_ctl").args(["stop", "-m", mode, "-D"]).arg(self.data()).output();
        if !stopped.is_ok_and(|output| output.status.success()) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }

    /// Ends it for good.
    pub fn remove(&self) {
        self.stop("immediate");
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// Makes an empty database; returns its URL.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://mandate@localhost/{database}?host={}", self.folder.display())
    }

    /// Runs statements with psql; returns what it printed.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let done = self
            .command("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "mandate", "-d", database, "-h"])
            .arg(&self.folder)
            .args(["-c", statements])
            .output()
            .expect("psql runs");
        assert!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// The database's name in a URL of [`Cluster::url`].
    pub fn name(url: &str) -> &str {
        let after = url.split_once("localhost/").map_or("", |(_, after)| after);
        after.split('?').next().unwrap_or_default()
    }
}

/// Where `initdb` lies: Debian keeps the server's programs off the path.
fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders
        .into_iter()
        .find(|folder| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file()))
        .expect("PostgreSQL's initdb, postgres and psql are installed: apt-get install postgresql")
}

/// PostgreSQL refuses to run as root: then it runs as the package's user, or as nobody.
fn owner() -> Option<(u32, u32)> {
    // SAFETY: geteuid(2) only reads.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}
