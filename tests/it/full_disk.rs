//! A disk that is full: what is under way is kept, nothing new is begun, and it
//! goes on by itself once there is room.

use crate::disks::Disk;
use crate::setting::{ONE, Setting};
use crate::support::wait_for;
use sandbox::Options;
use sandbox::faults::Fault;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_is_committed_and_nothing_new_begun() {
    let setting = Setting::new(Options::default(), ONE).await;
    let disk = Disk::tmpfs(setting.house.path("state"), 80);
    let (daemon, _) = setting.daemon_with_one();
    setting.server.queue_fault(None, Fault::Late { ms: 2000 });
    let args = ["refresh", "one", "--force"];
    let refresh = setting.begin(&args);
    wait_for("the exchange", || {
        setting.server.stats().grants["one"].rotations == 1
    });
    disk.fill();
    setting.end(&args, refresh).succeeds();
    let rotated = setting.server.stats().grants["one"].rotations;
    assert_eq!(rotated, 1);
    let file = setting.house.path("tokens/one");
    let generation = || setting.house.status("one")["generation"].clone();
    assert_eq!(generation(), 2);
    let url = setting.server.resource_url();
    wait_for("the new token in the file", || {
        let token = fs::read_to_string(&file).unwrap();
        let asker = std::thread::spawn({
            let url = url.clone();
            move || crate::resource::Asker::new().status(&url, &token)
        });
        asker.join().unwrap() == 200
    });
    let log = daemon.log();
    assert!(log.contains("the space put by"), "it was full: {log}");
    let shouts = log.matches("a transaction failed").count();
    assert!(shouts <= 3, "{shouts} times: {log}");
    assert!(log.contains("nothing is refreshed until it can"), "{log}");

    // Preflight: a refresh that could not be saved is not started.
    let told = ["the database cannot be written", "nothing is refreshed"];
    setting.run(&args).fails(75, &told);
    assert_eq!(setting.server.presentations().len(), 1);
    assert_eq!(generation(), 2, "it still answers");
    // The incident is announced, and cannot be written down yet.
    let open = crate::incidents::open(&setting.house);
    assert_eq!(open[0]["kind"], "store-unwritable", "{open:?}");
    let file = setting.house.path("state/refreshd.db");
    disk.make_room();
    wait_for("the log to say so", || {
        daemon.log().contains("the database can be written again")
    });
    setting.run(&args).succeeds();
    assert_eq!(generation(), 3);
    assert_eq!(crate::incidents::open(&setting.house).len(), 0);
    assert_eq!(daemon.stop(), Some(0));
    let rows = crate::incidents::rows(&file);
    let row = rows.iter().find(|row| row.kind == "store-unwritable");
    assert!(row.is_some_and(|row| row.closed), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_publishes_and_waits() {
    let setting = Setting::new(Options::default(), ONE).await;
    let disk = Disk::tmpfs(setting.house.path("state"), 80);
    let (daemon, response) = setting.daemon_with_one();
    // What is not in the book yet cannot be published from a full disk.
    wait_for("the first file", || {
        setting.house.path("tokens/one").exists()
    });
    assert_eq!(daemon.stop(), Some(0));
    fs::remove_dir_all(setting.house.path("tokens")).unwrap();
    disk.fill();
    let daemon = setting.house.daemon();
    let token = fs::read_to_string(setting.house.path("tokens/one")).unwrap();
    assert_eq!(token, response["access_token"].as_str().unwrap());
    let args = ["refresh", "one", "--force"];
    setting
        .run(&args)
        .fails(75, &["the database cannot be written"]);
    assert!(setting.server.presentations().is_empty());
    disk.make_room();
    wait_for("room to be found", || setting.run(&args).code == 0);
    assert_eq!(setting.house.status("one")["generation"], 2);
    assert_eq!(daemon.stop(), Some(0));
}

/// A token endpoint that answers so many requests as it is told to, each with 256 KiB that
/// nobody can read.
struct Endpoint {
    url: String,
    /// How many have come, and how many may be answered.
    counts: Arc<(Mutex<(usize, usize)>, Condvar)>,
}

impl Endpoint {
    fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let counts: Arc<(Mutex<(usize, usize)>, Condvar)> = Arc::default();
        let shared = counts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, shared) = (stream.unwrap(), shared.clone());
                std::thread::spawn(move || {
                    let _head = stream.read(&mut [0; 8192]);
                    let (counts, changed) = &*shared;
                    let mut counts = counts.lock().unwrap();
                    let turn = counts.0;
                    counts.0 += 1;
                    let waits = |counts: &mut (usize, usize)| counts.1 <= turn;
                    drop(changed.wait_while(counts, waits).unwrap());
                    let body = "<p>Welcome. ".repeat(1 << 15)[..256 * 1024].to_owned();
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: 262144\r\n\r\n";
                    let _gone = stream.write_all(format!("{head}{body}").as_bytes());
                });
            }
        });
        Endpoint { url, counts }
    }

    fn come(&self) -> usize {
        self.counts.0.lock().unwrap().0
    }

    fn answer(&self, so_many: usize) {
        self.counts.0.lock().unwrap().1 = so_many;
        self.counts.1.notify_all();
    }
}

/// More than a checkpoint's worth of answers comes while there is no room but what was put
/// by, and half of them after a checkpoint has taken it.
#[tokio::test(flavor = "multi_thread")]
async fn large_answers_under_way_are_kept_on_a_full_disk_over_a_checkpoint() {
    const MANY: usize = 128;
    let mut config = ONE.to_owned();
    for number in 1..MANY {
        config += &format!("[grants.g{number}]\nclient = \"pretend\"\n");
    }
    let setting = Setting::new(Options::default(), &config).await;
    let house = &setting.house;
    house.write("conf.d/many.toml", "[daemon]\nmax_flights = 512\n");
    let endpoint = Endpoint::start();
    setting.provider(&endpoint.url);
    let disk = Disk::tmpfs(house.path("state"), 200);
    let daemon = house.daemon();
    // Refreshed at once, since nobody knows how old they are.
    let names = (1..MANY).map(|number| format!("g{number}"));
    let line = |name: String| {
        let response = setting.response(&name);
        serde_json::json!({"name": name, "client": "pretend", "response": response}).to_string()
    };
    let lines: Vec<String> = names.chain(["one".to_owned()]).map(line).collect();
    let imported = setting.run_with(&["import", "--ndjson"], &(lines.join("\n") + "\n"));
    imported.succeeds();
    wait_for("all exchanges", || endpoint.come() == MANY);

    let kept = || {
        house.json(&["answers", "--json"])["answers"]
            .as_array()
            .unwrap()
            .len()
    };
    disk.fill();
    endpoint.answer(MANY / 2);
    wait_for("half of the answers", || kept() == MANY / 2);
    // What the checkpoints in between gave up, if they gave up any.
    disk.fill();
    endpoint.answer(MANY);
    wait_for("all answers", || kept() == MANY);
    let size = fs::metadata(house.path("state/refreshd.db")).unwrap().len();
    assert!(size > 20 << 20, "no checkpoint was made: {size}");
    let log = daemon.log();
    assert!(log.contains("the disk is full"), "{log}");
    assert!(!log.contains("a transaction failed"), "{log}");
    disk.fill();
    daemon.kill();
    let daemon = house.daemon();
    assert_eq!(kept(), MANY);
    for report in house.json(&["status", "--json"])["grants"]
        .as_array()
        .unwrap()
    {
        assert_ne!(report["state"], "fresh", "{report:#}");
    }
    assert_eq!(
        endpoint.come(),
        MANY,
        "nothing is presented beside what is kept"
    );
    assert_eq!(daemon.stop(), Some(0));
}
