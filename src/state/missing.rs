//! A database that is missing where others of its kind are left is not a first start:
//! whoever began anew there would give up every refresh token that it held.

use super::db::{self, DbError};
use super::disk;
use super::rescue;
use crate::config::KeySource;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Refuses a state whose database is missing or empty, and was there before. Nothing
/// is touched.
pub(super) fn check(dir: &Path, key: &KeySource) -> Result<(), DbError> {
    if db::exists(dir) {
        return Ok(());
    }
    let found = left_behind(dir, key);
    if found.is_empty() {
        return Ok(());
    }
    let path = dir.join(db::FILE);
    let empty = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    Err(DbError::Gone { path, empty, found })
}

/// What only a database that was there can have left.
fn left_behind(dir: &Path, key: &KeySource) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let holds = entry.metadata().is_ok_and(|found| found.len() > 0);
        // Not the database's own -journal: a loss of power in the first start leaves one
        // beside an empty database, and nothing has been kept by then.
        let of_store = ["stamp", "refreshd.db-wal", rescue::FILE].contains(&&*name)
            || (name.starts_with("journal-") && !name.ends_with(".tmp"));
        // A link that leads nowhere: what it led to is not there now.
        let leads_nowhere = name == db::FILE && entry.path().is_symlink();
        if (of_store && holds) || leads_nowhere {
            found.push(entry.path());
        }
    }
    found.sort();
    if let KeySource::File(key) = key
        && used_by(key).iter().any(|used| used == dir)
    {
        found.push(note_of(key));
    }
    found
}

/// Writes down beside the key that a store in this directory is sealed with it. Where
/// that cannot be written (a key that is mounted read-only), it cannot.
pub(super) fn note_use(dir: &Path, key: &KeySource) {
    use std::os::unix::ffi::OsStrExt;
    let KeySource::File(key) = key else { return };
    let mut used = used_by(key);
    if used.iter().any(|used| used == dir) {
        return;
    }
    used.push(dir.to_owned());
    let lines: Vec<&[u8]> = used.iter().map(|dir| dir.as_os_str().as_bytes()).collect();
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    if let Err(error) = write(&note_of(key), &text) {
        tracing::debug!(%error, "the use of the sealing key cannot be noted beside it");
    }
}

fn write(note: &Path, text: &[u8]) -> io::Result<()> {
    disk::replace(note, text)?;
    disk::sync_dir(disk::parent(note))
}

/// The state directories whose stores the key has sealed.
fn used_by(key: &Path) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let text = crate::trust::read_regular(&note_of(key), 1024 * 1024).unwrap_or_default();
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| PathBuf::from(OsString::from_vec(line.to_vec())))
        .collect()
}

/// `KEY.used-by`
fn note_of(key: &Path) -> PathBuf {
    let mut name = key.file_name().unwrap_or_default().to_owned();
    name.push(".used-by");
    key.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_leaves_is_no_first_start() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state");
        let key = KeySource::File(root.path().join("key"));
        check(&dir, &key).unwrap();
        fs::create_dir(&dir).unwrap();
        // What a first start leaves that was cut short.
        for (name, text) in [
            ("lock", "7\n"),
            ("refreshd.db", ""),
            ("refreshd.db-wal", ""),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
        fs::write(root.path().join("key"), "00").unwrap();
        check(&dir, &key).unwrap();
        for name in ["stamp", "refreshd.db-wal", "journal-0001"] {
            let path = dir.join(name);
            fs::write(&path, "x").unwrap();
            let told = check(&dir, &key).unwrap_err().to_string();
            assert!(told.contains(name) && told.contains("is empty"), "{told}");
            fs::remove_file(&path).unwrap();
        }
        note_use(&root.path().join("other"), &key);
        check(&dir, &key).unwrap();
        note_use(&dir, &key);
        note_use(&dir, &key);
        fs::remove_dir_all(&dir).unwrap();
        let told = check(&dir, &key).unwrap_err().to_string();
        assert!(
            told.contains("key.used-by") && told.contains("is missing"),
            "{told}"
        );
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(db::FILE), "something").unwrap();
        check(&dir, &key).unwrap();
        let KeySource::File(key) = &key else {
            unreachable!()
        };
        assert_eq!(used_by(key), [root.path().join("other"), dir]);
    }
}
