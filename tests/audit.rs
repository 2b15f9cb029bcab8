//! The audit trail of a running gateway: each change and each denial, whoever made it and wherever it was refused.

mod common;

use common::backend::Backend;
use common::http::get;
use common::{Gateway, HOLDER, open_api};
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
    let manage = get("/api/credentials/get.json");
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
    assert_eq!(manage.send(gateway.api()).status, 401);
    // Again and again by the same peer: once a second, with the number of those in between.
    for _ in 0..20 {
        assert_eq!(get("/api/a.json").send(gateway.api()).status, 401);
    }
    gateway.log().wait_for(&["\"DEBUG\"", "no credential"]);
}
