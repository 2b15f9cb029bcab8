//! An open SMTP session loses its rights with its credential.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::mail::{ANN, CONTENT, Client, JOE, NAME, plain, secured, smtp};
use crate::common::sink::{Act, Gate, Settings, Sink};
use crate::common::tls::Authority;
use crate::common::{Gateway, HOLDER, PATIENCE};

fn started(sink: &Sink) -> Gateway {
    let api = "[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://127.0.0.1:9\"]\n[ops]\nlisten = \"127.0.0.1:0\"\n";
    let gateway = Gateway::start(&format!("{api}{}", smtp(&[sink.address], "")));
    gateway.account("email,api,web").credential(JOE, "email");
    gateway
}

fn manage(gateway: &Gateway, action: &str, parameters: &str) {
    let (status, text) = gateway.manage(action, parameters);
    assert_eq!(status, 200, "{text}");
}

fn command(gateway: &Gateway, arguments: &[&str]) {
    let output = gateway.command(arguments, "");
    assert!(output.status.success(), "{output:?}");
}

/// The number of SMTP decisions with this outcome.
fn decisions(gateway: &Gateway, outcome: &str) -> u64 {
    let name =
        format!("gatepost_decisions_total{{entry=\"smtp\",permission=\"email\",outcome=\"{outcome}\"}} ");
    let text = crate::common::http::get("/metrics").send(gateway.address("ops.listen")).text();
    // What never happened isn't there.
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

/// The replies to an active session and to an idle one after their credential was removed.
fn is_cut(mut idle: Client, mut busy: Client) {
    let began = Instant::now();
    let answer = idle.answer();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(answer.text().starts_with("421 4.7.0 "), "{answer:?}");
    assert!(idle.is_closed());
    // It may have been told before it asked.
    busy.try_send(b"MAIL FROM:<a@test>\r\n");
    assert!(busy.answer().text().starts_with("421 4.7.0 "));
    assert!(busy.is_closed());
}

#[test]
fn a_cleared_bit_refuses_the_next_transaction_and_the_session_goes_on() {
    let sink = Sink::good();
    let gateway = started(&sink);
    gateway.credential(ANN, "api");
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!((decisions(&gateway, "allowed"), decisions(&gateway, "forbidden")), (2, 0));
    manage(&gateway, "edit", "username=joe&permissions=%7B%22email%22%3A0%7D");
    let answer = client.say("MAIL FROM:<a@test>");
    assert_eq!(answer.text(), "550 5.7.1 Unauthenticated senders not allowed");
    assert_eq!(client.say("RCPT TO:<b@test>").code, 503);
    assert_eq!(client.say("NOOP").code, 250);
    gateway.log().wait_for(&["\"forbidden\"", "\"joe\""]);
    assert_eq!(decisions(&gateway, "forbidden"), 1);
    // Who logs in without it is told what everybody is told; operators know better.
    let mut other = Client::hello(gateway.address("smtp.listen"));
    assert_eq!(other.say(&plain(ANN)).text(), "535 5.7.8 Authentication failed: Bad username / password");
    gateway.log().wait_for(&["\"forbidden\"", "\"ann\""]);
    assert_eq!((decisions(&gateway, "forbidden"), decisions(&gateway, "wrong")), (2, 0));
    manage(&gateway, "edit", "username=joe&permissions=%7B%22email%22%3A1%7D");
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(sink.messages().len(), 2);
}

/// The commands of a transaction after which the permission is cleared, and the first one that is refused.
const WITHIN: [(&[&str], &str); 5] = [
    (&["MAIL FROM:<a@test>"], "RCPT TO:<b@test>\r\n"),
    (&["MAIL FROM:<a@test>", "RCPT TO:<b@test>"], "RCPT TO:<c@test>\r\n"),
    (&["MAIL FROM:<a@test>", "RCPT TO:<b@test>"], "DATA\r\n"),
    (&["MAIL FROM:<a@test>", "RCPT TO:<b@test>"], "BDAT 4\r\nA: b"),
    (&["MAIL FROM:<a@test>", "RCPT TO:<b@test>"], "BDAT 6 LAST\r\nA: b\r\n"),
];

#[test]
fn a_cleared_permission_ends_a_transaction_whose_message_has_not_begun() {
    const REFUSED: &str = "550 5.7.1 Unauthenticated senders not allowed";
    let sink = Sink::good();
    let gateway = started(&sink);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    let rights = |rights| command(&gateway, &["account", "rights", "acme", rights]);
    let email =
        |value| manage(&gateway, "edit", &format!("username=joe&permissions=%7B%22email%22%3A{value}%7D"));
    for (number, (begin, refused)) in WITHIN.into_iter().enumerate() {
        // The permission of the credential, or the right of its account.
        for by_account in [false, true] {
            for line in begin {
                assert_eq!(client.say(line).code, 250);
            }
            if by_account {
                rights("api,web")
            } else {
                email(0)
            };
            client.send(refused.as_bytes());
            assert_eq!(client.answer().text(), REFUSED, "{refused}");
            if by_account {
                rights("email,api,web")
            } else {
                email(1)
            };
            // The transaction does not come back with the permission.
            match number {
                0 | 1 => assert_eq!(client.say("RCPT TO:<d@test>").text(), REFUSED),
                _ => {}
            }
            assert_ne!(client.say("DATA").code, 354, "{refused}");
            assert_eq!(client.say("RSET").code, 250);
        }
    }
    assert_eq!(decisions(&gateway, "forbidden"), 2 * WITHIN.len() as u64);
    gateway.log().wait_for(&["\"audit\"", "\"denied\"", "\"joe\"", "\"forbidden\""]);
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(sink.messages().len(), 1);
}

#[test]
fn a_message_that_has_begun_is_finished_without_the_permission() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    client.begin();
    assert_eq!(client.say("DATA").code, 354);
    manage(&gateway, "edit", "username=joe&permissions=%7B%22email%22%3A0%7D");
    client.send(format!("{CONTENT}.\r\n").as_bytes());
    assert_eq!(client.answer().code, 250);
    assert_eq!(client.say("MAIL FROM:<a@test>").code, 550);
    assert_eq!(sink.messages().len(), 1);
}

#[test]
fn a_removed_credential_ends_its_sessions() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let [idle, busy] = [0, 1].map(|_| Client::login(gateway.address("smtp.listen"), JOE));
    let mut holder = Client::login(gateway.address("smtp.listen"), HOLDER);
    let unknown = Client::hello(gateway.address("smtp.listen"));
    manage(&gateway, "remove", "username=joe");
    is_cut(idle, busy);
    assert_eq!(holder.submit("a@test", "b@test", CONTENT).code, 250);
    let mut unknown = unknown;
    assert_eq!(unknown.say("NOOP").code, 250);
    let metrics = crate::common::http::get("/metrics").send(gateway.address("ops.listen")).text();
    assert!(metrics.contains("gatepost_sessions_cut_total{entry=\"smtp\"} 2"), "{metrics}");
    assert!(metrics.contains("gatepost_smtp_messages_total{outcome=\"accepted\"} 1"), "{metrics}");
    assert!(metrics.contains("gatepost_smtp_sessions 2"), "{metrics}");
}

#[test]
fn a_new_password_ends_the_sessions_of_the_old_one() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let [idle, busy] = [0, 1].map(|_| Client::login(gateway.address("smtp.listen"), JOE));
    manage(&gateway, "edit", "username=joe&password=an0ther-password");
    is_cut(idle, busy);
    let mut client = Client::login(gateway.address("smtp.listen"), "joe:an0ther-password");
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
}

#[test]
fn a_suspended_account_ends_the_sessions_of_all_its_credentials() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let [idle, busy] = [JOE, HOLDER].map(|login| Client::login(gateway.address("smtp.listen"), login));
    command(&gateway, &["account", "suspend", "acme"]);
    is_cut(idle, busy);
}

#[test]
fn an_account_whose_right_is_cut_sends_no_more() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let mut clients = [JOE, HOLDER].map(|login| Client::login(gateway.address("smtp.listen"), login));
    command(&gateway, &["account", "rights", "acme", "api,web"]);
    for client in &mut clients {
        assert_eq!(client.say("MAIL FROM:<a@test>").text(), "550 5.7.1 Unauthenticated senders not allowed");
        assert_eq!(client.say("NOOP").code, 250);
    }
    command(&gateway, &["account", "rights", "acme", "email,api,web"]);
    for client in &mut clients {
        assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    }
    assert_eq!(sink.messages().len(), 2);
}

#[test]
fn a_removed_account_ends_the_sessions_of_all_its_credentials() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let [idle, busy] = [HOLDER, JOE].map(|login| Client::login(gateway.address("smtp.listen"), login));
    command(&gateway, &["account", "remove", "acme", "--yes"]);
    is_cut(idle, busy);
}

#[test]
fn sessions_within_tls_end_as_soon() {
    let (sink, authority) = (Sink::good(), Authority::new());
    let api = "[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://127.0.0.1:9\"]\n";
    let gateway = secured(&authority, &[sink.url()], "", api);
    gateway.account("email,api,web").credential(JOE, "email");
    let started = || Client::hello(gateway.address("smtp.listen")).start_tls(authority.client(&[]));
    let implicit = || {
        let client = Client::connect(gateway.address("smtp.tls_listen"));
        let mut client = client.encrypt(authority.client(&[]), NAME);
        assert_eq!(client.answer().code, 220);
        assert_eq!(client.say("EHLO client.test").code, 250);
        client
    };
    for (mut idle, mut busy) in [(started(), implicit()), (implicit(), started())] {
        for client in [&mut idle, &mut busy] {
            assert_eq!(client.say(&plain(JOE)).code, 235);
        }
        manage(&gateway, "remove", "username=joe");
        is_cut(idle, busy);
        gateway.credential(JOE, "email");
    }
}

/// Commands that arrive together with the end of a message, before the change, are decided after it.
#[test]
fn a_transaction_that_waits_its_turn_is_denied_and_in_the_audit_trail() {
    let gate = Arc::new(Gate::default());
    let opening = gate.clone();
    let (ended, ends) = std::sync::mpsc::channel();
    let sink = Sink::start(Settings::scripted(move |moment| {
        if moment.command != "message" {
            return Act::Well;
        }
        ended.send(()).unwrap();
        Act::Wait(opening.clone())
    }));
    let gateway = started(&sink);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    client.begin();
    assert_eq!(client.say("DATA").code, 354);
    client.send(format!("{CONTENT}.\r\nMAIL FROM:<a@test>\r\n").as_bytes());
    ends.recv_timeout(PATIENCE).expect("the message has ended for the backend");
    manage(&gateway, "remove", "username=joe");
    gate.open();
    assert_eq!(client.answer().code, 250);
    assert!(client.answer().text().starts_with("421 4.7.0 "));
    assert!(client.is_closed());
    assert_eq!(decisions(&gateway, "unknown"), 1);
    gateway.log().wait_for(&["\"audit\"", "\"denied\"", "\"joe\"", "\"smtp\"", "\"unknown\""]);
}

#[test]
fn a_message_that_has_begun_is_finished() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    for line in ["MAIL FROM:<a@test>", "RCPT TO:<b@test>", "DATA"] {
        client.say(line);
    }
    client.send(b"Subject: x\r\n\r\nbo");
    sink.wait_for_command("DATA");
    manage(&gateway, "remove", "username=joe");
    client.send(b"dy\r\n.\r\n");
    assert_eq!(client.answer().code, 250);
    assert!(client.answer().text().starts_with("421 4.7.0 "));
    assert!(client.is_closed());
    assert_eq!(sink.messages().len(), 1);
}

/// Commands in one write with MAIL that wait for a slow reply to a recipient, and the replies up to the revocation.
const PIPELINED: [(&str, &[u16]); 3] = [
    ("DATA\r\n", &[250, 250]),
    ("BDAT 7 LAST\r\nA: b\r\n\n", &[250, 250]),
    ("NOOP\r\nRCPT TO:<other@test>\r\nDATA\r\n", &[250, 250, 250]),
];

#[test]
fn what_was_pipelined_does_not_begin_after_a_revocation() {
    let gates: [Arc<Gate>; 6] = Default::default();
    let opening = gates.clone();
    let sink = Sink::start(Settings::scripted(move |moment| {
        let slow = moment.command.strip_prefix("RCPT TO:<slow");
        match slow.and_then(|rest| rest.chars().next()?.to_digit(10)) {
            Some(number) => Act::Wait(opening[number as usize].clone()),
            None => Act::Well,
        }
    }));
    let authority = Authority::new();
    let api = "[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://127.0.0.1:9\"]\n";
    let gateway = secured(&authority, &[format!("smtp://{}", sink.address)], "", api);
    gateway.account("email,api,web");
    for (number, gate) in gates.iter().enumerate() {
        let login = format!("joe{number}:passw0rd-of-joe");
        gateway.credential(&login, "email");
        let mut client = Client::hello(gateway.address("smtp.listen"));
        if number >= 3 {
            client = client.start_tls(authority.client(&[]));
        }
        assert_eq!(client.say(&plain(&login)).code, 235);
        let (rest, codes) = PIPELINED[number % 3];
        client.send(format!("MAIL FROM:<a@test>\r\nRCPT TO:<slow{number}@test>\r\n{rest}").as_bytes());
        sink.wait_for_command(&format!("RCPT TO:<slow{number}@test>"));
        manage(&gateway, "remove", &format!("username=joe{number}"));
        gate.open();
        for code in codes {
            assert_eq!(client.answer().code, *code, "{number}");
        }
        assert!(client.answer().text().starts_with("421 4.7.0 "), "{number}");
        assert!(client.is_closed());
    }
    assert!(sink.messages().is_empty());
    // Connections that can be used again are, and the others are closed.
    gateway.credential(JOE, "email");
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
}

#[test]
fn a_message_in_chunks_that_has_begun_is_finished() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    for line in ["MAIL FROM:<a@test>", "RCPT TO:<b@test>", "BDAT 4\r\nA: b"] {
        client.send(format!("{line}{}", if line.starts_with('B') { "" } else { "\r\n" }).as_bytes());
        assert_eq!(client.answer().code, 250);
    }
    manage(&gateway, "remove", "username=joe");
    client.send(b"BDAT 2\r\n\r\n");
    assert_eq!(client.answer().code, 250);
    client.send(b"BDAT 2 LAST\r\n\r\n");
    assert_eq!(client.answer().code, 250);
    assert!(client.answer().text().starts_with("421 4.7.0 "));
    assert!(client.is_closed());
    assert_eq!(sink.messages().len(), 1);
}

/// A chunk of a message that loops, which nobody gets any more.
fn looping() -> String {
    let loops = "Received: x\r\n".repeat(101);
    format!("BDAT {}\r\n{loops}", loops.len())
}

#[test]
fn a_message_that_nobody_gets_or_that_has_not_begun_keeps_no_session_open() {
    let sink = Sink::good();
    let gateway = started(&sink);
    for (chunk, code) in [(looping(), 554), ("NOOP\r\nBDAT 1000\r\n".into(), 250), ("BDAT 0\r\n".into(), 250)]
    {
        let mut client = Client::login(gateway.address("smtp.listen"), JOE);
        client.begin();
        client.send(chunk.as_bytes());
        assert_eq!(client.answer().code, code);
        manage(&gateway, "remove", "username=joe");
        assert!(client.answer().text().starts_with("421 4.7.0 "));
        assert!(client.is_closed());
        gateway.credential(JOE, "email");
    }
    assert!(sink.messages().is_empty());
}

#[test]
fn a_stop_ends_what_is_idle_and_waits_for_a_message() {
    let sink = Sink::good();
    let mut gateway = started(&sink);
    let mut doomed = Client::login(gateway.address("smtp.listen"), JOE);
    doomed.begin();
    doomed.send(looping().as_bytes());
    assert_eq!(doomed.answer().code, 554);
    let mut idle = Client::login(gateway.address("smtp.listen"), JOE);
    let mut busy = Client::login(gateway.address("smtp.listen"), JOE);
    for line in ["MAIL FROM:<a@test>", "RCPT TO:<b@test>", "DATA"] {
        busy.say(line);
    }
    gateway.signal("TERM");
    for client in [&mut idle, &mut doomed] {
        assert!(client.answer().text().starts_with("421 4.3.2 "));
        assert!(client.is_closed());
    }
    busy.send(b"x\r\n.\r\n");
    assert_eq!(busy.answer().code, 250);
    assert!(busy.answer().text().starts_with("421 4.3.2 "));
    let began = Instant::now();
    assert_eq!(gateway.wait(), Some(0));
    assert!(began.elapsed() < PATIENCE / 2);
    assert_eq!(sink.messages().len(), 1);
}
