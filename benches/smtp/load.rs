//! The load: sessions that log in and submit, one after another over so many connections at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a session submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// One message of 2 KiB.
    One,
    /// A hundred messages of 2 KiB.
    Hundred,
    /// A hundred messages of 64 KiB.
    Large,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 3] = [Shape::One, Shape::Hundred, Shape::Large];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Shape::One => "one message of 2 KiB a session",
            Shape::Hundred => "a hundred messages of 2 KiB a session",
            Shape::Large => "a hundred messages of 64 KiB a session",
        }
    }

    fn messages(self) -> usize {
        if self == Shape::One { 1 } else { 100 }
    }

    /// The message with its end.
    fn content(self) -> Vec<u8> {
        let size = if self == Shape::Large { 64 << 10 } else { 2 << 10 };
        let mut content =
            b"From: <john@example.com>\r\nTo: <jane@example.net>\r\nSubject: load\r\n\r\n".to_vec();
        while content.len() + 72 <= size {
            content.extend_from_slice(&[b'x'; 70]);
            content.extend_from_slice(b"\r\n");
        }
        content.extend_from_slice(b".\r\n");
        content
    }
}

/// Username and password of one of the credentials.
pub fn credential(number: usize) -> (String, String) {
    (format!("mailer-{number}@example.com"), format!("secret-{number}-of-many"))
}

/// A load that can be put on any address.
pub struct Load {
    /// Sessions that are open at once; each has a credential of its own.
    pub connections: usize,
    /// What each submits.
    pub shape: Shape,
    /// MAIL, RCPT and DATA in one write.
    pub pipelining: bool,
    /// The answer to AUTH.
    pub welcome: u16,
    /// STARTTLS before AUTH.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// What was submitted.
#[derive(Default)]
pub struct Sent {
    /// How long each message took, in seconds: from MAIL to its answer; where a session has only one, from its connect.
    pub times: Vec<f64>,
}

impl Sent {
    /// In seconds; of at least one message.
    pub fn quantile(&mut self, part: f64) -> f64 {
        self.times.sort_by(f64::total_cmp);
        let count = self.times.len();
        self.times[((count as f64 * part) as usize).min(count - 1)]
    }
}

impl Load {
    /// Submits for so long, from one thread; then each session ends as it would have.
    ///
    /// # Errors
    /// Where any answer isn't what it has to be.
    pub fn run(&self, address: SocketAddr, time: Duration) -> Result<Sent> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = Instant::now() + time;
        let content = self.shape.content();
        runtime.block_on(async {
            let sessions = (0..self.connections).map(|number| self.sessions(address, number, end, &content));
            let mut all = Sent::default();
            for sent in join_all(sessions).await {
                all.times.extend(sent?.times);
            }
            Ok(all)
        })
    }

    async fn sessions(
        &self,
        address: SocketAddr,
        number: usize,
        end: Instant,
        content: &[u8],
    ) -> Result<Sent> {
        let mut sent = Sent::default();
        while Instant::now() < end {
            let begun = Instant::now();
            let stream = TcpStream::connect(address).await.context("connect")?;
            stream.set_nodelay(true)?;
            let mut peer = Peer { stream, buffer: Vec::with_capacity(4096) };
            peer.expect(220).await?;
            peer.say(b"EHLO load.test\r\n", 250).await?;
            match &self.tls {
                None => self.submit(peer, number, begun, end, content, &mut sent).await?,
                Some((connector, name)) => {
                    peer.say(b"STARTTLS\r\n", 220).await?;
                    let stream = connector.connect(name.clone(), peer.stream).await?;
                    let mut peer = Peer { stream, buffer: peer.buffer };
                    peer.say(b"EHLO load.test\r\n", 250).await?;
                    self.submit(peer, number, begun, end, content, &mut sent).await?;
                }
            }
        }
        Ok(sent)
    }

    async fn submit<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut peer: Peer<S>,
        number: usize,
        begun: Instant,
        end: Instant,
        content: &[u8],
        sent: &mut Sent,
    ) -> Result<()> {
        let (user, password) = credential(number);
        let response = STANDARD.encode(format!("\0{user}\0{password}"));
        // smtp-sink says 250 to it, as to whatever it doesn't care about.
        peer.say(format!("AUTH PLAIN {response}\r\n").as_bytes(), self.welcome).await?;
        for _ in 0..self.shape.messages() {
            let begun = if self.shape == Shape::One { begun } else { Instant::now() };
            if begun > end {
                break;
            }
            if self.pipelining {
                let together = b"MAIL FROM:<john@example.com>\r\nRCPT TO:<jane@example.net>\r\nDATA\r\n";
                peer.stream.write_all(together).await?;
                peer.stream.flush().await?;
                peer.expect(250).await?;
                peer.expect(250).await?;
                peer.expect(354).await?;
            } else {
                peer.say(b"MAIL FROM:<john@example.com>\r\n", 250).await?;
                peer.say(b"RCPT TO:<jane@example.net>\r\n", 250).await?;
                peer.say(b"DATA\r\n", 354).await?;
            }
            peer.say(content, 250).await?;
            sent.times.push(begun.elapsed().as_secs_f64());
        }
        peer.say(b"QUIT\r\n", 221).await
    }
}

struct Peer<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    async fn say(&mut self, bytes: &[u8], code: u16) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        self.expect(code).await
    }

    async fn expect(&mut self, code: u16) -> Result<()> {
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = String::from_utf8_lossy(&self.buffer[..end]).trim_end().to_owned();
                self.buffer.drain(..=end);
                if line.as_bytes().get(3) == Some(&b'-') {
                    continue;
                }
                ensure!(line.starts_with(&code.to_string()), "{code} was expected, and it said {line}");
                return Ok(());
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("{code} was expected, and it closed");
            }
        }
    }
}

/// Runs all in this task, so that nothing but the load itself costs.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(done) = future.as_mut().poll(context) {
                *output = Some(done);
            }
        }
        let all = running.iter().all(|(_, output)| output.is_some());
        if all { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
