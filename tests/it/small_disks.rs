//! Real file systems of a few MiB that fill up and are emptied again.

use crate::disks::Disk;
use crate::matrix::strace::{Role, Tracer, threads};
use crate::resource::{Asker, published};
use crate::setting::{ONE, Setting};
use crate::support::{text, wait_for};
use sandbox::faults::{Fault, NowAndThen};
use sandbox::{Options, Verdict};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const GRANTS: [&str; 3] = ["one", "two", "three"];
/// How often the disk fills up.
const ROUNDS: usize = 3;
/// What the log says when nothing can be written, and when it can.
const FULL: &str = "the database cannot be written: nothing";
const ROOM: &str = "the database can be written again";

/// Three grants as files and rows, and few exchanges at once.
async fn place() -> Setting {
    let config = format!(
        r#"{ONE}
        [grants.two]
        client = "pretend"
        [grants.three]
        client = "pretend"
        [[clients.pretend.outputs]]
        path = "ROOT/tokens/{{grant}}.json"
        format = "json"
        [[databases]]
        path = "ROOT/tokens/all.db"
        grants = ["*"]
        "#
    );
    let setting = Setting::new(Options::default(), &config).await;
    let few = "[daemon]\nmax_flights = 4\n";
    setting.house.write("conf.d/few.toml", few);
    setting
}

fn rotations(setting: &Setting, grant: &str) -> u64 {
    setting.server.stats().grants[grant].rotations
}

fn all_rotations(setting: &Setting) -> u64 {
    GRANTS.iter().map(|grant| rotations(setting, grant)).sum()
}

/// `get` and the file hold a token that the resource takes.
fn are_served(setting: &Setting) {
    for grant in GRANTS {
        let token = setting.token(grant);
        let url = setting.server.resource_url();
        let asking = || Asker::new().status(&url, &token);
        let status = thread::scope(|scope| scope.spawn(asking).join().unwrap());
        assert_eq!(status, 200, "{grant}");
        let file = setting.house.path(&format!("tokens/{grant}.json"));
        // What was under way when the disk filled up may still come.
        wait_for("the file to follow", || {
            published(&file).is_some_and(|(_, published)| published == setting.token(grant))
        });
    }
}

/// Nothing was lost, nothing presented twice.
fn kept_everything(setting: &Setting) {
    for grant in GRANTS {
        let generation = setting.house.status(grant)["generation"].as_u64();
        assert_eq!(generation, Some(1 + rotations(setting, grant)), "{grant}");
    }
    for presented in setting.server.presentations() {
        assert_eq!(presented.verdict, Verdict::Issued, "{presented:?}");
        assert_eq!(presented.refresh, presented.newest, "{presented:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_while_refreshing_costs_nothing() {
    let setting = place().await;
    let disk = Disk::ext4(setting.house.path("state"), 12);
    let daemon = setting.house.daemon();
    GRANTS.iter().for_each(|grant| drop(setting.import(grant)));
    // Most answers are under way when it happens.
    setting.server.set_now_and_then(NowAndThen {
        probability: 0.7,
        faults: vec![Fault::Late { ms: 150 }, Fault::Slow { ms: 60 }],
        spare_next: false,
    });
    let (done, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for grant in GRANTS {
            let (setting, done, refused) = (&setting, &done, &refused);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let ran = setting.house.run(&["refresh", grant, "--force"]);
                    match ran.status.code() {
                        Some(0) => {}
                        Some(75) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                        code => panic!("{code:?}: {}", text(&ran.stderr)),
                    }
                }
            });
        }
        let done = Ends(&done);
        let told = |what: &str| daemon.log().matches(what).count();
        for _ in 0..ROUNDS {
            let before = all_rotations(&setting);
            wait_for("refreshes", || all_rotations(&setting) > before + 9);
            let full = told(FULL);
            disk.fill();
            wait_for("the disk to be full", || {
                disk.fill();
                told(FULL) > full
            });
            are_served(&setting);
            // What came is committed into the space put by, or waits in memory, where the
            // filler was quicker to take that.
            let under_way = || {
                let report = |grant: &&str| setting.house.status(grant)["refreshing"] == true;
                GRANTS.iter().filter(|grant| report(grant)).count()
            };
            wait_for("a time when nothing finds room", || {
                let turned_down = refused.load(Ordering::Relaxed);
                wait_for("wishes to be turned down", || {
                    disk.fill();
                    let more = refused.load(Ordering::Relaxed) - turned_down;
                    more > 6 || under_way() == GRANTS.len()
                });
                // An exchange that had begun before may arrive only now, and land before it is counted.
                let begun = under_way();
                let (asked, room) = (setting.server.presentations().len(), told(ROOM));
                thread::sleep(Duration::from_millis(500));
                let asked_since = setting.server.presentations().len() - asked;
                // A log that was begun anew may need no more room; then this is no full disk.
                let full = told(ROOM) == room && told(FULL) > room;
                assert!(!full || asked_since <= begun, "{asked_since}");
                full
            });
            disk.make_room();
            wait_for("the daemon to notice", || told(ROOM) >= told(FULL));
            wait_for("what was kept in memory", || {
                GRANTS.iter().all(|grant| {
                    let before = rotations(&setting, grant);
                    let generation = setting.house.status(grant)["generation"].as_u64();
                    generation >= Some(1 + before)
                })
            });
        }
        let before = all_rotations(&setting);
        wait_for("refreshes again", || all_rotations(&setting) > before + 9);
        drop(done);
    });
    println!("figure small_disk_rotations {}", all_rotations(&setting));
    println!("figure small_disk_turned_down {}", refused.into_inner());
    let log = daemon.log();
    assert!(log.contains("make room on this disk"), "{log}");
    are_served(&setting);
    kept_everything(&setting);
    assert_eq!(daemon.stop(), Some(0));
    // Nothing was put off: the next start finds it all.
    let daemon = setting.house.daemon();
    kept_everything(&setting);
    assert_eq!(daemon.stop(), Some(0));
}

/// Ends the wishes also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshing_goes_on_while_the_outputs_disk_is_full() {
    let setting = place().await;
    let disk = Disk::ext4(setting.house.path("tokens"), 4);
    let daemon = setting.house.daemon();
    GRANTS.iter().for_each(|grant| drop(setting.import(grant)));
    are_served(&setting);
    let file = setting.house.path("tokens/one.json");
    let before = fs::read(&file).unwrap();
    disk.fill();
    for generation in 2..5 {
        setting.run(&["refresh", "one", "--force"]).succeeds();
        assert_eq!(setting.house.status("one")["generation"], generation);
    }
    let errors = || setting.house.status("one")["output_errors"].to_string();
    wait_for("the outputs to fail", || errors().contains("No space left"));
    wait_for("the row to fail", || errors().contains("all.db"));
    assert_eq!(fs::read(&file).unwrap(), before, "old and whole");
    // Which of its outputs is tried first is not promised.
    let log = daemon.log();
    let of_file = |line: &&str| line.contains("No space left") && line.contains("tokens/one");
    let said = log.lines().find(of_file);
    let said = said.unwrap_or_else(|| panic!("{log}"));
    assert!(said.contains("WARN"), "{said}");
    disk.make_room();
    are_served(&setting);
    wait_for("the errors to go", || errors() == "[]");
    kept_everything(&setting);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let setting = place().await;
    let mut command = setting.house.command(&["run"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let mut daemon = Killed(command.stderr(full.unwrap()).spawn().unwrap());
    wait_for("the daemon", || {
        setting.house.path("run/control.sock").exists()
    });
    GRANTS.iter().for_each(|grant| drop(setting.import(grant)));
    // Warnings and errors from every thread that writes some.
    let state = Role::Store;
    for (role, call) in [(state, "fsync"), (state, "rename")] {
        let threads = threads(daemon.0.id());
        let ids: Vec<u32> = threads
            .iter()
            .filter(|t| t.1 == role)
            .map(|t| t.0)
            .collect();
        let args = ["-e".to_owned(), format!("inject={call}:error=EIO:when=1")];
        let tracer = Tracer::attach(&ids, &setting.house.path("trace"), &args).unwrap();
        wait_for("the call to fail", || {
            setting.house.run(&["refresh", "one", "--force"]);
            tracer.trace().contains("(INJECTED)")
        });
    }
    setting
        .server
        .queue_fault(None, Fault::InternalError { performed: false });
    let failed = setting.house.run(&["refresh", "two", "--force"]);
    assert!(!failed.status.success());
    wait_for("refreshes", || {
        setting
            .house
            .run(&["refresh", "one", "--force"])
            .status
            .success()
    });
    assert!(
        setting
            .house
            .run(&["refresh", "three", "--force"])
            .status
            .success()
    );
    are_served(&setting);
    let stopped = std::process::Command::new("kill")
        .arg(daemon.0.id().to_string())
        .status();
    assert!(stopped.unwrap().success());
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
}

/// A daemon without a log; it does not outlive the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
