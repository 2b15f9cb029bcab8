//! The demo's mail backend: accepts every message and shows it, except those to `nobody`.

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::edge::net::in_flight::InFlightGuard;
use crate::edge::net::listener::{self, AdmissionLimits};
use crate::wire::smtp::command::SmtpCommand;
use crate::wire::smtp::data::{DataRead, DataReader};
use crate::wire::smtp::{EnhancedStatusCode, Reply, replies};

/// The number of messages that wait to be shown. Further ones are not shown while standard output is blocked.
const WAITING: usize = 64;

/// The number of bytes of a message that are shown.
const SHOWN: usize = 2048;

const GREETING: &str = "sink.localhost ESMTP";
const EXTENSIONS: &str =
    "sink.localhost\nPIPELINING\nSIZE 104857600\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES";
const OK: Reply = Reply::new(250, EnhancedStatusCode(2, 0, 0), "Ok");
const SHOWN_OK: Reply = Reply::new(250, EnhancedStatusCode(2, 0, 0), "Ok, shown by the demo");
const NOBODY: Reply = Reply::new(550, EnhancedStatusCode(5, 1, 1), "Nobody of that name");

/// Serves on `socket` until `stop` turns true.
pub async fn serve(socket: TcpListener, stop: watch::Receiver<bool>) {
    let screen = screen();
    let answer = move |stream, _, entered: InFlightGuard| {
        let screen = screen.clone();
        async move {
            // The client is the gateway, which connects again.
            let _ = converse(stream, &screen).await;
            drop(entered);
        }
    };
    let limits = AdmissionLimits::for_operators(1000, None);
    listener::accept_streams(socket, limits, stop, |_, _| {}, answer).await;
}

async fn converse(stream: TcpStream, screen: &SyncSender<String>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut mail, mut rcpts) = (String::new(), Vec::new());
    say(&mut stream, &Reply::plain(220, GREETING.to_owned())).await?;
    loop {
        let mut line = Vec::new();
        if (&mut stream).take(4096).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let reply = match SmtpCommand::parse(line.trim_ascii_end()) {
            Ok(SmtpCommand::Ehlo(_)) => {
                (mail, rcpts) = (String::new(), Vec::new());
                Reply::plain(250, EXTENSIONS.to_owned())
            }
            Ok(SmtpCommand::Mail(arguments)) => {
                (mail, rcpts) = (text(arguments), Vec::new());
                OK
            }
            Ok(SmtpCommand::Rcpt(arguments)) if arguments.starts_with(b"<nobody@") => NOBODY,
            Ok(SmtpCommand::Rcpt(arguments)) => {
                rcpts.push(text(arguments));
                OK
            }
            Ok(SmtpCommand::Data) if rcpts.is_empty() => replies::NO_RECIPIENTS,
            Ok(SmtpCommand::Data) => {
                say(&mut stream, &Reply::plain(354, "Go on".to_owned())).await?;
                let content = read_content(&mut stream).await?;
                let _ = screen.try_send(shown(&mail, &rcpts, &content));
                rcpts.clear();
                SHOWN_OK
            }
            Ok(SmtpCommand::Rset) => {
                rcpts.clear();
                OK
            }
            // Not offered. Without closing, its content would be read as commands.
            Ok(SmtpCommand::Bdat(..)) => {
                say(&mut stream, &replies::NOT_IMPLEMENTED).await?;
                return Ok(());
            }
            Ok(SmtpCommand::Quit) => return say(&mut stream, &replies::BYE).await,
            Ok(_) => OK,
            Err(error) => error.reply(),
        };
        say(&mut stream, &reply).await?;
    }
}

async fn say(stream: &mut BufReader<TcpStream>, reply: &Reply) -> io::Result<()> {
    let mut out = Vec::new();
    reply.write(&mut out);
    stream.write_all(&out).await
}

/// Reads the content of a message; returns the part that is shown.
async fn read_content(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let (mut reader, mut shown) = (DataReader::new(), Vec::new());
    loop {
        let buffer = stream.fill_buf().await?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (len, mut rest) = (buffer.len(), buffer);
        let ended = loop {
            match reader.read(&mut rest) {
                DataRead::Content(bytes) => {
                    let room = SHOWN - shown.len();
                    shown.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                DataRead::More => break false,
                DataRead::End => break true,
                DataRead::Fault => {}
            }
        };
        let used = len - rest.len();
        stream.consume(used);
        if ended {
            return Ok(shown);
        }
    }
}

/// Starts a thread that writes to standard output, so that a reader that stalls delays nothing else.
fn screen() -> SyncSender<String> {
    let (screen, texts) = sync_channel::<String>(WAITING);
    // Without the thread, nothing is shown.
    let _ = std::thread::Builder::new().name("screen".into()).spawn(move || {
        for text in texts {
            // Standard output may have no reader.
            let _ = io::stdout().write_all(text.as_bytes());
        }
    });
    screen
}

/// Formats a message for the screen.
fn shown(mail: &str, rcpts: &[String], content: &[u8]) -> String {
    let mut text = format!("\nmail arrived: from {mail} to {}\n", rcpts.join(", "));
    for line in String::from_utf8_lossy(content).lines().skip(1) {
        let line: String = line.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        text.push_str(&format!("  {line}\n"));
    }
    text
}
