//! One connection to the sink.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::{Act, Message, Moment, Shared};

/// A connection, with or without TLS.
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
pub(super) struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Over {
        Over
    }
}

/// Serves a connection to its end, or to that of the client.
pub(super) fn serve(shared: &Shared, number: usize, stream: TcpStream) -> Result<(), Over> {
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
        let lenient = self.shared.settings.lenient;
        loop {
            let line = if lenient { self.read_any_line()? } else { self.read_line()?.ok_or(Over)? };
            let strict = at_start && line == b".\r\n";
            let plain: Vec<u8> = line.iter().copied().filter(|b| *b != 0).collect();
            if strict || (lenient && plain.trim_ascii() == b".") {
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
        let nobody = message.rcpts.is_empty();
        // Kept before it is answered, as a good backend does.
        let kept = match &act {
            Act::Well | Act::Wait(_) => true,
            Act::Say(text) | Act::SayAndClose(text) => text.starts_with('2'),
            Act::Close | Act::Hang => false,
        };
        if kept && !nobody {
            self.shared.change(|record| record.messages.push(message));
        }
        self.messages += 1;
        let good = if nobody { "554 5.5.1 No recipients\r\n" } else { "250 2.0.0 Kept\r\n" };
        self.perform(act, good)?;
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

    /// Performs the action for a command. `good` is the reply of a good backend.
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

    /// A line that a CR, an LF, or both end.
    fn read_any_line(&mut self) -> Result<Vec<u8>, Over> {
        loop {
            let end = self.buffer.iter().position(|b| b"\r\n".contains(b));
            match end {
                // It may be half a CR LF.
                Some(end) if end + 1 == self.buffer.len() && self.buffer[end] == b'\r' => {}
                Some(end) => {
                    let both = self.buffer[end..].starts_with(b"\r\n");
                    return Ok(self.buffer.drain(..end + 1 + usize::from(both)).collect());
                }
                None => {}
            }
            self.fill()?;
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
