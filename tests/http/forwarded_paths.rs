//! Paths pass as they came, unless backends could read them as ones that need something else.

use crate::common::HOLDER;
use crate::common::backend::Backend;
use crate::common::callers::{ALL, API, with_caller};
use crate::common::http::{Connection, get};
use crate::judged_paths::raw_path;
use crate::read_by_servers::targets::PRODUCTS;

// Case B1: byte for byte, with dot segments resolved.
#[test]
fn paths_are_forwarded_as_they_came() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let resolved: [(&str, &str); 23] = [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../../b", "/b"),
        ("/a/..", "/"),
        ("/a//../b", "/a/b"),
        ("/%2e%2E/b", "/b"),
        ("/a/%2e/b/.%2e/c", "/a/c"),
        ("/{a}|b", "/%7Ba%7D%7Cb"),
        ("http://gate.test/a/../b?c", "/b?c"),
        ("HTTP://gate.test//b", "//b"),
        ("https://gate.test/b", "/b"),
        ("http://gate.test", "/"),
        ("http://gate.test?c", "/?c"),
        ("/x/../api/mail%2esend%2ejson", "/api/mail%2esend%2ejson"),
        ("/a#b", "/a"),
        ("/a?b#c", "/a?b"),
        ("/a\\b", "/a%5Cb"),
        ("/a\\..\\b", "/a%5C..%5Cb"),
        ("/c/./af\u{e9}", "/c/af%C3%A9"),
        ("/a;b/../c", "/c"),
        ("/x/%2e%2e/y%2Fz", "/y%2Fz"),
        ("/a/..%2fb/../c", "/a/c"),
        ("/a./../b", "/b"),
    ];
    for (path, expected) in resolved {
        assert_eq!(raw_path(&mut connection, path.as_bytes(), HOLDER), 200, "{path}");
        assert_eq!(backend.next().target, expected, "{path}");
    }
    let unchanged = [
        "/",
        "/a/b?c=/../d",
        "//a///b//",
        "//host/a",
        "/%61%2Db%5F%7e",
        "/A/b/",
        "/caf%c3%a9",
        "/a%20b",
        "/a?b?c%00",
        "/100%25",
        "/100%",
        "/a%zz%4",
        "/api/mail.send.json",
        "/API/mail.send.json/",
        "/a:b@c!$&'()*+,=",
        "/?",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/..%5c..%5cb",
        "/a%00",
        "/a%00.json",
        "/a%0d%0aX:y",
        "/a%09b",
        "/a%7f",
        "/%c0%ae%c0%ae/b",
        "/%ff",
        "/%ed%a0%80",
        "/%252e%252e/b",
        "/%25%32%65",
        "/%u002e",
        "/a;b",
        "/a%3bb",
        "/..;/a",
        "/a./b",
        "/a.../b",
        "/a%20/b",
    ];
    for path in unchanged {
        assert_eq!(raw_path(&mut connection, path.as_bytes(), HOLDER), 200, "{path}");
        assert_eq!(backend.next().target, path);
    }
    let refused: [&[u8]; 9] = [
        b"/a\0",
        b"/a b",
        b"/a ",
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

// Case A2: what may not be in a target is encoded, and nothing else is.
#[test]
fn targets_are_encoded_where_they_must_be() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    for (target, expected) in [
        ("/e?filter={\"a\":1}", "/e?filter=%7B%22a%22:1%7D"),
        ("/e?x=<y>", "/e?x=%3Cy%3E"),
        ("/<e>/`^|\"?a=\\|^`", "/%3Ce%3E/%60%5E%7C%22?a=%5C%7C%5E%60"),
        ("/\u{fc}?q=\u{fc}", "/%C3%BC?q=%C3%BC"),
        ("/a?b[]=1&c=//../;%zz'", "/a?b[]=1&c=//../;%zz'"),
    ] {
        assert_eq!(raw_path(&mut connection, target.as_bytes(), API), 200, "{target}");
        assert_eq!(backend.next().target, expected);
    }
    for target in ["/a b", "/a?b c", "/a ", "/api\\mail.send.json", "/v3\\mail\\send"] {
        assert_eq!(raw_path(&mut connection, target.as_bytes(), API), 400, "{target}");
    }
    // A letter may be encoded in calls of the management API, as everywhere.
    let called = connection.exchange(get("/api/%63redentials/get%2Ejson").basic(HOLDER));
    assert_eq!(called.status, 200);
    assert!(backend.drain().is_empty());
}

// Case B1: what ordinary products send passes with the default routes, and what sends mail in another reading does not.
#[test]
fn ordinary_products_pass_and_ambiguous_paths_are_refused() {
    let backend = Backend::hello();
    let public = "[[api.route]]\npath = \"/public/*\"\npermission = \"public\"\n";
    let gateway = with_caller(&backend, public);
    let mut connection = Connection::open(gateway.api());
    for path in PRODUCTS {
        assert_eq!(raw_path(&mut connection, path.as_bytes(), API), 200, "{path}");
        assert_eq!(backend.next().target, path);
    }
    for path in
        ["/public/x.json", "/public/a%2Fb", "/public/p;jsessionid=1", "/public//x", "/public/index.php/x"]
    {
        assert_eq!(connection.exchange(get(path)).status, 200, "{path}");
        assert_eq!(backend.next().target, path);
    }
    let long = format!("/{}", "%25".repeat(20_000));
    let refused = [
        ("/api%2Fmail.send.json", "because of `%2F` in it"),
        ("/x;/../api/mail.send.json", "because of `;` in it"),
        ("//v3/mail/send", "because of `//` in it"),
        ("/v3%3b/mail%5csend", "because of `%"),
        ("/v3/x/..%2fmail/send", "because of `%2f` in it"),
        ("/index.php/v3/mail/send", "because of `index.php` in it"),
        ("/public/..;/x", "because of `;` in it"),
        ("/public/.%0a./x", "because of `%0a` in it"),
        ("/public/index.cgi/v3/mail/send", "because of `index.cgi` in it"),
        ("/api%2Fcredentials/get.json", "because of `%2F` in it"),
        ("/api//credentials/get.json", "because of `//` in it"),
        ("/api/credentials;x", "because of `;` in it"),
        ("/api/cred%0dentials/get.json", "because of `%0d` in it"),
        (&long, "it is longer than 8192 bytes"),
    ];
    for (path, named) in refused {
        for login in [API, ALL] {
            connection.reopen_if_closing();
            let response = connection.exchange(get(path).basic(login));
            assert_eq!(response.status, 400, "{path}");
            assert!(response.text().contains(named), "{path}: {}", response.text());
        }
    }
    assert!(backend.drain().is_empty());
}
