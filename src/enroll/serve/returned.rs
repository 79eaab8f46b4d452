//! What a browser comes back with: in the address, or posted as a form (OAuth 2.0 Form
//! Post Response Mode). A browser that only looks ahead is sent away: a code is good once.

use super::body::{self, BodyError};
use super::page;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::Response;
use refreshd_core::secret::Secret;

/// Headers by which browsers, and what looks at pages before people do, say so.
const AHEAD: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// The parameters that a browser came back with.
///
/// # Errors
/// The page for a request that brings none.
pub(crate) async fn read<B>(head: &Parts, body: B) -> Result<Secret, Box<Response<Body>>>
where
    B: hyper::body::Body + Unpin,
    B::Data: AsRef<[u8]>,
{
    match head.method {
        Method::GET if looks_ahead(&head.headers) => {
            let title = "This page is not fetched ahead.";
            let text = "It works once somebody goes to it.";
            Err(refused(StatusCode::SERVICE_UNAVAILABLE, title, text))
        }
        Method::GET => Ok(Secret::new(head.uri.query().unwrap_or_default())),
        Method::POST if is_form(&head.headers) => {
            let bytes = body::read(body).await.map_err(unread)?;
            let text = String::from_utf8(bytes);
            text.map(Secret::new).map_err(|_| {
                let text = "The form is not UTF-8.";
                refused(StatusCode::BAD_REQUEST, "This does not work.", text)
            })
        }
        Method::POST => {
            let text = "An answer is posted as application/x-www-form-urlencoded (OAuth 2.0 Form Post Response Mode).";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(refused(status, "This is not a form of a provider.", text))
        }
        _ => {
            let title = "This is for a browser that was sent back.";
            let mut page = refused(StatusCode::METHOD_NOT_ALLOWED, title, "");
            let allow = HeaderValue::from_static("GET, POST");
            page.headers_mut().insert(header::ALLOW, allow);
            Err(page)
        }
    }
}

fn looks_ahead(headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        ["prefetch", "prerender", "preview", "instant"]
            .iter()
            .any(|word| text.contains(word))
    };
    AHEAD
        .iter()
        .any(|name| headers.get_all(*name).into_iter().any(says))
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok());
    let kind = text.and_then(|text| text.split(';').next());
    kind.is_some_and(|kind| {
        let kind = kind.trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

/// What is left of the body is not read: the connection goes with it.
fn unread(error: BodyError) -> Box<Response<Body>> {
    let (status, text) = match error {
        BodyError::TooLong => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "The form is longer than 64 KiB.",
        ),
        BodyError::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            "The form did not come in time.",
        ),
        BodyError::Broken => (StatusCode::BAD_REQUEST, "The form broke off."),
    };
    let mut page = refused(status, "This does not work.", text);
    let close = HeaderValue::from_static("close");
    page.headers_mut().insert(header::CONNECTION, close);
    page
}

fn refused(status: StatusCode, title: &str, text: &str) -> Box<Response<Body>> {
    Box::new(page::page(status, title, &[text], ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(method: &str, headers: &[(&str, &str)], body: &str) -> Result<String, u16> {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri("/callback?code=in-the-address&state=s");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, body) = request
            .body(Body::from(body.to_owned()))
            .unwrap()
            .into_parts();
        let read = read(&head, body).await;
        read.map(|query| query.expose().to_owned())
            .map_err(|page| page.status().as_u16())
    }

    #[tokio::test]
    async fn an_answer_stands_in_the_address_or_in_a_form() {
        let address = Ok("code=in-the-address&state=s".to_owned());
        assert_eq!(of("GET", &[], "").await, address);
        assert_eq!(
            of("GET", &[("sec-fetch-mode", "navigate")], "").await,
            address
        );
        let form = "code=posted&state=s";
        for kind in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
        ] {
            let posted = of("POST", &[("content-type", kind)], form).await;
            assert_eq!(posted.as_deref(), Ok(form), "{kind}");
        }
        for kind in [
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/json",
        ] {
            let posted = of("POST", &[("content-type", kind)], form).await;
            assert_eq!(posted, Err(415), "{kind}");
        }
        assert_eq!(of("POST", &[], form).await, Err(415));
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let long = "x".repeat(70_000);
        assert_eq!(of("POST", &[kind], &long).await, Err(413));
        for method in ["HEAD", "OPTIONS", "PUT"] {
            assert_eq!(of(method, &[], "").await, Err(405), "{method}");
        }
    }

    #[tokio::test]
    async fn who_looks_ahead_is_sent_away() {
        for ahead in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("Purpose", "Prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
        ] {
            assert_eq!(of("GET", &[ahead], "").await, Err(503), "{ahead:?}");
        }
    }
}
