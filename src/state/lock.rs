//! One process at a time: a `flock` on `lock` in the state directory. Whoever holds
//! it writes down who they are and where they answer, so that commands find them
//! whatever their own surroundings say.

use super::disk;
use crate::trust::{self, Distrust, Owners};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The lock's name in the state directory.
const FILE: &str = "lock";
/// A command that looks whether the lock is held holds it for an instant, and is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// One at rest holds it while it works, an import of many grants for a while: a daemon
/// that is started meanwhile begins when it has ended.
const PATIENCE_WITH_COMMANDS: Duration = Duration::from_secs(60);
/// So long is waited where somebody holds it who answers somewhere: a daemon stays.
const LITTLE_PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(10);

/// Holds the state directory; another process may have it once this is dropped.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

/// Who holds a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: Option<u32>,
    /// Its control socket; `None` for a command, and before a daemon listens.
    pub socket: Option<PathBuf>,
    /// The configuration it was started with.
    pub config: Option<PathBuf>,
}

/// A state directory that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another refreshd ({pid}) uses {dir}{started}; stop it first, or talk to it by its control socket",
        pid = holder.pid.map_or_else(|| "pid unknown".to_owned(), |p| format!("pid {p}")),
        started = holder.config.as_ref().map_or_else(String::new, |c| format!(", started with {}", c.display())))]
    Held {
        /// The state directory.
        dir: PathBuf,
        /// Who has it, as far as the file says so.
        holder: Holder,
    },
    /// There is none, and none is to be made.
    #[error("there is no state in {0}")]
    Absent(PathBuf),
    /// It belongs to another user: files made in it now could not be used by them.
    #[error(
        "the state directory {dir} belongs to {owner}, and this runs as {user}; run it as {owner}{how}",
        how = account.as_ref().map_or_else(String::new, |name| format!(", as in: runuser -u {name} -- refreshd …"))
    )]
    NotOurs {
        /// The state directory.
        dir: PathBuf,
        /// Its owner.
        owner: String,
        /// The owner's name, where there is one.
        account: Option<String>,
        /// The effective user.
        user: String,
    },
    /// Others could have changed what is in it.
    #[error("the state is not used: {why}; {}", why.remedy())]
    Distrusted {
        /// What could have happened to it.
        #[from]
        why: Distrust,
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

fn unusable(dir: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> LockError {
    move |source| LockError::Unusable {
        dir: dir.to_owned(),
        verb,
        user: trust::user_name(trust::effective_uid()),
        source,
    }
}

impl Holder {
    /// Whether that process is there: what a killed one has written stays in the file.
    fn runs(&self) -> bool {
        let other = self.pid.filter(|pid| *pid != std::process::id());
        other.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
    }
}

impl StateLock {
    /// Takes the lock. Where the directory is missing it is made (0700), if it may be.
    /// Who holds it for a moment is waited for.
    ///
    /// # Errors
    /// When another process has it, or the directory is not this user's, not writable,
    /// or others may write it.
    pub fn take(dir: &Path, may_make: bool) -> Result<StateLock, LockError> {
        if may_make {
            disk::private_dir(dir).map_err(unusable(dir, "made"))?;
        }
        close_to_group(dir).map_err(unusable(dir, "closed to its group"))?;
        check(dir)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(dir.join(FILE))
            .map_err(unusable(dir, "written to"))?;
        let (begun, mut told) = (Instant::now(), false);
        while !try_lock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(unusable(dir, "locked"))?
        {
            let holder = read(&mut file);
            let patience = match (holder.runs(), &holder.socket) {
                (true, Some(_)) => LITTLE_PATIENCE,
                (true, None) => PATIENCE_WITH_COMMANDS,
                (false, _) => PATIENCE,
            };
            let waited = begun.elapsed();
            if waited > patience {
                let dir = dir.to_owned();
                return Err(LockError::Held { dir, holder });
            }
            if waited > LITTLE_PATIENCE && !std::mem::replace(&mut told, true) {
                let pid = holder.pid.unwrap_or_default();
                tracing::info!(pid, dir = %dir.display(), "waiting for another refreshd command (pid {pid}) that works on the state");
            }
            sleep(AGAIN);
        }
        let mut lock = StateLock { file };
        lock.write(&format!("{}\n", std::process::id()))
            .map_err(unusable(dir, "written to"))?;
        Ok(lock)
    }

    /// Takes the lock together with others who look; nobody who writes has it then.
    /// Nothing is made.
    ///
    /// # Errors
    /// When another process has it.
    pub(super) fn share(dir: &Path) -> Result<Option<StateLock>, LockError> {
        // A state that was put here from elsewhere may have none yet.
        let Ok((mut file, _)) = trust::open_regular(&dir.join(FILE)) else {
            return Ok(None);
        };
        match try_lock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(true) => Ok(Some(StateLock { file })),
            Ok(false) => Err(LockError::Held {
                dir: dir.to_owned(),
                holder: read(&mut file),
            }),
            Err(error) => Err(unusable(dir, "locked")(error)),
        }
    }

    /// Writes down where the holder answers, and what it was started with.
    ///
    /// # Errors
    /// What the file system says.
    pub fn name(&mut self, socket: &Path, config: &Path) -> io::Result<()> {
        let pid = std::process::id();
        let (socket, config) = (socket.display(), config.display());
        self.write(&format!("{pid}\n{socket}\n{config}\n"))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

/// Who holds the state in `dir`; `None` when nobody does, or this user may not know.
/// Nothing is made or changed.
#[must_use]
pub fn holder(dir: &Path) -> Option<Holder> {
    let (mut file, _) = trust::open_regular(&dir.join(FILE)).ok()?;
    match try_lock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(false) => Some(read(&mut file)),
        Ok(true) | Err(_) => None,
    }
}

/// Whether a state may be looked at: it is there, ours, and nobody else may write it. One
/// that was opened to our own group is closed as soon as it is used.
///
/// # Errors
/// Why not.
pub(super) fn check(dir: &Path) -> Result<(), LockError> {
    let found = match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LockError::Absent(dir.to_owned()));
        }
        other => other.map_err(unusable(dir, "read"))?,
    };
    check_owner(dir, found.uid(), trust::effective_uid())?;
    match trust::directory(dir, &Owners::own()) {
        Err(Distrust::Writable { .. }) if is_open_to_own_group(&found) => Ok(()),
        other => Ok(other?),
    }
}

/// Kubernetes opens everything in a volume to the pod's group each time it mounts it:
/// what is ours is closed again.
fn close_to_group(dir: &Path) -> io::Result<()> {
    match fs::metadata(dir) {
        Ok(found) if is_open_to_own_group(&found) => {
            let mode = found.mode() & 0o7777 & !0o020;
            fs::set_permissions(dir, fs::Permissions::from_mode(mode))
        }
        // Whatever is wrong is told by who goes on with it.
        _ => Ok(()),
    }
}

fn is_open_to_own_group(found: &fs::Metadata) -> bool {
    let ours = found.uid() == trust::effective_uid() && is_own_group(found.gid());
    ours && found.mode() & 0o022 == 0o020
}

fn is_own_group(gid: u32) -> bool {
    let more = rustix::process::getgroups().unwrap_or_default();
    rustix::process::getegid().as_raw() == gid || more.iter().any(|group| group.as_raw() == gid)
}

fn try_lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn read(file: &mut File) -> Holder {
    let mut bytes = Vec::new();
    // Two paths and a number; what is longer is no lock of ours.
    let most = 2 * 4096 + 32;
    let whole = io::Seek::rewind(file).and_then(|()| file.take(most).read_to_end(&mut bytes));
    let text = String::from_utf8(bytes).unwrap_or_default();
    if whole.is_err() {
        return Holder::default();
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Holder {
        pid: lines.next().and_then(|pid| pid.parse().ok()),
        socket: lines.next().map(PathBuf::from),
        config: lines.next().map(PathBuf::from),
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
        owner: trust::user_name(owner),
        account: trust::account(owner),
        user: trust::user_name(user),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_second_holder_learns_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        let first = StateLock::take(&state, true).unwrap();
        let mode = fs::metadata(&state).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        let refused = StateLock::take(&state, true).unwrap_err().to_string();
        let us = format!("another refreshd (pid {}) uses ", std::process::id());
        assert!(refused.starts_with(&us), "{refused}");
        assert!(refused.contains(state.to_str().unwrap()));
        drop(first);
        StateLock::take(&state, true).unwrap();
    }

    #[test]
    fn the_lock_names_where_its_holder_answers() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            StateLock::take(&dir.path().join("none"), false),
            Err(LockError::Absent(_))
        ));
        assert_eq!(holder(&dir.path().join("none")), None);
        assert_eq!(holder(dir.path()), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut lock = StateLock::take(dir.path(), false).unwrap();
        let command = holder(dir.path()).unwrap();
        assert_eq!(
            (command.pid, command.socket),
            (Some(std::process::id()), None)
        );
        let (socket, config) = (Path::new("/run/x/control.sock"), Path::new("/etc/x/y.toml"));
        lock.name(socket, config).unwrap();
        let daemon = holder(dir.path()).unwrap();
        assert_eq!(daemon.socket.as_deref(), Some(socket));
        assert_eq!(daemon.config.as_deref(), Some(config));
        // What a killed one has left says nothing.
        drop(lock);
        assert_eq!(holder(dir.path()), None);
    }

    #[test]
    fn whoever_only_looks_does_not_keep_a_daemon_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        drop(StateLock::take(dir.path(), false).unwrap());
        let looks = File::open(dir.path().join(FILE)).unwrap();
        flock(&looks, FlockOperation::LockShared).unwrap();
        let looking = std::thread::spawn(move || {
            sleep(Duration::from_millis(200));
            drop(looks);
        });
        StateLock::take(dir.path(), false).unwrap();
        looking.join().unwrap();
    }

    #[test]
    fn a_state_that_others_may_write_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode));
        mode(0o777).unwrap();
        let refused = StateLock::take(dir.path(), true).unwrap_err();
        assert!(matches!(refused, LockError::Distrusted { .. }));
        assert!(refused.to_string().contains("chmod go-w"), "{refused}");
        // A volume that was opened to our own group is closed again.
        mode(0o2770).unwrap();
        StateLock::take(dir.path(), true).unwrap();
        let found = fs::metadata(dir.path()).unwrap().mode() & 0o7777;
        assert_eq!(found, 0o2750);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = StateLock::take(&file.join("state"), true).unwrap_err();
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
            assert!(refused.contains(&trust::user_name(user)), "{refused}");
        }
    }
}
