//! What can go wrong with a published database, and what to do about it.

use crate::publish::file::FileError;
use std::io;
use std::path::PathBuf;

/// Why a row is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The directory, or what stands in the database's place.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody else's database.
    #[error(
        "{} is a SQLite database, but not one that refreshd publishes; it was left untouched: move it away or choose another path", .0.display()
    )]
    Foreign(PathBuf),
    /// Whose it is cannot be told.
    #[error(
        "{} is no SQLite database; it was left untouched: move it away or choose another path", .0.display()
    )]
    NotADatabase(PathBuf),
    /// A link, a pipe, a socket.
    #[error("{} is not a regular file; remove it or choose another path", .0.display())]
    NotAFile(PathBuf),
    /// A later refreshd has been here.
    #[error(
        "{} was made by a newer refreshd; run the newer one, or remove the file: it is only a copy and is made again", .0.display()
    )]
    Newer(PathBuf),
    /// Its pages do not hold together; it is ours, and only a copy.
    #[error("{} is damaged: {text}", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        text: String,
    },
    /// Readers and writer share memory, which no network carries.
    #[error(
        "{} is on a network file system ({kind}), across which SQLite cannot share a database; choose a local disk", .path.display()
    )]
    Network {
        /// The database.
        path: PathBuf,
        /// The file system.
        kind: &'static str,
    },
    /// Only root, or a member of the group, may give a file to it.
    #[error(
        "cannot give {} to group {group}: {source}; {remedy}", .path.display()
    )]
    Group {
        /// The file.
        path: PathBuf,
        /// The group's name, or number.
        group: String,
        /// What to do.
        remedy: String,
        /// What the system said.
        source: io::Error,
    },
    /// The store is behind what is published.
    #[error(
        "generation {published} is published but the store holds {held}: the state was put back to an earlier one; the row is left alone until `refreshd doctor --accept-restore` (restart refreshd if that says it is not fenced)"
    )]
    Ahead {
        /// The generation in the database.
        published: u64,
        /// The generation in the store.
        held: u64,
    },
    /// An empty token reads as a broken one.
    #[error("the access token is empty; nothing is published in its place")]
    Empty,
    /// The file cannot be made or looked at.
    #[error("cannot open {}: {source}", .path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else SQLite says.
    #[error("cannot write {}: {source}", .path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Its thread is gone.
    #[error("internal error while writing {}", .0.display())]
    Lost(PathBuf),
}

impl DatabaseError {
    /// Another holds a lock, or is said to: the second word for it comes from a read that
    /// found no lock in many tries.
    pub(super) fn is_busy(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, FileLockingProtocolFailed};
        let DatabaseError::Sql { source, .. } = self else {
            return false;
        };
        let code = source.sqlite_error_code();
        matches!(code, Some(DatabaseBusy | FileLockingProtocolFailed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_not_had_has_two_words() {
        let is_busy = |code| {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            let path = "a.db".into();
            DatabaseError::Sql { path, source }.is_busy()
        };
        assert!(is_busy(rusqlite::ffi::SQLITE_BUSY));
        assert!(is_busy(rusqlite::ffi::SQLITE_PROTOCOL));
        assert!(!is_busy(rusqlite::ffi::SQLITE_IOERR));
    }
}
