//! A stop, as mail clients see it: idle clients are told at once, and a message that was begun may end.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::mail::{ANN, CONTENT, Client, JOE, NAME, metric, plain, secured, wait_for_metric};
use crate::common::sink::{Act, Gate, Settings, Sink};
use crate::common::tls::Authority;
use crate::common::{Gateway, PATIENCE};

/// A gateway for mail with TLS, and a `server.shutdown_deadline`.
fn started(authority: &Authority, sink: &Sink, deadline: &str) -> Gateway {
    let server = format!("[server]\nthreads = 2\nshutdown_deadline = \"{deadline}\"\n");
    let gateway = secured(authority, &[sink.url()], "", &server);
    gateway.account("email").credential(JOE, "email");
    gateway
}

/// Checks that a client is told that the gateway stops, and nothing after that.
fn is_told(client: &mut Client, state: &str) {
    let answer = client.try_answer().unwrap_or_else(|| panic!("{state}: not a word"));
    assert!(answer.text().starts_with("421 4.3.2 "), "{state}: {answer:?}");
    assert!(client.is_closed(), "{state}");
}

// Case D16: clients that are waited for, also within a transaction
#[test]
fn a_stop_is_at_once_for_a_mail_client_that_is_waited_for_whatever_it_has_begun() {
    let (sink, authority) = (Sink::good(), Authority::new());
    let mut gateway = started(&authority, &sink, "10m");
    let address = gateway.address("smtp.listen");
    let login = || Client::login(address, JOE);
    let mut idle = vec![("before EHLO", Client::open(address)), ("after EHLO", Client::hello(address))];
    let mut client = Client::hello(address);
    assert_eq!(client.say("AUTH LOGIN").code, 334);
    idle.push(("within AUTH", client));
    let mut client = Client::hello(address);
    assert_eq!(client.say("AUTH PLAIN").code, 334);
    client.send(&plain(JOE).as_bytes()["AUTH PLAIN ".len()..][..5]);
    idle.push(("half a line within AUTH", client));
    idle.push(("after STARTTLS", Client::hello(address).start_tls(authority.client(&[]))));
    let tls = gateway.address("smtp.tls_listen");
    let mut client = Client::connect(tls).encrypt(authority.client(&[]), NAME);
    assert_eq!(
        [client.answer().code, client.say("EHLO x").code, client.say(&plain(JOE)).code],
        [220, 250, 235]
    );
    client.begin();
    idle.push(("after RCPT, over TLS", client));
    idle.push(("after AUTH", login()));
    // Each says these lines, which are answered with these codes, and then waits for what it will say next.
    let begun: [(&str, &[&str], &[u16]); 8] = [
        ("after MAIL", &["MAIL FROM:<a@test>"], &[250]),
        ("after RCPT", &["MAIL FROM:<a@test>", "RCPT TO:<b@test>"], &[250, 250]),
        ("after a refused DATA", &["MAIL FROM:<a@test>", "DATA"], &[250, 503]),
        (
            "after a message",
            &["MAIL FROM:<a@test>", "RCPT TO:<b@test>", "DATA", "x\r\n."],
            &[250, 250, 354, 250],
        ),
        ("after a chunk", &["MAIL FROM:<a@test>", "RCPT TO:<b@test>", "BDAT 3\r\nx"], &[250, 250, 250]),
        ("after an empty chunk", &["MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nBDAT 0"], &[250, 250, 250]),
        ("within a chunk that nobody gets", &["MAIL FROM:<a@test>\r\nBDAT 10\r\nx\r\n"], &[250]),
        ("half a command", &["MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nRCPT TO:<c"], &[250, 250]),
    ];
    for (state, lines, codes) in begun {
        let mut client = login();
        let all = lines.join("\r\n");
        client.send(
            if state.starts_with("half") { all.into_bytes() } else { format!("{all}\r\n").into_bytes() }
                .as_slice(),
        );
        for code in codes {
            assert_eq!(client.answer().code, *code, "{state}");
        }
        idle.push((state, client));
    }
    let asked = Instant::now();
    gateway.signal("TERM");
    for (state, client) in &mut idle {
        is_told(client, state);
    }
    assert_eq!(gateway.wait(), Some(0));
    assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
    assert!(!gateway.log().text().contains("shutdown deadline passed"));
    assert_eq!(sink.messages().len(), 1);
    sink.wait_until_idle();
}

/// A backend that answers that command once the gate is open, on connections that aren't only looked at.
fn slow_at(command: &'static str, gate: &Arc<Gate>) -> Sink {
    let gate = gate.clone();
    Sink::start(Settings::scripted(move |moment| match moment.command.starts_with(command) {
        true => Act::Wait(gate.clone()),
        false => Act::Well,
    }))
}

#[test]
fn a_stop_does_not_wait_for_a_backend_that_was_not_given_a_whole_message() {
    let envelope = "MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\n";
    for (command, before, said) in [
        ("MAIL FROM:<a@test>", "", format!("{envelope}NOOP\r\n")),
        ("RCPT TO:<c@test>", "", format!("{envelope}RCPT TO:<c@test>\r\nRCPT TO:<d@test>\r\nDATA\r\n")),
        ("RCPT TO:<c@test>", envelope, "RCPT TO:<c@test>\r\nNOOP\r\n".to_owned()),
        ("DATA", envelope, "DATA\r\n".to_owned()),
        ("BDAT ", envelope, "BDAT 3\r\nx\r\n".to_owned()),
    ] {
        let (gate, authority) = (Arc::new(Gate::default()), Authority::new());
        let sink = slow_at(command, &gate);
        let mut gateway = started(&authority, &sink, "10m");
        let mut client = Client::login(gateway.address("smtp.listen"), JOE);
        client.send(before.as_bytes());
        for _ in before.lines() {
            assert_eq!(client.answer().code, 250);
        }
        client.send(said.as_bytes());
        sink.wait_for_command(command);
        let asked = Instant::now();
        gateway.signal("TERM");
        is_told(&mut client, &said);
        assert_eq!(gateway.wait(), Some(0), "{said}");
        assert!(asked.elapsed() < PATIENCE / 2, "{said}: {:?}", asked.elapsed());
        gate.open();
        sink.wait_until_idle();
        assert!(sink.messages().is_empty(), "{said}");
    }
}

/// Sends something of a message, and waits until the gateway has seen it.
fn send_content(gateway: &Gateway, client: &mut Client, content: &str) {
    const BYTES: &str = "gatepost_smtp_message_bytes_total";
    let (before, began) = (metric(gateway, BYTES), Instant::now());
    client.send(content.as_bytes());
    while metric(gateway, BYTES) == before {
        assert!(began.elapsed() < PATIENCE, "it never came: {content:?}");
    }
}

#[test]
fn a_stop_lets_a_message_end_and_its_answer_comes_first() {
    let (gate, authority) = (Arc::new(Gate::default()), Authority::new());
    let sink = slow_at("message", &gate);
    let mut gateway = started(&authority, &sink, "10m");
    let address = gateway.address("smtp.listen");
    let begun = || {
        let mut client = Client::login(address, JOE);
        client.begin();
        client
    };
    // One has sent all of it, with more commands behind; others are within it.
    let mut whole = begun();
    assert_eq!(whole.say("DATA").code, 354);
    let more = "MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nDATA\r\n";
    send_content(&gateway, &mut whole, &format!("{CONTENT}.\r\n{more}"));
    let mut data = begun();
    assert_eq!(data.say("DATA").code, 354);
    send_content(&gateway, &mut data, "Subj");
    let mut chunk = begun();
    send_content(&gateway, &mut chunk, &format!("BDAT {} LAST\r\nSubj", CONTENT.len()));
    let mut idle = Client::login(address, JOE);
    gateway.signal("TERM");
    is_told(&mut idle, "idle");
    data.send(format!("{}.\r\n", &CONTENT[4..]).as_bytes());
    chunk.send(&CONTENT.as_bytes()[4..]);
    gate.open();
    for (state, client) in [("whole", &mut whole), ("within DATA", &mut data), ("within BDAT", &mut chunk)] {
        assert_eq!(client.answer().code, 250, "{state}");
        is_told(client, state);
    }
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(sink.messages().len(), 3);
}

#[test]
fn at_the_deadline_of_a_stop_a_mail_client_within_its_message_is_told_so() {
    let (gate, authority) = (Arc::new(Gate::default()), Authority::new());
    let sink = slow_at("message", &gate);
    let mut gateway = started(&authority, &sink, "1s");
    let address = gateway.address("smtp.listen");
    let mut stalled: Vec<(&str, Client)> = Vec::new();
    for (state, command, content) in [
        ("before the first byte", "DATA", ""),
        ("within DATA", "DATA", "Subject: x\r\n"),
        ("within BDAT", "", "BDAT 20 LAST\r\nSubject: x"),
        ("before the backend's answer", "DATA", "Subject: x\r\n\r\n.\r\n"),
    ] {
        let mut client = Client::login(address, JOE);
        client.begin();
        if !command.is_empty() {
            assert_eq!(client.say(command).code, 354);
        }
        if !content.is_empty() {
            send_content(&gateway, &mut client, content);
        }
        stalled.push((state, client));
    }
    let asked = Instant::now();
    gateway.signal("TERM");
    for (state, client) in &mut stalled {
        is_told(client, state);
        assert!(asked.elapsed() >= Duration::from_secs(1), "{state}: {:?}", asked.elapsed());
    }
    assert_eq!(gateway.wait(), Some(0));
    assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
    let line = gateway.log().wait_for(&["shutdown deadline passed"]);
    assert!(line.contains("\"left\":4"), "{line}");
    gate.open();
    sink.wait_until_idle();
}

#[test]
fn at_the_deadline_of_a_stop_a_mail_client_that_sends_fast_is_told_so() {
    let (sink, authority) = (Sink::good(), Authority::new());
    let mut gateway = started(&authority, &sink, "1s");
    let mut client = Client::hello(gateway.address("smtp.listen"));
    assert_eq!(client.say(&plain(JOE)).code, 235);
    client.begin();
    assert_eq!(client.say("DATA").code, 354);
    let mut stream = client.into_stream();
    let mut sending = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let lines = "a line of a message without an end\r\n".repeat(1000);
        while sending.write_all(lines.as_bytes()).is_ok() {}
    });
    let asked = Instant::now();
    gateway.signal("TERM");
    let mut heard = Vec::new();
    // The connection may be reset behind the reply, since the client never stops.
    let _ = stream.read_to_end(&mut heard);
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.starts_with("421 4.3.2 ") && heard.lines().count() == 1, "{heard:?}");
    sender.join().unwrap();
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(gateway.wait(), Some(0));
    assert!(sink.messages().is_empty());
}

#[test]
fn at_the_deadline_of_a_stop_a_mail_client_whose_login_is_checked_is_told_so() {
    // One check takes seconds at the highest cost.
    let (sink, authority) = (Sink::good(), Authority::new());
    let auth = "[auth]\nbcrypt_cost = 15\nhash_threads = 1\n";
    let server = "[server]\nthreads = 2\nshutdown_deadline = \"100ms\"\n";
    let mut gateway = secured(&authority, &[sink.url()], "", &format!("{auth}{server}"));
    let mut clients = [JOE, ANN].map(|login| {
        let mut client = Client::hello(gateway.address("smtp.listen"));
        client.send(format!("{}\r\n", plain(login)).as_bytes());
        client
    });
    // One is being checked, and the other waits for that.
    wait_for_metric(&gateway, "gatepost_password_queue{lane=\"rest\"}", 1);
    let asked = Instant::now();
    gateway.signal("TERM");
    for client in &mut clients {
        is_told(client, "while its login is checked");
    }
    assert!(asked.elapsed() >= Duration::from_millis(100), "{:?}", asked.elapsed());
    assert_eq!(gateway.wait(), Some(0));
}
