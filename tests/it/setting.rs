//! A house beside a pretend provider, with everything that is printed kept:
//! when the test ends, no secret may stand in any of it.

use crate::support::{Daemon, House, fed, text};
use base64::Engine as _;
use sandbox::Options;
use sandbox::server::Server;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

/// The client secret of every house here.
pub(crate) const CLIENT_SECRET: &str = "planted-client-secret-6b1f";

/// Grant `one` of client `pretend`, published as a file.
pub(crate) const ONE: &str = r#"
[clients.pretend]
provider = "pretend"
client_id = "pretend"
client_secret = { file = "ROOT/secrets/pretend" }
[grants.one]
client = "pretend"
[[grants.one.outputs]]
path = "ROOT/tokens/one"
"#;

/// See the module.
pub(crate) struct Setting {
    pub(crate) house: House,
    pub(crate) server: Server,
    printed: Mutex<Vec<(String, String)>>,
    secrets: Mutex<Vec<String>>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Asserts the exit code and that each text stands on standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, needles: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for needle in needles {
            assert!(
                self.err.contains(needle),
                "{needle:?} is not in {}",
                self.err
            );
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

impl Setting {
    /// The usual: grant `one`, at a server of the hardest common kind.
    pub(crate) async fn one() -> Self {
        Self::new(Options::default(), ONE).await
    }

    /// A house with this configuration beside a server.
    pub(crate) async fn new(options: Options, config: &str) -> Self {
        let options = Options {
            client_secret: Some(CLIENT_SECRET.to_owned()),
            ..options
        };
        let server = Server::start(options).await.unwrap();
        let house = House::new(config);
        house.secret("secrets/pretend", CLIENT_SECRET);
        let basic =
            base64::engine::general_purpose::STANDARD.encode(format!("pretend:{CLIENT_SECRET}"));
        let setting = Setting {
            house,
            server,
            printed: Mutex::default(),
            secrets: Mutex::new(vec![CLIENT_SECRET.to_owned(), basic]),
        };
        setting.provider(&setting.server.token_url());
        setting
    }

    /// Writes the provider's file with this token URL.
    pub(crate) fn provider(&self, token_url: &str) {
        self.house.write(
            "providers.d/pretend.toml",
            &format!(
                "name = \"pretend\"\n[token]\nurl = \"{token_url}\"\n[rotation]\nrotates = \"always\"\n"
            ),
        );
    }

    /// Text that must not be printed.
    pub(crate) fn plant(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// A token response of the server's, whose tokens must not be printed.
    pub(crate) fn response(&self, name: &str) -> Value {
        let response = self.server.make_grant(name);
        self.plant(response["access_token"].as_str().unwrap());
        self.plant(response["refresh_token"].as_str().unwrap());
        response
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.ran(args, self.house.run(args))
    }

    /// Runs a command with standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Ran {
        self.ran(args, self.house.run_with(args, input))
    }

    /// Runs a prepared command.
    pub(crate) fn run_command(&self, mut command: Command) -> Ran {
        let output = command.output().unwrap();
        self.ran(&["prepared"], output)
    }

    /// Runs a prepared command with standard input.
    pub(crate) fn run_command_with(&self, command: Command, input: &str) -> Ran {
        self.ran(&["prepared"], fed(command, input))
    }

    fn ran(&self, args: &[&str], output: Output) -> Ran {
        let ran = Ran {
            code: output.status.code().expect("no signal"),
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        let mut printed = self.printed.lock().unwrap();
        printed.push((format!("standard error of {args:?}"), ran.err.clone()));
        if args.first() == Some(&"get") {
            // What it is for; from now on a secret elsewhere.
            self.plant_token(&ran);
        } else {
            printed.push((format!("standard output of {args:?}"), ran.out.clone()));
        }
        ran
    }

    fn plant_token(&self, ran: &Ran) {
        let json = serde_json::from_str::<Value>(&ran.out).ok();
        let token = json.as_ref().and_then(|j| j["access_token"].as_str());
        let token = token.unwrap_or(ran.out.trim());
        if !token.is_empty() {
            self.plant(token);
        }
    }

    /// Starts a command and does not wait for it.
    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.house.command(args);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits for what was begun.
    pub(crate) fn end(&self, args: &[&str], child: Child) -> Ran {
        self.ran(args, child.wait_with_output().unwrap())
    }

    /// A command of the binary under a uid that owns nothing but the client
    /// secret; the house is opened to it. Only root can do this.
    pub(crate) fn as_nobody(&self, args: &[&str]) -> Command {
        let house = &self.house;
        let open = |path, mode| {
            fs::set_permissions(house.path(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        open("", 0o755);
        for file in ["secrets", "secrets/pretend"] {
            chown(house.path(file), Some(65534), Some(65534)).unwrap();
        }
        let binary = house.path("refreshd");
        if !binary.exists() {
            fs::copy(env!("CARGO_BIN_EXE_refreshd"), &binary).unwrap();
            open("refreshd", 0o755);
        }
        let mut command = Command::new("setpriv");
        command
            .env_clear()
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(binary)
            .arg("--config")
            .arg(house.config())
            .args(args);
        command
    }

    /// Runs a command of the binary as that uid.
    pub(crate) fn run_as_nobody(&self, args: &[&str]) -> Ran {
        self.ran(args, self.as_nobody(args).output().unwrap())
    }

    /// Starts the daemon as another user, to whom the house then belongs. Only
    /// root can do this.
    pub(crate) fn daemon_as(&self, uid: u32) -> Daemon {
        let house = &self.house;
        let binary = house.path("refreshd");
        if !binary.exists() {
            fs::copy(env!("CARGO_BIN_EXE_refreshd"), &binary).unwrap();
            fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
            let chown = ["-R", &format!("{uid}:{uid}")];
            let status = Command::new("chown")
                .args(chown)
                .arg(house.path(""))
                .status();
            assert!(status.unwrap().success());
        }
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
        // In the place of the binary that others may not be able to reach.
        let instead = format!("shift; exec {} \"$@\"", binary.display());
        house.daemon_under(&[
            "setpriv",
            &ids[0],
            &ids[1],
            "--clear-groups",
            "/bin/sh",
            "-c",
            &instead,
            "sh",
        ])
    }

    /// Imports a fresh token set that is not due for long.
    pub(crate) fn import(&self, name: &str) -> Value {
        let response = self.response(name);
        let ran = self.run_with(
            &["import", name, "--obtained-at", &epoch().to_string()],
            &response.to_string(),
        );
        ran.succeeds();
        response
    }

    /// The access token that `get` prints.
    pub(crate) fn token(&self, name: &str) -> String {
        self.run(&["get", name]).succeeds().out.trim().to_owned()
    }

    /// A running daemon with an imported grant `one`.
    pub(crate) fn daemon_with_one(&self) -> (Daemon, Value) {
        let daemon = self.house.daemon();
        let response = self.import("one");
        (daemon, response)
    }

    /// Every file of the state directory with its bytes; not the lock, nor
    /// what SQLite leaves behind empty.
    pub(crate) fn state_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.house.path("state")).unwrap() {
            let path = entry.unwrap().path();
            // ext4's lost+found.
            if path.is_dir() {
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            if path.file_name().unwrap() != "lock" && !bytes.is_empty() {
                files.insert(path, bytes);
            }
        }
        files
    }

    /// Asserts that the state is as it was.
    #[track_caller]
    pub(crate) fn untouched_since(&self, before: &BTreeMap<PathBuf, Vec<u8>>) {
        let after = self.state_files();
        let names: Vec<_> = after.keys().collect();
        assert_eq!(names, before.keys().collect::<Vec<_>>());
        for (path, bytes) in &after {
            assert!(before[path] == *bytes, "{} was touched", path.display());
        }
    }

    /// Kept for the end: what something else has printed.
    pub(crate) fn keep(&self, what: &str, printed: &str) {
        let kept = (what.to_owned(), printed.to_owned());
        self.printed.lock().unwrap().push(kept);
    }
}

/// No secret in anything that was printed or logged, nor open in the state.
impl Drop for Setting {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let log = fs::read_to_string(self.house.path("log")).unwrap_or_default();
        self.keep("the log", &log);
        if self.house.path("state").is_dir() {
            for (path, bytes) in self.state_files() {
                self.keep(&path.display().to_string(), &text(&bytes));
            }
        }
        let secrets = self.secrets.lock().unwrap();
        for (place, printed) in self.printed.lock().unwrap().iter() {
            for secret in secrets.iter() {
                assert!(!printed.contains(secret), "{place} holds a secret");
            }
        }
    }
}

/// Seconds since 1970.
pub(crate) fn epoch() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
