//! Outputs of a state that is gone: beside them nothing is a first start.

use crate::setting::{ONE, Setting};
use crate::support::wait_for;
use rusqlite::Connection;
use sandbox::Options;
use std::fs;
use std::path::{Path, PathBuf};

const OUTPUTS: &str = r#"
[[clients.pretend.outputs]]
path = "ROOT/tokens/all/{grant}.json"
format = "json"
[[databases]]
path = "ROOT/tokens/all.db"
grants = ["*"]
"#;

fn meta_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    path.with_file_name(format!(".{name}.meta.json"))
}

fn rows(setting: &Setting) -> i64 {
    let path = setting.house.path("tokens/all.db");
    let count = || {
        let rows = Connection::open(path)?;
        rows.query_row("SELECT count(*) FROM tokens", [], |row| row.get(0))
    };
    count().unwrap_or(0)
}

/// The state and its key are gone.
fn lose(setting: &Setting) {
    for dir in ["state", "key"] {
        fs::remove_dir_all(setting.house.path(dir)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_a_lost_state_keep_a_new_one_from_being_made() {
    let setting = Setting::new(Options::default(), &format!("{ONE}{OUTPUTS}")).await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    let two = setting.response("two").to_string();
    let import = ["import", "two", "--client", "pretend"];
    setting.run_with(&import, &two).succeeds();
    let there = |name| house.path("tokens").join(name).exists();
    wait_for("the outputs", || {
        there("one") && there("all/one.json") && there("all/two.json") && rows(&setting) == 2
    });
    assert_eq!(daemon.stop(), Some(0));
    lose(&setting);
    let refused = |first: &str| {
        let place = house.path("tokens").join(first).display().to_string();
        let needles = [&*place, "no first start", "doctor --accept-new-state"];
        setting.run(&["run"]).fails(65, &needles);
        let response = setting.response("one").to_string();
        let import = setting.run_with(&["import", "one"], &response);
        import.fails(65, &needles);
        assert!(!house.path("state").exists() && !house.path("key").exists());
    };
    // The token alone may have been withdrawn.
    let remove = |name: &str| {
        let path = house.path("tokens").join(name);
        fs::remove_file(meta_of(&path)).unwrap();
        fs::remove_file(path).unwrap();
    };
    refused("all/one.json");
    remove("all/one.json");
    refused("one");
    let kept = meta_of(&house.path("tokens/one"));
    let kept = (kept.clone(), fs::read(kept).unwrap());
    remove("one");
    // Of a grant that no configuration names.
    refused("all/two.json");
    remove("all/two.json");
    refused("all.db (row one)");

    fs::write(kept.0, kept.1).unwrap();
    let anew = ["doctor", "--accept-new-state"];
    let made = setting.run(&anew).succeeds().out;
    assert!(made.contains("a new state is in"), "{made}");
    let made = setting.run(&anew).succeeds().out;
    assert!(made.contains("nothing was made"), "{made}");
    let daemon = house.daemon();
    wait_for("the warning", || daemon.log().contains("another state"));
    setting.import("one");
    wait_for("the file", || {
        let published = fs::read_to_string(house.path("tokens/one"));
        published.ok() == Some(setting.token("one"))
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_ask_by_itself_begins_anew_beside_its_outputs() {
    let override_ = "[clients.pretend.override]\nrefresh.fallback = \"client_credentials\"\n";
    let config = format!("{ONE}{override_}");
    let setting = Setting::new(Options::default(), &config).await;
    let file = setting.house.path("tokens/one");
    let daemon = setting.house.daemon();
    wait_for("the file", || file.exists());
    assert_eq!(daemon.stop(), Some(0));
    lose(&setting);
    let lost = fs::read(&file).unwrap();
    let daemon = setting.house.daemon();
    wait_for("another token", || fs::read(&file).unwrap() != lost);
    assert_eq!(daemon.stop(), Some(0));
}
