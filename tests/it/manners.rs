//! How the daemon behaves towards the system: signals, logs, systemd, modes.

mod logs;
mod modes;
mod notify;
mod secrecy;
mod signals;
mod unit;
