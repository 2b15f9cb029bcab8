//! The forms of Gatepost's own refusals: that of the version and format of the call.

use crate::common::backend::Backend;
use crate::common::callers::{API, with_caller};
use crate::common::http::{Connection, get, request};
use serde_json::{Value, json};

fn version_3(reason: &str) -> Value {
    json!({"errors": [{"message": reason, "field": null, "help": null}]})
}

fn version_2(status: u16, reason: &str) -> Value {
    json!({"message": "error", "errors": [reason], "error": {"code": status, "message": reason}})
}

// Case C11: refusals below /v3/ have the form of version 3.
#[test]
fn below_v3() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let lacks = "Permission denied: email is needed";
    for (path, status, reason) in [
        ("/v3/mail/send", 403, lacks),
        ("/v3/mail/send.xml", 403, lacks),
        ("/V3/mail/send", 403, lacks),
        ("http://gate.test/v3/mail/send?x=1", 403, lacks),
    ] {
        let response = connection.exchange(get(path).basic(API));
        let reason = format!("{reason} (id {})", response.header("x-request-id").unwrap());
        assert_eq!((response.status, response.json()), (status, version_3(&reason)), "{path}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    let response = connection.exchange(get("/v3/stats").basic("caller:wrong-passw0rd"));
    assert_eq!((response.status, response.json()), (401, version_3("Bad username / password")));
    assert!(response.header("www-authenticate").unwrap().starts_with("Basic "));
    let response = connection.exchange(get("/v3/stats"));
    assert_eq!((response.status, response.json()), (401, version_3("Authentication required")));
    let response = connection.exchange(request("DELETE", "/v3/a?api_key=x").basic(API));
    assert_eq!(response.status, 400);
    assert!(response.json()["errors"][0]["message"].is_string(), "{}", response.text());
    assert!(backend.drain().is_empty());
}

// Case C16: other JSON refusals have two forms in one: client libraries look for `errors`, or for `error.code`.
#[test]
fn of_version_2() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    for path in ["/api/stats.get.json", "/api/stats.get", "/v2/x", "/v3x"] {
        let response = connection.exchange(get(path).basic("caller:wrong-passw0rd"));
        assert_eq!(
            (response.status, response.json()),
            (401, version_2(401, "Bad username / password")),
            "{path}"
        );
    }
    let response = connection.exchange(get("/api/mail.send.json").basic(API));
    let id = response.header("x-request-id").unwrap();
    assert_eq!(response.json(), version_2(403, &format!("Permission denied: email is needed (id {id})")));
    // Strict clients of XML know no other elements.
    let response = connection.exchange(get("/api/stats.get.xml").basic("caller:wrong-passw0rd"));
    let xml =
        "<result><message>error</message><errors><error>Bad username / password</error></errors></result>";
    assert!(response.text().ends_with(xml), "{}", response.text());
}

// Case C12: a call of the management that doesn't exist is refused in the management's own form.
#[test]
fn of_unknown_calls_of_the_management() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let reason = "Unknown API call: the calls are get, add, edit and remove, each with .json or .xml";
    for path in [
        "/api/credentials/nosuch.json",
        "/api/credentials.nosuch.json",
        "/api/credentials/get.yaml",
        "/api/credentials",
        "/API/credentials/get.json",
    ] {
        let response = connection.exchange(get(path));
        assert_eq!((response.status, response.json()), (404, json!({"error": reason})), "{path}");
    }
    for path in ["/api/credentials/nosuch.xml", "/api/credentials.nosuch.xml"] {
        let response = connection.exchange(request("POST", path).body("x=1"));
        assert_eq!(response.status, 404);
        let xml = format!("<result><message>error: {reason}</message></result>");
        assert!(
            response.text().starts_with("<?xml") && response.text().ends_with(&xml),
            "{}",
            response.text()
        );
        assert_eq!(response.header("content-type"), Some("text/xml; charset=ISO-8859-1"));
    }
    assert_eq!(connection.reopened, 0);
    assert!(backend.drain().is_empty());
}
