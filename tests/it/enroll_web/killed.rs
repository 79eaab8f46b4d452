//! Between the 200 and the exchange the daemon dies.

use super::{ONE, Place};
use crate::support::wait_for;
use refreshd_core::enroll::Stage;
use sandbox::faults::Fault;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_acknowledged_is_presented_once_after_a_kill() {
    let place = Place::retm("").await;
    // Two codes at the provider at once; their answers are late, and so the third waits.
    place
        .house
        .write("conf.d/few.toml", "[daemon]\nmax_flights = 1\n");
    let daemon = place.daemon();
    let mut ids = Vec::new();
    for (i, business) in ["shop-1", "shop-2", "shop-3"].into_iter().enumerate() {
        let (id, data) = place.install(None).await;
        place
            .server
            .queue_fault(Some(business), Fault::Late { ms: 60_000 });
        if i == 2 {
            place.server.clear_faults();
        }
        assert_eq!(place.push(business, &data, None).await.status, Some(200));
        ids.push(id);
        wait_for("the first two exchanges", || {
            place.asked() == (i + 1).min(2)
        });
    }
    assert_eq!(place.report(&ids[2]).await.stage, Stage::Received);
    daemon.kill();
    assert_eq!(place.asked(), 2);

    let _daemon = place.daemon();
    place.done(&ids[2], "shop-3").await;
    // Of the other two nobody knows whether they were taken: they are not tried again.
    for id in &ids[..2] {
        assert_eq!(place.over(id).await.stage, Stage::InDoubt);
    }
    assert_eq!(place.asked(), 3, "{:?}", place.server.presentations());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_never_presented_twice_whenever_the_kill_comes() {
    let place = Place::retm(ONE).await;
    for delay_ms in [0, 1, 2, 4, 8, 16] {
        let before = place.asked();
        let daemon = place.daemon();
        let (id, data) = place.install(Some("one")).await;
        assert_eq!(place.push("shop-17", &data, None).await.status, Some(200));
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        daemon.kill();
        let daemon = place.daemon();
        let report = place.over(&id).await;
        assert!(
            matches!(report.stage, Stage::Done | Stage::InDoubt),
            "{report:?}"
        );
        let asked = place.asked() - before;
        assert!(
            asked <= 1,
            "{delay_ms} ms: {:?}",
            place.server.presentations()
        );
        assert!(asked == 1 || report.stage != Stage::Done);
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_an_exchange_that_is_under_way() {
    let place = Place::retm(ONE).await;
    let daemon = place.daemon();
    let (id, data) = place.install(Some("one")).await;
    place.server.queue_fault(None, Fault::Late { ms: 1500 });
    assert_eq!(place.push("shop-17", &data, None).await.status, Some(200));
    wait_for("the exchange", || place.asked() == 1);
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = place.daemon();
    place.done(&id, "one").await;
    assert_eq!(place.asked(), 1);
}
