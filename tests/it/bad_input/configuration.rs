//! Configurations that cannot be used: `check` and `run` say why, with the
//! place, and the state stays as it was.

use crate::setting::{ONE, Setting};
use crate::support::House;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A house whose daemon has run and stopped.
async fn at_rest() -> (Setting, String) {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
    (setting, token)
}

/// `check` and `run` fail with 78 and these texts; nothing in the state changes.
#[track_caller]
fn refused(setting: &Setting, needles: &[&str]) {
    let before = setting.state_files();
    for args in [&["check"][..], &["run", "--strict"]] {
        setting.run(args).fails(78, needles);
    }
    setting.untouched_since(&before);
}

/// What needs no client goes on at rest, and says in one line that so many errors stand
/// in the configuration; none at all, if it needs nothing that is wrong.
#[track_caller]
fn goes_on(setting: &Setting, token: &str, errors: usize) {
    let got = setting.run(&["get", "one"]);
    assert_eq!((got.code, got.out.trim()), (0, token), "{got:?}");
    let status = setting.run(&["status", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(report["grants"][0]["state"], "fresh", "{report:#}");
    assert_eq!(report["incidents"].as_array().unwrap().len(), 0);
    let copy = setting.house.path("copy.db").display().to_string();
    let backup = setting.run(&["backup", &copy, "--force"]);
    let doctor = setting.run(&["doctor"]);
    let broken = match errors {
        0 => String::new(),
        _ => "refreshd: the configuration is broken (1 error; `refreshd check` shows all); this goes on with what is sound of it\n".to_owned(),
    };
    for (ran, code) in [(got, 0), (status, 0), (backup, 0), (doctor, 69)] {
        assert_eq!((ran.code, &ran.err), (code, &broken), "{ran:?}");
    }
}

/// With the old configuration back, the old token is there.
#[track_caller]
fn nothing_is_lost(setting: &Setting, token: &str) {
    setting.house.configure(ONE);
    assert_eq!(setting.token("one"), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_toml_is_shown_with_its_place() {
    let (setting, token) = at_rest().await;
    setting
        .house
        .configure("[clients.pretend]\nprovider = \"pretend\nclient_id = 3\n");
    // [daemon] takes four lines and an empty one.
    let place = format!("{}:7:", setting.house.config().display());
    refused(&setting, &[&place, "provider = \"pretend", "^"]);
    // Commands go on by the last sound one, and without any, not at all.
    assert_eq!(setting.token("one"), token);
    let kept = setting.house.path("state/last-sound-configuration.json");
    fs::remove_file(kept).unwrap();
    setting.run(&["get", "one"]).fails(78, &[&place]);
    setting.run(&["status"]).fails(78, &[&place]);
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_provider_is_named_with_its_place() {
    let (setting, token) = at_rest().await;
    setting
        .house
        .configure(&ONE.replace("provider = \"pretend\"", "provider = \"pretent\""));
    refused(
        &setting,
        &[
            "refreshd.toml:8:12",
            "unknown provider \"pretent\"",
            "did you mean \"pretend\"",
        ],
    );
    goes_on(&setting, &token, 1);
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_variable_is_named_with_its_place() {
    let (setting, token) = at_rest().await;
    setting
        .house
        .configure(&format!("{ONE}\n[grants.one.vars]\nshop = \"17\"\n"));
    refused(
        &setting,
        &[
            "refreshd.toml:",
            "unknown variable \"shop\"",
            "take this one out",
        ],
    );
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_a_provider_does_not_declare_is_refused() {
    let (setting, token) = at_rest().await;
    setting.provider("https://{region}.example.com/token");
    refused(&setting, &["pretend.toml:3:", "region"]);
    setting.provider(&setting.server.token_url());
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused_with_the_nearest_one() {
    let (setting, token) = at_rest().await;
    setting
        .house
        .configure(&ONE.replace("client_secret", "client_secrt"));
    refused(
        &setting,
        &["refreshd.toml:10:1", "client_secrt", "client_secret"],
    );
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_files_that_cannot_be_read_are_named_with_a_remedy() {
    let (setting, token) = at_rest().await;
    let secret = setting.house.path("secrets/pretend");
    let path = secret.display().to_string();
    let place = "refreshd.toml:10:";

    fs::rename(&secret, setting.house.path("kept")).unwrap();
    refused(&setting, &[place, &path, "create it, with mode 0400"]);
    // None of these sends it.
    goes_on(&setting, &token, 0);
    let response = setting.response("two").to_string();
    let args = ["import", "one", "--replace"];
    let imported = setting.run_with(&args, &response).succeeds();
    assert!(!imported.err.contains("secret"), "{imported:?}");
    let token = setting.token("one");

    fs::create_dir(&secret).unwrap();
    refused(&setting, &[place, &path, "is not a regular file"]);
    fs::remove_dir(&secret).unwrap();

    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    refused(&setting, &[place, &path, "is empty"]);
    fs::rename(setting.house.path("kept"), &secret).unwrap();

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o444)).unwrap();
    let remedy = format!("chmod 0400 {path}");
    refused(
        &setting,
        &[place, "can be read by everyone (mode 0444)", &remedy],
    );
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_literal_secret_is_refused_and_not_repeated() {
    let (setting, token) = at_rest().await;
    let literal = "planted-literal-5d0c";
    setting.plant(literal);
    for value in [
        format!("\"{literal}\""),
        format!("[\"{literal}\"]"),
        format!("{{ fil = \"{literal}\" }}"),
    ] {
        let config = ONE.replace("{ file = \"ROOT/secrets/pretend\" }", &value);
        setting.house.configure(&config);
        refused(&setting, &["refreshd.toml:10:"]);
    }
    nothing_is_lost(&setting, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_shown_at_once() {
    let (setting, token) = at_rest().await;
    setting.house.configure(
        &ONE.replace("provider = \"pretend\"", "provider = \"pretent\"")
            .replace("client = \"pretend\"", "client = \"nobody\"")
            .replace("path = ", "mode = \"rw\"\npath = "),
    );
    refused(&setting, &["pretent", "nobody", "\"rw\""]);
    let checked = setting.run(&["check", "--json"]);
    assert_eq!(checked.code, 78);
    let problems: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(problems.as_array().unwrap().len(), 3, "{problems:#}");
    for problem in problems.as_array().unwrap() {
        assert_eq!(problem["severity"], "error");
        assert!(problem["spot"]["line"].as_u64().unwrap() > 6, "{problem}");
        assert!(problem["spot"]["column"].as_u64().unwrap() > 0, "{problem}");
    }
    nothing_is_lost(&setting, &token);
}

/// Commands only ask the daemon, which has its own configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_is_found_by_a_broken_configuration() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    let secret = house.path("secrets/pretend");
    fs::rename(&secret, house.path("kept")).unwrap();
    let broken = ONE.replace("client_id = ", "ca_file = \"ROOT/none.pem\"\nclient_id = ");
    house.configure(&broken.replace(
        "[grants.one]",
        "[grants.two]\nclient = \"nobody\"\n[grants.one]",
    ));
    let copy = house.path("copy.db").display().to_string();
    // Two errors, since no secret is looked at; only who asks how things are is told.
    let told = "refreshd: the configuration is broken (2 errors; `refreshd check` shows all); the daemon goes on with the one that it has read\n";
    for (args, err) in [
        (&["status"][..], told),
        (&["get", "one"], ""),
        (&["doctor"], told),
        (&["refresh", "one", "--force"], ""),
        (&["backup", &copy], ""),
        (&["key", "status"], ""),
        (&["verify", "one"], "refreshd: one: "),
    ] {
        let ran = setting.run(args);
        assert!(ran.err.starts_with(err), "{args:?}: {}", ran.err);
        assert!(ran.err.lines().count() <= 1, "{args:?}: {}", ran.err);
    }
    let response = setting.response("one").to_string();
    let import = ["import", "one", "--replace"];
    setting.run_with(&import, &response).succeeds();
    // The daemon itself says what it thinks of that.
    let reload = setting.run(&["reload"]);
    reload.fails(78, &["none.pem", "secrets/pretend", "nobody"]);
    // Where the daemon is must be known, and so must what a key is needed by: that is
    // as it last was.
    for (table, text) in [
        (
            "daemon",
            house_text(house).replace("[daemon]\n", "[daemon]\nmax_flights = 0\n"),
        ),
        (
            "backup",
            format!("{}\n[backup]\nkeep = 0\n", house_text(house)),
        ),
    ] {
        let whole = house_text(house);
        fs::write(house.config(), text).unwrap();
        let ran = setting.run(&["status"]).succeeds();
        assert!(
            ran.err.contains("the configuration is broken"),
            "{table}: {}",
            ran.err
        );
        fs::write(house.config(), whole).unwrap();
    }
    fs::rename(house.path("kept"), &secret).unwrap();
    assert_eq!(daemon.stop(), Some(0));
}

fn house_text(house: &House) -> String {
    fs::read_to_string(house.config()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_configuration_is_named() {
    let setting = Setting::one().await;
    fs::remove_file(setting.house.config()).unwrap();
    let path = setting.house.config().display().to_string();
    for command in ["check", "run", "status"] {
        setting.run(&[command]).fails(78, &[&path]);
    }
}

/// Outside of the unit nobody has its credentials, and nobody needs them but who sends.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_the_unit_is_a_remark_outside_of_it() {
    let (setting, token) = at_rest().await;
    let secret = "{ file = \"ROOT/secrets/pretend\" }";
    let config = ONE.replace(secret, "{ credential = \"retm\" }");
    setting.house.configure(&config);
    let checked = setting.run(&["check"]).succeeds();
    let remark = "remark: credential retm: only readable within the service\n";
    assert!(checked.err.contains(remark), "{checked:?}");
    let json = setting.house.json(&["check", "--json"]);
    assert_eq!(json[0]["severity"], "remark", "{json:#}");
    goes_on(&setting, &token, 0);
    let run = setting.run(&["run", "--strict"]);
    run.fails(78, &["credential \"retm\"", "LoadCredential=retm:/"]);

    // The service itself has it.
    let mut command = setting.house.command(&["run"]);
    command.env("CREDENTIALS_DIRECTORY", setting.house.path("secrets"));
    fs::rename(
        setting.house.path("secrets/pretend"),
        setting.house.path("secrets/retm"),
    )
    .unwrap();
    let daemon = setting.house.daemon_by(command);
    let status = setting.run(&["status", "--check"]).succeeds();
    assert_eq!(status.err, "");
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
}

/// A file of the service's that this user may not read says nothing about the service;
/// whoever owns the state is the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_services_user_is_a_remark_for_another() {
    let (setting, _) = at_rest().await;
    let nobody = setting.as_nobody(&["check"]);
    let secret = setting.house.path("secrets/pretend");
    for path in ["secrets", "secrets/pretend"] {
        std::os::unix::fs::chown(setting.house.path(path), Some(0), Some(0)).unwrap();
    }
    // Nor can this user write the outputs (73), which is no error of the configuration.
    let checked = setting.run_command(nobody);
    assert_ne!(checked.code, 78, "{checked:?}");
    let remark = format!("remark: cannot read secret file {}", secret.display());
    assert!(checked.err.contains(&remark), "{checked:?}");
    // Whoever it belongs to is told as an error.
    fs::remove_file(&secret).unwrap();
    setting.run(&["check"]).fails(78, &["create it"]);
}

/// Pasted from a mail, or written by an editor of another system.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_sees_in_a_secret_is_told_and_a_mark_is_not_sent() {
    let setting = Setting::one().await;
    let marked = format!("\u{feff}{}\r\n", crate::setting::CLIENT_SECRET);
    setting.house.secret("secrets/marked", &marked);
    let config = ONE.replace("secrets/pretend", "secrets/marked");
    setting.house.configure(&config);
    let checked = setting.run(&["check"]).succeeds();
    let told = "begins with a byte order mark, which is not sent";
    assert!(checked.err.contains(told), "{checked:?}");
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    daemon.logs(told);

    let blank = format!("{} ", crate::setting::CLIENT_SECRET);
    setting.house.secret("secrets/blank", &blank);
    let config = ONE.replace("secrets/pretend", "secrets/blank");
    setting.house.configure(&config);
    let reloaded = setting.run(&["reload"]).succeeds().out;
    assert!(
        reloaded.contains("1 warning, see `refreshd check`"),
        "{reloaded}"
    );
    daemon.logs("ends with a blank, which is sent too");
    assert_eq!(daemon.stop(), Some(0));
}
