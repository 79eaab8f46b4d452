//! The control socket: found, kept, nobody else's, and served to the end.

use crate::setting::Setting;
use crate::support::{House, wait_for};
use sandbox::faults::Fault;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const FORCE: [&str; 3] = ["refresh", "one", "--force"];

/// The kernel takes connections for a daemon that is stopped; nobody answers them.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_waits_for_a_daemon_that_is_stopped() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    daemon.signal("STOP");
    let commands: [&[&str]; 6] = [
        &["get", "one", "--timeout", "1s"],
        &["status"],
        &["reload"],
        &FORCE,
        &["verify", "one"],
        &["key", "status"],
    ];
    let begun = Instant::now();
    let started: Vec<_> = commands.map(|args| (args, setting.begin(args))).into();
    for (args, child) in started {
        let ran = setting.end(args, child);
        assert_ne!(ran.code, 0, "{args:?}");
        assert!(ran.err.contains("did not answer"), "{args:?}: {}", ran.err);
    }
    assert!(begun.elapsed() < Duration::from_secs(40));
    daemon.signal("CONT");
    setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lives_is_served_through_the_whole_drain() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let token = setting.token("one");
    setting.server.queue_fault(None, Fault::Slow { ms: 4000 });
    let refresh = setting.begin(&FORCE);
    wait_for("the exchange", || {
        setting.house.status("one")["refreshing"] == true
    });
    daemon.signal("TERM");
    wait_for("the drain", || daemon.log().contains("SIGTERM: stopping"));
    assert_eq!(setting.token("one"), token);
    let status = setting.house.json(&["status", "--json", "one"]);
    assert_eq!(status["running"], true, "{status:#}");
    setting.end(&FORCE, refresh).succeeds();
    assert_eq!(daemon.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_daemons_socket_is_left_to_it() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let socket = setting.house.path("run/control.sock");
    let inode = || fs::metadata(&socket).unwrap().ino();
    let before = inode();
    let other = House::new("");
    let text = fs::read_to_string(other.config()).unwrap();
    let own = format!("{}/run", other.root().display());
    let taken = format!("{}/run", setting.house.root().display());
    fs::write(other.config(), text.replace(&own, &taken)).unwrap();
    let ran = setting.run_command({
        let mut command = other.command(&["run"]);
        command.stdout(std::process::Stdio::null());
        command
    });
    let process = format!("process {}", daemon.pid());
    ran.fails(75, &[&process, "control.sock", "runtime_dir"]);
    assert_eq!(inode(), before);
    setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_swept_away_comes_back() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let run = setting.house.path("run");
    let socket = run.join("control.sock");
    fs::remove_file(&socket).unwrap();
    wait_for("the socket", || socket.exists());
    setting.token("one");
    fs::remove_dir_all(&run).unwrap();
    wait_for("the directory", || socket.exists());
    setting.token("one");
    daemon.logs("was removed by somebody else");
    assert_eq!(daemon.stop(), Some(0));
    assert!(!socket.exists());
}

/// Whoever opens connections and says half of what they want keeps nobody out.
#[tokio::test(flavor = "multi_thread")]
async fn half_requests_leave_room_for_the_next() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let daemon = house.daemon_under(&["prlimit", "--nofile=128"]);
    setting.import("one");
    // Where the commands take longer than the daemon waits for the end of a request, they show
    // nothing.
    let shows = |_| {
        let held = half_requests(&house.path("run/control.sock"), 300);
        setting.token("one");
        setting.run(&FORCE).succeeds();
        let shown = setting.run(&["status"]).succeeds().out;
        let told = house.json(&["status", "--json"])["descriptors"].clone();
        held.iter().any(is_open).then_some((shown, told))
    };
    let (shown, told) = (0..10)
        .find_map(shows)
        .expect("a round of commands in time");
    assert!(shown.contains("file descriptors"), "{shown}");
    assert_eq!(told["limit"], 128, "{told}");
    let number = |name| told[name].as_u64().unwrap();
    assert!(number("open") > 20 && number("open") < 128, "{told}");
    assert!(number("reserved") > 20, "{told}");
    assert!(told["short"].as_str().unwrap().contains("128"), "{told}");
    assert_eq!(daemon.stop(), Some(0));
}

/// Connections of which every other has begun a request.
fn half_requests(socket: &Path, count: usize) -> Vec<UnixStream> {
    let open = |number| {
        let mut stream = UnixStream::connect(socket).unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /v1/status HT").unwrap();
        }
        stream.set_nonblocking(true).unwrap();
        stream
    };
    (0..count).map(open).collect()
}

/// Whether the other side has neither answered nor hung up.
fn is_open(mut stream: &UnixStream) -> bool {
    let read = stream.read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
