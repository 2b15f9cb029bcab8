//! Real mail clients, over STARTTLS and over TLS from the first byte on: they send, and they understand why they may not.

mod common;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::mail::smtp;
use common::sink::Sink;
use common::{Gateway, configured};

const SENDER: &str = "sender@example.com:passw0rd+send";
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
            let output = send(&self.port(implicit), implicit, CALLER);
            assert!(!output.status.success());
            assert!(self::text(&output).contains("535"), "{}", self::text(&output));
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
