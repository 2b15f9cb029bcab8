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

/// Returns true if only Gatepost may set a field of that name, in any spelling: a backend that turns fields into variables takes `_`
/// for `-`, and some take any character that is neither a letter nor a digit for it.
pub fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    if !matches!(name.first(), Some(b'x' | b'f')) {
        return false;
    }
    let starts = |prefix: &[u8]| name.len() >= prefix.len() && is_spelt(&name[..prefix.len()], prefix);
    starts(b"x-gatepost") || starts(b"x-forwarded") || starts(b"x-request-id") || name == b"forwarded"
}

/// Returns true if some backends would take another path or method from a field of that name than the one that was checked.
pub fn goes_elsewhere(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    const NAMES: [&[u8]; 6] = [
        b"x-original-url",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-method",
    ];
    name.first() == Some(&b'x') && NAMES.iter().any(|other| is_spelt(name, other))
}

/// Returns true if some backends would take the client's address from a field of that name, which only proxies may set.
pub fn tells_the_source(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    const NAMES: [&[u8]; 7] = [
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-forwarded-for",
        b"true-client-ip",
        b"client-ip",
        b"cf-connecting-ip",
    ];
    matches!(name.first(), Some(b'x' | b't' | b'c')) && NAMES.iter().any(|other| is_spelt(name, other))
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
