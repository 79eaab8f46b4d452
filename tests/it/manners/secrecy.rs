//! What of a running daemon others can get hold of: not its secrets. Logs,
//! errors and the state are looked through by every [`Setting`].

use crate::setting::{CLIENT_SECRET, ONE, Setting};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

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
    // What it starts would inherit what it must not: it starts nothing.
    for thread in fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap() {
        let children = thread.unwrap().path().join("children");
        assert_eq!(fs::read_to_string(children).unwrap_or_default(), "");
    }
}

/// From its first moment to its last, with a secret in its own environment.
#[tokio::test(flavor = "multi_thread")]
async fn it_executes_no_program() {
    let setting = Setting::one().await;
    let house = &setting.house;
    house.configure(&ONE.replace(
        "{ file = \"ROOT/secrets/pretend\" }",
        "{ env = \"SECRET\" }",
    ));
    let trace = house.path("trace");
    let secret = format!("SECRET={CLIENT_SECRET}");
    let path = trace.to_str().unwrap();
    let follow = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        path,
        "-e",
        "trace=execve,execveat,fork,vfork",
    ];
    let daemon = house.daemon_under(&[&["env", &secret][..], &follow].concat());
    let mut import = house.command(&["import", "one"]);
    let response = setting.response("one").to_string();
    import.env("SECRET", CLIENT_SECRET);
    setting.run_command_with(import, &response).succeeds();
    for args in [
        &["refresh", "one", "--force"][..],
        &["backup", "COPY"],
        &["reload"],
    ] {
        let copy = house.path("copy.db").display().to_string();
        let args: Vec<&str> = args
            .iter()
            .map(|a| if *a == "COPY" { &copy } else { *a })
            .collect();
        let mut command = house.command(&args);
        command.env("SECRET", CLIENT_SECRET);
        setting.run_command(command).succeeds();
    }
    assert_eq!(daemon.stop(), Some(0));
    let calls = fs::read_to_string(&trace).unwrap();
    let calls: Vec<&str> = calls.lines().filter(|line| line.contains("exec")).collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(!calls[0].contains(CLIENT_SECRET), "{calls:?}");
}

/// A command holds secrets too: one that waits for its input is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn nor_does_a_command_leave_a_core() {
    let setting = Setting::one().await;
    let plain = setting.house.command(&["import", "one"]);
    let mut command = Command::new("prlimit");
    command.arg("--core=unlimited").arg(plain.get_program());
    command.args(plain.get_args()).stdin(Stdio::piped());
    let mut child = command.current_dir(setting.house.path("")).spawn().unwrap();
    let waits = format!("/proc/{}/wchan", child.id());
    let limits = format!("/proc/{}/limits", child.id());
    crate::support::wait_for("the command to read", || {
        let text = fs::read_to_string(&limits).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with("Max core file size"));
        line.is_some_and(|line| line.split_whitespace().nth(4) == Some("0"))
            && fs::read_to_string(&waits).is_ok_and(|w| w.contains("pipe"))
    });
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-ABRT", &pid]).status();
    assert!(killed.unwrap().success());
    let ended = child.wait().unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
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
