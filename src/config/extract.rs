//! From merged values to typed ones, with every problem on the way: what serde
//! stumbles over is reported, taken out, and the rest read again.

use super::layer::{Stack, child_mut, dotted};
use super::problem::{Problem, Severity, suggestion};
use super::source_text::{Aim, Path, in_proxy, sounds_secret};
use figment::error::{Actual, Kind};
use figment::value::Value;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// What came out.
pub(super) struct Extracted<T> {
    /// The typed values; without those that were in the way. `None` when a
    /// required one is missing.
    pub(super) value: Option<T>,
    /// Paths about which something has been said.
    pub(super) reported: BTreeSet<Path>,
}

/// Reads a `T`.
pub(super) fn extract<T: DeserializeOwned>(
    stack: &Stack,
    mut values: Value,
    problems: &mut Vec<Problem>,
) -> Extracted<T> {
    let mut reported = BTreeSet::new();
    let mut complete = true;
    loop {
        let error = match values.deserialize::<T>() {
            Ok(value) => {
                let value = complete.then_some(value);
                return Extracted { value, reported };
            }
            Err(error) => error,
        };
        if let Some(text) = text_instead(stack, &error)
            && replace(&mut values, &error.path, text)
        {
            continue;
        }
        let path = path_of(&error);
        let news = reported.insert(path.clone());
        if news {
            problems.push(describe(stack, &error, &path));
        }
        let went_on = match error.kind {
            // An empty text stands in, so that the rest is read too.
            Kind::MissingField(_) => {
                complete = false;
                news && insert(&mut values, &path, "".into())
            }
            _ => remove(&mut values, &path),
        };
        if !went_on {
            return Extracted {
                value: None,
                reported,
            };
        }
    }
}

/// A number or a truth value from the environment, where a text is wanted, was
/// meant as that text.
fn text_instead(stack: &Stack, error: &figment::Error) -> Option<Value> {
    let Kind::InvalidType(actual, expected) = &error.kind else {
        return None;
    };
    let scalar = !matches!(actual, Actual::Str(_) | Actual::Seq | Actual::Map);
    let wanted = scalar && expected.contains("string");
    wanted
        .then(|| stack.flag_text(&error.path))
        .flatten()
        .map(Value::from)
}

fn path_of(error: &figment::Error) -> Path {
    let mut path = error.path.clone();
    if let Kind::MissingField(name) = &error.kind {
        path.push(name.to_string());
    }
    path
}

fn parent<'a>(values: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    let (_, above) = path.split_last()?;
    above
        .iter()
        .try_fold(values, |value, key| child_mut(value, key))
}

fn insert(values: &mut Value, path: &[String], new: Value) -> bool {
    match (parent(values, path), path.last()) {
        (Some(Value::Dict(_, dict)), Some(key)) => dict.insert(key.clone(), new).is_none(),
        _ => false,
    }
}

fn replace(values: &mut Value, path: &[String], new: Value) -> bool {
    let old = path
        .iter()
        .try_fold(values, |value, key| child_mut(value, key));
    old.map(|old| *old = new).is_some()
}

/// Takes a value out; an array's element with its array, since the others'
/// numbers must stay what they are in the file.
fn remove(values: &mut Value, path: &[String]) -> bool {
    let Some((key, above)) = path.split_last() else {
        return false;
    };
    match parent(values, path) {
        Some(Value::Dict(_, dict)) => dict.remove(key).is_some(),
        Some(Value::Array(..)) => remove(values, above),
        _ => false,
    }
}

fn describe(stack: &Stack, error: &figment::Error, path: &Path) -> Problem {
    let at = dotted(path);
    let (aim, message, remedy) = match &error.kind {
        Kind::UnknownField(key, known) => {
            let message = format!("unknown key {key:?}{}", within(path));
            (
                Aim::Key,
                message,
                suggestion(key, known.iter().copied(), "keys"),
            )
        }
        Kind::MissingField(key) => {
            let message = format!("missing key {key:?}{}", within(path));
            (Aim::Key, message, None)
        }
        // Two levels down: the names of clients and grants say nothing.
        _ if holds_secret(path.get(2..).unwrap_or_default()) => {
            let message = format!("{at}: a secret does not stand in the configuration itself");
            (Aim::Value, message, Some(SECRET_REMEDY.to_owned()))
        }
        Kind::UnknownVariant(word, known) => {
            let message = format!("{at} = {word:?} is not known");
            (
                Aim::Value,
                message,
                suggestion(word, known.iter().copied(), "values"),
            )
        }
        Kind::InvalidType(actual, expected) => {
            let message = format!("{at} must be {}, not {}", wanted(expected), found(actual));
            (Aim::Value, message, type_remedy(path, actual, expected))
        }
        Kind::Message(message) => (Aim::Value, format!("{at}: {message}"), None),
        other => (Aim::Value, format!("{at}: {other}"), None),
    };
    let mut problem = stack.problem(Severity::Error, path, aim, message);
    problem.remedy = remedy;
    problem
}

/// What to write in place of a bare secret.
pub(super) const SECRET_REMEDY: &str =
    "write { file = \"/…\" }, { env = \"NAME\" } or { credential = \"name\" }";

fn holds_secret(path: &[String]) -> bool {
    let about_url = in_proxy(path) && path.last().is_some_and(|last| last != "password");
    sounds_secret(path) && !about_url
}

fn within(path: &[String]) -> String {
    match path.split_last() {
        Some((_, above)) if !above.is_empty() => format!(" in [{}]", dotted(above)),
        _ => String::new(),
    }
}

fn wanted(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "a table",
        "path string" => "a string",
        word if word.starts_with("struct ") => "a table",
        word if word.starts_with("enum ") => "a string",
        word if word.starts_with(['u', 'i']) => "a whole number",
        word => word,
    }
}

/// The kind of what was found; never the value.
fn found(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Str(_) | Actual::Char(_) => "a string",
        Actual::Seq => "an array",
        Actual::Map => "a table",
        _ => "something else",
    }
}

fn type_remedy(path: &[String], actual: &Actual, expected: &str) -> Option<String> {
    let key = path.last()?;
    let scalar = !matches!(actual, Actual::Seq | Actual::Map);
    let remedy = match (key.as_str(), wanted(expected)) {
        ("mode", _) => "write octal digits in a string: mode = \"0640\"".to_owned(),
        ("key", "a table") => {
            "write key = { file = \"/…\" } or key = { credential = \"name\" }".to_owned()
        }
        (_, "a string") if scalar => format!("put it in quotes: {key} = \"…\""),
        (_, "an array") if scalar => format!("put it in brackets: {key} = [\"…\"]"),
        (_, "a table") if path.len() > 1 => format!("begin it with [{}]", dotted(path)),
        _ => return None,
    };
    Some(remedy)
}
