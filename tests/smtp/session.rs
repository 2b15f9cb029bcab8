//! The pure SMTP session: any split of the input gives the same replies, and whatever a client says, a backend sees valid
//! transactions of a credential with the permission, and nothing else.

use crate::common::driver::{Driver, RIGHT, Standing, authorised, run, settings};
use gatepost::wire::smtp::session::SessionSettings;
use proptest::prelude::*;

/// PLAIN of "joe" with the passwords "wrong" and "later".
const WRONG: &str = "AUTH PLAIN AGpvZQB3cm9uZw==\r\n";
const LATER: &str = "AUTH PLAIN AGpvZQBsYXRlcg==\r\n";

/// The content as it was sent, without what was put before it.
fn sent(content: &[u8]) -> String {
    let text = String::from_utf8(content.to_vec()).unwrap();
    let (ours, sent) = text.split_once("X-Gatepost-User: joe\r\n").unwrap_or((&text, ""));
    assert!(
        ours.starts_with("Received: from client.test ([192.0.2.1])\r\n\tby gatepost.test with ESMTPA id ")
    );
    sent.to_owned()
}

#[test]
fn a_message_goes_through() {
    let driver = run(&format!(
        "{}MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nRCPT TO:<bad@test>\r\nDATA\r\nSubject: x\r\n\r\n..y\r\n.\r\nQUIT\r\n",
        authorised()
    ));
    assert_eq!(driver.codes(), [220, 250, 235, 250, 250, 550, 354, 250, 221]);
    assert!(driver.closed);
    let [message] = &driver.delivered[..] else { panic!() };
    assert_eq!((message.mail.as_str(), message.rcpts.as_slice()), ("<a@test>", &["<b@test>".to_owned()][..]));
    assert_eq!(sent(&message.content), "Subject: x\r\n\r\n..y");
}

#[test]
fn chunks_go_through() {
    let driver = run(&format!(
        "{}MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nBDAT 5\r\nA: b\nBDAT 0\r\nBDAT 8 LAST\r\n\r\n.\r\nx\r.QUIT\r\n",
        authorised()
    ));
    assert_eq!(driver.codes(), [220, 250, 235, 250, 250, 250, 250, 250, 221]);
    let [message] = &driver.delivered[..] else { panic!() };
    assert!(message.chunked);
    assert_eq!(sent(&message.content), "A: b\n\r\n.\r\nx\r.");
}

#[test]
fn each_message_has_an_id_of_its_own() {
    let begin = "MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\n";
    let [data, chunk] =
        ["DATA\r\nx\r\n.\r\n", "BDAT 3 LAST\r\nx\r\n"].map(|message| format!("{begin}{message}"));
    let driver = run(&format!("{}{data}{chunk}{data}{chunk}", authorised()));
    let ids: std::collections::BTreeSet<_> = driver
        .delivered
        .iter()
        .map(|message| {
            let text = String::from_utf8(message.content.clone()).unwrap();
            text.split_once(" id ").unwrap().1.split(';').next().unwrap().to_owned()
        })
        .collect();
    let expected = [1, 2, 3, 4].map(|number| format!("0000000000000007.{number}"));
    assert_eq!(driver.delivered.len(), 4);
    assert!(ids.iter().eq(&expected), "{ids:?}");
}

#[test]
fn an_empty_message_is_one() {
    let driver = run(&format!(
        "{}MAIL FROM:<>\r\nRCPT TO:<b@test>\r\nDATA\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@test>\r\nBDAT 0 LAST\r\n",
        authorised()
    ));
    assert_eq!(driver.delivered.len(), 2);
    assert!(driver.delivered.iter().all(|message| message.content.starts_with(b"Received: ")));
}

#[test]
fn nobody_sends_without_a_login() {
    let rest = "MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nDATA\r\nBDAT 8 LAST\r\nDATA\r\n\r\nQUIT\r\n";
    assert_eq!(run(rest).codes(), [220, 503, 503, 503, 503, 221]);
    assert_eq!(run(&format!("EHLO x\r\n{rest}")).codes(), [220, 250, 530, 530, 530, 530, 221]);
    let driver = run(&format!("EHLO x\r\n{WRONG}{LATER}{rest}"));
    assert_eq!(driver.codes(), [220, 250, 535, 454, 530, 530, 530, 530, 221]);
    let mut strict = Driver::new(SessionSettings { require_tls: true, ..settings() });
    strict.feed(format!("EHLO x\r\n{RIGHT}{rest}").as_bytes());
    assert_eq!(strict.codes(), [220, 250, 538, 530, 530, 530, 530, 221]);
    assert!(!strict.text().contains("AUTH PLAIN"));
    assert!(strict.text().contains("530 5.7.0 Must issue a STARTTLS command first"));
}

#[test]
fn logins_in_all_shapes() {
    let shapes = [
        "AUTH PLAIN\r\nAGpvZQByaWdodA==\r\n",
        "AUTH LOGIN\r\nam9l\r\ncmlnaHQ=\r\n",
        "AUTH LOGIN am9l\r\ncmlnaHQ=\r\n",
        "auth login =\r\n*\r\nAUTH PLAIN AGpvZQByaWdodA==\r\n",
    ];
    for shape in shapes {
        let driver = run(&format!("EHLO x\r\n{shape}{RIGHT}MAIL FROM:<a@b>\r\n"));
        let codes = driver.codes();
        assert_eq!(codes[codes.len() - 3..], [235, 503, 250], "{shape}: {}", driver.text());
    }
    assert_eq!(run(RIGHT).codes(), [220, 503]);
    assert_eq!(run("EHLO x\r\nAUTH CRAM-MD5\r\n").codes(), [220, 250, 504]);
    let text = run(&format!("EHLO x\r\n{WRONG}{WRONG}{WRONG}NOOP\r\n")).text();
    assert!(
        text.contains(
            "535 5.7.8 Authentication failed: Bad username / password\r\n421 4.7.0 Too many failed"
        )
    );
    assert!(text.ends_with("closing connection\r\n"));
}

#[test]
fn tls_starts_over_and_takes_nothing_along() {
    let mut driver = run("EHLO x\r\nSTARTTLS\r\n");
    assert!(driver.tls_started);
    driver.feed(format!("{RIGHT}EHLO x\r\nSTARTTLS\r\n{RIGHT}MAIL FROM:<a@b>\r\n").as_bytes());
    assert_eq!(driver.codes(), [220, 250, 220, 503, 250, 503, 235, 250]);
    let driver = run("EHLO x\r\nSTARTTLS\r\nEHLO y\r\n");
    assert_eq!(driver.codes(), [220, 250, 554]);
    assert!(driver.closed && !driver.tls_started);
    let driver = run(&format!("{}STARTTLS\r\n", authorised()));
    assert_eq!(driver.codes(), [220, 250, 235, 503]);
}

#[test]
fn limits_hold() {
    let mut text = authorised() + "MAIL FROM:<a@b>\r\n";
    text += &"RCPT TO:<b@c>\r\n".repeat(6);
    let driver = run(&text);
    assert_eq!(driver.codes()[4..], [250, 250, 250, 250, 250, 452]);
    let one = "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\nx\r\n.\r\n";
    let driver = run(&(authorised() + &one.repeat(5)));
    assert_eq!(driver.codes().last(), Some(&421));
    assert_eq!(driver.delivered.len(), 4);
    let driver = run(&"NONSENSE\r\n".repeat(30));
    assert_eq!(driver.codes().len(), 1 + 20 + 1);
    assert!(driver.closed);
    let driver = run(&format!("EHLO x\r\nNOOP {}\r\nNOOP\nNOOP \0\r\nQUIT\r\n", "x".repeat(600)));
    assert_eq!(driver.codes(), [220, 250, 500, 500, 500, 221]);
}

#[test]
fn what_is_too_large_is_read_to_its_end() {
    let begin = authorised() + "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\n";
    let large = "x".repeat(99) + "\r\n";
    let driver = run(&format!("{begin}DATA\r\n{}.\r\nQUIT\r\n", large.repeat(1000)));
    assert_eq!(driver.codes()[5..], [354, 552, 221]);
    assert_eq!((driver.delivered.len(), driver.aborted), (0, 1));
    let driver = run(&format!("{begin}BDAT 100001 LAST\r\n{}QUIT\r\n", "x".repeat(100_001)));
    assert_eq!(driver.codes()[5..], [552, 221]);
    assert_eq!((driver.delivered.len(), driver.aborted), (0, 1));
    let driver = run(&format!("{}MAIL FROM:<a@b> SIZE=100001\r\nRCPT TO:<b@c>\r\n", authorised()));
    assert_eq!(driver.codes()[3..], [552, 503]);
}

#[test]
fn lone_line_ends_and_loops_deliver_nothing() {
    let begin = authorised() + "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n";
    for text in ["a\nb\r\n.\r\n", "a\r\n.\n.\r\n.\r\n", "a\rb\r\n.\r\n", "a\0\r\n.\r\n"] {
        let driver = run(&format!("{begin}{text}QUIT\r\n"));
        assert_eq!(driver.codes()[6..], [550, 221], "{text:?}");
        assert_eq!((driver.delivered.len(), driver.aborted), (0, 1), "{text:?}");
    }
    for (hops, code) in [(100, 250), (101, 554)] {
        let driver = run(&format!("{begin}{}\r\nx\r\n.\r\n", "Received: x\r\n".repeat(hops)));
        assert_eq!(driver.codes()[6..], [code], "{hops}");
    }
}

#[test]
fn nothing_is_written_into_our_own_header() {
    let begin = authorised() + "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\n";
    let by_data = [" root\r\nA: b\r\n", "\troot\r\n", "\x0b root\r\n"];
    let by_bdat = ["\0 root\r\n", "\r root\r\n", "\n root\r\n"];
    let data = by_data.map(|start| (start, format!("{begin}DATA\r\n{start}.\r\n")));
    let bdat = by_data.iter().chain(&by_bdat).map(|start| {
        let (one, other) = start.split_at(1);
        (*start, format!("{begin}BDAT 1\r\n{one}BDAT {} LAST\r\n{other}", other.len()))
    });
    for (start, text) in data.into_iter().chain(bdat) {
        let mut split = Driver::new(settings());
        text.as_bytes().iter().for_each(|byte| split.feed(&[*byte]));
        for driver in [run(&text), split] {
            let [message] = &driver.delivered[..] else { panic!("{}", driver.text()) };
            let sent = sent(&message.content);
            assert!(
                sent.starts_with("\r\n") && sent[2..].trim_end() == start.trim_end(),
                "{start:?}: {sent:?}"
            );
        }
    }
    let forged = "X-Gatepost-\0User: root\r\n";
    let driver = run(&format!("{begin}BDAT {} LAST\r\n{forged}\r\n", forged.len() + 2));
    assert_eq!(sent(&driver.delivered[0].content), "\r\n");
}

#[test]
fn failures_of_the_backend_are_told_at_the_end() {
    let begin = |from: &str| format!("{}MAIL FROM:<{from}>\r\nRCPT TO:<b@c>\r\n", authorised());
    let data = "DATA\r\nx\r\n.\r\nQUIT\r\n";
    assert_eq!(run(&(begin("lost@x") + data)).codes()[5..], [354, 451, 221]);
    assert_eq!(run(&(begin("late@x") + data)).codes()[5..], [354, 554, 221]);
    assert_eq!(run(&(begin("nodata@x") + "DATA\r\nQUIT\r\n")).codes()[5..], [451, 221]);
    assert_eq!(run(&(begin("refused@x") + "DATA\r\nQUIT\r\n")).codes()[3..], [550, 503, 503, 221]);
    let chunks = "BDAT 2\r\nx\nBDAT 2\r\ny\nBDAT 2 LAST\r\nz\nNOOP\r\nMAIL FROM:<a@b>\r\n";
    assert_eq!(run(&(begin("lost@x") + chunks)).codes()[5..], [451, 503, 503, 250, 250]);
}

#[test]
fn what_is_said_of_auth_is_not_passed_on() {
    let driver = run(&format!(
        "{}MAIL FROM:<a@b> AUTH=root@b SIZE=3 BODY=8BITMIME\r\nRCPT TO:<b@c> NOTIFY=NEVER\r\nDATA\r\nx\r\n.\r\n",
        authorised()
    ));
    assert_eq!(driver.delivered[0].mail, "<a@b> SIZE=3 BODY=8BITMIME");
    assert_eq!(driver.delivered[0].rcpts, ["<b@c> NOTIFY=NEVER"]);
}

fn commands() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "EHLO client.test\r\n",
        "EHLO client.test\r\n",
        "HELO client.test\r\n",
        RIGHT,
        RIGHT,
        WRONG,
        LATER,
        "AUTH LOGIN\r\n",
        "am9l\r\n",
        "cmlnaHQ=\r\n",
        "*\r\n",
        "MAIL FROM:<a@test>\r\n",
        "MAIL FROM:<a@test>\r\n",
        "MAIL FROM:<late@test> SIZE=10\r\n",
        "MAIL FROM:<lost@test>\r\n",
        "MAIL FROM:<refused@test>\r\n",
        "MAIL FROM:<nodata@test>\r\n",
        "MAIL FROM:<a@test> SIZE=999999\r\n",
        "RCPT TO:<b@test>\r\n",
        "RCPT TO:<b@test>\r\n",
        "RCPT TO:<bad@test>\r\n",
        "RCPT TO:<>\r\n",
        "DATA\r\n",
        "DATA\r\nSubject: x\r\n\r\nbody\r\n.\r\n",
        "DATA\r\nSubject: x\r\n\r\nbody\r\n.\r\n",
        "DATA\r\nX-Gatepost-User: root\r\n..\r\n.\r\n",
        "a\n.\r\n",
        ".\r\n",
        "\r\n.\r\nMAIL FROM:<b@test>\r\n",
        "BDAT 6\r\nab\r\ncd",
        "BDAT 6 LAST\r\nDATA\r\n",
        "BDAT 0 LAST\r\n",
        "BDAT x\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "VRFY joe\r\n",
        "HELP\r\n",
        "NONSENSE\r\n",
        "NOOP\n",
        "QUIT\r\n",
    ])
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Said(&'static str),
    Becomes(Standing),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => commands().prop_map(Event::Said),
        3 => Just(Event::Said(RIGHT)),
        2 => Just(Event::Said("EHLO client.test\r\n")),
        2 => Just(Event::Said("STARTTLS\r\n")),
        1 => prop::sample::select(vec![Standing::Good, Standing::Lacking, Standing::Gone]).prop_map(Event::Becomes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The driver panics where its backend is asked for what no backend may be asked for.
    #[test]
    fn any_commands_in_any_order_and_any_split(
        login in any::<bool>(),
        words in proptest::collection::vec(commands(), 0..30),
        cuts in proptest::collection::vec(0..1500_usize, 0..12),
    ) {
        let text = if login { authorised() } else { String::new() } + &words.concat();
        let whole = run(&text);
        let mut split = Driver::new(settings());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            split.feed(&text.as_bytes()[pair[0]..pair[1]]);
        }
        prop_assert_eq!(whole.text(), split.text());
        prop_assert_eq!(&whole.delivered, &split.delivered);
        prop_assert_eq!(whole.closed, split.closed);
        for message in &whole.delivered {
            let header = String::from_utf8_lossy(&message.content).into_owned();
            prop_assert_eq!(header.matches("X-Gatepost-User: ").count(), 1);
        }
    }

    /// The same with TLS among them, demanded or not, and with a credential that loses its right and gets it back, or is
    /// removed. Each word comes whole or byte by byte; STARTTLS comes alone, since nothing may come with it.
    #[test]
    fn any_commands_around_tls_and_a_revocation(
        require_tls in any::<bool>(),
        begin in prop::sample::select(vec!["", "EHLO x\r\nSTARTTLS\r\n", "EHLO x\r\n"]),
        events in proptest::collection::vec(events(), 0..40),
    ) {
        let mut drivers = [false, true].map(|_| Driver::new(SessionSettings { require_tls, ..settings() }));
        let mut before = Vec::new();
        for event in std::iter::once(Event::Said(begin)).chain(events) {
            match event {
                Event::Becomes(standing) => {
                    // Who was removed doesn't come back.
                    if drivers[0].standing == Standing::Gone {
                        continue;
                    }
                    before.clear();
                    for driver in &mut drivers {
                        driver.standing = standing;
                        // One that has begun may end.
                        before.push(driver.delivered.len() + usize::from(driver.session.is_receiving()));
                    }
                }
                Event::Said(word) => {
                    drivers[0].feed(word.as_bytes());
                    word.as_bytes().iter().for_each(|byte| drivers[1].feed(&[*byte]));
                }
            }
            for (driver, before) in drivers.iter().zip(&before) {
                if driver.standing == Standing::Gone {
                    prop_assert!(driver.delivered.len() <= *before);
                }
            }
        }
        for driver in &drivers {
            for message in &driver.delivered {
                let header = String::from_utf8_lossy(&message.content).into_owned();
                prop_assert!(!require_tls || driver.tls_started);
                prop_assert!(!driver.tls_started || !header.contains(" with ESMTPA id "), "{}", header);
            }
            if require_tls && !driver.tls_started {
                prop_assert!(!driver.codes().contains(&235));
            }
        }
        if drivers[0].standing != Standing::Gone {
            prop_assert_eq!(drivers[0].text(), drivers[1].text());
        }
        prop_assert_eq!(&drivers[0].delivered, &drivers[1].delivered);
        prop_assert_eq!(drivers[0].tls_started, drivers[1].tls_started);
    }

    #[test]
    fn no_bytes_panic(words in proptest::collection::vec("(\r\n|\n|\r|\0|[ -~]{0,6}|MAIL FROM:|RCPT TO:<|BDAT 3|AUTH |DATA\r\n)", 0..60)) {
        let text = authorised() + &words.concat();
        let whole = run(&text);
        let mut split = Driver::new(settings());
        for byte in text.as_bytes() {
            split.feed(&[*byte]);
        }
        prop_assert_eq!(whole.text(), split.text());
        prop_assert_eq!(&whole.delivered, &split.delivered);
    }
}
