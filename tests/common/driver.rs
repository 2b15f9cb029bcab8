//! Drives the pure SMTP session: decides logins by their password, plays a backend, and watches that what this backend is
//! asked for is always a valid transaction of a credential with the permission.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use gatepost::config::BareNewline;
use gatepost::domain::{RequestId, Username};
use gatepost::wire::smtp::session::{
    ContentPiece, EnvelopeBatch, LoginOutcome, SessionEnvironment, SessionSettings, SessionStep, SmtpSession,
};
use gatepost::wire::smtp::{Capabilities, Reply, replies};

/// PLAIN of "joe" with the password "right".
pub const RIGHT: &str = "AUTH PLAIN AGpvZQByaWdodA==\r\n";

pub const EVERYTHING: Capabilities = Capabilities {
    size: Some(0),
    pipelining: true,
    eight_bit_mime: true,
    smtp_utf8: true,
    chunking: true,
    dsn: true,
    enhanced_status_codes: true,
};

pub fn settings() -> SessionSettings {
    SessionSettings {
        host: "gatepost.test".into(),
        starttls: true,
        require_tls: false,
        bare_newline: BareNewline::Refuse,
        max_message: 100_000,
        recipients: 5,
        messages: 4,
        errors: 20,
        failed_logins: 3,
        user_header: true,
    }
}

/// Splits a reply's line from the ID at its end: of the session, and maybe the number of a message.
pub fn without_id(line: &str) -> (&str, Option<&str>) {
    let Some((text, id)) = line.strip_suffix(')').and_then(|line| line.rsplit_once(" (id ")) else {
        return (line, None);
    };
    let (session, number) = id.split_once('.').unwrap_or((id, "1"));
    let is_id = session.len() == 16
        && session.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        && number.parse::<u32>().is_ok_and(|number| number > 0);
    if is_id { (text, Some(id)) } else { (line, None) }
}

/// The commands of a client until it may send.
pub fn authorised() -> String {
    format!("EHLO client.test\r\n{RIGHT}")
}

/// A session in which a client says that, all at once.
pub fn run(text: &str) -> Driver {
    let mut driver = Driver::new(settings());
    driver.feed(text.as_bytes());
    driver
}

/// A message that reached the backend whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub mail: String,
    pub rcpts: Vec<String>,
    /// As it went over the wire, without what ends it.
    pub content: Vec<u8>,
    pub chunked: bool,
}

#[derive(Debug, Default)]
struct Transaction {
    mail: String,
    rcpts: Vec<String>,
    content: Option<Vec<u8>>,
    chunked: bool,
}

/// The state of a credential that logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// It lost `email`.
    Lacking,
    /// It was removed.
    Gone,
}

pub struct Driver {
    pub session: SmtpSession,
    /// The bytes that the client gets.
    pub out: Vec<u8>,
    pub delivered: Vec<Delivered>,
    /// The transactions that were asked for, those with a refused sender as well.
    pub transactions: usize,
    /// Messages that were cut off so that they can't become one.
    pub aborted: usize,
    pub closed: bool,
    pub tls_started: bool,
    pub offered: Capabilities,
    /// The current state of the credential of an open session.
    pub standing: Standing,
    tls_required: bool,
    authorised: bool,
    transaction: Option<Transaction>,
    input: Vec<u8>,
}

impl Driver {
    pub fn new(settings: SessionSettings) -> Driver {
        let tls_required = settings.require_tls;
        let session = SmtpSession::new(
            Arc::new(settings),
            "192.0.2.1".parse().unwrap(),
            false,
            RequestId::from_bits(7),
        );
        let mut out = Vec::new();
        session.greet(&mut out);
        Driver {
            session,
            out,
            delivered: Vec::new(),
            transactions: 0,
            aborted: 0,
            closed: false,
            tls_started: false,
            offered: EVERYTHING,
            standing: Standing::Good,
            tls_required,
            authorised: false,
            transaction: None,
            input: Vec::new(),
        }
    }

    /// The text that the client got, without the IDs of refusals.
    pub fn text(&self) -> String {
        let raw = self.raw_text();
        raw.split_inclusive('\n')
            .map(|line| without_id(line.trim_end_matches(['\r', '\n'])).0.to_owned() + "\r\n")
            .collect()
    }

    /// The text that the client got.
    pub fn raw_text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// What the client got, to be compared. If a backend is lost within a message that is refused as well, the reply tells what was
    /// seen first, which depends on what had arrived.
    pub fn comparable(&self, loses: bool) -> Vec<u8> {
        let either =
            |line: &[u8]| loses && (line.starts_with(b"451 4.4.2") || line.starts_with(b"550 5.6.0"));
        let lines = self.out.split_inclusive(|b| *b == b'\n');
        lines
            .flat_map(|line| if either(line) { &b"lost or refused\r\n"[..] } else { line })
            .copied()
            .collect()
    }

    /// The codes of the replies so far.
    pub fn codes(&self) -> Vec<u16> {
        let text = self.text();
        let last = text.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
        last.map(|line| line[..3].parse().unwrap()).collect()
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        self.input.extend_from_slice(bytes);
        if self.authorised && self.standing == Standing::Gone && !self.session.is_receiving() {
            self.session.close_with(&replies::REVOKED, &mut self.out);
        }
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        let moment = SessionEnvironment { clock: || UNIX_EPOCH, offered: self.offered };
        loop {
            let step = self.session.step(&mut rest, &mut self.out, &moment);
            match step {
                SessionStep::Read => {
                    assert!(rest.len() <= 12288, "{} bytes are kept", rest.len());
                    break;
                }
                SessionStep::Flush => {}
                SessionStep::Check(held) => {
                    assert!(!self.authorised, "a second login");
                    assert!(self.tls_started || !self.tls_required, "a secret in clear");
                    assert!(self.session.greeting().is_some());
                    // As the store: no principal has another name.
                    let name = std::str::from_utf8(held.presented().username).ok();
                    let name = name.and_then(|name| Username::parse(name).ok());
                    let verdict = match (held.presented().secret, name) {
                        (b"right", Some(name)) => {
                            self.authorised = true;
                            LoginOutcome::Allowed(name.as_str().into())
                        }
                        (b"later", _) => LoginOutcome::Unavailable,
                        _ => LoginOutcome::Denied,
                    };
                    self.session.complete_login(verdict, &mut self.out);
                }
                SessionStep::StartTls => {
                    assert!(rest.is_empty() && !self.tls_started);
                    assert!(!self.authorised && self.transaction.is_none());
                    self.tls_started = true;
                    self.session.complete_handshake();
                    assert!(self.session.greeting().is_none() && !self.session.is_in_transaction());
                }
                SessionStep::Envelope(envelope) => self.envelope(envelope),
                SessionStep::Reset => self.transaction = None,
                SessionStep::Data => {
                    let transaction = self.transaction.as_mut().expect("DATA belongs to a transaction");
                    assert!(!transaction.rcpts.is_empty() && transaction.content.is_none());
                    let refused = transaction.mail.contains("nodata");
                    transaction.content = Some(Vec::new());
                    let line = if refused { (451, "4.3.0 not now") } else { (354, "go on") };
                    if refused {
                        self.transaction = None;
                    }
                    self.session
                        .complete_data_command(&Reply::received(line.0, [line.1.as_bytes()]), &mut self.out);
                }
                SessionStep::Content(piece) => {
                    assert!(!piece.is_empty());
                    if !self.content(&piece) {
                        self.session.fail_content(lost());
                    }
                }
                SessionStep::Chunk(bytes) => {
                    assert!(!bytes.is_empty());
                    if !self.chunk(&bytes) {
                        self.session.fail_content(lost());
                    }
                }
                SessionStep::LastChunk(bytes) => match self.chunk(&bytes) {
                    true => self.deliver(),
                    false => self.session.complete_message(&lost(), &mut self.out),
                },
                SessionStep::Finish(piece) => match self.content(&piece) {
                    true => self.deliver(),
                    false => self.session.complete_message(&lost(), &mut self.out),
                },
                SessionStep::Abort => {
                    self.transaction.take().expect("only what is there is aborted");
                    self.aborted += 1;
                }
                SessionStep::Close => {
                    self.closed = true;
                    break;
                }
            }
        }
        self.input = rest.to_vec();
    }

    /// Returns true if the backend is still there to take it.
    fn content(&mut self, piece: &ContentPiece<'_>) -> bool {
        let transaction = self.transaction.as_mut().expect("content belongs to a transaction");
        assert!(!transaction.chunked);
        let content = transaction.content.as_mut().expect("DATA comes before content");
        content.extend_from_slice(&piece.head);
        content.extend_from_slice(piece.rest);
        self.is_kept()
    }

    /// Whether the backend is still there, which a sender may have wished it isn't.
    fn is_kept(&mut self) -> bool {
        let lost = self.transaction.as_ref().is_some_and(|transaction| transaction.mail.contains("lost"));
        if lost {
            self.transaction = None;
        }
        !lost
    }

    fn envelope(&mut self, envelope: EnvelopeBatch) {
        assert!(self.authorised, "a transaction of nobody");
        assert!(self.tls_started || !self.tls_required, "a transaction in clear");
        assert!(self.session.greeting().is_some());
        let mut mail = None;
        if let Some(asked) = &envelope.mail {
            assert!(self.transaction.is_none(), "a transaction within a transaction");
            self.transactions += 1;
            let arguments = String::from_utf8_lossy(&asked.arguments).into_owned();
            let refused = arguments.contains("refused") || self.standing != Standing::Good;
            mail = Some(match self.standing {
                Standing::Gone => replies::REVOKED,
                Standing::Lacking => replies::MAY_NOT_SEND,
                Standing::Good if refused => Reply::received(550, [&b"5.1.8 no"[..]]),
                Standing::Good => Reply::received(250, [&b"2.1.0 Ok"[..]]),
            });
            if !refused {
                self.transaction = Some(Transaction { mail: arguments, ..Transaction::default() });
            }
        }
        let mut replies = Vec::new();
        if let Some(transaction) = &mut self.transaction {
            assert!(transaction.content.is_none(), "a recipient after the message began");
            for rcpt in &envelope.rcpts {
                let rcpt = String::from_utf8_lossy(rcpt).into_owned();
                let bad = rcpt.contains("bad");
                replies.push(match bad {
                    true => Reply::received(550, [&b"5.1.1 no"[..]]),
                    false => Reply::received(250, [&b"2.1.5 Ok"[..]]),
                });
                if !bad {
                    transaction.rcpts.push(rcpt);
                }
            }
        } else {
            assert!(mail.is_some(), "recipients without a transaction");
        }
        self.session.complete_envelope(mail, replies, &mut self.out);
    }

    fn chunk(&mut self, bytes: &[u8]) -> bool {
        let transaction = self.transaction.as_mut().expect("a chunk belongs to a transaction");
        assert!(!transaction.rcpts.is_empty());
        transaction.chunked = true;
        transaction.content.get_or_insert_default().extend_from_slice(bytes);
        self.is_kept()
    }

    fn deliver(&mut self) {
        let Transaction { mail, rcpts, content, chunked } =
            self.transaction.take().expect("only what began can end");
        let content = content.expect("only what was announced can end");
        let late = mail.contains("late");
        if !late {
            self.delivered.push(Delivered { mail, rcpts, content, chunked });
        }
        let reply = match late {
            true => Reply::received(554, [&b"5.7.1 spam"[..]]),
            false => Reply::received(250, [&b"2.0.0 queued as 1"[..]]),
        };
        self.session.complete_message(&reply, &mut self.out);
    }
}

/// What is said of a backend that went away.
fn lost() -> Reply {
    Reply::received(451, [&b"4.4.2 lost"[..]])
}
