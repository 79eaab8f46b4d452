//! Token requests, built from a [`Description`]: what goes to the token
//! endpoint, byte for byte (RFC 6749 §2.3.1, §4.1.3, §6). Always a POST.
//!
//! Each grant type is one small public function that names its own parameters;
//! a private draft does what they have in common.

mod draft;
mod encode;

use super::TokenSet;
use crate::provider::Description;
use crate::provider::description::With;
use crate::secret::Secret;
use draft::Draft;
pub(crate) use draft::{checked_vars, filled_url, joined_scopes};
pub(crate) use encode::check_header;
use std::collections::BTreeMap;
use std::fmt;
use url::Url;

/// A request that is ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// Where to; passed [`check_endpoint`](super::description::check_endpoint).
    pub url: Url,
    /// Headers, names in lower case; values without control characters.
    pub headers: Vec<(String, Secret)>,
    /// The body; empty where the parameters are in the query.
    pub body: Secret,
}

impl TokenRequest {
    /// What a refresh token that goes out with this request must be bound to:
    /// `scheme://host:port`, the port always written out.
    #[must_use]
    pub fn origin(&self) -> String {
        origin(&self.url)
    }
}

fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}://{host}:{port}", url.scheme())
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        url.set_query(None);
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("TokenRequest")
            .field("url", &url.as_str())
            .field("headers", &names)
            .field("body", &self.body)
            .finish()
    }
}

/// Our registration at the provider: the part of a client that a request needs.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// `client_id`.
    pub client_id: &'a str,
    /// `client_secret`; without one the client is public (RFC 6749 §2.1) and
    /// its id goes among the parameters, whatever the description says.
    pub client_secret: Option<&'a Secret>,
    /// The redirect URI that the grant was begun with.
    pub redirect_uri: Option<&'a str>,
    /// Scopes, for `{scope}`.
    pub scopes: &'a [String],
    /// Form-encoded credentials were not accepted: HTTP Basic goes as RFC 7617 §2 has it.
    pub unencoded: bool,
}

/// Why a request could not be built. Nothing has been sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The grant has no refresh token, or the provider takes none.
    #[error("there is no refresh token to present; authorize the grant again")]
    NothingToPresent,
    /// The description has no such endpoint.
    #[error("the provider's description has no [{0}] url")]
    NoSuchEndpoint(&'static str),
    /// A variable's value does not fit its format.
    #[error("variable {name}: {why}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with the value.
        why: String,
    },
    /// A `{name}` for which there is nothing.
    #[error("{key} needs {{{name}}}, for which the grant has no value")]
    Unfilled {
        /// The description's key.
        key: String,
        /// What stands between the braces.
        name: String,
    },
    /// The endpoint is not one that secrets may be sent to.
    #[error("the token URL cannot be used: {0}")]
    Endpoint(String),
    /// A header that would break the request.
    #[error("header {name}: {why}")]
    Header {
        /// Its name, printable.
        name: String,
        /// What is wrong with it; never its value.
        why: &'static str,
    },
}

/// The request that presents the refresh token (RFC 6749 §6).
///
/// # Errors
/// When there is none, or the description cannot be filled for this grant.
pub fn refresh(
    description: &Description,
    registration: &Registration<'_>,
    vars: &BTreeMap<String, String>,
    tokens: &TokenSet,
) -> Result<TokenRequest, RequestError> {
    let presented = match (description.refresh.with, &tokens.refresh_token) {
        (With::RefreshToken, Some(token)) if !token.is_empty() => token.clone(),
        _ => return Err(RequestError::NothingToPresent),
    };
    let mut draft = Draft::refresh(description, registration, vars, tokens.code.as_ref())?;
    draft.param("grant_type", Secret::new("refresh_token"));
    draft.param("refresh_token", presented);
    draft.finish()
}

/// The request that presents nothing but the client (RFC 6749 §4.4.2), by `[token]` alone.
///
/// # Errors
/// When the description cannot be filled for this grant.
pub fn client_credentials(
    description: &Description,
    registration: &Registration<'_>,
    vars: &BTreeMap<String, String>,
) -> Result<TokenRequest, RequestError> {
    let mut draft = Draft::token(description, registration, vars)?;
    draft.param("grant_type", Secret::new("client_credentials"));
    draft.scope_if_any();
    draft.finish()
}

/// The request that presents an authorization code (RFC 6749 §4.1.3), with the
/// verifier of its challenge where there was one (RFC 7636 §4.5).
///
/// # Errors
/// When the description cannot be filled for this grant.
pub fn authorization_code(
    description: &Description,
    registration: &Registration<'_>,
    vars: &BTreeMap<String, String>,
    code: &Secret,
    verifier: Option<&Secret>,
) -> Result<TokenRequest, RequestError> {
    let mut draft = Draft::token(description, registration, vars)?.with_code(code);
    draft.param("grant_type", Secret::new("authorization_code"));
    draft.param("code", code.clone());
    if let Some(redirect_uri) = registration.redirect_uri {
        draft.param("redirect_uri", Secret::new(redirect_uri));
    }
    if let Some(verifier) = verifier {
        draft.param("code_verifier", verifier.clone());
    }
    draft.finish()
}

/// The request that begins a device's authorization (RFC 8628 §3.1).
///
/// # Errors
/// When the description has no such endpoint, or it cannot be filled.
pub fn device_authorization(
    description: &Description,
    registration: &Registration<'_>,
    vars: &BTreeMap<String, String>,
) -> Result<TokenRequest, RequestError> {
    let device = description.device.as_ref();
    let device = device.ok_or(RequestError::NoSuchEndpoint("device"))?;
    let mut draft = Draft::device(device, description, registration, vars)?;
    // RFC 8628 §3.1: the client names itself among the parameters, however it proves it.
    draft.param("client_id", Secret::new(registration.client_id));
    draft.scope_if_any();
    draft.finish()
}

/// The request that asks for a device's token set (RFC 8628 §3.4).
///
/// # Errors
/// When the description cannot be filled for this grant.
pub fn device_code(
    description: &Description,
    registration: &Registration<'_>,
    vars: &BTreeMap<String, String>,
    device_code: &Secret,
) -> Result<TokenRequest, RequestError> {
    const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
    let mut draft = Draft::token(description, registration, vars)?;
    draft.param("grant_type", Secret::new(GRANT_TYPE));
    draft.param("device_code", device_code.clone());
    draft.param("client_id", Secret::new(registration.client_id));
    draft.finish()
}

/// The request, a GET, that asks whose an access token is.
///
/// # Errors
/// When the description has no such endpoint, or it cannot be filled.
pub fn account(
    description: &Description,
    vars: &BTreeMap<String, String>,
    access_token: &Secret,
) -> Result<TokenRequest, RequestError> {
    let account = description.account.as_ref();
    let account = account.ok_or(RequestError::NoSuchEndpoint("account"))?;
    let bearer = Secret::new(format!("Bearer {}", access_token.expose()));
    Ok(TokenRequest {
        url: filled_url("account.url", description, &account.url, vars)?,
        headers: vec![
            ("authorization".to_owned(), bearer),
            ("accept".to_owned(), Secret::new("application/json")),
        ],
        body: Secret::new(""),
    })
}

/// The request that revokes a token (RFC 7009 §2.1); `None`: the provider has no
/// place for it. Always a form, whatever token requests are.
///
/// # Errors
/// When the description cannot be filled for this grant.
pub fn revocation(
    description: &Description,
    registration: &Registration<'_>,
    vars: &BTreeMap<String, String>,
    tokens: &TokenSet,
) -> Result<Option<TokenRequest>, RequestError> {
    let Some(revoke) = &description.revoke else {
        return Ok(None);
    };
    let present = |token: &&Secret| !token.is_empty();
    let refresh_token = tokens.refresh_token.as_ref().filter(present);
    let (token, hint) = match (refresh_token, Some(&tokens.access_token).filter(present)) {
        (Some(token), _) => (token, "refresh_token"),
        (None, Some(token)) => (token, "access_token"),
        (None, None) => return Err(RequestError::NothingToPresent),
    };
    let mut draft = Draft::revocation(&revoke.url, description, registration, vars)?;
    draft.param("token", token.clone());
    draft.param("token_type_hint", Secret::new(hint));
    draft.finish().map(Some)
}

/// The URL that tells whether an access token works, where the provider has one.
///
/// # Errors
/// When it cannot be filled for this grant.
pub fn verify_url(
    description: &Description,
    vars: &BTreeMap<String, String>,
) -> Result<Option<Url>, RequestError> {
    let verify = description.verify.as_ref();
    verify
        .map(|verify| draft::endpoint(description, &verify.url, vars))
        .transpose()
}

/// The origin of the URL that refresh tokens go to: what a refresh token is bound to.
///
/// # Errors
/// When the URL cannot be filled for this grant or is not acceptable.
pub fn token_origin(
    description: &Description,
    vars: &BTreeMap<String, String>,
) -> Result<String, RequestError> {
    let url = draft::endpoint(description, description.refresh_url(), vars)?;
    Ok(origin(&url))
}

#[cfg(test)]
mod tests;
