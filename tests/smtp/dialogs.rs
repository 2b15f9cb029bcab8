//! Conversations as files (dialogs/*.dialog), held with the pure session and with a real gateway.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::driver::{Driver, settings};
use crate::common::mail::{Client, smtp, without_id};
use crate::common::sink::Sink;
use crate::common::tls::Authority;
use crate::common::{Gateway, configured};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepost::wire::smtp::session::SessionSettings;

/// One line of a dialog.
#[derive(Debug)]
enum Line {
    Says(Vec<u8>),
    Answered(String),
    Tls,
    Closed,
    Delivered(usize),
}

struct Dialog {
    name: String,
    tls_required: bool,
    lines: Vec<Line>,
}

/// The number of files.
const DIALOGS: usize = 14;

/// The ID of a pure session.
const SESSION: &str = "0000000000000007";

/// Gives the password that `right` or another name stands for.
type Password = fn(&str) -> String;

fn dialogs(password: Password) -> Vec<Dialog> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp/dialogs");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension() == Some("dialog".as_ref())).collect();
    files.sort();
    assert_eq!(files.len(), DIALOGS, "{files:?}");
    files.iter().map(|file| read(file, password)).collect()
}

fn read(file: &Path, password: Password) -> Dialog {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = fill(line, password);
        let (kind, rest) = line.split_once(':').unwrap_or_else(|| panic!("{}: {line}", file.display()));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        lines.push(match kind {
            "C" => Line::Says(format!("{rest}\r\n").into_bytes()),
            "R" => {
                Line::Says(rest.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0").into_bytes())
            }
            "S" => Line::Answered(rest.to_owned()),
            "T" => Line::Tls,
            "X" => Line::Closed,
            "D" => Line::Delivered(rest.parse().unwrap()),
            _ => panic!("{}: {line}", file.display()),
        });
    }
    Dialog { name: file.display().to_string(), tls_required: text.contains("# tls: required"), lines }
}

/// Puts credentials in their places.
fn fill(line: &str, password: Password) -> String {
    let mut line = line.to_owned();
    for word in ["right", "wrong", "other"] {
        let secret = password(word);
        line = line.replace(&format!("{{plain:{word}}}"), &STANDARD.encode(format!("\0joe\0{secret}")));
        line = line.replace(&format!("{{b64:{word}}}"), &STANDARD.encode(&secret));
    }
    line.replace("{b64:joe}", &STANDARD.encode("joe"))
}

/// Compares a line. `{id}` stands for the ID of the session. Where a line of a dialog has no ID, that of the reply is left out.
fn matches(expected: &str, line: &str, session: &str) -> bool {
    let id = without_id(line).1;
    if id.is_some_and(|id| id.split('.').next() != Some(session)) {
        return false;
    }
    let expected = &expected.replace("{id}", session);
    let line = if expected.contains(session) { line } else { without_id(line).0 };
    match expected.strip_suffix('*') {
        Some(begin) => line.starts_with(begin),
        None => line == expected,
    }
}

#[test]
fn with_the_pure_session() {
    for dialog in dialogs(str::to_owned) {
        let settings = SessionSettings {
            require_tls: dialog.tls_required,
            max_message: 65536,
            recipients: 100,
            messages: 1000,
            user_header: false,
            ..settings()
        };
        let mut driver = Driver::new(settings);
        let mut seen = 0;
        for line in &dialog.lines {
            match line {
                Line::Says(bytes) => driver.feed(bytes),
                Line::Answered(expected) => {
                    let text = driver.raw_text();
                    let answer = text.lines().nth(seen).unwrap_or("nothing");
                    assert!(matches(expected, answer, SESSION), "{}: {expected}\nbut: {answer}", dialog.name);
                    seen += 1;
                }
                Line::Tls => assert!(driver.tls_started, "{}", dialog.name),
                Line::Closed => assert!(driver.closed, "{}", dialog.name),
                Line::Delivered(count) => assert_eq!(driver.delivered.len(), *count, "{}", dialog.name),
            }
        }
        assert_eq!(driver.text().lines().count(), seen, "{}: {}", dialog.name, driver.text());
    }
}

#[test]
fn with_a_real_gateway() {
    let authority = Authority::new();
    let identity = authority.issue("gatepost.test");
    for dialog in dialogs(|word| format!("{word}-passw0rd")) {
        let sink = Sink::good();
        let tls = "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n[auth]\nbcrypt_cost = 4\nthrottle = false\n";
        let keys = format!("require_tls = {}\nmax_message = \"64KiB\"\n", dialog.tls_required);
        let directory = configured(&format!("{tls}{}", smtp(&[sink.address], &keys)));
        fs::write(directory.path().join("cert.pem"), &identity.certificate).unwrap();
        fs::write(directory.path().join("key.pem"), &identity.key).unwrap();
        let gateway = Gateway::start_in(directory);
        gateway.account("email").credential("joe:right-passw0rd", "email");
        let mut client = Some(Client::connect(gateway.address("smtp.listen")));
        let (mut answered, mut session) = (Vec::new(), None);
        for line in &dialog.lines {
            let speaking = client.as_mut().unwrap();
            match line {
                Line::Says(bytes) => speaking.send(bytes),
                Line::Answered(expected) => {
                    if answered.is_empty() {
                        let answer = speaking.answer();
                        answered = answer.raw_lines();
                        session = session.or(answer.id);
                    }
                    let answer = answered.remove(0);
                    let session = session.as_deref().expect("the greeting has an ID");
                    assert!(
                        matches(expected, &answer, session),
                        "{}: {expected}\nbut: {answer}",
                        dialog.name
                    );
                }
                Line::Tls => {
                    client = client.map(|c| c.encrypt(Arc::clone(&authority.client(&[])), "gatepost.test"));
                }
                Line::Closed => assert!(speaking.is_closed(), "{}", dialog.name),
                Line::Delivered(count) => assert_eq!(sink.messages().len(), *count, "{}", dialog.name),
            }
        }
    }
}
