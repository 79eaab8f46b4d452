//! The control socket: bound under a umask that leaves it to its owner, in a directory of
//! ours. A socket that a living daemon serves is nobody else's; one that was swept away
//! comes back; and what is removed at the end is ours alone.

use crate::config::SOCKET;
use crate::connections::Listener;
use crate::control::connect_now;
use crate::exit::{Exit, Failure};
use crate::trust::{self, Owners};
use rustix::fs::{FlockOperation, OFlags, flock, open};
use rustix::net::sockopt::socket_peercred;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Interval, MissedTickBehavior};

/// Held by the daemon that serves there.
const LOCK: &str = "control.lock";
/// It is looked so often whether the socket is still there.
const LOOK: Duration = Duration::from_secs(3);

/// The socket, and what makes it ours.
#[derive(Debug)]
pub(super) struct Socket {
    runtime_dir: PathBuf,
    bound: Bound,
    look: Interval,
    /// What kept it from coming back, and was said.
    trouble: Option<String>,
}

#[derive(Debug)]
struct Bound {
    listener: UnixListener,
    /// The file's device and inode.
    file: (u64, u64),
    lock: File,
}

impl Socket {
    /// Binds the socket. One that nobody serves any more is replaced.
    ///
    /// # Errors
    /// When another daemon serves there, or it cannot be made.
    pub(super) fn bind(runtime_dir: &Path) -> Result<Self, Failure> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Socket {
            runtime_dir: runtime_dir.to_owned(),
            bound: bind(runtime_dir, None)?,
            look,
            trouble: None,
        })
    }

    /// Brings it back, if something has swept it away, and says so.
    fn keep(&mut self) {
        if self.is_there() {
            self.trouble = None;
            return;
        }
        let place = self.runtime_dir.join(SOCKET);
        match bind(&self.runtime_dir, Some(&self.bound.lock)) {
            Ok(bound) => {
                self.bound = bound;
                self.trouble = None;
                tracing::warn!(
                    "the control socket {} was removed by somebody else, and is there again; if systemd-tmpfiles or a clean-up job did it, leave {} out there",
                    place.display(),
                    self.runtime_dir.display()
                );
            }
            Err(failure) if self.trouble.as_ref() != Some(&failure.message) => {
                tracing::error!(
                    "the control socket {} was removed by somebody else, so no command reaches this daemon, and it cannot be made again: {}",
                    place.display(),
                    failure.message
                );
                self.trouble = Some(failure.message);
            }
            Err(_) => {}
        }
    }

    fn is_there(&self) -> bool {
        let found = std::fs::symlink_metadata(self.runtime_dir.join(SOCKET));
        found.is_ok_and(|found| (found.dev(), found.ino()) == self.bound.file)
    }

    /// Removes the socket, if it is still ours.
    pub(super) fn remove(self) {
        if self.is_there() {
            let _gone = std::fs::remove_file(self.runtime_dir.join(SOCKET));
        }
        drop(self.bound.lock);
    }
}

impl Listener for Socket {
    type Stream = UnixStream;

    async fn next(&mut self) -> io::Result<UnixStream> {
        loop {
            tokio::select! {
                accepted = self.bound.listener.accept() => return accepted.map(|(stream, _)| stream),
                _ = self.look.tick() => self.keep(),
            }
        }
    }
}

fn bind(runtime_dir: &Path, held: Option<&File>) -> Result<Bound, Failure> {
    let failure = |what: &str, e: io::Error| {
        let exit = if e.kind() == io::ErrorKind::PermissionDenied {
            Exit::NoPermission
        } else {
            Exit::CannotCreate
        };
        let dir = runtime_dir.display();
        Failure::new(
            exit,
            format!("{what} {dir}: {e}; set runtime_dir in [daemon]"),
        )
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(runtime_dir)
        .map_err(|e| failure("cannot make the runtime directory", e))?;
    trust::directory(runtime_dir, &Owners::own()).map_err(|why| {
        let text = format!(
            "the runtime directory is not used: {why}; {}, or set runtime_dir in [daemon] to another",
            why.remedy()
        );
        Failure::new(Exit::NoPermission, text)
    })?;
    let place = runtime_dir.join(SOCKET);
    let lock = lock(&runtime_dir.join(LOCK), held)
        .map_err(|e| failure("cannot make the control socket's lock in", e))?
        .map_err(|pid| served_already(&place, pid))?;
    clear(&place)?;
    let listener =
        UnixListener::bind(&place).map_err(|e| failure("cannot bind the control socket in", e))?;
    let made = std::fs::symlink_metadata(&place)
        .map_err(|e| failure("cannot look at the control socket in", e))?;
    Ok(Bound {
        listener,
        file: (made.dev(), made.ino()),
        lock,
    })
}

/// The lock, with our process's number in it, or the number of the process that has it.
/// `held`: one that we may have already.
fn lock(path: &Path, held: Option<&File>) -> io::Result<Result<File, Option<u32>>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(open(path, flags, 0o600.into())?);
    if let Some(held) = held {
        let (ours, found) = (held.metadata()?, file.metadata()?);
        if (ours.dev(), ours.ino()) == (found.dev(), found.ino()) {
            return held.try_clone().map(Ok);
        }
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            Ok(Ok(file))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.rewind()?;
            file.take(32).read_to_string(&mut text)?;
            Ok(Err(text.trim().parse().ok()))
        }
        Err(e) => Err(e.into()),
    }
}

/// Removes a socket that nobody serves any more.
fn clear(place: &Path) -> Result<(), Failure> {
    let in_the_way = |why: String| Failure::new(Exit::CannotCreate, why);
    let Ok(found) = std::fs::symlink_metadata(place) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(in_the_way(format!(
            "{} is in the way, and is no socket; move it, or set runtime_dir in [daemon]",
            place.display()
        )));
    }
    if let Some(pid) = server_of(place) {
        return Err(served_already(place, pid));
    }
    std::fs::remove_file(place)
        .map_err(|e| in_the_way(format!("cannot remove the old {}: {e}", place.display())))
}

/// The process that serves a socket, if one does.
fn server_of(place: &Path) -> Option<Option<u32>> {
    match connect_now(place) {
        Ok(stream) => {
            let peer = socket_peercred(&stream).ok();
            Some(peer.and_then(|peer| u32::try_from(peer.pid.as_raw_pid()).ok()))
        }
        // Its queue is full.
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Some(None),
        Err(_) => None,
    }
}

fn served_already(place: &Path, pid: Option<u32>) -> Failure {
    let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    Failure::new(
        Exit::TempFail,
        format!(
            "another refreshd{who} serves {}; end it, or set another runtime_dir in [daemon]",
            place.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(dir: &Path) -> String {
        let failure = Socket::bind(dir).unwrap_err();
        assert_eq!(failure.exit, Exit::TempFail);
        failure.message
    }

    #[tokio::test]
    async fn what_a_living_daemon_serves_is_refused_with_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let first = Socket::bind(dir.path()).unwrap();
        let process = format!("process {}", std::process::id());
        assert!(is_refused(dir.path()).contains(&process));
        // A daemon whose lock was swept away, or that has none.
        std::fs::remove_file(dir.path().join(LOCK)).unwrap();
        assert!(is_refused(dir.path()).contains(&process));
        assert!(first.is_there());
        first.remove();
        Socket::bind(dir.path()).unwrap().remove();
    }

    #[tokio::test]
    async fn what_nobody_serves_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(Socket::bind(dir.path()).unwrap());
        assert!(dir.path().join(SOCKET).exists(), "as after a kill");
        assert!(Socket::bind(dir.path()).unwrap().is_there());
    }

    #[tokio::test]
    async fn nothing_but_a_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(SOCKET), "precious").unwrap();
        let failure = Socket::bind(dir.path()).unwrap_err();
        assert!(failure.message.contains("in the way"), "{failure}");
        let kept = std::fs::read_to_string(dir.path().join(SOCKET));
        assert_eq!(kept.unwrap(), "precious");
    }

    #[tokio::test]
    async fn what_was_swept_away_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        let mut socket = Socket::bind(&dir).unwrap();
        for sweep in ["socket", "directory", "lock"] {
            match sweep {
                "socket" => std::fs::remove_file(dir.join(SOCKET)).unwrap(),
                "lock" => std::fs::remove_file(dir.join(LOCK)).unwrap(),
                _ => std::fs::remove_dir_all(&dir).unwrap(),
            }
            socket.keep();
            assert!(socket.is_there(), "{sweep}");
            std::os::unix::net::UnixStream::connect(dir.join(SOCKET)).unwrap();
            is_refused(&dir);
        }
    }

    #[tokio::test]
    async fn somebody_elses_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Socket::bind(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join(SOCKET)).unwrap();
        let other = std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        first.keep();
        assert!(first.trouble.is_some());
        first.remove();
        assert!(dir.path().join(SOCKET).exists());
        drop(other);
    }
}
