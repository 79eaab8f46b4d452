//! Endpoints that take a client as the token endpoint does: revocation (RFC
//! 7009) and the beginning of a device's authorization (RFC 8628 §3.1).

use super::answers::{Outcome, Refusal, json_answer};
use super::client_auth;
use super::params::Params;
use crate::codes::Asked;
use crate::enrollment::Auto;
use crate::resource::outage;
use crate::rotation::Ended;
use crate::server::Shared;
use crate::wire::Fate;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use std::sync::Arc;

/// What RFC 8628 §3.2 says of an answer that does not say.
const UNSAID_INTERVAL: u64 = 5;

pub(crate) async fn revoke(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    let revoked = read(&shared, &headers, query.as_deref(), &body)
        .and_then(|params| revoke_token(&shared, &params));
    match revoked {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => Outcome::refused(&shared.options, refusal).response,
    }
}

/// The hint only says where to look first, and here all is looked at.
fn revoke_token(shared: &Shared, params: &Params) -> Result<(), Refusal> {
    let Some(token) = params.value("token") else {
        return Err(Refusal::malformed("invalid_request", "token is missing"));
    };
    let mut world = shared.world();
    if let Some(owned) = world.registry.refresh_owner(token) {
        world.registry.end_set(&owned, Ended::Withdrawn);
    } else if let Some(owned) = world.registry.access_owner(token) {
        if !world.enrollment.revokes_access {
            let why = "access tokens cannot be revoked";
            return Err(Refusal::malformed("unsupported_token_type", why));
        }
        world.registry.revoke_access(&owned);
    }
    // A token that nobody knows is good no more, which is what was asked for.
    Ok(())
}

pub(crate) async fn device(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    match read(&shared, &headers, query.as_deref(), &body) {
        Ok(params) => begin_device(&shared, &params),
        Err(refusal) => Outcome::refused(&shared.options, refusal).response,
    }
}

fn begin_device(shared: &Shared, params: &Params) -> Response {
    let asked = Asked {
        scope: params.value("scope").map(str::to_owned),
        ..Asked::default()
    };
    let mut world = shared.world();
    let enrollment = world.enrollment.clone();
    let interval = match enrollment.device_interval_unsaid {
        true => UNSAID_INTERVAL,
        false => enrollment.device_interval,
    };
    let good_until_ms = shared.now_ms().saturating_add(enrollment.device_ms);
    let codes = world.devices.begin(asked, interval, good_until_ms);
    match enrollment.auto {
        Auto::Off => {}
        Auto::Allow => drop(world.devices.decide(&codes.user, Some(&enrollment.account))),
        Auto::Deny => drop(world.devices.decide(&codes.user, None)),
    }
    let page = shared.url("/device");
    let mut body = json!({
        "device_code": codes.device,
        "user_code": codes.user,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", codes.user),
        "expires_in": enrollment.device_ms / 1000,
    });
    if !enrollment.device_interval_unsaid {
        body["interval"] = json!(interval);
    }
    json_answer(StatusCode::OK, &body)
}

fn read(
    shared: &Shared,
    headers: &HeaderMap,
    query: Option<&str>,
    body: &[u8],
) -> Result<Params, Refusal> {
    let params = Params::read(headers, query, body);
    if let Some(problem) = params.problem(&shared.options) {
        return Err(Refusal::malformed("invalid_request", problem));
    }
    client_auth::check(&shared.options, headers, &params)?;
    Ok(params)
}
