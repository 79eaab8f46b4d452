//! Names to addresses, as late as can be: what a name leads to is looked at in
//! the moment of connecting, so that DNS which changes after a check does not
//! slip through.

use super::Profile;
use crate::net::{self, Kind, Network};
use hyper_util::client::legacy::connect::dns::Name;
use refreshd_core::provider::description::is_loopback;
use reqwest::dns::{Addrs, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
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
#[derive(Clone, Debug)]
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

impl Resolver {
    /// The addresses of a name that may be connected to.
    pub(super) async fn lookup(&self, host: String) -> Result<Vec<SocketAddr>, Cause> {
        if is_loopback(&Host::Domain(&host)) {
            return Ok(vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
            ]);
        }
        let found = match super::lookup::lookup(&host).await {
            Ok(found) => found,
            Err(error) => return Err(Unresolved { host, error }.into()),
        };
        match self.proxy.as_ref() == Some(&host) {
            true => Ok(found),
            false => Ok(sift(host, found, &self.allowed)?),
        }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str().to_owned()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.lookup(name.as_str().to_owned()).await?.into_iter()) })
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
