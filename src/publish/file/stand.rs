//! A file as the system sees it, so that a glance tells whether it is still the
//! one that was written.

use super::{FileError, Place, failed};
use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;

/// What `stat` says of a file. Two that are equal are the same file, unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, i64),
    modified: (i64, i64),
    /// All of the mode, the kind of file too.
    mode: u32,
    /// Its owner.
    pub owner: u32,
    /// Its group.
    pub group: u32,
}

/// What `stat` says of a directory, as far as it matters for who may go in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryStand {
    device: u64,
    inode: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: u32,
    /// Its group.
    pub group: u32,
}

impl Stand {
    pub(in crate::publish) fn of(stat: &Stat) -> Stand {
        Stand {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            mode: stat.st_mode,
            owner: stat.st_uid,
            group: stat.st_gid,
        }
    }

    /// A file by its path, the link itself where it is one; `None` when there is none.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn at(path: &Path) -> Result<Option<Stand>, FileError> {
        match rustix::fs::lstat(path) {
            Ok(stat) => Ok(Some(Stand::of(&stat))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed("look at", path)(errno)),
        }
    }

    /// Its permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        Mode::from_raw_mode(self.mode).as_raw_mode()
    }

    /// What it is, where it is not a file: for a person.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        match FileType::from_raw_mode(self.mode) {
            FileType::RegularFile => None,
            FileType::Symlink => Some("a symbolic link"),
            FileType::Directory => Some("a directory"),
            FileType::Socket => Some("a socket"),
            FileType::Fifo => Some("a pipe"),
            _ => Some("no file"),
        }
    }

    /// Whether it is an empty file, which nobody loses anything by.
    #[must_use]
    pub fn is_empty_file(&self) -> bool {
        self.kind().is_none() && self.size == 0
    }

    /// Whether it holds what the other did: the same file, not written since.
    pub(super) fn is_content_of(&self, other: &Stand) -> bool {
        let of = |stand: &Stand| (stand.device, stand.inode, stand.size, stand.modified);
        of(self) == of(other)
    }

    /// How a file that stands here now differs from this one, for a person.
    #[must_use]
    pub fn difference(&self, now: &Stand) -> String {
        if let Some(kind) = now.kind() {
            return format!("{kind} stands in its place");
        }
        if self.is_content_of(now) {
            let (was, is) = (self.mode(), now.mode());
            return match was == is {
                true => "its owner or group was changed".to_owned(),
                false => format!("its mode was changed from {was:04o} to {is:04o}"),
            };
        }
        match (self.device, self.inode) == (now.device, now.inode) {
            true => "it was overwritten".to_owned(),
            false => "it was replaced by another file".to_owned(),
        }
    }
}

impl DirectoryStand {
    /// A directory by its path; `None` when there is none.
    #[must_use]
    pub fn at(path: &Path) -> Option<DirectoryStand> {
        rustix::fs::stat(path).ok().as_ref().map(DirectoryStand::of)
    }

    fn of(stat: &Stat) -> DirectoryStand {
        DirectoryStand {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: Mode::from_raw_mode(stat.st_mode).as_raw_mode(),
            owner: stat.st_uid,
            group: stat.st_gid,
        }
    }
}

impl Place {
    /// A file of it as it stands there, a link not followed; `None` when there is none.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn stand(&self, name: &OsStr) -> Result<Option<Stand>, FileError> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stand::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("look at", &self.path.join(name))(errno)),
        }
    }

    /// The directory as it is now.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn directory(&self) -> Result<DirectoryStand, FileError> {
        let stat = rustix::fs::fstat(&self.dir).map_err(failed("look at", &self.path))?;
        Ok(DirectoryStand::of(&stat))
    }
}
