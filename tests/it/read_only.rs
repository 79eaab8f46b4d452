//! File systems that become read-only, and writable again.

use crate::disks::Disk;
use crate::matrix::strace::{Role, Tracer, threads};
use crate::setting::{ONE, Ran, Setting};
use crate::support::{Daemon, House, text, wait_for};
use sandbox::faults::Fault;
use sandbox::{OldValid, Options, Rotates, Rotation, Verdict};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// What the daemon calls to change files; but for `write`, by which threads are woken, too.
const CHANGES: &str = "inject=pwrite64,fdatasync,fsync,openat,rename,ftruncate,fallocate";

fn generation(setting: &Setting) -> u64 {
    setting.house.status("one")["generation"].as_u64().unwrap()
}

fn rotations(setting: &Setting) -> u64 {
    setting.server.stats().grants["one"].rotations
}

fn never_twice(setting: &Setting) {
    for presented in setting.server.presentations() {
        assert_eq!(presented.verdict, Verdict::Issued, "{presented:?}");
        assert_eq!(presented.refresh, presented.newest, "{presented:?}");
    }
}

/// Until it is detached, no file of the state can be changed.
pub(crate) fn write_protect(house: &House, daemon: &Daemon) -> Tracer {
    let writers = [Role::Store];
    let threads = threads(daemon.pid());
    let ids: Vec<u32> = threads
        .into_iter()
        .filter(|thread| writers.contains(&thread.1))
        .map(|thread| thread.0)
        .collect();
    assert_eq!(ids.len(), writers.len());
    let args = [
        "-e",
        "trace=file,desc",
        "-e",
        &format!("{CHANGES}:error=EROFS"),
    ];
    let args = args.map(str::to_owned);
    Tracer::attach(&ids, &house.path("trace"), &args).expect("they do not end")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_presented_while_the_state_cannot_be_written() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let force = ["refresh", "one", "--force"];
    setting.run(&force).succeeds();
    setting.server.queue_fault(None, Fault::Late { ms: 1500 });
    let under_way = setting.begin(&force);
    wait_for("the exchange", || rotations(&setting) == 2);
    let protected = write_protect(&setting.house, &daemon);

    // The answer comes, and can be kept nowhere but in memory.
    wait_for("the answer to be told of", || {
        daemon
            .log()
            .contains("it is kept in memory and tried again")
    });
    assert_eq!(setting.house.status("one")["refreshing"], true);
    assert_eq!(generation(&setting), 2, "what is not durable is not shown");
    let token = setting.token("one");
    assert_eq!(
        fs::read_to_string(setting.house.path("tokens/one")).unwrap(),
        token
    );
    setting
        .run(&["import", "other", "--client", "pretend"])
        .fails(65, &[]);
    let other = setting.response("other").to_string();
    let import = ["import", "other", "--client", "pretend"];
    let refused = setting.run_with(&import, &other);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.err.contains("cannot be written"), "{refused:?}");
    wait_for("the daemon to stop refreshing", || {
        daemon.log().contains("nothing is refreshed until it can")
    });
    assert_eq!(setting.server.presentations().len(), 2);

    let trace = protected.detach();
    assert!(trace.contains("(INJECTED)"), "nothing was refused");
    setting.end(&force, under_way).succeeds();
    assert_eq!(generation(&setting), 3);
    wait_for("the daemon to go on", || setting.run(&force).code == 0);
    wait_for("the file to follow", || {
        fs::read_to_string(setting.house.path("tokens/one")).unwrap() == setting.token("one")
    });
    setting.run_with(&import, &other).succeeds();
    assert_eq!(generation(&setting), 1 + rotations(&setting));
    never_twice(&setting);
    assert_eq!(daemon.stop(), Some(0));
}

/// What only looks shows the last token, and changes nothing.
#[track_caller]
fn can_be_looked_at(setting: &Setting, token: &str, looks: &dyn Fn(&[&str]) -> Ran) {
    let before = setting.state_files();
    assert_eq!(looks(&["get", "one"]).succeeds().out.trim(), token);
    let told = looks(&["status", "one"]).succeeds().out;
    assert!(told.contains("refreshd is not running"), "{told}");
    for args in [&["answers"][..], &["key", "status"]] {
        looks(args).succeeds();
    }
    looks(&["doctor"]).ends(69);
    setting.untouched_since(&before);
    let log_index = setting.house.path("state/refreshd.db-shm");
    assert!(!log_index.exists(), "nothing is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_read_only_disk_says_so() {
    let setting = Setting::one().await;
    let disk = Disk::ext4(setting.house.path("state"), 80);
    let (daemon, _) = setting.daemon_with_one();
    // As long as files are open there to be written, the kernel does not let it.
    assert!(!disk.remount("ro"), "it is in use");
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let token = setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
    assert!(disk.remount("ro"));
    let state = setting.house.path("state").display().to_string();
    let needles = [&*state, "Read-only file system", "mount -o remount,rw"];
    setting.run(&["run"]).fails(77, &needles);
    let response = setting.response("two").to_string();
    let import = ["import", "two", "--client", "pretend"];
    setting.run_with(&import, &response).fails(77, &needles);
    can_be_looked_at(&setting, &token, &|args| setting.run(args));
    let backup = setting.house.path("backup.db").display().to_string();
    setting.run(&["backup", &backup]).succeeds();
    assert!(disk.remount("rw"));
    assert_eq!(generation(&setting), 2, "at rest");
    let daemon = setting.house.daemon();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(generation(&setting), 3);
    never_twice(&setting);
    assert_eq!(daemon.stop(), Some(0));
}

/// A killed daemon leaves its last commits in the log alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemons_state_is_looked_at_on_a_read_only_disk() {
    let setting = Setting::one().await;
    let disk = Disk::ext4(setting.house.path("state"), 80);
    let (daemon, _) = setting.daemon_with_one();
    for _ in 0..2 {
        setting.run(&["refresh", "one", "--force"]).succeeds();
    }
    let token = setting.token("one");
    daemon.kill();
    let log = setting.house.path("state/refreshd.db-wal");
    assert!(fs::metadata(log).unwrap().len() > 0);
    assert!(disk.remount("ro"));
    can_be_looked_at(&setting, &token, &|args| setting.run(args));
    assert_eq!(generation(&setting), 3);
    assert!(disk.remount("rw"));
    let daemon = setting.house.daemon();
    assert_eq!(generation(&setting), 3);
    assert_eq!(daemon.stop(), Some(0));
}

/// A copy of a state, put where its owner may not write.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_a_state_can_look_at_it() {
    let setting = Setting::one().await;
    let house = &setting.house;
    for killed in [false, true] {
        let mut daemon = setting.daemon_as(65534);
        if !killed {
            setting.import("one");
        }
        setting.run(&["refresh", "one", "--force"]).succeeds();
        let token = setting.token("one");
        match killed {
            true => daemon.kill_now(),
            false => assert_eq!(daemon.stop(), Some(0)),
        }
        let modes = |dir: &str, mode, of_files| {
            for entry in fs::read_dir(house.path(dir)).unwrap() {
                let path = entry.unwrap().path();
                fs::set_permissions(path, fs::Permissions::from_mode(of_files)).unwrap();
            }
            fs::set_permissions(house.path(dir), fs::Permissions::from_mode(mode)).unwrap();
        };
        for dir in ["state", "key"] {
            modes(dir, 0o500, 0o400);
        }
        let refused = setting.run_as_nobody(&["run"]);
        refused.fails(77, &["Permission denied", "make it writable"]);
        can_be_looked_at(&setting, &token, &|args| setting.run_as_nobody(args));
        for dir in ["state", "key"] {
            modes(dir, 0o700, 0o600);
        }
    }
}

/// ext4 gives itself up: the only way a disk becomes read-only under open files.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_gives_up_under_the_daemon_is_repaired_without_a_loss() {
    let options = Options {
        rotation: Rotation {
            rotates: Rotates::Always,
            old_valid: OldValid::Forever,
            ..Rotation::default()
        },
        ..Options::default()
    };
    let config = format!("{ONE}\n[grants.two]\nclient = \"pretend\"\n");
    let setting = Setting::new(options, &config).await;
    let forever = format!(
        "name = \"pretend\"\n[token]\nurl = \"{}\"\n[rotation]\nrotates = \"always\"\nold_valid = \"forever\"\n",
        setting.server.token_url()
    );
    setting.house.write("providers.d/pretend.toml", &forever);
    let disk = Disk::ext4(setting.house.path("state"), 80);
    let (mut daemon, _) = setting.daemon_with_one();
    setting.import("two");
    let force = ["refresh", "one", "--force"];
    setting.run(&force).succeeds();
    setting.server.queue_fault(None, Fault::Late { ms: 1000 });
    let under_way = setting.begin(&force);
    wait_for("the exchange", || rotations(&setting) == 2);
    assert!(disk.remount("abort"), "ext4 cannot be made to give up");
    wait_for("the answer to be told of", || {
        daemon
            .log()
            .contains("it is kept in memory and tried again")
    });
    let log = daemon.log();
    assert!(log.contains("Read-only file system"), "{log}");
    // It serves what it has, and shows nothing that is not durable.
    assert_eq!(generation(&setting), 2);
    let token = setting.token("one");
    assert_eq!(
        fs::read_to_string(setting.house.path("tokens/one")).unwrap(),
        token
    );
    setting
        .run(&["refresh", "two", "--force"])
        .fails(75, &["cannot be written"]);
    assert_eq!(setting.server.presentations().len(), 2);
    let log = daemon.log();
    assert!(log.contains("nothing is refreshed until it can"), "{log}");
    daemon.kill_now();
    setting.end(&force, under_way);

    let start = setting.run(&["run"]);
    start.fails(77, &["Read-only file system", "mount -o remount,rw"]);
    disk.repair();
    let daemon = setting.house.daemon();
    // What was only in memory is asked for again, which costs nothing here.
    wait_for("the doubt to end", || {
        setting.run(&force);
        generation(&setting) > 2
    });
    let lost = |v: &Verdict| !matches!(v, Verdict::Issued | Verdict::Replayed);
    let seen = setting.server.presentations();
    assert!(!seen.iter().any(|p| lost(&p.verdict)), "{seen:?}");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshing_goes_on_while_the_outputs_are_read_only() {
    let setting = Setting::one().await;
    let disk = Disk::ext4(setting.house.path("tokens"), 4);
    let (daemon, _) = setting.daemon_with_one();
    let file = setting.house.path("tokens/one");
    wait_for("the file", || file.exists());
    let before = fs::read_to_string(&file).unwrap();
    wait_for("nothing to be open there", || disk.remount("ro"));
    for generation in 2..5 {
        setting.run(&["refresh", "one", "--force"]).succeeds();
        assert_eq!(setting.house.status("one")["generation"], generation);
    }
    let errors = || setting.house.status("one")["output_errors"].to_string();
    wait_for("the output to fail", || errors().contains("Read-only"));
    assert_eq!(fs::read_to_string(&file).unwrap(), before, "old and whole");
    let log = daemon.log();
    assert!(log.contains("Read-only file system"), "{log}");
    assert!(disk.remount("rw"));
    wait_for("the file to follow", || {
        fs::read_to_string(&file).unwrap() == setting.token("one")
    });
    wait_for("the errors to go", || errors() == "[]");
    never_twice(&setting);
    assert_eq!(daemon.stop(), Some(0));
    let log = text(&fs::read(setting.house.path("log")).unwrap());
    assert!(log.matches("Read-only file system").count() < 20, "{log}");
}
