//! Connections to backends are for all clients: none keeps one from the others for longer than it may, and what a backend says
//! too early is no answer.

use std::time::{Duration, Instant};

use crate::common::mail::{CONTENT, Client, JOE, secured, smtp};
use crate::common::sink::{Act, Moment, Settings, Sink, say};
use crate::common::tls::Authority;
use crate::common::{Gateway, PATIENCE};

const TIMEOUT: &str = "421 4.4.2 Timeout, closing connection";
/// One connection, and none that asks how the backend is after the first one.
const ONE: &str = "upstream_connections = 1\nhealth_interval = \"1h\"\n";

fn started(sink: &Sink, keys: &str) -> Gateway {
    with(Gateway::start(&smtp(&[sink.address], keys)), sink)
}

/// The same with TLS to the backend, which has a certificate of the authority.
fn encrypted(authority: &Authority, settings: Settings) -> (Gateway, Sink) {
    let tls = Some(authority.issue("127.0.0.1").server());
    let sink = Sink::start(Settings { tls, implicit_tls: true, ..settings });
    let keys = format!("{ONE}upstream_ca = \"DIR/ca.pem\"\n");
    let gateway = secured(authority, &[format!("smtps://{}", sink.address)], &keys, "");
    (with(gateway, &sink), sink)
}

fn with(gateway: Gateway, sink: &Sink) -> Gateway {
    gateway.account("email").credential(JOE, "email");
    // The one that asks has gone.
    sink.wait_for_command("QUIT");
    gateway
}

fn client(gateway: &Gateway) -> Client {
    Client::login(gateway.address("smtp.listen"), JOE)
}

fn scripted(script: impl Fn(&Moment<'_>) -> Act + Send + Sync + 'static) -> Sink {
    Sink::start(Settings::scripted(script))
}

#[test]
fn who_only_chats_after_a_recipient_gives_its_connection_back() {
    let sink = Sink::good();
    let gateway = started(&sink, &format!("{ONE}command_timeout = \"500ms\""));
    let mut idle = client(&gateway);
    idle.begin();
    let began = Instant::now();
    let last = loop {
        match idle.say("NOOP") {
            answer if answer.code == 250 => assert!(began.elapsed() < PATIENCE),
            answer => break answer,
        }
    };
    assert_eq!(last.text(), TIMEOUT);
    assert!(began.elapsed() >= Duration::from_millis(450));
    assert!(idle.is_closed());
    assert_eq!(client(&gateway).submit("c@test", "d@test", CONTENT).code, 250);
}

#[test]
fn who_drips_a_message_gives_its_connection_back() {
    let sink = Sink::good();
    for begin in ["DATA\r\n", "BDAT 1000000 LAST\r\n"] {
        let gateway = started(&sink, &format!("{ONE}message_deadline = \"500ms\""));
        let (mut slow, mut other) = (client(&gateway), client(&gateway));
        slow.begin();
        slow.send(begin.as_bytes());
        if begin.starts_with("DATA") {
            assert_eq!(slow.answer().code, 354);
        }
        slow.drip(b"x", Duration::from_millis(20));
        assert_eq!(slow.answer().text(), TIMEOUT, "{begin}");
        assert_eq!(other.submit("c@test", "d@test", CONTENT).code, 250);
    }
    assert_eq!(sink.messages().len(), 2);
}

#[test]
fn a_backend_that_goes_while_the_client_thinks_leaves_room_for_others() {
    // The first connection is the one that asks.
    let sink = scripted(|moment| match (moment.connection, moment.command) {
        (1, command) if command.starts_with("RCPT") => Act::SayAndClose("250 2.1.5 Ok\r\n".into()),
        _ => Act::Well,
    });
    let gateway = started(&sink, ONE);
    let (mut first, mut other) = (client(&gateway), client(&gateway));
    first.begin();
    assert_eq!(other.submit("c@test", "d@test", CONTENT).code, 250);
    assert_eq!(first.say("DATA").code, 354);
    assert_eq!(first.say(&format!("{CONTENT}.")).code, 250);
    assert_eq!(sink.messages().len(), 2);

    let sink = scripted(|moment| match (moment.connection, moment.command) {
        (1, "DATA") => Act::SayAndClose("354 Go on\r\n421 4.3.2 Not now\r\n".into()),
        _ => Act::Well,
    });
    let gateway = started(&sink, ONE);
    let (mut first, mut other) = (client(&gateway), client(&gateway));
    first.begin();
    assert_eq!(first.say("DATA").code, 354);
    assert_eq!(other.submit("c@test", "d@test", CONTENT).code, 250);
    assert_eq!(first.say(&format!("{CONTENT}.")).text(), "451 4.3.2 Not now");
    assert_eq!(first.submit("a@test", "b@test", CONTENT).code, 250);
}

#[test]
fn what_came_of_a_message_goes_on_while_the_client_pauses() {
    let sink = Sink::good();
    goes_on(&started(&sink, ONE), &sink);
    let (gateway, sink) = encrypted(&Authority::new(), Settings::default());
    goes_on(&gateway, &sink);
}

fn goes_on(gateway: &Gateway, sink: &Sink) {
    let mut client = client(gateway);
    client.begin();
    assert_eq!(client.say("DATA").code, 354);
    let size = || sink.reads().iter().sum::<usize>();
    let before = size();
    client.send(format!("{CONTENT}{CONTENT}").as_bytes());
    let began = Instant::now();
    while size() < before + 2 * CONTENT.len() {
        assert!(began.elapsed() < PATIENCE, "it never came");
        std::thread::yield_now();
    }
    assert_eq!(sink.messages(), []);
    assert_eq!(client.say("rest\r\n.").code, 250);
    let message = sink.messages().pop().unwrap();
    assert!(message.content.ends_with(format!("{CONTENT}{CONTENT}rest\r\n").as_bytes()));
}

#[test]
fn what_is_said_before_the_end_of_a_message_is_no_answer_to_it() {
    let cases = [
        ("354 Go on\r\n250 2.0.0 Ok\r\n", "451 4.4.2 The backend was lost, try again"),
        ("354 Go on\r\n552 5.3.4 Too long\r\n", "552 5.3.4 Too long"),
        ("354 Go on\r\n450 4.3.0 Later\r\n", "450 4.3.0 Later"),
        ("354 Go on\r\n25", "451 4.4.2 The backend was lost, try again"),
    ];
    for (early, expected) in cases {
        let sink = scripted(move |moment| match moment.command {
            "DATA" => Act::Say(early.into()),
            "message" => say("554 5.6.0 Never"),
            _ => Act::Well,
        });
        let gateway = started(&sink, ONE);
        // With the content in the same packet as the command, and long after it.
        for at_once in [true, false] {
            let mut client = client(&gateway);
            client.begin();
            if at_once {
                client.send(format!("DATA\r\n{CONTENT}.\r\n").as_bytes());
                assert_eq!(client.answer().code, 354);
            } else {
                assert_eq!(client.say("DATA").code, 354);
                client.send(format!("{CONTENT}.\r\n").as_bytes());
            }
            assert_eq!(client.answer().text(), expected, "{early:?}");
        }
    }
    // And through TLS.
    let (gateway, sink) = encrypted(
        &Authority::new(),
        Settings::scripted(|moment| match moment.command {
            "DATA" => Act::Say("354 Go on\r\n250 2.0.0 Ok\r\n".into()),
            _ => Act::Well,
        }),
    );
    let answer = client(&gateway).submit("a@test", "b@test", CONTENT);
    assert_eq!(answer.text(), "451 4.4.2 The backend was lost, try again");
    assert_eq!(sink.messages(), []);
    // The same with chunks: the answer to the first is followed by one to the second, which comes later.
    let sink = scripted(move |moment| match moment.command {
        "BDAT" => Act::Well,
        command if command.starts_with("BDAT") => Act::Say("250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n".into()),
        "message" => say("554 5.6.0 Never"),
        _ => Act::Well,
    });
    let gateway = started(&sink, ONE);
    let mut client = client(&gateway);
    client.begin();
    client.send(b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 3 LAST\r\nx\r\n");
    assert_eq!(client.answer().code, 250);
    assert_eq!(client.answer().text(), "451 4.4.2 The backend was lost, try again");
    assert_eq!(sink.messages(), []);
}

#[test]
fn a_backend_that_takes_no_more_connections_is_waited_for() {
    let full = |moment: &Moment<'_>| match (moment.connection, moment.command) {
        (2.., "connect") => Act::SayAndClose("421 4.7.0 Too many connections\r\n".into()),
        _ => Act::Well,
    };
    let sink = scripted(full);
    let gateway = started(&sink, "health_interval = \"1h\"");
    let (mut first, mut second) = (client(&gateway), client(&gateway));
    first.begin();
    second.send(b"MAIL FROM:<c@test>\r\nRCPT TO:<d@test>\r\n");
    sink.wait_for_connections(3);
    assert!(second.hears_nothing_for(Duration::from_millis(50)));
    assert_eq!(first.say("RSET").code, 250);
    assert_eq!([0; 2].map(|_| second.answer().code), [250; 2]);
    assert_eq!(second.say("DATA").code, 354);
    assert_eq!(second.say(&format!("{CONTENT}.")).code, 250);
    assert_eq!(first.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(sink.connections(), 3);
}
