//! How a person authorizes, as data: the authorization endpoint, the device
//! endpoint, and who it was; and the URL that the person is sent to.

use super::Description;
use super::request::{Registration, RequestError, joined_scopes};
use super::template;
use crate::duration;
use crate::provider::request::filled_url;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

/// The authorization endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorize {
    /// URL, with `{var}` where a variable belongs.
    pub url: String,
    /// Proof key for code exchange (RFC 7636).
    #[serde(default)]
    pub pkce: Pkce,
    /// Further query parameters.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What stands between scopes; a space (RFC 6749 §3.3) unless said.
    #[serde(default = "space")]
    pub scope_separator: String,
    /// How the code comes to us.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delivery: Delivery,
    /// Who a redirect with a code must say it is from (RFC 9207). Without this, what it
    /// says is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// How long a code is good for, where that is known.
    #[serde(
        default,
        deserialize_with = "duration::deserialize",
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub code_lifetime: Option<Duration>,
}

fn space() -> String {
    " ".to_owned()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Which challenge method the provider takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pkce {
    /// SHA-256 of the verifier.
    #[default]
    S256,
    /// The provider does not know PKCE.
    #[serde(rename = "none")]
    None,
}

/// How an authorization code comes to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// By the person's browser (RFC 6749 §4.1.2).
    #[default]
    Redirect,
    /// By a POST of the provider's own to us, with what the link carried in it.
    Push,
}

/// The device authorization endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// URL, with `{var}` where a variable belongs.
    pub url: String,
    /// Parameters besides `[token]`'s.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

/// Who authorized. An id token in the answer says it as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// URL of a GET with `Authorization: Bearer …`, answered with a JSON object.
    pub url: String,
    /// The member that tells accounts apart; a path of names with dots between them.
    #[serde(default = "sub")]
    pub member: String,
}

fn sub() -> String {
    "sub".to_owned()
}

/// What an authorization request carries that is made for it alone.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `state` (RFC 6749 §10.12).
    pub state: &'a str,
    /// `code_challenge` (RFC 7636 §4.3), where the provider takes one.
    pub challenge: Option<&'a str>,
    /// `nonce` (OpenID Connect), where an id token is asked for.
    pub nonce: Option<&'a str>,
}

/// The URL that the person is sent to (RFC 6749 §4.1.1).
///
/// # Errors
/// When the description has no authorization endpoint, or it cannot be filled.
pub fn authorize_url(
    description: &Description,
    registration: &Registration<'_>,
    vars: &BTreeMap<String, String>,
    asked: Asked<'_>,
) -> Result<Url, RequestError> {
    let authorize = description.authorize.as_ref();
    let authorize = authorize.ok_or(RequestError::NoSuchEndpoint("authorize"))?;
    let mut url = filled_url("authorize.url", description, &authorize.url, vars)?;
    let scope = joined_scopes(description, registration);
    let mut params: Vec<(&str, String)> = Vec::new();
    match authorize.delivery {
        Delivery::Push => params.push(("client_id", registration.client_id.to_owned())),
        Delivery::Redirect => {
            params.push(("response_type", "code".to_owned()));
            params.push(("client_id", registration.client_id.to_owned()));
            if let Some(redirect_uri) = registration.redirect_uri {
                params.push(("redirect_uri", redirect_uri.to_owned()));
            }
            if !scope.is_empty() {
                params.push(("scope", scope.clone()));
            }
        }
    }
    params.push(("state", asked.state.to_owned()));
    if let Some(challenge) = asked.challenge {
        params.push(("code_challenge", challenge.to_owned()));
        params.push(("code_challenge_method", "S256".to_owned()));
    }
    if let Some(nonce) = asked.nonce {
        params.push(("nonce", nonce.to_owned()));
    }
    for (name, value) in &authorize.params {
        let value = template::fill(value, |variable| match variable {
            "client_id" => Some(registration.client_id.to_owned()),
            "redirect_uri" => registration.redirect_uri.map(str::to_owned),
            "scope" => Some(scope.clone()),
            _ => vars.get(variable).cloned(),
        })
        .map_err(|unfilled| RequestError::Unfilled {
            key: format!("authorize.params.{name}"),
            name: unfilled.0,
        })?;
        match params.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => params.push((name, value)),
        }
    }
    let mut query = url.query_pairs_mut();
    for (name, value) in params {
        query.append_pair(name, &value);
    }
    drop(query);
    Ok(url)
}

/// The challenge of a PKCE verifier (RFC 7636 §4.2, S256).
#[must_use]
pub fn challenge(verifier: &Secret) -> String {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(verifier.expose().as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        // Appendix B.
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            challenge(&verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn a_url_carries_what_is_asked_and_no_parameter_twice() {
        let text = r#"{"name":"x","authorize":{"url":"https://a.example/auth?tenant=7",
            "params":{"access_type":"offline","scope":"fixed {scope}"}},"token":{"url":"https://a.example/token"}}"#;
        let description: Description = serde_json::from_str(text).unwrap();
        let registration = Registration {
            client_id: "id&1",
            client_secret: None,
            redirect_uri: Some("http://127.0.0.1:7777/callback"),
            scopes: &["read".to_owned()],
        };
        let asked = Asked {
            state: "st",
            challenge: Some("ch"),
            nonce: None,
        };
        let url = authorize_url(&description, &registration, &BTreeMap::new(), asked).unwrap();
        assert_eq!(
            url.as_str(),
            "https://a.example/auth?tenant=7&response_type=code&client_id=id%261&redirect_uri=http%3A%2F%2F127.0.0.1%3A7777%2Fcallback\
             &scope=fixed+read&state=st&code_challenge=ch&code_challenge_method=S256&access_type=offline"
        );
    }
}
