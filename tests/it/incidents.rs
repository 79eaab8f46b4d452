//! Incidents: one notice when something is not healthy any more, reminders, one
//! when it is over; and the same in `status`, over kills and restarts.

use crate::setting::{ONE, Setting, epoch};
use crate::support::{House, wait_for};
use crate::tiny::Tiny;
use rusqlite::Connection;
use sandbox::Options;
use sandbox::faults::Fault;
use serde_json::Value;
use std::path::Path;

/// What is open.
pub(crate) fn open(house: &House) -> Vec<Value> {
    let status = house.json(&["status", "--json"]);
    status["incidents"].as_array().unwrap().clone()
}

/// What is or was open of a grant.
pub(crate) fn of_grant(house: &House, grant: &str) -> Vec<Value> {
    let status = house.json(&["status", "--json", grant]);
    let all = ["incidents", "closed_incidents"].map(|key| status[key].as_array().cloned());
    let all = all.into_iter().flatten().flatten();
    all.filter(|incident| incident["grant"] == grant).collect()
}

/// An incident as it stands in the database.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: String,
    pub(crate) closed: bool,
}

/// The rows, by number; no daemon may run.
pub(crate) fn rows(database: &Path) -> Vec<Row> {
    let conn = Connection::open(database).unwrap();
    let mut statement = conn
        .prepare("SELECT kind, closed_at IS NOT NULL FROM incidents ORDER BY id")
        .unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Row {
            kind: row.get(0)?,
            closed: row.get(1)?,
        })
    };
    let rows = statement.query_map([], row).unwrap();
    rows.map(Result::unwrap).collect()
}

fn lines<'a>(log: &'a str, needles: &[&str]) -> Vec<&'a str> {
    let all = |line: &&str| needles.iter().all(|needle| line.contains(needle));
    log.lines().filter(all).collect()
}

/// Has a grant's exchange carried out and its answer lost.
fn lose_an_answer(setting: &Setting) {
    let fault = Fault::InternalError { performed: true };
    setting.server.queue_fault(Some("one"), fault);
    setting.run(&["refresh", "one", "--force"]).fails(69, &[]);
}

/// Within the second of the last one, which would pass for the newer.
fn authorize_again(setting: &Setting, name: &str) {
    let response = setting.response(name).to_string();
    let at = epoch().to_string();
    let args = ["import", name, "--replace", "--obtained-at", &at];
    setting.run_with(&args, &response).succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_is_one_incident_from_its_beginning_to_its_end() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(open(house), Vec::<Value>::new());
    lose_an_answer(&setting);
    let found = open(house);
    assert_eq!(found.len(), 1, "{found:?}");
    let (kind, grant) = (&found[0]["kind"], &found[0]["grant"]);
    assert_eq!((kind, grant), (&"in-doubt".into(), &"one".into()));
    assert!(found[0]["text"].as_str().unwrap().contains("500"));
    let notice = ["incident=\"in-doubt\"", "WARN", "one: in-doubt: "];
    assert_eq!(lines(&daemon.log(), &notice).len(), 1, "{}", daemon.log());
    let table = setting.run(&["status"]).succeeds().out;
    assert!(
        table.contains("one: incident 1, in-doubt, since 2"),
        "{table}"
    );
    // A kill, a look while nothing runs, and another start: it is the same one.
    daemon.kill();
    let at_rest = open(house);
    assert_eq!((at_rest.len(), &at_rest[0]["kind"]), (1, kind));
    let daemon = house.daemon();
    assert_eq!(open(house)[0]["kind"], "in-doubt");
    assert_eq!(open(house).len(), 1);
    assert_eq!(lines(&daemon.log(), &notice).len(), 1, "{}", daemon.log());

    authorize_again(&setting, "one");
    assert_eq!(open(house), Vec::<Value>::new());
    let over = lines(
        &daemon.log(),
        &["incident=\"in-doubt\"", "INFO", "over after"],
    )
    .len();
    assert_eq!(over, 1, "{}", daemon.log());
    let closed = of_grant(house, "one");
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!(closed[0]["id"], found[0]["id"]);
    let why = closed[0]["closed_because"].as_str().unwrap();
    assert!(why.contains("another authorization"), "{why}");
    let shown = setting.run(&["status", "one"]).succeeds().out;
    assert!(
        shown.contains("one: incident 1, in-doubt, from 2"),
        "{shown}"
    );
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(rows(&house.path("state/refreshd.db")).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_is_due_an_hour_later_whatever_was_restarted() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    lose_an_answer(&setting);
    assert_eq!(daemon.stop(), Some(0));
    let database = house.path("state/refreshd.db");
    let two_hours_ago = (epoch().cast_signed() - 7200) * 1000;
    Connection::open(&database)
        .unwrap()
        .execute("UPDATE incidents SET opened_at = ?1", [two_hours_ago])
        .unwrap();
    let daemon = house.daemon();
    let reminded = || open(house)[0]["reminders"].clone();
    wait_for("the reminder", || reminded() == 1);
    let reminder = ["incident=\"in-doubt\"", "still so, after 2h"];
    assert_eq!(lines(&daemon.log(), &reminder).len(), 1, "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
    // The next one is five hours away.
    let daemon = house.daemon();
    assert_eq!(reminded(), 1);
    assert_eq!(daemon.stop(), Some(0));
    let log = std::fs::read_to_string(house.path("log")).unwrap();
    assert_eq!(lines(&log, &reminder).len(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_is_one_incident_over_restarts() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    let secret = |secret: &str| {
        std::fs::remove_file(house.path("secrets/pretend")).unwrap();
        house.secret("secrets/pretend", secret);
    };
    secret("not the right one");
    setting.run(&["reload"]).succeeds();
    let refresh = ["refresh", "one", "--force"];
    setting.run(&refresh).fails(77, &["client_secret"]);
    let of_client = || -> Vec<Value> {
        let all = open(house).into_iter();
        all.filter(|i| i["about"] == "client").collect()
    };
    let first = of_client();
    assert_eq!(
        (first.len(), &first[0]["kind"]),
        (1, &"client-not-accepted".into())
    );
    assert_eq!(first[0]["subject"], "pretend");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = house.daemon();
    assert_eq!(of_client()[0]["id"], first[0]["id"]);
    setting.run(&refresh).fails(77, &["client_secret"]);
    assert_eq!(of_client()[0]["id"], first[0]["id"]);
    let notices = lines(
        &daemon.log(),
        &["client-not-accepted", "client pretend is not accepted"],
    )
    .len();
    assert_eq!(notices, 1, "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
    // What mends it may come while nothing runs.
    secret(crate::setting::CLIENT_SECRET);
    let daemon = house.daemon();
    assert_eq!(of_client().len(), 1, "nobody knows yet");
    setting.run(&refresh).succeeds();
    assert_eq!(of_client().len(), 0);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_fails_is_one_incident_over_restarts() {
    let setting = Setting::one().await;
    let house = &setting.house;
    std::fs::create_dir_all(house.path("tokens/one")).unwrap();
    let (daemon, _) = setting.daemon_with_one();
    wait_for("the incident", || open(house).len() == 1);
    let first = open(house).remove(0);
    assert_eq!(first["kind"], "output-failing");
    let path = house.path("tokens/one").display().to_string();
    let (subject, grant) = (&first["subject"], &first["grant"]);
    assert_eq!((subject, grant), (&path.into(), &"one".into()));
    daemon.kill();
    let daemon = house.daemon();
    wait_for("the output to be tried", || {
        !house.status("one")["output_errors"]
            .as_array()
            .unwrap()
            .is_empty()
    });
    let ids: Vec<_> = open(house).iter().map(|i| i["id"].clone()).collect();
    assert_eq!(ids, [first["id"].clone()]);
    let told = lines(&daemon.log(), &["output-failing", "WARN"]).len();
    assert_eq!(told, 1, "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
    // It works at the next start, or is not wanted any more: either ends it.
    let without = ONE.split("[[grants.one.outputs]]").next().unwrap();
    house.configure(without);
    let daemon = house.daemon();
    wait_for("the end", || open(house).is_empty());
    assert_eq!(of_grant(house, "one")[0]["id"], first["id"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refusals_at_once_are_one_incident_of_their_client() {
    let names = ["g0", "g1", "g2", "g3", "g4"];
    let grants = names.map(|name| format!("\n[grants.{name}]\nclient = \"pretend\"\n"));
    let config = ONE.split("[grants.one]").next().unwrap().to_owned() + &grants.concat();
    let setting = Setting::new(Options::default(), &config).await;
    let house = &setting.house;
    let daemon = house.daemon();
    for name in names {
        setting.import(name);
        setting.server.withdraw_grant(name);
    }
    for name in names {
        setting.run(&["refresh", name, "--force"]).fails(77, &[]);
    }
    let count = |kind: &str| open(house).iter().filter(|i| i["kind"] == kind).count();
    assert_eq!((count("refused"), count("mass-refusal")), (5, 1));
    let of_client = |i: &&Value| i["about"] == "client" && i["subject"] == "pretend";
    assert_eq!(open(house).iter().filter(of_client).count(), 1);
    // The client is taken out: nothing of it is unhealthy any more.
    house.configure("");
    setting.run(&["reload"]).succeeds();
    assert_eq!(open(house), Vec::<Value>::new());
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_be_reached_is_one_incident_that_names_it() {
    let names = ["g0", "g1", "g2", "g3"];
    let grants = names.map(|name| format!("\n[grants.{name}]\nclient = \"pretend\"\n"));
    let config = ONE.split("[grants.one]").next().unwrap().to_owned() + &grants.concat();
    let setting = Setting::new(Options::default(), &config).await;
    let house = &setting.house;
    // Nobody listens there for now.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = gone.local_addr().unwrap();
    drop(gone);
    setting.provider(&format!("http://{host}/token"));
    let daemon = house.daemon();
    for name in names {
        setting.import(name);
    }
    let failing = || -> Vec<Value> {
        let all = open(house).into_iter();
        all.filter(|i| i["kind"] == "endpoint-failing").collect()
    };
    for name in &names[..3] {
        assert_eq!(failing(), Vec::<Value>::new());
        setting.run(&["refresh", name, "--force"]).fails(69, &[]);
    }
    let found = failing();
    assert_eq!(found.len(), 1, "{found:?}");
    let host = host.to_string();
    assert_eq!(found[0]["subject"], host.as_str());
    let text = found[0]["text"].as_str().unwrap();
    assert!(
        text.contains(&host) && text.contains("could not be sent"),
        "{text}"
    );
    // A wish is told until when it waits, for what, and what passes it.
    wait_for("its token to be old enough", || {
        let ran = setting.run(&["refresh", "g3"]);
        let told = ["g3: not asked before 20", &host, "--force"];
        ran.code == 75 && told.iter().all(|told| ran.err.contains(told))
    });
    setting.token("g3");
    let back = tokio::net::TcpListener::bind(&host).await.unwrap();
    let _tiny = Tiny::on(back, |number| {
        let body = format!(r#"{{"access_token":"at-{number}","refresh_token":"rt-{number}"}}"#);
        crate::tiny::response("200 OK", "content-type: application/json", body.as_bytes())
    });
    setting.run(&["refresh", "g3", "--force"]).succeeds();
    assert_eq!(failing(), Vec::<Value>::new());
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_is_one_incident_until_it_is_accepted() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(daemon.stop(), Some(0));
    // What was seen last lies a day ahead of the clock of now.
    let tomorrow = (epoch().cast_signed() + 86_400) * 1000;
    Connection::open(house.path("state/refreshd.db"))
        .unwrap()
        .execute(
            "UPDATE meta SET value = ?1 WHERE key = 'last_seen'",
            [tomorrow],
        )
        .unwrap();
    let daemon = house.daemon();
    wait_for("the incident", || !open(house).is_empty());
    let first = open(house).remove(0);
    assert_eq!(first["kind"], "clock-distrusted");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = house.daemon();
    wait_for("the look at the clock", || {
        open(house)[0]["id"] == first["id"]
    });
    assert_eq!(
        lines(&daemon.log(), &["clock-distrusted", "ERROR"]).len(),
        1
    );
    setting.run(&["doctor", "--accept-clock"]).succeeds();
    wait_for("the end", || open(house).is_empty());
    assert_eq!(lines(&daemon.log(), &["clock-distrusted", "INFO"]).len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refresh_token_for_two_grants_is_told() {
    const SAME: &str =
        r#"{"access_token":"at-same-1","refresh_token":"rt-same-1","expires_in":3600}"#;
    let tiny = Tiny::answering(SAME).await;
    let config = format!("{ONE}\n[grants.two]\nclient = \"pretend\"\n");
    let setting = Setting::new(Options::default(), &config).await;
    setting.provider(&tiny.url);
    setting.plant("rt-same-1");
    let daemon = setting.house.daemon();
    for name in ["one", "two"] {
        setting.import(name);
        setting.run(&["refresh", name, "--force"]).succeeds();
    }
    let found = open(&setting.house);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["kind"], "duplicate-refresh-token");
    assert_eq!(found[0]["grant"], "two");
    assert!(found[0]["text"].as_str().unwrap().contains("grant one"));
    authorize_again(&setting, "two");
    assert_eq!(open(&setting.house).len(), 0);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_out_of_the_configuration_is_not_unhealthy() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    lose_an_answer(&setting);
    let without = ONE.split("[grants.one]").next().unwrap();
    house.configure(without);
    setting.run(&["reload"]).succeeds();
    assert_eq!(open(house).len(), 0);
    let closed = of_grant(house, "one");
    let why = closed[0]["closed_because"].as_str().unwrap();
    assert!(why.contains("taken out of the configuration"), "{why}");
    // Put back, it is as much in doubt as before.
    house.configure(ONE);
    setting.run(&["reload"]).succeeds();
    assert_eq!(open(house)[0]["kind"], "in-doubt");
    assert_eq!(daemon.stop(), Some(0));
}

/// Nothing wrong: nothing written, nothing asked.
#[tokio::test(flavor = "multi_thread")]
async fn health_leaves_no_row() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    for _ in 0..5 {
        setting.run(&["refresh", "one", "--force"]).succeeds();
    }
    assert_eq!(daemon.stop(), Some(0));
    let database = setting.house.path("state/refreshd.db");
    assert_eq!(rows(&database).len(), 0);
    let conn = Connection::open(&database).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM sqlite_sequence"), 0);
    assert_eq!(
        count("SELECT count(*) FROM grants WHERE state LIKE '%shared_with%'"),
        0
    );
}

/// Eight tokens end within a minute: five are told one by one, and one incident counts all.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_end_together_are_one_incident_with_a_count() {
    let mut config = ONE.to_owned();
    let names: Vec<String> = (2..9).map(|number| format!("g{number}")).collect();
    for name in &names {
        config += &format!("[grants.{name}]\nclient = \"pretend\"\n");
    }
    let setting = Setting::new(Options::default(), &config).await;
    let house = &setting.house;
    setting.provider("http://127.0.0.1:1/token");
    let daemon = house.daemon();
    for name in names.iter().map(String::as_str).chain(["one"]) {
        let mut response = setting.response(name);
        response["expires_in"] = 3.into();
        let args = ["import", name, "--obtained-at", &epoch().to_string()];
        setting.run_with(&args, &response.to_string()).succeeds();
    }
    let expired = |about: &str| {
        let of = |found: &Value| found["kind"] == "expired" && found["about"] == about;
        open(house).into_iter().filter(of).collect::<Vec<_>>()
    };
    let counted = || expired("endpoint").pop().map(|found| found["text"].clone());
    wait_for("all eight", || {
        counted().is_some_and(|text| text.as_str().unwrap().starts_with("8 grants"))
    });
    assert_eq!(expired("grant").len(), 5, "{:?}", expired("grant"));
    let endpoint = expired("endpoint");
    assert_eq!(endpoint.len(), 1, "{endpoint:?}");
    assert_eq!(endpoint[0]["subject"], "127.0.0.1:1", "{endpoint:?}");
    assert_eq!(lines(&daemon.log(), &["expired: "]).len(), 6);
    assert_eq!(
        lines(&daemon.log(), &["6 grants without a living"]).len(),
        1
    );
    // The sixth of one host is no news about the client besides.
    assert_eq!(expired("client"), Vec::<Value>::new());

    setting.provider(&setting.server.token_url());
    for name in names.iter().map(String::as_str).chain(["one"]) {
        let response = setting.response(name).to_string();
        let args = [
            "import",
            name,
            "--replace",
            "--obtained-at",
            &epoch().to_string(),
        ];
        setting.run_with(&args, &response).succeeds();
    }
    wait_for("all to be over", || {
        expired("endpoint").is_empty() && expired("grant").is_empty()
    });
    // Nor is it one as they come back.
    assert_eq!(lines(&daemon.log(), &["without a living"]).len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}
