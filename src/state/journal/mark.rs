//! The number of a session in a file's header, by which a file that was put back to an
//! earlier state is known.

use super::files;
use super::region::FILE_MAGIC;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// It follows the magic.
const AT: u64 = FILE_MAGIC.len() as u64;

/// Writes the session's number into a file; its size.
pub(in crate::state) fn put(dir: &Path, number: u32, session: u64) -> io::Result<u64> {
    let path = dir.join(files::name(number));
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all_at(&session.to_be_bytes(), AT)?;
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

/// What is missing of a file that had that size and was marked in that session.
pub(in crate::state) fn missing(
    dir: &Path,
    number: u32,
    size: u64,
    session: u64,
) -> Option<String> {
    let path = dir.join(files::name(number));
    let name = path.display();
    let found = File::open(&path).and_then(|file| {
        let length = file.metadata()?.len();
        let mut marked = [0; 8];
        if length >= size {
            file.read_exact_at(&mut marked, AT)?;
        }
        Ok((length, u64::from_be_bytes(marked)))
    });
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("{name} is missing")),
        // It will be told when it is opened.
        Err(_) => None,
        Ok((length, _)) if length < size => {
            Some(format!("{name} was cut to {length} of {size} bytes"))
        }
        Ok((_, marked)) if marked < session => {
            Some(format!("{name} was put back to an earlier state"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_is_missing_cut_or_put_back_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let missing = |size, session| missing(dir.path(), 1, size, session).unwrap_or_default();
        assert!(missing(10, 1).contains("is missing"));
        let path = dir.path().join(files::name(1));
        fs::write(&path, [FILE_MAGIC.as_slice(), &[0; 92]].concat()).unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(put(dir.path(), 1, 7).unwrap(), 100);
        assert_eq!(missing(100, 7), "");
        // A crash came between the mark and the note of it.
        assert_eq!(missing(100, 6), "");
        assert!(missing(101, 7).contains("cut to 100 of 101"));
        fs::write(&path, before).unwrap();
        assert!(missing(100, 7).contains("earlier state"));
    }
}
