//! `refreshd revoke`.

use crate::resource::published;
use crate::setting::{ONE, Setting, epoch};
use crate::support::wait_for;
use sandbox::Options;
use sandbox::faults::{Fault, Outage};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// The provider's file with what verify and revoke go by, and more.
pub(super) fn describe(setting: &Setting, more: &str) {
    let (token, verify) = (setting.server.token_url(), setting.server.verify_url());
    let revoke = setting.server.url("/revoke");
    setting.house.write(
        "providers.d/pretend.toml",
        &format!(
            "name = \"pretend\"\n[token]\nurl = \"{token}\"\n[rotation]\nrotates = \"always\"\n[verify]\nurl = \"{verify}\"\n[revoke]\nurl = \"{revoke}\"\n{more}"
        ),
    );
}

async fn setting() -> Setting {
    let config = ONE.replace(
        "/one\"",
        "/one\"\nformat = \"json\"\nwhen_dead = \"withdraw\"",
    );
    let setting = Setting::new(Options::default(), &config).await;
    describe(&setting, "");
    setting
}

fn state(setting: &Setting) -> Value {
    setting.house.status("one")["state"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_over_here_and_there() {
    let setting = setting().await;
    setting
        .run(&["revoke", "one", "--yes"])
        .fails(69, &["refreshd is not running"]);
    let (daemon, response) = setting.daemon_with_one();
    let file = setting.house.path("tokens/one");
    wait_for("the file", || published(&file).is_some());
    setting
        .run(&["revoke", "one"])
        .fails(64, &["--yes", "Nothing was done"]);
    setting
        .run(&["revoke", "none", "--yes"])
        .fails(66, &["no grant none"]);
    assert_eq!(state(&setting), "fresh");
    let ran = setting.run(&["revoke", "one", "--yes"]).succeeds();
    assert!(
        ran.out
            .starts_with("one: revoked, as pretend has confirmed"),
        "{ran:?}"
    );
    wait_for("the file to be withdrawn", || !file.exists());
    assert_eq!(state(&setting), "revoked");
    setting.run(&["get", "one"]).fails(77, &["revoked"]);
    setting.run(&["verify", "one"]).fails(77, &["HTTP 401"]);
    for more in [
        &["--force"][..],
        &["--force", "--accept-risk"],
        &["--rejected"],
    ] {
        let args = [&["refresh", "one"], more].concat();
        setting
            .run(&args)
            .fails(77, &["its operator had it revoked"]);
    }
    let doctor = setting.run(&["doctor"]).succeeds();
    assert_eq!(
        doctor.out,
        "all is well: nothing needs a person\n1 grant: 1 revoked\n"
    );
    assert!(
        setting.server.presentations().is_empty(),
        "nothing was refreshed"
    );

    // It outlasts a restart, and the same token set brought again.
    assert_eq!(daemon.stop(), Some(0));
    setting.run(&["get", "one"]).fails(77, &["had it revoked"]);
    let daemon = setting.house.daemon();
    assert_eq!((state(&setting), file.exists()), ("revoked".into(), false));
    let ran = setting.run_with(&["import", "one"], &response.to_string());
    assert_eq!(ran.succeeds().out, "one: unchanged, generation 1\n");
    // Another authorization begins anew, and its generation goes on.
    // (A second later, as times are told in seconds.)
    let later = (epoch() + 1).to_string();
    let args = ["import", "one", "--obtained-at", &later];
    setting
        .run_with(&args, &setting.response("one").to_string())
        .succeeds();
    wait_for("the file", || {
        published(&file).is_some_and(|(generation, _)| generation == 2)
    });
    assert_eq!(state(&setting), "fresh");
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_did_is_told_as_it_is_known() {
    let setting = setting().await;
    let (daemon, _) = setting.daemon_with_one();
    let file = setting.house.path("tokens/one");
    wait_for("the file", || published(&file).is_some());
    let revoke = || setting.run(&["revoke", "one", "--yes"]);

    // It is not able for the moment: nothing has changed.
    setting
        .server
        .set_outage(Some(Outage::Unavailable { retry_after: 1 }));
    revoke().fails(
        69,
        &[
            "not revoked at pretend",
            "refreshed and published as before",
        ],
    );
    assert_eq!((state(&setting), file.exists()), ("fresh".into(), true));
    setting.server.set_outage(None);
    // It refuses.
    setting.house.secret("secrets/other", "wrong-secret");
    let config = ONE.replace("secrets/pretend", "secrets/other");
    setting.house.configure(&config);
    setting.run(&["reload"]).succeeds();
    revoke().fails(77, &["not revoked at pretend", "invalid_client"]);
    assert_eq!(state(&setting), "fresh");
    setting.house.configure(&ONE.replace(
        "/one\"",
        "/one\"\nformat = \"json\"\nwhen_dead = \"withdraw\"",
    ));
    setting.run(&["reload"]).succeeds();
    setting.run(&["refresh", "one", "--force"]).succeeds();

    // The answer is lost: nobody knows, and it may be asked again.
    setting.server.set_outage(Some(Outage::Reset));
    revoke().fails(
        75,
        &[
            "whether pretend has revoked it is not known",
            "`refreshd revoke one` again",
        ],
    );
    assert_eq!(state(&setting), "revoked");
    wait_for("the file to be withdrawn", || !file.exists());
    let shown = setting.run(&["doctor"]).ends(77).out;
    assert!(
        shown.contains("is not known: ask again: `refreshd revoke one`"),
        "{shown}"
    );
    setting.server.set_outage(None);
    let presented = setting.server.presentations().len();
    // A kill in between changes nothing of it.
    daemon.kill();
    let daemon = setting.house.daemon();
    assert_eq!((state(&setting), file.exists()), ("revoked".into(), false));
    revoke().succeeds();
    assert_eq!(setting.house.status("one")["needs"], Value::Null);
    assert_eq!(setting.server.presentations().len(), presented);

    // Where there is no such endpoint.
    setting.provider(&setting.server.token_url());
    setting.run(&["reload"]).succeeds();
    revoke().fails(
        69,
        &[
            "no revocation endpoint of provider pretend",
            "refreshd remove one",
        ],
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_under_way_is_waited_for_and_what_it_brings_revoked() {
    let setting = setting().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.server.queue_fault(None, Fault::Late { ms: 2000 });
    let args = ["refresh", "one", "--force"];
    let refreshing = setting.begin(&args);
    wait_for("the request", || setting.server.presentations().len() == 1);
    setting.run(&["revoke", "one", "--yes"]).succeeds();
    setting.end(&args, refreshing).succeeds();
    let status = setting.house.status("one");
    assert_eq!(
        (&status["state"], &status["generation"]),
        (&"revoked".into(), &2.into())
    );
    setting.run(&["verify", "one"]).fails(77, &["HTTP 401"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_answer_leaves_it_unknown_and_unrefreshed() {
    let setting = setting().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/revoke", silent.local_addr().unwrap());
    let good = setting.server.url("/revoke");
    let toml = setting.house.path("providers.d/pretend.toml");
    let described = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, described.replace(&good, &url)).unwrap();
    let (daemon, _) = setting.daemon_with_one();
    let args = ["revoke", "one", "--yes"];
    let revoking = setting.begin(&args);
    let asked = silent.accept().await.unwrap();
    assert_eq!(
        state(&setting),
        "revoked",
        "durable before the request leaves"
    );
    daemon.kill();
    assert_eq!(setting.end(&args, revoking).code, 69);
    drop(asked);

    std::fs::write(&toml, described).unwrap();
    let daemon = setting.house.daemon();
    let status = setting.house.status("one");
    let needs = status["needs"].as_str().unwrap();
    assert!(
        needs.contains("is not known: ask again: `refreshd revoke one`"),
        "{status:#}"
    );
    // What may be alive is left with its consumers, and not refreshed.
    let file = setting.house.path("tokens/one");
    assert!(published(&file).is_some());
    setting.token("one");
    let forced = ["refresh", "one", "--force", "--accept-risk"];
    setting.run(&forced).fails(77, &["had it revoked"]);
    setting.run(&args).succeeds();
    wait_for("the file to be withdrawn", || !file.exists());
    assert!(setting.server.presentations().is_empty());
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_another_client_are_not_sent() {
    let setting = setting().await;
    let (daemon, _) = setting.daemon_with_one();
    setting
        .house
        .configure(&ONE.replace("client_id = \"pretend\"", "client_id = \"other\""));
    setting.run(&["reload"]).succeeds();
    setting
        .run(&["revoke", "one", "--yes"])
        .fails(77, &["belong to another client", "refreshd doctor"]);
    assert_eq!(state(&setting), "paused");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_it_asks_first() {
    let setting = setting().await;
    let (daemon, _) = setting.daemon_with_one();
    let answered = |answer: &str| {
        let plain = setting.house.command(&["revoke", "one"]);
        let words = std::iter::once(plain.get_program()).chain(plain.get_args());
        let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        let mut terminal = Command::new("script")
            .args(["-qec", &words.join(" "), "/dev/null"])
            .env("HOME", setting.house.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut screen = terminal.stdout.take().unwrap();
        let mut shown = String::new();
        while !shown.contains("[y/N] ") {
            let mut byte = [0];
            assert_eq!(screen.read(&mut byte).unwrap(), 1, "{shown}");
            shown.push(char::from(byte[0]));
        }
        writeln!(terminal.stdin.take().unwrap(), "{answer}").unwrap();
        let mut rest = String::new();
        screen.read_to_string(&mut rest).unwrap();
        (terminal.wait().unwrap().code(), shown + &rest)
    };
    let (code, shown) = answered("");
    assert!(
        shown.contains("revoke one at pretend? consumers will lose their access [y/N] "),
        "{shown}"
    );
    assert!(shown.contains("nothing was done"), "{shown}");
    assert_eq!((code, state(&setting)), (Some(64), "fresh".into()));
    let (code, shown) = answered("y");
    assert_eq!(
        (code, state(&setting)),
        (Some(0), "revoked".into()),
        "{shown}"
    );
    assert_eq!(daemon.stop(), Some(0));
}
