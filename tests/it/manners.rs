//! How the daemon behaves towards the system: signals, logs, systemd, modes.

mod broken_configuration;
mod debugs;
mod logs;
mod modes;
mod notify;
mod panics;
mod secrecy;
mod signals;
mod sockets;
mod standard_error;
mod unit;
