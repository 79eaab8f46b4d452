//! What the commands print and how they exit.

mod get;
mod history;
mod import;
mod import_from;
mod provider;
mod refresh;
mod remove;
mod resting;
mod revoke;
mod status;
mod verify;

use crate::setting::Setting;

#[tokio::test(flavor = "multi_thread")]
async fn every_subcommand_has_help_with_an_example() {
    let setting = Setting::one().await;
    let help = setting.run(&["--help"]).succeeds().out;
    assert!(help.contains("Exit codes: 0 done, 64 usage"), "{help}");
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let commands = commands.split("\n\n").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    for expected in [
        "run", "check", "reload", "import", "status", "get", "refresh", "doctor",
    ] {
        assert!(names.contains(&expected), "{expected} is not in {names:?}");
    }
    for name in names {
        let help = setting.run(&[name, "--help"]).succeeds().out;
        let example = help.lines().find(|line| line.starts_with("Example"));
        let example = example.unwrap_or_else(|| panic!("{name} has no example: {help}"));
        assert!(example.contains(&format!("refreshd {name}")), "{example}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_command_lines_exit_with_64() {
    let setting = Setting::one().await;
    for args in [
        &["reticulate"][..],
        &[],
        &["get"],
        &["get", "one", "--min-valid", "soon"],
        &["status", "--no-such-option"],
        &["import"],
        &["import", "one", "--ndjson"],
        &["refresh", "one", "--accept-risk"],
        &["run", "--log-format", "xml"],
    ] {
        assert_eq!(setting.run(args).code, 64, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_a_configuration_is_sound() {
    let setting = Setting::one().await;
    let ran = setting.run(&["check"]).succeeds();
    assert_eq!(ran.out, "the configuration is sound: 1 client, 1 grant\n");
    let ran = setting.run(&["check", "--json"]).succeeds();
    assert_eq!(ran.out, "[]\n");
    assert!(!setting.house.path("state").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_the_daemon_says_so_when_it_does_not_run() {
    let setting = Setting::one().await;
    for args in [
        &["refresh", "one"][..],
        &["reload"],
        &["doctor", "--accept-clock"],
    ] {
        setting
            .run(args)
            .fails(69, &["refreshd is not running", "refreshd run"]);
    }
    // A socket that a killed daemon left behind is not a daemon.
    let (daemon, _) = setting.daemon_with_one();
    daemon.kill();
    assert!(setting.house.path("run/control.sock").exists());
    setting
        .run(&["refresh", "one"])
        .fails(69, &["refreshd is not running"]);
    setting.run(&["status", "one"]).succeeds();
    let daemon = setting.house.daemon();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
}
