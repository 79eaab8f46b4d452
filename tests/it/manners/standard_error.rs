//! Standard error that nobody reads, or cannot be written, costs lines and nothing else;
//! what reads it gets lines as it takes them.

use crate::setting::Setting;
use crate::support::wait_for;
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A daemon with this standard error, once it serves.
fn daemon(setting: &Setting, stderr: impl Into<Stdio>, env: &[(&str, &str)]) -> Child {
    let mut command = setting.house.command(&["run"]);
    command.envs(env.iter().copied());
    let command = command.stdout(Stdio::null()).stderr(stderr);
    let child = command.spawn().unwrap();
    let socket = setting.house.path("run/control.sock");
    wait_for("the control socket", || socket.exists());
    child
}

fn terminate(mut child: Child) -> Option<i32> {
    let pid = child.id().to_string();
    let kill = std::process::Command::new("kill").arg(pid).status();
    assert!(kill.unwrap().success());
    child.wait().unwrap().code()
}

/// It works: it takes an import, refreshes, serves, and ends when it is told to.
fn lives(setting: &Setting, child: Child) {
    let known = setting.run(&["get", "one"]);
    if known.code != 0 {
        setting.import("one");
    }
    for _ in 0..3 {
        setting.run(&["refresh", "one", "--force"]).succeeds();
    }
    setting.token("one");
    setting.run(&["reload"]).succeeds();
    assert_eq!(terminate(child), Some(0));
}

/// A pipe with no room left, and its end, which is not read.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let filled = rustix::io::ioctl_fionbio(&writer, true);
    filled.unwrap();
    for size in [4096, 1] {
        while writer.write(&vec![b'x'; size]).is_ok() {}
    }
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipe_stops_nothing() {
    let setting = Setting::one().await;
    let (_unread, stderr) = full_pipe();
    let child = daemon(&setting, stderr, &[("REFRESHD_LOG", "trace")]);
    lives(&setting, child);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_a_full_disk_and_a_reader_that_has_gone() {
    let setting = Setting::one().await;
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = daemon(&setting, full, &[]);
    lives(&setting, child);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = daemon(&setting, writer, &[]);
    lives(&setting, child);
}

/// A configuration that is broken is told, and the end does not wait for a reader.
#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_keep_a_start_that_fails_from_ending() {
    let setting = Setting::one().await;
    setting.house.configure("[clients");
    let (_unread, stderr) = full_pipe();
    let mut command = setting.house.command(&["run"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(78));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_journal_gets_priorities_instead_of_times() {
    let setting = Setting::one().await;
    let path = setting.house.path("stream");
    let lines_of = |own: bool| {
        let stream = File::create(&path).unwrap();
        let found = stream.metadata().unwrap();
        let inode = found.ino() + u64::from(!own);
        let named = format!("{}:{inode}", found.dev());
        let child = daemon(&setting, stream, &[("JOURNAL_STREAM", &named)]);
        let log = || std::fs::read_to_string(&path).unwrap();
        wait_for("the daemon", || log().contains("refreshd is ready"));
        setting.house.configure("[clients");
        let pid = child.id().to_string();
        let hup = std::process::Command::new("kill")
            .args(["-HUP", &pid])
            .status();
        assert!(hup.unwrap().success());
        wait_for("the refusal", || log().contains("was not reloaded"));
        assert_eq!(terminate(child), Some(0));
        setting.house.configure(crate::setting::ONE);
        log().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let journal = lines_of(true);
    assert!(
        journal.iter().all(|line| line.starts_with('<')),
        "{journal:#?}"
    );
    let has = |start: &str, text: &str| {
        let mut lines = journal.iter();
        assert!(
            lines.any(|l| l.starts_with(start) && l.contains(text)),
            "{journal:#?}"
        );
    };
    has("<6>", "refreshd is ready");
    has("<3>", "was not reloaded");
    // The diagnostic's own lines belong to the error.
    has("<3>", "[clients");
    for line in lines_of(false)
        .iter()
        .filter(|l| l.contains("refreshd is ready"))
    {
        let time = line.split(' ').next().unwrap();
        chrono::DateTime::parse_from_rfc3339(time).unwrap();
    }
}

/// What the command prints is its result: if it cannot be written, the command failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_not_written_is_no_success() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let commands: [&[&str]; 6] = [
        &["get", "one"],
        &["get", "one", "--json"],
        &["status"],
        &["check"],
        &["provider", "list"],
        &["--help"],
    ];
    for args in commands {
        let mut command = setting.house.command(args);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = command.stdout(full).output().unwrap();
        assert_eq!(ended.status.code(), Some(73), "{args:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.contains("standard output could not be written"),
            "{said}"
        );

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = setting.house.command(args);
        let ended = command.stdout(writer).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{args:?}");
        assert!(ended.stderr.is_empty(), "{ended:?}");
    }
    // An address that nobody was shown is not waited for.
    let mut authorize = setting.house.command(&["authorize", "one"]);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let begun = std::time::Instant::now();
    assert!(!authorize.stdout(full).output().unwrap().status.success());
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(daemon.stop(), Some(0));
}
