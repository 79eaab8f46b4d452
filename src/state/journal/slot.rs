//! Slots, and the flights in them.

use refreshd_core::flight::Intent;
use refreshd_core::provider::Answer;
use std::collections::BTreeSet;

/// A slot that a flight occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotRef {
    file: u32,
    slot: u16,
    /// Where its intent stands, when that file was given up in between.
    first: Option<(u32, u16)>,
    /// Whether its records are beyond loss is not known, so an older flight's may
    /// come back in their place.
    doubtful: bool,
}

impl SlotRef {
    pub(super) fn new(file: u32, slot: u16) -> Self {
        SlotRef {
            file,
            slot,
            first: None,
            doubtful: false,
        }
    }

    /// The file's number.
    #[must_use]
    pub fn file(self) -> u32 {
        self.file
    }

    /// The slot's number in its file.
    #[must_use]
    pub fn slot(self) -> u16 {
        self.slot
    }

    /// This slot, remembering the one its flight had before.
    pub(super) fn after(self, old: SlotRef) -> SlotRef {
        let before = old.first.unwrap_or((old.file, old.slot));
        let first = (before != (self.file, self.slot)).then_some(before);
        SlotRef { first, ..self }
    }

    /// The same, where what stands there is not known to last.
    pub(super) fn doubted(self) -> SlotRef {
        SlotRef {
            doubtful: true,
            ..self
        }
    }

    /// Whether the flight that was in its places before may come back there: then
    /// who remembers that this one is done with must not forget that one.
    #[must_use]
    pub fn is_doubtful(self) -> bool {
        self.doubtful
    }

    /// Every place (file, slot) in which the flight's records may be found.
    pub fn places(self) -> impl Iterator<Item = (u32, u16)> {
        std::iter::once((self.file, self.slot)).chain(self.first)
    }
}

/// A flight that was under way when the last process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its slot, occupied until it is freed.
    pub slot: SlotRef,
    /// What was to be sent; whether it was is not known.
    pub intent: Intent,
    /// What came back, when it did.
    pub answer: Option<Answer>,
}

/// Which slots of the current file are free, and to whom.
pub(super) struct Slots {
    pub(super) file: u32,
    count: u16,
    pub(super) free: Vec<u16>,
    /// Slots of files that were given up, whose flights are under way: each has a
    /// slot here kept for its answer.
    owed: BTreeSet<(u32, u16)>,
}

impl Slots {
    pub(super) fn all_of(file: u32, count: u16) -> Self {
        Slots {
            file,
            count,
            free: (0..count).rev().collect(),
            owed: BTreeSet::new(),
        }
    }

    /// The slots of the next file, of which there may be none for now.
    pub(super) fn go_on_in(&mut self, file: u32, count: u16) {
        let taken = (0..self.count).filter(|slot| !self.free.contains(slot));
        self.owed.extend(taken.map(|slot| (self.file, slot)));
        *self = Slots {
            owed: std::mem::take(&mut self.owed),
            ..Slots::all_of(file, count)
        };
    }

    /// How many there are in all.
    pub(super) fn capacity(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether no flight has one, here or in a file that was given up.
    pub(super) fn are_all_free(&self) -> bool {
        self.free.len() == usize::from(self.count) && self.owed.is_empty()
    }

    /// How many flights may begin without taking what is kept for an answer.
    pub(super) fn unclaimed(&self) -> usize {
        self.free.len().saturating_sub(self.owed.len())
    }

    /// A slot for a flight that begins.
    pub(super) fn take(&mut self) -> Option<u16> {
        (self.unclaimed() > 0).then(|| self.free.pop())?
    }

    /// The slot that is kept for the answer of a flight whose own was given up.
    pub(super) fn redeem(&mut self, old: SlotRef) -> Option<u16> {
        if self.owed.remove(&(old.file, old.slot)) {
            return self.free.pop();
        }
        self.take()
    }

    /// What stands in an older file goes with that file.
    pub(super) fn give_back(&mut self, slot: SlotRef) {
        for place in slot.places() {
            let (file, number) = place;
            if file == self.file && number < self.count && !self.free.contains(&number) {
                self.free.push(number);
            }
            self.owed.remove(&place);
        }
    }
}
