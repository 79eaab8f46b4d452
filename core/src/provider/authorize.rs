//! How a person authorizes, as data: the authorization endpoint, the device
//! endpoint, and who it was; and the URL that the person is sent to.

use super::Description;
use super::request::{Registration, RequestError, joined_scopes};
use super::template;
use crate::duration;
use crate::provider::request::{checked_vars, filled_url};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use url::{Url, form_urlencoded};

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
    /// The verifier itself (RFC 7636 §4.2), for servers that know no S256. It protects
    /// the code only from somebody who does not see the authorization request.
    #[serde(rename = "plain")]
    Plain,
    /// The provider does not know PKCE.
    #[serde(rename = "none")]
    None,
}

impl Pkce {
    /// `code_challenge_method` (RFC 7636 §4.3); `None`: no challenge is sent.
    #[must_use]
    pub fn method(self) -> Option<&'static str> {
        match self {
            Pkce::S256 => Some("S256"),
            Pkce::Plain => Some("plain"),
            Pkce::None => None,
        }
    }

    /// The challenge of a verifier (RFC 7636 §4.2).
    #[must_use]
    pub fn challenge(self, verifier: &Secret) -> Option<Secret> {
        match self {
            Pkce::S256 => Some(Secret::new(s256(verifier))),
            Pkce::Plain => Some(verifier.clone()),
            Pkce::None => None,
        }
    }
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
    /// What PKCE proves later (RFC 7636 §4.1); its challenge is sent, where the
    /// provider takes one.
    pub verifier: Option<&'a Secret>,
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
    let pkce = authorize.pkce;
    let challenge = asked.verifier.and_then(|verifier| pkce.challenge(verifier));
    if let Some((challenge, method)) = challenge.zip(pkce.method()) {
        params.push(("code_challenge", challenge.expose().to_owned()));
        params.push(("code_challenge_method", method.to_owned()));
    }
    if let Some(nonce) = asked.nonce {
        params.push(("nonce", nonce.to_owned()));
    }
    let vars = checked_vars(description, vars)?;
    for (name, value) in &authorize.params {
        let value = template::fill(value, |variable| match variable {
            "client_id" => Some(registration.client_id.to_owned()),
            "redirect_uri" => registration.redirect_uri.map(str::to_owned),
            "scope" => Some(scope.clone()),
            _ => vars.get(variable).map(|value| (*value).to_owned()),
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
    append(&mut url, params);
    Ok(url)
}

/// Appends to the query, and where the URL has a fragment, to the query within that: what
/// follows `#` is a page's own address then (`https://a.example/#/authorize`), and it looks
/// for its parameters there.
fn append(url: &mut Url, params: Vec<(&str, String)>) {
    match url.fragment().map(str::to_owned) {
        None => append_query(url, params),
        Some(fragment) => {
            let (page, query) = fragment.split_once('?').unwrap_or((&fragment, ""));
            let query = joined(query, params);
            url.set_fragment(Some(&format!("{page}?{query}")));
        }
    }
}

/// Appends to the query; what the URL already has stays (RFC 6749 §3.1).
pub(super) fn append_query<N: AsRef<str>, V: AsRef<str>>(
    url: &mut Url,
    params: impl IntoIterator<Item = (N, V)>,
) {
    let query = joined(url.query().unwrap_or_default(), params);
    url.set_query(Some(&query));
}

/// A query and further parameters. Spaces are `%20`: readers that go by RFC 3986 take `+`
/// for a plus, and everybody reads `%20`.
fn joined<N: AsRef<str>, V: AsRef<str>>(
    query: &str,
    params: impl IntoIterator<Item = (N, V)>,
) -> String {
    let mut added = form_urlencoded::Serializer::new(String::new());
    for (name, value) in params {
        added.append_pair(name.as_ref(), value.as_ref());
    }
    // The serializer writes a plus as %2B.
    let added = added.finish().replace('+', "%20");
    match query {
        "" => added,
        query => format!("{query}&{added}"),
    }
}

fn s256(verifier: &Secret) -> String {
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
            Pkce::S256.challenge(&verifier).unwrap().expose(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    fn url_of(authorize: &str, scopes: &[&str]) -> String {
        let text = format!(
            r#"{{"name":"x","authorize":{authorize},"token":{{"url":"https://a.example/token"}},
                "vars":{{"tenant":{{"default":"eu"}}}}}}"#
        );
        let description: Description = serde_json::from_str(&text).unwrap();
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let registration = Registration {
            client_id: "id&1",
            client_secret: None,
            redirect_uri: Some("http://127.0.0.1:7777/callback"),
            scopes: &scopes,
            unencoded: false,
        };
        let asked = Asked {
            state: "st",
            verifier: Some(&Secret::new("verifier")),
            nonce: None,
        };
        authorize_url(&description, &registration, &BTreeMap::new(), asked)
            .unwrap()
            .into()
    }

    #[test]
    fn a_url_carries_what_is_asked_and_no_parameter_twice() {
        let url = url_of(
            r#"{"url":"https://a.example/auth?tenant=7","params":{"access_type":"offline","scope":"fixed {scope}"}}"#,
            &["read"],
        );
        assert_eq!(
            url,
            "https://a.example/auth?tenant=7&response_type=code&client_id=id%261&redirect_uri=http%3A%2F%2F127.0.0.1%3A7777%2Fcallback\
             &scope=fixed%20read&state=st&code_challenge=iMnq5o6zALKXGivsnlom_0F5_WYda32GHkxlV7mq7hQ&code_challenge_method=S256&access_type=offline"
        );
    }

    #[test]
    fn spaces_are_percent_encoded_everywhere_and_a_plus_stays_one() {
        let of = |url: &str, params: &str| {
            let authorize = format!(r#"{{"url":"{url}","params":{params}}}"#);
            url_of(&authorize, &["a b", "c+d", "e f"])
        };
        let url = of("https://a.example/auth", r#"{"prompt":"login consent"}"#);
        assert!(url.contains("&scope=a%20b%20c%2Bd%20e%20f&"), "{url}");
        assert!(url.ends_with("&prompt=login%20consent"), "{url}");
        // What the description says stays, to the octet.
        let url = of("https://a.example/auth?q=x+y%20z", "{}");
        assert!(
            url.starts_with("https://a.example/auth?q=x+y%20z&response_type="),
            "{url}"
        );
        let url = of("https://a.example/auth?", "{}");
        assert!(
            url.starts_with("https://a.example/auth?response_type="),
            "{url}"
        );
    }

    #[test]
    fn a_provider_without_s256_gets_the_verifier_and_one_without_pkce_nothing() {
        let of = |pkce: &str| {
            url_of(
                &format!(r#"{{"url":"https://a.example/auth","pkce":"{pkce}"}}"#),
                &[],
            )
        };
        let plain = of("plain");
        assert!(
            plain.ends_with("&code_challenge=verifier&code_challenge_method=plain"),
            "{plain}"
        );
        assert!(!of("none").contains("challenge"));
    }

    #[test]
    fn a_page_with_an_address_behind_the_hash_finds_its_parameters_there() {
        let of = |url: &str| {
            let params = r#"{"tenant":"{tenant}"}"#;
            url_of(
                &format!(r#"{{"url":"{url}","pkce":"none","params":{params}}}"#),
                &[],
            )
        };
        let query = "response_type=code&client_id=id%261&redirect_uri=http%3A%2F%2F127.0.0.1%3A7777%2Fcallback&state=st&tenant=eu";
        let base = "https://a.example/";
        assert_eq!(
            of(&format!("{base}#/auth")),
            format!("{base}#/auth?{query}")
        );
        assert_eq!(
            of(&format!("{base}#/auth?")),
            format!("{base}#/auth?{query}")
        );
        let both = format!("{base}?a=1#/auth?b=2");
        assert_eq!(of(&both), format!("{both}&{query}"));
        assert_eq!(of(&format!("{base}auth")), format!("{base}auth?{query}"));
    }
}
