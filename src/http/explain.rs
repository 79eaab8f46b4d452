//! What went wrong with an exchange, for a person: what happened, where, what
//! to do. Never a URL's query or a proxy's password.

use super::connect::Unconnected;
use super::resolver::{Barred, Unresolved};
use super::tls::{self, Peer};
use crate::config::{Client, Proxy};
use crate::net;
use refreshd_core::grant::replay::CONNECT_LIMIT;
use refreshd_core::text::printable;
use std::error::Error;
use url::Url;

/// Where a request goes, and for whom.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) client: &'a Client,
    pub(super) target: &'a Url,
}

impl<'a> Route<'a> {
    pub(super) fn new(client: &'a Client, target: &'a Url) -> Self {
        Route { client, target }
    }

    /// Plain http is for this machine alone, and has no business elsewhere.
    pub(super) fn proxy(&self) -> Option<&'a Proxy> {
        let proxy = self.client.proxy.as_ref();
        proxy.filter(|_| self.target.scheme() == "https")
    }

    /// Whether the address that a name leads to is chosen here; but for
    /// `socks5`, proxies choose it themselves.
    pub(super) fn is_ours_to_resolve(&self) -> bool {
        self.proxy()
            .is_none_or(|proxy| proxy.url.scheme() == "socks5")
    }

    /// Host and port.
    fn place(&self) -> String {
        let host = self.target.host_str().unwrap_or_default();
        let port = self.target.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", printable(host))
    }
}

/// See the module.
pub(super) fn explain(error: &Unconnected, route: &Route<'_>) -> String {
    if let Some(barred) = cause::<Barred>(error) {
        return tell_barred(barred, route.client);
    }
    if let Some(Unresolved { host, error }) = cause::<Unresolved>(error) {
        let host = printable(host);
        return format!(
            "{host} cannot be resolved: {error}; look at the name and at this machine's DNS (getent hosts {host})"
        );
    }
    match cause::<rustls::Error>(error) {
        Some(failed) => tls::tell(
            failed,
            Peer {
                place: &peer(error, route),
                client: &route.client.name,
                ca_file: route.client.ca_file.as_deref(),
            },
        ),
        None => tell_unconnected(error, route),
    }
}

fn tell_barred(barred: &Barred, client: &Client) -> String {
    let Barred { host, found } = barred;
    let host = printable(host);
    let shown: Vec<String> = (found.iter().take(4))
        .map(|(address, kind)| format!("{address} ({kind})"))
        .collect();
    let mut text = format!("{host} resolves to {}", shown.join(", "));
    if let Some((address, kind)) = found.first() {
        let remedy = net::remedy(&client.name, &client.allow_networks, *address, *kind);
        text.push_str(&format!(", and no token is sent there unasked; {remedy}"));
    }
    text
}

/// Whose certificate it is about: with an https proxy there are two.
fn peer(error: &Unconnected, route: &Route<'_>) -> String {
    match route.proxy() {
        Some(proxy) if says(error, "tunnel error") => format!("proxy {proxy}"),
        Some(proxy) => format!("{} (through proxy {proxy})", route.place()),
        None => route.place(),
    }
}

fn tell_unconnected(error: &Unconnected, route: &Route<'_>) -> String {
    let (place, limit) = (route.place(), CONNECT_LIMIT.as_secs());
    match route.proxy() {
        None if error.is_timeout => format!("no connection to {place} within {limit} s"),
        None => format!("could not connect to {place}: {}", innermost(error)),
        Some(proxy) if error.is_timeout => {
            format!("no connection to {place} through proxy {proxy} within {limit} s")
        }
        Some(proxy) => tell_proxy(error, proxy, &place, &route.client.name),
    }
}

/// hyper's errors of tunnels have no type that can be named here.
fn tell_proxy(error: &Unconnected, proxy: &Proxy, place: &str, client: &str) -> String {
    let wants_login = ["proxy authorization required", "credentials not accepted"];
    if wants_login.iter().any(|text| says(error, text)) {
        return match &proxy.login {
            Some((user, _)) => format!(
                "proxy {proxy} refused user {user:?} with its password; look at proxy under [clients.{client}]"
            ),
            None => format!(
                "proxy {proxy} wants a user name and password; write proxy = {{ url = \"{proxy}\", user = \"…\", password = {{ file = \"/…\" }} }} under [clients.{client}]"
            ),
        };
    }
    if says(error, "tunnel error: unsuccessful") {
        // Some answer a wrong password so, rather than with 407.
        let login = match &proxy.login {
            Some((user, _)) => format!("refuses user {user:?} with its password, "),
            None => String::new(),
        };
        return format!(
            "proxy {proxy} did not connect to {place}: it {login}does not permit that, or could not reach it; its log tells which"
        );
    }
    if says(error, "tunnel error: unexpected end of file") {
        return format!("proxy {proxy} closed the connection before it had reached {place}");
    }
    let why = innermost(error);
    if says(error, "failed to create underlying connection") {
        return format!(
            "could not connect to proxy {proxy}: {why}; look whether it runs, and at proxy under [clients.{client}]"
        );
    }
    if says(error, "tunnel error") || says(error, "SOCKS error") {
        return format!("proxy {proxy} did not connect to {place}: {why}");
    }
    format!("the connection to {place} through proxy {proxy} failed: {why}")
}

/// An error and what caused it, outermost first. An error within an I/O error
/// is not among that one's sources.
pub(super) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| {
        let error = *error;
        let within = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        match within {
            Some(within) => Some(within as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

pub(super) fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn says(error: &Unconnected, text: &str) -> bool {
    causes(error).any(|cause| cause.to_string().contains(text))
}

/// The innermost cause, without the URL: its query may hold a secret.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let last = causes(error).skip(1).last();
    last.map_or_else(
        || "no more is known".to_owned(),
        |cause| printable(&cause.to_string()),
    )
}
