//! A client's connection: requests one after another over HTTP/1, many at once over HTTP/2.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::{ALPN, Stream};
use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::access_log::log_unread;
use super::client_session::ClientSession;
use super::error::Refusal;
use super::handler::RequestHandler;
use super::http1::client::Http1Client;
use super::http2::connection::Http2Connection;
use super::peer::HttpPeer;
use super::respond;
use super::service::HttpService;
use crate::edge::net::deadline::DeadlineTimer;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::listener::Connection;
use crate::edge::net::watch::Watched;

/// The protocols that a client may choose in the TLS handshake (ALPN).
pub const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Serves one connection to its end.
#[derive(Clone)]
pub struct HttpServer {
    /// The entry that received it.
    pub site: Arc<HttpService>,
    /// The worker that serves it.
    pub worker: usize,
    /// The requests in progress, which a stop waits for.
    pub requests: Arc<InFlight>,
    /// The connections over HTTP/2, on which answers may still be on their way after their requests have ended.
    pub multiplexed: Arc<InFlight>,
    /// Becomes true when the gateway stops.
    pub stop: watch::Receiver<bool>,
}

impl HttpServer {
    /// Serves `connection` until either side closes it.
    pub async fn serve(self, connection: Connection) {
        let Connection { stream, peer, tls, entered, counted } = connection;
        let client = HttpPeer::new(peer, tls);
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            let open = self.multiplexed.enter();
            let HttpServer { site, worker, requests, stop, .. } = self;
            // On the heap, because the future of a connection over HTTP/1 is smaller.
            Box::pin(Http2Connection::new(site, worker, requests, stop, client).serve(stream)).await;
            drop(open);
        } else {
            self.one_by_one(stream, &client).await;
        }
        drop((entered, counted));
    }

    fn handler<'a>(&'a self, client: &'a HttpPeer) -> RequestHandler<'a> {
        RequestHandler { site: &self.site, worker: self.worker, stop: &self.stop, client }
    }

    /// The current limits for the time of a header, and for the idle time before it.
    fn patience(&self) -> (Duration, Duration) {
        let plan = self.site.plan.load();
        (plan.timeouts.header, plan.timeouts.keepalive)
    }

    /// Serves HTTP/1: the connection is idle, then a header arrives, then the handler runs.
    async fn one_by_one(mut self, stream: Stream, client: &HttpPeer) {
        let mut session = ClientSession::Http1(Box::new(Http1Client::new(stream)));
        let mut timer = DeadlineTimer::default();
        if *self.stop.borrow() {
            self.stop.mark_changed();
        }
        let mut stop = Watched::new(self.stop.clone());
        // A new connection must send its first header within the time for it. A kept one may be idle first.
        let mut is_kept = false;
        loop {
            let ClientSession::Http1(connection) = &mut session else { return };
            let refusal = match self.read_head(connection, &mut timer, &mut stop, is_kept).await {
                HeadRead::Closed => return,
                HeadRead::Complete => None,
                HeadRead::Refused(refusal) => Some(refusal),
            };
            let Some(under_way) = self.requests.enter() else { return };
            if let Some(refusal) = refusal {
                self.refuse_unread(&mut session, client, &refusal).await;
                drop(under_way);
                if let ClientSession::Http1(connection) = &mut session {
                    connection.linger().await;
                }
                return;
            }
            is_kept = self.handler(client).run(&mut session, &mut timer).await;
            drop(under_way);
            if !is_kept {
                return;
            }
            // Neither a header that was there already nor an answer that the kernel took at once has given way to other connections.
            consume_budget().await;
        }
    }

    /// Waits for the head of the next request. One deadline covers all of it.
    async fn read_head(
        &self,
        connection: &mut Http1Client,
        timer: &mut DeadlineTimer,
        stop: &mut Watched<bool>,
        is_kept: bool,
    ) -> HeadRead {
        let (header, keepalive) = self.patience();
        // Bytes that were received before are a part of the next header.
        let waiting = connection.has_received();
        let mut left = (is_kept && !waiting).then_some(keepalive);
        let read = loop {
            let patience = left.map_or(header, |left| header.min(left));
            let reading = async {
                tokio::select! {
                    biased;
                    read = connection.read_head() => Some(read),
                    () = poll_fn(|cx| stop.poll_changed(cx)), if !waiting => None,
                }
            };
            let read = timer.within(patience, pin!(reading)).await;
            // The clock isn't read when the first byte arrives. So a header on a kept connection has at least
            // `header_timeout`, and less than twice as much.
            left = match (&read, left) {
                (None, Some(_)) if connection.has_received() => None,
                (None, Some(left)) if left > patience => Some(left - patience),
                _ => break read,
            };
        };
        match read {
            Some(Some(Ok(true))) => HeadRead::Complete,
            Some(Some(Ok(false))) if connection.has_received() => HeadRead::Refused(Refusal::ClientGone),
            Some(None | Some(Ok(false))) => HeadRead::Closed,
            None if !connection.has_received() => HeadRead::Closed,
            None => HeadRead::Refused(Refusal::Timeout),
            Some(Some(Err(error))) => HeadRead::Refused(error.into()),
        }
    }

    /// Answers a header that could not be read, for a connection that is closed afterwards.
    async fn refuse_unread(&self, session: &mut ClientSession, client: &HttpPeer, refusal: &Refusal) {
        self.site.metrics.http_request(self.site.entry, refusal.status(), Duration::ZERO);
        let (id, plan) = (self.site.ids.next(), self.site.plan.load_full());
        let source = client.source(session.head().fields(), &plan.trusted_proxies);
        log_unread(&self.site, source, refusal, &id);
        if *refusal == Refusal::ClientGone {
            return;
        }
        session.close_afterwards();
        let within = plan.timeouts.write;
        respond::refuse(session, refusal, "", &[], &id, within).await;
    }
}

/// The outcome of a wait for the head of a request.
enum HeadRead {
    /// A whole head.
    Complete,
    /// Nothing came before the end of the connection, or in time, or before the gateway stopped.
    Closed,
    /// The refusal of what came.
    Refused(Refusal),
}
