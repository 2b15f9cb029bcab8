//! The file descriptors of the process, and the reserve that clients leave for operators.
//!
//! The system always gives the lowest free number to a new descriptor. So the number of a new connection tells, without any
//! counting, that at least as many descriptors are open.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

/// The descriptors that a gateway needs besides connections: listeners, database, threads, log, and the reserve.
const OTHERS: u64 = 128;
/// The bounds of the reserve: what operators, the other processes on the store, its files and the log may need.
const RESERVE: (RawFd, RawFd) = (16, 64);

/// The limits of this process, which has one table of descriptors, whichever gateways run in it.
static CLIENTS: AtomicI32 = AtomicI32::new(RawFd::MAX);
static BACKENDS: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// The numbers below which descriptors may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimits {
    /// For connections of clients: half of what is free, since each of them may need a connection to a backend.
    pub clients: RawFd,
    /// For connections to backends, and for forms in temporary files: all but the reserve.
    pub backends: RawFd,
}

impl DescriptorLimits {
    /// Divides the `limit` of a process that has so many descriptors `open` before the first client.
    fn of(limit: RawFd, open: RawFd) -> DescriptorLimits {
        let free = limit.saturating_sub(open).max(0);
        let reserve = (free / 4).clamp(RESERVE.0, RESERVE.1).min(free);
        DescriptorLimits { clients: open + (free - reserve) / 2, backends: open + free - reserve }
    }

    /// Divides the descriptors of this process, which has just opened all that it needs, and applies the result.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn apply() -> io::Result<DescriptorLimits> {
        let next = File::open("/dev/null")?.as_raw_fd();
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.and_then(|limit| RawFd::try_from(limit).ok()).unwrap_or(RawFd::MAX);
        let limits = DescriptorLimits::of(limit, next);
        CLIENTS.store(limits.clients, Ordering::Relaxed);
        BACKENDS.store(limits.backends, Ordering::Relaxed);
        Ok(limits)
    }
}

/// Raises the soft limit of descriptors to the hard one, as the 1,024 of a shell are fewer than `max_connections`. Returns the
/// limits before and after, if they differ.
pub fn raise_limit() -> Option<(u64, u64)> {
    let limit = getrlimit(Resource::Nofile);
    let (before, after) = (limit.current?, limit.maximum.unwrap_or(u64::MAX));
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    (before < after && setrlimit(Resource::Nofile, raised).is_ok()).then_some((before, after))
}

/// A warning for an operator if this process may not have as many descriptors as `max_connections` can need.
pub fn shortage(max_connections: usize) -> Option<String> {
    let limit = getrlimit(Resource::Nofile).maximum?;
    warning(u64::try_from(max_connections).ok()?, limit)
}

fn warning(connections: u64, limit: u64) -> Option<String> {
    let needed = connections.saturating_mul(2).saturating_add(OTHERS);
    let fit = limit.saturating_sub(OTHERS) / 2;
    (limit < needed).then(|| {
        format!(
            "server.max_connections: {connections} connections need up to {needed} descriptors, and the limit of this process \
             is {limit}: clients are refused from about {fit} connections on; raise the limit (LimitNOFILE={needed} in the \
             unit of systemd, or `ulimit -n {needed}`), or lower server.max_connections"
        )
    })
}

/// Returns true if a new connection of a client leaves enough descriptors for others.
#[inline]
pub fn is_for_client(connection: &impl AsFd) -> bool {
    connection.as_fd().as_raw_fd() < CLIENTS.load(Ordering::Relaxed)
}

/// Returns true if a new descriptor leaves the reserve for operators.
#[inline]
pub fn leaves_reserve(descriptor: &impl AsFd) -> bool {
    descriptor.as_fd().as_raw_fd() < BACKENDS.load(Ordering::Relaxed)
}

/// Connects to a backend, without a descriptor of the reserve.
///
/// # Errors
/// The errors of the system. For [`is_shortage`], the backend is not to blame.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if !leaves_reserve(&socket) {
        return Err(Errno::MFILE.into());
    }
    socket.connect(address).await
}

/// Returns true if this process, or the whole system, has no descriptor left.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_half_to_backends_and_both_leave_the_reserve() {
        let of = |limit, open| {
            let limits = DescriptorLimits::of(limit, open);
            (limits.clients, limits.backends)
        };
        assert_eq!(of(65_536, 36), (36 + 32_718, 65_472));
        assert_eq!(of(1024, 40), (40 + 460, 960));
        assert_eq!(of(100, 40), (40 + 22, 84));
        assert_eq!(of(64, 40), (40 + 4, 48));
        assert_eq!(of(50, 40), (40, 40));
        assert_eq!(of(40, 60), (60, 60));
        assert_eq!(of(RawFd::MAX, 40).1, RawFd::MAX - 64);
    }

    #[test]
    fn a_low_limit_is_told_with_what_to_type() {
        assert_eq!(warning(20_000, 40_128), None);
        let text = warning(20_000, 1024).unwrap();
        for part in ["server.max_connections", "40128", "1024", "LimitNOFILE=40128", "ulimit -n 40128", "448"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn the_lack_of_descriptors_is_told_from_other_errors() {
        assert!(is_shortage(&Errno::MFILE.into()) && is_shortage(&Errno::NFILE.into()));
        assert!(!is_shortage(&io::ErrorKind::ConnectionRefused.into()));
    }
}
