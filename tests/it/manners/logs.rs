//! Logs: JSON on request, the grant as a field, no secret at any level.

use crate::setting::Setting;
use crate::support::wait_for;
use sandbox::faults::Fault;
use serde_json::Value;
use std::fs::File;
use std::process::Stdio;

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_have_the_grant_as_a_field() {
    let setting = Setting::one().await;
    let path = setting.house.path("json.log");
    let mut command = setting.house.command(&["run", "--log-format", "json"]);
    // The most talkative level: also what libraries say must hold no secret.
    command.env("REFRESHD_LOG", "trace");
    command
        .stdout(Stdio::null())
        .stderr(File::create(&path).unwrap());
    let mut child = command.spawn().unwrap();
    let log = || std::fs::read_to_string(&path).unwrap();
    wait_for("the daemon", || log().contains("refreshd is ready"));
    setting.import("one");
    let token = setting.token("one");
    setting.run(&["refresh", "one", "--force"]).succeeds();
    setting.token("one");
    setting
        .server
        .queue_fault(None, Fault::InternalError { performed: true });
    setting
        .run(&["refresh", "one", "--force"])
        .fails(69, &["500"]);
    let kill = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let log = log();
    setting.keep("the log in JSON", &log);
    assert!(!log.contains(&token));
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let about = |level: &str, key: &str| {
        lines
            .iter()
            .find(|line| line["grant"] == "one" && line["level"] == level && !line[key].is_null())
            .unwrap_or_else(|| panic!("no {level} line of one with {key}"))
    };
    let success = about("INFO", "generation");
    assert_eq!(success["generation"], 2);
    assert!(
        success["message"]
            .as_str()
            .unwrap()
            .starts_with("one: generation 2 until 20")
    );
    assert_eq!(about("WARN", "incident")["incident"], "in-doubt");
    for line in &lines {
        chrono::DateTime::parse_from_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
    }
}
