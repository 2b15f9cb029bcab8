//! A message of 30 MiB for a backend that takes its time lies nowhere: the client is read as fast as the backend reads, with TLS
//! on either side or on both.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use crate::common::mail::{Client, JOE, NAME, arranged};
use crate::common::sink::{Act, Gate, Settings, Sink};
use crate::common::tls::Authority;
use crate::common::{Gateway, PATIENCE, configure_store};

const SIZE: usize = 30 << 20;
const ALLOWED: usize = 256 << 10;

/// The memory of a gateway without its code, which the system loads on demand.
struct Memory<'g> {
    gateway: &'g Gateway,
    peak: usize,
    code: usize,
}

impl Memory<'_> {
    /// As it is now; the peak begins here.
    fn now(gateway: &Gateway) -> Memory<'_> {
        // See proc(5): this resets VmHWM.
        fs::write(format!("/proc/{}/clear_refs", gateway.child.id()), "5").unwrap();
        Memory { gateway, peak: gateway.memory("VmHWM"), code: gateway.memory("RssFile") }
    }

    /// The most that it was more since then.
    fn grown(&self) -> usize {
        let code = self.gateway.memory("RssFile").saturating_sub(self.code);
        self.gateway.memory("VmHWM").saturating_sub(self.peak + code)
    }
}

fn begin(client: &mut Client) {
    client.send(b"MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nDATA\r\n");
    assert_eq!([0; 3].map(|_| client.answer().code), [250, 250, 354]);
}

fn passes(encrypted: bool, upstream: &str) {
    let gate = Arc::new(Gate::default());
    let opening = gate.clone();
    let authority = Authority::new();
    let settings = Settings::scripted(move |moment| match (moment.messages, moment.command) {
        (2.., "content") => Act::Wait(opening.clone()),
        _ => Act::Well,
    });
    let tls = (upstream != "smtp").then(|| authority.issue("127.0.0.1").server());
    let sink = Sink::start(Settings { tls, implicit_tls: upstream == "smtps", ..settings });
    let keys = "max_message = \"64MiB\"\nupstream_connections = 1\nhealth_interval = \"1h\"\nupstream_ca = \"DIR/ca.pem\"";
    let server = "[server]\nthreads = 1\n";
    let directory = arranged(&authority, &[format!("{upstream}://{}", sink.address)], keys, server);
    // Each connection to the store costs once what it costs.
    configure_store(directory.path(), "read_connections = 1");
    let gateway = Gateway::start_in(directory);
    gateway.account("email").credential(JOE, "email");
    let mut client = if encrypted {
        let client = Client::connect(gateway.address("smtp.tls_listen"));
        let mut client = client.encrypt(authority.client(&[]), NAME);
        assert_eq!(client.answer().code, 220);
        client.say("EHLO client.test");
        assert_eq!(client.say(&crate::common::mail::plain(JOE)).code, 235);
        client
    } else {
        Client::login(gateway.address("smtp.listen"), JOE)
    };
    // All that is made once is made.
    let line = format!("{}\r\n", "x".repeat(998));
    for _ in 0..2 {
        begin(&mut client);
        client.send(line.repeat(2000).as_bytes());
        assert_eq!(client.say(".").code, 250);
    }

    let memory = Memory::now(&gateway);
    begin(&mut client);
    let piece = line.repeat(32);
    let (mut sent, mut taken) = (0, None);
    while sent < SIZE {
        let rest = &piece.as_bytes()[sent % piece.len()..];
        let patience = if taken.is_none() { Duration::from_secs(1) } else { PATIENCE };
        match client.send_within(rest, patience) {
            Ok(count) => sent += count,
            // Nobody takes any more of it.
            Err(error) if error.kind() == ErrorKind::WouldBlock && taken.is_none() => {
                taken = Some(sent);
                let grown = memory.grown();
                assert!(grown <= ALLOWED, "{grown} bytes more after {sent}");
                gate.open();
            }
            Err(error) => panic!("after {sent}: {error}"),
        }
    }
    let end = &piece.as_bytes()[sent % piece.len()..];
    client.send(end);
    assert_eq!(client.say(".").code, 250);
    let grown = memory.grown();
    assert!(grown <= ALLOWED, "{grown} bytes more in the end");
    assert!(taken.is_some_and(|taken| taken < SIZE / 2), "it was never slow: {taken:?}");
    // Whatever was written in parts arrived once.
    let content = &sink.messages()[2].content;
    let is_content = |line: &&[u8]| line.starts_with(b"x");
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(is_content);
    assert_eq!(lines.clone().count(), (sent + end.len()) / line.len());
    assert!(lines.into_iter().all(|found| found == line.trim_end().as_bytes()));
    if !encrypted {
        // The test's own TLS keeps what it couldn't send.
        read_late(&mut client);
    }
}

/// Replies that a client doesn't take yet wait for it, and so do its commands; all of them come once, in their order.
fn read_late(client: &mut Client) {
    const COMMAND: usize = b"NOOP\r\n".len();
    let commands = "NOOP\r\nHELP\r\n".repeat(1000);
    let mut sent = 0;
    let rest = |sent: usize| &commands.as_bytes()[sent % commands.len()..];
    loop {
        match client.send_within(rest(sent), Duration::from_secs(1)) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("after {sent}: {error}"),
        }
    }
    let whole = sent.next_multiple_of(COMMAND);
    for at in (0..whole).step_by(COMMAND) {
        if at + COMMAND > sent {
            client.send(&rest(sent)[..whole - sent]);
        }
        assert_eq!(
            client.answer().code,
            if (at / COMMAND).is_multiple_of(2) { 250 } else { 214 },
            "at {at} of {sent}"
        );
    }
    assert_eq!(client.say("QUIT").code, 221);
}

#[test]
fn in_clear() {
    passes(false, "smtp");
}

#[test]
fn from_a_client_with_tls() {
    passes(true, "smtp");
}

#[test]
fn to_a_backend_with_tls() {
    passes(false, "smtps");
}

#[test]
fn from_a_client_with_tls_to_a_backend_with_starttls() {
    passes(true, "smtp+starttls");
}
