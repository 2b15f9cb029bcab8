//! Tunnels of which one side has sent all and still reads: what the other side sends arrives whole.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::backend::{self, Backend};
use crate::common::http::{Connection, get};
use crate::common::tls::{self, Authority};
use crate::common::{Gateway, PATIENCE, configured};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// More than the buffers on the way take.
const MUCH: usize = 8 << 20;

/// A backend that gives each tunnel to the test.
fn switching() -> (Backend, Receiver<TcpStream>) {
    let (sender, tunnels) = channel();
    let backend = Backend::handling(move |stream, _| {
        if backend::read_header(stream).is_some() {
            stream.get_mut().write_all(SWITCHED).unwrap();
            let tunnel = stream.get_ref().try_clone().unwrap();
            tunnel.set_read_timeout(Some(PATIENCE)).unwrap();
            sender.send(tunnel).unwrap();
        }
    });
    (backend, tunnels)
}

fn config(upstream: &str, keys: &str) -> String {
    format!(
        "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n[api]\n\
         listen = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\nupstreams = [\"{upstream}\"]\n\
         upstream_ca = \"DIR/ca.pem\"\n{keys}\n[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n"
    )
}

fn start(authority: &Authority, upstream: &str, keys: &str) -> Gateway {
    let directory = configured(&config(upstream, keys));
    authority.issue("gate.test").write(directory.path());
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web").credential("joe:passw0rd", "api");
    gateway
}

fn upgrade() -> Vec<u8> {
    let request = get("/socket").header("Connection", "Upgrade").header("Upgrade", "websocket");
    request.basic("joe:passw0rd").bytes()
}

fn open(gateway: &Gateway) -> Connection {
    let mut connection = Connection::open(gateway.api());
    connection.write(&upgrade());
    assert_eq!(connection.read_response().status, 101);
    connection
}

fn pattern() -> Vec<u8> {
    (0..MUCH).map(|i| (i % 251) as u8).collect()
}

// Case C7: the client has sent all, the backend has not
#[test]
fn a_half_closed_client_gets_all_that_the_backend_sends() {
    let (authority, (backend, tunnels)) = (Authority::new(), switching());
    let gateway = start(&authority, &format!("http://{}", backend.address), "");
    let mut client = open(&gateway);
    let mut tunnel = tunnels.recv_timeout(PATIENCE).unwrap();
    client.write(b"last words");
    client.stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    tunnel.read_to_end(&mut heard).expect("the end of the client's direction arrives as one");
    assert_eq!(heard, b"last words");
    let answering = std::thread::spawn(move || tunnel.write_all(&pattern()).unwrap());
    assert!(client.read_to_end() == pattern(), "something was lost");
    answering.join().unwrap();
}

// Case C7: the backend has sent all, the client has not
#[test]
fn a_half_closed_backend_gets_all_that_the_client_sends() {
    let (authority, (backend, tunnels)) = (Authority::new(), switching());
    let gateway = start(&authority, &format!("http://{}", backend.address), "");
    let mut client = open(&gateway);
    let mut tunnel = tunnels.recv_timeout(PATIENCE).unwrap();
    tunnel.write_all(b"last words").unwrap();
    tunnel.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_to_end(), b"last words");
    let hearing = std::thread::spawn(move || {
        let mut heard = Vec::new();
        tunnel.read_to_end(&mut heard).unwrap();
        heard
    });
    client.stream.write_all(&pattern()).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(hearing.join().unwrap() == pattern(), "something was lost");
}

// Case C7: each way while the other one has ended, within TLS
#[test]
fn a_direction_that_ends_within_tls_ends_alone() {
    let authority = Authority::new();
    let config = authority.issue("127.0.0.1").server();
    let (backend, tunnels) = switching_within_tls(config);
    let gateway = start(&authority, &format!("https://{backend}"), "");
    for client_first in [true, false] {
        let address = gateway.address("api.tls_listen");
        let mut client = tls::connect(address, "gate.test", authority.client(&["http/1.1"])).unwrap();
        client.write_all(&upgrade()).unwrap();
        assert!(read_header(&mut client).unwrap().starts_with(b"HTTP/1.1 101 "));
        let mut tunnel = tunnels.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        if client_first {
            client.conn.send_close_notify();
            client.flush().unwrap();
            assert_eq!(tunnel.read(&mut [0; 16]).unwrap(), 0);
            tunnel.write_all(b"last words").unwrap();
            tunnel.conn.send_close_notify();
            tunnel.flush().unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).unwrap();
            assert_eq!(heard, b"last words");
        } else {
            tunnel.conn.send_close_notify();
            tunnel.flush().unwrap();
            assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
            client.write_all(b"last words").unwrap();
            client.conn.send_close_notify();
            client.flush().unwrap();
            let mut heard = Vec::new();
            tunnel.read_to_end(&mut heard).unwrap();
            assert_eq!(heard, b"last words");
        }
    }
}

/// The bytes up to the end of a header, and none behind it.
fn read_header(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

type Tunnel = StreamOwned<ServerConnection, TcpStream>;

fn switching_within_tls(config: Arc<ServerConfig>) -> (std::net::SocketAddr, Arc<Mutex<Receiver<Tunnel>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, tunnels): (Sender<Tunnel>, _) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (config, sender) = (config.clone(), sender.clone());
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                read_header(&mut stream)?;
                stream.write_all(SWITCHED)?;
                stream.flush()?;
                let _ = sender.send(stream);
                Ok(())
            });
        }
    });
    (address, Arc::new(Mutex::new(tunnels)))
}

// Case C7: the end of both directions, and of the credential
#[test]
fn a_half_closed_tunnel_ends_with_its_other_side_its_credential_or_its_time() {
    let (authority, (backend, tunnels)) = (Authority::new(), switching());
    let upstream = format!("http://{}", backend.address);
    let gateway = start(&authority, &upstream, "");
    for client_first in [true, false] {
        let mut client = open(&gateway);
        let mut tunnel = tunnels.recv_timeout(PATIENCE).unwrap();
        let (first, second) =
            if client_first { (&client.stream, &tunnel) } else { (&tunnel, &client.stream) };
        first.shutdown(Shutdown::Write).unwrap();
        second.shutdown(Shutdown::Write).unwrap();
        assert!(client.is_closed());
        assert_eq!(tunnel.read(&mut [0]).unwrap(), 0);
    }
    let mut client = open(&gateway);
    let mut tunnel = tunnels.recv_timeout(PATIENCE).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(tunnel.read(&mut [0]).unwrap(), 0);
    tunnel.write_all(b"x").unwrap();
    assert_eq!(client.read_raw().unwrap(), b"x");
    assert_eq!(gateway.manage("remove", "username=joe").0, 200);
    let answered = Instant::now();
    assert!(client.is_closed());
    assert!(answered.elapsed() < Duration::from_secs(1), "{:?}", answered.elapsed());

    let gateway = start(&authority, &upstream, "tunnel_idle_timeout = \"300ms\"");
    let mut client = open(&gateway);
    let tunnel = tunnels.recv_timeout(PATIENCE).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_closed());
    drop(tunnel);
}
