//! Who may read a database: the same group and mode for the file, its `-wal`
//! and its `-shm`. A file is held by a descriptor that only names it (`O_PATH`): one
//! that reads would end the locks that SQLite holds on the same file when it is
//! closed, and a name may be swapped for a link where others may write.

use super::DatabaseError;
use crate::config::{DATABASE_SUFFIXES, Database, group_name};
use crate::publish::file::{FileError, Place, failed, group_remedy, with_suffix};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Group and mode as configured, or as the directory has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    group: Option<u32>,
    mode: u32,
}

impl Rights {
    pub(super) fn of(place: &Place, database: &Database) -> Rights {
        let group = database.group.or(place.setgid_group());
        let default = if group.is_some() { 0o640 } else { 0o600 };
        let mode = database.mode.unwrap_or(default) & 0o777;
        Rights { group, mode }
    }

    /// Makes an empty file that is nobody else's yet.
    pub(super) fn make(&self, place: &Place, name: &OsStr) -> Result<(), DatabaseError> {
        let (dir, path) = place.parts();
        place.remove(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed("make", &path.join(name)))?;
        self.settle_one(place, name)
    }

    /// Gives all of the database's files group and mode, where they differ.
    pub(super) fn settle(&self, place: &Place, name: &OsStr) -> Result<(), DatabaseError> {
        self.settle_one(place, name)?;
        for suffix in DATABASE_SUFFIXES {
            self.settle_one(place, &with_suffix(name, suffix))?;
        }
        Ok(())
    }

    fn settle_one(&self, place: &Place, name: &OsStr) -> Result<(), DatabaseError> {
        let (_, dir_path) = place.parts();
        let path = dir_path.join(name);
        let Some((file, before)) = hold(place, name)? else {
            return Ok(());
        };
        let chmod = |mode| change_mode(&file, mode).map_err(failed("chmod", &path));
        let mode = |stat: &Stat| Mode::from_raw_mode(stat.st_mode).as_raw_mode();
        let moves = (self.group).filter(|group| !place.is_of(before.st_gid, *group));
        if let Some(group) = moves {
            // The new group is not to have what the old one had.
            chmod(0o600)?;
            let (gid, flags) = (Gid::from_raw(group), AtFlags::EMPTY_PATH);
            rustix::fs::chownat(&file, "", None, Some(gid), flags).map_err(|errno| {
                DatabaseError::Group {
                    path: path.clone(),
                    group: group_name(group),
                    remedy: group_remedy(group, dir_path),
                    source: errno.into(),
                }
            })?;
        }
        if moves.is_some() || mode(&before) != self.mode {
            chmod(self.mode)?;
        }
        let kept = mode(&rustix::fs::fstat(&file).map_err(failed("look at", &path))?);
        if kept & !self.mode != 0 {
            let wanted = self.mode;
            return Err(FileError::ModeNotKept { path, wanted, kept }.into());
        }
        Ok(())
    }

    /// A remark on a directory that the group cannot enter.
    pub(super) fn shut_out(&self, place: &Place) -> Option<String> {
        let group = self.group.filter(|_| self.mode & 0o040 != 0)?;
        let (dir, path) = place.parts();
        let stat = rustix::fs::fstat(dir).ok()?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let open = mode.contains(Mode::XOTH) || (stat.st_gid == group && mode.contains(Mode::XGRP));
        let path = path.display();
        (!open).then(|| {
            format!("group {group} cannot enter {path} and so not read the database there; chgrp {group} {path} && chmod 2750 {path}")
        })
    }
}

/// A descriptor of a regular file that only names it; `None` when there is none.
fn hold(place: &Place, name: &OsStr) -> Result<Option<(OwnedFd, Stat)>, DatabaseError> {
    let (dir, path) = place.parts();
    let path = path.join(name);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed("look at", &path)(errno).into()),
    };
    let stat = rustix::fs::fstat(&file).map_err(failed("look at", &path))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Some((file, stat))),
        _ => Err(DatabaseError::NotAFile(path)),
    }
}

/// Closes a file to all but its owner; what is no file has no mode that matters.
pub(super) fn close(place: &Place, name: &OsStr) -> Result<(), DatabaseError> {
    match hold(place, name) {
        Ok(Some((file, _))) => {
            let path = place.parts().1.join(name);
            Ok(change_mode(&file, 0o600).map_err(failed("chmod", &path))?)
        }
        Ok(None) | Err(DatabaseError::NotAFile(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A descriptor that only names a file takes no fchmod(2); its entry in `/proc` does.
fn change_mode(file: &OwnedFd, mode: u32) -> rustix::io::Result<()> {
    let entry = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::chmodat(CWD, entry, Mode::from_raw_mode(mode), AtFlags::empty())
}

/// A file as it is; `None` when there is none.
pub(super) fn look(place: &Place, name: &OsStr) -> Result<Option<Stat>, DatabaseError> {
    let (dir, path) = place.parts();
    let path: PathBuf = path.join(name);
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            Ok(Some(stat))
        }
        Ok(_) => Err(DatabaseError::NotAFile(path)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed("look at", &path)(errno).into()),
    }
}
