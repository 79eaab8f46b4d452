//! Each fault, seen from outside, and what it left behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod support;

use reqwest::Response;
use sandbox::faults::{Fault, NowAndThen};
use sandbox::rotation::Ended;
use sandbox::{Options, Stats, Verdict};
use serde_json::json;
use std::error::Error;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use support::{Scene, read, text};

/// One fault on the first refresh of a new grant.
struct Met {
    scene: Scene,
    refresh_token: String,
    response: reqwest::Result<Response>,
    took: Duration,
}

async fn meet(fault: Fault) -> Met {
    let scene = Scene::with(Options::default()).await;
    let grant = scene.server.make_grant("a");
    let refresh_token = text(&grant, "refresh_token").to_owned();
    scene.server.queue_fault(Some("a"), fault.clone());
    let began = Instant::now();
    let response = scene.send(&refresh_token).await;
    let took = began.elapsed();
    assert_eq!(scene.last().fault.as_deref(), Some(fault.kind()));
    assert_eq!(scene.server.stats().faults[fault.kind()], 1);
    Met {
        scene,
        refresh_token,
        response,
        took,
    }
}

impl Met {
    /// The exchange took place behind the fault: the token is spent.
    fn assert_performed(&self) {
        assert_eq!(self.scene.verdicts(), [Verdict::Issued]);
    }

    /// The exchange did not take place: the token is as good as before.
    async fn assert_not_performed(&self) {
        assert_eq!(self.scene.verdicts(), [Verdict::Unseen]);
        assert_eq!(self.scene.refresh(&self.refresh_token).await.0, 200);
    }

    fn status(&self) -> u16 {
        self.response.as_ref().unwrap().status().as_u16()
    }

    fn header(&self, name: &str) -> &str {
        let headers = self.response.as_ref().unwrap().headers();
        headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

fn io_kind(error: &reqwest::Error) -> Option<ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = error.source();
    }
    None
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let met = meet(Fault::ResetBefore).await;
    let error = met.response.as_ref().unwrap_err();
    assert_eq!(
        io_kind(error),
        Some(ErrorKind::ConnectionReset),
        "{error:?}"
    );
    met.assert_not_performed().await;

    let met = meet(Fault::ResetAfter).await;
    let error = met.response.as_ref().unwrap_err();
    assert_eq!(
        io_kind(error),
        Some(ErrorKind::ConnectionReset),
        "{error:?}"
    );
    met.assert_performed();
}

#[tokio::test]
async fn a_truncated_answer_has_a_head_and_half_a_body() {
    let met = meet(Fault::Truncated).await;
    assert_eq!(met.status(), 200);
    met.assert_performed();
    let mut response = met.response.unwrap();
    let promised = response.content_length().unwrap();
    let chunk = response.chunk().await.unwrap().unwrap();
    assert!(chunk.starts_with(b"{\"") && (chunk.len() as u64) < promised);
    assert!(response.chunk().await.is_err());
}

#[tokio::test]
async fn slow_waits_before_and_late_after() {
    let met = meet(Fault::Slow { ms: 60 }).await;
    assert_eq!((met.status(), met.took.as_millis() >= 60), (200, true));
    met.assert_performed();

    let met = meet(Fault::Late { ms: 60 }).await;
    assert_eq!((met.status(), met.took.as_millis() >= 60), (200, true));
    met.assert_performed();
}

#[tokio::test]
async fn a_late_exchange_takes_place_at_once_and_though_nobody_waits() {
    for fault in [Fault::Late { ms: 3_600_000 }, Fault::Slow { ms: 50 }] {
        let scene = Scene::with(Options::default()).await;
        let grant = scene.server.make_grant("a");
        scene.server.queue_fault(None, fault.clone());
        let waiting = scene.send(text(&grant, "refresh_token"));
        let arrived = async {
            while scene.server.stats().faults.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = waiting => panic!("{fault:?} was answered"),
            () = arrived => {} // and the client goes away
        }
        while scene.verdicts() != [Verdict::Issued] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn server_errors_may_hide_a_rotation() {
    let met = meet(Fault::InternalError { performed: false }).await;
    assert_eq!(met.status(), 500);
    assert!(met.header("content-type").starts_with("text/html"));
    met.assert_not_performed().await;

    let met = meet(Fault::InternalError { performed: true }).await;
    assert_eq!(met.status(), 500);
    met.assert_performed();

    let fault = Fault::Unavailable {
        retry_after: 7,
        performed: false,
    };
    let met = meet(fault).await;
    assert_eq!((met.status(), met.header("retry-after")), (503, "7"));
    met.assert_not_performed().await;
}

#[tokio::test]
async fn too_many_says_when_to_come_again() {
    let met = meet(Fault::TooMany { retry_after: 9 }).await;
    assert_eq!((met.status(), met.header("retry-after")), (429, "9"));
    met.assert_not_performed().await;
}

#[tokio::test]
async fn pages_and_redirects_are_no_answers() {
    let met = meet(Fault::HtmlPage { performed: true }).await;
    assert_eq!(met.status(), 200);
    assert!(met.header("content-type").starts_with("text/html"));
    met.assert_performed();
    assert!(
        met.response
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("<html>")
    );

    let met = meet(Fault::LoginRedirect { performed: false }).await;
    assert_eq!((met.status(), met.header("location")), (302, "/login"));
    met.assert_not_performed().await;
}

#[tokio::test]
async fn lies_leave_the_token_as_it_was() {
    let met = meet(Fault::InvalidClient).await;
    assert_eq!(met.status(), 401);
    assert!(met.header("www-authenticate").starts_with("Basic"));
    met.assert_not_performed().await;

    let met = meet(Fault::InvalidGrant).await;
    assert_eq!(met.status(), 400);
    met.assert_not_performed().await;
}

#[tokio::test]
async fn a_dead_refresh_token_stays_dead() {
    let met = meet(Fault::DeadRefreshToken).await;
    let (status, refused) = read(met.response.unwrap()).await;
    assert_eq!((status, text(&refused, "error")), (400, "invalid_grant"));
    assert_eq!(met.scene.refresh(&met.refresh_token).await.0, 400);
    assert_eq!(met.scene.last().verdict, Verdict::Dead);
    let stats = met.scene.server.stats();
    assert_eq!(stats.grants["a"].ended, Some(Ended::RefreshKilled));
}

#[tokio::test]
async fn faults_come_now_and_then_until_they_are_cleared() {
    let scene = Scene::with(Options::default()).await;
    scene.server.set_now_and_then(NowAndThen {
        probability: 1.0,
        faults: vec![Fault::TooMany { retry_after: 1 }],
        spare_next: false,
    });
    let grant = scene.server.make_grant("a");
    let token = text(&grant, "refresh_token");
    for _ in 0..3 {
        assert_eq!(scene.send(token).await.unwrap().status(), 429);
    }
    scene.server.clear_faults();
    assert_eq!(scene.refresh(token).await.0, 200);
}

#[tokio::test]
async fn everything_can_be_had_over_http() {
    let scene = Scene::with(Options::default()).await;
    let post = |path: &str, body: serde_json::Value| {
        let request = scene.http.post(scene.server.url(path));
        let request = request.header("content-type", "application/json");
        request.body(body.to_string()).send()
    };
    let named = post("/admin/grants", json!({ "name": "a" })).await.unwrap();
    let (status, grant) = read(named).await;
    assert_eq!((status, text(&grant, "token_type")), (201, "Bearer"));
    let (_, numbered) = read(post("/admin/grants", json!({})).await.unwrap()).await;
    assert_ne!(grant["access_token"], numbered["access_token"]);

    let fault = json!({ "queue": [{ "grant": "a", "fault": { "kind": "reset-before" } }] });
    let queued = post("/admin/faults", fault).await.unwrap();
    assert_eq!(queued.status(), 204);
    assert!(scene.send(text(&grant, "refresh_token")).await.is_err());

    let get = |path: &str| scene.http.get(scene.server.url(path)).send();
    let stats = get("/admin/stats").await.unwrap().text().await.unwrap();
    let stats: Stats = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats.faults["reset-before"], 1);
    assert_eq!(stats.token_requests, 1);
    assert!(stats.grants.contains_key("grant-1"));
    let (_, log) = read(get("/admin/presentations").await.unwrap()).await;
    assert_eq!(log[0]["verdict"], "unseen");
    let url = scene.server.url("/admin/grants/a");
    assert_eq!(scene.http.delete(url).send().await.unwrap().status(), 204);
    assert_eq!(scene.visit(text(&grant, "access_token")).await, 401);
}
