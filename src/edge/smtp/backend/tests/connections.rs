//! Connections to backends: pooled, tested, replaced, bounded.

use super::*;
use crate::edge::smtp::delivery::MailDelivery;
use crate::wire::smtp::replies;

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_replaced() {
    // Closed while it is idle, or just when it is used again.
    for closing in ["message", "MAIL"] {
        let sink = scripted(move |moment| match (moment.connection, moment.messages, moment.command) {
            (0, 0, "message") if closing == "message" => Act::SayAndClose("250 2.0.0 Kept\r\n".into()),
            (0, 1, command) if command.starts_with(closing) => Act::Close,
            _ => Act::Well,
        });
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
    let sink = scripted(|moment| match moment.command {
        command if command.starts_with("MAIL") && moment.connection == 0 => {
            Act::Say("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n".into())
        }
        _ => Act::Well,
    });
    let backends = backends(&[&sink, &Sink::good()], "");
    let mut lease = lease(&backends).await;
    assert_eq!(codes(&lease.pipeline(MAIL, &[]).await.unwrap()), [250]);
    assert_eq!(lease.rcpt(b"<jane@example.net>").await.unwrap().code(), 250);
    assert!(!sink.commands(0).iter().any(|command| command.starts_with("RCPT")));
}

#[tokio::test]
async fn an_invalid_reply_to_a_sender_ends_the_connection() {
    let sink = scripted(|moment| match (moment.connection, moment.command) {
        (0, command) if command.starts_with("MAIL") => say("354 Go on"),
        _ => Act::Well,
    });
    let backends = backends(&[&sink], "");
    let metrics = Arc::new(Metrics::new());
    let mut first = delivery_of(&backends, metrics, LastLook::always(true));
    let replies = first.rcpts(&rcpts(&["jane"]), false).await.unwrap();
    assert_eq!(replies, [replies::NO_BACKEND]);
    first.close();
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!((sink.messages()[0].connection, sink.connections()), (1, 2));
}

#[tokio::test]
async fn a_message_that_is_dropped_in_the_middle_is_not_accepted() {
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

#[tokio::test]
async fn a_chunk_may_be_answered_before_its_answer_is_waited_for() {
    let sink = scripted(|moment| match moment.command {
        "message" => Act::SayAndClose("250 2.0.0 Kept\r\n".into()),
        _ => Act::Well,
    });
    let backends = backends(&[&sink], "");
    let mut lease = lease(&backends).await;
    lease.pipeline(MAIL, &rcpts(&["jane"])).await.unwrap();
    // More than is gathered.
    let chunk = vec![b'x'; 20_000];
    lease.bdat(chunk.len() as u64, true).await.unwrap();
    lease.write(&chunk).await.unwrap();
    sink.wait_until_idle();
    // Lets the runtime notice it.
    tokio::task::yield_now().await;
    assert_eq!(lease.chunk_reply().await.unwrap().to_string(), "250 2.0.0 Kept");
    assert_eq!(sink.messages()[0].content, chunk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_than_are_allowed_and_all_come_in_turn() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "upstream_connections = 3");
    let mut tasks = Vec::new();
    for number in 0..40 {
        let backends = backends.clone();
        tasks.push(tokio::spawn(async move {
            let mut lease = lease_of(&backends, number % 2, "john").await.unwrap();
            let reply = submit(&mut lease).await.unwrap();
            // Some leases are dropped.
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
async fn a_backend_that_reads_nothing_slows_down_the_sender() {
    let sink = scripted(|moment| match moment.command {
        "content" => Act::Hang,
        _ => Act::Well,
    });
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
        // The most that the kernel buffers for both sockets.
        assert!(taken < 64 << 20);
    };
    assert!(begun.elapsed() >= SOON);
    assert!(lost.detail.contains("no reply within"), "{lost}");
    assert_eq!(lost.reply().code(), 451);
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

/// A group that tests every connection before it is used again.
fn distrustful(sink: &Sink) -> Arc<BackendGroup> {
    let mut backends = backends(&[sink], "");
    Arc::get_mut(&mut backends).unwrap().trusted_idle = Duration::from_nanos(1);
    backends
}

#[tokio::test]
async fn an_idle_connection_is_tested_before_it_is_used() {
    let sink = Sink::good();
    let trustful = backends(&[&sink], "");
    for _ in 0..2 {
        assert_eq!(deliver(&trustful).await.code(), 250);
    }
    assert!(!sink.commands(0).contains(&"RSET".to_owned()));
    let backends = distrustful(&sink);
    for _ in 0..2 {
        assert_eq!(deliver(&backends).await.code(), 250);
    }
    let commands = sink.commands(1);
    let again = commands.iter().position(|command| command == "RSET").unwrap();
    assert!(commands[again + 1].starts_with("MAIL FROM:"), "{commands:?}");
    assert_eq!((sink.messages().len(), sink.connections()), (4, 2));
}

#[tokio::test]
async fn a_connection_that_does_not_answer_after_its_idle_time_is_replaced() {
    let sink = scripted(|moment| match moment.command {
        "RSET" => Act::Close,
        _ => Act::Well,
    });
    let backends = distrustful(&sink);
    for _ in 0..2 {
        assert_eq!(deliver(&backends).await.code(), 250);
    }
    assert_eq!(sink.commands(0).last().unwrap(), "RSET");
    assert_eq!((sink.messages().len(), sink.connections()), (2, 2));
}

#[tokio::test]
async fn of_many_dead_connections_only_one_is_tested() {
    let sink = scripted(|moment| match moment.command {
        "RSET" => Act::Close,
        _ => Act::Well,
    });
    let backends = distrustful(&sink);
    let mut kept = Vec::new();
    for _ in 0..4 {
        kept.push(lease(&backends).await);
    }
    kept.into_iter().for_each(Lease::done);
    assert_eq!(deliver(&backends).await.code(), 250);
    let asked = (0..4).filter(|number| sink.commands(*number).contains(&"RSET".to_owned())).count();
    assert_eq!((asked, sink.connections()), (1, 5));
}

#[tokio::test]
async fn a_transaction_that_waited_for_a_dead_connection_does_not_wait_again() {
    let sink = scripted(|moment| match (moment.connection, moment.command) {
        (0, "RSET") => Act::Close,
        _ => Act::Well,
    });
    let mut backends = backends(&[&sink], "upstream_connections = 1");
    Arc::get_mut(&mut backends).unwrap().trusted_idle = Duration::from_nanos(1);
    let held = lease(&backends).await;
    let served = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let waiting: Vec<_> = (0..2)
        .map(|number| {
            let (backends, served) = (backends.clone(), served.clone());
            tokio::spawn(async move {
                let lease = lease(&backends).await;
                served.lock().push(number);
                lease.done();
            })
        })
        .collect();
    // Both are waiting.
    tokio::task::yield_now().await;
    held.done();
    for task in waiting {
        task.await.unwrap();
    }
    assert_eq!(*served.lock(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_with_nothing_but_refusals_is_not_used_again() {
    let sink = scripted(|moment| match moment.command {
        "RCPT TO:<nobody@example.net>" => say("550 5.1.1 Nobody"),
        _ => Act::Well,
    });
    let backends = backends(&[&sink], "upstream_connections = 1");
    let refused = async |times| {
        let mut lease = lease(&backends).await;
        let replies = lease.pipeline(MAIL, &rcpts(&vec!["nobody"; times])).await.unwrap();
        assert!(replies[1..].iter().all(|reply| reply.code() == 550));
        lease.done();
    };
    refused(4).await;
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!(sink.connections(), 1);
    refused(4).await;
    refused(1).await;
    sink.wait_for_command("QUIT");
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!(sink.connections(), 2);
}

#[tokio::test]
async fn a_wait_that_times_out_is_refused_as_busy() {
    let sink = Sink::good();
    let mut backends = backends(&[&sink], "upstream_connections = 1");
    Arc::get_mut(&mut backends).unwrap().queue = Duration::from_millis(1);
    let held = lease(&backends).await;
    let metrics = Arc::new(Metrics::new());
    let mut waiting = delivery_of(&backends, metrics, LastLook::always(true));
    let replies = waiting.rcpts(&rcpts(&["jane"]), false).await.unwrap();
    assert_eq!(replies, [replies::BACKENDS_BUSY]);
    held.done();
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!(sink.connections(), 1);
}

fn delivery_of(backends: &Arc<BackendGroup>, metrics: Arc<Metrics>, last_look: LastLook) -> MailDelivery {
    let (submitter, mail) = (submitter("john"), MAIL.to_vec());
    MailDelivery::new(backends.clone(), metrics, mail_log(), 0, submitter, mail, last_look)
}

// Where the wait for a backend outlasts the trust in which MAIL was decided.
#[tokio::test]
async fn nothing_is_forwarded_after_the_last_look_has_forbidden_it() {
    let sink = Sink::good();
    let backends = backends(&[&sink], "upstream_connections = 1");
    let metrics = Arc::new(Metrics::new());
    let mut cut_off = delivery_of(&backends, metrics, LastLook::always(false));
    let replies = cut_off.rcpts(&rcpts(&["jane", "jill"]), true).await.unwrap();
    assert_eq!(replies, [replies::AUTH_UNAVAILABLE, replies::AUTH_UNAVAILABLE]);
    assert_eq!(cut_off.data().await, replies::AUTH_UNAVAILABLE);
    cut_off.close();
    assert!(sink.commands(0).iter().all(|command| !command.starts_with("MAIL")), "{:?}", sink.commands(0));
    // The connection was given back.
    assert_eq!(deliver(&backends).await.code(), 250);
    assert_eq!(sink.connections(), 1);
}
