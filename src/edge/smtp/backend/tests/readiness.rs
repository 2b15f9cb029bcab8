//! The preparation of a backend connection: TLS, a login, XCLIENT, extensions.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::mpsc;

use super::*;

fn tls() -> (Arc<rustls::ServerConfig>, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "mail.test".into()]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
    (Arc::new(config), file)
}

fn with_tls(sink: &Sink, scheme: &str, more: &str) -> Result<Arc<BackendGroup>, Vec<ConfigError>> {
    let upstreams = [format!("{scheme}://{}", sink.address)];
    BackendGroup::new(&settings(&upstreams, more), 2, &Metrics::new())
}

async fn refusal(backends: &Arc<BackendGroup>) -> String {
    match lease_of(backends, 0, "john").await {
        Err(NoBackend::Down(detail)) => detail,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[tokio::test]
async fn tls_is_spoken_and_verified() {
    let (config, roots) = tls();
    let (_, other_roots) = tls();
    let ca = |file: &tempfile::NamedTempFile| format!("upstream_ca = '{}'", file.path().display());
    for (scheme, implicit_tls) in [("smtps", true), ("smtp+starttls", false)] {
        let sink = Sink::start(Settings { tls: Some(config.clone()), implicit_tls, ..Settings::default() });
        let good = with_tls(&sink, scheme, &ca(&roots)).unwrap();
        for _ in 0..2 {
            assert_eq!(deliver(&good).await.code(), 250, "{scheme}");
        }
        let named = format!("{}\nupstream_server_name = 'mail.test'", ca(&roots));
        assert_eq!(deliver(&with_tls(&sink, scheme, &named).unwrap()).await.code(), 250);
        assert_eq!(sink.connections(), 2);
        let stranger = with_tls(&sink, scheme, &ca(&other_roots)).unwrap();
        assert!(refusal(&stranger).await.contains("certificate"), "{scheme}");
        let misnamed = format!("{}\nupstream_server_name = 'other.test'", ca(&roots));
        assert!(refusal(&with_tls(&sink, scheme, &misnamed).unwrap()).await.contains("certificate"));
        assert_eq!(sink.messages().len(), 3);
    }
    assert!(with_tls(&Sink::good(), "smtps", "upstream_ca = '/nowhere/ca.pem'").is_err());
}

#[tokio::test]
async fn a_connection_without_starttls_is_not_used() {
    let (config, roots) = tls();
    let ca = format!("upstream_ca = '{}'", roots.path().display());
    let without = Sink::good();
    assert!(
        refusal(&with_tls(&without, "smtp+starttls", &ca).unwrap()).await.contains("does not offer STARTTLS")
    );
    let acts = [
        (say("454 4.7.0 Not now"), "STARTTLS was refused with 454"),
        (
            Act::Say("220 2.0.0 Ready\r\n250-evil\r\n250 SIZE 1\r\n".into()),
            "unencrypted bytes after its reply",
        ),
    ];
    for (act, reason) in acts {
        let script = move |moment: &sink::Moment<'_>| match moment.command {
            "STARTTLS" => act.clone(),
            _ => Act::Well,
        };
        let sink = Sink::start(Settings { tls: Some(config.clone()), ..Settings::scripted(script) });
        let detail = refusal(&with_tls(&sink, "smtp+starttls", &ca).unwrap()).await;
        assert!(detail.contains(reason), "{detail}");
        let said = sink.commands(0);
        assert_eq!(said, ["EHLO gate.test", "STARTTLS"], "more was sent unencrypted");
    }
}

#[tokio::test]
async fn the_gateway_logs_in() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"hunter22\nnot this\n").unwrap();
    let login = format!("upstream_user = 'gate'\nupstream_password_file = '{}'", file.path().display());
    let cases = [
        ("AUTH LOGIN PLAIN", vec!["AUTH PLAIN AGdhdGUAaHVudGVyMjI="]),
        ("AUTH=LOGIN", vec!["AUTH LOGIN", "Z2F0ZQ==", "aHVudGVyMjI="]),
    ];
    for (extension, expected) in cases {
        let sink = Sink::start(Settings { extensions: vec![extension], ..Settings::default() });
        assert_eq!(deliver(&backends(&[&sink], &login)).await.code(), 250);
        let mut said = sink.commands(0);
        said.drain(..1);
        said.truncate(expected.len());
        said.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(said, expected);
    }
    let refusing = Sink::start(Settings {
        extensions: vec!["AUTH PLAIN"],
        ..Settings::scripted(|moment| match moment.command.starts_with("AUTH") {
            true => say("535 5.7.8 No"),
            false => Act::Well,
        })
    });
    let detail = refusal(&backends(&[&refusing], &login)).await;
    assert!(
        detail.contains("AUTH was refused with 535 5.7.8 No") && !detail.contains("hunter22"),
        "{detail}"
    );
    assert!(refusal(&backends(&[&Sink::good()], &login)).await.contains("neither AUTH PLAIN nor AUTH LOGIN"));
    let missing = "upstream_user = 'gate'\nupstream_password_file = '/nowhere/password'";
    let missing = format!("{missing}\nupstream_ca = '/nowhere/ca.pem'");
    let wrong = BackendGroup::new(&settings(&["smtps://127.0.0.1:1".into()], &missing), 1, &Metrics::new())
        .err()
        .unwrap();
    let keys = ["smtp.upstream_ca", "smtp.upstream_password_file"];
    assert_eq!(wrong.iter().map(|error| error.key.as_str()).collect::<Vec<_>>(), keys);
    for (error, file) in wrong.iter().zip(["/nowhere/ca.pem: ", "/nowhere/password: "]) {
        assert!(error.line > 1 && error.reason.starts_with(file), "{error}");
    }
}

#[tokio::test]
async fn the_submitter_is_sent_by_xclient() {
    // Postfix accepts XCLIENT once on each connection.
    for (xclient_once, connections) in [(false, 1), (true, 2)] {
        let extensions = vec!["PIPELINING", "XCLIENT NAME ADDR PROTO HELO LOGIN"];
        let sink = Sink::start(Settings { extensions, xclient_once, ..Settings::default() });
        let backends = backends(&[&sink], "identity = ['xclient']");
        for name in ["john", "john", "jane", "john"] {
            let mut lease = lease_of(&backends, 0, name).await.unwrap();
            assert_eq!(submit(&mut lease).await.unwrap().code(), 250);
            lease.done();
        }
        let xclient = |name: &str| {
            Some(format!(
                "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 PROTO=ESMTP HELO=client.test LOGIN={name}"
            ))
        };
        let told: Vec<_> = sink.messages().into_iter().map(|message| message.xclient).collect();
        assert_eq!(told, [xclient("john"), xclient("john"), xclient("jane"), xclient("john")]);
        assert_eq!(sink.connections(), connections);
        let said: Vec<_> = (0..connections).flat_map(|number| sink.commands(number)).collect();
        let count = said.iter().filter(|command| command.starts_with("XCLIENT")).count();
        assert_eq!(count, if xclient_once { 2 } else { 3 });
        assert_eq!(said.iter().filter(|command| *command == "EHLO client.test").count(), count);
    }
}

// Case D2: values of XCLIENT that a backend refuses
#[tokio::test]
async fn a_value_of_xclient_that_is_refused_is_withheld() {
    const ALL: &str = "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 PROTO=ESMTP HELO=client.test LOGIN=john";
    const ADDR: &str =
        "XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PROTO=ESMTP HELO=client.test LOGIN=john";
    let cases: [(&str, &'static str, &[&str]); 5] = [
        ("ADDR=192", "501 5.5.4 Bad address", &[ALL, ADDR]),
        (
            "HELO=client",
            "501 5.5.4 Bad HELO syntax",
            &[ALL, "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 PROTO=ESMTP HELO=[UNAVAILABLE] LOGIN=john"],
        ),
        (
            "HELO=client",
            "501 What?",
            &[
                ALL,
                ADDR,
                "XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PROTO=ESMTP HELO=[UNAVAILABLE] LOGIN=john",
            ],
        ),
        (
            "PROTO=",
            "501 5.5.4 Bad PROTO syntax",
            &[ALL, "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 HELO=client.test LOGIN=john"],
        ),
        (
            "NAME=",
            "501 5.5.4 Bad NAME syntax",
            &[ALL, "XCLIENT ADDR=192.0.2.7 PROTO=ESMTP HELO=client.test LOGIN=john"],
        ),
    ];
    for (refused, reply, expected) in cases {
        let script = move |moment: &sink::Moment<'_>| match moment.command {
            command if command.starts_with("XCLIENT") && command.contains(refused) => say(reply),
            "EHLO client.test" => say("550 5.7.1 Not by that name"),
            _ => Act::Well,
        };
        let extensions = vec!["PIPELINING", "XCLIENT NAME ADDR PROTO HELO LOGIN"];
        let sink = Sink::start(Settings { extensions, ..Settings::scripted(script) });
        let backends = backends(&[&sink], "identity = ['xclient']");
        for _ in 0..2 {
            let mut lease = lease_of(&backends, 0, "john").await.unwrap();
            assert_eq!(submit(&mut lease).await.unwrap().code(), 250);
            lease.done();
        }
        let commands = sink.commands(0);
        let said: Vec<_> = commands.iter().filter(|command| command.starts_with("XCLIENT")).collect();
        // Once for both messages, and in one connection.
        assert_eq!(said, expected, "{refused}");
        assert_eq!((sink.connections(), sink.messages().len()), (1, 2));
        assert_eq!(sink.messages()[1].xclient.as_deref(), expected.last().copied());
        let greetings: Vec<_> = commands.iter().filter(|command| command.starts_with("EHLO")).collect();
        assert_eq!(greetings, ["EHLO gate.test", "EHLO client.test", "EHLO gate.test"]);
    }
}

// Case D2: refusals that nothing can be done about
#[tokio::test]
async fn a_backend_that_refuses_the_login_gets_no_message_and_another_one_does() {
    for reply in ["501 5.5.4 Bad LOGIN syntax", "550 5.7.0 insufficient authorization", "421 4.3.2 Later"] {
        let script = move |moment: &sink::Moment<'_>| match moment.command.starts_with("XCLIENT") {
            true => say(reply),
            false => Act::Well,
        };
        let extensions = vec!["XCLIENT NAME ADDR PROTO HELO LOGIN"];
        let bad = Sink::start(Settings { extensions: extensions.clone(), ..Settings::scripted(script) });
        let good = Sink::start(Settings { extensions, ..Settings::default() });
        let backends = backends(&[&bad, &good], "identity = ['xclient']");
        for _ in 0..3 {
            assert_eq!(deliver(&backends).await.code(), 250, "{reply}");
        }
        assert_eq!((bad.messages().len(), good.messages().len()), (0, 3), "{reply}");
    }
}

#[tokio::test]
async fn a_backend_that_refuses_xclient_gets_no_message() {
    let script = |moment: &sink::Moment<'_>| match moment.command.starts_with("XCLIENT") {
        true => say("550 5.7.0 Not from you"),
        false => Act::Well,
    };
    let extensions = vec!["XCLIENT LOGIN"];
    let sink = Sink::start(Settings { extensions, ..Settings::scripted(script) });
    let detail = refusal(&backends(&[&sink], "identity = ['xclient']")).await;
    assert!(detail.contains("XCLIENT was refused with 550"), "{detail}");
}

#[tokio::test]
async fn the_offer_is_what_all_backends_that_are_up_have_in_common() {
    let small = vec!["PIPELINING", "SIZE 1000", "8BITMIME"];
    let small = Sink::start(Settings { extensions: small, ..Settings::default() });
    let large = Sink::good();
    // An address of its own, so that no other process takes the port.
    let dead = TcpListener::bind("127.99.0.1:0").unwrap().local_addr().unwrap();
    let upstreams =
        [format!("smtp://{}", small.address), format!("smtp://{}", large.address), format!("smtp://{dead}")];
    let metrics = Metrics::new();
    let backends = BackendGroup::new(&settings(&upstreams, "health_interval = '10ms'"), 1, &metrics).unwrap();
    assert_eq!(backends.capabilities().size, None);
    let watching = tokio::spawn(backends.clone().watch_health());
    while backends.capabilities().size != Some(1000) {
        tokio::task::yield_now().await;
    }
    let capabilities = backends.capabilities();
    assert!(capabilities.pipelining && capabilities.eight_bit_mime);
    assert!(!capabilities.chunking && !capabilities.smtp_utf8 && !capabilities.dsn);
    for _ in 0..6 {
        assert_eq!(deliver(&backends).await.code(), 250);
    }
    watching.abort();
}

#[tokio::test]
async fn a_backend_without_ehlo_gets_helo() {
    let sink = scripted(|moment| match moment.command.starts_with("EHLO") {
        true => say("502 5.5.1 What?"),
        false => Act::Well,
    });
    let backends = backends(&[&sink], "");
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!(sink.commands(0)[1], "HELO gate.test");
    assert_eq!(lease(&backends).await.capabilities(), Default::default());
}

#[tokio::test]
async fn a_backend_that_accepts_a_recipient_without_a_sender_is_reset() {
    let sink = scripted(|moment| match (moment.messages, moment.command) {
        (1, command) if command.starts_with("MAIL") => say("550 5.1.0 Not you"),
        (1, command) if command.starts_with("RCPT") => say("250 2.1.5 Ok"),
        _ => Act::Well,
    });
    let backends = backends(&[&sink], "upstream_connections = 1");
    assert_eq!(deliver(&backends).await.code(), 250);
    let mut refused = lease(&backends).await;
    assert_eq!(refused.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap()[0].code(), 550);
    refused.done();
    lease(&backends).await.done();
    assert_eq!(sink.commands(0).last().map(String::as_str), Some("RSET"));
}

#[tokio::test]
async fn a_reply_that_precedes_its_command_is_not_taken_for_its_reply() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go, gone) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"220 odd.test\r\n").unwrap();
        for answer in ["250-odd.test\r\n250 PIPELINING", "250 Ok", "250 Ok"] {
            lines.next();
            stream.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
        }
        let _ = go.1.recv();
        stream.write_all(b"250 And another one\r\n").unwrap();
        gone.0.send(()).unwrap();
        let _ = lines.last();
    });
    let sink = Sink::good();
    let settings = settings(&[format!("smtp://{address}"), sink.url()], "");
    let backends = BackendGroup::new(&settings, 1, &Metrics::new()).unwrap();
    let mut lease = lease(&backends).await;
    lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap();
    go.0.send(()).unwrap();
    gone.1.recv().unwrap();
    // Lets the runtime notice it.
    tokio::task::yield_now().await;
    // Replies can't be matched with commands any more: another backend is substituted.
    assert_eq!(lease.rcpt(b"<joe@example.net>").await.unwrap().to_string(), "250 2.1.5 Ok");
    assert_eq!(sink.commands(0).iter().filter(|command| command.starts_with("RCPT")).count(), 2);
}
