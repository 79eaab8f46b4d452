//! One file in one directory, replaced whole: a temporary file in `.tmp/`
//! beside the target, mode and group before content, fsync, rename, fsync of
//! the directory. A watcher of the directory sees one event, and a reader that
//! globs never loads half a file.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

mod access;
mod directory;
mod draft;
mod entry;
mod error;
mod stand;
mod temp;
#[cfg(test)]
mod tests;

pub use access::Access;
pub use draft::Draft;
pub use entry::DirectoryRights;
pub use error::FileError;
pub use stand::{DirectoryStand, Stand};

pub(super) use access::{denied, group_remedy};
use directory::{make_parents, temp_directory};
pub(super) use error::failed;
use temp::{PREFIX, Temp, run_prefix};

/// The most that is read of a file to compare it; a larger one is not ours.
const LARGEST: u64 = 4 * 1024 * 1024;

/// An open directory in which files are replaced. All work goes through its
/// descriptor, so a path that changes meanwhile cannot split one write in two.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
    path: PathBuf,
    setgid: bool,
    group: u32,
    mode: u32,
}

/// A file as it was found. No `Debug`: it may hold a token.
pub struct Existing {
    /// Its content, wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// What it was when it was read.
    pub stand: Stand,
}

/// The directory that a file is in, and the file's name there.
///
/// # Errors
/// When the path does not end in a name.
pub fn split(path: &Path) -> Result<(&Path, &OsStr), FileError> {
    let name = path
        .file_name()
        .ok_or_else(|| FileError::NoName(path.to_owned()))?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    Ok((dir, name))
}

impl Place {
    /// Opens the directory; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Option<Place>, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(dir) => Place::of(dir, path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(denied(failed("open directory", path)(errno))),
        }
    }

    /// Opens the directory and makes what is missing of it, so that those can go in
    /// for whom the file is.
    ///
    /// # Errors
    /// When it can be neither opened nor made.
    pub fn open_or_make(path: &Path, access: &Access) -> Result<Place, FileError> {
        match Place::open(path)? {
            Some(place) => Ok(place),
            None => make_parents(path, access, true).map_err(denied),
        }
    }

    fn of(dir: OwnedFd, path: &Path) -> Result<Place, FileError> {
        let stat = rustix::fs::fstat(&dir).map_err(failed("look at", path))?;
        Ok(Place {
            setgid: Mode::from_raw_mode(stat.st_mode).contains(Mode::SGID),
            group: stat.st_gid,
            mode: Mode::from_raw_mode(stat.st_mode).as_raw_mode(),
            path: path.to_owned(),
            dir,
        })
    }

    /// The group of a directory that hands it on.
    #[must_use]
    pub(super) fn setgid_group(&self) -> Option<u32> {
        self.setgid.then_some(self.group)
    }

    /// The directory's descriptor and path.
    pub(super) fn parts(&self) -> (&OwnedFd, &Path) {
        (&self.dir, &self.path)
    }

    /// Reads a file; `None` when there is none, or none that could be ours
    /// (a symbolic link, a pipe, a file too large).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, name: &OsStr) -> Result<Option<Existing>, FileError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            // A link, a socket, a device without its driver: none of it is ours.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(None),
            Err(errno) => return Err(failed("open", &path)(errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(failed("look at", &path))?;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size > LARGEST {
            return Ok(None);
        }
        // One byte of room more than is read, so that the vector does not grow and leave a copy.
        let room = usize::try_from(size).unwrap_or(0) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        File::from(fd)
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(failed("read", &path))?;
        let stand = Stand::of(&stat);
        Ok(Some(Existing { bytes, stand }))
    }

    /// Refuses what a rename cannot or should not replace. A symbolic link is
    /// replaced, as rename(2) does.
    ///
    /// # Errors
    /// When the target is a directory, a device or a mount point.
    pub fn check_target(&self, name: &OsStr) -> Result<(), FileError> {
        let path = self.path.join(name);
        let (flags, mask) = (AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
        let stat = match rustix::fs::statx(&self.dir, name, flags, mask) {
            Ok(stat) => stat,
            // Without statx(2), the rename itself finds out.
            Err(Errno::NOENT | Errno::NOSYS | Errno::PERM) => return Ok(()),
            Err(errno) => return Err(failed("look at", &path)(errno)),
        };
        match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
            FileType::Directory => return Err(FileError::IsDirectory(path)),
            FileType::BlockDevice | FileType::CharacterDevice => {
                return Err(FileError::IsDevice(path));
            }
            _ => {}
        }
        if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Err(FileError::IsMountPoint(path));
        }
        Ok(())
    }

    /// Replaces a file: readers find the old content or the new, whole. After a
    /// power loss they do once [`Place::sync`] has returned, which several
    /// replacements may share.
    ///
    /// # Errors
    /// When any step fails; the file is then as it was.
    pub fn replace(
        &self,
        name: &OsStr,
        content: &[u8],
        access: &Access,
    ) -> Result<Stand, FileError> {
        self.check_target(name)?;
        let path = self.path.join(name);
        let temp_dir = temp_directory(self).map_err(denied)?;
        let (temp, mut file) = Temp::create(&temp_dir, &path).map_err(denied)?;
        self.give(&file, access, &path)?;
        file.write_all(content)
            .and_then(|()| file.sync_all())
            .map_err(failed("write", &path))?;
        let written = rustix::fs::fstat(&file).map_err(failed("look at", &path))?;
        // Closed first: a close after the rename is an event under the target's name.
        drop(file);
        match rustix::fs::renameat(&temp_dir, &temp.name, &self.dir, name) {
            Ok(()) => temp.keep(),
            Err(Errno::ISDIR) => return Err(FileError::IsDirectory(path)),
            Err(Errno::BUSY) => return Err(FileError::IsMountPoint(path)),
            Err(errno) => return Err(denied(failed("replace", &path)(errno))),
        }
        // The rename moves the time of the last change; the rest stays as it was written.
        let now = self.stand(name)?.unwrap_or_default();
        let written = Stand::of(&written);
        Ok(if now.is_content_of(&written) {
            now
        } else {
            written
        })
    }

    /// Removes a file; it is no error when there is none. A directory is left alone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &OsStr) -> Result<(), FileError> {
        let path = self.path.join(name);
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) => self.sync(),
            Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => Err(FileError::IsDirectory(path)),
            Err(Errno::BUSY) => Err(FileError::IsMountPoint(path)),
            // A read-only file system says so also of what is not there.
            Err(_) if self.stand(name)?.is_none() => Ok(()),
            Err(errno) => Err(denied(failed("remove", &path)(errno))),
        }
    }

    /// Makes durable which files have been replaced.
    ///
    /// # Errors
    /// When the directory cannot be synced.
    pub fn sync(&self) -> Result<(), FileError> {
        match rustix::fs::fsync(&self.dir) {
            // Some file systems have nothing to say about directories.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(failed("fsync directory", &self.path)(errno)),
        }
    }

    /// Removes what a crash left in `.tmp/`: files of ours, of an earlier run.
    /// (If a second daemon shares the directory, one of its writes may have to
    /// be tried again.) Best effort: a leftover hurts nobody who cannot read it.
    pub fn sweep(&self) {
        let Ok(Some(temp)) = directory::open_temp(self) else {
            return;
        };
        let Ok(entries) = rustix::fs::Dir::read_from(&temp) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_bytes();
            if name.starts_with(PREFIX.as_bytes()) && !name.starts_with(run_prefix().as_bytes()) {
                let _ = rustix::fs::unlinkat(&temp, entry.file_name(), AtFlags::empty());
            }
        }
    }
}

/// `NAME.SUFFIX` for `NAME`: the suffix is added, not replaced.
#[must_use]
pub fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}
