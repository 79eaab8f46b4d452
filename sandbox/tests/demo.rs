//! The demo as a person runs it.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const PROVIDERS: [&str; 5] = ["blynk", "reteno", "retently", "retm", "vcita"];

fn demo(args: &[&str]) -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    demo.arg("demo").args(args);
    demo
}

/// The summary of a demo that has to go well.
fn summary(args: &[&str]) -> Value {
    let output = demo(args).arg("--json").output();
    let output = output.expect("the demo can be run");
    let progress = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).expect(&progress);
    assert!(output.status.success(), "{report:#}\n{progress}");
    assert_eq!(report["ok"], true);
    for zero in ["http_401", "reuses", "consumer_errors", "daemon_exit_code"] {
        assert_eq!(report[zero], 0, "{zero}: {report:#}");
    }
    report
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("it is a number")
}

#[test]
fn all_five_are_kept_fresh() {
    let report = summary(&["--for", "15s", "--lifetime", "4s", "--grants", "2"]);
    let providers = report["providers"].as_object().unwrap();
    assert!(providers.keys().eq(&PROVIDERS), "{report:#}");
    for (name, provider) in providers {
        let grants = provider["grants"].as_array().unwrap();
        let wanted = if name == "retm" { 3 } else { 2 };
        assert_eq!(grants.len(), wanted, "{name}");
        for grant in grants {
            let least = if name == "vcita" { 0 } else { 2 };
            assert!(number(&grant["refreshes"]) >= least, "{grant:#}");
            assert!(number(&grant["http_200"]) > 0, "{grant:#}");
        }
    }
    let vcita = &providers["vcita"];
    assert_eq!(
        (&vcita["lifetime"], &vcita["refreshes"]),
        (&"20y".into(), &0.into())
    );
    assert!(report["doomed"].is_null());
}

#[test]
fn faults_are_survived_by_all_that_can_be_kept() {
    let report = summary(&["--for", "22s", "--lifetime", "8s", "--faults"]);
    for name in PROVIDERS.iter().filter(|name| **name != "vcita") {
        let faults = report["providers"][name]["faults"].as_object().unwrap();
        assert!(!faults.is_empty(), "{name}: {report:#}");
    }
    let doomed = report["doomed"].as_array().unwrap();
    let [dead, revoked] = &doomed[..] else {
        panic!("{report:#}");
    };
    for grant in [dead, revoked] {
        assert_eq!(grant["state"], "refused", "{grant:#}");
        assert_eq!(grant["last_outcome"], "invalid-grant", "{grant:#}");
        assert!(number(&grant["http_401"]) > 0, "{grant:#}");
    }
    assert_eq!(dead["faults"]["dead-refresh-token"], 1);
    assert_eq!(revoked["faults"]["reset-after"], 1);
    assert_eq!(revoked["faults"]["family-revoked"], 1);
}

/// A demo that goes on until it is told to stop.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it and waits until tokens are used. What it said until then.
    fn start(args: &[&str]) -> (Running, Vec<String>) {
        let mut child = demo(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo can be run");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut running = Running { child, lines };
        let mut said = Vec::new();
        for line in running.lines.by_ref().map_while(Result::ok) {
            let used = line.contains("vcita") && !line.contains(" 0 requests");
            said.push(line);
            if used && said.last().is_some_and(|line| line.contains(" requests")) {
                break;
            }
        }
        (running, said)
    }

    /// Interrupts it. What it said then, and whether all was well.
    fn stop(mut self) -> (Vec<String>, bool) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let rest = self.lines.by_ref().map_while(Result::ok).collect();
        let status = self.child.wait().expect("it is ours");
        (rest, status.success())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_interrupt_ends_it_cleanly() {
    let (running, said) = Running::start(&["--lifetime", "4s"]);
    let root = said
        .iter()
        .find_map(|line| line.trim().strip_prefix("directory"));
    let root = root.unwrap().trim();
    assert!(Path::new(root).exists());
    let (rest, well) = running.stop();
    assert!(well, "{rest:#?}");
    assert!(
        rest.iter().any(|line| line.ends_with("exit code 0")),
        "{rest:#?}"
    );
    assert!(!Path::new(root).exists());
}

/// What the demo prints to be copied works while it runs.
#[test]
fn a_person_can_look_meanwhile() {
    let (running, said) = Running::start(&["--lifetime", "8s"]);
    let heading = said.iter().position(|line| line == "Look for yourself:");
    let commands = said[heading.unwrap() + 2..].iter();
    let commands: Vec<_> = commands.take_while(|line| !line.is_empty()).collect();
    assert!(commands.len() >= 2, "{said:#?}");
    for command in commands {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {output:?}");
        assert!(
            text.contains("at_") || text.contains("GRANT"),
            "{command}: {text}"
        );
    }
    let (rest, well) = running.stop();
    assert!(well, "{rest:#?}");
}
