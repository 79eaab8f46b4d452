//! `[clients.NAME]`: the provider's description with the overrides laid over
//! it, the secret, how it is reached.

use super::super::Client;
use super::super::extract::SECRET_REMEDY;
use super::super::provider_files::{Lookup, describe};
use super::super::raw::{Raw, RawClient};
use super::super::secret_source::{SecretError, oddities};
use super::Check;
use refreshd_core::name;
use refreshd_core::provider::description::{Auth, Description, is_loopback};
use refreshd_core::secret::Secret;
use std::sync::Arc;
use url::Url;

impl Check<'_> {
    pub(super) fn client(&mut self, name: &str, raw: &RawClient, all: &Raw) -> Option<Arc<Client>> {
        let at = ["clients", name];
        if !name::is_valid(name) {
            let message = format!("{name:?} is not a client's name");
            self.wrong_key(&at, message, Some(name::RULE.to_owned()));
        }
        let description = self.description(name, raw);
        let client_id = self.client_id(name, raw);
        let client_secret = self.client_secret(name, raw, description.as_ref());
        if let Some(uri) = &raw.redirect_uri {
            self.redirect_uri(&["clients", name, "redirect_uri"], uri);
        }
        self.scopes(name, &raw.scopes);
        let outputs = self.outputs(&at, &raw.outputs, None);
        let proxy = raw.proxy.as_ref().and_then(|proxy| self.proxy(name, proxy));
        if let Some(file) = &raw.ca_file {
            self.ca_file(name, file);
        }
        let allow_networks = self.allow_networks(name, &raw.allow_networks);
        let push = self.push(name, raw.push.as_ref(), description.as_ref());
        let description = description?;
        self.token_address(name, &description, &allow_networks, proxy.as_ref());
        self.redirect_uri_is_there(name, raw, &description, all);
        Some(Arc::new(Client {
            name: name.to_owned(),
            hash: description.hash(),
            description: Arc::new(description),
            client_id: client_id?,
            client_secret,
            redirect_uri: raw.redirect_uri.clone(),
            scopes: raw.scopes.clone(),
            outputs,
            schedule: raw.schedule.clone(),
            proxy,
            ca_file: raw.ca_file.clone(),
            allow_networks,
            push,
            lacks: self.unreadable.remove(name),
        }))
    }

    fn description(&mut self, name: &str, raw: &RawClient) -> Option<Description> {
        let at = ["clients", name, "provider"];
        let Some(provider) = &raw.provider else {
            let remedy = format!("write provider = \"…\" under [clients.{name}]");
            self.missing(&at, format!("client {name:?} has no provider"), remedy);
            return None;
        };
        match self.registry.find(provider) {
            Lookup::Broken => None,
            Lookup::Unknown => {
                let message = format!("unknown provider {provider:?}");
                let plain = super::Problem::error("");
                let remedy = self.registry.with_suggestion(plain, provider).remedy;
                self.wrong(&at, message, remedy);
                None
            }
            Lookup::Good(_, description) if raw.overrides.is_none() => Some(description.clone()),
            Lookup::Good(under, _) => {
                let stack = self.stack.seen_from(&["clients", name, "override"], under);
                describe(&stack, self.problems)
            }
        }
    }

    fn client_id(&mut self, name: &str, raw: &RawClient) -> Option<String> {
        let at = ["clients", name, "client_id"];
        match &raw.client_id {
            None => {
                let remedy = format!("write client_id = \"…\" under [clients.{name}]");
                self.missing(&at, format!("client {name:?} has no client_id"), remedy);
            }
            Some(id) if id.is_empty() || id.chars().any(char::is_control) => {
                self.wrong(&at, "client_id is empty or holds a control character", None);
            }
            Some(id) => {
                for odd in oddities(id, "client_id") {
                    self.odd(&at, odd.to_string(), odd.remedy());
                }
                return Some(id.clone());
            }
        }
        None
    }

    fn client_secret(
        &mut self,
        name: &str,
        raw: &RawClient,
        description: Option<&Description>,
    ) -> Option<Secret> {
        let at = ["clients", name, "client_secret"];
        let methods = description.map(|d| {
            let refresh = d.refresh.client.as_ref().unwrap_or(&d.token.client);
            [d.token.client.auth, refresh.auth]
        });
        let needed = methods.is_some_and(|m| m.iter().any(|auth| *auth != Auth::None));
        let Some(source) = &raw.client_secret else {
            if needed {
                let message =
                    format!("client {name:?} has no client_secret, and its provider wants one");
                let remedy = format!("under [clients.{name}], client_secret: {SECRET_REMEDY}");
                self.missing(&at, message, remedy);
            }
            return None;
        };
        if methods.is_some() && !needed {
            let message =
                format!("client {name:?} has a client_secret, but auth = \"none\" sends none");
            self.odd(&at, message, Some("take one of them out".to_owned()));
        }
        let part_reported = self.was_reported_within(&at);
        match self.secret(&at, source) {
            Ok(secret) => secret,
            // What it held was wrong and has been taken out.
            Err(SecretError::NotOne) if part_reported => None,
            Err(error) => {
                self.lacks(name, &at, error.to_string(), error.remedy());
                None
            }
        }
    }

    pub(super) fn redirect_uri(&mut self, at: &[&str], uri: &str) {
        let problem = match Url::parse(uri) {
            Err(error) => format!("redirect_uri is not an absolute URI: {error}"),
            // RFC 6749 §3.1.2.
            Ok(url) if url.fragment().is_some() => "redirect_uri may have no fragment".to_owned(),
            // RFC 9700 §2.6; on the loopback it does not leave the machine (RFC 8252 §8.3).
            Ok(url) if in_the_open(&url) => {
                let message = "codes would travel to redirect_uri without encryption";
                let remedy = "register an https address, or one of this machine, at the provider";
                return self.odd(at, message, Some(remedy.to_owned()));
            }
            Ok(_) => return,
        };
        self.wrong(at, problem, None);
    }

    fn scopes(&mut self, name: &str, scopes: &[String]) {
        for (i, scope) in scopes.iter().enumerate() {
            let at = ["clients", name, "scopes", &i.to_string()];
            if scope.is_empty() || scope.chars().any(char::is_control) {
                self.wrong(&at, "a scope is empty or holds a control character", None);
            } else if scope.contains(' ') {
                let message = "a scope holds a space, which stands between scopes";
                self.odd(
                    &at,
                    message,
                    Some("make each an element of the array".to_owned()),
                );
            }
        }
    }

    /// Where requests carry `{redirect_uri}`, the client or each of its grants must have one.
    fn redirect_uri_is_there(
        &mut self,
        name: &str,
        raw: &RawClient,
        description: &Description,
        all: &Raw,
    ) {
        let (token, refresh) = (&description.token, &description.refresh);
        let tables = [
            Some(&token.params),
            Some(&token.headers),
            Some(&refresh.params),
            Some(&refresh.headers),
            description.authorize.as_ref().map(|a| &a.params),
            description.device.as_ref().map(|d| &d.params),
        ];
        let used = tables
            .into_iter()
            .flatten()
            .flat_map(|table| table.values())
            .any(|value| value.contains("{redirect_uri}"));
        if !used || raw.redirect_uri.is_some() {
            return;
        }
        let mut grants = all
            .grants
            .values()
            .filter(|g| g.client.as_deref() == Some(name))
            .peekable();
        if grants.peek().is_some() && grants.all(|grant| grant.redirect_uri.is_some()) {
            return;
        }
        let message = format!("client {name:?} has no redirect_uri, and its provider wants one");
        let remedy = format!("write redirect_uri = \"https://…\" under [clients.{name}]");
        self.missing(&["clients", name, "redirect_uri"], message, remedy);
    }
}

fn in_the_open(url: &Url) -> bool {
    url.scheme() == "http" && !url.host().is_some_and(|host| is_loopback(&host))
}
