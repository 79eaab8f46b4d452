//! A binary heap of 16-byte entries with lazy deletion: what is withdrawn stays
//! until it comes to the top or the stale entries are the majority. A B-tree
//! takes twice the memory (29 bytes an entry against 16).

use super::slot::Slot;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Heaps below this are not compacted.
const SMALL: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) time: i64,
    pub(super) index: u32,
    pub(super) version: u32,
}

impl Ord for Entry {
    /// Reversed, for `BinaryHeap` hands out the greatest: early times first, then low indices.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.index, other.version).cmp(&(self.time, self.index, self.version))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Invariant: the entry on top is never stale, so that [`Heap::first`] only looks.
#[derive(Debug, Default)]
pub(super) struct Heap {
    heap: BinaryHeap<Entry>,
    stale: usize,
}

impl Heap {
    pub(super) fn push(&mut self, entry: Entry) {
        self.heap.push(entry);
    }

    pub(super) fn first(&self) -> Option<Entry> {
        self.heap.peek().copied()
    }

    /// Takes the first entry, which is live.
    pub(super) fn take(&mut self, slots: &[Slot]) -> Option<Entry> {
        let entry = self.heap.pop()?;
        self.prune(slots);
        Some(entry)
    }

    /// One of the entries has become stale.
    pub(super) fn forget(&mut self, slots: &[Slot]) {
        self.stale += 1;
        if self.stale > SMALL.max(self.heap.len() / 2) {
            self.heap.retain(|entry| is_live(entry, slots));
            self.stale = 0;
            self.shrink();
        } else {
            self.prune(slots);
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.heap.capacity() * size_of::<Entry>()
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.heap.len()
    }

    fn prune(&mut self, slots: &[Slot]) {
        while self.heap.peek().is_some_and(|entry| !is_live(entry, slots)) {
            self.heap.pop();
            self.stale -= 1;
        }
        self.shrink();
    }

    /// Gives memory back after a rush, with room to spare so that it is not asked for again at once.
    fn shrink(&mut self) {
        if self.heap.capacity() > SMALL && self.heap.len() < self.heap.capacity() / 8 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
    }
}

fn is_live(entry: &Entry, slots: &[Slot]) -> bool {
    slots[entry.index as usize].version == entry.version
}
