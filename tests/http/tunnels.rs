//! Tunnels, such as WebSockets: bytes pass both ways, and one is cut within a second after its credential lost its right.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_header};
use crate::common::http::{Connection, get, request};
use crate::common::mail::{metric, wait_for_metric};
use crate::common::tls::{Authority, connect};
use crate::common::{Gateway, HOLDER, configured, open_api};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The longest time that a tunnel may stay open after the change was answered.
const A_SECOND: Duration = Duration::from_secs(1);

const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nwelcome";

/// Switches protocols and then sends back what it gets; tells when the connection ended.
fn echo() -> (Backend, std::sync::mpsc::Receiver<()>) {
    let (ended, ends) = std::sync::mpsc::channel();
    let backend = Backend::handling(move |stream, received| {
        let Some(request) = read_header(stream) else { return };
        if request.header("upgrade").is_none() {
            let _ = stream.get_mut().write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        let _ = received.send(request);
        let _ = stream.get_mut().write_all(SWITCHED);
        let mut piece = vec![0; 1 << 16];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            if stream.get_mut().write_all(&piece[..read]).is_err() {
                break;
            }
        }
        let _ = ended.send(());
    });
    (backend, ends)
}

fn upgrade(target: &str, login: Option<&str>) -> Vec<u8> {
    let request = get(target)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    login
        .map_or(request, |login| {
            get(target).header("Connection", "Upgrade").header("Upgrade", "websocket").basic(login)
        })
        .bytes()
}

/// Opens a tunnel and sees that it works.
fn open(gateway: &Gateway, target: &str, login: Option<&str>) -> Connection {
    open_at(gateway.api(), target, login)
}

fn open_at(address: SocketAddr, target: &str, login: Option<&str>) -> Connection {
    let mut connection = Connection::open(address);
    connection.write(&upgrade(target, login));
    assert_eq!(connection.read_response().status, 101);
    read_exactly(&mut connection, b"welcome");
    is_open(&mut connection);
    connection
}

fn read_exactly(connection: &mut Connection, expected: &[u8]) {
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.extend(connection.read_raw().expect("the tunnel ended"));
    }
    assert!(got == expected);
}

fn is_open(connection: &mut Connection) {
    connection.write(b"ping");
    read_exactly(connection, b"ping");
}

fn start(keys: &str) -> (Gateway, Backend, std::sync::mpsc::Receiver<()>) {
    let (backend, ends) = echo();
    let gateway =
        Gateway::start(&format!("{}[ops]\nlisten = \"127.0.0.1:0\"\n", open_api(backend.address, keys)));
    gateway.account("email,api,web");
    (gateway, backend, ends)
}

#[test]
fn bytes_pass_both_ways_and_the_credential_stays_here() {
    let (gateway, backend, ends) = start("");
    gateway.credential("joe:passw0rd", "api");
    let mut tunnel = open(&gateway, "/socket", Some("joe:passw0rd"));
    let received = backend.next();
    assert_eq!(received.header("upgrade"), Some("websocket"));
    assert_eq!(received.header("authorization"), None);
    assert_eq!(received.header("x-gatepost-user"), Some("joe"));
    let megabytes: Vec<u8> = (0..4_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut writing = tunnel.stream.try_clone().unwrap();
    let sent = megabytes.clone();
    let writer = std::thread::spawn(move || writing.write_all(&sent).unwrap());
    read_exactly(&mut tunnel, &megabytes);
    writer.join().unwrap();
    // An end on one side is an end on the other.
    drop(tunnel);
    ends.recv_timeout(crate::common::PATIENCE).unwrap();
}

/// A side that reads nothing while it writes is heard all the same, or two such sides would wait for each other for ever.
#[test]
fn what_one_side_writes_does_not_wait_for_what_it_does_not_read() {
    const MUCH: usize = 16 << 20;
    let (heard, hears) = std::sync::mpsc::channel();
    let backend = Backend::handling(move |stream, _| {
        if read_header(stream).is_none() {
            return;
        }
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let _ = stream.get_mut().write_all(answer);
        let mut writing = stream.get_mut().try_clone().unwrap();
        let writer = std::thread::spawn(move || writing.write_all(&vec![b'b'; MUCH]));
        let mut piece = vec![0; MUCH];
        let whole = stream.read_exact(&mut piece).is_ok() && piece.iter().all(|byte| *byte == b'c');
        let _ = heard.send(whole);
        let _ = writer.join();
    });
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut connection = Connection::open(gateway.api());
    connection.write(&upgrade("/open/socket", None));
    assert_eq!(connection.read_response().status, 101);
    // More than the buffers on the way take stands there for this side by now, or soon; it reads nothing.
    connection.stream.write_all(&vec![b'c'; MUCH]).unwrap();
    assert_eq!(hears.recv_timeout(crate::common::PATIENCE), Ok(true));
    read_exactly(&mut connection, &vec![b'b'; MUCH]);
}

/// Only a WebSocket is switched to; whatever else a request says of protocols is none of the backend's business.
#[test]
fn other_protocols_are_not_spoken_of() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let ask = |method: &str, options: &str, protocols: &[&str]| {
        let asked = request(method, "/open/a").header("Connection", options);
        let asked = protocols.iter().fold(asked, |asked, protocol| asked.header("Upgrade", protocol));
        assert_eq!(asked.send(gateway.api()).status, 200);
        backend.next().header("upgrade").map(str::to_owned)
    };
    assert_eq!(ask("GET", "keep-alive, Upgrade", &["WebSocket"]).as_deref(), Some("WebSocket"));
    for protocols in
        [&["h2c"][..], &["h2c, websocket"], &["websocket", "h2c"], &["TLS/1.0"], &["websocket/13"]]
    {
        assert_eq!(ask("GET", "upgrade, http2-settings", protocols), None, "{protocols:?}");
    }
    assert_eq!(ask("GET", "keep-alive", &["websocket"]), None);
    assert_eq!(ask("POST", "Upgrade", &["websocket"]), None);
}

#[test]
fn who_may_not_gets_no_tunnel() {
    let (gateway, backend, _ends) = start("");
    gateway.credential("joe:passw0rd", "web");
    for (login, status) in [(None, 401), (Some("joe:wrong-passw0rd"), 401), (Some("joe:passw0rd"), 403)] {
        let mut connection = Connection::open(gateway.api());
        connection.write(&upgrade("/socket", login));
        assert_eq!(connection.read_response().status, status);
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn a_backend_that_does_not_switch_answers_as_ever() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut connection = Connection::open(gateway.api());
    connection.write(&upgrade("/open/socket", None));
    let response = connection.read_response();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(connection.exchange(get("/open/a")).status, 200);
}

/// A change of `joe`, and the interface that made it.
type Change = fn(&Gateway);

fn by_command(gateway: &Gateway, arguments: &[&str], input: &str) {
    let output = gateway.command(arguments, input);
    assert!(output.status.success(), "{output:?}");
}

fn by_api(gateway: &Gateway, action: &str, parameters: &str) {
    let (status, text) = gateway.manage(action, parameters);
    assert_eq!(status, 200, "{text}");
}

const CHANGES: [(&str, Change); 7] = [
    ("removed by API", |g| by_api(g, "remove", "username=joe")),
    ("bit cleared by API", |g| by_api(g, "edit", "username=joe&permissions[api]=0")),
    ("password changed by API", |g| by_api(g, "edit", "username=joe&password=an0ther-one")),
    ("removed by command", |g| by_command(g, &["credential", "remove", "joe", "--account", "acme"], "")),
    ("password changed by command", |g| {
        by_command(g, &["credential", "edit", "joe", "--account", "acme", "--password-stdin"], "an0ther-one");
    }),
    ("account suspended", |g| by_command(g, &["account", "suspend", "acme"], "")),
    ("rights cut", |g| by_command(g, &["account", "rights", "acme", "email,web"], "")),
];

#[test]
fn a_tunnel_is_cut_within_a_second_and_the_others_stay() {
    std::thread::scope(|scope| {
        for (name, change) in CHANGES {
            scope.spawn(move || cut_by(name, change));
        }
    });
}

fn cut_by(name: &str, change: Change) {
    let (gateway, _backend, ends) = start("");
    for login in ["joe:passw0rd", "ann:passw0rd"] {
        gateway.credential(login, "email,api,web");
    }
    let other_account =
        gateway.command(&["account", "add", "other", "--rights", "api", "--password-stdin"], "0ther-tunnel7");
    assert!(other_account.status.success());
    let mut joe = open(&gateway, "/socket", Some("joe:passw0rd"));
    let mut ann = open(&gateway, "/socket", Some("ann:passw0rd"));
    let mut other = open(&gateway, "/socket", Some("other:0ther-tunnel7"));
    let mut public = open(&gateway, "/open/socket", None);
    change(&gateway);
    let answered = Instant::now();
    assert!(joe.is_closed(), "{name}");
    assert!(answered.elapsed() < A_SECOND, "{name}: {:?}", answered.elapsed());
    ends.recv_timeout(crate::common::PATIENCE).expect("the backend's side is still open");
    is_open(&mut other);
    is_open(&mut public);
    if name.contains("account") || name.contains("rights") {
        assert!(ann.is_closed(), "{name}");
    } else {
        is_open(&mut ann);
    }
    let cut = if name.contains("account") || name.contains("rights") { 2 } else { 1 };
    wait_for_metric(&gateway, "gatepost_sessions_cut_total{entry=\"api\"}", cut);
}

#[test]
fn a_tunnel_through_the_dashboards_entry_is_cut_as_well() {
    let (backend, ends) = echo();
    let gateway = Gateway::start(&format!(
        "[web]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://{}\"]\n[ops]\nlisten = \"127.0.0.1:0\"\n",
        backend.address
    ));
    gateway.account("email,api,web").credential("joe:passw0rd", "web").credential("ann:passw0rd", "web");
    let cut = "gatepost_sessions_cut_total{entry=\"web\"}";
    assert_eq!(metric(&gateway, cut), 0);
    let web = gateway.address("web.listen");
    let [mut joe, mut ann] =
        ["joe:passw0rd", "ann:passw0rd"].map(|login| open_at(web, "/socket", Some(login)));
    by_command(&gateway, &["credential", "edit", "joe", "--account", "acme", "--revoke", "web"], "");
    let answered = Instant::now();
    assert!(joe.is_closed());
    assert!(answered.elapsed() < A_SECOND, "{:?}", answered.elapsed());
    ends.recv_timeout(crate::common::PATIENCE).expect("the backend's side is still open");
    is_open(&mut ann);
    wait_for_metric(&gateway, cut, 1);
}

/// `wss` to the gateway, and TLS to its backend.
#[test]
fn a_tunnel_within_tls_is_carried_and_cut_as_well() {
    let authority = Authority::new();
    let backend = echo_within_tls(authority.issue("127.0.0.1").server());
    let config = format!(
        "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n\
         [api]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n\
         upstreams = [\"https://{backend}\"]\nupstream_ca = \"DIR/ca.pem\"\n[ops]\nlisten = \"127.0.0.1:0\"\n"
    );
    let directory = configured(&config);
    authority.issue("gate.test").write(directory.path());
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web").credential("joe:passw0rd", "api").credential("ann:passw0rd", "api");

    let mut in_clear = open(&gateway, "/socket", Some("ann:passw0rd"));
    let client = authority.client(&["http/1.1"]);
    let mut stream = connect(gateway.address("api.tls_listen"), "gate.test", client).unwrap();
    stream.write_all(&upgrade("/socket", Some("joe:passw0rd"))).unwrap();
    let mut told = Vec::new();
    while !told.ends_with(b"welcome") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        told.push(byte[0]);
    }
    assert!(told.starts_with(b"HTTP/1.1 101 "), "{}", told.escape_ascii());
    let megabyte: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    for piece in megabyte.chunks(50_000) {
        stream.write_all(piece).unwrap();
        let mut back = vec![0; piece.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == piece);
    }
    by_api(&gateway, "remove", "username=joe");
    let answered = Instant::now();
    // With or without TLS's own goodbye.
    assert!(!matches!(stream.read(&mut [0]), Ok(1..)), "it is still open");
    assert!(answered.elapsed() < A_SECOND, "{:?}", answered.elapsed());
    is_open(&mut in_clear);
    wait_for_metric(&gateway, "gatepost_sessions_cut_total{entry=\"api\"}", 1);
}

/// Behind TLS, what [`echo`] does.
fn echo_within_tls(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = config.clone();
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte)?;
                    head.push(byte[0]);
                }
                stream.write_all(SWITCHED)?;
                let mut piece = vec![0; 1 << 16];
                while let Ok(read @ 1..) = stream.read(&mut piece) {
                    stream.write_all(&piece[..read])?;
                    stream.flush()?;
                }
                Ok(())
            });
        }
    });
    address
}

#[test]
fn a_change_that_takes_nothing_away_leaves_the_tunnel() {
    let (gateway, _backend, _ends) = start("");
    gateway.credential("joe:passw0rd", "email,api,web");
    let mut tunnel = open(&gateway, "/socket", Some("joe:passw0rd"));
    let mut holder = open(&gateway, "/socket", Some(HOLDER));
    by_api(&gateway, "edit", "username=joe&permissions[web]=0");
    by_api(&gateway, "add", "username=ann&password=passw0rd");
    // Whatever would be cut is cut by the time that this one is.
    let mut ann = open(&gateway, "/socket", Some("ann:passw0rd"));
    by_api(&gateway, "remove", "username=ann");
    assert!(ann.is_closed());
    is_open(&mut tunnel);
    is_open(&mut holder);
}

#[test]
fn a_tunnel_in_which_nothing_passes_is_closed() {
    let (gateway, _backend, ends) = start("tunnel_idle_timeout = \"300ms\"");
    let mut tunnel = open(&gateway, "/open/socket", None);
    let last = Instant::now();
    assert!(tunnel.is_closed());
    assert!(last.elapsed() >= Duration::from_millis(250));
    ends.recv_timeout(crate::common::PATIENCE).unwrap();
}
