//! The device flow where the provider is not itself for a moment.

use super::{Scene, config, wait_for_token};
use crate::support::wait_for;
use sandbox::faults::Fault;
use sandbox::{Auto, Flow, Kind};

/// A poll that is not answered, or by a gateway alone, decides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn polls_that_fail_do_not_end_it() {
    let scene = Scene::new(Kind::Generic, "", "").await;
    let device = scene.server.url("/device_authorization");
    let device = format!("device.url = \"{device}\"");
    scene.house.configure(&config(&scene.server, "", &device));
    let mut enrollment = scene.server.enrollment();
    enrollment.device_interval = 1;
    scene.server.set_enrollment(enrollment);
    let (retry_after, performed) = (1, false);
    for fault in [
        Fault::Unavailable {
            retry_after,
            performed,
        },
        Fault::ResetBefore,
    ] {
        scene.server.queue_fault(None, fault);
    }
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&["--device"]);
    let mut page = begun.url.clone();
    let code = begun.param("user_code").expect("it is filled in");
    page.set_query(None);
    let form = [
        ("user_code", code.as_str()),
        ("account", "one"),
        ("decision", "allow"),
    ];
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let posting = scene.http.post(page).body(form);
    let posting = posting.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(posting.send().await.unwrap().status(), 200);
    let ended = begun.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    wait_for_token(&scene, None);
    assert_eq!(scene.server.presentations().len(), 3);
}

/// An answer may hold the only copy of a refresh token, also where nobody can read it
/// yet and somebody has given the authorization up meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_answer_to_what_was_given_up_is_held() {
    let scene = Scene::new(Kind::Generic, "", "").await;
    let device = scene.server.url("/device_authorization");
    let device = format!("device.url = \"{device}\"");
    let unreadable = format!("{device}\nresponse.access_token = \"elsewhere\"");
    scene
        .house
        .configure(&config(&scene.server, "", &unreadable));
    let mut enrollment = scene.server.enrollment();
    enrollment.device_interval = 1;
    enrollment.auto = Auto::Allow;
    scene.server.set_enrollment(enrollment);
    scene.server.queue_fault(None, Fault::Late { ms: 2000 });
    let _daemon = scene.house.daemon();
    let begun = scene.begin(&["--device"]);
    let polled = |p: &sandbox::Presentation| p.flow == Some(Flow::DeviceCode);
    wait_for("the poll", || {
        scene.server.presentations().iter().any(polled)
    });
    let id = scene.list()[0]["id"].as_str().unwrap().to_owned();
    let given_up = scene.house.json(&["authorize", "--cancel", &id, "--json"]);
    assert_eq!(given_up["stage"], "refused");
    assert_eq!(begun.end().code, 77);
    wait_for("the answer", || scene.list()[0]["stage"] == "held");
    scene.house.configure(&config(&scene.server, "", &device));
    assert!(scene.house.run(&["reload"]).status.success());
    let taken = scene.house.json(&["authorize", "--accept", &id, "--json"]);
    assert_eq!(taken["stage"], "done");
    wait_for_token(&scene, None);
}
