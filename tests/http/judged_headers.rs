//! Method, headers and body that are judged are those that are forwarded, and only the gateway names the principal.

use std::collections::BTreeSet;

use crate::common::backend::{Backend, Received};
use crate::common::callers::{API, BASIC_API, NO_DELAYS, with_caller};
use crate::common::curl::curl;
use crate::common::http::{Connection, get, request};
use crate::common::{Gateway, api, configured, tls, write_config};

/// The names and values of the fields that a backend got, without those that Gatepost adds.
fn own_fields(received: &Received) -> Vec<(String, String)> {
    let added = |name: &str| {
        ["x-gatepost-", "x-forwarded-", "x-request-id"]
            .iter()
            .any(|start| name.to_ascii_lowercase().starts_with(start))
    };
    received
        .headers
        .iter()
        .filter(|(name, _)| !added(name))
        .cloned()
        .map(|(n, v)| (n.to_ascii_lowercase(), v))
        .collect()
}

#[test]
fn method_headers_and_body_stay_as_they_are() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let body: Vec<u8> = (0..300_000u32).map(|i| (i % 253) as u8).collect();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT", "post"] {
        for chunked in [false, true] {
            let sent = request(method, "/v3/things?b=2&a=1&a=%41+%20&empty=&&x")
                .basic(API)
                .header("Accept", "a/b;q=0.5, */*")
                .header("Cookie", "a=b; c=\"d\"")
                .header("X-Twice", "one")
                .header("x-twice", "two")
                .header("X-Empty", "")
                .header("X-Bytes", "t\u{fc}r")
                .header("If-None-Match", "W/\"x\"")
                .header("Content-Type", "application/octet-stream")
                .header("Content-Encoding", "gzip");
            let sent = if chunked { sent.chunked(&body[..]) } else { sent.body(&body[..]) };
            let response = connection.exchange(sent);
            assert_eq!(response.status, 200, "{method}: {}", response.text());
            let received = backend.next();
            assert_eq!(received.method, method);
            assert_eq!(received.target, "/v3/things?b=2&a=1&a=%41+%20&empty=&&x");
            assert!(received.body == body, "{method}: the body");
            let mut fields = own_fields(&received);
            let framing = match chunked {
                true => ("transfer-encoding".to_owned(), "chunked".to_owned()),
                false => ("content-length".to_owned(), body.len().to_string()),
            };
            fields.sort();
            let mut expected: Vec<(String, String)> = [
                ("host", "gate.test"),
                ("accept", "a/b;q=0.5, */*"),
                ("cookie", "a=b; c=\"d\""),
                ("x-twice", "one"),
                ("x-twice", "two"),
                ("x-empty", ""),
                ("x-bytes", "t\u{fc}r"),
                ("if-none-match", "W/\"x\""),
                ("content-type", "application/octet-stream"),
                ("content-encoding", "gzip"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
            expected.push(framing);
            expected.sort();
            assert_eq!(fields, expected, "{method}");
        }
    }
}

/// The number of headers whose name a backend could take for this one.
fn spelt(received: &Received, name: &str) -> Vec<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    received.headers.iter().filter(|(n, _)| plain(n) == name).map(|(_, value)| value.clone()).collect()
}

#[test]
fn an_identity_cannot_be_forged() {
    let backend = Backend::hello();
    let directory = configured("");
    let certificate = tls::certificate(directory.path());
    let rest = format!(
        "{NO_DELAYS}{}tls_listen = [\"127.0.0.1:0\"]\n[[api.route]]\npath = \"/open\"\npermission = \"public\"\n{certificate}",
        api(backend.address)
    );
    write_config(directory.path(), &rest);
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web").credential(API, "api");
    let spellings = |name: &str| {
        [
            name.to_owned(),
            name.to_ascii_lowercase(),
            name.to_ascii_uppercase(),
            name.replace('-', "_"),
            name.replacen('-', "_", 1),
            name.to_ascii_uppercase().replace('-', "_"),
            name.replace('-', "."),
            name.replace('-', "~"),
            name.to_owned(),
        ]
    };
    let names = [
        "X-Gatepost-User",
        "X-Gatepost-Account",
        "X-Gatepost-Permissions",
        "X-Gatepost-Whatever",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-User",
        "X-Request-Id",
        "Forwarded",
    ];
    let check = |received: &Received, signed_in: bool, context: &str| {
        let one = |name: &str, value: &str| assert_eq!(spelt(received, name), [value], "{context}: {name}");
        if signed_in {
            one("x-gatepost-user", "caller");
            one("x-gatepost-account", "acme");
            one("x-gatepost-permissions", "api");
        } else {
            for name in ["x-gatepost-user", "x-gatepost-account", "x-gatepost-permissions"] {
                assert_eq!(spelt(received, name), [""; 0], "{context}: {name}");
            }
        }
        one("x-forwarded-for", "127.0.0.1");
        assert_eq!(spelt(received, "x-request-id").len(), 1, "{context}");
        assert!(!received.contains("forged"), "{context}: {}", received.raw.escape_ascii());
    };
    let mut connection = Connection::open(gateway.api());
    for (target, signed_in) in [("/v3/stats", true), ("/open", false)] {
        for nominated in [
            "",
            "X-Gatepost-User",
            "x-gatepost-account, X-Gatepost-Permissions, close-not",
            "host, x-request-id",
        ] {
            let mut request = get(target);
            if signed_in {
                request = request.basic(API);
            }
            if !nominated.is_empty() {
                request = request.header("Connection", nominated);
            }
            for name in names.iter().flat_map(|name| spellings(name)) {
                request = request.header(&name, "forged");
            }
            let response = connection.exchange(request);
            assert_eq!(response.status, 200, "{target} {nominated:?}: {}", response.text());
            let received = backend.next();
            check(&received, signed_in, nominated);
            assert_eq!(received.header("host"), Some("gate.test"), "{nominated:?}");
        }
    }
    // In the trailers of a body, too.
    let bytes = request("POST", "/v3/stats").basic(API).chunked("x").bytes();
    let trailed =
        [&bytes[..bytes.len() - 2], b"X-Gatepost-User: forged\r\nX_Gatepost_User: forged\r\n\r\n"].concat();
    connection.write(&trailed);
    assert_eq!(connection.read_response().status, 200);
    check(&backend.next(), true, "trailers");
    // Over HTTP/2.
    let port = gateway.address("api.tls_listen").port();
    let (resolve, url) =
        (format!("{}:{port}:127.0.0.1", tls::NAME), format!("https://{}:{port}/v3/stats", tls::NAME));
    let cacert = gateway.directory.path().join("cert.pem");
    let mut arguments: Vec<String> =
        ["--http2", "--cacert", cacert.to_str().unwrap(), "--resolve", &resolve, "--user", API, &url]
            .map(Into::into)
            .into();
    for name in names.iter().flat_map(|name| spellings(name)) {
        arguments.extend(["--header".to_owned(), format!("{name}: forged")]);
    }
    let fetched = curl(&arguments);
    assert_eq!((fetched.status, &fetched.version[..]), (200, "2"), "{}", fetched.text());
    let received = backend.next();
    check(&received, true, "HTTP/2");
    assert_eq!(spelt(&received, "x-forwarded-proto"), ["https"]);
    assert!(received.header("host").is_some_and(|host| host.starts_with(tls::NAME)));
}

#[test]
fn hop_by_hop_fields_end_here() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop, keep-alive\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
          X-Own: 2\r\nProxy-Connection: close\r\nTrailer: X-T\r\nUpgrade: h2c\r\n\r\nok"
            .to_vec()
    });
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let response = connection.exchange(
        get("/v3/stats")
            .basic(API)
            .header("Connection", "keep-alive, X-Hop , upgrade, http2-settings")
            .header("X-Hop", "1")
            .header("X-Own", "2")
            .header("Keep-Alive", "timeout=5")
            .header("Proxy-Connection", "keep-alive")
            .header("Proxy-Authorization", "Basic eDp5")
            .header("TE", "trailers")
            .header("Trailer", "X-T")
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
    );
    assert_eq!(response.status, 200);
    let received = backend.next();
    let fields = own_fields(&received);
    let names: BTreeSet<&str> = fields.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, BTreeSet::from(["host", "x-own"]));
    for gone in ["keep-alive", "x-hop", "proxy-connection", "trailer", "upgrade"] {
        assert_eq!(response.header(gone), None, "{gone}");
    }
    assert_eq!(response.header("x-own"), Some("2"));
    assert!(response.header("connection").is_none_or(|c| c.eq_ignore_ascii_case("keep-alive")));
}

#[test]
fn where_a_request_comes_from() {
    let fields = |request: crate::common::http::Request| {
        request
            .header("X-Forwarded-For", "198.51.100.7, 10.0.0.1")
            .header("X-Forwarded-For", "10.0.0.2")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "shop.example.com")
            .basic(API)
    };
    let seen = |trusted: &str| {
        let backend = Backend::hello();
        let gateway = with_caller(&backend, trusted);
        assert_eq!(fields(get("/v3/stats")).send(gateway.api()).status, 200);
        let received = backend.next();
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host"]
            .map(|name| spelt(&received, name).join("|"))
    };
    assert_eq!(seen(""), ["127.0.0.1", "http", "gate.test", "gate.test"]);
    assert_eq!(
        seen("[server]\nthreads = 1\ntrusted_proxies = [\"192.0.2.0/24\"]\n"),
        ["127.0.0.1", "http", "gate.test", "gate.test"]
    );
    assert_eq!(
        seen("[server]\nthreads = 1\ntrusted_proxies = [\"127.0.0.1\"]\n"),
        ["198.51.100.7, 10.0.0.1, 10.0.0.2, 127.0.0.1", "https", "shop.example.com", "gate.test"]
    );
}

/// A request is for one host: an absolute target's (RFC 9112 section 3.2.2), which the field must not contradict.
#[test]
fn the_host_is_one() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let ask = |head: &str| {
        let mut connection = Connection::open(gateway.api());
        connection.write(format!("{head}{BASIC_API}\r\n").as_bytes());
        connection.try_response().map_or(0, |response| response.status)
    };
    assert_eq!(ask("GET http://other.test:81/a HTTP/1.1\r\nHost: other.test:81\r\n"), 200);
    let received = backend.next();
    assert_eq!((&received.target[..], spelt(&received, "host")), ("/a", vec!["other.test:81".to_owned()]));
    assert_eq!(spelt(&received, "x-forwarded-host"), ["other.test:81"]);
    assert_eq!(ask("GET http://other.test/a HTTP/1.1\r\nHost: gate.test\r\n"), 400);
    assert_eq!(ask("GET http://user:pass@gate.test/a HTTP/1.1\r\nHost: gate.test\r\n"), 400);
    assert_eq!(ask("GET /a HTTP/1.1\r\nHost: one.test\r\nHost: two.test\r\n"), 400);
    assert_eq!(ask("GET /a HTTP/1.1\r\n"), 400);
    for host in ["a b", "a/b", "a@b", "user@host", "a,b", "a\\b", "a?b", "a#b"] {
        assert_eq!(ask(&format!("GET /a HTTP/1.1\r\nHost: {host}\r\n")), 400, "{host}");
    }
    for host in ["gate.test", "gate.test:8080", "[::1]:80", "127.0.0.1", "GATE.test.", "xn--a_b"] {
        assert_eq!(ask(&format!("GET /a HTTP/1.1\r\nHost: {host}\r\n")), 200, "{host}");
        assert_eq!(backend.next().header("host"), Some(host));
    }
    assert!(backend.drain().is_empty());
}
