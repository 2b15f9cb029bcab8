//! The login page of the gate: logins that are accepted and refused, the cookie of a session, and the way back.

use crate::common::Gateway;
use crate::common::backend::Backend;
use crate::common::callers::{NOTHING, WEB};
use crate::common::http::{Response, get, request};
use crate::common::web::{
    LOGIN, OWN_FORM, address, cookie_of, dashboard, dashboard_with, encoded, fetch, log_in, login_form, open,
    with,
};

fn start() -> (Gateway, Backend) {
    let backend = Backend::hello();
    (dashboard(&backend, ""), backend)
}

/// The text of a page without what differs between two answers: the request ID and the username.
fn text_of(response: &Response, username: &str) -> String {
    let id = response.header("x-request-id").unwrap();
    response.text().replace(id, "ID").replace(username, "NAME")
}

#[test]
fn the_page_suits_password_managers_and_needs_no_script() {
    let (gateway, _backend) = start();
    let response = open(LOGIN).send(address(&gateway));
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    let text = response.text();
    for part in [
        "action=\"/-/gatepost/login\" method=\"post\"",
        "id=\"username\" name=\"username\"",
        "autocomplete=\"username\"",
        "id=\"password\" name=\"password\"",
        "autocomplete=\"current-password\"",
        "localhost:8081",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("style=") && !text.contains("<style") && !text.contains("onclick"), "{text}");
    let head = with(request("HEAD", LOGIN), &[]);
    let mut connection = crate::common::http::Connection::open(address(&gateway));
    connection.write(&head.bytes());
    let answer = String::from_utf8(connection.read_raw().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_login_leads_back_and_its_cookie_lets_in() {
    let (gateway, backend) = start();
    let at = address(&gateway);
    let response = open("/d/x?y=1&z=%2Fa").send(at);
    assert_eq!(response.status, 303);
    let login = response.header("location").unwrap().to_owned();
    assert_eq!(login, "/-/gatepost/login?next=/d/x%3Fy%3D1%26z%3D%252Fa");
    let page = open(&login).send(at);
    assert!(page.text().contains("name=\"next\" value=\"/d/x?y=1&#38;z=%2Fa\""), "{}", page.text());

    let response = login_form(WEB, "/d/x?y=1&z=%2Fa").send(at);
    assert_eq!(response.status, 303, "{}", response.text());
    let set = response.set_cookie().unwrap().to_owned();
    let cookie = cookie_of(&response);
    assert!(cookie.starts_with("gatepost="), "{set}");
    assert_eq!(&set[cookie.len()..], "; Path=/; HttpOnly; SameSite=Lax");
    // The browser shows that it has kept the cookie.
    let arrived = open(response.header("location").unwrap()).header("Cookie", &cookie).send(at);
    // It leads on by a navigation of its own: Chromium applies `form-action` to all redirections of a form.
    assert_eq!((arrived.status, arrived.header("location")), (200, None));
    for part in [
        "<noscript><meta http-equiv=\"refresh\" content=\"0;url=/d/x?y=1&#38;z=%2Fa\"></noscript>",
        "href=\"/d/x?y=1&#38;z=%2Fa\" data-continue",
    ] {
        assert!(arrived.text().contains(part), "{}", arrived.text());
    }
    assert!(backend.drain().is_empty());
    let shown = open("/d/x?y=1&z=%2Fa").header("Cookie", &cookie).send(at);
    assert_eq!((shown.status, shown.text().as_str()), (200, "hello"));
    let received = backend.next();
    assert_eq!(received.target, "/d/x?y=1&z=%2Fa");
    assert_eq!(received.header("x-gatepost-user"), Some("viewer"));
    assert_eq!(received.header("x-gatepost-account"), Some("acme"));
    assert_eq!(received.header("cookie"), None);
    // Another login in the same browser leads on as well.
    let again = open(&login).header("Cookie", &cookie).send(at);
    assert_eq!((again.status, again.header("location")), (303, Some("/d/x?y=1&z=%2Fa")));
}

#[test]
fn a_cookie_that_the_browser_does_not_keep_is_told() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    let response = login_form(WEB, "/a").send(at);
    let page = open(response.header("location").unwrap()).send(at);
    assert_eq!((page.status, page.header("location")), (401, None));
    assert!(page.text().contains("did not keep its cookie"), "{}", page.text());
    let home = login_form(WEB, "/").send(at);
    assert_eq!(home.header("location"), Some("/-/gatepost/login?sent=1"));
    assert_eq!(open("/-/gatepost/login?sent=1").send(at).status, 401);
}

#[test]
fn unknown_wrong_and_suspended_look_alike() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    let answers: Vec<(Response, &str)> = {
        let mut answers = vec![
            (login_form("nosuch:passw0rd-view", "/a").send(at), "nosuch"),
            (login_form("viewer:wr0ng-password", "/a").send(at), "viewer"),
        ];
        let suspended = gateway.command(&["account", "suspend", "acme"], "");
        assert!(suspended.status.success());
        answers.push((login_form(WEB, "/a").send(at), "viewer"));
        answers
    };
    let first = text_of(&answers[0].0, answers[0].1);
    assert!(first.contains("Wrong username or password") && first.contains("value=\"NAME\""), "{first}");
    assert!(first.contains("name=\"next\" value=\"/a\""), "{first}");
    for (answer, username) in &answers {
        assert_eq!(answer.status, 401);
        assert_eq!(text_of(answer, username), first);
        assert_eq!(answer.header("set-cookie"), None);
        // None that opens a password box of the browser.
        assert!(!answer.header("www-authenticate").unwrap().contains("Basic"));
        let names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        let others: Vec<&str> = answers[0].0.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, others);
    }
    for (reason, user) in [("unknown", "nosuch"), ("wrong", "viewer"), ("suspended", "viewer")] {
        gateway.log().wait_for(&[
            "\"action\":\"check\"",
            user,
            &format!("\"reason\":\"{reason}\""),
            "\"web\"",
        ]);
    }
}

#[test]
fn a_login_without_the_permission_is_told_in_words() {
    let (gateway, _backend) = start();
    for login in [NOTHING, "mailer:passw0rd-mail", "caller:passw0rd-call"] {
        let response = login_form(login, "/").send(address(&gateway));
        let (name, _) = login.split_once(':').unwrap();
        assert_eq!((response.status, response.header("set-cookie")), (403, None), "{login}");
        let text = response.text();
        assert!(text.contains(name) && text.contains("permission “web” is missing"), "{text}");
    }
    let wrong = login_form("nobody:passw0rd-wrong", "/").send(address(&gateway));
    assert_eq!(wrong.status, 401);
}

#[test]
fn the_permission_is_that_of_the_page_behind_the_login() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "[[web.route]]\npath = \"/calls/*\"\npermission = \"api\"\n");
    let at = address(&gateway);
    let response = login_form("caller:passw0rd-call", "/calls/a").send(at);
    assert_eq!(response.status, 303, "{}", response.text());
    let cookie = cookie_of(&response);
    assert_eq!(open("/calls/a").header("Cookie", &cookie).send(at).status, 200);
    assert_eq!(open("/other").header("Cookie", &cookie).send(at).status, 403);
    assert!(backend.drain().len() == 1);
    // That for the dashboard is enough for a session. The page then says what is missing, and the way out works.
    let response = login_form(WEB, "/calls/a").send(at);
    assert_eq!(response.status, 303, "{}", response.text());
    let cookie = cookie_of(&response);
    let page = open("/calls/a").header("Cookie", &cookie).send(at);
    assert_eq!(page.status, 403);
    let text = page.text();
    assert!(text.contains("You are logged in as viewer") && text.contains("permission “api”"), "{text}");
    assert!(text.contains("href=\"/-/gatepost/logout\""), "{text}");
    let question = open("/-/gatepost/logout").header("Cookie", &cookie).send(at);
    assert!(question.status == 200 && question.text().contains("viewer"), "{}", question.text());
    assert_eq!(open("/other").header("Cookie", &cookie).send(at).status, 200);
    // With neither of them there is none.
    let refused = login_form("mailer:passw0rd-mail", "/calls/a").send(at);
    assert_eq!((refused.status, refused.header("set-cookie")), (403, None));
    let text = refused.text();
    assert!(text.contains("You are not logged in") && text.contains("permission “api”"), "{text}");
    assert!(text.contains("href=\"/-/gatepost/login?next=/calls/a\""), "{text}");
}

#[test]
fn throttled_logins_are_told_when_to_try_again() {
    let backend = Backend::hello();
    let gateway = dashboard_with("", &backend, "");
    let at = address(&gateway);
    // Each another one: the same again costs nothing, and so is not throttled.
    let mut answers =
        (0..60).map(|number| login_form(&format!("viewer:wr0ng-password-{number}"), "/a?b").send(at));
    let throttled = answers.find(|answer| answer.status != 401).expect("never throttled");
    assert_eq!(throttled.status, 429);
    let seconds: u64 = throttled.header("retry-after").unwrap().parse().unwrap();
    let words = if seconds == 1 { "1 second".to_owned() } else { format!("{seconds} seconds") };
    let text = throttled.text();
    assert!(seconds >= 1 && text.contains(&format!("Try again in {words}.")), "{text}");
    assert!(text.contains("value=\"viewer\"") && text.contains("value=\"/a?b\""), "{text}");
}

#[test]
fn a_foreign_or_incomplete_form_shows_itself_again() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    let form = encoded(&[("username", "viewer"), ("password", "passw0rd-view"), ("next", "/a")]);
    let urlencoded = ("Content-Type", "application/x-www-form-urlencoded");
    for fields in [
        &[urlencoded, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")][..],
        &[urlencoded, ("Sec-Fetch-Site", "same-site"), ("Origin", "http://localhost:8081")],
        &[urlencoded, ("Sec-Fetch-Site", "none")],
        &[urlencoded, ("Origin", "https://evil.test")],
        &[urlencoded, ("Origin", "http://localhost:9999")],
        &[urlencoded, ("Origin", "null")],
        &[urlencoded, ("Origin", "http://localhost:8081"), ("Origin", "https://evil.test")],
        &[urlencoded],
    ] {
        let response = with(request("POST", LOGIN), fields).body(form.clone()).send(at);
        assert_eq!((response.status, response.header("set-cookie")), (403, None), "{fields:?}");
        let text = response.text();
        assert!(text.contains("value=\"viewer\"") && text.contains("Nothing was checked"), "{text}");
        assert!(!text.contains("passw0rd-view"));
    }
    for own in [
        &[urlencoded, ("Sec-Fetch-Site", "same-origin"), ("Origin", "null")][..],
        &[urlencoded, ("Origin", "http://localhost:8081")],
    ] {
        assert_eq!(with(request("POST", LOGIN), own).body(form.clone()).send(at).status, 303, "{own:?}");
    }
    for (form, status, words) in [
        ("", 400, "Give the username"),
        ("username=viewer", 400, "value=\"viewer\""),
        ("username=viewer&password=", 400, "Give the username"),
        ("password=passw0rd-view", 400, "Give the username"),
        ("username=%ff&password=x", 400, "not text"),
    ] {
        let response = with(request("POST", LOGIN), &OWN_FORM).body(form).send(at);
        assert_eq!(response.status, status, "{form}");
        assert!(response.text().contains(words), "{form}: {}", response.text());
    }
    let json = with(request("POST", LOGIN), &OWN_FORM[..2]).header("Content-Type", "application/json");
    assert_eq!(json.body("{}").send(at).status, 400);
    let large = with(request("POST", LOGIN), &OWN_FORM).body(format!("username={}", "a".repeat(70_000)));
    assert_eq!(large.send(at).status, 413);
}

#[test]
fn no_way_back_leads_to_another_site() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    for next in [
        "//evil.test/",
        "/\\evil.test",
        "https://evil.test/",
        "/\t/evil.test",
        "/a/..//evil.test",
        "/%0d%0aLocation:%20//evil.test\r\n",
        "/-/gatepost/logout",
        "javascript:alert(1)",
    ] {
        let cookie = {
            let response = login_form(WEB, next).send(at);
            let location = response.header("location").unwrap();
            assert_eq!(location, "/-/gatepost/login?sent=1", "{next:?}");
            cookie_of(&response)
        };
        let query = format!("{LOGIN}?{}", encoded(&[("next", next)]));
        let page = open(&query).send(at);
        assert!(page.status == 200 && !page.text().contains("evil.test"), "{}", page.text());
        let back = open(&query).header("Cookie", &cookie).send(at);
        assert_eq!((back.status, back.header("location")), (303, Some("/")), "{next:?}");
    }
}

#[test]
fn texts_of_others_are_no_markup() {
    let (gateway, _backend) = start();
    let response = login_form("<script>alert(1)</script>\"':x", "/a?q=\"><script>").send(address(&gateway));
    assert_eq!(response.status, 401);
    let text = response.text();
    assert!(!text.contains("<script>") && !text.contains("q=\"><"), "{text}");
}

#[test]
fn a_login_replaces_the_session_before() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    let first = log_in(at, WEB);
    let response = login_form(WEB, "/").header("Cookie", &first).send(at);
    let second = cookie_of(&response);
    assert_ne!(first, second);
    assert_eq!(fetch("GET", "/a").header("Cookie", &first).send(at).status, 401);
    assert_eq!(fetch("GET", "/a").header("Cookie", &second).send(at).status, 200);
    // A cookie that an attacker has chosen is never taken over.
    let fixed = "gatepost=1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let response = login_form(WEB, "/").header("Cookie", fixed).send(at);
    assert_ne!(cookie_of(&response), fixed);
    assert_eq!(fetch("GET", "/a").header("Cookie", fixed).send(at).status, 401);
}

// Behind a proxy that changes the host, the page says so instead of asking again and again.
#[test]
fn a_form_from_another_host_names_the_setting() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    let form = encoded(&[("username", "viewer"), ("password", "passw0rd-view")]);
    let urlencoded = ("Content-Type", "application/x-www-form-urlencoded");
    let says = |fields: &[(&str, &str)]| {
        let response = with(request("POST", LOGIN), fields).body(form.clone()).send(at);
        assert_eq!((response.status, response.header("set-cookie")), (403, None), "{fields:?}");
        response.text()
    };
    let other = says(&[urlencoded, ("Origin", "https://dash.example.com")]);
    assert!(other.contains("another origin") && other.contains("public_origin"), "{other}");
    for fields in [
        &[urlencoded, ("Origin", "null")][..],
        &[urlencoded, ("Sec-Fetch-Site", "cross-site"), ("Origin", "https://dash.example.com")],
    ] {
        let stale = says(fields);
        assert!(stale.contains("open for too long") && !stale.contains("public_origin"), "{stale}");
    }
    // The browser vouches for the page, which came through TLS from elsewhere.
    let same = [urlencoded, ("Sec-Fetch-Site", "same-origin"), ("Origin", "https://dash.example.com")];
    let text = says(&same);
    assert!(text.contains("not encrypted") && text.contains("trusted_proxies"), "{text}");
}

#[test]
fn a_request_that_an_unknown_proxy_passes_on_is_not_of_the_same_machine() {
    let (gateway, backend) = start();
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    for field in [
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "localhost:8081"),
        ("X-Forwarded-Port", "443"),
        ("Forwarded", "for=192.0.2.7"),
        ("Via", "1.1 proxy"),
    ] {
        let page = open(LOGIN).header(field.0, field.1).send(at);
        assert_eq!(page.status, 403, "{field:?}");
        let text = page.text();
        assert!(!text.contains("<form") && text.contains("public_origin"), "{text}");
        assert!(text.contains("trusted_proxies"), "{text}");
        assert_eq!(login_form(WEB, "/").header(field.0, field.1).send(at).status, 403, "{field:?}");
        let part = fetch("GET", "/a").header("Cookie", &cookie).header(field.0, field.1).send(at);
        assert_eq!(part.status, 401, "{field:?}");
    }
    assert!(backend.drain().is_empty());
}

// A password must not be sent over a network unencrypted, and no browser would return the cookie.
#[test]
fn without_tls_only_the_same_machine_logs_in() {
    let (gateway, _backend) = start();
    let at = address(&gateway);
    let page = get(LOGIN).send(at);
    assert_eq!(page.status, 403);
    assert!(page.text().contains("not encrypted") && !page.text().contains("<form"), "{}", page.text());
    let form = encoded(&[("username", "viewer"), ("password", "passw0rd-view")]);
    let post =
        || OWN_FORM.iter().fold(request("POST", LOGIN), |post, (name, value)| post.header(name, value));
    let refused = post().body(form.clone()).send(at);
    assert_eq!((refused.status, refused.header("set-cookie")), (403, None));
    // Not even a session that began on the same machine counts elsewhere.
    let cookie = log_in(at, WEB);
    assert_eq!(get("/a").header("Cookie", &cookie).send(at).status, 401);
    for host in ["localhost", "LOCALHOST:80", "dash.localhost:8081", "127.0.0.1:8081", "[::1]:8081"] {
        let page = get(LOGIN).for_host(host).send(at);
        assert_eq!(page.status, 200, "{host}");
        let login = post().for_host(host).body(form.clone()).send(at);
        assert_eq!(login.status, 303, "{host}");
    }
    for host in ["localhost.example.com", "10.0.0.1", "127.0.0.1.example.com"] {
        assert_eq!(get(LOGIN).for_host(host).send(at).status, 403, "{host}");
    }
}

#[test]
fn other_methods_are_refused() {
    let (gateway, backend) = start();
    for (method, path, allowed) in [
        ("PUT", LOGIN, "GET, HEAD, POST"),
        ("DELETE", "/-/gatepost/logout", "GET, HEAD, POST"),
        ("OPTIONS", LOGIN, "GET, HEAD, POST"),
    ] {
        let response = with(request(method, path), &[]).send(address(&gateway));
        assert_eq!((response.status, response.header("allow")), (405, Some(allowed)), "{method} {path}");
    }
    assert!(backend.drain().is_empty());
}
