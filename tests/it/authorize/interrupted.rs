//! The daemon is killed between the code and the token set.

use super::at_rest::{COMMANDS, at_rest};
use super::{Scene, killed_and_restarted, wait_for_token};
use crate::matrix::strace::{Role, Tracer, threads};
use crate::support::{Daemon, wait_for};
use sandbox::faults::Fault;

/// What writes to the database.
const CALLS: [(Role, &str); 3] = [
    (Role::Store, "pwrite64"),
    (Role::Store, "fdatasync"),
    (Role::Store, "fsync"),
];
/// More calls of a kind than an exchange makes.
const MOST: u32 = 40;

/// Kills the daemon at the n-th call of a thread from now on.
fn kill_at(scene: &Scene, daemon: &Daemon, (role, call): (Role, &str), nth: u32) -> Tracer {
    let threads = threads(daemon.pid());
    let ids: Vec<u32> = threads
        .iter()
        .filter(|t| t.1 == role)
        .map(|t| t.0)
        .collect();
    let args = [
        "-e".to_owned(),
        format!("inject={call}:signal=KILL:when={nth}"),
    ];
    Tracer::attach(&ids, &scene.house.path("trace"), &args).expect("it does not end")
}

/// Every call that writes, one after another, is the last: whatever was on disk then, and
/// whoever looks at it before the next start, the code has been presented once at the most,
/// and an answer that was written down is taken in.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_survives_a_kill_at_every_write_or_is_said_to_be_in_doubt() {
    let mut fired = 0;
    let mut adopted = 0;
    for call in CALLS {
        for nth in 1..MOST {
            let scene = Scene::generic().await;
            scene.approves_as("one");
            let mut daemon = scene.house.daemon();
            let begun = scene.begin(&[]);
            let back = scene.visit(&begun.url).await;
            let tracer = kill_at(&scene, &daemon, call, nth);
            let _gone = scene.http.get(back.clone()).send().await;
            let mut at = format!("{call:?} {nth}");
            wait_for("an end", || daemon.has_ended() || scene.token().is_some());
            if !daemon.has_ended() {
                // There are fewer such calls than that.
                drop(tracer);
                break;
            }
            fired += 1;
            drop((tracer, begun, daemon));
            let presented = scene.exchanged();
            for more in 0..2 {
                let command = COMMANDS[(2 * fired + more) % COMMANDS.len()];
                at_rest(&scene, command);
                at += &format!(", {command:?}");
            }
            let _daemon = scene.house.daemon();
            wait_for("it to be settled", || {
                scene.list()[0]["stage"] != "received"
            });
            let now = scene.list()[0].clone();
            let stage = now["stage"].as_str().unwrap();
            assert!(scene.exchanged() <= 1, "{at}: presented twice");
            match (stage, presented) {
                // Not a byte of it was kept: the browser's word is as good as none.
                ("open", 0) => assert_eq!(scene.exchanged(), 0, "{at}"),
                ("done", before) => {
                    wait_for_token(&scene, None);
                    adopted += before;
                }
                ("in-doubt", _) => {
                    assert!(
                        now["text"].as_str().unwrap().contains("authorize again"),
                        "{at}: {now}"
                    );
                    assert_eq!(scene.authorize().await.code, 0, "{at}: another one ends it");
                }
                other => panic!("{at}: {other:?}: {now}"),
            }
        }
    }
    println!("figure code_exchange_kills {fired}");
    println!("figure code_exchange_answers_adopted {adopted}");
    assert!(fired >= 10, "{fired} kills");
    assert!(adopted >= 2, "{adopted} answers were taken in after a kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_whose_answer_is_lost_is_not_presented_again() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    let daemon = scene.house.daemon();
    scene.server.queue_fault(None, Fault::ResetAfter);
    let ended = scene.authorize().await;
    assert_eq!(ended.code, 77, "{ended:?}");
    assert!(
        ended.err.contains("not known") && ended.err.contains("authorize again"),
        "{}",
        ended.err
    );
    let _daemon = killed_and_restarted(&scene, daemon);
    assert_eq!(scene.exchanged(), 1);
    assert_eq!(scene.list()[0]["stage"], "in-doubt");
    assert_eq!(scene.authorize().await.code, 0, "another one ends it");
}

/// The command waits on while the daemon is restarted, and so does what was begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_outlives_the_daemon() {
    let scene = Scene::generic().await;
    scene.approves_as("one");
    let daemon = scene.house.daemon();
    let mut begun = scene.begin(&[]);
    let back = scene.visit(&begun.url).await;
    assert_eq!(daemon.stop(), Some(0), "it does not wait for the person");
    let page = scene.http.get(back.clone()).send().await.unwrap();
    assert_eq!(page.status(), 503);
    let page = page.text().await.unwrap();
    assert!(page.contains("Reload this page"), "{page}");
    assert!(begun.waits());
    let _daemon = scene.house.daemon();
    let page = scene.http.get(back).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert_eq!(begun.end().code, 0);
    wait_for_token(&scene, None);
}
