//! What is judged is what is forwarded: path, method, headers, body; and one request stays one request.

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;

use common::backend::{Backend, Received};
use common::curl::curl;
use common::http::{Connection, get, request};
use common::{Gateway, HOLDER, api, configured, tls, write_config};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const API: &str = "caller:passw0rd-call";
const BASIC_API: &str = "Authorization: Basic Y2FsbGVyOnBhc3N3MHJkLWNhbGw=\r\n";

const NO_DELAYS: &str = "[auth]\nbcrypt_cost = 4\nthrottle = false\n";

fn start(backend: &Backend, rest: &str) -> Gateway {
    let gateway = Gateway::start(&format!("{NO_DELAYS}{rest}{}", api(backend.address)));
    gateway.account("email,api,web").credential(API, "api");
    gateway
}

/// Sends a path as it is.
fn raw_path(connection: &mut Connection, path: &[u8], login: &str) -> u16 {
    let marker = "/placed-here";
    let bytes = get(marker).basic(login).bytes();
    let at = memchr::memmem::find(&bytes, marker.as_bytes()).unwrap();
    let sent = [&bytes[..at], path, &bytes[at + marker.len()..]].concat();
    connection.reopen_if_closing();
    connection.write(&sent);
    connection.try_response().map_or(0, |response| response.status)
}

#[test]
fn paths_are_made_plain_or_refused() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let plain: [(&str, &str); 30] = [
        ("/", "/"),
        ("/a/b?c=/../d", "/a/b?c=/../d"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../../b", "/b"),
        ("/a/..", "/"),
        ("//a///b//", "/a/b/"),
        ("//host/a", "/host/a"),
        ("/%2e%2E/b", "/b"),
        ("/a/%2e/b/.%2e/c", "/a/c"),
        ("/%61%2Db%5F%7e", "/a-b_~"),
        ("/A/b/", "/A/b/"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/a?b?c%00", "/a?b?c%00"),
        ("/100%25", "/100%25"),
        ("/{a}|b", "/%7Ba%7D%7Cb"),
        ("http://gate.test/a/../b?c", "/b?c"),
        ("HTTP://gate.test//b", "/b"),
        ("https://gate.test/b", "/b"),
        ("http://gate.test", "/"),
        ("http://gate.test?c", "/?c"),
        ("/api/mail.send.json", "/api/mail.send.json"),
        ("/x/../api/mail%2esend%2ejson", "/api/mail.send.json"),
        ("/API/mail.send.json/", "/API/mail.send.json/"),
        ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
        ("/?", "/?"),
        ("/a b", "/a%20b"),
        ("/a#b", "/a"),
        ("/a?b#c", "/a?b"),
    ];
    for (path, expected) in plain {
        assert_eq!(raw_path(&mut connection, path.as_bytes(), HOLDER), 200, "{path}");
        assert_eq!(backend.next().target, expected, "{path}");
    }
    let refused: [&[u8]; 38] = [
        b"/a%2fb",
        b"/a%2Fb",
        b"/a%5cb",
        b"/a\\b",
        b"/..%5c..%5cb",
        b"/a%00",
        b"/a%00.json",
        b"/a\0",
        b"/a%0d%0aX: y",
        b"/a%09b",
        b"/a%7f",
        b"/%c0%ae%c0%ae/b",
        b"/%c0%afb",
        b"/%e0%80%afb",
        b"/%f0%80%80%af",
        b"/%ff",
        b"/\xff",
        b"/\xc0\xae",
        b"/%ed%a0%80",
        b"/%252e%252e/b",
        b"/%25%32%65",
        b"/%2525%32e",
        b"/%u002e",
        b"/a%",
        b"/a%4",
        b"/a%zz",
        b"/a;b",
        b"/a;/../b",
        b"/a%3bb",
        b"/a./b",
        b"/a.../b",
        b"/a%20/b",
        b"*",
        b"a/b",
        b"gate.test:80",
        b"ftp://gate.test/a",
        b"http:///a",
        b"http:/a",
    ];
    for path in refused {
        let status = raw_path(&mut connection, path, HOLDER);
        assert_eq!(status, 400, "{}", path.escape_ascii());
    }
    let targets: Vec<String> = backend.drain().into_iter().map(|received| received.target).collect();
    assert!(targets.is_empty(), "{targets:?}");
}

/// With `api` alone: each of these is one of the paths that send mail, to some backend.
#[test]
fn no_spelling_sends_mail_without_email() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let spellings = [
        "/api/mail.send.json",
        "/api/mail.send.xml",
        "/v3/mail/send",
        "//api//mail.send.json",
        "/api/./mail.send.json",
        "/x/../api/mail.send.json",
        "/api/mail.send.json/",
        "/api/mail.send.json//",
        "/api/mail.send.json/.",
        "/API/MAIL.SEND.JSON",
        "/Api/mail.Send.xml",
        "/V3/Mail/Send/",
        "/%61pi/mail.send.json",
        "/api/mail%2Esend%2Ejson",
        "/api%2fmail.send.json",
        "/api%2Fmail%2esend.json",
        "/api%5cmail.send.json",
        "/api\\mail.send.json",
        "/v3/mail%2fsend",
        "/v3%252fmail/send",
        "/v3/mail/%73end",
        "/v3/mail/%2573end",
        "/v3/mail/send;x=1",
        "/v3;a/mail;b/send",
        "/v3/mail/send%3bx",
        "/v3/mail/send%00",
        "/v3/mail/send%00.html",
        "/v3/mail/send%3f",
        "/v3/mail/send%3Fx",
        "/v3/mail/send%23",
        "/v3/mail/send#",
        "/v3/mail/send.",
        "/v3/mail/send%20",
        "/v3/mail/send%2e",
        "/v3/mail./send",
        "/v3/mail/send/..%2f",
        "/v3/mail/x/%2e%2e/send",
        "/v3/mail/x/..%2fsend",
        "/v3/mail/x/..%5csend",
        "/v3/mail/%c0%ae%c0%ae/mail/send",
        "/v3/mail%c0%afsend",
        "/v3/mail/send?",
        "/v3/mail/send?a=b",
        "http://gate.test/v3/mail/send",
        "http://gate.test/v3/x/../mail/send",
        "//v3/mail/send",
        "/v3/mail/send/beta/..",
        "/v3/mail/send.json",
        "/api/mail/send.json",
        "/api/mail.send",
    ];
    for path in spellings {
        for method in ["GET", "POST", "PUT"] {
            let sent = String::from_utf8(request(method, "/placed-here").basic(API).bytes()).unwrap();
            connection.reopen_if_closing();
            connection.write(sent.replace("/placed-here", path).as_bytes());
            let status = connection.try_response().map_or(0, |response| response.status);
            assert!(matches!(status, 400 | 403), "{method} {path}: {status}");
        }
    }
    assert!(backend.drain().is_empty());
}

/// What a backend could make of a path that reaches it, in every combination of leniencies that backends are known for.
fn readings(target: &str) -> BTreeSet<String> {
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::from([target.as_bytes().to_vec()]);
    for _ in 0..3 {
        let decoded: Vec<Vec<u8>> =
            seen.iter().map(|bytes| percent_encoding::percent_decode(bytes).collect()).collect();
        seen.extend(decoded);
    }
    let mut found = BTreeSet::new();
    for bytes in seen {
        for overlong in [false, true] {
            let text = match overlong {
                // A decoder that takes two bytes for a character without asking which one.
                true => unlong(&bytes),
                false => String::from_utf8_lossy(&bytes).into_owned(),
            };
            let path = text.strip_prefix("http://gate.test").unwrap_or(&text);
            for leniency in 0..8 {
                let slashed = if leniency & 1 != 0 { path.replace('\\', "/") } else { path.to_owned() };
                let end = slashed.find(['?', '#', '\0']).unwrap_or(slashed.len());
                let mut segments: Vec<&str> = Vec::new();
                for segment in slashed[..end].split('/') {
                    let segment =
                        if leniency & 2 != 0 { segment.split(';').next().unwrap() } else { segment };
                    let segment = if leniency & 4 != 0 { trimmed(segment) } else { segment };
                    match segment {
                        "" | "." => {}
                        ".." => drop(segments.pop()),
                        _ => segments.push(segment),
                    }
                }
                found.insert(segments.join("/").to_ascii_lowercase());
            }
        }
    }
    found
}

/// Windows drops dots and spaces from the end of a name, but for the dot segments.
fn trimmed(segment: &str) -> &str {
    if matches!(segment, "." | "..") { segment } else { segment.trim_end_matches(['.', ' ']) }
}

fn unlong(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        text.push(match byte {
            0xc0 | 0xc1 => (byte & 1) << 6 | rest.next().unwrap_or(0) & 0x3f,
            other => other,
        });
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn sends(target: &str) -> bool {
    readings(target)
        .iter()
        .any(|path| matches!(&path[..], "api/mail.send.json" | "api/mail.send.xml" | "v3/mail/send"))
}

#[test]
fn the_model_knows_what_sends() {
    for path in [
        "/v3/mail/send",
        "/v3%252fmail/send",
        "/v3;a/mail/send",
        "/V3\\mail/x/../send%00.html",
        "/v3/mail./send%20",
        "/%c0%afapi/mail%c0%aesend.json",
        "http://gate.test/v3/mail/send#x",
    ] {
        assert!(sends(path), "{path}");
    }
    for path in ["/v3/mail", "/v3/mail/sender", "/api/stats.get.json", "/x/v3/mail/send"] {
        assert!(!sends(path), "{path}");
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "api",
        "mail.send.json",
        "mail.send.xml",
        "v3",
        "mail",
        "send",
        "API",
        "Mail.Send.JSON",
        "%76%33",
        "s%65nd",
        "x",
        "%61pi",
        "mail%2esend%2ejson",
        "sen%64",
        "mail%252esend.json",
        "m%61il",
    ]);
    let seams = prop::sample::select(vec![
        "/",
        "/",
        "/",
        "/",
        "//",
        "/./",
        "/x/../",
        "%2f",
        "%5c",
        "\\",
        "/%2e/",
        "/x/%2e%2e/",
        "/x/.%2E/",
        ";a/",
        "/;/",
        "%00",
        "%3f",
        "?",
        "#",
        "%23",
        "/x/..%2f",
        "/x/..;/",
        "/%c0%ae/",
        "%c0%af",
        "%252f",
        ".",
        "%20/",
        "./",
        "/x%2f../",
        "/%252e/",
        "*",
        "%",
        "%zz",
        ":",
        "/..",
        "%09",
        "/.../",
    ]);
    let ends = prop::sample::select(vec![
        "", "", "", "/", "//", "/.", "/..", ";a", "%3b", "%00", "%20", ".", "?a", "%3f", "#", "%",
    ]);
    let sending = prop::sample::select(vec![
        vec!["api", "mail.send.json"],
        vec!["v3", "mail", "send"],
        vec!["API", "Mail.Send.XML"],
        vec!["V3", "mail", "Send"],
        vec![],
    ]);
    // Often the right words in the right order, with any seams between them.
    (prop::collection::vec((names, seams.clone()), 0..4), sending, prop::collection::vec(seams, 4), ends)
        .prop_map(|(noise, words, seams, end)| {
            let mut path = if noise.len() == 3 { "http://gate.test/".to_owned() } else { "/".to_owned() };
            if words.is_empty() || noise.len() == 1 {
                noise.iter().for_each(|(name, seam)| path.extend([*name, *seam]));
            }
            for (number, word) in words.iter().enumerate() {
                if number > 0 {
                    path += seams[number];
                }
                path += word;
            }
            path + end
        })
}

#[test]
fn nothing_that_reaches_a_backend_could_send_mail() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    let connection = RefCell::new(Connection::open(gateway.api()));
    let config = ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&pieces(), |path| {
        let status = raw_path(&mut connection.borrow_mut(), path.as_bytes(), API);
        prop_assert!(matches!(status, 200 | 400 | 403 | 404), "{path}: {status}");
        let received = backend.drain();
        prop_assert_eq!(received.len(), usize::from(status == 200));
        for received in received {
            prop_assert!(!sends(&received.target), "{} came as {}", path, received.target);
            prop_assert!(!sends(&path), "{path} was forwarded as {}", received.target);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

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
    let gateway = start(&backend, "");
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

/// How often a name arrives in any spelling that a backend could take for it.
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
    let gateway = start(&backend, "");
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
    let fields = |request: common::http::Request| {
        request
            .header("X-Forwarded-For", "198.51.100.7, 10.0.0.1")
            .header("X-Forwarded-For", "10.0.0.2")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "shop.example.com")
            .basic(API)
    };
    let seen = |trusted: &str| {
        let backend = Backend::hello();
        let gateway = start(&backend, trusted);
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
    let gateway = start(&backend, "");
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

/// Whatever could end in another place for another reader is refused, and nothing that follows is taken for a request.
#[test]
fn one_request_stays_one_request() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    let length = hidden.len();
    let shapes: Vec<(&str, String, String)> = vec![
        (
            "both",
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "both, the other way",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), hidden.into()),
        ("two lengths in one", format!("Content-Length: 0, {length}\r\n"), hidden.into()),
        ("the same twice in one", format!("Content-Length: {length}, {length}\r\n"), hidden.into()),
        ("plus", format!("Content-Length: +{length}\r\n"), hidden.into()),
        ("minus", "Content-Length: -1\r\n".into(), hidden.into()),
        ("hexadecimal", format!("Content-Length: 0x{length:x}\r\n"), hidden.into()),
        ("with a space in it", "Content-Length: 1 2\r\n".into(), hidden.into()),
        ("empty length", "Content-Length:\r\n".into(), hidden.into()),
        ("huge length", "Content-Length: 99999999999999999999999999\r\n".into(), hidden.into()),
        ("xchunked", "Transfer-Encoding: xchunked\r\n".into(), hidden.into()),
        ("identity", "Transfer-Encoding: identity\r\n".into(), hidden.into()),
        ("gzip", "Transfer-Encoding: gzip\r\n".into(), hidden.into()),
        ("chunked, then gzip", "Transfer-Encoding: chunked, gzip\r\n".into(), format!("0\r\n\r\n{hidden}")),
        (
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "chunked twice in one",
            "Transfer-Encoding: chunked, chunked\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "chunked and identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        ("vertical tab", "Transfer-Encoding: \x0bchunked\r\n".into(), hidden.into()),
        ("quoted", "Transfer-Encoding: \"chunked\"\r\n".into(), hidden.into()),
        ("parameter", "Transfer-Encoding: chunked;a=b\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("space before the colon", format!("Content-Length : {length}\r\n"), hidden.into()),
        (
            "space before the colon, chunked",
            "Transfer-Encoding : chunked\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        ("tab before the colon", "Transfer-Encoding\t: chunked\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("folded", "X-A: b\r\n Transfer-Encoding: chunked\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("folded value", "Transfer-Encoding:\r\n chunked\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("a space first", " X-A: b\r\n".into(), hidden.into()),
        ("no colon", "Nothing\r\n".into(), hidden.into()),
        ("no name", ": b\r\n".into(), hidden.into()),
        ("bare LF", "X-A: b\nX-B: c\r\n".into(), hidden.into()),
        ("bare LF ends the header", "X-A: b\n\n".into(), hidden.into()),
        ("bare CR", "X-A: b\rTransfer-Encoding: chunked\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("NUL in a name", "X-A\0: b\r\n".into(), hidden.into()),
        ("NUL in a value", "X-A: b\0c\r\n".into(), hidden.into()),
    ];
    for (shape, fields, body) in shapes {
        let bytes = format!("POST /judged HTTP/1.1\r\nHost: gate.test\r\n{BASIC_API}{fields}\r\n{body}");
        refused_and_closed(&gateway, bytes.as_bytes(), shape);
    }
    let lines: [&str; 11] = [
        "GET /judged HTTP/1.1\nHost: gate.test\n",
        "GET  /judged HTTP/1.1\r\nHost: gate.test\r\n",
        "GET /judged  HTTP/1.1\r\nHost: gate.test\r\n",
        "GET\t/judged\tHTTP/1.1\r\nHost: gate.test\r\n",
        "GET /judged HTTP/1.2\r\nHost: gate.test\r\n",
        "GET /judged HTTP/2.0\r\nHost: gate.test\r\n",
        "GET /judged http/1.1\r\nHost: gate.test\r\n",
        "GET /judged\r\nHost: gate.test\r\n",
        "G(T /judged HTTP/1.1\r\nHost: gate.test\r\n",
        "/judged HTTP/1.1\r\nHost: gate.test\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
    ];
    for line in lines {
        refused_and_closed(&gateway, format!("{line}{BASIC_API}\r\n{hidden}").as_bytes(), line);
    }
    // None of it reached the backend.
    let reached: Vec<String> =
        backend.drain().into_iter().map(|r| r.raw.escape_ascii().to_string()).collect();
    assert!(reached.is_empty(), "{reached:#?}");
}

#[track_caller]
fn refused_and_closed(gateway: &Gateway, bytes: &[u8], shape: &str) {
    let mut connection = Connection::open(gateway.api());
    connection.write(bytes);
    if let Some(response) = connection.try_response() {
        assert!(matches!(response.status, 400 | 411 | 501 | 505), "{shape}: {}", response.status);
        assert!(connection.try_response().is_none(), "{shape}: what followed was answered");
    }
}

/// A body in chunks that can't be read to its end never looks complete to the backend.
#[test]
fn a_broken_body_stays_broken() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    let bodies = [
        format!("x\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("-3\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("+3\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("0x3\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("3 \u{b}\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("ffffffffffffffff0\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("10000000000000003\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("3\r\nabcd\r\n0\r\n\r\n{hidden}"),
        format!("3\r\nabc0\r\n\r\n{hidden}"),
        format!("3\nabc\r\n0\r\n\r\n{hidden}"),
        format!("3\r\nabc\n0\r\n\r\n{hidden}"),
        format!("3\rabc\r\n0\r\n\r\n{hidden}"),
    ];
    for body in bodies {
        let head = format!(
            "POST /judged HTTP/1.1\r\nHost: gate.test\r\n{BASIC_API}Transfer-Encoding: chunked\r\n\r\n"
        );
        let mut connection = Connection::open(gateway.api());
        connection.write(format!("{head}{body}").as_bytes());
        let context = body.escape_debug().to_string();
        if let Some(response) = connection.try_response() {
            assert_eq!(response.status, 400, "{context}");
            assert!(connection.try_response().is_none(), "{context}: what followed was answered");
        }
        // The recorder gives only what was complete.
        assert_eq!(get("/sentinel").basic(API).send(gateway.api()).status, 200);
        let mut reached = vec![backend.next().target];
        reached.extend(backend.drain().into_iter().map(|r| r.target));
        assert_eq!(reached, ["/sentinel"], "{context}");
    }
}

/// Requests that are sent without waiting are each decided by themselves, and answered in their order.
#[test]
fn requests_in_a_row_are_decided_one_by_one() {
    let backend = Backend::answering(|received| {
        let target = &received.target;
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()).into_bytes()
    });
    let gateway = start(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let mut all = Vec::new();
    for request in [
        get("/1").basic(API),
        get("/2"),
        get("/v3/mail/send").basic(API),
        request("POST", "/4").basic(API).body("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        request("POST", "/5").basic(API).chunked("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        get("/6").basic(API),
    ] {
        all.extend(request.bytes());
    }
    connection.write(&all);
    let answers: Vec<(u16, String)> = (0..6)
        .map(|_| connection.read_response())
        .map(|response| {
            (response.status, if response.status == 200 { response.text() } else { String::new() })
        })
        .collect();
    let ok = |target: &str| (200, target.to_owned());
    assert_eq!(answers, [ok("/1"), (401, String::new()), (403, String::new()), ok("/4"), ok("/5"), ok("/6")]);
    let targets: Vec<String> = backend.drain().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/1", "/4", "/5", "/6"]);
}
