//! `refreshd history`: the same with and without a daemon.

use crate::setting::{ONE, Setting};
use sandbox::Options;
use sandbox::faults::Fault;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_to_a_grant_is_told_newest_first() {
    let setting = Setting::new(Options::default(), ONE).await;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    setting
        .server
        .queue_fault(None, Fault::InternalError { performed: true });
    setting.run(&["refresh", "one", "--force"]).ends(69);
    let kinds = |json: &str| -> Vec<(String, u64)> {
        let lines: Vec<Value> = serde_json::from_str(json).expect("JSON");
        let kind = |line: &Value| line["kind"].as_str().map(str::to_owned);
        let of = |line| Some((kind(line)?, line["generation"].as_u64()?));
        lines.iter().filter_map(of).collect()
    };
    let running = setting.run(&["history", "one", "--json"]).succeeds().out;
    let expected = [("in-doubt", 2), ("success", 2), ("imported", 1)];
    let expected = expected.map(|(kind, generation)| (kind.to_owned(), generation));
    assert_eq!(kinds(&running), expected);
    assert_eq!(daemon.stop(), Some(0));
    let at_rest = setting.run(&["history", "one", "--json"]).succeeds().out;
    assert_eq!(at_rest, running);
    let one = setting.run(&["history", "one", "-n", "1"]).succeeds().out;
    assert_eq!(one.lines().count(), 1, "{one}");
    assert!(one.contains("in-doubt") && one.contains("500"), "{one}");
    let status = setting.run(&["status", "one", "--history"]).succeeds().out;
    assert!(status.contains("one, newest first:"), "{status}");
    assert!(status.contains(one.trim_end()), "{status}");
    // Tokens stand in no line of it.
    assert!(
        !running.contains("at_") && !running.contains("rt_"),
        "{running}"
    );
    setting.run(&["history", "two"]).fails(66, &["two"]);
}
