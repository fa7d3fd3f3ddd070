//! The demo's own gateway and agent: real processes, ended when the demo ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::super::CliError;

/// How long a process may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A child process with its log in a file. Killed when dropped.
pub struct Process {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Process {
    /// Starts `mandate <subcommand> --config <file>` and waits until it says that it is ready.
    pub async fn start(
        name: &'static str,
        subcommand: &str,
        config: &Path,
        log: PathBuf,
    ) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(CliError::plain)?;
        let stderr =
            std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(CliError::file(&log))?;
        let mut child = Command::new(program)
            .arg(subcommand)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(CliError::plain)?;
        let stdout = child.stdout.take().ok_or_else(|| CliError::plain("the process has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let process = Process { child, name, log };
        match tokio::time::timeout(PATIENCE, lines.next_line()).await {
            Ok(Ok(Some(_ready))) => {}
            _ => {
                return Err(CliError::Plain(format!(
                    "the {name} did not become ready; see {}",
                    process.log.display()
                )));
            }
        }
        // Whatever else it prints must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(process)
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Ends it in order: SIGTERM, then waits.
    pub async fn stop(mut self) -> Result<(), CliError> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // SAFETY: kill(2) with a pid of our own child, which was not waited for yet.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(CliError::Plain(format!(
                "the {} ended with {status}; see {}",
                self.name,
                self.log.display()
            ))),
            Ok(Err(error)) => Err(CliError::plain(error)),
            Err(_) => Err(CliError::Plain(format!("the {} did not end", self.name))),
        }
    }
}
