//! A backend for mail that records what it is given, and misbehaves as it is told to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do instead of what a good backend does.
#[derive(Clone, Debug)]
pub enum Act {
    /// What a good one does.
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

/// Opens once, for all who wait.
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

/// How it behaves.
pub struct Settings {
    /// The lines after the first one of the answer to EHLO.
    pub extensions: Vec<&'static str>,
    /// What to do otherwise.
    pub script: Script,
    /// For STARTTLS, or from the first byte on.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub implicit_tls: bool,
    /// Takes XCLIENT once a connection, as Postfix does.
    pub xclient_once: bool,
    /// Takes LF . LF for the end of a message, and any LF for the end of a line.
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
    /// How many bytes each read gave.
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
                    let _ = serve(&shared, number, stream);
                    shared.change(|record| record.open -= 1);
                });
            }
        });
        Sink { address, shared }
    }

    pub fn good() -> Sink {
        Sink::start(Settings::default())
    }

    /// Where a gateway finds it, in clear.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// How many connections there were.
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

    /// Waits until some connection has said this.
    pub fn wait_for_command(&self, command: &str) {
        self.wait(|record| record.commands.iter().any(|(_, said)| said == command));
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

/// A connection, in clear or with TLS.
enum Line {
    Clear(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

struct Session<'a> {
    shared: &'a Shared,
    number: usize,
    line: Line,
    buffer: Vec<u8>,
    messages: usize,
    mail: Option<String>,
    rcpts: Vec<String>,
    chunks: Vec<u8>,
    xclient: Option<String>,
}

/// The conversation is over.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Over {
        Over
    }
}

fn serve(shared: &Shared, number: usize, stream: TcpStream) -> Result<(), Over> {
    stream.set_nodelay(true)?;
    let line = match &shared.settings.tls {
        Some(config) if shared.settings.implicit_tls => encrypt(stream, config),
        _ => Line::Clear(stream),
    };
    let mut session = Session {
        shared,
        number,
        line,
        buffer: Vec::new(),
        messages: 0,
        mail: None,
        rcpts: Vec::new(),
        chunks: Vec::new(),
        xclient: None,
    };
    session.answer("connect", "220 sink.test ESMTP\r\n")?;
    loop {
        let Some(command) = session.read_line()? else { return Ok(()) };
        let command = String::from_utf8_lossy(&command).trim_end_matches(['\r', '\n']).to_owned();
        shared.change(|record| record.commands.push((number, command.clone())));
        session.obey(&command)?;
    }
}

fn encrypt(stream: TcpStream, config: &Arc<rustls::ServerConfig>) -> Line {
    let connection = rustls::ServerConnection::new(config.clone()).unwrap();
    Line::Tls(Box::new(rustls::StreamOwned::new(connection, stream)))
}

impl Session<'_> {
    fn obey(&mut self, command: &str) -> Result<(), Over> {
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let mut lines = vec!["sink.test at your service"];
                let once = |line: &&str| !(line.starts_with("XCLIENT") && self.xclient.is_some());
                lines.extend(
                    self.shared
                        .settings
                        .extensions
                        .iter()
                        .copied()
                        .filter(|line| !self.shared.settings.xclient_once || once(line)),
                );
                if self.shared.settings.tls.is_some() && matches!(self.line, Line::Clear(_)) {
                    lines.push("STARTTLS");
                }
                let last = lines.len() - 1;
                let answer = lines.iter().enumerate();
                let answer: String = answer
                    .map(|(at, line)| format!("250{}{line}\r\n", if at == last { ' ' } else { '-' }))
                    .collect();
                self.answer(command, &answer)?;
            }
            "HELO" => {
                self.answer(command, "250 sink.test\r\n")?;
            }
            "STARTTLS" => {
                let said = self.answer(command, "220 2.0.0 Ready\r\n")?;
                let config = self.shared.settings.tls.clone().filter(|_| said.starts_with("220"));
                if let (Some(config), Line::Clear(stream)) = (config, &self.line) {
                    self.line = encrypt(stream.try_clone()?, &config);
                }
            }
            "XCLIENT" => {
                let good = match self.shared.settings.xclient_once && self.xclient.is_some() {
                    true => "550 5.7.0 Error: insufficient authorization\r\n",
                    false => "220 sink.test ESMTP\r\n",
                };
                if self.answer(command, good)?.starts_with("220") {
                    self.xclient = Some(command.to_owned());
                }
            }
            "AUTH" => self.authenticate(command)?,
            "MAIL" => {
                let answer =
                    if self.mail.is_some() { "503 5.5.1 Nested MAIL\r\n" } else { "250 2.1.0 Ok\r\n" };
                if self.answer(command, answer)?.starts_with('2') {
                    self.mail = Some(command["MAIL FROM:".len()..].to_owned());
                }
            }
            "RCPT" => {
                let answer = if self.mail.is_some() { "250 2.1.5 Ok\r\n" } else { "503 5.5.1 No MAIL\r\n" };
                if self.answer(command, answer)?.starts_with('2') {
                    self.rcpts.push(command["RCPT TO:".len()..].to_owned());
                }
            }
            "DATA" => self.data(command)?,
            "BDAT" => self.bdat(command)?,
            "RSET" => {
                self.forget();
                self.answer(command, "250 2.0.0 Ok\r\n")?;
            }
            "NOOP" => {
                self.answer(command, "250 2.0.0 Ok\r\n")?;
            }
            "QUIT" => {
                self.answer(command, "221 2.0.0 Bye\r\n")?;
                return Err(Over);
            }
            _ => {
                self.answer(command, "500 5.5.1 What?\r\n")?;
            }
        }
        Ok(())
    }

    fn authenticate(&mut self, command: &str) -> Result<(), Over> {
        if command == "AUTH LOGIN" {
            for challenge in ["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n"] {
                self.write(challenge)?;
                let answer = self.read_line()?.ok_or(Over)?;
                let answer = String::from_utf8_lossy(&answer).trim_end().to_owned();
                self.shared.change(|record| record.commands.push((self.number, answer)));
            }
        }
        self.answer(command, "235 2.7.0 Welcome\r\n")?;
        Ok(())
    }

    fn data(&mut self, command: &str) -> Result<(), Over> {
        let answer = if self.rcpts.is_empty() { "554 5.5.1 No recipients\r\n" } else { "354 Go on\r\n" };
        if !self.answer(command, answer)?.starts_with("354") {
            return Ok(());
        }
        self.answer("content", "")?;
        let mut content = Vec::new();
        let mut at_start = true;
        loop {
            let line = self.read_line()?.ok_or(Over)?;
            let strict = at_start && line == b".\r\n";
            if strict || (self.shared.settings.lenient && line.trim_ascii() == b".") {
                break;
            }
            at_start = line.ends_with(b"\r\n");
            content.extend_from_slice(&line);
        }
        self.end(content)
    }

    fn bdat(&mut self, command: &str) -> Result<(), Over> {
        let mut words = command.split(' ').skip(1);
        let length: usize = words.next().unwrap().parse().unwrap();
        while self.buffer.len() < length {
            self.fill()?;
        }
        let chunk: Vec<u8> = self.buffer.drain(..length).collect();
        self.chunks.extend(chunk);
        if words.next() == Some("LAST") {
            let content = std::mem::take(&mut self.chunks);
            return self.end(content);
        }
        self.answer(command, "250 2.0.0 Chunk\r\n")?;
        Ok(())
    }

    /// Answers to a message, which counts only where the answer was written in full.
    fn end(&mut self, content: Vec<u8>) -> Result<(), Over> {
        let message = Message {
            connection: self.number,
            mail: self.mail.take().unwrap_or_default(),
            rcpts: std::mem::take(&mut self.rcpts),
            content,
            xclient: self.xclient.clone(),
        };
        let act = self.act("message");
        // Kept before it is answered, as a good backend does.
        let kept = match &act {
            Act::Well => true,
            Act::Say(text) | Act::SayAndClose(text) => text.starts_with('2'),
            Act::Wait(_) => true,
            Act::Close | Act::Hang => false,
        };
        if kept {
            self.shared.change(|record| record.messages.push(message));
        }
        self.messages += 1;
        self.perform(act, "250 2.0.0 Kept\r\n")?;
        Ok(())
    }

    fn forget(&mut self) {
        self.mail = None;
        self.rcpts.clear();
        self.chunks.clear();
    }

    fn act(&self, command: &str) -> Act {
        (self.shared.settings.script)(&Moment { connection: self.number, messages: self.messages, command })
    }

    /// What was said.
    fn answer(&mut self, command: &str, good: &str) -> Result<String, Over> {
        let act = self.act(command);
        self.perform(act, good)
    }

    fn perform(&mut self, act: Act, good: &str) -> Result<String, Over> {
        match act {
            Act::Well => self.write(good).map(|()| good.to_owned()),
            Act::Say(text) => self.write(&text).map(|()| text),
            Act::SayAndClose(text) => {
                self.write(&text)?;
                Err(Over)
            }
            Act::Close => Err(Over),
            Act::Wait(gate) => {
                gate.pass();
                self.write(good).map(|()| good.to_owned())
            }
            Act::Hang => {
                // Reads nothing: the buffers in between fill up.
                let stream = match &self.line {
                    Line::Clear(stream) => stream,
                    Line::Tls(stream) => &stream.sock,
                };
                let mut byte = [0];
                while !matches!(stream.peek(&mut byte), Ok(0) | Err(_)) {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err(Over)
            }
        }
    }

    fn write(&mut self, text: &str) -> Result<(), Over> {
        match &mut self.line {
            Line::Clear(stream) => stream.write_all(text.as_bytes())?,
            Line::Tls(stream) => {
                stream.write_all(text.as_bytes())?;
                stream.flush()?;
            }
        }
        Ok(())
    }

    /// A line with its end; `None` where the connection ends before one begins.
    fn read_line(&mut self) -> Result<Option<Vec<u8>>, Over> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                return Ok(Some(self.buffer.drain(..=end).collect()));
            }
            if self.fill().is_err() {
                return if self.buffer.is_empty() { Ok(None) } else { Err(Over) };
            }
        }
    }

    fn fill(&mut self) -> Result<(), Over> {
        let mut piece = [0; 64 * 1024];
        let count = match &mut self.line {
            Line::Clear(stream) => stream.read(&mut piece)?,
            Line::Tls(stream) => stream.read(&mut piece)?,
        };
        if count == 0 {
            return Err(Over);
        }
        self.shared.change(|record| record.reads.push(count));
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(())
    }
}
