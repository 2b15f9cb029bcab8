//! A client's connection over HTTP/2: accepts its requests, each of which is answered by a task of its own.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use parking_lot::Mutex;
use pingora_core::protocols::Stream;
use tokio::sync::{Notify, watch};
use tracing::debug;

use super::client::Http2Client;
use super::given_up::GivenUp;
use super::intake::Intake;
use super::sent_piece::{SendRoom, SentPiece};
use crate::domain::{LONGEST_TEXT, RefusalReason, shown};
use crate::edge::http::access_log::log_unread;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::handler::RequestHandler;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::quota::{QuotaLease, Use};
use crate::edge::http::request_quota::NO_ROOM;
use crate::edge::http::respond;
use crate::edge::http::service::HttpService;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::refusal_log::{RefusalLine, RefusalLog};

/// The requests that a client may have open at once.
const STREAMS: u32 = 100;

/// The most bytes of a header that is read, with 32 more for each field (RFC 9113 section 6.5.2). It is above what a request may have,
/// so that Gatepost refuses such a request itself. The h2 crate answers what is even larger with a 431 that nobody learns of.
const HEADER_LIMIT: u32 = 128 * 1024;

/// The bytes of an answer that may wait for the client, for each stream.
const SEND_BUFFER: usize = 64 * 1024;

/// The bytes of all uploads together that may wait for their backends, once a credential was accepted on the connection. Before, as for
/// each stream, there are 64 KiB, so that an upload that waits blocks the others.
const WIDE: u32 = 1 << 20;

/// The time at a stop for a client to close its connection, and to take the end of an answer.
const GOODBYE: Duration = Duration::from_secs(1);
const TAKING: Duration = Duration::from_secs(5);

/// A connection over HTTP/2.
pub struct Http2Connection {
    /// The entry that received it.
    site: Arc<HttpService>,
    /// The worker that serves it.
    worker: usize,
    /// The requests in progress, which a stop waits for.
    requests: Arc<InFlight>,
    /// Becomes true when the gateway stops.
    stop: watch::Receiver<bool>,
    client: HttpPeer,
    /// True once a request has arrived.
    begun: AtomicBool,
    /// The requests of this connection that are in progress.
    answers: Arc<InFlight>,
    /// The time at which the last of them was answered, or the connection began.
    answered: Mutex<Instant>,
    /// The room that its streams take until a credential is accepted on it.
    streams: Mutex<Option<QuotaLease>>,
    /// Becomes true when the connection is about to be closed gracefully.
    end: watch::Sender<bool>,
    /// Becomes true when no more requests of this connection are wanted, which is about to be closed.
    full: Arc<AtomicBool>,
    /// The requests that its client gave up.
    given_up: Arc<GivenUp>,
    /// Wakes the connection when a credential is accepted on it.
    accepted: Arc<Notify>,
}

impl Http2Connection {
    /// A connection of `client` to `site`.
    pub fn new(
        site: Arc<HttpService>,
        worker: usize,
        requests: Arc<InFlight>,
        stop: watch::Receiver<bool>,
        client: HttpPeer,
    ) -> Arc<Http2Connection> {
        let plan = site.plan.load();
        // The clients of a trusted proxy count separately, by their requests.
        let streams = (!client.is_trusted(&plan.trusted_proxies))
            .then(|| QuotaLease::new(site.room.clone(), client.address(), Some(Use::Stream), &plan.forms));
        drop(plan);
        Arc::new(Http2Connection {
            site,
            worker,
            requests,
            stop,
            client,
            begun: AtomicBool::new(false),
            answers: InFlight::new(usize::MAX),
            answered: Mutex::new(Instant::now()),
            streams: Mutex::new(streams),
            end: watch::Sender::new(false),
            full: Arc::default(),
            given_up: Arc::default(),
            accepted: Arc::default(),
        })
    }

    /// Serves it until either side closes it.
    pub async fn serve(self: Arc<Self>, stream: Stream) {
        let (header, keepalive) = {
            let plan = self.site.plan.load();
            (plan.timeouts.header, plan.timeouts.keepalive)
        };
        tokio::select! {
            biased;
            () = self.accept_requests(stream, keepalive) => {}
            () = self.silent_for(header) => debug!("connection closed: no request in time"),
            () = self.left_behind() => debug!("connection closed: the client did not end it in time"),
            () = self.ends_with_the_gateway() => {}
        }
    }

    async fn accept_requests(self: &Arc<Self>, stream: Stream, keepalive: Duration) {
        let mut builder = Builder::new();
        builder.max_concurrent_streams(STREAMS).max_header_list_size(HEADER_LIMIT);
        builder.max_send_buffer_size(SEND_BUFFER);
        let intake = Intake::new(stream, self.full.clone());
        let mut connection = match builder.handshake::<_, SentPiece>(intake).await {
            Ok(connection) => connection,
            Err(error) => return self.note_error(&error),
        };
        let mut end = self.end.subscribe();
        let mut ending = pin!(async {
            tokio::select! {
                _ = end.wait_for(|end| *end) => {}
                () = self.idle_for(keepalive) => { self.end.send_replace(true); }
            }
        });
        let (mut is_ending, mut is_wide) = (false, false);
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = connection.accept() => accepted,
                () = &mut ending, if !is_ending => {
                    // What is on its way to here is still accepted (RFC 9113 section 6.8).
                    connection.graceful_shutdown();
                    is_ending = true;
                    continue;
                }
                () = self.accepted.notified(), if !is_wide => {
                    connection.set_target_window_size(WIDE);
                    is_wide = true;
                    continue;
                }
            };
            match accepted {
                Some(Ok((request, respond))) => self.begin(request, respond),
                Some(Err(error)) => return self.note_error(&error),
                None => return,
            }
        }
    }

    /// Has a request answered by a task of its own.
    fn begin(self: &Arc<Self>, request: Request<RecvStream>, mut respond: SendResponse<SentPiece>) {
        self.begun.store(true, Ordering::Relaxed);
        let unwanted = self.full.load(Ordering::Relaxed) && !self.client.has_accepted();
        if unwanted || self.given_up.is_too_many() {
            // Nothing of it was processed, so it can be repeated (RFC 9113 section 8.7).
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        let (Some(under_way), Some(answer)) = (self.requests.enter(), self.answers.enter()) else { return };
        let connection = self.clone();
        // On the heap, because the future of a task is moved a few times.
        tokio::spawn(Box::pin(async move {
            connection.answer(request, respond).await;
            drop((under_way, answer));
        }));
    }

    async fn answer(&self, request: Request<RecvStream>, respond: SendResponse<SentPiece>) {
        let mut client = Box::new(Http2Client::new(request, respond, self.given_up.clone()));
        if !self.client.has_accepted() {
            let plan = self.site.plan.load_full();
            let source = self.client.source(client.head().fields(), &plan.trusted_proxies);
            let room = SendRoom::new(self.site.room.clone(), source, plan);
            client.set_room(room, self.accepted.clone());
        }
        client.settle_body().await;
        let session = ClientSession::Http2(client);
        if self.cover_streams() {
            let (site, worker, stop, client) = (&*self.site, self.worker, &self.stop, &self.client);
            RequestHandler { site, worker, stop, client }.run_multiplexed(session).await;
        } else {
            self.refuse(session).await;
        }
        *self.answered.lock() = Instant::now();
        self.settle();
    }

    /// Takes room for one more stream, unless a credential was accepted on the connection. Returns false if there is none.
    fn cover_streams(&self) -> bool {
        self.streams.lock().as_mut().is_none_or(|lease| lease.cover_streams(self.answers.count()))
    }

    /// Refuses a request for which there is no room.
    async fn refuse(&self, mut session: ClientSession) {
        self.client.note_without_room();
        self.settle();
        let refusal = Refusal::Overloaded(NO_ROOM.into());
        self.site.metrics.http_request(self.site.entry, refusal.status(), Duration::ZERO);
        let id = self.site.ids.next();
        let plan = self.site.plan.load_full();
        let source = self.client.source(session.head().fields(), &plan.trusted_proxies);
        log_unread(&self.site, source, &refusal, &id);
        let within = plan.timeouts.write;
        respond::refuse_without_body(&mut session, &refusal, &plan.cors_origins, &id, within).await;
    }

    /// Gives back the room of the streams once a credential was accepted. Closes a connection that only takes room, or whose client
    /// gives up what it asks: its client opens another one.
    fn settle(&self) {
        let mut streams = self.streams.lock();
        if self.client.has_accepted() {
            *streams = None;
        }
        let gives_up = self.given_up.is_too_many();
        let is_full = gives_up || self.client.should_leave();
        let was_full = self.full.swap(is_full, Ordering::Relaxed);
        if gives_up && !was_full {
            self.log_resets();
        }
        if is_full || streams.as_ref().is_some_and(QuotaLease::is_crowded) {
            self.end.send_replace(true);
        }
    }

    /// Resolves if no request arrives within that time, even if the client never sends the preface of HTTP/2.
    async fn silent_for(&self, patience: Duration) {
        pingora_timeout::sleep(patience).await;
        if self.begun.load(Ordering::Relaxed) {
            pending().await
        }
    }

    /// Resolves once no request was in progress for that time.
    async fn idle_for(&self, patience: Duration) {
        loop {
            self.answers.emptied().await;
            let since = self.answered.lock().elapsed();
            match patience.checked_sub(since) {
                Some(left) if !left.is_zero() => pingora_timeout::sleep(left).await,
                _ => return,
            }
        }
    }

    /// Closes the connection gracefully when the gateway stops. Never resolves.
    async fn ends_with_the_gateway(&self) {
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
        self.end.send_replace(true);
        pending().await
    }

    /// Resolves once the connection accepts no more requests and the client had time to read its answers. A connection on which
    /// nothing is left ends before, as soon as both sides have closed it.
    async fn left_behind(&self) {
        let _ = self.end.subscribe().wait_for(|end| *end).await;
        pingora_timeout::sleep(GOODBYE).await;
        let taking = if self.given_up.is_too_many() { GOODBYE } else { TAKING };
        self.idle_for(taking).await;
    }

    /// Logs the error that ended the connection. A client that resets streams rapidly causes one for each of its connections.
    fn note_error(&self, error: &h2::Error) {
        // It may hold a text of the client.
        let text = error.to_string();
        debug!(error = shown(text.as_bytes(), LONGEST_TEXT), "HTTP/2 connection lost");
        if !error.is_library() {
            return;
        }
        match error.reason() {
            Some(Reason::ENHANCE_YOUR_CALM) => self.log_resets(),
            _ => self.log(RefusalReason::Http2Error, &text, RefusalLog::write),
        }
    }

    fn log_resets(&self) {
        self.log(RefusalReason::Resets, "", RefusalLog::write_rarely);
    }

    fn log(&self, reason: RefusalReason, detail: &str, write: fn(&RefusalLog, &RefusalLine<'_>)) {
        let id = self.site.ids.next();
        let source = self.client.address();
        let line = RefusalLine::new(self.site.entry, source, reason.as_str());
        write(&self.site.refusals, &RefusalLine { request_id: id.as_str(), detail, ..line });
    }
}
