//! Against authorization servers that were written elsewhere:
//! django-oauth-toolkit, Authlib and node-oidc-provider (`tests/servers`).

mod authorize;
mod flow;
mod kills;
mod pages;
pub(crate) mod python;
mod revoking;

use crate::resource::{Asker, published};
use crate::support::{Daemon, House, PATIENCE, text, wait_for};
use python::RealServer;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const FORCED: u64 = 100;
const SCHEDULED: u64 = 20;
const THROUGH_CUTS: u64 = 15;

/// The toolkit voids the old pair at the refresh itself.
const DOT: &str = r#"
[token.client]
auth = "basic"
[rotation]
rotates = "always"
old_valid = "0s"
reuse = "revokes"
revokes_old_access = true
"#;

const AUTHLIB: &str = r#"
[token.client]
auth = "body"
[rotation]
rotates = "always"
old_valid = "0s"
reuse = "revokes"
"#;

/// A server, and a daemon that keeps its grants.
struct Scene {
    server: RealServer,
    house: House,
    daemon: Daemon,
}

impl Scene {
    fn set(script: &str, options: &[&str], provider: &str) -> Self {
        let server = RealServer::start(script, options);
        let grants: String = server
            .seeds()
            .map(|(name, _)| format!("[grants.{name}]\nclient = \"real\"\n"))
            .collect();
        let house = House::new(&format!(
            r#"
            [clients.real]
            provider = "real"
            client_id = "{}"
            client_secret = {{ file = "ROOT/real-secret" }}
            [[clients.real.outputs]]
            path = "ROOT/tokens/{{grant}}.json"
            format = "json"
            {grants}"#,
            server.member("client_id")
        ));
        house.secret("real-secret", server.member("client_secret"));
        let url = server.member("token_url");
        let described = format!("name = \"real\"\n[token]\nurl = \"{url}\"\n{provider}");
        house.write("providers.d/real.toml", &described);
        let daemon = house.daemon();
        let scene = Scene {
            server,
            house,
            daemon,
        };
        scene.import();
        scene
    }

    fn import(&self) {
        let now = SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs()
            .to_string();
        for (name, seed) in self.server.seeds() {
            let args = ["import", name, "--obtained-at", &now];
            let imported = self.house.run_with(&args, &seed.to_string());
            assert!(imported.status.success(), "{}", text(&imported.stderr));
        }
    }

    fn file(&self, grant: &str) -> PathBuf {
        self.house.path(&format!("tokens/{grant}.json"))
    }

    fn resource_url(&self) -> &str {
        self.server.member("resource_url")
    }

    fn generation(&self, grant: &str) -> u64 {
        self.house.status(grant)["generation"].as_u64().unwrap()
    }
}

fn forced_refreshes_in_a_row(script: &str, options: &[&str], provider: &str) {
    let begun = Instant::now();
    let scene = Scene::set(script, options, provider);
    let asker = Asker::new();
    for n in 1..=FORCED {
        let refreshed = scene.house.json(&["refresh", "g0", "--force", "--json"]);
        assert_eq!(
            refreshed["generation"],
            n + 1,
            "each refresh is one generation"
        );
        let mut in_file = None;
        wait_for("the file to follow", || {
            in_file = published(&scene.file("g0")).filter(|(generation, _)| *generation > n);
            in_file.is_some()
        });
        let (generation, token) = in_file.unwrap();
        assert_eq!(generation, n + 1);
        let got = scene.house.run(&["get", "g0"]);
        assert_eq!(text(&got.stdout).trim(), token, "generation {generation}");
        let status = asker.status(scene.resource_url(), &token);
        assert_eq!(status, 200, "the token of generation {generation}");
    }
    let status = scene.house.status("g0");
    assert_eq!(status["state"], "fresh", "{status}");
    println!(
        "{script}: {FORCED} forced refreshes in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(scene.daemon.stop(), Some(0));
}

#[test]
fn a_hundred_forced_refreshes_at_django_oauth_toolkit() {
    let options = ["--reuse-protection", "--grace", "0"];
    forced_refreshes_in_a_row("dot_server.py", &options, DOT);
}

#[test]
fn a_hundred_forced_refreshes_at_authlib() {
    forced_refreshes_in_a_row("authlib_server.py", &["--reuse-revokes"], AUTHLIB);
}

/// The three long ones spend their time waiting, so they do it together.
#[test]
fn schedules_are_kept_and_cut_answers_outlived() {
    thread::scope(|scope| {
        scope.spawn(authlib_on_schedule);
        scope.spawn(dot_on_schedule);
        scope.spawn(dot_through_cuts);
    });
}

fn authlib_on_schedule() {
    let options = ["--reuse-revokes", "--access-lifetime", "4", "--grants", "2"];
    let refused = on_schedule("authlib_server.py", &options, AUTHLIB);
    assert_eq!(
        refused, 0,
        "no consumer is refused while old access tokens live on"
    );
}

fn dot_on_schedule() {
    let options = [
        "--reuse-protection",
        "--access-lifetime",
        "4",
        "--grants",
        "2",
    ];
    let refused = on_schedule("dot_server.py", &options, DOT);
    println!("dot_server.py: {refused} requests were made just before a refresh");
}

/// Lets the schedule work while consumers use what it publishes. Returns how
/// many requests were refused at first; the second one, after reading the file
/// anew, must be taken.
fn on_schedule(script: &str, options: &[&str], provider: &str) -> usize {
    let scene = Scene::set(script, options, provider);
    let grants: Vec<&str> = scene.server.seeds().map(|(name, _)| name).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let consume = |grant| consume(&scene.file(grant), scene.resource_url(), &done);
        let consumers: Vec<_> = grants
            .iter()
            .map(|grant| scope.spawn(move || consume(grant)))
            .collect();
        // Consumers end with this scope also when the schedule is not kept.
        let _ends = EndsWhenDropped(&done);
        for generation in 2..=SCHEDULED + 1 {
            for grant in &grants {
                wait_for("the next refresh", || scene.generation(grant) >= generation);
            }
        }
        done.store(true, Ordering::Relaxed);
        consumers.into_iter().map(|c| c.join().unwrap()).sum()
    })
}

struct EndsWhenDropped<'a>(&'a AtomicBool);

impl Drop for EndsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads the file ten times a second and uses the token.
fn consume(file: &Path, url: &str, done: &AtomicBool) -> usize {
    let asker = Asker::new();
    let mut refused = 0;
    let (mut seen, mut asked) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
        let Some((generation, token)) = published(file) else {
            assert_eq!(seen, 0, "a file that was there is gone");
            continue;
        };
        assert!(generation >= seen, "generation {generation} after {seen}");
        seen = generation;
        asked += 1;
        if asker.status(url, &token) == 200 {
            continue;
        }
        refused += 1;
        let (newer, token) = newer_than(file, generation);
        let status = asker.status(url, &token);
        assert_eq!(
            status, 200,
            "generation {newer}, read after {generation} was refused"
        );
    }
    assert!(asked > 100, "only {asked} requests");
    refused
}

/// The contract for readers where a refresh kills the old access token: what
/// was read before it is refused, and the file follows in a moment.
fn newer_than(file: &Path, generation: u64) -> (u64, String) {
    let begun = Instant::now();
    loop {
        match published(file) {
            Some(found) if found.0 > generation => return found,
            _ if begun.elapsed() > PATIENCE / 10 => {
                panic!("generation {generation} was refused and nothing newer came")
            }
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The toolkit's grace period: the answer that was cut off is had again.
fn dot_through_cuts() {
    let options = [
        "--reuse-protection",
        "--grace",
        "30",
        "--cut",
        "30",
        "--seed",
        "7",
    ];
    let provider = DOT.replace("\"0s\"", "\"30s\"");
    let scene = Scene::set("dot_server.py", &options, &provider);
    let asker = Asker::new();
    let mut lost = 0;
    for generation in 2..=THROUGH_CUTS + 1 {
        let refreshed = scene.house.run(&["refresh", "g0", "--force"]);
        if !refreshed.status.success() {
            lost += 1;
            let status = scene.house.status("g0");
            assert_ne!(status["state"], "refused", "{status}");
        }
        wait_for("the grant to get over a cut answer", || {
            published(&scene.file("g0")).is_some_and(|(at, _)| at >= generation)
        });
        let (_, token) = published(&scene.file("g0")).unwrap();
        assert_eq!(asker.status(scene.resource_url(), &token), 200);
    }
    assert_eq!(scene.house.status("g0")["state"], "fresh");
    let log = scene.daemon.log();
    assert!(
        !log.contains("invalid-grant"),
        "the grant was refused in between"
    );
    assert_eq!(scene.daemon.stop(), Some(0));
    let said = scene.server.stop();
    let cut = said.split("answers cut: ").nth(1).unwrap_or_default();
    let cut: u64 = cut.split(' ').next().unwrap().parse().unwrap_or(0);
    assert!(cut > 0 && lost > 0, "no answer was cut: {said}");
    println!("dot_server.py: {THROUGH_CUTS} refreshes through {cut} cut answers");
}
