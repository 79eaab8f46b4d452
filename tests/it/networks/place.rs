//! A daemon with one grant, and names that only it knows.

use crate::support::{Daemon, House, text, wait_for};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

/// A house with grant `one`, whose daemon reads its own `/etc/hosts`.
pub(super) struct Place {
    pub(super) house: House,
    token_url: String,
}

impl Place {
    /// `client` is more of `[clients.pretend]`.
    pub(super) fn new(token_url: &str, client: &str) -> Self {
        let place = Place {
            house: House::new(""),
            token_url: token_url.to_owned(),
        };
        place.house.write("hosts", "");
        place.client("");
        let response = r#"{"access_token":"at-1","token_type":"Bearer","expires_in":3600,"refresh_token":"rt-1"}"#;
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs().to_string();
        let args = ["import", "one", "--obtained-at", &now];
        let imported = place.house.run_with(&args, response);
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        place.client(client);
        place
    }

    /// Writes the configuration anew.
    pub(super) fn client(&self, client: &str) {
        let url = &self.token_url;
        self.house.write(
            "providers.d/pretend.toml",
            &format!(
                "name = \"pretend\"\n[token]\nurl = \"{url}\"\n[token.client]\nauth = \"basic\"\n"
            ),
        );
        self.house.configure(&format!(
            "[clients.pretend]\nprovider = \"pretend\"\nclient_id = \"pretend\"\nclient_secret = {{ file = \"ROOT/secret\" }}\n{client}\n[grants.one]\nclient = \"pretend\"\n"
        ));
    }

    /// Writes it anew and has the daemon take it over.
    pub(super) fn reload(&self, client: &str) {
        self.client(client);
        let reloaded = self.house.run(&["reload"]);
        assert!(reloaded.status.success(), "{}", text(&reloaded.stderr));
    }

    /// Which addresses names have for the daemon, from now on.
    pub(super) fn hosts(&self, hosts: &str) {
        // In place: what is mounted over /etc/hosts is this very file.
        std::fs::write(
            self.house.path("hosts"),
            format!("127.0.0.1 localhost\n{hosts}\n"),
        )
        .unwrap();
    }

    /// The daemon, in a mount namespace with the hosts file.
    pub(super) fn daemon_with_hosts(&self) -> Daemon {
        let mut probe = Command::new("unshare");
        let able = probe
            .args(["--mount", "--map-root-user", "true"])
            .output()
            .unwrap();
        assert!(
            able.status.success(),
            "this test needs user namespaces (sysctl kernel.unprivileged_userns_clone=1): {}",
            text(&able.stderr)
        );
        self.house
            .daemon_by(self.with_hosts(self.house.command(&["run"])))
    }

    /// A command, in a mount namespace with the hosts file.
    pub(super) fn with_hosts(&self, run: Command) -> Command {
        let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--map-root-user"]);
        let hosts = self.house.path("hosts");
        unshare
            .args(["sh", "-c", script, "sh"])
            .arg(hosts)
            .arg(run.get_program())
            .args(run.get_args())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        for (name, value) in run.get_envs() {
            unshare.env(name, value.unwrap());
        }
        unshare.stdin(Stdio::null());
        unshare
    }

    /// A refresh that must come through.
    pub(super) fn refreshes(&self) {
        let before = self.generation();
        let refreshed = self.house.run(&["refresh", "one", "--force"]);
        assert!(refreshed.status.success(), "{}", text(&refreshed.stderr));
        // A retry of its own may have come as well.
        assert!(self.generation() > before);
    }

    /// A refresh that must not have been sent. What the history says of it.
    pub(super) fn sends_nothing(&self) -> String {
        let before = self.generation();
        let refreshed = self.house.run(&["refresh", "one", "--force"]);
        assert_eq!(
            refreshed.status.code(),
            Some(69),
            "{}",
            text(&refreshed.stderr)
        );
        let mut status = self.house.status("one");
        wait_for("the outcome", || {
            status = self.house.status("one");
            status["last_outcome"]["kind"] == "not-sent"
        });
        assert_eq!(status["generation"], before, "{status}");
        assert_eq!(status["state"], "retrying", "{status}");
        let told = status["last_outcome"]["text"].as_str().unwrap().to_owned();
        assert!(
            text(&refreshed.stderr).contains(&told),
            "{} does not say {told}",
            text(&refreshed.stderr)
        );
        told
    }

    fn generation(&self) -> u64 {
        self.house.status("one")["generation"].as_u64().unwrap()
    }
}
