//! Our own hold on a `-shm`: readers wait while it is made anew, and it has room.
//!
//! The first who opens a WAL database truncates its `-shm`, lets readers in,
//! and only then takes the lock under which the index is rebuilt. A reader who
//! may write takes that lock himself; one who may not gets `SQLITE_READONLY`
//! instead of `SQLITE_BUSY`. So the locks are taken before, all at once: SQLite,
//! in the same process, takes them again and gives each back when it is done.
//!
//! A reader who came while nobody wrote, and keeps a transaction open, holds one
//! of them. Then the gate stays open, and the moment, some microseconds, as it is.
//!
//! SQLite writes to the `-shm` as to memory, and allocates one byte of each 4 KiB
//! for it: where blocks are smaller, as on small disks, the rest is allocated by
//! those writes, and on a full disk they end in SIGBUS. So all of it is allocated
//! here, and a database is not opened where there is no room for that.

use crate::publish::file::{FileError, Place, failed, with_suffix};
use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::time::Duration;

/// A reader who comes and goes holds a lock for moments. One who stays has the
/// `-shm` in use, so that it is not made anew; he is not waited for any longer.
const TRIES: u32 = 300;
const PAUSE: Duration = Duration::from_millis(1);

/// What the index of a `-wal` of 32 MiB takes.
const INDEX: u64 = 64 * 1024;
/// Room without which nothing is opened: the index, and what else an opening takes.
const ROOM: u64 = 4 * INDEX;

/// The locks. It must outlive the connection: closing a descriptor ends all
/// locks that the process has on the file, SQLite's too.
pub(super) struct Gate {
    shm: OwnedFd,
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
                return Some(Gate { shm });
            }
            std::thread::sleep(PAUSE);
        }
        None
    }

    /// Holds a `-shm` that is there by now, without its locks.
    pub(super) fn hold(place: &Place, name: &OsStr) -> Result<Gate, FileError> {
        let (dir, path) = place.parts();
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = with_suffix(name, "-shm");
        let shm = rustix::fs::openat(dir, &name, flags, Mode::empty());
        let shm = shm.map_err(failed("open", &path.join(&name)))?;
        Ok(Gate { shm })
    }

    /// Allocates all of the index.
    pub(super) fn allocate(&self, place: &Place, name: &OsStr) -> Result<(), FileError> {
        let (_, dir) = place.parts();
        match rustix::fs::fallocate(&self.shm, FallocateFlags::empty(), 0, INDEX) {
            // A file system that cannot has blocks of its own ideas, and takes memory when it must.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(failed("make room in", &dir.join(with_suffix(name, "-shm")))(errno)),
        }
    }
}

/// Refuses to open a database where there is no room for its index.
pub(super) fn check_room(place: &Place, name: &OsStr) -> Result<(), FileError> {
    let (dir, path) = place.parts();
    let room = rustix::fs::fstatvfs(dir);
    match room.map(|room| room.f_bavail.saturating_mul(room.f_frsize)) {
        Ok(room) if room < ROOM => Err(failed("open", &path.join(name))(Errno::NOSPC)),
        _ => Ok(()),
    }
}
