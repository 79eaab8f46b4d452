//! `POST /token` (RFC 6749 §3.2, §5, §6), with the fault that the plan has for it.

mod client_auth;
mod disturb;
mod form;

use crate::faults::Fault;
use crate::log::{Presentation, Verdict};
use crate::rotation::{Ended, Presented};
use crate::server::Shared;
use crate::tokens::{Issue, Owned, Registry};
use crate::wire::Fate;
use crate::{Expiry, Options};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use client_auth::Refused;
use disturb::disturb;
use form::Form;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the exchange itself has to say, before any fault.
struct Outcome {
    verdict: Verdict,
    response: Response,
}

/// A token request as it arrived.
struct Request {
    headers: HeaderMap,
    form: Form,
    arrived_ms: u64,
}

pub(crate) async fn token(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Form::read(&headers, &body);
    let arrived_ms = shared.now_ms();
    let request = Request {
        headers,
        form,
        arrived_ms,
    };
    // In a task of its own: a client that goes away stops no exchange, here as elsewhere.
    let handling = tokio::spawn(handle(shared, fate, request));
    handling.await.expect("a handler does not panic")
}

async fn handle(shared: Arc<Shared>, fate: Fate, request: Request) -> Response {
    let fault = draw_fault(&shared, &request);
    if let Some(Fault::Slow { ms }) = fault {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let response = exchange(&shared, &request, fault.as_ref());
    match fault {
        None => response,
        Some(fault) => disturb(fault, response, &fate).await,
    }
}

fn draw_fault(shared: &Shared, request: &Request) -> Option<Fault> {
    let mut world = shared.world();
    world.token_requests += 1;
    let presented = request.form.value("refresh_token");
    let owned = presented.and_then(|text| world.registry.refresh_owner(text));
    let grant = owned.as_ref().map(|owned| owned.grant.as_str());
    let roll = getrandom::u64().expect("the system has random numbers");
    let fault = world.faults.take(grant, roll);
    if let (Some(Fault::DeadRefreshToken), Some(grant)) = (&fault, grant) {
        world.registry.end(grant, Ended::RefreshKilled);
    }
    fault
}

/// Performs the exchange, or only notes that it was asked for, and writes the log.
fn exchange(shared: &Shared, request: &Request, fault: Option<&Fault>) -> Response {
    let mut world = shared.world();
    let now_ms = shared.now_ms();
    let presented = request.form.value("refresh_token");
    let owned = presented.and_then(|text| world.registry.refresh_owner(text));
    let standing = owned.as_ref().map(|owned| {
        world.registry.count_presentation(&owned.grant);
        world.registry.standing(owned, now_ms)
    });
    let outcome = if fault.is_none_or(Fault::performs) {
        perform(
            &shared.options,
            &mut world.registry,
            request,
            owned.as_ref(),
            now_ms,
        )
    } else {
        Outcome {
            verdict: Verdict::Unseen,
            response: StatusCode::NO_CONTENT.into_response(),
        }
    };
    world.log.add(Presentation {
        at_ms: request.arrived_ms,
        gap_ms: None,
        grant: owned.as_ref().map(|owned| owned.grant.clone()),
        refresh: owned.map(|owned| owned.ordinal),
        newest: standing.as_ref().map(|standing| standing.newest),
        access_left_ms: standing.and_then(|standing| standing.access_left_ms),
        verdict: outcome.verdict,
        fault: fault.map(|fault| fault.kind().to_owned()),
    });
    outcome.response
}

fn perform(
    options: &Options,
    registry: &mut Registry,
    request: &Request,
    owned: Option<&Owned>,
    now_ms: u64,
) -> Outcome {
    if let Some(problem) = request.form.problem() {
        return malformed("invalid_request", problem);
    }
    match client_auth::check(options, &request.headers, &request.form) {
        Ok(()) => {}
        Err(Refused::Malformed(problem)) => return malformed("invalid_request", problem),
        Err(Refused::Wrong) => {
            return Outcome {
                verdict: Verdict::Unauthorized,
                response: invalid_client(),
            };
        }
    }
    match request.form.value("grant_type") {
        Some("refresh_token") => {}
        Some(_) => return malformed("unsupported_grant_type", "refresh_token is all there is"),
        None => return malformed("invalid_request", "grant_type is missing"),
    }
    if request.form.value("refresh_token").is_none() {
        return malformed("invalid_request", "refresh_token is missing");
    }
    match owned {
        Some(owned) => refresh(options, registry, owned, now_ms),
        None => refuse(Verdict::Unknown, invalid_grant("unknown refresh token")),
    }
}

fn refresh(options: &Options, registry: &mut Registry, owned: &Owned, now_ms: u64) -> Outcome {
    let (presented, issue) = registry.present(owned, now_ms);
    let (verdict, why) = match presented {
        Presented::Issued { .. } => (Verdict::Issued, ""),
        Presented::Replayed { .. } => (Verdict::Replayed, ""),
        Presented::Void => (Verdict::Void, "refresh token was used"),
        Presented::Reused => (
            Verdict::Reused,
            "refresh token was used; all tokens are revoked",
        ),
        Presented::Expired => (Verdict::Expired, "refresh token has expired"),
        Presented::Dead => (Verdict::Dead, "grant is revoked"),
    };
    let Some(issue) = issue else {
        return refuse(verdict, invalid_grant(why));
    };
    let body = answer_body(options, &issue, verdict == Verdict::Replayed);
    let response = json_answer(StatusCode::OK, &body);
    Outcome { verdict, response }
}

/// The members of an answer (RFC 6749 §5.1).
pub(crate) fn answer_body(options: &Options, issue: &Issue, replayed: bool) -> Value {
    let mut body = json!({ "access_token": issue.access, "token_type": "Bearer" });
    let left_secs = if replayed && options.replay_says_full {
        i64::try_from(options.access_lifetime.as_secs()).unwrap_or(i64::MAX)
    } else {
        // A new token has its whole life before it; an older one says no more than what is left.
        issue.left_ms.div_euclid(1000)
    };
    match options.expiry {
        Expiry::Number => body["expires_in"] = json!(left_secs),
        Expiry::Text => body["expires_in"] = json!(left_secs.to_string()),
        Expiry::Absent => {}
    }
    if issue.refresh_is_new || options.repeats_refresh_token {
        body["refresh_token"] = json!(issue.refresh);
    }
    body
}

fn malformed(error: &str, problem: &str) -> Outcome {
    let body = json!({ "error": error, "error_description": problem });
    refuse(Verdict::Malformed, body)
}

fn refuse(verdict: Verdict, error: Value) -> Outcome {
    let response = json_answer(StatusCode::BAD_REQUEST, &error);
    Outcome { verdict, response }
}

fn invalid_grant(why: &str) -> Value {
    json!({ "error": "invalid_grant", "error_description": why })
}

fn invalid_client() -> Response {
    let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"pretend\"")];
    let answer = json_answer(
        StatusCode::UNAUTHORIZED,
        &json!({ "error": "invalid_client" }),
    );
    (challenge, answer).into_response()
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    let no_store = [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    (status, no_store, Json(body)).into_response()
}
