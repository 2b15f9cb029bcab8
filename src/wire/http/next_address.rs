//! The address that a login leads back to. It comes from a query or a form, so it may be anybody's.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::path::{RequestTarget, encode_query, normalize, unreserved};

/// The longest address.
const LONGEST: usize = 2048;

/// The characters that are encoded in a query: all but those that no server reads in another way.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// An address on this very origin: an absolute path with its query, in printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextAddress(String);

impl NextAddress {
    /// The address in a query or a form; `/` for one that could lead elsewhere, or that is one of the gate's own.
    pub fn parse(text: &[u8], prefix: &str) -> NextAddress {
        NextAddress::checked(text, prefix).unwrap_or_else(NextAddress::home)
    }

    /// The address of a request with that normalized path and query, as it would have been forwarded.
    pub fn of(path: &str, query: Option<&[u8]>, prefix: &str) -> NextAddress {
        let query = query.map(|query| [b"?", query].concat()).unwrap_or_default();
        NextAddress::parse(&[path.as_bytes(), &query].concat(), prefix)
    }

    /// The start page.
    pub fn home() -> NextAddress {
        NextAddress("/".to_owned())
    }

    fn checked(text: &[u8], prefix: &str) -> Option<NextAddress> {
        // Browsers drop a tab or line end anywhere, and take a backslash for a slash.
        let is_plain = |byte: &u8| (0x21..=0x7e).contains(byte) && *byte != b'\\';
        let is_path = |text: &[u8]| text.first() == Some(&b'/') && text.get(1) != Some(&b'/');
        if text.len() > LONGEST || !text.iter().all(is_plain) || !is_path(text) {
            return None;
        }
        let target = RequestTarget::split(text).ok()?;
        let mut address = normalize(target.path).ok()?.into_owned();
        if belongs_to(&address, prefix) {
            return None;
        }
        if let Some(query) = target.query {
            address.push('?');
            address.push_str(std::str::from_utf8(&encode_query(query).ok()?).ok()?);
        }
        // Again, since `/a/..//host` was a path.
        let is_valid =
            is_path(address.as_bytes()) && address.len() <= LONGEST && address.bytes().all(|b| is_plain(&b));
        is_valid.then_some(NextAddress(address))
    }

    /// The address, for `Location`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address as the value of a parameter.
    pub fn in_query(&self) -> String {
        utf8_percent_encode(&self.0, ENCODED).to_string()
    }

    /// Returns true for the start page.
    pub fn is_home(&self) -> bool {
        self.0 == "/"
    }
}

/// Returns true if a normalized path is the prefix, or below it.
pub fn belongs_to(path: &str, prefix: &str) -> bool {
    let path = unreserved(path);
    let start = path.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    const PREFIX: &str = "/-/gatepost";

    fn next(text: &str) -> String {
        NextAddress::parse(text.as_bytes(), PREFIX).as_str().to_owned()
    }

    #[test]
    fn paths_and_their_queries_are_kept() {
        for same in [
            "/",
            "/a/b",
            "/d/x?y=1&from=now-6h&to=now&var=%2F%2Fa%0d",
            "/a?",
            "/a?next=https://evil.test/",
            "/a??b=/../c",
            "/-/gatepostal",
            "/-/healthy",
            "/a//b",
        ] {
            assert_eq!(next(same), same);
        }
        assert_eq!(next("/a/./b/../c?d=/../e"), "/a/c?d=/../e");
        assert_eq!(next("/a?q=<x>"), "/a?q=%3Cx%3E");
        let long = format!("/{}", "a".repeat(LONGEST - 1));
        assert_eq!(next(&long), long);
    }

    #[test]
    fn everything_else_leads_to_the_start_page() {
        for other in [
            "",
            "a",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\/evil.test",
            "/\t/evil.test",
            "/\n/evil.test",
            " /a",
            "/a b",
            "/a\r\nSet-Cookie: x=y",
            "/a/..//evil.test",
            "/.//evil.test",
            "/%2e%2e//evil.test",
            "/%2e//evil.test",
            "/a/%2E./%2e/..//evil.test",
            "https://evil.test/",
            "http://dash.test/a",
            "javascript:alert(1)",
            "/a#b",
            "/ä",
            "/a?q=\\",
            "*",
            "?a",
            "/-/gatepost",
            "/-/gatepost/logout",
            "/-/GatePost/login?next=/",
            "/a/../-/gatepost/login",
            "/%2d/gatepost/login",
            "/-/%67atepost/login",
        ] {
            assert_eq!(next(other), "/", "{other:?}");
        }
        assert_eq!(next(&format!("/{}", "a".repeat(LONGEST))), "/");
        // It grows by its encoding.
        assert_eq!(next(&format!("/{}", "<".repeat(LONGEST - 1))), "/");
    }

    #[test]
    fn a_parameter_is_read_as_it_was() {
        for text in ["/a?b=c&d=%2f+e", "/", "/a%20b?'\"", "/a;b,c:d@e!$*()[]"] {
            let address = NextAddress::parse(text.as_bytes(), PREFIX);
            let form =
                crate::wire::PageForm::parse(format!("next={}", address.in_query()).as_bytes()).unwrap();
            assert_eq!(form.get("next"), Some(address.as_str()));
        }
    }

    /// The address where a browser arrives that is redirected there from a page of the gate, by the rules of WHATWG.
    fn arrival(address: &NextAddress) -> Url {
        Url::parse("https://dash.test/-/gatepost/login?next=x").unwrap().join(address.as_str()).unwrap()
    }

    fn check(text: &[u8]) -> Result<(), TestCaseError> {
        let address = NextAddress::parse(text, PREFIX);
        let url = arrival(&address);
        prop_assert_eq!(url.origin().ascii_serialization(), "https://dash.test");
        prop_assert!(url.username().is_empty() && url.password().is_none());
        prop_assert!(!belongs_to(url.path(), PREFIX), "{}", url);
        prop_assert!(address.as_str().bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        // What is checked is what the proxy forwards.
        prop_assert_eq!(NextAddress::parse(address.as_str().as_bytes(), PREFIX), address.clone());
        if !address.is_home() && text.contains(&b'?') {
            let query = |text: &[u8]| text.splitn(2, |byte| *byte == b'?').nth(1).map(<[u8]>::to_vec);
            let raw = query(text).unwrap();
            if encode_query(&raw).is_ok_and(|encoded| encoded[..] == raw[..]) {
                prop_assert_eq!(query(address.as_str().as_bytes()), Some(raw));
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_lead_to_another_host(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            check(&text)?;
        }

        #[test]
        fn no_path_leads_to_another_host(
            text in "(/|//|\\\\|\\.|\\.\\.|%2e|%2E|%2f|%5c|\t|\n|\r|@|:|\\?|#|-|gatepost|%67|evil\\.test|https:|a| |ä|%0d%0a){0,12}"
        ) {
            check(text.as_bytes())?;
            check(format!("/{text}").as_bytes())?;
        }
    }
}
