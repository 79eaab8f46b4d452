//! `[grants.NAME]`: its client, and the variables that its provider asks for.

use super::super::problem::suggestion;
use super::super::raw::{Raw, RawGrant};
use super::super::{Client, GrantConfig};
use super::Check;
use refreshd_core::name;
use refreshd_core::provider::description::{Description, check_endpoint};
use refreshd_core::provider::template;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

impl Check<'_> {
    pub(super) fn grant(
        &mut self,
        name: &str,
        raw: &RawGrant,
        all: &Raw,
        clients: &BTreeMap<String, Arc<Client>>,
    ) -> GrantConfig {
        if !name::is_valid(name) {
            let message = format!("{name:?} is not a grant's name");
            self.wrong_key(&["grants", name], message, Some(name::RULE.to_owned()));
        }
        let client = self.client_of(name, raw, all);
        if let Some(client) = client.and_then(|client| clients.get(client)) {
            self.vars(name, raw, client);
        }
        if let Some(uri) = &raw.redirect_uri {
            self.redirect_uri(&["grants", name, "redirect_uri"], uri);
        }
        GrantConfig {
            name: name.to_owned(),
            client: raw.client.clone().unwrap_or_default(),
            vars: raw.vars.clone(),
            redirect_uri: raw.redirect_uri.clone(),
            outputs: self.outputs(&["grants", name], &raw.outputs, Some(name)),
            schedule: raw.schedule.clone(),
        }
    }

    fn client_of<'r>(&mut self, name: &str, raw: &'r RawGrant, all: &Raw) -> Option<&'r str> {
        let at = ["grants", name, "client"];
        let Some(client) = &raw.client else {
            let remedy = format!("write client = \"…\" under [grants.{name}]");
            self.missing(&at, format!("grant {name:?} has no client"), remedy);
            return None;
        };
        let known = all.clients.keys().map(String::as_str);
        // One that was taken out for its form is known all the same.
        let known_one = all.clients.contains_key(client) || self.was_reported(&["clients", client]);
        if !known_one && self.complete {
            let remedy = suggestion(client, known, "clients")
                .or_else(|| Some(format!("describe it under [clients.{client}]")));
            self.wrong(&at, format!("unknown client {client:?}"), remedy);
        }
        known_one.then_some(client)
    }

    fn vars(&mut self, name: &str, raw: &RawGrant, client: &Client) {
        let description = &client.description;
        let declared = &description.vars;
        let mut good = true;
        for (var, value) in &raw.vars {
            let at = ["grants", name, "vars", var];
            let Some(declaration) = declared.get(var) else {
                let message = format!(
                    "unknown variable {var:?} of provider {:?}",
                    description.name
                );
                let known = declared.keys().map(String::as_str);
                let none = || Some("it has no variables: take this one out".to_owned());
                let remedy = suggestion(var, known, "variables").or_else(none);
                self.wrong_key(&at, message, remedy);
                continue;
            };
            if let Err(why) = declaration.format.check(value) {
                self.wrong(&at, format!("grants.{name}.vars.{var}: {why}"), None);
                good = false;
            }
        }
        for (var, declaration) in declared {
            if !raw.vars.contains_key(var) && declaration.default.is_none() {
                let message = format!(
                    "grant {name:?} lacks the variable {var:?} of provider {:?}",
                    description.name
                );
                let remedy = format!("write vars = {{ {var} = \"…\" }} under [grants.{name}]");
                self.missing(&["grants", name, "vars", var], message, remedy);
                good = false;
            }
        }
        if good {
            self.endpoints(
                name,
                &super::super::filled_vars(description, &raw.vars),
                description,
            );
        }
    }

    /// URLs with this grant's variables filled in must still be fit for secrets.
    fn endpoints(
        &mut self,
        name: &str,
        vars: &BTreeMap<String, String>,
        description: &Description,
    ) {
        let urls = [
            ("token.url", Some(description.token.url.as_str())),
            ("refresh.url", description.refresh.url.as_deref()),
            (
                "verify.url",
                description
                    .verify
                    .as_ref()
                    .map(|verify| verify.url.as_str()),
            ),
        ];
        for (key, url) in urls {
            let Some(filled) =
                url.and_then(|url| template::fill(url, |var| vars.get(var).cloned()).ok())
            else {
                continue;
            };
            let checked = Url::parse(&filled).map_err(|error| format!("it is not a URL: {error}"));
            if let Err(why) = checked.and_then(|url| check_endpoint(&url)) {
                let message =
                    format!("{key} with the variables of grant {name:?} is {filled}: {why}");
                self.wrong(&["grants", name, "vars"], message, None);
            }
        }
    }
}
