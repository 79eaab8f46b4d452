//! A network as it is written in `allow_networks`: `10.0.0.0/8`, `fd00::/8`, or
//! one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address and how many of its leading bits count; the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the slash is no address.
    #[error("it does not begin with an IP address")]
    NotAnAddress,
    /// What stands behind the slash is no number, or too great a one.
    #[error("what follows the slash is not a number from 0 to {0}")]
    BadPrefix(u8),
    /// Bits are set that do not count.
    #[error("bits are set behind the first {}", .0.prefix)]
    HostBits(Network),
}

impl Network {
    /// Of this many leading bits.
    ///
    /// # Errors
    /// When there are not that many, or bits behind them are set.
    pub fn new(first: IpAddr, prefix: u8) -> Result<Self, NetworkError> {
        if prefix > width(first) {
            return Err(NetworkError::BadPrefix(width(first)));
        }
        let network = Network::around(first, prefix);
        if network.first == first {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(network))
        }
    }

    /// The network of that size around an address; no larger than the address is long.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        };
        Network { first, prefix }
    }

    /// Whether the address lies in it. IPv4 written as IPv6 is not IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4()
            && Network::around(address, self.prefix).first == self.first
    }

    /// Whether it is larger than any network that is set aside for a purpose.
    #[must_use]
    pub fn is_too_wide(&self) -> bool {
        let least = if self.first.is_ipv4() { 4 } else { 7 };
        self.prefix < least
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::NotAnAddress)?;
        let width = width(address);
        let Some(prefix) = prefix else {
            return Network::new(address, width);
        };
        // `parse` alone takes "+8" and "08".
        let plain = prefix
            .parse::<u8>()
            .ok()
            .filter(|n| n.to_string() == prefix);
        Network::new(address, plain.ok_or(NetworkError::BadPrefix(width))?)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == width(self.first) {
            self.first.fmt(f)
        } else {
            write!(f, "{}/{}", self.first, self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "10.0.0.0/8",
            "192.168.1.7",
            "0.0.0.0/0",
            "fd00::/8",
            "::/0",
            "fd00::7",
        ] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("192.168.1.7/32"), network("192.168.1.7"));
        assert_eq!(network("FD00:0:0::7/128").to_string(), "fd00::7");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let error = |text: &str| text.parse::<Network>().unwrap_err();
        for text in [
            "",
            "10",
            "10.0.0",
            "10.0.0.0.0/8",
            "example.com",
            " 10.0.0.0",
            "010.0.0.0",
            "[fd00::]/8",
            "fe80::1%1",
        ] {
            assert_eq!(error(text), NetworkError::NotAnAddress, "{text}");
        }
        for text in [
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
        ] {
            assert_eq!(error(text), NetworkError::BadPrefix(32), "{text}");
        }
        assert_eq!(error("fd00::/129"), NetworkError::BadPrefix(128));
        assert_eq!(
            error("10.1.2.3/8"),
            NetworkError::HostBits(network("10.0.0.0/8"))
        );
        assert_eq!(
            error("fd00:1::/8"),
            NetworkError::HostBits(network("fd00::/8"))
        );
        assert_eq!(
            error("1.2.3.4/0"),
            NetworkError::HostBits(network("0.0.0.0/0"))
        );
    }

    #[test]
    fn wide_ones_are_noticed() {
        for (text, wide) in [
            ("0.0.0.0/0", true),
            ("128.0.0.0/1", true),
            ("240.0.0.0/4", false),
            ("::/0", true),
            ("fc00::/7", false),
            ("2000::/3", true),
        ] {
            assert_eq!(network(text).is_too_wide(), wide, "{text}");
        }
    }

    proptest! {
        #[test]
        fn contains_what_shares_the_leading_bits(a: u32, b: u32, prefix in 0u8..=32) {
            let network = Network::around(IpAddr::V4(a.into()), prefix);
            let alike = (a ^ b).leading_zeros() >= u32::from(prefix);
            prop_assert_eq!(network.contains(IpAddr::V4(b.into())), alike);
            prop_assert!(network.contains(IpAddr::V4(a.into())));
            prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
        }

        #[test]
        fn contains_what_shares_the_leading_bits_of_ipv6(a: u128, flip in 0u32..128, prefix in 0u8..=128) {
            let network = Network::around(IpAddr::V6(a.into()), prefix);
            let b = a ^ (1 << (127 - flip));
            prop_assert_eq!(network.contains(IpAddr::V6(b.into())), flip >= u32::from(prefix));
            prop_assert!(!network.contains(IpAddr::V4((a as u32).into())));
            prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:./%+]{0,24}") {
            let _either = text.parse::<Network>();
        }
    }
}
