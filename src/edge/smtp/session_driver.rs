//! The loop around an SMTP session: it feeds the client's bytes to the session, and does what the session asks for.

mod authorize;
mod wait;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::info;
use zeroize::Zeroize;

use super::client_io::{ClientIo, UnreadInput};
use super::delivery::MailDelivery;
use super::shutdown::Shutdown;
use super::worker::SmtpWorker;
use crate::domain;
use crate::edge::net::deadline::DeadlineTimer;
use crate::edge::net::in_flight::InFlightGuard;
use crate::edge::net::watch::Watched;
use crate::service::access::Granted;
use crate::state::metrics::SmtpLimit;
use crate::wire::smtp::session::{GATHER, SessionLimit, SessionStep, SmtpSession};
use crate::wire::smtp::{Reply, replies};

/// For the last replies of a session to a client that may not listen.
const FAREWELL: Duration = Duration::from_secs(5);

/// The most room that a session keeps for commands and for replies while nothing is said, in bytes: most fit into it.
const KEPT: usize = 512;

/// One visit.
pub struct SessionDriver {
    worker: SmtpWorker,
    stream: Option<ClientIo>,
    session: SmtpSession,
    address: IpAddr,
    input: Vec<u8>,
    out: Vec<u8>,
    granted: Option<Granted>,
    /// Changes with every credential.
    changes: Watched<u64>,
    /// There was a change, and it couldn't be found out what it means for this session.
    unsure: bool,
    delivery: Option<Box<MailDelivery>>,
    under_way: Option<InFlightGuard>,
    /// When all of it has to be over.
    deadline: Instant,
    alarm: DeadlineTimer,
}

/// The event that ends a wait for the client.
enum WaitOutcome {
    Input,
    CredentialsChanged,
    Stopped,
    TimedOut,
    Disconnected,
}

/// What the session wants when it has done what it could.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PauseReason {
    /// The session needs more input.
    NeedsInput,
    /// The replies have to be sent before the rest of the input is processed.
    RepliesFull,
    StartTls,
    Closed,
}

impl SessionDriver {
    /// The visit of who is at `address`.
    pub fn new(worker: SmtpWorker, stream: ClientIo, address: IpAddr) -> SessionDriver {
        let entry = &worker.entry;
        let encrypted = matches!(stream, ClientIo::Tls(_));
        SessionDriver {
            session: SmtpSession::new(entry.settings.clone(), address, encrypted, entry.number()),
            changes: Watched::new(entry.access.subscribe()),
            deadline: Instant::now() + entry.timeouts.session,
            alarm: DeadlineTimer::default(),
            stream: Some(stream),
            address,
            input: Vec::with_capacity(KEPT),
            out: Vec::with_capacity(KEPT),
            granted: None,
            unsure: false,
            delivery: None,
            under_way: None,
            worker,
        }
    }

    /// From the greeting to the end.
    pub async fn run(mut self) {
        // Not a field: what a stop may end borrows the whole visit.
        let mut shutdown = Shutdown::new(self.worker.stop.clone(), self.worker.entry.clone());
        self.session.greet(&mut self.out);
        // How long the client has for what it says next; what it drips doesn't give it more.
        let mut command_ends = None;
        let mut wanted = PauseReason::NeedsInput;
        loop {
            let now = Instant::now();
            if !self.flush(now, &mut shutdown).await {
                break;
            }
            let timeouts = &self.worker.entry.timeouts;
            let command_ends_at = *command_ends.get_or_insert(now + timeouts.command);
            let receiving = self.session.is_receiving();
            let until = if receiving { Instant::now() + timeouts.data } else { command_ends_at };
            let waited = match wanted {
                PauseReason::RepliesFull => WaitOutcome::Input,
                _ => self.wait(now, until.min(self.deadline), &mut shutdown).await,
            };
            match waited {
                WaitOutcome::Input => {}
                WaitOutcome::Disconnected => break,
                WaitOutcome::Stopped => self.session.close_with(&replies::STOPPING, &mut self.out),
                WaitOutcome::TimedOut => {
                    self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                    self.session.close_with(&replies::TIMEOUT, &mut self.out);
                }
                WaitOutcome::CredentialsChanged => self.unsure = true,
            }
            if !receiving && !self.session.is_over() {
                self.look_for_changes_in_time(&mut shutdown).await;
            }
            wanted = self.work(&mut shutdown).await;
            match wanted {
                PauseReason::NeedsInput | PauseReason::RepliesFull => {}
                PauseReason::StartTls => {
                    if !Box::pin(self.encrypt(&mut shutdown)).await {
                        break;
                    }
                    command_ends = None;
                }
                PauseReason::Closed => {
                    if let Some(stream) = self.stream.take() {
                        let rest = match shutdown.has_begun() {
                            true if receiving || shutdown.is_past_deadline() => UnreadInput::Expected,
                            true => UnreadInput::Unbounded,
                            false => UnreadInput::Bounded,
                        };
                        let _ = self.alarm.within(FAREWELL, stream.close(&self.out, rest)).await;
                    }
                    break;
                }
            }
            if !self.out.is_empty() || receiving {
                command_ends = None;
            }
        }
        self.end_transaction();
        if self.granted.is_none() {
            // It may have gone in the middle of a login.
            self.input.zeroize();
        }
    }

    /// Ends the session where its credential is gone.
    async fn look_for_changes(&mut self) {
        let Some(granted) = &self.granted else { return };
        if !self.changes.has_changed() && !self.unsure {
            return;
        }
        match self.worker.entry.access.permissions_now(granted).await {
            Ok(Some(_)) => self.unsure = false,
            Ok(None) => self.revoke(),
            // The next command asks again, and no transaction begins undecided.
            Err(_) => self.unsure = true,
        }
    }

    /// Ends the session also if the deadline of a stop passes before it is known.
    async fn look_for_changes_in_time(&mut self, shutdown: &mut Shutdown) {
        if shutdown.before_deadline(self.look_for_changes()).await.is_none() {
            self.give_up();
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
            (false, true) => Some(Err(replies::AUTH_UNAVAILABLE)),
            (false, false) => Some(Ok(())),
        }
    }

    /// The result of [`SessionDriver::goes_on`]; `None` also if the deadline of a stop passes before, which ends the session.
    async fn goes_on_in_time(&mut self, shutdown: &mut Shutdown) -> Option<Result<(), Reply>> {
        let goes_on = shutdown.before_deadline(self.goes_on()).await;
        goes_on.unwrap_or_else(|| {
            self.give_up();
            None
        })
    }

    /// The same for a chunk: a message that was begun may end.
    async fn chunk_goes_on(&mut self, shutdown: &mut Shutdown) -> Option<Result<(), Reply>> {
        match &self.delivery {
            Some(delivery) if !delivery.has_begun() => self.goes_on_in_time(shutdown).await,
            _ => Some(Ok(())),
        }
    }

    fn revoke(&mut self) {
        if self.session.is_over() {
            return;
        }
        self.note_revocation();
        self.session.close_with(&replies::REVOKED, &mut self.out);
    }

    fn note_revocation(&self) {
        if let Some(granted) = &self.granted {
            info!(user = %granted.name(), address = %self.address, "an SMTP session was cut: its credential is gone");
        }
        self.worker.entry.metrics.session_cut(domain::Entry::Smtp);
    }

    /// Has the session take what it can of the input, and does what it asks for. What waits for a backend is on the heap,
    /// so that a session that waits for its client doesn't carry the room for it.
    async fn work(&mut self, shutdown: &mut Shutdown) -> PauseReason {
        let secret = self.granted.is_none();
        let mut input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        let moment = self.worker.entry.moment();
        let wanted = loop {
            if self.out.len() >= GATHER && !self.session.is_over() {
                break PauseReason::RepliesFull;
            }
            if shutdown.has_begun() && self.may_stop(rest) {
                self.session.close_with(&replies::STOPPING, &mut self.out);
            }
            match self.session.step(&mut rest, &mut self.out, &moment) {
                SessionStep::Read => break PauseReason::NeedsInput,
                SessionStep::Flush => break PauseReason::RepliesFull,
                SessionStep::Check(held) => {
                    if shutdown.before_deadline(self.check(&held)).await.is_none() {
                        self.give_up();
                    }
                }
                SessionStep::StartTls => break PauseReason::StartTls,
                SessionStep::Envelope(envelope) => {
                    if shutdown.unless_begun(Box::pin(self.envelope(envelope))).await.is_none() {
                        self.give_up();
                    }
                }
                SessionStep::Reset => self.end_transaction(),
                SessionStep::Data => {
                    let reply = match (self.goes_on_in_time(shutdown).await, &mut self.delivery) {
                        (None, _) => continue,
                        (Some(Err(reply)), _) => Some(reply),
                        (_, Some(delivery)) => shutdown.unless_begun(Box::pin(delivery.data())).await,
                        (_, None) => Some(replies::NO_BACKEND),
                    };
                    let Some(reply) = reply else {
                        self.give_up();
                        continue;
                    };
                    self.session.complete_data_command(&reply, &mut self.out);
                    if !reply.is_intermediate() {
                        self.end_transaction();
                    }
                }
                SessionStep::Content(piece) => {
                    self.worker.entry.metrics.smtp_message_bytes.inc_by(piece.len() as u64);
                    let written = match &mut self.delivery {
                        Some(delivery) => shutdown.before_deadline(Box::pin(delivery.write(&piece))).await,
                        None => Some(Err(replies::BACKEND_LOST)),
                    };
                    self.written(written);
                }
                SessionStep::Chunk(bytes) => {
                    self.worker.entry.metrics.smtp_message_bytes.inc_by(bytes.len() as u64);
                    let may_stop = self.may_stop(rest);
                    let written = match (self.chunk_goes_on(shutdown).await, &mut self.delivery) {
                        (None, _) => continue,
                        (Some(Err(reply)), _) => Some(Err(reply)),
                        (_, Some(delivery)) => {
                            let chunk = Box::pin(delivery.chunk(&bytes));
                            match may_stop {
                                true => shutdown.unless_begun(chunk).await,
                                false => shutdown.before_deadline(chunk).await,
                            }
                        }
                        (_, None) => Some(Err(replies::BACKEND_LOST)),
                    };
                    self.written(written);
                }
                SessionStep::LastChunk(bytes) => {
                    self.worker.entry.metrics.smtp_message_bytes.inc_by(bytes.len() as u64);
                    let reply = match (self.chunk_goes_on(shutdown).await, &mut self.delivery) {
                        (None, _) => continue,
                        (Some(Err(reply)), _) => Some(reply),
                        (_, Some(delivery)) => {
                            shutdown.before_deadline(Box::pin(delivery.last_chunk(&bytes))).await
                        }
                        (_, None) => Some(replies::BACKEND_LOST),
                    };
                    self.conclude(reply);
                }
                SessionStep::Finish(piece) => {
                    self.worker.entry.metrics.smtp_message_bytes.inc_by(piece.len() as u64);
                    let reply = match &mut self.delivery {
                        Some(delivery) => shutdown.before_deadline(Box::pin(delivery.finish(&piece))).await,
                        None => Some(replies::BACKEND_LOST),
                    };
                    self.conclude(reply);
                }
                SessionStep::Abort => {
                    if let Some(delivery) = &mut self.delivery {
                        delivery.abort();
                    }
                }
                SessionStep::Close => {
                    self.end_transaction();
                    break PauseReason::Closed;
                }
            }
        };
        for limit in self.session.take_reached_limits() {
            self.worker.entry.metrics.smtp_limit(counted(limit));
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
        // A session that waits for a command keeps next to no buffer.
        if !input.is_empty() || input.capacity() <= KEPT || self.session.is_receiving() {
            self.input = input;
        }
        if self.delivery.is_some() && !self.session.is_in_transaction() {
            self.end_transaction();
        }
        wanted
    }

    /// Notes how a piece of a message was written; nothing is known of it if a stop came before.
    fn written(&mut self, written: Option<Result<(), Reply>>) {
        match written {
            Some(Ok(())) => {}
            Some(Err(reply)) => self.session.fail_content(reply),
            None => self.give_up(),
        }
    }

    /// Says how a message ended; nothing is known of it if the deadline of a stop passed before.
    fn conclude(&mut self, reply: Option<Reply>) {
        match reply {
            Some(reply) => {
                self.session.complete_message(&reply, &mut self.out);
                self.end_transaction();
            }
            None => self.give_up(),
        }
    }

    /// Tells whether a stop may end the session before `rest` is looked at: chunks that came together are one message under way.
    fn may_stop(&self, rest: &[u8]) -> bool {
        !self.session.is_over()
            && !self.session.is_transferring()
            && (rest.is_empty() || !self.session.is_receiving())
    }

    /// Ends the session because of a stop, in the middle of what a backend was asked: its connection is closed, since its
    /// answer may be on its way.
    fn give_up(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.give_up();
        }
        self.session.close_with(&replies::STOPPING, &mut self.out);
    }

    fn end_transaction(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.close();
        }
        self.under_way = None;
    }
}

fn counted(limit: SessionLimit) -> SmtpLimit {
    match limit {
        SessionLimit::Errors => SmtpLimit::Errors,
        SessionLimit::Logins => SmtpLimit::Logins,
        SessionLimit::Messages => SmtpLimit::Messages,
        SessionLimit::Recipients => SmtpLimit::Recipients,
        SessionLimit::Size => SmtpLimit::Size,
    }
}
