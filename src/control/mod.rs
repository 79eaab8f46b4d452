//! HTTP over the control socket: what other processes ask the daemon.

mod answers;
pub mod api;
pub mod client;
pub mod enroll;
pub mod find;
mod operator;
pub mod server;

/// The socket's name in the runtime directory.
pub const SOCKET: &str = "control.sock";
