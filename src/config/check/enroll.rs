//! `[enroll]`, and `[clients.NAME.push]` beside it.

use super::super::raw::{RawClient, RawEnroll, RawPush};
use super::super::{Client, Enroll, Push};
use super::Check;
use refreshd_core::name;
use refreshd_core::provider::description::{Description, check_endpoint};
use refreshd_core::provider::template;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Long enough for somebody else to approve.
const LINK_VALID: Duration = Duration::from_secs(86_400);
const LONGEST_VALID: Duration = Duration::from_secs(30 * 86_400);
/// Named after its business.
const GRANT: &str = "{business_id}";

impl Check<'_> {
    pub(super) fn enroll(&mut self, raw: &RawEnroll) -> Enroll {
        let listen = raw.listen.as_deref().and_then(|text| self.listen(text));
        let public_url = raw.public_url.as_deref();
        let public_url = public_url.and_then(|text| self.public_url(text));
        let at = ["enroll", "listen"];
        match listen {
            None if raw.public_url.is_some() && raw.listen.is_none() => {
                let message = "enroll.listen is missing: nobody would answer at public_url";
                self.missing(&at, message, "write listen = \"127.0.0.1:8790\"".to_owned());
            }
            Some(listen) if !listen.ip().is_loopback() && raw.public_url.is_none() => {
                let message = format!(
                    "{listen} is open to other machines, and there is no public_url: codes and pages would travel in the clear"
                );
                let remedy = "listen on 127.0.0.1 behind a proxy that speaks https, and name its address as public_url";
                self.odd(&at, message, Some(remedy.to_owned()));
            }
            _ => {}
        }
        let link_valid = raw.link_valid.unwrap_or(LINK_VALID);
        if !(Duration::from_secs(1)..=LONGEST_VALID).contains(&link_valid) {
            let message = "enroll.link_valid is not from 1s to 30d";
            self.wrong(&["enroll", "link_valid"], message, None);
        }
        Enroll {
            listen,
            public_url,
            link_valid,
        }
    }

    fn listen(&mut self, text: &str) -> Option<SocketAddr> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let message = format!("enroll.listen: {text:?} is not an address with a port");
            let remedy = "write an IP address, as in \"127.0.0.1:8790\" or \"[::1]:8790\"";
            self.wrong(&["enroll", "listen"], message, Some(remedy.to_owned()));
        }
        parsed
    }

    fn public_url(&mut self, text: &str) -> Option<Url> {
        let problem = match Url::parse(text) {
            Err(error) => format!("it is not a URL: {error}"),
            Ok(url) => match check_public(&url) {
                Ok(()) => return Some(url),
                Err(problem) => problem,
            },
        };
        let message = format!("enroll.public_url: {problem}");
        let remedy = "write the address at which your https proxy passes requests on, as in \"https://auth.example.com/refreshd\"";
        self.wrong(&["enroll", "public_url"], message, Some(remedy.to_owned()));
        None
    }

    pub(super) fn push(
        &mut self,
        client: &str,
        raw: Option<&RawPush>,
        description: Option<&Description>,
    ) -> Push {
        let none = RawPush::default();
        let at = ["clients", client, "push"];
        let push = raw.unwrap_or(&none);
        let path = push.path.as_deref().unwrap_or(client);
        if push.path.is_some() && !name::is_valid(path) {
            let message = format!("{path:?} is not one part of a path");
            let remedy = format!("here, {}", name::RULE);
            self.wrong(&["clients", client, "push", "path"], message, Some(remedy));
        }
        let pushes = description.is_some_and(Description::pushes_codes);
        if let (Some(description), false, true) = (description, pushes, raw.is_some()) {
            let message = format!("provider {:?} does not push codes", description.name);
            self.odd(&at, message, Some("take this table out".to_owned()));
        }
        let grant = push.grant.as_deref().unwrap_or(GRANT);
        if let Some(description) = description.filter(|_| push.grant.is_some()) {
            self.push_grant(client, grant, description);
        }
        Push {
            path: path.to_owned(),
            quarantine: push.quarantine.unwrap_or_default(),
            grant: grant.to_owned(),
        }
    }

    fn push_grant(&mut self, client: &str, grant: &str, description: &Description) {
        let at = ["clients", client, "push", "grant"];
        let known = |var: &str| var == "business_id" || description.vars.contains_key(var);
        let sample = template::fill(grant, |var| known(var).then(|| "x".to_owned()));
        let problem = match sample {
            Err(unfilled) => format!("{unfilled}: it is no variable of the provider's"),
            Ok(_) if !grant.contains(GRANT) => {
                format!("{grant:?} does not contain {GRANT}: all businesses would be one grant")
            }
            Ok(sample) if !name::is_valid(&sample) => {
                format!("{sample:?} would not be a grant's name; {}", name::RULE)
            }
            Ok(_) => return,
        };
        let remedy = "write grant = \"{business_id}\", or \"shop-{business_id}\"";
        self.wrong(&at, problem, Some(remedy.to_owned()));
    }

    /// One path, one client.
    pub(super) fn push_paths(
        &mut self,
        raw: &BTreeMap<String, RawClient>,
        clients: &BTreeMap<String, Arc<Client>>,
    ) {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, client) in clients {
            let Some(other) = taken.insert(&client.push.path, name) else {
                continue;
            };
            let has_its_own =
                |name: &str| raw[name].push.as_ref().is_some_and(|p| p.path.is_some());
            let (named, other) = match has_its_own(name) {
                true => (name.as_str(), other),
                false => (other, name.as_str()),
            };
            let message = format!(
                "push path {:?} of client {named:?} is client {other:?}'s already",
                client.push.path
            );
            self.wrong(&["clients", named, "push", "path"], message, None);
        }
    }
}

/// Where browsers and providers may be sent: https, but on this machine itself.
fn check_public(url: &Url) -> Result<(), String> {
    check_endpoint(url)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it may have neither a query nor a fragment".to_owned());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let path = url.path().trim_end_matches('/');
    let mut parts = path.split('/').skip(1);
    match parts.all(|part| !part.is_empty() && part.bytes().all(plain)) {
        true => Ok(()),
        false => Err(format!(
            "the path {path:?} has something else than letters, digits, '-', '.', '_', '~' and single slashes in it"
        )),
    }
}
