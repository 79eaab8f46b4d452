//! Installs from a marketplace carry no state of ours: an operator approves them.

use super::{ONE, Place};
use refreshd::enroll::Approve;
use refreshd_core::enroll::Stage;
use sandbox::NewPush;
use serde_json::json;

async fn marketplace(more: &str) -> Place {
    Place::retm(&format!("[clients.c.push]\nquarantine = true\n{more}")).await
}

async fn unasked(place: &Place, business: &str) -> String {
    let push = NewPush {
        business_id: Some(business.to_owned()),
        times: Some(2),
        ..NewPush::default()
    };
    let before = place.control().enrollments().await.unwrap().len();
    for pushed in place.server.push(&push).await.unwrap() {
        assert_eq!(pushed.status, Some(200), "{pushed:?}");
    }
    let all = place.control().enrollments().await.unwrap();
    assert_eq!(
        all.len(),
        before + 1,
        "the same push again is the same: {all:?}"
    );
    let waits = all
        .iter()
        .find(|r| r.stage == Stage::Quarantined && r.text.contains(business));
    waits.expect("it waits").id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lets_a_business_in() {
    let place = marketplace("").await;
    let daemon = place.daemon();
    let id = unasked(&place, "shop-5").await;
    assert_eq!(place.asked(), 0, "nothing is sent before somebody approves");
    // What waits outlives a kill.
    daemon.kill();
    let _daemon = place.daemon();
    let approved = place
        .control()
        .approve_enrollment(&id, &Approve::default())
        .await
        .unwrap();
    assert_eq!(approved.stage, Stage::Done, "{approved:?}");
    place.done(&id, "shop-5").await;
    let again = place
        .control()
        .approve_enrollment(&id, &Approve::default())
        .await;
    assert!(again.unwrap_err().message.contains("no push waits"));
    assert_eq!(place.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_takes_over_nothing_and_may_name_the_grant() {
    let place = marketplace(ONE).await;
    let _daemon = place.daemon();
    let as_grant = |grant: &str| Approve {
        grant: Some(grant.to_owned()),
    };
    let control = place.control();
    let id = unasked(&place, "shop-6").await;
    let taken = control
        .approve_enrollment(&id, &as_grant("one"))
        .await
        .unwrap_err();
    assert!(taken.message.contains("another business"), "{taken}");
    let bad = control
        .approve_enrollment(&id, &as_grant("../x"))
        .await
        .unwrap_err();
    assert!(bad.message.contains("cannot name a grant"), "{bad}");
    assert_eq!(place.asked(), 0);
    control
        .approve_enrollment(&id, &as_grant("acme"))
        .await
        .unwrap();
    place.done(&id, "acme").await;

    // Of a business that has a grant, its own is to be named.
    let id = unasked(&place, "shop-17").await;
    assert!(
        control
            .approve_enrollment(&id, &Approve::default())
            .await
            .is_err()
    );
    control
        .approve_enrollment(&id, &as_grant("one"))
        .await
        .unwrap();
    place.done(&id, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_can_be_given_up_and_nonsense_does_not_wait() {
    let place = marketplace("").await;
    let _daemon = place.daemon();
    let id = unasked(&place, "shop-7").await;
    let given_up = place.control().cancel_enrollment(&id).await.unwrap();
    assert_eq!(given_up.stage, Stage::Refused);
    for (business, code) in [("www", "c"), ("shop-8", "bad\u{7}code")] {
        let pushed = place.push(business, &json!({}), Some(code)).await;
        assert_eq!(pushed.status, Some(400), "{pushed:?}");
    }
    assert_eq!(place.control().enrollments().await.unwrap().len(), 1);
    assert_eq!(place.asked(), 0);
}
