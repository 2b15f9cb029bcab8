//! What has to be true of what browsers send to Gatepost's own pages.

use gatepost::wire::{NextAddress, belongs_to, cookies, sets_own_cookie, without_own_cookies};
use url::Url;

/// The names of Gatepost's own cookies.
const NAMES: [&str; 4] = ["__Host-gatepost", "__Host-gatepost-console", "gatepost", "gatepost-console"];

/// No cookie of Gatepost is left in what backends get, all others are, in their order, and doing it again changes nothing. A cookie
/// that a backend may set is none of them once a browser returns it.
pub fn own_cookies(field: &[u8]) {
    // No header has others.
    if field.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return;
    }
    let has_own =
        |field: &[u8]| NAMES.iter().any(|name| cookies(std::iter::once(field), name).next().is_some());
    let rest = without_own_cookies(field);
    let rest = rest.as_deref().unwrap_or_default();
    assert!(!has_own(rest));
    assert_eq!(without_own_cookies(rest).as_deref().unwrap_or_default(), rest);
    let trimmed = |cookie: &[u8]| cookie.trim_ascii().to_vec();
    let all = |field: &[u8]| field.split(|byte| *byte == b';').map(trimmed).collect::<Vec<_>>();
    let mut came = all(field).into_iter();
    assert!(all(rest).iter().all(|cookie| cookie.is_empty() || came.any(|other| other == *cookie)));
    if !has_own(field) && !field.to_ascii_lowercase().windows(8).any(|part| part == b"gatepost") {
        assert_eq!(rest, field);
    }
    // As a browser keeps and returns it: name and value, or the value alone.
    let pair = field.split(|byte| *byte == b';').next().unwrap_or_default();
    let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()),
        None => (&b""[..], pair.trim_ascii()),
    };
    let returned = if name.is_empty() { value.to_vec() } else { [name, b"=", value].concat() };
    assert!(sets_own_cookie(field) || !has_own(&returned));
}

/// A browser that is led to the address stays on the origin, and outside of the gate's own pages. The address is one that the proxy
/// would forward as it is.
pub fn next_address(text: &[u8]) {
    const PREFIX: &str = "/-/gatepost";
    let address = NextAddress::parse(text, PREFIX);
    let base = Url::parse("https://dash.test/-/gatepost/login?next=x").expect("it is valid");
    let arrival = base.join(address.as_str()).expect("it is an address");
    assert_eq!(arrival.origin(), base.origin());
    assert!(arrival.username().is_empty() && arrival.password().is_none());
    assert!(!belongs_to(arrival.path(), PREFIX));
    assert!(address.as_str().bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    assert_eq!(NextAddress::parse(address.as_str().as_bytes(), PREFIX), address);
}
