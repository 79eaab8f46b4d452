//! The demo as a person runs it.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn demo() -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    demo.args(["demo", "--lifetime", "4s", "--grants", "2"]);
    demo
}

#[test]
fn tokens_are_kept_fresh() {
    let output = demo().args(["--for", "12s", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report}");
    assert_eq!(report["ok"], true);
    assert_eq!(
        (&report["http_401"], &report["reuses"]),
        (&0.into(), &0.into())
    );
    let grants = report["grants"].as_array().unwrap();
    assert_eq!(grants.len(), 2);
    for grant in grants {
        assert!(grant["refreshes"].as_u64().unwrap() >= 2, "{report}");
        assert!(grant["generation"].as_u64().unwrap() >= 3, "{report}");
        assert!(grant["http_200"].as_u64().unwrap() > 0, "{report}");
    }
}

#[test]
fn an_interrupt_ends_it_cleanly() {
    let mut child = demo().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut root = None;
    // Until the first token is used.
    for line in lines.by_ref().map(Result::unwrap) {
        if let Some(path) = line.trim().strip_prefix("directory") {
            root = Some(path.trim().to_owned());
        }
        if line.contains(" requests") && !line.contains(" 0 requests") {
            break;
        }
    }
    let root = root.unwrap();
    assert!(Path::new(&root).exists());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{rest:#?}");
    assert!(
        rest.iter().any(|line| line.ends_with("exit code 0")),
        "{rest:#?}"
    );
    assert!(!Path::new(&root).exists());
}
