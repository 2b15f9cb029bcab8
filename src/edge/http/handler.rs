//! The way of one request from its header to its response: target, route, authorization, then the proxy or the management API.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::{Method, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_http::RequestHeader;
use tokio::sync::watch;
use tracing::{debug, info};

use super::access_log::AccessLine;
use super::ambiguity::unclear_host;
use super::authorize::{Admission, Admitted};
use super::error::Refusal;
use super::framing;
use super::headers::request::{Framing, Outgoing, outgoing, outgoing_bytes};
use super::peer::HttpPeer;
use super::proxy::delivery::{Next, ResponseDelivery, Side};
use super::proxy::exchange::{ClientSide, Exchange};
use super::proxy::forward::{Forward, Outbound};
use super::proxy::tunnel;
use super::request_quota;
use super::router::Routed;
use super::service::{HttpService, Plan};
use super::target::{Target, ambiguous};
use super::{management, preflight, respond};
use crate::config::Need;
use crate::domain::Permissions;
use crate::edge::net::source_limit::CountedConnection;
use crate::service::access::Granted;
use crate::wire::Readings;

/// The status in metrics and log for a client that went away before its answer.
const CLIENT_GONE: u16 = 499;

/// The most fields of a request's header over HTTP/2. Over HTTP/1 the parser has the same limit.
const MOST_FIELDS: usize = 256;

/// The text for a request of a trusted proxy's client that has too many in progress.
const TOO_MANY: &str = "Too many requests at once from this client, try again";

/// The bytes of most requests to a backend.
const REQUEST_SIZE: usize = 1024;

/// The time for the store to tell if a tunnel's credential still has its permissions. A revoked tunnel must end within a second.
const PATIENCE_OF_TUNNELS: Duration = Duration::from_millis(900);

/// A request on one connection.
pub struct RequestHandler<'a> {
    /// The entry that received it.
    pub site: &'a HttpService,
    /// The worker that serves it.
    pub worker: usize,
    /// Becomes true when the gateway stops.
    pub stop: &'a watch::Receiver<bool>,
    /// The client.
    pub client: &'a HttpPeer,
}

impl<'a> RequestHandler<'a> {
    /// Answers the request whose header `session` has read. Returns the connection if it can be used again.
    pub async fn run(self, mut session: ServerSession) -> Next {
        let mut underway = self.begin(&mut session);
        let answered = underway.answer(&mut session).await;
        underway.end(session, answered).await
    }

    /// The same over HTTP/2, where a connection may have many requests: each takes the memory for what follows its admission only
    /// once it is admitted.
    pub async fn run_multiplexed(self, mut session: ServerSession) {
        let mut underway = self.begin(&mut session);
        let answered = underway.answer_in_two_steps(&mut session).await;
        Box::pin(underway.end(session, answered)).await;
    }

    fn begin(self, session: &mut ServerSession) -> Underway<'a> {
        if *self.stop.borrow() {
            session.set_keepalive(None);
        }
        let (plan, request_id) = (self.site.plan.load_full(), self.site.ids.next());
        Underway {
            handler: self,
            plan,
            request_id,
            started: Instant::now(),
            answered: None,
            forwarded: None,
            counted: None,
        }
    }
}

/// A request while it is answered.
struct Underway<'a> {
    handler: RequestHandler<'a>,
    plan: Arc<Plan>,
    request_id: HeaderValue,
    started: Instant,
    /// The end of the response, if something is done after it.
    answered: Option<Instant>,
    forwarded: Option<ForwardedBy>,
    /// The count of the requests of a trusted proxy's client.
    counted: Option<CountedConnection>,
}

/// The grounds on which a request was forwarded.
struct ForwardedBy {
    /// The index of the group of backends.
    group: usize,
    /// The identity; none on a public route.
    granted: Option<Granted>,
    /// The permissions that the route needs.
    needed: Permissions,
}

impl Underway<'_> {
    async fn answer(&mut self, session: &mut ServerSession) -> Result<Exchange, Refusal> {
        self.count(session)?;
        let raw = session.req_header().raw_path().to_vec();
        match self.admit(session, &raw).await? {
            FirstStep::Answered(exchange) => Ok(exchange),
            FirstStep::Admitted(target, route, admitted) => {
                self.forward(session, route, &target, admitted).await
            }
        }
    }

    /// The same with the memory for the second step on the heap.
    async fn answer_in_two_steps(&mut self, session: &mut ServerSession) -> Result<Exchange, Refusal> {
        self.count(session)?;
        let raw = session.req_header().raw_path().to_vec();
        match self.admit(session, &raw).await? {
            FirstStep::Answered(exchange) => Ok(exchange),
            FirstStep::Admitted(target, route, admitted) => {
                Box::pin(self.forward(session, route, &target, admitted)).await
            }
        }
    }

    /// Counts a request that a trusted proxy forwards, as its client's connections are counted without a proxy.
    fn count(&mut self, session: &ServerSession) -> Result<(), Refusal> {
        let RequestHandler { site, client, .. } = self.handler;
        let headers = &session.req_header().headers;
        if let Some(source) = client.forwarded_source(headers, &self.plan.trusted_proxies) {
            self.counted = Some(site.sources.enter(source).ok_or(Refusal::Overloaded(TOO_MANY))?);
        }
        Ok(())
    }

    /// Parses the target `raw`, finds its route and authorizes the request. Calls of the management API are answered here.
    async fn admit<'r>(&self, session: &mut ServerSession, raw: &'r [u8]) -> Result<FirstStep<'r>, Refusal> {
        let RequestHandler { site, client, .. } = self.handler;
        let (plan, request_id) = (&*self.plan, &self.request_id);
        let request = session.req_header();
        if request.method == Method::CONNECT {
            return Err(Refusal::Method("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        // Over HTTP/1 the number of fields and the host were checked with the rest of the header.
        if request.version == Version::HTTP_2 {
            if number_of_fields(request) > MOST_FIELDS {
                return Err(Refusal::HeaderTooLarge);
            }
            if let Some(reason) = unclear_host(request) {
                return Err(Refusal::Malformed(reason.into()));
            }
        }
        // A client that sends an invalid target may frame its body wrongly, too.
        let target = Target::parse(raw).inspect_err(|_| session.set_keepalive(None))?;
        let request = session.req_header();
        let readings = match site.credentials.is_none() && plan.router.is_uniform() {
            true => Readings::default(),
            false => target.readings()?,
        };
        let managing = match &site.credentials {
            Some(credentials) => management::is_for(&target, &readings)?.then_some(credentials),
            None => None,
        };
        let route = plan.router.route(&request.method, &target.path, &readings);
        drop(readings);
        // A public path's backend answers preflights itself.
        if request.method == Method::OPTIONS
            && (managing.is_some() || !route.as_ref().is_ok_and(|route| route.need == Need::Public))
        {
            let (methods, within) = (managing.map(|_| management::METHODS), plan.timeouts.write);
            let answered = preflight::answer(session, &plan.cors_origins, methods, request_id, within);
            // On the heap, since it is rare, and the future of every request would be larger otherwise.
            if let Some(exchange) = Box::pin(answered).await {
                return Ok(FirstStep::Answered(exchange));
            }
        }
        if let Some(credentials) = managing {
            let call = management::Call { site, credentials, client, plan, request_id };
            return Ok(FirstStep::Answered(call.answer(session, &target).await));
        }
        let route = route.map_err(ambiguous)?;
        let admission = Admission { site, client, plan, request_id };
        let admitted = admission.admit(session, &target, &route).await;
        let admitted = admitted.map_err(|refusal| refusal.of_places(route.credentials))?;
        Ok(FirstStep::Admitted(target, route, admitted))
    }

    /// Finishes the exchange, whose response may still be on its way. Returns the connection if it can be used again.
    async fn end(mut self, mut session: ServerSession, answered: Result<Exchange, Refusal>) -> Next {
        let (status, reusable, broken_off) = match answered {
            Ok(Exchange::Begun(delivery)) => return self.deliver(session, *delivery).await,
            Ok(Exchange::Switched(upstream)) => {
                let line = AccessLine::of(session.req_header());
                Box::pin(self.carry(session, *upstream)).await;
                self.note(line, 101, None);
                return None;
            }
            Ok(Exchange::Answered(status)) => (status, true, None),
            Ok(Exchange::BrokenOff(broken_off)) => (broken_off.status, false, Some(broken_off.by)),
            Ok(Exchange::ClientGone) => (CLIENT_GONE, false, None),
            Err(refusal) => {
                let raw = session.req_header().raw_path();
                let path = String::from_utf8_lossy(raw.split(|b| *b == b'?').next().unwrap_or_default())
                    .into_owned();
                debug!(?refusal, request_id = shown(&self.request_id), "request refused");
                self.refuse(&mut session, &refusal, &path).await;
                (refusal.status(), true, None)
            }
        };
        self.note(AccessLine::of(session.req_header()), status, broken_off);
        let within = self.plan.timeouts.write;
        if !reusable {
            if broken_off.is_some_and(|by| by != Side::Client) {
                respond::close_broken_off(session, within).await;
            }
            return None;
        }
        if framing::is_invalid(&session) {
            // Whatever follows isn't a request. Left unread, it would reset the connection before the client has read the answer.
            respond::linger(session).await;
            return None;
        }
        let kept = pingora_timeout::timeout(within, session.finish()).await.ok()?.ok().flatten()?;
        Some(kept.into_parts())
    }

    /// Passes on a response of known length.
    async fn deliver(&self, session: ServerSession, delivery: ResponseDelivery) -> Next {
        let line = AccessLine::of(session.req_header());
        let group = self.forwarded.as_ref().map_or(0, |by| by.group);
        let (status, server) = (delivery.status(), &self.plan.groups[group].servers()[delivery.server]);
        let active = server.count_active();
        let delivered = delivery.run(session, self.plan.groups[group].timeouts()).await;
        drop(active);
        if let Some(stream) = delivered.backend {
            server.keep(self.handler.worker, stream);
        }
        let broken_off = delivered.broken_off.inspect(|broken_off| broken_off.log(server, &self.request_id));
        self.note(line, status, broken_off.map(|broken_off| broken_off.by));
        delivered.client
    }

    /// Counts and logs the request, whose response has ended.
    fn note(&self, line: Option<AccessLine>, status: u16, broken_off: Option<Side>) {
        let site = self.handler.site;
        let took = self.answered.unwrap_or_else(Instant::now).saturating_duration_since(self.started);
        site.metrics.http_request(site.entry, status, took);
        if let Some(line) = line {
            line.log(site, status, broken_off, took, &self.request_id);
        }
    }

    async fn forward(
        &mut self,
        session: &mut ServerSession,
        route: Routed,
        target: &Target<'_>,
        mut admitted: Admitted,
    ) -> Result<Exchange, Refusal> {
        let (handler, plan, request_id) = (&self.handler, &*self.plan, &self.request_id);
        let forwarded_target = target.with_query(admitted.query.as_deref());
        let framing = match admitted.body.spooled_length() {
            Some(length) => Framing::Length(length),
            None => {
                let empty = session.is_body_empty();
                Framing::of(session.req_header(), empty)
            }
        };
        let upgrade = asks_for_upgrade(session);
        let group = &plan.groups[route.group];
        let with = Outgoing {
            target: &forwarded_target,
            identity: admitted.granted.as_ref(),
            client: handler.client,
            trusted: handler.client.is_trusted(&plan.trusted_proxies),
            framing,
            authority: group.authority(),
            host: group.host(),
            reads_basic: route.credentials.basic,
            upgrade,
            request_id,
        };
        let method = session.req_header().method.clone();
        let has_no_body = matches!(framing, Framing::None | Framing::Length(0));
        // On the fast path the client's connection stays open.
        let stays_open =
            session.req_header().version == Version::HTTP_11 && session.get_keepalive().is_some();
        let unwritable = |_| {
            Refusal::Malformed(
                "Invalid request: its target or a header field can't be written as HTTP/1.1".into(),
            )
        };
        let request =
            if has_no_body && stays_open && !upgrade && method != Method::HEAD && group.is_cleartext() {
                let mut bytes = Vec::with_capacity(REQUEST_SIZE);
                outgoing_bytes(session.req_header(), &with, &mut bytes).map_err(unwritable)?;
                Outbound::Bytes(bytes)
            } else {
                Outbound::Header(Box::new(outgoing(session.req_header(), &with).map_err(unwritable)?))
            };
        let client = ClientSide {
            session,
            body: &mut admitted.body,
            timeouts: group.timeouts(),
            request_id,
            stop: handler.stop,
        };
        let (host, worker) = (group.host(), handler.worker);
        let forward = Forward { client, request: &request, host, method: &method, worker };
        let exchange = forward.run(group).await?;
        if matches!(exchange, Exchange::Answered(_)) {
            self.answered = Some(Instant::now());
            respond::drain(session).await;
        }
        let (group, granted, needed) = (route.group, admitted.granted, route.permissions());
        self.forwarded = Some(ForwardedBy { group, granted, needed });
        Ok(exchange)
    }

    /// Answers with a refusal, and reads the rest of the body.
    async fn refuse(&mut self, session: &mut ServerSession, refusal: &Refusal, path: &str) {
        let within = self.plan.timeouts.write;
        let request = session.req_header();
        let room =
            request_quota::take_for_refusal(self.handler.site, &self.plan, self.handler.client, request);
        let Some(_room) = room else {
            respond::refuse_without_body(session, refusal, &self.plan.cors_origins, &self.request_id, within)
                .await;
            return;
        };
        respond::settle(session).await;
        let origins = &self.plan.cors_origins;
        if respond::refuse(session, refusal, path, origins, &self.request_id, within).await {
            self.answered = Some(Instant::now());
            respond::drain(session).await;
        }
    }

    /// Carries the bytes of a tunnel until it ends.
    async fn carry(&self, session: ServerSession, upstream: UpstreamSession) {
        let site = self.handler.site;
        let revoked = until_revoked(site, self.forwarded.as_ref());
        let group = self.forwarded.as_ref().map_or(0, |by| by.group);
        let timeouts = self.plan.groups[group].timeouts();
        let mut stop = self.handler.stop.clone();
        let ended = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => tunnel::TunnelEnd::Closed,
            ended = tunnel::carry(session, upstream, timeouts, revoked) => ended,
        };
        if ended == tunnel::TunnelEnd::Revoked {
            info!(
                request_id = shown(&self.request_id),
                "tunnel closed: its credential no longer has the permission"
            );
            site.metrics.session_cut(site.entry);
        }
    }
}

/// The outcome of the first step of an exchange.
enum FirstStep<'r> {
    /// Gatepost answered the request itself.
    Answered(Exchange),
    /// The request may be forwarded.
    Admitted(Target<'r>, Routed, Admitted),
}

/// Resolves once the credential that opened a tunnel no longer has the permissions that it needs. A store that is unavailable is
/// asked again for nearly a second. Then the tunnel ends, since nothing proves that it may stay open. A tunnel that nothing permitted
/// ends at once; one on a public route stays open.
async fn until_revoked(site: &HttpService, by: Option<&ForwardedBy>) {
    use tokio::time::{sleep, timeout};
    let Some(ForwardedBy { granted, needed, .. }) = by else { return };
    let Some(granted) = granted else { return std::future::pending().await };
    let mut changes = site.access.subscribe();
    loop {
        changes.borrow_and_update();
        let asked = async {
            loop {
                match site.access.permissions_now(granted).await {
                    Ok(now) => return now.is_some_and(|now| needed.minus(now).is_empty()),
                    Err(_) => sleep(Duration::from_millis(150)).await,
                }
            }
        };
        // One limit for all attempts: a store that answers too late is as good as unavailable.
        if !timeout(PATIENCE_OF_TUNNELS, asked).await.unwrap_or(false) || changes.changed().await.is_err() {
            return;
        }
    }
}

/// Returns true if the request asks for a WebSocket (RFC 6455 section 4.1). A request for another protocol, or without the
/// `Connection` that belongs to it (RFC 9110 section 7.8), is forwarded as an ordinary request. A backend that speaks h2c, for example,
/// would read further requests from the tunnel, which nothing authorizes.
fn asks_for_upgrade(session: &ServerSession) -> bool {
    if !session.is_upgrade_req() {
        return false;
    }
    let request = session.req_header();
    let mut protocols = request.headers.get_all(header::UPGRADE).iter();
    let protocol = (protocols.next(), protocols.next());
    let connection = || request.headers.get_all(header::CONNECTION).iter();
    let mut options = connection().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    request.version == Version::HTTP_11
        && request.method == Method::GET
        && matches!(protocol, (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// The number of fields of a header. Over HTTP/2 one `Cookie` may be several fields (RFC 9113 section 8.2.3).
fn number_of_fields(request: &RequestHeader) -> usize {
    let headers = &request.headers;
    let crumbs = || headers.get_all(header::COOKIE).iter().count();
    if headers.len() <= MOST_FIELDS { headers.len() } else { headers.len() - crumbs().saturating_sub(1) }
}

fn shown(request_id: &HeaderValue) -> &str {
    request_id.to_str().unwrap_or_default()
}
