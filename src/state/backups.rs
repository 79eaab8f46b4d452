//! The backups that are kept in a directory: how they are called, which go.

use super::copy::{self, CopyError};
use super::disk;
use super::seal::KeyId;
use refreshd_core::time::WallTime;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PREFIX: &str = "refreshd-";
const SUFFIX: &str = ".db";

/// Where a backup of that time stands: names sort by time.
#[must_use]
pub fn path_at(dir: &Path, at: WallTime) -> PathBuf {
    let time: String = at
        .rfc3339()
        .chars()
        .filter(|c| !"-:".contains(*c))
        .collect();
    dir.join(format!("{PREFIX}{time}{SUFFIX}"))
}

/// Makes the directory, for its owner alone, where it is missing; removes what a
/// kill left half made.
///
/// # Errors
/// What the file system says.
pub fn prepare(dir: &Path) -> Result<(), CopyError> {
    disk::private_dir(dir).map_err(copy::failed(dir, "made"))?;
    let entries = fs::read_dir(dir).map_err(copy::failed(dir, "read"))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str());
        let whole = name.and_then(|name| Some(name.strip_prefix('.')?.split_once(copy::HALF)?.0));
        if whole.is_some_and(|whole| time_of(Path::new(whole)).is_some()) {
            fs::remove_file(&path).map_err(copy::failed(&path, "removed"))?;
        }
    }
    Ok(())
}

/// Removes the oldest beyond `keep`; what was removed.
///
/// # Errors
/// What the file system says.
pub fn prune(dir: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut old = list(dir)?;
    old.truncate(old.len().saturating_sub(keep));
    for path in &old {
        fs::remove_file(path)?;
    }
    if !old.is_empty() {
        disk::sync_dir(dir)?;
    }
    Ok(old)
}

/// The backups in a directory, oldest first. Files of other names are others'.
fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if time_of(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The time in a backup's name: `20261121T023000Z`, or with a fraction.
fn time_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let time = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let is_time = time.len() >= 16
        && time.ends_with('Z')
        && time.as_bytes()[8] == b'T'
        && time
            .bytes()
            .all(|b| b.is_ascii_digit() || b"TZ.".contains(&b));
    is_time.then_some(time)
}

/// Which keys each backup in a directory takes; `None` for one that cannot be read.
pub(super) fn keys_in(dir: &Path) -> Vec<(PathBuf, Option<BTreeSet<KeyId>>)> {
    let paths = match list(dir) {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        // As one that cannot be read: every key may be needed.
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "the backups cannot be listed; every sealing key is kept");
            return vec![(dir.to_owned(), None)];
        }
    };
    let with_keys = |path: PathBuf| {
        let keys = copy::keys_of(&path);
        if let Err(error) = &keys {
            tracing::warn!(%error, "a backup cannot be read; every sealing key is kept for it");
        }
        (path, keys.ok())
    };
    paths.into_iter().map(with_keys).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/backups");
        prepare(&dir).unwrap();
        for name in [
            ".refreshd-19700101T000000Z.db.part",
            ".refreshd-19700101T000000Z.db.part-wal",
            ".mine.part",
            "refreshd-19700101T000000Z.db",
        ] {
            fs::write(dir.join(name), "").unwrap();
        }
        prepare(&dir).unwrap();
        let left = fs::read_dir(&dir).unwrap();
        let mut left: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".mine.part", "refreshd-19700101T000000Z.db"]);
    }

    #[test]
    fn the_oldest_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| fs::write(dir.path().join(name), "").unwrap();
        let hour = 3_600_000;
        for n in 0..4 {
            fs::write(path_at(dir.path(), WallTime(n * hour)), "").unwrap();
        }
        make("refreshd-before-the-upgrade.db");
        make("notes.db");
        let gone = prune(dir.path(), 3).unwrap();
        assert_eq!(gone, [dir.path().join("refreshd-19700101T000000Z.db")]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
        assert!(prune(dir.path(), 3).unwrap().is_empty());
    }
}
