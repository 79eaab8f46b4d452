//! A daemon with many grants of one way of rotating, each with a client of its
//! own: refusals of several would else be taken for a broken provider.

use super::path::{Point, points};
use super::strace::{Role, Tracer, threads};
use crate::kill::kinds::Kind;
use crate::resource::published;
use crate::support::{Daemon, House, PATIENCE, text, wait_for};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use sandbox::Presentation;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A stamp is written at most every second, and one that failed a second later.
const STAMPED_WITHIN: Duration = Duration::from_millis(2300);

/// See the module.
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) house: House,
    pub(super) daemon: Option<Daemon>,
    /// What the server calls each grant's family.
    families: BTreeMap<String, String>,
}

impl Place {
    /// A running daemon whose grants have had their first refresh.
    pub(super) fn new(mut kind: Kind, grants: usize) -> Self {
        kind.grants = (0..grants).map(|n| format!("{}-{n}", kind.name)).collect();
        let house = House::new(&configuration(&kind));
        house.secret("pretend-secret", "pretend-secret");
        kind.describe(&house);
        let mut place = Place {
            kind,
            house,
            daemon: None,
            families: BTreeMap::new(),
        };
        place.start();
        // Refreshed at once, since nobody knows how old they are.
        for grant in &place.kind.grants {
            let family = place.kind.authorize(&place.house, grant);
            place.families.insert(grant.clone(), family);
        }
        for grant in &place.kind.grants {
            wait_for("the first refreshes", || place.generation(grant) == 2);
        }
        place
    }

    /// Starts the daemon, with one worker, so that its calls come in order.
    pub(super) fn start(&mut self) {
        let mut command = self.house.command(&["run"]);
        command
            .env("TOKIO_WORKER_THREADS", "1")
            .env("REFRESHD_LOG", "info");
        self.daemon = Some(self.house.daemon_by(command));
    }

    pub(super) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon runs").pid()
    }

    /// Runs each command that opens the state while no daemon runs; what is wrong with one.
    pub(super) fn at_rest(&self, grant: &str) -> Vec<String> {
        let copy = self.house.path("copy.db").display().to_string();
        let commands: [&[&str]; 13] = [
            &["status"],
            &["status", grant, "--json"],
            &["get", grant],
            &["doctor"],
            &["verify", grant],
            &["answers"],
            &["authorize", "--list"],
            &["refresh", grant],
            &["key", "status"],
            &["backup", "--force", &copy],
            &["import", "--ndjson"],
            &["key", "rotate"],
            &["status", grant],
        ];
        let presented = self.presentations(grant).len();
        let mut wrong = Vec::new();
        for args in commands {
            let ran = self.house.run_with(args, "");
            // Neither a signal, nor a panic, nor an error of its own.
            let ended = ran
                .status
                .code()
                .is_some_and(|code| ![70, 101].contains(&code));
            if !ended || self.presentations(grant).len() != presented {
                wrong.push(format!("{args:?} at rest: {ran:?}"));
            }
        }
        wrong
    }

    /// Waits until nothing is left to be done for a grant.
    pub(super) fn quiet(&self, grant: &str) {
        self.quiet_at(grant, self.generation(grant));
    }

    /// The same, by the files alone: the daemon is asked nothing.
    fn quiet_at(&self, grant: &str, generation: u64) {
        let begun = Instant::now();
        while !self.is_quiet_at(grant, generation) {
            let file = published(&self.house.path(&format!("tokens/{grant}.json")));
            assert!(
                begun.elapsed() < PATIENCE / 3,
                "generation {generation} does not settle: file {:?}, row {:?}, {:#}",
                file.map(|file| file.0),
                self.row(grant).map(|row| row.0),
                self.house.status(grant)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether file, row and stamp have followed a refresh. The stamp comes within
    /// a second of a commit, and stays as it is where a start committed nothing.
    pub(super) fn is_quiet_at(&self, grant: &str, generation: u64) -> bool {
        let changed = |name: &str| fs::metadata(self.house.path(name)).and_then(|m| m.modified());
        let stamped = match (changed("state/stamp"), changed("state/refreshd.db-wal")) {
            (Ok(stamp), Ok(wal)) => {
                stamp >= wal || wal.elapsed().is_ok_and(|age| age > STAMPED_WITHIN)
            }
            // There is none yet, or it is just being made.
            _ => false,
        };
        stamped && self.shows(grant, generation)
    }

    /// Attaches to the threads of a role; `None` when it has none at the moment.
    pub(super) fn attach(&self, role: Role, args: &[String]) -> Option<Tracer> {
        let of_role = threads(self.pid()).into_iter().filter(|t| t.1 == role);
        let ids: Vec<u32> = of_role.map(|t| t.0).collect();
        if ids.is_empty() {
            return None;
        }
        Tracer::attach(&ids, &self.house.path("trace"), args)
    }

    /// Wishes for a refresh.
    pub(super) fn wish(&self, grant: &str) -> Child {
        self.house
            .command(&["refresh", grant, "--force"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The calls that each refresh has, in the order of threads.
    pub(super) fn record(&self, grant: &str) -> Vec<Point> {
        let mut found = self.record_one(grant);
        for _ in 0..2 {
            let again = self.record_one(grant);
            found.retain(|point| again.contains(point));
        }
        found
    }

    fn record_one(&self, grant: &str) -> Vec<Point> {
        self.quiet(grant);
        let before = self.generation(grant);
        let threads = threads(self.pid());
        let ids: Vec<u32> = threads.iter().map(|t| t.0).collect();
        let out = self.house.path("recorded");
        let tracer =
            Tracer::attach(&ids, &out, &["--output-separately".to_owned()]).expect("all live");
        assert!(self.wish(grant).wait().unwrap().success());
        self.quiet_at(grant, before + 1);
        tracer.detach();
        let mut found = Vec::new();
        for (id, role) in threads {
            let trace = fs::read_to_string(format!("{}.{id}", out.display())).unwrap_or_default();
            found.extend(points(role, &trace, self.house.root()));
        }
        found.sort();
        found.dedup();
        found
    }

    pub(super) fn generation(&self, grant: &str) -> u64 {
        self.house.status(grant)["generation"].as_u64().unwrap()
    }

    /// The reports of all grants.
    pub(super) fn reports(&self) -> Vec<Value> {
        let status = self.house.json(&["status", "--json"]);
        status["grants"].as_array().unwrap().clone()
    }

    /// Whether file and row show a generation, the same token in both.
    pub(super) fn shows(&self, grant: &str, generation: u64) -> bool {
        let file = published(&self.house.path(&format!("tokens/{grant}.json")));
        file.as_ref().is_some_and(|file| file.0 == generation) && file == self.row(grant)
    }

    fn row(&self, grant: &str) -> Option<(u64, String)> {
        let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let read = || {
            let conn = Connection::open_with_flags(self.house.path("tokens/all.db"), read_only)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let sql = "SELECT generation, access_token FROM tokens WHERE name = ?1";
            conn.query_row(sql, [grant], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
            })
        };
        read().ok()
    }

    /// What `get` hands out.
    pub(super) fn token(&self, grant: &str) -> Option<String> {
        let got = self.house.run(&["get", grant]);
        got.status
            .success()
            .then(|| text(&got.stdout).trim().to_owned())
    }

    /// What the server saw of a grant, oldest first.
    pub(super) fn presentations(&self, grant: &str) -> Vec<Presentation> {
        let family = Some(&*self.families[grant]);
        let entries = self.kind.server.presentations().into_iter();
        entries.filter(|e| e.grant.as_deref() == family).collect()
    }

    pub(super) fn state(&self) -> PathBuf {
        self.house.path("state")
    }

    /// What was logged after that many bytes.
    pub(super) fn log_since(&self, bytes: usize) -> String {
        self.log()[bytes..].to_owned()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.house.path("log")).unwrap()
    }
}

fn configuration(kind: &Kind) -> String {
    // So late that nothing is refreshed unasked while faults are injected.
    let mut config =
        String::from("[[databases]]\npath = \"ROOT/tokens/all.db\"\ngrants = [\"*\"]\n");
    for grant in &kind.grants {
        config.push_str(&format!(
            r#"
            [clients.{grant}]
            provider = "{}"
            client_id = "pretend"
            client_secret = {{ file = "ROOT/pretend-secret" }}
            schedule = {{ lead = "3s" }}
            [[clients.{grant}.outputs]]
            path = "ROOT/tokens/{{grant}}.json"
            format = "json"
            [grants.{grant}]
            client = "{grant}"
            "#,
            kind.name
        ));
    }
    config
}
