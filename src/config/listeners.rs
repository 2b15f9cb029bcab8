//! The listening addresses of all sections. None may be given twice.

use std::net::SocketAddr;

use super::address;
use super::reader::ConfigValue;

/// The addresses read so far, each with its place.
#[derive(Default)]
pub(super) struct Listeners(Vec<Listener>);

struct Listener {
    address: SocketAddr,
    key: String,
    line: usize,
}

impl Listeners {
    /// Reads one address and compares it with those before it.
    pub(super) fn read(&mut self, value: &ConfigValue<'_>) -> Option<SocketAddr> {
        let address = value.parsed(address::listener)?;
        if let Some(other) = self.0.iter().find(|other| collide(other.address, address)) {
            let place = format!("{} on line {}", other.key, other.line);
            value.refuse(if other.address == address {
                format!("address '{address}' is already used by {place}")
            } else {
                format!("address '{address}' collides with '{}' of {place}", other.address)
            });
        }
        self.0.push(Listener { address, key: value.name().to_owned(), line: value.line() });
        Some(address)
    }

    /// Reads a list of addresses.
    pub(super) fn read_list(&mut self, value: &ConfigValue<'_>) -> Option<Vec<SocketAddr>> {
        value.list(|value| self.read(value))
    }
}

/// Returns true if the two addresses cannot both be bound. The system decides if `[::]` takes the IPv4 port as well, so
/// that is not checked here. Port 0 is a different port each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && same_ip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collisions() {
        let collide = |one: &str, other: &str| collide(one.parse().unwrap(), other.parse().unwrap());
        assert!(collide("127.0.0.1:80", "127.0.0.1:80"));
        assert!(collide("127.0.0.1:80", "0.0.0.0:80"));
        assert!(collide("[::]:80", "[::1]:80"));
        assert!(!collide("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!collide("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!collide("0.0.0.0:80", "[::]:80"));
    }
}
