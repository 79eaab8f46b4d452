//! Answers: plain pages, of which nothing is loaded, kept, framed or passed on. The
//! command's own callback answers with the same.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use hyper::Response;
use refreshd_core::secret::Secret;

/// What every answer says of itself. There is no form-action: browsers hold a form's
/// redirects to it, and ours leads to the provider.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// An answer of any kind.
pub(super) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A page with a sentence, more of them, and what else belongs there, in HTML.
pub(crate) fn page(status: StatusCode, title: &str, texts: &[&str], more: &str) -> Response<Body> {
    let texts = texts.iter().filter(|text| !text.is_empty());
    let texts: String = texts
        .map(|text| format!("<p>{}</p>\n", escaped(text)))
        .collect();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"robots\" content=\"noindex\">\n<title>refreshd</title>\n<h1>{}</h1>\n{texts}{more}</html>\n",
        escaped(title)
    );
    answer(status, "text/html; charset=utf-8", html)
}

/// JSON, for machines; what went wrong, if something did.
pub(super) fn json(status: StatusCode, error: Option<&str>) -> Response<Body> {
    let body = match error {
        None => serde_json::json!({}),
        Some(error) => serde_json::json!({ "error": error }),
    };
    answer(status, "application/json", body.to_string())
}

/// A redirect to a page that is asked for by GET, with a cookie.
pub(super) fn see_other(url: &str, cookie: &str) -> Option<Response<Body>> {
    let mut response = answer(
        StatusCode::SEE_OTHER,
        "text/plain; charset=utf-8",
        String::new(),
    );
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, url.parse().ok()?);
    headers.insert(header::SET_COOKIE, cookie.parse().ok()?);
    Some(response)
}

/// A redirect to the same address by GET, with this query, through whatever proxies.
pub(super) fn see_same(query: &Secret) -> Option<Response<Body>> {
    let mut response = answer(
        StatusCode::SEE_OTHER,
        "text/plain; charset=utf-8",
        String::new(),
    );
    let location = HeaderValue::from_str(&format!("?{}", query.expose())).ok()?;
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}

/// Text as text.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text() {
        assert_eq!(escaped("<b a=\"'&"), "&lt;b a=&quot;&#39;&amp;");
    }

    #[test]
    fn no_line_gets_into_a_header() {
        assert!(see_other("https://a.example/\r\nX: y", "a=b").is_none());
        assert!(see_other("https://a.example/", "a=b\nX: y").is_none());
    }
}
