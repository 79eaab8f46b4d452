//! Every fault at every provider, whatever is being exchanged; and outages.

use crate::ask::Ask;
use crate::scene::Scene;
use sandbox::admin::NewGrant;
use sandbox::faults::{Fault, Outage};
use sandbox::rotation::Ended;
use sandbox::{Flow, Kind, Verdict};
use serde_json::json;

fn faults() -> Vec<Fault> {
    let unavailable = |performed| Fault::Unavailable {
        retry_after: 7,
        performed,
    };
    vec![
        Fault::Slow { ms: 1 },
        Fault::Late { ms: 1 },
        Fault::InternalError { performed: true },
        unavailable(false),
        unavailable(true),
        Fault::TooMany { retry_after: 7 },
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::HtmlPage { performed: true },
        Fault::LoginRedirect { performed: false },
        Fault::Truncated,
        Fault::InvalidClient,
        Fault::InvalidGrant,
        Fault::DeadRefreshToken,
        Fault::FamilyRevoked,
    ]
}

/// A right request of that kind.
fn right(scene: &Scene, flow: Flow) -> Ask {
    let begun = scene.server.begin_grant("made", &NewGrant::default());
    match flow {
        Flow::AuthorizationCode => scene.exchange(&scene.code()),
        Flow::RefreshToken => scene.refresh(&begun.origin, &begun.answer),
        Flow::DeviceCode => {
            let code = scene.server.make_device_code("made");
            let ask = Ask::right(&scene.server, flow, &begun.origin, "");
            ask.with("device_code", &code)
        }
        Flow::ClientCredentials => Ask::right(&scene.server, flow, &begun.origin, ""),
    }
}

#[tokio::test]
async fn every_fault_meets_every_exchange() {
    for kind in Kind::ALL {
        for flow in kind.flows() {
            let scene = Scene::of(kind).await;
            for fault in faults() {
                meet(&scene, *flow, &fault).await;
            }
        }
    }
}

async fn meet(scene: &Scene, flow: Flow, fault: &Fault) {
    let ask = right(scene, flow);
    scene.server.queue_fault(None, fault.clone());
    let response = ask.request(&scene.http).send().await;
    let said = format!("{fault:?} at {ask:?}: {response:?}");
    let last = scene.last();
    assert_eq!(last.fault.as_deref(), Some(fault.kind()), "{said}");
    assert_eq!(last.flow, Some(flow), "{said}");
    let (seen, unseen) = (Verdict::Issued, Verdict::Unseen);
    assert_eq!(
        last.verdict,
        if fault.performs() { seen } else { unseen },
        "{said}"
    );
    let status = response.map(|response| response.status().as_u16()).ok();
    let invalid_client = match scene.server.options().kind {
        Kind::Retently | Kind::Blynk => 400,
        _ => 401,
    };
    let expected = match fault {
        Fault::ResetBefore | Fault::ResetAfter => None,
        Fault::InternalError { .. } => Some(500),
        Fault::Unavailable { .. } => Some(503),
        Fault::TooMany { .. } => Some(429),
        Fault::LoginRedirect { .. } => Some(302),
        Fault::InvalidClient => Some(invalid_client),
        Fault::InvalidGrant | Fault::DeadRefreshToken | Fault::FamilyRevoked => Some(400),
        Fault::Slow { .. } | Fault::Late { .. } | Fault::HtmlPage { .. } | Fault::Truncated => {
            Some(200)
        }
    };
    assert_eq!(status, expected, "{said}");
}

#[tokio::test]
async fn what_died_stays_dead() {
    for (fault, ended, access) in [
        (Fault::DeadRefreshToken, Ended::RefreshKilled, 200),
        (Fault::FamilyRevoked, Ended::Reuse, 401),
    ] {
        let scene = Scene::of(Kind::Retently).await;
        let begun = scene.server.begin_grant("made", &NewGrant::default());
        let refresh = scene.refresh(&begun.origin, &begun.answer);
        scene.server.queue_fault(Some("made"), fault.clone());
        assert_eq!(scene.send(&refresh).await.status, 400);
        scene.not_granted(&refresh, Verdict::Dead).await;
        assert_eq!(scene.verify(&begun.answer).await, access);
        assert_eq!(scene.stats("made").ended, Some(ended));

        let exchange = scene.exchange(&scene.code());
        scene.server.queue_fault(Some("shop-17"), fault);
        assert_eq!(scene.send(&exchange).await.status, 400);
        scene.not_granted(&exchange, Verdict::CodeUsed).await;
    }
}

#[tokio::test]
async fn an_outage_stops_all_until_it_ends() {
    for kind in Kind::ALL {
        let scene = Scene::of(kind).await;
        let begun = scene.server.begin_grant("a", &NewGrant::default());
        let ask = right(&scene, kind.flows()[0]);
        let outage = Outage::Unavailable { retry_after: 3 };
        scene.server.set_outage(Some(outage));
        let answered = scene.send(&ask).await;
        assert_eq!(
            (answered.status, scene.last().verdict),
            (503, Verdict::Unseen)
        );
        assert_eq!(scene.verify(&begun.answer).await, 503);
        scene.server.set_outage(Some(Outage::Reset));
        assert!(ask.request(&scene.http).send().await.is_err());
        let verify = scene.http.get(scene.server.verify_url());
        assert!(verify.send().await.is_err());
        scene.server.set_outage(None);
        scene.accepted(&ask).await;
        assert_eq!(scene.verify(&begun.answer).await, 200);
    }
}

#[tokio::test]
async fn outages_and_revocations_can_be_had_over_http() {
    let scene = Scene::of(Kind::Reteno).await;
    let begun = scene.server.begin_grant("a", &NewGrant::default());
    let outage = scene.server.url("/admin/outage");
    let put = scene
        .http
        .put(&outage)
        .header("content-type", "application/json");
    let put = put.body(json!({ "kind": "unavailable", "retry_after": 5 }).to_string());
    assert_eq!(put.send().await.unwrap().status(), 204);
    assert_eq!(scene.verify(&begun.answer).await, 503);
    assert_eq!(
        scene.server.stats().outage,
        Some(Outage::Unavailable { retry_after: 5 })
    );
    let delete = scene.http.delete(&outage);
    assert_eq!(delete.send().await.unwrap().status(), 204);
    assert_eq!(scene.verify(&begun.answer).await, 200);

    let reuse = scene.http.post(scene.server.url("/admin/grants/a/reuse"));
    assert_eq!(reuse.send().await.unwrap().status(), 204);
    assert_eq!(scene.verify(&begun.answer).await, 401);
    assert_eq!(scene.stats("a").ended, Some(Ended::Reuse));
}
