//! What can go wrong with a command of the store's.

use super::seal::SealError;
use rusqlite::ErrorCode;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// A command that the store could not do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk has no room for it, beside what is put by for exchanges under way.
    #[error(
        "there is no room on the disk of {dir} but for what is under way ({text}); make room on this disk"
    )]
    NoRoom {
        /// The state directory.
        dir: PathBuf,
        /// What the system said.
        text: String,
    },
    /// The transaction it was part of did not become durable; nothing was changed.
    #[error("{path} cannot be written: {text}; nothing was changed")]
    NotDurable {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        text: String,
    },
    /// SQLite refused this command alone.
    #[error("the database said: {0}")]
    Sql(String),
    /// The file, its disk or the memory failed SQLite.
    #[error("the database said: {0}")]
    Unwritable(String),
    /// A page that this command touches is damaged, or cannot be read.
    #[error("the database said: {0}")]
    Malformed(String),
    /// What this command touches cannot be read or written, though others can.
    #[error("the database cannot take it, though it takes others: {0}")]
    Alone(String),
    /// Doing it ended in a bug.
    #[error("an internal error: {0}")]
    Panicked(String),
    /// No grant has this id.
    #[error("there is no grant with id {0}")]
    NoSuchGrant(String),
    /// An exchange of the grant has not ended.
    #[error("an exchange of {0} has not ended, and its answer would have no grant")]
    UnderWay(String),
    /// A state whose generation is neither the grant's nor the next one.
    #[error("generations only rise, by one: {grant} is at {have}, and was to become {wanted}")]
    Generation {
        /// The grant's name.
        grant: String,
        /// Its generation.
        have: u64,
        /// The new state's.
        wanted: u64,
    },
    /// A sealed record does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An opened record is not what it should be.
    #[error("a record of {purpose} cannot be read")]
    Record {
        /// The table.
        purpose: String,
    },
    /// There is no such enrolment.
    #[error("there is no such authorization under way; begin it again")]
    NoSuchEnrollment,
    /// There are too many enrolments that wait.
    #[error("{0} authorizations are waiting already, and no more are taken until some have ended")]
    TooMany(u64),
    /// The store's own check found something.
    #[error("the database is damaged: {0}; stop, copy it aside and restore a backup")]
    Damaged(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether this command alone could not be done: others can.
    #[must_use]
    pub fn is_of_one(&self) -> bool {
        use StoreError::{Closed, NoRoom, NotDurable, Unwritable};
        !matches!(
            self,
            NoRoom { .. } | NotDurable { .. } | Unwritable(_) | Closed
        )
    }
}

/// Runs what must not take the store's thread with it, whatever is wrong with it.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// What a panic says.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> StoreError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    StoreError::Panicked(text.unwrap_or_default())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked,
            ) => StoreError::Unwritable(text),
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Malformed(text),
            _ => StoreError::Sql(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_one() {
        let panics = || -> Result<(), StoreError> { panic!("{}", "mistaken") };
        let error = caught(panics).unwrap_err();
        assert!(error.is_of_one());
        assert_eq!(error.to_string(), "an internal error: mistaken");
        assert_eq!(caught(|| Ok(1)).unwrap(), 1);
    }
}
