//! The cookies of sessions: none reaches a backend, and none comes from one, on any entry and route.

use bytes::Bytes;

use crate::common::backend::Backend;
use crate::common::callers::{API, WEB, with_credentials};
use crate::common::curl::curl;
use crate::common::http::{Request, get};
use crate::common::http2::whole;
use crate::common::tls::{Authority, connect};
use crate::common::web::{OWN_FORM, address, dashboard, encoded, fetch, log_in, open, web, with};
use crate::common::{Gateway, configured};

const OPEN: &str = "[[web.route]]\npath = \"/open/*\"\npermission = \"public\"\n";

/// The values of `Cookie` that the backend got.
fn got(backend: &Backend) -> Vec<String> {
    let received = backend.next();
    assert!(!received.contains("1.AAAA"), "{}", received.raw.escape_ascii());
    let cookies = received.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    cookies.map(|(_, value)| value.clone()).collect()
}

const SENT: [(&[&str], &[&str]); 12] = [
    (&["a=b"], &["a=b"]),
    (&["TOKEN"], &[]),
    (&["TOKEN; a=b"], &["a=b"]),
    (&["a=b; TOKEN"], &["a=b"]),
    (&["a=b;TOKEN;c=\"d e\""], &["a=b;c=\"d e\""]),
    (&["a=b; TOKEN; TOKEN; c=d"], &["a=b; c=d"]),
    (&["a=b", "TOKEN", "c=d; TOKEN"], &["a=b", "c=d"]),
    (&["TOKEN;"], &[]),
    (&["\tTOKEN ;;a=b"], &[";a=b"]),
    (&["a=TOKEN"], &["a=TOKEN"]),
    (&["x=1; A=2;a=3 ; =4;; B"], &["x=1; A=2;a=3 ; =4;; B"]),
    (&["\"NAME\"=1.AAAA; a=b"], &["a=b"]),
];

#[test]
fn no_session_reaches_a_backend() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, OPEN);
    let at = address(&gateway);
    let session = log_in(at, WEB);
    let ways: [(&str, &dyn Fn(Request) -> Request); 4] = [
        ("a public route", &|request| request),
        ("a session", &|request| request.header("Cookie", &session)),
        ("Basic", &|request| request.basic(WEB)),
        ("the API", &|request| request.basic(API)),
    ];
    for name in
        ["__Host-gatepost", "gatepost", "__Host-gatepost-console", "GATEPOST-CONSOLE", "__host-Gatepost"]
    {
        for (way, present) in ways {
            for (sent, expected) in SENT {
                let filled =
                    |text: &str| text.replace("TOKEN", &format!("{name}=1.AAAA")).replace("NAME", name);
                // A cookie of another name with such a value is its own business.
                if sent.iter().any(|text| text.contains("=TOKEN")) {
                    continue;
                }
                // Beside the session's own it is ambiguous, and refused.
                if (way, name) == ("a session", "gatepost") {
                    continue;
                }
                let path = if way == "a public route" { "/open/a" } else { "/a" };
                let mut request = get(path).for_host("localhost:8081");
                for value in sent {
                    request = request.header("Cookie", &filled(value));
                }
                let to = if way == "the API" { gateway.api() } else { at };
                let response = present(request).send(to);
                assert_eq!(response.status, 200, "{way} {name} {sent:?}: {}", response.text());
                assert_eq!(
                    got(&backend),
                    expected.iter().map(|text| filled(text)).collect::<Vec<_>>(),
                    "{way} {name} {sent:?}"
                );
            }
        }
    }
}

#[test]
fn no_backend_sets_the_cookie_of_a_session() {
    let backend = Backend::answering(|_| {
        let set = [
            "a=b; Path=/",
            "__Host-gatepost=1.x; Path=/; Secure",
            "  gatepost=1.x",
            "=__Host-gatepost=1.x; Path=/; Secure",
            "__HOST-GATEPOST=1.x; Path=/; Secure",
            "__Host-gatepost-console=1.x; Path=/; Secure",
            "gatepost-console=; Max-Age=0",
            "gatepost",
            "c=gatepost=d",
        ];
        let lines: String = set.iter().map(|value| format!("Set-Cookie: {value}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n").into_bytes()
    });
    let gateway = dashboard(&backend, OPEN);
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    for response in [
        open("/a").header("Cookie", &cookie).send(at),
        open("/open/a").send(at),
        get("/a").basic(WEB).send(at),
        get("/a").basic(API).send(gateway.api()),
    ] {
        let set = response.headers.iter().filter(|(name, _)| name == "set-cookie");
        let set: Vec<&str> = set.map(|(_, value)| value.as_str()).collect();
        assert_eq!(set, ["a=b; Path=/", "c=gatepost=d"]);
    }
}

#[test]
fn a_response_by_session_is_not_for_shared_caches() {
    let backend = Backend::answering(|request| {
        let said = request.target.split('?').nth(1).unwrap_or_default();
        let line = if said.is_empty() { String::new() } else { format!("Cache-Control: {said}\r\n") };
        format!("HTTP/1.1 200 OK\r\n{line}Content-Length: 0\r\n\r\n").into_bytes()
    });
    let gateway = dashboard(&backend, OPEN);
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let controls = |request: Request| -> Vec<String> {
        let response = request.send(at);
        let fields = response.headers.iter().filter(|(name, _)| name == "cache-control");
        fields.map(|(_, value)| value.clone()).collect()
    };
    let by_session = |target: &str| controls(open(target).header("Cookie", &cookie));
    assert_eq!(by_session("/a"), ["private"]);
    assert_eq!(by_session("/a?max-age=60"), ["max-age=60", "private"]);
    assert_eq!(by_session("/a?public,max-age=60"), ["public,max-age=60"]);
    assert_eq!(by_session("/a?no-store"), ["no-store"]);
    // HTTP has the same rule for `Authorization` itself (RFC 9111 section 3.5), and a public page is for everybody.
    assert!(controls(get("/a").basic(WEB)).is_empty());
    assert!(controls(open("/open/a").header("Cookie", &cookie)).is_empty());
}

/// A gateway with the dashboard over TLS.
fn over_tls(authority: &Authority, backend: &Backend, keys: &str) -> Gateway {
    let tls = "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n";
    let web = web(backend.address, keys).replace("listen", "tls_listen");
    let directory = configured(&format!("{tls}{}{web}", crate::common::api(backend.address)));
    authority.issue("gate.test").write(directory.path());
    let gateway = Gateway::start_in(directory);
    with_credentials(gateway.account("email,api,web"));
    gateway
}

/// The head of the answer to a request of HTTP/1.1 over TLS.
fn ask_over_tls(gateway: &Gateway, authority: &Authority, request: Request) -> String {
    use std::io::{Read, Write};
    let at = gateway.address("web.tls_listen");
    let mut stream = connect(at, "gate.test", authority.client(&["http/1.1"])).unwrap();
    stream.write_all(&request.header("Connection", "close").bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn login_over_tls(gateway: &Gateway, authority: &Authority) -> (String, String) {
    let form = encoded(&[("username", "viewer"), ("password", "passw0rd-view")]);
    let post = with(crate::common::http::request("POST", crate::common::web::LOGIN), &OWN_FORM);
    let answer = ask_over_tls(gateway, authority, post.for_host("gate.test").body(form));
    let set = answer
        .lines()
        .filter_map(|line| line.strip_prefix("Set-Cookie: "))
        .next_back()
        .unwrap_or_else(|| panic!("{answer}"));
    (set.split(';').next().unwrap().to_owned(), answer)
}

const PARTITIONED: &str = "__Host-gatepost=; Path=/; Secure; HttpOnly; SameSite=Lax; Partitioned; Max-Age=0";

// A script of the dashboard can't overwrite the session's cookie, but put a partitioned one of that name beside it.
#[test]
fn several_cookies_are_no_session_and_the_partitioned_one_is_removed() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = over_tls(&authority, &backend, "");
    let ask = |request: Request| ask_over_tls(&gateway, &authority, request.for_host("gate.test"));
    let removals = |answer: &str| answer.matches(&format!("\r\nSet-Cookie: {PARTITIONED}\r\n")).count();
    let (mine, answer) = login_over_tls(&gateway, &authority);
    // Browsers without partitions obey the last line.
    let lines: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")).collect();
    assert_eq!((lines.len(), lines[0]), (2, PARTITIONED), "{answer}");
    let (others, _) = login_over_tls(&gateway, &authority);
    let login = crate::common::web::LOGIN;
    for pair in [
        format!("{others}; {mine}"),
        format!("{mine}; {others}"),
        format!("__Host-gatepost=rubbish; {mine}"),
        format!("{mine}; a=b; __Host-gatepost="),
    ] {
        let shown = ask(open("/a").header("Cookie", &pair));
        assert!(shown.starts_with("HTTP/1.1 303") && shown.contains("/-/gatepost/login?next=/a"), "{shown}");
        let part = ask(fetch("GET", "/a").header("Cookie", &pair));
        assert!(part.starts_with("HTTP/1.1 401") && !part.contains("Basic"), "{part}");
        for (address, status) in [(login.to_owned(), 200), (format!("{login}?sent=1"), 401)] {
            let page = ask(open(&address).header("Cookie", &pair));
            assert!(page.starts_with(&format!("HTTP/1.1 {status}")), "{page}");
            assert_eq!(removals(&page), 1, "{page}");
        }
        // Another login works, whatever lies beside it.
        let form = encoded(&[("username", "viewer"), ("password", "passw0rd-view")]);
        let post = with(crate::common::http::request("POST", login), &OWN_FORM).header("Cookie", &pair);
        let begun = ask(post.body(form));
        assert!(begun.starts_with("HTTP/1.1 303") && removals(&begun) == 1, "{begun}");
    }
    assert!(backend.drain().is_empty());
    // The same one twice is one, and both sessions are still open.
    for cookie in [format!("{mine}; {mine}"), others.clone()] {
        assert!(ask(open("/a").header("Cookie", &cookie)).starts_with("HTTP/1.1 200"));
        assert!(got(&backend).is_empty());
    }
    assert_eq!(removals(&ask(open(login))), 0);
    let post = with(crate::common::http::request("POST", "/-/gatepost/logout"), &OWN_FORM);
    let done = ask(post.header("Cookie", &format!("{others}; {mine}")));
    assert!(done.starts_with("HTTP/1.1 303") && removals(&done) == 1, "{done}");
    // A logout ends whatever session the browser has.
    for cookie in [mine, others] {
        assert!(ask(open("/a").header("Cookie", &cookie)).starts_with("HTTP/1.1 303"));
    }
}

#[test]
fn over_tls_the_cookie_is_for_this_host_alone() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = over_tls(&authority, &backend, "");
    let (cookie, answer) = login_over_tls(&gateway, &authority);
    assert!(answer.contains("; Path=/; Secure; HttpOnly; SameSite=Lax\r\n"), "{answer}");
    assert!(cookie.starts_with("__Host-gatepost="), "{cookie}");
    assert!(answer.contains("\r\nStrict-Transport-Security: max-age=31536000\r\n"), "{answer}");
    let page = |cookie: &str| {
        let request = open("/a").for_host("gate.test").header("Cookie", cookie);
        ask_over_tls(&gateway, &authority, request)
    };
    assert!(page(&cookie).starts_with("HTTP/1.1 200"));
    assert!(got(&backend).is_empty());
    // A page of another port or scheme could have set that one.
    assert!(page(&cookie.replace("__Host-", "")).starts_with("HTTP/1.1 303"));
    let local = ask_over_tls(&gateway, &authority, open(crate::common::web::LOGIN));
    assert!(local.starts_with("HTTP/1.1 200") && !local.contains("Strict-Transport"), "{local}");
}

// A client that keeps cookies by its own rules: for the host, for TLS, and with the prefix of the name.
#[test]
fn curl_logs_in_and_out_with_a_cookie_jar() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = over_tls(&authority, &backend, "");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let at = gateway.address("web.tls_listen");
    let ca = gateway.directory.path().join("cert.pem").display().to_string();
    let (host, jar) = (format!("https://gate.test:{}", at.port()), file("jar"));
    let resolve = format!("gate.test:{}:{}", at.port(), at.ip());
    let fetch = |version: &str, path: &str, more: &[&str]| {
        let url = format!("{host}{path}");
        let base = ["--cacert", &ca, "--resolve", &resolve, "-b", &jar, "-c", &jar, "-L", version, &url];
        let navigation = ["-H", "Sec-Fetch-Mode: navigate", "-H", "Sec-Fetch-Site: same-origin"];
        curl(&[&base[..], &navigation, more].concat())
    };
    for version in ["--http1.1", "--http2"] {
        let page = fetch(version, "/d/x?y=%2F1&z", &[]);
        assert!(page.status == 200 && page.text().contains("value=\"/d/x?y=%2F1&#38;z\""), "{page:?}");
        let form = ["username=viewer", "password=passw0rd-view", "next=/d/x?y=%2F1&z"];
        let form: Vec<&str> = form.iter().flat_map(|field| ["--data-urlencode", *field]).collect();
        // It is led on by GET, with the cookie, to the page that leads on to the one behind the login.
        let arrived = fetch(version, "/-/gatepost/login", &form);
        let text = arrived.text();
        assert!(arrived.status == 200 && text.contains("content=\"0;url=/d/x?y=%2F1&#38;z\""), "{text}");
        let shown = fetch(version, "/d/x?y=%2F1&z", &[]);
        assert_eq!((shown.status, shown.text().as_str()), (200, "hello"), "{version}");
        let received = backend.next();
        assert_eq!((received.target.as_str(), received.header("cookie")), ("/d/x?y=%2F1&z", None));
        let kept = std::fs::read_to_string(&jar).unwrap();
        assert!(kept.contains("__Host-gatepost"), "{kept}");
        assert_eq!(fetch(version, "/again", &[]).text(), "hello");
        backend.next();
        let out = fetch(version, "/-/gatepost/logout", &["--data", ""]);
        assert!(out.status == 200 && out.text().contains("You are logged out"), "{}", out.text());
        // curl writes no jar without a cookie, so it sends the old one again.
        let again = fetch(version, "/again", &[]);
        assert!(again.status == 200 && again.text().contains("Your session has ended"), "{again:?}");
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn crumbs_over_http2_are_put_together_without_it() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = over_tls(&authority, &backend, OPEN);
    let (cookie, _) = login_over_tls(&gateway, &authority);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.address("web.tls_listen")).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(authority.client(&["h2"]));
        let stream = connector.connect("gate.test".try_into().unwrap(), stream).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for (path, crumbs, status, expected) in [
            ("/a", &["a=b", &cookie, "c=d; e=f"][..], 200, &["a=b; c=d; e=f"][..]),
            ("/a", &[&cookie], 200, &[]),
            ("/a", &["a=b; x", &format!("y; {cookie}")], 200, &["a=b; x; y"]),
            ("/open/a", &["a=b", "gatepost-console=1.AAAA", "__Host-gatepost=1.AAAA"], 200, &["a=b"]),
            ("/a", &["a=b"], 303, &[]),
        ] {
            let mut request =
                http::Request::get(format!("https://gate.test{path}")).header("sec-fetch-mode", "navigate");
            for crumb in crumbs {
                request = request.header("cookie", *crumb);
            }
            client = client.ready().await.unwrap();
            let (response, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
            let (got_status, body) = whole(response.await.unwrap()).await.unwrap();
            assert_eq!(got_status, status, "{path} {crumbs:?}: {}", Bytes::from(body).escape_ascii());
            if status == 200 {
                assert_eq!(got(&backend), expected, "{path} {crumbs:?}");
            }
        }
    });
    assert!(backend.drain().is_empty());
}

// A gate's session is worth nothing at the console, and the other way round: cookies are not separated by ports.
#[test]
fn a_session_of_the_gate_is_none_of_the_console() {
    let backend = Backend::hello();
    let console = "[console]\nlisten = [\"127.0.0.1:0\"]\n";
    let gateway = dashboard(&backend, console);
    let cookie = log_in(address(&gateway), WEB);
    let value = cookie.split_once('=').unwrap().1;
    let at = gateway.address("console.listen");
    for name in ["gatepost", "gatepost-console", "__Host-gatepost-console"] {
        let response = fetch("GET", "/credentials").header("Cookie", &format!("{name}={value}")).send(at);
        assert_ne!(response.status, 200, "{name}");
    }
}
