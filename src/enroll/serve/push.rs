//! A push: verified, durable, answered, and exchanged afterwards.

use super::body::{self, BodyError};
use super::{Web, page};
use crate::config::Client;
use crate::enroll::{PushRefusal, Pushed};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::Response;
use refreshd_core::enroll::push::{self, Push};
use std::sync::Arc;

/// Takes a push for the client of a path.
pub(super) async fn take(web: &Web, path: &str, headers: &HeaderMap, body: Body) -> Response<Body> {
    let Some(client) = web.enroller.client_of_push(path) else {
        return page::json(StatusCode::NOT_FOUND, Some("nothing is pushed here"));
    };
    if !is_json(headers) {
        let text = "the content type is not application/json";
        return page::json(StatusCode::BAD_REQUEST, Some(text));
    }
    let body = match body::read(body).await {
        Ok(body) => body,
        Err(error) => return unread(error),
    };
    let (status, error) = match push::read(&body) {
        Ok(push) => of(web, &client, push).await,
        Err(error) => (StatusCode::BAD_REQUEST, Some(error.to_string())),
    };
    page::json(status, error.as_deref())
}

async fn of(web: &Web, client: &Arc<Client>, push: Push) -> (StatusCode, Option<String>) {
    let name = &client.name;
    let refusal = match web.enroller.pushed(client, push.clone()).await {
        Ok(_) => return (StatusCode::OK, None),
        Err(PushRefusal::Unsigned) => return unsigned(web, client, push).await,
        Err(refusal) => refusal,
    };
    let status = status(&refusal);
    // Whoever holds a state of ours may fill no log with it either.
    if web.buckets.take(name) {
        tracing::warn!(client = %name, "{name}: a push was not taken: {refusal}");
    }
    (status, Some(refusal.to_string()))
}

/// What nobody has asked for: little of it is looked at, and the rest is not.
async fn unsigned(web: &Web, client: &Client, push: Push) -> (StatusCode, Option<String>) {
    let name = &client.name;
    if !web.buckets.take(name) {
        let text = "too much is pushed here that does not carry our state; try later";
        return (StatusCode::TOO_MANY_REQUESTS, Some(text.to_owned()));
    }
    if !client.push.quarantine {
        let refusal = PushRefusal::Unsigned;
        tracing::warn!(client = %name, "{name}: a push was not taken: {refusal}");
        return (status(&refusal), Some(refusal.to_string()));
    }
    match web.enroller.quarantine(client, push).await {
        Ok(Pushed::Quarantined) => {
            tracing::warn!(client = %name, "{name}: a push without our state waits for approval; see `refreshd authorize --list`");
            (StatusCode::OK, None)
        }
        Ok(_) => (StatusCode::OK, None),
        Err(refusal) => {
            tracing::warn!(client = %name, "{name}: a push was not taken: {refusal}");
            (status(&refusal), Some(refusal.to_string()))
        }
    }
}

fn status(refusal: &PushRefusal) -> StatusCode {
    match refusal {
        PushRefusal::Unsigned | PushRefusal::Foreign(_) => StatusCode::FORBIDDEN,
        PushRefusal::Business(_) => StatusCode::BAD_REQUEST,
        PushRefusal::Spent => StatusCode::CONFLICT,
        PushRefusal::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What is left of the body is not read: the connection goes with it.
fn unread(error: BodyError) -> Response<Body> {
    let (status, text) = match error {
        BodyError::TooLong => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than 64 KiB",
        ),
        BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        BodyError::Broken => (StatusCode::BAD_REQUEST, "the body broke off"),
    };
    let mut response = page::json(status, Some(text));
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// RFC 9110 §8.3: JSON, whatever its parameters but for another character set.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let json = parts.next() == Some("application/json");
    let charset = |part: &str| {
        part.strip_prefix("charset=")
            .map(|c| c.trim_matches('"') == "utf-8")
    };
    json && parts.all(|part| charset(part).unwrap_or(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_says_so() {
        let of = |types: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in types {
                headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            }
            is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"; x=y",
        ] {
            assert!(of(&[good]), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "application/json; charset=utf-16",
            "",
        ] {
            assert!(!of(&[bad]), "{bad}");
        }
        assert!(!of(&[]));
        assert!(!of(&["application/json", "application/json"]));
    }
}
