//! `refreshd remove`.

use crate::setting::{ONE, Setting};
use crate::support::wait_for;
use sandbox::Options;
use sandbox::faults::Fault;
use serde_json::Value;

const CLIENT: &str = r#"
[clients.pretend]
provider = "pretend"
client_id = "pretend"
client_secret = { file = "ROOT/secrets/pretend" }
[[clients.pretend.outputs]]
path = "ROOT/tokens/{grant}"
[[databases]]
path = "ROOT/tokens/all.db"
"#;

fn names(setting: &Setting) -> Vec<String> {
    let status = setting.house.json(&["status", "--json"]);
    let grants = status["grants"].as_array().unwrap();
    grants
        .iter()
        .map(|g| g["grant"].as_str().unwrap().to_owned())
        .collect()
}

fn rows(setting: &Setting) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let path = setting.house.path("tokens/all.db");
    let conn = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    let mut rows = conn
        .prepare("SELECT name FROM tokens UNION SELECT name FROM meta")
        .unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured_is_taken_out_first() {
    let setting = Setting::new(Options::default(), ONE).await;
    let (daemon, _) = setting.daemon_with_one();
    let file = setting.house.path("tokens/one");
    wait_for("the file", || file.exists());
    let config = std::fs::read_to_string(setting.house.config()).unwrap();
    let line = config
        .lines()
        .position(|l| l.starts_with("[grants.one]"))
        .unwrap()
        + 1;
    let place = format!(
        "take it out of {}:{line}, run `refreshd reload`",
        setting.house.config().display()
    );
    setting
        .run(&["remove", "one", "--yes"])
        .fails(65, &[&place]);
    setting
        .house
        .configure(ONE.split("[grants.one]").next().unwrap());
    setting
        .run(&["remove", "one", "--yes"])
        .fails(65, &["in no file any more; run `refreshd reload`"]);
    assert!(file.exists());
    setting.run(&["reload"]).succeeds();
    wait_for("the file to be withdrawn", || !file.exists());
    assert_eq!(setting.house.status("one")["state"], "retired");
    setting.run(&["remove", "one"]).fails(64, &["--yes"]);
    setting.run(&["remove", "one", "--yes"]).succeeds();
    setting.run(&["status", "one"]).fails(66, &["one"]);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = setting.house.daemon();
    assert_eq!(names(&setting), [""; 0]);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_outputs_go_and_it_may_come_again_as_another() {
    let setting = Setting::new(Options::default(), CLIENT).await;
    let daemon = setting.house.daemon();
    let bring = |name: &str, response: &Value| {
        let args = [
            "import",
            name,
            "--client",
            "pretend",
            "--obtained-at",
            &crate::setting::epoch().to_string(),
        ];
        setting.run_with(&args, &response.to_string()).succeeds();
    };
    let (one, two) = (setting.response("one"), setting.response("two"));
    bring("one", &one);
    bring("two", &two);
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let (file, meta) = (
        setting.house.path("tokens/one"),
        setting.house.path("tokens/.one.meta.json"),
    );
    let id = || -> Value {
        let meta: Value = serde_json::from_slice(&std::fs::read(&meta).unwrap()).unwrap();
        meta["grant_id"].clone()
    };
    wait_for("the outputs", || {
        let there = meta.exists() && setting.house.path("tokens/all.db-wal").exists();
        there && rows(&setting) == ["one", "two"]
    });
    let first = id();
    // Beside a refresh that is under way: it lands first.
    setting.server.queue_fault(None, Fault::Late { ms: 1500 });
    let args = ["refresh", "one", "--force"];
    let refreshing = setting.begin(&args);
    wait_for("the request", || setting.server.presentations().len() == 2);
    let ran = setting.run(&["remove", "one", "--yes"]).succeeds();
    assert_eq!(
        ran.out,
        "one: removed, and nothing of it is published any more\n"
    );
    setting.end(&args, refreshing).succeeds();
    assert!(!file.exists() && !meta.exists());
    assert_eq!(rows(&setting), ["two"]);
    assert_eq!(names(&setting), ["two"]);
    for args in [
        &["get", "one"][..],
        &["refresh", "one"],
        &["remove", "one", "--yes"],
        &["revoke", "one", "--yes"],
    ] {
        setting.run(args).fails(66, &["no grant one"]);
    }
    // Neither a reload nor a restart brings it back.
    setting.run(&["reload"]).succeeds();
    daemon.kill();
    let daemon = setting.house.daemon();
    assert_eq!(names(&setting), ["two"]);
    assert!(!file.exists());
    // The name is free again, also for a token set that it once had.
    bring("one", &setting.response("one"));
    wait_for("the file", || meta.exists());
    assert_ne!(id(), first);
    assert_eq!(setting.house.status("one")["generation"], 1);
    setting.run(&["refresh", "one", "--force"]).succeeds();
    setting.run(&["refresh", "two", "--force"]).succeeds();
    assert_eq!(names(&setting), ["one", "two"]);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = setting.house.daemon();
    let status = setting.house.json(&["status", "--json"]);
    assert_eq!(status["notices"], serde_json::json!([]), "no fence");
    assert_eq!(daemon.stop(), Some(0));
}
