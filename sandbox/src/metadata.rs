//! What a server says of itself (RFC 8414; OpenID Connect Discovery 1.0).

use crate::Auth;
use crate::enrollment::{IdToken, Iss};
use crate::identity::lay_over;
use crate::options::{Options, Pkce};
use crate::resource::outage;
use crate::server::Shared;
use crate::wire::Fate;
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Where RFC 8414 §3 has it.
pub(crate) const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// Where OpenID Connect has it.
pub(crate) const OPENID: &str = "/.well-known/openid-configuration";

/// The keys of signatures; there are none but the client's secret.
pub(crate) const JWKS: &str = "/jwks";

pub(crate) async fn metadata(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    Json(members(&shared)).into_response()
}

pub(crate) async fn keys() -> Json<Value> {
    Json(json!({ "keys": [] }))
}

fn members(shared: &Shared) -> Map<String, Value> {
    let (options, enrollment) = (&shared.options, shared.world().enrollment.clone());
    let kind = options.kind;
    let flows: Vec<_> = kind.flows().iter().map(|flow| flow.grant_type()).collect();
    let signing = match enrollment.id_token {
        IdToken::Unsigned => "none",
        IdToken::Omitted | IdToken::Hs256 => "HS256",
    };
    let mut members = json!({
        "issuer": shared.url(""),
        "authorization_endpoint": kind.authorize_path().map(|path| shared.url(path)),
        "token_endpoint": shared.url(kind.token_path()),
        "userinfo_endpoint": shared.url("/userinfo"),
        "revocation_endpoint": shared.url("/revoke"),
        "device_authorization_endpoint": shared.url("/device_authorization"),
        "jwks_uri": shared.url(JWKS),
        "response_types_supported": ["code"],
        "grant_types_supported": flows,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [signing],
        "token_endpoint_auth_methods_supported": auth_methods(options),
        "revocation_endpoint_auth_methods_supported": auth_methods(options),
        "authorization_response_iss_parameter_supported": enrollment.iss != Iss::Omitted,
    });
    if options.pkce != Pkce::Unknown {
        members["code_challenge_methods_supported"] = json!(["S256"]);
    }
    let Value::Object(mut members) = members else {
        unreachable!("the literal is an object");
    };
    lay_over(&mut members, &enrollment.metadata_changes);
    members
}

/// The names that IANA registered for what the server takes.
fn auth_methods(options: &Options) -> Vec<&'static str> {
    let name = |auth: &Auth| match auth {
        Auth::Basic => Some("client_secret_basic"),
        Auth::Body => Some("client_secret_post"),
        Auth::None => Some("none"),
        Auth::BasicRaw | Auth::Query => None,
    };
    options.client_auth.iter().filter_map(name).collect()
}
