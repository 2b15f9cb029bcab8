//! Whatever is sent as a message, a backend never sees two where one was sent, and never a command out of a body: be it
//! strict, or one that takes a dot between line ends of any kind for an end.

use crate::common::Gateway;
use crate::common::mail::{Client, JOE, smtp};
use crate::common::sink::{Settings, Sink};

const SMUGGLED: &str =
    "MAIL FROM:<smuggled@test>\r\nRCPT TO:<victim@test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n";

/// All that published tools put where an end could be seen, and the rest of the same kind.
fn ends() -> Vec<String> {
    let parts = ["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\0", "\0\r\n", "\r\0\n", "\n\0"];
    let mut ends = Vec::new();
    for before in parts {
        for dot in [".", "..", "\0.", ".\0"] {
            for after in parts {
                let end = format!("{before}{dot}{after}");
                if !end.contains("\r\n.\r\n") {
                    ends.push(end);
                }
            }
        }
    }
    ends.extend(
        [
            "\r\n.\r\r\n",
            "\n.\r",
            "\r.\n",
            "\r\n. \r\n",
            "\r\n.\t\r\n",
            "\r\n\x0b.\r\n",
            "\u{85}.\u{85}",
            "\u{2028}.\u{2028}",
        ]
        .map(str::to_owned),
    );
    ends
}

fn started(lenient: bool) -> (Gateway, Sink) {
    started_with(lenient, "refuse")
}

fn started_with(lenient: bool, bare_newline: &str) -> (Gateway, Sink) {
    let sink = Sink::start(Settings { lenient, ..Settings::default() });
    let keys = format!(
        "identity = [\"header\"]\nmax_messages = 100000\nmax_errors = 100000\nbare_newline = \"{bare_newline}\"\n"
    );
    let gateway = Gateway::start(&smtp(&[sink.address], &keys));
    gateway.account("email").credential(JOE, "email");
    (gateway, sink)
}

fn begin(client: &mut Client, from: usize) {
    assert_eq!(client.say(&format!("MAIL FROM:<m{from}@test>")).code, 250);
    assert_eq!(client.say("RCPT TO:<b@test>").code, 250);
}

/// Nobody smuggled anything, and what was accepted is what is there.
fn check(sink: &Sink, accepted: &[usize]) {
    let messages = sink.messages();
    let from: Vec<String> = messages.iter().map(|message| message.mail.clone()).collect();
    let expected: Vec<String> = accepted.iter().map(|number| format!("<m{number}@test>")).collect();
    assert_eq!(from, expected);
    for connection in 0..sink.connections() {
        let commands = sink.commands(connection);
        assert!(
            !commands.iter().any(|command| command.contains("smuggled") || command.contains("victim")),
            "{commands:?}"
        );
    }
    for message in messages {
        let content = String::from_utf8_lossy(&message.content).into_owned();
        let header = content.split("\r\n\r\n").next().unwrap();
        assert_eq!(header.matches("X-Gatepost-User:").count(), 1, "{header}");
    }
}

fn by_data(lenient: bool) {
    let (gateway, sink) = started(lenient);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    let mut accepted = Vec::new();
    for (number, end) in ends().iter().enumerate() {
        begin(&mut client, number);
        assert_eq!(client.say("DATA").code, 354);
        // A part of the smuggled text may be left in the input as commands of the client's own: there is none, as the message
        // ends where the strict end is.
        let text = format!("Subject: x\r\n\r\nbody{end}{}", SMUGGLED.trim_end_matches(".\r\n"));
        client.send(text.as_bytes());
        client.send(b"\r\n.\r\n");
        let answer = client.answer();
        let blank = end.contains(". ") || end.contains(".\t");
        let harmless = !blank && !end.contains('\0') && !end.replace("\r\n", "").contains(['\r', '\n']);
        assert_eq!(answer.code, if harmless { 250 } else { 550 }, "{end:?}: {answer:?}");
        if harmless {
            accepted.push(number);
        }
    }
    assert_eq!(client.say("NOOP").code, 250);
    assert!(accepted.len() > 3);
    check(&sink, &accepted);
}

/// Each payload is one message where it is accepted, and only a NUL is refused.
fn by_data_normalized(lenient: bool) {
    let (gateway, sink) = started_with(lenient, "normalize");
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    let mut accepted = Vec::new();
    for (number, end) in ends().iter().enumerate() {
        for cut in [0, end.len() / 2, end.len()] {
            begin(&mut client, number);
            assert_eq!(client.say("DATA").code, 354);
            let text = format!("Subject: x\r\n\r\nbody{end}{}", SMUGGLED.trim_end_matches(".\r\n"));
            let (one, other) = text.as_bytes().split_at("Subject: x\r\n\r\nbody".len() + cut);
            client.send(one);
            client.send(other);
            client.send(b"\r\n.\r\n");
            let answer = client.answer();
            assert_eq!(answer.code, if end.contains('\0') { 550 } else { 250 }, "{end:?}: {answer:?}");
            if end.contains('\0') {
                continue;
            }
            accepted.push(number);
            let content = sink.messages().pop().unwrap().content;
            let text = String::from_utf8(content).unwrap().replace("\r\n", "");
            assert!(!text.contains(['\r', '\n']), "{end:?}: {text:?}");
        }
    }
    assert_eq!(client.say("NOOP").code, 250);
    assert!(accepted.len() > 100);
    check(&sink, &accepted);
}

// Case D5: where line ends are normalized, each payload is one message, too.
#[test]
fn by_data_to_a_strict_backend_with_normalized_line_ends() {
    by_data_normalized(false);
}

// Case D5: the same for a backend that takes more for an end.
#[test]
fn by_data_to_a_lenient_backend_with_normalized_line_ends() {
    by_data_normalized(true);
}

// Case D5: what hides an end where line ends are normalized hides none.
#[test]
fn a_line_end_within_the_end_of_a_line_makes_no_second_message() {
    for lenient in [false, true] {
        let (gateway, sink) = started_with(lenient, "normalize");
        let mut client = Client::login(gateway.address("smtp.listen"), JOE);
        // What follows the end is commands, of the client's own session and no more.
        for (number, end) in ["\r\r\n.\r\n", "\n\r\n.\r\n", "\n.\r\n.\r\n"].iter().enumerate() {
            begin(&mut client, number);
            assert_eq!(client.say("DATA").code, 354);
            client.send(format!("Subject: x\r\n\r\nbody{end}NOOP\r\n").as_bytes());
            assert_eq!([client.answer().code, client.answer().code], [250, 250], "{end:?}");
        }
        check(&sink, &[0, 1, 2]);
    }
}

#[test]
fn by_bdat() {
    let (gateway, sink) = started(false);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    let mut accepted = Vec::new();
    for (number, end) in ends().iter().enumerate() {
        let text = format!("Subject: x\r\n\r\nbody{end}{SMUGGLED}");
        for cut in [0, 12, 17, 20] {
            begin(&mut client, accepted.len());
            let (first, last) = text.split_at(if text.is_char_boundary(cut) { cut } else { 0 });
            client.send(format!("BDAT {}\r\n{first}", first.len()).as_bytes());
            assert_eq!(client.answer().code, 250, "{end:?}");
            client.send(format!("BDAT {} LAST\r\n{last}", last.len()).as_bytes());
            assert_eq!(client.answer().code, 250, "{end:?}");
            let message = sink.messages().pop().unwrap();
            assert!(message.content.ends_with(text.as_bytes()), "{number} {end:?}");
            accepted.push(accepted.len());
        }
    }
    check(&sink, &accepted);
}

#[test]
fn by_data_to_a_strict_backend() {
    by_data(false);
}

#[test]
fn by_data_to_a_lenient_backend() {
    by_data(true);
}

/// Proves that the lenient sink is lenient: without a gateway, each of these ends a message.
#[test]
fn a_lenient_backend_is_one() {
    let sink = Sink::start(Settings { lenient: true, ..Settings::default() });
    let ends = ["\n.\n", "\r.\r", "\r\n.\0\r\n", "\r.\n", "\n.\r\n"];
    for (number, end) in ends.iter().enumerate() {
        let mut client = Client::hello(sink.address);
        begin(&mut client, number);
        assert_eq!(client.say("DATA").code, 354);
        client.send(format!("x{end}NOOP\r\n").as_bytes());
        assert_eq!([client.answer().code, client.answer().code], [250, 250], "{end:?}");
    }
    assert_eq!(sink.messages().len(), ends.len());
}

#[test]
fn nothing_is_written_into_our_own_header() {
    let (gateway, sink) = started(false);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    for (number, start) in [" root", "\troot", "\0 root", "\r root", "\n root"].iter().enumerate() {
        let text = format!("{start}\r\nSubject: x\r\n");
        for chunked in [false, true] {
            if !chunked && number > 1 {
                continue;
            }
            begin(&mut client, number);
            if chunked {
                let (one, other) = text.split_at(1);
                client.send(format!("BDAT 1\r\n{one}BDAT {} LAST\r\n{other}", other.len()).as_bytes());
                assert_eq!(client.answer().code, 250);
            } else {
                assert_eq!(client.say("DATA").code, 354);
                client.send(format!("{text}.\r\n").as_bytes());
            }
            assert_eq!(client.answer().code, 250);
            let content = String::from_utf8(sink.messages().pop().unwrap().content).unwrap();
            let (header, body) = content.split_once("\r\n\r\n").unwrap();
            assert!(header.ends_with("\r\nX-Gatepost-User: joe"), "{content:?}");
            assert_eq!(body.trim_end(), text.trim_end(), "{content:?}");
        }
    }
}

#[test]
fn a_message_that_stops_in_the_middle_is_none() {
    for bare_newline in ["refuse", "normalize"] {
        stops_in_the_middle(bare_newline);
    }
}

fn stops_in_the_middle(bare_newline: &str) {
    let (gateway, sink) = started_with(true, bare_newline);
    for rest in ["body", "body\r", "body\r\n", "body\r\n.", "body\r\n.\r", "body\n.\n", "\n"] {
        let mut client = Client::login(gateway.address("smtp.listen"), JOE);
        begin(&mut client, 0);
        assert_eq!(client.say("DATA").code, 354);
        client.send(format!("Subject: x\r\n\r\n{rest}").as_bytes());
        drop(client);
    }
    sink.wait_until_idle();
    assert!(sink.messages().is_empty(), "{:?}", sink.messages());
}

#[test]
fn long_lines_and_all_bytes_pass_unchanged() {
    let (gateway, sink) = started(false);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    begin(&mut client, 0);
    assert_eq!(client.say("DATA").code, 354);
    let bytes: Vec<u8> = (1..=255).filter(|b| !b"\r\n".contains(b)).collect();
    let text = [b"Subject: x\r\n\r\n".to_vec(), bytes.repeat(400), b"\r\n..\r\n.x\r\n".to_vec()].concat();
    client.send(&text);
    client.send(b".\r\n");
    assert_eq!(client.answer().code, 250);
    let content = &sink.messages()[0].content;
    assert!(content.ends_with(&text));
}
