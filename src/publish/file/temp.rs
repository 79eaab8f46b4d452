//! Temporary files: their names, and that none stays behind.

use super::FileError;
use super::error::failed;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Begins the name of every temporary file of ours.
pub(super) const PREFIX: &str = "refreshd-";

/// Names of this run begin with it, so that a sweep tells them from leftovers.
pub(super) fn run_prefix() -> &'static str {
    static RUN: OnceLock<String> = OnceLock::new();
    RUN.get_or_init(|| {
        let run = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        format!("{PREFIX}{run:016x}-")
    })
}

/// A temporary file that is gone again unless it was renamed.
pub(super) struct Temp<'a> {
    dir: &'a OwnedFd,
    pub(super) name: String,
    renamed: bool,
}

impl<'a> Temp<'a> {
    pub(super) fn create(dir: &'a OwnedFd, target: &Path) -> Result<(Temp<'a>, File), FileError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{number}", run_prefix());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir.as_fd(), &name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed("make a temporary file for", target))?;
        let renamed = false;
        Ok((Temp { dir, name, renamed }, File::from(fd)))
    }

    pub(super) fn keep(mut self) {
        self.renamed = true;
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = rustix::fs::unlinkat(self.dir, &self.name, AtFlags::empty());
        }
    }
}
