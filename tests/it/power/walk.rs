//! Follows a daemon through its calls, and makes of them what happened on the disk.

use super::change::Change;
use super::disk::{Disk, Id, Ticket};
use super::trace::{Arg, Call, Step};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The directories whose content is followed. All of them are below the root.
pub(super) const FOLLOWED: [&str; 4] = ["state", "key", "backups", "tokens"];

/// What a step shows to those who judge.
#[derive(Debug)]
pub(super) enum Seen {
    /// Bytes go into a file.
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
        ticket: Ticket,
    },
    /// Bytes go to somewhere else: a socket.
    Sent(Vec<u8>),
    /// A file is about to get another name.
    Renaming { file: Id, to: PathBuf },
    /// These changes are durable now.
    Synced(Vec<Ticket>),
}

#[derive(Clone, Debug)]
struct Open {
    id: Id,
    path: PathBuf,
    position: u64,
}

/// What a thread is in the middle of.
#[derive(Clone, Debug)]
enum Doing {
    Opening(Call),
    Naming(Call),
    Seeking(i64),
    Writing(Vec<Ticket>),
    Syncing(Id, Vec<Ticket>),
    Closing,
    Nothing,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) disk: Disk,
    root: PathBuf,
    open: HashMap<i64, Open>,
    doing: HashMap<u32, Doing>,
    /// How many syncs have been begun; and the one that is to be as if it had not been.
    syncs: usize,
    pub(super) forget: Option<usize>,
}

impl Walk {
    pub(super) fn new(root: &Path) -> Self {
        Walk::on(Disk::new(), root)
    }

    /// Of a process that finds something.
    pub(super) fn on(disk: Disk, root: &Path) -> Self {
        Walk {
            disk,
            root: root.to_owned(),
            open: HashMap::new(),
            doing: HashMap::new(),
            syncs: 0,
            forget: None,
        }
    }

    /// The process is gone, and another one follows; the page cache stays.
    pub(super) fn next_process(&mut self) {
        self.open.clear();
        self.doing.clear();
    }

    /// How many syncs have been begun.
    pub(super) fn syncs(&self) -> usize {
        self.syncs
    }

    /// A path below the root, if it is one that is followed.
    fn followed(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.root).ok()?;
        let first = below.components().next()?.as_os_str().to_str()?;
        FOLLOWED.contains(&first).then(|| below.to_owned())
    }

    /// The path that an `…at` call names.
    fn named(&self, dir: &Arg, name: &Arg) -> Option<PathBuf> {
        let base = dir.place.clone().unwrap_or_else(|| self.root.clone());
        self.followed(&base.join(name.path()))
    }

    pub(super) fn step(&mut self, step: &Step) -> Option<Seen> {
        match step {
            Step::Enter(tid, call) => {
                let (doing, seen) = self.enter(call);
                self.doing.insert(*tid, doing);
                seen
            }
            Step::Leave(tid, value) => {
                let doing = self.doing.remove(tid).unwrap_or(Doing::Nothing);
                self.leave(doing, *value)
            }
        }
    }

    fn enter(&mut self, call: &Call) -> (Doing, Option<Seen>) {
        let args = &call.args;
        match &*call.name {
            "open" | "openat" | "creat" => (Doing::Opening(call.clone()), None),
            "close" => {
                self.open.remove(&args[0].number());
                (Doing::Closing, None)
            }
            "lseek" => (Doing::Seeking(args[0].number()), None),
            "write" | "writev" | "sendto" | "sendmsg" => self.write(&args[0], &args[1], None),
            "pwrite64" | "pwritev" => self.write(&args[0], &args[1], args.last().map(Arg::number)),
            "ftruncate" => self.resize(&args[0], |_| Change::SetLength(args[1].number() as u64)),
            // Blocks beyond the end hold nothing.
            "fallocate" if args[1].word == "FALLOC_FL_KEEP_SIZE" => (Doing::Nothing, None),
            "fallocate" => {
                assert_eq!(args[1].word, "0", "a plain allocation");
                let to = (args[2].number() + args[3].number()) as u64;
                self.resize(&args[0], |_| Change::Allocate(to))
            }
            "fsync" | "fdatasync" => (self.sync(&args[0]), None),
            "rename" | "renameat" | "renameat2" => {
                let seen = self.ends(call).and_then(|(from, to)| {
                    let file = self.disk.find(&from)?;
                    Some(Seen::Renaming { file, to })
                });
                (Doing::Naming(call.clone()), seen)
            }
            "mkdir" | "mkdirat" | "unlink" | "unlinkat" | "rmdir" => {
                (Doing::Naming(call.clone()), None)
            }
            other => {
                let ours = args.iter().filter_map(|arg| arg.place.as_deref());
                let ours: Vec<_> = ours.filter_map(|path| self.followed(path)).collect();
                assert!(ours.is_empty(), "{other} is not understood: {ours:?}");
                (Doing::Nothing, None)
            }
        }
    }

    fn leave(&mut self, doing: Doing, value: i64) -> Option<Seen> {
        match doing {
            Doing::Opening(call) if value >= 0 => self.opened(&call, value),
            Doing::Naming(call) if value >= 0 => self.renamed(&call),
            Doing::Seeking(fd) if value >= 0 => {
                if let Some(open) = self.open.get_mut(&fd) {
                    open.position = value as u64;
                }
            }
            Doing::Writing(tickets) if value >= 0 => {
                tickets.into_iter().for_each(|t| self.disk.done(t));
            }
            Doing::Syncing(id, covered) => {
                self.disk.synced(id, &covered, value == 0);
                return (value == 0).then_some(Seen::Synced(covered));
            }
            _ => {}
        }
        None
    }

    fn opened(&mut self, call: &Call, fd: i64) {
        let args = &call.args;
        let (path, flags) = match &*call.name {
            "openat" => (self.named(&args[0], &args[1]), &args[2].word),
            _ => (self.named(&Arg::default(), &args[0]), &args[1].word),
        };
        self.open.remove(&fd);
        let Some(path) = path else { return };
        let has = |flag| flags.split('|').any(|f| f == flag);
        assert!(!has("O_APPEND"), "{} is appended to", path.display());
        let id = match self.disk.find(&path) {
            Some(id) => {
                if has("O_TRUNC") && self.disk.length(id) > 0 {
                    let ticket = self.disk.change(id, Change::SetLength(0));
                    self.disk.done(ticket);
                }
                id
            }
            None => {
                // Another thread may be about to return from the mkdir of what is found here.
                let directory = has("O_DIRECTORY");
                assert!(
                    has("O_CREAT") || directory,
                    "{} came from nowhere",
                    path.display()
                );
                let (id, ticket) = self.disk.create(&path, directory);
                self.disk.done(ticket);
                id
            }
        };
        let position = 0;
        self.open.insert(fd, Open { id, path, position });
    }

    /// Where a file has been, and where it comes to be.
    fn ends(&self, call: &Call) -> Option<(PathBuf, PathBuf)> {
        let args = &call.args;
        let none = Arg::default();
        let (from, to) = match &*call.name {
            "rename" => ((&none, &args[0]), (&none, &args[1])),
            _ => ((&args[0], &args[1]), (&args[2], &args[3])),
        };
        let ends = (self.named(from.0, from.1), self.named(to.0, to.1));
        match ends {
            (Some(from), Some(to)) => Some((from, to)),
            (None, None) => None,
            ends => panic!("it came in or went out: {ends:?}"),
        }
    }

    fn renamed(&mut self, call: &Call) {
        let args = &call.args;
        let none = Arg::default();
        let tickets = match &*call.name {
            "rename" | "renameat" | "renameat2" => match self.ends(call) {
                Some((from, to)) => self.disk.rename(&from, &to),
                None => return,
            },
            name => {
                let at = name.ends_with("at");
                let path = match at {
                    true => self.named(&args[0], &args[1]),
                    false => self.named(&none, &args[0]),
                };
                match path {
                    // It was opened before the call that made it returned.
                    Some(path) if name.starts_with("mkdir") && self.disk.find(&path).is_some() => {
                        return;
                    }
                    Some(path) if name.starts_with("mkdir") => {
                        vec![self.disk.create(&path, true).1]
                    }
                    Some(path) => vec![self.disk.remove(&path)],
                    None => return,
                }
            }
        };
        tickets.into_iter().for_each(|t| self.disk.done(t));
    }

    fn write(&mut self, fd: &Arg, bytes: &Arg, at: Option<i64>) -> (Doing, Option<Seen>) {
        let Some(open) = self.open.get_mut(&fd.number()) else {
            let place = fd.place.as_deref().and_then(|path| self.followed(path));
            assert_eq!(place, None, "it was opened unseen");
            return (Doing::Nothing, Some(Seen::Sent(bytes.bytes.clone())));
        };
        let position = at.map_or(open.position, |at| at as u64);
        if at.is_none() {
            open.position += bytes.bytes.len() as u64;
        }
        let change = Change::Write(position, bytes.bytes.as_slice().into());
        let ticket = self.disk.change(open.id, change);
        let seen = Seen::Write {
            path: open.path.clone(),
            bytes: bytes.bytes.clone(),
            ticket,
        };
        (Doing::Writing(vec![ticket]), Some(seen))
    }

    fn resize(&mut self, fd: &Arg, change: impl Fn(u64) -> Change) -> (Doing, Option<Seen>) {
        let Some(open) = self.open.get(&fd.number()) else {
            return (Doing::Nothing, None);
        };
        let change = change(self.disk.length(open.id));
        (
            Doing::Writing(vec![self.disk.change(open.id, change)]),
            None,
        )
    }

    fn sync(&mut self, fd: &Arg) -> Doing {
        let known = self.open.get(&fd.number());
        let known = known.map(|open| open.id);
        // A directory that holds those that are followed is not followed itself.
        let root = fd.place.as_deref() == Some(&*self.root);
        let Some(id) = known.or_else(|| root.then_some(super::disk::ROOT)) else {
            return Doing::Nothing;
        };
        let number = self.syncs;
        self.syncs += 1;
        if self.forget == Some(number) {
            return Doing::Nothing;
        }
        Doing::Syncing(id, self.disk.covered(id))
    }
}
