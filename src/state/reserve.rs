//! Space put by for the commits of answers that are on their way. When the disk
//! is full it is given up, the commits go through, and nothing new is started
//! until it is whole again.

use super::disk;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Room in the write-ahead log for as many flights as are usual, and a margin.
const BYTES: u64 = 2 * 1024 * 1024;

/// The file whose only content is its size.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    whole: bool,
}

impl Reserve {
    /// Of a copy in memory, which needs no room on the disk.
    pub(super) fn none() -> Reserve {
        Reserve {
            path: PathBuf::new(),
            whole: true,
        }
    }

    /// Puts the space by, if it is there.
    pub(super) fn open(dir: &Path) -> Reserve {
        let path = dir.join("reserve");
        let mut reserve = Reserve { path, whole: false };
        reserve.fill();
        reserve
    }

    /// Whether the space is put by; tried again where it was not.
    pub(super) fn fill(&mut self) -> bool {
        if !self.whole {
            self.whole = self.held() >= BYTES || allocate(&self.path).is_ok();
        }
        if !self.whole {
            // A part of it would serve nobody, and take what little room there is.
            self.release();
        }
        self.whole
    }

    /// Gives the space up; whether there was any.
    pub(super) fn release(&mut self) -> bool {
        self.whole = false;
        self.held() > 0 && File::create(&self.path).is_ok()
    }

    /// The bytes that the file system has set aside.
    fn held(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |held| held.blocks() * 512)
    }
}

fn allocate(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let none = rustix::fs::FallocateFlags::empty();
    rustix::fs::fallocate(&file, none, 0, BYTES)?;
    file.sync_all()?;
    disk::sync_dir(disk::parent(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_given_up_and_held_again() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = || {
            std::fs::metadata(dir.path().join("reserve"))
                .unwrap()
                .blocks()
                * 512
        };
        let mut reserve = Reserve::open(dir.path());
        assert!(reserve.fill() && blocks() >= BYTES);
        assert!(reserve.release());
        assert_eq!(blocks(), 0);
        assert!(!reserve.release(), "there is none left");
        assert!(reserve.fill() && blocks() >= BYTES);
    }
}
