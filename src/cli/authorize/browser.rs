//! A browser, where there is one; else how to reach us from a machine that has one.

use std::process::{Command, Stdio};

/// Opens a URL in the person's browser, if there seems to be one. Nothing depends on it.
pub(super) fn open(url: &str, no_browser: bool) {
    let has = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let desktop = has("DISPLAY") || has("WAYLAND_DISPLAY");
    if no_browser || over_ssh() || !desktop {
        return;
    }
    // Other users of this machine may read it from the process list: docs/security.md.
    let started = Command::new("xdg-open")
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(mut child) = started {
        std::thread::spawn(move || child.wait());
    }
}

fn over_ssh() -> bool {
    std::env::var_os("SSH_CONNECTION").is_some()
}

/// The line that brings the callback's port of this machine to the person's own.
pub(super) fn ssh_hint(port: u16, no_browser: bool) -> Option<String> {
    if !no_browser && !over_ssh() {
        return None;
    }
    // SSH_CONNECTION: client address, client port, server address, server port.
    let connection = std::env::var("SSH_CONNECTION").unwrap_or_default();
    let mut words = connection.split(' ').skip(2);
    let host = words
        .next()
        .filter(|host| !host.is_empty())
        .unwrap_or("THIS-MACHINE");
    let ssh_port = words
        .next()
        .filter(|p| *p != "22")
        .map_or(String::new(), |p| format!(" -p {p}"));
    let user = std::env::var("USER").unwrap_or_else(|_| "USER".to_owned());
    Some(format!(
        "If the browser runs on another machine, run this there first, and leave it open:\n  ssh -N -L {port}:127.0.0.1:{port}{ssh_port} {user}@{host}"
    ))
}
