//! A code was presented, the daemon is killed, and before the next start somebody runs
//! commands: what was under way of the code is nobody's but the daemon's.

use super::{Authorizing, Scene, killed_and_restarted, wait_for_token};
use crate::read_only::write_protect;
use crate::rescue::DRAIN;
use crate::support::wait_for;
use sandbox::Kind;
use sandbox::faults::Fault;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Every command that opens the state while no daemon runs, and some that only try.
pub(super) const COMMANDS: [&[&str]; 13] = [
    &["status"],
    &["status", "one", "--json"],
    &["get", "one"],
    &["backup", "--force", "copy.db"],
    &["key", "status"],
    &["key", "rotate"],
    &["doctor"],
    &["verify", "one"],
    &["import", "--ndjson"],
    &["authorize", "--list"],
    &["answers"],
    &["answers", "drop", "a", "--yes"],
    &["refresh", "one"],
];

/// Runs a command at rest. Whether it works out is not the question.
pub(super) fn at_rest(scene: &Scene, args: &[&str]) {
    let copy = scene.house.path("copy.db").display().to_string();
    let args: Vec<&str> = args
        .iter()
        .map(|arg| if *arg == "copy.db" { &copy } else { *arg })
        .collect();
    let line = match args[0] {
        "import" => {
            let response = scene.server.make_grant("other");
            serde_json::json!({"name": "other", "client": "c", "response": response}).to_string()
        }
        _ => String::new(),
    };
    let ended = scene.house.run_with(&args, &line);
    assert!(ended.status.code().is_some(), "{args:?}: {ended:?}");
}

/// An account URL that answers when it is told to.
struct Accounts {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answers: Arc<AtomicBool>,
}

impl Accounts {
    fn start() -> Accounts {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accounts = Accounts {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            answers: Arc::default(),
        };
        let (asked, answers) = (accounts.asked.clone(), accounts.answers.clone());
        std::thread::spawn(move || {
            let mut waiting = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _head = stream.read(&mut [0; 4096]);
                asked.fetch_add(1, Ordering::SeqCst);
                if answers.load(Ordering::SeqCst) {
                    let body = "{\"id\":1}";
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 8\r\n\r\n";
                    let _gone = stream.write_all(format!("{head}{body}").as_bytes());
                } else {
                    waiting.push(stream);
                }
            }
        });
        accounts
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A browser goes back with the code; the exchange is under way when this returns.
async fn presented(scene: &Scene, is_under_way: impl Fn() -> bool) -> (Authorizing, url::Url) {
    let begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    tokio::spawn(scene.http.get(back.clone()).send());
    wait_for("the exchange", is_under_way);
    (begun, back)
}

/// The answer is durable, and whose account it is is being asked: then the daemon dies.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_code_brought_outlives_every_command_at_rest() {
    let accounts = Accounts::start();
    let account = format!(
        "account.url = \"http://{}/me\"\naccount.member = \"id\"",
        accounts.address
    );
    let scene = Scene::new(Kind::Generic, "", &account).await;
    scene.approves_as("one");
    let daemon = scene.house.daemon();
    let (begun, back) = presented(&scene, || accounts.asked() == 1).await;
    daemon.kill();
    for command in COMMANDS {
        at_rest(&scene, command);
        assert_eq!(scene.exchanged(), 1, "{command:?}");
    }
    // It is shown meanwhile, and nobody may let go of what was not read yet.
    let kept = scene.house.json(&["answers", "one", "--json"]);
    assert_eq!(kept["answers"][0]["waits"], true, "{kept}");
    let id = kept["answers"][0]["id"].as_str().unwrap();
    let dropped = scene.house.run(&["answers", "drop", id, "--yes"]);
    assert_eq!(dropped.status.code(), Some(75), "{dropped:?}");

    // Taken in again while the next daemon looks through what waits, and a browser reloads.
    let daemon = scene.house.daemon();
    wait_for("the account to be asked for again", || {
        accounts.asked() == 2
    });
    tokio::spawn(scene.http.get(back).send());
    let daemon = {
        wait_for("it to be received", || {
            scene.list()[0]["stage"] == "received"
        });
        assert_eq!(scene.exchanged(), 1, "it was presented a second time");
        killed_and_restarted(&scene, daemon)
    };
    wait_for("the account to be asked for once more", || {
        accounts.asked() == 3
    });
    accounts.answers.store(true, Ordering::SeqCst);
    daemon.kill();
    let _daemon = scene.house.daemon();
    wait_for_token(&scene, None);
    let now = scene.list()[0].clone();
    assert_eq!(
        (now["stage"].as_str(), scene.exchanged()),
        (Some("done"), 1)
    );
    assert_eq!(begun.end().code, 0);
}

/// Its answer never came: that stays in doubt, whoever looks.
#[tokio::test(flavor = "multi_thread")]
async fn the_doubt_about_a_code_outlives_every_command_at_rest() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    let daemon = scene.house.daemon();
    scene.server.queue_fault(None, Fault::Late { ms: 60_000 });
    let (begun, _) = presented(&scene, || scene.exchanged() == 1).await;
    daemon.kill();
    for command in COMMANDS {
        at_rest(&scene, command);
    }
    let _daemon = scene.house.daemon();
    wait_for("it to be settled", || {
        scene.list()[0]["stage"] != "received"
    });
    let now = scene.list()[0].clone();
    assert_eq!(
        (now["stage"].as_str(), scene.exchanged()),
        (Some("in-doubt"), 1),
        "{now}"
    );
    assert_eq!(begun.end().code, 77);
}

/// Puts a backup in the place of the database; what lies beside it stays.
pub(super) fn put_back(scene: &Scene) {
    for name in ["refreshd.db-wal", "refreshd.db-shm"] {
        let _missing = std::fs::remove_file(scene.house.path(&format!("state/{name}")));
    }
    let (copy, database) = ("copy.db", "state/refreshd.db");
    std::fs::copy(scene.house.path(copy), scene.house.path(database)).unwrap();
}

/// Its answer came while nothing could be written, and the state is put back to a time
/// before the authorization began.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_code_brought_outlives_a_store_that_was_put_back() {
    let scene = Scene::generic().await;
    scene.house.write("conf.d/drain.toml", DRAIN);
    scene.approves_as("one");
    let daemon = scene.house.daemon();
    at_rest(&scene, &["backup", "--force", "copy.db"]);
    scene.server.queue_fault(None, Fault::Late { ms: 1500 });
    let (begun, _) = presented(&scene, || scene.exchanged() == 1).await;
    let protected = write_protect(&scene.house, &daemon);
    daemon.logs("what its exchange came to could not be saved");
    assert_ne!(daemon.stop(), Some(0), "what could not be saved is told");
    protected.detach();
    drop(begun);
    put_back(&scene);

    let daemon = scene.house.daemon();
    let held = scene.list()[0].clone();
    assert_eq!(held["stage"], "held", "{held}");
    let id = held["id"].as_str().unwrap();
    let kept = scene.house.json(&["answers", "one", "--json"]);
    assert_eq!(kept["answers"].as_array().unwrap().len(), 1, "{kept}");
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = scene.house.daemon();
    assert_eq!(scene.list().len(), 1, "it is held once");
    scene.house.json(&["authorize", "--accept", id, "--json"]);
    wait_for_token(&scene, None);
    assert_eq!(scene.exchanged(), 1);
    let kept = scene.house.json(&["answers", "--json"]);
    assert_eq!(kept["answers"], serde_json::json!([]), "it has been read");
}
