//! The addresses of a backend's host: their lookup, the ones that failed last, and the one whose turn it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

/// The addresses of one backend.
#[derive(Debug)]
pub struct Addresses {
    host: String,
    port: u16,
    /// An IP address, which is never looked up.
    literal: bool,
    found: ArcSwap<Vec<Address>>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Address {
    at: SocketAddr,
    /// The last attempt to use it failed, or its last health check did.
    failed: AtomicBool,
    /// Slower than another address, and has not been asked since.
    unsure: AtomicBool,
}

impl Address {
    fn new(at: SocketAddr) -> Address {
        Address { at, failed: AtomicBool::new(false), unsure: AtomicBool::new(false) }
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Addresses {
    /// The addresses of a host. That is an IP address (IPv6 without brackets), or a name, which has none before its first lookup.
    pub fn new(host: &str, port: u16) -> Addresses {
        let literal = host.parse().ok().map(|ip| Address::new(SocketAddr::new(ip, port)));
        Addresses {
            host: host.to_owned(),
            port,
            literal: literal.is_some(),
            found: ArcSwap::from_pointee(literal.into_iter().collect()),
            turn: AtomicUsize::new(0),
        }
    }

    /// Looks the name up again. If that fails or finds nothing, the known addresses remain. `upstream` names the backend in the
    /// log.
    pub async fn resolve(&self, upstream: &str) {
        if self.literal {
            return;
        }
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(found) => {
                let found: Vec<_> = found.collect();
                if !found.is_empty() {
                    self.set(found);
                }
            }
            Err(error) => tracing::warn!(upstream, %error, "looking up a backend failed"),
        }
    }

    /// Replaces the addresses. What is known of an address that was among them is kept.
    pub fn set(&self, found: Vec<SocketAddr>) {
        let before = self.found.load();
        let mut addresses: Vec<Address> = Vec::with_capacity(found.len());
        for at in found {
            // A hosts file may contain a line twice.
            if addresses.iter().all(|address| address.at != at) {
                let address = Address::new(at);
                if let Some(known) = before.iter().find(|known| known.at == at) {
                    address.failed.store(known.has_failed(), Ordering::Relaxed);
                    address.unsure.store(known.unsure.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                addresses.push(address);
            }
        }
        self.found.store(Arc::new(addresses));
    }

    /// Returns true if no address is known yet.
    pub fn is_empty(&self) -> bool {
        self.found.load().is_empty()
    }

    /// All addresses, in the order of the resolver.
    pub fn known(&self) -> Vec<SocketAddr> {
        self.found.load().iter().map(|address| address.at).collect()
    }

    /// All addresses in the order in which to try them: first those that did not fail last, beginning with the next one in turn,
    /// and then the others.
    pub fn all(&self) -> Vec<SocketAddr> {
        let found = self.found.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut all = Vec::with_capacity(found.len());
        for failed in [false, true] {
            let begin = all.len();
            let those = found.iter().filter(|address| address.has_failed() == failed);
            all.extend(those.map(|address| address.at));
            let count = all.len() - begin;
            all[begin..].rotate_left(turn % count.max(1));
        }
        all
    }

    /// The addresses that failed last.
    pub fn failed(&self) -> Vec<SocketAddr> {
        self.found.load().iter().filter(|address| address.has_failed()).map(|address| address.at).collect()
    }

    /// The addresses of which nothing is known since [`Addresses::doubt`].
    pub fn unsure(&self) -> Vec<SocketAddr> {
        let found = self.found.load();
        found
            .iter()
            .filter(|address| address.unsure.load(Ordering::Relaxed))
            .map(|address| address.at)
            .collect()
    }

    /// Notes that an address can be used, or that it cannot.
    pub fn note(&self, at: SocketAddr, good: bool) {
        if let Some(address) = self.found.load().iter().find(|address| address.at == at) {
            address.failed.store(!good, Ordering::Relaxed);
            address.unsure.store(false, Ordering::Relaxed);
        }
    }

    /// Notes that an attempt at an address was given up before its end. Its place in the order stays the same.
    pub fn doubt(&self, at: SocketAddr) {
        if let Some(address) = self.found.load().iter().find(|address| address.at == at) {
            address.unsure.store(true, Ordering::Relaxed);
        }
    }

    /// Notes a connection to an address. An address that failed becomes good by this only if all others failed as well: one that
    /// a health check found bad may accept connections nevertheless.
    pub fn note_reached(&self, at: SocketAddr) {
        let found = self.found.load();
        let reached = found.iter().find(|address| address.at == at);
        if reached.is_some_and(|address| !address.has_failed()) || found.iter().all(Address::has_failed) {
            self.note(at, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Addresses, Vec<SocketAddr>) {
        let addresses = Addresses::new("backend.test", 25);
        let three: Vec<SocketAddr> = (1..=3).map(|port| ([192, 0, 2, 1], port).into()).collect();
        addresses.set(three.clone());
        (addresses, three)
    }

    #[tokio::test]
    async fn an_address_stands_for_itself() {
        for (host, expected) in [("192.0.2.1", "192.0.2.1:25"), ("2001:db8::1", "[2001:db8::1]:25")] {
            let addresses = Addresses::new(host, 25);
            addresses.resolve("x").await;
            assert_eq!(addresses.all(), [expected.parse().unwrap()]);
        }
    }

    #[tokio::test]
    async fn a_name_has_none_before_it_was_looked_up_and_keeps_what_it_had() {
        let addresses = Addresses::new("localhost", 25);
        assert!(addresses.is_empty() && addresses.all().is_empty());
        addresses.resolve("x").await;
        assert!(!addresses.is_empty() && addresses.all().iter().all(|found| found.ip().is_loopback()));
        let nobody = Addresses { host: "nobody.invalid".into(), ..addresses };
        nobody.resolve("x").await;
        assert!(!nobody.is_empty());
    }

    #[test]
    fn each_has_its_turn() {
        let (addresses, three) = three();
        assert_eq!(addresses.all(), three);
        assert_eq!(addresses.all(), [three[1], three[2], three[0]]);
        assert_eq!(addresses.all(), [three[2], three[0], three[1]]);
    }

    #[test]
    fn those_that_failed_come_last_until_they_are_good_again() {
        let (addresses, three) = three();
        addresses.note(three[1], false);
        let firsts: Vec<_> = (0..4).map(|_| addresses.all()).collect();
        assert!(firsts.iter().all(|all| all.len() == 3 && all[2] == three[1]));
        assert!(
            [three[0], three[2]].iter().all(|good| firsts.iter().filter(|all| all[0] == *good).count() == 2)
        );
        // A connection to it doesn't make it as good as the others.
        addresses.note_reached(three[1]);
        assert_eq!(addresses.failed(), [three[1]]);
        three.iter().for_each(|address| addresses.note(*address, false));
        assert_eq!(addresses.all().len(), 3);
        addresses.note_reached(three[1]);
        assert!((0..4).all(|_| addresses.all()[0] == three[1]));
        addresses.note(three[0], true);
        assert_eq!(addresses.failed(), [three[2]]);
    }

    #[test]
    fn what_is_known_of_an_address_stays_when_the_name_is_looked_up_again() {
        let (addresses, three) = three();
        addresses.note(three[0], false);
        addresses.doubt(three[1]);
        let new = ([192, 0, 2, 2], 25).into();
        addresses.set(vec![three[0], three[0], new, new, three[1]]);
        assert_eq!(addresses.all(), [new, three[1], three[0]]);
        assert_eq!((addresses.failed(), addresses.unsure()), (vec![three[0]], vec![three[1]]));
    }

    #[test]
    fn an_address_in_doubt_keeps_its_place_until_it_is_known_again() {
        let (addresses, three) = three();
        for settle in [|addresses: &Addresses, at| addresses.note(at, true), Addresses::note_reached] {
            addresses.doubt(three[1]);
            let firsts: Vec<_> = (0..3).map(|_| addresses.all()[0]).collect();
            assert!(three.iter().all(|address| firsts.contains(address)));
            assert_eq!((addresses.failed(), addresses.unsure()), (vec![], vec![three[1]]));
            settle(&addresses, three[1]);
            assert!(addresses.unsure().is_empty());
        }
    }
}
