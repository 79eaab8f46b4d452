//! Finds the daemon that holds a configuration's state. The state's lock names the
//! socket of its holder, so a command finds it whatever its own surroundings say;
//! where nobody holds the state, or it cannot be looked at, the runtime directory is
//! asked.

use super::client::Control;
use super::connect_now;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::state::{Holder, holder};
use crate::trust::{self, Owners, user_name};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a holder of the state may be silent: a daemon that starts or stops, or a
/// command at rest.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);

/// The daemon that holds this configuration's state; `None` when nobody does, and
/// nobody answers in the runtime directory.
///
/// # Errors
/// When there is one, but it may not be talked to, or does not answer.
pub fn daemon(config: &Config) -> Result<Option<Control>, Failure> {
    let usual = config.socket();
    let owners = Owners::of_state(&config.daemon.state_dir);
    let begun = Instant::now();
    loop {
        let Some(holder) = holder(&config.daemon.state_dir) else {
            return connect(&usual, &owners);
        };
        let named = holder.socket.clone().unwrap_or_else(|| usual.clone());
        if let Some(control) = connect(&named, &owners)? {
            return Ok(Some(control));
        }
        if begun.elapsed() > PATIENCE {
            return Err(silent(&holder, &named, &config.daemon.state_dir));
        }
        std::thread::sleep(AGAIN);
    }
}

/// The configuration of the daemon that holds the state, where it is another one: its
/// grants and clients are not those that the caller's configuration has.
#[must_use]
pub fn other_configuration(config: &Config) -> Option<PathBuf> {
    let theirs = holder(&config.daemon.state_dir)?.config?;
    let ours = config.files.first()?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    (real(&theirs) != real(ours)).then_some(theirs)
}

fn silent(holder: &Holder, socket: &Path, state_dir: &Path) -> Failure {
    let who = holder.pid.map_or_else(
        || "a process".to_owned(),
        |pid| format!("a process (pid {pid})"),
    );
    let message = format!(
        "{who} holds the state {}, and nobody answers at {}: refreshd is starting or stopping, or a command works on the state; try again",
        state_dir.display(),
        socket.display()
    );
    Failure::new(Exit::TempFail, message)
}

/// Connects to a socket, if somebody listens there, and if it is somebody to whom a
/// refresh token may be handed.
fn connect(socket: &Path, owners: &Owners) -> Result<Option<Control>, Failure> {
    match connect_now(socket) {
        Ok(stream) => {
            check(socket, &stream, owners)?;
            Control::to(socket).map(Some)
        }
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            let message = format!(
                "refreshd does not take connections at {}: see whether it is stopped or hangs",
                socket.display()
            );
            Err(Failure::new(Exit::Unavailable, message))
        }
        Err(e) => {
            let message = format!(
                "cannot talk to refreshd at {}: {e}; run this as root or as the user that refreshd runs as",
                socket.display()
            );
            Err(Failure::new(Exit::NoPermission, message))
        }
    }
}

fn check(socket: &Path, stream: &UnixStream, owners: &Owners) -> Result<(), Failure> {
    let refused = |why: String| {
        let message = format!(
            "nothing was sent to the control socket {}: {why}; stop whoever made it, or set runtime_dir in [daemon] to another directory",
            socket.display()
        );
        Failure::new(Exit::NoPermission, message)
    };
    let dir = socket.parent().unwrap_or(Path::new("/"));
    trust::directory(dir, owners).map_err(|why| refused(why.to_string()))?;
    let peer = rustix::net::sockopt::socket_peercred(stream);
    let peer = peer.map_err(|e| refused(format!("the system does not say who listens: {e}")))?;
    let uid = peer.uid.as_raw();
    if owners.has(uid) {
        return Ok(());
    }
    let (who, wanted) = (user_name(uid), owners.names());
    Err(refused(format!("{who} listens there, who is not {wanted}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SOCKET;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_in_a_directory_that_others_may_write_is_not_talked_to() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(SOCKET);
        assert!(connect(&socket, &Owners::own()).unwrap().is_none());
        let listener = UnixListener::bind(&socket).unwrap();
        assert!(connect(&socket, &Owners::own()).unwrap().is_some());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = connect(&socket, &Owners::own()).unwrap_err();
        assert_eq!(refused.exit, Exit::NoPermission);
        assert!(refused.message.contains("nothing was sent"), "{refused}");
        assert!(refused.message.contains("by everyone"), "{refused}");
        drop(listener);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(connect(&socket, &Owners::own()).unwrap().is_none());
    }
}
