//! Real mail clients, over STARTTLS and over TLS from the first byte on: they send, and they understand why they may not.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use crate::common::mail::smtp;
use crate::common::sink::{Message, Sink};
use crate::common::{Gateway, configured, installed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const SENDER: &str = "sender@example.com:passw0rd+send";
const MISTAKEN: &str = "sender@example.com:passw0rd-sent";
const CALLER: &str = "caller:passw0rd-call";

struct Site {
    gateway: Gateway,
    sink: Sink,
    ca: PathBuf,
}

impl Site {
    fn start() -> Site {
        let sink = Sink::good();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let keys = "require_tls = true\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n";
        let tls = "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n[auth]\nbcrypt_cost = 4\nthrottle = false\n";
        let directory = configured(&format!("{tls}{}", smtp(&[sink.address], keys)));
        let ca = directory.path().join("ca.pem");
        for (name, text) in [("cert.pem", &certificate), ("key.pem", &key), ("ca.pem", &certificate)] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let gateway = Gateway::start_in(directory);
        gateway.account("email,api,web").credential(SENDER, "email").credential(CALLER, "api");
        Site { gateway, sink, ca }
    }

    fn port(&self, implicit: bool) -> String {
        let key = if implicit { "smtp.tls_listen" } else { "smtp.listen" };
        self.gateway.address(key).port().to_string()
    }

    /// Sends with both kinds of TLS and both logins; `send` gets the port, whether TLS comes first, and the login.
    fn check(&self, send: impl Fn(&str, bool, &str) -> Output) {
        for (sent, implicit) in [false, true].into_iter().enumerate() {
            let output = send(&self.port(implicit), implicit, SENDER);
            let text = text(&output);
            assert!(output.status.success(), "{text}");
            let messages = self.sink.wait_for_messages(sent + 1);
            let message = messages.last().unwrap();
            assert_eq!(message.mail.split(' ').next(), Some("<joe@example.com>"));
            assert_eq!(message.rcpts[0].split(' ').next(), Some("<jane@example.com>"));
            let content = String::from_utf8_lossy(&message.content).into_owned();
            assert!(content.contains("with ESMTPSA id") && content.contains("Subject: hello"), "{content}");
            for refused in [MISTAKEN, CALLER] {
                let output = send(&self.port(implicit), implicit, refused);
                assert!(!output.status.success());
                assert!(self::text(&output).contains("535"), "{}", self::text(&output));
            }
        }
        assert_eq!(self.sink.messages().len(), 2);
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn fed(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A client that is refused may not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

const MESSAGE: &str =
    "From: joe@example.com\r\nTo: jane@example.com\r\nSubject: hello\r\n\r\nhello\r\n.\r\nend\r\n";

#[test]
fn curl() {
    let site = Site::start();
    site.check(|port, implicit, login| {
        let scheme = if implicit { "smtps" } else { "smtp" };
        let mut command = Command::new("curl");
        command.args(["-sv", "--ssl-reqd", "--cacert"]).arg(&site.ca);
        command.args([
            "--mail-from",
            "joe@example.com",
            "--mail-rcpt",
            "jane@example.com",
            "-u",
            login,
            "-T",
            "-",
        ]);
        fed(command.arg(format!("{scheme}://localhost:{port}")), MESSAGE)
    });
    let content = String::from_utf8_lossy(&site.sink.messages()[0].content).into_owned();
    assert!(content.contains("hello\r\n..\r\nend"), "{content}");
}

#[test]
fn curl_with_the_line_ends_of_a_unix_file() {
    let site = Site::start();
    let file = site.gateway.directory.path().join("message");
    fs::write(&file, MESSAGE.replace("\r\n", "\n")).unwrap();
    let send = |more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sv", "--ssl-reqd", "--cacert"]).arg(&site.ca).args(["-u", SENDER, "-T"]).arg(&file);
        command.args(["--mail-from", "joe@example.com", "--mail-rcpt", "jane@example.com"]).args(more);
        command.arg(format!("smtp://localhost:{}", site.port(false))).output().unwrap()
    };
    let output = send(&[]);
    assert!(!output.status.success());
    assert!(text(&output).contains("550 5.6.0 Lines must end in CR LF (curl: --crlf)"), "{}", text(&output));
    let output = send(&["--crlf"]);
    assert!(output.status.success(), "{}", text(&output));
    let messages = site.sink.messages();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].content.ends_with(b"hello\r\n..\r\nend\r\n"));
}

#[test]
fn swaks() {
    let site = Site::start();
    site.check(|port, implicit, login| {
        let (user, password) = login.split_once(':').unwrap();
        let mut command = Command::new("swaks");
        command.args(["--server", "localhost", "--port", port, if implicit { "--tlsc" } else { "--tls" }]);
        command.args(["--from", "joe@example.com", "--to", "jane@example.com", "--header", "Subject: hello"]);
        command.args(["--auth", "LOGIN", "--auth-user", user, "--auth-password", password]);
        command.stdin(Stdio::null()).output().unwrap()
    });
}

#[test]
fn swaks_pipelining() {
    let site = Site::start();
    let (user, password) = SENDER.split_once(':').unwrap();
    let mut command = Command::new("swaks");
    command.args(["--server", "localhost", "--port", &site.port(false), "--tls", "--pipeline"]);
    command.args(["--from", "joe@example.com", "--to", "jane@example.com,jim@example.com"]);
    command.args(["--auth", "PLAIN", "--auth-user", user, "--auth-password", password]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.sink.wait_for_messages(1)[0].rcpts.len(), 2);
}

#[test]
fn msmtp() {
    let site = Site::start();
    site.check(|port, implicit, login| {
        let (user, password) = login.split_once(':').unwrap();
        let mut command = Command::new("msmtp");
        command.args(["--host=localhost", "--auth=on", "--tls=on", "--from=joe@example.com"]);
        command.arg(format!("--port={port}")).arg(format!("--user={user}"));
        command.arg(format!("--passwordeval=echo {password}"));
        command.arg(format!("--tls-starttls={}", if implicit { "off" } else { "on" }));
        command.arg(format!("--tls-trust-file={}", site.ca.display())).args(["--", "jane@example.com"]);
        fed(&mut command, &MESSAGE.replace("\r\n", "\n"))
    });
}

#[test]
fn python() {
    const SCRIPT: &str = r#"
import smtplib, ssl, sys
port, implicit, login, ca, message = int(sys.argv[1]), sys.argv[2] == "true", sys.argv[3], sys.argv[4], sys.argv[5]
context = ssl.create_default_context(cafile=ca)
user, password = login.split(":", 1)
if implicit:
    server = smtplib.SMTP_SSL("localhost", port, context=context)
else:
    server = smtplib.SMTP("localhost", port)
    server.starttls(context=context)
server.login(user, password)
server.sendmail("joe@example.com", ["jane@example.com"], message, mail_options=["BODY=8BITMIME"])
server.quit()
"#;
    let site = Site::start();
    site.check(|port, implicit, login| {
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, port, &implicit.to_string(), login]).arg(&site.ca).arg(MESSAGE);
        command.output().unwrap()
    });
}

/// Nodemailer, with one connection for all that it sends.
struct Nodemailer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Nodemailer {
    fn start(site: &Site, implicit: bool, login: &str) -> Nodemailer {
        let (user, password) = login.split_once(':').unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/mail.js");
        let mut command = Command::new("node");
        command.env("CLIENT", installed("nodemailer/node_modules/nodemailer")).arg(script);
        command.args([&site.port(implicit), &implicit.to_string(), user, password]).arg(&site.ca);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Nodemailer { child, input, output: BufReader::new(output) }
    }

    /// Sends a mail with an attachment of this size; the answer to it.
    fn send(&mut self, size: usize) -> String {
        self.order(&size.to_string())
    }

    fn order(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

/// The number of the session that a message came in by.
fn session(content: &[u8]) -> String {
    let content = String::from_utf8_lossy(content);
    let id = content.split(" with ESMTPSA id ").nth(1).unwrap_or_else(|| panic!("{content}"));
    id.split('.').next().unwrap().to_owned()
}

/// The attachment of a message.
fn attachment(content: &[u8]) -> Vec<u8> {
    let content = std::str::from_utf8(content).unwrap();
    let (_, part) = content.split_once("Content-Disposition: attachment").unwrap();
    let (_, encoded) = part.split_once("\r\n\r\n").unwrap();
    let (encoded, _) = encoded.split_once("\r\n--").unwrap();
    STANDARD.decode(encoded.replace("\r\n", "")).unwrap()
}

fn nodemailer(implicit: bool) {
    let site = Site::start();
    let mut client = Nodemailer::start(&site, implicit, SENDER);
    // The third is too large for any buffer on the way.
    for size in [0, 1, 10_000_000, 0] {
        assert_eq!(client.send(size), "250 2.0.0 Kept", "{size}");
    }
    let messages = site.sink.messages();
    assert_eq!(messages.len(), 4);
    assert!(messages.iter().all(|message| session(&message.content) == session(&messages[0].content)));
    let expected: Vec<u8> = (0..10_000_000).map(|at| at as u8).collect();
    assert!(attachment(&messages[2].content) == expected);
    assert!(messages.iter().all(|message| message.mail.starts_with("<joe@example.com>")));

    // Its right is taken, and given back, while its connection is open.
    let edit = |change: &str| {
        let name = SENDER.split(':').next().unwrap();
        let output =
            site.gateway.command(&["credential", "edit", name, "--account", "acme", change, "email"], "");
        assert!(output.status.success(), "{output:?}");
    };
    edit("--revoke");
    assert_eq!(client.send(0), "550 5.7.1 Unauthenticated senders not allowed");
    edit("--grant");
    assert_eq!(client.send(0), "250 2.0.0 Kept");
    client.end();

    for refused in [MISTAKEN, CALLER] {
        let mut client = Nodemailer::start(&site, implicit, refused);
        assert_eq!(client.send(0), "535 5.7.8 Authentication failed: Bad username / password");
        client.end();
    }
    assert_eq!(site.sink.messages().len(), 5);
}

// Case D13: a pooled session of nodemailer with a malformed recipient in each message
#[test]
fn nodemailer_keeps_its_session_with_a_malformed_recipient_in_each_message() {
    let site = Site::start();
    let mut client = Nodemailer::start(&site, false, SENDER);
    for sent in 1..=25 {
        assert_eq!(client.order("0 jim@"), "250 2.0.0 Kept", "{sent}");
    }
    client.end();
    let messages = site.sink.messages();
    assert_eq!(messages.len(), 25);
    let rcpts = |message: &Message| message.rcpts.iter().all(|rcpt| rcpt.starts_with("<jane@example.com>"));
    assert!(messages.iter().all(|message| rcpts(message) && message.rcpts.len() == 1));
    assert!(messages.iter().all(|message| session(&message.content) == session(&messages[0].content)));
}

#[test]
fn nodemailer_over_starttls() {
    nodemailer(false);
}

#[test]
fn nodemailer_over_implicit_tls() {
    nodemailer(true);
}
