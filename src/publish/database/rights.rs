//! Who may read a database: the same group and mode for the file, its `-wal`
//! and its `-shm`. Everything goes by name: a descriptor of ours that is closed
//! would end the locks that SQLite holds on the same file.

use super::DatabaseError;
use crate::config::{DATABASE_SUFFIXES, Database};
use crate::publish::file::{FileError, Place, failed, with_suffix};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat};
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
        let (dir, path) = place.parts();
        let path = path.join(name);
        let Some(before) = look(place, name)? else {
            return Ok(());
        };
        let chmod = |mode| {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())
                .map_err(failed("chmod", &path))
        };
        let mode = |stat: &Stat| Mode::from_raw_mode(stat.st_mode).as_raw_mode();
        let moves = self.group.filter(|group| before.st_gid != *group);
        if let Some(group) = moves {
            // The new group is not to have what the old one had.
            chmod(0o600)?;
            let (gid, flags) = (Gid::from_raw(group), AtFlags::SYMLINK_NOFOLLOW);
            rustix::fs::chownat(dir, name, None, Some(gid), flags).map_err(|errno| {
                DatabaseError::Group {
                    path: path.clone(),
                    group,
                    source: errno.into(),
                }
            })?;
        }
        if moves.is_some() || mode(&before) != self.mode {
            chmod(self.mode)?;
        }
        let kept = look(place, name)?.map_or(self.mode, |after| mode(&after));
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
