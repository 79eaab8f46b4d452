//! Whether a body is in the provider's own format, told by its bytes: content
//! types are wrong too often.

use super::place;
use serde_json::{Map, Value};
use url::form_urlencoded;
use zeroize::Zeroize;

/// Bodies above this are not parsed; no token answer comes near it.
const MAX_BYTES: usize = 1 << 20;

/// A body, sniffed.
pub(super) enum Body {
    /// A JSON object, or a form that holds a token or an error.
    Own(Members),
    /// It begins like a JSON object but cannot be read as one.
    Broken,
    /// Anything else: a page, a gateway's message, nothing.
    Foreign,
}

/// An answer's members; every text in them is wiped when dropped.
pub(super) struct Members {
    map: Map<String, Value>,
    /// Something came after the JSON object.
    pub(super) trailing: bool,
}

impl Members {
    pub(super) fn new(map: Map<String, Value>) -> Self {
        Members {
            map,
            trailing: false,
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

    pub(super) fn has_access_token(&self) -> bool {
        self.get("access_token")
            .and_then(Value::as_str)
            .is_some_and(|token| !token.trim().is_empty())
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.map.values_mut().for_each(wipe);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

pub(super) fn sniff(body: &[u8]) -> Body {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = body.trim_ascii();
    match body.first() {
        Some(b'{') => json(body),
        Some(_) if body.len() <= MAX_BYTES => form(body).map_or(Body::Foreign, Body::Own),
        _ => Body::Foreign,
    }
}

/// Depth is bounded by `serde_json` (128). What follows the object is let pass:
/// a script's warning after it does not make the tokens in it worthless.
fn json(body: &[u8]) -> Body {
    if body.len() > MAX_BYTES {
        return Body::Broken;
    }
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Map<String, Value>>();
    match values.next() {
        Some(Ok(map)) => Body::Own(Members {
            map,
            trailing: values.byte_offset() < body.len(),
        }),
        _ => Body::Broken,
    }
}

/// A form, but only with a member that makes it a token answer: any text with a
/// `=` in it parses as a form.
fn form(body: &[u8]) -> Option<Members> {
    let text = std::str::from_utf8(body).ok()?;
    let encoded = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"');
    if !text.contains('=') || !text.chars().all(encoded) {
        return None;
    }
    let members = Members::new(
        form_urlencoded::parse(body)
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect(),
    );
    let text = |name| members.get(name).and_then(Value::as_str);
    let own = ["access_token", "error"]
        .iter()
        .any(|name| text(name).is_some_and(|value| !value.is_empty()));
    own.then_some(members)
}
