//! The parameters of a token request: where they stand, each at most once.

use crate::{Body, Options};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

/// Parameters as they came.
#[derive(Debug)]
pub(super) struct Params {
    /// Where they stand; `None`: in a body of a type that nobody takes.
    place: Option<Body>,
    pairs: Vec<(String, String)>,
    /// What stands in the URL beside a body.
    beside: Vec<(String, String)>,
    not_read: Option<&'static str>,
}

impl Params {
    /// Reads the body, or the query where the body is empty.
    pub(super) fn read(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Self {
        let query = parsed(query.unwrap_or_default().as_bytes());
        let mut params = Params {
            place: None,
            pairs: Vec::new(),
            beside: Vec::new(),
            not_read: None,
        };
        let content_type = media_type(headers);
        match content_type.as_deref() {
            _ if body.is_empty() && (!query.is_empty() || content_type.is_none()) => {
                params.place = Some(Body::Query);
                params.pairs = query;
                return params;
            }
            Some("application/x-www-form-urlencoded") => {
                params.place = Some(Body::Form);
                params.pairs = parsed(body);
            }
            Some("application/json") => {
                params.place = Some(Body::Json);
                match members(body) {
                    Some(pairs) => params.pairs = pairs,
                    None => params.not_read = Some("the body is not a JSON object of strings"),
                }
            }
            _ => {}
        }
        params.beside = query;
        params
    }

    /// Where the parameters stand.
    pub(super) fn place(&self) -> Option<Body> {
        self.place
    }

    /// A parameter; one without a value counts as omitted (RFC 6749 §3.2).
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        find(&self.pairs, name)
    }

    /// A parameter of the URL beside a body.
    pub(super) fn beside(&self, name: &str) -> Option<&str> {
        find(&self.beside, name)
    }

    /// What is wrong with the request's form, for `error_description`.
    pub(super) fn problem(&self, options: &Options) -> Option<String> {
        if !self.place.is_some_and(|p| options.bodies.contains(&p)) {
            let places: Vec<_> = options
                .bodies
                .iter()
                .map(|body| place_name(*body))
                .collect();
            return Some(format!(
                "the parameters must stand in {}",
                places.join(" or ")
            ));
        }
        if let Some(problem) = self.not_read {
            return Some(problem.to_owned());
        }
        let all = self.pairs.iter().chain(&self.beside);
        let mut names: Vec<_> = all.map(|(name, _)| name).collect();
        names.sort_unstable();
        let twice = names.windows(2).any(|w| w[0] == w[1]);
        twice.then(|| "a parameter stands there twice".to_owned())
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = pairs.iter().filter(|(n, _)| n == name);
    let value = named.next().map(|(_, v)| v.as_str());
    value.filter(|v| !v.is_empty())
}

fn parsed(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

fn members(body: &[u8]) -> Option<Vec<(String, String)>> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return None;
    };
    let pair = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    object.into_iter().map(pair).collect()
}

/// The content type without its parameters, such as a charset.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type.split(';').next().unwrap_or_default();
    Some(media_type.trim().to_ascii_lowercase())
}

fn place_name(body: Body) -> &'static str {
    match body {
        Body::Form => "a body of type application/x-www-form-urlencoded",
        Body::Json => "a body of type application/json",
        Body::Query => "the query",
    }
}
