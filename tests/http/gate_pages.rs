//! The pages of the gate: what is below the prefix, what protects a page, and what a service worker may not do.

use crate::common::backend::Backend;
use crate::common::callers::WEB;
use crate::common::http::{Connection, get, request};
use crate::common::web::{LOGIN, NAVIGATION, address, dashboard, fetch, log_in, open, with};

/// The addresses that a page links to and that are files of it.
fn files(page: &str) -> Vec<String> {
    let quoted = page.split('"').filter(|text| text.starts_with("/-/gatepost/files/"));
    quoted.map(str::to_owned).collect()
}

#[test]
fn pages_are_protected_and_not_stored() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "");
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    for (response, status) in [
        (open(LOGIN).send(at), 200),
        (open("/a").send(at), 303),
        (open("/-/gatepost/none").send(at), 404),
        (open("/-/gatepost/logout").header("Cookie", &cookie).send(at), 200),
        (with(request("POST", "/a"), &[NAVIGATION[0]]).send(at), 401),
    ] {
        assert_eq!(response.status, status);
        let policy = response.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "img-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(response.header(name), Some(value), "{status}");
        }
        assert_eq!(response.header("strict-transport-security"), None);
        assert!(response.header("x-request-id").is_some());
    }
}

#[test]
fn files_have_hashed_addresses_and_are_kept() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "color = \"#8a1020\"\ntitle = \"Acme & Sons\"");
    let at = address(&gateway);
    let page = open(LOGIN).send(at).text();
    assert!(page.contains("Acme &#38; Sons"), "{page}");
    let files = files(&page);
    for (part, kind) in [
        ("/gatepost-", "text/css; charset=utf-8"),
        ("/accent-", "text/css; charset=utf-8"),
        ("/icon-", "image/svg+xml"),
        ("/logo-", "image/svg+xml"),
    ] {
        let file =
            files.iter().find(|file| file.contains(part)).unwrap_or_else(|| panic!("{part}: {files:?}"));
        let response = fetch("GET", file).send(at);
        assert_eq!((response.status, response.header("content-type")), (200, Some(kind)), "{file}");
        assert_eq!(response.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert!(response.header("content-security-policy").unwrap().contains("sandbox"));
        assert_eq!(with(request("POST", file), &[]).send(at).status, 405);
    }
    let accent = files.iter().find(|file| file.contains("/accent-")).unwrap();
    assert!(get(accent).send(at).text().contains("#8a1020"));
    let other = accent.replace("/accent-", "/accent-0");
    assert_eq!(get(&other).send(at).status, 404);
}

#[test]
fn nothing_below_the_prefix_is_forwarded() {
    let backend = Backend::hello();
    let public = "[[web.route]]\npath = \"/*\"\npermission = \"public\"\n";
    let gateway = dashboard(&backend, public);
    let at = address(&gateway);
    for path in [
        "/-/gatepost",
        "/-/gatepost/",
        "/-/gatepost/none",
        "/-/gatepost/login/x",
        "/-/gatepost/files/",
        "/-/GATEPOST/Login",
        "/-/%67atepost/x",
        "/%2d/gatepost",
        "/a/../-/gatepost/x",
        "/-/./gatepost/x?y",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let response = request(method, path).send(at);
            assert_eq!(response.status, 404, "{method} {path}");
            assert!(response.text().contains("<h1>"), "{}", response.text());
        }
    }
    assert!(backend.drain().is_empty());
    for path in ["/-/gatepostal", "/-/", "/-/gatepost2/login", "/-/healthy", "/x/-/gatepost/login"] {
        assert_eq!(get(path).send(at).status, 200, "{path}");
        assert_eq!(backend.next().target, path);
    }
}

#[test]
fn the_prefix_can_be_another_one_by_a_reload() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "");
    let at = address(&gateway);
    assert_eq!(open("/a").send(at).header("location"), Some("/-/gatepost/login?next=/a"));
    let config = gateway.config();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}prefix = \"/_in\"\nsession_idle = \"1m\"\n")).unwrap();
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration reloaded"]);
    assert_eq!(open("/a").send(at).header("location"), Some("/_in/login?next=/a"));
    assert_eq!(open("/_in/login").send(at).status, 200);
    assert_eq!(
        open("/-/gatepost/login").send(at).header("location").unwrap(),
        "/_in/login?next=/-/gatepost/login"
    );
}

#[test]
fn refusals_are_pages_for_people_and_plain_for_programs() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "response_timeout = \"5s\"");
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let page = open("/a%00b/%2e%2e%2f?").header("Cookie", &cookie);
    let answer = page.send(at);
    assert!(answer.status == 400 || answer.status == 200, "{}", answer.status);
    backend.close();
    // No connection that is kept.
    let gone = dashboard(
        &Backend::hello(),
        &format!(
            "\n[[web.group]]\nname = \"gone\"\nupstreams = [\"http://{}\"]\n[[web.route]]\npath = \"/gone/*\"\npermission = \"web\"\ngroup = \"gone\"\n",
            crate::common::nobody()
        ),
    );
    let at = address(&gone);
    let cookie = log_in(at, WEB);
    let page = open("/gone/a").header("Cookie", &cookie).send(at);
    assert_eq!((page.status, page.header("content-type")), (502, Some("text/html; charset=utf-8")));
    let text = page.text();
    let id = page.header("x-request-id").unwrap();
    assert!(text.contains("doesn’t answer") && text.contains(id), "{text}");
    assert!(!text.contains("logged in"), "{text}");
    let plain = fetch("GET", "/gone/a").header("Cookie", &cookie).send(at);
    assert_eq!(plain.status, 502);
    assert!(!plain.text().contains("<html"), "{}", plain.text());
}

#[test]
fn service_workers_are_refused_unless_allowed() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nService-Worker-Allowed: /\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let open = "[[web.route]]\npath = \"/open/*\"\npermission = \"public\"\n";
    for (keys, status, scope) in [("", 403, None), ("service_workers = true\n", 200, Some("/"))] {
        let gateway = dashboard(&backend, &format!("{keys}{open}"));
        let at = address(&gateway);
        let cookie = log_in(at, WEB);
        for path in ["/sw.js", "/open/sw.js"] {
            for field in [("Service-Worker", "script"), ("Sec-Fetch-Dest", "serviceworker")] {
                let response = with(get(path), &[field]).header("Cookie", &cookie).send(at);
                assert_eq!(response.status, status, "{path} {field:?}");
            }
            let script = fetch("GET", path).header("Cookie", &cookie).send(at);
            assert_eq!((script.status, script.header("service-worker-allowed")), (200, scope), "{path}");
        }
        if status == 403 {
            gateway.log().wait_for(&["\"refusal\"", "service worker"]);
        }
    }
}

#[test]
fn requests_on_one_connection_are_decided_one_by_one() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "");
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let mut connection = Connection::open(at);
    for _ in 0..3 {
        assert_eq!(connection.exchange(open("/a").header("Cookie", &cookie)).status, 200);
        assert_eq!(connection.exchange(open("/a")).status, 303);
        assert_eq!(connection.exchange(open(LOGIN)).status, 200);
        assert_eq!(connection.exchange(fetch("GET", "/a")).status, 401);
        let wrong = with(request("POST", "/a"), &[("Sec-Fetch-Site", "cross-site")]);
        assert_eq!(connection.exchange(wrong.header("Cookie", &cookie)).status, 403);
    }
    assert_eq!(connection.reopened, 0);
}
