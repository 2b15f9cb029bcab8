//! The network of a client's address: coarse enough to last while the address changes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bit that IPv4 networks have and IPv6 networks, which have 48, don't.
const V4: u64 = 1 << 63;

/// The network of a client's address: the first 24 bits of an IPv4 address, the first 48 of an IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientNetwork(u64);

impl ClientNetwork {
    /// The network to which an address belongs. An IPv4 address may be written as an IPv6 address.
    pub fn of(address: IpAddr) -> ClientNetwork {
        match address.to_canonical() {
            IpAddr::V4(v4) => ClientNetwork(V4 | u64::from(v4.to_bits() >> 8)),
            IpAddr::V6(v6) => ClientNetwork((v6.to_bits() >> 80) as u64),
        }
    }

    /// A number that no other network has: at most 48 bits, and the highest one.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 & V4 {
            0 => write!(f, "{}/48", Ipv6Addr::from_bits(u128::from(self.0) << 80)),
            _ => write!(f, "{}/24", Ipv4Addr::from_bits((self.0 << 8) as u32)),
        }
    }
}

impl fmt::Debug for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_have_one_network() {
        let of = |text: &str| ClientNetwork::of(text.parse().unwrap());
        for (address, network) in [
            ("192.0.2.1", "192.0.2.0/24"),
            ("::ffff:192.0.2.255", "192.0.2.0/24"),
            ("0.0.0.0", "0.0.0.0/24"),
            ("255.255.255.255", "255.255.255.0/24"),
            ("2001:db8:1:2::3", "2001:db8:1::/48"),
            ("ffff:ffff:ffff:ffff::", "ffff:ffff:ffff::/48"),
            ("::1", "::/48"),
        ] {
            assert_eq!(of(address).to_string(), network, "{address}");
        }
        assert_ne!(of("192.0.3.1"), of("192.0.2.1"));
        assert_ne!(of("0.0.0.0"), of("::"));
    }
}
