//! A mail client that says exactly what it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;

pub use super::driver::without_id;
use super::tls::Authority;
use super::{Gateway, PATIENCE, configured, http};

/// Two logins that may send, where a test adds them.
pub const JOE: &str = "joe:passw0rd-of-joe";
pub const ANN: &str = "ann:passw0rd-of-ann";

/// A message, but for the dot at its end.
pub const CONTENT: &str = "Subject: x\r\n\r\nbody\r\n";

/// An `[smtp]` section without TLS, for these backends; `keys` is what the test is about.
pub fn smtp(upstreams: &[SocketAddr], keys: &str) -> String {
    let upstreams: Vec<String> = upstreams.iter().map(|address| format!("smtp://{address}")).collect();
    section(&upstreams, keys)
}

/// The same for the URLs of backends.
pub fn section(upstreams: &[String], keys: &str) -> String {
    let upstreams: Vec<String> = upstreams.iter().map(|url| format!("\"{url}\"")).collect();
    let listen = if keys.contains("listen") { "" } else { "listen = [\"127.0.0.1:0\"]\n" };
    let tls = if keys.contains("require_tls") { "" } else { "require_tls = false\n" };
    format!(
        "[smtp]\nhostname = \"gatepost.test\"\n{listen}{tls}upstreams = [{}]\n{keys}\n",
        upstreams.join(", ")
    )
}

/// The name that gateways with TLS prove.
pub const NAME: &str = "gatepost.test";

/// A gateway with an `[smtp]` section that has TLS, and nothing against logins in clear, for the URLs of these backends; both
/// kinds of listeners and `[ops]`. `rest` are more sections; `DIR/ca.pem` is the authority's own certificate.
pub fn secured(authority: &Authority, upstreams: &[String], keys: &str, rest: &str) -> Gateway {
    Gateway::start_in(arranged(authority, upstreams, keys, rest))
}

/// The directory of such a gateway.
pub fn arranged(authority: &Authority, upstreams: &[String], keys: &str, rest: &str) -> tempfile::TempDir {
    let listen = "listen = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]";
    let tls = "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n";
    let smtp = section(upstreams, &format!("{listen}\n{keys}"));
    let directory = configured(&format!("{tls}[ops]\nlisten = \"127.0.0.1:0\"\n{rest}{smtp}"));
    authority.issue(NAME).write(directory.path());
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    directory
}

/// The value of a metric, named with its labels.
pub fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = http::get("/metrics").send(gateway.address("ops.listen")).text();
    value_in(&text, name).unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn value_in(metrics: &str, name: &str) -> Option<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Waits until the metric has that value; it may appear only with its first count.
pub fn wait_for_metric(gateway: &Gateway, name: &str, value: u64) {
    let began = Instant::now();
    loop {
        let text = http::get("/metrics").send(gateway.address("ops.listen")).text();
        let now = value_in(&text, name);
        if now == Some(value) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{name} is {now:?} and not {value}");
    }
}

enum Line {
    Clear(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

impl Read for Line {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Line::Clear(stream) => stream.read(buf),
            Line::Tls(stream) => stream.read(buf),
        }
    }
}

impl Line {
    fn stream(&self) -> &TcpStream {
        match self {
            Line::Clear(stream) => stream,
            Line::Tls(stream) => &stream.sock,
        }
    }

    fn write_some(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Line::Clear(stream) => stream.write(bytes),
            Line::Tls(stream) => stream.write(bytes),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Line::Clear(stream) => stream.write_all(bytes),
            Line::Tls(stream) => stream.write_all(bytes),
        }
    }
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    /// All lines, without their line ends, and without the ID of a refusal.
    pub lines: Vec<String>,
    /// The ID at the end of a greeting and of a refusal of Gatepost.
    pub id: Option<String>,
}

impl Answer {
    /// All lines, with the ID.
    pub fn raw_lines(&self) -> Vec<String> {
        let mut lines = self.lines.clone();
        if let (Some(last), Some(id)) = (lines.last_mut(), &self.id) {
            last.push_str(&format!(" (id {id})"));
        }
        lines
    }

    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// A connection.
pub struct Client {
    line: BufReader<Line>,
}

impl Client {
    /// Connects, without a word.
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).expect("there is somebody to connect to")
    }

    /// The same; none where nobody listens.
    pub fn try_connect(address: SocketAddr) -> Option<Client> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(Client { line: BufReader::new(Line::Clear(stream)) })
    }

    /// Connects, and is greeted.
    pub fn open(address: SocketAddr) -> Client {
        let mut client = Client::connect(address);
        assert_eq!(client.answer().code, 220);
        client
    }

    /// Connects, is greeted, and says EHLO.
    pub fn hello(address: SocketAddr) -> Client {
        let mut client = Client::open(address);
        assert_eq!(client.say("EHLO client.test").code, 250);
        client
    }

    /// The same, and logs in; `login` is `name:password`.
    pub fn login(address: SocketAddr, login: &str) -> Client {
        let mut client = Client::hello(address);
        assert_eq!(client.say(&plain(login)).code, 235);
        client
    }

    /// Begins TLS after STARTTLS was answered, or from the first byte on.
    pub fn encrypt(self, config: Arc<rustls::ClientConfig>, name: &str) -> Client {
        let Line::Clear(stream) = self.line.into_inner() else { panic!("TLS within TLS") };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = rustls::ClientConnection::new(config, name).unwrap();
        Client { line: BufReader::new(Line::Tls(Box::new(rustls::StreamOwned::new(connection, stream)))) }
    }

    /// Sends these bytes again and again, and listens for so long in between, until there is something to hear.
    pub fn drip(&mut self, bytes: &[u8], pace: Duration) {
        let began = Instant::now();
        self.try_send(bytes);
        while self.hears_nothing_for(pace) {
            assert!(began.elapsed() < PATIENCE, "nobody minds");
            self.try_send(bytes);
        }
    }

    /// Listens for so long; whether there was nothing to hear, not even an end.
    pub fn hears_nothing_for(&mut self, time: Duration) -> bool {
        self.line.get_ref().stream().set_read_timeout(Some(time)).unwrap();
        let heard = self.line.fill_buf().map(<[u8]>::len);
        self.line.get_ref().stream().set_read_timeout(Some(PATIENCE)).unwrap();
        heard.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Brings TLS to the point where it can be used; what is sent or read first does that as well.
    pub fn handshake(&mut self) {
        if let Line::Tls(stream) = self.line.get_mut() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
    }

    /// The certificate that the gateway presented.
    pub fn certificate(&self) -> Vec<u8> {
        let Line::Tls(stream) = self.line.get_ref() else { panic!("it has no TLS") };
        stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Begins TLS by STARTTLS, and says EHLO again.
    pub fn start_tls(mut self, config: Arc<rustls::ClientConfig>) -> Client {
        assert_eq!(self.say("STARTTLS").code, 220);
        let mut client = self.encrypt(config, NAME);
        assert_eq!(client.say("EHLO client.test").code, 250);
        client
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.line.get_mut().write(bytes).unwrap();
    }

    /// Sends what may not arrive any more.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.line.get_mut().write(bytes);
    }

    /// Sends as much of these bytes as is taken within that time.
    pub fn send_within(&mut self, bytes: &[u8], time: Duration) -> std::io::Result<usize> {
        let line = self.line.get_mut();
        // TLS reads where it can't write.
        line.stream().set_read_timeout(Some(time))?;
        line.stream().set_write_timeout(Some(time))?;
        let sent = line.write_some(bytes);
        line.stream().set_read_timeout(Some(PATIENCE))?;
        line.stream().set_write_timeout(None)?;
        sent
    }

    /// Says a line; the answer.
    pub fn say(&mut self, line: &str) -> Answer {
        self.send(format!("{line}\r\n").as_bytes());
        self.answer()
    }

    /// Says a line; the answer, or none where the connection is gone.
    pub fn try_say(&mut self, line: &str) -> Option<Answer> {
        self.try_send(format!("{line}\r\n").as_bytes());
        self.try_answer()
    }

    /// The next answer.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("there is an answer")
    }

    /// The next answer, or none where the connection was closed.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            match self.line.read_until(b'\n', &mut line) {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer in time"),
                _ => return None,
            }
            if !line.ends_with(b"\n") {
                // Cut off in the middle.
                return None;
            }
            let line = String::from_utf8(line).unwrap();
            let line = line.strip_suffix("\r\n").expect("lines end in CR LF").to_owned();
            let last = line.as_bytes().get(3) != Some(&b'-');
            let code = line[..3].parse().unwrap();
            if last {
                let (text, id) = without_id(&line);
                lines.push(text.to_owned());
                return Some(Answer { code, lines, id: id.map(str::to_owned) });
            }
            lines.push(line);
        }
    }

    /// Returns true if the other side closes without sending anything more.
    pub fn is_closed(&mut self) -> bool {
        self.try_answer().is_none()
    }

    /// Closes the client's side of a connection without TLS.
    pub fn close_write(&mut self) {
        let Line::Clear(stream) = self.line.get_ref() else { panic!("it has TLS") };
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// The bare connection, where it has no TLS.
    pub fn into_stream(self) -> TcpStream {
        let Line::Clear(stream) = self.line.into_inner() else { panic!("it has TLS") };
        stream
    }

    /// Begins a transaction; what comes next is a recipient more, or DATA.
    pub fn begin(&mut self) {
        assert_eq!(self.say("MAIL FROM:<a@test>").code, 250);
        assert_eq!(self.say("RCPT TO:<b@test>").code, 250);
    }

    /// Sends a message by DATA; the answer to it. The content has its line ends, and not the one with the dot.
    pub fn submit(&mut self, from: &str, to: &str, content: &str) -> Answer {
        for line in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>")] {
            let answer = self.say(&line);
            if answer.code != 250 {
                return answer;
            }
        }
        let answer = self.say("DATA");
        if answer.code != 354 {
            return answer;
        }
        self.send(format!("{content}.\r\n").as_bytes());
        self.answer()
    }
}

/// AUTH PLAIN with everything in one line.
pub fn plain(login: &str) -> String {
    let (name, password) = login.split_once(':').unwrap();
    format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{name}\0{password}")))
}
