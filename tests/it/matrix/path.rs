//! The calls of one refresh, as strace sees them, and which of them are worth a fault.

use super::strace::Role;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Sleeping, waking and memory: nothing outside the process changes by them,
/// and how many there are differs between two refreshes. What lies before and
/// after them is in the list.
const LEFT_OUT: [&str; 12] = [
    "futex",
    "epoll_wait",
    "restart_syscall",
    "mprotect",
    "mmap",
    "munmap",
    "madvise",
    "brk",
    "sched_yield",
    "rt_sigprocmask",
    "sigaltstack",
    "exit",
];

/// Calls that change files, or make them durable: what they met must be told.
const CHANGES: [&str; 10] = [
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "fchmod",
    "fchown",
    "ftruncate",
];

/// One call of a refresh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    /// Whose call.
    pub(super) role: Role,
    /// Its name.
    pub(super) call: String,
    /// Which one of that name in that thread (on that path) since the wish, from 1.
    pub(super) nth: usize,
    /// Only calls on this path, from the root of all, are counted.
    pub(super) only: Option<PathBuf>,
    /// Whether it is about a file of ours, so that a disk could fail it.
    pub(super) on_file: bool,
}

impl Point {
    /// For people.
    pub(super) fn label(&self) -> String {
        let name = self.only.as_ref().and_then(|path| path.file_name());
        let name = name.map_or(String::new(), |name| format!(" {}", name.display()));
        format!("{} {}{name}", self.role.name(), self.call)
    }

    /// Whether a failure of it is to be told of.
    pub(super) fn changes_files(&self) -> bool {
        self.on_file && CHANGES.contains(&self.call.as_str())
    }
}

/// Takes the calls of one thread from what strace wrote of it. `house` is where
/// all files of ours are.
pub(super) fn points(role: Role, trace: &str, house: &Path) -> Vec<Point> {
    let root = format!("{}/", house.display());
    let mut counts: BTreeMap<(&str, Option<&Path>), usize> = BTreeMap::new();
    let mut points = Vec::new();
    for line in trace.lines() {
        let Some((call, rest)) = line.split_once('(') else {
            continue;
        };
        if !call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let args = rest.split(") = ").next().unwrap_or(rest);
        let only = (call == "write").then(|| written(args, &root)).flatten();
        let nth = counts.entry((call, only)).or_default();
        *nth += 1;
        // The wake-up of a sleeping epoll, and what only debug builds of std ask.
        let noise = args.contains("<anon_inode:[eventfd]>") || args.contains("F_GETFD");
        if LEFT_OUT.contains(&call) || noise {
            continue;
        }
        let is_log = only.is_some_and(|path| path.ends_with("log"));
        points.push(Point {
            role,
            call: call.to_owned(),
            nth: *nth,
            only: only.map(|path| path.strip_prefix(house).unwrap_or(path).to_owned()),
            on_file: args.contains(&root) && !is_log && call != "close",
        });
    }
    points
}

/// The file that is written, where it has the same name each time. Writes to
/// it are counted apart from those that wake a sleeper, whose number differs.
fn written<'a>(args: &'a str, root: &str) -> Option<&'a Path> {
    let path = args.split_once('<')?.1.split_once('>')?.0;
    (path.starts_with(root) && !path.contains("/.tmp/")).then(|| Path::new(path))
}
