//! Whose files and directories are, and who else may write them. Asked before
//! anything is read from them or sent there, as ssh and sudo do.

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the database in the state directory.
pub const DATABASE: &str = "refreshd.db";

/// The users who may own what this process relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners(Vec<u32>);

impl Owners {
    /// Root, who may do everything anyway, and the user of this process.
    #[must_use]
    pub fn own() -> Self {
        Owners(vec![0, effective_uid()])
    }

    /// Those, and for root the owner of the state too: root acts for them.
    #[must_use]
    pub fn of_state(state_dir: &Path) -> Self {
        let mut owners = Owners::own();
        if effective_uid() == 0 {
            owners.0.extend(state_owner(state_dir).map(|(uid, _)| uid));
        }
        owners
    }

    /// Those, and another.
    #[must_use]
    pub fn and(mut self, uid: Option<u32>) -> Self {
        self.0.extend(uid);
        self
    }

    /// Whether that user is one of them.
    #[must_use]
    pub fn has(&self, uid: u32) -> bool {
        self.0.contains(&uid)
    }

    /// For a message: `root or user refreshd`.
    #[must_use]
    pub fn names(&self) -> String {
        let mut names = vec!["root".to_owned()];
        let mut others: Vec<u32> = self.0.iter().copied().filter(|uid| *uid != 0).collect();
        others.dedup();
        names.extend(others.into_iter().map(user_name));
        names.join(" or ")
    }
}

/// Who may write what has that bit.
pub(crate) const EVERYONE: &str = "everyone";

/// A file or directory that somebody else could have filled.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// It is somebody else's.
    #[error("{path} belongs to {owner}, not to {wanted}")]
    Owner {
        /// What.
        path: PathBuf,
        /// Its owner.
        owner: String,
        /// Who may own it.
        wanted: String,
    },
    /// Others may write it.
    #[error("{path} can be written by {by} (mode {mode:04o})")]
    Writable {
        /// What.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Who.
        by: &'static str,
    },
    /// A file stands there.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// The system does not say.
    #[error("{path} cannot be looked at: {error}")]
    Unknown {
        /// What.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl Distrust {
    /// What to type.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Distrust::Owner { path, .. } => {
                format!(
                    "look at who made it, then give it to the right user: chown USER {}",
                    path.display()
                )
            }
            Distrust::Writable { path, .. } => format!("chmod go-w {}", path.display()),
            Distrust::NotADirectory(path) => {
                format!("move it away: mv {0} {0}.old", path.display())
            }
            Distrust::Unknown { .. } => "run this as root or as the user of refreshd".to_owned(),
        }
    }
}

/// Whether a directory is that of one of `owners`, and nobody else may write it. A
/// link to it must be theirs too. A container's volume, mounted as root's, is for all
/// in that container: there the mode says nothing.
///
/// # Errors
/// Why not.
pub fn directory(path: &Path, owners: &Owners) -> Result<(), Distrust> {
    let unknown = |error| Distrust::Unknown {
        path: path.to_owned(),
        error,
    };
    let link = fs::symlink_metadata(path).map_err(unknown)?;
    owned(path, &link, owners)?;
    let found = fs::metadata(path).map_err(unknown)?;
    if !found.is_dir() {
        return Err(Distrust::NotADirectory(path.to_owned()));
    }
    owned(path, &found, owners)?;
    if found.uid() == 0 && is_mount_point(path, &found) {
        return Ok(());
    }
    unwritable(path, &found)
}

/// Whether a file or directory is that of one of `owners`, and nobody else may write it.
/// On a file system that is mounted read-only nobody can, whatever its bits say
/// (ConfigMaps and Secrets are 0777 directories there).
///
/// # Errors
/// Why not.
pub fn path(path: &Path, owners: &Owners) -> Result<(), Distrust> {
    let unknown = |error| Distrust::Unknown {
        path: path.to_owned(),
        error,
    };
    let found = fs::metadata(path).map_err(unknown)?;
    if is_read_only(path) {
        return Ok(());
    }
    // In a directory with the sticky bit nobody renames or removes what is another's.
    if !(found.is_dir() && found.mode() & 0o1000 != 0) {
        unwritable(path, &found)?;
    }
    owned(path, &found, owners)
}

fn owned(path: &Path, found: &Metadata, owners: &Owners) -> Result<(), Distrust> {
    if owners.has(found.uid()) {
        return Ok(());
    }
    Err(Distrust::Owner {
        path: path.to_owned(),
        owner: user_name(found.uid()),
        wanted: owners.names(),
    })
}

fn unwritable(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    let mode = found.mode() & 0o7777;
    let by = match mode {
        _ if mode & 0o002 != 0 => Some(EVERYONE),
        // Root's group is root; and a group of the owner's number is theirs alone, as
        // useradd makes it where the umask is 002.
        _ if mode & 0o020 != 0 && found.gid() != 0 && found.gid() != found.uid() => {
            Some("its group")
        }
        _ => None,
    };
    by.map_or(Ok(()), |by| {
        Err(Distrust::Writable {
            path: path.to_owned(),
            mode,
            by,
        })
    })
}

fn is_mount_point(path: &Path, found: &Metadata) -> bool {
    let above = fs::metadata(path.join(".."));
    above.is_ok_and(|above| above.dev() != found.dev())
}

fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path)
        .is_ok_and(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The user and group that a state belongs to: the database's, else the directory's.
#[must_use]
pub fn state_owner(state_dir: &Path) -> Option<(u32, u32)> {
    let database = state_dir.join(DATABASE);
    let found = fs::symlink_metadata(database).or_else(|_| fs::metadata(state_dir));
    found.ok().map(|found| (found.uid(), found.gid()))
}

/// Opens a file to be read, and never waits for it: a pipe without a writer would
/// keep whoever opens it.
///
/// # Errors
/// What the system says; `InvalidInput` for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    // Looked at first: opening some devices does something.
    if !fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking.cast_signed())
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(not_regular());
    }
    Ok((file, found))
}

/// Reads a regular file of at most so many bytes.
///
/// # Errors
/// What the system says; `InvalidInput` for what is no regular file, `FileTooLarge`
/// for what is longer.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let text = format!("it is longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// The user of this thread.
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Has this thread be another user from now on, for good, with these groups alone. It is
/// the kernel's word for one thread: those that it begins later are what it is then.
///
/// # Errors
/// When it may not.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(group, group, group)?;
    Ok(set_thread_res_uid(user, user, user)?)
}

/// `user NAME` where /etc/passwd knows it, else `uid N`.
#[must_use]
pub fn user_name(uid: u32) -> String {
    account(uid).map_or_else(|| format!("uid {uid}"), |name| format!("user {name}"))
}

/// The user that the service runs as where it is installed as documented.
#[must_use]
pub fn service_account() -> Option<u32> {
    let known = fs::read_to_string("/etc/passwd").ok()?;
    let entry = known
        .lines()
        .find_map(|line| line.strip_prefix("refreshd:"))?;
    entry.split(':').nth(1)?.parse().ok()
}

/// The name of a user, where /etc/passwd knows it.
#[must_use]
pub fn account(uid: u32) -> Option<String> {
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut entries = known.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?))
    });
    let wanted = uid.to_string();
    let found = entries.find(|(_, id)| *id == wanted);
    found.map(|(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_that_others_own_or_may_write_is_not_trusted() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        fs::create_dir(&dir).unwrap();
        for mode in [0o700, 0o711, 0o755, 0o1700] {
            chmod(&dir, mode);
            directory(&dir, &Owners::own()).unwrap();
        }
        for mode in [0o777, 0o1777, 0o702] {
            chmod(&dir, mode);
            let refused = directory(&dir, &Owners::own()).unwrap_err();
            assert!(matches!(refused, Distrust::Writable { by: "everyone", .. }));
            assert!(refused.remedy().contains("chmod go-w"), "{refused}");
        }
        chmod(&dir, 0o700);
        let nobody = Owners(vec![4_000_000_000]);
        let refused = directory(&dir, &nobody).unwrap_err().to_string();
        assert!(refused.contains("belongs to"), "{refused}");
        let link = root.path().join("link");
        symlink(&dir, &link).unwrap();
        directory(&link, &Owners::own()).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let file = directory(&root.path().join("file"), &Owners::own());
        assert!(matches!(file, Err(Distrust::NotADirectory(_))));
        let absent = directory(&root.path().join("absent"), &Owners::own());
        assert!(matches!(absent, Err(Distrust::Unknown { .. })));
    }

    #[test]
    fn a_pipe_or_a_huge_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero"), dir.path()] {
            let refused = read_regular(path, 10).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
        let file = dir.path().join("file");
        fs::write(&file, "0123456789").unwrap();
        assert_eq!(read_regular(&file, 10).unwrap(), b"0123456789");
        let refused = read_regular(&file, 9).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        assert_eq!(read_regular(&link, 10).unwrap().len(), 10);
    }
}
