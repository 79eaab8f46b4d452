//! What an address is for, by the registries of special-purpose addresses
//! (RFC 6890 and what has been added to them) and the services of clouds.

use super::Network;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for, where it is not one of the open Internet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This machine.
    Loopback,
    /// RFC 1918.
    Private,
    /// RFC 4193, and the site-local addresses that came before it.
    UniqueLocal,
    /// RFC 3927, RFC 4291.
    LinkLocal,
    /// Where clouds hand out credentials.
    Metadata,
    /// RFC 6598, between a provider and its customers' homes.
    CarrierNat,
    /// 0.0.0.0, `::`, and "this network".
    Unspecified,
    /// 255.255.255.255.
    Broadcast,
    /// Many at once.
    Multicast,
    /// RFC 2544, RFC 5180.
    Benchmarking,
    /// RFC 5737, RFC 3849, RFC 9637.
    Documentation,
    /// IPv4 written as IPv6: `::ffff:a.b.c.d`, `::ffff:0:a.b.c.d`, `::a.b.c.d`.
    MappedIpv4,
    /// Translated to IPv4 on the way (NAT64, 6to4, Teredo), to an address that is special itself.
    Embedded,
    /// Not assigned to hosts.
    Reserved,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Loopback => "loopback",
            Kind::Private => "private",
            Kind::UniqueLocal => "unique-local",
            Kind::LinkLocal => "link-local",
            Kind::Metadata => "a cloud's metadata service",
            Kind::CarrierNat => "carrier-grade NAT",
            Kind::Unspecified => "unspecified",
            Kind::Broadcast => "broadcast",
            Kind::Multicast => "multicast",
            Kind::Benchmarking => "for benchmarks",
            Kind::Documentation => "for documentation",
            Kind::MappedIpv4 => "IPv4 mapped into IPv6",
            Kind::Embedded => "translated to a special IPv4 address",
            Kind::Reserved => "reserved",
        })
    }
}

/// The first that holds an address tells its kind.
const V4: [(Ipv4Addr, u8, Kind); 20] = [
    (Ipv4Addr::new(169, 254, 169, 254), 32, Kind::Metadata),
    // Alibaba's, Oracle's and Azure's; the last lies among public addresses.
    (Ipv4Addr::new(100, 100, 100, 200), 32, Kind::Metadata),
    (Ipv4Addr::new(192, 0, 0, 192), 32, Kind::Metadata),
    (Ipv4Addr::new(168, 63, 129, 16), 32, Kind::Metadata),
    (Ipv4Addr::new(0, 0, 0, 0), 8, Kind::Unspecified),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Kind::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Kind::CarrierNat),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Kind::Loopback),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Kind::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Kind::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Kind::Reserved),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Kind::Documentation),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Kind::Reserved),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Kind::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Kind::Benchmarking),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Kind::Documentation),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Kind::Documentation),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Kind::Multicast),
    (Ipv4Addr::BROADCAST, 32, Kind::Broadcast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Kind::Reserved),
];

/// The first that holds an address tells its kind; `None`: it has an IPv4
/// address in it, or is one of the open Internet's.
const V6: [(Ipv6Addr, u8, Option<Kind>); 20] = [
    (Ipv6Addr::UNSPECIFIED, 128, Some(Kind::Unspecified)),
    (Ipv6Addr::LOCALHOST, 128, Some(Kind::Loopback)),
    (v6([0, 0, 0, 0, 0, 0xffff]), 96, Some(Kind::MappedIpv4)),
    (v6([0, 0, 0, 0, 0xffff, 0]), 96, Some(Kind::MappedIpv4)),
    (v6([0; 6]), 96, Some(Kind::MappedIpv4)),
    // NAT64: by DNS64 whole networks reach public IPv4 addresses so.
    (v6([0x64, 0xff9b, 0, 0, 0, 0]), 96, None),
    // Amazon's and Google's.
    (
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        128,
        Some(Kind::Metadata),
    ),
    (
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
        128,
        Some(Kind::Metadata),
    ),
    (v6([0xfc00, 0, 0, 0, 0, 0]), 7, Some(Kind::UniqueLocal)),
    (v6([0xfec0, 0, 0, 0, 0, 0]), 10, Some(Kind::UniqueLocal)),
    (v6([0xfe80, 0, 0, 0, 0, 0]), 10, Some(Kind::LinkLocal)),
    (v6([0xff00, 0, 0, 0, 0, 0]), 8, Some(Kind::Multicast)),
    (v6([0x2001, 0, 0, 0, 0, 0]), 32, None),
    (v6([0x2001, 2, 0, 0, 0, 0]), 48, Some(Kind::Benchmarking)),
    (v6([0x2001, 0, 0, 0, 0, 0]), 23, Some(Kind::Reserved)),
    (
        v6([0x2001, 0xdb8, 0, 0, 0, 0]),
        32,
        Some(Kind::Documentation),
    ),
    (v6([0x2002, 0, 0, 0, 0, 0]), 16, None),
    (v6([0x3fff, 0, 0, 0, 0, 0]), 20, Some(Kind::Documentation)),
    (v6([0x2000, 0, 0, 0, 0, 0]), 3, None),
    // What is not assigned yet leads nowhere that a token should go.
    (Ipv6Addr::UNSPECIFIED, 0, Some(Kind::Reserved)),
];

const fn v6(head: [u16; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = head;
    Ipv6Addr::new(a, b, c, d, e, f, 0, 0)
}

/// What an address is for; `None` for one of the open Internet's.
#[must_use]
pub fn kind(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(_) => {
            let mut rows = V4.iter();
            let row = rows.find(|(first, prefix, _)| holds((*first).into(), *prefix, address));
            row.map(|(_, _, kind)| *kind)
        }
        IpAddr::V6(v6) => {
            let mut rows = V6.iter();
            let row = rows.find(|(first, prefix, _)| holds((*first).into(), *prefix, address));
            let of_range = row.and_then(|(_, _, kind)| *kind);
            let special = |v4: Ipv4Addr| kind(v4.into()).is_some();
            of_range.or_else(|| embedded(v6).any(special).then_some(Kind::Embedded))
        }
    }
}

fn holds(first: IpAddr, prefix: u8, address: IpAddr) -> bool {
    Network::new(first, prefix).is_ok_and(|network| network.contains(address))
}

/// The IPv4 addresses that packets to this one are sent on to.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let segments = address.segments();
    let at =
        |i: usize| Ipv4Addr::from_bits(u32::from(segments[i]) << 16 | u32::from(segments[i + 1]));
    let found = match segments {
        // RFC 6052 §2.1.
        [0x64, 0xff9b, ..] => [Some(at(6)), None],
        // RFC 3056 §2.
        [0x2002, ..] => [Some(at(1)), None],
        // RFC 4380 §4: the server, and the client with its bits turned.
        [0x2001, 0, ..] => [Some(at(2)), Some(Ipv4Addr::from_bits(!at(6).to_bits()))],
        _ => [None, None],
    };
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests;
