//! A stop of the gateway, as one session sees it: its beginning, and the deadline after which nothing is waited for.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;

use super::service::SmtpService;
use crate::edge::net::watch::Watched;

/// The stop of the gateway.
pub struct Shutdown {
    begun: Watched<bool>,
    entry: Arc<SmtpService>,
    deadline: ShutdownDeadline,
}

enum ShutdownDeadline {
    /// Of no interest before the stop begins.
    Unwatched,
    Watched(Pin<Box<dyn Future<Output = ()> + Send>>),
    Passed,
}

impl Shutdown {
    /// The stop that turns `begun` true, of the gateway with that entry.
    pub fn new(begun: watch::Receiver<bool>, entry: Arc<SmtpService>) -> Shutdown {
        Shutdown { begun: Watched::new(begun), entry, deadline: ShutdownDeadline::Unwatched }
    }

    /// Returns true if the gateway stops.
    pub fn has_begun(&self) -> bool {
        self.begun.is_changed()
    }

    /// Returns true if a wait was ended by the deadline.
    pub fn is_past_deadline(&self) -> bool {
        matches!(self.deadline, ShutdownDeadline::Passed)
    }

    /// Ready once the gateway stops.
    pub fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.begun.poll_changed(cx)
    }

    /// Ready once the deadline of a stop has passed.
    pub fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let ShutdownDeadline::Unwatched = self.deadline {
            ready!(self.begun.poll_changed(cx));
            let mut cut_off = self.entry.cut_off.subscribe();
            self.deadline = ShutdownDeadline::Watched(Box::pin(async move {
                let _ = cut_off.wait_for(|cut_off| *cut_off).await;
            }));
        }
        if let ShutdownDeadline::Watched(deadline) = &mut self.deadline {
            ready!(deadline.as_mut().poll(cx));
            self.deadline = ShutdownDeadline::Passed;
        }
        Poll::Ready(())
    }

    /// Ready once a stop ends a wait for the client: at its beginning if the wait is `stoppable`, else at its deadline.
    pub fn poll_end_of_wait(&mut self, stoppable: bool, cx: &mut Context<'_>) -> Poll<()> {
        match stoppable {
            true => self.poll_begun(cx),
            false => self.poll_deadline(cx),
        }
    }

    /// The output of `future`; `None` if the gateway stops before.
    pub async fn unless_begun<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_begun(cx).map(|()| None),
        })
        .await
    }

    /// The output of `future`; `None` if the deadline of a stop passes before.
    pub async fn before_deadline<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_deadline(cx).map(|()| None),
        })
        .await
    }
}
