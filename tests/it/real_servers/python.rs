//! Starts the authorization servers of `tests/servers`, their packages first: Python, and Node.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A running server; it ends when this is dropped, with its standard input.
pub struct RealServer {
    child: Child,
    stderr: File,
    ready: Value,
}

impl RealServer {
    /// Starts a script of `tests/servers` and waits for its ready line.
    pub fn start(script: &str, options: &[&str]) -> Self {
        let stderr = tempfile::tempfile().unwrap();
        let mut child = interpreter(script)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let mut server = RealServer {
            child,
            stderr,
            ready: Value::Null,
        };
        match serde_json::from_str(&line) {
            Ok(ready) => server.ready = ready,
            Err(_) => panic!("{script} did not start: {}", server.stderr()),
        }
        server
    }

    /// A member of the ready line, as in `token_url`.
    pub fn member(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    /// The first token responses, by grant.
    pub fn seeds(&self) -> impl Iterator<Item = (&str, &Value)> {
        let seeds = self.ready["seeds"].as_array().unwrap();
        seeds
            .iter()
            .map(|seed| (seed["name"].as_str().unwrap(), seed))
    }

    /// Ends it; what it said on standard error.
    pub fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        self.stderr()
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.stderr.rewind().unwrap();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What runs a script, with the script and whatever finds its packages.
fn interpreter(script: &str) -> Command {
    let path = servers().join(script);
    if script.ends_with(".mjs") {
        let mut node = Command::new("node");
        node.arg(path).arg("--modules").arg(node_packages());
        return node;
    }
    let mut command = Command::new(python());
    command.arg(path);
    command
}

/// Where Node finds the packages; they are installed once.
fn node_packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| packages("node/install.sh", "nodeenv"))
}

/// The Python that has the packages; they are installed once.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| packages("install.sh", "pyenv"))
}

/// Runs an installing script; the path that it says.
fn packages(script: &str, directory: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let installed = Command::new(servers().join(script))
        .arg(target.join(directory))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        installed.status.success(),
        "stage real-server packages: {}",
        String::from_utf8_lossy(&installed.stderr)
    );
    let stdout = String::from_utf8(installed.stdout).unwrap();
    PathBuf::from(stdout.lines().last().unwrap())
}

fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers")
}
