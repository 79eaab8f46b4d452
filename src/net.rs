//! Addresses and networks: what an address is for, and which networks a
//! client's token endpoint may lie in. Pure: nothing here asks a resolver.

pub mod kind;
pub mod network;

pub use kind::{Kind, kind};
pub use network::{Network, NetworkError};

use refreshd_core::provider::description::is_loopback;
use std::net::IpAddr;
use url::{Host, Url};

/// The address that stands in a URL itself, unless it is this machine.
#[must_use]
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        host if is_loopback(&host) => None,
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// What stands against connecting to an address: its kind, unless one of the
/// networks holds it.
#[must_use]
pub fn barred(address: IpAddr, allowed: &[Network]) -> Option<Kind> {
    kind(address).filter(|_| !allowed.iter().any(|network| network.contains(address)))
}

/// The network to allow for the sake of a barred address: where neighbours are
/// likely to serve the same name, with them.
#[must_use]
pub fn suggestion(address: IpAddr, kind: Kind) -> Network {
    let neighbours = matches!(kind, Kind::Private | Kind::CarrierNat | Kind::UniqueLocal);
    let prefix = match (neighbours, address) {
        (true, IpAddr::V4(_)) => 24,
        (true, IpAddr::V6(_)) => 64,
        (false, _) => 128,
    };
    Network::around(address, prefix)
}

/// What to write into the configuration to allow a barred address.
#[must_use]
pub fn remedy(client: &str, allowed: &[Network], address: IpAddr, kind: Kind) -> String {
    let network = suggestion(address, kind);
    if allowed.is_empty() {
        format!("add allow_networks = [\"{network}\"] to [clients.{client}] if that is meant")
    } else {
        format!("add \"{network}\" to allow_networks of [clients.{client}] if that is meant")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_not_barred() {
        let allowed: Vec<Network> = ["10.1.0.0/16", "fd00::7"]
            .map(|n| n.parse().unwrap())
            .into();
        let barred = |address: &str| barred(address.parse().unwrap(), &allowed);
        assert_eq!(barred("10.1.2.3"), None);
        assert_eq!(barred("10.2.0.0"), Some(Kind::Private));
        assert_eq!(barred("::ffff:10.1.2.3"), Some(Kind::MappedIpv4));
        assert_eq!(barred("fd00::7"), None);
        assert_eq!(barred("fd00::8"), Some(Kind::UniqueLocal));
        assert_eq!(barred("8.8.8.8"), None);
    }

    #[test]
    fn the_remedy_allows_the_address_and_passes_the_check() {
        for address in [
            "10.1.2.3",
            "fd00::1:2:3:4",
            "169.254.169.254",
            "::ffff:10.0.0.1",
            "100.64.9.9",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let network = suggestion(address, kind(address).unwrap());
            let again: Network = network.to_string().parse().unwrap();
            assert_eq!(barred(address, &[again]), None, "{network}");
            assert!(!network.is_too_wide());
        }
        let address = "10.1.2.3".parse().unwrap();
        assert_eq!(
            remedy("retm", &[], address, Kind::Private),
            "add allow_networks = [\"10.1.2.0/24\"] to [clients.retm] if that is meant"
        );
        let others = ["10.9.0.0/16".parse().unwrap()];
        assert_eq!(
            remedy("retm", &others, address, Kind::Private),
            "add \"10.1.2.0/24\" to allow_networks of [clients.retm] if that is meant"
        );
    }
}
