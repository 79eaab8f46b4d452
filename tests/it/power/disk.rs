//! A disk with a page cache before it: what was written and not yet synced is
//! kept apart, so that a loss of power can take any part of it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};
use std::rc::Rc;

/// Names a file or a directory, whatever it is called.
pub(super) type Id = usize;
/// Names a change that is not durable yet.
pub(super) type Ticket = u64;

/// The directory that everything is in; it was there before.
pub(super) const ROOT: Id = 0;

/// A change of a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(u64, Rc<[u8]>),
    SetLength(u64),
    /// Space is set aside; the file is at least so long.
    Allocate(u64),
}

/// A change of a directory.
#[derive(Clone, Debug)]
enum Naming {
    Bind(String, Id),
    /// Only if it still stands for that.
    Unbind(String, Id),
    /// Both at once, as journalling file systems do it.
    Move(String, String, Id),
}

#[derive(Clone, Debug)]
struct Pending<T> {
    ticket: Ticket,
    change: T,
    /// The call has returned.
    done: bool,
    /// A sync that should have written it failed: no later one counts for it.
    doomed: bool,
}

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

/// What a loss of power leaves of the changes that are not durable.
pub(super) trait Fate {
    /// Which of the pieces of this many bytes, or of a single change of names, stay.
    /// Asked for each change in order, by the file or directory.
    fn keeps(&mut self, of: Id, bytes: usize) -> Kept;
}

/// See [`Fate`].
#[derive(Clone, Debug)]
pub(super) enum Kept {
    All,
    Nothing,
    /// Pieces of this size, aligned in the file; which of them.
    Pieces(usize, Vec<bool>),
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
    fn listing(&self, dir: Id, fate: &mut dyn Fate) -> BTreeMap<String, Id> {
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

    /// Writes what is left to an empty directory; `wanted` says which names of the root.
    pub(super) fn lay_out(&self, into: &Path, wanted: &[&str], fate: &mut dyn Fate) {
        let mut top = self.listing(ROOT, fate);
        top.retain(|name, _| wanted.contains(&name.as_str()));
        self.lay_out_names(into, &top, fate);
    }

    fn lay_out_names(&self, into: &Path, names: &BTreeMap<String, Id>, fate: &mut dyn Fate) {
        for (name, &id) in names {
            let path = into.join(name);
            if self.is_directory(id) {
                fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
                let names = self.listing(id, fate);
                self.lay_out_names(&path, &names, fate);
            } else {
                write_sparse(&path, &self.content(id, fate));
            }
        }
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

impl<T> Pending<T> {
    fn new(ticket: Ticket, change: T) -> Self {
        Pending {
            ticket,
            change,
            done: false,
            doomed: false,
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, Id>) {
        let mut take = |name: &str, id: Id| {
            if names.get(name) == Some(&id) {
                names.remove(name);
            }
        };
        match self {
            Naming::Bind(name, id) => drop(names.insert(name.clone(), *id)),
            Naming::Unbind(name, id) => take(name, *id),
            Naming::Move(from, to, id) => {
                take(from, *id);
                names.insert(to.clone(), *id);
            }
        }
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>, kept: &Kept) {
        let mut put = |at: usize, bytes: &[u8]| {
            let end = at + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[at..end].copy_from_slice(bytes);
        };
        match (self, kept) {
            (_, Kept::Nothing) => {}
            (Change::Write(at, bytes), Kept::All) => put(*at as usize, bytes),
            (Change::Write(at, bytes), Kept::Pieces(size, which)) => {
                let (at, mut from) = (*at as usize, 0);
                for kept in which.iter().cycle() {
                    if from == bytes.len() {
                        break;
                    }
                    let to = ((at + from) / size + 1) * size - at;
                    let to = to.min(bytes.len());
                    if *kept {
                        put(at + from, &bytes[from..to]);
                    }
                    from = to;
                }
            }
            (Change::SetLength(length), _) => file.resize(*length as usize, 0),
            (Change::Allocate(to), _) => {
                let to = file.len().max(*to as usize);
                file.resize(to, 0);
            }
        }
    }
}

/// Takes what a durable write covers out of the writes that a failed sync left.
fn overwrite(pending: &mut Vec<Pending<Change>>, by: &Pending<Change>) {
    let Change::Write(from, bytes) = &by.change else {
        return;
    };
    let (from, to) = (*from, from + bytes.len() as u64);
    let mut left = Vec::new();
    for p in pending.drain(..) {
        let Change::Write(at, old) = &p.change else {
            left.push(p);
            continue;
        };
        let end = at + old.len() as u64;
        if !p.doomed || end <= from || to <= *at {
            left.push(p);
            continue;
        }
        for (start, stop) in [(*at, from), (to, end)] {
            if start < stop {
                let part = &old[(start - at) as usize..(stop - at) as usize];
                left.push(Pending {
                    change: Change::Write(start, part.into()),
                    ..p.clone()
                });
            }
        }
    }
    *pending = left;
}

const BLOCK: usize = 4096;

/// Zeros are left out, as in the file systems that know holes.
fn write_sparse(path: &Path, bytes: &[u8]) {
    let zeros = [0; BLOCK];
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    let mut from = 0;
    for (index, block) in bytes.chunks(BLOCK).enumerate() {
        if block == &zeros[..block.len()] {
            file.write_all_at(&bytes[from..index * BLOCK], from as u64)
                .unwrap();
            from = (index + 1) * BLOCK;
        }
    }
    if from < bytes.len() {
        file.write_all_at(&bytes[from..], from as u64).unwrap();
    }
}
