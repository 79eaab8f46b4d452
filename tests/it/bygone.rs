//! What was under way of a generation that is over is done with for good.

use crate::at_rest::{bygone_intent, open};
use crate::setting::Setting;

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_of_a_bygone_generation_does_not_come_back() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
    let state = open(&setting.house);
    let grant = state.store.grant_by_name("one").await.unwrap().unwrap();
    let intent = bygone_intent(&grant);
    state.store.record_intent(&intent).await.unwrap();
    state.close().await.unwrap();

    let daemon = setting.house.daemon();
    assert_eq!(setting.house.status("one")["state"], "fresh");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(open(&setting.house).recovered, []);
}
