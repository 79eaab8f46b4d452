//! Error codes: where servers put them, and what they mean (RFC 6749 §5.2).

use super::own::Members;
use super::words::{redacted, without_tokens};
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
    /// A person has to do something at the provider.
    Person,
    /// The provider cannot for now, and did nothing. `listed`: the description says so.
    Unavailable {
        listed: bool,
    },
    Other,
}

impl Kind {
    /// Whether it is said of that very token or client, by somebody who knows.
    pub(super) fn is_definite(self) -> bool {
        matches!(
            self,
            Kind::InvalidGrant
                | Kind::InvalidClient
                | Kind::Person
                | Kind::Unavailable { listed: true }
        )
    }
}

/// An error in the provider's own format.
pub(super) struct Said {
    pub(super) kind: Kind,
    /// For people.
    pub(super) text: String,
}

/// The codes and the words of an error, still as they came; the likeliest first.
#[derive(Default)]
struct Raw {
    codes: Vec<String>,
    words: Vec<String>,
    /// The description says where the code is, and there is one.
    placed: bool,
}

/// Where codes are, as [`plain`] names.
const CODES: [&str; 22] = [
    "error",
    "code",
    "type",
    "errortype",
    "errorcode",
    "errcode",
    "errcodes",
    "errorcodes",
    "errorsubcode",
    "errorsubtype",
    "suberror",
    "subcode",
    "status",
    "statuscode",
    "resultcode",
    "returncode",
    "retcode",
    "ret",
    "faultcode",
    "reason",
    "errorkey",
    "key",
];
/// Where words are.
const WORDS: [&str; 18] = [
    "errordescription",
    "message",
    "description",
    "msg",
    "errormessage",
    "errormsg",
    "errmsg",
    "detail",
    "details",
    "errordetail",
    "errordetails",
    "faultstring",
    "title",
    "developermessage",
    "usermessage",
    "reason",
    "hint",
    "text",
];
/// What holds them one level down.
const HOLDERS: [&str; 12] = [
    "error",
    "errors",
    "err",
    "fault",
    "detail",
    "details",
    "meta",
    "status",
    "exception",
    "messages",
    "result",
    "response",
];
/// How many codes, and how many words, are looked at.
const MOST: usize = 16;
const DEPTH: usize = 3;

/// Finds an error in an answer. Without an `error` member, or a code where the
/// description says that codes are, only what the description lists counts, and the RFC's
/// own codes: gateways say `message` too.
pub(super) fn find(members: &Members, errors: &Errors, status: Option<u16>) -> Option<Said> {
    let raw = gather(members, errors);
    let has_error = raw.placed
        || members
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("error") && is_error(value));
    let (kind, by) = match listed(&raw, errors) {
        Some((kind, said)) => (kind, Some(said)),
        None => (standard(&raw).or(has_error.then_some(Kind::Other))?, None),
    };
    Some(Said {
        kind,
        text: tell(&raw, by, status),
    })
}

/// What can be told of members that are neither tokens nor an error that is known: the
/// words, and the members' names.
pub(super) fn unknown(members: &Members, errors: &Errors) -> String {
    let raw = gather(members, errors);
    let said = tell(&raw, None, None);
    let names: Vec<String> = members
        .iter()
        .take(12)
        .map(|(name, _)| redacted(name))
        .collect();
    let more = if members.iter().nth(12).is_some() {
        ", …"
    } else {
        ""
    };
    let names = match names.is_empty() {
        true => "it has no members".to_owned(),
        false => format!("its members: {}{more}", names.join(", ")),
    };
    match raw.words.is_empty() {
        true => names,
        false => format!("{said}; {names}"),
    }
}

/// The words alone, where there are any.
pub(super) fn words(members: &Members, errors: &Errors) -> Option<String> {
    let raw = gather(members, errors);
    let any = !raw.codes.is_empty() || !raw.words.is_empty();
    any.then(|| tell(&raw, None, None))
}

fn gather(members: &Members, errors: &Errors) -> Raw {
    let mut raw = Raw::default();
    for path in errors.code.iter() {
        let found = members
            .iter()
            .flat_map(|(name, value)| at(name, value, path));
        for value in found.filter(|value| is_error(value)) {
            raw.code(value);
        }
    }
    raw.placed = !raw.codes.is_empty();
    for path in errors.message.iter() {
        let found = members
            .iter()
            .flat_map(|(name, value)| at(name, value, path));
        found.for_each(|value| raw.word(value));
    }
    raw.object(members.iter(), 0);
    raw
}

/// What a dotted path leads to, below a member; of an array, each element or the one of
/// that number.
fn at<'v>(name: &str, value: &'v Value, path: &str) -> Vec<&'v Value> {
    if name == path {
        return vec![value];
    }
    let rest = path
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('.'));
    rest.map_or_else(Vec::new, |rest| below(value, rest))
}

fn below<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, value)| at(name, value, path))
            .collect(),
        Value::Array(values) => {
            let (first, rest) = path
                .split_once('.')
                .map_or((path, None), |(f, r)| (f, Some(r)));
            let numbered = first.parse::<usize>().ok().and_then(|i| values.get(i));
            match (numbered, rest) {
                (Some(value), None) => vec![value],
                (Some(value), Some(rest)) => below(value, rest),
                (None, _) => values.iter().flat_map(|value| below(value, path)).collect(),
            }
        }
        _ => Vec::new(),
    }
}

impl Raw {
    /// An object's own codes and words, and then those of what it holds.
    fn object<'v>(&mut self, members: impl Iterator<Item = (&'v String, &'v Value)>, depth: usize) {
        let members: Vec<(String, &Value)> =
            members.map(|(name, value)| (plain(name), value)).collect();
        let under = |known: &'static str| {
            let of = move |(name, _): &&(String, &'v Value)| name == known;
            members.iter().filter(of).map(|(_, value)| *value)
        };
        // What an `error` object says of itself is more than what stands around it.
        for inner in under("error").filter(|value| value.is_object()) {
            self.within(inner, depth);
        }
        for name in CODES {
            let codes = under(name).filter(|value| name != "error" || is_error(value));
            codes.for_each(|value| self.code(value));
        }
        for name in WORDS {
            under(name).for_each(|value| self.word(value));
        }
        for name in HOLDERS {
            let held = under(name).filter(|value| name != "error" || !value.is_object());
            for inner in held {
                self.within(inner, depth);
            }
        }
    }

    fn within(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Object(map) if depth < DEPTH => {
                self.object(map.iter(), depth + 1);
            }
            Value::Array(values) => {
                for value in values.iter().take(MOST) {
                    match value {
                        Value::String(_) => {
                            self.code(value);
                            self.word(value);
                        }
                        inner => self.within(inner, depth),
                    }
                }
            }
            _ => {}
        }
    }

    fn code(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().take(MOST).for_each(|value| match value {
                Value::Array(_) => {}
                value => self.code(value),
            }),
            value => push(&mut self.codes, scalar(value)),
        }
    }

    fn word(&mut self, value: &Value) {
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        push(&mut self.words, text.map(str::to_owned));
    }
}

fn push(all: &mut Vec<String>, one: Option<String>) {
    all.extend(one.filter(|one| all.len() < MOST && !all.contains(one)));
}

/// A member's name as it is compared: `errorCode`, `error_code` and `Error-Code` are one.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).take(32);
    letters.map(|c| c.to_ascii_lowercase()).collect()
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
fn listed<'r>(raw: &'r Raw, errors: &Errors) -> Option<(Kind, &'r str)> {
    let unavailable = Kind::Unavailable { listed: true };
    let lists = [
        (Kind::RateLimited, &errors.rate_limited),
        (Kind::TooEarly, &errors.too_early),
        (Kind::InvalidClient, &errors.invalid_client),
        (Kind::InvalidGrant, &errors.invalid_grant),
        (Kind::Person, &errors.interaction_required),
        (unavailable, &errors.transient),
    ];
    let mut said = raw.codes.iter().chain(&raw.words);
    said.find_map(|said| {
        let is = |listed: &String| listed.eq_ignore_ascii_case(said.trim());
        let list = lists.iter().find(|(_, list)| list.iter().any(is));
        list.map(|(kind, _)| (*kind, said.as_str()))
    })
}

/// The codes that have a meaning everywhere: RFC 6749 §5.2, and those of OpenID Connect
/// Core §3.1.2.6 and its kin, which say that only a person helps.
fn standard(raw: &Raw) -> Option<Kind> {
    raw.codes.iter().find_map(|code| {
        Some(match plain(code).as_str() {
            "invalidgrant" => Kind::InvalidGrant,
            "invalidclient" | "unauthorizedclient" => Kind::InvalidClient,
            "temporarilyunavailable" | "slowdown" | "servererror" => {
                Kind::Unavailable { listed: false }
            }
            "interactionrequired"
            | "loginrequired"
            | "consentrequired"
            | "accountselectionrequired"
            | "registrationrequired"
            | "unmetauthenticationrequirements"
            | "insufficientuserauthentication"
            | "mfarequired"
            | "reauthrequired"
            | "reauthenticationrequired"
            | "reauthorizationrequired" => Kind::Person,
            _ => return None,
        })
    })
}

/// The first code, what the description lists of the rest, and the first words.
fn tell(raw: &Raw, by: Option<&str>, status: Option<u16>) -> String {
    let first = raw.codes.first().map(String::as_str);
    let code = match (first, by.filter(|by| Some(*by) != first)) {
        (Some(first), Some(by)) if !raw.words.iter().any(|words| words == by) => {
            format!("{first} ({by})")
        }
        (Some(first), _) => first.to_owned(),
        (None, _) => "an error without a code".to_owned(),
    };
    let listed = by.filter(|by| Some(*by) != first && raw.words.iter().any(|words| words == by));
    let other = |words: &&str| Some(*words) != first && Some(*words) != by;
    let words = listed.or_else(|| raw.words.iter().map(String::as_str).find(other));
    let words = words.filter(|words| Some(*words) != first);
    let parts = [Some(code.as_str()), words].into_iter().flatten();
    let parts = parts.map(|text| printable(&without_tokens(text)));
    let status = status.map(|status| format!("HTTP {status}"));
    let parts: Vec<String> = status.into_iter().chain(parts).collect();
    parts.join(": ")
}

/// What an array or a text in the place of an object says: Salesforce's APIs answer with
/// an array of errors.
pub(super) fn of_other_json(body: &[u8]) -> Option<Members> {
    let body = body.trim_ascii();
    let value: Value = match body.first()? {
        b'[' | b'"' if body.len() <= 64 * 1024 => serde_json::from_slice(body).ok()?,
        _ => return None,
    };
    let map = Map::from_iter([(
        "errors".to_owned(),
        Value::Array(match value {
            Value::Array(values) => values,
            text => vec![text],
        }),
    )]);
    Some(Members::new(map))
}
