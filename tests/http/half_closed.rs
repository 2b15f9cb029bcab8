//! Clients and backends that end their own direction of a connection and still read the other one. Whoever sends a FIN has sent all;
//! only a reset, or a write that fails, says that nobody reads any more.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::backend::{Backend, read_request};
use crate::common::callers::{API, BASIC_API, NO_DELAYS};
use crate::common::forms::URLENCODED;
use crate::common::http::{Connection, get, request};
use crate::common::mail::wait_for_metric;
use crate::common::tls::{self, Authority};
use crate::common::{Gateway, HOLDER, PATIENCE, configured};

/// Long enough for a gateway to act on the end of a connection.
const A_WHILE: Duration = Duration::from_millis(30);

/// A backend that answers each request in the parts that its path names, and waits for a word of the test before each part; tells
/// of the end of each connection that brought a request.
struct Slow {
    backend: Backend,
    go: Sender<()>,
    ends: Receiver<()>,
}

fn slow() -> Slow {
    let (go, went) = channel();
    let (ended, ends) = channel();
    let went = Arc::new(Mutex::new(went));
    let backend = Backend::handling(move |stream, received| {
        let mut asked = false;
        while let Some(request) = read_request(stream) {
            asked = true;
            let parts = parts(&request.target);
            let until_close = request.target.starts_with("/until-close");
            let _ = received.send(request);
            let went = went.lock().unwrap();
            for part in parts {
                if !wait_for(&went, stream) || stream.get_mut().write_all(part.as_bytes()).is_err() {
                    let _ = ended.send(());
                    return;
                }
            }
            if until_close {
                break;
            }
        }
        if asked {
            let _ = ended.send(());
        }
    });
    Slow { backend, go, ends }
}

/// Waits for a word of the test. Returns false if the connection ends first.
fn wait_for(went: &Receiver<()>, stream: &BufReader<TcpStream>) -> bool {
    let stream = stream.get_ref();
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let went = loop {
        match went.try_recv() {
            Ok(()) => break true,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => break false,
            Err(std::sync::mpsc::TryRecvError::Empty) => {}
        }
        match stream.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(1..) => {}
            Ok(0) | Err(_) => break false,
        }
    };
    stream.set_read_timeout(None).unwrap();
    went
}

fn parts(target: &str) -> &'static [&'static str] {
    match target.trim_start_matches('/') {
        "sized" => &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
        "sized-in-parts" => &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "he", "llo"],
        "chunked" => {
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", "3\r\nllo\r\n", "0\r\n\r\n"]
        }
        "until-close" => &["HTTP/1.1 200 OK\r\n\r\nhe", "llo"],
        "hints" => &[
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ],
        other => panic!("{other}"),
    }
}

const TARGETS: [&str; 5] = ["/sized", "/sized-in-parts", "/chunked", "/until-close", "/hints"];

fn gateway(backend: &Backend, authority: &Authority) -> Gateway {
    let directory = configured(&format!(
        "{NO_DELAYS}[ops]\nlisten = \"127.0.0.1:0\"\n[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n[api]\n\
         listen = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\nupstreams = [\"http://{}\"]\n\
         health_interval = \"1h\"\n",
        backend.address
    ));
    authority.issue("gate.test").write(directory.path());
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web").credential(API, "api");
    gateway
}

/// The same request with every kind of body, and with the credential in a form.
fn requests(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (user, key) = API.split_once(':').unwrap();
    let form = request("POST", target).header("Content-Type", URLENCODED);
    vec![
        ("no body", get(target).basic(API).bytes()),
        ("a sized body", request("POST", target).basic(API).body("body").bytes()),
        ("a chunked body", request("POST", target).basic(API).chunked("body").bytes()),
        ("a form", form.body(format!("api_user={user}&api_key={key}&a=b")).bytes()),
        ("HTTP/1.0", format!("GET {target} HTTP/1.0\r\n{BASIC_API}\r\n").into_bytes()),
    ]
}

// Case A4: a client that half-closes behind its request
#[test]
fn a_half_closed_client_gets_its_answer() {
    let (slow, authority) = (slow(), Authority::new());
    let gateway = gateway(&slow.backend, &authority);
    for target in TARGETS {
        for (what, bytes) in requests(target) {
            let mut connection = Connection::open(gateway.api());
            connection.write(&bytes);
            connection.stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(slow.backend.next().target, target);
            let mut all = Vec::new();
            for _ in parts(target) {
                let early = connection.read_within(A_WHILE);
                all.extend(early.flatten().unwrap_or_default());
                slow.go.send(()).unwrap();
            }
            all.extend(connection.read_to_end());
            assert_answer(&all, &format!("{target} with {what}"));
        }
    }
}

fn assert_answer(all: &[u8], shown: &str) {
    let all = String::from_utf8_lossy(all);
    assert!(all.contains("HTTP/1.1 200 OK\r\n"), "{shown}: {all:?}");
    let whole = ["hello", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"];
    assert!(whole.iter().any(|body| all.ends_with(body)), "{shown}: {all:?}");
}

// Case A4: the answers that come from the gateway itself
#[test]
fn a_half_closed_client_gets_the_gateways_own_answers() {
    let (slow, authority) = (slow(), Authority::new());
    let gateway = gateway(&slow.backend, &authority);
    let wrong = format!("api_user=nobody&api_key=wr0ng-password&text={}", "x".repeat(70_000));
    let form = |target: &str| request("POST", target).header("Content-Type", URLENCODED);
    let login =
        |login: &str| login.split_once(':').map(|(u, k)| format!("api_user={u}&api_key={k}")).unwrap();
    for (bytes, status) in [
        (get("/sized").bytes(), 401),
        (get("/v3/mail/send").basic(API).bytes(), 403),
        (form("/sized").body(&wrong[..]).bytes(), 401),
        (form("/sized").chunked(&wrong[..]).bytes(), 401),
        (get("/api/credentials/get.json").bytes(), 401),
        (form("/api/credentials/get.json").body(login(HOLDER)).bytes(), 200),
        (form("/api/credentials/get.json").basic(HOLDER).chunked("a=b").bytes(), 200),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400),
        (b"nonsense\r\n\r\n".to_vec(), 400),
    ] {
        for in_pieces in [false, true] {
            let mut connection = Connection::open(gateway.api());
            let cut = if in_pieces { bytes.len() / 2 } else { 0 };
            connection.write(&bytes[..cut]);
            connection.write(&bytes[cut..]);
            connection.stream.shutdown(Shutdown::Write).unwrap();
            let shown = bytes[..bytes.len().min(80)].escape_ascii().to_string();
            let answer = connection.try_response().unwrap_or_else(|| panic!("no answer to {shown}"));
            assert_eq!(answer.status, status, "{shown}");
            assert!(!answer.body.is_empty() && connection.is_closed(), "{shown}");
        }
    }
}

// Case A4: a large request and a large answer
#[test]
fn a_half_closed_client_gets_a_large_answer() {
    const MUCH: usize = 8 << 20;
    let backend = Backend::answering(|request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        [head.as_bytes(), &request.body].concat()
    });
    let gateway = gateway(&backend, &Authority::new());
    let body = vec![b'x'; MUCH];
    for request in [
        request("POST", "/a").basic(API).body(&body[..]),
        request("POST", "/a").basic(API).chunked(&body[..]),
    ] {
        let mut connection = Connection::open(gateway.api());
        connection.write(&request.bytes());
        connection.stream.shutdown(Shutdown::Write).unwrap();
        assert!(connection.read_response().body == body);
    }
}

// Case A4: requests in a row, then the end
#[test]
fn a_half_closed_client_gets_all_answers_of_a_pipeline() {
    let (slow, authority) = (slow(), Authority::new());
    let gateway = gateway(&slow.backend, &authority);
    for target in ["/sized", "/chunked"] {
        let all: Vec<u8> = requests(target).into_iter().take(4).flat_map(|(_, bytes)| bytes).collect();
        let mut connection = Connection::open(gateway.api());
        connection.write(&all);
        connection.stream.shutdown(Shutdown::Write).unwrap();
        for _ in 0..4 {
            assert_eq!(slow.backend.next().target, target);
            for _ in parts(target) {
                slow.go.send(()).unwrap();
            }
            assert_eq!(connection.read_response().text(), "hello", "{target}");
        }
        assert!(connection.is_closed(), "{target}");
    }
}

// Case A4: the end behind a request that was answered
#[test]
fn a_half_closed_client_without_a_request_is_closed() {
    let (slow, authority) = (slow(), Authority::new());
    let gateway = gateway(&slow.backend, &authority);
    let mut idle = Connection::open(gateway.api());
    idle.stream.shutdown(Shutdown::Write).unwrap();
    assert!(idle.is_closed());
    let mut kept = Connection::open(gateway.api());
    slow.go.send(()).unwrap();
    assert_eq!(kept.exchange(get("/sized").basic(API)).text(), "hello");
    kept.stream.shutdown(Shutdown::Write).unwrap();
    assert!(kept.is_closed());
}

// Case A4: the end within a request, which is incomplete then
#[test]
fn half_a_request_is_none() {
    let (slow, authority) = (slow(), Authority::new());
    let gateway = gateway(&slow.backend, &authority);
    for bytes in [
        "GET /sized HT".to_owned(),
        format!("GET /sized HTTP/1.1\r\nHost: a\r\n{BASIC_API}"),
        format!("POST /sized HTTP/1.1\r\nHost: a\r\n{BASIC_API}Content-Length: 5\r\n\r\nhell"),
        format!(
            "POST /sized HTTP/1.1\r\nHost: a\r\n{BASIC_API}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        ),
        format!(
            "POST /sized HTTP/1.1\r\nHost: a\r\n{BASIC_API}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
        ),
    ] {
        let mut connection = Connection::open(gateway.api());
        connection.write(bytes.as_bytes());
        connection.stream.shutdown(Shutdown::Write).unwrap();
        let answer = String::from_utf8(connection.read_to_end()).unwrap();
        assert_eq!(answer, "", "{bytes:?}");
    }
    wait_for_metric(&gateway, "gatepost_http_requests_total{entry=\"api\",status=\"499\"}", 5);
    let log = gateway.log().text();
    assert!(!log.contains("\"target\":\"refusal\""), "{log}");
    // The recorder gives only what was complete.
    slow.go.send(()).unwrap();
    assert_eq!(get("/sized").basic(API).header("X-Sentinel", "1").send(gateway.api()).status, 200);
    assert_eq!(slow.backend.next().header("x-sentinel"), Some("1"));
}

// Case A4: the end of a direction within TLS
#[test]
fn a_client_that_says_close_notify_gets_its_answer() {
    let (slow, authority) = (slow(), Authority::new());
    let gateway = gateway(&slow.backend, &authority);
    for target in TARGETS {
        for (what, bytes) in requests(target) {
            let address = gateway.address("api.tls_listen");
            let mut stream = tls::connect(address, "gate.test", authority.client(&["http/1.1"])).unwrap();
            stream.write_all(&bytes).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            stream.sock.shutdown(Shutdown::Write).unwrap();
            assert_eq!(slow.backend.next().target, target);
            let mut all = Vec::new();
            for _ in parts(target) {
                stream.sock.set_read_timeout(Some(A_WHILE)).unwrap();
                let mut piece = [0; 1024];
                let read = stream.read(&mut piece).unwrap_or(0);
                all.extend_from_slice(&piece[..read]);
                slow.go.send(()).unwrap();
            }
            stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.read_to_end(&mut all);
            assert_answer(&all, &format!("{target} with {what}"));
        }
    }
}

// Case A4: a client that is gone
#[test]
fn a_reset_client_is_noticed_and_the_backend_released() {
    let (slow, authority) = (slow(), Authority::new());
    let gateway = gateway(&slow.backend, &authority);
    for target in ["/sized", "/chunked"] {
        for (what, bytes) in requests(target) {
            for half_closed in [false, true] {
                let mut connection = Connection::open(gateway.api());
                connection.write(&bytes);
                if half_closed {
                    connection.stream.shutdown(Shutdown::Write).unwrap();
                }
                assert_eq!(slow.backend.next().target, target);
                if target == "/chunked" {
                    slow.go.send(()).unwrap();
                    assert!(connection.read_raw().is_some());
                }
                let socket = socket2::SockRef::from(&connection.stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                drop(connection);
                let noticed = slow.ends.recv_timeout(PATIENCE);
                assert!(noticed.is_ok(), "{target} with {what}, half-closed: {half_closed}");
            }
        }
    }
}

// Case A4: a client that is gone, by a failed write
/// An answer without an end, to a client that has closed its socket: the first write is answered with a reset.
#[test]
fn a_closed_client_is_noticed_at_a_write() {
    let (slow, authority) = (slow(), Authority::new());
    let gateway = gateway(&slow.backend, &authority);
    let mut connection = Connection::open(gateway.api());
    connection.write(&get("/chunked").basic(API).bytes());
    assert_eq!(slow.backend.next().target, "/chunked");
    slow.go.send(()).unwrap();
    assert!(connection.read_raw().is_some());
    drop(connection);
    slow.go.send(()).unwrap();
    slow.ends.recv_timeout(PATIENCE).expect("the backend is still held");
}
