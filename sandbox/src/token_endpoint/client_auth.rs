//! How a client proves who it is (RFC 6749 §2.3.1).

use super::answers::Refusal;
use super::params::Params;
use crate::{Auth, Body, Options};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Whether the request comes from the one client that the server knows, and
/// says so in a way that is accepted.
pub(super) fn check(
    options: &Options,
    headers: &HeaderMap,
    params: &Params,
) -> Result<(), Refusal> {
    let basic = headers
        .get(AUTHORIZATION)
        .map(|v| v.to_str().ok().and_then(basic));
    let in_params = params.value("client_secret").is_some();
    let in_url = params.beside("client_secret").is_some();
    if [basic.is_some(), in_params, in_url]
        .map(usize::from)
        .iter()
        .sum::<usize>()
        > 1
    {
        let problem = "the client authenticates in two ways at once";
        return Err(Refusal::malformed("invalid_request", problem));
    }
    let place = params
        .place()
        .expect("params without a problem have a place");
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let (method, id, secret) = match basic {
        Some(None) => {
            return Err(Refusal::invalid_client(
                "the Authorization header cannot be read",
            ));
        }
        Some(Some((id, secret))) => (Auth::Basic, Some(id), Some(secret)),
        None if in_url => {
            let secret = owned(params.beside("client_secret"));
            (Auth::Query, owned(params.beside("client_id")), secret)
        }
        None => {
            let method = match (in_params, place) {
                (false, _) => Auth::None,
                (true, Body::Query) => Auth::Query,
                (true, Body::Form | Body::Json) => Auth::Body,
            };
            let secret = owned(params.value("client_secret"));
            (method, owned(params.value("client_id")), secret)
        }
    };
    if !options.takes(place, method) {
        let problem = "the client does not authenticate in a way that is accepted";
        return Err(Refusal::invalid_client(problem));
    }
    if id.as_deref() == Some(&options.client_id) && secret == options.client_secret {
        Ok(())
    } else {
        Err(Refusal::invalid_client("unknown client or wrong secret"))
    }
}

/// Id and secret of an `Authorization: Basic` header, each form-encoded before.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    // A text that was encoded holds no '&' or '='; one that was not is another text.
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    let (decoded, value) = pairs.next()?;
    (value.is_empty() && pairs.next().is_none()).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_form_decoded() {
        // `a b` and `s:e/c+r&t`, encoded.
        let header = format!("Basic {}", STANDARD.encode("a+b:s%3Ae%2Fc%2Br%26t"));
        let expected = ("a b".to_owned(), "s:e/c+r&t".to_owned());
        assert_eq!(basic(&header), Some(expected));
        assert_eq!(basic("Bearer x"), None);
        assert_eq!(basic(&format!("Basic {}", STANDARD.encode("a:b&c"))), None);
    }
}
