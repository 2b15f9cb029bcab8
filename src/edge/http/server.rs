//! A client's connection: requests one after another over HTTP/1, many at once over HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::sync::watch;
use tracing::debug;

use super::access_log::log_unread;
use super::client_session::ClientSession;
use super::error::Refusal;
use super::handler::RequestHandler;
use super::http1::client::Http1Client;
use super::http2_client::Http2Client;
use super::intake::Intake;
use super::peer::HttpPeer;
use super::quota::{QuotaLease, Use};
use super::request_quota::NO_ROOM;
use super::respond;
use super::service::HttpService;
use crate::edge::net::deadline::DeadlineTimer;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::listener::Connection;
use crate::wire::HeadError;

/// The protocols that a client may choose in the TLS handshake (ALPN).
pub const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The bytes of an answer over HTTP/2 that may wait for the client, for each stream.
const SEND_BUFFER: usize = 64 * 1024;

/// The error code for a stream of which nothing was processed, so that its request can be repeated (RFC 9113 section 8.7).
const REFUSED_STREAM: u32 = 7;

/// The time at a stop for a client over HTTP/2 to close its connection, and to take the end of an answer.
const GOODBYE: Duration = Duration::from_secs(1);
const TAKING: Duration = Duration::from_secs(5);

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
            let (header, keepalive) = self.patience();
            let mut options = HttpServerOptions::default();
            options.h2_idle_timeout = Some(keepalive);
            let open = self.multiplexed.enter();
            let streams = self.room_for_streams(&client);
            let app = Arc::new(Multiplexed {
                server: self,
                client,
                options,
                begun: AtomicBool::new(false),
                answers: InFlight::new(usize::MAX),
                answered: Mutex::new(None),
                streams: Mutex::new(streams),
                end: watch::Sender::new(false),
                full: Arc::default(),
            });
            let end = app.end.subscribe();
            tokio::select! {
                _ = app.process_new(Box::new(Intake::new(stream, app.full.clone())), &end) => {}
                () = app.silent_for(header) => debug!("connection closed: no request in time"),
                () = app.left_behind(end.clone()) => debug!("connection closed: the client does not read its answers"),
                () = app.ends_with_the_gateway() => {}
            }
            drop(open);
        } else {
            self.one_by_one(stream, &client).await;
        }
        drop((entered, counted));
    }

    /// The quota of the streams of a connection; none for a trusted proxy, whose clients' requests count separately.
    fn room_for_streams(&self, client: &HttpPeer) -> Option<QuotaLease> {
        let plan = self.site.plan.load();
        let trusted = client.is_trusted(&plan.trusted_proxies);
        (!trusted).then(|| {
            QuotaLease::new(self.site.room.clone(), client.address(), Some(Use::Stream), &plan.forms)
        })
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
        // A new connection must send its first header within the time for it. A kept one may be idle first.
        let mut is_kept = false;
        loop {
            let ClientSession::Http1(connection) = &mut session else { return };
            let refusal = match self.read_head(connection, &mut timer, is_kept).await {
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
        }
    }

    /// Waits for the head of the next request. One deadline covers all of it.
    async fn read_head(
        &mut self,
        connection: &mut Http1Client,
        timer: &mut DeadlineTimer,
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
                    _ = self.stop.wait_for(|stop| *stop), if !waiting => None,
                }
            };
            let read = timer.within(patience, reading).await;
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
            Some(None | Some(Ok(false))) => HeadRead::Closed,
            None if !connection.has_received() => HeadRead::Closed,
            None => HeadRead::Refused(Refusal::Timeout),
            Some(Some(Err(error))) => {
                debug!(%error, "invalid request header");
                HeadRead::Refused(match error {
                    HeadError::Malformed(reason) => Refusal::Malformed(reason.into()),
                    HeadError::TooLarge | HeadError::TooManyFields => Refusal::HeaderTooLarge,
                })
            }
        }
    }

    /// Answers a header that could not be read, for a connection that is closed afterwards.
    async fn refuse_unread(&self, session: &mut ClientSession, client: &HttpPeer, refusal: &Refusal) {
        self.site.metrics.http_request(self.site.entry, refusal.status(), Duration::ZERO);
        let id = self.site.ids.next();
        log_unread(&self.site, client, refusal, &id);
        session.close_afterwards();
        let within = self.site.plan.load().timeouts.write;
        respond::refuse(session, refusal, "", &[], &id, within).await;
    }
}

/// The outcome of a wait for the head of a request.
enum HeadRead {
    /// There is a request.
    Complete,
    /// Nothing came before the end of the connection, or in time, or before the gateway stopped.
    Closed,
    /// The refusal of what came.
    Refused(Refusal),
}

/// A connection over HTTP/2.
struct Multiplexed {
    server: HttpServer,
    client: HttpPeer,
    options: HttpServerOptions,
    /// True once a request has arrived.
    begun: AtomicBool,
    /// The requests of this connection that are in progress.
    answers: Arc<InFlight>,
    /// The time at which the last of them was answered.
    answered: Mutex<Option<Instant>>,
    /// The room that its streams take until a credential is accepted on it.
    streams: Mutex<Option<QuotaLease>>,
    /// Becomes true when the connection is about to be closed gracefully.
    end: watch::Sender<bool>,
    /// Becomes true when there is no room for requests of this connection, which is about to be closed.
    full: Arc<AtomicBool>,
}

impl Multiplexed {
    /// Resolves if no request arrives within that time, even if the client never sends the preface of HTTP/2.
    async fn silent_for(&self, patience: Duration) {
        pingora_timeout::sleep(patience).await;
        if self.begun.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    /// Closes the connection gracefully when the gateway stops. Never resolves.
    async fn ends_with_the_gateway(&self) {
        let _ = self.server.stop.clone().wait_for(|stop| *stop).await;
        self.end.send_replace(true);
        std::future::pending().await
    }

    /// Takes room for one more stream, unless a credential was accepted on the connection. Returns false if there is none.
    fn cover_streams(&self) -> bool {
        self.streams.lock().as_mut().is_none_or(|lease| lease.cover_streams(self.answers.count()))
    }

    /// Refuses a request for which there is no room.
    async fn refuse(&self, mut session: ClientSession) {
        self.client.note_without_room();
        self.settle();
        let site = &self.server.site;
        let refusal = Refusal::Overloaded(NO_ROOM);
        site.metrics.http_request(site.entry, refusal.status(), Duration::ZERO);
        let id = site.ids.next();
        log_unread(site, &self.client, &refusal, &id);
        let plan = site.plan.load_full();
        let within = plan.timeouts.write;
        respond::refuse_without_body(&mut session, &refusal, &plan.cors_origins, &id, within).await;
    }

    /// Gives back the room of the streams once a credential was accepted. Closes a connection that only takes room: its client opens
    /// another one.
    fn settle(&self) {
        let mut streams = self.streams.lock();
        if self.client.has_accepted() {
            *streams = None;
            self.full.store(false, Ordering::Relaxed);
        }
        if self.client.should_leave() {
            self.full.store(true, Ordering::Relaxed);
            self.end.send_replace(true);
        } else if streams.as_ref().is_some_and(QuotaLease::is_crowded) {
            self.end.send_replace(true);
        }
    }

    /// Resolves once the connection accepts no more requests and the client had time to read its answers. A connection on which
    /// nothing is left ends before, as soon as both sides have closed it.
    async fn left_behind(&self, mut stop: ShutdownWatch) {
        let _ = stop.wait_for(|stop| *stop).await;
        pingora_timeout::sleep(GOODBYE).await;
        loop {
            self.answers.emptied().await;
            let since = self.answered.lock().map_or(TAKING, |answered| answered.elapsed());
            match TAKING.checked_sub(since) {
                Some(left) if !left.is_zero() => pingora_timeout::sleep(left).await,
                _ => return,
            }
        }
    }
}

#[async_trait]
impl HttpServerApp for Multiplexed {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let ServerSession::H2(mut session) = session else { return None };
        self.begun.store(true, Ordering::Relaxed);
        if self.full.load(Ordering::Relaxed) && !self.client.has_accepted() {
            session.shutdown_with_reason(REFUSED_STREAM.into());
            return None;
        }
        let _under_way = self.server.requests.enter()?;
        let _answer = self.answers.enter()?;
        let session = ClientSession::Http2(Box::new(Http2Client::new(session)));
        if self.cover_streams() {
            self.server.handler(&self.client).run_multiplexed(session).await;
        } else {
            self.refuse(session).await;
        }
        *self.answered.lock() = Some(Instant::now());
        self.settle();
        None
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_send_buffer_size(SEND_BUFFER);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
