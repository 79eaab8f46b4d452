//! An answer that the database does not take, though it takes others: its grant waits
//! with it, and nobody else does.

use crate::incidents::{of_grant, open};
use crate::setting::{ONE, Setting};
use crate::support::wait_for;
use sandbox::Options;

/// Two more grants of the same client.
const OTHERS: &str = r#"
[grants.two]
client = "pretend"
[grants.three]
client = "pretend"
"#;

/// Takes nothing of grant `one` as long as there is no grant `three`.
const POISON: &str = "
CREATE TRIGGER poison BEFORE UPDATE OF generation ON grants
WHEN NEW.name = 'one' AND NEW.generation > OLD.generation
    AND NOT EXISTS (SELECT 1 FROM grants WHERE name = 'three')
BEGIN SELECT RAISE(ABORT, 'poisoned'); END;
";

fn poison(setting: &Setting) {
    let database = setting.house.path("state/refreshd.db");
    let database = rusqlite::Connection::open(database).unwrap();
    database.execute_batch(POISON).unwrap();
    database.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_saved_stops_its_grant_alone() {
    let setting = Setting::new(Options::default(), &format!("{ONE}{OTHERS}")).await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    setting.import("two");
    assert_eq!(daemon.stop(), Some(0));
    poison(&setting);

    let daemon = house.daemon();
    let args = ["refresh", "one", "--force"];
    let waiting = setting.begin(&args);
    wait_for("the incident", || {
        open(house).iter().any(|found| found["kind"] == "not-saved")
    });
    let found = open(house);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["grant"], "one", "{found:?}");
    let said = found[0]["text"].as_str().unwrap();
    assert!(said.contains("poisoned") && said.contains("kept"), "{said}");
    for generation in 2..6 {
        setting.run(&["refresh", "two", "--force"]).succeeds();
        assert_eq!(house.status("two")["generation"], generation);
    }
    assert_eq!(house.status("one")["generation"], 1);
    let rotated = || setting.server.stats().grants["one"].rotations;
    assert_eq!(rotated(), 1, "nothing is presented beside it");
    assert!(!daemon.log().contains("nothing is refreshed until it can"));

    // As soon as the database takes it, it is the grant's token set.
    setting.import("three");
    setting.end(&args, waiting).succeeds();
    assert_eq!(
        (house.status("one")["generation"].clone(), rotated()),
        (2.into(), 1)
    );
    let told = of_grant(house, "one");
    let over: Vec<_> = told.iter().map(|i| i["closed_because"].clone()).collect();
    assert_eq!(over, ["the database has taken it"], "{told:?}");
    assert_eq!(daemon.stop(), Some(0));
}

/// The answer is kept as it came: a kill loses nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_meanwhile_loses_nothing() {
    let setting = Setting::new(Options::default(), &format!("{ONE}{OTHERS}")).await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(daemon.stop(), Some(0));
    poison(&setting);
    let daemon = house.daemon();
    let args = ["refresh", "one", "--force"];
    let waiting = setting.begin(&args);
    wait_for("the incident", || {
        open(house).iter().any(|found| found["kind"] == "not-saved")
    });
    daemon.kill();
    drop(waiting.wait_with_output());
    // Nor does a start wait for it that the database does not take it from either.
    let daemon = house.daemon();
    setting.import("two");
    setting.run(&["refresh", "two", "--force"]).succeeds();
    setting.import("three");
    wait_for("the answer", || house.status("one")["generation"] == 2);
    wait_for("the incident to be over", || open(house).is_empty());
    setting.run(&args).succeeds();
    assert_eq!(setting.server.stats().grants["one"].rotations, 2);
    assert_eq!(daemon.stop(), Some(0));
}
