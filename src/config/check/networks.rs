//! How a client reaches its provider: proxy, certificate authorities, networks.

use super::super::Proxy;
use super::super::raw::{RawProxy, RawProxyTable};
use super::super::secret_source::SecretError;
use super::Check;
use crate::authorities;
use crate::net::{self, Network, NetworkError};
use refreshd_core::provider::description::Description;
use refreshd_core::secret::Secret;
use std::path::Path;
use std::time::UNIX_EPOCH;
use url::Url;

/// RFC 1929 has one byte for the length of each.
const LONGEST_LOGIN: usize = 255;

impl Check<'_> {
    pub(super) fn proxy(&mut self, name: &str, raw: &RawProxy) -> Option<Proxy> {
        let at = ["clients", name, "proxy"];
        match raw {
            RawProxy::Url(url) => {
                let url = self.proxy_url(&at, url)?;
                Some(Proxy { url, login: None })
            }
            RawProxy::Table(table) => {
                let Some(url) = &table.url else {
                    let remedy = "write proxy = { url = \"http://…\", … }".to_owned();
                    self.missing(&at, "proxy has no url", remedy);
                    return None;
                };
                let url = self.proxy_url(&["clients", name, "proxy", "url"], url);
                let login = self.proxy_login(name, table);
                Some(Proxy { url: url?, login })
            }
        }
    }

    /// Its text may hold a password, so no message shows it.
    fn proxy_url(&mut self, at: &[&str], text: &str) -> Option<Url> {
        let example =
            || Some("write, for example, proxy = \"http://proxy.example.com:3128\"".to_owned());
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                self.wrong(at, format!("proxy is not a URL: {error}"), example());
                return None;
            }
        };
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") || !url.has_host() {
            let message = "proxy must be an http, https, socks5 or socks5h URL with a host";
            self.wrong(at, message, example());
        } else if !url.username().is_empty() || url.password().is_some() {
            let message = "a user name or password does not stand in the proxy's URL";
            let remedy =
                "write proxy = { url = \"…\", user = \"…\", password = { file = \"/…\" } }";
            self.wrong(at, message, Some(remedy.to_owned()));
        } else if !matches!(url.path(), "" | "/") || url.query().or(url.fragment()).is_some() {
            let message = "proxy must be scheme, host and port alone";
            self.wrong(at, message, example());
        } else {
            return Some(url);
        }
        None
    }

    fn proxy_login(&mut self, name: &str, table: &RawProxyTable) -> Option<(String, Secret)> {
        let at = ["clients", name, "proxy"];
        let at_user = ["clients", name, "proxy", "user"];
        let at_password = ["clients", name, "proxy", "password"];
        let (user, password) = match (&table.user, &table.password) {
            (None, None) => return None,
            (Some(user), Some(password)) => (user, password),
            (Some(_), None) => {
                if !self.was_reported_within(&at_password) {
                    let remedy = "write password = { file = \"/…\" } beside it".to_owned();
                    self.missing(&at, "proxy has a user and no password", remedy);
                }
                return None;
            }
            (None, Some(_)) => {
                let remedy = "write user = \"…\" beside it".to_owned();
                self.missing(&at, "proxy has a password and no user", remedy);
                return None;
            }
        };
        // RFC 7617 §2: the first colon ends the name.
        if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) {
            let message = "the proxy's user is empty, or holds a colon or a control character";
            self.wrong(&at_user, message, None);
        }
        let part_reported = self.was_reported_within(&at_password);
        let password = match self.secret(&at_password, password) {
            Ok(Some(password)) => password,
            Ok(None) => return None,
            Err(SecretError::NotOne) if part_reported => return None,
            Err(error) => {
                self.lacks(name, &at_password, error.to_string(), error.remedy());
                return None;
            }
        };
        if user.len().max(password.expose().len()) > LONGEST_LOGIN {
            let message = "the proxy's user or password is longer than 255 bytes";
            self.wrong(&at, message, None);
        }
        Some((user.clone(), password))
    }

    pub(super) fn ca_file(&mut self, name: &str, file: &Path) {
        let at = ["clients", name, "ca_file"];
        if !self.is_absolute(&at, file) {
            return;
        }
        let certificates = match authorities::read(file) {
            Ok(certificates) => certificates,
            Err(error) => {
                let remedy = error.remedy();
                self.lacks(name, &at, error.to_string(), remedy);
                return;
            }
        };
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        for (i, certificate) in certificates.iter().enumerate() {
            let end = authorities::not_after(certificate);
            let Some(end) = end.filter(|end| i128::from(end.0) < now.cast_signed()) else {
                continue;
            };
            let message = format!(
                "certificate {} in ca_file {} expired on {}",
                i + 1,
                file.display(),
                end.rfc3339()
            );
            // No error: servers are still checked by it, and the clock may be wrong.
            let remedy = "replace it with the authority's current one, and reload";
            self.odd(&at, message, Some(remedy.to_owned()));
        }
    }

    pub(super) fn allow_networks(&mut self, name: &str, texts: &[String]) -> Vec<Network> {
        let mut networks = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            let at = ["clients", name, "allow_networks", &i.to_string()];
            match text.parse::<Network>() {
                Ok(network) => {
                    if network.is_too_wide() {
                        let message = format!(
                            "{network} lets this client's token endpoint be nearly anywhere, this machine and its network included"
                        );
                        let remedy = "name the network that it is in".to_owned();
                        self.odd(&at, message, Some(remedy));
                    }
                    networks.push(network);
                }
                Err(error) => {
                    let message = format!("{text:?} is not a network: {error}");
                    self.wrong(&at, message, Some(corrected(text, &error)));
                }
            }
        }
        networks
    }

    /// A token URL with an address in it that its requests would not go to.
    pub(super) fn token_address(
        &mut self,
        name: &str,
        description: &Description,
        allowed: &[Network],
        proxy: Option<&Proxy>,
    ) {
        // Where variables stand in the host, only the request knows.
        let Some(url) = Url::parse(description.refresh_url()).ok() else {
            return;
        };
        let Some(address) = net::literal(&url).filter(|_| proxy.is_none()) else {
            return;
        };
        if let Some(kind) = net::barred(address, allowed) {
            let message = format!("the token URL's address {address} is {kind}");
            let remedy = net::remedy(name, allowed, address, kind);
            self.odd(&["clients", name, "provider"], message, Some(remedy));
        }
    }
}

fn corrected(text: &str, error: &NetworkError) -> String {
    match error {
        NetworkError::HostBits(network) => {
            let address = text.split('/').next().unwrap_or_default();
            format!("write \"{network}\", or \"{address}\" for that address alone")
        }
        NetworkError::NotAnAddress | NetworkError::BadPrefix(_) => {
            "write addresses or networks, as in [\"10.1.2.0/24\", \"fd00::/8\", \"192.168.1.7\"]"
                .to_owned()
        }
    }
}
