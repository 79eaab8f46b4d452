//! With and without a daemon the same is answered.

use crate::setting::{ONE, Setting};

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_grant_is_answered_alike_with_and_without_a_daemon() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    let without = ONE.split("[grants.one]").next().unwrap();
    setting.house.configure(without);
    setting.run(&["reload"]).succeeds();
    let ask = || {
        let of = |args: &[&str]| {
            let ran = setting.run(args);
            (ran.code, ran.err)
        };
        let why = setting.house.status("one")["why"].clone();
        (of(&["get", "one"]), of(&["verify", "one"]), why)
    };
    let running = ask();
    let why = "it is not in the configuration any more";
    assert_eq!(running.0, (66, format!("refreshd: one: {why}\n")));
    assert_eq!(running.2, why);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(ask(), running);
}
