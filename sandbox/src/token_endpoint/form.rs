//! The parameters of a token request: `application/x-www-form-urlencoded`, each at most once.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

/// Parameters as they came.
#[derive(Debug)]
pub(super) struct Form {
    is_form: bool,
    pairs: Vec<(String, String)>,
}

impl Form {
    /// Reads a body; a body of another type has no parameters.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let is_form = is_form(headers);
        let parsed = url::form_urlencoded::parse(if is_form { body } else { b"" });
        let pairs = parsed.into_owned().collect();
        Form { is_form, pairs }
    }

    /// A parameter; one without a value counts as omitted (RFC 6749 §3.2).
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let mut named = self.pairs.iter().filter(|(n, _)| n == name);
        named
            .next()
            .map(|(_, v)| v.as_str())
            .filter(|v| !v.is_empty())
    }

    /// What is wrong with the request's form, for `error_description`.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if !self.is_form {
            return Some("the body must be application/x-www-form-urlencoded");
        }
        let mut names: Vec<_> = self.pairs.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        let twice = names.windows(2).any(|w| w[0] == w[1]);
        twice.then_some("a parameter stands there twice")
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let media_type = content_type
        .and_then(|v| v.split(';').next())
        .map(str::trim);
    media_type.is_some_and(|m| m.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}
