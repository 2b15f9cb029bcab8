//! Fields that are not forwarded: hop-by-hop ones, those that `Connection` names, and those that only Gatepost or a proxy may set.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// `Keep-Alive`
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// `Proxy-Connection`
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The most fields that `Connection` may name. Each field of a header is looked for among them.
const MOST_NOMINATED: usize = 64;

/// Returns true if a field is about one connection only (RFC 9110 section 7.6.1), or Gatepost answers or sets it itself.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::EXPECT
        || *name == header::UPGRADE
        || *name == header::TE
        || *name == header::TRAILER
        || *name == header::PROXY_AUTHORIZATION
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || name.as_str() == "http2-settings"
}

/// The readers of a field besides the backend's application, which decide if it is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldAuthority {
    /// None: the field is forwarded.
    Client,
    /// A proxy in front: the field is forwarded for a trusted one only.
    Proxy,
    /// Gatepost, or nobody: the field is never forwarded.
    Gatepost,
}

/// Fields with which proxies convey the client's address, scheme, or host.
const OF_PROXIES: [&[u8]; 45] = [
    b"ali-cdn-real-ip",
    b"cdn-src-ip",
    b"cf-connecting-ip",
    b"cf-connecting-ipv6",
    b"cf-pseudo-ipv4",
    b"client-ip",
    b"cluster-client-ip",
    b"do-connecting-ip",
    b"fastly-client-ip",
    b"fly-client-ip",
    b"forwarded-for",
    b"forwarded-for-ip",
    b"front-end-https",
    b"incap-client-ip",
    b"proxy-client-ip",
    b"remote-addr",
    b"true-client-ip",
    b"wl-proxy-client-ip",
    b"wl-proxy-ssl",
    b"x-appengine-remote-addr",
    b"x-appengine-user-ip",
    b"x-azure-clientip",
    b"x-azure-socketip",
    b"x-client-ip",
    b"x-client-real-ip",
    b"x-cluster-client-ip",
    b"x-coming-from",
    b"x-envoy-external-address",
    b"x-forward-for",
    b"x-host",
    b"x-http-host-override",
    b"x-nf-client-connection-ip",
    b"x-original-forwarded-for",
    b"x-original-host",
    b"x-original-remote-addr",
    b"x-originating-ip",
    b"x-proxyuser-ip",
    b"x-real-ip",
    b"x-remote-addr",
    b"x-remote-ip",
    b"x-scheme",
    b"x-sucuri-clientip",
    b"x-true-client-ip",
    b"x-url-scheme",
    b"x-vercel-forwarded-for",
];

/// The `X-Forwarded-*` fields of a trusted proxy that are passed on as they came. `-For`, `-Proto` and `-Host` are written anew.
const FORWARDED: [&[u8]; 5] = [
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-scheme",
    b"x-forwarded-server",
    b"x-forwarded-ssl",
];

/// Fields from which some backends take another path or method than the one that was checked, and `Proxy`, from which CGI programs take
/// a proxy for their own requests.
const NEVER: [&[u8]; 14] = [
    b"proxy",
    b"request-uri",
    b"x-envoy-original-path",
    b"x-http-destinationurl",
    b"x-http-method",
    b"x-http-method-override",
    b"x-http-path-override",
    b"x-method-override",
    b"x-original-method",
    b"x-original-path",
    b"x-original-uri",
    b"x-original-url",
    b"x-override-url",
    b"x-rewrite-url",
];

/// Fields that say where a request goes and how its body is read. Another spelling of them is not forwarded.
const FRAMING: [&[u8]; 5] =
    [b"content-encoding", b"content-length", b"content-type", b"proxy-authorization", b"transfer-encoding"];

impl FieldAuthority {
    /// The authority over a field of that name, in any spelling: a backend that turns fields into variables takes `_` for `-`, and some
    /// take any character that is neither a letter nor a digit for it.
    pub fn over(name: &HeaderName) -> FieldAuthority {
        let name = name.as_str().as_bytes();
        // Most fields of browsers and libraries begin with other letters, or have one of these names.
        let may_concern = match name.first() {
            Some(b'a') => name.starts_with(b"ali"),
            Some(b'c') => !matches!(name, b"cookie" | b"cache-control" | b"content-type"),
            Some(b'd' | b'f' | b'i' | b'p' | b'r' | b't' | b'w' | b'x') => true,
            _ => false,
        };
        if !may_concern {
            return FieldAuthority::Client;
        }
        let starts = |prefix: &[u8]| name.len() >= prefix.len() && is_spelt(&name[..prefix.len()], prefix);
        let is_one_of = |names: &[&[u8]]| names.iter().any(|other| is_spelt(name, other));
        let is_misspelt = || FRAMING.iter().any(|other| name != *other && is_spelt(name, other));
        if starts(b"x-forwarded") && FORWARDED.contains(&name) {
            return FieldAuthority::Proxy;
        }
        let is_ours = starts(b"x-gatepost") || starts(b"x-forwarded") || starts(b"x-request-id");
        if is_ours || name == b"forwarded" || is_one_of(&NEVER) || is_misspelt() {
            return FieldAuthority::Gatepost;
        }
        if is_one_of(&OF_PROXIES) { FieldAuthority::Proxy } else { FieldAuthority::Client }
    }
}

/// Returns true if a name is `other`, with any character that is neither a letter nor a digit for its `-`.
fn is_spelt(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len()
        && name
            .iter()
            .zip(other)
            .all(|(have, want)| have == want || *want == b'-' && !have.is_ascii_alphanumeric())
}

/// Returns true if `Connection` is `keep-alive` or `close`, and names no field.
pub fn is_plain(connection: &HeaderValue) -> bool {
    let value = connection.as_bytes();
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

/// The fields that `Connection` names, which are not forwarded (RFC 9110 section 7.6.1).
pub struct Nominated {
    names: Vec<HeaderName>,
}

impl Nominated {
    /// The fields that a header nominates. No more are read than it takes to see that there are too many.
    pub fn of(headers: &HeaderMap) -> Nominated {
        let mut names = Vec::new();
        for line in headers.get_all(header::CONNECTION) {
            if is_plain(line) {
                continue;
            }
            let options = line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
            let room = MOST_NOMINATED + 1 - names.len();
            names.extend(options.filter_map(|option| HeaderName::from_bytes(option).ok()).take(room));
        }
        Nominated { names }
    }

    /// Returns true if there are more than any client has a use for.
    pub fn is_too_much(&self) -> bool {
        self.names.len() > MOST_NOMINATED
    }

    /// Returns true if a field isn't forwarded because it is named.
    pub fn contains(&self, name: &HeaderName) -> bool {
        // The fields that say where a request goes and how its body is read are forwarded even if they are named, which RFC 9110
        // section 7.6.1 forbids. Otherwise a backend would read another body than the one that was checked.
        let stays = || *name == header::HOST || name.as_str().starts_with("content-");
        !self.names.is_empty() && self.names.contains(name) && !stays()
    }
}
