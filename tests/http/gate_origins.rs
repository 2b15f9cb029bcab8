//! Requests by cookie that other sites have a browser send, and the origin that browsers see behind a balancer.

use crate::common::backend::Backend;
use crate::common::callers::WEB;
use crate::common::http::{Request, Response, get, request};
use crate::common::web::{
    LOCAL, LOGIN, OWN_FORM, address, cookie_of, dashboard, dashboard_with, encoded, log_in, open, with,
};

fn upgrade(target: &str) -> Request {
    get(target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[test]
fn only_pages_of_the_own_or_an_allowed_origin_change_something() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "allowed_origins = [\"https://app.test\"]");
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let own = format!("http://{LOCAL}");
    let allowed: [&[(&str, &str)]; 6] = [
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "Same-Origin"), ("Origin", "null")],
        &[("Origin", &own)],
        &[("Origin", "http://LOCALHOST:8081")],
        &[("Origin", "https://app.test")],
        &[("Origin", "https://app.test"), ("Sec-Fetch-Site", "cross-site")],
    ];
    let refused: [&[(&str, &str)]; 15] = [
        &[],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "none")],
        &[("Sec-Fetch-Site", "")],
        &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-origin, cross-site")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &own)],
        &[("Origin", "null")],
        &[("Origin", "http://localhost")],
        &[("Origin", "http://localhost:8082")],
        &[("Origin", "https://evil.test")],
        &[("Origin", "https://app.test.evil.test")],
        &[("Origin", "http://app.test")],
        &[("Origin", &own), ("Origin", "https://evil.test")],
    ];
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        for fields in allowed {
            let response = with(request(method, "/a"), fields).header("Cookie", &cookie).send(at);
            assert_eq!(response.status, 200, "{method} {fields:?}: {}", response.text());
            backend.next();
        }
        for fields in refused {
            let response = with(request(method, "/a"), fields).header("Cookie", &cookie).send(at);
            assert_eq!(response.status, 403, "{method} {fields:?}");
            assert!(response.text().contains("Cross-site request refused"), "{}", response.text());
        }
    }
    assert!(backend.drain().is_empty());
    gateway.log().wait_for(&["\"action\":\"check\"", "viewer", "cross-site by Sec-Fetch-Site", "\"web\""]);
    gateway.log().wait_for(&["\"action\":\"check\"", "viewer", "cross-site by Origin", "\"web\""]);
    // A link from another site opens the dashboard.
    for method in ["GET", "HEAD"] {
        let link =
            with(request(method, "/a"), &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]);
        let mut connection = crate::common::http::Connection::open(at);
        connection.write(&link.header("Cookie", &cookie).bytes());
        assert!(connection.read_raw().unwrap().starts_with(b"HTTP/1.1 200"), "{method}");
    }
    // A page says it in words.
    let page =
        with(request("POST", "/a"), &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "cross-site")]);
    let page = page.header("Cookie", &cookie).send(at);
    assert!(page.status == 403 && page.text().contains("<h1>"), "{}", page.text());
}

#[test]
fn websockets_open_for_the_own_and_allowed_origins_only() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_vec()
    });
    let gateway = dashboard(&backend, "allowed_origins = [\"https://app.test\"]");
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let ask =
        |fields: &[(&str, &str)]| with(upgrade("/ws"), fields).header("Cookie", &cookie).send(at).status;
    for origin in ["http://localhost:8081", "https://app.test"] {
        assert_eq!(ask(&[("Origin", origin)]), 101, "{origin}");
        assert_eq!(ask(&[("Origin", origin), ("Sec-Fetch-Site", "same-site")]), 101, "{origin}");
    }
    for fields in [
        &[][..],
        &[("Origin", "https://evil.test")],
        &[("Origin", "null")],
        &[("Origin", "http://localhost")],
        &[("Origin", "https://localhost:8082")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Origin", "https://evil.test"), ("Sec-Fetch-Site", "cross-site")],
        &[("Origin", "http://localhost:8081"), ("Origin", "https://evil.test")],
    ] {
        assert_eq!(ask(fields), 403, "{fields:?}");
    }
    // Behind a proxy that changes the host, the browser vouches for a WebSocket as for a POST.
    for fields in [
        &[("Sec-Fetch-Site", "same-origin")][..],
        &[("Origin", "https://dash.example.com"), ("Sec-Fetch-Site", "same-origin")],
    ] {
        assert_eq!(ask(fields), 101, "{fields:?}");
    }
    assert_eq!(backend.drain().len(), 6);
}

/// A request that a balancer passes on: the browser's host, and the scheme that it used.
fn behind(request: Request, fields: &[(&str, &str)]) -> Request {
    let request = request.for_host("dash.test");
    fields.iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn login_behind(at: std::net::SocketAddr, fields: &[(&str, &str)]) -> Response {
    let form = encoded(&[("username", "viewer"), ("password", "passw0rd-view")]);
    let own = OWN_FORM.iter().fold(behind(request("POST", LOGIN), fields), |r, (n, v)| r.header(n, v));
    own.body(form).send(at)
}

#[test]
fn a_trusted_balancer_tells_that_the_browser_uses_tls() {
    let backend = Backend::hello();
    let server = "[server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let gateway = dashboard_with(server, &backend, "");
    let at = address(&gateway);
    let https: &[(&str, &str)] = &[("X-Forwarded-Proto", "https")];
    let response = login_behind(at, https);
    assert_eq!(response.status, 303, "{}", response.text());
    let set = response.set_cookie().unwrap();
    assert!(
        set.starts_with("__Host-gatepost=") && set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    let cookie = cookie_of(&response);
    let ask = |method, fields: &[(&str, &str)]| {
        behind(request(method, "/a"), fields).header("Cookie", &cookie).send(at).status
    };
    assert_eq!(ask("GET", https), 200);
    let origin = |origin| ask("POST", &[https[0], ("Origin", origin)]);
    assert_eq!((origin("https://dash.test"), origin("https://dash.test:443")), (200, 200));
    assert_eq!((origin("http://dash.test"), origin("https://evil.test")), (403, 403));
    // Without TLS, it is another cookie's name.
    assert_eq!(ask("GET", &[("X-Forwarded-Proto", "http")]), 401);
    assert_eq!(ask("GET", &[]), 401);
    assert_eq!(login_behind(at, &[("X-Forwarded-Proto", "http")]).status, 403);
    assert_eq!(login_behind(at, &[]).status, 403);
}

#[test]
fn nobody_else_tells_it() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "");
    let refused = login_behind(address(&gateway), &[("X-Forwarded-Proto", "https")]);
    assert_eq!((refused.status, refused.header("set-cookie")), (403, None));
}

#[test]
fn the_configured_origin_counts_whatever_the_request_says() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "public_origin = \"https://dash.example.com:8443\"");
    let at = address(&gateway);
    let response = login_behind(at, &[]);
    assert_eq!(response.status, 303, "{}", response.text());
    let cookie = cookie_of(&response);
    assert!(cookie.starts_with("__Host-gatepost="));
    let page = behind(get(LOGIN), &[]).send(at);
    assert!(page.text().contains("dash.example.com:8443"), "{}", page.text());
    for (origin, status) in [
        ("https://dash.example.com:8443", 200),
        ("https://dash.example.com", 403),
        ("https://dash.test", 403),
        ("http://dash.test", 403),
    ] {
        let response =
            behind(request("POST", "/a"), &[("Origin", origin)]).header("Cookie", &cookie).send(at);
        assert_eq!(response.status, status, "{origin}");
    }
    let console = open("/a").header("Cookie", &cookie.replace("__Host-", "")).send(at);
    assert_eq!(console.status, 303);
}
