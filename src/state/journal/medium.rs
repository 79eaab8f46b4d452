//! What the journal's files lie on: a directory; or, in the simulation, a disk
//! that loses, tears and refuses writes. The journal asks for nothing else of a
//! file system, and relies on what is said here alone.

use crate::state::disk;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A directory of files. A name that was given, changed or taken away is
/// durable once [`Medium::sync_names`] has returned, and not before.
pub trait Medium {
    /// An open file.
    type File: MediumFile;

    /// The names in it.
    ///
    /// # Errors
    /// What the system says, here and below.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes a file, empty, instead of one of that name.
    ///
    /// # Errors
    /// As above.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file to be read and written.
    ///
    /// # Errors
    /// As above.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name; what had that name is gone.
    ///
    /// # Errors
    /// As above.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As above.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    ///
    /// # Errors
    /// As above.
    fn sync_names(&self) -> io::Result<()>;
    /// How a person finds a file.
    fn path(&self, name: &str) -> PathBuf;
}

/// A file of blocks. A crash may drop what was written since the last sync, in
/// any order, and tear a block; after a failed sync nothing written before it
/// is to be relied upon, whatever a later sync says.
pub trait MediumFile {
    /// Its length.
    ///
    /// # Errors
    /// What the system says, here and below.
    fn size(&self) -> io::Result<u64>;
    /// Fills the buffer from a place.
    ///
    /// # Errors
    /// As above; also where the file ends before the buffer does.
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes all bytes at a place.
    ///
    /// # Errors
    /// As above; some of it may have been written.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes what was written, and the length, durable: fdatasync.
    ///
    /// # Errors
    /// As above.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Clone, Debug)]
pub struct Directory {
    dir: PathBuf,
    /// Its files are only read.
    looked_at: bool,
    #[cfg(test)]
    faults: Faults,
}

/// How many syncs, or beginnings of a file, are yet to fail.
#[cfg(test)]
type Faults = std::sync::Arc<std::sync::atomic::AtomicU32>;

/// A file in it.
#[derive(Debug)]
pub struct DirectoryFile {
    file: File,
    #[cfg(test)]
    faults: Faults,
}

impl Directory {
    /// The directory at that path, which is there.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Directory {
            dir: dir.to_owned(),
            looked_at: false,
            #[cfg(test)]
            faults: Faults::default(),
        }
    }

    /// The directory at that path, of which nothing is changed: it may lie on a disk that
    /// takes no writes, or be somebody's who may only read.
    #[must_use]
    pub fn to_look_at(dir: &Path) -> Self {
        Directory {
            looked_at: true,
            ..Directory::new(dir)
        }
    }

    fn open_with(&self, name: &str, options: &mut OpenOptions) -> io::Result<DirectoryFile> {
        let options = options.read(true).write(!self.looked_at);
        Ok(DirectoryFile {
            file: options.open(self.path(name))?,
            #[cfg(test)]
            faults: Faults::clone(&self.faults),
        })
    }

    #[cfg(test)]
    pub(super) fn fail_syncs(&self, times: u32) {
        self.faults
            .store(times, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Medium for Directory {
    type File = DirectoryFile;

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<DirectoryFile> {
        #[cfg(test)]
        take_fault(&self.faults)?;
        let mut options = OpenOptions::new();
        self.open_with(name, options.create(true).truncate(true).mode(0o600))
    }

    fn open(&self, name: &str) -> io::Result<DirectoryFile> {
        self.open_with(name, &mut OpenOptions::new())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        disk::sync_dir(&self.dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl MediumFile for DirectoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        take_fault(&self.faults)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
fn take_fault(faults: &Faults) -> io::Result<()> {
    use std::sync::atomic::Ordering::SeqCst;
    faults
        .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
        .map_or(Ok(()), |_| Err(io::Error::other("injected")))
}
