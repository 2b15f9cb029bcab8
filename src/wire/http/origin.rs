//! Web origins (RFC 6454): the site that a browser sends a request from, and the server's own.

/// The origin of a server as its clients see it, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnOrigin<'a> {
    /// `true` for `https`, `false` for `http`, `None` if a proxy in front may have terminated TLS.
    pub secure: Option<bool>,
    /// The host, with its port if it has one, as in `Host` (RFC 9110 section 7.2).
    pub authority: &'a [u8],
    /// The port that a proxy reports if `authority` has none.
    pub port: Option<u16>,
}

impl OwnOrigin<'_> {
    /// Compares the value of an `Origin` field with this origin. The host is case-insensitive. If the scheme is unknown, the
    /// default ports of both schemes are equal. `null`, another scheme and a malformed value never match.
    pub fn is(&self, origin: &[u8]) -> bool {
        let secure_then_rest = |(scheme, secure): (&[u8], bool)| {
            let start = origin.get(..scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then(|| (secure, &origin[scheme.len()..]))
        };
        let schemes = [(&b"https://"[..], true), (b"http://", false)];
        let Some((secure, theirs)) = schemes.into_iter().find_map(secure_then_rest) else { return false };
        if self.secure.is_some_and(|own| own != secure) {
            return false;
        }
        let (Some((host, port)), Some((own_host, own_port))) = (split(theirs), split(self.authority)) else {
            return false;
        };
        let is_default = |port: &u16| match self.secure {
            Some(true) => *port == 443,
            Some(false) => *port == 80,
            None => matches!(port, 80 | 443),
        };
        let meant = |port: Option<u16>| port.filter(|port| !is_default(port));
        let same_port = meant(port) == meant(own_port)
            || own_port.is_none() && self.port.is_some() && meant(port) == meant(self.port);
        !host.is_empty() && host.eq_ignore_ascii_case(own_host) && same_port
    }
}

/// Splits an authority without user information into host and port; `None` if it is malformed.
fn split(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    // The colons of an IPv6 address are in brackets.
    let end_of_address = memchr::memrchr(b']', authority).map_or(0, |end| end + 1);
    let colon = authority[end_of_address..].iter().position(|b| *b == b':');
    let Some(colon) = colon.map(|colon| end_of_address + colon) else { return Some((authority, None)) };
    let digits = &authority[colon + 1..];
    if digits.is_empty() {
        return Some((&authority[..colon], None));
    }
    let is_number = digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit);
    let port = is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()?;
    Some((&authority[..colon], Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(secure: Option<bool>, authority: &str, port: Option<u16>, origin: &str) -> bool {
        OwnOrigin { secure, authority: authority.as_bytes(), port }.is(origin.as_bytes())
    }

    #[test]
    fn the_same_origin() {
        for (secure, authority, port, origin) in [
            (Some(true), "a.test", None, "https://a.test"),
            (Some(true), "a.test:443", None, "https://a.test"),
            (Some(true), "A.test", None, "HTTPS://a.TEST:443"),
            (Some(false), "a.test:80", None, "http://a.test"),
            (Some(true), "a.test:8443", None, "https://a.test:8443"),
            (Some(true), "a.test:", None, "https://a.test"),
            (Some(true), "a.test", Some(8443), "https://a.test:8443"),
            // Such a port may be that of an inner listener.
            (Some(true), "a.test", Some(80), "https://a.test"),
            (None, "a.test", None, "https://a.test"),
            (None, "a.test", None, "http://a.test"),
            (None, "a.test:80", None, "https://a.test"),
            (None, "a.test:8080", None, "https://a.test:8080"),
            (None, "[::1]:8080", None, "http://[::1]:8080"),
            (None, "[::1]", None, "http://[::1]"),
        ] {
            assert!(is(secure, authority, port, origin), "{secure:?} {authority} {origin}");
        }
    }

    #[test]
    fn another_origin() {
        for (secure, authority, port, origin) in [
            (Some(true), "a.test", None, "http://a.test"),
            (Some(false), "a.test", None, "https://a.test"),
            (Some(true), "a.test", None, "https://a.test:80"),
            (Some(true), "a.test:80", None, "https://a.test"),
            (None, "a.test", None, "https://a.test:8080"),
            (None, "a.test:8080", None, "https://a.test"),
            (None, "a.test:8080", Some(443), "https://a.test"),
            (None, "a.test", None, "null"),
            (None, "a.test", None, ""),
            (None, "", None, "http://"),
            (None, "", None, "https://a.test"),
            (None, "a.test", None, "a.test"),
            (None, "a.test", None, "//a.test"),
            (None, "a.test", None, "https://b.a.test"),
            (None, "a.test", None, "https://a.test.b"),
            (None, "a.test", None, "https://a.test/"),
            (None, "a.test", None, "https://b@a.test"),
            (None, "a.test", None, "https://a.test, https://a.test"),
            (None, "a.test", None, "https://a.test:https://a.test"),
            (None, "a.test", None, "https://a.test:+443"),
            (None, "a.test", None, "https://a.test:65979"),
            (None, "a.test", None, "wss://a.test"),
            (None, "[::1]", None, "http://[::2]"),
            (None, "[::1]", None, "http://::1"),
        ] {
            assert!(!is(secure, authority, port, origin), "{secure:?} {authority} {origin}");
        }
    }
}
