//! Whether what cannot be read as a success may hold a newer refresh token all the same.
//! While it may, the old one is not presented where that can revoke. In doubt it may:
//! only what is plainly no token, or known, is let pass.

use super::own::Members;
use serde_json::Value;

/// Texts under these names are no refresh tokens.
const HARMLESS: [&str; 22] = [
    "access_token",
    "token_type",
    "scope",
    "scopes",
    "error",
    "error_code",
    "error_description",
    "error_uri",
    "errorcode",
    "message",
    "msg",
    "description",
    "detail",
    "reason",
    "status",
    "type",
    "expires",
    "expires_in",
    "expires_at",
    "created_at",
    "issued_at",
    "challenge_name",
];

/// What an answer holds that is known already: a server may repeat what was presented.
pub(super) type Known<'k> = &'k [&'k str];

/// Whether any of these members, or of those within them, may be a refresh token.
pub(super) fn in_members(members: &Members, known: Known<'_>) -> bool {
    members
        .iter()
        .any(|(name, value)| in_value(name, value, known))
}

fn in_value(name: &str, value: &Value, known: Known<'_>) -> bool {
    let name = name.to_ascii_lowercase();
    match value {
        Value::String(text) => {
            let prose = text.trim().contains(char::is_whitespace);
            let empty = text.trim().is_empty();
            let harmless = HARMLESS.contains(&name.as_str()) || name.contains("expires");
            !(harmless || prose || empty || known.contains(&text.as_str()))
        }
        Value::Number(number) => {
            name.contains("refresh")
                && !name.contains("expires")
                && !known.contains(&number.to_string().as_str())
        }
        Value::Array(values) => values.iter().any(|value| in_value(&name, value, known)),
        Value::Object(map) => (map.iter()).any(|(name, value)| in_value(name, value, known)),
        Value::Null | Value::Bool(_) => false,
    }
}

/// Whether members hold a token under its own name that is not known.
pub(super) fn by_name(members: &Members, known: Known<'_>) -> bool {
    ["access_token", "refresh_token"].iter().any(|name| {
        let token = members.token(name);
        token.is_some_and(|token| !known.contains(&token.as_str()))
    })
}

/// Whether any value within the members, at whatever depth, stands under the name of a
/// token and looks like one.
pub(super) fn within(members: &Members, known: Known<'_>) -> bool {
    members
        .iter()
        .any(|(name, value)| is_named(name, value, known))
}

fn is_named(name: &str, value: &Value, known: Known<'_>) -> bool {
    match value {
        Value::String(text) => {
            let name = name.to_ascii_lowercase().replace(['_', '-'], "");
            let whole = runs(text).next() == Some(text) && text.len() >= 8 && has_digit(text);
            matches!(name.as_str(), "accesstoken" | "refreshtoken")
                && whole
                && !known.contains(&text.as_str())
        }
        Value::Array(values) => values.iter().any(|value| is_named(name, value, known)),
        Value::Object(map) => (map.iter()).any(|(name, value)| is_named(name, value, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a text that is no JSON and no form may hold a token.
pub(super) fn in_text(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let page = lower.contains("<html") || lower.contains("<!doctype html");
    lower.contains("token") || (!page && runs(text).any(|run| run.len() >= 16 && has_digit(run)))
}

/// Whether a text says `access_token` or `refresh_token` and a value for it: in the
/// answer to a failed request, the words alone are most likely its complaint.
pub(super) fn assigned(text: &str, known: Known<'_>) -> bool {
    let lower = text.to_ascii_lowercase();
    let names = [
        "access_token",
        "refresh_token",
        "accesstoken",
        "refreshtoken",
    ];
    let places = names
        .iter()
        .flat_map(|name| (lower.match_indices(name)).map(|(at, name)| at + name.len()));
    places.into_iter().any(|at| {
        let rest = text[at..].trim_start_matches(['"', '\'', ' ']);
        let Some(value) = rest.strip_prefix([':', '=', '>']) else {
            return false;
        };
        let value = value.trim_start_matches(['"', '\'', ' ']);
        let run = runs(value).next().unwrap_or_default();
        value.starts_with(run) && run.len() >= 8 && has_digit(run) && !known.contains(&run)
    })
}

fn runs(text: &str) -> impl Iterator<Item = &str> {
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/%".contains(c);
    text.split(move |c| !of_token(c))
        .filter(|run| !run.is_empty())
}

fn has_digit(run: &str) -> bool {
    run.bytes().any(|b| b.is_ascii_digit())
}
