//! What the queue knows of a grant, in 16 bytes.

use crate::time::WallTime;

/// Where a grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not in the queue.
    Absent,
    /// In no heap.
    Idle,
    /// Waits for its due time.
    Armed,
    /// Ready, its access token lives.
    Living,
    /// Ready, its access token is over.
    Expired,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    pub(super) expires_at: i64,
    /// Rises whenever the grant changes its place; entries of another version are stale.
    pub(super) version: u32,
    /// The place in the low three bits, the lane above them.
    packed: u32,
}

const BITS: u32 = 3;

impl Slot {
    pub(super) fn occupy(&mut self, lane: u32, expires_at: WallTime) {
        assert!(lane < 1 << (u32::BITS - BITS), "lanes are numbered closely");
        self.expires_at = expires_at.0;
        self.packed = lane << BITS | Place::Idle as u32;
    }

    pub(super) fn vacate(&mut self) {
        self.enter(Place::Absent);
    }

    pub(super) fn leave(&mut self) {
        self.enter(Place::Idle);
    }

    /// Changes the place; returns the version that its entry bears.
    pub(super) fn enter(&mut self, place: Place) -> u32 {
        self.packed = self.packed >> BITS << BITS | place as u32;
        self.version = self.version.wrapping_add(1);
        self.version
    }

    pub(super) fn lane(self) -> u32 {
        self.packed >> BITS
    }

    pub(super) fn place(self) -> Place {
        const PLACES: [Place; 5] = [
            Place::Absent,
            Place::Idle,
            Place::Armed,
            Place::Living,
            Place::Expired,
        ];
        PLACES[(self.packed & ((1 << BITS) - 1)) as usize]
    }
}
