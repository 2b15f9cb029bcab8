//! Requests to the dashboard: which ones lead to the login, which ones are refused with a 401 and how, and what a session permits.

use crate::common::Gateway;
use crate::common::backend::Backend;
use crate::common::callers::{ALL, NO_DELAYS, WEB};
use crate::common::http::{Request, get, request};
use crate::common::web::{
    FETCH, NAVIGATION, OWN_FORM, address, dashboard, dashboard_with, fetch, log_in, logout_form, open, with,
};

const CHALLENGE: &str = "Basic realm=\"Gatepost\", charset=\"UTF-8\"";

fn start() -> (Gateway, Backend) {
    let backend = Backend::hello();
    (dashboard(&backend, ""), backend)
}

fn upgrade(target: &str) -> Request {
    get(target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[test]
fn navigations_lead_to_the_login_and_everything_else_is_a_401() {
    let (gateway, backend) = start();
    let at = address(&gateway);
    let html = ("Accept", "text/html,*/*;q=0.8");
    let ended = ("Cookie", "gatepost=1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    for (method, fields) in [
        ("GET", &NAVIGATION[..]),
        ("HEAD", &NAVIGATION[..1]),
        ("GET", &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "cross-site")]),
        ("GET", &[html]),
        ("HEAD", &[html]),
        ("GET", &[html, ended]),
        ("GET", &[html, ended, ("Authorization", "Basic dmlld2VyOndyb25nLXBhc3MxMQ==")]),
        ("GET", &[NAVIGATION[0], ended]),
        ("GET", &[NAVIGATION[0], ("Authorization", "Basic dmlld2VyOndyb25nLXBhc3MxMQ==")]),
    ] {
        let response = with(request(method, "/a?b=c"), fields).send(at);
        let location = response.header("location");
        assert_eq!(
            (response.status, location),
            (303, Some("/-/gatepost/login?next=/a%3Fb%3Dc")),
            "{fields:?}"
        );
        assert_eq!(response.header("www-authenticate"), None);
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
    // Programs are asked for a Basic login, as before.
    for (method, fields) in [
        ("GET", &[][..]),
        ("GET", &[("Accept", "*/*")]),
        ("POST", &[html]),
        ("DELETE", &[]),
        ("GET", &[("Cookie", "a=b")]),
        ("GET", &[("Authorization", "Basic dmlld2VyOndyb25nLXBhc3MxMQ==")]),
        ("GET", &[html, ("Authorization", "Basic dmlld2VyOndyb25nLXBhc3MxMQ==")]),
        ("GET", &[html, ("Authorization", "Basic !")]),
    ] {
        let response = with(request(method, "/a"), fields).send(at);
        assert_eq!(
            (response.status, response.header("www-authenticate")),
            (401, Some(CHALLENGE)),
            "{fields:?}"
        );
    }
    // Parts of pages are not, since the browser would open a password box of its own.
    for (method, fields) in [
        ("GET", &FETCH[..]),
        ("POST", &FETCH[..]),
        ("GET", &[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image"), html]),
        ("GET", &[("Sec-Fetch-Site", "same-origin")]),
        ("POST", &[("Origin", "http://localhost:8081")]),
        ("GET", &[("X-Requested-With", "XMLHttpRequest")]),
        ("GET", &[ended]),
        ("GET", &[("Authorization", "Basic dmlld2VyOndyb25nLXBhc3MxMQ=="), FETCH[0]]),
    ] {
        let response = with(request(method, "/a"), fields).send(at);
        assert_eq!(response.status, 401, "{fields:?}");
        assert!(!response.header("www-authenticate").unwrap().contains("Basic"), "{fields:?}");
        assert_eq!(response.header("location"), None);
    }
    assert_eq!(with(upgrade("/a"), &[]).send(at).header("www-authenticate"), Some(CHALLENGE));
    for field in [("Sec-Fetch-Mode", "websocket"), ("Origin", "http://localhost:8081"), ended] {
        let response = with(upgrade("/a"), &[field]).send(at);
        assert_eq!(response.status, 401, "{field:?}");
        assert!(!response.header("www-authenticate").unwrap().contains("Basic"), "{field:?}");
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn a_form_without_a_session_is_told_that_nothing_was_sent() {
    let (gateway, backend) = start();
    for method in ["POST", "PUT", "DELETE"] {
        let response = with(request(method, "/save"), &OWN_FORM).body("a=b").send(address(&gateway));
        assert_eq!((response.status, response.header("location")), (401, None));
        let text = response.text();
        assert!(text.contains("Nothing was sent") && text.contains("href=\"/-/gatepost/login\""), "{text}");
        assert!(!response.header("www-authenticate").unwrap().contains("Basic"));
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn scripts_with_basic_go_on_working() {
    let (gateway, backend) = start();
    let at = address(&gateway);
    for request in [get("/a"), with(get("/a"), &NAVIGATION), with(request("POST", "/a"), &[])] {
        assert_eq!(request.basic(WEB).send(at).status, 200);
        let received = backend.next();
        assert_eq!(
            (received.header("authorization"), received.header("x-gatepost-user")),
            (None, Some("viewer"))
        );
    }
    assert_eq!(get("/a").basic("mailer:passw0rd-mail").send(at).status, 403);
}

#[test]
fn with_a_session_an_authorization_field_is_the_backends() {
    let (gateway, backend) = start();
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    for value in ["Basic YWRtaW46YWRtaW4=", "Bearer abc", "Basic", "Basic dmlld2VyOnBhc3N3MHJkLXZpZXc="] {
        let response = fetch("GET", "/a").header("Cookie", &cookie).header("Authorization", value).send(at);
        assert_eq!(response.status, 200, "{value}");
        let received = backend.next();
        assert_eq!(received.header("authorization"), Some(value));
        assert_eq!(received.header("x-gatepost-user"), Some("viewer"));
    }
    // Without one, it is Gatepost's.
    assert_eq!(get("/a").basic("admin:admin").send(at).status, 401);
    assert!(backend.drain().is_empty());
}

// A dashboard's own Basic login goes on with every fetch of an open page after the session has ended.
#[test]
fn after_the_session_an_authorization_field_of_the_dashboard_is_no_login() {
    let backend = Backend::hello();
    let gateway = dashboard_with("", &backend, "");
    let at = address(&gateway);
    let ended = log_in(at, WEB);
    assert_eq!(logout_form(&ended).send(at).status, 303);
    for number in 0..40 {
        let login = format!("admin:backend-passw0rd-{number}");
        let response = fetch("GET", "/a").header("Cookie", &ended).basic(&login).send(at);
        assert_eq!(response.status, 401, "{number}: {}", response.text());
        assert!(!response.header("www-authenticate").unwrap().contains("Basic"));
    }
    for value in ["Basic", "Basic !", "Bearer abc"] {
        let response = fetch("POST", "/a").header("Cookie", &ended).header("Authorization", value).send(at);
        assert_eq!(response.status, 401, "{value}: {}", response.text());
    }
    // The source has failed at nothing.
    log_in(at, WEB);
    assert_eq!(get("/a").basic(WEB).send(at).status, 200);
    // A program that keeps cookies means its login.
    assert_eq!(get("/a").header("Cookie", &ended).basic(WEB).send(at).status, 200);
    assert_eq!(backend.drain().len(), 2);
}

#[test]
fn a_lost_permission_is_a_page_in_words_and_a_change_of_the_password_is_a_login() {
    let (gateway, backend) = start();
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let page = || open("/a").header("Cookie", &cookie).send(at);
    let part = || fetch("GET", "/a").header("Cookie", &cookie).send(at);
    assert_eq!((page().status, part().status), (200, 200));
    assert_eq!(gateway.manage("edit", "username=viewer&permissions={\"web\":0}").0, 200);
    let refused = page();
    assert_eq!(refused.status, 403);
    let text = refused.text();
    assert!(text.contains("viewer") && text.contains("permission “web” is missing"), "{text}");
    assert!(text.contains("href=\"/-/gatepost/logout\""), "{text}");
    let plain = part();
    assert_eq!(plain.status, 403);
    assert!(plain.text().contains("web is needed"), "{}", plain.text());
    gateway.log().wait_for(&["\"reason\":\"forbidden\"", "viewer", "\"web\""]);
    assert_eq!(gateway.manage("edit", "username=viewer&permissions={\"web\":1}").0, 200);
    assert_eq!((page().status, part().status), (200, 200));
    assert_eq!(gateway.manage("edit", "username=viewer&password=an0ther-passw0rd").0, 200);
    assert_eq!((page().status, part().status), (303, 401));
    let login = open("/-/gatepost/login?next=/a").header("Cookie", &cookie).send(at);
    assert!(login.text().contains("Your session has ended"), "{}", login.text());
    let again = log_in(at, "viewer:an0ther-passw0rd");
    assert_eq!(open("/a").header("Cookie", &again).send(at).status, 200);
    assert_eq!(backend.drain().len(), 5);
}

#[test]
fn a_refused_request_is_one_decision() {
    let backend = Backend::hello();
    let sections = format!("{NO_DELAYS}[ops]\nlisten = \"127.0.0.1:0\"\n");
    let gateway =
        dashboard_with(&sections, &backend, "[[web.route]]\npath = \"/calls/*\"\npermission = \"api\"\n");
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let decisions = || -> u64 {
        let text = get("/metrics").send(gateway.address("ops.listen")).text();
        let counts = text.lines().filter(|line| line.starts_with("gatepost_decisions_total{entry=\"web\""));
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    let before = decisions();
    let refused = open("/calls/a").header("Cookie", &cookie).send(at);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("viewer"), "{}", refused.text());
    assert_eq!(decisions() - before, 1);
}

#[test]
fn removal_and_suspension_are_at_the_login_at_once() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    let (viewer, everything) = (log_in(at, WEB), log_in(at, ALL));
    let status = |cookie: &str| {
        let page = open("/a").header("Cookie", cookie).send(at).status;
        (page, fetch("POST", "/a").header("Cookie", cookie).send(at).status)
    };
    assert_eq!((status(&viewer), status(&everything)), ((200, 200), (200, 200)));
    assert_eq!(gateway.manage("remove", "username=viewer").0, 200);
    assert_eq!((status(&viewer), status(&everything)), ((303, 401), (200, 200)));
    assert!(gateway.command(&["account", "suspend", "acme"], "").status.success());
    assert_eq!(status(&everything), (303, 401));
}

#[test]
fn a_logout_ends_the_session_and_clears_the_browser() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let page = open("/-/gatepost/logout").header("Cookie", &cookie).send(at);
    assert_eq!(page.status, 200);
    assert!(page.text().contains("viewer") && page.text().contains("method=\"post\""), "{}", page.text());
    // Any page can have a browser open an address, so that one only asks.
    assert_eq!(open("/a").header("Cookie", &cookie).send(at).status, 200);
    for foreign in [&[("Sec-Fetch-Site", "cross-site")][..], &[("Origin", "https://evil.test")], &[]] {
        let forged = with(request("POST", "/-/gatepost/logout"), foreign).header("Cookie", &cookie).send(at);
        assert_eq!((forged.status, forged.header("set-cookie")), (403, None), "{foreign:?}");
    }
    assert_eq!(open("/a").header("Cookie", &cookie).send(at).status, 200);
    let done = logout_form(&cookie).send(at);
    assert_eq!((done.status, done.header("location")), (303, Some("/-/gatepost/login?out=1")));
    assert_eq!(done.header("clear-site-data"), Some("\"cache\", \"storage\""));
    let expired = done.set_cookie().unwrap();
    assert_eq!(expired, "gatepost=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    assert!(open("/-/gatepost/login?out=1").send(at).text().contains("You are logged out"));
    assert_eq!(open("/a").header("Cookie", &cookie).send(at).status, 303);
    assert_eq!(fetch("GET", "/a").header("Cookie", &cookie).send(at).status, 401);
    // Again, and for nobody.
    assert_eq!(logout_form(&cookie).send(at).status, 303);
    assert_eq!(open("/-/gatepost/logout").send(at).status, 303);
    gateway.log().wait_for(&["session", "viewer", "\"outcome\":\"done\""]);
}

#[test]
fn changed_and_truncated_cookies_are_no_session() {
    let (gateway, backend) = start();
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let mut last = cookie.clone();
    let end = if last.ends_with('A') { 'E' } else { 'A' };
    last.pop();
    for bad in [
        cookie[..cookie.len() - 1].to_owned(),
        format!("{cookie}A"),
        format!("{last}{end}"),
        cookie.replace("gatepost=", "__Host-gatepost="),
        cookie.replace("gatepost=", "Gatepost="),
        cookie.replace("gatepost=", "gatepost-console="),
        cookie.replace("gatepost=", "gatepost=\"") + "\"",
        cookie.replace("gatepost=", "a=gatepost="),
        "gatepost=".to_owned(),
    ] {
        let response = fetch("GET", "/a").header("Cookie", &bad).send(at);
        assert_eq!(response.status, 401, "{bad}");
    }
    assert!(backend.drain().is_empty());
    let among = format!("a=b; {cookie};c=d");
    assert_eq!(fetch("GET", "/a").header("Cookie", &among).send(at).status, 200);
    assert_eq!(backend.next().header("cookie"), Some("a=b;c=d"));
}

#[test]
fn the_access_log_names_the_user_of_a_session() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "");
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    assert_eq!(open("/seen").header("Cookie", &cookie).send(at).status, 200);
    gateway.log().wait_for(&["\"access\"", "\"path\":\"/seen\"", "\"user\":\"viewer\"", "\"status\":200"]);
    gateway.log().wait_for(&["\"access\"", "/-/gatepost/login", "\"user\":\"viewer\"", "\"status\":303"]);
    let secret = cookie.split('=').nth(1).unwrap();
    assert!(!gateway.log().text().contains(secret));
}
