//! Which request goes where. Whether a proxy strips the path of public_url or passes
//! it on, it is understood. What proxies add about the client is not believed, and not
//! looked at.

use super::{Web, callback, link, page, push, returned};
use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use hyper::{Request, Response};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Link(&'a str),
    Callback,
    Push(&'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str, prefix: &str) -> Option<Route<'a>> {
        let inner = path.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        let known = inner.and_then(Route::plain);
        known.or_else(|| Route::plain(path))
    }

    fn plain(path: &'a str) -> Option<Route<'a>> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let route = match (parts.next()?, parts.next()) {
            ("authorize", Some(state)) => Route::Link(state),
            ("callback", None) => Route::Callback,
            ("push", Some(path)) => Route::Push(path),
            _ => return None,
        };
        parts.next().is_none().then_some(route)
    }

    fn methods(&self) -> &'static str {
        match self {
            Route::Link(_) => "GET, HEAD, POST",
            Route::Callback => "GET, POST",
            Route::Push(_) => "POST",
        }
    }
}

/// Answers a request.
pub(super) async fn answer(web: &Web, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Some(route) = Route::of(head.uri.path(), web.enroll.prefix()) else {
        return page::page(StatusCode::NOT_FOUND, "Nothing is here.", &[], "");
    };
    match (&route, &head.method) {
        (Route::Link(state), &Method::GET | &Method::HEAD) => link::show(web, state).await,
        (Route::Link(state), &Method::POST) => link::begin(web, state, &head.headers).await,
        (Route::Callback, _) => match returned::read(&head, body).await {
            Ok(query) => callback::take(web, &query, &head).await,
            Err(page) => *page,
        },
        (Route::Push(path), &Method::POST) => push::take(web, path, &head.headers, body).await,
        _ => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = page::page(status, "This is not done here.", &[], "");
            let allow = HeaderValue::from_static(route.methods());
            response.headers_mut().insert(header::ALLOW, allow);
            response
        }
    }
}

/// The answer to a request that took too long.
pub(super) fn too_slow() -> Response<Body> {
    let mut response = page::json(StatusCode::SERVICE_UNAVAILABLE, Some("it took too long"));
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_and_without_the_prefix() {
        fn of(path: &str) -> Option<Route<'_>> {
            Route::of(path, "/refreshd")
        }
        for prefix in ["", "/refreshd"] {
            let link = format!("{prefix}/authorize/abc");
            assert_eq!(of(&link), Some(Route::Link("abc")));
            let callback = format!("{prefix}/callback");
            assert_eq!(of(&callback), Some(Route::Callback));
            let push = format!("{prefix}/push/retm");
            assert_eq!(of(&push), Some(Route::Push("retm")));
        }
        for nothing in [
            "/",
            "/refreshd",
            "/other/callback",
            "/push",
            "/push/a/b",
            "/authorize",
            "//callback",
            "/callback/",
            "/refreshdcallback",
            "callback",
            "",
        ] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
        assert_eq!(Route::of("/push/push/x", "/push"), Some(Route::Push("x")));
    }
}
