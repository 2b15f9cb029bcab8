//! Backends that lack an extension, and their substitutes.

use super::*;

#[tokio::test]
async fn a_backend_that_replies_otherwise_is_no_substitute() {
    let bad = scripted(|moment| match moment.command {
        "DATA" => Act::Close,
        _ => Act::Well,
    });
    let other = scripted(|moment| match moment.command.starts_with("RCPT") {
        true => say("550 5.1.1 Unknown here"),
        false => Act::Well,
    });
    let backends = backends(&[&bad, &other], "");
    let mut lease = lease(&backends).await;
    let lost = submit(&mut lease).await.unwrap_err();
    assert_eq!(lost.reply().code(), 451);
    assert_eq!(other.messages(), []);
}

#[tokio::test]
async fn a_backend_that_lacks_an_extension_does_not_get_a_message_that_needs_it() {
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
        // The backend that is tried first.
        let (lacking, whole) = (start(|_| Act::Well), Sink::good());
        let both = backends(&[&lacking, &whole], "");
        let mut first = lease(&both).await;
        let replies = first.pipeline(mail.as_bytes(), &[rcpt.as_bytes().to_vec()]).await.unwrap();
        assert_eq!(codes(&replies), [250, 250], "{missing}");
        assert!(!lacking.commands(0).iter().any(|command| command.starts_with("MAIL")), "{missing}");
        assert!(whole.commands(0).contains(&format!("MAIL FROM:{mail}")), "{missing}");

        // The only substitute.
        let failing = scripted(|moment| match moment.command {
            "DATA" => Act::Close,
            _ => Act::Well,
        });
        let lacking = start(|_| Act::Well);
        let both = backends(&[&failing, &lacking], "");
        let mut lease = lease(&both).await;
        lease.pipeline(mail.as_bytes(), &[rcpt.as_bytes().to_vec()]).await.unwrap();
        let lost = lease.data().await.unwrap_err();
        assert_eq!(lost.reply().code(), 451, "{missing}");
        assert!(lost.detail.contains("does not offer"), "{}", lost.detail);
        assert!(!lacking.commands(0).iter().any(|command| command.starts_with("MAIL")), "{missing}");
    }
}

#[tokio::test]
async fn size_is_sent_only_to_backends_that_offer_it() {
    let sink = without("SIZE");
    let mut lease = lease(&backends(&[&sink], "")).await;
    lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap();
    assert_eq!(sink.commands(0)[1], "MAIL FROM:<john@example.com>");
}

#[tokio::test]
async fn a_later_recipient_or_a_chunk_may_need_another_backend() {
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
async fn a_connection_that_lacks_an_extension_serves_other_messages() {
    let (lacking, whole) = (without("DSN"), Sink::good());
    let backends = backends(&[&lacking, &whole], "");
    // Neither was checked yet, so the first one is tried first.
    let (mail, rcpt) = (&b"<john@example.com> RET=HDRS"[..], rcpts(&["jane"]));
    for _ in 0..4 {
        let mut lease =
            Lease::take(&backends, 0, &submitter("john"), mail, &rcpt, LastLook::always(true)).await.unwrap();
        assert_eq!(codes(&lease.pipeline(mail, &rcpt).await.unwrap()), [250, 250]);
        lease.done();
    }
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!((lacking.connections(), lacking.messages().len()), (1, 1));
    assert_eq!(whole.messages().len(), 1);
}
