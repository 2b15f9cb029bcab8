//! A backend for mail that records what it is given, and misbehaves as it is told to.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

// Said in full, since this file is a module in two places.
#[path = "sink/session.rs"]
mod session;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// The action of a backend at one step.
#[derive(Clone, Debug)]
pub enum Act {
    /// That of a good backend.
    Well,
    /// Says this instead; lines with their line ends.
    Say(String),
    /// Says this and closes.
    SayAndClose(String),
    /// Closes without a word.
    Close,
    /// Neither answers nor closes, until the client does.
    Hang,
    /// Neither reads nor answers until the gate opens; then what a good one does.
    Wait(Arc<Gate>),
}

/// Opens once, for all threads that wait.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }
}

/// Answers `Say` with one line.
pub fn say(line: &str) -> Act {
    Act::Say(format!("{line}\r\n"))
}

/// Where a connection is: its number from 0, how many messages it brought, and the command. Besides commands there are
/// `connect`, `content` (354 was said, and the first bytes come), and `message` (a message has ended).
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    pub connection: usize,
    pub messages: usize,
    pub command: &'a str,
}

type Script = Box<dyn Fn(&Moment<'_>) -> Act + Send + Sync>;

/// The behaviour of a sink.
pub struct Settings {
    /// The lines after the first one of the answer to EHLO.
    pub extensions: Vec<&'static str>,
    /// Chooses the action at each step.
    pub script: Script,
    /// For STARTTLS, or from the first byte on.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub implicit_tls: bool,
    /// Takes XCLIENT once a connection, as Postfix does.
    pub xclient_once: bool,
    /// Takes a dot, with blanks and NULs around it, between any two line ends for the end of a message that comes by DATA, and
    /// a CR or an LF alone for a line end.
    pub lenient: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        let extensions = vec![
            "PIPELINING",
            "SIZE 50000000",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "DSN",
            "ENHANCEDSTATUSCODES",
        ];
        Settings {
            extensions,
            script: Box::new(|_| Act::Well),
            tls: None,
            implicit_tls: false,
            xclient_once: false,
            lenient: false,
        }
    }
}

impl Settings {
    /// With a script.
    pub fn scripted(script: impl Fn(&Moment<'_>) -> Act + Send + Sync + 'static) -> Settings {
        Settings { script: Box::new(script), ..Settings::default() }
    }
}

/// A message that was answered with 250.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub connection: usize,
    pub mail: String,
    pub rcpts: Vec<String>,
    /// As it came, before dots are unstuffed; without the line with the dot.
    pub content: Vec<u8>,
    /// The XCLIENT in force.
    pub xclient: Option<String>,
}

#[derive(Default)]
struct Record {
    messages: Vec<Message>,
    /// By connection: each command, and how it came.
    commands: Vec<(usize, String)>,
    /// The number of bytes of each read.
    reads: Vec<usize>,
    open: usize,
    most_open: usize,
}

/// A running sink.
pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    record: Mutex<Record>,
    changed: Condvar,
    connections: AtomicUsize,
}

impl Sink {
    pub fn start(settings: Settings) -> Sink {
        Sink::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), settings)
    }

    /// The same on a listener that is there already.
    pub fn start_on(listener: TcpListener, settings: Settings) -> Sink {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            settings,
            record: Mutex::default(),
            changed: Condvar::new(),
            connections: AtomicUsize::new(0),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = accepting.clone();
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    shared.change(|record| {
                        record.open += 1;
                        record.most_open = record.most_open.max(record.open);
                    });
                    // The other end goes away as it likes.
                    let _ = session::serve(&shared, number, stream);
                    shared.change(|record| record.open -= 1);
                });
            }
        });
        Sink { address, shared }
    }

    pub fn good() -> Sink {
        Sink::start(Settings::default())
    }

    /// The address for connections without TLS.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most that were open at once.
    pub fn most_open(&self) -> usize {
        self.shared.record.lock().unwrap().most_open
    }

    pub fn messages(&self) -> Vec<Message> {
        self.shared.record.lock().unwrap().messages.clone()
    }

    /// The messages so far, which are forgotten.
    pub fn take_messages(&self) -> Vec<Message> {
        std::mem::take(&mut self.shared.record.lock().unwrap().messages)
    }

    /// The commands of a connection.
    pub fn commands(&self, connection: usize) -> Vec<String> {
        let record = self.shared.record.lock().unwrap();
        record.commands.iter().filter(|(number, _)| *number == connection).map(|(_, c)| c.clone()).collect()
    }

    /// The sizes of all reads so far.
    pub fn reads(&self) -> Vec<usize> {
        self.shared.record.lock().unwrap().reads.clone()
    }

    pub fn wait_for_messages(&self, count: usize) -> Vec<Message> {
        self.wait(|record| record.messages.len() >= count);
        self.messages()
    }

    /// Waits until there were so many connections.
    pub fn wait_for_connections(&self, count: usize) {
        self.wait(|_| self.connections() >= count);
    }

    /// Waits until no connection is open.
    pub fn wait_until_idle(&self) {
        self.wait(|record| record.open == 0);
    }

    /// Waits until some connection has said this, or a command that begins so.
    pub fn wait_for_command(&self, command: &str) {
        self.wait(|record| record.commands.iter().any(|(_, said)| said.starts_with(command)));
    }

    fn wait(&self, met: impl Fn(&Record) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut record = self.shared.record.lock().unwrap();
        while !met(&record) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never happened; commands: {:?}", record.commands);
            record = self.shared.changed.wait_timeout(record, left).unwrap().0;
        }
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().unwrap());
        self.changed.notify_all();
    }
}
