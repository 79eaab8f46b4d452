//! An installation of the daemon on a real disk, with as many grants as are asked for.

use crate::child::{Child, wait_for};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// A directory with configuration and state, removed at the end.
pub(crate) struct Place {
    root: tempfile::TempDir,
}

impl Place {
    /// Makes one below the build directory: temporary directories are often in memory.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let place = Place { root };
        let secret = place.path("secret");
        fs::write(&secret, "secret").expect("a file");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).expect("our own file");
        place
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Describes the provider `bench`.
    pub(crate) fn describe(&self, url: &str, rotation: &str) {
        fs::create_dir_all(self.path("providers.d")).expect("a directory");
        let text = format!(
            "name = \"bench\"\n[token]\nurl = \"{url}\"\n[rotation]\nrotates = \"always\"\n{rotation}\n"
        );
        fs::write(self.path("providers.d/bench.toml"), text).expect("a file");
    }

    /// Configures one client of it; `more` belongs to the client. `ROOT` stands
    /// for the directory.
    pub(crate) fn configure(&self, client: &str, flights: u16, more: &str) {
        let text = format!(
            "[daemon]\nstate_dir = \"ROOT/state\"\nruntime_dir = \"ROOT/run\"\n\
             key = {{ file = \"ROOT/key/key\" }}\nmax_flights = {flights}\n\
             [clients.{client}]\nprovider = \"bench\"\nclient_id = \"bench\"\n\
             client_secret = {{ file = \"ROOT/secret\" }}\n{more}\n"
        );
        let root = self.root.path().to_str().expect("a path in UTF-8");
        fs::write(self.path("refreshd.toml"), text.replace("ROOT", root)).expect("a file");
    }

    /// Imports grants whose tokens were obtained just now.
    pub(crate) fn import(&self, client: &str, grants: usize, expires_in: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a clock that is set").as_secs();
        let mut lines = String::new();
        for i in 0..grants {
            writeln!(
                lines,
                "{{\"name\":\"{client}-{i}\",\"client\":\"{client}\",\"obtained_at\":{now},\"response\":{{\
                 \"access_token\":\"{client}-at-{i:0>200}\",\"token_type\":\"Bearer\",\"expires_in\":{expires_in},\
                 \"refresh_token\":\"{client}-rt-{i:0>100}\"}}}}"
            )
            .expect("a string takes everything");
        }
        let mut command = self.command(&["import", "--ndjson"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(lines.as_bytes()).expect("a reader");
        drop(stdin);
        assert!(child.wait().expect("our own child").success());
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn daemon(&self) -> Child {
        self.daemon_by(self.command(&["run"]))
    }

    /// The same under strace, which counts its syncs until it ends: see
    /// [`Place::syncs`]. `None`: there is no strace.
    pub(crate) fn counted_daemon(&self) -> Option<Child> {
        Command::new("strace").arg("--version").output().ok()?;
        let daemon = self.command(&["run"]);
        let mut command = Command::new("strace");
        command
            // -D: the process that is started here becomes the daemon, not strace.
            .args([
                "-D",
                "-f",
                "--seccomp-bpf",
                "-c",
                "-e",
                "trace=fsync,fdatasync",
                "-o",
            ])
            .arg(self.path("syncs"))
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .stdin(Stdio::null());
        Some(self.daemon_by(command))
    }

    /// How many syncs strace has counted, once it has written that down.
    pub(crate) fn syncs(&self) -> f64 {
        let mut total = None;
        wait_for("strace", || {
            let text = fs::read_to_string(self.path("syncs")).unwrap_or_default();
            let line = text.lines().find(|line| line.ends_with(" total"));
            total = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
            total.is_some()
        });
        total.unwrap_or_default()
    }

    fn daemon_by(&self, mut command: Command) -> Child {
        let log = self.path("log");
        let stderr = fs::File::create(&log).expect("a file");
        let mut daemon = Child::spawn(command.stderr(stderr));
        wait_for("the daemon", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            assert!(!daemon.has_ended(), "the daemon ended: {text}");
            text.contains("refreshd is ready")
        });
        daemon
    }

    /// A command of the program.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_refreshd")));
        command
            .env_clear()
            .env("HOME", self.root.path())
            .arg("--config")
            .arg(self.path("refreshd.toml"))
            .args(args)
            .stdin(Stdio::null());
        command
    }
}
