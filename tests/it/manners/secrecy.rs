//! What of a running daemon others can get hold of: not its secrets. Logs,
//! errors and the state are looked through by every [`Setting`].

use crate::setting::{CLIENT_SECRET, Setting};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

const USER: u32 = 65530;

#[tokio::test(flavor = "multi_thread")]
async fn neither_arguments_nor_environment_hold_a_secret() {
    let setting = Setting::one().await;
    let (daemon, response) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let token = setting.token("one");
    let secrets = [
        CLIENT_SECRET,
        &token,
        response["access_token"].as_str().unwrap(),
        response["refresh_token"].as_str().unwrap(),
    ];
    for file in ["cmdline", "environ", "comm", "status"] {
        let bytes = fs::read(format!("/proc/{}/{file}", daemon.pid())).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in secrets {
            assert!(!text.contains(secret), "{file}");
        }
    }
    let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
    assert_eq!(
        fs::read_to_string(children).unwrap(),
        "",
        "it starts no programs"
    );
}

/// Not even by another process of its own user, which could read its memory.
#[tokio::test(flavor = "multi_thread")]
async fn its_own_user_cannot_look_into_it() {
    let setting = Setting::one().await;
    let daemon = setting.daemon_as(USER);
    setting.import("one");
    let proc = format!("/proc/{}", daemon.pid());
    assert_eq!(fs::metadata(format!("{proc}/status")).unwrap().uid(), 0);
    let reads = |file: &str| -> ExitStatus {
        let ids = [format!("--reuid={USER}"), format!("--regid={USER}")];
        let mut command = Command::new("setpriv");
        command.args(ids).arg("--clear-groups");
        command.args(["head", "-c1", file]).output().unwrap().status
    };
    for file in ["environ", "mem", "maps", "auxv"] {
        assert!(!reads(&format!("{proc}/{file}")).success(), "{file}");
    }
    // The test can tell: of a process that may be dumped all of this is readable.
    let ids = [format!("--reuid={USER}"), format!("--regid={USER}")];
    let mut plain = Command::new("setpriv")
        .args(ids)
        .args(["--clear-groups", "sleep", "60"])
        .spawn()
        .unwrap();
    let environ = format!("/proc/{}/environ", plain.id());
    crate::support::wait_for("the other program", || reads(&environ).success());
    plain.kill().unwrap();
    plain.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_leaves_no_core() {
    let setting = Setting::one().await;
    let unlimited = ["prlimit", "--core=unlimited"];
    let daemon = setting.house.daemon_under(&unlimited);
    setting.import("one");
    daemon.signal("ABRT");
    let ended = daemon.ended();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
    // The test can tell: another program leaves one in the same place.
    let mut plain = Command::new(unlimited[0])
        .args([unlimited[1], "sleep", "60"])
        .current_dir(setting.house.path(""))
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/cmdline", plain.id());
    crate::support::wait_for("the other program", || {
        fs::read_to_string(&limits).is_ok_and(|line| line.starts_with("sleep"))
    });
    let pid = plain.id().to_string();
    let killed = Command::new("kill").args(["-ABRT", &pid]).status();
    assert!(killed.unwrap().success());
    let ended = plain.wait().unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), true));
}
