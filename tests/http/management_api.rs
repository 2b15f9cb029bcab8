//! The management API as docs/api.md has it, end to end: every form of a call, both formats to the byte, every status.

use std::collections::BTreeSet;

use crate::common::backend::Backend;
use crate::common::database::{Other, file_of};
use crate::common::forms::{MULTIPART, URLENCODED, form, text_fields};
use crate::common::http::{Connection, Request, Response, get, request};
use crate::common::{Gateway, HOLDER, api};

const KEYS: &str = "api_user=acme&api_key=holder-passw0rd";
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n";

fn start(auth: &str) -> (Gateway, Backend) {
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!("[auth]\nbcrypt_cost = 4\n{auth}{}", api(backend.address)));
    gateway.account("email,api,web");
    (gateway, backend)
}

/// The parameters of a query as a multipart form.
fn multipart(query: &str) -> String {
    let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pairs: Vec<_> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (plain(name), plain(value))).collect();
    let fields: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    text_fields(&fields)
}

/// The same call in every form in which it may be made.
fn in_every_form(action: &str, parameters: &str) -> Vec<(String, Request)> {
    let all = format!("{parameters}&{KEYS}");
    let mut calls = Vec::new();
    for separator in ['/', '.'] {
        let path = format!("/api/credentials{separator}{action}");
        let name = |form: &str| format!("{path}, {form}");
        calls.extend([
            (name("query"), get(&format!("{path}?{all}"))),
            (name("query, by POST"), request("POST", &format!("{path}?{all}"))),
            (name("query and basic"), get(&format!("{path}?{parameters}")).basic(HOLDER)),
            (name("urlencoded"), form(&path, URLENCODED, all.clone())),
            (
                name("urlencoded, with a charset"),
                form(&path, "application/x-www-form-urlencoded; charset=UTF-8", all.clone()),
            ),
            (name("urlencoded and basic"), form(&path, URLENCODED, parameters).basic(HOLDER)),
            (
                name("urlencoded, in chunks"),
                request("POST", &path).header("Content-Type", URLENCODED).chunked(all.clone()),
            ),
            (name("multipart"), form(&path, MULTIPART, multipart(&all))),
            (name("multipart and basic"), form(&path, MULTIPART, multipart(parameters)).basic(HOLDER)),
            (name("query and urlencoded"), form(&format!("{path}?{KEYS}"), URLENCODED, parameters)),
            (
                name("by GET with a body"),
                request("GET", &path).header("Content-Type", URLENCODED).body(all.clone()),
            ),
        ]);
    }
    calls
}

fn bits(response: &Response) -> [i64; 3] {
    let json = response.json();
    ["email", "api", "web"].map(|key| json["permissions"][key].as_i64().unwrap())
}

#[test]
fn every_form_of_every_call() {
    let (gateway, backend) = start("");
    let mut connection = Connection::open(gateway.api());
    let permissions = "permissions=%7B%22email%22%3A%200%2C%20%22web%22%3A%201%7D";
    let nested = "permissions%5Bemail%5D=0&permissions[web]=1";
    let mut number = 0;
    for given in [permissions, nested] {
        let count = in_every_form("add.json", "username=x&password=passw0rd-x").len();
        for turn in 0..count {
            number += 1;
            let name = format!("user-{number}");
            let mut call = |action: &str, parameters: &str| {
                let (form, request) = in_every_form(action, parameters).swap_remove(turn);
                let response = connection.exchange(request);
                assert_eq!(response.status, 200, "{form}: {}", response.text());
                response
            };
            let added = call("add.json", &format!("username={name}&password=passw0rd-1&{given}"));
            assert_eq!(added.text(), r#"{"message":"success"}"#);
            assert_eq!(added.header("content-type"), Some("application/json"));
            assert_eq!(bits(&call("get.json", &format!("username={name}"))), [0, 1, 1]);
            let edited = call("edit.xml", &format!("username={name}&permissions[api]=0&password=passw0rd-2"));
            assert_eq!(edited.text(), format!("{DECLARATION}<result><count>1</count></result>"));
            assert_eq!(bits(&call("get.json", &format!("username={name}"))), [0, 0, 1]);
            let action = if turn % 2 == 0 { "remove.xml" } else { "delete.xml" };
            let removed = call(action, &format!("username={name}"));
            assert_eq!(removed.text(), format!("{DECLARATION}<result><count>0</count></result>"));
            assert_eq!(removed.header("content-type"), Some("text/xml; charset=ISO-8859-1"));
            assert_eq!(call("get.json", "a=b").text(), "[]");
        }
    }
    assert!(backend.drain().is_empty(), "it is answered here");
}

/// Both formats, byte by byte.
#[test]
fn what_get_says() {
    let (gateway, _backend) = start("");
    let list = |format: &str| get(&format!("/api/credentials/get.{format}?{KEYS}")).send(gateway.api());
    assert_eq!(list("json").text(), "[]");
    assert_eq!(list("xml").text(), format!("{DECLARATION}<credentials></credentials>"));
    for (name, permissions) in
        [("John.Smith+1@example.com", r#"{"email":0,"api":1,"web":0}"#), ("mary_smith", "{}")]
    {
        let parameters =
            format!("username={}&password=passw0rd-1&permissions={permissions}", name.replace('+', "%2B"));
        assert_eq!(gateway.manage("add", &parameters), (200, r#"{"message":"success"}"#.into()));
    }
    let json = list("json");
    let ids: Vec<i64> = json.json().as_array().unwrap().iter().map(|c| c["id"].as_i64().unwrap()).collect();
    let john = format!(
        r#"{{"id":{},"name":"John.Smith+1@example.com","permissions":{{"email":0,"api":1,"web":0}}}}"#,
        ids[0]
    );
    let mary =
        format!(r#"{{"id":{},"name":"mary_smith","permissions":{{"email":1,"api":1,"web":1}}}}"#, ids[1]);
    assert_eq!(json.text(), format!("[{john},{mary}]"));
    let one = get(&format!("/api/credentials/get.json?username=john.smith%2B1@EXAMPLE.com&{KEYS}"))
        .send(gateway.api());
    assert_eq!(one.text(), john);
    let xml = list("xml").text();
    let mut expected = format!("{DECLARATION}<credentials>");
    for (id, name, bits) in [
        (ids[0], "John.Smith+1@example.com", r#"{"web": 0, "api": 1, "email": 0}"#),
        (ids[1], "mary_smith", r#"{"web": 1, "api": 1, "email": 1}"#),
    ] {
        expected += &format!(
            "<credential><created_at>TIME</created_at><permissions>{bits}</permissions><id>{id}</id><name>{name}</name>\
             <updated_at>TIME</updated_at></credential>"
        );
    }
    let mut plain = xml.clone();
    for tag in ["created_at", "updated_at"] {
        for piece in xml.split(&format!("<{tag}>")).skip(1) {
            let time = &piece[..19];
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "0000-00-00 00:00:00");
            assert!(time.starts_with("20"), "{time}");
            plain = plain.replace(time, "TIME");
        }
    }
    assert_eq!(plain, expected + "</credentials>");
    // What is shown is what counts: capped by the account's rights.
    assert!(gateway.command(&["account", "rights", "acme", "api"], "").status.success());
    let capped = list("json").text();
    assert_eq!(capped, json.text().replace(r#""email":1,"api":1,"web":1"#, r#""email":0,"api":1,"web":0"#));
}

#[test]
fn errors_in_both_formats() {
    let (gateway, _backend) = start("");
    let fails = |format: &str, parameters: &str| {
        get(&format!("/api/credentials/edit.{format}?{parameters}&{KEYS}")).send(gateway.api())
    };
    let json = fails("json", "username=nobody-here");
    assert_eq!((json.status, &json.text()[..]), (404, r#"{"error":"no such credential"}"#));
    let xml = fails("xml", "username=nobody-here");
    assert_eq!(
        xml.text(),
        format!("{DECLARATION}<result><message>error: no such credential</message></result>")
    );
    // What was sent is quoted, and can't break out: not of JSON, not of XML, not of its encoding.
    let evil = "username=joe-1&permissions=%7B%22%22%5C%22%3C%26%5D%5D%3E%C3%BC%E2%82%AC%22%3A0%7D";
    let _ = fails("json", evil).json();
    let xml = fails("xml", evil);
    assert!(
        xml.body.is_ascii() || String::from_utf8(xml.body.clone()).is_err(),
        "it is in ISO-8859-1: {}",
        xml.text()
    );
    let key = "username=joe-1&permissions=%7B%22%3Ca%26%C3%BC%E2%82%AC%22%3A0%7D";
    let xml = fails("xml", key);
    let escaped = "&lt;a&amp;\u{fffd}&#8364;";
    assert!(xml.text().contains(escaped) || xml.text().contains("&lt;a&amp;&#252;&#8364;"), "{}", xml.text());
    assert!(fails("json", key).text().contains("<a&ü€"));
    // Calls that are refused before they are read answer in their own form, too.
    let unknown = get("/api/credentials/get.xml").send(gateway.api());
    assert_eq!((unknown.status, unknown.header("www-authenticate").is_some()), (401, true));
    assert_eq!(
        unknown.text(),
        format!("{DECLARATION}<result><message>error: Authentication required</message></result>")
    );
}

#[test]
fn every_status() {
    let (gateway, backend) = start("throttle = false\n");
    gateway.credential("joe-1:passw0rd-1", "email,api,web");
    let mut connection = Connection::open(gateway.api());
    let mut status = |request: Request| connection.exchange(request).status;
    let holder = |target: &str| get(target).basic(HOLDER);
    let bad = [
        "add.json",
        "add.json?username=joe-2",
        "add.json?password=passw0rd-2",
        "add.json?username=&password=passw0rd-2",
        "add.json?username=jo&password=passw0rd-2",
        "add.json?username=12345&password=passw0rd-2",
        "add.json?username=joe%202&password=passw0rd-2",
        "add.json?username=apikey&password=passw0rd-2",
        "add.json?username=ApiKey&password=passw0rd-2",
        "add.json?username=joe-2&password=short-1",
        "add.json?username=joe-2&password=without-digit",
        "add.json?username=joe-2&password=12345678",
        "add.json?username=joe-2&password=passw0rd%0a",
        "add.json?username=joe-2&password=passw0rd-2&password=passw0rd-3",
        "add.json?username=joe-2&username=joe-3&password=passw0rd-2",
        "add.json?username=joe-2&password=passw0rd-2&permissions=",
        "add.json?username=joe-2&password=passw0rd-2&permissions=[]",
        "add.json?username=joe-2&password=passw0rd-2&permissions={%22emial%22:0}",
        "add.json?username=joe-2&password=passw0rd-2&permissions={%22Email%22:0}",
        "add.json?username=joe-2&password=passw0rd-2&permissions={%22email%22:true}",
        "add.json?username=joe-2&password=passw0rd-2&permissions={%22email%22:%221%22}",
        "add.json?username=joe-2&password=passw0rd-2&permissions={%22email%22:2}",
        "add.json?username=joe-2&password=passw0rd-2&permissions={%22email%22:1.0}",
        "add.json?username=joe-2&password=passw0rd-2&permissions={%22email%22:0,%22email%22:0}",
        "add.json?username=joe-2&password=passw0rd-2&permissions={%22email%22:0}x",
        "add.json?username=joe-2&password=passw0rd-2&permissions[emial]=0",
        "add.json?username=joe-2&password=passw0rd-2&permissions[email]=2",
        "add.json?username=joe-2&password=passw0rd-2&permissions[email]=0&permissions[email]=0",
        "add.json?username=joe-2&password=passw0rd-2&permissions[email]=0&permissions={%22web%22:0}",
        "edit.json",
        "edit.json?username=joe-1&permissions={%22emial%22:0}",
        "edit.json?username=joe-1&password=short",
        "remove.json",
        "get.json?username=joe-1&api_user=acme",
        "get.json?api_user=acme&api_key=another-passw0rd",
    ];
    for call in bad {
        assert_eq!(status(holder(&format!("/api/credentials/{call}"))), 400, "{call}");
    }
    // Nothing of it was written.
    assert_eq!(status(holder("/api/credentials/get.json?username=joe-2")), 404);
    let other: [(&str, u16); 12] = [
        ("/api/credentials/get.json?username=joe-9", 404),
        ("/api/credentials/edit.json?username=joe-9&password=passw0rd-9", 404),
        ("/api/credentials/remove.json?username=joe-9", 404),
        ("/api/credentials/remove.json?username=acme", 404),
        ("/api/credentials/list.json", 404),
        ("/api/credentials/get.yaml", 404),
        ("/api/credentials/get", 404),
        ("/api/credentials/", 404),
        ("/api/credentials", 404),
        ("/api/credentials/get.json/more", 404),
        ("/api/credentials/add.json?username=JOE-1&password=passw0rd-1", 409),
        ("/api/credentials/add.json?username=Acme&password=passw0rd-1", 409),
    ];
    for (target, expected) in other {
        assert_eq!(status(holder(target)), expected, "{target}");
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "post"] {
        let response = Connection::open(gateway.api())
            .exchange(request(method, "/api/credentials/get.json").basic(HOLDER));
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, POST")), "{method}");
    }
    assert_eq!(status(get("/api/credentials/get.json").basic("joe-1:passw0rd-1")), 403);
    assert_eq!(status(get("/api/credentials/get.json").basic("acme:wrong-passw0rd")), 401);
    assert_eq!(status(get("/api/credentials/get.json").basic("unknown:wrong-passw0rd")), 401);
    assert_eq!(status(get("/api/credentials/get.json").header("Authorization", "Bearer x")), 401);
    let long = format!("{KEYS}&a={}", "a".repeat(70_000));
    assert_eq!(status(form("/api/credentials/get.json", URLENCODED, long)), 413);
    assert_eq!(status(form("/api/credentials/get.json", "application/json", "{}").basic(HOLDER)), 400);
    // Above the account's rights.
    assert!(gateway.command(&["account", "rights", "acme", "api"], "").status.success());
    for (call, expected) in [
        ("add.json?username=joe-3&password=passw0rd-1&permissions={%22email%22:1}", 400),
        ("add.json?username=joe-3&password=passw0rd-1&permissions={%22api%22:1}", 200),
        ("edit.json?username=joe-3&permissions[web]=1", 400),
    ] {
        let response = Connection::open(gateway.api()).exchange(holder(&format!("/api/credentials/{call}")));
        assert_eq!(response.status, expected, "{call}: {}", response.text());
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn the_reserved_username_is_named() {
    let (gateway, _backend) = start("");
    let (status, answer) = gateway.manage("add", "username=APIKEY&password=passw0rd-2");
    assert_eq!((status, answer.contains("username apikey is reserved")), (400, true), "{answer}");
    // One that was added before it was reserved can be edited and removed, and its logins are valid.
    gateway.credential("old-name:passw0rd-1", "api");
    let rename = "db.execute(\"UPDATE principal SET name = 'ApiKey' WHERE name = 'old-name'\")\nsay()";
    Other::run(&file_of(&gateway), rename).end();
    assert_eq!(gateway.manage("get", "username=apikey").0, 200);
    assert_eq!(gateway.manage("edit", "username=apikey&password=passw0rd-2").0, 200);
    assert_eq!(get("/v3/stats").basic("apikey:passw0rd-2").send(gateway.api()).status, 200);
    assert_eq!(gateway.manage("remove", "username=apikey").0, 200);
}

/// Failures are followed by a growing delay. Credentials that were verified before are served meanwhile.
#[test]
fn too_many_failures() {
    let (gateway, backend) = start("");
    assert_eq!(get("/v3/stats").basic(HOLDER).send(gateway.api()).status, 200);
    backend.next();
    let mut statuses = BTreeSet::new();
    let refused = (0..50)
        .map(|number| {
            get("/api/credentials/get.json")
                .basic(&format!("acme:wrong-passw0rd-{number}"))
                .send(gateway.api())
        })
        .inspect(|response| {
            statuses.insert(response.status);
        })
        .find(|response| response.status == 429)
        .expect("nothing slows it down");
    assert_eq!(statuses, BTreeSet::from([401, 429]));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("www-authenticate"), None);
    assert_eq!(refused.json()["error"], "Too many failed attempts, try again later");
    assert_eq!(get("/v3/stats").basic(HOLDER).send(gateway.api()).status, 200, "the owner isn't locked out");
    assert_eq!(gateway.manage("get", "a=b").0, 200);
}

/// Changes of one credential that come at once end in one of their orders.
#[test]
fn changes_at_once_end_in_one_of_their_orders() {
    let (gateway, _backend) = start("throttle = false\n");
    gateway.credential("joe-1:passw0rd-1", "none");
    let sets = [
        ("passw0rd-a", "1", "0"),
        ("passw0rd-b", "0", "1"),
        ("passw0rd-c", "1", "1"),
        ("passw0rd-d", "0", "0"),
    ];
    for _ in 0..10 {
        std::thread::scope(|scope| {
            for (password, email, api) in sets {
                let gateway = &gateway;
                scope.spawn(move || {
                    let parameters = format!(
                        "username=joe-1&password={password}&permissions[email]={email}&permissions[api]={api}"
                    );
                    assert_eq!(gateway.manage("edit", &parameters).0, 200);
                });
            }
        });
        let found = gateway.manage("get", "username=joe-1").1;
        let good: Vec<&str> = sets
            .iter()
            .filter(|(password, ..)| {
                let response = get("/v3/stats").basic(&format!("joe-1:{password}")).send(gateway.api());
                response.status != 401
            })
            .map(|(password, email, api)| {
                assert!(found.contains(&format!("\"email\":{email},\"api\":{api}")), "{password}: {found}");
                *password
            })
            .collect();
        assert_eq!(good.len(), 1, "{good:?}");
    }
}

/// A list longer than one read of the store comes in pieces, and whole.
#[test]
fn a_long_list() {
    let (gateway, _backend) = start("");
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], timeout=10)\n\
        db.executemany(\"INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
        SELECT id, 'many-' || ?, hash, 7, created_at, updated_at FROM principal WHERE name = 'acme'\", \
        [(i,) for i in range(2500)])\n\
        db.commit()\n";
    let database = gateway.directory.path().join("gatepost.db");
    let output = std::process::Command::new("python3").args(["-c", script]).arg(database).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut connection = Connection::open(gateway.api());
    for format in ["json", "xml"] {
        let response = connection.exchange(get(&format!("/api/credentials/get.{format}?{KEYS}")));
        assert_eq!(response.status, 200);
        let text = response.text();
        match format {
            "json" => assert_eq!(response.json().as_array().unwrap().len(), 2500),
            _ => assert_eq!(text.matches("<credential>").count(), 2500),
        }
        assert!(text.ends_with(if format == "json" { "]" } else { "</credentials>" }));
    }
    assert_eq!(connection.reopened, 0);
}
