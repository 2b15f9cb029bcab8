//! Requests of pages from other sites that may read the answer: the fields of CORS (Fetch Standard, section 3.3).

use super::characters::is_token;
use crate::config::AllowedOrigin;

/// A field of an answer.
pub type CorsField = (&'static str, String);

/// The seconds for which a browser may remember the answer to a preflight. A changed configuration is noticed after that.
const MAX_AGE: u32 = 600;

/// The most bytes, and the most names, of `Access-Control-Request-Headers` that are allowed as they are asked for.
const LONGEST_REQUEST_HEADERS: usize = 4096;
const MOST_REQUEST_HEADERS: usize = 128;

/// The longest method that is allowed as it is asked for.
const LONGEST_METHOD: usize = 32;

/// The fields of an answer that a script may read besides the usual ones: when to try again, and the request ID.
const EXPOSED: &str = "Retry-After, WWW-Authenticate, X-Request-Id";

/// The one of `origins` that a request comes from: the value of its only `Origin`, byte by byte.
pub fn listed_origin<'o, 'v>(
    origins: &'o [AllowedOrigin],
    values: impl IntoIterator<Item = &'v [u8]>,
) -> Option<&'o AllowedOrigin> {
    if origins.is_empty() {
        return None;
    }
    let mut values = values.into_iter();
    let value = values.next()?;
    let listed = origins.iter().find(|origin| origin.as_str().as_bytes() == value);
    listed.filter(|_| values.next().is_none())
}

/// The fields by which a page of that origin may read an answer; `None` for a page of any other.
pub fn answer_fields(origin: Option<&AllowedOrigin>) -> Vec<CorsField> {
    // A cache between must not give the answer to a page of another origin.
    let mut fields = vec![("vary", "Origin".to_owned())];
    if let Some(origin) = origin {
        fields.push(("access-control-allow-origin", origin.to_string()));
        fields.push(("access-control-expose-headers", EXPOSED.to_owned()));
    }
    fields
}

/// A preflight: the question of a browser, if a page may send a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight<'a> {
    /// `Access-Control-Request-Method`
    pub method: &'a [u8],
    /// The lines of `Access-Control-Request-Headers`.
    pub headers: Vec<&'a [u8]>,
    /// True with `Access-Control-Request-Private-Network: true`.
    pub private_network: bool,
}

impl Preflight<'_> {
    /// The fields of the answer for a page of that origin. `methods` are those of the path; `None` allows the one that is asked for.
    pub fn answer_fields(&self, origin: &AllowedOrigin, methods: Option<&'static str>) -> Vec<CorsField> {
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, \
                    Access-Control-Request-Private-Network";
        let mut fields = vec![
            ("vary", vary.to_owned()),
            ("access-control-allow-origin", origin.to_string()),
            ("access-control-max-age", MAX_AGE.to_string()),
        ];
        let methods = methods.map(str::to_owned).or_else(|| self.method());
        fields.extend(methods.map(|methods| ("access-control-allow-methods", methods)));
        fields.extend(self.headers().map(|headers| ("access-control-allow-headers", headers)));
        if self.private_network {
            fields.push(("access-control-allow-private-network", "true".to_owned()));
        }
        fields
    }

    fn method(&self) -> Option<String> {
        // No browser sends these for a page (Fetch Standard, section 2.2.1).
        let forbidden = [&b"CONNECT"[..], b"TRACE", b"TRACK"];
        let is_forbidden = forbidden.iter().any(|method| method.eq_ignore_ascii_case(self.method));
        let is_good = is_name(self.method) && self.method.len() <= LONGEST_METHOD && !is_forbidden;
        is_good.then(|| String::from_utf8_lossy(self.method).into_owned())
    }

    /// The names that are asked for; `None` if there are none, or more than any page has a use for.
    fn headers(&self) -> Option<String> {
        if self.headers.iter().map(|line| line.len()).sum::<usize>() > LONGEST_REQUEST_HEADERS {
            return None;
        }
        let names = self.headers.iter().flat_map(|line| line.split(|b| *b == b','));
        let names: Vec<&[u8]> = names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()).collect();
        let is_good =
            (1..=MOST_REQUEST_HEADERS).contains(&names.len()) && names.iter().all(|name| is_name(name));
        is_good.then(|| String::from_utf8_lossy(&names.join(&b", "[..])).into_owned())
    }
}

/// Returns true for a token, except `*`, which allows everything in an answer.
fn is_name(text: &[u8]) -> bool {
    text != b"*" && is_token(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn origins() -> Vec<AllowedOrigin> {
        let text = "[api]\nlisten = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:1']\n\
                    cors_origins = ['https://app.test', 'http://app.test:8080']\n";
        Config::parse(text, "test.toml").unwrap().api.unwrap().cors_origins
    }

    #[test]
    fn an_origin_is_listed_or_not() {
        let origins = origins();
        let listed = |values: &[&str]| {
            listed_origin(&origins, values.iter().map(|value| value.as_bytes())).map(AllowedOrigin::as_str)
        };
        assert_eq!(listed(&["https://app.test"]), Some("https://app.test"));
        assert_eq!(listed(&["http://app.test:8080"]), Some("http://app.test:8080"));
        for other in [
            "",
            "null",
            "*",
            "https://app.test:443",
            "https://APP.test",
            "http://app.test",
            "https://app.test.evil",
        ] {
            assert_eq!(listed(&[other]), None, "{other}");
        }
        assert_eq!(listed(&[]), None);
        assert_eq!(listed(&["https://app.test", "https://app.test"]), None);
        assert_eq!(listed_origin(&[], [&b"https://app.test"[..]]), None);
    }

    fn answer(method: &str, headers: &[&str], methods: Option<&'static str>) -> Vec<CorsField> {
        let headers = headers.iter().map(|line| line.as_bytes()).collect();
        let preflight = Preflight { method: method.as_bytes(), headers, private_network: false };
        preflight.answer_fields(&origins()[0], methods)
    }

    fn value<'f>(fields: &'f [CorsField], name: &str) -> Option<&'f str> {
        fields.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn what_is_asked_for_within_reason_is_allowed() {
        let fields = answer("PUT", &["authorization,content-type", " X-A "], None);
        assert_eq!(value(&fields, "access-control-allow-methods"), Some("PUT"));
        assert_eq!(value(&fields, "access-control-allow-headers"), Some("authorization, content-type, X-A"));
        assert_eq!(
            value(&answer("PUT", &[], Some("GET, POST")), "access-control-allow-methods"),
            Some("GET, POST")
        );
        for method in ["", "*", "a b", "CONNECT", "trace", &"x".repeat(33)] {
            assert_eq!(value(&answer(method, &[], None), "access-control-allow-methods"), None, "{method}");
        }
        for headers in
            ["", ",", "*", "a, *", "a b", "a\r\nb", "a:", "ä", &"x".repeat(4097), &"x,".repeat(129)]
        {
            assert_eq!(
                value(&answer("PUT", &[headers], None), "access-control-allow-headers"),
                None,
                "{headers}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_value_can_be_a_field(method: Vec<u8>, headers: Vec<Vec<u8>>, private_network: bool) {
            let headers = headers.iter().map(Vec::as_slice).collect();
            let preflight = Preflight { method: &method, headers, private_network };
            for (name, value) in preflight.answer_fields(&origins()[0], None) {
                prop_assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)), "{name}: {value}");
                prop_assert!(name != "access-control-allow-credentials" && value != "*");
            }
        }
    }
}
