//! A client that sends exactly what it is told to, and reads one answer at a time.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::PATIENCE;

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The last `Set-Cookie`, which sets a session's cookie. Before it, one removes a partitioned cookie.
    pub fn set_cookie(&self) -> Option<&str> {
        self.headers.iter().rfind(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

pub struct Request {
    method: String,
    target: String,
    host: String,
    headers: String,
    body: Vec<u8>,
    chunked: bool,
}

/// A request of this method for this target.
pub fn request(method: &str, target: &str) -> Request {
    Request {
        method: method.into(),
        target: target.into(),
        host: "gate.test".into(),
        headers: String::new(),
        body: vec![],
        chunked: false,
    }
}

pub fn get(target: &str) -> Request {
    request("GET", target)
}

impl Request {
    /// The same for another host than `gate.test`.
    pub fn for_host(mut self, host: &str) -> Request {
        self.host = host.into();
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    pub fn basic(self, login: &str) -> Request {
        self.header("Authorization", &format!("Basic {}", STANDARD.encode(login)))
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    pub fn chunked(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.chunked = true;
        self.body(body)
    }

    /// The request as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n{}", self.method, self.target, self.host, self.headers)
                .into_bytes();
        if self.chunked {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in self.body.chunks(50_000) {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            if !self.body.is_empty() || self.method == "POST" {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    /// Sends it to the host of that address, by which a gateway on loopback takes logins without TLS.
    pub fn send_to_host(self, address: SocketAddr) -> Response {
        let mut connection = Connection::open(address);
        let bytes = String::from_utf8(self.bytes()).unwrap();
        connection.write(bytes.replacen("Host: gate.test", &format!("Host: {address}"), 1).as_bytes());
        connection.read_response()
    }

    /// Sends it over a new connection and reads the answer.
    pub fn send(self, address: SocketAddr) -> Response {
        let mut connection = Connection::open(address);
        connection.write(&self.bytes());
        connection.read_response()
    }
}

/// A connection that stays open.
pub struct Connection {
    pub stream: TcpStream,
    /// The number of times that [`Connection::exchange`] opened it again, after an answer that announced its end.
    pub reopened: usize,
    buffer: Vec<u8>,
    closing: bool,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        Connection::over(TcpStream::connect(address).unwrap())
    }

    /// A connection from another of the machine's addresses.
    pub fn open_from(source: IpAddr, address: SocketAddr) -> Connection {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Connection::over(socket.into())
    }

    fn over(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, reopened: 0, buffer: Vec::new(), closing: false }
    }

    /// Writes; an answer may come, and the connection end, before all of it is taken.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Writes until nothing is taken for a while.
    pub fn write_until_stuck(&mut self) {
        self.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let piece = vec![b'x'; 1 << 16];
        let stuck = (0..10_000).any(|_| self.stream.write(&piece).is_err());
        assert!(stuck, "somebody takes all of it");
        self.stream.set_write_timeout(None).unwrap();
    }

    /// Sends a request and reads its answer; over a new connection where the last answer ended this one.
    pub fn exchange(&mut self, request: Request) -> Response {
        self.reopen_if_closing();
        self.write(&request.bytes());
        self.try_response().unwrap_or_else(|| {
            let head = &request.bytes()[..request.bytes().len().min(300)];
            panic!("the connection ended before an answer to {}", head.escape_ascii())
        })
    }

    /// Begins a new connection where the last answer ended this one.
    pub fn reopen_if_closing(&mut self) {
        if self.closing {
            let reopened = self.reopened + 1;
            *self = Connection { reopened, ..Connection::open(self.stream.peer_addr().unwrap()) };
        }
    }

    /// Reads one answer; panics where there is none.
    pub fn read_response(&mut self) -> Response {
        self.try_response().expect("the connection ended before an answer")
    }

    /// Reads one answer; `None` where the connection ends before it is complete.
    pub fn try_response(&mut self) -> Option<Response> {
        loop {
            let end = loop {
                if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                    break at + 4;
                }
                if self.fill().is_none() {
                    self.closing = true;
                    return None;
                }
            };
            let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
            let mut lines = head.lines();
            let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let mut response = Response { status, headers, body: Vec::new() };
            if (100..200).contains(&status) {
                if status == 101 || status == 100 {
                    return Some(response);
                }
                continue;
            }
            self.closing = response.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
            response.body = self.read_body(&response)?;
            return Some(response);
        }
    }

    fn read_body(&mut self, response: &Response) -> Option<Vec<u8>> {
        if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                self.fill()?;
            }
            return Some(self.buffer.drain(..length).collect());
        }
        let mut body = Vec::new();
        if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let end = loop {
                    match find(&self.buffer, b"\r\n") {
                        Some(end) => break end,
                        None => self.fill()?,
                    }
                };
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
                while self.buffer.len() < size + 2 {
                    self.fill()?;
                }
                body.extend(self.buffer.drain(..size));
                self.buffer.drain(..2);
                if size == 0 {
                    return Some(body);
                }
            }
        }
        Some(body)
    }

    /// Bytes that come as they are, at least one; `None` at the end.
    pub fn read_raw(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// Returns true if the other side has closed. Waits until it does or sends something.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.fill().is_none()
    }

    /// Everything up to the end of the connection, as it comes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = self.read_raw() {
            all.extend_from_slice(&piece);
        }
        all
    }

    /// The next event within that time: bytes, the end (`None` inside), or nothing.
    pub fn read_within(&mut self, time: Duration) -> Option<Option<Vec<u8>>> {
        let mut piece = vec![0; 16 * 1024];
        self.stream.set_read_timeout(Some(time)).unwrap();
        let read = self.stream.read(&mut piece);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(0) => Some(None),
            Ok(n) => Some(Some(piece[..n].to_vec())),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                None
            }
            Err(_) => Some(None),
        }
    }

    /// Sends a byte of `bytes` now and then until an answer comes; its status, and how many bytes were sent.
    pub fn drip(&mut self, bytes: &[u8]) -> (u16, usize) {
        for (sent, byte) in bytes.iter().enumerate() {
            self.write(&[*byte]);
            match self.read_within(Duration::from_millis(20)) {
                None => {}
                Some(Some(piece)) => {
                    self.buffer.extend_from_slice(&piece);
                    return (self.read_response().status, sent + 1);
                }
                Some(None) => panic!("closed without an answer after {sent} bytes"),
            }
        }
        panic!("all {} bytes were taken", bytes.len());
    }

    fn fill(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => None,
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Some(())
            }
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("nothing came within {PATIENCE:?}; so far: {}", self.buffer.escape_ascii())
            }
            Err(_) => None,
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}
