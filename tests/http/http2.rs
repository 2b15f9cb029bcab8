//! Invalid requests over HTTP/2 are answered for what they are, and a stop cuts off no answer.

use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, Received, read_header};
use crate::common::http2::{address, ask, http2, recorded, send, start, whole};
use crate::common::mail::{metric, wait_for_metric};
use crate::common::tls::Authority;
use crate::common::{PATIENCE, nobody};
use bytes::Bytes;
use h2::Reason;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const OPS: &str = "[ops]\nlisten = \"127.0.0.1:0\"\n";

/// A connection that isn't read while its gate is shut.
struct Gated {
    stream: TcpStream,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    shut: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Gate {
    fn open(&self) {
        self.shut.store(false, Ordering::SeqCst);
        if let Some(waker) = self.waiting.lock().unwrap().take() {
            waker.wake();
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        *self.gate.waiting.lock().unwrap() = Some(cx.waker().clone());
        if self.gate.shut.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

crate::forward_writes!(Gated, stream);

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_until_answers_are_taken() {
    const ANSWERS: usize = 90;
    const LENGTH: usize = 60_000;
    let authority = Authority::new();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n{}", "x".repeat(LENGTH));
    let backend = Backend::answering(move |_| answer.clone().into_bytes());
    let gateway = start(&authority, backend.address, "");
    let gate = Arc::new(Gate::default());
    let connector = TlsConnector::from(authority.client(&["h2"]));
    let stream = TcpStream::connect(address(&gateway)).await.unwrap();
    let stream = Gated { stream, gate: gate.clone() };
    let stream = connector.connect("gate.test".try_into().unwrap(), stream).await.unwrap();
    let mut settings = h2::client::Builder::new();
    let settings = settings.initial_window_size(1 << 20).initial_connection_window_size(1 << 30);
    let (client, connection) = settings.handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let first = ask(&mut client, "GET", "/open/first", &[], true).0.await.unwrap();
    assert_eq!(whole(first).await.unwrap().1.len(), LENGTH);
    backend.next();
    // More than the system takes of it: the rest lies with the gateway, each request done with as far as that can see.
    gate.shut.store(true, Ordering::SeqCst);
    let mut asked = Vec::new();
    for number in 0..ANSWERS {
        asked.push(ask(&mut client, "GET", &format!("/open/{number}"), &[], true).0);
    }
    let gone = tokio::task::spawn_blocking(move || {
        (0..ANSWERS).for_each(|_| drop(backend.next()));
        gateway.signal("TERM");
        gateway.log().wait_for(&["stopping"]);
        gateway
    });
    let mut gateway = gone.await.unwrap();
    gate.open();
    for answer in asked {
        let (status, body) = whole(answer.await.unwrap()).await.unwrap();
        assert_eq!((status, body.len()), (200, LENGTH));
    }
    drop(client);
    let _ = connection.await;
    assert_eq!(tokio::task::spawn_blocking(move || gateway.wait()).await.unwrap(), Some(0));
}

/// A client that is connected and has nothing to say holds up nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_who_is_idle() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let mut gateway = start(&authority, backend.address, "");
    let _client = http2(&gateway, &authority).await;
    let stopped = Instant::now();
    gateway.signal("TERM");
    assert_eq!(tokio::task::spawn_blocking(move || gateway.wait()).await.unwrap(), Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, OPS);
    let mut client = http2(&gateway, &authority).await;
    let (long, longer) = ("x".repeat(30_000), "x".repeat(70_000));
    // The client's library takes no path of 64 KiB.
    let (path, method) = (format!("/open/{}", &longer[..65_000]), "X".repeat(70_000));
    let three = [("x-0", long.as_str()), ("x-1", long.as_str()), ("x-2", long.as_str())];
    let one = [("x-0", longer.as_str())];
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let requests: [(&str, &str, Fields<'_>); 4] = [
        ("GET", "/open/a", &three),
        ("GET", "/open/a", &one),
        ("GET", &path, &[("x-0", &long[..600])]),
        (&method, "/open/a", &[]),
    ];
    for (nth, (method, path, fields)) in (1..).zip(requests) {
        let answer = ask(&mut client, method, path, fields, true).0.await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let (status, text) = whole(answer).await.unwrap();
        assert_eq!(status, 431);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(&format!("The request header is too large (id {id})")), "{text}");
        let line = gateway.log().wait_for(&[&id]);
        assert!(line.contains(r#""code":"431","reason":"header too large""#), "{line}");
        wait_for_metric(&gateway, "gatepost_http_requests_total{entry=\"api\",status=\"431\"}", nth);
        let good = ask(&mut client, "GET", "/open/a", &[], true).0.await.unwrap();
        assert_eq!(good.status(), 200);
        backend.next();
    }
    assert!(backend.drain().is_empty());
}

// Case F5: Gatepost itself resets a stream whose body has another length than it said.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_length_is_a_faulty_request_and_no_lost_client() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, OPS);
    let mut client = http2(&gateway, &authority).await;
    for (nth, body) in (1..).zip(["abc", "abcdefgh"]) {
        let fields = [("content-length", "5")];
        let (answer, mut writer) = ask(&mut client, "POST", "/open/a", &fields, false);
        assert!(send(&mut writer, Bytes::from_static(body.as_bytes()), true).await);
        let error = answer.await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
        wait_for_metric(&gateway, "gatepost_http_requests_total{entry=\"api\",status=\"400\"}", nth);
    }
    let line = gateway.log().wait_for(&["invalid request"]);
    assert!(line.contains("Invalid body over HTTP/2: most likely, it is longer or shorter"), "{line}");
    assert_eq!(metric(&gateway, "gatepost_http_requests_total{entry=\"api\",status=\"499\"}"), 0);
}

// Case A10: the number of fields is limited as over HTTP/1.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_with_too_many_fields_is_refused() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    let names: Vec<String> = (0..3000).map(|n| format!("x-{n}")).collect();
    for (count, expected) in [(200, 200), (300, 431), (1000, 431), (200, 200)] {
        let fields: Vec<(&str, &str)> = names.iter().take(count).map(|name| (name.as_str(), "x")).collect();
        let answer = ask(&mut client, "GET", "/open/a", &fields, true).0.await.unwrap();
        assert_eq!(answer.status(), expected, "{count}");
    }
    // A browser may send each cookie as a field of its own.
    let crumbs = vec![("cookie", "a=b"); 400];
    let answer = ask(&mut client, "GET", "/open/a", &crumbs, true).0.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(backend.drain().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_never_read_is_given_up_and_the_others_go_on() {
    let (released, releases) = channel();
    let backend = Backend::handling(move |stream, _| {
        let Some(request) = read_header(stream) else { return };
        let stream = stream.get_mut();
        if request.target.ends_with("endless") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
            while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
            let _ = released.send(());
        } else {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    let authority = Authority::new();
    let gateway = start(&authority, backend.address, "write_timeout = \"300ms\"");
    let mut client = http2(&gateway, &authority).await;
    let endless = ask(&mut client, "GET", "/open/endless", &[], true).0.await.unwrap();
    tokio::task::spawn_blocking(move || releases.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    assert!(whole(endless).await.is_err());
    let other = ask(&mut client, "GET", "/open/a", &[], true).0.await.unwrap();
    assert_eq!(whole(other).await.unwrap(), (200, b"ok".to_vec()));
}

/// Of a client that drips.
const PACE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_408() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "body_timeout = \"300ms\"");
    let mut client = http2(&gateway, &authority).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (path, fields) in [("/open/a", &[][..]), ("/api/mail.send.json", &form)] {
        let (answer, mut body) = ask(&mut client, "POST", path, fields, false);
        let mut answer = tokio::spawn(answer);
        let answered = loop {
            body.reserve_capacity(1);
            if body.send_data("x".into(), false).is_err() {
                break answer.await;
            }
            // The answer is waited for, in between.
            if let Ok(answered) = timeout(PACE, &mut answer).await {
                break answered;
            }
        };
        assert_eq!(answered.unwrap().unwrap().status(), 408, "{path}");
    }
}

/// A request that Gatepost answers itself: its path, its fields, the answer's status.
type Refused<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

const REFUSED: [Refused<'_>; 7] = [
    ("/v3/stats", &[("authorization", "Basic Ym9iOndyb25n")], 401),
    ("/v3/stats", &[], 401),
    ("/v3/stats?api_user=a&api_user=b", &[], 400),
    ("/open/%2e%2e%00", &[], 400),
    ("/api/credentials/get.json", &[], 405),
    ("/api/credentials/get.xml", &[], 405),
    ("/api/credentials/nosuch.json", &[], 404),
];

/// The fields of an answer that are the same each time.
fn fields(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    let lasting = headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    lasting.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

// Case C1: HEAD over HTTP/2 with a wrong password, on a 400, a 405, a 502
#[tokio::test(flavor = "multi_thread")]
async fn head_is_refused_with_the_header_of_get_and_no_body() {
    let authority = Authority::new();
    let gateway = start(&authority, nobody(), "");
    let (mut client, _, frames) = recorded(&gateway, &authority).await;
    for (path, extra, status) in REFUSED.into_iter().chain([("/open/a", &[][..], 502)]) {
        let head = ask(&mut client, "HEAD", path, extra, true).0.await.unwrap();
        let shown = fields(head.headers());
        assert_eq!(whole(head).await.unwrap(), (status, vec![]), "{path}");
        assert_eq!(frames.data(), 0, "{path}");
        if status == 405 {
            let length = shown.iter().find(|(name, _)| name == "content-length").unwrap();
            assert!(
                length.1 != b"0"
                    && shown.iter().any(|(name, value)| name == "allow" && value == b"GET, POST")
            );
            continue;
        }
        // On a connection of its own, since it has a body.
        let mut other = http2(&gateway, &authority).await;
        let got = ask(&mut other, "GET", path, extra, true).0.await.unwrap();
        assert_eq!(fields(got.headers()), shown, "{path}");
        let (got, body) = whole(got).await.unwrap();
        assert!(got == status && !body.is_empty(), "{path}");
    }
}

/// Whatever a backend sends behind such a header: it has no body, and its stream ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_is_a_header_alone() {
    let backend = Backend::answering(|request: &Received| {
        let rest = match request.target.trim_start_matches("/open/") {
            "sized" => "200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "chunked" => "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "empty" => "200 OK\r\nContent-Length: 0\r\n\r\n",
            "204" => "204 No Content\r\n\r\n",
            "204/body" => "204 No Content\r\n\r\nhello",
            "304" => "304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
            "304/body" => "304 Not Modified\r\nETag: \"a\"\r\n\r\nhello",
            other => panic!("{other}"),
        };
        format!("HTTP/1.1 {rest}").into_bytes()
    });
    let authority = Authority::new();
    let gateway = start(&authority, backend.address, "");
    let (mut client, _, frames) = recorded(&gateway, &authority).await;
    for (method, path, status) in [
        ("HEAD", "sized", 200),
        ("HEAD", "chunked", 200),
        ("HEAD", "empty", 200),
        ("GET", "empty", 200),
        ("GET", "204", 204),
        ("HEAD", "204", 204),
        ("POST", "204/body", 204),
        ("GET", "304", 304),
        ("HEAD", "304", 304),
        ("GET", "304/body", 304),
    ] {
        let answer = ask(&mut client, method, &format!("/open/{path}"), &[], true).0.await.unwrap();
        assert_eq!(whole(answer).await.unwrap(), (status, vec![]), "{method} {path}");
        assert_eq!(frames.data(), 0, "{method} {path}");
    }
    let answer = ask(&mut client, "GET", "/open/chunked", &[], true).0.await.unwrap();
    assert_eq!(whole(answer).await.unwrap(), (200, b"hello".to_vec()));
    assert!(frames.data() > 0, "a body is seen");
}

const EXPECT: (&str, &str) = ("expect", "100-continue");

/// Clients needn't wait for their 100.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_waits_for_a_100_is_taken() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    let (answer, mut body) = ask(&mut client, "POST", "/open/a", &[EXPECT], false);
    assert!(send(&mut body, "some".into(), true).await);
    assert_eq!(whole(answer.await.unwrap()).await.unwrap(), (200, b"hello".to_vec()));
    assert_eq!(backend.next().body, b"some");
}

/// A client that waits for its 100 gets one, wherever its body goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_a_100_gets_one() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    gateway.account("email,api,web").credential("caller:passw0rd-call", "api");
    let mut client = http2(&gateway, &authority).await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (path, fields) in [("/open/a", &[EXPECT][..]), ("/v3/stats", &[EXPECT, form])] {
        let (mut answer, mut body) = ask(&mut client, "POST", path, fields, false);
        let interim = poll_fn(|cx| answer.poll_informational(cx));
        let interim = timeout(PATIENCE, interim).await.expect(path).unwrap().unwrap();
        assert_eq!((interim.status().as_u16(), interim.headers().len()), (100, 0), "{path}");
        let sent = "api_user=caller&api_key=passw0rd-call";
        assert!(send(&mut body, sent.into(), true).await);
        assert_eq!(whole(answer.await.unwrap()).await.unwrap(), (200, b"hello".to_vec()), "{path}");
        assert_eq!(backend.next().body.len(), sent.len());
    }
    // Nothing is asked of a client whose request is refused.
    let (mut answer, _body) = ask(&mut client, "POST", "/v3/mail/send", &[EXPECT], false);
    assert!(poll_fn(|cx| answer.poll_informational(cx)).await.is_none());
    assert_eq!(answer.await.unwrap().status(), 401);
    // Nor is one without a body told to send it.
    let (mut answer, _) = ask(&mut client, "POST", "/open/a", &[EXPECT], true);
    assert!(poll_fn(|cx| answer.poll_informational(cx)).await.is_none());
    assert_eq!(answer.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_with_a_goodbye() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "keepalive_timeout = \"300ms\"");
    let (mut client, ended, frames) = recorded(&gateway, &authority).await;
    assert_eq!(ask(&mut client, "GET", "/open/a", &[], true).0.await.unwrap().status(), 200);
    timeout(PATIENCE, ended).await.expect("the connection ends").unwrap();
    assert!(frames.goodbyes() > 0);
}

/// A client that presents a credential may have more than one upload that waits.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_waits_leaves_room_for_another() {
    const WINDOW: usize = 65_535;
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    gateway.account("email,api,web").credential("caller:passw0rd-call", "api");
    let mut client = http2(&gateway, &authority).await;
    let login = [("authorization", "Basic Y2FsbGVyOnBhc3N3MHJkLWNhbGw=")];
    let mut waiting = Vec::new();
    for nth in 0..3 {
        let (answer, mut body) = ask(&mut client, "POST", "/v3/stats", &login, false);
        // This takes the room from the connection's window, and sends nothing.
        body.reserve_capacity(WINDOW);
        while body.capacity() < WINDOW {
            let more = timeout(PATIENCE, poll_fn(|cx| body.poll_capacity(cx))).await;
            more.unwrap_or_else(|_| panic!("upload {nth} has no room")).unwrap().unwrap();
        }
        waiting.push((answer, body));
    }
    for (answer, mut body) in waiting {
        assert!(send(&mut body, "some".into(), true).await);
        assert_eq!(answer.await.unwrap().status(), 200);
    }
}
