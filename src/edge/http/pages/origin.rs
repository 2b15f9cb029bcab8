//! The origin of a page as its browser sees it: it decides which cookie a session has, and which requests come from the page itself.

use std::net::{IpAddr, Ipv6Addr};

use crate::config::AllowedOrigin;
use crate::edge::http::own_origin::own_origin;
use crate::edge::http::peer::HttpPeer;
use crate::wire::{FieldKind, OwnOrigin, RequestHead, listed_origin, without_prefix};

/// The way to the browser, as far as a cookie is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieWay {
    /// TLS from the browser on. The cookie is for this host and for TLS only.
    Encrypted,
    /// Without TLS, and on the same machine.
    Loopback,
    /// Without TLS, over a network. There are no sessions.
    Cleartext,
}

impl CookieWay {
    /// The way of a client to a configured origin. One without TLS is that of the machine itself, which says nothing about other clients.
    fn of_configured(is_https: bool, client: &HttpPeer) -> CookieWay {
        match is_https {
            true => CookieWay::Encrypted,
            false if client.address().is_loopback() => CookieWay::Loopback,
            false => CookieWay::Cleartext,
        }
    }
}

/// The origin of a page.
#[derive(Clone, Copy, Debug)]
pub struct PageOrigin<'a> {
    own: OwnOrigin<'a>,
    /// The way to the browser.
    pub way: CookieWay,
}

impl<'a> PageOrigin<'a> {
    /// The origin that a request is for: the configured one, else what a trusted proxy says, else what the request and its
    /// connection say.
    pub fn of(
        request: &'a RequestHead,
        client: &HttpPeer,
        is_trusted: bool,
        configured: Option<&'a AllowedOrigin>,
    ) -> PageOrigin<'a> {
        if let Some(origin) = configured {
            let (secure, authority) = (Some(origin.is_https()), origin.authority().as_bytes());
            let way = CookieWay::of_configured(origin.is_https(), client);
            return PageOrigin { own: OwnOrigin { secure, authority, port: None }, way };
        }
        let own = own_origin(request, client, is_trusted);
        let way = match own.secure {
            Some(true) => CookieWay::Encrypted,
            _ if client.address().is_loopback()
                && is_local(own.authority)
                && (is_trusted || !comes_from_proxy(request)) =>
            {
                CookieWay::Loopback
            }
            _ => CookieWay::Cleartext,
        };
        PageOrigin { own, way }
    }

    /// The name of a cookie on this way; `None` if there is no session on it.
    pub fn cookie_name(&self, name: &'static str) -> Option<&'static str> {
        match self.way {
            CookieWay::Encrypted => Some(name),
            CookieWay::Loopback => Some(without_prefix(name)),
            CookieWay::Cleartext => None,
        }
    }

    /// The host, with its port if it has one, as the browser shows it.
    pub fn authority(&self) -> String {
        String::from_utf8_lossy(self.own.authority).into_owned()
    }

    /// Returns true if a request comes from a page of this origin, or of one of `allowed`, by `Sec-Fetch-Site`, or else by `Origin`.
    /// A page can set neither of them. A request with neither of them is not known to come from such a page.
    pub fn is_source_of(&self, request: &RequestHead, allowed: &[AllowedOrigin]) -> bool {
        let fields = request.fields();
        if listed_origin(allowed, fields.all(FieldKind::Origin)).is_some() {
            return true;
        }
        let mut sites = fields.all(FieldKind::SecFetchSite).map(<[u8]>::trim_ascii).peekable();
        match sites.peek() {
            Some(_) => sites.all(|site| site.eq_ignore_ascii_case(b"same-origin")),
            None => self.is_origin_of(request, &[]),
        }
    }

    /// Returns true if the `Origin` of a request is this one, or one of `allowed`.
    pub fn is_origin_of(&self, request: &RequestHead, allowed: &[AllowedOrigin]) -> bool {
        let mut origins = request.fields().all(FieldKind::Origin);
        if listed_origin(allowed, origins.clone()).is_some() {
            return true;
        }
        let (first, second) = (origins.next(), origins.next());
        first.is_some_and(|origin| self.own.is(origin.trim_ascii())) && second.is_none()
    }
}

/// Returns true if the host of an authority is a name or an address of the machine itself.
pub fn is_local(authority: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(authority) else { return false };
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => text.split(':').next().unwrap_or_default(),
    };
    let host = host.to_ascii_lowercase();
    match text.starts_with('[') {
        true => host.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback()),
        false => {
            let address = host.parse::<IpAddr>();
            host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|a| a.is_loopback())
        }
    }
}

/// Returns true if the host of an `Origin` is a name or an address of the machine itself.
pub fn is_local_origin(origin: &[u8]) -> bool {
    let scheme = memchr::memmem::find(origin, b"://");
    scheme.is_some_and(|at| is_local(&origin[at + 3..]))
}

/// Returns true if a proxy says that it has passed a request on.
fn comes_from_proxy(request: &RequestHead) -> bool {
    let fields = request.fields();
    let kinds = [
        FieldKind::ForwardedFor,
        FieldKind::ForwardedProto,
        FieldKind::ForwardedHost,
        FieldKind::ForwardedPort,
    ];
    kinds.iter().any(|kind| fields.contains(*kind))
        || ["forwarded", "via"].iter().any(|name| fields.named(name).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_origin_without_tls_is_for_the_machine_itself() {
        let way = |is_https, address: &str| {
            CookieWay::of_configured(is_https, &HttpPeer::new(address.parse().unwrap(), false))
        };
        for local in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(way(false, local), CookieWay::Loopback, "{local}");
        }
        for other in ["192.0.2.7:1", "[2001:db8::7]:1"] {
            assert_eq!(way(false, other), CookieWay::Cleartext, "{other}");
            assert_eq!(way(true, other), CookieWay::Encrypted, "{other}");
        }
    }

    #[test]
    fn local_origins() {
        for (origin, expected) in [
            ("http://localhost:8080", true),
            ("https://[::1]", true),
            ("https://dash.example.com", false),
            ("localhost", false),
            ("null", false),
        ] {
            assert_eq!(is_local_origin(origin.as_bytes()), expected, "{origin}");
        }
    }

    #[test]
    fn local_hosts() {
        for local in [
            "localhost",
            "LOCALHOST:8080",
            "dash.localhost:1",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:80",
            "[::1]",
        ] {
            assert!(is_local(local.as_bytes()), "{local}");
        }
        for other in [
            "",
            "localhost.example.com",
            "xlocalhost",
            "10.0.0.1",
            "127.0.0.1.example.com",
            "[::2]",
            "::1",
            "[::1",
        ] {
            assert_eq!(is_local(other.as_bytes()), other == "[::1", "{other}");
        }
    }
}
