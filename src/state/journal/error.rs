//! What can go wrong with the journal.

use super::SlotRef;
use super::files;
use super::medium::Medium;
use crate::state::StoreError;
use std::io;
use std::path::PathBuf;

/// A record that is not durable, or a journal that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// As many flights are under way as the journal has slots.
    #[error("all slots of the journal are in use; daemon.max_flights sets how many there are")]
    NoSlot,
    /// More than a region holds.
    #[error("the record of {0} bytes does not fit into a slot of the journal")]
    TooLarge(usize),
    /// The disk did not take it.
    #[error("{path} cannot be relied upon: {text}; nothing that was being recorded counts")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        text: String,
        /// Where the record may stand all the same, and come back after a crash.
        place: Option<SlotRef>,
    },
    /// A file of another layout.
    #[error(
        "{0} is not a journal that this refreshd knows; run the version that made it, or move it away if there is nothing in it to be kept"
    )]
    Foreign(PathBuf),
    /// A whole record that does not open: it may hold the only copy of an answer.
    #[error(
        "slot {slot} of {path} holds a flight that does not open with this sealing key; put the right key back, or move the file away if there is nothing in it to be kept"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The slot.
        slot: u16,
    },
    /// The store did not take the intent.
    #[error(transparent)]
    Store(StoreError),
    /// The journal's thread is gone.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    pub(super) fn io(medium: &impl Medium, number: u32, error: &io::Error) -> Self {
        JournalError::Io {
            path: medium.path(&files::name(number)),
            text: error.to_string(),
            place: None,
        }
    }

    /// The same of a record that was to stand there.
    pub(super) fn at(&self, slot: SlotRef) -> Self {
        let mut error = self.clone();
        if let JournalError::Io { place, .. } = &mut error {
            *place = Some(slot);
        }
        error
    }

    /// Where the record may stand, though it does not count as durable: whatever
    /// its flight comes to must be known to the store by this place too.
    #[must_use]
    pub fn place(&self) -> Option<SlotRef> {
        match self {
            JournalError::Io { place, .. } => *place,
            _ => None,
        }
    }
}
