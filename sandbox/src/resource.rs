//! `GET /resource`: 200 with a living access token, else 401 (RFC 6750 §3).

use crate::server::Shared;
use axum::Json;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

pub(crate) async fn resource(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let Some(token) = bearer(&headers) else {
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
            Json(json!({ "grant": owned.grant, "issued": owned.ordinal + 1 })).into_response()
        }
        None => unauthorized("Bearer realm=\"pretend\", error=\"invalid_token\""),
    }
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
