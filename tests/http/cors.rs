//! Scripts of pages on other sites: preflights and Gatepost's own answers, for the origins that are listed.

use crate::common::backend::Backend;
use crate::common::callers::{API, NO_DELAYS};
use crate::common::forms::{URLENCODED, form};
use crate::common::http::{Connection, Request, Response, get, request};
use crate::common::http2::{ask, http2, whole};
use crate::common::tls::Authority;
use crate::common::{Gateway, HOLDER, http2 as over_tls, open_api};

const APP: &str = "https://app.example";
const KEYS: &str = "cors_origins = [\"https://app.example\", \"http://localhost:3000\"]\n";

fn start(backend: &Backend, rest: &str) -> Gateway {
    let gateway = Gateway::start(&format!("{rest}{}", open_api(backend.address, KEYS)));
    gateway.account("email,api,web").credential(API, "api");
    gateway
}

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    request("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization,content-type")
}

fn cors_fields(response: &Response) -> Vec<&str> {
    let fields = response.headers.iter().map(|(name, _)| name.as_str());
    fields.filter(|name| name.starts_with("access-control-")).collect()
}

// Case B3: preflights of listed origins are answered without a credential, and however many there are.
#[test]
fn preflights_are_answered() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    let mut connection = Connection::open(gateway.api());
    for round in 0..15 {
        for origin in [APP, "http://localhost:3000"] {
            for (path, method, methods) in [
                ("/v3/stats?days=7", "DELETE", "DELETE"),
                ("/api/mail.send.json", "POST", "POST"),
                ("/api/credentials/add.json", "POST", "GET, POST"),
                ("/api/credentials/nosuch.json", "GET", "GET, POST"),
                ("/a%3Fb", "PATCH", "PATCH"),
            ] {
                let response = connection.exchange(preflight(path, origin, method));
                assert_eq!(response.status, 204, "{round} {path}: {}", response.text());
                let field = |name: &str| response.header(name);
                assert_eq!(field("access-control-allow-origin"), Some(origin));
                assert_eq!(field("access-control-allow-methods"), Some(methods), "{path}");
                assert_eq!(field("access-control-allow-headers"), Some("authorization, content-type"));
                assert_eq!(field("access-control-max-age"), Some("600"));
                assert_eq!(field("access-control-allow-credentials"), None);
                assert_eq!(field("access-control-allow-private-network"), None);
                assert!(field("vary").unwrap().starts_with("Origin"));
                assert_eq!((field("content-length"), response.body.len()), (None, 0));
            }
        }
    }
    let private = preflight("/v3/stats", APP, "GET").header("Access-Control-Request-Private-Network", "true");
    let response = connection.exchange(private);
    assert_eq!(response.header("access-control-allow-private-network"), Some("true"));
    assert_eq!(connection.reopened, 0);
    assert!(backend.drain().is_empty());
    // None of them counted as a failed attempt.
    assert_eq!(connection.exchange(get("/v3/stats").basic(API)).status, 200);
    assert!(!gateway.log().text().contains("no credential"));
}

// Case B3: a preflight of another origin, and what is none, is treated like any other request.
#[test]
fn other_preflights_are_refused_as_ever() {
    let backend = Backend::hello();
    let gateway = start(&backend, NO_DELAYS);
    let unlisted = Gateway::start(&format!("{NO_DELAYS}{}", open_api(backend.address, "")));
    let others = [
        (&gateway, preflight("/v3/stats", "https://evil.example", "GET")),
        (&gateway, preflight("/v3/stats", "null", "GET")),
        (&gateway, preflight("/v3/stats", "https://app.example:443", "GET")),
        (&gateway, preflight("/v3/stats", "https://APP.example", "GET")),
        (&gateway, preflight("/v3/stats", APP, "GET").header("Origin", APP)),
        (&gateway, request("OPTIONS", "/v3/stats").header("Access-Control-Request-Method", "GET")),
        (&unlisted, preflight("/v3/stats", APP, "GET")),
    ];
    for (gateway, way) in others {
        let response = way.send(gateway.api());
        assert_eq!((response.status, cors_fields(&response)), (401, vec![]));
    }
    let management = preflight("/api/credentials/get.json", "https://evil.example", "GET");
    let response = management.send(gateway.api());
    assert_eq!((response.status, cors_fields(&response)), (405, vec![]));
    // Without the method it is no preflight, and the answer can be read.
    let response = request("OPTIONS", "/v3/stats").header("Origin", APP).send(gateway.api());
    assert_eq!((response.status, response.header("access-control-allow-origin")), (401, Some(APP)));
    assert!(backend.drain().is_empty());
}

// Case B3: refusals and answers of the management can be read by scripts of listed origins, and of no others.
#[test]
fn own_answers_can_be_read() {
    let backend = Backend::hello();
    let gateway = start(&backend, NO_DELAYS);
    let mut connection = Connection::open(gateway.api());
    let ways = || {
        [
            (401, get("/v3/stats")),
            (401, get("/v3/stats").basic("caller:wrong-passw0rd")),
            (403, get("/api/mail.send.json").basic(API)),
            (400, get("/v3/stats?api_user=x").basic(API)),
            (400, get("/v3%2Fmail/send")),
            (200, get("/api/credentials/get.json").basic(HOLDER)),
            (
                200,
                form("/api/credentials/add.json", URLENCODED, "username=new&password=new-passw0rd")
                    .basic(HOLDER),
            ),
            (404, get("/api/credentials/get.json?username=unknown").basic(HOLDER)),
            (404, get("/api/credentials/nosuch.json")),
            (405, request("PUT", "/api/credentials/get.json")),
        ]
    };
    for (expected, way) in ways() {
        let response = connection.exchange(way.header("Origin", APP).header("Sec-Fetch-Site", "cross-site"));
        assert_eq!(response.status, expected, "{}", response.text());
        assert_eq!(response.header("access-control-allow-origin"), Some(APP), "{expected}");
        assert_eq!(response.header("access-control-allow-credentials"), None);
        let exposed = response.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("X-Request-Id") && exposed.contains("Retry-After"), "{exposed}");
        assert_eq!(response.header("vary"), Some("Origin"));
    }
    for origin in ["https://evil.example", "null"] {
        for (_, way) in ways() {
            let response = connection.exchange(way.header("Origin", origin));
            assert_eq!((cors_fields(&response), response.header("vary")), (vec![], Some("Origin")));
        }
    }
    backend.drain();
    // A long list comes in pieces.
    for number in 0..1001 {
        let (status, text) = gateway.manage("add", &format!("username=many-{number}&password=many-passw0rd"));
        assert_eq!(status, 200, "{text}");
    }
    let response = connection.exchange(get("/api/credentials/get.json").basic(HOLDER).header("Origin", APP));
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(response.header("access-control-allow-origin"), Some(APP));
}

// Case B3: a backend's response has the fields that the backend gave it.
#[test]
fn a_backend_keeps_its_own_fields() {
    let backend = Backend::answering(|received| {
        let own = match received.header("origin") {
            Some(origin) if received.target.contains("cors") => {
                format!("Access-Control-Allow-Origin: {origin}\r\nVary: Accept\r\n")
            }
            _ => String::new(),
        };
        format!("HTTP/1.1 200 OK\r\n{own}Content-Length: 2\r\n\r\nok").into_bytes()
    });
    let gateway = start(&backend, "");
    let mut connection = Connection::open(gateway.api());
    for path in ["/v3/cors", "/open/cors"] {
        let response = connection.exchange(get(path).basic(API).header("Origin", APP));
        let fields = |name: &str| response.headers.iter().filter(|(n, _)| n == name).count();
        assert_eq!((fields("access-control-allow-origin"), fields("vary")), (1, 1));
        assert_eq!(response.header("access-control-expose-headers"), None);
    }
    let response = connection.exchange(get("/v3/plain").basic(API).header("Origin", APP));
    assert_eq!((cors_fields(&response), response.header("vary")), (vec![], None));
    // A preflight for a public path is the backend's to answer.
    backend.drain();
    let response = connection.exchange(preflight("/open/cors", APP, "PUT"));
    assert_eq!((response.status, response.header("access-control-allow-origin")), (200, Some(APP)));
    let received = backend.next();
    assert_eq!(
        (received.method.as_str(), received.header("access-control-request-method")),
        ("OPTIONS", Some("PUT"))
    );
}

// Cases B3 and B4: a page of a listed origin may use a stored login.
#[test]
fn a_listed_origin_is_not_foreign() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    let mut connection = Connection::open(gateway.api());
    for (origin, expected) in [(APP, 200), ("https://evil.example", 403), ("null", 403)] {
        for way in [
            form("/v3/stats", URLENCODED, "a=1").basic(API),
            request("DELETE", "/v3/stats").basic(API),
            get("/api/credentials/get.json").basic(HOLDER),
        ] {
            let way = way.header("Origin", origin).header("Sec-Fetch-Site", "cross-site");
            assert_eq!(connection.exchange(way).status, expected, "{origin}");
        }
    }
    // An image or a link has no Origin.
    let way = get("/api/credentials/get.json").basic(HOLDER).header("Sec-Fetch-Site", "cross-site");
    assert_eq!(connection.exchange(way).status, 403);
}

// Case B3: the same over HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn preflights_and_refusals_over_http2() {
    let backend = Backend::hello();
    let authority = Authority::new();
    let gateway = over_tls::start(&authority, backend.address, KEYS);
    let mut client = http2(&gateway, &authority).await;
    let origin = ("origin", APP);
    let fields =
        [origin, ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-a")];
    let response = ask(&mut client, "OPTIONS", "/v3/stats", &fields, true).0.await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["access-control-allow-origin"]),
        (204, &APP.parse().unwrap())
    );
    let (_, body) = whole(response).await.unwrap();
    assert!(body.is_empty());
    let response = ask(&mut client, "GET", "/v3/stats", &[origin], true).0.await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["access-control-allow-origin"]),
        (401, &APP.parse().unwrap())
    );
    assert!(backend.drain().is_empty());
}
