//! Limits for one mail client: each is answered with its code and counted, and delays no other client.

use std::io::{Read, Write};
use std::time::Instant;

use crate::common::mail::{
    Answer, CONTENT, Client, JOE, metric, plain, secured, wait_for_metric, without_id,
};
use crate::common::sink::Sink;
use crate::common::tls::Authority;
use crate::common::{Gateway, PATIENCE};

const TOO_MANY: &str = "421 4.7.0 Too many connections, try again later";
const SESSIONS: &str = "gatepost_smtp_sessions";

fn started(sink: &Sink, keys: &str, rest: &str) -> Gateway {
    let gateway = secured(&Authority::new(), &[sink.url()], keys, rest);
    gateway.account("email").credential(JOE, "email");
    gateway
}

fn client(gateway: &Gateway) -> Client {
    Client::login(gateway.address("smtp.listen"), JOE)
}

fn reached(gateway: &Gateway, limit: &str) -> u64 {
    metric(gateway, &format!("gatepost_smtp_limits_total{{limit=\"{limit}\"}}"))
}

#[test]
fn connections_in_all() {
    let sink = Sink::good();
    let gateway = started(&sink, "", "[server]\nthreads = 2\nmax_connections = 4\n");
    let (address, encrypted) = (gateway.address("smtp.listen"), gateway.address("smtp.tls_listen"));
    let mut open: Vec<Client> = (0..4).map(|_| Client::hello(address)).collect();
    for _ in 0..3 {
        let mut refused = Client::connect(address);
        assert_eq!(refused.answer().text(), TOO_MANY);
        assert!(refused.is_closed());
        // Nothing can be said before TLS, and a handshake is work.
        assert!(Client::connect(encrypted).is_closed());
    }
    assert_eq!(open[0].say(&plain(JOE)).code, 235);
    assert_eq!(open[0].submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(open.pop().unwrap().say("QUIT").code, 221);
    assert_eq!(reached(&gateway, "connections"), 6);
    // Its place is there for another as soon as it is gone.
    open.push(welcomed(&gateway));
    assert_eq!(open.len(), 4);
    assert_eq!(Client::connect(address).answer().text(), TOO_MANY);
}

#[test]
fn connections_of_one_source() {
    let sink = Sink::good();
    let gateway = started(&sink, "max_connections_per_source = 3", "");
    let (address, encrypted) = (gateway.address("smtp.listen"), gateway.address("smtp.tls_listen"));
    let mut open: Vec<Client> = (0..2).map(|_| Client::hello(address)).collect();
    // One that never gets to its handshake counts as well.
    let mut silent = Client::connect(encrypted);
    let began = Instant::now();
    loop {
        wait_until_refused(&gateway);
        // Not because of one that asked before and isn't quite gone.
        wait_for_metric(&gateway, SESSIONS, 2);
        if Client::connect(address).answer().code == 421 {
            break;
        }
        // One of those that asked was let in before it.
        silent = Client::connect(encrypted);
        assert!(began.elapsed() < PATIENCE, "nobody is refused");
    }
    let before = reached(&gateway, "source");
    let mut refused = Client::connect(address);
    assert_eq!(refused.answer().text(), TOO_MANY);
    assert!(refused.is_closed());
    assert!(Client::connect(encrypted).is_closed());
    assert_eq!(reached(&gateway, "source"), before + 2);
    assert_eq!(open[0].say("NOOP").code, 250);
    // Each way to end gives the place back.
    drop(silent);
    open.push(welcomed(&gateway));
    assert_eq!(open.pop().unwrap().say("QUIT").code, 221);
    open.push(welcomed(&gateway));
    open.clear();
    wait_for_metric(&gateway, SESSIONS, 0);
    open.extend((0..3).map(|_| welcomed(&gateway)));
    assert_eq!(Client::connect(address).answer().code, 421);
}

/// Until all connections are counted.
fn wait_until_refused(gateway: &Gateway) {
    let began = Instant::now();
    while Client::connect(gateway.address("smtp.listen")).answer().code != 421 {
        assert!(began.elapsed() < PATIENCE, "nobody is refused");
    }
}

/// A connection, as soon as there is room for it.
fn welcomed(gateway: &Gateway) -> Client {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "there is never room");
        let mut client = Client::connect(gateway.address("smtp.listen"));
        if client.answer().code == 220 {
            return client;
        }
    }
}

fn codes(client: &mut Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.answer().code).collect()
}

#[test]
fn errors_of_one_session() {
    let sink = Sink::good();
    let gateway = started(&sink, "max_errors = 4", "");
    for (line, code) in [("NONSENSE", 500), ("EXPN staff", 502), ("MAIL FROM:<b@test", 501), ("DATA", 503)] {
        let mut client = client(&gateway);
        client.send(format!("{line}\r\n").repeat(6).as_bytes());
        assert_eq!(codes(&mut client, 4), [code; 4], "{line}");
        assert_eq!(client.answer().text(), "421 4.7.0 Too many errors, closing connection");
        assert!(client.is_closed());
    }
    assert_eq!(reached(&gateway, "errors"), 4);
    // What the backend refuses is no error of the session.
    let sink = Sink::start(crate::common::sink::Settings::scripted(|moment| {
        match moment.command.starts_with("RCPT") {
            true => crate::common::sink::say("550 5.1.1 Nobody of that name"),
            false => crate::common::sink::Act::Well,
        }
    }));
    let gateway = started(&sink, "max_errors = 4", "");
    let mut client = client(&gateway);
    client.say("MAIL FROM:<a@test>");
    assert!((0..10).all(|_| client.say("RCPT TO:<b@test>").code == 550));
    assert_eq!(client.say("QUIT").code, 221);
    assert_eq!(reached(&gateway, "errors"), 0);
}

#[test]
fn failed_logins_of_one_session() {
    let sink = Sink::good();
    let gateway = started(&sink, "max_failed_logins = 3", "");
    let mut client = Client::hello(gateway.address("smtp.listen"));
    for _ in 0..3 {
        assert_eq!(client.say(&plain("joe:passw0rd-of-jim")).code, 535);
    }
    assert_eq!(client.answer().text(), "421 4.7.0 Too many failed logins, closing connection");
    assert!(client.is_closed());
    assert_eq!(reached(&gateway, "logins"), 1);
    // A right one after two wrong ones is right.
    let mut client = Client::hello(gateway.address("smtp.listen"));
    for _ in 0..2 {
        assert_eq!(client.say(&plain("joe:passw0rd-of-jim")).code, 535);
    }
    assert_eq!(client.say(&plain(JOE)).code, 235);
    assert_eq!(reached(&gateway, "logins"), 1);
}

#[test]
fn messages_of_one_session() {
    let sink = Sink::good();
    let gateway = started(&sink, "max_messages = 2", "");
    let mut client = client(&gateway);
    for _ in 0..2 {
        // A transaction without a message is none.
        client.begin();
        assert_eq!(client.say("RSET").code, 250);
        assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    }
    let answer = client.say("MAIL FROM:<a@test>");
    assert_eq!(answer.text(), "421 4.7.0 Too many messages in one session, connect again");
    assert!(client.is_closed());
    assert_eq!((sink.messages().len(), reached(&gateway, "messages")), (2, 1));
    assert_eq!(self::client(&gateway).submit("a@test", "b@test", CONTENT).code, 250);
}

#[test]
fn recipients_of_one_message() {
    let sink = Sink::good();
    let gateway = started(&sink, "max_recipients = 3", "");
    let mut client = client(&gateway);
    for pipelined in [false, true] {
        let lines: Vec<String> = (0..5).map(|number| format!("RCPT TO:<{number}@test>")).collect();
        let answers: Vec<Answer> = if pipelined {
            client.send(format!("MAIL FROM:<a@test>\r\n{}\r\nDATA\r\n", lines.join("\r\n")).as_bytes());
            assert_eq!(client.answer().code, 250);
            (0..5).map(|_| client.answer()).collect()
        } else {
            assert_eq!(client.say("MAIL FROM:<a@test>").code, 250);
            lines.iter().map(|line| client.say(line)).collect()
        };
        let codes: Vec<u16> = answers.iter().map(|answer| answer.code).collect();
        assert_eq!(codes, [250, 250, 250, 452, 452]);
        assert_eq!(answers[4].text(), "452 4.5.3 Too many recipients");
        let answer = if pipelined { client.answer() } else { client.say("DATA") };
        assert_eq!(answer.code, 354);
        assert_eq!(client.say(&format!("{CONTENT}.")).code, 250);
    }
    assert!(sink.messages().iter().all(|message| message.rcpts == ["<0@test>", "<1@test>", "<2@test>"]));
    assert_eq!((sink.messages().len(), reached(&gateway, "recipients")), (2, 4));
}

#[test]
fn the_size_of_a_message() {
    let sink = Sink::good();
    let gateway = started(&sink, "max_message = \"64KiB\"", "");
    let mut client = client(&gateway);
    assert!(client.say("EHLO client.test").lines.contains(&"250-SIZE 65536".to_owned()));
    let refusal = "552 5.3.4 Message too large";
    assert_eq!(client.say("MAIL FROM:<a@test> SIZE=65537").text(), refusal);
    assert_eq!(client.say("MAIL FROM:<a@test> SIZE=99999999999999999999").text(), refusal);
    assert_eq!(client.say("MAIL FROM:<a@test> SIZE=65536").code, 250);
    assert_eq!(client.say("RCPT TO:<b@test>").code, 250);
    assert_eq!(client.say("RSET").code, 250);
    // What comes is counted, whatever was announced; and what comes after is a command again.
    let large = format!("Subject: x\r\n\r\n{}", "0123456789abcd\r\n".repeat(4200));
    for announced in ["", " SIZE=100"] {
        assert_eq!(client.say(&format!("MAIL FROM:<a@test>{announced}")).code, 250);
        assert_eq!(client.say("RCPT TO:<b@test>").code, 250);
        assert_eq!(client.say("DATA").code, 354);
        client.send(format!("{large}.\r\n").as_bytes());
        assert_eq!(client.answer().text(), refusal);
        client.begin();
        client.send(format!("BDAT {}\r\n{large}", large.len()).as_bytes());
        assert_eq!(client.answer().text(), refusal);
        assert_eq!(client.say("RSET").code, 250);
    }
    assert_eq!(reached(&gateway, "size"), 6);
    assert_eq!(metric(&gateway, "gatepost_smtp_messages_total{outcome=\"refused\"}"), 4);
    let fits = format!("Subject: x\r\n\r\n{}", "0123456789abcd\r\n".repeat(4094));
    assert_eq!(client.submit("a@test", "b@test", &fits).code, 250);
    assert_eq!(sink.messages().len(), 1);
}

#[test]
fn the_length_of_a_line() {
    let sink = Sink::good();
    let gateway = started(&sink, "", "");
    let refusal = |verb: &str| match verb.starts_with("AUTH") {
        true => "500 5.5.6 Authentication exchange line is too long",
        false => "500 5.5.2 Line too long",
    };
    let mut client = Client::hello(gateway.address("smtp.listen"));
    let line = |verb: &str, length: usize| format!("{verb} {}", "x".repeat(length - verb.len() - 3));
    assert_eq!(client.say(&line("NOOP", 512)).code, 250);
    for (verb, length) in [("NOOP", 513), ("VRFY", 100_000), ("AUTH PLAIN", 12289), ("AUTH PLAIN", 1_000_000)]
    {
        assert_eq!(client.say(&line(verb, length)).text(), refusal(verb), "{verb} {length}");
        assert_eq!(client.say("NOOP").code, 250);
    }
    // As long as it may be, and no login.
    assert_eq!(client.say(&line("AUTH PLAIN", 12288)).code, 501);
    for mechanism in ["AUTH PLAIN", "AUTH LOGIN"] {
        assert_eq!(client.say(mechanism).code, 334);
        assert_eq!(client.say(&"x".repeat(12287)).text(), refusal(mechanism));
        // It isn't waited for any more.
        assert_eq!(client.say("NOOP").code, 250);
    }
    assert_eq!(client.say(&plain(JOE)).code, 235);
    assert_eq!(client.say(&line("MAIL FROM:<a@test>", 2049)).text(), refusal("MAIL"));
    client.begin();
    assert_eq!(client.say(&line("RCPT TO:<b@test>", 2049)).text(), refusal("MAIL"));
    assert_eq!(client.say("DATA").code, 354);
    // Lines of a message have no limit.
    let long = format!("Subject: x\r\n\r\n{}\r\n.", "x".repeat(1_000_000));
    assert_eq!(client.say(&long).code, 250);
}

#[test]
fn the_last_replies_reach_a_client_that_is_still_talking() {
    let sink = Sink::good();
    let gateway = started(&sink, "max_errors = 2", "");
    let cases = [
        ("QUIT\r\n", "221 2.0.0 Bye"),
        ("NOOP\r\nQUIT\r\n", "221 2.0.0 Bye"),
        ("NONSENSE\r\nNONSENSE\r\n", "421 4.7.0 Too many errors, closing connection"),
        ("STARTTLS\r\n", "554 5.7.0 Commands sent together with STARTTLS are refused"),
        ("BDAT x\r\n", "501 5.5.4 Syntax error in arguments"),
    ];
    for (text, last) in cases {
        let mut stream = Client::hello(gateway.address("smtp.listen")).into_stream();
        // More than one read gives, and no more than is listened to.
        stream.write_all(format!("{text}{}", "x".repeat(60_000)).as_bytes()).unwrap();
        let mut replies = String::new();
        stream.read_to_string(&mut replies).expect("an end, and no reset");
        let end = without_id(replies.lines().last().unwrap()).0;
        assert!(replies.ends_with("\r\n") && end == last, "{text:?}: {replies:?}");
    }
}
