//! SIGKILL at any moment: nothing is lost that can be kept, nothing is
//! presented that must not be, and readers never notice.
//!
//! `REFRESHD_TEST_KILLS` makes a longer campaign, `REFRESHD_TEST_SEED` repeats one.

pub(crate) mod judge;
pub(crate) mod kinds;
mod reader;

use crate::incidents::of_grant;
use crate::resource::{Asker, published};
use crate::support::{Daemon, House, PATIENCE, text, wait_for};
use judge::{judge_loss, judge_presentations};
use kinds::Kind;
use sandbox::{OldValid, Reuse};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Marsaglia's xorshift: the same moments for the same seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("REFRESHD_TEST_SEED").ok();
        let seed = given.map_or_else(
            || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
            |seed| seed.parse().unwrap(),
        );
        println!("REFRESHD_TEST_SEED={seed}");
        Chance(seed.max(1))
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    pub(crate) fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }
}

fn kinds(handle: &tokio::runtime::Handle) -> Vec<Kind> {
    let window = OldValid::For(Duration::from_secs(40));
    let at_once = OldValid::default();
    vec![
        Kind::start(handle, "forever", OldValid::Forever, Reuse::Revokes, 4),
        Kind::start(handle, "until-used", OldValid::UntilUsed, Reuse::Revokes, 4),
        Kind::start(handle, "window", window, Reuse::Revokes, 4),
        Kind::start(handle, "error", at_once, Reuse::Error, 4),
        Kind::start(handle, "revokes", at_once, Reuse::Revokes, 6),
    ]
}

fn house_of(kinds: &[Kind]) -> House {
    let config: String = kinds.iter().map(Kind::configuration).collect();
    let house = House::new(&config);
    house.secret("pretend-secret", "pretend-secret");
    kinds.iter().for_each(|kind| kind.describe(&house));
    house
}

#[test]
fn kills_cost_nothing_that_could_be_kept() {
    let kills = std::env::var("REFRESHD_TEST_KILLS").map_or(50, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kinds = kinds(runtime.handle());
    let house = house_of(&kinds);
    let grants: Vec<String> = kinds.iter().flat_map(|k| k.grants.clone()).collect();
    let done = AtomicBool::new(false);
    let mut campaign = Campaign::new(&house, &kinds);
    let rounds = thread::scope(|scope| {
        let _ends = EndsWhenDropped(&done);
        let reading = scope.spawn(|| reader::read_on(&house.path("tokens"), &grants, &done));
        for seed in 1..3 {
            let (house, grants, done) = (&house, &grants, &done);
            scope.spawn(move || wish_on(house, grants, Chance(seed), done));
        }
        scope.spawn(|| use_on(&house, &kinds, &done));
        campaign.run(kills);
        done.store(true, Ordering::Relaxed);
        reading.join().unwrap()
    });
    campaign.end();
    println!("figure kills {}", campaign.kills.len());
    println!("figure kills_in_flight {}", campaign.in_flight);
    println!("figure answers_adopted {}", campaign.adopted);
    println!("figure grants_lost {}", campaign.lost);
    println!("figure reader_rounds {rounds}");
    assert!(campaign.in_flight > 0, "no kill came during a flight");
}

struct EndsWhenDropped<'a>(&'a AtomicBool);

impl Drop for EndsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Wishes for refreshes all the time, so that hardly a kill finds nothing under way.
fn wish_on(house: &House, grants: &[String], mut chance: Chance, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let grant = &grants[chance.below(grants.len())];
        // It fails while the daemon is dead, and where a refresh would be wrong.
        let _whatever = house.run(&["refresh", grant, "--force"]);
    }
}

/// Uses what is published: an `until-used` server takes note.
fn use_on(house: &House, kinds: &[Kind], done: &AtomicBool) {
    let asker = Asker::new();
    while !done.load(Ordering::Relaxed) {
        for kind in kinds {
            for grant in &kind.grants {
                if let Some((_, token)) = published(&house.path(&format!("tokens/{grant}.json"))) {
                    asker.status(&kind.server.resource_url(), &token);
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// A run of kills, and what it showed.
struct Campaign<'a> {
    house: &'a House,
    kinds: &'a [Kind],
    chance: Chance,
    /// What its server calls each grant's family.
    families: BTreeMap<String, String>,
    kills: Vec<Instant>,
    in_flight: usize,
    adopted: usize,
    lost: usize,
}

impl<'a> Campaign<'a> {
    fn new(house: &'a House, kinds: &'a [Kind]) -> Self {
        let mut families = BTreeMap::new();
        for kind in kinds {
            kind.slow_down();
            for grant in &kind.grants {
                families.insert(grant.clone(), kind.authorize(house, grant));
            }
        }
        Campaign {
            house,
            kinds,
            chance: Chance::seeded(),
            families,
            kills: Vec::new(),
            in_flight: 0,
            adopted: 0,
            lost: 0,
        }
    }

    fn run(&mut self, kills: usize) {
        while self.kills.len() < kills {
            // One in five does not live to be ready.
            if self.chance.below(5) == 0 {
                let daemon = self.house.launch();
                let after = self.chance.millis(0, 250);
                self.kill(daemon, after);
                continue;
            }
            let daemon = self.house.daemon();
            self.mourn();
            let after = self.chance.millis(0, 900);
            self.kill(daemon, after);
        }
    }

    fn kill(&mut self, daemon: Daemon, after: Duration) {
        thread::sleep(after);
        self.kills.push(Instant::now());
        daemon.kill();
        self.count_recoveries();
    }

    /// What the life that has just ended found; its log goes.
    fn count_recoveries(&mut self) {
        let log = self.house.path("log");
        let life = std::fs::read_to_string(&log).unwrap();
        let adopted = life
            .matches("from before the last stop was adopted")
            .count();
        let doubts = life.matches("in doubt: refreshd stopped before").count();
        self.adopted += adopted;
        self.in_flight += usize::from(adopted + doubts > 0);
        std::fs::remove_file(log).unwrap();
    }

    /// Notes which grants are lost, and that each was lost rightly and says so;
    /// authorizes them anew.
    fn mourn(&mut self) {
        let status = self.house.json(&["status", "--json"]);
        for report in status["grants"].as_array().unwrap() {
            if report["state"] == "refused" {
                self.mourn_one(report);
            }
        }
    }

    fn mourn_one(&mut self, report: &Value) {
        assert_says_why(report);
        self.assert_named(report);
        let name = report["grant"].as_str().unwrap();
        let kinds = self.kinds;
        let kind = kinds
            .iter()
            .find(|kind| kind.grants.iter().any(|grant| grant == name))
            .unwrap();
        judge_loss(kind, &self.families[name], &self.kills);
        self.lost += 1;
        let family = kind.authorize(self.house, name);
        self.families.insert(name.to_owned(), family);
    }

    /// A loss is an incident, and so was the doubt before it.
    fn assert_named(&self, report: &Value) {
        let name = report["grant"].as_str().unwrap();
        let incidents = of_grant(self.house, name);
        for kind in ["in-doubt", "refused"] {
            let named = incidents.iter().any(|i| i["kind"] == kind);
            assert!(named, "no {kind} of {name}: {incidents:#?}");
        }
    }

    /// Lets everything settle, and looks at what is left.
    fn end(&mut self) {
        for kind in self.kinds {
            kind.server.clear_faults();
        }
        let daemon = self.house.daemon();
        self.mourn();
        let asker = Asker::new();
        for kind in self.kinds {
            for grant in &kind.grants {
                self.settles(kind, grant, &asker);
            }
            judge_presentations(kind);
        }
        assert_eq!(daemon.stop(), Some(0));
        self.count_recoveries();
    }

    /// A grant gets a new token that its server takes; or it is lost, rightly,
    /// and says so.
    fn settles(&mut self, kind: &Kind, grant: &str, asker: &Asker) {
        let from = self.house.status(grant)["generation"].as_u64().unwrap();
        let mut report = Value::Null;
        let begun = Instant::now();
        wait_for("each grant to settle", || {
            report = self.house.status(grant);
            assert!(
                begun.elapsed() < PATIENCE / 2,
                "{grant} does not settle: {report:#}"
            );
            report["state"] == "refused"
                || (report["state"] == "fresh" && report["generation"].as_u64() > Some(from))
        });
        if report["state"] == "refused" {
            return self.mourn_one(&report);
        }
        let token = self.house.run(&["get", grant]);
        let status = asker.status(&kind.server.resource_url(), text(&token.stdout).trim());
        assert_eq!(status, 200, "{report}");
    }
}

fn assert_says_why(report: &Value) {
    let said = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty());
    assert!(said(&report["why"]), "{report}");
    assert!(said(&report["last_outcome"]["text"]), "{report}");
}

/// SIGKILL of an import at rest, and of the daemon that is taking one in.
#[test]
fn a_killed_import_is_whole_or_not_there() {
    let mut chance = Chance::seeded();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kind = Kind::start(
        runtime.handle(),
        "forever",
        OldValid::Forever,
        Reuse::Error,
        600,
    );
    let house = house_of(std::slice::from_ref(&kind));
    for round in 0..16 {
        let grant = &kind.grants[round % kind.grants.len()];
        let response = kind
            .server
            .make_grant(&format!("{grant}.{round}"))
            .to_string();
        let after = chance.millis(0, 80);
        let told = if round % 2 == 0 {
            let import = house.run_with_and_kill(&["import", grant], &response, after);
            import.is_some_and(|code| code == 0)
        } else {
            let daemon = house.daemon();
            thread::scope(|scope| {
                let import = scope.spawn(|| house.run_with(&["import", grant], &response));
                thread::sleep(after);
                daemon.kill();
                import.join().unwrap().status.success()
            })
        };
        let again = house.run_with(&["import", grant, "--json"], &response);
        assert!(again.status.success(), "{}", text(&again.stderr));
        let unchanged = text(&again.stdout).contains("unchanged");
        assert!(unchanged || !told, "an import that was confirmed is gone");
    }
    let daemon = house.daemon();
    let asker = Asker::new();
    for grant in &kind.grants {
        wait_for("the first refresh", || {
            house.status(grant)["generation"].as_u64() > Some(1)
        });
        let token = house.run(&["get", grant]);
        let status = asker.status(&kind.server.resource_url(), text(&token.stdout).trim());
        assert_eq!(status, 200);
    }
    judge_presentations(&kind);
    assert_eq!(daemon.stop(), Some(0));
}
