//! Where a person enters a device's code (RFC 8628 §3.3).

use crate::pages::{self, Form, field};
use crate::resource::outage;
use crate::server::Shared;
use crate::visits::{Outcome, Visit};
use crate::wire::Fate;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use std::sync::Arc;

pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    let fields = pages::fields(query.unwrap_or_default().as_bytes());
    shared.visited(Visit {
        outcome: Outcome::Shown,
        ..visit(&shared, Method::GET)
    });
    let account = shared.world().enrollment.account.clone();
    let user_code = field(&fields, "user_code").unwrap_or_default();
    let form = Form {
        title: "Connect a device?",
        asks: "Enter the code that the device shows.",
        action: "/device",
        hidden: Vec::new(),
        texts: vec![
            ("user_code", "Code", user_code),
            ("account", "Account", &account),
        ],
    };
    form.page()
}

pub(crate) async fn decide(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    body: Bytes,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    let fields = pages::fields(&body);
    let user_code = field(&fields, "user_code").unwrap_or_default();
    let usual = shared.world().enrollment.account.clone();
    let account = field(&fields, "account").unwrap_or(&usual);
    let mut visit = visit(&shared, Method::POST);
    let allowed = match field(&fields, "decision") {
        Some("allow") => true,
        Some("deny") => false,
        _ => return refuse(&shared, visit, "the form has no decision"),
    };
    let decided = {
        let mut world = shared.world();
        let now_ms = shared.now_ms();
        world.devices.waits(user_code, now_ms)
            && world.devices.decide(user_code, allowed.then_some(account))
    };
    if !decided {
        return refuse(&shared, visit, "no device waits with this code");
    }
    visit.account = Some(account.to_owned());
    visit.outcome = if allowed {
        Outcome::Allowed
    } else {
        Outcome::Denied
    };
    shared.visited(visit);
    let body = "<p>You can close this window.</p>";
    pages::page(StatusCode::OK, "The device is told", body)
}

fn refuse(shared: &Shared, mut visit: Visit, why: &str) -> Response {
    visit.why = Some(why.to_owned());
    shared.visited(visit);
    pages::refusal(why)
}

fn visit(shared: &Shared, method: Method) -> Visit {
    Visit {
        at_ms: shared.now_ms(),
        method: method.to_string(),
        path: "/device".to_owned(),
        ..Visit::default()
    }
}
