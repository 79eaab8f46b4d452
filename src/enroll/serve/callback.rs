//! Where a browser comes back to from the provider. The code is in the address: it is
//! neither shown nor logged.

use super::link::refusal;
use super::{Web, cookie, page};
use crate::enroll::{Report, parse_id};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use hyper::Response;
use refreshd_core::enroll::Stage;
use refreshd_core::secret::Secret;

/// Takes what the browser was sent back with. What another site posts comes without our
/// cookie (SameSite=Lax), and a browser that is sent on by GET brings it along.
pub(super) async fn take(web: &Web, query: &Secret, head: &Parts) -> Response<Body> {
    let cookie = |id| cookie::find(&web.enroll, id, &head.headers);
    if head.method == Method::POST
        && let Some((id, query)) = web.enroller.posted(query.expose())
        && cookie(id).is_none()
        && let Some(sent) = page::see_same(&query)
    {
        return sent;
    }
    let begun = cookie::begun(&web.enroll, &head.headers);
    let taken = web.enroller.called_back(query.expose(), &begun, cookie);
    match taken.await {
        Ok(report) => told(web, &report),
        Err(failure) => refusal(&failure, StatusCode::BAD_REQUEST),
    }
}

fn told(web: &Web, report: &Report) -> Response<Body> {
    let (title, text) = match report.stage {
        Stage::Done => ("Authorized. You can close this window.", ""),
        Stage::Received => (
            "The approval has come, and is being exchanged. You can close this window.",
            "",
        ),
        Stage::Open => (
            "Not authorized. You can open the link again, or close this window.",
            report.text.as_str(),
        ),
        _ => (
            "Not authorized. You can close this window.",
            report.text.as_str(),
        ),
    };
    let mut response = page::page(StatusCode::OK, title, &[text], "");
    let spent = !matches!(report.stage, Stage::Open | Stage::Received);
    let clear = parse_id(&report.id).filter(|_| spent);
    let clear = clear.map(|id| cookie::clear(&web.enroll, id));
    if let Some(Ok(clear)) = clear.map(|text| HeaderValue::from_str(&text)) {
        response.headers_mut().insert(header::SET_COOKIE, clear);
    }
    response
}
