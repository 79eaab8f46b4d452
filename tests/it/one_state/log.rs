//! A log of the database that is missing, cut or put back: what it held may have been
//! presented.

use crate::setting::Setting;
use crate::support::wait_for;
use sandbox::faults::Fault;
use std::fs;
use std::path::{Path, PathBuf};

fn stamp(setting: &Setting) -> Vec<u8> {
    fs::read(setting.house.path("state/stamp")).unwrap_or_default()
}

fn log(setting: &Setting) -> PathBuf {
    setting.house.path("state/refreshd.db-wal")
}

/// A daemon that is killed while a refresh token is on its way, and its log of before.
async fn killed_in_flight() -> (Setting, Vec<u8>) {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    wait_for("the first stamp", || !stamp(&setting).is_empty());
    let (before, stamped) = (fs::read(log(&setting)).unwrap(), stamp(&setting));
    setting.server.queue_fault(None, Fault::Late { ms: 60_000 });
    let args = ["refresh", "one", "--force"];
    let refresh = setting.begin(&args);
    wait_for("the exchange", || setting.server.presentations().len() == 1);
    // The stamp follows within a second.
    wait_for("its intent to be stamped", || stamp(&setting) != stamped);
    daemon.kill();
    setting.end(&args, refresh).fails(69, &[]);
    (setting, before)
}

type Harm = fn(&Path, &[u8]);

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_missing_cut_or_put_back_is_noticed() {
    let harms: [(&str, Harm); 3] = [
        ("missing", |log, _| fs::remove_file(log).unwrap()),
        ("cut", |log, _| {
            let file = fs::OpenOptions::new().write(true).open(log).unwrap();
            file.set_len(4096).unwrap();
        }),
        ("put back", |log, before| fs::write(log, before).unwrap()),
    ];
    for (what, harm) in harms {
        let (setting, before) = killed_in_flight().await;
        harm(&log(&setting), &before);
        let daemon = setting.house.daemon();
        // Some of it may be gone with the log; it is not made anew in silence.
        let told = crate::backups::notices(&setting.house);
        assert!(told.contains("accept-restore"), "{what}: {told}");
        let wish = setting.run(&["refresh", "one", "--force"]);
        assert_ne!(wish.code, 0, "{what}");
        // The provider would revoke the grant if it were presented again.
        assert_eq!(setting.server.presentations().len(), 1, "{what}");
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_in_good_order_there_is_no_log_to_lose() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
    assert!(!log(&setting).exists());
    assert_eq!(setting.house.status("one")["state"], "fresh");
}
