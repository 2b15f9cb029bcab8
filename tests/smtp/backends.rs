//! Mail backends that misbehave, as a client behind the gateway sees them: it is told the truth.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::mail::{CONTENT, Client, JOE, section, smtp};
use crate::common::sink::{Act, Moment, Settings, Sink, say};
use crate::common::{Gateway, PATIENCE, configured, hosts, own_loopback};

fn started(sinks: &[&Sink], keys: &str) -> Gateway {
    let addresses: Vec<SocketAddr> = sinks.iter().map(|sink| sink.address).collect();
    let gateway = Gateway::start(&smtp(&addresses, keys));
    gateway.account("email,api,web").credential(JOE, "email");
    gateway
}

fn client(gateway: &Gateway) -> Client {
    Client::login(gateway.address("smtp.listen"), JOE)
}

fn bad(at: &'static str, act: Act) -> Sink {
    Sink::start(Settings::scripted(move |moment| match moment.command.starts_with(at) {
        true => act.clone(),
        false => Act::Well,
    }))
}

#[test]
fn each_recipient_is_answered_by_the_backend() {
    let sink = bad("RCPT TO:<two@test>", say("550 5.1.1 There is no two"));
    let gateway = started(&[&sink], "");
    let mut client = client(&gateway);
    client.say("MAIL FROM:<a@test> BODY=8BITMIME");
    assert_eq!(client.say("RCPT TO:<one@test> NOTIFY=NEVER").text(), "250 2.1.5 Ok");
    assert_eq!(client.say("RCPT TO:<two@test>").text(), "550 5.1.1 There is no two");
    assert_eq!(client.say("RCPT TO:<three@test>").code, 250);
    assert_eq!(client.say("DATA").code, 354);
    assert_eq!(client.say(&format!("{CONTENT}.")).text(), "250 2.0.0 Kept");
    // The same in one write.
    client.send(b"MAIL FROM:<a@test>\r\nRCPT TO:<two@test>\r\nRCPT TO:<one@test>\r\nDATA\r\n");
    let codes: Vec<_> = (0..4).map(|_| client.answer().code).collect();
    assert_eq!(codes, [250, 550, 250, 354]);
    assert_eq!(client.say(&format!("{CONTENT}.")).code, 250);
    let messages = sink.messages();
    assert_eq!(messages[0].mail, "<a@test> BODY=8BITMIME");
    assert_eq!(messages[0].rcpts, ["<one@test> NOTIFY=NEVER", "<three@test>"]);
    assert_eq!(messages[1].rcpts, ["<one@test>"]);
}

#[test]
fn a_refusal_is_the_backends_own_at_whatever_stage() {
    let cases = [
        ("MAIL", "552 5.3.4 Too long for us", 1),
        ("RCPT", "450 4.2.1 Later", 1),
        ("DATA", "554 5.7.1 Not today", 2),
        ("message", "451 4.3.0 Disk full", 3),
        ("message", "550 5.7.1 Spam", 3),
    ];
    for (stage, refusal, step) in cases {
        let sink = bad(stage, say(refusal));
        let gateway = started(&[&sink], "");
        let mut client = client(&gateway);
        let message = format!("{CONTENT}.");
        for _ in 0..2 {
            let steps: [&str; 4] = ["MAIL FROM:<a@test>", "RCPT TO:<b@test>", "DATA", &message];
            for line in &steps[..step] {
                assert!(client.say(line).code < 400, "{stage}: {line}");
            }
            assert_eq!(client.say(steps[step]).text(), refusal);
            assert_eq!(client.say("RSET").code, 250);
        }
        // Operators are told whose refusal it was.
        gateway.log().wait_for(&["refused", refusal, &format!("smtp://{}", sink.address), "joe"]);
        assert_eq!(sink.messages(), []);
        // One that asked how it is, and one while the first was still being reset.
        assert!(sink.connections() <= 3, "{stage}");
    }
}

#[test]
fn a_sender_that_came_with_its_recipients_is_refused_itself() {
    let sink = bad("MAIL FROM:<bad@test>", say("552 5.3.4 Too long for us"));
    let gateway = started(&[&sink], "");
    let mut client = client(&gateway);
    let recipients = "RCPT TO:<b@test>\r\n".repeat(25);
    client.send(format!("MAIL FROM:<bad@test>\r\n{recipients}DATA\r\nNOOP\r\n").as_bytes());
    assert_eq!(client.answer().text(), "552 5.3.4 Too long for us");
    assert_eq!([0; 27].map(|_| client.answer().code), [[503; 26].as_slice(), &[250]].concat()[..]);
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    gateway.log().wait_for(&["backend refused the sender", "552 5.3.4 Too long for us", "joe"]);
}

#[test]
fn what_is_no_answer_to_a_recipient_is_not_passed_on() {
    for good in ["251 2.1.5 Will forward", "252 2.1.5 Cannot verify"] {
        let sink = bad("RCPT", say(good));
        let gateway = started(&[&sink], "");
        let mut client = client(&gateway);
        client.say("MAIL FROM:<a@test>");
        assert_eq!(client.say("RCPT TO:<b@test>").text(), good);
    }
    for nonsense in ["354 Go on", "221 2.0.0 Bye", "299 2.1.5 What?"] {
        let sink = bad("RCPT TO:<odd", say(nonsense));
        let gateway = started(&[&sink], "");
        let mut client = client(&gateway);
        client.send(b"MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nRCPT TO:<odd@test>\r\nDATA\r\n");
        assert_eq!([0; 4].map(|_| client.answer().code), [250, 451, 451, 554], "{nonsense}");
        client.say("RSET");
        client.say("MAIL FROM:<a@test>");
        assert_eq!(client.say("RCPT TO:<b@test>").code, 250);
        assert_eq!(client.say("RCPT TO:<odd@test>").code, 451, "{nonsense}");
        assert_eq!(client.say("DATA").code, 451);
        assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
        assert_eq!(sink.messages().len(), 1, "{nonsense}");
        gateway.log().wait_for(&["invalid reply of a backend", nonsense]);
    }
}

#[test]
fn a_refused_chunk_in_pieces_leaves_its_transaction() {
    let sink = bad("RCPT TO:<bad", say("550 5.1.1 There is no bad"));
    let gateway = started(&[&sink], "");
    let mut client = client(&gateway);
    client.say("MAIL FROM:<a@test>");
    assert_eq!(client.say("RCPT TO:<bad@test>").code, 550);
    client.send(b"BDAT 5 LAST\r\n12");
    // Two reads, most likely.
    assert!(client.hears_nothing_for(Duration::from_millis(50)));
    client.send(b"345");
    assert_eq!(client.answer().code, 554);
    assert_eq!(client.say("RCPT TO:<b@test>").code, 250);
    assert_eq!(client.say("DATA").code, 354);
    assert_eq!(client.say(&format!("{CONTENT}.")).code, 250);
    assert_eq!(sink.messages().len(), 1);
}

#[test]
fn a_backend_that_goes_is_replaced_before_the_message_and_told_of_after() {
    let farewell = || Act::SayAndClose("421 4.3.2 Going down\r\n".into());
    for stage in ["connect", "EHLO", "MAIL", "RCPT", "DATA", "content", "message"] {
        for act in [Act::Close, farewell()] {
            let (bad, good) = (bad(stage, act.clone()), Sink::good());
            let gateway = started(&[&bad, &good], "health_interval = \"1h\"");
            let mut client = client(&gateway);
            let answers: Vec<u16> = (0..2).map(|_| client.submit("a@test", "b@test", CONTENT).code).collect();
            let lost = usize::from(["content", "message"].contains(&stage));
            assert_eq!(
                answers.iter().filter(|code| **code == 451).count(),
                lost,
                "{act:?} at {stage}: {answers:?}"
            );
            assert_eq!(good.messages().len(), 2 - lost, "{act:?} at {stage}");
            assert_eq!(bad.messages(), []);
        }
    }
}

#[test]
fn without_a_backend_the_client_is_told_to_try_again_and_its_session_goes_on() {
    let sink = Sink::start(Settings::scripted(|moment| match (moment.connection, moment.command) {
        (_, command) if command.starts_with("MAIL FROM:<bad@test>") => {
            Act::SayAndClose("421 4.7.0 Too many of you\r\n".into())
        }
        _ => Act::Well,
    }));
    let gateway = started(&[&sink], "");
    let mut client = client(&gateway);
    assert_eq!(client.say("MAIL FROM:<bad@test>").code, 250);
    assert_eq!(client.say("RCPT TO:<b@test>").text(), "451 4.7.0 Too many of you");
    assert_eq!(client.say("RSET").code, 250);
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    let gateway = Gateway::start(&smtp(&[crate::common::nobody()], ""));
    gateway.account("email").credential(JOE, "email");
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    assert_eq!(client.say("MAIL FROM:<a@test>").code, 250);
    assert!(client.say("RCPT TO:<b@test>").text().starts_with("451 4.4.1 "));
    assert_eq!(client.say("QUIT").code, 221);
}

#[test]
fn what_is_offered_is_what_the_backends_can() {
    let less = Settings { extensions: vec!["PIPELINING", "SIZE 100000", "DSN"], ..Settings::default() };
    let (less, all) = (Sink::start(less), Sink::good());
    let gateway = started(&[&less, &all], "");
    less.wait_for_command("QUIT");
    all.wait_for_command("QUIT");
    let began = Instant::now();
    let offered = loop {
        let mut client = Client::open(gateway.address("smtp.listen"));
        let text = client.say("EHLO client.test").text();
        if text.contains("DSN") {
            break text;
        }
        assert!(began.elapsed() < PATIENCE, "nothing is offered: {text}");
    };
    assert!(offered.contains("SIZE 100000") && offered.contains("PIPELINING"), "{offered}");
    assert!(!offered.contains("CHUNKING") && !offered.contains("SMTPUTF8") && !offered.contains("8BITMIME"));
}

#[test]
fn sessions_share_the_connections_and_no_more_than_there_may_be() {
    let sink = Sink::good();
    let gateway = started(&[&sink], "upstream_connections = 4\nhealth_interval = \"1h\"");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let gateway = &gateway;
            scope.spawn(move || {
                for _ in 0..5 {
                    let mut client = client(gateway);
                    let from = format!("{number}@test");
                    assert_eq!(client.submit(&from, "b@test", CONTENT).code, 250);
                    client.say("QUIT");
                }
            });
        }
    });
    assert_eq!(sink.messages().len(), 80);
    // And one that asked how it is.
    assert!(sink.connections() <= 5, "{}", sink.connections());
}

/// Spread evenly, and the same each time.
fn dice(number: usize) -> usize {
    let mut x = (number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as usize
}

#[test]
fn what_was_accepted_is_there_and_what_was_refused_is_not() {
    // Each step of each connection may fail, in all ways.
    let thrown = Arc::new(AtomicUsize::new(0));
    let unreliable = |seed: usize| {
        let thrown = thrown.clone();
        Sink::start(Settings::scripted(move |moment: &Moment<'_>| {
            let throw = dice(seed + thrown.fetch_add(1, Ordering::Relaxed));
            let early = !["content", "message"].contains(&moment.command);
            match throw % 100 {
                0..4 => Act::Close,
                4..6 => Act::SayAndClose("421 4.3.2 Going down\r\n".into()),
                6..8 if moment.command == "message" => say("554 5.6.0 No"),
                8..10 if moment.command == "message" => say("451 4.3.0 Not now"),
                10..12 if moment.command == "message" => Act::SayAndClose("250 2.0.0 Kept\r\n".into()),
                12..13 if early => Act::Say("nonsense\r\n".into()),
                _ => Act::Well,
            }
        }))
    };
    let sinks = [unreliable(1), unreliable(1 << 32), unreliable(2 << 32)];
    let gateway = started(&sinks.each_ref(), "upstream_connections = 2\nhealth_interval = \"50ms\"");
    let (accepted, refused) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (gateway, accepted, refused) = (&gateway, &accepted, &refused);
            scope.spawn(move || {
                let mut client = client(gateway);
                for number in 0..125 {
                    let name = format!("<{thread}-{number}@test>");
                    assert_eq!(client.say(&format!("MAIL FROM:{name}")).code, 250);
                    let mut answer = client.say("RCPT TO:<b@test>");
                    if answer.code == 250 {
                        answer = client.say("DATA");
                    }
                    if answer.code == 354 {
                        answer = client.say(&format!("{CONTENT}."));
                    }
                    match answer.code {
                        250 => accepted.lock().unwrap().insert(name),
                        400..500 => false,
                        _ => refused.lock().unwrap().insert(name),
                    };
                    assert_eq!(client.say("RSET").code, 250);
                }
            });
        }
    });
    let kept: Vec<String> = sinks.iter().flat_map(Sink::messages).map(|message| message.mail).collect();
    let distinct: BTreeSet<String> = kept.iter().cloned().collect();
    let (accepted, refused) = (accepted.into_inner().unwrap(), refused.into_inner().unwrap());
    assert_eq!(kept.len(), distinct.len(), "a message arrived twice");
    assert!(accepted.len() > 500, "only {} were accepted", accepted.len());
    let lost: Vec<_> = accepted.difference(&distinct).collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    let unwanted: Vec<_> = refused.intersection(&distinct).collect();
    assert!(unwanted.is_empty(), "refused and there: {unwanted:?}");
}

/// The MAIL command that reaches the backend, with and without a login of the gateway.
fn mails(login: bool, commands: &[&str]) -> Vec<String> {
    let mut settings = Settings::default();
    settings.extensions.push("AUTH PLAIN LOGIN");
    let sink = Sink::start(settings);
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "gate-passw0rd\n").unwrap();
    let path = password.path().display();
    let keys = format!("upstream_user = \"gate\"\nupstream_password_file = \"{path}\"");
    let gateway = started(&[&sink], if login { &keys } else { "" });
    let mut client = client(&gateway);
    for mail in commands {
        assert_eq!(client.say(mail).code, 250, "{mail}");
        assert_eq!(client.say("RCPT TO:<b@test>").code, 250);
        assert_eq!(client.say("DATA").code, 354);
        assert_eq!(client.say(&format!("{CONTENT}.")).code, 250);
    }
    sink.messages().into_iter().map(|message| message.mail).collect()
}

/// RFC 4954, section 5: a client that submits is not trusted to name another sender.
#[test]
fn who_a_client_says_it_speaks_for_is_not_passed_on() {
    let commands = [
        "MAIL FROM:<a@test>",
        "MAIL FROM:<a@test> AUTH=<>",
        "MAIL FROM:<a@test> AUTH=root@test SIZE=20",
        "MAIL FROM:<a@test> SIZE=20 auth=e+3Dmc2@test",
    ];
    assert_eq!(mails(false, &commands), ["<a@test>", "<a@test>", "<a@test> SIZE=20", "<a@test> SIZE=20"]);
    let expected = ["<a@test>", "<a@test> AUTH=<>", "<a@test> SIZE=20 AUTH=<>", "<a@test> SIZE=20 AUTH=<>"];
    assert_eq!(mails(true, &commands), expected);
    let sink = Sink::good();
    let gateway = started(&[&sink], "");
    let mut client = client(&gateway);
    for bad in ["AUTH=", "AUTH", "AUTH=a AUTH=b"] {
        assert_eq!(client.say(&format!("MAIL FROM:<a@test> {bad}")).code, 501, "{bad}");
    }
}

/// A sink at that address that takes one message over each connection, and while it is `away` closes them at once.
fn forgetful(listener: TcpListener, away: &Arc<AtomicBool>) -> Sink {
    let away = away.clone();
    let settings = Settings::scripted(move |moment| match moment.command.split(' ').next() {
        _ if away.load(Ordering::SeqCst) => Act::Close,
        Some("MAIL") if moment.messages > 0 => Act::SayAndClose("421 4.3.2 One is enough\r\n".into()),
        _ => Act::Well,
    });
    Sink::start_on(listener, settings)
}

#[test]
fn a_host_with_one_good_address_is_a_backend_that_is_up() {
    let (one, other) = (own_loopback(), own_loopback());
    let (away, back) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let listener = TcpListener::bind((one, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let first = forgetful(listener, &away);
    for addresses in [[one, other], [other, one]] {
        let config = section(&[format!("smtp://mail.test:{port}")], "health_interval = \"20ms\"");
        let gateway = Gateway::start_with_hosts(configured(&config), &hosts("mail.test", &addresses));
        gateway.account("email").credential(JOE, "email");
        let mut client = client(&gateway);
        for _ in 0..20 {
            assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250, "{}", gateway.log().text());
        }
        assert_eq!(first.take_messages().len(), 20);
        assert!(!gateway.log().text().contains("mail backend is down"), "{}", gateway.log().text());
        if addresses[0] == one {
            continue;
        }
        // It moves: who answers at the first address takes nothing any more.
        let second = forgetful(TcpListener::bind((other, port)).unwrap(), &back);
        away.store(true, Ordering::SeqCst);
        for _ in 0..20 {
            assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250, "{}", gateway.log().text());
        }
        assert_eq!(second.messages().len(), 20);
        assert!(!gateway.log().text().contains("mail backend is down"), "{}", gateway.log().text());
        back.store(true, Ordering::SeqCst);
        assert_eq!(
            client.submit("a@test", "b@test", CONTENT).text(),
            "451 4.4.1 No backend can be reached, try again later"
        );
        let tried = |address| format!("{address}:{port}: it closed the connection");
        gateway.log().wait_for(&["mail backend is down", &tried(one), &tried(other)]);
    }
}
