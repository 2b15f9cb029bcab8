//! The end of trust at the edges of a gateway: requests, tunnels, mail sessions, and the operators' listener.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::assembly::Assembly;
use crate::config::Config;
use crate::domain::Permissions;
use crate::edge::smtp::backend::tests::sink::Sink;
use crate::service::Accounts;
use crate::service::audit::Origin;
use crate::state::{Epochs, clock};

/// The base64 of `holder:passw0rd-of-holder`, and of the same for SMTP.
const BASIC: &str = "aG9sZGVyOnBhc3N3MHJkLW9mLWhvbGRlcg==";
const PLAIN: &str = "AGhvbGRlcgBwYXNzdzByZC1vZi1ob2xkZXI=";
const LATER: &str = "454 4.7.0 Temporary authentication failure";
/// The longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// A tunnel is cut within a second. The rest is for a busy machine.
const CUT: Duration = Duration::from_secs(5);

/// A gateway whose trust the test controls.
struct Node {
    epochs: Arc<Epochs>,
    api: SocketAddr,
    smtp: SocketAddr,
    ops: SocketAddr,
    sink: Sink,
    _assembly: Assembly,
    _runtime: Runtime,
    _directory: TempDir,
}

impl Node {
    fn start() -> Node {
        let directory = tempfile::tempdir().unwrap();
        let (sink, backend) = (Sink::good(), echo());
        let config = format!(
            "[store]\nurl = 'sqlite://{}/gatepost.db'\n[auth]\nbcrypt_cost = 4\n[server]\nthreads = 1\n\
             [api]\nlisten = ['127.0.0.1:0']\nupstreams = ['http://{backend}']\n\
             [ops]\nlisten = '127.0.0.1:0'\n\
             [smtp]\nlisten = ['127.0.0.1:0']\nrequire_tls = false\nupstreams = ['smtp://{}']\n",
            directory.path().display(),
            sink.address
        );
        let config = Config::parse(&config, "test.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let epochs = Arc::new(Epochs::without_trust());
        let runtime = Runtime::new().unwrap();
        let assembly = runtime.block_on(async {
            let mut assembly = Assembly::build_with(config, Arc::clone(&epochs)).await.unwrap();
            assembly.begin();
            let watched = Arc::clone(&epochs);
            tokio::spawn(async move { watched.watch_trust().await });
            let accounts = Accounts::new(assembly.mutations.clone(), Origin::CommandLine);
            accounts.add("holder", b"passw0rd-of-holder", Permissions::ALL).await.unwrap();
            assembly
        });
        let address = |wanted: &str| {
            let found = assembly.addresses.iter().find(|(key, _)| *key == wanted);
            found.unwrap_or_else(|| panic!("no {wanted}")).1
        };
        let (api, smtp, ops) = (address("api.listen"), address("smtp.listen"), address("ops.listen"));
        let node = Node {
            epochs,
            api,
            smtp,
            ops,
            sink,
            _assembly: assembly,
            _runtime: runtime,
            _directory: directory,
        };
        node.regain_trust();
        node
    }

    fn lose_trust(&self) {
        self.epochs.trust().end();
    }

    fn regain_trust(&self) {
        self.epochs.trust().extend(clock::now() + Duration::from_secs(600));
    }

    fn get(&self) -> String {
        exchange(
            self.api,
            &format!(
                "GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {BASIC}\r\nConnection: close\r\n\r\n"
            ),
        )
    }

    fn ready(&self) -> String {
        exchange(self.ops, "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    }

    /// A tunnel that is open and echoes.
    fn tunnel(&self) -> BufReader<TcpStream> {
        let mut stream = connect(self.api);
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {BASIC}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
        assert_eq!(echoed(&mut stream, b"ping\n"), "ping\n");
        stream
    }

    /// A mail session that has logged in.
    fn mail(&self) -> BufReader<TcpStream> {
        let mut session = connect(self.smtp);
        assert_eq!(&reply(&mut session)[..3], "220");
        assert_eq!(&say(&mut session, "EHLO client.test")[..3], "250");
        assert_eq!(&say(&mut session, &format!("AUTH PLAIN {PLAIN}"))[..3], "235");
        session
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn echoed(stream: &mut BufReader<TcpStream>, line: &[u8]) -> String {
    stream.get_mut().write_all(line).unwrap();
    let mut echoed = String::new();
    stream.read_line(&mut echoed).unwrap();
    echoed
}

fn say(session: &mut BufReader<TcpStream>, line: &str) -> String {
    session.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    reply(session)
}

fn assert_later(reply: &str) {
    assert!(reply.starts_with(LATER), "{reply}");
}

/// The last line of a reply; empty once the session is closed.
fn reply(session: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        session.read_line(&mut line).unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line.trim_end().to_owned();
        }
    }
}

/// A backend that answers with 200, and echoes in a tunnel.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(BufReader::new(stream)));
        }
    });
    address
}

fn answer(mut stream: BufReader<TcpStream>) -> Option<()> {
    loop {
        let (mut line, mut upgrades) = (String::new(), false);
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            upgrades |= line.to_ascii_lowercase().starts_with("upgrade:");
        }
        if !upgrades {
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        }
        let switched =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.get_mut().write_all(switched).ok()?;
        let mut piece = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            stream.get_mut().write_all(&piece[..read]).ok()?;
        }
        return None;
    }
}

#[test]
fn requests_and_readiness_end_and_return_with_trust() {
    let node = Node::start();
    assert!(node.get().starts_with("HTTP/1.1 200"), "{}", node.get());
    assert!(node.ready().starts_with("HTTP/1.1 200"), "{}", node.ready());
    for _ in 0..2 {
        node.lose_trust();
        let refused = node.get();
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(refused.to_ascii_lowercase().contains("\r\nretry-after: 1\r\n"), "{refused}");
        let ready = node.ready();
        assert!(
            ready.starts_with("HTTP/1.1 503") && ready.ends_with("cut off from the database\n"),
            "{ready}"
        );
        node.regain_trust();
        assert!(node.get().starts_with("HTTP/1.1 200"), "{}", node.get());
        assert!(node.ready().starts_with("HTTP/1.1 200"), "{}", node.ready());
    }
}

#[test]
fn a_tunnel_stops_at_once_and_is_cut() {
    let node = Node::start();
    let (mut idle, mut busy) = (node.tunnel(), node.tunnel());
    node.lose_trust();
    let ended = Instant::now();
    assert_eq!(echoed(&mut busy, b"late\n"), "", "cut without another byte");
    let mut nothing = String::new();
    assert_eq!(idle.read_line(&mut nothing).unwrap(), 0);
    assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
}

#[test]
fn a_tunnel_continues_if_trust_returns_in_time() {
    let node = Node::start();
    let mut tunnel = node.tunnel();
    for _ in 0..3 {
        node.lose_trust();
        tunnel.get_mut().write_all(b"while cut off\n").unwrap();
        node.regain_trust();
        let mut line = String::new();
        tunnel.read_line(&mut line).unwrap();
        assert_eq!(line, "while cut off\n");
    }
}

#[test]
fn a_mail_session_gets_454_and_then_421() {
    let node = Node::start();
    let (mut within, mut outside, mut sending) = (node.mail(), node.mail(), node.mail());
    assert_eq!(&say(&mut within, "MAIL FROM:<a@example.com>")[..3], "250");
    for line in ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"] {
        assert_eq!(&say(&mut sending, line)[..3], "250");
    }
    assert_eq!(&say(&mut sending, "DATA")[..3], "354");
    node.lose_trust();

    assert_later(&say(&mut within, "RCPT TO:<b@example.net>"));
    assert_eq!(&say(&mut within, "RCPT TO:<b@example.net>")[..9], "421 4.7.0");
    assert_eq!(reply(&mut within), "", "closed");
    assert_later(&say(&mut outside, "MAIL FROM:<a@example.com>"));
    let mut new = connect(node.smtp);
    assert_eq!(&reply(&mut new)[..3], "220");
    assert_eq!(&say(&mut new, "EHLO client.test")[..3], "250");
    assert_later(&say(&mut new, &format!("AUTH PLAIN {PLAIN}")));
    // What was decided before is finished, and the reply is the backend's.
    assert_eq!(&say(&mut sending, "Subject: hi\r\n\r\nhello\r\n.")[..3], "250");
    assert_eq!(node.sink.messages().len(), 1);
    assert_later(&say(&mut sending, "MAIL FROM:<a@example.com>"));

    node.regain_trust();
    for session in [&mut outside, &mut sending] {
        assert_eq!(&say(session, "MAIL FROM:<a@example.com>")[..3], "250");
        assert_eq!(&say(session, "RCPT TO:<b@example.net>")[..3], "250");
    }
    assert_eq!(&say(&mut new, &format!("AUTH PLAIN {PLAIN}"))[..3], "235");
    // Not the second one in a row.
    node.lose_trust();
    assert_later(&say(&mut outside, "DATA"));
    assert_eq!(node.sink.messages().len(), 1);
}
