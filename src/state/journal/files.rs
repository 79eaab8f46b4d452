//! The journal's files: `journal-0001` and its successors.

use super::region::{self, BLOCK, FILE_MAGIC};
use crate::state::disk;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("journal-{number:04}"))
}

/// The numbers of the files that are there, rising. What a crash left half
/// made is removed.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u32>> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if name.starts_with("journal-") && name.ends_with(".tmp") {
            fs::remove_file(entry.path())?;
        }
    }
    numbers(dir)
}

/// The numbers of the files that are there, rising.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix("journal-"));
        numbers.extend(number.and_then(|n| n.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a file whose every block is allocated and written, so that a later
/// write in place needs no space and changes no metadata. It gets its name
/// when it is complete.
pub(super) fn create(dir: &Path, number: u32, slots: u16) -> io::Result<File> {
    let path = path(dir, number);
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(FILE_MAGIC)?;
    let zeros = vec![0; region::SLOT];
    file.write_all(&zeros[..BLOCK - FILE_MAGIC.len()])?;
    for _ in 0..slots {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    disk::sync_dir(dir)?;
    Ok(file)
}

/// Opens a file of this layout; `None` when it is of another.
pub(super) fn open(dir: &Path, number: u32) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path(dir, number))?;
    let mut magic = [0; 8];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) => Ok((&magic == FILE_MAGIC).then_some(file)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
