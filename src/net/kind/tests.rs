use super::*;
use proptest::prelude::*;

fn of(address: &str) -> Option<Kind> {
    kind(address.parse().unwrap())
}

/// First and last of each range, and their neighbours outside.
#[test]
fn each_range_begins_and_ends_where_it_should() {
    let table = [
        ("0.0.0.0", Some(Kind::Unspecified)),
        ("0.255.255.255", Some(Kind::Unspecified)),
        ("1.0.0.0", None),
        ("9.255.255.255", None),
        ("10.0.0.0", Some(Kind::Private)),
        ("10.255.255.255", Some(Kind::Private)),
        ("11.0.0.0", None),
        ("100.63.255.255", None),
        ("100.64.0.0", Some(Kind::CarrierNat)),
        ("100.100.100.200", Some(Kind::Metadata)),
        ("100.127.255.255", Some(Kind::CarrierNat)),
        ("100.128.0.0", None),
        ("126.255.255.255", None),
        ("127.0.0.0", Some(Kind::Loopback)),
        ("127.255.255.255", Some(Kind::Loopback)),
        ("128.0.0.0", None),
        ("168.63.129.16", Some(Kind::Metadata)),
        ("168.63.129.17", None),
        ("169.253.255.255", None),
        ("169.254.0.0", Some(Kind::LinkLocal)),
        ("169.254.169.254", Some(Kind::Metadata)),
        ("169.254.255.255", Some(Kind::LinkLocal)),
        ("169.255.0.0", None),
        ("172.15.255.255", None),
        ("172.16.0.0", Some(Kind::Private)),
        ("172.31.255.255", Some(Kind::Private)),
        ("172.32.0.0", None),
        ("191.255.255.255", None),
        ("192.0.0.0", Some(Kind::Reserved)),
        ("192.0.0.192", Some(Kind::Metadata)),
        ("192.0.1.0", None),
        ("192.0.2.1", Some(Kind::Documentation)),
        ("192.0.3.0", None),
        ("192.88.99.1", Some(Kind::Reserved)),
        ("192.167.255.255", None),
        ("192.168.0.0", Some(Kind::Private)),
        ("192.168.255.255", Some(Kind::Private)),
        ("192.169.0.0", None),
        ("198.17.255.255", None),
        ("198.18.0.0", Some(Kind::Benchmarking)),
        ("198.19.255.255", Some(Kind::Benchmarking)),
        ("198.20.0.0", None),
        ("198.51.100.255", Some(Kind::Documentation)),
        ("203.0.113.0", Some(Kind::Documentation)),
        ("203.0.114.0", None),
        ("223.255.255.255", None),
        ("224.0.0.0", Some(Kind::Multicast)),
        ("239.255.255.255", Some(Kind::Multicast)),
        ("240.0.0.0", Some(Kind::Reserved)),
        ("255.255.255.254", Some(Kind::Reserved)),
        ("255.255.255.255", Some(Kind::Broadcast)),
        ("::", Some(Kind::Unspecified)),
        ("::1", Some(Kind::Loopback)),
        ("::2", Some(Kind::MappedIpv4)),
        ("::8.8.8.8", Some(Kind::MappedIpv4)),
        ("::ffff:10.0.0.1", Some(Kind::MappedIpv4)),
        ("::ffff:8.8.8.8", Some(Kind::MappedIpv4)),
        ("::ffff:0:8.8.8.8", Some(Kind::MappedIpv4)),
        ("::1:0:0:0", Some(Kind::Reserved)),
        ("64:ff9b::8.8.8.8", None),
        ("64:ff9b::10.0.0.1", Some(Kind::Embedded)),
        ("64:ff9b::169.254.169.254", Some(Kind::Embedded)),
        ("64:ff9b::127.0.0.1", Some(Kind::Embedded)),
        ("64:ff9b:1::8.8.8.8", Some(Kind::Reserved)),
        ("100::1", Some(Kind::Reserved)),
        ("1fff:ffff::", Some(Kind::Reserved)),
        ("2000::", None),
        // Teredo: the server, then the client's address with its bits turned.
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Some(Kind::Embedded)),
        ("2001:0:4136:e378:8000:63bf:f7f7:f7f7", None),
        ("2001:0:a00:1:8000:63bf:f7f7:f7f7", Some(Kind::Embedded)),
        ("2001:0:4136:e378:8000:63bf:f5ff:fffe", Some(Kind::Embedded)),
        ("2001:2::1", Some(Kind::Benchmarking)),
        ("2001:20::1", Some(Kind::Reserved)),
        ("2001:1ff::", Some(Kind::Reserved)),
        ("2001:200::", None),
        ("2001:db8::1", Some(Kind::Documentation)),
        ("2001:4860:4860::8888", None),
        ("2002:808:808::1", None),
        ("2002:a00:1::1", Some(Kind::Embedded)),
        ("2002:7f00:1::", Some(Kind::Embedded)),
        ("2606:4700::1111", None),
        ("3fff::1", Some(Kind::Documentation)),
        ("3fff:1000::", None),
        ("4000::", Some(Kind::Reserved)),
        ("fbff::", Some(Kind::Reserved)),
        ("fc00::", Some(Kind::UniqueLocal)),
        ("fd00:ec2::254", Some(Kind::Metadata)),
        ("fd20:ce::254", Some(Kind::Metadata)),
        ("fdff:ffff::", Some(Kind::UniqueLocal)),
        ("fe00::", Some(Kind::Reserved)),
        ("fe80::1", Some(Kind::LinkLocal)),
        ("febf::", Some(Kind::LinkLocal)),
        ("fec0::1", Some(Kind::UniqueLocal)),
        ("ff02::1", Some(Kind::Multicast)),
    ];
    for (address, expected) in table {
        assert_eq!(of(address), expected, "{address}");
    }
}

/// Every row is a network, else it would hold nothing.
#[test]
fn the_tables_hold_networks() {
    for (first, prefix, _) in V4 {
        Network::new(first.into(), prefix).unwrap();
    }
    for (first, prefix, _) in V6 {
        Network::new(first.into(), prefix).unwrap();
    }
}

proptest! {
    /// The standard library knows most of it too.
    #[test]
    fn agrees_with_the_standard_library(bits: u32) {
        let v4 = Ipv4Addr::from_bits(bits);
        let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
            || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
        prop_assert!(!special || kind(v4.into()).is_some());
    }

    #[test]
    fn agrees_with_the_standard_library_on_ipv6(bits: u128, narrow in 0u32..128) {
        // Most short-prefixed ones are interesting.
        let v6 = Ipv6Addr::from_bits(bits >> narrow << narrow.min(64));
        let special = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local()
            || v6.is_unicast_link_local() || v6.to_ipv4().is_some();
        prop_assert!(!special || kind(v6.into()).is_some());
        prop_assert!(special || v6.segments()[0] >> 13 == 1 || v6.segments()[0] == 0x64 || kind(v6.into()).is_some());
    }

    /// However an IPv4 address is wrapped, a special one stays special.
    #[test]
    fn wrapping_hides_nothing(a in prop::sample::select(vec![10u32 << 24, 127 << 24, 0xa9fe_a9fe, 0xc0a8_0000, 0x6440_0000]), low: u16) {
        let v4 = if a == 0xa9fe_a9fe { a } else { a | u32::from(low) };
        let wide = u128::from(v4);
        let wrapped = [
            wide,
            0xffff_u128 << 32 | wide,
            0x64_ff9b_u128 << 96 | wide,
            0x2002_u128 << 112 | wide << 80,
            0x2001_0000_u128 << 96 | wide << 64 | u128::from(!0x0808_0808_u32),
            0x2001_0000_u128 << 96 | 0x0808_0808_u128 << 64 | u128::from(!v4),
        ];
        for bits in wrapped {
            let v6 = Ipv6Addr::from_bits(bits);
            prop_assert!(kind(v6.into()).is_some(), "{}", v6);
        }
    }
}
