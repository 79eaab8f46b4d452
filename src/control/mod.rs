//! The way from a command to the service: HTTP over the control socket, or within the
//! command's own process.

pub mod client;
pub mod find;
pub mod router;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A connection that is there at once, or not at all: one to a queue that a stopped
/// daemon has let fill up would wait for as long as it is stopped.
pub(crate) fn connect_now(socket: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream.into())
}
