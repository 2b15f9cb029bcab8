//! The login of the console: who gets in, what a session is worth, and how it ends.

use crate::common::backend::Backend;
use crate::common::console::{Browser, encoded, section};
use crate::common::http::{Request, get, request};
use crate::common::tls::{Authority, connect};
use crate::common::{Gateway, HOLDER, api, configured};

fn gateway(keys: &str) -> Gateway {
    let gateway = Gateway::start(&section(keys));
    gateway.account("email,api,web").credential("joe-ci:joes-passw0rd", "api");
    gateway
}

#[test]
fn holders_and_credentials_log_in_to_their_own_pages() {
    let gateway = gateway("");
    let mut holder = Browser::new(&gateway);
    holder.get("/").says(200, &["Username", "Password"]);
    let page = holder.log_in(HOLDER);
    page.says(200, &["Credentials", "joe-ci", "1 credential"]);
    assert_eq!(page.address, "/credentials");
    let mut credential = Browser::new(&gateway);
    let page = credential.log_in("JOE-ci:joes-passw0rd");
    page.says(200, &["joe-ci", "A credential of the account acme", "What it may do"]);
    assert_eq!(page.address, "/own");
}

#[test]
fn unknown_wrong_and_suspended_are_one_answer() {
    let gateway = gateway("");
    gateway.command(&["account", "add", "gone", "--password-stdin"], "g0ne-password\n");
    gateway.command(&["account", "suspend", "gone"], "");
    let mut answers = Vec::new();
    for login in ["nobody:wr0ng-password", "acme:wr0ng-password", "gone:g0ne-password"] {
        let mut browser = Browser::new(&gateway);
        let page = browser.log_in(login);
        assert_eq!((page.status, browser.cookie), (401, None), "{login}");
        let (name, _) = login.split_once(':').unwrap();
        let id = page.header("x-request-id").unwrap();
        answers.push(page.html.replace(name, "NAME").replace(id, "ID"));
        assert!(page.header("www-authenticate").unwrap().starts_with("Cookie "));
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
    for fields in ["", "username=acme", "password=x", "username=&password="] {
        let response = Browser::new(&gateway).ask("POST", "/login", fields);
        assert_eq!(response.status, 422, "{fields}");
    }
}

#[test]
fn guesses_are_throttled() {
    let gateway = gateway("");
    let mut browser = Browser::new(&gateway);
    let throttled =
        (0..40).map(|n| browser.log_in(&format!("acme:wr0ng-{n}"))).find(|page| page.status == 429);
    let page = throttled.expect("somebody is throttled");
    page.says(429, &["Try again in"]);
    assert!(page.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[test]
fn a_login_leads_back_to_the_page_and_nowhere_else() {
    let gateway = gateway("");
    let mut browser = Browser::new(&gateway);
    let response = browser.ask("GET", "/credentials?q=jo%20e&limit=100", "");
    assert_eq!(response.header("location"), Some("/login?next=%2Fcredentials%3Fq%3Djo%2520e%26limit%3D100"));
    let page = browser.get("/credentials?q=jo&limit=100");
    let next = page.hidden("next");
    let fields = [("username", "acme"), ("password", "holder-passw0rd"), ("next", next.as_str())];
    assert_eq!(browser.post("/login", &fields).address, "/credentials?q=jo&limit=100");
    for evil in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "/a/..//evil.example",
        "\t/evil",
        "/\t/evil.example",
        "/credentials\r\nSet-Cookie: a=b",
        "/login?next=/logout",
        "/logout",
    ] {
        let mut browser = Browser::new(&gateway);
        let fields = [("username", "acme"), ("password", "holder-passw0rd"), ("next", evil)];
        let page = browser.post("/login", &fields);
        assert_eq!((page.status, page.address.as_str()), (200, "/credentials"), "{evil}");
        let page = browser.get(&format!("/login?{}", encoded(&[("next", evil)])));
        assert_eq!(page.address, "/credentials", "{evil}");
    }
}

#[test]
fn a_cookie_that_does_not_stick_is_said() {
    let gateway = gateway("");
    let mut browser = Browser::new(&gateway);
    let response = browser.ask("POST", "/login", "username=acme&password=holder-passw0rd");
    let next = response.header("location").unwrap().to_owned();
    browser.cookie = None;
    browser.get(&next).says(200, &["cookie"]);
}

#[test]
fn a_logout_is_exact() {
    let gateway = gateway("");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let stolen = browser.clone();
    let page = browser.send("/credentials", "/logout", &[]);
    assert!(page.address.starts_with("/login") && page.status == 200, "{}", page.address);
    assert_eq!(browser.cookie, None);
    let mut stolen = stolen;
    assert_eq!(stolen.get("/credentials").address, "/login?after=end&next=%2Fcredentials");
    // Without a session, it leads to the login, too.
    let response = Browser::new(&gateway).ask("POST", "/logout", "");
    assert_eq!((response.status, response.header("location")), (303, Some("/login?after=logout")));
}

#[test]
fn a_logout_has_the_browser_forget_and_needs_the_token() {
    let gateway = gateway("");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    for token in ["", "token=x"] {
        let response = browser.ask("POST", "/logout", token);
        assert!(response.header("location").unwrap().starts_with("/credentials"), "{token}");
    }
    assert_eq!(browser.get("/own").status, 200);
    let token = browser.get("/own").hidden("token");
    let response = browser.ask("POST", "/logout", &format!("token={token}"));
    assert_eq!(response.header("clear-site-data"), Some("\"cache\", \"storage\""));
    assert_eq!(browser.ask("GET", "/logout", "").status, 405);
}

#[test]
fn a_login_ends_the_session_that_the_browser_had() {
    let gateway = gateway("");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let before = browser.clone();
    assert_eq!(browser.log_in(HOLDER).address, "/credentials");
    assert_ne!(before.cookie, browser.cookie);
    let mut before = before;
    assert!(before.get("/own").address.starts_with("/login"));
    assert_eq!(browser.get("/own").status, 200);
}

#[test]
fn a_removed_or_suspended_login_is_out_at_once() {
    let gateway = gateway("");
    let mut credential = Browser::logged_in(&gateway, "joe-ci:joes-passw0rd");
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    assert_eq!(credential.get("/own").status, 200);
    gateway.command(&["credential", "remove", "joe-ci", "--account", "acme"], "");
    assert!(credential.get("/own").address.starts_with("/login"));
    assert_eq!(holder.get("/credentials").status, 200);
    gateway.command(&["account", "suspend", "acme"], "");
    assert!(holder.get("/credentials").address.starts_with("/login"));
    gateway.command(&["account", "resume", "acme"], "");
    assert!(holder.get("/credentials").address.starts_with("/login"), "a suspension ends its sessions");
}

#[test]
fn a_restart_logs_nobody_out() {
    let mut gateway = gateway("");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let cookie = browser.cookie.clone();
    gateway.kill();
    gateway.restart();
    browser = Browser::new(&gateway);
    browser.cookie = cookie;
    browser.get("/credentials").says(200, &["joe-ci"]);
}

#[test]
fn other_cookies_are_no_session() {
    let gateway = gateway("");
    let good = Browser::logged_in(&gateway, HOLDER).cookie.unwrap();
    let (principal, token) = good.split_once('.').unwrap();
    let mut flipped = token.to_owned();
    let last = if flipped.starts_with('A') { "B" } else { "A" };
    flipped.replace_range(0..1, last);
    for forged in [
        String::new(),
        "x".into(),
        token.to_owned(),
        format!("{}.{token}", principal.parse::<i64>().unwrap() + 1),
        format!("{principal}.{flipped}"),
        format!("{principal}.{token}A"),
        format!("{principal}.{}", "A".repeat(43)),
    ] {
        let mut browser = Browser::new(&gateway);
        browser.cookie = Some(forged.clone());
        assert!(browser.get("/credentials").address.starts_with("/login"), "{forged}");
        let mut browser = Browser::new(&gateway);
        browser.cookie = Some(forged.clone());
        assert_eq!(browser.ask("POST", "/credentials/add", "username=new-one").status, 401, "{forged}");
    }
    // The name of the cookie over TLS is not that on this way.
    let asked =
        get("/credentials").header("Cookie", &format!("__Host-gatepost-console={good}; gatepost={good}"));
    assert_eq!(asked.send(gateway.address("console.listen")).status, 303);
}

#[test]
fn a_session_of_the_gate_is_worth_nothing() {
    let backend = Backend::hello();
    let web = api(backend.address).replace("[api]", "[web]\npublic_origin = \"http://localhost\"");
    let gateway = Gateway::start(&format!("{web}{}", section("")));
    gateway.account("email,api,web");
    let response = request("POST", "/-/gatepost/login")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Sec-Fetch-Site", "same-origin")
        .body("username=acme&password=holder-passw0rd")
        .send(gateway.address("web.listen"));
    let cookie = response.set_cookie().expect("a session of the gate");
    let cookie = cookie.split(';').next().unwrap().strip_prefix("gatepost=").unwrap().to_owned();
    let mut browser = Browser::new(&gateway);
    browser.cookie = Some(cookie);
    assert!(browser.get("/credentials").address.starts_with("/login"));
}

#[test]
fn there_is_no_session_over_cleartext() {
    let gateway = Gateway::start("[console]\nlisten = [\"127.0.0.1:0\"]\n");
    gateway.account("email,api,web");
    let address = gateway.address("console.listen");
    // The host is gate.test, which is not this machine for the browser.
    let page = get("/login").send(address);
    assert_eq!(page.status, 200);
    assert!(page.text().contains("unencrypted") || page.text().contains("not encrypted"), "{}", page.text());
    let response = request("POST", "/login")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Sec-Fetch-Site", "same-origin")
        .body("username=acme&password=holder-passw0rd")
        .send(address);
    assert_eq!((response.status, response.header("set-cookie")), (403, None));
}

#[test]
fn over_tls_the_cookie_is_for_this_host_alone() {
    use std::io::{Read, Write};
    let authority = Authority::new();
    let tls = "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n";
    let console = "[console]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n";
    let directory = configured(&format!("{tls}{console}"));
    authority.issue("gate.test").write(directory.path());
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web");
    let at = gateway.address("console.tls_listen");
    let ask = |request: Request| {
        let mut stream = connect(at, "gate.test", authority.client(&["http/1.1"])).unwrap();
        stream.write_all(&request.for_host("gate.test").header("Connection", "close").bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let login = request("POST", "/login")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Origin", "https://gate.test")
        .body("username=acme&password=holder-passw0rd");
    let answer = ask(login);
    let set =
        answer.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")).next_back().expect("a session");
    assert!(
        set.starts_with("__Host-gatepost-console=")
            && set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax")
    );
    assert!(answer.contains("Strict-Transport-Security: max-age="), "{answer}");
    let cookie = set.split(';').next().unwrap();
    let page = ask(get("/credentials").header("Cookie", cookie));
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    // A page of another port or scheme could have set that one.
    let page = ask(get("/credentials").header("Cookie", &cookie.replace("__Host-", "")));
    assert!(page.starts_with("HTTP/1.1 303"), "{page}");
    // Without TLS, the login leads there.
    let page = get("/login").send(gateway.address("console.listen"));
    assert!(page.text().contains(&format!("href=\"https://gate.test:{}/\"", at.port())), "{}", page.text());
    // HEAD has the header of GET, and no body.
    let head = ask(request("HEAD", "/credentials").header("Cookie", cookie));
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
}
