//! What a client sends as a message is what the backend gets behind the header that is ours, whatever it ends with and however it
//! is cut: by DATA and by BDAT, to the last empty line.

use crate::common::Gateway;
use crate::common::mail::{Client, JOE, smtp};
use crate::common::sink::{Settings, Sink};

/// The pieces of a message. A dot at the beginning of a line is stuffed.
const PARTS: [&str; 4] = ["\r\n", "x", ".", "Subject: s\r\n\r\n"];

/// All contents of up to five parts that end as DATA can have it: empty, or in a CR LF.
fn contents() -> Vec<String> {
    let (mut contents, mut longest) = (vec![String::new()], vec![String::new()]);
    for _ in 0..4 {
        longest = longest.iter().flat_map(|before| PARTS.map(|part| format!("{before}{part}"))).collect();
        contents.extend(longest.iter().map(|content| format!("{content}\r\n")));
    }
    contents.sort();
    contents.dedup();
    contents
}

/// As DATA has it: a dot more where a line begins with one.
fn stuffed(content: &str) -> String {
    let stuffed = content.replace("\r\n.", "\r\n..");
    if stuffed.starts_with('.') { format!(".{stuffed}") } else { stuffed }
}

fn started() -> (Gateway, Sink) {
    let sink = Sink::start(Settings::default());
    let gateway = Gateway::start(&smtp(&[sink.address], "max_messages = 1000000"));
    gateway.account("email").credential(JOE, "email");
    (gateway, sink)
}

/// The message as it arrived, without the header that the gateway adds, which ends with the line that has the time.
fn behind_ours(content: &[u8]) -> &str {
    let content = std::str::from_utf8(content).unwrap();
    assert!(content.starts_with("Received: from "), "{content:?}");
    let mut end = content.find("\r\n").unwrap() + 2;
    while content[end..].starts_with([' ', '\t']) {
        end += content[end..].find("\r\n").unwrap() + 2;
    }
    &content[end..]
}

#[test]
fn by_data() {
    let (gateway, sink) = started();
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    let mut expected = Vec::new();
    for content in contents() {
        let stuffed = stuffed(&content);
        let whole = format!("{stuffed}.\r\n");
        // In one, and cut where it matters most: somewhere in the end, or in what looks like one.
        for cut in [0, whole.len().saturating_sub(1 + expected.len() % 7), expected.len() % whole.len()] {
            client.send(b"MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nDATA\r\n");
            assert_eq!([0; 3].map(|_| client.answer().code), [250, 250, 354]);
            client.send(&whole.as_bytes()[..cut]);
            client.send(&whole.as_bytes()[cut..]);
            assert_eq!(client.answer().code, 250, "{content:?}");
            expected.push(stuffed.clone());
        }
    }
    compare(&sink, &expected);
}

#[test]
fn by_bdat() {
    let (gateway, sink) = started();
    sink.wait_for_command("QUIT");
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    let mut expected = Vec::new();
    for content in contents() {
        // Nothing has to be at its end here.
        for content in [content.as_str(), content.trim_end_matches("\r\n")] {
            let cut = expected.len() % (content.len() + 1);
            let (first, last) = content.split_at(cut);
            client.send(b"MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\n");
            client.send(
                format!("BDAT {}\r\n{first}BDAT {} LAST\r\n{last}", first.len(), last.len()).as_bytes(),
            );
            assert_eq!([0; 4].map(|_| client.answer().code), [250; 4], "{content:?}");
            expected.push(content.to_owned());
        }
    }
    compare(&sink, &expected);
}

fn compare(sink: &Sink, expected: &[String]) {
    let messages = sink.messages();
    assert_eq!(messages.len(), expected.len());
    for (message, expected) in messages.iter().zip(expected) {
        assert_eq!(behind_ours(&message.content), expected);
    }
}
