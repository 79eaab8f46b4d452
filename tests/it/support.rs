//! A place of its own for each test: configuration, state, runtime directory,
//! and the built binary run there. Tests wait for conditions, never for times.

use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a condition may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary installation.
pub struct House {
    root: tempfile::TempDir,
}

impl House {
    /// An installation with a secret file and `[daemon]` set; `config` is the rest.
    pub fn new(config: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let house = House { root };
        house.secret("secret", "s3cr3t");
        house.configure(config);
        house
    }

    /// Where everything is.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path below the root.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("refreshd.toml")
    }

    /// Writes the configuration anew. `ROOT` in it stands for the root.
    pub fn configure(&self, config: &str) {
        let text = format!(
            "[daemon]\nstate_dir = \"ROOT/state\"\nruntime_dir = \"ROOT/run\"\nkey = {{ file = \"ROOT/key/key\" }}\n\n{config}"
        );
        let text = text.replace("ROOT", self.root.path().to_str().unwrap());
        fs::write(self.config(), text).unwrap();
    }

    /// Writes a file below the root, with `ROOT` filled in.
    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            path,
            text.replace("ROOT", self.root.path().to_str().unwrap()),
        )
        .unwrap();
    }

    /// Writes a secret file that its owner alone may read.
    pub fn secret(&self, relative: &str, secret: &str) {
        self.write(relative, secret);
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(0o400)).unwrap();
    }

    /// A command of the binary, with no environment that could leak in.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_refreshd"));
        command
            .env_clear()
            .env("HOME", self.root.path())
            .env("REFRESHD_LOG", "debug");
        command
            .arg("--config")
            .arg(self.config())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command with standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Output {
        fed(self.command(args), input)
    }

    /// Runs a command with standard input and kills it after a while; its exit
    /// code, if it was quicker.
    pub fn run_with_and_kill(&self, args: &[&str], input: &str, after: Duration) -> Option<i32> {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // It may be gone already, or its input not be wanted.
        let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap().code()
    }

    /// Runs a command that must succeed, and reads its output as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts the daemon and waits until it is ready.
    pub fn daemon(&self) -> Daemon {
        self.daemon_by(self.command(&["run"]))
    }

    /// Starts the daemon as the last arguments of another command, which must
    /// become it, and waits until it is ready.
    pub fn daemon_under(&self, wrapper: &[&str]) -> Daemon {
        self.daemon_by(self.under(wrapper))
    }

    /// The same, and does not wait.
    pub fn launch_under(&self, wrapper: &[&str]) -> Daemon {
        self.launch_by(self.under(wrapper))
    }

    fn under(&self, wrapper: &[&str]) -> Command {
        let plain = self.command(&["run"]);
        let (program, args) = wrapper.split_first().expect("a command");
        let mut command = Command::new(program);
        command.args(args).arg(plain.get_program());
        command.args(plain.get_args()).stdin(Stdio::null());
        let set = plain.get_envs().filter_map(|(k, v)| Some((k, v?)));
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(set);
        command
    }

    /// Starts it by a command that becomes the daemon, and waits.
    pub fn daemon_by(&self, command: Command) -> Daemon {
        let earlier = readies(&self.path("log"));
        let mut daemon = self.launch_by(command);
        wait_for("the daemon to be ready", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", daemon.log());
            }
            readies(&daemon.log) > earlier
        });
        daemon
    }

    /// Starts the daemon and does not wait.
    pub fn launch(&self) -> Daemon {
        self.launch_by(self.command(&["run"]))
    }

    fn launch_by(&self, mut command: Command) -> Daemon {
        let log = self.path("log");
        let stderr = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let earlier = readies(&log);
        let child = command
            .stderr(stderr)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Daemon {
            child,
            log,
            earlier,
        }
    }

    /// The report of one grant.
    pub fn status(&self, grant: &str) -> Value {
        self.json(&["status", "--json", grant])["grants"][0].clone()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the daemon's log\n{}",
                fs::read_to_string(self.path("log")).unwrap_or_default()
            );
        }
    }
}

fn readies(log: &Path) -> usize {
    fs::read_to_string(log)
        .unwrap_or_default()
        .matches("refreshd is ready")
        .count()
}

/// A running daemon; it is killed when the test ends.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// How many before it have been ready.
    earlier: usize,
}

impl Daemon {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, by itself or not.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether it has said that it is ready.
    pub fn has_become_ready(&self) -> bool {
        readies(&self.log) > self.earlier
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged something: a thread of its own writes the lines.
    pub fn logs(&self, words: &str) {
        wait_for(words, || self.log().contains(words));
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.kill_now();
    }

    /// SIGKILL; it has let go of everything when this returns.
    pub fn kill_now(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end by itself; the exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Waits for its end; the signal that it was killed by.
    pub fn wait_for_signal(mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        self.child.wait().unwrap().signal()
    }

    /// Waits for its end by itself; how it ended.
    pub fn ended(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits until a condition holds.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The path of a program; its package is installed if need be.
pub fn installed(program: &str, package: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/command.sh");
    let installed = Command::new(script)
        .args([program, package])
        .output()
        .unwrap();
    assert!(
        installed.status.success(),
        "{program}: {}",
        text(&installed.stderr)
    );
    PathBuf::from(text(&installed.stdout).lines().last().unwrap())
}

/// Runs a prepared command with standard input.
pub fn fed(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read that.
    let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
