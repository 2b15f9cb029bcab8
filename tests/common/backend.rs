//! A backend that records what reaches it and answers as the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::PATIENCE;

/// A request as it reached the backend.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub method: String,
    pub target: String,
    /// Names as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Header and body as they came.
    pub raw: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }

    pub fn contains(&self, secret: &str) -> bool {
        memchr::memmem::find(&self.raw, secret.as_bytes()).is_some()
    }
}

/// A backend on a port of its own; ends with the test's process.
pub struct Backend {
    pub address: SocketAddr,
    listener: TcpListener,
    received: Mutex<Receiver<Received>>,
}

/// The handler of one connection, which ends it by returning.
pub type Handler = dyn Fn(&mut BufReader<TcpStream>, &Sender<Received>) + Send + Sync;

impl Backend {
    /// Answers every request with 200 and `hello`.
    pub fn hello() -> Backend {
        Backend::answering(|_| {
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello".to_vec()
        })
    }

    /// Answers every request with what `answer` says; keeps connections alive.
    pub fn answering(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Backend {
        Backend::handling(move |stream, received| {
            while let Some(request) = read_request(stream) {
                let answer = answer(&request);
                let _ = received.send(request);
                if stream.get_mut().write_all(&answer).is_err() {
                    return;
                }
            }
        })
    }

    /// Handles every connection as the test says.
    pub fn handling(
        handler: impl Fn(&mut BufReader<TcpStream>, &Sender<Received>) + Send + Sync + 'static,
    ) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Backend::on(listener, handler)
    }

    /// The same on a listener that is there already.
    pub fn on(
        listener: TcpListener,
        handler: impl Fn(&mut BufReader<TcpStream>, &Sender<Received>) + Send + Sync + 'static,
    ) -> Backend {
        let address = listener.local_addr().unwrap();
        let own = listener.try_clone().unwrap();
        let (sender, receiver) = channel();
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, sender) = (handler.clone(), sender.clone());
                std::thread::spawn(move || handler(&mut BufReader::new(stream), &sender));
            }
        });
        Backend { address, listener: own, received: Mutex::new(receiver) }
    }

    /// Refuses connections from here on.
    pub fn close(&self) {
        close(&self.listener);
    }

    /// The next request that reached it.
    pub fn next(&self) -> Received {
        self.received.lock().unwrap().recv_timeout(PATIENCE).expect("no request reached the backend")
    }

    /// Takes the requests that reached it and were not taken yet.
    pub fn drain(&self) -> Vec<Received> {
        self.received.lock().unwrap().try_iter().collect()
    }
}

/// Has a listener that is in use elsewhere refuse connections from here on.
pub fn close(listener: &TcpListener) {
    rustix::net::shutdown(listener, rustix::net::Shutdown::Both).unwrap();
}

/// An address that takes no connection and refuses none, as behind a firewall, while what comes with it is kept.
pub fn swallowing() -> (SocketAddr, impl Drop) {
    swallowing_at([127, 0, 0, 1].into())
}

/// The same at that loopback address.
pub fn swallowing_at(host: IpAddr) -> (SocketAddr, impl Drop) {
    use socket2::{Domain, Socket, Type};
    struct Full(Socket, Vec<TcpStream>);
    impl Drop for Full {
        fn drop(&mut self) {
            self.1.clear();
        }
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((host, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    // Nobody accepts, so there is room for one or two; the rest isn't answered.
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
    }
    (address, Full(socket, waiting))
}

/// Reads one request with its body; `None` at the end of the connection.
pub fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut received = read_header(stream)?;
    let length = received.header("content-length").map(|l| l.parse::<usize>().unwrap());
    if received.header("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(stream, &mut received)?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut piece = vec![0; size + 2];
            stream.read_exact(&mut piece).ok()?;
            received.raw.extend_from_slice(&piece);
            received.body.extend_from_slice(&piece[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = length {
        received.body = vec![0; length];
        stream.read_exact(&mut received.body).ok()?;
        received.raw.extend_from_slice(&received.body);
    }
    Some(received)
}

/// Reads a request's header only.
pub fn read_header(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut received = Received::default();
    let line = read_line(stream, &mut received)?;
    let mut words = line.split(' ');
    received.method = words.next()?.to_owned();
    received.target = words.next()?.to_owned();
    loop {
        let line = read_line(stream, &mut received)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Some(received);
        }
        let (name, value) = line.split_once(':')?;
        received.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(stream: &mut BufReader<TcpStream>, received: &mut Received) -> Option<String> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).ok()? == 0 {
        return None;
    }
    received.raw.extend_from_slice(&line);
    Some(String::from_utf8_lossy(&line).into_owned())
}
