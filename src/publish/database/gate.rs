//! Keeps readers waiting while a `-shm` is made anew.
//!
//! The first who opens a WAL database truncates its `-shm`, lets readers in,
//! and only then takes the lock under which the index is rebuilt. A reader who
//! may write takes that lock himself; one who may not gets `SQLITE_READONLY`
//! instead of `SQLITE_BUSY`. So the locks are taken before, all at once: SQLite,
//! in the same process, takes them again and gives each back when it is done.
//!
//! A reader who came while nobody wrote, and keeps a transaction open, holds one
//! of them. Then the gate stays open, and the moment, some microseconds, as it is.

use crate::publish::file::{Place, with_suffix};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::ffi::OsStr;
use std::time::Duration;

/// A reader who comes and goes holds a lock for moments. One who stays has the
/// `-shm` in use, so that it is not made anew; he is not waited for any longer.
const TRIES: u32 = 300;
const PAUSE: Duration = Duration::from_millis(1);

/// The locks. It must outlive the connection: closing a descriptor ends all
/// locks that the process has on the file, SQLite's too.
pub(super) struct Gate {
    _shm: OwnedFd,
}

impl Gate {
    /// Closes the gate of a database that this process has not open. `None`
    /// where there is no `-shm`, or a reader stays in it.
    pub(super) fn close(place: &Place, name: &OsStr) -> Option<Gate> {
        let (dir, _) = place.parts();
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = with_suffix(name, "-shm");
        let shm = rustix::fs::openat(dir, &name, flags, Mode::empty()).ok()?;
        for _ in 0..TRIES {
            if rustix::fs::fcntl_lock(&shm, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Some(Gate { _shm: shm });
            }
            std::thread::sleep(PAUSE);
        }
        None
    }
}
