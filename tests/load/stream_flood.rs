//! Floods of HTTP/2 streams on which nobody shows a credential: the memory that they take is bounded, in all and for each
//! source, and others are served meanwhile.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, Received};
use crate::common::http::{Connection, get, request};
use crate::common::http2::{address, ask, config};
use crate::common::tls::Authority;
use crate::common::{Gateway, HOLDER, PATIENCE, configured};
use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const STREAMS: usize = 100;

/// The bound for the growth of the gateway's memory in KiB. An idle connection with TLS and HTTP/2 takes about 46 KiB.
const MEMORY: u64 = 64 * 1024;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The content of each stream of a flood.
#[derive(Clone, Copy)]
struct Flood {
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    /// The body, none for a request that ends with its header.
    body: Option<&'static str>,
    /// True if the body ends.
    ends: bool,
    connections: u64,
    sources: u64,
    /// Bytes of an answer that the client takes for each stream.
    window: u32,
    /// True if the client reads nothing more once it is connected.
    stalls: bool,
}

/// The paths of an answer that is larger than what waits for a client, and of one that isn't.
const LARGE: &str = "/open/large";
const WINDOW: &str = "/open/window";

// Case F1: 500 connections with 100 streams each, one byte of a form in every stream
/// One byte of a form that never ends.
const ONE_BYTE: Flood = Flood {
    path: "/api/mail.send.json",
    fields: &[FORM],
    body: Some("a"),
    ends: false,
    connections: 500,
    sources: 1,
    window: 65_535,
    stalls: false,
};

/// A smaller flood.
const FEWER: Flood = Flood { connections: 300, ..ONE_BYTE };

type Client = (SendRequest<Bytes>, h2::PingPong);

/// The bytes that a client that stalls reads before: those of the handshakes.
const HANDSHAKES: usize = 4 * 1024;

/// The time for what such a client sends to arrive, as no answer tells that it has.
const ARRIVAL: Duration = Duration::from_secs(3);

/// A connection of which only the first bytes are read.
struct Stalling {
    stream: TcpStream,
    left: usize,
}

impl AsyncRead for Stalling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut part = buffer.take(self.left);
        if part.remaining() == 0 {
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        let count = part.filled().len();
        self.left -= count;
        if let Poll::Ready(Ok(())) = read {
            let filled = part.filled().to_vec();
            buffer.put_slice(&filled);
        }
        read
    }
}

crate::forward_writes!(Stalling, stream);

/// A connection over HTTP/2 from `source`, with TLS.
async fn connect(to: SocketAddr, tls: TlsConnector, source: IpAddr, flood: Flood) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source, 0)).unwrap();
    let stream = socket.connect(to).await.unwrap();
    let stream = Stalling { stream, left: if flood.stalls { HANDSHAKES } else { usize::MAX } };
    let stream = tls.connect("gate.test".try_into().unwrap(), stream).await.unwrap();
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(flood.window).initial_connection_window_size(1 << 30);
    let (client, mut connection) = settings.handshake(stream).await.unwrap();
    let pings = connection.ping_pong().unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    (client, pings)
}

/// Opens all streams of a connection and keeps them open, until the gateway ends the connection; then sees that all was
/// received. The connection stays open for as long as what is given back.
async fn flood((client, mut pings): Client, flood: Flood) -> impl Sized {
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        // Streams that were refused make way for others; where all are held, a hundred are all that may be open.
        let patience = if flood.stalls { ARRIVAL } else { PATIENCE };
        let Ok(Ok(mut ready)) = timeout(patience, client.clone().ready()).await else { break };
        let method = if flood.body.is_some() { "POST" } else { "GET" };
        let (answer, mut body) = ask(&mut ready, method, flood.path, flood.fields, flood.body.is_none());
        if let Some(text) = flood.body {
            let _ = body.send_data(Bytes::from_static(text.as_bytes()), flood.ends);
        }
        open.push((answer, body));
    }
    let patience = if flood.stalls { ARRIVAL } else { PATIENCE };
    let _ = timeout(patience, pings.ping(h2::Ping::opaque())).await;
    (open, client)
}

/// A number of the kernel's about the gateway's process, in KiB.
fn memory(gateway: &Gateway, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn flooded(what: Flood) {
    crate::common::allow_descriptors(8192);
    let backend = Backend::answering(|request: &Received| {
        let length = match request.target.as_str() {
            LARGE => 400 * 1024,
            WINDOW => 60_000,
            _ => 5,
        };
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length)).into_bytes()
    });
    let authority = Authority::new();
    let keys = "listen = [\"127.0.0.1:0\"]\nheader_timeout = \"60s\"\nform_timeout = \"120s\"\n";
    let directory = configured(&config(backend.address, keys));
    authority.issue("gate.test").write(directory.path());
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web");
    let tls = TlsConnector::from(authority.client(&["h2"]));
    let (to, idle) = (address(&gateway), memory(&gateway, "VmRSS:"));

    let mut clients = Vec::new();
    for number in 0..what.connections {
        let source = IpAddr::from([127, 0, 0, 2 + (number % what.sources) as u8]);
        clients.push(connect(to, tls.clone(), source, what).await);
    }
    let mut floods = JoinSet::new();
    for client in clients {
        floods.spawn(flood(client, what));
    }
    let mut held = Vec::new();
    while let Some(flooded) = floods.join_next().await {
        held.push(flooded.unwrap());
    }
    // The high-water mark of all the time.
    let peak = memory(&gateway, "VmHWM:");
    let bound = idle + MEMORY;
    // `--nocapture` shows the figures that docs/security.md has.
    println!(
        "{idle} KiB before, {peak} KiB at most: {} connections of {} sources",
        what.connections, what.sources
    );
    assert!(peak <= bound, "{idle} KiB before, {peak} KiB at most and {bound} KiB allowed");

    // Others are served meanwhile, with the credential in a form: who is told to try again soon is served soon.
    let credential = HOLDER.replace(':', "&api_key=");
    let form = || request("POST", "/api/mail.send.json").header(FORM.0, FORM.1);
    let began = Instant::now();
    loop {
        let response = form().body(format!("api_user={credential}")).send(gateway.api());
        if response.status == 200 {
            break;
        }
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
        assert!(began.elapsed() < PATIENCE, "never served");
    }
    // And those of the flood's own sources that show a credential with the request.
    let mut basic = Connection::open_from(IpAddr::from([127, 0, 0, 2]), gateway.api());
    assert_eq!(basic.exchange(get("/api/a.json").basic(HOLDER)).status, 200);
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_go_on_take_bounded_memory() {
    flooded(ONE_BYTE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_go_on_take_bounded_memory_from_many_sources() {
    flooded(Flood { sources: 50, ..ONE_BYTE }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn management_calls_that_go_on_take_bounded_memory() {
    flooded(Flood { path: "/api/credentials/add.json", ..FEWER }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_to_a_public_route_that_go_on_take_bounded_memory() {
    flooded(Flood { path: "/open/a", ..FEWER }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_requests_that_are_refused_take_bounded_memory() {
    flooded(Flood { ends: true, ..FEWER }).await;
    flooded(Flood { body: None, ..FEWER }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_logins_take_bounded_memory() {
    let fields = &[FORM, ("authorization", "Basic bm9ib2R5OndyMG5nLXBhc3N3b3Jk")];
    flooded(Flood { fields, sources: 15, ..FEWER }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_nobody_takes_take_bounded_memory() {
    flooded(Flood { body: None, window: 0, ..FEWER }).await;
    flooded(Flood { path: "/api/credentials/get.json", body: None, window: 0, sources: 15, ..FEWER }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_to_the_management_api_take_bounded_memory() {
    let fields = &[("authorization", "Basic bm9ib2R5OndyMG5nLXBhc3N3b3Jk")];
    flooded(Flood { path: "/api/credentials/get.json", fields, body: None, sources: 15, ..FEWER }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_a_public_route_that_nobody_takes_take_bounded_memory() {
    for sources in [1, 15] {
        flooded(Flood { path: LARGE, fields: &[], body: None, window: 0, sources, ..FEWER }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_a_public_route_that_are_never_read_take_bounded_memory() {
    let public = Flood { fields: &[], body: None, window: 1 << 20, stalls: true, ..FEWER };
    for (path, sources) in [(WINDOW, 1), (WINDOW, 15), (LARGE, 15)] {
        flooded(Flood { path, sources, ..public }).await;
    }
}
