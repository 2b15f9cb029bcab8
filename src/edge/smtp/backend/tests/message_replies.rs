//! Replies to a message, or to an envelope, that are malformed, incomplete, early, or of the wrong class.

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::SmtpTimeouts;
use crate::edge::smtp::backend::client::{BackendClient, BackendError};
use crate::edge::smtp::backend::transport::BackendTransport;
use crate::edge::smtp::delivery::MailDelivery;
use crate::state::metrics::MessageOutcome;
use crate::wire::smtp::replies;
use crate::wire::smtp::session::ContentPiece;

/// A timeout that passes in no test.
const LONG: Duration = Duration::from_secs(30);

/// The end of what a backend sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Silent,
}

/// Reads the reply to a message that comes in `parts`.
async fn final_reply(parts: &[&[u8]], end: End, patience: Duration) -> Result<Reply, BackendError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    backend.set_nodelay(true).unwrap();
    let timeouts = SmtpTimeouts { data: patience, ..SmtpTimeouts::default() };
    let mut client = BackendClient::new(BackendTransport::Cleartext(stream), timeouts);
    let sent = async {
        for part in parts {
            backend.write_all(part).await.unwrap();
            // The client reads in between.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        if end == End::Closed {
            backend.shutdown().await.unwrap();
        }
        backend
    };
    let (reply, _backend) = tokio::join!(client.final_reply(), sent);
    reply
}

fn shown(reply: Result<Reply, BackendError>) -> Result<String, ()> {
    reply.map(|reply| reply.to_string()).map_err(drop)
}

#[tokio::test]
async fn a_malformed_reply_to_a_message_reads_the_same_however_it_is_split() {
    for (text, expected) in [
        ("250-checked 1 of 2\n554 5.7.1 rejected\n", Err(())),
        ("250-checked 1 of 2\r\n554 5.7.1 rejected\r\n", Err(())),
        ("250-checked\n250 2.0.0 kept\n", Ok("250 checked")),
        ("250-checked\nby a filter\n250 2.0.0 kept\n", Ok("250 checked")),
        ("554-checked\n554 5.7.1 rejected\n", Ok("554 checked")),
        ("250 2.0.0 kept\n", Ok("250 2.0.0 kept")),
        ("250 2.0.0 kept\n554 no\r\n", Ok("250 2.0.0 kept")),
        ("kept\r\n", Err(())),
    ] {
        let expected = expected.map(str::to_owned);
        for at in 0..text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            for end in [End::Closed, End::Silent] {
                let reply = shown(final_reply(&[first, second], end, LONG).await);
                assert_eq!(reply, expected, "{text:?} at {at}, {end:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_last_reply_of_a_connection_needs_no_line_end() {
    for (text, expected) in [
        ("250 2.0.0 kept", Ok("250 2.0.0 kept")),
        ("250-a\r\n250 b", Ok("250 a")),
        ("554 5.7.1 no", Ok("554 5.7.1 no")),
        ("250-a\r\n", Err(())),
        ("250-a\r\n554 b", Err(())),
        ("250", Err(())),
        ("421 4.3.2 bye", Err(())),
        ("", Err(())),
    ] {
        let expected = expected.map(str::to_owned);
        for (end, patience) in [(End::Closed, LONG), (End::Silent, Duration::from_millis(100))] {
            let reply = final_reply(&[text.as_bytes()], end, patience).await;
            assert_eq!(shown(reply), expected, "{text:?}, {end:?}");
        }
    }
    let closed = final_reply(&[b"421 4.3.2 bye"], End::Closed, LONG).await;
    assert!(matches!(closed, Err(BackendError::ClosingReply(_))), "{closed:?}");
}

/// After a malformed reply, the next ones may belong to any command.
#[tokio::test]
async fn a_connection_with_a_malformed_reply_gets_no_further_command() {
    let bad = scripted(|moment| match moment.command {
        "RCPT TO:<one@example.net>" => say("550 5.1.1 No"),
        "DATA" => say("354 Go on"),
        "message" => Act::Say("554 5.5.1 No recipients\n".into()),
        _ => Act::Well,
    });
    let good = scripted(|moment| match moment.command {
        "RCPT TO:<one@example.net>" => say("550 5.1.1 No"),
        _ => Act::Well,
    });
    let backends = backends(&[&bad, &good], "");
    let mut lease = lease(&backends).await;
    let (replies, data) = lease.pipeline_data(MAIL, &rcpts(&["one"])).await.unwrap();
    assert_eq!((codes(&replies), data), (vec![250, 550], None));
    assert_eq!(lease.rcpt(b"<two@example.net>").await.unwrap().code(), 250);
    assert_eq!(lease.data().await.unwrap().code(), 354);
    assert_eq!(send_content(&mut lease).await.unwrap().code(), 250);
    assert_eq!((bad.messages().len(), good.messages().len()), (0, 1));
    let commands = bad.commands(0);
    assert_eq!(commands.last().map(String::as_str), Some("DATA"), "{commands:?}");
}

fn delivery(backends: &Arc<BackendGroup>, metrics: &Arc<Metrics>) -> MailDelivery {
    let (submitter, mail, last_look) = (submitter("john"), MAIL.to_vec(), LastLook::always(true));
    MailDelivery::new(backends.clone(), metrics.clone(), mail_log(), 0, submitter, mail, last_look)
}

fn content() -> ContentPiece<'static> {
    ContentPiece { head: CONTENT.to_vec(), rest: b"" }
}

#[tokio::test]
async fn only_250_to_252_accept_a_message() {
    for (code, accepts) in [
        ("250", true),
        ("251", true),
        ("252", true),
        ("200", false),
        ("220", false),
        ("221", false),
        ("235", false),
        ("253", false),
    ] {
        let sink = scripted(move |moment| match moment.command {
            "message" => say(&format!("{code} 2.0.0 Bye")),
            command if command.starts_with("BDAT 1") => say(&format!("{code} 2.0.0 Bye")),
            _ => Act::Well,
        });
        let backends = backends(&[&sink], "");
        let metrics = Arc::new(Metrics::new());
        let mut by_data = delivery(&backends, &metrics);
        by_data.rcpts(&rcpts(&["jane"]), true).await.unwrap();
        assert_eq!(by_data.data().await.code(), 354);
        let mut last_chunk = delivery(&backends, &metrics);
        last_chunk.rcpts(&rcpts(&["jane"]), false).await.unwrap();
        for reply in [by_data.finish(&content()).await, last_chunk.last_chunk(b"A: b\r\n").await] {
            let expected = if accepts { code } else { "451 4.4.2" };
            assert_eq!(reply.to_string().get(..expected.len()), Some(expected));
        }
        let mut first_chunk = delivery(&backends, &metrics);
        first_chunk.rcpts(&rcpts(&["jane"]), false).await.unwrap();
        assert_eq!(first_chunk.chunk(b"x").await.is_ok(), accepts, "{code}");
    }
}

/// The end of a message might be one for a recipient.
#[tokio::test]
async fn no_empty_message_is_sent_after_an_invalid_reply() {
    for (bad, reply) in [("MAIL", "220 Hello"), ("RCPT", "220 Hello"), ("RCPT", "253 Ok"), ("MAIL", "550 No")]
    {
        let sink = scripted(move |moment| match (moment.connection, moment.command) {
            (0, command) if command.starts_with(bad) => say(reply),
            (0, "RCPT TO:<jane@example.net>") => say("250 2.1.5 Ok"),
            (0, "DATA") => say("354 Go on"),
            (0, "message") => say("250 2.0.0 Kept"),
            (0, _) => Act::Well,
            _ => Act::Close,
        });
        let backends = backends(&[&sink], "");
        let mut first = delivery(&backends, &Arc::new(Metrics::new()));
        let replies = first.rcpts(&rcpts(&["jane"]), true).await.unwrap();
        assert_eq!(replies, [replies::NO_BACKEND], "{bad} {reply}");
        drop(first);
        sink.wait_until_idle();
        assert!(!sink.commands(0).iter().any(|command| command == "."));
        assert_eq!(sink.reads().iter().filter(|size| **size == 3).count(), 0, "an end of a message was sent");
    }
}

/// Writes content slowly until the backend's early reply is noticed.
async fn write_until_refused(delivery: &mut MailDelivery) -> Reply {
    let since = Instant::now();
    loop {
        std::future::poll_fn(|cx| {
            let _ = delivery.poll_idle::<()>(since, cx);
            Poll::Ready(())
        })
        .await;
        if let Err(reply) = delivery.write(&ContentPiece { head: b"x".to_vec(), rest: b"" }).await {
            return reply;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_early_refusal_of_a_message_counts_as_its_refusal() {
    for (said, closes, told, outcome) in [
        ("550 5.7.1 No thanks", false, "550 5.7.1 No thanks", MessageOutcome::Rejected),
        ("550 5.7.1 No thanks", true, "550 5.7.1 No thanks", MessageOutcome::Rejected),
        ("452 4.3.1 Full", false, "452 4.3.1 Full", MessageOutcome::Deferred),
        ("421 4.3.2 Going down", false, "451 4.3.2 Going down", MessageOutcome::Lost),
        ("250 2.0.0 Kept", false, "451 4.4.2 The backend was lost, try again", MessageOutcome::Lost),
    ] {
        let sink = scripted(move |moment| match moment.command {
            "content" if closes => Act::SayAndClose(format!("{said}\r\n")),
            "content" => say(said),
            _ => Act::Well,
        });
        let (backends, metrics) = (backends(&[&sink], ""), Arc::new(Metrics::new()));
        let mut delivery = delivery(&backends, &metrics);
        delivery.rcpts(&rcpts(&["jane"]), true).await.unwrap();
        assert_eq!(delivery.data().await.code(), 354);
        assert_eq!(write_until_refused(&mut delivery).await.to_string(), told);
        drop(delivery);
        let line = format!("gatepost_smtp_messages_total{{outcome=\"{}\"}} 1\n", outcome.as_str());
        assert!(metrics.encode().contains(&line), "{said}: {line}");
    }
}

/// Returns the deadline for the client after `step`, and before it.
async fn deadlines(delivery: &mut MailDelivery, step: &[Vec<u8>]) -> (Option<Instant>, Option<Instant>) {
    let before = delivery.deadline();
    assert_eq!(codes(&delivery.rcpts(step, false).await.unwrap()), [250]);
    (delivery.deadline(), before)
}

#[tokio::test]
async fn the_wait_for_a_backend_is_not_the_clients_time() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "");
    let mut delivery = delivery(&backends, &Arc::new(Metrics::new()));
    assert_eq!(deadlines(&mut delivery, &rcpts(&["jane"])).await.1, None);
    let began = Instant::now();
    let (after, before) = deadlines(&mut delivery, &rcpts(&["john"])).await;
    let waited = after.unwrap() - before.unwrap();
    assert!(waited > Duration::ZERO && waited <= began.elapsed(), "{waited:?}");
}
