//! Room put by for what is under way: on a disk that fills up, every exchange that has
//! begun can be settled, and nothing else begins.
//!
//! Blocks of the log are allocated beyond its end, and of the database beyond its own,
//! since a checkpoint may have to grow it. No file is larger by that, and none is there for
//! the room alone.

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a page takes in the log, and the log's header.
const FRAME: u64 = 4096 + 24;
const HEADER: u64 = 32;
/// What the settlement of an exchange takes at the most: an answer that is kept whole, with
/// its intent, and a few pages beside it.
const EACH: u64 = 320 * 1024;
/// What there is beside: for ends, and what else is written while exchanges are under way.
const BASE: u64 = 2 * 1024 * 1024;
/// A disk with less than this left is full: what is put by is for what is under way.
const SPARE: u64 = 1024 * 1024;
/// More is put by at a time than is needed, so that it is not asked for with each.
const AHEAD: u64 = 1024 * 1024;

/// A log that is longer is cut when it has been moved into the database.
const LONG: u64 = 64 * 1024 * 1024;

/// See the module.
pub(super) struct Room {
    dir: PathBuf,
    /// Never closed before the connection is: that would take SQLite's locks away.
    database: Option<File>,
    log: PathBuf,
    /// Pages in the log, as of the last commit.
    pages: Arc<AtomicU32>,
    /// To where the log's blocks are allocated.
    log_to: u64,
    /// So many bytes beyond its end are put by for the database; a checkpoint gives them up.
    database_by: u64,
    /// A file system that allocates nothing beforehand promises nothing.
    can: bool,
}

impl Room {
    /// Of a copy in memory, which needs no room on a disk.
    pub(super) fn none() -> Room {
        Room {
            dir: PathBuf::new(),
            database: None,
            log: PathBuf::new(),
            pages: Arc::default(),
            log_to: 0,
            database_by: 0,
            can: false,
        }
    }

    /// For the database at a path; `pages`: what its connection says of its log.
    pub(super) fn of(path: &Path, pages: Arc<AtomicU32>) -> Room {
        let database = OpenOptions::new().write(true).open(path);
        Room {
            dir: super::disk::parent(path).to_owned(),
            database: database.ok(),
            log: path.with_extension("db-wal"),
            pages,
            log_to: 0,
            database_by: 0,
            can: true,
        }
    }

    /// Puts room by for so many exchanges under way.
    ///
    /// # Errors
    /// When the disk has none. What was put by before still is.
    pub(super) fn put_by(&mut self, exchanges: u64) -> Result<(), Errno> {
        if !self.can {
            return Ok(());
        }
        let room = rustix::fs::statvfs(&self.dir)?;
        if room.f_bavail.saturating_mul(room.f_frsize) < SPARE {
            return Err(Errno::NOSPC);
        }
        let needed = BASE + exchanges.saturating_mul(EACH);
        let end = HEADER + u64::from(self.pages.load(Ordering::Relaxed)) * FRAME;
        if end + needed > self.log_to {
            let Ok(log) = OpenOptions::new().write(true).open(&self.log) else {
                // It is made with the first commit.
                return Ok(());
            };
            let to = end + needed + AHEAD;
            self.allocate(&log, end, to)?;
            self.log_to = to;
        }
        if needed > self.database_by
            && let Some(database) = &self.database
        {
            let size = database.metadata().map_or(0, |found| found.len());
            self.allocate(database, size, size + needed + AHEAD)?;
            self.database_by = needed + AHEAD;
        }
        Ok(())
    }

    /// Whether the log has become longer than it is to stay.
    pub(super) fn is_long(&self) -> bool {
        u64::from(self.pages.load(Ordering::Relaxed)) * FRAME > LONG
    }

    fn allocate(&self, file: &File, from: u64, to: u64) -> Result<(), Errno> {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, to - from) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            done => done,
        }
    }

    /// The log was moved into the database, whole or not.
    pub(super) fn checkpointed(&mut self, whole: bool) {
        // The database was cut to its size, and so may the log have been.
        self.database_by = 0;
        if whole {
            self.pages.store(0, Ordering::Relaxed);
            self.log_to = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn room_is_put_by_without_growing_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = (dir.path().join("a.db"), dir.path().join("a.db-wal"));
        fs::write(&path, [1; 4096]).unwrap();
        fs::write(&log, [1; 32]).unwrap();
        let pages = Arc::new(AtomicU32::new(0));
        let mut room = Room::of(&path, pages.clone());
        room.put_by(2).unwrap();
        let held = |path: &Path| {
            let found = fs::metadata(path).unwrap();
            (found.len(), found.blocks() * 512)
        };
        for (path, size) in [(&path, 4096), (&log, 32)] {
            let (length, blocks) = held(path);
            assert_eq!(length, size);
            assert!(blocks >= BASE + 2 * EACH, "{blocks}");
        }
        let before = held(&log).1;
        room.put_by(2).unwrap();
        assert_eq!(held(&log).1, before, "it is there");
        pages.store(1000, Ordering::Relaxed);
        room.put_by(2).unwrap();
        assert!(held(&log).1 >= before + BASE);
    }
}
