//! Where a backend is: the addresses of its host, and whose turn it is among them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

/// The addresses of one backend.
#[derive(Debug)]
pub struct Addresses {
    host: String,
    port: u16,
    /// An address stands for itself and is never looked up.
    literal: bool,
    found: ArcSwap<Vec<SocketAddr>>,
    turn: AtomicUsize,
}

impl Addresses {
    /// Those of a host: an IP address, an IPv6 one without brackets, or a name, which has none before it was looked up.
    pub fn new(host: &str, port: u16) -> Addresses {
        let literal = host.parse().ok().map(|ip| SocketAddr::new(ip, port));
        Addresses {
            host: host.to_owned(),
            port,
            literal: literal.is_some(),
            found: ArcSwap::from_pointee(literal.into_iter().collect()),
            turn: AtomicUsize::new(0),
        }
    }

    /// Looks the name up again, where it is one. Where that fails, or finds nothing, those known before stand. `upstream` is
    /// what the log calls the backend.
    pub async fn resolve(&self, upstream: &str) {
        if self.literal {
            return;
        }
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(found) => {
                let found: Vec<_> = found.collect();
                if !found.is_empty() {
                    self.found.store(Arc::new(found));
                }
            }
            Err(error) => tracing::warn!(upstream, %error, "the backend's name can't be resolved"),
        }
    }

    /// As if these had been found.
    #[cfg(test)]
    pub fn set(&self, found: Vec<SocketAddr>) {
        self.found.store(Arc::new(found));
    }

    /// Whether none is known yet.
    pub fn is_empty(&self) -> bool {
        self.found.load().is_empty()
    }

    /// The next one in turn.
    pub fn next(&self) -> Option<SocketAddr> {
        let found = self.found.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        found.get(turn % found.len().max(1)).copied()
    }

    /// All of them, from the next one in turn on.
    pub fn all(&self) -> Vec<SocketAddr> {
        let mut all = self.found.load().to_vec();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn % all.len().max(1);
        all.rotate_left(first);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_stands_for_itself() {
        for (host, expected) in [("192.0.2.1", "192.0.2.1:25"), ("2001:db8::1", "[2001:db8::1]:25")] {
            let addresses = Addresses::new(host, 25);
            addresses.resolve("x").await;
            assert_eq!(addresses.next(), Some(expected.parse().unwrap()));
            assert_eq!(addresses.all(), [expected.parse().unwrap()]);
        }
    }

    #[tokio::test]
    async fn a_name_has_none_before_it_was_looked_up_and_keeps_what_it_had() {
        let addresses = Addresses::new("localhost", 25);
        assert!(addresses.is_empty() && addresses.next().is_none() && addresses.all().is_empty());
        addresses.resolve("x").await;
        assert!(!addresses.is_empty() && addresses.all().iter().all(|found| found.ip().is_loopback()));
        let nobody = Addresses { host: "nobody.invalid".into(), ..addresses };
        nobody.resolve("x").await;
        assert!(!nobody.is_empty());
    }

    #[test]
    fn each_has_its_turn() {
        let addresses = Addresses::new("backend.test", 25);
        let three: Vec<SocketAddr> = (1..=3).map(|port| ([192, 0, 2, 1], port).into()).collect();
        addresses.found.store(Arc::new(three.clone()));
        let turns: Vec<_> = (0..4).map(|_| addresses.next().unwrap()).collect();
        assert_eq!(turns, [three[0], three[1], three[2], three[0]]);
        assert_eq!(addresses.all(), [three[1], three[2], three[0]]);
        assert_eq!(addresses.all(), [three[2], three[0], three[1]]);
    }
}
