//! Multipart bodies that parsers read differently: with a credential of its own in the header, none of them shows a backend another one.
//! Each body goes through the gateway, and what arrives is read by the parsers of two dozen backends.

use std::collections::BTreeMap;

use crate::common::backend::Backend;
use crate::common::forms::form;
use crate::common::http::{Connection, request};
use crate::common::parsers::{Submission, read_all};
use crate::common::{Gateway, api};

const CALLER: &str = "apionly:passw0rd-call";
/// The other user's name that a field tries to bring in.
const OTHER: &str = "somebody-else";

/// What a Content-Type may say. `BB` is the boundary of the bodies, and `AA` that of parts hidden in them.
const TYPES: [&str; 37] = [
    "multipart/form-data; boundary=BB",
    "multipart/form-data; boundary=\"BB\"",
    "multipart/form-data; boundary='BB'",
    "multipart/form-data; boundary=BB ;",
    "multipart/form-data; boundary = BB",
    "multipart/form-data; boundary= BB",
    "multipart/form-data; boundary=BB,x",
    "multipart/form-data; boundary=AA; boundary=BB",
    "multipart/form-data; boundary=BB; boundary=AA",
    "multipart/form-data; boundary=BB; boundary*=utf-8''AA",
    "multipart/form-data; boundary*=utf-8''AA; boundary=BB",
    "multipart/form-data; boundary*0=B; boundary*1=B",
    "multipart/form-data; BOUNDARY=AA; boundary=BB",
    "multipart/form-data; BOUNDARY=BB",
    "multipart/form-data; x=\"boundary=AA; \"; boundary=BB",
    "multipart/form-data; xboundary=AA; boundary=BB",
    "multipart/form-data; boundary=BB; xboundary=AA",
    "multipart/form-data; boundary=BB; charset=utf-7",
    "multipart/form-data; boundary=BB; charset=utf-8",
    "multipart/form-data, boundary=BB",
    "multipart/form-data boundary=BB",
    "multipart/form-data; xboundary=BB",
    "multipart/form-data",
    "multipart/form-dataX; boundary=BB",
    "multipart/mixed; boundary=BB",
    "multipart/related; boundary=BB",
    "multipart/alternative; boundary=BB",
    "multipart/x-own; boundary=BB",
    "xmultipart/form-data; boundary=BB",
    "MULTIPART/FORM-DATA; BOUNDARY=BB",
    "Multipart/Form-Data; boundary=BB",
    "text/plain; x=multipart/form-data; boundary=BB",
    "text/plain; x=multipart; boundary=BB",
    "text/plain",
    "application/x-www-form-urlencoded; x=multipart/form-data; boundary=BB",
    "multipart/form-data; boundary=BB=",
    "multipart/form-data; boundary=\"B\\B\"",
];

/// The header of a part that some parser takes for `api_user`. `{}` is the value, which follows the header.
const PARTS: [&str; 49] = [
    "Content-Disposition: form-data; name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=api_user\r\n\r\n{}",
    "Content-Disposition: form-data; name='api_user'\r\n\r\n{}",
    "Content-Disposition: form-data; NAME=\"api_user\"\r\n\r\n{}",
    "content-disposition:form-data;name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api\\_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"\\api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"/api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\" api_user\t\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"\0api_user\0\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\0x\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\"x\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"x\\\"; name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"x\"; name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\"; name=\"x\"\r\n\r\n{}",
    "Content-Disposition: form-data; name*=utf-8''api_user\r\n\r\n{}",
    "Content-Disposition: form-data; name*=utf-8''%61pi_user\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"x\"; name*=utf-8''api_user\r\n\r\n{}",
    "Content-Disposition: form-data; name*=utf-8''api_user; name=\"x\"\r\n\r\n{}",
    "Content-Disposition: form-data; name*=ibm037''%81%97%89m%a4%a2%85%99\r\n\r\n{}",
    "Content-Disposition: form-data; name*0=api_; name*1=user\r\n\r\n{}",
    "Content-Disposition: form-data; name*0*=utf-8''api_; name*1=user\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\"\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n{}",
    "Content-Disposition: form-data;\r\n name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data;\r\n\tname=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data;\r\nname=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api\r\n_user\"\r\n\r\n{}",
    "Content-Disposition : form-data; name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\r\n\r\n{}",
    "Content-Disposition: form-data; name=api_user\"\r\n\r\n{}",
    "Content-Disposition: attachment; name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; filename=\"api_user\"\r\n\r\n{}",
    "Content-ID: api_user\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"\"; filename=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"=?utf-8?B?YXBpX3VzZXI=?=\"\r\n\r\n{}",
    "Content-Disposition: form-data; x-name=\"api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"x\"; filename=\"; name=api_user\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\"; filename=\"\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\"; filename=\"x\"\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\"\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"api_user\"\r\nContent-Transfer-Encoding: base64\r\n\r\nc29tZWJvZHktZWxzZQ==",
    "Content-Disposition: form-data; name=\"api_user\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
    "Content-Disposition: form-data; name=\"x\"\r\nContent-Type: multipart/mixed; boundary=AA\r\n\r\n\
     --AA\r\nContent-Disposition: form-data; name=\"api_user\"\r\n\r\n{}\r\n--AA--",
    "\r\nContent-Disposition: form-data; name=\"api_user\"\r\n\r\n{}",
    "X: y\r\n Content-Disposition: form-data; name=\"api_user\"\r\n\r\n{}",
    "X: y\nContent-Disposition: form-data; name=\"api_user\"\r\n\r\n{}",
    "X: y\rContent-Disposition: form-data; name=\"api_user\"\r\n\r\n{}",
];

/// How the parts of a body may be framed. `{}` is the part that tries to bring in another user.
const FRAMES: [&str; 26] = [
    "--BB\r\n{}\r\n--BB--\r\n",
    "--BB\r\n{}\r\n--BB\r\n{}\r\n--BB--\r\n",
    "--BB\n{}\n--BB--\n",
    "--BB\r{}\r--BB--\r",
    "--BB\r\n{}\n--BB--\r\n",
    "--BB\n{}\r\n--BB--\r\n",
    "--BB\r\n{}",
    "--BB\r\n{}\r\n--BB",
    "--BB\r\n{}\r\n--BB\r\n",
    "--BB\r\n{}\r\n--BB-",
    "--BB\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--BB--\r\n--BB\r\n{}\r\n--BB--\r\n",
    "--BB--\r\n--BB\r\n{}\r\n--BB--\r\n",
    "--BB \t\r\n{}\r\n--BB \t\r\n{}\r\n--BB--\r\n",
    "--BBx\r\n{}\r\n--BB--\r\n",
    "--BB\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1--BB\r\n{}\r\n--BB--\r\n",
    "{}\r\n--BB\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--BB--\r\n",
    "--BB\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--BB--\r\n{}",
    "--BB\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--BB--\r\n\r\n{}\r\n",
    "--AA\r\n{}\r\n--AA--\r\n",
    "--BB\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--AA\r\n{}\r\n--AA--\r\n--BB--\r\n",
    "--AA\r\n{}\r\n--AA\r\n--BB\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--BB--\r\n",
    "preamble\r\n--BB\r\n{}\r\n--BB--\r\nepilogue",
    "\r\n--BB\r\n{}\r\n--BB--\r\n",
    "\n--BB\r\n{}\r\n--BB--\r\n",
    "---BB\r\n{}\r\n--BB--\r\n",
    "--BB\r\n\r\n{}\r\n--BB--\r\n",
];

/// The bodies of each type: every part in the usual frame, and the usual part in every frame, also with other line ends. `value` is what
/// the parts hold, and `more` follows each part.
fn bodies(value: &str, more: &str) -> Vec<String> {
    let part = |part: &str| part.replace("{}", value) + more;
    let mut bodies: Vec<String> = PARTS.iter().map(|text| FRAMES[0].replace("{}", &part(text))).collect();
    let name = "Content-Disposition: form-data; name=\"api_user\"";
    for text in [PARTS[0], &format!("{name}\n\n{{}}"), &format!("{name}\r\r{{}}")] {
        bodies.extend(FRAMES.iter().map(|frame| frame.replace("{}", &part(text))));
    }
    bodies
}

/// Returns true if a reading is nothing but a masked value.
fn is_masked(reading: &str) -> bool {
    let value = reading.split_once('=').map_or("", |(_, value)| value);
    let mut words = value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.all(|word| word.bytes().all(|b| b == b'x') || ["b", "nil", "None", "null", "0"].contains(&word))
}

/// Sends each through the gateway, and reads what arrives, which `is_harmless` judges. Returns for each whether it was read directly, and whether it passed.
fn check(submissions: &[Submission], is_harmless: impl Fn(&str) -> bool) -> Vec<(bool, bool)> {
    let backend = Backend::hello();
    let gateway = Gateway::start(&api(backend.address));
    gateway.account("email,api,web").credential(CALLER, "api");
    let mut connection = Connection::open(gateway.api());
    let mut arrived = Vec::new();
    let mut passed = Vec::new();
    for submission in submissions {
        let method = submission.method.unwrap_or("POST");
        let mut sent = request(method, "/api/a.json").body(submission.body.clone()).basic(CALLER);
        if let Some(kind) = &submission.kind {
            sent = sent.header("Content-Type", kind);
        }
        let response = connection.exchange(sent);
        connection.reopen_if_closing();
        passed.push(response.status == 200);
        if response.status != 200 {
            assert_eq!(response.status, 400, "{submission:?}: {}", response.text());
            continue;
        }
        let received = backend.next();
        let kind = received.header("content-type").map(str::to_owned);
        arrived.push(Submission { kind, body: received.body, ..submission.clone() });
    }
    assert!(backend.drain().is_empty());
    let direct = read_all(submissions);
    let mut missed = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (submission, readings) in arrived.iter().zip(read_all(&arrived)) {
        for (parser, read) in readings {
            if !read.iter().all(|reading| is_harmless(reading)) {
                missed.push(format!(
                    "{parser} reads {read:?} of {submission:?} {}",
                    submission.body.escape_ascii()
                ));
            }
            *counts.entry(parser).or_default() += 1;
        }
    }
    println!("{} sent, {} passed; masked fields read by {counts:?}", submissions.len(), arrived.len());
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
    direct.iter().map(|readings| !readings.is_empty()).zip(passed).collect()
}

// Case A13: another user's name in a multipart body, in each way in which parsers differ.
#[test]
fn no_parser_sees_another_credential_in_a_multipart_body() {
    let mut submissions = Vec::new();
    let bodies = bodies(OTHER, "");
    for (at, kind) in TYPES.iter().enumerate() {
        // All bodies of the usual type, and for the others those that their kind of difference is about.
        let few =
            bodies.iter().enumerate().filter(|(index, _)| at == 0 || *index == 0 || *index >= PARTS.len());
        submissions.extend(few.map(|(_, body)| Submission {
            kind: Some((*kind).into()),
            body: body.clone().into_bytes(),
            ..Submission::default()
        }));
    }
    let outcomes = check(&submissions, is_masked);
    let dangerous = outcomes.iter().filter(|(is_read, _)| *is_read).count();
    let passed = outcomes.iter().filter(|(_, passed)| *passed).count();
    println!("{dangerous} of {} are read by some parser, {passed} passed", outcomes.len());
    assert!(dangerous > 600 && passed > 30);
    let of_parts = outcomes.iter().take(PARTS.len());
    let unread: Vec<&str> =
        PARTS.iter().zip(of_parts).filter(|(_, (is_read, _))| !is_read).map(|(part, _)| *part).collect();
    println!("parts that no parser here reads: {unread:#?}");
    assert!(unread.len() < 10, "{unread:#?}");
}

/// The credential of the header once more, in each of these ways: what a parser sees of it is masked.
#[test]
fn no_parser_sees_the_credential_itself_in_a_multipart_body() {
    let (user, key) = CALLER.split_once(':').unwrap();
    let key = format!("\r\n--BB\r\nContent-Disposition: form-data; name=\"api_key\"\r\n\r\n{key}");
    let of = |kind: &str| {
        let submissions = bodies(user, &key).into_iter();
        submissions
            .map(|body| Submission {
                kind: Some(kind.into()),
                body: body.into_bytes(),
                ..Submission::default()
            })
            .collect()
    };
    let submissions: Vec<Submission> =
        [TYPES[0], TYPES[1]].into_iter().flat_map(|kind| -> Vec<Submission> { of(kind) }).collect();
    let is_harmless = |reading: &str| CALLER.split(':').all(|secret| !reading.contains(secret));
    let outcomes = check(&submissions, is_harmless);
    assert!(outcomes.iter().filter(|(is_read, passed)| *is_read && *passed).count() > 20);
}

/// Bodies that some backends read as an urlencoded form.
#[test]
fn no_parser_sees_another_credential_in_a_body_that_may_be_a_form() {
    let kinds = [
        None,
        Some("application/x-www-form-urlencoded"),
        Some("text/plain"),
        Some("text/plain; charset=utf-8"),
        Some("application/x-www-form-urlencodedX"),
        Some("application/x-www-form-urlencoded, text/plain"),
        Some("text/plain, application/x-www-form-urlencoded"),
        Some("APPLICATION/X-WWW-FORM-URLENCODED"),
        Some("application/x-www-urlencoded"),
        Some("application/x-www-form-urlencoded; charset=utf-16"),
    ];
    let bodies = [
        format!("api_user={OTHER}"),
        format!("api_user={OTHER}&api_key=passw0rd-else"),
        format!("a=1&api_user={OTHER}&b=2"),
        format!("\u{feff}api_user={OTHER}"),
        format!("?api_user={OTHER}"),
        format!("a=1;api_user={OTHER}"),
        format!("api%u005fuser={OTHER}"),
        format!("a=1\r\napi_user={OTHER}"),
    ];
    let mut submissions = Vec::new();
    for kind in kinds {
        for body in &bodies {
            for method in ["POST", "GET", "PUT"] {
                let (kind, body) = (kind.map(str::to_owned), body.clone().into_bytes());
                submissions.push(Submission { kind, body, method: Some(method), ..Submission::default() });
            }
        }
    }
    let outcomes = check(&submissions, is_masked);
    assert!(outcomes.iter().filter(|(is_read, _)| *is_read).count() > 80);
}

/// Multipart bodies as clients write them, with the credential of the header in them or without one.
#[test]
fn multipart_bodies_of_ordinary_clients_pass() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&api(backend.address));
    gateway.account("email,api,web").credential(CALLER, "api");
    let mut connection = Connection::open(gateway.api());
    let quoted = "multipart/form-data; boundary=\"BB\"";
    let plain = "multipart/form-data; boundary=BB";
    for (client, kind, header) in [
        ("a browser", plain, "Content-Disposition: form-data; name=\"{}\"\r\n"),
        (
            ".NET",
            quoted,
            "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name={}\r\n",
        ),
        ("OkHttp", plain, "Content-Disposition: form-data; name=\"{}\"\r\nContent-Length: 7\r\n"),
        (
            "Apache HttpClient",
            "multipart/form-data; boundary=BB; charset=UTF-8",
            "Content-Disposition: form-data; name=\"{}\"\r\nContent-Type: text/plain; charset=US-ASCII\r\n\
             Content-Transfer-Encoding: 8bit\r\n",
        ),
        (
            "Dart",
            plain,
            "content-type: text/plain; charset=utf-8\r\ncontent-transfer-encoding: binary\r\ncontent-disposition: form-data; name=\"{}\"\r\n",
        ),
        ("RestSharp", quoted, "Content-Disposition: form-data; name=\"{}\"\r\nContent-Type: text/plain\r\n"),
        (
            "a MIME library",
            "multipart/form-data; boundary=\"BB\"; MIME-Version=1.0",
            "MIME-Version: 1.0\r\nContent-Disposition: form-data; name=\"{}\"\r\nContent-Type: text/plain; charset=\"us-ascii\"\r\nContent-Transfer-Encoding: 7bit\r\n",
        ),
    ] {
        let body = |user: &str, key: &str| {
            let part =
                |name: &str, value: &str| format!("--BB\r\n{}\r\n{value}\r\n", header.replace("{}", name));
            let file = "--BB\r\nContent-Disposition: form-data; name=\"files[a]\"; filename=\"a \\\"b\\\".pdf\"; \
                        filename*=UTF-8''a%20b.pdf\r\nContent-Type: application/pdf\r\n\r\n%PDF\n--B\r\n\r\n";
            let (user, key) = (part("api_user", user), part("api_key", key));
            format!(
                "{}{file}{}{user}{key}--BB--\r\n",
                part("to", "a@b.c"),
                part("text", "api_user\r\n--B\r\n")
            )
        };
        for basic in [false, true] {
            let sent = form("/api/a.json", kind, body("apionly", "passw0rd-call"));
            let response = connection.exchange(if basic { sent.basic(CALLER) } else { sent });
            assert_eq!(response.status, 200, "{client}: {}", response.text());
            let expected = body("xxxxxxx", "xxxxxxxxxxxxx");
            assert_eq!(String::from_utf8_lossy(&backend.next().body), expected, "{client}");
        }
    }
}
