//! A journal that is missing, cut or put back: what it held may have been presented.

use crate::setting::Setting;
use crate::support::wait_for;
use sandbox::faults::Fault;
use std::fs;
use std::path::Path;

/// A daemon that is killed while a refresh token is on its way.
async fn killed_in_flight() -> Setting {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.server.queue_fault(None, Fault::Late { ms: 3000 });
    let args = ["refresh", "one", "--force"];
    let refresh = setting.begin(&args);
    wait_for("the exchange", || setting.server.presentations().len() == 1);
    daemon.kill();
    setting.end(&args, refresh).fails(69, &[]);
    setting
}

type Harm = fn(&Path);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_missing_journal_held_is_in_doubt() {
    let harms: [(&str, Harm); 3] = [
        ("is missing", |path| fs::remove_file(path).unwrap()),
        ("was cut to 4096 of", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(4096).unwrap();
        }),
        ("was put back to an earlier state", |path| {
            let length = fs::metadata(path).unwrap().len();
            let fresh = fs::read(path).unwrap()[..8].to_vec();
            fs::write(path, fresh).unwrap();
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(length).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let setting = killed_in_flight().await;
        harm(&setting.house.path("state/journal-0001"));
        // Looking says so, and changes nothing.
        let before = setting.state_files();
        assert_eq!(setting.house.status("one")["state"], "in-doubt", "{what}");
        setting.untouched_since(&before);
        let daemon = setting.house.daemon();
        daemon.logs(what);
        assert_eq!(setting.house.status("one")["state"], "in-doubt", "{what}");
        // The provider would revoke the grant if it were presented again.
        assert_eq!(setting.server.presentations().len(), 1, "{what}");
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_in_good_order_nothing_is_lost_with_the_journal() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(daemon.stop(), Some(0));
    fs::remove_file(setting.house.path("state/journal-0001")).unwrap();
    assert_eq!(setting.house.status("one")["state"], "fresh");
    let daemon = setting.house.daemon();
    assert_eq!(setting.house.status("one")["state"], "fresh");
    // From now on it is watched over again.
    daemon.kill();
    fs::remove_file(setting.house.path("state/journal-0001")).unwrap();
    assert_eq!(setting.house.status("one")["state"], "in-doubt");
}
