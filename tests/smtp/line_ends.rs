//! Clients that don't end their lines, or their message, as they should: what reaches the backend where that is normalized, and
//! what the client is told where it is not.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::Gateway;
use crate::common::mail::{Client, JOE, smtp, wait_for_metric};
use crate::common::sink::Sink;

const SHORT: Duration = Duration::from_millis(400);
const NOT_RECOGNIZED: &str = "550 5.6.0 Only CR LF, a dot and CR LF end a message";
const INVALID: &str = "550 5.6.0 Lines must end in CR LF";

/// A strict listener and one that normalizes.
fn site(keys: &str) -> (Gateway, Sink) {
    let sink = Sink::good();
    let device = "[[smtp.listener]]\naddress = \"127.0.0.1:0\"\nbare_newline = \"normalize\"\n";
    let keys = format!("listen = [\"127.0.0.1:0\"]\n{keys}\n{device}[ops]\nlisten = \"127.0.0.1:0\"\n");
    let gateway = Gateway::start(&smtp(&[sink.address], &keys));
    gateway.account("email").credential(JOE, "email");
    (gateway, sink)
}

fn client(gateway: &Gateway, key: &str) -> Client {
    Client::login(gateway.address(key), JOE)
}

/// Sends content whose end is left to it.
fn send_data(client: &mut Client, content: &str) {
    client.begin();
    assert_eq!(client.say("DATA").code, 354);
    client.send(content.as_bytes());
}

/// The content behind Gatepost's own field, as it went over the wire.
fn arrived(sink: &Sink) -> String {
    let content = String::from_utf8(sink.messages().pop().unwrap().content).unwrap();
    let (_, rest) = content.split_once(";\r\n\t").unwrap();
    rest.split_once("\r\n").unwrap().1.to_owned()
}

// Case D5: a lone LF becomes CR LF, dots are stuffed anew, and only CR LF . CR LF ends the message.
#[test]
fn line_ends_are_normalized_on_the_listener_for_it() {
    let (gateway, sink) = site("");
    let text = "Subject: x\n\na\n.\r\nb\n..c\n.d\re\n";
    let mut device = client(&gateway, "smtp.listener");
    send_data(&mut device, &format!("{text}\r\n.\r\n"));
    assert_eq!(device.answer().code, 250);
    assert_eq!(arrived(&sink), "Subject: x\r\n\r\na\r\n..\r\nb\r\n..c\r\n..d e\r\n\r\n");
    // A chunk is counted and not searched: it passes as it is.
    device.begin();
    device.send(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes());
    assert_eq!(device.answer().code, 250);
    assert_eq!(arrived(&sink), text);
    // A NUL is refused, here as elsewhere.
    send_data(&mut device, "Subject: x\n\na\0b\n\r\n.\r\n");
    assert!(device.answer().text().starts_with(INVALID));

    let mut other = client(&gateway, "smtp.listen");
    send_data(&mut other, &format!("{text}\r\n.\r\n"));
    assert!(other.answer().text().starts_with(INVALID));
    assert_eq!(sink.messages().len(), 2);
}

// Case D5: the rules for the start of a header apply to the normalized content.
#[test]
fn a_header_is_judged_as_it_will_be_read() {
    let (gateway, sink) = site("identity = [\"header\"]");
    let mut device = client(&gateway, "smtp.listener");
    for (sent, expected) in [
        (
            "From joe Sat Nov 28 08:00:00 2026\nSubject: x\n",
            "X-Mailbox-Line: From joe Sat Nov 28 08:00:00 2026\r\nSubject: x",
        ),
        ("Subject: x\nX-Gatepost-User: ann\n more\nTo: b\n", "Subject: x\r\nTo: b"),
        ("Subject: x\rX-Gatepost-User: ann\n", "Subject: x X-Gatepost-User: ann"),
        (" ann\nSubject: x\n", "\r\n ann\r\nSubject: x"),
        ("\r ann\n", "\r\n ann"),
        (".X-Gatepost-User: ann\nTo: b\n", "To: b"),
    ] {
        send_data(&mut device, &format!("{sent}\nbody\r\n.\r\n"));
        assert_eq!(device.answer().code, 250, "{sent:?}");
        assert_eq!(arrived(&sink), format!("X-Gatepost-User: joe\r\n{expected}\r\n\r\nbody\r\n"), "{sent:?}");
    }
    // Loops are seen as well.
    send_data(&mut device, &format!("{}\r\n.\r\n", "Received: x\n".repeat(101)));
    assert_eq!(device.answer().code, 554);
}

// Case D5: SIZE limits what is passed on, not what was sent.
#[test]
fn the_normalized_size_is_limited() {
    let (gateway, sink) = site("max_message = \"64KiB\"");
    let mut device = client(&gateway, "smtp.listener");
    // The last CR LF counts as well.
    for (lines, code) in [(32_000, 250), (33_000, 552)] {
        send_data(&mut device, &format!("{}\r\n.\r\n", "\n".repeat(lines)));
        assert_eq!(device.answer().code, code, "{lines}");
    }
    // Stuffed dots don't count, although each line doubles on its way.
    send_data(&mut device, &format!("\n{}\r\n.\r\n", ".\n".repeat(21_000)));
    assert_eq!(device.answer().code, 250);
    assert_eq!(sink.messages().len(), 2);
}

// Case D5: a device that ends everything in LF, but for the end of its message.
#[test]
fn command_lines_may_end_in_a_line_feed_where_messages_may() {
    let (gateway, sink) = site("");
    let commands = format!(
        "EHLO scanner\n{}\nMAIL FROM:<a@test>\nRCPT TO:<b@test>\r\nDATA\n",
        crate::common::mail::plain(JOE)
    );
    let mut device = Client::open(gateway.address("smtp.listener"));
    device.send(commands.as_bytes());
    let codes: Vec<u16> = (0..5).map(|_| device.answer().code).collect();
    assert_eq!(codes, [250, 235, 250, 250, 354]);
    device.send(b"Subject: x\n\nx\r\n.\r\nQUIT\n");
    assert_eq!([device.answer().code, device.answer().code], [250, 221]);
    assert_eq!(arrived(&sink), "Subject: x\r\n\r\nx\r\n");
    let mut strict = Client::open(gateway.address("smtp.listen"));
    strict.send(b"EHLO scanner\n");
    assert_eq!(strict.answer().code, 500);
}

/// The client is told this after a pause, and its connection is closed.
fn is_answered(client: &mut Client, began: Instant, pause: Duration, reason: &str, what: &str) {
    let answer = client.answer();
    assert!(answer.text().starts_with(reason), "{what:?}: {answer:?}");
    let took = began.elapsed();
    assert!(took >= pause * 9 / 10 && took < pause + Duration::from_secs(10), "{what:?}: {took:?}");
    assert!(client.is_closed(), "{what:?}");
}

// Case D6: a client that believes that its message has ended is told why it has not.
#[test]
fn a_client_that_waits_behind_a_refused_message_is_told_the_reason() {
    let (gateway, sink) = site("data_timeout = \"400ms\"\nmax_message = \"64KiB\"");
    let large = format!("{}\n.\n", "x".repeat(66_000));
    let looping = format!("{}.\n", "Received: x\r\n".repeat(101));
    let strict = [
        ("a\n.\r\n", INVALID),
        ("a\n.\n", INVALID),
        ("a\r\n.\n", INVALID),
        ("a\r.\r", INVALID),
        ("a\r\n.\r\r\n", INVALID),
        ("a\0\r\n", INVALID),
        ("a\nb", INVALID),
        ("a\r\n. \r\n", INVALID),
        ("a\r\n.\r", NOT_RECOGNIZED),
        (&large, "552 5.3.4 "),
        (&looping, "554 5.4.6 "),
    ];
    let normalizing = [
        ("a\n.\r\n", NOT_RECOGNIZED),
        ("a\n.\n", NOT_RECOGNIZED),
        ("a\r\n.\n", NOT_RECOGNIZED),
        ("a\r\n.\r\r\n", NOT_RECOGNIZED),
        ("a\r.\r", NOT_RECOGNIZED),
        ("a\r\n.\r", NOT_RECOGNIZED),
        (".\n", NOT_RECOGNIZED),
        ("a\0\n.\r\n", INVALID),
        (&large, "552 5.3.4 "),
        (&looping, "554 5.4.6 "),
    ];
    let cases = strict.map(|case| ("smtp.listen", case)).into_iter();
    let cases: Vec<_> = cases.chain(normalizing.map(|case| ("smtp.listener", case))).collect();
    let count = cases.len() as u64;
    std::thread::scope(|scope| {
        for (key, (content, reason)) in cases {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = client(gateway, key);
                send_data(&mut client, content);
                is_answered(&mut client, Instant::now(), SHORT, reason, &content[..content.len().min(20)]);
            });
        }
    });
    wait_for_metric(&gateway, "gatepost_smtp_messages_total{outcome=\"refused\"}", count);
    wait_for_metric(&gateway, "gatepost_smtp_sessions", 0);
    assert_eq!(sink.messages(), []);
    // Each is in the log, with the text for the client.
    for (code, text) in
        [("550 5.6.0", INVALID), ("550 5.6.0", NOT_RECOGNIZED), ("552 5.3.4", ""), ("554 5.4.6", "")]
    {
        let text = text.strip_prefix("550 5.6.0 ").unwrap_or_default();
        gateway.log().wait_for(&["\"refused\"", &format!("\"code\":\"{code}\""), text]);
    }
    // None of them ran into a timeout.
    wait_for_metric(&gateway, "gatepost_smtp_limits_total{limit=\"time\"}", 0);
}

// Case D6: also by chunks, of which the client sends less than it said.
#[test]
fn a_chunk_that_is_refused_and_does_not_come_is_answered() {
    let (gateway, sink) = site("data_timeout = \"400ms\"\nmax_message = \"64KiB\"");
    let mut large = client(&gateway, "smtp.listen");
    large.begin();
    large.send(format!("BDAT 70000 LAST\r\n{}", "x".repeat(66_000)).as_bytes());
    is_answered(&mut large, Instant::now(), SHORT, "552 5.3.4 ", "a large chunk");
    let mut late = client(&gateway, "smtp.listen");
    late.send(b"BDAT 10 LAST\r\nabc");
    is_answered(&mut late, Instant::now(), SHORT, "503 5.5.1 ", "a chunk without a transaction");
    assert_eq!(sink.messages(), []);
}

// Case D6: a pause is one only if nothing comes, and the message can end after it has begun anew.
#[test]
fn a_message_that_continues_is_not_cut_off() {
    let (gateway, sink) = site("data_timeout = \"2s\"");
    let mut device = client(&gateway, "smtp.listener");
    send_data(&mut device, "Subject: x\n\na\n.\n");
    for _ in 0..4 {
        assert!(device.hears_nothing_for(Duration::from_millis(600)));
        device.send(b"b\n.\n");
    }
    device.send(b"\r\n.\r\n");
    assert_eq!(device.answer().code, 250);
    assert!(arrived(&sink).ends_with("a\r\n..\r\nb\r\n..\r\nb\r\n..\r\nb\r\n..\r\nb\r\n..\r\n\r\n"));
    // What is refused can end as well, and the session continues.
    let mut strict = client(&gateway, "smtp.listen");
    send_data(&mut strict, "a\nb");
    assert!(strict.hears_nothing_for(Duration::from_millis(600)));
    strict.send(b"\r\n.\r\n");
    assert!(strict.answer().text().starts_with(INVALID));
    assert_eq!(strict.say("NOOP").code, 250);
}

// Case D6: only who may believe that its message has ended is cut off early, and then still hears why.
#[test]
fn who_may_only_be_slow_has_its_whole_time() {
    let (gateway, sink) = site("max_message = \"64KiB\"");
    let large = "x".repeat(66_000);
    let pause = Duration::from_secs(6);
    std::thread::scope(|scope| {
        for (key, content, rest, reply) in [
            ("smtp.listen", "Subject: x\r\n\r\nx\r\n.\r", "\n", "250 "),
            ("smtp.listener", "Subject: x\r\n\r\nx\r\n.\r", "\n", "250 "),
            ("smtp.listen", "Subject: x\r\n\r\na\nb", "\r\n.\r\n", INVALID),
            ("smtp.listen", &large, "\r\n.\r\n", "552 5.3.4 "),
        ] {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = client(gateway, key);
                send_data(&mut client, content);
                assert!(client.hears_nothing_for(pause), "{key}");
                client.send(rest.as_bytes());
                let answer = client.answer();
                assert!(answer.text().starts_with(reply), "{key}: {answer:?}");
                assert_eq!(client.say("NOOP").code, 250);
            });
        }
        // The client only reads the reply after it has sent all.
        scope.spawn(|| {
            let mut client = client(&gateway, "smtp.listener");
            send_data(&mut client, "Subject: x\r\n\r\nx\n.\n");
            gateway.log().wait_for(&["Only CR LF, a dot and CR LF end a message"]);
            for _ in 0..10 {
                client.send(large.as_bytes());
            }
            assert!(client.answer().text().starts_with(NOT_RECOGNIZED));
        });
    });
    assert_eq!(sink.messages().len(), 2);
}

// Case D6: also with the next commands behind the end that is none, and if the client then closes its side.
#[test]
fn who_sends_nothing_more_is_told_why() {
    let (gateway, sink) = site("");
    for (key, content, closes, reason) in [
        ("smtp.listener", "Subject: x\n\nhi\n.\nQUIT\n", false, NOT_RECOGNIZED),
        ("smtp.listen", "Subject: x\n\nhi\n.\nQUIT\n", false, INVALID),
        ("smtp.listener", "Subject: x\n\nhi\n.\n", true, NOT_RECOGNIZED),
        ("smtp.listen", "Subject: x\n\nhi\n.\n", true, INVALID),
    ] {
        let mut client = client(&gateway, key);
        send_data(&mut client, content);
        let began = Instant::now();
        if closes {
            client.close_write();
        }
        let pause = if closes { Duration::ZERO } else { Duration::from_secs(5) };
        is_answered(&mut client, began, pause, reason, key);
    }
    wait_for_metric(&gateway, "gatepost_smtp_messages_total{outcome=\"refused\"}", 4);
    assert_eq!(sink.messages(), []);
}

// Case D6: the pause is 5 s if a message may pause for longer.
#[test]
fn after_five_seconds_the_reason_is_answered() {
    let (gateway, _sink) = site("");
    std::thread::scope(|scope| {
        for (key, reason) in [("smtp.listen", INVALID), ("smtp.listener", NOT_RECOGNIZED)] {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = client(gateway, key);
                send_data(&mut client, "Subject: x\r\n\r\nx\n.\r\n");
                is_answered(&mut client, Instant::now(), Duration::from_secs(5), reason, key);
            });
        }
    });
}

/// A device: it speaks SMTP by itself, and ends the lines of its messages, or the message, in `newline`.
const DEVICE: &str = r#"
import base64, socket, sys
port, login, newline, end = int(sys.argv[1]), sys.argv[2], *(a.encode().decode("unicode_escape").encode() for a in sys.argv[3:5])
connection = socket.create_connection(("127.0.0.1", port), 60)
replies = connection.makefile("rb")
def reply():
    while True:
        line = replies.readline()
        if line[3:4] != b"-":
            return line.decode().strip()
def say(line):
    connection.sendall(line.encode() + b"\r\n")
    return reply()
reply()
say("EHLO scanner")
user, password = login.split(":", 1)
say("AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())
say("MAIL FROM:<scanner@example.com>")
say("RCPT TO:<office@example.com>")
say("DATA")
lines = ["Subject: scan 1", "", "see attachment", ".", ".hidden", "end"]
connection.sendall(b"".join(line.encode() + newline for line in lines) + end)
print(reply())
print(say("QUIT") if len(sys.argv) > 5 else replies.read())
"#;

// Case D5: a scanner that ends its lines in LF. Case D6: and one that ends its message so.
#[test]
fn a_device_of_its_own_making() {
    let (gateway, sink) = site("data_timeout = \"1s\"");
    let send = |key: &str, newline: &str, end: &str| {
        let port = gateway.address(key).port().to_string();
        let mut command = Command::new("python3");
        command.args(["-c", DEVICE, &port, JOE, newline, end]);
        if end == r".\r\n" || end == r"\r\n.\r\n" {
            command.arg("quits");
        }
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(send("smtp.listener", r"\n", r"\r\n.\r\n").starts_with("250 "));
    let expected = "Subject: scan 1\r\n\r\nsee attachment\r\n..\r\n..hidden\r\nend\r\n";
    assert_eq!(arrived(&sink), format!("{expected}\r\n"));
    // One that translates its line ends twice.
    assert!(send("smtp.listener", r"\r\r\n", r".\r\n").starts_with("250 "));
    assert_eq!(arrived(&sink), expected.replace("..hidden", ".hidden"));
    // None of these ends its message. It waits for the reply, and gets one that says why.
    for (key, newline, end, reason) in [
        ("smtp.listener", r"\n", r".\n", NOT_RECOGNIZED),
        ("smtp.listener", r"\n", r".\r\n", NOT_RECOGNIZED),
        ("smtp.listener", r"\r", r".\r", NOT_RECOGNIZED),
        ("smtp.listen", r"\n", r".\n", INVALID),
        ("smtp.listen", r"\n", r".\r\n", INVALID),
        ("smtp.listen", r"\r", r".\r", INVALID),
    ] {
        let heard = send(key, newline, end);
        assert!(heard.starts_with(reason), "{key} {newline} {end}: {heard}");
    }
    assert_eq!(sink.messages().len(), 2);
}

// Case D5: swaks, told to send its data as they are.
#[test]
fn swaks_with_bare_line_feeds() {
    let (gateway, sink) = site("data_timeout = \"1s\"");
    let (user, password) = JOE.split_once(':').unwrap();
    let send = |key: &str, data: &str| {
        let port = gateway.address(key).port().to_string();
        let file = gateway.directory.path().join("data");
        std::fs::write(&file, data).unwrap();
        let mut command = Command::new("swaks");
        command.args(["--server", "127.0.0.1", "--port", &port, "--auth", "PLAIN", "--auth-user", user]);
        command.args(["--auth-password", password, "--from", "joe@example.com", "--to", "jane@example.com"]);
        command.args(["--no-data-fixup", "--data"]).arg(format!("@{}", file.display()));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let mut text = String::new();
        let _ = write!(text, "{}", String::from_utf8_lossy(&output.stdout));
        let _ = write!(text, "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    };
    let (sent, text) = send("smtp.listener", "Subject: hello\n\nhello\n..\nend\r\n.\r\n");
    assert!(sent, "{text}");
    assert_eq!(arrived(&sink), "Subject: hello\r\n\r\nhello\r\n..\r\nend\r\n");
    for (key, data, reason) in [
        ("smtp.listener", "Subject: hello\n\nhello\n.\n", NOT_RECOGNIZED),
        ("smtp.listen", "Subject: hello\n\nhello\n.\r\n", INVALID),
        ("smtp.listen", "Subject: hello\n\nhello\r\n.\r\n", INVALID),
    ] {
        let (sent, text) = send(key, data);
        assert!(!sent && text.contains(reason), "{text}");
    }
    assert_eq!(sink.messages().len(), 1);
}
