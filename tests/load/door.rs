//! Logins over HTTP and SMTP from any address, as a trusted proxy passes them on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::common::PATIENCE;

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Http,
    Smtp,
}

/// The addresses of a gateway that trusts its peers with the client's address.
#[derive(Clone, Copy)]
pub struct Doors {
    pub http: SocketAddr,
    pub smtp: SocketAddr,
}

impl Doors {
    /// The status or reply code of a login, and the time from its last byte to the answer.
    pub fn login(&self, door: Door, from: &str, login: &str) -> (u16, Duration) {
        self.try_login(door, from, login).expect("the gateway answers")
    }

    /// The same; `None` if the connection fails.
    pub fn try_login(&self, door: Door, from: &str, login: &str) -> Option<(u16, Duration)> {
        match door {
            Door::Http => self.by_http(from, login),
            Door::Smtp => self.by_smtp(from, login),
        }
    }

    fn by_http(&self, from: &str, login: &str) -> Option<(u16, Duration)> {
        let mut stream = connected(self.http)?;
        let login = STANDARD.encode(login);
        let request = format!(
            "GET /api/a.json HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {from}\r\nAuthorization: Basic {login}\r\n\
             Connection: close\r\n\r\n"
        );
        let began = Instant::now();
        stream.write_all(request.as_bytes()).ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).ok()?;
        let took = began.elapsed();
        let _ = stream.read_to_end(&mut Vec::new());
        Some((std::str::from_utf8(&head[9..]).ok()?.parse().ok()?, took))
    }

    fn by_smtp(&self, from: &str, login: &str) -> Option<(u16, Duration)> {
        let mut stream = BufReader::new(connected(self.smtp)?);
        let family = match from.parse::<IpAddr>().unwrap() {
            IpAddr::V4(_) => "TCP4",
            IpAddr::V6(_) => "TCP6",
        };
        let to = if family == "TCP4" { "192.0.2.250" } else { "2001:db8::250" };
        let header = format!("PROXY {family} {from} {to} 8080 25\r\nEHLO client.test\r\n");
        stream.get_mut().write_all(header.as_bytes()).ok()?;
        (reply(&mut stream)? == 220).then_some(())?;
        (reply(&mut stream)? == 250).then_some(())?;
        let (name, secret) = login.split_once(':').unwrap();
        let auth = format!("AUTH PLAIN {}\r\n", STANDARD.encode(format!("\0{name}\0{secret}")));
        let began = Instant::now();
        stream.get_mut().write_all(auth.as_bytes()).ok()?;
        let code = reply(&mut stream)?;
        let took = began.elapsed();
        let _ = stream.get_mut().write_all(b"QUIT\r\n");
        Some((code, took))
    }
}

fn connected(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// The code of a reply, with all its lines read.
fn reply(stream: &mut BufReader<TcpStream>) -> Option<u16> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let code = line.get(..3)?.parse().ok()?;
        if line.as_bytes().get(3) != Some(&b'-') {
            return Some(code);
        }
    }
}
