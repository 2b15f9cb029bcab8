//! The client's side of the driver: sends replies, waits for input and other events, performs STARTTLS.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use pingora_timeout::{sleep, timeout};

use super::{BUFFER, FAREWELL, SessionDriver, WaitOutcome};
use crate::domain::RefusalReason;
use crate::edge::smtp::client_io::ReadPurpose;
use crate::edge::smtp::shutdown::Shutdown;
use crate::state::metrics::SmtpLimit;

/// The interval at which an idle session is checked again after a change that could not be checked.
const AGAIN: Duration = Duration::from_millis(500);

impl SessionDriver {
    /// Sends the replies so far, as of `now`. Returns false if the client does not read them.
    pub(super) async fn flush(&mut self, now: Instant, shutdown: &mut Shutdown) -> bool {
        if self.out.is_empty() {
            return true;
        }
        let Some(stream) = &self.stream else { return false };
        let taken = match stream.try_write(&self.out) {
            Ok(sent) => sent == self.out.len() || Box::pin(self.send_rest(sent, now, shutdown)).await,
            Err(_) => false,
        };
        // An idle session keeps almost no memory.
        self.out.clear();
        if self.out.capacity() > BUFFER {
            self.out = Vec::new();
        }
        taken
    }

    /// Sends the replies behind the first `sent` bytes. Returns false if the client does not read them.
    async fn send_rest(&mut self, sent: usize, now: Instant, shutdown: &mut Shutdown) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let left = self.deadline.saturating_duration_since(now);
        let patience = self.worker.entry.timeouts.command.min(left);
        let stoppable = !self.session.is_transferring();
        let sending = timeout(patience, async {
            let mut written = pin!(stream.write(&self.out[sent..]));
            tokio::select! {
                biased;
                written = &mut written => return written,
                () = poll_fn(|cx| shutdown.poll_end_of_wait(stoppable, cx)) => {}
            }
            // The client may be slow, but a stop waits for it no longer than for the last replies.
            timeout(FAREWELL, written).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
        });
        let ended = sending.await;
        if ended.is_err() {
            self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
            self.log_reason(RefusalReason::UnreadReplies, None, b"", "");
        }
        matches!(ended, Ok(Ok(())))
    }

    /// Waits for input or for an event that may end the session now. `since` is the start of the wait, `until` its end.
    pub(super) async fn wait(
        &mut self,
        since: Instant,
        until: Instant,
        shutdown: &mut Shutdown,
    ) -> WaitOutcome {
        let Some(stream) = &mut self.stream else { return WaitOutcome::Disconnected };
        let mut until = until;
        if let Some(deadline) = self.delivery.as_ref().and_then(|delivery| delivery.deadline()) {
            // Checked here as well, since a client that sends without a pause never makes the driver wait.
            if deadline <= since {
                return WaitOutcome::TimedOut;
            }
            until = until.min(deadline);
        }
        let receiving = self.session.is_receiving();
        let stoppable = !self.session.is_transferring();
        let is_checked = self.granted.is_some() && !receiving;
        // The return of trust is announced. A store that can be asked again is not.
        let unsure = is_checked && self.unsure && self.worker.entry.access.has_trust();
        let watched = is_checked && !unsure;
        let in_delivery = self.delivery.is_some();
        let manner = match (receiving, self.granted.is_none()) {
            (true, _) => ReadPurpose::Content,
            (false, true) => ReadPurpose::Credentials,
            (false, false) => ReadPurpose::Commands,
        };
        tokio::select! {
            biased;
            () = poll_fn(|cx| shutdown.poll_end_of_wait(stoppable, cx)) => WaitOutcome::Stopped,
            () = poll_fn(|cx| self.changes.poll_changed(cx)), if watched => WaitOutcome::CredentialsChanged,
            () = sleep(AGAIN), if unsure => WaitOutcome::CredentialsChanged,
            read = self.alarm.before(until, stream.read(&mut self.input, manner)) => match read {
                Some(Ok(1..)) => WaitOutcome::Input,
                Some(Ok(0)) => WaitOutcome::Ended,
                Some(Err(_)) => WaitOutcome::Disconnected,
                None => WaitOutcome::TimedOut,
            },
            // Last, so that the backend is driven only while the client is idle.
            waited = poll_fn(|cx| match &mut self.delivery {
                Some(delivery) => delivery.poll_idle(since, cx),
                None => Poll::Pending,
            }), if in_delivery => waited,
        }
    }

    /// Performs STARTTLS. Returns false if that fails.
    pub(super) async fn encrypt(&mut self, shutdown: &mut Shutdown) -> bool {
        if !self.flush(Instant::now(), shutdown).await {
            return false;
        }
        let (Some(stream), Some(acceptor)) = (self.stream.take(), &self.worker.entry.tls) else {
            return false;
        };
        let handshake = timeout(self.worker.entry.handshake, stream.encrypt(acceptor));
        match self.worker.unless_stopped(handshake).await {
            None => false,
            Some(Ok(Ok(stream))) => {
                self.stream = Some(stream);
                self.session.complete_handshake();
                true
            }
            Some(Ok(Err(error))) => {
                self.log_reason(RefusalReason::Handshake, None, b"", &error.to_string());
                false
            }
            Some(Err(_)) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                self.log_reason(RefusalReason::SlowHandshake, None, b"", "");
                false
            }
        }
    }
}
