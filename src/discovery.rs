//! `refreshd provider discover`: what an authorization server says of itself
//! (RFC 8414, OpenID Connect Discovery 1.0), as a provider file for review.
//! Everything in the document is foreign text; nothing of it is believed but under
//! the issuer that was asked for, and nothing is written anywhere.

mod file;

pub(crate) use file::name_of;

use crate::http::probe::{Fetched, ProbeError, Reach, fetch};
use refreshd_core::provider::description::check_endpoint;
use refreshd_core::text::printable;
use serde_json::{Map, Value};
use url::Url;

/// The members that a provider file is made from.
const MEMBERS: [&str; 14] = [
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "revocation_endpoint_auth_methods_supported",
    "userinfo_endpoint",
    "device_authorization_endpoint",
    "token_endpoint_auth_methods_supported",
    "code_challenge_methods_supported",
    "grant_types_supported",
    "scopes_supported",
    "response_types_supported",
    "authorization_response_iss_parameter_supported",
    "service_documentation",
];

/// Why nothing was discovered.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The issuer cannot be one.
    #[error("{0}")]
    Issuer(String),
    /// Nothing came.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// No document is there.
    #[error("no metadata was found; tried {}", .0.join("; "))]
    NotFound(Vec<String>),
    /// What is there cannot be read.
    #[error("{url}: {why}")]
    Document {
        /// Where.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The document speaks for somebody else (RFC 8414 §3.3).
    #[error(
        "{url} is the metadata of {found}, not of {asked}, so nothing of it is used; they must be equal to the letter (RFC 8414 §3.3){hint}"
    )]
    OtherIssuer {
        /// Where.
        url: String,
        /// What was asked for.
        asked: String,
        /// What it says, printable.
        found: String,
        /// What to do, where that is clear.
        hint: &'static str,
    },
}

/// An authorization server's metadata, its issuer checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    /// The issuer, as it was asked for.
    pub issuer: String,
    /// Where the document was.
    pub url: Url,
    /// Its members, as far as they are used.
    pub members: Map<String, Value>,
}

/// Asks an issuer for its metadata, at each place where it may lie.
///
/// # Errors
/// When there is none that can be used.
pub async fn discover(issuer: &str, reach: &Reach) -> Result<Discovered, DiscoveryError> {
    let mut tried = Vec::new();
    for url in places(issuer)? {
        let Fetched { status, body } = fetch(&url, reach).await?;
        match status {
            200 => return read(issuer, url, &body),
            300..=399 => tried.push(format!(
                "{url} (HTTP {status}, a redirect, which is not followed)"
            )),
            _ => tried.push(format!("{url} (HTTP {status})")),
        }
    }
    Err(DiscoveryError::NotFound(tried))
}

/// RFC 8414 §3.1 puts the well-known part between host and path, OpenID Connect
/// Discovery §4.1 behind the path.
fn places(issuer: &str) -> Result<Vec<Url>, DiscoveryError> {
    let wrong = |why: &str| {
        let issuer = printable(issuer);
        DiscoveryError::Issuer(format!("{issuer:?} cannot be an issuer: {why}"))
    };
    let url = Url::parse(issuer).map_err(|e| wrong(&e.to_string()))?;
    check_endpoint(&url).map_err(|why| wrong(&why))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has neither query nor fragment (RFC 8414 §2)"));
    }
    if url.path().contains("/.well-known/") {
        return Err(wrong(
            "that is where its metadata lie; give the issuer itself, as in https://login.example.com",
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = url.clone();
        url.set_path(&path);
        url
    };
    let mut places = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ];
    if !path.is_empty() {
        places.push(at(format!("/.well-known/openid-configuration{path}")));
    }
    Ok(places)
}

fn read(issuer: &str, url: Url, body: &[u8]) -> Result<Discovered, DiscoveryError> {
    let document = |why: String| DiscoveryError::Document {
        url: url.to_string(),
        why,
    };
    let Value::Object(mut map) = serde_json::from_slice(body)
        .map_err(|e| document(format!("it is not JSON (line {})", e.line())))?
    else {
        return Err(document("it is not a JSON object".to_owned()));
    };
    let found = map.get("issuer").and_then(Value::as_str);
    let found = found.ok_or_else(|| document("it names no issuer".to_owned()))?;
    if found != issuer {
        let differ_by_slash = found.trim_end_matches('/') == issuer.trim_end_matches('/');
        return Err(DiscoveryError::OtherIssuer {
            found: printable(found),
            asked: printable(issuer),
            hint: match differ_by_slash {
                true => ". Only the '/' at the end differs: ask for that one",
                false => "",
            },
            url: url.to_string(),
        });
    }
    map.retain(|name, _| MEMBERS.contains(&name.as_str()));
    Ok(Discovered {
        issuer: issuer.to_owned(),
        url,
        members: map,
    })
}

impl Discovered {
    /// The members that were used, as JSON without a character that a terminal could obey.
    #[must_use]
    pub fn json(&self) -> String {
        let json = serde_json::json!({
            "issuer": self.issuer,
            "metadata_url": self.url,
            "members": self.members,
        });
        ascii(&serde_json::to_string_pretty(&json).expect("it is plain data"))
    }
}

/// JSON with everything but printable ASCII escaped: such characters stand in
/// strings only.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || (' '..='~').contains(&c) {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
