//! Addresses in the configuration: listeners, backends, networks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::wording::told;

/// The address of an HTTP backend: `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// The scheme: with or without TLS.
    pub scheme: Scheme,
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Upstream {
    /// Returns `host:port`, with an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// The scheme of an HTTP backend's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS; the certificate is verified.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// The address of a mail backend: `smtp://host:port`, `smtps://host:port` or `smtp+starttls://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmtpUpstream {
    /// The scheme: with or without TLS.
    pub scheme: SmtpScheme,
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for SmtpUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.scheme.as_str(), &self.host, self.port);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// The scheme of a mail backend's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SmtpScheme {
    /// Without TLS.
    Clear,
    /// With implicit TLS; the certificate is verified.
    Tls,
    /// With STARTTLS, which must succeed; the certificate is verified.
    StartTls,
}

impl SmtpScheme {
    /// All schemes.
    pub const ALL: [SmtpScheme; 3] = [SmtpScheme::Clear, SmtpScheme::Tls, SmtpScheme::StartTls];

    /// `smtp`, `smtps` or `smtp+starttls`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SmtpScheme::Clear => "smtp",
            SmtpScheme::Tls => "smtps",
            SmtpScheme::StartTls => "smtp+starttls",
        }
    }
}

/// Parses an address to listen on: `127.0.0.1:8080`, `[::1]:8080`.
pub(super) fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("invalid address '{}': {}", told(text), listener_fault(text)))
}

/// Parses the URL of a backend: `http://host:port` or `https://host:port`, without a path.
pub(super) fn upstream(text: &str) -> Result<Upstream, String> {
    // Not repeated in the error: a password may come before the @.
    if text.contains('@') {
        return Err("invalid upstream: it must not contain a username or a password".to_owned());
    }
    let (scheme, authority) = if let Some(rest) = text.strip_prefix("http://") {
        (Scheme::Http, rest)
    } else if let Some(rest) = text.strip_prefix("https://") {
        (Scheme::Https, rest)
    } else {
        return Err(format!(
            "invalid upstream '{}': expected http://host:port or https://host:port",
            told(text)
        ));
    };
    split(authority)
        .map(|(host, port)| Upstream { scheme, host, port })
        .map_err(|fault| format!("invalid upstream '{}': {fault}", told(text)))
}

/// Parses the URL of a mail backend: `smtp://host:port`, `smtps://host:port` or `smtp+starttls://host:port`, without a path.
pub(super) fn smtp_upstream(text: &str) -> Result<SmtpUpstream, String> {
    // Not repeated in the error: a password may come before the @.
    if text.contains('@') {
        return Err(
            "invalid upstream: it must not contain a username or a password; set upstream_user and upstream_password_file"
                .to_owned(),
        );
    }
    let known = text.split_once("://").and_then(|(scheme, authority)| {
        let scheme = SmtpScheme::ALL.into_iter().find(|known| known.as_str() == scheme)?;
        Some((scheme, authority))
    });
    let Some((scheme, authority)) = known else {
        return Err(format!(
            "invalid upstream '{}': expected smtp://host:port, smtps://host:port or smtp+starttls://host:port",
            told(text)
        ));
    };
    split(authority)
        .map(|(host, port)| SmtpUpstream { scheme, host, port })
        .map_err(|fault| format!("invalid upstream '{}': {fault}", told(text)))
}

/// Checks the name of a host, or an IP address without brackets.
pub(super) fn host(text: &str) -> Result<&str, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text);
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit());
    if text.len() <= 253 && text.split('.').all(label) && !numeric {
        Ok(text)
    } else {
        Err(format!("'{}' is neither a host name nor an IP address", told(text)))
    }
}

/// Parses a network or a single address: `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`. IPv4 in IPv6 (`::ffff:192.0.2.0/120`) is IPv4,
/// as the addresses of clients are.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("invalid network '{}': expected an IP address or a network such as 10.0.0.0/8", told(text))
    })?;
    let plain = network.trunc();
    if plain == network {
        Ok(unmapped(network))
    } else {
        Err(format!("invalid network '{text}': bits are set after its prefix, expected {plain}"))
    }
}

fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let inner = v6.prefix_len().checked_sub(96).zip(v6.network().to_ipv4_mapped());
    inner.and_then(|(prefix, v4)| IpNet::new(v4.into(), prefix).ok()).unwrap_or(network)
}

/// Checks a host with or without a port, as in `Host` (RFC 9110 section 7.2).
pub(super) fn host_and_port(text: &str) -> Result<(), String> {
    let has_port = match text.rfind(']') {
        Some(end) => end + 1 < text.len(),
        None => text.contains(':'),
    };
    match has_port {
        true => split(text).map(|_| ()),
        false => split(&format!("{text}:80")).map(|_| ()),
    }
}

fn listener_fault(text: &str) -> String {
    if text.parse::<Ipv6Addr>().is_ok() {
        return "expected an IPv6 address in brackets, such as [::1]:8080".to_owned();
    }
    if text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok() {
        return "missing port".to_owned();
    }
    match text.rsplit_once(':') {
        None => "expected IP:PORT, such as 127.0.0.1:8080".to_owned(),
        Some(("", port)) => format!("missing IP address, such as 127.0.0.1:{}", told_port(port)),
        Some((_, port)) if port.parse::<u16>().is_err() => format!("invalid port '{}'", told_port(port)),
        Some((host, _)) => format!("'{}' is not an IP address", told(host)),
    }
}

/// A port for an error. What stands in the place of one may be a password.
fn told_port(text: &str) -> &str {
    let is_number = text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text } else { "…" }
}

fn split(authority: &str) -> Result<(String, u16), String> {
    if authority.contains(['/', '?', '#']) {
        return Err("nothing may follow the port".to_owned());
    }
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or("missing ']'")?;
            let address: Ipv6Addr =
                name.parse().map_err(|_| format!("'{}' is not an IPv6 address", told(name)))?;
            (address.to_string(), rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((_, rest)) if rest.contains(':') => return Err("an IPv6 address needs brackets".to_owned()),
            Some((name, port)) => (host(name)?.to_owned(), Some(port)),
            None => (host(authority)?.to_owned(), None),
        },
    };
    let port = port.filter(|port| !port.is_empty()).ok_or("missing port")?;
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok((name, number)),
        _ => Err(format!("invalid port '{}'", told_port(port))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn backends() {
        for good in
            ["http://127.0.0.1:9000", "https://api_1.example.com:443", "http://[::1]:80", "http://x:1"]
        {
            assert_eq!(upstream(good).unwrap().to_string(), good);
        }
        let bad = [
            "127.0.0.1:9000",
            "ftp://x:1",
            "http://x",
            "http://x:",
            "http://x:0",
            "http://x:+1",
            "http://x:65536",
            "http://x:1/",
            "http://x:1/path",
            "http://x:1?q",
            "http://:1",
            "http://a..b:1",
            "http://1.2.3:1",
            "http://1.2.3.400:1",
            "http://::1:80",
            "http://[::1]80",
            "http://[::1:80",
            "http://[x]:80",
            "http://ü:80",
            "HTTP://x:1",
        ];
        for text in bad {
            assert!(upstream(text).is_err(), "{text}");
        }
    }

    #[test]
    fn backends_for_mail() {
        for good in ["smtp://127.0.0.1:25", "smtps://[::1]:465", "smtp+starttls://mail.example.com:587"] {
            assert_eq!(smtp_upstream(good).unwrap().to_string(), good);
        }
        for text in
            ["http://x:25", "x:25", "smtp://x", "smtp://x:0", "SMTP://x:25", "smtp+tls://x:25", "smtp:///x"]
        {
            assert!(smtp_upstream(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_echoed() {
        assert!(!smtp_upstream("smtp://me:hunter22@x:1").unwrap_err().contains("hunter22"));
        for text in ["http://me:hunter22@x:1", "https://hunter22@x:1"] {
            assert!(!upstream(text).unwrap_err().contains("hunter22"));
        }
    }

    #[test]
    fn networks() {
        assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        for (mapped, expected) in [
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::/120", "2001:db8::/120"),
        ] {
            assert_eq!(network(mapped).unwrap().to_string(), expected);
        }
        assert!(network("10.0.0.1/8").unwrap_err().contains("expected 10.0.0.0/8"));
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("localhost").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", tail in "\\PC*") {
            let _ = (listener(&text), network(&text), host(&text), upstream(&text));
            let _ = (smtp_upstream(&text), smtp_upstream(&format!("smtps://{tail}")));
            let _ = upstream(&format!("http://{tail}"));
        }
    }
}
