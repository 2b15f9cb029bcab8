//! The way of one request from its header to its response: target, route, authorization, then the proxy or the management API.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{Method, Version};
use tokio::sync::watch;

use super::access_log::{AccessLine, EndedRequest};
use super::authorize::{Admission, Admitted};
use super::client_session::ClientSession;
use super::console::call::ConsoleCall;
use super::error::{CLIENT_GONE, Refusal};
use super::gate::call::GateCall;
use super::gate::session::SessionGuard;
use super::headers::request::{Framing, Outgoing, outgoing};
use super::headers::response::GateRules;
use super::http1::backend::Http1Backend;
use super::peer::HttpPeer;
use super::proxy::exchange::{ClientSide, Exchange, Side};
use super::proxy::forward::Forward;
use super::proxy::tunnel::{self, TunnelEnd};
use super::refusal_answer::RefusedRequest;
use super::refused::{self, log_refusal};
use super::revocation::{self, ForwardedBy};
use super::router::Routed;
use super::service::{HttpService, Plan};
use super::target::{Target, ambiguous};
use super::{gate, management, preflight, respond};
use crate::config::Need;
use crate::domain::{RefusalReason, RequestId};
use crate::edge::net::deadline::DeadlineTimer;
use crate::edge::net::source_limit::CountedConnection;
use crate::wire::{FieldKind, Readings};

/// The text for a request of a trusted proxy's client that has too many in progress.
const TOO_MANY: &str = "Too many requests at once from this client, try again";

/// The text for a credential in the path.
const IN_PATH: &str = "The path contains api_user or api_key: send them in the query, behind the first `?`";

/// The text for a request over HTTP/2 that the h2 crate has reset.
const INVALID_STREAM: &str =
    "Invalid body over HTTP/2: most likely, it is longer or shorter than content-length";

/// The bytes of most requests to a backend.
const REQUEST_SIZE: usize = 1024;

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
    /// Answers the request whose header `session` has read. Returns true if the connection can be used again.
    pub async fn run(self, session: &mut ClientSession, timer: &mut DeadlineTimer) -> bool {
        let mut underway = self.begin(session, timer);
        let answered = underway.answer(session).await;
        underway.end(session, answered).await
    }

    /// The same over HTTP/2, where a connection may have many requests: each takes the memory for what follows its admission only
    /// once it is admitted.
    pub async fn run_multiplexed(self, mut session: ClientSession) {
        let mut timer = DeadlineTimer::default();
        let mut underway = self.begin(&mut session, &mut timer);
        let answered = underway.answer_in_two_steps(&mut session).await;
        Box::pin(underway.end(&mut session, answered)).await;
    }

    fn begin(self, session: &mut ClientSession, timer: &'a mut DeadlineTimer) -> Underway<'a> {
        if *self.stop.borrow() {
            session.close_afterwards();
        }
        let (plan, request_id) = (self.site.plan.load_full(), self.site.ids.next());
        Underway {
            handler: self,
            timer,
            plan,
            request_id,
            started: Instant::now(),
            answered: None,
            forwarded: None,
            counted: None,
            user: OnceLock::new(),
        }
    }
}

/// A request while it is answered.
struct Underway<'a> {
    handler: RequestHandler<'a>,
    timer: &'a mut DeadlineTimer,
    plan: Arc<Plan>,
    request_id: RequestId,
    started: Instant,
    /// The end of the response, if something is done after it.
    answered: Option<Instant>,
    forwarded: Option<ForwardedBy>,
    /// The count of the requests of a trusted proxy's client.
    counted: Option<CountedConnection>,
    /// The username of a credential that could not be checked, or of the account holder in a call of the management API.
    user: OnceLock<String>,
}

impl Underway<'_> {
    async fn answer(&mut self, session: &mut ClientSession) -> Result<Exchange, Refusal> {
        self.count(session)?;
        let raw = session.head().target().to_vec();
        match self.admit(session, &raw).await? {
            FirstStep::Answered(exchange) => Ok(exchange),
            FirstStep::Admitted(target, route, admitted) => {
                self.forward(session, route, &target, admitted).await
            }
        }
    }

    /// The same with the memory for the second step on the heap.
    async fn answer_in_two_steps(&mut self, session: &mut ClientSession) -> Result<Exchange, Refusal> {
        self.count(session)?;
        let raw = session.head().target().to_vec();
        match self.admit(session, &raw).await? {
            FirstStep::Answered(exchange) => Ok(exchange),
            FirstStep::Admitted(target, route, admitted) => {
                if admitted.granted.is_some() {
                    session.note_accepted();
                }
                Box::pin(self.forward(session, route, &target, admitted)).await
            }
        }
    }

    /// Counts a request that a trusted proxy forwards, as its client's connections are counted without a proxy.
    fn count(&mut self, session: &ClientSession) -> Result<(), Refusal> {
        let RequestHandler { site, client, .. } = self.handler;
        let fields = session.head().fields();
        if let Some(source) = client.forwarded_source(fields, &self.plan.trusted_proxies) {
            self.counted = Some(site.sources.enter(source).ok_or(Refusal::Overloaded(TOO_MANY.into()))?);
        }
        Ok(())
    }

    /// Parses the target `raw`, finds its route and authorizes the request. Calls of the management API are answered here.
    async fn admit<'r>(&self, session: &mut ClientSession, raw: &'r [u8]) -> Result<FirstStep<'r>, Refusal> {
        let RequestHandler { site, client, .. } = self.handler;
        let (plan, request_id) = (&*self.plan, &self.request_id);
        let request = session.head();
        if *request.method() == Method::CONNECT {
            // What follows may be meant for the other end of a tunnel.
            session.close_afterwards();
            return Err(Refusal::Method("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        // Over HTTP/1 it was checked when it was read.
        if request.version() == Version::HTTP_2 {
            request.check_http2()?;
        }
        if request.asks_for_grpc() {
            let within = plan.timeouts.write;
            let source = client.source(session.head().fields(), &plan.trusted_proxies);
            let told = (RefusalReason::Grpc, "200", "grpc-status 12");
            refused::log(site, source, request_id, "", told);
            respond::refuse_grpc(session, request_id, within).await;
            return Ok(FirstStep::Answered(Exchange::Answered(200)));
        }
        // A client that sends an invalid target may frame its body wrongly, too.
        let target = Target::parse(raw).inspect_err(|_| session.close_afterwards())?;
        if let Some(console) = &site.console {
            self.check_host(session)?;
            let call = ConsoleCall { site, console, client, plan, request_id, user: &self.user };
            return Box::pin(call.answer(session, &target)).await.map(FirstStep::Answered);
        }
        if let Some(guard) = SessionGuard::of(site, plan, client, request_id, &self.user)
            && gate::call::is_for(&guard, session.head(), &target)?
        {
            let call = GateCall { guard };
            return Box::pin(call.answer(session, &target)).await.map(FirstStep::Answered);
        }
        let request = session.head();
        let readings = match site.credentials.is_none() && plan.router.is_uniform() {
            true => Readings::default(),
            false => target.readings()?,
        };
        let managing = match &site.credentials {
            Some(credentials) => management::is_for(&target, &readings)?.then_some(credentials),
            None => None,
        };
        let route = plan.router.route(request.method(), &target.path, &readings);
        drop(readings);
        // A public path's backend answers preflights itself.
        if *request.method() == Method::OPTIONS
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
            let user = &self.user;
            let call = management::Call { site, credentials, client, plan, request_id, user };
            // On the heap as well: its future is the largest.
            return Ok(FirstStep::Answered(Box::pin(call.answer(session, &target)).await));
        }
        let route = route.map_err(ambiguous)?;
        if route.credentials.query && target.has_credential_in_path() {
            return Err(Refusal::Malformed(IN_PATH.into()));
        }
        let admission = Admission { site, client, plan, request_id, user: &self.user };
        let admitted = admission.admit(session, &target, &route).await;
        let admitted = admitted.map_err(|refusal| refusal.of_places(route.credentials))?;
        Ok(FirstStep::Admitted(target, route, admitted))
    }

    /// Checks that the request is for the host of the console. Another name may be one that an attacker lets lead here.
    fn check_host(&self, session: &ClientSession) -> Result<(), Refusal> {
        let head = session.head();
        let host = head.fields().get(FieldKind::Host).or(head.authority()).unwrap_or_default();
        match self.plan.pages.as_ref().is_none_or(|pages| pages.answers_to(host)) {
            true => Ok(()),
            false => Err(Refusal::Misdirected),
        }
    }

    /// Finishes the exchange. Returns true if the connection can be used again.
    async fn end(mut self, session: &mut ClientSession, answered: Result<Exchange, Refusal>) -> bool {
        let answered = match answered {
            // The client can't be answered on that stream, but it has not disconnected.
            Ok(Exchange::ClientGone) | Err(Refusal::ClientGone) if session.is_reset_as_invalid() => {
                Err(Refusal::Malformed(INVALID_STREAM.into()))
            }
            answered => answered,
        };
        let (status, reusable, broken_off) = match answered {
            Ok(Exchange::Switched(backend)) => {
                let line = AccessLine::of(session.head(), self.handler.client, &self.plan);
                Box::pin(self.carry(session, *backend)).await;
                self.note(line, 101, None);
                return false;
            }
            Ok(Exchange::Answered(status)) => (status, true, None),
            Ok(Exchange::BrokenOff(broken_off)) => {
                if broken_off.by == Side::Gatepost {
                    let code = broken_off.status.to_string();
                    let RequestHandler { site, client, .. } = self.handler;
                    let source = client.source(session.head().fields(), &self.plan.trusted_proxies);
                    let told = (RefusalReason::BrokenOff, code.as_str(), broken_off.detail.as_str());
                    refused::log(site, source, &self.request_id, self.user(), told);
                }
                (broken_off.status, false, Some(broken_off.by))
            }
            Ok(Exchange::ClientGone) | Err(Refusal::ClientGone) => (CLIENT_GONE, false, None),
            Err(refusal) => {
                let RequestHandler { site, client, .. } = self.handler;
                let (plan, request_id, user) = (&*self.plan, &self.request_id, self.user());
                let source = client.source(session.head().fields(), &plan.trusted_proxies);
                log_refusal(site, source, request_id, user, &refusal);
                let refused = RefusedRequest { site, plan, client, request_id, user };
                let (status, written_at) = refused.answer(session, refusal).await;
                self.answered = written_at;
                (status, written_at.is_some(), None)
            }
        };
        let line = AccessLine::of(session.head(), self.handler.client, &self.plan);
        self.note(line, status, broken_off);
        let within = self.plan.timeouts.write;
        match session {
            ClientSession::Http1(client) if client.is_invalid() => {
                // Whatever follows isn't a request. Left unread, it would reset the connection before the client has read the answer.
                client.linger().await;
                false
            }
            ClientSession::Http1(client) if reusable => client.finish(within).await,
            ClientSession::Http1(client) => {
                if broken_off.is_some_and(|by| by != Side::Client) {
                    client.flush_broken_off(within).await;
                }
                false
            }
            ClientSession::Http2(client) => {
                if reusable {
                    client.finish();
                }
                false
            }
        }
    }

    /// Counts and logs the request, whose response has ended.
    fn note(&self, line: Option<AccessLine>, status: u16, broken_off: Option<Side>) {
        let site = self.handler.site;
        let took = self.answered.unwrap_or_else(Instant::now).saturating_duration_since(self.started);
        site.metrics.http_request(site.entry, status, took);
        if let Some(line) = line {
            let server = self.forwarded.as_ref().and_then(|by| Some((by.group, by.server?)));
            let upstream = server.map(|(group, server)| self.plan.groups[group].servers()[server].name());
            let user = Some(self.user()).filter(|user| !user.is_empty());
            let request_id = &self.request_id;
            line.log(site, &EndedRequest { status, user, upstream, broken_off, took, request_id });
        }
    }

    /// The username, if it is known; else empty.
    fn user(&self) -> &str {
        let granted = self.forwarded.as_ref().and_then(|by| by.granted.as_ref());
        let presented = || self.user.get().map_or("", |user| user);
        granted.map_or_else(presented, |granted| granted.name().as_str())
    }

    async fn forward(
        &mut self,
        session: &mut ClientSession,
        route: Routed,
        target: &Target<'_>,
        mut admitted: Admitted,
    ) -> Result<Exchange, Refusal> {
        let (handler, plan, request_id) = (&self.handler, &*self.plan, &self.request_id);
        let framing = match admitted.body.spooled_length() {
            Some(length) => Framing::Length(length),
            None => {
                let empty = session.is_body_empty();
                Framing::of(session.head(), empty)
            }
        };
        let upgrade = session.head().asks_for_websocket();
        let group = &plan.groups[route.group];
        let is_by_session = admitted.granted.as_ref().is_some_and(|granted| granted.session().is_some());
        let with = Outgoing {
            path: target.path.as_bytes(),
            query: admitted.query.as_deref(),
            identity: admitted.granted.as_ref(),
            client: handler.client,
            trusted: handler.client.is_trusted(&plan.trusted_proxies),
            framing,
            authority: group.authority(),
            host: group.host(),
            // With a session, it is the backend's.
            reads_basic: route.credentials.basic && !is_by_session,
            reads_query: route.credentials.query,
            upgrade,
            request_id,
        };
        let mut head = Vec::with_capacity(REQUEST_SIZE);
        outgoing(session.head(), &with, &mut head)
            .map_err(|error| Refusal::Malformed(format!("Invalid request: {error}").into()))?;
        let method = session.head().method().clone();
        let client = ClientSide {
            session,
            body: &mut admitted.body,
            timeouts: group.timeouts(),
            timer: self.timer,
            request_id,
            rules: GateRules {
                is_by_session,
                confines_workers: plan.gate.as_ref().is_some_and(|gate| !gate.service_workers),
            },
            stop: handler.stop,
        };
        let is_chunked = framing == Framing::Chunked;
        let (host, worker) = (group.host(), handler.worker);
        let (granted, needed) = (admitted.granted, route.permissions());
        let access = granted.is_some().then_some(&*handler.site.access);
        let by = ForwardedBy { group: route.group, granted, needed, server: None, begun: None };
        let ForwardedBy { granted, server, begun, .. } = self.forwarded.insert(by);
        let method = &method;
        let forward =
            Forward { client, head: &head, host, is_chunked, upgrade, method, worker, access, server, begun };
        let outcome = {
            let mut running = pin!(forward.run(group));
            match granted.as_ref().filter(|_| is_by_session) {
                None => Ok(running.await),
                Some(granted) => tokio::select! {
                    biased;
                    done = running.as_mut() => Ok(done),
                    end = revocation::of_long_response(handler.site, granted, needed) => Err(end),
                },
            }
        };
        let (exchange, ended) = match outcome {
            Ok(done) => done?,
            Err(end) => return revocation::cut_off(handler.site, end, *begun),
        };
        if matches!(exchange, Exchange::Answered(_)) {
            self.answered = Some(ended);
            respond::drain(session).await;
        }
        Ok(exchange)
    }

    /// Carries the bytes of a tunnel until it ends.
    async fn carry(&self, session: &mut ClientSession, backend: Http1Backend) {
        let source = self.handler.client.source(session.head().fields(), &self.plan.trusted_proxies);
        let ClientSession::Http1(client) = session else { return };
        let site = self.handler.site;
        let revoked = revocation::of_tunnel(site, self.forwarded.as_ref());
        let group = self.forwarded.as_ref().map_or(0, |by| by.group);
        let timeouts = self.plan.groups[group].timeouts();
        let mut stop = self.handler.stop.clone();
        let granted = self.forwarded.as_ref().and_then(|by| by.granted.as_ref());
        let by = granted.map(|granted| (&*site.access, granted));
        let ended = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => TunnelEnd::Closed,
            ended = tunnel::carry(client, backend, timeouts, by, revoked) => ended,
        };
        let reason = match ended {
            TunnelEnd::Revoked => RefusalReason::TunnelRevoked,
            TunnelEnd::Undecided => RefusalReason::TunnelUndecided,
            TunnelEnd::Closed | TunnelEnd::Idle => return,
        };
        refused::log(site, source, &self.request_id, self.user(), (reason, "", ""));
        site.metrics.session_cut(site.entry);
    }
}

/// The outcome of the first step of an exchange.
enum FirstStep<'r> {
    /// Gatepost answered the request itself.
    Answered(Exchange),
    /// The request may be forwarded.
    Admitted(Target<'r>, Routed, Admitted),
}
