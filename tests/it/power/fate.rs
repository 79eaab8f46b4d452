//! What a loss of power takes.

use super::change::Kept;
use super::disk::Id;
use std::collections::HashMap;

/// What a loss of power leaves of the changes that are not durable.
pub(super) trait Fate {
    /// Which of the pieces of this many bytes, or of a single change of names, stay.
    /// Asked for each change in order, by the file or directory.
    fn keeps(&mut self, of: Id, bytes: usize) -> Kept;
}

/// Everything that was written is there.
pub(super) struct AsWritten;

impl Fate for AsWritten {
    fn keeps(&mut self, _of: Id, _bytes: usize) -> Kept {
        Kept::All
    }
}

/// Nothing is there but what was synced.
pub(super) struct AsSynced;

impl Fate for AsSynced {
    fn keeps(&mut self, _of: Id, _bytes: usize) -> Kept {
        Kept::Nothing
    }
}

/// What a file or directory loses.
#[derive(Clone, Copy)]
enum Policy {
    Nothing,
    All,
    /// What was written after some moment.
    Later(usize),
    /// Some changes, in any order: so many of four.
    Some(usize),
    /// Pieces of so many bytes.
    Pieces(usize, usize),
}

/// Each file and directory loses something else.
pub(super) struct Drawn {
    chance: Chance,
    policies: HashMap<Id, Policy>,
}

impl Drawn {
    /// The same for the same number.
    pub(super) fn new(number: u64) -> Self {
        Drawn {
            chance: Chance(number),
            policies: HashMap::new(),
        }
    }
}

impl Fate for Drawn {
    fn keeps(&mut self, of: Id, bytes: usize) -> Kept {
        let chance = &mut self.chance;
        let policy = self
            .policies
            .entry(of)
            .or_insert_with(|| Policy::drawn(chance));
        let keep = |yes| if yes { Kept::All } else { Kept::Nothing };
        match policy {
            Policy::Nothing => Kept::All,
            Policy::All => Kept::Nothing,
            Policy::Later(left) => {
                *left = left.saturating_sub(1);
                keep(*left > 0)
            }
            Policy::Some(of_four) => keep(chance.below(4) >= *of_four),
            Policy::Pieces(size, of_four) => {
                let pieces = 0..bytes / *size + 2;
                let which = pieces.map(|_| chance.below(4) >= *of_four).collect();
                Kept::Pieces(*size, which)
            }
        }
    }
}

impl Policy {
    fn drawn(chance: &mut Chance) -> Policy {
        let of_four = 1 + chance.below(3);
        match chance.below(8) {
            0 => Policy::Nothing,
            1 => Policy::All,
            2 | 3 => Policy::Later(chance.below(12)),
            4 | 5 => Policy::Some(of_four),
            6 => Policy::Pieces(512, of_four),
            _ => Policy::Pieces(4096, of_four),
        }
    }
}

/// Splitmix: a number for each of a seed, well apart for seeds that are near.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 16) as usize % limit
    }
}
