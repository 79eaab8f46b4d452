//! The encodings of parameters, credentials and headers.

use super::RequestError;
use crate::secret::Secret;
use crate::text::printable;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

/// `application/x-www-form-urlencoded` (RFC 6749 appendix B).
pub(super) fn form(params: &[(String, Secret)]) -> Secret {
    // Room for the worst case, so that no half-filled copy is left behind unwiped.
    let worst = params
        .iter()
        .map(|(k, v)| 3 * (k.len() + v.expose().len()) + 2);
    let mut pairs = form_urlencoded::Serializer::new(String::with_capacity(worst.sum()));
    for (name, value) in params {
        pairs.append_pair(name, value.expose());
    }
    Secret::new(pairs.finish())
}

/// A JSON object of strings.
pub(super) fn json(params: &[(String, Secret)]) -> Secret {
    let object: BTreeMap<&str, &str> = params
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    Secret::new(serde_json::to_string(&object).expect("strings are JSON"))
}

/// Appends to the query; what the URL already has stays (RFC 6749 §3.2).
pub(super) fn append_query(url: &mut Url, params: &[(String, Secret)]) {
    if params.is_empty() {
        return;
    }
    let pairs = params.iter().map(|(name, value)| (name, value.expose()));
    crate::provider::authorize::append_query(url, pairs);
}

/// HTTP Basic with id and secret form-encoded first (RFC 6749 §2.3.1).
pub(super) fn basic(id: &str, secret: &Secret) -> Secret {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let secret = Secret::new(encode(secret.expose()));
    basic_raw(&encode(id), &secret)
}

/// HTTP Basic with id and secret as they are (RFC 7617 §2).
pub(super) fn basic_raw(id: &str, secret: &Secret) -> Secret {
    let pair = Zeroizing::new(format!("{id}:{}", secret.expose()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    Secret::new(format!("Basic {}", *encoded))
}

/// Whether a description's header may be sent. What frames the request belongs
/// to the HTTP client alone; a line break would begin another header.
pub(crate) fn check_header(name: &str, value: &str) -> Result<(), RequestError> {
    const FRAMING: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let why = if name.is_empty() || !name.bytes().all(token) {
        "this is not the name of a header"
    } else if FRAMING.iter().any(|f| name.eq_ignore_ascii_case(f)) {
        "a description may not set it"
    } else if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        "its value holds a line break, another control character or non-ASCII text"
    } else {
        return Ok(());
    };
    Err(RequestError::Header {
        name: printable(name),
        why,
    })
}
