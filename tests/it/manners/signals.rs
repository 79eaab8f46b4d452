//! SIGTERM and SIGINT drain, SIGHUP reloads.

use crate::setting::{ONE, Setting};
use crate::support::{Daemon, wait_for};
use sandbox::faults::Fault;
use std::process::Child;

const FORCE: [&str; 3] = ["refresh", "one", "--force"];

/// A daemon in the middle of an exchange that takes so long.
async fn in_flight(ms: u64) -> (Setting, Daemon, Child) {
    let two = format!("{ONE}\n[grants.two]\nclient = \"pretend\"\n");
    let setting = Setting::new(sandbox::Options::default(), &two).await;
    let (daemon, _) = setting.daemon_with_one();
    setting.import("two");
    setting.server.queue_fault(None, Fault::Slow { ms });
    let refresh = setting.begin(&FORCE);
    wait_for("the exchange", || {
        setting.house.status("one")["refreshing"] == true
    });
    (setting, daemon, refresh)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_exchange_and_keeps_what_it_brings() {
    for signal in ["TERM", "INT"] {
        let (setting, daemon, refresh) = in_flight(3000).await;
        daemon.signal(signal);
        assert_eq!(daemon.wait(), Some(0), "{signal}");
        // Whoever asked for the refresh gets the answer.
        let ran = setting.end(&FORCE, refresh).succeeds();
        assert!(ran.out.starts_with("one: generation 2"), "{}", ran.out);
        assert!(!setting.house.path("run/control.sock").exists());
        let file = std::fs::read_to_string(setting.house.path("tokens/one")).unwrap();
        assert_eq!(setting.token("one"), file);

        let daemon = setting.house.daemon();
        assert_eq!(setting.house.status("one")["generation"], 2);
        assert_eq!(setting.house.status("one")["state"], "fresh");
        setting.run(&FORCE).succeeds();
        let stats = &setting.server.stats().grants["one"];
        assert_eq!((stats.presentations, stats.reuses), (2, 0));
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_begins_while_it_drains() {
    let (setting, daemon, refresh) = in_flight(3000).await;
    daemon.signal("TERM");
    wait_for("the drain", || daemon.log().contains("SIGTERM: stopping"));
    // Another who asks joins the exchange that is under way; nobody waits for one that
    // does not begin.
    let joined = setting.begin(&FORCE);
    let two = ["refresh", "two", "--force"];
    setting.run(&two).fails(75, &["two", "stopping"]);
    setting.end(&FORCE, joined).succeeds();
    assert_eq!(daemon.wait(), Some(0));
    setting.end(&FORCE, refresh).succeeds();
    assert_eq!(setting.server.presentations().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_and_the_limit_end_the_drain_in_doubt() {
    for (signals, limit) in [(2, "30s"), (1, "500ms")] {
        let (setting, daemon, refresh) = in_flight(20_000).await;
        let drain = format!("[daemon]\ndrain = \"{limit}\"\n");
        setting.house.write("conf.d/drain.toml", &drain);
        daemon.signal("HUP");
        wait_for("the reload", || {
            daemon.log().contains("configuration reloaded")
        });
        for signal in 0..signals {
            wait_for("the one before", || {
                signal == 0 || daemon.log().contains("SIGTERM: stopping")
            });
            daemon.signal("TERM");
        }
        assert_eq!(daemon.wait(), Some(0));
        assert_ne!(setting.end(&FORCE, refresh).code, 0);
        let status = setting.house.status("one");
        assert_eq!(status["state"], "in-doubt", "{limit}: {status:#}");
        assert_eq!(status["generation"], 1);
        setting.token("one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_a_good_configuration_over_and_leaves_a_bad_one() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let two = format!("{ONE}\n[grants.two]\nclient = \"pretend\"\n");
    setting.house.configure(&format!("{two}mode = 7\n"));
    daemon.signal("HUP");
    let place = format!("{}:18:1: ", setting.house.config().display());
    wait_for("the refusal", || {
        let log = daemon.log();
        log.contains("the configuration was not reloaded, the old one stays")
            && log.contains(&place)
    });
    // A command reads the configuration too, to find the daemon.
    setting.house.configure(ONE);
    setting.run(&["status", "two"]).fails(66, &["two"]);
    setting.token("one");

    setting.house.configure(&two);
    daemon.signal("HUP");
    wait_for("the reload", || {
        daemon
            .log()
            .contains("configuration reloaded: 1 client, 2 grants")
    });
    assert_eq!(setting.house.status("two")["state"], "pending");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_reports_what_became_of_it() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let two = format!("{ONE}\n[grants.two]\nclient = \"nobody\"\n");
    setting.house.configure(&two);
    setting
        .run(&["reload"])
        .fails(78, &["refreshd.toml:17:10", "nobody"]);
    setting.house.configure(&two.replace("nobody", "pretend"));
    let ran = setting.run(&["reload"]).succeeds();
    assert_eq!(ran.out, "configuration reloaded: 1 client, 2 grants\n");
    setting
        .house
        .write("conf.d/x.toml", "[daemon]\nmax_flights = 3\n");
    let ran = setting.run(&["reload"]).succeeds();
    assert!(ran.out.contains("take a restart"), "{}", ran.out);
    setting.token("one");
    assert_eq!(daemon.stop(), Some(0));
}

/// Before the handlers stand, a signal ends the process: they come first.
#[test]
fn signals_that_come_early_are_harmless() {
    let house = crate::support::House::new("");
    let started = |signal: &str| {
        let child = house.launch();
        // Not before it is the program itself, and its main has begun.
        let threads = format!("/proc/{}/task", child.pid());
        wait_for("the first thread", || {
            std::fs::read_dir(&threads).is_ok_and(|tasks| tasks.count() > 1)
        });
        child.signal(signal);
        child
    };
    for signal in ["TERM", "INT"] {
        assert_eq!(started(signal).wait(), Some(0), "{signal}");
    }
    for signal in ["HUP", "USR1", "USR2", "PIPE"] {
        let child = started(signal);
        wait_for("the daemon", || child.has_become_ready());
        child.signal(signal);
        house.json(&["status", "--json"]);
        assert_eq!(child.stop(), Some(0), "{signal}");
    }
}
