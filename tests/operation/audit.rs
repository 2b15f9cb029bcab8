//! The audit trail of a running gateway: each change and each denial, at every entry.

use crate::common::backend::Backend;
use crate::common::http::{Connection, Request, get, request};
use crate::common::mail::{ANN, Client, JOE, plain, smtp};
use crate::common::sink::Sink;
use crate::common::{Gateway, HOLDER, open_api};
use serde_json::Value;

/// The line that holds these words, from the audit trail.
fn line(gateway: &Gateway, words: &[&str]) -> Value {
    let words = [&["\"target\":\"audit\""], words].concat();
    serde_json::from_str(&gateway.log().wait_for(&words)).unwrap()
}

#[test]
fn what_the_command_line_changes_is_in_the_log_of_the_gateway() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    gateway.account("email,api,web").credential("john:passw0rd-of-john", "api");
    let output = gateway.command(&["account", "suspend", "acme"], "");
    assert!(output.status.success());
    let uid = format!("(uid {}", rustix::process::getuid().as_raw());
    for (action, subject, change) in [
        ("account.add", "acme", "rights=email,api,web"),
        ("credential.add", "john", "email=0 api=1 web=0"),
        ("account.suspend", "acme", ""),
    ] {
        let line = line(&gateway, &[&format!("\"{action}\"")]);
        assert_eq!((&line["subject"], &line["change"]), (&subject.into(), &change.into()), "{line}");
        assert_eq!((&line["source"], &line["outcome"]), (&"command line".into(), &"done".into()), "{line}");
        assert!(line["actor"].as_str().unwrap().contains(&uid), "{line}");
    }
    // What was refused has changed nothing, and is the operator's alone.
    assert_eq!(gateway.command(&["account", "suspend", "nobody"], "").status.code(), Some(1));
    gateway.command(&["account", "resume", "acme"], "");
    line(&gateway, &["account.resume"]);
    assert!(!gateway.log().text().contains("\"nobody\""));
}

#[test]
fn every_denial_has_a_line_with_the_number_of_its_request() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    gateway.account("api");
    let wrong = get("/api/a.json").basic("acme:wrong-passw0rd");
    let malformed = get("/api/a.json").header("Authorization", "Basic !");
    let lacking = get("/api/mail.send.json").basic(HOLDER);
    for (request, status, actor, reason) in [
        (get("/api/a.json"), 401, "", "no credential"),
        (malformed, 401, "", "malformed credential"),
        (wrong, 401, "acme", "wrong"),
        (lacking, 403, "acme", "forbidden"),
    ] {
        let response = request.send(gateway.api());
        assert_eq!(response.status, status, "{reason}");
        let id = response.header("x-request-id").unwrap();
        let line = line(&gateway, &[&format!("\"request_id\":\"{id}\""), "\"denied\""]);
        assert_eq!((&line["actor"], &line["reason"]), (&actor.into(), &reason.into()), "{line}");
        assert_eq!((&line["entry"], &line["source"]), (&"api".into(), &"127.0.0.1".into()), "{line}");
    }
    // Again and again by the same peer: at first each of them, up to 50 with those above. Then once a second, with the number of those in
    // between.
    for number in 0..80 {
        let response = get("/api/a.json").send(gateway.api());
        assert_eq!(response.status, 401);
        if number < 50 - 3 {
            let id = response.header("x-request-id").unwrap();
            gateway.log().wait_for(&["\"INFO\"", &format!("\"request_id\":\"{id}\""), "\"denied\""]);
        }
    }
    gateway.log().wait_for(&["\"DEBUG\"", "no credential"]);
}

/// A denied request: how it is sent, its status, and its login, reason and entry in the trail.
struct Denial {
    asked: Request,
    status: u16,
    actor: &'static str,
    reason: &'static str,
    entry: &'static str,
}

#[test]
fn so_has_every_denial_in_the_management_and_of_the_dashboard() {
    let backend = Backend::hello();
    let web = format!("[web]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://{}\"]\n", backend.address);
    let gateway = Gateway::start(&format!("{}{web}", open_api(backend.address, "")));
    gateway.account("email,api,web").credential("john:passw0rd-of-john", "api");
    let manage = || get("/api/credentials/get.json");
    let denial = |asked, status, actor, reason, entry| Denial { asked, status, actor, reason, entry };
    for Denial { asked, status, actor, reason, entry } in [
        denial(manage(), 401, "", "no credential", "api"),
        denial(manage().header("Authorization", "Basic !"), 401, "", "malformed credential", "api"),
        denial(manage().basic("acme:wrong-passw0rd"), 401, "acme", "wrong", "api"),
        denial(manage().basic("nobody:wrong-passw0rd"), 401, "nobody", "unknown", "api"),
        denial(manage().basic("john:passw0rd-of-john"), 403, "john", "not the account holder", "api"),
        denial(get("/"), 401, "", "no credential", "web"),
        denial(get("/").basic("john:wrong-passw0rd"), 401, "john", "wrong", "web"),
        denial(get("/").basic("john:passw0rd-of-john"), 403, "john", "forbidden", "web"),
    ] {
        let response = asked.send(gateway.address(&format!("{entry}.listen")));
        assert_eq!(response.status, status, "{reason}");
        let id = response.header("x-request-id").unwrap();
        let line = line(&gateway, &[&format!("\"request_id\":\"{id}\""), "\"denied\""]);
        assert_eq!((&line["actor"], &line["reason"]), (&actor.into(), &reason.into()), "{line}");
        assert_eq!((&line["entry"], &line["source"]), (&entry.into(), &"127.0.0.1".into()), "{line}");
        assert_eq!(line["action"], "check", "{line}");
    }
}

#[test]
fn so_has_one_that_is_put_off_for_its_failures() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let guess = |number: usize| get("/api/a.json").basic(&format!("nobody-{number}:passw0rd-0"));
    let mut throttled = (0..60).map(|number| guess(number).send(gateway.api())).filter(|r| r.status == 429);
    let response = throttled.next().expect("it may guess on");
    let id = response.header("x-request-id").unwrap();
    let line = line(&gateway, &[&format!("\"request_id\":\"{id}\""), "\"denied\""]);
    assert_eq!((&line["reason"], &line["entry"]), (&"throttled".into(), &"api".into()), "{line}");
    assert!(line["actor"].as_str().unwrap().starts_with("nobody-"), "{line}");
}

/// One source, and another username each time: the first lines, and then one a second.
#[test]
fn a_flood_of_denials_has_a_bounded_number_of_lines_whatever_usernames_it_presents() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut connection = Connection::open(gateway.api());
    for n in 0..400 {
        let request = request("POST", "/api/credentials/get.json")
            .basic(&format!("user-{n}:x"))
            .header("Origin", "https://evil.example")
            .header("Content-Type", "application/x-www-form-urlencoded");
        assert_eq!(connection.exchange(request).status, 403);
    }
    line(&gateway, &["user-399"]);
    let text = gateway.log().text();
    let of_level = |level: &str| {
        let is_of =
            |line: &&str| line.contains("\"denied\"") && line.contains(&format!("\"level\":\"{level}\""));
        text.lines().filter(is_of).count()
    };
    let (shown, hidden) = (of_level("INFO"), of_level("DEBUG"));
    assert!((50..100).contains(&shown) && shown + hidden == 400, "{shown} and {hidden} lines");
}

/// A login, and a transaction of a session whose credential has lost the permission since; each once, since those that are
/// the same within a second are counted together.
#[test]
fn so_has_a_login_and_a_sender_over_smtp() {
    let (backend, sink) = (Backend::hello(), Sink::good());
    let gateway = Gateway::start(&format!("{}{}", open_api(backend.address, ""), smtp(&[sink.address], "")));
    gateway.account("email,api,web").credential(JOE, "email").credential(ANN, "api");
    let address = gateway.address("smtp.listen");
    let mut joe = Client::login(address, JOE);
    assert_eq!(Client::hello(address).say(&plain(ANN)).code, 535);
    assert_eq!(Client::hello(address).say(&plain("joe:passw0rd-of-jim")).code, 535);
    assert_eq!(gateway.manage("edit", "username=joe&permissions[email]=0").0, 200);
    assert_eq!(joe.say("MAIL FROM:<a@test>").code, 550);
    for (actor, reason) in [("ann", "forbidden"), ("joe", "wrong"), ("joe", "forbidden")] {
        let line = line(&gateway, &["\"denied\"", &format!("\"{actor}\""), &format!("\"{reason}\"")]);
        assert_eq!((&line["actor"], &line["reason"]), (&actor.into(), &reason.into()), "{line}");
        assert_eq!((&line["entry"], &line["source"]), (&"smtp".into(), &"127.0.0.1".into()), "{line}");
    }
}
