//! A disk with a page cache before it: what was written and not yet synced is
//! kept apart, so that a loss of power can take any part of it.

use super::change::{Change, Kept, Naming, Pending, overwrite};
use super::fate::Fate;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Component, Path};

/// Names a file or a directory, whatever it is called.
pub(super) type Id = usize;
/// Names a change that is not durable yet.
pub(super) type Ticket = u64;

/// The directory that everything is in; it was there before.
pub(super) const ROOT: Id = 0;

#[derive(Clone, Debug)]
enum Node {
    File {
        durable: Vec<u8>,
        pending: Vec<Pending<Change>>,
    },
    Directory {
        durable: BTreeMap<String, Id>,
        pending: Vec<Pending<Naming>>,
        /// As processes see it.
        now: BTreeMap<String, Id>,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    tickets: Ticket,
    /// Of which file or directory each change is.
    homes: HashMap<Ticket, Id>,
    /// Rises when the content that processes see changes.
    pub(super) changed: u64,
    /// Rises when something becomes durable.
    pub(super) hardened: u64,
}

impl Disk {
    pub(super) fn new() -> Self {
        Disk {
            nodes: vec![Node::empty(true)],
            tickets: 0,
            homes: HashMap::new(),
            changed: 0,
            hardened: 0,
        }
    }

    /// What lies in a directory, all of it durable.
    pub(super) fn load(root: &Path) -> Self {
        let mut disk = Disk::new();
        disk.load_into(ROOT, root);
        disk
    }

    fn load_into(&mut self, dir: Id, path: &Path) {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let id = self.nodes.len();
            let is_dir = entry.file_type().unwrap().is_dir();
            self.nodes.push(Node::empty(is_dir));
            match &mut self.nodes[id] {
                Node::File { durable, .. } => *durable = fs::read(entry.path()).unwrap(),
                Node::Directory { .. } => self.load_into(id, &entry.path()),
            }
            let name = entry.file_name().into_string().unwrap();
            if let Node::Directory { durable, now, .. } = &mut self.nodes[dir] {
                durable.insert(name.clone(), id);
                now.insert(name, id);
            }
        }
    }

    /// What stands at a path below the root.
    pub(super) fn find(&self, path: &Path) -> Option<Id> {
        path.components().try_fold(ROOT, |at, part| {
            let Component::Normal(name) = part else {
                panic!("{} is not plain", path.display())
            };
            self.names(at).get(name.to_str()?).copied()
        })
    }

    /// The directory of a path, and the name in it.
    fn place(&self, path: &Path) -> (Id, String) {
        let parent = path.parent().expect("not the root");
        let parent = self.find(parent);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (parent.expect("its directory is there"), name)
    }

    fn names(&self, dir: Id) -> &BTreeMap<String, Id> {
        match &self.nodes[dir] {
            Node::Directory { now, .. } => now,
            Node::File { .. } => panic!("a file is no directory"),
        }
    }

    pub(super) fn is_directory(&self, id: Id) -> bool {
        matches!(self.nodes[id], Node::Directory { .. })
    }

    /// Makes a file or a directory.
    pub(super) fn create(&mut self, path: &Path, directory: bool) -> (Id, Ticket) {
        let id = self.nodes.len();
        self.nodes.push(Node::empty(directory));
        let (dir, name) = self.place(path);
        (id, self.rename_in(dir, Naming::Bind(name, id)))
    }

    /// Gives something another name.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Vec<Ticket> {
        let id = self.find(from).expect("it is there");
        let ((old, before), (new, after)) = (self.place(from), self.place(to));
        if old == new {
            return vec![self.rename_in(old, Naming::Move(before, after, id))];
        }
        // Two directories: neither waits for the other.
        let bound = self.rename_in(new, Naming::Bind(after, id));
        vec![bound, self.rename_in(old, Naming::Unbind(before, id))]
    }

    pub(super) fn remove(&mut self, path: &Path) -> Ticket {
        let id = self.find(path).expect("it is there");
        let (dir, name) = self.place(path);
        self.rename_in(dir, Naming::Unbind(name, id))
    }

    fn rename_in(&mut self, dir: Id, naming: Naming) -> Ticket {
        self.tickets += 1;
        self.changed += 1;
        let Node::Directory { pending, now, .. } = &mut self.nodes[dir] else {
            panic!("a file is no directory")
        };
        self.homes.insert(self.tickets, dir);
        naming.apply(now);
        pending.push(Pending::new(self.tickets, naming));
        self.tickets
    }

    pub(super) fn change(&mut self, file: Id, change: Change) -> Ticket {
        self.tickets += 1;
        self.changed += 1;
        self.homes.insert(self.tickets, file);
        let Node::File { pending, .. } = &mut self.nodes[file] else {
            panic!("a directory is no file")
        };
        pending.push(Pending::new(self.tickets, change));
        self.tickets
    }

    /// How long a file is for processes.
    pub(super) fn length(&self, file: Id) -> u64 {
        let Node::File { durable, pending } = &self.nodes[file] else {
            panic!("a directory is no file")
        };
        pending
            .iter()
            .fold(durable.len() as u64, |length, p| match &p.change {
                Change::Write(at, bytes) => length.max(at + bytes.len() as u64),
                Change::SetLength(length) => *length,
                Change::Allocate(to) => length.max(*to),
            })
    }

    /// The call that made a change has returned.
    pub(super) fn done(&mut self, ticket: Ticket) {
        fn mark<T>(pending: &mut [Pending<T>], ticket: Ticket) {
            let found = pending.iter_mut().find(|p| p.ticket == ticket);
            found.into_iter().for_each(|p| p.done = true);
        }
        match &mut self.nodes[self.homes[&ticket]] {
            Node::File { pending, .. } => mark(pending, ticket),
            Node::Directory { pending, .. } => mark(pending, ticket),
        }
    }

    /// What a sync that begins now makes durable.
    pub(super) fn covered(&self, of: Id) -> Vec<Ticket> {
        fn done<T>(pending: &[Pending<T>]) -> Vec<Ticket> {
            let good = pending.iter().filter(|p| p.done && !p.doomed);
            good.map(|p| p.ticket).collect()
        }
        match &self.nodes[of] {
            Node::File { pending, .. } => done(pending),
            Node::Directory { pending, .. } => done(pending),
        }
    }

    /// A sync has returned. After a failed one the kernel may call the pages
    /// clean that it has not written.
    pub(super) fn synced(&mut self, of: Id, covered: &[Ticket], well: bool) {
        if !well {
            self.doom(of, covered);
            return;
        }
        self.hardened += 1;
        match &mut self.nodes[of] {
            Node::File { durable, pending } => {
                let (now, later) = std::mem::take(pending)
                    .into_iter()
                    .partition(|p| covered.contains(&p.ticket));
                *pending = later;
                for one in &now as &Vec<Pending<Change>> {
                    one.change.apply(durable, &Kept::All);
                    // What a failed sync left is older than this.
                    overwrite(pending, one);
                }
            }
            Node::Directory {
                durable, pending, ..
            } => pending.retain(|p| {
                let now = covered.contains(&p.ticket);
                if now {
                    p.change.apply(durable);
                }
                !now
            }),
        }
    }

    fn doom(&mut self, of: Id, covered: &[Ticket]) {
        if let Node::File { pending, .. } = &mut self.nodes[of] {
            for p in pending.iter_mut().filter(|p| covered.contains(&p.ticket)) {
                p.doomed = true;
            }
        }
    }

    /// The bytes of a file, as a loss of power leaves them.
    pub(super) fn content(&self, file: Id, fate: &mut dyn Fate) -> Vec<u8> {
        let Node::File { durable, pending } = &self.nodes[file] else {
            panic!("a directory is no file")
        };
        let mut bytes = durable.clone();
        for p in pending {
            let size = match &p.change {
                Change::Write(_, bytes) => bytes.len(),
                _ => 1,
            };
            let kept = fate.keeps(file, size);
            p.change.apply(&mut bytes, &kept);
        }
        bytes
    }

    /// The names in a directory, as a loss of power leaves them.
    pub(super) fn listing(&self, dir: Id, fate: &mut dyn Fate) -> BTreeMap<String, Id> {
        let Node::Directory {
            durable, pending, ..
        } = &self.nodes[dir]
        else {
            panic!("a file is no directory")
        };
        let mut names = durable.clone();
        for p in pending {
            if !matches!(fate.keeps(dir, 1), Kept::Nothing) {
                p.change.apply(&mut names);
            }
        }
        names
    }
}

impl Node {
    fn empty(directory: bool) -> Node {
        match directory {
            true => Node::Directory {
                durable: BTreeMap::new(),
                pending: Vec::new(),
                now: BTreeMap::new(),
            },
            false => Node::File {
                durable: Vec::new(),
                pending: Vec::new(),
            },
        }
    }
}
