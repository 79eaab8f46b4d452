//! Small things about files that several parts of the state need.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Replaces a file whole: a reader, or the next start after a crash, finds the
/// old bytes or the new ones. Mode 0600.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// Less room than this is little for a log that is let grow.
const SCARCE: u64 = 64 * 1024 * 1024;

/// Whether a directory's file system has little room left. One that does not say has enough.
pub(super) fn is_scarce(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) < SCARCE)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a directory, and those above it, with mode 0700 where they are missing.
/// It is durable when this returns, whoever made it: nothing in it would be else.
pub(super) fn private_dir(dir: &Path) -> io::Result<()> {
    let there = dir.ancestors().position(Path::exists).unwrap_or(0);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    dir.ancestors()
        .take(there.max(1))
        .try_for_each(|made| sync_name(parent(made)))
}

/// Makes the names in a directory durable that may be another user's, which we
/// cannot open then, or of a kind that has nothing to say about it.
fn sync_name(dir: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied};
    match sync_dir(dir) {
        Err(error) if [InvalidInput, PermissionDenied].contains(&error.kind()) => Ok(()),
        done => done,
    }
}

/// The directory of a file, `.` for a bare name.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// The network file system that `path` is on, if it is on one. Locks and
/// fsync are not to be relied upon there, and both promises rest on them.
pub(crate) fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let magic = rustix::fs::statfs(path)?.f_type;
    // The type of `f_type` differs between machines; the magic has 32 bits on all.
    Ok(network_magic(
        u64::from_ne_bytes((magic as i64).to_ne_bytes()) & 0xffff_ffff,
    ))
}

/// `linux/magic.h` and the file systems' own headers.
fn network_magic(magic: u64) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0xff53_4d42 | 0x517b => Some("CIFS"),
        0xfe53_4d42 => Some("SMB2"),
        0x0102_1997 => Some("9p"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x00c3_6400 => Some("CEPH"),
        _ => None,
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_magic() {
        for (magic, name) in [
            (0x6969, "NFS"),
            (0xff53_4d42, "CIFS"),
            (0xfe53_4d42, "SMB2"),
            (0x0102_1997, "9p"),
            (0x00c3_6400, "CEPH"),
        ] {
            assert_eq!(network_magic(magic), Some(name));
        }
        // ext4, tmpfs, overlayfs, FUSE
        for magic in [0xef53, 0x0102_1994, 0x794c_7630, 0x6573_5546] {
            assert_eq!(network_magic(magic), None);
        }
    }

    #[test]
    fn missing_directories_are_made_for_their_owner() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b/c");
        for _ in 0..2 {
            private_dir(&dir).unwrap();
        }
        for made in dir.ancestors().take(3) {
            let mode = fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        private_dir(Path::new("/")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(private_dir(&root.path().join("file/x")).is_err());
    }

    #[test]
    fn a_replaced_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stamp");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
