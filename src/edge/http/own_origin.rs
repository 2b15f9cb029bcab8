//! The gateway's own origin, as the client of a request sees it.

use super::peer::HttpPeer;
use crate::wire::{FieldKind, OwnOrigin, RequestHead};

/// The gateway's origin as the client sees it: what a trusted proxy says, else what the request and its connection say.
pub fn own_origin<'a>(request: &'a RequestHead, client: &HttpPeer, is_trusted: bool) -> OwnOrigin<'a> {
    // Of several proxies the first one talks to the client.
    let said = |kind| {
        let value = request.fields().get(kind).filter(|_| is_trusted)?;
        value.split(|b| *b == b',').next().map(<[u8]>::trim_ascii).filter(|value| !value.is_empty())
    };
    let host = request.fields().get(FieldKind::Host);
    let authority = || request.authority();
    let secure = match said(FieldKind::ForwardedProto) {
        Some(b"https" | b"wss") => Some(true),
        Some(b"http" | b"ws") => Some(false),
        Some(_) => None,
        // A proxy that nobody knows of may have ended TLS. With TLS here, it is one that begins TLS anew.
        None => (client.scheme() == "https" && !is_trusted).then_some(true),
    };
    OwnOrigin {
        secure,
        authority: said(FieldKind::ForwardedHost).or(host).or_else(authority).unwrap_or_default(),
        port: said(FieldKind::ForwardedPort).and_then(|port| std::str::from_utf8(port).ok()?.parse().ok()),
    }
}
