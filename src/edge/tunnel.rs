//! An open tunnel, such as a WebSocket: bytes both ways, until a side closes, nothing moves for too long, or the
//! credential that opened it is revoked.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_timeout::timeout;

use crate::config::Timeouts;

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A side closed it, or broke off.
    Closed,
    /// Nothing passed for too long, or a side took nothing.
    Idle,
    /// The credential that opened it is gone.
    Revoked,
}

/// Carries bytes between both sides until the tunnel ends; `revoked` resolves when it has to.
pub async fn carry(
    session: &mut ServerSession,
    upstream: &mut UpstreamSession,
    timeouts: &Timeouts,
    revoked: impl Future<Output = ()>,
) -> Ended {
    upstream.maybe_upgrade_body_writer();
    tokio::select! {
        biased;
        () = revoked => Ended::Revoked,
        ended = pump(session, upstream, timeouts.tunnel_idle, timeouts.write) => ended,
    }
}

async fn pump(
    session: &mut ServerSession,
    upstream: &mut UpstreamSession,
    idle: Duration,
    write: Duration,
) -> Ended {
    enum Side {
        Client(Bytes),
        Backend(Bytes),
        Closed,
    }
    loop {
        let next = async {
            tokio::select! {
                piece = session.read_request_body() => match piece {
                    Ok(Some(piece)) => Side::Client(piece),
                    _ => Side::Closed,
                },
                piece = upstream.read_body_bytes() => match piece {
                    Ok(Some(piece)) => Side::Backend(piece),
                    _ => Side::Closed,
                },
            }
        };
        let Ok(next) = timeout(idle, next).await else { return Ended::Idle };
        let passed = match next {
            Side::Closed => return Ended::Closed,
            Side::Client(piece) => timeout(write, upstream.write_body(&piece)).await.map(|r| r.is_ok()),
            Side::Backend(piece) => {
                timeout(write, session.write_response_body(piece, false)).await.map(|r| r.is_ok())
            }
        };
        match passed {
            Ok(true) => {}
            Ok(false) => return Ended::Closed,
            Err(_) => return Ended::Idle,
        }
    }
}
