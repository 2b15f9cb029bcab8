//! API v1 of the console, end to end: each operation, each status, and the effect of each change on the API entry.

mod described;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::common::backend::Backend;
use crate::common::callers::NO_DELAYS;
use crate::common::http::{Connection, Request, Response, get, request};
use crate::common::{Gateway, HOLDER, api};

const CREDENTIALS: &str = "/api/v1/credentials";

/// A gateway with a console, and an API entry by which credentials are tried.
fn start(auth: &str) -> (Gateway, Backend) {
    let backend = Backend::hello();
    let console = "[console]\nlisten = [\"127.0.0.1:0\"]\n";
    let gateway = Gateway::start(&format!("{auth}{console}{}", api(backend.address)));
    gateway.account("email,api,web");
    (gateway, backend)
}

fn console(gateway: &Gateway) -> SocketAddr {
    gateway.address("console.listen")
}

/// A request of the account holder with this body.
fn with_body(method: &str, path: &str, body: &str) -> Request {
    request(method, path).basic(HOLDER).header("Content-Type", "application/json").body(body)
}

fn add(gateway: &Gateway, body: &Value) -> Response {
    with_body("POST", CREDENTIALS, &body.to_string()).send(console(gateway))
}

fn added(gateway: &Gateway, name: &str) -> (String, Value) {
    let body = json!({"name": name, "permissions": {"api": true}, "password": format!("s3cret-of-{name}")});
    let response = add(gateway, &body);
    assert_eq!(response.status, 201, "{}", response.text());
    (response.header("location").unwrap().to_owned(), response.json())
}

/// The status of a call by that login on the API entry.
fn tried(gateway: &Gateway, login: &str) -> u16 {
    get("/v3/stats").basic(login).send(gateway.api()).status
}

/// Checks a problem: its status, and the last word of its type. Returns it.
#[track_caller]
fn problem(response: &Response, status: u16, kind: &str) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    assert_eq!(problem["type"], format!("urn:gatepost:problem:{kind}"));
    assert_eq!(problem["status"], status);
    assert_eq!(problem["instance"].as_str(), response.header("x-request-id"));
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    problem
}

/// The places of the errors of a problem.
fn places(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    let place = |error: &'_ Value| {
        ["pointer", "parameter", "header"].iter().find(|key| error[**key].is_string()).copied()
    };
    errors.iter().map(|error| error[place(error).unwrap()].as_str().unwrap()).collect()
}

#[test]
fn a_credential_from_its_addition_to_its_removal() {
    let (gateway, _backend) = start("");
    let body = json!({"name": "Billing", "permissions": {"api": true, "web": false}, "note": "of \"db\""});
    let response = add(&gateway, &body);
    assert_eq!(response.status, 201, "{}", response.text());
    let document = response.json();
    let (password, id) = (document["password"].as_str().unwrap(), document["id"].as_i64().unwrap());
    let path = format!("{CREDENTIALS}/{id}");
    assert_eq!(response.header("location"), Some(path.as_str()));
    assert_eq!(response.header("gatepost-effect").unwrap().split(", ").next(), Some("nodes=1"));
    assert_eq!((&document["name"], &document["note"]), (&json!("Billing"), &json!("of \"db\"")));
    assert_eq!(document["permissions"], json!({"email": false, "api": true, "web": false}));
    assert_eq!(document["permissions"], document["effective_permissions"]);
    assert_eq!((&document["without_effect"], &document["last_used"]), (&json!([]), &Value::Null));
    let login = format!("billing:{password}");
    assert_eq!(tried(&gateway, &login), 200);

    let first = get(&path).basic(HOLDER).send(console(&gateway));
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.status, 200);
    assert!(first.json().get("password").is_none(), "it is shown once");
    assert_eq!(first.json()["last_used"]["entry"], "api");

    // What is given is changed, in either media type, and at once.
    let patch = |kind: &str, body: Value| {
        let patch = request("PATCH", &path).basic(HOLDER).header("Content-Type", kind).body(body.to_string());
        patch.send(console(&gateway))
    };
    let edited = patch("application/merge-patch+json", json!({"permissions": {"api": false}, "note": null}));
    assert_eq!(edited.status, 200, "{}", edited.text());
    assert!(edited.header("gatepost-effect").is_some());
    assert_ne!(edited.header("etag"), Some(tag.as_str()));
    assert_eq!((&edited.json()["note"], &edited.json()["permissions"]["api"]), (&Value::Null, &json!(false)));
    assert_eq!(tried(&gateway, &login), 403);
    let edited = patch(
        "application/json; charset=utf-8",
        json!({"permissions": {"api": true}, "password": "an0ther-one"}),
    );
    assert_eq!(edited.status, 200, "{}", edited.text());
    assert_eq!((tried(&gateway, &login), tried(&gateway, "billing:an0ther-one")), (401, 200));
    let same = patch("application/json", json!({}));
    assert_eq!((same.status, same.header("gatepost-effect")), (200, None), "nothing had to change");

    let remove = || request("DELETE", &path).basic(HOLDER).send(console(&gateway));
    let removed = remove();
    assert_eq!((removed.status, removed.text().as_str()), (204, ""));
    assert_eq!((removed.header("content-length"), removed.header("content-type")), (None, None));
    assert!(removed.header("gatepost-effect").is_some());
    assert_eq!(tried(&gateway, "billing:an0ther-one"), 401);
    problem(&remove(), 404, "no-such-credential");
    problem(&get(&path).basic(HOLDER).send(console(&gateway)), 404, "no-such-credential");
    problem(&patch("application/json", json!({"note": "x"})), 404, "no-such-credential");
    // The audit trail names the entry.
    gateway.log().wait_for(&["credential.remove", "\"console\"", "done"]);
}

#[test]
fn pages_follow_each_other_and_are_filtered() {
    let (gateway, _backend) = start("");
    for number in 0..7 {
        added(&gateway, &format!("joe-{number}"));
    }
    added(&gateway, "zoe-1");
    let page = |query: &str| get(&format!("{CREDENTIALS}{query}")).basic(HOLDER).send(console(&gateway));
    let names = |response: &Response| -> Vec<String> {
        let document = response.json();
        let items = document["items"].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = page("");
    assert_eq!((names(&all).len(), all.header("link")), (8, None));
    assert_eq!(all.json()["next_cursor"], Value::Null);

    let mut seen = Vec::new();
    let mut target = format!("{CREDENTIALS}?limit=3&prefix=JOE");
    loop {
        let response = get(&target).basic(HOLDER).send(console(&gateway));
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        seen.extend(names(&response));
        let cursor = response.json()["next_cursor"].clone();
        let Some(link) = response.header("link") else {
            assert_eq!(cursor, Value::Null);
            break;
        };
        target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        assert!(target.contains(cursor.as_str().unwrap()), "{target}");
    }
    assert_eq!(seen, (0..7).map(|number| format!("joe-{number}")).collect::<Vec<_>>());
    assert_eq!(names(&page("?permission=web")), Vec::<String>::new());
    assert_eq!(names(&page("?permission=api&prefix=zoe")), ["zoe-1"]);
    assert_eq!(names(&page("?state=active")).len(), 0);
    assert_eq!(names(&page("?state=never-used")).len(), 8);
    assert_eq!(tried(&gateway, "zoe-1:s3cret-of-zoe-1"), 200);
    assert_eq!(names(&page("?state=active")), Vec::<String>::new(), "uses are written within a minute");

    let wrong = page("?limit=0&prefix=a%20b&cursor=zzz&state=x&permission=&order=name&limit=5");
    let wrong = problem(&wrong, 400, "invalid-parameters");
    assert_eq!(places(&wrong), ["limit", "prefix", "cursor", "state", "permission", "order", "limit"]);
}

#[test]
fn preconditions_protect_what_a_client_has_not_seen() {
    let (gateway, _backend) = start("");
    let (path, _) = added(&gateway, "joe-1");
    let send = |method: &str, fields: &[(&str, &str)], body: &str| {
        let mut request = request(method, &path).basic(HOLDER);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        if !body.is_empty() {
            request = request.header("Content-Type", "application/json").body(body);
        }
        request.send(console(&gateway))
    };
    let tag = send("GET", &[], "").header("etag").unwrap().to_owned();
    let weak = format!("W/{tag}");
    let unchanged = send("GET", &[("If-None-Match", &weak)], "");
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(tag.as_str())));
    assert_eq!(send("GET", &[("If-None-Match", "\"other\"")], "").status, 200);
    assert_eq!(send("GET", &[("If-None-Match", "*")], "").status, 304);
    problem(&send("GET", &[("If-Match", "\"9999.AAAAAAAAAAAA\", \"x\"")], ""), 412, "precondition-failed");

    // A use is no change that could be overwritten, but the document differs.
    assert_eq!(tried(&gateway, "joe-1:s3cret-of-joe-1"), 200);
    assert_eq!(send("GET", &[("If-None-Match", &tag)], "").status, 200);
    let edited = send("PATCH", &[("If-Match", &tag)], r#"{"note":"first"}"#);
    assert_eq!(edited.status, 200, "{}", edited.text());
    // The second of two clients that read the same state.
    problem(&send("PATCH", &[("If-Match", &tag)], r#"{"note":"second"}"#), 412, "precondition-failed");
    problem(&send("DELETE", &[("If-Match", &tag)], ""), 412, "precondition-failed");
    problem(&send("DELETE", &[("If-Match", &weak)], ""), 412, "precondition-failed");
    problem(&send("PATCH", &[("If-None-Match", "*")], r#"{"note":"x"}"#), 412, "precondition-failed");
    let wrong = problem(&send("DELETE", &[("If-Match", "no tag")], ""), 400, "invalid-request");
    assert_eq!(places(&wrong), ["If-Match"]);
    assert_eq!(send("GET", &[], "").json()["note"], "first");
    let tag = send("GET", &[], "").header("etag").unwrap().to_owned();
    assert_eq!(send("DELETE", &[("If-Match", &format!("\"x\", {tag}"))], "").status, 204);
    let (path, _) = added(&gateway, "joe-1");
    assert_eq!(
        request("DELETE", &path).basic(HOLDER).header("If-Match", "*").send(console(&gateway)).status,
        204
    );
}

#[test]
fn who_may_call_and_what_others_are_told() {
    let (gateway, _backend) = start(NO_DELAYS);
    gateway.credential("joe:passw0rd-of-joe", "email,api,web");
    let list = || get(CREDENTIALS);
    let send = |request: Request| request.send(console(&gateway));
    for (login, status, kind) in [
        (None, 401, "unauthenticated"),
        (Some("acme:wrong-passw0rd"), 401, "unauthenticated"),
        (Some("nobody:wrong-passw0rd"), 401, "unauthenticated"),
        (Some("joe:passw0rd-of-joe"), 403, "not-account-holder"),
    ] {
        let request = login.map_or_else(list, |login| list().basic(login));
        let response = send(request);
        problem(&response, status, kind);
        let challenge = response.header("www-authenticate").map(|value| value.split(' ').next().unwrap());
        assert_eq!(challenge, (status == 401).then_some("Basic"));
        assert_eq!(response.header("set-cookie"), None);
    }
    // A page would wait for the browser's password box.
    for field in ["Sec-Fetch-Mode", "Origin", "X-Requested-With", "Sec-Fetch-Site"] {
        let response = send(list().header(field, "same-origin"));
        problem(&response, 401, "unauthenticated");
        assert!(!response.header("www-authenticate").unwrap().starts_with("Basic"), "{field}");
    }
    // A browser may have added the login by itself.
    for (field, value) in
        [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.test"), ("Origin", "null")]
    {
        let response = send(list().basic(HOLDER).header(field, value));
        problem(&response, 403, "cross-site");
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
    // A cookie is neither read nor missed.
    assert_eq!(send(list().basic(HOLDER).header("Cookie", "__Host-gatepost-console=1.x")).status, 200);
    problem(&send(list().header("Cookie", "gatepost-console=1.x")), 401, "unauthenticated");
    let bearer = send(list().header("Authorization", "Bearer x"));
    problem(&bearer, 401, "unauthenticated");
    let public = send(get("/api/v1/openapi.json"));
    assert_eq!((public.status, &public.json()["openapi"]), (200, &json!("3.1.0")));
    assert_eq!(public.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn requests_that_are_refused_and_all_their_faults() {
    let (gateway, _backend) = start("");
    gateway.command(&["account", "rights", "acme", "email,api"], "");
    let (path, _) = added(&gateway, "joe-1");
    let send = |request: Request| request.send(console(&gateway));
    let post = |body: &str| send(with_body("POST", CREDENTIALS, body));

    let faults = post(
        r#"{"name":"a b","permissions":{"email":1,"root":true},"note":"a\nb","password":"short","id":1}"#,
    );
    let faults = problem(&faults, 422, "invalid-body");
    assert_eq!(
        places(&faults),
        ["#/name", "#/permissions/email", "#/permissions/root", "#/note", "#/password", "#/id"]
    );
    assert!(!faults.to_string().contains("short\""));
    let common = post(r#"{"name":"joe-2","permissions":{},"password":"passw0rd"}"#);
    assert_eq!(places(&problem(&common, 422, "invalid-body")), ["#/password"]);
    let above = post(r#"{"name":"joe-2","permissions":{"web":true}}"#);
    assert_eq!(places(&problem(&above, 422, "invalid-body")), ["#/permissions/web"]);
    let above = send(with_body("PATCH", &path, r#"{"permissions":{"web":true}}"#));
    assert_eq!(places(&problem(&above, 422, "invalid-body")), ["#/permissions/web"]);
    let taken = post(r#"{"name":"JOE-1","permissions":{}}"#);
    assert_eq!(places(&problem(&taken, 409, "name-taken")), ["#/name"]);
    for body in ["", "{", "{} x", "\u{feff}{}", "[1,]"] {
        problem(&post(body), 400, "invalid-json");
    }
    let long = format!(r#"{{"name":"joe-2","permissions":{{}},"note":"{}"}}"#, "x".repeat(17_000));
    problem(&post(&long), 413, "content-too-large");
    let chunked = request("POST", CREDENTIALS).basic(HOLDER).header("Content-Type", "application/json");
    problem(&send(chunked.chunked(long)), 413, "content-too-large");
    let chunked = request("POST", CREDENTIALS).basic(HOLDER).header("Content-Type", "application/json");
    assert_eq!(send(chunked.chunked(r#"{"name":"joe-3","permissions":{}}"#)).status, 201);

    for (method, kind) in [
        ("POST", "text/plain"),
        ("POST", "application/merge-patch+json"),
        ("POST", "application/json; charset=utf-16"),
        ("PATCH", "application/json-patch+json"),
        ("PATCH", "application/x-www-form-urlencoded"),
    ] {
        let path = if method == "POST" { CREDENTIALS } else { &path };
        let response = send(request(method, path).basic(HOLDER).header("Content-Type", kind).body("{}"));
        problem(&response, 415, "unsupported-media-type");
        assert_eq!(response.header("accept-patch").is_some(), method == "PATCH");
    }
    problem(&send(request("POST", CREDENTIALS).basic(HOLDER).body("{}")), 415, "unsupported-media-type");
    problem(
        &send(with_body("PATCH", &path, "{}").header("Content-Encoding", "gzip")),
        415,
        "unsupported-media-type",
    );
    for target in [CREDENTIALS, &path, "/api/v1/openapi.json"] {
        problem(&send(get(target).basic(HOLDER).header("Accept", "text/html")), 406, "not-acceptable");
    }
    for (method, target, allowed) in [
        ("PUT", CREDENTIALS, "GET, HEAD, POST"),
        ("OPTIONS", &path, "GET, HEAD, PATCH, DELETE"),
        ("POST", &path, "GET, HEAD, PATCH, DELETE"),
        ("DELETE", "/api/v1/openapi.json", "GET, HEAD"),
    ] {
        let response = send(request(method, target).basic(HOLDER));
        problem(&response, 405, "method-not-allowed");
        assert_eq!(response.header("allow"), Some(allowed), "{method} {target}");
    }
    for target in ["/api/v1", "/api/v1/", "/api/v1/credentials/", "/api/v1/x", "/api/v1/credentials/1/2"] {
        problem(&send(get(target).basic(HOLDER)), 404, "not-found");
    }
    for number in ["0", "x", "01", "9007199254740993", "18446744073709551617"] {
        let target = format!("{CREDENTIALS}/{number}");
        problem(&send(get(&target).basic(HOLDER)), 404, "no-such-credential");
        problem(&send(with_body("PATCH", &target, "{}")), 404, "no-such-credential");
    }
}

#[test]
fn operations_without_parameters_refuse_all() {
    let (gateway, _backend) = start("");
    let (path, _) = added(&gateway, "joe-1");
    for (method, target) in [
        ("POST", CREDENTIALS),
        ("GET", &path),
        ("PATCH", &path),
        ("DELETE", &path),
        ("GET", "/api/v1/openapi.json"),
    ] {
        let body = if method == "GET" { "" } else { "{}" };
        let response = with_body(method, &format!("{target}?dry_run=1&x"), body).send(console(&gateway));
        assert_eq!(places(&problem(&response, 400, "invalid-parameters")), ["dry_run", "x"], "{method}");
    }
    assert_eq!(
        get(&format!("{path}?")).basic(HOLDER).send(console(&gateway)).status,
        200,
        "it is there, still"
    );
}

#[test]
fn a_body_that_does_not_arrive_is_a_problem() {
    let console_of = "[console]\nlisten = [\"127.0.0.1:0\"]\nbody_timeout = \"100ms\"\n";
    let gateway = Gateway::start(console_of);
    gateway.account("email,api,web");
    let mut connection = Connection::open(console(&gateway));
    let whole = with_body("POST", CREDENTIALS, r#"{"name":"joe-1","permissions":{}}"#).bytes();
    connection.write(&whole[..whole.len() - 1]);
    problem(&connection.read_response(), 408, "request-timeout");
}

/// Also where a request is refused before anything else is known of it.
#[test]
fn a_request_for_another_host_is_a_problem_too() {
    let gateway = Gateway::start("[console]\nlisten = [\"127.0.0.1:0\"]\nhost = \"console.test\"\n");
    let list = |host: &str| get(CREDENTIALS).for_host(host).send(console(&gateway));
    problem(&list("other.test"), 421, "misdirected");
    problem(&list("console.test"), 401, "unauthenticated");
}

#[test]
fn another_accounts_credential_does_not_exist() {
    let (gateway, _backend) = start("");
    gateway.command(&["account", "add", "other", "--password-stdin"], "holder-passw0rd-2\n");
    let (path, _) = added(&gateway, "joe-1");
    for method in ["GET", "PATCH", "DELETE"] {
        let other = with_body(method, &path, r#"{"note":"mine"}"#);
        let mine = other.send(console(&gateway));
        assert_eq!(mine.status / 100, 2);
        if method == "DELETE" {
            return;
        }
        let theirs = request(method, &path)
            .basic("other:holder-passw0rd-2")
            .header("Content-Type", "application/json")
            .body(r#"{"note":"theirs"}"#);
        problem(&theirs.send(console(&gateway)), 404, "no-such-credential");
    }
}

#[test]
fn head_is_get_without_a_body() {
    let (gateway, _backend) = start("");
    let (path, _) = added(&gateway, "joe-1");
    for target in [CREDENTIALS, &path, "/api/v1/openapi.json", "/api/v1/x"] {
        let body = get(target).basic(HOLDER).send(console(&gateway));
        let mut connection = Connection::open(console(&gateway));
        connection.write(&request("HEAD", target).basic(HOLDER).header("Connection", "close").bytes());
        let head = String::from_utf8(connection.read_to_end()).unwrap();
        let (head, rest) = head.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", body.status)), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.body.len())), "{target}: {head}");
        assert_eq!(rest, "");
    }
}

#[test]
fn throttled_and_unavailable_say_when_to_try_again() {
    let (gateway, _backend) = start("");
    // A secret that is known to be wrong counts once.
    let wrong = |number| get(CREDENTIALS).basic(&format!("acme:wr0ng-{number}")).send(console(&gateway));
    let throttled = (0..200).map(wrong).find(|response| response.status != 401).unwrap();
    problem(&throttled, 429, "throttled");
    assert!(throttled.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);

    let (gateway, _backend) = start(NO_DELAYS);
    let file = gateway.directory.path().join("gatepost.db");
    for name in ["gatepost.db", "gatepost.db-wal", "gatepost.db-shm"] {
        let _ = std::fs::rename(
            gateway.directory.path().join(name),
            gateway.directory.path().join(format!("{name}.away")),
        );
    }
    assert!(!file.exists());
    let response = get(CREDENTIALS).basic(HOLDER).send(console(&gateway));
    problem(&response, 503, "unavailable");
    assert_eq!(response.header("retry-after"), Some("1"));
}

#[test]
fn nothing_of_a_password_is_logged() {
    let (gateway, _backend) = start("");
    let body = json!({"name": "joe-1", "permissions": {}, "password": "v3ry-secret-thing"});
    assert_eq!(add(&gateway, &body).status, 201);
    let generated = add(&gateway, &json!({"name": "joe-2", "permissions": {}})).json();
    let generated = generated["password"].as_str().unwrap().to_owned();
    let wrong =
        r#"{"name":"joe-3","permissions":{},"password":"v3ry-secret-thing","password":"v3ry-secret-thing"}"#;
    assert_eq!(with_body("POST", CREDENTIALS, wrong).send(console(&gateway)).status, 422);
    gateway.log().wait_for(&["\"invalid request\"", "console"]);
    let log = gateway.log().text();
    assert!(!log.contains("v3ry-secret") && !log.contains(&generated), "{log}");
}
