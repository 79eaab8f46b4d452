//! A stop while the database takes nothing: what came is in memory alone, and is written
//! beside it for the next start.

use crate::at_rest::{THEN, bygone_intent, open};
use crate::backups::put_back;
use crate::read_only::write_protect;
use crate::setting::{ONE, Setting};
use crate::support::{Daemon, wait_for};
use refreshd::state::{Committed, Event};
use refreshd_core::flight::ExchangeId;
use refreshd_core::grant::{GrantState, Presents};
use refreshd_core::provider::Answer;
use sandbox::faults::Fault;
use sandbox::{Options, Verdict};
use std::fs;

/// A stop waits no longer than this for exchanges under way.
pub(crate) const DRAIN: &str = "[daemon]\ndrain = \"1s\"\n";

const OTHER: &str = "[grants.two]\nclient = \"pretend\"\n";

fn rotations(setting: &Setting) -> u64 {
    setting.server.stats().grants["one"].rotations
}

fn generation(setting: &Setting) -> u64 {
    setting.house.status("one")["generation"].as_u64().unwrap()
}

fn never_twice(setting: &Setting) {
    for presented in setting.server.presentations() {
        assert_eq!(presented.verdict, Verdict::Issued, "{presented:?}");
        assert_eq!(presented.refresh, presented.newest, "{presented:?}");
    }
}

async fn place() -> Setting {
    let setting = Setting::new(Options::default(), &format!("{ONE}{OTHER}")).await;
    setting.house.write("conf.d/drain.toml", DRAIN);
    setting
}

/// The answer to a refresh of `one` comes while nothing can be written, and the daemon is
/// stopped.
fn stopped_with_an_answer(setting: &Setting, daemon: Daemon) {
    let before = rotations(setting);
    setting.server.queue_fault(None, Fault::Late { ms: 1500 });
    let wish = setting.begin(&["refresh", "one", "--force"]);
    wait_for("the exchange", || rotations(setting) == before + 1);
    let protected = write_protect(&setting.house, &daemon);
    daemon.logs("it is kept in memory and tried again");
    let log = setting.house.path("log");
    assert_ne!(daemon.stop(), Some(0), "what could not be saved is told");
    protected.detach();
    drop(wish.wait_with_output());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("are kept in a file of their own"), "{log}");
    assert!(setting.house.path("state/rescue").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stop_could_not_save_is_settled_by_the_next_start() {
    let setting = place().await;
    let (daemon, _) = setting.daemon_with_one();
    stopped_with_an_answer(&setting, daemon);
    // Looking shows what the next start comes to, and leaves it where it is.
    let before = setting.state_files();
    assert_eq!(generation(&setting), 2);
    setting.untouched_since(&before);

    let daemon = setting.house.daemon();
    daemon.logs("an answer from before the last stop was adopted");
    assert!(!setting.house.path("state/rescue").exists());
    assert_eq!((generation(&setting), rotations(&setting)), (2, 1));
    setting.run(&["refresh", "one", "--force"]).succeeds();
    never_twice(&setting);
    assert_eq!(daemon.stop(), Some(0));
}

/// It is the only copy of the newest refresh token: the database that is put back knows
/// nothing of its exchange.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_rescued_outlives_a_store_that_was_put_back() {
    let setting = place().await;
    let (daemon, _) = setting.daemon_with_one();
    let copy = setting.house.path("copy.db");
    setting.run(&["backup", copy.to_str().unwrap()]).succeeds();
    stopped_with_an_answer(&setting, daemon);
    put_back(&setting.house, &copy);
    let rescued = setting.house.path("state.old/rescue");
    fs::copy(rescued, setting.house.path("state/rescue")).unwrap();

    let daemon = setting.house.daemon();
    assert!(!setting.house.path("state/rescue").exists());
    setting.run(&["doctor", "--accept-restore"]).succeeds();
    let args = ["refresh", "one", "--force", "--accept-risk"];
    setting.run(&args).succeeds();
    assert_eq!(rotations(&setting), 2);
    never_twice(&setting);
    assert_eq!(daemon.stop(), Some(0));
}

/// One failure more is one too many: whoever counts on panics.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_even_be_settled_stops_its_grant_alone() {
    let setting = place().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.import("two");
    assert_eq!(daemon.stop(), Some(0));
    let state = open(&setting.house);
    let grant = state.store.grant_by_name("one").await.unwrap().unwrap();
    let counted = GrantState {
        failures: u32::MAX,
        ..grant.state.clone()
    };
    let event = Event {
        at: THEN,
        kind: "counted".to_owned(),
        text: String::new(),
    };
    let counted = state.store.update_state(&grant, counted, event).await;
    let Ok(Committed::Applied(grant)) = counted else {
        panic!("{counted:?}");
    };
    // One was rescued, and another is on its way before the first is settled.
    let mut intent = bygone_intent(&grant);
    (intent.flight, intent.generation) = (ExchangeId([9; 16]), grant.state.generation);
    intent.presents = Presents::RefreshToken(grant.state.presents.unwrap());
    let refused = Answer {
        status: 400,
        headers: Vec::new(),
        body: br#"{"error":"invalid_grant"}"#.to_vec(),
        complete: true,
        received: THEN,
    };
    state.close().await.unwrap();

    setting.server.queue_fault(Some("one"), Fault::InvalidGrant);
    let daemon = setting.house.daemon();
    let wish = setting.begin(&["refresh", "one", "--force"]);
    daemon.logs("is kept as it came");
    stops_it_alone(&setting, 1);
    daemon.kill();
    drop(wish.wait_with_output());
    // Nor does it stop a start, whether it was kept or rescued.
    for _ in 0..2 {
        let daemon = setting.house.daemon();
        let found = crate::incidents::open(&setting.house);
        let found = found.iter().find(|found| found["kind"] == "not-saved");
        assert_eq!(found.expect("it is told")["grant"], "one");
        stops_it_alone(&setting, 1);
        assert_eq!(daemon.stop(), Some(0));
        let state = open(&setting.house);
        state
            .store
            .rescue(&[(intent.clone(), refused.clone())])
            .unwrap();
        state.close().await.unwrap();
    }
}

/// What lives is served, another grant is refreshed, and nothing more is presented.
fn stops_it_alone(setting: &Setting, presented: usize) {
    let of_one = || {
        let all = setting.server.presentations();
        all.iter()
            .filter(|it| it.grant.as_deref() == Some("one"))
            .count()
    };
    assert!(!setting.token("one").is_empty());
    let wish = setting.begin(&["refresh", "one", "--force"]);
    for _ in 0..3 {
        setting.run(&["refresh", "two", "--force"]).succeeds();
    }
    assert_eq!(of_one(), presented);
    drop(wish);
}
