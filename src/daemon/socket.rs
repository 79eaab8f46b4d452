//! The control socket: bound under a umask that leaves it to its owner, in a
//! directory of ours.

use crate::control::SOCKET;
use crate::exit::{Exit, Failure};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use tokio::net::UnixListener;

/// Binds the socket. Whoever holds the state's lock may replace a stale one.
pub(super) fn bind(runtime_dir: &Path) -> Result<UnixListener, Failure> {
    let failure = |what: &str, e: io::Error| {
        let exit = if e.kind() == io::ErrorKind::PermissionDenied {
            Exit::NoPermission
        } else {
            Exit::CannotCreate
        };
        Failure::new(
            exit,
            format!(
                "{what} {}: {e}; set runtime_dir in [daemon]",
                runtime_dir.display()
            ),
        )
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(runtime_dir)
        .map_err(|e| failure("cannot make the runtime directory", e))?;
    remove(runtime_dir);
    UnixListener::bind(runtime_dir.join(SOCKET))
        .map_err(|e| failure("cannot bind the control socket in", e))
}

/// Removes the socket.
pub(super) fn remove(runtime_dir: &Path) {
    let _absent = std::fs::remove_file(runtime_dir.join(SOCKET));
}
