//! What the token endpoint says (RFC 6749 §5).

use super::disturb::not_found;
use crate::log::Verdict;
use crate::tokens::Issue;
use crate::{Auth, Brings, Expiry, Kind, Options};
use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};

/// What the exchange itself has to say, before any fault.
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) why: Option<String>,
    pub(super) response: Response,
}

/// Why there are no tokens: an error of RFC 6749 §5.2.
#[derive(Debug)]
pub(super) struct Refusal {
    verdict: Verdict,
    error: &'static str,
    why: String,
}

impl Outcome {
    /// 200 with tokens.
    pub(super) fn tokens(options: &Options, issue: &Issue, verdict: Verdict) -> Self {
        let body = answer_body(options, issue, verdict == Verdict::Replayed);
        Outcome {
            verdict,
            why: None,
            response: json_answer(StatusCode::OK, &body),
        }
    }

    /// 200 with a grant's first tokens and more.
    pub(super) fn first_tokens(options: &Options, issue: &Issue, more: Map<String, Value>) -> Self {
        let mut body = answer_body(options, issue, false);
        body.as_object_mut()
            .expect("an answer is an object")
            .extend(more);
        Outcome {
            verdict: Verdict::Issued,
            why: None,
            response: json_answer(StatusCode::OK, &body),
        }
    }

    /// An error.
    pub(super) fn refused(options: &Options, refusal: Refusal) -> Self {
        let Refusal {
            verdict,
            error,
            why,
        } = refusal;
        let response = match verdict {
            Verdict::Unauthorized => invalid_client(options, &why),
            _ => json_answer(StatusCode::BAD_REQUEST, &error_body(error, &why)),
        };
        Outcome {
            verdict,
            why: Some(why),
            response,
        }
    }

    /// There is no token endpoint on this host.
    pub(super) fn not_found(why: &str) -> Self {
        Outcome {
            verdict: Verdict::NotFound,
            why: Some(why.to_owned()),
            response: not_found(),
        }
    }

    /// A fault will take its place.
    pub(super) fn unseen() -> Self {
        Outcome {
            verdict: Verdict::Unseen,
            why: None,
            response: StatusCode::NO_CONTENT.into_response(),
        }
    }
}

impl Refusal {
    /// The request is not as it must be.
    pub(super) fn malformed(error: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Refusal {
            verdict: Verdict::Malformed,
            error,
            why,
        }
    }

    /// The request is well-formed, and what it presents is not good.
    pub(super) fn invalid_grant(verdict: Verdict, why: impl Into<String>) -> Self {
        let (error, why) = ("invalid_grant", why.into());
        Refusal {
            verdict,
            error,
            why,
        }
    }

    /// What a device is told while it has to wait, or that it waits in vain (RFC 8628 §3.5).
    pub(super) fn of_device(verdict: Verdict, error: &'static str, why: &str) -> Self {
        let why = why.to_owned();
        Refusal {
            verdict,
            error,
            why,
        }
    }

    /// The client is not accepted.
    pub(super) fn invalid_client(why: impl Into<String>) -> Self {
        let (error, why) = ("invalid_client", why.into());
        Refusal {
            verdict: Verdict::Unauthorized,
            error,
            why,
        }
    }
}

/// The members of an answer (RFC 6749 §5.1).
pub(crate) fn answer_body(options: &Options, issue: &Issue, replayed: bool) -> Value {
    let mut body = json!({ "access_token": issue.access });
    if let Some(token_type) = options.kind.token_type() {
        body["token_type"] = json!(token_type);
    }
    let left_secs = if replayed && options.replay_says_full {
        i64::try_from(options.access_left().as_secs()).unwrap_or(i64::MAX)
    } else {
        // A new token has its whole life before it; an older one says no more than what is left.
        issue.left_ms.div_euclid(1000)
    };
    match options.expiry {
        Expiry::Number => body["expires_in"] = json!(left_secs),
        Expiry::Text => body["expires_in"] = json!(left_secs.to_string()),
        Expiry::Absent => {}
    }
    match options.brings_refresh_token {
        Brings::Token if issue.refresh_is_new || options.repeats_refresh_token => {
            body["refresh_token"] = json!(issue.refresh);
        }
        Brings::Token | Brings::Nothing => {}
        Brings::Null => body["refresh_token"] = Value::Null,
    }
    match options.kind {
        Kind::Reteno => body["scope"] = json!("UseRestApi"),
        Kind::Vcita => body["created_at"] = json!(created_at(options, issue)),
        _ => {}
    }
    body
}

/// Seconds since 1970.
fn created_at(options: &Options, issue: &Issue) -> u64 {
    let left = Duration::from_millis(u64::try_from(issue.left_ms).unwrap_or(0));
    let age = options.access_lifetime.saturating_sub(left);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    now.saturating_sub(age).as_secs()
}

/// The members of an error (RFC 6749 §5.2).
pub(super) fn error_body(error: &str, why: &str) -> Value {
    json!({ "error": error, "error_description": why })
}

/// `invalid_client` (RFC 6749 §5.2).
pub(super) fn invalid_client(options: &Options, why: &str) -> Response {
    let status = options.kind.invalid_client();
    let answer = json_answer(status, &error_body("invalid_client", why));
    if status == StatusCode::UNAUTHORIZED && options.kind.wire().1.contains(&Auth::Basic) {
        let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"pretend\"")];
        return (challenge, answer).into_response();
    }
    answer
}

pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response {
    let no_store = [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    (status, no_store, Json(body)).into_response()
}
