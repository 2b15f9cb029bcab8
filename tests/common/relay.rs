//! The network between a gateway and a mail backend. It knows where in a transaction it is, and breaks where it is told to.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// A part of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    Greeting,
    Ehlo,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The line with the dot.
    End,
    /// A BDAT that isn't the last.
    Chunk,
    Last,
    Other,
}

/// Where a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum At {
    /// It has come, and the backend doesn't get it before this is over.
    Sent,
    /// One half of the content that belongs to it has gone to the backend.
    Halfway,
    /// Its answer has come, and the gateway doesn't get it before this is over.
    Unanswered,
    /// Its answer has gone to the gateway.
    Answered,
}

/// The stages of a transaction by DATA at which something may break.
pub const STAGES: [(Part, At); 13] = [
    (Part::Mail, At::Sent),
    (Part::Mail, At::Unanswered),
    (Part::Mail, At::Answered),
    (Part::Rcpt, At::Sent),
    (Part::Rcpt, At::Unanswered),
    (Part::Rcpt, At::Answered),
    (Part::Data, At::Sent),
    (Part::Data, At::Unanswered),
    (Part::Data, At::Answered),
    (Part::End, At::Halfway),
    (Part::End, At::Sent),
    (Part::End, At::Unanswered),
    (Part::End, At::Answered),
];

/// A point in a conversation.
#[derive(Clone, Debug)]
pub struct Point {
    pub connection: usize,
    pub part: Part,
    pub at: At,
    /// The argument of the last MAIL, after its colon.
    pub mail: Option<String>,
}

/// The fate of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Goes,
    /// Both directions end as if the other side had closed.
    Closed,
    /// Both directions end in a reset.
    Reset,
    /// Nothing more passes, and nobody is told.
    Silent,
}

type Watcher = Box<dyn Fn(&Relay, &Point) -> Fate + Send + Sync>;

/// A network to one backend.
pub struct Relay {
    pub address: SocketAddr,
    backend: SocketAddr,
    watcher: Watcher,
    listener: Mutex<Option<TcpListener>>,
    connections: AtomicUsize,
    open: Mutex<Vec<Arc<Wire>>>,
}

/// One connection through it.
struct Wire {
    number: usize,
    gateway: TcpStream,
    backend: TcpStream,
    silent: AtomicBool,
    reset: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The commands that the backend has not answered yet.
    pending: VecDeque<Part>,
    mail: Option<String>,
    /// 354 was said, and what comes is content.
    content: bool,
}

/// The connection is broken.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Broken {
        Broken
    }
}

impl Relay {
    /// A relay whose `watcher` decides at each point what becomes of the connection.
    pub fn start(
        backend: SocketAddr,
        watcher: impl Fn(&Relay, &Point) -> Fate + Send + Sync + 'static,
    ) -> Arc<Relay> {
        let listener = TcpListener::bind((super::own_loopback(), 0)).unwrap();
        let relay = Arc::new(Relay {
            address: listener.local_addr().unwrap(),
            backend,
            watcher: Box::new(watcher),
            listener: Mutex::new(Some(listener.try_clone().unwrap())),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        relay.clone().accept(listener);
        relay
    }

    /// The backend dies with all of its connections, and nobody listens there any more.
    pub fn kill(&self) {
        if let Some(listener) = self.listener.lock().unwrap().take() {
            SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
        }
        for wire in self.open.lock().unwrap().iter() {
            wire.end(Fate::Reset);
        }
    }

    /// It is started again, where it isn't running.
    pub fn revive(self: &Arc<Relay>) {
        let mut own = self.listener.lock().unwrap();
        if own.is_some() {
            return;
        }
        let deadline = Instant::now() + super::PATIENCE;
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                // The old one is on its way out.
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        };
        *own = Some(listener.try_clone().unwrap());
        self.clone().accept(listener);
    }

    fn accept(self: Arc<Relay>, listener: TcpListener) {
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let relay = self.clone();
                std::thread::spawn(move || {
                    // The ends go as they like.
                    let _ = relay.carry(stream);
                });
            }
        });
    }

    fn carry(&self, gateway: TcpStream) -> io::Result<()> {
        let backend = TcpStream::connect(self.backend)?;
        gateway.set_nodelay(true)?;
        backend.set_nodelay(true)?;
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        let state = Mutex::new(State { pending: [Part::Greeting].into(), ..State::default() });
        let [silent, reset] = [false, false].map(AtomicBool::new);
        let wire = Arc::new(Wire { number, gateway, backend, silent, reset, state });
        self.open.lock().unwrap().push(wire.clone());
        if self.listener.lock().unwrap().is_none() {
            wire.end(Fate::Reset);
        }
        std::thread::scope(|scope| {
            for forth in [true, false] {
                let wire = &wire;
                scope.spawn(move || {
                    let _ = if forth { self.forth(wire) } else { self.back(wire) };
                    wire.drain(forth);
                    wire.end(Fate::Closed);
                });
            }
        });
        self.open.lock().unwrap().retain(|other| !Arc::ptr_eq(other, &wire));
        Ok(())
    }

    /// Asks what becomes of the connection.
    fn pass(&self, wire: &Wire, part: Part, at: At) -> Result<(), Broken> {
        let mail = wire.state.lock().unwrap().mail.clone();
        let fate = (self.watcher)(self, &Point { connection: wire.number, part, at, mail });
        if fate == Fate::Goes { Ok(()) } else { Err(wire.end(fate)) }
    }

    /// From the gateway to the backend.
    fn forth(&self, wire: &Wire) -> Result<(), Broken> {
        let mut buffer = Vec::new();
        loop {
            let line = wire.line(&mut buffer)?;
            if std::mem::take(&mut wire.state.lock().unwrap().content) {
                buffer.splice(0..0, line);
                self.content(wire, &mut buffer)?;
                continue;
            }
            let command = String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase();
            let mut words = command.split([' ', ':']);
            let part = match words.next().unwrap_or_default() {
                "EHLO" => Part::Ehlo,
                "AUTH" => Part::Auth,
                "MAIL" => Part::Mail,
                "RCPT" => Part::Rcpt,
                "DATA" => Part::Data,
                "BDAT" => chunk_part(&command),
                _ => Part::Other,
            };
            if part == Part::Mail {
                let said = String::from_utf8_lossy(&line["MAIL FROM:".len()..]).trim_end().to_owned();
                wire.state.lock().unwrap().mail = Some(said);
            }
            if matches!(part, Part::Chunk | Part::Last) {
                wire.give(&line)?;
                let length = words.next().and_then(|word| word.parse().ok()).ok_or(Broken)?;
                self.chunk(wire, &mut buffer, length, part)?;
                continue;
            }
            self.pass(wire, part, At::Sent)?;
            wire.state.lock().unwrap().pending.push_back(part);
            wire.give(&line)?;
        }
    }

    /// The content of DATA, and its end.
    fn content(&self, wire: &Wire, buffer: &mut Vec<u8>) -> Result<(), Broken> {
        let (mut at_start, mut halfway) = (true, false);
        loop {
            let whole = if at_start && buffer.starts_with(b".\r\n") {
                Some(0)
            } else {
                buffer.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 2)
            };
            // What may belong to the end is kept back.
            let given = whole.unwrap_or(buffer.len().saturating_sub(4));
            if given > 0 {
                at_start = false;
                let content: Vec<u8> = buffer.drain(..given).collect();
                let (one, other) = content.split_at(content.len() / 2);
                wire.give(one)?;
                if !std::mem::replace(&mut halfway, true) {
                    self.pass(wire, Part::End, At::Halfway)?;
                }
                wire.give(other)?;
            }
            if whole.is_some() {
                self.pass(wire, Part::End, At::Sent)?;
                wire.state.lock().unwrap().pending.push_back(Part::End);
                let end: Vec<u8> = buffer.drain(..3).collect();
                return wire.give(&end);
            }
            wire.fill(buffer)?;
        }
    }

    /// The content of a chunk.
    fn chunk(&self, wire: &Wire, buffer: &mut Vec<u8>, length: usize, part: Part) -> Result<(), Broken> {
        while buffer.len() < length {
            wire.fill(buffer)?;
        }
        let chunk: Vec<u8> = buffer.drain(..length).collect();
        let (one, other) = chunk.split_at(length / 2);
        wire.give(one)?;
        self.pass(wire, part, At::Halfway)?;
        let (other, end) = other.split_at(other.len().saturating_sub(1));
        wire.give(other)?;
        self.pass(wire, part, At::Sent)?;
        wire.state.lock().unwrap().pending.push_back(part);
        wire.give(end)
    }

    /// From the backend to the gateway.
    fn back(&self, wire: &Wire) -> Result<(), Broken> {
        let mut buffer = Vec::new();
        loop {
            let mut reply = Vec::new();
            loop {
                let line = wire.answer_line(&mut buffer)?;
                reply.extend_from_slice(&line);
                if line.get(3) != Some(&b'-') {
                    break;
                }
            }
            let part = wire.state.lock().unwrap().pending.pop_front().unwrap_or(Part::Other);
            self.pass(wire, part, At::Unanswered)?;
            if part == Part::Data && reply.starts_with(b"354") {
                wire.state.lock().unwrap().content = true;
            }
            if wire.silent.load(Ordering::SeqCst) {
                return Err(Broken);
            }
            (&wire.gateway).write_all(&reply)?;
            self.pass(wire, part, At::Answered)?;
        }
    }
}

fn chunk_part(command: &str) -> Part {
    if command.ends_with(" LAST") { Part::Last } else { Part::Chunk }
}

impl Wire {
    fn end(&self, fate: Fate) -> Broken {
        match fate {
            Fate::Silent => self.silent.store(true, Ordering::SeqCst),
            Fate::Reset => self.reset.store(true, Ordering::SeqCst),
            Fate::Goes | Fate::Closed => {}
        }
        for stream in [&self.gateway, &self.backend] {
            // An end that is gone needs none.
            let _ = match fate {
                Fate::Silent => Ok(()),
                // The reset goes out when the stream is dropped, unless an end went before it.
                _ if self.reset.load(Ordering::SeqCst) => SockRef::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .and_then(|()| stream.shutdown(Shutdown::Read)),
                _ => stream.shutdown(Shutdown::Both),
            };
        }
        Broken
    }

    /// In silence: takes what comes and passes nothing on, until the end that it comes from has enough.
    fn drain(&self, forth: bool) {
        if self.silent.load(Ordering::SeqCst) {
            let mut from = if forth { &self.gateway } else { &self.backend };
            let _ = io::copy(&mut from, &mut io::sink());
        }
    }

    fn give(&self, bytes: &[u8]) -> Result<(), Broken> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(Broken);
        }
        Ok((&self.backend).write_all(bytes)?)
    }

    fn fill(&self, buffer: &mut Vec<u8>) -> Result<(), Broken> {
        read_more(&self.gateway, buffer)
    }

    /// A line of the gateway's.
    fn line(&self, buffer: &mut Vec<u8>) -> Result<Vec<u8>, Broken> {
        read_line(&self.gateway, buffer)
    }

    /// A line of the backend's.
    fn answer_line(&self, buffer: &mut Vec<u8>) -> Result<Vec<u8>, Broken> {
        read_line(&self.backend, buffer)
    }
}

fn read_line(stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<Vec<u8>, Broken> {
    loop {
        if let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            return Ok(buffer.drain(..=end).collect());
        }
        read_more(stream, buffer)?;
    }
}

fn read_more(mut stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<(), Broken> {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece)? {
        0 => Err(Broken),
        count => {
            buffer.extend_from_slice(&piece[..count]);
            Ok(())
        }
    }
}
