//! strace on chosen threads of a running daemon. It counts calls for each
//! thread apart and from the moment it is there, so "the third write of the
//! store's thread" is the same call at each refresh.

use crate::support::{text, wait_for};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a thread of the daemon is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The only worker of the runtime: sockets, timers, decisions.
    Worker,
    /// Owns the private database.
    Store,
    /// Writes output files: a thread of the blocking pool.
    Files,
    /// Owns a published database.
    Database,
}

impl Role {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Worker => "worker",
            Role::Store => "store",
            Role::Files => "files",
            Role::Database => "database",
        }
    }
}

/// The threads of an idle daemon that refresh, by their names. Of the runtime's,
/// the worker is the one that sleeps in epoll; the others are the pool's.
pub(crate) fn threads(pid: u32) -> Vec<(u32, Role)> {
    let mut found = Vec::new();
    wait_for("an idle worker", || {
        found = named_threads(pid);
        found
            .iter()
            .filter(|thread| thread.1 == Role::Worker)
            .count()
            == 1
    });
    found
}

fn named_threads(pid: u32) -> Vec<(u32, Role)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let role = |task: &Path| {
        // A thread of the pool may have ended meanwhile.
        let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
        match read("comm").trim() {
            "store" => Some(Role::Store),
            "database" => Some(Role::Database),
            name if name.starts_with("tokio") => {
                let waits_in = read("wchan");
                let polls = waits_in.contains("epoll") || waits_in.contains("ep_poll");
                Some(if polls { Role::Worker } else { Role::Files })
            }
            _ => None,
        }
    };
    tasks
        .filter_map(|task| {
            let task = task.unwrap().path();
            let id = task.file_name()?.to_str()?.parse().ok()?;
            Some((id, role(&task)?))
        })
        .collect()
}

/// A strace that is attached. It lets go when it is dropped.
pub(crate) struct Tracer {
    strace: Child,
    out: PathBuf,
}

impl Tracer {
    /// Attaches to threads; calls made from now on are seen. `None` when one of
    /// them has just ended.
    pub(crate) fn attach(ids: &[u32], out: &Path, args: &[String]) -> Option<Self> {
        assert!(!ids.is_empty(), "no such thread");
        let said = out.with_extension("said");
        let mut command = Command::new("strace");
        command.args(["-y", "-s", "16", "-o"]).arg(out).args(args);
        for id in ids {
            command.arg("-p").arg(id.to_string());
        }
        let strace = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let mut tracer = Tracer {
            strace,
            out: out.to_owned(),
        };
        let mut attached = 0;
        wait_for("strace to attach", || {
            attached = fs::read_to_string(&said)
                .unwrap()
                .matches(" attached")
                .count();
            attached == ids.len() || tracer.strace.try_wait().unwrap().is_some()
        });
        let said = text(&fs::read(&said).unwrap());
        assert!(!said.contains("not permitted"), "{said}");
        (attached == ids.len()).then_some(tracer)
    }

    /// What it has written so far.
    pub(crate) fn trace(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Lets go of the daemon.
    pub(crate) fn detach(mut self) -> String {
        self.end();
        self.trace()
    }

    fn end(&mut self) {
        if self.strace.try_wait().unwrap().is_none() {
            // SIGKILL would leave the daemon stopped.
            let id = self.strace.id().to_string();
            let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
            assert!(told.success());
            self.strace.wait().unwrap();
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.end();
    }
}
