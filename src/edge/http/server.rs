//! A client's connection: requests one after another over HTTP/1, many at once over HTTP/2.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::header;
use parking_lot::Mutex;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_timeout::timeout;
use tokio::sync::watch;
use tracing::debug;

use super::access_log::log_unread;
use super::ambiguity::ambiguity;
use super::client_stream::ClientStream;
use super::error::Refusal;
use super::framing::{self, Unvalidated, ValidatedStream};
use super::handler::RequestHandler;
use super::intake::Intake;
use super::peer::HttpPeer;
use super::quota::{QuotaLease, Use};
use super::request_quota::NO_ROOM;
use super::respond;
use super::service::HttpService;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::listener::Connection;
use crate::edge::net::pingora_compat;
use crate::edge::net::tcp_stream::Meter;

/// The protocols that a client may choose in the TLS handshake (ALPN).
pub const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Bytes of a request's header at most, request line included; 431 above.
const HEADER_LIMIT: usize = 64 * 1024;

/// Bytes of an answer over HTTP/2 that wait for the client to take them, for each stream.
const SEND_BUFFER: usize = 64 * 1024;

/// The error code for a stream of which nothing was processed, so that its request can be repeated (RFC 9113 section 8.7).
const REFUSED_STREAM: u32 = 7;

/// At a stop: how long a client over HTTP/2 has to say goodbye, and to take an answer whose last byte waits for it.
const GOODBYE: Duration = Duration::from_secs(1);
const TAKING: Duration = Duration::from_secs(5);

/// The reason of a 400 for a header that isn't one.
const UNREADABLE: &str = "The request can't be understood";

/// Serves one connection to its end.
#[derive(Clone)]
pub struct HttpServer {
    /// The entry it came in on.
    pub site: Arc<HttpService>,
    /// The worker that serves it.
    pub worker: usize,
    /// Requests under way, so that a stop can wait for them.
    pub requests: Arc<InFlight>,
    /// Connections over HTTP/2, whose answers may be on their way when their requests are done with.
    pub multiplexed: Arc<InFlight>,
    /// Turns true when the gateway stops.
    pub stop: watch::Receiver<bool>,
}

impl HttpServer {
    /// Serves `connection` until either side has enough.
    pub async fn serve(self, connection: Connection) {
        let Connection { stream, meter, peer, tls, entered } = connection;
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
                () = app.silent_for(header) => debug!("closed: no request came"),
                () = app.left_behind(end.clone()) => debug!("closed: it doesn't take its answers"),
                () = app.ends_with_the_gateway() => {}
            }
            drop(open);
        } else {
            self.one_by_one(stream, &meter, &client).await;
        }
        drop(entered);
    }

    /// What the streams of a connection take room from; none for a trusted proxy, whose clients' requests count by themselves.
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

    /// How long a header may take, and how long a connection may be idle before it, as of now.
    fn patience(&self) -> (Duration, Duration) {
        let plan = self.site.plan.load();
        (plan.timeouts.header, plan.timeouts.keepalive)
    }

    /// HTTP/1: the connection is idle, then a header comes, then the handler.
    async fn one_by_one(mut self, stream: Stream, meter: &Meter, client: &HttpPeer) {
        let stream: Stream = Box::new(ClientStream::new(stream));
        let mut next = Some((stream, None));
        // A new connection has to send its first header within this time; a kept one may be idle first.
        let mut idle = None;
        while let Some((stream, prefix)) = next.take() {
            let (header, keepalive) = self.patience();
            let mut session = ServerSession::new_http1(stream);
            session.set_pipelining_enabled(true);
            // What the meter can't see was received before.
            let waiting = prefix.is_some();
            if let Some(prefix) = prefix {
                session.set_pipelined_prefix(prefix);
            }
            // No time-out of its own for each read: the one below is for the header as a whole.
            session.set_read_timeout(None);
            meter.start(HEADER_LIMIT);
            let mut left = idle.filter(|_| !waiting);
            let read = {
                let mut reading = pin!(session.read_request());
                loop {
                    let patience = left.map_or(header, |left| header.min(left));
                    let read = tokio::select! {
                        biased;
                        read = timeout(patience, &mut reading) => read,
                        _ = self.stop.wait_for(|stop| *stop), if !waiting => return,
                    };
                    // No clock is read when the first byte comes, so one look late is the price: a header on a kept
                    // connection has at least `header_timeout`, and less than twice as much.
                    left = match (&read, left) {
                        (Err(_), Some(_)) if meter.received() > 0 => None,
                        (Err(_), Some(left)) if left > patience => Some(left - patience),
                        _ => break read,
                    };
                }
            };
            let refusal = match read {
                Ok(Ok(true)) => ambiguity(session.req_header(), &session.to_h1_raw())
                    .map(|reason| Refusal::Malformed(reason.into())),
                Ok(Ok(false)) => return,
                Ok(Err(_)) if meter.exceeded() => Some(Refusal::HeaderTooLarge),
                Ok(Err(error)) => {
                    // The rest of the error may quote the header, and with it a password.
                    debug!(error = error.etype().as_str(), "no request can be read");
                    let many = pingora_compat::has_too_many_fields(&error);
                    match (meter.received(), many) {
                        (0, _) if !waiting => return,
                        (_, true) => Some(Refusal::HeaderTooLarge),
                        _ => Some(Refusal::Malformed(UNREADABLE.into())),
                    }
                }
                Err(_) if meter.received() == 0 && !waiting => return,
                Err(_) => Some(Refusal::Timeout),
            };
            meter.lift();
            let Some(under_way) = self.requests.enter() else { return };
            if let Some(refusal) = refusal {
                self.refuse_unread(&mut session, client, &refusal).await;
                drop(under_way);
                return respond::linger(session).await;
            }
            // Other requests, which most are, pay nothing for it.
            let is_chunked = session.req_header().headers.contains_key(header::TRANSFER_ENCODING);
            if is_chunked {
                session = match framing::validate_request(session).await {
                    Ok(session) => session,
                    Err(Unvalidated::Lost) => return,
                    Err(Unvalidated::Unreadable(mut session)) => {
                        let refusal = Refusal::Malformed(UNREADABLE.into());
                        self.refuse_unread(&mut session, client, &refusal).await;
                        drop(under_way);
                        return respond::linger(*session).await;
                    }
                };
            }
            next = self.handler(client).run(session).await;
            if is_chunked {
                next = next.and_then(|(stream, prefix)| ValidatedStream::unwrap(stream, prefix));
            }
            idle = Some(keepalive);
            drop(under_way);
        }
    }

    /// Answers what never became a request, and closes the connection afterwards.
    async fn refuse_unread(&self, session: &mut ServerSession, client: &HttpPeer, refusal: &Refusal) {
        self.site.metrics.http_request(self.site.entry, refusal.status(), Duration::ZERO);
        let id = self.site.ids.next();
        log_unread(&self.site, client, refusal, &id);
        session.set_keepalive(None);
        let within = self.site.plan.load().timeouts.write;
        respond::refuse(session, refusal, "", &id, within).await;
    }
}

/// A connection over HTTP/2.
struct Multiplexed {
    server: HttpServer,
    client: HttpPeer,
    options: HttpServerOptions,
    /// Whether a request has come.
    begun: AtomicBool,
    /// Requests of this connection that are under way.
    answers: Arc<InFlight>,
    /// When the last one of them was answered.
    answered: Mutex<Option<Instant>>,
    /// The room that its streams take until a credential is accepted on it.
    streams: Mutex<Option<QuotaLease>>,
    /// Turns true when the connection is about to end, in good order.
    end: watch::Sender<bool>,
    /// Turns true when there is no room for requests of this connection, which is about to end.
    full: Arc<AtomicBool>,
}

impl Multiplexed {
    /// Resolves where no request has come within that time, also of one that doesn't even begin to speak HTTP/2.
    async fn silent_for(&self, patience: Duration) {
        pingora_timeout::sleep(patience).await;
        if self.begun.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    /// Ends the connection when the gateway stops. Never resolves.
    async fn ends_with_the_gateway(&self) {
        let _ = self.server.stop.clone().wait_for(|stop| *stop).await;
        self.end.send_replace(true);
        std::future::pending().await
    }

    /// Takes room for one more stream at once, unless a credential was accepted on the connection; false where there is none.
    fn cover_streams(&self) -> bool {
        self.streams.lock().as_mut().is_none_or(|lease| lease.cover_streams(self.answers.count()))
    }

    /// Refuses a request for which there is no room.
    async fn refuse(&self, mut session: ServerSession) {
        self.client.note_without_room();
        self.settle();
        let site = &self.server.site;
        let refusal = Refusal::Overloaded(NO_ROOM);
        site.metrics.http_request(site.entry, refusal.status(), Duration::ZERO);
        let id = site.ids.next();
        log_unread(site, &self.client, &refusal, &id);
        let within = site.plan.load().timeouts.write;
        respond::refuse_without_body(&mut session, &refusal, &id, within).await;
    }

    /// Gives back the room of the streams once a credential was accepted, and ends a connection that only takes room: its
    /// client opens another one.
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

    /// Resolves once the connection takes no more requests and the client had its time to take what it was sent. A
    /// connection on which nothing is left ends by itself before, as soon as both sides have said goodbye.
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
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.begun.store(true, Ordering::Relaxed);
        if self.full.load(Ordering::Relaxed) && !self.client.has_accepted() {
            session.shutdown_with_reason(REFUSED_STREAM.into());
            return None;
        }
        let _under_way = self.server.requests.enter()?;
        let _answer = self.answers.enter()?;
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
