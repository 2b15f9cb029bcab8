//! In front of a real Postfix, as the README has it. Needs Debian's package postfix, which `make test` installs, and root: its
//! master starts for nobody else, and gives its files to users of their own. Who isn't root and may become it by sudo
//! without a password does so here; for anybody else the test fails, unless GATEPOST_WITHOUT_POSTFIX=1 says that it needn't run.

mod server;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::common::Gateway;
use crate::common::mail::{ANN, Answer, Client, JOE, plain, smtp};
use crate::common::sink::Sink;
use server::{ITS_ADDRESS, Postfix, SERVICE, done_by_root};

#[test]
fn the_readme_has_the_service_that_is_tested() {
    let lines: Vec<_> = SERVICE.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines[0].starts_with(ITS_ADDRESS));
    assert!(include_str!("../../README.md").contains(&format!("```\n{}\n```", lines.join("\n"))));
    assert!(include_str!("../../README.md").contains(&format!("[\"smtp://{ITS_ADDRESS}\"]")));
}

#[test]
fn postfix_knows_who_submits_and_its_answers_are_the_answers() {
    if done_by_root("postfix_knows_who_submits_and_its_answers_are_the_answers") {
        return;
    }
    let postfix = Postfix::start();
    let gateway = Gateway::start(&smtp(&[postfix.address], "identity = [\"xclient\", \"header\"]"));
    gateway.account("email").credential(JOE, "email").credential(ANN, "email");
    let address = gateway.address("smtp.listen");

    for (turn, login) in [JOE, ANN, JOE, ANN].into_iter().enumerate() {
        let mut client = Client::login(address, login);
        let content = format!("Subject: number {turn}\r\nX-Gatepost-User: forged\r\n\r\n..dot\r\n");
        let answer = client.submit("sender@example.com", "jane@example.net", &content);
        assert!(answer.text().starts_with("250 2.0.0 Ok: queued as "), "{answer:?}\n{}", postfix.log());
        let name = login.split(':').next().unwrap();
        let mailbox = postfix.mailbox(&format!("number {turn}"));
        assert!(mailbox.contains(&format!("X-Gatepost-User: {name}")), "{mailbox}");
        assert!(mailbox.contains("\n.dot\n") && !mailbox.contains("forged"), "{mailbox}");
        assert!(
            postfix.log().contains(&format!("sasl_method=XCLIENT, sasl_username={name}")),
            "{}",
            postfix.log()
        );
    }

    let mut client = Client::login(address, JOE);
    client.say("MAIL FROM:<sender@example.com>");
    assert_eq!(client.say("RCPT TO:<jane@example.net>").text(), "250 2.1.5 Ok");
    let unknown = client.say("RCPT TO:<nobody@example.net>");
    assert!(
        unknown.text().starts_with("550 5.1.1 <nobody@example.net>: Recipient address rejected"),
        "{unknown:?}"
    );
    client.say("RSET");
    // Larger than Postfix takes: what it said in EHLO is held here, both of the size announced and of the size that comes.
    let announced = client.say("MAIL FROM:<sender@example.com> SIZE=100001");
    assert!(announced.text().starts_with("552 5.3.4 "), "{announced:?}");
    client.say("RSET");
    let large = format!("Subject: large\r\n\r\n{}", "x\r\n".repeat(50_000));
    let answer = client.submit("sender@example.com", "jane@example.net", &large);
    assert!(answer.text().starts_with("552 5.3.4 "), "{answer:?}");
    assert_eq!(
        client.submit("sender@example.com", "jane@example.net", "Subject: last\r\n\r\nx\r\n").code,
        250
    );
    assert!(!postfix.mailbox("Subject: last").contains("Subject: large"));
}

/// The first line of a message as mail programs write it, in an mbox or outside of one, and the lines that follow.
const MAILBOX_LINES: [&str; 9] = [
    "From joe Sat Nov 28 08:00:00 2026\r\n",
    ">From joe Sat Nov 28 08:00:00 2026\r\n",
    ">>From joe\r\n",
    "From \r\n",
    "From a@test Sat Nov 28 08:00:00 2026\r\n>From b@test Sat Nov 28 09:00:00 2026\r\nFrom c\r\n",
    // The rest is a body that begins with a blank.
    "From joe Sat Nov 28 08:00:00 2026\r\n\tbehind a blank\r\n",
    "From joe Sat Nov 28 08:00:00 2026\r\n\r\nbody at once\r\n",
    // Not the first line, and so the end of the header to Postfix.
    "Comments: x\r\nFrom joe Sat Nov 28 08:00:00 2026\r\n",
    // No such lines.
    "From: joe@example.com\r\n",
];

/// A message with such a line, all of whose fields are there, and `mark` in its body.
fn mailbox_message(first: &str, mark: &str) -> String {
    format!(
        "{first}Return-Receipt-To: joe@example.com\r\nFrom: joe@example.com\r\nTo: jane@example.net\r\n\
         Subject: mbox\r\nDate: Sat, 28 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\
         \r\nbody of {mark}\r\n\r\nlast line of {mark}\r\n"
    )
}

impl Postfix {
    /// The message with that mark as it was delivered, behind the trace of its way.
    fn delivered(&self, mark: &str) -> String {
        let mailbox = self.mailbox(&format!("last line of {mark}\n"));
        let messages = mailbox.split("From sender@example.com ");
        let message = messages.into_iter().find(|message| message.contains(&format!("body of {mark}\n")));
        let message = message.unwrap().trim_end();
        let trace = message.rfind("\nReceived: ").unwrap() + 1;
        let mut lines =
            message[trace..].split_inclusive('\n').skip(1).skip_while(|l| l.starts_with([' ', '\t']));
        let mut content = lines.next().unwrap().to_owned();
        // It adds what it finds missing, which differs each time.
        content
            .extend(lines.filter(|line| !line.ends_with("@backend.test>\n") && !line.ends_with("(UTC)\n")));
        content.replace(mark, "MARK")
    }

    /// A client that it takes for one of the gateway's.
    fn direct(&self) -> Client {
        let mut client = Client::hello(self.address);
        assert_eq!(client.say("XCLIENT LOGIN=joe").code, 220);
        assert_eq!(client.say("EHLO client.test").code, 250);
        client
    }
}

#[test]
fn a_message_that_begins_with_a_line_of_an_mbox_arrives_as_if_sent_to_postfix_itself() {
    if done_by_root("a_message_that_begins_with_a_line_of_an_mbox_arrives_as_if_sent_to_postfix_itself") {
        return;
    }
    let postfix = Postfix::start();
    let gateway = Gateway::start(&smtp(&[postfix.address], "identity = [\"xclient\"]"));
    gateway.account("email").credential(JOE, "email");
    let mut direct = postfix.direct();
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    for (number, first) in MAILBOX_LINES.into_iter().enumerate() {
        let mark = |way: &str| format!("{way}-{number}");
        let content = mailbox_message(first, &mark("direct"));
        assert_eq!(direct.submit("sender@example.com", "jane@example.net", &content).code, 250);
        let expected = postfix.delivered(&mark("direct"));

        let content = mailbox_message(first, &mark("data"));
        assert_eq!(client.submit("sender@example.com", "jane@example.net", &content).code, 250);
        assert_eq!(postfix.delivered(&mark("data")), expected, "{first:?} by DATA");

        // In chunks of which the first ends within the line.
        let content = mailbox_message(first, &mark("bdat"));
        client.send(b"MAIL FROM:<sender@example.com>\r\nRCPT TO:<jane@example.net>\r\n");
        assert_eq!([client.answer().code, client.answer().code], [250, 250]);
        let (begin, rest) = content.split_at(3);
        client.send(format!("BDAT {}\r\n{begin}", begin.len()).as_bytes());
        assert_eq!(client.answer().code, 250);
        client.send(format!("BDAT {} LAST\r\n{rest}", rest.len()).as_bytes());
        assert_eq!(client.answer().code, 250);
        assert_eq!(postfix.delivered(&mark("bdat")), expected, "{first:?} by BDAT");
    }
}

/// Sends a message as a program does, through the gateway at that port.
type Sender = fn(port: &str, message: &Path) -> Command;

// Case D1: msmtp and curl with an mbox file
#[test]
fn what_programs_send_of_an_mbox_arrives_whole() {
    const PYTHON: &str = "import smtplib, sys\n\
        server = smtplib.SMTP('127.0.0.1', int(sys.argv[1]))\n\
        server.login('joe', 'passw0rd-of-joe')\n\
        server.sendmail('sender@example.com', ['jane@example.net'], open(sys.argv[2]).read())\n";
    if done_by_root("what_programs_send_of_an_mbox_arrives_whole") {
        return;
    }
    let postfix = Postfix::start();
    let gateway = Gateway::start(&smtp(&[postfix.address], "identity = [\"xclient\"]"));
    gateway.account("email").credential(JOE, "email");
    let port = gateway.address("smtp.listen").port().to_string();
    let senders: [(&str, Sender); 3] = [
        ("curl", |port, message| {
            let mut command = Command::new("curl");
            command
                .args(["-sS", "--crlf", "-u", JOE, "-T"])
                .arg(message)
                .arg(format!("smtp://127.0.0.1:{port}"));
            command.args(["--mail-from", "sender@example.com", "--mail-rcpt", "jane@example.net"]);
            command
        }),
        ("python", |port, message| {
            let mut command = Command::new("python3");
            command.args(["-c", PYTHON, port]).arg(message);
            command
        }),
        ("msmtp", |port, message| {
            let mut command = Command::new("msmtp");
            command.args([
                "--host=127.0.0.1",
                "--auth=plain",
                "--tls=off",
                "--user=joe",
                "--from=sender@example.com",
            ]);
            command.arg("--passwordeval=echo passw0rd-of-joe").arg(format!("--port={port}"));
            command.args(["--", "jane@example.net"]).stdin(fs::File::open(message).unwrap());
            command
        }),
    ];
    for (name, send) in senders {
        let text = mailbox_message(MAILBOX_LINES[0], name).replace("\r\n", "\n");
        let mut message = tempfile::NamedTempFile::new().unwrap();
        message.write_all(text.as_bytes()).unwrap();
        let output = send(&port, message.path()).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        let expected = format!("X-Mailbox-Line: {}", text.trim_end().replace(name, "MARK"));
        assert_eq!(postfix.delivered(name), expected, "{name}");
    }
}

/// Sends a message by way of a gateway with these settings. Returns the reply to it.
fn submit(gateway: &Gateway, recipient: &str, subject: &str) -> Answer {
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    client.submit("sender@example.com", recipient, &format!("Subject: {subject}\r\n\r\nx\r\n"))
}

// Case D2: a client with an IPv6 address before a Postfix that uses IPv4 only
#[test]
fn a_client_with_an_address_that_postfix_does_not_use_gets_through() {
    if done_by_root("a_client_with_an_address_that_postfix_does_not_use_gets_through") {
        return;
    }
    let postfix = Postfix::start();
    let config = smtp(&[postfix.address], "proxy_protocol = true\nidentity = [\"xclient\"]\n");
    let gateway = Gateway::start(&format!("{config}[server]\ntrusted_proxies = [\"127.0.0.1\"]\n"));
    gateway.account("email").credential(JOE, "email");
    for (nth, source) in ["::1", "2001:db8::7", "192.0.2.7"].into_iter().enumerate() {
        let mut client = Client::connect(gateway.address("smtp.listen"));
        let (family, own) = if source.contains(':') { ("TCP6", "::1") } else { ("TCP4", "127.0.0.1") };
        client.send(format!("PROXY {family} {source} {own} 4000 25\r\n").as_bytes());
        assert_eq!(client.answer().code, 220);
        assert_eq!([client.say("EHLO client.test").code, client.say(&plain(JOE)).code], [250, 235]);
        let content = format!("Subject: from {nth}\r\n\r\nx\r\n");
        let answer = client.submit("sender@example.com", "jane@example.net", &content);
        assert_eq!(answer.code, 250, "{source}: {answer:?}\n{}", postfix.log());
        postfix.mailbox(&format!("Subject: from {nth}"));
    }
    let log = postfix.log();
    let submitted =
        |client: &str| log.contains(&format!("client={client}, sasl_method=XCLIENT, sasl_username=joe"));
    assert!(submitted("unknown[unknown]") && submitted("unknown[192.0.2.7]"), "{log}");
}

/// The restrictions that the administrator of a mail server sets for strangers.
const STRICT: &str = "smtpd_helo_required = yes\nsmtpd_delay_reject = DELAY\n\
    smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, reject_unknown_helo_hostname, reject\n\
    smtpd_client_restrictions = reject_unknown_client_hostname, reject\nsmtpd_sender_restrictions = reject_unknown_sender_domain, reject\n\
    smtpd_recipient_restrictions = reject_unverified_recipient, reject\nsmtpd_data_restrictions = reject_unauth_pipelining\n\
    smtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = yes\n";

// Case D8: restrictions for strangers in main.cf
#[test]
fn restrictions_for_strangers_in_main_cf_are_none_for_a_login() {
    if done_by_root("restrictions_for_strangers_in_main_cf_are_none_for_a_login") {
        return;
    }
    for delay in ["yes", "no"] {
        let postfix = Postfix::with(&STRICT.replace("DELAY", delay), |service| service);
        let gateway = Gateway::start(&smtp(&[postfix.address], "identity = [\"xclient\"]"));
        gateway.account("email").credential(JOE, "email");
        for greeting in ["EHLO client.test", "EHLO My Mac", "HELO ПК"] {
            let mut client = Client::open(gateway.address("smtp.listen"));
            assert_eq!([client.say(greeting).code, client.say(&plain(JOE)).code], [250, 235]);
            let answer = client.submit("a@nowhere.test", "jane@example.net", "Subject: x\r\n\r\nx\r\n");
            assert_eq!(answer.code, 250, "{greeting}: {answer:?}\n{}", postfix.log());
        }
        // Nobody else is let in by the service.
        let mut stranger = Client::open(postfix.address);
        assert_eq!(stranger.say("EHLO client.test").code, 250);
        assert_eq!(stranger.say("MAIL FROM:<a@test>").code, 250);
        let refused = stranger.say("RCPT TO:<jane@example.net>");
        assert!(refused.text().starts_with("554 5.7.1 "), "{refused:?}");
    }
}

/// The document that tells how backends remove the field with the submitter.
const DOCUMENT: &str = include_str!("../../docs/mail-backends.md");

/// The block of the document that contains this text.
fn documented(text: &str) -> &'static str {
    let block = DOCUMENT.split("```").skip(1).step_by(2).find(|block| block.contains(text)).unwrap();
    block.split_once('\n').unwrap().1
}

// Case D9: the field with the submitter is removed as the document says
#[test]
fn postfix_removes_the_field_with_the_submitter() {
    if done_by_root("postfix_removes_the_field_with_the_submitter") {
        return;
    }
    let cleanup = documented("gatepost-cleanup");
    let (option, service) = cleanup.split_once('\n').unwrap();
    let postfix = Postfix::with("", |own| format!("{}{option}\n{service}", own.trim_end().to_owned() + "\n"));
    let gateway = Gateway::start(&smtp(&[postfix.address], "identity = [\"xclient\", \"header\"]"));
    gateway.account("email").credential(JOE, "email");
    let answer = submit(&gateway, "jane@example.net", "removed at once");
    assert_eq!(answer.code, 250, "{answer:?}\n{}", postfix.log());
    let mailbox = postfix.mailbox("removed at once");
    assert!(
        !mailbox.to_lowercase().contains("x-gatepost-user") && mailbox.contains("Received: "),
        "{mailbox}"
    );
    assert!(postfix.log().contains("strip: header X-Gatepost-User: joe"), "{}", postfix.log());
}

// Case D9: a rule uses the field before it is removed
#[test]
fn a_rule_of_postfix_uses_the_field_with_the_submitter_and_it_goes_no_further() {
    if done_by_root("a_rule_of_postfix_uses_the_field_with_the_submitter_and_it_goes_no_further") {
        return;
    }
    let sink = Sink::good();
    let delivery = documented("smtp_header_checks");
    let transport =
        format!("transport_maps = inline:{{remote.test=smtp:[127.0.0.1]:{}}}\n", sink.address.port());
    let postfix = Postfix::with(&format!("{transport}{delivery}"), |service| service);
    let gateway = Gateway::start(&smtp(&[postfix.address], "identity = [\"xclient\", \"header\"]"));
    gateway.account("email").credential(JOE, "email");
    let answer = submit(&gateway, "bob@remote.test", "removed later");
    assert_eq!(answer.code, 250, "{answer:?}\n{}", postfix.log());
    let messages = sink.wait_for_messages(1);
    let content = String::from_utf8_lossy(&messages[0].content).into_owned();
    assert!(content.contains("Subject: removed later") && !content.contains("X-Gatepost-User"), "{content}");
    assert!(content.contains("X-Department: sales\r\n"), "{content}");
}
