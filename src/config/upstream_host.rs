//! The `Host` that backends get: the key `host`.

use super::address::{self, Scheme, Upstream};
use super::wording::{nearest, told};

/// The `Host` of a request as its backend gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamHost {
    /// The client's.
    Keep,
    /// The host of the backend's URL, without the default port of its scheme (RFC 9110 section 4.2.3).
    Upstream,
    /// A configured host, with its port if it has one.
    Name(String),
}

impl UpstreamHost {
    const WORDS: [&'static str; 2] = ["keep", "upstream"];

    /// The host that a backend gets in every request; `None` for the client's.
    pub fn of(&self, upstream: &Upstream) -> Option<String> {
        match self {
            UpstreamHost::Keep => None,
            UpstreamHost::Name(name) => Some(name.clone()),
            UpstreamHost::Upstream => {
                let authority = upstream.authority();
                let default = match upstream.scheme {
                    Scheme::Http => ":80",
                    Scheme::Https => ":443",
                };
                Some(authority.strip_suffix(default).map_or(authority.clone(), str::to_owned))
            }
        }
    }

    /// Parses `keep`, `upstream`, or a host with or without a port. A host of one of these two names is written with its port:
    /// `keep:80`.
    pub(super) fn parse(text: &str) -> Result<UpstreamHost, String> {
        match text {
            "keep" => return Ok(UpstreamHost::Keep),
            "upstream" => return Ok(UpstreamHost::Upstream),
            _ => {}
        }
        if let Some(word) = nearest(&text.to_ascii_lowercase(), UpstreamHost::WORDS.into_iter())
            .or_else(|| UpstreamHost::WORDS.into_iter().find(|word| text.eq_ignore_ascii_case(word)))
        {
            return Err(format!(
                "unknown value '{}', did you mean '{word}'? A host of that name is written with its port: '{}:80'",
                told(text),
                told(text)
            ));
        }
        let fault = |reason: String| {
            format!(
                "invalid host '{}': {reason}; expected \"keep\", \"upstream\", or a host such as api.internal or api.internal:8080",
                told(text)
            )
        };
        if text.contains("://") {
            return Err(fault("it must not have a scheme".into()));
        }
        address::host_and_port(text).map_err(fault)?;
        Ok(UpstreamHost::Name(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_and_hosts() {
        assert_eq!(UpstreamHost::parse("keep"), Ok(UpstreamHost::Keep));
        assert_eq!(UpstreamHost::parse("upstream"), Ok(UpstreamHost::Upstream));
        for name in [
            "api.internal",
            "api.internal:8443",
            "localhost",
            "192.0.2.7:80",
            "[::1]",
            "[::1]:8080",
            "keep:80",
        ] {
            assert_eq!(UpstreamHost::parse(name), Ok(UpstreamHost::Name(name.to_owned())));
        }
        for bad in [
            "", "Keep", "upsteam", "kept.", "a b", "http://a", "a/b", "a:", "a:x", "a:0", "::1", "[::1",
            "a@b", "a..b", "ä",
        ] {
            assert!(UpstreamHost::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_host_of_a_backend() {
        for (url, host) in [
            ("https://a.example:443", "a.example"),
            ("https://a.example:80", "a.example:80"),
            ("http://a.example:80", "a.example"),
            ("http://[::1]:80", "[::1]"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            let upstream = address::upstream(url).unwrap();
            assert_eq!(UpstreamHost::Upstream.of(&upstream).as_deref(), Some(host));
            assert_eq!(UpstreamHost::Keep.of(&upstream), None);
            assert_eq!(UpstreamHost::Name("b:1".into()).of(&upstream).as_deref(), Some("b:1"));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = UpstreamHost::parse(&text);
        }
    }
}
