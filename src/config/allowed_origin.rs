//! Origins of pages in the configuration, as browsers write them in `Origin` (RFC 6454 section 6.2).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::address;
use super::reader::ConfigValue;
use super::wording::told;

/// The origin of pages that may call an entry from another site: `https://app.example.com`, `http://localhost:3000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(String);

impl AllowedOrigin {
    /// The value of the field `Origin`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host and port, as in `Host`.
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The host. An IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        split(self.authority()).map_or("", |(host, _)| host)
    }

    /// Returns true if its pages are transferred with TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Returns true if its pages are transferred without TLS, from another machine.
    pub(super) fn is_exposed(&self) -> bool {
        let Some((host, _)) = self.0.strip_prefix("http://").and_then(|authority| split(authority).ok())
        else {
            return false;
        };
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_local = host == "localhost" || host.ends_with(".localhost");
        !is_local && address.map_or(true, |address| !address.to_canonical().is_loopback())
    }

    /// Reads a list of origins, none of them twice.
    pub(super) fn read_list(value: &ConfigValue<'_>) -> Option<Vec<AllowedOrigin>> {
        let mut seen = Vec::new();
        value.list(|value| value.distinct(AllowedOrigin::parse, &mut seen))
    }

    /// Parses an exact origin. Anything that no browser would send is an error, since it would never match.
    pub(super) fn parse(text: &str) -> Result<AllowedOrigin, String> {
        match text {
            "*" => {
                return Err("'*' is not possible: list each origin, such as https://app.example.com".into());
            }
            "null" => {
                return Err("'null' is not possible: pages of every site can send it".into());
            }
            // Not repeated in the error: a password may come before the @.
            _ if text.contains('@') => {
                return Err("invalid origin: it must not contain a username or a password".into());
            }
            _ => {}
        }
        let fault = |reason: String| format!("invalid origin '{}': {reason}", told(text));
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err(fault("expected SCHEME://HOST or SCHEME://HOST:PORT".into()));
        };
        let lower = text.to_ascii_lowercase();
        if lower != text {
            return Err(fault(format!("browsers write lower case, expected {}", told(&lower))));
        }
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(letter) {
            return Err(fault(format!("invalid scheme '{}'", told(scheme))));
        }
        if scheme == "file" {
            return Err(fault("browsers send 'null' for files, which is not possible".into()));
        }
        if authority.contains(['/', '?', '#']) {
            return Err(fault("nothing may follow host and port".into()));
        }
        let (host, port) = split(authority).map_err(fault)?;
        let default = match scheme {
            "http" => Some("80"),
            "https" => Some("443"),
            _ => None,
        };
        if port.is_some() && port == default {
            return Err(fault(format!("browsers omit the default port, expected {scheme}://{host}")));
        }
        Ok(AllowedOrigin(text.to_owned()))
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits host and port. An IPv6 address keeps its brackets.
fn split(authority: &str) -> Result<(&str, Option<&str>), String> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => {
            let (host, rest) = authority.split_at(end + 1);
            let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            if address.is_none_or(|address| address.parse::<Ipv6Addr>().is_err()) {
                return Err(format!("'{}' is not an IPv6 address in brackets", told(host)));
            }
            match rest.strip_prefix(':') {
                None if rest.is_empty() => (host, None),
                None => return Err("expected ':' and a port after the address".into()),
                port => (host, port),
            }
        }
        None => match authority.split_once(':') {
            Some((_, rest)) if rest.contains(':') => return Err("an IPv6 address needs brackets".into()),
            Some((host, port)) => (address::host(host)?, Some(port)),
            None if !authority.is_ascii() => {
                return Err("browsers write such a host in ASCII, as xn--…".into());
            }
            None => (address::host(authority)?, None),
        },
    };
    match port {
        Some(port) if port.parse::<u16>().map(|number| number.to_string()).as_deref() != Ok(port) => {
            Err(format!("invalid port '{}'", told(port)))
        }
        port => Ok((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn origins_as_browsers_write_them() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://app.example.com:8443",
            "http://192.0.2.7:8080",
            "http://[::1]:8080",
            "https://[2001:db8::1]",
            "https://xn--bcher-kva.example",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ] {
            assert_eq!(AllowedOrigin::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn pages_of_another_machine_need_tls() {
        for (origin, is_exposed) in [
            ("http://app.example.com", true),
            ("http://192.0.2.7:8080", true),
            ("http://[2001:db8::1]", true),
            ("https://app.example.com", false),
            ("http://localhost:3000", false),
            ("http://app.localhost", false),
            ("http://127.0.0.1:3000", false),
            ("http://[::1]:3000", false),
            ("capacitor://localhost", false),
        ] {
            assert_eq!(AllowedOrigin::parse(origin).unwrap().is_exposed(), is_exposed, "{origin}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        for bad in [
            "*",
            "null",
            "",
            "https://*",
            "https://*.example.com",
            "app.example.com",
            "https:app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com?q",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://app.example.com:",
            "https://app.example.com:08443",
            "https://app.example.com:65536",
            "https://bücher.example",
            "https://::1",
            "https://[::1",
            "https://[::1]x",
            "https://[app]",
            "file://",
            "file://localhost",
            "https://a.example, https://b.example",
            "1x://a",
            "://a",
        ] {
            assert!(AllowedOrigin::parse(bad).is_err(), "{bad}");
        }
        assert!(!AllowedOrigin::parse("https://me:hunter22@x").unwrap_err().contains("hunter22"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (AllowedOrigin::parse(&text), AllowedOrigin::parse(&format!("https://{text}")));
        }
    }
}
