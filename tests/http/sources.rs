//! The source of failures over HTTP: the client that a trusted proxy names, otherwise the peer of the connection.

use crate::common::backend::Backend;
use crate::common::http::get;
use crate::common::mail::metric;
use crate::common::{Gateway, HOLDER, open_api};

/// A gateway behind proxies at these addresses.
fn behind(proxies: &str) -> (Gateway, Backend) {
    let backend = Backend::hello();
    let server = format!(
        "[server]\nthreads = 2\ntrusted_proxies = [\"{proxies}\"]\n[ops]\nlisten = \"127.0.0.1:0\"\n"
    );
    let gateway = Gateway::start(&format!("{server}{}", open_api(backend.address, "")));
    gateway.account("email,api,web");
    (gateway, backend)
}

/// A guess at somebody's password, never the same, sent on for this client; its status.
fn guess(gateway: &Gateway, forwarded_for: &str, number: usize) -> u16 {
    let login = format!("guess-{number}:passw0rd-0");
    get("/api/a.json").basic(&login).header("X-Forwarded-For", forwarded_for).send(gateway.api()).status
}

const BY_SOURCE: &str = "gatepost_throttled_total{by=\"source\",entry=\"api\"}";

#[test]
fn who_is_no_proxy_names_nobody() {
    let (gateway, _backend) = behind("192.0.2.250");
    let throttled = (0..60).any(|number| guess(&gateway, &format!("192.0.2.{number}"), number) == 429);
    assert!(throttled, "another name each time, and it may guess on");
    assert!(metric(&gateway, BY_SOURCE) >= 1);
    gateway.log().wait_for(&["\"throttled\"", "\"source\":\"127.0.0.1\""]);
    assert!(!gateway.log().text().contains("\"source\":\"192.0.2."));
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let (gateway, _backend) = behind("127.0.0.1");
    // What the client itself said before the proxy did is no name, and changes nothing.
    let guesser = |number: usize| format!("198.51.100.{number}, 192.0.2.1");
    assert_eq!(guess(&gateway, &guesser(0), 0), 401);
    assert!((1..60).any(|number| guess(&gateway, &guesser(number), number) == 429), "it may guess on");
    assert!(metric(&gateway, BY_SOURCE) >= 1);
    gateway.log().wait_for(&["\"throttled\"", "\"source\":\"192.0.2.1\""]);
    // Others behind the same proxy have their own failures.
    assert_eq!(guess(&gateway, "192.0.2.2", 100), 401);
    gateway.log().wait_for(&["\"guess-100\"", "\"unknown\"", "\"source\":\"192.0.2.2\""]);
    let right = get("/api/a.json").basic(HOLDER).header("X-Forwarded-For", "192.0.2.2").send(gateway.api());
    assert_eq!(right.status, 200);
    assert!(!gateway.log().text().contains("\"source\":\"127.0.0.1\""));
}
