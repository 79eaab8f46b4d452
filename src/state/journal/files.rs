//! The journal's files: `journal-0001` and its successors.

use super::medium::{Medium, MediumFile};
use super::region::{self, BLOCK, FILE_MAGIC};
use refreshd_core::mischief::{self, Mischief};
use std::io;
use std::path::Path;

pub(super) fn name(number: u32) -> String {
    format!("journal-{number:04}")
}

/// The numbers of the files that are there, rising. What a crash left half
/// made is removed.
pub(super) fn list(medium: &impl Medium) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for name in medium.names()? {
        let Some(number) = name.strip_prefix("journal-") else {
            continue;
        };
        if number.ends_with(".tmp") {
            medium.remove(&name)?;
        } else if let Ok(number) = number.parse() {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The numbers of the files that are there, rising; nothing is removed.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
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
pub(super) fn create<M: Medium>(medium: &M, number: u32, slots: u16) -> io::Result<M::File> {
    let name = name(number);
    let temporary = format!("{name}.tmp");
    let file = medium.create(&temporary)?;
    let mut zeros = vec![0; region::SLOT];
    for slot in 0..slots {
        file.write_all_at(&zeros, region::offset(slot))?;
    }
    zeros.truncate(BLOCK);
    zeros[..FILE_MAGIC.len()].copy_from_slice(FILE_MAGIC);
    file.write_all_at(&zeros, 0)?;
    if !mischief::is(Mischief::FileNamedBeforeSync) {
        file.sync()?;
    }
    medium.rename(&temporary, &name)?;
    medium.sync_names()?;
    Ok(file)
}

/// Opens a file of this layout; `None` when it is of another.
pub(super) fn open<M: Medium>(medium: &M, number: u32) -> io::Result<Option<M::File>> {
    let file = medium.open(&name(number))?;
    let mut magic = [0; 8];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) => Ok((&magic == FILE_MAGIC).then_some(file)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
