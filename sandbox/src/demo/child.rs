//! The daemon as a child process, which never outlives the demo.

use super::place::Place;
use crate::daemon::{ENDS_WITH_PARENT, SUBCOMMAND};
use crate::signals::Stop;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long the daemon may take until it listens.
const START: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// What went wrong with the daemon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    /// A system call.
    #[error("cannot run the daemon: {0}")]
    Io(#[from] io::Error),
    /// It ended while starting.
    #[error("the daemon ended while starting ({status}); its log says:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It did not listen in time.
    #[error("the daemon does not listen after {START:?}; its log says:\n{log}")]
    Deaf {
        /// The end of its log.
        log: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted while the daemon was starting")]
    Interrupted,
    /// `refreshd import` refused.
    #[error("cannot import the grants ({status}): {stderr}")]
    Import {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
}

/// The running daemon; killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts the daemon on the demo's configuration.
    pub(super) fn start(place: &Place) -> io::Result<Daemon> {
        let log = File::create(place.daemon_log())?;
        let child = command(place, "run")?
            .env(ENDS_WITH_PARENT, "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C reaches the demo, and the demo says when to stop.
            .process_group(0)
            .spawn()?;
        Ok(Daemon { child })
    }

    /// Waits until the daemon's socket is there.
    pub(super) async fn listening(&mut self, place: &Place, stop: &Stop) -> Result<(), ChildError> {
        let began = Instant::now();
        while !place.socket().exists() {
            let log = || end_of_log(place);
            if let Some(status) = self.exited()? {
                return Err(ChildError::Ended { status, log: log() });
            }
            if stop.wanted() {
                return Err(ChildError::Interrupted);
            }
            if began.elapsed() > START {
                return Err(ChildError::Deaf { log: log() });
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub(super) fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to stop, waits, and kills it when it does not.
    pub(super) async fn stop(mut self, patience: Duration) -> io::Result<ExitStatus> {
        let began = Instant::now();
        if self.exited()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        while began.elapsed() < patience {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            tokio::time::sleep(GLANCE).await;
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Hands lines to `refreshd import --ndjson`.
pub(super) async fn import(place: &Place, lines: String) -> Result<(), ChildError> {
    let mut child = command(place, "import")?
        .arg("--ndjson")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let waiting = tokio::task::spawn_blocking(move || {
        // A child that has had enough closes its end; its status tells why.
        let _ = stdin.write_all(lines.as_bytes());
        drop(stdin);
        child.wait_with_output()
    });
    let output = waiting.await.expect("waiting does not panic")?;
    if output.status.success() {
        return Ok(());
    }
    Err(ChildError::Import {
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// This binary as `refreshd`, with nothing of the caller's daemons in its surroundings.
fn command(place: &Place, subcommand: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let systemd = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"].contains(&&*text);
        if systemd || text.starts_with("REFRESHD_") || text.ends_with("_DIRECTORY") {
            command.env_remove(&name);
        }
    }
    for kind in ["CONFIG", "STATE", "DATA", "CACHE"] {
        command.env(format!("XDG_{kind}_HOME"), place.root.join("xdg"));
    }
    command.env("XDG_RUNTIME_DIR", place.root.join("xdg"));
    command.args([SUBCOMMAND, subcommand, "--config"]);
    command.arg(place.config());
    Ok(command)
}

fn end_of_log(place: &Place) -> String {
    let log = fs::read(place.daemon_log()).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
