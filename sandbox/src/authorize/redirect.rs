//! The way back to the client (RFC 6749 §4.1.2, RFC 9207).

use super::asking::Asking;
use crate::enrollment::{Enrollment, Iss, StateAs};
use crate::server::Shared;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use url::Url;

/// Escapes that paint and retitle a terminal, line ends that would begin a
/// header, bytes that are not UTF-8, right-to-left, and a NUL.
const HOSTILE: &str = "no%1B%5B2J%1B%5B31mRED%1B%5D0%3Bowned%07\
    %0D%0ASet-Cookie%3A+a%3Db%0D%0A%0D%0A%FF%FE%C3%28%E2%80%AE%00%9B31m";

/// Who the redirect comes from when it lies.
const OTHER_ISSUER: &str = "https://other-issuer.example";

/// A redirect that lacks only its first parameters.
pub(super) struct Redirect {
    to: Url,
    /// `state` and `iss`, encoded.
    tail: String,
}

impl Redirect {
    /// Back to where the request wants, which was checked.
    pub(super) fn to(shared: &Shared, asking: &Asking, enrollment: &Enrollment) -> Redirect {
        let redirect_uri = asking.value("redirect_uri").unwrap_or_default();
        let to = Url::parse(redirect_uri).expect("the request was checked");
        let state = asking.value("state").map(str::to_owned);
        let state = match enrollment.state {
            StateAs::Sent => state,
            StateAs::Omitted => None,
            StateAs::Changed => state.map(|state| format!("not-{state}")),
        };
        let iss = match enrollment.iss {
            Iss::Omitted => None,
            Iss::Right => Some(shared.url("")),
            Iss::Wrong => Some(OTHER_ISSUER.to_owned()),
        };
        let named = [("state", state), ("iss", iss)];
        let there = named.into_iter().filter_map(|(n, v)| Some((n, v?)));
        let tail = there.map(|(name, value)| format!("&{}", encoded(name, &value)));
        Redirect {
            to,
            tail: tail.collect(),
        }
    }

    /// The URL with a code, or with several.
    pub(super) fn url(&self, codes: &[String]) -> Url {
        let codes: Vec<_> = codes.iter().map(|code| encoded("code", code)).collect();
        self.with(&codes.join("&"))
    }

    /// 302 with a code, or with several.
    pub(super) fn codes(&self, codes: &[String]) -> Response {
        found(&self.url(codes))
    }

    /// 302 with an error.
    pub(super) fn error(&self, error: &str, why: &str) -> Response {
        let why = encoded("error_description", why);
        found(&self.with(&format!("{}&{why}", encoded("error", error))))
    }

    /// 302 with what a person's "no" is.
    pub(super) fn denial(&self, enrollment: &Enrollment) -> Response {
        let error = &enrollment.deny_error;
        if !enrollment.hostile_description {
            return self.error(error, "the person said no");
        }
        let much = "A".repeat(4000);
        let error = encoded("error", error);
        found(&self.with(&format!("{error}&error_description={HOSTILE}{much}")))
    }

    fn with(&self, parameters: &str) -> Url {
        let mut url = self.to.clone();
        let own = url.query().filter(|own| !own.is_empty());
        let own = own.map_or_else(String::new, |own| format!("{own}&"));
        url.set_query(Some(&format!("{own}{parameters}{}", self.tail)));
        url
    }
}

fn encoded(name: &str, value: &str) -> String {
    let mut pair = url::form_urlencoded::Serializer::new(String::new());
    pair.append_pair(name, value).finish()
}

fn found(url: &Url) -> Response {
    let location = HeaderValue::from_str(url.as_str()).expect("a URL is ASCII without controls");
    let headers = [
        (LOCATION, location),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::FOUND, headers).into_response()
}
