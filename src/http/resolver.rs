//! Names to addresses, as late as can be: what a name leads to is looked at in
//! the moment of connecting, so that DNS which changes after a check does not
//! slip through.

use super::Profile;
use crate::net::{self, Kind, Network};
use refreshd_core::provider::description::is_loopback;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::Host;

/// A name leads only to addresses that token requests do not go to unasked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} resolves to addresses that are not allowed")]
pub(super) struct Barred {
    pub(super) host: String,
    pub(super) found: Vec<(IpAddr, Kind)>,
}

/// A name leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("{host} cannot be resolved")]
pub(super) struct Unresolved {
    pub(super) host: String,
    pub(super) error: std::io::Error,
}

/// The system's resolver, but for `*.localhost`, which is this machine by
/// RFC 6761 and which plain systems do not resolve.
#[derive(Debug)]
pub(super) struct Resolver {
    allowed: Vec<Network>,
    /// Its operator named it, wherever it is.
    proxy: Option<String>,
}

impl Resolver {
    pub(super) fn new(profile: &Profile) -> Self {
        let proxy = profile.proxy.as_ref().and_then(|p| p.url.host_str());
        Resolver {
            allowed: profile.allowed.clone(),
            proxy: proxy.map(str::to_owned),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let is_proxy = self.proxy.as_ref() == Some(&host);
        let allowed = self.allowed.clone();
        Box::pin(async move {
            if is_loopback(&Host::Domain(&host)) {
                let both = [
                    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
                ];
                return Ok(Box::new(both.into_iter()) as Addrs);
            }
            let found = tokio::net::lookup_host((host.as_str(), 0)).await;
            let found = match found.map(Iterator::collect) {
                Ok(found) => found,
                Err(error) => return Err(Unresolved { host, error }.into()),
            };
            let good = if is_proxy {
                found
            } else {
                sift(host, found, &allowed)?
            };
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be connected to, in the resolver's order.
fn sift(
    host: String,
    found: Vec<SocketAddr>,
    allowed: &[Network],
) -> Result<Vec<SocketAddr>, Barred> {
    let mut good = Vec::new();
    let mut barred = Vec::new();
    for address in found {
        match net::barred(address.ip(), allowed) {
            None => good.push(address),
            Some(kind) => barred.push((address.ip(), kind)),
        }
    }
    if good.is_empty() {
        Err(Barred {
            host,
            found: barred,
        })
    } else {
        Ok(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(found: &[&str], allowed: &[&str]) -> Result<Vec<String>, Vec<(String, Kind)>> {
        let found = found
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
        let allowed: Vec<Network> = allowed.iter().map(|n| n.parse().unwrap()).collect();
        sift("host".to_owned(), found.collect(), &allowed)
            .map(|good| good.iter().map(|a| a.ip().to_string()).collect())
            .map_err(|e| {
                e.found
                    .iter()
                    .map(|(ip, kind)| (ip.to_string(), *kind))
                    .collect()
            })
    }

    #[test]
    fn only_permitted_addresses_are_left_in_their_order() {
        let mixed = [
            "10.0.0.1",
            "8.8.8.8",
            "::ffff:8.8.4.4",
            "2606:4700::1",
            "169.254.169.254",
        ];
        assert_eq!(sifted(&mixed, &[]).unwrap(), ["8.8.8.8", "2606:4700::1"]);
        assert_eq!(
            sifted(&mixed, &["10.0.0.0/8"]).unwrap(),
            ["10.0.0.1", "8.8.8.8", "2606:4700::1"]
        );
    }

    #[test]
    fn none_left_is_an_error_that_names_them() {
        let expected = vec![
            ("127.0.0.1".to_owned(), Kind::Loopback),
            ("fd00::1".to_owned(), Kind::UniqueLocal),
        ];
        assert_eq!(
            sifted(&["127.0.0.1", "fd00::1"], &["10.0.0.0/8"]),
            Err(expected)
        );
    }
}
