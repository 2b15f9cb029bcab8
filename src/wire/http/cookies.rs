//! The cookies of Gatepost's own sessions: found in `Cookie`, removed from it towards backends, and refused in their `Set-Cookie`.
//!
//! Cookies are split as browsers and servers split them (RFC 6265 sections 4.2.1 and 5.2): at each `;`, and at the first `=`.

use std::borrow::Cow;

/// The name of the gate's cookie over TLS.
pub const GATE_COOKIE: &str = "__Host-gatepost";
/// The name of the console's cookie over TLS.
pub const CONSOLE_COOKIE: &str = "__Host-gatepost-console";
/// The start of the names that browsers accept over TLS only. Without TLS, the names lack it.
const PREFIX: &str = "__Host-";

/// The name of a cookie on a connection without TLS.
pub fn without_prefix(name: &'static str) -> &'static str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The values of all cookies with that name, in the order in which they came.
pub fn cookies<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let all = fields.flat_map(|field| field.split(|byte| *byte == b';'));
    all.filter_map(move |cookie| {
        let equals = memchr::memchr(b'=', cookie)?;
        let is_it = blank_trimmed(&cookie[..equals]) == name.as_bytes();
        is_it.then(|| blank_trimmed(&cookie[equals + 1..]))
    })
}

/// The value of a field `Cookie` without the cookies of Gatepost; `None` if nothing is left. Everything else stays byte for byte.
pub fn without_own_cookies(field: &[u8]) -> Option<Cow<'_, [u8]>> {
    let is_own = |cookie: &&[u8]| is_own_name(name_of(cookie));
    let cookies = || field.split(|byte| *byte == b';');
    if !cookies().any(|cookie| is_own(&cookie)) {
        return Some(Cow::Borrowed(field));
    }
    let rest: Vec<&[u8]> = cookies().filter(|cookie| !is_own(cookie)).collect();
    let rest = rest.join(&b';');
    let start = rest.iter().position(|byte| !is_blank(*byte))?;
    // Behind the last cookie there may be a `;` alone.
    let is_empty = rest.iter().all(|byte| is_blank(*byte) || *byte == b';');
    (!is_empty).then(|| Cow::Owned(rest[start..].to_vec()))
}

/// Returns true if a field `Set-Cookie` sets a cookie that browsers would send as one of Gatepost's.
pub fn sets_own_cookie(field: &[u8]) -> bool {
    let pair = field.split(|byte| *byte == b';').next().unwrap_or_default();
    let (name, value) = match memchr::memchr(b'=', pair) {
        Some(equals) => (blank_trimmed(&pair[..equals]), &pair[equals + 1..]),
        None => (&b""[..], pair),
    };
    // Browsers send a cookie without a name as its value alone.
    is_own_name(if name.is_empty() { name_of(value) } else { name })
}

/// The name of a cookie; its whole text if it has no `=`.
fn name_of(cookie: &[u8]) -> &[u8] {
    blank_trimmed(&cookie[..memchr::memchr(b'=', cookie).unwrap_or(cookie.len())])
}

/// Returns true for the name of a cookie of Gatepost. Browsers compare a part of the name without regard to case, and so do some
/// servers with the whole.
fn is_own_name(name: &[u8]) -> bool {
    let name = quotes_trimmed(name);
    let is_prefixed =
        name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()));
    let rest = if is_prefixed { &name[PREFIX.len()..] } else { name };
    [GATE_COOKIE, CONSOLE_COOKIE].iter().any(|own| rest.eq_ignore_ascii_case(without_prefix(own).as_bytes()))
}

/// A name without quotes around it, with which no browser sends it. Some servers remove them.
fn quotes_trimmed(name: &[u8]) -> &[u8] {
    match name {
        [b'"', inner @ .., b'"'] => blank_trimmed(inner),
        _ => name,
    }
}

/// A text without blanks and control characters around it. Servers differ in what they remove.
fn blank_trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(*byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

fn is_blank(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without(field: &str) -> Option<String> {
        without_own_cookies(field.as_bytes()).map(|rest| String::from_utf8(rest.into_owned()).unwrap())
    }

    #[test]
    fn own_cookies_are_removed_and_no_other() {
        for (field, expected) in [
            ("a=b", Some("a=b")),
            ("", Some("")),
            (" a=b ;; c ", Some(" a=b ;; c ")),
            ("__Host-gatepost=1.x", None),
            ("__Host-gatepost=1.x; a=b", Some("a=b")),
            ("a=b; __Host-gatepost=1.x", Some("a=b")),
            ("a=b; __Host-gatepost=1.x; c=\"d; e\"", Some("a=b; c=\"d; e\"")),
            ("a=b;__Host-gatepost=1.x;c=d", Some("a=b;c=d")),
            ("__Host-gatepost=1.x;", None),
            (";__Host-gatepost=1.x; ;", None),
            ("  __HOST-Gatepost\t = \"1.x\" ; a=b", Some("a=b")),
            ("gatepost=1.x; gatepost-console=2.y; __Host-gatepost-console=3.z; a=b", Some("a=b")),
            ("\"__Host-gatepost\"=1.x; a=b", Some("a=b")),
            ("__Host-gatepost", None),
            ("a=__Host-gatepost=1.x", Some("a=__Host-gatepost=1.x")),
            (
                "gatepost2=a; xgatepost=b; __Host-gatepost-c=d",
                Some("gatepost2=a; xgatepost=b; __Host-gatepost-c=d"),
            ),
            ("__Secure-gatepost=a", Some("__Secure-gatepost=a")),
            ("__Host-gatepost=1.x; __Host-gatepost=2.y; a=b; __Host-gatepost=3", Some("a=b")),
        ] {
            assert_eq!(without(field).as_deref(), expected, "{field:?}");
        }
    }

    #[test]
    fn own_cookies_are_found() {
        let found = |fields: &[&str], name| -> Vec<String> {
            let fields = fields.iter().map(|field| field.as_bytes());
            cookies(fields, name).map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
        };
        assert_eq!(
            found(&["a=b; __Host-gatepost = 1.x ", "__Host-gatepost=2=y;"], GATE_COOKIE),
            ["1.x", "2=y"]
        );
        assert!(
            found(&["__host-gatepost=1.x", "__Host-gatepost", "x__Host-gatepost=1"], GATE_COOKIE).is_empty()
        );
        assert_eq!(found(&["gatepost=1"], without_prefix(GATE_COOKIE)), ["1"]);
        assert!(found(&["gatepost-console=1"], without_prefix(GATE_COOKIE)).is_empty());
    }

    #[test]
    fn set_cookies_of_own_names_are_seen() {
        for field in [
            "__Host-gatepost=x; Path=/; Secure",
            "  __Host-gatepost =x",
            "\t__host-GATEPOST=x",
            "gatepost=x",
            "GATEPOST=; Max-Age=0",
            "gatepost-console=x",
            "=__Host-gatepost=x",
            " = __Host-gatepost=x",
            "=gatepost",
            "__Host-gatepost",
            "__Host-gatepost; Path=/",
            "\"gatepost\"=x",
        ] {
            assert!(sets_own_cookie(field.as_bytes()), "{field}");
        }
        for field in [
            "",
            "=",
            "a=__Host-gatepost=x",
            "gatepostx=y",
            "a=b; gatepost=x",
            "__Secure-gatepost=x",
            "__Host-other=x",
            "==__Host-gatepost=x",
        ] {
            assert!(!sets_own_cookie(field.as_bytes()), "{field}");
        }
    }

    /// The cookies of a field as a server sees them: name and value, trimmed.
    fn seen(field: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pair = |cookie: &[u8]| {
            let (name, value) = match cookie.iter().position(|byte| *byte == b'=') {
                Some(at) => (&cookie[..at], &cookie[at + 1..]),
                None => (cookie, &b""[..]),
            };
            (blank_trimmed(name).to_vec(), blank_trimmed(value).to_vec())
        };
        field.split(|byte| *byte == b';').map(pair).collect()
    }

    proptest! {
        #[test]
        fn the_others_stay_as_they_are(field in "([a-c_=\" \t;]|gatepost|__Host-|__host-|-console){0,12}") {
            let field = field.as_bytes();
            let rest = without_own_cookies(field);
            let own = |name: &[u8]| is_own_name(name);
            let kept: Vec<_> = seen(field).into_iter().filter(|(name, _)| !own(name)).collect();
            let got = rest.as_deref().map(seen).unwrap_or_default();
            prop_assert!(got.iter().all(|(name, _)| !own(name)));
            let filled = |all: Vec<(Vec<u8>, Vec<u8>)>| -> Vec<_> {
                all.into_iter().filter(|pair| *pair != (Vec::new(), Vec::new())).collect()
            };
            prop_assert_eq!(filled(got), filled(kept));
        }

        #[test]
        fn no_bytes_panic(field in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (without_own_cookies(&field), sets_own_cookie(&field));
            let _ = cookies(std::iter::once(&field[..]), GATE_COOKIE).count();
        }
    }
}
