//! The loop around an SMTP session: reads the client's input, takes the session's steps, sends the replies.

mod authorize;
mod log;
mod revocation;
mod steps;
mod wait;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pingora_timeout::timeout;
use zeroize::Zeroize;

use super::client_io::{ClientIo, LISTEN_LATE, UnreadInput};
use super::delivery::MailDelivery;
use super::service::ServedListener;
use super::shutdown::Shutdown;
use super::worker::SmtpWorker;
use crate::edge::net::deadline::DeadlineTimer;
use crate::edge::net::in_flight::InFlightGuard;
use crate::edge::net::watch::Watched;
use crate::service::access::Granted;
use crate::state::metrics::SmtpLimit;
use crate::wire::smtp::replies;
use crate::wire::smtp::session::SmtpSession;

/// The time for the last replies of a session to a client that may not read them.
const FAREWELL: Duration = Duration::from_secs(5);

/// The capacity that a session keeps for input and for replies while it is idle, in bytes. Most commands and replies
/// fit.
const BUFFER: usize = 512;

/// The driver of one client's session.
pub struct SessionDriver {
    worker: SmtpWorker,
    stream: Option<ClientIo>,
    session: SmtpSession,
    address: IpAddr,
    input: Vec<u8>,
    out: Vec<u8>,
    granted: Option<Granted>,
    /// The counter of changes to credentials.
    changes: Watched<u64>,
    /// True after a change that could not be checked against the credential of this session.
    unsure: bool,
    /// True if the last step could not be decided on for want of trust.
    was_cut_off: bool,
    /// False once the credential was seen without the permission `email`.
    may_send: bool,
    delivery: Option<Box<MailDelivery>>,
    under_way: Option<InFlightGuard>,
    /// The end of the longest session that is configured.
    deadline: Instant,
    alarm: DeadlineTimer,
}

/// The event that ends a wait for the client.
enum WaitOutcome {
    Input,
    CredentialsChanged,
    Stopped,
    TimedOut,
    /// The client sends no more, but may still read.
    Ended,
    Disconnected,
}

/// The reason why a session takes no further step.
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
    /// A driver for the client of `listener` at `address`.
    pub fn new(
        worker: SmtpWorker,
        listener: &ServedListener,
        stream: ClientIo,
        address: IpAddr,
    ) -> SessionDriver {
        let entry = &worker.entry;
        let encrypted = matches!(stream, ClientIo::Tls(_));
        SessionDriver {
            session: SmtpSession::new(listener.settings.clone(), address, encrypted, entry.ids.next()),
            changes: Watched::new(entry.access.subscribe()),
            deadline: Instant::now() + entry.timeouts.session,
            alarm: DeadlineTimer::default(),
            stream: Some(stream),
            address,
            input: Vec::with_capacity(BUFFER),
            out: Vec::with_capacity(BUFFER),
            granted: None,
            unsure: false,
            was_cut_off: false,
            may_send: true,
            delivery: None,
            under_way: None,
            worker,
        }
    }

    /// Runs the session from the greeting to its end.
    pub async fn run(mut self) {
        // Not a field of the driver, because the futures that a stop cancels borrow the driver.
        let mut shutdown = Shutdown::new(self.worker.stop.clone(), self.worker.entry.clone());
        self.session.greet(&mut self.out);
        // The deadline of the next command. Bytes that trickle in don't extend it.
        let mut command_ends = None;
        let mut reason = PauseReason::NeedsInput;
        loop {
            let now = Instant::now();
            if !self.flush(now, &mut shutdown).await {
                break;
            }
            let timeouts = &self.worker.entry.timeouts;
            let command_ends_at = *command_ends.get_or_insert(now + timeouts.command);
            let receiving = self.session.is_receiving();
            let longest =
                if self.session.may_await_reply() { self.worker.entry.stall } else { timeouts.data };
            let pause_ends = Instant::now() + longest;
            let until = match (receiving, self.session.may_stall()) {
                (true, _) => pause_ends,
                // A chunk that is discarded has no more time than a command.
                (false, true) => command_ends_at.min(pause_ends),
                (false, false) => command_ends_at,
            };
            let outcome = match reason {
                PauseReason::RepliesFull => WaitOutcome::Input,
                _ => self.wait(now, until.min(self.deadline), &mut shutdown).await,
            };
            let mut stalled = false;
            match outcome {
                WaitOutcome::Input => {}
                WaitOutcome::Disconnected => break,
                WaitOutcome::Stopped => self.close_with(&replies::STOPPING),
                WaitOutcome::Ended => {
                    stalled = self.end_stalled();
                    if !stalled {
                        break;
                    }
                }
                WaitOutcome::TimedOut => stalled = self.time_out(pause_ends),
                WaitOutcome::CredentialsChanged => self.unsure = true,
            }
            if !receiving && !self.session.is_over() {
                self.look_for_changes_in_time(&mut shutdown).await;
            }
            reason = self.work(&mut shutdown).await;
            match reason {
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
                            false if stalled => UnreadInput::Late,
                            false => UnreadInput::Bounded,
                        };
                        let closing = stream.close(&self.out, rest);
                        match rest {
                            // A stop does not wait for what the client may yet send.
                            UnreadInput::Late => {
                                let closing = timeout(FAREWELL + LISTEN_LATE, closing);
                                let _ = self.worker.unless_stopped(closing).await;
                            }
                            _ => drop(self.alarm.within(FAREWELL, closing).await),
                        }
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
            // The connection may have been lost in the middle of a login.
            self.input.zeroize();
        }
    }

    /// Ends the session because its client took too long. If its message is refused, the reply is the reason of that, and the
    /// result is true. A pause until `pause_ends` is then no timeout.
    fn time_out(&mut self, pause_ends: Instant) -> bool {
        let stalled = self.end_stalled();
        if !stalled || Instant::now() < pause_ends {
            self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
        }
        if !stalled {
            self.close_with(&replies::TIMEOUT);
        }
        stalled
    }

    /// Ends the session in the middle of a message that is refused, with the reply to it. Returns false if there is none.
    fn end_stalled(&mut self) -> bool {
        let receiving = self.session.is_receiving();
        let stalled = self.session.end_stalled(&mut self.out);
        if stalled
            && let Some(delivery) = &mut self.delivery
            && receiving
            && delivery.is_open()
        {
            delivery.abort();
        }
        stalled
    }

    fn end_transaction(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.close();
        }
        self.under_way = None;
    }
}
