//! Forms that ordinary clients send: accepted as they are, with the credential in the header or in the form.

use std::process::Command;

use crate::common::backend::Backend;
use crate::common::forms::{MULTIPART, URLENCODED, form, text_fields};
use crate::common::http::{Connection, Request};
use crate::common::servers::script;
use crate::common::{Gateway, api, installed};

const CALLER: &str = "apionly:passw0rd-call";
const FORM: &str = "to=a%40b&api_user=apionly&api_key=passw0rd-call";
const MASKED: &str = "to=a%40b&api_user=xxxxxxx&api_key=xxxxxxxxxxxxx";

fn start() -> (Gateway, Backend) {
    let backend = Backend::hello();
    let gateway = Gateway::start(&api(backend.address));
    gateway.account("email,api,web").credential(CALLER, "api");
    (gateway, backend)
}

/// Sends a form with its credential in it, and with Basic in addition; the backend gets the same both times.
fn assert_masked(
    connection: &mut Connection,
    backend: &Backend,
    request: impl Fn() -> Request,
    masked: &str,
) {
    for request in [request(), request().basic(CALLER)] {
        let described = String::from_utf8_lossy(&request.bytes()).into_owned();
        let response = connection.exchange(request);
        assert_eq!(response.status, 200, "{described}: {}", response.text());
        assert_eq!(String::from_utf8_lossy(&backend.next().body), masked, "{described}");
    }
}

/// .NET sends a name that is not ASCII as an encoded word (RFC 2047).
#[test]
fn a_name_may_be_an_encoded_word() {
    let (gateway, backend) = start();
    let mut connection = Connection::open(gateway.api());
    let body =
        |name: &str| text_fields(&[("api_user", "apionly"), ("api_key", "passw0rd-call"), (name, "1")]);
    let word = "=?utf-8?B?ZmlsZXNbcsOpc3Vtw6kucGRmXQ==?=";
    let masked = body(word).replace("passw0rd-call", &"x".repeat(13)).replace("\r\napionly", "\r\nxxxxxxx");
    assert_masked(&mut connection, &backend, || form("/v3/stats", MULTIPART, body(word)), &masked);
    let hidden = form("/v3/stats", MULTIPART, body("=?utf-8?B?YXBpX3VzZXI=?="));
    let response = connection.exchange(hidden.basic(CALLER));
    assert!(response.text().contains("api_user and api_key"), "{}", response.text());
}

/// Text is no form: what looks like a credential in it is neither refused nor masked.
#[test]
fn text_arrives_as_it_is() {
    let backend = Backend::hello();
    let open = "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n";
    let gateway = Gateway::start(&(api(backend.address) + open));
    gateway.account("email,api,web").credential(CALLER, "api");
    let mut connection = Connection::open(gateway.api());
    let line = "GET /a?x=1&api_key=9 200\n";
    let notice = r#"{"UnsubscribeURL":"https://a/?Action=U&api_key=ABC","api_user":1}"#;
    for kind in ["text/plain", "text/plain; charset=UTF-8", ""] {
        for (path, text) in [("/logs", line), ("/logs", notice), ("/open/a", notice), ("/open/a", FORM)] {
            let response = connection.exchange(form(path, kind, text).basic(CALLER));
            assert_eq!(response.status, 200, "{kind}, {text}: {}", response.text());
            assert_eq!(String::from_utf8_lossy(&backend.next().body), text, "{kind}");
        }
        let response = connection.exchange(form("/logs", kind, FORM).basic(CALLER));
        assert_eq!((response.status, &*backend.next().body), (200, MASKED.as_bytes()), "{kind}");
    }
}

// Case A3: bytes that are called a form, and forms of very many fields, stream.
#[test]
fn any_number_of_fields_streams() {
    let (gateway, backend) = start();
    let mut connection = Connection::open(gateway.api());
    let mut state: u32 = 1;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(6_000_000)
    .collect();
    let log = "https://example.com/a?b=1&c=2&d=3\n".repeat(20_000).into_bytes();
    let fields = "a=1&".repeat(20_000).into_bytes();
    for body in [random, log, fields] {
        let response = connection.exchange(form("/api/a.json", URLENCODED, body.clone()).basic(CALLER));
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(backend.next().body == body);
        connection.reopen_if_closing();
    }
    // Also where the form is read to its end for its credential.
    let many = |credential: &str| format!("{}{credential}", "a=1&".repeat(20_000));
    let response = connection.exchange(form("/api/a.json", URLENCODED, many(FORM)));
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(backend.next().body == many(MASKED).as_bytes());
    let parts: Vec<(String, &str)> = (0..12_000).map(|at| (format!("f{at}"), "1")).collect();
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let response = connection.exchange(form("/api/a.json", MULTIPART, text_fields(&parts)).basic(CALLER));
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(backend.next().body == text_fields(&parts).as_bytes());
}

// Case A5: an encoding that is none.
#[test]
fn a_form_may_say_that_it_is_not_encoded() {
    let (gateway, backend) = start();
    let mut connection = Connection::open(gateway.api());
    let encoded = |encoding: &str| form("/api/a.json", URLENCODED, FORM).header("Content-Encoding", encoding);
    for encoding in ["identity", "Identity", "", "identity, identity"] {
        assert_masked(&mut connection, &backend, || encoded(encoding), MASKED);
    }
    for encoding in ["gzip", "identity, gzip", "deflate", "br", "x-own"] {
        let response = encoded(encoding).basic(CALLER).send(gateway.api());
        assert_eq!(response.status, 400, "{encoding}");
        assert!(response.text().contains("Content-Encoding"), "{}", response.text());
    }
    assert!(backend.drain().is_empty());
}

// Case A6: character sets in which the bytes of a credential's field are ASCII.
#[test]
fn a_form_may_be_in_any_superset_of_ascii() {
    let (gateway, backend) = start();
    let mut connection = Connection::open(gateway.api());
    let kind = |charset: &str| format!("{URLENCODED}; charset={charset}");
    for charset in [
        "UTF-8",
        "koi8-r",
        "KOI8-U",
        "euc-kr",
        "gb2312",
        "euc-jp",
        "iso-8859-1",
        "ISO-8859-15",
        "windows-1251",
        "Shift_JIS",
        "windows-31j",
        "gbk",
        "gb18030",
        "big5",
        "tis-620",
        "macintosh",
        "\"us-ascii\"",
        "",
    ] {
        assert_masked(&mut connection, &backend, || form("/api/a.json", &kind(charset), FORM), MASKED);
    }
    for charset in
        ["utf-16", "utf-7", "ibm037", "cp500", "iso-2022-jp", "hz-gb-2312", "johab", "cp864", "other"]
    {
        let response = form("/api/a.json", &kind(charset), FORM).basic(CALLER).send(gateway.api());
        assert_eq!(response.status, 400, "{charset}");
        assert!(response.text().contains("superset of ASCII"), "{}", response.text());
    }
    assert!(backend.drain().is_empty());
}

// Case A1: the boundaries of browsers, and all others that are legal (more in judged_forms).
#[test]
fn any_legal_boundary_is_accepted() {
    let (gateway, backend) = start();
    let mut connection = Connection::open(gateway.api());
    for boundary in [
        "----WebKitFormBoundaryX",
        "----geckoformboundaryX",
        "dart-http-boundary-x",
        "Boundary-X",
        "alamofire.boundary.x",
        "axios-1.21.1-boundary-x",
        "-----------------------------974767299852498929531610575",
        "Boundary+9F8A7B6C",
        "===============1234567890==",
        "\"gc0p4Jq0M2Yt08jU534c0p\"",
        "\"simple boundary\"",
        "\"gc0pJq0M:08jU534c0p\"",
        "0",
        "a'()+_,-./:=?b",
    ] {
        let text = boundary.trim_matches('"');
        let of = |user: &str, key: &str| {
            let fields = text_fields(&[("to", "a@b"), ("api_user", user), ("api_key", key)]);
            fields.replace("--b", &format!("--{text}"))
        };
        let kind = format!("multipart/form-data; boundary={boundary}");
        let request = || form("/api/a.json", &kind, of("apionly", "passw0rd-call"));
        if boundary.contains(',') {
            // PHP, Rack and Werkzeug end it there.
            assert_eq!(request().send(gateway.api()).status, 400);
            continue;
        }
        assert_masked(&mut connection, &backend, request, &of("xxxxxxx", "xxxxxxxxxxxxx"));
    }
    assert!(backend.drain().is_empty());
}

// Case A15: requests 2.20 sends a name that is not ASCII in the extended form.
#[test]
fn old_python_requests_uploads_a_file_whose_name_is_not_ascii() {
    let python = installed("requests/bin/python");
    let (gateway, backend) = start();
    for place in ["basic", "form"] {
        let output = Command::new(&python)
            .arg(script("upload.py"))
            .args([&format!("http://{}/api/a.json", gateway.api()), place, "apionly", "passw0rd-call"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with("200 "), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let received = backend.next();
        for part in [
            "name*=utf-8''files%5Br%C3%A9sum%C3%A9.pdf%5D",
            "name=\"to\"",
            "name=\"plain\"; filename*=utf-8''r",
        ] {
            assert!(received.contains(part), "{}", received.body.escape_ascii());
        }
        assert!(!received.contains("passw0rd"));
    }
    assert!(backend.drain().is_empty());
}
