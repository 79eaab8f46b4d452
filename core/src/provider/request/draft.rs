//! What all grant types have in common: variables, parameters in order, client
//! authentication, headers.

use super::encode;
use super::{Registration, RequestError, TokenRequest};
use crate::provider::Description;
use crate::provider::description::{Auth, Body, Device, check_endpoint};
use crate::provider::template;
use crate::secret::Secret;
use crate::text::printable;
use std::collections::BTreeMap;
use url::Url;

/// A request in the making.
pub(super) struct Draft<'a> {
    description: &'a Description,
    registration: &'a Registration<'a>,
    vars: &'a BTreeMap<String, String>,
    code: Option<&'a Secret>,
    url: Url,
    body: Body,
    auth: Auth,
    params: Vec<(String, Secret)>,
    headers: Vec<(String, Secret)>,
    /// The description's tables, with their keys; a later one wins.
    more_params: Vec<(&'static str, &'a BTreeMap<String, String>)>,
    more_headers: Vec<(&'static str, &'a BTreeMap<String, String>)>,
}

impl<'a> Draft<'a> {
    /// By `[token]`.
    pub(super) fn token(
        description: &'a Description,
        registration: &'a Registration<'a>,
        vars: &'a BTreeMap<String, String>,
    ) -> Result<Self, RequestError> {
        Draft::to(&description.token.url, description, registration, vars)
    }

    /// To another endpoint, otherwise by `[token]`.
    pub(super) fn to(
        url: &str,
        description: &'a Description,
        registration: &'a Registration<'a>,
        vars: &'a BTreeMap<String, String>,
    ) -> Result<Self, RequestError> {
        let token = &description.token;
        Ok(Draft {
            description,
            registration,
            vars,
            code: None,
            url: endpoint(description, url, vars)?,
            body: token.body,
            auth: token.client.auth,
            params: Vec::new(),
            headers: Vec::new(),
            more_params: vec![("token.params", &token.params)],
            more_headers: vec![("token.headers", &token.headers)],
        })
    }

    /// By `[device]`, otherwise by `[token]`.
    pub(super) fn device(
        device: &'a Device,
        description: &'a Description,
        registration: &'a Registration<'a>,
        vars: &'a BTreeMap<String, String>,
    ) -> Result<Self, RequestError> {
        let mut draft = Draft::to(&device.url, description, registration, vars)?;
        draft.more_params.push(("device.params", &device.params));
        Ok(draft)
    }

    /// By `[token]`, overlaid with `[refresh]`.
    pub(super) fn refresh(
        description: &'a Description,
        registration: &'a Registration<'a>,
        vars: &'a BTreeMap<String, String>,
        code: Option<&'a Secret>,
    ) -> Result<Self, RequestError> {
        let refresh = &description.refresh;
        let mut draft = Draft::to(description.refresh_url(), description, registration, vars)?;
        draft.code = code;
        draft.body = refresh.body.unwrap_or(draft.body);
        draft.auth = refresh.client.as_ref().map_or(draft.auth, |c| c.auth);
        draft.more_params.push(("refresh.params", &refresh.params));
        draft
            .more_headers
            .push(("refresh.headers", &refresh.headers));
        Ok(draft)
    }

    /// To a revocation endpoint: the client and headers of `[token]`, a form, and
    /// none of its parameters.
    pub(super) fn revocation(
        url: &str,
        description: &'a Description,
        registration: &'a Registration<'a>,
        vars: &'a BTreeMap<String, String>,
    ) -> Result<Self, RequestError> {
        let mut draft = Draft::to(url, description, registration, vars)?;
        draft.body = Body::Form;
        draft.more_params.clear();
        Ok(draft)
    }

    /// What `{code}` stands for.
    pub(super) fn with_code(mut self, code: &'a Secret) -> Self {
        self.code = Some(code);
        self
    }

    /// The client's scopes (RFC 6749 §3.3), where it has any.
    pub(super) fn scope_if_any(&mut self) {
        if !self.registration.scopes.is_empty() {
            let scope = Secret::new(self.scope());
            self.param("scope", scope);
        }
    }

    /// Sets a parameter. None is ever sent twice (RFC 6749 §3.2).
    pub(super) fn param(&mut self, name: &str, value: Secret) {
        set(&mut self.params, name, value);
    }

    /// Adds what the description and the client say, and encodes it all.
    pub(super) fn finish(mut self) -> Result<TokenRequest, RequestError> {
        self.headers_of_encoding();
        self.fill_params()?;
        let in_query = self.authenticate();
        self.fill_headers()?;
        let body = match self.body {
            Body::Form => encode::form(&self.params),
            Body::Json => encode::json(&self.params),
            Body::Query => {
                encode::append_query(&mut self.url, &self.params);
                Secret::new("")
            }
        };
        encode::append_query(&mut self.url, &in_query);
        Ok(TokenRequest {
            url: self.url,
            headers: self.headers,
            body,
        })
    }

    fn headers_of_encoding(&mut self) {
        let content_type = match self.body {
            Body::Form => Some("application/x-www-form-urlencoded"),
            Body::Json => Some("application/json"),
            Body::Query => None,
        };
        if let Some(content_type) = content_type {
            set(&mut self.headers, "content-type", Secret::new(content_type));
        }
        set(&mut self.headers, "accept", Secret::new("application/json"));
    }

    fn fill_params(&mut self) -> Result<(), RequestError> {
        for (table, params) in std::mem::take(&mut self.more_params) {
            for (name, template) in params {
                let value = self.fill(table, name, template)?;
                // An optional value that the grant lacks (`{scope}`) is left out: RFC 6749
                // §3.2 makes no difference, but servers that refuse `scope=` exist.
                if !value.is_empty() || template.is_empty() {
                    self.param(name, value);
                }
            }
        }
        Ok(())
    }

    fn fill_headers(&mut self) -> Result<(), RequestError> {
        for (table, headers) in std::mem::take(&mut self.more_headers) {
            for (name, template) in headers {
                let value = self.fill(table, name, template)?;
                encode::check_header(name, value.expose())?;
                set(&mut self.headers, &name.to_ascii_lowercase(), value);
            }
        }
        Ok(())
    }

    /// Adds the client's credentials; returns those that go into the query
    /// whatever the body is.
    fn authenticate(&mut self) -> Vec<(String, Secret)> {
        let id = self.registration.client_id;
        match (self.auth, self.registration.client_secret) {
            (Auth::Basic, Some(secret)) if !self.registration.unencoded => {
                set(
                    &mut self.headers,
                    "authorization",
                    encode::basic(id, secret),
                );
            }
            (Auth::Basic | Auth::BasicRaw, Some(secret)) => {
                set(
                    &mut self.headers,
                    "authorization",
                    encode::basic_raw(id, secret),
                );
            }
            (Auth::Query, secret) => {
                let id = ("client_id".to_owned(), Secret::new(id));
                let secret = secret.map(|s| ("client_secret".to_owned(), s.clone()));
                return std::iter::once(id).chain(secret).collect();
            }
            (Auth::Body, Some(secret)) => {
                self.param("client_id", Secret::new(id));
                self.param("client_secret", secret.clone());
            }
            (Auth::None, _) | (_, None) => self.param("client_id", Secret::new(id)),
        }
        Vec::new()
    }

    fn fill(&self, table: &str, name: &str, template: &str) -> Result<Secret, RequestError> {
        let vars = checked_vars(self.description, self.vars)?;
        let value = |name: &str| match name {
            "code" => self.code.map(|code| code.expose().to_owned()),
            "redirect_uri" => self.registration.redirect_uri.map(str::to_owned),
            "client_id" => Some(self.registration.client_id.to_owned()),
            "scope" => Some(self.scope()),
            _ => vars.get(name).map(|value| (*value).to_owned()),
        };
        template::fill(template, value)
            .map(Secret::new)
            .map_err(|unfilled| RequestError::Unfilled {
                key: format!("{table}.{}", printable(name)),
                name: unfilled.0,
            })
    }

    fn scope(&self) -> String {
        joined_scopes(self.description, self.registration)
    }
}

/// The client's scopes, as the provider has them written.
pub(crate) fn joined_scopes(description: &Description, registration: &Registration<'_>) -> String {
    let authorize = description.authorize.as_ref();
    let separator = authorize.map_or(" ", |a| a.scope_separator.as_str());
    registration.scopes.join(separator)
}

/// A token URL of the description with the grant's variables in it.
pub(super) fn endpoint(
    description: &Description,
    template: &str,
    vars: &BTreeMap<String, String>,
) -> Result<Url, RequestError> {
    filled_url("the token URL", description, template, vars)
}

/// A URL of the description with the grant's variables in it.
pub(crate) fn filled_url(
    key: &str,
    description: &Description,
    template: &str,
    vars: &BTreeMap<String, String>,
) -> Result<Url, RequestError> {
    let vars = checked_vars(description, vars)?;
    let filled = template::fill(template, |name| vars.get(name).map(|v| (*v).to_owned()));
    let filled = filled.map_err(|unfilled| RequestError::Unfilled {
        key: key.to_owned(),
        name: unfilled.0,
    })?;
    let url = Url::parse(&filled).map_err(|e| RequestError::Endpoint(e.to_string()))?;
    check_endpoint(&url).map_err(RequestError::Endpoint)?;
    Ok(url)
}

/// The declared variables that have a value, each checked once more: a grant's
/// values may have been stored under an older description.
pub(crate) fn checked_vars<'v>(
    description: &'v Description,
    given: &'v BTreeMap<String, String>,
) -> Result<BTreeMap<&'v str, &'v str>, RequestError> {
    let mut vars = BTreeMap::new();
    for (name, var) in &description.vars {
        let Some(value) = given.get(name).or(var.default.as_ref()) else {
            continue;
        };
        var.format
            .check(value)
            .map_err(|why| RequestError::Variable {
                name: name.clone(),
                why,
            })?;
        vars.insert(name.as_str(), value.as_str());
    }
    Ok(vars)
}

fn set(pairs: &mut Vec<(String, Secret)>, name: &str, value: Secret) {
    match pairs.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => pairs.push((name.to_owned(), value)),
    }
}
