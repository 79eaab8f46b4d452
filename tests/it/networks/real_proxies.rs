//! Real proxies from Debian's packages: tinyproxy for HTTP, microsocks for SOCKS.

use crate::support::{installed, wait_for};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What proxies connect from: whoever comes from elsewhere went round them.
pub(super) const THEIR_ADDRESS: &str = "127.0.0.2";
/// Who may use them.
pub(super) const USER: &str = "corp";
/// tinyproxy's own reading of its file allows no more than this.
pub(super) const HTTP_PASSWORD: &str = "planted-proxy.p4ssword";
/// With what must be coded in URLs.
pub(super) const SOCKS_PASSWORD: &str = "pl%41nted:p@ss/w0rd";

/// An installed proxy, running or not.
pub(super) struct Proxy {
    pub(super) port: u16,
    dir: tempfile::TempDir,
    command: Vec<String>,
    child: Option<Child>,
}

impl Proxy {
    /// tinyproxy, not yet running, that wants the login and lets through to these ports.
    pub(super) fn tinyproxy(ports: &[u16], login: bool) -> Self {
        let program = installed("tinyproxy", "tinyproxy-bin");
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let log = dir.path().join("log");
        let mut lines = vec![
            format!("Port {port}"),
            "Listen 127.0.0.1".to_owned(),
            format!("Bind {THEIR_ADDRESS}"),
            "Timeout 30".to_owned(),
            format!("LogFile \"{}\"", log.display()),
            "LogLevel Info".to_owned(),
        ];
        if login {
            lines.push(format!("BasicAuth {USER} {HTTP_PASSWORD}"));
        }
        lines.extend(ports.iter().map(|port| format!("ConnectPort {port}")));
        let config = dir.path().join("config");
        fs::write(&config, lines.join("\n") + "\n").unwrap();
        let command = [&program, Path::new("-d"), Path::new("-c"), &config];
        Proxy {
            port,
            dir,
            command: command.map(|part| part.display().to_string()).into(),
            child: None,
        }
    }

    /// microsocks, not yet running, that wants the login.
    pub(super) fn microsocks() -> Self {
        let program = installed("microsocks", "microsocks").display().to_string();
        let port = free_port();
        let options = [
            "-i",
            "127.0.0.1",
            "-b",
            THEIR_ADDRESS,
            "-u",
            USER,
            "-P",
            SOCKS_PASSWORD,
            "-p",
        ];
        let mut command = vec![program];
        command.extend(options.map(str::to_owned));
        command.push(port.to_string());
        Proxy {
            port,
            dir: tempfile::tempdir().unwrap(),
            command,
            child: None,
        }
    }

    /// Starts it and waits until it listens.
    pub(super) fn start(&mut self) {
        let output = fs::File::create(self.dir.path().join("output")).unwrap();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap());
        let child = command.stdout(output).spawn().unwrap();
        let child = self.child.insert(child);
        wait_for("the proxy", || {
            if let Some(status) = child.try_wait().unwrap() {
                let output = fs::read_to_string(self.dir.path().join("output"));
                panic!("the proxy ended with {status}: {}", output.unwrap());
            }
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            child.wait().unwrap();
        }
    }

    /// What it has logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
