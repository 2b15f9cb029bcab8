//! Credentials for each permission, and requests that present one in each of the places where one may stand.

use super::backend::Backend;
use super::forms::{MULTIPART, URLENCODED, framed, multipart, urlencoded};
use super::http::{Request, get};
use super::{Gateway, api};

pub const ALL: &str = "everything:passw0rd-all";
pub const EMAIL: &str = "mailer:passw0rd-mail";
pub const API: &str = "caller:passw0rd-call";
/// The header line that presents [`API`].
pub const BASIC_API: &str = "Authorization: Basic Y2FsbGVyOnBhc3N3MHJkLWNhbGw=\r\n";
pub const WEB: &str = "viewer:passw0rd-view";
pub const NOTHING: &str = "nobody:passw0rd-none";

/// For tests of failures, which must not delay each other.
pub const NO_DELAYS: &str = "[auth]\nbcrypt_cost = 4\nthrottle = false\n";

/// The paths that send mail.
pub const SENDING: [&str; 3] = ["/api/mail.send.json", "/api/mail.send.xml", "/v3/mail/send"];

/// A gateway before `backend` that knows [`API`] alone, and delays nobody. `rest` comes before its `[api]`.
pub fn with_caller(backend: &Backend, rest: &str) -> Gateway {
    let gateway = Gateway::start(&format!("{NO_DELAYS}{rest}{}", api(backend.address)));
    gateway.account("email,api,web").credential(API, "api");
    gateway
}

/// Adds all of the above to the account.
pub fn with_credentials(gateway: &Gateway) {
    gateway
        .credential(ALL, "email,api,web")
        .credential(EMAIL, "email")
        .credential(API, "api")
        .credential(WEB, "web")
        .credential(NOTHING, "none");
}

/// The same request with its credential in each of the places where one may stand.
pub fn in_every_place(path: &str, login: &str) -> Vec<(&'static str, Request)> {
    let (user, key) = login.split_once(':').unwrap();
    let pair = format!("api_user={}&api_key={}", urlencoded(user), urlencoded(key));
    let (user, key) = (user.as_bytes(), key.as_bytes());
    let mut ways = vec![
        ("basic", get(path).basic(login)),
        ("basic, with a body", framed(path, "text/plain", "x", false).basic(login)),
        ("basic, with a form", framed(path, URLENCODED, "to=a%40b.c", true).basic(login)),
        ("query", get(&format!("{path}?{pair}"))),
        ("query, among others", get(&format!("{path}?a=1&{pair}&b=2"))),
        ("query, of a post", framed(&format!("{path}?{pair}"), URLENCODED, "", false)),
    ];
    for chunked in [false, true] {
        ways.extend([
            ("urlencoded, first", framed(path, URLENCODED, format!("{pair}&to=a%40b.c"), chunked)),
            (
                "urlencoded, last",
                framed(path, URLENCODED, format!("to=a%40b.c&text={}&{pair}", "t".repeat(90_000)), chunked),
            ),
            (
                "urlencoded, apart",
                framed(path, URLENCODED, format!("{}&x=1", pair.replace('&', "&to=a&")), chunked),
            ),
            (
                "multipart, first",
                framed(
                    path,
                    MULTIPART,
                    multipart(&[("api_user", user), ("api_key", key), ("to", b"a@b.c")]),
                    chunked,
                ),
            ),
            (
                "multipart, last",
                framed(
                    path,
                    MULTIPART,
                    multipart(&[("to", b"a@b.c"), ("api_user", user), ("api_key", key)]),
                    chunked,
                ),
            ),
            (
                "multipart, after attachments",
                framed(
                    path,
                    MULTIPART,
                    multipart(&[
                        ("files[a]", &[7; 200_000]),
                        ("api_key", key),
                        ("to", b"a"),
                        ("api_user", user),
                    ]),
                    chunked,
                ),
            ),
        ]);
    }
    ways
}
