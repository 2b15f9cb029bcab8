//! Leases of connections to backends that misbehave, over real sockets.

use std::io::Write as _;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::group::{BackendGroup, NoBackend};
use super::lease::Lease;
use super::lost::BackendLost;
use crate::config::{Config, ConfigError, SmtpEntry};
use crate::domain::{MailId, RequestId, Username};
use crate::edge::net::refusal_log::RefusalLog;
use crate::edge::smtp::last_look::LastLook;
use crate::edge::smtp::mail_log::MailLog;
use crate::edge::smtp::submitter::Submitter;
use crate::state::Metrics;
use crate::wire::smtp::Reply;

#[path = "../../../../tests/common/sink.rs"]
#[allow(dead_code)]
pub(crate) mod sink;

mod connections;
mod extensions;
mod message_replies;
mod readiness;

use sink::{Act, Settings, Sink, say};

const MAIL: &[u8] = b"<john@example.com> SIZE=20";
/// The content of a message without its last CR LF, which belongs to the end.
const CONTENT: &[u8] = b"Subject: hi\r\n\r\n..a line";
/// A timeout that is short for a test, and long enough for everything that works on a busy machine.
const SOON: Duration = Duration::from_secs(2);

/// A backend that follows a script.
fn scripted(script: impl Fn(&sink::Moment<'_>) -> Act + Send + Sync + 'static) -> Sink {
    Sink::start(Settings::scripted(script))
}

/// A backend that does not offer `missing`.
fn without(missing: &'static str) -> Sink {
    let mut settings = Settings::default();
    settings.extensions.retain(|extension| !extension.starts_with(missing));
    Sink::start(settings)
}

fn mail_log() -> MailLog {
    let refusals = Arc::new(RefusalLog::new(Arc::new(Metrics::new())));
    let id = MailId { session: RequestId::from_bits(7), transaction: 1 };
    MailLog::new(refusals, submitter("john"), id, MAIL)
}

fn submitter(name: &str) -> Arc<Submitter> {
    Arc::new(Submitter {
        user: Username::parse(name).unwrap(),
        account: Username::parse("acme").unwrap(),
        address: "192.0.2.7".parse().unwrap(),
        helo: "client.test".into(),
        esmtp: true,
    })
}

fn settings(upstreams: &[String], more: &str) -> SmtpEntry {
    let text = format!(
        "[smtp]\nlisten = ['127.0.0.1:0']\nrequire_tls = false\nhostname = 'gate.test'\nupstreams = {upstreams:?}\n{more}\n"
    );
    Config::parse(&text, "test.toml").unwrap_or_else(|errors| panic!("{errors}")).smtp.unwrap()
}

fn backends(sinks: &[&Sink], more: &str) -> Arc<BackendGroup> {
    let upstreams: Vec<_> = sinks.iter().map(|sink| format!("smtp://{}", sink.address)).collect();
    BackendGroup::new(&settings(&upstreams, more), 2, &Metrics::new()).unwrap()
}

async fn lease_of(backends: &Arc<BackendGroup>, worker: usize, name: &str) -> Result<Lease, NoBackend> {
    Lease::take(backends, worker, &submitter(name), MAIL, &[], LastLook::always(true)).await
}

async fn lease(backends: &Arc<BackendGroup>) -> Lease {
    lease_of(backends, 0, "john").await.unwrap()
}

fn rcpts(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| format!("<{name}@example.net>").into_bytes()).collect()
}

fn codes(replies: &[Reply]) -> Vec<u16> {
    replies.iter().map(Reply::code).collect()
}

/// Sends the content of a message after a 354, and its end.
async fn send_content(lease: &mut Lease) -> Result<Reply, BackendLost> {
    lease.write(CONTENT).await?;
    lease.finish(b"").await
}

/// Submits a message. Returns the reply to it, or the first refusal before it.
async fn submit(lease: &mut Lease) -> Result<Reply, BackendLost> {
    let replies = lease.pipeline(MAIL, &rcpts(&["jane"])).await?;
    if let Some(refusal) = replies.into_iter().find(|reply| !reply.is_positive()) {
        return Ok(refusal);
    }
    let reply = lease.data().await?;
    if !reply.is_intermediate() {
        return Ok(reply);
    }
    send_content(lease).await
}

async fn deliver(backends: &Arc<BackendGroup>) -> Reply {
    let mut lease = lease(backends).await;
    let reply = submit(&mut lease).await.unwrap();
    lease.done();
    reply
}

#[tokio::test]
async fn a_message_arrives_as_it_was_given_over_one_connection_for_many() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "");
    for _ in 0..3 {
        assert_eq!(deliver(&backends).await.to_string(), "250 2.0.0 Kept");
    }
    let messages = sink.messages();
    assert_eq!(messages.len(), 3);
    for message in messages {
        assert_eq!(message.content, [CONTENT, b"\r\n"].concat());
        assert_eq!(message.mail.as_bytes(), MAIL);
        assert_eq!(message.rcpts, ["<jane@example.net>"]);
    }
    assert_eq!(sink.connections(), 1);
    assert_eq!(sink.commands(0)[0], "EHLO gate.test");
}

#[tokio::test]
async fn the_end_of_a_message_is_right_after_any_content() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "");
    // An empty last line is content as well.
    let cases: [(&[&[u8]], &[u8]); 5] = [
        (&[], b"\r\n"),
        (&[b"a"], b"a\r\n"),
        (&[b"a\r", b"\n"], b"a\r\n\r\n"),
        (&[b"a\r\n", b"b"], b"a\r\nb\r\n"),
        (&[b"\r\n", b""], b"\r\n\r\n"),
    ];
    for (number, (pieces, expected)) in cases.into_iter().enumerate() {
        let mut lease = lease(&backends).await;
        assert_eq!(codes(&lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap()), [250, 250]);
        assert_eq!(lease.data().await.unwrap().code(), 354);
        for piece in pieces {
            lease.write(piece).await.unwrap();
        }
        assert_eq!(lease.finish(b"").await.unwrap().code(), 250);
        lease.done();
        assert_eq!(sink.messages()[number].content, expected);
    }
}

#[tokio::test]
async fn an_envelope_and_a_message_take_one_write_each() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "");
    deliver(&backends).await;
    let before = sink.reads().len();
    let mut lease = lease(&backends).await;
    let (replies, data) = lease.pipeline_data(MAIL, &rcpts(&["one", "two"])).await.unwrap();
    assert_eq!((codes(&replies), data.unwrap().code()), (vec![250, 250, 250], 354));
    send_content(&mut lease).await.unwrap();
    lease.done();
    assert_eq!(sink.reads().len() - before, 2, "{:?}", sink.reads());
}

#[tokio::test]
async fn each_recipient_has_the_backends_own_answer() {
    let script = |moment: &sink::Moment<'_>| match moment.command {
        "RCPT TO:<two@example.net>" => say("550 5.1.1 No two"),
        _ => Act::Well,
    };
    for extensions in [vec!["PIPELINING"], vec![]] {
        let sink = Sink::start(Settings { extensions, ..Settings::scripted(script) });
        let backends = backends(&[&sink], "");
        let mut lease = lease(&backends).await;
        let (replies, data) = lease.pipeline_data(MAIL, &rcpts(&["one", "two", "three"])).await.unwrap();
        assert_eq!(codes(&replies), [250, 250, 550, 250]);
        assert_eq!(replies[2].to_string(), "550 5.1.1 No two");
        assert_eq!(data.unwrap().code(), 354);
        assert_eq!(send_content(&mut lease).await.unwrap().code(), 250);
        assert_eq!(sink.messages()[0].rcpts, ["<one@example.net>", "<three@example.net>"]);
    }
}

#[tokio::test]
async fn hundreds_of_recipients_are_sent_in_batches() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "");
    let mut lease = lease(&backends).await;
    let many: Vec<_> = (0..1000).map(|n| format!("<{n:0>200}@example.net>").into_bytes()).collect();
    let replies = lease.pipeline(MAIL, &many).await.unwrap();
    assert!(replies.len() == 1001 && replies.iter().all(Reply::is_positive));
    assert!(sink.reads().iter().all(|size| *size <= 17 * 1024));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_sent_without_a_recipient_even_after_354() {
    let script = |moment: &sink::Moment<'_>| match moment.command {
        "RCPT TO:<one@example.net>" => say("550 5.1.1 No"),
        "DATA" => say("354 Go on"),
        "message" => say("554 5.5.1 No recipients"),
        _ => Act::Well,
    };
    let sink = scripted(script);
    let backends = backends(&[&sink], "");
    let mut lease = lease(&backends).await;
    let (replies, data) = lease.pipeline_data(MAIL, &rcpts(&["one"])).await.unwrap();
    assert_eq!((codes(&replies), data), (vec![250, 550], None));
    lease.done();
    sink.wait_for_command("RSET");
    assert_eq!(sink.messages(), []);
    assert_eq!(sink.connections(), 1);
}

#[tokio::test]
async fn a_message_follows_one_without_recipients() {
    // A backend resets the transaction then (RFC 5321 section 4.1.1.4); some may not.
    for forgets in [true, false] {
        let script = move |moment: &sink::Moment<'_>| match (moment.command, moment.messages) {
            ("RCPT TO:<one@example.net>", _) => say("550 5.1.1 No"),
            ("DATA", 0) if forgets => say("354 Go on"),
            ("message", 0) if forgets => say("554 5.5.1 No recipients"),
            _ => Act::Well,
        };
        let sink = scripted(script);
        let backends = backends(&[&sink], "");
        let mut lease = lease(&backends).await;
        let (replies, data) = lease.pipeline_data(MAIL, &rcpts(&["one"])).await.unwrap();
        assert_eq!((codes(&replies), data), (vec![250, 550], None));
        assert_eq!(lease.rcpt(b"<two@example.net>").await.unwrap().code(), 250, "{forgets}");
        assert_eq!(lease.rcpt(b"<three@example.net>").await.unwrap().code(), 250);
        assert_eq!(lease.data().await.unwrap().code(), 354);
        assert_eq!(send_content(&mut lease).await.unwrap().code(), 250);
        let [message] = &sink.messages()[..] else { panic!() };
        assert_eq!((message.mail.as_bytes(), message.rcpts.len()), (MAIL, 2));
        assert_eq!(sink.connections(), 1);
    }
}

#[tokio::test]
async fn a_refused_sender_has_one_reply() {
    for extensions in [vec!["PIPELINING"], vec![]] {
        let script = |moment: &sink::Moment<'_>| match moment.command {
            command if command.starts_with("MAIL") && moment.messages == 0 => say("553 5.1.8 Not you"),
            _ => Act::Well,
        };
        let sink = Sink::start(Settings { extensions, ..Settings::scripted(script) });
        let backends = backends(&[&sink], "");
        let mut lease = lease(&backends).await;
        let (replies, data) = lease.pipeline_data(MAIL, &rcpts(&["one", "two"])).await.unwrap();
        assert_eq!((codes(&replies), data), (vec![553], None));
        assert_eq!(replies[0].to_string(), "553 5.1.8 Not you");
    }
}

#[tokio::test]
async fn late_refusals_are_passed_on_and_the_connection_is_used_again() {
    for late in ["451 4.3.0 Later", "554 5.6.0 Never"] {
        let script = move |moment: &sink::Moment<'_>| match (moment.command, moment.messages) {
            ("message", 0) => say(late),
            _ => Act::Well,
        };
        let sink = scripted(script);
        let backends = backends(&[&sink], "");
        assert_eq!(deliver(&backends).await.to_string(), late);
        assert_eq!(deliver(&backends).await.code(), 250);
        assert_eq!((sink.messages().len(), sink.connections()), (1, 1));
    }
}

/// The failures of a backend before it was given any of the message.
fn failures() -> Vec<Act> {
    vec![
        Act::Close,
        Act::SayAndClose("421 4.3.2 Going down\r\n".into()),
        Act::SayAndClose("250-unfinished\r\n".into()),
        Act::Say("what?\r\n".into()),
        Act::Say("421 4.7.0 Busy\r\n".into()),
        Act::Hang,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_backend_is_substituted_at_each_stage_before_the_message() {
    let stages = ["connect", "EHLO gate.test", "MAIL", "RCPT", "DATA"];
    let cases =
        stages.into_iter().flat_map(|stage| failures().into_iter().map(move |failure| (stage, failure)));
    // In parallel, because some cases wait for a timeout.
    let tasks: Vec<_> = cases.map(|(stage, failure)| tokio::spawn(is_substituted(stage, failure))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn is_substituted(stage: &'static str, failure: Act) {
    let act = failure.clone();
    let bad = scripted(move |moment| match moment.command.starts_with(stage) {
        true => act.clone(),
        false => Act::Well,
    });
    let good = Sink::good();
    let more = format!("command_timeout = '{0}s'\nconnect_timeout = '{0}s'", SOON.as_secs());
    // The failing backend is tried first.
    let backends = backends(&[&bad, &good], &more);
    assert_eq!(deliver(&backends).await.code(), 250, "{failure:?} at {stage}");
    assert!(bad.connections() > 0, "{stage}");
    assert_eq!((bad.messages().len(), good.messages().len()), (0, 1), "{failure:?} at {stage}");
    assert_eq!(good.messages()[0].rcpts, ["<jane@example.net>"]);
}

#[tokio::test]
async fn no_backend_is_substituted_once_the_message_has_begun() {
    for stage in ["content", "message"] {
        for failure in [Act::Close, Act::SayAndClose("421 4.3.2 Going down\r\n".into())] {
            let act = failure.clone();
            let bad = scripted(move |moment| match moment.command == stage {
                true => act.clone(),
                false => Act::Well,
            });
            let good = Sink::good();
            let backends = backends(&[&bad, &good], "");
            let mut lease = lease(&backends).await;
            let lost = submit(&mut lease).await.unwrap_err();
            assert!(lost.given);
            let answer = lost.reply().to_string();
            match &failure {
                Act::Close => assert_eq!(answer, "451 4.4.2 The backend was lost, try again"),
                _ => assert!(
                    ["451 4.3.2 Going down", "451 4.4.2 The backend was lost, try again"].contains(&&*answer)
                ),
            }
            assert_eq!((bad.messages().len(), good.messages().len()), (0, 0));
        }
    }
}

#[tokio::test]
async fn the_last_reply_of_the_only_backend_is_passed_on() {
    let bad = scripted(|moment| match moment.command.starts_with("RCPT") {
        true => Act::SayAndClose("421 4.7.0 Too much\r\n".into()),
        false => Act::Well,
    });
    let backends = backends(&[&bad], "");
    let mut lease = lease(&backends).await;
    let lost = lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap_err();
    assert_eq!(lost.reply().to_string(), "451 4.7.0 Too much");
    assert!(!lost.given);
}

#[tokio::test]
async fn a_refusal_of_the_connection_does_not_refuse_the_message() {
    let sink = scripted(|moment| match (moment.connection, moment.command) {
        (0, command) if command.starts_with("RCPT") => {
            Act::SayAndClose("250 2.1.5 Ok\r\n554 5.7.1 Idle\r\n".into())
        }
        (1.., "connect") => Act::Close,
        _ => Act::Well,
    });
    let backends = backends(&[&sink], "");
    let mut lease = lease(&backends).await;
    assert_eq!(codes(&lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap()), [250, 250]);
    // While the client is idle.
    let since = Instant::now();
    std::future::poll_fn(|cx| {
        lease.poll_idle(since, cx);
        if lease.upstream().is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let lost = lease.data().await.unwrap_err();
    assert_eq!(lost.last.as_ref().map(Reply::code), Some(554));
    assert_eq!(lost.reply().to_string(), "451 4.4.1 No backend can be reached, try again later");
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_message_is_passed_on() {
    let sink = scripted(|moment| match moment.command {
        "content" => Act::SayAndClose("552 5.3.4 Too long\r\n".into()),
        _ => Act::Well,
    });
    let backends = backends(&[&sink], "");
    let mut lease = lease(&backends).await;
    lease.pipeline_data(MAIL, &rcpts(&["jane"])).await.unwrap();
    let piece = [b'x'; 64 * 1024];
    let lost = loop {
        if let Err(lost) = lease.write(&piece).await {
            break lost;
        }
    };
    assert_eq!(lost.reply().to_string(), "552 5.3.4 Too long");
}
