//! A file that is made in `.tmp/` by somebody who needs a path, and then put in its
//! place. Nobody but us can write there, and nobody can read it before.

use super::access::denied;
use super::directory::temp_directory;
use super::error::failed;
use super::temp::Temp;
use super::{Access, FileError, Place};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// See the module. It is gone again unless it was put in its place.
pub struct Draft<'a> {
    place: &'a Place,
    access: Access,
    name: OsString,
    dir: OwnedFd,
    temp: String,
}

impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Draft")
    }
}

impl Place {
    /// Begins a file of this name with some content.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn draft(
        &self,
        name: &OsStr,
        access: &Access,
        content: &[u8],
    ) -> Result<Draft<'_>, FileError> {
        let path = self.path.join(name);
        let dir = temp_directory(self).map_err(denied)?;
        let (temp, mut file) = Temp::create(&dir, &path).map_err(denied)?;
        file.write_all(content).map_err(failed("write", &path))?;
        let made = temp.name.clone();
        temp.keep();
        Ok(Draft {
            place: self,
            access: *access,
            name: name.to_owned(),
            dir,
            temp: made,
        })
    }

    /// All of a file, however long; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read_any(&self, name: &OsStr) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed("read", &path)(errno)),
        };
        let size = rustix::fs::fstat(&file)
            .map_err(failed("look at", &path))?
            .st_size;
        let room = usize::try_from(size).unwrap_or(0) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        let read = File::from(file).read_to_end(&mut bytes);
        read.map_err(failed("read", &path))?;
        Ok(Some(bytes))
    }
}

impl Draft<'_> {
    /// Where it is, for whoever writes it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let (_, dir) = self.place.parts();
        dir.join(".tmp").join(&self.temp)
    }

    /// Makes it durable and puts it in its place, with the rights that it is to have.
    ///
    /// # Errors
    /// When any step fails; what stands in its place is then as it was.
    pub fn put(self) -> Result<(), FileError> {
        let path = self.place.path.join(&self.name);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, &self.temp, flags, Mode::empty());
        let file = File::from(file.map_err(failed("open", &path))?);
        self.place.give(&file, &self.access, &path)?;
        file.sync_all().map_err(failed("write", &path))?;
        drop(file);
        let to = &self.place.dir;
        rustix::fs::renameat(&self.dir, &self.temp, to, &self.name)
            .map_err(failed("replace", &path))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After a rename there is none of this name any more.
        let flags = rustix::fs::AtFlags::empty();
        let _ = rustix::fs::unlinkat(&self.dir, &self.temp, flags);
    }
}
