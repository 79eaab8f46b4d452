//! Error codes: where servers put them, and what they mean (RFC 6749 §5.2).

use super::own::Members;
use crate::provider::description::Errors;
use crate::text::printable;
use serde_json::{Map, Value};

/// What an error code means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    RateLimited,
    TooEarly,
    InvalidClient,
    InvalidGrant,
    Other,
}

impl Kind {
    /// Whether it is said of that very token or client, by somebody who knows.
    pub(super) fn is_definite(self) -> bool {
        matches!(self, Kind::InvalidGrant | Kind::InvalidClient)
    }
}

/// An error in the provider's own format.
pub(super) struct Said {
    pub(super) kind: Kind,
    /// For people.
    pub(super) text: String,
}

/// The codes and the words of an error, still as they came.
struct Raw {
    codes: Vec<String>,
    words: Option<String>,
}

const CODES: [&str; 6] = [
    "code",
    "type",
    "error_code",
    "errorCode",
    "error_subcode",
    "status",
];
const WORDS: [&str; 4] = ["error_description", "message", "description", "msg"];

/// Finds an error in an answer. Without an `error` member only what the
/// description lists counts: gateways say `message` too.
pub(super) fn find(members: &Members, errors: &Errors, status: Option<u16>) -> Option<Said> {
    let has_error = members.get("error").is_some_and(is_error);
    let raw = match members.get("error").filter(|_| has_error) {
        Some(Value::Object(inner)) => nested(inner, members),
        Some(error) => Raw {
            codes: scalar(error).into_iter().chain(codes(members)).collect(),
            words: words(|name| members.get(name)),
        },
        None => Raw {
            codes: codes(members).collect(),
            words: words(|name| members.get(name)),
        },
    };
    let kind = listed(&raw, errors).or_else(|| has_error.then(|| standard(&raw)))?;
    Some(Said {
        kind,
        text: tell(&raw, status),
    })
}

fn nested(inner: &Map<String, Value>, members: &Members) -> Raw {
    let own = ["error"].into_iter().chain(CODES);
    Raw {
        codes: own
            .filter_map(|name| inner.get(name).and_then(scalar))
            .collect(),
        words: words(|name| inner.get(name).or_else(|| members.get(name))),
    }
}

fn codes(members: &Members) -> impl Iterator<Item = String> {
    let found = |name: &&str| members.get(name).and_then(scalar);
    CODES.iter().filter_map(found)
}

fn words<'v>(get: impl Fn(&str) -> Option<&'v Value>) -> Option<String> {
    let mut found = WORDS.iter().filter_map(|name| get(name)?.as_str());
    found.find(|text| !text.is_empty()).map(str::to_owned)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
    .filter(|code| !code.is_empty())
}

/// Some servers always send the member; these values mean that all is well.
fn is_error(error: &Value) -> bool {
    let good = |text: &str| matches!(text.trim(), "" | "0" | "ok" | "success");
    match error {
        Value::Null => false,
        Value::Bool(error) => *error,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !good(text),
        Value::Array(errors) => !errors.is_empty(),
        Value::Object(inner) => match inner.get("code") {
            Some(code) => scalar(code).is_none_or(|code| !good(&code)),
            None => !inner.is_empty(),
        },
    }
}

/// By the description's lists; they go before the RFC's codes, so that a
/// provider's wording can tell one `invalid_grant` from another.
fn listed(raw: &Raw, errors: &Errors) -> Option<Kind> {
    let lists = [
        (Kind::RateLimited, &errors.rate_limited),
        (Kind::TooEarly, &errors.too_early),
        (Kind::InvalidClient, &errors.invalid_client),
        (Kind::InvalidGrant, &errors.invalid_grant),
    ];
    let mut said = raw.codes.iter().chain(&raw.words);
    said.find_map(|said| {
        let list = lists.iter().find(|(_, list)| list.contains(said));
        list.map(|(kind, _)| *kind)
    })
}

fn standard(raw: &Raw) -> Kind {
    let said = |code: &str| raw.codes.iter().any(|said| said == code);
    if said("invalid_grant") {
        Kind::InvalidGrant
    } else if said("invalid_client") || said("unauthorized_client") {
        Kind::InvalidClient
    } else {
        Kind::Other
    }
}

fn tell(raw: &Raw, status: Option<u16>) -> String {
    let code = raw
        .codes
        .first()
        .map_or("an error without a code", String::as_str);
    let words = raw.words.iter().map(String::as_str);
    let parts: Vec<String> = std::iter::once(code)
        .chain(words)
        .map(|text| printable(&without_tokens(text)))
        .collect();
    let status = status.map(|status| format!("HTTP {status}"));
    let parts: Vec<String> = status.into_iter().chain(parts).collect();
    parts.join(": ")
}

/// Takes out whatever looks like a token: servers quote the one that they
/// refuse ("Invalid refresh token: …").
pub(super) fn without_tokens(text: &str) -> String {
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=%".contains(c);
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c| of_token(c) != of_token(first))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        kept.push_str(if of_token(first) && is_tokenish(run) {
            "…"
        } else {
            run
        });
        rest = after;
    }
    kept
}

/// Long and with a digit in it, or too long for a word of any language.
fn is_tokenish(run: &str) -> bool {
    let digits = run.bytes().any(|b| b.is_ascii_digit());
    run.len() >= if digits { 16 } else { 40 }
}
