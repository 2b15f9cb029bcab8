//! The client at the other end of a connection, as backends, throttle and log see it: address, TLS, `X-Forwarded-For`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;

use crate::service::access::ConnectionMemory;
use crate::wire::{FieldKind, HeaderFields};

/// The client of one connection.
#[derive(Debug)]
pub struct HttpPeer {
    address: IpAddr,
    shown: String,
    tls: bool,
    accepted: AtomicBool,
    without_room: AtomicBool,
    memory: ConnectionMemory,
}

impl HttpPeer {
    /// The client at `address`.
    pub fn new(address: SocketAddr, tls: bool) -> HttpPeer {
        let address = address.ip().to_canonical();
        let shown = address.to_string();
        HttpPeer {
            address,
            shown,
            tls,
            accepted: AtomicBool::new(false),
            without_room: AtomicBool::new(false),
            memory: ConnectionMemory::default(),
        }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The connection's memory of the credential that it last presented.
    pub fn memory(&self) -> &ConnectionMemory {
        &self.memory
    }

    /// Notes that a credential was accepted on the connection.
    pub fn note_accepted(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }

    /// Returns true once a credential was accepted on the connection.
    pub fn has_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Notes that a request was refused because its source has used up its quota.
    pub fn note_without_room(&self) {
        self.without_room.store(true, Ordering::Relaxed);
    }

    /// Returns true if the connection should end: its source has used up its quota, and no credential was accepted on it.
    pub fn should_leave(&self) -> bool {
        self.without_room.load(Ordering::Relaxed) && !self.has_accepted()
    }

    /// The client that a trusted proxy names; `None` for a connection of the client itself, or if the proxy names nobody else.
    pub fn forwarded_source(&self, fields: &HeaderFields, trusted_proxies: &[IpNet]) -> Option<IpAddr> {
        if !self.is_trusted(trusted_proxies) {
            return None;
        }
        Some(self.source(fields, trusted_proxies)).filter(|source| *source != self.address)
    }

    /// Returns true if its `X-Forwarded-*` fields are trusted.
    pub fn is_trusted(&self, trusted_proxies: &[IpNet]) -> bool {
        trusted_proxies.iter().any(|net| net.contains(&self.address))
    }

    /// Its address as a header value.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The scheme of the connection: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The source of a request. Behind trusted proxies that is the last address of `X-Forwarded-For` that isn't one of them.
    pub fn source(&self, fields: &HeaderFields, trusted_proxies: &[IpNet]) -> IpAddr {
        if !self.is_trusted(trusted_proxies) {
            return self.address;
        }
        let mut source = self.address;
        let lines = fields.all(FieldKind::ForwardedFor);
        let hops = lines.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        for hop in hops {
            // A hop that isn't an address, or isn't text, ends the trust.
            let text = std::str::from_utf8(hop).ok();
            let Some(address) = text.and_then(|hop| address_of(hop.trim())) else { break };
            source = address.to_canonical();
            if !trusted_proxies.iter().any(|net| net.contains(&source)) {
                break;
            }
        }
        source
    }
}

/// The address of a hop: alone, or with a port as some proxies write it. An IPv6 address with a port has brackets.
fn address_of(hop: &str) -> Option<IpAddr> {
    let alone = hop.parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    alone.or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, forwarded: &[&str]) -> String {
        let lines: Vec<&[u8]> = forwarded.iter().map(|line| line.as_bytes()).collect();
        source_of_bytes(peer, &lines)
    }

    fn source_of_bytes(peer: &str, forwarded: &[&[u8]]) -> String {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let client = HttpPeer::new(SocketAddr::new(peer.parse().unwrap(), 1), false);
        let mut fields = HeaderFields::default();
        for line in forwarded {
            fields.append(b"X-Forwarded-For", line);
        }
        client.source(&fields, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(source("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(source("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(source("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.1.1.1"]), "198.51.100.7");
        assert_eq!(source("10.0.0.1", &["203.0.113.9", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(source("10.0.0.1", &["198.51.100.7, rubbish"]), "10.0.0.1");
        assert_eq!(source("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(source("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(source("10.0.0.1", &["203.0.113.9:51234, 10.1.1.1:80"]), "203.0.113.9");
        assert_eq!(source("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(source("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(source("10.0.0.1", &["[203.0.113.9], 203.0.113.9:"]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_text_hides_nobody() {
        assert_eq!(source_of_bytes("10.0.0.1", &[b"9.9.9.9", b"\xff, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(source_of_bytes("10.0.0.1", &[b"x\xff, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(source_of_bytes("10.0.0.1", &[b"9.9.9.9, \xff, 10.1.1.1"]), "10.1.1.1");
        assert_eq!(source_of_bytes("10.0.0.1", &[b"9.9.9.9", b"\xff"]), "10.0.0.1");
    }
}
