//! What calls change of files and directories, until it is durable.

use super::disk::{Id, Ticket};
use std::collections::BTreeMap;
use std::rc::Rc;

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
pub(super) enum Naming {
    Bind(String, Id),
    /// Only if it still stands for that.
    Unbind(String, Id),
    /// Both at once, as journalling file systems do it.
    Move(String, String, Id),
}

#[derive(Clone, Debug)]
pub(super) struct Pending<T> {
    pub(super) ticket: Ticket,
    pub(super) change: T,
    /// The call has returned.
    pub(super) done: bool,
    /// A sync that should have written it failed: no later one counts for it.
    pub(super) doomed: bool,
}

/// What a loss of power leaves of a change.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    All,
    Nothing,
    /// Pieces of this size, aligned in the file; which of them.
    Pieces(usize, Vec<bool>),
}

impl<T> Pending<T> {
    pub(super) fn new(ticket: Ticket, change: T) -> Self {
        Pending {
            ticket,
            change,
            done: false,
            doomed: false,
        }
    }
}

impl Naming {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, Id>) {
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
    pub(super) fn apply(&self, file: &mut Vec<u8>, kept: &Kept) {
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
pub(super) fn overwrite(pending: &mut Vec<Pending<Change>>, by: &Pending<Change>) {
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
