//! `GET /resource` and its like: 200 with a living access token, else 401 (RFC
//! 6750 §3); and the paths where nothing is.

use crate::identity;
use crate::log::{Presentation, Verdict};
use crate::server::{Shared, World};
use crate::token_endpoint::{disturb, not_found};
use crate::wire::Fate;
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) async fn resource(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    headers: HeaderMap,
) -> Response {
    visited(&shared, &fate, &headers, |_, _| Map::new()).await
}

/// The same, and whose token it is.
pub(crate) async fn userinfo(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    headers: HeaderMap,
) -> Response {
    let claims = |world: &World, account: &str| {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), json!(account));
        identity::lay_over(&mut claims, &world.enrollment.userinfo_changes);
        claims
    };
    visited(&shared, &fate, &headers, claims).await
}

async fn visited(
    shared: &Shared,
    fate: &Fate,
    headers: &HeaderMap,
    claims: impl FnOnce(&World, &str) -> Map<String, Value>,
) -> Response {
    if let Some(out) = outage(shared, fate).await {
        return out;
    }
    let Some(token) = bearer(headers) else {
        shared.world().resource.count(false);
        return unauthorized("Bearer realm=\"pretend\"");
    };
    let now_ms = shared.now_ms();
    let mut world = shared.world();
    let used = world.registry.use_access(token, now_ms);
    let taken = used.filter(|(_, taken)| *taken);
    world.resource.count(taken.is_some());
    match taken {
        Some((owned, _)) => {
            let mut body = claims(&world, &owned.grant);
            body.insert("grant".to_owned(), json!(owned.grant));
            body.insert("issued".to_owned(), json!(owned.ordinal + 1));
            Json(body).into_response()
        }
        None => unauthorized("Bearer realm=\"pretend\", error=\"invalid_token\""),
    }
}

/// Answers on a path that the provider does not have. A POST is a token request gone astray.
pub(crate) async fn nothing_there(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    method: Method,
    uri: Uri,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    if method == Method::POST {
        let at_ms = shared.now_ms();
        shared.world().log.add(Presentation {
            at_ms,
            verdict: Verdict::NotFound,
            why: Some(format!("no token endpoint at {}", uri.path())),
            ..Presentation::default()
        });
    }
    not_found()
}

/// The answer while an outage lasts.
pub(crate) async fn outage(shared: &Shared, fate: &Fate) -> Option<Response> {
    let outage = shared.world().faults.outage()?;
    let answer = StatusCode::NO_CONTENT.into_response();
    Some(disturb(outage.into(), answer, fate, &shared.options).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn unauthorized(challenge: &'static str) -> Response {
    let body = json!({ "error": "invalid_token" });
    let headers = [(WWW_AUTHENTICATE, challenge)];
    (StatusCode::UNAUTHORIZED, headers, Json(body)).into_response()
}
