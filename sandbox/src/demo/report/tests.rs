use super::super::faults::REVOKED;
use super::super::providers::{Provider, Wanted, start};
use super::super::view::{Reports, views};
use super::*;
use refreshd::report::{GrantReport, Outcome};
use std::os::unix::process::ExitStatusExt as _;

const LIFE: Duration = Duration::from_secs(10);

/// A world in which all is well, for tests to spoil.
struct World {
    providers: Vec<Provider>,
    reports: Reports,
    tallies: BTreeMap<String, Tally>,
    course: Course,
}

async fn world(faults: bool) -> World {
    let wanted = Wanted {
        lifetime: LIFE,
        grants: 1,
        faults,
    };
    let providers = start(wanted).await.unwrap();
    let (mut reports, mut tallies) = (Reports::new(), BTreeMap::new());
    for provider in &providers {
        for grant in &provider.grants {
            let (state, generation) = match (provider.doomed, provider.refreshes()) {
                (true, _) => ("refused", 1),
                (false, true) => ("fresh", 4),
                (false, false) => ("fresh", 1),
            };
            let report = GrantReport {
                state: state.to_owned(),
                generation,
                last_outcome: Some(Outcome {
                    at: String::new(),
                    kind: "success".to_owned(),
                    text: String::new(),
                }),
                ..GrantReport::pending(&grant.name, provider.client, None)
            };
            reports.insert(grant.name.clone(), report);
            let tally = Tally {
                consumer_requests: 10,
                from_database: 5,
                http_200: 10,
                ..Tally::default()
            };
            tallies.insert(grant.name.clone(), tally);
        }
    }
    World {
        providers,
        reports,
        tallies,
        course: Course {
            elapsed: LIFE * 3,
            lifetime: LIFE,
            faults,
            died: false,
            exit: ExitStatus::from_raw(0),
        },
    }
}

impl World {
    fn report(&self) -> Report {
        let views = views(&self.providers, &self.reports, &self.tallies);
        Report::new(self.course, &views)
    }

    fn problems(&self) -> Vec<String> {
        let report = self.report();
        assert_eq!(report.ok, report.problems.is_empty());
        report.problems
    }

    fn tally(&mut self, grant: &str) -> &mut Tally {
        self.tallies.get_mut(grant).unwrap()
    }

    fn state(&mut self, grant: &str, state: &str, generation: u64) {
        let report = self.reports.get_mut(grant).unwrap();
        (report.state, report.generation) = (state.to_owned(), generation);
    }
}

#[tokio::test]
async fn all_went_well_only_if_nobody_noticed_and_something_was_refreshed() {
    let mut world = world(false).await;
    assert_eq!(world.problems(), [""; 0]);
    world.tally("shop-18").http_401 = 1;
    assert_eq!(world.problems(), ["consumers met 401 1 times"]);
    world.tally("shop-18").http_401 = 0;
    world.state("blynk", "fresh", 1);
    assert_eq!(world.problems(), ["never refreshed: blynk"]);
    world.course.elapsed = LIFE;
    assert_eq!(world.problems(), [""; 0], "there was no time");
    world.state("blynk", "fresh", 2);
    world.course.elapsed = LIFE * 3;
    world.tally("vcita").http_200 = 0;
    assert_eq!(world.problems(), ["never used: vcita"]);
    world.tally("vcita").http_200 = 1;
    world.tally("shop-17").from_database = 0;
    let unread = "never read from the database: shop-17";
    assert_eq!(world.problems(), [unread]);
    world.tally("shop-17").from_database = 1;
    world.course.exit = ExitStatus::from_raw(70 << 8);
    assert_eq!(world.problems().len(), 1);
}

#[tokio::test]
async fn the_doomed_count_apart_and_must_be_told() {
    let mut world = world(true).await;
    world.tally(REVOKED).http_401 = 50;
    let report = world.report();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.total.tally.http_401, 0);
    assert_eq!(report.doomed.len(), 2);
    world.state(REVOKED, "in-doubt", 1);
    let untold = "the daemon does not say of its end: doomed-revoked";
    assert_eq!(world.problems(), [untold]);
}

#[tokio::test]
async fn with_time_every_fault_must_have_come() {
    let mut world = world(true).await;
    world.course.elapsed = ALL_FAULTS;
    let problems = world.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("slow") && problems[0].contains("family-revoked"));
    world.course.faults = false;
    assert_eq!(world.problems(), [""; 0]);
}

#[tokio::test]
async fn json_has_the_numbers_people_look_for() {
    let json = serde_json::to_value(world(true).await.report()).unwrap();
    assert_eq!(json["http_401"], 0);
    assert_eq!(json["consumer_requests"], 60);
    assert_eq!(json["refreshes"], 15);
    assert_eq!(json["daemon_exit_code"], 0);
    let retm = &json["providers"]["retm"];
    assert_eq!(retm["generations"], 8);
    assert_eq!(retm["refreshes"], 6);
    assert_eq!(retm["consumer_requests"], 20);
    assert_eq!(retm["http_401"], 0);
    assert_eq!(retm["consumer_errors"], 0);
    assert!(retm["faults"].is_object());
    assert_eq!(retm["lifetime"], "1h as 10s");
    assert_eq!(json["doomed"][0]["grant"], "doomed-dead");
    assert_eq!(json["doomed"][0]["state"], "refused");
}
