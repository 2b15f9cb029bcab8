//! A client's visit: its bytes go into the session, and what that asks for is done.

mod deciding;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use pingora_timeout::{sleep, timeout};
use tracing::{debug, info};
use zeroize::Zeroize;

use super::alarm::Alarm;
use super::delivery::Delivery;
use super::server::SmtpServer;
use super::stream::{Manner, Stream};
use super::watched::Watched;
use crate::domain;
use crate::edge::gauge::Entered;
use crate::service::access::Granted;
use crate::state::metrics::SmtpLimit;
use crate::wire::smtp::session::{GATHER, Limit, Session, Step};
use crate::wire::smtp::{Reply, answers};

/// For the last replies of a session to a client that may not listen.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often it is asked again what a change means for an idle session.
const AGAIN: Duration = Duration::from_millis(500);

/// One visit.
pub struct Visit {
    server: SmtpServer,
    stream: Option<Stream>,
    session: Session,
    address: IpAddr,
    input: Vec<u8>,
    out: Vec<u8>,
    granted: Option<Granted>,
    /// Turns true when the gateway stops.
    stop: Watched<bool>,
    /// Changes with every credential.
    changes: Watched<u64>,
    /// There was a change, and it couldn't be found out what it means for this session.
    unsure: bool,
    delivery: Option<Box<Delivery>>,
    under_way: Option<Entered>,
    /// When all of it has to be over.
    deadline: Instant,
    alarm: Alarm,
}

/// What the client is waited for with.
enum Waited {
    Bytes,
    Changed,
    Stopped,
    TooLong,
    Gone,
}

/// What the session wants when it has done what it could.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Bytes,
    /// Room for more replies; there is input left.
    Room,
    Tls,
    End,
}

impl Visit {
    /// The visit of who is at `address`.
    pub fn new(server: SmtpServer, stream: Stream, address: IpAddr) -> Visit {
        let entry = &server.entry;
        let encrypted = matches!(stream, Stream::Tls(_));
        Visit {
            session: Session::new(entry.settings.clone(), address, encrypted, entry.number()),
            stop: Watched::new(server.stop.clone()),
            changes: Watched::new(entry.access.subscribe()),
            deadline: Instant::now() + entry.timeouts.session,
            alarm: Alarm::default(),
            stream: Some(stream),
            address,
            input: Vec::new(),
            out: Vec::new(),
            granted: None,
            unsure: false,
            delivery: None,
            under_way: None,
            server,
        }
    }

    /// From the greeting to the end.
    pub async fn run(mut self) {
        self.session.greet(&mut self.out);
        // How long the client has for what it says next; what it drips doesn't give it more.
        let mut command_ends = Instant::now() + self.server.entry.timeouts.command;
        let mut wanted = Wanted::Bytes;
        loop {
            if !self.flush().await {
                break;
            }
            let data = self.server.entry.timeouts.data;
            let receiving = self.session.is_receiving();
            let until = if receiving { Instant::now() + data } else { command_ends };
            let waited = match wanted {
                Wanted::Room => Waited::Bytes,
                _ => self.wait(until.min(self.deadline)).await,
            };
            match waited {
                Waited::Bytes => {}
                Waited::Gone => break,
                Waited::Stopped => self.session.dismiss(&answers::STOPPING, &mut self.out),
                Waited::TooLong => {
                    self.server.entry.metrics.smtp_limit(SmtpLimit::Time);
                    self.session.dismiss(&answers::TIMEOUT, &mut self.out);
                }
                Waited::Changed => self.unsure = true,
            }
            if !receiving {
                self.look_for_changes().await;
            }
            wanted = self.work().await;
            match wanted {
                Wanted::Bytes | Wanted::Room => {}
                Wanted::Tls => {
                    if !Box::pin(self.encrypt()).await {
                        break;
                    }
                    command_ends = Instant::now() + self.server.entry.timeouts.command;
                }
                Wanted::End => {
                    if let Some(stream) = self.stream.take() {
                        let _ = timeout(FAREWELL, stream.close(&self.out)).await;
                    }
                    break;
                }
            }
            if !self.out.is_empty() || receiving {
                command_ends = Instant::now() + self.server.entry.timeouts.command;
            }
        }
        self.end_transaction();
        // It may have gone in the middle of a login.
        self.input.zeroize();
    }

    /// Sends the replies so far; false where the client doesn't take them.
    async fn flush(&mut self) -> bool {
        if self.out.is_empty() {
            return true;
        }
        let Some(stream) = &mut self.stream else { return false };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let patience = self.server.entry.timeouts.command.min(left);
        let stoppable = !self.session.is_in_transaction();
        let sent = timeout(patience, async {
            let mut written = pin!(stream.write(&self.out));
            tokio::select! {
                biased;
                written = &mut written => return written,
                () = poll_fn(|cx| self.stop.poll_changed(cx)), if stoppable => {}
            }
            // It may still be taking what it gets, but a stop waits for it no longer than for a farewell.
            timeout(FAREWELL, written).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
        });
        let sent = sent.await;
        // Nothing is kept while nothing is said.
        self.out = Vec::new();
        if sent.is_err() {
            self.server.entry.metrics.smtp_limit(SmtpLimit::Time);
            debug!(address = %self.address, "the client takes no replies");
        }
        matches!(sent, Ok(Ok(())))
    }

    /// Waits for bytes, or for something that ends the session, as far as that may end now.
    async fn wait(&mut self, until: Instant) -> Waited {
        let Some(stream) = &mut self.stream else { return Waited::Gone };
        let (mut until, since) = (until, Instant::now());
        if let Some(deadline) = self.delivery.as_ref().and_then(|delivery| delivery.deadline()) {
            // However busy the client keeps us.
            if deadline <= since {
                return Waited::TooLong;
            }
            until = until.min(deadline);
        }
        let receiving = self.session.is_receiving();
        let watched = self.granted.is_some() && !receiving && !self.unsure;
        let stoppable = !self.session.is_in_transaction();
        let unsure = self.granted.is_some() && !receiving && self.unsure;
        let in_delivery = self.delivery.is_some();
        let manner = match (receiving, self.granted.is_none()) {
            (true, _) => Manner::Content,
            (false, true) => Manner::Secret,
            (false, false) => Manner::Commands,
        };
        tokio::select! {
            biased;
            () = poll_fn(|cx| self.stop.poll_changed(cx)), if stoppable => Waited::Stopped,
            () = poll_fn(|cx| self.changes.poll_changed(cx)), if watched => Waited::Changed,
            () = sleep(AGAIN), if unsure => Waited::Changed,
            read = self.alarm.before(until, stream.read(&mut self.input, manner)) => match read {
                Some(Ok(1..)) => Waited::Bytes,
                Some(Ok(0) | Err(_)) => Waited::Gone,
                None => Waited::TooLong,
            },
            // Only once it is clear that the client has to be waited for.
            waited = poll_fn(|cx| match &mut self.delivery {
                Some(delivery) => delivery.poll_idle(since, cx),
                None => Poll::Pending,
            }), if in_delivery => waited,
        }
    }

    /// Ends the session where its credential is gone.
    async fn look_for_changes(&mut self) {
        let Some(granted) = &self.granted else { return };
        if !self.changes.has_changed() && !self.unsure {
            return;
        }
        match self.server.entry.access.permissions_now(granted).await {
            Ok(Some(_)) => self.unsure = false,
            Ok(None) => self.revoke(),
            // The next command asks again, and no transaction begins undecided.
            Err(_) => self.unsure = true,
        }
    }

    /// Whether a transaction that was decided may go on to what the backend gets next: the credential is still there, as
    /// far as anybody knows. `None` where it isn't, and the session is over; a refusal where it can't be found out.
    ///
    /// What came in one piece with MAIL is taken up later, and a slow backend may have been asked in between. Where nothing
    /// changed, this is a look at a number.
    async fn goes_on(&mut self) -> Option<Result<(), Reply>> {
        if self.changes.has_changed() || self.unsure {
            self.unsure = true;
            Box::pin(self.look_for_changes()).await;
        }
        match (self.session.is_over(), self.unsure) {
            (true, _) => None,
            (false, true) => Some(Err(answers::AUTH_UNAVAILABLE)),
            (false, false) => Some(Ok(())),
        }
    }

    /// The same for a chunk: a message that was begun may end.
    async fn chunk_goes_on(&mut self) -> Option<Result<(), Reply>> {
        match &self.delivery {
            Some(delivery) if !delivery.has_begun() => self.goes_on().await,
            _ => Some(Ok(())),
        }
    }

    fn revoke(&mut self) {
        if self.session.is_over() {
            return;
        }
        self.note_revocation();
        self.session.dismiss(&answers::REVOKED, &mut self.out);
    }

    fn note_revocation(&self) {
        if let Some(granted) = &self.granted {
            info!(user = %granted.name(), address = %self.address, "an SMTP session was cut: its credential is gone");
        }
        self.server.entry.metrics.session_cut(domain::Entry::Smtp);
    }

    /// Has the session take what it can of the input, and does what it asks for. What waits for a backend is on the heap,
    /// so that a session that waits for its client doesn't carry the room for it.
    async fn work(&mut self) -> Wanted {
        let secret = self.granted.is_none();
        let mut input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        let moment = self.server.entry.moment();
        let wanted = loop {
            if self.out.len() >= GATHER && !self.session.is_over() {
                break Wanted::Room;
            }
            match self.session.step(&mut rest, &mut self.out, &moment) {
                Step::Read => break Wanted::Bytes,
                Step::Flush => break Wanted::Room,
                Step::Check(held) => self.check(&held).await,
                Step::StartTls => break Wanted::Tls,
                Step::Envelope(envelope) => Box::pin(self.envelope(envelope)).await,
                Step::Reset => self.end_transaction(),
                Step::Data => {
                    let reply = match (self.goes_on().await, &mut self.delivery) {
                        (None, _) => continue,
                        (Some(Err(reply)), _) => reply,
                        (_, Some(delivery)) => Box::pin(delivery.data()).await,
                        (_, None) => answers::NO_BACKEND,
                    };
                    self.session.go_ahead(&reply, &mut self.out);
                    if !reply.is_intermediate() {
                        self.end_transaction();
                    }
                }
                Step::Content(piece) => {
                    self.server.entry.metrics.smtp_message_bytes.inc_by(piece.len() as u64);
                    let written = match &mut self.delivery {
                        Some(delivery) => Box::pin(delivery.write(&piece)).await,
                        None => Err(answers::BACKEND_LOST),
                    };
                    if let Err(reply) = written {
                        self.session.failed(reply);
                    }
                }
                Step::Chunk(bytes) => {
                    self.server.entry.metrics.smtp_message_bytes.inc_by(bytes.len() as u64);
                    let written = match (self.chunk_goes_on().await, &mut self.delivery) {
                        (None, _) => continue,
                        (Some(Err(reply)), _) => Err(reply),
                        (_, Some(delivery)) => Box::pin(delivery.chunk(&bytes)).await,
                        (_, None) => Err(answers::BACKEND_LOST),
                    };
                    if let Err(reply) = written {
                        self.session.failed(reply);
                    }
                }
                Step::LastChunk(bytes) => {
                    self.server.entry.metrics.smtp_message_bytes.inc_by(bytes.len() as u64);
                    let reply = match (self.chunk_goes_on().await, &mut self.delivery) {
                        (None, _) => continue,
                        (Some(Err(reply)), _) => reply,
                        (_, Some(delivery)) => Box::pin(delivery.last_chunk(&bytes)).await,
                        (_, None) => answers::BACKEND_LOST,
                    };
                    self.session.outcome(&reply, &mut self.out);
                    self.end_transaction();
                }
                Step::Finish(piece) => {
                    self.server.entry.metrics.smtp_message_bytes.inc_by(piece.len() as u64);
                    let reply = match &mut self.delivery {
                        Some(delivery) => Box::pin(delivery.finish(&piece)).await,
                        None => answers::BACKEND_LOST,
                    };
                    self.session.outcome(&reply, &mut self.out);
                    self.end_transaction();
                }
                Step::Abort => {
                    if let Some(delivery) = &mut self.delivery {
                        delivery.abort();
                    }
                }
                Step::Close => {
                    self.end_transaction();
                    break Wanted::End;
                }
            }
        };
        for limit in self.session.take_reached() {
            self.server.entry.metrics.smtp_limit(counted(limit));
        }
        let used = input.len() - rest.len();
        if secret {
            let left = input.len() - used;
            input.copy_within(used.., 0);
            input[left..].zeroize();
            input.truncate(left);
        } else {
            input.drain(..used);
        }
        // A session that waits for a command keeps no buffer.
        if !input.is_empty() || self.session.is_receiving() {
            self.input = input;
        }
        if self.delivery.is_some() && !self.session.is_in_transaction() {
            self.end_transaction();
        }
        wanted
    }

    fn end_transaction(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.close();
        }
        self.under_way = None;
    }

    /// Takes STARTTLS up; false where that fails.
    async fn encrypt(&mut self) -> bool {
        if !self.flush().await {
            return false;
        }
        let (Some(stream), Some(acceptor)) = (self.stream.take(), &self.server.entry.tls) else {
            return false;
        };
        let handshake = timeout(self.server.entry.handshake, stream.encrypt(acceptor));
        match self.server.unless_stopped(handshake).await {
            None => false,
            Some(Ok(Ok(stream))) => {
                self.stream = Some(stream);
                self.session.encrypted();
                true
            }
            Some(Ok(Err(error))) => {
                debug!(address = %self.address, %error, "no TLS");
                false
            }
            Some(Err(_)) => {
                self.server.entry.metrics.smtp_limit(SmtpLimit::Time);
                debug!(address = %self.address, "the TLS handshake took too long");
                false
            }
        }
    }
}

fn counted(limit: Limit) -> SmtpLimit {
    match limit {
        Limit::Errors => SmtpLimit::Errors,
        Limit::Logins => SmtpLimit::Logins,
        Limit::Messages => SmtpLimit::Messages,
        Limit::Recipients => SmtpLimit::Recipients,
        Limit::Size => SmtpLimit::Size,
    }
}
