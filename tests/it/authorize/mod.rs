//! `refreshd authorize`: the real command and daemon, and somebody at a browser. There
//! is no account at any of the documented providers to test with, so pretend servers
//! stand in; real ones are in `real_servers`.

mod at_rest;
mod callbacks;
mod devices;
mod documented;
mod interrupted;
mod kept;
mod pasted;
mod secrecy;
mod twists;
mod waits;

use crate::support::{Daemon, House, PATIENCE, text, wait_for};
use sandbox::server::Server;
use sandbox::{Auto, Flow, Kind, Options};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use url::Url;

/// What the client's overrides fill in.
const GENERIC: &str = "name = \"generic\"\n[authorize]\nurl = \"https://generic.example/authorize\"\n\
    [token]\nurl = \"https://generic.example/token\"\n";

/// A daemon with the grant `one`, which nobody has authorized, beside a provider.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) house: House,
    pub(crate) http: reqwest::Client,
}

impl Scene {
    /// `more` goes below `[clients.c]`, `overrides` below its `override`.
    pub(crate) async fn new(kind: Kind, more: &str, overrides: &str) -> Scene {
        let server = Server::start(Options::of(kind)).await.unwrap();
        let house = House::new(&config(&server, more, overrides));
        house.secret("pretend-secret", "pretend-secret");
        house.write("providers.d/generic.toml", GENERIC);
        Scene {
            server,
            house,
            http: sandbox::http::client(),
        }
    }

    /// The generic provider with a redirect URI of the command's own choice.
    pub(crate) async fn generic() -> Scene {
        Scene::new(Kind::Generic, "", "").await
    }

    /// Has tokens asked for at this endpoint, and not at the provider's own.
    pub(crate) fn token_endpoint(&self, url: &str, overrides: &str) {
        let whole = config(&self.server, "", overrides);
        let own = format!("token.url = \"{}\"", self.server.token_url());
        assert!(whole.contains(&own), "{whole}");
        let other = format!("token.url = \"{url}\"");
        self.house.configure(&whole.replace(&own, &other));
    }

    /// Who comes approves at once, as this account.
    pub(crate) fn approves_as(&self, account: &str) {
        let mut enrollment = self.server.enrollment();
        enrollment.auto = Auto::Allow;
        enrollment.account = account.to_owned();
        self.server.set_enrollment(enrollment);
    }

    /// Starts `refreshd authorize one` and waits for the address that it prints.
    pub(crate) fn begin(&self, args: &[&str]) -> Authorizing {
        self.begin_of("one", args)
    }

    /// The same of another grant.
    pub(crate) fn begin_of(&self, grant: &str, args: &[&str]) -> Authorizing {
        let mut all = vec!["authorize", grant, "--no-browser"];
        all.extend(args);
        Authorizing::start(&self.house, &all)
    }

    /// Authorizes `one` from begin to end; what the command said.
    pub(crate) async fn authorize(&self) -> Ended {
        let begun = self.begin(&[]);
        let back = self.visit(&begun.url).await;
        let page = self.http.get(back).send().await.unwrap();
        assert_eq!(page.status(), 200, "{}", page.text().await.unwrap());
        begun.end()
    }

    /// Goes to the provider; where it sends the browser.
    pub(crate) async fn visit(&self, url: &Url) -> Url {
        let answer = self.http.get(url.clone()).send().await.unwrap();
        let status = answer.status().as_u16();
        let location = answer.headers().get("location").cloned();
        let Some(location) = location else {
            panic!("{status}: {}", answer.text().await.unwrap());
        };
        Url::parse(location.to_str().unwrap()).unwrap()
    }

    /// Tells the daemon something over its socket; the answer.
    pub(crate) fn tell(&self, path: &str, body: &Value) -> String {
        let socket = self.house.path("run/control.sock");
        let output = Command::new("curl")
            .args([
                "-sS",
                "-H",
                "content-type: application/json",
                "--unix-socket",
            ])
            .arg(socket)
            .args([
                "-d",
                &body.to_string(),
                &format!("http://refreshd/v1/{path}"),
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The token file.
    pub(crate) fn token(&self) -> Option<String> {
        fs::read_to_string(self.house.path("tokens/one")).ok()
    }

    /// The authorizations, the latest first.
    pub(crate) fn list(&self) -> Vec<Value> {
        let list = self.house.json(&["authorize", "--list", "--json"]);
        list.as_array().unwrap().clone()
    }

    /// How many codes have been exchanged.
    pub(crate) fn exchanged(&self) -> usize {
        let presented = self.server.presentations();
        let codes = presented
            .iter()
            .filter(|p| p.flow == Some(Flow::AuthorizationCode));
        codes.count()
    }
}

/// Configuration of client `c` and grant `one`.
pub(crate) fn config(server: &Server, more: &str, overrides: &str) -> String {
    let kind = server.options().kind.name();
    let more_overrides = server.override_toml();
    format!(
        "[clients.c]\nprovider = \"{kind}\"\nclient_id = \"pretend\"\n\
         client_secret = {{ file = \"ROOT/pretend-secret\" }}\n{more}\n\
         [clients.c.override]\n{more_overrides}\n{overrides}\n\
         [grants.one]\nclient = \"c\"\n[[grants.one.outputs]]\npath = \"ROOT/tokens/one\"\n"
    )
}

/// A command that waits for somebody's approval.
pub(crate) struct Authorizing {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    said: String,
    /// Where the person is sent.
    pub(crate) url: Url,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Authorizing {
    /// Starts a command and waits for the address that it prints.
    pub(crate) fn start(house: &House, args: &[&str]) -> Self {
        let mut command = house.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let url = loop {
            let mut line = String::new();
            if out.read_line(&mut line).unwrap() == 0 {
                let output = child.wait_with_output().unwrap();
                panic!(
                    "no address: {said}{}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            said.push_str(&line);
            if let Some(url) = address(line.trim()) {
                break url;
            }
        };
        Authorizing {
            child,
            out,
            said,
            url,
        }
    }

    /// A parameter of the address.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let mut pairs = self.url.query_pairs().filter(|(key, _)| key == name);
        pairs.next().map(|(_, value)| value.into_owned())
    }

    /// The callback with these parameters.
    pub(crate) fn callback(&self, params: &[(&str, &str)]) -> Url {
        Url::parse_with_params(&self.param("redirect_uri").unwrap(), params).unwrap()
    }

    /// Pastes a line.
    pub(crate) fn paste(&mut self, line: &str) {
        let mut stdin = self.child.stdin.take().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Whether it waits still.
    pub(crate) fn waits(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let begun = Instant::now();
        while self.waits() {
            assert!(begun.elapsed() < PATIENCE, "it did not end: {}", self.said);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let mut out = self.said.clone();
        std::io::Read::read_to_string(&mut self.out, &mut out).unwrap();
        let mut err = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        std::io::Read::read_to_string(stderr, &mut err).unwrap();
        let code = self.child.wait().unwrap().code().expect("no signal");
        Ended { code, out, err }
    }
}

/// The address in a line: alone, or a device's with its code filled in.
fn address(line: &str) -> Option<Url> {
    let filled_in = line.strip_prefix("Or open ");
    let url = filled_in.map_or(Some(line), |rest| rest.split(',').next());
    url.and_then(|url| Url::parse(url).ok())
}

impl Drop for Authorizing {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The page at an address.
pub(crate) async fn page(http: &reqwest::Client, at: Url) -> String {
    let page = http.get(at).send().await.unwrap();
    page.text().await.unwrap()
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Waits until the token file holds another token than before.
pub(crate) fn wait_for_token(scene: &Scene, before: Option<&str>) -> String {
    wait_for("the token file", || {
        scene
            .token()
            .is_some_and(|token| Some(token.as_str()) != before)
    });
    scene.token().unwrap()
}

/// Kills a daemon and starts the next.
pub(crate) fn killed_and_restarted(scene: &Scene, daemon: Daemon) -> Daemon {
    daemon.kill();
    scene.house.daemon()
}
