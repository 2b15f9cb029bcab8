//! Refusals that must not be for good, since a later try succeeds, and acceptances that must not be lost, since a later try
//! would send the message twice.

use std::net::TcpListener;

use crate::common::driver::{Driver, EVERYTHING, authorised, settings};
use crate::common::mail::{CONTENT, Client, JOE, smtp};
use crate::common::sink::{Act, Settings, Sink};
use crate::common::{Gateway, nobody};
use gatepost::wire::smtp::Capabilities;

fn started(upstream: std::net::SocketAddr, keys: &str) -> Gateway {
    let gateway = Gateway::start(&smtp(&[upstream], keys));
    gateway.account("email").credential(JOE, "email");
    gateway
}

/// Senders that need an extension.
const NEEDY: [&str; 4] = [
    "MAIL FROM:<a@test> BODY=8BITMIME",
    "MAIL FROM:<ä@test> SMTPUTF8",
    "MAIL FROM:<a@test> SMTPUTF8 BODY=8BITMIME SIZE=10",
    "MAIL FROM:<a@test> RET=HDRS ENVID=x",
];

// Case D7: no backend was seen since the start
#[test]
fn before_a_backend_was_seen_nothing_is_refused_for_good() {
    let address = nobody();
    let gateway = started(address, "health_interval = \"1h\"");
    let mut client = Client::open(gateway.address("smtp.listen"));
    let offered = client.say("EHLO client.test").text();
    for extension in ["8BITMIME", "SMTPUTF8", "DSN"] {
        assert!(offered.contains(extension), "{offered}");
    }
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    for mail in NEEDY {
        let answer = client.say(mail);
        assert!(answer.text().starts_with("451 4.4.1 "), "{mail}: {answer:?}");
        client.send(format!("{mail}\r\nRCPT TO:<b@test> NOTIFY=NEVER\r\nRSET\r\n").as_bytes());
        assert_eq!([0; 3].map(|_| client.answer().code), [250, 451, 250], "{mail}");
    }
    assert_eq!(client.say("MAIL FROM:<a@test> BODY=BINARYMIME").code, 555);
    assert_eq!(client.say("MAIL FROM:<a@test> BODY=7BIT SIZE=10").code, 250);
    assert_eq!(client.say("RCPT TO:<b@test> NOTIFY=NEVER").code, 451);
    assert_eq!(client.say("RSET").code, 250);

    // One that lacks an extension comes up: what was offered to this session before is refused for now.
    let extensions = vec!["PIPELINING", "8BITMIME"];
    let listener = TcpListener::bind(address).unwrap();
    let sink = Sink::start_on(listener, Settings { extensions, ..Settings::default() });
    assert_eq!(client.say("MAIL FROM:<a@test> BODY=8BITMIME").code, 250);
    assert_eq!(client.say("RCPT TO:<b@test>").code, 250);
    assert_eq!(client.say("RSET").code, 250);
    assert_eq!(client.say("MAIL FROM:<a@test> SMTPUTF8").code, 250);
    assert_eq!(client.say("RCPT TO:<b@test>").code, 451);
    assert_eq!(client.say("RSET").code, 250);
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    // A session that begins now knows.
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    assert_eq!(client.say("MAIL FROM:<a@test> SMTPUTF8").code, 555);
    assert_eq!(sink.messages().len(), 1);
}

// Case D7: what was offered is not offered any more
#[test]
fn what_was_offered_to_a_session_is_not_refused_in_it() {
    let mut driver = Driver::new(settings());
    driver.feed(authorised().as_bytes());
    driver.offered = Capabilities { size: Some(10), ..Capabilities::default() };
    for mail in NEEDY {
        driver.feed(format!("{}\r\nRSET\r\n", mail.replace("SIZE=10", "SIZE=1000")).as_bytes());
    }
    driver.feed(b"MAIL FROM:<a@test>\r\nRCPT TO:<b@test> NOTIFY=NEVER\r\nBDAT 2 LAST\r\nxx");
    let codes = driver.codes();
    assert!(codes[3..].iter().all(|code| *code == 250), "{codes:?}");
    // What was never offered is refused.
    let mut driver = Driver::new(settings());
    driver.offered = Capabilities::default();
    driver.feed(authorised().as_bytes());
    for mail in NEEDY {
        driver.feed(format!("{mail}\r\n").as_bytes());
    }
    driver.feed(b"MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nBDAT 2 LAST\r\nxx");
    assert_eq!(driver.codes()[3..], [555, 555, 555, 555, 250, 250, 502]);
    driver.offered = EVERYTHING;
    driver.feed(b"RSET\r\nMAIL FROM:<a@test> SMTPUTF8\r\n");
    assert_eq!(driver.codes()[10..], [250, 250]);
}

// Case D14: a reply of a backend to a message that is malformed, but for its code
#[test]
fn an_accepted_message_is_accepted_however_malformed_the_reply_is() {
    let replies = [
        "250 2.0.0 ok \r x\r\n",
        "250 2.0.0 ok\0\r\n",
        "250 2.0.0 ok\n",
        "250 2.0.0 ok\r\r\n",
        "250\tok\r\n",
        "250ok\r\n",
        "250-a\r\n251 b\r\n",
    ];
    for reply in replies {
        let sink = Sink::start(Settings::scripted(move |moment| match moment.command {
            "message" => Act::Say(reply.to_owned()),
            _ => Act::Well,
        }));
        let gateway = started(sink.address, "upstream_connections = 1\nhealth_interval = \"1h\"");
        let mut client = Client::login(gateway.address("smtp.listen"), JOE);
        for chunked in [false, true] {
            client.begin();
            let answer = if chunked {
                client.send(format!("BDAT {} LAST\r\n{CONTENT}", CONTENT.len()).as_bytes());
                client.answer()
            } else {
                assert_eq!(client.say("DATA").code, 354);
                client.send(format!("{CONTENT}\r\n.\r\n").as_bytes());
                client.answer()
            };
            assert_eq!(answer.code, 250, "{reply:?}: {answer:?}");
        }
        // What follows such a reply is not clear, so that no connection is used again; the first one only probed the backend.
        assert_eq!((sink.messages().len(), sink.connections()), (2, 3), "{reply:?}");
    }
}

// Case D14: a reply of a backend that is too long
#[test]
fn an_accepted_message_is_accepted_however_long_the_reply_is() {
    let long = "x".repeat(5000);
    let many = "250-2.0.0 a line\r\n".repeat(5000);
    let replies = [
        format!("250 2.0.0 {long}\r\n"),
        format!("250 2.0.0 {}\r\n", "x".repeat(2_000_000)),
        format!("{many}250 2.0.0 queued\r\n"),
        format!("250-2.0.0 {long}\r\n250 2.0.0 queued\r\n"),
    ];
    for reply in replies {
        let said = reply.clone();
        let sink = Sink::start(Settings::scripted(move |moment| match moment.command {
            "message" => Act::Say(said.clone()),
            _ => Act::Well,
        }));
        let gateway = started(sink.address, "upstream_connections = 1\nhealth_interval = \"1h\"");
        let mut client = Client::login(gateway.address("smtp.listen"), JOE);
        for chunked in [false, true] {
            let answer = if chunked {
                client.begin();
                client.send(format!("BDAT {} LAST\r\n{CONTENT}", CONTENT.len()).as_bytes());
                client.answer()
            } else {
                client.submit("a@test", "b@test", CONTENT)
            };
            assert_eq!(answer.code, 250, "{}", answer.lines[0]);
            assert!(answer.lines.iter().all(|line| line.len() <= 2048), "{}", answer.lines[0].len());
            assert!(reply.starts_with(&answer.lines[0]), "{}", answer.lines[0]);
            let last = answer.lines.last().unwrap();
            assert!(!reply.contains("queued") || last == "250 2.0.0 queued", "{last}");
        }
        assert_eq!((sink.messages().len(), sink.connections()), (2, 2));
    }
}
