//! Whether a body is in the provider's own format, told by its text: content types are
//! wrong too often. Strict first: one JSON object and nothing else. Then leniently: the
//! one object that holds tokens, whatever stands around it. What is not clear is not
//! guessed.

use super::lenient::{self, wipe};
use super::place;
use crate::provider::description::Response;
use serde_json::{Map, Value};
use url::form_urlencoded;

/// So many places where an object may begin are looked at.
const MOST_OBJECTS: usize = 64;

/// A body, sniffed.
pub(super) enum Body {
    /// A JSON object, or a form that holds a token or an error.
    Own(Members),
    /// It holds tokens, or may, but which of them are meant is not clear: why.
    Unclear(&'static str),
    /// Anything else: a page, a gateway's message, nothing.
    Foreign,
}

/// An answer's members; every text in them is wiped when dropped.
#[derive(Clone)]
pub(super) struct Members {
    map: Map<String, Value>,
    /// What is odd about the body, for people.
    pub(super) oddities: Vec<&'static str>,
    /// The body ends within them.
    pub(super) cut: bool,
}

impl Members {
    pub(super) fn new(map: Map<String, Value>) -> Self {
        Members {
            map,
            oddities: Vec::new(),
            cut: false,
        }
    }

    /// Others in their place: an object within them.
    pub(super) fn within(mut self, map: Map<String, Value>) -> Self {
        Members {
            map,
            oddities: std::mem::take(&mut self.oddities),
            cut: self.cut,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name)
    }

    /// Takes what a dotted path leads to.
    pub(super) fn take_at(&mut self, path: &str) -> Option<Value> {
        place::take_at(&mut self.map, path)
    }

    /// Sets a member, in the place of one of that name.
    pub(super) fn put(&mut self, name: &str, value: Value) {
        if let Some(mut replaced) = self.map.insert(name.to_owned(), value) {
            wipe(&mut replaced);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.map.iter()
    }

    /// A token that stands under its name.
    pub(super) fn token(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => (!text.trim().is_empty()).then(|| text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.map.values_mut().for_each(wipe);
    }
}

/// `cut`: the body is known not to be whole.
pub(super) fn sniff(text: &str, cut: bool, response: &Response) -> Body {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    let objects = objects(text);
    if objects.is_empty() {
        return form(text, cut).map_or(Body::Foreign, Body::Own);
    }
    choose(text, objects, response)
}

/// The one that holds tokens; where none does, the one that there is.
fn choose(text: &str, objects: Vec<Members>, response: &Response) -> Body {
    let tokens = |members: &Members| {
        let placed = place::place(members.clone(), response);
        (placed.token("access_token"), placed.token("refresh_token"))
    };
    let held: Vec<_> = objects.iter().map(tokens).collect();
    let holds = |at: &usize| held[*at] != (None, None);
    let holding: Vec<usize> = (0..objects.len()).filter(holds).collect();
    let Some(first) = holding.first().copied() else {
        let alone = objects.len() == 1 || text.starts_with('{');
        return match objects.into_iter().next() {
            Some(members) if alone && !is_page(text) => Body::Own(members),
            _ => Body::Foreign,
        };
    };
    if holding.iter().any(|at| held[*at] != held[first]) {
        return Body::Unclear("it holds several objects with different tokens");
    }
    let others = objects.iter().enumerate().filter(|(at, _)| !holds(at));
    if others
        .map(|(_, other)| other)
        .any(|o| o.get("error").is_some())
    {
        return Body::Unclear("it holds an object with tokens and one with an error");
    }
    let chosen = objects.into_iter().nth(first);
    chosen.map_or(Body::Foreign, Body::Own)
}

/// The JSON objects in a text, one behind the other.
fn objects(text: &str) -> Vec<Members> {
    let mut found = Vec::new();
    let mut at = 0;
    for _ in 0..MOST_OBJECTS {
        let Some(begin) = text[at..].find('{').map(|offset| at + offset) else {
            break;
        };
        let Some(object) = lenient::object(text, begin) else {
            at = begin + 1;
            continue;
        };
        at = object.end;
        if object.map.is_empty() && !object.cut && text.len() > 2 {
            continue;
        }
        let mut members = Members::new(object.map);
        members.cut = object.cut;
        let oddities = [
            (begin > 0, "something precedes the JSON object"),
            (at < text.len(), "something follows the JSON object"),
            (object.flawed, "the JSON has flaws; it was read leniently"),
            (object.cut, "the body ends within the JSON object"),
        ];
        let told = oddities.iter().filter(|(is, _)| *is).map(|(_, text)| *text);
        members.oddities = told.collect();
        found.push(members);
    }
    found
}

/// Whether it is a page, in whose scripts objects mean nothing.
fn is_page(text: &str) -> bool {
    let head: String = text.chars().take(1024).collect();
    let head = head.to_ascii_lowercase();
    head.contains("<html") || head.contains("<!doctype html") || head.contains("<body")
}

/// A form, but only with a member that makes it a token answer: any text with a
/// `=` in it parses as a form.
fn form(text: &str, cut: bool) -> Option<Members> {
    let encoded = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"');
    if !text.contains('=') || !text.chars().all(encoded) {
        return None;
    }
    // Nothing tells where the last value ends but the end itself.
    let whole = match cut {
        true => text.rsplit_once('&').map_or("", |(whole, _)| whole),
        false => text,
    };
    let mut members = Members::new(
        form_urlencoded::parse(whole.as_bytes())
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect(),
    );
    members.cut = cut;
    let text = |name| members.get(name).and_then(Value::as_str);
    let own = ["access_token", "error"]
        .iter()
        .any(|name| text(name).is_some_and(|value| !value.is_empty()));
    own.then_some(members)
}
