//! What the daemon does while its calls are recorded: grants of each way of
//! rotating, refreshed one by one and all at once, with lost answers, a reload, a
//! backup, a new sealing key, a checkpoint, a kill, and a sync that fails.

use super::judge::Must;
use super::trace::{self, Timed};
use crate::kill::kinds::Kind;
use crate::setting::epoch;
use crate::support::{Daemon, House, text, wait_for};
use sandbox::faults::Fault;
use sandbox::{OldValid, Reuse, Rotates, Rotation};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// Enough to run into the checkpoint that the store makes by itself.
const LINES: usize = 1100;

const CALLS: &str = "trace=open,openat,creat,close,lseek,write,writev,pwrite64,pwritev,pwritev2,\
    sendto,sendmsg,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat,\
    renameat2,mkdir,mkdirat,rmdir,unlink,unlinkat,link,linkat,symlink,symlinkat,\
    copy_file_range,sendfile,splice,dup,dup2,dup3,io_uring_setup,io_submit";

/// Records every byte that is written.
pub(super) const STRACE: [&str; 10] = [
    "strace",
    "-f",
    "-y",
    "-xx",
    "-ttt",
    "-s",
    "2000000",
    "--seccomp-bpf",
    "-e",
    CALLS,
];

/// What was recorded: of each process its calls, and what was promised when.
pub(super) struct Recording {
    pub(super) house: House,
    pub(super) runs: Vec<Vec<Timed>>,
    pub(super) promised: Vec<(f64, Must)>,
    kinds: Vec<Kind>,
}

/// Runs the daemon through all of it.
pub(super) fn record(handle: &Handle) -> Recording {
    let kinds = kinds(handle);
    let config: String = kinds.iter().map(Kind::configuration).collect();
    let config = format!("max_flights = 3\n[backup]\ndir = \"ROOT/backups\"\nkeep = 1\n{config}");
    let house = House::new(&config);
    house.secret("pretend-secret", "pretend-secret");
    kinds.iter().for_each(|kind| kind.describe(&house));
    let mut recording = Recording {
        house,
        runs: Vec::new(),
        promised: Vec::new(),
        kinds,
    };
    recording.first_run(&config);
    recording.run_with_a_failing_sync();
    recording.run_until_no_sync_works();
    recording.last_run();
    recording
}

fn kinds(handle: &Handle) -> Vec<Kind> {
    let kind = |name, rotates, old_valid, reuse| {
        let rotation = Rotation {
            rotates,
            old_valid,
            reuse,
            ..Rotation::default()
        };
        let mut kind = Kind::with(handle, name, rotation, Duration::from_secs(600));
        kind.grants.truncate(1);
        kind
    };
    let (always, at_once) = (Rotates::Always, OldValid::default);
    let window = OldValid::For(Duration::from_secs(400));
    vec![
        kind("never", Rotates::Never, at_once(), Reuse::Revokes),
        kind("forever", always, OldValid::Forever, Reuse::Revokes),
        kind("until-used", always, OldValid::UntilUsed, Reuse::Revokes),
        kind("window", always, window, Reuse::Revokes),
        kind("error", always, at_once(), Reuse::Error),
        kind("revokes", always, at_once(), Reuse::Revokes),
    ]
}

impl Recording {
    /// Starts the daemon under strace.
    fn start(&self, more: &[&str]) -> Daemon {
        let out = self.trace_file();
        let mut strace = STRACE.to_vec();
        strace.push("-D");
        strace.extend(more);
        strace.extend(["-o", out.to_str().unwrap()]);
        self.house.daemon_under(&strace)
    }

    fn trace_file(&self) -> PathBuf {
        self.house.path(&format!("trace-{}", self.runs.len()))
    }

    /// Reads what strace wrote, once it has written all of it.
    fn ended(&mut self, pid: u32) {
        let out = self.trace_file();
        let ends = [" +++ exited with 0 +++", " +++ killed by SIGKILL +++"];
        let mut trace = String::new();
        wait_for("strace to end", || {
            trace = fs::read_to_string(&out).unwrap();
            let mut lines = trace.lines().rev().take(100);
            lines.any(|line| {
                let of_main = line.split_once(' ').is_some_and(|l| l.0 == pid.to_string());
                of_main && ends.iter().any(|end| line.ends_with(end))
            })
        });
        fs::remove_file(&out).unwrap();
        self.runs.push(trace::read(&trace));
    }

    fn promise(&mut self, must: Must) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        self.promised.push((now.as_secs_f64(), must));
    }

    fn grants(&self) -> Vec<String> {
        self.kinds.iter().flat_map(|k| k.grants.clone()).collect()
    }

    fn runs_well(&self, args: &[&str]) {
        let ran = self.house.run(args);
        assert!(ran.status.success(), "{args:?}: {}", text(&ran.stderr));
    }

    /// What `status` says of a grant may not be less later.
    fn promise_generation(&mut self, grant: &str) {
        let generation = self.house.status(grant)["generation"].as_u64().unwrap();
        self.promise(Must::Reach(grant.to_owned(), generation));
    }

    fn refresh(&mut self, grant: &str) {
        self.runs_well(&["refresh", grant, "--force"]);
        self.promise_generation(grant);
    }

    fn refresh_all_at_once(&mut self) {
        let grants = self.grants();
        let begin = |grant: &String| {
            let mut command = self.house.command(&["refresh", grant, "--force"]);
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        let wishes: Vec<_> = grants.iter().map(begin).collect();
        for mut wish in wishes {
            assert!(wish.wait().unwrap().success());
        }
        for grant in &grants {
            self.promise_generation(grant);
        }
    }

    fn kind(&self, name: &str) -> &Kind {
        self.kinds.iter().find(|kind| kind.name == name).unwrap()
    }

    fn first_run(&mut self, config: &str) {
        let daemon = self.start(&[]);
        for grant in self.grants() {
            let kind = self.kind(grant.trim_end_matches("-0"));
            kind.authorize(&self.house, &grant);
            self.promise(Must::Reach(grant.clone(), 1));
            // Refreshed at once, since nobody knows how old it is.
            wait_for("the first refresh", || {
                self.house.status(&grant)["generation"] == 2
            });
            self.refresh(&grant);
        }
        self.refresh_all_at_once();
        // Its answer is lost; it may be asked again at once.
        let forgiving = self.kind("forever");
        forgiving.server.queue_fault(None, Fault::ResetAfter);
        let lost = self.house.run(&["refresh", "forever-0", "--force"]);
        assert!(!lost.status.success(), "its answer came");
        self.refresh("forever-0");
        let changed = format!("{config}[clients.never.schedule]\nlead = \"7s\"\n");
        self.house.configure(&changed);
        self.runs_well(&["reload"]);
        self.back_up();
        self.checkpoint();
        self.refresh("revokes-0");
        self.runs_well(&["key", "rotate"]);
        self.refresh("error-0");
        self.back_up();
        // An exchange is under way when it is killed: its answer has not come.
        let out = self.kind("until-used");
        out.server.queue_fault(None, Fault::Late { ms: 60_000 });
        let rotations = || out.server.stats().grants.values().next().unwrap().rotations;
        let before = rotations();
        let mut wish = self.house.command(&["refresh", "until-used-0", "--force"]);
        let mut wish = wish.stderr(Stdio::null()).spawn().unwrap();
        wait_for("the exchange", || rotations() > before);
        let pid = daemon.pid();
        daemon.kill();
        wish.wait().unwrap();
        self.ended(pid);
    }

    fn back_up(&mut self) {
        let made = self.house.json(&["backup", "--json"]);
        let path = made["path"].as_str().unwrap();
        let name = PathBuf::from(path).file_name().unwrap().to_owned();
        self.promise(Must::Keep(name.into_string().unwrap()));
        // Their names have seconds; the next one takes the place of this one.
        let second = epoch();
        wait_for("the next second", || epoch() > second);
    }

    /// A grant that is imported over and over, which changes nothing and makes the
    /// write-ahead log long enough.
    fn checkpoint(&mut self) {
        let response = self.kind("never").server.make_grant("again");
        let line = serde_json::json!({"name": "again", "client": "never", "response": response});
        let lines = format!("{line}\n").repeat(LINES);
        let imported = self.house.run_with(&["import", "--ndjson"], &lines);
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        self.promise(Must::Reach("again".to_owned(), 1));
    }

    /// After the kill. Its log meets a sync that fails.
    fn run_with_a_failing_sync(&mut self) {
        let daemon = self.start(&["-e", "inject=fsync:error=EIO:when=9"]);
        for _ in 0..2 {
            for grant in ["forever-0", "revokes-0"] {
                // It is told where the intent was not written.
                let _told = self.house.run(&["refresh", grant, "--force"]);
                self.promise_generation(grant);
            }
        }
        assert!(
            daemon.log().contains("a transaction failed"),
            "no sync failed"
        );
        let pid = daemon.pid();
        assert_eq!(daemon.stop(), Some(0));
        self.ended(pid);
    }

    /// From some sync on none works, and then it is killed: its log has a tail that was never
    /// synced, behind which the next run writes.
    fn run_until_no_sync_works(&mut self) {
        let daemon = self.start(&["-e", "inject=fsync:error=EIO:when=9+"]);
        for grant in ["forever-0", "window-0"] {
            for _ in 0..3 {
                let _told = self.house.run(&["refresh", grant, "--force"]);
            }
            self.promise_generation(grant);
        }
        daemon.logs("a transaction failed");
        let pid = daemon.pid();
        daemon.kill();
        self.ended(pid);
    }

    fn last_run(&mut self) {
        let daemon = self.start(&[]);
        for grant in ["error-0", "never-0", "window-0"] {
            self.refresh(grant);
        }
        let pid = daemon.pid();
        assert_eq!(daemon.stop(), Some(0));
        self.ended(pid);
    }
}
