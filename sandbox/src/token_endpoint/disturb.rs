//! Faults as the client sees them.

use super::answers::{error_body, invalid_client, json_answer};
use crate::Options;
use crate::faults::Fault;
use crate::wire::Fate;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Pretend gateway</title></head>\
    <body><h1>Something is in the way</h1></body></html>\n";

/// Puts a fault in place of the exchange's response.
pub(crate) async fn disturb(
    fault: Fault,
    answer: Response,
    fate: &Fate,
    options: &Options,
) -> Response {
    let page = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    match fault {
        Fault::Slow { .. } => answer,
        Fault::Late { ms } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            answer
        }
        Fault::ResetBefore | Fault::ResetAfter => {
            fate.reset();
            answer
        }
        Fault::Truncated => {
            fate.truncate();
            answer
        }
        Fault::InternalError { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, page, PAGE).into_response()
        }
        Fault::Unavailable { retry_after, .. } => {
            wait(StatusCode::SERVICE_UNAVAILABLE, retry_after)
        }
        Fault::TooMany { retry_after } => wait(StatusCode::TOO_MANY_REQUESTS, retry_after),
        Fault::HtmlPage { .. } => (StatusCode::OK, page, PAGE).into_response(),
        Fault::LoginRedirect { .. } => {
            (StatusCode::FOUND, [(LOCATION, "/login")], page, PAGE).into_response()
        }
        Fault::InvalidClient => invalid_client(options, "unknown client"),
        Fault::InvalidGrant | Fault::DeadRefreshToken | Fault::FamilyRevoked => json_answer(
            StatusCode::BAD_REQUEST,
            &error_body("invalid_grant", "grant is invalid"),
        ),
    }
}

/// What a web server says of a path that it does not have.
pub(crate) fn not_found() -> Response {
    let page = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    let text = "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\
        <body><h1>Not Found</h1></body></html>\n";
    (StatusCode::NOT_FOUND, page, text).into_response()
}

fn wait(status: StatusCode, retry_after: u64) -> Response {
    let headers = [(RETRY_AFTER, retry_after.to_string())];
    (status, headers, PAGE).into_response()
}
