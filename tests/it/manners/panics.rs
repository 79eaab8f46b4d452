//! A panic prints where and why, and nothing of what its task held.

use crate::setting::Setting;
use crate::support::{House, wait_for};
use std::fs;
use std::process::{Command, Stdio};

/// Nobody else's: the limit counts all threads of a user.
const USER: u32 = 65531;

/// Where no thread can be had any more, the daemon panics, earlier or later: with
/// its secrets read and its key at hand, or with a token in the middle of being
/// written.
#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_shows_no_secret_when_it_panics() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let daemon = setting.daemon_as(USER);
    setting.import("one");
    assert_eq!(daemon.stop(), Some(0));
    let key = fs::read_to_string(house.path("key/key")).unwrap();
    setting.plant(key.trim());
    let ids = [format!("--reuid={USER}"), format!("--regid={USER}")];
    let instead = format!("shift; exec {} \"$@\"", house.path("refreshd").display());
    for threads in 1..=10 {
        let limit = format!("--nproc={threads}");
        let user = ["setpriv", &ids[0], &ids[1], "--clear-groups"];
        let loud = ["env", "RUST_BACKTRACE=full", "REFRESHD_LOG=trace"];
        let shell = ["/bin/sh", "-c", &instead, "sh"];
        let wrapper = [&["prlimit", &limit][..], &user, &loud, &shell].concat();
        let mut daemon = house.launch_under(&wrapper);
        // It ends, hangs in the runtime's own undoing, or gets as far as it can: to a
        // refresh, whose files take threads.
        let panics = || daemon_log(house).matches("panicked at").count();
        let (before, mut ready) = (panics(), false);
        wait_for("the daemon to be ready, to panic or to end", || {
            ready = daemon.has_become_ready();
            ready || panics() > before || daemon.has_ended()
        });
        if ready {
            let refresh = setting.begin(&["refresh", "one", "--force"]);
            setting.end(&["refresh", "one", "--force"], refresh);
        }
        daemon.kill_now();
    }
    let log = daemon_log(house);
    let panics = log.matches("panicked at").count();
    assert!(panics > 0, "nothing panicked: {log}");
    println!("figure panics_looked_at {panics}");
    // Dropping the setting looks for every secret in the log.
}

fn daemon_log(house: &House) -> String {
    fs::read_to_string(house.path("log")).unwrap()
}

/// The values of `debugs.rs`, each the reason of a panic of a thread that holds it.
#[test]
fn nor_does_a_value_that_is_the_reason_of_a_panic() {
    let itself = std::env::current_exe().unwrap();
    let output = Command::new(itself)
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("manners::debugs::alone_every_value_is_the_reason_of_a_panic")
        .env("RUST_BACKTRACE", "full")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{printed}");
    assert!(printed.matches("panicked at").count() > 20, "{printed}");
    assert!(!printed.contains(super::debugs::PLANTED), "{printed}");
}
