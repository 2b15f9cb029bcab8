//! A mail client that says exactly what it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;

use super::PATIENCE;

/// An `[smtp]` section without TLS, for these backends; `keys` is what the test is about.
pub fn smtp(upstreams: &[SocketAddr], keys: &str) -> String {
    let upstreams: Vec<String> = upstreams.iter().map(|address| format!("\"smtp://{address}\"")).collect();
    let listen = if keys.contains("listen") { "" } else { "listen = [\"127.0.0.1:0\"]\n" };
    let tls = if keys.contains("require_tls") { "" } else { "require_tls = false\n" };
    format!(
        "[smtp]\nhostname = \"gatepost.test\"\n{listen}{tls}upstreams = [{}]\n{keys}\n",
        upstreams.join(", ")
    )
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
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Line::Clear(stream) => stream.write_all(bytes),
            Line::Tls(stream) => stream.write_all(bytes),
        }
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    /// All lines, without their line ends.
    pub lines: Vec<String>,
}

impl Answer {
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
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { line: BufReader::new(Line::Clear(stream)) }
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

    pub fn send(&mut self, bytes: &[u8]) {
        self.line.get_mut().write(bytes).unwrap();
    }

    /// Sends what may not arrive any more.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.line.get_mut().write(bytes);
    }

    /// Says a line; the answer.
    pub fn say(&mut self, line: &str) -> Answer {
        self.send(format!("{line}\r\n").as_bytes());
        self.answer()
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
            let line = String::from_utf8(line).unwrap();
            let line = line.strip_suffix("\r\n").expect("lines end in CR LF").to_owned();
            let last = line.as_bytes().get(3) != Some(&b'-');
            let code = line[..3].parse().unwrap();
            lines.push(line);
            if last {
                return Some(Answer { code, lines });
            }
        }
    }

    /// Whether the other end closes, with nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        self.try_answer().is_none()
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
