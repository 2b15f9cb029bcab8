//! The path that is judged is the path that is forwarded.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::common::backend::Backend;
use crate::common::callers::{ALL, API, EMAIL, NO_DELAYS, WEB, with_caller, with_credentials};
use crate::common::http::{Connection, get, request};
use crate::common::{Gateway, api};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Sends a path as it is.
pub fn raw_path(connection: &mut Connection, path: &[u8], login: &str) -> u16 {
    let marker = "/placed-here";
    let bytes = get(marker).basic(login).bytes();
    let at = memchr::memmem::find(&bytes, marker.as_bytes()).unwrap();
    let sent = [&bytes[..at], path, &bytes[at + marker.len()..]].concat();
    connection.reopen_if_closing();
    connection.write(&sent);
    connection.try_response().map_or(0, |response| response.status)
}

/// With `api` alone: each of these is one of the paths that send mail, to some backend.
#[test]
fn no_spelling_sends_mail_without_email() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
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
        "/v3/ma%0Ail/send",
        "/api/ma%0Dil.send.json",
        "/v3/x/.%09./mail/send",
        "/v3/mail/se%0cnd",
        "/v3/ma%0Ail/send%0C",
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

const BOTH: &str = "bob:passw0rd-of-bob";

// Case B2: whatever hangs on a path.
/// Backends that drop a suffix serve the path before it: `/send.php/x` is `/send.php` to PHP, `/v1/send.json` is `/v1/send` to
/// Spring and Rails.
#[test]
fn a_suffix_does_not_get_past_the_permission_of_a_route() {
    let backend = Backend::hello();
    let route = |path: &str, rest: &str| format!("[[api.route]]\npath = \"{path}\"\n{rest}\n");
    let routes = [
        route("/send.php", "permission = \"email\""),
        route("/v1/send", "permission = \"email\""),
        route("/v1/send/status", "permission = \"api\""),
        route("/v1/send/docs/*", "permission = \"public\""),
        route("/v1/*.json", "permission = \"public\""),
        route("/v1/*.csv", "permission = \"web\""),
        route("/v1/*", "permission = \"api\""),
        route("/v2/*/send", "methods = [\"POST\"]\npermission = \"email\""),
        route("/open", "permission = \"public\""),
    ];
    let gateway = Gateway::start(&format!("{NO_DELAYS}{}{}", api(backend.address), routes.concat()));
    with_credentials(gateway.account("email,api,web"));
    gateway.credential(BOTH, "email,api");
    let mut connection = Connection::open(gateway.api());
    let suffixes = [
        "/x", "/x/y", "/", ".json", ".json/x", ",1", ":1", "::$DATA", "&x=1", "%3Ax", "%2c1", "%2ejson",
        ";x", "%3bx", "%2Fx", "%00", "%00.json", "%0a", ".", "%20", "%2e", "%5cx",
    ];
    let mut expect = |method: &str, path: &str, login: &str, expected: u16| {
        connection.reopen_if_closing();
        let sent = String::from_utf8(request(method, "/placed-here").basic(login).bytes()).unwrap();
        connection.write(sent.replace("/placed-here", path).as_bytes());
        let status = connection.try_response().map_or(0, |response| response.status);
        assert_eq!(status, expected, "{method} {path} as {login}");
        assert_eq!(backend.drain().len(), usize::from(status == 200), "{method} {path}");
    };
    for (base, method) in [
        ("/send.php", "GET"),
        ("/Send.PHP", "POST"),
        ("/v1/send", "HEAD-LESS"),
        ("/v2/a/send", "POST"),
        ("/api/mail.send.json", "POST"),
        ("/api/mail.send.xml", "GET"),
        ("/v3/mail/send", "POST"),
    ] {
        for suffix in suffixes {
            let path = format!("{base}{suffix}");
            // A last slash extends nothing. A public pattern adds nothing. The paths that send mail need no more than that.
            let public = base == "/v1/send"
                && ["json", "%2ejson", "%00.json"].contains(&suffix.trim_start_matches('.'));
            let as_written = suffix == "/" || public || base.contains("mail");
            expect(method, &path, ALL, 200);
            expect(method, &path, BOTH, 200);
            expect(method, &path, EMAIL, if as_written { 200 } else { 403 });
            expect(method, &path, API, 403);
        }
    }
    // What a route names, and what extends no route, needs what it needed before.
    for path in
        ["/v1/send/status", "/v1/send/status/", "/v1/send/status/4", "/v1/sender", "/v1/sends/x", "/v1"]
    {
        expect("GET", path, API, 200);
        expect("GET", path, EMAIL, 403);
    }
    for path in ["/v1/send/docs/a", "/v1/stats.json", "/open"] {
        expect("GET", path, "nobody-knows:passw0rd", 200);
    }
    // A pattern that says more than the route does counts beside it.
    for (login, expected) in [(ALL, 200), (EMAIL, 403), (WEB, 403), (API, 403)] {
        expect("GET", "/v1/send.csv", login, expected);
    }
    expect("GET", "/v2/a/send/x", API, 200);
    expect("GET", "/open/x", "nobody-knows:passw0rd", 401);
    expect("GET", "/open.json", API, 200);
}

/// The paths that a backend could read, in every combination of the leniencies that backends are known for.
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
    let gateway = with_caller(&backend, "");
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
