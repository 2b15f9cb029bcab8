//! A stop of the gateway as seen by one session: its start, and the deadline after which no wait continues.

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
    /// Not watched before the stop starts.
    Unwatched,
    Watched(Pin<Box<dyn Future<Output = ()> + Send>>),
    Passed,
}

impl Shutdown {
    /// A stop of the gateway with `entry`, which starts when `begun` becomes true.
    pub fn new(begun: watch::Receiver<bool>, entry: Arc<SmtpService>) -> Shutdown {
        Shutdown { begun: Watched::new(begun), entry, deadline: ShutdownDeadline::Unwatched }
    }

    /// Returns true if the stop has started.
    pub fn has_begun(&self) -> bool {
        self.begun.is_changed()
    }

    /// Returns true if the deadline has ended a wait.
    pub fn is_past_deadline(&self) -> bool {
        matches!(self.deadline, ShutdownDeadline::Passed)
    }

    /// Ready once the stop has started.
    pub fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.begun.poll_changed(cx)
    }

    /// Ready once the deadline of the stop has passed.
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

    /// Ready once the stop ends a wait for the client: at its start if the wait is `stoppable`, else at its deadline.
    pub fn poll_end_of_wait(&mut self, stoppable: bool, cx: &mut Context<'_>) -> Poll<()> {
        match stoppable {
            true => self.poll_begun(cx),
            false => self.poll_deadline(cx),
        }
    }

    /// Returns the output of `future`, or `None` if the stop starts first.
    pub async fn unless_begun<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_begun(cx).map(|()| None),
        })
        .await
    }

    /// Returns the output of `future`, or `None` if the deadline of the stop passes first.
    pub async fn before_deadline<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_deadline(cx).map(|()| None),
        })
        .await
    }
}
