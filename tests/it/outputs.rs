//! Published files, seen from outside.

use crate::setting::{ONE, Setting, epoch};
use crate::support::wait_for;
use sandbox::Options;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

/// Two grants, and outputs of all kinds.
fn several() -> String {
    format!(
        r#"{ONE}
        [[grants.one.outputs]]
        path = "ROOT/tokens/one.json"
        format = "json"
        [[clients.pretend.outputs]]
        path = "ROOT/all/{{grant}}"
        newline = true
        [grants.two]
        client = "pretend"
        "#
    )
}

const FILES: [&str; 4] = ["tokens/one", "tokens/one.json", "all/one", "all/two"];

/// `.NAME.meta.json` beside a file.
fn meta_of(setting: &Setting, path: &str) -> PathBuf {
    let (dir, name) = path.rsplit_once('/').unwrap();
    setting.house.path(&format!("{dir}/.{name}.meta.json"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_there_again_before_ready_when_their_place_was_wiped() {
    let setting = Setting::new(sandbox::Options::default(), &several()).await;
    let (daemon, _) = setting.daemon_with_one();
    setting.import("two");
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let token = setting.token("one");
    let read = |path| fs::read_to_string(setting.house.path(path)).unwrap_or_default();
    wait_for("the files", || {
        FILES.iter().all(|path| !read(path).is_empty()) && read("tokens/one") == token
    });
    let two = read("all/two");
    assert_eq!(daemon.stop(), Some(0));

    for dir in ["tokens", "all", "run"] {
        fs::remove_dir_all(setting.house.path(dir)).unwrap();
    }
    let daemon = setting.house.daemon();
    // Ready, so nothing is waited for from here on.
    assert_eq!(read("tokens/one"), token);
    assert_eq!(read("all/one"), format!("{token}\n"));
    assert_eq!(read("all/two"), two);
    let json: Value = serde_json::from_str(&read("tokens/one.json")).unwrap();
    assert_eq!(json["access_token"], token);
    for path in FILES {
        assert!(meta_of(&setting, path).exists());
    }
    assert_eq!(setting.server.presentations().len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_already_is_not_written_and_what_is_not_is() {
    let setting = Setting::new(sandbox::Options::default(), &several()).await;
    let (daemon, _) = setting.daemon_with_one();
    setting.import("two");
    let path = |name| setting.house.path(name);
    wait_for("the files", || FILES.iter().all(|name| path(name).exists()));
    let inode = |name| fs::metadata(path(name)).unwrap().ino();
    let before = FILES.map(inode);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = setting.house.daemon();
    assert_eq!(FILES.map(inode), before);
    assert_eq!(daemon.stop(), Some(0));

    fs::write(path("tokens/one"), "somebody else's").unwrap();
    let daemon = setting.house.daemon();
    let file = fs::read_to_string(path("tokens/one")).unwrap();
    assert_eq!(file, setting.token("one"));
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_output_hurts_no_other_is_named_and_heals() {
    let setting = Setting::new(sandbox::Options::default(), &several()).await;
    let broken = setting.house.path("tokens/one");
    fs::create_dir_all(&broken).unwrap();
    let (daemon, _) = setting.daemon_with_one();
    setting.import("two");
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let token = setting.token("one");
    let read = |path| fs::read_to_string(setting.house.path(path)).unwrap_or_default();
    wait_for("its siblings", || {
        read("all/one") == format!("{token}\n") && read("tokens/one.json").contains(&token)
    });
    wait_for("the other grant", || !read("all/two").is_empty());

    let path = broken.display().to_string();
    let errors = || setting.house.status("one")["output_errors"].clone();
    wait_for("the error", || errors().as_array().unwrap().len() == 1);
    let error = errors()[0].as_str().unwrap().to_owned();
    assert!(error.starts_with(&format!("{path}: ")), "{error}");
    assert!(error.contains("directory"), "{error}");
    assert_eq!(setting.house.status("one")["state"], "fresh");
    assert_eq!(
        setting.house.status("two")["output_errors"],
        Value::Array(vec![])
    );
    for (command, code) in [
        (&["status"][..], 0),
        (&["status", "--check"], 75),
        (&["doctor"], 75),
    ] {
        let shown = setting.run(command).ends(code).out;
        let first = format!("1 grant is in trouble: one (its output fails: {error})\n");
        assert!(shown.starts_with(&first), "{shown}");
    }
    // Not even a restart waits for it, nor is lost by it.
    assert_eq!(daemon.stop(), Some(0));
    let daemon = setting.house.daemon();
    assert_eq!(errors().as_array().unwrap().len(), 1);

    fs::remove_dir(&broken).unwrap();
    wait_for("the file", || read("tokens/one") == token);
    wait_for("a clean report", || errors().as_array().unwrap().is_empty());
    daemon.logs("output of one works again");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_metadata_hold_what_is_documented_and_no_secret() {
    let setting = Setting::new(sandbox::Options::default(), &several()).await;
    let (daemon, response) = setting.daemon_with_one();
    let read = |path| fs::read_to_string(setting.house.path(path)).unwrap_or_default();
    wait_for("the files", || {
        !read("tokens/.one.json.meta.json").is_empty() && !read("tokens/.one.meta.json").is_empty()
    });
    let line = read("tokens/one.json");
    assert_eq!(line.matches('\n').count(), 1);
    let json: Value = serde_json::from_str(&line).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    let mut known = vec![
        "access_token",
        "expires_at",
        "expires_in",
        "expiry",
        "generation",
        "name",
        "obtained_at",
        "token_type",
    ];
    if response.get("scope").is_some() {
        known.push("scope");
        known.sort_unstable();
    }
    assert_eq!(keys, known);
    assert_eq!(json["access_token"], response["access_token"]);
    assert_eq!(json["token_type"], "Bearer");
    assert_eq!(json["name"], "one");
    assert_eq!(json["generation"], 1);
    let expires_at = json["expires_at"].as_u64().unwrap();
    assert!((3500..=3600).contains(&(expires_at - epoch())));
    assert_eq!(expires_at - json["obtained_at"].as_u64().unwrap(), 3600);
    let expiry = chrono::DateTime::parse_from_rfc3339(json["expiry"].as_str().unwrap()).unwrap();
    assert_eq!(u64::try_from(expiry.timestamp()).unwrap(), expires_at);

    let meta = read("tokens/.one.meta.json");
    for secret in ["access_token", "refresh_token"] {
        assert!(!meta.contains(response[secret].as_str().unwrap()));
    }
    setting.keep("the metadata", &meta);
    let meta: Value = serde_json::from_str(&meta).unwrap();
    let keys: Vec<&String> = meta.as_object().unwrap().keys().collect();
    let known = [
        "expires_at",
        "generation",
        "grant",
        "grant_id",
        "issued_at",
        "store_id",
    ];
    assert_eq!(keys, known);
    assert_eq!(meta["expires_at"], json["expiry"]);
    // No refresh token in any output, ever.
    let refresh_token = response["refresh_token"].as_str().unwrap();
    for path in FILES {
        assert!(!read(path).contains(refresh_token));
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setgid_directory_gives_its_group_the_file() {
    let setting = Setting::one().await;
    let dir = setting.house.path("tokens");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o2750)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&dir, None, Some(65533)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o2750)).unwrap();
    }
    let group = fs::metadata(&dir).unwrap().gid();
    let (daemon, _) = setting.daemon_with_one();
    for name in ["tokens/one", "tokens/.one.meta.json"] {
        let path = setting.house.path(name);
        wait_for("the file", || path.exists());
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640, "{name}");
        assert_eq!(metadata.gid(), group, "{name}");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_stands_there_running_and_at_rest() {
    let setting = Setting::new(sandbox::Options::default(), &several()).await;
    let (daemon, _) = setting.daemon_with_one();
    let path = setting.house.path("tokens/one");
    let token = setting.token("one");
    wait_for("the file", || {
        fs::read_to_string(&path).is_ok_and(|read| read == token)
    });
    let line = |ran: String| {
        let shown = format!("one: {}:", path.display());
        let mut lines = ran.lines();
        let line = lines.find(|line| line.starts_with(&shown)).unwrap();
        line.to_owned()
    };
    let status = || line(setting.run(&["status", "one"]).succeeds().out);
    assert!(status().ends_with("generation 1, up to date"));
    fs::write(&path, "somebody else's").unwrap();
    let told = status();
    assert!(!told.contains("up to date"), "{told}");
    wait_for("the token", || {
        fs::read_to_string(&path).is_ok_and(|read| read == token)
    });
    wait_for("the incident", || {
        let shown = setting.run(&["status", "one"]).out;
        shown.contains("foreign-write")
    });
    assert_eq!(daemon.stop(), Some(0));

    assert!(status().ends_with("generation 1, up to date"));
    fs::remove_file(&path).unwrap();
    assert!(status().contains("it is not there; refreshd writes it once it runs"));
    fs::write(&path, "somebody else's").unwrap();
    assert!(status().contains("it holds something else than the token"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
    let daemon = setting.house.daemon();
    assert_eq!(fs::read_to_string(&path).unwrap(), token);
    let shown = setting.run(&["status", "--json"]).succeeds().out;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        shown["incidents"],
        Value::Array(vec![]),
        "no earlier process's"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_can_be_taken_back() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let wrong = setting.house.path("plain");
    fs::write(&wrong, "").unwrap();
    let output = "\n[[grants.one.outputs]]\npath = \"ROOT/plain/token\"\n[[grants.one.outputs]]\npath = \"ROOT/hand\"\n";
    fs::write(setting.house.path("hand"), "written by hand").unwrap();
    setting.house.configure(&format!("{ONE}{output}"));
    setting.run(&["reload"]).succeeds();
    let incidents = || {
        let shown = setting.run(&["status", "--json"]).out;
        let status: Value = serde_json::from_str(&shown).unwrap();
        status["incidents"].as_array().unwrap().len()
    };
    wait_for("the incidents", || incidents() == 2);
    setting.house.configure(ONE);
    setting.run(&["reload"]).succeeds();
    wait_for("their end", || incidents() == 0);
    assert_eq!(
        fs::read_to_string(setting.house.path("hand")).unwrap(),
        "written by hand"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_its_user_cannot_write() {
    let setting = Setting::one().await;
    setting.run(&["check"]).succeeds();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let ran = setting.run_command(setting.as_nobody(&["check"]));
    ran.fails(73, &["cannot be written by", "install -d"]);
    assert!(!ran.out.contains("sound"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_a_reload_takes_out_is_not_said_to_work() {
    let setting = Setting::new(sandbox::Options::default(), &several()).await;
    fs::create_dir_all(setting.house.path("tokens/one")).unwrap();
    let (daemon, _) = setting.daemon_with_one();
    let status = || setting.house.json(&["status", "--json", "one"]);
    wait_for("the incident", || {
        status()["incidents"][0]["kind"] == "output-failing"
    });
    let gone = several().replace(
        "path = \"ROOT/tokens/one\"\n",
        "path = \"ROOT/tokens/other\"\n",
    );
    setting.house.configure(&gone);
    setting.run(&["reload"]).succeeds();
    wait_for("its end", || {
        status()["closed_incidents"][0]["kind"] == "output-failing"
    });
    let why = status()["closed_incidents"][0]["closed_because"].clone();
    let told = "output of one is not configured any more, and was withdrawn";
    assert_eq!(why, told, "{}", daemon.log());
    assert!(!daemon.log().contains("works again"), "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
}

/// Grant `one` with one output, its lines of TOML given.
fn one_with(output: &str) -> String {
    let (grant, _) = ONE.split_once("[[").unwrap();
    format!("{grant}[[grants.one.outputs]]\n{output}")
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_move_leave_nothing_behind() {
    let at = |place: &str| format!("path = \"ROOT/tokens/one\"\nmeta = {place}");
    let (a, b) = (at("\"ROOT/meta/a\""), at("\"ROOT/meta/b\""));
    let other = a.replace("tokens/one", "tokens/other");
    let setting = Setting::new(Options::default(), &one_with(&a)).await;
    let (mut daemon, _) = setting.daemon_with_one();
    let files = || {
        let mut files = Vec::new();
        for dir in ["tokens", "meta"] {
            let entries = fs::read_dir(setting.house.path(dir)).into_iter().flatten();
            let names = entries.map(|entry| entry.unwrap().file_name());
            let names = names.map(|name| format!("{dir}/{}", name.to_str().unwrap()));
            files.extend(names.filter(|name| !name.ends_with(".tmp")));
        }
        files.sort();
        files
    };
    let stand = |wanted: &[&str]| wait_for(&format!("{wanted:?}"), || files() == wanted);
    stand(&["meta/a", "tokens/one"]);
    let beside = at("true");
    let none = at("false");
    let steps: [(&str, &[&str]); 6] = [
        (&b, &["meta/b", "tokens/one"]),
        (&beside, &["tokens/.one.meta.json", "tokens/one"]),
        (&a, &["meta/a", "tokens/one"]),
        (&none, &["tokens/one"]),
        (&a, &["meta/a", "tokens/one"]),
        // Its metadata are another's now.
        (&other, &["meta/a", "tokens/other"]),
    ];
    for running in [true, false] {
        for (output, wanted) in steps {
            setting.house.configure(&one_with(output));
            if running {
                setting.run(&["reload"]).succeeds();
            } else {
                assert_eq!(daemon.stop(), Some(0));
                daemon = setting.house.daemon();
            }
            stand(wanted);
        }
    }
    // It went while nothing ran.
    assert_eq!(daemon.stop(), Some(0));
    let (without, _) = ONE.split_once("[[").unwrap();
    setting.house.configure(without);
    let daemon = setting.house.daemon();
    stand(&[]);
    assert_eq!(daemon.stop(), Some(0));
}
