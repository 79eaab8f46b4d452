//! A disk that is full: what is under way is kept, nothing new is begun, and it
//! goes on by itself once there is room.

use crate::disks::Disk;
use crate::setting::{ONE, Setting};
use crate::support::wait_for;
use sandbox::Options;
use sandbox::faults::Fault;
use std::fs;

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
