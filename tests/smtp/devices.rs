//! Errors of devices and simple programs in their greetings and addresses, and what a backend gets of it.

use crate::common::Gateway;
use crate::common::mail::{CONTENT, Client, JOE, plain, smtp};
use crate::common::sink::{Settings, Sink};

fn started(sink: &Sink) -> Gateway {
    let gateway = Gateway::start(&smtp(&[sink.address], "identity = [\"xclient\"]"));
    gateway.account("email").credential(JOE, "email");
    gateway
}

// Case D3: names that are no host names
#[test]
fn a_client_may_call_itself_what_it_likes() {
    let extensions = vec!["PIPELINING", "8BITMIME", "XCLIENT NAME ADDR PROTO HELO LOGIN"];
    let sink = Sink::start(Settings { extensions, ..Settings::default() });
    let gateway = started(&sink);
    let longest = "x".repeat(255);
    let cases = [
        ("EHLO My Mac", "My?Mac"),
        ("HELO My Mac  ", "My?Mac"),
        ("EHLO Дм-ПК", "????-????"),
        ("HELO Дм-ПК", "????-????"),
        ("EHLO [127.0.0.1]", "[127.0.0.1]"),
        ("EHLO client.test", "client.test"),
        ("EHLO a+b=c;(d)", "a?b?c??d?"),
        (&format!("EHLO {longest}"), &longest),
    ];
    for (nth, (greeting, name)) in cases.into_iter().enumerate() {
        let mut client = Client::open(gateway.address("smtp.listen"));
        assert_eq!(client.say(greeting).code, 250, "{greeting}");
        assert_eq!(client.say(&plain(JOE)).code, 235, "{greeting}");
        assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250, "{greeting}");
        let message = sink.messages().swap_remove(nth);
        let content = String::from_utf8(message.content).unwrap();
        assert!(content.starts_with(&format!("Received: from {name} ([127.0.0.1])\r\n")), "{content}");
        let xclient = message.xclient.unwrap();
        let proto = if greeting.starts_with("EHLO") { "ESMTP" } else { "SMTP" };
        let told = xclient.contains(&format!(" PROTO={proto} "));
        assert!(
            told && xclient.replace("+20", " ").contains(&format!(" HELO={} ", xtext(name))),
            "{xclient}"
        );
        assert!(sink.commands(message.connection).contains(&format!("EHLO {name}")), "{greeting}");
    }
    let mut client = Client::open(gateway.address("smtp.listen"));
    for refused in ["EHLO", "HELO ", &format!("EHLO {longest}x")] {
        assert!(client.say(refused).text().starts_with("501 5.5.4 "), "{refused}");
    }
}

/// The text in xtext; no name needs any of it.
fn xtext(name: &str) -> &str {
    assert!(!name.contains(['+', '=', ' ']));
    name
}

// Case D4: addresses without angle brackets and with blanks
#[test]
fn a_backend_gets_addresses_in_angle_brackets() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    let cases = [
        ("MAIL FROM:a@example.com", "RCPT TO: d@example.org", "<a@example.com>", "<d@example.org>"),
        (
            "mail from: a@example.com size=10  body=8bitmime",
            "rcpt to:d@example.org notify=never",
            "<a@example.com> size=10 body=8bitmime",
            "<d@example.org> notify=never",
        ),
        ("MAIL FROM : < >", "RCPT TO:< postmaster >", "<>", "<postmaster>"),
        ("MAIL FROM:\"a b\"@test", "RCPT TO:<@r.test:d@test> ", "<\"a b\"@test>", "<@r.test:d@test>"),
        ("MAIL FROM:<> AUTH=<> BODY=7BIT", "RCPT TO:d@test", "<>", "<d@test>"),
    ];
    for (nth, (mail, rcpt, sender, recipient)) in cases.into_iter().enumerate() {
        for pipelined in [false, true] {
            let lines = format!("{mail}\r\n{rcpt}\r\nDATA\r\n");
            match pipelined {
                true => client.send(lines.as_bytes()),
                false => client.send(format!("{mail}\r\n").as_bytes()),
            }
            assert_eq!(client.answer().code, 250, "{mail}");
            assert_eq!(if pipelined { client.answer() } else { client.say(rcpt) }.code, 250, "{rcpt}");
            assert_eq!(if pipelined { client.answer() } else { client.say("DATA") }.code, 354);
            assert_eq!(client.say(&format!("{CONTENT}.")).code, 250);
            let message = sink.messages().swap_remove(2 * nth + usize::from(pipelined));
            assert_eq!((message.mail.as_str(), &message.rcpts[..]), (sender, &[recipient.to_owned()][..]));
        }
    }
}

// Case D13: an accepted message resets the error count
#[test]
fn a_client_that_keeps_its_session_may_err_in_each_message() {
    let sink = Sink::good();
    let gateway = Gateway::start(&smtp(&[sink.address], "max_errors = 3"));
    gateway.account("email").credential(JOE, "email");
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    for chunked in [false, true, false, true, false] {
        assert_eq!(client.say("MAIL FROM:<a@test>").code, 250);
        assert_eq!(client.say("RCPT TO:<b@>").code, 501);
        assert_eq!(client.say("NONSENSE").code, 500);
        assert_eq!(client.say("RCPT TO:<b@test>").code, 250);
        if chunked {
            client.send(format!("BDAT {} LAST\r\n{CONTENT}", CONTENT.len()).as_bytes());
            assert_eq!(client.answer().code, 250);
        } else {
            assert_eq!(client.say("DATA").code, 354);
            assert_eq!(client.say(&format!("{CONTENT}.")).code, 250);
        }
    }
    // A chunk, a reset and a message that is refused are no accepted message.
    assert_eq!(client.say("NONSENSE").code, 500);
    client.begin();
    client.send(b"BDAT 1\r\nx");
    assert_eq!(client.answer().code, 250);
    assert_eq!(client.say("RSET").code, 250);
    assert_eq!(client.say("NONSENSE").code, 500);
    assert_eq!(client.submit("a@test", "b@test", "a\nb\r\n").code, 550);
    assert_eq!(client.say("NONSENSE").code, 500);
    assert!(client.answer().text().starts_with("421 4.7.0 Too many errors"));
    assert_eq!(sink.messages().len(), 5);
}
