//! A link: asked for, it only explains, since chats look at links before people do.
//! A button begins.

use super::{Web, cookie, page};
use crate::exit::{Exit, Failure};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use hyper::Response;

/// Explains what will be approved.
pub(super) async fn show(web: &Web, link: &str) -> Response<Body> {
    match web.enroller.offer(link).await {
        Ok(offer) => {
            let what = format!(
                "Whoever goes on is asked by {} whether {} may have access. The access is for \"{}\", and is kept fresh until it is taken back at {}.",
                offer.provider, offer.client, offer.grant, offer.provider
            );
            let until = format!("This link is good until {}, and once.", offer.expires_at);
            let last = match offer.text.as_str() {
                "" => String::new(),
                text => format!("The last try came to nothing: {text}"),
            };
            // To the same address, which the page need not know.
            let form = "<form method=\"post\"><button id=\"begin\">Go on</button></form>\n";
            let texts = [what.as_str(), &until, &last];
            page::page(StatusCode::OK, "An approval is asked for", &texts, form)
        }
        Err(failure) => refusal(&failure, StatusCode::GONE),
    }
}

/// Begins, and sends the browser to the provider.
pub(super) async fn begin(web: &Web, link: &str, headers: &HeaderMap) -> Response<Body> {
    if !is_our_own_page(web, headers) {
        let text = "Open the link itself, and go on from there.";
        let title = "This came from another site.";
        return page::page(StatusCode::FORBIDDEN, title, &[text], "");
    }
    let attempt = match web.enroller.attempt(link).await {
        Ok(attempt) => attempt,
        Err(failure) => return refusal(&failure, StatusCode::GONE),
    };
    let cookie = cookie::set(&web.enroll, attempt.id, &attempt.cookie);
    let sent = page::see_other(&attempt.url, &cookie);
    sent.unwrap_or_else(|| {
        let failure = Failure::new(Exit::Config, "the provider's address is no header");
        refusal(&failure, StatusCode::INTERNAL_SERVER_ERROR)
    })
}

/// What a visitor is told: what concerns the link, and nothing of our own affairs.
pub(super) fn refusal(failure: &Failure, status: StatusCode) -> Response<Body> {
    let (status, text) = match failure.exit {
        Exit::Data => (status, failure.message.as_str()),
        Exit::NoGrant => (StatusCode::NOT_FOUND, failure.message.as_str()),
        _ => {
            tracing::error!("a link or callback could not be served: {failure}");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "refreshd cannot do this now; its log says why",
            )
        }
    };
    page::page(status, "This does not work.", &[text], "")
}

/// Whether a form was sent by our own page, as far as the browser says. Our pages
/// send no referrer, which makes their origin "null" to browsers.
fn is_our_own_page(web: &Web, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin = text(header::ORIGIN.as_str());
    let ours = web.enroll.origin();
    let by_origin = origin.is_none_or(|origin| origin == "null" || Some(origin) == ours.as_deref());
    match text("sec-fetch-site") {
        Some(site) => by_origin && matches!(site, "same-origin" | "none"),
        None => by_origin,
    }
}
