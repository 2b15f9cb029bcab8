//! Real clients of the API, old ones among them: what they send is understood, and they understand what comes back.
//! `make test` installs them (tests/clients/install).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::backend::{Backend, Received};
use crate::common::curl::{Fetched, curl};
use crate::common::{Gateway, HOLDER, api, installed, open_api};

const SENDER: &str = "sender@example.com:passw0rd+send";
const CALLER: &str = "caller:passw0rd-call";

fn start() -> (Gateway, Backend) {
    let backend = Backend::answering(|received| {
        let body = if received.target.contains(".xml") {
            "<result><message>success</message></result>"
        } else {
            r#"{"message":"success"}"#
        };
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let gateway =
        Gateway::start(&format!("[auth]\nbcrypt_cost = 4\nthrottle = false\n{}", api(backend.address)));
    gateway.account("email,api,web").credential(SENDER, "email").credential(CALLER, "api");
    (gateway, backend)
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// An attachment with every byte in it, larger than what is held in memory.
fn attachment(gateway: &Gateway) -> PathBuf {
    let path = gateway.directory.path().join("a.bin");
    let bytes: Vec<u8> = (0..1_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn assert_sent(received: &Received, user: &str) {
    assert_eq!(received.header("x-gatepost-user"), Some(user));
    for secret in ["passw0rd", "sender@example.com&", "api_key=p"] {
        assert!(!received.contains(secret), "{secret}");
    }
}

/// Python `sendgrid` 2.2.1: urlencoded, the file inline, `Connection: close`.
#[test]
fn the_python_client() {
    let python = installed("python/bin/python");
    let (gateway, backend) = start();
    let file = attachment(&gateway);
    let send = |login: &[&str]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/send.py");
        said(Command::new(&python).arg(script).arg(gateway.api().port().to_string()).arg(&file).args(login))
    };
    assert_eq!(send(&["sender@example.com", "passw0rd+send"]), r#"200 {"message":"success"}"#);
    let received = backend.next();
    assert_sent(&received, "sender@example.com");
    assert_eq!(received.header("content-type"), Some("application/x-www-form-urlencoded"));
    let body = String::from_utf8(received.body).unwrap();
    assert!(body.contains("to%5B%5D=a%40example.com&to%5B%5D=b%40example.com"), "{}", &body[..400]);
    assert!(
        body.contains("&api_user=xxxxxxxxxxxxxxxxxxxx&api_key=xxxxxxxxxxxxxxx&files%5Ba+b.bin%5D="),
        "{}",
        &body[..body.len().min(900)]
    );
    assert_eq!(send(&["sender@example.com", "passw0rd-sent"]), refused("401", "Bad username / password"));
    assert_eq!(
        without_ids(&send(&["caller", "passw0rd-call"])),
        refused("403", "Permission denied: email is needed")
    );
    assert_eq!(send(&["SG.key-of-another-kind"]), refused("401", "Authentication required"));
    assert!(backend.drain().is_empty());
}

/// The text without the IDs of refusals, each of which is 16 characters.
fn without_ids(text: &str) -> String {
    let mut parts = text.split(" (id ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.get(17..).expect("an ID and a bracket"))
}

fn refused(status: &str, reason: &str) -> String {
    let error = format!(r#"{{"code":{status},"message":"{reason}"}}"#);
    format!(r#"{status} {{"message":"error","errors":["{reason}"],"error":{error}}}"#)
}

/// npm `sendgrid` 2.0.0: multipart, the credential last, after the attachments; or a key by Bearer, which names nobody.
#[test]
fn the_node_client() {
    let client = installed("node/node_modules/sendgrid");
    let (gateway, backend) = start();
    let file = attachment(&gateway);
    let send = |login: &[&str]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/send.js");
        let mut node = Command::new("node");
        node.env("CLIENT", &client).arg("--no-deprecation").arg(script);
        said(node.arg(gateway.api().port().to_string()).arg(&file).args(login))
    };
    assert_eq!(send(&["sender@example.com", "passw0rd+send"]), r#"{"message":"success"}"#);
    let received = backend.next();
    assert_sent(&received, "sender@example.com");
    let find = |what: &[u8]| {
        memchr::memmem::find(&received.body, what).unwrap_or_else(|| panic!("{}", what.escape_ascii()))
    };
    let bytes = std::fs::read(&file).unwrap();
    assert!(
        find(&bytes) < find(b"name=\"api_user\"\r\n\r\nxxxxxxxxxxxxxxxxxx\r\n"),
        "the credential comes after the file"
    );
    find(b"name=\"api_key\"\r\n\r\nxxxxxxxxxxxxx\r\n");
    assert_eq!(send(&["sender@example.com", "passw0rd-sent"]), "failed: Bad username / password");
    assert_eq!(
        without_ids(&send(&["caller", "passw0rd-call"])),
        "failed: Permission denied: email is needed"
    );
    assert_eq!(send(&["SG.key-of-another-kind"]), "failed: Authentication required");
    assert!(backend.drain().is_empty());
}

const FORM: &str = r#"<!doctype html><meta charset="utf-8"><title>Upload</title>
<form method="post" action="/api/mail.send.json" enctype="multipart/form-data">
<input name="to" value="a@example.com"><input type="file" name="files[a]">
<input name="api_user"><input name="api_key" type="password"><button>Send</button></form>"#;

/// Chromium, whose boundary holds the word itself: a form of the gateway's own origin, with a file and a credential in it.
#[test]
fn a_browser_uploads_a_form() {
    let client = installed("playwright/node_modules/playwright-core");
    let backend = Backend::answering(|received| {
        let (kind, body) = match received.method.as_str() {
            "GET" => ("text/html", FORM),
            _ => ("application/json", r#"{"message":"success"}"#),
        };
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    });
    let gateway = Gateway::start(&open_api(backend.address, ""));
    gateway.account("email,api,web").credential(SENDER, "email").credential(CALLER, "api");
    let file = attachment(&gateway);
    let upload = |login: &str| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/upload.js");
        let mut node = Command::new("node");
        node.env("CLIENT", &client).arg(script).arg(format!("http://{}/open/form.html", gateway.api()));
        let (username, password) = login.split_once(':').unwrap();
        let said = said(node.arg(&file).args([username, password]));
        let mut received = backend.drain().into_iter().filter(|received| received.method == "POST");
        (said, received.next())
    };
    let (said, received) = upload(SENDER);
    assert_eq!(said, r#"200 {"message":"success"}"#);
    let received = received.unwrap();
    assert_sent(&received, "sender@example.com");
    let kind = received.header("content-type").unwrap();
    assert!(kind.starts_with("multipart/form-data; boundary=----WebKitFormBoundary"), "{kind}");
    let has = |what: &[u8]| memchr::memmem::find(&received.body, what).is_some();
    assert!(has(&std::fs::read(&file).unwrap()), "the file arrives as it was");
    assert!(has(b"name=\"to\"\r\n\r\na@example.com\r\n"));
    assert!(has(b"name=\"api_user\"\r\n\r\nxxxxxxxxxxxxxxxxxx\r\n"));
    assert!(has(b"name=\"api_key\"\r\n\r\nxxxxxxxxxxxxx\r\n"));
    let (said, received) = upload(CALLER);
    assert_eq!(
        (without_ids(&said), received.is_none()),
        (refused("403", "Permission denied: email is needed"), true)
    );
}

fn fetch(gateway: &Gateway, path: &str, arguments: &[&str]) -> Fetched {
    let url = format!("http://{}{path}", gateway.api());
    let mut all = vec!["--globoff", &url];
    all.extend_from_slice(arguments);
    curl(&all)
}

/// The commands of the old documentation, as they were pasted.
#[test]
fn curl_as_documented() {
    let (gateway, backend) = start();
    let call = |path: &str, arguments: &[&str]| {
        let fetched = fetch(&gateway, path, arguments);
        (fetched.status, fetched.text())
    };
    let success = || (200, r#"{"message":"success"}"#.to_owned());
    let account = "api_user=acme&api_key=holder-passw0rd";
    let add = "/api/credentials/add.json?username=johnsmith&password=s3cret-pass&permissions=%7B%22email%22:0,%22web%22:1,%22api%22:0%7D";
    assert_eq!(call(&format!("{add}&{account}"), &[]), success());
    let data = "permissions=%7B%22email%22%3A+0%2C+%22web%22%3A+1%2C+%22api%22%3A+0%7D&username=marysmith&password=s3cret-pass";
    assert_eq!(call("/api/credentials/add.json", &["-d", data, "-d", account]), success());
    let fields = [
        "-F",
        "api_user=acme",
        "-F",
        "api_key=holder-passw0rd",
        "-F",
        "username=bobsmith",
        "-F",
        "password=s3cret-pass",
    ];
    assert_eq!(
        call("/api/credentials/add.json", &[&fields[..], &["-F", r#"permissions={"email":1}"#]].concat()),
        success()
    );
    let (status, list) = call(&format!("/api/credentials/get.json?{account}"), &["-X", "POST"]);
    assert_eq!((status, list.matches("smith").count()), (200, 3));
    let raw = r#"permissions={"api":1}"#;
    assert_eq!(
        call(&format!("/api/credentials/edit.json?username=johnsmith&{account}"), &["--data-urlencode", raw]),
        success()
    );
    assert_eq!(call("/v3/stats", &["-u", "johnsmith:s3cret-pass"]).0, 200);
    assert_eq!(call("/v3/stats?api_user=johnsmith&api_key=s3cret-pass", &[]).0, 200);
    assert_eq!(call(&format!("/api/credentials/remove.json?username=johnsmith&{account}"), &[]), success());
    assert_eq!(call("/v3/stats", &["-u", "johnsmith:s3cret-pass"]).0, 401);
    backend.drain();
    // Sending: in the query, by form, with attachments, and with a body that waits for 100-continue.
    let file = attachment(&gateway);
    let attached = format!("files[a.bin]=@{}", file.display());
    let sender = ["api_user=sender@example.com", "api_key=passw0rd+send"];
    let plain = ["-F", "to=a@example.com", "-F", &attached, "-F", sender[0], "-F", sender[1]];
    assert_eq!(call("/api/mail.send.json", &plain), success());
    assert_sent(&backend.next(), "sender@example.com");
    let waiting = [&plain[..], &["-H", "Expect: 100-continue"]].concat();
    assert_eq!(call("/api/mail.send.json", &waiting), success());
    assert_sent(&backend.next(), "sender@example.com");
    let form = ["-d", "to=a@example.com", "--data-urlencode", sender[0], "--data-urlencode", sender[1]];
    assert_eq!(call("/api/mail.send.json", &form), success());
    assert_sent(&backend.next(), "sender@example.com");
    assert_eq!(call("/v3/mail/send", &["-u", SENDER, "--json", r#"{"personalizations":[]}"#]).0, 200);
    assert_sent(&backend.next(), "sender@example.com");
    assert_eq!(call("/api/mail.send.json", &["-u", CALLER, "-T", file.to_str().unwrap()]).0, 403);
    assert_eq!(call("/api/mail.send.json", &["-u", HOLDER, "--head"]).0, 200);
}

/// The shape of the Ruby clients: POST with everything in the query and nothing in the body, nested permissions.
#[test]
fn the_shape_of_the_ruby_clients() {
    let (gateway, backend) = start();
    let target = "/api/credentials/add.json?username=johnsmith&password=s3cret-pass&permissions[email]=0&permissions[web]=1\
                  &api_user=acme&api_key=holder-passw0rd";
    let post =
        ["-X", "POST", "-H", "Content-Length: 0", "-H", "Content-Type: application/x-www-form-urlencoded"];
    assert_eq!(fetch(&gateway, target, &post).text(), r#"{"message":"success"}"#);
    let target = "/api/credentials/get.json?username=johnsmith&api_user=acme&api_key=holder-passw0rd";
    assert!(fetch(&gateway, target, &post).text().contains(r#""permissions":{"email":0,"api":1,"web":1}"#));
    let target = "/api/mail.send.json?to[]=a@example.com&subject=x&api_user=sender%40example.com&api_key=passw0rd%2Bsend";
    assert_eq!(fetch(&gateway, target, &post).text(), r#"{"message":"success"}"#);
    let received = backend.next();
    assert_sent(&received, "sender@example.com");
    assert_eq!(
        (&received.method[..], &received.target[..]),
        ("POST", "/api/mail.send.json?to[]=a@example.com&subject=x")
    );
    assert_eq!(received.header("content-length"), Some("0"));
}

/// The shape of the C# client: multipart with the credential first, and an error form that must be exactly this.
#[test]
fn the_shape_of_the_csharp_client() {
    let (gateway, backend) = start();
    let send = |user: &str, key: &str| {
        let (user, key) = (format!("api_user={user}"), format!("api_key={key}"));
        let fields = ["-F", &user, "-F", &key, "-F", "to[]=a@example.com", "-F", "subject=x", "-F", "text=y"];
        let fetched = fetch(&gateway, "/api/mail.send.xml", &fields);
        (fetched.status, fetched.text())
    };
    assert_eq!(
        send("sender@example.com", "passw0rd+send"),
        (200, "<result><message>success</message></result>".into())
    );
    assert_sent(&backend.next(), "sender@example.com");
    let error = |reason: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n\
             <result><message>error</message><errors><error>{reason}</error></errors></result>"
        )
    };
    assert_eq!(send("sender@example.com", "wrong-passw0rd"), (401, error("Bad username / password")));
    let (status, text) = send("caller", "passw0rd-call");
    assert_eq!((status, without_ids(&text)), (403, error("Permission denied: email is needed")));
    assert!(backend.drain().is_empty());
}
