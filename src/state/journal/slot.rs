//! Slots, and the flights in them.

use refreshd_core::flight::{Answer, FlightId, Intent};
use std::collections::BTreeMap;

/// A slot that a flight occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotRef {
    file: u32,
    slot: u16,
    /// Where its intent stands, when that file was given up in between.
    first: Option<(u32, u16)>,
}

impl SlotRef {
    pub(super) fn new(file: u32, slot: u16) -> Self {
        SlotRef {
            file,
            slot,
            first: None,
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

/// Which slots of the current file are free.
pub(super) struct Slots {
    pub(super) file: u32,
    pub(super) free: Vec<u16>,
    /// Which flight was last in each, as far as this process knows.
    last: BTreeMap<u16, FlightId>,
}

impl Slots {
    pub(super) fn all_of(file: u32, count: u16) -> Self {
        Slots {
            file,
            free: (0..count).rev().collect(),
            last: BTreeMap::new(),
        }
    }

    /// A free slot for a flight, but none that it has been in: the store knows
    /// that one as settled, and a late answer there would be passed over.
    pub(super) fn take(&mut self, flight: FlightId) -> Option<u16> {
        let fresh = |slot: &u16| self.last.get(slot) != Some(&flight);
        let slot = self.free.remove(self.free.iter().rposition(fresh)?);
        self.last.insert(slot, flight);
        Some(slot)
    }

    /// What stands in an older file goes with that file.
    pub(super) fn give_back(&mut self, slot: SlotRef) {
        for (file, number) in slot.places() {
            if file == self.file && !self.free.contains(&number) {
                self.free.push(number);
            }
        }
    }
}
