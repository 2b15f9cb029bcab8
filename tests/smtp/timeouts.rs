//! Mail clients and backends that take too long: each is waited for as long as it is configured, and no longer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::common::mail::{Client, JOE, NAME, plain, secured, wait_for_metric};
use crate::common::sink::{Act, Settings, Sink};
use crate::common::tls::Authority;
use crate::common::{Gateway, PATIENCE};

const SHORT: Duration = Duration::from_millis(400);
const PACE: Duration = Duration::from_millis(20);
const TIMES: &str = "gatepost_smtp_limits_total{limit=\"time\"}";
const TIMEOUT: &str = "421 4.4.2 Timeout, closing connection";

fn started(upstream: String, keys: &str) -> Gateway {
    let gateway = secured(&Authority::new(), &[upstream], keys, "");
    gateway.account("email").credential(JOE, "email");
    gateway
}

fn client(gateway: &Gateway) -> Client {
    Client::login(gateway.address("smtp.listen"), JOE)
}

/// Not before its time, and not long after it.
fn in_time(began: Instant, time: Duration) {
    let took = began.elapsed();
    assert!(took >= time * 9 / 10 && took < time + PATIENCE / 3, "{took:?} instead of {time:?}");
}

/// The client is told so, in time, and its connection is closed.
fn is_timed_out(client: &mut Client, began: Instant) {
    assert_eq!(client.answer().text(), TIMEOUT);
    in_time(began, SHORT);
    assert!(client.is_closed());
}

#[test]
fn the_next_command_is_waited_for_no_longer_than_that() {
    let sink = Sink::good();
    let gateway = started(sink.url(), "command_timeout = \"400ms\"");
    let address = gateway.address("smtp.listen");
    let auth = plain(JOE);
    let stages: [&[&str]; 7] = [
        &[],
        &["EHLO x"],
        &["EHLO x", "AUTH LOGIN"],
        &["EHLO x", &auth],
        &["EHLO x", &auth, "MAIL FROM:<a@test>"],
        &["EHLO x", &auth, "MAIL FROM:<a@test>", "RCPT TO:<b@test>"],
        &["EHLO x", &auth, "MAIL FROM:<a@test>", "RCPT TO:<b@test>", "RSET"],
    ];
    for stage in stages {
        for half in ["", "NOO"] {
            let mut client = Client::open(address);
            for line in stage {
                assert!(client.say(line).code < 400, "{line}");
            }
            let began = Instant::now();
            client.send(half.as_bytes());
            is_timed_out(&mut client, began);
        }
    }
    wait_for_metric(&gateway, TIMES, 14);
    wait_for_metric(&gateway, "gatepost_smtp_sessions", 0);
    assert_eq!(sink.messages(), []);
}

#[test]
fn who_drips_a_command_gets_no_more_time_for_it() {
    let sink = Sink::good();
    let gateway = started(sink.url(), "command_timeout = \"400ms\"");
    for stage in ["NOOP", "AUTH LOGIN"] {
        let mut client = Client::hello(gateway.address("smtp.listen"));
        client.say(stage);
        let began = Instant::now();
        client.drip(b"x", PACE);
        is_timed_out(&mut client, began);
    }
}

#[test]
fn who_drips_a_chunk_that_is_discarded_gets_no_more_time_than_for_a_command() {
    let sink = Sink::good();
    let gateway = started(sink.url(), "command_timeout = \"400ms\"");
    for code in [530, 503] {
        let mut client = match code {
            530 => Client::hello(gateway.address("smtp.listen")),
            _ => client(&gateway),
        };
        let began = Instant::now();
        client.send(b"BDAT 99999 LAST\r\n");
        client.drip(b"x", PACE);
        assert_eq!(client.answer().code, code);
        in_time(began, SHORT);
        assert!(client.is_closed());
    }
    wait_for_metric(&gateway, TIMES, 2);
}

#[test]
fn after_starttls_there_is_the_whole_time_again() {
    let sink = Sink::good();
    let authority = Authority::new();
    let gateway = secured(&authority, &[sink.url()], "command_timeout = \"1s\"", "");
    let mut client = Client::hello(gateway.address("smtp.listen"));
    // Most of the time is gone when the command comes, and again when the next one does.
    assert!(client.hears_nothing_for(Duration::from_millis(600)));
    assert_eq!(client.say("STARTTLS").code, 220);
    let mut client = client.encrypt(authority.client(&[]), NAME);
    client.handshake();
    assert!(client.hears_nothing_for(Duration::from_millis(600)));
    assert_eq!(client.say("EHLO client.test").code, 250);
}

#[test]
fn a_message_may_not_pause_for_longer_than_that() {
    let sink = Sink::good();
    let gateway = started(sink.url(), "data_timeout = \"400ms\"");
    for piece in ["", "Subject: x\r\n", "Subject: x\r\n\r\nbody\r\n.", "Subject: x\r\n\r\nbody"] {
        let mut client = client(&gateway);
        client.begin();
        assert_eq!(client.say("DATA").code, 354);
        let began = Instant::now();
        client.send(piece.as_bytes());
        is_timed_out(&mut client, began);
    }
    for (command, code) in [("BDAT 6 LAST\r\nabc", 0), ("BDAT 3\r\nabc", 250)] {
        let mut client = client(&gateway);
        client.begin();
        let began = Instant::now();
        client.send(command.as_bytes());
        if code != 0 {
            assert_eq!(client.answer().code, code);
        }
        is_timed_out(&mut client, began);
    }
    wait_for_metric(&gateway, "gatepost_smtp_messages_total{outcome=\"aborted\"}", 6);
    assert_eq!(sink.messages(), []);
}

#[test]
fn a_message_that_nobody_gets_has_no_more_time_than_others() {
    let sink = Sink::good();
    let gateway = started(sink.url(), "message_deadline = \"400ms\"\nmax_message = \"64KiB\"");
    let large = "x".repeat(66_000);
    for begin in ["DATA\r\n", "BDAT 1000000 LAST\r\n"] {
        // It ends a line otherwise than by CR LF, which a chunk may; it loops; it is too large.
        for (doom, reason) in [
            ("a\nb".to_owned(), "550 5.6.0 Lines must end in CR LF"),
            ("Received: x\r\n".repeat(101), "554 5.4.6 Too many hops"),
            (large.clone(), "552 5.3.4 Message too large"),
        ] {
            let mut client = client(&gateway);
            client.begin();
            let began = Instant::now();
            client.send(begin.as_bytes());
            if begin.starts_with("DATA") {
                assert_eq!(client.answer().code, 354);
            }
            client.send(doom.as_bytes());
            client.drip(b"x", PACE);
            // A chunk may contain a lone LF.
            let reason = if begin.starts_with("BDAT") && doom == "a\nb" { TIMEOUT } else { reason };
            let answer = client.answer().text();
            assert!(answer.starts_with(reason), "{answer}");
            in_time(began, SHORT);
            assert!(client.is_closed());
        }
    }
    wait_for_metric(&gateway, "gatepost_smtp_messages_total{outcome=\"refused\"}", 5);
    wait_for_metric(&gateway, TIMES, 6);
    assert_eq!(sink.messages(), []);
}

#[test]
fn a_session_ends_whatever_drips() {
    let sink = Sink::good();
    // Long enough for a dialog on a busy machine.
    let deadline = Duration::from_secs(3);
    let gateway = started(sink.url(), "session_deadline = \"3s\"\ndata_timeout = \"2s\"");
    let began = Instant::now();
    let mut commands = client(&gateway);
    let commands = std::thread::spawn(move || {
        loop {
            let answer = commands.say("NOOP");
            if answer.code != 250 {
                assert_eq!(answer.text(), TIMEOUT);
                assert!(commands.is_closed());
                return;
            }
        }
    });
    let mut message = client(&gateway);
    message.begin();
    assert_eq!(message.say("DATA").code, 354);
    // The pauses are short enough.
    message.drip(b"x", PACE);
    assert_eq!(message.answer().text(), TIMEOUT);
    assert!(message.is_closed());
    commands.join().unwrap();
    in_time(began, deadline);
    wait_for_metric(&gateway, "gatepost_smtp_messages_total{outcome=\"aborted\"}", 1);
    assert_eq!(sink.messages(), []);
}

#[test]
fn who_reads_no_replies_is_left_and_costs_little() {
    const CLIENTS: usize = 50;
    let sink = Sink::good();
    let gateway = started(sink.url(), "command_timeout = \"1s\"");
    let lines = b"HELP\r\n".repeat(10_000);
    // What is made once is made by one that reads.
    let mut reading = Client::hello(gateway.address("smtp.listen"));
    reading.send(&lines[..6000]);
    for _ in 0..1000 {
        assert_eq!(reading.answer().code, 214);
    }
    let before = gateway.peak_memory();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut stream = Client::hello(gateway.address("smtp.listen")).into_stream();
            let lines = &lines;
            scope.spawn(move || {
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                let began = Instant::now();
                // Until the gateway closes: what it can't answer, it doesn't read.
                while stream.write_all(lines).is_ok() {
                    assert!(began.elapsed() < PATIENCE, "somebody reads all that");
                }
            });
        }
    });
    let grown = gateway.peak_memory() - before;
    assert!(grown <= CLIENTS * (128 << 10), "{grown} bytes more");
    // The one that reads has had its time by now.
    wait_for_metric(&gateway, TIMES, CLIENTS as u64 + 1);
}

#[test]
fn a_handshake_that_hangs_ends() {
    let sink = Sink::good();
    let gateway = started(sink.url(), "command_timeout = \"400ms\"");
    // The beginning of a ClientHello that announces more.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for half in [&b""[..], hello] {
        for implicit in [false, true] {
            let key = if implicit { "smtp.tls_listen" } else { "smtp.listen" };
            let began;
            let mut stream = if implicit {
                began = Instant::now();
                TcpStream::connect(gateway.address(key)).unwrap()
            } else {
                let mut client = Client::hello(gateway.address(key));
                began = Instant::now();
                assert_eq!(client.say("STARTTLS").code, 220);
                client.into_stream()
            };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(half).unwrap();
            let mut rest = Vec::new();
            // With what was sent unread, the end is a reset.
            let _ = stream.read_to_end(&mut rest);
            in_time(began, SHORT);
            assert!(rest.is_empty(), "{rest:?}");
        }
    }
    wait_for_metric(&gateway, TIMES, 4);
    wait_for_metric(&gateway, "gatepost_smtp_sessions", 0);
}

#[test]
fn a_stop_waits_for_no_mail_client_that_says_or_hears_nothing() {
    let (sink, authority) = (Sink::good(), Authority::new());
    let keys = "proxy_protocol = true\n";
    let server = "[server]\nthreads = 2\nshutdown_deadline = \"10m\"\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let mut gateway = secured(&authority, &[sink.url()], keys, server);
    let proxied = |key| {
        let mut client = Client::connect(gateway.address(key));
        client.send(b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 25\r\n");
        client
    };
    // A proxy that doesn't say whom it forwards, and clients that begin no TLS, from the first byte on or after STARTTLS.
    let _silent = [Client::connect(gateway.address("smtp.listen")), proxied("smtp.tls_listen")];
    let mut in_clear = proxied("smtp.listen");
    for (line, code) in [("EHLO client.test", 250), ("STARTTLS", 220)] {
        if code == 250 {
            assert_eq!(in_clear.answer().code, 220);
        }
        assert_eq!(in_clear.say(line).code, code);
    }
    // One that hears nothing of what it asks, until it isn't listened to any more.
    let mut deaf = proxied("smtp.listen").into_stream();
    deaf.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    while deaf.write_all(&b"HELP\r\n".repeat(10_000)).is_ok() {}
    // What was connected before this one is with the gateway.
    let mut later = proxied("smtp.tls_listen").encrypt(authority.client(&[]), NAME);
    assert_eq!(later.answer().code, 220);
    let asked = Instant::now();
    gateway.signal("TERM");
    assert!(later.answer().text().starts_with("421 4.3.2 "));
    assert_eq!(gateway.wait(), Some(0));
    // 5 s are for the one that may yet hear.
    assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
    assert!(!gateway.log().text().contains("shutdown deadline passed"));
}

/// The reply that a client gets for a backend that hangs at `stage`.
fn hung(client: &mut Client, message: &[u8]) -> (String, Duration) {
    let began = Instant::now();
    for line in ["MAIL FROM:<a@test>", "RCPT TO:<b@test>", "DATA"] {
        let answer = client.say(line);
        if answer.code >= 400 {
            return (answer.text(), began.elapsed());
        }
    }
    client.send(message);
    client.send(b"\r\n.\r\n");
    (client.answer().text(), began.elapsed())
}

#[test]
fn a_backend_that_hangs_is_left_and_the_client_is_told() {
    // What lies in the buffers between here and there is less than this.
    let large =
        b"Subject: x\r\n\r\n".iter().copied().chain(b"0123456789\r\n".repeat(2_000_000)).collect::<Vec<_>>();
    let cases = [
        ("connect", "connect_timeout", "451 4.4.1 "),
        ("EHLO", "connect_timeout", "451 4.4.1 "),
        ("AUTH", "connect_timeout", "451 4.4.1 "),
        ("XCLIENT", "command_timeout", "451 4.4.1 "),
        ("MAIL", "command_timeout", "451 4.4.1 "),
        ("RCPT", "command_timeout", "451 4.4.1 "),
        ("DATA", "command_timeout", "451 4.4.1 "),
        ("content", "data_timeout", "451 4.4.2 "),
        ("message", "data_timeout", "451 4.4.2 "),
    ];
    std::thread::scope(|scope| {
        for (stage, key, answer) in cases {
            let large = &large;
            scope.spawn(move || {
                let mut settings = Settings::scripted(move |moment| match moment.command.starts_with(stage) {
                    true => Act::Hang,
                    false => Act::Well,
                });
                settings.extensions.extend(["AUTH PLAIN", "XCLIENT LOGIN ADDR"]);
                let sink = Sink::start(settings);
                let keys = format!(
                    "{key} = \"400ms\"\nmax_message = \"64MiB\"\nidentity = [\"xclient\"]\n\
                     upstream_user = \"gate\"\nupstream_password_file = \"DIR/password\"\nhealth_interval = \"1h\""
                );
                let gateway = with_password(sink.url(), &keys);
                let mut client = client(&gateway);
                let message = if stage == "content" { &large[..] } else { b"Subject: x\r\n\r\nbody" };
                let (text, took) = hung(&mut client, message);
                assert!(text.starts_with(answer), "{stage}: {text}");
                assert!(took >= SHORT * 9 / 10 && took < PATIENCE / 2, "{stage}: {took:?}");
                // The session goes on.
                assert_eq!(client.say("RSET").code, 250, "{stage}");
                assert_eq!(sink.messages(), [], "{stage}");
            });
        }
    });
}

fn with_password(upstream: String, keys: &str) -> Gateway {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "gate-passw0rd\n").unwrap();
    started(upstream, &keys.replace("DIR/password", &password.path().display().to_string()))
}

#[test]
fn a_backend_that_says_nothing_before_or_in_tls_is_left() {
    // Its kernel takes connections, and nobody ever reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    for scheme in ["smtp", "smtps", "smtp+starttls"] {
        let keys = "connect_timeout = \"400ms\"\nupstream_ca = \"DIR/ca.pem\"\nhealth_interval = \"1h\"";
        let gateway = started(format!("{scheme}://{address}"), keys);
        let (text, took) = hung(&mut client(&gateway), b"x");
        assert!(text.starts_with("451 4.4.1 "), "{scheme}: {text}");
        assert!(took >= SHORT * 9 / 10 && took < PATIENCE / 2, "{scheme}: {took:?}");
    }
}
