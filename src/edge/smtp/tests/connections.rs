//! Connections to backends: kept, replaced, bounded, secured.

use super::*;

#[tokio::test]
async fn one_that_answers_otherwise_is_no_substitute() {
    let bad = Sink::start(Settings::scripted(|moment| match moment.command {
        "DATA" => Act::Close,
        _ => Act::Well,
    }));
    let other = Sink::start(Settings::scripted(|moment| match moment.command.starts_with("RCPT") {
        true => say("550 5.1.1 Unknown here"),
        false => Act::Well,
    }));
    let backends = backends(&[&bad, &other], "");
    let mut lease = lease(&backends).await;
    let lost = submit(&mut lease).await.unwrap_err();
    assert_eq!(lost.answer().code(), 451);
    assert_eq!(other.messages(), []);
}

#[tokio::test]
async fn who_does_not_offer_what_a_message_needs_does_not_get_it() {
    let cases: [(&str, &str, &str); 5] = [
        ("8BITMIME", "<john@example.com> BODY=8BITMIME", "<jane@example.net>"),
        ("SMTPUTF8", "<john@example.com> SMTPUTF8", "<jane@example.net>"),
        ("DSN", "<john@example.com> RET=HDRS", "<jane@example.net>"),
        ("DSN", "<john@example.com>", "<jane@example.net> NOTIFY=NEVER"),
        ("SIZE 50000000", "<john@example.com> SIZE=2000", "<jane@example.net>"),
    ];
    for (missing, mail, rcpt) in cases {
        let start = |script: fn(&sink::Moment<'_>) -> Act| {
            let mut settings = Settings::scripted(script);
            settings.extensions.retain(|extension| *extension != missing);
            if missing.starts_with("SIZE") {
                settings.extensions.push("SIZE 1000");
            }
            Sink::start(settings)
        };
        // The first one asked.
        let (lacking, whole) = (start(|_| Act::Well), Sink::good());
        let both = backends(&[&lacking, &whole], "");
        let mut first = lease(&both).await;
        let replies = first.pipeline(mail.as_bytes(), &[rcpt.as_bytes().to_vec()]).await.unwrap();
        assert_eq!(codes(&replies), [250, 250], "{missing}");
        assert!(!lacking.commands(0).iter().any(|command| command.starts_with("MAIL")), "{missing}");
        assert!(whole.commands(0).contains(&format!("MAIL FROM:{mail}")), "{missing}");

        // One that is to take over, and there is no other.
        let failing = Sink::start(Settings::scripted(|moment| match moment.command {
            "DATA" => Act::Close,
            _ => Act::Well,
        }));
        let lacking = start(|_| Act::Well);
        let both = backends(&[&failing, &lacking], "");
        let mut lease = lease(&both).await;
        lease.pipeline(mail.as_bytes(), &[rcpt.as_bytes().to_vec()]).await.unwrap();
        let lost = lease.data().await.unwrap_err();
        assert_eq!(lost.answer().code(), 451, "{missing}");
        assert!(lost.detail.contains("doesn't offer"), "{}", lost.detail);
        assert!(!lacking.commands(0).iter().any(|command| command.starts_with("MAIL")), "{missing}");
    }
}

#[tokio::test]
async fn a_size_is_told_to_those_who_ask_for_it() {
    let mut settings = Settings::default();
    settings.extensions.retain(|extension| !extension.starts_with("SIZE"));
    let sink = Sink::start(settings);
    let mut lease = lease(&backends(&[&sink], "")).await;
    lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap();
    assert_eq!(sink.commands(0)[1], "MAIL FROM:<john@example.com>");
}

#[tokio::test]
async fn a_later_recipient_or_a_chunk_may_need_another_backend() {
    let without = |missing: &'static str| {
        let mut settings = Settings::default();
        settings.extensions.retain(|extension| *extension != missing);
        Sink::start(settings)
    };
    let (lacking, whole) = (without("DSN"), Sink::good());
    let both = backends(&[&lacking, &whole], "");
    let mut first = lease(&both).await;
    first.pipeline(MAIL, &rcpts(&["one"])).await.unwrap();
    assert_eq!(first.rcpt(b"<two@example.net> NOTIFY=FAILURE").await.unwrap().code(), 250);
    let (told, asked) = (whole.commands(0), lacking.commands(0));
    assert!(asked.iter().any(|command| command.starts_with("RCPT")), "{asked:?}");
    assert_eq!(told[2..], ["RCPT TO:<one@example.net>", "RCPT TO:<two@example.net> NOTIFY=FAILURE"]);

    let (lacking, whole) = (without("CHUNKING"), Sink::good());
    let both = backends(&[&lacking, &whole], "");
    let mut lease = lease(&both).await;
    lease.pipeline(MAIL, &rcpts(&["one"])).await.unwrap();
    lease.bdat(3, true).await.unwrap();
    lease.write(b"abc").await.unwrap();
    assert_eq!(lease.chunk_reply().await.unwrap().code(), 250);
    assert_eq!((lacking.messages().len(), whole.messages().len()), (0, 1));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_unseen() {
    // Closed while it is idle, or just when it is used again.
    for closing in ["message", "MAIL"] {
        let sink = Sink::start(Settings::scripted(move |moment| {
            match (moment.connection, moment.messages, moment.command) {
                (0, 0, "message") if closing == "message" => Act::SayAndClose("250 2.0.0 Kept\r\n".into()),
                (0, 1, command) if command.starts_with(closing) => Act::Close,
                _ => Act::Well,
            }
        }));
        let backends = backends(&[&sink], "");
        assert_eq!(deliver(&backends).await.code(), 250);
        if closing == "message" {
            sink.wait_until_idle();
        }
        assert_eq!(deliver(&backends).await.code(), 250);
        assert_eq!((sink.messages().len(), sink.connections()), (2, 2));
    }
}

#[tokio::test]
async fn a_reply_to_nothing_ends_the_connection() {
    let sink = Sink::start(Settings::scripted(|moment| match moment.command {
        command if command.starts_with("MAIL") && moment.connection == 0 => {
            Act::Say("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n".into())
        }
        _ => Act::Well,
    }));
    let backends = backends(&[&sink, &Sink::good()], "");
    let mut lease = lease(&backends).await;
    lease.mail(MAIL).await.unwrap();
    lease.rcpt(b"<jane@example.net>").await.unwrap();
    assert!(!sink.commands(0).iter().any(|command| command.starts_with("RCPT")));
}

#[tokio::test]
async fn what_is_dropped_in_the_middle_never_counts() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "");
    let begun = lease(&backends).await;
    drop(begun);
    for finished in [false, true] {
        let mut lease = lease(&backends).await;
        lease.pipeline_data(MAIL, &rcpts(&["jane"])).await.unwrap();
        lease.write(CONTENT).await.unwrap();
        if finished {
            lease.done();
        }
    }
    sink.wait_until_idle();
    assert_eq!((sink.messages().len(), sink.connections()), (0, 3));
}

#[tokio::test]
async fn an_abandoned_envelope_is_reset() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "upstream_connections = 1");
    let mut abandoned = lease(&backends).await;
    abandoned.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap();
    abandoned.done();
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!((sink.messages().len(), sink.connections()), (1, 1));
    assert!(sink.commands(0).contains(&"RSET".to_owned()));
}

#[tokio::test]
async fn chunks_are_passed_on() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "");
    for last_is_empty in [false, true] {
        let mut lease = lease(&backends).await;
        assert!(lease.capabilities().chunking);
        lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap();
        lease.bdat(5, false).await.unwrap();
        lease.write(b"a\nb\r").await.unwrap();
        lease.write(b".").await.unwrap();
        assert_eq!(lease.chunk_reply().await.unwrap().code(), 250);
        let last: &[u8] = if last_is_empty { b"" } else { b"\r\n.\r\n" };
        lease.bdat(last.len() as u64, true).await.unwrap();
        lease.write(last).await.unwrap();
        assert_eq!(lease.chunk_reply().await.unwrap().code(), 250);
        lease.done();
        assert_eq!(sink.messages().pop().unwrap().content, [b"a\nb\r.", last].concat());
    }
    assert_eq!(sink.connections(), 1);
    let mut lease = lease(&backends).await;
    lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap();
    lease.bdat(3, true).await.unwrap();
    assert!(lease.write(b"four").await.is_err());
    assert!(lease.chunk_reply().await.is_err());
    assert_eq!(sink.messages().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_than_are_allowed_and_all_come_in_turn() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "upstream_connections = 3");
    let mut tasks = Vec::new();
    for number in 0..40 {
        let backends = backends.clone();
        tasks.push(tokio::spawn(async move {
            let mut lease = backends.lease(number % 2, &submitter("john")).await.unwrap();
            let reply = submit(&mut lease).await.unwrap();
            // Some go away without a word.
            if number % 5 != 0 {
                lease.done();
            }
            reply.code()
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 250);
    }
    assert_eq!(sink.messages().len(), 40);
    // One more may be seen for a moment where the end of a connection is noticed after the beginning of the next.
    assert!(sink.most_open() <= 3 + 2, "{}", sink.most_open());
}

#[tokio::test]
async fn a_backend_that_reads_nothing_slows_down_who_writes() {
    let sink = Sink::start(Settings::scripted(|moment| match moment.command {
        "content" => Act::Hang,
        _ => Act::Well,
    }));
    let backends = backends(&[&sink], &format!("data_timeout = '{}s'", SOON.as_secs()));
    let mut lease = lease(&backends).await;
    lease.pipeline_data(MAIL, &rcpts(&["jane"])).await.unwrap();
    let piece = [b'x'; 64 * 1024];
    let begun = Instant::now();
    let mut taken = 0_usize;
    let lost = loop {
        match lease.write(&piece).await {
            Ok(()) => taken += piece.len(),
            Err(lost) => break lost,
        }
        // What the kernel takes for both sockets.
        assert!(taken < 64 << 20);
    };
    assert!(begun.elapsed() >= SOON);
    assert!(lost.detail.contains("no answer within"), "{lost}");
    assert_eq!(lost.answer().code(), 451);
}

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

fn with_tls(sink: &Sink, scheme: &str, more: &str) -> Result<Arc<Backends>, SetupError> {
    let upstreams = [format!("{scheme}://{}", sink.address)];
    Backends::new(&settings(&upstreams, more), 2, &Metrics::new())
}

async fn refusal(backends: &Arc<Backends>) -> String {
    match backends.lease(0, &submitter("john")).await {
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
async fn starttls_is_never_gone_without() {
    let (config, roots) = tls();
    let ca = format!("upstream_ca = '{}'", roots.path().display());
    let without = Sink::good();
    assert!(
        refusal(&with_tls(&without, "smtp+starttls", &ca).unwrap()).await.contains("doesn't offer STARTTLS")
    );
    let acts = [
        (say("454 4.7.0 Not now"), "STARTTLS was answered with 454"),
        (Act::Say("220 2.0.0 Ready\r\n250-evil\r\n250 SIZE 1\r\n".into()), "sent more after its reply"),
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
        assert_eq!(said, ["EHLO gate.test", "STARTTLS"], "more was said in clear");
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
        detail.contains("AUTH was answered with 535 5.7.8 No") && !detail.contains("hunter22"),
        "{detail}"
    );
    assert!(refusal(&backends(&[&Sink::good()], &login)).await.contains("neither AUTH PLAIN nor AUTH LOGIN"));
    let missing = "upstream_user = 'gate'\nupstream_password_file = '/nowhere/password'";
    let error =
        Backends::new(&settings(&["smtp://127.0.0.1:1".into()], missing), 1, &Metrics::new()).err().unwrap();
    assert!(error.to_string().starts_with("smtp.upstream_password_file: /nowhere/password: "), "{error}");
}

#[tokio::test]
async fn who_submits_is_introduced_by_xclient() {
    // Postfix takes XCLIENT once a connection.
    for (xclient_once, connections) in [(false, 1), (true, 2)] {
        let extensions = vec!["PIPELINING", "XCLIENT NAME ADDR PROTO HELO LOGIN"];
        let sink = Sink::start(Settings { extensions, xclient_once, ..Settings::default() });
        let backends = backends(&[&sink], "identity = ['xclient']");
        for name in ["john", "john", "jane", "john"] {
            let mut lease = backends.lease(0, &submitter(name)).await.unwrap();
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

#[tokio::test]
async fn a_backend_that_refuses_xclient_gets_no_message() {
    let script = |moment: &sink::Moment<'_>| match moment.command.starts_with("XCLIENT") {
        true => say("550 5.7.0 Not from you"),
        false => Act::Well,
    };
    let extensions = vec!["XCLIENT LOGIN"];
    let sink = Sink::start(Settings { extensions, ..Settings::scripted(script) });
    let detail = refusal(&backends(&[&sink], "identity = ['xclient']")).await;
    assert!(detail.contains("XCLIENT was answered with 550"), "{detail}");
}

#[tokio::test]
async fn what_is_offered_is_what_all_can_that_are_up() {
    let small = vec!["PIPELINING", "SIZE 1000", "8BITMIME"];
    let small = Sink::start(Settings { extensions: small, ..Settings::default() });
    let large = Sink::good();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstreams =
        [format!("smtp://{}", small.address), format!("smtp://{}", large.address), format!("smtp://{dead}")];
    let metrics = Metrics::new();
    let backends = Backends::new(&settings(&upstreams, "health_interval = '10ms'"), 1, &metrics).unwrap();
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
async fn a_backend_that_knows_no_ehlo_is_greeted_the_old_way() {
    let sink = Sink::start(Settings::scripted(|moment| match moment.command.starts_with("EHLO") {
        true => say("502 5.5.1 What?"),
        false => Act::Well,
    }));
    let backends = backends(&[&sink], "");
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!(sink.commands(0)[1], "HELO gate.test");
    assert_eq!(lease(&backends).await.capabilities(), Default::default());
}

#[tokio::test]
async fn connections_that_idle_for_too_long_are_closed() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "upstream_idle = '1ms'\nhealth_interval = '10ms'");
    assert_eq!(deliver(&backends).await.code(), 250);
    let watching = tokio::spawn(backends.watch_health());
    tokio::task::spawn_blocking(move || {
        sink.wait_for_command("QUIT");
        sink
    })
    .await
    .unwrap();
    watching.abort();
}
