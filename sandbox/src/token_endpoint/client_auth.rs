//! How a client proves who it is (RFC 6749 §2.3.1).

use super::form::Form;
use crate::{Auth, Options};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a client is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The request contradicts itself.
    Malformed(&'static str),
    /// Another client, another secret, or a method that is not accepted.
    Wrong,
}

/// Whether the request comes from the one client that the server knows.
pub(super) fn check(options: &Options, headers: &HeaderMap, form: &Form) -> Result<(), Refused> {
    let basic = headers
        .get(AUTHORIZATION)
        .map(|v| v.to_str().ok().and_then(basic));
    let in_body = form.value("client_secret").is_some();
    let (method, id, secret) = match basic {
        Some(_) if in_body => {
            return Err(Refused::Malformed(
                "the client authenticates in two ways at once",
            ));
        }
        Some(None) => return Err(Refused::Wrong),
        Some(Some((id, secret))) => (Auth::Basic, Some(id), Some(secret)),
        None => {
            let method = if in_body { Auth::Body } else { Auth::None };
            let owned = |name| form.value(name).map(str::to_owned);
            (method, owned("client_id"), owned("client_secret"))
        }
    };
    let accepted = options.client_auth.contains(&method)
        && id.as_deref() == Some(&options.client_id)
        && secret == options.client_secret;
    if accepted {
        Ok(())
    } else {
        Err(Refused::Wrong)
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
