//! One process at a time: a `flock` on `lock` in the state directory.

use super::disk;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Holds the state directory; another process may have it once this is dropped.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// A state directory that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another refreshd ({pid}) uses {dir}; stop it first, or talk to it by its control socket", pid = pid.map_or_else(|| "pid unknown".to_owned(), |p| format!("pid {p}")))]
    Held {
        /// The state directory.
        dir: PathBuf,
        /// Who has it, when the file says so.
        pid: Option<u32>,
    },
    /// It belongs to another user: files made in it now could not be used by them.
    #[error(
        "the state directory {dir} belongs to {owner}, and this runs as {user}; run it as {owner}, or give the directory away: chown {user_id} {dir}"
    )]
    NotOurs {
        /// The state directory.
        dir: PathBuf,
        /// Its owner.
        owner: String,
        /// The effective user.
        user: String,
        /// The effective user's number.
        user_id: u32,
    },
    /// It cannot be made or written to.
    #[error(
        "the state directory {dir} cannot be {verb} by {user}: {source}; {}",
        remedy(source)
    )]
    Unusable {
        /// The state directory.
        dir: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// The effective user.
        user: String,
        /// What the file system said.
        source: io::Error,
    },
}

impl StateLock {
    /// Makes the directory (0700) where it is missing, and takes the lock.
    ///
    /// # Errors
    /// When another process has it, or the directory is not this user's or not writable.
    pub fn take(dir: &Path) -> Result<StateLock, LockError> {
        let unusable = |verb| {
            move |source| LockError::Unusable {
                dir: dir.to_owned(),
                verb,
                user: user_name(effective_uid()),
                source,
            }
        };
        disk::private_dir(dir).map_err(unusable("made"))?;
        let owner = fs::metadata(dir).map_err(unusable("read"))?.uid();
        check_owner(dir, owner, effective_uid())?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join("lock"))
            .map_err(unusable("written to"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held {
                    dir: dir.to_owned(),
                    pid: pid_in(&mut file),
                });
            }
            Err(error) => return Err(unusable("locked")(error.into())),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(unusable("written to"))?;
        Ok(StateLock { _file: file })
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "the kernel's log may say why (dmesg); mend the disk and make it writable (mount -o remount,rw), or set daemon.state_dir to another"
        }
        io::ErrorKind::StorageFull => "make room on this disk",
        _ => "make it writable for that user, or set daemon.state_dir to another",
    }
}

/// A directory of root's that lets us write is a container's mounted volume;
/// anyone else's, or any other for root, would end in files of mixed owners.
fn check_owner(dir: &Path, owner: u32, user: u32) -> Result<(), LockError> {
    if owner == user || owner == 0 {
        return Ok(());
    }
    Err(LockError::NotOurs {
        dir: dir.to_owned(),
        owner: user_name(owner),
        user: user_name(user),
        user_id: user,
    })
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

pub(super) fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `user NAME` where /etc/passwd knows it, else `uid N`.
pub(super) fn user_name(uid: u32) -> String {
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    known
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            Some((fields.next()?, fields.nth(1)?))
        })
        .find(|(_, id)| *id == uid.to_string())
        .map_or_else(|| format!("uid {uid}"), |(name, _)| format!("user {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_second_holder_learns_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        let first = StateLock::take(&state).unwrap();
        let mode = fs::metadata(&state).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        let refused = StateLock::take(&state).unwrap_err().to_string();
        let us = format!("another refreshd (pid {}) uses ", std::process::id());
        assert!(refused.starts_with(&us), "{refused}");
        assert!(refused.contains(state.to_str().unwrap()));
        drop(first);
        StateLock::take(&state).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = StateLock::take(&file.join("state")).unwrap_err();
        assert!(matches!(refused, LockError::Unusable { verb: "made", .. }));
        assert!(refused.to_string().contains("file/state"));
    }

    #[test]
    fn directories_of_other_users_are_refused() {
        let dir = Path::new("/var/lib/refreshd");
        assert!(check_owner(dir, 1000, 1000).is_ok());
        assert!(check_owner(dir, 0, 1000).is_ok());
        for (owner, user) in [(1000, 0), (1000, 1001)] {
            let refused = check_owner(dir, owner, user).unwrap_err().to_string();
            assert!(refused.contains("/var/lib/refreshd"), "{refused}");
            assert!(refused.contains(&user_name(user)), "{refused}");
        }
    }
}
